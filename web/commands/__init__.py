"""Subcommands of `peerchat`: each module has `add(subparsers)` and `run(args) -> int`."""
