"""The hash-chained log as a table: appended in the transaction whose effect it precedes."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite

import sqlalchemy as sa

from escalation.audit import GENESIS, START, Checkpoint, Entry, SignedCheckpoint, chained
from peerchat.store.database import AnyRow, Transaction
from peerchat.store.tables import AuditRow, CheckpointRow, ShipmentRow, table

_AUDIT, _CHECKPOINT, _SHIPMENT = table(AuditRow), table(CheckpointRow), table(ShipmentRow)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipment:
    """How far the checkpoints have come at one place outside; `n` is the last that arrived there."""

    n: int
    at: datetime | None
    failing_since: datetime | None
    fault: str | None


class AuditLog:
    """Append and read; nothing here changes or deletes a row of the log."""

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

    def head(self) -> Checkpoint:
        """Return the number and hash of the last row."""
        last = self._tx.row(sa.select(_AUDIT.c.n, _AUDIT.c.hash).order_by(_AUDIT.c.n.desc()).limit(1))
        return START if last is None else Checkpoint(n=last.n, hash=str(last.hash))

    # -- checkpoints: the log's heads as they were signed, and how far they came outside

    def keep(self, checkpoint: SignedCheckpoint) -> None:
        """Keep a signed checkpoint until every place has it, and after."""
        self._tx.execute(
            sa.insert(_CHECKPOINT).values(
                n=checkpoint.n,
                hash=checkpoint.hash,
                at=checkpoint.at,
                key=checkpoint.key,
                signature=checkpoint.signature,
            )
        )

    def checkpoints(self) -> list[SignedCheckpoint]:
        """Return all that were signed, oldest first."""
        return [_signed(row) for row in self._tx.rows(sa.select(_CHECKPOINT).order_by(_CHECKPOINT.c.n))]

    def newest_checkpoint(self) -> SignedCheckpoint | None:
        """Return the one of the most rows."""
        row = self._tx.row(sa.select(_CHECKPOINT).order_by(_CHECKPOINT.c.n.desc()).limit(1))
        return None if row is None else _signed(row)

    def unshipped(self, target: str, *, limit: int) -> list[SignedCheckpoint]:
        """Return what a place has not got yet, oldest first."""
        found = self.shipments().get(target)
        after = found.n if found is not None else 0
        rows = self._tx.rows(
            sa.select(_CHECKPOINT).where(_CHECKPOINT.c.n > after).order_by(_CHECKPOINT.c.n).limit(limit)
        )
        return [_signed(row) for row in rows]

    def shipments(self) -> dict[str, Shipment]:
        """Return how each place stands."""
        return {
            row.target: Shipment(n=row.n, at=row.at, failing_since=row.failing_since, fault=row.fault)
            for row in self._tx.rows(sa.select(_SHIPMENT))
        }

    def shipped(self, target: str, n: int) -> None:
        """Record that a checkpoint arrived."""
        self._shipment(target, n=n, at=self._tx.now, failing_since=None, fault=None)

    def not_shipped(self, target: str, fault: str) -> None:
        """Record that the next one did not; the row says since when that is so."""
        found = self.shipments().get(target)
        since = found.failing_since if found is not None and found.failing_since else self._tx.now
        self._shipment(target, failing_since=since, fault=fault)

    def _shipment(self, target: str, **values: object) -> None:
        changed = self._tx.execute(sa.update(_SHIPMENT).where(_SHIPMENT.c.target == target).values(**values))
        if changed.rowcount == 0:
            self._tx.execute(sa.insert(_SHIPMENT).values(**{"target": target, "n": 0, **values}))

    def all(self) -> Iterator[Entry]:
        """Yield the whole log in order, a page at a time."""
        after = 0
        while page := self.entries(after=after):
            yield from page
            after = page[-1].n


def _signed(row: AnyRow) -> SignedCheckpoint:
    return SignedCheckpoint(
        n=row.n, hash=str(row.hash), at=row.at, key=str(row.key), signature=str(row.signature)
    )


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
