"""An alert's life, pure: rules 9, 10 and 11 for any order of events."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from escalation.alert import (
    ACKNOWLEDGEMENT_LEASE,
    AlertError,
    AlertState,
    AlreadyClosed,
    HeldByAnother,
    MissingOutcome,
    StaleVersion,
    UndecidedText,
    acknowledged,
    acted,
    closed,
    folded,
    lapsed,
    opened,
    overdue,
)
from escalation.ladder import restarted, step
from moderation.verdict import Risk
from tests.escalation.shelf import concern

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
RISKS = [Risk.CONCERN, Risk.HIGH, Risk.IMMEDIATE]


def fresh(risk: Risk = Risk.HIGH, *, now: datetime = NOW):
    return opened(concern(risk), id="a", site="s", conversation="c", now=now)


def told(alert, now=NOW):
    found = step(alert, now=now)
    assert found is not None
    return found.alert


def end(alert, *, by="one", outcome="safe", rationale="spoke", version=None, undecided=0, now=NOW):
    return closed(
        alert, by=by, outcome=outcome, rationale=rationale, version=version, undecided=undecided, now=now
    )


# ---------------------------------------------------------------------------- one by one


def test_rule_09_a_new_alert_is_due_at_once():
    alert = fresh()
    assert (alert.state, alert.rung, alert.next_due_at) == (AlertState.OPEN, 0, NOW)


def test_rule_11_an_acknowledgement_is_a_lease():
    """It stops the ladder for ten minutes."""
    alert = acknowledged(told(fresh()), by="one", now=NOW)
    assert (alert.state, alert.holder) == (AlertState.ACKNOWLEDGED, "one")
    assert alert.lapses_at == alert.next_due_at == NOW + ACKNOWLEDGEMENT_LEASE == NOW + 10 * MINUTE


@pytest.mark.parametrize("risk", RISKS)
def test_rule_11_its_subject_neither_acknowledges_nor_closes(risk):
    """In any state."""
    alert = fresh(risk)
    for state in (alert, told(alert), acknowledged(alert, by="one", now=NOW)):
        with pytest.raises(AlertError):
            acknowledged(state, by=alert.about, now=NOW)
        with pytest.raises(AlertError):
            end(state, by=alert.about)


def test_rule_11_a_second_adult_does_not_take_what_another_holds():
    alert = acknowledged(fresh(), by="one", now=NOW)
    with pytest.raises(HeldByAnother):
        acknowledged(alert, by="two", now=NOW)
    assert acknowledged(alert, by="one", now=NOW + MINUTE) == alert  # and pressing twice extends nothing


def test_rule_10_a_lapse_keeps_the_rung_and_frees_the_alert():
    """Not a moment before its end."""
    alert = replace(told(fresh(), NOW), rung=2)
    held = acknowledged(alert, by="one", now=NOW)
    with pytest.raises(AlertError):
        lapsed(held, now=NOW + ACKNOWLEDGEMENT_LEASE - timedelta(microseconds=1), restart=restarted)
    free = lapsed(held, now=NOW + ACKNOWLEDGEMENT_LEASE, restart=restarted)
    assert (free.state, free.rung, free.holder) == (AlertState.NOTIFYING, 2, None)
    assert free.next_due_at == NOW + ACKNOWLEDGEMENT_LEASE
    with pytest.raises(AlertError):
        lapsed(acted(held, by="one", now=NOW), now=NOW + timedelta(days=1), restart=restarted)


def test_an_action_takes_it_in_hand():
    """Then nothing lapses; before an acknowledgement there is nothing to act on."""
    with pytest.raises(AlertError):
        acted(told(fresh()), by="one", now=NOW)
    alert = acted(acknowledged(fresh(), by="one", now=NOW), by="two", now=NOW)
    assert (alert.state, alert.holder, alert.next_due_at, alert.lapses_at) == (
        AlertState.IN_HAND,
        "one",
        None,
        None,
    )


@pytest.mark.parametrize("outcome", ["", " ", "\n"])
@pytest.mark.parametrize("field", ["outcome", "rationale"])
def test_rule_11_closing_needs_an_outcome_and_a_rationale(field, outcome):
    with pytest.raises(MissingOutcome):
        end(acknowledged(fresh(), by="one", now=NOW), **{field: outcome})


def test_rule_11_closing_needs_an_acknowledgement_first():
    for alert in (fresh(), told(fresh())):
        with pytest.raises(AlertError):
            end(alert)


def test_rule_19_closing_waits_for_undecided_text():
    with pytest.raises(UndecidedText):
        end(acknowledged(fresh(), by="one", now=NOW), undecided=1)


def test_rule_11_closing_what_has_changed_is_refused():
    alert = acknowledged(fresh(), by="one", now=NOW)
    with pytest.raises(StaleVersion):
        end(alert, version=alert.version - 1)
    assert end(alert, version=alert.version).state is AlertState.CLOSED


@pytest.mark.parametrize("risk", [Risk.CONCERN, Risk.HIGH])
def test_rule_11_one_signature_closes_what_is_not_immediate(risk):
    done = end(acknowledged(fresh(risk), by="one", now=NOW))
    assert (done.state, done.next_due_at, done.lapses_at) == (AlertState.CLOSED, None, None)


def test_rule_11_an_immediate_alert_is_closed_by_two():
    """The second is another person with the same outcome; else it is a first signature again."""
    alert = acknowledged(fresh(Risk.IMMEDIATE), by="one", now=NOW)
    first = end(alert)
    assert first.state is AlertState.IN_HAND and first.closing is not None
    assert first.closing.by == "one" and first.next_due_at is None
    assert end(first).state is AlertState.IN_HAND
    other = end(first, by="two", outcome="referred on")
    assert other.state is AlertState.IN_HAND
    assert other.closing is not None and other.closing.by == "two"
    assert end(other, by="one").state is AlertState.IN_HAND
    assert end(first, by="two").state is AlertState.CLOSED


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("risk", RISKS)
def test_rule_10_nothing_folds_into_a_closed_alert(risk, again):
    done = end(acknowledged(fresh(), by="one", now=NOW))
    with pytest.raises(AlreadyClosed):
        folded(done, concern(risk, asks_again=again), now=NOW, restart=restarted)
    for change in (
        lambda: acknowledged(done, by="two", now=NOW),
        lambda: acted(done, by="one", now=NOW),
        lambda: end(done),
    ):
        with pytest.raises(AlreadyClosed):
            change()


def test_rule_10_a_milder_concern_leaves_the_severity():
    alert = folded(fresh(Risk.IMMEDIATE), concern(Risk.CONCERN), now=NOW, restart=restarted)
    assert alert.risk is Risk.IMMEDIATE and alert.labels == ("self_harm",)


def test_a_worse_concern_notifies_again_and_needs_a_new_acknowledgement():
    """Also when somebody has it in hand, or the first signature is there."""
    held = acknowledged(fresh(Risk.HIGH), by="one", now=NOW)
    for alert in (told(fresh()), held, acted(held, by="one", now=NOW)):
        worse = folded(alert, concern(Risk.IMMEDIATE), now=NOW + MINUTE, restart=restarted)
        assert worse.state is AlertState.NOTIFYING and worse.next_due_at == NOW + MINUTE
    signed = end(acknowledged(fresh(Risk.IMMEDIATE), by="one", now=NOW))
    asked = folded(signed, concern(Risk.CONCERN, asks_again=True), now=NOW, restart=restarted)
    assert asked.state is AlertState.NOTIFYING and asked.closing is None


def test_more_of_the_same_tells_whoever_has_it_and_nobody_else():
    """The holder keeps it; while nobody has it, the ladder goes on as it was."""
    held = acknowledged(fresh(), by="one", now=NOW)
    more = folded(held, concern(Risk.HIGH), now=NOW + MINUTE, restart=restarted)
    assert (more.state, more.holder, more.next_due_at) == (AlertState.ACKNOWLEDGED, "one", NOW + MINUTE)
    found = step(more, now=NOW + MINUTE)
    assert found is not None and found.alert.next_due_at == held.lapses_at
    climbing = told(fresh())
    assert (
        folded(climbing, concern(Risk.HIGH), now=NOW + MINUTE, restart=restarted).next_due_at
        == climbing.next_due_at
    )


def test_discretion_ends_with_the_first_concern_that_is_open():
    """One that everybody may know of makes the alert one that everybody may know of; never the other way."""
    secret = replace(concern(Risk.HIGH), discreet=True)
    alert = opened(secret, id="a", site="s", conversation="c", now=NOW)
    assert folded(alert, secret, now=NOW, restart=restarted).discreet
    assert not folded(alert, concern(Risk.HIGH), now=NOW, restart=restarted).discreet
    assert not folded(fresh(), secret, now=NOW, restart=restarted).discreet


def test_overdue_is_sorted_by_who_waits_longest():
    alerts = [
        replace(fresh(), id=id, next_due_at=due)
        for id, due in [("b", NOW), ("a", NOW), ("late", NOW - MINUTE), ("later", NOW + MINUTE), ("x", None)]
    ]
    assert [a.id for a in overdue(alerts, now=NOW)] == ["late", "a", "b"]


# ---------------------------------------------------------------------------- any order


class Life(RuleBasedStateMachine):
    """One alert, any events in any order, looked at in any moment."""

    @initialize(risk=st.sampled_from(RISKS), minute=st.integers(0, 7 * 24 * 60))
    def begin(self, risk, minute):
        self.now = NOW + minute * MINUTE
        self.alert = fresh(risk, now=self.now)
        self.before = self.alert
        self.told_at = None
        self.signers: list[str] = []

    def becomes(self, alert):
        self.before, self.alert = self.alert, alert

    @rule(seconds=st.integers(0, 3600))
    def time_passes(self, seconds):
        self.now += timedelta(seconds=seconds)

    @rule()
    def time_comes(self):
        """Go to when it is due."""
        if self.alert.next_due_at is not None:
            self.now = max(self.now, self.alert.next_due_at)

    @rule()
    def a_worker_looks(self):
        alert = self.alert
        if alert.lapses_at is not None and alert.lapses_at <= self.now:
            alert = lapsed(alert, now=self.now, restart=restarted)
        found = step(alert, now=self.now)
        due = alert.next_due_at is not None and alert.next_due_at <= self.now
        assert (found is not None) == due
        if found is not None:
            assert found.alert.next_due_at is None or found.alert.next_due_at > self.now
            assert found.first == (alert.state is AlertState.OPEN)
            self.told_at = self.now
            self.becomes(found.alert)

    @rule(risk=st.sampled_from(RISKS), again=st.booleans())
    def more_is_said(self, risk, again):
        if self.alert.state is AlertState.CLOSED:
            with pytest.raises(AlreadyClosed):
                folded(self.alert, concern(risk, asks_again=again), now=self.now, restart=restarted)
            return
        alert = folded(self.alert, concern(risk, asks_again=again), now=self.now, restart=restarted)
        assert alert.version > self.alert.version
        if risk > self.alert.risk or not self.alert.state.unanswered:
            assert alert.next_due_at is not None and alert.next_due_at <= self.now
            self.told_at = None
        self.becomes(alert)

    @rule(by=st.sampled_from(["one", "two", "pupil"]))
    def somebody_takes_it(self, by):
        try:
            alert = acknowledged(self.alert, by=by, now=self.now)
        except AlertError:
            assert by == "pupil" or not self.alert.state.unanswered
            return
        assert by != self.alert.about
        self.becomes(alert)

    @rule(by=st.sampled_from(["one", "two"]))
    def somebody_acts(self, by):
        try:
            self.becomes(acted(self.alert, by=by, now=self.now))
        except AlertError:
            assert self.alert.state.unanswered or self.alert.state is AlertState.CLOSED

    @rule(
        by=st.sampled_from(["one", "two", "pupil"]),
        outcome=st.sampled_from(["safe", "referred", " "]),
        rationale=st.sampled_from(["spoke", ""]),
        undecided=st.integers(0, 1),
        stale=st.booleans(),
    )
    def somebody_closes(self, by, outcome, rationale, undecided, stale):
        version = self.alert.version - 1 if stale else self.alert.version
        try:
            alert = closed(
                self.alert,
                by=by,
                outcome=outcome,
                rationale=rationale,
                version=version,
                undecided=undecided,
                now=self.now,
            )
        except AlertError:
            return
        assert by != "pupil" and outcome.strip() and rationale.strip() and not undecided and not stale
        assert not self.alert.state.unanswered
        if alert.state is AlertState.CLOSED and alert.risk is Risk.IMMEDIATE:
            first = self.alert.closing
            assert first is not None and first.by != by and first.outcome == outcome
        self.becomes(alert)

    @precondition(lambda self: self.alert is not self.before)
    @invariant()
    def nothing_falls(self):
        """Rule 10: neither rung, nor severity, nor version; and who it is about stays."""
        assert self.alert.rung >= self.before.rung
        assert self.alert.risk >= self.before.risk
        assert self.alert.version >= self.before.version
        same = ("id", "site", "conversation", "about", "about_role", "opened_at")
        assert all(getattr(self.alert, name) == getattr(self.before, name) for name in same)
        assert self.before.state is not AlertState.CLOSED

    @invariant()
    def what_is_unanswered_is_due(self):
        """Rule 9: it has a next due time; whoever has it has a lease or has it in hand."""
        match self.alert.state:
            case AlertState.OPEN | AlertState.NOTIFYING:
                assert self.alert.next_due_at is not None and self.alert.lapses_at is None
            case AlertState.ACKNOWLEDGED:
                assert self.alert.holder not in (None, self.alert.about)
                assert self.alert.lapses_at is not None and self.alert.next_due_at is not None
                assert self.alert.next_due_at <= max(self.alert.lapses_at, self.now)
            case AlertState.IN_HAND:
                assert self.alert.holder is not None and self.alert.lapses_at is None
            case AlertState.CLOSED:
                assert self.alert.next_due_at is None and self.alert.lapses_at is None

    @invariant()
    def silence_is_never_longer_than_the_ladder_allows(self):
        """After a telling, the next of an unanswered alert is at most the ladder's widest step away."""
        widest = {Risk.IMMEDIATE: 5 * MINUTE, Risk.HIGH: 15 * MINUTE, Risk.CONCERN: timedelta(days=3)}
        alert = self.alert
        if alert.state is AlertState.NOTIFYING and self.told_at is not None:
            assert alert.next_due_at is not None
            assert alert.next_due_at - self.told_at <= widest[alert.risk]


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)
