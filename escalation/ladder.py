"""Rungs and timers, pure: who is told now, and when the next telling is due. The ladder has no end."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time, timedelta, tzinfo
from itertools import pairwise
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from escalation.alert import ACKNOWLEDGEMENT_LEASE, Alert, AlertState
from moderation.verdict import Risk

MINUTE = timedelta(minutes=1)


class Audience(enum.StrEnum):
    """Who is told on a rung; each includes those before it."""

    ON_DUTY = "on_duty"
    DEPUTIES = "deputies"
    ALL_ADULTS = "all_adults"
    OUT_OF_BAND = "out_of_band"


AUDIENCES = tuple(Audience)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """When each rung begins, counted from the start of notifying; after the last it repeats for ever."""

    rungs: tuple[timedelta, ...]
    repeat: timedelta

    def __post_init__(self) -> None:
        if not self.rungs or self.rungs[0] or list(self.rungs) != sorted(set(self.rungs)):
            raise ValueError("rungs begin at 0 and rise")
        if self.repeat <= timedelta(0):
            raise ValueError("a ladder repeats after a time above 0")

    def rung_at(self, elapsed: timedelta) -> int:
        """Return the highest rung that has begun."""
        return max(n for n, begins in enumerate(self.rungs) if begins <= max(elapsed, timedelta(0)))

    def begins(self, rung: int) -> timedelta:
        """Return when a rung begins."""
        return self.rungs[min(rung, len(self.rungs) - 1)]

    @property
    def longest(self) -> timedelta:
        """The longest time between two tellings."""
        return max(self.repeat, *(b - a for a, b in pairwise(self.rungs)), timedelta(0))


IMMEDIATE = Ladder(rungs=(0 * MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE), repeat=5 * MINUTE)
HIGH = Ladder(rungs=(0 * MINUTE, 5 * MINUTE, 15 * MINUTE, 30 * MINUTE), repeat=15 * MINUTE)
DEFAULT_LADDERS: Mapping[Risk, Ladder] = {Risk.IMMEDIATE: IMMEDIATE, Risk.HIGH: HIGH, Risk.CONCERN: HIGH}


def restarted(
    alert: Alert, risk: Risk, now: datetime, *, ladders: Mapping[Risk, Ladder] = DEFAULT_LADDERS
) -> datetime:
    """Return the ladder's clock for an alert that notifies again now, at the rung it had reached.

    A concern keeps its clock: its times are those of school days.
    """
    if risk is Risk.CONCERN:
        return alert.notifying_since
    return now - ladders[risk].begins(alert.rung)


CONCERN_HORIZON = timedelta(days=7)
"""A concern is told at least so often, whatever the calendar says."""


def horizon(
    risk: Risk,
    *,
    unanswered: bool,
    ladders: Mapping[Risk, Ladder] = DEFAULT_LADDERS,
    lease: timedelta = ACKNOWLEDGEMENT_LEASE,
) -> timedelta:
    """Return how far ahead a due time can lie. One that lies further was set under a wrong clock.

    `lease` is how long an acknowledgement without an action holds.
    """
    if not unanswered:
        return lease
    return CONCERN_HORIZON if risk is Risk.CONCERN else ladders[risk].longest


def steadied(
    alert: Alert,
    *,
    now: datetime,
    ladders: Mapping[Risk, Ladder] = DEFAULT_LADDERS,
    lease: timedelta = ACKNOWLEDGEMENT_LEASE,
) -> Alert:
    """Return the alert as it would be had the clock always been right.

    A clock that was put back must not make an alert wait for hours: unanswered, it is due now, at the rung it
    had reached; taken on, its lease runs from now at the longest.
    """
    due = alert.next_due_at
    unanswered = alert.state.unanswered
    if due is None or due <= now + horizon(alert.risk, unanswered=unanswered, ladders=ladders, lease=lease):
        return alert
    if alert.state.unanswered:
        since = alert.notifying_since
        since = restarted(alert, alert.risk, now, ladders=ladders) if since > now else since
        return replace(alert, next_due_at=now, notifying_since=min(since, now))
    until = now + lease if alert.state is AlertState.ACKNOWLEDGED else None
    return replace(alert, next_due_at=until or now, lapses_at=until)


@dataclass(frozen=True, slots=True, kw_only=True)
class SchoolDay:
    """When concerns are read: a digest at the end of the day, and what is unread climbs next morning."""

    timezone: str = "Europe/London"
    digest_at: time = time(15, 30)
    morning_at: time = time(8, 30)

    def next_digest(self, now: datetime) -> datetime:
        """Return the next end of a school day (Monday to Friday), strictly after now."""
        return self._next(now, self.digest_at)

    def next_morning(self, now: datetime) -> datetime:
        """Return the next school morning, strictly after now."""
        return self._next(now, self.morning_at)

    def reads(self, raised: datetime) -> tuple[datetime | None, datetime]:
        """Return when a concern is read: that day's digest if it is still to come, and the morning after."""
        digest = self.next_digest(raised)
        zone = self._zone()
        if digest.astimezone(zone).date() != raised.astimezone(zone).date():
            return None, self.next_morning(raised)
        return digest, self.next_morning(digest)

    def _zone(self) -> tzinfo:
        """Return the school's zone; an unknown one must not stop a ladder."""
        try:
            return ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError):
            return UTC

    def _next(self, now: datetime, at: time) -> datetime:
        zone = self._zone()
        local = now.astimezone(zone)
        day = local.date()
        while True:
            moment = datetime.combine(day, at, zone)
            if moment > local and day.weekday() < 5:
                return moment.astimezone(now.tzinfo)
            day += timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """The row of one telling by one channel, durable before anything is sent.

    A telling whose outcome is unknown is sent again, under an attempt of its own and with the same key: a
    receiver that knows the key may drop the double, and nobody may drop the first.
    """

    id: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One telling: the alert as it is after it, and who is told."""

    alert: Alert
    audience: Audience
    first: bool
    risen: bool = False  # the rung is a new one
    repeat: bool = False  # the telling before it failed, or nobody knows how it went
    loud: bool = False  # somebody left or was lost: heard by every kind of channel, even if somebody has it
    attempts: Mapping[str, Attempt] = field(default_factory=dict)  # by channel


def step(
    alert: Alert,
    *,
    now: datetime,
    ladders: Mapping[Risk, Ladder] = DEFAULT_LADDERS,
    day: SchoolDay | None = None,
) -> Step | None:
    """Return what a due alert asks for, or None when nothing is due.

    The rung is the greater of the one reached and the one that the clock says: after a time without a
    worker the ladder goes on where it should be. An alert that somebody has is told to that audience again
    and keeps its state.
    """
    if alert.state is AlertState.CLOSED or alert.next_due_at is None or alert.next_due_at > now:
        return None
    first = alert.state is AlertState.OPEN
    if not alert.state.unanswered:
        due = alert.lapses_at if alert.state is AlertState.ACKNOWLEDGED else None
        return Step(alert=replace(alert, next_due_at=due), audience=Audience.ON_DUTY, first=False)
    ladder = ladders[alert.risk]
    if alert.risk is Risk.CONCERN:
        return _concern(alert, now=now, ladder=ladder, day=day or SchoolDay(), first=first)
    elapsed = now - alert.notifying_since
    rung = max(alert.rung, ladder.rung_at(elapsed))
    following = [
        alert.notifying_since + b for b in ladder.rungs[rung + 1 :] if alert.notifying_since + b > now
    ]
    due = following[0] if following else now + ladder.repeat
    return _told(alert, rung=rung, due=min(due, now + ladder.longest), first=first)


def repeated(alert: Alert) -> Step:
    """Return the last telling once more: its outcome is unknown, or it failed."""
    return Step(alert=alert, audience=_audience(alert.rung), first=False, repeat=True)


def _concern(alert: Alert, *, now: datetime, ladder: Ladder, day: SchoolDay, first: bool) -> Step:
    """A concern is listed at once without alarm, read by the end of the day, and climbs from next morning."""
    digest, morning = day.reads(alert.notifying_since)
    rung = alert.rung
    if digest is not None and now < digest:
        due = digest
    elif now < morning:
        due = morning
    else:
        rung = max(rung, ladder.rung_at(now - morning))
        following = [morning + b for b in ladder.rungs[rung + 1 :] if morning + b > now]
        due = following[0] if following else now + ladder.repeat
    return _told(alert, rung=rung, due=min(due, now + CONCERN_HORIZON), first=first)


def _told(alert: Alert, *, rung: int, due: datetime, first: bool) -> Step:
    version = alert.version + (rung != alert.rung)
    told = replace(alert, state=AlertState.NOTIFYING, rung=rung, next_due_at=due, version=version)
    return Step(alert=told, audience=_audience(rung), first=first, risen=rung != alert.rung)


def _audience(rung: int) -> Audience:
    return AUDIENCES[min(rung, len(AUDIENCES) - 1)]
