"""The use cases of contact points: who lists, adds, removes and tries them."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from escalation.ladder import Audience
from moderation.verdict import Role
from peerchat import views
from peerchat.channels import signing
from peerchat.channels.contact import NO_INDEPENDENT, BadContact, Contact, Kind, hint, is_web, missing
from peerchat.channels.outside import forget_if_gone, send
from peerchat.channels.senders import Outcome, Senders
from peerchat.channels.wording import MISSING, Occasion
from peerchat.course import check_live
from peerchat.errors import NotAllowed, UnknownObject
from peerchat.model import Actor, new_id
from peerchat.store.sql import Store, Tx

MOST = 200
"""Contact points of one site."""

MOST_BROWSERS = 10
"""Browsers of one adult."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A contact point that somebody wants to add."""

    kind: Kind
    to: str
    member: str | None
    audience: Audience = Audience.ON_DUTY
    name: str | None = None


class ChannelBook:
    """Contact points as people meet them. Each change and each try is a row of the log before it happens."""

    def __init__(self, store: Store, senders: Senders) -> None:
        self._store = store
        self._senders = senders

    @property
    def push_key(self) -> str:
        """The key that a browser subscribes with."""
        return self._senders.vapid.public

    def provided(self) -> list[str]:
        """Return the kinds that plain addresses can be added for."""
        return [kind.value for kind in Kind if self._senders.provides(kind)]

    async def listed(self, actor: Actor) -> dict[str, Any]:
        """Return the site's contact points to the coordinator, and their own to an adult."""
        own = actor.role is not Role.COORDINATOR

        def body(tx: Tx) -> tuple[list[dict[str, Any]], list[str], list[dict[str, Any]]]:
            found = tx.channels.of_site(actor.site)
            preset = _preset(tx, actor.site)
            lacks = missing(found, preset)
            adults = [m for m in tx.members.with_role(actor.site, Role.ADULT) if m.suspended_at is None]
            people = [] if own else [{"id": m.id, "name": m.name} for m in adults]
            names = {m.id: m.name for m in adults}
            shown = [c for c in found if not own or c.member == actor.member]
            hidden = preset - {actor.member}
            return [_row(c, names, hidden) for c in shown], [] if own else lacks, people

        items, lacks, people = await self._store.read(body)
        return {
            "items": items,
            "next": None,
            "push_key": self.push_key,
            "kinds": self.provided(),
            "adults": people,
            "missing": [{"what": word, "words": MISSING[word]} for word in lacks],
        }

    async def add(self, actor: Actor, wanted: Wanted) -> dict[str, Any]:
        """Add a contact point: the coordinator for any adult, an adult only a browser of their own.

        Raises `BadContact` for an address that cannot be used.
        """
        if actor.role is not Role.COORDINATOR and wanted.kind is not Kind.PUSH:
            raise NotAllowed("ask the coordinator to add this")
        if wanted.kind is Kind.PUSH and wanted.member != actor.member:
            raise BadContact("a browser can only be added by whoever sits at it")
        to = self._senders.checked(wanted.kind, wanted.to, urls=False)

        def body(tx: Tx) -> dict[str, Any]:
            check_live(tx, actor)
            return added(tx, actor.site, wanted, to=to, by=actor.member)[0]

        return await self._store.write(body)

    async def remove(self, actor: Actor, contact: str) -> None:
        """Remove a contact point: the coordinator any, an adult their own."""

        def body(tx: Tx) -> None:
            check_live(tx, actor)
            removed(tx, _found(tx, actor, contact), by=actor.member)

        await self._store.write(body)

    async def tried(self, actor: Actor, contact: str) -> Outcome:
        """Send a try to a contact point, marked as one; return how it went."""

        def begin(tx: Tx) -> Contact:
            check_live(tx, actor)
            return _found(tx, actor, contact)

        return await try_out(self._store, self._senders, await self._store.read(begin), by=actor.member)


async def try_out(store: Store, senders: Senders, contact: Contact, *, by: str) -> Outcome:
    """Try a contact point: a row of the log, the send, and how it went."""
    data = {"kind": contact.kind.value}
    await store.write(lambda tx: tx.audit.append(by, "channel_tried", contact.id, data))
    outcome = await send(senders, contact, key=new_id("try"), occasion=Occasion.TRY)

    def record(tx: Tx) -> None:
        tx.channels.works(contact.id, ok=outcome.ok, fault=outcome.fault)
        if outcome.ok and by == contact.member:
            tx.channels.tried(contact.id)
        forget_if_gone(tx, contact, outcome)

    await store.write(record)
    return outcome


