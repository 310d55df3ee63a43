"""A circuit breaker: a stage that fails again and again is left alone for a while.

While it is left alone it counts as missing, so that messages are held at once instead of after a deadline.
Nothing is remembered of any answer: a breaker knows only how often in a row there was none, and until when.
Not for several threads: the event loop's alone.
"""

import enum
import time
from collections.abc import Callable

FAILURES = 5
"""Failures in a row after which a stage is left alone."""

FIRST_S, MOST_S = 1.0, 60.0
"""Seconds that it is left alone: doubled each time that it fails its trial, up to the most."""


class State(enum.IntEnum):
    """Whether a stage is asked."""

    CLOSED = 0  # it is
    HALF_OPEN = 1  # one batch tries it
    OPEN = 2  # it is not


class Breaker:
    """Of one stage. Ask `allows`; after a yes say what came of it: `answered`, `failed` or `let_go`."""

    def __init__(
        self,
        *,
        failures: int = FAILURES,
        first_s: float = FIRST_S,
        most_s: float = MOST_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if failures < 1 or not 0 < first_s <= most_s:
            raise ValueError("a breaker needs a number of failures and times that make sense")
        self._failures = failures
        self._first_s = first_s
        self._most_s = most_s
        self._clock = clock
        self._in_a_row = 0
        self._wait_s = first_s
        self._until = 0.0
        self.state = State.CLOSED

    def allows(self) -> bool:
        """Whether the stage may be asked now. Once it was left alone long enough, one batch may try it."""
        if self.state is State.OPEN and self._clock() >= self._until:
            self.state = State.HALF_OPEN
            return True
        return self.state is State.CLOSED

    def answered(self) -> None:
        """The stage gave an answer: all is forgotten that was held against it."""
        self.state = State.CLOSED
        self._in_a_row = 0
        self._wait_s = self._first_s

    def failed(self) -> None:
        """The stage gave no answer."""
        if self.state is State.HALF_OPEN:
            self._wait_s = min(2 * self._wait_s, self._most_s)
        elif self.state is State.OPEN:  # a batch that was asked before it opened
            return
        else:
            self._in_a_row += 1
            if self._in_a_row < self._failures:
                return
        self.state = State.OPEN
        self._until = self._clock() + self._wait_s

    def let_go(self) -> None:
        """Whoever asked gave up waiting, which says nothing: the next one may try."""
        if self.state is State.HALF_OPEN:
            self.state = State.OPEN
            self._until = self._clock()
