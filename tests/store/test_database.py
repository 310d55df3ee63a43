"""The contract of the store: what is acknowledged is on disk, and what failed is not there at all."""

import asyncio
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from peerchat.errors import PeerchatError, StoreUnavailable
from peerchat.model import new_id, next_order
from peerchat.ports import Event
from peerchat.store.database import BACKLOG, GROUP, sqlite_engine
from peerchat.store.sql import database_file
from peerchat.store.tables import UtcDateTime
from tests.store.test_seal import furnish, new_message

ROOT = Path(__file__).resolve().parents[2]


def add(name):
    """Return a body that appends one row to the log, and tells of it."""

    def body(tx):
        tx.emit(Event(payload=name))
        return tx.audit.append("test", name, "row")

    return body


async def names(store):
    return [e.kind for e in await store.read(lambda tx: list(tx.audit.all()))]


class Blocked:
    """Hold the writer inside a transaction until `go` is set."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.go = threading.Event()
        self._loop = asyncio.get_running_loop()

    def body(self, tx):
        self._loop.call_soon_threadsafe(self.entered.set)
        assert self.go.wait(10)

    async def hold(self, store):
        task = asyncio.create_task(store.write(self.body))
        await self.entered.wait()
        return task


# ---------------------------------------------------------------------------- writing


async def test_rule_03_a_write_returns_once_it_is_on_disk(store, shop):
    """Another connection sees it the moment that the caller hears of it."""
    assert await store.write(add("one")) == 1
    with sqlite3.connect(database_file(shop.folder)) as other:
        assert other.execute("SELECT kind FROM audit").fetchall() == [("one",)]
    other.close()


async def test_many_writes_share_a_commit(store):
    """Whatever came while the last commit ran goes into the next, up to the bound, in the order it came."""
    blocked = Blocked()
    holding = await blocked.hold(store)
    before = store.commits
    writes = [asyncio.create_task(store.write(add(f"{n}"))) for n in range(GROUP * 2)]
    await asyncio.sleep(0)
    blocked.go.set()
    results = await asyncio.gather(*writes)
    await holding
    assert results == list(range(1, GROUP * 2 + 1))
    assert await names(store) == [f"{n}" for n in range(GROUP * 2)]
    assert store.commits - before == 3


async def test_one_that_fails_is_rolled_back_alone(store, shop):
    """Its caller hears its own error; the others of the commit are stored, and only they are told."""

    class Mine(PeerchatError):
        pass

    def fails(tx):
        add("bad")(tx)
        raise Mine("no")

    def breaks(tx):
        add("worse")(tx)
        tx.connection.exec_driver_sql("INSERT INTO nowhere VALUES (1)")

    blocked = Blocked()
    holding = await blocked.hold(store)
    writes = [
        asyncio.create_task(store.write(body)) for body in (add("a"), fails, add("b"), breaks, add("c"))
    ]
    await asyncio.sleep(0)
    blocked.go.set()
    a, bad, b, worse, c = await asyncio.gather(*writes, return_exceptions=True)
    await holding
    assert (a, b, c) == (1, 2, 3)
    assert isinstance(bad, Mine) and isinstance(worse, StoreUnavailable)
    assert await names(store) == ["a", "b", "c"]
    assert [e.payload for e in shop.told] == ["a", "b", "c"]


@pytest.mark.parametrize("error", [ValueError("x"), PeerchatError("x"), KeyError("x")])
async def test_one_that_fails_by_itself_leaves_nothing(store, shop, error):
    """Alone in its commit: neither its row nor its event is there, and the next write goes on."""

    def fails(tx):
        add("bad")(tx)
        raise error

    with pytest.raises(type(error)):
        await store.write(fails)
    await store.write(add("good"))
    assert await names(store) == ["good"] and [e.payload for e in shop.told] == ["good"]


async def test_a_commit_that_fails_fails_for_all_of_it(store, shop):
    """Every caller hears `StoreUnavailable`; nothing is there, nothing is told, and the store lives on."""

    def ends_it(tx):
        tx.connection.exec_driver_sql("ROLLBACK")

    blocked = Blocked()
    holding = await blocked.hold(store)
    writes = [asyncio.create_task(store.write(body)) for body in (add("a"), ends_it, add("b"))]
    await asyncio.sleep(0)
    blocked.go.set()
    results = await asyncio.gather(*writes, return_exceptions=True)
    await holding
    assert all(isinstance(r, StoreUnavailable) for r in results)
    assert await names(store) == [] and shop.told == []
    assert await store.write(add("later")) == 1


async def test_events_come_after_the_commit_in_its_order_and_before_the_answer(shop):
    """Nothing is told before it is true; whoever is answered knows that it is on its way."""
    seen = []

    def told(events):
        with sqlite3.connect(database_file(shop.folder)) as other:
            rows = other.execute("SELECT count(*) FROM audit").fetchone()[0]
        other.close()
        seen.append((len(told_names) + len(events), rows))
        told_names.extend(e.payload for e in events)

    told_names: list[str] = []
    store = shop.open(on_events=told)
    for n in range(20):
        await asyncio.gather(*(store.write(add(f"{n}-{m}")) for m in range(n % 4 + 1)))
        assert len(told_names) == sum(i % 4 + 1 for i in range(n + 1))
    assert all(rows >= known for known, rows in seen)
    assert told_names == await names(store)


async def test_a_caller_that_goes_away_undoes_nothing(store, shop):
    """What was handed in is committed and told."""
    blocked = Blocked()
    holding = await blocked.hold(store)
    leaving = asyncio.create_task(store.write(add("left")))
    failing = asyncio.create_task(store.write(lambda tx: 1 / 0))
    await asyncio.sleep(0)
    leaving.cancel()
    failing.cancel()
    blocked.go.set()
    await holding
    await asyncio.gather(leaving, failing, return_exceptions=True)
    await store.write(add("after"))
    assert leaving.cancelled() and await names(store) == ["left", "after"]
    assert [e.payload for e in shop.told] == ["left", "after"]


async def test_a_full_backlog_is_said_at_once(store):
    """Not queued without end: the caller hears that it is too much, and later it works again."""
    blocked = Blocked()
    holding = await blocked.hold(store)
    waiting = [asyncio.create_task(store.write(lambda tx: None)) for _ in range(BACKLOG - 1)]
    await asyncio.sleep(0)
    with pytest.raises(StoreUnavailable):
        await store.write(add("too many"))
    blocked.go.set()
    await asyncio.gather(holding, *waiting)
    assert await store.write(add("now")) == 1


async def test_closing_finishes_what_waits(store, shop):
    """Everything that was taken is stored and answered; nothing is taken after it."""
    writes = [asyncio.create_task(store.write(add(f"{n}"))) for n in range(100)]
    await asyncio.sleep(0)
    store.close()
    assert await asyncio.gather(*writes) == list(range(1, 101))
    with pytest.raises(StoreUnavailable):
        await store.write(add("late"))
    with pytest.raises(StoreUnavailable):
        await store.read(lambda tx: None)
    store.close()
    assert await names(shop.open()) == [f"{n}" for n in range(100)]


# ---------------------------------------------------------------------------- reading


async def test_a_read_writes_nothing(store, shop):
    """What it writes is undone, and what it would tell is not told."""
    await store.read(add("never"))
    assert await names(store) == [] and shop.told == []
    assert await store.write(add("one")) == 1


async def test_a_read_sees_one_moment(store):
    """A commit in the middle of it changes nothing for it."""
    between, go, loop = asyncio.Event(), threading.Event(), asyncio.get_running_loop()

    def body(tx):
        before = len(tx.audit.entries())
        loop.call_soon_threadsafe(between.set)
        assert go.wait(10)
        return before, len(tx.audit.entries())

    reading = asyncio.create_task(store.read(body))
    await between.wait()
    await store.write(add("one"))
    go.set()
    assert await reading == (0, 0)
    assert await names(store) == ["one"]


async def test_a_read_that_fails_spoils_no_later_one(store):
    """The connection is used again, without what the failed one did."""
    with pytest.raises(ZeroDivisionError):
        await store.read(lambda tx: add("x")(tx) / 0)
    with pytest.raises(StoreUnavailable):
        await store.read(lambda tx: tx.connection.exec_driver_sql("SELECT * FROM nowhere"))
    for _ in range(4):
        assert await names(store) == []


async def test_a_transaction_has_one_moment(store, shop):
    """Its clock stands still, however long it takes."""

    def body(tx):
        first = tx.now
        shop.advance(hours=1)
        return first, tx.now

    first, second = await store.write(body)
    assert first == second == shop.now - timedelta(hours=1)


# ---------------------------------------------------------------------------- the file


def test_every_connection_is_durable(tmp_path):
    """WAL with synchronous FULL, and foreign keys that are kept."""
    engine = sqlite_engine(tmp_path / "x.db")
    for _ in range(2):
        with engine.connect() as connection:
            pragmas = {
                name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                for name in ("journal_mode", "synchronous", "foreign_keys")
            }
            assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
    engine.dispose()


def test_a_file_that_cannot_be_durable_is_refused():
    """A database in memory has no WAL: it is not opened, rather than opened with less."""
    engine = sqlite_engine(Path(":memory:"))
    with pytest.raises(StoreUnavailable):
        engine.connect()
    engine.dispose()


async def test_nobody_else_reads_the_files(store, shop):
    """Database, log and keys are the owner's alone."""
    await store.write(add("one"))
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in shop.folder.iterdir()}
    assert {name for name, mode in modes.items() if mode & 0o077} == set() and len(modes) >= 4


