"""Rules 16 and 19: what is held has one item and one decision, and every reading leaves its row."""

import pytest

from escalation.alert import AlertState
from moderation.verdict import Risk, Role
from peerchat.errors import (
    AlreadyClaimed,
    CannotRelease,
    CaseError,
    NotAllowed,
    NotTheHolder,
    RiskNeedsAnswer,
    UnknownItem,
    UnknownObject,
)
from peerchat.model import Decision, MessageStatus, ReviewKind, ReviewState


async def claimed(pair, by, message):
    item = (await pair.world.item(message)).id
    await pair.world.review.claim(by.actor, item)
    return item


async def decided(pair, by, item, decision, reason="other"):
    gone = await pair.world.review.decide(by.actor, item, decision=decision, reason=reason, note=None)
    await pair.world.flush()
    return gone


async def close(pair, adult, alert):
    return await pair.world.cases.close(
        adult.actor, alert, outcome="safe, support agreed", rationale="spoke", version=None
    )


# ---------------------------------------------------------------------------- rule 19


@pytest.mark.parametrize("text", ["[hold] x", "[degraded] x", "[hold] [concern] x", "[hold] [immediate] x"])
async def test_rule_19_a_held_message_has_exactly_one_item(pair, text):
    """With risk it is linked to its alert and for adults only; its sender sees that it is held."""
    ack = await pair.pupil.send(pair.c, text, id="one")
    assert ack["status"] == "held" and ack["reason"]
    await pair.pupil.send(pair.c, text, id="one")
    await pair.pupil.says("second_look", message=ack["message"])
    await pair.pupil.says("report", conversation=pair.c, message=ack["message"], reason="other")
    item = await pair.world.item(ack["message"])
    risky = item.risk > Risk.NONE
    assert item.for_adults == risky == ("support" in ack)
    assert item.alert == ((await pair.world.alert()).id if risky else None)
    assert bool(pair.moderator.of("review")) != risky and pair.adult.of("review")
    [own] = [f for f in await pair.pupil.again() if f["type"] == "own"]
    assert (own["message"], own["status"], own["text"]) == (ack["message"], "held", text)


@pytest.mark.parametrize("text", ["hello", "[block] x", "[high] x"])
async def test_rule_19_what_is_not_held_has_none(pair, text):
    """Nobody's time is asked for what is delivered or was not sent."""
    ack = await pair.pupil.send(pair.c, text)
    assert await pair.world.items(ack["message"]) == []


async def test_rule_19_moderators_do_not_know_of_items_with_risk(pair):
    """For them it does not exist: not in the list, not by id."""
    ack = await pair.pupil.send(pair.c, "[hold] [high] x")
    item = (await pair.world.item(ack["message"])).id
    listed, _ = await pair.world.review.queue(
        pair.moderator.actor, states=list(ReviewState), limit=50, offset=0
    )
    assert listed == []
    with pytest.raises(UnknownItem):
        await pair.world.review.claim(pair.moderator.actor, item)
    listed, _ = await pair.world.review.queue(pair.adult.actor, states=list(ReviewState), limit=50, offset=0)
    assert [row["id"] for row in listed] == [item] and "text" not in listed[0]


@pytest.mark.parametrize("risk", ["concern", "high", "immediate"])
async def test_rule_19_text_that_carries_risk_is_never_plainly_withheld(pair, risk):
    """Refused until an adult has answered in the chat; a mentor's or an earlier answer does not count."""
    ack = await pair.pupil.send(pair.c, f"[hold] [{risk}] x")
    item = await claimed(pair, pair.adult, ack["message"])
    with pytest.raises(RiskNeedsAnswer):
        await decided(pair, pair.adult, item, Decision.WITHHOLD)
    pair.world.clock.advance(seconds=1)
    await pair.mentor.send(pair.c, "an answer, but not an adult's")
    with pytest.raises(RiskNeedsAnswer):
        await decided(pair, pair.adult, item, Decision.WITHHOLD)
    await pair.world.cases.join(pair.adult.actor, (await pair.world.alert()).id)
    with pytest.raises(RiskNeedsAnswer):
        await decided(pair, pair.adult, item, Decision.WITHHOLD)
    await pair.adult.send(pair.c, "[hold] an answer that waits itself")
    with pytest.raises(RiskNeedsAnswer):
        await decided(pair, pair.adult, item, Decision.WITHHOLD)
    await pair.adult.send(pair.c, "I am here, and I have read what you wrote")
    await decided(pair, pair.adult, item, Decision.WITHHOLD)
    assert (await pair.world.message(ack["message"])).status is MessageStatus.WITHHELD
    assert pair.pupil.of("decided")[-1]["status"] == "withheld"


