"""`peerchat audit`: check the whole log offline, sign its head now, show the key that signatures need."""

import argparse
import json
import sys
from pathlib import Path

from escalation.audit import BadCheckpoint, Checkpoint, SignedCheckpoint, genuine, parsed, verify
from peerchat.errors import SettingsError
from peerchat.logbook import KEY_ACCEPTED, load_signer, noted, strangers, where
from peerchat.settings import load_settings
from peerchat.store.sql import database_file, kept_checkpoints, open_audit
from web.app import utc_now
from web.commands.site import COMMAND_LINE, in_store


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser("audit", help="check the log that nobody can change unseen")
    inner = parser.add_subparsers(metavar="WHAT", required=True)
    check = inner.add_parser("verify", help="verify the whole chain, offline")
    check.add_argument("--data", type=Path, required=True, metavar="DIR", help="data folder of a site")
    check.add_argument(
        "--checkpoint",
        type=Path,
        metavar="FILE",
        help="what was kept elsewhere: the file that the server ships to, or what this command printed",
    )
    check.add_argument(
        "--key",
        metavar="HEX",
        help="the log's public key as `peerchat audit key` showed it: checks signatures",
    )
    check.set_defaults(run=run)
    key = inner.add_parser("key", help="show the log's public key: write it down outside")
    key.add_argument(
        "--accept",
        action="store_true",
        help="the old key is lost or replaced: go on with the one that is there, or a new one; logged",
    )
    now = inner.add_parser("checkpoint", help="sign the log's head as it is now, and print it")
    for command, work in ((key, _key), (now, _now)):
        command.add_argument("--config", type=Path, required=True, metavar="FILE", help="settings (TOML)")
        command.set_defaults(run=work)


def run(args: argparse.Namespace) -> int:
    """Print rows and head as JSON; 0 when the chain holds, 1 where it does not, 2 for bad usage."""
    if not database_file(args.data).exists():
        raise SettingsError(f"{args.data}: no database there")
    checkpoints = [] if args.checkpoint is None else _kept(args.checkpoint)
    within = kept_checkpoints(database_file(args.data))
    known = set() if args.key is None else {args.key}
    heads = [c.head for c in within if genuine(c, c.key)]
    with open_audit(database_file(args.data)) as entries:
        rows = noted(entries, known)
        found = verify(rows, checkpoints=[*heads, *(_head(checkpoint) for _, checkpoint in checkpoints)])
        for _ in rows:  # where a fault ended the walk, keys may be named further on
            pass
    if args.key is not None:
        for line, checkpoint in checkpoints:
            if not isinstance(checkpoint, SignedCheckpoint) or strangers([checkpoint], known):
                print(f"peerchat: {args.checkpoint}, line {line}: not signed by that key", file=sys.stderr)
                return 1
    elif any(isinstance(checkpoint, SignedCheckpoint) for _, checkpoint in checkpoints):
        print("peerchat: signatures were not checked; give the log's public key with --key", file=sys.stderr)
    print(json.dumps({"n": found.head.n, "hash": found.head.hash}))
    if found.fault is not None:
        print(f"peerchat: {where(found.fault)}", file=sys.stderr)
        if found.proven.n:
            print(f"peerchat: up to row {found.proven.n} it agrees with the checkpoints", file=sys.stderr)
        return 1
    signed = [*within, *(c for _, c in checkpoints if isinstance(c, SignedCheckpoint))]
    newest = max(within, key=lambda c: c.n, default=None)
    known |= {newest.key} if args.key is None and newest is not None else set()
    if known and (other := strangers(signed, known)):
        first = min(c.n for c in other)
        print(f"peerchat: another key signed the checkpoint of row {first}; see --accept", file=sys.stderr)
        return 1
    print(f"peerchat: {found.head.n} rows, the chain holds", file=sys.stderr)
    if checkpoints:
        print(f"peerchat: it agrees with {len(checkpoints)} checkpoints", file=sys.stderr)
    return 0


def _kept(path: Path) -> list[tuple[int, Checkpoint | SignedCheckpoint]]:
    """Return the checkpoints of a file by their line. Half a line is what a power cut leaves."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        raise SettingsError(f"{path}: not a checkpoint") from None
    lines = [(n, line) for n, line in enumerate(text.splitlines(), start=1) if line.strip()]
    found: list[tuple[int, Checkpoint | SignedCheckpoint]] = []
    for n, line in lines:
        try:
            found.append((n, parsed(line)))
        except BadCheckpoint:
            if found and n == lines[-1][0] and not text.endswith("\n"):
                break
            if line.startswith('{"n"') and not line.endswith("}"):
                print(f"peerchat: {path}, line {n}: only half a line; left out", file=sys.stderr)
                continue
            raise SettingsError(f"{path}, line {n}: not a checkpoint") from None
    if not found:
        raise SettingsError(f"{path}: no checkpoint in it")
    return found


def _head(checkpoint: Checkpoint | SignedCheckpoint) -> Checkpoint:
    return checkpoint.head if isinstance(checkpoint, SignedCheckpoint) else checkpoint


def _key(args: argparse.Namespace) -> int:
    """Print the key. With `--accept`: 1 where the log does not hold against what the old key signed."""
    settings = load_settings(args.config)
    if not args.accept:
        print(load_signer(settings).public)
        return 0
    if not database_file(settings.data).exists():
        raise SettingsError(f"{settings.data}: no database there")
    outside = settings.audit.file
    there = outside is not None and outside.exists() and outside.stat().st_size > 0
    shipped = [c for _, c in _kept(outside)] if outside is not None and there else []
    before = [*kept_checkpoints(database_file(settings.data)), *shipped]
    signed = [c for c in before if isinstance(c, SignedCheckpoint)]
    known: set[str] = set()
    with open_audit(database_file(settings.data)) as entries:
        found = verify(noted(entries, known), checkpoints=[c.head for c in signed if genuine(c, c.key)])
    if found.fault is not None:
        print(f"peerchat: {where(found.fault)}; nothing was accepted", file=sys.stderr)
        return 1
    public = load_signer(settings, accept=True).public
    other = sorted({c.key for c in strangers(signed, known | {public})})
    if other:
        data = {"instead_of": " ".join(other)}
        in_store(args, lambda tx: tx.audit.append(COMMAND_LINE, KEY_ACCEPTED, public, data))
        print("peerchat: accepted, as a row of the log; start the server again", file=sys.stderr)
    print(public)
    return 0


def _now(args: argparse.Namespace) -> int:
    """Verify, then sign; 1 where the chain does not hold: what does not fit is never signed."""
    settings = load_settings(args.config)
    if not database_file(settings.data).exists():
        raise SettingsError(f"{settings.data}: no database there")
    with open_audit(database_file(settings.data)) as entries:
        found = verify(entries)
    if found.fault is not None:
        print(f"peerchat: {where(found.fault)}", file=sys.stderr)
        return 1
    print(load_signer(settings).sign(found.head, at=utc_now()).line())
    return 0
