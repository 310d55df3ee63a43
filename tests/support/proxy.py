"""A proxy as some school networks have it: it refuses upgrades and passes on whole answers only.

Every request is read to its end, sent to the server over a connection of its own, and the answer is handed on
when the last byte of it is there, with a Content-Length. A request that asks for an upgrade gets 403.
"""

import asyncio
import contextlib
from typing import Self

import httptools

HOP_BY_HOP = {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "proxy-connection"}


class _Message:
    """What httptools reports of one request or answer."""

    def __init__(self) -> None:
        self.target = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.complete = False

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete = True

    def get(self, name: str) -> str:
        """Return a header's value in lower case, "" where it is missing."""
        return next((v.decode("latin-1").lower() for k, v in self.headers if k.decode().lower() == name), "")

    def end_to_end(self) -> list[tuple[bytes, bytes]]:
        drop = HOP_BY_HOP | {"content-length"}
        return [(k, v) for k, v in self.headers if k.decode("latin-1").lower() not in drop]

    def dump(self, first: bytes, *, body: bytes) -> bytes:
        lines = [first] + [k + b": " + v for k, v in self.end_to_end()]
        lines += [b"Content-Length: %d" % len(body), b"Connection: close"]
        return b"\r\n".join(lines) + b"\r\n\r\n" + body


class BufferingProxy:
    """Listens on a loopback port of its own in front of one server.

    `refused` counts upgrades turned away, `passed` the answers handed on. `lose_answers(n)` makes it drop the
    next n answers to GET, after the server has given them: what a client must survive.
    """

    def __init__(self, port: int) -> None:
        self._upstream = port
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._to_lose = 0
        self.refused = 0
        self.passed = 0
        self.lost = 0

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def lose_answers(self, n: int) -> None:
        self._to_lose = n

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(OSError, httptools.HttpParserError, asyncio.CancelledError):
                await self._serve(reader, writer)  # cancelled only by our own end, which waits for it
        finally:
            self._tasks.discard(task)
            await _close(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = _Message()
        parser = httptools.HttpRequestParser(request)
        try:
            while not request.complete:
                chunk = await reader.read(65536)
                if not chunk:
                    return
                parser.feed_data(chunk)
        except httptools.HttpParserUpgrade:
            pass
        if parser.should_upgrade() or request.get("upgrade"):
            self.refused += 1
            writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await writer.drain()
            return
        method = parser.get_method()
        answer = await self._ask(
            request.dump(b"%s %s HTTP/1.1" % (method, request.target), body=request.body)
        )
        if method == b"GET" and self._to_lose:
            self._to_lose -= 1
            self.lost += 1
            return
        if answer:
            self.passed += 1
            writer.write(answer)
            await writer.drain()

    async def _ask(self, request: bytes) -> bytes:
        """Return the server's whole answer, in one piece."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._upstream)
        try:
            writer.write(request)
            answer = _Message()
            parser = httptools.HttpResponseParser(answer)
            while not answer.complete:
                chunk = await reader.read(65536)
                if not chunk:
                    return b""
                parser.feed_data(chunk)
            return answer.dump(b"HTTP/1.1 %d -" % parser.get_status_code(), body=answer.body)
        finally:
            await _close(writer)


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
