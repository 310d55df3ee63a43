"""Alerts beyond the page, through the desk, to real receivers: what is written, who is told, what leaves."""

import asyncio
import json
from datetime import time

import pytest

from escalation.ladder import Audience
from escalation.rota import Hours, Part, Turn
from moderation.verdict import Risk, Role
from peerchat.channels import signing
from peerchat.channels.contact import Kind
from peerchat.channels.senders import Outcome
from tests.channels.conftest import LINK, SECRET


async def test_an_immediate_alert_goes_out_by_every_channel_at_once(staff):
    """Email, text message, call, pager: one attempt for each kind, one sending for each contact point."""
    ada = await staff.adult(duty=True)
    await staff.contact(Kind.EMAIL, "ada@school.example", member=ada)
    await staff.contact(Kind.SMS, "+441632960123", member=ada)
    await staff.contact(Kind.VOICE, "+441632960123", member=ada)
    await staff.contact(Kind.WEBHOOK, f"{staff.hooks.url}/hook")
    await staff.raised()
    await staff.desk.sweep()
    assert staff.to() == ["ada@school.example"]
    assert sorted(h.path for h in staff.hooks.hooks) == ["/call/+441632960123", "/hook", "/sms/+441632960123"]
    assert await staff.outcomes() == {
        "in_app": "failed", "email": "ok", "sms": "ok", "voice": "ok", "webhook": "ok",
    }  # fmt: skip
    assert await staff.sql("SELECT outcome, tries FROM sending") == [("ok", 1)] * 4


async def test_nothing_that_leaves_says_what_or_who(staff):
    """No text, name, label, severity or id: the same words for every alert, and the sign-in page."""
    ada = await staff.adult(duty=True)
    await staff.contact(Kind.EMAIL, "ada@school.example", member=ada)
    await staff.contact(Kind.VOICE, "+441632960123", member=ada)
    await staff.contact(Kind.WEBHOOK, f"{staff.hooks.url}/hook")
    alert = await staff.raised()
    await staff.desk.sweep()
    [found] = staff.mail.mails
    assert found.message["Subject"] == "A safeguarding alert needs you"
    plain = found.message.get_body(("plain", "html"))
    assert plain is not None and LINK in plain.get_content()
    [hook] = [h for h in staff.hooks.hooks if h.path == "/hook"]
    assert json.loads(hook.body) == {
        "version": 1, "type": "alert", "text": "A safeguarding alert needs you", "link": LINK,
    }  # fmt: skip
    [call] = [h for h in staff.hooks.hooks if h.path.startswith("/call/")]
    assert LINK.encode() not in call.body
    [(about, conversation)] = await staff.sql("SELECT about, conversation FROM alert")
    assert conversation is None
    secret = [alert, about, ada, staff.site, "Ashdown", "Name of", "self_harm", "self harm", "immediate"]
    for raw in (found.raw, hook.body, call.body, *(str(h.headers).encode() for h in staff.hooks.hooks)):
        for word in secret:
            assert word.encode() not in raw


async def test_the_rows_are_there_before_anything_is_sent(staff):
    """The attempt and the sending are committed, their outcome open, when the receiver hears of it."""
    await staff.contact(Kind.WEBHOOK, staff.hooks.url)
    seen = asyncio.Event()
    rows: list[tuple[object, ...]] = []
    staff.hooks.hangs = True
    await staff.raised()
    arrived = staff.hooks.arrived
    sweep = asyncio.create_task(staff.desk.sweep())
    await asyncio.wait_for(arrived.wait(), 10)
    rows = await staff.sql(
        "SELECT attempt.channel, attempt.outcome, sending.outcome, sending.tries, sending.key = attempt.key"
        " FROM sending JOIN attempt ON attempt.id = sending.attempt"
    )
    assert rows == [("webhook", None, None, 1, 1)]
    [hook] = staff.hooks.hooks
    [(key,)] = await staff.sql("SELECT key FROM attempt WHERE channel = 'webhook'")
    assert hook.headers["idempotency-key"] == hook.headers["x-peerchat-id"] == key
    sweep.cancel()
    await asyncio.gather(sweep, return_exceptions=True)
    assert not seen.is_set()


