"""The rota: who is expected when, by the school's own clock, also where that is put forward or back."""

from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escalation.rota import Change, Hours, Kind, Part, Rota, Span, Turn, joined, moment, without, zone_of

LONDON = "Europe/London"
ZONES = (LONDON, "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC")
WEEK = frozenset(range(7))
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


def turn(
    member="ann", begin="09:00", end="15:00", *, days=WEEK, part=Part.DUTY, first=None, last=None
) -> Turn:
    hours = Hours(days=frozenset(days), begin=time.fromisoformat(begin), end=time.fromisoformat(end))
    return Turn(id=f"{member} {begin}", member=member, part=part, hours=hours, first=first, last=last)


def change(kind, first, last=None, *, member=None, begin=None, end=None, part=Part.DUTY) -> Change:
    return Change(
        id=f"{kind} {first}",
        kind=kind,
        first=first,
        last=last or first,
        member=member,
        part=part,
        begin=time.fromisoformat(begin) if begin else None,
        end=time.fromisoformat(end) if end else None,
    )


def london(year: int, month: int, day: int, hour: int, minute: int = 0, second: int = 0) -> datetime:
    return datetime(year, month, day, hour, minute, second, tzinfo=ZoneInfo(LONDON)).astimezone(UTC)


def names(rota: Rota, at: datetime) -> list[str]:
    return [slot.member for slot in rota.on_rota(at)]


# ---------------------------------------------------------------------------- by example


def test_a_turn_holds_from_its_first_moment_to_before_its_last():
    rota = Rota(timezone=LONDON, turns=(turn(),))
    assert names(rota, london(2026, 3, 2, 8, 59, 59)) == []
    assert names(rota, london(2026, 3, 2, 9)) == ["ann"]
    assert names(rota, london(2026, 3, 2, 15) - timedelta(microseconds=1)) == ["ann"]
    assert names(rota, london(2026, 3, 2, 15)) == []


def test_the_wall_clock_counts_in_summer_and_in_winter():
    rota = Rota(timezone=LONDON, turns=(turn(),))
    assert names(rota, datetime(2026, 1, 5, 9, 0, tzinfo=UTC)) == ["ann"]
    assert names(rota, datetime(2026, 7, 6, 8, 0, tzinfo=UTC)) == ["ann"]
    assert names(rota, datetime(2026, 7, 6, 14, 0, tzinfo=UTC)) == []


def test_a_turn_over_midnight_is_the_evenings():
    """A boarding house: Monday from ten in the evening to seven on Tuesday."""
    rota = Rota(timezone=LONDON, turns=(turn(begin="22:00", end="07:00", days={0}),))
    assert names(rota, london(2026, 3, 3, 6, 59)) == ["ann"]
    assert names(rota, london(2026, 3, 3, 22, 30)) == []


def test_a_turn_has_a_first_and_a_last_day():
    rota = Rota(timezone=LONDON, turns=(turn(first=date(2026, 3, 3), last=date(2026, 3, 4)),))
    days = [n for n in range(1, 8) if names(rota, london(2026, 3, n, 10))]
    assert days == [3, 4]


def test_who_is_away_is_not_expected_and_who_stands_in_is():
    rota = Rota(
        timezone=LONDON,
        turns=(turn(),),
        changes=(
            change(Kind.AWAY, date(2026, 3, 2), member="ann", begin="11:00", end="12:00"),
            change(Kind.EXTRA, date(2026, 3, 2), member="ben", begin="11:00", end="11:30"),
        ),
    )
    at = {minute: names(rota, london(2026, 3, 2, 11, minute)) for minute in (0, 30)}
    assert at == {0: ["ben"], 30: []}
    assert names(rota, london(2026, 3, 2, 10, 59)) == names(rota, london(2026, 3, 2, 12)) == ["ann"]
    assert names(rota, london(2026, 3, 3, 11)) == ["ann"]


def test_on_a_holiday_nobody_is_expected_and_nothing_is_open():
    school = Hours(days=frozenset(range(5)), begin=time(9), end=time(15))
    rota = Rota(
        timezone=LONDON,
        turns=(turn(),),
        hours=(school,),
        changes=(change(Kind.HOLIDAY, date(2026, 2, 16), date(2026, 2, 20)),),
    )
    assert names(rota, london(2026, 2, 18, 10)) == []
    assert rota.opening(london(2026, 2, 16, 0), london(2026, 2, 21, 0)) == []
    assert rota.closes(london(2026, 2, 18, 10)) is None
    assert rota.closes(london(2026, 2, 13, 10)) == london(2026, 2, 13, 15)


def test_the_next_gap_is_the_first_hole_in_the_opening_hours():
    school = Hours(days=frozenset(range(5)), begin=time(9), end=time(15))
    rota = Rota(
        timezone=LONDON,
        hours=(school,),
        turns=(turn(end="12:00"), turn("ben", "12:00", "15:00"), turn("cat", part=Part.DEPUTY)),
    )
    monday = london(2026, 3, 2, 8)
    assert rota.next_gap(monday) is None
    away = change(Kind.AWAY, date(2026, 3, 4), member="ben", begin="13:00", end="23:00")
    short = Rota(timezone=LONDON, hours=(school,), turns=rota.turns, changes=(away,))
    assert short.next_gap(monday) == Span(begin=london(2026, 3, 4, 13), end=london(2026, 3, 4, 15))
    now = london(2026, 3, 4, 14)
    assert short.next_gap(now) == Span(begin=now, end=london(2026, 3, 4, 15))


