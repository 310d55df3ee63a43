"""Train the embedded classifier, calibrate it, choose its thresholds, and write what was measured.

    python -m moderation.training.linear --data FOLDER

FOLDER holds toxicity/train.jsonl.gz, dev.jsonl.gz and jigsaw_test_a.jsonl.gz, risk/train_*.jsonl and
messages_dev.jsonl, conversations_train.jsonl and conversations_dev.jsonl. Trained on train files alone,
calibrated on dev files; thresholds are the scores that a stated share of benign messages reaches. Needs the
`train` extra. Writes models/linear.npz and linear.toml, models/figures.toml, and the `[stage.linear]` part
of policy.toml. Seeds are fixed: the same data and library versions give the same file.
"""

import argparse
import gzip
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from moderation.linear import MODELS, RISK, TOXICITY, Linear, Table, features, save_model
from moderation.policy_file import load_policy
from moderation.rules import shipped_rules
from moderation.text import fold
from moderation.training.own import Message, own_messages, read_messages
from moderation.training.thresholds_file import write_policy
from moderation.verdict import LEVEL_LABELS, RISK_LABELS, Risk, Role, Submission

EVERYDAY = Path(__file__).parent / "everyday.txt"

SEED = 20240607
TOXICITY_BITS, RISK_BITS = 18, 17
TOXICITY_C, RISK_C = 1.0, 25.0
"""Inverse strength of regularisation: tried at 1 and 4, and at 4, 12, 25 and 50, on dev."""

SMOOTHING = 0.1
"""Added to how often a feature is seen with and without a label; tried at 0.1 and 1 on dev."""

BLEND = 0.5
"""How much of the weights for `toxicity` go into those of the rarer labels: it is known for far more rows."""

OWN_KIND = 3.0
"""Weight of the public rows that are labelled for all six, and of the project's own messages."""

NON_TOXIC_WEIGHT = 9.505
"""How many of the official test's non-toxic rows one of jigsaw_test_a's stands for."""

CLEAN_ROWS = 6_000
"""Public rows without toxicity that the risk table sees as benign: words that pupils' messages lack."""

FOLDS = 5
"""Parts of the training messages, each scored by a table trained on the others, to choose thresholds on."""

RATES = {"concern": 0.04, "high": 0.015, "immediate": 0.003, "hold": 0.012}
"""Share of benign messages that may reach each threshold by this classifier alone."""

LEAST_HOLD = {
    "toxicity:toxicity": 0.5,
    "toxicity:insult": 0.2,
    "toxicity:threat": 0.1,
    "toxicity:identity_attack": 0.1,
}
LEAST_HARASSMENT = 0.3
"""Under these a score holds nothing, however rare it is among benign messages."""

_JIGSAW = {
    "toxicity:toxicity": "toxic",
    "toxicity:severe_toxicity": "severe_toxic",
    "toxicity:obscene": "obscene",
    "toxicity:threat": "threat",
    "toxicity:insult": "insult",
    "toxicity:identity_attack": "identity_hate",
}
_LEVELS = {"none": 0, "concern": 1, "high": 2, "critical": 3}

_Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Rows:
    """Texts with what is known of them: `targets[i, j]` is 1, 0, or NaN where nobody said."""

    texts: tuple[str, ...]
    mentors: tuple[bool, ...]
    targets: _Floats
    groups: tuple[str, ...]  # which file each is from

    def at(self, places: Sequence[int] | NDArray[np.int64]) -> "Rows":
        """Some of the rows."""
        return Rows(
            tuple(self.texts[at] for at in places),
            tuple(self.mentors[at] for at in places),
            self.targets[places],
            tuple(self.groups[at] for at in places),
        )

    def __add__(self, other: "Rows") -> "Rows":
        return Rows(
            self.texts + other.texts,
            self.mentors + other.mentors,
            np.concatenate([self.targets, other.targets]),
            self.groups + other.groups,
        )


