"""The review queue over HTTP."""

from typing import Literal

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from moderation.verdict import Role
from peerchat.model import Decision, ReviewState
from web.api.body import body_as, words
from web.api.paging import cursor_of, limit_of, states_of
from web.api.problems import Json
from web.auth import node_of, require


class Deciding(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A decision and its reason."""

    decision: Literal["release", "withhold", "escalate"]
    reason: Literal["unkind", "personal", "unsafe", "mistake", "other"]
    note: str | None = None


async def queue(request: Request) -> Response:
    """GET /api/review."""
    actor = await require(request, Role.MODERATOR, Role.ADULT)
    states = states_of(request, ReviewState, default=[ReviewState.OPEN, ReviewState.CLAIMED])
    items, following = await node_of(request).review.queue(
        actor, states=states, limit=limit_of(request), offset=cursor_of(request)
    )
    return Json({"items": items, "next": str(following) if following is not None else None})


async def claim(request: Request) -> Response:
    """POST /api/review/{id}/claim."""
    actor = await require(request, Role.MODERATOR, Role.ADULT)
    return Json(await node_of(request).review.claim(actor, request.path_params["id"]))


async def hand_back(request: Request) -> Response:
    """POST /api/review/{id}/release-claim."""
    actor = await require(request, Role.MODERATOR, Role.ADULT)
    await node_of(request).review.hand_back(actor, request.path_params["id"])
    return Response(status_code=204)


async def decide(request: Request) -> Response:
    """POST /api/review/{id}/decide."""
    actor = await require(request, Role.MODERATOR, Role.ADULT)
    given = await body_as(request, Deciding)
    gone = await node_of(request).review.decide(
        actor,
        request.path_params["id"],
        decision=Decision(given.decision),
        reason=given.reason,
        note=words(given.note, field="note", required=False),
    )
    return Json(
        {"decision": given.decision, "delivered": gone and given.decision == "release"}, 200 if gone else 202
    )


routes = [
    Route("/api/review", queue, methods=["GET"]),
    Route("/api/review/{id}/claim", claim, methods=["POST"]),
    Route("/api/review/{id}/release-claim", hand_back, methods=["POST"]),
    Route("/api/review/{id}/decide", decide, methods=["POST"]),
]
