"""What all tests share: no story is skipped in silence, and where the browser and the pictures are."""

import os
from pathlib import Path

import pytest

from tools import browser

ROOT = Path(__file__).resolve().parents[1]
IN_CI = os.environ.get("CI", "").lower() not in {"", "0", "false"}

left_out = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """Return the path of a Chromium that starts; skip where there is none (in CI that fails the run)."""
    found = browser.find()
    if found is None:
        pytest.skip("no Chromium here: `make browser` says why")
    return found


@pytest.fixture(scope="session")
def shots() -> Path:
    """Return the folder for screenshots: PEERCHAT_SHOTS, or ci-output/shots."""
    folder = Path(os.environ.get("PEERCHAT_SHOTS") or ROOT / "ci-output" / "shots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def pytest_configure(config: pytest.Config) -> None:
    config.stash[left_out] = []


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Collect what did not run; in CI, where all of it must, fail for it."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:
        return
    reports = [(kind, report) for kind in ("skipped", "xfailed") for report in reporter.stats.get(kind, [])]
    session.config.stash[left_out] = [f"{kind}: {report.nodeid}: {why(report)}" for kind, report in reports]
    if IN_CI and reports and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def why(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Return the reason that was given."""
    if isinstance(report.longrepr, tuple):  # a skip: path, line, reason
        return report.longrepr[2].removeprefix("Skipped: ")
    return str(getattr(report, "wasxfail", ""))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Close on what did not run, where nobody can overlook it."""
    missing = config.stash[left_out]
    if not missing:
        return
    terminalreporter.section("NOT RUN", sep="=", red=IN_CI, yellow=not IN_CI, bold=True)
    for line in missing:
        terminalreporter.line(line)
    if IN_CI:
        terminalreporter.line("This is CI, where every test must run: the run has FAILED.", red=True)
    else:
        terminalreporter.line("These were NOT tested here; a green line below says nothing about them.")
