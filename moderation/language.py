"""Whether a text is in a language whose judgement has been measured: English, in all its kinds.

Rules, classifiers and figures are of English. A text with a sentence of something else in it is not judged by
them, whatever they answer: this stage says "I cannot judge this" (`None`), which holds it for a person. It
never says which language it is, and it raises no risk.

Every word has a score: above 0 it speaks for another language, below for English. Frequent words have theirs
in a table; the rest get one from their parts, two to four letters each. The words of a message are added up
from left to right, never falling under 0, so that the sum counts the latest stretch of foreign words however
much English stands before it; from `HOLDS` on the message is held, and so is a short one with next to nothing
English in it. One borrowed word does not reach that, nor do any number of greetings, names and family words,
which count nothing. Words in other scripts need no model. What was measured is in models/language.md.
"""

import functools
import hashlib
import re
import tomllib
import unicodedata
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from moderation.linear import MODELS, BadModel
from moderation.text import WORDS, fold, plain
from moderation.verdict import Signal, Submission

STAGE = "language"

HOLDS = 6.0
"""What neighbouring words must come to: two that can be nothing else, or three likely ones."""

LEAST_WORDS = 3
MOSTLY = 3.0
"""So many words are held as a whole, too, where `MOST` or more speaks for another language, and that is so
many times what speaks for English."""

MOST = 4.0
"""A word's score is at most this, and at least minus as much."""

UNKNOWN = 0.5
"""A word in no table speaks for English by this much at most."""

GRAMS = (2, 3, 4)
"""Lengths of the parts of a word; it begins with `^` and ends with `$`."""

UNIT = 20
"""Scores are stored as whole numbers of twentieths."""

MAX_LETTERS = 16
"""Letters of a word that are looked at."""

KEPT = 20_000
"""Words whose score is remembered; it is emptied when it is full, and holds no message."""

LONGEST_KEPT = 24
"""Letters of the longest word that is remembered: a longer one is hardly one, and may be a whole message."""

CLOSE = frozenset(range(0x0E00, 0x1100)) | frozenset(range(0x1780, 0x1800)) | frozenset(range(0x2E80, 0xA000))
"""Scripts without spaces between words (Thai, Khmer, Chinese, Japanese ...): two letters count as a word."""


class Words:
    """The model: a score for each word."""

    def __init__(self, table: Mapping[str, float], parts: Mapping[str, float], bias: float) -> None:
        self.table = table
        self.parts = parts
        self.bias = bias
        self.known = dict(table)

    def score(self, word: str) -> float:
        """How much a folded word speaks for another language than English, from -`MOST` to `MOST`."""
        known = self.known.get(word)
        if known is not None:
            return known
        found = self._fresh(word)
        if len(word) > LONGEST_KEPT:
            return found
        if len(self.known) >= len(self.table) + KEPT:
            self.known = dict(self.table)
        self.known[word] = found
        return found

    def _fresh(self, word: str) -> float:
        letters = [letter for letter in word if letter.isalpha()]
        if not letters:
            return 0.0
        if word.isascii():
            return strength(word, self.parts, self.bias)
        other = [letter for letter in letters if not _is_latin(letter)]
        if not other:
            return strength(word, self.parts, self.bias)
        close = sum(ord(letter) in CLOSE for letter in other)
        return MOST / 2 * close if close else MOST


def _is_latin(letter: str) -> bool:
    return letter.isascii() or unicodedata.name(letter, "").startswith("LATIN")


def grams(word: str) -> list[str]:
    """The parts of a word, two to four letters each."""
    whole = f"^{word[:MAX_LETTERS]}$"
    return [whole[at : at + length] for length in GRAMS for at in range(len(whole) - length + 1)]


def strength(word: str, parts: Mapping[str, float], bias: float) -> float:
    """The score of a word that is in no table."""
    found = bias
    weight = parts.get
    for gram in grams(word):
        found += weight(gram, 0.0)
    return min(max(found, -UNKNOWN), MOST)


@functools.cache
def loanwords(folder: Path = WORDS) -> tuple[frozenset[str], re.Pattern[str]]:
    """Borrowed words and a pattern of borrowed sayings, folded: they speak for no language."""
    words: set[str] = set()
    sayings: set[str] = set()
    for line in (folder / "loanwords.txt").read_text(encoding="utf-8").splitlines():
        entry = line.partition("#")[0]
        if entry.startswith("="):
            sayings.update(_saying(each) for each in entry.removeprefix("=").split(",") if each.strip())
        else:
            words.update(word for each in entry.split() for word in (fold(each).text, plain(each).text))
    longest_first = sorted(sayings, key=lambda saying: (-len(saying), saying))
    return frozenset(words), re.compile(f"(?<= )(?:{'|'.join(map(re.escape, longest_first))})(?= )")


