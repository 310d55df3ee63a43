"""The embedded classifier: hashed word and character n-grams, int8 weights, numpy alone.

Two tables of weights over features of the folded text, one for the six toxicity labels and one for the 13
risk labels and three levels. It downloads nothing, and says little by itself: rules carry the precise cases,
it widens them. What it was trained on, and what it measured, stands in models/linear.md.

A batch is one pass of vectorised arithmetic, about as many numpy calls for one message as for sixty-four.
"""

import functools
import hashlib
import tomllib
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moderation.text import fold
from moderation.verdict import LEVEL_LABELS, RISK_LABELS, TOXICITY_LABELS, Role, Signal, Submission

STAGE = "linear"
MODELS = Path(__file__).parent / "models"

CHARACTERS = (3, 4, 5)
"""Lengths of character n-grams; they run over spaces, and a text begins and ends with one."""

MAX_BYTES = 4_000
"""Bytes of a folded text that are read: 2,000 code points of plain English never reach it."""

LEAST_SCORE = 0.05
"""Scores under this are not signals: they would only be noise beside a message."""

TOXICITY = tuple(f"toxicity:{label}" for label in TOXICITY_LABELS)
RISK = (*RISK_LABELS, *LEVEL_LABELS)

_Hashes = NDArray[np.uint64]
_Ints = NDArray[np.int64]
_Floats = NDArray[np.float32]

_PRIME = 0x9E3779B97F4A7C15
_INVERSE = pow(_PRIME, -1, 1 << 64)
_MIX_1, _MIX_2 = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_WORD, _PAIR, _APART, _TRIPLE, _MENTOR_WORD, _MENTOR_PAIR = range(101, 107)


class BadModel(ValueError):
    """A model file cannot be used."""


@dataclass(frozen=True, slots=True)
class Features:
    """Hashed features of a batch, each once a message: `hashes[starts[i]:starts[i + 1]]` are message i's."""

    hashes: _Hashes
    starts: _Ints


def features(texts: Sequence[str], mentors: Sequence[bool]) -> Features:
    """Hash folded texts; `mentors` says which a mentor wrote, for theirs have features of their own too."""
    with np.errstate(over="ignore"):
        return _features(texts, mentors)


def _features(texts: Sequence[str], mentors: Sequence[bool]) -> Features:
    encoded = [b" " + text.encode("utf-8", "replace")[:MAX_BYTES] + b" " for text in texts]
    lengths = np.fromiter(map(len, encoded), dtype=np.int64, count=len(encoded))
    letters = np.frombuffer(b"".join(encoded), dtype=np.uint8).astype(np.uint64)
    owner = np.repeat(np.arange(len(encoded), dtype=np.uint64), lengths)
    hashes: list[_Hashes] = []
    owners: list[_Hashes] = []

    rolling = letters + np.uint64(1)
    for length in range(2, CHARACTERS[-1] + 1):
        rolling = rolling[:-1] * np.uint64(_PRIME) + letters[length - 1 :] + np.uint64(1)
        if length in CHARACTERS:
            whole = owner[: len(rolling)] == owner[length - 1 :]
            hashes.append(_of_kind(length, rolling[whole]))
            owners.append(owner[: len(rolling)][whole])

    words, owner_of = _words(letters, owner)
    mentor = np.asarray(mentors, dtype=bool)[owner_of.astype(np.int64)]
    hashes += [_of_kind(_WORD, words), _of_kind(_MENTOR_WORD, words[mentor])]
    owners += [owner_of, owner_of[mentor]]
    if len(words) > 1:
        together = owner_of[1:] == owner_of[:-1]
        by_mentor = together & mentor[1:]
        pairs = words[:-1] * np.uint64(_MIX_1) + words[1:]
        hashes += [_of_kind(_PAIR, pairs[together]), _of_kind(_MENTOR_PAIR, pairs[by_mentor])]
        owners += [owner_of[1:][together], owner_of[1:][by_mentor]]
    if len(words) > 2:
        together = owner_of[2:] == owner_of[:-2]
        apart = words[:-2] * np.uint64(_MIX_1) + words[2:]
        triples = (words[:-2] * np.uint64(_MIX_1) + words[1:-1]) * np.uint64(_MIX_2) + words[2:]
        hashes += [_of_kind(_APART, apart[together]), _of_kind(_TRIPLE, triples[together])]
        owners += [owner_of[2:][together]] * 2

    # Once a message: the low bits of a hash make room for its owner while they are sorted. Sorting and
    # looking at neighbours is what `np.unique` does too, at a tenth of its time.
    keys = (np.concatenate(owners) << np.uint64(40)) | (_mixed(np.concatenate(hashes)) >> np.uint64(24))
    keys.sort()
    first = np.empty(len(keys), dtype=bool)
    first[:1] = True
    np.not_equal(keys[1:], keys[:-1], out=first[1:])
    keys = keys[first]
    found = np.searchsorted(keys, np.arange(len(encoded) + 1, dtype=np.uint64) << np.uint64(40))
    return Features(keys << np.uint64(24), found.astype(np.int64))


