"""The way of a message: judged in batches, stored in one transaction, acked, delivered.

One pump for each node takes what arrived while the last commit ran. Everything that decides whether a
message may be stored or delivered is read inside the transaction that does it: the session, membership, the
conversation's state, and the duty lease (rules 12 and 14). A verdict is a row before its message has a seq
(rule 1), and the alert or review item it asks for is in the same transaction (rule 8).
"""

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from msgspec import UNSET

from escalation.alert import Alert
from escalation.triage import triage
from moderation.trajectory import State
from moderation.verdict import Action, Risk, Role, Signal, Submission, Turn, Verdict
from peerchat import frames, views
from peerchat.course import check_live, deliver_allowed, end_conversation, member_conversation
from peerchat.errors import (
    ClientError,
    Closed,
    Conflict,
    Forbidden,
    NotAMember,
    StoreRefused,
    StoreUnavailable,
    Unavailable,
)
from peerchat.frames import Mark, Send
from peerchat.gathering import added, raise_gathered, standing
from peerchat.model import (
    NO_ADULT,
    UNCLEAR,
    Actor,
    AllowedBy,
    ConversationState,
    MessageStatus,
    ReviewKind,
    new_id,
)
from peerchat.ports import Event, to_connection, to_members
from peerchat.store.conversations import ConversationValue
from peerchat.store.messages import MessageValue, NewMessage, VerdictValue, marks
from peerchat.store.sql import Store, Tx
from peerchat.telling import emit_delivered, emit_evidence, emit_review, tell_help
from peerchat.words import SUPPORT, closed_words

log = logging.getLogger(__name__)

INBOX = 2_000
"""Messages that may wait for the pump; beyond it a sender is told to come again."""

BATCH = 128
RECENT_TURNS = 12
RECENT_CONVERSATIONS = 5_000
HELD_DUE = timedelta(seconds=60)
"""A held message in a live chat should be decided within this time."""


class Judge(Protocol):
    """What the chat needs of moderation."""

    async def judge(self, batch: Sequence[Submission]) -> list[Verdict]:
        """Return one verdict for each, in order. Never raises: what fails is `degraded`, and held."""
        ...


@dataclass(slots=True)
class _Post:
    actor: Actor
    connection: str
    frame: Send
    limited: ClientError | None
    done: Callable[[], None]
    verdict: Verdict | None = None
    turns: tuple[Turn, ...] = field(default=())
    so_far: State | None = None  # of the conversation, when it was looked up
    before: str | None = None  # the same as it was stored
    first: bool = True  # False: a second one with the same id in one batch, which will not be stored
    missed: tuple[Signal, ...] = ()  # what the conversation comes to with it, and its verdict does not say

    @property
    def asks(self) -> bool:
        """Whether an adult is asked for it."""
        return bool(self.missed) or (self.verdict is not None and self.verdict.risk > Risk.NONE)


