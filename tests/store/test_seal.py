"""Text at rest: unreadable without its key, gone with it, and found out where it was changed."""

import secrets
import sqlite3
import stat
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from escalation.alert import CloseProposal, Concern
from moderation.verdict import Action, Risk, Role, Verdict
from peerchat import setup
from peerchat.errors import SettingsError, StoreUnavailable
from peerchat.model import Decision, MessageStatus, ReviewKind, new_id
from peerchat.store.messages import GONE, NewMessage
from peerchat.store.seal import CASE, KeyName, Keyring, load_master_key
from peerchat.store.sql import keys_file
from tests.store.conftest import MASTER

NAME = KeyName("cnv_1", "mem_1")


@pytest.fixture
def ring(shop):
    return shop.keyring()


def everything(folder):
    """Return all bytes of all files."""
    return b"".join(p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file())


# ---------------------------------------------------------------------------- keys


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(st.text(st.characters(codec="utf-8"), max_size=300))
def test_a_text_opens_as_it_was(ring, text):
    assert ring.open(NAME, ring.seal(NAME, text, bound_to="m"), bound_to="m") == text


def test_the_same_text_is_never_sealed_the_same(ring):
    """Who sees the rows does not see that two are equal."""
    assert ring.seal(NAME, "x", bound_to="m") != ring.seal(NAME, "x", bound_to="m")


@pytest.mark.parametrize(
    "other",
    [KeyName("cnv_2", "mem_1"), KeyName("cnv_1", "mem_2"), KeyName("cnv_1", "mem_1", CASE)],
    ids=["conversation", "member", "retention"],
)
def test_each_conversation_member_and_class_has_a_key_of_its_own(ring, other):
    """One key destroyed is nobody else's text."""
    sealed = ring.seal(NAME, "hello", bound_to="m")
    ring.seal(other, "x", bound_to="m")
    assert ring.open(other, sealed, bound_to="m") is None


def test_a_text_belongs_to_its_row(ring):
    """Moved to another row, it does not open."""
    assert ring.open(NAME, ring.seal(NAME, "hello", bound_to="m1"), bound_to="m2") is None


def test_a_changed_byte_is_found(ring):
    """Any of them."""
    sealed = ring.seal(NAME, "hello", bound_to="m")
    for n in range(len(sealed)):
        changed = bytearray(sealed)
        changed[n] ^= 1
        assert ring.open(NAME, bytes(changed), bound_to="m") is None
    for cut in (b"", sealed[:5], sealed[:12], sealed[:-1], sealed + b"x"):
        assert ring.open(NAME, cut, bound_to="m") is None


def test_keys_outlive_the_process(shop, ring):
    sealed = ring.seal(NAME, "hello", bound_to="m")
    assert shop.keyring().open(NAME, sealed, bound_to="m") == "hello"


def test_another_master_key_is_refused(shop, ring):
    """At the start, by name, rather than with unreadable texts."""
    ring.seal(NAME, "hello", bound_to="m")
    with pytest.raises(SettingsError, match="master key"):
        Keyring(keys_file(shop.folder), bytes(32))


def test_a_wrapped_key_moved_to_another_name_does_not_open(shop, ring):
    """A key file that was tampered with gives nobody somebody else's text."""
    ring.seal(NAME, "hello", bound_to="m")
    ring.seal(KeyName("cnv_2", "mem_1"), "x", bound_to="m")
    with sqlite3.connect(keys_file(shop.folder)) as db:
        db.execute(
            "UPDATE text_key SET wrapped = (SELECT wrapped FROM text_key WHERE scope = 'cnv_2')"
            " WHERE scope = 'cnv_1'"
        )
    db.close()
    fresh = None
    with pytest.raises((SettingsError, StoreUnavailable)):
        fresh = shop.keyring()
        fresh.seal(NAME, "y", bound_to="m")


def test_a_destroyed_key_takes_its_text_with_it(shop, ring):
    """Here, in another process, and in every copy of the database; other conversations stay."""
    sealed = ring.seal(NAME, "hello", bound_to="m")
    other = ring.seal(KeyName("cnv_2", "mem_1"), "there", bound_to="m")
    assert ring.destroy("cnv_1") == 1
    for again in (ring, shop.keyring()):
        assert again.open(NAME, sealed, bound_to="m") is None
        assert again.open(KeyName("cnv_2", "mem_1"), other, bound_to="m") == "there"
    assert ring.destroy("cnv_1") == 0


