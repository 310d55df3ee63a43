"""An alert and its life, pure: every transition takes the moment as an argument and returns a new value.

    OPEN -> NOTIFYING(rung) -> ACKNOWLEDGED (a lease) -> IN_HAND -> CLOSED
                 ^                    |                     |
                 +--- lapse ----------+   worse evidence ---+

Only a person's acknowledgement stops the ladder. A rung never falls; a severity never falls. Closed means
that an outcome, a rationale and an author are there, and for an immediate alert a second adult's signature.
"""

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from moderation.verdict import Risk, Role

ACKNOWLEDGEMENT_LEASE = timedelta(minutes=10)
"""An acknowledgement without an action lapses after this time."""


class AlertState(enum.StrEnum):
    """Where an alert stands."""

    OPEN = "open"
    NOTIFYING = "notifying"
    ACKNOWLEDGED = "acknowledged"
    IN_HAND = "in_hand"
    CLOSED = "closed"

    @property
    def unanswered(self) -> bool:
        return self in (AlertState.OPEN, AlertState.NOTIFYING)


class AlertError(Exception):
    """A transition that the alert's state does not allow; the message says what would be needed."""


class AlreadyClosed(AlertError):
    """A closed alert changes no more; a new concern opens a new one."""


class HeldByAnother(AlertError):
    """Another adult has taken this alert."""


class StaleVersion(AlertError):
    """The alert changed since the caller read it."""


class MissingOutcome(AlertError):
    """Closing needs an outcome and a rationale."""


class UndecidedText(AlertError):
    """A held text of this alert still waits for a decision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseProposal:
    """How a case ends, and who says so: on an immediate alert the first of two signatures."""

    by: str
    outcome: str
    rationale: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """Somebody may need an adult. Times are aware UTC; `next_due_at` is None only once closed or in hand."""

    id: str
    site: str
    conversation: str | None
    about: str  # the member this is about
    about_role: Role
    risk: Risk
    labels: tuple[str, ...]
    state: AlertState = AlertState.OPEN
    rung: int = 0
    opened_at: datetime
    notifying_since: datetime  # the ladder's clock: opened_at, moved on by a lapse
    next_due_at: datetime | None
    holder: str | None = None
    lapses_at: datetime | None = None
    closing: CloseProposal | None = None
    discreet: bool = False  # only the one it is about is told of the adult's help
    practice: bool = False  # a drill: the real ladder, about nobody
    apart: bool = False  # about an adult of the school: see `escalation.knowing`
    version: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Concern:
    """What asks for an adult: a verdict, a flag or a decision, before it is an alert."""

    about: str
    about_role: Role
    risk: Risk
    labels: tuple[str, ...]
    discreet: bool = False
    apart: bool = False
    asks_again: bool = False  # a person asked: after an acknowledgement it needs a new one
    practice: bool = False


Restart = Callable[[Alert, Risk, datetime], datetime]
"""The ladder's clock for an alert that notifies again: see `escalation.ladder.restarted`."""


def opened(concern: Concern, *, id: str, site: str, conversation: str | None, now: datetime) -> Alert:
    """Return a new alert, due at once."""
    return Alert(
        id=id,
        site=site,
        conversation=conversation,
        about=concern.about,
        about_role=concern.about_role,
        risk=concern.risk,
        labels=concern.labels,
        opened_at=now,
        notifying_since=now,
        next_due_at=now,
        discreet=concern.discreet,
        practice=concern.practice,
        apart=concern.apart,
    )


def folded(alert: Alert, concern: Concern, *, now: datetime, restart: Restart) -> Alert:
    """Return the alert with a further concern as evidence.

    Notifies again (due at once) on a higher severity, and on new evidence after an acknowledgement. What is
    worse, or asked for by a person after an acknowledgement, needs a new acknowledgement. More of the same
    before one changes no timer.
    """
    if alert.state is AlertState.CLOSED:
        raise AlreadyClosed("nothing folds into a closed alert")
    worse = concern.risk > alert.risk
    alert = replace(
        alert,
        risk=max(alert.risk, concern.risk),
        labels=tuple(dict.fromkeys((*alert.labels, *concern.labels))),
        discreet=alert.discreet and concern.discreet,
        closing=None,  # whoever signed had not seen this
        version=alert.version + 1,
    )
    if worse or (concern.asks_again and not alert.state.unanswered):
        return replace(
            alert,
            state=AlertState.NOTIFYING if alert.state is not AlertState.OPEN else AlertState.OPEN,
            notifying_since=restart(alert, alert.risk, now),
            next_due_at=now,
            lapses_at=None,
        )
    if not alert.state.unanswered:
        return replace(alert, next_due_at=now)  # told again; whoever has it keeps it
    return alert


def acknowledged(alert: Alert, *, by: str, now: datetime, lease: timedelta = ACKNOWLEDGEMENT_LEASE) -> Alert:
    """Return the alert taken on by an adult; the ladder stops, the lease begins."""
    _open(alert)
    if alert.about == by:
        raise AlertError("an alert is never answered by the one it is about")
    if not alert.state.unanswered and alert.holder != by:
        raise HeldByAnother("another adult has this alert")
    if not alert.state.unanswered:
        return alert
    until = now + lease
    if alert.practice:
        until = min(until, alert.opened_at + PRACTICE_LASTS)
    return replace(
        alert,
        state=AlertState.ACKNOWLEDGED,
        holder=by,
        lapses_at=until,
        next_due_at=until,
        version=alert.version + 1,
    )


