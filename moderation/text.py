"""Two views of a text as a reader would see it, each with a map back to what was written.

`plain` undoes what one character can hide: full width, look-alike letters of other alphabets, invisible
and combining marks, emoji digits. `fold` goes on to words: leet, stretched, spaced, dotted and starred
letters, texting shorthand, and slips in words that rules depend on. Rules and classifiers read `fold`;
contact details are looked for in `plain`, where a digit is still a digit.

Letters of another alphabet are read by their look only where that is a disguise: inside a word that has
Latin letters too, or where a whole word of them reads as one that rules depend on. Russian, Greek or
Arabic stays as it is.

Both take time linear in the text: each code point becomes at most `MAX_EXPANSION` characters, and words
longer than `MAX_WORD` are left as they are. Neither raises on any string. The stages of a pipeline read the
same messages one after the other, so the views of the last `KEPT` texts are kept; `forget` drops them.
"""

import functools
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from moderation.verdict import Span

MAX_EXPANSION = 4
"""Most characters that one code point may become: some Arabic ligatures would become eighteen."""

MAX_WORD = 40
"""Longer runs without a space are not words: they are kept, but nothing is looked up for them."""

KEPT = 512
"""Texts whose views are kept: a few batches."""

WORDS = Path(__file__).parent / "words"


@dataclass(frozen=True, slots=True)
class Plain:
    """One character after another, as read: lower case, ASCII where it looks like ASCII."""

    text: str
    origin: Sequence[int]  # for each character, the code point of the original that it came from

    def span(self, start: int, end: int) -> Span:
        """The original's range for `text[start:end]`; whatever was invisible between is inside it."""
        if start >= end:
            at = self.origin[start] if start < len(self.origin) else 0
            return Span(at, at)
        return Span(self.origin[start], self.origin[end - 1] + 1)


class Folded:
    """Words as meant, one space between, with `.`, `?`, `"` and each emoji as words of their own.

    The map back has the grain of words: a range that touches part of a word maps to the whole of it as it
    was written, because a word that was changed has no letters to point at. Few texts are ever asked where
    something stands, so the map is made when it is first needed. It has one entry for each of
    `text.split(" ")`.
    """

    __slots__ = ("text", "_map", "_known", "_view")

    def __init__(self, text: str, view: Plain, known: "Lexicon") -> None:
        self.text = text
        self._view = view
        self._known = known
        self._map: Sequence[tuple[str, int, int]] | None = None

    @property
    def spans(self) -> Sequence[Span]:
        """Where each word stands in the original."""
        origin = self._view.origin
        return [Span(origin[start], origin[end - 1] + 1) for _, start, end in self._words()]

    def span(self, start: int, end: int) -> Span:
        """The original's range for the words that `text[start:end]` touches."""
        words = self._words()
        if not words:
            return Span(0, 0)
        first = self.text.count(" ", 0, start)
        last = self.text.count(" ", 0, max(end - 1, start))
        origin = self._view.origin
        return Span(origin[words[first][1]], origin[words[last][2] - 1] + 1)

    def _words(self) -> Sequence[tuple[str, int, int]]:
        """Each word, and from where to where it stands in the plain view."""
        if self._map is None:
            self._map = _words(self._view.text, self._known)
        return self._map


@functools.lru_cache(maxsize=KEPT)
def plain(text: str) -> Plain:
    """Read `text` character by character."""
    odd = _ODD.findall(text)
    if not odd:
        return Plain(text.lower(), range(len(text)))
    table: dict[int, str] = {}
    for character in set(odd):
        read, look = _read(character)
        if look or len(read) != 1:
            return _plain_singly(text)
        table[ord(character)] = read
    # One character for one: what is left is ASCII, which `lower` never makes longer.
    return Plain(text.translate(_LOWER | table), range(len(text)))


def fold(text: str, *, lexicon: "Lexicon | None" = None) -> Folded:
    """Read `text` word by word."""
    return _folded(text) if lexicon is None else _fold(text, lexicon)


def forget() -> None:
    """Drop the views that are kept: for who measures, or wants no text to stay in memory."""
    _folded.cache_clear()
    plain.cache_clear()


@functools.lru_cache(maxsize=KEPT)
def _folded(text: str) -> Folded:
    return _fold(text, shipped_lexicon())


