"""The store: one `Tx` with all tables by noun, opened with its migrations run."""

import asyncio
import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from escalation.audit import Entry, SignedCheckpoint
from peerchat.errors import SettingsError
from peerchat.model import next_order
from peerchat.ports import Event
from peerchat.store.alerts import Alerts
from peerchat.store.audit import AuditLog
from peerchat.store.channels import Channels
from peerchat.store.conversations import Conversations
from peerchat.store.database import Database, Transaction, sqlite_engine
from peerchat.store.duty import DutyBook
from peerchat.store.figures import Figures
from peerchat.store.members import Members
from peerchat.store.messages import Messages
from peerchat.store.records import Records
from peerchat.store.reviews import Reviews
from peerchat.store.rota import RotaBook
from peerchat.store.seal import Keyring
from peerchat.store.sites import Sites
from peerchat.store.tables import AlertEvent, Attempt, Message, ReportRow, table
from peerchat.store.tickets import Tickets

ORDERED = [table(row) for row in (Message, AlertEvent, Attempt, ReportRow)]
"""Tables whose rows have an order of their own; see `peerchat.model.next_order`."""

MIGRATIONS = Path(__file__).parent / "migrations"


class Tx(Transaction):
    """One transaction, with the tables by noun."""

    @cached_property
    def sites(self) -> Sites:
        return Sites(self)

    @cached_property
    def members(self) -> Members:
        return Members(self)

    @cached_property
    def conversations(self) -> Conversations:
        return Conversations(self)

    @cached_property
    def messages(self) -> Messages:
        return Messages(self)

    @cached_property
    def tickets(self) -> Tickets:
        return Tickets(self)

    @cached_property
    def reviews(self) -> Reviews:
        return Reviews(self)

    @cached_property
    def alerts(self) -> Alerts:
        return Alerts(self)

    @cached_property
    def records(self) -> Records:
        return Records(self)

    @cached_property
    def channels(self) -> Channels:
        return Channels(self)

    @cached_property
    def duty(self) -> DutyBook:
        return DutyBook(self)

    @cached_property
    def rota(self) -> RotaBook:
        return RotaBook(self)

    @cached_property
    def figures(self) -> Figures:
        return Figures(self)

    @cached_property
    def audit(self) -> AuditLog:
        return AuditLog(self)


Store = Database[Tx]


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold a data folder as its one server; `SettingsError` where another server does.

    Two on one folder would look well and not be: each tells its own lines alone, so what one delivers, ends
    or raises would not be seen on the other's. The system lets go however the process ends. Commands beside
    the server (`peerchat site`, `peerchat audit`) need no hold: what they write, its rounds find.
    """
    file = os.open(folder / "server.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingsError(f"data: another server works on {folder}; it has room for one") from None
        yield
    finally:
        os.close(file)


def open_store(
    folder: Path,
    keyring: Keyring,
    *,
    clock: Callable[[], datetime],
    on_events: Callable[[Sequence[Event]], None],
    loop: asyncio.AbstractEventLoop,
) -> Store:
    """Open (and make, and migrate) the database in a folder, for use from one event loop. Blocks."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = database_file(folder)
    migrate(path)
    path.chmod(0o600)
    next_order.start_after(_last_order(path))
    return Database(path, keyring, clock=clock, on_events=on_events, transaction=Tx, loop=loop)


def _last_order(path: Path) -> int:
    engine = sqlite_engine(path)
    with engine.connect() as connection:
        found = [connection.execute(sa.select(sa.func.max(t.c.n))).scalar() for t in ORDERED]
    engine.dispose()
    return max((n for n in found if n is not None), default=0)


def database_file(folder: Path) -> Path:
    """Return where a data folder keeps its database."""
    return folder / "peerchat.db"


def keys_file(folder: Path) -> Path:
    """Return where a data folder keeps its wrapped keys: apart from the database and its backups."""
    return folder / "keys.db"


def migrate(path: Path, *, to: str = "head") -> None:
    """Bring a database to a revision."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    engine = sqlite_engine(path)
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            config.attributes["connection"] = connection
            command.upgrade(config, to) if to != "base" else command.downgrade(config, to)
            connection.commit()
    finally:
        engine.dispose()


def kept_checkpoints(path: Path) -> list[SignedCheckpoint]:
    """Return the checkpoints of a database without the server and without any key; none where it has none."""
    if not path.exists():
        return []
    engine = sqlite_engine(path)
    try:
        with engine.connect() as connection:
            if not sa.inspect(connection).has_table("checkpoint"):
                return []
            return AuditLog(Transaction(connection)).checkpoints()
    finally:
        engine.dispose()


@contextmanager
def open_audit(path: Path) -> Iterator[Iterator[Entry]]:
    """Read a database's log without the server and without any key."""
    engine = sqlite_engine(path)
    with engine.connect() as connection:
        connection.exec_driver_sql("BEGIN")
        yield AuditLog(Transaction(connection)).all()
    engine.dispose()
