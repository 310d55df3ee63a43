"""Who may know of an alert: never the one it is about; of one about staff the preset, if there are any."""

from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import assume, given
from hypothesis import strategies as st

from escalation.alert import Alert, AlertState, Concern, opened
from escalation.knowing import Circle
from moderation.verdict import Risk, Role

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)


def alert(about: str, *, apart: bool) -> Alert:
    concern = Concern(
        about=about, about_role=Role.ADULT, risk=Risk.HIGH, labels=("flag",), discreet=True, apart=apart
    )
    return opened(concern, id="a", site="s", conversation=None, now=NOW)


SCHOOL = Circle(
    adults=("ann", "ben", "chair", "dee"), independents=("dee", "chair"), outside=frozenset({"chair"})
)


def test_an_ordinary_alert_is_for_all_adults_but_its_subject_and_those_from_outside():
    assert SCHOOL.knowing(alert("ann", apart=False)) == ("ben", "dee")


def test_one_about_staff_is_for_the_preset_alone_and_the_first_is_asked_first():
    found = alert("ann", apart=True)
    assert SCHOOL.knowing(found) == ("dee", "chair")
    assert SCHOOL.told(found) == ("dee",)
    assert SCHOOL.told(replace(found, rung=1)) == ("dee", "chair")
    assert SCHOOL.told(replace(found, state=AlertState.IN_HAND)) == ("dee", "chair")


def test_about_the_first_preset_person_it_goes_to_the_next():
    found = alert("dee", apart=True)
    assert SCHOOL.told(found) == SCHOOL.knowing(found) == ("chair",)


def test_with_nobody_preset_but_its_subject_the_other_adults_are_told_at_once():
    alone = Circle(adults=("ann", "ben", "dee"), independents=("dee",))
    assert alone.told(alert("dee", apart=True)) == ("ann", "ben")
    assert Circle(adults=("ann", "ben")).told(alert("ann", apart=True)) == ("ben",)


people = st.sampled_from("abcdef")
circles = st.builds(
    lambda adults, preset, outside: Circle(
        adults=tuple(sorted(adults | set(preset))),
        independents=tuple(preset),
        outside=frozenset(outside & set(preset)),
    ),
    st.frozensets(people, max_size=4),
    st.lists(people, max_size=3, unique=True),
    st.frozensets(people, max_size=3),
)


@given(
    circles, st.sampled_from("abcdefz"), st.booleans(), st.sampled_from(list(AlertState)), st.integers(0, 3)
)
def test_rule_11_its_subject_never_knows_and_somebody_always_does(circle, about, apart, state, rung):
    found = replace(alert(about, apart=apart), state=state, rung=rung)
    knowing, told = circle.knowing(found), circle.told(found)
    assert about not in knowing
    assert set(told) <= set(knowing) <= set(circle.adults)
    assert bool(told) is bool(set(circle.adults) - {about})
    assert len(set(knowing)) == len(knowing)


@given(circles, st.sampled_from("abcdefz"), people)
def test_what_is_kept_apart_exists_for_nobody_else_while_a_preset_person_is_left(circle, about, member):
    assume(set(circle.independents) - {about})
    may = circle.may_know(alert(about, apart=True), member)
    assert may is (member in circle.independents and member != about)


def test_one_alone_knows_of_what_is_kept_apart_and_of_nothing_else():
    one = Circle(adults=("ann", "ben", "dee"), independents=("dee",))
    assert one.alone(alert("ann", apart=True), "dee")
    assert not one.alone(alert("ann", apart=True), "ben")
    assert not one.alone(alert("dee", apart=True), "ann"), "two others know"
    assert not SCHOOL.alone(alert("ann", apart=True), "dee")
    assert not Circle(adults=("ann",)).alone(alert("pupil", apart=False), "ann"), "another can be added"
