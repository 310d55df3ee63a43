"""The contract of `peerchat.ports.Broker`, for every form of it: a new one joins by its line in `BROKERS`."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from peerchat.backends.memory import MemoryBroker
from peerchat.ports import Broker, Event

SOON = 5.0
"""Seconds after which something that should have come will not come; nothing here takes that long."""


@asynccontextmanager
async def memory() -> AsyncIterator[Broker]:
    yield MemoryBroker()


BROKERS: dict[str, Callable[[], AbstractAsyncContextManager[Broker]]] = {"memory": memory}


@pytest.fixture(params=BROKERS)
async def broker(request) -> AsyncIterator[Broker]:
    async with BROKERS[request.param]() as broker:
        yield broker


def note(n: int) -> Event:
    return Event(payload=f"{n}", to=("m",), skip="l", close=None)


async def some(events: AsyncIterator[Event], count: int) -> list[Event]:
    async with asyncio.timeout(SOON):
        return [await anext(events) for _ in range(count)]


async def test_events_come_in_the_order_they_were_published(broker):
    """Across batches, and within each."""
    async with broker.subscribe("n") as events:
        await broker.publish("n", [note(0), note(1)])
        await broker.publish("n", [note(2)])
        assert await some(events, 3) == [note(0), note(1), note(2)]


async def test_on_entry_the_subscription_is_live(broker):
    """What is published right after it is not lost."""
    for n in range(20):
        async with broker.subscribe("n") as events:
            await broker.publish("n", [note(n)])
            assert await some(events, 1) == [note(n)]


async def test_a_live_subscriber_loses_nothing(broker):
    """However much comes before it reads."""
    async with broker.subscribe("n") as events:
        for n in range(2_000):
            await broker.publish("n", [note(n)])
        assert await some(events, 2_000) == [note(n) for n in range(2_000)]


async def test_every_field_of_an_event_comes_through(broker):
    whole = Event(
        payload='{"type":"é \U0001f9e1"}',
        to=("a", "b"),
        site="s",
        roles=("adult",),
        connection="c",
        skip="l",
        close=4100,
        tokens=("t1", "t2"),
    )
    async with broker.subscribe("n") as events:
        await broker.publish("n", [whole, Event()])
        assert await some(events, 2) == [whole, Event()]


async def test_each_node_hears_its_own(broker):
    """And nothing of another's."""
    async with broker.subscribe("a") as first, broker.subscribe("b") as second:
        await broker.publish("b", [note(1)])
        await broker.publish("a", [note(2)])
        assert await some(first, 1) == [note(2)] and await some(second, 1) == [note(1)]


async def test_a_node_without_subscribers_drops_what_comes(broker):
    """Nobody waits for it, and who comes later does not get it."""
    async with asyncio.timeout(SOON):
        await broker.publish("n", [note(0)])
    async with broker.subscribe("n") as events:
        await broker.publish("n", [note(1)])
        assert await some(events, 1) == [note(1)]


async def test_who_left_hears_nothing_and_may_come_back(broker):
    async with broker.subscribe("n"):
        pass
    await broker.publish("n", [note(0)])
    async with broker.subscribe("n") as events:
        await broker.publish("n", [note(1)])
        assert await some(events, 1) == [note(1)]


async def test_two_subscribers_of_one_node_both_hear_all(broker):
    async with broker.subscribe("n") as first, broker.subscribe("n") as second:
        await broker.publish("n", [note(0), note(1)])
        assert await some(first, 2) == await some(second, 2) == [note(0), note(1)]


async def test_a_batch_is_what_it_was_when_it_was_published(broker):
    """The publisher may go on with its list."""
    batch = [note(0)]
    async with broker.subscribe("n") as events:
        await broker.publish("n", batch)
        batch.append(note(9))
        await broker.publish("n", [note(1)])
        assert await some(events, 2) == [note(0), note(1)]


async def test_many_publishers_each_keep_their_order(broker):
    async with broker.subscribe("n") as events:

        async def speak(who: int) -> None:
            for n in range(50):
                await broker.publish("n", [note(who * 100 + n)])

        await asyncio.gather(*(speak(who) for who in range(4)))
        said = [int(e.payload or "") for e in await some(events, 200)]
    for who in range(4):
        assert [n for n in said if n // 100 == who] == [who * 100 + n for n in range(50)]


# ---------------------------------------------------------------------------- of the one in memory


async def test_memory_a_full_subscriber_makes_the_publisher_wait():
    """Nothing is dropped in silence; read, and it goes on."""
    broker = MemoryBroker(backlog=1)
    async with broker.subscribe("n") as events:
        await broker.publish("n", [note(0)])
        waiting = asyncio.create_task(broker.publish("n", [note(1)]))
        await asyncio.sleep(0)
        assert not waiting.done()
        assert await some(events, 1) == [note(0)]
        await waiting
        assert await some(events, 1) == [note(1)]


@pytest.mark.parametrize("publishers", [1, 3])
async def test_memory_a_subscriber_that_leaves_lets_the_publishers_go(publishers):
    """Whoever waited for its room waits no more."""
    broker = MemoryBroker(backlog=1)
    async with broker.subscribe("n"):
        await broker.publish("n", [note(0)])
        waiting = [asyncio.create_task(broker.publish("n", [note(n)])) for n in range(publishers)]
        await asyncio.sleep(0)
    async with asyncio.timeout(SOON):
        await asyncio.gather(*waiting)
