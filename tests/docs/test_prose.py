"""What the docs name is there: files, what is in them, the tests of each safety rule, the ladder's times."""

import ast
import functools
import re
from pathlib import Path

import pytest

from escalation.alert import ACKNOWLEDGEMENT_LEASE
from escalation.duty import LEASE, OFFER, PHONE_LEASE
from escalation.ladder import HIGH, IMMEDIATE, Ladder, SchoolDay
from escalation.times import DEFAULTS, written
from peerchat.accounts import ACCOUNT_FAILURES, ADDRESS_FAILURES
from tests.docs.contract import DOCS

ROOT = DOCS.parent
OTHERS = {"moderation.md", "simulate.md", "benchmarks.md", "dependencies.md"}
OURS = [ROOT / "README.md", *(file for file in sorted(DOCS.glob("*.md")) if file.name not in OTHERS)]

PLACE = re.compile(r"`((?:web|peerchat|escalation|moderation|tests|tools)/[\w/]+\.py)(?::([\w.]+))?`")
RULE = re.compile(r"^\| (\d+)\. .*\| ([^|]+) \|$", re.MULTILINE)
NAMED = re.compile(r"[Rr]ules?[ _]((?:\d+(?:, | and |_and_|_)?)+)")


@functools.cache
def names_in(file: Path) -> frozenset[str]:
    """Return what a module defines: functions, classes, constants, and `Class.member`."""
    found: set[str] = set()

    def add(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            match node:
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                    found.add(prefix + name)
                case ast.ClassDef(name=name, body=inner):
                    found.add(prefix + name)
                    add(inner, f"{name}.")
                case ast.Assign(targets=targets):
                    found.update(prefix + t.id for t in targets if isinstance(t, ast.Name))
                case ast.AnnAssign(target=ast.Name(id=name)):
                    found.add(prefix + name)

    add(ast.parse(file.read_text("utf-8")).body, "")
    return frozenset(found)


@pytest.mark.parametrize("document", OURS, ids=lambda file: file.name)
def test_what_a_document_names_exists(document: Path) -> None:
    wrong = []
    for path, name in PLACE.findall(document.read_text("utf-8")):
        file = ROOT / path
        if not file.is_file():
            wrong.append(path)
        elif name and name not in names_in(file):
            wrong.append(f"{path}:{name}")
    assert not wrong


def test_each_safety_rule_names_tests_that_name_the_rule() -> None:
    rows = {int(n): cell for n, cell in RULE.findall((DOCS / "architecture.md").read_text("utf-8"))}
    assert sorted(rows) == list(range(1, 21))
    for rule, cell in rows.items():
        for path, _ in PLACE.findall(cell):
            text = (ROOT / path).read_text("utf-8")
            named = {int(n) for found in NAMED.findall(text) for n in re.findall(r"\d+", found)}
            assert rule in named, f"{path} does not name rule {rule}"


def minutes(ladder: Ladder) -> tuple[list[int], int]:
    """Return a ladder's times in minutes."""
    return [int(r.total_seconds() // 60) for r in ladder.rungs], int(ladder.repeat.total_seconds() // 60)


def test_the_adults_page_has_the_ladders_times() -> None:
    text = (DOCS / "for-adults.md").read_text("utf-8")
    for word, ladder in (("immediate", IMMEDIATE), ("high", HIGH)):
        rungs, repeat = minutes(ladder)
        *first, last = map(str, rungs)
        assert (
            f"| {word} | {', '.join(first)} and {last} minutes | every {repeat} minutes, without end |"
            in text
        )
    day = SchoolDay()
    assert f"{day.digest_at:%H:%M}" in text and f"{day.morning_at:%H:%M}" in text
    assert f"within {int(ACKNOWLEDGEMENT_LEASE.total_seconds() // 60)} minutes" in text
    assert f"lapses {int(LEASE.total_seconds())} seconds" in text
    assert f"your duty holds for {int(PHONE_LEASE.total_seconds() // 60)} minutes" in text
    assert f"They have {int(OFFER.total_seconds() // 60)} minutes to answer" in text


def test_every_time_that_a_site_may_set_is_documented_with_its_default() -> None:
    text = (DOCS / "operators.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| `([^`]+)` \| .+ \| .* \|$", text, re.MULTILINE))
    assert rows == {name: str(value) for name, value in written(DEFAULTS).items()}


def test_the_limits_of_failed_sign_ins_are_the_codes() -> None:
    words = f"{ACCOUNT_FAILURES} failures of one account or {ADDRESS_FAILURES} from one address"
    assert words in (DOCS / "protocol.md").read_text("utf-8")
