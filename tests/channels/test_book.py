"""Who may see, add, remove and try which contact points; each a row of the log before it happens."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from moderation.verdict import Role
from peerchat.channels.book import MOST_BROWSERS, ChannelBook, Wanted, shown
from peerchat.channels.contact import BadContact, Kind
from peerchat.errors import NotAllowed, UnknownObject
from peerchat.model import Actor, new_id
from peerchat.overview import overview
from tests.channels.test_push import given


@pytest.fixture
def book(staff) -> ChannelBook:
    return ChannelBook(staff.store, staff.senders)


async def actor(staff, role: Role) -> Actor:
    """Return a signed-in member of staff."""
    member, token = await staff.adult(role=role), new_id("tok")
    await staff.store.write(
        lambda tx: tx.connection.exec_driver_sql(
            "INSERT INTO session_token (id, hash, member, created_at, expires_at)"
            " VALUES (?, ?, ?, '2026-03-02 09:00:00', '2027-03-02 09:00:00')",
            (token, token.encode(), member),
        )
    )
    return Actor(member=member, role=role, site=staff.site, token=token, name="N")


async def kinds(staff) -> list[str]:
    found: list[str] = await staff.store.read(lambda tx: [entry.kind for entry in tx.audit.all()])
    return found


async def test_the_coordinator_adds_tries_and_removes(staff, book) -> None:
    """The address is masked; a try is marked as one, and the result is on the list."""
    who = await actor(staff, Role.COORDINATOR)
    ada = await staff.adult()
    added = await book.add(who, Wanted(kind=Kind.EMAIL, to="ada@school.example", member=ada))
    assert (added["to"], added["ok_at"], added["failing"]) == ("a…@school.example", None, False)
    assert (await book.tried(who, added["id"])).ok
    [mail] = staff.mail.mails
    assert mail.message["Subject"] == "Only a try: there is no alert"
    [listed] = (await book.listed(who))["items"]
    assert (listed["ok_at"], listed["tried_at"]) == ("2026-03-02T10:00:00Z", None)
    assert "ada@school" not in json.dumps(await book.listed(who))
    await book.remove(who, added["id"])
    assert (await book.listed(who))["items"] == []
    assert await staff.sql("SELECT address, name FROM contact_point") == [(None, None)]
    assert (await kinds(staff))[-3:] == ["channel_added", "channel_tried", "channel_removed"]


async def test_a_try_that_fails_is_seen(staff, book) -> None:
    """On the list as failing, with a word why, and among what is missing; the next that works ends it."""
    who = await actor(staff, Role.COORDINATOR)
    added = await book.add(who, Wanted(kind=Kind.SMS, to="01632960123", member=await staff.adult()))
    staff.hooks.statuses = [500]
    outcome = await book.tried(who, added["id"])
    assert not outcome.ok
    listed = await book.listed(who)
    assert listed["items"][0]["failing"] and listed["items"][0]["fault"]
    assert {each["what"] for each in listed["missing"]} == {"failing", "no_voice", "no_push"}
    assert (await book.tried(who, added["id"])).ok
    assert not (await book.listed(who))["items"][0]["failing"]


async def test_set_up_says_what_is_missing(staff, book) -> None:
    who = await actor(staff, Role.COORDINATOR)
    assert [each["what"] for each in (await book.listed(who))["missing"]] == ["nobody", "no_voice", "no_push"]
    await book.add(who, Wanted(kind=Kind.VOICE, to="01632960123", member=await staff.adult()))
    assert [each["what"] for each in (await book.listed(who))["missing"]] == ["no_push"]


async def test_an_adult_has_their_own_browsers_alone(staff, book) -> None:
    """Not an address, not somebody else's; and sees nobody else's."""
    ada, bo = await actor(staff, Role.ADULT), await actor(staff, Role.ADULT)
    await staff.contact(Kind.EMAIL, "ada@school.example", member=ada.member)
    theirs = await staff.contact(Kind.EMAIL, "bo@school.example", member=bo.member)
    browser = Wanted(kind=Kind.PUSH, to=given(f"{staff.hooks.url}/x"), member=ada.member)
    with pytest.raises(NotAllowed):
        await book.add(ada, Wanted(kind=Kind.EMAIL, to="x@school.example", member=ada.member))
    with pytest.raises(BadContact):
        await book.add(bo, browser)
    added = await book.add(ada, browser)
    assert (await book.add(ada, browser))["id"] == added["id"], "the same browser is there once"
    listed = await book.listed(ada)
    assert {each["to"] for each in listed["items"]} == {"a…@school.example", "a browser"}
    assert listed["adults"] == listed["missing"] == []
    for refused in (book.remove(ada, theirs), book.tried(ada, theirs)):
        with pytest.raises(UnknownObject):
            await refused


async def test_an_adults_browsers_are_bounded(staff, book) -> None:
    """The oldest makes room: a browser that was thrown away costs nothing for ever."""
    ada = await actor(staff, Role.ADULT)
    for n in range(MOST_BROWSERS + 2):
        to = given(f"{staff.hooks.url}/{n}")
        await book.add(ada, Wanted(kind=Kind.PUSH, to=to, member=ada.member))
        staff.shop.advance(seconds=1)
    assert len((await book.listed(ada))["items"]) == MOST_BROWSERS


async def test_a_contact_point_is_an_adults_of_this_site_or_has_a_name(staff, book) -> None:
    who = await actor(staff, Role.COORDINATOR)
    pupil = await staff.adult(role=Role.PUPIL)
    for member in ("mem_nobody", pupil, who.member):
        with pytest.raises(UnknownObject):
            await book.add(who, Wanted(kind=Kind.EMAIL, to="a@school.example", member=member))
    with pytest.raises(BadContact):
        await book.add(who, Wanted(kind=Kind.EMAIL, to="a@school.example", member=None))
    added = await book.add(
        who, Wanted(kind=Kind.EMAIL, to="chair@trust.example", member=None, name="The chair of governors")
    )
    assert added["who"] == "The chair of governors"


@pytest.mark.parametrize(
    ("kind", "to", "wakes"),
    [
        (Kind.SMS, "01632960123", True),
        (Kind.VOICE, "01632960123", True),
        (Kind.EMAIL, "a@school.example", False),
    ],
)
async def test_rule_12_what_a_phones_duty_asks_for(staff, book, kind, to, wakes) -> None:
    """A try that went out, in this shift, of a kind that wakes a locked phone, and asked for by its adult."""
    who, ada = await actor(staff, Role.COORDINATOR), await staff.adult()
    mine = replace(who, member=ada, role=Role.ADULT)
    added = await book.add(who, Wanted(kind=kind, to=to, member=ada))

    async def tried(minutes: int) -> bool:
        since = staff.shop.now - timedelta(minutes=minutes)
        found: bool = await staff.store.read(lambda tx: tx.channels.tried_since(ada, since))
        return found

    assert not await tried(60)
    assert (await book.tried(who, added["id"])).ok
    assert not await tried(60), "somebody else's try"
    if kind is Kind.SMS:
        staff.hooks.statuses = [500]
        assert not (await book.tried(mine, added["id"])).ok
        assert not await tried(60), "one that failed"
    assert (await book.tried(mine, added["id"])).ok
    staff.shop.advance(minutes=30)
    assert await tried(31) is wakes and not await tried(29)


async def test_a_preset_person_without_a_way_that_works_is_missing(staff, book) -> None:
    who, chair = await actor(staff, Role.COORDINATOR), await staff.adult()
    await staff.store.write(lambda tx: tx.rota.set_independents(staff.site, [(chair, True)]))

    async def missing() -> bool:
        words = {each["what"] for each in (await book.listed(who))["missing"]}
        seen = await staff.store.read(lambda tx: overview(tx, staff.site, [], reader=who))
        assert bool(seen["health"]) == ("no_independent" in words) and not any(
            h["ok"] for h in seen["health"]
        )
        return "no_independent" in words

    assert await missing()
    await book.add(who, Wanted(kind=Kind.EMAIL, to="ada@school.example", member=await staff.adult()))
    assert await missing()
    added = await book.add(who, Wanted(kind=Kind.EMAIL, to="chair@trust.example", member=chair))
    assert not await missing()
    staff.mail.refuse = lambda _to: True
    await book.tried(who, added["id"])
    assert await missing()


async def test_when_a_preset_person_was_sent_something_is_not_shown(staff, book) -> None:
    """It would tell that there is an alert about staff, and when. What is wrong with the way is shown."""
    who, chair = await actor(staff, Role.COORDINATOR), await staff.adult()
    own = replace(who, member=chair, role=Role.ADULT)
    await staff.store.write(lambda tx: tx.rota.set_independents(staff.site, [(chair, True)]))
    added = await book.add(who, Wanted(kind=Kind.EMAIL, to="chair@trust.example", member=chair))
    for ok in (True, False):
        await staff.store.write(lambda tx, ok=ok: tx.channels.works(added["id"], ok=ok, fault="refused"))
    for rows in ((await book.listed(who))["items"], await staff.store.read(lambda tx: shown(tx, staff.site))):
        [row] = rows
        assert (row["ok_at"], row["failed_at"], row["failing"], row["fault"]) == (None, None, True, "refused")
    [row] = (await book.listed(own))["items"]
    assert row["ok_at"] and row["failed_at"], "their own"
