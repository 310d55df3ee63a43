"""Policy: pure, in a stated order, its thresholds data that fail loudly when they are wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation.policy import POLICY, BadPolicy, Policy, Reason, Threshold, explain, load_policy
from moderation.verdict import RISK_LABELS, TOXICITY_LABELS, Action, Risk, Role, Signal, Submission

NOTHING: frozenset[str] = frozenset()

plain_policy = Policy(
    version="t-0",
    thresholds={
        "model": {
            "self_harm": Threshold(named=0.3, concern=0.5, high=0.8, immediate=0.95),
            "bullied": Threshold(named=0.3, concern=0.5),
            "toxicity:insult": Threshold(hold=0.6),
            "harassment": Threshold(hold=0.6),
        },
        "model.mentor": {"self_harm": Threshold(high=0.99)},
    },
    reasons={"toxicity:insult": Reason.UNKIND, "personal_data": Reason.PERSONAL, "harassment": Reason.UNKIND},
    settled=frozenset({"toxicity:insult", "personal_data"}),
    told=frozenset({"bullied"}),
    mistaken=frozenset({"bullied", "harassment"}),
    aimed=frozenset({"you"}),
)


def scored(label, score, **more):
    return Signal(label=label, score=score, stage="model", why="model", **more)


def ruled(label, *, risk=Risk.NONE, action=Action.DELIVER):
    return Signal(label=label, score=1.0, stage="rules", why="a.rule", risk=risk, action=action)


def decide(*signals, text="said to you", role=Role.PUPIL, degraded=NOTHING):
    return plain_policy.decide(Submission(text=text, role=role), signals, frozenset(degraded))


def test_nothing_seen_is_delivered():
    """No signal, no reason, no label."""
    verdict = decide()
    assert (verdict.action, verdict.risk, verdict.reason, verdict.labels) == (
        Action.DELIVER,
        Risk.NONE,
        "",
        (),
    )
    assert verdict.policy_version == "t-0"


@pytest.mark.parametrize(
    ("score", "risk", "action"),
    [
        (0.49, Risk.NONE, Action.DELIVER),
        (0.5, Risk.CONCERN, Action.DELIVER),
        (0.8, Risk.HIGH, Action.HOLD),
        (0.95, Risk.IMMEDIATE, Action.HOLD),
    ],
)
def test_scores_become_risk_at_their_thresholds(score, risk, action):
    """Concern is delivered; from high on an adult looks first."""
    verdict = decide(scored("self_harm", score))
    assert (verdict.risk, verdict.action) == (risk, action)
    assert verdict.reason == ("adult_first" if risk >= Risk.HIGH else "")


def test_a_mentor_may_have_thresholds_of_their_own():
    """A mentor speaks of suicide because it is their task to ask."""
    assert decide(scored("self_harm", 0.96), role=Role.MENTOR).risk is Risk.NONE


def test_contact_details_are_blocked_and_risk_makes_that_a_hold():
    """Somebody in danger who gives a number is answered, not refused."""
    detail = ruled("personal_data", action=Action.BLOCK)
    assert (decide(detail).action, decide(detail).reason) == (Action.BLOCK, "personal")
    both = decide(detail, ruled("abuse", risk=Risk.CONCERN))
    assert (both.action, both.risk, both.reason) == (Action.HOLD, Risk.CONCERN, "personal")
    urgent = decide(detail, ruled("abuse", risk=Risk.HIGH))
    assert (urgent.action, urgent.reason) == (Action.HOLD, "adult_first")
    assert urgent.labels[0] == "abuse"


def test_an_insult_that_a_rule_knows_is_no_alarm():
    """A moderator handles it, however alarming a classifier finds it; another danger still counts."""
    insult = ruled("toxicity:insult", action=Action.HOLD)
    verdict = decide(insult, scored("bullied", 0.9))
    assert (verdict.action, verdict.risk, verdict.reason) == (Action.HOLD, Risk.NONE, "unkind")
    assert decide(insult, scored("self_harm", 0.6)).risk is Risk.NONE
    assert decide(insult, scored("self_harm", 0.9)).risk is Risk.HIGH
    assert decide(insult, ruled("bullied", risk=Risk.CONCERN)).risk is Risk.CONCERN


def test_a_score_holds_only_what_is_aimed_at_somebody():
    """Swearing at the rain and being cross with oneself go through; a rule needs no such word."""
    rude = scored("toxicity:insult", 0.9)
    assert decide(rude, text="you idiot").action is Action.HOLD
    assert decide(rude, text="i feel like an idiot").action is Action.DELIVER
    assert decide(ruled("toxicity:insult", action=Action.HOLD), text="idiot").action is Action.HOLD
    assert decide(rude, text="u idiot").action is Action.HOLD


def test_who_tells_of_being_bullied_is_no_bully():
    """A topic's score holds a text only as the likeliest of the topics."""
    assert decide(scored("harassment", 0.7)).action is Action.HOLD
    assert decide(scored("harassment", 0.7), scored("bullied", 0.8)).action is Action.DELIVER
    assert decide(scored("toxicity:insult", 0.9), scored("bullied", 0.8)).action is Action.DELIVER
    assert decide(scored("toxicity:insult", 0.9), ruled("abuse", risk=Risk.CONCERN)).action is Action.DELIVER


def test_a_missing_answer_holds_and_says_so():
    """Fail closed; what was held or blocked anyway keeps its reason."""
    verdict = decide(degraded={"model"})
    assert (verdict.action, verdict.reason, verdict.degraded) == (Action.HOLD, "check_failed", {"model"})
    assert decide(scored("self_harm", 0.6), degraded={"x"}).reason == "check_failed"
    assert decide(ruled("personal_data", action=Action.BLOCK), degraded={"x"}).reason == "personal"
    assert decide(ruled("abuse", risk=Risk.HIGH), degraded={"x"}).reason == "adult_first"


