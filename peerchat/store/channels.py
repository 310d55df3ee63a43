"""Contact points beyond the page, and what each of them was sent. Addresses and secrets are sealed."""

import logging
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from escalation.alert import AlertState
from escalation.duty import LONGEST_LEASE
from escalation.ladder import Attempt as Made
from escalation.ladder import Audience, SchoolDay, Step
from escalation.rota import Part
from moderation.verdict import Role
from peerchat.channels.contact import (
    MOST_TRIES,
    WAKING,
    Contact,
    Kind,
    Reachable,
    kinds_for,
    pause_after,
    told,
)
from peerchat.model import new_id
from peerchat.store.alerts import Alerts
from peerchat.store.database import AnyRow, Transaction
from peerchat.store.rota import RotaBook
from peerchat.store.seal import KeyName
from peerchat.store.sites import Sites
from peerchat.store.tables import AlertRow, Attempt, ContactPoint, DutyRow, Member, SendingRow, table

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=12)
"""How long one worker has for a sending before another may take it: longer than any send."""

AT_ONCE = 16
"""Sendings of one kind that a worker takes at a time: as many as it sends at once, so no lease runs out."""

_CONTACT, _SENDING, _MEMBER = table(ContactPoint), table(SendingRow), table(Member)
_ATTEMPT, _ALERT, _DUTY = table(Attempt), table(AlertRow), table(DutyRow)

