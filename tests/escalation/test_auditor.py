"""The auditor: what should exist and be due, derived anew; each thing that can be missing is found."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from escalation.auditor import LATE, UNKNOWN, Asked, Finding, Missing, Standing, findings
from escalation.times import times_of
from moderation.verdict import Risk, Role

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def asked(**changed) -> Asked:
    given: dict[str, Any] = {"id": "msg", "at": NOW, "risk": Risk.HIGH, "role": Role.PUPIL, "answered": False}
    return Asked(**(given | changed))


def standing(**changed) -> Standing:
    given: dict[str, Any] = {
        "id": "alr",
        "risk": Risk.IMMEDIATE,
        "unanswered": True,
        "opened_at": NOW - timedelta(minutes=1),
        "due_at": NOW + timedelta(minutes=1),
        "attempted_at": NOW - timedelta(minutes=1),
        "unknown_since": None,
    }
    return Standing(**(given | changed))


def missing(*, what=(), alerts=()) -> list[Missing]:
    return [one.what for one in findings(what, alerts, now=NOW)]


def test_rule_08_all_is_well() -> None:
    assert missing(what=[asked(answered=True)], alerts=[standing()]) == []


@pytest.mark.parametrize("risk", [Risk.CONCERN, Risk.HIGH, Risk.IMMEDIATE])
@pytest.mark.parametrize("role", [Role.PUPIL, Role.MENTOR])
def test_rule_08_what_asked_for_an_adult_and_has_no_alert_is_found(risk, role) -> None:
    assert findings([asked(risk=risk, role=role)], [], now=NOW) == [Finding(what=Missing.ALERT, id="msg")]


def test_rule_08_what_asks_for_nobody_is_not_missed() -> None:
    assert missing(what=[asked(risk=Risk.NONE), asked(role=Role.ADULT), asked(role=Role.MODERATOR)]) == []


def test_rule_08_what_a_person_passed_on_asks_whatever_its_risk() -> None:
    assert missing(what=[asked(risk=Risk.NONE, by_person=True)]) == [Missing.ALERT]


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"due_at": None}, [Missing.DUE]),
        ({"due_at": NOW + timedelta(days=1)}, [Missing.DUE]),
        ({"due_at": NOW - LATE}, []),
        ({"due_at": NOW - LATE - SECOND}, [Missing.LATE]),
        ({"attempted_at": None}, [Missing.ATTEMPT]),
        ({"attempted_at": None, "opened_at": NOW - LATE}, []),
        ({"unknown_since": NOW - UNKNOWN}, []),
        ({"unknown_since": NOW - UNKNOWN - SECOND}, [Missing.OUTCOME]),
        ({"unanswered": False, "due_at": None, "attempted_at": None}, []),
        ({"unanswered": False, "due_at": NOW - LATE - SECOND}, [Missing.LATE]),
        ({"risk": Risk.CONCERN, "due_at": NOW + timedelta(days=3)}, []),
    ],
)
def test_rule_09_an_open_alert_is_due_and_told(changed, found) -> None:
    assert missing(alerts=[standing(**changed)]) == found


def test_rule_09_how_far_ahead_an_alert_may_be_due_is_its_sites_own_time() -> None:
    slow = times_of({"high_repeat_minutes": 60})
    ahead = {"risk": Risk.HIGH, "due_at": NOW + timedelta(minutes=50)}
    assert missing(alerts=[standing(**ahead, times=slow)]) == []
    assert missing(alerts=[standing(**ahead)]) == [Missing.DUE]
    ahead["due_at"] = NOW + timedelta(minutes=61)
    assert missing(alerts=[standing(**ahead, times=slow)]) == [Missing.DUE]
