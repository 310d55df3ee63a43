"""Choose the second tier's thresholds and the gate before it, and write them into policy.toml.

    python -m moderation.training.thresholds --data FOLDER

Chosen on messages the models were not trained on: the folder's dev messages, the benign turns of its dev
conversations and of the project's own that training leaves out. What the project's own messages show that
were left out is printed beside them: they were written to be hard, so they show how hard the harder ones
are. A threshold is the least score at which no more than a stated share of the benign ones among them is
touched, by rules and scores together: rules spend of the same allowance. Nothing here is set by hand but
the shares.
"""

import argparse
import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from moderation.build import default_pipeline
from moderation.linear import STAGE as LINEAR
from moderation.linear import Linear, load_model
from moderation.policy_file import MOST_SURE, load_policy
from moderation.training.linear import benign_turns
from moderation.training.own import Message, own_messages, read_messages
from moderation.training.thresholds_file import write_policy
from moderation.transformer import LABELS, STAGE, load_transformer
from moderation.verdict import RISK_LABELS, Action, Risk, Role, Submission

HIGH, CONCERN = 0.02, 0.06
"""Share of benign messages that may be told to an adult as high or more, and as concern or more."""

HIGH_BY_IMMEDIATE = 0.01
"""Likewise as high because of the score of `level:immediate`: a part of `HIGH`, spent before the rest."""

IMMEDIATE = 0.004
"""Likewise as immediate, of the turns of benign conversations, too."""

SURE = 0.001
"""Share of the turns of benign conversations that a score alone may call high risk within a conversation."""

HELD = 0.003
"""Share of benign messages and turns that a label's score may hold besides what rules and risk hold."""

MENTORS_HELD = 0.01
"""Likewise of mentors' messages and turns for `boundary`, which is about mentors alone."""

NAMED = 0.01
"""Share of benign messages that may reach the score at which a label is named beside a risk."""

HOLDING = (
    "personal_data",
    "harassment",
    "boundary",
    "threat",
    "sexual",
    "toxicity:insult",
    "toxicity:identity_attack",
    "toxicity:threat",
    "toxicity:toxicity",
)
"""Labels whose score alone may hold a message, and so share what `HELD` leaves."""

LEAST_HOLD = {
    "toxicity:toxicity": 0.6,
    "toxicity:insult": 0.5,
    "toxicity:identity_attack": 0.5,
    "toxicity:threat": 0.5,
    "harassment": 0.3,
    "threat": 0.3,
    "sexual": 0.2,
    "personal_data": 0.5,
}
"""Under these a score holds nothing, however rare it is among the benign messages: they hardly ever name a
group of people, and who they are must not be what holds them."""

PASSED_ON = 0.45
"""Share of benign messages that the gate may pass on to the second tier, where that loses least."""

DEV = "messages_dev.jsonl"

_Floats = NDArray[np.float64]
_Marks = NDArray[np.bool_]


@dataclass(frozen=True)
class Read:
    """What the stages make of many messages; one row a message."""

    levels: NDArray[np.int64]  # 0 none to 3 critical, as marked
    mentors: _Marks
    labels: Sequence[frozenset[str]]
    scores: _Floats  # (messages, LABELS) of the second tier
    first: _Floats  # (messages, the linear tier's labels)
    risk: NDArray[np.int64]  # by rules and contact details alone
    action: NDArray[np.int64]
    dev: _Marks  # messages of the folder's dev file
    turns: _Marks  # of benign conversations

    @property
    def benign(self) -> _Marks:
        return np.asarray(self.levels == 0)


def messages(data: Path) -> list[Message]:
    """The messages to choose on."""
    found: list[Message] = list(read_messages([data / "risk/messages_dev.jsonl"]))
    found += [("dev turns", turn) for turn in benign_turns(data / "conversations_dev.jsonl")]
    return found + own_messages(aside=True)