class Chat:
    """Post, read and end.

    `alerted` is called after a commit that raised or worsened an alert; `answer` takes what needs no commit.
    """

    def __init__(
        self,
        store: Store,
        judge: Judge,
        *,
        alerted: Callable[[], None],
        answer: Callable[[Event], None],
        observe: Callable[[str, float], None] = lambda _name, _value: None,
    ) -> None:
        self._store = store
        self._answer = answer
        self._judge = judge
        self._alerted = alerted
        self._observe = observe
        self._inbox: deque[_Post] = deque()
        self._arrived = asyncio.Event()
        self._recent: OrderedDict[str, deque[Turn]] = OrderedDict()

    @property
    def waiting(self) -> int:
        """Messages that wait for the pump."""
        return len(self._inbox)

    # -- posting

    def post(
        self,
        actor: Actor,
        connection: str,
        frame: Send,
        *,
        done: Callable[[], None],
        limited: ClientError | None = None,
    ) -> None:
        """Take a message; its ack, or an error with its ref, goes to the connection after the commit.

        `limited` is the refusal of the rate limit: a known id is answered all the same, the rest gets it.
        `done` is called once it is answered. Raises `Unavailable` at once when the inbox is full.
        """
        if len(self._inbox) >= INBOX:
            raise Unavailable("too much at once just now; send it again", retry_after_s=1.0, ref=frame.ref)
        self._inbox.append(_Post(actor, connection, frame, limited, done))
        self._arrived.set()

    async def run(self) -> None:
        """Pump until cancelled. A batch that fails is answered `unavailable`, and the pump goes on."""
        while True:
            if not self._inbox:
                self._arrived.clear()
                await self._arrived.wait()
            batch = [self._inbox.popleft() for _ in range(min(BATCH, len(self._inbox)))]
            events = await self._pump_safely(batch)
            for event in events:
                self._answer(event)
            for post in batch:
                post.done()

    async def _pump_safely(self, batch: list[_Post]) -> list[Event]:
        """Pump a batch; where one message spoils it, the others go their way without it.

        When the store takes nothing at all, everybody is told to send again: nothing of it is stored or told.
        """
        try:
            return await self._pump(batch)
        except StoreUnavailable as error:
            alone = len(batch) == 1 or not isinstance(error, StoreRefused)
        except Exception as error:  # a fault of ours in one message must not silence a whole school
            log.error("pump failed: %s", type(error).__name__)
            alone = len(batch) == 1
        if alone:
            later = Unavailable("not stored; send it again", retry_after_s=1.0)
            return [_refused(post, later) for post in batch]
        return [event for post in batch for event in await self._pump_safely([post])]

    async def _pump(self, batch: list[_Post]) -> list[Event]:
        """Judge and commit one batch; return the answers that needed no commit."""
        events, fresh = await self._store.read(lambda tx: self._look_up(tx, batch))
        if not fresh:
            return events
        began = asyncio.get_running_loop().time()
        verdicts = await self._judge.judge(
            [
                Submission(
                    text=p.frame.text,
                    role=p.actor.role,
                    sender=p.actor.member,
                    recent=p.turns,
                    site=p.actor.site,
                    so_far=p.so_far,
                    conversation=p.frame.conversation if p.first else "",
                )
                for p in fresh
            ]
        )
        self._observe("judge_s", asyncio.get_running_loop().time() - began)
        self._observe("batch", len(fresh))
        for post, verdict in zip(fresh, verdicts, strict=True):
            post.verdict = verdict
        stored = await self._store.write(lambda tx: commit_posts(tx, fresh))
        for post in stored:
            self._remember(post)
        if any(post.asks for post in stored):
            self._alerted()
        return events

    def _look_up(self, tx: Tx, batch: list[_Post]) -> tuple[list[Event], list[_Post]]:
        """Answer known ids and refusals; return what must be judged, with the turns before it."""
        known = tx.messages.known({_key(p) for p in batch})
        conversations = tx.conversations.many({p.frame.conversation for p in batch})
        events: list[Event] = []
        fresh: list[_Post] = []
        turns: dict[str, tuple[Turn, ...]] = {}  # with those of this batch: one after the other, as they came
        states: dict[str, State] = {}
        keys: set[tuple[str, str, str]] = set()
        for post in batch:
            found = known.get(_key(post))
            conversation = conversations.get(post.frame.conversation)
            try:
                if found is not None and _was_in(conversation, post.actor):
                    events.append(_again(tx, post, found))
                    continue
                if post.limited is not None:
                    raise post.limited
                conversation = check_may_send(tx, post.actor, conversation)
            except ClientError as error:
                events.append(_refused(post, error))
                continue
            name = post.frame.conversation
            post.turns = turns[name] if name in turns else self._turns(tx, name)
            turns[name] = (*post.turns, _turn(post))[-RECENT_TURNS:]
            if name not in states:
                states[name] = standing(tx, conversation)
            post.so_far, post.before, post.first = states[name], conversation.so_far, _key(post) not in keys
            keys.add(_key(post))
            fresh.append(post)
        return events, fresh

    def _turns(self, tx: Tx, conversation: str) -> tuple[Turn, ...]:
        turns = self._recent.get(conversation)
        if turns is None:
            found = tx.conversations.get(conversation)
            roles = {p.member: p.role for p in found.participants} if found is not None else {}
            turns = deque(
                (
                    Turn(role=roles.get(m.sender, Role.ADULT), text=m.text)
                    for m in tx.messages.transcript(conversation, limit=RECENT_TURNS)
                ),
                maxlen=RECENT_TURNS,
            )
            self._recent[conversation] = turns
            if len(self._recent) > RECENT_CONVERSATIONS:
                self._recent.popitem(last=False)
        return tuple(turns)

    def _remember(self, post: _Post) -> None:
        turns = self._recent.get(post.frame.conversation)
        if turns is not None:
            turns.append(_turn(post))
            self._recent.move_to_end(post.frame.conversation)

    # -- reading

    async def history(self, actor: Actor, frame: frames.History) -> list[Event]:
        """Return one page of delivered messages and its end, for one connection to send.

        The gate is that of live delivery: only messages with a seq, in seq order, from where the member
        joined on. A pupil reads open conversations only.
        """

        def body(tx: Tx) -> tuple[list[frames.Message], frames.HistoryEnd]:
            check_live(tx, actor)
            conversation = tx.conversations.get(frame.conversation)
            part = conversation.part(actor.member) if conversation is not None else None
            if conversation is None or part is None:
                raise NotAMember("no such conversation", ref=frame.ref)
            if conversation.ended:
                raise Closed("This chat has ended.", ref=frame.ref)
            after = max(frame.after, part.reads_from)
            reset = frame.after > conversation.last_seq
            if reset:
                after = part.reads_from
            page = tx.messages.delivered_after(conversation.id, after, frame.limit)
            newest = page[-1].seq if page else after
            assert newest is not None
            end = frames.HistoryEnd(
                conversation=conversation.id,
                last_seq=conversation.last_seq,
                more=bool(page) and newest < conversation.last_seq,
                reset=reset,
                ref=frame.ref or UNSET,
            )
            own = actor.member
            return [views.message_frame(m, conversation, replay=True, own=m.sender == own) for m in page], end

        page, end = await self._store.read(body)
        return [*(Event(payload=frames.dump(m)) for m in page), Event(payload=frames.dump(end))]

    # -- leaving

    async def leave(self, actor: Actor, frame: frames.Leave) -> None:
        """End a conversation by one of the pair, or let an adult out of it; keep what was said of it."""

        def body(tx: Tx) -> None:
            check_live(tx, actor)
            conversation = member_conversation(tx, actor, frame.conversation)
            said = frame.mood is not None or frame.helpful is not None or frame.again is not None
            if said and actor.role in (Role.PUPIL, Role.MENTOR):
                tx.conversations.add_feedback(
                    conversation.id, actor.member, mood=frame.mood, helpful=frame.helpful, again=frame.again
                )
            if conversation.ended:
                return
            if actor.role in (Role.PUPIL, Role.MENTOR):
                end_conversation(tx, conversation, why="left", by=actor.member)
                return
            part = conversation.part(actor.member)
            tx.conversations.leave(conversation.id, actor.member)
            tx.emit(
                to_members(
                    frames.Left(conversation=conversation.id, member=views.who(part)), *conversation.present
                )
            )

        await self._store.write(body)

    async def block(self, actor: Actor, frame: frames.Block) -> None:
        """Never pair these two again, and end the conversation. The partner is told nothing but its end."""

        def body(tx: Tx) -> None:
            check_live(tx, actor)
            conversation = member_conversation(tx, actor, frame.conversation)
            if actor.role not in (Role.PUPIL, Role.MENTOR):
                raise Forbidden("only the two who talk can block each other")
            wanted = Role.MENTOR if actor.role is Role.PUPIL else Role.PUPIL
            other = conversation.with_role(wanted)
            if other is not None:
                tx.members.block(actor.member, other.member)
            if not conversation.ended:
                end_conversation(tx, conversation, why="left", by=actor.member)

        await self._store.write(body)

    async def typing(self, actor: Actor, conversation: str) -> Sequence[Event]:
        """Return the event that shows a partner that somebody writes; no answer of its own."""

        def body(tx: Tx) -> Sequence[Event]:
            check_live(tx, actor)
            found = tx.conversations.get(conversation)
            part = found.part(actor.member) if found is not None else None
            if found is None or part is None or found.state is not ConversationState.OPEN:
                raise NotAMember("no such open conversation")
            others = [m for m in found.present if m != actor.member]
            frame = frames.TypingNow(conversation=found.id, from_=views.who(part))
            return [to_members(frame, *others)]

        return await self._store.read(body)


