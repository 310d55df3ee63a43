"""Alerts as people meet them: flags that raise them, the adult's steps, and what pupil and mentor are told.

`Cases` holds the use cases; `CaseStore` and `InApp` are the two ports of `escalation.desk` on this side.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from escalation import alert as life
from escalation.alert import Alert, AlertError, AlertState
from escalation.ladder import Step
from escalation.triage import flagged
from moderation.verdict import Risk, Role
from peerchat import frames, views
from peerchat.course import check_live, member_conversation, pause_conversation, resume_conversation
from peerchat.course import end_conversation as end_for_all
from peerchat.errors import CaseError, Forbidden, NotAllowed, UnknownObject
from peerchat.leaving import gone
from peerchat.model import PAUSED_BY_STAFF, Actor, ConversationState, ReviewState
from peerchat.ports import Event, to_members
from peerchat.review import lines_for, transcript_line
from peerchat.store.conversations import ConversationValue
from peerchat.store.messages import marks
from peerchat.store.sql import Store, Tx
from peerchat.telling import emit_alert, emit_evidence, tell_help

IN_APP = "in_app"
PRESSED, MISTAKE = ("raised", "evidence"), "said_mistake"
"""Kinds of lines in a chronology: that somebody raised it, and that they say it was by mistake."""

EXCERPT_BEFORE, EXCERPT_AFTER = 3, 1
"""Lines shown around what raised an alert: the least that is needed first."""

ACTIONS = (
    "spoke with pupil",
    "spoke with mentor",
    "called parent or carer",
    "told the head",
    "referred to children's services",
    "referred to CAMHS",
    "called the police",
    "called an ambulance",
    "checked: no action needed now",
)
OUTCOMES = (
    "safe, support agreed",
    "referred on",
    "passed to parents or carers",
    "no concern found",
    "raised by mistake",
    "practice",
)


class Cases:
    """Flags, acknowledgement, joining, notes, actions, closing, and the pausing of conversations."""

    def __init__(self, store: Store, *, alerted: Callable[[], None]) -> None:
        self._store = store
        self._alerted = alerted

    async def flag(self, actor: Actor, frame: frames.Flag) -> str:
        """Raise an alert by one press, whatever state anything is in; return its id."""

        def body(tx: Tx) -> str:
            check_live(tx, actor)
            conversation = None
            if frame.conversation is not None:
                conversation = member_conversation(tx, actor, frame.conversation)
            pupil = conversation.with_role(Role.PUPIL) if conversation is not None else None
            concern = flagged(
                emergency=frame.urgency == "emergency",
                sender=actor.member,
                role=actor.role,
                pupil=pupil.member if pupil is not None else None,
                about_adult=frame.about == "adult",
            )
            alert, new = tx.alerts.raise_or_fold(
                concern,
                site=actor.site,
                conversation=frame.conversation,
                message=None,
                by=actor.member,
                note=frame.note,
            )
            emit_evidence(tx, alert, new=new)
            if alert.risk >= Risk.HIGH:
                told = replace(alert, state=AlertState.NOTIFYING) if alert.state is AlertState.OPEN else alert
                state = views.help_state(told)
                asked = frames.Help(conversation=frame.conversation, state=state)
                to = {actor.member}
                if conversation is not None and not alert.discreet:
                    pair = (Role.PUPIL, Role.MENTOR)
                    to |= {p.member for p in conversation.participants if p.role in pair and not p.left}
                tx.emit(to_members(asked, *sorted(to)))
            return alert.id

        id = await self._store.write(body)
        self._alerted()
        return id

    async def mistake(self, actor: Actor, frame: frames.Mistake) -> None:
        """Note that whoever pressed says it was by mistake. Information for the adult: the ladder goes on."""

        def body(tx: Tx) -> None:
            check_live(tx, actor)
            found = tx.alerts.get(frame.alert)
            lines = tx.alerts.chronology(frame.alert) if found is not None else []
            if found is None or not any(e.by == actor.member and e.kind in PRESSED for e in lines):
                raise Forbidden("there is no such press of yours")
            said = any(e.by == actor.member and e.kind == MISTAKE for e in lines)
            if found.state is AlertState.CLOSED or said:
                return
            tx.alerts.log(found.id, MISTAKE, by=actor.member)
            emit_alert(tx, found, "updated")

        await self._store.write(body)

    # -- the adult's steps

    async def listed(
        self, actor: Actor, states: Sequence[AlertState], *, limit: int, offset: int
    ) -> tuple[list[dict[str, Any]], int | None]:
        """Return a page of the site's alerts, open ones first, and where the next begins.

        Those about the caller do not exist for the caller.
        """

        def body(tx: Tx) -> list[dict[str, Any]]:
            alerts = tx.alerts.listed(
                actor.site, states=states, reader=actor.member, limit=limit + 1, offset=offset
            )
            return [_row(tx, a, actor) for a in alerts]

        rows = await self._store.read(body)
        return rows[:limit], offset + limit if len(rows) > limit else None

    async def shown(self, actor: Actor, alert: str) -> dict[str, Any]:
        """Return a case with the least text that is needed; the reading is logged first (rule 16)."""

        def log(tx: Tx) -> None:
            check_live(tx, actor)
            found = visible(tx, actor, alert)
            tx.audit.append(actor.member, "read_case", alert, {"conversation": found.conversation})

        await self._store.write(log)  # durable before a word is read, and the reading keeps no commit waiting
        return await self._store.read(lambda tx: _case(tx, visible(tx, actor, alert), actor))

    async def acknowledge(self, actor: Actor, alert: str) -> dict[str, Any]:
        """Take an alert on: the ladder stops, and pupil and mentor are told that an adult has it."""

        def step(tx: Tx, found: Alert) -> Alert:
            return life.acknowledged(found, by=actor.member, now=tx.now, lease=_lease(tx, found))

        return await self._move(actor, alert, "acknowledged", step, tell="has_it")

    async def join(self, actor: Actor, alert: str) -> dict[str, Any]:
        """Enter the conversation, seen by all in it. Joining acknowledges, for whoever has not yet."""

        def step(tx: Tx, found: Alert) -> Alert:
            conversation = (
                tx.conversations.get(found.conversation) if found.conversation is not None else None
            )
            if conversation is None or conversation.ended:
                raise CaseError("there is no open chat to join")
            if found.state.unanswered:
                found = life.acknowledged(found, by=actor.member, now=tx.now, lease=_lease(tx, found))
            found = life.acted(found, by=actor.member, now=tx.now)
            if conversation.part(actor.member) is None:
                name = actor.name or "An adult"
                tx.conversations.join(
                    conversation.id, actor.member, actor.role, name, reads_from=conversation.last_seq
                )
                fresh = tx.conversations.get(conversation.id)
                assert fresh is not None
                joined = frames.Joined(
                    conversation=conversation.id, member=frames.Who(alias=name, role=actor.role.value)
                )
                tx.emit(to_members(joined, *fresh.present))
            return found

        return await self._move(actor, alert, "in_hand", step, tell="here", kind="joined")

    async def note(self, actor: Actor, alert: str, text: str) -> dict[str, Any]:
        """Add a note to the case; notes are never changed."""

        def step(_tx: Tx, found: Alert) -> Alert:
            return found

        return await self._move(actor, alert, "updated", step, kind="note", note=text)

    async def act(self, actor: Actor, alert: str, action: str, note: str | None) -> dict[str, Any]:
        """Record what was done; the alert is in hand from then on.

        What is not on the site's list is kept as the note's first words, sealed.
        """
        if action not in ACTIONS:
            note = action if note is None else f"{action}: {note}"
            action = "other"

        def step(tx: Tx, found: Alert) -> Alert:
            return life.acted(found, by=actor.member, now=tx.now)

        return await self._move(
            actor, alert, "in_hand", step, kind="action", note=note, data={"action": action}
        )

    async def close(
        self, actor: Actor, alert: str, *, outcome: str, rationale: str, version: int | None
    ) -> tuple[dict[str, Any], bool]:
        """Close a case with outcome and rationale; (case, False) while a second adult must still sign."""
        ends: list[bool] = []

        def step(tx: Tx, found: Alert) -> Alert:
            undecided = sum(i.state is not ReviewState.DECIDED for i in tx.reviews.of_alert(found.id))
            single = tx.rota.circle(found.site).alone(found, actor.member)
            moved = life.closed(
                found,
                by=actor.member,
                outcome=outcome,
                rationale=rationale,
                version=version,
                undecided=undecided,
                single=single,
                now=tx.now,
            )
            ends.append(moved.state is AlertState.CLOSED)
            kind = "closed" if ends[-1] else "close_proposed"
            data = {"single": True} if single and life.needs_two(found) else None
            tx.alerts.log(found.id, kind, by=actor.member, data=data, note=f"{outcome}: {rationale}")
            return moved

        case = await self._move(actor, alert, None, step, kind=None)
        return case, ends[-1]

    async def _move(
        self,
        actor: Actor,
        alert: str,
        change: str | None,
        step: Callable[[Tx, Alert], Alert],
        *,
        tell: str | None = None,
        kind: str | None = "",
        note: str | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        def body(tx: Tx) -> dict[str, Any]:
            check_live(tx, actor)
            found = visible(tx, actor, alert)
            tx.audit.append(actor.member, f"case_{kind or change or 'close'}", alert)
            try:
                moved = step(tx, found)
            except AlertError as error:
                raise CaseError(str(error)) from None
            if found.state is AlertState.CLOSED:
                raise CaseError("this alert is closed; a new concern opens a new one")
            tx.alerts.save(moved)
            if kind is not None:
                tx.alerts.log(alert, kind or str(change), by=actor.member, data=data, note=note)
            said = change or ("closed" if moved.state is AlertState.CLOSED else "updated")
            emit_alert(tx, moved, said)
            if tell is not None and views.wants_help_frames(moved):
                conversation = tx.conversations.get(moved.conversation) if moved.conversation else None
                tell_help(tx, moved, conversation, state=tell)
            return _row(tx, moved, actor)

        return await self._store.write(body)

    # -- conversations in the adults' hands

    async def transcript(
        self, actor: Actor, conversation: str, *, reason: str | None, whole: bool
    ) -> list[dict[str, Any]]:
        """Return a conversation: an excerpt, or the whole for a recorded reason. Logged first (rule 16)."""

        def log(tx: Tx) -> None:
            check_live(tx, actor)
            _with_case(tx, actor, conversation)
            kind = "read_whole_conversation" if whole else "read_conversation"
            n = tx.audit.append(actor.member, kind, conversation, {"reason_given": bool(reason)})
            tx.sites.add_reading(n, by=actor.member, conversation=conversation, reason=reason)
            circle = tx.rota.circle(actor.site)
            for alert in tx.alerts.open_in([conversation]):
                if circle.may_know(alert, actor.member):
                    tx.alerts.log(alert.id, "read_more" if whole else "read", by=actor.member, note=reason)

        def read(tx: Tx) -> list[dict[str, Any]]:
            found = _with_case(tx, actor, conversation)
            return lines_for(
                tx, actor, found, tx.messages.transcript(conversation, limit=5_000 if whole else 10)
            )

        await self._store.write(log)
        return await self._store.read(read)

    async def pause(self, actor: Actor, conversation: str) -> None:
        """Pause a conversation by hand; only a person's resume opens it again."""

        def body(tx: Tx) -> None:
            found = self._steered(tx, actor, conversation, "pause")
            if found.state is ConversationState.OPEN:
                pause_conversation(tx, found, PAUSED_BY_STAFF)
            else:
                tx.conversations.set_state(found.id, ConversationState.PAUSED, PAUSED_BY_STAFF)

        await self._store.write(body)

    async def resume(self, actor: Actor, conversation: str) -> None:
        """Open a paused conversation again; refused while no adult is on duty (rule 12)."""

        def body(tx: Tx) -> None:
            found = self._steered(tx, actor, conversation, "resume")
            if not tx.duty.covered(found.site):
                raise CaseError("no adult is on duty: take duty first")
            if found.state is ConversationState.PAUSED:
                resume_conversation(tx, found, "staff")

        await self._store.write(body)

    async def end(self, actor: Actor, conversation: str) -> None:
        """End a conversation by hand."""

        def body(tx: Tx) -> None:
            found = self._steered(tx, actor, conversation, "end")
            end_for_all(tx, found, why="ended_by_staff")

        await self._store.write(body)

    def _steered(self, tx: Tx, actor: Actor, conversation: str, what: str) -> ConversationValue:
        check_live(tx, actor)
        found = tx.conversations.get(conversation)
        if found is None or found.site != actor.site:
            raise UnknownObject("no such conversation")
        if actor.member in tx.rota.circle(actor.site).outside:
            _with_case(tx, actor, conversation)
        if found.ended:
            raise CaseError("this chat has ended")
        tx.audit.append(actor.member, f"conversation_{what}", conversation)
        return found


