"""From signals to a verdict: one pure function, and thresholds that are data.

The order in which it decides, which is the policy:

1. Trained staff (adults, moderators, coordinators) are delivered: a human decision supersedes the machine's.
2. Risk is the greatest that any rule asks for, or that a classifier's score reaches by its thresholds. What
   a rule settles as an insult or a phone number is not risk because a classifier finds it alarming, nor is
   what a rule knows as good.
3. Action is the strictest that any signal asks for; a score alone holds only what is aimed at somebody.
4. High or immediate risk holds the message until an adult has looked, whatever else it is; the sender reads
   `adult_first`, never a reproach. Concern is delivered, unless something else holds it, and never blocked.
5. A stage that gave no answer holds what would have been delivered.
"""

import enum
import hashlib
import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from moderation.text import fold
from moderation.verdict import (
    LEVEL_LABELS,
    RISK_LABELS,
    TOXICITY_LABELS,
    Action,
    Risk,
    Role,
    Signal,
    Submission,
    Verdict,
)

POLICY = Path(__file__).parent / "policy.toml"

STAFF = frozenset({Role.ADULT, Role.MODERATOR, Role.COORDINATOR})


class Reason(enum.StrEnum):
    """Why a message waits or was not sent: stable words that clients may rely on."""

    UNKIND = "unkind"
    PERSONAL = "personal"
    UNSAFE = "unsafe"
    ADULT_FIRST = "adult_first"
    CHECK_FAILED = "check_failed"


_EXPLAINED: Mapping[str, str] = {
    Reason.UNKIND: "Some of these words could hurt. A moderator is looking at it first. You can change it and"
    " send it again.",
    Reason.PERSONAL: "There's something in it that could show who or where somebody is. We leave that out so"
    " nobody can find you outside this chat. Take it out, and you can send the rest.",
    Reason.UNSAFE: "Something in it might put somebody at risk. An adult is looking at it first. You can keep"
    " writing.",
    Reason.ADULT_FIRST: "An adult is looking at this first. You did nothing wrong by writing it. You can keep"
    " writing.",
    Reason.CHECK_FAILED: "We couldn't check this one the usual way, so a person will look at it. It's nothing"
    " you did. You can keep writing.",
}


def explain(reason: str) -> str:
    """What a sender is told for a reason, in plain words; an empty string for no reason or another's."""
    return _EXPLAINED.get(reason, "")


