"""Held and blocked messages: who sees them, who decides, what the sender is told (rules 2, 7, 16, 19)."""

import asyncio

import pytest

from tests.support.stage import (
    DISCLOSURES,
    INSULTS,
    WAIT_S,
    Pair,
    Stage,
    claim,
    decide,
    everywhere,
    held,
    items,
    never_saw,
    problem,
    refusal,
    review_item,
    told,
)
from web.client import Client, Frame, encode

OPTIONS = ("--pupils", "40", "--mentors", "40", "--moderators", "2", "--unlimited")
CONTACTS = (
    "add me, my number is 07700 900123",
    "my number is oh seven seven double oh nine hundred one two three",
    "email me at jo.bloggs@example.com",
)


async def risky(pair: Pair) -> tuple[Frame, str]:
    """Have the pupil send a text that carries risk and is held; return its ack and the text."""
    return await held(pair.pupil, pair.c, texts=DISCLOSURES[::-1])


@everywhere
async def test_rule_2_held_text_reaches_nobody_until_it_is_released(stage: Stage) -> None:
    """Rule 2: not live, not in history, not after a resume; once released, once, with the next seq."""
    moderator = await stage.moderator()
    pair = await stage.pair()
    since = moderator.mark()
    ack, text = await held(pair.pupil, pair.c)
    assert "seq" not in ack
    added = await moderator.wait("review", since=since, change="added")
    assert "text" not in added["item"]
    assert text not in encode(added)
    await pair.mentor.history(pair.c)
    await pair.mentor.open()
    await pair.mentor.history(pair.c)
    never_saw(pair.mentor, text, ack["message"])

    between = await told(pair.mentor, "are you still there, no rush", pair.c)
    item = await review_item(moderator, ack["message"])
    document = await claim(moderator, item)
    assert text in encode(document)
    await moderator.wait("review", since=since, change="claimed")
    answer = await decide(moderator, item, "release")
    assert answer.status == 200
    decided = await pair.pupil.wait("decided", message=ack["message"], timeout_s=WAIT_S)
    assert (decided["status"], decided["seq"]) == ("delivered", between["seq"] + 1)
    live = await pair.mentor.wait("message", message=ack["message"])
    assert (live["text"], live["seq"]) == (text, decided["seq"])
    await moderator.wait("review", since=since, change="decided")
    await pair.mentor.history(pair.c)
    copies = pair.mentor.seen("message", message=ack["message"])
    assert [bool(f.get("replay")) for f in copies] == [False, True]


@everywhere
async def test_rule_2_withheld_and_blocked_text_never_reaches_the_partner(stage: Stage) -> None:
    """Rule 2: not after the decision, not in history, not after coming back, not after all is over."""
    moderator = await stage.moderator()
    pair = await stage.pair()
    secrets = []
    ack, text = await held(pair.pupil, pair.c, "and so on and on")
    secrets.append(text)
    item = await review_item(moderator, ack["message"])
    await claim(moderator, item)
    assert (await decide(moderator, item, "withhold", "unkind")).status == 200
    decided = await pair.pupil.wait("decided", message=ack["message"], timeout_s=WAIT_S)
    assert decided["status"] == "withheld"
    assert decided["reason"]
    for text in CONTACTS:
        blocked = await pair.pupil.send(pair.c, text)
        assert blocked["status"] in {"blocked", "held"}, "contact details were delivered"
        assert blocked["reason"]
        secrets.append(text)
    await told(pair.pupil, "never mind, how was your day", pair.c)
    await pair.mentor.history(pair.c)
    await pair.mentor.open()
    await pair.mentor.history(pair.c)
    await pair.pupil.call("leave", conversation=pair.c)
    await pair.mentor.wait("ended|left", conversation=pair.c)
    await pair.mentor.open()
    never_saw(pair.mentor, *secrets)
    never_saw(pair.mentor, "900123", "jo.bloggs")


