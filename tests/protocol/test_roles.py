"""Who may call what over HTTP; and every error is a problem document (RFC 9457)."""

import pytest

from tests.support.stage import Stage, problem

ROLES = ("pupils", "mentors", "moderators", "adults", "coordinators")
STAFF = {"moderators", "adults"}
NOBODY = "0" * 24

# method, path, body, who may
CALLS: list[tuple[str, str, object, set[str]]] = [
    ("GET", "/api/review", None, STAFF),
    ("GET", "/api/review?state=open", None, STAFF),
    ("POST", f"/api/review/{NOBODY}/claim", {}, STAFF),
    ("POST", f"/api/review/{NOBODY}/decide", {"decision": "release", "reason": "other", "note": ""}, STAFF),
    ("GET", "/api/alerts", None, {"adults"}),
    ("POST", f"/api/alerts/{NOBODY}/acknowledge", {}, {"adults"}),
    ("POST", f"/api/alerts/{NOBODY}/note", {"text": "x"}, {"adults"}),
    ("POST", f"/api/alerts/{NOBODY}/act", {"action": "spoke with pupil", "note": "x"}, {"adults"}),
    (
        "POST",
        f"/api/alerts/{NOBODY}/close",
        {"outcome": "safe, support agreed", "rationale": "x", "version": 1},
        {"adults"},
    ),
    ("POST", f"/api/alerts/{NOBODY}/join", {}, {"adults"}),
    ("GET", f"/api/conversations/{NOBODY}?scope=excerpt", None, STAFF),
    ("GET", f"/api/conversations/{NOBODY}?scope=whole&reason=x", None, STAFF),
    ("POST", f"/api/conversations/{NOBODY}/pause", {}, STAFF),
    ("POST", f"/api/conversations/{NOBODY}/resume", {}, STAFF),
    ("POST", f"/api/conversations/{NOBODY}/end", {}, STAFF),
    ("GET", "/api/statistics?from=2026-01-01&to=2026-12-31", None, {"coordinators"}),
    ("GET", "/api/services", None, set(ROLES)),
    ("PUT", "/api/pin", {"pin": "4821"}, {"pupils"}),
]
IDS = [f"{method} {path.partition('?')[0].replace(NOBODY, 'ID')}" for method, path, *_ in CALLS]
CALLS_BY_ID = dict(zip([f"{i}-{name}" for i, name in enumerate(IDS)], CALLS, strict=True))


@pytest.mark.parametrize("call", CALLS_BY_ID)
async def test_a_call_answers_those_who_may_and_no_other(stage: Stage, call: str) -> None:
    """No token: 401. Another role: 403 or 404. Who may: the answer, or 404 for what is not there."""
    method, path, body, may = CALLS_BY_ID[call]
    if path != "/api/services":
        problem(await stage.server.call(method, path, json=body), 401)
        for token in ("A" * 43, "", "é" * 4):
            answer = await stage.server.call(method, path, json=body, token=token)
            assert answer.status in {400, 401}
    for role in ROLES:
        session = await stage.session(role, 0)
        answer = await stage.server.call(method, path, json=body, token=session.token)
        if role not in may:
            assert answer.status in {403, 404}, f"{role}: {answer.status}"
            problem(answer, answer.status)
        elif NOBODY in path:
            problem(answer, 404)
        else:
            assert 200 <= answer.status < 300, f"{role}: {answer.status}"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/no-such-thing"),
        ("POST", "/api/no-such-thing"),
        ("GET", "/api/records/../../etc/passwd"),
        ("GET", "/static/../web/cli.py"),
        ("GET", "/static/%2e%2e/%2e%2e/web/cli.py"),
    ],
)
async def test_what_is_not_there_is_404(stage: Stage, method: str, path: str) -> None:
    session = await stage.session("adults", 0)
    answer = await stage.server.call(method, path, token=session.token)
    assert answer.status in {400, 404}
    if path.startswith("/api/no"):
        problem(answer, 404)


@pytest.mark.parametrize(
    ("method", "path"),
    [("PUT", "/api/session"), ("DELETE", "/api/review"), ("POST", "/api/alerts"), ("PATCH", "/api/services")],
)
async def test_another_method_is_405(stage: Stage, method: str, path: str) -> None:
    session = await stage.session("adults", 0)
    answer = await stage.server.call(method, path, token=session.token, json={})
    problem(answer, 405)
    assert answer.headers["allow"]


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
async def test_operators_need_no_token(stage: Stage, path: str) -> None:
    answer = await stage.server.call("GET", path)
    assert answer.status == 200
    if path == "/metrics":
        assert b"# HELP" in answer.body


async def test_a_get_changes_nothing(stage: Stage) -> None:
    """A HEAD or GET of what is a POST is refused, and the item stays as it was."""
    session = await stage.session("adults", 0)
    for path in (f"/api/review/{NOBODY}/claim", f"/api/alerts/{NOBODY}/acknowledge"):
        answer = await stage.server.call("GET", path, token=session.token)
        assert answer.status in {404, 405}


async def test_answers_are_not_kept_by_caches_nor_framed(stage: Stage) -> None:
    session = await stage.session("adults", 0)
    answer = await stage.server.call("GET", "/api/alerts", token=session.token)
    assert "no-store" in answer.headers["cache-control"]
    assert answer.headers["x-content-type-options"] == "nosniff"
