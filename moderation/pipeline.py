"""Stages under one deadline, fail closed.

A message is delivered only on answers that were given, in time and in order: a stage that raises, hangs or
answers nonsense is named in `Verdict.degraded`, and policy then holds the message. What the other stages
saw still counts. Nothing here logs text, nor an exception's own words, which may quote it.
"""

import asyncio
import logging
import math
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Protocol

from moderation.policy import Policy
from moderation.verdict import (
    LEVEL_LABELS,
    RISK_LABELS,
    TOXICITY_LABELS,
    Action,
    Risk,
    Signal,
    Span,
    Submission,
    Verdict,
)

log = logging.getLogger(__name__)

DEADLINE_S = 2.0
"""Time that all stages have together. What is not judged by then is held, and says why."""

INLINE_CODE_POINTS = 600
"""Small batches of a stage that may run inline cost less than the hop to its thread, and at most a few ms."""

MAX_SIGNALS = 512
"""Signals that one stage may give one message: more is nonsense."""

MAX_WAITING = 64
"""Calls that may wait for one stage's thread: more is refused, so is degraded."""

LABELS = frozenset(RISK_LABELS) | frozenset(LEVEL_LABELS) | {f"toxicity:{label}" for label in TOXICITY_LABELS}

Read = Callable[[Sequence[Submission]], Sequence[Sequence[Signal]]]


class Stage(Protocol):
    """Looks at messages and says what it sees. It may fail in any way: the pipeline answers for that."""

    @property
    def name(self) -> str:
        """Short and stable: it stands in signals, in `degraded` and in policy."""

    async def assess(self, batch: Sequence[Submission]) -> Sequence[Sequence[Signal]]:
        """One row of signals for each message, in the same order. Must not block the event loop."""


class StageError(Exception):
    """A stage gave no usable answer; the message says how, and quotes nothing."""


class StageBusy(StageError):
    """An earlier call is still stuck, or too many wait: the stage is left out until it comes back."""


class Threaded:
    """Makes a stage of a plain function by running it on a thread of its own.

    One daemon thread a stage: a call that never returns costs that one thread and nothing more. While it is
    stuck the stage answers `StageBusy` at once; when it comes back, so does the stage.
    """

    def __init__(self, name: str, read: Read, *, inline_code_points: int = 0) -> None:
        self.name = name
        self._read = read
        self._inline = inline_code_points
        self._waiting: queue.SimpleQueue[tuple[Future[Any], Sequence[Submission]]] = queue.SimpleQueue()
        self._late: Future[Any] | None = None
        self._thread: threading.Thread | None = None

    async def assess(self, batch: Sequence[Submission]) -> Sequence[Sequence[Signal]]:
        """Answer from the thread, or inline where the batch is small enough to be bounded."""
        if self._late is not None:
            if not self._late.done():
                raise StageBusy("stuck in an earlier call")
            self._late = None
        if self._inline and size_of(batch) <= self._inline:
            return self._read(batch)
        if self._waiting.qsize() >= MAX_WAITING:
            raise StageBusy("too many calls are waiting")
        call: Future[Sequence[Sequence[Signal]]] = Future()
        self._waiting.put((call, batch))
        self._start()
        try:
            return await asyncio.wrap_future(call)
        except asyncio.CancelledError:
            # A call that has not begun is cancelled with its waiter; one that has cannot be.
            if not call.done():
                self._late = call
            raise

    def _start(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._serve, name=f"moderation-{self.name}", daemon=True)
            self._thread.start()

    def _serve(self) -> None:
        while True:
            call, batch = self._waiting.get()
            if not call.set_running_or_notify_cancel():
                continue
            try:
                call.set_result(self._read(batch))
            except BaseException as error:
                call.set_exception(error)


