"""What a whole conversation comes to: both speakers, turn by turn, in a state of bounded size.

No single message says that a mentor drifts over a boundary, that an address comes in riddles, or that
somebody goes down bit by bit. `step` adds one message's signals to what was seen before, and says when the
whole of it is a reason for an adult to know. It sees signals, never text: scores of the best classifier that
answered, and what rules and the check for contact details found. A message that no classifier could judge, or
that is in a language which none of them was measured on, washes nothing away.

The score is a logistic one over what the state holds. No weight on evidence is under nought, so that
more of it never lowers the score. Weights and thresholds are data, models/trajectory.toml, written by
`python -m moderation.training.trajectory`.
"""

import binascii
import functools
import hashlib
import itertools
import json
import math
import struct
import tomllib
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from operator import mul
from pathlib import Path

from moderation.language import STAGE as LANGUAGE
from moderation.linear import MODELS, BadModel
from moderation.verdict import (
    LEVEL_LABELS,
    RISK_LABELS,
    TOGETHER_LABELS,
    Action,
    Risk,
    Role,
    Signal,
    Verdict,
)

STAGE = "trajectory"

FILE = MODELS / "trajectory.toml"

CLASSIFIERS = ("transformer", "linear")
"""Stages whose scores count, best first: where one answered, those after it are not heard."""

RUDE = "rude"
"""The highest of the toxicity scores, which are one kind of evidence here."""

EVIDENCE = (*RISK_LABELS, *LEVEL_LABELS, RUDE)
"""What is measured of each message."""

SPEAKERS = (Role.PUPIL, Role.MENTOR)

LINES = ("slow", "fast", "peak")
"""For each speaker and kind of evidence: a slow and a fast moving mean, and the most so far."""

TOGETHER_LINES = ("last", "fast", "peak")
"""For each of `TOGETHER_LABELS`: the newest answer, a moving mean of them, and the most so far."""

COUNTS = (
    "mentor.asks",  # asks directly about suicide, harm or safety
    "mentor.limits",  # says what stays private and what must be shared
    "mentor.helpline",
    "mentor.refuses",  # says no to contact, meeting, details
    "mentor.breach",  # a rule found a broken boundary or worse
    "pupil.worry",  # a rule found a pupil in some trouble
    "pupil.attack",  # a rule found an insult or a threat
    "pupil.reach",  # a rule found probing, secrecy, sexual talk
    "pupil.piece",  # a contact detail, or a part of one
    "course.fetches",
    "course.takes_seriously",
    "course.asks_straight",
    "course.asks_harm",
    "pupil.no_denial",  # asked about harm by the message before, and did not say no
    "course.stops_details",
    "course.deflects",
    "course.objects",
    "course.closer",
    "course.round_the_rules",
    "course.offers",
    "course.low",
    "course.hides",
    "course.probes",
    "course.needles",
    "course.pieces",
)
"""What rules found, counted: each hit is 1, and fades with every turn. Those of course.toml only mark."""

CLEAR = 3_500
"""From here on, of `ONE`, what `TOGETHER_LABELS` name is told; under it, what most evidence is for."""

REACH = 4.0
"""Log-odds of a score of `TOGETHER_LABELS` that count as full evidence, and below nought as none."""

QUIET = 0.05
"""Scores up to this are no evidence: classifiers need not report them."""

ONE = 10_000
"""Numbers of the state are whole: 1.0 is this. So a state that was written and read again is the same."""

VERSION = 2
"""Of the state's form. Count up when what it holds changes: `EVIDENCE`, `COUNTS`, `PATTERNS` and so on."""

MOST = 30_000
"""Where counting stops."""

_EACH = len(EVIDENCE)
_CONCERN = EVIDENCE.index("level:concern")
_SAID: Mapping[str, int] = {
    **{name: at for at, name in enumerate(COUNTS) if name.startswith("course.")},
    "good_practice.direct_question": 0,
    "good_practice.limits": 1,
    "good_practice.helpline": 2,
    "good_practice.refuses": 3,
}
_BREACH, _WORRY, _ATTACK, _REACH, _PIECE = range(4, 9)
_COUNT_OF: Mapping[str, int] = {
    **dict.fromkeys(("harassment", "threat"), _ATTACK),
    **dict.fromkeys(("grooming", "sexual"), _REACH),
    "personal_data": _PIECE,
}


