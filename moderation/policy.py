"""From signals to a verdict: one pure function, and all that it weighs is data (policy_file.py reads it).

The order in which it decides, which is the policy. Each clause has a name, and explain.py its words:

1. `staff`: trained staff (adults, moderators, coordinators) are delivered: a human decision supersedes the
   machine's.
2. `rule` and `score`: risk is the greatest that any rule asks for, or that a classifier's score reaches by
   its thresholds; action is the strictest. Where a better classifier answered, the scores that it supersedes
   are shown and ask for nothing.
3. `known`, `told`, `aimed`: what a rule settles as an insult or a phone number is not risk because a
   classifier finds it alarming, nor is what a rule knows as good, but for scores of `NEVER_CLEARED`; a score
   alone holds only what is aimed at somebody.
4. `gathers`: in a conversation, concern that comes from a score alone raises nothing at once: it is counted.
   So is high risk by a score that is not `sure`: it does not wait for an adult.
   `together`: where the message was read with the turns before it, no check failed to answer, and what they
   show together is less than `agrees`, a score alone holds nothing. What rules find is never doubted so: the
   turns before it are words of those who may have a reason to cover it.
5. `conversation`: what the conversation as a whole shows is risk; it does not hold this one message.
6. `adult_first`: high or immediate risk in the message, by a rule or by a score that counts at once, holds
   it until an adult has looked, whatever else it is.
7. `never_blocked`: concern or more turns a block into a hold.
8. `missing`: a check that gave no answer holds what would have been delivered.
9. `first_look`: in a room or at a site that asks for it, a person reads every message first.

Whatever the data say, `floor` has the last word: no file can weaken it.
"""

import enum
import operator
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from moderation.text import fold
from moderation.verdict import LEVEL_LABELS, RISK_LABELS, Action, Risk, Role, Signal, Submission, Verdict

STAFF = frozenset({Role.ADULT, Role.MODERATOR, Role.COORDINATOR})

CONVERSATION = "trajectory"
"""The stage whose signals are about the conversation, not about this one message."""

NEVER_CLEARED = frozenset({"grooming", "sexual", "boundary", "exploitation", "personal_data"})
"""What a mentor may do to a pupil beside the best of sentences: a rule that knows good practice mutes of
these only what it is itself about."""

TOGETHER = "together:risk"
"""The score that says whether an adult would want to know of a message with the turns before it."""

_RISKS = frozenset(RISK_LABELS)
_LEVELS = frozenset(LEVEL_LABELS)
_NONE, _CONCERN, _HIGH, _IMMEDIATE = Risk.NONE, Risk.CONCERN, Risk.HIGH, Risk.IMMEDIATE
_DELIVER, _HOLD, _BLOCK = Action.DELIVER, Action.HOLD, Action.BLOCK
_PUPIL, _MENTOR = Role.PUPIL, Role.MENTOR
_NOTHING: frozenset[str] = frozenset()
_NEVER = 2.0  # no score reaches it


class Reason(enum.StrEnum):
    """Why a message waits or was not sent: stable words that clients may rely on; explain.py says them."""

    UNKIND = "unkind"
    PERSONAL = "personal"
    UNSAFE = "unsafe"
    ADULT_FIRST = "adult_first"
    CHECK_FAILED = "check_failed"
    LANGUAGE = "language"
    FIRST_LOOK = "first_look"


