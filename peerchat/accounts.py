"""Signing in and out. Wrong credentials are one same fact; only failures count; no address is stored."""

import asyncio
import hmac
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from hashlib import sha256
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from moderation.verdict import Role
from peerchat.errors import SignInFailed, TooManyFailures
from peerchat.hub import SIGNED_OUT
from peerchat.model import Actor, new_id
from peerchat.ports import Event
from peerchat.store.members import MemberValue, SignedIn
from peerchat.store.seal import Keyring
from peerchat.store.sql import Store, Tx

T = TypeVar("T")

CODE_ALPHABET = "ACDEFGHJKMNPQRTUVWXY2346789"
"""No look-alikes: of 0 O, 1 I L, 2 Z, 5 S and 8 B at most one is there."""

CODE_LENGTH = 12
"""27 ** 12 is 57 bits; the protocol asks for at least 50."""

WINDOW_S = 300.0
ACCOUNT_FAILURES = 8
ADDRESS_FAILURES = 100
TRACKED = 50_000
MAX_HASHING = 64
"""Passwords that may wait for a hashing thread; a hash takes some 50 ms."""

TOKEN_LIFE = {
    Role.PUPIL: timedelta(hours=12),
    Role.MENTOR: timedelta(hours=12),
    Role.MODERATOR: timedelta(hours=12),
    Role.ADULT: timedelta(hours=16),
    Role.COORDINATOR: timedelta(hours=12),
}
REMEMBERED = timedelta(days=30)
"""For a pupil's or mentor's own phone, when they say so."""


def new_code() -> str:
    """Return a fresh sign-in code, in fours."""
    raw = "".join(secrets.choice(CODE_ALPHABET) for _ in range(CODE_LENGTH))
    return "-".join(raw[n : n + 4] for n in range(0, CODE_LENGTH, 4))


def plain_code(code: str) -> str:
    """Return a code as it is compared: hyphens, spaces and case do not matter."""
    return "".join(ch for ch in code.upper() if ch.isascii() and ch.isalnum())


class Overloaded(TooManyFailures):
    """Too many hashes wait; nothing was checked."""


class Failures:
    """Count failed sign-ins for each account and address, in memory only, bounded.

    An account's try counts from its start, so that many at once do not slip past the limit, and is taken back
    when it was right. An address counts failures alone: a whole school may come from one.
    """

    def __init__(self, *, account: int = ACCOUNT_FAILURES, address: int = ADDRESS_FAILURES) -> None:
        self._limits = {"account": account, "address": address}
        self._failed: OrderedDict[tuple[str, str], deque[float]] = OrderedDict()

    def begin(self, *, account: str, address: str, now: float) -> None:
        """Count a try. Raises `TooManyFailures` when the account or the address has failed too often."""
        for kind, name in (("account", account), ("address", address)):
            self._check(kind, name, now)
        self._count("account", account, now)

    def _check(self, kind: str, name: str, now: float) -> None:
        times = self._failed.get((kind, name)) if name else None
        while times and times[0] <= now - WINDOW_S:
            times.popleft()
        if times and len(times) >= self._limits[kind]:
            raise TooManyFailures(max(1.0, times[0] + WINDOW_S - now))

    def right(self, *, account: str) -> None:
        """Take a try back: it was right, and nothing of the account's failures matters any more."""
        self._failed.pop(("account", account), None)

    def wrong(self, *, address: str, now: float) -> None:
        """Count a failure of an address; the account's is counted already.

        Raises `TooManyFailures` when the address had too many before this one.
        """
        if address:
            self._check("address", address, now)
            self._count("address", address, now)

    def _count(self, kind: str, name: str, now: float) -> None:
        times = self._failed.setdefault((kind, name), deque(maxlen=self._limits[kind]))
        times.append(now)
        self._failed.move_to_end((kind, name))
        while len(self._failed) > TRACKED:
            self._failed.popitem(last=False)