DENIAL = "course.denies"
"""The rule by which a pupil's answer says no."""

_ASKS_HARM, _NO_DENIAL = COUNTS.index("course.asks_harm"), COUNTS.index("pupil.no_denial")
_HIT = tuple(
    MOST if at == _NO_DENIAL else ONE for at in range(len(COUNTS))
)  # that one counts in full at once


@dataclass(frozen=True, slots=True)
class Pattern:
    """A way in which a conversation goes wrong: `about` is whose conduct or need it is."""

    name: str
    about: Role
    evidence: Mapping[Role, tuple[str, ...]]
    counts: tuple[str, ...] = ()
    together: tuple[str, ...] = ()

    @property
    def why(self) -> str:
        return f"{STAGE}.{self.name}"


_TROUBLE = ("self_harm", "eating", "substance", "running_away")
_HURT = ("abuse", "bullied", "exploitation")
_UNKIND = ("harassment", "threat", RUDE)

PATTERNS = (
    Pattern(
        "boundary_drift",
        Role.MENTOR,
        {Role.MENTOR: ("boundary", "personal_data", *_UNKIND), Role.PUPIL: ("boundary",)},
        ("mentor.breach", "course.closer", "course.round_the_rules"),
        ("together:boundary_drift",),
    ),
    Pattern(
        "grooming_by_mentor",
        Role.MENTOR,
        {Role.MENTOR: ("grooming", "sexual")},
        ("course.offers",),
        ("together:grooming_by_mentor",),
    ),
    Pattern(
        "grooming",
        Role.PUPIL,
        {Role.PUPIL: ("grooming", "sexual")},
        ("pupil.reach", "course.probes", "course.deflects"),
        ("together:grooming",),
    ),
    Pattern(
        "going_down",
        Role.PUPIL,
        {Role.PUPIL: _TROUBLE, Role.MENTOR: _TROUBLE},
        (
            "mentor.asks",
            "mentor.helpline",
            "mood",
            "course.low",
            "course.asks_straight",
            "course.asks_harm",
            "pupil.no_denial",
        ),
        ("together:going_down", "together:crisis"),
    ),
    Pattern(
        "disclosure",
        Role.PUPIL,
        {Role.PUPIL: _HURT, Role.MENTOR: _HURT},
        ("pupil.worry", "mentor.limits", "course.hides", "course.takes_seriously"),
        ("together:disclosure",),
    ),
    Pattern(
        "attack",
        Role.PUPIL,
        {Role.PUPIL: _UNKIND},
        ("pupil.attack", "course.needles", "course.objects"),
        ("together:attack",),
    ),
    Pattern("no_denial", Role.PUPIL, {Role.PUPIL: ("self_harm",)}, ("pupil.no_denial",)),
    Pattern(
        "pieces",
        Role.PUPIL,
        {Role.PUPIL: ("personal_data",)},
        ("pupil.piece", "mentor.refuses", "course.pieces", "course.stops_details"),
        ("together:pieces",),
    ),
)
"""Each with what speaks for it. Levels, and `together:risk`, speak for all and name none."""

_AT = {pattern.name: at for at, pattern in enumerate(PATTERNS)}

UNANSWERED = _AT["no_denial"]

UNNAMED = _AT["going_down"]
"""What is told where nothing speaks for any pattern, but levels alone: that blames nobody."""

WHY: Mapping[str, str] = {
    "trajectory.boundary_drift": "Step by step, the mentor leaves what mentors may do.",
    "trajectory.grooming_by_mentor": "Step by step, the mentor comes closer than mentors may.",
    "trajectory.grooming": "Closeness, secrecy or meeting keep coming up in what the pupil writes.",
    "trajectory.going_down": "The pupil is getting worse over the conversation.",
    "trajectory.disclosure": "The pupil is telling, bit by bit, of being hurt or used.",
    "trajectory.attack": "The pupil keeps attacking, the mentor or somebody else.",
    "trajectory.no_denial": "Asked about suicide or being hurt, the pupil did not say no.",
    "trajectory.pieces": "Bit by bit, the pupil has said who or where they are.",
}
"""What each `why` of a signal means, for staff."""

