"""Phones that hold duty, hand-overs, going off duty, and who leaves or drops off while an alert is open."""

from dataclasses import replace
from datetime import date, timedelta

import pytest

from escalation import rota
from escalation.alert import Concern
from escalation.duty import OFFER, PHONE_LEASE, Answer
from escalation.ladder import Audience
from escalation.times import Times
from moderation.verdict import Risk, Role
from peerchat.channels.contact import Kind
from peerchat.duties import NOT_TRIED
from peerchat.errors import CaseError, UnknownObject
from peerchat.leaving import DROPPED, HOLDER_LOST, LEFT, LOST
from peerchat.model import ConversationState
from peerchat.rounds import WATCH_EVERY
from peerchat.store.alerts import LOUD


async def reachable(world, adult):
    """Let a way to reach an adult have been tried just now."""

    def body(tx):
        id = tx.channels.add(
            site=world.site,
            kind=Kind.SMS,
            member=adult.id,
            audience=Audience.ON_DUTY,
            to="+447700900123",
            secret=None,
            name=None,
        )
        tx.channels.tried(id)

    await world.write(body)


async def taken(pair, text="[high] x"):
    """Return an alert that the adult on duty has taken on."""
    await pair.pupil.send(pair.c, text)
    await pair.world.sweep()
    alert = (await pair.world.alert()).id
    await pair.world.cases.acknowledge(pair.adult.actor, alert)
    return alert


async def kinds(world, alert):
    return [e.kind for e in await world.read(lambda tx: tx.alerts.chronology(alert))]


async def watched(world):
    """Go round until a look at who is still there is among it."""
    for _ in range(WATCH_EVERY):
        await world.round()


# ---------------------------------------------------------------------------- duty by phone


async def test_rule_12_a_press_on_a_phone_holds_duty_while_it_is_locked(pair):
    """Twenty minutes without a renewal, and no longer."""
    await reachable(pair.world, pair.adult)
    done = await pair.adult.says("duty", on=True, phone=True)
    assert done["until"] == f"{pair.world.clock.now + PHONE_LEASE:%Y-%m-%dT%H:%M:%SZ}"
    await pair.adult.close()
    pair.world.clock.advance(minutes=19, seconds=59)
    assert (await pair.pupil.send(pair.c, "one"))["status"] == "delivered"
    pair.world.clock.advance(seconds=1)
    assert (await pair.pupil.send(pair.c, "two"))["reason"] == "paused"


async def test_rule_12_a_press_begins_the_time_anew(pair):
    await reachable(pair.world, pair.adult)
    await pair.adult.says("duty", on=True, phone=True)
    pair.world.clock.advance(minutes=15)
    await pair.adult.says("duty", on=True, phone=True)
    pair.world.clock.advance(minutes=19)
    assert (await pair.pupil.send(pair.c, "hello"))["status"] == "delivered"


async def test_a_phone_that_nobody_tried_in_this_shift_holds_no_duty(pair):
    """A way to be called that was tried yesterday says nothing of today."""
    refused = await pair.adult.says("duty", on=True, phone=True)
    assert (refused["code"], refused["detail"]) == ("forbidden", NOT_TRIED)
    await reachable(pair.world, pair.adult)
    pair.world.clock.advance(hours=20)
    assert (await pair.adult.says("duty", on=True, phone=True))["code"] == "forbidden"
    assert (await pair.adult.says("duty", on=True))["type"] == "done"


async def test_only_an_adult_holds_duty_by_phone(pair):
    assert (await pair.moderator.says("duty", on=True, phone=True))["code"] == "forbidden"


