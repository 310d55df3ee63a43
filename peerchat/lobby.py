"""Before a conversation: asking, waiting, being on shift, and the pairing of the two."""

import math
import secrets
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from msgspec import UNSET

from escalation.alert import Concern
from moderation.trajectory import begun_with
from moderation.verdict import Risk, Role, Submission, Verdict
from peerchat import frames, views, words
from peerchat.chat import Judge
from peerchat.course import check_live
from peerchat.errors import ClientError, Closed, Forbidden, Invalid
from peerchat.model import Actor, new_id
from peerchat.pairing import Free, Pair, Waiting, pairs
from peerchat.ports import to_connection, to_members
from peerchat.store.sites import SiteValue
from peerchat.store.sql import Store, Tx
from peerchat.telling import emit_evidence, tell_help

RECENT_WAITS = timedelta(hours=2)
ENOUGH_WAITS = 3
"""Fewer recent waits than this give no estimate: an honest "we don't know yet"."""

UNJUDGED = "unjudged"
"""The label of a note that no stage could judge."""

LOST_TICKET = timedelta(minutes=2)
"""A waiting pupil who is gone for this long waits no more."""


class Lobby:
    """Ask, wait, go on shift. `here` tells which members have an open line on this node."""

    def __init__(
        self,
        store: Store,
        judge: Judge,
        *,
        here: Callable[[str], bool],
        last_heard: Callable[[str], datetime | None],
        alerted: Callable[[], None],
        max_capacity: int,
    ) -> None:
        self._store = store
        self._judge = judge
        self._here = here
        self._last_heard = last_heard
        self._alerted = alerted
        self._max_capacity = max_capacity
        self._since: datetime | None = None

    async def ask(self, actor: Actor, connection: str, frame: frames.Ask) -> None:
        """Let a pupil wait; the connection that asked is answered by `waiting`.

        The note is judged before anyone is paired; risk in it raises an alert at once.
        """
        verdict = None
        if frame.note and frame.note.strip():
            [verdict] = await self._judge.judge(
                [Submission(text=frame.note, role=actor.role, sender=actor.member, site=actor.site)]
            )

        def body(tx: Tx) -> ClientError | None:
            check_live(tx, actor)
            site = tx.sites.get(actor.site)
            heard = False
            if verdict is not None:
                heard = _heed_note(tx, actor, verdict, frame.note or "", site)
            refusal = _refusal(tx, actor, frame, site, heard=heard)
            if refusal is not None:  # returned, not raised: the note's alert must stand
                return refusal
            wishes = {name: getattr(frame.preferences, name) for name in frame.preferences.__struct_fields__}
            tx.tickets.add(
                id=new_id("tkt"),
                site=actor.site,
                pupil=actor.member,
                topics=frame.topics,
                wishes=wishes,
                mood=frame.mood,
                note=frame.note,
                risk=verdict.risk if verdict is not None else Risk.NONE,
                so_far=begun_with(verdict).to_json() if verdict is not None else None,
            )
            _tell_line(tx, site, answer=(actor.member, connection, frame.ref))
            return None

        refusal = await self._store.write(body)
        if verdict is not None:
            self._alerted()
        if refusal is not None:
            raise refusal
        await self.pair(actor.site)

    async def cancel(self, actor: Actor) -> None:
        """Stop waiting."""

        def body(tx: Tx) -> None:
            check_live(tx, actor)
            if tx.tickets.cancel(actor.member):
                _tell_line(tx, tx.sites.get(actor.site))

        await self._store.write(body)

    async def shift(self, actor: Actor, frame: frames.Shift) -> None:
        """Begin or end a shift. Nobody is on shift without approval and training in date (rule 13)."""

        def body(tx: Tx) -> None:
            check_live(tx, actor)
            capacity = frame.capacity if frame.capacity is not None else 1
            if capacity > self._max_capacity:
                raise Invalid(f"`capacity` may be up to {self._max_capacity}")
            member = tx.members.get(actor.member)
            assert member is not None
            if frame.on and (
                member.approved_at is None or member.trained_until is None or member.trained_until <= tx.now
            ):
                raise Forbidden(
                    "an adult has to approve you, and your training has to be in date, before a shift"
                )
            tx.tickets.set_shift(actor.member, actor.site, on=frame.on, capacity=capacity)
            tx.audit.append(actor.member, "shift_on" if frame.on else "shift_off", actor.member)

        await self._store.write(body)
        await self.pair(actor.site)

    async def take_break(self, actor: Actor, frame: frames.Break) -> None:
        """Begin or end a break."""

        def body(tx: Tx) -> None:
            check_live(tx, actor)
            if not tx.tickets.set_break(actor.member, on=frame.on):
                raise Forbidden("go on shift first")

        await self._store.write(body)
        if not frame.on:
            await self.pair(actor.site)

    async def pair(self, site: str) -> int:
        """Pair whoever can be paired now; return how many. Call it on every change."""
        if not await self._store.read(lambda tx: self._possible(tx, site)):
            return 0
        return await self._store.write(lambda tx: self._pair(tx, site))

    async def drop_lost(self, site: str) -> None:
        """Let tickets go whose pupils have been away too long."""

        def lost(tx: Tx) -> list[str]:
            return [
                t.pupil
                for t in tx.tickets.waiting(site)
                if not self._here(t.pupil)
                and tx.now - (self._last_heard(t.pupil) or t.asked_at) > LOST_TICKET
            ]

        def body(tx: Tx) -> None:
            for pupil in lost(tx):
                tx.tickets.cancel(pupil)
            _tell_line(tx, tx.sites.get(site))

        if await self._store.read(lost):
            await self._store.write(body)

    def away_for(self, member: str, *, now: datetime) -> timedelta:
        """Return how long a member has had no line here; as far as this node knows."""
        self._since = self._since or now  # before that another process may have had the line
        if self._here(member):
            return timedelta(0)
        return now - max(self._last_heard(member) or self._since, self._since)

    async def say_line(self, site: str) -> None:
        """Tell everybody who waits where they stand."""

        def body(tx: Tx) -> None:
            _tell_line(tx, tx.sites.get(site))

        await self._store.write(body)

    def _possible(self, tx: Tx, site: str) -> list[Pair]:
        if not views.site_opening(tx, tx.sites.get(site)).open:
            return []
        waiting = [t for t in tx.tickets.waiting(site) if self._here(t.pupil)]
        if not waiting:
            return []
        seats = [
            s
            for s in tx.tickets.seats(site)
            if s.on and not s.on_break and s.approved and s.trained_until is not None
            and s.trained_until > tx.now and self._here(s.mentor)
        ]  # fmt: skip
        loads = tx.conversations.loads([s.mentor for s in seats])
        free = [
            Free(
                mentor=s.mentor,
                room=s.capacity - loads.get(s.mentor, 0),
                load=loads.get(s.mentor, 0),
                since=s.since,
            )
            for s in seats
        ]
        pupils = [t.pupil for t in waiting]
        return pairs(
            [
                Waiting(
                    ticket=t.id,
                    pupil=t.pupil,
                    again=t.wishes.get("again", False),
                    risk=t.risk,
                    since=t.asked_at,
                )
                for t in waiting
            ],
            free,
            forbidden=tx.members.blocks([*pupils, *(s.mentor for s in seats)]),
            met=tx.members.met(pupils),
        )

    def _pair(self, tx: Tx, site: str) -> int:
        """Claim the pairs in one transaction: what is decided and what is written see the same rows."""
        made = self._possible(tx, site)
        tickets = {t.id: t for t in tx.tickets.waiting(site)}
        for pair in made:
            id = new_id("cnv")
            ticket = tickets[pair.ticket]
            tx.conversations.begin(id=id, site=site, topics=ticket.topics, so_far=ticket.so_far)
            if not tx.tickets.pair(pair.ticket, id):
                raise RuntimeError("a waiting ticket was claimed twice in one transaction")
            pupil_alias, mentor_alias = _aliases(tx, pair.pupil, pair.mentor)
            tx.conversations.join(id, pair.pupil, Role.PUPIL, pupil_alias, reads_from=0)
            tx.conversations.join(id, pair.mentor, Role.MENTOR, mentor_alias, reads_from=0)
            topics = list(ticket.topics)
            tx.emit(
                to_members(
                    frames.Paired(
                        conversation=id,
                        partner=frames.Who(alias=mentor_alias, role=Role.MENTOR.value, topics=[]),
                        notice=words.NOTICE[Role.PUPIL],
                    ),
                    pair.pupil,
                ),
                to_members(
                    frames.Paired(
                        conversation=id,
                        partner=frames.Who(alias=pupil_alias, role=Role.PUPIL.value, topics=topics),
                        notice=words.NOTICE[Role.MENTOR],
                    ),
                    pair.mentor,
                ),
            )
        _tell_line(tx, tx.sites.get(site))
        return len(made)


