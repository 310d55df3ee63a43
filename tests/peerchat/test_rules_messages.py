"""Rules 1 to 7: what is stored, what is delivered, in which order, and who has the last word."""

import asyncio
import json

import pytest

from moderation.verdict import Action, Risk
from peerchat.chat import BATCH
from peerchat.errors import AlreadyDecided, SameDecider
from peerchat.frames import Send
from peerchat.model import Decision, MessageStatus

NOT_ALLOWED = [
    "[hold] x",
    "[block] x",
    "[degraded] x",
    "[hold] [high] x",
    "[block] [immediate] x",
    "[degraded] [concern] x",
]


async def decide(pair, by, message, decision, reason="other"):
    """Claim a message's item and decide about it."""
    item = await pair.world.item(message)
    await pair.world.review.claim(by.actor, item.id)
    gone = await pair.world.review.decide(by.actor, item.id, decision=decision, reason=reason, note=None)
    await pair.world.flush()
    return gone


# ---------------------------------------------------------------------------- rule 1


async def test_rule_01_a_delivered_message_has_an_allowing_verdict_of_that_text(pair):
    """The verdict is a row of the same transaction, for the same body, with its policy's version."""
    ack = await pair.pupil.send(pair.c, "hello")
    [row] = await pair.world.sql(
        "SELECT m.seq, v.action, v.policy_version, m.body_mac = v.body_mac, m.created_at >= v.at"
        f" FROM message m JOIN verdict v ON v.message = m.id WHERE m.id = '{ack['message']}'"
    )
    assert row == (1, Action.DELIVER.value, "test-1", 1, 1)


async def test_rule_01_nothing_is_shown_before_it_is_committed(pair):
    """While the transaction is open, the partner and the sender have heard nothing."""
    shown = asyncio.Event()
    told_at_commit = []
    publish = pair.world.publisher.publish

    def listening(events):
        told_at_commit.append(commits())
        publish(events)
        shown.set()

    def commits():
        return pair.world.store.commits

    pair.world.store._on_events = listening
    before = commits()
    await pair.pupil.put("send", conversation=pair.c, id="one", text="hello")
    await asyncio.wait_for(shown.wait(), 5)
    assert told_at_commit[0] > before
    await pair.world.flush()
    assert pair.mentor.texts() == ["hello"]


# ---------------------------------------------------------------------------- rule 2


@pytest.mark.parametrize("text", NOT_ALLOWED)
async def test_rule_02_what_no_verdict_allows_reaches_the_partner_by_no_way(pair, text):
    """Not live, not on a new line, not from history; also not after a pause and a resume, or a restart."""
    ack = await pair.pupil.send(pair.c, text)
    assert ack["status"] in ("held", "blocked") and "seq" not in ack
    assert pair.mentor.texts() == []

    assert [f for f in await pair.mentor.again() if f["type"] == "message"] == []
    page, end = await pair.mentor.history(pair.c)
    assert page == [] and end["last_seq"] == 0

    await pair.world.cases.pause(pair.adult.actor, pair.c)
    await pair.world.cases.resume(pair.adult.actor, pair.c)
    await pair.world.round()
    page, _ = await pair.mentor.history(pair.c)
    assert page == [] and pair.mentor.texts() == []
    assert text not in json.dumps(pair.mentor.seen)


async def test_rule_02_a_judge_that_fails_delivers_nothing(pair):
    """The whole batch is refused, nothing of it is stored, and the next one goes through."""
    error = await pair.pupil.send(pair.c, "[broken] x", id="one")
    assert (error["type"], error["code"]) == ("error", "unavailable")
    assert await pair.world.sql("SELECT * FROM message") == []
    assert (await pair.pupil.send(pair.c, "again", id="one"))["status"] == "delivered"
    assert pair.mentor.texts() == ["again"]


async def test_rule_02_a_judge_that_forgets_one_delivers_none(pair):
    """One verdict too few says nothing about which message it was for."""
    judge = pair.world.judge.judge

    async def short(batch):
        return (await judge(batch))[1:]

    pair.world.judge.judge = short
    assert (await pair.pupil.send(pair.c, "hello"))["code"] == "unavailable"
    assert pair.mentor.texts() == []


