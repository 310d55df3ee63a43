"""The whole story in a real Chromium, against a real server: from a card's code to a closed alert.

Each person has a browser of their own. What is asserted is what they see: words, roles, states. The pictures
of the main moments are in the `shots` folder.
"""

import asyncio
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from playwright.async_api import expect

from tests.browser.people import Adult, Mentor, Moderator, Pupil, Stage, until
from tests.support.proxy import BufferingProxy
from tests.support.server import DemoServer
from tests.support.stage import DISCLOSURES, INSULTS

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(180),  # a server, a browser and up to five people, on a machine that others use too
]

NEUTRAL_TITLES = {"", "\u200b", "Common Room"}
"""All that a pupil's window may be called: the service's name, or nothing once they have left."""

HELLO = "hi, nobody sat with me at lunch again"
ANSWER = "That sounds lonely. Thank you for telling me."
NUMBER = "the chess club is on Fridays, ring 01632 960001"
WITHOUT = "the chess club is on Fridays"
ADULT_SAYS = "Hello, I'm the adult here today. I'm glad you said it. You don't have to explain anything."
PUPIL_SAYS = "thank you for coming"
NOTE = "We sat in the library until the bus came."
RATIONALE = "Safe at home, and we meet on Thursday."


async def test_from_a_card_to_a_closed_alert(demo: DemoServer, stage: Stage) -> None:
    """Five people: chat, an insult, a phone number, a disclosure, the adult who comes, and the end."""
    who, url = demo.credentials, demo.url
    pupil = await stage.person(Pupil, "pupil", url, phone=True)
    mentor = await stage.person(Mentor, "mentor", url)
    moderator = await stage.person(Moderator, "moderator", url)
    adult = await stage.person(Adult, "adult", url)
    second = await stage.person(Adult, "second", url)

    # The adults are there. The first one's duty is kept up by the demo, until that one takes it here.
    await asyncio.gather(
        moderator.signs_in(who["moderators"][0]),
        adult.signs_in(who["adults"][0]),
        second.signs_in(who["adults"][1]),
        mentor.signs_in(who["mentors"][0]),
    )
    await adult.takes_duty()
    await adult.sees("All quiet")
    quiet = await adult.page.title()

    # A pupil with a card, and a wait that says what is known.
    await pupil.opens("/")
    await pupil.shot("story-01-sign-in")
    await pupil.signs_in(who["pupils"][0]["code"])
    await pupil.chooses("Friends", "Someone being unkind")
    await pupil.shot("story-02-ask")
    await pupil.asks()
    await expect(pupil.heading("We’re finding someone for you")).to_be_visible()
    await pupil.sees("You’re next in line")
    await pupil.shot("story-03-waiting")
    await mentor.shot("story-04-before-a-shift")
    await mentor.starts()
    tree, bird = await pupil.is_paired(), await mentor.is_paired()
    assert tree != bird
    await mentor.sees("Friends")
    await pupil.sees("They can’t see your name")

    # Both ways.
    await pupil.says(HELLO)
    await mentor.hears(HELLO)
    await mentor.says(ANSWER)
    await pupil.hears(ANSWER)
    await pupil.shot("story-05-chat")

    # A phone number is left out: marked, explained, changed, sent.
    blocked = await pupil.writes(NUMBER)
    await expect(blocked).to_have_attribute("data-status", "blocked")
    await expect(blocked.locator("mark")).to_have_text("01632 960001")
    await pupil.sees("There’s a phone number in it.", within=pupil.log)
    await pupil.sees("You’re not in trouble.", within=pupil.log)
    await pupil.shot("story-06-blocked")
    await pupil.presses(pupil.button("Change it", within=pupil.log).last)
    await expect(pupil.box).to_have_value(NUMBER)
    await pupil.says(WITHOUT)
    await mentor.hears(WITHOUT)

    # An insult waits for a person, and its writer is not scolded.
    insult = INSULTS[0]
    held = await pupil.writes(insult)
    await expect(held).to_have_attribute("data-status", "held")
    await pupil.sees("An adult is looking at this first", within=held)
    await pupil.sees("You can keep writing", within=pupil.log)
    await pupil.shot("story-07-held")
    await expect(mentor.bubble(insult)).to_have_count(0)
    row = moderator.page.locator("#queue button")
    await expect(row).to_have_count(1)
    await moderator.sees("Pupil wrote", within=row)
    assert insult not in await moderator.page.content(), "the words are there before anybody asked"
    await moderator.shot("story-08-queue")
    await moderator.reads()
    assert insult not in await moderator.page.content(), "blurred words are in the page"
    await moderator.button("Show the hard words").click()
    await moderator.sees("you are a worthless idiot", within=moderator.words)
    await expect(moderator.page.locator("#reasons li").first).to_contain_text("insult", ignore_case=True)
    await moderator.shot("story-09-read")
    await moderator.lets_through()
    await mentor.hears(insult)
    await expect(held).to_have_attribute("data-status", "delivered")
    await pupil.sees("after an adult looked", within=held)
    await expect(moderator.heading("Nothing to review").first).to_be_visible()

    # A disclosure: help at once for the one, an alarm for the other, and the truth for the third.
    disclosure = DISCLOSURES[0]
    risky = await pupil.writes(disclosure)
    await expect(risky).to_have_attribute("data-status", "held")
    support = pupil.log.locator("section.support")
    await expect(support).to_have_count(1)
    await expect(support.get_by_role("heading", name="Thank you for saying it")).to_be_visible()
    numbers = support.get_by_role("link")
    for phone in ("tel:08001111", "sms:85258?&body=SHOUT", "tel:116123", "tel:999"):
        await expect(support.locator(f'a[href="{phone}"]')).to_be_visible()
    await expect(numbers.last).to_have_attribute("href", "tel:999")
    await pupil.sees("We’ve asked an adult at your school to look", within=pupil.log)
    await pupil.shot("story-10-support")
    await expect(adult.alarm).to_contain_text(f"{bird} may be in danger")
    await expect(adult.alarm).to_contain_text("Hurting themselves")
    await expect(adult.page).to_have_title(re.compile("Someone needs you"))
    await expect(second.alarm).to_contain_text(f"{bird} may be in danger")
    assert disclosure not in await adult.page.content(), "the alarm carries the words"
    await adult.shot("story-11-alarm")
    await mentor.sees("An adult is reading something with us", within=mentor.log)
    seen = await mentor.page.content()
    assert disclosure not in seen and "kill myself" not in seen, "the mentor has the words"
    assert "self_harm" not in seen and "urting themselves" not in seen, "the mentor has the label"
    await mentor.shot("story-12-mentor-waits")
    await expect(pupil.page.get_by_text("An adult at your school has this")).to_have_count(0)

    # Somebody takes it on, and only then is that said.
    await adult.button("I’ve got this", within=adult.page.locator("#alarms")).click()
    await expect(adult.alarm).to_have_count(0)
    await expect(second.alarm).to_have_count(0)
    await expect(adult.page).to_have_title(quiet)
    await pupil.sees("An adult at your school has this", within=pupil.log)
    await mentor.sees("An adult has this", within=mentor.log)
    await expect(adult.heading(f"{bird} may be in danger")).to_be_visible()
    await expect(adult.heading("Now do one thing")).to_be_visible()
    await adult.sees(disclosure, within=adult.page.locator("#excerpt"))
    await adult.shot("story-13-case")

    # The adult comes into the chat, seen by both.
    await adult.page.locator('#now [data-do="join"]').click()
    for talker in (pupil, mentor):
        await expect(talker.log.get_by_role("heading", name="Ms Okafor has joined")).to_be_visible()
    await adult.says(ADULT_SAYS)
    for talker in (pupil, mentor):
        await talker.hears(ADULT_SAYS)
    await pupil.sees("Ms Okafor, adult at school", within=pupil.log)
    await pupil.says(PUPIL_SAYS)
    await adult.sees(PUPIL_SAYS, within=adult.page.locator("#chat"))
    await pupil.shot("story-14-adult-is-here")
    await mentor.shot("story-15-mentor-with-adult")
    await adult.shot("story-16-desk-in-the-chat")

    # The held text gets its outcome; what was done is written down.
    card = adult.page.locator(".heldcard")
    await expect(adult.page.locator("#close-held")).to_contain_text("A held text has to be decided first.")
    await adult.button("Read it and decide", within=card).click()
    await expect(card.locator("blockquote mark").nth(1)).to_contain_text("kill myself")
    await card.get_by_role("button", name="Don’t send").click()
    await adult.sees("Not sending it.", within=card)  # and may still be undone
    await adult.page.get_by_label("What", exact=True).select_option(label="Spoke with pupil")
    await adult.page.get_by_label("More about it").fill(NOTE)
    await adult.button("Save it in the record").click()
    await expect(await adult.happened("Spoke with pupil")).to_contain_text(NOTE)
    await adult.page.get_by_label("Add a note").fill(NOTE)
    await adult.button("Save note").click()
    await adult.happened("Note")
    await adult.sees("It was not sent. The sender is told why.", within=card)
    await expect(risky).to_have_attribute("data-status", "withheld")
    await pupil.sees("You did nothing wrong by writing it.", within=pupil.log)
    await risky.scroll_into_view_if_needed()
    await pupil.shot("story-17-decided")

    # Closing wants two.
    await adult.page.get_by_label("Outcome").select_option(label="Safe, support agreed")
    await adult.page.get_by_label("Why it is right to close").fill(RATIONALE)
    await adult.button("Send to another adult to agree").click()
    await adult.sees("Another adult has to agree.")
    await adult.shot("story-18-proposed")
    await second.presses(second.page.locator("#alerts button"))
    await second.sees("Ms Okafor proposes to close it")
    await second.sees(RATIONALE)
    await second.shot("story-19-second-adult")
    await second.presses(second.button("Agree, and close it"))
    for each in (adult, second):
        await expect(each.page.locator("#case-badges")).to_contain_text("Closed")
        await each.happened("Closed")
    await second.shot("story-20-closed")

    # The pupil goes, and says how it was. The mentor is thanked.
    await pupil.presses(pupil.button("Help"))
    await pupil.presses(pupil.button("End this chat"))
    await pupil.presses(pupil.button("End the chat"))
    await expect(pupil.heading("The chat has ended")).to_be_visible()
    await pupil.presses(pupil.button("Yes"))
    await pupil.presses(pupil.page.locator("#after .scale label").nth(3))
    await pupil.shot("story-21-afterwards")
    await pupil.presses(pupil.button("Done"))
    await expect(pupil.heading("What’s on your mind?")).to_be_visible()
    await mentor.sees("The chat has ended", within=mentor.log)
    await mentor.button("Close this chat").click()
    await expect(mentor.heading("Take a minute for you")).to_be_visible()
    await mentor.shot("story-22-mentor-afterwards")

    await leaves_without_a_trace(pupil)
    assert pupil.watch.titles <= NEUTRAL_TITLES | {"Weather"}, pupil.watch.titles
    texts = [HELLO, ANSWER, insult, NUMBER, WITHOUT, disclosure, ADULT_SAYS, PUPIL_SAYS, NOTE, RATIONALE]
    for person in stage.people:
        person.watch.check([*texts, *secrets_of(demo)])
        for title in person.watch.titles:
            assert bird not in title and tree not in title