async def test_wifi_lost_for_three_minutes_pauses_a_page_and_not_a_phone(pair):
    """A page's lease lapses after 90 s and comes back with the line; a press outlives the hole."""
    pair.world.clock.advance(minutes=3)
    await pair.world.round()
    assert pair.pupil.of("paused")[-1]["why"] == "no_adult_on_duty"
    await pair.adult.says("duty", on=True)
    await pair.world.round()
    assert pair.pupil.of("resumed")
    await reachable(pair.world, pair.adult)
    await pair.adult.says("duty", on=True, phone=True)
    paused = len(pair.pupil.of("paused"))
    pair.world.clock.advance(minutes=3)
    await pair.world.round()
    assert len(pair.pupil.of("paused")) == paused


async def test_leases_are_as_long_as_the_site_says(pair):
    times = Times(page_lease=timedelta(seconds=200), phone_lease=timedelta(minutes=45))

    def body(tx):
        tx.sites.change(replace(tx.sites.get(pair.world.site), times=times))

    await pair.world.write(body)
    await reachable(pair.world, pair.adult)
    for phone, lease in ((False, times.page_lease), (True, times.phone_lease)):
        await pair.adult.says("duty", on=True, phone=phone)
        held = await pair.world.read(lambda tx: tx.duty.lease_of(pair.adult.id))
        assert held is not None and held.until == pair.world.clock.now + lease


# ---------------------------------------------------------------------------- going off duty


async def test_what_waits_for_an_adult_is_said_and_the_last_one_may_still_go(pair):
    """The ladder goes on at the deputies; with nobody on duty chats pause, and everybody is told."""
    await pair.pupil.send(pair.c, "[immediate] x")
    shown = await pair.world.node.duties.shown(pair.adult.actor)
    assert (shown["mine"], shown["waiting"]) == (0, 1)
    assert (await pair.adult.says("duty", on=False))["type"] == "done"
    await pair.world.round()
    assert pair.pupil.of("paused")[-1]["why"] == "no_adult_on_duty"


async def test_an_alert_that_is_kept_from_an_adult_is_not_counted_among_what_waits(pair):
    """A number would tell that it is there."""
    await pair.pupil.says("flag", conversation=pair.c, urgency="emergency", about="adult")
    chair = await pair.world.adult()
    await pair.world.write(lambda tx: tx.rota.set_independents(pair.world.site, [(chair.id, True)]))
    assert (await pair.world.node.duties.shown(pair.adult.actor))["waiting"] == 0
    assert (await pair.world.node.duties.shown(chair.actor))["waiting"] == 1


# ---------------------------------------------------------------------------- handing over


async def test_an_accepted_hand_over_moves_the_alert_and_lets_the_giver_go(pair):
    """Not before: an offer alone changes nothing."""
    alert = await taken(pair)
    other = await pair.world.adult(duty=True)
    duties = pair.world.node.duties
    row = await duties.offer(pair.adult.actor, other.id, None)
    await pair.world.flush()
    assert other.of("handover")[-1] | {"until": None} == {
        "type": "handover",
        "id": row["id"],
        "change": "offered",
        "from": pair.adult.actor.name,
        "to": other.actor.name,
        "alerts": 1,
        "until": None,
    }
    assert (await pair.adult.says("duty", on=False))["code"] == "forbidden"
    pair.world.clock.advance(seconds=60)
    await other.says("duty", on=True)
    await duties.answer(other.actor, row["id"], Answer.ACCEPTED)
    await pair.world.flush()
    moved = await pair.world.alert()
    assert (moved.holder, moved.state.value) == (other.id, "acknowledged")
    assert moved.lapses_at == pair.world.clock.now + timedelta(minutes=10)
    assert pair.adult.of("handover")[-1]["change"] == "accepted"
    assert (await pair.adult.says("duty", on=False))["type"] == "done"
    assert {"handover_offered", "handed_over"} <= set(await kinds(pair.world, alert))
    log = [kind for _, kind, _ in await pair.world.audit()]
    assert log.index("handover_offered") < log.index("handover_accepted") < log.index("duty_off")


