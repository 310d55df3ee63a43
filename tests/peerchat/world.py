"""A school in one process: the core wired as web/app.py wires it, on a real database.

Two things are made up: time, which stands still until a test moves it, and the judge, which reads its verdict
from marks in the text ("[hold]", "[block]", "[high]", ...). Nothing here sleeps: `flush()` waits until
every event so far has reached the lines.
"""

import asyncio
import itertools
import json
import secrets
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar, cast

from escalation.alert import Alert
from escalation.desk import Desk
from moderation.verdict import Action, Risk, Role, Signal, Span, Submission, Verdict
from peerchat import frames, setup
from peerchat.accounts import Accounts
from peerchat.backends.memory import MemoryBroker
from peerchat.cases import Cases, CaseStore, InApp
from peerchat.chat import Chat
from peerchat.hub import Hub, Line
from peerchat.lobby import Lobby
from peerchat.model import Actor, new_id
from peerchat.node import Conversing, Node, Publisher
from peerchat.ports import Event, to_connection
from peerchat.review import ReviewQueue
from peerchat.rounds import Rounds
from peerchat.session import UNLIMITED, Limits
from peerchat.store.messages import MessageValue
from peerchat.store.reviews import ItemValue
from peerchat.store.seal import Keyring
from peerchat.store.sql import Store, Tx, keys_file, open_store

T = TypeVar("T")
Frame = dict[str, Any]

MONDAY = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
"""Ten o'clock on a school day; London keeps UTC then."""

MASTER = bytes(range(32))
TOKEN_LIFE = timedelta(days=400)


class Clock:
    """Stands still until it is told to go on."""

    def __init__(self, now: datetime = MONDAY) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **by: float) -> datetime:
        self.now += timedelta(**by)
        return self.now


def verdict_of(text: str) -> Verdict:
    """Return the verdict that a text's marks ask for; without any it is delivered."""
    action = Action.BLOCK if "[block]" in text else Action.HOLD if "[hold]" in text else Action.DELIVER
    risk = next((r for r in reversed(Risk) if f"[{r.word}]" in text), Risk.NONE)
    degraded = frozenset({"linear"}) if "[degraded]" in text else frozenset[str]()
    if degraded:
        action = max(action, Action.HOLD)  # what policy does with a stage that gave no answer
    about = next((r for r in Role if f"[about {r.value}]" in text), None)
    labels = ("self_harm",) if risk > Risk.NONE else ("harassment",) if action > Action.DELIVER else ()
    return Verdict(
        action=action,
        risk=risk,
        reason="" if action is Action.DELIVER else "unsure" if degraded else "unkind",
        labels=labels,
        signals=tuple(
            Signal(label=label, score=0.9, stage="scripted", why="mark", span=Span(0, 1)) for label in labels
        ),
        degraded=degraded,
        about=about,
        policy_version="test-1",
    )


