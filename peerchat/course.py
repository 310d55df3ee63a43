"""The course of a conversation: who is in it, paused, resumed, ended, and the one gate of late deliveries.

These run inside a transaction, on rows that the same transaction has read.
"""

import logging
from collections.abc import Sequence

from moderation.verdict import Risk
from peerchat import frames, views
from peerchat.errors import Forbidden, NotAMember
from peerchat.gathering import tell_at_the_end
from peerchat.leaving import tell_left
from peerchat.model import UNCLEAR, Actor, ConversationState, MessageStatus
from peerchat.ports import to_members
from peerchat.store.conversations import ConversationValue
from peerchat.store.sql import Tx
from peerchat.telling import emit_review

log = logging.getLogger(__name__)


def check_live(tx: Tx, actor: Actor) -> None:
    """Refuse a session that was signed out or suspended meanwhile (rule 14)."""
    if actor.token not in tx.members.live_tokens([actor.token]):
        raise Forbidden("you are signed out")


def member_conversation(tx: Tx, actor: Actor, conversation: str) -> ConversationValue:
    """Return a conversation that the actor takes part in; for anybody else it does not exist."""
    found = tx.conversations.get(conversation)
    if found is None or found.part(actor.member) is None:
        raise NotAMember("no such conversation")
    return found


def deliver_allowed(tx: Tx, conversations: Sequence[ConversationValue]) -> int:
    """Deliver what waits with an allowing word, oldest first, where an adult is on duty; return how many.

    The gate of every delivery that is not immediate: the conversation is open, duty is covered (rule 12), and
    a verdict or a person has allowed it (rules 1 and 2).
    """
    open_ones = {
        c.id: c for c in conversations if c.state is ConversationState.OPEN and tx.duty.covered(c.site)
    }
    if not open_ones:
        return 0
    seqs = {c.id: c.last_seq for c in open_ones.values()}
    waiting = tx.messages.waiting_to_go(list(open_ones))
    for message in waiting:
        if not tx.messages.as_judged(message):
            log.error("a held message is not the one that was judged; it stays held")
            continue
        conversation = open_ones[message.conversation]
        seqs[conversation.id] += 1
        seq = seqs[conversation.id]
        tx.messages.deliver(message.id, seq)
        delivered = tx.messages.get(message.id)
        assert delivered is not None
        decided = frames.Decided(
            conversation=conversation.id, message=message.id, status=MessageStatus.DELIVERED.value, seq=seq
        )
        tx.emit(to_members(decided, message.sender))
        others = [m for m in conversation.present if m != message.sender]
        if others:
            tx.emit(to_members(views.message_frame(delivered, conversation), *others))
    tx.conversations.set_last_seq({c: s for c, s in seqs.items() if s != open_ones[c].last_seq})
    return sum(s - open_ones[c].last_seq for c, s in seqs.items())


def pause_conversation(tx: Tx, conversation: ConversationValue, why: str) -> None:
    """Pause an open conversation, and tell all in it."""
    tx.conversations.set_state(conversation.id, ConversationState.PAUSED, why)
    tx.emit(to_members(frames.Paused(conversation=conversation.id, why=why), *conversation.present))


def resume_conversation(tx: Tx, conversation: ConversationValue, why: str) -> None:
    """Open a paused conversation again, tell all in it, and deliver what was allowed meanwhile."""
    tx.conversations.set_state(conversation.id, ConversationState.OPEN, None)
    tx.emit(to_members(frames.Resumed(conversation=conversation.id, why=why), *conversation.present))
    fresh = tx.conversations.get(conversation.id)
    assert fresh is not None
    deliver_allowed(tx, [fresh])
    for message in tx.messages.held_in(conversation.id):  # what still waits, waits for a person
        verdict = tx.messages.verdict(message.id)
        if message.reason == "paused" and verdict is not None:
            tx.messages.set_reason(message.id, verdict.reason or UNCLEAR)


def end_conversation(tx: Tx, conversation: ConversationValue, *, why: str, by: str | None = None) -> None:
    """End a conversation for all. What is held without risk and undecided is withheld, its sender told.

    Held text that carries risk stays with the adults: it is theirs to decide. What the conversation gathered
    and nobody was told of is told now.
    """
    tell_at_the_end(tx, conversation)
    tx.conversations.set_state(conversation.id, ConversationState.ENDED, why)
    for message in tx.messages.held_in(conversation.id):
        item = tx.reviews.of_message(message.id)
        if item is not None and item.risk > Risk.NONE:
            continue
        if message.allowed_by is None and item is None:
            continue
        tx.messages.withhold(message.id, "ended")
        if item is not None:
            tx.reviews.end(item.id)
            emit_review(tx, "decided", item.id)
        tx.emit(
            to_members(
                frames.Decided(
                    conversation=conversation.id,
                    message=message.id,
                    status=MessageStatus.WITHHELD.value,
                    reason="ended",
                ),
                message.sender,
            )
        )
    leaver = next((p for p in conversation.participants if p.member == by), None)
    if leaver is not None:
        tell_left(tx, conversation.id, leaver.member)
        others = [m for m in conversation.present if m != by]
        tx.emit(to_members(frames.Left(conversation=conversation.id, member=views.who(leaver)), *others))
    tx.emit(to_members(frames.Ended(conversation=conversation.id, why=why), *conversation.present))
