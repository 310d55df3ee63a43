"""One node: its lines, what each frame does, and the tasks that keep it alive.

The shell (web/) opens a line, hands on what arrives, and writes what the line's outbox holds; everything
else is here, so that a socket and a long poll are the same to the rest.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

from msgspec import UNSET

from escalation.desk import Desk
from moderation.verdict import Role
from peerchat import frames, views
from peerchat.accounts import Accounts
from peerchat.cases import Cases
from peerchat.chat import Chat
from peerchat.duties import Duties
from peerchat.errors import ClientError, Forbidden, StoreUnavailable, Unavailable
from peerchat.frames import Mark, dump
from peerchat.hub import GOING_AWAY, SIGNED_OUT, SILENT, SUSPENDED, Hub, Line
from peerchat.lobby import Lobby
from peerchat.model import Actor, MessageStatus, new_id
from peerchat.ports import Broker, Event, NodeId, to_members, to_site
from peerchat.review import ReviewQueue
from peerchat.rotas import RotaDesk
from peerchat.rounds import Rounds
from peerchat.session import Do, Hangup, Limits, MemberBuckets, Reply, Session
from peerchat.store.messages import marks
from peerchat.store.sql import Store, Tx
from peerchat.words import DEFAULT_SERVICES, UNHEARD

log = logging.getLogger(__name__)

BACKLOG = 100_000
"""Events that may wait for the broker; beyond it the oldest go, and clients find the gap by heartbeat."""

SILENT_HEARTBEATS = 3
WELCOME_OWN = 100
"""One's own undelivered, and one's decided, messages in a welcome: the newest."""
SESSIONS_EVERY_S = 0.8
"""Rule 14: nothing reaches an ended session after 2 s, whoever ended it."""

SAVING_EVERY_S, TRY_SAVING_EVERY_S = 1.0, 5.0
"""How soon staff hear that nothing can be saved, and how often it is tried again."""

CLOCKS_APART = timedelta(minutes=10)
"""How far another host's clock may be behind without an ended session being missed."""


class Publisher:
    """Takes events as commits end, and hands them to the broker in that order. Bounded."""

    def __init__(self, broker: Broker, node: NodeId) -> None:
        self._broker = broker
        self._node = node
        self._events: deque[Event] = deque(maxlen=BACKLOG)
        self._ready = asyncio.Event()
        self.dropped = 0

    def publish(self, events: Sequence[Event]) -> None:
        """Queue events; never waits."""
        self.dropped += max(0, len(self._events) + len(events) - BACKLOG)
        self._events.extend(events)
        self._ready.set()

    async def run(self) -> None:
        """Publish until cancelled, one batch for all that came meanwhile."""
        while True:
            if not self._events:
                self._ready.clear()
                await self._ready.wait()
            batch = list(self._events)
            self._events.clear()
            try:
                await self._broker.publish(self._node, batch)
            except Exception as error:  # at most once: the database is the truth, heartbeats show the gap
                self.dropped += len(batch)
                log.error("events were not published: %s", type(error).__name__)


