"""The hash-chained log as a table: appended in the transaction whose effect it precedes."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from math import isfinite

import sqlalchemy as sa

from escalation.audit import GENESIS, Entry, chained
from peerchat.store.database import AnyRow, Transaction
from peerchat.store.tables import AuditRow, table

_AUDIT = table(AuditRow)
_RAW = sa.select(
    _AUDIT.c.n,
    sa.type_coerce(_AUDIT.c.at, sa.String).label("at"),
    _AUDIT.c.actor,
    _AUDIT.c.kind,
    _AUDIT.c.object,
    sa.type_coerce(_AUDIT.c.data, sa.String).label("data"),
    _AUDIT.c.hash,
)
"""The columns as they lie there: a value that was tampered with must not stop the reading."""


class AuditLog:
    """Append and read; nothing here changes or deletes a row."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    def append(
        self,
        actor: str,
        kind: str,
        object: str,
        data: Mapping[str, str | int | float | bool | None] | None = None,
    ) -> int:
        """Add a row to the chain; return its number. Ids, counts and words only: never text or names."""
        last = self._tx.row(sa.select(_AUDIT.c.n, _AUDIT.c.hash).order_by(_AUDIT.c.n.desc()).limit(1))
        n, previous = (last.n + 1, last.hash) if last is not None else (1, GENESIS)
        data = dict(data or {})
        digest = chained(previous, n=n, at=self._tx.now, actor=actor, kind=kind, object=object, data=data)
        self._tx.execute(
            sa.insert(_AUDIT).values(
                n=n, at=self._tx.now, actor=actor, kind=kind, object=object, data=data, hash=digest
            )
        )
        return n

    def entries(self, *, after: int = 0, limit: int = 1_000) -> list[Entry]:
        """Return rows in order; one that cannot be read comes as one that no hash fits: `verify` names it."""
        rows = self._tx.rows(_RAW.where(_AUDIT.c.n > after).order_by(_AUDIT.c.n).limit(limit))
        return [_entry(row) for row in rows]

    def last(self, kind: str) -> Entry | None:
        """Return the newest row of a kind."""
        row = self._tx.row(_RAW.where(_AUDIT.c.kind == kind).order_by(_AUDIT.c.n.desc()).limit(1))
        return None if row is None else _entry(row)

    def all(self) -> Iterator[Entry]:
        """Yield the whole log in order, a page at a time."""
        after = 0
        while page := self.entries(after=after):
            yield from page
            after = page[-1].n


def _entry(row: AnyRow) -> Entry:
    try:
        at = datetime.fromisoformat(str(row.at))
        data = json.loads(row.data)
        if not isinstance(data, dict) or not all(_flat(value) for value in data.values()):
            raise ValueError
    except (ValueError, TypeError):
        at, data = datetime.min.replace(tzinfo=UTC), {"unreadable": True}
    return Entry(
        n=row.n,
        at=at.replace(tzinfo=UTC) if at.tzinfo is None else at,
        actor=str(row.actor),
        kind=str(row.kind),
        object=str(row.object),
        data=data,
        hash=str(row.hash),
    )


def _flat(value: object) -> bool:
    return (
        value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and isfinite(value))
    )
