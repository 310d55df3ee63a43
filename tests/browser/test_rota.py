"""The rota and handing over in a real Chromium: what is planned, who is missing, and who has it then."""

import pytest

from tests.browser.people import Adult, Moderator, Person, Pupil, Stage, signs_in_as_staff
from tests.support.server import DemoServer

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(180),  # a server and a browser, on a machine that others use too
]


async def test_the_coordinator_plans_a_week_and_sees_who_is_missing(demo: DemoServer, stage: Stage) -> None:
    """Every hour of every day: whoever is down for it now and not there is named."""
    who = await stage.person(Person, "coordinator", demo.url)
    await signs_in_as_staff(who, demo.credentials["coordinators"][0])
    await who.page.get_by_role("link", name="Rota").click()
    week = who.page.get_by_role("region", name="Every week")
    await who.sees("No turns yet.", within=week)
    await who.sees("Nobody is preset for alerts about staff")
    await week.get_by_label("Who").select_option(label="Mr Lind")
    await week.get_by_label("From").fill("00:00")
    await who.button("Add the turn", within=week).click()
    await who.sees("a turn has a beginning and an end", within=week)
    await week.get_by_label("To", exact=True).fill("00:00")
    for day in ("Sat", "Sun"):
        await week.get_by_role("checkbox", name=day).check()
    await who.button("Add the turn", within=week).click()
    await who.sees("Mon, Tue, Wed, Thu, Fri, Sat, Sun, 00:00 to 00:00", within=week)
    await who.sees("Mr Lind is down for duty and not there")
    changes = who.page.get_by_role("region", name="Exceptions and holidays")
    await changes.get_by_label("What").select_option("holiday")
    await changes.get_by_label("First day").fill("2031-04-07")
    await who.button("Add the exception", within=changes).click()
    await who.sees("School closed", within=changes)
    await who.shot("rota")
    for section, said in ((changes, "No exceptions."), (week, "No turns yet.")):
        await section.get_by_role("button", name="Remove").click()
        await who.sees(said, within=section)
    who.watch.check([], expected=lambda error: "422" in error)


async def test_an_adult_hands_an_alert_over_and_only_then_may_go(demo: DemoServer, stage: Stage) -> None:
    """A moderator presses; one adult takes it on, asks the other, and is free once the other has accepted."""
    first, second = [await stage.person(Adult, name, demo.url) for name in ("adult", "deputy")]
    for who, credentials in zip((first, second), demo.credentials["adults"], strict=True):
        await who.signs_in(credentials)
        await who.takes_duty()
    moderator = await stage.person(Moderator, "moderator", demo.url)
    await moderator.signs_in(demo.credentials["moderators"][0])
    await moderator.button("Tell an adult now").click()
    await moderator.sees("The adults are being told.")
    await moderator.button("Pressed by mistake").click()
    await moderator.sees("one of them still has to look")
    await first.button("I’ve got this").first.click()
    await moderator.sees("An adult has this.")
    await first.sees("They say it was pressed by mistake.")
    await first.button("Your duty").click()
    mine = first.page.get_by_role("region", name="Holding and handing over")
    theirs = second.page.get_by_role("region", name="Holding and handing over")
    await first.sees("First try a way to reach you today", within=mine)
    await first.sees("You have an open alert.", within=mine)
    await first.button("Ask them", within=mine).click()
    await first.sees("Until then it is yours.", within=mine)
    await second.sees("asks you to take over 1 open alert.", within=theirs)
    await second.shot("handover")
    await second.button("Take over", within=theirs).click()
    await first.sees("has taken over from")
    await second.sees("You have an open alert.", within=theirs)
    await first.shot("handed-over")
    await first.ends_duty()


async def test_a_pupil_says_that_it_is_about_an_adult_here(demo: DemoServer, stage: Stage) -> None:
    """Who will see it is said before anything is sent; then what is true of it."""
    pupil = await stage.person(Pupil, "pupil", demo.url, phone=True)
    await pupil.signs_in(demo.credentials["pupils"][0]["code"])
    await pupil.presses(pupil.button("Get help now").first)
    sheet = pupil.page.get_by_role("dialog", name="Help")
    await pupil.presses(sheet.get_by_role("button", name="It’s about an adult here"))
    await pupil.sees("Your school hasn’t chosen one person for this", within=sheet)
    await pupil.shot("about-an-adult")
    await sheet.get_by_label("What happened, and who it’s about").fill("somebody here shouts at me")
    await pupil.presses(sheet.get_by_role("button", name="Tell them"))
    await pupil.sees("It will say here when one of them has it.", within=sheet)
    pupil.watch.check(["somebody here shouts"])