async def test_a_webhook_is_signed_over_time_id_and_body(staff):
    """What we send is what a receiver's check lets pass, and nothing else is."""
    await staff.contact(Kind.WEBHOOK, staff.hooks.url)
    await staff.raised()
    await staff.desk.sweep()
    [hook] = staff.hooks.hooks
    now = staff.shop.now.timestamp()
    assert signing.genuine(SECRET, hook.headers, hook.body, now=now)
    assert not signing.genuine(SECRET, hook.headers, hook.body + b" ", now=now)
    assert not signing.genuine(SECRET, hook.headers | {"x-peerchat-id": "att_other"}, hook.body, now=now)
    assert not signing.genuine(SECRET, hook.headers, hook.body, now=now + signing.REPLAY_S + 1)
    assert not signing.genuine(signing.new_secret(), hook.headers, hook.body, now=now)


async def test_a_telling_cut_off_after_the_commit_is_sent_by_the_next_process(staff):
    """Written, and not sent: whoever looks next sends it, though another channel had gone out meanwhile."""
    staff.pages.open = True
    await staff.contact(Kind.WEBHOOK, staff.hooks.url)
    await staff.raised()

    class Cut(BaseException):
        """The process ends here."""

    async def cut(_step):
        raise Cut

    webhook = staff.outside[Kind.WEBHOOK]
    webhook.notify, notify = cut, webhook.notify
    with pytest.raises(Cut):
        await staff.desk.sweep()
    webhook.notify = notify
    await staff.store.write(lambda tx: None)
    assert staff.hooks.hooks == []
    assert await webhook.again() == 1
    assert len(staff.hooks.hooks) == 1
    assert await webhook.again() == 0


async def test_an_unknown_outcome_is_sent_again_with_the_same_key(staff):
    """Sent, and the answer was lost with the process: after its lease another worker sends it once more."""
    staff.pages.open = True
    await staff.contact(Kind.WEBHOOK, staff.hooks.url)
    await staff.raised()
    staff.hooks.hangs = True
    arrived = staff.hooks.arrived
    sweep = asyncio.create_task(staff.desk.sweep())
    await asyncio.wait_for(arrived.wait(), 10)
    sweep.cancel()
    await asyncio.gather(sweep, return_exceptions=True)
    staff.hooks.hangs = False
    webhook = staff.outside[Kind.WEBHOOK]
    assert await webhook.again() == 0, "the other worker may still be at it"
    staff.shop.advance(seconds=12)
    assert await webhook.again() == 1
    first, second = staff.hooks.hooks
    assert first.headers["x-peerchat-id"] == second.headers["x-peerchat-id"]
    assert await staff.sql("SELECT outcome, tries FROM sending") == [("ok", 2)]


@pytest.mark.parametrize("statuses", [[500], [429, 503], [302], [404, 400]])
async def test_a_failed_webhook_is_tried_again_with_growing_pauses(staff, statuses):
    """Whatever it answered, until it takes it; the key stays, the timestamp is of the try."""
    staff.pages.open = True
    await staff.contact(Kind.WEBHOOK, staff.hooks.url)
    staff.hooks.statuses = list(statuses)
    await staff.raised()
    await staff.desk.sweep()
    webhook = staff.outside[Kind.WEBHOOK]
    times = 0
    while (await staff.sql("SELECT outcome FROM sending")) != [("ok",)]:
        assert await webhook.again() == 0
        staff.shop.advance(seconds=(2, 4, 8)[times])
        assert await webhook.again() == 1
        times += 1
    assert times == len(statuses)
    assert len({h.headers["x-peerchat-id"] for h in staff.hooks.hooks}) == 1
    assert len({h.headers["x-peerchat-timestamp"] for h in staff.hooks.hooks}) == len(statuses) + 1
    now = staff.shop.now.timestamp()
    assert signing.genuine(SECRET, staff.hooks.hooks[-1].headers, staff.hooks.hooks[-1].body, now=now)


async def test_a_receiver_may_ask_for_a_longer_pause_up_to_a_minute(staff):
    staff.pages.open = True
    await staff.contact(Kind.WEBHOOK, staff.hooks.url)
    staff.hooks.statuses, staff.hooks.more = [503], "Retry-After: 9000\r\n"
    await staff.raised()
    await staff.desk.sweep()
    staff.shop.advance(seconds=59)
    assert await staff.outside[Kind.WEBHOOK].again() == 0
    staff.shop.advance(seconds=1)
    assert await staff.outside[Kind.WEBHOOK].again() == 1


async def test_once_somebody_has_it_nothing_is_tried_again(staff):
    ada = await staff.adult()
    staff.pages.open = True
    await staff.contact(Kind.WEBHOOK, staff.hooks.url)
    staff.hooks.statuses = [500] * 9
    alert = await staff.raised()
    await staff.desk.sweep()
    await staff.acknowledge(alert, ada)
    staff.shop.advance(seconds=90)
    assert await staff.outside[Kind.WEBHOOK].again() == 0
    assert len(staff.hooks.hooks) == 1


