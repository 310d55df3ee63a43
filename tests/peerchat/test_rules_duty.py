"""Rule 12 and what belongs to it: without an adult on duty nothing is paired and nothing is delivered."""

from datetime import timedelta

import pytest

from escalation.duty import LEASE
from moderation.verdict import Role
from peerchat.errors import CaseError
from peerchat.model import Decision
from peerchat.rounds import LINE_EVERY


async def test_rule_12_nothing_is_delivered_with_no_adult_on_duty(pair):
    """What is sent is stored, judged and held as `paused`; the partner gets it when an adult is back."""
    await pair.adult.says("duty", on=False)
    await pair.world.round()
    ack = await pair.pupil.send(pair.c, "hello")
    assert (ack["status"], ack["reason"]) == ("held", "paused")
    assert len(pair.world.judge.seen) == 1
    assert pair.mentor.texts() == []
    for person in (pair.pupil, pair.mentor):
        assert person.of("paused")[-1]["why"] == "no_adult_on_duty"
        assert (person.of("site")[-1]["open"], person.of("site")[-1]["why"]) == (False, "no_adult_on_duty")
        assert person.of("site")[-1]["services"]
    await pair.adult.says("duty", on=True)
    await pair.world.round()
    assert pair.mentor.texts() == ["hello"]
    assert pair.pupil.of("decided")[-1]["seq"] == 1


async def test_rule_12_a_lapse_that_nothing_has_noticed_delivers_nothing(pair):
    """The lease is read inside the delivering transaction: no timer has to run for the rule to hold."""
    pair.world.clock.advance(seconds=LEASE.total_seconds() - 0.001)
    assert (await pair.pupil.send(pair.c, "in time"))["status"] == "delivered"
    pair.world.clock.advance(seconds=0.001)
    assert (await pair.pupil.send(pair.c, "too late"))["reason"] == "paused"
    assert pair.mentor.texts() == ["in time"]


async def test_rule_12_the_lease_is_read_when_it_is_committed_not_when_it_came(pair):
    """Judging took so long that duty lapsed meanwhile."""
    pair.world.judge.gate.clear()
    ref = await pair.pupil.put("send", conversation=pair.c, id="one", text="hello")
    await pair.world.judge.asked.wait()
    pair.world.clock.advance(seconds=91)
    pair.world.judge.gate.set()
    await pair.world.flush()
    assert pair.pupil.answer(ref)["reason"] == "paused" and pair.mentor.texts() == []


async def test_rule_12_a_release_waits_for_an_adult_on_duty(pair):
    """A moderator's word allows it, the adult's presence lets it go."""
    ack = await pair.pupil.send(pair.c, "[hold] x")
    item = (await pair.world.item(ack["message"])).id
    pair.world.clock.advance(seconds=91)
    await pair.world.review.claim(pair.moderator.actor, item)
    gone = await pair.world.review.decide(
        pair.moderator.actor, item, decision=Decision.RELEASE, reason="mistake", note=None
    )
    await pair.world.flush()
    assert not gone and pair.mentor.texts() == [] and pair.pupil.of("decided") == []
    await pair.adult.says("duty", on=True)
    await pair.world.round()
    assert pair.mentor.texts() == ["[hold] x"]


async def test_rule_12_paused_messages_go_oldest_first_and_only_the_allowed_ones(pair):
    """What was held for a person in the pause is still held after it."""
    pair.world.clock.advance(seconds=91)
    await pair.world.round()
    acks = [
        await sender.send(pair.c, text)
        for sender, text in [
            (pair.pupil, "one"),
            (pair.mentor, "two"),
            (pair.pupil, "[hold] three"),
            (pair.pupil, "four"),
            (pair.mentor, "[block] five"),
        ]
    ]
    assert [a["status"] for a in acks] == ["held", "held", "held", "held", "blocked"]
    await pair.adult.says("duty", on=True)
    await pair.world.round()
    assert pair.mentor.texts() == ["one", "four"] and pair.pupil.texts() == ["two"]
    page, end = await pair.pupil.history(pair.c)
    assert [(f["seq"], f["text"]) for f in page] == [(1, "one"), (2, "two"), (3, "four")]
    assert end["last_seq"] == 3


async def test_rule_12_what_waits_for_a_person_says_so_once_the_pause_is_over(pair):
    """`paused` is the reason only as long as it is true."""
    pair.world.clock.advance(seconds=91)
    await pair.world.round()
    ack = await pair.pupil.send(pair.c, "[hold] x")
    await pair.adult.says("duty", on=True)
    await pair.world.round()
    [own] = [f for f in await pair.pupil.again() if f["type"] == "own"]
    assert (own["message"], own["status"], own["reason"]) == (ack["message"], "held", "unkind")


async def test_rule_12_in_flight_text_still_raises_an_alert(pair):
    """Nobody is on duty, and the words carry risk: the alert is there all the same."""
    pair.world.clock.advance(seconds=91)
    await pair.pupil.send(pair.c, "[immediate] x")
    assert (await pair.world.alert()).next_due_at == pair.world.clock.now


async def test_rule_12_nobody_is_paired_without_an_adult(world):
    """An ask is refused with the reason, and who waited already goes on waiting."""
    pupil, mentor = await world.pupil(), await world.mentor()
    refused = await pupil.says("ask")
    assert refused["code"] == "closed" and "Nobody has read this" in refused["detail"]
    assert pupil.of("site")[-1]["why"] == "no_adult_on_duty"

    adult = await world.adult(duty=True)
    await mentor.says("break", on=True)
    assert (await pupil.says("ask"))["type"] == "waiting"
    world.clock.advance(seconds=91)
    await mentor.says("break", on=False)
    assert mentor.of("paired") == []
    for _ in range(LINE_EVERY):
        await adult.says("duty", on=True)
        await world.round()
    assert len(mentor.of("paired")) == len(pupil.of("paired")) == 1


