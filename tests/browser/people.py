"""The people of the browser tests: each in a browser of their own, doing what a person does.

They find things by the words on the page. What must hold on every page for everybody (`Watch`) is collected
all the while and checked at the end of each test.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import unquote_plus, urlsplit

from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Error,
    Locator,
    Page,
    ProxySettings,
    Request,
    Route,
    ViewportSize,
    WebSocket,
    async_playwright,
    expect,
)

WAIT_MS = 30_000
"""Long, for a busy machine: nothing here waits for time, only for what must come."""

ARGS = (
    "--no-sandbox",
    "--disable-background-networking",
    "--no-first-run",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # what Chromium itself would ask elsewhere
)
PHONE = ViewportSize(width=390, height=844)
DESK = ViewportSize(width=1440, height=900)

SEEN = """
let last = null;
const tell = () => {
  if (document.querySelector("html.is-gone")) window.sawLeave?.(document.body.innerHTML);
  if (document.title === last) return;
  last = document.title;
  window.sawTitle?.(last);
};
addEventListener("securitypolicyviolation", (event) =>
  window.sawBreach?.(`${event.violatedDirective} ${event.blockedURI}`));
new MutationObserver(tell).observe(document, { subtree: true, childList: true, characterData: true });
"""
FOCUSED = """() => {
  const at = document.activeElement;
  if (!at || at === document.body) return null;
  const style = getComputedStyle(at);
  const box = at.getBoundingClientRect();
  const outlined = (one) => one.outlineStyle !== "none" && one.outlineWidth !== "0px";
  const ring = (one) => outlined(one) || one.boxShadow !== "none";
  const label = at.closest("label");
  const near = label ? [label, ...label.children].map((one) => getComputedStyle(one)) : [];
  return {
    words: (at.getAttribute("aria-label") || at.innerText || at.id || at.tagName).trim().slice(0, 60),
    seen: ring(style) || near.some(ring),
    shown: box.width > 0 && box.height > 0,
  };
}"""

expect.set_options(timeout=WAIT_MS)


@dataclass
class Watch:
    """What a browser did that nobody asked for, and all that an onlooker may see of it."""

    origin: str
    neutral: str = ""
    foreign: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)
    sockets: int = 0
    left_behind: str | None = None  # what was still to be seen while a pupil's page went away
    titles: set[str] = field(default_factory=set)

    async def over(self, context: BrowserContext) -> None:
        """Begin to watch a browser, and keep it from everything but its own server."""
        await context.route(lambda url: not url.startswith(f"{self.origin}/"), self._elsewhere)
        await context.expose_function("sawTitle", self._title)
        await context.expose_function("sawLeave", self._leave)
        await context.expose_function("sawBreach", lambda what: self.errors.append(f"CSP: {what}"))
        await context.add_init_script(SEEN)
        context.on("request", self._request)
        context.on("console", self._console)
        context.on("page", lambda page: page.on("websocket", self._socket))
        context.on("weberror", lambda error: self.errors.append(f"uncaught: {error.error}"))

    async def _elsewhere(self, route: Route) -> None:
        if route.request.url == self.neutral:  # where a pupil goes who leaves; it is not asked in a test
            await route.fulfill(content_type="text/html", body="<title>Weather</title><h1>Weather</h1>")
            return
        self.foreign.append(route.request.url)
        await route.abort()

    def _title(self, title: str) -> None:
        self.titles.add(title)

    def _leave(self, left: str) -> None:
        self.left_behind = left

    def _socket(self, socket: WebSocket) -> None:
        self.sockets += 1
        self.addresses.append(unquote_plus(socket.url))

    def _request(self, request: Request) -> None:
        self.addresses.append(unquote_plus(request.url))

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(f"{message.text} ({message.location.get('url', '')})")

    def check(self, secrets: Iterable[str], *, expected: Callable[[str], bool] = lambda _: False) -> None:
        """Nothing left the server's origin, no page failed, and no address holds what somebody wrote."""
        assert not self.foreign, f"asked for something elsewhere: {self.foreign}"
        bad = [error for error in self.errors if not expected(error)]
        assert not bad, f"the console is not clean: {bad}"
        for address in self.addresses:
            assert not any(secret in address for secret in secrets), f"a secret is in the address {address}"


