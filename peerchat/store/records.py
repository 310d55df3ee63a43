"""What a case keeps beside its chronology: its own copies of the evidence, and legal holds.

Both are sealed under the case's key, so the end of a chat, and of its keys, takes nothing from a case.
"""

import logging
from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy as sa

from moderation.verdict import Risk
from peerchat.model import new_id
from peerchat.store.database import AnyRow, Transaction
from peerchat.store.messages import GONE, Messages
from peerchat.store.seal import CASE, KeyName
from peerchat.store.tables import (
    AlertRow,
    Attempt,
    CaseEvidence,
    CaseHold,
    ContactPoint,
    DecisionRow,
    ReviewItem,
    SendingRow,
    table,
)

log = logging.getLogger(__name__)

_EVIDENCE, _HOLD, _ALERT = table(CaseEvidence), table(CaseHold), table(AlertRow)
_ATTEMPT, _SENDING, _CONTACT = table(Attempt), table(SendingRow), table(ContactPoint)
_DECISION, _ITEM = table(DecisionRow), table(ReviewItem)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceValue:
    """A text as it was when it raised a concern, or was added to one."""

    message: str
    sender: str
    sent_at: datetime
    risk: Risk
    labels: tuple[str, ...]
    policy_version: str | None
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldValue:
    """A legal hold. It lasts while `lifted_at` is None."""

    id: str
    alert: str
    by: str
    at: datetime
    reason: str = field(repr=False)
    lifted_by: str | None = None
    lifted_at: datetime | None = None
    lifted_reason: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class TellingValue:
    """One attempt, or what one contact point was sent of it."""

    at: datetime
    rung: int
    audience: str
    channel: str
    member: str | None
    outcome: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionValue:
    """A decision about a text of a case."""

    at: datetime
    by: str
    decision: str
    reason: str
    note: str | None = field(default=None, repr=False)


