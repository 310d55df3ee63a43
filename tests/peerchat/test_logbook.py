"""The log's upkeep: what is signed, what leaves, what happens where a place is down, and settings as rows."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from escalation.audit import Checkpoint, SignedCheckpoint, genuine, parsed
from peerchat.channels import signing
from peerchat.errors import SettingsError
from peerchat.logbook import (
    KEY_ACCEPTED,
    Logbook,
    ShipFailed,
    Signer,
    ToFile,
    ToWebhook,
    keeping,
    key_file,
    note_settings,
    targets_of,
)
from peerchat.settings import Audit, Settings, load_settings
from peerchat.store.sql import database_file
from tests.peerchat.world import World
from tests.support.catchers import HookCatcher
from web.cli import main

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OURS = Signer(KEY)
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
SECRET = "whs_of-the-receiver-elsewhere"


class Shelf:
    """A place that may be down."""

    name = "file"

    def __init__(self) -> None:
        self.got: list[SignedCheckpoint] = []
        self.down = False

    async def ship(self, checkpoint: SignedCheckpoint) -> None:
        if self.down:
            raise ShipFailed("unreachable")
        self.got.append(checkpoint)


def logbook(world: World, *targets: object, signer: Signer | None = OURS) -> Logbook:
    return Logbook(
        world.store,
        database_file(world.folder),
        signer,
        targets,  # type: ignore[arg-type]
        clock=world.clock,
        every_s=0.05,
    )


async def rows(world: World, count: int, actor: str = "mem_a") -> None:
    for _ in range(count):
        await world.store.write(lambda tx: tx.audit.append(actor, "read_case", "alr_a"))


async def head(world: World) -> int:
    return (await world.read(lambda tx: tx.audit.head())).n


async def test_the_head_is_signed_and_leaves_and_again_only_when_there_is_more(world):
    place = Shelf()
    book = logbook(world, place)
    await rows(world, 3)
    await book.round()
    await book.round()
    [first] = place.got
    assert first.n == await head(world) and genuine(first, Signer(KEY).public)
    await rows(world, 1)
    await book.round()
    assert [c.n for c in place.got] == [first.n, first.n + 1]
    assert all(row["ok"] for row in book.health())


async def test_an_outage_of_a_place_loses_no_checkpoint(world):
    place = Shelf()
    book = logbook(world, place)
    place.down = True
    for _ in range(3):
        await rows(world, 1)
        await book.round()
        world.clock.advance(minutes=5)
    [health] = book.health()
    assert not health["ok"] and "unreachable" in health["words"]
    [shown] = (await book.shown())["places"]
    assert shown["n"] == 0 and shown["failing_since"] == "2026-03-02T10:00:00Z"
    place.down = False
    await book.round()
    assert len(place.got) == 3 and [row["ok"] for row in book.health()] == [True]
    [shown] = (await book.shown())["places"]
    assert shown["n"] == await head(world) and shown["failing_since"] is None


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE audit SET actor = 'mem_b' WHERE n = 6", "at row 6"),
        ("DELETE FROM audit WHERE n > 4", "cut short"),
    ],
)
async def test_rule_17_what_does_not_fit_is_never_signed(world, statement, words):
    """Neither while the server runs nor after it starts again."""
    place = Shelf()
    book = logbook(world, place)
    await rows(world, 4)
    await book.round()
    await rows(world, 4)
    known = len(place.got)
    await book.round() if "DELETE" in statement else None
    known = len(place.got)
    await world.sql(statement)
    await book.round()
    [health] = book.health()
    assert book.fault is not None and not health["ok"] and words in health["words"]
    assert len(place.got) == known
    again = logbook(world, place)
    await again.round()
    assert again.fault is not None and len(place.got) == known


async def test_rule_17_a_log_rewritten_while_the_server_was_down_shows_at_its_start(world, tmp_path):
    """By the file outside, even where the checkpoints in the database were deleted with it."""
    outside = ToFile(tmp_path / "outside.jsonl", data=world.folder)
    await rows(world, 5)
    await logbook(world, outside).round()
    with (tmp_path / "outside.jsonl").open("a") as file:
        file.write('{"n": 99, "hash": "half a li')
    await world.sql("DELETE FROM audit WHERE n > 2")
    await world.sql("DELETE FROM checkpoint")
    await rows(world, 9, actor="mem_b")
    book = logbook(world, outside)
    await book.round()
    assert book.fault is not None and "rewritten" in book.fault.what


async def test_rule_17_a_checkpoint_of_another_key_is_a_fault_and_nothing_is_signed(world, tmp_path):
    """As after a lost key; also where that checkpoint is in the file outside alone."""
    outside = ToFile(tmp_path / "outside.jsonl", data=world.folder)
    await rows(world, 3)
    await logbook(world, outside).round()
    before = len(outside.kept())
    for statement in ("SELECT 1", "DELETE FROM checkpoint"):
        await world.sql(statement)
        for signer in (Signer(OTHER), None):
            book = logbook(world, outside, signer=signer)
            await rows(world, 2)
            await book.round()
            await book.round()
            [health] = book.health()
            assert not health["ok"] and "key" in health["words"]
            assert len(outside.kept()) == before and book.fault is None


async def test_rule_17_a_log_cut_short_shows_though_its_key_is_lost(world):
    await rows(world, 5)
    await logbook(world).round()
    await world.sql("DELETE FROM audit WHERE n > 3")
    book = logbook(world, signer=Signer(OTHER))
    await book.round()
    assert book.fault is not None and "cut short" in book.fault.what


async def test_a_key_that_was_replaced_by_a_row_of_the_log_is_known(world):
    await rows(world, 3)
    await logbook(world).round()
    data = {"instead_of": Signer(KEY).public}
    await world.store.write(
        lambda tx: tx.audit.append("command line", KEY_ACCEPTED, Signer(OTHER).public, data)
    )
    place = Shelf()
    book = logbook(world, place, signer=Signer(OTHER))
    await book.round()
    assert [h["ok"] for h in book.health()] == [True]
    assert genuine(place.got[-1], Signer(OTHER).public)


async def test_half_a_line_does_not_spoil_the_next(world, tmp_path):
    file = tmp_path / "outside.jsonl"
    outside = ToFile(file, data=world.folder)
    file.write_text('{"n": 99, "hash": "half a li')
    for _ in range(2):
        await rows(world, 1)
        await logbook(world, outside).round()
    torn, *whole = outside.kept()
    assert torn.endswith("half a li") and len(whole) == 2 and all(parsed(line) for line in whole)


async def test_the_webhook_is_signed_and_a_refusal_is_not_a_receipt(world):
    async with HookCatcher() as hooks:
        place = ToWebhook(f"{hooks.url}/log", SECRET, clock=world.clock)
        book = logbook(world, place)
        hooks.statuses = [500]
        await rows(world, 2)
        await book.round()
        assert book.failing == {"webhook": "answered 500"}
        await book.round()
        assert book.failing == {} and len(hooks.hooks) == 2
        first, second = hooks.hooks
        assert first.headers["x-peerchat-id"] == second.headers["x-peerchat-id"]
        now = world.clock().timestamp()
        assert signing.genuine(SECRET, second.headers, second.body, now=now)
        assert not signing.genuine("whs_another", second.headers, second.body, now=now)
        found = parsed(second.body.decode())
        assert isinstance(found, SignedCheckpoint) and genuine(found, Signer(KEY).public)


async def test_the_last_rows_leave_with_a_polite_stop(world):
    place = Shelf()
    async with keeping(logbook(world, place)):
        await asyncio.sleep(0)
        await rows(world, 3)
    assert place.got[-1].n == await head(world)


def test_a_file_inside_the_data_folder_is_refused(tmp_path):
    data = tmp_path / "data"
    settings = Settings(data=data, audit=Audit(file=data / "log.jsonl"))
    with pytest.raises(SettingsError, match=r"audit\.file"):
        targets_of(settings, clock=lambda: datetime.now(UTC))
    settings = Settings(data=data, audit=Audit(webhook="https://there.example/log"))
    with pytest.raises(SettingsError, match=r"audit\.webhook_secret"):
        targets_of(settings, clock=lambda: datetime.now(UTC))


async def test_changed_settings_are_a_row_without_values(world):
    secret = "a-token-that-nobody-may-read"

    async def start(settings: Settings) -> list[str]:
        await world.store.write(lambda tx: note_settings(tx, settings, bytes(32)))
        entries = await world.read(lambda tx: list(tx.audit.all()))
        assert secret not in str(entries) and "8001" not in str(entries)
        return [str(e.data["changed"]) for e in entries if e.kind == "settings_active"]

    settings = Settings(data=world.folder)
    assert await start(settings) == ["first start"]
    assert await start(settings) == ["first start"]
    other = settings.model_copy(update={"port": 8001, "metrics_token": secret, "audit": Audit(every_s=1)})
    assert await start(other) == ["first start", "audit.every_s, metrics_token, port"]
    assert len(await start(other)) == 2


def test_the_command_line_verifies_with_key_and_file(world_folder, tmp_path, capsys):
    """Signs, finds another's signature, a rewritten log, and a bad file; each with its own status."""
    config = tmp_path / "settings.toml"
    config.write_text(f'data = "{world_folder}"\n')

    def run(*words: str) -> tuple[int, str, str]:
        status = main(["audit", *words])
        said = capsys.readouterr()
        return status, said.out, said.err

    kept = tmp_path / "kept.jsonl"
    key = run("key", "--config", str(config))[1].strip()
    status, line, _ = run("checkpoint", "--config", str(config))
    assert status == 0
    kept.write_text(line + line)
    check = ("verify", "--data", str(world_folder), "--checkpoint", str(kept))
    assert run(*check, "--key", key)[0] == 0
    assert "signatures were not checked" in run(*check)[2]
    other = Signer(KEY).public
    assert run(*check, "--key", other)[0] == 1 and "line 1" in run(*check, "--key", other)[2]
    kept.write_text(json.dumps({"n": 500, "hash": "0" * 64}) + "\n")
    status, _, err = run(*check)
    assert status == 1 and "cut short" in err
    for nonsense in ("", "hello\n", line + "hello\n" + line):
        kept.write_text(nonsense)
        assert run(*check)[0] == 2
    kept.write_text(line + line[:30])
    assert run(*check, "--key", key)[0] == 0, "half a line at the end is what a power cut leaves"


