"""Sites."""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from escalation.ladder import SchoolDay
from escalation.times import DEFAULTS, Times, changed, times_of, written
from peerchat.frames import Service
from peerchat.store.database import AnyRow, Transaction
from peerchat.store.seal import CASE, KeyName
from peerchat.store.tables import Beat, Reading, Site, table

_SITE, _READING, _BEAT = table(Site), table(Reading), table(Beat)


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteValue:
    """A site as the use cases see it. `hours` are in the site's own time; none means always open."""

    id: str
    name: str
    service_name: str
    timezone: str
    hours: tuple[dict[str, Any], ...]
    topics: tuple[str, ...]
    services: tuple[Service, ...]
    neutral_url: str
    closed_by_staff: bool
    times: Times = DEFAULTS

    @property
    def day(self) -> SchoolDay:
        """When concerns are read here."""
        return self.times.day(self.timezone)


class Sites:
    """Find and make sites; what belongs to a site as a whole."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self._found: dict[str, SiteValue] = {}  # for this transaction

    def add(self, site: SiteValue) -> None:
        """Make a site."""
        self._tx.execute(
            sa.insert(_SITE).values(
                id=site.id,
                name=site.name,
                service_name=site.service_name,
                timezone=site.timezone,
                hours=list(site.hours),
                topics=list(site.topics),
                services=[_plain(s) for s in site.services],
                neutral_url=site.neutral_url,
                closed_by_staff=site.closed_by_staff,
                times=changed({}, written(site.times)),
            )
        )

    def change(self, site: SiteValue) -> None:
        """Write a site as it now is."""
        self._found.clear()
        values = {name: getattr(site, name) for name in ("name", "service_name", "timezone", "neutral_url")}
        self._tx.execute(
            sa.update(_SITE)
            .where(_SITE.c.id == site.id)
            .values(
                **values,
                hours=list(site.hours),
                topics=list(site.topics),
                services=[_plain(s) for s in site.services],
                closed_by_staff=site.closed_by_staff,
                times=changed({}, written(site.times)),
            )
        )

    def get(self, site: str) -> SiteValue:
        """Return a site that is known to exist."""
        if site not in self._found:
            row = self._tx.row(sa.select(_SITE).where(_SITE.c.id == site))
            assert row is not None
            self._found[site] = _value(row)
        return self._found[site]

    def all(self) -> list[SiteValue]:
        """Return every site, by name."""
        return [_value(row) for row in self._tx.rows(sa.select(_SITE).order_by(_SITE.c.name, _SITE.c.id))]

    def add_reading(self, n: int, *, by: str, conversation: str, reason: str | None) -> None:
        """Keep why a conversation was read, sealed; `n` is the log's row of the reading."""
        key = KeyName(conversation, "staff", CASE)
        sealed = self._tx.keyring.seal(key, reason, bound_to=f"reading {n}") if reason else None
        self._tx.execute(sa.insert(_READING).values(n=n, by=by, conversation=conversation, reason=sealed))

    def beat(self) -> None:
        """Write a row for real: a transaction that changes nothing never meets the disk."""
        if self._tx.execute(sa.update(_BEAT).values(at=self._tx.now)).rowcount == 0:
            self._tx.execute(sa.insert(_BEAT).values(id=1, at=self._tx.now))


def _plain(service: Service) -> dict[str, str | None]:
    return {name: getattr(service, name) for name in service.__struct_fields__}


def _value(row: AnyRow) -> SiteValue:
    return SiteValue(
        id=row.id,
        name=row.name,
        service_name=row.service_name,
        timezone=row.timezone,
        hours=tuple(row.hours),
        topics=tuple(row.topics),
        services=tuple(Service(**s) for s in row.services),
        neutral_url=row.neutral_url,
        closed_by_staff=row.closed_by_staff,
        times=times_of(row.times if isinstance(row.times, dict) else {}),
    )
