"""Ways to write round a filter: the text stays readable, its characters change. Seeded."""

import random
from collections.abc import Callable

LEAST = 3
"""Words of fewer letters are left as they are, but where single letters are swapped."""

LOOKALIKES = str.maketrans("aceopxyisjABCEHIKMOPTX", "асеорхуіѕјАВСЕНІКМОРТХ")
LEET = {"a": "4@", "e": "3", "i": "1!", "o": "0", "s": "5$", "t": "7"}
INVISIBLE = "\u200b\u200c\u200d\u2060"


def _words(text: str, change: Callable[[str], str], between: str = " ") -> str:
    return between.join(
        change(word) if sum(map(str.isalpha, word)) >= LEAST else word for word in text.split()
    )


def _bare(word: str) -> str:
    """Nobody who takes a word apart keeps its apostrophe."""
    return word.replace("'", "").replace("’", "")


def zero_width(text: str, chance: random.Random) -> str:
    """Invisible marks between the letters of each word."""
    return _words(text, lambda word: "".join(one + chance.choice(INVISIBLE) for one in word[:-1]) + word[-1])


def homoglyph(text: str, chance: random.Random) -> str:
    """Cyrillic letters that look alike, for seven in ten of those that have one."""
    return "".join(one.translate(LOOKALIKES) if chance.random() < 0.7 else one for one in text)


def fullwidth(text: str, chance: random.Random) -> str:
    """The wide forms of all letters and digits."""
    return "".join(chr(ord(one) + 0xFEE0) if one.isascii() and one.isalnum() else one for one in text)


def spaced(text: str, chance: random.Random) -> str:
    """The letters of each word apart, with wider gaps between words."""
    return _words(text, lambda word: " ".join(_bare(word)), "   ")


def leet(text: str, chance: random.Random) -> str:
    """Digits and signs for about half of the letters that have one, never for all letters of a word."""

    def change(word: str) -> str:
        places = [at for at, one in enumerate(word) if one.lower() in LEET]
        if len(places) == len(word):
            places = places[1:]
        chosen = {at for at in places if chance.random() < 0.5}
        return "".join(
            chance.choice(LEET[one.lower()]) if at in chosen else one for at, one in enumerate(word)
        )

    return _words(text, change)


def dotted(text: str, chance: random.Random) -> str:
    """A full stop between the letters of each word."""
    return _words(text, lambda word: ".".join(_bare(word)))


def stretched(text: str, chance: random.Random) -> str:
    """One letter of each word, a vowel where there is one, three to five times."""

    def change(word: str) -> str:
        letters = [at for at, one in enumerate(word) if one.isalpha()]
        at = chance.choice([at for at in letters if word[at].lower() in "aeiou"] or letters)
        return word[:at] + word[at] * chance.randint(3, 5) + word[at + 1 :]

    return _words(text, change)


DISGUISES: dict[str, Callable[[str, random.Random], str]] = {
    "zero-width": zero_width,
    "homoglyph": homoglyph,
    "fullwidth": fullwidth,
    "spaced": spaced,
    "leet": leet,
    "dotted": dotted,
    "stretched": stretched,
}


def disguised(text: str, how: str, seed: int) -> str:
    """A text in one of `DISGUISES`; the same seed gives the same text."""
    return DISGUISES[how](text, random.Random(f"{seed}:{how}:{text}"))
