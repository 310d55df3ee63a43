"""A small client of the wire: one member on one line, over a websocket or long polling alike.

    Server    where it is; signs members in over HTTP
    Session   what a sign-in gave: the token and who one is
    Line      frames both ways, in order: `SocketLine` or `PollLine`
    Client    a member on a line: keeps what came in, finds the answer to a question, waits for events

    async with Server("http://127.0.0.1:8000") as server:
        pupil = Client(server, await server.sign_in({"code": "..."}))
        await pupil.open()
        ack = await pupil.send(conversation, text)

Used by `peerchat simulate`, the protocol tests and the benchmarks. Errors and logs here name types, codes
and states, never what somebody wrote:

    WireError
    |-- SignInRefused     `status`; `retry_after_s` where there were too many
    |-- Refused           the server answered with an `error` frame: `code`, `retry_after_s`
    |-- NoAnswer          what was waited for did not come in time
    `-- LineClosed        `code`: the close code, None where the line broke without one
"""

import asyncio
import contextlib
import enum
import itertools
import json
import logging
import secrets
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, Self, TypeAlias
from urllib.parse import urlencode

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.typing import Subprotocol

from web.http_client import HttpClient, HttpFailed, Response

SUBPROTOCOL = "peerchat.v1"
WAIT_S = 30.0
POLL_S = 25.0
"""How long the server holds a long poll that has nothing to say."""
BATCH = 16
"""Frames in one POST at most."""

STAY_AWAY = range(4100, 4200)
"""Close codes after which a client does not come back by itself."""

Frame: TypeAlias = dict[str, Any]

ANSWERS = {"send": {"ack"}, "history": {"history_end"}, "ask": {"waiting", "paired"}}
"""What answers a frame; `done` answers all others."""

_quiet = logging.getLogger(__name__ + ".wire")
_quiet.setLevel(logging.INFO)  # websockets logs whole frames at DEBUG: those hold text


class WireError(Exception):
    """The root of the tree."""


class SignInRefused(WireError):
    """The server did not sign this member in."""

    def __init__(self, status: int, retry_after_s: float | None) -> None:
        super().__init__(f"sign-in was answered {status}")
        self.status = status
        self.retry_after_s = retry_after_s


class Refused(WireError):
    """The server answered with an error."""

    def __init__(self, what: str, code: str, retry_after_s: float | None = None) -> None:
        super().__init__(f"`{what}` was refused: {code}")
        self.code = code
        self.retry_after_s = retry_after_s


class NoAnswer(WireError):
    """What was waited for did not come in time."""


class LineClosed(WireError):
    """The line is closed, or could not be opened."""

    def __init__(self, code: int | None, why: str = "") -> None:
        super().__init__(f"the line is closed ({code or 'no code'}{': ' if why else ''}{why})")
        self.code = code

    @property
    def final(self) -> bool:
        """True where the server asked the client to stay away."""
        return self.code in STAY_AWAY