WRITER = """
import asyncio, sys
from datetime import UTC, datetime
from pathlib import Path
from peerchat.store.seal import Keyring
from peerchat.store.sql import keys_file, open_store

async def main(folder):
    store = open_store(folder, Keyring(keys_file(folder), bytes(32)), clock=lambda: datetime.now(UTC),
                       on_events=lambda events: None, loop=asyncio.get_running_loop())
    async def write(n):
        row = await store.write(lambda tx: tx.audit.append("child", f"{n}", "row"))
        print(n, row, flush=True)
    for n in range(0, 100_000, 8):
        await asyncio.gather(*(write(n + m) for m in range(8)))

asyncio.run(main(Path(sys.argv[1])))
"""


def test_rule_03_a_killed_process_loses_nothing_that_it_acked(shop):
    """Ended in the middle of its writing, three times: every acked row is there, and the chain is whole."""
    shop.folder.mkdir()
    acked: dict[str, int] = {}
    for _ in range(3):
        child = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(shop.folder)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert child.stdout is not None
        mine = {}
        for line in child.stdout:
            n, row = line.split()
            mine[n] = int(row)
            if len(mine) == 60:
                child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        assert len(mine) >= 60
        acked |= {f"{row}": int(n) for n, row in mine.items()}

    async def check():
        store = shop.open(keyring=shop.keyring(bytes(32)))
        rows = {f"{e.n}": int(e.kind) for e in await store.read(lambda tx: list(tx.audit.all()))}
        assert acked.items() <= rows.items()
        store.close()

    asyncio.run(check())


