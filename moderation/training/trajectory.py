"""Fit the fold over conversations: its weights, its rates and its thresholds.

    python -m moderation.training.trajectory --data FOLDER

Fitted on the project's own conversations that no classifier was trained on (conversations_aside.jsonl), for
classifiers see turns that they know as better than they are. Each conversation's turns from
`alert_from_turn` on are what should raise, the turns before it and benign conversations what should not.
Everything is chosen by cross-validation over whole conversations: rates and strength of regularisation by
what is caught, thresholds by the scores of conversations that the weights had not been fitted on. Needs the
`train` extra. Writes models/trajectory.toml. Seeds are fixed.
"""

import argparse
import asyncio
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from moderation.build import default_pipeline
from moderation.pipeline import in_turn
from moderation.training.own import conversations
from moderation.training.windows import Conversation, turns_of
from moderation.trajectory import (
    FEATURES,
    FILE,
    STAGE,
    State,
    Weights,
    features,
    observed,
    save_weights,
    step,
)
from moderation.verdict import Risk, Role, Signal

SEED = 20261123
FOLDS = 5
REPEATS = 3
LATE = 2
"""Turns after `alert_from_turn` by which a conversation should have raised."""

BENIGN_RAISED = 0.04
"""Share of benign conversations that the fold may raise beside what single messages do."""

BENIGN_HIGH = 0.01
"""Share of benign conversations in which it may ask for high risk."""

CALMED = 1.0
"""How far (log-odds) the score must fall under the threshold, before what was told is told again."""

RUN_UP, IN_TIME, AFTER = 0.2, 1.5, 0.4
"""What a turn counts for: before it should raise, in time, and later. In a benign conversation it is 1."""

STRENGTHS = (3.0, 10.0, 30.0)
RATES = {"slow": (60, 120), "fast": (400, 700), "cleared": (300,), "keep": (850, 930)}

_Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Talk:
    """One conversation as the stages see it."""

    id: str
    kind: str
    alert: int | None
    roles: tuple[Role, ...]
    signals: tuple[tuple[Signal, ...], ...]
    others: tuple[Risk, ...]  # what each message raises without the conversation's history


async def seen(rows: Sequence[Conversation]) -> list[Talk]:
    """What the pipeline sees in some conversations."""
    pipeline = default_pipeline(deadline_s=120)
    batches = [[replace(one, so_far=State()) for one in turns_of(row)] for row in rows]
    talks = []
    for row, batch, verdicts in zip(rows, batches, await in_turn(pipeline, batches), strict=True):
        if any(verdict.degraded - {"language"} for verdict, _ in verdicts):
            raise SystemExit("a stage gave no answer")
        signals = tuple(
            tuple(one for one in verdict.signals if one.stage != STAGE) for verdict, _ in verdicts
        )
        others = tuple(
            pipeline.policy.decide(one, found, frozenset()).risk
            for one, found in zip(batch, signals, strict=True)
        )
        roles = tuple(one.role for one in batch)
        talks.append(Talk(row["id"], row["kind"], row["alert_from_turn"], roles, signals, others))
    return talks


def folded(talk: Talk, rates: Weights) -> _Floats:
    """The features after each turn, (turns, features)."""
    state = State()
    rows = []
    for role, signals in zip(talk.roles, talk.signals, strict=True):
        state = observed(state, role, signals, (), rates)
        rows.append(features(state))
    return np.array(rows)


def rows_of(talks: Sequence[Talk], tables: Sequence[_Floats]) -> tuple[_Floats, _Floats, _Floats]:
    """Every turn as a row to fit on: features, whether it should raise, and what it counts for."""
    wanted, counts = [], []
    for talk in talks:
        for at in range(len(talk.roles)):
            due = talk.alert is not None and at >= talk.alert
            wanted.append(float(due))
            if talk.alert is None:
                counts.append(1.0)
            else:
                counts.append(RUN_UP if not due else IN_TIME if at <= talk.alert + LATE else AFTER)
    return np.concatenate(tables), np.array(wanted), np.array(counts)


def fit(inputs: _Floats, wanted: _Floats, counts: _Floats, strength: float) -> tuple[_Floats, float]:
    """Logistic regression without negative weights: more evidence never lowers the score."""
    spread = np.maximum(inputs.std(axis=0), 0.02)
    scaled = inputs / spread
    total = counts.sum()

    def loss(point: _Floats) -> tuple[float, _Floats]:
        odds = scaled @ point[:-1] + point[-1]
        value = counts @ (np.logaddexp(0, odds) - wanted * odds) / total
        value += strength * (point[:-1] @ point[:-1]) / total
        off = counts * (1 / (1 + np.exp(-odds)) - wanted) / total
        slope = np.append(scaled.T @ off + 2 * strength * point[:-1] / total, off.sum())
        return float(value), slope

    start = np.zeros(inputs.shape[1] + 1)
    limits = [(0.0, None)] * inputs.shape[1] + [(None, None)]
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=limits, options={"maxiter": 300})
    return found.x[:-1] / spread, float(found.x[-1])


def unseen_odds(
    talks: Sequence[Talk], tables: Sequence[_Floats], strength: float, seed: int
) -> list[_Floats]:
    """For each conversation the log-odds at each turn, by weights that were not fitted on it."""
    chance = np.random.default_rng(seed)
    fold_of = np.zeros(len(talks), int)
    for kind in sorted({talk.kind for talk in talks}):
        own = [at for at, talk in enumerate(talks) if talk.kind == kind]
        chance.shuffle(own)
        for number, at in enumerate(own):
            fold_of[at] = number % FOLDS
    odds: list[_Floats] = [np.zeros(0)] * len(talks)
    for left in range(FOLDS):
        kept = [at for at in range(len(talks)) if fold_of[at] != left]
        rows = rows_of([talks[at] for at in kept], [tables[at] for at in kept])
        weights, bias = fit(*rows, strength)
        for at in np.flatnonzero(fold_of == left).tolist():
            odds[at] = tables[at] @ weights + bias
    return odds