# ---------------------------------------------------------------- what decides, inside a transaction


def check_may_send(tx: Tx, actor: Actor, conversation: ConversationValue | None) -> ConversationValue:
    """Return the conversation, or refuse: not a member, ended, or the service is closed."""
    if conversation is None or not _was_in(conversation, actor):
        raise NotAMember("no such conversation")
    if conversation.ended or conversation.part(actor.member) is None:
        raise Closed("This chat has ended. Nobody has read this.")
    state = views.site_opening(tx, tx.sites.get(conversation.site))
    if not state.open and state.why != NO_ADULT and not _held_open(tx, conversation):
        raise Closed(closed_words(state.why))
    return conversation


def commit_posts(tx: Tx, posts: Sequence[_Post]) -> list[_Post]:
    """Store judged messages, deliver what may go, ack; return those that were stored.

    Runs inside the one transaction of a batch: whatever was checked before is checked again here.
    """
    live = tx.members.live_tokens(p.actor.token for p in posts)
    known = tx.messages.known({_key(p) for p in posts})
    conversations = tx.conversations.many({p.frame.conversation for p in posts})
    if deliver_allowed(tx, list(conversations.values())):  # what waits goes before what comes (rule 5)
        conversations = tx.conversations.many(conversations)
    covered = {c.site: tx.duty.covered(c.site) for c in conversations.values()}
    seqs = {c.id: c.last_seq for c in conversations.values()}
    new: list[NewMessage] = []
    fresh_keys: dict[tuple[str, str, str], NewMessage] = {}
    after: list[Callable[[], None]] = []
    stored: list[_Post] = []
    for post in posts:
        assert post.verdict is not None
        key = _key(post)
        try:
            if post.actor.token not in live:
                raise Forbidden("you are signed out")
            found = known.get(key)
            if found is not None:
                after.append(_later(tx, _again(tx, post, found)))
                continue
            if key in fresh_keys:
                after.append(_later(tx, _again_new(post, fresh_keys[key])))
                continue
            conversation = check_may_send(tx, post.actor, conversations.get(post.frame.conversation))
        except ClientError as error:
            after.append(_later(tx, _refused(post, error)))
            continue
        going = conversation.state is ConversationState.OPEN and covered[conversation.site]
        message = _settled(post, post.verdict, going=going, seq=seqs[conversation.id] + 1)
        if message.status is MessageStatus.DELIVERED:
            seqs[conversation.id] += 1
        new.append(message)
        fresh_keys[key] = message
        after.append(_follow_up(tx, post, message, conversation))
        stored.append(post)
    come_to = _come_to(tx, posts, stored, conversations)
    tx.messages.insert(new)
    tx.conversations.advance({c: (seqs[c], so_far) for c, so_far in come_to.items()})
    for act in after:
        act()
    for post in stored:
        for signal in post.missed:
            raise_gathered(
                tx,
                conversations[post.frame.conversation],
                signal,
                message=fresh_keys[_key(post)].id,
                sender=post.actor.member,
            )
    return stored


