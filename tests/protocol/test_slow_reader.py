"""One client that does not read: it is let go, and nobody else waits for it."""

import asyncio
import contextlib
import json
import socket
import time

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from tests.support.stage import Stage, told

OPTIONS = ("--pupils", "4", "--mentors", "4", "--unlimited")
LONG = ("I went for a walk by the river today and it was calm. " * 37)[:1_998] + "."
MESSAGES = 3_000
MIB = 1024


@pytest.mark.timeout(180)  # 6 MB through the judge, more than the kernel's buffers hold
async def test_a_slow_reader_is_closed_and_others_go_on(stage: Stage) -> None:
    """4001 for the one; memory bounded; the partner's other line and other pairs have no delay."""
    pair = await stage.pair()
    other = await stage.pair()
    await told(pair.mentor, LONG, pair.c)
    before = stage.demo.resident_kib()

    plug = socket.socket()
    plug.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    plug.setblocking(False)
    await asyncio.get_running_loop().sock_connect(plug, ("127.0.0.1", stage.demo.port))
    stalled = await connect(
        f"ws://127.0.0.1:{stage.demo.port}/ws",
        sock=plug,
        subprotocols=[Subprotocol("peerchat.v1")],
        additional_headers={"Authorization": f"Bearer {pair.pupil.session.token}"},
        compression=None,
        proxy=None,
        ping_interval=None,
        max_queue=1,
        close_timeout=1,
    )
    assert json.loads(await stalled.recv())["type"] == "welcome"

    async def flood() -> str:
        ack = {}
        for _ in range(MESSAGES // 20):
            acks = await asyncio.gather(*(pair.mentor.send(pair.c, LONG) for _ in range(20)))
            ack = acks[-1]
        return str(ack["message"])

    flooding = asyncio.create_task(flood())
    slowest = 0.0
    while not flooding.done():
        started = time.perf_counter()
        ack = await told(other.pupil, "thinking about rivers", other.c)
        await other.mentor.wait("message", message=ack["message"])
        slowest = max(slowest, time.perf_counter() - started)
        await asyncio.sleep(0.05)
    last = await flooding
    await pair.pupil.wait("message", message=last)
    assert slowest < 2, f"another pair waited {slowest:.1f} s"
    assert (stage.demo.resident_kib() - before) < 64 * MIB
    read = 0
    with contextlib.suppress(ConnectionClosed):
        async with asyncio.timeout(20):
            while True:
                await stalled.recv()
                read += 1
    assert stalled.close_code in {4001, 1006}, "1006: cut, where not even a close frame would fit"
    assert read < MESSAGES
    await stalled.close()
