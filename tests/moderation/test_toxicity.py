"""Detoxify's stage without its packages: batches, bounds, deadlines, and a model that tests can stop."""

import asyncio
import math
import threading
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation.breaker import FAILURES
from moderation.build import default_pipeline
from moderation.pipeline import Gap, Pipeline, StageBusy
from moderation.policy_file import load_policy
from moderation.toxicity import PUBLISHED, STAGE, BadDetoxify, Form, Model, Toxicity, Wanted, load
from moderation.toxicity.batches import MAX_WINDOWS, next_batch, windows
from moderation.toxicity.files import read_pinned
from moderation.toxicity.reading import LABELS
from moderation.verdict import Action, Role, Submission

BEGIN, END, PAD = 1, 2, 0
ROOM = 40


class Letters:
    """A tokenizer whose tokens are code points."""

    pad_id = PAD
    max_tokens = ROOM + 2

    def stretches(self, text):
        if "\0" in text:
            raise RuntimeError("no such letter")
        found = windows(len(text), ROOM)
        return found and [(BEGIN, *map(ord, text[part.start : part.stop]), END) for part in found]


@dataclass
class Machine:
    """Stands for a network: its scores say how long a text is, and it can be held up."""

    shapes: list[tuple[int, int]] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    go: threading.Event = field(default_factory=threading.Event)
    busy: threading.Event = field(default_factory=threading.Event)
    nan_on: str = "\1"
    fails_on: str = "\2"
    columns: int = len(LABELS)

    def __post_init__(self):
        self.go.set()

    def score(self, ids, mask):
        self.busy.set()
        assert self.go.wait(20)
        self.shapes.append(ids.shape)
        texts = [
            "".join(map(chr, row[1 : length - 1])) for row, length in zip(ids, mask.sum(axis=1), strict=True)
        ]
        self.seen += texts
        assert ((ids == PAD) == (mask == 0)).all()
        if any(self.fails_on in text for text in texts):
            raise RuntimeError("cannot read this")
        scores = np.repeat(mask.sum(axis=1, keepdims=True) / 1000, self.columns, axis=1).astype(np.float32)
        scores[[self.nan_on in text for text in texts]] = math.nan
        return scores


def stage_of(machine, *, batch_tokens=200, answer_within_s=20.0, **options):
    tokens: object = Letters()
    model = Model(name="test", tokens=tokens, score=machine.score, digest=b"d", batch_tokens=batch_tokens)  # type: ignore[arg-type]
    return Toxicity(model, answer_within_s=answer_within_s, least_score=0.0, **options)


def said(*texts):
    return [Submission(text=text, role=Role.PUPIL) for text in texts]


def lengths(rows):
    """What a machine's scores say: the tokens of each text."""
    return [round(row[0].score * 1000) for row in rows]


