"""Rule 14: what was signed out or suspended is accepted no more, and reached no more."""

import asyncio

import pytest

from moderation.verdict import Role
from peerchat import node
from peerchat.errors import Forbidden
from peerchat.hub import SIGNED_OUT, SUSPENDED
from peerchat.model import Decision
from peerchat.ports import Event


async def sign_out(world, person):
    """End a session as `Accounts.sign_out` does: committed, and its lines told."""

    def body(tx):
        tx.members.revoke(person.actor.token)
        tx.emit(Event(tokens=(person.actor.token,), close=SIGNED_OUT))

    await world.write(body)


async def suspend(world, person):
    await world.write(lambda tx: tx.members.suspend(person.id))


@pytest.mark.parametrize("end", [sign_out, suspend])
async def test_rule_14_what_was_on_its_way_is_refused(pair, end):
    """The message came before, the commit would come after: it is not stored."""
    pair.world.judge.gate.clear()
    ref = await pair.pupil.put("send", conversation=pair.c, id="one", text="hello")
    await pair.world.judge.asked.wait()
    await pair.world.store.write(
        lambda tx: (
            tx.members.revoke(pair.pupil.actor.token)
            if end is sign_out
            else tx.members.suspend(pair.pupil.id)
        )
    )
    pair.world.judge.gate.set()
    await pair.world.flush()
    assert pair.pupil.answer(ref)["code"] == "forbidden"
    assert await pair.world.sql("SELECT count(*) FROM message") == [(0,)] and pair.mentor.texts() == []