async def leaves_without_a_trace(pupil: Pupil) -> None:
    """One press: blank, away, and signed out. Back shows the sign-in and nothing else."""
    await pupil.opens("/")  # the card's address once more: it leads on to the chat page, one step further
    await expect(pupil.heading("What’s on your mind?")).to_be_visible()
    await pupil.presses(pupil.button("Leave this page").first)
    await pupil.page.wait_for_url(pupil.watch.neutral)
    assert pupil.watch.left_behind == "", "the page was not blank while it went away"
    await until(lambda: signed_out(pupil), "the session ends in the background")
    await pupil.page.go_back()
    await expect(pupil.heading("Hello. Have you got your card?")).to_be_visible()
    await expect(pupil.page.get_by_label("Your code")).to_have_value("")
    assert urlsplit(pupil.page.url).path == "/"
    await pupil.shot("story-23-back-after-leaving")


async def signed_out(pupil: Pupil) -> bool:
    answer = await pupil.page.context.request.get(f"{pupil.watch.origin}/chat", max_redirects=0)
    return answer.status == 303


def secrets_of(demo: DemoServer) -> Iterator[str]:
    """Yield what opens a session: none of it may be in an address."""
    for people in demo.credentials.values():
        if isinstance(people, list):
            yield from (each[key] for each in people for key in ("code", "password") if key in each)


