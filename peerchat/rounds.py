"""What happens because time passes: the duty interlock, opening hours, claims that ran out, lost tickets.

Nothing here is needed for safety in the moment: every delivery checks duty inside its own transaction. The
rounds make the state visible, and put right what waits.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from escalation.alert import Alert
from moderation.verdict import Risk, Role
from peerchat import views
from peerchat.course import deliver_allowed, end_conversation, pause_conversation, resume_conversation
from peerchat.leaving import (
    BACK,
    DROPPED,
    HOLDER_BACK,
    HOLDER_GRACE,
    HOLDER_LOST,
    LEFT,
    LOST,
    PAIR,
    tell_back,
    tell_freed,
    tell_holder,
    tell_lost,
)
from peerchat.lobby import Lobby
from peerchat.model import CLOSED_BY_STAFF, NO_ADULT, OUTSIDE_HOURS, ConversationState
from peerchat.opening import Opening
from peerchat.ports import to_site
from peerchat.store.sites import SiteValue
from peerchat.store.sql import Store, Tx
from peerchat.telling import emit_alert, emit_review

log = logging.getLogger(__name__)

EVERY_S = 1.0
HALTS = (NO_ADULT, CLOSED_BY_STAFF)
"""Pauses that end by themselves; a person's pause ends by a person."""

ACTED = ("acknowledged", "joined", "action", "handed_over")
"""Lines of a case that show that somebody is at work on it."""

LINE_EVERY = 15
"""Rounds between two tellings of the line to those who wait."""

WATCH_EVERY = 5
"""Rounds between two looks at whether those whom open alerts are about are still there."""


class Rounds:
    """One loop for each node; what it does is safe when several do it."""

    def __init__(self, store: Store, lobby: Lobby, *, every_s: float = EVERY_S) -> None:
        self._store = store
        self._lobby = lobby
        self._every_s = every_s
        self._woken = asyncio.Event()
        self._told: dict[str, _Seen] = {}
        self._turn = 0

    def wake(self) -> None:
        """Go round now: duty has changed."""
        self._woken.set()

    async def run(self) -> None:
        """Go round until cancelled."""
        while True:
            self._woken.clear()
            try:
                await self.go_round()
            except Exception as error:  # the next round tries again
                log.error("a round failed: %s", type(error).__name__)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._every_s):
                    await self._woken.wait()

    async def go_round(self) -> None:
        """Go round once, site by site."""
        self._turn += 1
        for site in await self._store.read(lambda tx: tx.sites.all()):
            try:
                await self._visit(site)
            except Exception as error:  # one site's trouble must not keep the others waiting
                log.error("a site's round failed: %s", type(error).__name__)

    async def _visit(self, site: SiteValue) -> None:
        if await self._interlock(site):
            await self._lobby.pair(site.id)
        elif self._turn % LINE_EVERY == 0:
            await self._lobby.drop_lost(site.id)
            await self._lobby.pair(site.id)
            await self._lobby.say_line(site.id)
        if self._turn % WATCH_EVERY == 0:
            await self._watch(site.id)

    async def _watch(self, site: str) -> None:
        """Tell again of open alerts whose pupil or mentor, or whose adult on duty, is not there any more."""

        def changes(tx: Tx) -> list[Callable[[], None]]:
            found = []
            for alert in tx.alerts.urgent(site):
                if alert.about_role in PAIR:
                    found += _subject(tx, alert, self._lobby.away_for(alert.about, now=tx.now))
                if alert.holder is not None:
                    found += _holder(tx, alert, alert.holder)
            return found

        def body(tx: Tx) -> None:
            for change in changes(tx):
                change()

        if await self._store.read(lambda tx: bool(changes(tx))):
            await self._store.write(body)

    async def _interlock(self, site: SiteValue) -> bool:
        """Make what people see agree with who is on duty; return whether the site has just opened."""

        def look(tx: Tx) -> tuple[_Seen, bool]:
            fresh = tx.sites.get(site.id)
            state = views.site_opening(tx, fresh)
            return _seen(tx, fresh, state), _anything_to_do(tx, fresh, state)

        now, work = await self._store.read(look)
        before = self._told.get(site.id)
        if not work and before == now:
            return False

        def body(tx: Tx) -> tuple[Opening, _Seen]:
            fresh = tx.sites.get(site.id)
            found = views.site_opening(tx, fresh)
            _settle(tx, fresh, found)
            told = _seen(tx, fresh, found)
            if self._told.get(site.id) not in (None, told):
                tx.emit(to_site(views.site_frame(tx, fresh, found), site.id))
            return found, told

        found, self._told[site.id] = await self._store.write(body)
        return found.open and (before is None or not before.open)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What everybody of a site was last told of it."""

    open: bool
    why: str | None
    on_duty: tuple[str, ...]
    closes: datetime | None


def _seen(tx: Tx, site: SiteValue, state: Opening) -> _Seen:
    names = tuple(views.on_duty(tx, site.id))
    return _Seen(state.open, state.why, names, views.closing(tx, site, state))


def _subject(tx: Tx, alert: Alert, away: timedelta) -> list[Callable[[], None]]:
    """Return what is to be told of the one whom an alert is about: has dropped off, or is there again."""
    was = tx.alerts.last_of(alert.id, (LEFT, LOST, BACK))
    lost = was is not None and was[0] == LOST
    left = was is not None and was[0] == LEFT and was[2] == alert.about
    if away > DROPPED and not lost and not left:
        return [partial(tell_lost, tx, alert)]
    return [partial(tell_back, tx, alert)] if lost and not away else []


def _holder(tx: Tx, alert: Alert, holder: str) -> list[Callable[[], None]]:
    """Return what is to be told of an adult whose duty ended, or came back, with an alert in hand.

    Who took it on without being on duty was never expected to be. Whoever acts on the alert is there.
    """
    ended = tx.duty.ended(holder)
    was = tx.alerts.last_of(alert.id, (HOLDER_LOST, HOLDER_BACK, *ACTED))
    lost = was is not None and was[0] == HOLDER_LOST
    if ended is not None and not lost and was is not None and ended > was[1]:
        return [partial(tell_holder, tx, alert, lost=True)]
    if lost and tx.duty.lease_of(holder) is not None:
        return [partial(tell_holder, tx, alert, lost=False)]
    if lost and was is not None and was[1] + HOLDER_GRACE <= tx.now:
        return [partial(tell_freed, tx, alert)]
    return []


def _halt(tx: Tx, site: SiteValue) -> str | None:
    """Return why a site's conversations must stand still, or None."""
    if site.closed_by_staff:
        return CLOSED_BY_STAFF
    return None if tx.duty.covered(site.id) else NO_ADULT


