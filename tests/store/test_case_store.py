"""The desk over the real store: two workers, and power cuts between the commit and the telling.

One seed decides everything. A failure prints it; PEERCHAT_SIM_SEED=<seed> plays it again.
"""

import asyncio
import os
import random
import secrets
from datetime import timedelta

import pytest

from escalation.alert import AlertState, Concern, acknowledged
from escalation.desk import Desk
from escalation.ladder import Step
from moderation.verdict import Risk, Role
from peerchat import setup
from peerchat.cases import CaseStore, InApp
from peerchat.model import new_id

OVERDUE = timedelta(seconds=10)


class Cut(BaseException):
    """The process ends here."""


class Told:
    """The in-app channel's place; it may be cut off before anything went out, fail, or refuse."""

    channel = InApp.channel

    def __init__(self, shop, *, rng=None, cut=0.0, fails=0.0):
        self.shop = shop
        self.rng = rng or random.Random(0)
        self.cut = cut
        self.fails = fails
        self.sent: list[tuple[float, Step]] = []

    async def notify(self, step: Step) -> bool:
        chance = self.rng.random()
        if chance < self.cut:
            raise Cut
        if chance < self.cut + self.fails:
            if self.rng.random() < 0.5:
                raise OSError("no line")
            return False
        self.sent.append((self.shop.now.timestamp(), step))
        return True

    def of(self, alert: str) -> list[Step]:
        return [step for _, step in self.sent if step.alert.id == alert]


@pytest.fixture
async def site(store):
    return await store.write(lambda tx: setup.add_site(tx, name="School", service_name="Common Room"))


@pytest.fixture
async def adult(store, site):
    id = new_id("mem")
    await store.write(lambda tx: tx.members.add(id=id, site=site, role=Role.ADULT, name="One", username=id))
    return id


async def raised(store, site, risk=Risk.IMMEDIATE):
    """Raise an alert about a new pupil; return its id."""

    def body(tx):
        pupil = new_id("mem")
        tx.members.add(id=pupil, site=site, role=Role.PUPIL, code_index=secrets.token_bytes(32))
        concern = Concern(about=pupil, about_role=Role.PUPIL, risk=risk, labels=("self_harm",))
        alert, _ = tx.alerts.raise_or_fold(concern, site=site, conversation=None, message=None, by=None)
        return alert.id

    return await store.write(body)


def desk(shop, store, told):
    return Desk(CaseStore(store, [InApp.channel]), [told], clock=lambda: shop.now)


async def look(desk):
    """Sweep until nothing is due; return whether it came through."""
    try:
        while await desk.sweep():
            pass
    except Cut:
        return False
    return True


async def get(store, alert):
    return await store.read(lambda tx: tx.alerts.get(alert))


async def test_the_attempt_is_there_before_it_is_sent_and_its_outcome_after(store, shop, site):
    """A row with an unknown outcome, committed; then what became of it."""
    alert = await raised(store, site)
    seen: list[tuple[object, ...]] = []

    class Looking(Told):
        async def notify(self, step):
            rows = await store.read(
                lambda tx: tx.connection.exec_driver_sql("SELECT alert, rung, outcome FROM attempt").all()
            )
            seen.extend(tuple(r) for r in rows)
            return await super().notify(step)

    assert await look(desk(shop, store, Looking(shop)))
    assert seen == [(alert, 0, None)]
    rows = await store.read(lambda tx: tx.connection.exec_driver_sql("SELECT outcome FROM attempt").all())
    assert [r[0] for r in rows] == ["ok"]


async def test_rule_09_a_telling_that_was_cut_off_is_repeated(store, shop, site):
    """Cut between the commit and the send, then started again: told within ten seconds, at that rung."""
    alert = await raised(store, site)
    assert not await look(desk(shop, store, Told(shop, cut=1.0)))
    store.close()
    again = shop.open()
    told = Told(shop)
    worker = desk(shop, again, told)
    shop.advance(seconds=OVERDUE.total_seconds())
    await look(worker)
    [step] = told.of(alert)
    assert step.alert.rung == 0 and step.first
    shop.advance(seconds=60)
    await look(worker)
    assert len(told.of(alert)) == 1  # once it went out, the next is the next rung's


@pytest.mark.parametrize("risk", [Risk.CONCERN, Risk.HIGH, Risk.IMMEDIATE])
async def test_rule_09_a_telling_that_failed_is_tried_again(store, shop, site, risk):
    """Nobody was reached: it is not left until the next rung."""
    alert = await raised(store, site, risk)
    await look(desk(shop, store, Told(shop, fails=1.0)))
    told = Told(shop)
    worker = desk(shop, store, told)
    for _ in range(6):
        shop.advance(seconds=2)
        await look(worker)
    assert len(told.of(alert)) == 1 and told.of(alert)[0].first


