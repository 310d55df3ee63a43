"""Reading the data folder. Rows keep the order of the file; an unusable file stops the run with its name."""

import gzip
import hashlib
import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LEVELS = ("none", "concern", "high", "critical")
NOTES = ("DIR", "IND", "OBF", "HN", "plain")

JIGSAW = {
    "toxicity": "toxic",
    "severe_toxicity": "severe_toxic",
    "obscene": "obscene",
    "threat": "threat",
    "insult": "insult",
    "identity_attack": "identity_hate",
}
"""Detoxify's words for the labels, to the file's."""

DIALECT = Path(__file__).parent / "dialect.toml"


class BadData(ValueError):
    """A data file cannot be used; the message names it, and quotes nothing of it."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message by itself, and what its writer meant by it."""

    text: str
    sender: str
    labels: frozenset[str]
    level: str
    notes: frozenset[str]  # of NOTES

    @property
    def benign(self) -> bool:
        return self.level == "none"


@dataclass(frozen=True, slots=True)
class Talk:
    """A conversation, and from which turn on an adult would want to know; None: never."""

    kind: str
    turns: tuple[tuple[str, str], ...]  # sender and text
    alert_from_turn: int | None


@dataclass(frozen=True, slots=True)
class Comment:
    """A row of a public set: for each label whether it applies, None where nobody said."""

    text: str
    labels: dict[str, bool | None]
    function: str = ""  # HateCheck's functional test

    @property
    def toxic(self) -> bool:
        return bool(self.labels.get("toxicity"))


@dataclass(frozen=True, slots=True)
class File:
    """What was read."""

    name: str
    rows: int
    sha256: str  # of the file, its first 16 digits


@dataclass(frozen=True, slots=True)
class Data:
    """All that is measured on. What was not there is empty, and the report says so."""

    messages: Sequence[Message]
    talks: Sequence[Talk]
    jigsaw: Sequence[Comment]
    hatecheck: Sequence[Comment]
    varieties: dict[str, Sequence[str]]
    files: Sequence[File]
    missing: Sequence[str]


def load(data: Path, *, messages: Path | None = None, conversations: Path | None = None) -> Data:
    """Read the folder; `messages` and `conversations` stand in for its own files. May raise `BadData`."""
    files: list[File] = []
    missing: list[str] = []

    def rows(file: Path, needed: bool) -> list[dict[str, Any]]:
        if not file.is_file() and not needed:
            missing.append(file.name)
            return []
        found, digest = _rows(file)
        files.append(File(file.name, len(found), digest))
        return found

    said = rows(messages or data / "risk" / "messages_dev.jsonl", needed=True)
    talks = rows(conversations or data / "conversations_dev.jsonl", needed=conversations is not None)
    jigsaw = rows(data / "toxicity" / "jigsaw_test_a.jsonl.gz", needed=False)
    hatecheck = rows(data / "toxicity" / "hatecheck.jsonl.gz", needed=False)
    varieties = tomllib.loads(DIALECT.read_text(encoding="utf-8"))["variety"]
    try:
        return Data(
            [_message(row) for row in said],
            [_talk(row) for row in talks],
            [_comment(row) for row in jigsaw],
            [_comment(row) for row in hatecheck],
            {variety["name"]: variety["messages"] for variety in varieties},
            files,
            missing,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadData(f"a row lacks what it should have, or has something else: {error!r}") from None


def _rows(file: Path) -> tuple[list[dict[str, Any]], str]:
    try:
        raw = file.read_bytes()
        text = (gzip.decompress(raw) if file.suffix == ".gz" else raw).decode("utf-8")
        found = [json.loads(line) for line in text.splitlines() if line.strip()]
    except (OSError, EOFError, ValueError) as error:
        raise BadData(f"{file}: cannot be read: {type(error).__name__}") from None
    return found, hashlib.sha256(raw).hexdigest()[:16]


def _message(row: dict[str, Any]) -> Message:
    if row["level"] not in LEVELS:
        raise ValueError(row["level"])
    notes = frozenset(row["note"].partition(":")[0].split("+")) & frozenset(NOTES)
    return Message(row["text"], row["sender"], frozenset(row["labels"]), row["level"], notes)


def _talk(row: dict[str, Any]) -> Talk:
    turns = tuple((turn["sender"], turn["text"]) for turn in row["turns"])
    return Talk(row["kind"], turns, row["alert_from_turn"])


def _comment(row: dict[str, Any]) -> Comment:
    given = row["labels"]
    labels = {
        ours: None if given.get(theirs) is None else bool(given[theirs]) for ours, theirs in JIGSAW.items()
    }
    return Comment(row["text"], labels, row.get("func", ""))
