"""`peerchat channels`: who is told of alerts beyond the page, by what, and whether it works."""

import argparse
import asyncio
import getpass
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from escalation.ladder import AUDIENCES, Audience
from moderation.verdict import Role
from peerchat.channels.book import Wanted, added, lacking, removed, shown, try_out
from peerchat.channels.contact import BadContact, Contact, Kind
from peerchat.channels.senders import Senders, senders_of
from peerchat.errors import SettingsError, UnknownObject
from peerchat.settings import load_settings
from peerchat.store.seal import Keyring, load_master_key
from peerchat.store.sql import Store, Tx, database_file, keys_file, open_store
from web.app import utc_now

BY = "command line"
KINDS = [kind.value for kind in Kind if kind is not Kind.PUSH]


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser("channels", help="who is told of alerts beyond the page; add, try, remove")
    inner = parser.add_subparsers(metavar="WHAT", required=True)
    listing = inner.add_parser("list", help="list contact points, and say what is missing")
    listing.set_defaults(run=_list)
    adding = inner.add_parser(
        "add",
        help="add a contact point; its address is asked for, or piped in",
        description="The address is an email address or a phone number, which goes by the server's own"
        " provider (`[channels]` in the settings), an Apprise address, or the https address of a webhook. It"
        " is read from standard input, not from the command line, where others on this host could see it.",
    )
    adding.add_argument("--kind", required=True, choices=KINDS, help="voice: a call or a pager, which rings")
    whose = adding.add_mutually_exclusive_group(required=True)
    whose.add_argument("--username", help="the adult whose it is")
    whose.add_argument("--name", help="whose it is, where it is nobody with an account, such as a pager")
    adding.add_argument(
        "--from",
        dest="audience",
        choices=[audience.value for audience in AUDIENCES],
        default=Audience.ON_DUTY.value,
        help="from which rung on it is told while its adult is not on duty (default: on_duty; off duty it is"
        " then told with all adults)",
    )
    adding.set_defaults(run=_add)
    removing = inner.add_parser("remove", help="remove a contact point")
    removing.add_argument("id", metavar="ID")
    removing.set_defaults(run=_remove)
    trying = inner.add_parser("try", help="send a message that says it is only a try")
    trying.add_argument("ids", nargs="*", metavar="ID", help="contact points; none: all of them")
    trying.set_defaults(run=_try)
    for command in (listing, adding, removing, trying):
        command.add_argument("--config", required=True, type=Path, metavar="FILE", help="settings (TOML)")


def _list(args: argparse.Namespace) -> int:
    async def work(store: Store, _senders: Senders) -> int:
        rows, lacks = await store.read(lambda tx: (shown(tx, _site(tx)), lacking(tx, _site(tx))))
        for row in rows:
            print(json.dumps(row))
        for words in lacks:
            print(f"peerchat: {words}", file=sys.stderr)
        return 0

    return _in_store(args, work)


def _add(args: argparse.Namespace) -> int:
    to = getpass.getpass("Address: ") if sys.stdin.isatty() else sys.stdin.readline().strip()

    async def work(store: Store, senders: Senders) -> int:
        kind = Kind(args.kind)
        checked = await asyncio.to_thread(senders.checked, kind, to, urls=True)

        def body(tx: Tx) -> tuple[dict[str, object], str | None]:
            member = None
            if args.username is not None:
                found = tx.members.by_username(args.username)
                if found is None or found.role is not Role.ADULT:
                    raise SettingsError("--username: no adult has it")
                member = found.id
            wanted = Wanted(
                kind=kind, to=checked, member=member, audience=Audience(args.audience), name=args.name
            )
            return added(tx, _site(tx), wanted, to=checked, by=BY)

        row, secret = await store.write(body)
        print(json.dumps(row | ({"secret": secret} if secret is not None else {})))
        if secret is not None:
            print(
                "peerchat: this secret is shown once; the receiver checks our signature with it",
                file=sys.stderr,
            )
        return 0

    return _in_store(args, work)


def _remove(args: argparse.Namespace) -> int:
    async def work(store: Store, _senders: Senders) -> int:
        await store.write(lambda tx: removed(tx, _found(tx, args.id), by=BY))
        return 0

    return _in_store(args, work)


def _try(args: argparse.Namespace) -> int:
    async def work(store: Store, senders: Senders) -> int:
        def wanted(tx: Tx) -> list[Contact]:
            return [_found(tx, id) for id in args.ids] if args.ids else tx.channels.of_site(_site(tx))

        contacts = await store.read(wanted)
        if not contacts:
            raise SettingsError("there is nothing to try: peerchat channels add")
        outcomes = await asyncio.gather(*(try_out(store, senders, each, by=BY) for each in contacts))
        for contact, outcome in zip(contacts, outcomes, strict=True):
            row = {"id": contact.id, "kind": contact.kind.value, "ok": outcome.ok, "fault": outcome.fault}
            print(json.dumps(row))
        return 0 if all(outcome.ok for outcome in outcomes) else 1

    return _in_store(args, work)


def _found(tx: Tx, contact: str) -> Contact:
    found = tx.channels.get(contact)
    if found is None:
        raise SettingsError(f"{contact}: no such contact point")
    return found


def _site(tx: Tx) -> str:
    sites = tx.sites.all()
    if not sites:
        raise SettingsError("there is no site here yet: peerchat site create")
    return sites[0].id


def _in_store(args: argparse.Namespace, work: Callable[[Store, Senders], Awaitable[int]]) -> int:
    """Work on the data folder; the server need not stop for it."""

    async def run() -> int:
        async with _opened(args) as (store, senders):
            return await work(store, senders)

    try:
        return asyncio.run(run())
    except (BadContact, UnknownObject) as error:
        raise SettingsError(str(error)) from None


@asynccontextmanager
async def _opened(args: argparse.Namespace) -> AsyncIterator[tuple[Store, Senders]]:
    settings = load_settings(args.config)
    if not database_file(settings.data).exists():
        raise SettingsError(f"{settings.data}: no database there")
    master = load_master_key(settings.key_file, create=False)
    senders = senders_of(settings, master)
    keyring = Keyring(keys_file(settings.data), master)
    loop = asyncio.get_running_loop()
    store = open_store(settings.data, keyring, clock=utc_now, on_events=lambda _: None, loop=loop)
    try:
        yield store, senders
    finally:
        store.close()
        keyring.close()
        senders.close()