class Dead:
    """A sender that is down in one way or another."""

    def __init__(self, way: str) -> None:
        self.way = way

    async def send(self, _message) -> Outcome:
        if self.way == "raises":
            raise RuntimeError("ada@school.example")
        if self.way == "hangs":
            await asyncio.Event().wait()
        return Outcome(ok=False, fault="dead")


@pytest.mark.parametrize("way", ["raises", "hangs", "says no"])
async def test_a_dead_channel_never_stops_the_others(staff, way, caplog, monkeypatch):
    """Nor the ladder; and its error does not tell the address."""
    monkeypatch.setattr("escalation.desk.NOTIFY_TIMEOUT_S", 0.5)
    ada = await staff.adult(duty=True)
    await staff.contact(Kind.SMS, "+441632960123", member=ada)
    await staff.contact(Kind.EMAIL, "ada@school.example", member=ada)
    staff.outside[Kind.SMS]._sender = Dead(way)
    await staff.raised()
    await staff.desk.sweep()
    assert staff.to() == ["ada@school.example"]
    staff.shop.advance(minutes=2)
    await staff.desk.sweep()
    assert staff.to() == ["ada@school.example"] * 2
    outcomes = await staff.sql("SELECT DISTINCT outcome FROM attempt WHERE channel = 'sms'")
    assert outcomes == [("failed",)]
    assert "ada@" not in caplog.text


async def test_a_mail_server_that_hangs_is_given_up_in_time(staff, monkeypatch):
    monkeypatch.setattr("peerchat.channels.senders.SEND_S", 0.3)
    monkeypatch.setattr("peerchat.channels.senders.SOCKET_S", 0.5)
    await staff.contact(Kind.EMAIL, "ada@school.example", member=await staff.adult(duty=True))
    staff.mail.hangs = True
    await staff.raised()
    await staff.desk.sweep()
    assert await staff.sql("SELECT outcome, fault FROM sending") == [("failed", "timeout")]


async def test_each_target_has_its_own_outcome(staff):
    """One address is refused, the other taken: the telling went out, and only the first is tried again."""
    ada = await staff.adult(duty=True)
    bad = await staff.contact(Kind.EMAIL, "bad@school.example", member=ada)
    good = await staff.contact(Kind.EMAIL, "good@school.example", member=ada)
    staff.mail.refuse = lambda to: to.startswith("bad")
    await staff.raised()
    await staff.desk.sweep()
    rows = dict(await staff.sql("SELECT contact, outcome FROM sending"))
    assert rows == {bad: "failed", good: "ok"}
    assert (await staff.outcomes())["email"] == "ok"
    staff.mail.refuse = lambda _to: False
    staff.shop.advance(seconds=3)
    assert await staff.outside[Kind.EMAIL].again() == 1
    assert staff.to() == ["bad@school.example", "good@school.example"]
    shown = await staff.store.read(lambda tx: {c.id: c for c in tx.channels.of_site(staff.site)})
    assert not shown[bad].failing and shown[bad].failed_at is not None and shown[bad].ok_at is not None


async def test_who_is_told_climbs_with_the_ladder(staff):
    """On duty at once, the deputy at 2 min, every trained adult at 5, the list of others at 10."""
    people = {name: await staff.adult(duty=name == "duty") for name in ("duty", "deputy", "off")}
    await staff.contact(Kind.EMAIL, "duty@school.example", member=people["duty"])
    await staff.contact(
        Kind.EMAIL, "deputy@school.example", member=people["deputy"], audience=Audience.DEPUTIES
    )
    await staff.contact(Kind.EMAIL, "off@school.example", member=people["off"])
    await staff.contact(Kind.EMAIL, "chair@trust.example", audience=Audience.OUT_OF_BAND)
    await staff.raised()
    told = []
    for minutes in (0, 2, 3, 5):
        staff.shop.advance(minutes=minutes)
        staff.mail.mails.clear()
        await staff.desk.sweep()
        told.append([address.partition("@")[0] for address in staff.to()])
    assert told == [
        ["duty"], ["deputy", "duty"], ["deputy", "duty", "off"], ["chair", "deputy", "duty", "off"],
    ]  # fmt: skip