class Transport(enum.StrEnum):
    """How frames travel. AUTO tries a websocket first and polls where it is refused."""

    WS = "ws"
    POLL = "poll"
    AUTO = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What a sign-in gave."""

    token: str = field(repr=False)
    csrf: str = field(repr=False)
    member: str
    role: str
    alias: str | None
    site: str


class Server:
    """One server and the HTTP connections to it, shared by all who sign in through it."""

    def __init__(self, url: str, *, tls: ssl.SSLContext | None = None) -> None:
        self.http = HttpClient(url, tls=tls, idle=64)
        self.url = self.http.url

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.close()

    async def sign_in(self, who: Mapping[str, str]) -> Session:
        """Sign a member in by `code` (and `pin`), or `username`, `password` (and `otp`)."""
        names = ("code", "pin", "username", "password", "otp")
        answer = await self.call("POST", "/api/session", json={k: who[k] for k in names if k in who})
        if answer.status != 200:
            raise SignInRefused(answer.status, answer.retry_after_s)
        doc = answer.json()
        member = doc["member"]
        return Session(
            token=doc["token"],
            csrf=doc["csrf"],
            member=member["id"],
            role=member["role"],
            alias=member["alias"],
            site=member["site"],
        )

    async def call(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        json: object = None,
        raw: bytes | None = None,
        timeout_s: float = WAIT_S,
    ) -> Response:
        """Return the answer, whatever its status; `json` or else `raw` is the body."""
        headers = {"Accept": "application/json"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        body = raw or b""
        if json is not None:
            body = msgspec.json.encode(json)
        if body:
            headers["Content-Type"] = "application/json"
        return await self.http.request(method, path, headers=headers, body=body, timeout_s=timeout_s)


# ------------------------------------------------------------------------------------------- the lines


class Line(Protocol):
    """An open line of one member. `take` and `put` raise `LineClosed`; frames keep their order both ways."""

    async def put(self, raw: str) -> None: ...

    async def take(self) -> list[Frame]:
        """Wait for the next frames: at least one."""
        ...

    async def close(self) -> None: ...

    def cut(self) -> None:
        """Drop the line without a goodbye."""
        ...


class SocketLine:
    """A websocket."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    @classmethod
    async def open(cls, server: Server, token: str, *, timeout_s: float = WAIT_S) -> Self:
        try:
            socket = await connect(
                server.url.replace("http", "ws", 1) + "/ws",
                subprotocols=[Subprotocol(SUBPROTOCOL)],
                additional_headers={"Authorization": f"Bearer {token}"},
                ssl=server.http.tls,
                compression=None,
                proxy=None,
                ping_interval=None,
                max_size=None,
                max_queue=None,  # the reader below is always reading
                open_timeout=timeout_s,
                close_timeout=2,
                logger=_quiet,
            )
        except (OSError, TimeoutError, InvalidHandshake) as error:
            raise LineClosed(None, f"no websocket: {type(error).__name__}") from error
        return cls(socket)

    async def put(self, raw: str) -> None:
        try:
            await self._socket.send(raw)
        except ConnectionClosed as error:
            raise self._closed() from error

    async def take(self) -> list[Frame]:
        try:
            return [msgspec.json.decode(await self._socket.recv())]
        except ConnectionClosed as error:
            raise self._closed() from error

    async def close(self) -> None:
        await self._socket.close()

    def cut(self) -> None:
        self._socket.transport.abort()

    def _closed(self) -> LineClosed:
        code = self._socket.close_code
        return LineClosed(None if code == 1006 else code)


class Poll(msgspec.Struct, frozen=True):
    """The answer to one long poll."""

    items: list[Frame]
    next: int | None  # None where there is no such line any more
    closed: int | None


class PollLine:
    """Long polling: frames go up by POST, one request at a time, and come down by GET."""

    _decode = msgspec.json.Decoder(Poll).decode

    def __init__(self, server: Server, token: str) -> None:
        self._server, self._token = server, token
        self._path = "/api/frames?" + urlencode({"line": secrets.token_hex(12)})
        self._after: int | None = None
        self._posting = asyncio.Lock()
        self._waiting: list[str] = []
        self._closed: LineClosed | None = None

    async def put(self, raw: str) -> None:
        """Frames that gather while a POST is under way go together in the next one."""
        self._waiting.append(raw)
        async with self._posting:
            if self._closed:
                raise self._closed
            if raw not in self._waiting:
                return  # it went along with an earlier one
            while self._waiting:
                batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
                body = batch[0] if len(batch) == 1 else "[" + ",".join(batch) + "]"
                answer = await self._ask("POST", self._path, raw=body.encode("utf-8", "surrogatepass"))
                if answer.status != 202:
                    raise Refused("POST /api/frames", str(answer.status), answer.retry_after_s)

    async def take(self) -> list[Frame]:
        while True:
            if self._closed:
                raise self._closed
            path = self._path if self._after is None else f"{self._path}&after={self._after}"
            answer = await self._ask("GET", path, timeout_s=POLL_S + WAIT_S)
            if answer.status != 200:
                raise self._end(LineClosed(None, f"a poll was answered {answer.status}"))
            try:
                poll = self._decode(answer.body)
            except msgspec.MsgspecError as error:
                raise self._end(LineClosed(None, "a poll was answered by something else")) from error
            self._after = poll.next
            if poll.closed is not None:
                self._end(LineClosed(poll.closed))
            if poll.items:
                return poll.items

    async def close(self) -> None:
        self.cut()

    def cut(self) -> None:
        self._end(LineClosed(None, "left"))

    async def _ask(
        self, method: str, path: str, *, raw: bytes | None = None, timeout_s: float = WAIT_S
    ) -> Response:
        """Ask once more where the connection broke: a poll can be repeated, and sends carry ids."""
        for last in (False, True):
            try:
                answer = await self._server.call(
                    method, path, token=self._token, raw=raw, timeout_s=timeout_s
                )
            except HttpFailed as error:
                if last or self._after is None:
                    raise self._end(LineClosed(None, str(error))) from error
            else:
                if answer.status == 401:
                    raise self._end(LineClosed(4100, "signed out"))
                return answer
        raise AssertionError  # the loop returns or raises

    def _end(self, closed: LineClosed) -> LineClosed:
        self._closed = self._closed or closed
        return self._closed


