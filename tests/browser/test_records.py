"""The record of a case in a real Chromium: written into, saved as PDF, put on hold and let go."""

import pytest
from playwright.async_api import expect

from tests.browser.people import Adult, Stage
from tests.support.server import DemoServer
from web.client import Client, Server, Transport

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(180),  # a server and a browser, on a machine that others use too
]


async def test_the_adult_keeps_the_record_of_a_case(demo: DemoServer, stage: Stage) -> None:
    async with Server(demo.url) as server:
        session = await server.sign_in(demo.credentials["pupils"][0])
        pupil = Client(server, session, transport=Transport.WS)
        await pupil.open()
        await pupil.call("flag", urgency="emergency", note="please come to the library")
        await pupil.close()
    adult = await stage.person(Adult, "adult", demo.url)
    await adult.signs_in(demo.credentials["adults"][0])
    await adult.button("I’ve got this", within=adult.page.locator("#alarms")).click()
    record = adult.page.get_by_role("region", name="The record")
    await adult.sees("Each copy is logged", within=record)

    await record.get_by_text("Write about something that happened earlier").click()
    await adult.button("Save it in the record", within=record).click()
    await adult.sees("Write what happened first.", within=record)
    await record.get_by_label("What happened").fill("They came to me in the corridor")
    await record.get_by_label("When it happened").fill("2040-01-01T10:00")
    await adult.button("Save it in the record", within=record).click()
    await adult.sees("that has not happened yet", within=record)
    await record.get_by_label("When it happened").fill("2024-03-01T10:00")
    await adult.button("Save it in the record", within=record).click()
    line = adult.page.locator("#chronology li", has_text="They came to me in the corridor")
    await expect(line).to_contain_text("written later")
    await expect(record.get_by_label("What happened")).to_have_value("")

    await record.get_by_text("Legal hold", exact=True).click()
    await record.get_by_label("Why").fill("The police asked for it")
    await adult.button("Put it on hold", within=record).click()
    await expect(adult.page.locator("#record-held")).to_contain_text("The police asked for it")
    await adult.shot("record")
    await record.get_by_label("Why").fill("The case was heard")
    await adult.button("Lift the hold", within=record).click()
    await expect(adult.page.locator("#record-held")).to_be_hidden()

    for name, begins in (("Save as PDF", b"%PDF-"), ("All files, with proof", b"PK")):
        async with adult.page.expect_download() as coming:
            await record.get_by_role("link", name=name).click()
        file = await (await coming.value).path()
        assert file.read_bytes().startswith(begins)
    adult.watch.check(["corridor", "library"], expected=lambda error: "422" in error)
