"""Messages and their verdicts. Bodies go in and come out as text; at rest they are sealed."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from hmac import compare_digest
from typing import Any

import sqlalchemy as sa

from moderation.verdict import Action, Risk, Role, Signal, Span, Verdict
from peerchat.model import AllowedBy, MessageStatus, next_order
from peerchat.store.database import AnyRow, Transaction
from peerchat.store.seal import KeyName
from peerchat.store.tables import Message, VerdictRow, table

_MESSAGE, _VERDICT = table(Message), table(VerdictRow)

GONE = "[no longer kept]"
"""Stands for a text whose key was destroyed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMessage:
    """A judged message on its way into the store."""

    id: str
    conversation: str
    sender: str
    client_id: str
    text: str
    status: MessageStatus
    reason: str | None
    allowed_by: AllowedBy | None
    seq: int | None
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageValue:
    """A message as it stands."""

    id: str
    conversation: str
    sender: str
    client_id: str
    text: str
    status: MessageStatus
    reason: str | None
    allowed_by: AllowedBy | None
    seq: int | None
    created_at: datetime
    delivered_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictValue:
    """A verdict as it was stored. `signals` are as `_signal` writes them."""

    message: str
    action: Action
    risk: Risk
    reason: str
    labels: tuple[str, ...]
    signals: tuple[dict[str, Any], ...]
    degraded: tuple[str, ...]
    policy_version: str
    about: Role | None
    counted: Risk

    @property
    def observed(self) -> tuple[Signal, ...]:
        """The signals as moderation gave them. Those of version 0.1 have lost what rules asked for."""
        return tuple(_observed(one) for one in self.signals)