_ZEROS = (0,) * (2 * _EACH)
_APART = (0,) * (len(TOGETHER_LINES) * len(TOGETHER_LABELS))


class UnknownState(ValueError):
    """A stored state is of another version, or none at all; the message says so, and quotes nothing."""


_LENGTHS = (2, len(_ZEROS), len(_ZEROS), len(_ZEROS), len(_APART), len(COUNTS), 1, len(PATTERNS), 1)
_CUTS = tuple((sum(_LENGTHS[:at]), sum(_LENGTHS[: at + 1])) for at in range(len(_LENGTHS)))
_HIGHEST = (MOST, ONE, ONE, ONE, ONE, MOST, ONE, int(Risk.IMMEDIATE), MOST)
_PACKED = struct.Struct(f"<{sum(_LENGTHS)}H")


@dataclass(frozen=True, slots=True)
class State:
    """A conversation up to here: whole numbers of ten-thousandths, of one size however long it is.

    `turns`, `slow`, `fast` and `peak` begin with the pupil's: 17 kinds of evidence a speaker. `told` is the
    risk that was told of each pattern, and `since` the turns since something was told.
    """

    turns: tuple[int, ...] = (0, 0)
    slow: tuple[int, ...] = _ZEROS
    fast: tuple[int, ...] = _ZEROS
    peak: tuple[int, ...] = _ZEROS
    together: tuple[int, ...] = _APART  # each of `TOGETHER_LINES` for each of `TOGETHER_LABELS`
    counts: tuple[int, ...] = (0,) * len(COUNTS)
    mood: int = 0  # how troubled the pupil sounded, over a longer time than `slow`
    told: tuple[int, ...] = (0,) * len(PATTERNS)
    since: int = 0

    def to_json(self) -> str:
        """The state as one short line: a version, and the numbers packed."""
        rows = (
            self.turns,
            self.slow,
            self.fast,
            self.peak,
            self.together,
            self.counts,
            (self.mood,),
            self.told,
        )
        packed = _PACKED.pack(*itertools.chain(*rows), self.since)
        return f'[{VERSION},"{binascii.b2a_base64(packed, newline=False).decode()}"]'

    @staticmethod
    def from_json(text: str) -> "State":
        """The state that `to_json` wrote; `UnknownState` where this version did not write it."""
        try:
            version, packed = json.loads(text)
            if version != VERSION:
                raise UnknownState("a state of another version")
            numbers = _PACKED.unpack(binascii.a2b_base64(packed, strict_mode=True))
        except (TypeError, ValueError, RecursionError, struct.error) as error:
            if isinstance(error, UnknownState):
                raise
            raise UnknownState("not a state") from None
        cut = [numbers[first:last] for first, last in _CUTS]
        for values, most in zip(cut, _HIGHEST, strict=True):
            if max(values) > most:
                raise UnknownState("not a state")
        turns, slow, fast, peak, together, counts, mood, told, since = cut
        return State(turns, slow, fast, peak, together, counts, mood[0], told, since[0])

    def unsettled(self, score: float) -> bool:
        """Whether the last message that was read with the turns before it showed this much, or more."""
        return self.together[0] >= _likelihood(score)

    def untold(self) -> "State":
        """The same, as if nothing had been told of it yet."""
        return replace(self, told=(0,) * len(PATTERNS), since=0)


def resumed(text: str | None) -> tuple[State, bool]:
    """A stored state and whether it could be read. One of another version is begun anew; so is None."""
    if text is None:
        return State(), True
    try:
        return State.from_json(text), True
    except UnknownState:
        return State(), False


# --- weights ------------------------------------------------------------------------------------------

FEATURES = (
    *(f"{who.value}.{line}.{kind}" for line in LINES for who in SPEAKERS for kind in EVIDENCE),
    *(f"{line}.{kind}" for line in TOGETHER_LINES for kind in TOGETHER_LABELS),
    *COUNTS,
    "mood",
)
"""What the score is made of, in the order of `features`."""


