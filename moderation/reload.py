"""A pipeline that may be exchanged while it judges: safely, or not at all.

A new one is built whole, away from the event loop: policy and rules are read and checked, every rule's
examples run, and it judges messages of its own before it takes over, whose least verdicts are known. The
exchange is one assignment between two batches: no message is judged by half of each. Whatever fails, the old
one goes on, and `fault` says what with file and line. It is also refused where it would judge with fewer
stages than the old one: a model's file that is gone is no wish of anybody's.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from moderation.linear import BadModel
from moderation.pipeline import Pipeline
from moderation.policy_file import BadPolicy
from moderation.rules import BadRule
from moderation.trajectory import State
from moderation.verdict import Action, Risk, Role, Submission, Turn, Verdict

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Trial:
    """A message that no policy and no rules of a site may let by: it asks for this much at least."""

    submission: Submission
    risk: Risk = Risk.NONE
    action: Action = Action.DELIVER


_END = "im going to kill myself tonight, i have the pills here"
_HURT = "my dad hits me and im scared to go home"
_BETWEEN_US = "this is our secret, dont tell anyone"
_TALK = (
    Turn(role=Role.PUPIL, text="we did fractions today, it was long"),
    Turn(role=Role.MENTOR, text="haha, and then that film. what a great day"),
)
TRIAL = (
    Trial(Submission(text="hello", role=Role.PUPIL)),
    Trial(Submission(text=_END, role=Role.PUPIL), Risk.IMMEDIATE, Action.HOLD),
    Trial(Submission(text=_END, role=Role.PUPIL, so_far=State()), Risk.IMMEDIATE, Action.HOLD),
    Trial(Submission(text=_HURT, role=Role.PUPIL), Risk.HIGH, Action.HOLD),
    Trial(Submission(text=_HURT, role=Role.PUPIL, so_far=State(), recent=_TALK), Risk.HIGH, Action.HOLD),
    Trial(Submission(text="i want to die", role=Role.PUPIL, so_far=State()), Risk.HIGH, Action.HOLD),
    Trial(Submission(text="my postcode is SW1A 2AA", role=Role.PUPIL), Risk.NONE, Action.BLOCK),
    Trial(Submission(text=_BETWEEN_US, role=Role.MENTOR), Risk.HIGH, Action.HOLD),
    Trial(
        Submission(text=_BETWEEN_US, role=Role.MENTOR, so_far=State(), recent=_TALK), Risk.HIGH, Action.HOLD
    ),
)
"""What a new pipeline judges before it takes over. Every check must answer, the second tier too."""

TRIALS = 3
"""Times that it may try: the first answers are the slowest."""

RETRY_S, MOST_RETRY_S = 10.0, 600.0
"""Seconds after which `changed` asks for another attempt, where one failed by what may pass; doubled."""

Signature = tuple[tuple[str, int, int, int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of an attempt: whether another version judges now, which one, and what was wrong."""

    changed: bool
    version: str
    fault: str = ""  # file, line and what; nothing of a message


