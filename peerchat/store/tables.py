"""SQLModel rows. They never leave `peerchat.store`: callers get values, not rows.

Text that people wrote is in `LargeBinary` columns only, sealed by `seal.py`.
"""

from datetime import UTC, date, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import JSON, BigInteger, Column, Index, LargeBinary, UniqueConstraint
from sqlalchemy.types import TypeDecorator
from sqlmodel import Field, SQLModel


class UtcDateTime(TypeDecorator[datetime]):
    """An aware moment in UTC; a naive one is refused. SQLite keeps it without its zone, PostgreSQL with."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Refuse naive moments; write UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment without a time zone")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Return aware UTC."""
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


def _moment(*, null: bool = False) -> Any:
    return Field(sa_type=UtcDateTime, nullable=null, default=None if null else ...)


def _order() -> Any:
    return Field(sa_type=BigInteger, nullable=False, index=True)


def _sealed(*, null: bool = False) -> Any:
    return Field(sa_type=LargeBinary, nullable=null, default=None if null else ...)


class Site(SQLModel, table=True):
    """One school or college. Every other row belongs to one."""

    id: str = Field(primary_key=True)
    name: str
    service_name: str
    timezone: str
    hours: list[dict[str, Any]] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    topics: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    services: list[dict[str, Any]] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    neutral_url: str
    closed_by_staff: bool = False
    times: dict[str, Any] = Field(  # what it has otherwise than `escalation.times`
        default_factory=dict, sa_column=Column(JSON, nullable=False, server_default="{}")
    )


class Member(SQLModel, table=True):
    """Somebody with a way to sign in. Pupils and mentors have no name here."""

    __table_args__ = (Index("member_role", "site", "role"),)
    id: str = Field(primary_key=True)
    site: str = Field(foreign_key="site.id")
    role: str
    name: str | None = None  # staff only
    username: str | None = Field(default=None, unique=True)
    password_hash: str | None = None
    code_index: bytes | None = Field(default=None, sa_column=Column(LargeBinary, unique=True))
    pin_hash: str | None = None
    approved_at: datetime | None = _moment(null=True)
    trained_until: datetime | None = _moment(null=True)
    suspended_at: datetime | None = _moment(null=True)
    created_at: datetime = _moment()


class SessionToken(SQLModel, table=True):
    """A signed-in session; only the hash of its token is kept."""

    __tablename__ = "session_token"
    id: str = Field(primary_key=True)
    hash: bytes = Field(sa_column=Column(LargeBinary, unique=True, nullable=False))
    member: str = Field(foreign_key="member.id", index=True)
    created_at: datetime = _moment()
    expires_at: datetime = _moment()
    revoked_at: datetime | None = Field(sa_column=Column(UtcDateTime, index=True), default=None)


class Pseudonym(SQLModel, table=True):
    """What two members call each other; made at their first pairing and kept."""

    pupil: str = Field(primary_key=True, foreign_key="member.id")
    mentor: str = Field(primary_key=True, foreign_key="member.id", index=True)
    pupil_alias: str
    mentor_alias: str


class Ticket(SQLModel, table=True):
    """A pupil's ask. At most one waits for each pupil."""

    __table_args__ = (
        Index(
            "ticket_one_waiting",
            "pupil",
            unique=True,
            sqlite_where=sa.text("state = 'waiting'"),
            postgresql_where=sa.text("state = 'waiting'"),
        ),
        Index("ticket_line", "site", "state", "ended_at"),
    )
    id: str = Field(primary_key=True)
    site: str = Field(foreign_key="site.id")
    pupil: str = Field(foreign_key="member.id")
    topics: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    wishes: dict[str, bool] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
    mood: int | None = None
    note: bytes | None = _sealed(null=True)
    risk: int = 0
    state: str = "waiting"  # waiting, paired, cancelled
    asked_at: datetime = _moment()
    ended_at: datetime | None = _moment(null=True)
    conversation: str | None = Field(default=None, index=True)
    so_far: str | None = None  # what moderation makes of the note: the conversation begins with it


class Seat(SQLModel, table=True):
    """A mentor's shift: on or off, on a break, and for how many at once."""

    mentor: str = Field(primary_key=True, foreign_key="member.id")
    site: str = Field(foreign_key="site.id", index=True)
    on: bool
    on_break: bool = False
    capacity: int = 1
    since: datetime = _moment()


