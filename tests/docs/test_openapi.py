"""docs/openapi.yaml against web/, in both directions: routes, roles, bodies, and a running app's answers."""

import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import httpx
import pytest
from msgspec import Struct
from starlette.routing import Mount, Route

from moderation.pipeline import Pipeline
from moderation.verdict import Role
from peerchat import frames
from peerchat.settings import Settings
from tests.docs.conftest import KeyWords, Running
from tests.docs.contract import Schema, faults, narrowed, of_struct, plain, read, references, resolve
from tests.docs.story import Answer, Story
from tests.docs.test_asyncapi import BY_NAME, replies
from web import pages, poll
from web.api import alerts, channels, drills, records, review, rota, session, site
from web.app import create_app
from web.auth import SAFE_METHODS

NAME = "openapi.yaml"
METHODS = {"get", "put", "post", "delete", "patch", "head", "options"}
PROBLEM = "application/problem+json"

BODIES: dict[str, type[Struct]] = {
    "POST /api/session": session.Credentials,
    "PUT /api/pin": session.Pin,
    "POST /api/review/{id}/decide": review.Deciding,
    "POST /api/alerts/{id}/note": alerts.Note,
    "POST /api/alerts/{id}/act": alerts.Act,
    "POST /api/alerts/{id}/close": alerts.Close,
    "POST /api/drills": drills.StartDrill,
    "POST /api/records/{id}/notes": records.RecordNote,
    "POST /api/records/{id}/hold": records.HoldReason,
    "POST /api/records/{id}/release": records.HoldReason,
    "POST /api/channels": channels.NewChannel,
    "POST /api/duty/handover": rota.Offer,
    "POST /api/rota": rota.RotaRow,
}
WRITTEN = {
    ("Deciding", "note"), ("Note", "text"), ("Act", "note"), ("Close", "rationale"),
    ("RecordNote", "text"), ("HoldReason", "reason"),
}  # fmt: skip
"""Fields with what a person wrote: up to `MAX_TEXT`, which the type alone does not say."""

REQUIRED_TEXT = {("Note", "text"), ("Close", "rationale"), ("RecordNote", "text"), ("HoldReason", "reason")}


def operations() -> Iterator[tuple[str, Schema]]:
    """Yield ("GET /path", operation) for everything that is documented."""
    for path, item in read(NAME)["paths"].items():
        for method, operation in item.items():
            if method in METHODS:
                yield f"{method.upper()} {path}", operation


OPERATIONS = dict(operations())


def routes() -> set[str]:
    """Return what the app serves and is neither a page, a file nor the socket."""
    shown = {route.path for route in pages.routes if isinstance(route, Route)}
    found = set()
    app = create_app(Settings(data=Path("never-opened")), pipeline=cast(Pipeline, KeyWords()))
    for route in app.routes:
        if isinstance(route, Mount):
            assert route.path == "/static"
        elif isinstance(route, Route) and route.path not in shown:
            assert route.methods
            found |= {f"{method} {route.path}" for method in route.methods - {"HEAD"}}
    return found


def test_every_route_is_documented_and_nothing_else() -> None:
    assert routes() == OPERATIONS.keys()


def test_every_body_that_the_code_reads_is_documented() -> None:
    modules: list[ModuleType] = [session, review, alerts, channels, drills, records, rota, site, poll]
    read_by_code = {
        value
        for module in modules
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, Struct) and value.__module__ == module.__name__
    }
    assert read_by_code == set(BODIES.values())
    with_body = {name for name, operation in OPERATIONS.items() if "requestBody" in operation}
    assert with_body == BODIES.keys() | {"POST /api/frames"}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_is_what_the_code_takes(name: str) -> None:
    body = OPERATIONS[name]["requestBody"]["content"]["application/json"]["schema"]
    cls = BODIES[name]
    assert body == {"$ref": f"#/components/schemas/{cls.__name__}"}
    code = of_struct(cls, server=False)
    doc = plain(resolve(read(NAME), body), defaults=True)
    written: dict[str, dict[str, Any]] = {}
    for where, key, value in narrowed(code, doc):
        written.setdefault(where, {})[key] = value
    for where, more in written.items():
        assert (cls.__name__, where) in WRITTEN
        least = {"minLength": 1} if (cls.__name__, where) in REQUIRED_TEXT else {}
        assert more == least | {"maxLength": frames.MAX_TEXT}
    assert {where for struct, where in WRITTEN if struct == cls.__name__} == written.keys()


def test_what_changes_something_asks_for_the_csrf_value_with_a_cookie() -> None:
    for name, operation in OPERATIONS.items():
        wanted: list[Schema] = [{"bearer": []}]
        if "x-roles" in operation:
            by_cookie: Schema = {"cookie": []}
            if name.partition(" ")[0] not in SAFE_METHODS:
                by_cookie["csrf"] = []
            assert operation["security"] == [*wanted, by_cookie], name
        else:
            assert operation["security"] in ([], [*wanted, {"cookie": []}, {}]), name


def test_every_reference_leads_somewhere() -> None:
    document = read(NAME)
    for reference in set(references(document)):
        assert resolve(document, {"$ref": reference}), reference


# ---------------------------------------------------------------------------------- a running app


