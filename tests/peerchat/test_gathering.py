"""What a conversation counts is told: at the latest by its end, whatever ends it (rule 8)."""

import asyncio
from dataclasses import replace

import pytest

from moderation import trajectory
from moderation.pipeline import Pipeline
from moderation.policy import Policy, Settled, Threshold
from moderation.trajectory import State
from moderation.verdict import Action, Risk, Role, Signal, Submission
from peerchat import setup
from peerchat.chat import Chat
from peerchat.frames import Send
from peerchat.gathering import CONCERNS, EVIDENCE, standing
from peerchat.gathering import GRAVE as ENOUGH
from peerchat.model import Decision, new_id
from peerchat.ports import Event
from tests.support.scores import EVEN, LOW, NOBODY, Scores

GRAVE_ONES = tuple(f"level:high 0.8{at}" for at in range(ENOUGH))
"""High risk by a score that is not sure, in as many messages as are told by the end."""

GRAVE, *_ = GRAVE_ONES

WORRY = "level:concern 0.6"
"""Concern by a score alone."""

COUNTING = Policy(
    version="counting",
    thresholds={
        "linear": {
            "level:concern": Threshold(concern=0.5),
            "level:high": Threshold(high=0.7, sure=0.9),
            "toxicity:insult": Threshold(hold=0.5),
        }
    },
    reasons={},
    gathers_concern=True,
)


@pytest.fixture
def fold():
    return NOBODY


@pytest.fixture(autouse=True)
def judged(pair, monkeypatch, fold):
    """Judge by scores that stand in the text; by default the whole of a conversation never raises."""
    monkeypatch.setattr(trajectory, "shipped_weights", lambda: fold)
    monkeypatch.setattr(pair.world.judge, "judge", Pipeline([Scores()], COUNTING).judge)


async def evidence(world, alert):
    """Return the texts that an alert names, in the order of its chronology."""
    events = await world.read(lambda tx: tx.alerts.chronology(alert.id))
    return [(await world.message(e.message)).text for e in events if e.message]


async def grave(pair, person=None):
    """Send all grave messages; the acknowledgements."""
    person = person or pair.pupil
    return [await person.send(pair.c, text) for text in GRAVE_ONES]


async def told(world):
    """Return what the one alert is about, and which messages it names."""
    alert = await world.alert()
    return alert.labels, alert.risk, await evidence(world, alert)


async def leaves(pair):
    await pair.pupil.says("leave", conversation=pair.c)


async def mentor_leaves(pair):
    await pair.mentor.says("leave", conversation=pair.c)


async def blocks(pair):
    await pair.pupil.says("block", conversation=pair.c)


async def is_suspended(pair):
    await pair.world.write(lambda tx: setup.suspend(tx, pair.mentor.id, by=pair.adult.id))
    await pair.world.round()


async def closing_time(pair):
    hours = '[{"days": [0], "from": "09:00", "to": "10:00"}]'
    await pair.world.sql(f"UPDATE site SET hours = '{hours}'")
    await pair.world.round()


async def ended_by_staff(pair):
    await pair.world.cases.end(pair.adult.actor, pair.c)
    await pair.world.flush()


ENDINGS = [leaves, mentor_leaves, blocks, is_suspended, closing_time, ended_by_staff]


# ---------------------------------------------------------------------------- what was counted


@pytest.mark.parametrize("end", ENDINGS, ids=lambda end: end.__name__)
async def test_rule_08_high_risk_that_was_only_counted_is_told_by_the_end(pair, end):
    """So many messages are enough, and nobody who talked is told; no ending is left out."""
    assert [ack["status"] for ack in await grave(pair)] == ["delivered"] * ENOUGH
    assert await pair.world.alerts() == []
    known = len(pair.mentor.seen)
    await end(pair)
    conversation = await pair.world.read(lambda tx: tx.conversations.get(pair.c))
    assert conversation.ended and conversation.so_far is None
    alert = await pair.world.alert()
    assert (alert.risk, alert.labels, alert.about) == (Risk.CONCERN, ("to_read",), pair.pupil.id)
    assert (alert.conversation, alert.next_due_at) == (pair.c, pair.world.clock.now)
    assert set(await evidence(pair.world, alert)) == set(GRAVE_ONES)
    assert not [f for f in pair.mentor.seen[known:] if f["type"] in ("help", "alert", "support")]


