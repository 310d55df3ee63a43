"""A verdict, and a policy, in words for a person: the sender, a moderator, a governor.

Nothing here quotes a message. The sender's words never name a label, nor the words that were found; a
moderator's say what was seen and where; a governor's say what kind of thing, by which clause, and how often
that is wrong.
"""

import enum
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

from moderation.policy import (
    CONVERSATION,
    STAFF,
    TOGETHER,
    InForce,
    Overlay,
    Policy,
    Reason,
    Threshold,
)
from moderation.policy_file import SCORING
from moderation.rules import Rule
from moderation.verdict import RISK_LABELS, TOXICITY_LABELS, Action, Risk, Role, Signal, Verdict


class Reader(enum.StrEnum):
    """For whom a verdict is explained. PUPIL: whoever wrote the message."""

    PUPIL = "pupil"
    MODERATOR = "moderator"
    GOVERNOR = "governor"


HELP = (
    "If you want to talk to someone right now, it's free: ring Childline on 0800 1111, or text SHOUT to"
    " 85258. If somebody is in danger this minute, ring 999."
)
"""Where help is, for a sender of a site without words of its own."""

_HELD: Mapping[str, str] = {
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
    Reason.LANGUAGE: "We aren't sure that we can check the language this is in, so a person will look at it."
    " It's nothing you did. You can keep writing.",
    Reason.FIRST_LOOK: "Here a person reads every message before it goes out. It's nothing you did. You can"
    " keep writing.",
}
_BLOCKED: Mapping[str, str] = {
    Reason.UNKIND: "Some of these words could hurt, so it was not sent. You can say it another way.",
    Reason.PERSONAL: _HELD[Reason.PERSONAL],
}
_NOT_SENT = "Something in it might put somebody at risk, so it was not sent. You can say it another way."
_NOT_YET = "The person you talk to has not got it yet."


def sender_words(reason: str, action: Action = Action.HOLD) -> str:
    """What a sender is told for a reason, in plain words; an empty string for no reason or another's."""
    if action is Action.BLOCK and reason in _HELD:
        return _BLOCKED.get(reason, _NOT_SENT)
    return _HELD.get(reason, "")


ABOUT: Mapping[str, str] = {
    "self_harm": "harm to oneself",
    "abuse": "abuse or neglect",
    "grooming": "grooming",
    "sexual": "sexual content or pressure",
    "harassment": "harassment",
    "threat": "a threat to somebody",
    "bullied": "being bullied",
    "eating": "eating",
    "substance": "alcohol or drugs",
    "exploitation": "being used by others",
    "running_away": "running away",
    "personal_data": "personal details",
    "boundary": "a supporter's limits",
    "toxicity:toxicity": "rude words",
    "toxicity:severe_toxicity": "very harsh words",
    "toxicity:obscene": "swearing",
    "toxicity:threat": "threatening words",
    "toxicity:insult": "an insult",
    "toxicity:identity_attack": "words against a group of people",
    "level:concern": "a worry",
    "level:high": "danger",
    "level:immediate": "danger right now",
    "together:risk": "a worry, with the turns before it",
    "together:boundary_drift": "a mentor leaving a mentor's limits, with the turns before it",
    "together:grooming_by_mentor": "a mentor coming too close, with the turns before it",
    "together:grooming": "somebody coming too close, with the turns before it",
    "together:going_down": "getting worse, with the turns before it",
    "together:disclosure": "telling of being hurt, with the turns before it",
    "together:attack": "attacking somebody, with the turns before it",
    "together:crisis": "danger right now, with the turns before it",
    "together:pieces": "personal details bit by bit, with the turns before it",
}
"""What a label is about, for staff and governors."""

STAGES: Mapping[str, str] = {
    "rules": "the rules",
    "contact": "the check for contact details",
    "linear": "the first classifier",
    "transformer": "the second classifier",
    "detoxify": "Detoxify",
    "language": "the check of the language",
    CONVERSATION: "the conversation as a whole",
}

