"""The fold over a conversation: bounded, the same however it is cut, and raising what gathers."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation import trajectory
from moderation.linear import BadModel
from moderation.pipeline import Pipeline
from moderation.policy_file import load_policy
from moderation.trajectory import (
    EVIDENCE,
    FEATURES,
    ONE,
    PATTERNS,
    STAGE,
    VERSION,
    WHY,
    State,
    UnknownState,
    begun_with,
    continued,
    features,
    load_weights,
    reached,
    resumed,
    save_weights,
    step,
)
from moderation.verdict import (
    LEVEL_LABELS,
    RISK_LABELS,
    Action,
    Risk,
    Role,
    Signal,
    Submission,
    Verdict,
)
from tests.support.scores import EVEN, LOW, Scores

PUPIL, MENTOR = Role.PUPIL, Role.MENTOR


def scored(stage="linear", **scores):
    return tuple(
        Signal(label=name.replace("level_", "level:"), score=score, stage=stage, why=stage)
        for name, score in scores.items()
    )


def ruled(why, label, risk=Risk.HIGH, *, clears=False):
    return Signal(label=label, score=0.0 if clears else 1.0, stage="rules", why=why, risk=risk, clears=clears)


def run(turns, weights=EVEN, state=None):
    """Fold turns of (role, signals); return the state and what was raised, by turn."""
    state = state or State()
    raised = []
    for at, (role, signals) in enumerate(turns):
        state, found = step(state, role, signals, (), weights)
        raised += [(at, one) for one in found]
    return state, raised


labels = st.sampled_from((*RISK_LABELS, *LEVEL_LABELS, "toxicity:insult"))
signals = st.builds(
    Signal,
    label=labels,
    score=st.floats(0, 1),
    stage=st.sampled_from(["linear", "transformer", "rules", "contact", "trajectory"]),
    why=st.sampled_from(["x", "good_practice.refuses", "good_practice.direct_question"]),
    risk=st.sampled_from(Risk),
    action=st.sampled_from(Action),
    clears=st.booleans(),
)
turns = st.tuples(
    st.sampled_from(Role),
    st.lists(signals, max_size=6).map(tuple),
    st.sampled_from([frozenset(), frozenset({"linear"}), frozenset({"rules"})]),
)


# --- the state ----------------------------------------------------------------------------------------


@given(st.lists(turns, max_size=30), st.integers(0, 30))
def test_a_conversation_comes_to_the_same_however_it_is_cut(talk, cut):
    """At once, turn by turn, and with the state written down and read again in between."""
    whole, broken = State(), State()
    raised: list[Signal] = []
    again: list[Signal] = []
    for at, (role, seen, degraded) in enumerate(talk):
        whole, found = step(whole, role, seen, degraded, EVEN)
        raised += found
        if at == cut:
            broken = State.from_json(broken.to_json())
        broken, found = step(broken, role, seen, degraded, EVEN)
        again += found
    assert (whole, raised) == (broken, again)


@given(st.lists(turns, max_size=60))
def test_the_state_does_not_grow(talk):
    """Its size is one, whatever was said, and so are the bounds of what is in it."""
    state = State()
    size = len(state.to_json())
    for role, seen, degraded in talk:
        state, found = step(state, role, seen, degraded, EVEN)
        assert len(found) <= 1
        assert all(one.stage == STAGE and one.why in WHY and 0 <= one.score <= 1 for one in found)
    assert len(state.to_json()) == size < 400
    assert all(0 <= value <= 1 for value in features(state))
    assert State.from_json(state.to_json()) == state


def test_very_long_conversations_stay_in_bounds():
    seen = (*scored(level_high=1.0), ruled("grooming.probe", "grooming"))
    state, _ = run([(PUPIL, seen), (MENTOR, seen)] * 20_000)
    assert max(state.turns) <= trajectory.MOST
    assert State.from_json(state.to_json()) == state


@given(turns, st.lists(turns, max_size=10), st.floats(0, 1))
def test_more_evidence_in_a_message_never_lowers_the_score(last, before, share):
    state = State()
    for role, seen, degraded in before:
        state, _ = step(state, role, seen, degraded, EVEN)
    role, seen, _ = last
    less = tuple(
        replace(one, score=one.score * share) if one.stage in trajectory.CLASSIFIERS else one for one in seen
    )
    most, _ = step(state, role, seen, (), EVEN)
    least, _ = step(state, role, less, (), EVEN)
    assert EVEN.odds(most) >= EVEN.odds(least) - 1e-9


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "null", "[1]", "[99,\"AAAA\"]", '["2","AAAA"]', f'[{VERSION},"AAAA"]', f"[{VERSION},7]",
     f'[{VERSION},"\u00e9"]', f'[{VERSION},"{"//8A" * 80}"]', "[" * 5_000],
)  # fmt: skip
def test_a_state_that_this_version_did_not_write_is_named_and_begun_anew(text):
    with pytest.raises(UnknownState) as error:
        State.from_json(text)
    assert "AAAA" not in str(error.value)
    assert resumed(text) == (State(), False)


def test_a_state_out_of_bounds_is_no_state():
    with pytest.raises(UnknownState):
        State.from_json(replace(State(), mood=ONE + 1).to_json())


def test_no_state_is_the_beginning():
    assert resumed(None) == (State(), True)
    kept = State(mood=5)
    assert resumed(kept.to_json()) == (kept, True)


def test_staff_change_nothing():
    state, _ = run([(PUPIL, scored(self_harm=0.5))])
    for role in (Role.ADULT, Role.MODERATOR, Role.COORDINATOR):
        assert step(state, role, scored(self_harm=1.0), (), EVEN) == (state, ())


def test_a_message_that_no_classifier_judged_washes_nothing_away():
    state, _ = run([(PUPIL, scored(self_harm=0.9))])
    after, _ = step(state, PUPIL, (), {"linear", "transformer"}, EVEN)
    assert (after.slow, after.fast, after.peak) == (state.slow, state.fast, state.peak)
    calmer, _ = step(state, PUPIL, (), (), EVEN)
    assert sum(calmer.fast) < sum(state.fast)


def test_the_best_classifier_that_answered_counts():
    both = (*scored(self_harm=0.9), *scored("transformer", self_harm=0.1))
    assert run([(PUPIL, both)]) == run([(PUPIL, scored("transformer", self_harm=0.1))])


def test_low_scores_are_no_evidence():
    """So that it makes no difference whether a stage reports them."""
    quiet = scored(**dict.fromkeys(("self_harm", "abuse", "level_high"), 0.049))
    assert run([(PUPIL, quiet)])[0] == run([(PUPIL, ())])[0]


# --- what raises --------------------------------------------------------------------------------------


def test_concern_gathers():
    """One turn is nothing; four of them are, and it is told once."""
    low = scored(self_harm=0.3, level_concern=0.4)
    assert run([(PUPIL, low)])[1] == []
    _, raised = run([(PUPIL, low), (MENTOR, ())] * 4)
    assert len(raised) == 1
    assert (raised[0][1].why, raised[0][1].label) == ("trajectory.going_down", "self_harm")


def test_what_goes_on_is_told_again_after_a_while_and_what_gets_worse_at_once():
    low, worse = scored(self_harm=0.3, level_concern=0.4), scored(self_harm=1.0, level_high=1.0, abuse=0.9)
    _, raised = run([(PUPIL, low)] * 14)
    assert [at - raised[0][0] for at, _ in raised] == [0, EVEN.again]
    state, _ = run([(PUPIL, low)] * 4)
    _, raised = run([(PUPIL, worse)] * 3, state=state)
    assert [(at, one.risk) for at, one in raised if one.risk is Risk.HIGH][:1] == [(0, Risk.HIGH)]


def test_what_calmed_down_is_told_anew():
    low = scored(self_harm=0.3, level_concern=0.4)
    _, raised = run([*[(PUPIL, low)] * 4, *[(PUPIL, ())] * 20, *[(PUPIL, low)] * 6], replace(EVEN, again=99))
    assert len(raised) == 2


DRIFT = scored(boundary=0.35, level_concern=0.4)


@pytest.mark.parametrize(
    ("name", "about", "talk"),
    [
        ("boundary_drift", MENTOR, [(MENTOR, DRIFT), (PUPIL, ())]),
        ("grooming_by_mentor", MENTOR, [(MENTOR, scored(grooming=0.4, level_concern=0.3)), (PUPIL, ())]),
        ("grooming", PUPIL, [(PUPIL, scored(grooming=0.4, level_concern=0.3)), (MENTOR, ())]),
        ("going_down", PUPIL, [(PUPIL, scored(eating=0.4, level_concern=0.3)), (MENTOR, ())]),
        ("disclosure", PUPIL, [(PUPIL, scored(abuse=0.4, level_concern=0.3)), (MENTOR, ())]),
        ("attack", PUPIL, [(PUPIL, scored(harassment=0.4, level_concern=0.3)), (MENTOR, ())]),
        ("pieces", PUPIL, [(PUPIL, scored(personal_data=0.4, level_concern=0.3)), (MENTOR, ())]),
    ],
)
def test_every_pattern_is_named_and_its_faint_twin_is_quiet(name, about, talk):
    _, raised = run(talk * 6)
    assert [one.why for _, one in raised][:1] == [f"trajectory.{name}"]
    assert trajectory.about(raised[0][1].why) is about
    assert raised[0][1].label in RISK_LABELS
    faint = [(role, tuple(replace(one, score=one.score / 6) for one in seen)) for role, seen in talk]
    assert run(faint * 6)[1] == []


def test_every_pattern_has_words_for_staff():
    assert set(WHY) == {pattern.why for pattern in PATTERNS}
    for pattern in PATTERNS:
        assert all(set(kinds) <= set(EVIDENCE) for kinds in pattern.evidence.values())


def test_a_phone_number_in_pieces_is_counted_over_turns():
    """What one message says counts on: three parts are more than one."""
    part = Signal(
        label="personal_data", score=1.0, stage="contact", why="contact.phone_part", risk=Risk.CONCERN
    )
    one, three = run([(PUPIL, (part,))])[0], run([(PUPIL, (part,)), (MENTOR, ())] * 3)[0]
    assert EVEN.odds(three) > EVEN.odds(one)


def test_a_mentors_repeated_breaches_are_counted():
    breach = ruled("boundary.diagnosis", "boundary", Risk.CONCERN)
    once, often = run([(MENTOR, (breach,))])[0], run([(MENTOR, (breach,)), (PUPIL, ())] * 3)[0]
    assert EVEN.odds(often) > EVEN.odds(once)


def test_what_a_rule_knows_as_good_practice_counts_for_less():
    asked = (
        *scored(self_harm=0.95, level_high=0.9),
        ruled("good_practice.direct_question", "self_harm", Risk.NONE, clears=True),
    )
    bare = asked[:-1]
    weights = replace(EVEN, weights=tuple(0.0 if name.startswith("mentor.a") else 1.0 for name in FEATURES))
    assert weights.odds(run([(MENTOR, asked)])[0]) < weights.odds(run([(MENTOR, bare)])[0])


def test_a_question_about_harm_that_gets_no_no_raises_without_any_weight():
    """Whatever else was said: the rule that sees a no is missing."""
    asks = (ruled("course.asks_harm", "self_harm", Risk.NONE),)
    denies = (ruled("course.denies", "self_harm", Risk.NONE),)
    _, raised = run([(MENTOR, asks), (PUPIL, ())])
    assert [(at, one.why, one.risk) for at, one in raised] == [(1, "trajectory.no_denial", Risk.CONCERN)]
    assert run([(MENTOR, asks), (PUPIL, denies)])[1] == []
    assert run([(MENTOR, asks), (MENTOR, ()), (PUPIL, ())])[1] == []
    assert len(run([(MENTOR, asks), (PUPIL, ()), (PUPIL, ())])[1]) == 1


def test_an_alarm_about_one_waits_where_the_message_alarms_about_the_other():
    """A mentor's breach is told as that; what the pupil needs is told with the next message."""
    low = scored(self_harm=0.5, level_concern=0.5)
    state, _ = run([(PUPIL, low)])
    breach = (ruled("boundary.secrecy", "boundary"), *scored(self_harm=0.9, level_high=0.9))
    after, found = step(state, MENTOR, breach, (), EVEN)
    assert (found, EVEN.odds(after) >= EVEN.concern) == ((), True)
    _, found = step(after, PUPIL, low, (), EVEN)
    assert [one.why for one in found] == ["trajectory.going_down"]


