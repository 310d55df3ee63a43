"""Who is told what, once a transaction is committed: the one place that addresses events.

Each function only emits into its transaction; nothing here decides whether something may happen.
"""

from escalation.alert import Alert
from moderation.verdict import Role
from peerchat import frames, views
from peerchat.ports import to_members, to_site
from peerchat.store.conversations import ConversationValue
from peerchat.store.messages import MessageValue
from peerchat.store.sql import Tx


def emit_alert(tx: Tx, alert: Alert, change: str) -> None:
    """Show a changed alert to the adults who may know of it, never to the one it is about."""
    adults = tx.rota.circle(alert.site).knowing(alert)
    if adults:
        tx.emit(to_members(frames.Alert(change=change, alert=views.alert_view(alert)), *adults))


def emit_evidence(tx: Tx, alert: Alert, *, new: bool) -> None:
    """Show that an alert has more evidence, where no telling is due anyway."""
    if not new and (alert.next_due_at is None or alert.next_due_at > tx.now):
        emit_alert(tx, alert, "updated")


def tell_help(
    tx: Tx, alert: Alert, conversation: ConversationValue | None, *, state: str | None = None
) -> None:
    """Tell the ones who may know what is true of the adult's help."""
    to: tuple[str, ...]
    if conversation is None:
        to = (alert.about,)
    elif alert.discreet:
        to = tuple(m for m in conversation.present if m == alert.about)
    else:
        pair = (Role.PUPIL, Role.MENTOR)
        to = tuple(p.member for p in conversation.participants if p.role in pair and not p.left)
    if to:
        tx.emit(
            to_members(
                frames.Help(conversation=alert.conversation, state=state or views.help_state(alert)), *to
            )
        )


def emit_review(tx: Tx, change: str, item: str) -> None:
    """Tell the queue's people that an item changed; what carries risk is for adults only.

    For the one it is about the item does not exist.
    """
    found = tx.reviews.get(item)
    assert found is not None
    names = tx.members.names([found.holder]) if found.holder else {}
    roles = (Role.ADULT.value,) if found.for_adults else (Role.MODERATOR.value, Role.ADULT.value)
    frame = frames.Review(change=change, item=views.review_item(found, names))
    outside = tx.rota.circle(found.site).outside
    if not outside:
        tx.emit(to_site(frame, found.site, *roles, but=found.about))
        return
    people = [m.id for role in roles for m in tx.members.with_role(found.site, Role(role))]
    if to := [m for m in people if m not in outside and m != found.about]:
        tx.emit(to_members(frame, *to))


def emit_delivered(
    tx: Tx, message: MessageValue, conversation: ConversationValue, *, skip: str | None = None
) -> None:
    """Show a delivered message to the others, and to its sender's other lines."""
    others = [m for m in conversation.present if m != message.sender]
    if others:
        tx.emit(to_members(views.message_frame(message, conversation), *others))
    tx.emit(to_members(views.message_frame(message, conversation, own=True), message.sender, skip=skip))