def test_without_opening_hours_there_is_no_gap():
    assert Rota(timezone=LONDON).next_gap(london(2026, 3, 2, 8)) is None


def test_an_hour_that_never_comes_and_one_that_comes_twice():
    """London: 29 March 2026 has no 01:30; 25 October has two."""
    zone = ZoneInfo(LONDON)
    jump = datetime(2026, 3, 29, 1, 0, tzinfo=UTC)
    assert moment(date(2026, 3, 29), time(1, 30), zone) == jump
    assert moment(date(2026, 3, 29), time(1, 30), zone, last=True) == jump
    twice = date(2026, 10, 25)
    assert moment(twice, time(1, 30), zone) == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert moment(twice, time(1, 30), zone, last=True) == datetime(2026, 10, 25, 1, 30, tzinfo=UTC)


def test_a_turn_inside_the_hour_that_never_comes_is_empty():
    rota = Rota(timezone=LONDON, turns=(turn(begin="01:15", end="01:45"),))
    day = rota.slots(datetime(2026, 3, 29, tzinfo=UTC), datetime(2026, 3, 29, 12, tzinfo=UTC))
    assert day == []


def test_an_unknown_zone_stops_nothing():
    assert zone_of("Europe/Atlantis") is UTC
    assert names(Rota(timezone="../etc/passwd", turns=(turn(),)), datetime(2026, 3, 2, 9, tzinfo=UTC)) == [
        "ann"
    ]


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (Hours, {"days": frozenset(), "begin": time(9), "end": time(10)}),
        (Hours, {"days": frozenset({7}), "begin": time(9), "end": time(10)}),
        (Hours, {"days": WEEK, "begin": time(9, tzinfo=UTC), "end": time(10)}),
        (Change, {"kind": Kind.HOLIDAY, "last": date(2026, 3, 1)}),
        (Change, {"kind": Kind.HOLIDAY, "member": "ann"}),
        (Change, {"kind": Kind.AWAY}),
        (Change, {"kind": Kind.EXTRA, "member": "ann", "begin": time(9)}),
        (Change, {"kind": Kind.HOLIDAY, "begin": time(9), "end": time(10)}),
    ],
)
def test_what_makes_no_sense_is_refused(kind, values):
    given = {"id": "c", "first": date(2026, 3, 2), "last": date(2026, 3, 2)} if kind is Change else {}
    with pytest.raises(ValueError, match=r"days|hours|exception|holiday"):
        kind(**given | values)


# ---------------------------------------------------------------------------- properties

times = st.builds(time, st.integers(0, 23), st.sampled_from([0, 15, 30, 59]))
days = st.dates(date(2026, 1, 1), date(2027, 12, 31))
zones = st.sampled_from(ZONES)
CHANGING = [
    (LONDON, date(2026, 3, 29)),
    (LONDON, date(2026, 10, 25)),
    ("America/New_York", date(2026, 3, 8)),
    ("America/New_York", date(2026, 11, 1)),
    ("Australia/Lord_Howe", date(2026, 4, 5)),
    ("Australia/Lord_Howe", date(2026, 10, 4)),
]
places = st.one_of(st.tuples(zones, days), st.sampled_from(CHANGING))


def says(turn: Turn, at: datetime, zone: ZoneInfo) -> bool:
    """Return what somebody who looks at the wall would say; the plainest form there is."""
    local = at.astimezone(zone)
    now, hours = local.time(), turn.hours
    if hours.begin < hours.end:
        return turn.on(local.date()) and hours.begin <= now < hours.end
    evening = turn.on(local.date()) and now >= hours.begin
    return evening or (turn.on(local.date() - DAY) and now < hours.end)


@given(places, times, times, st.frozensets(st.integers(0, 6), min_size=1), st.integers(-720, 2160))
def test_whoever_looks_at_the_wall_finds_the_same(place, begin, end, weekdays, minutes):
    """Whom the wall expects, the rota does; away from a change of the clock, nobody else."""
    name, day = place
    zone = ZoneInfo(name)
    one = Turn(id="t", member="ann", part=Part.DUTY, hours=Hours(days=weekdays, begin=begin, end=end))
    at = moment(day, time(0), zone) + minutes * MINUTE
    on = bool(Rota(timezone=name, turns=(one,)).on_rota(at))
    if says(one, at, zone):
        assert on
    offsets = {(at + hours * timedelta(hours=1)).astimezone(zone).utcoffset() for hours in range(-26, 27)}
    if len(offsets) == 1:
        assert on is says(one, at, zone)


