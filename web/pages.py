"""The pages people open: server-rendered shells that plain ES modules bring to life.

A page carries no text of any conversation. It names the service, the reader's role and a CSRF token; all
else comes over the line. Whoever opens a page that is not theirs is sent to their own, or to the sign-in
they need.
"""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.templating import Jinja2Templates

from moderation.verdict import Role
from web.auth import Viewer, public_site, viewer

TEMPLATES: Final = Path(__file__).parent / "templates"
STATIC: Final = Path(__file__).parent / "static"

HOME: Final = {
    Role.PUPIL: "/chat",
    Role.MENTOR: "/mentor",
    Role.MODERATOR: "/review",
    Role.ADULT: "/desk",
    Role.COORDINATOR: "/coordinator",
}
"""Where each role works."""

SHELL: Final = {
    Role.PUPIL: "pupil.html",
    Role.MENTOR: "mentor.html",
    Role.MODERATOR: "review.html",
    Role.ADULT: "desk.html",
    Role.COORDINATOR: "coordinator.html",
}

_templates = Jinja2Templates(directory=TEMPLATES)


async def pupil_sign_in(request: Request) -> Response:
    """The page on the card: a code, no name. Who is signed in goes on to their own page."""
    return await _sign_in(request, "signin.html", leave=True)


async def staff_sign_in(request: Request) -> Response:
    """Sign-in for everyone who is not a pupil."""
    return await _sign_in(request, "staff_signin.html", leave=False)


async def _sign_in(request: Request, template: str, *, leave: bool) -> Response:
    who = await viewer(request)
    if who is not None:
        return RedirectResponse(HOME[who.role], status_code=303)
    site = await public_site(request) or {}
    return _page(request, template, None, site, leave=leave)


def _shell(role: Role, template: str | None = None) -> Callable[[Request], Awaitable[Response]]:
    shell = template or SHELL[role]

    async def page(request: Request) -> Response:
        who = await viewer(request)
        if who is None:
            return RedirectResponse("/" if role is Role.PUPIL else "/staff", status_code=303)
        if who.role is not role:
            return RedirectResponse(HOME[who.role], status_code=303)
        names = {
            "service_name": who.service_name,
            "school_name": who.school_name,
            "neutral_url": who.neutral_url,
        }
        return _page(request, shell, who, names, leave=role is Role.PUPIL)

    return page


def _page(
    request: Request, template: str, who: Viewer | None, names: Mapping[str, object], *, leave: bool
) -> Response:
    context = {
        "viewer": who,
        "service_name": names.get("service_name") or "Chat",
        "school_name": names.get("school_name") or "",
        "neutral_url": names.get("neutral_url") or "",
        "density": "" if leave or who is None else "desk",
        "leave": leave,
    }
    return _templates.TemplateResponse(request, template, context)


routes: list[BaseRoute] = [
    Route("/", pupil_sign_in, methods=["GET"], name="pupil_sign_in"),
    Route("/staff", staff_sign_in, methods=["GET"], name="staff_sign_in"),
    Route("/rota", _shell(Role.COORDINATOR, "rota.html"), methods=["GET"], name="rota"),
    *(Route(HOME[role], _shell(role), methods=["GET"], name=role.value) for role in HOME),
]
