"""Rule 9 where a row of an alert is damaged: it is shown as what it is, told on, and hides no other.

Nothing a person could want of such an alert may fail: to see it, open it, take it on and close it.
"""

import pytest

from escalation.alert import AlertState
from moderation.verdict import Risk
from peerchat.store.alerts import AGAIN, UNREADABLE

DAMAGE = {
    "about_role": "'nonsense'",
    "state": "'nonsense'",
    "risk": "77",
    "rung": "'nonsense'",
    "labels": "'not json'",
    "opened_at": "'nonsense'",
    "notifying_since": "''",
}
MOMENTS = {"next_due_at": ("'nonsense'", "''"), "untold_since": ("'nonsense'", "''")}
"""These are put right by the next telling; until then nobody could say when that is due."""


async def damage(pair, column, value):
    """Raise an alert about the pupil, spoil one column of it, and raise another; return both ids."""
    await pair.pupil.send(pair.c, "[high] x")
    await pair.world.sweep()
    broken = (await pair.world.alert()).id
    await pair.world.sql(f"UPDATE alert SET {column} = {value}")
    other = (await pair.mentor.says("flag", urgency="concern"))["alert"]
    return broken, other


async def listed(pair, *states):
    rows, _ = await pair.world.cases.listed(pair.adult.actor, list(states or AlertState), limit=50, offset=0)
    return {row["id"]: row for row in rows}


@pytest.mark.parametrize("column", DAMAGE)
async def test_rule_09_a_damaged_alert_is_shown_and_told_and_hides_no_other(pair, column):
    broken, other = await damage(pair, column, DAMAGE[column])
    shown = await listed(pair, *(state for state in AlertState if state is not AlertState.CLOSED))
    assert set(shown) == {broken, other}
    assert (shown[broken]["labels"], shown[broken]["risk"]) == ([UNREADABLE], "immediate")
    for _ in range(2):
        known = len(pair.adult.of("alert"))
        await pair.world.later(pair.adult, seconds=5 * 60 + AGAIN.total_seconds())
        await pair.world.sweep()
        told = [f["alert"]["id"] for f in pair.adult.of("alert")[known:]]
        assert broken in told
    assert await pair.world.read(lambda tx: tx.alerts.unreadable(pair.world.site)) == 1


@pytest.mark.parametrize(("column", "value"), [(c, v) for c, vs in MOMENTS.items() for v in vs])
async def test_rule_09_an_alert_of_which_nobody_can_say_when_it_is_due_is_due_now(pair, column, value):
    broken, other = await damage(pair, column, value)
    known = len(pair.adult.of("alert"))
    assert await pair.world.sweep() >= 2
    assert {f["alert"]["id"] for f in pair.adult.of("alert")[known:]} == {broken, other}
    await pair.world.later(pair.adult, minutes=6)
    await pair.world.sweep()
    alerts = await pair.world.read(lambda tx: [tx.alerts.get(broken), tx.alerts.get(other)])
    assert [alert.next_due_at > pair.world.clock.now for alert in alerts] == [True, True]
    assert await pair.world.read(lambda tx: tx.alerts.unreadable(pair.world.site)) == 0


@pytest.mark.parametrize("column", DAMAGE)
async def test_rule_11_a_damaged_alert_can_be_opened_taken_on_and_closed(pair, column):
    """As what it may be at worst: immediate, so two adults sign."""
    broken, _ = await damage(pair, column, DAMAGE[column])
    second = await pair.world.adult()
    case = await pair.world.cases.shown(pair.adult.actor, broken)
    assert (case["labels"], case["risk"]) == ([UNREADABLE], "immediate")
    assert any(line["evidence"] for line in case["excerpt"])
    await pair.world.cases.acknowledge(pair.adult.actor, broken)
    taken = await pair.world.read(lambda tx: tx.alerts.get(broken))
    assert (taken.state, taken.holder, taken.risk) == (AlertState.ACKNOWLEDGED, pair.adult.id, Risk.IMMEDIATE)
    for adult in (pair.adult, second):
        await pair.world.cases.close(
            adult.actor, broken, outcome="safe, support agreed", rationale="spoke", version=None
        )
    assert (await pair.world.read(lambda tx: tx.alerts.get(broken))).state is AlertState.CLOSED


@pytest.mark.parametrize("column", DAMAGE)
async def test_rule_08_a_damaged_alert_swallows_nothing_and_stops_nobody(pair, column):
    """What comes next about the same pupil opens an alert of its own; lines open, chats end."""
    broken, other = await damage(pair, column, DAMAGE[column])
    assert (await pair.pupil.send(pair.c, "[high] y"))["type"] == "ack"
    fresh = set(await listed(pair)) - {broken, other}
    assert len(fresh) == 1
    for person in (pair.pupil, pair.mentor, pair.adult):
        assert (await person.again())[0]["type"] == "welcome"
    await pair.world.round()
    assert (await pair.pupil.says("leave", conversation=pair.c))["type"] == "done"


async def test_a_damaged_alert_about_a_mentor_stays_unknown_to_them(pair):
    """What cannot be read is taken for the more discreet thing."""
    await pair.mentor.send(pair.c, "[immediate] x")
    await pair.world.sql("UPDATE alert SET about_role = 'nonsense', discreet = 0")
    await pair.world.later(pair.adult, minutes=3)
    await pair.world.sweep()
    await pair.world.cases.acknowledge(pair.adult.actor, (await pair.world.sql("SELECT id FROM alert"))[0][0])
    for person in (pair.pupil, pair.mentor):
        await person.again()
        assert person.of("help", "alert") == []


async def test_a_damaged_line_of_a_case_hides_no_other(pair):
    await pair.pupil.send(pair.c, "[high] x")
    await pair.world.sweep()
    alert = (await pair.world.alert()).id
    await pair.world.cases.note(pair.adult.actor, alert, "rang home")
    await pair.world.sql("UPDATE alert_event SET data = 'not json' WHERE kind = 'told'")
    lines = (await pair.world.cases.shown(pair.adult.actor, alert))["chronology"]
    assert [line["what"] for line in lines] == ["raised", "unreadable", "note"]


@pytest.mark.parametrize(
    "spoil",
    [
        "UPDATE conversation SET state = 'xx'",
        "UPDATE site SET hours = 'not json'",
        "UPDATE site SET services = '[1]'",
    ],
)
async def test_rule_09_a_damaged_row_beside_an_alert_keeps_no_alert_from_climbing(pair, spoil):
    """What pupil and mentor are told, and a school's own times, come after the adults' telling."""
    await pair.pupil.send(pair.c, "[immediate] x")
    other = await pair.world.pupil()
    await other.says("flag", urgency="emergency")
    await pair.world.sweep()
    await pair.world.sql(spoil)
    for minutes in (2, 3, 5):
        known = len(pair.adult.of("alert"))
        pair.world.clock.advance(minutes=minutes)
        await pair.world.sweep()
        told = {f["alert"]["id"] for f in pair.adult.of("alert")[known:]}
        assert told == {alert.id for alert in await pair.world.alerts()} and len(told) == 2
    assert [alert.rung for alert in await pair.world.alerts()] == [3, 3]
