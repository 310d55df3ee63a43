"""Who is told when: the tables of the safety rules, a worker that comes late, weekends and clock changes."""

import itertools
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escalation.alert import AlertState, acknowledged, acted, folded, lapsed, opened
from escalation.ladder import (
    DEFAULT_LADDERS,
    HIGH,
    IMMEDIATE,
    Audience,
    Ladder,
    SchoolDay,
    Step,
    restarted,
    step,
)
from moderation.verdict import Risk
from tests.escalation.shelf import concern

LONDON = ZoneInfo("Europe/London")
MONDAY = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def fresh(risk: Risk, now: datetime = MONDAY):
    return opened(concern(risk), id="a", site="s", conversation="c", now=now)


def at(day: int, hour: int, minute: int = 0, *, month: int = 3) -> datetime:
    """Return a moment in London's own time."""
    return datetime(2026, month, day, hour, minute, tzinfo=LONDON)


def climb(alert, *, until: timedelta | datetime) -> list[tuple[datetime, Step]]:
    """Tell whenever it is due, as a worker would that never sleeps."""
    told = []
    last = alert.opened_at + until if isinstance(until, timedelta) else until
    while alert.next_due_at is not None and alert.next_due_at <= last:
        now = alert.next_due_at
        found = step(alert, now=now)
        assert found is not None
        told.append((now, found))
        alert = found.alert
    return told


@pytest.mark.parametrize(
    ("risk", "minutes"),
    [
        (Risk.IMMEDIATE, [0, 2, 5, 10, 15, 20, 25, 30, 35, 40]),
        (Risk.HIGH, [0, 5, 15, 30, 45, 60, 75, 90]),
    ],
)
def test_rule_09_the_table(risk, minutes):
    """At these minutes, each time to a wider circle, then to the widest again and again."""
    told = climb(fresh(risk), until=minutes[-1] * MINUTE)
    assert [(now - MONDAY) / MINUTE for now, _ in told] == minutes
    wide = [Audience.ON_DUTY, Audience.DEPUTIES, Audience.ALL_ADULTS, Audience.OUT_OF_BAND]
    audiences = [s.audience for _, s in told]
    assert audiences == wide + [Audience.OUT_OF_BAND] * (len(minutes) - 4)
    assert [s.first for _, s in told] == [True] + [False] * (len(minutes) - 1)


@pytest.mark.parametrize("risk", [Risk.IMMEDIATE, Risk.HIGH])
def test_rule_09_the_ladder_has_no_end(risk):
    """A week later it still asks, at the same interval."""
    told = climb(fresh(risk), until=timedelta(days=7))
    gaps = {later - earlier for (earlier, _), (later, _) in itertools.pairwise(told[4:])}
    assert gaps == {DEFAULT_LADDERS[risk].repeat} and len(told) > 600


@given(st.sampled_from([Risk.IMMEDIATE, Risk.HIGH]), st.integers(0, 100_000))
def test_a_late_worker_goes_on_where_the_clock_is(risk, seconds):
    """Nobody was there for a while: the rung is the clock's, told once, and the next is at its own time."""
    now = MONDAY + timedelta(seconds=seconds)
    found = step(fresh(risk), now=now)
    assert found is not None
    ladder = DEFAULT_LADDERS[risk]
    rung = sum(begins <= now - MONDAY for begins in ladder.rungs) - 1
    assert found.alert.rung == rung
    due = found.alert.next_due_at
    assert due is not None and now < due <= now + ladder.repeat
    if rung + 1 < len(ladder.rungs):
        assert due == MONDAY + ladder.rungs[rung + 1]


@pytest.mark.parametrize("risk", [Risk.IMMEDIATE, Risk.HIGH])
def test_a_clock_that_went_back_takes_no_rung_away(risk):
    """Rule 10, also on a machine whose clock was set."""
    alert = climb(fresh(risk), until=10 * MINUTE)[-1][1].alert
    back = replace(alert, next_due_at=MONDAY - 60 * MINUTE)
    found = step(back, now=MONDAY - 60 * MINUTE)
    assert found is not None and found.alert.rung == alert.rung


def test_nothing_is_told_before_it_is_due():
    alert = climb(fresh(Risk.IMMEDIATE), until=timedelta(0))[0][1].alert
    assert step(alert, now=MONDAY + 2 * MINUTE - timedelta(microseconds=1)) is None
    assert step(replace(alert, next_due_at=None), now=MONDAY + 99 * MINUTE) is None