def _anything_to_do(tx: Tx, site: SiteValue, state: Opening) -> bool:
    """Return whether a round has work here; asked every second, so it only looks for one of each."""
    halt, open_one = _halt(tx, site), ConversationState.OPEN
    if halt is not None and tx.conversations.any_of_site(site.id, open_one):
        return True
    if halt is None and (
        tx.conversations.paused_for(site.id, HALTS) or tx.conversations.with_allowed_waiting(site.id)
    ):
        return True
    if state.why == OUTSIDE_HOURS and tx.conversations.any_of_site(
        site.id, open_one, ConversationState.PAUSED
    ):
        return True
    return tx.reviews.any_expired(site.id) or bool(tx.members.suspended_at_work(site.id))


def take_out(tx: Tx, member: str) -> None:
    """Take a suspended member out of everything under way, and tell the others (rule 14).

    Done here, whoever suspended: another node or the command line cannot tell this node's lines.
    """
    tx.tickets.cancel(member)
    tx.tickets.end_shift(member)
    tx.duty.end(member)
    for conversation in tx.conversations.open_of(member):
        if (part := conversation.part(member)) is not None and part.role in (Role.PUPIL, Role.MENTOR):
            end_conversation(tx, conversation, why="ended_by_staff", by=member)
        else:
            tx.conversations.leave(conversation.id, member)
    for item in tx.reviews.free_of(member):
        emit_review(tx, "added", item)
    for alert in tx.alerts.let_go(member):
        emit_alert(tx, alert, "climbed")


def _settle(tx: Tx, site: SiteValue, state: Opening) -> None:
    """Pause, resume, deliver, end and free, as the moment asks."""
    if state.why == OUTSIDE_HOURS:
        for conversation in tx.conversations.live_of_site(
            site.id, ConversationState.OPEN, ConversationState.PAUSED
        ):
            if not any(a.risk >= Risk.HIGH for a in tx.alerts.open_in([conversation.id])):
                end_conversation(tx, conversation, why="closing_time")
    halt = _halt(tx, site)
    if halt is None:
        for conversation in tx.conversations.paused_for(site.id, HALTS):
            resume_conversation(tx, conversation, "open_again")
        deliver_allowed(tx, tx.conversations.with_allowed_waiting(site.id))
    else:
        for conversation in tx.conversations.live_of_site(site.id, ConversationState.OPEN):
            pause_conversation(tx, conversation, halt)
    for member in tx.members.suspended_at_work(site.id):
        take_out(tx, member)
    for item in tx.reviews.free_expired(site.id):
        emit_review(tx, "added", item.id)