class Accounts:
    """Check credentials, make and end sessions."""

    def __init__(
        self, store: Store, keyring: Keyring, *, secret: bytes, hasher: PasswordHasher | None = None
    ) -> None:
        self._store = store
        self._keyring = keyring
        self._secret = secret
        self._hasher = hasher or PasswordHasher()
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="argon2")
        self._failures = Failures()
        self._hashing = 0
        self._nobody = self._hasher.hash(secrets.token_hex(16))

    def close(self) -> None:
        """Stop the hashing threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def sign_in_pupil(
        self, code: str, pin: str | None, *, address: str, remember: bool = False
    ) -> tuple[str, SignedIn]:
        """Return (token, session) for a card's code. Raises `SignInFailed` or `TooManyFailures`.

        A right code is never refused for its address: a whole school is one, and one pupil's guesses must not
        shut the others out. Nobody guesses 57 bits.
        """
        index = self._keyring.index(plain_code(code))
        account = index.hex()
        self._failures.begin(account=account, address="", now=time.monotonic())
        member = await self._store.read(lambda tx: tx.members.by_code(index))
        right = member is not None and member.suspended_at is None
        if pin is not None:  # one hash for every PIN sent, so its time tells nothing
            stored = member.pin_hash if member is not None and member.pin_hash else self._nobody
            matches = await self._checked(stored, pin, account)
            right = right and (matches or (member is not None and member.pin_hash is None))
        elif member is not None and member.pin_hash is not None:
            right = False
        return await self._finish(member if right else None, account, address, remember=remember)

    async def sign_in_staff(
        self, username: str, password: str, *, address: str, remember: bool = False, device: str | None = None
    ) -> tuple[str, SignedIn]:
        """Return (token, session) for a username and password. Raises as above.

        `device` is what `device()` gave to a browser after an earlier right sign-in of this account. Such a
        browser has tries of its own: nobody else's wrong passwords, from this address or for this name, can
        keep the adult on duty out.
        """
        account = self._digest(username.casefold())
        if device is not None and hmac.compare_digest(device.encode(), self.device(username).encode()):
            account, address = f"device {account}", ""
        self._failures.begin(account=account, address=address, now=time.monotonic())
        member = await self._store.read(lambda tx: tx.members.by_username(username))
        stored = member.password_hash if member is not None and member.password_hash else self._nobody
        right = await self._checked(stored, password, account)
        right = right and member is not None and member.suspended_at is None
        return await self._finish(member if right else None, account, address, remember=remember)

    async def _finish(
        self, member: MemberValue | None, account: str, address: str, *, remember: bool
    ) -> tuple[str, SignedIn]:
        if member is None:
            self._failures.wrong(address=address, now=time.monotonic())
            raise SignInFailed
        self._failures.right(account=account)
        token = secrets.token_urlsafe(32)
        digest = self.token_hash(token)
        long = remember and member.role in (Role.PUPIL, Role.MENTOR)
        life = REMEMBERED if long else TOKEN_LIFE[member.role]

        def body(tx: Tx) -> SignedIn | None:
            tx.members.add_token(id=new_id("tok"), hash=digest, member=member.id, expires_at=tx.now + life)
            if member.role not in (Role.PUPIL, Role.MENTOR):
                tx.audit.append(member.id, "sign_in", member.id)
            return tx.members.signed_in(digest)

        signed = await self._store.write(body)
        if signed is None:  # suspended between the two
            raise SignInFailed
        return token, signed

    async def signed_in(self, token: str) -> SignedIn | None:
        """Return the live session of a token."""
        if not 20 <= len(token) <= 200:
            return None
        digest = self.token_hash(token)
        return await self._store.read(lambda tx: tx.members.signed_in(digest))

    async def sign_out(self, actor: Actor, *, everywhere: bool) -> None:
        """End this session, or all of the member's; its lines close (rule 14)."""

        def body(tx: Tx) -> None:
            if everywhere:
                ended = tx.members.revoke_all(actor.member)
            else:
                tx.members.revoke(actor.token)
                ended = [actor.token]
            tx.emit(Event(tokens=tuple(ended), close=SIGNED_OUT))

        await self._store.write(body)

    async def set_pin(self, actor: Actor, pin: str | None) -> None:
        """Set or clear the PIN that guards a pupil's card."""
        hashed = None if pin is None else await self._run(lambda: self._hasher.hash(pin))
        await self._store.write(lambda tx: tx.members.set_pin(actor.member, hashed))

    def csrf(self, token: str) -> str:
        """Return the value that a page of this session must send back."""
        return hmac.new(self._secret, b"csrf" + token.encode(), sha256).hexdigest()

    def device(self, username: str) -> str:
        """Return what a browser keeps to be known as one that has signed in as this member of staff."""
        return hmac.new(
            self._secret, b"device" + self._digest(username.casefold()).encode(), sha256
        ).hexdigest()

    def token_hash(self, token: str) -> bytes:
        """Return what is stored of a token."""
        return sha256(token.encode()).digest()

    def hash_password(self, password: str) -> str:
        """Return the argon2id hash of a password; slow on purpose."""
        return self._hasher.hash(password)

    def _digest(self, text: str) -> str:
        return hmac.new(self._secret, text.encode("utf-8", "surrogatepass"), sha256).hexdigest()

    async def _checked(self, stored: str, given: str, account: str) -> bool:
        try:
            return await self._verify(stored, given)
        except Overloaded:
            self._failures.right(account=account)  # nothing was tried
            raise

    async def _verify(self, stored: str, given: str) -> bool:
        def check() -> bool:
            try:
                return self._hasher.verify(stored, given.encode("utf-8", "surrogatepass"))
            except (VerificationError, InvalidHashError):
                return False

        return await self._run(check)

    async def _run(self, work: Callable[[], T]) -> T:
        """Run on a hashing thread. Raises `TooManyFailures` when too many wait: a flood must not queue up."""
        if self._hashing >= MAX_HASHING:
            raise Overloaded(2.0)
        self._hashing += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._hashing -= 1