class BadPolicy(ValueError):
    """A policy file cannot be used; the message begins with file and line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """From which score on a label means something. None: by itself it never does."""

    named: float | None = None  # it is named among the labels, when something else raised risk or action
    concern: float | None = None
    high: float | None = None
    immediate: float | None = None
    hold: float | None = None

    def risk(self, score: float) -> Risk:
        """The greatest risk that the score reaches."""
        for least, risk in (
            (self.immediate, Risk.IMMEDIATE),
            (self.high, Risk.HIGH),
            (self.concern, Risk.CONCERN),
        ):
            if least is not None and score >= least:
                return risk
        return Risk.NONE

    def action(self, score: float) -> Action:
        """Whether the score alone holds the message."""
        return Action.HOLD if self.hold is not None and score >= self.hold else Action.DELIVER


@dataclass(frozen=True, slots=True)
class _Seen:
    """What one signal comes to under the policy."""

    signal: Signal
    risk: Risk
    action: Action
    certain: bool  # from a rule, not from a score

    @property
    def strength(self) -> tuple[int, int, int, float]:
        return self.risk, self.action, self.certain, self.signal.score


@dataclass(frozen=True)
class Policy:
    """Thresholds by stage and label, and the words for senders; see `decide`."""

    version: str
    thresholds: Mapping[str, Mapping[str, Threshold]]  # stage, or stage and role ("linear.mentor"), to labels
    reasons: Mapping[str, Reason]
    settled: frozenset[str] = field(default_factory=frozenset)  # labels that a rule settles: no risk in them
    mistaken: frozenset[str] = field(default_factory=frozenset)  # what a classifier takes those for
    told: frozenset[str] = field(default_factory=frozenset)  # topics that people tell of, rather than do
    aimed: frozenset[str] = field(default_factory=frozenset)  # words that show that somebody is meant
    aimed_unless: float = 1.0  # from this score on a text is held, whether or not they stand in it

    def decide(self, submission: Submission, signals: Sequence[Signal], degraded: frozenset[str]) -> Verdict:
        """The verdict on a message, given what every stage saw and which gave no answer."""
        if submission.role in STAFF:
            return Verdict(
                action=Action.DELIVER,
                risk=Risk.NONE,
                signals=_ordered(signals),
                degraded=degraded,
                policy_version=self.version,
            )
        seen = self._without_false_alarms([self._weigh(signal, submission.role) for signal in signals])
        seen = self._without_false_holds(seen, submission)
        risk = max((one.risk for one in seen), default=Risk.NONE)
        action = max((one.action for one in seen), default=Action.DELIVER)
        reason = ""
        if risk >= Risk.HIGH:
            action, reason = Action.HOLD, Reason.ADULT_FIRST.value
        elif action is not Action.DELIVER:
            reason = self._reason(seen, action)
            if risk is not Risk.NONE:
                action = Action.HOLD
        elif degraded:
            action, reason = Action.HOLD, Reason.CHECK_FAILED.value
        return Verdict(
            action=action,
            risk=risk,
            reason=reason,
            labels=self._labels(seen, submission.role),
            signals=_ordered(signals),
            degraded=degraded,
            policy_version=self.version,
        )

    def threshold(self, stage: str, label: str, role: Role) -> Threshold | None:
        """What a stage's score for a label means when `role` speaks."""
        own = self.thresholds.get(f"{stage}.{role.value}", {}).get(label)
        return own or self.thresholds.get(stage, {}).get(label)

    def _weigh(self, signal: Signal, role: Role) -> _Seen:
        threshold = self.threshold(signal.stage, signal.label, role)
        certain = signal.risk is not Risk.NONE or signal.action is not Action.DELIVER
        if threshold is None:
            return _Seen(signal, signal.risk, signal.action, certain)
        return _Seen(
            signal,
            max(signal.risk, threshold.risk(signal.score)),
            max(signal.action, threshold.action(signal.score)),
            certain,
        )

    def _without_false_alarms(self, seen: Sequence[_Seen]) -> Sequence[_Seen]:
        """Where rules settle what a text is, a classifier must be sure, and of something else.

        Where they know it as good, and no other rule asks for anything, no score is heard at all.
        """
        known = [one for one in seen if one.certain]
        if not known and any(one.signal.clears for one in seen):
            return [_Seen(one.signal, Risk.NONE, Action.DELIVER, one.certain) for one in seen]
        settled = any(one.signal.label in self.settled for one in known)
        if not settled or any(one.risk is not Risk.NONE for one in known):
            return seen
        strongest = _strongest_topic(seen)
        return [
            one
            if one.certain or (one.risk >= Risk.HIGH and strongest not in self.mistaken)
            else _Seen(one.signal, Risk.NONE, one.action, one.certain)
            for one in seen
        ]

    def _without_false_holds(self, seen: Sequence[_Seen], submission: Submission) -> Sequence[_Seen]:
        """A score holds a text only where somebody is meant by it: not for swearing at the rain or oneself.

        A topic holds it only as the likeliest one, and nothing does where a rule finds risk or the likeliest
        topic is one that people tell of: who repeats what they are called is no bully.
        """
        holding = [one for one in seen if one.action is not Action.DELIVER and not one.certain]
        if not holding:
            return seen
        strongest = _strongest_topic(seen)
        told = self._told(seen, submission.role) or any(
            one.certain and one.risk is not Risk.NONE for one in seen
        )
        aimed = not told and not self.aimed.isdisjoint(fold(submission.text).text.split(" "))
        return [
            one
            if one not in holding
            or (one.signal.label == strongest and aimed)
            or (one.signal.label not in RISK_LABELS and (aimed or one.signal.score >= self.aimed_unless))
            else _Seen(one.signal, one.risk, Action.DELIVER, one.certain)
            for one in seen
        ]

    def _told(self, seen: Sequence[_Seen], role: Role) -> bool:
        """Whether the likeliest topic is one that people tell of, and likely enough to be named."""
        strongest = _strongest_topic(seen)
        if strongest not in self.told:
            return False
        for one in seen:
            threshold = self.threshold(one.signal.stage, strongest, role)
            least = threshold.named if threshold else None
            if one.signal.label == strongest and least is not None and one.signal.score >= least:
                return True
        return False

    def _reason(self, seen: Sequence[_Seen], action: Action) -> str:
        """The word for the sender: from the strictest signal, rules before scores."""
        asking = [one for one in seen if one.action is action]
        first = max(asking, key=lambda one: (one.certain, one.signal.score))
        return self.reasons.get(first.signal.label, Reason.UNSAFE).value

    def _labels(self, seen: Sequence[_Seen], role: Role) -> tuple[str, ...]:
        """What raised risk or action, strongest first; a level without a topic takes the likeliest one."""
        counted = [one for one in seen if one.risk is not Risk.NONE or one.action is not Action.DELIVER]
        if not counted:
            return ()
        topics = [one for one in seen if one.signal.label not in LEVEL_LABELS]
        for one in topics:
            threshold = self.threshold(one.signal.stage, one.signal.label, role)
            named_from = threshold.named if threshold else None
            if one not in counted and named_from is not None and one.signal.score >= named_from:
                counted.append(one)
        named = [one for one in counted if one.signal.label not in LEVEL_LABELS]
        if not any(one.signal.label in RISK_LABELS for one in named) and len(named) < len(counted):
            likely = [one for one in topics if one.signal.label in RISK_LABELS]
            named += sorted(likely, key=lambda one: -one.signal.score)[:1]
        ordered = sorted(named, key=lambda one: one.strength, reverse=True)
        return tuple(dict.fromkeys(one.signal.label for one in ordered))


