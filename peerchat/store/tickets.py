"""Waiting pupils and mentors on shift."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from moderation.verdict import Risk
from peerchat.store.database import Transaction
from peerchat.store.seal import KeyName
from peerchat.store.tables import Member, Seat, Ticket, table

_TICKET, _SEAT, _MEMBER = table(Ticket), table(Seat), table(Member)


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketValue:
    """A pupil who waits."""

    id: str
    pupil: str
    topics: tuple[str, ...]
    wishes: dict[str, bool]
    risk: Risk
    asked_at: datetime
    so_far: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SeatValue:
    """A mentor's shift, and what training allows."""

    mentor: str
    on: bool
    on_break: bool
    capacity: int
    since: datetime
    approved: bool
    trained_until: datetime | None


class Tickets:
    """Who waits for whom."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    def add(
        self,
        *,
        id: str,
        site: str,
        pupil: str,
        topics: Collection[str],
        wishes: dict[str, bool],
        mood: int | None,
        note: str | None,
        risk: Risk,
        so_far: str | None = None,
    ) -> None:
        """Let a pupil wait. An earlier ticket of the same pupil ends, but its place in line is kept."""
        earlier = self.waiting_of(pupil)
        asked_at = earlier.asked_at if earlier is not None else self._tx.now
        if earlier is not None:
            self.cancel(pupil)
        key = KeyName(id, pupil)
        sealed = self._tx.keyring.seal(key, note, bound_to=id) if note else None
        self._tx.execute(
            sa.insert(_TICKET).values(
                id=id,
                site=site,
                pupil=pupil,
                topics=list(topics),
                wishes=wishes,
                mood=mood,
                note=sealed,
                risk=risk.value,
                state="waiting",
                asked_at=asked_at,
                so_far=so_far,
            )
        )

    def cancel(self, pupil: str) -> bool:
        """Stop waiting; return whether the pupil waited."""
        done = self._tx.execute(
            sa.update(_TICKET)
            .where(_TICKET.c.pupil == pupil, _TICKET.c.state == "waiting")
            .values(state="cancelled", ended_at=self._tx.now)
        )
        return done.rowcount > 0

    def pair(self, ticket: str, conversation: str) -> bool:
        """Claim a waiting ticket for a conversation; False when it waits no more."""
        done = self._tx.execute(
            sa.update(_TICKET)
            .where(_TICKET.c.id == ticket, _TICKET.c.state == "waiting")
            .values(state="paired", ended_at=self._tx.now, conversation=conversation)
        )
        return done.rowcount == 1

    def waiting(self, site: str) -> list[TicketValue]:
        """Return a site's waiting tickets, oldest first."""
        return self._waiting(_TICKET.c.site == site)

    def waiting_of(self, pupil: str) -> TicketValue | None:
        """Return a pupil's waiting ticket."""
        return next(iter(self._waiting(_TICKET.c.pupil == pupil)), None)

    def _waiting(self, where: sa.ColumnElement[bool]) -> list[TicketValue]:
        rows = self._tx.rows(
            sa.select(_TICKET)
            .join(_MEMBER, _MEMBER.c.id == _TICKET.c.pupil)
            .where(where, _TICKET.c.state == "waiting", _MEMBER.c.suspended_at.is_(None))
            .order_by(_TICKET.c.asked_at, _TICKET.c.id)
        )
        return [
            TicketValue(
                id=r.id,
                pupil=r.pupil,
                topics=tuple(r.topics),
                wishes=r.wishes,
                risk=Risk(r.risk),
                asked_at=r.asked_at,
                so_far=r.so_far,
            )
            for r in rows
        ]

    def recent_waits(self, site: str, *, within: timedelta, limit: int = 50) -> list[timedelta]:
        """Return how long the last paired pupils had waited, newest first."""
        rows = self._tx.rows(
            sa.select(_TICKET.c.asked_at, _TICKET.c.ended_at)
            .where(
                _TICKET.c.site == site,
                _TICKET.c.state == "paired",
                _TICKET.c.ended_at > self._tx.now - within,
            )
            .order_by(_TICKET.c.ended_at.desc())
            .limit(limit)
        )
        return [row.ended_at - row.asked_at for row in rows]

    # -- mentors

    def seat(self, mentor: str) -> SeatValue | None:
        """Return a mentor's shift."""
        return next(iter(self._seats(_SEAT.c.mentor == mentor)), None)

    def seats(self, site: str) -> list[SeatValue]:
        """Return a site's mentors who are or were on shift."""
        return self._seats(_SEAT.c.site == site)

    def set_shift(self, mentor: str, site: str, *, on: bool, capacity: int) -> None:
        """Begin or end a shift; a new shift begins without a break."""
        statement = insert(_SEAT).values(
            mentor=mentor, site=site, on=on, on_break=False, capacity=capacity, since=self._tx.now
        )
        self._tx.execute(
            statement.on_conflict_do_update(
                index_elements=["mentor"],
                set_={"on": on, "on_break": False, "capacity": capacity, "since": self._tx.now},
            )
        )

    def end_shift(self, mentor: str) -> None:
        """End a shift, where there is one."""
        self._tx.execute(sa.update(_SEAT).where(_SEAT.c.mentor == mentor).values(on=False))

    def set_break(self, mentor: str, *, on: bool) -> bool:
        """Take or end a break; False when the mentor is not on shift."""
        done = self._tx.execute(
            sa.update(_SEAT).where(_SEAT.c.mentor == mentor, _SEAT.c.on.is_(True)).values(on_break=on)
        )
        return done.rowcount == 1

    def _seats(self, where: sa.ColumnElement[bool]) -> list[SeatValue]:
        rows = self._tx.rows(
            sa.select(_SEAT, _MEMBER.c.approved_at, _MEMBER.c.trained_until, _MEMBER.c.suspended_at)
            .join(_MEMBER, _MEMBER.c.id == _SEAT.c.mentor)
            .where(where)
            .order_by(_SEAT.c.since, _SEAT.c.mentor)
        )
        return [
            SeatValue(
                mentor=r.mentor,
                on=r.on,
                on_break=r.on_break,
                capacity=r.capacity,
                since=r.since,
                approved=r.approved_at is not None and r.suspended_at is None,
                trained_until=r.trained_until,
            )
            for r in rows
        ]
