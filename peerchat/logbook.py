"""The upkeep of the log: changed settings as rows, and signed checkpoints that leave the host.

    Signer         the log's own key, beside the master key: it can sign, and prove nothing false of the past
    ToFile         appends to a file outside the data folder: another disk, a mount that only grows
    ToWebhook      posts to somebody else's server, signed like every webhook of ours
    Logbook        the loop: walks the new rows, signs the head, ships it, and says what it found

A checkpoint is signed only over rows that fit those before, and is kept until every place outside has it: an
outage of one loses none.
"""

import asyncio
import hmac
import json
import logging
import os
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from escalation.audit import (
    START,
    BadCheckpoint,
    Checkpoint,
    Entry,
    Fault,
    SignedCheckpoint,
    Verdict,
    genuine,
    parsed,
    public_key,
    signed,
    verify,
)
from peerchat import views
from peerchat.channels import signing
from peerchat.channels.outward import Unanswered, request
from peerchat.errors import SettingsError, StoreUnavailable
from peerchat.settings import TABLES, Settings
from peerchat.store.audit import Shipment
from peerchat.store.seal import load_master_key
from peerchat.store.sql import Store, Tx, database_file, kept_checkpoints, open_audit

log = logging.getLogger(__name__)

SEND_S = 10.0
PAGE = 1_000
AT_ONCE = 100
"""Checkpoints that one round ships to one place."""

SERVER = "server"
SETTINGS = "settings_active"
"""The row of settings that came into force: no values, only which names have others than before."""


class ShipFailed(Exception):
    """A checkpoint did not arrive; the message is a word or two without an address."""


class Target(Protocol):
    """A place outside this host where checkpoints go."""

    name: str

    async def ship(self, checkpoint: SignedCheckpoint) -> None:
        """Deliver one; raises `ShipFailed`. The same one may come again."""
        ...


class Signer:
    """Signs the log's head."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = public_key(key)

    def sign(self, head: Checkpoint, *, at: datetime) -> SignedCheckpoint:
        return signed(head, self._key, at=at)


def key_file(settings: Settings) -> Path:
    """Return where the log's key lies: beside the master key."""
    return settings.key_file.with_name("audit.key")


KEY_ACCEPTED = "log_key_accepted"
"""The row of another key of the log that somebody took into use; it names those before it."""


class KeyLost(SettingsError):
    """The log was signed before, and the key that signed it is not there."""


def load_signer(settings: Settings, *, accept: bool = False) -> Signer:
    """Read the log's key; make it where nothing was signed yet, or where a new one is accepted.

    Raises `KeyLost`: a new key made in silence would hide every checkpoint of the old one. Raises
    `SettingsError` where others may read the key.
    """
    file = key_file(settings)
    if not file.exists() and not accept and _signed_before(settings):
        raise KeyLost(
            f"{file}: the log was signed with a key that is not there; put it back, or take a new one into"
            " use with `peerchat audit key --accept`"
        )
    raw = load_master_key(file, create=True)
    return Signer(Ed25519PrivateKey.from_private_bytes(raw))


def _signed_before(settings: Settings) -> bool:
    outside = settings.audit.file
    shipped = outside is not None and outside.exists() and outside.stat().st_size > 0
    return shipped or bool(kept_checkpoints(database_file(settings.data)))


def noted(entries: Iterable[Entry], names: set[str]) -> Iterator[Entry]:
    """Pass rows on; add to `names` the keys that a row says were replaced by another."""
    for entry in entries:
        if entry.kind == KEY_ACCEPTED:
            names.update(str(entry.data.get("instead_of", "")).split())
        yield entry


def strangers(checkpoints: Iterable[SignedCheckpoint], known: Collection[str]) -> list[SignedCheckpoint]:
    """Return the checkpoints that none of the keys known has signed."""
    return [c for c in checkpoints if c.key not in known or not genuine(c, c.key)]


