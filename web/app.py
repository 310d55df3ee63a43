"""create_app(): routes, lifespan, and all wiring in one place."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, TypedDict

from argon2 import PasswordHasher
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles

from escalation.desk import Desk
from moderation.build import default_pipeline, detoxify
from moderation.pipeline import Pipeline
from moderation.policy_file import POLICY
from moderation.reload import Exchangeable
from moderation.rules import RULES
from peerchat.accounts import Accounts
from peerchat.backends.memory import MemoryBroker
from peerchat.cases import Cases, CaseStore, InApp
from peerchat.channels.book import ChannelBook
from peerchat.channels.contact import Kind
from peerchat.channels.outside import Outside, trying_again
from peerchat.channels.senders import senders_of
from peerchat.channels.watchdog import Watchdog, watching
from peerchat.chat import Chat
from peerchat.drills import Drills
from peerchat.errors import SettingsError
from peerchat.hub import Hub
from peerchat.lobby import Lobby
from peerchat.logbook import (
    KeyLost,
    Logbook,
    Signer,
    keeping,
    load_signer,
    note_settings,
    targets_of,
)
from peerchat.model import new_id
from peerchat.node import Node, Publisher
from peerchat.records import CaseRecords
from peerchat.review import ReviewQueue
from peerchat.rounds import Rounds
from peerchat.session import UNLIMITED, Limits
from peerchat.settings import Settings
from peerchat.store.seal import Keyring, load_master_key
from peerchat.store.sql import alone, database_file, keys_file, open_store
from web import live, ops, pages, poll
from web.api import alerts, channels, drills, problems, records, review, rota, session, site
from web.headers import SecurityHeaders
from web.reloading import reloading

log = logging.getLogger(__name__)

Extra = Callable[[Node], AbstractAsyncContextManager[None]]
"""What runs beside the node for as long as the app does (the demo keeps its adult on duty)."""

STATIC = Path(__file__).parent / "static"


class State(TypedDict):
    """What the lifespan makes, and endpoints find at `request.state`."""

    node: Node
    settings: Settings
    poll_lines: poll.PollLines
    metrics: ops.Metrics
    health: Callable[[], Sequence[dict[str, Any]]]
    channels: ChannelBook
    logbook: Logbook
    drills: Drills
    records: CaseRecords


def utc_now() -> datetime:
    """Return this moment."""
    return datetime.now(UTC)


def create_app(
    settings: Settings,
    *,
    pipeline: Pipeline | None = None,
    hasher: PasswordHasher | None = None,
    extra: Extra | None = None,
    create_keys: bool = False,
) -> Starlette:
    """Return the app. Nothing is opened before its lifespan begins, and everything is closed after it.

    Rules, policy and models are loaded here: a bad one raises with its file and line, and nothing starts.
    `create_keys` allows a master key to be made where none is (the demo and a first set-up).
    """
    metrics = ops.Metrics()
    judge = pipeline or _exchangeable(settings, metrics)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[State]:
        async with AsyncExitStack() as stack:
            stack.push(_say_why)
            if isinstance(judge, Exchangeable):  # else it is somebody else's
                stack.callback(judge.close)
            master = load_master_key(settings.key_file, create=create_keys)
            settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
            stack.enter_context(alone(settings.data))
            keyring = Keyring(keys_file(settings.data), master)
            stack.callback(keyring.close)
            hub, broker = Hub(), MemoryBroker()
            node_id = new_id("nod")
            publisher = Publisher(broker, node_id)
            store = await asyncio.to_thread(
                open_store,
                settings.data,
                keyring,
                clock=utc_now,
                on_events=publisher.publish,
                loop=asyncio.get_running_loop(),
            )
            stack.callback(store.close)
            accounts = Accounts(
                store, keyring, secret=sha256(b"peerchat pages" + master).digest(), hasher=hasher
            )
            stack.callback(accounts.close)
            senders = await asyncio.to_thread(senders_of, settings, master)
            stack.callback(senders.close)
            outside = [Outside(kind, store, senders) for kind in Kind]
            desk = Desk(
                CaseStore(store, [InApp.channel]),
                [InApp(publisher.publish, store, here=hub.here), *outside],
                clock=utc_now,
            )
            lobby = Lobby(
                store,
                judge,
                here=hub.here,
                last_heard=hub.last_heard,
                alerted=desk.wake,
                max_capacity=settings.max_capacity,
            )
            limits = Limits(send_rate=settings.send_rate, send_burst=settings.send_burst)
            node = Node(
                id=node_id,
                store=store,
                broker=broker,
                publisher=publisher,
                hub=hub,
                chat=Chat(
                    store,
                    judge,
                    alerted=desk.wake,
                    answer=lambda event: publisher.publish([event]),
                    observe=metrics.observe,
                ),
                lobby=lobby,
                review=ReviewQueue(store, alerted=desk.wake, why=_why(judge)),
                cases=Cases(store, alerted=desk.wake),
                rounds=Rounds(store, lobby),
                desk=desk,
                accounts=accounts,
                limits=UNLIMITED if settings.unlimited else limits,
                heartbeat_s=settings.heartbeat_s,
                clock=utc_now,
                failed=lambda _task: signal.raise_signal(signal.SIGTERM),
            )
            lines = poll.PollLines()
            if isinstance(judge, Exchangeable):
                await judge.prove()  # and the first answers are slow
                watch = settings.moderation.reload == "watch"
                await stack.enter_async_context(reloading(judge, store, watch=watch, told=metrics.policy_is))
            if extra is not None:
                await stack.enter_async_context(extra(node))
            await stack.enter_async_context(trying_again(outside))
            await store.write(lambda tx: note_settings(tx, settings, master))
            logbook = Logbook(
                store,
                database_file(settings.data),
                await asyncio.to_thread(_signer, settings),
                targets_of(settings, clock=utc_now),
                clock=utc_now,
                every_s=settings.audit.every_s,
            )
            await stack.enter_async_context(keeping(logbook))
            watchdog = Watchdog(store, desk, url=settings.channels.watchdog, clock=utc_now)
            await stack.enter_async_context(watching(watchdog))
            metrics.beyond(outside, watchdog)
            await stack.enter_async_context(node.running())
            stack.push_async_callback(lines.stop)
            yield {
                "node": node,
                "settings": settings,
                "poll_lines": lines,
                "metrics": metrics,
                "health": lambda: [*ops.health(node, metrics), *watchdog.health(), *logbook.health()],
                "channels": ChannelBook(store, senders),
                "logbook": logbook,
                "drills": Drills(store, alerted=desk.wake),
                "records": CaseRecords(store),
            }

    routes: list[BaseRoute] = [
        *live.routes,
        *poll.routes,
        *session.routes,
        *review.routes,
        *rota.routes,
        *alerts.routes,
        *channels.routes,
        *drills.routes,
        *records.routes,
        *site.routes,
        *ops.routes,
        *pages.routes,
        Mount("/static", StaticFiles(directory=STATIC), name="static"),
    ]
    return Starlette(
        routes=routes,
        lifespan=lifespan,
        exception_handlers=problems.handlers,
        middleware=[Middleware(SecurityHeaders, secure=settings.secure_cookies)],
    )


def _signer(settings: Settings) -> Signer | None:
    """Return what signs the log; None where its key is lost: chats go on, and the pages say it in red."""
    try:
        return load_signer(settings)
    except KeyLost as error:
        log.critical("%s", error)
        return None


def _why(judge: Pipeline | Exchangeable) -> Callable[[str], str]:
    """What gives a rule's plain words for its id, by the rules of the moment."""

    def why(rule: str) -> str:
        return judge.pipeline.why(rule) if isinstance(judge, Exchangeable) else rule

    return why


def _exchangeable(settings: Settings, metrics: ops.Metrics) -> Exchangeable:
    """Everything that judges messages, with Detoxify where the operator has set it up.

    Policy and rules may change while the server runs; Detoxify and settings are read once.
    """
    wanted, deadline_s = settings.detoxify, settings.judge_deadline_s
    beside = [] if wanted is None else [detoxify(wanted, deadline_s=deadline_s)]
    files = settings.moderation
    policy = files.policy or POLICY

    def build() -> Pipeline:
        return default_pipeline(
            allowed=settings.allowed_contacts,
            own_rules=files.rules,
            policy=policy,
            overlays=files.overlays,
            beside=beside,
            deadline_s=deadline_s,
            observe=metrics.moderation,
        )

    return Exchangeable(build, (policy, *files.overlays, RULES, *files.rules))


def _say_why(kind: type[BaseException] | None, error: BaseException | None, _trace: object) -> bool:
    """Log why a start failed: a setting's error is said whole, another is named by its type."""
    if isinstance(error, SettingsError):
        log.error("%s", error)
    elif kind is not None and not issubclass(kind, asyncio.CancelledError | GeneratorExit):
        log.error("stopped by %s", kind.__name__, exc_info=error)
    return False
