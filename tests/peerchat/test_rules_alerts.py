"""Rules 8, 10 and 11, and what pupil and mentor are told: from the words or the press to the closed case."""

import pytest

from escalation.alert import AlertState
from moderation.verdict import Risk
from peerchat import setup
from peerchat.errors import CaseError, UnknownObject
from peerchat.model import Decision, ReviewState

OUTCOME = "safe, support agreed"


async def close(world, adult, alert, *, outcome=OUTCOME, rationale="spoke with them", version=None):
    """Close a case; return whether it is closed now."""
    _, ended = await world.cases.close(
        adult.actor, alert, outcome=outcome, rationale=rationale, version=version
    )
    await world.flush()
    return ended


# ---------------------------------------------------------------------------- rule 8


@pytest.mark.parametrize("risk", ["concern", "high", "immediate"])
@pytest.mark.parametrize("action", ["", "[hold] ", "[block] "])
async def test_rule_08_a_verdict_with_risk_has_its_alert(pair, risk, action):
    """Whatever becomes of the message: the alert names it, is about its sender, and is due at once."""
    ack = await pair.pupil.send(pair.c, f"{action}[{risk}] x")
    alert = await pair.world.alert()
    assert (alert.about, alert.conversation, alert.risk.word) == (pair.pupil.id, pair.c, risk)
    assert (alert.state, alert.next_due_at) == (AlertState.OPEN, pair.world.clock.now)
    events = await pair.world.read(lambda tx: tx.alerts.chronology(alert.id))
    assert [(e.kind, e.message) for e in events] == [("raised", ack["message"])]
    assert ack["support"]


@pytest.mark.parametrize("table", ["alert", "alert_event", "review_item", "verdict"])
async def test_rule_08_message_verdict_alert_and_item_are_one_transaction(pair, table):
    """Where one of them cannot be written, none is there, and the sender knows."""
    await pair.world.sql(
        f"CREATE TRIGGER broken BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'no'); END"
    )
    assert (await pair.pupil.send(pair.c, "[hold] [high] x"))["code"] == "unavailable"
    for left in ("message", "verdict", "alert", "alert_event", "review_item"):
        assert await pair.world.sql(f"SELECT count(*) FROM {left}") == [(0,)], left
    assert pair.pupil.help() == [] and pair.pupil.of("support") == []


@pytest.mark.parametrize(("urgency", "risk"), [("concern", Risk.CONCERN), ("emergency", Risk.IMMEDIATE)])
async def test_rule_08_a_flag_is_an_alert(pair, urgency, risk):
    """Answered after the commit by the alert's id; labelled as what somebody pressed."""
    done = await pair.mentor.says("flag", conversation=pair.c, urgency=urgency, note="worried")
    alert = await pair.world.alert()
    assert (alert.id, alert.risk, alert.labels, alert.about) == (
        done["alert"],
        risk,
        ("flag",),
        pair.pupil.id,
    )
    [event] = await pair.world.read(lambda tx: tx.alerts.chronology(alert.id))
    assert (event.by, event.note) == (pair.mentor.id, "worried")


async def test_rule_08_a_flag_needs_no_conversation_and_no_open_service(world):
    """Out of hours, with nobody on duty, alone: one press still tells an adult."""
    pupil = await world.pupil()
    done = await pupil.says("flag", conversation=None, urgency="emergency")
    assert (await world.alert()).id == done["alert"] and pupil.help() == ["asked"]
    assert (await world.alert()).about == pupil.id


async def test_rule_08_a_flag_that_was_not_stored_is_not_answered_done(pair):
    """The store refuses: an error says so."""
    await pair.world.sql("CREATE TRIGGER broken BEFORE INSERT ON alert BEGIN SELECT RAISE(ABORT, 'no'); END")
    assert (await pair.pupil.says("flag", conversation=pair.c, urgency="emergency"))["code"] == "unavailable"
    assert pair.pupil.of("done") == [] and pair.pupil.help() == []


async def test_rule_08_a_report_is_an_item_in_the_queue(pair):
    """One item for a message however often it is reported; nothing shows on the reported side."""
    ack = await pair.mentor.send(pair.c, "you again")
    known = len(pair.mentor.seen)
    for _ in range(2):
        done = await pair.pupil.says(
            "report", conversation=pair.c, message=ack["message"], reason="unkind", note="not nice"
        )
        assert done["type"] == "done"
    item = await pair.world.item(ack["message"])
    assert (item.kind.value, item.for_adults) == ("report", False)
    assert pair.mentor.seen[known:] == []
    assert {f["item"]["id"] for f in pair.moderator.of("review")} == {item.id}
    assert len(await pair.world.read(lambda tx: tx.reviews.reports(item.id))) == 2