async def test_rule_19_an_adults_answer_from_before_does_not_count(pair):
    """The answer is to this text, so it comes after it."""
    await pair.pupil.send(pair.c, "[high] x")
    await pair.world.cases.join(pair.adult.actor, (await pair.world.alert()).id)
    await pair.adult.send(pair.c, "I am here")
    pair.world.clock.advance(seconds=1)
    ack = await pair.pupil.send(pair.c, "[hold] [high] y")
    item = await claimed(pair, pair.adult, ack["message"])
    with pytest.raises(RiskNeedsAnswer):
        await decided(pair, pair.adult, item, Decision.WITHHOLD)


async def test_rule_19_an_alert_does_not_close_over_undecided_text(pair):
    """First the text, then the case."""
    ack = await pair.pupil.send(pair.c, "[hold] [high] x")
    alert = (await pair.world.alert()).id
    await pair.world.cases.acknowledge(pair.adult.actor, alert)
    with pytest.raises(CaseError, match="waits for a decision"):
        await close(pair, pair.adult, alert)
    item = await claimed(pair, pair.adult, ack["message"])
    with pytest.raises(CaseError, match="waits for a decision"):
        await close(pair, pair.adult, alert)
    await decided(pair, pair.adult, item, Decision.RELEASE)
    _, ended = await close(pair, pair.adult, alert)
    assert ended and pair.mentor.texts() == ["[hold] [high] x"]


async def test_rule_19_a_second_look_at_a_blocked_message(pair):
    """It is held for a person who has not decided about it, once, and may be released."""
    ack = await pair.pupil.send(pair.c, "[block] x")
    other = await pair.world.pupil()
    assert (await other.says("second_look", message=ack["message"]))["code"] == "not_a_member"
    assert (await pair.mentor.says("second_look", message=ack["message"]))["code"] == "not_a_member"
    for _ in range(2):
        assert (await pair.pupil.says("second_look", message=ack["message"]))["type"] == "done"
    item = await pair.world.item(ack["message"])
    assert (item.kind, item.for_adults) == (ReviewKind.SECOND_LOOK, False)
    await claimed(pair, pair.moderator, ack["message"])
    await decided(pair, pair.moderator, item.id, Decision.RELEASE, "mistake")
    assert pair.mentor.texts() == ["[block] x"]
    assert (await pair.pupil.says("second_look", message=ack["message"]))["code"] == "invalid"


async def test_rule_19_a_second_look_at_risky_text_belongs_to_its_alert(pair):
    """It is for adults, linked to the alert that the text raised, which cannot close over it."""
    ack = await pair.pupil.send(pair.c, "[block] [high] x")
    alert = (await pair.world.alert()).id
    await pair.pupil.says("second_look", message=ack["message"])
    item = await pair.world.item(ack["message"])
    assert (item.for_adults, item.risk, item.alert) == (True, Risk.HIGH, alert)
    await pair.world.cases.acknowledge(pair.adult.actor, alert)
    with pytest.raises(CaseError, match="waits for a decision"):
        await close(pair, pair.adult, alert)


async def test_rule_19_a_second_look_after_an_earlier_decision_is_looked_at(pair):
    """A blocked message that was reported and decided: held again, it is somebody's to decide."""
    ack = await pair.pupil.send(pair.c, "[block] x")
    await pair.pupil.says("report", conversation=pair.c, message=ack["message"], reason="other")
    item = await claimed(pair, pair.moderator, ack["message"])
    await decided(pair, pair.moderator, item, Decision.WITHHOLD)
    await pair.pupil.says("second_look", message=ack["message"])
    if (await pair.world.message(ack["message"])).status is MessageStatus.HELD:
        assert (await pair.world.item(ack["message"])).state is ReviewState.OPEN


async def test_rule_19_no_held_message_is_without_an_open_item_or_an_allowing_word(pair):
    """Whatever its sender does with it in a pause, a held message is somebody's to decide."""
    await pair.world.cases.pause(pair.adult.actor, pair.c)
    acks = [await pair.pupil.send(pair.c, t) for t in ("x", "[hold] y", "[block] z", "[hold] [high] w")]
    for ack in acks:
        await pair.pupil.says("second_look", message=ack["message"])
        await pair.pupil.says("report", conversation=pair.c, message=ack["message"], reason="other")
    assert await orphans(pair.world) == []