class ScriptedJudge:
    """The judge as a port: answers by marks; "[broken]" makes it fail, `gate` makes it wait."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked = asyncio.Event()
        self.seen: list[Submission] = []

    async def judge(self, batch: Sequence[Submission]) -> list[Verdict]:
        """Return one verdict for each."""
        self.seen.extend(batch)
        self.asked.set()
        await self.gate.wait()
        if any("[broken]" in s.text for s in batch):
            raise RuntimeError("the judge broke its promise")
        return [verdict_of(s.text) for s in batch]


class Person:
    """One line of a signed-in member, and every frame that it was shown."""

    def __init__(self, world: "World", actor: Actor, seen: Sequence[Frame] = ()) -> None:
        self.world = world
        self.actor = actor
        self.seen: list[Frame] = list(seen)
        self._talk: Conversing | None = None

    @property
    def id(self) -> str:
        return self.actor.member

    @property
    def talk(self) -> Conversing:
        assert self._talk is not None, "not on a line"
        return self._talk

    @property
    def line(self) -> Line:
        return self.talk.line

    @property
    def closed(self) -> int | None:
        return self.line.outbox.close_code

    async def open(self) -> "Person":
        """Come onto a line."""
        self._talk = await self.world.node.open(self.actor)
        await self.world.flush()
        return self

    async def close(self) -> None:
        """Drop off the line; what was seen stays known."""
        talk, self._talk = self.talk, None
        await self.world.node.close(talk)
        await self.world.flush()

    async def again(self) -> list[Frame]:
        """Drop off, come back, and return what the new line began with."""
        await self.close()
        known = len(self.seen)
        await self.open()
        return self.seen[known:]

    async def twin(self) -> "Person":
        """Return a second line of the same session."""
        return await self.world.enter(Person(self.world, self.actor))

    async def put(self, type: str, **fields: Any) -> str:
        """Hand in a frame without waiting for what follows; return its ref."""
        ref = f"r{next(self.world.refs)}"
        await self.world.node.receive(self.talk, json.dumps({"type": type, "ref": ref, **fields}))
        return ref

    async def says(self, type: str, **fields: Any) -> Frame:
        """Hand in a frame, wait until all of it is done, and return its answer."""
        ref = await self.put(type, **fields)
        await self.world.flush()
        return self.answer(ref)

    def answer(self, ref: str) -> Frame:
        """Return the frame that answered a ref."""
        [found] = [f for f in self.seen if f.get("ref") == ref]
        return found

    async def send(self, conversation: str, text: str, *, id: str | None = None) -> Frame:
        """Send a message; return its ack, or the error."""
        return await self.says("send", conversation=conversation, id=id or new_id("cli"), text=text)

    def of(self, *types: str) -> list[Frame]:
        """Return the frames of these types, in the order they came."""
        return [f for f in self.seen if f["type"] in types]

    def texts(self, conversation: str | None = None) -> list[str]:
        """Return the texts that were delivered here, live or from history, in the order they came."""
        return [f["text"] for f in self.of("message") if conversation in (None, f["conversation"])]

    def help(self) -> list[str]:
        """Return what this member was told of an adult's help."""
        return [f["state"] for f in self.of("help")]

    async def history(self, conversation: str, after: int = 0, **fields: Any) -> tuple[list[Frame], Frame]:
        """Return one page of history and its end."""
        known = len(self.seen)
        end = await self.says("history", conversation=conversation, after=after, **fields)
        page = [f for f in self.seen[known:] if f["type"] == "message" and f.get("replay")]
        return page, end

    async def drain(self) -> None:
        """Take what the outbox holds."""
        while self._talk is not None and len(self.line.outbox):
            self.seen.extend(json.loads(frame) for frame in await self.line.outbox.take())

    async def settled(self) -> None:
        """Wait until every message handed in is answered."""
        if self._talk is not None:
            await self._talk.settled()

    def cut(self) -> None:
        """Lose the line without a word, as in a power cut."""
        self._talk = None


