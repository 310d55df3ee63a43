"""The rota as the coordinator meets it: the weekly pattern, exceptions, holidays, and gaps."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, time
from typing import Any

from escalation.rota import DAY, Change, Hours, Kind, Part, Turn
from escalation.times import written
from moderation.verdict import Role
from peerchat import opening, views
from peerchat.course import check_live
from peerchat.duties import slot_row
from peerchat.errors import PeerchatError, UnknownObject
from peerchat.model import Actor
from peerchat.store.sites import SiteValue
from peerchat.store.sql import Store, Tx

MOST = 500
"""Turns and exceptions of one site, each."""

SHOWN = 14 * DAY
"""How far ahead the rota is shown, turn by turn."""

LONGEST = 100
"""Days of one exception: a summer holiday, not a slip of the year."""


class BadRota(PeerchatError):
    """A turn or an exception that cannot be; names the field."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(why)
        self.field = field


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What somebody wants to add, as it was given; checked here."""

    member: str | None
    part: str = Part.DUTY.value
    days: tuple[int, ...] = ()
    begin: str | None = None
    end: str | None = None
    first: str | None = None
    last: str | None = None
    kind: str | None = None  # an exception's; None: a turn of the weekly pattern


class RotaDesk:
    """Show and change a site's rota. Each change is a row of the log before it happens."""

    def __init__(self, store: Store, *, changed: Callable[[], None]) -> None:
        self._store = store
        self._changed = changed

    async def shown(self, actor: Actor) -> dict[str, Any]:
        """Return the rota of the caller's site, who is expected and missing just now, and the next gap."""
        return await self._store.read(lambda tx: _shown(tx, tx.sites.get(actor.site)))

    async def add(self, actor: Actor, wanted: Wanted) -> dict[str, Any]:
        """Add a turn or an exception; return the rota as it is then. Raises `BadRota`."""

        def body(tx: Tx) -> dict[str, Any]:
            check_live(tx, actor)
            added(tx, actor.site, wanted, by=actor.member)
            return _shown(tx, tx.sites.get(actor.site))

        return await self._write(body)

    async def remove(self, actor: Actor, id: str) -> dict[str, Any]:
        """Take a turn or an exception away; return the rota as it is then."""

        def body(tx: Tx) -> dict[str, Any]:
            check_live(tx, actor)
            removed(tx, actor.site, id, by=actor.member)
            return _shown(tx, tx.sites.get(actor.site))

        return await self._write(body)

    async def _write(self, body: Callable[[Tx], dict[str, Any]]) -> dict[str, Any]:
        shown = await self._store.write(body)
        self._changed()
        return shown


def added(tx: Tx, site: str, wanted: Wanted, *, by: str) -> str:
    """Add a turn or an exception to a site's rota; return its id."""
    if wanted.member is not None:
        member = tx.members.get(wanted.member)
        if member is None or member.site != site or member.role is not Role.ADULT or member.suspended_at:
            raise UnknownObject("no such adult")
        if member.id in tx.rota.circle(site).outside:
            raise BadRota("member", "this adult is preset as independent from outside, and holds no duty")
    if wanted.kind is None:
        turn = turn_of(wanted)
        if len(tx.rota.turns(site)) >= MOST:
            raise BadRota("member", "there are too many turns; take some away first")
        tx.audit.append(by, "rota_turn_added", turn.member, _words(wanted))
        return tx.rota.add_turn(site, turn)
    change = change_of(wanted)
    if len(tx.rota.changes(site)) >= MOST:
        raise BadRota("first", "there are too many exceptions; take some away first")
    tx.audit.append(by, "rota_change_added", change.member or site, _words(wanted))
    return tx.rota.add_change(site, change)


def removed(tx: Tx, site: str, id: str, *, by: str) -> None:
    """Take a turn or an exception away."""
    tx.audit.append(by, "rota_row_removed", id)
    if not tx.rota.remove(site, id):
        raise UnknownObject("no such turn or exception")


def turn_of(wanted: Wanted) -> Turn:
    """Return a turn as it was given. Raises `BadRota`."""
    if wanted.member is None:
        raise BadRota("member", "a turn is somebody's")
    first, last = _day(wanted.first, "first"), _day(wanted.last, "last")
    if first is not None and last is not None and last < first:
        raise BadRota("last", "the last day is not before the first")
    return Turn(id="", member=wanted.member, part=_part(wanted), hours=_hours(wanted), first=first, last=last)


