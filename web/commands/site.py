"""`peerchat site`: make a site, its staff and its pupils' cards, in the data folder of a settings file."""

import argparse
import asyncio
import getpass
import json
import sys
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, TypeVar
from zoneinfo import available_timezones

from argon2 import PasswordHasher
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from moderation.verdict import Role
from peerchat import setup
from peerchat.channels.book import unreached
from peerchat.channels.contact import NO_INDEPENDENT
from peerchat.channels.wording import MISSING
from peerchat.errors import SettingsError
from peerchat.frames import Service
from peerchat.settings import load_settings
from peerchat.store.seal import Keyring, load_master_key
from peerchat.store.sql import Tx, keys_file, open_store
from web.app import utc_now

T = TypeVar("T")
MIN_PASSWORD = 12
COMMAND_LINE = "command line"
ROLES = [role.value for role in Role if role is not Role.PUPIL]


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser("site", help="make a site, its staff and its pupils' cards")
    inner = parser.add_subparsers(metavar="WHAT", required=True)
    create = inner.add_parser("create", help="make a site")
    create.add_argument("--name", required=True, help="the school's name")
    create.add_argument(
        "--service-name", default="Common Room", help="what pupils call it (default: Common Room)"
    )
    create.add_argument("--timezone", default="Europe/London")
    create.set_defaults(run=_create)
    staff = inner.add_parser(
        "staff", help="add a member with a username; the password is asked for, or piped in"
    )
    staff.add_argument("--role", required=True, choices=ROLES)
    staff.add_argument("--username", required=True)
    staff.add_argument("--name", help="display name (not for mentors: pupils never see one)")
    staff.add_argument(
        "--trained", action="store_true", help="a mentor whom an adult has approved after training"
    )
    staff.set_defaults(run=_staff)
    cards = inner.add_parser("cards", help="add pupils; prints one new code a line, and keeps none")
    cards.add_argument("count", type=int)
    cards.set_defaults(run=_cards)
    configure = inner.add_parser("configure", help="set hours, topics, services and the like from a file")
    configure.add_argument("file", type=Path, metavar="FILE", help="TOML; see docs/operators.md")
    configure.set_defaults(run=_configure)
    suspend = inner.add_parser("suspend", help="suspend a member at once, by username")
    suspend.add_argument("--username", required=True)
    suspend.set_defaults(run=_suspend)
    times = inner.add_parser("times", help="show or set how fast alerts climb and how long duty holds")
    times.add_argument(
        "changes", nargs="*", metavar="NAME=VALUE", help="minutes of a ladder with commas; empty: the default"
    )
    times.set_defaults(run=_times)
    independent = inner.add_parser("independent", help="show or preset who is told of alerts about staff")
    independent.add_argument("usernames", nargs="*", metavar="USERNAME", help="in the order they are asked")
    independent.add_argument(
        "--outside",
        action="append",
        default=[],
        metavar="USERNAME",
        help="one of them who is not told of anything else, such as a chair of governors",
    )
    independent.add_argument("--nobody", action="store_true", help="preset nobody any more")
    independent.set_defaults(run=_independent)
    for command in (create, staff, cards, configure, suspend, times, independent):
        command.add_argument("--config", type=Path, required=True, metavar="FILE", help="settings (TOML)")


def _create(args: argparse.Namespace) -> int:
    def body(tx: Tx) -> str:
        if tx.sites.all():
            raise SettingsError("there is a site here already")
        return setup.add_site(tx, name=args.name, service_name=args.service_name, timezone=args.timezone)

    print(json.dumps({"site": in_store(args, body)}))
    return 0