_ADULT_FIRST, _FIRST_LOOK = Reason.ADULT_FIRST.value, Reason.FIRST_LOOK.value
_CHECK_FAILED = Reason.CHECK_FAILED.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """From which score on a label means something. None: by itself it never does."""

    named: float | None = None  # it is named among the labels, when something else raised risk or action
    concern: float | None = None
    high: float | None = None
    immediate: float | None = None
    hold: float | None = None
    sure: float | None = None  # in a conversation, high risk by a lower score is counted, as concern is

    @property
    def least(self) -> float:
        """The least score that asks for anything."""
        given = (self.concern, self.high, self.immediate, self.hold)
        return min((each for each in given if each is not None), default=_NEVER)

    def risk(self, score: float) -> Risk:
        """The greatest risk that the score reaches."""
        if self.immediate is not None and score >= self.immediate:
            return _IMMEDIATE
        if self.high is not None and score >= self.high:
            return _HIGH
        if self.concern is not None and score >= self.concern:
            return _CONCERN
        return _NONE

    def action(self, score: float) -> Action:
        """Whether the score alone holds the message."""
        return _HOLD if self.hold is not None and score >= self.hold else _DELIVER


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """Labels that a rule settles, and what the scores of some stages take such texts for."""

    labels: frozenset[str] = _NOTHING
    mistaken_for: frozenset[str] = _NOTHING
    stages: frozenset[str] = _NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Topics that people tell of rather than do: there the scores of some stages hold nothing."""

    labels: frozenset[str] = _NOTHING
    stages: frozenset[str] = _NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class Aimed:
    """Words that show that somebody is meant: without one, the scores of some stages hold nothing."""

    words: frozenset[str] = _NOTHING
    unless_score: float = 1.0  # from this score on a text is held, whether or not they stand in it
    whoever: frozenset[str] = _NOTHING  # labels that hold whoever is meant, and whatever is told
    stages: frozenset[str] = _NOTHING


Thresholds = Mapping[str, Mapping[str, Threshold]]
"""Stage, or stage and role ("linear.mentor"), to label, to threshold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay:
    """What one site or one room has otherwise. It cannot raise a threshold of risk; see policy_file.py."""

    thresholds: Thresholds = field(default_factory=dict)
    actions: Mapping[str, Action] = field(default_factory=dict)  # label, or a rule's id, to the least action
    hold_all: bool = False
    about: str = ""  # for a reader of the policy


@dataclass(frozen=True, slots=True)
class InForce:
    """What counts for one role, in one room of one site: the policy with what they have otherwise."""

    thresholds: Mapping[tuple[str, str], Threshold]  # (stage, label)
    least: Mapping[tuple[str, str], float]  # the least score of it that asks for anything
    asking: frozenset[str]  # stages with a score that asks for something
    actions: Mapping[str, Action]
    hold_all: bool


class _Seen:
    """What one signal comes to under the policy."""

    __slots__ = ("action", "certain", "counted", "risk", "set", "signal")

    def __init__(self, signal: Signal, risk: Risk, action: Action, certain: bool, is_set: bool) -> None:
        self.signal = signal
        self.risk = risk
        self.action = action
        self.certain = certain  # from a rule, not from a score
        self.set = is_set  # the action is one that a site or room set for the label
        self.counted = _NONE  # risk that the conversation counts, and that raises nothing here


