"""The hash-chained log: every row's hash covers its content and the row before it.

A change, a deletion, a reordering or an insertion breaks the chain at that row. Whoever can write the whole
table can make a new chain that holds, or cut the end off; that shows against a checkpoint: the head as it
was, signed with Ed25519 and kept where that hand does not reach. Rows hold ids, never text or names.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

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


START = Checkpoint(n=0, hash=GENESIS)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedCheckpoint:
    """A checkpoint that only the holder of the log's key can have made. `key` is the public one, in hex."""

    n: int
    hash: str
    at: datetime
    key: str
    signature: str

    @property
    def head(self) -> Checkpoint:
        return Checkpoint(n=self.n, hash=self.hash)

    def line(self) -> str:
        """Return it as one line of JSON: how it is shipped, and what `parsed` reads."""
        return json.dumps(
            {
                "n": self.n,
                "hash": self.hash,
                "at": _stamp(self.at),
                "key": self.key,
                "signature": self.signature,
            }
        )


class BadCheckpoint(ValueError):
    """What was given is no checkpoint, or none of that key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Where the log is not what it was: after row `after`, the last sure one, at row `n` at the latest."""

    n: int
    what: str
    after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a walk over the log found: the last row that fits, its hash, and the first fault."""

    head: Checkpoint
    fault: Fault | None = None
    proven: Checkpoint = START  # the latest checkpoint kept elsewhere that the log agrees with


def chained(
    previous: str, *, n: int, at: datetime, actor: str, kind: str, object: str, data: Mapping[str, object]
) -> str:
    """Return the hash of a row that follows `previous`: SHA-256 of the canonical JSON of both."""
    body = json.dumps(
        [previous, n, _stamp(at), actor, kind, object, dict(data)],
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=True,
        allow_nan=False,
    )
    return hashlib.sha256(body.encode()).hexdigest()


def verify(
    entries: Iterable[Entry], *, checkpoints: Iterable[Checkpoint] = (), start: Checkpoint = START
) -> Verdict:
    """Walk the log from the row after `start`; stop at the first fault.

    Every row that a checkpoint names must be there with that hash, so a log that was cut short, rolled back
    or rewritten fails, and the fault lies after the last checkpoint that it agrees with.
    """
    wanted: dict[int, set[str]] = {}
    for checkpoint in checkpoints:
        if checkpoint.n > start.n:
            wanted.setdefault(checkpoint.n, set()).add(checkpoint.hash)
    head, proven = start, start

    def fault(n: int, what: str, after: int) -> Verdict:
        return Verdict(head=head, fault=Fault(n=n, what=what, after=after), proven=proven)

    for entry in entries:
        if entry.n != head.n + 1:
            return fault(head.n + 1, "a row is missing, doubled or out of order", head.n)
        expected = chained(
            head.hash,
            n=entry.n,
            at=entry.at,
            actor=entry.actor,
            kind=entry.kind,
            object=entry.object,
            data=entry.data,
        )
        if entry.hash != expected:
            return fault(entry.n, "the row is not what was written", head.n)
        head = Checkpoint(n=entry.n, hash=entry.hash)
        hashes = wanted.pop(head.n, None)
        if hashes is not None:
            if hashes != {head.hash}:
                return fault(head.n, "the log was rewritten: it differs from a checkpoint", proven.n)
            proven = head
    if wanted:
        last = max(wanted)
        return fault(head.n + 1, f"the log was cut short: a checkpoint has {last} rows", head.n)
    return Verdict(head=head, proven=proven)


# -- signatures


def signed(checkpoint: Checkpoint, key: Ed25519PrivateKey, *, at: datetime) -> SignedCheckpoint:
    """Return a checkpoint signed, with the moment, which is under the signature too."""
    return SignedCheckpoint(
        n=checkpoint.n,
        hash=checkpoint.hash,
        at=at,
        key=public_key(key),
        signature=base64.b64encode(key.sign(_message(checkpoint, at))).decode(),
    )


def public_key(key: Ed25519PrivateKey) -> str:
    """Return what others need to check signatures: 64 hex digits."""
    return key.public_key().public_bytes_raw().hex()


def genuine(checkpoint: SignedCheckpoint, public: str) -> bool:
    """Return whether the holder of that key signed this. The key that it names itself proves nothing."""
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
        key.verify(
            base64.b64decode(checkpoint.signature, validate=True), _message(checkpoint.head, checkpoint.at)
        )
    except (InvalidSignature, ValueError, binascii.Error):
        return False
    return True


def parsed(line: str) -> Checkpoint | SignedCheckpoint:
    """Return a shipped line as a checkpoint; without a signature a bare one. Raises `BadCheckpoint`."""
    try:
        given = json.loads(line)
        head = Checkpoint(n=given["n"], hash=given["hash"])
        if type(head.n) is not int or head.n < 0 or len(bytes.fromhex(head.hash)) != 32:
            raise ValueError
        if "signature" not in given:
            return head
        at = datetime.fromisoformat(given["at"])
        return SignedCheckpoint(
            n=head.n,
            hash=head.hash,
            at=at if at.tzinfo is not None else at.replace(tzinfo=UTC),
            key=str(given["key"]),
            signature=str(given["signature"]),
        )
    except (ValueError, KeyError, TypeError):
        raise BadCheckpoint("not a checkpoint") from None


def _message(checkpoint: Checkpoint, at: datetime) -> bytes:
    return f"peerchat log checkpoint 1\n{checkpoint.n}\n{checkpoint.hash}\n{_stamp(at)}\n".encode()


def _stamp(at: datetime) -> str:
    return (at if at.tzinfo is UTC else at.astimezone(UTC)).isoformat(timespec="microseconds")