CLAUSES: Mapping[str, str] = {
    "staff": "What trained staff write is delivered: a human decision supersedes the machine's.",
    "rule": "A rule asks for it. People write the rules, each with examples that are run at every start.",
    "score": "A classifier's score reached the threshold that this policy sets.",
    "known": "What a rule knows as an insult, a phone number or good practice is no alarm because a"
    " classifier finds it alarming. Good practice never covers what a classifier takes for grooming, sexual"
    " talk, being used, contact details or a supporter's limits.",
    "told": "Harsh words hold nothing where somebody tells of what was done or said to them.",
    "aimed": "A score alone holds only what is aimed at somebody.",
    "gathers": "In a conversation, a worry that a score alone finds is counted, and raises nothing at once;"
    " so is a danger that the score is not sure of. Such a message does not wait for an adult.",
    "together": "Read with the turns before it, the message is harmless: so a score alone does not hold it.",
    "conversation": "What the conversation as a whole shows is told to an adult; it does not hold this one"
    " message.",
    "adult_first": "High or immediate risk in the message, by a rule or by a score that counts at once, waits"
    " until an adult has looked, and no reproach answers it.",
    "never_blocked": "Who may be at risk is never blocked: somebody must look.",
    "missing": "A check that gave no answer delivers nothing: a person looks.",
    "first_look": "Here a person reads every message first.",
    "nothing": "Nothing in it asked for anything.",
}
"""The clauses of a policy in the words that a governor reads, in the order of moderation/policy.py."""

FLOOR = (
    "No policy file can change this: risk is never blocked; high and immediate risk that a rule finds in a"
    " message always waits for an adult and raises an alert, and so does what a score raises at once; a check"
    " without an answer holds; contact details are never delivered by the machine alone; what is not"
    " delivered always has a reason that the sender reads. High risk that a score alone finds, and is not"
    " sure of, may be counted in a conversation instead: then the message does not wait, and the conversation"
    " as a whole raises."
)
"""What `moderation.policy.floor` keeps, whatever a file says."""

_DONE = {Action.DELIVER: "delivered", Action.HOLD: "held for a person", Action.BLOCK: "not sent"}
_FIELDS = (("immediate", Risk.IMMEDIATE), ("high", Risk.HIGH), ("concern", Risk.CONCERN))
_COLUMNS = ("named", "concern", "high", "sure", "immediate", "hold")
_MOST = 8
"""Lines of one kind in an explanation."""


def likely(score: float) -> str:
    """A calibrated score in words."""
    for least, word in (
        (0.95, "almost certain"),
        (0.8, "very likely"),
        (0.6, "likely"),
        (0.4, "possible"),
        (0.2, "not likely"),
    ):
        if score >= least:
            return word
    return "hardly"


def source_words(stage: str, why: str, score: float, said: Callable[[str], str] = str) -> str:
    """Where a signal comes from, for staff: what a rule is for, or how likely a classifier finds it."""
    if stage in SCORING:
        return f"{STAGES[stage]} finds it {likely(score)}, {score:.2f}"
    words = said(why).strip().rstrip(".")
    return f"{STAGES.get(stage, stage)}, {why}" if words in ("", why) else f"{words} ({why})"


def explain(
    verdict: Verdict,
    policy: Policy,
    *,
    to: Reader,
    role: Role = Role.PUPIL,
    site: str = "",
    room: str = "",
    why: Callable[[str], str] = str,
    help_now: str = HELP,
) -> str:
    """A verdict in words for one reader: sentences for a sender and a governor, lines for a moderator.

    `role`, `site` and `room` are those of the message: thresholds hang on them. `why` gives a rule's plain
    words for its id. `help_now` says where help is, in a site's own words. Nothing of the message is in the
    answer.
    """
    if to is Reader.PUPIL:
        return _to_sender(verdict, role, help_now)
    force = policy.in_force(site, room, role)
    if to is Reader.MODERATOR:
        return "\n".join(_to_moderator(verdict, policy, force, role, why))
    return " ".join(_to_governor(verdict, policy, force, role))


def clauses(
    verdict: Verdict, policy: Policy, *, role: Role, site: str = "", room: str = ""
) -> tuple[str, ...]:
    """The clauses that made a verdict what it is, in the policy's order."""
    return tuple(_clauses(verdict, policy, policy.in_force(site, room, role), role))


# --- the sender ----------------------------------------------------------------------------------------


def _to_sender(verdict: Verdict, role: Role, help_now: str) -> str:
    pupil = role is Role.PUPIL
    if verdict.action is Action.DELIVER:
        said = ["Your message was sent."]
        if pupil and verdict.risk is not Risk.NONE:
            said += ["Thank you for saying it.", "You can keep writing."]
            said.append("You can ask for an adult with the Help button at any time.")
        else:
            said.append("You can keep writing.")
    else:
        said = [sender_words(verdict.reason, verdict.action) or sender_words(Reason.CHECK_FAILED)]
        if verdict.action is Action.HOLD:
            said.append(_NOT_YET)
        if pupil:
            said.append("You can ask for an adult with the Help button at any time.")
    if pupil:
        said.append(help_now)
    return " ".join(said)