class CaseStore:
    """`escalation.notify.AlertStore` over the database, for as many workers as there are."""

    def __init__(self, store: Store, channels: Sequence[str]) -> None:
        self._store = store
        self._channels = tuple(channels)

    async def take_due(self, *, limit: int) -> Sequence[Step]:
        """Advance what is due and write the attempts; tell pupil and mentor when the rung rose."""

        def body(tx: Tx) -> Sequence[Step]:
            steps = tx.alerts.take_due(limit=limit, channels=self._channels)
            for done in tx.alerts.ended_by_themselves:
                tx.alerts.apart(partial(emit_alert, tx, done, "closed"))
            steps = [tx.channels.planned(step, day=tx.alerts.day(step.alert.site)) for step in steps]
            for step in steps:
                tx.alerts.apart(partial(_tell_pair, tx, step.alert))
            return steps

        if await self._store.read(lambda tx: (due := tx.alerts.next_due()) is None or due > tx.now):
            return []
        return await self._store.write(body)

    async def told(self, step: Step, *, channel: str, ok: bool) -> None:
        """Record how a telling went."""
        await self._store.write(lambda tx: tx.alerts.told(step, channel=channel, ok=ok))

    async def next_due(self) -> datetime | None:
        """Return when the next alert is due."""
        return await self._store.read(lambda tx: tx.alerts.next_due())