async def test_it_is_told_like_any_other_alert_and_names_its_messages(pair):
    await grave(pair)
    await pair.pupil.send(pair.c, "and then a bus came")
    await leaves(pair)
    await pair.world.sweep()
    shown = pair.adult.of("alert")[-1]
    assert (shown["change"], shown["alert"]["risk"]) == ("raised", "concern")
    case = await pair.world.cases.shown(pair.adult.actor, shown["alert"]["id"])
    assert [(line["text"], line["evidence"]) for line in case["excerpt"]] == [
        *((text, True) for text in GRAVE_ONES),
        ("and then a bus came", False),
    ]


async def test_rule_08_it_is_in_the_transaction_that_ends_the_conversation(pair, monkeypatch):
    """Where the alert cannot be kept, the conversation has not ended, and can be ended again."""
    await grave(pair)
    await pair.world.sql("CREATE TRIGGER full BEFORE INSERT ON alert BEGIN SELECT RAISE(ABORT, 'full'); END")
    assert (await pair.pupil.says("leave", conversation=pair.c))["type"] == "error"
    assert not (await pair.world.read(lambda tx: tx.conversations.get(pair.c))).ended
    await pair.world.sql("DROP TRIGGER full")
    await leaves(pair)
    assert (await pair.world.alert()).labels == ("to_read",)


async def test_fewer_grave_messages_are_not_told(pair):
    """Of so few a good part of all harmless conversations would tell."""
    for text in GRAVE_ONES[1:]:
        await pair.pupil.send(pair.c, text)
    await pair.mentor.send(pair.c, "hello")
    await leaves(pair)
    assert await pair.world.alerts() == []


@pytest.mark.parametrize(("worries", "alerts"), [(CONCERNS - 2, 0), (CONCERNS - 1, 1)])
async def test_a_grave_one_makes_one_of_several_worries(pair, worries, alerts):
    """It counts among them, too."""
    await pair.pupil.send(pair.c, GRAVE)
    for _ in range(worries):
        await pair.pupil.send(pair.c, WORRY)
    await leaves(pair)
    assert [alert.labels for alert in await pair.world.alerts()] == [("to_read",)] * alerts


@pytest.mark.parametrize(("worries", "alerts"), [(CONCERNS - 1, 0), (CONCERNS, 1)])
async def test_a_concern_by_a_score_is_told_where_there_were_several(pair, worries, alerts):
    for _ in range(worries):
        await pair.pupil.send(pair.c, WORRY)
        await pair.mentor.send(pair.c, "hello")
    await leaves(pair)
    found = await pair.world.alerts()
    assert [alert.labels for alert in found] == [("to_read",)] * alerts
    assert all([len(await evidence(pair.world, alert)) == worries for alert in found])


async def test_the_worries_of_two_people_are_not_added_up(pair):
    for person in (pair.pupil, pair.mentor, pair.pupil, pair.mentor):
        await person.send(pair.c, WORRY)
    await leaves(pair)
    assert await pair.world.alerts() == []


async def test_a_mentors_messages_are_told_about_the_mentor_and_not_to_them(pair):
    await grave(pair, pair.mentor)
    await leaves(pair)
    await pair.world.sweep()
    alert = await pair.world.alert()
    assert (alert.about, alert.about_role, alert.discreet) == (pair.mentor.id, Role.MENTOR, True)
    assert pair.mentor.of("help", "alert") == pair.pupil.of("help", "alert") == []


async def test_the_gravest_are_named_first_where_there_are_many(pair):
    await pair.pupil.send(pair.c, GRAVE)
    for _ in range(EVIDENCE + 3):
        await pair.pupil.send(pair.c, WORRY)
    await leaves(pair)
    named = await evidence(pair.world, await pair.world.alert())
    assert (len(named), named[0]) == (EVIDENCE, GRAVE)


async def test_an_ordinary_conversation_raises_nothing_by_its_end(pair):
    for person in (pair.pupil, pair.mentor) * 5:
        await person.send(pair.c, "level:concern 0.3, level:high 0.4")
    await leaves(pair)
    assert await pair.world.alerts() == []