def toxicity_rows(file: Path) -> Rows:
    """A public toxicity file."""
    texts, targets = [], []
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            known = [row["labels"].get(name) for name in _JIGSAW.values()]
            texts.append(row["text"][:2_000])
            targets.append([np.nan if value is None else float(value) for value in known])
    return Rows(tuple(texts), (False,) * len(texts), np.array(targets), (file.name,) * len(texts))


def benign_turns(file: Path) -> Iterator[dict[str, Any]]:
    """The turns of benign conversations, as benign messages."""
    for _, conversation in read_messages([file]):
        if conversation["kind"] == "benign":
            for turn in conversation["turns"]:
                yield {"text": turn["text"], "sender": turn["sender"], "labels": [], "level": "none"}


def everyday() -> Iterator[dict[str, Any]]:
    """The project's own list of what sounds worse than it is."""
    for line in EVERYDAY.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            who, said, text = line.partition("mentor: ")
            text, sender = (text, "mentor") if said and not who else (line, "pupil")
            yield {"text": text, "sender": sender, "labels": [], "level": "none"}


def risk_rows(messages: Sequence[tuple[str, Mapping[str, Any]]]) -> Rows:
    """The project's own messages for the risk table.

    A put-down or a contact detail that is only that has a label and no level: it is held or blocked by
    itself, and no adult is told.
    """
    targets = np.zeros((len(messages), len(RISK)))
    for at, (_, message) in enumerate(messages):
        for label in message["labels"]:
            targets[at, RISK.index(label)] = 1
        level = _LEVELS[message["level"]]
        detail = message["labels"] == ["personal_data"] and level < _LEVELS["critical"]
        put_down = message["labels"] == ["harassment"] and level == _LEVELS["concern"]
        if message["sender"] == "pupil" and (detail or put_down):
            level = 0
        for least, label in enumerate(LEVEL_LABELS, 1):
            targets[at, RISK.index(label)] = level >= least
    return Rows(
        tuple(message["text"] for _, message in messages),
        tuple(message["sender"] == "mentor" for _, message in messages),
        targets,
        tuple(name for name, _ in messages),
    )


def kind_rows(messages: Sequence[tuple[str, Mapping[str, Any]]]) -> Rows:
    """The same messages for the toxicity table: talk of being hurt is not toxic, attacking somebody is."""
    targets = np.zeros((len(messages), len(TOXICITY)))
    for at, (_, message) in enumerate(messages):
        if "harassment" in message["labels"]:
            targets[at] = np.nan
            targets[at, TOXICITY.index("toxicity:toxicity")] = 1
            targets[at, TOXICITY.index("toxicity:insult")] = 1
        elif {"threat", "sexual"} & set(message["labels"]):
            targets[at] = np.nan
    own = risk_rows(messages)
    return Rows(own.texts, own.mentors, targets, own.groups)


def hashed(rows: Rows, bits: int, batch: int = 512) -> sparse.csr_matrix:
    """Ones where a text has a feature, (texts, 2 ** bits)."""
    indices, counts = [], []
    for first in range(0, len(rows.texts), batch):
        texts = [fold(text).text for text in rows.texts[first : first + batch]]
        found = features(texts, rows.mentors[first : first + batch])
        indices.append((found.hashes >> np.uint64(64 - bits)).astype(np.int32))
        counts.append(np.diff(found.starts))
    pointers = np.concatenate([[0], np.cumsum(np.concatenate(counts))])
    columns = np.concatenate(indices)
    ones = np.ones(len(columns), np.float32)
    return sparse.csr_matrix((ones, columns, pointers), shape=(len(rows.texts), 1 << bits))


def rarity_of(matrix: sparse.csr_matrix) -> NDArray[np.uint8]:
    """Inverse document frequency of each feature, in sixteenths."""
    seen = np.bincount(matrix.indices, minlength=matrix.shape[1])
    weight = np.log((1 + matrix.shape[0]) / (1 + seen)) + 1
    return np.asarray(np.clip(np.round(weight * 16), 1, 255), dtype=np.uint8)


