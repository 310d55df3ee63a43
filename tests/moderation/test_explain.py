"""Words for a verdict: true, for their reader, and without a word of the message."""

import re
from dataclasses import replace
from itertools import product

import pytest

from moderation.build import whys
from moderation.explain import (
    ABOUT,
    CLAUSES,
    HELP,
    STAGES,
    Reader,
    clauses,
    describe,
    explain,
    likely,
    sender_words,
    source_words,
)
from moderation.policy import CONVERSATION, Overlay, Reason
from moderation.policy_file import load_policy
from moderation.rules import shipped_rules
from moderation.trajectory import State
from moderation.verdict import (
    LEVEL_LABELS,
    RISK_LABELS,
    TOGETHER_LABELS,
    TOXICITY_LABELS,
    Action,
    Risk,
    Role,
    Signal,
    Span,
    Submission,
    Verdict,
)
from peerchat.words import DEFAULT_SERVICES

POLICY = load_policy()
WHY = whys(shipped_rules())
NOTHING: frozenset[str] = frozenset()
JARGON = set(
    "flagged policy violation prohibited detected threshold classifier label self_harm harassment abuse"
    " grooming sexual bullied suicide disclosure safeguarding moderation inappropriate".split()
)


def verdict(
    *signals, role=Role.PUPIL, degraded=NOTHING, so_far=None, policy=POLICY, text="you there", room=""
):
    submission = Submission(text=text, role=role, so_far=so_far, room=room)
    return policy.decide(submission, signals, frozenset(degraded))


def ruled(why, label, *, risk=Risk.NONE, action=Action.DELIVER, stage="rules"):
    span = Span(2, 7)
    return Signal(label=label, score=1.0, stage=stage, why=why, risk=risk, action=action, span=span)


def scored(label, score, stage="linear"):
    return Signal(label=label, score=score, stage=stage, why=stage)


NUMBER = ruled("contact.phone", "personal_data", action=Action.BLOCK, stage="contact")
DANGER = ruled("self_harm.want_death", "self_harm", risk=Risk.HIGH)


def grade(text):
    """The Flesch-Kincaid grade: about the years at school that a text asks for."""
    sentences = max(1, len(re.findall(r"[.!?:](?:\s|$)", text)))
    words = re.findall(r"[A-Za-z']+", text)
    syllables = sum(max(1, len(re.findall(r"[aeiouy]+", re.sub(r"e$", "", word.lower())))) for word in words)
    return 0.39 * len(words) / sentences + 11.8 * syllables / len(words) - 15.59


def all_verdicts():
    for action, risk, reason in product(Action, Risk, ["", *Reason]):
        if bool(reason) == (action is not Action.DELIVER) and not (action is Action.BLOCK and risk):
            yield Verdict(action=action, risk=risk, reason=reason, labels=("self_harm",), policy_version="1")


@pytest.mark.parametrize("role", [Role.PUPIL, Role.MENTOR])
def test_a_sender_reads_plain_words_that_name_nothing(role):
    """For an eleven-year-old: what happens now, what to do, where help is; never what the checks think."""
    for one in all_verdicts():
        words = explain(one, POLICY, to=Reader.PUPIL, role=role)
        assert grade(words) <= 6, (grade(words), words)
        assert not JARGON & set(re.findall(r"[a-z_]+", words.lower())), words
        assert not any(ABOUT[label] in words.lower() for label in RISK_LABELS if label != "eating")
        assert "you can" in words.lower() or "take it out" in words.lower()
        if role is Role.PUPIL:
            assert HELP in words
        if one.action is Action.DELIVER:
            assert "was sent" in words
        elif one.action is Action.HOLD:
            assert "not got it yet" in words
        else:
            assert "looking at it first" not in words


def test_a_mentor_is_not_told_that_an_adult_is():
    """What they wrote may be the reason; an alert about a mentor is discreet."""
    for one in all_verdicts():
        if one.action is Action.DELIVER:
            words = explain(one, POLICY, to=Reader.PUPIL, role=Role.MENTOR)
            assert words == "Your message was sent. You can keep writing."


def test_every_reason_has_words_in_one_place():
    """No reproach, no jargon, and what to do; nothing for what is not a reason."""
    for reason in Reason:
        for action in (Action.HOLD, Action.BLOCK):
            words = sender_words(reason, action)
            assert "you" in words.lower()
            assert not JARGON & set(re.findall(r"[a-z_]+", words.lower()))
    assert sender_words("") == sender_words("else") == ""


def test_help_is_where_the_pages_say_it_is():
    """The numbers are those of the default directory."""
    services = {service.name: service for service in DEFAULT_SERVICES}
    for name in ("Childline", "Shout"):
        assert str(services[name].phone) in HELP
    assert "999" in HELP
    own = explain(verdict(), POLICY, to=Reader.PUPIL, help_now="Ring Ms Okafor.")
    assert own.endswith("Ring Ms Okafor.") and HELP not in own