async def test_a_declined_or_unanswered_offer_changes_nothing(pair):
    await taken(pair)
    other = await pair.world.adult(duty=True)
    duties = pair.world.node.duties
    row = await duties.offer(pair.adult.actor, other.id, None)
    await duties.answer(other.actor, row["id"], Answer.DECLINED)
    with pytest.raises(UnknownObject):
        await duties.answer(other.actor, row["id"], Answer.ACCEPTED)
    row = await duties.offer(pair.adult.actor, other.id, None)
    pair.world.clock.advance(seconds=OFFER.total_seconds())
    await other.says("duty", on=True)
    with pytest.raises(UnknownObject):
        await duties.answer(other.actor, row["id"], Answer.ACCEPTED)
    assert (await pair.world.alert()).holder == pair.adult.id


async def test_an_offer_is_for_one_adult_and_the_newest_counts(pair):
    """Nobody else accepts it, nor its giver; whoever it was made to first has nothing to answer any more."""
    await taken(pair)
    duties, first = pair.world.node.duties, await pair.world.adult(duty=True)
    second = await pair.world.adult(duty=True)
    old = await duties.offer(pair.adult.actor, first.id, None)
    new = await duties.offer(pair.adult.actor, second.id, None)
    for who, offer in ((first, old), (first, new), (pair.adult, new)):
        with pytest.raises(UnknownObject):
            await duties.answer(who.actor, offer["id"], Answer.ACCEPTED)
    with pytest.raises(UnknownObject):
        await duties.answer(second.actor, new["id"], Answer.WITHDRAWN)
    await duties.answer(pair.adult.actor, new["id"], Answer.WITHDRAWN)
    with pytest.raises(UnknownObject):
        await duties.answer(second.actor, new["id"], Answer.ACCEPTED)


async def test_an_alert_goes_only_to_an_adult_who_is_on_duty(pair):
    """Neither offered to one who is not, nor accepted by one whose duty has lapsed since."""
    alert = await taken(pair)
    other, duties = await pair.world.adult(), pair.world.node.duties
    with pytest.raises(CaseError, match="not on duty"):
        await duties.offer(pair.adult.actor, other.id, alert)
    await other.says("duty", on=True)
    row = await duties.offer(pair.adult.actor, other.id, alert)
    await other.says("duty", on=False)
    with pytest.raises(CaseError, match="take duty first"):
        await duties.answer(other.actor, row["id"], Answer.ACCEPTED)


async def test_bad_offers_change_nothing(pair):
    other, duties = await pair.world.adult(duty=True), pair.world.node.duties
    with pytest.raises(CaseError, match="no open alert of yours"):
        await duties.offer(pair.adult.actor, other.id, None)
    alert = await taken(pair)
    for to in (pair.adult.id, pair.moderator.id, pair.pupil.id, "mem_none"):
        with pytest.raises(UnknownObject):
            await duties.offer(pair.adult.actor, to, alert)
    with pytest.raises(CaseError):
        await duties.offer(other.actor, pair.adult.id, alert)  # not theirs
    assert await pair.world.sql("SELECT count(*) FROM handover") == [(0,)]


async def test_an_alert_about_the_other_adult_is_never_in_what_is_handed_to_them(pair):
    """Of two that are offered, one is about the taker: it stays, and the taker hears of one."""
    other = await pair.world.adult(duty=True)
    await taken(pair)

    def about_other(tx):
        concern = Concern(
            about=other.id, about_role=Role.ADULT, risk=Risk.HIGH, labels=("flag",), discreet=True
        )
        return tx.alerts.raise_or_fold(
            concern, site=pair.world.site, conversation=None, message=None, by=None
        )[0].id

    secret = await pair.world.write(about_other)
    await pair.world.cases.acknowledge(pair.adult.actor, secret)
    duties = pair.world.node.duties
    with pytest.raises(CaseError, match="may not have it"):
        await duties.offer(pair.adult.actor, other.id, secret)
    row = await duties.offer(pair.adult.actor, other.id, None)
    assert row["alerts"] == 1
    await duties.answer(other.actor, row["id"], Answer.ACCEPTED)
    await pair.world.flush()
    assert secret not in str(other.seen)
    holders = {a.id: a.holder for a in await pair.world.alerts()}
    assert holders[secret] == pair.adult.id and set(holders.values()) == {pair.adult.id, other.id}
    assert (await pair.adult.says("duty", on=False))["code"] == "forbidden"


