"""kill -9 while alerts are raised, with a real mail server and a real webhook on loopback (rules 8, 9, 17).

Every alert whose cause was committed is attempted by every channel that was set up; what arrived more than
once carries the key of its first. The seed is printed; PEERCHAT_SIM_SEED=<seed> plays the same moments again.
"""

import asyncio
import contextlib
import io
import os
import random
import secrets
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.catchers import HookCatcher, MailCatcher
from tests.support.server import DemoServer
from tests.support.stage import DISCLOSURES, Lent, Stage
from web.cli import main
from web.client import Client, LineClosed, NoAnswer, Refused, Transport
from web.http_client import HttpFailed

ROUNDS = 3
RAISED = 5
"""Pupils who press for help in one round, beside one who writes what alarms."""

SETTLE_S = 60.0
GONE = (LineClosed, NoAnswer, HttpFailed, Refused)


@pytest.fixture
async def mail() -> AsyncIterator[MailCatcher]:
    async with MailCatcher() as found:
        yield found


@pytest.fixture
async def hooks() -> AsyncIterator[HookCatcher]:
    async with HookCatcher() as found:
        yield found


def peerchat(config: Path, *words: str, piped: str = "") -> int:
    """Run a command beside the server, as an operator does."""
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()):
        patch.setattr("sys.stdin", io.StringIO(piped))
        return main([*words, "--config", str(config)])


def rows(demo: DemoServer, statement: str) -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(f"file:{demo.data}/peerchat.db?mode=ro", uri=True)) as db:
        return db.execute(statement).fetchall()


async def press(client: Client, acked: set[str], delay: float) -> None:
    """Ask for an adult at some moment; keep which alert was promised."""
    await asyncio.sleep(delay)
    with contextlib.suppress(*GONE):
        acked.add((await client.call("flag", urgency="emergency"))["alert"])


async def write(client: Client, c: str, text: str, acked: set[str], delay: float) -> None:
    """Write what alarms; keep which message was acked."""
    await asyncio.sleep(delay)
    with contextlib.suppress(*GONE):
        acked.add((await client.send(c, text))["message"])


@contextmanager
def told_seed() -> Any:
    seed = int(os.environ.get("PEERCHAT_SIM_SEED") or secrets.randbelow(2**32))
    try:
        yield random.Random(seed)
    except BaseException:
        print(f"\nplay it again: PEERCHAT_SIM_SEED={seed}")
        raise