def _come_to(
    tx: Tx, posts: Sequence[_Post], stored: Sequence[_Post], conversations: dict[str, ConversationValue]
) -> dict[str, str | None]:
    """Return, for each conversation in which something was stored, what it has come to with that.

    Moderation took the posts of a batch one after the other. Where one of them was not stored after all, or
    the row is not what it was, what was stored is added up again: nothing else may leave a trace. What that
    comes to and the message's own verdict does not say is left in `missed`, to be told in its own right.
    """
    own: dict[str, list[_Post]] = {}
    for post in stored:
        own.setdefault(post.frame.conversation, []).append(post)
        post.missed = ()
    came: dict[str, int] = {}
    for post in posts:
        came[post.frame.conversation] = came.get(post.frame.conversation, 0) + 1
    found: dict[str, str | None] = {}
    for name, some in own.items():
        now = conversations[name].so_far
        last = some[-1].verdict
        assert last is not None
        if last.so_far is None:  # moderation without a trajectory: what was stored stays
            found[name] = now
            continue
        after = last.so_far
        if len(some) != came[name] or some[-1].before != now:
            after = standing(tx, conversations[name])
            for post in some:
                verdict = post.verdict
                assert verdict is not None
                after, post.missed = added(after, post.actor.role, verdict.signals, verdict.degraded)
        found[name] = after.to_json()
    return found