class Exchangeable:
    """Judges with the newest pipeline that could be built. `build` makes a whole one, or raises.

    `watched` are files, and folders of which every file counts that is not hidden nor an editor's copy.
    """

    def __init__(
        self,
        build: Callable[[], Pipeline],
        watched: Sequence[Path] = (),
        *,
        trial: Sequence[Trial] = TRIAL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._build = build
        self._watched = tuple(watched)
        self._trial = tuple(trial)
        self._clock = clock
        self._one = asyncio.Lock()
        self._again_at: float | None = None
        self._wait_s = RETRY_S
        self._tried = self._signature()  # before building: a change meanwhile is seen
        self.pipeline = build()
        self.pipeline.announce()
        self.fault = ""
        self.done = 0
        self.failed = 0

    @property
    def policy_version(self) -> str:
        """The version that judges from now on. Each verdict carries the one that judged it."""
        return self.pipeline.policy_version

    async def judge(self, batch: Sequence[Submission]) -> list[Verdict]:
        """A verdict for each message, all by one pipeline: that of this moment."""
        return await self.pipeline.judge(batch)

    async def prove(self) -> None:
        """Judge the trial with what judges now, once at the start; `BadPolicy` where it lets something by.

        A check that gives no answer is no reason not to start: it holds what it should have judged.
        """
        if wrong := (await self._tries(self.pipeline))[1]:
            raise BadPolicy(_lets_by(wrong))

    def close(self) -> None:
        """End the threads of what judges, once they have answered what waits."""
        self.pipeline.close()

    async def reload(self) -> Outcome:
        """Build a new pipeline and take it, or keep the old one and say why. Never raises for a bad file."""
        async with self._one:
            try:
                self._tried = await asyncio.to_thread(self._signature)
                fresh = await asyncio.to_thread(self._build)
            except (BadPolicy, BadRule, BadModel) as error:
                unread = isinstance(error.__context__, OSError)  # and nobody watches the models
                return self._refused(str(error), passing=unread or isinstance(error, BadModel))
            except Exception as error:  # a fault of ours must not take down what judges
                return self._refused(f"the files could not be used: {type(error).__name__}", passing=True)
            old = self.pipeline
            if lost := sorted({stage.name for stage in old.stages} - {stage.name for stage in fresh.stages}):
                fresh.close(but=old.stages)
                return self._refused(
                    f"{', '.join(lost)} would no longer judge: its model is gone", passing=True
                )
            if fresh.policy_version == old.policy_version:
                fresh.close(but=old.stages)
                self._well()
                return Outcome(changed=False, version=old.policy_version)
            with fresh.unwatched():
                silent, wrong = await self._tries(fresh)
            if silent or wrong:
                fresh.close(but=old.stages)
                if silent:
                    return self._refused(f"no answer in a trial from {', '.join(silent)}", passing=True)
                return self._refused(_lets_by(wrong), passing=False)
            self.pipeline = fresh
            fresh.announce()
            self._well()
            self.done += 1
            log.warning("policy %s judges now, %s no longer", fresh.policy_version, old.policy_version)
            # A batch may still be with the old one; its threads end once they have answered.
            asyncio.get_running_loop().call_later(2 * old.deadline_s, lambda: old.close(but=fresh.stages))
            return Outcome(changed=True, version=fresh.policy_version)

    async def changed(self) -> bool:
        """Whether it is time for another attempt.

        A watched file is another than at the last one, and none is being written just now; or the last one
        failed by something that may have passed since.
        """
        seen = await asyncio.to_thread(self._signature)
        if seen == self._tried:
            return self._again_at is not None and self._clock() >= self._again_at
        await asyncio.sleep(0.2)
        return seen == await asyncio.to_thread(self._signature)

    async def _tries(self, fresh: Pipeline) -> tuple[list[str], int]:
        """The stages of a new pipeline that do not answer; then the first message that it lets by, from 1."""
        silent: frozenset[str] = frozenset()
        for _ in range(TRIALS):
            verdicts = await fresh.judge([one.submission for one in self._trial])
            silent = frozenset[str]().union(*(one.degraded for one in verdicts))
            if not silent:
                for number, (one, found) in enumerate(zip(self._trial, verdicts, strict=True), 1):
                    if found.risk < one.risk or found.action < one.action:
                        return [], number
                return [], 0
        return sorted(silent), 0

    def _well(self) -> None:
        self.fault, self._again_at, self._wait_s = "", None, RETRY_S

    def _refused(self, fault: str, *, passing: bool) -> Outcome:
        self._again_at = self._clock() + self._wait_s if passing else None
        self._wait_s = min(2 * self._wait_s, MOST_RETRY_S) if passing else RETRY_S
        self.fault = fault
        self.failed += 1
        log.error("policy %s stays: %s", self.policy_version, fault)
        return Outcome(changed=False, version=self.policy_version, fault=fault)

    def _signature(self) -> Signature:
        """What the watched files are by name, size and times. Missing ones are left out."""
        found = []
        for file in (each for path in self._watched for each in _files(path)):
            try:
                state = file.stat()
            except OSError:
                continue
            found.append((str(file), state.st_mtime_ns, state.st_ctime_ns, state.st_size, state.st_ino))
        return tuple(found)


def _lets_by(number: int) -> str:
    return f"message {number} of the trial (moderation/reload.py) comes out below what it must"


def _files(path: Path) -> Iterator[Path]:
    """A file itself, and of a folder every file that is not hidden: a list of words may have any name."""
    if not path.is_dir():
        yield path
        return
    for each in sorted(path.rglob("*")):
        own = each.relative_to(path).parts
        if not any(part.startswith(".") or part.endswith("~") for part in own) and not each.is_dir():
            yield each