def added(tx: Tx, site: str, wanted: Wanted, *, to: str, by: str) -> tuple[dict[str, Any], str | None]:
    """Add a contact point whose address was checked; return its row, and a webhook's secret, shown once."""
    there = tx.channels.of_site(site)
    if len(there) >= MOST:
        raise BadContact("there are too many contact points already; remove some first")
    names: dict[str, str | None] = {}
    if wanted.member is not None:
        member = tx.members.get(wanted.member)
        if member is None or member.site != site or member.role is not Role.ADULT or member.suspended_at:
            raise UnknownObject("no such adult")
        names[member.id] = member.name
    elif not wanted.name:
        raise BadContact("say whose it is: an adult's, or a name")
    preset = _preset(tx, site)
    same = [c for c in there if (c.kind, c.member, c.to) == (wanted.kind, wanted.member, to)]
    if same:
        return _row(same[0], names, preset), None
    browsers = [c for c in there if c.kind is Kind.PUSH and c.member == wanted.member]
    if wanted.kind is Kind.PUSH and len(browsers) >= MOST_BROWSERS:
        removed(tx, browsers[0], by=by)
    secret = signing.new_secret() if is_web(to) else None
    data = {"kind": wanted.kind.value, "audience": wanted.audience.value, "member": wanted.member}
    id = tx.channels.add(
        site=site,
        kind=wanted.kind,
        member=wanted.member,
        audience=wanted.audience,
        to=to,
        secret=secret,
        name=wanted.name if wanted.member is None else None,
    )
    tx.audit.append(by, "channel_added", id, data)
    contact = tx.channels.get(id)
    assert contact is not None
    return _row(contact, names, preset), secret


def shown(tx: Tx, site: str) -> list[dict[str, Any]]:
    """Return a site's contact points as people may see them: never a whole address."""
    names = {m.id: m.name for m in tx.members.with_role(site, Role.ADULT)}
    preset = _preset(tx, site)
    return [_row(contact, names, preset) for contact in tx.channels.of_site(site)]


def lacking(tx: Tx, site: str) -> list[str]:
    """Return in words what a site lacks so that an immediate alert is heard."""
    return [MISSING[word] for word in missing(tx.channels.of_site(site), _preset(tx, site))]


def unreached(tx: Tx, site: str) -> bool:
    """Return whether somebody preset for alerts about staff has no contact point that works."""
    return NO_INDEPENDENT in missing(tx.channels.of_site(site), _preset(tx, site))


def removed(tx: Tx, contact: Contact, *, by: str) -> None:
    """Remove a contact point."""
    tx.audit.append(by, "channel_removed", contact.id, {"kind": contact.kind.value, "member": contact.member})
    tx.channels.remove(contact.id)


def _found(tx: Tx, actor: Actor, contact: str) -> Contact:
    found = tx.channels.get(contact)
    mine = found is not None and (actor.role is Role.COORDINATOR or found.member == actor.member)
    if found is None or found.site != actor.site or not mine:
        raise UnknownObject("no such contact point")
    return found


def _preset(tx: Tx, site: str) -> frozenset[str]:
    return frozenset(tx.rota.circle(site).independents)


def _row(contact: Contact, names: dict[str, str | None], preset: Collection[str]) -> dict[str, Any]:
    """Return a contact point as a page shows it; of one of a `preset` person no moment of a sending.

    Such a moment would tell that there is an alert about staff, and when.
    """
    apart = contact.member in preset
    who = names.get(contact.member, "somebody who left") if contact.member else contact.name
    return {
        "id": contact.id,
        "kind": contact.kind.value,
        "who": who,
        "member": contact.member,
        "to": hint(contact.kind, contact.to),
        "from": contact.audience.value,
        "rings": contact.kind is Kind.VOICE,
        "ok_at": views.moment(contact.tried_at if apart else contact.ok_at),
        "failed_at": None if apart else views.moment(contact.failed_at),
        "failing": contact.failing,
        "fault": contact.fault,
        "tried_at": views.moment(contact.tried_at),
    }
