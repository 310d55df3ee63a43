"""The duty lease, pure: while no adult holds a valid one, nothing is paired and nothing is delivered."""

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from moderation.verdict import Role

LEASE = timedelta(seconds=90)
"""How long a desk page's lease lasts; the page renews it every 30 s."""

PHONE_LEASE = timedelta(minutes=20)
"""How long a press on a phone holds duty: a phone's page sleeps while it is locked, and renews nothing."""

CLOSING_WARNING = timedelta(minutes=10)
"""How long before the opening hours end everybody is told that they do."""

LONGEST_LEASE = timedelta(hours=1)
"""No lease reaches further than this. One that does was taken under a wrong clock, and does not count."""


OFFER = timedelta(minutes=10)
"""How long an offer to hand over waits for its answer; then it is as if it had never been made."""


class Answer(enum.StrEnum):
    """What becomes of an offer to hand over."""

    ACCEPTED = "accepted"
    DECLINED = "declined"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True, kw_only=True)
class DutyLease:
    """One member's hold on duty."""

    member: str
    role: Role
    until: datetime
    phone_until: datetime | None = None  # a press on a phone holds it so long

    def valid(self, now: datetime) -> bool:
        return self.until > now


def covered(leases: Iterable[DutyLease], *, now: datetime) -> bool:
    """Return whether an adult is on duty. A moderator's lease never counts."""
    return any(lease.role is Role.ADULT and lease.valid(now) for lease in leases)
