"""What the tables themselves refuse, whatever the code above them does; and the log as a table."""

import sqlite3

import pytest

from escalation.audit import Checkpoint, verify
from moderation.verdict import Risk
from peerchat.errors import StoreUnavailable
from peerchat.model import MessageStatus, ReviewKind
from peerchat.store.sql import database_file, open_audit
from tests.store.test_seal import furnish, new_message


async def test_rule_04_a_client_id_is_one_message(store):
    """(sender, conversation, client id) cannot be there twice; another sender's may."""
    _, pupil, mentor, c = await store.write(furnish)
    await store.write(lambda tx: tx.messages.insert([new_message(c, pupil, "one", client_id="i")]))
    with pytest.raises(StoreUnavailable, match="IntegrityError"):
        await store.write(lambda tx: tx.messages.insert([new_message(c, pupil, "two", client_id="i")]))
    await store.write(lambda tx: tx.messages.insert([new_message(c, mentor, "two", client_id="i")]))
    known = await store.read(
        lambda tx: tx.messages.known({(pupil, c, "i"), (mentor, c, "i"), (pupil, c, "x")})
    )
    assert {key: m.text for key, m in known.items()} == {(pupil, c, "i"): "one", (mentor, c, "i"): "two"}


async def test_rule_05_a_seq_is_one_message(store):
    """In one conversation; what is held has none, however many are held."""
    _, pupil, _, c = await store.write(furnish)
    await store.write(lambda tx: tx.messages.insert([new_message(c, pupil, f"{n}") for n in range(3)]))
    await store.write(lambda tx: tx.messages.insert([new_message(c, pupil, "one", seq=1)]))
    with pytest.raises(StoreUnavailable, match="IntegrityError"):
        await store.write(lambda tx: tx.messages.insert([new_message(c, pupil, "again", seq=1)]))
    held = await store.read(lambda tx: tx.messages.held_in(c))
    with pytest.raises(StoreUnavailable, match="IntegrityError"):
        await store.write(lambda tx: tx.messages.deliver(held[0].id, 1))
    await store.write(lambda tx: tx.messages.deliver(held[0].id, 2))


async def test_rule_19_a_message_has_at_most_one_review_item(store):
    site, pupil, _, c = await store.write(furnish)
    message = new_message(c, pupil, "x")
    await store.write(lambda tx: tx.messages.insert([message]))

    def add(tx, id):
        tx.reviews.add(
            id=id, site=site, kind=ReviewKind.HELD, conversation=c, message=message.id, alert=None,
            about=pupil,
            risk=Risk.NONE, labels=(), for_adults=False, due_in=tx.now - tx.now,
        )  # fmt: skip

    await store.write(lambda tx: add(tx, "r1"))
    with pytest.raises(StoreUnavailable, match="IntegrityError"):
        await store.write(lambda tx: add(tx, "r2"))


async def test_a_pupil_waits_once(store):
    """A second ask takes the first one's place in line."""
    site, pupil, _, _ = await store.write(furnish)

    def ask(tx, id):
        tx.tickets.add(
            id=id, site=site, pupil=pupil, topics=[], wishes={}, mood=None, note=None, risk=Risk.NONE
        )

    first = await store.write(lambda tx: (ask(tx, "t1"), tx.tickets.waiting_of(pupil))[1])
    second = await store.write(lambda tx: (ask(tx, "t2"), tx.tickets.waiting_of(pupil))[1])
    assert (second.id, second.asked_at) == ("t2", first.asked_at)
    insert = (
        "INSERT INTO ticket (id, site, pupil, topics, wishes, risk, state, asked_at)"
        " SELECT 't3', site, pupil, topics, wishes, risk, 'waiting', asked_at FROM ticket LIMIT 1"
    )
    with pytest.raises(StoreUnavailable, match="IntegrityError"):
        await store.write(lambda tx: tx.connection.exec_driver_sql(insert))


async def test_rows_belong_to_rows(store):
    """A message of no conversation, an item of no site: refused."""
    _, pupil, _, _ = await store.write(furnish)
    with pytest.raises(StoreUnavailable, match="IntegrityError"):
        await store.write(lambda tx: tx.messages.insert([new_message("cnv_nowhere", pupil, "x")]))


