"""The pipeline fails closed: whatever a stage does there is a verdict in time, and no delivery by mistake."""

import asyncio
import logging
import math
import threading
import time
from typing import Any

import pytest

from moderation.breaker import FAILURES, Breaker
from moderation.pipeline import CHUNK, LABELS, Gap, Pipeline, Second, StageBusy, Threaded, size_of
from moderation.policy_file import load_policy
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
        for _ in range(FAILURES - 1):  # one more, and it is left alone for a while
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
    """13 topics, three levels, Detoxify's six, and nine of what a message shows with the turns before it."""
    assert len(LABELS) == 13 + 3 + 6 + 9


# --- the second tier ----------------------------------------------------------------------------------


def tiers(*first, second, needed=lambda submission, signals: True, deadline_s=5.0, **more):
    return Pipeline(first, POLICY, deadline_s, second=Second(second, needed), **more)


class Notes(Says):
    """Answers nothing, and keeps what it was asked about."""

    def __init__(self, name="second"):
        super().__init__(name=name)
        self.texts: list[str] = []
        self.sizes: list[int] = []

    async def assess(self, batch):
        self.texts += [one.text for one in batch]
        self.sizes.append(len(batch))
        return [[] for _ in batch]


def messages(*texts):
    return [Submission(text=text, role=Role.PUPIL) for text in texts]


async def test_the_second_tier_sees_what_needs_it_and_no_more():
    """The gate decides by what the first tier saw; a message that it leaves out is not degraded."""

    class Scores(Says):
        async def assess(self, batch):
            return [[signal(score=0.4)] if "hm" in one.text else [] for one in batch]

    notes = Notes()
    judge = tiers(Scores(), second=notes, needed=lambda _, signals: any(one.score > 0.3 for one in signals))
    verdicts = await judge.judge(messages("hi", "hm", "ok", "hm again"))
    assert notes.texts == ["hm", "hm again"]
    assert {verdict.action for verdict in verdicts} == {Action.DELIVER}
    assert not await judge.judge([])


async def test_where_the_first_tier_failed_the_second_is_asked():
    """A gate that nobody can answer for is open, and so is one that fails itself."""
    notes = Notes()
    judge = tiers(Raises(), second=notes, needed=lambda submission, signals: False)
    assert (await judge.judge_one(HELLO)).degraded == {"model"}
    assert notes.texts == ["hello there"]

    def broken(submission, signals):
        raise ValueError

    notes = Notes()
    assert (await tiers(Says(), second=notes, needed=broken).judge_one(HELLO)).degraded == frozenset()
    assert notes.texts == ["hello there"]


@pytest.mark.parametrize("stage", [Raises, Hangs])
async def test_a_second_tier_without_an_answer_holds_what_needs_it(stage):
    """And delivers what does not."""
    judge = tiers(
        Says(),
        second=stage(name="second"),
        needed=lambda submission, _: submission.text == "hm",
        deadline_s=DEADLINE_S,
    )
    verdicts = await judge.judge(messages("hi", "hm"))
    assert [verdict.degraded for verdict in verdicts] == [frozenset(), {"second"}]
    assert [verdict.action for verdict in verdicts] == [Action.DELIVER, Action.HOLD]


async def test_both_tiers_share_one_deadline():
    """A first tier that hangs leaves the second no more than what is left of it."""
    began = time.monotonic()
    verdict = await tiers(Hangs(), second=Hangs(name="second"), deadline_s=DEADLINE_S).judge_one(HELLO)
    assert verdict.degraded == {"model", "second"}
    assert time.monotonic() - began < 2 * DEADLINE_S + 0.5


async def test_a_stage_may_have_less_time_than_the_whole():
    """So that what hangs first leaves the second tier its time."""
    notes = Notes()
    judge = tiers(Hangs(), second=notes, within_s={"model": 0.05})
    began = time.monotonic()
    assert (await judge.judge_one(HELLO)).degraded == {"model"}
    assert notes.texts == ["hello there"]
    assert time.monotonic() - began < 2


async def test_the_second_tier_does_not_wait_for_those_it_needs_not():
    """A slow stage runs beside it."""
    notes = Notes()
    slow = Hangs(name="slow")
    judge = Pipeline(
        (Says(), slow), POLICY, DEADLINE_S, second=Second(notes, lambda *_: True, frozenset({"model"}))
    )
    task = asyncio.create_task(judge.judge_one(HELLO))
    for _ in range(20):
        await asyncio.sleep(0)
    assert notes.texts == ["hello there"]
    assert (await task).degraded == {"slow"}