async def test_with_nobody_on_duty_the_next_are_told_at_once(staff):
    """The deputy, and where there is none, everybody: an empty rota costs no minutes."""
    off = await staff.adult()
    await staff.contact(Kind.EMAIL, "off@school.example", member=off)
    await staff.raised()
    await staff.desk.sweep()
    assert staff.to() == ["off@school.example"]
    await staff.contact(
        Kind.EMAIL, "deputy@school.example", member=await staff.adult(), audience=Audience.DEPUTIES
    )
    staff.mail.mails.clear()
    await staff.raised()
    await staff.desk.sweep()
    assert staff.to() == ["deputy@school.example"]


async def on_rota(staff, **people: Part) -> None:
    """Put people down for every hour of every day."""
    hours = Hours(days=frozenset(range(7)), begin=time(0), end=time(0))

    def body(tx):
        for member, part in people.items():
            tx.rota.add_turn(staff.site, Turn(id="", member=member, part=part, hours=hours))

    await staff.store.write(body)


@pytest.mark.parametrize(
    ("there", "deputies", "told"),
    [
        (None, True, ["chosen", "deputy", "duty"]),
        (None, False, ["duty", "other"]),
        ("duty", True, ["duty"]),
        ("other", True, ["duty", "other"]),
    ],
)
async def test_rule_09_with_no_lease_held_an_alert_starts_at_the_deputies(staff, there, deputies, told):
    """The adult who is down and not there is told too, and is not the only one who is."""
    names = ["duty", "other", *(["deputy", "chosen"] if deputies else [])]
    people = {name: await staff.adult(duty=name == there) for name in names}
    for name, member in people.items():
        audience = Audience.DEPUTIES if name == "chosen" else Audience.ON_DUTY
        await staff.contact(Kind.EMAIL, f"{name}@school.example", member=member, audience=audience)
    await on_rota(staff, **{people[n]: p for n, p in PARTS.items() if n in people})
    await staff.raised(Risk.HIGH)
    await staff.desk.sweep()
    assert staff.to() == [f"{name}@school.example" for name in told]


PARTS = {"duty": Part.DUTY, "deputy": Part.DEPUTY}


async def test_rule_09_a_lease_of_the_one_it_is_about_counts_for_nothing(staff):
    duty, deputy, other = await staff.adult(duty=True), await staff.adult(), await staff.adult()
    for name, member in (("duty", duty), ("deputy", deputy), ("other", other)):
        await staff.contact(Kind.EMAIL, f"{name}@school.example", member=member)
    await on_rota(staff, **{duty: Part.DUTY, deputy: Part.DEPUTY})
    await staff.raised(about=duty, role=Role.ADULT)
    await staff.desk.sweep()
    assert staff.to() == ["deputy@school.example"]


async def test_an_alert_about_an_adult_is_told_neither_to_them_nor_where_anybody_may_read(staff):
    """Not to their own address, nor to a contact point that does not say who is behind it."""
    bad, good = await staff.adult(duty=True), await staff.adult()
    await staff.contact(Kind.EMAIL, "bad@school.example", member=bad)
    await staff.contact(Kind.EMAIL, "good@school.example", member=good)
    await staff.contact(Kind.WEBHOOK, staff.hooks.url)
    await staff.raised(about=bad, role=Role.ADULT)
    for minutes in (0, 2, 3, 5):
        staff.shop.advance(minutes=minutes)
        await staff.desk.sweep()
    assert set(staff.to()) == {"good@school.example"}
    assert staff.hooks.hooks == []


async def test_a_suspended_adult_is_not_told(staff):
    from peerchat import setup

    gone = await staff.adult(duty=True)
    await staff.contact(Kind.EMAIL, "gone@school.example", member=gone)
    await staff.store.write(lambda tx: setup.suspend(tx, gone, by="test"))
    await staff.raised()
    await staff.desk.sweep()
    assert staff.to() == []


async def test_an_adult_who_is_suspended_meanwhile_is_not_tried_again(staff):
    """What was planned for them ends with their account."""
    from peerchat import setup

    gone = await staff.adult(duty=True)
    staff.pages.open = True
    await staff.contact(Kind.EMAIL, "gone@school.example", member=gone)
    staff.mail.refuse = lambda _to: True
    await staff.raised()
    await staff.desk.sweep()
    staff.mail.refuse = lambda _to: False
    await staff.store.write(lambda tx: setup.suspend(tx, gone, by="test"))
    staff.shop.advance(seconds=5)
    assert await staff.outside[Kind.EMAIL].again() == 0
    assert staff.to() == []