def _settled(post: _Post, verdict: Verdict, *, going: bool, seq: int) -> NewMessage:
    """Return what becomes of a judged message: the one place where a verdict turns into a status."""
    status, reason, allowed, given = MessageStatus.HELD, verdict.reason or UNCLEAR, None, None
    if verdict.action is Action.BLOCK:
        status = MessageStatus.BLOCKED
    elif verdict.action is Action.DELIVER:
        if going:
            status, reason, given = MessageStatus.DELIVERED, "", seq
        else:
            reason, allowed = "paused", AllowedBy.MACHINE
    elif not going:
        reason = "paused"
    return NewMessage(
        id=new_id("msg"),
        conversation=post.frame.conversation,
        sender=post.actor.member,
        client_id=post.frame.id,
        text=post.frame.text,
        status=status,
        reason=reason or None,
        allowed_by=allowed,
        seq=given,
        verdict=verdict,
    )


def _follow_up(
    tx: Tx, post: _Post, message: NewMessage, conversation: ConversationValue
) -> Callable[[], None]:
    """Return what happens once the message's row is there: alert, review item, ack, delivery."""

    def act() -> None:
        alert = raise_alert(tx, message.verdict, post.actor.member, post.actor.role, conversation, message.id)
        if message.status is MessageStatus.HELD and message.allowed_by is None:
            add_held_item(tx, conversation, message, alert)
        site = tx.sites.get(conversation.site)
        risky = message.verdict.risk > Risk.NONE and post.actor.role is Role.PUPIL
        tx.emit(to_connection(_ack(post, message, views.services(site) if risky else None), post.connection))
        if risky:
            support = frames.Support(
                conversation=conversation.id,
                text=SUPPORT[message.verdict.risk],
                services=views.services(site),
            )
            tx.emit(to_members(support, post.actor.member))
        if message.status is MessageStatus.DELIVERED:
            emit_delivered(tx, _as_value(message, tx.now), conversation, skip=post.connection)

    return act


def raise_alert(
    tx: Tx,
    verdict: Verdict | VerdictValue,
    sender: str,
    role: Role,
    conversation: ConversationValue,
    message: str,
) -> Alert | None:
    """Raise or fold the alert that a verdict asks for, and tell pupil and mentor that an adult was asked."""
    other = conversation.with_role(verdict.about) if verdict.about is not None else None
    if other is not None:  # the sender said what shows it, and is not the one it is about
        sender, role = other.member, other.role
    concern = triage(verdict.risk, verdict.labels, sender=sender, role=role)
    if concern is None:
        return None
    alert, new = tx.alerts.raise_or_fold(
        concern, site=conversation.site, conversation=conversation.id, message=message, by=None
    )
    emit_evidence(tx, alert, new=new)
    if views.wants_help_frames(alert):
        tell_help(tx, alert, conversation)
    return alert


