"""Exchanging what judges: whole and checked, between two batches, or not at all."""

import asyncio
import logging
import os
import threading
import time
from dataclasses import replace
from pathlib import PosixPath

import pytest

from moderation import build, trajectory
from moderation.build import default_pipeline
from moderation.linear import BadModel
from moderation.pipeline import Pipeline, Threaded
from moderation.policy_file import BadPolicy, load_policy
from moderation.reload import RETRY_S, TRIAL, Exchangeable, Trial
from moderation.verdict import Action, Risk, Role, Submission

HELLO = Submission(text="zebra crossing", role=Role.PUPIL)
MUST_HOLD = [Trial(HELLO, Risk.NONE, Action.HOLD)]
POLICY = 'version = "1"\n'
RULE = """
[[rule]]
id = "own.word"
label = "threat"
action = "hold"
why = "A word of a test."
patterns = ["zebra"]
match = ["a zebra here"]
"""


@pytest.fixture
def files(tmp_path):
    """A policy and a folder of rules that are small enough to be read in no time."""
    policy, rules = tmp_path / "policy.toml", tmp_path / "rules"
    rules.mkdir()
    policy.write_text(POLICY)
    (rules / "own.toml").write_text(RULE)
    return policy, rules


@pytest.fixture
def judge(files):
    policy, rules = files

    def build():
        return default_pipeline(policy=policy, rules=rules, classifiers=[], deadline_s=30)

    return Exchangeable(build, files, trial=MUST_HOLD)


async def verdict(judge):
    (found,) = await judge.judge([HELLO])
    return found


async def test_a_changed_rule_judges_the_next_message_under_a_new_version(judge, files):
    """Every verdict carries the version that judged it."""
    before = await verdict(judge)
    assert (before.action, before.policy_version) == (Action.HOLD, judge.policy_version)
    rules = files[1] / "own.toml"
    rules.write_text(RULE.replace('"hold"', '"block"'))
    assert await judge.changed()
    outcome = await judge.reload()
    after = await verdict(judge)
    assert outcome.changed and not outcome.fault
    assert (after.action, after.policy_version) == (Action.BLOCK, outcome.version)
    assert outcome.version != before.policy_version
    assert not await judge.changed()


@pytest.mark.parametrize(
    ("which", "text", "words"),
    [
        (0, 'version = "1"\nx = 1\n', "policy.toml:2: unknown entry 'x'"),
        (0, "version = ", "policy.toml:1:"),
        (1, RULE.replace("zebra here", "horse here"), "own.toml:8: own.word should match"),
        (1, RULE.replace('["zebra"]', '["("]'), "own.toml:7:"),
    ],
)
async def test_a_broken_file_leaves_the_old_one_judging(judge, files, caplog, which, text, words):
    """It says so with file and line, and takes the file once it is whole again."""
    version = judge.policy_version
    file = files[0] if which == 0 else files[1] / "own.toml"
    whole = file.read_text()
    file.write_text(text)
    with caplog.at_level(logging.ERROR):
        outcome = await judge.reload()
    assert not outcome.changed and words in outcome.fault
    assert judge.fault == outcome.fault and judge.failed == 1
    assert words in caplog.text and "zebra crossing" not in caplog.text
    assert (await verdict(judge)).policy_version == version
    assert not await judge.changed()  # the same broken file is not tried again and again
    file.write_text(whole + "\n# mended\n")
    outcome = await judge.reload()
    assert outcome.changed and judge.fault == "" and outcome.version != version


async def test_files_as_they_were_change_nothing(judge, files):
    """Touching a file costs a look, and the pipeline that judges stays."""
    pipeline = judge.pipeline
    later = time.time_ns() + 5_000_000_000
    os.utime(files[0], ns=(later, later))
    assert await judge.changed()
    outcome = await judge.reload()
    assert not outcome.changed and judge.pipeline is pipeline and judge.done == 0


async def test_a_mended_file_clears_the_fault_also_where_it_is_the_old_one_again(judge, files):
    """Putting back what was there is the quickest way to mend it."""
    files[0].write_text("broken")
    assert (await judge.reload()).fault
    files[0].write_text(POLICY)
    outcome = await judge.reload()
    assert (outcome.changed, outcome.fault, judge.fault) == (False, "", "")


