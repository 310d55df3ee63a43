"""Write `words/common.txt`: the ordinary words of the project's own training messages.

Folding uses the list to know which words need no correction, and what letters written apart may be joined
into. The messages were written for this project; no third party's words go in.

    python -m moderation.training.words --data FOLDER
"""

import argparse
import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from moderation.text import WORDS, plain

LEAST = 2
"""Words seen once may be a slip of the pen."""

_HEAD = """\
# Ordinary words of the project's own training messages, seen at least twice outside disguised ones.
# Made by `python -m moderation.training.words`; do not edit, add words to guarded.txt instead.
"""
# Letters that are words are few; two-letter ones are listed, or spelled-out words would fall to pieces.
_SHORT = frozenset(
    "a i am an as at be by do go he hi id if im in is it me my no of oh ok on or pe re so to tv uk up us we"
    " er um ah aw ay mr ms dr bf gf th st".split()
)


def common_words(messages: Sequence[str]) -> list[str]:
    """Words of `messages` seen `LEAST` times or more, in alphabetical order."""
    seen: Counter[str] = Counter()
    for message in messages:
        seen.update(re.findall(r"[a-z]+", plain(message).text.replace("'", "")))
    return sorted(
        word
        for word, count in seen.items()
        if count >= LEAST and (len(word) > 2 or word in _SHORT) and not re.search(r"(.)\1\1", word)
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m moderation.training.words", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with risk/train_*.jsonl")
    folder: Path = parser.parse_args(arguments).data
    messages = []
    for file in sorted((folder / "risk").glob("train_*.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            if "OBF" not in row.get("note", ""):
                messages.append(row["text"])
    words = common_words(messages)
    lines, line = [], ""
    for word in words:
        if len(line) + 1 + len(word) > 110:
            lines.append(line)
            line = ""
        line = f"{line} {word}".strip()
    (WORDS / "common.txt").write_text(_HEAD + "\n".join([*lines, line]) + "\n", encoding="utf-8")
    print(f"{len(words)} words")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
