"""`peerchat judge`: rows in, rows out, in order, and a bad line named without stopping the others."""

import io
import json
import os
import subprocess
import sys
import threading
from argparse import ArgumentParser
from typing import IO, cast

import pytest

from moderation.verdict import RISK_LABELS, TOXICITY_LABELS
from peerchat.errors import SettingsError
from web.commands import judge


def line(**row):
    return json.dumps({"id": 1, "text": "hello", "sender": "pupil"} | row)


@pytest.fixture
def run(tmp_path, capsys):
    """Run the command on some lines; its status, what it wrote, and its messages."""

    def run(*lines, options=()):
        file = tmp_path / "rows.jsonl"
        file.write_text("".join(f"{one}\n" for one in lines), encoding="utf-8")
        parser = ArgumentParser()
        judge.add(parser.add_subparsers())
        args = parser.parse_args(["judge", *options, str(file)])
        status = args.run(args)
        out, err = capsys.readouterr()
        return status, [json.loads(one) for one in out.splitlines()], err

    return run


def test_a_row_has_what_the_protocol_says(run):
    """Action, risk, 13 labels, six toxicity scores, signals, degraded stages and the time it took."""
    status, (row,), err = run(line(id="a7", text="kys"))
    assert (status, err) == (0, "")
    assert row["id"] == "a7"
    assert (row["action"], row["risk"], row["reason"]) == ("hold", "high", "adult_first")
    assert set(row["labels"]) == set(RISK_LABELS)
    assert set(row["toxicity"]) == set(TOXICITY_LABELS)
    assert row["labels"]["harassment"] == 1.0
    assert all(0 <= score <= 1 for score in (*row["labels"].values(), *row["toxicity"].values()))
    assert {"label", "score", "stage", "why", "span"} <= set(row["signals"][0])
    assert row["degraded"] == []
    assert row["ms"] >= 0


def test_a_row_is_explained_to_whoever_asks(monkeypatch, run):
    """In words for its reader; a turn has its own, and nothing is quoted."""
    pipeline = judge.patient()
    monkeypatch.setattr(judge, "patient", lambda: pipeline)
    text = "zebra, i want to kill myself"
    turns = json.dumps({"id": 2, "turns": [{"sender": "pupil", "text": text}]})
    said = {"pupil": "An adult is looking", "moderator": "Rule self_harm.", "governor": "Clause"}
    for reader, words in said.items():
        _, (row, conversation), _ = run(line(text=text), turns, options=("--explain", reader))
        for explained in (row, conversation["turns"][0]):
            assert words in explained["explanation"] and "zebra" not in explained["explanation"]
    _, (row,), _ = run(line(text=text))
    assert "explanation" not in row


def test_rows_come_in_the_order_of_the_lines(run):
    """Also over several batches, and with empty lines between."""
    lines = [line(id=number, text=f"hello number {number}") for number in range(300)]
    status, rows, _ = run(*lines[:10], "", "  ", *lines[10:])
    assert status == 0
    assert [row["id"] for row in rows] == list(range(300))


def test_a_mentor_is_read_as_one(run):
    """The same words mean another thing."""
    _, (pupil, mentor), _ = run(
        line(text="i wont tell anyone. ever."), line(text="i wont tell anyone. ever.", sender="mentor")
    )
    assert mentor["labels"]["boundary"] == 1.0
    assert pupil["labels"]["boundary"] < 1.0


def test_a_conversation_says_when_an_alert_would_open(run):
    """The 0-based first turn whose verdict carries any risk; null without one."""
    said = [
        ("pupil", "hi"),
        ("mentor", "hello, how are you"),
        ("pupil", "i want to kill myself"),
        ("pupil", "bye"),
    ]
    turns = [{"sender": sender, "text": text} for sender, text in said]
    status, (risky, calm), _ = run(
        json.dumps({"id": 1, "turns": turns}), json.dumps({"id": 2, "turns": turns[:2]})
    )
    assert status == 0
    assert (risky["id"], len(risky["turns"]), risky["alert_from_turn"]) == (1, 4, 2)
    assert calm["alert_from_turn"] is None
    assert "text" not in risky["turns"][0]