def test_a_moderator_reads_which_rule_where_and_how_sure():
    """With the rule's own words, the marked places, thresholds and the version."""
    one = verdict(DANGER, scored("level:high", 0.93), scored("self_harm", 0.5), degraded={"detoxify"})
    lines = explain(one, POLICY, to=Reader.MODERATOR, why=lambda name: WHY.get(name, name)).splitlines()
    assert lines[0] == "Held for a person; risk: high, the sender reads 'adult_first'."
    assert any("self_harm.want_death: Says that" in line and "characters 2 to 7" in line for line in lines)
    threshold = POLICY.threshold("linear", "level:high", Role.PUPIL)
    assert threshold is not None
    assert any(f"danger very likely (0.93; high risk from {threshold.high:.2f})" in line for line in lines)
    assert any("No answer from Detoxify" in line for line in lines)
    assert lines[-1] == f"Policy {POLICY.version}."


def test_a_moderator_reads_why_a_score_did_not_count():
    """Superseded, settled by a rule, counted in the conversation, aimed at nobody."""
    alarm = scored("level:high", 0.9)
    second = {"transformer": {"level:high": POLICY.thresholds["linear"]["level:high"]}}
    policy = replace(POLICY, thresholds={**POLICY.thresholds, **second})
    one = verdict(alarm, scored("eating", 0.01, "transformer"), policy=policy)
    said = explain(one, policy, to=Reader.MODERATOR)
    assert one.risk is Risk.NONE and "a better classifier answered" in said
    insult = ruled("harassment.insult", "toxicity:insult", action=Action.HOLD)
    said = explain(verdict(insult, scored("level:concern", 0.9)), POLICY, to=Reader.MODERATOR)
    assert "a rule knows what this is" in said
    worry = verdict(scored("level:concern", 0.9), so_far=State())
    assert worry.risk is Risk.NONE
    assert "counted in the conversation" in explain(worry, POLICY, to=Reader.MODERATOR)
    rude = verdict(scored("toxicity:insult", 0.9), text="what rain")
    assert "nobody is meant" in explain(rude, POLICY, to=Reader.MODERATOR)


def test_a_governor_reads_which_clause_and_how_often_it_is_wrong():
    """What kind of thing, by which clause, at which rate where one is known; no rule, no place, no score."""
    one = verdict(scored("level:high", 0.93), scored("self_harm", 0.5))
    said = explain(one, POLICY, to=Reader.GOVERNOR)
    assert "harm to oneself" in said and "Clause 'adult_first'" in said
    assert "at most 15 in 1,000 harmless messages" in said
    assert "0.93" not in said and POLICY.version in said
    number = explain(verdict(NUMBER), POLICY, to=Reader.GOVERNOR)
    assert "was not sent" in number and "personal details" in number and "contact.phone" not in number


def test_a_governor_is_told_no_rate_that_was_not_measured():
    """A threshold that a room has otherwise was not chosen on data."""
    closer = {"linear": {"level:high": replace(POLICY.thresholds["linear"]["level:high"], high=0.5)}}
    policy = replace(POLICY, rooms={"young": Overlay(thresholds=closer)})
    one = verdict(scored("level:high", 0.6), policy=policy, room="young")
    assert one.risk is Risk.HIGH
    said = explain(one, policy, to=Reader.GOVERNOR, room="young")
    assert "has not been measured" in said and "1,000" not in said


def of_conversation(risk):
    return Signal(label="grooming", score=0.9, stage=CONVERSATION, why="trajectory.x", risk=risk)


@pytest.mark.parametrize(
    ("one", "names"),
    [
        (verdict(), ("nothing",)),
        (verdict(scored("eating", 0.2)), ("nothing",)),
        (verdict(DANGER), ("rule", "adult_first")),
        (verdict(NUMBER), ("rule",)),
        (
            verdict(NUMBER, ruled("a.b", "abuse", risk=Risk.CONCERN)),
            ("rule", "never_blocked"),
        ),
        (verdict(scored("level:high", 0.9)), ("score", "adult_first")),
        (verdict(scored("level:concern", 0.9), so_far=State()), ("gathers",)),
        (verdict(scored("toxicity:insult", 0.9), text="the rain"), ("aimed",)),
        (verdict(of_conversation(Risk.HIGH)), ("conversation",)),
        (verdict(degraded={"linear"}), ("missing",)),
    ],
)
def test_each_clause_is_named_where_it_decided(one, names):
    """And no other."""
    assert clauses(one, POLICY, role=Role.PUPIL) == names
    assert set(names) <= set(CLAUSES)