# ---------------------------------------------------------------------------- values


def test_a_naive_moment_is_refused():
    """Nobody's guess of a time zone comes into the database."""
    with pytest.raises(ValueError, match="time zone"):
        UtcDateTime().process_bind_param(datetime(2026, 3, 2), sa.create_engine("sqlite://").dialect)  # noqa: DTZ001


async def test_a_moment_comes_back_as_it_went(store, shop):
    """Aware, in UTC, to the microsecond."""
    shop.now = shop.now.replace(microsecond=123456)
    await store.write(add("one"))
    [row] = await store.read(lambda tx: list(tx.audit.all()))
    assert row.at == shop.now and row.at.tzinfo is not None


def test_an_id_tells_nothing():
    """Neither when it was made nor what came before it; each once, all of one length."""
    ids = [new_id("x") for _ in range(10_000)]
    assert len(set(ids)) == len(ids) and {len(i) for i in ids} == {2 + 32}
    assert ids != sorted(ids)


def test_the_order_of_rows_only_rises(monkeypatch):
    """More than one millisecond holds, from several threads, and over a clock that steps back."""
    first = next_order()
    made: list[list[int]] = []

    def make():
        made.append([next_order() for _ in range(100_000)])

    threads = [threading.Thread(target=make) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(part == sorted(part) for part in made)
    every = [n for part in made for n in part]
    assert len(set(every)) == len(every) and min(every) > first
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    assert next_order() > max(every)


async def test_the_order_of_rows_goes_on_after_a_restart_with_a_clock_behind(shop, monkeypatch):
    """The next process begins after the last row of the one before, whatever the clock says."""
    monkeypatch.setattr("peerchat.model.next_order._last", 0)
    monkeypatch.setattr(time, "time_ns", lambda: 4_000_000_000_000_000_000)
    store = shop.open()
    _, pupil, _, c = await store.write(furnish)
    await store.write(lambda tx: tx.messages.insert([new_message(c, pupil, "one")]))
    store.close()
    monkeypatch.setattr("peerchat.model.next_order._last", 0)
    monkeypatch.setattr(time, "time_ns", lambda: 1_000_000_000_000_000_000)
    again = shop.open()
    await again.write(lambda tx: tx.messages.insert([new_message(c, pupil, "two")]))
    assert [m.text for m in await again.read(lambda tx: tx.messages.held_in(c))] == ["one", "two"]
