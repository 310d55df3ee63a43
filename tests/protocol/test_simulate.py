"""`peerchat simulate` against a real server, and against one that lies."""

import argparse
import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.server import ROOT, DemoServer
from web.client import Frame, Received
from web.commands import simulate

OPTIONS = ("--pupils", "3", "--mentors", "3", "--unlimited")
CONVERSATIONS: list[dict[str, Any]] = [
    {
        "id": f"calm-{i}",
        "turns": [
            {"sender": ("pupil", "mentor")[k % 2], "text": f"{word} is on my mind today"}
            for k, word in enumerate(("chess", "music", "art", "baking"))
        ],
    }
    for i in range(7)
]
CONVERSATIONS.append(
    {
        "id": "rough",
        "turns": [
            {"sender": "mentor", "text": "hi, how are you"},
            {"sender": "pupil", "text": "you are a worthless idiot and everyone hates you"},
            {"sender": "pupil", "text": "my number is 07700 900123, ring me"},
            {"sender": "pupil", "text": "i want to kill myself tonight, ive got everything ready"},
            {"sender": "mentor", "text": "I am glad that you told me"},
        ],
    }
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "conversations.jsonl"
    path.write_text("".join(json.dumps(c) + "\n" for c in CONVERSATIONS), encoding="utf-8")
    return path


@pytest.fixture
def credentials(tmp_path: Path) -> Path:
    """Return credentials for one pair, of no server."""
    path = tmp_path / "credentials.json"
    staff = [{"username": "x", "password": "x"}]
    people = {"pupils": [{"code": "x"}], "mentors": staff, "adults": staff}
    path.write_text(json.dumps(people), encoding="utf-8")
    return path


def here(*args: str | Path) -> int:
    """Run the command in this process: the interpreter's start is most of its time."""
    parser = argparse.ArgumentParser()
    simulate.add(parser.add_subparsers())
    return simulate.run(parser.parse_args(["simulate", *map(str, args)]))


def peerchat(*args: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "web.cli", "simulate", *map(str, args)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.parametrize("transport", ["ws", "poll"])
def test_it_plays_both_sides_and_reports(demo: DemoServer, file: Path, transport: str) -> None:
    """Several at once, pairs reused for conversation after conversation; JSON on standard output."""
    done = peerchat(file, "--url", demo.url, "--credentials", demo.credentials_file, "--transport", transport)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["problems"] == []
    assert (report["conversations"], report["parallel"], report["turns"]) == (8, 3, 33)
    assert report["delivered"] + report["held"] + report["blocked"] == 33
    assert report["held"] + report["blocked"] >= 2
    assert report["alerts"].get("immediate", 0) + report["alerts"].get("high", 0) >= 1
    for times in report["times_ms"].values():
        assert times["n"] > 0
        assert 0 < times["median"] <= times["p95"] <= times["p99"] <= times["max"]
    (rough,) = [row for row in report["played"] if row["id"] == "rough"]
    assert rough["alert"] in {"immediate", "high"}
    assert rough["alert_after_turn"] is not None
    assert "delivered" in done.stderr
    for conversation in CONVERSATIONS:
        for turn in conversation["turns"]:
            assert turn["text"] not in done.stdout + done.stderr


def test_the_report_can_go_to_a_file(demo: DemoServer, file: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.json"
    done = peerchat(file, "--credentials", demo.credentials_file, "--parallel", "1", "--json", out)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert json.loads(out.read_bytes())["parallel"] == 1


@pytest.mark.parametrize(
    "content",
    [
        "",
        "not json\n",
        '{"id": "x"}\n',
        '{"id": "x", "turns": []}\n',
        '{"id": "x", "turns": [{"sender": "teacher", "text": "a secret"}]}\n',
        '{"id": "x", "turns": [{"sender": "pupil", "text": ""}]}\n',
        json.dumps({"id": "x", "turns": [{"sender": "pupil", "text": "a secret" * 400}]}),
    ],
)
def test_a_bad_file_is_bad_usage(
    credentials: Path, tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(content, encoding="utf-8")
    assert here(path, "--url", "http://127.0.0.1:9", "--credentials", credentials) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "bad.jsonl" in shown.err
    assert "a secret" not in shown.err


def test_bad_credentials_and_numbers_are_bad_usage(credentials: Path, file: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.json"
    empty.write_text("{}", encoding="utf-8")
    url = ("--url", "http://127.0.0.1:9")
    assert here(file, *url, "--credentials", empty) == 2
    assert here(file, *url, "--credentials", tmp_path / "not-there.json") == 2
    assert here(file, *url, "--credentials", credentials, "--parallel", "0") == 2
    assert here(file, *url, "--credentials", credentials, "--parallel", "2") == 2
    assert here(file, "--credentials", credentials, "--url", "ftp://x") == 2
    assert here(file, "--credentials", credentials) == 2, "no address anywhere"
    with pytest.raises(SystemExit) as stopped:
        here(file)
    assert stopped.value.code == 2


def test_a_server_that_is_not_there_is_something_wrong(
    credentials: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert here(file, "--url", "http://127.0.0.1:9", "--credentials", credentials) == 1
    assert "Traceback" not in capsys.readouterr().err


# -- the checks themselves: a partner's line that loses, doubles, changes, reorders or leaks


class Liar:
    """Stands for a client: what it was pushed and its history are not what was acked."""

    def __init__(self, pushed: list[Frame], history: list[Frame]) -> None:
        self.frames, self._history = pushed, history

    def mark(self) -> int:
        return 0

    def seen(self, types: str, *, since: int = 0, **fields: object) -> list[Frame]:
        return [f for f in self.frames if f["type"] == types and fields.items() <= f.items()]

    async def history(self, conversation: str) -> list[Frame]:
        return self._history

    async def hear(self, types: str, **fields: Any) -> Received:
        raise AssertionError("not asked here")


def message(i: int, seq: int, text: str = "fine", *, role: str = "pupil", replay: bool = False) -> Frame:
    frame = {
        "type": "message",
        "conversation": "c",
        "message": f"m{i}",
        "seq": seq,
        "text": text,
        "from": {"role": role, "alias": "Robin"},
    }
    return {**frame, "replay": True} if replay else frame


GOOD = [message(0, 1), message(1, 2)]


@pytest.mark.parametrize(
    ("pushed", "history", "wrong"),
    [
        (GOOD, GOOD, []),
        (GOOD[:1], GOOD, [(1, "delivered, but not pushed to the mentor")]),
        (GOOD, GOOD[:1], [(1, "delivered, but not in the mentor's history")]),
        (GOOD[::-1], GOOD, [(None, "the mentor was pushed messages twice or out of order")]),
        ([*GOOD, GOOD[1]], GOOD, [(None, "the mentor was pushed messages twice or out of order")]),
        ([GOOD[0], message(1, 2, "other")], GOOD, [(1, "reached the mentor changed")]),
        ([*GOOD, message(2, 3, "rude")], GOOD, [(2, "held, but reached the mentor")]),
        (GOOD, [*GOOD, message(2, 3, "rude")], [(2, "held, but reached the mentor")]),
        ([*GOOD, message(9, 3, "hm")], GOOD, [(None, "the mentor received a message that nobody sent here")]),
        (
            [*GOOD, message(9, 3, "rude", role="adult")],
            GOOD,
            [(None, "the mentor received a message that nobody sent here")],
        ),
        ([*GOOD, message(9, 3, "hello", role="adult")], GOOD, []),
        (GOOD, [GOOD[0], message(1, 5)], [(1, "in the mentor's history at another seq than acked")]),
    ],
    ids=[
        "good",
        "not pushed",
        "not in history",
        "reordered",
        "doubled",
        "changed",
        "leaked live",
        "leaked in history",
        "unknown",
        "leaked by another",
        "an adult speaks",
        "another seq",
    ],
)
def test_it_finds_what_is_wrong(
    pushed: list[Frame], history: list[Frame], wrong: list[tuple[int | None, str]]
) -> None:
    turns = tuple(simulate.Turn("pupil", text) for text in ("fine", "fine", "rude"))
    report = simulate.Report(transport="ws", parallel=1)
    cast: Any = {"pupil": simulate.Player(Liar([], [])), "mentor": simulate.Player(Liar(pushed, history))}  # type: ignore[arg-type]
    play = simulate.Play(simulate.Script("s", turns), "c", cast, report)
    for i, (status, seq) in enumerate((("delivered", 1), ("delivered", 2), ("held", None))):
        play.sent.append(
            simulate.Sent(
                turn=i,
                sender="pupil",
                text=turns[i].text,
                message=f"m{i}",
                status=status,
                seq=seq,
                at=0.0,
            )
        )
    asyncio.run(play._compare("mentor"))
    assert [(p.turn, p.what) for p in report.problems] == wrong
    assert {p.conversation for p in report.problems} <= {"s"}


def test_percentiles_are_by_nearest_rank() -> None:
    seconds = [i / 1000 for i in range(1, 101)]
    assert simulate.summary(seconds) == {"n": 100, "median": 50.5, "p95": 95.0, "p99": 99.0, "max": 100.0}
    assert simulate.summary([]) == {"n": 0}