def _fold(text: str, known: "Lexicon") -> Folded:
    view = plain(text)
    words = _quickly(view.text, known)
    if words is None:
        words = [word for word, _, _ in _words(view.text, known)]
    return Folded(" ".join(words), view, known)


# --- characters ---------------------------------------------------------------------------------------

_ODD = re.compile(r"[^\x20-\x5f\x61-\x7e\n]")  # what does not stay as it is, but for its case
_LOWER = {ord(letter): letter.lower() for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}

# What each letter is mistaken for, by eye. Only letters whose look is their one use here are listed.
_LOOKALIKES: Mapping[str, str] = {
    "a": "аαɑᴀ",
    "b": "вьβʙЬ",
    "c": "сϲᴄς",
    "d": "ԁđɖᴅδ",
    "e": "еєεəɛᴇ",
    "f": "ƒғ",
    "g": "ɡɢց",
    "h": "һнħʜհ",
    "i": "іıιɩɪ",
    "j": "јյᴊ",
    "k": "кκᴋ",
    "l": "ӏłʟ",
    "m": "мᴍ",
    "n": "пηɴոπ",
    "o": "оοσøᴏօ",
    "p": "рρᴘþ",
    "q": "ԛզ",
    "r": "гʀя",
    "s": "ѕꜱ",
    "t": "тτᴛ",
    "u": "υսᴜμц",
    "v": "ѵνᴠ",
    "w": "ѡωᴡшԝ",
    "x": "хχ",
    "y": "уγʏүч",
    "z": "ᴢζ",
    "'": "\u2018\u2019\u02bc\u0060\u00b4\u2032\u02b9",
    '"': "\u201c\u201d\u00ab\u00bb\u2033\u201e",
    "-": "\u2010\u2011\u2012\u2013\u2014\u2015\u2212",
    " ": "\u2800\u3164\u115f\u1160\uffa0",
    ".": "\u3002\u2024\u00b7\u2022",
    "?": "\u061f\u00bf",
    "@": "\ufe6b",
}
_BY_HAND = {look: letter for letter, looks in _LOOKALIKES.items() for look in looks}

# Letters in boxes and flags, which Unicode does not count as letters: 26 code points from each start.
_BOXED = (0x1F150, 0x1F170, 0x1F1E6)
_INVISIBLE = frozenset({"Mn", "Me", "Cf", "Cc", "Cs", "Co", "Cn"})
_SKIN = frozenset(map(chr, range(0x1F3FB, 0x1F400)))  # colours of the emoji before them

_WORD = re.compile(r"[^ \n,;:?()\[\]{}\"/]+")
_LATIN = re.compile(r"[a-z]")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")


@functools.cache
def _by_table() -> Mapping[str, str]:
    """Unicode's own table of look-alikes, as far as they look like one Latin letter."""
    table: dict[str, str] = {}
    for number, entry in _entries(WORDS / "confusables.txt"):
        letter, _, looks = entry.partition(" ")
        if len(letter) != 1 or not looks:
            raise ValueError(f"{WORDS / 'confusables.txt'}:{number}: expected a letter and its look-alikes")
        for look in looks.split(" "):
            table[chr(int(look, 16))] = letter
    return table


def _look(character: str) -> str:
    """The ASCII that a character looks like; an empty string where it looks like none."""
    return _BY_HAND.get(character) or _by_table().get(character, "")


def _is_foreign(character: str) -> bool:
    """Whether it is a letter or sign of its own outside Latin: then its look alone says nothing."""
    if unicodedata.category(character)[0] == "L":
        return not unicodedata.name(character, "").startswith("LATIN")
    return character not in _BY_HAND


