"""Duty leases."""

from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from escalation.duty import LONGEST_LEASE, DutyLease
from moderation.verdict import Role
from peerchat.store.database import Transaction
from peerchat.store.tables import DutyRow, Member, table

_DUTY, _MEMBER = table(DutyRow), table(Member)


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
        self, member: str, role: Role, site: str, *, lease: timedelta, kept_by: str = "member"
    ) -> datetime:
        """Take or renew a lease; return until when it holds.

        A renewal never shortens it, unless it reaches further than any lease can: then a clock was wrong.
        """
        self._covered.clear()
        until = self._tx.now + lease
        held = self.lease_of(member)
        if held is not None and held.until <= self._tx.now + LONGEST_LEASE:
            until = max(until, held.until)
        statement = insert(_DUTY).values(
            member=member, site=site, role=role.value, since=self._tx.now, until=until, kept_by=kept_by
        )
        fresh = _DUTY.c.until <= self._tx.now
        self._tx.execute(
            statement.on_conflict_do_update(
                index_elements=["member"],
                set_={
                    "until": statement.excluded.until,
                    "kept_by": kept_by,
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
            sa.update(_DUTY).where(_DUTY.c.member == member).values(until=self._tx.now, kept_by="member")
        )
        return done.rowcount == 1

    def lease_of(self, member: str) -> DutyLease | None:
        """Return a member's valid lease."""
        row = self._tx.row(sa.select(_DUTY).where(_DUTY.c.member == member, _DUTY.c.until > self._tx.now))
        return DutyLease(member=row.member, role=Role(row.role), until=row.until) if row is not None else None

    def leases(self, site: str) -> list[tuple[DutyLease, str]]:
        """Return the valid leases of a site, each with the member's display name, longest on duty first."""
        rows = self._tx.rows(
            sa.select(_DUTY.c.member, _DUTY.c.role, _DUTY.c.until, _MEMBER.c.name)
            .join(_MEMBER, _MEMBER.c.id == _DUTY.c.member)
            .where(_DUTY.c.site == site, _DUTY.c.until > self._tx.now, _MEMBER.c.suspended_at.is_(None))
            .order_by(_DUTY.c.since, _DUTY.c.member)
        )
        return [(DutyLease(member=r.member, role=Role(r.role), until=r.until), r.name or "") for r in rows]