@pytest.mark.timeout(240)  # four starts
async def test_rules_8_9_17_every_alert_that_was_committed_is_attempted(
    own_demo: Callable[..., DemoServer], tmp_path: Path, mail: MailCatcher, hooks: HookCatcher
) -> None:
    outside = tmp_path / "checkpoints.jsonl"
    provider = f"mailto://127.0.0.1:{mail.port}?from=alerts@school.example&to={{to}}&mode=insecure"
    people = ("--pupils", str(ROUNDS * (RAISED + 1)), "--mentors", str(ROUNDS), "--unlimited")
    env = {
        "PEERCHAT_CHANNELS_EMAIL": provider,
        "PEERCHAT_AUDIT_FILE": str(outside),
        "PEERCHAT_AUDIT_EVERY_S": "0.5",
    }
    demo = own_demo(*people, env=env)
    config = tmp_path / "settings.toml"
    config.write_text(f'data = "{demo.data}"\n[channels]\nemail = "{provider}"\n')
    add = ("channels", "add", "--name", "The office", "--kind")
    for kind, to in (("email", "office@school.example"), ("webhook", f"{hooks.url}/page")):
        assert await asyncio.to_thread(peerchat, config, *add, kind, piped=f"{to}\n") == 0
    stage = Stage(demo, Lent(), demo.url, Transport.WS)
    flagged: set[str] = set()
    written: set[str] = set()
    try:
        with told_seed() as rng:
            for n in range(ROUNDS):
                pair = await stage.pair()
                pupils = [await stage.pupil() for _ in range(RAISED)]
                hooks.statuses = rng.choices([200, 429, 500], k=4)
                moments = [rng.uniform(0, 1.0) for _ in pupils]
                raising = [press(p, flagged, at) for p, at in zip(pupils, moments, strict=True)]
                raising.append(write(pair.pupil, pair.c, DISCLOSURES[n], written, rng.uniform(0, 0.5)))
                working = [asyncio.create_task(one) for one in raising]
                await asyncio.sleep(rng.uniform(0.2, 1.0))
                await asyncio.to_thread(demo.kill)
                await asyncio.gather(*working)
                await asyncio.to_thread(demo.start)
            await settled(demo)
            check(demo, flagged, written, mail, hooks)
            status, head = demo.audit("--checkpoint", str(outside))
            assert status == 0 and head["n"] > 0, "the log differs from what was shipped before the kills"
            lines = outside.read_text().splitlines()
            assert len(lines) >= ROUNDS
            cut = demo.data / "peerchat.db"
            await asyncio.to_thread(demo.kill)
            with contextlib.closing(sqlite3.connect(cut)) as db, db:
                db.execute("PRAGMA foreign_keys=OFF")
                db.execute("DELETE FROM audit WHERE n > 3")
            assert demo.audit()[0] == 1, "the checkpoints beside the log show it"
            with contextlib.closing(sqlite3.connect(cut)) as db, db:
                db.execute("PRAGMA foreign_keys=OFF")
                db.execute("DELETE FROM shipment")
                db.execute("DELETE FROM checkpoint WHERE n > 3")
            assert demo.audit()[0] == 0, "without any checkpoint nobody can see it"
            assert demo.audit("--checkpoint", str(outside))[0] == 1
    finally:
        await stage.close()


async def settled(demo: DemoServer) -> None:
    """Wait until nothing that is due is left untold."""
    end = time.monotonic() + SETTLE_S
    while time.monotonic() < end:
        untold = rows(
            demo,
            "SELECT alert.id, kind FROM alert, contact_point AS point WHERE NOT EXISTS (SELECT 1 FROM sending"
            " JOIN attempt ON attempt.id = sending.attempt WHERE attempt.alert = alert.id"
            " AND sending.contact = point.id AND sending.outcome = 'ok')",
        )
        if not untold:
            return
        await asyncio.sleep(0.25)
    raise AssertionError(f"{len(untold)} alerts were not told by a channel in {SETTLE_S:g} s")


def check(
    demo: DemoServer, flagged: set[str], written: set[str], mail: MailCatcher, hooks: HookCatcher
) -> None:
    """What was acked is there; what is there was attempted; one key is one telling."""
    alerts = {id for (id,) in rows(demo, "SELECT id FROM alert")}
    assert flagged <= alerts, "an acked flag is lost"
    evidence = {message for (message,) in rows(demo, "SELECT message FROM alert_event")}
    carried = {message for (message,) in rows(demo, "SELECT message FROM verdict WHERE risk > 1")}
    assert carried <= evidence, "rule 8"
    assert {m for (m,) in rows(demo, "SELECT id FROM message")} >= written
    assert len(alerts) >= ROUNDS, "nothing was raised before the kills"
    for channel in ("in_app", "email", "webhook"):
        attempted = {id for (id,) in rows(demo, f"SELECT alert FROM attempt WHERE channel = '{channel}'")}
        assert attempted == alerts, f"not every alert was attempted by {channel}"
    arrived = Counter(hook.headers["x-peerchat-id"] for hook in hooks.hooks)
    of_key = dict(rows(demo, "SELECT key, alert FROM attempt WHERE channel = 'webhook'"))
    assert arrived.keys() <= of_key.keys(), "something was sent that no row tells of"
    assert {of_key[key] for key in arrived} == alerts
    assert len(mail.mails) >= len(alerts)
    doubles = sum(arrived.values()) - len(arrived)
    print(f"\n{len(alerts)} alerts, {len(hooks.hooks)} posts, {doubles} doubles, {len(mail.mails)} mails")