def weighted(matrix: sparse.csr_matrix, rarity: NDArray[np.uint8]) -> sparse.csr_matrix:
    """The rows that a linear model is trained on: rarity for every feature, each row of length one."""
    values = rarity[matrix.indices].astype(np.float32) / 16
    squares = np.add.reduceat(values * values, matrix.indptr[:-1])
    values /= np.repeat(np.sqrt(squares), np.diff(matrix.indptr))
    return sparse.csr_matrix((values, matrix.indices, matrix.indptr), shape=matrix.shape)


def fit_one(
    matrix: sparse.csr_matrix, target: _Floats, weight: _Floats, c: float, *, ratios: bool
) -> _Floats:
    """Weights of one label, from the rows where it is known.

    With `ratios`, features are first scaled by how much likelier they are with the label than without it
    (Wang and Manning, "Baselines and Bigrams", 2012); the scale then goes into the weights, which stay one
    number a feature. It helps where rows are many and harms where they are few: the mean AUC of the risk
    labels on dev is 0.90 with it and 0.94 without.
    """
    known = np.flatnonzero(~np.isnan(target))
    inputs, labels = matrix[known], target[known].astype(int)
    ratio = np.ones(matrix.shape[1])
    if ratios:
        ratio = _ratio(sparse.csr_matrix(sparse.diags(weight[known]) @ inputs), labels)
    model = LogisticRegression(C=c, solver="liblinear", dual=True, tol=0.01, max_iter=300, random_state=SEED)
    model.fit(sparse.csr_matrix(inputs @ sparse.diags(ratio)), labels, sample_weight=weight[known])
    return np.asarray(model.coef_[0] * ratio)


def _ratio(weighed: sparse.csr_matrix, labels: NDArray[np.int64]) -> _Floats:
    given = SMOOTHING + np.asarray(weighed[labels == 1].sum(axis=0)).ravel()
    absent = SMOOTHING + np.asarray(weighed[labels == 0].sum(axis=0)).ravel()
    return np.asarray(np.log(given / given.sum()) - np.log(absent / absent.sum()))


def train_table(
    labels: tuple[str, ...],
    bits: int,
    rows: Rows,
    weight: _Floats,
    c: float,
    *,
    ratios: bool = False,
    blend: float = 0.0,
    say: bool = False,
) -> Table:
    """A table for `labels`, its calibration still the model's own.

    With `blend`, so much of the first label's weights goes into each other's, but for threats: what is rude
    is seldom a threat.
    """
    matrix = hashed(rows, bits)
    rarity = rarity_of(matrix)
    inputs = weighted(matrix, rarity)
    weights = np.zeros((1 << bits, len(labels)), np.int8)
    scale = np.ones(len(labels), np.float32)
    first: _Floats | None = None
    for at, label in enumerate(labels):
        began = time.monotonic()
        coefficients = fit_one(inputs, rows.targets[:, at], weight, c, ratios=ratios)
        coefficients /= np.linalg.norm(coefficients)
        first = coefficients if first is None else first
        if blend and at and not label.endswith("threat"):
            coefficients = coefficients + blend * first
        own = coefficients * (rarity.astype(np.float64) / 16)
        scale[at] = max(float(np.quantile(np.abs(own[own != 0]), 0.9999)), 1e-6) / 127
        weights[:, at] = np.clip(np.round(own / scale[at]), -127, 127).astype(np.int8)
        if say:
            print(f"{label}: {time.monotonic() - began:.0f} s", flush=True)
    return Table(labels, bits, weights, rarity, scale, np.ones_like(scale), np.zeros_like(scale))


def sums_of(table: Table, rows: Rows, batch: int = 512) -> _Floats:
    """Uncalibrated scores, before slope and intercept."""
    parts = []
    for first in range(0, len(rows.texts), batch):
        texts = [fold(text).text for text in rows.texts[first : first + batch]]
        parts.append(table.sums(features(texts, rows.mentors[first : first + batch])))
    return np.concatenate(parts).astype(np.float64)


