"""`peerchat judge`: what moderation says of messages in a file, one JSON object a line."""

import argparse
import asyncio
import itertools
import json
import os
import queue
import sys
import threading
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import IO, Any

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from moderation.build import default_pipeline
from moderation.explain import Reader, explain
from moderation.pipeline import Pipeline, in_turn
from moderation.trajectory import State
from moderation.verdict import RISK_LABELS, TOXICITY_LABELS, Risk, Role, Submission, Turn, Verdict
from peerchat.errors import SettingsError

BATCH = 128
"""Messages judged together at most; fewer when fewer have arrived."""

WAITING = 1_024
"""Lines read ahead: what is not judged yet, and so the memory, is bounded by this."""

RECENT = 20
"""Earlier turns that moderation sees with each turn of a conversation."""

MAX_TEXT = 100_000
"""Code points of one text. The chat itself takes 2,000; files of other origin may have more."""

MAX_TURNS = 10_000

DEADLINE_S = 120.0
"""Nobody waits at the other end of a chat here: a slow machine must not look like a failed stage."""

SHOWN = 0.02
"""Scores under this are left out of `signals`; `labels` and `toxicity` have them all."""

_LINES = itertools.count()

_SENDERS = {"pupil": Role.PUPIL, "mentor": Role.MENTOR}


