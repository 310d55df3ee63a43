"""The auditor: which alerts should exist, and which tellings should have been made. Pure.

It trusts nothing that the desk says of itself. From what asked for an adult (verdicts, notes of those who
wait, decisions) it derives that an alert is there, and from the alerts that they are told in time. It finds
what a bug, a lost row or a stopped desk left behind; while it finds anything, the watchdog is silent.
"""

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from escalation.ladder import horizon
from escalation.times import DEFAULTS, Times
from escalation.triage import triage
from moderation.verdict import Risk, Role

LATE = timedelta(seconds=10)
"""How long overdue an alert may be while a worker lives (rule 9)."""

UNKNOWN = timedelta(seconds=60)
"""After so long somebody should know how a telling went."""


class Missing(enum.StrEnum):
    """What is not as it should be."""

    ALERT = "alert"
    """Something asked for an adult, and no alert names it (rule 8)."""

    DUE = "due"
    """An alert that nobody has has no next time, or one that lies too far ahead."""

    LATE = "late"
    """An alert is overdue."""

    ATTEMPT = "attempt"
    """An alert was due, and nobody tried to tell anyone."""

    OUTCOME = "outcome"
    """Nobody knows how the newest telling went."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Something that may ask for an adult, and whether an alert names it."""

    id: str
    at: datetime
    risk: Risk
    role: Role  # of the member whose risk it is
    answered: bool
    by_person: bool = False  # a person passed it on: it asks whatever its risk


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """An alert that is not closed.

    `attempted_at` is of the newest attempt; `unknown_since` of the oldest without an outcome among the newest
    by each channel.
    """

    id: str
    risk: Risk
    unanswered: bool
    opened_at: datetime
    due_at: datetime | None
    attempted_at: datetime | None
    unknown_since: datetime | None
    times: Times = DEFAULTS  # of its site


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is missing; `id` is of a message, a ticket, a review item or an alert."""

    what: Missing
    id: str


def findings(asked: Iterable[Asked], alerts: Iterable[Standing], *, now: datetime) -> list[Finding]:
    """Return everything that is missing; nothing means that all is as it should be."""
    found = [Finding(what=Missing.ALERT, id=one.id) for one in asked if asks(one) and not one.answered]
    for alert in alerts:
        found += [Finding(what=what, id=alert.id) for what in _of(alert, now)]
    return found


def asks(one: Asked) -> bool:
    """Return whether there has to be an alert for this."""
    return one.by_person or triage(one.risk, (), sender="", role=one.role) is not None


def _of(alert: Standing, now: datetime) -> list[Missing]:
    if not alert.unanswered:
        late = alert.due_at is not None and alert.due_at + LATE < now
        return [Missing.LATE] if late else []
    found = []
    if alert.due_at is None or alert.due_at > now + horizon(
        alert.risk, unanswered=True, ladders=alert.times.ladders
    ):
        found.append(Missing.DUE)
    elif alert.due_at + LATE < now:
        found.append(Missing.LATE)
    if alert.attempted_at is None and alert.opened_at + LATE < now:
        found.append(Missing.ATTEMPT)
    if alert.unknown_since is not None and alert.unknown_since + UNKNOWN < now:
        found.append(Missing.OUTCOME)
    return found