@pytest.mark.parametrize("rung", [0, 1, 2, 3])
@pytest.mark.parametrize("risk", [Risk.IMMEDIATE, Risk.HIGH])
def test_a_lapse_goes_on_at_its_rung(risk, rung):
    """Told at once, then the next rung as long after as the table says."""
    ladder = DEFAULT_LADDERS[risk]
    alert = climb(fresh(risk), until=ladder.rungs[rung])[-1][1].alert
    now = MONDAY + timedelta(hours=1)
    held = acknowledged(alert, by="one", now=now)
    assert held.lapses_at is not None
    now = held.lapses_at
    found = step(lapsed(held, now=now, restart=restarted), now=now)
    assert found is not None and found.alert.rung == rung
    width = ladder.rungs[rung + 1] - ladder.rungs[rung] if rung < 3 else ladder.repeat
    assert found.alert.next_due_at == now + width


@pytest.mark.parametrize("rung", [0, 1, 2, 3])
@pytest.mark.parametrize("risk", [Risk.IMMEDIATE, Risk.HIGH])
def test_asked_again_it_goes_on_at_its_rung(risk, rung):
    """It became worse: told at once, and no longer silence than the rung's own after it."""
    before = Risk.HIGH if risk is Risk.IMMEDIATE else Risk.CONCERN
    ladder = DEFAULT_LADDERS[risk]
    alert = replace(climb(fresh(Risk.HIGH), until=HIGH.rungs[rung])[-1][1].alert, risk=before)
    now = MONDAY + timedelta(hours=1)
    found = step(folded(alert, concern(risk, asks_again=True), now=now, restart=restarted), now=now)
    assert found is not None and found.alert.rung == rung and found.alert.risk is risk
    width = ladder.rungs[rung + 1] - ladder.rungs[rung] if rung < 3 else ladder.repeat
    due = found.alert.next_due_at
    assert due is not None and due <= now + width


def test_whoever_has_it_is_told_again_and_keeps_it():
    """New evidence reaches the adults on duty; the state and the lease stay."""
    held = acknowledged(fresh(Risk.HIGH), by="one", now=MONDAY)
    found = step(
        folded(held, concern(Risk.HIGH), now=MONDAY + MINUTE, restart=restarted), now=MONDAY + MINUTE
    )
    assert found is not None and found.audience is Audience.ON_DUTY
    assert (found.alert.state, found.alert.next_due_at) == (AlertState.ACKNOWLEDGED, held.lapses_at)
    taken = acted(held, by="one", now=MONDAY)
    found = step(
        folded(taken, concern(Risk.HIGH), now=MONDAY + MINUTE, restart=restarted), now=MONDAY + MINUTE
    )
    assert found is not None
    assert (found.alert.state, found.alert.next_due_at) == (AlertState.IN_HAND, None)


@pytest.mark.parametrize(
    ("rungs", "repeat"),
    [((), 1), ((1,), 1), ((0, 2, 1), 1), ((0, 0), 1), ((0, 1), 0), ((0, 1), -1)],
)
def test_a_ladder_that_makes_no_sense_is_refused(rungs, repeat):
    with pytest.raises(ValueError, match=r"rung|repeat"):
        Ladder(rungs=tuple(n * MINUTE for n in rungs), repeat=repeat * MINUTE)


def test_rungs_of_a_ladder():
    assert [IMMEDIATE.rung_at(n * MINUTE) for n in (-1, 0, 1, 2, 4, 5, 9, 10, 99)] == [
        0, 0, 0, 1, 1, 2, 2, 3, 3,
    ]  # fmt: skip
    assert [HIGH.begins(n) / MINUTE for n in (0, 1, 2, 3, 4)] == [0, 5, 15, 30, 30]


# ---------------------------------------------------------------------------- concerns


def concern_day(raised: datetime, *, until: datetime) -> list[tuple[datetime, int]]:
    """Return when a concern is told, in London's time, and at which rung."""
    told = climb(fresh(Risk.CONCERN, raised.astimezone(UTC)), until=until)
    return [(now.astimezone(LONDON), s.alert.rung) for now, s in told]


HIGHS = [(8, 30, 0), (8, 35, 1), (8, 45, 2), (9, 0, 3), (9, 15, 3), (9, 30, 3)]
"""High's times from half past eight on, each with its rung."""


def mornings(day: int, *, month: int = 3) -> list[tuple[datetime, int]]:
    return [(at(day, hour, minute, month=month), rung) for hour, minute, rung in HIGHS]


def test_a_concern_is_read_at_the_end_of_the_day_and_climbs_next_morning():
    """Listed at once; the digest at 15.30; unread, high's times from 8.30 on."""
    assert concern_day(at(2, 10), until=at(3, 9, 30)) == [
        (at(2, 10), 0),
        (at(2, 15, 30), 0),
        *mornings(3),
    ]


