"""Alerts, their chronology and their attempts."""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import sqlalchemy as sa

from escalation import alert as life
from escalation import ladder
from escalation.alert import Alert, AlertState, CloseProposal, Concern
from escalation.knowing import Circle
from escalation.ladder import Audience, SchoolDay, Step, repeated, restarted, step
from escalation.times import DEFAULTS, Times
from moderation.verdict import Risk, Role
from peerchat.model import new_id, next_order
from peerchat.store.database import AnyRow, Transaction
from peerchat.store.records import Records
from peerchat.store.rota import RotaBook
from peerchat.store.seal import CASE, KeyName
from peerchat.store.sites import Sites
from peerchat.store.tables import AlertEvent, AlertRow, Attempt, Member, table

log = logging.getLogger(__name__)

RETRY = timedelta(seconds=8)
"""A telling whose outcome is not known after this time is repeated (rule 9 allows 10 s)."""

AGAIN = timedelta(seconds=60)
"""A telling that keeps reaching nobody is repeated after this time, beside the ladder's own times."""

QUICK_RETRIES = 5
"""Tellings of one rung that failed and are repeated soon, before the slower pace."""

UNREADABLE = "unreadable"
"""The label of an alert whose row is damaged: it is shown, told on, and taken for the worst it may be."""

EVIDENCE = frozenset({"raised", "evidence"})
"""Lines that bring a message as evidence."""

LOUD = frozenset({"left_chat", "dropped", "holder_dropped"})
"""Lines after which the next telling goes out by every kind of channel, even where somebody has the alert."""

_ALERT, _EVENT, _ATTEMPT, _MEMBER = table(AlertRow), table(AlertEvent), table(Attempt), table(Member)

_DAMAGED = (ValueError, TypeError, LookupError)
"""What a value that is none of its column's raises, here or in the driver."""

_OWN = [c for c in _ALERT.c if c.name not in {"told_at", "untold_since", "closed_at"}]
"""The columns that make an `Alert`, all of which `save` writes but for whose and where it is."""

_ALERTS = sa.select(*_OWN)
_OPEN = _ALERTS.where(_ALERT.c.state != AlertState.CLOSED.value)

_DUES = sa.select(
    _ALERT.c.id,
    _ALERT.c.site,
    sa.type_coerce(_ALERT.c.risk, sa.String),
    _ALERT.c.state,
    *(
        sa.type_coerce(column, sa.String)
        for column in (_ALERT.c.next_due_at, _ALERT.c.untold_since, _ALERT.c.opened_at)
    ),
).where(
    sa.or_(
        _ALERT.c.next_due_at.is_not(None), _ALERT.c.untold_since.is_not(None), _ALERT.c.practice.is_(True)
    ),
    _ALERT.c.state != AlertState.CLOSED.value,
)
_DUE_OF = _DUES.where(_ALERT.c.id == sa.bindparam("alert"))
_LOCK = sa.select(_ALERT.c.id).where(_ALERT.c.id == sa.bindparam("alert")).with_for_update(skip_locked=True)
_NEWEST = (
    sa.select(_ATTEMPT)
    .where(_ATTEMPT.c.alert == sa.bindparam("alert"), _ATTEMPT.c.channel == sa.bindparam("channel"))
    .order_by(_ATTEMPT.c.n.desc())
    .limit(1)
)

