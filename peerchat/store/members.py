"""Members, their sessions, their blocks, and what they call each other."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from moderation.verdict import Role
from peerchat.store.database import AnyRow, Transaction
from peerchat.store.tables import (
    AlertRow,
    BlockRow,
    Conversation,
    DutyRow,
    Member,
    Participant,
    Pseudonym,
    ReviewItem,
    Seat,
    SessionToken,
    Ticket,
    table,
)

_TICKET, _SEAT, _DUTY, _ITEM = table(Ticket), table(Seat), table(DutyRow), table(ReviewItem)
_ALERT, _PARTICIPANT, _CONVERSATION = table(AlertRow), table(Participant), table(Conversation)
_MEMBER, _TOKEN, _BLOCK, _PSEUDONYM = table(Member), table(SessionToken), table(BlockRow), table(Pseudonym)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberValue:
    """A member and what signs it in."""

    id: str
    site: str
    role: Role
    name: str | None
    username: str | None
    password_hash: str | None
    pin_hash: str | None
    approved_at: datetime | None
    trained_until: datetime | None
    suspended_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn:
    """A live session and its member."""

    token: str
    member: str
    role: Role
    site: str
    name: str | None
    expires_at: datetime


class Members:
    """Find members and sessions; everything that decides whether somebody may act is read here."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    def add(
        self,
        *,
        id: str,
        site: str,
        role: Role,
        name: str | None = None,
        username: str | None = None,
        password_hash: str | None = None,
        code_index: bytes | None = None,
        approved_at: datetime | None = None,
        trained_until: datetime | None = None,
    ) -> None:
        """Make a member."""
        self._tx.execute(
            sa.insert(_MEMBER).values(
                id=id,
                site=site,
                role=role.value,
                name=name,
                username=username,
                password_hash=password_hash,
                code_index=code_index,
                approved_at=approved_at,
                trained_until=trained_until,
                created_at=self._tx.now,
            )
        )

    def get(self, member: str) -> MemberValue | None:
        """Return a member."""
        return self._one(_MEMBER.c.id == member)

    def by_username(self, username: str) -> MemberValue | None:
        """Return a member of staff or a mentor by username."""
        return self._one(_MEMBER.c.username == username)

    def by_code(self, index: bytes) -> MemberValue | None:
        """Return a pupil by the blind index of a sign-in code."""
        return self._one(_MEMBER.c.code_index == index)

    def with_role(self, site: str, role: Role) -> list[MemberValue]:
        """Return a site's members of one role, oldest first."""
        rows = self._tx.rows(
            sa.select(_MEMBER)
            .where(_MEMBER.c.site == site, _MEMBER.c.role == role.value)
            .order_by(_MEMBER.c.created_at, _MEMBER.c.id)
        )
        return [_member(row) for row in rows]

    def names(self, members: Collection[str]) -> dict[str, str]:
        """Return the display names of staff among these members."""
        rows = self._tx.rows(
            sa.select(_MEMBER.c.id, _MEMBER.c.name).where(
                _MEMBER.c.id.in_(members), _MEMBER.c.name.is_not(None)
            )
        )
        return {row.id: row.name for row in rows}

    def set_pin(self, member: str, pin_hash: str | None) -> None:
        """Set or clear the PIN that guards a card."""
        self._tx.execute(sa.update(_MEMBER).where(_MEMBER.c.id == member).values(pin_hash=pin_hash))

    def suspend(self, member: str) -> list[str]:
        """Suspend a member; return the sessions that end with it."""
        self._tx.execute(sa.update(_MEMBER).where(_MEMBER.c.id == member).values(suspended_at=self._tx.now))
        return self.revoke_all(member)

    def suspended_at_work(self, site: str) -> list[str]:
        """Return suspended members of a site who still wait, talk, hold a shift, an item or an alert."""
        at_work = sa.union(
            sa.select(_TICKET.c.pupil).where(_TICKET.c.state == "waiting"),
            sa.select(_SEAT.c.mentor).where(_SEAT.c.on.is_(True)),
            sa.select(_DUTY.c.member).where(_DUTY.c.until > self._tx.now),
            sa.select(_ITEM.c.holder).where(_ITEM.c.state == "claimed"),
            sa.select(_ALERT.c.holder).where(_ALERT.c.state.in_(["acknowledged", "in_hand"])),
            sa.select(_PARTICIPANT.c.member)
            .join(_CONVERSATION, _CONVERSATION.c.id == _PARTICIPANT.c.conversation)
            .where(_PARTICIPANT.c.left_at.is_(None), _CONVERSATION.c.state != "ended"),
        )
        rows = self._tx.rows(
            sa.select(_MEMBER.c.id).where(
                _MEMBER.c.site == site, _MEMBER.c.suspended_at.is_not(None), _MEMBER.c.id.in_(at_work)
            )
        )
        return [row.id for row in rows]

    def ended_since(self, moment: datetime) -> list[tuple[str, bool]]:
        """Return the sessions that ended after a moment, by whatever process: (session, suspended)."""
        rows = self._tx.rows(
            sa.select(_TOKEN.c.id, _MEMBER.c.suspended_at)
            .join(_MEMBER, _MEMBER.c.id == _TOKEN.c.member)
            .where(_TOKEN.c.revoked_at > moment)
        )
        return [(row.id, row.suspended_at is not None) for row in rows]

    # -- sessions

    def add_token(self, *, id: str, hash: bytes, member: str, expires_at: datetime) -> None:
        """Keep a session."""
        self._tx.execute(
            sa.insert(_TOKEN).values(
                id=id, hash=hash, member=member, created_at=self._tx.now, expires_at=expires_at
            )
        )

    def signed_in(self, hash: bytes) -> SignedIn | None:
        """Return the live session with this token hash: not revoked, expired or suspended."""
        row = self._tx.row(
            sa.select(
                _TOKEN.c.id,
                _TOKEN.c.member,
                _TOKEN.c.expires_at,
                _MEMBER.c.role,
                _MEMBER.c.site,
                _MEMBER.c.name,
            )
            .join(_MEMBER, _MEMBER.c.id == _TOKEN.c.member)
            .where(_TOKEN.c.hash == hash, *self._live())
        )
        if row is None:
            return None
        return SignedIn(
            token=row.id,
            member=row.member,
            role=Role(row.role),
            site=row.site,
            name=row.name,
            expires_at=row.expires_at,
        )

    def live_tokens(self, tokens: Iterable[str]) -> set[str]:
        """Return which of these sessions may still act (rule 14), at this transaction's moment."""
        rows = self._tx.rows(
            sa.select(_TOKEN.c.id)
            .join(_MEMBER, _MEMBER.c.id == _TOKEN.c.member)
            .where(_TOKEN.c.id.in_(set(tokens)), *self._live())
        )
        return {row.id for row in rows}

    def revoke(self, token: str) -> None:
        """End one session."""
        self._tx.execute(
            sa.update(_TOKEN)
            .where(_TOKEN.c.id == token, _TOKEN.c.revoked_at.is_(None))
            .values(revoked_at=self._tx.now)
        )

    def revoke_all(self, member: str) -> list[str]:
        """End every session of a member; return them."""
        live = sa.and_(_TOKEN.c.member == member, _TOKEN.c.revoked_at.is_(None))
        ended = [row.id for row in self._tx.rows(sa.select(_TOKEN.c.id).where(live))]
        self._tx.execute(sa.update(_TOKEN).where(live).values(revoked_at=self._tx.now))
        return ended

    def _live(self) -> tuple[sa.ColumnElement[bool], ...]:
        return (
            _TOKEN.c.revoked_at.is_(None),
            _TOKEN.c.expires_at > self._tx.now,
            _MEMBER.c.suspended_at.is_(None),
        )

    # -- between two members

    def block(self, blocker: str, blocked: str) -> None:
        """Never pair these two again."""
        self._tx.execute(
            insert(_BLOCK).values(blocker=blocker, blocked=blocked, at=self._tx.now).on_conflict_do_nothing()
        )

    def blocks(self, members: Collection[str]) -> set[frozenset[str]]:
        """Return the pairs among these members in which one has blocked the other."""
        rows = self._tx.rows(
            sa.select(_BLOCK.c.blocker, _BLOCK.c.blocked).where(
                _BLOCK.c.blocker.in_(members), _BLOCK.c.blocked.in_(members)
            )
        )
        return {frozenset((row.blocker, row.blocked)) for row in rows}

    def pseudonyms(self, pupil: str, mentor: str) -> tuple[str, str] | None:
        """Return (pupil's, mentor's) aliases of an earlier pairing of these two."""
        row = self._tx.row(
            sa.select(_PSEUDONYM).where(_PSEUDONYM.c.pupil == pupil, _PSEUDONYM.c.mentor == mentor)
        )
        return (row.pupil_alias, row.mentor_alias) if row is not None else None

    def aliases_met(self, member: str) -> set[str]:
        """Return every alias that this member has met or carried."""
        rows = self._tx.rows(
            sa.select(_PSEUDONYM.c.pupil_alias, _PSEUDONYM.c.mentor_alias).where(
                sa.or_(_PSEUDONYM.c.pupil == member, _PSEUDONYM.c.mentor == member)
            )
        )
        return {alias for row in rows for alias in row}

    def add_pseudonyms(self, pupil: str, mentor: str, *, pupil_alias: str, mentor_alias: str) -> None:
        """Keep what these two call each other."""
        self._tx.execute(
            sa.insert(_PSEUDONYM).values(
                pupil=pupil, mentor=mentor, pupil_alias=pupil_alias, mentor_alias=mentor_alias
            )
        )

    def met(self, pupils: Collection[str]) -> set[tuple[str, str]]:
        """Return the (pupil, mentor) pairs that have talked before."""
        rows = self._tx.rows(
            sa.select(_PSEUDONYM.c.pupil, _PSEUDONYM.c.mentor).where(_PSEUDONYM.c.pupil.in_(pupils))
        )
        return {(row.pupil, row.mentor) for row in rows}

    def _one(self, where: sa.ColumnElement[bool]) -> MemberValue | None:
        row = self._tx.row(sa.select(_MEMBER).where(where))
        return _member(row) if row is not None else None


def _member(row: AnyRow) -> MemberValue:
    return MemberValue(
        id=row.id,
        site=row.site,
        role=Role(row.role),
        name=row.name,
        username=row.username,
        password_hash=row.password_hash,
        pin_hash=row.pin_hash,
        approved_at=row.approved_at,
        trained_until=row.trained_until,
        suspended_at=row.suspended_at,
    )
