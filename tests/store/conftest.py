"""A store on a real file, with a clock that a test moves; and what it told."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from peerchat.ports import Event
from peerchat.store.seal import Keyring
from peerchat.store.sql import Store, keys_file, open_store
from tests.store.folder import quick_folder

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
MASTER = bytes(range(32))


class Shop:
    """Opens stores over one folder; `told` are the events of all of them, in order."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = NOW
        self.told: list[Event] = []
        self._stack = ExitStack()

    def advance(self, **by: float) -> None:
        self.now += timedelta(**by)

    def keyring(self, master: bytes = MASTER) -> Keyring:
        self.folder.mkdir(parents=True, exist_ok=True)
        ring = Keyring(keys_file(self.folder), master)
        self._stack.callback(ring.close)
        return ring

    def open(
        self, *, keyring: Keyring | None = None, on_events: Callable[[Sequence[Event]], None] | None = None
    ) -> Store:
        store = open_store(
            self.folder,
            keyring or self.keyring(),
            clock=lambda: self.now,
            on_events=on_events or self.told.extend,
            loop=asyncio.get_running_loop(),
        )
        self._stack.callback(store.close)
        return store

    def close(self) -> None:
        self._stack.close()


@pytest.fixture
def shop() -> Iterator[Shop]:
    with quick_folder() as folder:
        shop = Shop(folder / "data")
        yield shop
        shop.close()


@pytest.fixture
async def store(shop: Shop) -> AsyncIterator[Store]:
    yield shop.open()
