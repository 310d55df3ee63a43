"""Conversations and who takes part."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from moderation.verdict import Role
from peerchat.model import ConversationState, MessageStatus
from peerchat.store.database import AnyRow, Transaction
from peerchat.store.tables import Conversation, Feedback, Message, Participant, Ticket, table

_CONVERSATION, _PARTICIPANT, _FEEDBACK = table(Conversation), table(Participant), table(Feedback)
_TICKET, _MESSAGE = table(Ticket), table(Message)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParticipantValue:
    """One who takes part, or took part, under an alias."""

    member: str
    role: Role
    alias: str
    reads_from: int
    left: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationValue:
    """A conversation and all who ever took part."""

    id: str
    site: str
    state: ConversationState
    why: str | None
    topics: tuple[str, ...]
    last_seq: int
    started_at: datetime
    so_far: str | None
    participants: tuple[ParticipantValue, ...]

    def part(self, member: str) -> ParticipantValue | None:
        """Return how a member takes part, or None when not (any more)."""
        return next((p for p in self.participants if p.member == member and not p.left), None)

    def with_role(self, role: Role) -> ParticipantValue | None:
        """Return the one with a role, present or gone."""
        return next((p for p in self.participants if p.role is role), None)

    @property
    def present(self) -> tuple[str, ...]:
        """The members who take part now."""
        return tuple(p.member for p in self.participants if not p.left)

    @property
    def ended(self) -> bool:
        return self.state is ConversationState.ENDED


class Conversations:
    """Find, begin, pause and end conversations."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    def begin(self, *, id: str, site: str, topics: Collection[str], so_far: str | None = None) -> None:
        """Make an open conversation without anybody in it."""
        self._tx.execute(
            sa.insert(_CONVERSATION).values(
                id=id,
                site=site,
                kind="one_to_one",
                state=ConversationState.OPEN.value,
                topics=list(topics),
                last_seq=0,
                started_at=self._tx.now,
                so_far=so_far,
            )
        )

    def join(self, conversation: str, member: str, role: Role, alias: str, *, reads_from: int) -> None:
        """Let a member in, who reads on from a seq; one who left comes back to where they joined."""
        done = self._tx.execute(
            sa.update(_PARTICIPANT)
            .where(_PARTICIPANT.c.conversation == conversation, _PARTICIPANT.c.member == member)
            .values(left_at=None)
        )
        if done.rowcount == 0:
            self._tx.execute(
                sa.insert(_PARTICIPANT).values(
                    conversation=conversation,
                    member=member,
                    role=role.value,
                    alias=alias,
                    reads_from=reads_from,
                    joined_at=self._tx.now,
                )
            )

    def leave(self, conversation: str, member: str) -> None:
        """Let a member out."""
        self._tx.execute(
            sa.update(_PARTICIPANT)
            .where(_PARTICIPANT.c.conversation == conversation, _PARTICIPANT.c.member == member)
            .values(left_at=self._tx.now)
        )

    def set_state(self, conversation: str, state: ConversationState, why: str | None) -> None:
        """Open, pause or end it."""
        values: dict[str, Any] = {"state": state.value, "why": why}
        if state is ConversationState.ENDED:
            values["ended_at"] = self._tx.now
            values["so_far"] = None  # nothing follows for which it would be needed
        self._tx.execute(sa.update(_CONVERSATION).where(_CONVERSATION.c.id == conversation).values(**values))

    def set_last_seq(self, seqs: dict[str, int]) -> None:
        """Keep the newest seq of each conversation."""
        if seqs:
            self._tx.execute(
                sa.update(_CONVERSATION)
                .where(_CONVERSATION.c.id == sa.bindparam("c"))
                .values(last_seq=sa.bindparam("s")),
                [{"c": c, "s": s} for c, s in seqs.items()],
            )

    def advance(self, rows: dict[str, tuple[int, str | None]]) -> None:
        """Keep the newest seq of each conversation, and what moderation makes of it up to here."""
        if rows:
            self._tx.execute(
                sa.update(_CONVERSATION)
                .where(_CONVERSATION.c.id == sa.bindparam("c"))
                .values(last_seq=sa.bindparam("s"), so_far=sa.bindparam("f")),
                [{"c": c, "s": seq, "f": so_far} for c, (seq, so_far) in rows.items()],
            )

    def get(self, conversation: str) -> ConversationValue | None:
        """Return one."""
        return self.many([conversation]).get(conversation)

    def many(self, conversations: Collection[str]) -> dict[str, ConversationValue]:
        """Return those that exist, by id."""
        if not conversations:
            return {}
        rows = self._tx.rows(sa.select(_CONVERSATION).where(_CONVERSATION.c.id.in_(conversations)))
        return self._with_parts(rows)

    def open_of(self, member: str) -> list[ConversationValue]:
        """Return the conversations a member takes part in that have not ended, oldest first."""
        rows = self._tx.rows(
            sa.select(_CONVERSATION)
            .join(_PARTICIPANT, _PARTICIPANT.c.conversation == _CONVERSATION.c.id)
            .where(
                _PARTICIPANT.c.member == member,
                _PARTICIPANT.c.left_at.is_(None),
                _CONVERSATION.c.state != ConversationState.ENDED.value,
            )
            .order_by(_CONVERSATION.c.started_at, _CONVERSATION.c.id)
        )
        return list(self._with_parts(rows).values())

    def last_seqs(self, members: Collection[str]) -> dict[str, dict[str, int]]:
        """Return, for each member, the newest seq of each open conversation."""
        rows = self._tx.rows(
            sa.select(_PARTICIPANT.c.member, _CONVERSATION.c.id, _CONVERSATION.c.last_seq)
            .join(_CONVERSATION, _PARTICIPANT.c.conversation == _CONVERSATION.c.id)
            .where(
                _PARTICIPANT.c.left_at.is_(None),
                _PARTICIPANT.c.member.in_(members),
                _CONVERSATION.c.state != ConversationState.ENDED.value,
            )
        )
        found: dict[str, dict[str, int]] = {}
        for member, conversation, seq in rows:
            found.setdefault(member, {})[conversation] = seq
        return found

    def live_of_site(self, site: str, *states: ConversationState) -> list[ConversationValue]:
        """Return a site's conversations in these states, oldest first."""
        rows = self._tx.rows(
            sa.select(_CONVERSATION)
            .where(_CONVERSATION.c.site == site, _CONVERSATION.c.state.in_([s.value for s in states]))
            .order_by(_CONVERSATION.c.started_at, _CONVERSATION.c.id)
        )
        return list(self._with_parts(rows).values())

    def any_of_site(self, site: str, *states: ConversationState) -> bool:
        """Return whether a site has a conversation in one of these states."""
        row = self._tx.row(
            sa.select(sa.literal(1))
            .where(_CONVERSATION.c.site == site, _CONVERSATION.c.state.in_([s.value for s in states]))
            .limit(1)
        )
        return row is not None

    def paused_for(self, site: str, whys: Collection[str]) -> list[ConversationValue]:
        """Return a site's conversations that are paused for one of these reasons, oldest first."""
        rows = self._tx.rows(
            sa.select(_CONVERSATION)
            .where(
                _CONVERSATION.c.site == site,
                _CONVERSATION.c.state == ConversationState.PAUSED.value,
                _CONVERSATION.c.why.in_(whys),
            )
            .order_by(_CONVERSATION.c.started_at, _CONVERSATION.c.id)
        )
        return list(self._with_parts(rows).values())

    def with_allowed_waiting(self, site: str) -> list[ConversationValue]:
        """Return a site's open conversations in which something allowed waits to be delivered."""
        waiting = (
            sa.select(_MESSAGE.c.conversation)
            .where(_MESSAGE.c.status == MessageStatus.HELD.value, _MESSAGE.c.allowed_by.is_not(None))
            .distinct()
        )
        rows = self._tx.rows(
            sa.select(_CONVERSATION).where(
                _CONVERSATION.c.site == site,
                _CONVERSATION.c.state == ConversationState.OPEN.value,
                _CONVERSATION.c.id.in_(waiting),
            )
        )
        return list(self._with_parts(rows).values())

    def count(self, site: str) -> dict[str, int]:
        """Return how many conversations of a site stand in each state."""
        rows = self._tx.rows(
            sa.select(_CONVERSATION.c.state, sa.func.count())
            .where(_CONVERSATION.c.site == site)
            .group_by(_CONVERSATION.c.state)
        )
        return {row[0]: row[1] for row in rows}

    def loads(self, mentors: Collection[str]) -> dict[str, int]:
        """Return how many open conversations each mentor has."""
        rows = self._tx.rows(
            sa.select(_PARTICIPANT.c.member, sa.func.count())
            .join(_CONVERSATION, _CONVERSATION.c.id == _PARTICIPANT.c.conversation)
            .where(
                _PARTICIPANT.c.member.in_(mentors),
                _PARTICIPANT.c.left_at.is_(None),
                _CONVERSATION.c.state != ConversationState.ENDED.value,
            )
            .group_by(_PARTICIPANT.c.member)
        )
        return {row[0]: row[1] for row in rows}

    def add_feedback(
        self, conversation: str, member: str, *, mood: int | None, helpful: bool | None, again: bool | None
    ) -> None:
        """Keep what a member said on leaving, beside the mood at the start; the last word counts."""
        before = self._tx.row(
            sa.select(_TICKET.c.mood).where(_TICKET.c.conversation == conversation, _TICKET.c.pupil == member)
        )
        key = (_FEEDBACK.c.conversation == conversation, _FEEDBACK.c.member == member)
        self._tx.execute(sa.delete(_FEEDBACK).where(*key))
        self._tx.execute(
            sa.insert(_FEEDBACK).values(
                conversation=conversation,
                member=member,
                mood_before=before.mood if before is not None else None,
                mood=mood,
                helpful=helpful,
                again=again,
                at=self._tx.now,
            )
        )

    def _with_parts(self, rows: Iterable[AnyRow]) -> dict[str, ConversationValue]:
        rows = list(rows)
        parts: dict[str, list[ParticipantValue]] = {row.id: [] for row in rows}
        for p in self._tx.rows(
            sa.select(_PARTICIPANT)
            .where(_PARTICIPANT.c.conversation.in_(list(parts)))
            .order_by(_PARTICIPANT.c.joined_at, _PARTICIPANT.c.member)
        ):
            parts[p.conversation].append(
                ParticipantValue(
                    member=p.member,
                    role=Role(p.role),
                    alias=p.alias,
                    reads_from=p.reads_from,
                    left=p.left_at is not None,
                )
            )
        return {
            row.id: ConversationValue(
                id=row.id,
                site=row.site,
                state=ConversationState(row.state),
                why=row.why,
                topics=tuple(row.topics),
                last_seq=row.last_seq,
                started_at=row.started_at,
                so_far=row.so_far,
                participants=tuple(parts[row.id]),
            )
            for row in rows
        }