def test_a_destroyed_key_leaves_no_trace_on_disk(shop, ring):
    """Neither in the file nor in its log: what wrapped it is nowhere any more."""
    ring.seal(NAME, "hello", bound_to="m")
    ring.seal(KeyName("cnv_2", "mem_1"), "there", bound_to="m")
    with sqlite3.connect(keys_file(shop.folder)) as db:
        wrapped = dict(db.execute("SELECT scope, wrapped FROM text_key").fetchall())
    db.close()
    assert wrapped["cnv_1"] in everything(shop.folder)
    ring.destroy("cnv_1")
    assert wrapped["cnv_1"] not in everything(shop.folder)
    assert wrapped["cnv_2"] in everything(shop.folder)


def test_a_mac_matches_equal_texts_under_one_key_only(ring):
    assert ring.mac(NAME, "hello") == ring.mac(NAME, "hello") != ring.mac(NAME, "hello ")
    assert ring.mac(NAME, "hello") != ring.mac(KeyName("cnv_2", "mem_1"), "hello")


def test_an_index_is_the_same_and_useless_without_the_master_key(shop, ring):
    other = Keyring(shop.folder / "other.db", bytes(32))
    assert ring.index("CODE") == shop.keyring().index("CODE") != ring.index("CODES")
    assert ring.index("CODE") != other.index("CODE")
    other.close()


def test_a_closed_keyring_says_so(ring):
    """`StoreUnavailable`, which is a refusal and no crash."""
    ring.close()
    with pytest.raises(StoreUnavailable):
        ring.seal(NAME, "x", bound_to="m")


# ---------------------------------------------------------------------------- the master key


def test_the_master_key_is_made_once_for_its_owner_alone(tmp_path):
    path = tmp_path / "keys" / "master.key"
    key = load_master_key(path, create=True)
    assert len(key) == 32 and stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_master_key(path, create=False) == load_master_key(path, create=True) == key
    assert load_master_key(tmp_path / "other.key", create=True) != key


def test_a_master_key_that_is_missing_is_not_made_up(tmp_path):
    """Without leave, a new key would make every text unreadable in silence."""
    with pytest.raises(SettingsError, match="not there"):
        load_master_key(tmp_path / "master.key", create=False)
    assert not (tmp_path / "master.key").exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_master_key_that_others_may_read_is_refused(tmp_path, mode):
    path = tmp_path / "master.key"
    load_master_key(path, create=True)
    path.chmod(mode)
    with pytest.raises(SettingsError, match="600"):
        load_master_key(path, create=True)


@pytest.mark.parametrize("content", ["", "xyz", "00" * 31, "00" * 33, "é" * 64])
def test_a_master_key_that_is_none_is_refused_without_showing_it(tmp_path, content):
    path = tmp_path / "master.key"
    path.write_text(content, encoding="utf-8")
    path.chmod(0o600)
    with pytest.raises(SettingsError, match="32 bytes") as caught:
        load_master_key(path, create=True)
    assert not content or content not in str(caught.value)


# ---------------------------------------------------------------------------- in the database


def verdict(action=Action.DELIVER):
    return Verdict(action=action, risk=Risk.NONE, policy_version="1")


def new_message(c, sender, text, *, seq=None, client_id=None):
    return NewMessage(
        id=new_id("msg"),
        conversation=c,
        sender=sender,
        client_id=client_id or new_id("cli"),
        text=text,
        status=MessageStatus.DELIVERED if seq else MessageStatus.HELD,
        reason=None,
        allowed_by=None,
        seq=seq,
        verdict=verdict(),
    )


def furnish(tx):
    """Make a site, two members and a conversation; return (site, pupil, mentor, conversation)."""
    site = setup.add_site(tx, name="School", service_name="Common Room")
    pupil, mentor, c = new_id("mem"), new_id("mem"), new_id("cnv")
    tx.members.add(id=pupil, site=site, role=Role.PUPIL, code_index=secrets.token_bytes(32))
    tx.members.add(id=mentor, site=site, role=Role.MENTOR, username=mentor)
    tx.conversations.begin(id=c, site=site, topics=[])
    tx.conversations.join(c, pupil, Role.PUPIL, "Blue Finch", reads_from=0)
    tx.conversations.join(c, mentor, Role.MENTOR, "Tall Oak", reads_from=0)
    return site, pupil, mentor, c