async def test_nobody_on_duty_pauses_and_an_adult_back_resumes(demo: DemoServer, stage: Stage) -> None:
    """Both are told why, with helplines for the pupil; what is written meanwhile is kept and delivered."""
    who, url = demo.credentials, demo.url
    pupil = await stage.person(Pupil, "pupil", url, phone=True)
    mentor = await stage.person(Mentor, "mentor", url)
    adult = await stage.person(Adult, "adult", url)
    await asyncio.gather(
        pupil.signs_in(who["pupils"][0]["code"]),
        mentor.signs_in(who["mentors"][0]),
        adult.signs_in(who["adults"][0]),
    )
    await mentor.starts()
    await pupil.asks()
    await pupil.is_paired()
    await pupil.says(HELLO)
    await mentor.hears(HELLO)

    await adult.takes_duty()
    await adult.ends_duty()
    await adult.sees("Until one is, nobody can start a chat and open chats wait.")
    await adult.sees("1 chat waits until an adult is on duty.")
    for talker in (pupil, mentor):
        await expect(talker.log.get_by_role("heading", name="We’ve had to pause")).to_be_visible()
        await talker.sees("No adult is on duty just now, and we don’t run without one.", within=talker.log)
    card = pupil.log.locator("section.support")
    await expect(card.locator('a[href="tel:08001111"]')).to_be_visible()
    await expect(card.get_by_role("link").last).to_have_attribute("href", "tel:999")
    await mentor.sees("No adult is on duty, so chats are paused.")
    kept = await pupil.writes(PUPIL_SAYS)
    await expect(kept).to_have_attribute("data-status", "held")
    await pupil.sees("Kept safe until we start again", within=kept)
    await pupil.shot("duty-01-paused-pupil")
    await mentor.shot("duty-02-paused-mentor")
    await adult.shot("duty-03-off-duty")
    await expect(mentor.bubble(PUPIL_SAYS)).to_have_count(0)

    await adult.takes_duty()
    for talker in (pupil, mentor):
        await talker.sees("We’re going again.", within=talker.log)
    await mentor.hears(PUPIL_SAYS)
    await expect(kept).to_have_attribute("data-status", "delivered")
    await pupil.shot("duty-04-resumed-pupil")
    await pupil.says(WITHOUT)
    await mentor.hears(WITHOUT)
    for person in stage.people:
        person.watch.check([HELLO, PUPIL_SAYS, WITHOUT, *secrets_of(demo)])


