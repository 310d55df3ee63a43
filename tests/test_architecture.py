"""The rules of docs/architecture.md that imports can break: web -> peerchat -> escalation -> moderation."""

import ast
import importlib.metadata
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LAYERS = ("moderation", "escalation", "peerchat", "web")  # each may import those to its left

ONLY_IN: dict[str, str | tuple[str, ...]] = {
    "starlette": "web/",
    "uvicorn": "web/",
    "redis": "peerchat/backends/redis.py",
    "asyncpg": "peerchat/store/",
    "sqlite3": "peerchat/store/",
    "sqlmodel": "peerchat/store/",
    "sqlalchemy": "peerchat/store/",
    "alembic": "peerchat/store/",
    "apprise": "peerchat/channels/senders.py",
    "fpdf": "peerchat/record_pdf.py",
    "detoxify": "moderation/toxicity/",
    "torch": ("moderation/toxicity/", "moderation/training/"),
    "transformers": ("moderation/toxicity/", "moderation/training/"),
    "tokenizers": "moderation/toxicity/",
}

PURE = ("moderation", "escalation")  # these never hear of the network
NETWORK = {
    "aiohttp", "ftplib", "http", "httptools", "httpx", "httpx2", "imaplib", "poplib", "requests", "select",
    "selectors", "smtplib", "socket", "socketserver", "ssl", "telnetlib", "urllib.request", "urllib3",
    "uvloop", "websockets", "asyncio.streams", "asyncio.transports",
}  # fmt: skip
ASYNCIO_NETWORK = {
    "create_connection", "create_datagram_endpoint", "create_server", "create_unix_connection",
    "create_unix_server", "open_connection", "open_unix_connection", "start_server", "start_unix_server",
}  # fmt: skip

SECRET = {"body", "note", "otp", "password", "passphrase", "pin", "text", "token"}  # never in a log
LOGGERS = {"log", "logger", "logging", "_log", "_logger"}
LEVELS = {"critical", "debug", "error", "exception", "info", "log", "warning"}


@dataclass(frozen=True)
class Source:
    """One parsed file of the project."""

    path: str  # from the root, with slashes
    tree: ast.Module

    @property
    def layer(self) -> str:
        return self.path.partition("/")[0]

    def where(self, node: ast.AST) -> str:
        return f"{self.path}:{getattr(node, 'lineno', 0)}"

    def imports(self) -> Iterator[tuple[ast.AST, str]]:
        """Yield every module imported anywhere in the file, by its full name; `from a import b` as a.b."""
        package = self.path.removesuffix(".py").removesuffix("/__init__").split("/")
        if not self.path.endswith("/__init__.py"):
            package.pop()
        for node in ast.walk(self.tree):
            match node:
                case ast.Import(names=names):
                    yield from ((node, alias.name) for alias in names)
                case ast.ImportFrom(module=module, names=names, level=level):
                    base = package[: len(package) - level + 1] if level else []
                    parts = [*base, module] if module else base
                    yield from ((node, ".".join([*parts, alias.name])) for alias in names)
                case ast.Call(func=func, args=[ast.Constant(value=str(name)), *_]):
                    if ast.unparse(func) in {"importlib.import_module", "import_module", "__import__"}:
                        yield node, name


def sources() -> list[Source]:
    files = [file for layer in LAYERS for file in sorted((ROOT / layer).rglob("*.py"))]
    return [Source(file.relative_to(ROOT).as_posix(), ast.parse(file.read_bytes())) for file in files]


def within(module: str, names: set[str]) -> bool:
    """Tell whether a module is one of these or inside one of them."""
    parts = module.split(".")
    return any(".".join(parts[: n + 1]) in names for n in range(len(parts)))


def against_the_direction(source: Source) -> Iterator[str]:
    allowed = LAYERS[: LAYERS.index(source.layer) + 1]
    for node, module in source.imports():
        top = module.partition(".")[0]
        if top in LAYERS and top not in allowed:
            yield f"{source.where(node)}: {source.layer} must not know {module}"
        if top in {"tests", "tools", "benchmarks"}:
            yield f"{source.where(node)}: {module} is not part of the product"


def out_of_place(source: Source) -> Iterator[str]:
    for node, module in source.imports():
        place = ONLY_IN.get(module.partition(".")[0])
        if place is not None and not source.path.startswith(place):
            yield f"{source.where(node)}: {module} belongs in {place} alone"


def networking(source: Source) -> Iterator[str]:
    if source.layer not in PURE:
        return
    for node, module in source.imports():
        if within(module, NETWORK):
            yield f"{source.where(node)}: {module} is for the shell, not for {source.layer}"
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute) and node.attr in ASYNCIO_NETWORK:
            yield f"{source.where(node)}: {node.attr} is for the shell, not for {source.layer}"