async def test_no_text_that_people_wrote_is_in_the_files(store, shop):
    """Messages, and every note that there is: looked for byte by byte in every file."""
    secret = {name: f"SECRET{name}{secrets.token_hex(8)}" for name in ("A", "B", "C", "D", "E", "F", "G")}

    def body(tx):
        site, pupil, mentor, c = furnish(tx)
        tx.messages.insert([new_message(c, pupil, secret["A"], seq=1)])
        tx.tickets.add(
            id="t", site=site, pupil=pupil, topics=[], wishes={}, mood=None, note=secret["B"], risk=Risk.NONE
        )
        concern = Concern(about=pupil, about_role=Role.PUPIL, risk=Risk.HIGH, labels=())
        alert, _ = tx.alerts.raise_or_fold(
            concern, site=site, conversation=c, message=None, by=mentor, note=secret["C"]
        )
        tx.alerts.log(alert.id, "note", by=mentor, note=secret["D"])
        item = tx.reviews.add(
            id="r", site=site, kind=ReviewKind.REPORT, conversation=c, message=None, alert=None, about=mentor,
            risk=Risk.NONE, labels=(), for_adults=False, due_in=tx.now - tx.now,
        )  # fmt: skip
        tx.reviews.add_report(
            item=item.id, by=pupil, conversation=c, message=None, kind=ReviewKind.REPORT, reason="other",
            note=secret["E"],
        )  # fmt: skip
        tx.reviews.decide(
            item.id, mentor, Decision.WITHHOLD, "other", secret["F"], key=KeyName(c, "staff", CASE)
        )
        proposal = CloseProposal(by=mentor, outcome="safe", rationale=secret["G"])
        tx.alerts.save(replace(alert, closing=proposal))
        return alert.id, item.id, c

    alert, item, c = await store.write(body)
    found = await store.read(
        lambda tx: (
            [m.text for m in tx.messages.transcript(c)],
            [e.note for e in tx.alerts.chronology(alert)],
            tx.reviews.reports(item),
            tx.alerts.get(alert).closing.rationale,
        )
    )
    assert found == ([secret["A"]], [secret["C"], secret["D"]], [("other", secret["E"])], secret["G"])
    for closed in (False, True):
        if closed:
            store.close()
        raw = everything(shop.folder)
        assert b"Common Room" in raw  # the search would find what is there
        assert [n for n, s in secret.items() if s.encode() in raw or s.encode("utf-16-le") in raw] == []


async def test_a_destroyed_conversation_reads_as_no_longer_kept(store, shop):
    """Its rows may be there; its words are not. Another conversation of the same two is."""
    _, pupil, mentor, c = await store.write(furnish)

    def body(tx):
        other = new_id("cnv")
        tx.conversations.begin(id=other, site=tx.sites.all()[0].id, topics=[])
        tx.messages.insert([new_message(c, pupil, "one", seq=1), new_message(c, mentor, "two", seq=2)])
        tx.messages.insert([new_message(other, pupil, "three", seq=1)])
        return other

    other = await store.write(body)
    assert await store.write(lambda tx: tx.keyring.destroy(c)) == 2
    texts = await store.read(lambda tx: [m.text for m in tx.messages.transcript(c)])
    assert texts == [GONE, GONE]
    assert await store.read(lambda tx: [m.text for m in tx.messages.transcript(other)]) == ["three"]


async def test_a_body_that_was_changed_or_moved_reads_as_nothing(store):
    """Neither tampered with nor swapped with another row does a text appear as somebody's."""
    _, pupil, _, c = await store.write(furnish)
    rows = [new_message(c, pupil, "one", seq=1), new_message(c, pupil, "two", seq=2)]

    def swap(tx):
        bodies = dict(tx.connection.exec_driver_sql("SELECT id, body FROM message").all())
        for row, other in zip(rows, reversed(rows), strict=True):
            tx.connection.exec_driver_sql(
                "UPDATE message SET body = ? WHERE id = ?", (bodies[other.id], row.id)
            )

    await store.write(lambda tx: tx.messages.insert(rows))
    await store.write(swap)
    assert await store.read(lambda tx: [m.text for m in tx.messages.transcript(c)]) == [GONE, GONE]


async def test_texts_need_the_master_key(store, shop):
    """The database with another key ring opens nothing."""
    _, pupil, _, c = await store.write(furnish)
    await store.write(lambda tx: tx.messages.insert([new_message(c, pupil, "one", seq=1)]))
    store.close()
    stranger = Keyring(shop.folder / "stranger.db", bytes(32))
    elsewhere = shop.open(keyring=stranger)
    assert await elsewhere.read(lambda tx: [m.text for m in tx.messages.transcript(c)]) == [GONE]
    stranger.close()
    assert MASTER.hex().encode() not in everything(shop.folder)
