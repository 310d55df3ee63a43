"""What a conversation comes to is kept with it: over restarts, for what was stored and for nothing else."""

import json

import pytest

from moderation import trajectory
from moderation.build import default_pipeline
from moderation.pipeline import Pipeline
from moderation.policy_file import load_policy
from moderation.trajectory import State, resumed
from moderation.verdict import Risk, Role
from peerchat.gathering import standing
from tests.support.scores import EVEN, LOW, Scores


@pytest.fixture(autouse=True)
def judged(pair, monkeypatch):
    """Let real moderation judge, by scores that stand in the text."""
    monkeypatch.setattr(trajectory, "shipped_weights", lambda: EVEN)
    judge, scripted = Pipeline([Scores()], load_policy()), pair.world.judge.judge

    async def both(batch):
        await scripted(batch)  # for its gate
        return await judge.judge(batch)

    monkeypatch.setattr(pair.world.judge, "judge", both)


async def state(pair):
    found = await pair.world.read(lambda tx: tx.conversations.get(pair.c))
    return resumed(found.so_far)[0]


async def test_what_gathers_over_a_conversation_is_told_to_an_adult(pair):
    """Each of the messages is nothing by itself, all are delivered, and the alert names what they come to."""
    for _ in range(3):
        assert (await pair.pupil.send(pair.c, LOW))["status"] == "delivered"
    alert = await pair.world.alert()
    assert (alert.risk, alert.about, alert.labels[0]) == (Risk.CONCERN, pair.pupil.id, "self_harm")
    assert pair.mentor.texts() == [LOW] * 3
    assert (await state(pair)).turns == (3, 0)


async def test_it_survives_a_power_cut(pair, paired_school):
    """Killed in the middle and opened again, it goes on where it was."""
    for _ in range(2):
        await pair.pupil.send(pair.c, LOW)
    before, actor = await state(pair), pair.pupil.actor
    await paired_school.cut()
    assert await state(pair) == before != State()
    pupil = await pair.world.enter(type(pair.pupil)(pair.world, actor))
    adult = await pair.world.enter(type(pair.adult)(pair.world, pair.adult.actor))
    await adult.says("duty", on=True)
    await pupil.send(pair.c, LOW)
    assert (await pair.world.alert()).labels[0] == "self_harm"


async def test_an_alarm_on_a_mentors_question_is_about_the_pupil(pair):
    """Who asks after somebody is not the one whom an adult should see about."""
    for _ in range(2):
        await pair.pupil.send(pair.c, LOW)
    await pair.mentor.send(pair.c, "self_harm 0.9")
    alert = await pair.world.alert()
    assert (alert.about, alert.about_role, alert.discreet) == (pair.pupil.id, Role.PUPIL, False)


async def test_an_alarm_about_a_mentor_is_not_told_to_them(pair):
    known = len(pair.mentor.of("help"))
    for _ in range(6):
        await pair.mentor.send(pair.c, "boundary 0.35, level:concern 0.4")
    alert = await pair.world.alert()
    assert (alert.about, alert.labels[0], alert.discreet) == (pair.mentor.id, "boundary", True)
    assert len(pair.mentor.of("help")) == known


async def test_what_is_held_counts_too(pair):
    ack = await pair.pupil.send(pair.c, "harassment 0.6, toxicity:insult 1.0")
    assert ack["status"] == "held"
    assert (await state(pair)).turns == (1, 0)


async def test_what_is_refused_leaves_no_trace(pair):
    """Signed out between judgement and commit; the other's message of the same batch counts."""
    pair.world.judge.gate.clear()
    await pair.mentor.put("send", conversation=pair.c, id="first", text="hello")
    await pair.world.judge.asked.wait()  # the next ones wait, and make one batch
    await pair.pupil.put("send", conversation=pair.c, id="lost", text=LOW)
    await pair.mentor.put("send", conversation=pair.c, id="kept", text="boundary 0.3")
    pair.world.judge.asked.clear()
    pair.world.judge.gate.set()
    await pair.world.store.write(lambda tx: tx.members.revoke(pair.pupil.actor.token))
    await pair.world.flush()
    found = await state(pair)
    stored = await pair.world.sql("SELECT count(*) FROM message")
    assert sum(found.turns) == stored[0][0]
    if found.turns[0] == 0:
        assert not any(found.peak[: len(trajectory.EVIDENCE)])