class Messages:
    """Insert, deliver, decide and read messages."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    def known(self, keys: Collection[tuple[str, str, str]]) -> dict[tuple[str, str, str], MessageValue]:
        """Return the messages with these (sender, conversation, client id)."""
        if not keys:
            return {}
        rows = self._tx.rows(sa.select(_MESSAGE).where(_MESSAGE.c.once.in_([once(*key) for key in keys])))
        return {(row.sender, row.conversation, row.client_id): self._value(row) for row in rows}

    def insert(self, messages: Sequence[NewMessage]) -> None:
        """Store messages and their verdicts, in the order given."""
        if not messages:
            return
        now, ring = self._tx.now, self._tx.keyring
        rows, verdicts = [], []
        for m in messages:
            key = KeyName(m.conversation, m.sender)
            mac = ring.mac(key, m.text)
            delivered = m.status is MessageStatus.DELIVERED
            rows.append(
                {
                    "id": m.id,
                    "n": next_order(),
                    "conversation": m.conversation,
                    "sender": m.sender,
                    "client_id": m.client_id,
                    "once": once(m.sender, m.conversation, m.client_id),
                    "body": ring.seal(key, m.text, bound_to=m.id),
                    "body_mac": mac,
                    "status": m.status.value,
                    "reason": m.reason,
                    "allowed_by": m.allowed_by.value if m.allowed_by else None,
                    "seq": m.seq,
                    "created_at": now,
                    "delivered_at": now if delivered else None,
                    "decided_at": None,
                }
            )
            verdicts.append(
                {
                    "message": m.id,
                    "body_mac": mac,
                    "action": m.verdict.action.value,
                    "risk": m.verdict.risk.value,
                    "reason": m.verdict.reason,
                    "labels": list(m.verdict.labels),
                    "signals": [_signal(s) for s in m.verdict.signals],
                    "degraded": sorted(m.verdict.degraded),
                    "policy_version": m.verdict.policy_version,
                    "about": m.verdict.about.value if m.verdict.about else None,
                    "counted": m.verdict.counted.value,
                    "at": now,
                }
            )
        self._tx.execute(sa.insert(_MESSAGE), rows)
        self._tx.execute(sa.insert(_VERDICT), verdicts)

    def get(self, message: str) -> MessageValue | None:
        """Return one message."""
        row = self._tx.row(sa.select(_MESSAGE).where(_MESSAGE.c.id == message))
        return self._value(row) if row is not None else None

    def verdict(self, message: str) -> VerdictValue | None:
        """Return what was said of a message."""
        return self.verdicts([message]).get(message)

    def verdicts(self, messages: Collection[str]) -> dict[str, VerdictValue]:
        """Return what was said of these messages, by message."""
        rows = self._tx.rows(sa.select(_VERDICT).where(_VERDICT.c.message.in_(messages)))
        return {row.message: _verdict(row) for row in rows}

    def judged(self, conversation: str, *, limit: int) -> list[tuple[str, VerdictValue]]:
        """Return (sender, verdict) of the newest messages of a conversation, oldest first."""
        rows = self._tx.rows(_judged(conversation).order_by(_MESSAGE.c.n.desc()).limit(limit))
        return [(row.sender, _verdict(row)) for row in reversed(rows)]

    def noted(self, conversation: str) -> list[tuple[str, VerdictValue]]:
        """Return the same of all messages that raised something, or that scores were counted of."""
        noted = sa.or_(_VERDICT.c.risk > Risk.NONE.value, _VERDICT.c.counted > Risk.NONE.value)
        rows = self._tx.rows(_judged(conversation).where(noted).order_by(_MESSAGE.c.n))
        return [(row.sender, _verdict(row)) for row in rows]

    def set_reason(self, message: str, reason: str | None) -> None:
        """Say anew why a held message waits."""
        self._tx.execute(sa.update(_MESSAGE).where(_MESSAGE.c.id == message).values(reason=reason))

    def allow(self, message: str, by: AllowedBy) -> None:
        """Let a held message go as soon as delivery is possible; a human's word replaces the machine's."""
        self._tx.execute(
            sa.update(_MESSAGE)
            .where(_MESSAGE.c.id == message, _MESSAGE.c.status == MessageStatus.HELD.value)
            .values(allowed_by=by.value, decided_at=self._tx.now)
        )

    def as_judged(self, message: MessageValue) -> bool:
        """Return whether a message's text is the very one that its verdict was given for (rule 1)."""
        row = self._tx.row(sa.select(_VERDICT.c.body_mac).where(_VERDICT.c.message == message.id))
        key = KeyName(message.conversation, message.sender)
        return row is not None and compare_digest(row.body_mac, self._tx.keyring.mac(key, message.text))

    def deliver(self, message: str, seq: int) -> None:
        """Give a held message its seq."""
        self._tx.execute(
            sa.update(_MESSAGE)
            .where(_MESSAGE.c.id == message, _MESSAGE.c.status == MessageStatus.HELD.value)
            .values(
                status=MessageStatus.DELIVERED.value,
                seq=seq,
                reason=None,
                delivered_at=self._tx.now,
                decided_at=self._tx.now,
            )
        )

    def withhold(self, message: str, reason: str) -> None:
        """End a held or blocked message's way."""
        self._tx.execute(
            sa.update(_MESSAGE)
            .where(_MESSAGE.c.id == message, _MESSAGE.c.status != MessageStatus.DELIVERED.value)
            .values(
                status=MessageStatus.WITHHELD.value, reason=reason, allowed_by=None, decided_at=self._tx.now
            )
        )

    def hold_again(self, message: str, reason: str) -> None:
        """A blocked or withheld message gets its second look: it is held for another person."""
        self._tx.execute(
            sa.update(_MESSAGE)
            .where(
                _MESSAGE.c.id == message,
                _MESSAGE.c.status.in_([MessageStatus.BLOCKED.value, MessageStatus.WITHHELD.value]),
            )
            .values(status=MessageStatus.HELD.value, reason=reason, decided_at=None)
        )

    def waiting_to_go(self, conversations: Collection[str]) -> list[MessageValue]:
        """Return held messages that are allowed already, oldest first."""
        rows = self._tx.rows(
            sa.select(_MESSAGE)
            .where(
                _MESSAGE.c.conversation.in_(conversations),
                _MESSAGE.c.status == MessageStatus.HELD.value,
                _MESSAGE.c.allowed_by.is_not(None),
            )
            .order_by(_MESSAGE.c.n)
        )
        return [self._value(row) for row in rows]

    def held_in(self, conversation: str) -> list[MessageValue]:
        """Return what is held in a conversation, oldest first."""
        rows = self._tx.rows(
            sa.select(_MESSAGE)
            .where(_MESSAGE.c.conversation == conversation, _MESSAGE.c.status == MessageStatus.HELD.value)
            .order_by(_MESSAGE.c.n)
        )
        return [self._value(row) for row in rows]

    def delivered_after(self, conversation: str, after: int, limit: int) -> list[MessageValue]:
        """Return delivered messages after a seq, in seq order: the gate of history (rule 2)."""
        rows = self._tx.rows(
            sa.select(_MESSAGE)
            .where(
                _MESSAGE.c.conversation == conversation,
                _MESSAGE.c.status == MessageStatus.DELIVERED.value,
                _MESSAGE.c.seq > after,
            )
            .order_by(_MESSAGE.c.seq)
            .limit(limit)
        )
        return [self._value(row) for row in rows]

    def transcript(
        self, conversation: str, *, until: str | None = None, limit: int = 1_000
    ) -> list[MessageValue]:
        """Return the newest messages of any status, oldest first, up to one of them: for staff only."""
        query = sa.select(_MESSAGE).where(_MESSAGE.c.conversation == conversation)
        if until is not None:
            last = sa.select(_MESSAGE.c.n).where(_MESSAGE.c.id == until).scalar_subquery()
            query = query.where(_MESSAGE.c.n <= last)
        rows = self._tx.rows(query.order_by(_MESSAGE.c.n.desc()).limit(limit))
        return [self._value(row) for row in reversed(rows)]

    def undelivered_by(
        self, sender: str, conversations: Collection[str], *, limit: int
    ) -> list[MessageValue]:
        """Return a member's newest own messages that no partner has, oldest first."""
        query = sa.select(_MESSAGE).where(
            _MESSAGE.c.sender == sender,
            _MESSAGE.c.conversation.in_(conversations),
            _MESSAGE.c.status != MessageStatus.DELIVERED.value,
        )
        return self._newest(query, limit)

    def decided_since(
        self, sender: str, conversations: Collection[str], since: datetime | None, *, limit: int
    ) -> list[MessageValue]:
        """Return a member's newest own messages decided after a moment (or ever), oldest first."""
        query = sa.select(_MESSAGE).where(
            _MESSAGE.c.sender == sender,
            _MESSAGE.c.conversation.in_(conversations),
            _MESSAGE.c.decided_at.is_not(None),
            _MESSAGE.c.status.in_([MessageStatus.DELIVERED.value, MessageStatus.WITHHELD.value]),
        )
        if since is not None:
            query = query.where(_MESSAGE.c.decided_at >= since)
        return self._newest(query, limit)

    def _newest(self, query: sa.Select[Any], limit: int) -> list[MessageValue]:
        rows = self._tx.rows(query.order_by(_MESSAGE.c.n.desc()).limit(limit))
        return [self._value(row) for row in reversed(rows)]

    def delivered_since(self, conversation: str, senders: Collection[str], since: datetime) -> bool:
        """Return whether one of these members had something delivered in a conversation after a moment."""
        row = self._tx.row(
            sa.select(sa.literal(1))
            .where(
                _MESSAGE.c.conversation == conversation,
                _MESSAGE.c.sender.in_(senders),
                _MESSAGE.c.delivered_at > since,
            )
            .limit(1)
        )
        return row is not None

    def _value(self, row: AnyRow) -> MessageValue:
        text = self._tx.keyring.open(KeyName(row.conversation, row.sender), row.body, bound_to=row.id)
        return MessageValue(
            id=row.id,
            conversation=row.conversation,
            sender=row.sender,
            client_id=row.client_id,
            text=GONE if text is None else text,
            status=MessageStatus(row.status),
            reason=row.reason,
            allowed_by=AllowedBy(row.allowed_by) if row.allowed_by else None,
            seq=row.seq,
            created_at=row.created_at,
            delivered_at=row.delivered_at,
        )


