"""Lists: `{"items": [..], "next": cursor or null}`, with `state`, `cursor` and `limit` as they come."""

import enum
from typing import TypeVar

from starlette.requests import Request

from web.api.problems import InvalidField

S = TypeVar("S", bound=enum.StrEnum)
PAGE, MAX_PAGE = 50, 200


def states_of(request: Request, kind: type[S], *, default: list[S]) -> list[S]:
    """Return the states asked for: one, or several with commas."""
    given = request.query_params.get("state")
    if not given:
        return default
    try:
        return [kind(word) for word in given.split(",")]
    except ValueError:
        raise InvalidField("state", f"`state` is one of {', '.join(kind)}") from None


def cursor_of(request: Request) -> int:
    """Return where the page begins."""
    return _number(request, "cursor", default=0, most=10_000_000)


def limit_of(request: Request, *, default: int = PAGE) -> int:
    """Return how long the page is."""
    return _number(request, "limit", default=default, most=MAX_PAGE, least=1)


def _number(request: Request, name: str, *, default: int, most: int, least: int = 0) -> int:
    given = request.query_params.get(name)
    if not given:
        return default
    if not (given.isascii() and given.isdigit() and len(given) < 12 and least <= int(given) <= most):
        raise InvalidField(name, f"`{name}` is a number from {least} to {most}")
    return int(given)