@functools.lru_cache(maxsize=8192)
def _read(character: str) -> tuple[str, str]:
    """What one code point reads as (nothing, one character or a few), and what it only looks like.

    The second is for letters of other alphabets: whether they stand for their look is for their
    neighbours to say.
    """
    if character in "\n\r\u2028\u2029\u0085":
        return "\n", ""
    if character.isspace():
        return " ", ""
    if character in _SKIN:
        return "", ""
    for first in _BOXED:
        if 0 <= ord(character) - first < 26:
            return chr(ord("a") + ord(character) - first), ""
    if character in _BY_HAND and not _is_foreign(character):
        return _BY_HAND[character], ""
    read: list[str] = []
    look: list[str] = []
    for part in unicodedata.normalize("NFKD", character.casefold()):
        if unicodedata.category(part) in _INVISIBLE:
            continue
        for letter in unicodedata.normalize("NFKD", part.casefold()):
            digit = unicodedata.digit(letter, None)
            shown = str(digit) if digit is not None else letter
            seen = "" if shown.isascii() else _look(shown)
            if seen and not _is_foreign(shown):
                shown, seen = seen, ""
            read.append(" " if shown.isspace() else shown)
            look.append(seen)
    if len(read) == 1 and not look[0] and not read[0].isascii():
        look[0] = _look(character)
    return "".join(read[:MAX_EXPANSION]), look[0] if len(look) == 1 else ""


def _plain_singly(text: str) -> Plain:
    characters: list[str] = []
    origin: list[int] = []
    looks: list[tuple[int, str]] = []
    for at, character in enumerate(text):
        read, look = _read(character)
        if look:
            looks.append((len(characters), look))
        for one in read:
            characters.append(one)
            origin.append(at)
    if looks:
        _unmask(characters, looks)
    return Plain("".join(characters), origin)


def _unmask(characters: list[str], looks: Sequence[tuple[int, str]]) -> None:
    """Put Latin letters for those that only look like them, in words where that is a disguise."""
    known = shipped_lexicon()
    text = "".join(characters)
    latin = len(_LATIN.findall(text))
    foreign = sum(map(str.isalpha, _NOT_ASCII.findall(text)))
    among_latin = latin > 0 and latin >= 4 * (foreign - len(looks))  # what looks like nothing Latin counts
    for first, last, seen in _by_word(text, looks):
        if _LATIN.search(text, first, last) is None:
            word = characters[first:last]
            for at, look in seen:
                word[at - first] = look
            letters = "".join(character for character in word if character.isalpha())
            if among_latin:
                disguise = len(letters) == 1 or letters in known.known or letters in known.slips
            else:
                disguise = letters in known.guarded_words
            if not disguise:
                continue
        for at, look in seen:
            characters[at] = look


def _by_word(
    text: str, looks: Sequence[tuple[int, str]]
) -> Iterator[tuple[int, int, Sequence[tuple[int, str]]]]:
    """Where each word that has look-alikes begins and ends, and these."""
    at = 0
    for found in _WORD.finditer(text):
        first, last = found.span()
        begin = at
        while at < len(looks) and looks[at][0] < last:
            at += 1
        if at > begin:
            yield first, last, looks[begin:at]


# --- words --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Lexicon:
    """The words that folding knows. Read once; a bad line raises `ValueError` naming file and line."""

    common: frozenset[str]  # ordinary words: never corrected, and what letters may be joined into
    guarded: Sequence[str]  # words that rules depend on: slips in them are put right; earlier ones win
    shorthand: Mapping[str, str]  # "2nite" to "tonight"

    @functools.cached_property
    def known(self) -> frozenset[str]:
        return self.common | frozenset(self.guarded) | frozenset(self.shorthand)

    @functools.cached_property
    def guarded_words(self) -> frozenset[str]:
        """The guarded words as a set."""
        return frozenset(self.guarded)

    @functools.cached_property
    def memo(self) -> dict[str, tuple[str, tuple[tuple[str, int, int], ...]]]:
        """What runs without a space fold to, as a whole and word by word with places: see `_met`."""
        return {}

    @functools.cached_property
    def slips(self) -> Mapping[str, str]:
        """Guarded words with one letter dropped, or two swapped, to the word that was meant."""
        slips: dict[str, str] = {}
        for word in self.guarded:
            for slip in _slips(word):
                if slip not in self.known:
                    slips.setdefault(slip, word)
        return slips

    @functools.cached_property
    def squeezed(self) -> Mapping[str, str]:
        """Known words by what is left when every run of a letter becomes one; guarded words win."""
        squeezed: dict[str, str] = {}
        for word in (*self.guarded, *sorted(self.common)):
            squeezed.setdefault(_squeeze(word), word)
        return squeezed

    @functools.cached_property
    def by_shape(self) -> Mapping[tuple[int, str, str], Sequence[str]]:
        """Guarded words by length, first and last letter, which may be a star: for letters under stars."""
        shapes: dict[tuple[int, str, str], list[str]] = {}
        for word in self.guarded:
            for last in (word[-1], "*"):
                shapes.setdefault((len(word), word[0], last), []).append(word)
        return shapes