# --- the moderator -------------------------------------------------------------------------------------


def _to_moderator(
    verdict: Verdict, policy: Policy, force: InForce, role: Role, why: Callable[[str], str]
) -> Iterator[str]:
    word = f", the sender reads {verdict.reason!r}" if verdict.reason else ""
    yield f"{_capital(_DONE[verdict.action])}; risk: {verdict.risk.word}{word}."
    if verdict.labels:
        yield f"About: {'; '.join(ABOUT.get(label, label) for label in verdict.labels)}."
    yield from _rules(verdict, why)
    yield from _scores(verdict, policy, force, role)
    for stage in sorted(verdict.degraded):
        yield f"No answer from {STAGES.get(stage, stage)}, so a person has to look."
    for name in _clauses(verdict, policy, force, role):
        if name not in ("rule", "score", "missing"):
            yield f"Clause {name}: {CLAUSES[name]}"
    yield f"Policy {verdict.policy_version}."


def _rules(verdict: Verdict, why: Callable[[str], str]) -> Iterator[str]:
    found: dict[str, list[Signal]] = {}
    for signal in verdict.signals:
        if _certain(signal) or signal.clears:
            found.setdefault(signal.why, []).append(signal)
    for number, (name, signals) in enumerate(found.items()):
        if number == _MOST:
            yield f"And {len(found) - _MOST} more rules."
            return
        first = signals[0]
        asks = [
            word
            for word, given in ((first.action.word, first.action), (first.risk.word, first.risk))
            if given
        ]
        asked = "knows it as good practice" if first.clears else f"asks for {' and '.join(asks)}"
        whose = "The conversation as a whole" if first.stage == CONVERSATION else "Rule"
        spans = sorted({one.span for one in signals if one.span is not None})
        places = ", ".join(f"{span.start} to {span.end}" for span in spans[:_MOST])
        where = f" Marked: characters {places}." if places else ""
        said = why(name).strip()
        said = "" if said == name else f": {said.rstrip('.')}"
        yield f"{whose} {name}{said} ({asked}).{where}"


def _scores(verdict: Verdict, policy: Policy, force: InForce, role: Role) -> Iterator[str]:
    if role in STAFF:
        return
    silent = policy.superseded(verdict.signals, force)
    for signal, field, least in itertools.islice(_reached(verdict, force), _MOST):
        name = STAGES.get(signal.stage, signal.stage)
        line = (
            f"{_capital(name)} finds {ABOUT.get(signal.label, signal.label)} {likely(signal.score)}"
            f" ({signal.score:.2f}; {_word(field)} from {least:.2f})"
        )
        yield f"{line}{_uncounted(signal, field, verdict, policy, silent)}."


def _uncounted(signal: Signal, field: str, verdict: Verdict, policy: Policy, silent: frozenset[str]) -> str:
    """Why a score that reached a threshold did not count, or an empty string."""
    if signal.stage in silent:
        return ": not counted, a better classifier answered"
    if field == "hold":
        held = verdict.action is not Action.DELIVER and signal.label in verdict.labels
        if not held and _together(verdict, policy.agrees):
            return ": not counted, with the turns before it it is harmless"
        return "" if held else ": not counted, nobody is meant by it, or somebody tells of it"
    if dict(_FIELDS)[field] <= verdict.risk:
        return ""
    if verdict.counted >= dict(_FIELDS)[field]:
        return ": counted in the conversation, raises nothing by itself"
    return ": not counted, a rule knows what this is"


def _together(verdict: Verdict, least: float) -> bool:
    """Whether the message was read with the turns before it, no check failed, and it shows less than that."""
    if verdict.so_far is None or verdict.degraded:
        return False
    scores = [one.score for one in verdict.signals if one.label == TOGETHER]
    return bool(scores) and max(scores) < least


# --- the governor --------------------------------------------------------------------------------------


