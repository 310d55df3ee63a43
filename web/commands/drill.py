"""`peerchat drill`: a practice alert on the real ladder and the real channels, and how it went."""

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

from moderation.verdict import Risk
from peerchat import drills
from peerchat.errors import CaseError, SettingsError
from peerchat.settings import load_settings
from peerchat.store.seal import Keyring, load_master_key
from peerchat.store.sql import Store, Tx, database_file, keys_file, open_store
from web.app import utc_now

BY = "command line"
LOOK_S = 1.0


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "drill",
        help="practise an alert: the real ladder and channels, marked as practice",
        description="Raises a practice alert beside the running server, which tells it as it would a real"
        " one. Follows it until somebody takes it on or it ends; Ctrl+C stops following, not the drill.",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--last", action="store_true", help="only report the last drills")
    what.add_argument("--end", action="store_true", help="end the one that is under way")
    parser.add_argument(
        "--risk", choices=("immediate", "high"), default="immediate", help="which ladder (default: immediate)"
    )
    parser.add_argument("--no-wait", action="store_true", help="do not follow it")
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="settings (TOML)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print reports as JSON; 0 when somebody took it on, or was not waited for, 1 when nobody did."""
    settings = load_settings(args.config)
    if not database_file(settings.data).exists():
        raise SettingsError(f"{settings.data}: no database there")
    keyring = Keyring(keys_file(settings.data), load_master_key(settings.key_file, create=False))

    async def work() -> int:
        store = open_store(
            settings.data, keyring, clock=utc_now, on_events=lambda _: None, loop=asyncio.get_running_loop()
        )
        try:
            return await _carry_out(args, store)
        finally:
            store.close()

    try:
        return asyncio.run(work())
    except CaseError as error:
        raise SettingsError(str(error)) from None
    finally:
        keyring.close()


async def _carry_out(args: argparse.Namespace, store: Store) -> int:
    def site(tx: Tx) -> str:
        sites = tx.sites.all()
        if not sites:
            raise SettingsError("there is no site here yet: peerchat site create")
        return sites[0].id

    if args.last:
        return _shown(await store.read(lambda tx: drills.last(tx, site(tx))))
    if args.end:
        return _shown(await store.write(lambda tx: _end(tx, site(tx))))
    risk = Risk[args.risk.upper()]
    alert = await store.write(lambda tx: drills.started(tx, site(tx), by=BY, risk=risk).id)
    print("peerchat: the practice alert is on its way", file=sys.stderr)
    return await _follow(store, alert, wait=not args.no_wait)


async def _follow(store: Store, alert: str, *, wait: bool) -> int:
    """Say each rung as it is told; return once the drill is taken on or over."""
    said, began = 0, time.monotonic()
    while True:
        found = await store.read(lambda tx: _report(tx, alert))
        for rung in found["rungs"][said:]:
            print(f"peerchat: {_line(rung)}", file=sys.stderr)
        said = len(found["rungs"])
        over = found["taken_by"] is not None or found["ended_at"] is not None
        if over or not wait:
            print(json.dumps(found, indent=2))
            return 0 if found["taken_by"] is not None or not wait else 1
        if not said and time.monotonic() - began > 15:
            raise SettingsError("nothing was told: is the server running on this data folder?")
        await asyncio.sleep(LOOK_S)


def _report(tx: Tx, alert: str) -> dict[str, Any]:
    found = tx.alerts.get(alert)
    assert found is not None
    return drills.report(tx, found)


def _line(rung: dict[str, Any]) -> str:
    channels = ", ".join(sorted(each["channel"] for each in rung["channels"]))
    return (
        f"rung {rung['rung']} ({rung['audience']}) told {rung['told_s']:g} s after the start, by {channels}"
    )


def _end(tx: Tx, site: str) -> list[dict[str, Any]]:
    open_ones = [each for each in tx.alerts.practices(site, limit=drills.SHOWN) if each.state != "closed"]
    return [drills.report(tx, drills.ended(tx, each, by=BY)) for each in open_ones]


def _shown(reports: list[dict[str, Any]]) -> int:
    print(json.dumps(reports, indent=2))
    return 0
