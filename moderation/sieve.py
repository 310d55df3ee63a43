"""Which patterns could match a text at all, from the words in it alone.

A pattern of a rule (moderation/rules.py) cannot match without certain words: "(?:want to|wanna) <2> die"
needs "die", and "want" or "wanna". Reading those out of each pattern once turns most of the work on a message
into a few look-ups: the words of the message against an index of words. What is left is tried in earnest.

Leaving a word out of the reading is always safe, for then more patterns are tried; `needs` therefore gives
up on anything it does not know.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

MAX_STRINGS = 5_000
"""Ways of writing one part of a pattern that are told apart; with more the part counts as unknown."""

CLAUSES = 4
"""Sets of words of one pattern that are looked for: the first finds it, the others confirm."""

_ANY = "\0"  # a stretch that may be anything
_UNKNOWN = frozenset({_ANY})
_GAP = re.compile(r" ?<\d+> ?")
_QUANTIFIER = re.compile(r"[?*+]|\{(\d+)(?:,(\d*))?\}")
_FEW_LETTERS = re.compile(r"[a-z]{1,8}")
_DIGITS = re.compile(r"[0-9]-[0-9]")
_CLASS = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*\]")

# The commonest words of the language, commonest first: a set without them finds fewer texts.
_COMMON = (
    "i to the and a it my me you . im of in that is so for on was but he she they have do not just "
    "like with be at this what ? all no up are your if we about its out get can her him got dont when "
    "had or want been from one go as now know how some even because them me really going there too "
    "mum time think an would back will did school over then by day she said after who off need still "
    "his feel were has home people more tell good someone their never make ive only today last friend "
    "night here cant every down us am could us why told"
).split()
_WEIGHT = {word: 40.0 / (rank + 2) for rank, word in enumerate(dict.fromkeys(_COMMON))}
_RARE = 0.05


def needs(pattern: str) -> list[frozenset[str]]:
    """Sets of words of which a text must have one each to match; the most telling set first.

    `pattern` has its names filled in, with spaces and gaps as they are written in a rule file.
    """
    try:
        parts = list(_Parser(_GAP.sub(" ", pattern)).parts())
    except _NotUnderstood:
        return []
    clauses = [clause for part in parts for clause in _clauses(part)]
    clauses.sort(key=_cost)
    return list(dict.fromkeys(clauses))[:CLAUSES]


class Sieve:
    """An index over many patterns. `candidates` takes time linear in the words of a text.

    Every clause is one bit in a row of bits, every word the bits of the clauses it meets; a pattern is a
    candidate where all its bits are set.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self.size = len(patterns)
        met = 0  # clauses that a pattern does not have are met by every text
        index: dict[str, int] = {}
        for number, pattern in enumerate(patterns):
            clauses = needs(pattern)
            for row in range(CLAUSES):
                bit = 1 << (row * self.size + number)
                if row >= len(clauses):
                    met |= bit
                    continue
                for word in clauses[row]:
                    index[word] = index.get(word, 0) | bit
        self._index: Mapping[str, int] = index
        self._words = frozenset(index)
        self._met = met
        self._all = (1 << self.size) - 1

    @property
    def always(self) -> list[int]:
        """Numbers of the patterns that need no word in particular: they are tried on every text."""
        return self.candidates(frozenset())

    def candidates(self, words: frozenset[str]) -> list[int]:
        """Numbers of the patterns that these words could satisfy, in order."""
        bits = self._met
        index = self._index
        for word in self._words & words:
            bits |= index[word]
        found = self._all
        for _ in range(CLAUSES):
            found &= bits
            bits >>= self.size
        numbers = []
        while found:
            lowest = found & -found
            numbers.append(lowest.bit_length() - 1)
            found ^= lowest
        return numbers


def _cost(clause: frozenset[str]) -> float:
    return sum(_WEIGHT.get(word, _RARE) for word in clause)


def _clauses(strings: frozenset[str]) -> Iterator[frozenset[str]]:
    """Sets of words of which each of the strings has one."""
    whole = [
        sorted({word for word in string.split(" ") if word and _ANY not in word}, key=_weight)
        for string in strings
    ]
    if not whole or not all(whole):
        return
    for rank in range(3):
        yield frozenset(words[min(rank, len(words) - 1)] for words in whole)