@everywhere
async def test_the_sender_sees_what_waits_and_what_was_decided_meanwhile(stage: Stage) -> None:
    """After a welcome come one's own undelivered messages, and decisions that were missed (rule 19)."""
    moderator = await stage.moderator()
    pair = await stage.pair()
    first, text = await held(pair.pupil, pair.c, "number one")
    second, _ = await held(pair.pupil, pair.c, "number two")
    since = pair.pupil.mark()
    await pair.pupil.open()
    await pair.pupil.call("ping")
    own = {f["message"]: f for f in pair.pupil.seen("own", since=since)}
    assert own.keys() >= {first["message"], second["message"]}
    mine = own[first["message"]]
    assert (mine["id"], mine["text"], mine["status"]) == (first["id"], text, "held")
    assert mine["reason"] == first["reason"]

    await pair.pupil.cut()
    for ack, decision in ((first, "release"), (second, "withhold")):
        item = await review_item(moderator, ack["message"])
        await claim(moderator, item)
        assert (await decide(moderator, item, decision)).status == 200
    since = pair.pupil.mark()
    await pair.pupil.open()
    for ack, status in ((first, "delivered"), (second, "withheld")):
        decided = await pair.pupil.wait("decided", since=since, message=ack["message"])
        assert decided["status"] == status
    retry = await pair.pupil.send(pair.c, text, id=first["id"])
    assert (retry["message"], retry["status"]) == (first["message"], "delivered")
    await pair.pupil.call("ping")
    since = pair.pupil.mark()
    await pair.pupil.open()
    await pair.pupil.call("ping")
    assert not pair.pupil.seen("own", since=since, message=first["message"])


async def test_rule_19_a_held_message_has_one_review_item(stage: Stage) -> None:
    """Rule 19: one item, whatever is sent again; its fields, and never its text, on the list."""
    moderator = await stage.moderator()
    pair = await stage.pair()
    ack, text = await held(pair.pupil, pair.c)
    await pair.pupil.send(pair.c, text, id=ack["id"])
    item = await review_item(moderator, ack["message"])
    wanted = {"id", "kind", "conversation", "message", "risk", "labels", "state", "holder"}
    assert set(item) >= wanted | {"created_at", "due_at", "version"}
    assert (item["conversation"], item["holder"]) == (pair.c, None)
    assert text not in encode(item)


async def test_rule_7_one_person_decides_and_it_is_final(stage: Stage) -> None:
    """Rule 7, as races over HTTP: one of two claims holds; one of many decisions counts."""
    one, two = await stage.moderator(0), await stage.moderator(1)
    for turn in range(3):
        pair = await stage.pair()  # anew: who goes on insulting one partner comes before an adult instead
        ack, text = await held(pair.pupil, pair.c, f"round {turn}")
        item = await review_item(one, ack["message"])
        path = f"/api/review/{item['id']}/claim"
        problem(await decide(one, item, "release"), 409)
        answers = await asyncio.gather(*(m.http("POST", path, {}) for m in (one, two)))
        assert sorted(a.status for a in answers) == [200, 409]
        holder, other = (one, two) if answers[0].status == 200 else (two, one)
        refused = await decide(other, item, "release")
        assert refused.status in {403, 409}
        await pair.mentor.history(pair.c)
        never_saw(pair.mentor, text)
        decisions = ("release", "withhold") * 3
        answers = await asyncio.gather(*(decide(holder, item, d) for d in decisions))
        won = [d for d, a in zip(decisions, answers, strict=True) if a.status == 200]
        assert len(set(won)) == 1, "both decisions were taken"
        assert {a.status for a in answers} <= {200, 409}
        decided = await pair.pupil.wait("decided", message=ack["message"], timeout_s=WAIT_S)
        assert decided["status"] == {"release": "delivered", "withhold": "withheld"}[won[0]]
        await pair.pupil.call("ping")
        assert len(pair.pupil.seen("decided", message=ack["message"])) == 1
        await pair.mentor.history(pair.c)
        live = [f for f in pair.mentor.seen("message", message=ack["message"]) if not f.get("replay")]
        assert len(live) == (1 if won[0] == "release" else 0)
        for late in ("release", "withhold", "escalate"):
            problem(await decide(holder, item, late), 409)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"decision": "maybe", "reason": "other", "note": ""},
        {"decision": "release", "reason": "because", "note": ""},
        {"decision": "release"},
        [],
        {"decision": ["release"], "reason": "other", "note": ""},
    ],
    ids=["empty", "decision", "reason", "no reason", "list", "type"],
)
async def test_a_decision_that_is_none_changes_nothing(stage: Stage, body: object) -> None:
    moderator = await stage.moderator()
    pair = await stage.pair()
    ack, text = await held(pair.pupil, pair.c)
    item = await review_item(moderator, ack["message"])
    await claim(moderator, item)
    answer = await moderator.http("POST", f"/api/review/{item['id']}/decide", body)
    problem(answer, 422)
    await pair.mentor.history(pair.c)
    never_saw(pair.mentor, text)
    assert (await decide(moderator, item, "release")).status == 200
    await pair.mentor.wait("message", message=ack["message"])