class Conversation(SQLModel, table=True):
    """One to one for now: a pupil and a mentor, and adults who joined."""

    id: str = Field(primary_key=True)
    site: str = Field(foreign_key="site.id", index=True)
    kind: str = "one_to_one"
    state: str = Field(index=True)
    why: str | None = None
    topics: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    last_seq: int = 0
    started_at: datetime = _moment()
    ended_at: datetime | None = _moment(null=True)
    so_far: str | None = None  # what moderation makes of it up to here: numbers, no text


class Participant(SQLModel, table=True):
    """A member of a conversation, under the alias used there; reads delivered messages after `reads_from`."""

    conversation: str = Field(primary_key=True, foreign_key="conversation.id")
    member: str = Field(primary_key=True, foreign_key="member.id", index=True)
    role: str
    alias: str
    reads_from: int = 0
    joined_at: datetime = _moment()
    left_at: datetime | None = _moment(null=True)


class Message(SQLModel, table=True):
    """One message. `seq` is given on delivery, so what is held leaves no gap."""

    __table_args__ = (
        UniqueConstraint("conversation", "seq", name="message_seq"),
        Index("message_waiting", "conversation", "status"),
        Index(
            "message_allowed",
            "conversation",
            sqlite_where=sa.text("status = 'held' AND allowed_by IS NOT NULL"),
            postgresql_where=sa.text("status = 'held' AND allowed_by IS NOT NULL"),
        ),
    )
    id: str = Field(primary_key=True)
    n: int = _order()
    conversation: str = Field(foreign_key="conversation.id")
    sender: str = Field(foreign_key="member.id")
    client_id: str
    once: bytes = Field(sa_column=Column(LargeBinary, unique=True, nullable=False))  # see `messages.once`
    body: bytes = _sealed()
    body_mac: bytes = _sealed()
    status: str
    reason: str | None = None
    allowed_by: str | None = None
    seq: int | None = None
    created_at: datetime = _moment()
    delivered_at: datetime | None = _moment(null=True)
    decided_at: datetime | None = _moment(null=True)


class VerdictRow(SQLModel, table=True):
    """What moderation said of one message: no text, only labels, scores and ranges."""

    __tablename__ = "verdict"
    message: str = Field(primary_key=True, foreign_key="message.id")
    body_mac: bytes = _sealed()
    action: int
    risk: int
    reason: str
    labels: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    signals: list[dict[str, Any]] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    degraded: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    policy_version: str
    about: str | None = None  # the role of the one whose risk it is; null: the sender's own
    counted: int = Field(default=0, sa_column_kwargs={"server_default": "0"})  # risk that raised nothing yet
    at: datetime = _moment()


class ReviewItem(SQLModel, table=True):
    """A job for one person. A message has at most one."""

    __tablename__ = "review_item"
    __table_args__ = (Index("review_queue", "site", "state"),)
    id: str = Field(primary_key=True)
    site: str = Field(foreign_key="site.id")
    kind: str
    conversation: str | None = Field(default=None, foreign_key="conversation.id", index=True)
    message: str | None = Field(default=None, foreign_key="message.id", unique=True)
    about: str | None = Field(default=None, foreign_key="member.id")
    alert: str | None = Field(default=None, foreign_key="alert.id", index=True)
    risk: int = 0
    labels: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    for_adults: bool = False
    state: str
    holder: str | None = Field(default=None, foreign_key="member.id")
    claimed_until: datetime | None = _moment(null=True)
    created_at: datetime = _moment()
    due_at: datetime = _moment()
    version: int = 1


class DecisionRow(SQLModel, table=True):
    """A decision: appended, never overwritten."""

    __tablename__ = "decision"
    id: str = Field(primary_key=True)
    item: str = Field(foreign_key="review_item.id", index=True)
    by: str = Field(foreign_key="member.id")
    decision: str
    reason: str
    note: bytes | None = _sealed(null=True)
    at: datetime = _moment()


class ReportRow(SQLModel, table=True):
    """A member's report, or wish for a second look; its review item is `item`."""

    __tablename__ = "report"
    id: str = Field(primary_key=True)
    n: int = _order()
    item: str = Field(foreign_key="review_item.id", index=True)
    by: str = Field(foreign_key="member.id")
    conversation: str = Field(foreign_key="conversation.id")
    message: str | None = None
    kind: str
    reason: str
    note: bytes | None = _sealed(null=True)
    at: datetime = _moment()