async def test_what_was_read_in_time_counts():
    """Of a second tier that is too slow for a batch the first part is not lost."""

    class Tires(Notes):
        async def assess(self, batch):
            if self.sizes:
                await asyncio.Event().wait()
            return await super().assess(batch)

    verdicts = await tiers(Says(), second=Tires(), deadline_s=DEADLINE_S).judge([HELLO] * (CHUNK + 3))
    assert [bool(verdict.degraded) for verdict in verdicts] == [False] * CHUNK + [True] * 3


async def test_a_stage_may_say_that_it_cannot_judge():
    """That holds the message, is counted, and is no failure of the stage."""
    seen = []

    class Declines(Says):
        async def assess(self, batch):
            return [None if "bonjour" in one.text else [] for one in batch]

    judge = Pipeline((Declines(name="language"), Says()), POLICY, 5, observe=lambda *what: seen.append(what))
    for _ in range(2 * FAILURES):
        verdicts = await judge.judge(messages("bonjour", "hi"))
        assert [verdict.degraded for verdict in verdicts] == [{"language"}, frozenset()]
        assert [verdict.reason for verdict in verdicts] == ["language", ""]
    assert judge.broken == ()
    assert ("declined", "language", "", 1) in seen
    assert not [one for one in seen if one[0] == "failures"]


@pytest.mark.parametrize(("gap", "kind"), [(Gap.LATE, "deadline"), (Gap.FAILED, "raised")])
async def test_a_stage_that_only_ever_says_that_it_failed_is_left_alone(gap, kind):
    """Found by a review: one that kept its own deadline by always being late counted as well."""
    seen = []
    stage = Says([gap, gap])
    judge = Pipeline((stage,), POLICY, 5, observe=lambda *what: seen.append(what))
    for _ in range(FAILURES):
        verdicts = await judge.judge(messages("hi", "ho"))
        assert [one.degraded for one in verdicts] == [{"model"}] * 2
    assert judge.broken == ("model",)
    assert seen.count(("failures", "model", kind, 1)) == 2 * FAILURES
    await judge.judge(messages("hi", "ho"))
    assert stage.asked == FAILURES


async def test_a_stage_that_is_late_for_some_is_well():
    """What it answered in time counts, and so does that it declined."""
    for answer in ([Gap.LATE, []], [Gap.LATE, None], [Gap.DECLINED, Gap.FAILED]):
        judge = Pipeline((Says(answer),), POLICY, 5)
        for _ in range(2 * FAILURES):
            await judge.judge(messages("hi", "ho"))
        assert judge.broken == ()


async def test_where_the_first_tier_was_late_the_second_is_asked():
    """As where it failed: nobody can answer for the gate."""
    notes = Notes()
    await tiers(Says([Gap.LATE]), second=notes, needed=lambda *_: False).judge_one(HELLO)
    assert notes.texts == ["hello there"]


# --- breakers -----------------------------------------------------------------------------------------


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class Sick(Says):
    """Fails while it is told to."""

    def __init__(self, name="model"):
        super().__init__(name=name)
        self.sick = True

    async def assess(self, batch):
        self.asked += 1
        if self.sick:
            raise OSError
        return [[] for _ in batch]


async def test_a_stage_that_keeps_failing_is_left_alone_and_tried_again():
    """Left alone it counts as missing: nothing is delivered. One batch tries it; then all is well."""
    clock, stage, seen = Clock(), Sick(), []
    judge = Pipeline(
        (stage, Says(name="rules")),
        POLICY,
        5,
        breaker=lambda: Breaker(clock=clock),
        observe=lambda *what: seen.append(what),
    )
    for _ in range(FAILURES):
        assert (await judge.judge_one(HELLO)).action is Action.HOLD
    assert judge.broken == ("model",)
    stage.sick = False
    for _ in range(3):
        assert (await judge.judge_one(HELLO)).degraded == {"model"}
    assert stage.asked == FAILURES
    assert [one[2] for one in seen if one[:2] == ("failures", "model")] == ["raised"] * FAILURES + [
        "left_alone"
    ] * 3
    clock.now += 1
    assert (await judge.judge_one(HELLO)).action is Action.DELIVER
    assert not judge.broken
    assert stage.asked == FAILURES + 1
    assert [one[3] for one in seen if one[:2] == ("breaker", "model")][-2:] == [2, 0]


