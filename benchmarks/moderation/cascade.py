"""The second tier: which messages it reads, and what is lost because it does not read the others."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.moderation import readings
from benchmarks.moderation.figures import Cell, Plot, Series, Table
from benchmarks.moderation.load import LEVELS, Message
from benchmarks.moderation.readings import found, raises, waits
from benchmarks.moderation.stats import share
from moderation.linear import STAGE as LINEAR
from moderation.pipeline import Pipeline, Second
from moderation.verdict import Risk, Signal, Submission, Verdict

BENIGN_PART = 0.9
"""The share of benign messages at which the cost of a gate is told; in a school it is greater still."""

ABSENT = (
    "The second tier (the transformer) was NOT there: every figure is of rules, contact details and the"
    " linear classifier alone, and the gate's cost could not be measured."
)


@dataclass(frozen=True, slots=True)
class Both:
    """A message read by both tiers, and what follows from the first alone and from both."""

    message: Message
    alarm: float  # how far the linear scores reach above the gate's thresholds
    needed: bool  # by the gate as shipped
    without: Verdict
    read: Verdict


def both(pipeline: Pipeline, messages: Sequence[Message]) -> list[Both] | None:
    """Ask both tiers about every message; None where there is no second one."""
    second = pipeline.second
    if second is None:
        return None
    batch = readings.of(messages)
    least = pipeline.policy.gate or {"level:concern": 1.0, "toxicity:toxicity": 1.0}
    verdicts = readings.judged(Pipeline(pipeline.first, pipeline.policy, pipeline.deadline_s), batch)
    rows = readings.read_by(second.stage, batch)
    return [
        Both(
            message,
            _alarm(verdict.signals, least),
            second.needed(submission, [one for one in verdict.signals if _counts(one, second)]),
            verdict,
            _decided(pipeline, submission, (*verdict.signals, *row), verdict.degraded),
        )
        for message, submission, verdict, row in zip(messages, batch, verdicts, rows, strict=True)
    ]


def _counts(signal: Signal, second: Second) -> bool:
    """Whether the gate hears of a signal: its stage is one that the second tier waits for."""
    return second.after is None or signal.stage in second.after


def _decided(
    pipeline: Pipeline, submission: Submission, signals: Sequence[Signal], degraded: frozenset[str]
) -> Verdict:
    return pipeline.policy.decide(submission, signals, degraded)


def _alarm(signals: Sequence[Signal], least: Mapping[str, float]) -> float:
    """How far the linear scores reach above the gate's thresholds: from 1 on it lets a message on."""
    scores = ((one.score, least[one.label]) for one in signals if one.stage == LINEAR and one.label in least)
    return max((score / from_here for score, from_here in scores), default=0.0)


def figures(rows: Sequence[Both]) -> tuple[list[Table], list[Plot]]:
    """The gate as shipped beside all and nothing read, and over thresholds on the first tier's score."""
    table: dict[str, Sequence[Cell]] = {
        "as shipped": _line(rows, lambda one: one.needed),
        "everything read": _line(rows, lambda one: True),
        "nothing read": _line(rows, lambda one: False),
    }
    benign = np.array([one.alarm for one in rows if one.message.benign])
    curve: list[tuple[float, Mapping[str, float]]] = []
    if len(benign):
        for part in (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0):
            threshold = float(np.quantile(benign, 1 - part))
            gate = _at(threshold)
            curve.append((100 * float((benign >= threshold).mean()), _found(rows, gate)))
            table[f"its thresholds × {threshold:.3g}"] = _line(rows, gate)
    series = [
        Series(level, tuple((x, values[level]) for x, values in curve if level in values))
        for level in LEVELS[1:]
    ]
    shipped = _found(rows, lambda one: one.needed)
    sent = [one.needed for one in rows if one.message.benign]
    at = 100 * sum(sent) / len(sent) if sent else 0.0
    series += [Series(f"{level}, as shipped", ((at, shipped[level]),), line=False) for level in shipped]
    differing = sum(not one.needed and _differs(one) for one in rows)
    plot = Plot(
        id="gate",
        title="What is found of each level, by how much the second tier reads",
        says="One line a level: the percentage found, against the percentage of benign messages that the"
        " second tier reads when the gate's thresholds are multiplied by one factor. Dots show the gate as"
        f" shipped: it sends {at:.0f} % of the benign messages on.",
        x="benign messages read by the second tier, %",
        y="found, %",
        x_range=(0, 100),
        y_range=(0, 100),
        series=tuple(one for one in series if one.points),
    )
    return [
        Table(
            id="cascade",
            title="The second tier's gate",
            first="gate",
            columns=(
                "read, nine in ten benign, %",
                "benign read",
                "benign held",
                "benign high or more",
                *(f"{level} found" for level in reversed(LEVELS[1:])),
            ),
            rows=table,
            note=f"Percent. Found: critical by high or immediate, the others raised or held. Of {len(rows)}"
            f" messages {differing} have another verdict than if the second tier had read them. A gate of"
            " other thresholds has all of its own multiplied by one factor; without any of its own (then"
            " everything is read) it goes by the linear classifier's scores for concern and toxicity.",
        )
    ], [plot]


def _at(threshold: float) -> Callable[[Both], bool]:
    return lambda one: one.alarm >= threshold


def _differs(one: Both) -> bool:
    return (one.without.action, one.without.risk) != (one.read.action, one.read.risk)


def _found(rows: Sequence[Both], gate: Callable[[Both], bool]) -> dict[str, float]:
    shares = {}
    for level in LEVELS[1:]:
        own = [
            _hit(level, one.read if gate(one) else one.without) for one in rows if one.message.level == level
        ]
        if own:
            shares[level] = 100 * sum(own) / len(own)
    return shares


def _hit(level: str, verdict: Verdict) -> bool:
    return raises(verdict, Risk.HIGH) if level == "critical" else found(verdict)


def _line(rows: Sequence[Both], gate: Callable[[Both], bool]) -> list[Cell]:
    read = [gate(one) for one in rows]
    calm = [one for one, _ in zip(rows, read, strict=True) if one.message.benign]
    sent = [hit for one, hit in zip(rows, read, strict=True) if one.message.benign]
    risky = [hit for one, hit in zip(rows, read, strict=True) if not one.message.benign]
    verdicts = [one.read if gate(one) else one.without for one in calm]
    parts = [share(sent), share(risky)]
    mixed = None
    if parts[0] and parts[1]:
        mixed = f"{BENIGN_PART * parts[0].value + (1 - BENIGN_PART) * parts[1].value:.1f}"
    levels: list[Cell] = []
    for level in reversed(LEVELS[1:]):
        own = [one for one in rows if one.message.level == level]
        levels.append(share([_hit(level, one.read if gate(one) else one.without) for one in own]))
    high = share([raises(one, Risk.HIGH) for one in verdicts])
    return [mixed, parts[0], share([waits(one) for one in verdicts]), high, *levels]
