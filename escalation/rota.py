"""Who should be on duty when, pure: a weekly pattern, exceptions to it, holidays, and a school's own clock.

A rota says who is expected. It never stands in for an adult: only a lease that somebody keeps up counts as
duty (`escalation.duty`). What it finds are gaps, before they are there.

Times are those of the clock on the school's wall. Where that clock is put forward or back, a turn reaches
from the first moment at which it says the beginning to the last at which it says the end: two turns that meet
on the wall never leave a gap between them.
"""

import enum
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

DAY = timedelta(days=1)

HORIZON = timedelta(days=28)
"""How far ahead gaps are looked for."""

EARLY = timedelta(hours=1)
"""Who gets ready for a turn does it at most so long before."""


class Part(enum.StrEnum):
    """What somebody is down for."""

    DUTY = "duty"
    DEPUTY = "deputy"


class Kind(enum.StrEnum):
    """What an exception to the pattern is."""

    HOLIDAY = "holiday"
    """The school is closed: no opening hours and no turns on these days."""

    AWAY = "away"
    """One adult is not there, whatever the pattern says."""

    EXTRA = "extra"
    """One adult is there besides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """From a moment to before another; both in UTC."""

    begin: datetime
    end: datetime

    def __contains__(self, at: datetime) -> bool:
        return self.begin <= at < self.end


@dataclass(frozen=True, slots=True, kw_only=True)
class Hours:
    """The same hours on some days of every week, 0 for Monday. An end that is not later is the next day's."""

    days: frozenset[int]
    begin: time
    end: time

    def __post_init__(self) -> None:
        if not self.days or not self.days <= frozenset(range(7)):
            raise ValueError("days are numbers from 0 (Monday) to 6")
        if self.begin.tzinfo or self.end.tzinfo:
            raise ValueError("hours are those of the school's own clock")


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One adult's place in the weekly pattern, from `first` to `last` where these are given."""

    id: str
    member: str
    part: Part
    hours: Hours
    first: date | None = None
    last: date | None = None

    def on(self, day: date) -> bool:
        """Return whether a turn begins on a day."""
        begun = self.first is None or self.first <= day
        return begun and (self.last is None or day <= self.last) and day.weekday() in self.hours.days


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """An exception on the days from `first` to `last`; without hours it is for the whole of them."""

    id: str
    kind: Kind
    first: date
    last: date
    member: str | None = None
    part: Part = Part.DUTY
    begin: time | None = None
    end: time | None = None

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise ValueError("an exception ends on the day it begins, or later")
        if (self.kind is Kind.HOLIDAY) != (self.member is None):
            raise ValueError("a holiday is nobody's; any other exception is one adult's")
        if (self.begin is None) != (self.end is None) or (self.kind is Kind.HOLIDAY and self.begin):
            raise ValueError("an exception has both of its hours, or none; a holiday has none")


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One adult, expected for one span."""

    member: str
    part: Part
    span: Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Rota:
    """A site's rota. `hours` are its opening hours; without any, it is open whenever somebody is on duty."""

    timezone: str
    turns: tuple[Turn, ...] = ()
    changes: tuple[Change, ...] = ()
    hours: tuple[Hours, ...] = ()

    def on_rota(self, at: datetime) -> list[Slot]:
        """Return who is expected at a moment, whose slot began first comes first."""
        return [slot for slot in self.slots(at, at + timedelta(microseconds=1)) if at in slot.span]

    def slots(self, begin: datetime, end: datetime) -> list[Slot]:
        """Return every slot that touches a period, whole, by their beginnings."""
        found: list[Slot] = []
        for day in self._days(begin, end):
            if self.is_holiday(day):
                continue
            for turn in self.turns:
                if turn.on(day):
                    span = self._span(day, turn.hours.begin, turn.hours.end)
                    found += self._without_absence(turn.member, turn.part, span)
            for change in self.changes:
                if change.kind is Kind.EXTRA and change.first <= day <= change.last and change.member:
                    span = self._span(day, change.begin or time.min, change.end or time.min)
                    found += self._without_absence(change.member, change.part, span)
        touching = [slot for slot in found if slot.span.begin < end and slot.span.end > begin]
        return sorted(touching, key=lambda slot: (slot.span.begin, slot.span.end, slot.member, slot.part))

    def opening(self, begin: datetime, end: datetime) -> list[Span]:
        """Return the opening hours that touch a period, joined where they meet."""
        spans = [
            self._span(day, hours.begin, hours.end)
            for day in self._days(begin, end)
            if not self.is_holiday(day)
            for hours in self.hours
            if day.weekday() in hours.days
        ]
        return [span for span in joined(spans) if span.begin < end and span.end > begin]

    def next_gap(self, now: datetime, *, within: timedelta = HORIZON) -> Span | None:
        """Return the first time from now on at which it is open and nobody is down for duty, or None.

        A site without opening hours is closed wherever nobody is on duty, so it has no gaps.
        """
        end = now + within
        covered = joined(s.span for s in self.slots(now, end) if s.part is Part.DUTY)
        for span in self.opening(now, end):
            wanted = Span(begin=max(span.begin, now), end=min(span.end, end))
            for gap in without(wanted, covered):
                return gap
        return None

    def closes(self, now: datetime) -> datetime | None:
        """Return when the opening hours of this moment end; None where it is closed, or has no hours."""
        return next((span.end for span in self.opening(now, now + DAY) if now in span), None)

    def shift_began(self, member: str, at: datetime) -> datetime:
        """Return when an adult's shift began: an hour before the turn they are in, or with the day."""
        mine = [slot.span.begin for slot in self.on_rota(at) if slot.member == member]
        if mine:
            return min(mine) - EARLY
        zone = zone_of(self.timezone)
        return moment(at.astimezone(zone).date(), time.min, zone)

    def is_holiday(self, day: date) -> bool:
        """Return whether the school is closed on a day."""
        return any(c.kind is Kind.HOLIDAY and c.first <= day <= c.last for c in self.changes)

    def _without_absence(self, member: str, part: Part, span: Span) -> Iterator[Slot]:
        """Yield what is left of a slot where the adult is away for some of it."""
        away = []
        for change in self.changes:
            if change.kind is Kind.AWAY and change.member == member:
                for day in self._days(span.begin, span.end):
                    if change.first <= day <= change.last:
                        away.append(self._span(day, change.begin or time.min, change.end or time.min))
        for left in without(span, joined(away)):
            yield Slot(member=member, part=part, span=left)

    def _days(self, begin: datetime, end: datetime) -> Iterator[date]:
        """Yield the days on which something that touches a period can begin."""
        zone = zone_of(self.timezone)
        day, last = begin.astimezone(zone).date() - DAY, end.astimezone(zone).date()
        while day <= last:
            yield day
            day += DAY

    def _span(self, day: date, begin: time, end: time) -> Span:
        zone = zone_of(self.timezone)
        return Span(
            begin=moment(day, begin, zone),
            end=moment(day if begin < end else day + DAY, end, zone, last=True),
        )