async def test_rule_19_text_that_carries_risk_is_for_adults_and_never_plainly_withheld(stage: Stage) -> None:
    """Rule 19: a moderator does not see its item; a plain withhold is refused; a release delivers."""
    moderator, adult = await stage.moderator(), await stage.adult()
    pair = await stage.pair()
    ack, text = await risky(pair)
    assert ack["support"] or pair.pupil.seen("support"), "help was not offered at once"
    assert ack["message"] not in {item["message"] for item in await items(moderator, "/api/review")}
    item = await review_item(adult, ack["message"])
    assert item["risk"] in {"high", "immediate", "concern"}
    for path in ("claim", "decide"):
        answer = await moderator.http(
            "POST",
            f"/api/review/{item['id']}/{path}",
            {"decision": "release", "reason": "other", "note": ""},
        )
        assert answer.status in {403, 404}
    assert text in encode(await claim(adult, item))
    answer = await decide(adult, item, "withhold", "unsafe")
    assert answer.status in {409, 422}
    problem(answer, answer.status)
    await pair.pupil.call("ping")
    assert not pair.pupil.seen("decided", message=ack["message"])
    assert (await decide(adult, item, "release")).status == 200
    await pair.mentor.wait("message", message=ack["message"], timeout_s=WAIT_S)


@everywhere
async def test_a_release_while_paused_is_delivered_on_resume(stage: Stage) -> None:
    """Rule 2: 202 now, delivered when the conversation goes on, in its place."""
    moderator = await stage.moderator()
    pair = await stage.pair()
    ack, text = await held(pair.pupil, pair.c)
    item = await review_item(moderator, ack["message"])
    await claim(moderator, item)
    answer = await moderator.http("POST", f"/api/conversations/{pair.c}/pause", {})
    assert 200 <= answer.status < 300
    for client in (pair.pupil, pair.mentor):
        assert (await client.wait("paused", conversation=pair.c))["why"]
    assert (await decide(moderator, item, "release")).status == 202
    waiting = await pair.pupil.send(pair.c, "this one waits for the pause to end")
    assert (waiting["status"], waiting["reason"]) == ("held", "paused")
    await pair.mentor.history(pair.c)
    never_saw(pair.mentor, text, ack["message"], waiting["message"])
    since = pair.mentor.mark()
    answer = await moderator.http("POST", f"/api/conversations/{pair.c}/resume", {})
    assert 200 <= answer.status < 300
    await pair.mentor.wait("resumed", since=since, conversation=pair.c)
    for sent in (ack, waiting):
        decided = await pair.pupil.wait("decided", message=sent["message"], timeout_s=WAIT_S)
        assert decided["status"] == "delivered"
        live = await pair.mentor.wait("message", message=sent["message"])
        assert live["seq"] == decided["seq"]
    await pair.mentor.history(pair.c)
    got = [f["message"] for f in pair.mentor.seen("message", since=since) if not f.get("replay")]
    assert got == [ack["message"], waiting["message"]], "oldest first"


