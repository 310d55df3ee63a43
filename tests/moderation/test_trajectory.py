"""The fold over a conversation: bounded, the same however it is cut, and raising what gathers."""

import binascii
import itertools
import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation import trajectory
from moderation.linear import BadModel
from moderation.pipeline import Pipeline, in_turn
from moderation.policy_file import load_policy
from moderation.trajectory import (
    CLEAR,
    COUNTS,
    EVIDENCE,
    FEATURES,
    ONE,
    PATTERNS,
    STAGE,
    TOGETHER_LINES,
    VERSION,
    WHY,
    State,
    UnknownState,
    begun_with,
    features,
    load_weights,
    resumed,
    save_weights,
    step,
)
from moderation.verdict import (
    LEVEL_LABELS,
    RISK_LABELS,
    TOGETHER_LABELS,
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


LEVELS_ALONE = replace(
    EVEN,
    weights=tuple(weight * ("level:" in name) for name, weight in zip(FEATURES, EVEN.weights, strict=True)),
)
"""Weights under which nothing else counts."""

labels = st.sampled_from((*RISK_LABELS, *LEVEL_LABELS, *TOGETHER_LABELS, "toxicity:insult"))
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


WRITTEN_BY_1 = binascii.b2a_base64(
    bytes(2 * (2 + 3 * 2 * len(EVIDENCE) + len(COUNTS) + 1 + len(PATTERNS) + 1)), newline=False
).decode()
"""An empty state of version 1, which had no `together`."""


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
    assert len(state.to_json()) == size < 500
    assert len(state.together) == len(TOGETHER_LINES) * len(TOGETHER_LABELS)
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
        one._replace(score=one.score * share) if one.stage in trajectory.CLASSIFIERS else one for one in seen
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


@pytest.mark.parametrize(
    "wrong",
    [
        {"mood": ONE + 1},
        {"together": (ONE + 1, *State().together[1:])},
        {"counts": (trajectory.MOST + 1,) * len(COUNTS)},
    ],
    ids=repr,
)
def test_a_state_out_of_bounds_is_no_state(wrong):
    with pytest.raises(UnknownState):
        State.from_json(replace(State(), **wrong).to_json())


@pytest.mark.parametrize("of_old", [True, False])
def test_a_state_from_before_there_was_a_second_reading_is_unknown(of_old):
    """Its numbers would be read as others than they are: it is begun anew, and added up from the verdicts."""
    packed = json.loads(State().to_json())[1]
    text = json.dumps([1, packed]) if of_old else json.dumps([VERSION, WRITTEN_BY_1])
    with pytest.raises(UnknownState):
        State.from_json(text)
    assert resumed(text) == (State(), False)


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
    faint = [(role, tuple(one._replace(score=one.score / 6) for one in seen)) for role, seen in talk]
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


@pytest.mark.parametrize("stage", ["linear", "transformer"])
def test_a_language_that_nobody_measured_washes_nothing_away(stage):
    """Found by a review: classifiers answer next to nothing on it, and a pupil's trouble faded."""
    before, _ = run([(PUPIL, scored(stage, self_harm=0.5, level_concern=0.5))] * 3)
    faint = scored(stage, self_harm=0.01)
    after, _ = step(before, PUPIL, faint, {"language"}, EVEN)
    assert (after.slow, after.fast, after.peak, after.mood) == (
        before.slow, before.fast, before.peak, before.mood,
    )  # fmt: skip
    assert after.turns == (4, 0)
    judged, _ = step(before, PUPIL, faint, (), EVEN)
    assert sum(judged.fast) < sum(before.fast), "as it would in one that they can judge"


@pytest.mark.parametrize("role", [PUPIL, MENTOR])
def test_levels_that_name_no_topic_blame_nobody(role):
    """Found by a review: the first pattern was told, and that one is about the mentor."""
    _, raised = run([(role, scored(level_concern=0.9, level_high=0.9))] * 6, weights=LEVELS_ALONE)
    assert raised and {one.why for _, one in raised} == {"trajectory.going_down"}
    assert trajectory.about(raised[0][1].why) is PUPIL


# --- what messages show together with those before them ------------------------------------------------


def shown(**scores):
    """What the second tier says of a message with the turns before it."""
    return tuple(
        Signal(label=f"together:{name}", score=score, stage="transformer", why="transformer")
        for name, score in scores.items()
    )


def lines(state, name):
    """The newest answer, the mean and the most for one of the labels."""
    at, each = TOGETHER_LABELS.index(f"together:{name}"), len(TOGETHER_LABELS)
    return tuple(state.together[line * each + at] for line in range(len(TOGETHER_LINES)))


EVEN_ODDS = ONE // 2
"""Of a score of a half."""


def test_each_answer_is_kept_as_the_newest_a_mean_and_the_most():
    """By its log-odds: a half is half, from 4 on it is all, and down from -4 it is nothing."""
    assert lines(State(), "risk") == (0, 0, 0)
    state, _ = run([(PUPIL, shown(risk=0.5))])
    assert lines(state, "risk") == (EVEN_ODDS, EVEN_ODDS // 2, EVEN_ODDS)
    state, _ = run([(PUPIL, shown(risk=1.0))], state=state)
    assert lines(state, "risk") == (ONE, (EVEN_ODDS // 2 + ONE) // 2, ONE)
    state, _ = run([(MENTOR, shown(risk=0.001))], state=state)
    assert lines(state, "risk") == (0, (EVEN_ODDS // 2 + ONE) // 4, ONE)


def test_what_was_read_and_not_named_is_as_good_as_nothing():
    """Scores under the least are not told; the others are known from the one that is."""
    state, _ = run([(PUPIL, shown(risk=0.9, attack=0.9)), (PUPIL, shown(risk=0.9))])
    newest, mean, most = lines(state, "attack")
    assert newest == 0
    assert 0 < mean < most


@pytest.mark.parametrize("role", [PUPIL, MENTOR])
def test_a_message_that_was_not_read_so_leaves_the_lines_as_they_are(role):
    before, _ = run([(PUPIL, shown(risk=0.9, going_down=0.7))])
    for signals, degraded in ((scored(self_harm=0.2), ()), ((), ("transformer",)), ((), ())):
        after, _ = step(before, role, signals, degraded, EVEN)
        assert after.together == before.together


def test_in_a_language_that_nobody_measured_the_lines_stay_too():
    before, _ = run([(PUPIL, shown(risk=0.9, going_down=0.7))])
    for score in (0.01, 0.99):
        after, _ = step(before, PUPIL, shown(risk=score), {"language"}, EVEN)
        assert after.together == before.together


def test_the_order_of_messages_counts_and_that_of_signals_does_not():
    up, down = shown(risk=0.1, pieces=0.2), shown(risk=0.9, pieces=0.1)
    rising, falling = run([(PUPIL, up), (PUPIL, down)])[0], run([(PUPIL, down), (PUPIL, up)])[0]
    assert lines(rising, "risk")[:2] > lines(falling, "risk")[:2]
    assert lines(rising, "risk")[2] == lines(falling, "risk")[2]
    assert run([(PUPIL, up[::-1]), (PUPIL, down[::-1])])[0] == rising


@given(st.lists(st.dictionaries(st.sampled_from(TOGETHER_LABELS), st.floats(0, 1)), max_size=20))
def test_the_lines_stay_in_bounds_and_survive_being_written(talk):
    state = State()
    for scores in talk:
        found = tuple(
            Signal(label=name, score=score, stage="transformer", why="x") for name, score in scores.items()
        )
        state, _ = step(state, PUPIL, found, (), EVEN)
    assert all(0 <= value <= ONE for value in state.together)
    assert State.from_json(state.to_json()).together == state.together
    for name in TOGETHER_LABELS:
        newest, mean, most = lines(state, name.removeprefix("together:"))
        assert max(newest, mean) <= most


def test_each_number_of_a_state_is_read_back_into_its_own_place():
    """A state in which all are different: none is taken for its neighbour."""
    numbers = itertools.count(1)
    empty = State()
    own = {
        name: tuple(next(numbers) for _ in getattr(empty, name))
        for name in ("turns", "slow", "fast", "peak", "together", "counts")
    }
    state = State(**own, mood=next(numbers), told=(1, 2, 1, 0, 2, 1, 0, 2), since=next(numbers))
    assert State.from_json(state.to_json()) == state


def test_every_way_to_go_wrong_is_named_by_a_pattern():
    """`together:risk` alone names none, as levels do."""
    named = [label for pattern in PATTERNS for label in pattern.together]
    assert sorted(named) == sorted(set(TOGETHER_LABELS) - {"together:risk"})


@pytest.mark.parametrize(
    ("pattern", "label"), [(pattern, label) for pattern in PATTERNS for label in pattern.together]
)
def test_what_the_second_reading_names_is_what_is_told(pattern, label):
    """Where it is clear; where it is not, the evidence decides, which here is for another."""
    other, most = ("harassment", "attack") if pattern.name == "going_down" else ("eating", "going_down")
    faint = scored("transformer", **{other: 0.9, "level_concern": 0.9})
    name = label.removeprefix("together:")
    _, clear = run([(PUPIL, (*faint, *shown(risk=0.9, **{name: 0.9})))] * 4)
    assert clear[0][1].why == pattern.why
    _, unclear = run([(PUPIL, (*faint, *shown(risk=0.9, **{name: 0.02})))] * 4)
    assert unclear[0][1].why == f"trajectory.{most}"


@pytest.mark.parametrize("mean", [CLEAR - 1, CLEAR])
def test_clear_is_from_the_mean_on_and_no_single_message(mean):
    at = len(TOGETHER_LABELS) + TOGETHER_LABELS.index("together:attack")
    together = [0] * len(State().together)
    together[at] = mean
    before = replace(State(), together=tuple(together))
    _, [told] = step(before, PUPIL, scored(eating=1.0, level_concern=1.0, level_high=1.0), (), EVEN)
    assert told.why == ("trajectory.attack" if mean >= CLEAR else "trajectory.going_down")


def test_the_clearest_of_several_is_told():
    both = shown(risk=0.9, pieces=0.6, disclosure=0.8)
    _, raised = run([(PUPIL, (*scored("transformer", eating=0.9), *both))] * 4)
    assert {one.why for _, one in raised} == {"trajectory.disclosure"}


def test_a_question_without_a_no_is_told_as_that_whatever_is_clear():
    asks = (ruled("course.asks_harm", "self_harm", Risk.NONE),)
    attack = shown(risk=0.9, attack=0.95)
    _, raised = run([(MENTOR, (*asks, *attack)), (PUPIL, attack)])
    assert raised[-1][1].why == "trajectory.no_denial"


def test_risk_without_a_name_blames_nobody():
    only = replace(EVEN, weights=tuple(3.0 * name.endswith(".together:risk") for name in FEATURES), bias=-2.0)
    _, raised = run([(MENTOR, shown(risk=0.95))] * 4, weights=only)
    assert {one.why for _, one in raised} == {"trajectory.going_down"}


@pytest.mark.parametrize(
    ("score", "least", "unsettled"),
    [(0.08, 0.08, True), (0.079, 0.08, False), (0.9, 0.08, True), (0.5, 0.9, False)],
)
def test_unsettled_is_what_the_last_reading_left(score, least, unsettled):
    state, _ = run([(PUPIL, shown(risk=score))])
    assert state.unsettled(least) is unsettled
    assert run([(PUPIL, ())], state=state)[0].unsettled(least) is unsettled, "and so it stays until the next"
    assert not run([(PUPIL, shown(risk=0.01))], state=state)[0].unsettled(least)
    assert not State().unsettled(least)


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
        batch = [
            replace(one, so_far=states.get(one.conversation, one.so_far))
            for one in submissions[first : first + 2]
        ]
        verdicts = await pipeline.judge(batch)
        states |= {one.conversation: verdict.so_far for one, verdict in zip(batch, verdicts, strict=True)}
        parts += verdicts
    assert parts == at_once
    assert [one.risk for one in at_once].count(Risk.CONCERN) == 1
    mixed = [one for pair in zip(submissions, talk(*["hello"] * 6, name="d"), strict=True) for one in pair]
    apart = await pipeline.judge(mixed)
    assert apart[::2] == at_once
    assert {one.risk for one in apart[1::2]} == {Risk.NONE}


def turns_so_far(verdicts):
    return [one.so_far.turns for one in verdicts]


class Noting(Pipeline):
    """Keeps which texts it was given at once."""

    def __init__(self):
        super().__init__([Scores()], load_policy())
        self.batches: list[list[str]] = []

    async def judge(self, batch):
        self.batches.append([one.text for one in batch])
        return await super().judge(batch)


async def one_by_one(pipeline, talk):
    """As a chat would: each turn after the one before it was judged."""
    found = []
    state = State()
    for one in talk:
        found.append(await pipeline.judge_one(replace(one, so_far=state)))
        state = found[-1].so_far
    return found


@pytest.mark.parametrize("batch", [1, 2, 64])
async def test_in_turn_each_talk_comes_to_what_it_would_come_to_alone(pipeline, batch):
    """Of any length, in the order given, beside any others, and in batches of any size."""
    talks = [
        talk(*[LOW] * 6, name="a"),
        talk("hello", name="b"),
        [],
        talk(*["hello", LOW] * 4, name="c", role=MENTOR),
        talk(*[LOW] * 5, name=""),
        talk(*["fine"] * 3, name=""),
    ]
    found = await in_turn(pipeline, talks, batch)
    judged = [[verdict for verdict, _ in own] for own in found]
    assert judged == [await one_by_one(pipeline, own) for own in talks]
    assert all(seconds > 0 for own in found for _, seconds in own)
    assert sum(one.risk is not Risk.NONE for one in judged[0]) == 1
    assert {one.risk for one in judged[5]} == {Risk.NONE}
    assert turns_so_far(judged[4]) == [(at, 0) for at in range(1, 6)]


async def test_in_turn_next_turns_are_judged_together_and_never_before_their_time(monkeypatch):
    monkeypatch.setattr(trajectory, "shipped_weights", lambda: EVEN)
    noting = Noting()
    await in_turn(noting, [talk("a1", "a2", "a3"), talk("b1"), talk("c1", "c2")], 2)
    assert noting.batches == [["a1", "b1"], ["c1"], ["a2", "c2"], ["a3"]]
    assert await in_turn(noting, []) == []
    assert len(noting.batches) == 4


async def test_in_turn_a_message_by_itself_stays_one(pipeline):
    alone = [replace(one, so_far=None, conversation="") for one in talk(*[LOW] * 8)]
    [own] = await in_turn(pipeline, [alone])
    assert {(verdict.so_far, verdict.risk) for verdict, _ in own} == {(None, Risk.NONE)}
    each = await in_turn(pipeline, [[one] for one in alone])
    assert [verdict for [(verdict, _)] in each] == [verdict for verdict, _ in own]


async def test_a_talk_that_goes_on_begins_where_it_was(pipeline):
    """With what a note came to, for one."""
    begun, _ = run([(PUPIL, scored(self_harm=0.3, level_concern=0.4))] * 2)
    first, *others = talk(*[LOW] * 3)
    [own] = await in_turn(pipeline, [[replace(first, so_far=begun), *others]])
    assert turns_so_far(verdict for verdict, _ in own) == [(3, 0), (4, 0), (5, 0)]


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