async def orphans(world):
    """Return held messages that no item waits for and that nothing has allowed."""
    return await world.sql(
        "SELECT m.id FROM message m LEFT JOIN review_item r ON r.message = m.id AND r.state != 'decided'"
        " WHERE m.status = 'held' AND m.allowed_by IS NULL AND r.id IS NULL"
    )


async def test_rule_19_ending_a_chat_leaves_no_held_text_without_an_outcome(pair):
    """What carries no risk is withheld and its sender told; what carries risk stays with the adults."""
    held = await pair.pupil.send(pair.c, "[hold] x")
    risky = await pair.pupil.send(pair.c, "[hold] [high] y")
    await pair.world.cases.pause(pair.adult.actor, pair.c)
    waiting = await pair.mentor.send(pair.c, "z")
    await pair.pupil.says("leave", conversation=pair.c)
    assert [f["message"] for f in pair.pupil.of("decided")] == [held["message"]]
    assert [f["message"] for f in pair.mentor.of("decided")] == [waiting["message"]]
    item = await claimed(pair, pair.adult, risky["message"])
    with pytest.raises(CannotRelease):  # it can reach nobody any more, and nobody is told otherwise
        await decided(pair, pair.adult, item, Decision.RELEASE)
    await decided(pair, pair.adult, item, Decision.WITHHOLD)
    assert pair.mentor.texts() == [] and await orphans(pair.world) == []
    assert pair.pupil.of("decided")[-1]["message"] == risky["message"]


async def test_rule_19_nobody_decides_about_their_own_text(pair):
    """An adult who joined and whose message is held waits for another person."""
    await pair.pupil.says("flag", conversation=pair.c, urgency="emergency")
    await pair.world.cases.join(pair.adult.actor, (await pair.world.alert()).id)
    ack = await pair.adult.send(pair.c, "[hold] x")
    item = (await pair.world.item(ack["message"])).id
    with pytest.raises((UnknownItem, NotAllowed, NotTheHolder)):
        await pair.world.review.claim(pair.adult.actor, item)
        await decided(pair, pair.adult, item, Decision.RELEASE)
    assert pair.pupil.texts() == []


# ---------------------------------------------------------------------------- escalating


async def test_escalating_opens_an_alert_and_leaves_the_item_to_adults(pair):
    """The moderator's word makes it at least high, and the moderator is out of it from then on."""
    ack = await pair.pupil.send(pair.c, "[hold] x")
    item = await claimed(pair, pair.moderator, ack["message"])
    assert await decided(pair, pair.moderator, item, Decision.ESCALATE, "unsafe")
    alert = await pair.world.alert()
    assert (alert.risk, alert.about, "escalated" in alert.labels) == (Risk.HIGH, pair.pupil.id, True)
    found = await pair.world.item(ack["message"])
    assert (found.state, found.for_adults, found.alert, found.holder) == (
        ReviewState.OPEN,
        True,
        alert.id,
        None,
    )
    with pytest.raises(UnknownItem):
        await pair.world.review.claim(pair.moderator.actor, item)
    assert pair.pupil.help() == ["asked"]
    await claimed(pair, pair.adult, ack["message"])
    with pytest.raises(RiskNeedsAnswer):
        await decided(pair, pair.adult, item, Decision.WITHHOLD)
    await decided(pair, pair.adult, item, Decision.RELEASE)
    assert pair.mentor.texts() == ["[hold] x"]


async def test_escalating_a_report_is_about_who_wrote_it(pair):
    """About a mentor: discreet, and the mentor hears nothing."""
    ack = await pair.mentor.send(pair.c, "send me a photo")
    await pair.pupil.says("report", conversation=pair.c, message=ack["message"], reason="personal")
    item = await claimed(pair, pair.moderator, ack["message"])
    await decided(pair, pair.moderator, item, Decision.ESCALATE)
    alert = await pair.world.alert()
    assert (alert.about, alert.discreet) == (pair.mentor.id, True) and pair.mentor.help() == []


# ---------------------------------------------------------------------------- whose risk it is


ABOUT_THE_OTHER = [("pupil", "mentor", True), ("mentor", "pupil", False)]
"""Who wrote it, whose risk it shows, and whether only adults may know."""