@everywhere
async def test_what_is_sent_while_paused_is_judged_and_delivered_in_order(stage: Stage) -> None:
    """Acked as held, `paused`; on resume what was allowed is delivered, oldest first, the rest is not."""
    moderator = await stage.moderator()
    pair = await stage.pair()
    await moderator.http("POST", f"/api/conversations/{pair.c}/pause", {})
    await pair.pupil.wait("paused", conversation=pair.c)
    fine = [
        await sender.send(pair.c, f"thinking about {what} today")
        for sender, what in ((pair.pupil, "art"), (pair.mentor, "chess"), (pair.pupil, "music"))
    ]
    assert [(a["status"], a["reason"]) for a in fine] == [("held", "paused")] * 3
    bad = await pair.pupil.send(pair.c, "you are a worthless idiot and everyone hates you")
    assert bad["status"] in {"held", "blocked"}
    moderator_answer = await moderator.http("POST", f"/api/conversations/{pair.c}/resume", {})
    assert 200 <= moderator_answer.status < 300
    seqs = []
    for sender, ack in zip((pair.pupil, pair.mentor, pair.pupil), fine, strict=True):
        decided = await sender.wait("decided", message=ack["message"], timeout_s=WAIT_S)
        assert decided["status"] == "delivered"
        seqs.append(decided["seq"])
    assert seqs == list(range(seqs[0], seqs[0] + 3))
    history = await pair.mentor.history(pair.c)
    assert [f["message"] for f in history] == [ack["message"] for ack in fine]
    never_saw(pair.mentor, bad["message"])
    after = await told(pair.mentor, "and on we go then", pair.c)
    assert after["seq"] == seqs[-1] + 1


@everywhere
async def test_a_sender_may_ask_for_another_look(stage: Stage) -> None:
    """For a blocked message too; by the sender alone; a person then decides."""
    moderator = await stage.moderator()
    pair = await stage.pair()
    ack, text = await held(pair.pupil, pair.c)
    item = await review_item(moderator, ack["message"])
    await claim(moderator, item)
    assert (await decide(moderator, item, "withhold", "unkind")).status == 200
    await pair.pupil.wait("decided", message=ack["message"])
    assert (await refusal(pair.mentor, "second_look", message=ack["message"])).code in {
        "not_a_member",
        "forbidden",
        "invalid",
    }
    blocked = await pair.pupil.send(pair.c, INSULTS[1])
    assert blocked["status"] in {"held", "blocked"}
    done = await pair.pupil.call("second_look", message=blocked["message"])
    assert done["for"] == "second_look"
    look = await review_item(moderator, blocked["message"])
    await claim(moderator, look)
    assert (await decide(moderator, look, "release", "mistake")).status == 200
    live = await pair.mentor.wait("message", message=blocked["message"], timeout_s=WAIT_S)
    assert live["text"] == INSULTS[1]
    never_saw(pair.mentor, text)


async def test_a_delivered_message_has_no_second_look(stage: Stage) -> None:
    pair = await stage.pair()
    ack = await told(pair.pupil, "hello, good to meet you", pair.c)
    error = await refusal(pair.pupil, "second_look", message=ack["message"])
    assert error.code in {"invalid", "forbidden", "conflict", "not_a_member"}