async def test_a_network_that_refuses_websockets(demo: DemoServer, stage: Stage) -> None:
    """Behind a proxy that turns upgrades away the page finds out by itself, and everything works."""
    who = demo.credentials
    async with BufferingProxy(demo.port) as proxy:
        pupil = await stage.person(Pupil, "pupil", demo.url, phone=True, proxy=proxy.url)
        mentor = await stage.person(Mentor, "mentor", demo.url, proxy=proxy.url)
        await asyncio.gather(pupil.signs_in(who["pupils"][0]["code"]), mentor.signs_in(who["mentors"][0]))
        await mentor.starts()
        await pupil.asks()
        await pupil.is_paired()
        await pupil.says(HELLO)
        await mentor.hears(HELLO)
        await mentor.says(ANSWER)
        await pupil.hears(ANSWER)
        held = await pupil.writes(INSULTS[0])
        await expect(held).to_have_attribute("data-status", "held")
        await expect(mentor.bubble(INSULTS[0])).to_have_count(0)
        await pupil.shot("polling-01-chat")
        assert proxy.refused >= pupil.watch.sockets >= 2, "it tries, and gives up trying"
        assert any("/api/frames?line=" in address for address in pupil.watch.addresses)

        # It remembers: the same tab asks for no socket again.
        tried = pupil.watch.sockets
        await pupil.page.reload()
        await pupil.hears(HELLO)
        await expect(pupil.bubble(INSULTS[0])).to_have_attribute("data-status", "held")
        await pupil.says(WITHOUT)
        await mentor.hears(WITHOUT)
        assert pupil.watch.sockets == tried
        for person in stage.people:
            person.watch.check(
                [HELLO, ANSWER, INSULTS[0], WITHOUT, *secrets_of(demo)],
                expected=lambda error: error.startswith("WebSocket connection to"),
            )