def _words(letters: _Hashes, owner: _Hashes) -> tuple[_Hashes, _Hashes]:
    """A hash of every word, and whose it is."""
    spaces = letters == np.uint64(32)
    begins = np.flatnonzero(spaces[:-1] & ~spaces[1:]) + 1
    ends = np.flatnonzero(~spaces[:-1] & spaces[1:]) + 1
    powers, inverses = _powers(len(letters))
    summed = np.concatenate(
        [np.zeros(1, np.uint64), np.cumsum((letters + np.uint64(1)) * powers[: len(letters)])]
    )
    return (summed[ends] - summed[begins]) * inverses[begins], owner[begins]


_POWERS: dict[str, tuple[_Hashes, _Hashes]] = {}


def _powers(length: int) -> tuple[_Hashes, _Hashes]:
    """Powers of the prime and of its inverse, at least `length` of them."""
    known = _POWERS.get("")
    if known is None or len(known[0]) < length:
        room = max(4096, 1 << (length - 1).bit_length())
        first = np.full(room, _PRIME, dtype=np.uint64)
        back = np.full(room, _INVERSE, dtype=np.uint64)
        first[0] = back[0] = 1
        known = np.cumprod(first), np.cumprod(back)
        if room <= 1 << 20:  # keep what ordinary batches need
            _POWERS[""] = known
    return known


def _of_kind(kind: int, hashes: _Hashes) -> _Hashes:
    """Tell what is a word, say, from what is a pair, for the same hash means another thing there."""
    return hashes + np.uint64((kind * _PRIME) & 0xFFFFFFFFFFFFFFFF)


def _mixed(hashes: _Hashes) -> _Hashes:
    """Spread hashes over all bits, in place."""
    hashes ^= hashes >> np.uint64(30)
    hashes *= np.uint64(_MIX_1)
    hashes ^= hashes >> np.uint64(27)
    hashes *= np.uint64(_MIX_2)
    hashes ^= hashes >> np.uint64(31)
    return hashes


@dataclass(frozen=True, eq=False)
class Table:
    """Weights of some labels; a feature's rarity is multiplied into them already."""

    labels: tuple[str, ...]
    bits: int  # features are the top bits of a hash
    weights: NDArray[np.int8]  # (2 ** bits, labels)
    rarity: NDArray[np.uint8]  # (2 ** bits): how much a feature says, in sixteenths
    scale: _Floats  # (labels)
    slope: _Floats  # (labels): calibration, log-odds = slope * sum + intercept
    intercept: _Floats

    def __post_init__(self) -> None:
        size, count = 1 << self.bits, len(self.labels)
        if self.weights.dtype != np.int8 or self.weights.shape != (size, count):
            raise BadModel(f"the weights of {self.labels[0]} have the wrong type or shape")
        if self.rarity.dtype != np.uint8 or self.rarity.shape != (size,):
            raise BadModel(f"the rarity of {self.labels[0]} has the wrong type or shape")
        for array in (self.scale, self.slope, self.intercept):
            if array.dtype != np.float32 or array.shape != (count,) or not np.isfinite(array).all():
                raise BadModel(f"a factor of {self.labels[0]} has the wrong type, shape or value")

    @functools.cached_property
    def _rows(self) -> NDArray[np.int8]:
        """A feature's weights and its rarity side by side: one place in memory to fetch instead of two.

        A row's length is a power of two: such rows are copied fastest, and few lie across two cache lines.
        """
        count = len(self.labels)
        rows = np.zeros((len(self.weights), 1 << count.bit_length()), np.int8)
        rows[:, :count] = self.weights
        rows[:, count] = self.rarity.view(np.int8)
        return rows

    def sums(self, found: Features) -> _Floats:
        """Uncalibrated scores, (messages, labels): what a message's features weigh, by its length."""
        index = (found.hashes >> np.uint64(64 - self.bits)).astype(np.int64)
        starts = found.starts[:-1]
        count = len(self.labels)
        rows = self._rows.take(index, axis=0)  # several times as fast as `rows[index]`
        # A text may fold to nothing: reduceat needs something there, and gives it its neighbour's first.
        empty = np.diff(found.starts) == 0
        if empty.any():
            rows = np.concatenate([rows, np.zeros((1, rows.shape[1]), np.int8)])
        rarity = rows[:, count].view(np.uint8).astype(np.float32) / 16
        length = np.sqrt(np.add.reduceat(rarity * rarity, starts))
        totals = np.add.reduceat(rows[:, :count], starts, axis=0, dtype=np.int32)
        totals[empty] = 0
        return np.asarray(totals * self.scale / np.maximum(length, 1e-6)[:, None], dtype=np.float32)

    def probabilities(self, found: Features) -> _Floats:
        """Calibrated scores from 0 to 1, (messages, labels)."""
        odds = np.clip(self.sums(found) * self.slope + self.intercept, -30, 30)
        return np.asarray(1 / (1 + np.exp(-odds)), dtype=np.float32)


