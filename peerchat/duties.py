"""Duty as adults meet it: taking it on a page or by a press on a phone, ending it, and handing over."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from escalation import alert as life
from escalation.duty import OFFER, Answer
from escalation.rota import DAY, Slot
from moderation.verdict import Role
from peerchat import frames, views
from peerchat.course import check_live
from peerchat.errors import CaseError, Forbidden, UnknownObject
from peerchat.model import Actor
from peerchat.ports import to_members
from peerchat.store.duty import OfferValue
from peerchat.store.sql import Store, Tx
from peerchat.telling import emit_alert

HOLDS = "you have an open alert: close it, or hand it over to another adult, before you go off duty"

NOT_TRIED = "try a call, a text or this browser first: something must be able to wake a locked phone"

COMING = 7 * DAY
"""How far ahead adults see their own turns."""


class Duties:
    """Leases and hand-overs. An alert changes hands only when the other adult has accepted it."""

    def __init__(self, store: Store, *, changed: Callable[[], None]) -> None:
        self._store = store
        self._changed = changed

    async def hold(self, actor: Actor, *, on: bool, phone: bool = False) -> datetime | None:
        """Take, renew or end a duty lease; return until when it holds.

        A press on a phone holds it for longer, once that adult tried in this shift a call, a text or a
        notification of their own. It cannot end while an open alert is that adult's: first another adult
        accepts it, or it is closed.
        """

        def body(tx: Tx) -> datetime | None:
            check_live(tx, actor)
            if on:
                return _taken(tx, actor, phone=phone)
            _end(tx, actor)
            return None

        until = await self._store.write(body)
        self._changed()
        return until

    async def shown(self, actor: Actor) -> dict[str, Any]:
        """Return what an adult needs to know of duty: the own lease, who else is there, offers, the rota."""
        return await self._store.read(lambda tx: _shown(tx, actor))

    async def offer(self, actor: Actor, to: str, alert: str | None) -> dict[str, Any]:
        """Offer another adult on duty an alert of one's own, or all of them; it waits for the answer."""

        def body(tx: Tx) -> dict[str, Any]:
            check_live(tx, actor)
            circle = tx.rota.circle(actor.site)
            if to == actor.member or to not in circle.adults or to in circle.outside:
                raise UnknownObject("no such adult")
            if tx.duty.lease_of(to) is None:
                raise CaseError("that adult is not on duty just now")
            mine = tx.alerts.held_alerts(actor.member)
            chosen = [a for a in mine if alert is None or a.id == alert]
            if not chosen:
                raise CaseError("there is no open alert of yours to hand over")
            if not any(circle.may_know(a, to) for a in chosen):
                raise CaseError("that adult may not have it")
            until = tx.now + OFFER
            tx.audit.append(actor.member, "handover_offered", to, {"alert": alert})
            found = tx.duty.offer(actor.member, to, actor.site, alert=alert, until=until)
            for one in chosen:
                if circle.may_know(one, to):
                    tx.alerts.log(one.id, "handover_offered", by=actor.member, data={"to": _name(tx, to)})
            _tell(tx, found, "offered")
            return _offer_row(tx, found, actor.member)

        return await self._store.write(body)

    async def answer(self, actor: Actor, offer: str, answer: Answer) -> dict[str, Any]:
        """Accept or decline an offer, or withdraw one's own; return how duty stands then.

        Accepting needs a duty lease of one's own, and makes every alert of the offer that the giver still has
        one's own, apart from those that one may not know of: they stay where they are.
        """

        def body(tx: Tx) -> dict[str, Any]:
            check_live(tx, actor)
            found = next((o for o in tx.duty.offers(actor.site, actor.member) if o.id == offer), None)
            whose = found is not None and (found.giver if answer is Answer.WITHDRAWN else found.taker)
            if found is None or whose != actor.member:
                raise UnknownObject("no such offer; it may have run out")
            if answer is Answer.ACCEPTED and tx.duty.lease_of(actor.member) is None:
                raise CaseError("take duty first: who has an open alert is on duty")
            tx.audit.append(actor.member, f"handover_{answer.value}", found.giver, {"offer": found.id})
            if answer is Answer.ACCEPTED:
                _take_over(tx, found)
            tx.duty.answer(found.id, answer)
            _tell(tx, found, answer.value)
            return _shown(tx, actor)

        return await self._store.write(body)


def _taken(tx: Tx, actor: Actor, *, phone: bool) -> datetime:
    site = tx.sites.get(actor.site)
    if actor.member in tx.rota.circle(actor.site).outside:
        raise Forbidden("you are asked about alerts that concern staff, and hold no duty here")
    if phone and actor.role is not Role.ADULT:
        raise Forbidden("only an adult holds duty by phone")
    if phone and not _reachable(tx, actor):
        raise Forbidden(NOT_TRIED)
    held = tx.duty.lease_of(actor.member)
    if held is None or (phone and held.phone_until is None):
        tx.audit.append(actor.member, "duty_on", actor.member, {"by": "phone" if phone else "page"})
    lease = site.times.phone_lease if phone else site.times.page_lease
    return tx.duty.take(actor.member, actor.role, actor.site, lease=lease, phone=phone)