def change_of(wanted: Wanted) -> Change:
    """Return an exception as it was given. Raises `BadRota`."""
    try:
        kind = Kind(wanted.kind or "")
    except ValueError:
        raise BadRota("kind", f"one of {', '.join(Kind)}") from None
    if kind is not Kind.HOLIDAY and wanted.member is None:
        raise BadRota("member", "say who; only a holiday is nobody's")
    first = _day(wanted.first, "first")
    if first is None:
        raise BadRota("first", "say from which day on")
    last = _day(wanted.last, "last") or first
    if not 0 <= (last - first).days < LONGEST:
        raise BadRota("last", f"the last day is not before the first, and at most {LONGEST} days later")
    begin, end = _time(wanted.begin, "begin"), _time(wanted.end, "end")
    if (begin is None) != (end is None):
        raise BadRota("end" if end is None else "begin", "give both hours, or none for whole days")
    if kind is Kind.HOLIDAY and (begin is not None or wanted.member is not None):
        raise BadRota("kind", "a holiday is whole days and for everybody")
    return Change(
        id="",
        kind=kind,
        first=first,
        last=last,
        member=wanted.member,
        part=_part(wanted),
        begin=begin,
        end=end,
    )


def missing(tx: Tx, site: SiteValue) -> tuple[list[str], list[str]]:
    """Return who is expected for duty just now, and which of them hold none; names."""
    expected = [s.member for s in tx.rota.of(site).on_rota(tx.now) if s.part is Part.DUTY]
    there = {lease.member for lease, _ in tx.duty.leases(site.id)}
    names = tx.members.names(set(expected))
    known = [(member, names[member]) for member in dict.fromkeys(expected) if member in names]
    return [name for _, name in known], [name for member, name in known if member not in there]


def _shown(tx: Tx, site: SiteValue) -> dict[str, Any]:
    rota, circle = tx.rota.of(site), tx.rota.circle(site.id)
    adults = tx.members.names(circle.adults)
    names = tx.members.names({t.member for t in rota.turns} | {c.member for c in rota.changes if c.member})
    expected, absent = missing(tx, site)
    gap = rota.next_gap(tx.now)
    return {
        "timezone": site.timezone,
        "hours_text": opening.hours_text(site.hours),
        "times": written(site.times),
        "adults": [
            {"id": id, "name": name}
            for id, name in sorted(adults.items(), key=lambda one: (one[1], one[0]))
            if id not in circle.outside
        ],
        "independents": [
            {"name": one.name, "outside": one.outside}
            for one in tx.rota.independents(site.id)
            if not one.suspended
        ],
        "turns": [
            {
                "id": t.id,
                "name": names.get(t.member, "Somebody who left"),
                "part": t.part.value,
                "days": sorted(t.hours.days),
                "begin": f"{t.hours.begin:%H:%M}",
                "end": f"{t.hours.end:%H:%M}",
                "first": t.first.isoformat() if t.first is not None else None,
                "last": t.last.isoformat() if t.last is not None else None,
            }
            for t in rota.turns
        ],
        "changes": [
            {
                "id": c.id,
                "kind": c.kind.value,
                "name": names.get(c.member, "Somebody who left") if c.member is not None else None,
                "part": c.part.value,
                "first": c.first.isoformat(),
                "last": c.last.isoformat(),
                "begin": f"{c.begin:%H:%M}" if c.begin is not None else None,
                "end": f"{c.end:%H:%M}" if c.end is not None else None,
            }
            for c in rota.changes
            if c.last >= (tx.now - DAY).date()
        ],
        "coming": [slot_row(slot, names) for slot in rota.slots(tx.now, tx.now + SHOWN)],
        "expected": expected,
        "missing": absent,
        "gap": {"begin": views.moment(gap.begin), "end": views.moment(gap.end)} if gap is not None else None,
    }


def _words(wanted: Wanted) -> Mapping[str, str | None]:
    """Return what was asked for, for the log: ids, days and hours."""
    plain = replace(wanted, days=())
    found = {name: getattr(plain, name) for name in ("kind", "part", "begin", "end", "first", "last")}
    return {**found, "days": " ".join(map(str, sorted(wanted.days))) or None}


def _part(wanted: Wanted) -> Part:
    try:
        return Part(wanted.part)
    except ValueError:
        raise BadRota("part", f"one of {', '.join(Part)}") from None


def _hours(wanted: Wanted) -> Hours:
    begin, end = _time(wanted.begin, "begin"), _time(wanted.end, "end")
    if begin is None or end is None:
        raise BadRota("begin" if begin is None else "end", "a turn has a beginning and an end")
    try:
        return Hours(days=frozenset(wanted.days), begin=begin, end=end)
    except ValueError as error:
        raise BadRota("days", str(error)) from None


def _day(given: str | None, field: str) -> date | None:
    if given is None:
        return None
    try:
        return datetime.strptime(given, "%Y-%m-%d").date()  # noqa: DTZ007 - a day has no zone
    except ValueError:
        raise BadRota(field, "a day such as 2026-09-01") from None


def _time(given: str | None, field: str) -> time | None:
    if given is None:
        return None
    try:
        return datetime.strptime(given, "%H:%M").time()  # noqa: DTZ007 - of the school's own clock
    except ValueError:
        raise BadRota(field, "a time such as 08:30") from None
