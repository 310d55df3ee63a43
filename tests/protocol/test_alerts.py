"""Alerts: raised, heard, taken on, closed; flags; what members are told (rules 8, 9, 10, 11, 16, 19)."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.stage import (
    DISCLOSURES,
    WAIT_S,
    Stage,
    claim,
    decide,
    everywhere,
    held,
    items,
    never_saw,
    problem,
    review_item,
    told,
)
from web.client import Client, Frame, encode

OPTIONS = ("--pupils", "60", "--mentors", "60", "--moderators", "8", "--unlimited")
FIELDS = {"id", "conversation", "risk", "labels", "state", "rung", "opened_at", "next_due_at"}
OUTCOME = "safe, support agreed"


async def raised(adult: Client, c: str | None, since: int, change: str = "raised") -> dict[str, Any]:
    """Return the alert that the adult is told of for this conversation."""
    frame = await adult.wait(
        "alert",
        since=since,
        timeout_s=WAIT_S,
        where=lambda f: f["change"] == change and f["alert"]["conversation"] == c,
    )
    alert = frame["alert"]
    assert isinstance(alert, dict)
    return alert


async def listed(adult: Client, id: str) -> dict[str, Any]:
    """Return the alert as the list has it."""
    found = [alert for alert in await items(adult, "/api/alerts") if alert["id"] == id]
    assert len(found) == 1, f"{len(found)} alerts of one id on the list"
    return found[0]


async def act(adult: Client, alert: dict[str, Any], verb: str, **body: object) -> int:
    """Post one of the verbs; return the status."""
    return (await adult.http("POST", f"/api/alerts/{alert['id']}/{verb}", body)).status


async def close(adult: Client, alert: dict[str, Any], *, version: int | None = None) -> int:
    """Post a close with the version on the list; return the status."""
    if version is None:
        version = (await listed(adult, alert["id"]))["version"]
    return await act(
        adult, alert, "close", outcome=OUTCOME, rationale="spoke with them, all is well", version=version
    )


async def emergency(stage: Stage, adult: Client) -> tuple[Any, dict[str, Any]]:
    """Return a pair and the immediate alert that the mentor's flag raised."""
    pair = await stage.pair()
    since = adult.mark()
    await pair.mentor.call("flag", conversation=pair.c, urgency="emergency", note="please come quickly")
    return pair, await raised(adult, pair.c, since)


@everywhere
async def test_rule_8_a_disclosure_reaches_an_adult_and_brings_help(stage: Stage) -> None:
    """Rules 8 and 9: support for the pupil; for the adult an alert without text, listed, with a due time."""
    adult, second = await stage.adult(0), await stage.adult(1)
    pair = await stage.pair()
    since, start = adult.mark(), pair.pupil.mark()
    ack = await pair.pupil.send(pair.c, DISCLOSURES[0])
    assert ack["status"] in {"held", "delivered"}, "a disclosure is never blocked"
    alert = await raised(adult, pair.c, since)
    assert set(alert) >= FIELDS
    assert alert["risk"] in {"immediate", "high"}
    assert "self_harm" in alert["labels"]
    assert alert["next_due_at"] is not None
    assert datetime.fromisoformat(alert["opened_at"]) <= datetime.now(UTC)
    assert DISCLOSURES[0] not in encode(adult.seen("alert", since=since)[0])
    await pair.pupil.call("ping")
    services = ack.get("support") or pair.pupil.seen("support", since=start)[0]["services"]
    assert any("116 123" in (s["phone"] or "") for s in services)
    assert any("999" in (s["phone"] or "") for s in services)
    assert set(await listed(adult, alert["id"])) >= FIELDS
    assert (await listed(second, alert["id"]))["id"] == alert["id"], "every adult finds it on the list"
    if ack["status"] == "held":
        await pair.mentor.history(pair.c)
        never_saw(pair.mentor, DISCLOSURES[0])


@everywhere
@pytest.mark.parametrize("role", ["pupil", "mentor", "moderator"])
@pytest.mark.parametrize("urgency", ["concern", "emergency"])
async def test_rule_8_a_flag_is_an_alert(stage: Stage, role: str, urgency: str) -> None:
    """Rule 8: `done` names the alert; an emergency is immediate, a concern concern; the note is not in it."""
    adult = await stage.adult()
    since = adult.mark()
    c = None
    if role == "moderator":
        who = await stage.client(await stage.session("moderators"))
    else:
        pair = await stage.pair()
        who, c = getattr(pair, role), pair.c
    note = "I am worried about this one, please have a look"
    done = await who.call("flag", conversation=c, urgency=urgency, note=note)
    alert = await raised(adult, c, since)
    assert (done["for"], done["alert"]) == ("flag", alert["id"])
    assert alert["risk"] == {"concern": "concern", "emergency": "immediate"}[urgency]
    assert "flag" in alert["labels"]
    assert alert["next_due_at"]
    assert note not in encode(adult.seen("alert", since=since)[0])
    assert (await listed(adult, alert["id"]))["risk"] == alert["risk"]


