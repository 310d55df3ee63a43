"""The load: pairs of lean websocket clients that keep a number of sends under way.

A client here costs some microseconds a frame, so that the server is the bottleneck and not the load. It
speaks just enough of RFC 6455: a handshake, text frames masked with zeros (an allowed mask, which leaves the
payload as it is), unfragmented answers, pong and close. The same client drives the server and the bare relay.
"""

import asyncio
import base64
import itertools
import secrets
import struct
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import msgspec

SUBPROTOCOL = "peerchat.v1"
WORDS = (
    "maths history biology french physics art music drama chess baking reading running gardens drawing"
).split()
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10


class Incoming(msgspec.Struct):
    """The fields of a frame that the load looks at."""

    type: str
    id: str = ""
    status: str = ""
    code: str = ""


_decode = msgspec.json.Decoder(Incoming).decode


def plain(n: int) -> str:
    """Return an innocent sentence of about 80 bytes, another one for each n below 38,416."""
    a, b, c, d = (WORDS[n // 14**k % 14] for k in range(4))
    return f"this week I practised {a} and {b}, and next week it is maybe {c} or {d}"


class LeanClient(asyncio.Protocol):
    """One websocket. Text frames go to `frame`; `ready` is done after the handshake."""

    def __init__(self, host: str, token: str) -> None:
        self._key = base64.b64encode(secrets.token_bytes(16)).decode()
        self._request = (
            f"GET /ws HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {self._key}\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\nAuthorization: Bearer {token}\r\n\r\n"
        ).encode()
        self._buffer = bytearray()
        self._open = False
        self.transport: asyncio.Transport
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.lost = False

    def frame(self, payload: bytes) -> None:
        """Take one text frame."""
        raise NotImplementedError

    def send(self, payload: bytes) -> None:
        """Write one text frame."""
        self.transport.write(_head(TEXT, len(payload)) + payload)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's own class is no subclass of it
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        if not self._open and not self._handshake():
            return
        at, end = 0, len(buffer)
        while end - at >= 2:
            opcode, size, head = buffer[at] & 15, buffer[at + 1], 2
            if size == 126:
                if end - at < 4:
                    break
                size, head = int.from_bytes(buffer[at + 2 : at + 4]), 4
            elif size == 127:
                if end - at < 10:
                    break
                size, head = int.from_bytes(buffer[at + 2 : at + 10]), 10
            if end - at < head + size:
                break
            payload = bytes(buffer[at + head : at + head + size])
            at += head + size
            if opcode == TEXT:
                self.frame(payload)
            elif opcode == PING:
                self.transport.write(_head(PONG, size) + payload)
            elif opcode == CLOSE:
                self.lost = True
                self.transport.close()
        del buffer[:at]

    def _handshake(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        first = bytes(self._buffer[:end]).split(b"\r\n", 1)[0]
        del self._buffer[: end + 4]
        if b" 101 " not in first + b" ":
            self.ready.set_exception(ConnectionError(f"no websocket: {first.decode('latin-1')}"))
            self.transport.close()
            return False
        self._open = True
        self.ready.set_result(None)
        return True

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = True
        if not self.ready.done():
            self.ready.set_exception(ConnectionError("closed during the handshake"))


def _head(opcode: int, size: int) -> bytes:
    """Return a masked frame's head; the mask is zero."""
    if size < 126:
        return bytes((0x80 | opcode, 0x80 | size)) + b"\0\0\0\0"
    return struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, size) + b"\0\0\0\0"


@dataclass(slots=True)
class Sample:
    """What one measurement saw; times in seconds."""

    seconds: float = 0.0
    delivered: int = 0
    ack: list[float] = field(default_factory=list)
    partner: list[float] = field(default_factory=list)
    held: int = 0
    errors: int = 0


class Pair:
    """A pupil that sends and a mentor that hears, with at most `window` sends under way."""

    def __init__(self, conversation: str, numbers: "itertools.count[int]") -> None:
        self.conversation = conversation
        self.sender: LeanClient
        self.partner: LeanClient
        self.window = 0
        self.sample = Sample()
        self._numbers = numbers
        self._acks: dict[str, float] = {}
        self._arrivals: deque[float] = deque()  # a pair has one sender: what is delivered comes in its order

    def say(self) -> None:
        n = next(self._numbers)
        id = f"n{n}"
        payload = msgspec.json.encode(
            {"type": "send", "conversation": self.conversation, "id": id, "text": plain(n)}
        )
        now = time.perf_counter()
        self._acks[id] = now
        self._arrivals.append(now)
        self.sender.send(payload)

    def to_sender(self, payload: bytes) -> None:
        """Take an ack, and send the next message in its place."""
        frame = _decode(payload)
        if frame.type == "ack":
            now = time.perf_counter()
            self.sample.ack.append(now - self._acks.pop(frame.id))
            if frame.status != "delivered":
                self.sample.held += 1
                self._arrivals.pop()
            if len(self._acks) < self.window:
                self.say()
        elif frame.type == "error":
            self.sample.errors += 1

    def to_partner(self, payload: bytes) -> None:
        """Take a message."""
        if _decode(payload).type == "message" and self._arrivals:
            self.sample.delivered += 1
            self.sample.partner.append(time.perf_counter() - self._arrivals.popleft())

    @property
    def under_way(self) -> int:
        return len(self._acks)

    @property
    def lost(self) -> bool:
        return self.sender.lost or self.partner.lost


class _Side(LeanClient):
    def __init__(self, host: str, token: str, pair: Pair, *, sends: bool) -> None:
        super().__init__(host, token)
        self.frame = pair.to_sender if sends else pair.to_partner  # type: ignore[method-assign]


async def connect(
    host: str, port: int, tokens: Sequence[tuple[str, str, str]], numbers: "itertools.count[int]"
) -> list[Pair]:
    """Open both sides of each (conversation, pupil's token, mentor's token)."""
    loop = asyncio.get_running_loop()
    pairs = []
    for conversation, pupil, mentor in tokens:
        pair = Pair(conversation, numbers)
        for sends, token in ((True, pupil), (False, mentor)):
            _, side = await loop.create_connection(
                lambda token=token, sends=sends: _Side(f"{host}:{port}", token, pair, sends=sends),  # type: ignore[misc]  # noqa: B023 - called at once
                host,
                port,
            )
            await side.ready
            if sends:
                pair.sender = side
            else:
                pair.partner = side
        pairs.append(pair)
    return pairs


async def saturate(pairs: Sequence[Pair], *, window: int, warm_s: float, seconds: float) -> Sample:
    """Keep `window` sends under way on every pair; measure after the warm-up."""
    for pair in pairs:
        pair.window = window
        for _ in range(window - pair.under_way):
            pair.say()
    await asyncio.sleep(warm_s)
    _begin(pairs)
    started = time.perf_counter()
    await asyncio.sleep(seconds)
    sample = _end(pairs, time.perf_counter() - started)
    for pair in pairs:
        pair.window = 0
    await _drain(pairs)
    return sample


async def steady(pairs: Sequence[Pair], *, rate: float, seconds: float) -> Sample:
    """Send at a steady rate over all pairs, far below what the server can do."""
    _begin(pairs)
    started = time.perf_counter()
    for i, pair in zip(range(int(rate * seconds)), itertools.cycle(pairs), strict=False):
        await asyncio.sleep(max(started + i / rate - time.perf_counter(), 0))
        pair.say()
    await _drain(pairs)
    return _end(pairs, time.perf_counter() - started)


async def _drain(pairs: Sequence[Pair]) -> None:
    async with asyncio.timeout(30):
        for pair in pairs:
            while pair.under_way and not pair.lost:  # noqa: ASYNC110 - an event would be on the measured path
                await asyncio.sleep(0.01)


def _begin(pairs: Sequence[Pair]) -> None:
    for pair in pairs:
        pair.sample = Sample()


def _end(pairs: Sequence[Pair], seconds: float) -> Sample:
    total = Sample(seconds=seconds)
    for pair in pairs:
        if pair.lost:
            raise ConnectionError("a line was lost under load")
        total.delivered += pair.sample.delivered
        total.ack += pair.sample.ack
        total.partner += pair.sample.partner
        total.held += pair.sample.held
        total.errors += pair.sample.errors
        pair.sample = Sample()
    return total


def close(pairs: Sequence[Pair]) -> None:
    """Drop all lines."""
    for pair in pairs:
        pair.sender.transport.abort()
        pair.partner.transport.abort()