def add_held_item(tx: Tx, conversation: ConversationValue, message: NewMessage, alert: Alert | None) -> None:
    """Put a held message into the queue: one item each (rule 19), for adults where it carries risk."""
    item = tx.reviews.add(
        id=new_id("rev"),
        site=conversation.site,
        kind=ReviewKind.HELD,
        conversation=conversation.id,
        message=message.id,
        about=message.sender,
        alert=alert.id if alert is not None else None,
        risk=message.verdict.risk,
        labels=message.verdict.labels,
        for_adults=message.verdict.risk > Risk.NONE,
        due_in=HELD_DUE,
    )
    emit_review(tx, "added", item.id)


# ---------------------------------------------------------------------------- answers


def _key(post: _Post) -> tuple[str, str, str]:
    return post.actor.member, post.frame.conversation, post.frame.id


def _turn(post: _Post) -> Turn:
    return Turn(role=post.actor.role, text=post.frame.text)


def _was_in(conversation: ConversationValue | None, actor: Actor) -> bool:
    return conversation is not None and any(p.member == actor.member for p in conversation.participants)


def _held_open(tx: Tx, conversation: ConversationValue) -> bool:
    """Closing time does not end a conversation with an open high or immediate alert."""
    return any(a.risk >= Risk.HIGH for a in tx.alerts.open_in([conversation.id]))


def _later(tx: Tx, event: Event) -> Callable[[], None]:
    return lambda: tx.emit(event)


def _refused(post: _Post, error: ClientError) -> Event:
    fresh = frames.Error(
        code=error.code, detail=error.detail, retry_after_s=error.retry_after_s, ref=post.frame.ref or UNSET
    )
    return to_connection(fresh, post.connection)


def _again(tx: Tx, post: _Post, found: MessageValue) -> Event:
    """Answer an id that is known: its present status, or a conflict where the text is another (rule 4)."""
    if found.text != post.frame.text:
        return _refused(post, Conflict("this id was used with another text"))
    verdict = tx.messages.verdict(found.id)
    shown = (
        [Mark(start=m["start"], end=m["end"]) for m in marks(verdict.signals)] if verdict is not None else []
    )
    blocked = found.status in (MessageStatus.BLOCKED, MessageStatus.WITHHELD)
    frame = frames.Ack(
        id=found.client_id,
        conversation=found.conversation,
        message=found.id,
        status=MessageStatus.BLOCKED.value if blocked else found.status.value,
        seq=found.seq if found.seq is not None else UNSET,
        reason=found.reason or UNSET,
        marks=shown if blocked and shown else UNSET,
        ref=post.frame.ref or UNSET,
    )
    return to_connection(frame, post.connection)


def _again_new(post: _Post, found: NewMessage) -> Event:
    if found.text != post.frame.text:
        return _refused(post, Conflict("this id was used with another text"))
    return to_connection(_ack(post, found, None), post.connection)


def _ack(post: _Post, message: NewMessage, services: list[frames.Service] | None) -> frames.Ack:
    spans = [s.span for s in message.verdict.signals if s.span is not None]
    shown = [Mark(start=span.start, end=span.end) for span in sorted(set(spans))]
    return frames.Ack(
        id=message.client_id,
        conversation=message.conversation,
        message=message.id,
        status=message.status.value,
        seq=message.seq if message.seq is not None else UNSET,
        reason=message.reason or UNSET,
        support=services if services else UNSET,
        marks=shown if shown and message.status is MessageStatus.BLOCKED else UNSET,
        ref=post.frame.ref or UNSET,
    )


def _as_value(message: NewMessage, now: datetime) -> MessageValue:
    return MessageValue(
        id=message.id,
        conversation=message.conversation,
        sender=message.sender,
        client_id=message.client_id,
        text=message.text,
        status=message.status,
        reason=message.reason,
        allowed_by=message.allowed_by,
        seq=message.seq,
        created_at=now,
        delivered_at=now,
    )