class World:
    """One site on one node. `people` are all who were ever on a line."""

    def __init__(self, folder: Path, clock: Clock, judge: ScriptedJudge, limits: Limits) -> None:
        self.folder = folder
        self.clock = clock
        self.judge = judge
        self.limits = limits
        self.refs = itertools.count(1)
        self.people: list[Person] = []
        self.site = ""
        self.store: Store
        self.node: Node

    async def start(self, stack: AsyncExitStack) -> None:
        """Wire everything; the stack takes it down."""
        loop = asyncio.get_running_loop()
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        keyring = Keyring(keys_file(self.folder), MASTER)
        stack.callback(keyring.close)
        hub, broker, id = Hub(), MemoryBroker(), new_id("nod")
        publisher = Publisher(broker, id)
        store = open_store(self.folder, keyring, clock=self.clock, on_events=publisher.publish, loop=loop)
        stack.callback(store.close)
        in_app = InApp(publisher.publish, store, here=hub.here)
        desk = Desk(CaseStore(store, [InApp.channel]), [in_app], clock=self.clock)
        lobby = Lobby(
            store,
            self.judge,
            here=hub.here,
            last_heard=hub.last_heard,
            alerted=desk.wake,
            max_capacity=5,
        )
        chat = Chat(store, self.judge, alerted=desk.wake, answer=lambda event: publisher.publish([event]))
        self.keyring, self.hub, self.publisher, self.store = keyring, hub, publisher, store
        self.desk, self.lobby, self.chat = desk, lobby, chat
        self.review = ReviewQueue(store, alerted=desk.wake)
        self.cases = Cases(store, alerted=desk.wake)
        self.rounds = Rounds(store, lobby)
        self.node = Node(
            id=id,
            store=store,
            broker=broker,
            publisher=publisher,
            hub=hub,
            chat=chat,
            lobby=lobby,
            review=self.review,
            cases=self.cases,
            rounds=self.rounds,
            desk=desk,
            accounts=cast(Accounts, None),  # nobody signs in by password here
            limits=self.limits,
            heartbeat_s=20.0,
            clock=self.clock,
            failed=_fail,
        )
        self._mark = Line("lin_mark", _nobody(), now=self.clock())
        hub.open(self._mark)
        events = await stack.enter_async_context(broker.subscribe(id))
        for run in (publisher.run(), _dispatch(hub, events), chat.run()):
            task = asyncio.create_task(run)
            stack.push_async_callback(_stop, task)

    # -- time and what comes with it

    async def flush(self) -> None:
        """Wait until all that was handed in is answered, and all that was told has come."""
        for person in self.people:
            await person.settled()
        self.publisher.publish([to_connection(frames.Done(for_="mark"), self._mark.id)])
        await self._mark.outbox.take()
        for person in self.people:
            await person.drain()

    async def round(self) -> None:
        """Let what time asks for happen once."""
        await self.rounds.go_round()
        await self.flush()

    async def sweep(self) -> int:
        """Let the desk tell what is due; return how many alerts were."""
        told = 0
        while batch := await self.desk.sweep():
            told += batch
        await self.flush()
        return told

    async def later(self, *on_duty: Person, **by: float) -> None:
        """Let time pass in steps that duty outlives, renewed by these, with a round at each."""
        end = self.clock.now + timedelta(**by)
        while self.clock.now < end:
            self.clock.now = min(end, self.clock.now + timedelta(seconds=60))
            for adult in on_duty:
                await adult.says("duty", on=True)
            await self.round()

    # -- people

    async def member(self, role: Role, *, trained: bool = True, online: bool = True) -> Person:
        """Return a new member of the site with a session."""
        n = len(self.people)
        name = None if role in (Role.PUPIL, Role.MENTOR) else f"{role.value.title()} {n}"

        def body(tx: Tx) -> Actor:
            member, token = new_id("mem"), new_id("tok")
            tx.members.add(
                id=member,
                site=self.site,
                role=role,
                name=name,
                username=None if role is Role.PUPIL else f"{role.value}{n}",
                code_index=secrets.token_bytes(32) if role is Role.PUPIL else None,
                approved_at=tx.now if trained else None,
                trained_until=tx.now + timedelta(days=365) if trained else None,
            )
            tx.members.add_token(
                id=token, hash=secrets.token_bytes(32), member=member, expires_at=tx.now + TOKEN_LIFE
            )
            return Actor(member=member, role=role, site=self.site, token=token, name=name)

        person = Person(self, await self.store.write(body))
        return await self.enter(person) if online else person

    async def enter(self, person: Person) -> Person:
        self.people.append(person)
        return await person.open()

    async def pupil(self) -> Person:
        return await self.member(Role.PUPIL)

    async def mentor(self, *, trained: bool = True, capacity: int | None = 1) -> Person:
        """Return a mentor, on shift unless `capacity` is None."""
        person = await self.member(Role.MENTOR, trained=trained)
        self.clock.advance(seconds=1)  # no two are on shift since the same moment
        if capacity is not None:
            assert (await person.says("shift", on=True, capacity=capacity))["type"] == "done"
        return person

    async def moderator(self) -> Person:
        return await self.member(Role.MODERATOR)

    async def adult(self, *, duty: bool = False) -> Person:
        person = await self.member(Role.ADULT)
        if duty:
            assert (await person.says("duty", on=True))["type"] == "done"
            await self.round()
        return person

    async def pair(self, pupil: Person, mentor: Person) -> str:
        """Let a pupil ask, and return the conversation with the mentor, who must be free."""
        assert (await pupil.says("ask"))["type"] == "waiting"
        found = pupil.of("paired")[-1]["conversation"]
        assert found == mentor.of("paired")[-1]["conversation"]
        return str(found)

    # -- what is in the store

    async def read(self, body: Callable[[Tx], T]) -> T:
        return await self.store.read(body)

    async def write(self, body: Callable[[Tx], T]) -> T:
        """Write, and wait until what it told has come."""
        result = await self.store.write(body)
        await self.flush()
        return result

    async def sql(self, statement: str) -> list[tuple[Any, ...]]:
        """Run SQL of a test's own, committed, and return its rows."""

        def body(tx: Tx) -> list[tuple[Any, ...]]:
            result = tx.connection.exec_driver_sql(statement)
            return [tuple(row) for row in result.all()] if result.returns_rows else []

        return await self.store.write(body)

    async def message(self, id: str) -> MessageValue:
        found = await self.read(lambda tx: tx.messages.get(id))
        assert found is not None
        return found

    async def item(self, message: str) -> ItemValue:
        """Return the one review item of a message."""
        found = await self.items(message)
        assert len(found) == 1, f"{len(found)} items for one message"
        return found[0]

    async def items(self, message: str) -> list[ItemValue]:
        rows = await self.sql(f"SELECT id FROM review_item WHERE message = '{message}'")
        return await self.read(lambda tx: [i for (id,) in rows if (i := tx.reviews.get(id)) is not None])

    async def alerts(self) -> list[Alert]:
        """Return every alert there ever was, oldest first."""
        rows = await self.sql("SELECT id FROM alert ORDER BY rowid")
        return await self.read(lambda tx: [a for (id,) in rows if (a := tx.alerts.get(id)) is not None])

    async def alert(self) -> Alert:
        """Return the one alert that there is."""
        [found] = await self.alerts()
        return found

    async def audit(self) -> list[tuple[str, str, str]]:
        """Return (actor, kind, object) of the log, oldest first."""
        entries = await self.read(lambda tx: list(tx.audit.all()))
        return [(e.actor, e.kind, e.object) for e in entries]