def test_rule_17_a_lost_key_is_never_replaced_in_silence(world_folder, tmp_path, capsys):
    config, outside = tmp_path / "settings.toml", tmp_path / "outside.jsonl"
    config.write_text(f'data = "{world_folder}"\n[audit]\nfile = "{outside}"\n')
    secret = key_file(load_settings(config))

    def run(*words: str) -> tuple[int, str, str]:
        status = main(["audit", *words])
        said = capsys.readouterr()
        return status, said.out.strip(), said.err

    check = ("verify", "--data", str(world_folder), "--checkpoint", str(outside))
    first = run("key", "--config", str(config))[1]
    outside.write_text(run("checkpoint", "--config", str(config))[1] + "\n")
    secret.unlink()
    for words in ("key", "checkpoint"):
        status, _, err = run(words, "--config", str(config))
        assert status == 2 and "--accept" in err and not secret.exists()
    status, second, _ = run("key", "--accept", "--config", str(config))
    assert status == 0 and second != first
    assert run(*check, "--key", second)[0] == run(*check)[0] == 0
    with outside.open("a") as file:
        file.write(run("checkpoint", "--config", str(config))[1] + "\n")
    assert run(*check, "--key", second)[0] == 0
    status, _, err = run(*check, "--key", first)
    assert status == 1 and "line 2" in err
    rows = len(outside.read_text())
    assert run("key", "--accept", "--config", str(config))[1] == second and rows == len(outside.read_text())
    outside.write_text(json.dumps({**json.loads(outside.read_text().splitlines()[0]), "n": 99}) + "\n")
    assert run(*check, "--key", second)[0] == 1


def test_rule_17_a_log_cut_short_is_not_accepted_with_a_new_key(world_folder, tmp_path, capsys):
    config, outside = tmp_path / "settings.toml", tmp_path / "outside.jsonl"
    config.write_text(f'data = "{world_folder}"\n[audit]\nfile = "{outside}"\n')
    outside.write_text(
        Signer(OTHER).sign(Checkpoint(n=99, hash="0" * 64), at=datetime.now(UTC)).line() + "\n"
    )
    assert main(["audit", "key", "--accept", "--config", str(config)]) == 1
    assert "cut short" in capsys.readouterr().err
    assert not key_file(load_settings(config)).exists()


@pytest.fixture
def world_folder(tmp_path: Path) -> Path:
    """Return the data folder of a school that is set up, and not running."""
    config = tmp_path / "first.toml"
    config.write_text(f'data = "{tmp_path}/data"\n')
    assert main(["site", "create", "--name", "School", "--config", str(config)]) == 0
    return tmp_path / "data"