class ToFile:
    """Appends a line for each checkpoint, and forces it to the disk."""

    name = "file"

    def __init__(self, path: Path, *, data: Path) -> None:
        if path.resolve().is_relative_to(data.resolve()):
            raise SettingsError(
                "audit.file: inside `data`; whoever could rewrite the log could rewrite this too"
            )
        self._path = path

    async def ship(self, checkpoint: SignedCheckpoint) -> None:
        """Append; runs on a thread."""
        try:
            await asyncio.to_thread(self._append, checkpoint.line())
        except OSError as error:
            raise ShipFailed(error.strerror or "not writable") from None

    def _append(self, line: str) -> None:
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
        try:
            torn = "\n" if self._torn() else ""  # half a line, where the power went, must not spoil this one
            os.write(file, f"{torn}{line}\n".encode())
            os.fsync(file)
        finally:
            os.close(file)

    def _torn(self) -> bool:
        with self._path.open("rb") as file:
            if not file.seek(0, os.SEEK_END):
                return False
            file.seek(-1, os.SEEK_END)
            return file.read(1) != b"\n"

    def kept(self) -> list[str]:
        """Return the lines that are there; none where there is no file yet."""
        try:
            return self._path.read_text("utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return []


class ToWebhook:
    """Posts each checkpoint to an address; any answer of 2xx is a receipt."""

    name = "webhook"

    def __init__(self, url: str, secret: str, *, clock: Callable[[], datetime]) -> None:
        self._url = url
        self._secret = secret
        self._clock = clock

    async def ship(self, checkpoint: SignedCheckpoint) -> None:
        """Post; the id is the same again where a checkpoint is sent again."""
        body = json.dumps({"type": "log_checkpoint", **json.loads(checkpoint.line())}).encode()
        id, now = f"log-{checkpoint.n}", int(self._clock().timestamp())
        headers = signing.headers(self._secret, timestamp=now, id=id, body=body)
        headers["Content-Type"] = "application/json"
        try:
            answer = await request("POST", self._url, headers=headers, body=body, timeout_s=SEND_S)
        except Unanswered as error:
            raise ShipFailed(error.fault) from None
        if not answer.ok:
            raise ShipFailed(f"answered {answer.status}")


def targets_of(settings: Settings, *, clock: Callable[[], datetime]) -> list[Target]:
    """Return the places that the settings name."""
    given, found = settings.audit, list[Target]()
    if given.file is not None:
        found.append(ToFile(given.file, data=settings.data))
    if given.webhook is not None:
        if given.webhook_secret is None:
            raise SettingsError("audit.webhook_secret: not set; the receiver could not tell us from anybody")
        found.append(ToWebhook(given.webhook, given.webhook_secret, clock=clock))
    return found


class Logbook:
    """Walks, signs and ships. Made once; `fault` and `health` say how it stands."""

    def __init__(
        self,
        store: Store,
        database: Path,
        signer: Signer | None,
        targets: Sequence[Target],
        *,
        clock: Callable[[], datetime],
        every_s: float,
    ) -> None:
        self._store = store
        self._database = database
        self._targets = targets
        self._clock = clock
        self._every_s = every_s
        self._walked: Checkpoint | None = None
        self.signer = signer  # None: its key is lost
        self.foreign = signer is None  # whether another key than ours signed before
        self.fault: Fault | None = None
        self.failing: Mapping[str, str] = {}

    async def run(self) -> None:
        """Go on until cancelled; a failure is logged by its kind, and tried again."""
        while True:
            try:
                await self.round()
            except StoreUnavailable:
                log.warning("the log was not looked at; the next round will")
            except Exception as error:  # the log's upkeep outlives every failure
                log.error("the log's upkeep failed: %s", type(error).__name__)
            await asyncio.sleep(self._every_s)

    async def round(self) -> None:
        """Walk what is new, sign the head, and ship what has not arrived yet."""
        if self.fault is None:
            found = await self._walk()
            self.fault = found.fault
            if found.fault is not None:
                log.critical("the log is not what it was, at row %d: %s", found.fault.n, found.fault.what)
            else:
                self._walked = found.head
                await self._sign(found.head)
        failing = {}
        for target in self._targets:
            if fault := await self._ship(target):
                failing[target.name] = fault
        self.failing = failing

    async def _walk(self) -> Verdict:
        """Return what the rows since the last round show; the first time, the whole log against all kept."""
        start = self._walked
        if start is None:
            kept = await self._store.read(lambda tx: tx.audit.checkpoints())
            return await asyncio.to_thread(self._walk_all, kept)
        while True:
            page = await self._store.read(_page(start.n))
            found = verify(page, start=start)
            if found.fault is not None:
                return found
            start = found.head
            if len(page) < PAGE:
                break
        last = await self._store.read(lambda tx: tx.audit.head())
        if last.n < start.n:
            short = Fault(n=last.n + 1, what="the log was cut short while the server ran", after=last.n)
            return Verdict(head=start, fault=short)
        return Verdict(head=start)

    def _walk_all(self, kept: Sequence[SignedCheckpoint]) -> Verdict:
        """Walk the whole log, against the checkpoints in it and in the file outside. Runs on a thread.

        What another key signed counts too: with the key lost, a log cut short is still found. That it is
        another's is a fault of its own, until a row of the log says that the key was replaced.
        """
        checkpoints = list(kept)
        for target in self._targets:
            if isinstance(target, ToFile):
                for line in target.kept():
                    try:
                        found = parsed(line)
                    except BadCheckpoint:
                        continue  # half a line, where the power went; the command line names it
                    if isinstance(found, SignedCheckpoint):
                        checkpoints.append(found)
        known = {self.signer.public} if self.signer is not None else set()
        with open_audit(self._database) as entries:
            verdict = verify(
                noted(entries, known), checkpoints=[c.head for c in checkpoints if genuine(c, c.key)]
            )
        self.foreign = self.signer is None or bool(strangers(checkpoints, known))
        if self.foreign:
            log.critical("the log was signed by another key than audit.key")
        return verdict

    async def _sign(self, head: Checkpoint) -> None:
        if self.signer is None or self.foreign:
            return
        newest = await self._store.read(lambda tx: tx.audit.newest_checkpoint())
        if head != START and (newest is None or newest.n < head.n):
            made = self.signer.sign(head, at=self._clock())
            await self._store.write(lambda tx: tx.audit.keep(made))

    async def _ship(self, target: Target) -> str | None:
        """Ship to one place what it has not got; return what is wrong there, or None."""
        pending = await self._store.read(lambda tx: tx.audit.unshipped(target.name, limit=AT_ONCE))
        for checkpoint in pending:
            try:
                await target.ship(checkpoint)
            except ShipFailed as error:
                await self._store.write(_not_shipped(target.name, fault := str(error)))
                return fault
            await self._store.write(_shipped(target.name, checkpoint.n))
        return None

    # -- how it stands, in words

    def health(self) -> Sequence[dict[str, Any]]:
        """Return what the coordinator's page says of the log."""
        if self.fault is not None:
            words = (
                f"It is not what it was, {where(self.fault)}. Leave the server as it is and ask who runs it."
            )
        elif self.foreign:
            words = (
                "Its key is lost, or another key has signed it. Nothing is signed; ask who runs the server."
            )
        elif self.failing:
            words = f"Its signed copy does not arrive outside: {', '.join(self.failing.values())}."
        elif not self._targets:
            words = "It is whole. No signed copy leaves this machine yet."
        else:
            words = "It is whole, and signed copies of its head leave this machine."
        ok = self.fault is None and not self.foreign and not self.failing
        return [{"what": "The log", "ok": ok, "words": words}]

    async def shown(self) -> dict[str, Any]:
        """Return the newest checkpoint, and how far each place outside has them, for the page."""

        def body(tx: Tx) -> tuple[SignedCheckpoint | None, dict[str, Shipment]]:
            return tx.audit.newest_checkpoint(), tx.audit.shipments()

        newest, shipments = await self._store.read(body)
        places = []
        for target in self._targets:
            found = shipments.get(target.name, Shipment(n=0, at=None, failing_since=None, fault=None))
            places.append(
                {
                    "place": target.name,
                    "n": found.n,
                    "at": views.moment(found.at),
                    "failing_since": views.moment(found.failing_since),
                    "words": PLACES[target.name] + (f" ({found.fault})" if found.failing_since else ""),
                }
            )
        return {
            "key": self.signer.public if self.signer is not None else None,
            "n": newest.n if newest is not None else 0,
            "at": views.moment(newest.at) if newest is not None else None,
            "places": places,
        }


def _page(after: int) -> Callable[[Tx], list[Entry]]:
    return lambda tx: tx.audit.entries(after=after, limit=PAGE)


def _shipped(target: str, n: int) -> Callable[[Tx], None]:
    return lambda tx: tx.audit.shipped(target, n)


def _not_shipped(target: str, fault: str) -> Callable[[Tx], None]:
    return lambda tx: tx.audit.not_shipped(target, fault)


PLACES = {"file": "a file on another disk", "webhook": "a server elsewhere"}


def where(fault: Fault) -> str:
    """Return in words where a log is not what it was."""
    if fault.n <= fault.after + 1:
        return f"at row {fault.n}: {fault.what}"
    return f"between row {fault.after + 1} and row {fault.n}: {fault.what}"


@asynccontextmanager
async def keeping(logbook: Logbook) -> AsyncIterator[None]:
    """Run the loop beside the server; the last head is signed and shipped on the way out."""
    task = asyncio.create_task(logbook.run(), name="logbook")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        try:
            async with asyncio.timeout(SEND_S / 2):
                await logbook.round()
        except Exception as error:  # a stop waits for nobody
            log.warning("the last checkpoint did not leave: %s", type(error).__name__)


# -- settings


def note_settings(tx: Tx, settings: Settings, master: bytes) -> None:
    """Write a row where the settings are others than at the last start: names of what changed, no values.

    What they are compared by is a keyed hash of each: nobody without the master key can guess a value by it.
    """
    key = hmac.new(master, b"peerchat settings in the log", sha256).digest()
    now = {name: _mark(key, name, value) for name, value in _flat(settings).items()}
    last = tx.audit.last(SETTINGS)
    before = {} if last is None else {k[2:]: v for k, v in last.data.items() if k.startswith("s:")}
    changed = sorted(name for name in {*now, *before} if now.get(name) != before.get(name))
    if last is None or changed:
        said = "first start" if last is None else ", ".join(changed)
        tx.audit.append(
            SERVER, SETTINGS, "settings", {"changed": said, **{f"s:{k}": v for k, v in now.items()}}
        )


def _flat(settings: Settings) -> dict[str, object]:
    found: dict[str, object] = {}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if name in TABLES:
            found |= {f"{name}.{within}": getattr(value, within) for within in type(value).model_fields}
        else:
            found[name] = value
    return found


def _mark(key: bytes, name: str, value: object) -> str:
    return hmac.new(key, f"{name}={value!r}".encode(), sha256).hexdigest()[:12]
