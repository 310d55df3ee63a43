"""Rule 9 at large: thousands of alerts, two workers that are cut off at any moment, a store that fails.

Everything follows from one seed. A failure prints it; PEERCHAT_SIM_SEED=<seed> plays it again.
"""

import asyncio
import os
import random
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from escalation.alert import AlertState, acted, closed
from escalation.desk import Desk
from escalation.ladder import Step
from moderation.verdict import Risk
from tests.escalation.shelf import Channel, Shelf
from tests.escalation.virtual import run

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
ALERTS = 2_000
HOURS = 1
OVERDUE = timedelta(seconds=10)
"""Rule 9: while a worker lives, an alert is at most so much overdue."""


def seeds() -> list[int]:
    """Return a new seed, or the one that was asked for."""
    return [int(os.environ.get("PEERCHAT_SIM_SEED") or secrets.randbelow(2**32))]


@dataclass
class Story:
    """One run: what happens is drawn from `rng`, in the order of virtual time."""

    rng: random.Random
    shelf: Shelf
    healthy_since: float = 0.0
    told: dict[str, int] = field(default_factory=dict)
    worst: timedelta = timedelta(0)
    crashes: int = 0
    raised: set[str] = field(default_factory=set)

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    async def worker(self) -> None:
        """Work, be cut off at any moment, stay away for a while, and come again."""
        loop = asyncio.get_running_loop()
        while loop.time() < HOURS * 3600:
            channels = [Counting(self, c, takes_s=self.rng.uniform(0, 0.5)) for c in self.shelf.channels]
            task = asyncio.create_task(Desk(self.shelf, channels, clock=self.shelf.clock).run())
            self.alive += 1
            if self.alive == 1:
                self.healthy_since = loop.time()
            await asyncio.sleep(self.rng.expovariate(1 / 300))
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            self.crashes += 1
            self.alive -= 1
            await asyncio.sleep(self.rng.choice([0.0, 5.0, 60.0]))
        self.alive += 1  # at the end both are there
        if self.alive == 1:
            self.healthy_since = loop.time()
        channels = [Counting(self, c) for c in self.shelf.channels]
        await Desk(self.shelf, channels, clock=self.shelf.clock).run()

    alive: int = 0

    async def store(self) -> None:
        """Break now and then."""
        while self.now() < HOURS * 3600:
            await asyncio.sleep(self.rng.expovariate(1 / 600))
            self.shelf.broken = True
            await asyncio.sleep(self.rng.uniform(0, 60))
            self.shelf.broken = False
            self.healthy_since = self.now()

    async def people(self) -> None:
        """Raise, add to, take on, act on and close alerts."""
        every = HOURS * 3600 / ALERTS
        for n in range(ALERTS):
            await asyncio.sleep(self.rng.expovariate(1 / every))
            id = f"{n:05}"
            self.shelf.raised(id, self.rng.choice([Risk.CONCERN, Risk.HIGH, Risk.IMMEDIATE]))
            self.raised.add(id)
            asyncio.get_running_loop().call_later(self.rng.expovariate(1 / 400), self.touch, id)

    def touch(self, id: str) -> None:
        """Let somebody do something about an alert, and maybe something more later."""
        alert = self.shelf.alerts[id]
        now = self.shelf.clock()
        if alert.state is AlertState.CLOSED:
            return
        match self.rng.random():
            case x if x < 0.2:
                self.shelf.fold(id, self.rng.choice(list(Risk)[1:]))
            case x if x < 0.7 and alert.state.unanswered:
                self.shelf.acknowledge(id, by=self.rng.choice(["one", "two"]))
            case x if x < 0.8 and not alert.state.unanswered:
                self.shelf.put(acted(alert, by="one", now=now))
            case x if x < 0.95 and not alert.state.unanswered:
                by = self.rng.choice(["one", "two"])
                done = closed(alert, by=by, outcome="safe", rationale="x", version=None, undecided=0, now=now)
                self.shelf.put(done)
        asyncio.get_running_loop().call_later(self.rng.expovariate(1 / 400), self.touch, id)

    async def auditor(self) -> None:
        """Look every second: what is unanswered is due, and not overdue for longer than the rule allows."""
        while True:
            await asyncio.sleep(1.0)
            self.check()

    def check(self) -> None:
        now = self.shelf.clock()
        assert len(self.shelf.alerts) == len(self.raised), "an alert is lost"
        healthy = self.alive > 0 and not self.shelf.broken
        since = max(now - timedelta(seconds=self.now() - self.healthy_since), START)
        for alert in self.shelf.active.values():
            due = alert.next_due_at
            if due is not None and (due >= now or not healthy):
                continue
            if not alert.state.unanswered:
                continue
            assert due is not None, f"{alert.id} is forgotten"
            late = now - max(due, since)
            self.worst = max(self.worst, late)
            assert late <= OVERDUE, f"{alert.id} is {late} overdue"


class Counting(Channel):
    """A channel that counts what it sent."""

    def __init__(self, story: Story, channel: str, *, takes_s: float = 0.0) -> None:
        super().__init__(story.shelf, channel, takes_s=takes_s)
        self.story = story

    async def notify(self, step: Step) -> bool:
        ok = await super().notify(step)
        self.story.told[step.alert.id] = self.story.told.get(step.alert.id, 0) + 1
        return ok


async def play(seed: int) -> Story:
    loop = asyncio.get_running_loop()
    shelf = Shelf(lambda: START + timedelta(seconds=loop.time()), channels=("in_app", "sms"))
    story = Story(random.Random(seed), shelf)
    people = asyncio.create_task(story.people())
    tasks = [asyncio.create_task(t) for t in (story.worker(), story.worker(), story.store(), story.auditor())]
    end = asyncio.create_task(asyncio.sleep(HOURS * 3600 + 120))
    for part in (end, people, asyncio.sleep(30)):
        until = asyncio.ensure_future(part)
        done, _ = await asyncio.wait([until, *tasks[:2], tasks[3]], return_when=asyncio.FIRST_COMPLETED)
        for task in done - {until}:
            task.result()
    story.check()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return story


@pytest.mark.parametrize("seed", seeds(), ids=["seed"])
def test_rule_09_none_is_lost_none_forgotten_none_long_overdue(seed):
    """Whatever is cut off when: every alert is told, and within ten seconds of when it was due."""
    try:
        story = run(play(seed))
        untold = {a.id for a in story.shelf.alerts.values() if not story.told.get(a.id)}
        never = {id for id in untold if story.shelf.alerts[id].state.unanswered}
        assert not never, f"never told: {sorted(never)[:5]}"
        assert len(story.raised) == ALERTS and story.crashes > 10
    except BaseException:
        print(f"\nplay it again: PEERCHAT_SIM_SEED={seed}")
        raise
