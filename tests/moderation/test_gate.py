"""The gate before the second tier, and how the shipped pipeline is put together."""

import math
import re

import pytest

from moderation import build
from moderation.gate import REACTIONS, UNSETTLED, Gate
from moderation.policy_file import POLICY, load_policy
from moderation.rules import shipped_rules
from moderation.trajectory import State, step
from moderation.verdict import Action, Risk, Role, Signal, Submission

HELLO = Submission(text="hello there", role=Role.PUPIL)
GATE = Gate({"level:concern": 0.05, "toxicity:toxicity": 0.2})


def said(text):
    return Submission(text=text, role=Role.PUPIL)


def scored(label, score, stage="linear"):
    return Signal(label=label, score=score, stage=stage, why=stage)


def test_without_thresholds_everything_is_needed():
    """No gate is the careful default."""
    assert Gate().needed(HELLO, [])


@pytest.mark.parametrize(
    ("signals", "needed"),
    [
        ([], False),
        ([scored("level:concern", 0.049)], False),
        ([scored("level:concern", 0.05)], True),
        ([scored("toxicity:toxicity", 0.1), scored("level:concern", 0.01)], False),
        ([scored("toxicity:toxicity", 0.21)], True),
        ([scored("self_harm", 0.9)], False),
        ([scored("level:concern", 0.9, stage="detoxify")], False),
        ([scored("level:concern", math.nan)], True),
    ],
)
def test_one_score_that_reaches_its_threshold_is_enough(signals, needed):
    """Only scores of the stage that the thresholds are of, and none that cannot be compared passes below."""
    assert GATE.needed(HELLO, signals) is needed


def found(stage, **more):
    given = {"label": "self_harm", "score": 1.0, "stage": stage, "why": f"{stage}.x"}
    return Signal(**(given | more))


@pytest.mark.parametrize(
    "signal",
    [
        found("rules", risk=Risk.CONCERN),
        found("rules", risk=Risk.IMMEDIATE, action=Action.HOLD),
        found("rules", label="toxicity:insult", action=Action.HOLD),
        found("rules", score=0.0, why="course.hides"),
        found("contact", label="personal_data", action=Action.BLOCK),
        found("contact", label="personal_data", risk=Risk.CONCERN, why="contact.phone_part"),
    ],
    ids=lambda signal: f"{signal.why}-{signal.risk.word}-{signal.action.word}",
)
def test_whatever_a_rule_or_the_contact_check_finds_is_read_a_second_time(signal):
    """The linear scores may be as low as they like: what makes a person look is worth it."""
    assert GATE.needed(HELLO, [scored("level:concern", 0.001), signal])


@pytest.mark.parametrize("why", ["good_practice.limits", *sorted(REACTIONS)])
def test_a_right_answer_alone_is_no_finding(why):
    """Most of what a good mentor writes has some of it; scores and other findings still open the gate."""
    good = found("rules", score=0.0, why=why, clears=why not in REACTIONS)
    assert not GATE.needed(HELLO, [good])
    assert GATE.needed(HELLO, [good, scored("level:concern", 0.06)])
    assert GATE.needed(HELLO, [good, found("rules", score=0.0, why="course.closer")])


def test_each_reaction_is_a_mark_of_the_shipped_rules():
    """A rule that was renamed would open the gate, and one that asks for something must."""
    marks = {rule.id for rule in shipped_rules().rules if rule.marks}
    assert marks >= REACTIONS


def unsettled(score):
    """A conversation whose last reading showed so much."""
    read = Signal(label="together:risk", score=score, stage="transformer", why="transformer")
    return step(State(), Role.PUPIL, [read], ())[0]


@pytest.mark.parametrize(
    ("so_far", "needed"),
    [
        (None, False),
        (State(), False),
        (unsettled(UNSETTLED), True),
        (unsettled(0.9), True),
        (unsettled(UNSETTLED * 0.9), False),
    ],
)
def test_the_next_turn_is_read_where_the_last_left_something_open(so_far, needed):
    """A "yes" scores nothing by itself, whatever it is an answer to."""
    yes = Submission(text="yes", role=Role.PUPIL, so_far=so_far)
    assert GATE.needed(yes, []) is needed
    assert GATE.needed(yes, [scored("level:concern", 0.01)]) is needed


def test_the_first_tier_tells_what_the_gate_asks_for():
    """A threshold under what the classifier tells would never be reached."""
    assert GATE.lowest(0.1) == 0.05
    assert GATE.lowest(0.01) == 0.01
    assert Gate().lowest(0.05) == 0.05


async def test_the_shipped_pipeline_reads_its_gate_from_the_policy(tmp_path, monkeypatch):
    """And asks the second tier, on a thread of its own, about what passes, where its file is there."""
    asked: list[str] = []

    class Reader:
        def read(self, batch):
            asked.extend(one.text for one in batch)
            return [[] for _ in batch]

    monkeypatch.setattr(build, "available", lambda folder: True)
    monkeypatch.setattr(build, "load_transformer", lambda folder, **more: Reader())
    shut = tmp_path / "policy.toml"
    source = re.sub(r"(?m)^\[gate\]\n(?:[^\[\n].*\n)*", "", POLICY.read_text(encoding="utf-8"))
    shut.write_text(source + '\n[gate]\n"level:immediate" = 0.9\n', encoding="utf-8")
    assert load_policy(shut).gate == {"level:immediate": 0.9}
    pipeline = build.default_pipeline(policy=shut, deadline_s=30)
    try:
        assert (await pipeline.judge_one(HELLO)).action is Action.DELIVER
        assert asked == []
        await pipeline.judge_one(said("im going to kill myself tonight i have the pills here"))
        assert asked == ["im going to kill myself tonight i have the pills here"]
        assert pipeline.second is not None
        assert pipeline.second.after == frozenset({"linear", "rules", "contact"})
        number = "my number is 07700 900123"
        seen = (await pipeline.judge_one(said(number))).signals
        assert not any(one.label == "level:immediate" and one.score > 0.9 for one in seen)
        assert asked[1:] == [number], "the linear tier scored nothing that the gate hears"
    finally:
        pipeline.close()


async def test_without_its_file_there_is_no_second_tier(monkeypatch, caplog):
    """A small package leaves it out; the first tier judges alone, with the whole deadline, and it is said."""
    monkeypatch.setattr(build, "available", lambda folder: False)
    pipeline = build.default_pipeline(deadline_s=30)
    assert [one.levelname for one in caplog.records if "no second tier" in one.message] == ["ERROR"]
    try:
        assert pipeline.second is None
        assert [stage.name for stage in pipeline.stages] == ["rules", "contact", "language", "linear"]
        assert (await pipeline.judge_one(HELLO)).action is Action.DELIVER
    finally:
        pipeline.close()
