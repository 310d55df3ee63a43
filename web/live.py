"""The websocket shell: one reader and one writer a line, too thin to hide a decision."""

import asyncio
import contextlib

from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from peerchat.errors import StoreUnavailable
from peerchat.frames import SUBPROTOCOL
from peerchat.hub import AT_ONCE, GOING_AWAY
from peerchat.node import Conversing
from web.api.problems import problem
from web.auth import actor_of, node_of, origin_allowed

CLOSE_S = 5.0
"""How long a closing frame may take before the line is dropped."""


async def live(socket: WebSocket) -> None:
    """GET /ws. Refused before it opens: a foreign Origin, no live session, or another subprotocol."""
    if not origin_allowed(socket):
        await socket.send_denial_response(_denied(403))
        return
    actor = await actor_of(HTTPConnection(socket.scope))
    if actor is None:
        await socket.send_denial_response(_denied(401))
        return
    if SUBPROTOCOL not in socket.scope.get("subprotocols", ()):
        await socket.send_denial_response(_denied(400))
        return
    node = node_of(socket)
    await socket.accept(subprotocol=SUBPROTOCOL)
    try:
        talk = await node.open(actor)
    except StoreUnavailable:
        await socket.close(GOING_AWAY)
        return
    writer = asyncio.create_task(_write(socket, talk), name="line-writer")
    try:
        while (message := await socket.receive())["type"] != "websocket.disconnect":
            await node.receive(talk, message.get("text"))
    finally:
        writer.cancel()
        await asyncio.gather(writer, return_exceptions=True)
        await node.close(talk)


async def _write(socket: WebSocket, talk: Conversing) -> None:
    """Send what the outbox holds until it closes, then close with its code; the reader ends with that.

    A reader that is too slow, signed out or suspended is not waited for.
    """
    outbox = talk.line.outbox
    sending = asyncio.create_task(_send_all(socket, talk), name="line-sender")
    closing = asyncio.create_task(outbox.closing.wait())
    try:
        await asyncio.wait({sending, closing}, return_when=asyncio.FIRST_COMPLETED)
        if outbox.close_code not in AT_ONCE:
            await asyncio.wait({sending}, timeout=CLOSE_S)
    finally:
        sending.cancel()
        closing.cancel()
        await asyncio.gather(sending, closing, return_exceptions=True)
    if socket.application_state is WebSocketState.CONNECTED and outbox.close_code is not None:
        with contextlib.suppress(WebSocketDisconnect, RuntimeError, OSError):  # the client is gone
            await socket.close(outbox.close_code)


async def _send_all(socket: WebSocket, talk: Conversing) -> None:
    with contextlib.suppress(WebSocketDisconnect, RuntimeError, OSError):  # the client is gone
        while frames := await talk.line.outbox.take():
            for frame in frames:
                await socket.send_text(frame)


def _denied(status: int) -> Response:

    return problem(status, "This line was refused.")


routes = [WebSocketRoute("/ws", live)]