async def test_rule_12_a_moderators_lease_never_counts(world):
    """A moderator may be on duty; the site stays closed."""
    moderator, pupil = await world.moderator(), await world.pupil()
    assert (await moderator.says("duty", on=True))["until"]
    await world.round()
    assert (await pupil.says("ask"))["code"] == "closed"


async def test_rule_12_one_of_two_leaving_changes_nothing(pair):
    """Leases overlap: while one is valid, everything goes on."""
    await pair.world.adult(duty=True)
    await pair.adult.says("duty", on=False)
    await pair.world.round()
    assert (await pair.pupil.send(pair.c, "hello"))["status"] == "delivered"
    assert pair.pupil.of("paused") == []


async def test_rule_12_a_suspended_adults_lease_is_void(pair):
    """The lease is not over, but its holder may act no more."""
    await pair.world.write(lambda tx: tx.members.suspend(pair.adult.id))
    assert (await pair.pupil.send(pair.c, "hello"))["reason"] == "paused"


async def test_rule_12_a_ping_does_not_renew_and_a_closed_line_does_not_end(pair):
    """Only the adult's own press counts."""
    pair.world.clock.advance(seconds=60)
    await pair.adult.says("ping")
    await pair.adult.close()
    pair.world.clock.advance(seconds=29)
    assert (await pair.pupil.send(pair.c, "one"))["status"] == "delivered"
    pair.world.clock.advance(seconds=2)
    assert (await pair.pupil.send(pair.c, "two"))["status"] == "held"


async def test_rule_12_a_renewal_never_shortens_a_lease(pair):
    """A phone holds duty for 20 minutes; the desk page's 90 seconds do not cut that short."""
    actor, lease = pair.adult.actor, timedelta(minutes=20)
    long = await pair.world.write(lambda tx: tx.duty.take(actor.member, Role.ADULT, actor.site, lease=lease))
    await pair.adult.says("duty", on=True)
    held = await pair.world.read(lambda tx: tx.duty.lease_of(actor.member))
    assert held is not None and held.until == long
    pair.world.clock.advance(minutes=19)
    assert (await pair.pupil.send(pair.c, "hello"))["status"] == "delivered"


async def test_rule_12_staffs_pause_outlasts_the_adults_coming_and_going(pair):
    """Only a person's resume opens what a person paused."""
    await pair.world.cases.pause(pair.adult.actor, pair.c)
    pair.world.clock.advance(seconds=91)
    await pair.world.round()
    await pair.adult.says("duty", on=True)
    await pair.world.round()
    assert (await pair.pupil.send(pair.c, "hello"))["reason"] == "paused"
    await pair.world.cases.resume(pair.moderator.actor, pair.c)
    await pair.world.flush()
    assert pair.mentor.texts() == ["hello"]


async def test_rule_12_staff_cannot_resume_without_an_adult(pair):
    """A moderator's resume is refused while no adult holds duty."""
    await pair.world.cases.pause(pair.adult.actor, pair.c)
    pair.world.clock.advance(seconds=91)
    with pytest.raises(CaseError, match="duty"):
        await pair.world.cases.resume(pair.moderator.actor, pair.c)


async def test_duty_does_not_end_while_an_open_alert_is_that_adults(pair):
    """An alert is never dropped on the floor; closed, duty ends."""
    await pair.pupil.send(pair.c, "[high] x")
    alert = (await pair.world.alert()).id
    await pair.world.cases.acknowledge(pair.adult.actor, alert)
    assert (await pair.adult.says("duty", on=False))["code"] == "forbidden"
    await pair.world.cases.close(pair.adult.actor, alert, outcome="safe", rationale="spoke", version=None)
    assert (await pair.adult.says("duty", on=False))["type"] == "done"


async def test_closing_time_ends_chats_but_not_one_with_an_open_high_alert(school):
    """Every held text ends with an outcome that its sender is told; who is at risk is not sent away."""
    school.site = {"hours": [{"days": [0, 1, 2, 3, 4], "from": "09:00", "to": "15:00"}]}
    async with school as world:
        adult = await world.adult(duty=True)
        one, two = await world.pupil(), await world.pupil()
        first, second = await world.mentor(), await world.mentor()
        quiet, urgent = await world.pair(one, first), await world.pair(two, second)
        held = await one.send(quiet, "[hold] x")
        await two.send(urgent, "[high] y")
        world.clock.now = world.clock.now.replace(hour=15)
        await adult.says("duty", on=True)
        await world.round()
        assert [f["why"] for f in one.of("ended")] == ["closing_time"] and two.of("ended") == []
        assert [(f["message"], f["status"]) for f in one.of("decided")] == [(held["message"], "withheld")]
        assert (await one.send(quiet, "still there?"))["code"] == "closed"
        assert (await two.send(urgent, "still there?"))["status"] == "delivered"
        assert (await one.says("ask"))["code"] == "closed"
        assert one.of("site")[-1]["why"] == "outside_hours" and one.of("site")[-1]["next_open_text"]
        assert await world.sql("SELECT count(*) FROM message WHERE status = 'held'") == [(0,)]
