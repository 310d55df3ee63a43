"""The review queue: reports and second looks come in, one person claims and decides, once."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from escalation.triage import passed_on
from moderation.explain import source_words
from moderation.verdict import Risk, Role
from peerchat import frames, views
from peerchat.chat import raise_alert
from peerchat.course import check_live, deliver_allowed, member_conversation
from peerchat.errors import (
    AlreadyClaimed,
    AlreadyDecided,
    CannotRelease,
    Forbidden,
    Invalid,
    NotAMember,
    NotTheHolder,
    RiskNeedsAnswer,
    SameDecider,
    UnknownItem,
)
from peerchat.model import (
    Actor,
    AllowedBy,
    Decision,
    MessageStatus,
    ReviewKind,
    ReviewState,
    new_id,
)
from peerchat.ports import to_members
from peerchat.store.conversations import ConversationValue
from peerchat.store.messages import MessageValue, marks
from peerchat.store.reviews import ItemValue
from peerchat.store.seal import CASE, KeyName
from peerchat.store.sql import Store, Tx
from peerchat.telling import emit_review, tell_help

CLAIM = timedelta(minutes=10)
REPORT_DUE = timedelta(minutes=15)
SECOND_LOOK_DUE = timedelta(minutes=30)
WITH_ADULTS = "[with the adults]"
"""Stands for text that a moderator may not read."""

MAX_DECIDERS = 2
"""People who decide about one message, at most: the first, and one who looks again."""

CONTEXT = 6
"""Messages shown before the one in question: the least that lets a person decide."""


class ReviewQueue:
    """Report, claim, decide. `alerted` is called after a commit that raised an alert."""

    def __init__(self, store: Store, *, alerted: Callable[[], None], why: Callable[[str], str] = str) -> None:
        self._store = store
        self._alerted = alerted
        self._why = why

    # -- what members send

    async def report(self, actor: Actor, frame: frames.Report) -> None:
        """Put a report into the queue; nothing changes on the reported side's screen."""

        def body(tx: Tx) -> None:
            check_live(tx, actor)
            conversation = member_conversation(tx, actor, frame.conversation)
            part = conversation.part(actor.member)
            assert part is not None
            about = None
            if frame.message is not None:
                message = tx.messages.get(frame.message)
                seen = message is not None and message.conversation == conversation.id and (
                    message.sender == actor.member
                    or (message.seq is not None and message.seq > part.reads_from)
                )  # fmt: skip
                if message is None or not seen:
                    raise Invalid("`message` is not one of this conversation")
                about = message.sender
            if frame.message is not None:
                item = tx.reviews.of_message(frame.message)
            else:  # one job for what a member says of a whole conversation, however often it is said
                item = tx.reviews.open_report(conversation.id, actor.member)
            if item is None:
                item = tx.reviews.add(
                    id=new_id("rev"),
                    site=actor.site,
                    kind=ReviewKind.REPORT,
                    conversation=conversation.id,
                    message=frame.message,
                    about=about,
                    alert=None,
                    risk=Risk.NONE,
                    labels=(f"reported:{frame.reason}",),
                    for_adults=frame.reason == "unsafe",
                    due_in=REPORT_DUE,
                )
                emit_review(tx, "added", item.id)
            else:
                if item.state is ReviewState.DECIDED:
                    tx.reviews.reopen(item.id, ReviewKind.REPORT, due_in=REPORT_DUE)
                tx.reviews.add_label(item, f"reported:{frame.reason}", for_adults=frame.reason == "unsafe")
                emit_review(tx, "added", item.id)
            tx.reviews.add_report(
                item=item.id,
                by=actor.member,
                conversation=conversation.id,
                message=frame.message,
                kind=ReviewKind.REPORT,
                reason=frame.reason,
                note=frame.note,
            )

        await self._store.write(body)

    async def second_look(self, actor: Actor, frame: frames.SecondLook) -> None:
        """Let another person look at one's own held or blocked message."""

        def body(tx: Tx) -> None:
            check_live(tx, actor)
            message = tx.messages.get(frame.message)
            if message is None or message.sender != actor.member:
                raise NotAMember("no such message of yours")
            conversation = member_conversation(tx, actor, message.conversation)
            if message.status is MessageStatus.DELIVERED:
                raise Invalid("this message was delivered")
            if conversation.ended:
                raise Forbidden("this chat has ended")
            item = tx.reviews.of_message(message.id)
            verdict = tx.messages.verdict(message.id)
            if item is not None and len(tx.reviews.deciders(item.id)) >= MAX_DECIDERS:
                raise Forbidden("two people have decided about this one")
            if message.status in (MessageStatus.BLOCKED, MessageStatus.WITHHELD):
                tx.messages.hold_again(message.id, "second_look")
            if (
                message.status is MessageStatus.HELD
                and item is not None
                and item.state is not ReviewState.DECIDED
            ):
                return  # a person is to look at it already
            raised = None
            if verdict is not None:
                raised = raise_alert(tx, verdict, actor.member, actor.role, conversation, message.id)
            alert = raised.id if raised is not None else None
            if item is not None and item.state is ReviewState.DECIDED:
                tx.reviews.reopen(item.id, ReviewKind.SECOND_LOOK, due_in=SECOND_LOOK_DUE, alert=alert)
                emit_review(tx, "added", item.id)
            elif item is None and message.allowed_by is None:
                item = tx.reviews.add(
                    id=new_id("rev"),
                    site=actor.site,
                    kind=ReviewKind.SECOND_LOOK,
                    conversation=conversation.id,
                    message=message.id,
                    about=message.sender,
                    alert=alert,
                    risk=verdict.risk if verdict is not None else Risk.NONE,
                    labels=verdict.labels if verdict is not None else (),
                    for_adults=alert is not None,
                    due_in=SECOND_LOOK_DUE,
                )
                emit_review(tx, "added", item.id)
            if item is not None:
                tx.reviews.add_report(
                    item=item.id,
                    by=actor.member,
                    conversation=conversation.id,
                    message=message.id,
                    kind=ReviewKind.SECOND_LOOK,
                    reason="second_look",
                    note=None,
                )

        await self._store.write(body)
        self._alerted()

    # -- what staff do

    async def queue(
        self, actor: Actor, *, states: list[ReviewState], limit: int, offset: int
    ) -> tuple[list[dict[str, Any]], int | None]:
        """Return a page of items without text, and where the next begins."""

        def body(tx: Tx) -> list[dict[str, Any]]:
            if actor.member in tx.rota.circle(actor.site).outside:
                return []
            items = tx.reviews.queue(
                actor.site,
                states=states,
                adults=actor.role is Role.ADULT,
                not_about=actor.member,
                limit=limit + 1,
                offset=offset,
            )
            names = tx.members.names([i.holder for i in items if i.holder])
            return [_listed(tx, item, actor, names) for item in items]

        items = await self._store.read(body)
        return items[:limit], offset + limit if len(items) > limit else None

    async def claim(self, actor: Actor, item: str) -> dict[str, Any]:
        """Take an item for ten minutes and read it; the reading is logged with it (rule 16)."""

        def body(tx: Tx) -> dict[str, Any]:
            check_live(tx, actor)
            found = visible(tx, actor, item)
            if found.state is ReviewState.DECIDED:
                raise AlreadyDecided("this item is decided")
            if found.kind is ReviewKind.SECOND_LOOK and actor.member in tx.reviews.deciders(item):
                raise SameDecider("a different person looks at this one again")
            until = tx.now + CLAIM
            fresh_claim = found.holder != actor.member
            if not tx.reviews.claim(item, actor.member, until=until):
                raise AlreadyClaimed("another person has this item")
            tx.audit.append(actor.member, "read_review_item", item, {"conversation": found.conversation})
            if fresh_claim:
                emit_review(tx, "claimed", item)
            claimed = tx.reviews.get(item)
            assert claimed is not None
            return self._shown(tx, actor, claimed)

        return await self._store.write(body)

    async def hand_back(self, actor: Actor, item: str) -> None:
        """Give an item back to the queue."""

        def body(tx: Tx) -> None:
            check_live(tx, actor)
            visible(tx, actor, item)
            if not tx.reviews.hand_back(item, actor.member):
                raise NotTheHolder("you do not hold this item")
            emit_review(tx, "added", item)

        await self._store.write(body)

    async def decide(
        self, actor: Actor, item: str, *, decision: Decision, reason: str, note: str | None
    ) -> bool:
        """Decide about an item, for good. Returns False when a released message still waits (paused).

        A human decision supersedes the machine's (rule 7). Text that carries risk is not plainly withheld
        (rule 19): an adult must have answered in the chat since.
        """

        def body(tx: Tx) -> tuple[bool, bool]:
            check_live(tx, actor)
            found = visible(tx, actor, item)
            if found.state is ReviewState.DECIDED:
                raise AlreadyDecided("this item is decided")
            if found.state is not ReviewState.CLAIMED or found.holder != actor.member:
                raise NotTheHolder("claim this item first")
            if found.claimed_until is not None and found.claimed_until <= tx.now:
                raise NotTheHolder("your ten minutes are over; claim it again")
            tx.audit.append(
                actor.member, f"decide_{decision.value}", item, {"reason": reason, "message": found.message}
            )
            key = KeyName(found.conversation or found.id, "staff", CASE)
            if decision is Decision.ESCALATE:
                self._escalate(tx, actor, found, reason, note, key)
                return True, True
            if decision is Decision.WITHHOLD:
                self._check_answered(tx, found)
            tx.reviews.decide(item, actor.member, decision, reason, note, key=key)
            gone = True
            if found.message is not None:
                gone = self._settle(tx, found, decision, reason)
            if found.alert is not None:
                tx.alerts.log(found.alert, f"text_{decision.value}", by=actor.member, message=found.message)
            emit_review(tx, "decided", item)
            return gone, False

        gone, alerted = await self._store.write(body)
        if alerted:
            self._alerted()
        return gone

    def _settle(self, tx: Tx, item: ItemValue, decision: Decision, reason: str) -> bool:
        """Carry a decision out on its message; False when it waits for the conversation to go on."""
        assert item.message is not None
        message = tx.messages.get(item.message)
        assert message is not None
        conversation = tx.conversations.get(message.conversation)
        assert conversation is not None
        if message.status is MessageStatus.DELIVERED:
            return True  # a report about what was delivered
        if decision is Decision.RELEASE:
            if conversation.ended:
                raise CannotRelease("This chat has ended, so it can't reach anyone now. Choose “Don't send”.")
            if message.status is not MessageStatus.HELD:
                raise CannotRelease("It was not sent, and nobody has asked again. Choose “Don't send”.")
            tx.messages.allow(message.id, AllowedBy.HUMAN)
            return deliver_allowed(tx, [conversation]) > 0
        if message.status is MessageStatus.WITHHELD:
            return True
        if message.status is MessageStatus.BLOCKED:
            tx.messages.withhold(message.id, reason)  # a person's word now, no more the machine's
            return True
        tx.messages.withhold(message.id, reason)
        decided = frames.Decided(
            conversation=conversation.id,
            message=message.id,
            status=MessageStatus.WITHHELD.value,
            reason=reason,
        )
        tx.emit(to_members(decided, message.sender))
        return True

    def _check_answered(self, tx: Tx, item: ItemValue) -> None:
        if item.risk is Risk.NONE or item.message is None or item.conversation is None:
            return
        conversation = tx.conversations.get(item.conversation)
        assert conversation is not None
        if conversation.ended:
            return  # nobody can be answered there any more; the case stays open until an adult closes it
        adults = [p.member for p in conversation.participants if p.role is Role.ADULT]
        if not adults or not tx.messages.delivered_since(conversation.id, adults, item.created_at):
            raise RiskNeedsAnswer(
                "Someone may need help here, so this can't simply be kept back. "
                "Send it, or join the chat and answer first."
            )

    def _escalate(
        self, tx: Tx, actor: Actor, item: ItemValue, reason: str, note: str | None, key: KeyName
    ) -> None:
        """Pass an item to the adults: an alert opens, and the item goes on in their queue."""
        message = tx.messages.get(item.message) if item.message is not None else None
        conversation = tx.conversations.get(item.conversation) if item.conversation is not None else None
        if message is not None and conversation is not None:
            part = views.participant(conversation, message.sender)
            verdict = tx.messages.verdict(message.id) if item.kind is not ReviewKind.REPORT else None
            if verdict is not None and verdict.about is not None:  # its risk is the other one's
                part = conversation.with_role(verdict.about) or part
            sender = part.member if part is not None else message.sender
            role = part.role if part is not None else Role.PUPIL
        elif conversation is not None and (pupil := conversation.with_role(Role.PUPIL)) is not None:
            sender, role = pupil.member, Role.PUPIL
        else:
            raise Invalid("there is nobody here whom an alert could be about")
        concern = passed_on(sender=sender, role=role, risk=item.risk, labels=item.labels)
        alert, _ = tx.alerts.raise_or_fold(
            concern,
            site=item.site,
            conversation=item.conversation,
            message=item.message,
            by=actor.member,
            note=note,
        )
        if views.wants_help_frames(alert):
            tell_help(tx, alert, conversation)
        tx.reviews.pass_on(item.id, actor.member, reason, note, alert=alert.id, risk=concern.risk, key=key)
        emit_review(tx, "added", item.id)

    def _shown(self, tx: Tx, actor: Actor, item: ItemValue) -> dict[str, Any]:
        """Return the text in question, its marks and reasons, and the least context."""
        names = tx.members.names([item.holder] if item.holder else [])
        shown: dict[str, Any] = {
            "item": _listed(tx, item, actor, names),
            "text": None,
            "marks": [],
            "why": [],
            "degraded": [],
            "context": [],
            "note": next((n for _, n in reversed(tx.reviews.reports(item.id)) if n), None),
            "until": views.moment(item.claimed_until),
        }
        if item.conversation is None:
            return shown
        conversation = tx.conversations.get(item.conversation)
        assert conversation is not None
        lines = tx.messages.transcript(conversation.id, until=item.message, limit=CONTEXT + 1)
        if item.message is not None and lines and lines[-1].id == item.message:
            message = lines.pop()
            shown["text"] = message.text
            verdict = tx.messages.verdict(item.message)
            if verdict is not None:
                shown["marks"] = marks(verdict.signals)
                shown["degraded"] = list(verdict.degraded)
                shown["why"] = reasons(verdict.signals, self._why)
        shown["context"] = lines_for(tx, actor, conversation, lines[-CONTEXT:])
        return shown