class Records:
    """Keep and read what a case's record is made of."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    # -- evidence

    def keep(self, alert: str, event: str, message: str) -> None:
        """Copy a text under the case's key. What cannot be read is not copied, and hinders nothing."""
        messages = Messages(self._tx)
        try:
            found, verdict = messages.get(message), messages.verdict(message)
        except (ValueError, TypeError, LookupError) as error:
            log.error("a message of a case cannot be copied: %s", type(error).__name__)
            return
        if found is None or found.text == GONE:
            return
        self._tx.execute(
            sa.insert(_EVIDENCE).values(
                event=event,
                alert=alert,
                message=message,
                sender=found.sender,
                sent_at=found.created_at,
                risk=(verdict.risk if verdict is not None else Risk.NONE).value,
                labels=list(verdict.labels) if verdict is not None else [],
                policy_version=verdict.policy_version if verdict is not None else None,
                text=self._tx.keyring.seal(_key(alert), found.text, bound_to=f"{event} text"),
            )
        )

    def evidence(self, alert: str) -> list[EvidenceValue]:
        """Return the texts of a case, oldest first; one that cannot be opened says so."""
        query = sa.select(_EVIDENCE).where(_EVIDENCE.c.alert == alert)
        rows = self._tx.rows(query.order_by(_EVIDENCE.c.sent_at, _EVIDENCE.c.event))
        found = {row.message: self._evidence(row) for row in rows}  # a text may be there by two lines
        return list(found.values())

    def _evidence(self, row: AnyRow) -> EvidenceValue:
        return EvidenceValue(
            message=row.message,
            sender=row.sender,
            sent_at=row.sent_at,
            risk=Risk(row.risk),
            labels=tuple(row.labels),
            policy_version=row.policy_version,
            text=self._open(row.alert, row.text, f"{row.event} text"),
        )

    # -- who was told, and what was decided

    def told(self, alert: str) -> list[TellingValue]:
        """Return every attempt of a case, and what each contact point was sent of it, oldest first.

        An attempt that went to contact points is those; one by the open page is itself.
        """
        attempts = self._tx.rows(sa.select(_ATTEMPT).where(_ATTEMPT.c.alert == alert).order_by(_ATTEMPT.c.n))
        sendings: dict[str, list[AnyRow]] = {}
        for row in self._tx.rows(
            sa.select(_SENDING.c.attempt, _SENDING.c.at, _SENDING.c.outcome, _CONTACT.c.member)
            .join(_ATTEMPT, _ATTEMPT.c.id == _SENDING.c.attempt)
            .join(_CONTACT, _CONTACT.c.id == _SENDING.c.contact)
            .where(_ATTEMPT.c.alert == alert)
            .order_by(_SENDING.c.at, _SENDING.c.id)
        ):
            sendings.setdefault(row.attempt, []).append(row)
        return [
            TellingValue(
                at=one.at,
                rung=attempt.rung,
                audience=attempt.audience,
                channel=attempt.channel,
                member=one.member if one is not attempt else None,
                outcome=one.outcome,
            )
            for attempt in attempts
            for one in sendings.get(attempt.id, [attempt])
        ]

    def decisions(self, alert: str) -> list[DecisionValue]:
        """Return what was decided about the texts of a case, oldest first."""
        rows = self._tx.rows(
            sa.select(_DECISION, _ITEM.c.conversation)
            .join(_ITEM, _ITEM.c.id == _DECISION.c.item)
            .where(_ITEM.c.alert == alert)
            .order_by(_DECISION.c.at, _DECISION.c.id)
        )
        return [self._decision(row) for row in rows]

    def _decision(self, row: AnyRow) -> DecisionValue:
        note = None
        if row.note:
            key = KeyName(row.conversation or row.item, "staff", CASE)
            note = self._tx.keyring.open(key, row.note, bound_to=row.id) or GONE
        return DecisionValue(at=row.at, by=row.by, decision=row.decision, reason=row.reason, note=note)

    # -- legal holds

    def hold(self, alert: str, *, by: str, reason: str) -> None:
        """Begin a hold."""
        id = new_id("hld")
        self._tx.execute(
            sa.insert(_HOLD).values(
                id=id,
                alert=alert,
                by=by,
                at=self._tx.now,
                reason=self._tx.keyring.seal(_key(alert), reason, bound_to=f"{id} reason"),
            )
        )

    def lift(self, hold: HoldValue, *, by: str, reason: str) -> None:
        """End a hold; it stays known."""
        sealed = self._tx.keyring.seal(_key(hold.alert), reason, bound_to=f"{hold.id} lifted")
        self._tx.execute(
            sa.update(_HOLD)
            .where(_HOLD.c.id == hold.id)
            .values(lifted_by=by, lifted_at=self._tx.now, lifted_reason=sealed)
        )

    def holds(self, alert: str) -> list[HoldValue]:
        """Return all holds that a case has or had, oldest first."""
        rows = self._tx.rows(sa.select(_HOLD).where(_HOLD.c.alert == alert).order_by(_HOLD.c.at, _HOLD.c.id))
        return [self._hold(row) for row in rows]

    def held(self, alert: str) -> HoldValue | None:
        """Return the hold that lasts; whatever erases a case or its chat by time must ask this first."""
        return next((hold for hold in self.holds(alert) if hold.lifted_at is None), None)

    def held_in(self, site: str) -> list[str]:
        """Return the cases of a site that are on hold, longest first."""
        rows = self._tx.rows(
            sa.select(_HOLD.c.alert)
            .join(_ALERT, _ALERT.c.id == _HOLD.c.alert)
            .where(_ALERT.c.site == site, _HOLD.c.lifted_at.is_(None))
            .order_by(_HOLD.c.at, _HOLD.c.id)
        )
        return [row.alert for row in rows]

    def _hold(self, row: AnyRow) -> HoldValue:
        lifted = row.lifted_reason
        return HoldValue(
            id=row.id,
            alert=row.alert,
            by=row.by,
            at=row.at,
            reason=self._open(row.alert, row.reason, f"{row.id} reason"),
            lifted_by=row.lifted_by,
            lifted_at=row.lifted_at,
            lifted_reason=self._open(row.alert, lifted, f"{row.id} lifted") if lifted is not None else None,
        )

    def _open(self, alert: str, sealed: bytes, bound_to: str) -> str:
        """Open a text; one that was tampered with says so, and hides no other."""
        try:
            text = self._tx.keyring.open(_key(alert), sealed, bound_to=bound_to)
        except TypeError:
            text = None
        return DAMAGED if text is None else text


DAMAGED = "[cannot be read: its record is damaged]"
"""Stands for a text that is not what was written."""


def _key(alert: str) -> KeyName:
    return KeyName(alert, "staff", CASE)