async def test_what_an_adult_is_shown_of_duty(pair):
    other = await pair.world.adult(duty=True)
    await taken(pair)
    await pair.world.node.duties.offer(pair.adult.actor, other.id, None)
    shown = await pair.world.node.duties.shown(pair.adult.actor)
    may_take = {each["name"]: each["may_take"] for each in shown["on_duty"]}
    assert may_take == {pair.adult.actor.name: False, other.actor.name: True}
    assert shown["mine"] == 1
    [offer] = shown["offers"]
    assert offer["mine"] and offer["to"] == other.actor.name
    assert not (await pair.world.node.duties.shown(other.actor))["offers"][0]["mine"]


# ---------------------------------------------------------------------------- leaving and dropping off


async def test_a_pupil_who_leaves_with_an_open_alert_is_told_of_again(pair):
    """Whoever has it keeps it, is told again, and is asked about the identity."""
    alert = await taken(pair, "[immediate] x")
    await pair.world.cases.join(pair.adult.actor, alert)
    await pair.world.sweep()
    told = len(pair.adult.of("alert"))
    await pair.pupil.says("leave", conversation=pair.c)
    assert await pair.world.sweep() == 1
    assert pair.adult.of("alert")[told:][-1]["change"] == "climbed"
    found = await pair.world.alert()
    assert (found.holder, found.state.value) == (pair.adult.id, "in_hand")
    shown = await pair.world.cases.shown(pair.adult.actor, alert)
    assert shown["gone"]["why"] == "left_chat"
    await pair.world.later(pair.adult, minutes=3)
    await watched(pair.world)
    assert "dropped" not in await kinds(pair.world, alert)  # told already


async def test_a_mentor_who_leaves_is_told_of_too_and_nobody_is_gone_by_that(pair):
    alert = await taken(pair)
    await pair.mentor.says("leave", conversation=pair.c)
    assert "left_chat" in await kinds(pair.world, alert)
    assert (await pair.world.cases.shown(pair.adult.actor, alert))["gone"] is None


async def test_leaving_tells_nothing_anew_of_a_mere_concern(pair):
    await pair.pupil.send(pair.c, "[concern] x")
    due = (await pair.world.alert()).next_due_at
    await pair.world.sweep()
    await pair.pupil.says("leave", conversation=pair.c)
    assert (await pair.world.alert()).next_due_at != pair.world.clock.now or due == pair.world.clock.now
    assert "left_chat" not in await kinds(pair.world, (await pair.world.alert()).id)


async def test_a_pupil_who_drops_off_is_told_of_once_and_so_is_their_return(pair):
    alert = await taken(pair)
    await pair.world.cases.act(pair.adult.actor, alert, "spoke with pupil", None)
    await watched(pair.world)
    await pair.world.sweep()
    await pair.pupil.close()
    await pair.adult.says("duty", on=True)
    pair.world.clock.advance(seconds=DROPPED.total_seconds())
    await watched(pair.world)
    assert LOST not in await kinds(pair.world, alert)
    pair.world.clock.advance(seconds=1)
    await watched(pair.world)
    await watched(pair.world)
    assert (await kinds(pair.world, alert)).count(LOST) == 1
    assert await pair.world.sweep() == 1
    assert (await pair.world.cases.shown(pair.adult.actor, alert))["gone"]["why"] == LOST
    await pair.pupil.open()
    await watched(pair.world)
    assert (await kinds(pair.world, alert))[-2:].count("came_back") == 1
    assert (await pair.world.cases.shown(pair.adult.actor, alert))["gone"] is None