_STATES = [state.value for state in AlertState]
_RISKS = {risk.value: risk for risk in Risk}
_ANSWERED = {state.value for state in AlertState if not state.unanswered}
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


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
        self._site_times: dict[str, tuple[Times, SchoolDay]] = {}  # for this transaction
        self.ended_by_themselves: list[Alert] = []  # drills that `take_due` closed in this transaction

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
        found = self._open_about(concern, conversation)
        now = self._tx.now
        if found is None:
            result = life.opened(concern, id=new_id("alr"), site=site, conversation=conversation, now=now)
            self._insert(result)
        else:
            result = life.folded(found, concern, now=now, restart=self._restart(site))
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
        return next(iter(self._many(_ALERTS.where(_ALERT.c.id == alert))), None)

    def save(self, alert: Alert) -> None:
        """Write an alert as it now stands."""
        closing = alert.closing
        self._tx.execute(
            sa.update(_ALERT)
            .where(_ALERT.c.id == alert.id)
            .values(
                about_role=alert.about_role.value,
                risk=alert.risk.value,
                labels=list(alert.labels),
                state=alert.state.value,
                rung=alert.rung,
                opened_at=alert.opened_at,
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
        self, site: str, *, states: Collection[AlertState], reader: str, limit: int, offset: int = 0
    ) -> list[Alert]:
        """Return alerts that an adult may know of: open and severe ones first, then the longest open."""
        wanted: sa.ColumnElement[bool] = _ALERT.c.state.in_([s.value for s in states])
        if AlertState.NOTIFYING in states:  # one whose state is none of ours is shown with those
            wanted = sa.or_(wanted, _ALERT.c.state.not_in(_STATES))
        return self._many(
            _ALERTS.where(_ALERT.c.site == site, wanted, self._may_know(site, reader))
            .order_by(
                _ALERT.c.state == AlertState.CLOSED.value,
                _ALERT.c.risk.desc(),
                _ALERT.c.opened_at,
                _ALERT.c.id,
            )
            .limit(limit)
            .offset(offset)
        )

    def open_in(self, conversations: Collection[str]) -> list[Alert]:
        """Return the open alerts of these conversations."""
        return self._many(_OPEN.where(_ALERT.c.conversation.in_(conversations)))

    def unreadable(self, site: str) -> int:
        """Return how many alerts of a site that may be open cannot be read."""
        query = _OPEN.where(_ALERT.c.site == site)
        try:
            for row in self._tx.rows(query):
                self._value(row)
        except _DAMAGED:
            return sum(self._one(id) is None for id in self._ids(query))
        return 0

    def any_for(self, conversation: str, *, site: str, reader: str) -> bool:
        """Return whether a conversation has or had an alert that an adult may know of."""
        row = self._tx.row(
            sa.select(sa.literal(1))
            .where(_ALERT.c.conversation == conversation, self._may_know(site, reader))
            .limit(1)
        )
        return row is not None

    def waiting(self, site: str, *, reader: str) -> int:
        """Return how many alerts above a concern nobody has taken on, of those that an adult may know of."""
        row = self._tx.row(
            sa.select(sa.func.count()).where(
                _ALERT.c.site == site,
                _ALERT.c.state.in_([s.value for s in AlertState if s.unanswered]),
                _ALERT.c.risk >= Risk.HIGH.value,
                _ALERT.c.practice.is_(False),
                self._may_know(site, reader),
            )
        )
        assert row is not None
        return int(row[0])

    def held_by(self, member: str) -> int:
        """Return how many open alerts that are no drills an adult has taken on."""
        row = self._tx.row(
            sa.select(sa.func.count()).where(
                _ALERT.c.holder == member,
                _ALERT.c.state != AlertState.CLOSED.value,
                _ALERT.c.practice.is_(False),
            )
        )
        assert row is not None
        return int(row[0])

    def urgent(self, site: str) -> list[Alert]:
        """Return a site's open alerts above a concern that are no drills."""
        risks, real = _ALERT.c.risk >= Risk.HIGH.value, _ALERT.c.practice.is_(False)
        return self._many(_OPEN.where(_ALERT.c.site == site, risks, real).order_by(_ALERT.c.id))

    def last_of(self, alert: str, kinds: Collection[str]) -> tuple[str, datetime, str | None] | None:
        """Return (kind, moment, by) of the newest line of these kinds in a case."""
        row = self._tx.row(
            sa.select(_EVENT.c.kind, _EVENT.c.at, _EVENT.c.by)
            .where(_EVENT.c.alert == alert, _EVENT.c.kind.in_(kinds))
            .order_by(_EVENT.c.n.desc())
            .limit(1)
        )
        return (row.kind, row.at, row.by) if row is not None else None

    def held_alerts(self, member: str) -> list[Alert]:
        """Return the open alerts that are no drills and that an adult has taken on, longest open first."""
        held = _OPEN.where(_ALERT.c.holder == member, _ALERT.c.practice.is_(False))
        return self._many(held.order_by(_ALERT.c.opened_at, _ALERT.c.id))

    def counts(self, site: str, *, reader: str | None = None) -> dict[str, int]:
        """Return how many alerts of a site stand in each state: all, or those that a reader may know of.

        Only adults may know of what is kept apart.
        """
        may = self._may_know(site, reader) if reader is not None else sa.true()
        rows = self._tx.rows(
            sa.select(_ALERT.c.state, sa.func.count())
            .where(_ALERT.c.site == site, may)
            .group_by(_ALERT.c.state)
        )
        return {row[0]: row[1] for row in rows}

    def _may_know(self, site: str, reader: str) -> sa.ColumnElement[bool]:
        """Return `Circle.may_know` as a condition: the two are held together by a test.

        Whoever is no adult, a coordinator who counts, may know of all but what is kept apart.
        """
        return may_know(RotaBook(self._tx).circle(site), reader)

    def let_go(self, member: str) -> list[Alert]:
        """Send what a member has taken on back to notifying: in nobody's hands is in everybody's."""
        return [self.free(alert) for alert in self._many(_OPEN.where(_ALERT.c.holder == member))]

    def free(self, alert: Alert) -> Alert:
        """Send one alert that somebody has back to notifying; return it as it then stands."""
        freed = life.let_go(alert, now=self._tx.now, restart=self._restart(alert.site))
        self.save(freed)
        self.log(alert.id, "lapsed")
        return freed

    # -- practice

    def open(self, concern: Concern, *, id: str, site: str, by: str) -> Alert:
        """Open an alert that folds with no other: a practice."""
        result = life.opened(concern, id=id, site=site, conversation=None, now=self._tx.now)
        self._insert(result)
        self.log(id, "raised", by=by, data={"risk": concern.risk.word, "labels": list(concern.labels)})
        return result

    def practices(self, site: str, *, limit: int) -> list[Alert]:
        """Return the last practice alerts of a site, newest first."""
        return self._many(
            _ALERTS.where(_ALERT.c.site == site, _ALERT.c.practice.is_(True))
            .order_by(_ALERT.c.opened_at.desc(), _ALERT.c.id)
            .limit(limit)
        )

    def end_practice(self, alert: Alert, *, by: str, why: str) -> Alert:
        """Close a practice alert."""
        done = life.practice_ended(alert, by=by, why=why)
        self.save(done)
        self.log(alert.id, "closed", by=by)
        return done

    def attempts(self, alert: str) -> Sequence[AnyRow]:
        """Return every telling of an alert, oldest first."""
        return self._tx.rows(sa.select(_ATTEMPT).where(_ATTEMPT.c.alert == alert).order_by(_ATTEMPT.c.n))

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
        """Append a line to a case. The text of a message that is evidence is copied into the case."""
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
        if message is not None and kind in EVIDENCE:
            Records(self._tx).keep(alert, id, message)

    def chronology(self, alert: str) -> list[EventValue]:
        """Return a case's lines, oldest first. One that is damaged is there, and hides no other."""
        query = sa.select(_EVENT).where(_EVENT.c.alert == alert).order_by(_EVENT.c.n)
        try:
            return [self._line(row) for row in self._tx.rows(query)]
        except _DAMAGED as error:
            log.error("a line of a case cannot be read: %s", type(error).__name__)
        lines: list[EventValue] = []
        for (id,) in self._tx.rows(query.with_only_columns(_EVENT.c.id)):
            try:
                row = self._tx.row(sa.select(_EVENT).where(_EVENT.c.id == id))
                assert row is not None
                lines.append(self._line(row))
            except _DAMAGED:
                at = lines[-1].at if lines else _LONG_AGO
                line = EventValue(id=id, at=at, kind=UNREADABLE, by=None, message=None, data={}, note=None)
                lines.append(line)
        return lines

    def _line(self, row: AnyRow) -> EventValue:
        return EventValue(
            id=row.id,
            at=row.at,
            kind=row.kind,
            by=row.by,
            message=row.message,
            data=row.data,
            note=self._tx.keyring.open(_key(row.alert), row.note, bound_to=row.id) if row.note else None,
        )

    # -- the ladder

    def take_due(self, *, limit: int, channels: Collection[str]) -> list[Step]:
        """Advance due alerts and write their attempts; see `escalation.notify.AlertStore`."""
        self.ended_by_themselves = []
        now = self._tx.now
        due = sorted(((-worst, at, id) for at, worst, id in self._dues() if at <= now))[:limit]
        steps = []
        for _, _, id in due:
            if self._mine(id) and (found := self._step_or_tell_anyway(id)) is not None:
                steps.append(self.attempted(found, channels))
        return steps

    def _mine(self, id: str) -> bool:
        """Lock an alert's row until the commit; return whether it is there, still due, and nobody else's.

        SQLite has one writer, which holds all rows. Elsewhere another worker may have taken it meanwhile.
        """
        locked = self._tx.execute(_LOCK, {"alert": id}).first()
        return locked is not None and any(at <= self._tx.now for at, _, _ in self._dues(id))

    def attempted(self, found: Step, channels: Collection[str]) -> Step:
        """Write the step's attempts; a repeat of what nobody knows of, or what failed, keeps its key."""
        attempts = {}
        for channel in channels:
            id = new_id("att")
            before = self._newest(found.alert.id, channel) if found.repeat else None
            key = before.key if before is not None and before.outcome != "ok" else id
            attempts[channel] = ladder.Attempt(id=id, key=key)
            self._tx.execute(
                sa.insert(_ATTEMPT).values(
                    id=id,
                    n=next_order(),
                    alert=found.alert.id,
                    rung=found.alert.rung,
                    audience=found.audience.value,
                    channel=channel,
                    key=key,
                    at=self._tx.now,
                    outcome=None,
                )
            )
        return replace(found, attempts={**found.attempts, **attempts})

    def _newest(self, alert: str, channel: str) -> AnyRow | None:
        return self._tx.execute(_NEWEST, {"alert": alert, "channel": channel}).first()

    def _step(self, id: str) -> Step | None:
        """Advance one due alert; None where only its clock was to be put right."""
        now = self._tx.now
        row = self._tx.row(
            sa.select(*_OWN, _ALERT.c.told_at.is_(None).label("first"), _ALERT.c.untold_since).where(
                _ALERT.c.id == id
            )
        )
        assert row is not None
        times = self._times(row.site)
        lease = times.acknowledgement
        alert = ladder.steadied(self._value(row), now=now, ladders=times.ladders, lease=lease)
        if life.practice_over(alert, now=now):
            self.ended_by_themselves.append(self.end_practice(alert, by="server", why="ended by itself"))
            return None
        if alert.next_due_at is not None and alert.next_due_at > now and row.untold_since is None:
            self.save(alert)
            return None
        if alert.state is AlertState.ACKNOWLEDGED and alert.lapses_at is not None and alert.lapses_at <= now:
            alert = life.lapsed(alert, now=now, restart=self._restart(alert.site))
            self.log(id, "lapsed")
        found = step(alert, now=now, ladders=times.ladders, day=self.day(alert.site)) or repeated(alert)
        found = replace(found, first=bool(row.first), loud=self._loud(id))
        if alert.practice and found.alert.next_due_at is not None:
            ends = alert.opened_at + life.PRACTICE_LASTS
            found = replace(found, alert=replace(found.alert, next_due_at=min(found.alert.next_due_at, ends)))
        self.save(found.alert)
        self._tx.execute(sa.update(_ALERT).where(_ALERT.c.id == id).values(untold_since=now))
        return found

    def _loud(self, id: str) -> bool:
        """Return whether somebody left or was lost, and no telling since then went out."""
        newest = sa.select(sa.func.max(_EVENT.c.n)).where(_EVENT.c.alert == id, _EVENT.c.kind.in_(LOUD))
        went_out = sa.select(sa.func.max(_ATTEMPT.c.n)).where(
            _ATTEMPT.c.alert == id, _ATTEMPT.c.outcome == "ok"
        )
        row = self._tx.row(sa.select(newest.scalar_subquery(), went_out.scalar_subquery()))
        return row is not None and row[0] is not None and (row[1] is None or row[1] < row[0])

    def _step_or_tell_anyway(self, id: str) -> Step | None:
        """Advance one due alert, apart from the others: one that cannot be stepped must not silence them.

        It is told all the same, to all adults, and is due again soon. A fault of the database is not ours to
        go on after: it undoes the whole transaction.
        """
        point = self._tx.connection.begin_nested()
        try:
            found = self._step(id)
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

    def apart(self, tell: Callable[[], None]) -> None:
        """Do what goes with one alert's telling so that a fault in it keeps no adult from any alert.

        A fault of the database is not ours to go on after: it undoes the whole transaction.
        """
        point = self._tx.connection.begin_nested()
        try:
            tell()
            point.commit()
        except sa.exc.SQLAlchemyError:
            raise
        except Exception as error:  # a damaged row beside the alert: the adults are told all the same
            point.rollback()
            log.error("what goes with an alert could not be told: %s", type(error).__name__)

    def _many(self, query: sa.Select[Any]) -> list[Alert]:
        """Return the alerts of a query; one that cannot be read is there all the same, and hides no other."""
        try:
            return [self._value(row) for row in self._tx.rows(query)]
        except _DAMAGED as error:
            log.error("an alert cannot be read: %s", type(error).__name__)
        return [self._one(id) or self._bare(id) for id in self._ids(query)]

    def _ids(self, query: sa.Select[Any]) -> list[str]:
        return [row.id for row in self._tx.rows(query.with_only_columns(_ALERT.c.id))]

    def _one(self, id: str) -> Alert | None:
        """Return an alert that is there, or None where it cannot be read."""
        try:
            row = self._tx.row(_ALERTS.where(_ALERT.c.id == id))
            assert row is not None
            return self._value(row)
        except _DAMAGED:
            return None

    def _bare(self, id: str) -> Alert:
        """Return what is sure of an alert whose row cannot be read: that it is there. Loud on purpose.

        Whoever it is about, the other one of a pair is told nothing of it. Taken on, it is a row that can be
        read again: an immediate one, and its label keeps saying what it was.
        """
        row = self._tx.row(
            sa.select(
                _ALERT.c.site,
                _ALERT.c.conversation,
                _ALERT.c.about,
                sa.type_coerce(_ALERT.c.apart, sa.String).label("apart"),
                _MEMBER.c.role,
            )
            .join(_MEMBER, _MEMBER.c.id == _ALERT.c.about, isouter=True)
            .where(_ALERT.c.id == id)
        )
        assert row is not None
        return Alert(
            id=id,
            site=row.site,
            conversation=row.conversation,
            about=row.about,
            about_role=Role(row.role) if row.role in set(Role) else Role.ADULT,
            risk=Risk.IMMEDIATE,
            labels=(UNREADABLE,),
            state=AlertState.NOTIFYING,
            opened_at=self._tx.now,
            notifying_since=self._tx.now,
            next_due_at=self._tx.now + AGAIN,
            discreet=True,
            apart=row.apart not in (0, "0", False, "false"),
        )

    def told(self, told: Step, *, channel: str, ok: bool) -> None:
        """Record the outcome of an attempt; one that went out ends the retrying of that telling.

        The chronology says what is known: that people were told, or, once for a rung, that nobody could be.
        """
        alert = told.alert.id
        attempt = self._tx.row(sa.select(_ATTEMPT).where(_ATTEMPT.c.id == told.attempts[channel].id))
        if attempt is None or attempt.outcome is not None:
            return
        outcome = "ok" if ok else "failed"
        counted = self._tx.row(
            sa.select(sa.func.count()).where(
                _ATTEMPT.c.alert == alert,
                _ATTEMPT.c.channel == channel,
                _ATTEMPT.c.rung == attempt.rung,
                _ATTEMPT.c.outcome == outcome,
            )
        )
        before = int(counted[0]) if counted is not None else 0
        self._tx.execute(sa.update(_ATTEMPT).where(_ATTEMPT.c.id == attempt.id).values(outcome=outcome))
        if ok or not before:
            data = {"rung": attempt.rung, "audience": attempt.audience, "channel": channel}
            self.log(alert, "told" if ok else "told_nobody", data=data)
        newest = self._newest(alert, channel)
        if newest is not None and newest.key != attempt.key:
            return  # of a telling that another has followed since: the newer one's outcome decides
        if not ok and (newest is None or newest.id != attempt.id or self._went_out(alert, attempt.at)):
            return  # a repeat is on its way, or another channel of this telling did reach somebody
        wait = RETRY if before < QUICK_RETRIES else AGAIN
        values: dict[str, Any] = {"untold_since": self._tx.now + wait - RETRY}
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
        return min((at for at, _, _ in self._dues()), default=None)

    def _dues(self, only: str | None = None) -> list[tuple[datetime, int, str]]:
        """Return when each alert that is not closed is told next: (moment, risk, id).

        Read as they lie there and compared here, for in the database a moment that is none would never come.
        Nor would one that was set under a wrong clock: what lies further ahead than it can is due now.
        """
        query, which = (_DUES, None) if only is None else (_DUE_OF, {"alert": only})
        rows: Sequence[AnyRow] = self._tx.execute(query, which).all()
        found, now = [], self._tx.now
        horizons: dict[tuple[str, Risk, bool], datetime] = {}  # the same few for many alerts
        for id, site, given, state, next_due, untold, opened in rows:
            risk, unanswered = _RISKS.get(given, Risk.IMMEDIATE), state not in _ANSWERED
            due, again = _moment(next_due, timedelta(0)), _moment(untold, RETRY)
            if (horizon := horizons.get((site, risk, unanswered))) is None:
                times = self._times(site)
                ahead = ladder.horizon(
                    risk, unanswered=unanswered, ladders=times.ladders, lease=times.acknowledgement
                )
                horizon = horizons[site, risk, unanswered] = now + ahead
            if due is None and again is None:  # a drill that somebody has: it ends by itself
                due, horizon = _moment(opened, life.PRACTICE_LASTS), now + 2 * life.PRACTICE_LASTS
            if due is not None and due > horizon:
                due = now
            if again is not None and again > now + AGAIN:
                again = now
            found.append((min(moment for moment in (due, again) if moment is not None), risk.value, id))
        return found

    def _sealed(self, alert: Alert, text: str, what: str) -> bytes:
        return self._tx.keyring.seal(_key(alert.id), text, bound_to=f"{alert.id} {what}")

    def _times(self, site: str) -> Times:
        return self._clock(site)[0]

    def day(self, site: str) -> SchoolDay:
        """Return when a site's concerns are read; the default where its row cannot be read."""
        return self._clock(site)[1]

    def _clock(self, site: str) -> tuple[Times, SchoolDay]:
        if site not in self._site_times:
            self._site_times[site] = clock_of(self._tx, site)
        return self._site_times[site]

    def _restart(self, site: str) -> life.Restart:
        return partial(restarted, ladders=self._times(site).ladders)

    def _open_about(self, concern: Concern, conversation: str | None) -> Alert | None:
        here = _ALERT.c.conversation
        query = _OPEN.where(
            _ALERT.c.about == concern.about,
            _ALERT.c.discreet.is_(concern.discreet),
            _ALERT.c.apart.is_(concern.apart),
            here == conversation if conversation is not None else here.is_(None),
        )
        # Nothing folds into one that cannot be read: what is new is told in its own right.
        return next((found for found in self._many(query) if UNREADABLE not in found.labels), None)

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
                practice=alert.practice,
                apart=alert.apart,
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
            rung=int(row.rung),
            opened_at=row.opened_at,
            notifying_since=row.notifying_since,
            next_due_at=row.next_due_at,
            holder=row.holder,
            lapses_at=row.lapses_at,
            closing=closing,
            discreet=bool(row.discreet),
            practice=bool(row.practice),
            apart=bool(row.apart),
            version=int(row.version),
        )