async def test_one_channel_that_went_out_ends_the_retrying(store, shop, site):
    """Another that is down stays down; the people who were told are not told again before the next rung."""
    alert = await raised(store, site)
    told = Told(shop)

    class Down(Told):
        channel = "sms"

        async def notify(self, step: Step) -> bool:
            await asyncio.sleep(0.01)  # it answers last
            return False

    worker = Desk(CaseStore(store, ["in_app", "sms"]), [told, Down(shop)], clock=lambda: shop.now)
    for _ in range(10 * 60 // 4):
        await look(worker)
        shop.advance(seconds=4)
    assert [s.alert.rung for s in told.of(alert)] == [0, 1, 2]


async def test_two_workers_never_take_the_same_telling(store, shop, site):
    """Over one database, each with a connection of its own."""
    other = shop.open(keyring=shop.keyring())
    alerts = [await raised(store, site) for _ in range(20)]
    first, second = Told(shop), Told(shop)
    workers = [desk(shop, store, first), desk(shop, other, second)]
    for _ in range(12):
        shop.advance(seconds=30)
        for worker in workers:
            await look(worker)
    for alert in alerts:
        rungs = [s.alert.rung for s in (*first.of(alert), *second.of(alert))]
        assert sorted(rungs) == [0, 1, 2]
    assert not second.sent or not first.sent or len(first.sent) + len(second.sent) == 60


async def test_rule_10_an_acknowledgement_that_lapsed_goes_on(store, shop, site, adult):
    """The same worker finds it, writes the lapse into the case, and tells at the rung it had."""
    alert = await raised(store, site)
    told = Told(shop)
    worker = desk(shop, store, told)
    await look(worker)
    shop.advance(minutes=2)
    await look(worker)
    await store.write(lambda tx: tx.alerts.save(acknowledged(tx.alerts.get(alert), by=adult, now=tx.now)))
    shop.advance(minutes=10)
    await look(worker)
    assert [s.alert.rung for s in told.of(alert)] == [0, 1, 1]
    kinds = [e.kind for e in await store.read(lambda tx: tx.alerts.chronology(alert))]
    assert kinds == ["raised", "told", "told", "lapsed", "told"]


def seeds() -> list[int]:
    """Return a new seed, or the one that was asked for."""
    return [int(os.environ.get("PEERCHAT_SIM_SEED") or secrets.randbelow(2**32))]


@pytest.mark.parametrize("seed", seeds(), ids=["seed"])
async def test_rule_09_none_is_lost_none_forgotten_none_long_overdue(store, shop, site, adult, seed):
    """Alerts come, two workers look every few seconds, and are cut off now and then."""
    rng = random.Random(seed)
    told = Told(shop, rng=rng, cut=0.02, fails=0.1)
    stores = [store, shop.open(keyring=shop.keyring())]
    workers = [desk(shop, s, told) for s in stores]
    away = [0, 0]
    alerts: dict[str, float] = {}
    recovered = shop.now
    try:
        for _ in range(600):
            shop.advance(seconds=2)
            if rng.random() < 0.12:
                alert = await raised(stores[0], site, rng.choice([Risk.HIGH, Risk.IMMEDIATE]))
                alerts[alert] = shop.now.timestamp()
            if alerts and rng.random() < 0.05:
                await take(stores[0], rng.choice(list(alerts)), adult)
            if all(away):
                recovered = shop.now
            for n in (0, 1):
                if away[n]:
                    away[n] -= 1
                elif not await look(workers[n]):
                    away[n] = rng.randrange(1, 20)
                    workers[n] = desk(shop, stores[n], told)
            due = await stores[1].read(lambda tx: tx.alerts.next_due())
            if not all(away) and due is not None:
                assert shop.now - max(due, recovered) <= OVERDUE
        for _ in range(40):
            told.cut = told.fails = 0.0
            shop.advance(seconds=2)
            await look(desk(shop, stores[0], told))
        for alert, since in alerts.items():
            found = await get(stores[0], alert)
            assert found is not None, "lost"
            if found.state.unanswered:
                assert found.next_due_at is not None and found.next_due_at > shop.now, "forgotten"
                assert told.of(alert), "never told"
            elif not told.of(alert):
                assert found.state is not AlertState.OPEN and since
    except BaseException:
        print(f"\nplay it again: PEERCHAT_SIM_SEED={seed}")
        raise
    assert len(alerts) > 30


async def take(store, alert, adult):
    """Let the adult take an alert on, if nobody has."""

    def body(tx):
        found = tx.alerts.get(alert)
        if found.state.unanswered:
            tx.alerts.save(acknowledged(found, by=adult, now=tx.now))

    await store.write(body)