async def test_a_pupil_in_no_conversation_may_flag(stage: Stage) -> None:
    adult, pupil = await stage.adult(), await stage.pupil()
    since = adult.mark()
    done = await pupil.call("flag", conversation=None, urgency="emergency", note="there is nobody here")
    assert (await raised(adult, None, since))["id"] == done["alert"]


async def test_a_flag_without_a_note_is_enough(stage: Stage) -> None:
    adult, pupil = await stage.adult(), await stage.pupil()
    done = await pupil.call("flag", urgency="emergency")
    await listed(adult, done["alert"])


def states(client: Client, c: str) -> list[str]:
    return [f["state"] for f in client.seen("help", conversation=c)]


@everywhere
async def test_help_says_what_is_true_and_no_more(stage: Stage) -> None:
    """`asked` at once, `has_it` only after an acknowledgement, `here` only after the adult has joined."""
    adult = await stage.adult()
    pair, alert = await emergency(stage, adult)
    for client in (pair.pupil, pair.mentor):
        await client.wait("help", conversation=pair.c, state="asked", timeout_s=WAIT_S)
        await client.call("ping")
        assert set(states(client, pair.c)) <= {"asked", "still_asking"}
    since = adult.mark()
    assert await act(adult, alert, "acknowledge") == 200
    await raised(adult, pair.c, since, change="acknowledged")
    for client in (pair.pupil, pair.mentor):
        await client.wait("help", conversation=pair.c, state="has_it", timeout_s=WAIT_S)
        await client.call("ping")
        assert "here" not in states(client, pair.c)
    assert await act(adult, alert, "join") == 200
    for client in (pair.pupil, pair.mentor):
        await client.wait("help", conversation=pair.c, state="here", timeout_s=WAIT_S)
        order = [s for s in states(client, pair.c) if s != "still_asking"]
        assert order == ["asked", "has_it", "here"]


@everywhere
async def test_rule_11_an_adult_takes_it_joins_and_speaks(stage: Stage) -> None:
    """Rule 11, and: both see who joined; whoever joins late reads from there on."""
    adult = await stage.adult()
    pair = await stage.pair()
    before = await told(pair.pupil, "we were talking about art", pair.c)
    since = adult.mark()
    await pair.mentor.call("flag", conversation=pair.c, urgency="emergency", note="please")
    alert = await raised(adult, pair.c, since)
    assert await act(adult, alert, "acknowledge") == 200
    assert await act(adult, alert, "join") == 200
    for client in (pair.pupil, pair.mentor):
        joined = await client.wait("joined", conversation=pair.c, timeout_s=WAIT_S)
        assert joined["member"]["role"] == "adult"
        assert joined["member"]["alias"]
    hello = await told(adult, "Hello, I'm the adult here today. I'm glad you are here.", pair.c)
    assert hello["seq"] == before["seq"] + 1
    for client in (pair.pupil, pair.mentor):
        live = await client.wait("message", conversation=pair.c, message=hello["message"])
        assert live["from"]["role"] == "adult"
    answer = await told(pair.pupil, "thank you for coming", pair.c)
    await adult.wait("message", conversation=pair.c, message=answer["message"])
    assert [f["message"] for f in await adult.history(pair.c)] == [hello["message"], answer["message"]]
    await adult.call("leave", conversation=pair.c)
    await pair.pupil.wait("left", conversation=pair.c, timeout_s=WAIT_S)
    await told(pair.pupil, "thanks, that helps a lot", pair.c)


