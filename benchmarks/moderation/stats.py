"""Shares, areas and errors with 95 % intervals. Everything is seeded: one input has one answer."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SEED = 20_260_101
REPLICATES = 1_000
Z = 1.959963984540054  # the normal distribution's 97.5 % point

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95 % interval; `n` is how many rows or conversations it was measured on."""

    value: float
    low: float
    high: float
    n: int

    def times(self, factor: float) -> "Estimate":
        """The same in another unit."""
        return Estimate(self.value * factor, self.low * factor, self.high * factor, self.n)


def share(hits: Sequence[bool] | Bools) -> Estimate | None:
    """The percentage that is true, with Wilson's interval; None of nothing."""
    n = len(hits)
    return wilson(int(np.count_nonzero(np.asarray(hits, bool))), n).times(100) if n else None


def wilson(hits: int, n: int) -> Estimate:
    """A share from 0 to 1 with Wilson's score interval (1927): sound for few rows, and near 0 and 1."""
    if not 0 <= hits <= n or not n:
        raise ValueError("wilson needs 0 <= hits <= n, and n > 0")
    part = hits / n
    middle = (part + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z / (1 + Z * Z / n) * math.sqrt(part * (1 - part) / n + Z * Z / (4 * n * n))
    return Estimate(part, max(0.0, middle - half) if hits else 0.0, min(1.0, middle + half), n)


def bootstrap(
    n: int, figure: Callable[[Floats], float], *, replicates: int | None = None, seed: int = SEED
) -> Estimate:
    """A figure of weighted rows, with the percentile interval over rows drawn with replacement.

    `figure` gets how often each of the `n` rows (or conversations) counts; it may give NaN where a draw has
    nothing to measure, and such draws are left out.
    """
    value = figure(np.ones(n))
    random = np.random.default_rng(seed)
    draws = np.array(
        [
            figure(random.multinomial(n, np.full(n, 1 / n)).astype(float))
            for _ in range(replicates or REPLICATES)
        ]
    )
    draws = draws[np.isfinite(draws)]
    if not len(draws):
        return Estimate(value, math.nan, math.nan, n)
    low, high = np.percentile(draws, [2.5, 97.5])
    return Estimate(value, float(low), float(high), n)


def median(values: Sequence[float]) -> Estimate:
    """The median of repeats, with the interval that drawing among them gives."""
    given = np.sort(np.asarray(values, float))
    random = np.random.default_rng(SEED)
    draws = np.median(given[random.integers(0, len(given), (REPLICATES, len(given)))], axis=1)
    low, high = np.percentile(draws, [2.5, 97.5])
    return Estimate(float(np.median(given)), float(low), float(high), len(given))


class Ranking:
    """Scores in order, so that many weighted areas under one ROC curve cost a sum each."""

    def __init__(self, scores: Sequence[float] | Floats, positive: Sequence[bool] | Bools) -> None:
        given = np.asarray(scores, float)
        self._order = np.argsort(given, kind="stable")
        ordered = given[self._order]
        self._positive = np.asarray(positive, bool)[self._order]
        # Where a run of equal scores begins: rows of one score are worth half against each other.
        self._ties = (
            np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])) if len(given) else None
        )

    def auc(self, weights: Floats) -> float:
        """The chance that a positive row scores higher than a negative one; NaN where either is missing."""
        if self._ties is None:
            return math.nan
        heavy = weights[self._order]
        up = np.add.reduceat(np.where(self._positive, heavy, 0.0), self._ties)
        down = np.add.reduceat(np.where(self._positive, 0.0, heavy), self._ties)
        if not up.sum() or not down.sum():
            return math.nan
        below = np.cumsum(down) - down
        return float((up * (below + down / 2)).sum() / (up.sum() * down.sum()))


def auc(
    scores: Sequence[float] | Floats,
    positive: Sequence[bool] | Bools,
    weights: Floats | None = None,
    *,
    replicates: int | None = None,
) -> Estimate | None:
    """Area under the ROC curve, bootstrapped by row; None where one of the two kinds of row is missing."""
    ranking = Ranking(scores, positive)
    given = np.ones(len(scores)) if weights is None else weights
    if math.isnan(ranking.auc(given)):
        return None
    return bootstrap(len(scores), lambda counts: ranking.auc(counts * given), replicates=replicates)


