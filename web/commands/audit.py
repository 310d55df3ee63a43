"""`peerchat audit verify`: the whole hash chain, offline."""

import argparse
import json
import sys
from pathlib import Path

from escalation.audit import Checkpoint, verify
from peerchat.errors import SettingsError
from peerchat.store.sql import database_file, open_audit


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
        help='an earlier head, as {"n", "hash"}: what this command prints',
    )
    check.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print rows and head as JSON; 0 when the chain holds, 1 where it does not, 2 for bad usage."""
    if not database_file(args.data).exists():
        raise SettingsError(f"{args.data}: no database there")
    checkpoint = None
    if args.checkpoint is not None:
        try:
            kept = json.loads(args.checkpoint.read_text())
            checkpoint = Checkpoint(n=int(kept["n"]), hash=str(kept["hash"]))
        except (OSError, ValueError, KeyError, TypeError):
            raise SettingsError(f"{args.checkpoint}: not a checkpoint") from None
    with open_audit(database_file(args.data)) as entries:
        rows, head, fault = verify(entries, checkpoint=checkpoint)
    print(json.dumps({"n": rows, "hash": head}))
    if fault is not None:
        print(f"peerchat: at row {fault.n}: {fault.what}", file=sys.stderr)
        return 1
    print(f"peerchat: {rows} rows, the chain holds", file=sys.stderr)
    return 0
