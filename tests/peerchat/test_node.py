"""One node: what a line begins with, the order of its frames, and what ends it."""

import asyncio
import json

import pytest

from peerchat.frames import MAX_FRAME_BYTES
from peerchat.hub import MAX_LINES, PROTOCOL, REPLACED, SILENT
from peerchat.session import Limits
from tests.peerchat.world import School


async def test_a_line_begins_with_welcome_and_ones_own_waiting_texts(pair):
    """In the order they were written; nothing that was said to others, nothing of another's."""
    held = await pair.pupil.send(pair.c, "[hold] one")
    await pair.pupil.send(pair.c, "two")
    blocked = await pair.pupil.send(pair.c, "[block] three")
    first, *rest = await pair.pupil.again()
    assert first["type"] == "welcome" and first["member"]["alias"] is None
    [view] = first["conversations"]
    assert (view["conversation"], view["state"], view["last_seq"]) == (pair.c, "open", 1)
    own = [f for f in rest if f["type"] == "own"]
    assert [(f["message"], f["status"]) for f in own] == [
        (held["message"], "held"),
        (blocked["message"], "blocked"),
    ]
    assert own[0]["text"] == "[hold] one" and own[0]["reason"]
    assert [f for f in await pair.mentor.again() if f["type"] == "own"] == []


async def test_a_lines_frames_take_effect_in_their_order(pair):
    """A `leave` right after a `send` ends the chat after the message, not before it."""
    pair.world.judge.gate.clear()
    sent = await pair.pupil.put("send", conversation=pair.c, id="one", text="goodbye")
    leaving = asyncio.create_task(pair.pupil.put("leave", conversation=pair.c))
    await pair.world.judge.asked.wait()
    assert not leaving.done()
    pair.world.judge.gate.set()
    left = await leaving
    await pair.world.flush()
    assert pair.pupil.answer(sent)["status"] == "delivered" and pair.pupil.answer(left)["type"] == "done"
    kinds = [f["type"] for f in pair.mentor.of("message", "left", "ended")]
    assert kinds == ["message", "left", "ended"]


async def test_a_flag_waits_for_nothing(pair):
    """However slow the judge is: whoever presses is heard."""
    pair.world.judge.gate.clear()
    await pair.pupil.put("send", conversation=pair.c, id="one", text="hello")
    await pair.world.judge.asked.wait()
    async with asyncio.timeout(5):
        await pair.pupil.put("flag", conversation=pair.c, urgency="emergency")
    assert len(await pair.world.alerts()) == 1
    pair.world.judge.gate.set()


async def test_a_member_has_five_lines(pair):
    """A sixth closes the oldest, which may not come back by itself."""
    others = [await pair.pupil.twin() for _ in range(MAX_LINES)]
    assert pair.pupil.closed == REPLACED and {p.closed for p in others} == {None}


async def test_a_silent_line_is_closed_after_three_heartbeats(pair):
    """A ping is enough to be heard, whatever the host's clock does."""
    for person in (pair.pupil, pair.mentor):
        person.line._heard -= 59.0  # as long ago did it last say something
    pair.world.clock.advance(days=1)
    await pair.adult.says("duty", on=True)
    await pair.world.node._heartbeat()
    assert pair.pupil.closed is pair.mentor.closed is None
    for person in (pair.pupil, pair.mentor):
        person.line._heard -= 2.0
    await pair.mentor.says("ping")
    await pair.world.node._heartbeat()
    assert pair.pupil.closed == SILENT and pair.mentor.closed is None


@pytest.mark.parametrize("raw", [None, "x" * (MAX_FRAME_BYTES + 1)], ids=["binary", "oversized"])
async def test_a_binary_or_oversized_message_closes_the_line(pair, raw):
    await pair.world.node.receive(pair.pupil.talk, raw)
    assert pair.pupil.closed == PROTOCOL
    assert (await pair.mentor.send(pair.c, "still here"))["status"] == "delivered"


