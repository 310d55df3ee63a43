"""Whether a site is open, why not, and when again: in its own time, over weekends and clock changes."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerchat.model import CLOSED_BY_STAFF, NO_ADULT, OUTSIDE_HOURS
from peerchat.opening import Opening, hours_text, next_open_text, opening

LONDON = ZoneInfo("Europe/London")
WEEK = [
    {"days": [0, 1, 2, 3, 4], "from": "08:30", "to": "12:00"},
    {"days": [0, 2], "from": "13:15", "to": "16:00"},
]


def at(day: int, hour: int = 0, minute: int = 0, *, month: int = 3, second: int = 0) -> datetime:
    return datetime(2026, month, day, hour, minute, second, tzinfo=LONDON).astimezone(UTC)


def look(now: datetime, *, hours=WEEK, staff=False, covered=True, timezone="Europe/London") -> Opening:
    return opening(hours=hours, timezone=timezone, closed_by_staff=staff, covered=covered, now=now)


@pytest.mark.parametrize(
    ("now", "is_open"),
    [
        (at(2, 8, 29, second=59), False),
        (at(2, 8, 30), True),
        (at(2, 11, 59, second=59), True),
        (at(2, 12), False),
        (at(2, 13, 14), False),
        (at(2, 13, 15), True),
        (at(2, 16), False),
        (at(3, 13, 30), False),  # no Tuesday afternoons
        (at(7, 9), False),  # Saturday
        (at(8, 9), False),
    ],
)
def test_it_is_open_from_the_first_moment_to_before_the_last(now, is_open):
    found = look(now)
    assert found.open is is_open
    assert found.why == (None if is_open else OUTSIDE_HOURS)


def test_rule_12_without_an_adult_it_is_closed():
    """In its hours and out of them; out of hours that is the reason, for nobody is expected then."""
    assert look(at(2, 9), covered=False) == Opening(open=False, why=NO_ADULT)
    assert look(at(2, 22), covered=False).why == OUTSIDE_HOURS
    assert look(at(2, 22), hours=[], covered=False).why == NO_ADULT
    assert look(at(2, 22), hours=[], covered=True).open


def test_staff_close_it_whatever_the_hour():
    assert look(at(2, 9), staff=True) == Opening(open=False, why=CLOSED_BY_STAFF)


@pytest.mark.parametrize(
    ("now", "next_open", "words"),
    [
        (at(2, 6), at(2, 8, 30), "today at 8.30 am"),
        (at(2, 12, 30), at(2, 13, 15), "today at 1.15 pm"),
        (at(2, 17), at(3, 8, 30), "tomorrow, Tuesday, at 8.30 am"),
        (at(6, 12), at(9, 8, 30), "Monday at 8.30 am"),
        (at(7, 23, 59), at(9, 8, 30), "Monday at 8.30 am"),
        (at(8, 12), at(9, 8, 30), "tomorrow, Monday, at 8.30 am"),
    ],
)
def test_it_says_when_it_opens_again(now, next_open, words):
    found = look(now)
    assert found.next_open == next_open
    assert next_open_text(found, timezone="Europe/London", now=now) == words


def test_a_day_once_a_week_is_found_a_week_ahead():
    """Closed since an hour on the only day of the week."""
    hours = [{"days": [0], "from": "09:00", "to": "10:00"}]
    found = look(at(2, 11), hours=hours)
    assert found.next_open == at(9, 9)
    assert look(at(2, 10), hours=hours).next_open == at(9, 9)


@pytest.mark.parametrize(("first", "last"), [(27, 30), (26, 27)])
def test_hours_are_the_sites_own_over_a_clock_change(first, last):
    """Half past eight on Monday is half past eight, the Sunday before lost an hour or not."""
    found = look(at(first, 22))
    assert found.next_open is not None
    local = found.next_open.astimezone(LONDON)
    assert (local.day, local.hour, local.minute) == (last, 8, 30)


def test_the_hour_that_comes_twice_is_open_twice():
    """On the last Sunday of October, from one to two."""
    hours = [{"days": [6], "from": "01:00", "to": "02:00"}]
    begin = datetime(2026, 10, 25, 0, 0, tzinfo=UTC)  # 01:00 in summer time
    minutes = [m for m in range(180) if look(begin + timedelta(minutes=m), hours=hours).open]
    assert minutes == list(range(120))


@given(
    st.integers(0, 2 * 365 * 24 * 12),
    st.sampled_from(["Europe/London", "America/New_York", "Pacific/Auckland", "Asia/Kolkata"]),
)
def test_what_it_says_of_the_next_opening_is_true(step, timezone):
    """It is open at that moment, and not at any five minutes before it."""
    now = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=5 * step)
    found = look(now, timezone=timezone)
    if found.open:
        return
    assert found.next_open is not None and found.next_open > now
    assert look(found.next_open, timezone=timezone).open
    assert not look(found.next_open - timedelta(seconds=1), timezone=timezone).open
    moment = now
    while moment < found.next_open:
        assert not look(moment, timezone=timezone).open
        moment += timedelta(minutes=45)


def test_nobody_can_say_when_an_adult_comes():
    assert next_open_text(Opening(open=False, why=NO_ADULT), timezone="UTC", now=at(2)) is None
    assert look(at(2, 9), hours=[{"days": [], "from": "09:00", "to": "10:00"}]).next_open is None


@pytest.mark.parametrize(
    ("hours", "words"),
    [
        ([], "Open whenever an adult is on duty"),
        (
            [{"days": [0, 1, 2, 3, 4], "from": "08:30", "to": "15:30"}],
            "Mondays to Fridays, 8.30 am to 3.30 pm",
        ),
        ([{"days": [0, 2], "from": "12:00", "to": "13:00"}], "Mondays and Wednesdays, 12 noon to 1 pm"),
        ([{"days": [5, 6], "from": "00:00", "to": "12:30"}], "Saturdays and Sundays, 12 am to 12.30 pm"),
        ([{"days": [3], "from": "11:05", "to": "12:00"}], "Thursdays, 11.05 am to 12 noon"),
        (WEEK, "Mondays to Fridays, 8.30 am to 12 noon; Mondays and Wednesdays, 1.15 pm to 4 pm"),
    ],
)
def test_hours_in_words(hours, words):
    """Noon is said as such: nobody knows what 12 pm is."""
    assert hours_text(hours) == words
