"""A pipeline that may be exchanged while it judges: safely, or not at all.

A new one is built whole, away from the event loop: policy and rules are read and checked, every rule's
examples run, and it judges a message of its own before it takes over. The exchange is one assignment between
two batches: no message is judged by half of each. Whatever fails, the old one goes on, and `fault` says what
with file and line.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from moderation.linear import BadModel
from moderation.pipeline import Pipeline
from moderation.policy_file import BadPolicy
from moderation.rules import BadRule
from moderation.verdict import Role, Submission, Verdict

log = logging.getLogger(__name__)

TRIAL = tuple(
    Submission(text=words, role=Role.PUPIL) for words in ("hello", "you idiot, i hate you and i want to die")
)
"""What a new pipeline judges before it takes over: every check must answer, the second tier too."""

TRIALS = 3
"""Times that it may try: the first answers are the slowest."""

Signature = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of an attempt: whether another version judges now, which one, and what was wrong."""

    changed: bool
    version: str
    fault: str = ""  # file, line and what; nothing of a message


class Exchangeable:
    """Judges with the newest pipeline that could be built. `build` makes a whole one, or raises."""

    def __init__(self, build: Callable[[], Pipeline], watched: Sequence[Path] = ()) -> None:
        self._build = build
        self._watched = tuple(watched)
        self._one = asyncio.Lock()
        self._tried = self._signature()  # before building: a change meanwhile is seen
        self.pipeline = build()
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

    async def reload(self) -> Outcome:
        """Build a new pipeline and take it, or keep the old one and say why. Never raises for a bad file."""
        async with self._one:
            self._tried = await asyncio.to_thread(self._signature)
            try:
                fresh = await asyncio.to_thread(self._build)
            except (BadPolicy, BadRule, BadModel) as error:
                return self._refused(str(error))
            except Exception as error:  # a fault of ours must not take down what judges
                return self._refused(f"the files could not be used: {type(error).__name__}")
            old = self.pipeline
            if fresh.policy_version == old.policy_version:
                fresh.close(but=old.stages)
                self.fault = ""
                return Outcome(changed=False, version=old.policy_version)
            if silent := await _silent(fresh):
                fresh.close(but=old.stages)
                return self._refused(f"no answer in a trial from {', '.join(silent)}")
            self.pipeline = fresh
            self.fault = ""
            self.done += 1
            log.warning("policy %s judges now, %s no longer", fresh.policy_version, old.policy_version)
            # A batch may still be with the old one; its threads end once they have answered.
            asyncio.get_running_loop().call_later(2 * old.deadline_s, lambda: old.close(but=fresh.stages))
            return Outcome(changed=True, version=fresh.policy_version)

    async def changed(self) -> bool:
        """Whether a watched file is another than at the last attempt, and none is being written just now."""
        seen = await asyncio.to_thread(self._signature)
        if seen == self._tried:
            return False
        await asyncio.sleep(0.2)
        return seen == await asyncio.to_thread(self._signature)

    def _refused(self, fault: str) -> Outcome:
        self.fault = fault
        self.failed += 1
        log.error("policy %s stays: %s", self.policy_version, fault)
        return Outcome(changed=False, version=self.policy_version, fault=fault)

    def _signature(self) -> Signature:
        """What the watched files and folders are by name, size and times. Missing ones are left out."""
        found = []
        for path in self._watched:
            inside = sorted(each for each in path.rglob("*") if each.suffix in (".toml", ".txt"))
            for file in inside or [path]:
                try:
                    state = file.stat()
                except OSError:
                    continue
                found.append((str(file), state.st_mtime_ns, state.st_size, state.st_ino))
        return tuple(found)


async def _silent(pipeline: Pipeline) -> list[str]:
    """The stages of a new pipeline that do not answer."""
    for _ in range(TRIALS):
        silent = frozenset[str]().union(*(one.degraded for one in await pipeline.judge(TRIAL)))
        if not silent:
            return []
    return sorted(silent)