async def test_only_one_batch_tries_a_stage():
    """The others that come meanwhile are held without asking it."""
    clock, stage = Clock(), Sick()
    judge = Pipeline((stage,), POLICY, 5, breaker=lambda: Breaker(clock=clock))
    for _ in range(FAILURES):
        await judge.judge_one(HELLO)
    clock.now += 1
    stage.sick = False
    verdicts = await asyncio.gather(*(judge.judge_one(HELLO) for _ in range(5)))
    assert [verdict.action for verdict in verdicts] == [Action.DELIVER] + [Action.HOLD] * 4
    assert stage.asked == FAILURES + 1


async def test_who_gives_up_while_trying_lets_the_next_one_try(monkeypatch):
    """A trial that was cancelled must not leave the stage alone for ever."""
    clock, stage = Clock(), Sick()
    judge = Pipeline((stage,), POLICY, 30, breaker=lambda: Breaker(clock=clock))
    for _ in range(FAILURES):
        await judge.judge_one(HELLO)
    clock.now += 1
    hanging = asyncio.Event()
    stage.sick = False
    usual = stage.assess

    async def hangs(batch):
        await hanging.wait()
        return await usual(batch)

    monkeypatch.setattr(stage, "assess", hangs)
    task = asyncio.create_task(judge.judge_one(HELLO))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    hanging.set()
    await asyncio.sleep(0)
    assert (await judge.judge_one(HELLO)).action is Action.DELIVER


async def test_a_thread_that_hangs_opens_the_breaker_and_closes_it_again():
    """With a real thread: messages are held at once while it hangs, and judged when it is back."""
    go = threading.Event()
    clock = Clock()
    stage = Threaded("model", lambda batch: [[] for _ in batch] if go.wait(20) else [])
    judge = Pipeline((stage,), POLICY, 0.05, breaker=lambda: Breaker(clock=clock))
    try:
        for _ in range(FAILURES):
            assert (await judge.judge_one(HELLO)).degraded == {"model"}
        assert judge.broken == ("model",)
        began = time.monotonic()
        assert (await judge.judge_one(HELLO)).degraded == {"model"}
        assert time.monotonic() - began < 0.04
        clock.now += 1
        assert (await judge.judge_one(HELLO)).degraded == {"model"}  # tried, and still stuck
        clock.now += 1
        go.set()
        assert (await judge.judge_one(HELLO)).degraded == {"model"}  # twice as long now
        assert stage._late is not None
        stage._late.result(5)
        clock.now += 1
        judge.deadline_s = 5.0
        assert (await judge.judge_one(HELLO)).action is Action.DELIVER
    finally:
        go.set()


async def test_one_poisonous_text_among_others_opens_no_breaker():
    """Nor do nonsense rows, as long as the stage can still answer about others."""
    answer = [[], [signal(score=math.nan)]]
    judge = pipeline(Says(answer))
    for _ in range(2 * FAILURES):
        assert [bool(one.degraded) for one in await judge.judge([HELLO] * 2)] == [False, True]
    assert judge.broken == ()


async def test_nothing_is_remembered_that_could_hide_a_failure():
    """The same text once more is asked about once more."""
    stage = Sick()
    stage.sick = False
    judge = pipeline(stage)
    assert (await judge.judge_one(HELLO)).action is Action.DELIVER
    stage.sick = True
    assert (await judge.judge_one(HELLO)).action is Action.HOLD
    assert stage.asked == 2


async def test_who_watches_hears_of_it_and_cannot_break_it():
    """Seconds, failures by kind, and how many needed the second tier; never a word of a text."""
    seen: list[tuple[str, str, str, float]] = []

    def watch(*what):
        seen.append(what)
        raise RuntimeError

    judge = tiers(
        Says(name="rules"),
        second=Raises(name="second"),
        needed=lambda submission, _: submission.text == "hm",
        observe=watch,
    )
    await judge.judge(messages("hi", "hm", "ok"))
    assert ("asked", "second", "yes", 1) in seen
    assert ("asked", "second", "no", 2) in seen
    assert ("failures", "second", "raised", 1) in seen
    assert ("degraded", "second", "", 1) in seen
    assert {one[1] for one in seen if one[0] == "seconds"} == {"rules", "second"}
    assert all(0 <= one[3] < 5 for one in seen if one[0] == "seconds")
    assert not any(word in str(seen) for word in ("hi'", "hm"))


def test_a_second_tier_that_makes_no_sense_is_refused():
    """It may not have another's name, nor wait for one that is not there."""
    with pytest.raises(ValueError, match="one name"):
        tiers(Says(), second=Says())
    with pytest.raises(ValueError, match="not there"):
        Pipeline((Says(),), POLICY, second=Second(Notes(), lambda *_: True, frozenset({"linear"})))
    with pytest.raises(ValueError, match="deadline"):
        Pipeline((Says(),), POLICY, within_s={"model": 0})