class AlertRow(SQLModel, table=True):
    """An alert; its row is its own outbox: due at `next_due_at`."""

    __tablename__ = "alert"
    __table_args__ = (
        Index("alert_due", "next_due_at"),
        Index("alert_untold", "untold_since"),
        Index("alert_open", "site", "state"),
        Index("alert_about", "about", "state"),
    )
    id: str = Field(primary_key=True)
    site: str = Field(foreign_key="site.id")
    conversation: str | None = Field(default=None, foreign_key="conversation.id", index=True)
    about: str = Field(foreign_key="member.id")
    about_role: str
    risk: int
    labels: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    state: str
    rung: int
    opened_at: datetime = _moment()
    notifying_since: datetime = _moment()
    next_due_at: datetime | None = _moment(null=True)
    told_at: datetime | None = _moment(null=True)  # when a telling first went out
    untold_since: datetime | None = _moment(null=True)  # a telling is on its way, or failed: told again
    holder: str | None = Field(default=None, foreign_key="member.id")
    lapses_at: datetime | None = _moment(null=True)
    closing_by: str | None = None
    closing_outcome: bytes | None = _sealed(null=True)
    closing_rationale: bytes | None = _sealed(null=True)
    discreet: bool = False
    practice: bool = Field(default=False, sa_column_kwargs={"server_default": sa.false()})
    apart: bool = Field(default=False, sa_column_kwargs={"server_default": sa.false()})  # see `Alert`
    closed_at: datetime | None = _moment(null=True)
    version: int = 1


class AlertEvent(SQLModel, table=True):
    """The chronology of a case: appended, never changed."""

    __tablename__ = "alert_event"
    id: str = Field(primary_key=True)
    n: int = _order()
    alert: str = Field(foreign_key="alert.id", index=True)
    at: datetime = _moment()
    kind: str
    by: str | None = None
    message: str | None = None
    data: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
    note: bytes | None = _sealed(null=True)


class CaseEvidence(SQLModel, table=True):
    """A text as it was when it raised a concern: under the case's key, so that no chat's end takes it."""

    __tablename__ = "case_evidence"
    event: str = Field(primary_key=True, foreign_key="alert_event.id")
    alert: str = Field(foreign_key="alert.id", index=True)
    message: str  # may be erased before the case is
    sender: str
    sent_at: datetime = _moment()
    risk: int
    labels: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    policy_version: str | None = None
    text: bytes = _sealed()


class CaseHold(SQLModel, table=True):
    """A legal hold on a case, and when it was lifted: appended and ended, never taken away."""

    __tablename__ = "case_hold"
    id: str = Field(primary_key=True)
    alert: str = Field(foreign_key="alert.id", index=True)
    by: str = Field(foreign_key="member.id")
    at: datetime = _moment()
    reason: bytes = _sealed()
    lifted_by: str | None = Field(default=None, foreign_key="member.id")
    lifted_at: datetime | None = _moment(null=True)
    lifted_reason: bytes | None = _sealed(null=True)


class Attempt(SQLModel, table=True):
    """One telling by one channel: written before it is sent."""

    id: str = Field(primary_key=True)
    n: int = _order()
    alert: str = Field(foreign_key="alert.id", index=True)
    rung: int
    audience: str
    channel: str
    key: str = Field(sa_column_kwargs={"server_default": ""})  # of one telling, however often it is repeated
    at: datetime = _moment()
    outcome: str | None = None  # null: unknown


class ContactPoint(SQLModel, table=True):
    """One way to reach an adult, or a system of the school's, beyond the open page."""

    __tablename__ = "contact_point"
    __table_args__ = (Index("contact_point_live", "site", "removed_at"),)
    id: str = Field(primary_key=True)
    site: str = Field(foreign_key="site.id")
    kind: str
    member: str | None = Field(default=None, foreign_key="member.id", index=True)
    audience: str
    address: bytes | None = _sealed(null=True)  # gone once it is removed
    secret: bytes | None = _sealed(null=True)
    name: bytes | None = _sealed(null=True)
    added_at: datetime = _moment()
    removed_at: datetime | None = _moment(null=True)
    ok_at: datetime | None = _moment(null=True)
    failed_at: datetime | None = _moment(null=True)
    fault: str | None = None
    failures: int = 0  # in a row
    tried_at: datetime | None = _moment(null=True)


class SendingRow(SQLModel, table=True):
    """What one contact point is sent of one attempt: written with the attempt, and due until it went out."""

    __tablename__ = "sending"
    __table_args__ = (Index("sending_due", "ended_at", "due_at"),)
    id: str = Field(primary_key=True)
    attempt: str = Field(foreign_key="attempt.id", index=True)
    contact: str = Field(foreign_key="contact_point.id", index=True)
    key: str
    at: datetime = _moment()
    due_at: datetime = _moment()  # while one sends: when its lease runs out
    tries: int = 0
    outcome: str | None = None  # null: unknown; ok; failed
    fault: str | None = None
    ended_at: datetime | None = _moment(null=True)


