"""The rota: turns of the weekly pattern, exceptions, holidays; and who is preset as independent."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import time

import sqlalchemy as sa

from escalation.knowing import Circle
from escalation.rota import Change, Hours, Kind, Part, Rota, Turn
from moderation.verdict import Role
from peerchat.model import new_id
from peerchat.opening import hours_of
from peerchat.store.database import AnyRow, Transaction
from peerchat.store.sites import SiteValue
from peerchat.store.tables import Independent, Member, RotaChange, RotaTurn, table

log = logging.getLogger(__name__)

_TURN, _CHANGE = table(RotaTurn), table(RotaChange)
_INDEPENDENT, _MEMBER = table(Independent), table(Member)


@dataclass(frozen=True, slots=True, kw_only=True)
class IndependentValue:
    """One preset person. `outside`: knows of alerts about staff alone, and holds no duty."""

    member: str
    name: str
    outside: bool
    suspended: bool


class RotaBook:
    """Read and change a site's rota. A row that makes no sense is left out of it, and the log says so."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self._holidays: dict[str, tuple[Change, ...]] = {}  # for this transaction: asked for each message
        self._circles: dict[str, Circle] = {}

    def of(self, site: SiteValue) -> Rota:
        """Return a site's whole rota."""
        return Rota(
            timezone=site.timezone,
            turns=self.turns(site.id),
            changes=self.changes(site.id),
            hours=hours_of(site.hours),
        )

    def turns(self, site: str) -> tuple[Turn, ...]:
        """Return the weekly pattern of a site, without members who are suspended."""
        rows = self._tx.rows(
            sa.select(_TURN)
            .join(_MEMBER, _MEMBER.c.id == _TURN.c.member)
            .where(_TURN.c.site == site, _MEMBER.c.suspended_at.is_(None))
            .order_by(_TURN.c.begin, _TURN.c.id)
        )
        return tuple(turn for row in rows if (turn := _turn(row)) is not None)

    def changes(self, site: str) -> tuple[Change, ...]:
        """Return the exceptions of a site, holidays with them."""
        rows = self._tx.rows(
            sa.select(_CHANGE)
            .join(_MEMBER, _MEMBER.c.id == _CHANGE.c.member, isouter=True)
            .where(_CHANGE.c.site == site, _MEMBER.c.suspended_at.is_(None))
            .order_by(_CHANGE.c.first, _CHANGE.c.id)
        )
        return tuple(change for row in rows if (change := _change(row)) is not None)

    def holidays(self, site: str) -> tuple[Change, ...]:
        """Return the days on which a site is closed."""
        if site not in self._holidays:
            self._holidays[site] = tuple(c for c in self.changes(site) if c.kind is Kind.HOLIDAY)
        return self._holidays[site]

    def add_turn(self, site: str, turn: Turn) -> str:
        """Add a turn to the pattern; return its id."""
        id = new_id("trn")
        self._tx.execute(
            sa.insert(_TURN).values(
                id=id,
                site=site,
                member=turn.member,
                part=turn.part.value,
                days=sorted(turn.hours.days),
                begin=_clock(turn.hours.begin),
                end=_clock(turn.hours.end),
                first=turn.first,
                last=turn.last,
            )
        )
        return id

    def add_change(self, site: str, change: Change) -> str:
        """Add an exception; return its id."""
        self._holidays.clear()
        id = new_id("exc")
        self._tx.execute(
            sa.insert(_CHANGE).values(
                id=id,
                site=site,
                kind=change.kind.value,
                first=change.first,
                last=change.last,
                member=change.member,
                part=change.part.value,
                begin=_clock(change.begin) if change.begin is not None else None,
                end=_clock(change.end) if change.end is not None else None,
            )
        )
        return id

    def remove(self, site: str, id: str) -> bool:
        """Take a turn or an exception away; return whether there was one."""
        self._holidays.clear()
        gone = [
            self._tx.execute(sa.delete(rows).where(rows.c.id == id, rows.c.site == site)).rowcount
            for rows in (_TURN, _CHANGE)
        ]
        return sum(gone) == 1

    # -- who is told of alerts about staff

    def independents(self, site: str) -> list[IndependentValue]:
        """Return the preset persons, in the order in which they are asked."""
        rows = self._tx.rows(
            sa.select(_INDEPENDENT.c.member, _INDEPENDENT.c.outside, _MEMBER.c.name, _MEMBER.c.suspended_at)
            .join(_MEMBER, _MEMBER.c.id == _INDEPENDENT.c.member)
            .where(_INDEPENDENT.c.site == site, _MEMBER.c.role == Role.ADULT.value)
            .order_by(_INDEPENDENT.c.place, _INDEPENDENT.c.member)
        )
        return [
            IndependentValue(
                member=row.member,
                name=row.name or "",
                outside=bool(row.outside),
                suspended=row.suspended_at is not None,
            )
            for row in rows
        ]

    def set_independents(self, site: str, preset: Sequence[tuple[str, bool]]) -> None:
        """Preset these, (member, outside) in order, and nobody else."""
        self._circles.clear()
        self._tx.execute(sa.delete(_INDEPENDENT).where(_INDEPENDENT.c.site == site))
        for place, (member, outside) in enumerate(preset):
            self._tx.execute(
                sa.insert(_INDEPENDENT).values(member=member, site=site, place=place, outside=outside)
            )

    def circle(self, site: str) -> Circle:
        """Return the adults of a site who may be told of alerts, and which of them of which."""
        if site not in self._circles:
            rows = self._tx.rows(
                sa.select(_MEMBER.c.id)
                .where(
                    _MEMBER.c.site == site,
                    _MEMBER.c.role == Role.ADULT.value,
                    _MEMBER.c.suspended_at.is_(None),
                )
                .order_by(_MEMBER.c.id)
            )
            preset = [one for one in self.independents(site) if not one.suspended]
            self._circles[site] = Circle(
                adults=tuple(row.id for row in rows),
                independents=tuple(one.member for one in preset),
                outside=frozenset(one.member for one in preset if one.outside),
            )
        return self._circles[site]


def _turn(row: AnyRow) -> Turn | None:
    try:
        hours = Hours(days=frozenset(row.days), begin=_time(row.begin), end=_time(row.end))
        return Turn(
            id=row.id, member=row.member, part=Part(row.part), hours=hours, first=row.first, last=row.last
        )
    except (ValueError, TypeError):
        log.error("a turn of the rota cannot be read")
        return None


def _change(row: AnyRow) -> Change | None:
    try:
        return Change(
            id=row.id,
            kind=Kind(row.kind),
            first=row.first,
            last=row.last,
            member=row.member,
            part=Part(row.part),
            begin=_time(row.begin) if row.begin is not None else None,
            end=_time(row.end) if row.end is not None else None,
        )
    except (ValueError, TypeError):
        log.error("an exception of the rota cannot be read")
        return None


def _time(text: str) -> time:
    return time.fromisoformat(text)


def _clock(at: time) -> str:
    return f"{at:%H:%M}"