def best_in_time(talk: Talk, odds: _Floats) -> float:
    """The highest log-odds that count: of a benign conversation any, of another those in time."""
    return float(odds.max() if talk.alert is None else odds[: talk.alert + LATE + 1].max())


def raised_by_others(talk: Talk, least: Risk = Risk.CONCERN) -> bool:
    """Whether some message raises by itself, in time."""
    last = len(talk.others) if talk.alert is None else talk.alert + LATE + 1
    return any(risk >= least for risk in talk.others[:last])


def threshold(talks: Sequence[Talk], odds: Sequence[_Floats], share: float, least: Risk) -> float:
    """The log-odds that so many benign conversations reach, of those that nothing else raises."""
    quiet = [
        best_in_time(talk, own)
        for talk, own in zip(talks, odds, strict=True)
        if talk.alert is None and not raised_by_others(talk, least)
    ]
    return float(np.quantile(quiet, 1 - share))


def caught(talks: Sequence[Talk], odds: Sequence[_Floats], least: float) -> list[bool]:
    """For each conversation whether it raises, by this or by anything else; a risky one in time."""
    return [
        best_in_time(talk, own) >= least or raised_by_others(talk)
        for talk, own in zip(talks, odds, strict=True)
    ]


def share(hits: Sequence[bool]) -> float:
    """Percent."""
    return 100 * sum(hits) / max(1, len(hits))


def main(arguments: Sequence[str] | None = None) -> int:
    """Fit, say how well it does, write."""
    parser = argparse.ArgumentParser(prog="python -m moderation.training.trajectory", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the data folder")
    chosen = parser.parse_args(arguments)
    talks = asyncio.run(seen(conversations(chosen.data, aside=True)))
    risky = [talk.alert is not None for talk in talks]

    found: list[tuple[float, dict[str, int], float]] = []
    for values in itertools.product(*RATES.values()):
        rates = dict(zip(RATES, values, strict=True))
        tables = [folded(talk, empty(rates)) for talk in talks]
        for strength in STRENGTHS:
            odds = unseen_odds(talks, tables, strength, SEED)
            hits = caught(talks, odds, threshold(talks, odds, BENIGN_RAISED, Risk.CONCERN))
            wide = caught(talks, odds, threshold(talks, odds, 2 * BENIGN_RAISED, Risk.CONCERN))
            score = share([hit for hit, own in zip(hits, risky, strict=True) if own])
            score += share([hit for hit, own in zip(wide, risky, strict=True) if own])
            found.append((score / 2, rates, strength))
    found.sort(key=lambda one: -one[0])
    for score, rates, strength in found[:5]:
        print(f"{score:.1f} % at {rates}, {strength}")
    _, rates, strength = found[0]
    tables = [folded(talk, empty(rates)) for talk in talks]
    runs = [unseen_odds(talks, tables, strength, SEED + 1 + turn) for turn in range(REPEATS)]
    concern = float(np.mean([threshold(talks, odds, BENIGN_RAISED, Risk.CONCERN) for odds in runs]))
    high = float(np.mean([threshold(talks, odds, BENIGN_HIGH, Risk.HIGH) for odds in runs]))
    report(talks, runs, concern)
    weights, bias = fit(*rows_of(talks, tables), strength)
    fitted = Weights(
        tuple(float(weight) for weight in weights),
        bias,
        concern,
        max(high, concern + CALMED),
        concern - CALMED,
        **rates,
    )
    save_weights(
        fitted,
        [
            "Weights of the fold over a conversation, see moderation/trajectory.py.",
            "Written by moderation.training.trajectory; its first line is checked at every start.",
            f"Conversations: {sum(risky)} risky, {len(risky) - sum(risky)} benign; seed {SEED}.",
        ],
    )
    where = [talk for talk in talks if alarms(talk, fitted)]
    print(f"fitted on all: {len(where)} of {len(talks)} raise; written to {FILE.name}")
    return 0


def empty(rates: Mapping[str, int]) -> Weights:
    """Weights of nothing, with some rates."""
    return Weights((0.0,) * len(FEATURES), 0.0, 0.0, 0.0, 0.0, **rates)


def alarms(talk: Talk, weights: Weights) -> list[tuple[int, str]]:
    """When a conversation raises by the fold, and which pattern it names."""
    state = State()
    found = []
    for at, (role, signals) in enumerate(zip(talk.roles, talk.signals, strict=True)):
        state, new = step(state, role, signals, (), weights)
        found += [(at, one.why) for one in new]
    return found


def report(talks: Sequence[Talk], runs: Sequence[Sequence[_Floats]], least: float) -> None:
    """Print what is caught by kind, mean of the runs, each conversation by weights that have not seen it."""
    mean = np.mean([caught(talks, odds, least) for odds in runs], axis=0)
    alone = np.array([raised_by_others(talk) for talk in talks])
    kinds = np.array([talk.kind for talk in talks])
    risky = np.array([talk.alert is not None for talk in talks])
    print("\n| kind | conversations | raised without the fold, % | with it, % |\n| --- | --- | --- | --- |")
    for name, own in [
        *((kind, kinds == kind) for kind in sorted(set(kinds))),
        ("all that are risky, in time", risky),
    ]:
        print(f"| {name} | {own.sum()} | {100 * alone[own].mean():.0f} | {100 * mean[own].mean():.0f} |")


if __name__ == "__main__":
    raise SystemExit(main())