class DutyRow(SQLModel, table=True):
    """A member's duty lease. `kept_by` names who renews it: the member's page, or the demo."""

    __tablename__ = "duty_lease"
    member: str = Field(primary_key=True, foreign_key="member.id")
    site: str = Field(foreign_key="site.id", index=True)
    role: str
    since: datetime = _moment()
    until: datetime = _moment()
    kept_by: str = "member"
    phone_until: datetime | None = _moment(null=True)  # a press on a phone holds it so long


class RotaTurn(SQLModel, table=True):
    """One adult's place in the weekly pattern; times are of the site's own clock."""

    __tablename__ = "rota_turn"
    id: str = Field(primary_key=True)
    site: str = Field(foreign_key="site.id", index=True)
    member: str = Field(foreign_key="member.id")
    part: str
    days: list[int] = Field(sa_column=Column(JSON, nullable=False))
    begin: str
    end: str
    first: date | None = None
    last: date | None = None


class RotaChange(SQLModel, table=True):
    """A holiday, somebody's absence, or a turn besides."""

    __tablename__ = "rota_change"
    id: str = Field(primary_key=True)
    site: str = Field(foreign_key="site.id", index=True)
    kind: str
    first: date
    last: date
    member: str | None = Field(default=None, foreign_key="member.id")
    part: str
    begin: str | None = None
    end: str | None = None


class Handover(SQLModel, table=True):
    """One adult's offer to another to take over an alert, or all of them. Answered once, or never."""

    __table_args__ = (Index("handover_open", "site", "answered_at"),)
    id: str = Field(primary_key=True)
    site: str = Field(foreign_key="site.id")
    giver: str = Field(foreign_key="member.id")
    taker: str = Field(foreign_key="member.id")
    alert: str | None = Field(default=None, foreign_key="alert.id")  # null: all that the giver has by then
    offered_at: datetime = _moment()
    until: datetime = _moment()
    answered_at: datetime | None = _moment(null=True)
    answer: str | None = None


class Independent(SQLModel, table=True):
    """Who is told of alerts about staff: preset, in the order in which they are asked."""

    member: str = Field(primary_key=True, foreign_key="member.id")
    site: str = Field(foreign_key="site.id", index=True)
    place: int
    outside: bool  # knows of these alerts alone, and holds no duty: a chair of governors


class Reading(SQLModel, table=True):
    """Why somebody read a conversation; `n` is its row in the audit log."""

    n: int = Field(primary_key=True, foreign_key="audit.n")
    by: str = Field(foreign_key="member.id")
    conversation: str = Field(foreign_key="conversation.id")
    reason: bytes | None = _sealed(null=True)


class Beat(SQLModel, table=True):
    """One row that readiness writes, to know that writing works."""

    id: int = Field(primary_key=True)
    at: datetime = _moment()


class BlockRow(SQLModel, table=True):
    """Never again: whoever blocked, whoever is blocked."""

    __tablename__ = "block"
    blocker: str = Field(primary_key=True, foreign_key="member.id")
    blocked: str = Field(primary_key=True, foreign_key="member.id")
    at: datetime = _moment()


class Feedback(SQLModel, table=True):
    """What a member said on leaving; all optional."""

    conversation: str = Field(primary_key=True, foreign_key="conversation.id")
    member: str = Field(primary_key=True, foreign_key="member.id")
    mood_before: int | None = None
    mood: int | None = None
    helpful: bool | None = None
    again: bool | None = None
    at: datetime = _moment()


class AuditRow(SQLModel, table=True):
    """The hash chain; see `escalation.audit`."""

    __tablename__ = "audit"
    n: int = Field(primary_key=True)
    at: datetime = _moment()
    actor: str
    kind: str
    object: str
    data: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
    hash: str


class CheckpointRow(SQLModel, table=True):
    """The log's head as it was signed; shipped out of the host, and kept here to be shipped again."""

    __tablename__ = "checkpoint"
    n: int = Field(primary_key=True)
    hash: str
    at: datetime = _moment()
    key: str
    signature: str


class ShipmentRow(SQLModel, table=True):
    """How far the checkpoints have come at one place outside."""

    __tablename__ = "shipment"
    target: str = Field(primary_key=True)
    n: int = 0  # the last one that arrived; 0: none
    at: datetime | None = _moment(null=True)
    failing_since: datetime | None = _moment(null=True)
    fault: str | None = None  # a kind of failure: never an address


def table(model: type[SQLModel]) -> sa.Table:
    """Return the Core table of a row type."""
    found = model.__table__  # type: ignore[attr-defined]
    assert isinstance(found, sa.Table)
    return found
