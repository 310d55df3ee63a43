"""`peerchat record`: check a copy of a safeguarding record against its manifest, and against the log."""

import argparse
import sys
import zipfile
from pathlib import Path

from escalation.audit import Entry
from escalation.record import BadManifest, Receipt, faults, receipt_of
from peerchat.errors import SettingsError
from peerchat.records import COPIED, MANIFEST
from peerchat.store.sql import database_file, open_audit

MOST_BYTES = 256 * 1024 * 1024
"""What a bundle may unpack to: more is none of ours."""


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser("record", help="check copies of safeguarding records")
    inner = parser.add_subparsers(metavar="WHAT", required=True)
    check = inner.add_parser("check", help="say whether a bundle is what was exported")
    check.add_argument("bundle", type=Path, metavar="FILE", help="record-....zip as it was downloaded")
    check.add_argument("--data", type=Path, metavar="DIR", help="data folder of the site: checks the receipt")
    check.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Return 0 where every file is what was exported, 1 where one is not, 2 for bad usage."""
    receipt, files = _opened(args.bundle)
    found = faults(receipt, files)
    if not found and args.data is not None:
        if not database_file(args.data).exists():
            raise SettingsError(f"{args.data}: no database there")
        with open_audit(database_file(args.data)) as entries:
            found = _against(receipt, next((e for e in entries if e.n == receipt.row), None))
    for fault in found:
        print(f"peerchat: {args.bundle}: {fault}", file=sys.stderr)
    if not found:
        proof = (
            "and the log says so" if args.data is not None else "by its own manifest; --data checks the log"
        )
        print(f"peerchat: {len(files)} files are what was exported, {proof}", file=sys.stderr)
    return 1 if found else 0


def _opened(bundle: Path) -> tuple[Receipt, dict[str, bytes]]:
    try:
        with zipfile.ZipFile(bundle) as archive:
            if sum(one.file_size for one in archive.infolist()) > MOST_BYTES:
                raise SettingsError(f"{bundle}: too large for a record")
            files = {name: archive.read(name) for name in archive.namelist()}
        return receipt_of(files.pop(MANIFEST)), files
    except (OSError, zipfile.BadZipFile, KeyError, BadManifest, NotImplementedError, RuntimeError) as error:
        if isinstance(error, zipfile.BadZipFile) and bundle.is_file() and zipfile.is_zipfile(bundle):
            raise SettingsError(f"{bundle}: damaged") from None
        raise SettingsError(f"{bundle}: not the bundle of a record") from None


def _against(receipt: Receipt, row: Entry | None) -> list[str]:
    """Return where a manifest differs from the log's row."""
    if row is None:
        return [f"the log has no row {receipt.row}"]
    logged = {value for name, value in row.data.items() if name != "reading"}
    if row.kind != COPIED or row.object != receipt.case or row.hash != receipt.hash:
        return [f"row {receipt.row} of the log is not its receipt"]
    if logged != set(receipt.files.values()):
        return [f"row {receipt.row} of the log has other files"]
    return []