def read(found: Sequence[Message]) -> Read:
    """Ask every stage about every message."""
    submissions = [Submission(text=row["text"], role=Role(row["sender"])) for _, row in found]
    linear = load_model()
    rules = default_pipeline(classifiers=[], deadline_s=600)
    verdicts = asyncio.run(rules.judge(submissions))
    order = ("none", "concern", "high", "critical")
    return Read(
        levels=np.array([order.index(row["level"]) for _, row in found]),
        mentors=np.array([row["sender"] == "mentor" for _, row in found]),
        labels=[frozenset(row["labels"]) for _, row in found],
        scores=load_transformer(linear=linear).probabilities(submissions).astype(np.float64),
        first=Linear(linear.tables).probabilities(submissions).astype(np.float64),
        risk=np.array([int(verdict.risk) for verdict in verdicts]),
        action=np.array([int(verdict.action) for verdict in verdicts]),
        dev=np.array([name == DEV for name, _ in found]),
        turns=np.array([name.endswith("turns") for name, _ in found]),
    )


def least(scores: _Floats, spent: _Marks, share: float) -> float:
    """The least score at which no more than `share` of these messages is touched, `spent` ones counted in."""
    allowed = int(np.floor(share * len(scores))) - int(spent.sum())
    free = np.sort(scores[~spent])[::-1]
    if allowed <= 0:
        at = free[0] if len(free) else 0.999
    else:
        at = free[min(allowed, len(free) - 1)]
    return float(min(0.999, max(0.02, np.ceil((at + 1e-4) * 1000) / 1000)))


def chosen(seen: Read) -> dict[str, dict[str, float]]:
    """Thresholds by label."""
    at = {label: place for place, label in enumerate(LABELS)}
    table: dict[str, dict[str, float]] = {label: {} for label in (*RISK_LABELS, *HOLDING)}
    messages = some(seen, seen.benign & seen.dev)
    turns = some(seen, seen.benign & seen.turns)
    both = some(seen, seen.benign & (seen.dev | seen.turns))

    def of(one: Read, label: str, spent: _Marks, share: float) -> float:
        return least(one.scores[:, at[label]], spent, share)

    none = np.zeros(len(turns.risk), bool)
    immediate = max(  # nothing softens it in a conversation, so it must be rare there, too
        of(both, "level:immediate", both.risk >= Risk.IMMEDIATE, IMMEDIATE),
        of(turns, "level:immediate", none, SURE),
    )
    raised = (messages.risk >= Risk.HIGH) | (messages.scores[:, at["level:immediate"]] >= immediate)
    grave = of(messages, "level:immediate", raised, HIGH_BY_IMMEDIATE)
    raised |= messages.scores[:, at["level:immediate"]] >= grave
    high = of(messages, "level:high", raised, HIGH)
    raised |= messages.scores[:, at["level:high"]] >= high
    concern = of(messages, "level:concern", raised | (messages.risk >= Risk.CONCERN), CONCERN)
    table["level:concern"] = {"concern": concern}
    table["level:high"] = {
        "high": high,
        "sure": min(MOST_SURE, max(high, of(turns, "level:high", none, SURE))),
    }
    sure = min(MOST_SURE, of(turns, "level:immediate", none, SURE))
    table["level:immediate"] = {"high": grave, "sure": max(grave, sure), "immediate": max(grave, immediate)}
    for label in RISK_LABELS:
        table[label]["named"] = of(both, label, np.zeros(len(both.risk), bool), NAMED)
    risky = (both.risk >= Risk.HIGH) | (both.scores[:, at["level:high"]] >= high)
    free = some(both, ~risky & (both.action == Action.DELIVER))
    for label in HOLDING:
        whose, share = (some(free, free.mentors), MENTORS_HELD) if label == "boundary" else (free, HELD)
        found = of(whose, label, np.zeros(len(whose.risk), bool), share)
        table[label]["hold"] = max(found, LEAST_HOLD.get(label, 0.0))
    return table


def outcome(seen: Read, table: Mapping[str, Mapping[str, float]]) -> tuple[NDArray[np.int64], _Marks]:
    """Risk and whether held, by rules and scores together."""
    at = {label: place for place, label in enumerate(LABELS)}
    risk, held = seen.risk.copy(), seen.action > Action.DELIVER
    for label, fields in table.items():
        score = seen.scores[:, at[label]]
        for name, level in (("concern", Risk.CONCERN), ("high", Risk.HIGH), ("immediate", Risk.IMMEDIATE)):
            if name in fields:
                risk = np.where(score >= fields[name], np.maximum(risk, level), risk)
        if "hold" in fields:
            held = held | (score >= fields["hold"])
    return risk, held | (risk >= Risk.HIGH)


