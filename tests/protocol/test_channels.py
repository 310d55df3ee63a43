"""A real server and real receivers: an alert leaves while no page is open, also after kill -9 (rule 9)."""

import asyncio
import io
import json
from collections.abc import Callable

import pytest

from peerchat.channels import signing
from tests.support.catchers import HookCatcher, MailCatcher
from tests.support.server import DemoServer
from tests.support.stage import WAIT_S, Lent, Stage
from web.cli import main
from web.client import Transport


async def command(demo: DemoServer, monkeypatch, capsys, *words: str, piped: str = "") -> str:
    """Run `peerchat channels` beside the running server; return what it printed."""
    config = demo.folder / "beside.toml"
    config.write_text(f'data = "{demo.data}"\n')
    monkeypatch.setattr("sys.stdin", io.StringIO(piped))
    assert await asyncio.to_thread(main, ["channels", *words, "--config", str(config)]) == 0
    return str(capsys.readouterr().out)


@pytest.fixture
async def receivers():
    async with MailCatcher() as mail, HookCatcher() as hooks:
        yield mail, hooks


async def until(true: Callable[[], bool]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(WAIT_S):
        while not true():  # noqa: ASYNC110 - another process brings it about
            await asyncio.sleep(0.02)


async def test_rule_09_an_alert_leaves_the_server_and_is_sent_again_after_kill_9(
    receivers, own_demo, monkeypatch, capsys
) -> None:
    """Nobody has a page open; the webhook hangs, the server is killed: the next sends it by the same key."""
    mail, hooks = receivers
    demo: DemoServer = own_demo(
        env={
            "PEERCHAT_CHANNELS_EMAIL": f"mailto://127.0.0.1:{mail.port}?from=alerts@school.example&to={{to}}"
            "&mode=insecure",
            "PEERCHAT_CHANNELS_LINK": "https://chat.school.example/staff",
        }
    )
    monkeypatch.setenv("PEERCHAT_CHANNELS_EMAIL", "mailto://127.0.0.1:9?from=a@school.example&to={to}")
    adult = demo.credentials["adults"][0]["username"]
    await command(
        demo, monkeypatch, capsys, "add", "--kind", "email", "--username", adult, piped="ada@school.example\n"
    )
    row = json.loads(
        await command(
            demo,
            monkeypatch,
            capsys,
            "add",
            "--kind",
            "voice",
            "--name",
            "Pager",
            piped=f"{hooks.url}/page\n",
        )
    )
    hooks.hangs = True
    stage = Stage(demo, Lent(), demo.url, Transport.WS)
    pupil = await stage.pupil()
    await pupil.call("flag", urgency="emergency", note="please come to the library")
    await until(lambda: bool(mail.mails and hooks.hooks))
    demo.kill()
    hooks.hangs = False
    await asyncio.to_thread(demo.start)
    await until(lambda: len(hooks.hooks) >= 2)
    first, *others = hooks.hooks
    assert any(first.headers["x-peerchat-id"] == hook.headers["x-peerchat-id"] for hook in others)
    for hook in hooks.hooks:
        now = float(hook.headers["x-peerchat-timestamp"])
        assert signing.genuine(row["secret"], hook.headers, hook.body, now=now)
        assert json.loads(hook.body)["link"] == "https://chat.school.example/staff"
    [to] = {address for each in mail.mails for address in each.to}
    assert to == "ada@school.example"
    for raw in (*(each.raw for each in mail.mails), *(hook.body for hook in hooks.hooks)):
        assert b"library" not in raw and b"flag" not in raw and b"alr_" not in raw
    log = demo.output()
    assert "ada@school" not in log and "/page" not in log and row["secret"] not in log
    await stage.close()