@pytest.mark.parametrize(
    "signals",
    [
        [("level:high", 0.8)],
        [("level:concern", 0.6), ("level:high", 0.8)],
        [("level:concern", 0.6)],
        [("level:high", 0.3)],
        [
            ("abuse", 0.9),
            ("level:high", 0.8),
            "toxicity:insult",
        ],  # a rule settles it, and it is more than that
        [("bullied", 0.9), ("level:high", 0.8), "toxicity:insult"],
    ],
)
def test_what_is_counted_is_what_the_message_would_have_raised_by_itself(signals):
    """A policy counts in a conversation what it would raise out of one: nothing is lost, no more is told."""
    seen = [
        Signal(label=one, score=1.0, stage="rules", why="r", action=Action.HOLD)
        if isinstance(one, str)
        else Signal(label=one[0], score=one[1], stage="linear", why="linear")
        for one in signals
    ]
    settled = Settled(
        labels=frozenset({"toxicity:insult"}),
        mistaken_for=frozenset({"bullied"}),
        stages=frozenset({"linear"}),
    )
    policy = replace(COUNTING, settled=settled)
    alone = Submission(text="x", role=Role.PUPIL)
    by_itself = policy.decide(alone, seen, frozenset())
    counted = policy.decide(replace(alone, so_far=State()), seen, frozenset())
    assert (by_itself.counted, counted.risk) == (Risk.NONE, Risk.NONE)
    assert counted.counted is by_itself.risk


# ---------------------------------------------------------------------------- with the turns before it

WEIGHING = replace(COUNTING, agrees=0.5)
"""The same, where the second reading has a say."""


def second(score):
    """Words for a second reading that shows so much."""
    return f"together:risk {score}"


class Rules:
    """Finds high risk in each text that says so, as a rule would."""

    name = "rules"

    async def assess(self, batch):
        return [[FOUND] if "my story" in one.text else [] for one in batch]


FOUND = Signal(label="abuse", score=1.0, stage="rules", why="r", risk=Risk.HIGH)


@pytest.fixture
def weighing(pair, monkeypatch):
    monkeypatch.setattr(pair.world.judge, "judge", Pipeline([Scores(), Rules()], WEIGHING).judge)


async def test_rule_08_what_a_rule_finds_raises_at_once_whatever_was_said_before_it(pair, weighing):
    """A cheerful talk is no cover: whoever says it once is heard."""
    ack = await pair.pupil.send(pair.c, f"my story, {second(0.0)}")
    assert ack["status"] == "held"
    assert (await pair.world.alert()).risk is Risk.HIGH


@pytest.mark.parametrize("score", [0.0, 0.9])
async def test_rule_08_what_a_score_counted_is_told_by_the_end_whatever_was_said_before_it(
    pair, weighing, score
):
    for text in GRAVE_ONES:
        ack = await pair.pupil.send(pair.c, f"{text}, {second(score)}")
        assert ack["status"] == "delivered"
    await leaves(pair)
    assert (await pair.world.alert()).labels == ("to_read",)


async def test_what_was_read_together_is_added_up_anew_too(pair, weighing):
    """It is kept with the verdict: a conversation whose row was lost comes to the same, to the last digit."""
    for score in (0.3, 0.8, 0.1):
        await pair.pupil.send(pair.c, f"{second(score)}, together:pieces 0.4, self_harm 0.3")
    before = trajectory.resumed((await pair.world.read(lambda tx: tx.conversations.get(pair.c))).so_far)[0]
    assert all(before.together[at] for at in (0, 9, 18)), "the newest, the mean and the most"
    await pair.world.sql("UPDATE conversation SET so_far = '[1,\"AAAA\"]'")
    assert await pair.world.read(lambda tx: standing(tx, tx.conversations.get(pair.c))) == before


# ---------------------------------------------------------------------------- what was told already


async def test_what_raised_by_itself_is_told_once(pair):
    """A sure score raises at once; the end adds nothing."""
    for text in (GRAVE, "level:high 0.95, level:concern 0.9"):
        await pair.pupil.send(pair.c, text)
    before = await told(pair.world)
    await leaves(pair)
    assert await told(pair.world) == before
    assert before[2] == ["level:high 0.95, level:concern 0.9"]


async def test_another_alert_of_the_conversation_gets_the_messages_that_it_does_not_name(pair):
    """An alert about something else does not tell of them; no second alert is needed for it."""
    await grave(pair)
    await pair.mentor.says("flag", conversation=pair.c, urgency="concern")
    await leaves(pair)
    alert = await pair.world.alert()
    assert alert.labels == ("flag", "to_read")
    assert set(await evidence(pair.world, alert)) == set(GRAVE_ONES)


async def test_an_alert_about_the_other_one_does_not_cover_them(pair):
    await pair.mentor.send(pair.c, "level:high 0.95")
    await grave(pair)
    await leaves(pair)
    assert {alert.about for alert in await pair.world.alerts()} == {pair.pupil.id, pair.mentor.id}


