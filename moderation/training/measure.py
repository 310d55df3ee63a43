"""Measure the shipped pipeline on files it was not trained on, and how long it takes.

    python -m moderation.training.measure --data FOLDER

FOLDER holds risk/messages_dev.jsonl and conversations_dev.jsonl. Risk is over-represented in them, so what
counts is how much is found of each level beside how many benign messages are flagged.
"""

import argparse
import asyncio
import json
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from moderation.build import default_pipeline
from moderation.contact import Contacts
from moderation.linear import load_model
from moderation.pipeline import Pipeline
from moderation.rules import load_rules
from moderation.verdict import RISK_LABELS, Action, Risk, Role, Submission, Turn, Verdict

LEVELS = ("none", "concern", "high", "critical")


def share(verdicts: Sequence[Verdict], asked: str) -> str:
    """What part of some verdicts is held, of at least some risk, or either."""
    hits = {
        "held or blocked": lambda one: one.action is not Action.DELIVER,
        "concern or more": lambda one: one.risk >= Risk.CONCERN,
        "high or more": lambda one: one.risk >= Risk.HIGH,
        "immediate": lambda one: one.risk is Risk.IMMEDIATE,
        "any of these": lambda one: one.risk >= Risk.CONCERN or one.action is not Action.DELIVER,
    }[asked]
    return f"{100 * sum(map(hits, verdicts)) / len(verdicts):.1f}" if verdicts else "-"


async def judged(pipeline: Pipeline, submissions: Sequence[Submission]) -> list[Verdict]:
    """Verdicts in batches of 64."""
    verdicts: list[Verdict] = []
    for first in range(0, len(submissions), 64):
        verdicts += await pipeline.judge(submissions[first : first + 64])
    return verdicts


async def messages(pipeline: Pipeline, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print shares by level and by label."""
    submissions = [Submission(text=row["text"], role=Role(row["sender"])) for row in rows]
    pairs = list(zip(rows, await judged(pipeline, submissions), strict=True))
    columns = ("held or blocked", "concern or more", "high or more", "immediate", "any of these")
    print(f"| level | rows | {' | '.join(columns)} |")
    print("| --- " * (2 + len(columns)) + "|")
    for level in LEVELS:
        some = [verdict for row, verdict in pairs if row["level"] == level]
        print(f"| {level} | {len(some)} | {' | '.join(share(some, column) for column in columns)} |")
    print("\n| label | rows | high or more | any of these |\n| --- | --- | --- | --- |")
    for label in RISK_LABELS:
        some = [verdict for row, verdict in pairs if label in row["labels"]]
        print(f"| {label} | {len(some)} | {share(some, 'high or more')} | {share(some, 'any of these')} |")


async def conversations(pipeline: Pipeline, rows: Iterable[Mapping[str, Any]]) -> None:
    """Print when an alert would open beside when a careful adult would want one."""
    found = {"as marked": 0, "later": 0, "earlier": 0, "never": 0}
    benign = alarmed = 0
    for row in rows:
        said: list[Turn] = []
        submissions = []
        for turn in row["turns"]:
            role = Role(turn["sender"])
            submissions.append(Submission(text=turn["text"], role=role, recent=tuple(said[-20:])))
            said.append(Turn(role=role, text=turn["text"]))
        verdicts = await judged(pipeline, submissions)
        at = next((at for at, verdict in enumerate(verdicts) if verdict.risk >= Risk.CONCERN), None)
        marked = row["alert_from_turn"]
        if marked is None:
            benign += 1
            alarmed += at is not None
        elif at is None:
            found["never"] += 1
        else:
            found["as marked" if at == marked else "later" if at > marked else "earlier"] += 1
    print(f"\nbenign conversations with an alert: {alarmed} of {benign}")
    print("alerts in the others: " + ", ".join(f"{count} {when}" for when, count in found.items()))


def microseconds(
    work: Callable[[Sequence[Submission]], object], batch: Sequence[Submission], times: int = 30
) -> float:
    """The median time of one message."""
    work(batch)
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        work(batch)
        taken.append((time.perf_counter() - began) / len(batch) * 1e6)
    return statistics.median(taken)


def timings(texts: Sequence[str]) -> None:
    """Print what each stage costs a message, alone and in a batch."""
    batch = [Submission(text=text, role=Role.PUPIL) for text in texts[:64]]
    rules, contacts, linear = load_rules(), Contacts(), load_model()

    def plain(some: Sequence[Submission]) -> None:
        for one in some:
            rules.read(one)
            contacts.read(one)

    print("\n| stage | one message, µs | of 64, µs each |\n| --- | --- | --- |")
    for name, work in (("rules and contact", plain), ("linear", linear.read)):
        single = statistics.median(microseconds(work, batch[at : at + 1]) for at in range(0, 64, 4))
        print(f"| {name} | {single:.0f} | {microseconds(work, batch):.0f} |")

    async def whole(pipeline: Pipeline, some: Sequence[Submission], times: int) -> float:
        taken = []
        for _ in range(times):
            began = time.perf_counter()
            await pipeline.judge(some)
            taken.append((time.perf_counter() - began) / len(some) * 1e6)
        return statistics.median(taken)

    pipeline = default_pipeline(deadline_s=60)
    single, many = (asyncio.run(whole(pipeline, some, 60)) for some in (batch[:1], batch))
    print(f"| the whole pipeline | {single:.0f} | {many:.0f} |")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print everything as Markdown."""
    parser = argparse.ArgumentParser(prog="python -m moderation.training.measure", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the data folder")
    data: Path = parser.parse_args(arguments).data
    lines = (data / "risk/messages_dev.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    talks = (data / "conversations_dev.jsonl").read_text(encoding="utf-8").splitlines()

    async def both() -> None:
        pipeline = default_pipeline(deadline_s=60)
        await messages(pipeline, rows)
        await conversations(pipeline, [json.loads(line) for line in talks])

    asyncio.run(both())
    timings([row["text"] for row in rows])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
