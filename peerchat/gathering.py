"""What a conversation gathers: kept in its row, added up anew where the row has none, and told by its end.

A score that is not sure raises nothing by itself in a conversation: it is counted, and the conversation as a
whole raises (`moderation.trajectory`). What was counted must not be lost with the row that counts: not where
another version wrote it, not where two messages met in one commit, and not when the conversation ends.
"""

import logging
from collections.abc import Iterable, Sequence

from escalation.alert import Alert, Concern
from escalation.triage import to_read, triage
from moderation.trajectory import CLASSIFIERS, STAGE, State, about, resumed, step
from moderation.verdict import Risk, Role, Signal
from peerchat import views
from peerchat.store.conversations import ConversationValue
from peerchat.store.messages import VerdictValue
from peerchat.store.sql import Tx
from peerchat.telling import emit_evidence, tell_help

log = logging.getLogger(__name__)

ADDED_UP = 200
"""Messages that are added up anew, at most: the newest. What lies further back has faded by then."""

CONCERNS, GRAVE = 4, 3
"""Messages that were counted and raised nothing: so many together are told by the end, fewer of high risk.

Two grave ones are not: of 89 harmless conversations that no classifier had seen, that would tell of 22, three
of 5. All 86 that go wrong had raised before their end.
"""

EVIDENCE = 12
"""Messages that an alert at the end names, at most: the gravest, then the newest."""


def standing(tx: Tx, conversation: ConversationValue) -> State:
    """Return what a conversation has come to, as it is stored.

    Where nothing is stored that this version can read, its verdicts are added up anew. What is found so, and
    no verdict tells, does not count as told: the next message tells it, or the end.
    """
    if conversation.so_far is not None:
        state, kept = resumed(conversation.so_far)
        if kept:
            return state
        log.warning("what a conversation came to is of another version: it is added up anew")
    state = State()
    for sender, verdict in tx.messages.judged(conversation.id, limit=ADDED_UP):
        part = views.participant(conversation, sender)
        if part is not None:
            state, missed = added(state, part.role, verdict.observed, verdict.degraded)
            state = state.untold() if missed else state
    return state


def added(
    state: State, role: Role, signals: Sequence[Signal], degraded: Iterable[str]
) -> tuple[State, tuple[Signal, ...]]:
    """Return the state with one more message, and what it comes to that the message's own verdict misses."""
    own = [one for one in signals if one.stage != STAGE]
    told = {one.why: one.risk for one in signals if one.stage == STAGE}
    after, found = step(state, role, own, degraded)
    return after, tuple(one for one in found if told.get(one.why, Risk.NONE) < one.risk)


def raise_gathered(
    tx: Tx, conversation: ConversationValue, signal: Signal, *, message: str | None, sender: str | None = None
) -> None:
    """Raise what a conversation as a whole is a reason for, about the one whom it is about."""
    role = about(signal.why) or Role.PUPIL
    whose = conversation.with_role(role) or views.participant(conversation, sender or "")
    if whose is None:
        log.error("a conversation raises something, and has nobody whom it could be about")
        return
    concern = triage(signal.risk, (signal.label,), sender=whose.member, role=whose.role)
    if concern is not None:
        alert = _raise(tx, conversation, concern, message)
        if views.wants_help_frames(alert):
            tell_help(tx, alert, conversation)


def tell_at_the_end(tx: Tx, conversation: ConversationValue) -> None:
    """Raise what a conversation gathered and nobody was told of; nothing comes after it that could.

    Call it in the transaction that ends the conversation, before the row's state goes (rule 8). It tells what
    waited for one more message, and what was counted in several messages, the sooner the graver it is.
    Not told is what no alert names, no person decided about, and no alarm about the whole came after.
    """
    # One more turn, in which nobody says anything: what waits for a message waits no longer.
    _, waited = step(standing(tx, conversation), Role.MENTOR, (), CLASSIFIERS)
    told = set()
    for signal in waited:
        raise_gathered(tx, conversation, signal, message=None)
        told.add(about(signal.why))
    for member, verdicts in _counted(tx, conversation).items():
        part = views.participant(conversation, member)
        grave = sum(one.counted >= Risk.HIGH for one in verdicts) >= GRAVE
        if part is None or part.role in told or not (grave or len(verdicts) >= CONCERNS):
            continue
        verdicts.sort(key=lambda one: one.counted)  # stable: the gravest last, and the newest of those
        *others, last = verdicts[-EVIDENCE:]
        alert = _raise(tx, conversation, to_read(sender=member, role=part.role), last.message)
        for one in others:
            tx.alerts.log(alert.id, "evidence", message=one.message)


def _counted(tx: Tx, conversation: ConversationValue) -> dict[str, list[VerdictValue]]:
    """Return, by sender, what scores counted and nobody was told of, oldest first."""
    rows = tx.messages.noted(conversation.id)
    decided = tx.reviews.decided([verdict.message for _, verdict in rows])
    found: dict[str, list[VerdictValue]] = {}
    for sender, verdict in rows:
        other = conversation.with_role(verdict.about) if verdict.about is not None else None
        whose = other.member if other is not None else sender
        if any(one["stage"] == STAGE for one in verdict.signals):
            found.pop(whose, None)  # the whole raised: what had gathered up to here is told
        raised = verdict.risk > Risk.NONE and whose == sender
        if verdict.counted and not raised and verdict.message not in decided:
            found.setdefault(sender, []).append(verdict)
    return found


def _raise(tx: Tx, conversation: ConversationValue, concern: Concern, message: str | None) -> Alert:
    alert, new = tx.alerts.raise_or_fold(
        concern, site=conversation.site, conversation=conversation.id, message=message, by=None
    )
    emit_evidence(tx, alert, new=new)
    return alert
