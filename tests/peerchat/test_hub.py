"""This node's lines: bounded outboxes, five lines a member, and events that reach whom they are for."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from moderation.verdict import Role
from peerchat import frames
from peerchat.hub import (
    GOING_AWAY,
    MAX_LINES,
    OUTBOX_CHARS,
    OUTBOX_FRAMES,
    PROTOCOL,
    REPLACED,
    SIGNED_OUT,
    SILENT,
    SUSPENDED,
    TOO_SLOW,
    Hub,
    Line,
    Outbox,
)
from peerchat.model import Actor
from peerchat.node import BACKLOG, Publisher
from peerchat.ports import Event, to_connection, to_members, to_site

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)


def line(id: str, member: str = "m", *, role: Role = Role.PUPIL, site: str = "s", token: str = "t") -> Line:
    return Line(id, Actor(member=member, role=role, site=site, token=token, name=None), now=NOW)


async def taken(outbox: Outbox) -> list[str]:
    """Return what waits, without waiting for more."""
    return await outbox.take() if len(outbox) else []


# ---------------------------------------------------------------------------- one outbox


def test_the_close_codes_are_the_protocols():
    """Those from 4000 say come back, those from 4100 stay away."""
    assert (GOING_AWAY, TOO_SLOW, SILENT) == (4000, 4001, 4002)
    assert (SIGNED_OUT, SUSPENDED, REPLACED, PROTOCOL) == (4100, 4101, 4102, 4103)


async def test_frames_come_in_the_order_they_were_offered():
    outbox = Outbox()
    assert all(outbox.offer(f"{n}") for n in range(5))
    assert await outbox.take() == ["0", "1", "2", "3", "4"] and len(outbox) == 0


async def test_a_reader_waits_for_the_next_frame():
    """And is woken by it, or by the end."""
    outbox = Outbox()
    reading = asyncio.create_task(outbox.take())
    await asyncio.sleep(0)
    assert not reading.done()
    outbox.offer("x")
    assert await reading == ["x"]
    reading = asyncio.create_task(outbox.take())
    await asyncio.sleep(0)
    outbox.close(GOING_AWAY)
    assert await reading == []


async def test_too_many_frames_close_as_too_slow():
    """At the bound, not before; what waited is dropped, for the client resumes by seq."""
    outbox = Outbox()
    assert all(outbox.offer("x") for _ in range(OUTBOX_FRAMES))
    assert not outbox.offer("one too many")
    assert outbox.close_code == TOO_SLOW and await outbox.take() == []
    assert not outbox.offer("after")


async def test_too_many_characters_close_as_too_slow():
    outbox = Outbox()
    half = "x" * (OUTBOX_CHARS // 2)
    assert outbox.offer(half) and outbox.offer(half)
    assert not outbox.offer("y")
    assert outbox.close_code == TOO_SLOW


async def test_what_was_taken_makes_room():
    """The bound is for what waits, however much went through."""
    outbox = Outbox()
    for _ in range(3):
        assert all(outbox.offer("x" * 1000) for _ in range(OUTBOX_FRAMES))
        assert len(await outbox.take()) == OUTBOX_FRAMES


async def test_what_a_line_begins_with_comes_first():
    """Whatever was offered while it was being read."""
    outbox = Outbox()
    outbox.offer("live")
    outbox.begin(["welcome", "own"])
    outbox.offer("later")
    assert await outbox.take() == ["welcome", "own", "live", "later"]


@pytest.mark.parametrize("code", [SIGNED_OUT, SUSPENDED])
async def test_rule_14_nothing_is_sent_after_a_sign_out(code):
    """What waited is dropped, and a line that was just opening begins with nothing."""
    outbox = Outbox()
    outbox.offer("x")
    outbox.close(code)
    outbox.begin(["welcome"])
    assert not outbox.offer("y") and await outbox.take() == []


@pytest.mark.parametrize("code", [GOING_AWAY, REPLACED, PROTOCOL, SILENT])
async def test_what_was_queued_goes_out_before_another_close(code):
    """An ack that was given is not taken back."""
    outbox = Outbox()
    outbox.offer("ack")
    outbox.close(code)
    assert not outbox.offer("late")
    assert await outbox.take() == ["ack"] and await outbox.take() == []


@pytest.mark.parametrize("code", [SIGNED_OUT, SUSPENDED])
async def test_rule_14_a_sign_out_drops_what_a_closing_line_still_holds(code):
    """Closed for another reason, not yet read, then signed out: nothing of it reaches anyone."""
    outbox = Outbox()
    outbox.offer("x")
    outbox.close(GOING_AWAY)
    outbox.close(code)
    assert await outbox.take() == []


def test_the_first_reason_to_close_stays():
    outbox = Outbox()
    outbox.close(REPLACED)
    outbox.close(GOING_AWAY)
    assert outbox.close_code == REPLACED


# ---------------------------------------------------------------------------- all lines


def test_a_sixth_line_closes_the_oldest():
    """Of that member; the others' stay, and a closed one is no line any more."""
    hub = Hub()
    other = line("other", "o")
    hub.open(other)
    mine = [line(f"l{n}") for n in range(MAX_LINES + 2)]
    for opened in mine[: MAX_LINES + 1]:
        hub.open(opened)
    assert [x.outbox.close_code for x in mine[:MAX_LINES]] == [REPLACED] + [None] * (MAX_LINES - 1)
    assert other.outbox.close_code is None
    hub.close(mine[0])
    hub.close(mine[1])
    hub.open(mine[-1])
    assert [x.outbox.close_code for x in mine[2:]] == [None] * MAX_LINES