def _to_governor(verdict: Verdict, policy: Policy, force: InForce, role: Role) -> Iterator[str]:
    yield f"A {role.value}'s message was {_DONE[verdict.action]}."
    if verdict.risk is not Risk.NONE:
        yield f"Its risk counts as {verdict.risk.word}, so an adult is told."
    about = [ABOUT.get(label, label) for label in verdict.labels if not label.startswith("level:")]
    if about:
        yield f"It seemed to be about {_listed(about[:3])}."
    names = list(_clauses(verdict, policy, force, role))
    for name in names:
        yield f"Clause {name!r}: {CLAUSES[name]}"
    if "score" in names:
        yield from _rates(verdict, policy, force, role)
    if "rule" in names:
        yield "How often rules are wrong is measured for all of them together; see docs/moderation.md."
    if verdict.degraded:
        silent = [STAGES.get(each, each) for each in sorted(verdict.degraded)]
        yield f"Checks without an answer: {_listed(silent)}."
    yield f"This is version {verdict.policy_version} of the policy."


def _rates(verdict: Verdict, policy: Policy, force: InForce, role: Role) -> Iterator[str]:
    """How often the thresholds that were reached are reached by harmless messages, where that is known."""
    silent = policy.superseded(verdict.signals, force)
    told = set()
    for signal, field, least in _reached(verdict, force):
        if signal.stage in silent or _uncounted(signal, field, verdict, policy, silent):
            continue
        name = f"{signal.stage}.{role.value}"
        whose = name if name in policy.thresholds else signal.stage
        written = policy.thresholds.get(whose, {}).get(signal.label)
        as_written = written is not None and getattr(written, field) == least
        rate = policy.rates.get(whose, {}).get(field) if as_written else None
        stage = STAGES.get(signal.stage, signal.stage)
        if (stage, field) in told:
            continue
        told.add((stage, field))
        if rate is None:
            yield f"How often {stage} is wrong at this threshold ({_word(field)}) has not been measured."
        else:
            yield (
                f"The threshold of {stage} for this ({_word(field)}) was set so that at most"
                f" {_per_thousand(rate)} harmless messages reach it."
            )


def _per_thousand(rate: float) -> str:
    return f"{rate * 1000:g} in 1,000"


# --- what all of them need -----------------------------------------------------------------------------


def _waives(field: str, uncounted: str) -> str:
    """The clause by which a score did not count."""
    if "harmless" in uncounted:
        return "together"
    if field == "hold":
        return "aimed"
    return "gathers" if "conversation" in uncounted else "known"


def _clauses(verdict: Verdict, policy: Policy, force: InForce, role: Role) -> Iterator[str]:
    if role in STAFF:
        yield "staff"
        return
    signals = [one for one in verdict.signals if one.stage != CONVERSATION]
    silent = policy.superseded(verdict.signals, force)
    rules = [one for one in signals if _certain(one)]
    scored = False
    waived = set()
    for signal, field, _ in _reached(verdict, force):
        if signal.stage in silent:
            continue
        uncounted = _uncounted(signal, field, verdict, policy, silent)
        scored = scored or not uncounted
        if uncounted:
            waived.add(_waives(field, uncounted))
    if rules:
        yield "rule"
    if scored:
        yield "score"
    if any(one.clears for one in signals) and not rules:
        waived.add("known")
    for name in ("known", "aimed", "gathers", "together"):
        if name in waived:
            yield name
    if any(one.stage == CONVERSATION and one.risk for one in verdict.signals):
        yield "conversation"
    if verdict.reason == Reason.ADULT_FIRST:
        yield "adult_first"
    elif verdict.action is Action.HOLD and any(one.action is Action.BLOCK for one in signals):
        yield "never_blocked"
    if verdict.degraded:
        yield "missing"
    if verdict.reason == Reason.FIRST_LOOK:
        yield "first_look"
    if not (rules or scored or waived or verdict.degraded or force.hold_all or verdict.risk):
        yield "nothing"


def _certain(signal: Signal) -> bool:
    return signal.risk is not Risk.NONE or signal.action is not Action.DELIVER


def _reached(verdict: Verdict, force: InForce) -> Iterator[tuple[Signal, str, float]]:
    """Scores that reach a threshold, the field it is, and from where on."""
    for signal in verdict.signals:
        threshold = None if _certain(signal) else force.thresholds.get((signal.stage, signal.label))
        if threshold is None:
            continue
        for field, _ in _FIELDS:
            least = getattr(threshold, field)
            if least is not None and signal.score >= least:
                yield signal, field, least
                break
        if threshold.hold is not None and signal.score >= threshold.hold:
            yield signal, "hold", threshold.hold


def _word(field: str) -> str:
    return {"hold": "holds", "named": "named", "sure": "sure"}.get(field, f"{field} risk")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


