"""The same frames by long polling, for networks that refuse websockets.

A line is named by the tab (`?line=`). Frames are numbered and kept until the client asks for what comes
after them, so a lost answer loses nothing; the buffer is bounded, and a line that overflows or is not asked
for three heartbeats closes, as a socket would.
"""

import asyncio
import contextlib
import re
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from peerchat.hub import AT_ONCE, MAX_LINES, OUTBOX_FRAMES, REPLACED, TOO_SLOW
from peerchat.node import Conversing, Node
from web.api.body import raw_body
from web.api.problems import InvalidField, Json
from web.auth import node_of, require

HOLD_S = 25.0
KEPT = 4 * MAX_LINES
"""Lines of one session, closed ones too: a closed one stays for a while to say with which code."""

MAX_POSTED = 32
"""Frames in one POST."""

_NAME = re.compile(r"[A-Za-z0-9]{1,32}")


@dataclass(slots=True)
class PollLine:
    """One polled line: its frames since the last that the client confirmed."""

    talk: Conversing
    node: Node
    first: int = 1  # the number of frames[0]
    frames: list[str] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    posting: asyncio.Lock = field(default_factory=asyncio.Lock)
    closed: int | None = None
    fetched: bool = False
    collector: "asyncio.Task[None] | None" = None

    async def collect(self) -> None:
        """Number what the outbox holds; end when it closes."""
        outbox = self.talk.line.outbox
        while frames := await outbox.take():
            self.frames.extend(frames)
            if len(self.frames) > OUTBOX_FRAMES:
                outbox.close(TOO_SLOW)
            self.arrived.set()
        self.closed = outbox.close_code
        if self.closed in AT_ONCE or self.closed == REPLACED:
            self.first += len(self.frames)
            self.frames.clear()
        self.arrived.set()

    def confirm(self, after: int) -> None:
        """Forget what the client has."""
        known = min(max(after - self.first + 1, 0), len(self.frames))
        del self.frames[:known]
        self.first += known


class PollLines:
    """The polled lines of a node, by session and name."""

    def __init__(self) -> None:
        self._lines: OrderedDict[tuple[str, str], PollLine] = OrderedDict()
        self._opening: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def get(self, key: tuple[str, str]) -> PollLine | None:
        """Return an open line."""
        return self._lines.get(key)

    @asynccontextmanager
    async def opening(self, session: str) -> AsyncIterator[None]:
        """Hold while a session's line is found or opened: two requests at once must not open two."""
        lock = self._opening.get(session)  # gone by itself once nobody holds or awaits it
        if lock is None:
            lock = self._opening[session] = asyncio.Lock()
        async with lock:
            yield

    async def open(self, key: tuple[str, str], node: Node, talk: Conversing) -> PollLine:
        """Begin a line; an earlier one of the same name ends."""
        await self.end(key)
        same = [name for name in self._lines if name[0] == key[0]]
        for oldest in same[: max(0, len(same) + 1 - KEPT)]:
            await self.end(oldest)
        line = PollLine(talk=talk, node=node)
        self._lines[key] = line
        line.collector = asyncio.create_task(self._run(key, line), name="poll-line")
        return line

    async def _run(self, key: tuple[str, str], line: PollLine) -> None:
        """Collect until the line closes, then let the last answer be fetched for a while."""
        try:
            try:
                await line.collect()
            finally:
                await line.node.close(line.talk)
            await asyncio.sleep(HOLD_S)
        finally:
            if self._lines.get(key) is line:
                del self._lines[key]

    async def end(self, key: tuple[str, str]) -> None:
        """End a line now."""
        line = self._lines.pop(key, None)
        if line is not None and line.collector is not None:
            line.collector.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await line.collector

    async def stop(self) -> None:
        """End all lines."""
        for key in list(self._lines):
            await self.end(key)


async def fetch(request: Request) -> Response:
    """GET /api/frames: what came after `after`, held up to 25 s; without `after` a line opens."""
    actor = await require(request)
    key = (actor.token, _name(request))
    lines = _lines(request)
    after = request.query_params.get("after")
    async with lines.opening(actor.token):
        line = lines.get(key)
        if after is None and line is not None and not line.fetched:
            after = "0"  # it was opened by a POST: what that was answered is still to be read
        elif after is None or (line is None and after == "0"):
            node = node_of(request)
            line = await lines.open(key, node, await node.open(actor))
            after = "0"
        if line is not None:
            line.fetched = True
    if not (after.isascii() and after.isdigit() and len(after) < 16):
        raise InvalidField("after", "`after` is a number")
    if line is None or int(after) >= line.first + len(line.frames):  # not a number of this line's: begin anew
        return Json({"items": [], "next": None, "closed": TOO_SLOW})
    line.talk.line.hear(line.node.now())
    line.confirm(int(after))
    if not line.frames and line.closed is None:
        line.arrived.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HOLD_S):
                await line.arrived.wait()
    line.talk.line.hear(line.node.now())
    frames = list(line.frames)
    return Json(
        {
            "items": [msgspec.Raw(frame.encode()) for frame in frames],
            "next": line.first + len(frames) - 1,
            "closed": line.closed,
        }
    )


async def post(request: Request) -> Response:
    """POST /api/frames: one frame, or a list of them; answers come by GET. A line opens where none is."""
    actor = await require(request)
    key = (actor.token, _name(request))
    lines = _lines(request)
    raw = await raw_body(request)
    async with lines.opening(actor.token):
        line = lines.get(key)
        if line is None:
            node = node_of(request)
            line = await lines.open(key, node, await node.open(actor))
    if line.closed is not None:
        return Json({"accepted": 0, "closed": line.closed}, 202)
    async with line.posting:  # two requests of one line take effect one after the other
        accepted = 0
        for frame in _frames(raw):
            await line.node.receive(line.talk, frame)
            accepted += 1
    return Json({"accepted": accepted}, 202)


def _frames(raw: bytes) -> list[str]:
    """Return the frames of a body, each as it was sent; what is not a list is one frame, good or bad."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise InvalidField("body", "The body is not UTF-8.") from None
    if not text.lstrip().startswith("["):
        return [text]
    try:
        parts = msgspec.json.decode(raw, type=list[msgspec.Raw])
    except (msgspec.MsgspecError, RecursionError):
        return [text]
    if len(parts) > MAX_POSTED:
        raise InvalidField("body", f"At most {MAX_POSTED} frames at once.")
    return [bytes(part).decode() for part in parts]


def _name(request: Request) -> str:
    name = request.query_params.get("line", "0")
    if not _NAME.fullmatch(name):
        raise InvalidField("line", "`line` is 1 to 32 letters and digits")
    return name


def _lines(request: Request) -> PollLines:
    lines = request.state.poll_lines
    assert isinstance(lines, PollLines)
    return lines


routes = [
    Route("/api/frames", fetch, methods=["GET"]),
    Route("/api/frames", post, methods=["POST"]),
]