def test_a_turn_is_read_with_those_before_it(run):
    """A number in pieces is whole at its last piece, and blocked there."""
    turns = [{"sender": "pupil", "text": text} for text in ("its 07700", "900", "123")]
    _, (row,), _ = run(json.dumps({"id": 1, "turns": turns}))
    assert [turn["action"] for turn in row["turns"]] == ["deliver", "deliver", "block"]


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ("{", "not JSON"),
        ("[1]", "not an object"),
        ("\udcff".encode("utf-8", "surrogateescape"), "not JSON"),
        (line(text=None), "text is missing"),
        (line(text=7), "text is missing"),
        (line(text=" \n "), "text is empty"),
        (line(text="a\0b"), "characters that no message may have"),
        (line(text="a\ud800b"), "characters that no message may have"),
        (line(text="x" * (judge.MAX_TEXT + 1)), "longer than"),
        (line(sender="teacher"), "sender must be"),
        (line(sender=["pupil"]), "sender must be"),
        (json.dumps({"text": "hi"}), "sender must be"),
        (line(id={}), "id must be"),
        (line(turns=[]), "either text or turns"),
        (json.dumps({"id": 1, "turns": []}), "turns must be a list"),
        (json.dumps({"id": 1, "turns": ["hi"]}), "turn 0 is not an object"),
        (
            json.dumps(
                {"id": 1, "turns": [{"sender": "pupil", "text": "hi"}, {"sender": "x", "text": "hi"}]}
            ),
            "turn 1: sender",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_bad_line_is_named_and_the_others_answered(tmp_path, capsys, bad, words):
    """On standard error, with its number and nothing of its text; exit status 1."""
    file = tmp_path / "rows.jsonl"
    raw = bad if isinstance(bad, bytes) else bad.encode("utf-8", "surrogatepass")
    file.write_bytes(line(id=1).encode() + b"\n" + raw + b"\n" + line(id=3).encode() + b"\n")
    args = ArgumentParser().parse_args([])
    args.file, args.explain = str(file), None
    assert judge.run(args) == 1
    out, err = capsys.readouterr()
    assert [json.loads(one)["id"] for one in out.splitlines()] == [1, 3]
    assert err.startswith("peerchat: line 2: ")
    assert words in err
    assert len(err) < 200


def test_a_file_that_is_not_there_is_bad_usage(tmp_path):
    """The command line makes exit status 2 of it."""
    args = ArgumentParser().parse_args([])
    args.file, args.explain = str(tmp_path / "nothing.jsonl"), None
    with pytest.raises(SettingsError, match=r"nothing\.jsonl"):
        judge.run(args)


def test_text_is_brought_to_nfc_and_long_texts_are_judged(run):
    """As the chat does on arrival; files of other origin may have longer texts than the chat takes."""
    status, rows, _ = run(line(text="cafe\u0301"), line(text="word " * 2_000))
    assert status == 0
    assert len(rows) == 2


def test_a_slow_writer_is_answered_line_by_line():
    """Nothing waits for a batch to fill, so another program can talk to it."""
    program = [
        sys.executable,
        "-c",
        "import argparse, web.commands.judge as j; j.run(argparse.Namespace(file=None, explain=None))",
    ]
    process = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
    assert process.stdin is not None
    assert process.stdout is not None
    guard = threading.Timer(30, process.kill)
    guard.start()
    try:
        for number in range(3):
            process.stdin.write(line(id=number) + "\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["id"] == number
        process.stdin.close()
        assert process.wait(20) == 0
    finally:
        guard.cancel()
        process.kill()
        process.stdout.close()
        process.wait()


def test_memory_does_not_grow_with_the_file(monkeypatch):
    """No more lines are read ahead than wait to be judged."""
    read = []

    class Endless(io.RawIOBase):
        def __iter__(self):
            for number in range(100_000):
                read.append(number)
                yield line(id=number).encode()

    batches = judge._arriving(cast(IO[bytes], Endless()))
    seen = 0
    for _ in range(50):
        seen += len(next(batches))
    assert len(read) <= seen + judge.WAITING + 2


def test_no_progress_bar_where_nobody_looks(run):
    """Standard error of a pipe has messages only."""
    assert not os.isatty(2) or sys.stderr.isatty()
    _, _, err = run(line())
    assert err == ""
