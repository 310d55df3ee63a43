"""Exchanging what judges: whole and checked, between two batches, or not at all."""

import asyncio
import logging
import os
import threading
import time

import pytest

from moderation.build import default_pipeline
from moderation.pipeline import Pipeline, Threaded
from moderation.policy_file import load_policy
from moderation.reload import Exchangeable
from moderation.verdict import Action, Role, Submission

HELLO = Submission(text="zebra crossing", role=Role.PUPIL)
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

    return Exchangeable(build, files)


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

    judge = Exchangeable(build)
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
        stages = [first.pop()] if first else []
        return default_pipeline(policy=policy, rules=rules, classifiers=stages, deadline_s=20)

    judge = Exchangeable(build)
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
