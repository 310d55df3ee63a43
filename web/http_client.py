"""A small HTTP/1.1 client on asyncio: what `web.client` needs, and no library that the server does not have.

One `HttpClient` speaks to one server and keeps some connections open between requests. It sends no cookies
of its own and follows no redirects: what a caller passes is all that goes out.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlsplit

import httptools
import msgspec

MAX_BODY = 64 * 1024 * 1024
_CHUNK = 64 * 1024


class HttpFailed(Exception):
    """No complete answer came: refused, cut off, too slow, or not HTTP."""


@dataclass(frozen=True, slots=True)
class Response:
    """One answer. Header names are in lower case; of a repeated header `headers` has the last."""

    status: int
    fields: tuple[tuple[str, str], ...]
    body: bytes = field(repr=False)

    @property
    def headers(self) -> dict[str, str]:
        return dict(self.fields)

    def every(self, name: str) -> list[str]:
        """Return the values of a header that may be repeated."""
        return [value for field, value in self.fields if field == name]

    @property
    def retry_after_s(self) -> float | None:
        """What `Retry-After` says, where it is a number of seconds."""
        with contextlib.suppress(ValueError):
            return float(self.headers.get("retry-after", ""))
        return None

    def json(self) -> Any:
        """Return the body's document. Raises `HttpFailed` where it is none."""
        try:
            return msgspec.json.decode(self.body)
        except msgspec.DecodeError as error:
            raise HttpFailed("the answer is not JSON") from error


class HttpClient:
    """Requests to one server over a few kept connections; safe for many tasks of one event loop."""

    def __init__(self, url: str, *, idle: int = 16, tls: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("the address must begin with http:// or https:// and name a host")
        self.url = f"{parts.scheme}://{parts.netloc}"
        self._host = parts.hostname
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._netloc = parts.netloc
        self._tls = (tls or ssl.create_default_context()) if parts.scheme == "https" else None
        self._idle: list[_Connection] = []
        self._max_idle = idle

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def tls(self) -> ssl.SSLContext | None:
        return self._tls

    async def close(self) -> None:
        """Close the kept connections."""
        while self._idle:
            await self._idle.pop().close()

    async def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        timeout_s: float = 30,
    ) -> Response:
        """Return the complete answer. Raises `HttpFailed` when none came in `timeout_s` seconds.

        A kept connection that the server had meanwhile closed is replaced once.
        """
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self._netloc}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        if body or method in {"POST", "PUT"}:
            lines.append(f"Content-Length: {len(body)}")
        data = "\r\n".join([*lines, "", ""]).encode("latin-1") + body
        try:
            async with asyncio.timeout(timeout_s):
                while self._idle:
                    kept = self._idle.pop()
                    with contextlib.suppress(_Stale):
                        return await self._exchange(kept, data)
                return await self._exchange(await self._connect(), data)
        except TimeoutError as error:
            raise HttpFailed(f"no answer in {timeout_s:g} s") from error
        except (OSError, _Stale, httptools.HttpParserError) as error:
            raise HttpFailed(f"the connection failed: {type(error).__name__}") from error

    async def _connect(self) -> "_Connection":
        return _Connection(*await asyncio.open_connection(self._host, self._port, ssl=self._tls))

    async def _exchange(self, connection: "_Connection", data: bytes) -> Response:
        keep = False
        try:
            answer = await connection.exchange(data)
            keep = answer.keep_alive and len(self._idle) < self._max_idle
        finally:
            if keep:
                self._idle.append(connection)
            else:
                await connection.close()
        return Response(answer.status, tuple(answer.fields), b"".join(answer.body))


class _Stale(Exception):
    """The server closed the connection before it answered a single byte."""


class _Answer:
    """What httptools reports of one answer."""

    def __init__(self) -> None:
        self.fields: list[tuple[str, str]] = []
        self.body: list[bytes] = []
        self.size = 0
        self.complete = False
        self.keep_alive = False
        self.parser = httptools.HttpResponseParser(self)

    @property
    def status(self) -> int:
        return self.parser.get_status_code()

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_body(self, body: bytes) -> None:
        self.size += len(body)
        self.body.append(body)

    def on_message_complete(self) -> None:
        self.keep_alive = self.parser.should_keep_alive()
        self.complete = True


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def exchange(self, data: bytes) -> _Answer:
        answer, received = _Answer(), False
        try:
            self._writer.write(data)
            await self._writer.drain()
            while not answer.complete:
                chunk = await self._reader.read(_CHUNK)
                if not chunk:
                    break
                received = True
                answer.parser.feed_data(chunk)
                if answer.size > MAX_BODY:
                    raise HttpFailed("the answer is too large")
        except ConnectionError as error:
            if not received:
                raise _Stale from error
            raise
        if not received:
            raise _Stale
        if not answer.complete:  # cut off, or a body that ends with the connection
            if {"content-length", "transfer-encoding"} & dict(answer.fields).keys():
                raise HttpFailed("the answer was cut off")
            answer.complete = True
        return answer

    async def close(self) -> None:
        self._writer.transport.abort()  # nothing is under way here: no need to wait for the other side
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()
