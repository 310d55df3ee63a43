"""The signature of our webhooks: what goes out, and what a receiver checks. Pure.

    X-Peerchat-Timestamp: seconds since 1970, when this try was sent
    X-Peerchat-Id:        what is told; the same again when a telling is repeated: drop what you have seen
    X-Peerchat-Signature: v1=<HMAC-SHA256, hex, of "v1:<timestamp>:<id>:" and the body's bytes>

A receiver that refuses what is older than `REPLAY_S`, and drops an id that it has met within that time,
cannot be fooled by a recording. Timestamp and id are under the signature, so neither can be changed.
"""

import hmac
import re
import secrets
from collections.abc import Mapping
from hashlib import sha256

TIMESTAMP, ID, SIGNATURE = "X-Peerchat-Timestamp", "X-Peerchat-Id", "X-Peerchat-Signature"
VERSION = "v1"

REPLAY_S = 300
"""How far a receiver lets our clock and its own be apart."""

_DIGITS = re.compile(r"[0-9]{1,12}")


def new_secret() -> str:
    """Return a new secret of 256 bits."""
    return "whs_" + secrets.token_urlsafe(32)


def signature(secret: str, *, timestamp: int, id: str, body: bytes) -> str:
    """Return the value of the signature's header."""
    signed = f"{VERSION}:{timestamp}:{id}:".encode() + body
    return f"{VERSION}={hmac.new(secret.encode(), signed, sha256).hexdigest()}"


def headers(secret: str, *, timestamp: int, id: str, body: bytes) -> dict[str, str]:
    """Return the three headers of a signed webhook."""
    return {
        TIMESTAMP: str(timestamp),
        ID: id,
        SIGNATURE: signature(secret, timestamp=timestamp, id=id, body=body),
    }


def genuine(secret: str, given: Mapping[str, str], body: bytes, *, now: float) -> bool:
    """Return whether a webhook is ours and fresh: what a receiver does before it believes anything.

    Header names are compared without regard to case. Whether the id was met before is for the receiver.
    """
    found = {name.lower(): value for name, value in given.items()}
    timestamp, id = found.get(TIMESTAMP.lower(), ""), found.get(ID.lower(), "")
    if not _DIGITS.fullmatch(timestamp) or not id or abs(now - int(timestamp)) > REPLAY_S:
        return False
    right = signature(secret, timestamp=int(timestamp), id=id, body=body)
    return hmac.compare_digest(right.encode(), found.get(SIGNATURE.lower(), "").encode())