@given(st.integers(0, 3_000), st.integers(8, 510))
def test_windows_cover_a_text_or_say_that_they_do_not(length, room):
    """First to last token, no gap, none too long, a few at most."""
    found = windows(length, room)
    if found is None:
        assert length > MAX_WINDOWS * (room - min(32, room // 4))
        return
    assert len(found) <= MAX_WINDOWS
    assert all(len(part) <= room for part in found)
    assert set().union(*found) == set(range(length))
    assert found[-1].stop == length


@given(st.lists(st.integers(1, 60), min_size=1, max_size=40), st.integers(0, 400))
def test_a_batch_has_the_oldest_and_what_is_nearest_to_it(some, tokens):
    """Within its cost, unless one alone is beyond it; and nobody of a fitting length is passed over."""
    chosen = next_batch(some, tokens)
    assert 0 in chosen
    assert len(set(chosen)) == len(chosen)
    longest = max(some[at] for at in chosen)
    assert len(chosen) == 1 or longest * len(chosen) <= tokens
    low, high = min(some[at] for at in chosen), longest
    left_out = [some[at] for at in range(len(some)) if at not in chosen]
    assert not any(low < one < high for one in left_out)


async def test_each_message_gets_its_own_answer_whatever_it_is_read_with():
    """Rows come back in the order of the batch, and no batch costs more than it may."""
    machine = Machine()
    texts = [letter * (1 + at * 7 % 38) for at, letter in enumerate("abcdefghijklmnopqrstuvwxyz" * 4)]
    rows = await stage_of(machine).assess(said(*texts))
    assert lengths(rows) == [len(text) + 2 for text in texts]
    assert len(machine.shapes) < len(texts) / 2
    assert all(count == 1 or count * longest <= 200 for count, longest in machine.shapes)
    padded = sum(count * longest for count, longest in machine.shapes)
    assert padded < 1.2 * sum(len(text) + 2 for text in texts)  # like lengths were put together


async def test_a_signal_names_stage_label_and_model():
    """All six, in the form that the pipeline takes."""
    (row,) = await stage_of(Machine()).assess(said("hello"))
    assert {signal.label for signal in row} == set(LABELS)
    assert {(signal.stage, signal.why) for signal in row} == {(STAGE, "detoxify:test")}


async def test_nothing_waits_for_a_batch_to_fill():
    """One message alone is read at once, and an empty batch needs no model."""
    machine = Machine()
    stage = stage_of(machine)
    assert await stage.assess([]) == []
    await stage.assess(said("hello"))
    assert machine.shapes == [(1, 7)]


async def test_calls_that_wait_are_read_together():
    """What arrives while a batch is read makes up the next one, across callers."""
    machine = Machine()
    stage = stage_of(machine)
    machine.go.clear()
    first = asyncio.create_task(stage.assess(said("first")))
    assert await asyncio.to_thread(machine.busy.wait, 20)
    others = [asyncio.create_task(stage.assess(said(f"other {at}"))) for at in range(4)]
    await asyncio.sleep(0)  # each has put its message down
    machine.go.set()
    await asyncio.gather(first, *others)
    assert machine.shapes == [(1, 7), (4, 9)]


async def test_a_full_queue_refuses_and_says_so():
    """The bound holds, the error has figures, and what was taken on is answered."""
    machine = Machine()
    stage = stage_of(machine, max_waiting=3)
    machine.go.clear()
    taken = asyncio.create_task(stage.assess(said("one", "two", "three")))
    assert await asyncio.to_thread(machine.busy.wait, 20)
    with pytest.raises(StageBusy, match="3 messages waiting, and takes 3"):
        await stage.assess(said("four"))
    machine.go.set()
    assert lengths(await taken) == [5, 5, 7]
    assert lengths(await stage.assess(said("four"))) == [6]


async def test_work_past_its_deadline_is_not_done():
    """What the machine finished in time counts; the rest is degraded, and never reaches the machine."""
    machine, now = Machine(), [0.0]
    stage = stage_of(machine, batch_tokens=0, answer_within_s=1.0, clock=lambda: now[0])
    machine.go.clear()
    asked = asyncio.create_task(stage.assess(said("first", "second")))
    assert await asyncio.to_thread(machine.busy.wait, 20)
    now[0] = 2.0  # the deadline passes while the first is read
    machine.go.set()
    rows = await asked
    assert lengths(rows[:1]) == [7]
    assert rows[1] is Gap.LATE
    await stage.assess(said("third"))
    assert machine.seen == ["first", "third"]


async def test_a_caller_that_gives_up_takes_its_work_along():
    """Cancelled by the pipeline: nothing of it is read later."""
    machine = Machine()
    stage = stage_of(machine, batch_tokens=0)
    machine.go.clear()
    asked = asyncio.create_task(stage.assess(said("first", "second")))
    assert await asyncio.to_thread(machine.busy.wait, 20)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    machine.go.set()
    assert lengths(await stage.assess(said("third"))) == [7]
    assert machine.seen == ["first", "third"]


async def test_a_stuck_model_is_left_out_until_it_comes_back():
    """The answer is at once, so that nobody waits a deadline for nothing."""
    machine, now = Machine(), [0.0]
    stage = stage_of(machine, answer_within_s=1.0, clock=lambda: now[0])
    machine.go.clear()
    asked = asyncio.create_task(stage.assess(said("first")))
    assert await asyncio.to_thread(machine.busy.wait, 20)
    now[0] = 1.5
    with pytest.raises(StageBusy, match="stuck"):
        await stage.assess(said("second"))
    machine.go.set()
    await asked
    assert lengths(await stage.assess(said("third"))) == [7]


async def test_a_model_that_never_answers_degrades():
    """The caller hears within its time, whatever the machine does."""
    machine = Machine()
    machine.go.clear()
    assert await stage_of(machine, answer_within_s=0.05).assess(said("hello")) == [Gap.LATE]
    machine.go.set()


@pytest.mark.parametrize(
    "bad",
    ["no\1number", "can\2not", "no\0token", "long" * 100],
    ids=["nan", "it-fails", "no-tokens", "too-long"],
)
async def test_a_message_that_it_cannot_judge_holds_itself_alone(bad):
    """Its neighbours of the same batch are delivered; it waits for a person."""
    pipeline = Pipeline([stage_of(Machine())], load_policy())
    verdicts = await pipeline.judge(said("good day", bad, "good bye"))
    assert [verdict.action for verdict in verdicts] == [Action.DELIVER, Action.HOLD, Action.DELIVER]
    assert [verdict.degraded for verdict in verdicts] == [frozenset(), {STAGE}, frozenset()]


async def test_one_that_is_always_late_is_left_alone_for_a_while():
    """Messages are then held at once, not after a deadline, and staff read that it does not answer."""
    machine = Machine()
    machine.go.clear()
    pipeline = Pipeline([stage_of(machine, answer_within_s=0.02)], load_policy(), 5)
    for _ in range(FAILURES):
        assert (await pipeline.judge(said("hello")))[0].degraded == {STAGE}
    assert pipeline.broken == (STAGE,)
    machine.go.set()


async def test_texts_that_it_cannot_read_are_no_failure_of_it():
    """Who sends a few of them does not switch it off for everybody."""
    pipeline = Pipeline([stage_of(Machine())], load_policy(), 20)
    for _ in range(2 * FAILURES):
        assert (await pipeline.judge(said("long" * 100)))[0].degraded == {STAGE}
    assert pipeline.broken == ()


async def test_scores_of_another_shape_hold_everything():
    """A model with five outputs is no model of ours."""
    pipeline = Pipeline([stage_of(Machine(columns=5))], load_policy())
    verdicts = await pipeline.judge(said("good day", "good bye"))
    assert all(verdict.degraded == {STAGE} and verdict.action is Action.HOLD for verdict in verdicts)


async def test_a_long_text_is_read_from_beginning_to_end():
    """In stretches, and the highest score of them counts."""
    machine = Machine()
    text = "".join(chr(ord("a") + at % 26) for at in range(100))
    rows = await stage_of(machine).assess(said(text))
    assert lengths(rows) == [ROOM + 2]
    assert machine.seen[0] == text[:ROOM]
    assert text.endswith(machine.seen[-1])


def test_its_policy_holds_and_its_model_is_in_the_version():
    """policy.toml speaks for the stage, and two models are two versions."""
    policy = load_policy()
    assert set(policy.thresholds[STAGE]) <= set(LABELS)
    plain = default_pipeline(classifiers=[])
    with_it = default_pipeline(classifiers=[], beside=[stage_of(Machine())])
    assert with_it.stages[-1].name == STAGE
    assert with_it.policy_version != plain.policy_version


def wanted(tmp_path, **changes):
    values = {"model": "local", "file": tmp_path / "m.ckpt", "sha256": "a" * 64, "folder": tmp_path}
    return Wanted(**{**values, **changes})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model": "originel"}, "detoxify_model: one of original, unbiased"),
        ({"sha256": "c1212f89"}, "detoxify_sha256: the whole sha256"),
        ({"sha256": "A" * 64}, "detoxify_sha256: the whole sha256"),
        ({"folder": None}, "detoxify_folder: a checkpoint needs"),
        ({"form": Form.ONNX_INT8, "device": "cuda"}, "detoxify_device: the ONNX forms"),
        ({"threads": 0}, "detoxify_threads"),
        ({"model": "original"}, "detoxify_sha256: .* should begin with c1212f89"),
    ],
    ids="name short-hash capitals folder device threads digits".split(),
)
def test_a_wrong_setting_is_named(tmp_path, changes, says):
    """Before any file is opened."""
    with pytest.raises(BadDetoxify, match=says):
        wanted(tmp_path, **changes)


