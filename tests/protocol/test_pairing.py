"""Asking, waiting, pairing, leaving and blocking (rule 13)."""

import pytest

from tests.support.stage import DISCLOSURES, WAIT_S, Stage, everywhere, meet, refusal, told
from web.client import NoAnswer, Refused

OPTIONS = ("--pupils", "40", "--mentors", "40", "--capacity", "3")


@everywhere
async def test_asking_waiting_cancelling(stage: Stage) -> None:
    pupil, mentor = await stage.pupil(), await stage.mentor()
    waiting = await pupil.call("ask", topics=[], mood=2)
    assert waiting["type"] == "waiting"
    assert waiting["position"] == 1
    assert waiting["wait_s"] is None or waiting["wait_s"] >= 0
    done = await pupil.call("cancel")
    assert done["for"] == "cancel"
    await mentor.call("shift", on=True, capacity=1)
    other = await stage.pupil()
    await other.call("ask", topics=[])
    await other.wait("paired", timeout_s=WAIT_S)
    assert not pupil.seen("paired"), "who no longer waits is not paired"


async def test_pupils_are_paired_in_the_order_they_asked(stage: Stage) -> None:
    first, second = await stage.pupil(), await stage.pupil()
    assert (await first.call("ask", topics=[]))["position"] == 1
    assert (await second.call("ask", topics=[]))["position"] == 2
    mentor = await stage.mentor()
    await mentor.call("shift", on=True, capacity=1)
    await first.wait("paired", timeout_s=WAIT_S)
    assert not second.seen("paired")
    another = await stage.mentor()
    await another.call("shift", on=True, capacity=1)
    await second.wait("paired", timeout_s=WAIT_S)


@everywhere
async def test_a_pairing_tells_both_and_names_nobody(stage: Stage) -> None:
    """The partner's alias and role, and what stays private; never a username or a code."""
    pupil, mentor, c = await stage.pair()
    for client, other in ((pupil, "mentor"), (mentor, "pupil")):
        paired = client.seen("paired", conversation=c)
        assert len(paired) == 1
        assert paired[0]["partner"]["role"] == other
        assert paired[0]["partner"]["alias"]
        assert len(paired[0]["notice"]) > 20
        welcome = await client.open()
        (view,) = welcome["conversations"]
        assert view["conversation"] == c
        assert view["last_seq"] == 0
        assert view["partner"]["alias"] == paired[0]["partner"]["alias"]
    names = {who["username"] for who in stage.demo.credentials["mentors"]}
    assert pupil.seen("paired")[0]["partner"]["alias"] not in names


async def test_rule_13_a_conversation_has_one_pupil_and_one_mentor(stage: Stage) -> None:
    """Rule 13: two pupils ask, one mentor of capacity 1: one conversation; a second pair, a second one."""
    pupils = [await stage.pupil() for _ in range(3)]
    mentor = await stage.mentor()
    await mentor.call("shift", on=True, capacity=1)
    for pupil in pupils:
        await pupil.call("ask", topics=[])
    c = (await pupils[0].wait("paired", timeout_s=WAIT_S))["conversation"]
    await mentor.call("ping")
    assert [f["conversation"] for f in mentor.seen("paired")] == [c]
    for pupil in pupils[1:]:
        await pupil.call("ping")
        assert not pupil.seen("paired")
    await mentor.call("shift", on=True, capacity=3)
    others = [(await p.wait("paired", timeout_s=WAIT_S))["conversation"] for p in pupils[1:]]
    assert len({c, *others}) == 3
    for pupil, own, which in zip(pupils, [c, *others], ("first", "second", "third"), strict=True):
        await told(mentor, f"hello you, this is for the {which} of you alone", own)
        message = await pupil.wait("message")
        assert message["conversation"] == own
    for pupil, own in zip(pupils, [c, *others], strict=True):
        await pupil.history(own)
        assert {f["conversation"] for f in pupil.seen("message")} == {own}


@pytest.mark.parametrize("away", ["off shift", "on a break"])
async def test_rule_13_a_mentor_who_is_away_is_not_paired(stage: Stage, away: str) -> None:
    """Rule 13: off shift or on a break, a mentor gets nobody; back again, the waiting pupil."""
    mentor, pupil = await stage.mentor(), await stage.pupil()
    await mentor.call("shift", on=True, capacity=1)
    if away == "off shift":
        await mentor.call("shift", on=False)
    else:
        await mentor.call("break", on=True)
    assert (await pupil.call("ask", topics=[]))["type"] == "waiting"
    await mentor.call("ping")
    assert not mentor.seen("paired")
    assert not pupil.seen("paired")
    if away == "off shift":
        await mentor.call("shift", on=True, capacity=1)
    else:
        await mentor.call("break", on=False)
    await pupil.wait("paired", timeout_s=WAIT_S)