def visible(tx: Tx, actor: Actor, item: str) -> ItemValue:
    """Return an item that the caller may know of; for anybody else, its subject too, it does not exist."""
    found = tx.reviews.get(item)
    outside = actor.member in tx.rota.circle(actor.site).outside
    hidden = found is not None and (
        outside or found.about == actor.member or (found.for_adults and actor.role is not Role.ADULT)
    )
    if found is None or found.site != actor.site or hidden:
        raise UnknownItem("no such item")
    return found


def reasons(signals: Any, why: Callable[[str], str] = str) -> list[dict[str, Any]]:
    """Return what spoke for a verdict, strongest first, without doubles, and in words."""
    best: dict[tuple[str, str], dict[str, Any]] = {}
    for s in sorted(signals, key=lambda s: -s["score"]):
        best.setdefault(
            (s["label"], s["why"]),
            {
                "label": s["label"],
                "why": s["why"],
                "stage": s["stage"],
                "score": s["score"],
                "words": source_words(s["stage"], s["why"], s["score"], why),
            },
        )
    return list(best.values())[:12]


def transcript_line(message: Any, conversation: Any) -> dict[str, Any]:
    """Return one line of a conversation as staff read it."""
    part = views.who(views.participant(conversation, message.sender))
    return {
        "message": message.id,
        "seq": message.seq,
        "from": {"alias": part.alias, "role": part.role},
        "text": message.text,
        "at": views.moment(message.delivered_at or message.created_at),
        "status": message.status.value,
    }


