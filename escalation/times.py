"""The times of a site, pure: how fast its ladders climb, how long duty holds, when it warns of closing.

A site keeps only what it has otherwise than the defaults (docs/operators.md), under the names of `NAMES`.
`changed` is strict and names what is wrong; `times_of` is not: a stored value that makes no sense is the
default again, for no setting may stop a ladder.
"""

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import time, timedelta

from escalation.alert import ACKNOWLEDGEMENT_LEASE
from escalation.duty import CLOSING_WARNING, LEASE, LONGEST_LEASE, PHONE_LEASE
from escalation.ladder import AUDIENCES, HIGH, IMMEDIATE, Ladder, SchoolDay
from moderation.verdict import Risk

log = logging.getLogger(__name__)

Written = int | str | list[int]
"""A time as settings and the database have it."""

MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)


class BadTime(ValueError):
    """A time that cannot be; names it, and says what can."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """What a site may set of its times; the defaults are the design's."""

    immediate: Ladder = IMMEDIATE
    high: Ladder = HIGH
    acknowledgement: timedelta = ACKNOWLEDGEMENT_LEASE
    digest_at: time = SchoolDay().digest_at
    morning_at: time = SchoolDay().morning_at
    page_lease: timedelta = LEASE
    phone_lease: timedelta = PHONE_LEASE
    closing_warning: timedelta = CLOSING_WARNING

    @property
    def ladders(self) -> Mapping[Risk, Ladder]:
        """The ladder of each severity; a concern that nobody read takes those of high."""
        return {Risk.IMMEDIATE: self.immediate, Risk.HIGH: self.high, Risk.CONCERN: self.high}

    def day(self, timezone: str) -> SchoolDay:
        """Return when concerns are read, by a site's own clock."""
        return SchoolDay(timezone=timezone, digest_at=self.digest_at, morning_at=self.morning_at)


DEFAULTS = Times()


def times_of(stored: Mapping[str, object]) -> Times:
    """Return the times that a site has stored. Never raises: what makes no sense is the default."""
    try:
        return _times({**written(DEFAULTS), **stored})
    except BadTime:
        pass
    kept: dict[str, object] = {}
    for name, value in stored.items():  # one by one: what is wrong with one is not the others' fault
        try:
            _times({**written(DEFAULTS), **kept, name: value})
            kept[name] = value
        except BadTime:
            log.error("a stored time of a site makes no sense; the default holds instead")
    return _times({**written(DEFAULTS), **kept})


def changed(stored: Mapping[str, object], changes: Mapping[str, object]) -> dict[str, Written]:
    """Return what is to be stored after some changes; None sets one back to its default.

    Raises `BadTime`, and then nothing is to be changed.
    """
    merged = {**written(times_of(stored)), **{k: v for k, v in changes.items() if v is not None}}
    merged |= {k: written(DEFAULTS)[_known(k)] for k, v in changes.items() if v is None}
    after = written(_times(merged))
    return {name: value for name, value in after.items() if value != written(DEFAULTS)[name]}


def written(times: Times) -> dict[str, Written]:
    """Return all times as settings have them."""
    return {name: each.write(times) for name, each in NAMES.items()}


@dataclass(frozen=True, slots=True)
class _Name:
    """How one time is written, read and bounded."""

    write: Callable[[Times], Written]
    read: Callable[[str, object], Written]


def _number(least: int, most: int) -> Callable[[str, object], int]:
    def read(name: str, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise BadTime(f"{name}: a whole number from {least} to {most}")
        return value

    return read


def _minutes(most: int) -> Callable[[str, object], list[int]]:
    def read(name: str, value: object) -> list[int]:
        whole = isinstance(value, list | tuple) and all(type(each) is int for each in value)
        found: list[int] = list(value) if whole else []  # type: ignore[call-overload]
        rising = found == sorted(set(found))
        if len(found) != len(AUDIENCES) or found[0] != 0 or not rising or found[-1] > most:
            raise BadTime(f"{name}: {len(AUDIENCES)} rising numbers of minutes, from 0, up to {most}")
        return found

    return read


def _clock(name: str, value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", value):
        raise BadTime(f"{name}: a time such as 15:30")
    return value


def _in(unit: timedelta, span: timedelta) -> int:
    return round(span / unit)


NAMES: Mapping[str, _Name] = {
    "immediate_minutes": _Name(lambda t: [_in(MINUTE, r) for r in t.immediate.rungs], _minutes(30)),
    "immediate_repeat_minutes": _Name(lambda t: _in(MINUTE, t.immediate.repeat), _number(1, 15)),
    "high_minutes": _Name(lambda t: [_in(MINUTE, r) for r in t.high.rungs], _minutes(120)),
    "high_repeat_minutes": _Name(lambda t: _in(MINUTE, t.high.repeat), _number(1, 60)),
    "acknowledgement_minutes": _Name(lambda t: _in(MINUTE, t.acknowledgement), _number(2, 30)),
    "digest_at": _Name(lambda t: f"{t.digest_at:%H:%M}", _clock),
    "morning_at": _Name(lambda t: f"{t.morning_at:%H:%M}", _clock),
    "page_lease_seconds": _Name(lambda t: _in(SECOND, t.page_lease), _number(60, 300)),
    "phone_minutes": _Name(lambda t: _in(MINUTE, t.phone_lease), _number(5, _in(MINUTE, LONGEST_LEASE))),
    "closing_warning_minutes": _Name(lambda t: _in(MINUTE, t.closing_warning), _number(1, 60)),
}
"""Every time that a site may set. A desk page renews every 30 s, so its lease is never under 60."""


def _known(name: str) -> str:
    if name not in NAMES:
        raise BadTime(f"{name}: no such time; there are {', '.join(NAMES)}")
    return name


def _times(given: Mapping[str, object]) -> Times:
    values = {_known(name): NAMES[name].read(name, value) for name, value in given.items()}
    times = Times(
        immediate=_ladder(values["immediate_minutes"], values["immediate_repeat_minutes"]),
        high=_ladder(values["high_minutes"], values["high_repeat_minutes"]),
        acknowledgement=_span(values["acknowledgement_minutes"], MINUTE),
        digest_at=time.fromisoformat(str(values["digest_at"])),
        morning_at=time.fromisoformat(str(values["morning_at"])),
        page_lease=_span(values["page_lease_seconds"], SECOND),
        phone_lease=_span(values["phone_minutes"], MINUTE),
        closing_warning=_span(values["closing_warning_minutes"], MINUTE),
    )
    slower = any(i > h for i, h in zip(times.immediate.rungs, times.high.rungs, strict=True))
    if slower or times.immediate.repeat > times.high.repeat:
        raise BadTime("immediate_minutes: an immediate alert never climbs more slowly than a high one")
    if times.morning_at >= times.digest_at:
        raise BadTime("digest_at: the end of the school day is after the morning")
    return times


def _ladder(rungs: Written, repeat: Written) -> Ladder:
    assert isinstance(rungs, list) and isinstance(repeat, int)
    return Ladder(rungs=tuple(n * MINUTE for n in rungs), repeat=repeat * MINUTE)


def _span(number: Written, unit: timedelta) -> timedelta:
    assert isinstance(number, int)
    return number * unit