class BadLine(ValueError):
    """A line that cannot be judged; the message says why, and quotes nothing of it."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line: its messages, and whether it was a conversation."""

    id: Any
    submissions: tuple[Submission, ...]
    turns: bool


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "judge",
        help="say what moderation makes of messages in a file",
        description='Read JSON Lines, {"id", "text", "sender": "pupil" or "mentor"} or {"id", "turns":'
        ' [{"sender", "text"}, ..]}, and write a verdict for each, in the same order. A line that cannot be'
        " judged is named on standard error, and the exit status is 1.",
    )
    parser.add_argument(
        "file", nargs="?", metavar="FILE", help="where the lines are; standard input otherwise"
    )
    parser.add_argument(
        "--explain",
        type=Reader,
        choices=list(Reader),
        help="add `explanation`: the verdict in words for who wrote it, for a moderator or for a governor",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Judge every line; 0 when all could be, 1 when some could not, 2 for bad usage."""
    if args.file is None:
        return asyncio.run(_judge(sys.stdin.buffer, sys.stdout, args.explain))
    try:
        with open(args.file, "rb") as lines:  # noqa: PTH123 - a path as typed, or /dev/stdin
            return asyncio.run(_judge(lines, sys.stdout, args.explain))
    except OSError as error:
        raise SettingsError(f"{args.file}: {error.strerror}") from None


async def _judge(lines: IO[bytes], out: IO[str], reader: Reader | None) -> int:
    pipeline = patient()
    bad = False
    with _progress() as progress:
        task = progress.add_task("judged", total=None) if progress else None
        for batch in _arriving(lines):
            rows: list[Row] = []
            for number, line in batch:
                try:
                    row = parse(line)
                except BadLine as error:
                    print(f"peerchat: line {number}: {error}", file=sys.stderr)
                    bad = True
                else:
                    if row is not None:
                        rows.append(row)
            try:
                for answer in await answers(pipeline, rows, explain_to=reader):
                    out.write(json.dumps(answer, separators=(",", ":")) + "\n")
                out.flush()
            except BrokenPipeError:  # who read the answers has gone: that is for them to decide
                os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())
                return 1
            if progress and task is not None:
                progress.update(task, advance=len(rows))
    return 1 if bad else 0


def patient() -> Pipeline:
    """The shipped pipeline with every score in its signals, and time enough on a slow machine."""
    return default_pipeline(every_score=True, deadline_s=DEADLINE_S)


def parse(line: bytes) -> Row | None:
    """A line as messages to judge; None for an empty one; `BadLine` where it is not what it should be."""
    if not line.strip():
        return None
    try:
        data = json.loads(line)
    except (ValueError, RecursionError):
        raise BadLine("not JSON") from None
    if not isinstance(data, dict):
        raise BadLine("not an object")
    given = data.get("id")
    if isinstance(given, dict | list):
        raise BadLine("id must be a text or a number")
    if "turns" not in data:
        return Row(given, (Submission(text=_text(data), role=_sender(data)),), turns=False)
    if "text" in data:
        raise BadLine("either text or turns, not both")
    turns = data["turns"]
    if not isinstance(turns, list) or not turns:
        raise BadLine("turns must be a list with something in it")
    if len(turns) > MAX_TURNS:
        raise BadLine(f"more than {MAX_TURNS} turns")
    said: list[Turn] = []
    submissions = []
    conversation = f"line {next(_LINES)}"
    for number, turn in enumerate(turns):
        if not isinstance(turn, dict):
            raise BadLine(f"turn {number} is not an object")
        try:
            text, role = _text(turn), _sender(turn)
        except BadLine as error:
            raise BadLine(f"turn {number}: {error}") from None
        submissions.append(
            Submission(
                text=text,
                role=role,
                recent=tuple(said[-RECENT:]),
                so_far=State(),
                conversation=conversation,
            )
        )
        said.append(Turn(role=role, text=text))
    return Row(given, tuple(submissions), turns=True)


def _text(data: dict[str, Any]) -> str:
    text = data.get("text")
    if not isinstance(text, str):
        raise BadLine("text is missing or not a text")
    text = unicodedata.normalize("NFC", text)
    if not text.strip():
        raise BadLine("text is empty")
    if len(text) > MAX_TEXT:
        raise BadLine(f"text is longer than {MAX_TEXT} characters")
    if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise BadLine("text has characters that no message may have")
    return text


def _sender(data: dict[str, Any]) -> Role:
    sender = data.get("sender")
    role = _SENDERS.get(sender) if isinstance(sender, str) else None
    if role is None:
        raise BadLine('sender must be "pupil" or "mentor"')
    return role


async def answers(
    pipeline: Pipeline, rows: Sequence[Row], *, explain_to: Reader | None = None
) -> list[dict[str, Any]]:
    """What is written for each row. Messages of several rows are judged together."""
    judged = await in_turn(pipeline, [row.submissions for row in rows], BATCH)
    written: list[dict[str, Any]] = []
    for row, verdicts in zip(rows, judged, strict=True):
        own = []
        for submission, (verdict, seconds) in zip(row.submissions, verdicts, strict=True):
            own.append(answer(verdict, seconds * 1_000))
            if explain_to is not None:
                own[-1]["explanation"] = explain(
                    verdict, pipeline.policy, to=explain_to, role=submission.role, why=pipeline.why
                )
        if not row.turns:
            written.append({"id": row.id, **own[0]})
            continue
        alerting = (at for at, turn in enumerate(own) if turn["risk"] != Risk.NONE.word)
        written.append({"id": row.id, "turns": own, "alert_from_turn": next(alerting, None)})
    return written


def answer(verdict: Verdict, ms: float) -> dict[str, Any]:
    """A verdict as protocol.md writes it."""
    scores: dict[str, float] = {}
    for signal in verdict.signals:
        scores[signal.label] = max(scores.get(signal.label, 0.0), signal.score)
    return {
        "action": verdict.action.word,
        "risk": verdict.risk.word,
        "reason": verdict.reason,
        "labels": {label: round(scores.get(label, 0.0), 5) for label in RISK_LABELS},
        "toxicity": {label: round(scores.get(f"toxicity:{label}", 0.0), 5) for label in TOXICITY_LABELS},
        "signals": [
            {
                "label": signal.label,
                "score": round(signal.score, 4),
                "stage": signal.stage,
                "why": signal.why,
                "span": list(signal.span) if signal.span else None,
            }
            for signal in verdict.signals
            if signal.score >= SHOWN
        ],
        "degraded": sorted(verdict.degraded),
        "policy": verdict.policy_version,
        "ms": round(ms, 3),
    }


def _arriving(lines: IO[bytes]) -> Iterator[list[tuple[int, bytes]]]:
    """Numbered lines in batches of what has arrived: a slow writer is answered line by line."""
    waiting: queue.Queue[tuple[int, bytes] | None] = queue.Queue(WAITING)

    def read() -> None:
        try:
            for numbered in enumerate(lines, 1):
                waiting.put(numbered)
        finally:
            waiting.put(None)

    threading.Thread(target=read, name="judge-reader", daemon=True).start()
    while True:
        first = waiting.get()
        if first is None:
            return
        batch = [first]
        while len(batch) < BATCH:
            try:
                following = waiting.get_nowait()
            except queue.Empty:
                break
            if following is None:
                yield batch
                return
            batch.append(following)
        yield batch


def _progress() -> "Progress | nullcontext[None]":
    """A count on standard error, where a person is looking."""
    if not sys.stderr.isatty():
        return nullcontext()
    columns = (SpinnerColumn(), TextColumn("{task.completed:,.0f} judged"), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)
