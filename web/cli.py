"""The command line: the outermost room."""

import argparse
import importlib
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from moderation.linear import BadModel
from moderation.policy_file import BadPolicy
from moderation.rules import BadRule
from peerchat.errors import SettingsError

COMMANDS = (
    "serve", "demo", "judge", "simulate", "site", "channels", "audit", "record", "drill", "models", "policy",
)  # fmt: skip
"""Each is a module of `web.commands`, imported only when it is called or listed: some are heavy."""

DONE, WRONG, USAGE = 0, 1, 2
"""Exit statuses: done, found something wrong, bad usage."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; return its exit status. Messages go to standard error, data to standard output."""
    given = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(
        prog="peerchat", description="A moderated, anonymous peer-support chat server for schools."
    )
    parser.add_argument("--version", action="version", version=_version())
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    called = given[:1] if given and given[0] in COMMANDS else COMMANDS
    for name in called:
        importlib.import_module(f"web.commands.{name}").add(subparsers)
    args = parser.parse_args(given)
    try:
        return int(args.run(args))
    except (SettingsError, BadRule, BadPolicy, BadModel) as error:
        print(f"peerchat: {error}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        return 130


def _version() -> str:
    try:
        return f"peerchat {version('peerchat')}"
    except PackageNotFoundError:
        return "peerchat, not installed"


if __name__ == "__main__":
    sys.exit(main())