def moment(day: date, at: time, zone: tzinfo, *, last: bool = False) -> datetime:
    """Return when a school's clock says a time on a day, in UTC.

    Where it says so twice, the first of the two, or the last. Where it never does, because the clock is put
    forward over it, the moment at which that happens.
    """
    wall = datetime.combine(day, at)
    early, late = sorted(wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if early.astimezone(zone).replace(tzinfo=None) == wall:
        return late if last else early
    after = late.astimezone(zone).utcoffset()
    while late - early > timedelta(seconds=1):  # zones change on whole seconds
        middle = early + (late - early) // 2
        early, late = (early, middle) if middle.astimezone(zone).utcoffset() == after else (middle, late)
    return late.replace(microsecond=0)


def zone_of(name: str) -> tzinfo:
    """Return a zone by its name; an unknown one must stop nothing, so UTC then."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC


def joined(spans: Iterable[Span]) -> list[Span]:
    """Return the same time as spans that neither meet nor overlap, in order."""
    found: list[Span] = []
    for span in sorted((s for s in spans if s.begin < s.end), key=lambda s: (s.begin, s.end)):
        if found and span.begin <= found[-1].end:
            found[-1] = Span(begin=found[-1].begin, end=max(found[-1].end, span.end))
        else:
            found.append(span)
    return found


def without(span: Span, taken: Collection[Span]) -> list[Span]:
    """Return what is left of a span without others, which are in order and do not overlap."""
    left, begin = [], span.begin
    for other in taken:
        if other.end <= begin or other.begin >= span.end:
            continue
        if begin < other.begin:
            left.append(Span(begin=begin, end=other.begin))
        begin = other.end
    if begin < span.end:
        left.append(Span(begin=begin, end=span.end))
    return left