async def test_a_new_pipeline_that_does_not_answer_never_takes_over():
    """Its files are well, and a check of it is not."""

    def broken(_batch):
        raise OSError("secret words of an error")

    built: list[Pipeline] = []

    def build():
        read = broken if built else lambda batch: [[] for _ in batch]
        policy = load_policy(made_with=bytes([len(built)]))
        built.append(Pipeline([Threaded("stage", read)], policy, 5))
        return built[-1]

    judge = Exchangeable(build, trial=MUST_HOLD)
    outcome = await judge.reload()
    assert not outcome.changed and "no answer in a trial from stage" in outcome.fault
    assert judge.pipeline is built[0]
    assert (await verdict(judge)).action is Action.DELIVER


async def test_a_fault_of_ours_in_building_leaves_the_old_one_judging(judge, monkeypatch):
    """Whatever it is; its words are not told, for they may hold anything."""

    def build():
        raise MemoryError("whatever this holds")

    monkeypatch.setattr(judge, "_build", build)
    outcome = await judge.reload()
    assert outcome.fault.endswith("MemoryError") and "holds" not in outcome.fault


async def test_building_does_not_stop_what_judges(judge, monkeypatch):
    """It runs on a thread; a batch under way keeps the pipeline that it began with."""
    build, begun, go = judge._build, threading.Event(), threading.Event()
    threads = []

    def slow():
        threads.append(threading.current_thread())
        begun.set()
        assert go.wait(20)
        return build()

    monkeypatch.setattr(judge, "_build", slow)
    version = judge.policy_version
    reloading = asyncio.create_task(judge.reload())
    assert await asyncio.to_thread(begun.wait, 20)
    assert (await verdict(judge)).policy_version == version
    go.set()
    await reloading
    assert threads[0] is not threading.main_thread()


async def test_a_batch_is_judged_by_one_pipeline(files):
    """Also where another takes over while it waits."""
    policy, rules = files
    go = threading.Event()

    def wait(batch):
        assert go.wait(20)
        return [[] for _ in batch]

    first = [Threaded("waits", wait)]

    def build():
        stages = [first.pop() if first else Threaded("waits", lambda batch: [[] for _ in batch])]
        return default_pipeline(policy=policy, rules=rules, classifiers=stages, deadline_s=20)

    judge = Exchangeable(build, trial=MUST_HOLD)
    old = judge.policy_version
    waiting = asyncio.create_task(judge.judge([HELLO, HELLO]))
    await asyncio.sleep(0.05)
    policy.write_text('version = "2"\n')
    assert (await judge.reload()).version.startswith("2-")
    assert (await verdict(judge)).policy_version.startswith("2-")
    go.set()
    assert {one.policy_version for one in await waiting} == {old}


async def test_an_exchanged_pipeline_ends_its_threads(judge, files, monkeypatch):
    """A server that runs for a year may take many policies."""
    old = judge.pipeline
    closed = []
    monkeypatch.setattr(old, "close", lambda *, but=(): closed.append(but))
    monkeypatch.setattr(old, "deadline_s", 0.01)
    files[0].write_text('version = "2"\n')
    await judge.reload()
    await asyncio.sleep(0.1)
    assert closed == [judge.pipeline.stages]


async def test_a_closed_stage_ends_its_thread_after_what_waits():
    """And begins anew where it is asked again: nothing is left unanswered."""
    stage = Threaded("stage", lambda batch: [[] for _ in batch])
    assert await stage.assess([HELLO]) == [[]]
    thread = stage._thread
    stage.close()
    assert thread is not None
    await asyncio.to_thread(thread.join, 5)
    assert not thread.is_alive()
    assert await stage.assess([HELLO]) == [[]]


async def test_a_call_right_after_a_close_is_answered():
    """Found by a review: it went to the thread that was about to end, and waited for ever."""
    begun, go = threading.Event(), threading.Event()

    def read(batch):
        begun.set()
        assert go.wait(20)
        return [[] for _ in batch]

    stage = Threaded("stage", read)
    first = asyncio.create_task(stage.assess([HELLO]))
    assert await asyncio.to_thread(begun.wait, 20)
    stage.close()
    second = asyncio.create_task(stage.assess([HELLO]))
    await asyncio.sleep(0)
    go.set()
    async with asyncio.timeout(20):
        assert await first == await second == [[]]