@dataclass(frozen=True)
class Weights:
    """The data of a fold: see models/trajectory.toml. Thresholds are log-odds."""

    weights: tuple[float, ...]  # one a feature, for values from 0 to 1; none is negative
    bias: float
    concern: float
    high: float
    calmed: float  # under this what was told may be told anew
    again: int = 24  # turns after which what goes on is told again
    slow: int = 100  # thousandths of the way to the newest message, at each
    fast: int = 500
    mood: int = 40
    keep: int = 930  # thousandths of a count that are left at the next turn
    cleared: int = 300  # thousandths of a mentor's scores that count where a rule knows the message as good
    cuts: tuple[tuple[float, ...], ...] = field(init=False, compare=False)  # by `slow`, `fast`, `peak`, rest

    def __post_init__(self) -> None:
        each = len(_ZEROS)
        scaled = tuple(weight / ONE for weight in self.weights)
        cuts = (scaled[:each], scaled[each : 2 * each], scaled[2 * each : 3 * each], scaled[3 * each :])
        object.__setattr__(self, "cuts", cuts)

    def odds(self, state: "State") -> float:
        """Log-odds that an adult should know."""
        slow, fast, peak, rest = self.cuts
        odds = self.bias
        odds += sum(map(mul, slow, state.slow)) + sum(map(mul, fast, state.fast))
        odds += sum(map(mul, peak, state.peak)) + sum(map(mul, rest, _rest(state)))
        return float(odds)


def _mask(pattern: Pattern) -> tuple[bool, ...]:
    own = {
        f"{who.value}.{line}.{kind}"
        for who, kinds in pattern.evidence.items()
        for line in LINES
        for kind in kinds
    }
    own |= {f"{line}.{kind}" for line in TOGETHER_LINES for kind in pattern.together} | set(pattern.counts)
    return tuple(name in own for name in FEATURES)


_MASKS = tuple(_mask(pattern) for pattern in PATTERNS)


