"""Security headers: on every answer over HTTP, whatever the app behind says."""

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket

from web.headers import CSP, HEADERS, SecurityHeaders


async def page(request):
    return PlainTextResponse("x", headers={"X-Content-Type-Options": "mine", "Cache-Control": "public"})


async def stream(request):
    async def parts():
        yield b"a"
        yield b"b"

    return StreamingResponse(parts())


async def fails(request):
    raise RuntimeError("x")


async def socket(websocket: WebSocket):
    await websocket.accept()
    await websocket.send_text("hi")
    await websocket.close()


@pytest.fixture(params=[True, False], ids=["secure", "plain"])
def client(request):
    app = Starlette(
        routes=[
            Route("/", page),
            Route("/stream", stream),
            Route("/static/app.js", page),
            Route("/fails", fails),
            WebSocketRoute("/ws", socket),
        ],
        middleware=[Middleware(SecurityHeaders, secure=request.param)],
    )
    client = TestClient(app, raise_server_exceptions=False)
    client.secure = request.param  # type: ignore[attr-defined]
    return client


@pytest.mark.parametrize("path", ["/", "/stream", "/static/app.js", "/nowhere"])
def test_every_answer_carries_them(client, path):
    """Once each, also where the app says otherwise."""
    answer = client.get(path)
    for name, value in HEADERS.items():
        assert answer.headers.get_list(name) == [value]
    assert ("Strict-Transport-Security" in answer.headers) == client.secure


@pytest.mark.parametrize(
    ("path", "cache"),
    [
        ("/", "no-store"),
        ("/nowhere", "no-store"),
        ("/static/app.js", "no-cache"),
        ("/static/none", "no-cache"),
    ],
)
def test_what_a_browser_may_keep(client, path, cache):
    """Nothing of a page: whoever presses Back on a shared computer sees nothing."""
    assert client.get(path).headers.get_list("Cache-Control") == [cache]


def test_a_body_stays_as_it_is(client):
    assert client.get("/stream").text == "ab"


def test_sockets_stay_untouched(client):
    with client.websocket_connect("/ws") as line:
        assert line.receive_text() == "hi"


@pytest.mark.parametrize("directive", ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"])
def test_the_policy_allows_nothing_that_it_does_not_name(directive):
    assert directive in CSP.split("; ")


@pytest.mark.parametrize("word", ["unsafe-inline", "unsafe-eval", "http:", "https:", "*", "blob:"])
def test_the_policy_names_nobody_else(word):
    """Neither inline code nor another site."""
    assert word not in CSP
