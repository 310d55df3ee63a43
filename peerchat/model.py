"""Members, conversations, messages and their ids: the values that the use cases pass around."""

import enum
import secrets
import threading
import time
from dataclasses import dataclass

from moderation.verdict import Role


def new_id(prefix: str) -> str:
    """Return an id of 128 random bits: nobody can guess it, and it tells nothing of when it was made.

    A partner sees ids of messages that may have been held: a clock in them would tell that they were.
    """
    return f"{prefix}_{secrets.token_hex(16)}"


class _Order:
    """Milliseconds and a count in one number that only rises; safe in threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def __call__(self) -> int:
        """Return the next: neither a clock that steps back nor many in one millisecond break the order."""
        with self._lock:
            self._last = max(self._last + 1, (time.time_ns() // 1_000_000) << 16)
            return self._last

    def start_after(self, last: int) -> None:
        """Go on after what earlier processes made, whatever the clock says."""
        with self._lock:
            self._last = max(self._last, last)


next_order = _Order()
"""The order in which this process makes rows; kept in the column `n`, never shown to anybody."""


class ConversationState(enum.StrEnum):
    """What may happen in a conversation."""

    OPEN = "open"
    PAUSED = "paused"
    ENDED = "ended"


class MessageStatus(enum.StrEnum):
    """What became of a message; only `DELIVERED` is ever seen by a partner."""

    DELIVERED = "delivered"
    HELD = "held"
    BLOCKED = "blocked"
    WITHHELD = "withheld"


class AllowedBy(enum.StrEnum):
    """Who allowed a message that waits for the conversation to go on."""

    MACHINE = "machine"
    HUMAN = "human"


class ReviewState(enum.StrEnum):
    """Where a review item stands."""

    OPEN = "open"
    CLAIMED = "claimed"
    DECIDED = "decided"


class ReviewKind(enum.StrEnum):
    """Why an item is in the queue."""

    HELD = "held"
    REPORT = "report"
    SECOND_LOOK = "second_look"


class Decision(enum.StrEnum):
    """What a person decides about an item."""

    RELEASE = "release"
    WITHHOLD = "withhold"
    ESCALATE = "escalate"


UNCLEAR = "unclear"
"""The reason of a held message whose verdict names none."""

DECISION_REASONS = ("unkind", "personal", "unsafe", "mistake", "other")

NO_ADULT = "no_adult_on_duty"
OUTSIDE_HOURS = "outside_hours"
CLOSED_BY_STAFF = "closed_by_staff"
PAUSED_BY_STAFF = "paused_by_staff"
"""Stable words of `site.why`, `paused.why` and `ended.why`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who acts: an authenticated member on one signed-in session."""

    member: str
    role: Role
    site: str
    token: str  # the session's id, never the token itself
    name: str | None  # staff's display name; pupils and mentors have none here


STAFF = frozenset({Role.MODERATOR, Role.ADULT, Role.COORDINATOR})
