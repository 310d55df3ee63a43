"""Counts over a period, for statistics. Never lists, never text."""

from datetime import datetime

import sqlalchemy as sa

from moderation.verdict import Action, Role
from peerchat.store.alerts import may_know
from peerchat.store.database import Transaction
from peerchat.store.rota import RotaBook
from peerchat.store.tables import AlertRow, Conversation, Feedback, Message, Participant, VerdictRow, table

_CONVERSATION, _PARTICIPANT, _MESSAGE = table(Conversation), table(Participant), table(Message)
_VERDICT, _ALERT, _FEEDBACK = table(VerdictRow), table(AlertRow), table(Feedback)


class Figures:
    """Count."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    def counts(self, site: str, begin: datetime, end: datetime, *, reader: str) -> dict[str, int]:
        """Return the counts of a site from `begin` to before `end`, as far as a reader may know."""
        begun = sa.and_(
            _CONVERSATION.c.site == site,
            _CONVERSATION.c.started_at >= begin,
            _CONVERSATION.c.started_at < end,
        )
        in_time = sa.and_(
            _CONVERSATION.c.site == site, _MESSAGE.c.created_at >= begin, _MESSAGE.c.created_at < end
        )
        messages = _MESSAGE.join(_CONVERSATION, _CONVERSATION.c.id == _MESSAGE.c.conversation)
        judged = messages.join(_VERDICT, _VERDICT.c.message == _MESSAGE.c.id)
        parts = _PARTICIPANT.join(_CONVERSATION, _CONVERSATION.c.id == _PARTICIPANT.c.conversation)
        said = _FEEDBACK.join(_CONVERSATION, _CONVERSATION.c.id == _FEEDBACK.c.conversation)
        one = sa.func.count()
        return {
            "chats": self._one(sa.select(one).select_from(_CONVERSATION).where(begun)),
            "pupils": self._one(
                sa.select(sa.func.count(_PARTICIPANT.c.member.distinct()))
                .select_from(parts)
                .where(begun, _PARTICIPANT.c.role == Role.PUPIL.value)
            ),
            "messages": self._one(sa.select(one).select_from(messages).where(in_time)),
            "held": self._one(
                sa.select(one).select_from(judged).where(in_time, _VERDICT.c.action == Action.HOLD.value)
            ),
            "blocked": self._one(
                sa.select(one).select_from(judged).where(in_time, _VERDICT.c.action == Action.BLOCK.value)
            ),
            "alerts": self._one(
                sa.select(one)
                .select_from(_ALERT)
                .where(_ALERT.c.site == site, _ALERT.c.opened_at >= begin, _ALERT.c.opened_at < end)
                .where(_ALERT.c.practice.is_(False))
                .where(may_know(RotaBook(self._tx).circle(site), reader))
            ),
            "helpful": self._one(
                sa.select(one).select_from(said).where(begun, _FEEDBACK.c.helpful.is_(True))
            ),
        }

    def _one(self, query: sa.Select[int]) -> int:
        row = self._tx.row(query)
        assert row is not None
        return int(row[0])