async def test_the_same_message_twice_counts_once(pair):
    """Sent again before it was answered, in one batch with itself, and once more after."""
    pair.world.judge.gate.clear()
    await pair.mentor.put("send", conversation=pair.c, id="first", text="hello")
    await pair.world.judge.asked.wait()
    for _ in range(3):
        await pair.pupil.put("send", conversation=pair.c, id="twice", text=LOW)
    pair.world.judge.gate.set()
    await pair.world.flush()
    await pair.pupil.send(pair.c, LOW, id="twice")
    assert (await state(pair)).turns == (1, 1)


@pytest.mark.parametrize("stored", ["'[0,\"secret\"]'", "NULL"])
async def test_a_state_that_cannot_be_read_is_added_up_anew_from_the_verdicts(pair, caplog, stored):
    """Another version's, or none: what was said before counts, to the last digit, and is told in time."""
    await pair.pupil.send(pair.c, LOW)
    await pair.mentor.send(pair.c, "hello")
    await pair.pupil.send(pair.c, LOW)
    before = await state(pair)
    await pair.world.sql(f"UPDATE conversation SET so_far = {stored}")
    assert await pair.world.read(lambda tx: standing(tx, tx.conversations.get(pair.c))) == before
    assert await pair.world.alerts() == []
    assert (await pair.pupil.send(pair.c, LOW))["status"] == "delivered"
    assert (await state(pair)).turns == (3, 1)
    assert (await pair.world.alert()).about == pair.pupil.id
    assert ("added up anew" in caplog.text) == (stored != "NULL")
    assert "secret" not in caplog.text


async def test_what_rules_found_is_added_up_anew_too(pair, monkeypatch):
    """What a rule asks for, and what it knows as good, is kept with the verdict."""
    monkeypatch.setattr(pair.world.judge, "judge", default_pipeline(classifiers=[Scores()]).judge)
    await pair.mentor.send(pair.c, "Are you thinking about suicide?")
    await pair.pupil.send(pair.c, "you are a bitch")
    before = await state(pair)
    assert any(before.counts)
    await pair.world.sql("UPDATE conversation SET so_far = NULL")
    assert await pair.world.read(lambda tx: standing(tx, tx.conversations.get(pair.c))) == before


async def test_an_alarm_that_adding_up_anew_finds_and_no_verdict_tells_is_told_by_the_next_message(pair):
    """As after an upgrade whose weights see more in what was said before."""
    for _ in range(3):
        await pair.pupil.send(pair.c, LOW)
    await pair.world.sql("DELETE FROM case_evidence")
    await pair.world.sql("DELETE FROM alert_event")
    await pair.world.sql("DELETE FROM attempt")
    await pair.world.sql("DELETE FROM alert")
    rows = await pair.world.sql("SELECT message, signals FROM verdict WHERE risk > 0")
    for message, signals in rows:
        kept = json.dumps([one for one in json.loads(signals) if one["stage"] != trajectory.STAGE])
        await pair.world.sql(f"UPDATE verdict SET risk = 0, signals = '{kept}' WHERE message = '{message}'")
    await pair.world.sql("UPDATE conversation SET so_far = NULL")
    await pair.pupil.send(pair.c, LOW)
    assert (await pair.world.alert()).labels[0] == "self_harm"


async def test_an_alarm_that_was_told_is_not_told_again_when_added_up_anew(pair):
    for _ in range(3):
        await pair.pupil.send(pair.c, LOW)
    before = await state(pair)
    await pair.world.sql("UPDATE conversation SET so_far = NULL")
    assert await pair.world.read(lambda tx: standing(tx, tx.conversations.get(pair.c))) == before


async def test_nothing_of_it_is_kept_when_the_conversation_has_ended(pair):
    await pair.pupil.send(pair.c, LOW)
    await pair.pupil.says("leave", conversation=pair.c)
    assert (await pair.world.read(lambda tx: tx.conversations.get(pair.c))).so_far is None


async def test_a_conversation_begins_with_what_the_pupil_wrote_before(pair):
    """The note counts as the first message."""
    pupil, mentor = await pair.world.pupil(), await pair.world.mentor()
    await pupil.says("ask", topics=[], preferences={}, note=LOW)
    await mentor.says("shift", on=True, capacity=1)
    await pair.world.flush()
    [found] = await pair.world.sql(f"SELECT so_far FROM conversation WHERE id != '{pair.c}'")
    assert resumed(found[0])[0].turns == (1, 0)
