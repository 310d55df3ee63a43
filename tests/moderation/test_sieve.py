"""The sieve: it may let too much through, never too little."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moderation.rules import shipped_rules
from moderation.sieve import CLAUSES, Sieve, needs
from moderation.text import fold
from moderation.verdict import Role


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("go (?:home|away) now", [{"go"}, {"home", "away"}, {"now"}]),
        ("kill(?:ing|ed)? (?:me|you)", [{"kill", "killing", "killed"}, {"me", "you"}]),
        ("end <3> it", [{"end"}, {"it"}]),
        ("run ?away", [{"run", "runaway"}, {"away", "runaway"}]),
        ("(?:really |so )*tired", [{"tired"}]),
        ("x[0-9]+ then y", [{"then"}, {"y"}]),
        ("bulimi[ac]", [{"bulimia", "bulimic"}]),
        ("what\\?", [{"what?"}]),
        ("[a-z]+", []),
        ("a|b c", [{"a", "b"}, {"a", "c"}]),
    ],
)
def test_words_that_a_pattern_cannot_do_without(pattern, words):
    """Each set has a word of every text that the pattern could match."""
    found = {frozenset(clause) for clause in needs(pattern)}
    assert {frozenset(clause) for clause in words} == found


@pytest.mark.parametrize("pattern", ["(?=a)b", "\\d+ x", "*a", "a)", "(?:a", "[a"])
def test_what_is_not_understood_needs_nothing(pattern):
    """A pattern that this cannot read is tried on every text."""
    assert needs(pattern) == []
    assert Sieve([pattern]).candidates(frozenset()) == [0]


def test_a_pattern_is_a_candidate_where_every_set_has_a_word():
    """Two words of three are not enough."""
    sieve = Sieve(["go home now", "go away", "[a-z]+"])
    assert sieve.candidates(frozenset(["go", "home"])) == [2]
    assert sieve.candidates(frozenset(["now", "go", "home"])) == [0, 2]
    assert sieve.candidates(frozenset(["go", "away", "x"])) == [1, 2]
    assert sieve.always == [2]


def test_every_shipped_pattern_needs_some_word():
    """A pattern without one would be tried on every message: give it a word, or bound what it repeats."""
    for rule in shipped_rules().rules:
        for pattern in rule.written:
            assert 0 < len(needs(pattern)) <= CLAUSES, (rule.id, pattern)


@given(
    st.lists(
        st.sampled_from(
            sorted({w for r in shipped_rules().rules for p in r.written for c in needs(p) for w in c})
        ),
        max_size=14,
    )
)
@settings(max_examples=150)
def test_the_sieve_loses_no_hit(words):
    """Whatever words meet, the sieve's candidates have every pattern that matches."""
    view = fold(" ".join(words))
    for role in (Role.PUPIL, Role.MENTOR):
        own = [rule for rule in shipped_rules().rules if role in rule.roles]
        alone = {rule.id for rule in own if rule.hit(view.text) is not None}
        assert {signal.why for signal in shipped_rules().signals(view, role)} == alone