@dataclass(frozen=True)
class Policy:
    """Thresholds by stage and label, and the words for senders; see `decide`."""

    version: str
    thresholds: Thresholds
    reasons: Mapping[str, Reason]
    settled: Settled = field(default_factory=Settled)
    told: Told = field(default_factory=Told)
    aimed: Aimed = field(default_factory=Aimed)
    supersedes: Mapping[str, frozenset[str]] = field(default_factory=dict)  # stage to those it stands for
    gathers_concern: bool = False
    agrees: float = 0.0
    missing: Mapping[str, Reason] = field(default_factory=dict)  # stage to the word where it gave no answer
    gate: Mapping[str, float] = field(default_factory=dict)  # label to a score of the first tier
    rates: Mapping[str, Mapping[str, float]] = field(
        default_factory=dict
    )  # stage to "high" to share of benign
    sites: Mapping[str, Overlay] = field(default_factory=dict)
    rooms: Mapping[str, Overlay] = field(default_factory=dict)
    digest: str = ""  # SHA-256 over its files and what else decides; the version has the first of it
    _known: dict[tuple[str, str, str], InForce] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def decide(
        self,
        submission: Submission,
        signals: Sequence[Signal],
        degraded: frozenset[str],
    ) -> Verdict:
        """The verdict on a message, given what every stage saw and which gave no answer.

        A stage that supersedes others counts as having answered where it has a signal, however faint.
        """
        role = submission.role
        if role is not _PUPIL and role is not _MENTOR:
            return self._verdict(_DELIVER, _NONE, "", (), _ordered(signals), degraded)
        force = self.in_force(submission.site, submission.room, role)
        if not signals:
            if not degraded and not force.hold_all:
                return self._verdict(_DELIVER, _NONE, "", (), (), degraded)
            reason = self._word_for_missing(degraded) if degraded else _FIRST_LOOK
            return self._verdict(_HOLD, _NONE, reason, (), (), degraded)
        ordered = _ordered(signals)
        seen = self._weighed(ordered, force, submission.so_far is not None)
        if seen is None:  # nothing asks for anything
            action, reason = _DELIVER, ""
            if degraded:
                action, reason = _HOLD, self._word_for_missing(degraded)
            elif force.hold_all:
                action, reason = _HOLD, _FIRST_LOOK
            return self._verdict(action, _NONE, reason, (), ordered, degraded)
        return self._decided(submission, seen, ordered, degraded, force)

    def _decided(
        self,
        submission: Submission,
        seen: list[_Seen],
        ordered: tuple[Signal, ...],
        degraded: frozenset[str],
        force: InForce,
    ) -> Verdict:
        self._drop_false_alarms(seen)
        self._drop_false_holds(seen, submission, force)
        if submission.so_far is not None and not degraded:
            self._weigh_together(seen)
        here = away = _NONE
        action = _DELIVER
        counted = _NONE
        for one in seen:
            if one.signal.stage == CONVERSATION:
                away = max(away, one.risk)
                continue
            here = max(here, one.risk)
            action = max(action, one.action)
            counted = max(counted, one.counted)
        risk = here if here >= away else away
        reason = ""
        if here >= _HIGH:
            action, reason = _HOLD, _ADULT_FIRST
        elif action is not _DELIVER:
            reason = self._reason(seen, action)
            if risk is not _NONE or counted:
                action = _HOLD
        elif degraded:
            action = _HOLD
            reason = self._word_for_missing(degraded)
        elif force.hold_all:
            action, reason = _HOLD, _FIRST_LOOK
        action, risk, reason = floor(action, risk, reason, ordered, degraded)
        labels = self._labels(seen, force)
        return self._verdict(action, risk, reason, labels, ordered, degraded, counted)

    def in_force(self, site: str, room: str, role: Role) -> InForce:
        """What counts for a role in a room of a site; one that no overlay names has the policy itself.

        Where a site and a room both speak, the more careful of the two counts.
        """
        key = (site if site in self.sites else "", room if room in self.rooms else "", role._value_)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._made(
                [over for over in (self.sites.get(key[0]), self.rooms.get(key[1])) if over is not None], role
            )
        return found

    def threshold(
        self, stage: str, label: str, role: Role, *, site: str = "", room: str = ""
    ) -> Threshold | None:
        """What a stage's score for a label means when `role` speaks."""
        return self.in_force(site, room, role).thresholds.get((stage, label))

    def superseded(self, signals: Sequence[Signal], force: InForce) -> frozenset[str]:
        """Stages whose scores ask for nothing, for a better one answered.

        One that this policy has no thresholds for asks for nothing itself, so it silences nobody.
        """
        silent = _NOTHING
        for stage, others in self.supersedes.items():
            if stage in force.asking and any(signal.stage == stage for signal in signals):
                silent |= others
        return silent

    def _made(self, overlays: Sequence[Overlay], role: Role) -> InForce:
        base = flat(self.thresholds, role)
        thresholds = dict(base)
        own = [flat(each.thresholds, role) for each in overlays]
        for key in sorted({key for each in own for key in each}):
            thresholds[key] = _laid(base.get(key), [each[key] for each in own if key in each])
        actions: dict[str, Action] = {}
        for each in overlays:
            for name, action in each.actions.items():
                actions[name] = max(action, actions.get(name, _DELIVER))
        least = {key: threshold.least for key, threshold in thresholds.items()}
        return InForce(
            thresholds=thresholds,
            least=least,
            asking=frozenset(stage for (stage, _), score in least.items() if score < _NEVER),
            actions=actions,
            hold_all=any(each.hold_all for each in overlays),
        )

    def _verdict(
        self,
        action: Action,
        risk: Risk,
        reason: str,
        labels: tuple[str, ...],
        signals: tuple[Signal, ...],
        degraded: frozenset[str],
        counted: Risk = _NONE,
    ) -> Verdict:
        return Verdict(
            action=action,
            risk=risk,
            reason=reason,
            labels=labels,
            signals=signals,
            degraded=degraded,
            policy_version=self.version,
            counted=counted,
        )

    def _weighed(self, signals: Sequence[Signal], force: InForce, gathering: bool) -> list[_Seen] | None:
        """What each signal comes to, less those of superseded stages; None where none asks for anything."""
        least, thresholds, actions = force.least, force.thresholds, force.actions
        if not actions:
            for signal in signals:
                if signal.risk or signal.action:
                    break
                if signal.score >= least.get((signal.stage, signal.label), _NEVER):
                    break
            else:
                return None
        silent = self.superseded(signals, force)
        gathering = gathering and self.gathers_concern
        seen = []
        asks = False
        for signal in signals:
            risk, action, score = signal.risk, signal.action, signal.score
            certain = bool(risk or action)
            if not certain and signal.stage in silent:
                continue
            key = (signal.stage, signal.label)
            if score >= least.get(key, _NEVER):
                threshold = thresholds[key]
                if (reached := threshold.risk(score)) > risk:
                    risk = reached
                if not action:
                    action = threshold.action(score)
            is_set = False
            if actions and not signal.clears:
                wanted = _set_action(signal, certain, actions, thresholds.get(key))
                is_set = wanted is not _DELIVER
                action = max(action, wanted)
            one = _Seen(signal, risk, action, certain, is_set)
            if gathering and risk and not certain:
                sure = thresholds[key].sure
                if risk is _CONCERN or (risk is _HIGH and sure is not None and score < sure):
                    one.risk, one.counted = _NONE, risk
            asks = asks or risk is not _NONE or action is not _DELIVER
            seen.append(one)
        return seen if asks else None

    def _drop_false_alarms(self, seen: Sequence[_Seen]) -> None:
        """Where rules settle what a text is, a classifier must be sure, and of something else.

        Where they know it as good, and no other rule asks for anything, no score is heard but those of
        `NEVER_CLEARED`, and those of a level where one of these is the likeliest topic.
        """
        known = [one for one in seen if one.certain and one.signal.stage != CONVERSATION]
        if not known:
            if any(one.signal.clears for one in seen):
                held = NEVER_CLEARED - {one.signal.label for one in seen if one.signal.clears}
                grave = _strongest_topic(seen) in held
                for one in seen:
                    label = one.signal.label
                    heard = grave if label in _LEVELS else label in held
                    if not one.certain and not heard:
                        one.risk, one.action, one.counted = _NONE, _DELIVER, _NONE
            return
        if not any(one.signal.label in self.settled.labels for one in known):
            return
        if any(one.risk is not _NONE for one in known):
            return
        sure = _strongest_topic(seen) not in self.settled.mistaken_for
        for one in seen:
            if one.certain or one.signal.stage not in self.settled.stages:
                continue
            if not (sure and max(one.risk, one.counted) >= _HIGH):
                one.risk, one.counted = _NONE, _NONE

    def _drop_false_holds(self, seen: Sequence[_Seen], submission: Submission, force: InForce) -> None:
        """A score holds a text only where somebody is meant by it: not for swearing at the rain or oneself.

        A topic holds it only as the likeliest one, and nothing does where a rule finds risk or the likeliest
        topic is one that people tell of: who repeats what they are called is no bully.
        """
        holding = [one for one in seen if one.action is not _DELIVER and not one.certain and not one.set]
        if not holding:
            return
        strongest = _strongest_topic(seen)
        told = self._told(seen, strongest, force)
        aimed: bool | None = None
        for one in holding:
            stage, label = one.signal.stage, one.signal.label
            topic = label in _RISKS
            if label in self.aimed.whoever:
                continue
            if not topic and one.signal.score >= self.aimed.unless_score:
                continue
            if told and stage in self.told.stages:
                one.action = _DELIVER
            elif stage in self.aimed.stages:
                if aimed is None:
                    aimed = not self.aimed.words.isdisjoint(fold(submission.text).text.split(" "))
                if not aimed or (topic and label != strongest):
                    one.action = _DELIVER

    def _weigh_together(self, seen: Sequence[_Seen]) -> None:
        """Where a message with the turns before it is harmless, let no score alone hold it.

        Nothing changes where it was not read so, nor for what raises at once or is counted.
        """
        scores = [one.signal.score for one in seen if one.signal.label == TOGETHER]
        if scores and max(scores) < self.agrees:
            for one in seen:
                if not one.certain and not one.set and one.risk is _NONE:
                    one.action = _DELIVER

    def _told(self, seen: Sequence[_Seen], strongest: str, force: InForce) -> bool:
        """Whether a rule finds risk, or the likeliest topic is one that people tell of, and likely enough."""
        for one in seen:
            if one.certain and one.risk is not _NONE and one.signal.stage != CONVERSATION:
                return True
        if strongest not in self.told.labels:
            return False
        for one in seen:
            if one.signal.label == strongest and one.signal.stage in self.told.stages:
                threshold = force.thresholds.get((one.signal.stage, strongest))
                least = threshold.named if threshold else None
                if least is not None and one.signal.score >= least:
                    return True
        return False

    def _reason(self, seen: Sequence[_Seen], action: Action) -> str:
        """The word for the sender: from the strictest signal, rules before scores."""
        asking = [one for one in seen if one.action is action]
        first = max(asking, key=lambda one: (one.certain, one.signal.score))
        return self.reasons.get(first.signal.label, Reason.UNSAFE).value

    def _word_for_missing(self, degraded: frozenset[str]) -> str:
        """The word for the sender where checks gave no answer."""
        for stage, reason in self.missing.items():
            if stage in degraded:
                return reason.value
        return _CHECK_FAILED

    def _labels(self, seen: Sequence[_Seen], force: InForce) -> tuple[str, ...]:
        """What raised risk or action, strongest first; a level without a topic takes the likeliest one."""
        named = []
        level = False
        rest = []
        for one in seen:
            if not (one.risk or one.action):
                rest.append(one)
            elif one.signal.label in _LEVELS:
                level = True
            else:
                named.append(one)
        if not named and not level:
            return ()
        for one in rest:
            if one.signal.label in _LEVELS:
                continue
            threshold = force.thresholds.get((one.signal.stage, one.signal.label))
            least = threshold.named if threshold else None
            if least is not None and one.signal.score >= least:
                named.append(one)
        if level and not any(one.signal.label in _RISKS for one in named):
            likely = [one for one in seen if one.signal.label in _RISKS]
            named += sorted(likely, key=lambda one: -one.signal.score)[:1]
        named.sort(key=lambda one: (-one.risk, -one.action, not one.certain, -one.signal.score))
        return tuple(dict.fromkeys(one.signal.label for one in named))


