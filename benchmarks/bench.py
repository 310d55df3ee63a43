"""Durable 1:1 delivery through the real server, beside a bare relay: messages a second, latency, CPU.

The server has one core and the load another, where there are two. Both peers are measured in turns, several
rounds, by the same client; absolute figures belong to a machine and a moment, the ratios travel better.
"""

import argparse
import asyncio
import contextlib
import http.client
import itertools
import json
import os
import platform
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.load import Pair, Sample, close, connect, saturate, steady
from web.client import Client, Server, Transport

ROOT = Path(__file__).resolve().parents[1]
HOST = "127.0.0.1"
START_S = 60.0
LIMIT_S = 120.0
QUIET_RATE = 50.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line says."""

    pairs: int
    window: int
    rounds: int
    seconds: float
    warm_s: float
    quiet_s: float
    out: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One peer in one round. Times are milliseconds; CPU is the server's, user and system together."""

    messages_s: float
    cpu_us: float
    ack_p50: float
    ack_p95: float
    ack_p99: float
    partner_p50: float
    partner_p99: float
    not_delivered: int


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the nearest-rank percentile of seconds, in milliseconds."""
    ordered = sorted(values)
    return round(1000 * ordered[max(-(-len(ordered) * percent // 100) - 1, 0)], 3) if ordered else 0.0


def measured(sample: Sample, cpu_s: float) -> Measured:
    """Return the figures of one sample."""
    return Measured(
        messages_s=round(sample.delivered / sample.seconds, 1),
        cpu_us=round(1e6 * cpu_s / max(sample.delivered, 1), 1),
        ack_p50=percentile(sample.ack, 50),
        ack_p95=percentile(sample.ack, 95),
        ack_p99=percentile(sample.ack, 99),
        partner_p50=percentile(sample.partner, 50),
        partner_p99=percentile(sample.partner, 99),
        not_delivered=sample.held + sample.errors,
    )


class Peer:
    """A server process on a core of its own, in a process group of its own."""

    def __init__(self, command: Sequence[str], port: int, log: Path) -> None:
        self.port = port
        cpus = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cpus[0]})  # the child inherits it
        try:
            with log.open("wb") as out:
                self._process = subprocess.Popen(
                    command,
                    cwd=ROOT,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                    start_new_session=True,
                )
        finally:
            os.sched_setaffinity(0, set(cpus[1:]) or set(cpus))
        self._log = log
        self._cpus = cpus

    def wait(self, path: str, credentials: Path | None = None) -> None:
        """Wait until the peer answers (any status for a relay, 200 for a server)."""
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            if self._process.poll() is not None:
                break
            connection = http.client.HTTPConnection(HOST, self.port, timeout=5)
            with contextlib.suppress(OSError, http.client.HTTPException):
                connection.request("GET", path)
                status = connection.getresponse().status
                if credentials is None or (status == 200 and credentials.exists()):
                    return
            connection.close()
            time.sleep(0.05)
        tail = self._log.read_text(encoding="utf-8", errors="replace")[-2000:]
        raise RuntimeError(f"the server did not start:\n{tail}")

    def cpu_s(self) -> float:
        """Return the processor time of the whole process group, in seconds.

        Asked of each process's own clock: the ticks of /proc/PID/stat are 10 ms, which charges a server that
        wakes up for each message far more, or far less, than it used.
        """
        total = 0.0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
                if int(fields[2]) == self._process.pid:  # its process group
                    total += time.clock_gettime((~int(stat.parent.name) << 3) | 2)  # clock_getcpuclockid(3)
        return total

    def resident_mib(self) -> float:
        text = Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii")
        (line,) = (line for line in text.splitlines() if line.startswith("VmRSS:"))
        return round(int(line.split()[1]) / 1024, 1)

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.sched_setaffinity(0, set(self._cpus))


def free_port() -> int:
    """Return a port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def peerchat(folder: Path, pairs: int) -> Iterator[tuple[Peer, dict[str, Any]]]:
    """Run the real server; yield it and its credentials."""
    credentials, port = folder / "credentials.json", free_port()
    command = [sys.executable, "-m", "web.cli", "demo", "--port", str(port), "--data", str(folder / "data")]
    command += ["--credentials", str(credentials), "--unlimited"]
    command += ["--pupils", str(pairs), "--mentors", str(pairs)]
    peer = Peer(command, port, folder / "server.log")
    try:
        peer.wait("/readyz", credentials)
        yield peer, json.loads(credentials.read_bytes())
    finally:
        peer.end()


@contextlib.contextmanager
def bare_relay(folder: Path) -> Iterator[Peer]:
    """Run the bare peer."""
    port = free_port()
    peer = Peer([sys.executable, "-m", "benchmarks.relay", str(port)], port, folder / "relay.log")
    try:
        peer.wait("/")
        yield peer
    finally:
        peer.end()


async def conversations(url: str, people: dict[str, Any], pairs: int) -> list[tuple[str, str, str]]:
    """Sign everybody in and pair them; return (conversation, pupil's token, mentor's token)."""
    made = []
    async with Server(url) as server:
        for pupil_who, mentor_who in zip(people["pupils"][:pairs], people["mentors"], strict=False):
            pupil = Client(server, await server.sign_in(pupil_who), transport=Transport.WS)
            mentor = Client(server, await server.sign_in(mentor_who), transport=Transport.WS)
            await mentor.open()
            await mentor.call("shift", on=True, capacity=1)
            await pupil.open()
            await pupil.call("ask", topics=[])
            conversation = (await pupil.wait("paired"))["conversation"]
            await mentor.wait("paired", conversation=conversation)
            made.append((conversation, pupil.session.token, mentor.session.token))
            await pupil.close()
            await mentor.close()
    return made


