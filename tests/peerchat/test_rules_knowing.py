"""Who may not know: an alert about an adult of the school goes to the preset, and exists for nobody else."""

import asyncio
from datetime import timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from escalation.alert import AlertState, Concern
from escalation.knowing import Circle
from escalation.ladder import Audience
from moderation.verdict import Risk, Role
from peerchat import overview
from peerchat.channels.contact import Kind
from peerchat.errors import CaseError, NotAllowed, PeerchatError, UnknownItem
from peerchat.model import Decision, ReviewState
from tests.peerchat.world import School

ALL = list(AlertState)


async def preset(world, *people, outside=()):
    """Preset these, in order; those of `outside` know of alerts about staff alone."""
    rows = [(p.id, p in outside) for p in people]
    await world.write(lambda tx: tx.rota.set_independents(world.site, rows))


async def listed(world, person):
    rows, _ = await world.cases.listed(person.actor, ALL, limit=50, offset=0)
    return [row["id"] for row in rows]


async def counted(world, person):
    """Return how many alerts a member of staff can count anywhere."""
    seen = await world.read(lambda tx: overview.overview(tx, world.site, [], reader=person.actor))
    figures = await world.read(
        lambda tx: tx.figures.counts(
            world.site,
            world.clock.now - timedelta(days=1),
            world.clock.now + timedelta(days=1),
            reader=person.id,
        )
    )
    return seen["alerts"]["open"], sum(seen["alerts"]["by_state"].values()), figures["alerts"]


async def about_an_adult(pair, **more):
    """Let the pupil press, and say that it is about an adult here; return the alert."""
    done = await pair.pupil.says("flag", conversation=pair.c, urgency="emergency", about="adult", **more)
    return next(a for a in await pair.world.alerts() if a.id == done["alert"])


async def test_rule_11_what_is_about_an_adult_exists_for_the_preset_alone(pair):
    """List, counts, statistics, every step, the transcript, and every frame: nothing anywhere."""
    chair, coordinator = await pair.world.adult(), await pair.world.member(Role.COORDINATOR)
    await preset(pair.world, chair)
    found = await about_an_adult(pair, note="it is about Mr X")
    assert (found.apart, found.discreet, found.about, found.labels) == (
        True, True, pair.pupil.id, ("flag", "about_adult"),
    )  # fmt: skip
    await pair.world.sweep()
    cases, actor = pair.world.cases, pair.adult.actor
    for step in (
        cases.acknowledge(actor, found.id),
        cases.join(actor, found.id),
        cases.shown(actor, found.id),
        cases.note(actor, found.id, "mine"),
        cases.act(actor, found.id, "told the head", None),
        cases.close(actor, found.id, outcome="x", rationale="y", version=None),
        cases.transcript(actor, pair.c, reason=None, whole=False),
    ):
        with pytest.raises(PeerchatError) as refused:
            await step
        assert not isinstance(refused.value, CaseError)
    await pair.world.flush()
    for person in (pair.adult, pair.moderator, pair.mentor, coordinator):
        assert found.id not in str(person.seen)
        if person is not pair.mentor:
            assert await counted(pair.world, person) == (0, 0, 0)
    assert await listed(pair.world, pair.adult) == []
    assert await listed(pair.world, chair) == [found.id]
    assert chair.of("alert")[-1]["change"] == "raised"
    assert await counted(pair.world, chair) == (1, 1, 1)
    assert (await cases.shown(chair.actor, found.id))["about"] == "pupil"
    await cases.acknowledge(chair.actor, found.id)
    await pair.world.flush()
    assert found.id not in str(pair.adult.seen) and pair.pupil.help()[-1] == "has_it"
    assert pair.mentor.help() == []


async def test_a_report_about_an_adult_passed_on_goes_to_the_preset(pair):
    """Neither the other adults hear of it, nor its subject, who is one of them."""
    other, chair = await pair.world.adult(duty=True), await pair.world.adult()
    await preset(pair.world, chair)
    await pair.pupil.send(pair.c, "[high] x")
    mine = (await pair.world.alert()).id
    await pair.world.cases.join(pair.adult.actor, mine)
    await pair.adult.send(pair.c, "something unkind")
    [message] = [f for f in pair.pupil.of("message") if f["from"]["role"] == "adult"]
    await pair.pupil.says("report", conversation=pair.c, message=message["message"], reason="unkind")
    items = await pair.world.sql("SELECT id FROM review_item WHERE kind = 'report'")
    [(item,)] = items
    await pair.world.review.claim(other.actor, item)
    await pair.world.review.decide(
        other.actor, item, decision=Decision.ESCALATE, reason="unsafe", note="about a colleague"
    )
    await pair.world.sweep()
    about = next(a for a in await pair.world.alerts() if a.about == pair.adult.id)
    assert about.apart
    assert about.id in await listed(pair.world, chair)
    for person in (pair.adult, other):
        assert about.id not in await listed(pair.world, person) and about.id not in str(person.seen)


async def test_the_first_preset_person_is_asked_first_then_the_next(pair):
    first, second = await pair.world.adult(), await pair.world.adult()
    await preset(pair.world, first, second)
    found = await about_an_adult(pair)
    await pair.world.sweep()
    assert first.of("alert") and not second.of("alert")
    pair.world.clock.advance(minutes=2)
    await pair.world.sweep()
    assert second.of("alert")[-1]["alert"]["id"] == found.id


async def test_with_nobody_preset_it_is_told_to_the_adults_rather_than_to_nobody(pair):
    found = await about_an_adult(pair)
    await pair.world.sweep()
    assert pair.adult.of("alert")[-1]["alert"]["id"] == found.id
    assert await listed(pair.world, pair.adult) == [found.id]


