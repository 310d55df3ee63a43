"""The loop that does not rest, in virtual time: what is told, when, and what stands in nobody's way."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta

import pytest

from escalation.alert import AlertState
from escalation.desk import NOTIFY_TIMEOUT_S, SWEEP_S, Desk
from moderation.verdict import Risk
from tests.escalation.shelf import Channel, Shelf
from tests.escalation.virtual import run

START = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)


def clock() -> datetime:
    return START + timedelta(seconds=asyncio.get_running_loop().time())


@asynccontextmanager
async def working(desk: Desk) -> AsyncIterator[None]:
    task = asyncio.create_task(desk.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def sent(channel: Channel, id: str) -> list[float]:
    """Return when an alert was told by a channel, in seconds from the start."""
    return [(at - START).total_seconds() for at, step in channel.sent if step.alert.id == id]


def about(*seconds: float):
    return pytest.approx(list(seconds), abs=0.1)


def test_rule_09_the_ladder_runs_by_itself():
    """Told at once, and at each rung; nobody has to come by."""

    async def story():
        shelf = Shelf(clock)
        channel = Channel(shelf)
        desk = Desk(shelf, [channel], clock=clock)
        async with working(desk):
            await asyncio.sleep(30)
            shelf.raised("a", Risk.IMMEDIATE)
            desk.wake()
            await asyncio.sleep(20 * 60 + 1)
        assert sent(channel, "a") == about(30, 150, 330, 630, 930, 1230)
        assert shelf.alerts["a"].state is AlertState.NOTIFYING

    run(story())


def test_rule_09_what_is_overdue_is_told_at_start():
    """Before anything is woken, in the order of who waits longest."""

    async def story():
        shelf = Shelf(clock)
        channel = Channel(shelf)
        for n in range(250):  # more than one batch
            shelf.put(shelf.raised(f"{n:03}", Risk.HIGH))
        await asyncio.sleep(3600)
        async with working(Desk(shelf, [channel], clock=clock)):
            await asyncio.sleep(1)
            assert len(channel.sent) == 250
            assert all(step.alert.rung == 3 for _, step in channel.sent)

    run(story())


def test_rule_09_without_a_wake_it_is_seen_within_a_sweep():
    """Another process raised it: nobody could wake this one."""

    async def story():
        shelf = Shelf(clock)
        channel = Channel(shelf)
        async with working(Desk(shelf, [channel], clock=clock)):
            await asyncio.sleep(60.5)
            shelf.raised("a", Risk.IMMEDIATE)
            await asyncio.sleep(SWEEP_S + 0.1)
        assert len(sent(channel, "a")) == 1

    run(story())


def test_a_wake_is_seen_at_once_and_none_is_lost():
    """Also one that comes while a sweep is under way."""

    async def story():
        shelf = Shelf(clock)
        channel = Channel(shelf, takes_s=1.0)
        desk = Desk(shelf, [channel], clock=clock, sweep_s=1000)
        async with working(desk):
            await asyncio.sleep(1)
            shelf.raised("a", Risk.IMMEDIATE)
            desk.wake()
            await asyncio.sleep(0.5)
            shelf.raised("b", Risk.IMMEDIATE)
            desk.wake()
            await asyncio.sleep(2.6)
        assert sent(channel, "a") == about(2)
        assert sent(channel, "b")[0] <= 3.1

    run(story())


def test_the_attempt_is_written_before_it_is_sent():
    """`Channel` itself checks; its outcome is written after."""

    async def story():
        shelf = Shelf(clock, channels=("in_app", "sms"))
        channels = [Channel(shelf, "in_app"), Channel(shelf, "sms", ok=False)]
        shelf.raised("a", Risk.IMMEDIATE)
        async with working(Desk(shelf, channels, clock=clock)):
            await asyncio.sleep(1)
        assert [(r.channel, r.outcome) for r in shelf.attempts[:2]] == [("in_app", True), ("sms", False)]
        assert all(channel.sent for channel in channels)

    run(story())


@pytest.mark.parametrize("fault", [{"raises": True}, {"hangs": True}, {"takes_s": 7.0}, {"ok": False}])
@pytest.mark.parametrize("place", [0, 1])
def test_a_bad_channel_does_not_stop_the_others(place, fault):
    """Dead, hanging, slow or refusing: the other channel tells every alert at once, on every rung."""

    async def story():
        shelf = Shelf(clock, channels=("good", "bad"))
        good, bad = Channel(shelf, "good"), Channel(shelf, "bad", **fault)
        ids = [f"{n:02}" for n in range(40)]
        for id in ids:
            shelf.raised(id, Risk.IMMEDIATE)
        async with working(Desk(shelf, [good, bad] if place else [bad, good], clock=clock)):
            await asyncio.sleep(5 * 60 + 60)
        for id in ids:
            assert sent(good, id)[0] < 1
            rungs = {s.alert.rung: at for at, s in reversed(good.sent) if s.alert.id == id}
            assert sorted(rungs) == [0, 1, 2]
            assert all((rungs[n] - START).total_seconds() <= due + 30 for n, due in enumerate((0, 120, 300)))

    run(story())


def test_one_hanging_channel_does_not_hold_up_the_next_alert():
    """An alert that comes while a channel hangs is told by the others within ten seconds."""

    async def story():
        shelf = Shelf(clock, channels=("good", "bad"))
        good, bad = Channel(shelf, "good"), Channel(shelf, "bad", hangs=True)
        for n in range(100):
            shelf.raised(f"old{n}", Risk.HIGH)
        desk = Desk(shelf, [bad, good], clock=clock)
        async with working(desk):
            await asyncio.sleep(1)
            shelf.raised("new", Risk.IMMEDIATE)
            desk.wake()
            await asyncio.sleep(60)
        assert sent(good, "new")[0] <= 11

    run(story())


def test_a_channel_that_hangs_is_given_up_after_its_time():
    """The attempt counts as failed, and is counted for whoever watches."""

    async def story():
        shelf = Shelf(clock)
        channel = Channel(shelf, hangs=True)
        shelf.raised("a", Risk.IMMEDIATE)
        desk = Desk(shelf, [channel], clock=clock)
        async with working(desk):
            await asyncio.sleep(NOTIFY_TIMEOUT_S + 0.1)
            assert shelf.attempts[0].outcome is False and desk.failures == 1

    run(story())


def test_a_store_that_fails_is_asked_again_until_it_answers():
    """For as long as it takes; then what is due is told at once."""

    async def story():
        shelf = Shelf(clock, broken=True)
        channel = Channel(shelf)
        shelf.raised("a", Risk.IMMEDIATE)
        desk = Desk(shelf, [channel], clock=clock)
        async with working(desk):
            await asyncio.sleep(600)
            assert channel.sent == [] and desk.failures > 200
            assert shelf.asked < 10_000  # it waits between two tries
            shelf.broken = False
            await asyncio.sleep(1)
        [(at, step)] = channel.sent
        assert step.alert.rung == 3 and (at - START).total_seconds() < 602

    run(story())


def test_an_outcome_that_cannot_be_written_stops_nothing():
    """The store goes away between the commit and the outcome."""

    async def story():
        shelf = Shelf(clock)
        channel = Channel(shelf, takes_s=0.5)
        desk = Desk(shelf, [channel], clock=clock)
        shelf.raised("a", Risk.IMMEDIATE)
        async with working(desk):
            await asyncio.sleep(0.2)
            shelf.broken = True
            await asyncio.sleep(5)
            shelf.broken = False
            await asyncio.sleep(120)
        assert len(sent(channel, "a")) >= 2 and desk.failures

    run(story())


def test_a_worker_that_was_cut_off_leaves_its_telling_to_the_next():
    """Between the commit and the send: the next worker tells it within ten seconds of its start."""

    async def story():
        shelf = Shelf(clock)
        cut, next_one = Channel(shelf, takes_s=5.0), Channel(shelf)
        shelf.raised("a", Risk.IMMEDIATE)
        async with working(Desk(shelf, [cut], clock=clock)):
            await asyncio.sleep(1)
        assert cut.sent == [] and shelf.attempts[0].outcome is None
        await asyncio.sleep(10)
        async with working(Desk(shelf, [next_one], clock=clock)):
            await asyncio.sleep(10)
        assert len(sent(next_one, "a")) == 1

    run(story())


def test_what_somebody_has_is_not_told_again_until_it_lapses():
    """Ten minutes after an acknowledgement without an action it is told at its rung."""

    async def story():
        shelf = Shelf(clock)
        channel = Channel(shelf)
        shelf.raised("a", Risk.IMMEDIATE)
        async with working(Desk(shelf, [channel], clock=clock)):
            await asyncio.sleep(150)
            shelf.acknowledge("a")
            await asyncio.sleep(650)
        assert sent(channel, "a") == about(0, 120, 750)
        assert shelf.alerts["a"].rung == 1

    run(story())


def test_it_says_when_it_last_looked():
    """Whoever watches the desk sees that it lives, also when nothing is due."""

    async def story():
        shelf = Shelf(clock)
        desk = Desk(shelf, [], clock=clock)
        assert desk.last_sweep_at is None
        async with working(desk):
            await asyncio.sleep(100)
            assert desk.last_sweep_at is not None
            assert clock() - desk.last_sweep_at <= timedelta(seconds=SWEEP_S + 0.1)

    run(story())
