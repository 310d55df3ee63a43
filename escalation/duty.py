"""The duty lease, pure: while no adult holds a valid one, nothing is paired and nothing is delivered."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from moderation.verdict import Role

LEASE = timedelta(seconds=90)
"""How long a desk page's lease lasts; the page renews it every 30 s."""

LONGEST_LEASE = timedelta(hours=1)
"""No lease reaches further than this. One that does was taken under a wrong clock, and does not count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DutyLease:
    """One member's hold on duty."""

    member: str
    role: Role
    until: datetime

    def valid(self, now: datetime) -> bool:
        return self.until > now


def covered(leases: Iterable[DutyLease], *, now: datetime) -> bool:
    """Return whether an adult is on duty. A moderator's lease never counts."""
    return any(lease.role is Role.ADULT and lease.valid(now) for lease in leases)
