"""The project's own messages, and which of them are kept from training.

`messages/` holds them, a file a topic: `text`, `sender` (pupil or mentor), `labels`, `level` (none,
concern, high, critical) and `note` (DIR plain words, IND indirect, OBF obfuscated, HN a hard negative,
plain). All are invented and non-graphic, written for this project under its licence.
`conversations*.jsonl` have whole conversations: `turns`, `kind`, and `alert_from_turn`, the first turn
after which a careful adult would want to know. Those of `conversations_aside.jsonl` are never trained on.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from moderation.text import fold

MESSAGES = Path(__file__).parent / "messages"
ASIDE = MESSAGES / "conversations_aside.jsonl"
CONVERSATIONS = tuple(sorted(set(MESSAGES.glob("conversations*.jsonl")) - {ASIDE}))

Message = tuple[str, Mapping[str, Any]]
"""The file's name, and the row."""


def read_messages(files: Iterable[Path]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each row of some files, with its file's name."""
    for file in files:
        for line in file.read_text(encoding="utf-8").splitlines():
            yield file.name, json.loads(line)


def left_out(text: str) -> bool:
    """Whether a message is kept from training: an eighth of them, the same whatever else is in the files."""
    return hashlib.sha256(fold(text).text.encode()).digest()[0] < 32


def own_messages(*, aside: bool) -> list[Message]:
    """The project's own: those to train on, or the eighth that is left out; with benign turns as messages."""
    files = sorted(set(MESSAGES.glob("*.jsonl")) - {*CONVERSATIONS, ASIDE})
    found: list[Message] = list(read_messages(files))
    chosen = [message for message in found if left_out(message[1]["text"]) is aside]
    for _, conversation in read_messages([ASIDE] if aside else CONVERSATIONS):
        if conversation["kind"] == "benign":
            for turn in conversation["turns"]:
                row = {"text": turn["text"], "sender": turn["sender"], "labels": [], "level": "none"}
                chosen.append(("turns", row))
    return chosen


def conversations(data: Path, *, aside: bool) -> list[dict[str, Any]]:
    """Whole conversations: the folder's and the project's own to train on, or those that are left out."""
    files = [ASIDE] if aside else [data / "conversations_train.jsonl", *CONVERSATIONS]
    return [row for _, row in read_messages(files)]