def acted(alert: Alert, *, by: str, now: datetime) -> Alert:
    """Return the alert after its holder joined or acted: in hand, and no lapse any more."""
    _open(alert)
    if alert.state.unanswered:
        raise AlertError("take the alert on first")
    if alert.state is AlertState.IN_HAND:
        return alert
    return replace(
        alert,
        state=AlertState.IN_HAND,
        holder=alert.holder or by,
        lapses_at=None,
        next_due_at=None,
        version=alert.version + 1,
    )


def lapsed(alert: Alert, *, now: datetime, restart: Restart) -> Alert:
    """Return the alert whose acknowledgement ran out: notifying again, at the rung it had reached."""
    if alert.state is not AlertState.ACKNOWLEDGED or alert.lapses_at is None or alert.lapses_at > now:
        raise AlertError("nothing has lapsed")
    return let_go(alert, now=now, restart=restart)


def let_go(alert: Alert, *, now: datetime, restart: Restart) -> Alert:
    """Return the alert whose holder is there no more: notifying again, at the rung it had reached."""
    _open(alert)
    return replace(
        alert,
        state=AlertState.NOTIFYING,
        holder=None,
        lapses_at=None,
        notifying_since=restart(alert, alert.risk, now),
        next_due_at=now,
        version=alert.version + 1,
    )


def handed_over(alert: Alert, *, to: str, now: datetime, lease: timedelta = ACKNOWLEDGEMENT_LEASE) -> Alert:
    """Return the alert with another adult, who has accepted it: in hand still, or with a lease begun anew."""
    _open(alert)
    if alert.state.unanswered:
        raise AlertError("nobody has taken this alert on")
    if alert.about == to:
        raise AlertError("an alert is never answered by the one it is about")
    until = now + lease if alert.state is AlertState.ACKNOWLEDGED else None
    return replace(
        alert, holder=to, lapses_at=until, next_due_at=until or alert.next_due_at, version=alert.version + 1
    )


def told_again(alert: Alert, *, now: datetime) -> Alert:
    """Return the alert due now: something happened that whoever is told should know. Who has it keeps it."""
    _open(alert)
    return replace(alert, next_due_at=now, closing=None, version=alert.version + 1)


def closed(
    alert: Alert,
    *,
    by: str,
    outcome: str,
    rationale: str,
    version: int | None,
    undecided: int,
    now: datetime,
    single: bool = False,
) -> Alert:
    """Return the alert closed, or, for an immediate one, with the first of its two signatures.

    A second adult signs by sending the same outcome; whoever proposed cannot be the second. `single` says
    that nobody but `by` may know of the alert: then one signature ends it, and the caller records that.
    """
    _open(alert)
    if not outcome.strip() or not rationale.strip():
        raise MissingOutcome("closing needs an outcome and a rationale")
    if alert.about == by:
        raise AlertError("an alert is never closed by the one it is about")
    if version is not None and version != alert.version:
        raise StaleVersion("the alert has changed since you read it")
    if alert.state.unanswered:
        raise AlertError("take the alert on before closing it")
    if undecided:
        raise UndecidedText("a held message of this alert still waits for a decision")
    proposal = CloseProposal(by=by, outcome=outcome, rationale=rationale)
    if needs_two(alert) and not single:
        first = alert.closing
        if first is None or first.by == by or first.outcome != outcome:
            return replace(
                alert,
                state=AlertState.IN_HAND,
                lapses_at=None,
                next_due_at=None,
                closing=proposal,
                version=alert.version + 1,
            )
        proposal = first
    return replace(
        alert,
        state=AlertState.CLOSED,
        lapses_at=None,
        next_due_at=None,
        closing=proposal,
        version=alert.version + 1,
    )


def needs_two(alert: Alert) -> bool:
    """Return whether closing an alert takes two adults' signatures."""
    return alert.risk is Risk.IMMEDIATE and not alert.practice


PRACTICE_LASTS = timedelta(minutes=30)
"""A drill that nobody ends ends by itself: adults who are rung for nothing stop listening."""


def practice_over(alert: Alert, *, now: datetime) -> bool:
    """Return whether a drill has lasted its time, in whatever state; or was begun under a wrong clock."""
    return alert.practice and abs(now - alert.opened_at) >= PRACTICE_LASTS


def practice_ended(alert: Alert, *, by: str, why: str) -> Alert:
    """Return a practice alert closed, whatever state it is in. A real one never ends like this."""
    _open(alert)
    if not alert.practice:
        raise AlertError("this is no practice")
    return replace(
        alert,
        state=AlertState.CLOSED,
        lapses_at=None,
        next_due_at=None,
        closing=CloseProposal(by=by, outcome="practice", rationale=why),
        version=alert.version + 1,
    )


def overdue(alerts: Iterable[Alert], *, now: datetime) -> list[Alert]:
    """Return alerts that are due, longest overdue first."""
    late = [(a.next_due_at, a.id, a) for a in alerts if a.next_due_at is not None and a.next_due_at <= now]
    return [a for _, _, a in sorted(late, key=lambda row: row[:2])]


def _open(alert: Alert) -> None:
    if alert.state is AlertState.CLOSED:
        raise AlreadyClosed("this alert is closed; a new concern opens a new one")