async def test_rule_02_nobody_outside_the_conversation_reads_it(pair):
    """Neither another mentor, nor staff without a case, by history or live."""
    other = await pair.world.mentor()
    await pair.pupil.send(pair.c, "hello")
    for person in (other, pair.adult, pair.moderator):
        assert (await person.says("history", conversation=pair.c))["code"] == "not_a_member"
        assert (await person.send(pair.c, "let me in"))["code"] == "not_a_member"
        assert person.texts() == []


async def test_rule_02_history_ends_with_the_conversation(pair):
    """A pupil's card never opens the past."""
    await pair.pupil.send(pair.c, "hello")
    await pair.mentor.says("leave", conversation=pair.c)
    for person in (pair.pupil, pair.mentor):
        assert (await person.says("history", conversation=pair.c))["code"] == "closed"
    [welcome] = [f for f in await pair.pupil.again() if f["type"] == "welcome"]
    assert welcome["conversations"] == []


# ---------------------------------------------------------------------------- rule 3


async def test_rule_03_an_ack_comes_after_the_commit(pair):
    """What was acked is there after a power cut, and nothing that was refused is."""
    acks = [await pair.pupil.send(pair.c, text) for text in ("one", "[hold] two", "[block] three")]
    pair.world.people.clear()
    for ack in acks:
        found = await pair.world.message(ack["message"])
        assert found.status.value == ack["status"]
    assert await pair.world.sql("SELECT count(*) FROM message") == [(3,)]


async def test_rule_03_what_the_store_refused_is_not_acked_and_not_delivered(pair):
    """The commit fails: the sender hears so, and the same id may be sent again."""
    await pair.world.sql(
        "CREATE TRIGGER broken BEFORE INSERT ON message BEGIN SELECT RAISE(ABORT, 'disk'); END"
    )
    error = await pair.pupil.send(pair.c, "hello", id="one")
    assert (error["type"], error["code"]) == ("error", "unavailable") and error["retry_after_s"] > 0
    assert pair.mentor.texts() == [] and pair.pupil.of("ack") == []
    await pair.world.sql("DROP TRIGGER broken")
    assert (await pair.pupil.send(pair.c, "hello", id="one"))["status"] == "delivered"


# ---------------------------------------------------------------------------- rule 4


@pytest.mark.parametrize("text", ["hello", "[hold] x", "[block] x"])
async def test_rule_04_the_same_id_and_text_is_the_same_message(pair, text):
    """A retry is answered with the message's present status, judged once and stored once."""
    first = await pair.pupil.send(pair.c, text, id="one")
    second = await pair.pupil.send(pair.c, text, id="one")
    assert {k: first.get(k) for k in ("message", "status", "seq", "reason", "id")} == {
        k: second.get(k) for k in ("message", "status", "seq", "reason", "id")
    }
    assert len(pair.world.judge.seen) == 1
    assert await pair.world.sql("SELECT count(*) FROM message") == [(1,)]
    assert len(pair.mentor.texts()) == (text == "hello")


async def test_rule_04_the_same_id_with_another_text_is_a_conflict(pair):
    """It is refused, and the first text stands."""
    await pair.pupil.send(pair.c, "hello", id="one")
    assert (await pair.pupil.send(pair.c, "goodbye", id="one"))["code"] == "conflict"
    assert pair.mentor.texts() == ["hello"]


@pytest.mark.parametrize("second", ["hello", "goodbye"])
async def test_rule_04_holds_inside_one_batch(pair, second):
    """Two lines of one member send the same id while the pump is busy: one message, judged together."""
    twin = await pair.pupil.twin()
    pair.world.judge.gate.clear()
    await pair.mentor.put("send", conversation=pair.c, id="busy", text="busy")
    await asyncio.wait_for(pair.world.judge.asked.wait(), 5)
    one = await pair.pupil.put("send", conversation=pair.c, id="one", text="hello")
    two = await twin.put("send", conversation=pair.c, id="one", text=second)
    pair.world.judge.gate.set()
    await pair.world.flush()
    assert [s.text for s in pair.world.judge.seen] == ["busy", "hello", second]  # they were in one batch
    first = pair.pupil.answer(one)
    assert first["status"] == "delivered"
    answer = twin.answer(two)
    if second == "hello":
        assert (answer["message"], answer["seq"]) == (first["message"], first["seq"])
    else:
        assert answer["code"] == "conflict"
    assert pair.mentor.texts() == ["hello"]