def calibrated(table: Table, sums: _Floats, targets: _Floats) -> Table:
    """The same table with slope and intercept by Platt's method on rows it has not seen."""
    slope, intercept = table.slope.copy(), table.intercept.copy()
    for at in range(len(table.labels)):
        known = ~np.isnan(targets[:, at])
        if targets[known, at].sum() < 5:
            raise SystemExit(f"{table.labels[at]}: too few rows to calibrate on")
        spread = sums[known, at].std()
        line = LogisticRegression(C=100.0)
        line.fit(sums[known, at : at + 1] / spread, targets[known, at].astype(int))
        slope[at], intercept[at] = line.coef_[0, 0] / spread, line.intercept_[0]
    return Table(table.labels, table.bits, table.weights, table.rarity, table.scale, slope, intercept)


def odds_to_score(odds: _Floats) -> _Floats:
    """Log-odds as the score that a stage reports."""
    return 1 / (1 + np.exp(-np.clip(odds, -30, 30)))


def reached_by(scores: _Floats, share: float) -> float:
    """The least score that no more than `share` of these reach; NaN is none."""
    ordered = np.sort(scores[~np.isnan(scores)])[::-1]
    allowed = int(np.floor(share * len(ordered)))
    return float(min(0.999, np.ceil((ordered[min(allowed, len(ordered) - 1)] + 1e-4) * 1000) / 1000))


def auc(target: _Floats, scores: _Floats, weight: _Floats | None = None) -> float:
    """Area under the ROC curve over the rows where the label is known; NaN with one class alone."""
    known = ~np.isnan(target)
    if len(set(target[known])) < 2:
        return float("nan")
    return float(
        roc_auc_score(target[known], scores[known], sample_weight=None if weight is None else weight[known])
    )


def aimed_only(scores: _Floats, texts: Sequence[str]) -> _Floats:
    """Scores that policy lets hold a text: nothing where nobody is meant by it."""
    words = load_policy().aimed.words
    aimed = [not words.isdisjoint(fold(text).text.split(" ")) for text in texts]
    return np.where(np.array(aimed)[:, None], scores, 0.0)


def recall_at(scores: _Floats, target: _Floats, benign: NDArray[np.bool_], share: float) -> float:
    """What part of the marked rows scores higher than all but `share` of the benign ones."""
    least = np.sort(scores[benign])[::-1][int(share * benign.sum())]
    return float((scores[target == 1] > least).mean())


def found_in(
    rows: Rows, levels: Sequence[int], scores: _Floats, least: float
) -> dict[str, tuple[float, float, float]]:
    """Per level, what part is of high risk by rules, by the classifier, by either."""
    rules = shipped_rules()
    roles = [Role.MENTOR if mentor else Role.PUPIL for mentor in rows.mentors]
    ruled = np.array(
        [
            any(one.risk >= Risk.HIGH for one in rules.read(Submission(text=text, role=role)))
            for text, role in zip(rows.texts, roles, strict=True)
        ]
    )
    scored = scores >= least
    level = np.array(levels)
    return {
        name: (
            float(ruled[level == value].mean()),
            float(scored[level == value].mean()),
            float((ruled | scored)[level == value].mean()),
        )
        for name, value in _LEVELS.items()
    }


