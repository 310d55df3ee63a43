"""A site's own times hold wherever the ladder, the leases and the school day are reckoned."""

from datetime import timedelta

import pytest

from moderation.verdict import Risk
from peerchat import setup
from peerchat.errors import SettingsError

FAST = {
    "immediate_minutes": [0, 1, 3, 4],
    "immediate_repeat_minutes": 2,
    "acknowledgement_minutes": 3,
    "digest_at": "11:00",
    "morning_at": "07:00",
}


@pytest.fixture
async def fast(pair):
    """A pair in a school whose ladder is quicker than the design's."""
    await pair.world.write(lambda tx: setup.set_times(tx, pair.world.site, FAST, by="test"))
    return pair


async def told_at(pair, until):
    """Return in which minutes the alert was told, and its rung then; the adult stays on duty."""
    begun, told = pair.world.clock.now, []
    while pair.world.clock.now - begun <= until:
        if await pair.world.sweep():
            told.append(
                (round((pair.world.clock.now - begun).total_seconds() / 60), (await pair.world.alert()).rung)
            )
        pair.world.clock.advance(seconds=30)
        await pair.adult.says("duty", on=True)
    return told


async def test_rule_09_an_alert_climbs_by_the_sites_ladder(fast):
    await fast.pupil.send(fast.c, "[immediate] x")
    told = await told_at(fast, timedelta(minutes=8))
    assert told == [(0, 0), (1, 1), (3, 2), (4, 3), (6, 3), (8, 3)]


async def test_an_acknowledgement_lapses_after_the_sites_time_and_comes_back_at_its_rung(fast):
    await fast.pupil.send(fast.c, "[immediate] x")
    await told_at(fast, timedelta(minutes=1))
    alert = await fast.world.alert()
    await fast.world.cases.acknowledge(fast.adult.actor, alert.id)
    assert (await fast.world.alert()).lapses_at == fast.world.clock.now + timedelta(minutes=3)
    fast.world.clock.advance(minutes=3)
    assert await fast.world.sweep() == 1
    again = await fast.world.alert()
    assert again.state.unanswered and again.rung == 1
    assert again.next_due_at == fast.world.clock.now + timedelta(minutes=2)  # from its rung: 1 to 3


async def test_rule_09_a_shorter_ladder_brings_forward_what_is_due_later_than_it_can_be(pair):
    """Set while an alert waits: it is told within the new times, not the old."""
    await pair.pupil.send(pair.c, "[high] x")
    await pair.world.sweep()
    pair.world.clock.advance(minutes=5)
    await pair.adult.says("duty", on=True)
    await pair.world.sweep()
    assert (await pair.world.alert()).next_due_at == pair.world.clock.now + timedelta(minutes=10)
    quick = FAST | {"high_minutes": [0, 1, 3, 4], "high_repeat_minutes": 2}
    await pair.world.write(lambda tx: setup.set_times(tx, pair.world.site, quick, by="test"))
    assert await pair.world.sweep() == 1
    assert (await pair.world.alert()).next_due_at <= pair.world.clock.now + timedelta(minutes=2)


async def test_a_concern_is_told_at_the_sites_end_of_the_school_day(fast):
    """It is ten: listed at once, then at eleven, and next morning at seven."""
    await fast.pupil.send(fast.c, "[concern] x")
    await fast.world.sweep()
    due = (await fast.world.alert()).next_due_at
    assert due is not None and (due - fast.world.clock.now) == timedelta(hours=1)
    fast.world.clock.advance(hours=1)
    await fast.world.sweep()
    due = (await fast.world.alert()).next_due_at
    assert due is not None and (due - fast.world.clock.now) == timedelta(hours=20)


async def test_a_damaged_setting_is_the_default_and_stops_nothing(fast):
    await fast.world.sql("""UPDATE site SET times = '{"immediate_minutes": "soon", "phone_minutes": 30}'""")
    site = await fast.world.read(lambda tx: tx.sites.get(fast.world.site))
    assert site.times.ladders[Risk.IMMEDIATE].rungs[1] == timedelta(minutes=2)
    assert site.times.phone_lease == timedelta(minutes=30)
    await fast.pupil.send(fast.c, "[immediate] x")
    assert await told_at(fast, timedelta(minutes=2)) == [(0, 0), (2, 1)]


async def test_changing_the_site_otherwise_keeps_its_times(fast):
    def body(tx):
        with pytest.raises(SettingsError):
            setup.set_times(tx, fast.world.site, {"phone_minutes": 500}, by="test")
        tx.sites.change(tx.sites.get(fast.world.site))

    before = await fast.world.read(lambda tx: tx.sites.get(fast.world.site))
    await fast.world.write(body)
    assert await fast.world.read(lambda tx: tx.sites.get(fast.world.site)) == before
