"""Whether a site is open, and if not, why and until when. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from peerchat.model import CLOSED_BY_STAFF, NO_ADULT, OUTSIDE_HOURS


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """Is it open? `why` is a stable word of the protocol when it is not."""

    open: bool
    why: str | None = None
    next_open: datetime | None = None


def opening(
    *, hours: Sequence[dict[str, Any]], timezone: str, closed_by_staff: bool, covered: bool, now: datetime
) -> Opening:
    """Return whether a site is open at a moment.

    `hours` are rows {"days": [0..6], "from": "HH:MM", "to": "HH:MM"} in local time; none means always.
    `covered` says whether an adult holds duty (rule 12).
    """
    if closed_by_staff:
        return Opening(open=False, why=CLOSED_BY_STAFF)
    if hours:
        local = now.astimezone(ZoneInfo(timezone))
        spans = list(_spans(hours, local))
        if not any(begin <= local < end for begin, end in spans):
            following = [begin for begin, _ in spans if begin > local]
            return Opening(open=False, why=OUTSIDE_HOURS, next_open=min(following, default=None))
    if not covered:
        return Opening(open=False, why=NO_ADULT)
    return Opening(open=True)


def next_open_text(opening: Opening, *, timezone: str, now: datetime) -> str | None:
    """Return when it opens again, in words, or None where nobody can say."""
    if opening.next_open is None:
        return None
    zone = ZoneInfo(timezone)
    local, moment = now.astimezone(zone), opening.next_open.astimezone(zone)
    days = (moment.date() - local.date()).days
    day = {0: "today", 1: f"tomorrow, {moment:%A},"}.get(days, f"{moment:%A}")
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


def _spans(hours: Sequence[dict[str, Any]], local: datetime) -> Iterator[tuple[datetime, datetime]]:
    for ahead in range(-1, 8):
        day: date = local.date() + timedelta(days=ahead)
        for row in hours:
            if day.weekday() in row["days"]:
                yield (
                    datetime.combine(day, _time(row["from"]), local.tzinfo),
                    datetime.combine(day, _time(row["to"]), local.tzinfo),
                )


def _time(text: str) -> time:
    return time.fromisoformat(text)


def _clock(moment: time) -> str:
    if moment == time(12):
        return "12 noon"
    hour = moment.hour % 12 or 12
    minutes = f".{moment.minute:02d}" if moment.minute else ""
    return f"{hour}{minutes} {'am' if moment.hour < 12 else 'pm'}"
