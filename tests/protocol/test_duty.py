"""Nobody on duty: nothing is delivered, nobody is paired, everybody is told (rule 12)."""

import pytest

from tests.support.stage import (
    DISCLOSURES,
    INSULTS,
    WAIT_S,
    Stage,
    claim,
    decide,
    everywhere,
    held,
    items,
    never_saw,
    refusal,
    review_item,
    told,
)
from web.client import Client, Refused

OPTIONS = ("--pupils", "40", "--mentors", "40", "--moderators", "2", "--unlimited")


@pytest.fixture
async def adult(stage: Stage) -> Client:
    """Return the first adult, on duty by an own lease: the demo no longer keeps it up."""
    adult = await stage.adult(0)
    await adult.call("duty", on=True)
    return adult


async def nobody(adult: Client) -> None:
    """End the duty of the only adult on duty."""
    since = adult.mark()
    await adult.call("duty", on=False)
    await adult.wait("site", since=since, open=False, timeout_s=WAIT_S)


async def test_the_lease_says_how_long_it_holds(stage: Stage, adult: Client) -> None:
    done = await adult.call("duty", on=True)
    assert (done["for"], isinstance(done["until"], str)) == ("duty", True)
    await adult.call("ping")
    again = await adult.call("duty", on=True)
    assert again["until"] >= done["until"]


@everywhere
async def test_rule_12_with_nobody_on_duty_nothing_is_delivered_and_nobody_paired(stage: Stage) -> None:
    """Rule 12: paused, told why, and helplines; sends are kept; with the adult it goes on, oldest first."""
    adult = await stage.adult(0)
    await adult.call("duty", on=True)
    pair = await stage.pair()
    waiting, spare = await stage.pupil(), await stage.mentor()
    first = await told(pair.pupil, "hello, good to meet you", pair.c)
    marks = {client: client.mark() for client in (pair.pupil, pair.mentor, waiting)}
    await adult.call("duty", on=False)
    for client in (pair.pupil, pair.mentor):
        paused = await client.wait("paused", since=marks[client], conversation=pair.c, timeout_s=WAIT_S)
        assert paused["why"] == "no_adult_on_duty"
    for client, mark in marks.items():
        site = await client.wait("site", since=mark, open=False, timeout_s=WAIT_S)
        assert site["why"] == "no_adult_on_duty"
        assert any("999" in (service["phone"] or "") for service in site["services"])
        assert site["on_duty"] == []

    acks = [
        await sender.send(pair.c, f"still thinking about {what}")
        for sender, what in ((pair.pupil, "art"), (pair.mentor, "chess"), (pair.pupil, "music"))
    ]
    assert [(a["status"], a["reason"]) for a in acks] == [("held", "paused")] * 3
    assert not any("seq" in a for a in acks)
    await spare.call("shift", on=True, capacity=1)
    try:
        await waiting.call("ask", topics=[])
    except Refused as error:
        assert error.code in {"closed", "unavailable"}
    for client, unseen in ((pair.mentor, (acks[0], acks[2])), (pair.pupil, (acks[1],))):
        history = await client.history(pair.c)
        assert [f["message"] for f in history] == [first["message"]]
        never_saw(client, *(a["message"] for a in unseen if a not in client.seen("ack")))
    await spare.call("ping")
    assert not waiting.seen("paired")
    assert not spare.seen("paired")

    marks = {client: client.mark() for client in (pair.pupil, pair.mentor, waiting)}
    await adult.call("duty", on=True)
    for client in (pair.pupil, pair.mentor):
        await client.wait("resumed", since=marks[client], conversation=pair.c, timeout_s=WAIT_S)
    for client, mark in marks.items():
        site = await client.wait("site", since=mark, open=True, timeout_s=WAIT_S)
        assert site["on_duty"]
    seqs = []
    for sender, ack in zip((pair.pupil, pair.mentor, pair.pupil), acks, strict=True):
        decided = await sender.wait("decided", message=ack["message"], timeout_s=WAIT_S)
        assert decided["status"] == "delivered"
        seqs.append(decided["seq"])
    assert seqs == [first["seq"] + 1, first["seq"] + 2, first["seq"] + 3]
    await pair.mentor.wait("message", message=acks[2]["message"])
    live = [f["message"] for f in pair.mentor.seen("message", since=marks[pair.mentor])]
    assert [m for m in live if m in {acks[0]["message"], acks[2]["message"]}] == [
        acks[0]["message"],
        acks[2]["message"],
    ]
    if not waiting.seen("waiting"):
        await waiting.call("ask", topics=[])
    await waiting.wait("paired", timeout_s=WAIT_S)


async def test_rule_12_what_is_sent_meanwhile_is_judged_and_may_alert(stage: Stage, adult: Client) -> None:
    """Rule 12: a disclosure raises its alert at once; an insult is not delivered on resume."""
    pair = await stage.pair()
    await nobody(adult)
    await pair.pupil.wait("paused", conversation=pair.c, timeout_s=WAIT_S)
    since = adult.mark()
    insult = await pair.pupil.send(pair.c, INSULTS[0])
    assert insult["status"] in {"held", "blocked"}
    ack = await pair.pupil.send(pair.c, DISCLOSURES[0])
    assert ack["status"] == "held"
    alert = await adult.wait(
        "alert", since=since, timeout_s=WAIT_S, where=lambda f: f["alert"]["conversation"] == pair.c
    )
    assert alert["alert"]["risk"] in {"immediate", "high"}
    done = await pair.mentor.call("flag", conversation=pair.c, urgency="emergency", note="is anyone there")
    assert done["alert"]
    await adult.call("duty", on=True)
    await pair.mentor.wait("resumed", conversation=pair.c, timeout_s=WAIT_S)
    await told(pair.pupil, "oh, it goes on", pair.c)
    await pair.mentor.history(pair.c)
    never_saw(pair.mentor, INSULTS[0])