def floor(
    action: Action, risk: Risk, reason: str, signals: Sequence[Signal], degraded: Collection[str]
) -> tuple[Action, Risk, str]:
    """What no data can weaken, for a pupil's or mentor's message; `decide` never returns less.

    What a rule asks for counts: its risk always, and its action but for a block that risk softens to a hold.
    Who may be at risk is never blocked. High or immediate risk in the message waits for an adult, whether a
    rule finds it or `risk` says more than rules and the conversation do: then a score counted at once. A
    check without an answer delivers nothing. Contact details are a rule's block, so they are never delivered
    by the machine alone. What is not delivered has a reason; for what the conversation alone shows, that is
    never made `adult_first`: a mentor must not learn from it of an alarm about them.
    """
    here = away = _NONE
    for signal in signals:
        if signal.stage == CONVERSATION:
            away = max(away, signal.risk)
            continue
        here = max(here, signal.risk)
        if signal.action > action and (signal.action is _HOLD or action is _DELIVER):
            action = signal.action
    here = max(here, risk) if risk > away else here
    risk = max(risk, here, away)
    if here >= _HIGH:
        return _HOLD, risk, _ADULT_FIRST
    if risk is not _NONE and action is _BLOCK:
        action = _HOLD
    if degraded and action is _DELIVER:
        action = _HOLD
    if action is _DELIVER:
        return action, risk, ""
    if not reason:
        reason = _CHECK_FAILED if degraded else Reason.UNSAFE.value
    return action, risk, reason


