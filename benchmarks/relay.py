"""The bare peer: a plain relay on the `websockets` library. It judges nothing, stores nothing, checks nobody.

A client's token is "PAIR-SIDE"; a `send` goes to the other side of the pair as a `message` and is acked at
once. `python -m benchmarks.relay PORT` serves until it is ended.
"""

import asyncio
import sys

import msgspec
import uvloop
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from benchmarks.load import SUBPROTOCOL


class Send(msgspec.Struct):
    """What a client says."""

    conversation: str
    id: str
    text: str


_decode = msgspec.json.Decoder(Send).decode
_encode = msgspec.json.Encoder().encode


class Relay:
    """Who is there, and how far each pair has come."""

    def __init__(self) -> None:
        self._sides: dict[str, ServerConnection] = {}
        self._seq: dict[str, int] = {}

    async def handle(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        me = socket.request.headers["Authorization"].removeprefix("Bearer ")
        pair, _, side = me.rpartition("-")
        partner = f"{pair}-{'b' if side == 'a' else 'a'}"
        self._sides[me] = socket
        try:
            async for raw in socket:
                send = _decode(raw)
                seq = self._seq[pair] = self._seq.get(pair, 0) + 1
                ack = {
                    "type": "ack",
                    "id": send.id,
                    "conversation": pair,
                    "message": f"m{seq}",
                    "status": "delivered",
                    "seq": seq,
                }
                message = {
                    "type": "message",
                    "conversation": pair,
                    "message": f"m{seq}",
                    "seq": seq,
                    "text": send.text,
                }
                await socket.send(_encode(ack), text=True)
                if other := self._sides.get(partner):
                    await other.send(_encode(message), text=True)
        except ConnectionClosed:
            pass
        finally:
            self._sides.pop(me, None)


async def main(port: int) -> None:
    """Serve until the process is ended."""
    relay = Relay()
    async with serve(
        relay.handle,
        "127.0.0.1",
        port,
        subprotocols=[Subprotocol(SUBPROTOCOL)],
        compression=None,
        ping_interval=None,
        max_size=16 * 1024,
    ):
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
