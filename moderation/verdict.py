"""The words of moderation: what is judged, what was seen in it, and what follows.

Everything here is a frozen value. A `Verdict` has two axes on purpose: `Action` is what happens to the
message, `Risk` is what the person may need. "i want to die" must never be answered by silence.
"""

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from moderation.trajectory import State

RISK_LABELS = (
    "self_harm",
    "abuse",
    "grooming",
    "sexual",
    "harassment",
    "threat",
    "bullied",
    "eating",
    "substance",
    "exploitation",
    "running_away",
    "personal_data",
    "boundary",
)
"""The 13 labels of what a conversation may be about, in the order reports list them."""

TOXICITY_LABELS = ("toxicity", "severe_toxicity", "obscene", "threat", "insult", "identity_attack")
"""Detoxify's six; in a `Signal` they are written "toxicity:insult", for `threat` stands in both lists."""

LEVEL_LABELS = ("level:concern", "level:high", "level:immediate")
"""How much a message asks for, whatever it is about: a classifier's chance of "at least this much"."""

TOGETHER_LABELS = (
    "together:risk",
    "together:boundary_drift",
    "together:grooming_by_mentor",
    "together:grooming",
    "together:going_down",
    "together:disclosure",
    "together:attack",
    "together:crisis",
    "together:pieces",
)
"""What a message shows beside the turns before it: that an adult would want to know by now, and why.

Evidence for the fold over a conversation (trajectory.py), never for the message itself.
"""


class Role(enum.StrEnum):
    """Who speaks, as far as moderation needs to know it."""

    PUPIL = "pupil"
    MENTOR = "mentor"
    MODERATOR = "moderator"
    ADULT = "adult"
    COORDINATOR = "coordinator"


class Action(enum.IntEnum):
    """What happens to the message; a greater value is the stricter one."""

    DELIVER = 0
    HOLD = 1
    BLOCK = 2

    @property
    def word(self) -> str:
        return self.name.lower()


class Risk(enum.IntEnum):
    """What the person may need; a greater value is the more urgent one."""

    NONE = 0
    CONCERN = 1
    HIGH = 2
    IMMEDIATE = 3

    @property
    def word(self) -> str:
        return self.name.lower()


class Span(NamedTuple):
    """Half-open range of code points in the text as it was written."""

    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """An earlier message of the same conversation, whatever became of it."""

    role: Role
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """All that moderation sees of one message."""

    text: str  # NFC, 1 to 2,000 code points
    role: Role
    sender: str = ""  # opaque; tells two pupils of a group apart
    recent: tuple[Turn, ...] = ()  # oldest first, bounded by the caller
    so_far: "State | None" = None  # the conversation before this; None: a message by itself
    conversation: str = (
        ""  # opaque; those of one in a batch are taken one after the other, each after the last
    )
    site: str = ""  # opaque; where policy may have something otherwise for it
    room: str = ""  # the kind of room, likewise


class Signal(NamedTuple):
    """One observation by one stage."""

    label: str  # one of RISK_LABELS, LEVEL_LABELS, TOGETHER_LABELS; or "toxicity:" and a TOXICITY_LABELS
    score: float  # 0 to 1; a rule's is 1.0
    stage: str
    why: str  # the rule's id or the classifier's name: never text of the message
    span: Span | None = None
    risk: Risk = Risk.NONE  # the least that this alone asks for; a classifier leaves it to policy
    action: Action = Action.DELIVER  # likewise
    clears: bool = False  # a rule knows this as good: then scores alone raise nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What follows from the signals, and why. `degraded` names the stages that gave no answer."""

    action: Action
    risk: Risk
    reason: str = ""  # a stable word for the sender: "" when delivered; see policy.py
    labels: tuple[str, ...] = ()  # what raised the risk or the action, strongest first
    signals: tuple[Signal, ...] = ()
    degraded: frozenset[str] = field(default_factory=frozenset)
    so_far: "State | None" = None  # the conversation with this message; None where it was one by itself
    about: Role | None = None  # whose risk it is, where the sender's own words carry none
    counted: Risk = Risk.NONE  # what scores alone ask for and the conversation only counts: told by its end
    policy_version: str