def test_who_is_here():
    """As long as one line is open; and when a member who went was last heard from."""
    hub = Hub()
    one, two = line("1"), line("2")
    hub.open(one)
    hub.open(two)
    one.heard_at = NOW + timedelta(seconds=5)
    hub.close(one)
    assert hub.here("m") and hub.members() == {"m"} and len(hub) == 1
    two.outbox.close(SILENT)
    assert not hub.here("m") and hub.members() == set()
    two.heard_at = NOW + timedelta(seconds=9)
    hub.close(two)
    hub.close(two)
    assert len(hub) == 0 and hub.last_heard("m") == NOW + timedelta(seconds=9)
    assert hub.last_heard("nobody") is None and not hub.here("nobody")


@pytest.mark.parametrize(
    ("event", "reached"),
    [
        (Event(payload="x", to=("a",)), {"a1", "a2"}),
        (Event(payload="x", to=("a", "b")), {"a1", "a2", "b"}),
        (Event(payload="x", to=("a",), skip="a1"), {"a2"}),
        (Event(payload="x", to=("nobody",)), set()),
        (Event(payload="x"), set()),
        (Event(payload="x", to=()), set()),
        (Event(payload="x", connection="a2"), {"a2"}),
        (Event(payload="x", connection="gone"), set()),
        (Event(payload="x", site="s"), {"a1", "a2", "b", "staff"}),
        (Event(payload="x", site="s", roles=("adult", "moderator")), {"staff"}),
        (Event(payload="x", site="s", roles=("coordinator",)), set()),
        (Event(payload="x", tokens=("t2",)), {"a2"}),
        (Event(payload="x", tokens=("t2", "tb")), {"a2", "b"}),
        (Event(payload="x", tokens=("unknown",)), set()),
    ],
)
def test_an_event_reaches_exactly_whom_it_is_for(event, reached):
    hub = Hub()
    lines = [
        line("a1", "a", token="t1"),
        line("a2", "a", token="t2"),
        line("b", "b", role=Role.MENTOR, token="tb"),
        line("staff", "c", role=Role.ADULT, token="tc"),
        line("elsewhere", "d", site="other", role=Role.ADULT, token="td"),
    ]
    for opened in lines:
        hub.open(opened)
    hub.dispatch(event)
    assert {x.id for x in lines if len(x.outbox)} == reached


def test_an_event_may_close_what_it_reaches():
    """By session: the frame first, then the close; another session of the member stays."""
    hub = Hub()
    one, two = line("1", token="t1"), line("2", token="t2")
    hub.open(one)
    hub.open(two)
    hub.dispatch(Event(tokens=("t1",), close=SIGNED_OUT))
    assert (one.outbox.close_code, two.outbox.close_code) == (SIGNED_OUT, None)


def test_one_slow_line_does_not_hold_up_the_others():
    """Nobody waits for anybody: it is closed, they go on."""
    hub = Hub()
    slow, quick = line("slow", "a"), line("quick", "b")
    hub.open(slow)
    hub.open(quick)
    for n in range(OUTBOX_FRAMES + 1):
        hub.dispatch(Event(payload=f"{n}", to=("a", "b")))
        asyncio.run(taken(quick.outbox))
    assert slow.outbox.close_code == TOO_SLOW and quick.outbox.close_code is None


def test_events_carry_the_frame_as_it_is_sent():
    """Encoded once, for however many."""
    frame = frames.Heartbeat(conversations={})
    for event in (to_members(frame, "a"), to_site(frame, "s"), to_connection(frame, "c")):
        assert event.payload == '{"type":"heartbeat","conversations":{}}'
    assert to_site(frame, "s", "adult").roles == ("adult",) and to_site(frame, "s").roles is None


# ---------------------------------------------------------------------------- on the way to the broker


class Slow:
    """A broker that takes batches once it is told to; it may fail at first, and says when it was called."""

    def __init__(self, *, failing: int = 0) -> None:
        self.go = asyncio.Event()
        self.calls: asyncio.Queue[list[Event]] = asyncio.Queue()
        self.failing = failing

    async def publish(self, to: str, events) -> None:
        await self.go.wait()
        self.calls.put_nowait(list(events))
        if self.failing:
            self.failing -= 1
            raise OSError("no broker")

    def subscribe(self, node: str):
        raise NotImplementedError


async def test_what_came_while_the_broker_was_busy_goes_as_one_batch_in_order():
    broker = Slow()
    publisher = Publisher(broker, "n")
    running = asyncio.create_task(publisher.run())
    publisher.publish([Event(payload="0")])
    await asyncio.sleep(0)
    for n in range(1, 100):
        publisher.publish([Event(payload=f"{n}")])
    broker.go.set()
    first, second = await broker.calls.get(), await broker.calls.get()
    assert [e.payload for e in first] == ["0"]
    assert [e.payload for e in second] == [f"{n}" for n in range(1, 100)]
    assert publisher.dropped == 0
    running.cancel()


async def test_a_broker_that_fails_loses_a_batch_and_not_the_publisher():
    """At most once, and counted; what comes after goes out."""
    broker = Slow(failing=1)
    broker.go.set()
    publisher = Publisher(broker, "n")
    running = asyncio.create_task(publisher.run())
    publisher.publish([Event(payload="lost"), Event(payload="lost too")])
    await broker.calls.get()
    publisher.publish([Event(payload="kept")])
    assert [e.payload for e in await broker.calls.get()] == ["kept"]
    assert publisher.dropped == 2
    running.cancel()


def test_a_full_publisher_drops_the_oldest_and_counts_them():
    """Never without end, and never in silence."""
    publisher = Publisher(Slow(), "n")
    publisher.publish([Event(payload=f"{n}") for n in range(BACKLOG)])
    assert publisher.dropped == 0
    publisher.publish([Event(payload="a"), Event(payload="b")])
    assert publisher.dropped == 2
