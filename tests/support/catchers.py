"""Receivers on loopback: a mail server and a web server that keep what they get, or misbehave on order."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Self


class _Catcher:
    """A server on a port of its own, for as long as its context lasts."""

    def __init__(self) -> None:
        self.port = 0
        self.arrived = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self.serve(reader, writer)
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise NotImplementedError

    def met(self) -> None:
        """Say that something came."""
        self.arrived.set()
        self.arrived = asyncio.Event()


@dataclass(frozen=True)
class Mail:
    """One message as it was taken."""

    to: tuple[str, ...]
    message: EmailMessage
    raw: bytes = field(repr=False)


class MailCatcher(_Catcher):
    """Speaks as much SMTP as a client needs to hand over a message."""

    def __init__(self) -> None:
        super().__init__()
        self.mails: list[Mail] = []
        self.refuse: Callable[[str], bool] = lambda _to: False
        self.hangs = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take messages until the client leaves."""

        async def say(line: str) -> None:
            writer.write(f"{line}\r\n".encode())
            await writer.drain()

        if self.hangs:
            await asyncio.Event().wait()
        to: list[str] = []
        await say("220 catcher")
        while line := (await reader.readline()).decode().strip():
            verb = line[:4].upper()
            if verb == "RCPT":
                address = line.partition("<")[2].partition(">")[0]
                if self.refuse(address):
                    await say("550 nobody here")
                    continue
                to.append(address)
            if verb == "DATA":
                if not to:
                    await say("503 no recipients")
                    continue
                await say("354 go on")
                raw = (await reader.readuntil(b"\r\n.\r\n"))[:-3]
                message = message_from_bytes(raw, policy=policy.default)
                assert isinstance(message, EmailMessage)
                self.mails.append(Mail(tuple(to), message, raw))
                to = []
                self.met()
            await say("221 bye" if verb == "QUIT" else "250 ok")
            if verb == "QUIT":
                return


@dataclass(frozen=True)
class Hook:
    """One request as it was taken; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class HookCatcher(_Catcher):
    """Answers each request with the next status of `statuses`, then with 200."""

    def __init__(self) -> None:
        super().__init__()
        self.hooks: list[Hook] = []
        self.statuses: list[int] = []
        self.more = ""
        self.hangs = False
        self.before: Callable[[Hook], None] = lambda _hook: None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take one request."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.strip().split("\r\n")
        method, path, _ = first.split(" ")
        headers = {n.strip().lower(): v.strip() for n, _, v in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        hook = Hook(method, path, headers, body)
        self.before(hook)
        self.hooks.append(hook)
        self.met()
        if self.hangs:
            await asyncio.Event().wait()
        status = self.statuses.pop(0) if self.statuses else 200
        writer.write(f"HTTP/1.1 {status} So\r\n{self.more}Content-Length: 0\r\n\r\n".encode())
        await writer.drain()
