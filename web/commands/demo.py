"""`peerchat demo`: a server with a made-up school, on embedded defaults, for trying things out.

The same folder continues where it was: members, codes and passwords stay. The first adult's duty is kept up
by the demo itself until that adult sends `duty`; then it is the adult's own affair, also after a restart.
"""

import argparse
import asyncio
import json
import os
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from argon2 import PasswordHasher
from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table

from escalation.duty import LEASE
from moderation.verdict import Role
from peerchat import setup
from peerchat.errors import SettingsError, StoreUnavailable
from peerchat.node import Node
from peerchat.settings import Settings, load_settings
from peerchat.store.sql import Tx
from web.app import create_app
from web.server import serve

KEPT_BY = "demo"
KEEP_EVERY_S = 20.0
ADULTS = ("Ms Okafor", "Mr Lind")
PASSWORD_BYTES = 9

_hasher = PasswordHasher(time_cost=1, memory_cost=8 * 1024, parallelism=1)
"""Cheaper than a real site's: a demo may make hundreds of members, and its passwords are random."""


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser("demo", help="run a made-up school on this machine, to try things out")
    parser.add_argument("--port", type=int, default=8000, help="port on loopback (default 8000)")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of the demo's data")
    parser.add_argument(
        "--credentials",
        type=Path,
        required=True,
        metavar="FILE",
        help="where the sign-ins are written (mode 600)",
    )
    parser.add_argument("--pupils", type=int, default=2, metavar="N", help="pupils (default 2)")
    parser.add_argument("--mentors", type=int, default=2, metavar="N", help="mentors (default 2)")
    parser.add_argument("--moderators", type=int, default=1, metavar="N", help="moderators (default 1)")
    parser.add_argument(
        "--capacity", type=int, default=None, metavar="N", help="chats at once for a mentor, at most"
    )
    parser.add_argument("--unlimited", action="store_true", help="lift the send limit, for load tests")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve the demo until a signal."""
    for name in ("pupils", "mentors", "moderators"):
        if not 1 <= getattr(args, name) <= 20_000:
            raise SettingsError(f"--{name} is a number from 1 to 20000")
    settings = load_settings(
        None,
        data=args.data,
        port=args.port,
        secure_cookies=False,
        unlimited=args.unlimited or None,
        max_capacity=args.capacity,
    )
    demo = Demo(settings, pupils=args.pupils, mentors=args.mentors, moderators=args.moderators)

    def ready(url: str) -> None:
        demo.write_credentials(args.credentials, url)
        demo.show(url)

    return serve(
        create_app(settings, extra=demo.running, create_keys=True, hasher=_hasher), settings, on_ready=ready
    )


class Demo:
    """The made-up school: made once, kept in the data folder, its first adult kept on duty."""

    def __init__(self, settings: Settings, *, pupils: int, mentors: int, moderators: int) -> None:
        self._wanted = {"pupils": pupils, "mentors": mentors, "moderators": moderators}
        self._file = settings.data / "demo.json"
        self._people: dict[str, list[dict[str, str]]] = {}
        self._service = "Common Room"

    @asynccontextmanager
    async def running(self, node: Node) -> AsyncIterator[None]:
        """Make or find the school; keep duty up while the server runs."""
        await self._prepare(node)
        keeper = asyncio.create_task(self._keep_duty(node), name="demo-duty")
        try:
            yield
        finally:
            keeper.cancel()

    async def _prepare(self, node: Node) -> None:
        if self._file.exists():
            self._people = json.loads(self._file.read_text())["people"]
        else:
            if await node.store.read(lambda tx: bool(tx.sites.all())):
                raise SettingsError(f"{self._file.parent} holds a site that is not a demo's")
            people = self._invent()
            hashes = await asyncio.to_thread(_hash_all, people)
            _write(self._file, {"people": people}, part=True)
            await node.store.write(lambda tx: self._make(tx, people, hashes))
            os.replace(self._file.with_suffix(".part"), self._file)  # noqa: PTH105
            self._people = people
        await node.store.write(self._renew)

    def _invent(self) -> dict[str, list[dict[str, str]]]:
        def many(word: str, count: int, names: tuple[str, ...] = ()) -> list[dict[str, str]]:
            return [
                {
                    "username": f"{word}{n}",
                    "password": secrets.token_urlsafe(PASSWORD_BYTES),
                    "name": names[n - 1] if n <= len(names) else f"{word.capitalize()} {n}",
                }
                for n in range(1, count + 1)
            ]

        return {
            "pupils": [{"code": ""} for _ in range(self._wanted["pupils"])],
            "mentors": many("mentor", self._wanted["mentors"]),
            "moderators": many("moderator", self._wanted["moderators"], ("Mr Haddad",)),
            "adults": many("adult", 2, ADULTS),
            "coordinators": many("coordinator", 1, ("Mrs Reid",)),
        }

    def _make(self, tx: Tx, people: dict[str, list[dict[str, str]]], hashes: dict[str, str]) -> None:
        site = setup.add_site(tx, name="Ashdown School", service_name=self._service)
        for pupil in people["pupils"]:
            pupil["code"] = setup.add_pupil(tx, site)
        roles = {
            "mentors": Role.MENTOR,
            "moderators": Role.MODERATOR,
            "adults": Role.ADULT,
            "coordinators": Role.COORDINATOR,
        }
        for kind, role in roles.items():
            for n, person in enumerate(people[kind]):
                id = setup.add_staff(
                    tx,
                    site,
                    role,
                    username=person["username"],
                    password_hash=hashes[person["username"]],
                    name=None if role is Role.MENTOR else person["name"],
                    trained=role is Role.MENTOR,
                )
                if role is Role.ADULT and n == 0:
                    tx.duty.take(id, role, site, lease=LEASE, kept_by=KEPT_BY)
        _write(self._file, {"people": people}, part=True)  # before the commit: no school without its sign-ins

    def _renew(self, tx: Tx) -> bool:
        adult = tx.members.by_username(self._people["adults"][0]["username"])
        return adult is not None and tx.duty.keep(adult.id, lease=LEASE, kept_by=KEPT_BY)

    async def _keep_duty(self, node: Node) -> None:
        while True:
            await asyncio.sleep(KEEP_EVERY_S)
            try:
                await node.store.write(self._renew)
            except StoreUnavailable:
                continue  # the lease outlives several missed renewals

    def write_credentials(self, path: Path, url: str) -> None:
        """Write the sign-ins, for programs."""
        shown = {
            kind: [{k: v for k, v in person.items() if k != "name"} for person in people]
            for kind, people in self._people.items()
        }
        _write(path, {"url": url} | shown)

    def show(self, url: str) -> None:
        """Print the sign-ins, for people."""
        table = Table(box=None, pad_edge=False)
        table.add_column("Who", style="bold")
        table.add_column("Sign in with")
        people = self._people
        for n, pupil in enumerate(people["pupils"][:2], start=1):
            table.add_row(f"Pupil {n}", pupil["code"])
        words = {
            "mentors": "Mentor",
            "moderators": "Moderator",
            "adults": "Adult",
            "coordinators": "Coordinator",
        }
        for kind, word in words.items():
            for n, person in enumerate(people[kind][:2], start=1):
                name = f"{word} {n}" if kind == "mentors" else f"{word}, {person['name']}"
                table.add_row(name, f"{person['username']}   {person['password']}")
        text = Group(
            f"Pupils open        [link={url}/]{url}/[/link]",
            f"Everybody else     [link={url}/staff]{url}/staff[/link]",
            "",
            table,
            "",
            "Ms Okafor is kept on duty. Each sign-in wants a window or",
            "private window of its own. Ctrl+C ends the server.",
        )
        Console(file=sys.stderr).print(Panel.fit(text, title=f"{self._service}, a made-up school"))


def _hash_all(people: dict[str, list[dict[str, str]]]) -> dict[str, str]:
    return {
        person["username"]: _hasher.hash(person["password"])
        for rows in people.values()
        for person in rows
        if "password" in person
    }


def _write(path: Path, content: dict[str, Any], *, part: bool = False) -> None:
    """Write JSON that only its owner may read, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".part")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(content, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    if not part:
        os.replace(draft, path)  # noqa: PTH105
