"""`peerchat serve`: the server, from a settings file."""

import argparse
import sys
from pathlib import Path

from peerchat.settings import load_settings
from web.app import create_app
from web.server import serve


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser("serve", help="run the server from a settings file")
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings (TOML); see docs/settings.md")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve until a signal."""
    settings = load_settings(args.config)

    def ready(url: str) -> None:
        print(f"peerchat is ready at {url}", file=sys.stderr)

    return serve(create_app(settings), settings, on_ready=ready)
