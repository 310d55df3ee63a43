"""The two ports of the desk, as fakes that keep their contract: a durable shelf of alerts, and channels."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from escalation.alert import Alert, AlertState, Concern, acknowledged, folded, lapsed, opened, overdue
from escalation.ladder import Attempt, Step, repeated, restarted, step
from moderation.verdict import Risk, Role

AGAIN = timedelta(seconds=10)
"""A telling whose outcome is still unknown after this time is due again: `AlertStore.take_due`."""


@dataclass(slots=True)
class Row:
    """One attempt. `outcome` is None while it is unknown."""

    alert: str
    channel: str
    rung: int
    at: datetime
    outcome: bool | None = None


@dataclass
class Shelf:
    """An `AlertStore` in memory. What it holds outlives every worker, as rows do."""

    clock: Callable[[], datetime]
    channels: Sequence[str] = ("in_app",)
    broken: bool = False
    alerts: dict[str, Alert] = field(default_factory=dict)
    active: dict[str, Alert] = field(default_factory=dict)
    attempts: list[Row] = field(default_factory=list)
    asked: int = 0
    unknown: dict[tuple[str, str], Row] = field(default_factory=dict)

    def put(self, alert: Alert) -> Alert:
        self.alerts[alert.id] = alert
        self.active[alert.id] = alert
        if alert.state is AlertState.CLOSED:
            del self.active[alert.id]
        return alert

    def raised(self, id: str, risk: Risk, *, about: str = "pupil") -> Alert:
        return self.put(
            opened(concern(risk, about=about), id=id, site="s", conversation=id, now=self.clock())
        )

    def fold(self, id: str, risk: Risk) -> Alert:
        return self.put(folded(self.alerts[id], concern(risk), now=self.clock(), restart=restarted))

    def acknowledge(self, id: str, *, by: str = "adult") -> Alert:
        return self.put(acknowledged(self.alerts[id], by=by, now=self.clock()))

    async def take_due(self, *, limit: int) -> Sequence[Step]:
        self.asked += 1
        await asyncio.sleep(0.001)  # the commit
        if self.broken:
            raise OSError("disk")
        now = self.clock()
        steps = []
        for alert in overdue(self.active.values(), now=now)[:limit]:
            if alert.lapses_at is not None and alert.lapses_at <= now:
                alert = lapsed(alert, now=now, restart=restarted)
            found = step(alert, now=now)
            if found is not None:
                steps.append(found)
        taken = {s.alert.id for s in steps}
        for (id, _), row in list(self.unknown.items()):
            lost = self.active.get(id)
            if id not in taken and lost is not None and lost.state.unanswered and row.at + AGAIN <= now:
                taken.add(id)
                steps.append(repeated(lost))
        for n, found in enumerate(steps):
            self.put(found.alert)
            ids = {channel: f"{found.alert.id} {channel} {len(self.attempts)}" for channel in self.channels}
            steps[n] = replace(found, attempts={c: Attempt(id=id, key=id) for c, id in ids.items()})
            for channel in self.channels:
                row = Row(found.alert.id, channel, found.alert.rung, now)
                self.attempts.append(row)
                self.unknown[row.alert, channel] = row
        return steps

    async def told(self, step: Step, *, channel: str, ok: bool) -> None:
        await asyncio.sleep(0)
        if self.broken:
            raise OSError("disk")
        row = self.unknown.pop((step.alert.id, channel), None)
        if row is not None:
            row.outcome = ok

    async def next_due(self) -> datetime | None:
        if self.broken:
            raise OSError("disk")
        return min((a.next_due_at for a in self.active.values() if a.next_due_at is not None), default=None)


def concern(risk: Risk, *, about: str = "pupil", asks_again: bool = False) -> Concern:
    return Concern(
        about=about, about_role=Role.PUPIL, risk=risk, labels=("self_harm",), asks_again=asks_again
    )


class Channel:
    """A `Notifier` that keeps what it sent; it may take a time, hang, fail, or say no."""

    def __init__(
        self,
        shelf: Shelf,
        channel: str = "in_app",
        *,
        takes_s: float = 0.0,
        hangs: bool = False,
        raises: bool = False,
        ok: bool = True,
    ) -> None:
        self.shelf = shelf
        self.channel = channel
        self.takes_s = takes_s
        self.hangs = hangs
        self.raises = raises
        self.ok = ok
        self.sent: list[tuple[datetime, Step]] = []

    async def notify(self, step: Step) -> bool:
        written = (step.alert.id, self.channel) in self.shelf.unknown
        assert written, "told before the attempt was written"
        if self.hangs:
            await asyncio.get_running_loop().create_future()
        if self.raises:
            raise RuntimeError("no line")
        await asyncio.sleep(self.takes_s)
        self.sent.append((self.shelf.clock(), step))
        return self.ok
