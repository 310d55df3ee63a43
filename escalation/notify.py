"""What the desk needs from outside: where alerts are kept, and what tells people."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from escalation.ladder import Step


class AlertStore(Protocol):
    """Alerts and attempts, durable."""

    async def take_due(self, *, limit: int) -> Sequence[Step]:
        """Advance up to `limit` due alerts, and return what must be told.

        Each alert's new state and one attempt row per telling are committed before this returns. That row is
        a lease too: until its outcome is known or the lease runs out, no other worker takes the alert; then
        any of them does, and the telling is repeated. So what a dead worker had taken is told by another, and
        never forgotten. An acknowledgement that ran out lapses here. Two workers never take the same alert.
        """
        ...

    async def told(self, step: Step, *, channel: str, ok: bool) -> None:
        """Record how the step's attempt by a channel went. A late answer counts for that attempt alone."""
        ...

    async def next_due(self) -> datetime | None:
        """Return when the next alert is due, or None."""
        ...


class Notifier(Protocol):
    """Tells people that an alert needs them: no text and no name leaves by it."""

    channel: str

    async def notify(self, step: Step) -> bool:
        """Tell the step's audience. Returns whether the channel took it; raises nothing it can foresee."""
        ...
