"""The rota as the coordinator keeps it: what is refused and why, what is shown, what is missing just now."""

from datetime import timedelta

import pytest

from escalation.ladder import Audience
from moderation.verdict import Role
from peerchat import overview
from peerchat.channels.contact import Kind
from peerchat.errors import UnknownObject
from peerchat.rotas import LONGEST, MOST, BadRota, Wanted, turn_of

WEEKDAYS = (0, 1, 2, 3, 4)


def turn(person, begin="09:00", end="15:00", **more) -> Wanted:
    return Wanted(member=person.id, days=WEEKDAYS, begin=begin, end=end, **more)


@pytest.fixture
async def coordinator(world):
    return await world.member(Role.COORDINATOR)


async def test_the_week_is_shown_as_it_was_added_and_who_is_missing_now(world, coordinator):
    """It is ten on Monday, and the one who is down for duty is not there."""
    adult, desk = await world.adult(), world.node.rota
    shown = await desk.add(coordinator.actor, turn(adult))
    [row] = shown["turns"]
    assert {k: row[k] for k in ("name", "part", "days", "begin", "end")} == {
        "name": adult.actor.name,
        "part": "duty",
        "days": list(WEEKDAYS),
        "begin": "09:00",
        "end": "15:00",
    }
    assert shown["expected"] == shown["missing"] == [adult.actor.name]
    assert len(shown["coming"]) == 11 and shown["coming"][0]["begin"] == "2026-03-02T09:00:00Z"
    await adult.says("duty", on=True)
    assert (await desk.shown(coordinator.actor))["missing"] == []
    seen = await world.read(lambda tx: overview.overview(tx, world.site, [], reader=coordinator.actor))
    assert seen["rota"] == {
        "expected": [adult.actor.name],
        "missing": [],
        "gap": None,
        "independent": False,
    }


async def test_an_absence_leaves_a_gap_and_a_stand_in_fills_it(school):
    school.site = {"hours": [{"days": list(WEEKDAYS), "from": "09:00", "to": "15:00"}]}
    async with school as world:
        coordinator, adult, other = (
            await world.member(Role.COORDINATOR), await world.adult(), await world.adult(),
        )  # fmt: skip
        desk = world.node.rota
        assert (await desk.add(coordinator.actor, turn(adult)))["gap"] is None
        away = Wanted(kind="away", member=adult.id, first="2026-03-04", begin="11:00", end="12:00")
        gap = {"begin": "2026-03-04T11:00:00Z", "end": "2026-03-04T12:00:00Z"}
        assert (await desk.add(coordinator.actor, away))["gap"] == gap
        extra = Wanted(kind="extra", member=other.id, first="2026-03-04", begin="10:30", end="12:30")
        shown = await desk.add(coordinator.actor, extra)
        assert shown["gap"] is None
        absence = next(c for c in shown["changes"] if c["kind"] == "away")
        assert (await desk.remove(coordinator.actor, absence["id"]))["gap"] is None
        added = next(t for t in shown["turns"])
        assert (await desk.remove(coordinator.actor, added["id"]))["gap"]["begin"] == "2026-03-02T10:00:00Z"


async def test_a_holiday_closes_the_school_in_the_rota_too(world, coordinator):
    adult, desk = await world.adult(duty=True), world.node.rota
    await desk.add(coordinator.actor, turn(adult))
    shown = await desk.add(coordinator.actor, Wanted(kind="holiday", member=None, first="2026-03-02"))
    assert shown["expected"] == [] and shown["coming"][0]["begin"].startswith("2026-03-03")
    await world.round()
    assert adult.of("site")[-1]["why"] == "outside_hours"


@pytest.mark.parametrize(
    ("field", "more"),
    [
        ("member", {"member": None}),
        ("days", {"days": ()}),
        ("days", {"days": (7,)}),
        ("begin", {"begin": None}),
        ("end", {"end": "25:00"}),
        ("part", {"part": "boss"}),
        ("first", {"first": "2026-02-30"}),
        ("last", {"first": "2026-03-02", "last": "2026-03-01"}),
        ("kind", {"kind": "party"}),
        ("member", {"kind": "away", "member": None, "first": "2026-03-02"}),
        ("first", {"kind": "away"}),
        ("last", {"kind": "away", "first": "2026-03-02", "last": f"2027-0{LONGEST % 9 + 1}-01"}),
        ("end", {"kind": "extra", "first": "2026-03-02", "end": None}),
        ("kind", {"kind": "holiday", "first": "2026-03-02"}),
    ],
    ids=str,
)
async def test_what_cannot_be_is_refused_by_its_field_and_changes_nothing(world, coordinator, field, more):
    adult = await world.adult()
    given = {"member": adult.id, "days": WEEKDAYS, "begin": "09:00", "end": "15:00"} | more
    with pytest.raises(BadRota) as refused:
        await world.node.rota.add(coordinator.actor, Wanted(**given))
    assert refused.value.field == field
    shown = await world.node.rota.shown(coordinator.actor)
    assert shown["turns"] == shown["changes"] == []
    assert "rota_turn_added" not in [kind for _, kind, _ in await world.audit()]


