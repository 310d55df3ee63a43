"""Drills: the real ladder, marked as practice, about nobody; what they report, and how they end."""

import json
from typing import Any

import pytest

from escalation.alert import PRACTICE_LASTS, AlertState
from moderation.verdict import Risk
from peerchat.drills import Drills
from peerchat.errors import CaseError, Forbidden, UnknownObject
from tests.peerchat.world import World
from web.cli import main


@pytest.fixture
def drills(world: World) -> Drills:
    return Drills(world.store, alerted=world.desk.wake)


async def coordinator(world):
    from moderation.verdict import Role

    return await world.member(Role.COORDINATOR)


async def climb(world, *, minutes: int) -> None:
    for _ in range(minutes * 6):
        await world.sweep()
        world.clock.advance(seconds=10)


async def test_it_climbs_the_real_ladder_and_reports_each_rung(world, drills):
    head, adult = await coordinator(world), await world.adult(duty=True)
    started = await drills.start(head.actor)
    assert started["rungs"] == [] and started["started_by"] == head.actor.name
    await climb(world, minutes=6)
    await world.cases.acknowledge(adult.actor, started["id"])
    await climb(world, minutes=6)
    [found] = await drills.listed(head.actor)
    assert [(r["rung"], r["due_s"], r["told_s"]) for r in found["rungs"]] == [
        (0, 0, 0),
        (1, 120, 120),
        (2, 300, 300),
    ]
    assert found["rungs"][0]["channels"] == [{"channel": "in_app", "tries": 1, "outcome": "ok"}]
    assert (found["taken_by"], found["taken_s"]) == (adult.actor.name, 360)
    told = [f["alert"]["labels"] for f in adult.of("alert")]
    assert told and all(labels == ["practice"] for labels in told), "it never looks like a real one"


async def test_one_signature_closes_it_and_it_is_no_number(world, drills):
    adult = await world.adult(duty=True)
    drill = (await drills.start(adult.actor))["id"]
    await world.sweep()
    await world.cases.acknowledge(adult.actor, drill)
    _, done = await world.cases.close(
        adult.actor, drill, outcome="practice", rationale="we practised", version=None
    )
    assert done
    begin = world.clock.now.replace(hour=0)
    counted = await world.read(
        lambda tx: tx.figures.counts(world.site, begin, world.clock.now.replace(hour=23), reader=adult.id)
    )
    assert counted["alerts"] == 0


async def test_it_ends_by_itself_and_a_real_one_does_not(world, drills):
    head, pupil = await coordinator(world), await world.pupil()
    await pupil.says("flag", urgency="emergency")
    await drills.start(head.actor)
    await climb(world, minutes=int(PRACTICE_LASTS.total_seconds() // 60) + 6)
    states = {a.practice: a.state for a in await world.alerts()}
    assert states == {True: AlertState.CLOSED, False: AlertState.NOTIFYING}
    [found] = await drills.listed(head.actor)
    assert found["ended_at"] is not None and found["taken_by"] is None
    assert [r["rung"] for r in found["rungs"]] == [0, 1, 2, 3]


async def test_one_at_a_time_ended_by_hand_and_logged(world, drills):
    head, adult = await coordinator(world), await world.adult()
    first = await drills.start(head.actor, risk=Risk.HIGH)
    with pytest.raises(CaseError):
        await drills.start(adult.actor)
    assert (await drills.end(adult.actor, first["id"]))["state"] == "closed"
    assert (await drills.end(adult.actor, first["id"]))["state"] == "closed"
    world.clock.advance(seconds=1)
    second = await drills.start(adult.actor)
    assert [d["id"] for d in await drills.listed(head.actor)] == [second["id"], first["id"]]
    kinds = [(a, k, o) for a, k, o in await world.audit() if k.startswith("drill")]
    assert kinds == [
        (head.id, "drill_started", first["id"]),
        (adult.id, "drill_ended", first["id"]),
        (adult.id, "drill_started", second["id"]),
    ]


async def test_a_real_alert_is_never_ended_as_a_drill(world, drills):
    head, pupil = await coordinator(world), await world.pupil()
    await pupil.says("flag", urgency="emergency")
    [alert] = await world.alerts()
    for id in (alert.id, "alr_none"):
        with pytest.raises(UnknownObject):
            await drills.end(head.actor, id)
    assert (await world.alert()).state is not AlertState.CLOSED


async def test_who_is_signed_out_starts_nothing(world, drills):
    head = await coordinator(world)
    await world.sql(f"UPDATE session_token SET revoked_at = created_at WHERE id = '{head.actor.token}'")
    with pytest.raises(Forbidden):
        await drills.start(head.actor)
    assert await world.alerts() == []


def test_the_command_line_starts_reports_and_ends(tmp_path, capsys):
    """Beside a server or without one: what it writes is for whichever desk looks next."""
    config = tmp_path / "settings.toml"
    config.write_text(f'data = "{tmp_path}/data"\n')

    def run(*words: str) -> tuple[int, Any]:
        status = main(["drill", *words, "--config", str(config)])
        out = capsys.readouterr().out
        return status, json.loads(out) if out else None

    assert run("--no-wait") == (2, None)
    assert main(["site", "create", "--name", "School", "--config", str(config)]) == 0
    capsys.readouterr()
    assert run("--last") == (0, [])
    status, begun = run("--no-wait", "--risk", "high")
    assert (status, begun["risk"], begun["started_by"]) == (0, "high", "The command line")
    assert run("--no-wait") == (2, None), "one at a time"
    status, [ended] = run("--end")
    assert (status, ended["id"], ended["state"]) == (0, begun["id"], "closed")
    assert run("--end") == (0, [])
    assert [each["id"] for each in run("--last")[1]] == [begun["id"]]


@pytest.mark.parametrize("step", ["acknowledge", "act"])
async def test_one_that_somebody_has_ends_by_itself_too_and_holds_nobody_on_duty(world, drills, step):
    adult = await world.adult(duty=True)
    drill = (await drills.start(adult.actor))["id"]
    await climb(world, minutes=1)
    await world.cases.acknowledge(adult.actor, drill)
    if step == "act":
        await world.cases.act(adult.actor, drill, "spoke with pupil", None)
    held = await world.read(lambda tx: (tx.alerts.held_by(adult.id), tx.alerts.held_alerts(adult.id)))
    assert held == (0, [])
    await climb(world, minutes=28)
    assert (await world.alert()).state is not AlertState.CLOSED
    known = len(adult.of("alert"))
    await climb(world, minutes=2)
    assert (await world.alert()).state is AlertState.CLOSED
    assert [f["change"] for f in adult.of("alert")[known:]] == ["closed"]
    assert await world.read(lambda tx: tx.alerts.next_due()) is None


async def test_a_slow_ladder_does_not_keep_it_open(world, drills):
    head = await coordinator(world)
    await world.adult(duty=True)
    await world.sql("""UPDATE site SET times = '{"high_minutes": [0, 5, 15, 120]}'""")
    await drills.start(head.actor, risk=Risk.HIGH)
    await climb(world, minutes=31)
    assert (await world.alert()).state is AlertState.CLOSED


async def test_a_damaged_one_is_told_and_keeps_the_desk_from_nothing(world, drills):
    head, pupil = await coordinator(world), await world.pupil()
    await drills.start(head.actor)
    await world.sweep()
    await world.sql("UPDATE alert SET about_role = 'nonsense', next_due_at = NULL, untold_since = NULL")
    world.clock.advance(minutes=31)
    await pupil.says("flag", urgency="emergency")
    assert await world.sweep() == 2
    assert await world.sweep() == 0