async def test_rule_04_an_id_belongs_to_its_member_and_conversation(pair):
    """Two members may use the same id."""
    assert (await pair.pupil.send(pair.c, "from one", id="same"))["status"] == "delivered"
    assert (await pair.mentor.send(pair.c, "from the other", id="same"))["status"] == "delivered"


async def test_rule_04_a_known_id_is_answered_first(pair):
    """Before the state of the conversation, and before the rate: a lost ack can always be asked for."""
    first = await pair.pupil.send(pair.c, "hello", id="one")
    held = await pair.pupil.send(pair.c, "[hold] x", id="two")
    await pair.mentor.says("leave", conversation=pair.c)
    assert (await pair.pupil.send(pair.c, "new", id="three"))["code"] == "closed"
    assert (await pair.pupil.send(pair.c, "hello", id="one"))["seq"] == first["seq"]
    again = await pair.pupil.send(pair.c, "[hold] x", id="two")
    assert (again["message"], again["status"]) == (held["message"], "blocked")  # it ended undecided


# ---------------------------------------------------------------------------- rule 5


async def test_rule_05_seq_rises_by_one_whatever_is_held_between(pair):
    """Each conversation counts for itself; held and blocked texts leave no gap that a partner could see."""
    texts = ["a", "[hold] b", "c", "[block] d", "[degraded] e", "f"]
    acks = [await pair.pupil.send(pair.c, t) for t in texts]
    assert [a.get("seq") for a in acks] == [1, None, 2, None, None, 3]
    await decide(pair, pair.moderator, acks[1]["message"], Decision.RELEASE)
    await pair.mentor.send(pair.c, "g")
    await decide(pair, pair.moderator, acks[4]["message"], Decision.RELEASE)
    expected = [(1, "a"), (2, "c"), (3, "f"), (4, "[hold] b"), (5, "g"), (6, "[degraded] e")]
    live = [(f["seq"], f["text"]) for f in pair.mentor.of("message")]
    assert live == [line for line in expected if line[1] != "g"]  # one's own comes back as the ack
    page, end = await pair.mentor.history(pair.c)
    assert [(f["seq"], f["text"]) for f in page] == expected
    assert (end["last_seq"], end["more"], end["reset"]) == (6, False, False)


async def test_rule_05_two_conversations_do_not_share_a_count(pair):
    """A second pair begins at 1."""
    await pair.pupil.send(pair.c, "hello")
    other = await pair.world.pair(await pair.world.pupil(), mentor := await pair.world.mentor())
    assert (await mentor.send(other, "hello"))["seq"] == 1


async def test_rule_05_a_batch_keeps_the_order_in_which_it_came(pair):
    """More than one batch at once: seqs and deliveries in the order of arrival, for both senders."""
    count = BATCH + 40
    pair.world.judge.gate.clear()
    refs = [
        await (pair.pupil, pair.mentor)[n % 2].put("send", conversation=pair.c, id=f"m{n}", text=f"{n}")
        for n in range(count)
    ]
    pair.world.judge.gate.set()
    await pair.world.flush()
    answers = [(pair.pupil, pair.mentor)[n % 2].answer(ref)["seq"] for n, ref in enumerate(refs)]
    assert answers == list(range(1, count + 1))
    assert pair.mentor.texts() == [str(n) for n in range(0, count, 2)]
    assert pair.pupil.texts() == [str(n) for n in range(1, count, 2)]


async def test_rule_05_an_earlier_message_that_waits_goes_first(pair):
    """A lapse that nobody noticed holds one message; what is sent once duty is back does not overtake it."""
    pair.world.clock.advance(seconds=91)
    waiting = await pair.pupil.send(pair.c, "first")
    assert (waiting["status"], waiting["reason"]) == ("held", "paused")
    await pair.adult.says("duty", on=True)  # the rounds have not gone by yet
    await pair.pupil.send(pair.c, "second")
    await pair.world.round()
    assert pair.mentor.texts() == ["first", "second"]