async def test_a_concern_is_mailed_in_the_digest_and_rings_nobody(staff):
    """Listed at ten in the morning without a sound; read by half past three; rings only once it climbs."""
    ada = await staff.adult(duty=True)
    staff.pages.open = True
    await staff.contact(Kind.EMAIL, "ada@school.example", member=ada)
    await staff.contact(Kind.VOICE, "+441632960123", member=ada)
    await staff.raised(Risk.CONCERN)
    await staff.desk.sweep()
    assert (staff.to(), staff.hooks.hooks) == ([], [])
    staff.shop.advance(hours=5, minutes=30)
    await staff.desk.sweep()
    assert (len(staff.to()), staff.hooks.hooks) == (1, [])
    staff.shop.advance(hours=17)
    await staff.desk.sweep()
    assert (len(staff.to()), staff.hooks.hooks) == (2, [])
    staff.shop.advance(minutes=5)
    await staff.desk.sweep()
    assert len(staff.to()) == 3 and len(staff.hooks.hooks) == 1


async def test_new_evidence_for_an_alert_in_hand_rings_nobody(staff):
    ada = await staff.adult(duty=True)
    await staff.contact(Kind.EMAIL, "ada@school.example", member=ada)
    pupil = await staff.adult(role=Role.PUPIL)
    alert = await staff.raised(about=pupil)
    await staff.desk.sweep()
    await staff.acknowledge(alert, ada)
    assert await staff.raised(about=pupil) == alert
    await staff.desk.sweep()
    assert len(staff.to()) == 1


@pytest.mark.parametrize("column", ["kind", "audience"])
async def test_a_damaged_contact_point_takes_no_other_along(staff, column):
    """It is logged, and neither told nor listed; the others are."""
    ada = await staff.adult(duty=True)
    bad = await staff.contact(Kind.EMAIL, "bad@school.example", member=ada)
    await staff.contact(Kind.EMAIL, "good@school.example", member=ada)
    await staff.store.write(
        lambda tx: tx.connection.exec_driver_sql(
            f"UPDATE contact_point SET {column} = 'pigeon' WHERE id = ?", (bad,)
        )
    )
    await staff.raised()
    await staff.desk.sweep()
    assert staff.to() == ["good@school.example"]
    assert len(await staff.store.read(lambda tx: tx.channels.of_site(staff.site))) == 1


async def test_what_breaks_in_the_planning_never_costs_the_page(staff, monkeypatch):
    """Whatever is wrong with the address book is logged; the page is told all the same."""
    await staff.contact(Kind.EMAIL, "ada@school.example", member=await staff.adult(duty=True))

    def broken(*_args, **_more):
        raise RuntimeError

    monkeypatch.setattr("peerchat.store.channels.told", broken)
    await staff.raised()
    await staff.desk.sweep()
    assert (len(staff.pages.told), staff.to()) == (1, [])


async def test_an_address_that_cannot_be_opened_is_a_failure_that_is_seen(staff):
    await staff.contact(Kind.EMAIL, "ada@school.example", member=await staff.adult(duty=True))
    await staff.store.write(
        lambda tx: tx.connection.exec_driver_sql("UPDATE contact_point SET address = x'00'")
    )
    await staff.raised()
    await staff.desk.sweep()
    assert await staff.sql("SELECT outcome, fault FROM sending") == [("failed", "address unreadable")]


async def test_addresses_and_secrets_are_sealed(staff):
    """In the database there is neither an address, nor a phone number, nor a webhook's secret."""
    await staff.contact(Kind.EMAIL, "ada@school.example", member=await staff.adult(duty=True))
    await staff.contact(Kind.WEBHOOK, "https://pager.school.example/x")
    await staff.store.write(lambda tx: None)
    lies = b"".join(p.read_bytes() for p in staff.shop.folder.iterdir() if p.is_file())
    for word in ("ada@school", "pager.school", SECRET, "The pager"):
        assert word.encode() not in lies


async def test_two_workers_send_nothing_twice(staff):
    """Over one database: whoever takes a sending has it until its lease runs out."""
    from peerchat.channels.outside import Outside

    staff.pages.open = True
    for n in range(5):
        await staff.contact(Kind.WEBHOOK, f"{staff.hooks.url}/{n}")
    staff.hooks.statuses = [500] * 5
    await staff.raised()
    await staff.desk.sweep()
    staff.shop.advance(seconds=2)
    other = Outside(Kind.WEBHOOK, staff.shop.open(keyring=staff.shop.keyring()), staff.senders)
    done = await asyncio.gather(staff.outside[Kind.WEBHOOK].again(), other.again())
    assert sum(done) == 5
    assert sorted(h.path for h in staff.hooks.hooks) == sorted([f"/{n}" for n in range(5)] * 2)