class Pipeline:
    """Every stage on every message, then policy. `judge` always answers, and for each message."""

    def __init__(self, stages: Sequence[Stage], policy: Policy, deadline_s: float = DEADLINE_S) -> None:
        names = [stage.name for stage in stages]
        if len(set(names)) != len(names):
            raise ValueError("two stages have one name")
        if not deadline_s > 0:
            raise ValueError("the deadline must be more than 0 s")
        self.stages = tuple(stages)
        self.policy = policy
        self.deadline_s = deadline_s
        self._late: dict[str, asyncio.Task[Any]] = {}

    @property
    def policy_version(self) -> str:
        """What every verdict of this pipeline carries."""
        return self.policy.version

    async def judge(self, batch: Sequence[Submission]) -> list[Verdict]:
        """A verdict for each message, in order, at most a moment after the deadline."""
        if not batch:
            return []
        signals: list[list[Signal]] = [[] for _ in batch]
        degraded: list[set[str]] = [set() for _ in batch]
        until = asyncio.get_running_loop().time() + self.deadline_s
        for stage, rows in zip(self.stages, await self._ask_all(batch, until), strict=True):
            for at, row in enumerate(rows):
                if row is None:
                    degraded[at].add(stage.name)
                else:
                    signals[at].extend(row)
        return [
            self.policy.decide(submission, seen, frozenset(missing))
            for submission, seen, missing in zip(batch, signals, degraded, strict=True)
        ]

    async def judge_one(self, submission: Submission) -> Verdict:
        """The verdict on one message."""
        (verdict,) = await self.judge([submission])
        return verdict

    async def _ask_all(
        self, batch: Sequence[Submission], until: float
    ) -> list[Sequence[Sequence[Signal] | None]]:
        nothing: Sequence[Sequence[Signal] | None] = [None] * len(batch)
        answers: dict[str, Sequence[Sequence[Signal] | None]] = {}
        tasks: dict[str, asyncio.Task[Sequence[Sequence[Signal] | None]]] = {}
        for stage in self.stages:
            late = self._late.get(stage.name)
            if late is not None and not late.done():
                log.warning("moderation stage %s is left out: still busy with an earlier batch", stage.name)
                continue
            self._late.pop(stage.name, None)
            tasks[stage.name] = asyncio.create_task(self._ask(stage, batch, until))
        loop = asyncio.get_running_loop()
        try:
            if tasks:
                await asyncio.wait(tasks.values(), timeout=max(0.0, until - loop.time()))
        finally:
            for name, task in tasks.items():
                if not task.done():
                    task.cancel()
                    task.add_done_callback(_forget)
                    self._late[name] = task
        # One turn of the loop, so that what heeds being cancelled is not counted as stuck.
        if self._late:
            await asyncio.sleep(0)
        for name, task in tasks.items():
            if name in self._late:
                log.warning("moderation stage %s missed the deadline", name)
            else:
                answers[name] = task.result()
        return [answers.get(stage.name, nothing) for stage in self.stages]

    async def _ask(
        self, stage: Stage, batch: Sequence[Submission], until: float
    ) -> Sequence[Sequence[Signal] | None]:
        """What one stage sees; None for each message that it gave no usable answer on."""
        try:
            return _checked(await stage.assess(batch), stage.name, batch)
        except Exception as error:
            log.warning("moderation stage %s gave no answer: %s", stage.name, _kind(error))
            if len(batch) == 1 or isinstance(error, StageBusy):
                return [None] * len(batch)
        # One message that a stage cannot bear must not hold its neighbours: each is asked about alone.
        rows: list[Sequence[Signal] | None] = []
        loop = asyncio.get_running_loop()
        for submission in batch:
            row: Sequence[Signal] | None = None
            if loop.time() < until:
                try:
                    (row,) = _checked(await stage.assess([submission]), stage.name, [submission])
                except Exception as error:
                    log.warning("moderation stage %s gave no answer: %s", stage.name, _kind(error))
            rows.append(row)
        return rows


def size_of(batch: Sequence[Submission]) -> int:
    """Code points that a stage would read in all."""
    return sum(len(one.text) + sum(len(turn.text) for turn in one.recent) for one in batch)


def _kind(error: Exception) -> str:
    """An error in words that can be logged: its own only where they are this module's."""
    return str(error) if isinstance(error, StageError) else type(error).__name__


def _forget(task: asyncio.Task[Any]) -> None:
    """Take a late task's outcome, so that nobody reports it as lost."""
    if not task.cancelled():
        task.exception()


def _checked(answer: Any, name: str, batch: Sequence[Submission]) -> list[Sequence[Signal] | None]:
    """A stage's answer, with None for each row that is nonsense; raise where the whole of it is."""
    if not isinstance(answer, Sequence) or isinstance(answer, str | bytes):
        raise StageError("the answer is not a list of rows")
    if len(answer) != len(batch):
        raise StageError("the answer has another number of rows than the batch")
    rows: list[Sequence[Signal] | None] = []
    for row, submission in zip(answer, batch, strict=True):
        wrong = _nonsense(row, name, len(submission.text))
        if wrong:
            log.warning("moderation stage %s answered nonsense: %s", name, wrong)
        rows.append(None if wrong else tuple(row))
    return rows


def _nonsense(row: Any, name: str, length: int) -> str:
    """What is wrong with one row, or an empty string."""
    if not isinstance(row, Sequence) or isinstance(row, str | bytes):
        return "a row is not a list"
    if len(row) > MAX_SIGNALS:
        return "a row has too many signals"
    for signal in row:
        if wrong := _nonsense_signal(signal, name, length):
            return wrong
    return ""


def _nonsense_signal(signal: Any, name: str, length: int) -> str:
    if not isinstance(signal, Signal):
        return "something is not a signal"
    label: Any = signal.label
    if not (isinstance(label, str) and label in LABELS):
        return "an unknown label"
    why: Any = signal.why
    if signal.stage != name or not isinstance(why, str):
        return "a signal without its stage or reason"
    score: Any = signal.score
    if isinstance(score, bool) or not isinstance(score, float | int):
        return "a score that is not a number"
    if not (math.isfinite(score) and 0.0 <= score <= 1.0):
        return "a score that is not from 0 to 1"
    # A stage may put anything into these fields, whatever their types say.
    risk: Any = signal.risk
    action: Any = signal.action
    clears: Any = signal.clears
    if not (isinstance(risk, Risk) and isinstance(action, Action) and isinstance(clears, bool)):
        return "a level that is not one"
    span: Any = signal.span
    if span is not None:
        if not (isinstance(span, Span) and all(isinstance(end, int) for end in span)):
            return "a span that is not one"
        if not 0 <= span.start <= span.end <= length:
            return "a span outside the text"
    return ""