async def test_rule_05_ones_own_other_lines_see_the_same_order(pair):
    """What a member sends from one line comes to the other as `message`, marked as one's own."""
    twin = await pair.pupil.twin()
    await pair.pupil.send(pair.c, "a")
    await pair.mentor.send(pair.c, "b")
    await twin.send(pair.c, "c")
    assert [(f["text"], f.get("own")) for f in twin.of("message")] == [("a", True), ("b", None)]
    assert [(f["text"], f.get("own")) for f in pair.pupil.of("message")] == [("b", None), ("c", True)]


# ---------------------------------------------------------------------------- rule 6


async def test_rule_06_resume_gives_exactly_what_was_allowed_after_the_cursor(pair):
    """Whatever the page size: every allowed message once, in order, marked as a replay."""
    for n in range(7):
        await pair.pupil.send(pair.c, f"{n}")
        await pair.pupil.send(pair.c, f"[hold] {n}")
    for after in range(8):
        got, cursor, more = [], after, True
        while more:
            page, end = await pair.mentor.history(pair.c, after=cursor, limit=2)
            got += [f["seq"] for f in page]
            assert all(f["replay"] for f in page) and not end["reset"]
            cursor, more = (page[-1]["seq"] if page else cursor), end["more"]
        assert got == list(range(after + 1, 8))


async def test_rule_06_a_cursor_from_the_future_is_told_to_start_over(pair):
    """Never a silent gap: the answer says reset, and begins at the beginning."""
    await pair.pupil.send(pair.c, "hello")
    page, end = await pair.mentor.history(pair.c, after=99)
    assert end["reset"] and [f["seq"] for f in page] == [1]


async def test_rule_06_who_joins_late_reads_from_there_on(pair):
    """An adult who joins sees what comes after, live, on a new line and from history."""
    await pair.pupil.send(pair.c, "before")
    await pair.pupil.says("flag", conversation=pair.c, urgency="emergency")
    await pair.world.cases.join(pair.adult.actor, (await pair.world.alert()).id)
    await pair.pupil.send(pair.c, "after")
    page, end = await pair.adult.history(pair.c)
    assert [f["text"] for f in page] == ["after"] and end["last_seq"] == 2
    assert pair.adult.texts()[0] == "after"
    page, end = await pair.adult.history(pair.c, after=50)
    assert end["reset"] and [f["text"] for f in page] == ["after"]


async def test_rule_06_who_leaves_and_comes_back_reads_from_where_they_first_joined(pair):
    """Not from the beginning; and what was said meanwhile is there."""
    await pair.pupil.send(pair.c, "before")
    await pair.pupil.says("flag", conversation=pair.c, urgency="emergency")
    alert = (await pair.world.alert()).id
    await pair.world.cases.join(pair.adult.actor, alert)
    await pair.adult.says("leave", conversation=pair.c)
    await pair.pupil.send(pair.c, "meanwhile")
    assert (await pair.adult.says("history", conversation=pair.c))["code"] == "not_a_member"
    assert pair.adult.texts() == []
    await pair.world.cases.join(pair.adult.actor, alert)
    page, _ = await pair.adult.history(pair.c)
    assert [f["text"] for f in page] == ["meanwhile"]


async def test_rule_06_a_heartbeat_names_the_newest_seq(pair):
    """So a client that missed an event sees the gap."""
    await pair.pupil.send(pair.c, "hello")
    await pair.world.node._heartbeat()
    await pair.world.flush()
    assert pair.mentor.of("heartbeat")[-1]["conversations"] == {pair.c: 1}


# ---------------------------------------------------------------------------- rule 7


async def test_rule_07_a_release_delivers_what_the_machine_held(pair):
    """The sender is told by `decided`, the partner reads it, and the verdict stays as it was."""
    ack = await pair.pupil.send(pair.c, "[hold] fine")
    assert await decide(pair, pair.moderator, ack["message"], Decision.RELEASE)
    assert pair.mentor.texts() == ["[hold] fine"]
    [decided] = pair.pupil.of("decided")
    assert (decided["message"], decided["status"], decided["seq"]) == (ack["message"], "delivered", 1)
    assert await pair.world.sql("SELECT action FROM verdict") == [(Action.HOLD.value,)]


