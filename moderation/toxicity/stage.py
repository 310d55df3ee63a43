"""The stage: micro-batches on one thread, a bounded queue, and a deadline that is kept.

What waits is read in batches of like length (`batches.next_batch`); nothing is awaited to fill one. Work
whose deadline has passed, or whose caller has gone, is dropped unread. A text that a batch fails on is read
alone, so that it holds itself and not its neighbours. A text without an answer gets a `Gap` for a row: the
pipeline names the stage in `degraded` for that message alone, and leaves a stage alone that has nothing else.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from moderation.pipeline import Gap, StageBusy
from moderation.toxicity.batches import next_batch
from moderation.toxicity.reading import LABELS, STAGE, Floats, Ids, Model
from moderation.verdict import Signal, Submission

log = logging.getLogger(__name__)

LEAST_SCORE = 0.05
"""Scores under this are not signals: they would only be noise beside a message."""

MAX_WAITING = 512
"""Messages that may wait or be read. A call that would make it more is refused with `StageBusy`."""

Row = Sequence[Signal] | Gap
"""A gap: the message was not judged; it cannot be read, there was no time for it, or reading it failed."""


@dataclass(eq=False, slots=True)
class _Job:
    """One message on its way."""

    text: str
    until: float  # on the stage's clock
    answer: "Future[Row]" = field(default_factory=Future)
    missing: int = 0  # stretches not read yet
    scores: list[Floats] = field(default_factory=list)
    settled: bool = False  # the thread is done with it


@dataclass(eq=False, slots=True)
class _Stretch:
    job: _Job
    ids: Ids


class Toxicity:
    """Detoxify as a `Stage` of the pipeline."""

    name = STAGE

    def __init__(
        self,
        model: Model,
        *,
        answer_within_s: float,
        max_waiting: int = MAX_WAITING,
        least_score: float = LEAST_SCORE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`answer_within_s` is less than the pipeline's deadline, so that what is ready by then counts."""
        if not answer_within_s > 0:
            raise ValueError("answer_within_s must be more than 0")
        self.model = model
        self.digest = model.digest
        self.answer_within_s = answer_within_s
        self._max_waiting = max_waiting
        self._least_score = least_score
        self._clock = clock
        self._arrivals: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._open = 0  # jobs that were taken on and are not settled
        self._since: float | None = None  # when the batch began that is being read
        self._thread: threading.Thread | None = None

    async def assess(self, batch: Sequence[Submission]) -> Sequence[Row]:
        """A row for each message, in order, within `answer_within_s`; `StageBusy` where it cannot begin."""
        jobs = self._take_on([submission.text for submission in batch])
        if not jobs:
            return []
        try:
            await asyncio.wait(
                [asyncio.wrap_future(job.answer) for job in jobs], timeout=self.answer_within_s
            )
            rows = [job.answer.result() if job.answer.done() else Gap.LATE for job in jobs]
        finally:
            for job in jobs:
                job.answer.cancel()
        late = sum(isinstance(row, Gap) for row in rows)
        if late:
            log.warning("detoxify has no answer on %d of %d messages", late, len(rows))
        return rows

    def _take_on(self, texts: Sequence[str]) -> list[_Job]:
        now = self._clock()
        until = now + self.answer_within_s
        with self._changed:
            if self._since is not None and now - self._since > self.answer_within_s:
                raise StageBusy("detoxify is stuck in an earlier batch")
            if self._open + len(texts) > self._max_waiting:
                raise StageBusy(f"detoxify has {self._open} messages waiting, and takes {self._max_waiting}")
            jobs = [_Job(text, until) for text in texts]
            self._arrivals.extend(jobs)
            self._open += len(jobs)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._serve, name=f"moderation-{STAGE}", daemon=True)
                self._thread.start()
            self._changed.notify()
        return jobs

    # --- on the thread --------------------------------------------------------------------------------

    def _serve(self) -> None:
        waiting: list[_Stretch] = []
        while True:
            waiting += self._arrived(wait=not waiting)
            waiting = [one for one in waiting if not self._dropped(one.job)]
            if not waiting:
                continue
            chosen = set(next_batch([len(one.ids) for one in waiting], self.model.batch_tokens))
            batch = [one for at, one in enumerate(waiting) if at in chosen]
            waiting = [one for at, one in enumerate(waiting) if at not in chosen]
            self._read(batch)

    def _arrived(self, *, wait: bool) -> list[_Stretch]:
        """Take what has arrived, cut into tokens; wait for it where there is nothing else to do."""
        with self._changed:
            while wait and not self._arrivals:
                self._changed.wait()
            jobs = list(self._arrivals)
            self._arrivals.clear()
        found: list[_Stretch] = []
        for job in jobs:
            if self._dropped(job):
                continue
            try:
                stretches = self.model.tokens.stretches(job.text)
            except Exception as error:
                log.warning("detoxify cannot cut a message into tokens: %s", type(error).__name__)
                self._settle(job, Gap.FAILED)
                continue
            if stretches is None:
                self._settle(job, Gap.DECLINED)
                continue
            job.missing = len(stretches)
            found += [_Stretch(job, ids) for ids in stretches]
        return found

    def _dropped(self, job: _Job) -> bool:
        """Whether nobody needs this any more: answered, given up, or past its deadline."""
        if not job.settled and (job.answer.cancelled() or self._clock() >= job.until):
            self._settle(job, Gap.LATE)
        return job.settled

    def _read(self, batch: Sequence[_Stretch]) -> None:
        self._since = self._clock()
        try:
            rows = self.model.read([one.ids for one in batch])
        except Exception as error:
            self._since = None
            log.warning("detoxify failed on a batch of %d: %s", len(batch), type(error).__name__)
            if len(batch) == 1:
                self._settle(batch[0].job, Gap.FAILED)
                return
            for one in batch:
                if not self._dropped(one.job):
                    self._read([one])
            return
        self._since = None  # before anybody hears of it: who asks again at once is not refused
        for one, row in zip(batch, rows, strict=True):
            one.job.scores.append(row)
            one.job.missing -= 1
            if not one.job.missing:
                self._settle(one.job, self._row(np.max(one.job.scores, axis=0)))

    def _row(self, scores: Floats) -> Row:
        """Signals, strongest first. A score that is no number stays: the pipeline must see it."""
        return [
            Signal(label=LABELS[at], score=float(scores[at]), stage=STAGE, why=f"{STAGE}:{self.model.name}")
            for at in np.argsort(-scores)
            if not scores[at] < self._least_score
        ]

    def _settle(self, job: _Job, row: Row) -> None:
        """Answer a job once; one that was given up meanwhile only stops counting."""
        if job.settled:
            return
        job.settled = True
        if job.answer.set_running_or_notify_cancel():
            job.answer.set_result(row)
        with self._changed:
            self._open -= 1