def read_lexicon(folder: Path) -> Lexicon:
    """Read `common.txt`, `guarded.txt` and `shorthand.txt`: one entry a line, `#` begins a remark."""
    shorthand: dict[str, str] = {}
    for line, entry in _entries(folder / "shorthand.txt"):
        short, _, meant = entry.partition(" ")
        if not meant:
            raise ValueError(f"{folder / 'shorthand.txt'}:{line}: expected a short form and what it means")
        shorthand[short] = meant
    return Lexicon(
        common=frozenset(_listed(folder / "common.txt")),
        guarded=tuple(dict.fromkeys(_listed(folder / "guarded.txt"))),
        shorthand=shorthand,
    )


@functools.cache
def shipped_lexicon() -> Lexicon:
    """The lexicon that comes with the project."""
    return read_lexicon(WORDS)


def _entries(file: Path) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        entry = " ".join(line.partition("#")[0].split())
        if entry:
            yield number, entry


def _listed(file: Path) -> Iterator[str]:
    for number, entry in _entries(file):
        for word in entry.split(" "):
            if not _PLAIN_WORD.fullmatch(word):
                raise ValueError(f"{file}:{number}: {word!r} is not a word of letters a to z")
            yield word


_PLAIN_WORD = re.compile(r"[a-z]+")
_LETTERS_ONLY = re.compile(r"[a-z]+\Z")
_RUN = re.compile(r"([a-z])\1{2,}")
_ANY_RUN = re.compile(r"(.)\1+")

# Inside a run without spaces, words are what is left at either side of a mark.
_LETTER = r"[a-z0-9\u00df-\u1fff\u3040-\ud7ff]"
_PIECE = re.compile(
    rf"[@$]?{_LETTER}(?:[^\s,;:?\"()\[\]{{}}<>=&\u2190-\u2bff\U00010000-\U0010ffff]*(?:{_LETTER}|(?<=[*@$])))?"
    r"|[\u2190-\u2bff\U00010000-\U0010ffff]"
    r"|[.!?;:\"]"
)
_SPLIT = re.compile(r"[._\-*|/~+\\]+")
_END = frozenset(".!;:")
_LEET = str.maketrans("0134578@$!|", "oieastbasii")
_LEET_L = str.maketrans("0134578@$!|", "oleastbasll")
_LEET_MARK = re.compile(r"[0134578@$!|]")
_BETWEEN = re.compile(r"[a-z][0134578@$!|]+(?=[a-z])")
_MEASURE = re.compile(
    r"\d+(?:st|nd|rd|th|am|pm|ish|yo|yr|yrs|yrold|k|g|kg|km|m|cm|mm|ml|l|p|x|s|d|h|hr|hrs|min|mins|ft|gb|mb"
    r"|bpm|v\d+|pts?|pc|ers?)"
    r"|(?:[abpqux]|room|page|gcse|maths|paper|ch|mp|ps|ww|co)[1-9]\d?|(?:y|yr|year|ks)[1-9]\d?[a-f]?s?"
)
# Words that texting writes with one letter or digit: alone they do not make a spelled-out word.
_ONE_LETTER = frozenset("aiurnykbcwxo0123456789")


MEMO = 32_768
"""Runs without a space whose reading is remembered: about the words of a school, and some slips."""


def _quickly(text: str, known: Lexicon) -> list[str] | None:
    """The words of the folded view without their places; None for what takes a closer look.

    That is lines, and three letters or more written apart. The rest depends on single runs alone, and
    nearly every one has been met before.
    """
    if "\n" in text:
        return None
    memo = known.memo
    most = 1 if "  " in text else 2
    words: list[str] = []
    apart = 0
    for chunk in text.split():
        if len(chunk) == 1 and chunk.isascii() and chunk.isalnum():
            apart += 1
            if apart > most:
                return None
            words.append(known.shorthand.get(chunk, chunk))
            continue
        if apart >= most and _stopped(chunk):
            return None
        apart = 0
        read = (memo.get(chunk) or _met(chunk, known))[0]
        if read:
            words.append(read)
    return words