@pytest.mark.parametrize("role", [Role.ADULT, Role.MODERATOR, Role.COORDINATOR])
def test_trained_staff_are_delivered_and_recorded(role):
    """A human decision supersedes the machine's, also when a stage is missing."""
    signals = [ruled("abuse", risk=Risk.IMMEDIATE), ruled("personal_data", action=Action.BLOCK)]
    verdict = decide(*signals, role=role, degraded={"model"})
    assert (verdict.action, verdict.risk, verdict.reason) == (Action.DELIVER, Risk.NONE, "")
    assert len(verdict.signals) == 2
    assert verdict.degraded == {"model"}


def test_labels_name_what_counted_strongest_first():
    """A score under its threshold names nothing unless something else counts."""
    verdict = decide(
        ruled("abuse", risk=Risk.CONCERN),
        scored("self_harm", 0.85),
        scored("bullied", 0.4),
        scored("eating", 0.9),
    )
    assert verdict.labels == ("self_harm", "abuse", "bullied")
    assert decide(scored("bullied", 0.4)).labels == ()


signals_of_all_kinds = st.lists(
    st.builds(
        Signal,
        label=st.sampled_from([*RISK_LABELS, *(f"toxicity:{label}" for label in TOXICITY_LABELS)]),
        score=st.floats(0, 1),
        stage=st.sampled_from(["rules", "linear", "contact"]),
        why=st.just("x"),
        risk=st.sampled_from(Risk),
        action=st.sampled_from(Action),
    ),
    max_size=8,
)


@given(signals_of_all_kinds, st.sampled_from([Role.PUPIL, Role.MENTOR]), st.booleans())
def test_what_always_holds(signals, role, missing):
    """For any signals: risk is never blocked, high risk never delivered, and every hold has a reason."""
    policy = load_policy()
    degraded = frozenset({"linear"} if missing else ())
    verdict = policy.decide(Submission(text="you there", role=role), signals, degraded)
    if verdict.risk is not Risk.NONE:
        assert verdict.action is not Action.BLOCK
    if verdict.risk >= Risk.HIGH:
        assert (verdict.action, verdict.reason) == (Action.HOLD, "adult_first")
    if missing:
        assert verdict.action is not Action.DELIVER
    assert bool(verdict.reason) == (verdict.action is not Action.DELIVER)
    assert not verdict.reason or explain(verdict.reason)
    assert verdict.risk >= max((one.risk for one in signals), default=Risk.NONE)
    assert verdict == policy.decide(Submission(text="you there", role=role), signals, degraded)


def test_every_reason_is_explained_in_plain_words():
    """No reproach, no jargon, and what to do; nothing for what is not a reason."""
    for reason in Reason:
        words = explain(reason)
        assert "you" in words.lower()
        assert not {"flagged", "policy", "violation", "prohibited"} & set(words.lower().split())
    assert explain("") == explain("else") == ""


def test_the_version_changes_with_the_file_and_with_what_else_decides(tmp_path):
    """Two verdicts of one version were decided alike."""
    file = tmp_path / "policy.toml"
    file.write_text(POLICY.read_text(encoding="utf-8"), encoding="utf-8")
    same = load_policy(file)
    assert same.version == load_policy(POLICY).version
    assert load_policy(file, made_with=b"other rules").version != same.version
    file.write_text(file.read_text(encoding="utf-8") + "\n# changed\n", encoding="utf-8")
    assert load_policy(file).version != same.version


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ('version = "1"\n[stage.linear\n', 2, "line 2"),
        ("x = 1\n", 1, "unknown entry 'x'"),
        ('version = "a b"\n', 1, "version must be"),
        ('version = "1"\n[stage.linear]\nsadness = { hold = 0.5 }\n', 3, "unknown label 'sadness'"),
        ('version = "1"\n[stage.linear]\nabuse = 0.5\n', 3, "table of thresholds"),
        ('version = "1"\n[stage.linear]\nabuse = { hold = 2 }\n', 3, "at most 1"),
        ('version = "1"\n[stage.linear]\nabuse = { hold = true }\n', 3, "at most 1"),
        ('version = "1"\n[stage.linear]\nabuse = { holt = 0.5 }\n', 3, "unknown threshold 'holt'"),
        ('version = "1"\n[stage.linear]\nabuse = { concern = 0.9, high = 0.5 }\n', 3, "no lower"),
        ('version = "1"\n[reasons]\nabuse = "because"\n', 3, "unknown reason 'because'"),
        ('version = "1"\n[settled]\nlabels = ["x"]\n', 3, "unknown label 'x'"),
        ('version = "1"\n[aimed]\nwords = "you"\n', 3, "list of words"),
        ('version = "1"\n[aimed]\nunless_score = 7\n', 3, "at most 1"),
        ('version = "1"\n[told]\nlabels = ["x"]\n', 3, "unknown label 'x'"),
        ('version = "1"\n[aimed]\nother = 7\n', 3, "unknown entry 'other'"),
    ],
)
def test_a_bad_policy_fails_with_its_line(tmp_path, text, line, words):
    """Nothing starts on a policy with a slip in it."""
    file = tmp_path / "policy.toml"
    file.write_text(text)
    with pytest.raises(BadPolicy) as caught:
        load_policy(file)
    assert str(caught.value).startswith(f"{file}:{line}:")
    assert words in str(caught.value)