@pytest.mark.parametrize(("writer", "whose", "discreet"), ABOUT_THE_OTHER)
async def test_rule_08_a_second_look_knows_whose_risk_it_is(pair, writer, whose, discreet):
    """It belongs to the alert about the other one: no second alert makes the writer its subject."""
    sender, other = getattr(pair, writer), getattr(pair, whose)
    ack = await sender.send(pair.c, f"[block] [high] [about {whose}] x")
    await pair.world.sweep()
    before = await pair.world.alert()
    assert (before.about, before.discreet) == (other.id, discreet)
    await sender.says("second_look", message=ack["message"])
    assert (await pair.world.alert()).id == before.id
    assert (await pair.world.item(ack["message"])).alert == before.id
    assert pair.adult.of("alert")
    if discreet:
        assert pair.pupil.help() == pair.mentor.help() == []


@pytest.mark.parametrize(("writer", "whose", "discreet"), ABOUT_THE_OTHER)
async def test_escalating_knows_whose_risk_it_is(pair, writer, whose, discreet):
    """The alert about the other one gets worse; the writer is not made its subject."""
    sender, other = getattr(pair, writer), getattr(pair, whose)
    ack = await sender.send(pair.c, f"[hold] [concern] [about {whose}] x")
    item = await claimed(pair, pair.adult, ack["message"])
    await decided(pair, pair.adult, item, Decision.ESCALATE)
    await pair.world.sweep()
    alert = await pair.world.alert()
    assert (alert.about, alert.about_role.value, alert.risk) == (other.id, whose, Risk.HIGH)
    assert alert.discreet is discreet
    assert pair.adult.of("alert")[-1]["alert"]["risk"] == "high"
    assert (pair.pupil.help(), pair.mentor.help()) == (([], []) if discreet else (["asked"], ["asked"]))


async def test_escalating_a_report_is_about_the_writer_whatever_the_conversation_showed(pair):
    """Who reports a text means the one who wrote it."""
    ack = await pair.mentor.send(pair.c, "[concern] [about pupil] send me a photo")
    await pair.pupil.says("report", conversation=pair.c, message=ack["message"], reason="personal")
    item = await claimed(pair, pair.moderator, ack["message"])
    await decided(pair, pair.moderator, item, Decision.ESCALATE)
    assert {(a.about, a.discreet) for a in await pair.world.alerts()} == {
        (pair.pupil.id, False),
        (pair.mentor.id, True),
    }


# ---------------------------------------------------------------------------- one holder


async def test_one_holder_for_ten_minutes(pair):
    """Then it is free again, and who was too slow decides nothing."""
    other = await pair.world.moderator()
    ack = await pair.pupil.send(pair.c, "[hold] x")
    item = await claimed(pair, pair.moderator, ack["message"])
    with pytest.raises(AlreadyClaimed):
        await pair.world.review.claim(other.actor, item)
    with pytest.raises(NotTheHolder):
        await decided(pair, other, item, Decision.RELEASE)
    await pair.world.later(pair.adult, minutes=10)
    with pytest.raises(NotTheHolder):
        await decided(pair, pair.moderator, item, Decision.RELEASE)
    assert (await pair.world.item(ack["message"])).state is ReviewState.OPEN
    await pair.world.review.claim(other.actor, item)
    await decided(pair, other, item, Decision.RELEASE)
    assert [f["change"] for f in other.of("review")] == ["added", "claimed", "added", "claimed", "decided"]


async def test_an_item_that_was_handed_back_is_anybodys(pair):
    """Only its holder hands it back."""
    other = await pair.world.moderator()
    ack = await pair.pupil.send(pair.c, "[hold] x")
    item = await claimed(pair, pair.moderator, ack["message"])
    with pytest.raises(NotTheHolder):
        await pair.world.review.hand_back(other.actor, item)
    await pair.world.review.hand_back(pair.moderator.actor, item)
    assert (await pair.world.review.claim(other.actor, item))["text"] == "[hold] x"


# ---------------------------------------------------------------------------- rule 16


async def read(pair, adult=None):
    """Return (actor, kind, object) of the readings in the log."""
    return [row for row in await pair.world.audit() if row[1].startswith("read")]