def _aliases(tx: Tx, pupil: str, mentor: str) -> tuple[str, str]:
    """Return what the two call each other: kept from before, else new to both."""
    kept = tx.members.pseudonyms(pupil, mentor)
    if kept is not None:
        return kept
    taken = tx.members.aliases_met(pupil) | tx.members.aliases_met(mentor)
    pupil_alias = _fresh(words.pupil_aliases(), taken)
    mentor_alias = _fresh(words.mentor_aliases(), taken)
    tx.members.add_pseudonyms(pupil, mentor, pupil_alias=pupil_alias, mentor_alias=mentor_alias)
    return pupil_alias, mentor_alias


def _fresh(aliases: Sequence[str], taken: set[str]) -> str:
    left = [a for a in aliases if a not in taken]
    return secrets.choice(left) if left else f"{secrets.choice(aliases)} {secrets.randbelow(900) + 100}"


def _tell_line(tx: Tx, site: SiteValue, *, answer: tuple[str, str, str | None] | None = None) -> None:
    """Tell every waiting pupil their place, and an estimate where recent waits give one.

    `answer` names who asked: (pupil, connection, ref). That connection's frame carries the ref.
    """
    waiting = sorted(tx.tickets.waiting(site.id), key=lambda t: (-t.risk, t.asked_at, t.id))
    if not waiting:
        return
    recent = sorted(w.total_seconds() for w in tx.tickets.recent_waits(site.id, within=RECENT_WAITS))
    typical = recent[len(recent) // 2] if len(recent) >= ENOUGH_WAITS else None
    for place, ticket in enumerate(waiting, start=1):
        waited = (tx.now - ticket.asked_at).total_seconds()
        left = None
        if typical is not None:
            left = max(60, math.ceil((typical * (1 + (place - 1) / 2) - waited) / 60) * 60)
        asked = answer if answer is not None and answer[0] == ticket.pupil else None
        skip = asked[1] if asked is not None else None
        tx.emit(to_members(frames.Waiting(position=place, wait_s=left), ticket.pupil, skip=skip))
        if asked is not None:
            frame = frames.Waiting(position=place, wait_s=left, ref=asked[2] or UNSET)
            tx.emit(to_connection(frame, asked[1]))


def _refusal(tx: Tx, actor: Actor, frame: frames.Ask, site: SiteValue, *, heard: bool) -> ClientError | None:
    """Return why a pupil cannot wait now, or None. A closed site is shown with where help is."""
    state = views.site_opening(tx, site)
    if not state.open:
        tx.emit(to_members(views.site_frame(tx, site, state), actor.member))
        return Closed(words.CLOSED_BUT_HEARD if heard else words.closed_words(state.why))
    if any(topic not in site.topics for topic in frame.topics):
        return Invalid("`topics` names one that the site does not have")
    if tx.conversations.open_of(actor.member):
        return Forbidden("you are in a chat already; leave it first")
    return None


def _heed_note(tx: Tx, actor: Actor, verdict: Verdict, note: str, site: SiteValue) -> bool:
    """Raise the alert that a note asks for; return whether one was. What could not be judged asks, too."""
    risk, labels = verdict.risk, verdict.labels
    if risk is Risk.NONE and verdict.degraded:
        risk, labels = Risk.CONCERN, (UNJUDGED,)
    if risk is Risk.NONE:
        return False
    concern = Concern(about=actor.member, about_role=actor.role, risk=risk, labels=labels)
    alert, new = tx.alerts.raise_or_fold(
        concern, site=actor.site, conversation=None, message=None, by=actor.member, note=note
    )
    emit_evidence(tx, alert, new=new)
    if views.wants_help_frames(alert):
        tell_help(tx, alert, None)
    if verdict.risk > Risk.NONE:
        support = frames.Support(conversation="", text=words.SUPPORT[risk], services=views.services(site))
        tx.emit(to_members(support, actor.member))
    return True