def gate(seen: Read, risk: NDArray[np.int64], held: _Marks) -> dict[str, float]:
    """The least first-tier scores that need the second: what loses least while `PASSED_ON` of benign pass.

    Two numbers are tried together: one for levels and topics, one for toxicity. Whatever the first tier would
    hold or raise by itself is passed on, too.
    """
    linear = load_model()
    names = list(linear.labels)
    level = seen.first[:, names.index("level:concern")]
    toxic = seen.first[:, names.index("toxicity:toxicity")]
    found = (risk > seen.risk) | (held & (seen.action == Action.DELIVER))
    best = (-1.0, 0.0, 0.0)
    for from_level in np.quantile(level[seen.benign], np.linspace(0.2, 0.98, 40)):
        for from_toxic in np.quantile(toxic[seen.benign], np.linspace(0.5, 0.99, 20)):
            passed = (level >= from_level) | (toxic >= from_toxic)
            if passed[seen.benign].mean() <= PASSED_ON:
                kept = float(passed[found & ~seen.benign].mean())
                best = max(best, (kept, float(from_level), float(from_toxic)))
    kept, from_level, from_toxic = best
    print(f"the gate keeps {100 * kept:.1f} % of what the second tier adds")
    passed_on = {"level:concern": from_level, "toxicity:toxicity": from_toxic}
    thresholds = load_policy().thresholds
    for stage in (LINEAR, f"{LINEAR}.mentor"):
        for label, threshold in thresholds.get(stage, {}).items():
            if threshold.least <= 1:
                passed_on[label] = min(threshold.least, passed_on.get(label, 1.0))
    return {label: float(np.floor(score * 1000) / 1000) for label, score in passed_on.items()}


def some(seen: Read, which: _Marks) -> Read:
    """The marked messages."""
    return Read(
        seen.levels[which],
        seen.mentors[which],
        [labels for labels, one in zip(seen.labels, which, strict=True) if one],
        seen.scores[which],
        seen.first[which],
        seen.risk[which],
        seen.action[which],
        seen.dev[which],
        seen.turns[which],
    )


def tell(name: str, seen: Read, table: Mapping[str, Mapping[str, float]]) -> None:
    """Print what these thresholds find."""
    risk, held = outcome(seen, table)
    tests: dict[str, Callable[[], _Marks]] = {
        "high": lambda: risk >= Risk.HIGH,
        "concern": lambda: risk >= Risk.CONCERN,
        "held": lambda: held,
        "any": lambda: (risk >= Risk.CONCERN) | held,
    }
    shares = {
        level: {test: round(100 * float(run()[seen.levels == at].mean()), 1) for test, run in tests.items()}
        for at, level in enumerate(("none", "concern", "high", "critical"))
        if (seen.levels == at).any()
    }
    print(name, json.dumps(shares))
    by_label = {
        label: round(
            100 * float(((risk >= Risk.CONCERN) | held)[[label in one for one in seen.labels]].mean()), 1
        )
        for label in RISK_LABELS
        if any(label in one for one in seen.labels)
    }
    print(name, "by label, any:", json.dumps(by_label))


def main(arguments: Sequence[str] | None = None) -> int:
    """Choose, print what it finds, and write."""
    parser = argparse.ArgumentParser(prog="python -m moderation.training.thresholds", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the data folder")
    parser.add_argument("--dry", action="store_true", help="print, and write nothing")
    given = parser.parse_args(arguments)
    found = messages(given.data)
    seen = read(found)
    table = {label: fields for label, fields in chosen(seen).items() if fields}
    own = ~seen.dev & ~seen.turns
    for name, which in (("dev", seen.dev), ("the project's own", own), ("turns", seen.turns)):
        tell(name, some(seen, which), table)
    risk, held = outcome(seen, table)
    passed = gate(seen, risk, held)
    rates = {"concern": CONCERN, "high": HIGH, "immediate": IMMEDIATE, "hold": HELD, "named": NAMED}
    if not given.dry:
        write_policy(
            {STAGE: table}, rates={STAGE: rates}, gate=passed, writer="moderation.training.thresholds"
        )
    print(json.dumps({"table": table, "gate": passed}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