async def test_rule_02_what_was_delivered_or_decided_is_moved_by_nothing(store):
    """`deliver`, `allow` and `withhold` touch only what is held."""
    _, pupil, _, c = await store.write(furnish)
    sent, held = new_message(c, pupil, "sent", seq=1), new_message(c, pupil, "held")
    await store.write(lambda tx: tx.messages.insert([sent, held]))
    await store.write(lambda tx: tx.messages.withhold(sent.id, "unkind"))
    await store.write(lambda tx: tx.messages.withhold(held.id, "unkind"))
    await store.write(lambda tx: tx.messages.deliver(held.id, 2))
    found = await store.read(lambda tx: [tx.messages.get(m.id).status for m in (sent, held)])
    assert found == [MessageStatus.DELIVERED, MessageStatus.WITHHELD]
    delivered = await store.read(lambda tx: tx.messages.delivered_after(c, 0, 10))
    assert [m.text for m in delivered] == ["sent"]


# ---------------------------------------------------------------------------- rule 17


async def fill(store, rows=30):
    for n in range(rows):
        await store.write(
            lambda tx, n=n: tx.audit.append("mem", "read_case", f"alr_{n}", {"n": n, "whole": n % 2 == 0})
        )


def checked(shop, checkpoint=None):
    """Verify as the command line does: offline, without any key."""
    with open_audit(database_file(shop.folder)) as entries:
        found = verify(entries, checkpoints=[checkpoint] if checkpoint is not None else [])
    return found.head.n, found.head.hash, found.fault


def tamper(shop, *statements):
    with sqlite3.connect(database_file(shop.folder)) as db:
        for statement in statements:
            db.execute(statement)
    db.close()


async def test_rule_17_the_log_holds_and_is_read_without_a_key(store, shop):
    await fill(store)
    store.close()
    rows, _, fault = checked(shop)
    assert (rows, fault) == (30, None)


@pytest.mark.parametrize(
    ("statement", "row"),
    [
        ("UPDATE audit SET actor = 'somebody' WHERE n = 7", 7),
        ("UPDATE audit SET object = 'alr_9' WHERE n = 7", 7),
        ("UPDATE audit SET at = '2026-03-02 10:00:01.000000' WHERE n = 7", 7),
        ("UPDATE audit SET data = '{}' WHERE n = 7", 7),
        ('UPDATE audit SET data = \'{"n": 6, "whole": 1}\' WHERE n = 7', 7),
        ("DELETE FROM audit WHERE n = 7", 7),
        ("UPDATE audit SET n = 99 WHERE n = 7", 7),
        ("UPDATE audit SET data = 'nonsense' WHERE n = 7", 7),
        ("UPDATE audit SET data = '[1]' WHERE n = 7", 7),
        ("UPDATE audit SET data = '{\"n\": NaN}' WHERE n = 7", 7),
        ("UPDATE audit SET at = 'nonsense' WHERE n = 7", 7),
        ("UPDATE audit SET hash = x'00' WHERE n = 7", 7),
    ],
)
async def test_rule_17_a_row_that_was_tampered_with_is_named(store, shop, statement, row):
    """Whatever it is made into, also what is no row any more."""
    await fill(store)
    store.close()
    tamper(shop, statement)
    _, _, fault = checked(shop)
    assert fault is not None and fault.n == row


async def test_rule_17_a_log_cut_short_shows_against_an_earlier_head(store, shop):
    await fill(store)
    store.close()
    rows, head, _ = checked(shop)
    tamper(shop, "DELETE FROM audit WHERE n > 20")
    assert checked(shop)[2] is None
    _, _, fault = checked(shop, Checkpoint(n=rows, hash=head))
    assert fault is not None and fault.n == 21


async def test_rule_17_the_log_goes_on_after_a_restart(store, shop):
    """One chain, whoever wrote it; rows of a transaction that was undone leave no gap."""
    await fill(store, 3)
    with pytest.raises(ZeroDivisionError):
        await store.write(lambda tx: tx.audit.append("mem", "x", "y") / 0)
    store.close()
    again = shop.open()
    await fill(again, 2)
    assert [e.n for e in await again.read(lambda tx: list(tx.audit.all()))] == [1, 2, 3, 4, 5]
    assert checked(shop)[0::2] == (5, None)


async def test_rule_17_more_rows_than_a_page(store, shop):
    """Read a page at a time, verified as one."""

    def many(tx):
        for n in range(2_500):
            tx.audit.append("mem", "x", f"{n}")

    await store.write(many)
    assert checked(shop)[0::2] == (2_500, None)
    assert [e.n for e in await store.read(lambda tx: tx.audit.entries(after=2_498))] == [2_499, 2_500]
