"""Fixtures of the browser tests: a demo server and a Chromium for each test."""

from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path

import pytest

from tests.browser.people import Stage
from tests.support.server import DemoServer

failed = pytest.StashKey[bool]()


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[DemoServer]:
    """Return a running demo server of this test's own."""
    server = DemoServer(tmp_path)
    try:
        yield server.start()
    finally:
        server.kill()


@pytest.fixture
async def stage(request: pytest.FixtureRequest, chromium_path: str, shots: Path) -> AsyncIterator[Stage]:
    """Return a Chromium in which people can open the pages."""
    async with Stage(chromium_path, shots) as stage:
        yield stage
        if request.node.stash.get(failed, False):
            await stage.last_pictures()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Tell the fixtures how the test went."""
    report = yield
    if report.when == "call":
        item.stash[failed] = report.failed
    return report