async def under_load(peer: Peer, pairs: Sequence[Pair], options: Options) -> Measured:
    """Measure one saturated round."""
    loaded = asyncio.create_task(
        saturate(pairs, window=options.window, warm_s=options.warm_s, seconds=options.seconds)
    )
    await asyncio.sleep(options.warm_s)
    before = peer.cpu_s()
    await asyncio.sleep(options.seconds)
    cpu = peer.cpu_s() - before
    return measured(await loaded, cpu)


async def quiet(peer: Peer, pairs: Sequence[Pair], options: Options) -> Measured:
    """Measure far below saturation: what a person would feel."""
    before = peer.cpu_s()
    sample = await steady(pairs, rate=QUIET_RATE, seconds=options.quiet_s)
    return measured(sample, peer.cpu_s() - before)


async def bench(options: Options, folder: Path, say: Console) -> dict[str, Any]:
    """Measure both peers in turns; return the document."""
    rounds: dict[str, list[Measured]] = {"peerchat": [], "bare": []}
    still: dict[str, Measured] = {}
    with peerchat(folder, options.pairs) as (server, people), bare_relay(folder) as relay:
        numbers = itertools.count()
        say.print(f"pairing {options.pairs} pairs", highlight=False)
        tokens = await conversations(f"http://{HOST}:{server.port}", people, options.pairs)
        fake = [(f"p{i}", f"p{i}-a", f"p{i}-b") for i in range(options.pairs)]
        peers = {
            "peerchat": (server, await connect(HOST, server.port, tokens, numbers)),
            "bare": (relay, await connect(HOST, relay.port, fake, numbers)),
        }
        for i in range(options.rounds):
            for name, (peer, pairs) in peers.items():
                rounds[name].append(await under_load(peer, pairs, options))
                say.print(
                    f"round {i + 1}: {name} {rounds[name][-1].messages_s:,.0f} messages/s", highlight=False
                )
        for name, (peer, pairs) in peers.items():
            still[name] = await quiet(peer, pairs, options)
        memory = {name: peer.resident_mib() for name, (peer, _) in peers.items()}
        for _, pairs in peers.values():
            close(pairs)
        await asyncio.sleep(0)
    middle = {name: median(values) for name, values in rounds.items()}
    return {
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version(), "system": platform.system()},
        "pairs": options.pairs,
        "window": options.window,
        "rounds": options.rounds,
        "seconds": options.seconds,
        "saturated": {name: asdict(value) for name, value in middle.items()},
        "quiet": {"rate": QUIET_RATE, **{name: asdict(value) for name, value in still.items()}},
        "resident_mib": memory,
        "ratio": {
            "messages_s": round(middle["peerchat"].messages_s / middle["bare"].messages_s, 3),
            "cpu_us": round(middle["peerchat"].cpu_us / middle["bare"].cpu_us, 2),
        },
        "each_round": {name: [asdict(value) for value in values] for name, values in rounds.items()},
    }


def median(values: Sequence[Measured]) -> Measured:
    """Return the median of each figure over the rounds."""
    rows = [asdict(value) for value in values]
    return Measured(**{name: statistics.median(row[name] for row in rows) for name in rows[0]})


def show(document: dict[str, Any], console: Console) -> None:
    """Print the figures for a person."""
    for title, part in (("saturated", document["saturated"]), ("quiet", document["quiet"])):
        table = Table(title=title, title_justify="left")
        for column in ("", "peerchat", "bare relay", "ratio"):
            table.add_column(column, justify="right" if column else "left")
        for name in part["peerchat"]:
            ours, bare = part["peerchat"][name], part["bare"][name]
            table.add_row(name, f"{ours:,}", f"{bare:,}", f"{ours / bare:.2f}" if bare else "")
        console.print(table)


def options_of(arguments: Sequence[str] | None) -> Options:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--pairs", type=int, default=50, help="conversations (default: 50)")
    parser.add_argument("--window", type=int, default=4, help="sends under way in each (default: 4)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of both peers (default: 3)")
    parser.add_argument("--seconds", type=float, default=6, help="measured seconds a round (default: 6)")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write all figures here")
    args = parser.parse_args(arguments)
    if args.pairs < 1 or args.window < 1 or args.rounds < 1 or not args.seconds > 0:
        parser.error("--pairs, --window, --rounds and --seconds are positive")
    if args.rounds * 2 * (args.seconds + 1) > LIMIT_S - 40:
        parser.error(f"that would take more than {LIMIT_S:g} s: fewer --rounds or --seconds")
    return Options(
        pairs=args.pairs,
        window=args.window,
        rounds=args.rounds,
        seconds=args.seconds,
        warm_s=1.0,
        quiet_s=4.0,
        out=args.json,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print tables on standard error and, without --json, the document on standard output."""
    options = options_of(arguments)
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="peerchat-bench-") as folder:
        document = uvloop.run(bench(options, Path(folder), console))
    show(document, console)
    text = json.dumps(document, indent=1) + "\n"
    if options.out:
        options.out.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)
    bad = document["saturated"]["peerchat"]["not_delivered"]
    if bad:
        console.print(f"{bad} messages were not delivered: the figures are not those of plain delivery")
    return 1 if bad else 0