async def test_rule_07_the_machine_never_overturns_a_persons_withhold(pair):
    """Neither a resume, nor a round, nor the same id sent again brings it back."""
    ack = await pair.pupil.send(pair.c, "[hold] x", id="one")
    await decide(pair, pair.moderator, ack["message"], Decision.WITHHOLD, "unkind")
    await pair.world.cases.pause(pair.adult.actor, pair.c)
    await pair.world.cases.resume(pair.adult.actor, pair.c)
    await pair.world.round()
    assert (await pair.pupil.send(pair.c, "[hold] x", id="one"))["status"] == "blocked"
    assert pair.mentor.texts() == []
    assert pair.pupil.of("decided")[-1]["reason"] == "unkind"


async def test_rule_07_a_person_may_withhold_what_the_machine_let_wait(pair):
    """Reported by its sender during a pause, withheld by a person: the resume leaves it where it is."""
    await pair.world.cases.pause(pair.adult.actor, pair.c)
    ack = await pair.pupil.send(pair.c, "I take this back")
    assert ack["reason"] == "paused"
    await pair.pupil.says("report", conversation=pair.c, message=ack["message"], reason="personal")
    await decide(pair, pair.moderator, ack["message"], Decision.WITHHOLD, "personal")
    await pair.world.cases.resume(pair.adult.actor, pair.c)
    await pair.world.flush()
    assert pair.mentor.texts() == []
    assert (await pair.world.message(ack["message"])).status is MessageStatus.WITHHELD


async def test_rule_07_a_decision_is_final_but_for_one_second_look(pair):
    """Nobody decides twice about one text: a second look is another person's, and there is no third."""
    ack = await pair.pupil.send(pair.c, "[hold] x")
    await decide(pair, pair.moderator, ack["message"], Decision.WITHHOLD)
    with pytest.raises(AlreadyDecided):
        await decide(pair, pair.adult, ack["message"], Decision.RELEASE)
    assert (await pair.pupil.says("second_look", message=ack["message"]))["type"] == "done"
    assert (await pair.world.message(ack["message"])).status is MessageStatus.HELD
    with pytest.raises(SameDecider):
        await decide(pair, pair.moderator, ack["message"], Decision.RELEASE)
    await decide(pair, pair.adult, ack["message"], Decision.WITHHOLD)
    assert (await pair.pupil.says("second_look", message=ack["message"]))["code"] == "forbidden"
    assert (await pair.world.message(ack["message"])).status is MessageStatus.WITHHELD
    assert pair.mentor.texts() == []


async def test_rule_07_a_decision_missed_is_told_again_on_a_new_line(pair):
    """Who was away when it fell hears of it on coming back."""
    ack = await pair.pupil.send(pair.c, "[hold] x")
    await pair.pupil.close()
    await decide(pair, pair.moderator, ack["message"], Decision.RELEASE)
    await pair.pupil.open()
    assert [(f["message"], f["status"]) for f in pair.pupil.of("decided")] == [(ack["message"], "delivered")]


async def test_risk_and_action_are_two_axes(pair):
    """What carries risk may be delivered; the alert is raised all the same."""
    ack = await pair.pupil.send(pair.c, "[immediate] i need someone")
    assert ack["status"] == "delivered" and ack["support"]
    assert (await pair.world.alert()).risk is Risk.IMMEDIATE


async def test_one_message_that_cannot_be_stored_does_not_stop_the_others(pair):
    """A fault in one message of a batch is that message's alone: its sender sends it again."""
    talk = pair.pupil.talk
    for ref, text in (("good-1", "first"), ("bad", "\ud800"), ("good-2", "second")):
        talk.posting()  # handed to the pump past the parser, which refuses such a text
        frame = Send(conversation=pair.c, id=ref, text=text, ref=ref)
        pair.world.chat.post(pair.pupil.actor, talk.line.id, frame, done=talk.posted)
    await pair.world.flush()
    assert pair.mentor.texts(pair.c) == ["first", "second"]
    assert pair.pupil.answer("bad")["code"] == "unavailable"
    assert [pair.pupil.answer(ref)["seq"] for ref in ("good-1", "good-2")] == [1, 2]
