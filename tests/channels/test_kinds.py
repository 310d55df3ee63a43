"""By which kinds of channels a step is told once somebody has the alert."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from escalation.alert import AlertState, opened
from escalation.ladder import Audience, SchoolDay, Step
from moderation.verdict import Risk
from peerchat.channels.contact import Kind, kinds_for
from tests.escalation.shelf import concern

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
ALERT = opened(concern(Risk.HIGH), id="a", site="s", conversation="c", now=NOW)


@pytest.mark.parametrize("state", [AlertState.ACKNOWLEDGED, AlertState.IN_HAND])
def test_that_somebody_is_gone_goes_out_by_every_kind_though_somebody_has_it(state: AlertState) -> None:
    alert = replace(ALERT, state=state)
    step = Step(alert=alert, audience=Audience.ON_DUTY, first=False)
    day = SchoolDay()
    assert kinds_for(step, now=alert.opened_at, day=day) == {Kind.PUSH}
    assert kinds_for(replace(step, loud=True), now=alert.opened_at, day=day) == frozenset(Kind)
