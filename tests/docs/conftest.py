"""A running app with one of each kind of member, on a real socket, for answers to compare with the docs."""

import asyncio
import secrets
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest
import uvicorn
from argon2 import PasswordHasher

from moderation.pipeline import Pipeline
from moderation.verdict import Action, Risk, Role, Signal, Span, Submission, Verdict
from peerchat import setup
from peerchat.node import Node
from peerchat.settings import Channels, Settings
from peerchat.store.sql import Tx
from tests.docs.story import Story, play
from web.app import create_app
from web.server import LineProtocol

START_S = 30.0
PASSWORD = secrets.token_urlsafe(12)
PEOPLE = {
    "mentor": Role.MENTOR,
    "moderator": Role.MODERATOR,
    "adult": Role.ADULT,
    "deputy": Role.ADULT,
    "coordinator": Role.COORDINATOR,
}

NOBODY_THERE = Channels(
    email="mailto://127.0.0.1:9?from=alerts@school.example&to={to}&mode=insecure",
    push_services=("127.0.0.1:9",),
)
"""Ways that lead to a port on which nothing listens."""


class KeyWords:
    """Judges by one word each, so that a story needs no model: what is documented here is the wire."""

    degraded: frozenset[str] = frozenset()

    async def judge(self, batch: Sequence[Submission]) -> list[Verdict]:
        """Return a verdict for each."""
        return [self._verdict(submission.text) for submission in batch]

    def _verdict(self, text: str) -> Verdict:
        action, risk, reason, label = Action.DELIVER, Risk.NONE, "", ""
        if "HURTFUL" in text:
            action, reason, label = Action.HOLD, "unkind", "harassment"
        elif "NUMBER" in text:
            action, reason, label = Action.BLOCK, "personal", "personal_data"
        elif "DANGER" in text:
            action, risk, reason, label = Action.HOLD, Risk.IMMEDIATE, "adult_first", "self_harm"
        signals: tuple[Signal, ...] = ()
        if label:
            signals = (Signal(label=label, score=1.0, stage="words", why="word", span=Span(0, 4)),)
        return Verdict(
            action=action,
            risk=risk,
            reason=reason,
            labels=(label,) if label else (),
            signals=signals,
            policy_version="test",
        )


@dataclass
class Running:
    """Where the app is, and who may sign in."""

    url: str = ""
    credentials: dict[str, dict[str, str]] = field(default_factory=dict)


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Serve the app from a thread of its own, on a port that the system picks."""
    folder: Path = tmp_path_factory.mktemp("docs")
    settings = Settings(data=folder, secure_cookies=False, heartbeat_s=1.0, channels=NOBODY_THERE)
    found = Running()

    @asynccontextmanager
    async def people(node: Node) -> AsyncIterator[None]:
        hashed = PasswordHasher(time_cost=1, memory_cost=8 * 1024, parallelism=1).hash(PASSWORD)

        def make(tx: Tx) -> None:
            site = setup.add_site(tx, name="Ashdown School", service_name="Common Room")
            found.credentials["pupil"] = {"code": setup.add_pupil(tx, site)}
            for name, role in PEOPLE.items():
                setup.add_staff(
                    tx,
                    site,
                    role,
                    username=name,
                    password_hash=hashed,
                    name=None if role is Role.MENTOR else f"M. {name.capitalize()}",
                    trained=role is Role.MENTOR,
                )
                found.credentials[name] = {"username": name, "password": PASSWORD}

        await node.store.write(make)
        yield

    app = create_app(settings, pipeline=cast(Pipeline, KeyWords()), extra=people, create_keys=True)
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, ws=LineProtocol, lifespan="on", log_config=None, access_log=False
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="docs-app")
    thread.start()
    end = time.monotonic() + START_S
    while not server.started and thread.is_alive() and time.monotonic() < end:
        time.sleep(0.01)
    assert server.started, "the app did not start"
    found.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    yield found
    server.should_exit = True
    thread.join(START_S)
    assert not thread.is_alive()


@pytest.fixture(scope="session")
def story(running: Running) -> Story:
    """Return what was said and answered in one long story with everybody in it."""
    return asyncio.run(play(running.url, running.credentials))