async def test_an_adult_whose_duty_lapses_with_an_alert_keeps_it_and_the_others_are_told(pair):
    """A phone without battery: the case does not lie there unseen until somebody wonders."""
    alert = await taken(pair)
    await pair.world.cases.act(pair.adult.actor, alert, "spoke with pupil", None)
    other = await pair.world.adult(duty=True)
    await pair.world.sweep()
    pair.world.clock.advance(seconds=89)
    await other.says("duty", on=True)
    pair.world.clock.advance(seconds=2)
    await watched(pair.world)
    assert (await kinds(pair.world, alert))[-1] == "holder_dropped"
    await pair.world.sweep()
    assert other.of("alert")[-1]["change"] == "climbed"
    assert (await pair.world.alert()).holder == pair.adult.id
    await pair.adult.says("duty", on=True)
    await watched(pair.world)
    assert (await kinds(pair.world, alert))[-1] == "holder_back"
    await watched(pair.world)
    assert (await kinds(pair.world, alert)).count("holder_back") == 1


# ---------------------------------------------------------------------------- presses and mistakes


@pytest.mark.parametrize("who", ["mentor", "moderator"])
async def test_one_press_of_a_mentor_or_a_moderator_alarms_and_is_answered_with_what_is_true(pair, who):
    person = getattr(pair, who)
    done = await person.says("flag", conversation=None, urgency="emergency")
    assert person.help() == ["asked"]
    await pair.world.sweep()
    assert pair.adult.of("alert")[-1]["alert"]["id"] == done["alert"]
    pair.world.clock.advance(minutes=2)
    await pair.adult.says("duty", on=True)
    await pair.world.sweep()
    assert person.help() == ["asked", "still_asking"]
    await pair.world.cases.acknowledge(pair.adult.actor, done["alert"])
    await pair.world.flush()
    assert person.help() == ["asked", "still_asking", "has_it"]


async def test_pressed_by_mistake_is_information_and_stops_nothing(pair):
    done = await pair.pupil.says("flag", conversation=pair.c, urgency="emergency")
    await pair.world.sweep()
    before = await pair.world.alert()
    assert (await pair.pupil.says("mistake", alert=done["alert"]))["type"] == "done"
    assert (await pair.pupil.says("mistake", alert=done["alert"]))["type"] == "done"
    assert await pair.world.alert() == before
    assert (await kinds(pair.world, done["alert"])).count("said_mistake") == 1
    assert pair.adult.of("alert")[-1]["change"] == "updated"
    pair.world.clock.advance(minutes=2)
    assert await pair.world.sweep() == 1
    assert (await pair.world.alert()).rung == 1


async def test_only_who_pressed_says_it_was_a_mistake(pair):
    done = await pair.pupil.says("flag", conversation=pair.c, urgency="emergency")
    for person, alert in (
        (pair.mentor, done["alert"]),
        (pair.adult, done["alert"]),
        (pair.pupil, "alr_none"),
    ):
        assert (await person.says("mistake", alert=alert))["code"] == "forbidden"
    assert "said_mistake" not in await kinds(pair.world, done["alert"])


# ---------------------------------------------------------------------------- closing time