@everywhere
async def test_rule_11_closing_needs_an_outcome_and_a_reason(stage: Stage) -> None:
    """Rule 11: acknowledge, act, close; a close without outcome or rationale names the field."""
    adult = await stage.adult()
    pair = await stage.pair()
    since = adult.mark()
    await pair.mentor.call("flag", conversation=pair.c, urgency="concern", note="a bit worried")
    alert = await raised(adult, pair.c, since)
    assert await act(adult, alert, "acknowledge") == 200
    assert 200 <= await act(adult, alert, "note", text="rang the form tutor") < 300
    assert 200 <= await act(adult, alert, "act", action="spoke with pupil", note="at break") < 300
    await raised(adult, pair.c, since, change="in_hand")
    version = (await listed(adult, alert["id"]))["version"]
    good: dict[str, object] = {"outcome": OUTCOME, "rationale": "all is well", "version": version}
    for name in good:
        without = {k: v for k, v in good.items() if k != name}
        for bad in ({**good, name: ""}, *([without] if name != "version" else [])):
            answer = await adult.http("POST", f"/api/alerts/{alert['id']}/close", bad)
            assert name in encode(problem(answer, 422)), "the field is named"
    assert (await listed(adult, alert["id"]))["state"] != "closed"
    assert await close(adult, alert) == 200
    await raised(adult, pair.c, since, change="closed")
    assert (await close_answer(adult, alert)).status in {404, 409}


async def close_answer(adult: Client, alert: dict[str, Any]) -> Any:
    body = {"outcome": OUTCOME, "rationale": "again", "version": 1}
    return await adult.http("POST", f"/api/alerts/{alert['id']}/close", body)


async def test_a_stale_version_is_409(stage: Stage) -> None:
    adult = await stage.adult()
    pair = await stage.pair()
    since = adult.mark()
    await pair.mentor.call("flag", conversation=pair.c, urgency="concern", note="hm")
    alert = await raised(adult, pair.c, since)
    old = (await listed(adult, alert["id"]))["version"]
    assert await act(adult, alert, "acknowledge") == 200
    assert 200 <= await act(adult, alert, "note", text="something new") < 300
    assert await close(adult, alert, version=old) == 409
    assert (await listed(adult, alert["id"]))["state"] != "closed"
    assert await close(adult, alert) == 200


async def test_an_immediate_alert_is_closed_by_two_adults(stage: Stage) -> None:
    """The first gets 202 and it stays open, also when asked twice; the second, another adult, closes it."""
    adult, second = await stage.adult(0), await stage.adult(1)
    _, alert = await emergency(stage, adult)
    assert await act(adult, alert, "acknowledge") == 200
    assert 200 <= await act(adult, alert, "act", action="spoke with pupil", note="safe at home") < 300
    assert await close(adult, alert) == 202
    assert (await listed(adult, alert["id"]))["state"] != "closed"
    assert await close(adult, alert) in {202, 409}, "the same adult again is not a second one"
    assert (await listed(adult, alert["id"]))["state"] != "closed"
    assert await close(second, alert) == 200
    assert (await listed_or_none(second, alert["id"])) in {None, "closed"}


async def listed_or_none(adult: Client, id: str) -> str | None:
    found = [alert["state"] for alert in await items(adult, "/api/alerts") if alert["id"] == id]
    return found[0] if found else None


async def test_rule_19_an_alert_with_undecided_text_cannot_be_closed(stage: Stage) -> None:
    """Rule 19: 409 until the held message that it is about has an outcome."""
    adult, second = await stage.adult(0), await stage.adult(1)
    pair = await stage.pair()
    since = adult.mark()
    ack, _ = await held(pair.pupil, pair.c, texts=DISCLOSURES[::-1])
    alert = await raised(adult, pair.c, since)
    item = await review_item(adult, ack["message"])
    assert await act(adult, alert, "acknowledge") == 200
    assert 200 <= await act(adult, alert, "act", action="spoke with pupil", note="") < 300
    assert await close(adult, alert) == 409
    await claim(adult, item)
    assert (await decide(adult, item, "release")).status == 200
    assert await close(adult, alert) in {200, 202}
    assert await close(second, alert) in {200, 404, 409}
    assert (await listed_or_none(second, alert["id"])) in {None, "closed"}


async def test_rule_10_more_of_the_same_folds_and_waits_no_longer(stage: Stage) -> None:
    """Rule 10: one alert for one conversation and label; more of it is evidence, and moves no time back."""
    adult = await stage.adult()
    pair = await stage.pair()
    since = adult.mark()
    done = await pair.pupil.call("flag", conversation=pair.c, urgency="concern", note="one")
    first = await raised(adult, pair.c, since)
    since = adult.mark()
    again = await pair.pupil.call("flag", conversation=pair.c, urgency="concern", note="two")
    assert again["alert"] == done["alert"] == first["id"]
    updated = await raised(adult, pair.c, since, change="updated")
    assert updated["next_due_at"] <= first["next_due_at"]
    assert len([a for a in await items(adult, "/api/alerts") if a["conversation"] == pair.c]) == 1


