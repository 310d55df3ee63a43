"""The hash-chained log: every row's hash covers its content and the row before it.

A change, a deletion, a reordering or an insertion breaks the chain at that row; a truncation shows against
any earlier checkpoint. Rows hold ids, never text or names.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

GENESIS = "0" * 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One row. `data` is a flat object of ids, counts and words."""

    n: int  # from 1, without gaps
    at: datetime
    actor: str
    kind: str
    object: str
    data: Mapping[str, str | int | float | bool | None]
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What the log's head was, as kept elsewhere."""

    n: int
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """The first row at which the log is not what it was."""

    n: int
    what: str


def chained(
    previous: str, *, n: int, at: datetime, actor: str, kind: str, object: str, data: Mapping[str, object]
) -> str:
    """Return the hash of a row that follows `previous`: SHA-256 of the canonical JSON of both."""
    stamp = (at if at.tzinfo is UTC else at.astimezone(UTC)).isoformat(timespec="microseconds")
    body = json.dumps(
        [previous, n, stamp, actor, kind, object, dict(data)],
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=True,
        allow_nan=False,
    )
    return hashlib.sha256(body.encode()).hexdigest()


def verify(
    entries: Iterable[Entry], *, checkpoint: Checkpoint | None = None
) -> tuple[int, str, Fault | None]:
    """Walk the whole log; return (rows, head, the first fault or None).

    With a checkpoint, the row it names must be there with that hash, so a truncated or rewritten log fails.
    """
    head, count, met = GENESIS, 0, checkpoint is None or checkpoint.n == 0
    for entry in entries:
        if entry.n != count + 1:
            return count, head, Fault(n=count + 1, what="a row is missing, doubled or out of order")
        expected = chained(
            head,
            n=entry.n,
            at=entry.at,
            actor=entry.actor,
            kind=entry.kind,
            object=entry.object,
            data=entry.data,
        )
        if entry.hash != expected:
            return count, head, Fault(n=entry.n, what="the row is not what was written")
        head, count = entry.hash, entry.n
        if checkpoint is not None and checkpoint.n == count:
            if checkpoint.hash != head:
                return count, head, Fault(n=count, what="the log differs from the checkpoint")
            met = True
    if not met:
        assert checkpoint is not None
        return count, head, Fault(n=count + 1, what=f"the log ends before the checkpoint at {checkpoint.n}")
    return count, head, None