def _rest(state: State) -> tuple[int, ...]:
    falling = max(state.fast[_CONCERN], state.slow[_CONCERN]) - state.mood
    return *state.together, *(min(ONE, count // 3) for count in state.counts), max(0, falling)


def features(state: State) -> tuple[float, ...]:
    """What the score is made of, each from 0 to 1; counts over three are three thirds."""
    return tuple(value / ONE for value in (*state.slow, *state.fast, *state.peak, *_rest(state)))


def load_weights(file: Path = FILE) -> Weights:
    """Read a fold's data and check it against its hash; `BadModel` where anything is not as it should be."""
    try:
        head, _, body = file.read_text(encoding="utf-8").partition("\n")
        data = tomllib.loads(body)
        named = tomllib.loads(head).get("sha256")
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadModel(f"{file} cannot be read: {error}") from None
    if hashlib.sha256(body.encode()).hexdigest() != named:
        raise BadModel(f"{file} is not what its first line names")
    try:
        by_name = {str(name): float(value) for name, value in data["weights"].items()}
        rates = {name: int(value) for name, value in data["fold"].items()}
        levels = {name: float(value) for name, value in data["levels"].items()}
        if not set(by_name) <= set(FEATURES) or not all(
            math.isfinite(value) and value >= 0 for value in by_name.values()
        ):
            raise ValueError("weights")
        if not all(0 < value <= 1_000 for value in rates.values()):
            raise ValueError("rates")
        if not all(map(math.isfinite, levels.values())) or not levels["concern"] <= levels["high"]:
            raise ValueError("levels")
        return Weights(tuple(by_name.get(name, 0.0) for name in FEATURES), **levels, **rates)  # type: ignore[arg-type]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadModel(f"{file}: {type(error).__name__} in its numbers") from None


def save_weights(weights: Weights, about: Sequence[str], file: Path = FILE) -> None:
    """Write what `load_weights` reads, with comments about it; weights that change nothing are left out."""
    lines = [f"# {line}" for line in about]
    lines += ["", "[fold]"]
    rates = ("slow", "fast", "mood", "keep", "cleared", "again")
    lines += [f"{name} = {getattr(weights, name)}" for name in rates]
    lines += ["", "[levels]  # log-odds"]
    lines += [f"{name} = {getattr(weights, name):.4f}" for name in ("bias", "concern", "high", "calmed")]
    lines += ["", "[weights]"]
    lines += [
        f'"{name}" = {weight:.3f}'
        for name, weight in zip(FEATURES, weights.weights, strict=True)
        if weight >= 0.0005
    ]
    body = "\n".join(lines) + "\n"
    file.write_text(f'sha256 = "{hashlib.sha256(body.encode()).hexdigest()}"\n{body}', encoding="utf-8")


@functools.cache
def shipped_weights() -> Weights:
    """The data that comes with the project."""
    return load_weights()


# --- the fold -----------------------------------------------------------------------------------------


def step(
    state: State,
    role: Role,
    signals: Sequence[Signal],
    degraded: Iterable[str],
    weights: Weights | None = None,
) -> tuple[State, tuple[Signal, ...]]:
    """The state after one more message, and what the conversation up to it is a reason for: often nothing.

    `signals` are what the other stages saw of the message, `degraded` the stages that gave no answer. Pure.
    Words of trained staff change nothing.
    """
    if role not in SPEAKERS:
        return state, ()
    known = weights or shipped_weights()
    after = observed(state, role, signals, degraded, known)
    odds = known.odds(after)
    unanswered = after.counts[_NO_DENIAL] == MOST  # just now: this needs no weight to be told
    if unanswered:
        odds = max(odds, known.concern)
    if odds < known.calmed:
        return (after.untold() if any(after.told) else after), ()
    risk = Risk.HIGH if odds >= known.high else Risk.CONCERN if odds >= known.concern else Risk.NONE
    if risk is Risk.NONE:
        return after, ()
    found = tuple(map(mul, known.weights, features(after)))
    shares = [sum(itertools.compress(found, mask)) for mask in _MASKS]
    named = [_named(pattern, after) for pattern in PATTERNS]
    if max(named) >= CLEAR:
        at = max(range(len(PATTERNS)), key=lambda place: named[place])
    else:
        at = max(range(len(PATTERNS)), key=lambda place: shares[place]) if any(shares) else UNNAMED
    if unanswered:
        at = UNANSWERED
    pattern = PATTERNS[at]
    if after.told[at] >= risk and after.since < known.again:
        return after, ()
    if pattern.about is not role and any(one.risk is not Risk.NONE and one.stage != STAGE for one in signals):
        return after, ()  # this message alarms about its own sender: one thing at a time, the other next
    told = (*after.told[:at], max(int(risk), after.told[at]), *after.told[at + 1 :])
    signal = Signal(
        label=_label(pattern, after),
        score=1 / (1 + math.exp(-max(-30.0, min(30.0, odds)))),
        stage=STAGE,
        why=pattern.why,
        risk=risk,
    )
    return replace(after, told=told, since=0), (signal,)


def begun_with(note: Verdict) -> State:
    """The state of a conversation that begins with a pupil's note: judged by itself, and told by itself."""
    return step(State(), Role.PUPIL, note.signals, note.degraded)[0].untold()


def about(why: str) -> Role | None:
    """Whose conduct or need a signal's pattern is about; None for another stage's signal."""
    return _ABOUT.get(why)


_ABOUT = {pattern.why: pattern.about for pattern in PATTERNS}


def observed(
    state: State, role: Role, signals: Sequence[Signal], degraded: Iterable[str], weights: Weights
) -> State:
    """The state with one more message in it, before anything is decided."""
    first = SPEAKERS.index(role) * _EACH
    last = first + _EACH
    hits, cleared = _hits(role, signals, asked=state.counts[_ASKS_HARM] >= ONE)
    keep = weights.keep
    counts = tuple(
        min(MOST, count * keep // 1_000 + (_HIT[at] if at in hits else 0))
        for at, count in enumerate(state.counts)
    )
    slow, fast, peak, mood = state.slow, state.fast, state.peak, state.mood
    missing = frozenset(degraded)
    seen = _evidence(signals, missing)
    if seen is not None:
        if cleared:
            seen = [value * weights.cleared // 1_000 for value in seen]
        slow = (*slow[:first], *_towards(slow[first:last], seen, weights.slow), *slow[last:])
        fast = (*fast[:first], *_towards(fast[first:last], seen, weights.fast), *fast[last:])
        peak = (*peak[:first], *map(max, peak[first:last], seen), *peak[last:])
        if role is Role.PUPIL:
            mood += (seen[_CONCERN] - mood) * weights.mood // 1_000
    together = state.together if LANGUAGE in missing else _together(state.together, signals, weights.fast)
    own = SPEAKERS.index(role)
    turns = (min(MOST, state.turns[0] + (own == 0)), min(MOST, state.turns[1] + (own == 1)))
    since = min(MOST, state.since + 1)
    return State(turns, slow, fast, peak, together, counts, max(0, mood), state.told, since)


def _together(before: tuple[int, ...], signals: Sequence[Signal], rate: int) -> tuple[int, ...]:
    """The lines of what messages show together; a message that was not read so leaves them as they are.

    So does one that a rule holds as an insult and nothing worse: it is a moderator's, and counted by itself.
    An adult is told when insults go on, not of the first.
    """
    if any(_insult(one) for one in signals):
        return before
    scores = {one.label: one.score for one in signals if one.label in TOGETHER_LABELS}
    if not scores:
        return before
    seen = [_likelihood(scores.get(label, 0.0)) for label in TOGETHER_LABELS]
    each = len(TOGETHER_LABELS)
    fast, peak = before[each : 2 * each], before[2 * each :]
    return (*seen, *_towards(fast, seen, rate), *map(max, peak, seen))


def _insult(signal: Signal) -> bool:
    return signal.label.startswith("toxicity:") and signal.action is not Action.DELIVER and not signal.risk


def _towards(line: Sequence[int], seen: Sequence[int], rate: int) -> list[int]:
    return [value + (new - value) * rate // 1_000 for value, new in zip(line, seen, strict=True)]


def _hits(role: Role, signals: Sequence[Signal], asked: bool) -> tuple[set[int], bool]:
    """Which counts go up, and whether a mentor's message is known as good and nothing else.

    `asked`: the message before this asked about harm.
    """
    hits: set[int] = set()
    cleared = certain = denied = False
    for one in signals:
        if one.stage in CLASSIFIERS or one.stage == STAGE:
            continue
        denied = denied or one.why == DENIAL
        if one.why in _SAID:
            hits.add(_SAID[one.why])
        if one.clears:
            cleared = True
        elif one.risk is not Risk.NONE or one.action:
            certain = True
            if role is Role.MENTOR:
                hits.add(_BREACH)
            else:
                hits.add(_COUNT_OF.get(one.label, _ATTACK if one.label not in RISK_LABELS else _WORRY))
    if asked and not denied and role is Role.PUPIL:
        hits.add(_NO_DENIAL)
    return hits, cleared and not certain and role is Role.MENTOR


def _evidence(signals: Sequence[Signal], missing: Set[str]) -> list[int] | None:
    """What the best classifier that answered says, one value for each of `EVIDENCE`.

    None where none did, or where they were asked about a language that they cannot judge: what they answer
    then is next to nothing, and that it is so says nothing.
    """
    if LANGUAGE in missing:
        return None
    for stage in CLASSIFIERS:
        scores: dict[str, float] = {}
        for one in signals:
            if one.stage == stage:
                kind = RUDE if one.label.startswith("toxicity:") else one.label
                scores[kind] = max(scores.get(kind, 0.0), one.score)
        if scores:
            return [_amount(scores.get(kind, 0.0)) for kind in EVIDENCE]
    return None if missing & set(CLASSIFIERS) else [0] * _EACH


def _amount(score: float) -> int:
    """A score as evidence: a small one counts for something, for many small ones are what gathers."""
    return int(math.sqrt(max(0.0, score - QUIET) / (1 - QUIET)) * ONE)


def _named(pattern: Pattern, state: State) -> int:
    """How much messages with the turns before them speak for a pattern, of late."""
    first = len(TOGETHER_LABELS)  # of the line "fast"
    return max((state.together[first + TOGETHER_LABELS.index(one)] for one in pattern.together), default=0)


def _likelihood(score: float) -> int:
    """A calibrated score as evidence: its log-odds, for that is what adds up."""
    odds = math.log(max(score, 1e-6) / max(1 - score, 1e-6))
    return int(min(1.0, max(0.0, (odds + REACH) / (2 * REACH))) * ONE)


def _label(pattern: Pattern, state: State) -> str:
    """The likeliest topic of those that speak for a pattern, in what its own speakers wrote."""
    best, most = "", -1
    for who, kinds in pattern.evidence.items():
        first = SPEAKERS.index(who) * _EACH
        for kind in kinds:
            at = EVIDENCE.index(kind)
            value = max(state.slow[first + at], state.fast[first + at])
            if kind in RISK_LABELS and value > most:
                best, most = kind, value
    return best
