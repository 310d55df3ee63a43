"""A site's own words: what is held here and nowhere else, and what is let through.

A list is data: up to `MAX_ENTRIES` words and phrases, in a `[[list]]` of a rule file (moderation/rules.py) or
one a line in a file that it names. They are looked for in the folded view, so stretched, leet, spaced and
starred spellings are found too, and slips in longer words. The work on a message does not grow with the
list: its words are looked up, one by one.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from moderation.text import Folded, Lexicon, fold, shipped_lexicon
from moderation.verdict import Action, Risk, Role, Signal, Span, Submission

STAGE = "rules"

MAX_ENTRIES = 10_000
"""Entries of one list; a longer one is refused."""

MAX_PHRASE = 12
"""Words of one entry; a longer one is refused."""

MAX_HITS = 16
"""Hits of one list that are told of one message; those that are let through are not counted."""


class BadList(ValueError):
    """A list cannot be used; the message says which entry, and why."""


class Phrases:
    """Words and phrases to find in a folded text."""

    def __init__(self, entries: Iterable[str], *, correct: bool = True) -> None:
        """`correct` puts slips in these words right too; without it they are taken as they are spelled."""
        shipped = shipped_lexicon()
        as_written = Lexicon(common=shipped.common, guarded=(), shorthand=shipped.shorthand)
        phrases: list[tuple[str, ...]] = []
        for number, entry in enumerate(entries, 1):  # errors go to logs, and entries are often names
            words = tuple(word for word in fold(entry, lexicon=as_written).text.split(" ") if word)
            if not any(letter.isalnum() or letter > "\x7f" for word in words for letter in word):
                raise BadList(f"entry {number} has no word in it")
            if len(words) > MAX_PHRASE:
                raise BadList(f"entry {number} is longer than {MAX_PHRASE} words")
            phrases.append(words)
        if len(phrases) > MAX_ENTRIES:
            raise BadList(f"a list has at most {MAX_ENTRIES} entries, not {len(phrases)}")
        own = {word for words in phrases for word in words if word.isascii() and word.isalpha()}
        self._lexicon = (
            Lexicon(
                common=shipped.common | own,
                guarded=tuple(sorted(word for word in own if len(word) >= 4 and word not in shipped.common)),
                shorthand={short: meant for short, meant in shipped.shorthand.items() if short not in own},
            )
            if correct
            else None
        )
        if self._lexicon is not None:  # made when first needed: better now than at the first message
            self._lexicon.slips, self._lexicon.squeezed, self._lexicon.by_shape  # noqa: B018
        by_first: dict[str, set[tuple[str, ...]]] = {}
        for words in phrases:
            by_first.setdefault(words[0], set()).add(words)
        self._by_first = {first: sorted(some, key=len, reverse=True) for first, some in by_first.items()}
        self._firsts = frozenset(by_first)

    def __bool__(self) -> bool:
        return bool(self._firsts)

    def find(self, text: str) -> list[Span]:
        """Where they stand in a text as it was written: the longest at each place, at most `MAX_HITS`."""
        return list(itertools.islice(self.hits(text), MAX_HITS))

    def hits(self, text: str) -> Iterator[Span]:
        """All of them, one after the other."""
        if not self._firsts:
            return
        view = fold(text, lexicon=self._lexicon)
        words = view.text.split(" ")
        if not self._firsts.isdisjoint(words):
            yield from self._hits(view, words)

    def _hits(self, view: Folded, words: Sequence[str]) -> Iterator[Span]:
        at = 0
        while at < len(words):
            after = at + 1
            for phrase in self._by_first.get(words[at], ()):
                if end := _ends(words, at, phrase):
                    spans = view.spans
                    yield Span(spans[at].start, spans[end - 1].end)
                    after = end
                    break
            at = after


def _ends(words: Sequence[str], at: int, phrase: Sequence[str]) -> int:
    """Where a phrase that begins at a word ends; marks and emoji between its words pass. 0: not there."""
    for word in phrase:
        while at < len(words) and words[at] != word and _is_mark(words[at]):
            at += 1
        if at >= len(words) or words[at] != word:
            return 0
        at += 1
    return at


def _is_mark(word: str) -> bool:
    return len(word) == 1 and not word.isalnum()


@dataclass(frozen=True, kw_only=True)
class WordList:
    """Words that a site holds, or takes for a worry, with what it lets through inside or beside them."""

    id: str
    label: str
    why: str  # for staff
    words: Phrases
    risk: Risk = Risk.NONE
    action: Action = Action.HOLD
    roles: frozenset[Role] = frozenset(Role)

    def read(self, submission: Submission, allowed: Sequence[Span] = ()) -> list[Signal]:
        """A signal for each hit that does not lie inside what is allowed, up to `MAX_HITS`."""
        if submission.role not in self.roles:
            return []
        counting = (span for span in self.words.hits(submission.text) if not inside(span, allowed))
        return [
            Signal(
                label=self.label,
                score=1.0,
                stage=STAGE,
                why=self.id,
                span=span,
                risk=self.risk,
                action=self.action,
            )
            for span in itertools.islice(counting, MAX_HITS)
        ]


def inside(span: Span | None, allowed: Sequence[Span]) -> bool:
    """Whether a place in a text lies wholly inside one of some others."""
    return span is not None and any(one.start <= span.start and span.end <= one.end for one in allowed)