def _saying(text: str) -> str:
    return " ".join(word for word in fold(text.strip()).text.split(" ") if _is_word(word))


def _is_word(word: str) -> bool:
    return any(map(str.isalnum, word))


class Language:
    """Reads messages one by one; see the module."""

    name = STAGE

    def __init__(self, words: Words, *, holds: float = HOLDS) -> None:
        self.words = words
        self.holds = holds

    def foreign(self, text: str) -> float:
        """How much a text speaks for another language; from `holds` on it is held.

        That is what its most foreign stretch comes to, or `holds` where nearly all of it is foreign.
        """
        folded = fold(text).text
        highest, all_for, _ = self._sums(folded.split(" "))
        if all_for < MOST:
            return highest
        words = " ".join(word for word in folded.split(" ") if _is_word(word))
        rest = loanwords()[1].sub("", f" {words} ").split()
        highest, all_for, all_against = self._sums(rest)
        mostly = len(rest) >= LEAST_WORDS and all_for >= max(MOST, MOSTLY * all_against)
        return max(highest, self.holds) if mostly or self._alone(rest) else highest

    def _sums(self, words: Sequence[str]) -> tuple[float, float, float]:
        """The highest sum of neighbouring words, and what all words come to for and against."""
        known, score = self.words.known, self.words.score
        counted: set[str] = set()  # a word repeated a hundred times is still one word
        here = highest = all_for = against = 0.0
        for word in words:
            found = known.get(word)
            if found is None:
                found = score(word)
            if found > 0.0:
                if word in counted:
                    continue
                counted.add(word)
                all_for += found
                here += found
                highest = max(highest, here)
            else:
                against -= found
                here += found
                here = max(here, 0.0)
        return highest, all_for, against

    def _alone(self, words: Sequence[str]) -> bool:
        """Whether most letters are of another script, in words that are not borrowed."""
        latin = other = 0
        for word in words:
            if self.words.score(word) != 0.0:
                own = sum(map(str.isalpha, word))
                is_latin = word.isascii() or any(map(_is_latin, filter(str.isalpha, word)))
                latin, other = (latin + own, other) if is_latin else (latin, other + own)
        return other > latin

    def read(self, batch: Sequence[Submission]) -> list[list[Signal] | None]:
        """No signals for each message in a measured language, None for each that is not."""
        return [None if self.foreign(one.text) >= self.holds else [] for one in batch]


def save_language(words: Words, folder: Path, about: Mapping[str, str]) -> None:
    """Write `language.npz`, and `language.toml`, which names its hash and what it is."""

    def column(scores: Mapping[str, float]) -> tuple[np.ndarray, np.ndarray]:
        names = sorted(scores)
        values = np.clip(np.rint([scores[name] * UNIT for name in names]), -127, 127).astype(np.int8)
        return np.frombuffer(" ".join(names).encode(), np.uint8), values

    table, table_scores = column(words.table)
    parts, part_scores = column(words.parts)
    file = folder / "language.npz"
    np.savez_compressed(
        file,
        table=table,
        table_scores=table_scores,
        parts=parts,
        part_scores=part_scores,
        bias=np.array(words.bias),
    )
    lines = [f'sha256 = "{hashlib.sha256(file.read_bytes()).hexdigest()}"']
    lines += [f'{name} = "{value}"' for name, value in about.items()]
    (folder / "language.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def load_language(folder: Path = MODELS) -> Language:
    """Read the model and check it against its hash; `BadModel` where anything is not as it should be."""
    file = folder / "language.npz"
    try:
        about = tomllib.loads((folder / "language.toml").read_text(encoding="utf-8"))
        raw = file.read_bytes()
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise BadModel(f"{file} cannot be read: {error}") from None
    if hashlib.sha256(raw).hexdigest() != about.get("sha256"):
        raise BadModel(f"{file} is not the file that language.toml names")
    try:
        with np.load(file, allow_pickle=False) as arrays:
            columns = {
                name: dict(
                    zip(
                        arrays[name].tobytes().decode("utf-8").split(" "),
                        (arrays[scores].astype(np.float64) / UNIT).tolist(),
                        strict=True,
                    )
                )
                for name, scores in (("table", "table_scores"), ("parts", "part_scores"))
            }
            bias = float(arrays["bias"])
    except (KeyError, ValueError, OSError, zipfile.BadZipFile) as error:
        raise BadModel(f"{file} cannot be read: {error}") from None
    return Language(Words(columns["table"] | dict.fromkeys(loanwords()[0], 0.0), columns["parts"], bias))