async def test_a_pupil_with_a_keyboard_and_help_in_two_presses(demo: DemoServer, stage: Stage) -> None:
    """From sign-in to a message, to an adult, and away, without a mouse; the focus is always to be seen."""
    who, url = demo.credentials, demo.url
    pupil = await stage.person(Pupil, "pupil", url)
    mentor = await stage.person(Mentor, "mentor", url)
    adult = await stage.person(Adult, "adult", url)
    await asyncio.gather(
        mentor.signs_in(who["mentors"][0]), adult.signs_in(who["adults"][0]), pupil.opens("/")
    )
    await adult.takes_duty()
    keys = pupil.page.keyboard

    stops = await pupil.reaches(pupil.page.get_by_label("Your code"))
    assert stops[:2] == ["Skip to the main part", "Leave this page"], "leaving is the second stop"
    await keys.type(who["pupils"][0]["code"].lower())
    await pupil.shot("keyboard-01-sign-in")
    await keys.press("Enter")
    await expect(pupil.heading("What’s on your mind?")).to_be_focused()
    await pupil.reaches(pupil.page.get_by_role("checkbox", name="Friends"))
    await keys.press("Space")
    await expect(pupil.page.get_by_role("checkbox", name="Friends")).to_be_checked()
    await pupil.shot("keyboard-02-ask")
    await pupil.reaches(pupil.button("Find someone"))
    await keys.press("Enter")
    await expect(pupil.heading("We’re finding someone for you")).to_be_focused()
    await mentor.starts()
    await expect(pupil.box).to_be_focused()
    await pupil.knows_where_to_leave()

    await keys.type("Hello")
    await keys.press("Shift+Enter")
    await keys.type(HELLO)
    await keys.press("Enter")
    await expect(pupil.bubble(f"Hello {HELLO}")).to_have_attribute("data-status", "delivered")
    await mentor.hears(f"Hello {HELLO}")
    await expect(pupil.box).to_be_focused()
    await pupil.shot("keyboard-03-chat")

    # Two presses to an adult.
    await pupil.reaches(pupil.button("Help"), backwards=True)
    await keys.press("Enter")
    sheet = pupil.page.get_by_role("dialog", name="Help")
    await expect(sheet.get_by_role("heading", name="Help")).to_be_focused()
    await pupil.reaches(pupil.button("I need an adult now", within=sheet))
    await pupil.shot("keyboard-04-help")
    await keys.press("Enter")
    await pupil.sees("We’re telling an adult now", within=sheet)
    await expect(adult.alarm).to_contain_text("may be in danger")
    await expect(adult.alarm).to_contain_text("asked for an adult")
    await expect(adult.page).to_have_title(re.compile("Someone needs you"))
    await pupil.shot("keyboard-05-told")
    await adult.button("I’ve got this", within=adult.page.locator("#alarms")).click()
    await pupil.sees("An adult at your school has this", within=sheet)
    await keys.press("Escape")
    await expect(sheet).to_be_hidden()
    await expect(pupil.button("Help")).to_be_focused()

    # Capitals never leave; Shift three times, alone, does.
    await pupil.reaches(pupil.box)
    await keys.type("OK THANK YOU")
    await keys.press("Enter")
    await mentor.hears("OK THANK YOU")
    for _ in range(3):
        await keys.press("Shift")
    await pupil.page.wait_for_url(pupil.watch.neutral)
    assert pupil.watch.left_behind == ""
    await until(lambda: signed_out(pupil), "the session ends in the background")
    assert pupil.watch.titles <= NEUTRAL_TITLES | {"Weather"}, pupil.watch.titles
    for person in stage.people:
        person.watch.check([HELLO, "OK THANK YOU", *secrets_of(demo)])