class Person:
    """Somebody with a browser open at the service. `shots` is where pictures go."""

    def __init__(self, name: str, page: Page, watch: Watch, shots: Path | None, *, touch: bool) -> None:
        self.name, self.page, self.watch, self.shots, self.touch = name, page, watch, shots, touch

    async def shot(self, what: str) -> None:
        """Keep a picture of this moment."""
        if self.shots is not None:
            await self.page.screenshot(path=self.shots / f"{what}.png", animations="disabled")

    async def presses(self, place: Locator) -> None:
        """Press with a finger on a phone, with the mouse elsewhere."""
        await (place.tap() if self.touch else place.click())

    async def opens(self, path: str) -> None:
        await self.page.goto(self.watch.origin + path)

    def button(self, name: str, *, within: Locator | None = None) -> Locator:
        return (within or self.page).get_by_role("button", name=name)

    def heading(self, name: str) -> Locator:
        return self.page.get_by_role("heading", name=name)

    async def sees(self, text: str, *, within: Locator | None = None) -> None:
        await expect((within or self.page).get_by_text(text).last).to_be_visible()

    async def reaches(self, place: Locator, *, backwards: bool = False, at_most: int = 40) -> list[str]:
        """Move with Tab alone until the focus is there, and return the stops: each can be seen."""
        stops: list[str] = []
        for _ in range(at_most):
            if await place.evaluate("(at) => at === document.activeElement"):
                return stops
            await self.page.keyboard.press("Shift+Tab" if backwards else "Tab")
            stop: dict[str, Any] | None = await self.page.evaluate(FOCUSED)
            if stop is not None:
                assert stop["shown"] and stop["seen"], f"the focus cannot be seen at {stop['words']!r}"
                stops.append(stop["words"])
        raise AssertionError(f"Tab did not get there, only to {stops}")


class Talker(Person):
    """Somebody in a chat: what a pupil and a mentor have in common."""

    @property
    def log(self) -> Locator:
        return self.page.get_by_role("log")

    def bubble(self, text: str) -> Locator:
        """The message with these words, and no others, in the chat."""
        return self.log.locator(".msg").filter(has=self.page.locator(".bubble").get_by_text(text, exact=True))

    @property
    def box(self) -> Locator:
        raise NotImplementedError

    @property
    def send(self) -> Locator:
        raise NotImplementedError

    async def writes(self, text: str) -> Locator:
        """Write a message and send it; return its bubble."""
        await self.box.fill(text)
        await self.presses(self.send)
        await expect(self.bubble(text)).to_be_visible()
        await expect(self.box).to_have_value("")
        return self.bubble(text)

    async def says(self, text: str) -> Locator:
        """Write a plain message, and see that it was sent."""
        bubble = await self.writes(text)
        await expect(bubble).to_have_attribute("data-status", "delivered")
        return bubble

    async def hears(self, text: str) -> Locator:
        await expect(self.bubble(text)).to_be_visible()
        return self.bubble(text)


class Pupil(Talker):
    """A pupil: a card, no name."""

    @property
    def box(self) -> Locator:
        return self.page.get_by_label("Write a message")

    @property
    def send(self) -> Locator:
        return self.page.get_by_role("button", name="Send", exact=True)

    async def signs_in(self, code: str) -> None:
        await self.opens("/")
        await self.page.get_by_label("Your code").fill(code)
        await self.presses(self.button("Sign in"))
        await expect(self.heading("What’s on your mind?")).to_be_visible()
        await self.knows_where_to_leave()

    async def knows_where_to_leave(self) -> None:
        self.watch.neutral = (
            await self.page.locator('meta[name="neutral-url"]').get_attribute("content") or ""
        )
        assert self.watch.neutral.startswith("https://")

    async def chooses(self, *topics: str) -> None:
        for topic in topics:
            await self.page.get_by_role("checkbox", name=topic, exact=True).check()

    async def asks(self) -> None:
        await self.presses(self.button("Find someone"))

    async def is_paired(self) -> str:
        """Wait for a chat; return the partner's alias."""
        await expect(self.box).to_be_visible()
        alias = await self.page.locator("#who-name").inner_text()
        assert alias
        return alias


class Mentor(Talker):
    """An older pupil who listens."""

    @property
    def chat(self) -> Locator:
        return self.page.locator("section.col--chat")

    @property
    def box(self) -> Locator:
        return self.chat.get_by_role("textbox")

    @property
    def send(self) -> Locator:
        return self.chat.get_by_role("button", name="Send to")

    async def signs_in(self, credentials: dict[str, str]) -> None:
        await signs_in_as_staff(self, credentials)
        await expect(self.heading("Hello")).to_be_visible()

    async def starts(self) -> None:
        await self.button("Start my shift").click()
        await expect(self.button("Take a break")).to_be_visible()

    async def is_paired(self) -> str:
        """Wait for a chat; return the pupil's alias."""
        await expect(self.box).to_be_visible()
        return await self.chat.get_by_role("heading").first.inner_text()