def _strongest_topic(seen: Sequence[_Seen]) -> str:
    """The risk label that a classifier finds likeliest; an empty string where there is none."""
    scores: dict[str, float] = {}
    for one in seen:
        if one.signal.label in RISK_LABELS and not one.certain:
            scores[one.signal.label] = max(scores.get(one.signal.label, 0.0), one.signal.score)
    return max(scores, key=lambda label: scores[label], default="")


def _ordered(signals: Sequence[Signal]) -> tuple[Signal, ...]:
    return tuple(sorted(signals, key=lambda one: (-one.risk, -one.action, -one.score, one.stage, one.label)))


# --- reading a policy file ----------------------------------------------------------------------------

_KNOWN = (*RISK_LABELS, *LEVEL_LABELS, *(f"toxicity:{label}" for label in TOXICITY_LABELS))
_FIELDS = frozenset({"named", "concern", "high", "immediate", "hold"})
_AT_LINE = re.compile(r"at line (\d+)")


def load_policy(file: Path = POLICY, *, made_with: bytes = b"") -> Policy:
    """Read and check a policy file; `BadPolicy` names file and line.

    `made_with` is what else decides (rules, words, models): it goes into the version's hash, so that two
    verdicts of one version were decided alike.
    """
    try:
        raw = file.read_bytes()
        source = raw.decode("utf-8")
        data = tomllib.loads(source)
    except tomllib.TOMLDecodeError as error:
        found = _AT_LINE.search(str(error))
        raise BadPolicy(f"{file}:{found.group(1) if found else 1}: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadPolicy(f"{file}:1: cannot be read: {error}") from None
    return _Reader(file, source.splitlines()).policy(data, hashlib.sha256(raw + made_with).hexdigest()[:8])


class _Reader:
    def __init__(self, file: Path, lines: Sequence[str]) -> None:
        self.file, self.lines = file, lines

    def bad(self, message: str, *near: str) -> BadPolicy:
        """An error at the first line that comes after each of `near` in turn."""
        line = at = 0
        for word in near:
            for number in range(at, len(self.lines)):
                if word in self.lines[number]:
                    line = at = number
                    break
        return BadPolicy(f"{self.file}:{line + 1}: {message}")

    def policy(self, data: Mapping[str, Any], digest: str) -> Policy:
        for name in data:
            if name not in ("version", "stage", "reasons", "settled", "aimed", "told"):
                raise self.bad(f"unknown entry {name!r}", name)
        version = data.get("version")
        if not isinstance(version, str) or not re.fullmatch(r"[A-Za-z0-9.\-]{1,32}", version):
            raise self.bad("version must be a short word", "version")
        settled = self._table(data, "settled", {"labels", "mistaken_for"})
        aimed = self._table(data, "aimed", {"words", "unless_score"})
        unless = aimed.get("unless_score", 1.0)
        if isinstance(unless, bool) or not isinstance(unless, float | int) or not 0 < unless <= 1:
            raise self.bad("unless_score must be more than 0 and at most 1", "[aimed]", "unless_score")
        words = aimed.get("words", [])
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise self.bad("words must be a list of words", "[aimed]", "words")
        return Policy(
            version=f"{version}-{digest}",
            thresholds={name: self._stage(name, table) for name, table in self._table(data, "stage").items()},
            reasons=self._reasons(self._table(data, "reasons")),
            settled=self._labels(settled, "labels"),
            mistaken=self._labels(settled, "mistaken_for"),
            told=self._labels(self._table(data, "told", {"labels"}), "labels", "[told]"),
            aimed=frozenset(words),
            aimed_unless=float(unless),
        )

    def _table(
        self, data: Mapping[str, Any], name: str, fields: Collection[str] | None = None
    ) -> Mapping[str, Any]:
        table = data.get(name, {})
        if not isinstance(table, dict):
            raise self.bad(f"{name!r} must be a table", name)
        for entry in table:
            if fields is not None and entry not in fields:
                raise self.bad(f"unknown entry {entry!r}", f"[{name}]", entry)
        return table

    def _labels(self, table: Mapping[str, Any], name: str, head: str = "[settled]") -> frozenset[str]:
        labels = table.get(name, [])
        if not isinstance(labels, list):
            raise self.bad(f"{name!r} must be a list of labels", head, name)
        for label in labels:
            self._label(label, head, name)
        return frozenset(labels)

    def _label(self, label: Any, *near: str) -> None:
        if label not in _KNOWN:
            raise self.bad(f"unknown label {label!r}", *near, str(label))

    def _stage(self, name: str, table: Any) -> dict[str, Threshold]:
        head = f'[stage."{name}"]' if "." in name else f"[stage.{name}]"
        if not isinstance(table, dict):
            raise self.bad(f"stage {name!r} must be a table", head)
        thresholds = {}
        for label, fields in table.items():
            self._label(label, head)
            if not isinstance(fields, dict):
                raise self.bad(f"{label} must be a table of thresholds", head, label)
            for field_name, value in fields.items():
                if field_name not in _FIELDS:
                    raise self.bad(f"unknown threshold {field_name!r}", head, label)
                if isinstance(value, bool) or not isinstance(value, float | int) or not 0 < value <= 1:
                    raise self.bad(f"{label}: {field_name} must be more than 0 and at most 1", head, label)
            threshold = Threshold(**fields)
            given = (threshold.concern, threshold.high, threshold.immediate)
            levels = [least for least in given if least is not None]
            if levels != sorted(levels):
                raise self.bad(f"{label}: a greater risk needs a score that is no lower", head, label)
            thresholds[label] = threshold
        return thresholds

    def _reasons(self, table: Mapping[str, Any]) -> dict[str, Reason]:
        reasons = {}
        for label, word in table.items():
            self._label(label, "[reasons]")
            try:
                reasons[label] = Reason(word)
            except ValueError:
                raise self.bad(f"unknown reason {word!r} for {label}", "[reasons]", label) from None
        return reasons