@everywhere
async def test_leaving_ends_it_for_both(stage: Stage) -> None:
    """After it a send is refused, neither stored nor judged, and a card does not open the past."""
    pupil, mentor, c = await stage.pair()
    await told(pupil, "thank you, that helped me a lot", c)
    done = await pupil.call("leave", conversation=c, mood=4, helpful=True, again=True)
    assert done["for"] == "leave"
    await mentor.wait("ended|left", conversation=c)
    assert (await refusal(pupil, "send", conversation=c, id="late", text="one more thing")).code == "closed"
    assert (await refusal(mentor, "send", conversation=c, id="late", text="bye for now")).code == "closed"
    error = await refusal(pupil, "history", conversation=c)
    assert error.code in {"closed", "not_a_member"}
    for client in (pupil, mentor):
        assert (await client.open())["conversations"] == []
        assert not client.seen("own")


async def test_the_same_two_keep_their_names(stage: Stage) -> None:
    """A pseudonym is made for each pairing; the same two again keep theirs, others do not share it."""
    pupil, mentor, c = await stage.pair()
    first = {x.session.role: x.seen("paired")[0]["partner"]["alias"] for x in (pupil, mentor)}
    await pupil.call("leave", conversation=c)
    await mentor.wait("ended|left", conversation=c)
    *_, again = await meet(pupil, mentor)
    assert again != c
    second = {
        x.session.role: x.seen("paired", conversation=again)[0]["partner"]["alias"] for x in (pupil, mentor)
    }
    assert second == first
    await pupil.call("leave", conversation=again)
    await mentor.wait("ended|left", conversation=again)
    await mentor.call("shift", on=False)
    _, other, third = await meet(pupil, await stage.mentor())
    alias = other.seen("paired", conversation=third)[0]["partner"]["alias"]
    assert alias != first["mentor"], "another mentor knows the pupil by another name"


@pytest.mark.parametrize("blocker", ["pupil", "mentor"])
async def test_rule_13_who_has_blocked_the_other_is_never_paired_again(stage: Stage, blocker: str) -> None:
    """Rule 13: blocked, the only mentor is passed over; another one is not."""
    pupil, mentor, c = await stage.pair()
    one, other = (pupil, mentor) if blocker == "pupil" else (mentor, pupil)
    done = await one.call("block", conversation=c)
    assert done["for"] == "block"
    await other.wait("ended|left", conversation=c)
    assert not other.seen("error")
    assert (await refusal(other, "send", conversation=c, id="x", text="wait, why")).code in {
        "closed",
        "not_a_member",
    }
    since = pupil.mark()
    await mentor.call("shift", on=True, capacity=2)
    assert (await pupil.call("ask", topics=[]))["type"] == "waiting"
    await mentor.call("ping")
    assert not pupil.seen("paired", since=since)
    second = await stage.mentor()
    await second.call("shift", on=True, capacity=1)
    c2 = (await pupil.wait("paired", since=since, timeout_s=WAIT_S))["conversation"]
    await second.wait("paired", conversation=c2)


async def test_a_note_is_judged_before_pairing(stage: Stage) -> None:
    """A disclosure in the note reaches an adult at once, and the mentor never by any way (rule 8)."""
    adult, pupil, mentor = await stage.adult(), await stage.pupil(), await stage.mentor()
    since = adult.mark()
    try:
        await pupil.call("ask", topics=[], note=DISCLOSURES[0])
    except Refused as error:
        assert error.code not in {"invalid", "malformed"}
    raised = await adult.wait("alert", since=since, change="raised", timeout_s=WAIT_S)
    assert raised["alert"]["risk"] in {"immediate", "high"}
    listed = (await adult.http("GET", "/api/alerts")).json()["items"]
    assert raised["alert"]["id"] in {alert["id"] for alert in listed}
    await mentor.call("shift", on=True, capacity=1)
    try:
        c = (await mentor.wait("paired", timeout_s=2))["conversation"]
        await mentor.history(c)
    except NoAnswer:
        pass  # not paired before an adult has looked: also right
    assert not any("tonight" in str(r.frame) for r in mentor.received())


async def test_a_pupil_asks_once(stage: Stage) -> None:
    """Asking again while waiting keeps one place; after pairing there is no second conversation."""
    pupil, mentor = await stage.pupil(), await stage.mentor()
    await pupil.call("ask", topics=[])
    try:
        assert (await pupil.call("ask", topics=[]))["position"] == 1
    except Refused as error:
        assert error.code in {"conflict", "forbidden", "invalid"}
    await mentor.call("shift", on=True, capacity=3)
    await pupil.wait("paired", timeout_s=WAIT_S)
    await mentor.call("ping")
    assert len(mentor.seen("paired")) == 1