async def test_rule_08_a_report_of_something_unsafe_goes_to_adults(pair):
    """Moderators do not even learn that it is there."""
    ack = await pair.mentor.send(pair.c, "meet me")
    await pair.pupil.says("report", conversation=pair.c, message=ack["message"], reason="unsafe")
    assert (await pair.world.item(ack["message"])).for_adults
    assert pair.moderator.of("review") == [] and len(pair.adult.of("review")) == 1


async def test_rule_08_the_same_two_fold_into_one_alert(pair):
    """Further words are evidence in the open alert, and a worse one raises its severity."""
    for text in ("[concern] a", "[concern] b", "[immediate] c", "[high] d"):
        await pair.pupil.send(pair.c, text)
    alert = await pair.world.alert()
    assert alert.risk is Risk.IMMEDIATE
    events = await pair.world.read(lambda tx: tx.alerts.chronology(alert.id))
    assert [e.kind for e in events] == ["raised", "evidence", "evidence", "evidence"]


async def test_rule_10_nothing_folds_into_a_closed_alert(pair):
    """The next words open a new one."""
    await pair.pupil.send(pair.c, "[high] a")
    first = await pair.world.alert()
    await pair.world.cases.acknowledge(pair.adult.actor, first.id)
    assert await close(pair.world, pair.adult, first.id)
    await pair.pupil.send(pair.c, "[high] b")
    states = [a.state for a in await pair.world.alerts()]
    assert states == [AlertState.CLOSED, AlertState.OPEN]


# ---------------------------------------------------------------------------- rule 11


async def test_rule_11_only_an_acknowledgement_stops_the_ladder(pair):
    """Told, told again, still asking; then taken on, and nothing more is due but the lease's end."""
    await pair.pupil.send(pair.c, "[immediate] x")
    assert await pair.world.sweep() == 1
    assert pair.pupil.help() == ["asked"]
    await pair.world.cases.shown(pair.adult.actor, (await pair.world.alert()).id)  # reading stops nothing
    await pair.world.later(pair.adult, minutes=2)
    assert await pair.world.sweep() == 1
    assert pair.pupil.help() == ["asked", "still_asking"]
    assert pair.mentor.help() == ["asked", "still_asking"]
    await pair.world.cases.acknowledge(pair.adult.actor, (await pair.world.alert()).id)
    await pair.world.flush()
    assert pair.pupil.help()[-1] == "has_it"
    await pair.world.later(pair.adult, minutes=9)
    assert await pair.world.sweep() == 0
    assert [f["change"] for f in pair.adult.of("alert")] == ["raised", "climbed", "acknowledged"]


async def test_rule_11_an_acknowledgement_without_an_action_lapses(pair):
    """After ten minutes the ladder goes on at its rung, and whoever waits is told the truth."""
    await pair.pupil.send(pair.c, "[immediate] x")
    await pair.world.sweep()
    await pair.world.later(pair.adult, minutes=2)
    await pair.world.sweep()
    await pair.world.cases.acknowledge(pair.adult.actor, (await pair.world.alert()).id)
    await pair.world.later(pair.adult, minutes=10)
    assert await pair.world.sweep() == 1
    alert = await pair.world.alert()
    assert (alert.state, alert.rung, alert.holder) == (AlertState.NOTIFYING, 1, None)
    assert pair.pupil.help()[-1] == "still_asking"


async def test_rule_11_a_second_adult_does_not_take_what_another_has(pair):
    """One holder; who holds it may say so twice."""
    other = await pair.world.adult()
    await pair.pupil.send(pair.c, "[high] x")
    alert = (await pair.world.alert()).id
    await pair.world.cases.acknowledge(pair.adult.actor, alert)
    await pair.world.cases.acknowledge(pair.adult.actor, alert)
    with pytest.raises(CaseError, match="another adult"):
        await pair.world.cases.acknowledge(other.actor, alert)
    assert (await pair.world.alert()).holder == pair.adult.id


async def test_rule_11_closing_needs_outcome_rationale_and_an_acknowledgement(pair):
    """All three stay in the case with their author."""
    await pair.pupil.send(pair.c, "[high] x")
    alert = (await pair.world.alert()).id
    with pytest.raises(CaseError, match="take the alert on"):
        await close(pair.world, pair.adult, alert)
    await pair.world.cases.acknowledge(pair.adult.actor, alert)
    for missing in ({"outcome": " "}, {"rationale": "\n"}):
        with pytest.raises(CaseError, match="outcome and a rationale"):
            await close(pair.world, pair.adult, alert, **missing)
    assert await close(pair.world, pair.adult, alert, rationale="spoke, is safe")
    events = await pair.world.read(lambda tx: tx.alerts.chronology(alert))
    last = events[-1]
    assert (last.kind, last.by) == ("closed", pair.adult.id)
    assert last.note is not None and OUTCOME in last.note and "spoke, is safe" in last.note
    closed = await pair.world.alert()
    assert (closed.state, closed.next_due_at) == (AlertState.CLOSED, None)
    for again in (pair.world.cases.acknowledge, pair.world.cases.join):
        with pytest.raises(CaseError):
            await again(pair.adult.actor, alert)


