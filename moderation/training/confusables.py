"""Make `words/confusables.txt` from Unicode's table of look-alikes.

    python -m moderation.training.confusables confusables.txt

The file is https://www.unicode.org/Public/security/latest/confusables.txt (UTS #39). Kept are code points
that look like one Latin letter and are read as nothing of the kind by compatibility decomposition, which
folding does anyway.
"""

import re
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

from moderation.text import WORDS

_ROW = re.compile(r"([0-9A-F]+) ;\s*([0-9A-F ]+?) ?;")
_VERSION = re.compile(r"# Version: ([0-9.]+)")
_LETTER = re.compile(r"[a-z]")


def table(lines: Iterable[str]) -> dict[str, list[int]]:
    """Each letter with the code points that look like it."""
    looks: dict[str, list[int]] = {}
    for line in lines:
        found = _ROW.match(line)
        if not found or " " in found.group(2):
            continue
        character, letter = chr(int(found.group(1), 16)), chr(int(found.group(2), 16)).lower()
        if not _LETTER.fullmatch(letter) or unicodedata.category(character)[0] not in "LS":
            continue
        read = unicodedata.normalize("NFKD", character.casefold())
        if not any(part.isascii() for part in read):
            looks.setdefault(letter, []).append(ord(character))
    return looks


def main(arguments: Sequence[str]) -> int:
    lines = Path(arguments[0]).read_text(encoding="utf-8-sig").splitlines()
    version = next(found.group(1) for line in lines if (found := _VERSION.match(line)))
    written = [
        f"# Code points that look like a Latin letter: Unicode {version}, UTS #39, confusables.txt.",
        "# Copyright Unicode, Inc.; used under the Unicode License v3 (https://www.unicode.org/license.txt).",
        "# Made by `python -m moderation.training.confusables`; do not edit, add to text.py instead.",
    ]
    for letter, points in sorted(table(lines).items()):
        for first in range(0, len(points), 16):
            codes = " ".join(f"{point:04X}" for point in sorted(points)[first : first + 16])
            written.append(f"{letter} {codes}")
    (WORDS / "confusables.txt").write_text("\n".join(written) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