def operation_of(answer: Answer) -> str | None:
    """Return which documented operation an answer belongs to."""
    for name in OPERATIONS:
        method, _, path = name.partition(" ")
        if method == answer.method and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", path), answer.path):
            return name
    return None


def test_every_answer_is_as_documented(story: Story) -> None:
    wrong = []
    for answer in story.answers:
        name = operation_of(answer)
        assert name is not None, f"{answer.method} {answer.path}"
        where = f"{name} {answer.status}"
        document = resolve(read(NAME), OPERATIONS[name]["responses"].get(str(answer.status)))
        if document is None:
            wrong.append(f"{where}: not documented")
            continue
        kind = answer.type.partition(";")[0]
        content = document.get("content", {})
        if not content:
            if answer.body:
                wrong.append(f"{where}: a body that is not documented")
        elif kind not in content:
            wrong.append(f"{where}: {kind}")
        elif "json" in kind:
            wrong += [f"{where}: {f}" for f in faults(NAME, content[kind]["schema"], answer.document)]
    assert not wrong, "\n".join(dict.fromkeys(wrong))


def test_the_story_meets_every_operation_with_success_and_the_usual_refusals(story: Story) -> None:
    """What is compared above is worth something only if it is nearly everything."""
    met = {(operation_of(a), a.status) for a in story.answers}
    for name in OPERATIONS:
        assert any(n == name and 200 <= status < 300 for n, status in met), f"{name}: never answered"
    for status in (202, 401, 403, 404, 409, 422, 429):
        assert any(s == status for _, s in met), f"{status}: never met"


def test_every_frame_is_as_documented(story: Story) -> None:
    by_type = {
        str(cls.__struct_config__.tag): name
        for name, cls in BY_NAME.items()
        if issubclass(cls, frames.ServerFrame)
    }
    wrong = [
        f"{frame['type']} to {who}: {fault}"
        for who, frame in story.frames
        for fault in faults(
            "asyncapi.yaml", {"$ref": f"#/components/schemas/{by_type[frame['type']]}"}, frame
        )
    ]
    assert not wrong, "\n".join(dict.fromkeys(wrong))
    assert {frame["type"] for _, frame in story.frames} == by_type.keys()


def test_every_frame_was_answered_by_what_is_documented(story: Story) -> None:
    documented = replies()
    for asked, answer in story.answered:
        if asked in documented:
            assert answer in documented[asked], f"{asked} was answered by {answer}"
    answered = {asked for asked, _ in story.answered}
    assert answered >= documented.keys() - {"typing"}


def test_no_polled_frame_is_left_out_of_the_list(story: Story) -> None:
    """The answers of a POST are frames like any other: `done` and `error` came by GET."""
    kinds = [frame["type"] for who, frame in story.frames if who == "pupil, polling"]
    assert kinds[0] == "welcome"
    assert {"done", "error"} <= set(kinds)


@pytest.fixture(scope="session")
def tokens(running: Running, story: Story) -> dict[str, str]:
    """Return one session for each role; after the story, so that nothing disturbs it."""
    assert story.answers
    return {
        role: httpx.post(f"{running.url}/api/session", json=running.credentials[role], timeout=30).json()[
            "token"
        ]
        for role in ("pupil", "mentor", "moderator", "adult", "coordinator")
    }


@pytest.mark.parametrize("name", [n for n, o in OPERATIONS.items() if "x-roles" in o])
def test_who_may_call_is_as_documented(name: str, running: Running, tokens: dict[str, str]) -> None:
    """No session: 401. A role that is not listed: 403. A role that is: anything else."""
    method, _, path = name.partition(" ")
    url = running.url + path.replace("{id}", "none")
    with httpx.Client(timeout=40) as client:
        assert client.request(method, url).status_code == 401
        for role in Role:
            if name == "DELETE /api/session":
                continue  # would end the session that the others need
            answer = client.request(
                method, url, headers={"Authorization": f"Bearer {tokens[role.value]}"}, content=b"{}"
            )
            listed = role.value in OPERATIONS[name]["x-roles"]
            assert (answer.status_code != 403) == listed, f"{role}: {answer.status_code}"
            if answer.status_code >= 400:
                assert answer.headers["content-type"] == PROBLEM
                problem = json.loads(answer.content)
                assert not faults(NAME, {"$ref": "#/components/schemas/Problem"}, problem)


def test_what_came_through_a_proxy_gets_no_metrics(running: Running) -> None:
    answer = httpx.get(f"{running.url}/metrics", headers={"X-Forwarded-For": "192.0.2.1"})
    assert answer.status_code == 404
    assert answer.headers["content-type"] == PROBLEM


def test_a_cookie_alone_changes_nothing(running: Running) -> None:
    """The csrf scheme is real: without the header 403, with it 204."""
    with httpx.Client(base_url=running.url, timeout=30) as client:
        signed = client.post("/api/session", json=running.credentials["pupil"]).json()
        assert client.cookies.get("peerchat") == signed["token"]
        assert client.get("/api/services").status_code == 200
        assert client.delete("/api/session").status_code == 403
        right = {"X-CSRF-Token": signed["csrf"]}
        foreign = right | {"Origin": "https://elsewhere.example"}
        assert client.delete("/api/session", headers=foreign).status_code == 403
        assert client.delete("/api/session", headers=right).status_code == 204
