"""The engine: one writer thread with grouped commits, readers beside it, and what a transaction offers.

Transaction bodies are plain functions of a transaction. They run on the writer's thread, many in one SQLite
transaction with a savepoint each; one that raises is rolled back alone, and only its caller hears of it.
Events that a body emits are handed on after the commit, in commit order: nothing is told before it is true.
"""

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any, Generic, TypeVar

import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from peerchat.errors import StoreRefused, StoreUnavailable
from peerchat.ports import Event
from peerchat.store.seal import Keyring

log = logging.getLogger(__name__)
T = TypeVar("T")
AnyRow = sa.Row[*tuple[Any, ...]]

GROUP = 64
"""Transaction bodies in one commit, at most."""

BACKLOG = 2_000
"""Bodies that may wait for the writer; beyond it callers hear `StoreUnavailable` at once."""

READERS = 2


_UNWRITTEN = (sa.exc.OperationalError, StoreUnavailable)
"""What one body hears where the database, or the keys' file, cannot be written."""


class Transaction:
    """One transaction: its connection, the moment it began, and the events it will cause."""

    def __init__(
        self, connection: sa.Connection, keyring: Keyring | None = None, now: datetime | None = None
    ) -> None:
        self.connection = connection
        self._keyring = keyring
        self._now = now
        self.events: list[Event] = []

    @property
    def keyring(self) -> Keyring:
        """The keys of texts; an offline reading of the log has none."""
        assert self._keyring is not None
        return self._keyring

    @property
    def now(self) -> datetime:
        """The moment the transaction began."""
        assert self._now is not None
        return self._now

    def emit(self, *events: Event) -> None:
        """Tell these once this transaction is committed, and only then."""
        self.events.extend(events)

    def execute(self, statement: sa.Executable, parameters: Any = None) -> sa.CursorResult[Any]:
        """Run one statement."""
        result = self.connection.execute(statement, parameters)
        assert isinstance(result, sa.CursorResult)
        return result

    def rows(self, statement: sa.Executable) -> Sequence[AnyRow]:
        """Run a query; return all rows."""
        return self.connection.execute(statement).all()

    def row(self, statement: sa.Executable) -> AnyRow | None:
        """Run a query; return its first row, or None."""
        return self.connection.execute(statement).first()


X = TypeVar("X", bound=Transaction)


class _Job:
    __slots__ = ("body", "error", "events", "future", "result")

    def __init__(self, body: Callable[[Any], Any], future: "asyncio.Future[Any]") -> None:
        self.body = body
        self.future = future
        self.result: Any = None
        self.error: BaseException | None = None
        self.events: list[Event] = []