@pytest.mark.parametrize("end", [sign_out, suspend])
@pytest.mark.parametrize(
    ("type", "fields"),
    [
        ("send", {"id": "late", "text": "hello"}),
        ("history", {}),
        ("flag", {"urgency": "emergency"}),
        ("report", {"reason": "other"}),
        ("block", {}),
        ("leave", {}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_rule_14_no_frame_is_accepted_any_more(pair, type, fields, end):
    """Also where the line has not heard of it yet: the transaction reads the session."""
    await pair.mentor.send(pair.c, "[high] before")
    before = await pair.world.sql("SELECT count(*), (SELECT count(*) FROM alert) FROM message")
    await pair.world.write(
        lambda tx: (
            tx.members.revoke(pair.pupil.actor.token)
            if end is sign_out
            else tx.members.suspend(pair.pupil.id)
        )
    )
    answer = await pair.pupil.says(type, conversation=pair.c, **fields)
    assert (answer["type"], answer["code"]) == ("error", "forbidden")
    assert not any(f.get("replay") for f in pair.pupil.of("message"))
    assert await pair.world.sql("SELECT count(*), (SELECT count(*) FROM alert) FROM message") == before
    assert (await pair.world.read(lambda tx: tx.conversations.get(pair.c))).state.value == "open"


@pytest.mark.parametrize(
    ("role", "type", "fields"),
    [
        (Role.PUPIL, "ask", {}),
        (Role.PUPIL, "cancel", {}),
        (Role.MENTOR, "shift", {"on": True}),
        (Role.MENTOR, "break", {"on": True}),
        (Role.ADULT, "duty", {"on": True}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_rule_14_no_frame_of_a_role_is_accepted_any_more(world, role, type, fields):
    await world.adult(duty=True)
    person = await world.member(role)
    await world.write(lambda tx: tx.members.revoke(person.actor.token))
    assert (await person.says(type, **fields))["code"] == "forbidden"


async def test_rule_14_staff_steps_are_refused(pair):
    """Claims, decisions, readings and steps of a case: none after the sign-out."""
    ack = await pair.pupil.send(pair.c, "[hold] [high] x")
    item, alert = (await pair.world.item(ack["message"])).id, (await pair.world.alert()).id
    await pair.world.review.claim(pair.adult.actor, item)
    rows = len(await pair.world.audit())
    await pair.world.write(lambda tx: tx.members.revoke(pair.adult.actor.token))
    actor, cases, review = pair.adult.actor, pair.world.cases, pair.world.review
    for step in (
        review.claim(actor, item),
        review.hand_back(actor, item),
        review.decide(actor, item, decision=Decision.RELEASE, reason="other", note=None),
        cases.shown(actor, alert),
        cases.acknowledge(actor, alert),
        cases.join(actor, alert),
        cases.note(actor, alert, "x"),
        cases.act(actor, alert, "told the head", None),
        cases.close(actor, alert, outcome="x", rationale="y", version=None),
        cases.transcript(actor, pair.c, reason="x", whole=True),
        cases.pause(actor, pair.c),
        cases.resume(actor, pair.c),
        cases.end(actor, pair.c),
        pair.world.node.duties.hold(actor, on=False),
    ):
        with pytest.raises(Forbidden):
            await step
    assert len(await pair.world.audit()) == rows and pair.mentor.texts() == []


async def test_rule_14_its_lines_close_and_hear_nothing_more(pair):
    """All lines of the session, at once, and what they had not read yet is dropped."""
    twin = await pair.pupil.twin()
    pair.pupil.line.outbox.offer('{"type": "done", "for": "unread"}')
    await sign_out(pair.world, pair.pupil)
    assert pair.pupil.closed == twin.closed == SIGNED_OUT
    known = len(pair.pupil.seen)
    await pair.mentor.send(pair.c, "are you there?")
    assert pair.pupil.texts() == twin.texts() == []
    assert pair.pupil.seen[known:] == [] and "unread" not in [f["for"] for f in pair.pupil.of("done")]


async def test_rule_14_another_session_of_the_member_goes_on(pair):
    """Signing out here does not sign out there."""
    known = pair.pupil.actor
    person = await pair.world.member(Role.PUPIL)
    await sign_out(pair.world, person)
    assert person.closed == SIGNED_OUT
    assert pair.pupil.closed is None and pair.pupil.actor is known
    assert (await pair.pupil.send(pair.c, "hello"))["status"] == "delivered"


async def test_rule_14_a_heartbeat_closes_a_line_whose_session_is_gone(pair):
    """However it went: revoked by the command line, run out, or suspended."""
    await pair.world.write(lambda tx: tx.members.revoke(pair.pupil.actor.token))
    await pair.world.node._heartbeat()
    await pair.world.flush()
    assert pair.pupil.closed == SIGNED_OUT and pair.mentor.closed is None


@pytest.mark.parametrize("behind_s", [0, 5])
@pytest.mark.parametrize(("how", "code"), [("revoke", SIGNED_OUT), ("suspend", SUSPENDED)])
async def test_rule_14_a_line_ends_within_two_seconds_wherever_its_session_ended(
    pair, how, code, behind_s, monkeypatch
):
    """By the command line, or on another node whose clock is behind: nobody told this one of it."""
    assert node.SESSIONS_EVERY_S <= 1.0  # it is looked for so often that two seconds are kept
    monkeypatch.setattr(node, "SESSIONS_EVERY_S", 0.02)
    watching = asyncio.create_task(pair.world.node._end_sessions())
    await asyncio.sleep(0)
    pair.world.clock.advance(seconds=-behind_s)
    await pair.world.write(
        lambda tx: (
            tx.members.suspend(pair.pupil.id)
            if how == "suspend"
            else tx.members.revoke(pair.pupil.actor.token)
        )
    )
    pair.world.clock.advance(seconds=behind_s + 0.01)
    async with asyncio.timeout(2):
        await pair.pupil.line.outbox.closing.wait()
    assert pair.pupil.closed == code and pair.mentor.closed is None
    watching.cancel()


async def test_rule_14_a_session_that_slipped_past_the_suspension_is_none(pair):
    """Signed in at the very moment: the token is not revoked, its member is suspended."""
    await pair.world.sql(
        f"UPDATE member SET suspended_at = '2026-03-02 10:00:00.000000' WHERE id = '{pair.pupil.id}'"
    )
    assert (await pair.pupil.send(pair.c, "hello"))["code"] == "forbidden"
    assert (await pair.pupil.says("history", conversation=pair.c))["code"] == "forbidden"
    await pair.world.node._heartbeat()
    assert pair.pupil.closed is not None


async def test_rule_14_a_session_that_ran_out_is_over(pair):
    """The end is read at the transaction's moment."""
    token, now = pair.pupil.actor.token, "2026-03-02 10:00:00.000000"
    await pair.world.sql(f"UPDATE session_token SET expires_at = '{now}' WHERE id = '{token}'")
    assert (await pair.pupil.send(pair.c, "hello"))["code"] == "forbidden"


async def test_rule_14_no_line_opens_for_a_session_that_just_ended(pair):
    """Signed out between the check at the door and the welcome: nothing of the site or the chats is shown."""
    await pair.mentor.send(pair.c, "[hold] mine")
    await pair.pupil.close()
    await sign_out(pair.world, pair.pupil)
    known = len(pair.pupil.seen)
    try:
        await pair.pupil.open()
    except Forbidden:
        return
    assert pair.pupil.closed == SIGNED_OUT and pair.pupil.seen[known:] == []


async def test_rule_14_a_suspended_mentor_gets_nothing(pair):
    """Signed out of everything by the suspension: what the pupil says reaches nobody."""
    await suspend(pair.world, pair.mentor)
    await pair.world.node._heartbeat()
    await pair.world.flush()
    assert pair.mentor.closed is not None
    await pair.pupil.send(pair.c, "hello")
    assert pair.mentor.texts() == []
