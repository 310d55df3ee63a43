"""A contact point: whose it is, by what kind of channel, and from which rung on it is told. Pure."""

import enum
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from escalation.alert import Alert
from escalation.ladder import AUDIENCES, Audience, SchoolDay, Step
from moderation.verdict import Risk
from peerchat.errors import PeerchatError


class Kind(enum.StrEnum):
    """Kinds of channels. Each has a lane of its own in the desk: one that hangs delays no other."""

    PUSH = "push"
    EMAIL = "email"
    SMS = "sms"
    CHAT = "chat"
    VOICE = "voice"
    """Rings until somebody answers: a voice call, or a pager."""

    WEBHOOK = "webhook"


WAKING = frozenset({Kind.VOICE, Kind.SMS, Kind.PUSH})
"""Kinds that can wake a locked phone: an email or a chat waits until somebody looks."""


class BadContact(PeerchatError):
    """An address that cannot be used; says why, and never repeats the address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """One way to one person, or to a system of the school's. `to` is opened only when it is needed."""

    id: str
    site: str
    kind: Kind
    member: str | None  # None: a person without an account, or a system
    audience: Audience  # from when on it is told while its member holds no duty
    to: str = field(repr=False)
    secret: str | None = field(default=None, repr=False)
    name: str | None = field(default=None, repr=False)  # who is behind it, where no member is
    added_at: datetime
    ok_at: datetime | None = None
    failed_at: datetime | None = None
    fault: str | None = None
    failures: int = 0  # in a row
    tried_at: datetime | None = None  # when a try that its own adult asked for last went out

    @property
    def failing(self) -> bool:
        return self.failures > 0


# -- who is told, and by what


def quiet(alert: Alert, *, now: datetime, day: SchoolDay) -> bool:
    """Return whether an alert is only listed for now: a concern before that day's digest, or next morning."""
    if alert.risk is not Risk.CONCERN:
        return False
    digest, morning = day.reads(alert.notifying_since)
    return now < (digest or morning)


