"""Due rows as leases: who takes over what, which outcome counts, what a wrong clock cannot do."""

from datetime import timedelta

import pytest

from escalation.alert import acknowledged
from escalation.ladder import Step
from moderation.verdict import Risk, Role
from peerchat import setup
from peerchat.cases import CaseStore, InApp
from peerchat.model import new_id
from peerchat.store.alerts import RETRY
from tests.store.test_case_store import get, raised

CHANNEL = InApp.channel


@pytest.fixture
async def site(store):
    return await store.write(lambda tx: setup.add_site(tx, name="School", service_name="Common Room"))


@pytest.fixture
async def other(shop, store):
    """Return another process's store over the same folder."""
    return shop.open(keyring=shop.keyring())


def desk(store) -> CaseStore:
    return CaseStore(store, [CHANNEL])


async def take(store) -> list[Step]:
    return list(await desk(store).take_due(limit=10))


async def outcomes(store) -> list[tuple[str, str | None]]:
    """Return (key, outcome) of every attempt, oldest first; keys by the order they came in."""
    rows = await store.read(
        lambda tx: tx.connection.exec_driver_sql("SELECT key, outcome FROM attempt ORDER BY n").all()
    )
    names: dict[str, str] = {}
    return [(names.setdefault(key, f"key{len(names)}"), outcome) for key, outcome in rows]


async def test_what_a_dead_worker_took_is_taken_over_with_the_same_key(store, other, shop, site):
    """Not before its lease has run out: the first may still be sending."""
    await raised(store, site)
    [first] = await take(store)
    shop.advance(seconds=RETRY.total_seconds() - 1)
    assert await take(other) == []
    shop.advance(seconds=1)
    [again] = await take(other)
    assert again.repeat and again.alert.rung == first.alert.rung
    assert again.attempts[CHANNEL].key == first.attempts[CHANNEL].key
    assert again.attempts[CHANNEL].id != first.attempts[CHANNEL].id
    await desk(other).told(again, channel=CHANNEL, ok=True)
    assert await outcomes(store) == [("key0", None), ("key0", "ok")]
    shop.advance(seconds=60)
    assert await take(store) == []


async def test_a_late_outcome_counts_for_its_own_attempt(store, other, shop, site):
    """A worker that stood still says "failed" after another has told: nobody is told a third time."""
    await raised(store, site)
    [first] = await take(store)
    shop.advance(seconds=30)
    [again] = await take(other)
    await desk(other).told(again, channel=CHANNEL, ok=True)
    await desk(store).told(first, channel=CHANNEL, ok=False)
    assert await outcomes(store) == [("key0", "failed"), ("key0", "ok")]
    shop.advance(seconds=60)
    assert await take(store) == []


async def test_a_late_success_of_an_older_rung_does_not_end_a_newer_telling(store, other, shop, site):
    """The deputy was not reached because the first adult, long ago, was."""
    await raised(store, site)
    [first] = await take(store)
    shop.advance(minutes=2)
    [second] = await take(other)
    assert second.alert.rung == 1 and second.attempts[CHANNEL].key != first.attempts[CHANNEL].key
    await desk(store).told(first, channel=CHANNEL, ok=True)
    shop.advance(seconds=RETRY.total_seconds())
    [third] = await take(store)
    assert third.repeat and third.attempts[CHANNEL].key == second.attempts[CHANNEL].key


async def test_a_late_success_of_the_same_telling_ends_its_repeats(store, other, shop, site):
    await raised(store, site)
    [first] = await take(store)
    shop.advance(seconds=10)
    await take(other)
    await desk(store).told(first, channel=CHANNEL, ok=True)
    shop.advance(seconds=60)
    assert await take(other) == []


async def test_an_outcome_is_recorded_once(store, shop, site):
    await raised(store, site)
    [step] = await take(store)
    for ok in (True, False):
        await desk(store).told(step, channel=CHANNEL, ok=ok)
    assert await outcomes(store) == [("key0", "ok")]


@pytest.mark.parametrize("back", [timedelta(minutes=10), timedelta(hours=3), timedelta(days=400)], ids=str)
@pytest.mark.parametrize("risk", [Risk.HIGH, Risk.IMMEDIATE])
async def test_rule_09_a_clock_that_is_put_back_makes_nobody_wait(store, shop, site, risk, back):
    """Without it an immediate alert would be silent until the clock came there again."""
    alert = await raised(store, site, risk)
    [first] = await take(store)
    await desk(store).told(first, channel=CHANNEL, ok=True)
    shop.advance(minutes=5)
    [second] = await take(store)
    await desk(store).told(second, channel=CHANNEL, ok=True)
    rung = second.alert.rung
    assert rung > 0
    shop.now -= back + timedelta(minutes=20)
    [third] = await take(store)
    assert third.alert.rung == rung, "a rung never falls, and a clock does not raise it"
    found = await get(store, alert)
    assert shop.now < found.next_due_at <= shop.now + timedelta(minutes=15)
    await desk(store).told(third, channel=CHANNEL, ok=True)
    assert await take(store) == []


async def test_rule_09_a_clock_that_is_put_back_does_not_prolong_a_lease(store, shop, site):
    """Taken on by an adult who then did nothing: it lapses after ten minutes of the new clock at most."""
    adult = new_id("mem")
    await store.write(
        lambda tx: tx.members.add(id=adult, site=site, role=Role.ADULT, name="One", username=adult)
    )
    alert = await raised(store, site)
    [step] = await take(store)
    await desk(store).told(step, channel=CHANNEL, ok=True)
    await store.write(lambda tx: tx.alerts.save(acknowledged(tx.alerts.get(alert), by=adult, now=tx.now)))
    shop.now -= timedelta(hours=3)
    assert await take(store) == []
    found = await get(store, alert)
    assert found.holder == adult and found.lapses_at == shop.now + timedelta(minutes=10)
    shop.advance(minutes=10)
    [step] = await take(store)
    assert step.alert.holder is None and step.alert.state.unanswered


async def test_the_lock_is_one_that_postgresql_skips(store):
    """SQLite has one writer and no such clause; elsewhere two workers must not wait for each other."""
    from sqlalchemy.dialects import postgresql, sqlite

    from peerchat.store.alerts import _LOCK

    assert str(_LOCK.compile(dialect=postgresql.dialect())).endswith("FOR UPDATE SKIP LOCKED")
    assert "FOR UPDATE" not in str(_LOCK.compile(dialect=sqlite.dialect()))