async def open_line(server: Server, session: Session, transport: Transport) -> Line:
    """Open a line as `transport` says. Raises `LineClosed` where none can be had."""
    if transport is Transport.POLL:
        return PollLine(server, session.token)
    try:
        return await SocketLine.open(server, session.token)
    except LineClosed:
        if transport is Transport.WS:
            raise
    return PollLine(server, session.token)


# ------------------------------------------------------------------------------------------ the member


class Received(NamedTuple):
    """A frame and when it came, in seconds of the performance counter."""

    at: float
    frame: Frame


def encode(frame: Frame) -> str:
    """Return the frame as JSON; lone surrogates, which no UTF-8 can carry, travel as escapes."""
    text = json.dumps(frame, ensure_ascii=False, separators=(",", ":"))
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(frame, separators=(",", ":"))
    return text


def fits(frame: Frame, types: str, fields: Mapping[str, object]) -> bool:
    """True where the frame is of one of the types ("joined|left") and has these fields' values."""
    return frame.get("type") in types.split("|") and all(frame.get(k) == v for k, v in fields.items())


class Client:
    """One member on one line. Opened again after a loss, it goes on with the same log.

    Frames are kept in `log` (at least the newest `keep`); `mark()` is a place in it to wait from. The line is
    pinged twice a heartbeat unless `ping` is False, so that the server does not take it for silent.
    """

    def __init__(
        self,
        server: Server,
        session: Session,
        *,
        transport: Transport = Transport.AUTO,
        ping: bool = True,
        keep: int = 20_000,
    ) -> None:
        self.server, self.session, self.transport = server, session, transport
        self.log: list[Received] = []
        self.listeners: list[Callable[[Received], None]] = []
        self.closed: LineClosed | None = LineClosed(None, "not opened")
        self.rate_limited = 0
        self._ping = ping
        self._keep = keep
        self._dropped = 0
        self._line: Line | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._refs = itertools.count(1)
        self._answers: dict[str, tuple[set[str], asyncio.Future[Frame]]] = {}
        self._news: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        return f"<{self.session.role} {'closed' if self.closed else 'open'}>"

    @property
    def up(self) -> bool:
        return self.closed is None

    async def open(self, *, timeout_s: float = WAIT_S) -> Frame:
        """Open a line and return its `welcome`. Raises `LineClosed`, `NoAnswer`."""
        await self.close()
        since = self.mark()
        self._line = await open_line(self.server, self.session, self.transport)
        self.closed = None
        self._tasks = [asyncio.create_task(self._read(self._line))]
        welcome = await self.wait("welcome", since=since, timeout_s=timeout_s)
        if self._ping:
            self._tasks.append(asyncio.create_task(self._beat(self._line, welcome["heartbeat_s"] / 2)))
        return welcome

    async def close(self) -> None:
        """Close the line, if there is one."""
        line, self._line = self._line, None
        tasks, self._tasks = self._tasks, []
        if line is not None:
            await line.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._lost(LineClosed(None, "closed here"))

    async def cut(self) -> None:
        """Drop the line without a goodbye, as a lost network does."""
        if self._line is not None:
            self._line.cut()
        await self.close()

    # -- saying

    async def raw(self, text: str) -> None:
        """Send this very text."""
        if self._line is None or self.closed:
            raise self.closed or LineClosed(None)
        await self._line.put(text)

    async def tell(self, type: str, /, **fields: object) -> None:
        """Send a frame and wait for no answer."""
        await self.raw(encode({"type": type, **fields}))

    async def call(self, type: str, /, *, timeout_s: float = WAIT_S, **fields: object) -> Frame:
        """Send a frame and return what answers it. Raises `Refused`, `NoAnswer`, `LineClosed`."""
        ref = f"r{next(self._refs)}"
        answer: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._answers[ref] = ANSWERS.get(type, {"done"}), answer
        try:
            async with asyncio.timeout(timeout_s):
                await self.tell(type, **fields, ref=ref)
                frame = await answer
        except TimeoutError as error:
            raise NoAnswer(f"`{type}` was not answered in {timeout_s:g} s") from error
        finally:
            del self._answers[ref]
            if answer.done() and not answer.cancelled():
                answer.exception()  # the line may have ended while it was being sent
        if frame["type"] == "error":
            raise Refused(type, frame["code"], frame.get("retry_after_s"))
        return frame

    async def send(
        self,
        conversation: str,
        text: str,
        *,
        id: str | None = None,
        patient: bool = True,
        timeout_s: float = WAIT_S,
    ) -> Frame:
        """Send a message and return its ack. If patient, come again when told to, with the same id."""
        id = id or secrets.token_hex(8)
        while True:
            try:
                return await self.call(
                    "send", conversation=conversation, id=id, text=text, timeout_s=timeout_s
                )
            except Refused as error:
                if not patient or error.code != "rate_limited":
                    raise
                self.rate_limited += 1
                await asyncio.sleep(max(error.retry_after_s or 0, 0.02))

    async def history(self, conversation: str, *, after: int = 0, limit: int = 200) -> list[Frame]:
        """Return all delivered messages after a seq, page by page."""
        pages: list[Frame] = []
        while True:
            since = self.mark()
            end = await self.call("history", conversation=conversation, after=after, limit=limit)
            page = self.seen("message", since=since, conversation=conversation, replay=True)
            pages += page
            if not end["more"] or not page:
                return pages
            after = page[-1]["seq"]

    async def http(
        self, method: str, path: str, json: object = None, *, timeout_s: float = WAIT_S
    ) -> Response:
        """Return the answer to a request in this member's name."""
        return await self.server.call(method, path, token=self.session.token, json=json, timeout_s=timeout_s)

    # -- hearing

    def mark(self) -> int:
        """Return the place in the log that the next frame will have."""
        return self._dropped + len(self.log)

    def received(self, since: int = 0) -> Iterator[Received]:
        """Yield what came from a mark on, oldest first, as far as it is kept."""
        for i in range(max(since - self._dropped, 0), len(self.log)):
            yield self.log[i]

    def seen(self, types: str, *, since: int = 0, **fields: object) -> list[Frame]:
        """Return the frames of these types and fields that came from a mark on."""
        return [r.frame for r in self.received(since) if fits(r.frame, types, fields)]

    async def wait(
        self,
        types: str,
        *,
        since: int = 0,
        timeout_s: float = WAIT_S,
        where: Callable[[Frame], bool] | None = None,
        **fields: object,
    ) -> Frame:
        """Return the first frame from a mark on that fits, now or when it comes.

        Raises `NoAnswer` after `timeout_s` seconds, and `LineClosed` where the line ends before.
        """
        received = await self.hear(types, since=since, timeout_s=timeout_s, where=where, **fields)
        return received.frame

    async def hear(
        self,
        types: str,
        *,
        since: int = 0,
        timeout_s: float = WAIT_S,
        where: Callable[[Frame], bool] | None = None,
        **fields: object,
    ) -> Received:
        """Do what `wait` does; return the frame with its time."""
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    here = self.mark()
                    for received in self.received(since):
                        frame = received.frame
                        if fits(frame, types, fields) and (where is None or where(frame)):
                            return received
                    if self.closed:
                        raise self.closed
                    since = here
                    if self._news is None or self._news.done():
                        self._news = asyncio.get_running_loop().create_future()
                    await asyncio.shield(self._news)
        except TimeoutError as error:
            raise NoAnswer(f"{self.session.role}: no `{types}` in {timeout_s:g} s") from error

    async def gone(self, *, timeout_s: float = WAIT_S) -> int | None:
        """Wait for the end of the line; return its close code."""
        with contextlib.suppress(LineClosed):
            await self.wait("", since=self.mark(), timeout_s=timeout_s)
        return self.closed.code if self.closed else None

    # -- inside

    async def _read(self, line: Line) -> None:
        try:
            while True:
                for frame in await line.take():
                    self._hear(Received(time.perf_counter(), frame))
        except LineClosed as closed:
            self._lost(closed)
        finally:
            self._lost(LineClosed(None, "nobody reads it"))

    def _hear(self, received: Received) -> None:
        self.log.append(received)
        if len(self.log) >= 2 * self._keep:
            del self.log[: self._keep]
            self._dropped += self._keep
        frame = received.frame
        types, answer = self._answers.get(frame.get("ref", ""), (set(), None))
        if answer is not None and not answer.done() and (frame["type"] in types or frame["type"] == "error"):
            answer.set_result(frame)
        for listener in self.listeners:
            listener(received)
        self._wake()

    def _lost(self, closed: LineClosed) -> None:
        self.closed = self.closed or closed
        for _, answer in self._answers.values():
            if not answer.done():
                answer.set_exception(self.closed)
        self._wake()

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    async def _beat(self, line: Line, every_s: float) -> None:
        with contextlib.suppress(LineClosed, Refused):
            while True:
                await asyncio.sleep(every_s)
                await line.put('{"type":"ping"}')