def flat(thresholds: Thresholds, role: Role) -> dict[tuple[str, str], Threshold]:
    """Thresholds by (stage, label) for one role: its own table's where that names the label."""
    found = {
        (stage, label): threshold
        for stage, table in thresholds.items()
        if "." not in stage
        for label, threshold in table.items()
    }
    for stage, table in thresholds.items():
        name, dot, whose = stage.partition(".")
        if dot and whose == role.value:
            found |= {(name, label): threshold for label, threshold in table.items()}
    return found


def _laid(base: Threshold | None, over: Sequence[Threshold]) -> Threshold:
    """A threshold with what overlays have otherwise: of several the lowest, never above the base's risk.

    Where one that sets high risk has no `sure`, each high score is: that is lower than any number.
    """
    base = base or Threshold()
    setting_high = [each for each in ([base] if base.high is not None else over) if each.high is not None]
    always_sure = any(each.sure is None for each in setting_high)

    def lowest(name: str, *, kept: bool) -> float | None:
        given = [value for each in over if (value := getattr(each, name)) is not None]
        own = getattr(base, name)
        if (kept or not given) and own is not None:
            given.append(own)
        return min(given, default=None)

    return Threshold(
        named=lowest("named", kept=False),
        concern=lowest("concern", kept=True),
        high=lowest("high", kept=True),
        immediate=lowest("immediate", kept=True),
        hold=lowest("hold", kept=False),
        sure=None if always_sure else lowest("sure", kept=True),
    )


