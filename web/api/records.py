"""Safeguarding records over HTTP: copies with their receipt, what is written into them, and legal holds."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from moderation.verdict import Role
from peerchat.records import BUNDLE, FORMATS, CaseRecords
from web.api.body import body_as, words
from web.api.problems import Json
from web.auth import require

TYPES = {
    "pdf": "application/pdf",
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    BUNDLE: "application/zip",
}


class RecordNote(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What goes into a record, and when it happened, if that was not now."""

    text: str
    happened_at: Annotated[datetime, Meta(tz=True)] | None = None


class HoldReason(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why a case is held, or why not any more."""

    reason: str


def _records(request: Request) -> CaseRecords:
    found: CaseRecords = request.state.records
    return found


def _copy(kind: str) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        """GET /api/records/{id}.FORMAT: the reading and the receipt are in the log before the answer."""
        actor = await require(request, Role.ADULT)
        made = await _records(request).copied(actor, request.path_params["id"], kind)
        return Response(
            made.content,
            media_type=TYPES[kind],
            headers={
                "Content-Disposition": f'attachment; filename="{made.name}"',
                "Peerchat-SHA256": made.sha256,
                "Peerchat-Receipt": str(made.receipt),
            },
        )

    return endpoint


async def write(request: Request) -> Response:
    """POST /api/records/{id}/notes: a note, or an addition once the case is closed."""
    actor = await require(request, Role.ADULT)
    given = await body_as(request, RecordNote)
    text = words(given.text, field="text", required=True)
    assert text is not None
    line = await _records(request).write(actor, request.path_params["id"], text, given.happened_at)
    return Json(line, 201)


async def holds(request: Request) -> Response:
    """GET /api/records/holds: the cases on hold."""
    actor = await require(request, Role.ADULT, Role.COORDINATOR)
    return Json({"items": await _records(request).holds(actor), "next": None})


async def hold(request: Request) -> Response:
    """POST /api/records/{id}/hold."""
    actor = await require(request, Role.ADULT, Role.COORDINATOR)
    reason = await _reason(request)
    return Json(await _records(request).hold(actor, request.path_params["id"], reason))


async def release(request: Request) -> Response:
    """POST /api/records/{id}/release."""
    actor = await require(request, Role.ADULT, Role.COORDINATOR)
    reason = await _reason(request)
    return Json(await _records(request).release(actor, request.path_params["id"], reason))


async def _reason(request: Request) -> str:
    given = await body_as(request, HoldReason)
    reason = words(given.reason, field="reason", required=True)
    assert reason is not None
    return reason


routes = [
    Route("/api/records/holds", holds, methods=["GET"]),
    *(Route(f"/api/records/{{id}}.{one}", _copy(one), methods=["GET"]) for one in (*FORMATS, BUNDLE)),
    Route("/api/records/{id}/notes", write, methods=["POST"]),
    Route("/api/records/{id}/hold", hold, methods=["POST"]),
    Route("/api/records/{id}/release", release, methods=["POST"]),
]
