"""`peerchat policy`: check policy files, and say in words what a policy does."""

import argparse
import sys
from pathlib import Path

from moderation.build import digest_of, embedded_stages, what_decides, whys
from moderation.explain import describe
from moderation.linear import MODELS
from moderation.policy_file import POLICY, BadPolicy, is_overlay, load_policy
from moderation.rules import RULES, load_rules
from peerchat.errors import SettingsError


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser("policy", help="check policy files, or say in words what they do")
    inner = parser.add_subparsers(metavar="WHAT", required=True)
    check = inner.add_parser(
        "check",
        help="say what is wrong in policy files, with file and line",
        description="Check whole policies, and files of what sites and rooms have otherwise; these lie over"
        " the first whole policy given, or over the one that comes with the project.",
    )
    check.add_argument("files", nargs="+", type=Path, metavar="FILE", help="a policy, or sites and rooms")
    check.set_defaults(run=_check)
    explain = inner.add_parser("explain", help="print a policy in words: what happens to what, for whom")
    explain.add_argument(
        "files", nargs="*", type=Path, metavar="FILE", help="a policy, then sites and rooms; the shipped one"
    )
    for each in (check, explain):
        each.add_argument(
            "--rules",
            action="append",
            default=[],
            type=Path,
            metavar="DIR",
            help="rules of one's own, beside those that come with the project",
        )
    explain.set_defaults(run=_explain)


def _check(args: argparse.Namespace) -> int:
    """Check every file; 0 when all can be used, 1 where one cannot, 2 for bad usage or a bad rule."""
    _there([*args.files, *args.rules])
    known = load_rules(RULES, *args.rules)
    ids, made_with = whys(known).keys(), what_decides(known, models=digest_of(MODELS))
    used = embedded_stages()
    bad = False
    under, overlays = None, []
    for file in args.files:
        try:
            if is_overlay(file):
                overlays.append(file)
                continue
            print(f"{file}: {load_policy(file, rules=ids, made_with=made_with, used=used).version}")
            under = under or file
        except BadPolicy as error:
            bad = _say(error)
    usable: list[Path] = []
    for file in overlays:
        try:
            load_policy(under or POLICY, overlays=[*usable, file], rules=ids)
        except BadPolicy as error:
            bad = _say(error)
        else:
            usable.append(file)
            print(f"{file}: lies over {under or 'the shipped policy'}")
    return 1 if bad else 0


def _say(error: BadPolicy) -> bool:
    print(f"peerchat: {error}", file=sys.stderr)
    return True


def _explain(args: argparse.Namespace) -> int:
    """Print a policy in words."""
    _there([*args.files, *args.rules])
    whole = [file for file in args.files if not is_overlay(file)]
    if len(whole) > 1:
        raise SettingsError(f"{whole[1]}: one whole policy at a time")
    overlays = [file for file in args.files if file not in whole]
    known = load_rules(RULES, *args.rules)
    policy = load_policy(
        whole[0] if whole else POLICY,
        overlays=overlays,
        rules=whys(known).keys(),
        made_with=what_decides(known, models=digest_of(MODELS)),
    )
    print(describe(policy, known.rules), end="")
    return 0


def _there(files: list[Path]) -> None:
    for file in files:
        if not file.exists():
            raise SettingsError(f"{file}: no such file")
