"""Fixtures of the protocol tests: one demo server a module, a stage a test, over every transport."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.support.proxy import BufferingProxy
from tests.support.server import DemoServer
from tests.support.stage import Lent, Stage
from web.client import Transport

MEMBERS = ("--pupils", "24", "--mentors", "24", "--moderators", "2")


@pytest.fixture(scope="module")
def demo(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoServer]:
    """Return the module's running server; a module's `OPTIONS` and `ENVIRONMENT` say how it is started."""
    options = getattr(request.module, "OPTIONS", MEMBERS)
    server = DemoServer(
        tmp_path_factory.mktemp("demo"), *options, env=getattr(request.module, "ENVIRONMENT", None)
    )
    try:
        yield server.start()
    finally:
        server.kill()


@pytest.fixture
def own_demo(tmp_path: Path) -> Iterator[Callable[..., DemoServer]]:
    """Return a function that starts a server for this test alone."""
    servers: list[DemoServer] = []

    def start(*options: str, env: dict[str, str] | None = None) -> DemoServer:
        servers.append(DemoServer(tmp_path / f"demo{len(servers)}", *options, env=env))
        return servers[-1].start()

    yield start
    for server in servers:
        server.kill()


@pytest.fixture(scope="module")
def lent() -> Lent:
    """Return who has been lent to the tests of this module's server."""
    return Lent()


@pytest.fixture
async def stage(request: pytest.FixtureRequest, demo: DemoServer, lent: Lent) -> AsyncIterator[Stage]:
    """Return the people of the test, on websockets unless the test is parametrised with `everywhere`."""
    way = getattr(request, "param", "ws")
    async with AsyncExitStack() as stack:
        url = demo.url
        if way == "proxy":
            url = (await stack.enter_async_context(BufferingProxy(demo.port))).url
        stage = Stage(demo, lent, url, Transport.WS if way == "ws" else Transport.POLL)
        stack.push_async_callback(stage.close)
        yield stage


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A server's start is part of the first test that uses it: allow for it."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent) and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(120))