def _stopped(run: str) -> bool:
    """Whether a run is one letter with marks of a sentence's end: the last of "k y s."."""
    return run[0].isascii() and run[0].isalnum() and not run[1:].strip(".,!?;:")


def _met(chunk: str, known: Lexicon) -> tuple[str, tuple[tuple[str, int, int], ...]]:
    """What one run folds to, remembered: the memo is emptied when it is full."""
    memo = known.memo
    read = memo.get(chunk)
    if read is None:
        words = tuple(_chunk(chunk, 0, known))
        read = " ".join([word for word, _, _ in words]), words
        if len(chunk) <= MAX_WORD:
            if len(memo) >= MEMO:
                memo.clear()
            memo[chunk] = read
    return read


def _words(text: str, known: Lexicon) -> list[tuple[str, int, int]]:
    """Each word of the folded view with its range in the plain one."""
    memo = known.memo
    words: list[tuple[str, int, int]] = []
    spelled: list[tuple[str, int]] = []  # single letters in a row, each with its place
    apart = False  # the row stands two spaces from its neighbours: a word even if it is short
    end = 0
    for run in text.split():
        start = text.index(run, end)  # right there: only spaces stand between
        end = start + len(run)
        if len(run) == 1 and run.isascii() and run.isalnum():
            # Two spaces end a spelled word: "i m  d o n e".
            if spelled and start - spelled[-1][1] != 2:
                words += _spelled(spelled, known, apart=True)
                spelled, apart = [], True
            spelled.append((run, start))
            continue
        if spelled:
            if start - spelled[-1][1] == 2 and _stopped(run):
                spelled.append((run[0], start))
                run, start = run[1:], start + 1
            words += _spelled(spelled, known, apart=apart)
            spelled = []
        apart = False
        for word, first, last in (memo.get(run) or _met(run, known))[1]:
            words.append((word, start + first, start + last))
        if "\n" in text[end : end + 2]:
            words.append((".", end, end + 1))
    if spelled:
        words += _spelled(spelled, known, apart=apart)
    return words


def _spelled(
    letters: Sequence[tuple[str, int]], known: Lexicon, *, apart: bool
) -> Iterator[tuple[str, int, int]]:
    """Join letters written apart, where they make words; leave "r u ok" and "a b c" as they are."""
    joined = "".join(letter for letter, _ in letters)
    if len(letters) >= 3 or (len(letters) == 2 and apart and joined in known.common):
        words = _segment(joined, known)
        if words is None and not _ONE_LETTER.issuperset(joined) and not joined.isdigit():
            words = [_word(joined, known)]
        if words is not None:
            at = 0
            for word in words:
                length = min(len(word), len(letters) - at) if len(words) > 1 else len(letters)
                for meant in _word(word, known).split(" "):  # "i d k" is three words
                    yield meant, letters[at][1], letters[at + length - 1][1] + 1
                at += length
            return
    for letter, at in letters:
        for meant in known.shorthand.get(letter, letter).split(" "):
            yield meant, at, at + 1


def _segment(joined: str, known: Lexicon) -> list[str] | None:
    """Cut letters into the fewest known words, or None. At most `MAX_WORD` letters are tried."""
    plainly = joined.translate(_LEET) if _LEET_MARK.search(joined) else joined
    if plainly in known.known:
        return [plainly]
    if len(plainly) > MAX_WORD:
        return None
    best: list[list[str] | None] = [[]] + [None] * len(plainly)
    for end in range(1, len(plainly) + 1):
        for start in range(max(0, end - 14), end):
            head = best[start]
            piece = plainly[start:end]
            if head is None or not (piece in known.known and (len(piece) > 1 or piece in "iau")):
                continue
            now = best[end]
            if now is None or len(head) + 1 < len(now):
                best[end] = [*head, piece]
    words = best[-1]
    # Mostly single letters is no reading at all.
    return words if words and len(words) * 2 <= len(plainly) else None


def _chunk(chunk: str, start: int, known: Lexicon) -> Iterator[tuple[str, int, int]]:
    """The words of one run without spaces."""
    if chunk in known.common and chunk not in known.shorthand:
        yield chunk, start, start + len(chunk)
        return
    before = ""
    for found in _PIECE.finditer(chunk):
        piece, at = found.group(), start + found.start()
        if len(piece) == 1 and not piece.isalnum():
            mark = "." if piece in _END else piece
            if mark != before:  # "!!!" and "😂😂😂" say no more than one of them
                yield mark, at, at + 1
            before = mark
            continue
        before = ""
        yield from _piece(piece, at, known)


