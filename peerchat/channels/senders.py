"""One message to one contact point: by Apprise, by a signed webhook, or by Web Push.

Apprise is used here alone. It works in threads, each send in one of a few that its kind of channel has, with
time limits on its sockets: a provider that hangs holds up its own kind, for seconds.
"""

import asyncio
import json
import logging
import ssl
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote

from peerchat.channels import push, signing
from peerchat.channels.contact import BadContact, Kind, checked_web, is_web, plain
from peerchat.channels.outward import Answer, Unanswered, request
from peerchat.channels.wording import Occasion, spoken, words
from peerchat.errors import SettingsError
from peerchat.settings import Settings

SEND_S = 6.0
"""How long one send may take: under the desk's own limit for a whole telling."""

SOCKET_S = 4.0
THREADS = 16
"""As many as there are sends of one kind under way: none waits for a thread while its time runs."""

PLACE = "{to}"
"""Where a provider's address has the recipient."""

LOCAL_SCHEMES = frozenset(
    "dbus qt kde glib gnome macosx windows syslog blink1 growl kodi kodis xbmc file apprise apprises".split()
)
"""What Apprise can do that is no way to a person from a server, or hands the choice to another's file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What is to be said to one contact point. `key` is the same again where a telling is repeated."""

    kind: Kind
    to: str
    secret: str | None
    key: str
    occasion: Occasion


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a send went. `fault` is a word or two for people; it never holds an address or an answer's text."""

    ok: bool
    fault: str | None = None
    retry_after_s: float | None = None
    gone: bool = False  # the browser or the receiver says that it will never be there again


SENT = Outcome(ok=True)


class Sender(Protocol):
    """Sends one message, and says how that went."""

    async def send(self, message: Message) -> Outcome:
        """Try once, for `SEND_S` at most. Raises nothing it can foresee."""
        ...


