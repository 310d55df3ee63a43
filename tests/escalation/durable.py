"""The real store for a virtual loop: the same tables and transactions, without threads: a seed decides all.

Before and after each commit stands a seam: a place where a test may let the process wait, or end.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa

from peerchat.errors import StoreUnavailable
from peerchat.store.database import Database, _Job
from peerchat.store.seal import Keyring
from peerchat.store.sql import Tx, database_file

T = TypeVar("T")
Seam = Callable[[str], Awaitable[None]]


class Durable(Database[Tx]):
    """One process's store over a folder. `broken` refuses every write, as a full disk does."""

    def __init__(self, folder: Path, keyring: Keyring, *, clock: Callable[[], datetime], seam: Seam) -> None:
        super().__init__(
            database_file(folder),
            keyring,
            clock=clock,
            on_events=lambda events: None,
            transaction=Tx,
            loop=asyncio.get_running_loop(),
        )
        self.broken = False
        self._seam = seam
        self._own: sa.Connection | None = None

    async def write(self, body: Callable[[Tx], T]) -> T:
        """Run a body and commit it, here and now."""
        await self._seam("before a commit")
        if self.broken:
            raise StoreUnavailable("disk full")
        self._own = self._own or self._engine.connect()
        job = _Job(body, self._loop.create_future())
        self._waiting += 1
        self._commit(self._own, [job])
        self._settle([job])
        settled: asyncio.Future[T] = job.future
        if job.error is None:
            await self._seam("after a commit")
        return await settled

    async def read(self, body: Callable[[Tx], T]) -> T:
        """Run a body on a snapshot."""
        await self._seam("before a read")
        return self._read(body)

    def close(self) -> None:
        """Close what this process had open."""
        if self._own is not None:
            self._own.close()
        super().close()
