"""A disk that is full: nothing is half there, nobody is told otherwise, and the adults hear of it."""

import asyncio
import resource
from contextlib import contextmanager

import pytest

from peerchat import node as node_module
from peerchat.store.sql import database_file
from web import ops


@contextmanager
def full_disk(world):
    """Let no file of this process grow over what the database's log has now: the system refuses it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    log = database_file(world.folder).with_name("peerchat.db-wal")
    resource.setrlimit(resource.RLIMIT_FSIZE, (log.stat().st_size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def saving(world):
    """Return what staff read of it."""
    return next(each for each in ops.health(world.node, ops.Metrics()) if each["what"] == "Saving")


@pytest.fixture
async def watching(pair, monkeypatch):
    """The node's own watch, in a hurry."""
    monkeypatch.setattr(node_module, "SAVING_EVERY_S", 0.01)
    monkeypatch.setattr(node_module, "TRY_SAVING_EVERY_S", 0.01)
    task = asyncio.create_task(pair.world.node.watch_saving())
    yield
    task.cancel()


async def told(pair, known):
    """Wait until the adult's page is told to look again."""
    async with asyncio.timeout(10):
        while len(pair.adult.of("site")) == known:
            await asyncio.sleep(0.01)
            await pair.world.flush()


async def test_adults_are_told_that_nothing_can_be_saved_and_when_it_can_again(pair, watching):
    """Neither the message nor the press on Help arrives: the sender hears it, and so does an adult."""
    known, others = len(pair.adult.of("site")), len(pair.pupil.of("site"))
    assert saving(pair.world)["ok"]
    with full_disk(pair.world):
        answer = await pair.pupil.send(pair.c, "x" * 1_500)
        assert (answer["type"], answer["code"]) == ("error", "unavailable")
        flag = await pair.pupil.says("flag", conversation=pair.c, urgency="emergency")
        assert flag["code"] == "unavailable" and pair.pupil.of("support")[-1]["services"]
        await told(pair, known)
        assert not saving(pair.world)["ok"] and "Help" in saving(pair.world)["words"]
        known = len(pair.adult.of("site"))
    await told(pair, known)
    assert saving(pair.world)["ok"]
    assert len(pair.pupil.of("site")) == others
    assert (await pair.pupil.send(pair.c, "x" * 1_500))["status"] == "delivered"
    assert await pair.world.alerts() == []


async def test_one_body_that_fails_is_no_full_disk(pair):
    """A refused row is its caller's trouble alone."""
    with pytest.raises(Exception, match="refused"):
        await pair.world.sql("INSERT INTO site (id) VALUES ('x')")
    assert saving(pair.world)["ok"]