def thresholds(
    labels: Sequence[str], benign: _Floats, holding: _Floats, mentor: NDArray[np.bool_]
) -> dict[str, dict[str, dict[str, float]]]:
    """What goes into policy.toml: for pupils under "linear", for mentors under "linear.mentor"."""
    chosen: dict[str, dict[str, dict[str, float]]] = {}
    for stage, rows in (("linear", ~mentor), ("linear.mentor", mentor)):
        table: dict[str, dict[str, float]] = {}
        for label, least in LEAST_HOLD.items():
            scores = holding[rows, labels.index(label)]
            table[label] = {"hold": max(least, reached_by(scores, RATES["hold"]))}
        for label in RISK_LABELS:
            if label == "boundary" and stage == "linear":
                continue  # a mentor's alone
            table[label] = {"named": reached_by(benign[rows, labels.index(label)], 0.01)}
        scores = holding[rows, labels.index("harassment")]
        table["harassment"]["hold"] = max(LEAST_HARASSMENT, reached_by(scores, RATES["hold"]))
        for label, level in zip(LEVEL_LABELS, ("concern", "high", "immediate"), strict=True):
            table[label] = {level: reached_by(benign[rows, labels.index(label)], RATES[level])}
        chosen[stage] = table
    return chosen


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m moderation.training.linear", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the data folder")
    parser.add_argument("--limit", type=int, default=0, help="public rows to train on, 0 for all")
    chosen = parser.parse_args(arguments)
    data: Path = chosen.data
    random = np.random.default_rng(SEED)

    own: list[Message] = list(read_messages(sorted((data / "risk").glob("train_*.jsonl"))))
    own += [("conversations_train", turn) for turn in benign_turns(data / "conversations_train.jsonl")]
    own += [("everyday", message) for message in everyday()]
    own += own_messages(aside=False)
    public = toxicity_rows(data / "toxicity/train.jsonl.gz")
    if chosen.limit:
        public = public.at(np.arange(min(chosen.limit, len(public.texts))))
    dev_messages = list(read_messages([data / "risk/messages_dev.jsonl"]))
    dev_messages += [("conversations_dev", turn) for turn in benign_turns(data / "conversations_dev.jsonl")]
    dev = risk_rows(dev_messages)
    figures: list[str] = []

    rows = public + kind_rows(own)
    weight = np.where(np.isnan(public.targets).any(axis=1), 1.0, OWN_KIND)
    weight = np.concatenate([weight, np.full(len(own), OWN_KIND)])
    toxicity = train_table(
        TOXICITY, TOXICITY_BITS, rows, weight, TOXICITY_C, ratios=True, blend=BLEND, say=True
    )
    toxic_dev = toxicity_rows(data / "toxicity/dev.jsonl.gz")
    kind_dev = kind_rows(dev_messages)
    both = toxic_dev + kind_dev
    toxicity = calibrated(toxicity, sums_of(toxicity, both), both.targets)

    test = toxicity_rows(data / "toxicity/jigsaw_test_a.jsonl.gz")
    sums = sums_of(toxicity, test)
    stands_for = np.where(np.nansum(test.targets, axis=1) > 0, 1.0, NON_TOXIC_WEIGHT)
    areas = [auc(test.targets[:, at], sums[:, at], stands_for) for at in range(len(TOXICITY))]
    figures.append("[jigsaw_test_a_auc]")
    figures += [f'"{label}" = {area:.4f}' for label, area in zip(TOXICITY, areas, strict=True)]
    figures.append(f"mean = {np.mean(areas):.4f}\n")
    print("\n".join(figures), flush=True)

    clean = np.flatnonzero(public.targets[:, 0] == 0)
    picked = random.choice(clean, size=min(CLEAN_ROWS, len(clean)), replace=False)
    kind = public.at(picked)
    others = Rows(kind.texts, kind.mentors, np.zeros((len(picked), len(RISK))), kind.groups)
    rude = np.flatnonzero((public.targets[:, 4] == 1) & (public.targets[:, 3] == 0))[:1_500]
    insults = np.full((len(rude), len(RISK)), np.nan)
    insults[:, [RISK.index(label) for label in LEVEL_LABELS]] = 0
    rude_texts = public.at(rude)
    rude_rows = Rows(rude_texts.texts, rude_texts.mentors, insults, rude_texts.groups)
    mine = risk_rows(own)
    rows = mine + others + rude_rows
    weight = np.concatenate([np.full(len(own), 1.0), np.full(len(picked) + len(rude), 0.3)])

    # Scores of the training messages by tables that have not seen them.
    unseen = np.full((len(own), len(RISK)), np.nan)
    fold_of = random.integers(0, FOLDS, len(own))
    for left_out in range(FOLDS):
        left = np.flatnonzero(fold_of == left_out)
        keep = np.setdiff1d(np.arange(len(rows.texts)), left)
        table = train_table(RISK, RISK_BITS, rows.at(keep), weight[keep], RISK_C)
        unseen[left] = sums_of(table, mine.at(left))
        print(f"fold {left_out + 1} of {FOLDS}", flush=True)
    figures.append("[risk_train_auc]  # each training message by a table that has not seen it")
    figures += [f'"{label}" = {auc(mine.targets[:, at], unseen[:, at]):.3f}' for at, label in enumerate(RISK)]

    risk = train_table(RISK, RISK_BITS, rows, weight, RISK_C, say=True)
    sums = sums_of(risk, dev)
    figures.append("\n[risk_dev_auc]")
    figures += [f'"{label}" = {auc(dev.targets[:, at], sums[:, at]):.3f}' for at, label in enumerate(RISK)]
    risk = calibrated(risk, sums, dev.targets)
    linear = Linear([toxicity, risk])
    version = {
        "made_by": "moderation.training.linear",
        "seed": str(SEED),
        "rows": str(len(public.texts) + len(own)),
    }
    save_model(linear, MODELS, version)

    # Benign messages that the final table has not been trained on: dev files, and the training files by the
    # tables that left them out, brought to the final table's calibration.
    benign_dev = np.flatnonzero(dev.targets.sum(axis=1) == 0)
    benign_own = np.flatnonzero(mine.targets.sum(axis=1) == 0)
    on_dev = risk.slope * sums[benign_dev] + risk.intercept
    on_own = risk.slope * unseen[benign_own] + risk.intercept
    toxic_on_dev = toxicity.slope * sums_of(toxicity, dev)[benign_dev] + toxicity.intercept
    toxic_on_own = np.full((len(benign_own), len(TOXICITY)), np.nan)  # that table has seen these
    benign = odds_to_score(
        np.concatenate(
            [
                np.concatenate([toxic_on_dev, on_dev], axis=1),
                np.concatenate([toxic_on_own, on_own], axis=1),
            ]
        )
    )
    texts = [dev.texts[at] for at in benign_dev] + [mine.texts[at] for at in benign_own]
    holding = aimed_only(benign, texts)
    holding[np.isnan(benign)] = np.nan
    mentor = np.array([dev.mentors[at] for at in benign_dev] + [mine.mentors[at] for at in benign_own])
    decided = thresholds(linear.labels, benign, holding, mentor)
    write_policy(decided, rates={stage: {"named": 0.01, **RATES} for stage in decided})

    figures.append("\n[risk_dev_recall]  # alone, at 2 and at 5 % of benign dev messages and turns flagged")
    quiet = dev.targets.sum(axis=1) == 0
    for label in LEVEL_LABELS:
        at = RISK.index(label)
        recall = [recall_at(sums[:, at], dev.targets[:, at], quiet, share) for share in (0.02, 0.05)]
        figures.append(f'"{label}" = [{recall[0]:.3f}, {recall[1]:.3f}]')
    figures.append(
        "\n[train_found_high]  # by rules, by a classifier that has not seen the message, by either"
    )
    messages = [at for at, (name, _) in enumerate(own) if name.startswith("train_")]
    odds = risk.slope * unseen + risk.intercept
    found = found_in(
        mine.at(messages),
        [_LEVELS[own[at][1]["level"]] for at in messages],
        odds_to_score(odds[messages, RISK.index("level:high")]),
        decided["linear"]["level:high"]["high"],
    )
    for name, shares in found.items():
        figures.append(f"{name} = [{', '.join(f'{share:.3f}' for share in shares)}]")
    text = "# Measured by moderation.training.linear; models/linear.md says what these mean.\n\n"
    (MODELS / "figures.toml").write_text(text + "\n".join(figures) + "\n", encoding="utf-8")
    print("\n".join(figures))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
