"""What the second tier learns of conversations from: messages behind the turns before them.

Each is a submission as the chat would make it, with a target for each of `TOGETHER_LABELS`: whether a
careful adult would want to know by now, and of what. Some are turns of whole conversations, some are single
messages put behind a stretch of a harmless conversation: alarming ones, so that what came before never
covers them, and as many that only look alarming, so that the change of subject is no sign by itself.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moderation.training.own import Message
from moderation.verdict import TOGETHER_LABELS, Role, Submission, Turn

RECENT = 12
"""Earlier turns given along; more do not fit into what the model reads."""

FAINT = 2
"""Turns before `alert_from_turn` of which nobody can say whether an adult would want to know."""

SPLICED_TURNS = 8
"""Turns of a harmless conversation before a message that was put there, at most."""

KINDS: Mapping[str, str] = {
    "boundary_drift": "together:boundary_drift",
    "gradual_grooming_by_mentor": "together:grooming_by_mentor",
    "gradual_grooming_by_pupil_impostor": "together:grooming",
    "gradual_self_harm": "together:going_down",
    "abuse_disclosure": "together:disclosure",
    "bullying_of_mentor": "together:attack",
    "crisis_now": "together:crisis",
    "split_personal_data": "together:pieces",
}
"""The label for each kind of conversation in the data."""

Conversation = Mapping[str, Any]
_Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Window:
    """A message with the turns before it, and what it shows: one number for each of `TOGETHER_LABELS`."""

    submission: Submission
    targets: tuple[float, ...]  # NaN where nobody can say


def turns_of(conversation: Conversation) -> list[Submission]:
    """Each turn as the chat would submit it."""
    said: list[Turn] = []
    found = []
    for turn in conversation["turns"]:
        role = Role(turn["sender"])
        found.append(Submission(text=turn["text"], role=role, recent=tuple(said[-RECENT:])))
        said.append(Turn(role=role, text=turn["text"]))
    return found


def targets_of(conversation: Conversation) -> list[tuple[float, ...]]:
    """What each turn shows beside those before it."""
    alert = conversation["alert_from_turn"]
    named = TOGETHER_LABELS.index(KINDS[conversation["kind"]]) if alert is not None else -1
    found = []
    for at in range(len(conversation["turns"])):
        row = [0.0] * len(TOGETHER_LABELS)
        if alert is not None and at >= alert:
            row[0] = row[named] = 1.0
        elif alert is not None and at >= alert - FAINT:
            row[0] = row[named] = float("nan")
        found.append(tuple(row))
    return found


def windows_of(conversation: Conversation) -> list[Window]:
    """Each turn of one conversation."""
    pairs = zip(turns_of(conversation), targets_of(conversation), strict=True)
    return [Window(submission, targets) for submission, targets in pairs]


def some_of(conversation: Conversation, many: int, chance: random.Random) -> list[Window]:
    """So many turns of one conversation: of a risky one as many from where it alarms as before it."""
    found = windows_of(conversation)
    alert = conversation["alert_from_turn"]
    if alert is None:
        return chance.sample(found, min(many, len(found)))
    before, after = found[:alert], found[alert:]
    half = (many + 1) // 2
    return chance.sample(after, min(half, len(after))) + chance.sample(before, min(many - half, len(before)))


def spliced(
    messages: Sequence[Message], harmless: Sequence[Conversation], many: int, chance: random.Random
) -> list[Window]:
    """Single messages behind harmless turns: half of them high or critical, half with no risk at all."""
    alarming = [row for _, row in messages if row["level"] in ("high", "critical")]
    others = [row for _, row in messages if row["level"] == "none"]
    unsaid = (float("nan"),) * (len(TOGETHER_LABELS) - 1)
    found = []
    for rows, targets in (
        (alarming, (1.0, *unsaid)),
        (others, (0.0,) * len(TOGETHER_LABELS)),
    ):
        for row in chance.sample(rows, min(many // 2, len(rows))):
            role = Role(row["sender"])
            found.append(
                Window(
                    Submission(text=row["text"], role=role, recent=_before(role, harmless, chance)), targets
                )
            )
    return found


def _before(role: Role, harmless: Sequence[Conversation], chance: random.Random) -> tuple[Turn, ...]:
    """A stretch of a harmless conversation, mostly ending where the other one spoke."""
    turns = chance.choice(harmless)["turns"]
    last = chance.randrange(1, len(turns))
    if turns[last - 1]["sender"] == role.value and chance.random() < 0.8:
        last -= 1
    first = max(0, last - chance.randint(1, SPLICED_TURNS))
    return tuple(Turn(role=Role(turn["sender"]), text=turn["text"]) for turn in turns[first:last])


def targets(windows: Sequence[Window]) -> _Floats:
    """What some windows show, (windows, labels)."""
    return np.array([window.targets for window in windows], np.float64).reshape(-1, len(TOGETHER_LABELS))