def _tell_pair(tx: Tx, alert: Alert) -> None:
    """Tell pupil and mentor of an alert that climbed."""
    if alert.state.unanswered and alert.rung > 0 and views.wants_help_frames(alert):
        conversation = tx.conversations.get(alert.conversation) if alert.conversation else None
        tell_help(tx, alert, conversation)


class InApp:
    """The channel that is always there: the adults' own pages, by their open lines."""

    channel = IN_APP

    def __init__(
        self, publish: Callable[[Sequence[Event]], None], store: Store, *, here: Callable[[str], bool]
    ) -> None:
        self._publish = publish
        self._store = store
        self._here = here

    async def notify(self, step: Step) -> bool:
        """Show the alert to the adults who are told of it at its rung, never to the one it is about.

        The first telling is `raised`, each later one `climbed`. Returns whether any such page was open.
        """
        alert = step.alert
        frame = frames.Alert(change="raised" if step.first else "climbed", alert=views.alert_view(alert))

        members = await self._store.read(lambda tx: tx.rota.circle(alert.site).told(alert))
        if members:
            self._publish([to_members(frame, *members)])
        return any(self._here(member) for member in members)


def visible(tx: Tx, actor: Actor, alert: str) -> Alert:
    """Return an alert that the caller may know of; for anybody else it does not exist."""
    found = tx.alerts.get(alert)
    if found is None or found.site != actor.site:
        raise UnknownObject("no such alert")
    if not tx.rota.circle(actor.site).may_know(found, actor.member):
        raise UnknownObject("no such alert")
    return found


