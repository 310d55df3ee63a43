"""Duty leases, and offers to hand over."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from escalation.duty import LONGEST_LEASE, Answer, DutyLease
from moderation.verdict import Role
from peerchat.model import new_id
from peerchat.store.database import AnyRow, Transaction
from peerchat.store.tables import DutyRow, Handover, Member, table

_DUTY, _MEMBER, _HANDOVER = table(DutyRow), table(Member), table(Handover)


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferValue:
    """An offer to hand over that waits for its answer. `alert` None: all that the giver has by then."""

    id: str
    site: str
    giver: str
    taker: str
    alert: str | None
    until: datetime


class DutyBook:
    """Who is on duty, and until when."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self._covered: dict[str, bool] = {}  # for this transaction: asked once for each message of a batch

    def covered(self, site: str) -> bool:
        """Return whether an adult holds a valid lease at this transaction's moment (rule 12)."""
        if site not in self._covered:
            self._covered[site] = self._any_adult(site)
        return self._covered[site]

    def _any_adult(self, site: str) -> bool:
        found = self._tx.row(
            sa.select(sa.literal(1))
            .select_from(_DUTY.join(_MEMBER, _MEMBER.c.id == _DUTY.c.member))
            .where(
                _DUTY.c.site == site,
                _DUTY.c.role == Role.ADULT.value,
                _DUTY.c.until > self._tx.now,
                _DUTY.c.until <= self._tx.now + LONGEST_LEASE,
                _MEMBER.c.suspended_at.is_(None),
            )
            .limit(1)
        )
        return found is not None

    def take(
        self,
        member: str,
        role: Role,
        site: str,
        *,
        lease: timedelta,
        kept_by: str = "member",
        phone: bool = False,
    ) -> datetime:
        """Take or renew a lease, by a page or by a press on a phone; return until when it holds.

        A renewal never shortens it, unless it reaches further than any lease can: then a clock was wrong.
        """
        self._covered.clear()
        until = self._tx.now + lease
        held = self.lease_of(member)
        if held is not None and held.until <= self._tx.now + LONGEST_LEASE:
            until = max(until, held.until)
        pressed = self._tx.now + lease if phone else held.phone_until if held is not None else None
        statement = insert(_DUTY).values(
            member=member,
            site=site,
            role=role.value,
            since=self._tx.now,
            until=until,
            kept_by=kept_by,
            phone_until=pressed,
        )
        fresh = _DUTY.c.until <= self._tx.now
        self._tx.execute(
            statement.on_conflict_do_update(
                index_elements=["member"],
                set_={
                    "until": statement.excluded.until,
                    "kept_by": kept_by,
                    "phone_until": statement.excluded.phone_until,
                    "since": sa.case((fresh, statement.excluded.since), else_=_DUTY.c.since),
                },
            )
        )
        return until

    def keep(self, member: str, *, lease: timedelta, kept_by: str) -> bool:
        """Renew a lease only while the same keeper holds it. Returns whether it did."""
        self._covered.clear()
        done = self._tx.execute(
            sa.update(_DUTY)
            .where(_DUTY.c.member == member, _DUTY.c.kept_by == kept_by)
            .values(until=self._tx.now + lease)
        )
        return done.rowcount == 1

    def end(self, member: str) -> bool:
        """End a lease now; return whether there was one."""
        self._covered.clear()
        done = self._tx.execute(
            sa.update(_DUTY)
            .where(_DUTY.c.member == member)
            .values(until=self._tx.now, kept_by="member", phone_until=None)
        )
        return done.rowcount == 1

    def lease_of(self, member: str) -> DutyLease | None:
        """Return a member's valid lease."""
        row = self._tx.row(sa.select(_DUTY).where(_DUTY.c.member == member, _DUTY.c.until > self._tx.now))
        return _lease(row) if row is not None else None

    def ended(self, member: str) -> datetime | None:
        """Return when a member's duty ended; None while it holds, and where there never was any."""
        row = self._tx.row(sa.select(_DUTY.c.until).where(_DUTY.c.member == member))
        return row.until if row is not None and row.until <= self._tx.now else None

    def leases(self, site: str) -> list[tuple[DutyLease, str]]:
        """Return the valid leases of a site, each with the member's display name, longest on duty first."""
        rows = self._tx.rows(
            sa.select(_DUTY.c.member, _DUTY.c.role, _DUTY.c.until, _DUTY.c.phone_until, _MEMBER.c.name)
            .join(_MEMBER, _MEMBER.c.id == _DUTY.c.member)
            .where(_DUTY.c.site == site, _DUTY.c.until > self._tx.now, _MEMBER.c.suspended_at.is_(None))
            .order_by(_DUTY.c.since, _DUTY.c.member)
        )
        return [(_lease(row), row.name or "") for row in rows]

    # -- offers to hand over

    def offer(self, giver: str, taker: str, site: str, *, alert: str | None, until: datetime) -> OfferValue:
        """Keep an offer; it takes the place of the giver's earlier one, which nobody answered."""
        for earlier in self.offers(site, giver):
            if earlier.giver == giver:
                self.answer(earlier.id, Answer.WITHDRAWN)
        id = new_id("hnd")
        self._tx.execute(
            sa.insert(_HANDOVER).values(
                id=id,
                site=site,
                giver=giver,
                taker=taker,
                alert=alert,
                offered_at=self._tx.now,
                until=until,
            )
        )
        return OfferValue(id=id, site=site, giver=giver, taker=taker, alert=alert, until=until)

    def offers(self, site: str, member: str) -> list[OfferValue]:
        """Return the offers to or from a member that still wait for an answer, oldest first."""
        rows = self._tx.rows(
            sa.select(_HANDOVER)
            .where(
                _HANDOVER.c.site == site,
                _HANDOVER.c.answered_at.is_(None),
                _HANDOVER.c.until > self._tx.now,
                sa.or_(_HANDOVER.c.giver == member, _HANDOVER.c.taker == member),
            )
            .order_by(_HANDOVER.c.offered_at, _HANDOVER.c.id)
        )
        return [
            OfferValue(
                id=row.id,
                site=row.site,
                giver=row.giver,
                taker=row.taker,
                alert=row.alert,
                until=row.until,
            )
            for row in rows
        ]

    def answer(self, offer: str, answer: Answer) -> None:
        """Write what became of an offer."""
        self._tx.execute(
            sa.update(_HANDOVER)
            .where(_HANDOVER.c.id == offer, _HANDOVER.c.answered_at.is_(None))
            .values(answered_at=self._tx.now, answer=answer.value)
        )


def _lease(row: AnyRow) -> DutyLease:
    phone = row.phone_until
    return DutyLease(member=row.member, role=Role(row.role), until=row.until, phone_until=phone)
