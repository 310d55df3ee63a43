"""A changed policy in a running server: taken with the next message, or refused and said so."""

import asyncio
import http.client
import json
import signal
import sqlite3
from contextlib import AsyncExitStack

from moderation.policy_file import POLICY
from peerchat.store.sql import database_file
from tests.support.stage import Lent, Stage, told
from web.client import Transport

WAIT_S, LOOK_S = 60.0, 0.1


def ready(demo):
    connection = http.client.HTTPConnection("127.0.0.1", demo.port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


def metrics(demo):
    connection = http.client.HTTPConnection("127.0.0.1", demo.port, timeout=5)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()
    finally:
        connection.close()


async def until(demo, meets):
    """Wait until /readyz shows it."""
    for _ in range(int(WAIT_S / LOOK_S)):
        if meets(shown := await asyncio.to_thread(ready, demo)):
            return shown
        await asyncio.sleep(LOOK_S)
    raise AssertionError(f"not so in {WAIT_S:g} s")


def rows(demo, query):
    with sqlite3.connect(f"file:{database_file(demo.data)}?mode=ro", uri=True) as database:
        return database.execute(query).fetchall()


async def test_a_changed_policy_is_taken_and_a_broken_one_refused(own_demo, tmp_path):
    """The next message carries the new version; a broken file leaves it in force, with a warning."""
    policy = tmp_path / "policy.toml"
    text = POLICY.read_text(encoding="utf-8")
    policy.write_text(text, encoding="utf-8")
    env = {"PEERCHAT_MODERATION_POLICY": str(policy), "PEERCHAT_MODERATION_RELOAD": "watch"}
    demo = own_demo(env=env)
    newest = (
        "SELECT v.policy_version FROM verdict v JOIN message m ON m.id = v.message ORDER BY m.n DESC LIMIT 1"
    )
    async with AsyncExitStack() as stack:
        stage = Stage(demo, Lent(), demo.url, Transport.WS)
        stack.push_async_callback(stage.close)
        pair = await stage.pair()
        first = ready(demo)
        assert first["policy_up_to_date"]
        await told(pair.pupil, "hello there", pair.c)
        assert rows(demo, newest) == [(first["policy"],)]

        policy.write_text(text.replace('version = "1"', 'version = "of-a-test"'), encoding="utf-8")
        second = await until(demo, lambda shown: shown["policy"] != first["policy"])
        assert second["policy"].startswith("of-a-test-") and second["policy_up_to_date"]
        await told(pair.pupil, "and hello again", pair.c)
        assert rows(demo, newest) == [(second["policy"],)]

        policy.write_text(text.replace("[settled]", "[setled]"), encoding="utf-8")
        third = await until(demo, lambda shown: not shown["policy_up_to_date"])
        assert (third["policy"], third["ready"]) == (second["policy"], True)
        await told(pair.pupil, "hello for the third time", pair.c)
        assert rows(demo, newest) == [(second["policy"],)]
        coordinator = await stage.coordinator()
        health = (await coordinator.http("GET", "/api/overview")).json()["health"]
        (row,) = [each for each in health if each["what"] == "Policy and rules"]
        assert not row["ok"] and "unknown entry 'setled'" in row["words"]
        counted = metrics(demo)
        assert "peerchat_policy_fault 1.0" in counted
        assert f'peerchat_policy_info{{version="{second["policy"]}"}} 1.0' in counted
        log = demo.output()
        assert "unknown entry 'setled'" in log and "hello" not in log

        policy.write_text(text, encoding="utf-8")
        demo.process.send_signal(signal.SIGHUP)
        await until(demo, lambda shown: shown["policy"] == first["policy"] and shown["policy_up_to_date"])
    active = rows(demo, "SELECT object FROM audit WHERE kind = 'policy_active' ORDER BY n")
    assert active == [(first["policy"],), (second["policy"],), (first["policy"],)]
    assert demo.audit()[0] == 0
    assert demo.stop() == 0


async def test_without_watching_a_hangup_is_what_takes_it(own_demo, tmp_path):
    """As `systemctl reload` sends it."""
    policy = tmp_path / "policy.toml"
    text = POLICY.read_text(encoding="utf-8")
    policy.write_text(text, encoding="utf-8")
    demo = own_demo(env={"PEERCHAT_MODERATION_POLICY": str(policy)})
    first = ready(demo)["policy"]
    policy.write_text(text.replace('version = "1"', 'version = "2"'), encoding="utf-8")
    demo.process.send_signal(signal.SIGHUP)
    shown = await until(demo, lambda shown: shown["policy"] != first)
    assert shown["policy"].startswith("2-")