# --- its data -----------------------------------------------------------------------------------------


def test_the_shipped_weights_are_what_they_say():
    weights = load_weights()
    assert len(weights.weights) == len(FEATURES)
    assert min(weights.weights) >= 0
    assert weights.calmed < weights.concern < weights.high


def test_weights_are_written_and_read_again(tmp_path):
    file = tmp_path / "trajectory.toml"
    save_weights(EVEN, ["made up"], file)
    assert load_weights(file) == EVEN


@pytest.mark.parametrize(
    ("old", "new"),
    [("slow = 100", "slow = 101"), ("# made up", "# made"), ('sha256 = "', 'sha256 = "0'), ("sha256", "sha")],
)
def test_weights_that_were_changed_are_refused(tmp_path, old, new):
    file = tmp_path / "trajectory.toml"
    save_weights(EVEN, ["made up"], file)
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(BadModel):
        load_weights(file)


@pytest.mark.parametrize(
    "wrong",
    [
        {"weights": (-1.0, *EVEN.weights[1:])},
        {"weights": (math.inf, *EVEN.weights[1:])},
        {"slow": 0},
        {"fast": 1_001},
        {"concern": 9.0},
        {"bias": math.nan},
    ],
)
def test_weights_that_make_no_sense_are_refused(tmp_path, wrong):
    file = tmp_path / "trajectory.toml"
    save_weights(replace(EVEN, **wrong), [], file)
    if "weights" in wrong and wrong["weights"][0] < 0:  # not written at all: as if it were nought
        assert load_weights(file).weights[0] == 0
        return
    with pytest.raises(BadModel):
        load_weights(file)


