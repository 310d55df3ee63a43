"""What the desk needs from outside: where alerts are kept, and what tells people."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from escalation.alert import Alert
from escalation.ladder import Step


class AlertStore(Protocol):
    """Alerts and attempts, durable."""

    async def take_due(self, *, limit: int) -> Sequence[Step]:
        """Advance up to `limit` due alerts, and return what must be told.

        Each alert's new state and one attempt row per telling are committed before this returns, so a telling
        whose outcome is unknown is due again, and never forgotten. An acknowledgement that ran out lapses
        here. Two workers never take the same alert.
        """
        ...

    async def told(self, alert: Alert, *, channel: str, ok: bool) -> None:
        """Record how a telling went."""
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
