"""Signing in: one same fact for every wrong credential, limits that only failures meet, sessions that end."""

import asyncio
import math
from datetime import timedelta

import pytest
from argon2 import PasswordHasher
from hypothesis import given
from hypothesis import strategies as st

from moderation.verdict import Role
from peerchat import setup
from peerchat.accounts import (
    ACCOUNT_FAILURES,
    ADDRESS_FAILURES,
    CODE_ALPHABET,
    CODE_LENGTH,
    TOKEN_LIFE,
    WINDOW_S,
    Accounts,
    Failures,
    new_code,
    plain_code,
)
from peerchat.errors import SignInFailed, TooManyFailures
from peerchat.hub import SIGNED_OUT
from peerchat.model import Actor
from peerchat.ports import Event

QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
"""Argon2 all the same; as strong as a test needs it."""


@pytest.fixture
async def accounts(world):
    accounts = Accounts(world.store, world.keyring, secret=b"secret", hasher=QUICK)
    yield accounts
    accounts.close()


@pytest.fixture
async def code(world):
    """Return the code of a new pupil."""
    return await world.write(lambda tx: setup.add_pupil(tx, world.site))


@pytest.fixture
async def staff(world, accounts):
    """Make an adult called head with the password of all good examples."""
    return await world.write(
        lambda tx: setup.add_staff(
            tx,
            world.site,
            Role.ADULT,
            username="head",
            password_hash=accounts.hash_password("correct horse"),
            name="Ms Head",
        )
    )


def actor(signed):
    return Actor(member=signed.member, role=signed.role, site=signed.site, token=signed.token, name=None)


# ---------------------------------------------------------------------------- codes


def test_a_code_has_at_least_fifty_bits():
    assert math.log2(len(set(CODE_ALPHABET)) ** CODE_LENGTH) >= 50
    assert len(set(CODE_ALPHABET)) == len(CODE_ALPHABET)


@pytest.mark.parametrize("pair", ["0O", "1I", "1L", "IL", "2Z", "5S", "8B"])
def test_no_two_letters_of_a_code_look_alike(pair):
    assert not set(pair) <= set(CODE_ALPHABET)


def test_codes_are_made_of_the_alphabet_in_fours():
    codes = [new_code() for _ in range(200)]
    assert len(set(codes)) == 200
    for code in codes:
        assert [len(part) for part in code.split("-")] == [4, 4, 4]
        assert set(code) <= set(CODE_ALPHABET) | {"-"} and len(plain_code(code)) == CODE_LENGTH


@given(st.integers(0, 2**32), st.sampled_from(["", "-", " ", "\u2013", ".", "\u00a0"]), st.booleans())
def test_hyphens_spaces_and_case_do_not_matter(n, between, lower):
    """However it is typed from the card."""
    code = new_code()
    typed = between.join(code.replace("-", ""))
    assert plain_code(f" {typed.lower() if lower else typed} ") == plain_code(code)


# ---------------------------------------------------------------------------- right and wrong


async def test_a_code_signs_its_pupil_in(world, accounts, code):
    """By the code as it is printed, or as it is typed; the session is that pupil's, without a name."""
    token, signed = await accounts.sign_in_pupil(code.lower().replace("-", " "), None, address="a")
    assert (signed.role, signed.name, signed.site) == (Role.PUPIL, None, world.site)
    assert await accounts.signed_in(token) == signed
    assert signed.expires_at == world.clock.now + TOKEN_LIFE[Role.PUPIL]


async def test_two_sessions_of_one_pupil_are_two(accounts, code):
    one, first = await accounts.sign_in_pupil(code, None, address="a")
    two, second = await accounts.sign_in_pupil(code, None, address="a")
    assert one != two and first.token != second.token and first.member == second.member


async def test_a_wrong_code_is_refused(accounts, code):
    for wrong in ("", "-", "AAAA-AAAA-AAAA", code[:-1], code + "A", "é", "\x00", "\ud800", "x" * 10_000):
        with pytest.raises(SignInFailed):
            await accounts.sign_in_pupil(wrong, None, address="a")


async def test_a_pin_is_asked_where_there_is_one(accounts, code):
    """Right, wrong, absent, empty, and taken away again."""
    _, signed = await accounts.sign_in_pupil(code, None, address="a")
    await accounts.set_pin(actor(signed), "4711")
    for wrong in (None, "", "4712", "47110", " 4711"):
        with pytest.raises(SignInFailed):
            await accounts.sign_in_pupil(code, wrong, address="a")
    await accounts.sign_in_pupil(code, "4711", address="a")
    await accounts.set_pin(actor(signed), None)
    await accounts.sign_in_pupil(code, None, address="a")
    await accounts.sign_in_pupil(code, "4711", address="a")  # what nobody asked for does no harm