async def test_rule_11_closing_is_refused_when_it_is_stale(pair):
    """The version that was read is the version that is closed."""
    await pair.pupil.send(pair.c, "[high] x")
    alert = (await pair.world.alert()).id
    row = await pair.world.cases.acknowledge(pair.adult.actor, alert)
    await pair.pupil.send(pair.c, "[high] and one more thing")
    with pytest.raises(CaseError, match="changed"):
        await close(pair.world, pair.adult, alert, version=row["version"])


async def test_rule_11_an_immediate_alert_needs_two_signatures(pair):
    """One adult's do not close it, however often; another's of the same outcome does."""
    other = await pair.world.adult()
    await pair.pupil.send(pair.c, "[immediate] x")
    alert = (await pair.world.alert()).id
    await pair.world.cases.acknowledge(pair.adult.actor, alert)
    assert not await close(pair.world, pair.adult, alert)
    assert not await close(pair.world, pair.adult, alert)
    assert not await close(pair.world, other, alert, outcome="referred on")
    assert (await pair.world.alert()).state is AlertState.IN_HAND
    assert not await close(pair.world, pair.adult, alert)
    assert await close(pair.world, other, alert)
    events = await pair.world.read(lambda tx: tx.alerts.chronology(alert))
    signed = [(e.kind, e.by) for e in events if e.kind in ("close_proposed", "closed")]
    assert signed[-2:] == [("close_proposed", pair.adult.id), ("closed", other.id)]


async def test_rule_11_new_evidence_voids_the_first_signature(pair):
    """Whoever signed had not read it."""
    other = await pair.world.adult()
    await pair.pupil.send(pair.c, "[immediate] x")
    alert = (await pair.world.alert()).id
    await pair.world.cases.acknowledge(pair.adult.actor, alert)
    assert not await close(pair.world, pair.adult, alert)
    await pair.pupil.send(pair.c, "[high] there is more")
    assert not await close(pair.world, other, alert)
    assert await close(pair.world, pair.adult, alert)


async def test_rule_11_an_alert_does_not_exist_for_whom_it_is_about(pair):
    """Not in the list, not by id, not told; the others go on as usual."""
    other = await pair.world.adult()
    item = await report_on_adult(pair)
    await pair.world.review.claim(other.actor, item)
    await pair.world.review.decide(
        other.actor, item, decision=Decision.ESCALATE, reason="unsafe", note="about a colleague"
    )
    await pair.world.sweep()
    about = next(a for a in await pair.world.alerts() if a.about == pair.adult.id)
    for step in (
        pair.world.cases.acknowledge(pair.adult.actor, about.id),
        pair.world.cases.join(pair.adult.actor, about.id),
        pair.world.cases.shown(pair.adult.actor, about.id),
        pair.world.cases.note(pair.adult.actor, about.id, "mine"),
        pair.world.cases.act(pair.adult.actor, about.id, "told the head", None),
        pair.world.cases.close(
            pair.adult.actor, about.id, outcome=OUTCOME, rationale="nothing", version=None
        ),
    ):
        with pytest.raises(UnknownObject):
            await step
    assert about.id not in await listed(pair.world, pair.adult)
    assert about.id not in str(pair.adult.seen)
    assert about.id in await listed(pair.world, other)
    assert (await pair.world.cases.acknowledge(other.actor, about.id))["state"] == "acknowledged"


async def listed(world, adult):
    """Return the ids of the alerts that an adult may know of."""
    rows, _ = await world.cases.listed(adult.actor, list(AlertState), limit=50, offset=0)
    return [row["id"] for row in rows]


async def report_on_adult(pair):
    """Let the adult join the chat and the pupil report what the adult says there; return the item's id."""
    await pair.pupil.says("flag", conversation=pair.c, urgency="emergency")
    await pair.world.cases.join(pair.adult.actor, (await pair.world.alert()).id)
    ack = await pair.adult.send(pair.c, "come to my room alone")
    await pair.pupil.says(
        "report", conversation=pair.c, message=ack["message"], reason="unsafe", note="scared"
    )
    return (await pair.world.item(ack["message"])).id


