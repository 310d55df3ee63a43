"""Drills over HTTP: start a practice alert, end it, and see how the last ones went."""

from typing import Literal

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from moderation.verdict import Risk, Role
from peerchat.drills import Drills
from web.api.body import body_as
from web.api.problems import Json
from web.auth import require


class StartDrill(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which ladder is practised."""

    risk: Literal["immediate", "high"] = "immediate"


def _drills(request: Request) -> Drills:
    found: Drills = request.state.drills
    return found


async def listed(request: Request) -> Response:
    """GET /api/drills: the last ones, newest first."""
    actor = await require(request, Role.COORDINATOR, Role.ADULT)
    return Json({"items": await _drills(request).listed(actor), "next": None})


async def start(request: Request) -> Response:
    """POST /api/drills: the real ladder begins, on the real channels."""
    actor = await require(request, Role.COORDINATOR, Role.ADULT)
    given = await body_as(request, StartDrill, empty=True)
    return Json(await _drills(request).start(actor, risk=Risk[given.risk.upper()]), status_code=201)


async def end(request: Request) -> Response:
    """POST /api/drills/{id}/end."""
    actor = await require(request, Role.COORDINATOR, Role.ADULT)
    return Json(await _drills(request).end(actor, request.path_params["id"]))


routes = [
    Route("/api/drills", listed, methods=["GET"]),
    Route("/api/drills", start, methods=["POST"]),
    Route("/api/drills/{id}/end", end, methods=["POST"]),
]