async def test_a_password_signs_staff_in(world, accounts, staff):
    token, signed = await accounts.sign_in_staff("head", "correct horse", address="a")
    assert (signed.member, signed.role, signed.name) == (staff, Role.ADULT, "Ms Head")
    assert await accounts.signed_in(token) == signed
    for username, password in (
        ("head", "wrong"),
        ("head", ""),
        ("nobody", "correct horse"),
        ("", ""),
        ("head", "correct horse "),
        ("head\x00", "correct horse"),
        ("head", "\ud800"),
    ):
        with pytest.raises(SignInFailed):
            await accounts.sign_in_staff(username, password, address="a")


async def test_rule_14_a_suspended_member_does_not_sign_in(world, accounts, code, staff):
    """Nor does an earlier session live on; the answer is that of a wrong code."""
    token, signed = await accounts.sign_in_pupil(code, None, address="a")
    await world.write(lambda tx: [tx.members.suspend(m) for m in (signed.member, staff)])
    assert await accounts.signed_in(token) is None
    with pytest.raises(SignInFailed):
        await accounts.sign_in_pupil(code, None, address="a")
    with pytest.raises(SignInFailed):
        await accounts.sign_in_staff("head", "correct horse", address="a")


async def test_every_wrong_credential_is_one_same_fact(accounts, code, staff):
    """Neither the words nor the type tell which part was wrong."""
    _, signed = await accounts.sign_in_pupil(code, None, address="a")
    await accounts.set_pin(actor(signed), "4711")
    said = set()
    for attempt in (
        accounts.sign_in_pupil("wrong", None, address="a"),
        accounts.sign_in_pupil("wrong", "4711", address="a"),
        accounts.sign_in_pupil(code, "1111", address="a"),
        accounts.sign_in_pupil(code, None, address="a"),
        accounts.sign_in_staff("nobody", "x", address="a"),
        accounts.sign_in_staff("head", "x", address="a"),
    ):
        with pytest.raises(SignInFailed) as caught:
            await attempt
        said.add((type(caught.value), str(caught.value)))
    assert len(said) == 1


# ---------------------------------------------------------------------------- sessions


async def test_a_token_is_stored_as_its_hash_only(world, accounts, code):
    token, _ = await accounts.sign_in_pupil(code, None, address="10.1.2.3")
    assert len(token) >= 40
    stored = str(await world.sql("SELECT * FROM session_token")) + str(
        await world.sql("SELECT * FROM member")
    )
    assert token not in stored and plain_code(code) not in stored and "10.1.2.3" not in stored
    raw = b"".join(p.read_bytes() for p in world.folder.iterdir())
    assert token.encode() not in raw and plain_code(code).encode() not in raw and b"10.1.2.3" not in raw


@pytest.mark.parametrize("token", ["", "x", "x" * 19, "x" * 43, "x" * 201, "é" * 43])
async def test_what_is_no_token_is_nobody(accounts, token):
    assert await accounts.signed_in(token) is None


async def test_a_session_runs_out(world, accounts, code):
    """On the moment; a pupil's own phone may be remembered, staff's never."""
    token, _ = await accounts.sign_in_pupil(code, None, address="a")
    long, _ = await accounts.sign_in_pupil(code, None, address="a", remember=True)
    world.clock.advance(seconds=TOKEN_LIFE[Role.PUPIL].total_seconds() - 1)
    assert await accounts.signed_in(token) is not None
    world.clock.advance(seconds=1)
    assert await accounts.signed_in(token) is None
    assert await accounts.signed_in(long) is not None
    world.clock.advance(days=30)
    assert await accounts.signed_in(long) is None


async def test_staff_are_never_remembered(world, accounts, staff):
    _, signed = await accounts.sign_in_staff("head", "correct horse", address="a", remember=True)
    assert signed.expires_at - world.clock.now <= timedelta(hours=16)


@pytest.mark.parametrize("everywhere", [False, True])
async def test_rule_14_signing_out_ends_this_session_or_all(world, accounts, code, everywhere):
    """Committed, and the lines of just these sessions are told to close."""
    one, first = await accounts.sign_in_pupil(code, None, address="a")
    two, second = await accounts.sign_in_pupil(code, None, address="a")
    told: list[Event] = []
    world.store._on_events = told.extend
    await accounts.sign_out(actor(first), everywhere=everywhere)
    assert await accounts.signed_in(one) is None
    assert (await accounts.signed_in(two) is None) is everywhere
    [event] = told
    assert set(event.tokens) == ({first.token, second.token} if everywhere else {first.token})
    assert event.close == SIGNED_OUT


