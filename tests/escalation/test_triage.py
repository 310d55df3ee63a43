"""Who must know of what: rule 8's one place, who is told, and who is not."""

import pytest

from escalation.triage import ESCALATED, FLAG, flagged, passed_on, triage
from moderation.verdict import Risk, Role

STAFF = [Role.ADULT, Role.MODERATOR, Role.COORDINATOR]
RISKS = [Risk.CONCERN, Risk.HIGH, Risk.IMMEDIATE]


@pytest.mark.parametrize("role", [Role.PUPIL, Role.MENTOR])
def test_rule_08_every_risk_asks_for_an_alert(role):
    """About whoever wrote it, at the verdict's own level; a mentor is never told of it."""
    assert triage(Risk.NONE, ("harassment",), sender="m", role=role) is None
    for risk in RISKS:
        found = triage(risk, ("self_harm",), sender="m", role=role)
        assert found is not None
        assert (found.about, found.about_role, found.risk, found.labels) == ("m", role, risk, ("self_harm",))
        assert found.discreet == (role is Role.MENTOR) and not found.asks_again


def test_a_verdict_without_labels_still_says_something():
    found = triage(Risk.HIGH, (), sender="m", role=Role.PUPIL)
    assert found is not None and found.labels == ("unclear",)


@pytest.mark.parametrize("role", STAFF)
def test_an_adults_words_of_care_are_no_alert(role):
    """Staff speak of these things because it is their work."""
    assert triage(Risk.IMMEDIATE, ("abuse",), sender="m", role=role) is None


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize(("emergency", "risk"), [(False, Risk.CONCERN), (True, Risk.IMMEDIATE)])
@pytest.mark.parametrize("pupil", [None, "p"])
def test_rule_08_a_flag_is_about_the_pupil_where_there_is_one(role, emergency, risk, pupil):
    """`concern` is concern, `emergency` immediate; what a pupil asks for is shown to that pupil alone."""
    found = flagged(emergency=emergency, sender="m", role=role, pupil=pupil)
    assert (found.risk, found.labels, found.asks_again) == (risk, (FLAG,), True)
    assert (found.about, found.about_role) == (("p", Role.PUPIL) if pupil else ("m", role))
    assert found.discreet == (role is Role.PUPIL)


@pytest.mark.parametrize("risk", list(Risk))
@pytest.mark.parametrize("role", list(Role))
def test_what_a_moderator_passes_on_is_at_least_high(role, risk):
    """And discreet, unless it is about a pupil."""
    found = passed_on(sender="m", role=role, risk=risk, labels=("threat",))
    assert found.risk is max(risk, Risk.HIGH) and found.labels == ("threat", ESCALATED)
    assert found.discreet == (role is not Role.PUPIL) and found.asks_again
