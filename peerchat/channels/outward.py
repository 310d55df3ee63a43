"""One HTTP request to somebody else's server: bounded in time and size, no redirects, nothing kept.

Only the status counts. Bodies of answers are not read: nothing in them is meant for us.
"""

import asyncio
import contextlib
import functools
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

HEAD_BYTES = 16 * 1024
"""An answer whose head is longer is none."""


class Unanswered(Exception):
    """No answer came: `fault` is one word for why."""

    def __init__(self, fault: str) -> None:
        super().__init__(fault)
        self.fault = fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back."""

    status: int
    retry_after_s: float | None = None

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300


async def request(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    timeout_s: float,
    tls: ssl.SSLContext | None = None,
) -> Answer:
    """Return the answer's status. Raises `Unanswered` where none came in time; certificates are checked."""
    parts = urlsplit(url)
    secure = parts.scheme.lower() == "https"
    host, port = parts.hostname or "", parts.port or (443 if secure else 80)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    given = {
        "Host": parts.netloc.rpartition("@")[2],
        "User-Agent": "peerchat",
        "Content-Length": str(len(body)),
        "Connection": "close",
        **(headers or {}),
    }
    head = "\r\n".join([f"{method} {path} HTTP/1.1", *(f"{n}: {v}" for n, v in given.items()), "", ""])
    context = (tls or _tls()) if secure else None
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(host, port, ssl=context, limit=HEAD_BYTES)
            try:
                writer.write(head.encode("latin-1") + body)
                await writer.drain()
                while (answer := _parsed(await reader.readuntil(b"\r\n\r\n"))).status < 200:
                    pass  # 100 Continue and its like
                return answer
            finally:
                writer.transport.abort()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    except TimeoutError:
        raise Unanswered("timeout") from None
    except ssl.SSLError:
        raise Unanswered("certificate") from None
    except OSError:
        raise Unanswered("unreachable") from None
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
        raise Unanswered("no answer") from None


@functools.cache
def _tls() -> ssl.SSLContext:
    """Return what checks certificates: made once, for it reads all the roots there are."""
    return ssl.create_default_context()


def _parsed(head: bytes) -> Answer:
    first, *lines = head.decode("latin-1").split("\r\n")
    version, status, *_ = first.split(" ", 2)
    if not version.startswith("HTTP/1.") or len(status) != 3 or not status.isascii() or not status.isdigit():
        raise ValueError("not HTTP")
    fields = dict(line.lower().split(":", 1) for line in lines if ":" in line)
    wait = fields.get("retry-after", "").strip()
    return Answer(
        status=int(status),
        retry_after_s=float(wait) if wait.isascii() and wait.isdigit() and len(wait) < 10 else None,
    )