async def test_a_release_while_nobody_is_on_duty_waits(stage: Stage, adult: Client) -> None:
    """Rules 2 and 12: 202, and no delivery before an adult is back."""
    moderator = await stage.moderator()
    pair = await stage.pair()
    ack, text = await held(pair.pupil, pair.c)
    item = await review_item(moderator, ack["message"])
    await claim(moderator, item)
    await nobody(adult)
    assert (await decide(moderator, item, "release")).status == 202
    await pair.mentor.history(pair.c)
    never_saw(pair.mentor, text, ack["message"])
    await adult.call("duty", on=True)
    live = await pair.mentor.wait("message", message=ack["message"], timeout_s=WAIT_S)
    assert live["text"] == text


async def test_a_moderators_duty_does_not_count(stage: Stage, adult: Client) -> None:
    """Rule 12 needs an adult: a moderator on duty alone resumes nothing."""
    moderator = await stage.moderator()
    await moderator.call("duty", on=True)
    pair = await stage.pair()
    await nobody(adult)
    await pair.pupil.wait("paused", conversation=pair.c, timeout_s=WAIT_S)
    await moderator.call("duty", on=True)
    ack = await pair.pupil.send(pair.c, "is anyone there today")
    assert (ack["status"], ack["reason"]) == ("held", "paused")
    assert not pair.pupil.seen("resumed")
    await adult.call("duty", on=True)
    await pair.pupil.wait("resumed", conversation=pair.c, timeout_s=WAIT_S)


async def test_leases_overlap(stage: Stage, adult: Client) -> None:
    """One of two dropping changes nothing; a closed socket ends no lease."""
    second = await stage.adult(1)
    await second.call("duty", on=True)
    pair = await stage.pair()
    await adult.call("duty", on=False)
    await told(pair.pupil, "this goes on as before", pair.c)
    assert not pair.pupil.seen("paused")
    await second.cut()
    await told(pair.mentor, "and so does this", pair.c)
    assert not pair.pupil.seen("paused")
    await adult.call("duty", on=True)
    await second.open()
    await second.call("duty", on=False)


async def test_duty_does_not_end_over_an_own_open_alert(stage: Stage, adult: Client) -> None:
    """An adult who has taken an alert stays on duty until it is closed or handed over."""
    second = await stage.adult(1)
    await second.call("duty", on=True)
    pair = await stage.pair()
    done = await pair.mentor.call("flag", conversation=pair.c, urgency="concern", note="hm")
    answer = await adult.http("POST", f"/api/alerts/{done['alert']}/acknowledge", {})
    assert answer.status == 200
    error = await refusal(adult, "duty", on=False)
    assert error.code in {"forbidden", "conflict"}
    await second.call("duty", on=False)
    await told(pair.pupil, "this is still delivered: the first adult is on duty", pair.c)
    (alert,) = [a for a in await items(adult, "/api/alerts") if a["id"] == done["alert"]]
    body = {"outcome": "safe, support agreed", "rationale": "all is well", "version": alert["version"]}
    answer = await adult.http("POST", f"/api/alerts/{alert['id']}/close", body)
    assert answer.status == 200
    await nobody(adult)
    await adult.call("duty", on=True)


async def test_a_welcome_while_nobody_is_on_duty_says_so(stage: Stage, adult: Client) -> None:
    await nobody(adult)
    pupil = await stage.pupil(opened=False)
    welcome = await pupil.open()
    assert (welcome["site"]["open"], welcome["site"]["why"]) == (False, "no_adult_on_duty")
    assert welcome["site"]["services"]
    assert welcome["site"]["on_duty"] == []
    await adult.call("duty", on=True)
    site = await pupil.wait("site", open=True, timeout_s=WAIT_S)
    assert site["on_duty"]


async def test_a_phone_holds_no_duty_before_a_way_to_reach_it_was_tried(stage: Stage, adult: Client) -> None:
    """A locked phone hears nothing by its page; the page's own lease stays as it was."""
    with pytest.raises(Refused, match="forbidden"):
        await adult.call("duty", on=True, phone=True)
    assert (await adult.call("duty", on=True))["until"]


async def test_an_alert_is_handed_over_by_an_offer_and_its_acceptance(stage: Stage, adult: Client) -> None:
    """Until the other adult has accepted, duty cannot end; then it can, and the alert is the other's."""
    other = await stage.adult(1)
    await other.call("duty", on=True)
    pair = await stage.pair()
    alert = (await pair.mentor.call("flag", conversation=pair.c, urgency="emergency"))["alert"]
    await adult.http("POST", f"/api/alerts/{alert}/acknowledge", {})
    offer = (await adult.http("POST", "/api/duty/handover", {"to": other.session.member})).json()
    heard = await other.wait("handover", change="offered", timeout_s=WAIT_S)
    assert heard["id"] == offer["id"] and heard["alerts"] >= 1
    with pytest.raises(Refused):
        await adult.call("duty", on=False)
    assert (await other.http("POST", f"/api/duty/handover/{offer['id']}/accept", {})).status == 200
    await adult.wait("handover", change="accepted", timeout_s=WAIT_S)
    assert (await other.http("GET", f"/api/alerts/{alert}")).json()["mine"]
    assert (await adult.call("duty", on=False))["type"] == "done"
