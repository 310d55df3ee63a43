"""The pipeline fails closed: whatever a stage does there is a verdict in time, and no delivery by mistake."""

import asyncio
import logging
import math
import threading
import time
from typing import Any

import pytest

from moderation.pipeline import LABELS, Pipeline, StageBusy, Threaded, size_of
from moderation.policy import load_policy
from moderation.verdict import Action, Risk, Role, Signal, Span, Submission, Turn

POLICY = load_policy()
WORDS: Any = ("a", "b")
HELLO = Submission(text="hello there", role=Role.PUPIL)
DEADLINE_S = 0.15


class Says:
    """A stage that answers as it is told."""

    def __init__(self, answer=None, name="model"):
        self.name = name
        self.answer = answer
        self.asked = 0

    async def assess(self, batch):
        self.asked += 1
        return [[] for _ in batch] if self.answer is None else self.answer


class Raises(Says):
    async def assess(self, batch):
        raise RuntimeError("hello there")


class Hangs(Says):
    async def assess(self, batch):
        await asyncio.Event().wait()


class Deaf(Says):
    """Hangs, and does not heed being cancelled until it is let go."""

    def __init__(self):
        super().__init__()
        self.go = asyncio.Event()

    async def assess(self, batch):
        self.asked += 1
        while not self.go.is_set():
            try:
                await self.go.wait()
            except asyncio.CancelledError:
                continue
        return [[] for _ in batch]


def signal(**changed):
    given: dict[str, Any] = {"label": "abuse", "score": 1.0, "stage": "model", "why": "model"}
    return Signal(**(given | changed))


def pipeline(*stages, deadline_s=DEADLINE_S):
    return Pipeline(stages, POLICY, deadline_s)


async def test_all_stages_well_means_delivered():
    """The other tests would pass on a pipeline that holds everything: this one would not."""
    verdict = await pipeline(Says(), Says(name="rules")).judge_one(HELLO)
    assert (verdict.action, verdict.degraded) == (Action.DELIVER, frozenset())


@pytest.mark.parametrize("stage", [Raises, Hangs])
async def test_a_stage_without_an_answer_holds(stage):
    """Raising and hanging are the same to a message: held, and the stage is named."""
    began = time.monotonic()
    verdict = await pipeline(stage(), Says(name="rules")).judge_one(HELLO)
    assert (verdict.action, verdict.reason, verdict.degraded) == (Action.HOLD, "check_failed", {"model"})
    assert time.monotonic() - began < DEADLINE_S + 1


@pytest.mark.parametrize(
    "answer",
    [
        "hello",
        None.__class__,
        {},
        [],
        [[], []],
        [None],
        ["x"],
        [[None]],
        [[{"label": "abuse", "score": 1.0}]],
        [[signal(score=math.nan)]],
        [[signal(score=math.inf)]],
        [[signal(score=-0.1)]],
        [[signal(score=1.1)]],
        [[signal(score="1")]],
        [[signal(score=True)]],
        [[signal(score=None)]],
        [[signal(label="sadness")]],
        [[signal(label=["abuse"])]],
        [[signal(stage="rules")]],
        [[signal(why=None)]],
        [[signal(risk=2)]],
        [[signal(action="hold")]],
        [[signal(clears="no")]],
        [[signal(span=Span(0, 99))]],
        [[signal(span=Span(-1, 2))]],
        [[signal(span=Span(3, 2))]],
        [[signal(span=(0, 2))]],
        [[signal(span=Span(*WORDS))]],
        [[signal()] * 600],
    ],
    ids=repr,
)
async def test_nonsense_is_no_answer(answer):
    """Wrong length, NaN, scores out of range, unknown labels, wrong types, spans outside the text: held."""
    verdict = await pipeline(Says(answer), Says(name="rules")).judge_one(HELLO)
    assert (verdict.action, verdict.degraded) == (Action.HOLD, {"model"})
    assert verdict.signals == ()


async def test_what_the_others_saw_still_counts():
    """A rule that found danger raises it, whether or not a classifier is there."""
    found = [[signal(stage="rules", risk=Risk.IMMEDIATE, label="self_harm")]]
    verdict = await pipeline(Hangs(), Says(found, name="rules")).judge_one(HELLO)
    assert (verdict.risk, verdict.reason, verdict.degraded) == (Risk.IMMEDIATE, "adult_first", {"model"})


async def test_one_bad_row_holds_one_message():
    """Nonsense about one message says nothing about its neighbours."""
    answer = [[], [signal(score=math.nan)], []]
    verdicts = await pipeline(Says(answer)).judge([HELLO] * 3)
    assert [verdict.action for verdict in verdicts] == [Action.DELIVER, Action.HOLD, Action.DELIVER]


