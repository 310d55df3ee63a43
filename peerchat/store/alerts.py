"""Alerts, their chronology and their attempts."""

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from escalation import alert as life
from escalation.alert import Alert, AlertState, CloseProposal, Concern
from escalation.ladder import Audience, SchoolDay, Step, repeated, restarted, step
from moderation.verdict import Risk, Role
from peerchat.model import new_id, next_order
from peerchat.store.database import AnyRow, Transaction
from peerchat.store.seal import CASE, KeyName
from peerchat.store.tables import AlertEvent, AlertRow, Attempt, table

log = logging.getLogger(__name__)

RETRY = timedelta(seconds=8)
"""A telling whose outcome is not known after this time is repeated (rule 9 allows 10 s)."""

AGAIN = timedelta(seconds=60)
"""A telling that keeps reaching nobody is repeated after this time, beside the ladder's own times."""

QUICK_RETRIES = 5
"""Tellings of one rung that failed and are repeated soon, before the slower pace."""

_ALERT, _EVENT, _ATTEMPT = table(AlertRow), table(AlertEvent), table(Attempt)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventValue:
    """One line of a case's chronology."""

    id: str
    at: datetime
    kind: str
    by: str | None
    message: str | None
    data: Mapping[str, Any]
    note: str | None


class Alerts:
    """Raise, fold, advance and read alerts. Every change appends to the chronology."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    def raise_or_fold(
        self,
        concern: Concern,
        *,
        site: str,
        conversation: str | None,
        message: str | None,
        by: str | None,
        note: str | None = None,
    ) -> tuple[Alert, bool]:
        """Open an alert, or add evidence to the open one about the same member here.

        What one asked for discreetly never folds with what others know of: neither its id, nor its time, nor
        the adult's answer may tell a partner that it is there.

        Returns the alert as it now stands, and whether it is new. Rule 8: call it in the transaction that
        stores what asks for it.
        """
        found = self._open_about(concern.about, conversation, discreet=concern.discreet)
        now = self._tx.now
        if found is None:
            result = life.opened(concern, id=new_id("alr"), site=site, conversation=conversation, now=now)
            self._insert(result)
        else:
            result = life.folded(found, concern, now=now, restart=restarted)
            self.save(result)
        self.log(
            result.id,
            "raised" if found is None else "evidence",
            by=by,
            message=message,
            data={"risk": concern.risk.word, "labels": list(concern.labels)},
            note=note,
        )
        return result, found is None

    def get(self, alert: str) -> Alert | None:
        """Return an alert."""
        row = self._tx.row(sa.select(_ALERT).where(_ALERT.c.id == alert))
        return self._value(row) if row is not None else None

    def save(self, alert: Alert) -> None:
        """Write an alert as it now stands."""
        closing = alert.closing
        self._tx.execute(
            sa.update(_ALERT)
            .where(_ALERT.c.id == alert.id)
            .values(
                risk=alert.risk.value,
                labels=list(alert.labels),
                state=alert.state.value,
                rung=alert.rung,
                notifying_since=alert.notifying_since,
                next_due_at=alert.next_due_at,
                holder=alert.holder,
                lapses_at=alert.lapses_at,
                closing_by=closing.by if closing else None,
                closing_outcome=self._tx.keyring.seal(
                    _key(alert.id), closing.outcome, bound_to=f"{alert.id} outcome"
                )
                if closing
                else None,
                closing_rationale=self._sealed(alert, closing.rationale, "rationale") if closing else None,
                discreet=alert.discreet,
                closed_at=self._tx.now if alert.state is AlertState.CLOSED else None,
                version=alert.version,
            )
        )

    def listed(
        self, site: str, *, states: Collection[AlertState], not_about: str, limit: int, offset: int = 0
    ) -> list[Alert]:
        """Return alerts: open and severe ones first, then the longest open; never those about a caller."""
        rows = self._tx.rows(
            sa.select(_ALERT)
            .where(
                _ALERT.c.site == site,
                _ALERT.c.state.in_([s.value for s in states]),
                _ALERT.c.about != not_about,
            )
            .order_by(
                _ALERT.c.state == AlertState.CLOSED.value,
                _ALERT.c.risk.desc(),
                _ALERT.c.opened_at,
                _ALERT.c.id,
            )
            .limit(limit)
            .offset(offset)
        )
        return [self._shown(row) for row in rows]

    def open_in(self, conversations: Collection[str]) -> list[Alert]:
        """Return the open alerts of these conversations."""
        rows = self._tx.rows(
            sa.select(_ALERT).where(
                _ALERT.c.conversation.in_(conversations), _ALERT.c.state != AlertState.CLOSED.value
            )
        )
        return [self._value(row) for row in rows]

    def any_for(self, conversation: str, *, not_about: str) -> bool:
        """Return whether a conversation has or had an alert that is not about a caller."""
        row = self._tx.row(
            sa.select(sa.literal(1))
            .where(_ALERT.c.conversation == conversation, _ALERT.c.about != not_about)
            .limit(1)
        )
        return row is not None

    def held_by(self, member: str) -> int:
        """Return how many open alerts an adult has taken on."""
        row = self._tx.row(
            sa.select(sa.func.count()).where(
                _ALERT.c.holder == member, _ALERT.c.state != AlertState.CLOSED.value
            )
        )
        assert row is not None
        return int(row[0])

    def counts(self, site: str, *, not_about: str = "") -> dict[str, int]:
        """Return how many alerts of a site stand in each state, without those about a caller."""
        rows = self._tx.rows(
            sa.select(_ALERT.c.state, sa.func.count())
            .where(_ALERT.c.site == site, _ALERT.c.about != not_about)
            .group_by(_ALERT.c.state)
        )
        return {row[0]: row[1] for row in rows}

    def let_go(self, member: str) -> list[Alert]:
        """Send what a member has taken on back to notifying: in nobody's hands is in everybody's."""
        rows = self._tx.rows(
            sa.select(_ALERT).where(_ALERT.c.holder == member, _ALERT.c.state != AlertState.CLOSED.value)
        )
        freed = []
        for row in rows:
            alert = life.let_go(self._value(row), now=self._tx.now, restart=restarted)
            self.save(alert)
            self.log(alert.id, "lapsed")
            freed.append(alert)
        return freed

    # -- the chronology

    def log(
        self,
        alert: str,
        kind: str,
        *,
        by: str | None = None,
        message: str | None = None,
        data: Mapping[str, Any] | None = None,
        note: str | None = None,
    ) -> None:
        """Append a line to a case."""
        id = new_id("evt")
        sealed = self._tx.keyring.seal(_key(alert), note, bound_to=id) if note else None
        self._tx.execute(
            sa.insert(_EVENT).values(
                id=id,
                n=next_order(),
                alert=alert,
                at=self._tx.now,
                kind=kind,
                by=by,
                message=message,
                data=dict(data or {}),
                note=sealed,
            )
        )

    def chronology(self, alert: str) -> list[EventValue]:
        """Return a case's lines, oldest first."""
        rows = self._tx.rows(sa.select(_EVENT).where(_EVENT.c.alert == alert).order_by(_EVENT.c.n))
        return [
            EventValue(
                id=r.id,
                at=r.at,
                kind=r.kind,
                by=r.by,
                message=r.message,
                data=r.data,
                note=self._tx.keyring.open(_key(alert), r.note, bound_to=r.id) if r.note else None,
            )
            for r in rows
        ]

    # -- the ladder

    def take_due(self, *, limit: int, channels: Collection[str], days: Mapping[str, SchoolDay]) -> list[Step]:
        """Advance due alerts and write their attempts; see `escalation.notify.AlertStore`."""
        now = self._tx.now
        late = _ALERT.c.untold_since <= now - RETRY
        due = self._tx.rows(
            sa.select(_ALERT.c.id)
            .where(sa.or_(_ALERT.c.next_due_at <= now, late), _ALERT.c.state != AlertState.CLOSED.value)
            .order_by(_ALERT.c.risk.desc(), _ALERT.c.next_due_at)
            .limit(limit)
        )
        steps = []
        for row in due:
            found = self._step_or_tell_anyway(row.id, days)
            self._tx.execute(
                sa.insert(_ATTEMPT),
                [
                    {
                        "id": new_id("att"),
                        "n": next_order(),
                        "alert": row.id,
                        "rung": found.alert.rung,
                        "audience": found.audience.value,
                        "channel": channel,
                        "at": now,
                        "outcome": None,
                    }
                    for channel in channels
                ],
            )
            steps.append(found)
        return steps

    def _step(self, id: str, days: Mapping[str, SchoolDay]) -> Step:
        """Advance one due alert."""
        now = self._tx.now
        row = self._tx.row(sa.select(_ALERT).where(_ALERT.c.id == id))
        assert row is not None
        alert = self._value(row)
        if alert.state is AlertState.ACKNOWLEDGED and alert.lapses_at is not None and alert.lapses_at <= now:
            alert = life.lapsed(alert, now=now, restart=restarted)
            self.log(id, "lapsed")
        found = step(alert, now=now, day=days.get(alert.site)) or repeated(alert)
        found = replace(found, first=row.told_at is None)
        self.save(found.alert)
        self._tx.execute(sa.update(_ALERT).where(_ALERT.c.id == id).values(untold_since=now))
        return found

    def _step_or_tell_anyway(self, id: str, days: Mapping[str, SchoolDay]) -> Step:
        """Advance one due alert, apart from the others: one that cannot be stepped must not silence them.

        It is told all the same, to all adults, and is due again soon. A fault of the database is not ours to
        go on after: it undoes the whole transaction.
        """
        point = self._tx.connection.begin_nested()
        try:
            found = self._step(id, days)
            point.commit()
            return found
        except sa.exc.SQLAlchemyError:
            raise
        except Exception as error:  # told below, loudly, instead of waiting for ever in silence
            point.rollback()
            log.error("an alert could not be stepped: %s", type(error).__name__)
        soon = {"next_due_at": self._tx.now + AGAIN, "untold_since": self._tx.now}
        self._tx.execute(sa.update(_ALERT).where(_ALERT.c.id == id).values(**soon))
        return replace(repeated(self._bare(id)), audience=Audience.ALL_ADULTS)

    def _shown(self, row: AnyRow) -> Alert:
        """Return an alert for a list: one that cannot be read must not take the others off it."""
        try:
            return self._value(row)
        except ValueError as error:
            log.error("an alert could not be read: %s", type(error).__name__)
            return self._bare(row.id)

    def _bare(self, id: str) -> Alert:
        """Return what is sure of an alert whose row cannot be read: that it is there. Loud on purpose."""
        row = self._tx.row(
            sa.select(_ALERT.c.site, _ALERT.c.conversation, _ALERT.c.about).where(_ALERT.c.id == id)
        )
        assert row is not None
        return Alert(
            id=id,
            site=row.site,
            conversation=row.conversation,
            about=row.about,
            about_role=Role.PUPIL,
            risk=Risk.IMMEDIATE,
            labels=("unreadable",),
            state=AlertState.NOTIFYING,
            opened_at=self._tx.now,
            notifying_since=self._tx.now,
            next_due_at=self._tx.now + AGAIN,
        )

    def told(self, alert: str, *, channel: str, ok: bool) -> None:
        """Record the outcome of the newest attempt by a channel; one that went out ends the retrying.

        The chronology says what is known: that people were told, or, once for a rung, that nobody could be.
        """
        newest = self._tx.row(
            sa.select(_ATTEMPT)
            .where(_ATTEMPT.c.alert == alert, _ATTEMPT.c.channel == channel)
            .order_by(_ATTEMPT.c.n.desc())
            .limit(1)
        )
        if newest is None:
            return
        outcome = "ok" if ok else "failed"
        counted = self._tx.row(
            sa.select(sa.func.count()).where(
                _ATTEMPT.c.alert == alert,
                _ATTEMPT.c.channel == channel,
                _ATTEMPT.c.rung == newest.rung,
                _ATTEMPT.c.outcome == outcome,
            )
        )
        before = int(counted[0]) if counted is not None else 0
        self._tx.execute(sa.update(_ATTEMPT).where(_ATTEMPT.c.id == newest.id).values(outcome=outcome))
        if ok or not before:
            data = {"rung": newest.rung, "audience": newest.audience, "channel": channel}
            self.log(alert, "told" if ok else "told_nobody", data=data)
        wait = RETRY if before < QUICK_RETRIES else AGAIN
        values: dict[str, Any] = {"untold_since": self._tx.now + wait - RETRY}
        if not ok and self._went_out(alert, newest.at):
            return  # another channel of this telling did reach somebody
        if ok:
            values = {"told_at": sa.func.coalesce(_ALERT.c.told_at, self._tx.now), "untold_since": None}
        self._tx.execute(sa.update(_ALERT).where(_ALERT.c.id == alert).values(**values))

    def _went_out(self, alert: str, at: datetime) -> bool:
        found = self._tx.row(
            sa.select(sa.literal(1)).where(
                _ATTEMPT.c.alert == alert, _ATTEMPT.c.at == at, _ATTEMPT.c.outcome == "ok"
            )
        )
        return found is not None

    def next_due(self) -> datetime | None:
        """Return when the next alert is due, or a telling of unknown outcome is repeated."""
        row = self._tx.row(
            sa.select(_ALERT.c.next_due_at)
            .where(_ALERT.c.next_due_at.is_not(None), _ALERT.c.state != AlertState.CLOSED.value)
            .order_by(_ALERT.c.next_due_at)
            .limit(1)
        )
        untold = self._tx.row(
            sa.select(_ALERT.c.untold_since)
            .where(_ALERT.c.untold_since.is_not(None), _ALERT.c.state != AlertState.CLOSED.value)
            .order_by(_ALERT.c.untold_since)
            .limit(1)
        )
        moments = [row.next_due_at] if row is not None else []
        if untold is not None:
            moments.append(untold.untold_since + RETRY)
        return min(moments, default=None)

    def _sealed(self, alert: Alert, text: str, what: str) -> bytes:
        return self._tx.keyring.seal(_key(alert.id), text, bound_to=f"{alert.id} {what}")

    def _open_about(self, about: str, conversation: str | None, *, discreet: bool) -> Alert | None:
        row = self._tx.row(
            sa.select(_ALERT)
            .where(
                _ALERT.c.about == about,
                _ALERT.c.discreet.is_(discreet),
                _ALERT.c.conversation == conversation
                if conversation is not None
                else _ALERT.c.conversation.is_(None),
                _ALERT.c.state != AlertState.CLOSED.value,
            )
            .limit(1)
        )
        return self._value(row) if row is not None else None

    def _insert(self, alert: Alert) -> None:
        self._tx.execute(
            sa.insert(_ALERT).values(
                id=alert.id,
                site=alert.site,
                conversation=alert.conversation,
                about=alert.about,
                about_role=alert.about_role.value,
                risk=alert.risk.value,
                labels=list(alert.labels),
                state=alert.state.value,
                rung=alert.rung,
                opened_at=alert.opened_at,
                notifying_since=alert.notifying_since,
                next_due_at=alert.next_due_at,
                discreet=alert.discreet,
                version=alert.version,
            )
        )

    def _value(self, row: AnyRow) -> Alert:
        closing = None
        if row.closing_by is not None:
            key = _key(row.id)
            rationale = self._tx.keyring.open(key, row.closing_rationale, bound_to=f"{row.id} rationale")
            outcome = self._tx.keyring.open(key, row.closing_outcome, bound_to=f"{row.id} outcome")
            closing = CloseProposal(by=row.closing_by, outcome=outcome or "", rationale=rationale or "")
        return Alert(
            id=row.id,
            site=row.site,
            conversation=row.conversation,
            about=row.about,
            about_role=Role(row.about_role),
            risk=Risk(row.risk),
            labels=tuple(row.labels),
            state=AlertState(row.state),
            rung=row.rung,
            opened_at=row.opened_at,
            notifying_since=row.notifying_since,
            next_due_at=row.next_due_at,
            holder=row.holder,
            lapses_at=row.lapses_at,
            closing=closing,
            discreet=row.discreet,
            version=row.version,
        )


def _key(alert: str) -> KeyName:
    return KeyName(alert, "staff", CASE)