async def test_only_adults_of_the_site_who_may_hold_duty_are_on_it(world, coordinator):
    mentor, gone, chair = await world.mentor(), await world.adult(), await world.adult()
    await world.write(lambda tx: tx.members.suspend(gone.id))
    await world.write(lambda tx: tx.rota.set_independents(world.site, [(chair.id, True)]))
    for person in (mentor, gone):
        with pytest.raises(UnknownObject):
            await world.node.rota.add(coordinator.actor, turn(person))
    with pytest.raises(BadRota, match="from outside"):
        await world.node.rota.add(coordinator.actor, turn(chair))
    with pytest.raises(UnknownObject):
        await world.node.rota.remove(coordinator.actor, "trn_none")


async def test_who_is_suspended_is_on_no_rota(world, coordinator):
    adult = await world.adult()
    await world.node.rota.add(coordinator.actor, turn(adult))
    await world.write(lambda tx: tx.members.suspend(adult.id))
    assert (await world.node.rota.shown(coordinator.actor))["expected"] == []


async def test_every_change_is_one_row_of_the_log_before_it(world, coordinator):
    adult, desk = await world.adult(), world.node.rota
    shown = await desk.add(coordinator.actor, turn(adult))
    await desk.add(coordinator.actor, Wanted(kind="holiday", member=None, first="2026-04-06"))
    await desk.remove(coordinator.actor, shown["turns"][0]["id"])
    rows = [row for row in await world.audit() if row[1].startswith("rota_")]
    assert rows == [
        (coordinator.id, "rota_turn_added", adult.id),
        (coordinator.id, "rota_change_added", world.site),
        (coordinator.id, "rota_row_removed", shown["turns"][0]["id"]),
    ]


async def test_there_is_an_end_to_how_many_turns_there_are(world, coordinator):
    adult = await world.adult()

    def body(tx):
        for _ in range(MOST):
            tx.rota.add_turn(world.site, turn_of(turn(adult)))

    await world.write(body)
    with pytest.raises(BadRota, match="too many"):
        await world.node.rota.add(coordinator.actor, turn(adult))


async def test_a_damaged_row_hides_no_other(world, coordinator):
    adult = await world.adult()
    await world.node.rota.add(coordinator.actor, turn(adult))
    await world.node.rota.add(coordinator.actor, turn(adult, "15:00", "16:00"))
    await world.sql("UPDATE rota_turn SET begin = 'soon' WHERE begin = '15:00'")
    shown = await world.node.rota.shown(coordinator.actor)
    assert [t["begin"] for t in shown["turns"]] == ["09:00"]


async def test_a_shift_begins_an_hour_before_the_turn_or_with_the_day(world, coordinator):
    adult = await world.adult()
    rota = await world.read(lambda tx: tx.rota.of(tx.sites.get(world.site)))
    now = world.clock.now
    assert rota.shift_began(adult.id, now) == now.replace(hour=0)
    await world.node.rota.add(coordinator.actor, turn(adult))
    rota = await world.read(lambda tx: tx.rota.of(tx.sites.get(world.site)))
    assert rota.shift_began(adult.id, now) == now.replace(hour=9) - timedelta(hours=1)


async def test_beyond_the_page_the_rota_says_who_is_called_first_and_who_is_deputy(world, coordinator):
    """Nobody has opened a page: who is down for duty is called at once; with nobody there, the deputy."""
    expected, deputy, other = [await world.adult() for _ in range(3)]
    await world.node.rota.add(coordinator.actor, turn(expected))
    await world.node.rota.add(coordinator.actor, turn(deputy, part="deputy"))

    def body(tx):
        for adult in (expected, deputy, other):
            tx.channels.add(
                site=world.site,
                kind=Kind.SMS,
                member=adult.id,
                audience=Audience.ON_DUTY,
                to="+447700900123",
                secret=None,
                name=None,
            )

    async def called():
        rows = await world.sql(
            "SELECT DISTINCT contact_point.member FROM sending"
            " JOIN contact_point ON contact_point.id = sending.contact"
        )
        return {member for (member,) in rows}

    await world.write(body)
    pupil = await world.pupil()
    await pupil.says("flag", conversation=None, urgency="emergency")
    await world.sweep()
    assert await called() == {expected.id, deputy.id}
    world.clock.advance(minutes=5)
    await world.sweep()
    assert await called() == {expected.id, deputy.id, other.id}
