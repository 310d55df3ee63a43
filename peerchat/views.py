"""Values of the store as frames show them: the one place that decides what a member may see of another."""

from collections.abc import Mapping
from datetime import datetime

from msgspec import UNSET

from escalation.alert import Alert
from escalation.triage import FLAG
from moderation.verdict import Risk, Role
from peerchat import frames
from peerchat.frames import Service, Who, utc
from peerchat.model import ReviewState
from peerchat.opening import Opening, next_open_text, opening
from peerchat.store.conversations import ConversationValue, ParticipantValue
from peerchat.store.messages import MessageValue
from peerchat.store.reviews import ItemValue
from peerchat.store.sites import SiteValue
from peerchat.store.sql import Tx
from peerchat.words import DEFAULT_SERVICES

UNKNOWN = Who(alias="Someone", role=Role.ADULT.value)


def site_opening(tx: Tx, site: SiteValue) -> Opening:
    """Return whether a site is open at the transaction's moment."""
    return opening(
        hours=site.hours,
        timezone=site.timezone,
        closed_by_staff=site.closed_by_staff,
        covered=tx.duty.covered(site.id),
        now=tx.now,
        holidays=tx.rota.holidays(site.id),
    )


def closing(tx: Tx, site: SiteValue, state: Opening | None = None) -> datetime | None:
    """Return when a site closes, once that is so near that everybody is warned of it."""
    closes = (state or site_opening(tx, site)).closes
    return closes if closes is not None and closes - tx.now <= site.times.closing_warning else None


def services(site: SiteValue) -> list[Service]:
    """Return a site's own services first, then the defaults it does not name."""
    own = list(site.services)
    named = {s.name for s in own}
    return own + [s for s in DEFAULT_SERVICES if s.name not in named]


def on_duty(tx: Tx, site: str) -> list[str]:
    """Return the names of the adults on duty."""
    return [name for lease, name in tx.duty.leases(site) if lease.role is Role.ADULT and name]


def site_frame(tx: Tx, site: SiteValue, state: Opening | None = None) -> frames.Site:
    """Return what everybody is told when a site opens or closes."""
    state = state or site_opening(tx, site)
    return frames.Site(
        open=state.open,
        why=state.why,
        services=services(site),
        on_duty=on_duty(tx, site.id),
        next_open_text=next_open_text(state, timezone=site.timezone, now=tx.now),
        closes_at=moment_of(closing(tx, site, state)),
    )


def site_view(tx: Tx, site: SiteValue) -> frames.SiteView:
    """Return the site as `welcome` shows it."""
    state = site_opening(tx, site)
    return frames.SiteView(
        name=site.service_name,
        open=state.open,
        why=state.why,
        topics=list(site.topics),
        services=services(site),
        on_duty=on_duty(tx, site.id),
        next_open_text=next_open_text(state, timezone=site.timezone, now=tx.now),
        closes_at=moment_of(closing(tx, site, state)),
        independent=bool(tx.rota.circle(site.id).independents),
    )


def moment_of(value: datetime | None) -> datetime | None:
    """Return a moment as frames write it."""
    return None if value is None else utc(value)


def who(part: ParticipantValue | None) -> Who:
    """Return how somebody appears to the others."""
    return UNKNOWN if part is None else Who(alias=part.alias, role=part.role.value)


def participant(conversation: ConversationValue, member: str) -> ParticipantValue | None:
    """Return how a member takes or took part."""
    return next((p for p in conversation.participants if p.member == member), None)


def partner(conversation: ConversationValue, member: str) -> Who | None:
    """Return the other one of a pair; to an adult who joined, the pupil."""
    mine = participant(conversation, member)
    wanted = Role.MENTOR if mine is not None and mine.role is Role.PUPIL else Role.PUPIL
    found = conversation.with_role(wanted)
    if found is None:
        return None
    topics = list(conversation.topics) if wanted is Role.PUPIL else []
    return Who(alias=found.alias, role=found.role.value, topics=topics)


def conversation_view(conversation: ConversationValue, member: str) -> frames.ConversationView:
    """Return an open conversation as `welcome` lists it."""
    return frames.ConversationView(
        conversation=conversation.id,
        partner=partner(conversation, member),
        state=conversation.state.value,
        last_seq=conversation.last_seq,
        members=[who(p) for p in conversation.participants if not p.left],
        why=conversation.why,
    )


def message_frame(
    message: MessageValue, conversation: ConversationValue, *, replay: bool = False, own: bool = False
) -> frames.Message:
    """Return a delivered message; it must have a seq (rule 2)."""
    assert message.seq is not None
    return frames.Message(
        conversation=message.conversation,
        message=message.id,
        seq=message.seq,
        from_=who(participant(conversation, message.sender)),
        text=message.text,
        at=utc(message.delivered_at or message.created_at),
        replay=True if replay else UNSET,
        own=True if own else UNSET,
    )


def review_item(item: ItemValue, names: Mapping[str, str]) -> frames.ReviewItem:
    """Return a review item without text."""
    return frames.ReviewItem(
        id=item.id,
        kind=item.kind.value,
        conversation=item.conversation,
        message=item.message,
        risk=item.risk.word,
        labels=list(item.labels),
        state=item.state.value,
        holder=names.get(item.holder, "Someone")
        if item.holder and item.state is ReviewState.CLAIMED
        else None,
        created_at=utc(item.created_at),
        due_at=utc(item.due_at),
        version=item.version,
    )


def alert_view(alert: Alert) -> frames.AlertView:
    """Return an alert without text or name."""
    return frames.AlertView(
        id=alert.id,
        conversation=alert.conversation,
        risk=alert.risk.word,
        labels=list(alert.labels),
        state=alert.state.value,
        rung=alert.rung,
        opened_at=utc(alert.opened_at),
        next_due_at=utc(alert.next_due_at) if alert.next_due_at is not None else None,
    )


def help_state(alert: Alert) -> str:
    """Return what is true of the adult's help, in the protocol's words."""
    if alert.state.unanswered:
        return "still_asking" if alert.rung > 0 else "asked"
    return "has_it"


def wants_help_frames(alert: Alert) -> bool:
    """Return whether pupil and mentor are told of an alert: of high and immediate ones about a pupil.

    Who pressed and is in no chat is told too, whatever their role.
    """
    asked = alert.conversation is None and FLAG in alert.labels
    return alert.risk >= Risk.HIGH and (asked or alert.about_role is Role.PUPIL)


def moment(value: datetime | None) -> str | None:
    """Return a moment as JSON answers write it."""
    return None if value is None else utc(value).isoformat().replace("+00:00", "Z")