@pytest.mark.parametrize("role", ["pupil", "mentor"])
async def test_rule_10_worse_climbs_and_nothing_falls(stage: Stage, role: str) -> None:
    """Rule 10: an emergency after a concern climbs; a concern after it makes it no smaller; after an answer
    new evidence notifies again."""
    adult = await stage.adult()
    pair = await stage.pair()
    who = getattr(pair, role)

    async def flag(urgency: str) -> str:
        done = await who.call("flag", conversation=pair.c, urgency=urgency, note="please have a look")
        return str(done["alert"])

    since = adult.mark()
    id = await flag("concern")
    await raised(adult, pair.c, since)
    assert await flag("emergency") == id
    climbed = await raised(adult, pair.c, since, change="climbed")
    assert (climbed["id"], climbed["risk"]) == (id, "immediate")
    assert await flag("concern") == id
    assert (await listed(adult, id))["risk"] == "immediate", "it never falls without a human"
    assert await act(adult, climbed, "acknowledge") == 200
    since = adult.mark()
    assert await flag("emergency") == id
    assert (await raised(adult, pair.c, since, change="climbed"))["id"] == id


@everywhere
async def test_what_a_pupil_asks_for_is_shown_to_that_pupil_alone(stage: Stage) -> None:
    """The partner may be the reason: no alert of the partner's, no frame, no sign."""
    adult = await stage.adult()
    pair = await stage.pair()
    mark, since = pair.mentor.mark(), adult.mark()
    await pair.pupil.call("flag", conversation=pair.c, urgency="emergency", note="it is about the other one")
    alert = await raised(adult, pair.c, since)
    await pair.pupil.wait("help", state="asked")
    assert await act(adult, alert, "acknowledge") == 200
    await pair.pupil.wait("help", state="has_it")
    await pair.mentor.call("ping")
    assert {r.frame["type"] for r in pair.mentor.received(mark)} <= {"done", "heartbeat", "presence"}
    done = await pair.mentor.call("flag", conversation=pair.c, urgency="concern", note="and I of that one")
    assert done["alert"] != alert["id"], "the same id would tell that there is one already"


@everywhere
async def test_a_concern_is_discreet(stage: Stage) -> None:
    """What one member is worried about is told to adults alone: the partner can see no trace of it."""
    adult = await stage.adult()
    pair = await stage.pair()
    for one, other in ((pair.pupil, pair.mentor), (pair.mentor, pair.pupil)):
        mark, since = other.mark(), adult.mark()
        await one.call("flag", conversation=pair.c, urgency="concern", note="worried about the other one")
        alert = await raised(adult, pair.c, since)
        assert await act(adult, alert, "acknowledge") == 200
        await other.call("ping")
        assert {r.frame["type"] for r in other.received(mark)} <= {"done", "heartbeat", "presence"}


async def test_nothing_folds_into_a_closed_alert(stage: Stage) -> None:
    """Rule 10: what comes after is a new alert."""
    adult = await stage.adult()
    pair = await stage.pair()
    first = (await pair.pupil.call("flag", conversation=pair.c, urgency="concern", note="one"))["alert"]
    assert await act(adult, {"id": first}, "acknowledge") == 200
    assert await close(adult, {"id": first}) == 200
    since = adult.mark()
    second = (await pair.pupil.call("flag", conversation=pair.c, urgency="concern", note="two"))["alert"]
    assert second != first
    assert (await raised(adult, pair.c, since))["id"] == second


async def test_rule_9_an_acknowledged_alert_is_one_adults(stage: Stage) -> None:
    """Rule 9 and 11, as a race: both may press; afterwards there is one answer and the alert is taken."""
    adult, second = await stage.adult(0), await stage.adult(1)
    _, alert = await emergency(stage, adult)
    statuses = await asyncio.gather(act(adult, alert, "acknowledge"), act(second, alert, "acknowledge"))
    assert 200 in statuses
    assert set(statuses) <= {200, 409}
    now = await listed(adult, alert["id"])
    assert now["state"] == "acknowledged"
    assert now["rung"] >= alert["rung"]