def lines_for(
    tx: Tx, actor: Actor, conversation: ConversationValue, messages: Sequence[MessageValue]
) -> list[dict[str, Any]]:
    """Return lines of a conversation as one member of staff may read them.

    Text that waits with the adults is theirs alone (rule 19): a moderator sees only that there is some.
    """
    lines = [transcript_line(m, conversation) for m in messages]
    if actor.role is not Role.ADULT:
        adults_only = tx.reviews.for_adults([m.id for m in messages])
        for line in lines:
            if line["message"] in adults_only:
                line["text"] = WITH_ADULTS
    return lines


def _listed(tx: Tx, item: ItemValue, actor: Actor, names: dict[str, str]) -> dict[str, Any]:
    view = views.review_item(item, names)
    listed = {name: getattr(view, name) for name in view.__struct_fields__}
    listed["created_at"], listed["due_at"] = views.moment(item.created_at), views.moment(item.due_at)
    listed["mine"] = item.holder == actor.member and item.state is ReviewState.CLAIMED
    listed["alert"] = item.alert
    listed["reason"], listed["sender_role"] = None, None
    if item.message is not None and item.conversation is not None:
        message = tx.messages.get(item.message)
        conversation = tx.conversations.get(item.conversation)
        if message is not None and conversation is not None:
            part = views.participant(conversation, message.sender)
            listed["reason"], listed["sender_role"] = message.reason, part.role.value if part else None
    return listed