def test_weights_that_are_not_there_are_refused(tmp_path):
    with pytest.raises(BadModel):
        load_weights(tmp_path / "none.toml")


# --- in the pipeline ----------------------------------------------------------------------------------


@pytest.fixture
def pipeline(monkeypatch):
    monkeypatch.setattr(trajectory, "shipped_weights", lambda: EVEN)
    return Pipeline([Scores()], load_policy())


def talk(*texts, name="c", role=PUPIL):
    return [Submission(text=text, role=role, so_far=State(), conversation=name) for text in texts]


async def test_messages_of_one_conversation_are_taken_one_after_the_other(pipeline):
    """In one batch, in two, or each alone: the same verdicts. Two conversations do not mix."""
    submissions = talk(*[LOW] * 6)
    at_once = await pipeline.judge(submissions)
    states: dict[str, State] = {}
    parts = []
    for first in range(0, 6, 2):
        batch = continued(submissions[first : first + 2], states)
        verdicts = await pipeline.judge(batch)
        states |= reached(batch, verdicts)
        parts += verdicts
    assert parts == at_once
    assert [one.risk for one in at_once].count(Risk.CONCERN) == 1
    mixed = [one for pair in zip(submissions, talk(*["hello"] * 6, name="d"), strict=True) for one in pair]
    apart = await pipeline.judge(mixed)
    assert apart[::2] == at_once
    assert {one.risk for one in apart[1::2]} == {Risk.NONE}


