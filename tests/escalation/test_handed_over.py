"""An alert that changes hands, and one that is told again because somebody left: pure transitions."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from escalation.alert import (
    Alert,
    AlertError,
    AlertState,
    AlreadyClosed,
    CloseProposal,
    Concern,
    acknowledged,
    acted,
    handed_over,
    opened,
    told_again,
)
from escalation.ladder import step
from moderation.verdict import Risk, Role

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
LATER = NOW + timedelta(minutes=4)
CONCERN = Concern(about="pupil", about_role=Role.PUPIL, risk=Risk.IMMEDIATE, labels=("flag",))
FRESH = opened(CONCERN, id="a", site="s", conversation="c", now=NOW)
TAKEN = acknowledged(FRESH, by="ann", now=NOW)
IN_HAND = acted(TAKEN, by="ann", now=NOW)
CLOSED = replace(IN_HAND, state=AlertState.CLOSED)
SIGNED = replace(IN_HAND, closing=CloseProposal(by="ann", outcome="safe", rationale="spoke"))


def test_one_that_was_only_taken_on_begins_its_lease_anew_with_the_other():
    moved = handed_over(TAKEN, to="ben", now=LATER, lease=timedelta(minutes=6))
    assert (moved.holder, moved.state) == ("ben", AlertState.ACKNOWLEDGED)
    assert moved.lapses_at == moved.next_due_at == LATER + timedelta(minutes=6)
    assert moved.version > TAKEN.version


def test_one_in_hand_stays_in_hand():
    moved = handed_over(IN_HAND, to="ben", now=LATER)
    assert moved == replace(IN_HAND, holder="ben", version=IN_HAND.version + 1)


@pytest.mark.parametrize(
    ("alert", "to", "error"),
    [(FRESH, "ben", AlertError), (CLOSED, "ben", AlreadyClosed), (IN_HAND, "pupil", AlertError)],
    ids=["nobody has it", "closed", "its subject"],
)
def test_rule_11_what_cannot_change_hands_does_not(alert: Alert, to: str, error: type[Exception]):
    with pytest.raises(error):
        handed_over(alert, to=to, now=LATER)


@pytest.mark.parametrize("alert", [FRESH, TAKEN, IN_HAND], ids=["open", "taken", "in hand"])
def test_told_again_it_is_due_now_and_whoever_has_it_keeps_it(alert: Alert):
    again = told_again(alert, now=LATER)
    assert again.next_due_at == LATER
    assert (again.state, again.holder, again.rung) == (alert.state, alert.holder, alert.rung)
    found = step(again, now=LATER)
    assert found is not None and found.alert.holder == alert.holder


def test_told_again_a_first_signature_counts_no_more():
    """Whoever signed had not heard that the pupil is gone."""
    assert told_again(SIGNED, now=LATER).closing is None
    with pytest.raises(AlreadyClosed):
        told_again(CLOSED, now=LATER)
