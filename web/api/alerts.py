"""The adult's desk over HTTP, and the conversations in the adults' and moderators' hands."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from escalation.alert import AlertState
from moderation.verdict import Role
from web.api.body import body_as, words
from web.api.paging import MAX_PAGE, cursor_of, limit_of, states_of
from web.api.problems import InvalidField, Json
from web.auth import node_of, require


class Note(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A note to a case."""

    text: str


class Act(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was done."""

    action: Annotated[str, Meta(min_length=1, max_length=200)]
    note: str | None = None


class Close(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a case ended, and why that is right."""

    outcome: Annotated[str, Meta(min_length=1, max_length=200)]
    rationale: str
    version: int | None = None


async def listed(request: Request) -> Response:
    """GET /api/alerts."""
    actor = await require(request, Role.ADULT)
    states = states_of(request, AlertState, default=list(AlertState))
    items, following = await node_of(request).cases.listed(
        actor, states, limit=limit_of(request, default=MAX_PAGE), offset=cursor_of(request)
    )
    return Json({"items": items, "next": str(following) if following is not None else None})


async def shown(request: Request) -> Response:
    """GET /api/alerts/{id}: the case; the reading is logged."""
    actor = await require(request, Role.ADULT)
    return Json(await node_of(request).cases.shown(actor, request.path_params["id"]))


async def acknowledge(request: Request) -> Response:
    """POST /api/alerts/{id}/acknowledge."""
    actor = await require(request, Role.ADULT)
    return Json(await node_of(request).cases.acknowledge(actor, request.path_params["id"]))


async def join(request: Request) -> Response:
    """POST /api/alerts/{id}/join."""
    actor = await require(request, Role.ADULT)
    return Json(await node_of(request).cases.join(actor, request.path_params["id"]))


async def note(request: Request) -> Response:
    """POST /api/alerts/{id}/note."""
    actor = await require(request, Role.ADULT)
    given = await body_as(request, Note)
    text = words(given.text, field="text", required=True)
    assert text is not None
    return Json(await node_of(request).cases.note(actor, request.path_params["id"], text))


async def act(request: Request) -> Response:
    """POST /api/alerts/{id}/act."""
    actor = await require(request, Role.ADULT)
    given = await body_as(request, Act)
    action = words(given.action, field="action", required=True)
    assert action is not None
    text = words(given.note, field="note", required=False)
    return Json(await node_of(request).cases.act(actor, request.path_params["id"], action, text))


async def close(request: Request) -> Response:
    """POST /api/alerts/{id}/close: 202 while a second adult must still send the same."""
    actor = await require(request, Role.ADULT)
    given = await body_as(request, Close)
    rationale = words(given.rationale, field="rationale", required=True)
    outcome = words(given.outcome, field="outcome", required=True)
    assert rationale is not None and outcome is not None
    case, ended = await node_of(request).cases.close(
        actor, request.path_params["id"], outcome=outcome, rationale=rationale, version=given.version
    )
    return Json(case, 200 if ended else 202)


async def transcript(request: Request) -> Response:
    """GET /api/conversations/{id}: an excerpt, or the whole for a reason; each reading is logged."""
    actor = await require(request, Role.ADULT, Role.MODERATOR)
    scope = request.query_params.get("scope", "excerpt")
    if scope not in ("excerpt", "whole"):
        raise InvalidField("scope", "`scope` is excerpt or whole")
    reason = words(request.query_params.get("reason"), field="reason", required=scope == "whole")
    items = await node_of(request).cases.transcript(
        actor, request.path_params["id"], reason=reason, whole=scope == "whole"
    )
    return Json({"items": items, "next": None})


def _steer(what: str) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        actor = await require(request, Role.ADULT, Role.MODERATOR)
        node = node_of(request)
        done = {"pause": node.cases.pause, "resume": node.cases.resume, "end": node.cases.end}[what]
        await done(actor, request.path_params["id"])
        await node.lobby.pair(actor.site)
        return Response(status_code=204)

    return endpoint


routes = [
    Route("/api/alerts", listed, methods=["GET"]),
    Route("/api/alerts/{id}", shown, methods=["GET"]),
    Route("/api/alerts/{id}/acknowledge", acknowledge, methods=["POST"]),
    Route("/api/alerts/{id}/join", join, methods=["POST"]),
    Route("/api/alerts/{id}/note", note, methods=["POST"]),
    Route("/api/alerts/{id}/act", act, methods=["POST"]),
    Route("/api/alerts/{id}/close", close, methods=["POST"]),
    Route("/api/conversations/{id}", transcript, methods=["GET"]),
    *(
        Route(f"/api/conversations/{{id}}/{w}", _steer(w), methods=["POST"])
        for w in ("pause", "resume", "end")
    ),
]