async def test_partners_see_each_other_come_and_go(pair):
    """By alias, when the last line goes and the first comes back; a second line changes nothing."""
    twin = await pair.pupil.twin()
    await twin.close()
    assert pair.mentor.of("presence") == []
    await pair.pupil.close()
    await pair.pupil.open()
    seen = [(f["online"], f["from"]["role"]) for f in pair.mentor.of("presence")]
    assert seen == [(False, "pupil"), (True, "pupil")]
    assert pair.pupil.id not in str(pair.mentor.of("presence"))


async def test_typing_is_shown_to_the_partner_and_answered_by_nothing(pair):
    """And not at all in a chat that is not open, or not one's own."""
    known = len(pair.pupil.seen)
    await pair.pupil.put("typing", conversation=pair.c)
    await pair.world.flush()
    assert [f["from"]["role"] for f in pair.mentor.of("typing")] == ["pupil"]
    assert pair.pupil.seen[known:] == []
    stranger = await pair.world.mentor(capacity=None)
    assert (await stranger.says("typing", conversation=pair.c))["code"] == "not_a_member"
    assert len(pair.mentor.of("typing")) == 1


async def test_what_a_full_store_cannot_take_is_unavailable(pair):
    """Said to the line with a ref, and nothing of it is there."""
    pair.world.store._waiting += 10_000
    try:
        for type, fields in (
            ("send", {"id": "one", "text": "hello"}),
            ("leave", {}),
            ("flag", {"urgency": "concern"}),
        ):
            assert (await pair.pupil.says(type, conversation=pair.c, **fields))["code"] == "unavailable"
    finally:
        pair.world.store._waiting -= 10_000
    assert (await pair.pupil.send(pair.c, "hello", id="one"))["status"] == "delivered"


async def test_sends_are_limited_by_member_and_known_ids_are_not(folder, template):
    """`rate_limited` with a time to wait, for all lines of one member; an ack is always to be had."""
    school = School(folder / "data", template=template, limits=Limits(send_rate=1e-6, send_burst=3))
    async with school as world:
        await world.adult(duty=True)
        pupil, mentor = await world.pupil(), await world.mentor()
        c = await world.pair(pupil, mentor)
        twin = await pupil.twin()
        assert [
            (await p.send(c, "x", id=f"{n}")).get("status") for n, p in enumerate((pupil, twin, pupil))
        ] == ["delivered"] * 3
        error = await twin.send(c, "too many", id="3")
        assert (error["code"], error["retry_after_s"] > 0) == ("rate_limited", True)
        assert (await twin.send(c, "x", id="1"))["status"] == "delivered"
        assert (await twin.send(c, "y", id="1"))["code"] == "conflict"
        assert (await mentor.send(c, "mine is another's"))["status"] == "delivered"
        assert (await pupil.says("flag", conversation=c, urgency="concern"))["type"] == "done"
        assert mentor.texts() == ["x"] * 3


@pytest.mark.parametrize("topics", [["Nothing of the kind"], ["Friends", "x"]])
async def test_only_the_sites_topics_may_be_asked_for(world, topics):
    await world.adult(duty=True)
    pupil = await world.pupil()
    assert (await pupil.says("ask", topics=topics))["code"] == "invalid"
    assert (await pupil.says("ask", topics=["Friends"]))["type"] == "waiting"


async def test_no_member_is_shown_who_another_is(pair):
    """Neither an id nor a username ever reaches a partner, whatever happens between them."""
    await pair.pupil.send(pair.c, "hello")
    await pair.mentor.send(pair.c, "[hold] x")
    await pair.pupil.says("flag", conversation=pair.c, urgency="emergency")
    await pair.world.cases.join(pair.adult.actor, (await pair.world.alert()).id)
    await pair.adult.send(pair.c, "i am here")
    await pair.adult.says("leave", conversation=pair.c)
    await pair.mentor.again()
    await pair.pupil.again()
    await pair.pupil.history(pair.c)
    await pair.pupil.says("leave", conversation=pair.c)
    ids = {"pupil": pair.pupil.id, "mentor": pair.mentor.id, "adult": pair.adult.id}
    for name, person in (("pupil", pair.pupil), ("mentor", pair.mentor)):
        seen = json.dumps(person.seen)
        assert [n for n, id in ids.items() if n != name and id in seen] == []
        assert "username" not in seen
