"""The watchdog on a real store: it calls while all is well, and is silent whatever is wrong."""

import pytest

from escalation.auditor import Missing
from escalation.desk import Desk
from moderation.verdict import Risk
from peerchat.cases import CaseStore, InApp
from peerchat.channels.contact import Kind
from peerchat.channels.watchdog import Watchdog
from peerchat.model import new_id


@pytest.fixture
def desk(staff) -> Desk:
    return Desk(CaseStore(staff.store, [InApp.channel]), [staff.pages], clock=lambda: staff.shop.now)


@pytest.fixture
def watchdog(staff, desk) -> Watchdog:
    return Watchdog(staff.store, desk, url=f"{staff.hooks.url}/alive", clock=lambda: staff.shop.now)


async def test_it_calls_while_nothing_is_missing(staff, desk, watchdog) -> None:
    """An alert that is told in time is as it should be."""
    await staff.raised()
    await desk.sweep()
    assert await watchdog.look()
    [hook] = staff.hooks.hooks
    assert (hook.method, hook.path, hook.body) == ("GET", "/alive", b"")
    assert watchdog.called and watchdog.missing == {}
    assert all(each["ok"] for each in watchdog.health())


async def test_it_is_silent_while_an_alert_is_late(staff, desk, watchdog) -> None:
    """The desk looks, and its takings go nowhere: rule 9 broken, whatever the desk says of itself."""
    await staff.raised()
    await desk.sweep()
    staff.shop.advance(minutes=2, seconds=11)
    desk.last_sweep_at = staff.shop.now
    assert not await watchdog.look()
    assert watchdog.missing[Missing.LATE] == 1
    assert not watchdog.health()[0]["ok"]
    await desk.sweep()
    assert await watchdog.look()
    assert len(staff.hooks.hooks) == 1


async def test_it_is_silent_while_the_desk_sleeps(staff, desk, watchdog) -> None:
    await desk.sweep()
    staff.shop.advance(seconds=31)
    assert not await watchdog.look()
    assert staff.hooks.hooks == []


async def test_it_is_silent_while_nothing_can_be_saved(staff, desk, watchdog) -> None:
    await desk.sweep()
    staff.store.failing = True
    assert not await watchdog.look()
    assert staff.hooks.hooks == []


async def test_rule_08_it_is_silent_while_an_alert_that_should_exist_does_not(staff, desk, watchdog) -> None:
    """A ticket's note, and a message's verdict, whose alert is gone."""

    def body(tx):
        pupil = new_id("mem")
        sql = tx.connection.exec_driver_sql
        sql(
            "INSERT INTO member (id, site, role, created_at) VALUES (?, ?, 'pupil', '2026-03-02 09:00:00')",
            (pupil, staff.site),
        )
        sql(
            "INSERT INTO ticket (id, site, pupil, topics, wishes, risk, state, asked_at)"
            " VALUES ('tic', ?, ?, '[]', '{}', 2, 'waiting', '2026-03-02 10:00:00')",
            (staff.site, pupil),
        )
        sql(
            "INSERT INTO conversation (id, site, kind, state, topics, last_seq, started_at)"
            " VALUES ('con', ?, 'one_to_one', 'open', '[]', 0, '2026-03-02 10:00:00')",
            (staff.site,),
        )
        sql(
            "INSERT INTO message"
            " (id, n, conversation, sender, client_id, once, body, body_mac, status, created_at)"
            " VALUES ('msg', 1, 'con', ?, 'c', x'00', x'00', x'00', 'held', '2026-03-02 10:00:00')",
            (pupil,),
        )
        sql(
            "INSERT INTO verdict (message, body_mac, action, risk, reason, labels, signals, degraded,"
            " policy_version, counted, at)"
            " VALUES ('msg', x'00', 1, 3, '', '[]', '[]', '[]', '1', 0, '2026-03-02 10:00:00')"
        )

    await staff.store.write(body)
    await desk.sweep()
    assert not await watchdog.look()
    assert watchdog.missing[Missing.ALERT] == 2
    assert staff.hooks.hooks == []


@pytest.mark.parametrize("column", ["state", "risk", "next_due_at"])
async def test_a_damaged_row_does_not_blind_it(staff, desk, watchdog, column) -> None:
    """It looks at the rows as they lie there; what is unreadable is told on, and not passed over."""
    await staff.raised(Risk.HIGH)
    await desk.sweep()
    await staff.store.write(
        lambda tx: tx.connection.exec_driver_sql(
            f"UPDATE alert SET {column} = 'rubbish', untold_since = NULL"
        )
    )
    await watchdog.look()
    assert watchdog.looked_at == staff.shop.now


async def test_one_who_cannot_see_does_not_say_that_all_is_well(staff, desk, watchdog, monkeypatch) -> None:
    """Whatever broke: no call, and staff are told; the next look that works ends it."""
    await desk.sweep()

    def broken(*_args, **_more):
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr("peerchat.store.auditing.standing", broken)
        assert not await watchdog.look()
    assert staff.hooks.hooks == [] and not watchdog.health()[0]["ok"]
    assert await watchdog.look() and watchdog.health()[0]["ok"]


async def test_an_address_that_does_not_answer_is_said(staff, desk, watchdog) -> None:
    await desk.sweep()
    staff.hooks.statuses = [500]
    assert await watchdog.look()
    assert watchdog.called is False
    assert [each["ok"] for each in watchdog.health()] == [True, False]


async def test_it_looks_by_itself(staff, desk) -> None:
    """Beside the node, until it is told to stop."""
    import asyncio

    from peerchat.channels.watchdog import watching

    await desk.sweep()
    arrived = staff.hooks.arrived
    dog = Watchdog(
        staff.store,
        desk,
        url=staff.hooks.url,
        clock=lambda: staff.shop.now,
        every_s=0.01,
        first_after_s=0.0,
    )
    async with watching(dog):
        for _ in range(3):
            await asyncio.wait_for(arrived.wait(), 10)
            arrived = staff.hooks.arrived


async def test_what_metrics_say(staff, desk, watchdog) -> None:
    """Tries by kind and outcome, what is missing, and whether the watchdog called: counts alone."""
    from prometheus_client import CollectorRegistry, generate_latest

    from web.beyond import Beyond

    registry = CollectorRegistry()
    registry.register(Beyond(list(staff.outside.values()), watchdog))
    await staff.contact(Kind.WEBHOOK, f"{staff.hooks.url}/hook")
    staff.hooks.statuses = [500]
    alert = await staff.raised()
    await staff.desk.sweep()
    staff.shop.advance(seconds=2)
    assert await staff.outside[Kind.WEBHOOK].again() == 1
    await desk.sweep()
    await watchdog.look()
    shown = generate_latest(registry).decode()
    for line in (
        'peerchat_sends_total{kind="webhook",outcome="ok"} 1.0',
        'peerchat_sends_total{kind="webhook",outcome="failed"} 1.0',
        'peerchat_auditor_missing{what="late"} 0.0',
        "peerchat_watchdog_called 1.0",
    ):
        assert line in shown
    assert alert not in shown and staff.hooks.url not in shown
