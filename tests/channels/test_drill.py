"""A drill on real channels: what leaves says that it is practice; the report says how it went."""

import json

from moderation.verdict import Risk
from peerchat import drills
from peerchat.channels.contact import Kind


async def test_every_message_of_a_drill_says_that_it_is_practice(staff):
    ada = await staff.adult(duty=True)
    await staff.contact(Kind.EMAIL, "ada@school.example", member=ada)
    await staff.contact(Kind.VOICE, "+441632960123", member=ada)
    await staff.contact(Kind.WEBHOOK, f"{staff.hooks.url}/hook")
    staff.hooks.statuses = [500]
    alert = await staff.store.write(
        lambda tx: drills.started(tx, staff.site, by="command line", risk=Risk.IMMEDIATE)
    )
    await staff.desk.sweep()
    [mail] = staff.mail.mails
    assert "Practice" in mail.message["Subject"] and b"This is practice" in mail.raw
    for hook in staff.hooks.hooks:
        assert b"ractice" in hook.body, hook.path
    [hook] = [h for h in staff.hooks.hooks if h.path == "/hook"]
    assert json.loads(hook.body)["type"] == "practice"
    report = await staff.store.read(lambda tx: drills.report(tx, alert))
    [rung] = report["rungs"]
    assert (rung["rung"], rung["told_s"]) == (0, 0)
    outcomes = {each["channel"]: each["outcome"] for each in rung["channels"]}
    assert set(outcomes) == {"in_app", "email", "voice", "webhook"} and outcomes["email"] == "ok"