def _lease(tx: Tx, alert: Alert) -> timedelta:
    return tx.sites.get(alert.site).times.acknowledgement


def _with_case(tx: Tx, actor: Actor, conversation: str) -> ConversationValue:
    """Return a conversation that the caller has a reason to read: an alert, or a review item in hand."""
    found = tx.conversations.get(conversation)
    if found is None or found.site != actor.site:
        raise UnknownObject("no such conversation")
    if actor.role is Role.ADULT:
        if tx.alerts.any_for(conversation, site=actor.site, reader=actor.member):
            return found
        outside = actor.member in tx.rota.circle(actor.site).outside
        if not outside and tx.reviews.any_for(conversation, not_about=actor.member):
            return found
    elif tx.reviews.held_for(conversation, actor.member):
        return found
    raise NotAllowed("there is no case that this reading belongs to")


def _row(tx: Tx, alert: Alert, actor: Actor) -> dict[str, Any]:
    names = tx.members.names([m for m in (alert.holder,) if m])
    conversation = tx.conversations.get(alert.conversation) if alert.conversation is not None else None
    part = views.participant(conversation, alert.about) if conversation is not None else None
    view = views.alert_view(alert)
    row = {name: getattr(view, name) for name in view.__struct_fields__}
    row["opened_at"], row["next_due_at"] = views.moment(alert.opened_at), views.moment(alert.next_due_at)
    row["lapses_at"] = views.moment(alert.lapses_at)
    row["who"] = part.alias if part is not None else f"A {_ROLE_WORDS[alert.about_role]}"
    if alert.practice:
        row["who"] = "Nobody (practice)"
    row["about"] = alert.about_role.value
    row["holder"] = names.get(alert.holder) if alert.holder else None
    row["mine"] = alert.holder == actor.member
    row["version"] = alert.version
    return row


_ROLE_WORDS = {
    Role.PUPIL: "pupil",
    Role.MENTOR: "supporter",
    Role.MODERATOR: "moderator",
    Role.ADULT: "member of staff",
    Role.COORDINATOR: "coordinator",
}