def _set_action(
    signal: Signal, certain: bool, actions: Mapping[str, Action], threshold: Threshold | None
) -> Action:
    """What a site or room set for a label or rule; for a score, from where it is named or holds on."""
    wanted = max(actions.get(signal.label, _DELIVER), actions.get(signal.why, _DELIVER))
    if wanted is _DELIVER or certain or threshold is None:
        return wanted if certain else _DELIVER
    from_here = [least for least in (threshold.named, threshold.hold) if least is not None]
    return wanted if from_here and signal.score >= min(from_here) else _DELIVER


def _strongest_topic(seen: Sequence[_Seen]) -> str:
    """The risk label that a classifier finds likeliest; an empty string where there is none."""
    best, label = 0.0, ""
    for one in seen:
        if one.signal.score > best and not one.certain and one.signal.label in _RISKS:
            best, label = one.signal.score, one.signal.label
    return label


_order = operator.attrgetter("risk", "action", "score", "stage", "label", "why", "clears")


def _place(one: Signal) -> tuple[int, int]:
    return one.span or (-1, -1)


def _ordered(signals: Sequence[Signal]) -> tuple[Signal, ...]:
    """Strongest first, in an order that does not hang on the one they came in."""
    if len(signals) < 2:
        return tuple(signals)
    if any(one.span is not None for one in signals):
        signals = sorted(signals, key=_place, reverse=True)
    return tuple(sorted(signals, key=_order, reverse=True))
