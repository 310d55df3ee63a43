"""Rule 13: one pupil with one mentor who is approved, trained, on shift, not on a break, and not blocked."""

import pytest

from moderation.verdict import Risk


@pytest.fixture
async def waiting(world):
    """Return a pupil who waits while an adult is on duty, and that adult."""
    adult = await world.adult(duty=True)
    pupil = await world.pupil()
    assert (await pupil.says("ask"))["type"] == "waiting"
    return pupil, adult


async def paired(world, pupil):
    """Give pairing every occasion there is; return whether the pupil was paired."""
    await world.lobby.pair(world.site)
    await world.flush()
    return bool(pupil.of("paired"))


async def test_rule_13_a_pair_is_one_pupil_and_one_mentor(pair):
    """Both are told of the other under an alias, by role, and of nothing else."""
    rows = await pair.world.sql(f"SELECT role FROM participant WHERE conversation = '{pair.c}'")
    assert sorted(role for (role,) in rows) == ["mentor", "pupil"]
    told, asked = pair.pupil.of("paired")[0], pair.mentor.of("paired")[0]
    assert told["partner"]["role"] == "mentor" and asked["partner"]["role"] == "pupil"
    assert pair.mentor.id not in str(told) and pair.pupil.id not in str(asked)


@pytest.mark.parametrize(
    "change",
    ["approved_at = NULL", "trained_until = NULL", "trained_until = '2026-03-02 10:00:00.000000'"],
    ids=["not approved", "not trained", "expired"],
)
async def test_rule_13_an_unfit_mentor_goes_on_no_shift(world, waiting, change):
    """Refused at the shift; and whoever became unfit on shift is not paired either."""
    pupil, _ = waiting
    mentor = await world.mentor(capacity=None)
    await world.sql(f"UPDATE member SET {change} WHERE id = '{mentor.id}'")
    assert (await mentor.says("shift", on=True, capacity=1))["code"] == "forbidden"
    await world.write(lambda tx: tx.tickets.set_shift(mentor.id, world.site, on=True, capacity=1))
    assert not await paired(world, pupil)


async def test_rule_13_training_that_ends_on_shift_ends_pairing(world, waiting):
    """The date is read when the pair is made."""
    pupil, adult = waiting
    mentor = await world.mentor()
    other = await world.pupil()
    await mentor.says("leave", conversation=pupil.of("paired")[0]["conversation"])
    await world.sql(
        f"UPDATE member SET trained_until = '2026-03-02 10:01:00.000000' WHERE id = '{mentor.id}'"
    )
    world.clock.advance(seconds=60)
    await adult.says("duty", on=True)
    await other.says("ask")
    assert other.of("paired") == []


async def test_rule_13_a_mentor_on_a_break_or_off_shift_is_left_alone(world, waiting):
    """Back from the break, the pair is made."""
    pupil, _ = waiting
    mentor = await world.mentor(capacity=None)
    assert not await paired(world, pupil)
    assert (await mentor.says("break", on=True))["code"] == "forbidden"
    await world.write(lambda tx: tx.tickets.set_shift(mentor.id, world.site, on=True, capacity=1))
    await mentor.says("break", on=True)
    assert not await paired(world, pupil)
    await mentor.says("break", on=False)
    assert len(pupil.of("paired")) == 1


async def test_rule_13_capacity_is_never_exceeded(world):
    """Two seats take two, and the third waits until one is free."""
    await world.adult(duty=True)
    mentor = await world.mentor(capacity=2)
    pupils = [await world.pupil() for _ in range(4)]
    for pupil in pupils:
        world.clock.advance(seconds=1)
        await pupil.says("ask")
    assert [len(p.of("paired")) for p in pupils] == [1, 1, 0, 0]
    await mentor.says("leave", conversation=mentor.of("paired")[0]["conversation"])
    assert [len(p.of("paired")) for p in pupils] == [1, 1, 1, 0]
    await mentor.says("shift", on=True, capacity=1)
    await mentor.says("leave", conversation=mentor.of("paired")[1]["conversation"])
    assert [len(p.of("paired")) for p in pupils] == [1, 1, 1, 0]  # one seat, and one who is in it
    assert (await mentor.says("shift", on=True, capacity=6))["code"] == "invalid"


@pytest.mark.parametrize("blocker", ["pupil", "mentor"])
async def test_rule_13_who_blocked_is_never_paired_with_that_one_again(pair, blocker):
    """Whoever of the two said so; each is paired with others."""
    by = {"pupil": pair.pupil, "mentor": pair.mentor}[blocker]
    other = pair.mentor if by is pair.pupil else pair.pupil
    assert (await by.says("block", conversation=pair.c))["type"] == "done"
    assert other.of("ended")[-1]["why"] == "left" and "block" not in str(other.of("ended", "left"))
    await pair.pupil.says("ask")
    assert len(pair.pupil.of("paired")) == 1
    another = await pair.world.mentor()
    assert len(pair.pupil.of("paired")) == 2 and len(another.of("paired")) == 1