async def test_rule_07_what_a_person_has_decided_about_is_not_told_again(pair):
    """Held for its words, read and released by a moderator: a reader has seen it. The others are too few."""
    for text in GRAVE_ONES[1:]:
        await pair.pupil.send(pair.c, text)
    ack = await pair.pupil.send(pair.c, f"you toxicity:insult, {GRAVE}, toxicity:insult 1.0")
    assert ack["status"] == "held"
    item = await pair.world.item(ack["message"])
    await pair.world.review.claim(pair.moderator.actor, item.id)
    await pair.world.review.decide(
        pair.moderator.actor, item.id, decision=Decision.RELEASE, reason="fine", note=None
    )
    await leaves(pair)
    assert await pair.world.alerts() == []


async def test_what_was_held_and_nobody_looked_at_is_told(pair):
    """The end withholds it; it must not be lost with that."""
    for text in GRAVE_ONES[1:]:
        await pair.pupil.send(pair.c, text)
    ack = await pair.pupil.send(pair.c, f"you toxicity:insult, {GRAVE}, toxicity:insult 1.0")
    assert ack["status"] == "held"
    await leaves(pair)
    alert = await pair.world.alert()
    assert (alert.labels, alert.about) == (("to_read",), pair.pupil.id)
    case = await pair.world.cases.shown(pair.adult.actor, alert.id)
    assert [line["evidence"] for line in case["excerpt"]] == [True] * ENOUGH


# ---------------------------------------------------------------------------- what the whole comes to


@pytest.mark.parametrize("fold", [EVEN])
async def test_what_the_whole_came_to_and_waited_for_a_next_message_is_told_by_the_end(pair, fold):
    """The last message was about its own sender, and nothing came after it that could tell of the other."""
    for _ in range(2):
        await pair.mentor.send(pair.c, "boundary 0.35, level:concern 0.4")
    await pair.pupil.send(pair.c, "level:high 0.95")
    [first] = await pair.world.alerts()
    assert first.about == pair.pupil.id
    await leaves(pair)
    found = [alert for alert in await pair.world.alerts() if alert.id != first.id]
    assert [(a.about, a.labels, a.discreet) for a in found] == [(pair.mentor.id, ("boundary",), True)]


@pytest.mark.parametrize("fold", [EVEN])
async def test_an_alarm_about_the_whole_covers_what_it_was_made_of(pair, fold):
    await pair.pupil.send(pair.c, "level:high 0.72")
    for _ in range(3):
        await pair.pupil.send(pair.c, LOW)
    before = await told(pair.world)
    assert "to_read" not in before[0]
    await leaves(pair)
    assert await told(pair.world) == before


# ---------------------------------------------------------------------------- two at once


class TwoAtOnce:
    """Judges once two nodes have asked: each answers for a conversation that the other is changing."""

    def __init__(self, pipeline):
        self._pipeline = pipeline
        self._both = asyncio.Barrier(2)

    async def judge(self, batch):
        async with asyncio.timeout(10):
            await self._both.wait()
        return await self._pipeline.judge(batch)


@pytest.mark.parametrize("fold", [EVEN])
async def test_an_alarm_that_only_two_messages_at_once_come_to_is_told(pair, fold):
    """Neither verdict has it, for each was given without the other's message: the later commit tells it."""
    await pair.pupil.send(pair.c, LOW)
    judge = TwoAtOnce(Pipeline([Scores()], COUNTING))
    told: list[bool] = []
    answered: list[Event] = []
    nodes = [
        Chat(pair.world.store, judge, alerted=lambda: told.append(True), answer=answered.append)
        for _ in range(2)
    ]
    pumps = [asyncio.create_task(node.run()) for node in nodes]
    done = [asyncio.Event(), asyncio.Event()]
    for node, person, text, event in zip(
        nodes, (pair.pupil, pair.mentor), (LOW, "self_harm 0.1"), done, strict=True
    ):
        frame = Send(conversation=pair.c, id=new_id("cli"), text=text, ref="r")
        node.post(person.actor, person.line.id, frame, done=event.set)
    async with asyncio.timeout(10):
        for event in done:
            await event.wait()
    for pump in pumps:
        pump.cancel()
    await pair.world.flush()
    assert answered == []
    risks = await pair.world.sql("SELECT risk FROM verdict")
    assert set(risks) == {(0,)}, "a verdict had it: this tests nothing"
    alert = await pair.world.alert()
    assert (alert.about, alert.risk) == (pair.pupil.id, Risk.CONCERN)
    assert told == [True]
    state = trajectory.resumed((await pair.world.read(lambda tx: tx.conversations.get(pair.c))).so_far)[0]
    assert state.turns == (2, 1) and any(state.told)
