"""The auditor beside the real use cases: nothing is missed where all works, and what is taken away is."""

import pytest

from escalation.auditor import Missing, findings
from moderation.verdict import Role
from peerchat.model import Decision
from peerchat.store import auditing
from tests.peerchat.conftest import Pair
from tests.peerchat.test_rules_review import claimed, decided
from tests.peerchat.world import World


async def missing(world: World) -> list[Missing]:
    """Return what the auditor misses now."""

    def look(tx):
        return findings(auditing.asked(tx, since=None), auditing.standing(tx), now=tx.now)

    return [one.what for one in await world.read(look)]


async def busy(pair: Pair) -> None:
    """Everything that asks for an adult, and much that does not."""
    for who in (pair.pupil, pair.mentor):
        for words in (
            "plain",
            "[hold] unkind",
            "[block] number",
            "[concern] a",
            "[high] b",
            "[immediate][hold] c",
        ):
            await who.send(pair.c, f"{words} of {who.actor.role.value}")
    await pair.mentor.send(pair.c, "[high][about pupil] they said it")
    await pair.pupil.send(pair.c, "[degraded] unread")
    await pair.pupil.says("flag", conversation=pair.c, urgency="concern", note=None)
    other = await pair.world.pupil()
    await other.says("ask", note="[high] please")
    await pair.world.sweep()


async def test_rule_08_it_finds_nothing_where_all_works(pair: Pair) -> None:
    """Every message, every note, a decision to escalate, an alert taken on and one told again."""
    await busy(pair)
    assert await missing(pair.world) == []
    ack = await pair.pupil.send(pair.c, "[hold] unkind once more")
    item = await claimed(pair, pair.moderator, ack["message"])
    assert await decided(pair, pair.moderator, item, Decision.ESCALATE, "unsafe")
    for alert in await pair.world.alerts():
        await pair.world.cases.acknowledge(pair.adult.actor, alert.id)
    await pair.world.sweep()
    assert await missing(pair.world) == []
    pair.world.clock.advance(minutes=11)
    await pair.world.sweep()
    assert await missing(pair.world) == []


@pytest.mark.parametrize("kind", ["raised", "evidence"])
async def test_rule_08_it_finds_what_no_alert_names(pair: Pair, kind: str) -> None:
    """The line that ties a message to its alert is gone: for the auditor nobody was asked."""
    await busy(pair)
    gone = await pair.world.sql(
        f"SELECT id FROM alert_event WHERE kind = '{kind}' AND message IS NOT NULL ORDER BY n LIMIT 1"
    )
    for table, name in (("case_evidence", "event"), ("alert_event", "id")):
        await pair.world.sql(f"DELETE FROM {table} WHERE {name} = '{gone[0][0]}'")
    assert await missing(pair.world) == [Missing.ALERT]


async def test_rule_09_it_finds_an_alert_that_nobody_was_told_of(pair: Pair) -> None:
    await pair.pupil.send(pair.c, "[high] b")
    pair.world.clock.advance(seconds=11)
    assert sorted(await missing(pair.world)) == [Missing.ATTEMPT, Missing.LATE]
    await pair.world.sweep()
    assert await missing(pair.world) == []


def test_roles_of_those_who_chat() -> None:
    """Whose risk a verdict may be: the two of a pair."""
    assert set(auditing.CHATTING) == {Role.PUPIL.value, Role.MENTOR.value}


async def test_rule_09_it_knows_a_schools_own_times(pair: Pair) -> None:
    """Damaged, they are the defaults: the auditor is never blind."""
    await pair.world.sql("UPDATE site SET times = '{\"high_repeat_minutes\": 60}'")
    await pair.pupil.send(pair.c, "[high] b")
    pair.world.clock.advance(minutes=30)
    await pair.world.sweep()
    assert await missing(pair.world) == []
    await pair.world.sql("UPDATE site SET hours = 'not json'")
    assert await missing(pair.world) == [Missing.DUE]