class Node:
    """Lines and frames on this node. Made once, in the lifespan of the app."""

    def __init__(
        self,
        *,
        id: NodeId,
        store: Store,
        broker: Broker,
        publisher: Publisher,
        hub: Hub,
        chat: Chat,
        lobby: Lobby,
        review: ReviewQueue,
        cases: Cases,
        rounds: Rounds,
        desk: Desk,
        accounts: Accounts,
        limits: Limits,
        heartbeat_s: float,
        clock: Callable[[], datetime],
        failed: Callable[[str], None],
    ) -> None:
        self.id = id
        self.store = store
        self.hub = hub
        self.chat = chat
        self.lobby = lobby
        self.review = review
        self.cases = cases
        self.rounds = rounds
        self.duties = Duties(store, changed=rounds.wake)
        self.rota = RotaDesk(store, changed=rounds.wake)
        self.desk = desk
        self.accounts = accounts
        self.publisher = publisher
        self.heartbeat_s = heartbeat_s
        self._broker = broker
        self._buckets = MemberBuckets(limits)
        self._clock = clock
        self._failed = failed
        self._conversations: dict[str, Conversing] = {}
        self.draining = False

    def now(self) -> datetime:
        """Return this moment."""
        return self._clock()

    # -- lines

    async def open(self, actor: Actor) -> "Conversing":
        """Open a line for a member: its outbox begins with `welcome`, then what the member must know."""
        line = Line(new_id("lin"), actor, now=self._clock())
        first = not self.hub.here(actor.member)
        since = self.hub.last_heard(actor.member)
        self.hub.open(line)
        talk = Conversing(line, Session(actor, buckets=self._buckets.of(actor.member)))
        self._conversations[line.id] = talk
        try:
            payloads, live = await self.store.read(
                lambda tx: (self._welcome(tx, actor, since), bool(tx.members.live_tokens([actor.token])))
            )
        except BaseException:
            self._forget(talk)
            raise
        line.outbox.begin(payloads)
        if first:
            await self._arrived(actor)
        if not live:  # signed out while the line opened; a later sign-out finds the line by its event
            line.outbox.close(SIGNED_OUT)
        return talk

    async def _arrived(self, actor: Actor) -> None:
        """Show partners that somebody came, and pair whom that frees. Never a reason to refuse a line."""
        await self._presence(actor, online=True)
        if actor.role in (Role.PUPIL, Role.MENTOR):
            try:
                await self.lobby.pair(actor.site)
            except StoreUnavailable:
                log.warning("not paired on arrival; the rounds will")

    async def close(self, talk: "Conversing") -> None:
        """Forget a line that is gone; partners see it when it was the member's last."""
        self._forget(talk)
        actor = talk.line.actor
        if not self.hub.here(actor.member) and not self.draining:
            await self._presence(actor, online=False)

    def _forget(self, talk: "Conversing") -> None:
        self.hub.close(talk.line)
        self._conversations.pop(talk.line.id, None)

    def _welcome(self, tx: Tx, actor: Actor, since: datetime | None) -> list[str]:
        site = tx.sites.get(actor.site)
        conversations = tx.conversations.open_of(actor.member)
        ids = [c.id for c in conversations]
        seat = tx.tickets.seat(actor.member) if actor.role is Role.MENTOR else None
        lease = tx.duty.lease_of(actor.member)
        waiting = actor.role is Role.PUPIL and tx.tickets.waiting_of(actor.member) is not None
        out: list[frames.ServerFrame] = [
            frames.Welcome(
                member=frames.MemberView(
                    id=actor.member, role=actor.role.value, alias=actor.name, site=actor.site
                ),
                site=views.site_view(tx, site),
                conversations=[views.conversation_view(c, actor.member) for c in conversations],
                heartbeat_s=self.heartbeat_s,
                waiting=waiting,
                shift={"on": seat.on, "break": seat.on_break, "capacity": seat.capacity} if seat else None,
                duty_until=frames.utc(lease.until) if lease is not None else None,
            )
        ]
        own = tx.messages.undelivered_by(actor.member, ids, limit=WELCOME_OWN)
        verdicts = tx.messages.verdicts([m.id for m in own])
        out.extend(
            frames.Own(
                conversation=m.conversation,
                message=m.id,
                id=m.client_id,
                text=m.text,
                status=m.status.value,
                reason=m.reason,
                at=frames.utc(m.created_at),
                marks=[Mark(start=x["start"], end=x["end"]) for x in marks(verdicts[m.id].signals)]
                if m.status is MessageStatus.BLOCKED and m.id in verdicts
                else [],
            )
            for m in own
        )
        margin = since - timedelta(seconds=self.heartbeat_s) if since is not None else None
        for m in tx.messages.decided_since(actor.member, ids, margin, limit=WELCOME_OWN):
            delivered = m.status is MessageStatus.DELIVERED
            out.append(
                frames.Decided(
                    conversation=m.conversation,
                    message=m.id,
                    status=m.status.value,
                    seq=m.seq if m.seq is not None else UNSET,
                    reason=UNSET if delivered else m.reason or UNSET,
                )
            )
        if actor.role in (Role.PUPIL, Role.MENTOR):
            by_id = {c.id: c for c in conversations}
            for alert in tx.alerts.open_in(ids):
                told = views.wants_help_frames(alert) and (not alert.discreet or alert.about == actor.member)
                if told and alert.conversation is not None:
                    adults = [
                        p
                        for p in by_id[alert.conversation].participants
                        if p.role is Role.ADULT and not p.left
                    ]
                    state = "here" if adults else views.help_state(alert)
                    out.append(frames.Help(conversation=alert.conversation, state=state))
        return [dump(frame) for frame in out]

    async def _presence(self, actor: Actor, *, online: bool) -> None:
        """Tell partners that a member came or went. Never fails the line."""

        def body(tx: Tx) -> list[Event]:
            events = []
            for conversation in tx.conversations.open_of(actor.member):
                part = conversation.part(actor.member)
                others = [m for m in conversation.present if m != actor.member]
                if part is not None and others and part.role in (Role.PUPIL, Role.MENTOR):
                    frame = frames.PresenceNow(
                        conversation=conversation.id, from_=views.who(part), online=online
                    )
                    events.append(to_members(frame, *others))
            return events

        try:
            self.publisher.publish(await self.store.read(body))
        except StoreUnavailable:
            log.warning("presence was not told")

    # -- frames

    async def receive(self, talk: "Conversing", raw: str | None) -> None:
        """Carry out one message of a line; None stands for a binary one. Never raises for what was sent."""
        line = talk.line
        if line.outbox.close_code is not None:
            return
        line.hear(self._clock())
        effects = talk.session.binary() if raw is None else talk.session.receive(raw, now=time.monotonic())
        for effect in effects:
            match effect:
                case Reply(frame):
                    line.outbox.offer(dump(frame))
                case Hangup(code):
                    line.outbox.close(code)
                case Do(frame, limited):
                    await self._do(talk, frame, limited)

    async def _do(self, talk: "Conversing", frame: frames.ClientFrame, limited: ClientError | None) -> None:
        line = talk.line
        try:
            if isinstance(frame, frames.Send):
                talk.posting()
                try:
                    self.chat.post(line.actor, line.id, frame, done=talk.posted, limited=limited)
                except ClientError:
                    talk.posted()
                    raise
                return
            if not isinstance(frame, frames.Flag):  # a flag waits for nothing
                await talk.settled()
            await self._carry_out(talk, frame)
        except ClientError as error:
            error.ref = frame.ref
            line.outbox.offer(dump(frames.error_frame(error)))
        except StoreUnavailable:
            later = Unavailable("not just now; try again", retry_after_s=1.0, ref=frame.ref)
            line.outbox.offer(dump(frames.error_frame(later)))
            if isinstance(
                frame, frames.Flag
            ):  # who asked for an adult must not be left with "try again" alone
                support = frames.Support(
                    conversation=frame.conversation or "",
                    text=UNHEARD,
                    services=list(DEFAULT_SERVICES),
                )
                line.outbox.offer(dump(support))
        except Exception as error:  # a fault of ours: the line lives, the client may try again
            log.error("a frame failed: %s", type(error).__name__, exc_info=error)
            fault = Unavailable("something went wrong here; try again", retry_after_s=2.0, ref=frame.ref)
            line.outbox.offer(dump(frames.error_frame(fault)))

    async def _carry_out(self, talk: "Conversing", frame: frames.ClientFrame) -> None:
        """Do what one frame asks; what has no answer of its own is answered by `done` after the commit."""
        line, actor = talk.line, talk.line.actor
        done = frames.Done(for_=str(frame.__struct_config__.tag), ref=frame.ref or UNSET)
        match frame:
            case frames.Ask():
                await self.lobby.ask(actor, line.id, frame)
                return
            case frames.History():
                for event in await self.chat.history(actor, frame):
                    assert event.payload is not None
                    line.outbox.offer(event.payload)
                return
            case frames.Typing():
                self.publisher.publish(await self.chat.typing(actor, frame.conversation))
                return
            case frames.Cancel():
                await self.lobby.cancel(actor)
            case frames.Flag():
                alert = await self.cases.flag(actor, frame)
                done = frames.Done(for_="flag", alert=alert, ref=frame.ref or UNSET)
            case frames.Report():
                await self.review.report(actor, frame)
            case frames.SecondLook():
                await self.review.second_look(actor, frame)
            case frames.Block():
                await self.chat.block(actor, frame)
                await self.lobby.pair(actor.site)
            case frames.Leave():
                await self.chat.leave(actor, frame)
                await self.lobby.pair(actor.site)
            case frames.Shift():
                await self.lobby.shift(actor, frame)
            case frames.Break():
                await self.lobby.take_break(actor, frame)
            case frames.Duty():
                until = await self.duties.hold(actor, on=frame.on, phone=frame.phone)
                done = frames.Done(
                    for_="duty",
                    until=frames.utc(until) if until is not None else UNSET,
                    ref=frame.ref or UNSET,
                )
            case frames.Mistake():
                await self.cases.mistake(actor, frame)
            case frames.Send() | frames.Ping():
                raise Forbidden("not here")
        line.outbox.offer(dump(done))

    # -- tasks

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the node's tasks; one that ends by itself goes to `failed`: no node is better than half."""
        async with self._broker.subscribe(self.id) as events:
            work = {
                "publisher": self.publisher.run(),
                "dispatch": self._dispatch(events),
                "pump": self.chat.run(),
                "rounds": self.rounds.run(),
                "desk": self.desk.run(),
                "heartbeats": self._heartbeats(),
                "sessions": self._end_sessions(),
                "saving": self.watch_saving(),
            }
            running = [asyncio.create_task(task, name=name) for name, task in work.items()]
            for task in running:
                task.add_done_callback(self._ended)
            try:
                yield
            finally:
                self.draining = True
                for line in self.hub.lines():
                    line.outbox.close(GOING_AWAY)
                for task in running:
                    task.cancel()
                await asyncio.gather(*running, return_exceptions=True)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled():
            error = task.exception()
            log.critical("%s ended: %s", task.get_name(), type(error).__name__ if error else "by itself")
            self._failed(task.get_name())

    async def _dispatch(self, events: AsyncIterator[Event]) -> None:
        async for event in events:
            self.hub.dispatch(event)

    async def _end_sessions(self) -> None:
        """Close the lines of sessions that ended anywhere: here, on another node, or by the command line.

        Looks back further than the last look, for another host's clock may be behind; a line that is closed
        already does not mind.
        """
        while True:
            await asyncio.sleep(SESSIONS_EVERY_S)
            if not len(self.hub):
                continue
            try:
                ended = await self.store.read(_ended_since(self._clock() - CLOCKS_APART))
            except StoreUnavailable:
                continue
            for suspended, code in ((False, SIGNED_OUT), (True, SUSPENDED)):
                tokens = tuple(token for token, is_suspended in ended if is_suspended is suspended)
                if tokens:
                    self.hub.dispatch(Event(tokens=tokens, close=code))

    async def watch_saving(self) -> None:
        """Tell staff when nothing can be saved, and when it can again.

        What pupils write is refused then, a press on Help too: an adult must know, and no row can tell them.
        Their pages are made to look at the overview, which says so (`web.ops.health`).
        """
        while True:
            await asyncio.sleep(SAVING_EVERY_S)
            if not self.store.failing:
                continue
            log.critical("nothing can be saved: is the disk full?")
            await self._look_again()
            while self.store.failing:
                await asyncio.sleep(TRY_SAVING_EVERY_S)
                try:
                    await self.store.write(lambda tx: tx.sites.beat())
                except StoreUnavailable:
                    continue
                self.store.recovered()
            log.warning("what comes is saved again")
            await self._look_again()

    async def _look_again(self) -> None:
        """Show the staff on this node how their site stands. Reading works where writing does not."""
        staff = (Role.ADULT.value, Role.MODERATOR.value, Role.COORDINATOR.value)

        def body(tx: Tx) -> list[Event]:
            return [to_site(views.site_frame(tx, site), site.id, *staff) for site in tx.sites.all()]

        try:
            self.publisher.publish(await self.store.read(body))
        except StoreUnavailable:
            log.warning("staff were not told at once; their pages ask by themselves")

    async def _heartbeats(self) -> None:
        while True:
            await asyncio.sleep(self.heartbeat_s)
            try:
                await self._heartbeat()
            except StoreUnavailable:
                log.warning("a heartbeat was left out")

    async def _heartbeat(self) -> None:
        for line in self.hub.lines():
            if line.silent_s() > self.heartbeat_s * SILENT_HEARTBEATS:
                line.outbox.close(SILENT)
        lines = self.hub.lines()
        if not lines:
            return

        def body(tx: Tx) -> tuple[dict[str, dict[str, int]], set[str]]:
            seqs: dict[str, dict[str, int]] = {}
            live: set[str] = set()
            for n in range(0, len(lines), 500):
                part = lines[n : n + 500]
                seqs |= tx.conversations.last_seqs({line.actor.member for line in part})
                live |= tx.members.live_tokens({line.actor.token for line in part})
            return seqs, live

        seqs, live = await self.store.read(body)
        for line in lines:
            if line.actor.token not in live:
                line.outbox.close(SIGNED_OUT)
            else:
                line.outbox.offer(dump(frames.Heartbeat(conversations=seqs.get(line.actor.member, {}))))


class Conversing:
    """A line with its session, and the posts of it that are still on their way."""

    __slots__ = ("_idle", "_posting", "line", "session")

    def __init__(self, line: Line, session: Session) -> None:
        self.line = line
        self.session = session
        self._posting = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def posting(self) -> None:
        """A post went to the pump."""
        self._posting += 1
        self._idle.clear()

    def posted(self) -> None:
        """A post was answered."""
        self._posting -= 1
        if self._posting == 0:
            self._idle.set()

    async def settled(self) -> None:
        """Wait until every post before this is answered, so that a line's frames take effect in order."""
        await self._idle.wait()


def _ended_since(moment: datetime) -> Callable[[Tx], list[tuple[str, bool]]]:
    return lambda tx: tx.members.ended_since(moment)
