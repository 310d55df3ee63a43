"""Errors as RFC 9457 problem documents: the one place where a fact of the domain becomes an HTTP status."""

import logging
import math
from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ExceptionHandler

from peerchat import errors
from peerchat.channels.contact import BadContact
from web.auth import CsrfFailed, NotSignedIn

log = logging.getLogger(__name__)

TITLES = {
    400: "Bad request",
    401: "Not signed in",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict",
    413: "Too large",
    415: "Wrong kind of content",
    422: "Invalid",
    429: "Too many",
    500: "Something went wrong here",
    503: "Not available just now",
}


class InvalidField(Exception):
    """A field of a request's body is wrong; `field` names it."""

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(detail)
        self.field = field
        self.detail = detail


class Json(Response):
    """JSON by msgspec; never stored by a cache."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Return the bytes."""
        return msgspec.json.encode(content)


def problem(status: int, detail: str, *, headers: Mapping[str, str] | None = None, **more: Any) -> Response:
    """Return a problem document."""
    body = {
        "type": "about:blank",
        "title": TITLES.get(status, "Error"),
        "status": status,
        "detail": detail,
    } | more
    response = Json(body, status_code=status, headers=headers)
    response.headers["content-type"] = "application/problem+json"
    return response


SIGN_IN_FAILED = "That didn't work. Check what you typed and try again."

_STATUS: dict[type[Exception], int] = {
    errors.UnknownItem: 404,
    errors.UnknownObject: 404,
    errors.NotAMember: 404,
    errors.AlreadyClaimed: 409,
    errors.AlreadyDecided: 409,
    errors.NotTheHolder: 409,
    errors.RiskNeedsAnswer: 409,
    errors.SameDecider: 409,
    errors.CannotRelease: 409,
    errors.CaseError: 409,
    errors.Conflict: 409,
    errors.Closed: 409,
    errors.NotAllowed: 403,
    errors.Forbidden: 403,
    errors.Invalid: 422,
    errors.TooLong: 422,
    errors.Malformed: 422,
    BadContact: 422,
    errors.Unavailable: 503,
    errors.StoreUnavailable: 503,
}


async def _domain(_request: Request, error: Exception) -> Response:
    status = next(status for kind, status in _STATUS.items() if isinstance(error, kind))
    if isinstance(error, errors.StoreUnavailable):
        return problem(status, "Not just now; nothing was stored. Try again.", headers={"Retry-After": "1"})
    return problem(status, str(error))


async def _not_signed_in(_request: Request, _error: Exception) -> Response:
    return problem(401, "Sign in first.", headers={"WWW-Authenticate": "Bearer"})


async def _csrf(_request: Request, _error: Exception) -> Response:
    return problem(403, "This came from a page that is not ours, or an old one. Load the page again.")


async def _sign_in_failed(_request: Request, _error: Exception) -> Response:
    return problem(401, SIGN_IN_FAILED)


async def _too_many(_request: Request, error: Exception) -> Response:
    assert isinstance(error, errors.TooManyFailures)
    wait = math.ceil(error.retry_after_s)
    return problem(
        429, "Too many tries. Wait a little.", headers={"Retry-After": str(wait)}, retry_after_s=wait
    )


async def _invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, InvalidField)
    return problem(422, error.detail, errors=[{"field": error.field, "detail": error.detail}])


async def _http(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return problem(
        error.status_code, error.detail or TITLES.get(error.status_code, "Error"), headers=error.headers
    )


async def _unforeseen(_request: Request, error: Exception) -> Response:
    log.error("unforeseen: %s", type(error).__name__)  # its words might hold somebody's text
    return problem(500, "Something went wrong here. It is not your fault; try again.")


handlers: dict[Any, ExceptionHandler] = {
    **dict.fromkeys(_STATUS, _domain),
    NotSignedIn: _not_signed_in,
    CsrfFailed: _csrf,
    errors.SignInFailed: _sign_in_failed,
    errors.TooManyFailures: _too_many,
    InvalidField: _invalid,
    HTTPException: _http,
    Exception: _unforeseen,
}