async def test_a_message_by_itself_has_no_conversation(pipeline):
    alone = [replace(one, so_far=None, conversation="") for one in talk(*[LOW] * 8)]
    assert {(one.so_far, one.risk) for one in await pipeline.judge(alone)} == {(None, Risk.NONE)}


async def test_what_the_conversation_comes_to_raises_and_holds_nothing(pipeline):
    verdicts = await pipeline.judge(talk(*[LOW] * 6))
    [raising] = [one for one in verdicts if one.risk is not Risk.NONE]
    assert (raising.action, raising.labels[0], raising.about) == (Action.DELIVER, "self_harm", None)
    assert [one.why for one in raising.signals if one.stage == STAGE] == ["trajectory.going_down"]


async def test_it_is_said_whose_risk_it_is(pipeline):
    """A mentor who asks after a pupil is not the one whom the alarm is about."""
    submissions = [*talk(*[LOW] * 2), *talk("self_harm 0.9", role=MENTOR)]
    *_, asked = await pipeline.judge(submissions)
    assert (asked.risk, asked.about) == (Risk.CONCERN, PUPIL)


async def test_one_alert_is_about_one_person_and_the_other_comes_next(pipeline):
    """A score alarms about the mentor's own words while the talk alarms about the pupil: neither is lost."""
    sure = "self_harm 0.9, level:high 0.99, level:immediate 0.99"
    submissions = [*talk(*[LOW] * 2), *talk(sure, role=MENTOR), *talk(LOW)]
    *_, own, after = await pipeline.judge(submissions)
    assert (own.risk, own.about) == (Risk.IMMEDIATE, None)
    assert not [one for one in own.signals if one.stage == STAGE]
    assert [one.why for one in after.signals if one.stage == STAGE] == ["trajectory.going_down"]
    assert after.risk >= Risk.CONCERN


def test_a_note_is_how_a_conversation_begins(monkeypatch):
    """Judged by itself, and told by itself: what it was told of may be told again."""
    monkeypatch.setattr(trajectory, "shipped_weights", lambda: EVEN)
    note = Verdict(
        action=Action.DELIVER,
        risk=Risk.CONCERN,
        signals=scored(self_harm=0.9, level_high=0.9, abuse=0.9),
        policy_version="1",
    )
    state = begun_with(note)
    assert state.turns == (1, 0)
    assert not any(state.told)
    assert run([(PUPIL, ())], state=state)[1] != [] or EVEN.odds(state) >= EVEN.concern