def test_only_the_pinned_bytes_are_used(tmp_path):
    """Missing, changed, or too large: refused, and the setting named."""
    file = tmp_path / "m.ckpt"
    with pytest.raises(BadDetoxify, match="detoxify_file"):
        read_pinned(file, "a" * 64)
    file.write_bytes(b"weights")
    with pytest.raises(BadDetoxify, match="detoxify_sha256"):
        read_pinned(file, "a" * 64)
    with file.open("wb") as large:
        large.truncate(5 << 30)
    with pytest.raises(BadDetoxify, match="larger"):
        read_pinned(file, "a" * 64)


def test_the_published_ones_are_all_there():
    """The names of the package, each with the digits of its file's name."""
    assert list(PUBLISHED) == ["original", "unbiased", "multilingual", "original-small", "unbiased-small"]
    assert {len(model.digits) for model in PUBLISHED.values()} == {8}


@pytest.mark.parametrize("form", list(Form))
def test_a_file_that_is_not_the_pinned_one_is_never_loaded(tmp_path, form):
    """Whatever is installed here: one error that names a setting."""
    (tmp_path / "m.ckpt").write_bytes(b"something else")
    with pytest.raises(BadDetoxify, match=r"detoxify_(sha256|model): "):
        load(wanted(tmp_path, form=form))
