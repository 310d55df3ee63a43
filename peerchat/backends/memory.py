"""The in-process default of the ports: one node, no dependency, bounded."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from peerchat.ports import Event, NodeId

BACKLOG = 10_000
"""Batches that may wait for one subscriber; beyond it the publisher waits, so nothing is dropped silently."""


class MemoryBroker:
    """Carry events within one process: exactly once to each live subscriber, in order."""

    def __init__(self, *, backlog: int = BACKLOG) -> None:
        self._backlog = backlog
        self._queues: dict[NodeId, list[asyncio.Queue[tuple[Event, ...]]]] = {}

    async def publish(self, to: NodeId, events: Sequence[Event]) -> None:
        """Hand a batch to a node's subscribers; waits while one of them is full."""
        batch = tuple(events)
        for queue in tuple(self._queues.get(to, ())):
            await queue.put(batch)

    @asynccontextmanager
    async def subscribe(self, node: NodeId) -> AsyncIterator[AsyncIterator[Event]]:
        """Enter with a live subscription; leave without one."""
        queue: asyncio.Queue[tuple[Event, ...]] = asyncio.Queue(self._backlog)
        self._queues.setdefault(node, []).append(queue)
        try:
            yield _drain(queue)
        finally:
            self._queues[node].remove(queue)
            if not self._queues[node]:
                del self._queues[node]
            while not queue.empty():  # a publisher that waits for room must not wait for ever
                queue.get_nowait()
                await asyncio.sleep(0)


async def _drain(queue: asyncio.Queue[tuple[Event, ...]]) -> AsyncIterator[Event]:
    while True:
        for event in await queue.get():
            yield event
