"""A real server process: `peerchat demo` on a free loopback port, in a folder of its own."""

import argparse
import contextlib
import http.client
import io
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from web.commands import audit

ROOT = Path(__file__).resolve().parents[2]
START_S = 90.0
STOP_S = 20.0
PATIENT = {"PEERCHAT_JUDGE_DEADLINE_S": "10"}
"""On a busy machine a judgement may be late, and what is judged late is held: not tested here."""


def free_port() -> int:
    """Return a port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class DemoServer:
    """`peerchat demo` in a process group of its own. Data, credentials and output lie in `folder`, apart.

    Started again after `kill()` or `stop()`, it continues on the same data, port and credentials.
    """

    def __init__(self, folder: Path, *options: str, env: dict[str, str] | None = None) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.log = folder / "server.log"
        self._credentials_file = folder / "credentials.json"
        self._options = options
        self._env = env or {}
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.credentials: dict[str, Any] = {}
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def credentials_file(self) -> Path:
        return self._credentials_file

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self) -> "DemoServer":
        """Start, and return once the server is ready and its credentials are there."""
        self.data.mkdir(parents=True, exist_ok=True)
        first = not self.credentials
        command = [
            sys.executable,
            "-m",
            "web.cli",
            "demo",
            "--port",
            str(self.port),
            "--data",
            str(self.data),
        ]
        command += ["--credentials", str(self._credentials_file), *self._options]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, **PATIENT, **self._env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        end = time.monotonic() + START_S
        while not (self._credentials_file.exists() and self.ready()):
            if self.process.poll() is not None:
                raise AssertionError(
                    f"the demo ended with {self.process.returncode}:\n{self.output()[-3000:]}"
                )
            if time.monotonic() > end:
                self.kill()
                raise AssertionError(f"the demo was not ready in {START_S:g} s:\n{self.output()[-3000:]}")
            time.sleep(0.05)
        if first:
            self.credentials = json.loads(self._credentials_file.read_bytes())
            assert stat.S_IMODE(self._credentials_file.stat().st_mode) == 0o600
        return self

    def ready(self) -> bool:
        """True where /readyz says so."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def output(self) -> str:
        """Return what the server has printed."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def kill(self) -> None:
        """End the whole group at once, as a power cut would."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def stop(self) -> int:
        """Ask the server to end; return its exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(f"the demo did not stop in {STOP_S:g} s") from None
        status = int(self.process.returncode)
        self.kill()  # whatever it left behind in its group
        return status

    def audit(self, *options: str) -> tuple[int, dict[str, Any]]:
        """Verify the audit log from outside the server; return the exit status and the head.

        In this process: the start of an interpreter would be most of the time.
        """
        parser = argparse.ArgumentParser()
        audit.add(parser.add_subparsers())
        args = parser.parse_args(["audit", "verify", "--data", str(self.data), *options])
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
            status = audit.run(args)
        return status, json.loads(out.getvalue())

    def resident_kib(self) -> int:
        """Return the resident memory of the server's process."""
        for line in Path(f"/proc/{self.pid}/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        raise AssertionError("no VmRSS")