def logged_secrets(source: Source) -> Iterator[str]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and is_logging(node.func):
            for argument in [*node.args, *(keyword.value for keyword in node.keywords)]:
                for name in named(argument):
                    if name in SECRET:
                        yield f"{source.where(node)}: a log line must not carry `{name}`"


def is_logging(func: ast.expr) -> bool:
    match func:
        case ast.Attribute(attr=level, value=ast.Name(id=logger) | ast.Attribute(attr=logger)):
            return level in LEVELS and logger in LOGGERS
        case ast.Attribute(attr=level, value=ast.Call(func=ast.Attribute(attr="getLogger"))):
            return level in LEVELS
    return False


def named(argument: ast.expr) -> Iterator[str]:
    """Yield the variables and attributes whose value an argument may carry; a length carries none."""
    match argument:
        case ast.Call(func=ast.Name(id="len" | "bool" | "type")):
            return
        case ast.Name(id=name):
            yield name
        case ast.Attribute(attr=name):
            yield name
        case ast.Subscript(slice=ast.Constant(value=str(name))):
            yield name
    for child in ast.iter_child_nodes(argument):
        if isinstance(child, ast.expr):
            yield from named(child)
        elif isinstance(child, ast.keyword):
            yield from named(child.value)


RULES = (against_the_direction, out_of_place, networking, logged_secrets)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_code_keeps_the_rule(rule):
    """Imports run one way, each foreign library lives in its place, and no log carries what was said."""
    assert [fault for source in sources() for fault in rule(source)] == []


@pytest.mark.parametrize(
    ("rule", "path", "code"),
    [
        (against_the_direction, "moderation/policy.py", "import escalation.alert"),
        (against_the_direction, "moderation/policy.py", "from peerchat import model"),
        (against_the_direction, "escalation/desk.py", "def f():\n    from peerchat.model import Member"),
        (against_the_direction, "peerchat/store/sql.py", "from ... import web"),
        (against_the_direction, "peerchat/chat.py", "importlib.import_module('web.app')"),
        (against_the_direction, "web/cli.py", "from tests.support import things"),
        (out_of_place, "peerchat/chat.py", "from starlette.websockets import WebSocket"),
        (out_of_place, "peerchat/backends/memory.py", "import redis.asyncio"),
        (out_of_place, "web/app.py", "import sqlalchemy as sa"),
        (out_of_place, "moderation/linear.py", "import torch"),
        (networking, "moderation/rules.py", "import urllib.request"),
        (networking, "escalation/notify.py", "from asyncio import streams"),
        (networking, "escalation/notify.py", "await asyncio.open_connection('127.0.0.1', 1)"),
        (logged_secrets, "web/live.py", "log.info('got %s', frame.text)"),
        (logged_secrets, "web/live.py", "logging.getLogger(__name__).debug(f'got {note!r}')"),
        (logged_secrets, "peerchat/chat.py", "self.log.warning('odd', extra={'body': str(body)})"),
        (logged_secrets, "web/app.py", "logger.error('who: %s', form['password'])"),
    ],
)
def test_the_rule_bites(rule, path, code):
    """Each rule finds the fault that it is there for."""
    assert len(list(rule(Source(path, ast.parse(code))))) == 1


@pytest.mark.parametrize(
    ("rule", "path", "code"),
    [
        (against_the_direction, "web/app.py", "from peerchat import chat\nimport moderation, escalation"),
        (against_the_direction, "peerchat/store/sql.py", "from . import tables\nfrom ..model import Member"),
        (out_of_place, "peerchat/store/sql.py", "from sqlalchemy import select"),
        (networking, "escalation/desk.py", "import asyncio, urllib.parse\nasyncio.timeout(1)"),
        (networking, "web/live.py", "import socket"),
        (logged_secrets, "web/live.py", "log.info('%d characters', len(frame.text))\nshow(frame.text)"),
    ],
)
def test_the_rule_lets_pass_what_is_right(rule, path, code):
    """No rule cries wolf."""
    assert list(rule(Source(path, ast.parse(code)))) == []


def requirement_name(requirement: str) -> str:
    name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
    return re.sub(r"[-_.]+", "-", name).lower()


def declared() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    return {requirement_name(requirement) for group in lists for requirement in group}


def test_every_dependency_is_accounted_for():
    """docs/dependencies.md has a row for each dependency of pyproject.toml, and for no other."""
    text = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)
    assert sorted(rows) == sorted(declared())


def test_every_import_is_declared():
    """What the code imports is a dependency of its own, not one that another happens to bring."""
    absent = {"sklearn": ["scikit-learn"]}  # names that only an installed package could tell us
    distributions = absent | dict(importlib.metadata.packages_distributions())
    undeclared = {
        f"{source.where(node)}: {module}"
        for source in sources()
        for node, module in source.imports()
        if (top := module.partition(".")[0]) not in {*sys.stdlib_module_names, *LAYERS}
        and not declared() & {requirement_name(name) for name in distributions.get(top, [top])}
    }
    assert undeclared == set()
