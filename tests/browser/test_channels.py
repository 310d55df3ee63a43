"""Ways beyond the page in a real Chromium: one is added and tried, a push shows and tells nothing."""

import json
from pathlib import Path

import pytest
from playwright.async_api import Page, async_playwright, expect

from peerchat.channels.wording import TITLES, Occasion
from tests.browser.people import ARGS, WAIT_MS, Person, Stage, signs_in_as_staff
from tests.support.catchers import MailCatcher
from tests.support.server import DemoServer

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(180),  # a server and a browser, on a machine that others use too
]


async def test_the_coordinator_adds_a_way_tries_it_and_removes_it(tmp_path: Path, stage: Stage) -> None:
    """What is missing is said first; a try arrives marked as one; a failure is seen on the page."""
    async with MailCatcher() as mail:
        address = f"mailto://127.0.0.1:{mail.port}?from=alerts@school.example&to={{to}}&mode=insecure"
        server = DemoServer(tmp_path, env={"PEERCHAT_CHANNELS_EMAIL": address})
        try:
            server.start()
            who = await stage.person(Person, "coordinator", server.url)
            await signs_in_as_staff(who, server.credentials["coordinators"][0])
            section = who.page.get_by_role("region", name="Beyond this page")
            await who.sees("Immediate alerts ring no phone.", within=section)
            await section.get_by_text("Add a way to reach somebody").click()
            await section.get_by_label("Email address").fill("not an address")
            await who.button("Add", within=section).click()
            await who.sees("not an email address", within=section)
            await section.get_by_label("Email address").fill("okafor@school.example")
            await who.button("Add", within=section).click()
            await who.sees("Added. Try it now", within=section)
            await who.sees("o…@school.example", within=section)
            assert "okafor@school" not in await who.page.locator("#channels-rows").inner_text()
            await who.button("Try", within=section).click()
            await who.sees("It went out to", within=section)
            assert [m.message["Subject"] for m in mail.mails] == ["Only a try: there is no alert"]
            await who.shot("channels")
            mail.refuse = lambda _to: True
            await who.button("Try", within=section).click()
            await who.sees("It did not go out", within=section)
            await who.sees("Not working", within=section)
            await who.button("Remove", within=section).click()
            await who.button("Remove it").click()
            await who.sees("Nobody is told beyond the page yet.", within=section)
            who.watch.check(["okafor@school"], expected=lambda error: "422" in error)
        finally:
            server.kill()


async def test_a_push_shows_that_an_alert_needs_somebody_and_nothing_else(
    demo: DemoServer, chromium_path: str
) -> None:
    """The worker runs under the page's policy, stays for an alert, and takes what is unreadable for one."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium_path, args=list(ARGS))
        context = await browser.new_context(permissions=["notifications"])
        context.set_default_timeout(WAIT_MS)
        page = await context.new_page()
        await page.goto(f"{demo.url}/staff")
        credentials = demo.credentials["adults"][0]
        await page.get_by_label("Your username").fill(credentials["username"])
        await page.get_by_label("Your password").fill(credentials["password"])
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.get_by_role("button", name="Tell this browser too")).to_be_visible()
        alert, trial = TITLES[Occasion.ALERT], TITLES[Occasion.TRY]
        for data, shown, stays in (
            (json.dumps({"type": "alert", "title": alert}), alert, True),
            (json.dumps({"type": "try", "title": trial}), trial, False),
            ("\x00 not ours", alert, True),
        ):
            assert await pushed(page, demo.url, data) == [[shown, "", stays]]
        await browser.close()


async def pushed(page: Page, origin: str, data: str) -> list[list[object]]:
    """Have the browser deliver a push; return the notifications that show: title, text, whether it stays."""
    registrations: list[str] = []
    line = await page.context.new_cdp_session(page)
    line.on(
        "ServiceWorker.workerRegistrationUpdated",
        lambda event: registrations.extend(each["registrationId"] for each in event["registrations"]),
    )
    await page.evaluate(
        """async () => {
          const worker = await navigator.serviceWorker.register("/static/js/push_worker.js");
          while (!worker.active) await new Promise((done) => setTimeout(done, 20));
          for (const each of await worker.getNotifications()) each.close();
        }"""
    )
    await line.send("ServiceWorker.enable")
    while not registrations:
        await page.wait_for_timeout(20)
    what = {"origin": origin, "registrationId": registrations[-1], "data": data}
    await line.send("ServiceWorker.deliverPushMessage", what)
    found: list[list[object]] = await page.evaluate(
        """async () => {
          const worker = await navigator.serviceWorker.getRegistration("/static/js/push_worker.js");
          let shown = [];
          while (!shown.length) {
            await new Promise((done) => setTimeout(done, 20));
            shown = await worker.getNotifications();
          }
          return shown.map((each) => [each.title, each.body, each.requireInteraction]);
        }"""
    )
    return found