async def test_staff_sign_ins_are_logged_and_pupils_are_not(world, accounts, code, staff):
    await accounts.sign_in_pupil(code, None, address="a")
    await accounts.sign_in_staff("head", "correct horse", address="a")
    assert [(a, k) for a, k, _ in await world.audit() if k == "sign_in"] == [(staff, "sign_in")]


async def test_csrf_belongs_to_its_session_and_server(world, accounts, code):
    token, _ = await accounts.sign_in_pupil(code, None, address="a")
    value = accounts.csrf(token)
    assert value == accounts.csrf(token) != accounts.csrf(token + "x")
    assert token not in value and len(value) >= 32
    other = Accounts(world.store, world.keyring, secret=b"other", hasher=QUICK)
    assert other.csrf(token) != value
    other.close()


# ---------------------------------------------------------------------------- limits


async def test_too_many_failures_of_one_account_are_told_to_wait(accounts, code, staff):
    """From the ninth on, the right credentials too, from any address; another account is not concerned."""
    for n in range(ACCOUNT_FAILURES):
        with pytest.raises(SignInFailed):
            await accounts.sign_in_staff("head", f"wrong {n}", address=f"a{n}")
    for name in ("head", "HEAD"):
        with pytest.raises(TooManyFailures) as caught:
            await accounts.sign_in_staff(name, "correct horse", address="b")
        assert 1 <= caught.value.retry_after_s <= WINDOW_S
    await accounts.sign_in_pupil(code, None, address="a1")


async def test_many_guesses_at_once_do_not_pass_the_limit(accounts, staff):
    """They are counted as they come, not as they are found wrong."""
    guesses = [accounts.sign_in_staff("head", f"wrong {n}", address="a") for n in range(60)]
    results = await asyncio.gather(*guesses, return_exceptions=True)
    assert sum(isinstance(r, SignInFailed) for r in results) <= ACCOUNT_FAILURES
    assert sum(isinstance(r, TooManyFailures) for r in results) >= 60 - ACCOUNT_FAILURES


async def test_a_whole_school_signs_in_from_one_address(world, accounts):
    """Only failures count for an address: three hundred in one break are welcome."""
    codes = await world.write(lambda tx: [setup.add_pupil(tx, world.site) for _ in range(300)])
    results = await asyncio.gather(*(accounts.sign_in_pupil(c, None, address="school") for c in codes))
    assert len(results) == 300


async def test_right_sign_ins_are_never_limited(accounts, code):
    """However often the same account comes."""
    for _ in range(ACCOUNT_FAILURES * 3):
        await accounts.sign_in_pupil(code, None, address="a")


async def test_an_address_that_guesses_is_told_to_wait(accounts, code, staff):
    """From the hundredth failure on, whatever account it tries; another address is not concerned."""
    for n in range(ADDRESS_FAILURES):
        with pytest.raises(SignInFailed):
            await accounts.sign_in_pupil(f"guess{n}", None, address="bad")
    with pytest.raises(TooManyFailures):
        await accounts.sign_in_pupil("one more", None, address="bad")
    with pytest.raises(TooManyFailures):
        await accounts.sign_in_staff("head", "correct horse", address="bad")
    await accounts.sign_in_staff("head", "correct horse", address="bad", device=accounts.device("head"))
    await accounts.sign_in_staff("head", "correct horse", address="good")
    await accounts.sign_in_pupil(code, None, address="bad")  # a right card is never refused for its address


def test_failures_are_forgotten_after_their_window():
    """Sliding: each by itself."""
    failures = Failures(account=2, address=100)
    for now in (0.0, 100.0):
        failures.begin(account="a", address="x", now=now)
    with pytest.raises(TooManyFailures) as caught:
        failures.begin(account="a", address="x", now=200.0)
    assert caught.value.retry_after_s == pytest.approx(WINDOW_S - 200.0)
    failures.begin(account="a", address="x", now=WINDOW_S)
    with pytest.raises(TooManyFailures):
        failures.begin(account="a", address="x", now=WINDOW_S + 1)


def test_failures_are_bounded(monkeypatch):
    """Made-up accounts without end fill no memory."""
    monkeypatch.setattr("peerchat.accounts.TRACKED", 100)
    failures = Failures()
    for n in range(1_000):
        failures.begin(account=f"a{n}", address=f"x{n}", now=float(n) / 1000)
        failures.wrong(address=f"x{n}", now=float(n) / 1000)
    assert len(failures._failed) <= 100
