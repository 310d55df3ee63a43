"""Find a Chromium for the browser tests, or install one: `python -m tools.browser`.

In this order: the CHROMIUM environment variable, a Chromium or Chrome on this machine, Playwright's own
download; then, as root on Debian, its package; else Playwright's download anew. Without any of them the
tests still run: they report the browser story as skipped, and in CI that is a failure (tests/conftest.py).
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PLACES = (
    Path("/Applications/Chromium.app/Contents/MacOS/Chromium"),
    Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"),
)
PACKAGES = ("chromium", "fonts-liberation")  # without fonts a page is drawn in empty boxes
PLAYWRIGHT_PATH = """
from playwright.sync_api import sync_playwright
with sync_playwright() as playwright:
    print(playwright.chromium.executable_path)
"""


def find() -> str | None:
    """Return the first Chromium that starts, or None."""
    return next((path for path in candidates() if starts(path)), None)


def candidates() -> Iterator[str]:
    """Yield where a Chromium may be, best first; CHROMIUM, where it is set, is the only one."""
    if named := os.environ.get("CHROMIUM"):
        yield named
        return
    yield from filter(None, map(shutil.which, NAMES))
    yield from (str(place) for place in PLACES if place.exists())
    # In a process of its own: Playwright's sync interface refuses to start under a running event loop.
    answer = run(sys.executable, "-c", PLAYWRIGHT_PATH, quiet=True)
    if answer is not None and Path(path := answer.strip()).exists():
        yield path


def starts(path: str) -> bool:
    """Tell whether it is there with all the libraries it needs."""
    return run(path, "--version", quiet=True) is not None


def install() -> str | None:
    """Try each way of installing one; return the first that then starts."""
    if on_debian() and os.geteuid() == 0:
        say("no Chromium here: installing Debian's package")
        apt = ("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-y")
        run(*apt, "update")
        run(*apt, "install", "--no-install-recommends", *PACKAGES)
        if found := find():
            return found
    say("no Chromium here: asking Playwright for one")
    run(sys.executable, "-m", "playwright", "install", "chromium")
    return find()


def on_debian() -> bool:
    """Tell Debian itself from what descends from it: Ubuntu's chromium package is another thing."""
    try:
        lines = Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    return "ID=debian" in lines


def run(*command: str, quiet: bool = False, timeout_s: float = 600) -> str | None:
    """Run a command without standard input; return its standard output, or None if it failed.

    Unless `quiet`, what it says goes to standard error as it comes, and nothing is returned but "".
    """
    try:
        done = subprocess.run(
            command,
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if quiet else sys.stderr,
            stderr=subprocess.DEVNULL if quiet else sys.stderr,
            timeout=timeout_s,
            text=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        if not quiet:
            say(f"{command[0]}: {error}")
        return None
    return done.stdout or ""


def say(what: str) -> None:
    """Tell the person at the terminal."""
    print(f"browser: {what}", file=sys.stderr, flush=True)


def main() -> int:
    """Print the path of a Chromium; without one say so and still return 0, for the tests report it."""
    if found := find():
        print(found)
        return 0
    if named := os.environ.get("CHROMIUM"):
        say(f"CHROMIUM={named} does not start")
        return 1
    if found := install():
        print(found)
        return 0
    say(
        "NO CHROMIUM, and none could be installed: the browser tests will be SKIPPED. "
        "Install Chromium or Google Chrome, or set CHROMIUM=/path/to/chromium."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