def test_a_concern_of_friday_climbs_on_monday():
    """Weekends are no school days."""
    assert concern_day(at(6, 10), until=at(9, 9, 30)) == [(at(6, 10), 0), (at(6, 15, 30), 0), *mornings(9)]


@pytest.mark.parametrize(
    ("raised", "morning"),
    [(at(2, 15, 31), 3), (at(2, 22), 3), (at(6, 16), 9), (at(7, 12), 9), (at(8, 23), 9)],
    ids=["after the digest", "at night", "on Friday evening", "on Saturday", "on Sunday"],
)
def test_a_concern_after_the_digest_waits_no_longer_than_the_next_morning(raised, morning):
    """The day's digest is over: it climbs from the next school morning on, and no rung is left out."""
    assert concern_day(raised, until=at(morning, 9, 30)) == [(raised, 0), *mornings(morning)]


def test_a_concern_before_school_is_in_the_same_days_digest():
    """Seven o'clock in the morning: nothing rings at half past eight for what nobody could have read."""
    assert concern_day(at(2, 7), until=at(3, 8, 30))[:3] == [
        (at(2, 7), 0),
        (at(2, 15, 30), 0),
        (at(3, 8, 30), 0),
    ]


@pytest.mark.parametrize(
    ("raised", "morning", "month"),
    [
        (datetime(2026, 3, 27, 10, 0, tzinfo=LONDON), 30, 3),  # summer time begins on the Sunday between
        (datetime(2026, 10, 23, 10, 0, tzinfo=LONDON), 26, 10),  # and ends
    ],
)
def test_school_times_are_the_schools_own_over_a_clock_change(raised, morning, month):
    """Half past eight is half past eight, in winter and in summer."""
    told = concern_day(raised, until=at(morning, 9, 30, month=month))
    assert told[2:] == mornings(morning, month=month)


def test_a_flag_in_between_does_not_skip_the_digest():
    """Asked again at eleven: it is still read at the end of the day, and climbs next morning."""
    alert = climb(fresh(Risk.CONCERN, at(2, 10).astimezone(UTC)), until=timedelta(0))[0][1].alert
    again = folded(
        alert, concern(Risk.CONCERN, asks_again=True), now=at(2, 11).astimezone(UTC), restart=restarted
    )
    told = climb(again, until=at(3, 8, 30))
    assert [now.astimezone(LONDON) for now, _ in told] == [at(2, 15, 30), at(3, 8, 30)]


@pytest.mark.parametrize("rung", [0, 1, 2, 3])
def test_a_climbing_concern_that_lapses_climbs_on_the_same_morning(rung):
    """Taken at its rung on Tuesday morning and left for ten minutes: it does not wait for Wednesday."""
    until = mornings(3)[rung][0]
    alert = climb(fresh(Risk.CONCERN, at(2, 10).astimezone(UTC)), until=until)[-1][1].alert
    assert alert.rung == rung
    held = acknowledged(alert, by="one", now=(until + MINUTE).astimezone(UTC))
    assert held.lapses_at is not None
    now = held.lapses_at
    found = step(lapsed(held, now=now, restart=restarted), now=now)
    assert found is not None and found.alert.rung >= rung
    due = found.alert.next_due_at
    assert due is not None and due <= now + 15 * MINUTE


def test_a_late_worker_finds_a_concern_where_the_clock_is():
    """Down from Monday to Tuesday ten o'clock: told at once, at the rung that it has by then."""
    alert = climb(fresh(Risk.CONCERN, at(2, 10).astimezone(UTC)), until=at(2, 15, 30))[-1][1].alert
    found = step(alert, now=at(3, 8, 50).astimezone(UTC))
    assert found is not None and found.alert.rung == 2
    assert found.alert.next_due_at == at(3, 9)


@given(
    st.integers(0, 3 * 365 * 24 * 60).map(lambda n: datetime(2025, 1, 1, tzinfo=UTC) + n * MINUTE),
    st.sampled_from(["Europe/London", "America/New_York", "Pacific/Auckland", "UTC"]),
)
def test_the_next_school_moment_is_the_next(now, timezone):
    """Strictly after now, on a school day, at the school's time, and none in between is left out."""
    day = SchoolDay(timezone=timezone)
    zone = ZoneInfo(timezone)
    for found, hour in ((day.next_digest(now), time(15, 30)), (day.next_morning(now), time(8, 30))):
        local = found.astimezone(zone)
        assert found > now and local.weekday() < 5 and local.time() == hour
        between: date = now.astimezone(zone).date()
        while between < local.date():
            passed = datetime.combine(between, hour, zone) <= now
            assert passed or between.weekday() >= 5
            between += timedelta(days=1)
