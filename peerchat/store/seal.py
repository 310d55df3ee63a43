"""Text at rest: AES-256-GCM with one key for each (scope, owner, retention class), wrapped by a master key.

Wrapped keys live in a file of their own, apart from the database and its backups: destroying a key makes the
text unreadable in every copy of the database. The master key is a file outside both.
"""

import hmac
import os
import sqlite3
import threading
from collections import OrderedDict
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from peerchat.errors import SettingsError, StoreUnavailable

NONCE = 12
CACHE = 20_000
CHAT, CASE = "chat", "case"
"""Retention classes: chat is kept for days, a case by the school's own policy."""


class KeyName(NamedTuple):
    """What one key opens: `scope` is a conversation or a case, `owner` a member or "staff"."""

    scope: str
    owner: str
    retention: str = CHAT


CHECK = KeyName("master key", "check", "check")
"""A key that seals nothing: whether it unwraps tells whether the master key is the right one."""


class Keyring:
    """Makes, keeps and destroys the keys of texts. Safe to use from several threads.

    `seal` and `open` raise `StoreUnavailable` when a key cannot be had; a text that was tampered with, or
    whose key was destroyed, opens as None.
    """

    def __init__(self, path: Path, master: bytes) -> None:
        self._lock = threading.Lock()
        self._cache: OrderedDict[KeyName, tuple[AESGCM, bytes]] = OrderedDict()
        self._master = AESGCM(master)
        self._index_key = hmac.new(master, b"peerchat sign-in codes", sha256).digest()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        path.chmod(0o600)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute("PRAGMA secure_delete=ON")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS text_key (scope TEXT, owner TEXT, retention TEXT,"
            " wrapped BLOB NOT NULL, PRIMARY KEY (scope, owner, retention)) WITHOUT ROWID"
        )
        self._check_master()

    def _check_master(self) -> None:
        """Refuse a master key that is not the one these keys were wrapped with, from the first start on."""
        rows = self._db.execute(
            "SELECT scope, owner, retention, wrapped FROM text_key ORDER BY scope = ? DESC LIMIT 1",
            (CHECK.scope,),
        ).fetchall()
        for *name, wrapped in rows:
            try:
                self._unwrap(KeyName(*name), wrapped)
            except InvalidTag:
                raise SettingsError("the master key is not the one that this data was written with") from None
        if not any(name[0] == CHECK.scope for name in rows):
            self._create(CHECK)

    def close(self) -> None:
        """Close the key file."""
        with self._lock:
            self._db.close()

    def seal(self, name: KeyName, text: str, *, bound_to: str) -> bytes:
        """Return the text sealed; it opens only with the same `bound_to` (the id of its row)."""
        cipher, _ = self._key(name, create=True)
        nonce = os.urandom(NONCE)
        return nonce + cipher.encrypt(nonce, text.encode(), bound_to.encode())

    def open(self, name: KeyName, sealed: bytes, *, bound_to: str) -> str | None:
        """Return the text, or None where its key is gone or the row is not what was written."""
        try:
            cipher, _ = self._key(name, create=False)
            return cipher.decrypt(sealed[:NONCE], sealed[NONCE:], bound_to.encode()).decode()
        except (KeyError, InvalidTag, ValueError):  # ValueError: cut short, or not text
            return None

    def mac(self, name: KeyName, text: str) -> bytes:
        """Return a keyed hash of a text: equal texts under one key match, and nobody else can guess them."""
        _, raw = self._key(name, create=True)
        return hmac.new(raw, text.encode(), sha256).digest()

    def index(self, secret: str) -> bytes:
        """Return the blind index of a sign-in code: found by equality, useless without the master key."""
        return hmac.new(self._index_key, secret.encode(), sha256).digest()

    def destroy(self, scope: str) -> int:
        """Destroy all keys of a scope; return how many. What they sealed cannot be read again."""
        with self._lock:
            for name in [n for n in self._cache if n.scope == scope]:
                del self._cache[name]
            gone = self._db.execute("DELETE FROM text_key WHERE scope = ?", (scope,)).rowcount
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # the log would still hold what was deleted
            return gone

    def _key(self, name: KeyName, *, create: bool) -> tuple[AESGCM, bytes]:
        with self._lock:
            found = self._cache.get(name)
            if found is not None:
                self._cache.move_to_end(name)
                return found
            try:
                row = self._db.execute(
                    "SELECT wrapped FROM text_key WHERE scope = ? AND owner = ? AND retention = ?", name
                ).fetchone()
                if row is not None:
                    raw = self._unwrap(name, row[0])
                elif create:
                    raw = self._create(name)
                else:
                    raise KeyError(name)
            except (sqlite3.Error, InvalidTag) as error:
                if isinstance(error, InvalidTag) and not create:
                    raise
                raise StoreUnavailable(f"the key file: {type(error).__name__}") from None
            self._cache[name] = AESGCM(raw), raw
            if len(self._cache) > CACHE:
                self._cache.popitem(last=False)
            return self._cache[name]

    def _create(self, name: KeyName) -> bytes:
        raw = AESGCM.generate_key(256)
        nonce = os.urandom(NONCE)
        wrapped = nonce + self._master.encrypt(nonce, raw, "\0".join(name).encode())
        self._db.execute("INSERT INTO text_key VALUES (?, ?, ?, ?)", (*name, wrapped))
        return raw

    def _unwrap(self, name: KeyName, wrapped: bytes) -> bytes:
        return self._master.decrypt(wrapped[:NONCE], wrapped[NONCE:], "\0".join(name).encode())


def load_master_key(path: Path, *, create: bool) -> bytes:
    """Read the master key (32 bytes, hex) from a file that only its owner may read; make it where allowed."""
    if not path.exists():
        if not create:
            raise SettingsError(f"master_key_file: {path} is not there")
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "w") as file:
            file.write(os.urandom(32).hex() + "\n")
            file.flush()
            os.fsync(file.fileno())
    if path.stat().st_mode & 0o077:
        raise SettingsError(f"master_key_file: {path} may be read by others; make it mode 600")
    try:
        key = bytes.fromhex(path.read_text().strip())
    except ValueError:
        key = b""
    if len(key) != 32:
        raise SettingsError(f"master_key_file: {path} does not hold 32 bytes in hex")
    return key
