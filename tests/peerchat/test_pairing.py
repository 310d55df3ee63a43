"""Who is paired with whom: for any waiting pupils and any seats."""

import random
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from moderation.verdict import Risk
from peerchat.pairing import Free, Waiting, pairs

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)


def ask(n: int, *, risk: Risk = Risk.NONE, since: int = 0, again: bool = False) -> Waiting:
    return Waiting(
        ticket=f"t{n}", pupil=f"p{n}", again=again, risk=risk, since=NOW + timedelta(seconds=since)
    )


def seat(n: int, *, room: int = 1, load: int = 0, since: int = 0) -> Free:
    return Free(mentor=f"m{n}", room=room, load=load, since=NOW + timedelta(seconds=since))


asks = st.lists(
    st.builds(
        ask,
        st.integers(0, 12),
        risk=st.sampled_from(list(Risk)),
        since=st.integers(0, 3),
        again=st.booleans(),
    ),
    max_size=9,
    unique_by=lambda w: w.pupil,
)
seats = st.lists(
    st.builds(
        seat,
        st.integers(0, 12),
        room=st.integers(-2, 3),
        load=st.integers(0, 3),
        since=st.integers(0, 3),
    ),
    max_size=6,
    unique_by=lambda s: s.mentor,
)
forbids = st.sets(
    st.builds(lambda p, m: frozenset((f"p{p}", f"m{m}")), st.integers(0, 12), st.integers(0, 12))
)
mets = st.sets(st.tuples(st.integers(0, 12), st.integers(0, 12)).map(lambda pm: (f"p{pm[0]}", f"m{pm[1]}")))


@given(asks, seats, forbids, mets)
def test_rule_13_no_forbidden_pair_and_no_seat_too_many(waiting, free, forbidden, met):
    """And nobody twice, nobody who did not ask, and nobody on a seat that is not there."""
    made = pairs(waiting, free, forbidden=forbidden, met=met)
    room = {s.mentor: s.room for s in free}
    tickets = {w.ticket: w.pupil for w in waiting}
    assert len({p.ticket for p in made}) == len({p.pupil for p in made}) == len(made)
    for pair in made:
        assert frozenset((pair.pupil, pair.mentor)) not in forbidden
        assert tickets[pair.ticket] == pair.pupil
        room[pair.mentor] -= 1
    assert all(n >= 0 for m, n in room.items() if any(p.mentor == m for p in made))


@given(asks, seats, forbids, mets)
def test_nobody_is_left_who_could_be_paired(waiting, free, forbidden, met):
    """A pupil waits only where every seat that is left is forbidden to that pupil."""
    made = pairs(waiting, free, forbidden=forbidden, met=met)
    taken = [p.mentor for p in made]
    left = [s.mentor for s in free if s.room > taken.count(s.mentor)]
    paired = {p.pupil for p in made}
    for wait in waiting:
        if wait.pupil not in paired:
            assert all(frozenset((wait.pupil, m)) in forbidden for m in left)


@given(asks, seats, forbids, mets, st.randoms(use_true_random=False))
def test_the_same_people_give_the_same_pairs(waiting, free, forbidden, met, rng):
    """Whatever the order in which they were read."""
    made = pairs(waiting, free, forbidden=forbidden, met=met)
    mixed, seats_mixed = list(waiting), list(free)
    rng.shuffle(mixed)
    rng.shuffle(seats_mixed)
    assert pairs(mixed, seats_mixed, forbidden=sorted(forbidden, key=sorted), met=list(met)) == made


@given(asks, seats)
def test_urgency_goes_first_then_waiting_time(waiting, free):
    """Without anything forbidden, whoever is left waits after everybody who was paired."""
    made = pairs(waiting, free)
    order = {w.pupil: (-w.risk, w.since, w.ticket) for w in waiting}
    assert [order[p.pupil] for p in made] == sorted(order[p.pupil] for p in made)
    left = set(order) - {p.pupil for p in made}
    assert not made or all(order[p] > max(order[x.pupil] for x in made) for p in left)


@given(asks, seats, forbids)
def test_one_whom_everybody_blocked_holds_nobody_up(waiting, free, forbidden):
    """Others get exactly the seats that they would get if that one had not asked."""
    blocked = ask(99, risk=Risk.IMMEDIATE, since=-1)
    forbidden = forbidden | {frozenset((blocked.pupil, s.mentor)) for s in free}
    assert pairs([blocked, *waiting], free, forbidden=forbidden) == pairs(waiting, free, forbidden=forbidden)


def test_an_urgent_pupil_overtakes_who_waited_longer():
    [pair] = pairs([ask(1, since=0), ask(2, since=60, risk=Risk.HIGH)], [seat(1)])
    assert pair.pupil == "p2"


def test_among_equals_the_lighter_load_then_who_waited_longest():
    """So that nobody sits idle while another has two."""
    assert pairs([ask(1)], [seat(1, room=1, load=1), seat(2, since=9)])[0].mentor == "m2"
    assert pairs([ask(1)], [seat(1, since=9), seat(2, since=3)])[0].mentor == "m2"
    both = pairs([ask(1), ask(2, since=1)], [seat(1, room=2), seat(2, room=2)])
    assert [p.mentor for p in both] == ["m1", "m2"]


def test_who_wishes_the_same_mentor_again_gets_them_where_they_are_free():
    """A wish, never a promise; and the reason says so."""
    met = {("p1", "m2")}
    [pair] = pairs([ask(1, again=True)], [seat(1), seat(2, load=3)], met=met)
    assert (pair.mentor, pair.why) == ("m2", ("again",))
    [pair] = pairs([ask(1, again=False)], [seat(1), seat(2, load=3)], met=met)
    assert (pair.mentor, pair.why) == ("m1", ())
    [pair] = pairs([ask(1, again=True)], [seat(1), seat(2, room=0)], met=met)
    assert (pair.mentor, pair.why) == ("m1", ())
    [pair] = pairs([ask(1, again=True)], [seat(1), seat(2)], met=met, forbidden=[frozenset(("p1", "m2"))])
    assert pair.mentor == "m1"


def test_a_whole_school_at_once_is_paired_in_no_time():
    """300 who wait and 150 seats: decided in one transaction, so it must be quick."""
    rng = random.Random(1)
    waiting = [ask(n, since=rng.randrange(900), risk=rng.choice(list(Risk))) for n in range(300)]
    free = [seat(n, room=2, since=rng.randrange(900)) for n in range(150)]
    assert len(pairs(waiting, free)) == 300
