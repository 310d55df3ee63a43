"""What a security review broke once: each attack stays refused."""

from escalation.alert import AlertState
from escalation.duty import LEASE, LONGEST_LEASE
from moderation.verdict import Role
from peerchat.frames import Send
from peerchat.review import WITH_ADULTS


async def test_rule_02_messages_of_one_batch_are_judged_with_each_other(pair):
    """A number in pieces, written without waiting for acks, is seen as what it is: one after the other."""
    talk = pair.mentor.talk
    for ref in ("07700", "900", "123"):
        talk.posting()
        frame = Send(conversation=pair.c, id=ref, text=ref, ref=ref)
        pair.world.chat.post(pair.mentor.actor, talk.line.id, frame, done=talk.posted)
    await pair.world.flush()
    last = pair.world.judge.seen[-1]
    assert last.text == "123"
    assert [turn.text for turn in last.recent][-2:] == ["07700", "900"]


async def test_rule_11_a_partner_cannot_learn_that_a_pupil_has_asked_for_an_adult(pair):
    """A mentor's own flag answers with another id, and the pupil's stays discreet."""
    await pair.pupil.says("flag", conversation=pair.c, urgency="emergency")
    heard = len(pair.mentor.help())
    done = await pair.mentor.says("flag", conversation=pair.c, urgency="concern")
    alerts = {alert.id: alert for alert in await pair.world.alerts()}
    assert len(alerts) == 2
    assert not alerts[done["alert"]].discreet
    other = next(alert for alert in alerts.values() if alert.id != done["alert"])
    assert other.discreet
    assert len(pair.mentor.help()) == heard


async def test_rule_19_a_moderator_never_reads_what_is_with_the_adults(pair):
    """Neither in the context of another item nor in the transcript."""
    await pair.pupil.send(pair.c, "[hold] [high] what only adults may read")
    ack = await pair.pupil.send(pair.c, "[hold] unkind words")
    item = await pair.world.item(ack["message"])
    shown = await pair.world.review.claim(pair.moderator.actor, item.id)
    assert [line["text"] for line in shown["context"]][-1] == WITH_ADULTS
    whole = await pair.world.cases.transcript(pair.moderator.actor, pair.c, reason="to see", whole=True)
    assert "what only adults may read" not in str(whole) and WITH_ADULTS in str(whole)
    adults = await pair.world.cases.transcript(pair.adult.actor, pair.c, reason="to see", whole=True)
    assert "what only adults may read" in str(adults)


async def test_rule_09_an_alert_that_cannot_be_stepped_silences_no_other(pair):
    """A row that nobody can read is told loudly as what it is; the other alert is told all the same."""
    await pair.pupil.says("flag", conversation=pair.c, urgency="concern")
    [broken] = await pair.world.alerts()
    await pair.world.write(
        lambda tx: tx.connection.exec_driver_sql("UPDATE alert SET about_role = 'nonsense'").close()
    )
    other = await pair.mentor.says("flag", urgency="emergency")
    assert await pair.world.sweep() == 2
    told = {row[0] for row in await pair.world.sql("SELECT DISTINCT alert FROM attempt WHERE outcome = 'ok'")}
    assert told == {broken.id, other["alert"]}
    shown = {f["alert"]["id"]: f["alert"] for f in pair.adult.of("alert")}
    assert shown[broken.id]["labels"] == ["unreadable"] and shown[broken.id]["risk"] == "immediate"
    rows, _ = await pair.world.cases.listed(pair.adult.actor, list(AlertState), limit=50, offset=0)
    assert {row["id"] for row in rows} == {broken.id, other["alert"]}


async def test_rule_12_a_clock_that_was_ahead_keeps_nobody_on_duty(world):
    """A lease taken a day ahead does not count once the clock is right, nor does renewing keep it so far."""
    adult = await world.adult()
    world.clock.advance(days=1)
    await adult.says("duty", on=True)
    world.clock.advance(days=-1)
    assert not await world.read(lambda tx: tx.duty.covered(world.site))
    until = await world.write(lambda tx: tx.duty.take(adult.id, Role.ADULT, world.site, lease=LEASE))
    assert until - world.clock() == LEASE < LONGEST_LEASE
    world.clock.advance(minutes=5)
    assert not await world.read(lambda tx: tx.duty.covered(world.site))


async def test_rule_07_a_report_said_again_is_one_job(pair):
    """However often a member reports a conversation, one person has one item to look at."""
    for _ in range(3):
        await pair.pupil.says("report", conversation=pair.c, reason="unkind")
    rows = await pair.world.sql("SELECT count(*) FROM review_item WHERE message IS NULL")
    assert rows == [(1,)]


async def test_a_welcome_is_bounded(pair):
    """Hundreds of held messages do not come back with every line that opens."""
    for n in range(130):
        await pair.pupil.send(pair.c, f"[hold] number {n}")
    again = await pair.pupil.again()
    own = [frame for frame in again if frame["type"] == "own"]
    assert len(own) == 100 and own[-1]["text"] == "[hold] number 129"