# --- versions: what was read is what is named ----------------------------------------------------------


async def test_a_list_of_any_name_is_in_the_version_and_is_watched(judge, files):
    """Found by a review: only .txt and .toml were, so that two lists could judge under one version."""
    words = files[1] / "names.lst"
    words.write_text("blorptangle\n")
    own = files[1] / "own.toml"
    listed = '[[list]]\nid = "own.list"\nlabel = "harassment"\nwhy = "W."\nfile = "names.lst"\n'
    own.write_text(RULE + listed)
    first = await judge.reload()
    assert first.changed and not await judge.changed()
    words.write_text("blorptangle\nxylophonic\n")
    assert await judge.changed()
    second = await judge.reload()
    assert second.changed and second.version != first.version
    (held,) = await judge.judge([Submission(text="a xylophonic day", role=Role.PUPIL)])
    assert (held.action, held.policy_version) == (Action.HOLD, second.version)


def test_a_version_is_of_what_was_read_and_not_of_what_came_meanwhile(files):
    """Each file is read once; the hash is over those very bytes."""
    policy, rules = files
    before = default_pipeline(policy=policy, rules=rules, classifiers=[]).policy_version
    read = []

    class Changing(PosixPath):
        def read_bytes(self):
            content = super().read_bytes()
            if self.parent.name == rules.name:
                read.append(self.name)
                self.write_text(RULE.replace("zebra", "horse"))
            return content

        def glob(self, pattern):
            return [Changing(each) for each in sorted(super().glob(pattern))]

    during = default_pipeline(policy=policy, rules=Changing(rules), classifiers=[])
    after = default_pipeline(policy=policy, rules=rules, classifiers=[]).policy_version
    assert read == ["own.toml"]
    assert during.policy_version == before != after


def test_models_that_change_while_they_are_read_are_refused(tmp_path, monkeypatch):
    """They are read by others, and hashed before and after."""
    models = tmp_path / "models"
    models.mkdir()
    (models / "a.toml").write_text("x = 1\n")
    made = build.digest_of
    hashes = iter([made(models), b"another"])
    monkeypatch.setattr(build, "digest_of", lambda folder: next(hashes))
    with pytest.raises(BadModel, match="changed while"):
        default_pipeline(models=models, classifiers=[])


def test_the_version_is_of_the_weights_in_force(tmp_path, monkeypatch):
    """Those that add up conversations are read once a process: a newer file is not what judges."""
    models = tmp_path / "models"
    models.mkdir()
    (models / trajectory.FILE.name).write_text("not read by anybody\n")
    without = default_pipeline(models=models, classifiers=[]).policy_version
    (models / trajectory.FILE.name).write_text("nor this\n")
    assert default_pipeline(models=models, classifiers=[]).policy_version == without
    other = replace(trajectory.shipped_weights(), bias=-1.0)
    monkeypatch.setattr(build, "shipped_weights", lambda: other)
    assert default_pipeline(models=models, classifiers=[]).policy_version != without


# --- the trial, and what would be lost -----------------------------------------------------------------


async def test_a_trial_must_come_out_as_it_must(judge, files):
    """Its files are well, and it lets by what must be held: the old ones go on."""
    rules = files[1] / "own.toml"
    rules.write_text(RULE.replace("zebra", "horse"))
    outcome = await judge.reload()
    assert not outcome.changed and "message 1 of the trial" in outcome.fault
    assert (await verdict(judge)).action is Action.HOLD
    assert not await judge.changed()  # only another file can mend it


async def test_nothing_starts_that_lets_the_trial_by(files):
    """As it is not taken later either."""
    policy, rules = files
    (rules / "own.toml").write_text(RULE.replace("zebra", "horse"))
    judge = Exchangeable(
        lambda: default_pipeline(policy=policy, rules=rules, classifiers=[], deadline_s=30), trial=MUST_HOLD
    )
    with pytest.raises(BadPolicy, match="message 1 of the trial"):
        await judge.prove()