_ANSWERED = {state.value for state in AlertState if not state.unanswered}


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A sending that this worker has taken: nobody else tries it before its lease runs out."""

    id: str
    key: str
    contact: Contact
    practice: bool


class Channels:
    """Who can be reached how, and what is under way."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    # -- contact points

    def add(
        self,
        *,
        site: str,
        kind: Kind,
        member: str | None,
        audience: Audience,
        to: str,
        secret: str | None,
        name: str | None,
    ) -> str:
        """Keep a contact point; return its id. `to` has been checked (`Senders.checked`)."""
        id = new_id("cnt")
        self._tx.execute(
            sa.insert(_CONTACT).values(
                id=id,
                site=site,
                kind=kind.value,
                member=member,
                audience=audience.value,
                address=self._sealed(site, id, "to", to),
                secret=self._sealed(site, id, "secret", secret),
                name=self._sealed(site, id, "name", name),
                added_at=self._tx.now,
                failures=0,
            )
        )
        return id

    def get(self, contact: str) -> Contact | None:
        """Return a contact point that was not removed."""
        row = self._tx.row(_live().where(_CONTACT.c.id == contact))
        return self._whole(row) if row is not None else None

    def of_site(self, site: str, *, member: str | None = None) -> list[Contact]:
        """Return a site's contact points, or those of one member, oldest first."""
        query = _live().where(_CONTACT.c.site == site)
        if member is not None:
            query = query.where(_CONTACT.c.member == member)
        rows = self._tx.rows(query.order_by(_CONTACT.c.added_at, _CONTACT.c.id))
        return [found for row in rows if (found := self._whole(row)) is not None]

    def remove(self, contact: str) -> None:
        """Take a contact point away, with its address. What was sent to it stays known."""
        self._tx.execute(
            sa.update(_CONTACT)
            .where(_CONTACT.c.id == contact)
            .values(removed_at=self._tx.now, address=None, secret=None, name=None)
        )
        self._end(_SENDING.c.contact == contact)

    def tried(self, contact: str) -> None:
        """Note that a try went out which its own adult had asked for."""
        self._tx.execute(sa.update(_CONTACT).where(_CONTACT.c.id == contact).values(tried_at=self._tx.now))

    def tried_since(self, member: str, moment: datetime) -> bool:
        """Return whether a member's own try of what can wake a locked phone went out since a moment."""
        query = _live().where(
            _CONTACT.c.member == member,
            _CONTACT.c.kind.in_(sorted(kind.value for kind in WAKING)),
            _CONTACT.c.tried_at >= moment,
        )
        return self._tx.row(query.limit(1)) is not None

    # -- tellings

    def planned(self, step: Step, *, day: SchoolDay | None) -> Step:
        """Write what is to be sent of a step: an attempt for each kind, a sending for each contact point.

        Returns the step with those attempts; nothing was sent yet. Whatever is wrong here does not keep the
        step from the pages, but a fault of the database undoes the whole transaction.
        """
        point = self._tx.connection.begin_nested()
        try:
            found = self._planned(step, day or SchoolDay())
            point.commit()
            return found
        except sa.exc.SQLAlchemyError:
            raise
        except Exception as error:  # the pages are told all the same, and the auditor misses the attempts
            point.rollback()
            log.error("nobody could be told beyond the pages: %s", type(error).__name__)
            return step

    def _planned(self, step: Step, day: SchoolDay) -> Step:
        alert = step.alert
        kinds = kinds_for(step, now=self._tx.now, day=day)
        may = RotaBook(self._tx).circle(alert.site).told(alert)
        points = [
            point
            for point in self._reachable(alert.site)
            if point.kind in kinds and (point.member is None or point.member in may)
        ]
        expected, deputies = self._expected(alert.site)
        chosen = told(
            points,
            step,
            on_duty=set(self._on_duty(alert.site)) & set(may),
            about_staff=alert.apart,
            expected=expected,
            deputies=deputies,
        )
        if not chosen:
            return step
        by_kind = sorted({point.kind.value for point in chosen})
        step = Alerts(self._tx).attempted(step, by_kind)
        earlier = sa.select(_ATTEMPT.c.id).where(
            _ATTEMPT.c.alert == alert.id,
            _ATTEMPT.c.channel.in_(by_kind),
            _ATTEMPT.c.id.not_in([step.attempts[kind].id for kind in by_kind]),
        )
        self._end(_SENDING.c.attempt.in_(earlier))  # this telling takes their place
        for point in chosen:
            attempt = step.attempts[point.kind.value]
            if step.repeat and self._reached(attempt.key, point.id):
                continue
            self._tx.execute(
                sa.insert(_SENDING).values(
                    id=new_id("snd"),
                    attempt=attempt.id,
                    contact=point.id,
                    key=attempt.key,
                    at=self._tx.now,
                    due_at=self._tx.now,
                    tries=0,
                )
            )
        return step

    def claimed(self, *, attempt: str) -> list[Due]:
        """Take what nobody has tried yet of an attempt, `AT_ONCE` at most, for `LEASE`."""
        return self._claim(sa.and_(_SENDING.c.attempt == attempt, _SENDING.c.tries == 0))

    def claimed_of(self, kind: Kind) -> list[Due]:
        """Take what is due of a kind: what failed, what nobody knows of, and what a dead worker had taken."""
        return self._claim(_CONTACT.c.kind == kind.value)

    def _claim(self, where: sa.ColumnElement[bool]) -> list[Due]:
        rows = self._tx.rows(
            sa.select(
                _SENDING.c.id.label("sending"),
                _SENDING.c.key,
                _SENDING.c.tries,
                _ALERT.c.state,
                _ALERT.c.practice,
                _MEMBER.c.suspended_at,
                *_CONTACT.c,
            )
            .select_from(
                _SENDING.join(_CONTACT, _CONTACT.c.id == _SENDING.c.contact)
                .join(_ATTEMPT, _ATTEMPT.c.id == _SENDING.c.attempt)
                .join(_ALERT, _ALERT.c.id == _ATTEMPT.c.alert)
                .join(_MEMBER, _MEMBER.c.id == _CONTACT.c.member, isouter=True)
            )
            .where(where, _SENDING.c.ended_at.is_(None), _SENDING.c.due_at <= self._tx.now)
            .order_by(_ALERT.c.risk.desc(), _SENDING.c.due_at, _SENDING.c.id)
            .limit(AT_ONCE)
            .with_for_update(of=_SENDING, skip_locked=True)
        )
        due = []
        for row in rows:
            needless = row.tries and row.state in _ANSWERED  # somebody has it: no need to try again
            if needless or row.suspended_at is not None:
                self._end(_SENDING.c.id == row.sending)
                continue
            self._tx.execute(
                sa.update(_SENDING)
                .where(_SENDING.c.id == row.sending)
                .values(due_at=self._tx.now + LEASE, tries=_SENDING.c.tries + 1)
            )
            contact = self._whole(row)
            if contact is not None:
                due.append(Due(id=row.sending, key=row.key, contact=contact, practice=bool(row.practice)))
        return due

    def sent(self, sending: str, *, ok: bool, fault: str | None, retry_after_s: float | None = None) -> None:
        """Record how a try of a sending went; one that failed is due again after a pause."""
        row = self._tx.row(sa.select(_SENDING).where(_SENDING.c.id == sending))
        if row is None or row.outcome == "ok":
            return
        now, over = self._tx.now, ok or row.tries >= MOST_TRIES
        values = {"outcome": "ok" if ok else "failed", "fault": None if ok else fault}
        self._tx.execute(
            sa.update(_SENDING)
            .where(_SENDING.c.id == sending)
            .values(
                **values,
                due_at=now + pause_after(row.tries, asked_s=retry_after_s),
                ended_at=now if over else row.ended_at,
            )
        )
        self.works(row.contact, ok=ok, fault=fault)
        if ok:
            self._went_out(row.attempt)

    def _went_out(self, attempt: str) -> None:
        """Record an attempt's outcome with the first of its sendings that arrived, whoever sent it."""
        row = self._tx.row(sa.select(_ATTEMPT).where(_ATTEMPT.c.id == attempt))
        alerts = Alerts(self._tx)
        alert = alerts.get(row.alert) if row is not None and row.outcome is None else None
        if row is not None and alert is not None:
            made = {row.channel: Made(id=row.id, key=row.key)}
            step = Step(alert=alert, audience=Audience(row.audience), first=False, attempts=made)
            alerts.told(step, channel=row.channel, ok=True)

    def works(self, contact: str, *, ok: bool, fault: str | None) -> None:
        """Note whether a contact point could be sent to just now."""
        values: dict[str, object] = {"ok_at": self._tx.now, "failures": 0, "fault": None}
        if not ok:
            values = {"failed_at": self._tx.now, "failures": _CONTACT.c.failures + 1, "fault": fault}
        self._tx.execute(sa.update(_CONTACT).where(_CONTACT.c.id == contact).values(**values))

    def reached(self, key: str) -> bool:
        """Return whether a telling went out to anybody, by its key."""
        query = sa.select(sa.literal(1)).where(_SENDING.c.key == key, _SENDING.c.outcome == "ok")
        return self._tx.row(query.limit(1)) is not None

    def next_due(self, kind: Kind) -> datetime | None:
        """Return when the next sending of a kind is due."""
        row = self._tx.row(
            sa.select(sa.func.min(_SENDING.c.due_at))
            .select_from(_SENDING.join(_CONTACT, _CONTACT.c.id == _SENDING.c.contact))
            .where(_CONTACT.c.kind == kind.value, _SENDING.c.ended_at.is_(None))
        )
        found: datetime | None = row[0] if row is not None else None
        return found

    # -- inside

    def _reached(self, key: str, contact: str) -> bool:
        query = sa.select(sa.literal(1)).where(
            _SENDING.c.key == key, _SENDING.c.contact == contact, _SENDING.c.outcome == "ok"
        )
        return self._tx.row(query.limit(1)) is not None

    def _end(self, where: sa.ColumnElement[bool]) -> None:
        self._tx.execute(
            sa.update(_SENDING).where(where, _SENDING.c.ended_at.is_(None)).values(ended_at=self._tx.now)
        )

    def _reachable(self, site: str) -> list[Reachable]:
        """Return a site's contact points of people who may be told: no address is opened for it."""
        rows = self._tx.rows(
            sa.select(_CONTACT.c.id, _CONTACT.c.kind, _CONTACT.c.member, _CONTACT.c.audience)
            .join(_MEMBER, _MEMBER.c.id == _CONTACT.c.member, isouter=True)
            .where(
                _CONTACT.c.site == site,
                _CONTACT.c.removed_at.is_(None),
                sa.or_(
                    _CONTACT.c.member.is_(None),
                    sa.and_(_MEMBER.c.suspended_at.is_(None), _MEMBER.c.role == Role.ADULT.value),
                ),
            )
            .order_by(_CONTACT.c.added_at, _CONTACT.c.id)
        )
        return [
            Reachable(id=r.id, kind=Kind(r.kind), member=r.member, audience=Audience(r.audience))
            for r in rows
            if _readable(r)
        ]

    def _expected(self, site: str) -> tuple[set[str], set[str]]:
        """Return who is down for duty on the rota just now, there or not, and who as deputy."""
        slots = RotaBook(self._tx).of(Sites(self._tx).get(site)).on_rota(self._tx.now)
        deputies = {slot.member for slot in slots if slot.part is Part.DEPUTY}
        return {slot.member for slot in slots if slot.part is Part.DUTY}, deputies

    def _on_duty(self, site: str) -> Collection[str]:
        rows = self._tx.rows(
            sa.select(_DUTY.c.member).where(
                _DUTY.c.site == site,
                _DUTY.c.role == Role.ADULT.value,
                _DUTY.c.until > self._tx.now,
                _DUTY.c.until <= self._tx.now + LONGEST_LEASE,
            )
        )
        return {row.member for row in rows}

    def _sealed(self, site: str, id: str, what: str, text: str | None) -> bytes | None:
        if text is None:
            return None
        return self._tx.keyring.seal(_key(site), text, bound_to=f"{id} {what}")

    def _whole(self, row: AnyRow) -> Contact | None:
        """Return a contact point; None for one whose row is damaged, which must not take the others along."""
        return self._contact(row) if _readable(row) else None

    def _contact(self, row: AnyRow) -> Contact:
        def opened(sealed: bytes | None, what: str) -> str | None:
            if sealed is None:
                return None
            return self._tx.keyring.open(_key(row.site), sealed, bound_to=f"{row.id} {what}")

        return Contact(
            id=row.id,
            site=row.site,
            kind=Kind(row.kind),
            member=row.member,
            audience=Audience(row.audience),
            to=opened(row.address, "to") or "",
            secret=opened(row.secret, "secret"),
            name=opened(row.name, "name"),
            added_at=row.added_at,
            ok_at=row.ok_at,
            failed_at=row.failed_at,
            fault=row.fault,
            failures=row.failures,
            tried_at=row.tried_at,
        )


def _readable(row: AnyRow) -> bool:
    readable = row.kind in set(Kind) and row.audience in set(Audience)
    if not readable:
        log.error("a contact point cannot be read: %s", row.id)
    return readable


def _live() -> sa.Select[tuple[object, ...]]:
    return sa.select(*_CONTACT.c).where(_CONTACT.c.removed_at.is_(None))


def _key(site: str) -> KeyName:
    return KeyName(site, "staff", "contacts")
