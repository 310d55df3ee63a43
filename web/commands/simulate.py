"""`peerchat simulate`: play conversations through real sockets, both sides, and check what became of them.

    Script    one conversation of the file: who says what, in order
    Player    a signed-in member that comes back after a lost line and obeys the rate limit
    Watch     the adult on duty: keeps the lease, hears the alerts
    play()    one conversation on a pair of players: send, compare, leave
    Report    what was delivered, held, alerted, how long it took, and what was wrong

What is wrong is named by conversation and turn. No text of a message is printed, logged or reported.
"""

import argparse
import asyncio
import collections
import contextlib
import random
import statistics
import sys
import time
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from web.client import Client, Frame, LineClosed, NoAnswer, Received, Refused, Server, Transport, WireError
from web.http_client import HttpFailed

MAX_TEXT = 2_000
WAIT_S = 30.0
PAIR_S = 60.0
"""How long a pupil waits for a mentor: both sides of every pair are ours."""
RENEW_S = 30.0
"""How often the adult's duty lease is renewed; it lapses after 90 s."""
COMES_BACK = 5
"""How often a player opens a new line for one that was lost, before it gives up."""

CLEAN, WRONG, BAD_USAGE = 0, 1, 2


class BadInput(Exception):
    """The file of conversations or of credentials cannot be used; says where, never what it holds."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a script."""

    sender: str
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Script:
    """One conversation to play."""

    id: str
    turns: tuple[Turn, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What was wrong, and where: the 0-based turn, or None where it is about the whole conversation."""

    conversation: str | None
    turn: int | None
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line says."""

    url: str
    scripts: tuple[Script, ...]
    credentials: dict[str, list[dict[str, str]]] = field(repr=False)
    parallel: int
    transport: Transport


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What became of one script."""

    id: str
    turns: int
    delivered: int = 0
    held: int = 0
    blocked: int = 0
    alert: str | None = None
    alert_after_turn: int | None = None


@dataclass(slots=True, kw_only=True)
class Report:
    """What became of all of it. Times are seconds until it is printed."""

    transport: str
    parallel: int
    seconds: float = 0.0
    played: list[Outcome] = field(default_factory=list)
    alerts: collections.Counter[str] = field(default_factory=collections.Counter)
    times: dict[str, list[float]] = field(
        default_factory=lambda: {"send_ack": [], "send_partner": [], "send_alert": []}
    )
    rate_limited: int = 0
    came_back: int = 0
    problems: list[Problem] = field(default_factory=list)

    def total(self, what: str) -> int:
        return sum(getattr(outcome, what) for outcome in self.played)

    def document(self) -> dict[str, Any]:
        """Return the report as it is written in JSON."""
        return {
            "transport": self.transport,
            "parallel": self.parallel,
            "seconds": round(self.seconds, 3),
            "conversations": len(self.played),
            "turns": self.total("turns"),
            "delivered": self.total("delivered"),
            "held": self.total("held"),
            "blocked": self.total("blocked"),
            "alerts": dict(self.alerts),
            "times_ms": {name: summary(values) for name, values in self.times.items()},
            "rate_limited": self.rate_limited,
            "lines_reopened": self.came_back,
            "problems": self.problems,
            "played": self.played,
        }


def summary(seconds: Sequence[float]) -> dict[str, float | int]:
    """Return count, median and upper percentiles (nearest rank) in milliseconds."""
    if not seconds:
        return {"n": 0}
    ordered = sorted(1000 * value for value in seconds)

    def rank(percent: int) -> float:
        return round(ordered[max(-(-len(ordered) * percent // 100) - 1, 0)], 2)

    return {
        "n": len(ordered),
        "median": round(statistics.median(ordered), 2),
        "p95": rank(95),
        "p99": rank(99),
        "max": round(ordered[-1], 2),
    }


# ------------------------------------------------------------------------------------------- the input


def read_scripts(path: Path) -> tuple[Script, ...]:
    """Return the conversations of a JSON Lines file. Raises `BadInput` naming the line."""
    scripts = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError) as error:
        raise BadInput(f"{path}: cannot be read ({type(error).__name__})") from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                scripts.append(read_script(msgspec.json.decode(line)))
            except (msgspec.MsgspecError, BadInput) as error:
                why = str(error) if isinstance(error, BadInput) else "not JSON"
                raise BadInput(f"{path}, line {number}: {why}") from error
    if not scripts:
        raise BadInput(f"{path}: no conversation in it")
    return tuple(scripts)


def read_script(doc: object) -> Script:
    """Return one conversation; fields other than `id` and `turns` are left alone."""
    match doc:
        case {"id": str(id), "turns": [_, *_] as rows}:
            return Script(id, tuple(read_turn(i, row) for i, row in enumerate(rows)))
        case _:
            raise BadInput('wanted {"id", "turns": [..]} with at least one turn')


def read_turn(i: int, row: object) -> Turn:
    """Return one turn that the server can take."""
    match row:
        case {"sender": "pupil" | "mentor" as sender, "text": str(text)}:
            text = unicodedata.normalize("NFC", text)
            if not text.strip() or len(text) > MAX_TEXT or "\x00" in text:
                raise BadInput(f"turn {i}: a text has 1 to {MAX_TEXT} characters, no NUL, not only space")
            return Turn(sender, text)
        case _:
            raise BadInput(f'turn {i}: wanted {{"sender": "pupil" or "mentor", "text"}}')


def read_credentials(path: Path) -> dict[str, Any]:
    """Return the document that `peerchat demo` writes, with a pupil, a mentor and an adult at least."""
    try:
        doc = msgspec.json.decode(path.read_bytes())
    except (OSError, msgspec.MsgspecError) as error:
        raise BadInput(f"{path}: cannot be read as credentials ({type(error).__name__})") from error
    for role in ("pupils", "mentors", "adults"):
        match doc:
            case {**rest} if isinstance(rest.get(role), list) and rest[role]:
                continue
        raise BadInput(f"{path}: needs at least one of `{role}`")
    return dict(doc)


# ----------------------------------------------------------------------------------------- the players


class Player:
    """A member that comes back after a lost line, with jitter, and sends again by the same id."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.came_back = 0

    async def come_back(self) -> None:
        """Open a line in place of a lost one. Raises `LineClosed` where the server said to stay away."""
        for attempt in range(COMES_BACK):
            if self.client.up:
                return
            if self.client.closed and self.client.closed.final:
                break
            await asyncio.sleep(random.uniform(0.05, 0.5) * 2**attempt)  # noqa: S311 - jitter, no secret
            with contextlib.suppress(LineClosed, NoAnswer):
                await self.client.open()
                self.came_back += 1
        if not self.client.up:
            raise self.client.closed or LineClosed(None)

    async def call(self, type: str, /, **fields: Any) -> tuple[float, Frame]:
        """Return when the frame was last sent, and its answer."""
        while True:
            try:
                sent = time.perf_counter()
                return sent, await self.client.call(type, **fields)
            except Refused as refused:
                if refused.code != "rate_limited":
                    raise
                self.client.rate_limited += 1
                await asyncio.sleep(max(refused.retry_after_s or 0, 0.02))
            except LineClosed:
                await self.come_back()


class Watch:
    """The adult on duty: renews the lease while it runs, and keeps what alerts were told."""

    def __init__(self, client: Client) -> None:
        self.player = Player(client)
        self.told: dict[str, Frame] = {}
        self.raised: dict[str, list[Received]] = collections.defaultdict(list)  # by conversation
        client.listeners.append(self._hear)

    def _hear(self, received: Received) -> None:
        if received.frame["type"] != "alert":
            return
        alert = received.frame["alert"]
        self.told[alert["id"]] = alert
        if received.frame["change"] == "raised" and alert["conversation"] is not None:
            self.raised[alert["conversation"]].append(received)

    async def take_duty(self) -> None:
        await self.player.client.open()
        await self.player.call("duty", on=True)

    async def keep_duty(self) -> None:
        while True:
            await asyncio.sleep(RENEW_S)
            await self.player.call("duty", on=True)

    async def listed(self) -> dict[str, Frame]:
        """Return every alert on the adult's list, by id."""
        alerts: dict[str, Frame] = {}
        cursor = ""
        while True:
            path = "/api/alerts" + (f"?cursor={cursor}" if cursor else "")
            answer = await self.player.client.http("GET", path)
            if answer.status != 200:
                raise HttpFailed(f"GET /api/alerts was answered {answer.status}")
            page = answer.json()
            alerts |= {alert["id"]: alert for alert in page["items"]}
            cursor = page["next"]
            if not cursor:
                return alerts


# -------------------------------------------------------------------------------------- a conversation


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A turn that the server has acked."""

    turn: int
    sender: str
    text: str = field(repr=False)
    message: str
    status: str
    seq: int | None
    at: float


class Play:
    """One script on one pair. Problems go to the report; only what stops the play is raised."""

    def __init__(self, script: Script, conversation: str, cast: dict[str, Player], report: Report) -> None:
        self.script, self.conversation, self.cast, self.report = script, conversation, cast, report
        self.outcome = Outcome(id=script.id, turns=len(script.turns))
        self.sent: list[Sent] = []
        self.marks = {role: player.client.mark() for role, player in cast.items()}
        self.cut = {role: player.came_back for role, player in cast.items()}

    def wrong(self, what: str, turn: int | None = None) -> None:
        self.report.problems.append(Problem(conversation=self.script.id, turn=turn, what=what))

    async def run(self) -> None:
        """Say every turn, then compare what both sides have with what was acked."""
        for i, turn in enumerate(self.script.turns):
            try:
                await self._say(i, turn)
            except (Refused, NoAnswer) as error:
                self.wrong(str(error), i)
        for role in self.cast:
            try:
                await self._compare(role)
            except (Refused, NoAnswer) as error:
                self.wrong(f"{role}: {error}")

    async def _say(self, i: int, turn: Turn) -> None:
        sender = self.cast[turn.sender]
        id = f"{random.getrandbits(64):016x}"
        at, ack = await sender.call("send", conversation=self.conversation, id=id, text=turn.text)
        self.report.times["send_ack"].append(time.perf_counter() - at)
        status = ack["status"]
        if ack["id"] != id or status not in {"delivered", "held", "blocked"}:
            self.wrong("the ack is of something else", i)
            return
        sent = Sent(
            turn=i,
            sender=turn.sender,
            text=turn.text,
            message=ack["message"],
            status=status,
            seq=ack.get("seq"),
            at=at,
        )
        self.sent.append(sent)
        setattr(self.outcome, status, getattr(self.outcome, status) + 1)
        if status == "delivered":
            await self._arrives(sent)

    async def _arrives(self, sent: Sent) -> None:
        partner = "mentor" if sent.sender == "pupil" else "pupil"
        player = self.cast[partner]
        try:
            received = await player.client.hear(
                "message",
                since=self.marks[partner],
                timeout_s=WAIT_S,
                conversation=self.conversation,
                message=sent.message,
            )
            self.report.times["send_partner"].append(received.at - sent.at)
        except NoAnswer:
            self.wrong("delivered, but never reached the partner", sent.turn)
        except LineClosed:
            await player.come_back()  # what it missed is in the history, which is compared at the end

    async def _compare(self, role: str) -> None:
        """Compare one side's history, and what was pushed to it, with the acks.

        The history is also a barrier: whatever was pushed before it has come by then.
        """
        player = self.cast[role]
        while True:
            try:
                history = await player.client.history(self.conversation)
                break
            except LineClosed:
                await player.come_back()
        delivered = {sent.message: sent for sent in self._delivered()}
        texts_kept = {sent.text for sent in self.sent} - {sent.text for sent in delivered.values()}
        talk = [frame for frame in history if frame["from"]["role"] in self.cast]
        wanted = [(s.message, s.seq, s.text) for s in sorted(delivered.values(), key=lambda s: s.seq or 0)]
        if [(f["message"], f["seq"], f["text"]) for f in talk] != wanted:
            self._explain(role, talk, delivered)
        pushed = [
            frame
            for frame in player.client.seen("message", since=self.marks[role], conversation=self.conversation)
            if not frame.get("replay")
        ]
        seqs = [frame["seq"] for frame in pushed]
        if seqs != sorted(set(seqs)):
            self.wrong(f"the {role} was pushed messages twice or out of order")
        got = {frame["message"] for frame in pushed}
        for sent in delivered.values():
            if sent.sender != role and sent.message not in got and player.came_back == self.cut[role]:
                self.wrong(f"delivered, but not pushed to the {role}", sent.turn)
        held = {sent.message: sent for sent in self.sent if sent.message not in delivered}
        for frame in pushed + history:
            if frame["message"] in held:
                sent = held[frame["message"]]
                self.wrong(f"{sent.status}, but reached the {role}", sent.turn)
            elif frame["message"] in delivered:
                if frame["text"] != delivered[frame["message"]].text:
                    self.wrong(f"reached the {role} changed", delivered[frame["message"]].turn)
            elif frame["from"]["role"] in self.cast or frame["text"] in texts_kept:
                self.wrong(f"the {role} received a message that nobody sent here")

    def _delivered(self) -> Iterator[Sent]:
        """Yield what is delivered by now: at once, or released by a person since."""
        for sent in self.sent:
            if sent.status == "delivered":
                yield sent
                continue
            decided = self.cast[sent.sender].client.seen(
                "decided", since=self.marks[sent.sender], message=sent.message, status="delivered"
            )
            if decided:
                yield Sent(**{**_fields(sent), "seq": decided[0]["seq"]})

    def _explain(self, role: str, talk: list[Frame], delivered: dict[str, Sent]) -> None:
        """Name the turns by which a history differs from the acks."""
        seqs = {frame["message"]: frame["seq"] for frame in talk}
        for message, sent in delivered.items():
            if message not in seqs:
                self.wrong(f"delivered, but not in the {role}'s history", sent.turn)
            elif seqs[message] != sent.seq:
                self.wrong(f"in the {role}'s history at another seq than acked", sent.turn)
        if len(talk) != len(seqs) or list(seqs.values()) != sorted(seqs.values()):
            self.wrong(f"the {role}'s history is doubled or out of order")

    def attribute(self, raised: list[Received]) -> None:
        """Put alerts down to the last turn that was sent before the adult was told."""
        for received in raised:
            before = [sent for sent in self.sent if sent.at <= received.at]
            if before:
                self.report.times["send_alert"].append(received.at - before[-1].at)
                if self.outcome.alert_after_turn is None:
                    self.outcome.alert_after_turn = before[-1].turn


def _fields(sent: Sent) -> dict[str, Any]:
    return {name: getattr(sent, name) for name in Sent.__slots__}


# --------------------------------------------------------------------------------------------- the run


class Simulation:
    """All scripts on all pairs: one task a pupil, and whichever mentor the server pairs it with."""

    def __init__(self, options: Options, server: Server, progress: "Bar") -> None:
        self.options, self.server, self.progress = options, server, progress
        self.report = Report(transport=options.transport, parallel=options.parallel)
        self.left = collections.deque(options.scripts)
        self.mentors: dict[str, asyncio.Future[Player]] = {}  # by conversation
        self.plays: dict[str, Play] = {}  # by conversation
        self.players: list[Player] = []
        self.on_shift: list[Player] = []

    async def run(self) -> Report:
        """Play everything. Raises `WireError` or `HttpFailed` where it cannot even begin."""
        started = time.perf_counter()
        watch = Watch(await self._client(self.options.credentials["adults"][0]))
        await watch.take_duty()
        duty = asyncio.create_task(watch.keep_duty())
        self.players.append(watch.player)
        try:
            for who in self.options.credentials["mentors"][: self.options.parallel]:
                await self._mentor(who)
            pupils = [
                await self._player(who) for who in self.options.credentials["pupils"][: self.options.parallel]
            ]
            await asyncio.gather(*(self._work(pupil) for pupil in pupils))
            for script in self.left:
                self._wrong(script, "was not played: no pupil's line was left")
            if duty.done():
                self._wrong(None, "the adult's line was lost: duty was not kept")
            await self._alerts(watch)
        finally:
            for mentor in self.on_shift:
                with contextlib.suppress(WireError):
                    await mentor.client.call("shift", on=False)
            duty.cancel()
            await asyncio.gather(duty, return_exceptions=True)
            await asyncio.gather(*(player.client.close() for player in self.players))
        self.report.seconds = time.perf_counter() - started
        self.report.rate_limited = sum(player.client.rate_limited for player in self.players)
        self.report.came_back = sum(player.came_back for player in self.players)
        return self.report

    def _wrong(self, script: Script | None, what: str) -> None:
        self.report.problems.append(Problem(conversation=script.id if script else None, turn=None, what=what))

    async def _client(self, who: dict[str, str]) -> Client:
        return Client(self.server, await self.server.sign_in(who), transport=self.options.transport)

    async def _player(self, who: dict[str, str]) -> Player:
        """Sign a member in, open its line and leave what an earlier run left open."""
        player = Player(await self._client(who))
        self.players.append(player)
        welcome = await player.client.open()
        for view in welcome["conversations"]:
            with contextlib.suppress(Refused):
                await player.call("leave", conversation=view["conversation"])
        return player

    async def _mentor(self, who: dict[str, str]) -> None:
        player = await self._player(who)

        def hear(received: Received) -> None:
            frame = received.frame
            views = {"paired": [frame], "welcome": frame.get("conversations", [])}.get(frame["type"], [])
            for view in views:  # a pairing may have come while the line was down
                found = self._mentor_of(view["conversation"])
                if not found.done():
                    found.set_result(player)

        player.client.listeners.append(hear)
        await player.call("shift", on=True, capacity=1)
        self.on_shift.append(player)

    def _mentor_of(self, conversation: str) -> "asyncio.Future[Player]":
        return self.mentors.setdefault(conversation, asyncio.get_running_loop().create_future())

    async def _work(self, pupil: Player) -> None:
        while self.left:
            script = self.left.popleft()
            try:
                await self._play(script, pupil)
            except (WireError, HttpFailed) as error:
                self._wrong(script, str(error))
                if not pupil.client.up:
                    return
            finally:
                self.progress.step()

    async def _play(self, script: Script, pupil: Player) -> None:
        """Pair, play, leave; the mentor is free again for whoever asks next."""
        since = pupil.client.mark()
        await pupil.call("ask", topics=[])
        conversation: str = (await pupil.client.wait("paired", since=since, timeout_s=PAIR_S))["conversation"]
        try:
            await self._talk(script, conversation, pupil)
        finally:
            with contextlib.suppress(Refused):
                await pupil.call("leave", conversation=conversation, mood=3)

    async def _talk(self, script: Script, conversation: str, pupil: Player) -> None:
        try:
            async with asyncio.timeout(WAIT_S):
                mentor = await asyncio.shield(self._mentor_of(conversation))
        except TimeoutError as error:
            raise NoAnswer("paired with a mentor who is not of this run, or was not told") from error
        play = Play(script, conversation, {"pupil": pupil, "mentor": mentor}, self.report)
        self.plays[conversation] = play
        self.report.played.append(play.outcome)
        await play.run()
        with contextlib.suppress(Refused):
            await pupil.call("leave", conversation=conversation, mood=3)
        try:
            await mentor.client.wait("ended|left", since=play.marks["mentor"], conversation=conversation)
        except NoAnswer:
            play.wrong("the mentor was not told that the conversation ended")
        except LineClosed:
            await mentor.come_back()

    async def _alerts(self, watch: Watch) -> None:
        """Compare what the adult was told with the list, and put each alert down to its turn."""
        await watch.player.call("ping")  # what was told before has come by now
        listed = await watch.listed()
        for id, alert in watch.told.items():
            if id not in listed:
                play = self.plays.get(alert["conversation"])
                self._wrong(
                    play.script if play else None, "the adult was told of an alert that is not on the list"
                )
        for conversation, play in self.plays.items():
            play.attribute(watch.raised[conversation])
        for alert in (watch.told | listed).values():
            if alert["conversation"] in self.plays:
                self.report.alerts[alert["risk"]] += 1
                self.plays[alert["conversation"]].outcome.alert = alert["risk"]


class Bar:
    """A progress bar where a person watches; nothing elsewhere."""

    def __init__(self, console: Console, total: int) -> None:
        self._progress = Progress(
            TextColumn("conversations"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("", total=total)

    def __enter__(self) -> "Bar":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def step(self) -> None:
        self._progress.advance(self._task)


def show(report: Report, console: Console) -> None:
    """Print the report for a person."""
    counts = Table(title="simulate", title_justify="left", show_header=False)
    counts.add_column()
    counts.add_column(justify="right")
    counts.add_row("conversations", str(len(report.played)))
    for what in ("turns", "delivered", "held", "blocked"):
        counts.add_row(what, str(report.total(what)))
    for risk in ("immediate", "high", "concern"):
        counts.add_row(f"alerts, {risk}", str(report.alerts[risk]))
    counts.add_row("told to slow down", str(report.rate_limited))
    counts.add_row("lines reopened", str(report.came_back))
    counts.add_row("seconds", f"{report.seconds:.1f}")
    console.print(counts)
    times = Table(title="times, ms", title_justify="left")
    times.add_column("")
    columns = ("n", "median", "p95", "p99", "max")
    for name in columns:
        times.add_column(name, justify="right")
    for name, values in report.times.items():
        row = summary(values)
        times.add_row(name.replace("_", " to "), *(str(row.get(column, "")) for column in columns))
    console.print(times)
    if report.problems:
        wrong = Table(title="wrong", title_justify="left")
        for name in ("conversation", "turn", "what"):
            wrong.add_column(name)
        for problem in report.problems:
            turn = "" if problem.turn is None else str(problem.turn)
            wrong.add_row(escape(problem.conversation or ""), turn, problem.what)
        console.print(wrong)
    console.print("found something wrong" if report.problems else "clean", highlight=False)


# ------------------------------------------------------------------------------------ the command line


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser(
        "simulate",
        help="play conversations through real sockets and check what became of them",
        description="Plays conversations through real sockets, both sides, with an adult on duty, and checks "
        "that every send is acked, that what is delivered arrives once, in order and unchanged, that what is "
        "held or blocked never does, and that every alert is on the list. The report is JSON.",
        epilog="Exit status: 0 clean, 1 found something wrong, 2 bad usage.",
    )
    parser.add_argument(
        "file", type=Path, metavar="FILE", help='JSON Lines: {"id", "turns": [{"sender", "text"}]}'
    )
    parser.add_argument("--url", help="where the server is (default: what the credentials file says)")
    parser.add_argument(
        "--credentials", type=Path, required=True, metavar="FILE", help="as `peerchat demo` writes it"
    )
    parser.add_argument(
        "--parallel",
        type=int,
        metavar="N",
        help="conversations at once (default: all pairs)",
    )
    parser.add_argument(
        "--json", type=Path, metavar="OUT", help="write the report to a file, not to standard output"
    )
    parser.add_argument(
        "--transport", choices=("ws", "poll"), default="ws", help="websocket or long polling (default: ws)"
    )
    parser.set_defaults(run=run)


def options_of(args: argparse.Namespace) -> Options:
    """Return what the command line says. Raises `BadInput`."""
    credentials = read_credentials(args.credentials)
    scripts = read_scripts(args.file)
    pairs = min(len(credentials["pupils"]), len(credentials["mentors"]))
    if args.parallel is not None and not 1 <= args.parallel <= pairs:
        raise BadInput(f"--parallel: the credentials have pupils and mentors for 1 to {pairs}")
    url = args.url or credentials.get("url")
    if not isinstance(url, str):
        raise BadInput("no --url, and the credentials name none")
    return Options(
        url=url,
        scripts=scripts,
        credentials=credentials,
        parallel=min(args.parallel or pairs, len(scripts)),
        transport=Transport(args.transport),
    )


async def simulate(options: Options, console: Console) -> Report:
    """Play everything and return the report."""
    async with Server(options.url) as server:
        with Bar(console, len(options.scripts)) as bar:
            return await Simulation(options, server, bar).run()


def run(args: argparse.Namespace) -> int:
    """Play the file; the report goes to standard output or to a file, the tables to standard error."""
    console = Console(stderr=True)
    try:
        options = options_of(args)
        report = asyncio.run(simulate(options, console))
        document = msgspec.json.format(msgspec.json.encode(report.document()), indent=1)
        if args.json:
            args.json.write_bytes(document + b"\n")
        else:
            sys.stdout.write(document.decode() + "\n")
    except (BadInput, ValueError, OSError) as error:
        console.print(f"peerchat simulate: {error}", highlight=False, markup=False)
        return BAD_USAGE
    except (WireError, HttpFailed) as error:
        console.print(f"peerchat simulate: {error}", highlight=False, markup=False)
        return WRONG
    show(report, console)
    return WRONG if report.problems else CLEAN