def kinds_for(step: Step, *, now: datetime, day: SchoolDay) -> frozenset[Kind]:
    """Return the kinds of channels that tell of a step.

    A concern rings nobody's phone before it climbs. New evidence for an alert that somebody has goes to
    pages and their notifications alone: a message a minute would wear out what must be heard next time. That
    somebody is gone, the pupil or whoever has it, goes out by all kinds that its risk has.
    """
    if not step.alert.state.unanswered and not step.loud:
        return frozenset({Kind.PUSH})
    if quiet(step.alert, now=now, day=day):
        return frozenset()
    if step.alert.risk is Risk.CONCERN and step.alert.rung == 0:
        return frozenset(Kind) - {Kind.VOICE}
    return frozenset(Kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reachable:
    """What decides whether a contact point is told; nothing of its address."""

    id: str
    kind: Kind
    member: str | None
    audience: Audience


def told(
    points: Collection[Reachable],
    step: Step,
    *,
    on_duty: Collection[str],
    about_staff: bool,
    expected: Collection[str] = (),
    deputies: Collection[str] = (),
) -> list[Reachable]:
    """Return the contact points that a step is told to: never one of the member it is about.

    Adults on duty and those `expected` there are told from the first rung on, deputies from the second, the
    others from the audience of each contact point on. While nobody who may be told is on duty, an alert above
    a concern begins at the deputies; and where a step reaches nobody but adults who are expected and not
    there, the next audience is told at once: a rota that nobody keeps must not cost minutes. Of an alert
    about a member of staff nobody is told whose place does not say who reads there.
    """
    there = set(on_duty) - {step.alert.about}
    may = [
        point
        for point in points
        if point.member != step.alert.about and not (about_staff and point.member is None)
    ]
    second = AUDIENCES.index(Audience.DEPUTIES)
    first = AUDIENCES.index(step.audience)
    if not there and step.alert.risk is not Risk.CONCERN:
        first = max(first, second)
    absent = set(expected) - there
    found: list[Reachable] = []
    for reached in range(first, len(AUDIENCES)):
        called = {*there, *expected, *(deputies if reached >= second else ())}
        found = [p for p in may if p.member in called or AUDIENCES.index(_from(p)) <= reached]
        if any(p.member not in absent for p in found):
            break
    return found


def _from(point: Reachable) -> Audience:
    """Return the audience with which a contact point is told though its member holds no duty."""
    off_duty = point.audience is Audience.ON_DUTY and point.member is not None
    return Audience.ALL_ADULTS if off_duty else point.audience


# -- when it is tried again

BACKOFF = tuple(timedelta(seconds=s) for s in (2, 4, 8, 15, 30, 60))
MOST_TRIES = 30
"""Tries of one sending. By then the ladder has told again, many times."""


def pause_after(tries: int, *, asked_s: float | None = None) -> timedelta:
    """Return how long to wait after so many failed tries; a receiver may ask for more, up to the longest."""
    pause = BACKOFF[min(max(tries, 1), len(BACKOFF)) - 1]
    return min(max(pause, timedelta(seconds=asked_s or 0)), BACKOFF[-1])


# -- addresses

EMAIL = re.compile(r"[^@\s<>\"',;:]{1,64}@(?:[A-Za-z0-9-]{1,63}\.)+[A-Za-z]{2,63}")
PHONE = re.compile(r"\+?[0-9]{7,15}")
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
PLAIN = {Kind.EMAIL: EMAIL, Kind.SMS: PHONE, Kind.VOICE: PHONE}
"""Kinds whose address may be plain: it goes by the site's own server or provider (`channels` in settings)."""


def plain(kind: Kind, to: str) -> str | None:
    """Return an email address or a phone number in its plain form, or None where it is none."""
    to = to.strip()
    if kind in (Kind.SMS, Kind.VOICE):
        to = re.sub(r"[\s().-]", "", to)
    pattern = PLAIN.get(kind)
    return to if pattern is not None and pattern.fullmatch(to) else None


def is_web(to: str) -> bool:
    """Return whether an address is a web server's: a signed webhook goes there."""
    return to.lower().startswith(("https://", "http://"))


def checked_web(to: str) -> str:
    """Return a webhook's address. Raises `BadContact`: HTTPS only, but for this very host."""
    try:
        parts = urlsplit(to.strip())
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise BadContact("not an address such as https://pager.school.example/alerts") from None
    if not host or parts.username is not None or parts.fragment or any(c.isspace() for c in to.strip()):
        raise BadContact("not an address such as https://pager.school.example/alerts")
    if parts.scheme.lower() != "https" and not (parts.scheme.lower() == "http" and host in LOOPBACK):
        raise BadContact("a webhook goes by https; plain http only to this very host")
    return to.strip()


def hint(kind: Kind, to: str) -> str:
    """Return enough of an address to tell it from its neighbours, and no more."""
    if kind is Kind.PUSH:
        return "a browser"
    if "://" in to:
        parts = urlsplit(to)
        return f"{parts.scheme}://{parts.hostname}/…" if is_web(to) else f"{parts.scheme}://…"
    if kind is Kind.EMAIL:
        user, _, host = to.partition("@")
        return f"{user[:1]}…@{host}"
    return f"…{to[-3:]}"


# -- what is missing

NO_VOICE = "no_voice"
NO_PUSH = "no_push"
NOBODY = "nobody"
FAILING = "failing"
NO_INDEPENDENT = "no_independent"


def missing(contacts: Iterable[Contact], preset: Collection[str] = ()) -> list[str]:
    """Return what a site lacks so that an immediate alert is heard, as the words above.

    `preset` are those who are told of alerts about staff: each needs a contact point that works, for nobody
    else is told in their place.
    """
    there = list(contacts)
    unreached = set(preset) - {contact.member for contact in there if not contact.failing}
    alone = [NO_INDEPENDENT] if unreached else []
    if not there:
        return [NOBODY, NO_VOICE, NO_PUSH, *alone]
    kinds = {contact.kind for contact in there}
    lacks = [word for kind, word in ((Kind.VOICE, NO_VOICE), (Kind.PUSH, NO_PUSH)) if kind not in kinds]
    return lacks + ([FAILING] if any(contact.failing for contact in there) else []) + alone
