"""Remake the pictures of docs/images from a real server and a real Chromium:

    .venv/bin/python -m tests.browser.pictures

It plays two chats in a demo school and photographs a pupil's phone, a moderator's queue and the adult's desk.
The aliases are made anew each time; look at the pictures before you keep them.
"""

import asyncio
import sys
import tempfile
from pathlib import Path

from playwright.async_api import Page, expect

from tests.browser.people import Adult, Mentor, Moderator, Pupil, Stage
from tests.support.server import ROOT, DemoServer
from tools import browser

IMAGES = ROOT / "docs" / "images"
MOST_BYTES = 250_000


async def main() -> int:
    """Make all three; return an exit status."""
    chromium = browser.find()
    if chromium is None:
        print("no Chromium here: `make browser` says why", file=sys.stderr)
        return 1
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        demo = DemoServer(Path(folder))
        try:
            demo.start()
            async with Stage(chromium, shots=None) as stage:
                await play(demo, stage)
        finally:
            demo.kill()
    return 0


async def play(demo: DemoServer, stage: Stage) -> None:
    """Two chats, one after the other paired, and three pictures on the way."""
    who, url = demo.credentials, demo.url
    pupils = [await stage.person(Pupil, f"pupil{n}", url, phone=True) for n in range(2)]
    mentors = [await stage.person(Mentor, f"mentor{n}", url) for n in range(2)]
    moderator = await stage.person(Moderator, "moderator", url)
    adult = await stage.person(Adult, "adult", url)
    await moderator.signs_in(who["moderators"][0])
    await adult.signs_in(who["adults"][0])
    await adult.takes_duty()
    for n, topic in enumerate(("Friends", "School work")):
        await mentors[n].signs_in(who["mentors"][n])
        await mentors[n].starts()
        await pupils[n].signs_in(who["pupils"][n]["code"])
        await pupils[n].chooses(topic)
        await pupils[n].asks()
        await pupils[n].is_paired()
        await mentors[n].is_paired()
    first, second = pupils
    one, two = mentors

    # For the queue: an insult, one number that its sender thinks should go, one report.
    await second.says("i've got three exams next week and i can't start")
    await two.says("That is a lot at once. Which bit worries you most?")
    await second.writes("you idiot, you don't get it at all")
    await second.sees("An adult is looking at this first", within=second.log)
    await first.says("hi. nobody sat with me at lunch again")
    await one.says("That sounds lonely. Thank you for telling me.")
    await first.writes("the chess club is on Fridays, ring 01632 960001")
    await first.presses(first.button("Ask an adult to look again", within=first.log))
    await first.sees("An adult will look again", within=first.log)
    await first.presses(first.button("Help"))
    await first.presses(first.button("Something here isn’t OK"))
    await first.page.get_by_role("radio", name="Something else").check()
    await first.presses(first.button("Tell the adults"))
    await expect(moderator.page.locator("#queue button")).to_have_count(3)

    # A message that an adult reads first, with help at once.
    await one.says("I've got time. You can tell me as much as you like.")
    held = await first.writes("i don't want to be here any more")
    await expect(held).to_have_attribute("data-status", "held")
    await expect(first.log.get_by_role("heading", name="Thank you for saying it")).to_be_visible()
    await first.sees("We’ve asked an adult at your school to look", within=first.log)
    await expect(first.page.locator(".toast")).to_have_count(0)
    await picture(first.page, "pupil-chat")

    # The desk: one alert waits, one is taken on.
    await two.button("Tell an adult now").click()
    await expect(adult.alarm).to_be_visible()
    await adult.button("I’ve got this", within=adult.page.locator("#alarms")).click()
    await expect(adult.heading("Now do one thing")).to_be_visible()
    await expect(adult.page.locator("#alerts button")).to_have_count(2)
    await expect(adult.page.locator(".toast")).to_have_count(0)
    await picture(adult.page, "adult-desk")

    # By now the queue has waited for a while.
    await moderator.page.locator("#queue button", has_text="insult").click()
    await moderator.reads()
    await moderator.button("Show the hard words").click()
    await moderator.sees("you idiot", within=moderator.words)
    await picture(moderator.page, "moderator-queue")


async def picture(page: Page, name: str) -> None:
    """Photograph a page as it is, without the ring around what has the focus."""
    await page.evaluate("document.activeElement?.blur()")
    await page.mouse.move(1, 1)
    file = IMAGES / f"{name}.png"
    await page.screenshot(path=file, animations="disabled")
    size = file.stat().st_size
    print(f"{file.relative_to(ROOT)}: {size / 1000:.0f} kB")
    assert size <= MOST_BYTES, "too big for a page that people load on phones"


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
