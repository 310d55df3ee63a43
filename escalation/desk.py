"""The loop that does not rest: takes due alerts, tells, and climbs. Never on the message path.

Timers are rows in the store, so whatever is overdue at start is told first, and a crash between the commit
and the telling repeats the telling rather than losing it.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

from escalation.ladder import Step
from escalation.notify import AlertStore, Notifier

log = logging.getLogger(__name__)

SWEEP_S = 2.0
"""How often the store is asked, at least; rule 9 allows 10 s."""

BATCH = 100
AT_ONCE = 16
"""Tellings that one channel may have under way."""

NOTIFY_TIMEOUT_S = 8.0


class Desk:
    """Run one worker; several processes may each run one over the same store."""

    def __init__(
        self,
        store: AlertStore,
        notifiers: Sequence[Notifier],
        *,
        clock: Callable[[], datetime],
        sweep_s: float = SWEEP_S,
    ) -> None:
        self._store = store
        self._notifiers = notifiers
        self._clock = clock
        self._sweep_s = sweep_s
        self._woken = asyncio.Event()
        self.last_sweep_at: datetime | None = None
        self.failures = 0

    def wake(self) -> None:
        """Say that an alert may be due now."""
        self._woken.set()

    async def run(self) -> None:
        """Work until cancelled. A failure is counted, logged by its kind, and tried again."""
        async with asyncio.TaskGroup() as tasks:
            lanes = [_Lane(notifier, self._tell) for notifier in self._notifiers]
            for lane in lanes:
                tasks.create_task(lane.run(), name=f"lane-{lane.channel}")
            while True:
                self._woken.clear()
                wait = await self._round(lanes)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(max(wait, 0.01)):
                        await self._woken.wait()

    async def _round(self, lanes: Sequence["_Lane"]) -> float:
        """Hand on what is due; return how long nothing more is."""
        try:
            while steps := await self._take():
                for lane in lanes:
                    lane.offer(steps)
            due = await self._store.next_due()
        except Exception as error:  # the desk outlives every failure: it tries again until a person has it
            self.failures += 1
            log.error("desk sweep failed: %s", type(error).__name__)
            return min(self._sweep_s, 0.5)
        if due is None:
            return self._sweep_s
        return min(self._sweep_s, max(0.0, (due - self._clock()).total_seconds()))

    async def sweep(self) -> int:
        """Tell what is due now, once, and wait for it; return how many alerts were due."""
        steps = await self._take()
        told = [(n, step) for n in self._notifiers for step in steps if n.channel in step.attempts]
        await asyncio.gather(*(self._tell(notifier, step) for notifier, step in told))
        return len(steps)

    async def _take(self) -> Sequence[Step]:
        steps = await self._store.take_due(limit=BATCH)
        self.last_sweep_at = self._clock()
        return steps

    async def _tell(self, notifier: Notifier, step: Step) -> None:
        ok = False
        try:
            async with asyncio.timeout(NOTIFY_TIMEOUT_S):
                ok = await notifier.notify(step)
        except Exception as error:  # one dead channel must not stop the others, nor the ladder
            self.failures += 1
            log.error("channel %s failed: %s", notifier.channel, type(error).__name__)
        await self._record(step, notifier.channel, ok)

    async def _record(self, step: Step, channel: str, ok: bool) -> None:
        try:
            await self._store.told(step, channel=channel, ok=ok)
        except Exception as error:  # the attempt's row is there already; its outcome stays unknown
            self.failures += 1
            log.error("outcome of an attempt was not recorded: %s", type(error).__name__)


class _Lane:
    """One channel's tellings: the most severe first, several at once, apart from every other channel.

    An alert waits at most once; a newer telling of it takes the place of the older. So what waits is bounded
    by the open alerts, however long a channel hangs.
    """

    def __init__(self, notifier: Notifier, tell: Callable[[Notifier, Step], Awaitable[None]]) -> None:
        self.channel = notifier.channel
        self._notifier = notifier
        self._tell = tell
        self._waiting: dict[str, Step] = {}
        self._ready = asyncio.Event()
        self._slots = asyncio.Semaphore(AT_ONCE)

    def offer(self, steps: Sequence[Step]) -> None:
        """Queue the tellings that this channel has an attempt for; never waits."""
        self._waiting |= {step.alert.id: step for step in steps if self.channel in step.attempts}
        self._ready.set()

    async def run(self) -> None:
        """Tell until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._slots.acquire()
                while not self._waiting:
                    self._ready.clear()
                    await self._ready.wait()
                worst = max(self._waiting.values(), key=lambda step: step.alert.risk)
                tasks.create_task(self._one(self._waiting.pop(worst.alert.id)))

    async def _one(self, step: Step) -> None:
        try:
            await self._tell(self._notifier, step)
        finally:
            self._slots.release()