def test_staff_and_first_look_are_clauses_too():
    """What staff write is delivered; a room may want everything read first."""
    assert clauses(verdict(DANGER, role=Role.ADULT), POLICY, role=Role.ADULT) == ("staff",)
    policy = replace(POLICY, rooms={"young": Overlay(hold_all=True)})
    one = verdict(policy=policy, room="young")
    assert clauses(one, policy, role=Role.PUPIL, room="young") == ("first_look",)


def test_nothing_of_the_message_is_in_any_explanation():
    """Whoever reads it."""
    text = "zebra crossing 07700 900123"
    one = verdict(NUMBER, DANGER, text=text)
    for reader in Reader:
        said = explain(one, POLICY, to=reader, why=lambda name: WHY.get(name, name))
        assert "zebra" not in said and "07700" not in said


def test_scores_and_sources_in_words():
    """Each step of likelihood has a word; a rule has its own."""
    assert [likely(score) for score in (1.0, 0.9, 0.7, 0.5, 0.3, 0.0)] == [
        "almost certain", "very likely", "likely", "possible", "not likely", "hardly",
    ]  # fmt: skip
    assert source_words("linear", "linear", 0.97) == "the first classifier finds it almost certain, 0.97"
    said = source_words("contact", "contact.email", 1.0, lambda name: WHY.get(name, name))
    assert said == "An email address (contact.email)"
    assert source_words("rules", "a.rule", 1.0) == "the rules, a.rule"


def test_every_label_and_stage_has_words():
    """So that no reader meets a name from the code."""
    toxicity = {f"toxicity:{label}" for label in TOXICITY_LABELS}
    assert set(ABOUT) == {*RISK_LABELS, *LEVEL_LABELS, *TOGETHER_LABELS, *toxicity}
    assert set(POLICY.thresholds) <= {*STAGES, *(f"{stage}.mentor" for stage in STAGES)}


def test_a_policy_in_words_says_what_happens_to_whom():
    """Every label that rules or thresholds are about, for pupils and mentors, and what no file can change."""
    policy = replace(
        POLICY,
        rooms={
            "young": Overlay(
                about="Ages 11 to 13", hold_all=True, actions={"toxicity:obscene": Action.HOLD},
                thresholds={"linear": {"toxicity:insult": POLICY.thresholds["linear"]["toxicity:insult"]}},
            )
        },
    )  # fmt: skip
    said = describe(policy, shipped_rules().rules)
    for label, words in ABOUT.items():
        if any(label in table for table in policy.thresholds.values()):
            assert words in said
    assert policy.version in said and "15 in 1,000" in said
    assert "room young" in said and "Ages 11 to 13" in said and "Swearing: held for a person" in said
    assert said.count("| harm to oneself |") >= 4  # by rules and by scores, for pupils and for mentors
    assert "No policy file can change this" in said


def test_what_no_file_can_change_is_said_as_it_is():
    """What is only counted in a conversation does not wait, and nobody who answers for it is told it does."""
    sure = replace(POLICY.thresholds["linear"]["level:high"], high=0.8, sure=0.95)
    policy = replace(POLICY, thresholds={"linear": {"level:high": sure}}, supersedes={})
    unsure = verdict(scored("level:high", 0.9), so_far=State(), policy=policy)
    assert (unsure.action, unsure.risk) == (Action.DELIVER, Risk.NONE)
    said = describe(policy)
    assert "that a rule finds in a message always waits" in said and "the message does not wait" in said
    assert "| danger | - | - | 0.800 | 0.950 | - | - |" in said
    assert "raises at once from 'sure from' on" in said
    assert "all high risk, raises at once" in describe(replace(policy, gathers_concern=False))
    assert "counted in the conversation" in explain(unsure, policy, to=Reader.MODERATOR)


def test_a_danger_that_is_counted_is_not_said_to_be_settled_by_a_rule():
    """Also where a rule asks for less beside it."""
    sure = replace(POLICY.thresholds["linear"]["level:high"], high=0.8, sure=0.95)
    policy = replace(POLICY, thresholds={"linear": {"level:high": sure}}, supersedes={})
    worry = ruled("bullied.a", "bullied", risk=Risk.CONCERN)
    one = verdict(worry, scored("level:high", 0.9), so_far=State(), policy=policy)
    assert one.risk is Risk.CONCERN
    assert "counted in the conversation" in explain(one, policy, to=Reader.MODERATOR)
    assert "gathers" in clauses(one, policy, role=Role.PUPIL)


# --- the message with the turns before it -------------------------------------------------------------

WEIGHING = replace(POLICY, agrees=0.5)


