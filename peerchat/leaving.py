"""Somebody leaves, or drops off, while an alert is open: it is told again, and asks for a decision.

Whoever may be in danger and is gone cannot be asked any more. The adult who has the alert keeps it, and is
asked whether it is time to find out who this is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from escalation import alert as life
from escalation.alert import Alert
from moderation.verdict import Risk, Role
from peerchat.store.alerts import EventValue
from peerchat.store.sql import Tx
from peerchat.telling import emit_alert

DROPPED = timedelta(seconds=60)
"""Who has had no line for so long has dropped off: pages come back from a lost network well before."""

HOLDER_GRACE = timedelta(minutes=3)
"""So long an alert stays with a holder who was lost, unless somebody acts; then it is everybody's again."""

LEFT, LOST, BACK = "left_chat", "dropped", "came_back"
HOLDER_LOST, HOLDER_BACK = "holder_dropped", "holder_back"
"""Kinds of lines in a case's chronology."""

PAIR = frozenset({Role.PUPIL, Role.MENTOR})


@dataclass(frozen=True, slots=True, kw_only=True)
class Gone:
    """The one whom an alert is about is not there any more."""

    why: str  # `LEFT` or `LOST`
    since: datetime


def gone(alert: Alert, chronology: Sequence[EventValue]) -> Gone | None:
    """Return whether the one whom an open alert is about has left or dropped off, and not come back."""
    for event in reversed(chronology):
        if event.kind == BACK:
            return None
        if event.kind == LOST or (event.kind == LEFT and event.by == alert.about):
            return Gone(why=event.kind, since=event.at)
    return None


def tell_left(tx: Tx, conversation: str, member: str) -> None:
    """Tell again of a conversation's open alerts that one of the pair has left it."""
    for alert in tx.alerts.open_in([conversation]):
        if alert.risk >= Risk.HIGH:
            _tell(tx, alert, LEFT, by=member)


def tell_lost(tx: Tx, alert: Alert) -> None:
    """Tell again of an alert that the one it is about has had no line for `DROPPED`."""
    _tell(tx, alert, LOST)


def tell_back(tx: Tx, alert: Alert) -> None:
    """Note that the one whom an alert is about is there again: information, which tells nobody anew."""
    tx.alerts.log(alert.id, BACK)
    emit_alert(tx, alert, "updated")


def tell_holder(tx: Tx, alert: Alert, *, lost: bool) -> None:
    """Tell the other adults that whoever has an alert dropped off duty with it; or is back."""
    if lost:
        _tell(tx, alert, HOLDER_LOST)
    else:
        tx.alerts.log(alert.id, HOLDER_BACK)
        emit_alert(tx, alert, "updated")


def tell_freed(tx: Tx, alert: Alert) -> None:
    """Put an alert whose holder stayed away for `HOLDER_GRACE` back into everybody's hands."""
    emit_alert(tx, tx.alerts.free(alert), "climbed")


def _tell(tx: Tx, alert: Alert, kind: str, *, by: str | None = None) -> None:
    tx.alerts.log(alert.id, kind, by=by)
    tx.alerts.save(life.told_again(alert, now=tx.now))
