"""Who is asking: the session of a request, by cookie or Bearer, its Origin and its CSRF value."""

import hmac
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection, Request

from moderation.verdict import Role
from peerchat import opening, views
from peerchat.errors import NotAllowed
from peerchat.model import Actor
from peerchat.node import Node
from peerchat.settings import Settings
from peerchat.store.sites import SiteValue
from peerchat.store.sql import Tx

COOKIE = "peerchat"
"""The name of the session cookie: neutral, as everything over a shoulder is."""

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class NotSignedIn(Exception):
    """No live session came with the request."""


class CsrfFailed(Exception):
    """A cookie came without its page's CSRF value, or from a foreign page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewer:
    """The signed-in reader of a page."""

    id: str
    role: Role
    alias: str | None
    site: str
    csrf: str
    site_name: str
    service_name: str
    school_name: str
    neutral_url: str


def node_of(connection: HTTPConnection) -> Node:
    """Return the node that the lifespan made."""
    node = connection.state.node
    assert isinstance(node, Node)
    return node


def settings_of(connection: HTTPConnection) -> Settings:
    """Return the settings that the lifespan read."""
    settings = connection.state.settings
    assert isinstance(settings, Settings)
    return settings


def token_of(connection: HTTPConnection) -> tuple[str | None, bool]:
    """Return (token, whether it came by cookie). A Bearer header wins."""
    header = connection.headers.get("authorization")
    if header is not None:
        scheme, _, token = header.partition(" ")
        return (token.strip() if scheme.lower() == "bearer" else None), False
    return connection.cookies.get(COOKIE), True


async def actor_of(connection: HTTPConnection) -> Actor | None:
    """Return who acts, or None. Does not check CSRF or Origin."""
    token, _ = token_of(connection)
    if not token:
        return None
    signed = await node_of(connection).accounts.signed_in(token)
    if signed is None:
        return None
    return Actor(
        member=signed.member, role=signed.role, site=signed.site, token=signed.token, name=signed.name
    )


async def require(request: Request, *roles: Role) -> Actor:
    """Return who acts. Raises `NotSignedIn`, `CsrfFailed`, or `NotAllowed` for another role."""
    actor = await actor_of(request)
    if actor is None:
        raise NotSignedIn
    token, by_cookie = token_of(request)
    if by_cookie and request.method not in SAFE_METHODS:
        given = request.headers.get("x-csrf-token", "")
        assert token is not None
        right = hmac.compare_digest(given.encode(), node_of(request).accounts.csrf(token).encode())
        if not right or not origin_allowed(request):
            raise CsrfFailed
    if roles and actor.role not in roles:
        raise NotAllowed("not for your role")
    return actor


def origin_allowed(connection: HTTPConnection) -> bool:
    """Return whether a present Origin is one of the site's own. Absent is fine: not a browser's page."""
    origin = connection.headers.get("origin")
    if origin is None:
        return True
    settings = settings_of(connection)
    if origin in settings.origins:
        return True
    parts = urlsplit(origin)
    try:
        port = parts.port
    except ValueError:
        return False
    server = connection.scope.get("server")
    same_port = server is not None and port == server[1]
    loopback = parts.hostname in ("127.0.0.1", "localhost", "::1")
    plain = not parts.path and not parts.query and not parts.fragment and "@" not in parts.netloc
    return loopback and same_port and plain and parts.scheme in ("http", "https")


async def viewer(request: Request) -> Viewer | None:
    """Return the signed-in reader of a page, or None."""
    actor = await actor_of(request)
    if actor is None:
        return None
    token, _ = token_of(request)
    assert token is not None
    node = node_of(request)
    site = await node.store.read(lambda tx: tx.sites.get(actor.site))
    return Viewer(
        id=actor.member,
        role=actor.role,
        alias=actor.name,
        site=actor.site,
        csrf=node.accounts.csrf(token),
        site_name=site.name,
        service_name=site.service_name,
        school_name=site.name,
        neutral_url=site.neutral_url,
    )


async def public_site(request: Request) -> dict[str, object] | None:
    """Return what anybody may know of the site before signing in, or None where none is set up.

    A server that carries several sites shows the first: pupils' cards name their own address.
    """

    def body(tx: Tx) -> dict[str, object] | None:
        sites: list[SiteValue] = tx.sites.all()
        if not sites:
            return None
        site = sites[0]
        state = views.site_opening(tx, site)
        return {
            "name": site.service_name,
            "service_name": site.service_name,
            "school_name": site.name,
            "open": state.open,
            "why": state.why,
            "hours_text": opening.hours_text(site.hours),
            "next_open_text": opening.next_open_text(state, timezone=site.timezone, now=tx.now),
            "neutral_url": site.neutral_url,
        }

    return await node_of(request).store.read(body)
