"""Request bodies as types: JSON of a bounded size, each field checked, errors that name the field."""

import re
from typing import TypeVar

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request

from peerchat.errors import Invalid, TooLong
from peerchat.frames import clean_text
from web.api.problems import InvalidField

T = TypeVar("T")
MAX_BODY = 64 * 1024
_AT = re.compile(r"at `\$\.([A-Za-z_]+)|field `([A-Za-z_]+)`")


async def raw_body(request: Request, *, limit: int = MAX_BODY) -> bytes:
    """Return the body, or refuse it as too large before it is all here."""
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise HTTPException(413, f"At most {limit} bytes.")
        chunks.append(chunk)
    return b"".join(chunks)


async def body_as(request: Request, kind: type[T], *, empty: bool = False) -> T:
    """Return the JSON body as a struct. Raises `InvalidField` naming what is wrong."""
    raw = await raw_body(request)
    if empty and not raw.strip():
        raw = b"{}"
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as error:
        found = _AT.search(str(error))
        field = next((g for g in found.groups() if g), "body") if found else "body"
        raise InvalidField(field, str(error)) from None
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        raise InvalidField("body", "The body is not JSON.") from None


def words(text: str | None, *, field: str, required: bool) -> str | None:
    """Return a text that a person wrote, checked as frames check theirs."""
    if text is None and not required:
        return None
    try:
        return clean_text(text or "", name=field, required=required)
    except (Invalid, TooLong) as error:
        raise InvalidField(field, error.detail) from None