def _case(tx: Tx, alert: Alert, actor: Actor) -> dict[str, Any]:
    """Return what the adult sees first: who, why, since when, who knows, what is due next."""
    case = _row(tx, alert, actor)
    conversation = tx.conversations.get(alert.conversation) if alert.conversation is not None else None
    chronology = tx.alerts.chronology(alert.id)
    people = tx.members.names({e.by for e in chronology if e.by})
    if conversation is not None:
        people |= {p.member: p.alias for p in conversation.participants if p.member not in people}
    case["chronology"] = [
        {
            "at": views.moment(e.at),
            "what": e.kind,
            "by": people.get(e.by, "Someone") if e.by else None,
            "note": e.note,
            "data": dict(e.data),
        }
        for e in chronology
    ]
    evidence = {e.message for e in chronology if e.message}
    case["excerpt"], case["more"] = _excerpt(tx, conversation, evidence)
    items = tx.reviews.of_alert(alert.id)
    case["review"] = [
        {"id": i.id, "message": i.message, "state": i.state.value, "holder": i.holder == actor.member}
        for i in items
    ]
    case["told"] = _told(tx, alert, conversation, chronology)
    case["next"] = _next_words(alert)
    left = gone(alert, chronology) if alert.state is not AlertState.CLOSED else None
    case["gone"] = {"why": left.why, "since": views.moment(left.since)} if left is not None else None
    case["conversation_state"] = conversation.state.value if conversation is not None else None
    case["joined"] = conversation is not None and conversation.part(actor.member) is not None
    first = alert.closing
    case["close_proposed"] = (
        {
            "by": tx.members.names([first.by]).get(first.by, "Another adult"),
            "mine": first.by == actor.member,
            "outcome": first.outcome,
            "rationale": first.rationale,
        }
        if first is not None and alert.state is not AlertState.CLOSED
        else None
    )
    case["actions"], case["outcomes"] = list(ACTIONS), list(OUTCOMES)
    return case


def _excerpt(
    tx: Tx, conversation: ConversationValue | None, evidence: set[str]
) -> tuple[list[dict[str, Any]], int]:
    if conversation is None:
        return [], 0
    lines = tx.messages.transcript(conversation.id)
    at = [n for n, m in enumerate(lines) if m.id in evidence]
    if not at:
        wanted = set(range(max(0, len(lines) - EXCERPT_BEFORE), len(lines)))
    else:
        wanted = {
            n for i in at for n in range(i - EXCERPT_BEFORE, i + EXCERPT_AFTER + 1) if 0 <= n < len(lines)
        }
    verdicts = tx.messages.verdicts([lines[n].id for n in wanted])
    shown = []
    for n in sorted(wanted):
        line = transcript_line(lines[n], conversation)
        verdict = verdicts.get(lines[n].id)
        risky = lines[n].id in evidence and verdict is not None
        line["marks"] = marks(verdict.signals) if risky and verdict is not None else []
        line["evidence"] = lines[n].id in evidence
        shown.append(line)
    return shown, len(lines) - len(shown)


def _told(
    tx: Tx, alert: Alert, conversation: ConversationValue | None, chronology: Sequence[Any]
) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = []
    first = next((e for e in chronology if e.kind == "told"), None)
    if first is not None:
        told.append(
            {"who": "Adults on duty", "what": "that an alert needs them", "since": views.moment(first.at)}
        )
    taken = next((e for e in reversed(chronology) if e.kind == "acknowledged"), None)
    joined = next((e for e in reversed(chronology) if e.kind == "joined"), None)
    if not views.wants_help_frames(alert):
        return told
    event, what = joined or taken or first, "that an adult was asked"
    if joined is not None:
        what = "that an adult is in the chat"
    elif taken is not None:
        what = "that an adult has this"
    for part in conversation.participants if conversation is not None else ():
        pair = part.role is Role.PUPIL or (part.role is Role.MENTOR and not alert.discreet)
        if pair and event is not None:
            told.append({"who": part.alias, "what": what, "since": views.moment(event.at)})
    return told


def _next_words(alert: Alert) -> str:
    if alert.state is AlertState.CLOSED:
        return "This is closed."
    if alert.state is AlertState.IN_HAND:
        return "It is in hand. Nothing is due by itself; close it when it is done."
    if alert.state is AlertState.ACKNOWLEDGED:
        return "Without a step (join, action or close) in time, it goes back to all adults."
    return "If nobody takes it, more adults are told."