def once(sender: str, conversation: str, client_id: str) -> bytes:
    """Return the one column that makes (member, conversation, client id) unique (rule 4).

    One column, because SQLite scans the whole table for an IN over three.
    """
    return sha256("\0".join((sender, conversation, client_id)).encode()).digest()[:16]


def _judged(conversation: str) -> sa.Select[Any]:
    return (
        sa.select(_MESSAGE.c.sender, _VERDICT)
        .join(_VERDICT, _VERDICT.c.message == _MESSAGE.c.id)
        .where(_MESSAGE.c.conversation == conversation)
    )


def _verdict(row: AnyRow) -> VerdictValue:
    return VerdictValue(
        message=row.message,
        action=Action(row.action),
        risk=Risk(row.risk),
        reason=row.reason,
        labels=tuple(row.labels),
        signals=tuple(row.signals),
        degraded=tuple(row.degraded),
        policy_version=row.policy_version,
        about=Role(row.about) if row.about else None,
        counted=Risk(row.counted),
    )


def _signal(signal: Signal) -> dict[str, Any]:
    """Return a signal as JSON; what it asks for only where it asks for something."""
    span = signal.span
    asks = {"risk": signal.risk.value, "action": signal.action.value, "clears": signal.clears}
    return {
        "label": signal.label,
        "score": round(float(signal.score), 4),
        "stage": signal.stage,
        "why": signal.why,
        "start": span.start if span else None,
        "end": span.end if span else None,
        **{name: value for name, value in asks.items() if value},
    }


def _observed(signal: dict[str, Any]) -> Signal:
    return Signal(
        label=signal["label"],
        score=signal["score"],
        stage=signal["stage"],
        why=signal["why"],
        span=Span(signal["start"], signal["end"]) if signal["start"] is not None else None,
        risk=Risk(signal.get("risk", Risk.NONE)),
        action=Action(signal.get("action", Action.DELIVER)),
        clears=signal.get("clears", False),
    )


def marks(signals: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the ranges that reasons are about, in order, without doubles."""
    seen: dict[tuple[int, int, str], dict[str, Any]] = {}
    for s in signals:
        if s["start"] is not None:
            key = (s["start"], s["end"], s["label"])
            seen.setdefault(key, {"start": s["start"], "end": s["end"], "label": s["label"], "why": s["why"]})
    return [seen[key] for key in sorted(seen)]