def _end(tx: Tx, actor: Actor) -> None:
    held = tx.duty.lease_of(actor.member)
    if held is not None and actor.role is Role.ADULT and tx.alerts.held_by(actor.member):
        raise Forbidden(HOLDS)
    if held is not None:
        tx.audit.append(actor.member, "duty_off", actor.member)
    tx.duty.end(actor.member)


def _reachable(tx: Tx, actor: Actor) -> bool:
    """Return whether an adult tried in this shift what can wake a locked phone of theirs."""
    began = tx.rota.of(tx.sites.get(actor.site)).shift_began(actor.member, tx.now)
    return tx.channels.tried_since(actor.member, began)


def _take_over(tx: Tx, offer: OfferValue) -> None:
    circle, times = tx.rota.circle(offer.site), tx.sites.get(offer.site).times
    for alert in tx.alerts.held_alerts(offer.giver):
        if offer.alert not in (None, alert.id) or not circle.may_know(alert, offer.taker):
            continue
        moved = life.handed_over(alert, to=offer.taker, now=tx.now, lease=times.acknowledgement)
        tx.alerts.save(moved)
        tx.alerts.log(alert.id, "handed_over", by=offer.taker, data={"from": _name(tx, offer.giver)})
        emit_alert(tx, moved, "updated")


def _tell(tx: Tx, offer: OfferValue, change: str) -> None:
    frame = frames.Handover(
        id=offer.id,
        change=change,
        from_=_name(tx, offer.giver),
        to=_name(tx, offer.taker),
        alerts=_alerts_in(tx, offer),
        until=frames.utc(offer.until),
    )
    tx.emit(to_members(frame, offer.giver, offer.taker))


def _alerts_in(tx: Tx, offer: OfferValue) -> int:
    """Return how many alerts an offer is about, as the taker may know: to the giver it says no more."""
    circle = tx.rota.circle(offer.site)
    mine = [a for a in tx.alerts.held_alerts(offer.giver) if offer.alert in (None, a.id)]
    return sum(circle.may_know(alert, offer.taker) for alert in mine)


def _name(tx: Tx, member: str) -> str:
    return tx.members.names([member]).get(member, "Another adult")


def _adults(tx: Tx, site: str) -> list[tuple[Any, str]]:
    return [(lease, name) for lease, name in tx.duty.leases(site) if lease.role is Role.ADULT]


def _offer_row(tx: Tx, offer: OfferValue, reader: str) -> dict[str, Any]:
    return {
        "id": offer.id,
        "from": _name(tx, offer.giver),
        "to": _name(tx, offer.taker),
        "mine": offer.giver == reader,
        "alert": offer.alert,
        "alerts": _alerts_in(tx, offer),
        "until": views.moment(offer.until),
    }


def _shown(tx: Tx, actor: Actor) -> dict[str, Any]:
    site, circle = tx.sites.get(actor.site), tx.rota.circle(actor.site)
    rota = tx.rota.of(site)
    held = tx.duty.lease_of(actor.member)
    adults = _adults(tx, actor.site)
    expected = rota.on_rota(tx.now)
    coming = [slot for slot in rota.slots(tx.now, tx.now + COMING) if slot.member == actor.member]
    names = tx.members.names({slot.member for slot in expected})
    closes = views.closing(tx, site)
    return {
        "until": views.moment(held.until) if held is not None else None,
        "phone_until": views.moment(held.phone_until) if held is not None else None,
        "phone": {
            "minutes": round(site.times.phone_lease.total_seconds() / 60),
            "ready": actor.role is Role.ADULT and _reachable(tx, actor),
        },
        "mine": tx.alerts.held_by(actor.member),
        "waiting": tx.alerts.waiting(actor.site, reader=actor.member) if actor.role is Role.ADULT else 0,
        "on_duty": [
            {
                "id": lease.member,
                "name": name,
                "until": views.moment(lease.until),
                "phone": lease.phone_until is not None and lease.phone_until > tx.now,
                "may_take": lease.member != actor.member and lease.member not in circle.outside,
            }
            for lease, name in adults
        ],
        "expected": [slot_row(slot, names) for slot in expected],
        "turns": [slot_row(slot, {actor.member: actor.name or ""}) for slot in coming],
        "offers": [_offer_row(tx, o, actor.member) for o in tx.duty.offers(actor.site, actor.member)],
        "closes_at": views.moment(closes),
    }


def slot_row(slot: Slot, names: dict[str, str]) -> dict[str, Any]:
    """Return a slot of the rota as pages show it."""
    return {
        "name": names.get(slot.member, "Somebody who left"),
        "part": slot.part.value,
        "begin": views.moment(slot.span.begin),
        "end": views.moment(slot.span.end),
    }
