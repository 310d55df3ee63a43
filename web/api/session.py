"""Signing in and out, and the PIN that guards a card."""

from typing import Annotated

from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from moderation.verdict import Role
from peerchat.accounts import REMEMBERED
from peerchat.model import STAFF
from web.api.body import body_as
from web.api.problems import InvalidField, Json
from web.auth import COOKIE, CsrfFailed, node_of, origin_allowed, require, settings_of

DEVICE = "peerchat_device"
"""Marks a browser in which a member of staff has signed in; see `Accounts.sign_in_staff`. Never a pupil's."""

DEVICE_S = 180 * 24 * 3600

Short = Annotated[str, Meta(max_length=200)]


class Credentials(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A card's code, or a username and password."""

    code: Short | None = None
    pin: Short | None = None
    username: Short | None = None
    password: Annotated[str, Meta(max_length=1000)] | None = None
    otp: Short | None = None
    remember: bool = False


class Pin(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A PIN of the pupil's choice, or null for none."""

    pin: Annotated[str, Meta(pattern=r"^[0-9]{4,8}$")] | None


async def sign_in(request: Request) -> Response:
    """POST /api/session."""
    if not origin_allowed(request):
        raise CsrfFailed
    given = await body_as(request, Credentials)
    accounts = node_of(request).accounts
    address = request.client.host if request.client is not None else ""
    if given.code is not None and given.username is None and given.password is None:
        token, signed = await accounts.sign_in_pupil(
            given.code, given.pin, address=address, remember=given.remember
        )
    elif given.username is not None and given.password is not None and given.code is None:
        token, signed = await accounts.sign_in_staff(
            given.username,
            given.password,
            address=address,
            remember=given.remember,
            device=request.cookies.get(DEVICE),
        )
    else:
        raise InvalidField("code", "Send either `code`, or `username` and `password`.")
    response = Json(
        {
            "token": token,
            "csrf": accounts.csrf(token),
            "member": {
                "id": signed.member,
                "role": signed.role.value,
                "alias": signed.name,
                "site": signed.site,
            },
        }
    )
    remembered = given.remember and signed.role in (Role.PUPIL, Role.MENTOR)
    response.set_cookie(
        COOKIE,
        token,
        max_age=int(REMEMBERED.total_seconds()) if remembered else None,
        httponly=True,
        samesite="strict",
        secure=settings_of(request).secure_cookies,
        path="/",
    )
    if given.username is not None and signed.role in STAFF:
        response.set_cookie(
            DEVICE,
            accounts.device(given.username),
            max_age=DEVICE_S,
            httponly=True,
            samesite="strict",
            secure=settings_of(request).secure_cookies,
            path="/api/session",
        )
    return response


async def sign_out(request: Request) -> Response:
    """DELETE /api/session: this session, or with ?all=1 every one of the member's."""
    actor = await require(request)
    await node_of(request).accounts.sign_out(actor, everywhere=request.query_params.get("all") == "1")
    response = Response(status_code=204)
    response.delete_cookie(
        COOKIE, httponly=True, samesite="strict", secure=settings_of(request).secure_cookies, path="/"
    )
    return response


async def set_pin(request: Request) -> Response:
    """PUT /api/pin."""
    actor = await require(request, Role.PUPIL)
    given = await body_as(request, Pin)
    await node_of(request).accounts.set_pin(actor, given.pin)
    return Response(status_code=204)


routes = [
    Route("/api/session", sign_in, methods=["POST"]),
    Route("/api/session", sign_out, methods=["DELETE"]),
    Route("/api/pin", set_pin, methods=["PUT"]),
]