@given(places, st.lists(times, min_size=2, max_size=6, unique=True))
def test_turns_that_meet_on_the_wall_leave_no_gap(place, cuts):
    """Whatever the clock does that day: from the first turn's beginning to the last one's end."""
    name, day = place
    cuts = sorted(cuts)
    turns = [
        Turn(
            id=f"{n}",
            member=f"m{n}",
            part=Part.DUTY,
            hours=Hours(days=WEEK, begin=a, end=b),
            first=day,
            last=day,
        )
        for n, (a, b) in enumerate(pairwise(cuts))
    ]
    rota = Rota(timezone=name, turns=tuple(turns))
    zone = ZoneInfo(name)
    begin, end = moment(day, cuts[0], zone), moment(day, cuts[-1], zone, last=True)
    found = joined(slot.span for slot in rota.slots(begin - DAY, end + DAY))
    assert found == ([Span(begin=begin, end=end)] if begin < end else [])


@given(places, times, times)
def test_a_moment_is_one_at_which_the_clock_says_so(place, first, second):
    """Or, where it never does, the one at which it jumps over; later times are never earlier."""
    name, day = place
    zone = ZoneInfo(name)
    for last in (False, True):
        at = moment(day, first, zone, last=last)
        local = at.astimezone(zone)
        exact = local.time() == first and local.date() == day
        jumped = (at - MINUTE).astimezone(zone).utcoffset() != local.utcoffset()
        assert exact or jumped
        if first <= second:
            assert at <= moment(day, second, zone, last=last)
    assert moment(day, first, zone) <= moment(day, first, zone, last=True)


changes = st.builds(
    lambda kind, day, more, member, hours: Change(
        id="c",
        kind=kind,
        first=day,
        last=day + more * DAY,
        member=None if kind is Kind.HOLIDAY else member,
        begin=hours[0] if hours and kind is not Kind.HOLIDAY else None,
        end=hours[1] if hours and kind is not Kind.HOLIDAY else None,
    ),
    st.sampled_from(Kind),
    st.dates(date(2026, 3, 20), date(2026, 4, 10)),
    st.integers(0, 3),
    st.sampled_from("abc"),
    st.one_of(st.none(), st.tuples(times, times)),
)
hours = st.builds(Hours, days=st.frozensets(st.integers(0, 6), min_size=1), begin=times, end=times)
turns = st.builds(
    Turn, id=st.just("t"), member=st.sampled_from("abc"), part=st.sampled_from(Part), hours=hours
)
rotas = st.builds(
    Rota,
    timezone=zones,
    turns=st.lists(turns, max_size=4).map(tuple),
    changes=st.lists(changes, max_size=4).map(tuple),
    hours=st.lists(hours, max_size=2).map(tuple),
)
moments = st.integers(0, 21 * 24 * 60).map(lambda n: datetime(2026, 3, 20, tzinfo=UTC) + n * MINUTE)


@given(rotas, moments)
def test_a_gap_is_open_and_has_nobody_and_nothing_earlier_is_one(rota, now):
    """Looked at minute by minute, as far as the gap, or for two days where there is none."""
    gap = rota.next_gap(now, within=2 * DAY)
    at = now
    while at < (gap.begin if gap is not None else now + 2 * DAY):
        is_open = any(at in span for span in rota.opening(at, at + MINUTE))
        assert not is_open or any(slot.part is Part.DUTY for slot in rota.on_rota(at))
        at += 37 * MINUTE
    if gap is not None:
        for at in (gap.begin, gap.begin + (gap.end - gap.begin) / 2, gap.end - timedelta(microseconds=1)):
            assert any(at in span for span in rota.opening(at, at + MINUTE))
            assert not any(slot.part is Part.DUTY for slot in rota.on_rota(at))


@given(rotas, moments)
def test_nobody_is_expected_while_away(rota, at):
    zone = ZoneInfo(rota.timezone)
    day = at.astimezone(zone).date()
    expected = {slot.member for slot in rota.on_rota(at)}
    for one in rota.changes:
        if one.kind is Kind.AWAY and one.begin is None and one.first <= day <= one.last:
            assert one.member not in expected


@given(rotas, moments)
def test_what_is_asked_of_a_moment_and_of_a_period_agree(rota, at):
    whole = rota.slots(at - DAY, at + DAY)
    assert rota.on_rota(at) == [slot for slot in whole if at in slot.span]


spans = st.builds(
    lambda begin, length: Span(
        begin=datetime(2026, 3, 2, tzinfo=UTC) + begin * MINUTE,
        end=datetime(2026, 3, 2, tzinfo=UTC) + (begin + length) * MINUTE,
    ),
    st.integers(0, 60),
    st.integers(0, 20),
)


@given(st.lists(spans, max_size=6), spans)
def test_spans_joined_and_taken_away_hold_every_minute_they_should(several, one):
    together = joined(several)
    assert all(a.end < b.begin for a, b in pairwise(together))
    left = without(one, together)
    for n in range(90):
        at = datetime(2026, 3, 2, tzinfo=UTC) + n * MINUTE
        inside = any(at in span for span in several)
        assert any(at in span for span in together) is inside
        assert any(at in span for span in left) is (at in one and not inside)