async def _dispatch(hub: Hub, events: AsyncIterator[Event]) -> None:
    async for event in events:
        hub.dispatch(event)


async def _stop(task: "asyncio.Task[None]") -> None:
    assert not task.done(), f"a task of the node ended: {task}"
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def _fail(task: str) -> None:
    raise AssertionError(f"a task of the node ended: {task}")


def _nobody() -> Actor:
    return Actor(member="mem_mark", role=Role.COORDINATOR, site="sit_mark", token="tok_mark", name=None)


class School:
    """A world that can be cut off and started again on the same data.

    It begins on a copy of a `template` where one is given, and with a new site unless `site_id` names one.
    """

    def __init__(
        self,
        folder: Path,
        *,
        limits: Limits = UNLIMITED,
        template: Path | None = None,
        site_id: str | None = None,
        **site: Any,
    ) -> None:
        self.world = World(folder, Clock(), ScriptedJudge(), limits)
        self.world.site = site_id or ""
        self.site = site
        self._stack = AsyncExitStack()
        if template is not None:
            shutil.copytree(template, folder)

    async def __aenter__(self) -> World:
        await self.world.start(self._stack)
        if not self.world.site:
            site = {"name": "Test School", "service_name": "Common Room", **self.site}
            self.world.site = await self.world.store.write(lambda tx: setup.add_site(tx, **site))
        return self.world

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    async def cut(self) -> None:
        """End the node as a power cut would, with every line and what was not committed; start again."""
        for person in self.world.people:
            person.cut()
        self.world.people.clear()
        await self._stack.aclose()
        self._stack = AsyncExitStack()
        self.world.judge.gate.set()
        await self.world.start(self._stack)