# --- a whole policy ------------------------------------------------------------------------------------


def describe(policy: Policy, rules: Sequence[Rule] = ()) -> str:
    """A policy in words, for who answers for it: for each label and role what happens at which level.

    Markdown. With `rules`, how many of them ask for what is in it.
    """
    said = [f"# Policy {policy.version}", "", "What is decided for each message, in this order:", ""]
    said += [f"- **{name}**: {words}" for name, words in CLAUSES.items() if name != "nothing"]
    gathers = "The clause 'gathers' is switched off: every worry, and all high risk, raises at once."
    if policy.gathers_concern:
        gathers = (
            "In a conversation a score's high risk raises at once from 'sure from' on, and is counted under"
            " that; without a number there all of it raises at once."
        )
    said += ["", gathers]
    for role in (Role.PUPIL, Role.MENTOR):
        said += ["", f"## What a {role.value} writes"]
        if rules:
            said += ["", "| about | rules | they ask for |", "| --- | --- | --- |"]
            said += list(_rule_rows(rules, role))
        force = policy.in_force("", "", role)
        for stage in dict.fromkeys(stage for stage, _ in force.thresholds):
            said += ["", f"{_capital(STAGES.get(stage, stage))}, by its score from 0 to 1:", ""]
            said += [
                "| about | named from | concern from | high from | sure from | immediate from | held from |"
            ]
            said += ["| --- " * 7 + "|"]
            said += [
                _threshold_row(label, threshold)
                for (its, label), threshold in force.thresholds.items()
                if its == stage
            ]
            rates = policy.rates.get(f"{stage}.{role.value}", policy.rates.get(stage, {}))
            if rates:
                each = [f"{_word(field)}: {_per_thousand(rate)}" for field, rate in rates.items()]
                said += ["", f"Set so that at most so many harmless messages reach them: {'; '.join(each)}."]
    said += ["", "## Which word the sender reads", ""]
    said += [f"- {ABOUT.get(label, label)}: `{reason.value}`" for label, reason in policy.reasons.items()]
    said += [
        f"- no answer from {STAGES.get(stage, stage)}: `{word.value}`"
        for stage, word in policy.missing.items()
    ]
    said += [
        f"- high or immediate risk in the message itself, whatever it is about: `{Reason.ADULT_FIRST.value}`",
        "",
    ]
    said += [f"`{reason.value}` is said as: {sender_words(reason)}" for reason in Reason]
    for kind, overlays in (("site", policy.sites), ("room", policy.rooms)):
        for name, overlay in overlays.items():
            said += ["", f"## Otherwise in {kind} {name}", "", *_overlay_lines(overlay)]
    said += [
        "",
        FLOOR,
    ]
    return "\n".join(said) + "\n"


def _rule_rows(rules: Sequence[Rule], role: Role) -> Iterator[str]:
    for label in (*RISK_LABELS, *(f"toxicity:{label}" for label in TOXICITY_LABELS)):
        asked: Counter[str] = Counter()
        for rule in rules:
            if label in rule.labels and role in rule.roles and not rule.clears:
                words = [
                    word
                    for word, level in ((rule.risk.word, rule.risk), (rule.action.word, rule.action))
                    if level
                ]
                asked[" and ".join(words)] += 1
        if asked:
            each = "; ".join(f"{word}: {count}" for word, count in sorted(asked.items()))
            yield f"| {ABOUT[label]} | {asked.total()} | {each} |"


def _threshold_row(label: str, threshold: Threshold) -> str:
    given = (getattr(threshold, name) for name in _COLUMNS)
    cells = " | ".join("-" if value is None else f"{value:.3f}" for value in given)
    return f"| {ABOUT.get(label, label)} | {cells} |"


def _overlay_lines(overlay: Overlay) -> Iterator[str]:
    if overlay.about:
        yield f"{overlay.about}."
    if overlay.hold_all:
        yield f"- {CLAUSES['first_look']}"
    for name, action in overlay.actions.items():
        yield f"- {_capital(ABOUT.get(name, name))}: {_DONE[action]}, at least."
    for stage, table in overlay.thresholds.items():
        for label, threshold in table.items():
            given = [(name, getattr(threshold, name)) for name in _COLUMNS]
            each = ", ".join(f"{_word(name)} from {value:.3f}" for name, value in given if value is not None)
            yield f"- {_capital(ABOUT.get(label, label))}, by {stage}: {each}."