async def test_a_message_that_a_stage_cannot_bear_holds_itself_alone():
    """A poisonous text must not hold everybody who wrote in the same moment."""

    class Delicate(Says):
        async def assess(self, batch):
            if any("poison" in one.text for one in batch):
                raise ValueError("poison")
            return [[] for _ in batch]

    texts = ["hi", "poison", "how are you"]
    batch = [Submission(text=text, role=Role.PUPIL) for text in texts]
    verdicts = await pipeline(Delicate()).judge(batch)
    assert [verdict.action for verdict in verdicts] == [Action.DELIVER, Action.HOLD, Action.DELIVER]


async def test_verdicts_come_in_order_and_for_each():
    """Whatever the stages do, the n-th verdict is of the n-th message."""

    class Counts(Says):
        async def assess(self, batch):
            return [[signal(score=int(one.text) / 100)] for one in batch]

    batch = [Submission(text=str(number), role=Role.PUPIL) for number in range(64)]
    verdicts = await pipeline(Counts()).judge(batch)
    assert [verdict.signals[0].score for verdict in verdicts] == [number / 100 for number in range(64)]
    assert await pipeline(Counts()).judge([]) == []


async def test_a_stage_that_will_not_stop_is_left_out_until_it_does():
    """One stuck call, not one more with every message; and it comes back."""
    stage = Deaf()
    judge = pipeline(stage, deadline_s=0.05)
    for _ in range(3):
        assert (await judge.judge_one(HELLO)).degraded == {"model"}
    assert stage.asked == 1
    stage.go.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (await judge.judge_one(HELLO)).action is Action.DELIVER


async def test_a_stuck_thread_does_not_leak():
    """However often it is asked, one thread is stuck; the event loop never is; and it comes back."""
    go = threading.Event()
    calls = []

    def read(batch):
        calls.append(len(batch))
        go.wait(10)
        return [[] for _ in batch]

    stage = Threaded("model", read)
    judge = pipeline(stage, deadline_s=0.05)
    before = threading.active_count()
    try:
        for _ in range(5):
            assert (await judge.judge_one(HELLO)).degraded == {"model"}
        assert len(calls) == 1
        assert threading.active_count() <= before + 1
        with pytest.raises(StageBusy):
            await stage.assess([HELLO])
    finally:
        go.set()
    assert stage._late is not None
    stage._late.result(5)
    assert (await judge.judge_one(HELLO)).action is Action.DELIVER


async def test_a_thread_that_fails_is_heard():
    """What is raised on the thread holds the message, and the next one is judged."""
    fails = iter([True, False])

    def read(batch):
        if next(fails):
            raise MemoryError
        return [[] for _ in batch]

    judge = pipeline(Threaded("model", read), deadline_s=5)
    assert (await judge.judge_one(HELLO)).degraded == {"model"}
    assert (await judge.judge_one(HELLO)).action is Action.DELIVER


async def test_many_at_once_are_all_judged():
    """Calls that overlap wait for the one thread, each within its deadline."""
    judge = pipeline(Threaded("model", lambda batch: [[] for _ in batch]), deadline_s=5)
    verdicts = await asyncio.gather(*(judge.judge_one(HELLO) for _ in range(40)))
    assert {verdict.action for verdict in verdicts} == {Action.DELIVER}


async def test_small_batches_may_run_inline_and_large_ones_do_not():
    """What runs on the event loop is bounded by what it has to read."""
    ran_on = []

    def read(batch):
        ran_on.append(threading.current_thread() is threading.main_thread())
        return [[] for _ in batch]

    judge = pipeline(Threaded("model", read, inline_code_points=20), deadline_s=5)
    await judge.judge_one(HELLO)
    await judge.judge([HELLO] * 2)
    earlier = Submission(text="hi", role=Role.PUPIL, recent=(Turn(role=Role.PUPIL, text="x" * 30),))
    await judge.judge_one(earlier)
    assert ran_on == [True, False, False]
    assert size_of([earlier]) == 32


async def test_no_log_line_quotes_a_message(caplog):
    """Not the text, nor an exception's own words, which may quote it."""
    caplog.set_level(logging.DEBUG)
    await pipeline(Raises(), Says("hello there", name="rules")).judge_one(HELLO)
    assert "RuntimeError" in caplog.text
    assert "hello" not in caplog.text


async def test_a_cancelled_judge_leaves_nothing_running():
    """Who gives up waiting leaves no task behind that nobody awaits."""
    stage = Hangs()
    task = asyncio.create_task(pipeline(stage, deadline_s=30).judge_one(HELLO))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0)
    assert {one for one in asyncio.all_tasks() if one is not asyncio.current_task()} == set()


def test_a_pipeline_that_makes_no_sense_is_refused():
    """Two stages of one name, or no time at all."""
    with pytest.raises(ValueError, match="one name"):
        pipeline(Says(), Says())
    with pytest.raises(ValueError, match="deadline"):
        pipeline(Says(), deadline_s=0)
    with pytest.raises(ValueError, match="deadline"):
        pipeline(Says(), deadline_s=math.nan)


def test_every_label_that_a_stage_may_use_is_known():
    """13 topics, three levels and Detoxify's six."""
    assert len(LABELS) == 13 + 3 + 6