async def test_everybody_is_warned_ten_minutes_before_the_hours_end(school):
    """Once, and who comes in that time is told on arriving; then chats end."""
    school.site = {"hours": [{"days": [0, 1, 2, 3, 4], "from": "09:00", "to": "15:00"}]}
    async with school as world:
        adult, pupil, mentor = await world.adult(duty=True), await world.pupil(), await world.mentor()
        c = await world.pair(pupil, mentor)
        world.clock.now = world.clock.now.replace(hour=14, minute=49, second=59)
        await adult.says("duty", on=True)
        await world.round()
        warned = [f for f in pupil.of("site") if f["closes_at"]]
        assert warned == [] and (await pupil.again())[0]["site"]["closes_at"] is None
        world.clock.advance(seconds=1)
        for _ in range(3):
            await world.round()
        [frame] = [f for f in pupil.of("site") if f["closes_at"]]
        assert frame["open"] and frame["closes_at"].endswith("T15:00:00Z")
        assert [f for f in mentor.of("site") if f["closes_at"]] == [frame]
        assert (await pupil.again())[0]["site"]["closes_at"] == frame["closes_at"]
        world.clock.now = world.clock.now.replace(hour=15, minute=0)
        await adult.says("duty", on=True)
        await world.round()
        assert pupil.of("ended")[-1]["why"] == "closing_time"
        conversation = await world.read(lambda tx: tx.conversations.get(c))
        assert conversation is not None and conversation.state is ConversationState.ENDED


async def test_on_a_holiday_it_is_outside_its_hours(world):
    adult, pupil = await world.adult(duty=True), await world.pupil()
    holiday = rota.Change(id="", kind=rota.Kind.HOLIDAY, first=date(2026, 3, 2), last=date(2026, 3, 2))
    await world.write(lambda tx: tx.rota.add_change(world.site, holiday))
    await world.round()
    assert adult.of("site")[-1]["why"] == "outside_hours"
    assert (await pupil.says("ask"))["code"] == "closed"
    world.clock.advance(days=1)
    await adult.says("duty", on=True)
    await world.round()
    assert adult.of("site")[-1]["open"]


async def lost_holder(pair):
    """Let the adult with the alert in hand drop off duty; return the alert and another adult on duty."""
    alert = await taken(pair)
    await pair.world.cases.act(pair.adult.actor, alert, "spoke with pupil", None)
    other = await pair.world.adult(duty=True)
    await pair.world.sweep()
    pair.world.clock.advance(seconds=89)
    await other.says("duty", on=True)
    pair.world.clock.advance(seconds=2)
    await watched(pair.world)
    assert (await kinds(pair.world, alert))[-1] == "holder_dropped"
    return alert, other


async def waited(pair, other, seconds):
    for _ in range(seconds // 30):
        pair.world.clock.advance(seconds=30)
        await other.says("duty", on=True)
        await watched(pair.world)


async def test_rule_11_a_lost_holder_who_stays_away_has_it_no_more(pair):
    alert, other = await lost_holder(pair)
    await waited(pair, other, 150)
    assert (await pair.world.alert()).holder == pair.adult.id
    await waited(pair, other, 30)
    found = await pair.world.alert()
    assert (found.holder, found.state.value) == (None, "notifying")
    await pair.world.cases.acknowledge(other.actor, alert)
    assert (await pair.world.alert()).holder == other.id


async def test_rule_11_a_lost_holder_who_acts_or_is_back_keeps_it(pair):
    alert, other = await lost_holder(pair)
    await pair.world.cases.act(pair.adult.actor, alert, "told the head", None)
    await waited(pair, other, 300)
    assert (await pair.world.alert()).holder == pair.adult.id


async def test_that_somebody_is_gone_is_sent_by_text_and_more_of_the_same_is_not(pair):
    """A school with texts and no notifications: once taken on, only what is heard may say so."""

    def body(tx):
        tx.channels.add(
            site=pair.world.site,
            kind=Kind.SMS,
            member=pair.adult.id,
            audience=Audience.ON_DUTY,
            to="+447700900123",
            secret=None,
            name=None,
        )

    async def sent():
        await pair.world.sweep()
        return len(await pair.world.sql("SELECT id FROM sending"))

    await pair.world.write(body)
    await taken(pair)
    before = await sent()
    pair.world.clock.advance(seconds=1)
    await pair.pupil.send(pair.c, "[high] more")
    assert await sent() == before
    pair.world.clock.advance(seconds=1)
    await pair.pupil.says("leave", conversation=pair.c)
    assert await sent() == before + 1
    assert frozenset({LEFT, LOST, HOLDER_LOST}) == LOUD