def mean_auc(
    columns: Sequence[tuple[Sequence[float] | Floats, Sequence[bool] | Bools]],
    weights: Floats,
    *,
    replicates: int | None = None,
) -> Estimate | None:
    """The mean of several areas on the same rows, drawn together; a column of one kind alone is left out."""
    rankings = [Ranking(*column) for column in columns]
    rankings = [one for one in rankings if not math.isnan(one.auc(weights))]
    if not rankings:
        return None

    def figure(counts: Floats) -> float:
        return float(np.mean([ranking.auc(counts * weights) for ranking in rankings]))

    return bootstrap(len(weights), figure, replicates=replicates)


def balanced_accuracy(flagged: Sequence[bool], positive: Sequence[bool]) -> Estimate | None:
    """The mean of the share of positive rows flagged and of others not flagged; 0.5 is a coin's."""
    hit, real = np.asarray(flagged, bool), np.asarray(positive, bool)
    if real.all() or not real.any():
        return None

    def figure(counts: Floats) -> float:
        up, down = counts[real].sum(), counts[~real].sum()
        if not up or not down:
            return math.nan
        return float((counts[real & hit].sum() / up + counts[~real & ~hit].sum() / down) / 2)

    return bootstrap(len(hit), figure)


def accuracy(flagged: Sequence[bool], positive: Sequence[bool]) -> Estimate | None:
    """The share of rows judged rightly, from 0 to 1."""
    right = [one is two for one, two in zip(flagged, positive, strict=True)]
    return wilson(sum(right), len(right)) if right else None


def lost(found: NDArray[Any]) -> Estimate | None:
    """Points lost to disguises: `found`, (rows, disguises), says whether a row is found once more."""
    if not found.size:
        return None
    each = 1 - np.asarray(found, float).mean(axis=1)
    return bootstrap(len(each), lambda counts: float((counts * each).sum() / counts.sum())).times(100)


@dataclass(frozen=True, slots=True)
class Bin:
    """Rows whose scores fall between two values."""

    low: float
    high: float
    n: int
    score: float  # their mean score
    real: float  # the share that is what the score says


def reliability(scores: Floats, positive: Bools, weights: Floats | None = None, bins: int = 10) -> list[Bin]:
    """Equal-width bins over 0 to 1; those without a row are left out."""
    given = np.ones(len(scores)) if weights is None else weights
    at = np.minimum((scores * bins).astype(int), bins - 1)
    found = []
    for number in range(bins):
        here = at == number
        if here.any():
            weight = given[here].sum()
            found.append(
                Bin(
                    number / bins,
                    (number + 1) / bins,
                    int(here.sum()),
                    float((scores[here] * given[here]).sum() / weight),
                    float((positive[here] * given[here]).sum() / weight),
                )
            )
    return found


def calibration_error(scores: Floats, positive: Bools, weights: Floats | None = None) -> Estimate | None:
    """Expected calibration error in ten equal-width bins, from 0 to 1, bootstrapped by row."""
    if not len(scores):
        return None
    given = np.ones(len(scores)) if weights is None else weights
    at = np.minimum((scores * 10).astype(int), 9)
    gap = positive.astype(float) - scores

    def figure(counts: Floats) -> float:
        heavy = counts * given
        return float(np.abs(np.bincount(at, heavy * gap, 10)).sum() / heavy.sum())

    return bootstrap(len(scores), figure)


def at_most(scores: Sequence[float] | Floats, benign: Sequence[bool] | Bools, allowed: float) -> float:
    """The lowest threshold at which no greater share of benign rows than `allowed` reaches it."""
    calm = np.sort(np.asarray(scores, float)[np.asarray(benign, bool)])[::-1]
    most = int(allowed * len(calm) + 1e-9)
    if most >= len(calm):
        return -math.inf
    return float(np.nextafter(calm[most], math.inf))
