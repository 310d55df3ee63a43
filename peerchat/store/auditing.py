"""What the auditor looks at: what asked for an adult, and how the open alerts stand. It writes nothing.

The rows are read as they lie there, by statements of its own: a fault in the code that raises or steps an
alert must not blind what looks for it.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from escalation.alert import AlertState
from escalation.auditor import Asked, Standing
from moderation.verdict import Risk, Role
from peerchat.store.alerts import clock_of
from peerchat.store.database import Transaction
from peerchat.store.tables import (
    AlertEvent,
    AlertRow,
    Attempt,
    DecisionRow,
    Member,
    Message,
    ReviewItem,
    Ticket,
    VerdictRow,
    table,
)

LOOKS_BACK = timedelta(days=3)
"""How far back the auditor derives alerts at each look: over a weekend."""

_VERDICT, _MESSAGE, _MEMBER, _TICKET = table(VerdictRow), table(Message), table(Member), table(Ticket)
_ITEM, _DECISION, _ALERT = table(ReviewItem), table(DecisionRow), table(AlertRow)
_EVENT, _ATTEMPT = table(AlertEvent), table(Attempt)

_ANSWERED = {state.value for state in AlertState if not state.unanswered}
CHATTING = (Role.PUPIL.value, Role.MENTOR.value)


def asked(tx: Transaction, *, since: datetime | None) -> list[Asked]:
    """Return what asked for an adult since a moment, or ever: verdicts, notes of tickets, decisions."""
    return [*_verdicts(tx, since), *_tickets(tx, since), *_passed_on(tx, since)]


def _verdicts(tx: Transaction, since: datetime | None) -> list[Asked]:
    named = sa.exists(
        sa.select(sa.literal(1)).where(
            _EVENT.c.message == _VERDICT.c.message, _EVENT.c.kind.in_(("raised", "evidence"))
        )
    )
    rows = tx.rows(
        sa.select(
            _VERDICT.c.message, _VERDICT.c.at, _VERDICT.c.risk, _VERDICT.c.about, _MEMBER.c.role,
            named.label("named"),
        )
        .select_from(
            _VERDICT.join(_MESSAGE, _MESSAGE.c.id == _VERDICT.c.message).join(
                _MEMBER, _MEMBER.c.id == _MESSAGE.c.sender
            )
        )
        .where(_VERDICT.c.risk != Risk.NONE.value, _after(_VERDICT.c.at, since))
    )  # fmt: skip
    return [
        Asked(
            id=row.message,
            at=row.at,
            risk=_risk(row.risk),
            role=Role(row.about if row.about in CHATTING else row.role),
            answered=bool(row.named),
        )
        for row in rows
    ]


def _tickets(tx: Transaction, since: datetime | None) -> list[Asked]:
    named = sa.exists(
        sa.select(sa.literal(1))
        .select_from(_EVENT.join(_ALERT, _ALERT.c.id == _EVENT.c.alert))
        .where(_ALERT.c.about == _TICKET.c.pupil, _EVENT.c.at >= _TICKET.c.asked_at)
    )
    rows = tx.rows(
        sa.select(_TICKET.c.id, _TICKET.c.asked_at, _TICKET.c.risk, named.label("named")).where(
            _TICKET.c.risk != Risk.NONE.value, _after(_TICKET.c.asked_at, since)
        )
    )
    return [
        Asked(id=r.id, at=r.asked_at, risk=_risk(r.risk), role=Role.PUPIL, answered=bool(r.named))
        for r in rows
    ]


def _passed_on(tx: Transaction, since: datetime | None) -> list[Asked]:
    rows = tx.rows(
        sa.select(_ITEM.c.id, _DECISION.c.at, _ITEM.c.risk, _ITEM.c.alert)
        .join(_ITEM, _ITEM.c.id == _DECISION.c.item)
        .where(_DECISION.c.decision == "escalate", _after(_DECISION.c.at, since))
    )
    return [
        Asked(
            id=row.id,
            at=row.at,
            risk=_risk(row.risk),
            role=Role.PUPIL,
            answered=row.alert is not None,
            by_person=True,
        )
        for row in rows
    ]


def standing(tx: Transaction) -> list[Standing]:
    """Return how every alert that is not closed stands; what cannot be read of one counts against it."""
    raw = [
        sa.type_coerce(_ALERT.c[name], sa.String).label(name)
        for name in ("risk", "state", "opened_at", "next_due_at", "untold_since")
    ]
    newest = (
        sa.select(sa.func.max(_ATTEMPT.c.n)).group_by(_ATTEMPT.c.alert, _ATTEMPT.c.channel).scalar_subquery()
    )
    attempts = (
        sa.select(
            _ATTEMPT.c.alert,
            sa.func.max(_ATTEMPT.c.at).label("attempted_at"),
            sa.func.min(sa.case((_ATTEMPT.c.outcome.is_(None), _ATTEMPT.c.at))).label("unknown_since"),
        )
        .where(_ATTEMPT.c.n.in_(newest))
        .group_by(_ATTEMPT.c.alert)
        .subquery()
    )
    rows = tx.rows(
        sa.select(_ALERT.c.id, _ALERT.c.site, *raw, attempts.c.attempted_at, attempts.c.unknown_since)
        .join(attempts, attempts.c.alert == _ALERT.c.id, isouter=True)
        .where(_ALERT.c.state != AlertState.CLOSED.value)
    )
    times = {site: clock_of(tx, site)[0] for site in {row.site for row in rows}}
    return [
        Standing(
            id=row.id,
            risk=_risk(row.risk),
            unanswered=row.state not in _ANSWERED,
            opened_at=_moment(row.opened_at) or _LONG_AGO,
            due_at=_moment(row.next_due_at),
            attempted_at=row.attempted_at,
            unknown_since=row.unknown_since,
            times=times[row.site],
        )
        for row in rows
    ]


_LONG_AGO = datetime.min.replace(tzinfo=UTC)


def _after(column: sa.Column[Any], since: datetime | None) -> sa.ColumnElement[bool]:
    return column >= since if since is not None else sa.true()


def _risk(raw: Any) -> Risk:
    """Return a risk as it lies there; one that is none counts as the worst."""
    return Risk(raw) if raw in set(Risk) else Risk.IMMEDIATE


def _moment(raw: Any) -> datetime | None:
    """Return a moment as it lies there; one that cannot be read is long overdue."""
    if raw is None or isinstance(raw, datetime):
        return raw
    try:
        moment = datetime.fromisoformat(raw)
        return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    except ValueError:
        return _LONG_AGO + timedelta(days=1)
