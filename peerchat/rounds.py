"""What happens because time passes: the duty interlock, opening hours, claims that ran out, lost tickets.

Nothing here is needed for safety in the moment: every delivery checks duty inside its own transaction. The
rounds make the state visible, and put right what waits.
"""

import asyncio
import contextlib
import logging

from moderation.verdict import Risk, Role
from peerchat import views
from peerchat.course import deliver_allowed, end_conversation, pause_conversation, resume_conversation
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

LINE_EVERY = 15
"""Rounds between two tellings of the line to those who wait."""


class Rounds:
    """One loop for each node; what it does is safe when several do it."""

    def __init__(self, store: Store, lobby: Lobby, *, every_s: float = EVERY_S) -> None:
        self._store = store
        self._lobby = lobby
        self._every_s = every_s
        self._woken = asyncio.Event()
        self._told: dict[str, tuple[bool, str | None, tuple[str, ...]]] = {}
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

    async def _interlock(self, site: SiteValue) -> bool:
        """Make what people see agree with who is on duty; return whether the site has just opened."""

        def look(tx: Tx) -> tuple[Opening, tuple[str, ...], bool]:
            state = views.site_opening(tx, tx.sites.get(site.id))
            return state, tuple(views.on_duty(tx, site.id)), _anything_to_do(tx, tx.sites.get(site.id), state)

        state, names, work = await self._store.read(look)
        now = (state.open, state.why, names)
        before = self._told.get(site.id)
        if not work and before == now:
            return False

        def body(tx: Tx) -> tuple[Opening, tuple[bool, str | None, tuple[str, ...]]]:
            fresh = tx.sites.get(site.id)
            found = views.site_opening(tx, fresh)
            _settle(tx, fresh, found)
            told = (found.open, found.why, tuple(views.on_duty(tx, site.id)))
            if self._told.get(site.id) not in (None, told):
                tx.emit(to_site(views.site_frame(tx, fresh, found), site.id))
            return found, told

        found, self._told[site.id] = await self._store.write(body)
        return found.open and (before is None or not before[0])


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