def _staff(args: argparse.Namespace) -> int:
    role = Role(args.role)
    if role is Role.MENTOR and args.name:
        raise SettingsError("--name: mentors have no name here")
    if role is not Role.MENTOR and not args.name:
        raise SettingsError("--name: staff need a name that pupils and mentors may see")
    password = getpass.getpass("Password: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    if len(password) < MIN_PASSWORD:
        raise SettingsError(f"the password needs at least {MIN_PASSWORD} characters")
    hashed = PasswordHasher().hash(password)

    def body(tx: Tx) -> str:
        if tx.members.by_username(args.username) is not None:
            raise SettingsError("--username: taken already")
        return setup.add_staff(
            tx,
            _site(tx),
            role,
            username=args.username,
            password_hash=hashed,
            name=args.name,
            trained=args.trained,
        )

    print(json.dumps({"member": in_store(args, body)}))
    return 0


def _cards(args: argparse.Namespace) -> int:
    if not 1 <= args.count <= 5_000:
        raise SettingsError("a number of cards from 1 to 5000")
    codes = in_store(args, lambda tx: [setup.add_pupil(tx, _site(tx)) for _ in range(args.count)])
    print("\n".join(codes))
    return 0


class Hours(BaseModel):
    """One row of opening hours: days from 0 (Monday), times in the site's own zone."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)
    days: Annotated[list[Annotated[int, Field(ge=0, le=6)]], Field(min_length=1)]
    begin: Annotated[str, Field(alias="from", pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
    end: Annotated[str, Field(alias="to", pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]

    @model_validator(mode="after")
    def _in_order(self) -> "Hours":
        if self.begin >= self.end:
            raise ValueError("`from` must be before `to`")
        return self


class Place(BaseModel):
    """One row of the directory of services."""

    model_config = ConfigDict(extra="forbid")
    name: Annotated[str, Field(min_length=1, max_length=80)]
    phone: str | None = None
    url: Annotated[str, Field(pattern=r"^https://\S+$")] | None = None
    hours: str | None = None
    text: str | None = None


class SiteFile(BaseModel):
    """What a site's file may set; what it leaves out stays as it is."""

    model_config = ConfigDict(extra="forbid")
    name: Annotated[str, Field(min_length=1, max_length=120)] | None = None
    service_name: Annotated[str, Field(min_length=1, max_length=60)] | None = None
    timezone: str | None = None
    neutral_url: Annotated[str, Field(pattern=r"^https://\S+$")] | None = None
    closed_by_staff: bool | None = None
    topics: list[Annotated[str, Field(min_length=1, max_length=64)]] | None = None
    hours: list[Hours] | None = None
    services: list[Place] | None = None
    times: dict[str, object] | None = None

    @field_validator("timezone")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        if value is not None and value not in available_timezones():
            raise ValueError("not a time zone such as Europe/London")
        return value


def _configure(args: argparse.Namespace) -> int:
    try:
        given = SiteFile(**tomllib.loads(args.file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise SettingsError(f"{args.file}: no such file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{args.file}: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise SettingsError(f"{args.file}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    changes: dict[str, Any] = given.model_dump(exclude_none=True, by_alias=True)
    if given.services is not None:
        changes["services"] = tuple(Service(**place.model_dump()) for place in given.services)
    for name in ("hours", "topics"):
        if name in changes:
            changes[name] = tuple(changes[name])
    times = changes.pop("times", None)

    def body(tx: Tx) -> list[str]:
        if times is not None:
            setup.set_times(tx, _site(tx), times, by=COMMAND_LINE)
        if changes:
            tx.audit.append(COMMAND_LINE, "site_configured", _site(tx), dict.fromkeys(changes, True))
            tx.sites.change(replace(tx.sites.get(_site(tx)), **changes))
        return sorted(changes if times is None else {**changes, "times": True})

    print(json.dumps({"changed": in_store(args, body)}))
    return 0


def _times(args: argparse.Namespace) -> int:
    changes = dict(_named(given) for given in args.changes)
    print(json.dumps(in_store(args, lambda tx: setup.set_times(tx, _site(tx), changes, by=COMMAND_LINE))))
    return 0


def _named(given: str) -> tuple[str, object]:
    """Return a time as `NAME=VALUE` names it: 20, 15:30, or 0,2,5,10. Checked where it is set."""
    name, equals, value = given.partition("=")
    if not equals:
        raise SettingsError(f"{name}: NAME=VALUE")
    if not value.strip():
        return name, None
    parts = [part.strip() for part in value.split(",")]
    numbers = [int(part) for part in parts if part.isascii() and part.isdecimal()]
    if len(numbers) != len(parts):
        return name, value.strip()
    return name, numbers if "," in value else numbers[0]


def _independent(args: argparse.Namespace) -> int:
    if stray := set(args.outside) - set(args.usernames):
        raise SettingsError(f"--outside: {', '.join(sorted(stray))} is not one of those who are named")
    if args.nobody and args.usernames:
        raise SettingsError("--nobody: names somebody too")

    def body(tx: Tx) -> tuple[list[dict[str, object]], bool]:
        if args.usernames or args.nobody:
            setup.set_independents(tx, _site(tx), args.usernames, outside=set(args.outside), by=COMMAND_LINE)
        preset = tx.rota.independents(_site(tx))
        return [{"name": one.name, "outside": one.outside} for one in preset], unreached(tx, _site(tx))

    shown, deaf = in_store(args, body)
    print(json.dumps(shown))
    if deaf:
        print(f"peerchat: {MISSING[NO_INDEPENDENT]}", file=sys.stderr)
    return 0


def _suspend(args: argparse.Namespace) -> int:
    def body(tx: Tx) -> str:
        member = tx.members.by_username(args.username)
        if member is None:
            raise SettingsError("--username: nobody has it")
        setup.suspend(tx, member.id, by="command line")
        return member.id

    print(json.dumps({"suspended": in_store(args, body)}))
    return 0


def _site(tx: Tx) -> str:
    sites = tx.sites.all()
    if not sites:
        raise SettingsError("there is no site here yet: peerchat site create")
    return sites[0].id


def in_store(args: argparse.Namespace, body: Callable[[Tx], T]) -> T:
    """Run one transaction on the data folder; the server need not stop for it."""
    settings = load_settings(args.config)
    settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    keyring = Keyring(keys_file(settings.data), load_master_key(settings.key_file, create=True))

    async def work() -> T:
        store = open_store(
            settings.data, keyring, clock=utc_now, on_events=lambda _: None, loop=asyncio.get_running_loop()
        )
        try:
            return await store.write(body)
        finally:
            store.close()

    try:
        return asyncio.run(work())
    finally:
        keyring.close()
