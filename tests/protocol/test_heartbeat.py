"""Heartbeats: what they carry, and what becomes of a silent line."""

import time

from tests.support.stage import Stage, everywhere, told

ENVIRONMENT = {"PEERCHAT_HEARTBEAT_S": "0.5"}


@everywhere
async def test_a_heartbeat_carries_the_newest_seq_of_each_conversation(stage: Stage) -> None:
    pupil, mentor, c = await stage.pair()
    assert pupil.seen("welcome")[0]["heartbeat_s"] == 0.5
    await pupil.wait("heartbeat", conversations={c: 0}, timeout_s=5)
    acks = [await told(mentor, f"thinking about {what}", c) for what in ("art", "chess", "music")]
    for client in (pupil, mentor):
        await client.wait("heartbeat", conversations={c: acks[-1]["seq"]}, timeout_s=5)
    await pupil.call("leave", conversation=c)
    since = pupil.mark()
    await pupil.wait("heartbeat", since=since, conversations={}, timeout_s=5)


async def test_a_socket_silent_for_three_heartbeats_is_closed(stage: Stage) -> None:
    """With 4002, not before: and whoever pings stays."""
    loud = await stage.pupil()
    started = time.monotonic()
    silent = await stage.pupil(ping=False)
    assert await silent.gone(timeout_s=10) == 4002
    assert 1.2 < time.monotonic() - started < 5
    assert loud.up
    await loud.call("ping")
    await silent.open()


async def test_a_line_that_is_not_polled_is_given_up(stage: Stage) -> None:
    """It ends like a silent socket, and says so to whoever polls it after all."""
    session = await stage.session("pupils")
    path = "/api/frames?line=abandoned0001"
    first = (await stage.server.call("GET", path, token=session.token)).json()
    line = await stage.client(session)
    for _ in range(8):
        since = line.mark()
        await line.wait("heartbeat", since=since, timeout_s=5)
    late = (await stage.server.call("GET", f"{path}&after={first['next']}", token=session.token)).json()
    assert late["closed"] in {4001, 4002}
    assert line.up