class Linear:
    """Both tables as one classifier."""

    name = STAGE

    def __init__(self, tables: Sequence[Table], *, least_score: float = LEAST_SCORE) -> None:
        self.tables = tuple(tables)
        self.least_score = least_score
        self.labels = tuple(label for table in self.tables for label in table.labels)

    def probabilities(self, batch: Sequence[Submission]) -> _Floats:
        """Scores from 0 to 1, (messages, labels), in the order of `labels`."""
        if not batch:
            return np.zeros((0, len(self.labels)), np.float32)
        texts = [fold(submission.text).text for submission in batch]
        found = features(texts, [submission.role is Role.MENTOR for submission in batch])
        return np.concatenate([table.probabilities(found) for table in self.tables], axis=1)

    def read(self, batch: Sequence[Submission]) -> list[list[Signal]]:
        """Signals for every message, strongest first."""
        scores = self.probabilities(batch)
        if not len(scores):
            return []
        ordered = np.argsort(-scores, axis=1)
        falling = np.take_along_axis(scores, ordered, axis=1)
        counts = (falling >= self.least_score).sum(axis=1)
        labels = self.labels
        return [
            [
                Signal(labels[at], score, STAGE, STAGE)
                for at, score in zip(places[:count], row[:count], strict=True)
            ]
            for places, row, count in zip(ordered.tolist(), falling.tolist(), counts.tolist(), strict=True)
        ]


def save_model(linear: Linear, folder: Path, about: Mapping[str, str]) -> None:
    """Write `linear.npz` and `linear.toml`, which names its hash and what it is."""
    arrays: dict[str, Any] = {}
    for number, table in enumerate(linear.tables):
        for field in ("weights", "rarity", "scale", "slope", "intercept"):
            arrays[f"{field}_{number}"] = getattr(table, field)
        arrays[f"labels_{number}"] = np.array(table.labels)
        arrays[f"bits_{number}"] = np.array(table.bits)
    file = folder / "linear.npz"
    np.savez_compressed(file, **arrays)
    lines = [f'sha256 = "{hashlib.sha256(file.read_bytes()).hexdigest()}"']
    lines += [f'{name} = "{value}"' for name, value in about.items()]
    (folder / "linear.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def load_model(folder: Path = MODELS) -> Linear:
    """Read the classifier and check it against its hash; `BadModel` where anything is not as it should be."""
    file = folder / "linear.npz"
    try:
        about = tomllib.loads((folder / "linear.toml").read_text(encoding="utf-8"))
        raw = file.read_bytes()
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise BadModel(f"{file} cannot be read: {error}") from None
    if hashlib.sha256(raw).hexdigest() != about.get("sha256"):
        raise BadModel(f"{file} is not the file that linear.toml names")
    tables = []
    try:
        with np.load(file, allow_pickle=False) as arrays:
            for number in range(2):
                tables.append(
                    Table(
                        labels=tuple(str(label) for label in arrays[f"labels_{number}"]),
                        bits=int(arrays[f"bits_{number}"]),
                        **{
                            field: arrays[f"{field}_{number}"]
                            for field in ("weights", "rarity", "scale", "slope", "intercept")
                        },
                    )
                )
    except (KeyError, ValueError, OSError, zipfile.BadZipFile) as error:
        raise BadModel(f"{file} cannot be read: {error}") from None
    if tables[0].labels != TOXICITY or tables[1].labels != RISK:
        raise BadModel(f"{file} has other labels than this version knows")
    return Linear(tables)
