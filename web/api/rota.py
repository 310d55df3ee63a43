"""Duty and the rota over HTTP: who is there, who should be, and what one adult hands to another."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from escalation.duty import Answer
from moderation.verdict import Role
from peerchat.rotas import BadRota, Wanted
from web.api.body import body_as
from web.api.problems import InvalidField, Json
from web.auth import node_of, require

Id = Annotated[str, Meta(min_length=1, max_length=64)]
Clock = Annotated[str, Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
Day = Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\d$")]


class RotaRow(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A turn of the weekly pattern, or, with a kind, an exception to it."""

    kind: str | None = None
    member: Id | None = None
    part: str = "duty"
    days: Annotated[list[Annotated[int, Meta(ge=0, le=6)]], Meta(max_length=7)] = []
    begin: Clock | None = None
    end: Clock | None = None
    first: Day | None = None
    last: Day | None = None


class Offer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """To whom one's open alerts are offered: one of them, or all."""

    to: Id
    alert: Id | None = None


async def shown(request: Request) -> Response:
    """GET /api/rota: the pattern, exceptions, who is expected and missing, the next gap."""
    actor = await require(request, Role.COORDINATOR, Role.ADULT)
    return Json(await node_of(request).rota.shown(actor))


async def add(request: Request) -> Response:
    """POST /api/rota: add a turn or an exception; answers the rota as it is then."""
    actor = await require(request, Role.COORDINATOR)
    row = await body_as(request, RotaRow)
    wanted = Wanted(
        kind=row.kind,
        member=row.member,
        part=row.part,
        days=tuple(row.days),
        begin=row.begin,
        end=row.end,
        first=row.first,
        last=row.last,
    )
    try:
        return Json(await node_of(request).rota.add(actor, wanted), 201)
    except BadRota as error:
        raise InvalidField(error.field, str(error)) from None


async def remove(request: Request) -> Response:
    """DELETE /api/rota/{id}: take a turn or an exception away; answers the rota as it is then."""
    actor = await require(request, Role.COORDINATOR)
    return Json(await node_of(request).rota.remove(actor, request.path_params["id"]))


async def duty(request: Request) -> Response:
    """GET /api/duty: the caller's lease, who else is on duty, offers to hand over, the next turns."""
    actor = await require(request, Role.ADULT, Role.MODERATOR)
    return Json(await node_of(request).duties.shown(actor))


async def offer(request: Request) -> Response:
    """POST /api/duty/handover: offer another adult on duty an open alert, or all of them."""
    actor = await require(request, Role.ADULT)
    given = await body_as(request, Offer)
    return Json(await node_of(request).duties.offer(actor, given.to, given.alert), 201)


def _answer(answer: Answer) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        actor = await require(request, Role.ADULT)
        return Json(await node_of(request).duties.answer(actor, request.path_params["id"], answer))

    return endpoint


ANSWERS = {"accept": Answer.ACCEPTED, "decline": Answer.DECLINED, "withdraw": Answer.WITHDRAWN}

routes = [
    Route("/api/rota", shown, methods=["GET"]),
    Route("/api/rota", add, methods=["POST"]),
    Route("/api/rota/{id}", remove, methods=["DELETE"]),
    Route("/api/duty", duty, methods=["GET"]),
    Route("/api/duty/handover", offer, methods=["POST"]),
    *(
        Route(f"/api/duty/handover/{{id}}/{word}", _answer(answer), methods=["POST"])
        for word, answer in ANSWERS.items()
    ),
]
