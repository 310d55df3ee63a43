"""`peerchat channels` on a real data folder, beside real receivers."""

import asyncio
import io
import json

import pytest

from tests.store.folder import quick_folder
from web.cli import main


@pytest.fixture
def folder():
    with quick_folder() as found:
        yield found


@pytest.fixture
def run(folder, mail, monkeypatch, capsys):
    """Return a function that runs `peerchat`; gives (status, what it printed, what it said)."""
    config = folder / "settings.toml"
    config.write_text(
        f'data = "{folder}/data"\norigins = ["https://chat.school.example"]\n[channels]\n'
        f'email = "mailto://127.0.0.1:{mail.port}?from=alerts@school.example&to={{to}}&mode=insecure"\n'
    )

    async def run(*words: str, piped: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", io.StringIO(piped))
        status = await asyncio.to_thread(main, [*words, "--config", str(config)])
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


@pytest.fixture
async def site(run):
    await run("site", "create", "--name", "Ashdown School")
    await run(
        "site", "staff", "--role", "adult", "--username", "ada", "--name", "Ms Ada", piped="a long password\n"
    )


async def test_add_list_try_remove(run, site, mail) -> None:
    status, out, err = await run("channels", "list")
    assert (status, out) == (0, "") and "ring no phone" in err and "open pages only" in err
    added = await run("channels", "add", "--kind", "email", "--username", "ada", piped="ada@school.example\n")
    assert added[0] == 0
    row = json.loads(added[1])
    assert row["to"] == "a…@school.example" and row["who"] == "Ms Ada" and "secret" not in row
    status, out, _ = await run("channels", "try")
    assert (status, json.loads(out)["ok"]) == (0, True)
    assert [m.to for m in mail.mails] == [("ada@school.example",)]
    assert "https://chat.school.example/staff" in mail.mails[0].raw.decode()
    mail.refuse = lambda _to: True
    status, out, _ = await run("channels", "try", row["id"])
    assert (status, json.loads(out)["fault"]) == (1, "refused or unreachable")
    assert (await run("channels", "remove", row["id"]))[0] == 0
    assert (await run("channels", "try", row["id"]))[0] == 2


async def test_a_webhooks_secret_is_shown_once(run, site, hooks) -> None:
    """And signs what arrives."""
    from peerchat.channels import signing

    status, out, _ = await run(
        "channels", "add", "--kind", "voice", "--name", "The pager", piped=f"{hooks.url}/page\n"
    )
    assert status == 0
    secret = json.loads(out)["secret"]
    assert secret not in (await run("channels", "list"))[1]
    assert (await run("channels", "try"))[0] == 0
    [hook] = hooks.hooks
    now = float(hook.headers["x-peerchat-timestamp"])
    assert signing.genuine(secret, hook.headers, hook.body, now=now)
    assert json.loads(hook.body)["type"] == "try"


@pytest.mark.parametrize(
    ("words", "piped"),
    [
        (("--kind", "email", "--username", "ada"), "not an address\n"),
        (("--kind", "sms", "--username", "ada"), "01632 960123\n"),
        (("--kind", "email", "--username", "nobody"), "a@school.example\n"),
        (("--kind", "webhook", "--name", "x"), "http://pager.school.example/secret-path\n"),
        (("--kind", "chat", "--name", "x"), "dbus://secret-path\n"),
        (("--kind", "email", "--username", "ada"), ""),
    ],
)
async def test_bad_input_is_named_and_never_repeated(run, site, words, piped) -> None:
    status, out, err = await run("channels", "add", *words, piped=piped)
    assert (status, out) == (2, "")
    assert err.startswith("peerchat: ") and "secret-path" not in err
    assert (await run("channels", "list"))[1] == ""


@pytest.mark.parametrize(
    "email", ["nonsense", "mailto://mail.example?to=a@b.example", "nonsense://secret-word/{to}"]
)
async def test_a_provider_of_no_use_is_refused_at_start_without_its_password(
    run, site, folder, email
) -> None:
    config = folder / "settings.toml"
    config.write_text(f'data = "{folder}/data"\n[channels]\nemail = "{email}"\n')
    status, _, err = await run("channels", "list")
    assert status == 2 and "channels.email" in err and "secret-word" not in err
