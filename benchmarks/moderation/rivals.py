"""Other classifiers on the same rows: alt-profanity-check, and Detoxify where somebody has its weights."""

import asyncio
import hashlib
import importlib.metadata
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from benchmarks.moderation import readings
from benchmarks.moderation.figures import Cell, Table
from benchmarks.moderation.load import LEVELS, Comment, Message
from benchmarks.moderation.measure import weights_of
from benchmarks.moderation.stats import Floats, accuracy, at_most, auc, balanced_accuracy, share
from moderation.text import forget
from moderation.toxicity import PUBLISHED, BadDetoxify, Form, Toxicity, Wanted, load
from moderation.verdict import TOXICITY_LABELS

Score = Callable[[Sequence[str]], Floats]
"""Texts to scores from 0 to 1: (rows) for one figure a text, or (rows, six) for Detoxify's labels."""


@dataclass(frozen=True, slots=True)
class Rival:
    """A classifier to compare with."""

    name: str
    score: Score


def alt_profanity_check() -> Rival | str:
    """The classifier, or why it cannot be run."""
    try:
        from profanity_check import predict_prob

        predict_prob(["hello"])
    except Exception as error:
        return (
            f"alt-profanity-check could NOT be run, so nothing is compared with it: {type(error).__name__}."
            " `make bench-moderation` installs it, with the scikit-learn it was made for."
        )
    version = importlib.metadata.version("alt-profanity-check")
    return Rival(f"alt-profanity-check {version}", lambda texts: np.asarray(predict_prob(list(texts)), float))


def detoxify(file: Path | None, *, model: str | None, folder: Path | None) -> Rival | str:
    """Detoxify from a checkpoint or from the `detoxify.toml` of an export, or why it cannot be run."""
    if file is None:
        return "Detoxify was not there: give a checkpoint with --detoxify FILE to compare with it."
    try:
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        known = next((name for name, one in PUBLISHED.items() if digest.startswith(one.digits)), "local")
        form = Form.ONNX if file.suffix == ".toml" else Form.TORCH
        wanted = Wanted(
            model=model or known,
            file=file,
            sha256=digest,
            folder=(folder or file.parent) if form is Form.TORCH else None,
            form=form,
        )
        loaded = load(wanted)
    except (BadDetoxify, ImportError, OSError) as error:
        return f"Detoxify could NOT be run: {error}"
    stage = Toxicity(loaded, answer_within_s=3_600, max_waiting=1 << 20, least_score=0.0)

    def score(texts: Sequence[str]) -> Floats:
        rows = asyncio.run(stage.assess([readings.submission(text) for text in texts]))
        first = readings.column(f"toxicity:{TOXICITY_LABELS[0]}")
        return readings.scores(row or () for row in rows)[:, first : first + len(TOXICITY_LABELS)]

    return Rival(f"Detoxify ({loaded.name})", score)


@dataclass(frozen=True, slots=True)
class Compared:
    """One line of the comparison: scores by rows, and how it flags them as it comes."""

    jigsaw: Floats  # of "toxicity"
    hatecheck: Floats
    hatecheck_flagged: Sequence[bool]
    messages: Floats
    cost_us: float  # the processor's time for a message, in batches
    flagged: Sequence[bool] | None = None  # of the messages; None: at peerchat's rate of benign ones


Got = TypeVar("Got")


def timed(work: Callable[[], Got], n: int) -> tuple[Got, float]:
    """What some work gives, and the processor's time for each of `n`, in microseconds."""
    forget()
    began = time.process_time()
    got = work()
    return got, (time.process_time() - began) * 1e6 / max(n, 1)


def of_rival(
    rival: Rival, jigsaw: Sequence[Comment], hatecheck: Sequence[Comment], messages: Sequence[Message]
) -> tuple[Compared, Floats | None]:
    """Ask a classifier about everything; the second is its six labels on the Jigsaw half, if it has six."""
    toxic, hate = (
        rival.score([one.text for one in rows]) if rows else np.zeros(0) for rows in (jigsaw, hatecheck)
    )
    said, cost_us = timed(lambda: rival.score([one.text for one in messages]), len(messages))
    six = toxic if toxic.ndim == 2 else None
    one, two = (given[:, 0] if given.ndim == 2 else given for given in (toxic, hate))
    worst = said.max(axis=1) if said.ndim == 2 else said
    return Compared(one, two, (two >= 0.5).tolist(), worst, cost_us), six


def table(
    lines: Mapping[str, Compared],
    jigsaw: Sequence[Comment],
    hatecheck: Sequence[Comment],
    messages: Sequence[Message],
    benign_flagged: float,
) -> Table:
    """Everything side by side; recall is compared where `benign_flagged` of the benign rows are flagged."""
    benign = [one.benign for one in messages]
    toxic, hateful = [one.toxic for one in jigsaw], [one.toxic for one in hatecheck]
    rows: dict[str, Sequence[Cell]] = {}
    for name, line in lines.items():
        flagged: Sequence[bool]
        if line.flagged is not None:
            flagged = line.flagged
        else:
            flagged = (line.messages >= at_most(line.messages, benign, benign_flagged)).tolist()
        own = list(zip(messages, flagged, strict=True))
        levels = [share([hit for one, hit in own if one.level == level]) for level in reversed(LEVELS)]
        rows[name] = [
            auc(line.jigsaw, toxic, weights_of(jigsaw)),
            balanced_accuracy(line.hatecheck_flagged, hateful) if hatecheck else None,
            accuracy(line.hatecheck_flagged, hateful) if hatecheck else None,
            auc(line.hatecheck, hateful),
            *(one.times(0.01) if one else None for one in levels),
            f"{line.cost_us:,.0f}",
        ]
    return Table(
        id="compared",
        title="Compared with others",
        first="classifier",
        columns=(
            "Jigsaw `toxicity`, AUC",
            "HateCheck, balanced accuracy",
            "HateCheck, accuracy",
            "HateCheck, AUC",
            *(f"{'benign flagged' if level == 'none' else f'{level} found'}" for level in reversed(LEVELS)),
            "µs a message",
        ),
        rows=rows,
        digits=3,
        note="All from 0 to 1. HateCheck: as shipped for peerchat (held or blocked), from a score of 0.5"
        " for the others. Levels: peerchat's own verdicts (raised or held); the others at the lowest"
        " threshold that flags no more of the benign messages than peerchat does. They were made to find"
        " offence, not people in need.",
    )
