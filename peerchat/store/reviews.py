"""The review queue."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from moderation.verdict import Risk
from peerchat.model import Decision, ReviewKind, ReviewState, new_id, next_order
from peerchat.store.database import AnyRow, Transaction
from peerchat.store.seal import CASE, KeyName
from peerchat.store.tables import DecisionRow, ReportRow, ReviewItem, table

_ITEM, _DECISION, _REPORT = table(ReviewItem), table(DecisionRow), table(ReportRow)


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemValue:
    """A review item, without text."""

    id: str
    site: str
    kind: ReviewKind
    conversation: str | None
    message: str | None
    about: str | None
    alert: str | None
    risk: Risk
    labels: tuple[str, ...]
    for_adults: bool
    state: ReviewState
    holder: str | None
    claimed_until: datetime | None
    created_at: datetime
    due_at: datetime
    version: int


class Reviews:
    """Add, claim and decide. Claims are compare-and-set: one item, one holder."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    def add(
        self,
        *,
        id: str,
        site: str,
        kind: ReviewKind,
        conversation: str | None,
        message: str | None,
        about: str | None,
        alert: str | None,
        risk: Risk,
        labels: Collection[str],
        for_adults: bool,
        due_in: timedelta,
    ) -> ItemValue:
        """Put an item into the queue."""
        self._tx.execute(
            sa.insert(_ITEM).values(
                id=id,
                site=site,
                kind=kind.value,
                conversation=conversation,
                message=message,
                about=about,
                alert=alert,
                risk=risk.value,
                labels=list(labels),
                for_adults=for_adults,
                state=ReviewState.OPEN.value,
                created_at=self._tx.now,
                due_at=self._tx.now + due_in,
                version=1,
            )
        )
        item = self.get(id)
        assert item is not None
        return item

    def get(self, item: str) -> ItemValue | None:
        """Return an item."""
        return self._one(_ITEM.c.id == item)

    def of_message(self, message: str) -> ItemValue | None:
        """Return the item about a message."""
        return self._one(_ITEM.c.message == message)

    def of_alert(self, alert: str) -> list[ItemValue]:
        """Return the items linked to an alert, oldest first."""
        return self._many(_ITEM.c.alert == alert)

    def any_for(self, conversation: str, *, not_about: str) -> bool:
        """Return whether a conversation has an undecided item that is not about a caller."""
        return bool(
            self._many(
                sa.and_(
                    _ITEM.c.conversation == conversation,
                    _ITEM.c.state != ReviewState.DECIDED.value,
                    sa.or_(_ITEM.c.about.is_(None), _ITEM.c.about != not_about),
                )
            )
        )

    def held_for(self, conversation: str, member: str) -> bool:
        """Return whether somebody holds an item about a conversation now."""
        return bool(
            self._many(
                sa.and_(
                    _ITEM.c.conversation == conversation,
                    _ITEM.c.state == ReviewState.CLAIMED.value,
                    _ITEM.c.holder == member,
                    _ITEM.c.claimed_until > self._tx.now,
                )
            )
        )

    def for_adults(self, messages: Collection[str]) -> set[str]:
        """Return which of these messages are with the adults alone."""
        rows = self._tx.rows(
            sa.select(_ITEM.c.message).where(_ITEM.c.message.in_(messages), _ITEM.c.for_adults.is_(True))
        )
        return {row.message for row in rows}

    def end(self, item: str) -> None:
        """End an item that has nothing left to decide."""
        self._tx.execute(
            sa.update(_ITEM)
            .where(_ITEM.c.id == item, _ITEM.c.state != ReviewState.DECIDED.value)
            .values(
                state=ReviewState.DECIDED.value, holder=None, claimed_until=None, version=_ITEM.c.version + 1
            )
        )

    def queue(
        self,
        site: str,
        *,
        states: Collection[ReviewState],
        adults: bool,
        not_about: str,
        limit: int,
        offset: int,
    ) -> list[ItemValue]:
        """Return items, most urgent first: risk, then what is due first; never those about a caller."""
        where = [
            _ITEM.c.site == site,
            _ITEM.c.state.in_([s.value for s in states]),
            sa.or_(_ITEM.c.about.is_(None), _ITEM.c.about != not_about),
        ]
        if not adults:
            where.append(_ITEM.c.for_adults.is_(False))
        rows = self._tx.rows(
            sa.select(_ITEM)
            .where(*where)
            .order_by(_ITEM.c.risk.desc(), _ITEM.c.due_at, _ITEM.c.id)
            .limit(limit)
            .offset(offset)
        )
        return [_item(row) for row in rows]

    def claim(self, item: str, by: str, *, until: datetime) -> bool:
        """Take an open item, an expired claim, or renew one's own; False when another holds it."""
        free = sa.or_(
            _ITEM.c.state == ReviewState.OPEN.value,
            sa.and_(
                _ITEM.c.state == ReviewState.CLAIMED.value,
                sa.or_(_ITEM.c.holder == by, _ITEM.c.claimed_until <= self._tx.now),
            ),
        )
        done = self._tx.execute(
            sa.update(_ITEM)
            .where(_ITEM.c.id == item, free)
            .values(
                state=ReviewState.CLAIMED.value, holder=by, claimed_until=until, version=_ITEM.c.version + 1
            )
        )
        return done.rowcount == 1

    def hand_back(self, item: str, by: str) -> bool:
        """Give a claimed item back to the queue."""
        done = self._tx.execute(
            sa.update(_ITEM)
            .where(_ITEM.c.id == item, _ITEM.c.state == ReviewState.CLAIMED.value, _ITEM.c.holder == by)
            .values(**_free())
        )
        return done.rowcount == 1

    def any_expired(self, site: str) -> bool:
        """Return whether somebody's ten minutes are over."""
        row = self._tx.row(
            sa.select(sa.literal(1))
            .where(
                _ITEM.c.site == site,
                _ITEM.c.state == ReviewState.CLAIMED.value,
                _ITEM.c.claimed_until <= self._tx.now,
            )
            .limit(1)
        )
        return row is not None

    def free_expired(self, site: str) -> list[ItemValue]:
        """Give back what was claimed and not decided in time; return it."""
        late = self._many(
            sa.and_(
                _ITEM.c.site == site,
                _ITEM.c.state == ReviewState.CLAIMED.value,
                _ITEM.c.claimed_until <= self._tx.now,
            )
        )
        for item in late:
            self._tx.execute(sa.update(_ITEM).where(_ITEM.c.id == item.id).values(**_free()))
        return [found for item in late if (found := self.get(item.id)) is not None]

    def decide(
        self, item: str, by: str, decision: Decision, reason: str, note: str | None, *, key: KeyName
    ) -> None:
        """Append a decision and end the item."""
        self._append(item, by, decision, reason, note, key=key)
        self._tx.execute(
            sa.update(_ITEM)
            .where(_ITEM.c.id == item)
            .values(state=ReviewState.DECIDED.value, claimed_until=None, version=_ITEM.c.version + 1)
        )

    def pass_on(
        self, item: str, by: str, reason: str, note: str | None, *, alert: str, risk: Risk, key: KeyName
    ) -> None:
        """Append the decision to escalate; the item goes on, for adults, linked to its alert."""
        self._append(item, by, Decision.ESCALATE, reason, note, key=key)
        self._tx.execute(
            sa.update(_ITEM)
            .where(_ITEM.c.id == item)
            .values(**_free(), for_adults=True, alert=alert, risk=risk.value)
        )

    def reopen(self, item: str, kind: ReviewKind, *, due_in: timedelta, alert: str | None = None) -> None:
        """Put a decided item back into the queue: a second look, or a report about what was decided."""
        values: dict[str, Any] = {"kind": kind.value, "due_at": self._tx.now + due_in}
        if alert is not None:
            values["alert"] = alert
        self._tx.execute(sa.update(_ITEM).where(_ITEM.c.id == item).values(**_free(), **values))

    def add_label(self, item: ItemValue, label: str, *, for_adults: bool) -> None:
        """Keep what a further report says of an item; once for adults, always for adults."""
        labels = list(dict.fromkeys((*item.labels, label)))
        self._tx.execute(
            sa.update(_ITEM)
            .where(_ITEM.c.id == item.id)
            .values(labels=labels, for_adults=item.for_adults or for_adults, version=_ITEM.c.version + 1)
        )

    def free_of(self, member: str) -> list[str]:
        """Give back whatever a member holds; return the items."""
        held = sa.and_(_ITEM.c.state == ReviewState.CLAIMED.value, _ITEM.c.holder == member)
        items = [row.id for row in self._tx.rows(sa.select(_ITEM.c.id).where(held))]
        self._tx.execute(sa.update(_ITEM).where(held).values(**_free()))
        return items

    def deciders(self, item: str) -> set[str]:
        """Return who has decided about an item so far."""
        return {row.by for row in self._tx.rows(sa.select(_DECISION.c.by).where(_DECISION.c.item == item))}

    def decided(self, messages: Collection[str]) -> set[str]:
        """Return which of these messages a person has decided about."""
        rows = self._tx.rows(
            sa.select(_ITEM.c.message)
            .join(_DECISION, _DECISION.c.item == _ITEM.c.id)
            .where(_ITEM.c.message.in_(messages))
        )
        return {row.message for row in rows}

    def add_report(
        self,
        *,
        item: str,
        by: str,
        conversation: str,
        message: str | None,
        kind: ReviewKind,
        reason: str,
        note: str | None,
    ) -> None:
        """Keep what a member said about a message."""
        id = new_id("rep")
        sealed = self._tx.keyring.seal(KeyName(conversation, by, CASE), note, bound_to=id) if note else None
        self._tx.execute(
            sa.insert(_REPORT).values(
                id=id,
                n=next_order(),
                item=item,
                by=by,
                conversation=conversation,
                message=message,
                kind=kind.value,
                reason=reason,
                note=sealed,
                at=self._tx.now,
            )
        )

    def open_report(self, conversation: str, by: str) -> ItemValue | None:
        """Return the undecided item of a member's report about a whole conversation."""
        row = self._tx.row(
            sa.select(_ITEM)
            .join(_REPORT, _REPORT.c.item == _ITEM.c.id)
            .where(
                _ITEM.c.conversation == conversation,
                _ITEM.c.message.is_(None),
                _ITEM.c.state != ReviewState.DECIDED.value,
                _REPORT.c.by == by,
            )
            .limit(1)
        )
        return _item(row) if row is not None else None

    def reports(self, item: str) -> list[tuple[str, str | None]]:
        """Return (reason, note) of the reports behind an item, oldest first."""
        rows = self._tx.rows(sa.select(_REPORT).where(_REPORT.c.item == item).order_by(_REPORT.c.n))
        return [
            (
                r.reason,
                self._tx.keyring.open(KeyName(r.conversation, r.by, CASE), r.note, bound_to=r.id)
                if r.note
                else None,
            )
            for r in rows
        ]

    def counts(
        self, site: str, *, not_about: str = "", adults: bool = True
    ) -> tuple[int, int, datetime | None]:
        """Return (open items, held messages among them, when the oldest came) that a caller may know of."""
        row = self._tx.row(
            sa.select(
                sa.func.count(),
                sa.func.count().filter(_ITEM.c.kind == ReviewKind.HELD.value),
                sa.func.min(_ITEM.c.created_at),
            ).where(
                _ITEM.c.site == site,
                _ITEM.c.state != ReviewState.DECIDED.value,
                sa.or_(_ITEM.c.about.is_(None), _ITEM.c.about != not_about),
                sa.true() if adults else _ITEM.c.for_adults.is_(False),
            )
        )
        assert row is not None
        return int(row[0]), int(row[1]), row[2]

    def _append(
        self, item: str, by: str, decision: Decision, reason: str, note: str | None, *, key: KeyName
    ) -> None:
        id = new_id("dec")
        sealed = self._tx.keyring.seal(key, note, bound_to=id) if note else None
        self._tx.execute(
            sa.insert(_DECISION).values(
                id=id, item=item, by=by, decision=decision.value, reason=reason, note=sealed, at=self._tx.now
            )
        )

    def _one(self, where: sa.ColumnElement[bool]) -> ItemValue | None:
        return next(iter(self._many(where)), None)

    def _many(self, where: sa.ColumnElement[bool]) -> list[ItemValue]:
        return [
            _item(row)
            for row in self._tx.rows(sa.select(_ITEM).where(where).order_by(_ITEM.c.created_at, _ITEM.c.id))
        ]


def _free() -> dict[str, Any]:
    return {
        "state": ReviewState.OPEN.value,
        "holder": None,
        "claimed_until": None,
        "version": _ITEM.c.version + 1,
    }


def _item(row: AnyRow) -> ItemValue:
    return ItemValue(
        id=row.id,
        site=row.site,
        kind=ReviewKind(row.kind),
        conversation=row.conversation,
        message=row.message,
        about=row.about,
        alert=row.alert,
        risk=Risk(row.risk),
        labels=tuple(row.labels),
        for_adults=row.for_adults,
        state=ReviewState(row.state),
        holder=row.holder,
        claimed_until=row.claimed_until,
        created_at=row.created_at,
        due_at=row.due_at,
        version=row.version,
    )
