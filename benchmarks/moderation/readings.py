"""The pipeline as `peerchat judge` uses it, on whatever the other modules give it."""

import asyncio
import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.moderation.load import Message, Talk
from benchmarks.moderation.stats import Floats
from moderation.pipeline import Pipeline, Stage, in_turn
from moderation.verdict import (
    LEVEL_LABELS,
    RISK_LABELS,
    TOXICITY_LABELS,
    Action,
    Risk,
    Role,
    Signal,
    Submission,
    Verdict,
)
from web.commands import judge

BATCH = 64
LABELS = (*RISK_LABELS, *LEVEL_LABELS, *(f"toxicity:{label}" for label in TOXICITY_LABELS))
LATER = ("transformer", "linear")
"""Classifiers, the one that has the last word first."""


def submission(text: str, sender: str = "pupil") -> Submission:
    """A message by itself."""
    return Submission(text=text, role=Role(sender))


def of(messages: Iterable[Message]) -> list[Submission]:
    """Messages by themselves."""
    return [submission(one.text, one.sender) for one in messages]


def judged(pipeline: Pipeline, batch: Sequence[Submission]) -> list[Verdict]:
    """Verdicts on messages by themselves, in batches."""

    async def all_of() -> list[Verdict]:
        verdicts: list[Verdict] = []
        for first in range(0, len(batch), BATCH):
            verdicts += await pipeline.judge(batch[first : first + BATCH])
        return verdicts

    return asyncio.run(all_of())


def talked(pipeline: Pipeline, talk: Talk) -> list[Verdict]:
    """A verdict for each turn of a conversation, each with what was said before: as `peerchat judge` does."""
    turns = [{"sender": sender, "text": text} for sender, text in talk.turns]
    row = judge.parse(json.dumps({"turns": turns}).encode())
    assert row is not None
    (verdicts,) = asyncio.run(in_turn(pipeline, [row.submissions]))
    return [verdict for verdict, _ in verdicts]


def read_by(stage: Stage, batch: Sequence[Submission]) -> list[Sequence[Signal]]:
    """What one stage sees, without the others: nothing where it says that it cannot judge."""

    async def all_of() -> list[Sequence[Signal]]:
        rows: list[Sequence[Signal]] = []
        for first in range(0, len(batch), BATCH):
            answer = await stage.assess(batch[first : first + BATCH])
            rows += [row or () for row in answer]
        return rows

    return asyncio.run(all_of())


def once(stage: Stage, batch: Sequence[Submission], verdicts: Sequence[Verdict]) -> list[Sequence[Signal]]:
    """The same, asking only about messages that the stage has not read for the verdicts already."""
    rows: list[Sequence[Signal]] = [
        [signal for signal in verdict.signals if signal.stage == stage.name] for verdict in verdicts
    ]
    missing = [at for at, row in enumerate(rows) if not row]
    for at, row in zip(missing, read_by(stage, [batch[at] for at in missing]), strict=True):
        rows[at] = row
    return rows


def waits(verdict: Verdict) -> bool:
    """Held or blocked."""
    return verdict.action is not Action.DELIVER


def raises(verdict: Verdict, least: Risk = Risk.CONCERN) -> bool:
    """Whether an adult would be told."""
    return verdict.risk >= least


def found(verdict: Verdict) -> bool:
    """Held, blocked or raised."""
    return waits(verdict) or raises(verdict)


def scores(rows: Iterable[Sequence[Signal]]) -> Floats:
    """The highest score for each of `LABELS`, 0 where a stage said nothing: (rows, labels)."""
    place = {label: at for at, label in enumerate(LABELS)}
    table: list[list[float]] = []
    for row in rows:
        values = [0.0] * len(LABELS)
        for signal in row:
            at = place[signal.label]
            values[at] = max(values[at], signal.score)
        table.append(values)
    return np.asarray(table, float).reshape(-1, len(LABELS))


def score(row: Sequence[Signal], label: str) -> float:
    """What the last classifier that read a message makes of it; 0 where none said anything."""
    for stage in LATER:
        own = [signal for signal in row if signal.stage == stage]
        if own:
            return max((signal.score for signal in own if signal.label == label), default=0.0)
    return 0.0


def column(label: str) -> int:
    """Where a label stands in `scores`."""
    return LABELS.index(label)


def shown(verdicts: Sequence[Verdict]) -> Floats:
    """The six toxicity scores that `peerchat judge` writes for each verdict: (rows, labels)."""
    answers = [judge.answer(verdict, 0.0)["toxicity"] for verdict in verdicts]
    return np.asarray([[answer[label] for label in TOXICITY_LABELS] for answer in answers], float).reshape(
        -1, len(TOXICITY_LABELS)
    )


@dataclass(frozen=True, slots=True)
class Mix:
    """Messages as they may come in a school: nine in ten benign."""

    submissions: Sequence[Submission]
    benign: int


def mixed(messages: Sequence[Message], *, seed: int, part: float = 0.9) -> Mix:
    """The messages, with the benign ones repeated to be `part` of all, in an order drawn by the seed."""
    risky = [one for one in messages if not one.benign]
    benign = [one for one in messages if one.benign]
    wanted = round(len(risky) * part / (1 - part)) if risky else len(benign)
    repeated = [benign[at % len(benign)] for at in range(wanted)] if benign else []
    order = [*risky, *repeated]
    random.Random(seed).shuffle(order)
    return Mix(of(order), len(repeated))