class Database(Generic[X]):
    """Truth on SQLite: WAL, synchronous FULL. `transaction` makes what bodies work with."""

    def __init__(
        self,
        path: Path,
        keyring: Keyring,
        *,
        clock: Callable[[], datetime],
        on_events: Callable[[Sequence[Event]], None],
        transaction: Callable[[sa.Connection, Keyring, datetime], X],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._engine = sqlite_engine(path)
        self._keyring = keyring
        self._clock = clock
        self._on_events = on_events
        self._transaction = transaction
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._waiting = 0
        self._loop = loop
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="store-read")
        self._local = threading.local()
        self._reader_connections: list[sa.Connection] = []
        self._writer = threading.Thread(target=self._write_forever, name="store-write", daemon=True)
        self._stopped = False
        self.commits = 0
        self.commit_s = 0.0
        self.failing = False
        """Whether something could not be written since `recovered`: a full disk, a lost file."""
        self._writer.start()

    async def write(self, body: Callable[[X], T]) -> T:
        """Run a body in a transaction; return its result once it is durable.

        Raises what the body raises (nothing of it is stored), or `StoreUnavailable` when the commit failed.
        Events it emitted are on their way before this returns.
        """
        if self._stopped or self._waiting >= BACKLOG:
            raise StoreUnavailable("the store takes no more work just now")
        future: asyncio.Future[T] = self._loop.create_future()
        self._waiting += 1
        self._jobs.put(_Job(body, future))
        return await asyncio.shield(future)  # a caller that goes away does not undo what is on its way

    async def read(self, body: Callable[[X], T]) -> T:
        """Run a body on a snapshot; what it writes is undone."""
        if self._stopped:
            raise StoreUnavailable("the store is closed")
        try:
            return await self._loop.run_in_executor(self._readers, self._read, body)
        except sa.exc.SQLAlchemyError as error:
            raise StoreUnavailable(f"a read failed: {type(error).__name__}") from None

    def recovered(self) -> None:
        """Say that writing works again. Only a write that surely met the disk tells: see `Sites.beat`."""
        self.failing = False

    def close(self) -> None:
        """Finish what waits, then stop. Blocks for the last commit."""
        if self._stopped:
            return
        self._stopped = True
        self._jobs.put(None)
        self._writer.join(30)
        self._readers.shutdown(wait=True)
        for connection in self._reader_connections:
            connection.close()
        self._engine.dispose()

    # -- threads

    def _read(self, body: Callable[[X], T]) -> T:
        connection: sa.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._engine.connect()
            self._local.connection = connection
            self._reader_connections.append(connection)
        try:
            connection.exec_driver_sql("BEGIN")
            return body(self._transaction(connection, self._keyring, self._clock()))
        finally:
            connection.rollback()

    def _write_forever(self) -> None:
        try:
            connection = self._engine.connect()
            while group := self._next_group():
                self._commit(connection, group)
                self._loop.call_soon_threadsafe(self._settle, group)
            connection.close()
        except Exception as error:  # no writer, no service: callers must hear it, and not wait for ever
            self._stopped = True
            log.critical("the writer ended: %s", type(error).__name__)
            self._loop.call_soon_threadsafe(self._give_up)

    def _next_group(self) -> list[_Job]:
        """Wait for work; return what came meanwhile, too. Empty: told to stop, and nothing is left."""
        group: list[_Job] = []
        while len(group) < GROUP:
            try:
                job = self._jobs.get(block=not group)
            except queue.Empty:
                break
            if job is None:
                if group:
                    self._jobs.put(None)
                break
            group.append(job)
        return group

    def _give_up(self) -> None:
        while True:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return
            if job is not None and not job.future.done():
                job.future.set_exception(StoreUnavailable("the store has stopped"))

    def _commit(self, connection: sa.Connection, group: list[_Job]) -> None:
        began = time.perf_counter()
        try:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            for job in group:
                self._run(connection, job, alone=len(group) == 1)
            connection.commit()
            self.commits += 1
            self.failing = self.failing or any(isinstance(job.error, _UNWRITTEN) for job in group)
        except Exception as error:  # the whole group failed: every caller hears it, nothing is half done
            try:
                connection.rollback()
            except sa.exc.SQLAlchemyError:
                log.error("rollback failed")
            log.error("commit failed: %s", type(error).__name__)
            self.failing = True
            for job in group:
                job.events = []
                job.error = job.error or StoreUnavailable(f"the commit failed: {type(error).__name__}")
        self.commit_s += time.perf_counter() - began

    def _run(self, connection: sa.Connection, job: _Job, *, alone: bool) -> None:
        tx = self._transaction(connection, self._keyring, self._clock())
        if not alone:
            connection.exec_driver_sql("SAVEPOINT job")
        try:
            job.result = job.body(tx)
            job.events = tx.events
        except Exception as error:  # handed to the caller below; the others of the group go on
            job.error = error
        if alone:
            if job.error is not None:
                connection.rollback()
                connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            if job.error is not None:
                connection.exec_driver_sql("ROLLBACK TO job")
            connection.exec_driver_sql("RELEASE job")

    def _settle(self, group: list[_Job]) -> None:
        self._waiting -= len(group)
        events = [event for job in group for event in job.events]
        if events:
            self._on_events(events)
        for job in group:
            if job.future.cancelled():
                continue
            if job.error is None:
                job.future.set_result(job.result)
            elif isinstance(job.error, sa.exc.SQLAlchemyError):
                job.future.set_exception(StoreRefused(f"the store refused: {type(job.error).__name__}"))
            else:
                job.future.set_exception(job.error)


def sqlite_engine(path: Path) -> sa.Engine:
    """Return an engine whose every connection is in WAL mode with synchronous FULL, asserted."""
    engine = sa.create_engine(
        f"sqlite:///{path}",
        poolclass=NullPool,
        # the writer and the readers say BEGIN themselves: the driver must not
        connect_args={"check_same_thread": False, "timeout": 30, "isolation_level": None},
    )

    @sa.event.listens_for(engine, "connect")
    def _pragmas(dbapi: Any, _record: Any) -> None:
        cursor = dbapi.cursor()
        mode = cursor.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA cache_size=-32768")
        level = cursor.execute("PRAGMA synchronous").fetchone()[0]
        cursor.close()
        if mode != "wal" or level != 2:
            raise StoreUnavailable("SQLite would not take WAL with synchronous FULL")

    return engine
