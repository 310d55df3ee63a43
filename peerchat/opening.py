"""Whether a site is open, and if not, why and until when. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time
from typing import Any
from zoneinfo import ZoneInfo

from escalation.rota import HORIZON, Change, Hours, Rota
from peerchat.model import CLOSED_BY_STAFF, NO_ADULT, OUTSIDE_HOURS


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """Is it open? `why` is a stable word of the protocol when it is not. `closes` is when its hours end."""

    open: bool
    why: str | None = None
    next_open: datetime | None = None
    closes: datetime | None = None


def opening(
    *,
    hours: Sequence[dict[str, Any]],
    timezone: str,
    closed_by_staff: bool,
    covered: bool,
    now: datetime,
    holidays: Sequence[Change] = (),
) -> Opening:
    """Return whether a site is open at a moment.

    `hours` are rows {"days": [0..6], "from": "HH:MM", "to": "HH:MM"} in local time; none means always.
    `covered` says whether an adult holds duty (rule 12). On a holiday it is outside its hours.
    """
    if closed_by_staff:
        return Opening(open=False, why=CLOSED_BY_STAFF)
    closes = None
    if hours or holidays:
        rota = Rota(timezone=timezone, hours=hours_of(hours or ALWAYS), changes=tuple(holidays))
        closes = rota.closes(now)
        if closes is None:
            following = (span.begin for span in rota.opening(now, now + HORIZON) if span.begin > now)
            return Opening(open=False, why=OUTSIDE_HOURS, next_open=next(following, None))
    if not covered:
        return Opening(open=False, why=NO_ADULT)
    return Opening(open=True, closes=closes if hours else None)


ALWAYS = ({"days": range(7), "from": "00:00", "to": "00:00"},)
"""The hours of a site that has none: every day, round the clock."""


def hours_of(rows: Sequence[dict[str, Any]]) -> tuple[Hours, ...]:
    """Return opening hours as the rota has them; a row without days is none."""
    return tuple(
        Hours(days=frozenset(row["days"]), begin=_time(row["from"]), end=_time(row["to"]))
        for row in rows
        if row["days"]
    )


def next_open_text(opening: Opening, *, timezone: str, now: datetime) -> str | None:
    """Return when it opens again, in words, or None where nobody can say."""
    if opening.next_open is None:
        return None
    zone = ZoneInfo(timezone)
    local, moment = now.astimezone(zone), opening.next_open.astimezone(zone)
    days = (moment.date() - local.date()).days
    later = f"{moment:%A}" if days < 7 else f"{moment:%A} {moment.day} {moment:%B}"
    day = {0: "today", 1: f"tomorrow, {moment:%A},"}.get(days, later)
    return f"{day} at {_clock(moment.time())}"


def hours_text(hours: Sequence[dict[str, Any]]) -> str:
    """Return the opening hours in words."""
    if not hours:
        return "Open whenever an adult is on duty"
    names = ["Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays", "Sundays"]
    rows = []
    for row in hours:
        days = sorted(row["days"])
        if len(days) > 2 and days == list(range(days[0], days[-1] + 1)):
            when = f"{names[days[0]]} to {names[days[-1]]}"
        else:
            when = " and ".join(names[d] for d in days)
        rows.append(f"{when}, {_clock(_time(row['from']))} to {_clock(_time(row['to']))}")
    return "; ".join(rows)


def _time(text: str) -> time:
    return time.fromisoformat(text)


def _clock(moment: time) -> str:
    if moment == time(12):
        return "12 noon"
    hour = moment.hour % 12 or 12
    minutes = f".{moment.minute:02d}" if moment.minute else ""
    return f"{hour}{minutes} {'am' if moment.hour < 12 else 'pm'}"