def _piece(piece: str, at: int, known: Lexicon) -> Iterator[tuple[str, int, int]]:
    end = at + len(piece)
    if "!" in piece and _word(piece, known) not in known.known:
        piece = piece.replace("!", ".")
    bare = piece.replace("'", "")
    if not _SPLIT.search(bare):
        for word in _word(bare, known).split(" "):
            yield word, at, end
        return
    if "*" in bare and (meant := _starred(bare, known)):
        yield meant, at, end
        return
    parts = _SPLIT.split(bare)
    joined = "".join(parts)
    whole = _word(joined, known)
    letters = all(len(part) <= 1 for part in parts) and len(joined) >= 3
    # "wi.ll" and "st.up.id" hide a word; "hello.how" and "off-line" are two.
    hidden = (whole in known.known and len(whole) >= 3) and (
        not all(part in known.known and len(part) > 1 for part in parts)
        or (len(parts) >= 3 and max(map(len, parts)) <= 3)
    )
    if (letters and not joined.isdigit()) or hidden or bare in known.shorthand:
        for word in known.shorthand.get(bare, whole).split(" "):
            yield word, at, end
        return
    place = at
    for found in _SPLIT.finditer(piece + "-"):
        part = piece[place - at : found.start()].replace("'", "")
        if part:
            for word in _word(part, known).split(" "):
                yield word, place, at + found.start()
        if "." in found.group() and found.start() < len(piece):
            yield ".", at + found.start(), at + found.start() + 1
        place = at + found.end()


def _word(word: str, known: Lexicon) -> str:
    """What one word means: itself, for nearly all."""
    if meant := known.shorthand.get(word):
        return meant
    if word in known.common or len(word) > MAX_WORD:
        return word
    if not _LETTERS_ONLY.match(word):
        if word.isdigit() or not word.isascii() or not _LEET_MARK.search(word):
            return word
        word = _unleet(word, known)
    if _RUN.search(word):
        word = _unstretch(word, known)
        word = known.shorthand.get(word, word)
    return known.slips.get(word, word)


def _unleet(word: str, known: Lexicon) -> str:
    """Read "k1ll" as "kill". A measure, a class or a name with a number stays as it is."""
    if _MEASURE.fullmatch(word):
        return word
    for table in (_LEET, _LEET_L):  # a one is an i or an l
        candidate = word.translate(table)
        if candidate in known.known:
            return known.shorthand.get(candidate, candidate)
        if candidate in known.slips:
            return known.slips[candidate]
        if _RUN.search(candidate) and _squeeze(candidate) in known.squeezed:
            return candidate
    # Not a word known here: read what stands between letters, and leave a name's number alone.
    return _BETWEEN.sub(lambda found: found.group().translate(_LEET), word.removeprefix("@"))


def _unstretch(word: str, known: Lexicon) -> str:
    """Read "killlll" as "kill", "sooo" as "so"."""
    if meant := known.squeezed.get(_squeeze(word)):
        return meant
    once = _RUN.sub(r"\1", word)
    return once if once in known.known else _RUN.sub(r"\1", word)


def _starred(word: str, known: Lexicon) -> str | None:
    """Read "k*ll" as "kill": the first guarded word that the stars could stand in, or None."""
    letters = word.replace("*", "")
    if not letters or word.startswith("*") or len(word) < 3:
        return None
    for meant in known.by_shape.get((len(word), word[0], word[-1]), ()):
        if all(seen in ("*", letter) for seen, letter in zip(word, meant, strict=True)):
            return meant
    return None


def _squeeze(word: str) -> str:
    return _ANY_RUN.sub(r"\1", word)


def _slips(word: str) -> Iterator[str]:
    """One letter dropped (not the first), or two neighbours swapped. Short words have too many neighbours."""
    if len(word) >= 6:
        for at in range(1, len(word)):
            yield word[:at] + word[at + 1 :]
    if len(word) >= 4:
        for at in range(1, len(word) - 1):
            yield word[:at] + word[at + 1] + word[at] + word[at + 2 :]