async def test_rule_13_somebody_gone_is_not_paired(world, waiting):
    """A mentor without an open line is on shift only on paper."""
    pupil, _ = waiting
    mentor = await world.mentor(capacity=None)
    await mentor.close()
    await world.write(lambda tx: tx.tickets.set_shift(mentor.id, world.site, on=True, capacity=1))
    assert not await paired(world, pupil)
    await mentor.open()
    assert await paired(world, pupil)


async def test_rule_13_a_suspended_mentor_or_pupil_is_not_paired(world, waiting):
    """Also where their lines have not heard of it yet."""
    pupil, _ = waiting
    await world.write(lambda tx: tx.members.suspend(pupil.id))
    mentor = await world.mentor()
    assert mentor.of("paired") == [] and pupil.of("paired") == []
    await world.write(lambda tx: tx.members.suspend(mentor.id))
    other = await world.pupil()
    await other.says("ask")
    assert other.of("paired") == []


async def test_rule_13_a_suspended_pupil_holds_nobody_up(world, waiting):
    """The next in line is paired."""
    pupil, _ = waiting
    await world.write(lambda tx: tx.members.suspend(pupil.id))
    other = await world.pupil()
    await other.says("ask")
    await world.mentor()
    assert len(other.of("paired")) == 1


async def test_rule_13_one_pupil_has_one_conversation(pair):
    """Asking again from within a chat is refused."""
    await pair.world.mentor()
    assert (await pair.pupil.says("ask"))["code"] == "forbidden"
    assert len(pair.pupil.of("paired")) == 1


async def test_a_note_is_judged_before_anyone_is_paired(world):
    """Risk in it raises an alert, puts the pupil first in line, and shows support. No mentor reads it."""
    await world.adult(duty=True)
    calm, worried = await world.pupil(), await world.pupil()
    await calm.says("ask")
    await worried.says("ask", note="[high] i can't any more")
    assert [f["position"] for f in calm.of("waiting")] == [1, 2]
    assert (await world.alert()).risk is Risk.HIGH and (await world.alert()).about == worried.id
    assert worried.of("support")[0]["services"] and worried.help() == ["asked"]
    mentor = await world.mentor()
    assert len(worried.of("paired")) == 1 and calm.of("paired") == []
    assert "can't any more" not in str(mentor.seen)


async def test_the_same_two_keep_their_names_and_others_get_new_ones(pair):
    """A pseudonym is made for each pairing of two, and belongs to these two."""
    await pair.pupil.says("leave", conversation=pair.c)
    await pair.pupil.says("ask")
    first, second = pair.mentor.of("paired")
    assert first["partner"]["alias"] == second["partner"]["alias"]
    await pair.mentor.says("leave", conversation=second["conversation"])
    await pair.mentor.says("shift", on=False)
    stranger = await pair.world.mentor()
    await pair.pupil.says("ask")
    assert stranger.of("paired")[0]["partner"]["alias"] != first["partner"]["alias"]


async def test_everybody_who_waits_is_told_their_place(world):
    """Urgency first, then the time of asking; who cancels leaves the line."""
    await world.adult(duty=True)
    one, two = await world.pupil(), await world.pupil()
    assert (await one.says("ask"))["position"] == 1
    world.clock.advance(seconds=1)
    answer = await two.says("ask")
    assert (answer["position"], answer["wait_s"]) == (2, None)
    await one.says("cancel")
    assert two.of("waiting")[-1]["position"] == 1


async def test_cancelling_too_late_changes_nothing(pair):
    """Already paired: the chat goes on, and the wait that was measured stays measured."""
    assert (await pair.pupil.says("cancel"))["type"] == "done"
    assert await pair.world.sql("SELECT state, conversation FROM ticket") == [("paired", pair.c)]
    assert (await pair.pupil.send(pair.c, "hello"))["status"] == "delivered"


async def test_who_is_away_too_long_waits_no_more(world, waiting):
    """Two minutes without a line, and the place in line goes to others; a shorter absence changes nothing."""
    pupil, _ = waiting
    await pupil.close()
    world.clock.advance(seconds=119)
    await world.lobby.drop_lost(world.site)
    assert [t.pupil for t in await world.read(lambda tx: tx.tickets.waiting(world.site))] == [pupil.id]
    world.clock.advance(seconds=2)
    await world.lobby.drop_lost(world.site)
    assert await world.read(lambda tx: tx.tickets.waiting(world.site)) == []