@everywhere
async def test_rule_8_a_report_reaches_a_person_and_not_the_reported(stage: Stage) -> None:
    """Rule 8: answered by `done` after commit; there is an item; the partner is told nothing."""
    moderator = await stage.moderator()
    pair = await stage.pair()
    ack = await told(pair.mentor, "you could just try a bit harder, honestly", pair.c)
    await pair.pupil.wait("message", message=ack["message"])
    since, theirs = moderator.mark(), pair.mentor.mark()
    done = await pair.pupil.call(
        "report", conversation=pair.c, message=ack["message"], reason="unkind", note="that felt unkind"
    )
    assert done["for"] == "report"
    added = await moderator.wait("review", since=since, change="added", timeout_s=WAIT_S)
    assert added["item"]["message"] == ack["message"]
    item = await review_item(moderator, ack["message"])
    assert item["kind"] != "held"
    assert "that felt unkind" in encode(await claim(moderator, item))
    await pair.mentor.call("ping")
    assert {r.frame["type"] for r in pair.mentor.received(theirs)} <= {"done", "heartbeat", "presence"}


async def test_a_report_of_what_the_reporter_never_had_is_refused(stage: Stage) -> None:
    pair, other = await stage.pair(), await stage.pair()
    theirs = await told(other.pupil, "this belongs to another conversation", other.c)
    ack, _ = await held(pair.pupil, pair.c)
    for message in (theirs["message"], ack["message"], "no-such"):
        error = await refusal(
            pair.mentor, "report", conversation=pair.c, message=message, reason="unsafe", note="x"
        )
        assert error.code in {"invalid", "not_a_member"}


async def test_an_escalated_item_goes_to_the_adults(stage: Stage) -> None:
    """Escalate: an alert is raised, the item is no longer the moderator's, nothing is delivered."""
    moderator, adult = await stage.moderator(), await stage.adult()
    pair = await stage.pair()
    ack, text = await held(pair.pupil, pair.c)
    item = await review_item(moderator, ack["message"])
    await claim(moderator, item)
    since = adult.mark()
    assert (await decide(moderator, item, "escalate", "unsafe")).status == 200
    alert = await adult.wait(
        "alert", since=since, timeout_s=WAIT_S, where=lambda f: f["alert"]["conversation"] == pair.c
    )
    assert alert["change"] in {"raised", "climbed"}
    await pair.mentor.history(pair.c)
    never_saw(pair.mentor, text)
    again = await review_item(adult, ack["message"])
    assert again["state"] != "decided"


async def test_the_list_is_paged_and_most_urgent_first(stage: Stage) -> None:
    adult = await stage.adult()
    pair = await stage.pair()
    for i in range(3):
        await held(pair.pupil, pair.c, f"again {i}")
    await risky(await stage.pair())
    order = ["immediate", "high", "concern", "none"]
    waiting = [item for item in await items(adult, "/api/review") if item["state"] != "decided"]
    ranks = [order.index(item["risk"]) for item in waiting]
    assert ranks == sorted(ranks)
    assert len({item["id"] for item in waiting}) == len(waiting)


async def test_a_bad_cursor_is_refused(stage: Stage) -> None:
    moderator: Client = await stage.moderator()
    for path in ("/api/review?cursor=%00nonsense", "/api/review?state=nonsense"):
        answer = await moderator.http("GET", path)
        assert answer.status in {400, 422}
        problem(answer, answer.status)


@everywhere
async def test_another_language_waits_for_a_person_and_says_so(stage: Stage) -> None:
    """No check was measured on it: held and not alarmed, with a word of its own; a greeting goes through."""
    moderator = await stage.moderator()
    pair = await stage.pair()
    ack, text = await held(pair.pupil, pair.c, texts=("nikt mnie tu nie lubi i boje sie wracac do domu",))
    assert ack["reason"] == "language"
    item = await review_item(moderator, ack["message"])
    assert item["risk"] == "none"
    document = await claim(moderator, item)
    assert document["degraded"] == ["language"]
    never_saw(pair.mentor, text, ack["message"])
    await told(pair.mentor, "salaam, how are you", pair.c)