async def test_a_preset_person_who_is_suspended_does_not_leave_it_with_nobody(pair):
    chair = await pair.world.adult()
    await preset(pair.world, chair)
    found = await about_an_adult(pair)
    await pair.world.write(lambda tx: tx.members.suspend(chair.id))
    assert await listed(pair.world, pair.adult) == [found.id]


async def test_what_is_kept_apart_never_folds_with_what_others_know(pair):
    """Pressed twice: once for any adult, once about one."""
    chair = await pair.world.adult()
    await preset(pair.world, chair)
    await pair.pupil.says("flag", conversation=pair.c, urgency="emergency")
    await about_an_adult(pair)
    await pair.pupil.says("flag", conversation=pair.c, urgency="emergency")
    alerts = await pair.world.alerts()
    assert [a.apart for a in alerts] == [False, True]
    assert await listed(pair.world, pair.adult) == [alerts[0].id]


async def test_who_is_preset_from_outside_knows_of_nothing_else_and_holds_no_duty(pair):
    chair = await pair.world.adult()
    await preset(pair.world, chair, outside=(chair,))
    ack = await pair.pupil.send(pair.c, "[high] [hold] x")
    await pair.world.sweep()
    alert = (await pair.world.alert()).id
    assert await listed(pair.world, chair) == [] and alert not in str(chair.seen)
    assert chair.of("review") == [] and pair.adult.of("review")
    assert (await pair.world.review.queue(chair.actor, states=list(ReviewState), limit=9, offset=0))[0] == []
    with pytest.raises(UnknownItem):
        await pair.world.review.claim(chair.actor, (await pair.world.item(ack["message"])).id)
    for step in (
        pair.world.cases.transcript(chair.actor, pair.c, reason=None, whole=False),
        pair.world.cases.pause(chair.actor, pair.c),
    ):
        with pytest.raises(NotAllowed):
            await step
    assert (await chair.says("duty", on=True))["code"] == "forbidden"
    found = await about_an_adult(pair)
    assert await listed(pair.world, chair) == [found.id]


async def test_beyond_the_page_only_the_preset_are_reached(pair):
    """Of four contact points, one is the preset person's: only that one is sent to."""
    chair = await pair.world.adult()
    await preset(pair.world, chair)

    def body(tx):
        for member in (pair.adult.id, chair.id, None):
            tx.channels.add(
                site=pair.world.site,
                kind=Kind.SMS,
                member=member,
                audience=Audience.ON_DUTY,
                to="+447700900123",
                secret=None,
                name=None if member else "the pager",
            )

    await pair.world.write(body)
    await about_an_adult(pair)
    await pair.world.sweep()
    sent = await pair.world.sql(
        "SELECT contact_point.member FROM sending JOIN contact_point ON contact_point.id = sending.contact"
    )
    assert sent == [(chair.id,)]


def counts_for(tx, *, site, reader):
    return tx.alerts.counts(site, reader=reader)


people = st.sampled_from(["one", "two", "three", "four"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(people, st.booleans()), max_size=3, unique_by=lambda row: row[0]),
    st.lists(st.tuples(people, st.booleans()), min_size=1, max_size=4),
)
def test_the_database_and_the_rule_agree_on_who_may_know(preset, alerts):
    """For every adult and every alert: the list holds it where the rule says so, and only there."""

    async def check():
        with TemporaryDirectory() as folder:
            async with School(Path(folder) / "data") as world:
                adults = {name: await world.member(Role.ADULT) for name in ("one", "two", "three", "four")}

                def body(tx):
                    tx.rota.set_independents(world.site, [(adults[name].id, out) for name, out in preset])
                    for n, (about, apart) in enumerate(alerts):
                        concern = Concern(
                            about=adults[about].id,
                            about_role=Role.ADULT,
                            risk=Risk.HIGH,
                            labels=(f"l{n}",),
                            discreet=bool(n % 2),
                            apart=apart,
                        )
                        tx.alerts.raise_or_fold(
                            concern, site=world.site, conversation=None, message=None, by=None
                        )

                await world.write(body)
                circle: Circle = await world.read(lambda tx: tx.rota.circle(world.site))
                there = await world.alerts()
                for adult in adults.values():
                    expected = {a.id for a in there if circle.may_know(a, adult.id)}
                    assert set(await listed(world, adult)) == expected
                    counts = await world.read(partial(counts_for, site=world.site, reader=adult.id))
                    assert sum(counts.values()) == len(expected)

    asyncio.run(check())


async def closing(pair, person, alert):
    await pair.world.cases.acknowledge(person.actor, alert)
    return await pair.world.cases.close(
        person.actor, alert, outcome="no concern found", rationale="asked them", version=None
    )


async def test_rule_11_who_alone_may_know_closes_an_immediate_one_alone_and_that_is_recorded(pair):
    chair = await pair.world.adult()
    await preset(pair.world, chair)
    found = await about_an_adult(pair)
    await pair.world.sql(f"UPDATE alert SET risk = {Risk.IMMEDIATE.value} WHERE id = '{found.id}'")
    case, done = await closing(pair, chair, found.id)
    assert done and case["state"] == "closed"
    lines = (await pair.world.cases.shown(chair.actor, found.id))["chronology"]
    assert (lines[-1]["what"], lines[-1]["data"]) == ("closed", {"single": True})


async def test_rule_11_with_a_second_preset_person_it_takes_two_signatures(pair):
    chair, second = await pair.world.adult(), await pair.world.adult()
    await preset(pair.world, chair, second)
    found = await about_an_adult(pair)
    await pair.world.sql(f"UPDATE alert SET risk = {Risk.IMMEDIATE.value} WHERE id = '{found.id}'")
    _, done = await closing(pair, chair, found.id)
    assert not done
