"""Ways to reach adults beyond the page: the coordinator's for all of them, an adult's own."""

from typing import Annotated, Literal

from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from escalation.ladder import Audience
from moderation.verdict import Role
from peerchat.channels.book import ChannelBook, Wanted
from peerchat.channels.contact import Kind
from web.api.body import body_as
from web.api.problems import InvalidField, Json
from web.auth import require


class NewChannel(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"from_": "from"}):
    """A way to reach somebody: an email address, a phone number, or the browser that asks."""

    kind: Literal["email", "sms", "voice", "push"]
    to: Annotated[str, Meta(min_length=3, max_length=2000)]
    member: Annotated[str, Meta(max_length=64)] | None = None
    name: Annotated[str, Meta(min_length=1, max_length=80)] | None = None
    from_: Literal["on_duty", "deputies", "all_adults", "out_of_band"] = "on_duty"


def book_of(request: Request) -> ChannelBook:
    """Return the use cases that the lifespan made."""
    book = request.state.channels
    assert isinstance(book, ChannelBook)
    return book


async def listed(request: Request) -> Response:
    """GET /api/channels: all of the site for the coordinator, their own for an adult."""
    actor = await require(request, Role.COORDINATOR, Role.ADULT)
    return Json(await book_of(request).listed(actor))


async def add(request: Request) -> Response:
    """POST /api/channels. An adult adds the browser they sit at; all else is the coordinator's."""
    actor = await require(request, Role.COORDINATOR, Role.ADULT)
    given = await body_as(request, NewChannel)
    kind = Kind(given.kind)
    for field, text in (("to", given.to), ("name", given.name or "")):
        if not text.isprintable():
            raise InvalidField(field, f"`{field}` has signs in it that cannot be shown")
    wanted = Wanted(
        kind=kind,
        to=given.to,
        member=actor.member if kind is Kind.PUSH else given.member,
        audience=Audience(given.from_),
        name=given.name,
    )
    return Json(await book_of(request).add(actor, wanted), 201)


async def remove(request: Request) -> Response:
    """DELETE /api/channels/{id}."""
    actor = await require(request, Role.COORDINATOR, Role.ADULT)
    await book_of(request).remove(actor, request.path_params["id"])
    return Response(status_code=204)


async def tried(request: Request) -> Response:
    """POST /api/channels/{id}/try: sends a message that says it is only a try."""
    actor = await require(request, Role.COORDINATOR, Role.ADULT)
    outcome = await book_of(request).tried(actor, request.path_params["id"])
    return Json({"ok": outcome.ok, "fault": outcome.fault})


routes = [
    Route("/api/channels", listed, methods=["GET"]),
    Route("/api/channels", add, methods=["POST"]),
    Route("/api/channels/{id}", remove, methods=["DELETE"]),
    Route("/api/channels/{id}/try", tried, methods=["POST"]),
]
