"""The gate before the second tier, and how the shipped pipeline is put together."""

import math
import re

import pytest

from moderation import build
from moderation.gate import Gate
from moderation.policy_file import POLICY, load_policy
from moderation.verdict import Action, Role, Signal, Submission

HELLO = Submission(text="hello there", role=Role.PUPIL)
GATE = Gate({"level:concern": 0.05, "toxicity:toxicity": 0.2})


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
        ([scored("level:concern", 0.9, stage="rules")], False),
        ([scored("level:concern", math.nan)], True),
    ],
)
def test_one_score_that_reaches_its_threshold_is_enough(signals, needed):
    """Only scores of the stage that the thresholds are of, and none that cannot be compared passes below."""
    assert GATE.needed(HELLO, signals) is needed


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
        await pipeline.judge_one(
            Submission(text="im going to kill myself tonight i have the pills here", role=Role.PUPIL)
        )
        assert asked == ["im going to kill myself tonight i have the pills here"]
    finally:
        pipeline.close()


async def test_without_its_file_there_is_no_second_tier(monkeypatch):
    """A small package leaves it out; the first tier judges alone, and has the whole deadline."""
    monkeypatch.setattr(build, "available", lambda folder: False)
    pipeline = build.default_pipeline(deadline_s=30)
    try:
        assert pipeline.second is None
        assert [stage.name for stage in pipeline.stages] == ["rules", "contact", "language", "linear"]
        assert (await pipeline.judge_one(HELLO)).action is Action.DELIVER
    finally:
        pipeline.close()
