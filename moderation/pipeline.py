"""Stages under one deadline, fail closed.

A message is delivered only on answers that were given, in time and in order: a stage that raises, hangs or
answers nonsense is named in `Verdict.degraded`, and policy then holds the message. What the other stages
saw still counts. Nothing here logs text, nor an exception's own words, which may quote it.
"""

import asyncio
import contextlib
import enum
import logging
import math
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from moderation import trajectory
from moderation.breaker import Breaker, State
from moderation.policy import Policy
from moderation.verdict import (
    LEVEL_LABELS,
    RISK_LABELS,
    TOGETHER_LABELS,
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

LABELS = frozenset(
    (*RISK_LABELS, *LEVEL_LABELS, *TOGETHER_LABELS, *(f"toxicity:{label}" for label in TOXICITY_LABELS))
)

CHUNK = 16
"""Messages that the second tier is asked about at once: what it has read when time is up counts."""

Observe = Callable[[str, str, str, float], None]
"""Told what happens: what, which stage, a kind, a number. None of it is text, or says whose message it was.

`seconds` that a call took; `failures` by kind; `breaker`, the number of its state; `degraded`, messages
without an answer, and `declined`, those of them that the stage said it cannot judge; `asked`, kinds yes and
no, messages that the second tier was, or was not, asked about.
"""


class Gap(enum.Enum):
    """Stands where a stage gave no row. Falsy, as a row without signals is."""

    DECLINED = "declined"  # it said that it cannot judge this message
    LATE = "late"  # it had no time for this message
    FAILED = "failed"

    def __bool__(self) -> Literal[False]:
        return False


Row = Sequence[Signal] | Gap | None
"""What a stage says of one message. None: that it cannot judge it, as `Gap.DECLINED`."""

Read = Callable[[Sequence[Submission]], Sequence[Row]]


class Stage(Protocol):
    """Looks at messages and says what it sees. It may fail in any way: the pipeline answers for that."""

    @property
    def name(self) -> str:
        """Short and stable: it stands in signals, in `degraded` and in policy."""

    async def assess(self, batch: Sequence[Submission]) -> Sequence[Row]:
        """One row of signals for each message, in the same order; None: it cannot judge that message.

        A stage that keeps a deadline of its own says `Gap.LATE` or `Gap.FAILED` of a message that it had no
        time for, or failed on: one that does so of all messages again and again is left alone, as one that
        raises is, while one that declines is not. Must not block the event loop.
        """


class Failure(enum.StrEnum):
    """How a stage gave no answer."""

    RAISED = "raised"
    DEADLINE = "deadline"
    BUSY = "busy"  # stuck in an earlier call, or too much waits for it
    NONSENSE = "nonsense"
    LEFT_ALONE = "left_alone"  # its breaker is open


_SAID = {Gap.LATE: Failure.DEADLINE, Gap.FAILED: Failure.RAISED}
"""What a stage that says so itself has failed by."""


_Waiting = queue.SimpleQueue[tuple[Future[Any], Sequence[Submission]] | None]


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
        self._waiting: _Waiting = queue.SimpleQueue()
        self._late: Future[Any] | None = None
        self._thread: threading.Thread | None = None

    async def assess(self, batch: Sequence[Submission]) -> Sequence[Row]:
        """Answer from the thread, or inline where the batch is small enough to be bounded."""
        if self._late is not None:
            if not self._late.done():
                raise StageBusy("stuck in an earlier call")
            self._late = None
        if self._inline and size_of(batch) <= self._inline:
            return self._read(batch)
        if self._waiting.qsize() >= MAX_WAITING:
            raise StageBusy("too many calls are waiting")
        call: Future[Sequence[Row]] = Future()
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
            name, own = f"moderation-{self.name}", (self._waiting,)
            self._thread = threading.Thread(target=self._serve, args=own, name=name, daemon=True)
            self._thread.start()

    def close(self) -> None:
        """End the thread once it has answered what waits; a later call gets a new one, with its own queue."""
        ended, self._waiting, self._thread = self._waiting, queue.SimpleQueue(), None
        ended.put(None)

    def _serve(self, waiting: _Waiting) -> None:
        while True:
            waited = waiting.get()
            if waited is None:
                return
            call, batch = waited
            if not call.set_running_or_notify_cancel():
                continue
            try:
                call.set_result(self._read(batch))
            except BaseException as error:
                call.set_exception(error)


@dataclass(frozen=True, slots=True)
class Second:
    """A stage for those messages that the first tier is not sure of."""

    stage: Stage
    needed: Callable[[Submission, Sequence[Signal]], bool]
    """Whether it must look at a message, given what `after` saw of it. It is asked of no message that one of
    them gave no answer on: that one is needed."""
    after: frozenset[str] | None = None
    """The stages that it waits for; None: every one of the first tier."""


@dataclass(slots=True, eq=False)
class _Call:
    """One stage, asked about some messages of a batch."""

    stage: Stage
    places: Sequence[int]  # which messages of the batch
    batch: Sequence[Submission]
    until: float  # of the event loop's clock, in seconds
    rows: list[Sequence[Signal] | Gap]  # what has come so far
    began: float
    took_s: float = 0.0
    task: asyncio.Task[None] | None = None


class Pipeline:
    """Every stage on every message, then policy. `judge` always answers, and for each message.

    The stages of the first tier are asked at once, the second one about those that need it when the ones it
    waits for have answered; all of it under one deadline. `within_s` gives single stages less than that.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        policy: Policy,
        deadline_s: float = DEADLINE_S,
        *,
        second: Second | None = None,
        within_s: Mapping[str, float] | None = None,
        observe: Observe | None = None,
        breaker: Callable[[], Breaker] = Breaker,
        why: Callable[[str], str] = str,
    ) -> None:
        all_stages = [*stages, second.stage] if second else list(stages)
        names = [stage.name for stage in all_stages]
        if len(set(names)) != len(names):
            raise ValueError("two stages have one name")
        if not all(limit > 0 for limit in (deadline_s, *(within_s or {}).values())):
            raise ValueError("the deadline must be more than 0 s, and so must each stage's")
        if second and second.after is not None and not second.after <= {stage.name for stage in stages}:
            raise ValueError("the second tier waits for a stage that is not there")
        self.stages = tuple(all_stages)
        self.first = tuple(stages)
        self.second = second
        self.policy = policy
        self.deadline_s = deadline_s
        self.within_s = dict(within_s or {})
        self.why = why  # a rule's plain words for its id
        self._observer = observe
        self._late: dict[str, asyncio.Task[None]] = {}
        self._breakers = {name: breaker() for name in names}

    @property
    def policy_version(self) -> str:
        """What every verdict of this pipeline carries."""
        return self.policy.version

    @property
    def broken(self) -> tuple[str, ...]:
        """Stages that are left alone because they failed too often: what they judge is held."""
        return tuple(name for name, each in self._breakers.items() if each.state is not State.CLOSED)

    def announce(self) -> None:
        """Tell who watches how each stage is: for the pipeline that judges from now on, and no other."""
        for name, each in self._breakers.items():
            self._observe("breaker", name, "", each.state)

    @contextlib.contextmanager
    def unwatched(self) -> Iterator[None]:
        """What happens here is told to nobody: it is a trial, and another pipeline judges meanwhile."""
        observer, self._observer = self._observer, None
        try:
            yield
        finally:
            self._observer = observer

    async def judge(self, batch: Sequence[Submission]) -> list[Verdict]:
        """A verdict for each message, in order, at most a moment after the deadline."""
        if not batch:
            return []
        signals: list[list[Signal]] = [[] for _ in batch]
        degraded: list[set[str]] = [set() for _ in batch]
        until = asyncio.get_running_loop().time() + self.deadline_s
        for call in await self._ask_all(batch, until):
            self._count(call)
            for place, row in zip(call.places, call.rows, strict=True):
                if isinstance(row, Gap):
                    degraded[place].add(call.stage.name)
                else:
                    signals[place].extend(row)
        chains: dict[str, trajectory.State] = {}  # those of one conversation, each after the last
        return [
            self._decided(submission, seen, frozenset(missing), chains)
            for submission, seen, missing in zip(batch, signals, degraded, strict=True)
        ]

    def _decided(
        self,
        submission: Submission,
        seen: Sequence[Signal],
        degraded: frozenset[str],
        chains: dict[str, trajectory.State],
    ) -> Verdict:
        """The verdict on one message, and on its conversation up to here where it is part of one."""
        before = chains.get(submission.conversation) if submission.conversation else None
        before = before or submission.so_far
        if before is None:
            return self.policy.decide(submission, seen, degraded)
        try:
            after, found = trajectory.step(before, submission.role, seen, degraded)
        except Exception as error:  # a fault of ours: nothing is added, and a person looks
            log.error("a conversation could not be added up: %s", type(error).__name__)
            after, found, degraded = before, (), degraded | {trajectory.STAGE}
        if submission.so_far is None:
            submission = replace(submission, so_far=before)
        about = None
        if found and (whose := trajectory.about(found[0].why)) is not submission.role:
            if self.policy.decide(submission, seen, degraded).risk is Risk.NONE:
                about = whose
            else:  # one alert is about one person: what is about the other one comes with the next message
                after, found = replace(after, told=before.told, since=before.since), ()
        if submission.conversation:
            chains[submission.conversation] = after
        verdict = self.policy.decide(submission, [*seen, *found], degraded)
        return replace(verdict, so_far=after, about=about)

    def close(self, *, but: Sequence[Stage] = ()) -> None:
        """End the threads of its stages, but for some that another pipeline goes on with."""
        for stage in self.stages:
            if isinstance(stage, Threaded) and stage not in but:
                stage.close()

    async def judge_one(self, submission: Submission) -> Verdict:
        """The verdict on one message."""
        (verdict,) = await self.judge([submission])
        return verdict

    async def _ask_all(self, batch: Sequence[Submission], until: float) -> list[_Call]:
        """Ask every stage, and return the calls with a row, or a gap, for each message they were about."""
        calls: list[_Call] = []
        try:
            await self._ask_tiers(batch, until, calls)
        except BaseException:
            self._end(calls, given_up=True)
            raise
        if any(call.task is not None and call.task.cancel() for call in calls):
            # One turn of the loop, so that what heeds being cancelled is not counted as stuck.
            await asyncio.sleep(0)
        self._end(calls, given_up=False)
        return calls

    async def _ask_tiers(self, batch: Sequence[Submission], until: float, calls: list[_Call]) -> None:
        everything = range(len(batch))
        for stage in self.first:
            calls.append(self._begin(stage, everything, batch, until))
        if self.second is not None:
            after = self.second.after
            waited_for = [call for call in calls if after is None or call.stage.name in after]
            await _finish(waited_for)
            places = [place for place in everything if self._is_needed(batch[place], place, waited_for)]
            self._observe("asked", self.second.stage.name, "yes", len(places))
            self._observe("asked", self.second.stage.name, "no", len(batch) - len(places))
            if places:
                calls.append(self._begin(self.second.stage, places, [batch[at] for at in places], until))
        await _finish(calls)

    def _is_needed(self, submission: Submission, place: int, calls: Sequence[_Call]) -> bool:
        """Whether the second tier must look at a message; where that cannot be told, it must."""
        assert self.second is not None
        signals: list[Signal] = []
        for call in calls:
            row = call.rows[place] if place < len(call.rows) else Gap.FAILED
            if row is Gap.FAILED or row is Gap.LATE:
                return True
            if not isinstance(row, Gap):
                signals.extend(row)
        try:
            return bool(self.second.needed(submission, signals))
        except Exception as error:
            log.warning("the gate before %s failed: %s", self.second.stage.name, _kind(error))
            return True

    def _begin(self, stage: Stage, places: Sequence[int], batch: Sequence[Submission], until: float) -> _Call:
        """Ask a stage, unless it is stuck or left alone: then the call is over with no row in it."""
        now = asyncio.get_running_loop().time()
        until = min(until, now + self.within_s.get(stage.name, self.deadline_s))
        call = _Call(stage, places, batch, until, [], now)
        breaker = self._breakers[stage.name]
        if not breaker.allows():
            self._failed(stage.name, Failure.LEFT_ALONE)
            return call
        late = self._late.get(stage.name)
        if late is not None and not late.done():
            log.warning("moderation stage %s is left out: still busy with an earlier batch", stage.name)
            self._failed(stage.name, Failure.BUSY)
            breaker.failed()
            return call
        self._late.pop(stage.name, None)
        call.task = asyncio.create_task(self._ask(call))
        return call

    def _end(self, calls: Sequence[_Call], *, given_up: bool) -> None:
        """Fill the gaps, remember what is stuck, and tell the breakers how it went."""
        now = asyncio.get_running_loop().time()
        for call in calls:
            name, breaker = call.stage.name, self._breakers[call.stage.name]
            missed = call.task is not None and (call.task.cancelled() or not call.task.done())
            if call.task is not None and not call.task.done():
                call.task.cancel()
                call.task.add_done_callback(_forget)
                self._late[name] = call.task
            if missed:
                call.took_s = now - call.began
                if given_up and now < call.until:
                    breaker.let_go()
                else:
                    log.warning("moderation stage %s missed the deadline", name)
                    self._failed(name, Failure.DEADLINE)
                    breaker.failed()
            elif call.task is not None:
                # Failures alone are the stage's doing; one bad row among good ones may be the text's.
                well = any(row is not Gap.FAILED and row is not Gap.LATE for row in call.rows)
                (breaker.answered if well else breaker.failed)()
            call.rows += [Gap.FAILED] * (len(call.batch) - len(call.rows))
            self._observe("breaker", name, "", breaker.state)

    async def _ask(self, call: _Call) -> None:
        """Add what one stage sees to the call's rows; a gap for each message that it gave no answer on."""
        try:
            await self._ask_in_parts(call)
        finally:
            call.took_s = asyncio.get_running_loop().time() - call.began

    async def _ask_in_parts(self, call: _Call) -> None:
        stage, batch, rows = call.stage, call.batch, call.rows
        loop = asyncio.get_running_loop()
        step = CHUNK if self.second is not None and stage is self.second.stage else len(batch)
        for at in range(0, len(batch), step):
            part = batch[at : at + step]
            try:
                rows += self._checked(await stage.assess(part), stage.name, part)
                continue
            except Exception as error:
                self._raised(stage.name, error)
                if len(part) == 1 or isinstance(error, StageBusy):
                    rows += [Gap.FAILED] * len(part)
                    continue
            # One message that a stage cannot bear must not hold its neighbours: each is asked about alone.
            for submission in part:
                row: Sequence[Signal] | Gap = Gap.FAILED
                if loop.time() < call.until:
                    try:
                        (row,) = self._checked(await stage.assess([submission]), stage.name, [submission])
                    except Exception as error:
                        self._raised(stage.name, error)
                rows.append(row)

    def _checked(self, answer: Any, name: str, batch: Sequence[Submission]) -> list[Sequence[Signal] | Gap]:
        """A stage's answer, with a gap for each row that is nonsense; raise where the whole of it is."""
        if not isinstance(answer, Sequence) or isinstance(answer, str | bytes):
            raise StageError("the answer is not a list of rows")
        if len(answer) != len(batch):
            raise StageError("the answer has another number of rows than the batch")
        rows: list[Sequence[Signal] | Gap] = []
        for row, submission in zip(answer, batch, strict=True):
            if row is None or isinstance(row, Gap):
                gap = Gap.DECLINED if row is None else row
                rows.append(gap)
                if gap in _SAID:
                    self._failed(name, _SAID[gap])
                continue
            wrong = _nonsense(row, name, len(submission.text))
            if wrong:
                log.warning("moderation stage %s answered nonsense: %s", name, wrong)
                self._failed(name, Failure.NONSENSE)
            rows.append(Gap.FAILED if wrong else tuple(row))
        return rows

    def _raised(self, name: str, error: Exception) -> None:
        log.warning("moderation stage %s gave no answer: %s", name, _kind(error))
        kind = Failure.RAISED
        if isinstance(error, StageBusy):
            kind = Failure.BUSY
        elif isinstance(error, StageError):
            kind = Failure.NONSENSE
        self._failed(name, kind)

    def _failed(self, name: str, kind: Failure) -> None:
        self._observe("failures", name, kind.value, 1)

    def _count(self, call: _Call) -> None:
        name = call.stage.name
        gaps = sum(isinstance(row, Gap) for row in call.rows)
        if gaps:
            self._observe("degraded", name, "", gaps)
            declined = sum(row is Gap.DECLINED for row in call.rows)
            if declined:
                self._observe("declined", name, "", declined)
        if call.task is not None:
            self._observe("seconds", name, "", call.took_s)

    def _observe(self, what: str, stage: str, kind: str, value: float) -> None:
        """Tell who watches; what fails there is no reason to hold a message."""
        if self._observer is None:
            return
        try:
            self._observer(what, stage, kind, value)
        except Exception as error:
            log.error("who watches moderation failed: %s", type(error).__name__)


async def _finish(calls: Sequence[_Call]) -> None:
    """Wait for some calls, for each at most until its own deadline."""
    loop = asyncio.get_running_loop()
    for until in sorted({call.until for call in calls}):
        running = [
            call.task
            for call in calls
            if call.until == until and call.task is not None and not call.task.done()
        ]
        if running:
            await asyncio.wait(running, timeout=max(0.0, until - loop.time()))


async def in_turn(
    pipeline: Pipeline, talks: Sequence[Sequence[Submission]], batch: int = 64
) -> list[list[tuple[Verdict, float]]]:
    """Judge whole conversations as a chat would: each turn after the one before it was judged.

    Next turns of several conversations are judged together. Each verdict comes with its share of the seconds
    that its batch took. A message by itself is a conversation of one turn with no `so_far`.
    """
    found: list[list[tuple[Verdict, float]]] = [[] for _ in talks]
    for turn in range(max(map(len, talks), default=0)):
        due = [place for place, talk in enumerate(talks) if turn < len(talk)]
        for first in range(0, len(due), batch):
            places = due[first : first + batch]
            began = time.perf_counter()
            verdicts = await pipeline.judge([_going_on(talks[at][turn], found[at]) for at in places])
            each_s = (time.perf_counter() - began) / len(places)
            for place, verdict in zip(places, verdicts, strict=True):
                found[place].append((verdict, each_s))
    return found


def _going_on(submission: Submission, before: Sequence[tuple[Verdict, float]]) -> Submission:
    """A turn of a conversation with what it had come to before."""
    if submission.so_far is None or not before:
        return submission
    return replace(submission, so_far=before[-1][0].so_far)


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
