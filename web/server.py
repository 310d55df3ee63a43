"""uvicorn as limits ask for it: sans-IO websockets, no compression, no access log."""

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn
from starlette.applications import Starlette
from uvicorn._types import ASGISendEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from peerchat.frames import MAX_FRAME_BYTES
from peerchat.hub import GOING_AWAY
from peerchat.settings import Settings
from web import logs

log = logging.getLogger(__name__)

SHUTDOWN_S = 5
STALLED_MS = 30_000


def serve(app: Starlette, settings: Settings, *, on_ready: Callable[[str], None]) -> int:
    """Serve until a signal; call `on_ready` with the URL once requests are answered.

    Returns an exit status: 0, or 1 when the port could not be had or start-up failed.
    """
    logs.configure()
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="auto",
        http="auto",
        ws=LineProtocol,
        ws_max_size=4 * MAX_FRAME_BYTES,  # above the protocol's limit, so that ours answers with its own code
        ws_per_message_deflate=False,
        ws_ping_interval=None,  # the protocol has a heartbeat of its own
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        timeout_graceful_shutdown=SHUTDOWN_S,
        backlog=4096,
    )
    server = _Server(config, lambda: on_ready(_url(server, settings)))
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner, contextlib.suppress(SystemExit):
        runner.run(server.serve())  # exits by itself where the port is taken
    if not server.started:
        if server.lifespan.should_exit:
            log.error("not started; the lines above say why")
        else:
            log.error("not started: port %s is taken, or not allowed", settings.port)
        return 1
    return 0


class LineProtocol(WebSocketsSansIOProtocol):
    """uvicorn's, which never waits for a reader that does not read.

    A close frame goes out behind what is buffered instead of waiting for room, and a peer that takes nothing
    for a while is dropped by the kernel, so that a stalled client costs a bounded buffer for a bounded time.
    """

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Bound how long unread data may wait."""
        super().connection_made(transport)
        bound = transport.get_extra_info("socket")
        option = getattr(socket, "TCP_USER_TIMEOUT", None)  # Linux
        if bound is not None and option is not None and bound.family != socket.AF_UNIX:
            bound.setsockopt(socket.IPPROTO_TCP, option, STALLED_MS)

    def shutdown(self) -> None:
        """Tell the client to come back, in the protocol's own code, when the server goes down."""
        if self.handshake_complete and not self.close_sent:
            self.close_sent = True
            self.queue.put_nowait({"type": "websocket.disconnect", "code": GOING_AWAY})
            self.conn.send_close(GOING_AWAY)
            self.transport.write(b"".join(self.conn.data_to_send()))
        super().shutdown()

    async def send(self, message: ASGISendEvent) -> None:
        """Send; closing does not wait for room."""
        if message["type"] == "websocket.close":
            self.writable.set()
        await super().send(message)
        if message["type"] == "websocket.http.response.body":
            self.handshake_complete = True  # refused with an answer: nothing is missing


class _Server(uvicorn.Server):
    """uvicorn's, which says when it is ready, and takes a signal for an order to stop, not a way to die."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop; a second Ctrl+C stops at once. The signal is not raised again: the exit status is ours."""
        self.force_exit = self.force_exit or (self.should_exit and sig == signal.SIGINT)
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then say so."""
        await super().startup(sockets)
        if self.started:
            self._on_ready()


def _url(server: uvicorn.Server, settings: Settings) -> str:
    port = settings.port
    for listening in server.servers:
        for bound in listening.sockets:
            port = bound.getsockname()[1]
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{'127.0.0.1' if settings.host in ('', '0.0.0.0') else host}:{port}"  # noqa: S104