def read(*signals, at, role=Role.PUPIL, text="you there"):
    """A verdict in a conversation, where the message with the turns before it shows so much."""
    seen = (*signals, scored("together:risk", at, "transformer"))
    one = verdict(*seen, so_far=State(), policy=WEIGHING, role=role, text=text)
    return replace(one, so_far=State())


def explained(one, reader, role=Role.PUPIL):
    return explain(one, WEIGHING, to=reader, role=role, why=lambda name: WHY.get(name, name))


HARMLESS = "with the turns before it it is harmless"


@pytest.mark.parametrize("at", [0.01, 0.6])
def test_a_rule_is_never_said_to_be_doubted(at):
    one = read(DANGER, at=at)
    assert one.risk is Risk.HIGH
    assert clauses(one, WEIGHING, role=Role.PUPIL) == ("rule", "adult_first")
    assert not any("turns before" in explained(one, reader) for reader in Reader)


@pytest.mark.parametrize("role", [Role.PUPIL, Role.MENTOR])
def test_a_hold_that_the_second_reading_let_go_is_explained_to_each_reader(role):
    """The sender reads that it was sent and no more; staff which score, and why it did not hold."""
    rude = scored("toxicity:insult", 0.9, "transformer")
    one, held = (read(rude, at=at, role=role) for at in (0.3, 0.7))
    assert (one.action, one.risk, one.reason) == (Action.DELIVER, Risk.NONE, "")
    assert clauses(one, WEIGHING, role=role) == ("together",)
    sender = explained(one, Reader.PUPIL, role)
    assert sender.startswith("Your message was sent. You can keep writing.")
    assert "before it" not in sender
    lines = explained(one, Reader.MODERATOR, role).splitlines()
    assert lines[0] == "Delivered; risk: none."
    assert any("finds an insult very likely" in line and HARMLESS in line for line in lines)
    assert f"Clause together: {CLAUSES['together']}" in lines
    governor = explained(one, Reader.GOVERNOR, role)
    assert f"Clause 'together': {CLAUSES['together']}" in governor
    assert "an adult is told" not in governor
    assert (held.action, clauses(held, WEIGHING, role=role)) == (Action.HOLD, ("score",))
    assert HARMLESS not in explained(held, Reader.MODERATOR, role)


@pytest.mark.parametrize("at", [0.01, 0.7])
@pytest.mark.parametrize("label", ["level:concern", "level:high"])
def test_what_is_counted_is_said_to_be_so_whatever_was_read_before_it(label, at):
    one = read(scored(label, 0.9, "transformer"), at=at)
    assert one.counted
    assert clauses(one, WEIGHING, role=Role.PUPIL) == ("gathers",)
    assert "counted in the conversation" in explained(one, Reader.MODERATOR)
    assert HARMLESS not in explained(one, Reader.MODERATOR)


@pytest.mark.parametrize(
    "rule",
    [
        ruled("a.b", "harassment", action=Action.HOLD),
        ruled("a.b", "self_harm", risk=Risk.IMMEDIATE),
    ],
    ids=["holds", "immediate"],
)
def test_a_harmless_reading_that_changed_nothing_is_not_said_to_have(rule):
    one = read(rule, at=0.01)
    assert "together" not in clauses(one, WEIGHING, role=Role.PUPIL)
    assert "turns before" not in explained(one, Reader.GOVERNOR)


def test_where_a_check_gave_no_answer_no_second_reading_is_said_to_have_decided():
    rude, together = (
        scored("toxicity:insult", 0.9, "transformer"),
        scored("together:risk", 0.01, "transformer"),
    )
    seen = {"so_far": State(), "policy": WEIGHING, "text": "the rain", "degraded": {"language"}}
    one = replace(verdict(rude, together, **seen), so_far=State())
    assert clauses(one, WEIGHING, role=Role.PUPIL) == ("aimed", "missing")
    assert HARMLESS not in explained(one, Reader.MODERATOR)


def test_out_of_a_conversation_no_second_reading_is_said_to_have_decided():
    rude = scored("toxicity:insult", 0.9, "transformer")
    one = verdict(rude, scored("together:risk", 0.01, "transformer"), text="the rain", policy=WEIGHING)
    assert clauses(one, WEIGHING, role=Role.PUPIL) == ("aimed",)
    assert HARMLESS not in explained(one, Reader.MODERATOR)


def test_the_second_reading_is_in_the_policy_in_words():
    said = describe(WEIGHING)
    assert f"- **together**: {CLAUSES['together']}" in said
    order = [said.index(f"- **{name}**") for name in ("gathers", "together", "conversation")]
    assert order == sorted(order)


def test_each_way_to_go_wrong_reads_otherwise():
    """Two labels with the same words would be one thing to a moderator."""
    words = [ABOUT[label] for label in TOGETHER_LABELS]
    assert len(set(words)) == len(words)
    assert all(one.endswith(", with the turns before it") for one in words)