async def test_rule_11_a_report_about_an_adult_does_not_exist_for_that_adult(pair):
    """Its subject neither sees it in the queue, nor is told, nor reads who reported, nor decides."""
    other = await pair.world.adult()
    known = len(pair.adult.seen)
    item = await report_on_adult(pair)
    assert item not in str(pair.adult.seen[known:])
    mine, _ = await pair.world.review.queue(pair.adult.actor, states=list(ReviewState), limit=50, offset=0)
    assert item not in [row["id"] for row in mine]
    with pytest.raises(Exception, match="no such item"):
        await pair.world.review.claim(pair.adult.actor, item)
    theirs, _ = await pair.world.review.queue(other.actor, states=list(ReviewState), limit=50, offset=0)
    assert item in [row["id"] for row in theirs]


async def test_rule_11_another_site_s_adult_knows_nothing(pair):
    """Queries are scoped to the site."""
    await pair.pupil.send(pair.c, "[hold] [high] x")
    site, pair.world.site = (
        pair.world.site,
        await pair.world.store.write(
            lambda tx: setup.add_site(tx, name="Elsewhere", service_name="Elsewhere")
        ),
    )
    stranger = await pair.world.adult()
    pair.world.site = site
    await pair.world.sweep()
    alert = await pair.world.alert()
    assert await listed(pair.world, stranger) == []
    with pytest.raises(UnknownObject):
        await pair.world.cases.acknowledge(stranger.actor, alert.id)
    with pytest.raises(UnknownObject):
        await pair.world.cases.transcript(stranger.actor, pair.c, reason=None, whole=False)
    assert stranger.of("alert", "review") == []


# ---------------------------------------------------------------------------- who is told what


async def test_an_alert_about_a_mentor_is_discreet(pair):
    """The mentor gets no help frame: not when it is raised, climbs, is taken on, or on a new line."""
    await pair.mentor.send(pair.c, "[immediate] where do you live")
    await pair.world.sweep()
    alert = await pair.world.alert()
    assert alert.about == pair.mentor.id and alert.discreet
    await pair.world.later(pair.adult, minutes=3)
    await pair.world.sweep()
    await pair.world.cases.acknowledge(pair.adult.actor, alert.id)
    await pair.mentor.again()
    for person in (pair.mentor, pair.pupil):
        assert person.of("help", "alert", "support") == []
    assert pair.adult.of("alert")


async def test_what_a_pupil_asks_for_is_shown_to_that_pupil_alone(pair):
    """The partner may be the reason."""
    await pair.pupil.says("flag", conversation=pair.c, urgency="emergency")
    await pair.world.sweep()
    await pair.world.cases.acknowledge(pair.adult.actor, (await pair.world.alert()).id)
    await pair.world.flush()
    assert pair.pupil.help() == ["asked", "has_it"]
    assert pair.mentor.help() == []
    assert [f["state"] for f in await pair.pupil.again() if f["type"] == "help"] == ["has_it"]
    assert [f["state"] for f in await pair.mentor.again() if f["type"] == "help"] == []


async def test_has_it_is_never_said_before_an_acknowledgement(pair):
    """Only what the record says."""
    await pair.pupil.send(pair.c, "[immediate] x")
    for _ in range(12):
        await pair.world.later(pair.adult, minutes=1)
        await pair.world.sweep()
    assert set(pair.pupil.help()) == {"asked", "still_asking"}
    await pair.world.cases.join(pair.adult.actor, (await pair.world.alert()).id)
    await pair.world.flush()
    assert pair.pupil.help()[-1] == "here" and pair.mentor.help()[-1] == "here"
    assert pair.pupil.of("joined")[-1]["member"]["role"] == "adult"


async def test_new_evidence_after_an_acknowledgement_notifies_again(pair):
    """Whoever has it keeps it; what is worse needs a new acknowledgement, and the pupil is told the truth."""
    await pair.pupil.send(pair.c, "[high] x")
    await pair.world.sweep()
    alert = (await pair.world.alert()).id
    await pair.world.cases.acknowledge(pair.adult.actor, alert)
    await pair.pupil.send(pair.c, "[high] more")
    assert await pair.world.sweep() == 1
    assert (await pair.world.alert()).state is AlertState.ACKNOWLEDGED
    await pair.pupil.send(pair.c, "[immediate] worse")
    assert (await pair.world.alert()).state is AlertState.NOTIFYING
    assert pair.pupil.help()[-1] == "asked"
    assert await pair.world.sweep() == 1


async def test_no_text_and_no_name_goes_out_with_an_alert(pair):
    """The frame says that somebody is needed, and nothing of what was said."""
    await pair.pupil.send(pair.c, "[immediate] SECRETWORDS")
    await pair.world.sweep()
    assert "SECRETWORDS" not in str(pair.adult.of("alert", "review"))
    assert pair.pupil.id not in str(pair.adult.of("alert"))
