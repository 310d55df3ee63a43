"""What the node counts of moderation, and says of it: broken stages are shown, text never is."""

from prometheus_client import generate_latest

from moderation.pipeline import Pipeline, Second, Threaded
from moderation.policy_file import load_policy
from moderation.reload import Exchangeable
from web import ops


def shown(metrics):
    return generate_latest(metrics.registry).decode()


def test_what_moderation_tells_is_counted():
    """Seconds, failures by kind, breakers, held messages, the language, the gate."""
    metrics = ops.Metrics()
    metrics.moderation("seconds", "linear", "", 0.002)
    metrics.moderation("failures", "linear", "deadline", 1)
    metrics.moderation("degraded", "linear", "", 3)
    metrics.moderation("degraded", "language", "", 2)
    metrics.moderation("declined", "language", "", 2)
    metrics.moderation("asked", "transformer", "yes", 4)
    metrics.moderation("asked", "transformer", "no", 6)
    metrics.moderation("breaker", "linear", "", 2)
    text = shown(metrics)
    for line in (
        'peerchat_stage_seconds_count{stage="linear"} 1.0',
        'peerchat_stage_failures_total{kind="deadline",stage="linear"} 1.0',
        'peerchat_degraded_total{stage="linear"} 3.0',
        'peerchat_degraded_total{stage="language"} 2.0',
        "peerchat_language_held_total 2.0",
        'peerchat_second_tier_messages_total{asked="yes"} 4.0',
        'peerchat_second_tier_messages_total{asked="no"} 6.0',
        'peerchat_stage_breaker{stage="linear"} 2.0',
    ):
        assert line in text


def test_a_stage_that_is_left_alone_is_shown_until_it_answers():
    """And one that failed for some minutes; a message in another language is no failure."""
    metrics = ops.Metrics()
    metrics.moderation("breaker", "linear", "", 0)
    metrics.moderation("degraded", "language", "", 1)
    metrics.moderation("declined", "language", "", 1)
    assert metrics.checks
    assert metrics.degraded_lately() == []
    metrics.moderation("failures", "rules", "raised", 1)
    assert metrics.checks
    metrics.moderation("breaker", "linear", "", 2)
    assert not metrics.checks
    assert metrics.degraded_lately() == ["linear", "rules"]
    metrics.moderation("breaker", "linear", "", 1)  # it is tried
    assert not metrics.checks
    metrics.moderation("breaker", "linear", "", 0)
    assert metrics.checks
    assert metrics.degraded_lately() == ["rules"]


def judging(second):
    first = Threaded("first", lambda batch: [[] for _ in batch])
    return Exchangeable(lambda: Pipeline([first], load_policy(), second=second))


def test_a_missing_second_tier_is_said():
    """To whoever scrapes, and to the coordinator in words; nothing judges yet: nothing is claimed."""
    metrics = ops.Metrics()
    assert metrics.second_tier is None
    metrics.policy_is(judging(None))
    assert metrics.second_tier is False and "peerchat_second_tier 0.0" in shown(metrics)
    assert "judge alone" in ops.second_tier_words(metrics)
    metrics.policy_is(judging(Second(Threaded("second", lambda batch: [[] for _ in batch]), lambda *_: True)))
    assert metrics.second_tier and "peerchat_second_tier 1.0" in shown(metrics)
    assert "judge alone" not in ops.second_tier_words(metrics)