@pytest.mark.parametrize("verb", ["acknowledge", "note", "act", "close", "join"])
@pytest.mark.parametrize("role", ["pupils", "mentors", "moderators", "coordinators"])
async def test_rule_11_nobody_but_an_adult_touches_an_alert(stage: Stage, verb: str, role: str) -> None:
    """Rule 11: for all other roles it does not exist, and nothing changes."""
    adult = await stage.adult()
    pupil = await stage.pupil()
    id = (await pupil.call("flag", urgency="concern", note="x"))["alert"]
    before = await listed(adult, id)
    session = await stage.session(role, 0)
    body = {
        "text": "x",
        "action": "spoke with pupil",
        "note": "x",
        "outcome": OUTCOME,
        "rationale": "x",
        "version": before["version"],
        "reason": "x",
    }
    answer = await stage.server.call("POST", f"/api/alerts/{id}/{verb}", token=session.token, json=body)
    assert answer.status in {403, 404}
    after = await listed(adult, id)
    assert after["state"] in {"open", "notifying"}
    assert after["version"] == before["version"]


async def test_rule_16_reading_a_conversation_needs_a_case_and_a_reason(stage: Stage) -> None:
    """Rule 16: an excerpt for the adult with a case; the whole with a reason; else it does not exist."""
    adult = await stage.adult()
    pair = await stage.pair()
    texts = [f"we talked about {what} for a while" for what in ("art", "music", "chess")]
    for text in texts:
        await told(pair.pupil, text, pair.c)
    path = f"/api/conversations/{pair.c}"
    moderator = await stage.moderator()
    for client in (adult, moderator):
        assert (await client.http("GET", f"{path}?scope=excerpt&reason=case")).status in {403, 404}
    since = adult.mark()
    await pair.mentor.call("flag", conversation=pair.c, urgency="concern", note="hm")
    alert = await raised(adult, pair.c, since)
    assert await act(adult, alert, "acknowledge") == 200
    excerpt = await adult.http("GET", f"{path}?scope=excerpt")
    assert excerpt.status == 200
    for query in ("?scope=whole", "?scope=whole&reason=", "?scope=whole&reason=%20"):
        problem(await adult.http("GET", path + query), 422)
    problem(await adult.http("GET", f"{path}?scope=everything&reason=x"), 422)
    whole = await adult.http("GET", f"{path}?scope=whole&reason=checking%20what%20was%20said")
    assert whole.status == 200
    assert all(text in whole.body.decode() for text in texts)
    for session in (pair.pupil.session, pair.mentor.session):
        answer = await stage.server.call("GET", f"{path}?scope=excerpt", token=session.token)
        assert answer.status in {403, 404}


async def test_rule_16_each_reading_by_staff_has_a_row_in_the_log(stage: Stage, tmp_path: Path) -> None:
    """Rules 16 and 17: one row a reading, before its answer; a reading refused reads nothing; heads agree."""
    adult = await stage.adult()
    pair = await stage.pair()
    ack, _ = await held(pair.pupil, pair.c)
    await pair.mentor.call("flag", conversation=pair.c, urgency="concern", note="hm")
    (alert,) = [a for a in await items(adult, "/api/alerts") if a["conversation"] == pair.c]
    assert await act(adult, alert, "acknowledge") == 200
    path = f"/api/conversations/{pair.c}"

    def head() -> dict[str, Any]:
        status, head = stage.demo.audit()
        assert status == 0
        return head

    before = head()["n"]
    await items(adult, "/api/review")
    await items(adult, "/api/alerts")
    assert (await adult.http("GET", f"{path}?scope=whole")).status == 422
    for n, query in enumerate(("?scope=excerpt", "?scope=whole&reason=checking"), 1):
        assert (await adult.http("GET", path + query)).status == 200
        assert head()["n"] == before + n
    moderator = await stage.moderator()
    await claim(moderator, await review_item(moderator, ack["message"]))
    now = head()
    assert now["n"] > before + 2, "a claim shows the text: it is logged"

    checkpoint = tmp_path / "checkpoint.json"
    checkpoint.write_text(json.dumps(now), encoding="utf-8")
    assert (await adult.http("GET", f"{path}?scope=excerpt")).status == 200
    option = ("--checkpoint", str(checkpoint))
    assert stage.demo.audit(*option)[0] == 0
    checkpoint.write_text(json.dumps({**now, "hash": "0" * len(now["hash"])}), encoding="utf-8")
    assert stage.demo.audit(*option)[0] == 1


@everywhere
async def test_staff_can_end_a_conversation(stage: Stage) -> None:
    moderator = await stage.moderator()
    pair = await stage.pair()
    answer = await moderator.http("POST", f"/api/conversations/{pair.c}/end", {})
    assert 200 <= answer.status < 300
    for client in (pair.pupil, pair.mentor):
        ended: Frame = await client.wait("ended", conversation=pair.c, timeout_s=WAIT_S)
        assert ended["why"]