def _weight(word: str) -> tuple[float, str]:
    return _WEIGHT.get(word, _RARE), word


class _NotUnderstood(Exception):
    """A pattern has something that this reading does not know."""


class _Parser:
    """Reads a pattern as sets of the strings that its parts may be."""

    def __init__(self, pattern: str) -> None:
        self.pattern, self.at = pattern, 0

    def parts(self) -> Iterator[frozenset[str]]:
        """The parts that stand between spaces; the whole, where it is a choice."""
        sequences = [list(self._sequence())]
        while self._next("|"):
            sequences.append(list(self._sequence()))
        if self.at < len(self.pattern):
            raise _NotUnderstood
        if len(sequences) > 1:
            yield frozenset().union(*(_product(sequence) for sequence in sequences))
            return
        part: list[frozenset[str]] = []
        for piece in sequences[0]:
            if piece == {" "}:
                yield from _products(part)
                part = []
            else:
                part.append(piece)
        yield from _products(part)

    def _next(self, text: str) -> bool:
        if self.pattern.startswith(text, self.at):
            self.at += len(text)
            return True
        return False

    def _sequence(self) -> Iterator[frozenset[str]]:
        while self.at < len(self.pattern) and self.pattern[self.at] not in "|)":
            yield self._quantified(self._atom())

    def _atom(self) -> frozenset[str]:
        if self._next("(?:") or self._next("("):
            if self.pattern.startswith("?", self.at):
                raise _NotUnderstood
            choices = [_product(list(self._sequence()))]
            while self._next("|"):
                choices.append(_product(list(self._sequence())))
            if not self._next(")"):
                raise _NotUnderstood
            strings = frozenset().union(*choices)
            return strings if len(strings) <= MAX_STRINGS else _UNKNOWN
        character = self.pattern[self.at]
        if character == "[":
            found = _CLASS.match(self.pattern, self.at)
            if found is None:
                raise _NotUnderstood
            self.at = found.end()
            letters = found.group()[1:-1]
            if _DIGITS.fullmatch(letters):
                return frozenset("0123456789"[int(letters[0]) : int(letters[2]) + 1])
            return frozenset(letters) if _FEW_LETTERS.fullmatch(letters) else _UNKNOWN
        self.at += 1
        if character == "\\":
            escaped = self.pattern[self.at : self.at + 1]
            self.at += 1
            if not escaped or (escaped.isalnum() and escaped != "b"):
                raise _NotUnderstood
            return frozenset({""}) if escaped == "b" else frozenset({escaped})
        if character in "^$":
            return frozenset({""})
        if character in ".*+?{":
            if character != ".":
                raise _NotUnderstood
            return _UNKNOWN
        return frozenset({character})

    def _quantified(self, strings: frozenset[str]) -> frozenset[str]:
        found = _QUANTIFIER.match(self.pattern, self.at)
        if found is None:
            return strings
        self.at = found.end()
        sign = found.group()
        least, most = found.group(1), found.group(2)
        if sign == "?" or (least == "0" and most == "1"):
            return strings | {""}
        # Any number of times: words stay words where each time brings its own space.
        never = frozenset() if sign == "+" or (least is not None and least != "0") else frozenset({""})
        if all(string.endswith(" ") for string in strings):
            return never | {f"{_ANY} "}
        if all(string.startswith(" ") for string in strings):
            return never | {f" {_ANY}"}
        return _UNKNOWN


def _products(pieces: Sequence[frozenset[str]]) -> Iterator[frozenset[str]]:
    """The product of some pieces; where it is too large, of as many as go at either end of them."""
    whole = _product(pieces)
    yield whole
    if whole != _UNKNOWN:
        return
    for count in range(len(pieces) - 1, 0, -1):
        if (head := _product(pieces[:count])) != _UNKNOWN:
            yield frozenset(string + _ANY for string in head)
            break
    for count in range(1, len(pieces)):
        if (tail := _product(pieces[count:])) != _UNKNOWN:
            yield frozenset(_ANY + string for string in tail)
            break


def _product(pieces: Sequence[frozenset[str]]) -> frozenset[str]:
    """Every string made of one string of each piece."""
    strings = [""]
    for piece in pieces:
        if len(strings) * len(piece) > MAX_STRINGS:
            return _UNKNOWN
        strings = [before + after for before in strings for after in piece]
    return frozenset(strings)
