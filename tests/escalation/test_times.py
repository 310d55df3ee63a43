"""A site's own times: bounded, named when wrong, and never able to stop a ladder."""

from datetime import UTC, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escalation.alert import Concern, opened
from escalation.duty import LONGEST_LEASE
from escalation.ladder import HIGH, IMMEDIATE, horizon, step
from escalation.times import DEFAULTS, NAMES, BadTime, Times, changed, times_of, written
from moderation.verdict import Risk, Role

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

GOOD = {
    "immediate_minutes": [0, 1, 3, 8],
    "immediate_repeat_minutes": 3,
    "high_minutes": [0, 4, 9, 20],
    "high_repeat_minutes": 10,
    "acknowledgement_minutes": 5,
    "digest_at": "16:00",
    "morning_at": "08:00",
    "page_lease_seconds": 120,
    "phone_minutes": 30,
    "closing_warning_minutes": 15,
}

BAD = [
    ("immediate_minutes", [0, 2, 5]),
    ("immediate_minutes", [1, 2, 5, 10]),
    ("immediate_minutes", [0, 5, 2, 10]),
    ("immediate_minutes", [0, 2, 2, 10]),
    ("immediate_minutes", [0, 2, 5, 31]),
    ("immediate_minutes", [0, 2, 5, 10.0]),
    ("immediate_minutes", [False, True, 5, 10]),
    ("immediate_minutes", "0 2 5 10"),
    ("immediate_minutes", {"0": 2}),
    ("immediate_repeat_minutes", 0),
    ("immediate_repeat_minutes", 16),
    ("immediate_repeat_minutes", True),
    ("high_minutes", [0, 5, 15, 121]),
    ("high_repeat_minutes", 61),
    ("high_repeat_minutes", "15"),
    ("acknowledgement_minutes", 1),
    ("acknowledgement_minutes", 31),
    ("digest_at", "24:00"),
    ("digest_at", "3pm"),
    ("digest_at", 15),
    ("digest_at", "08:30"),
    ("morning_at", "8:30"),
    ("page_lease_seconds", 59),
    ("page_lease_seconds", 301),
    ("phone_minutes", 4),
    ("phone_minutes", 61),
    ("closing_warning_minutes", 0),
    ("ladder", 3),
]


def test_the_defaults_are_the_designs():
    assert DEFAULTS.immediate == IMMEDIATE and DEFAULTS.high == HIGH
    assert written(DEFAULTS) == {
        "immediate_minutes": [0, 2, 5, 10],
        "immediate_repeat_minutes": 5,
        "high_minutes": [0, 5, 15, 30],
        "high_repeat_minutes": 15,
        "acknowledgement_minutes": 10,
        "digest_at": "15:30",
        "morning_at": "08:30",
        "page_lease_seconds": 90,
        "phone_minutes": 20,
        "closing_warning_minutes": 10,
    }
    assert set(GOOD) == set(NAMES)


def test_each_of_them_can_be_set_and_is_what_holds_then():
    times = times_of(changed({}, GOOD))
    assert times.immediate.rungs == (0 * MINUTE, MINUTE, 3 * MINUTE, 8 * MINUTE)
    assert (times.immediate.repeat, times.high.repeat) == (3 * MINUTE, 10 * MINUTE)
    assert times.ladders[Risk.CONCERN] == times.ladders[Risk.HIGH] == times.high
    assert (times.acknowledgement, times.phone_lease) == (5 * MINUTE, 30 * MINUTE)
    assert (times.page_lease, times.closing_warning) == (2 * MINUTE, 15 * MINUTE)
    day = times.day("Europe/London")
    assert (day.timezone, day.digest_at, day.morning_at) == ("Europe/London", time(16), time(8))
    assert written(times) == GOOD


def test_only_what_is_otherwise_is_kept_and_can_be_set_back():
    stored = changed({}, {"phone_minutes": 30, "digest_at": "15:30"})
    assert stored == {"phone_minutes": 30}
    assert changed(stored, {"acknowledgement_minutes": 5}) == {
        "phone_minutes": 30,
        "acknowledgement_minutes": 5,
    }
    assert changed(stored, {"phone_minutes": None}) == {}
    with pytest.raises(BadTime, match=r"^ladder: no such time; there are immediate_minutes"):
        changed(stored, {"ladder": None})


@pytest.mark.parametrize(("name", "value"), BAD, ids=[f"{n}-{i}" for i, (n, _) in enumerate(BAD)])
def test_what_cannot_be_is_refused_by_its_name_and_stored_is_the_default(name, value):
    with pytest.raises(BadTime, match=f"^{name}: "):
        changed({}, {name: value})
    assert times_of({name: value, "phone_minutes": 30} if name != "phone_minutes" else {name: value}) == (
        Times(phone_lease=30 * MINUTE) if name != "phone_minutes" else DEFAULTS
    )


@pytest.mark.parametrize(
    "changes",
    [{"high_minutes": [0, 1, 15, 30]}, {"immediate_repeat_minutes": 15, "high_repeat_minutes": 14}],
    ids=["rungs", "repeat"],
)
def test_immediate_is_never_slower_than_high(changes):
    with pytest.raises(BadTime, match="never climbs more slowly"):
        changed({}, changes)


anything = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 400),
    st.text(max_size=5),
    st.lists(st.integers(-1, 200), max_size=5),
)


@given(st.dictionaries(st.one_of(st.sampled_from(sorted(NAMES)), st.text(max_size=4)), anything, max_size=6))
def test_whatever_is_stored_there_are_times_and_they_are_within_bounds(stored):
    times = times_of(stored)
    assert written(times_of(written(times))) == written(times)
    assert times.phone_lease <= LONGEST_LEASE and times.page_lease >= MINUTE
    for risk, ladder in times.ladders.items():
        assert horizon(risk, unanswered=True, ladders=times.ladders) > timedelta(0)
        assert ladder.repeat >= MINUTE


@given(st.sampled_from([GOOD, {}]), st.sampled_from([Risk.IMMEDIATE, Risk.HIGH]))
def test_an_alert_climbs_by_the_sites_ladder(stored, risk):
    """Followed from the first telling: each rung begins where the site says, then it repeats for ever."""
    times = times_of(stored)
    ladder = times.ladders[risk]
    concern = Concern(about="p", about_role=Role.PUPIL, risk=risk, labels=("flag",))
    alert = opened(concern, id="a", site="s", conversation=None, now=NOW)
    told = []
    for _ in range(8):
        assert alert.next_due_at is not None
        told.append(alert.next_due_at - NOW)
        found = step(alert, now=alert.next_due_at, ladders=times.ladders)
        assert found is not None
        alert = found.alert
    last = ladder.rungs[-1]
    assert told == [*ladder.rungs, *(last + n * ladder.repeat for n in range(1, 5))]