class Senders:
    """Sends by whatever a contact point's address asks for. Made once; `close` ends its threads."""

    def __init__(
        self,
        *,
        link: str,
        providers: Mapping[Kind, str],
        vapid: push.Vapid,
        push_services: tuple[str, ...] = push.SERVICES,
        clock: Callable[[], float] = time.time,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.link = link
        self.vapid = vapid
        self.push_services = push_services
        self._providers = providers
        self._clock = clock
        self._tls = tls
        self._threads = {
            kind: ThreadPoolExecutor(THREADS, thread_name_prefix=f"channel-{kind.value}") for kind in Kind
        }

    def close(self) -> None:
        """End the threads; a send under way is left to its own time limits."""
        for threads in self._threads.values():
            threads.shutdown(wait=False, cancel_futures=True)

    def provides(self, kind: Kind) -> bool:
        """Return whether plain addresses of a kind can be used: there is a server or provider for them."""
        return kind in self._providers

    def checked(self, kind: Kind, to: str, *, urls: bool) -> str:
        """Return an address as it is kept. Raises `BadContact` saying what is wrong, without the address.

        Whole URLs are for whoever runs the server alone (`urls`): a page could use them to have the server
        call whatever address it likes.
        """
        if kind is Kind.PUSH:
            return push.subscription(to, services=self.push_services).dumped()
        found = plain(kind, to)
        if found is not None:
            if not self.provides(kind):
                raise BadContact(f"the server has no `channels.{kind.value}` to send this by")
            return found
        if not urls:
            raise BadContact("not an email address" if kind is Kind.EMAIL else "not a phone number")
        if is_web(to):
            if kind not in (Kind.WEBHOOK, Kind.VOICE):
                raise BadContact("a web address is for a webhook, or for a pager (`voice`)")
            return checked_web(to)
        if kind is Kind.WEBHOOK:
            raise BadContact("not an address such as https://pager.school.example/alerts")
        check_provider(to)
        return to.strip()

    async def send(self, message: Message) -> Outcome:
        """Try once; see `Sender`."""
        try:
            if message.kind is Kind.PUSH:
                return await self._push(message)
            if is_web(message.to):
                return await self._webhook(message)
            return await self._apprise(message)
        except Unanswered as error:
            return Outcome(ok=False, fault=error.fault)
        except BadContact as error:
            return Outcome(ok=False, fault=str(error))
        except TimeoutError:
            return Outcome(ok=False, fault="timeout")

    async def _webhook(self, message: Message) -> Outcome:
        title, _ = words(message.occasion, link=self.link)
        body = json.dumps(
            {"version": 1, "type": message.occasion.value, "text": title, "link": self.link}
        ).encode()
        signed = signing.headers(
            message.secret or "", timestamp=int(self._clock()), id=message.key, body=body
        )
        headers = {"Content-Type": "application/json", "Idempotency-Key": message.key, **signed}
        return _outcome(
            await request("POST", message.to, headers=headers, body=body, timeout_s=SEND_S, tls=self._tls)
        )

    async def _push(self, message: Message) -> Outcome:
        to = push.subscription(message.to, services=self.push_services)
        title, _ = words(message.occasion, link="")
        content = json.dumps({"type": message.occasion.value, "title": title}).encode()
        body = push.encrypted(content, to)
        headers = {
            "Authorization": self.vapid.authorization(to.endpoint, now=self._clock()),
            "Content-Encoding": "aes128gcm",
            "Content-Type": "application/octet-stream",
            "TTL": "3600",
            "Urgency": "high",
            "Topic": message.occasion.value,  # a newer one takes the place of one not yet shown
        }
        answer = await request(
            "POST", to.endpoint, headers=headers, body=body, timeout_s=SEND_S, tls=self._tls
        )
        return _outcome(answer)

    async def _apprise(self, message: Message) -> Outcome:
        url = self._url(message)
        title, text = words(message.occasion, link=self.link)
        if message.kind is Kind.VOICE:
            title, text = "", spoken(message.occasion)
        work = asyncio.get_running_loop().run_in_executor(
            self._threads[message.kind], _by_apprise, url, title, text
        )
        async with asyncio.timeout(SEND_S):
            return SENT if await work else Outcome(ok=False, fault="refused or unreachable")

    def _url(self, message: Message) -> str:
        if "://" in message.to:
            return message.to
        if message.kind not in self._providers:
            raise BadContact(f"the server has no `channels.{message.kind.value}` to send this by")
        return self._providers[message.kind].replace(PLACE, quote(message.to, safe="+@"))


def senders_of(settings: Settings, master: bytes) -> Senders:
    """Return what sends by an installation's settings. Raises `SettingsError` for a provider of no use."""
    given, providers = settings.channels, {}
    for kind, provider in ((Kind.EMAIL, given.email), (Kind.SMS, given.sms), (Kind.VOICE, given.voice)):
        if provider is None:
            continue
        try:
            check_provider(provider)
        except BadContact as error:
            raise SettingsError(f"channels.{kind.value}: {error}") from None
        providers[kind] = provider
    base = next(iter(settings.origins), f"http://127.0.0.1:{settings.port}")
    return Senders(
        link=given.link or f"{base}/staff",
        providers=providers,
        vapid=push.Vapid(master, contact=given.push_contact),
        push_services=(*push.SERVICES, *given.push_services),
    )


def check_provider(url: str) -> None:
    """Raise `BadContact` where Apprise does not know an address, or it is none for a server to use."""
    scheme = url.strip().partition("://")[0].lower()
    if scheme in LOCAL_SCHEMES or _plugin(url.strip().replace(PLACE, "15550001111")) is None:
        raise BadContact("not an address that Apprise can send to")


def _outcome(answer: Answer) -> Outcome:
    if answer.ok:
        return SENT
    fault = "redirected" if 300 <= answer.status < 400 else f"answered {answer.status}"
    gone = answer.status in (404, 410)
    return Outcome(ok=False, fault=fault, retry_after_s=answer.retry_after_s, gone=gone)


def _plugin(url: str) -> "_Plugin | None":
    import apprise  # half a second, and only for who sends

    logger = logging.getLogger("apprise")  # it names recipients
    logger.propagate = False
    logger.setLevel(logging.CRITICAL + 1)
    asset = apprise.AppriseAsset(
        app_id="peerchat", app_desc="peerchat", app_url="", async_mode=False, http_redirects=False
    )
    try:
        found: _Plugin | None = apprise.Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
    except Exception:  # what its plugins make of an odd address is theirs; the address must not be told
        return None
    return found


class _Plugin(Protocol):
    socket_connect_timeout: float
    socket_read_timeout: float

    def notify(self, *, body: str, title: str, body_format: str) -> bool: ...


def _by_apprise(url: str, title: str, text: str) -> bool:
    """Send; runs on a thread. What a plugin raises is a failure of that send."""
    plugin = _plugin(url)
    if plugin is None:
        return False
    plugin.socket_connect_timeout = plugin.socket_read_timeout = SOCKET_S
    try:
        return bool(plugin.notify(body=text, title=title, body_format="text"))
    except Exception:  # its words may hold the address
        return False