class Moderator(Person):
    """Looks at what is held."""

    async def signs_in(self, credentials: dict[str, str]) -> None:
        await signs_in_as_staff(self, credentials)
        await expect(self.page.get_by_role("navigation", name="To review")).to_be_visible()

    @property
    def words(self) -> Locator:
        return self.page.locator("blockquote.subject")

    async def reads(self) -> None:
        """Ask for the words of the first item of the queue."""
        await self.button("Read it").click()
        await expect(self.words).to_be_visible()

    async def lets_through(self) -> None:
        """Decide, and let the seconds for an undo pass. A press in an item's first moment does nothing."""
        await presses(self.button("Send it"), until=self.page.get_by_text("Undo within"))
        await expect(self.page.get_by_text("It was sent", exact=True)).to_be_visible()


class Adult(Person):
    """The adult at the school who looks after pupils' safety."""

    async def signs_in(self, credentials: dict[str, str]) -> None:
        await signs_in_as_staff(self, credentials)
        await expect(self.heading("You’re")).to_be_visible()

    @property
    def alarm(self) -> Locator:
        return self.page.get_by_role("alert")

    @property
    def chat_box(self) -> Locator:
        return self.page.get_by_label("Your message to everyone in this chat")

    async def says(self, text: str) -> None:
        chat = self.page.locator("#chat")
        await self.chat_box.fill(text)
        await self.button("Send", within=chat).click()
        await expect(chat.locator(".msg--mine", has_text=text)).to_have_attribute("data-status", "delivered")

    async def takes_duty(self) -> None:
        await self.page.locator("#duty-on").click()
        await expect(self.page.get_by_text("This page keeps it up while it is open")).to_be_visible()

    async def ends_duty(self) -> None:
        await self.button("End duty").click()
        await self.button("End duty", within=self.page.get_by_role("dialog")).click()
        await expect(self.heading("You’re not on duty")).to_be_visible()

    async def happened(self, what: str) -> Locator:
        """Wait for a line in the chronology of the open case."""
        line = self.page.locator("#chronology li", has_text=what).first
        await expect(line).to_be_visible()
        return line


async def signs_in_as_staff(who: Person, credentials: dict[str, str]) -> None:
    """Sign in with username and password."""
    await who.opens("/staff")
    await who.page.get_by_label("Your username").fill(credentials["username"])
    await who.page.get_by_label("Your password").fill(credentials["password"])
    await who.button("Sign in").click()
    await who.page.wait_for_url(lambda url: urlsplit(url).path != "/staff", timeout=WAIT_MS)


async def presses(button: Locator, *, until: Locator) -> None:
    """Press until it shows: what a person does where a first press comes too early."""
    end = time.monotonic() + WAIT_MS / 1000
    while True:
        await button.click()
        try:
            await until.wait_for(timeout=700)
        except Error:
            assert time.monotonic() < end, "pressing it had no effect"
        else:
            return


async def until(true: Callable[[], Awaitable[bool]], what: str) -> None:
    """Wait for what no page shows."""
    end = time.monotonic() + WAIT_MS / 1000
    while not await true():
        assert time.monotonic() < end, f"it did not come: {what}"
        await asyncio.sleep(0.05)


P = TypeVar("P", bound=Person)


class Stage:
    """One Chromium with a browser context for each person; closes them all at its end."""

    def __init__(self, chromium: str, shots: Path | None) -> None:
        self.chromium, self.shots = chromium, shots
        self.people: list[Person] = []
        self._stack = AsyncExitStack()
        self._browser: Browser | None = None

    async def __aenter__(self) -> Self:
        playwright = await self._stack.enter_async_context(async_playwright())
        self._browser = await playwright.chromium.launch(executable_path=self.chromium, args=list(ARGS))
        self._stack.push_async_callback(self._browser.close)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def last_pictures(self) -> None:
        """Keep what each person saw when it went wrong."""
        for person in self.people:
            with suppress(Error):
                await person.shot(f"failed-{person.name}")

    async def person(
        self, role: type[P], name: str, origin: str, *, phone: bool = False, proxy: str | None = None
    ) -> P:
        """Return somebody with a fresh browser: a phone with a finger, or a desk with a mouse.

        `proxy` is what the browser must go through; else it reaches the server by itself.
        """
        assert self._browser is not None
        context = await self._browser.new_context(
            viewport=PHONE if phone else DESK,
            is_mobile=phone,
            has_touch=phone,
            device_scale_factor=2 if phone else 1,
            locale="en-GB",
            timezone_id="Europe/London",
            reduced_motion="reduce",
            color_scheme="light",
            service_workers="block",
            proxy=ProxySettings(server=proxy, bypass="<-loopback>") if proxy else None,
        )
        self._stack.push_async_callback(context.close)
        context.set_default_timeout(WAIT_MS)
        watch = Watch(origin)
        await watch.over(context)
        person = role(name, await context.new_page(), watch, self.shots, touch=phone)
        self.people.append(person)
        return person
