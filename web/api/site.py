"""What everybody may know of the site, and what its staff see of how it runs."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from escalation.audit import Entry
from moderation.verdict import Role
from peerchat import overview, views
from peerchat.store.sql import database_file, open_audit
from peerchat.words import DEFAULT_SERVICES
from web.api.problems import InvalidField, Json, problem
from web.auth import actor_of, node_of, public_site, require, settings_of

_verifying = asyncio.Semaphore(1)


async def services(request: Request) -> Response:
    """GET /api/services: the directory of the caller's site, or the defaults before signing in."""
    actor = await actor_of(request)
    node = node_of(request)
    found = list(DEFAULT_SERVICES)
    if actor is not None:
        found = views.services(await node.store.read(lambda tx: tx.sites.get(actor.site)))
    return Json({"items": found, "next": None})


async def site(request: Request) -> Response:
    """GET /api/site: name, hours, open or not; no sign-in needed."""
    found = await public_site(request)
    if found is None:
        return problem(404, "No site is set up here yet.")
    return Json(found)


async def over_view(request: Request) -> Response:
    """GET /api/overview."""
    actor = await require(request, Role.COORDINATOR, Role.ADULT, Role.MODERATOR)
    node = node_of(request)
    health = request.state.health()
    shown = await node.store.read(lambda tx: overview.overview(tx, actor.site, health, reader=actor))
    return Json(shown)


async def statistics(request: Request) -> Response:
    """GET /api/statistics?from=&to=: counts of the site, groups under 5 left out."""
    actor = await require(request, Role.COORDINATOR)
    now = datetime.now(UTC)
    begin = _day(request, "from", now - timedelta(days=30))
    end = _day(request, "to", now) + timedelta(days=1)
    if end <= begin:
        raise InvalidField("to", "`to` is before `from`")
    node = node_of(request)
    items = await node.store.read(lambda tx: overview.statistics(tx, actor.site, begin, end, reader=actor))
    return Json({"items": items, "next": None, "from": views.moment(begin), "to": views.moment(end)})


async def audit(request: Request) -> Response:
    """GET /api/audit: whether the chain holds, how far its signed heads have come, and its newest rows."""
    actor = await require(request, Role.COORDINATOR)
    database = database_file(settings_of(request).data)

    def verify() -> tuple[dict[str, Any], list[Entry]]:
        with open_audit(database) as entries:
            return overview.audit(entries)

    async with _verifying:  # a long log takes a while: one at a time, and never on the store's readers
        shown, newest = await asyncio.to_thread(verify)
    node = node_of(request)
    shown["items"] = await node.store.read(lambda tx: overview.audit_rows(tx, newest, reader=actor))
    shown["checkpoints"] = await request.state.logbook.shown()
    return Json(shown)


def _day(request: Request, name: str, default: datetime) -> datetime:
    given = request.query_params.get(name)
    if not given:
        return default.replace(hour=0, minute=0, second=0, microsecond=0)
    try:
        return datetime.strptime(given, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise InvalidField(name, f"`{name}` is a day such as 2026-09-01") from None


routes = [
    Route("/api/services", services, methods=["GET"]),
    Route("/api/site", site, methods=["GET"]),
    Route("/api/overview", over_view, methods=["GET"]),
    Route("/api/statistics", statistics, methods=["GET"]),
    Route("/api/audit", audit, methods=["GET"]),
]