def may_know(circle: Circle, reader: str) -> sa.ColumnElement[bool]:
    """Return `Circle.may_know` as a condition on alerts.

    Whoever is no adult (a coordinator who counts) may know of all but what is kept apart.
    """
    about, preset = _ALERT.c.about, circle.independents
    inside = [m for m in circle.adults if m not in circle.outside]
    ordinary: sa.ColumnElement[bool] = sa.true()
    if reader in circle.outside and inside:
        ordinary = about == inside[0] if len(inside) == 1 else sa.false()
    apart: sa.ColumnElement[bool] = sa.true() if reader in preset else sa.false()
    if reader in circle.adults and not preset:
        apart = ordinary
    elif reader in circle.adults and len(preset) == 1:  # about the only one: as if nobody were preset
        apart = sa.or_(apart, sa.and_(about == preset[0], ordinary))
    return sa.and_(about != reader, sa.case((_ALERT.c.apart.is_(True), apart), else_=ordinary))


def clock_of(tx: Transaction, site: str) -> tuple[Times, SchoolDay]:
    """Return a site's times and school day; the defaults where its row is damaged, so that no ladder stops.

    A fault of the database is raised.
    """
    try:
        found = Sites(tx).get(site)
        return found.times, found.day
    except (*_DAMAGED, AssertionError) as error:
        log.error("a site cannot be read; the default times hold: %s", type(error).__name__)
        return DEFAULTS, SchoolDay()


def _moment(raw: Any, after: timedelta) -> datetime | None:
    """Return the moment some time after one as the database has it; long ago where that is none."""
    if raw is None:
        return None
    try:
        moment = raw if isinstance(raw, datetime) else datetime.fromisoformat(raw)
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)) + after
    except (TypeError, ValueError, OverflowError):
        return _LONG_AGO


def _key(alert: str) -> KeyName:
    return KeyName(alert, "staff", CASE)
