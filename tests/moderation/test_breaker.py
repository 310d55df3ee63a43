"""The circuit breaker by itself, on a clock that the test moves."""

import pytest

from moderation.breaker import FAILURES, FIRST_S, MOST_S, Breaker, State


class Clock:
    def __init__(self):
        self.now = 1_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def breaker(clock):
    return Breaker(clock=clock)


def opened(breaker):
    for _ in range(FAILURES):
        assert breaker.allows()
        breaker.failed()
    return breaker


def test_it_opens_after_failures_in_a_row_alone(breaker):
    """An answer between them begins the count anew."""
    for _ in range(3):
        for _ in range(FAILURES - 1):
            breaker.failed()
        breaker.answered()
    assert breaker.state.name == "CLOSED"
    opened(breaker)
    assert breaker.state.name == "OPEN"
    assert not breaker.allows()


def test_one_may_try_when_the_time_is_over(breaker, clock):
    """And only one, until it is known what came of it."""
    opened(breaker)
    clock.now += FIRST_S - 0.001
    assert not breaker.allows()
    clock.now += 0.001
    assert [breaker.allows() for _ in range(3)] == [True, False, False]
    assert breaker.state.name == "HALF_OPEN"
    breaker.answered()
    assert breaker.state.name == "CLOSED"
    assert breaker.allows()


def test_the_time_doubles_up_to_the_most(breaker, clock):
    """1 s, 2 s, 4 s ... 60 s; after an answer it begins at 1 s again."""
    opened(breaker)
    waited = []
    for _ in range(9):
        before = clock.now
        while not breaker.allows():
            clock.now += 0.5
        waited.append(clock.now - before)
        breaker.failed()
    assert waited == [1, 2, 4, 8, 16, 32, MOST_S, MOST_S, MOST_S]
    clock.now += MOST_S
    assert breaker.allows()
    breaker.answered()
    opened(breaker)
    clock.now += FIRST_S
    assert breaker.allows()


def test_a_late_failure_of_an_earlier_batch_changes_nothing(breaker, clock):
    """Several batches are under way at once: what fails after it opened is no second reason."""
    opened(breaker)
    breaker.failed()
    clock.now += FIRST_S
    assert breaker.allows()


def test_a_trial_that_was_given_up_is_no_trial(breaker, clock):
    """The next one tries, at once."""
    opened(breaker)
    clock.now += FIRST_S
    assert breaker.allows()
    breaker.let_go()
    assert [breaker.allows(), breaker.allows()] == [True, False]
    breaker.answered()
    breaker.let_go()
    assert breaker.state is State.CLOSED


@pytest.mark.parametrize("given", [{"failures": 0}, {"first_s": 0}, {"first_s": 3, "most_s": 2}])
def test_one_that_makes_no_sense_is_refused(given):
    """No failures, no time, or a least time over the most."""
    with pytest.raises(ValueError, match="breaker"):
        Breaker(**given)