async def test_rule_16_every_reading_of_content_has_exactly_one_row(pair):
    """A claim, a case, an excerpt, a whole conversation: one row each, naming the reader."""
    ack = await pair.pupil.send(pair.c, "[hold] [high] x")
    item, alert = (await pair.world.item(ack["message"])).id, (await pair.world.alert()).id
    reader = pair.adult.id
    steps = [
        (pair.world.review.claim(pair.adult.actor, item), ("read_review_item", item)),
        (pair.world.cases.shown(pair.adult.actor, alert), ("read_case", alert)),
        (
            pair.world.cases.transcript(pair.adult.actor, pair.c, reason=None, whole=False),
            ("read_conversation", pair.c),
        ),
        (
            pair.world.cases.transcript(pair.adult.actor, pair.c, reason="court", whole=True),
            ("read_whole_conversation", pair.c),
        ),
    ]
    for n, (step, row) in enumerate(steps):
        answer = await step
        assert "[hold] [high] x" in str(answer)
        assert (await read(pair))[n:] == [(reader, *row)]


async def test_rule_16_where_the_log_cannot_be_written_nothing_is_read(pair):
    """The row comes first, in the same transaction."""
    ack = await pair.pupil.send(pair.c, "[hold] [high] x")
    item, alert = (await pair.world.item(ack["message"])).id, (await pair.world.alert()).id
    await pair.world.sql("CREATE TRIGGER broken BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no'); END")
    for step in (
        pair.world.review.claim(pair.adult.actor, item),
        pair.world.cases.shown(pair.adult.actor, alert),
        pair.world.cases.transcript(pair.adult.actor, pair.c, reason=None, whole=False),
        pair.world.cases.transcript(pair.adult.actor, pair.c, reason="court", whole=True),
    ):
        with pytest.raises(Exception, match="refused"):
            await step
    assert await read(pair) == []
    assert (await pair.world.item(ack["message"])).state is ReviewState.OPEN


async def test_rule_16_lists_and_frames_carry_no_content(pair):
    """What is not logged shows no text: the queue, the alerts, the answers of steps and decisions."""
    ack = await pair.pupil.send(pair.c, "[hold] [high] SECRETWORDS")
    alert = (await pair.world.alert()).id
    await pair.world.sweep()
    shown = [
        await pair.world.review.queue(pair.adult.actor, states=list(ReviewState), limit=9, offset=0),
        await pair.world.cases.listed(pair.adult.actor, list(AlertState), limit=9, offset=0),
        await pair.world.cases.acknowledge(pair.adult.actor, alert),
        await pair.world.cases.act(pair.adult.actor, alert, "told the head", None),
    ]
    assert await read(pair) == []
    assert "SECRETWORDS" not in str(shown) + str(pair.adult.seen) + str(pair.moderator.seen)
    assert ack["status"] == "held"


async def test_rule_16_no_case_no_reading(pair):
    """Without an alert or an item in hand, nobody of staff reads a conversation."""
    await pair.pupil.send(pair.c, "hello")
    for person in (pair.adult, pair.moderator):
        with pytest.raises(NotAllowed):
            await pair.world.cases.transcript(person.actor, pair.c, reason="curious", whole=True)
    with pytest.raises(UnknownObject):
        await pair.world.cases.transcript(pair.adult.actor, "cnv_nowhere", reason="x", whole=True)
    assert await read(pair) == []
    ack = await pair.pupil.send(pair.c, "[hold] x")
    with pytest.raises(NotAllowed):  # an item that is not in this moderator's hands
        await pair.world.cases.transcript(pair.moderator.actor, pair.c, reason="x", whole=False)
    await claimed(pair, pair.moderator, ack["message"])
    assert await pair.world.cases.transcript(pair.moderator.actor, pair.c, reason="x", whole=False)


async def test_rule_16_the_log_holds_no_text(pair):
    """Ids, counts and words only."""
    ack = await pair.pupil.send(pair.c, "[hold] SECRETWORDS")
    item = await claimed(pair, pair.moderator, ack["message"])
    await pair.world.review.decide(
        pair.moderator.actor, item, decision=Decision.WITHHOLD, reason="other", note="SECRETNOTE"
    )
    assert "SECRET" not in str(await pair.world.sql("SELECT * FROM audit"))


async def test_a_claim_shows_the_least_context(pair):
    """Six lines before the one in question, none after it."""
    for n in range(9):
        await pair.pupil.send(pair.c, f"line {n}")
    ack = await pair.mentor.send(pair.c, "[hold] x")
    await pair.pupil.send(pair.c, "later")
    item = (await pair.world.item(ack["message"])).id
    shown = await pair.world.review.claim(pair.moderator.actor, item)
    assert [line["text"] for line in shown["context"]] == [f"line {n}" for n in range(3, 9)]
    assert shown["text"] == "[hold] x" and shown["why"][0]["label"] == "harassment"
    assert shown["item"]["sender_role"] == Role.MENTOR.value