async def test_the_shipped_checks_pass_the_shipped_trial_by_rules_alone():
    """It asks for what no policy of a site can take away, and so never hangs on a classifier's mood."""
    pipeline = default_pipeline(classifiers=[], deadline_s=60)
    verdicts = await pipeline.judge([one.submission for one in TRIAL])
    for one, found in zip(TRIAL, verdicts, strict=True):
        assert found.risk >= one.risk and found.action >= one.action
        assert not found.degraded
    assert verdicts[0].action is Action.DELIVER
    assert max(one.risk for one in TRIAL) is Risk.IMMEDIATE
    assert {one.action for one in TRIAL} == set(Action)
    pipeline.close()


async def test_a_stage_is_not_lost_on_the_way(judge, files, monkeypatch):
    """A model's file that is gone since the start is refused, and looked for again."""
    policy, rules = files

    def with_two(count):
        names = ["one", "two"][:count]
        stages = [Threaded(name, lambda batch: [[] for _ in batch]) for name in names]
        return lambda: default_pipeline(policy=policy, rules=rules, classifiers=stages, deadline_s=30)

    now = [0.0]
    judge = Exchangeable(with_two(2), files, trial=MUST_HOLD, clock=lambda: now[0])
    monkeypatch.setattr(judge, "_build", with_two(1))
    policy.write_text('version = "2"\n')
    outcome = await judge.reload()
    assert not outcome.changed and "two would no longer judge" in outcome.fault
    monkeypatch.setattr(judge, "_build", with_two(2))
    now[0] += RETRY_S
    assert await judge.changed() and (await judge.reload()).changed


async def test_a_fault_that_may_pass_is_tried_again_and_less_and_less_often(files):
    """A file that could not be read for a moment stops nothing for good; nor is it tried all the time."""
    policy, rules = files
    faults: list[Exception] = []

    def build():
        if faults:
            raise faults.pop()
        return default_pipeline(policy=policy, rules=rules, classifiers=[], deadline_s=30)

    now = [0.0]
    judge = Exchangeable(build, files, trial=MUST_HOLD, clock=lambda: now[0])
    policy.write_text('version = "2"\n')
    for wait_s in (RETRY_S, 2 * RETRY_S, 4 * RETRY_S):
        faults.append(OSError("too many open files"))
        assert (await judge.reload()).fault
        assert not await judge.changed()
        now[0] += wait_s - 0.1
        assert not await judge.changed()
        now[0] += 0.1
        assert await judge.changed()
    assert (await judge.reload()).changed
    assert not await judge.changed()
    now[0] += 1_000 * RETRY_S
    assert not await judge.changed()
    faults.append(BadPolicy("policy.toml:1: wrong"))
    await judge.reload()
    now[0] += 1_000 * RETRY_S
    assert not await judge.changed(), "a wrong file is wrong until it is another"


async def test_who_watches_hears_of_what_judges_and_of_no_trial(files):
    """Found by a review: building another pipeline set the breakers of the one in use."""
    policy, rules = files
    heard: list[tuple[str, str]] = []
    answers = [True]

    def read(batch):
        if not answers[0]:
            raise OSError
        return [[] for _ in batch]

    def build():
        return default_pipeline(
            policy=policy, rules=rules, classifiers=[Threaded("stage", read)], deadline_s=30,
            observe=lambda what, stage, kind, value: heard.append((what, stage)),
        )  # fmt: skip

    judge = Exchangeable(build, files, trial=MUST_HOLD)
    assert ("breaker", "stage") in heard and len(heard) == len(judge.pipeline.stages)
    heard.clear()
    answers[0] = False
    policy.write_text('version = "2"\n')
    assert "no answer" in (await judge.reload()).fault
    assert heard == []
    answers[0] = True
    assert (await judge.reload()).changed
    assert {what for what, _ in heard} == {"breaker"}
    heard.clear()
    await verdict(judge)
    assert ("seconds", "stage") in heard


async def test_closing_ends_the_threads_of_what_judges(files):
    """An app that stops leaves none behind."""
    policy, rules = files
    stage = Threaded("stage", lambda batch: [[] for _ in batch])
    judge = Exchangeable(
        lambda: default_pipeline(policy=policy, rules=rules, classifiers=[stage], deadline_s=30)
    )
    await verdict(judge)
    thread = stage._thread
    assert thread is not None
    judge.close()
    await asyncio.to_thread(thread.join, 20)
    assert not thread.is_alive()
