"""The safeguarding record as people meet it: copies, what is added to it, and legal holds.

A copy is made in three steps, each durable before the next: the reading is logged, the record is read and
set, and the receipt, a row of the log with the SHA-256 of each file, is written. Only then does it leave.
"""

import asyncio
import io
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from escalation import record as kept
from escalation.alert import Alert, AlertError, AlertState
from escalation.record import Copy, Decision, Evidence, Hold, Line, Record, Telling
from escalation.record_words import ROLES, said
from moderation.verdict import Role
from peerchat import views
from peerchat.cases import visible
from peerchat.course import check_live
from peerchat.errors import CaseError, Invalid, UnknownObject
from peerchat.model import Actor
from peerchat.record_pdf import as_pdf
from peerchat.store.alerts import EVIDENCE, EventValue
from peerchat.store.conversations import ConversationValue
from peerchat.store.messages import GONE
from peerchat.store.records import EvidenceValue, HoldValue
from peerchat.store.sql import Store, Tx
from peerchat.telling import emit_alert

FORMATS: Mapping[str, Callable[[Record], bytes]] = {
    "pdf": as_pdf,
    "json": kept.as_json,
    "csv": kept.as_csv,
}
BUNDLE = "zip"
"""All formats in one file, with the manifest."""

READ, COPIED = "read_record", "record_copied"
"""Rows of the log: before a record is read, and before a copy leaves, with its hashes."""

HAPPENED = "happened"
"""Where a line keeps when it happened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A copy as it leaves. `sha256` is the file's own; `receipt` the row of the log that has the hashes."""

    name: str
    content: bytes = field(repr=False)
    sha256: str
    receipt: int


class CaseRecords:
    """Copies of a case's record, notes and additions, and legal holds."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def copied(self, actor: Actor, alert: str, kind: str) -> Made:
        """Return a copy of a case's record in a format of `FORMATS`, or all of them as `BUNDLE`.

        For whoever may not know of the case it does not exist. Nothing is returned before the reading and
        the receipt are in the log.
        """

        def log(tx: Tx) -> Copy:
            check_live(tx, actor)
            visible(tx, actor, alert)
            row = tx.audit.append(actor.member, READ, alert, {"format": kind})
            return Copy(row=row, by=actor.name or "An adult", at=tx.now)

        copy = await self._store.write(log)
        record = await self._store.read(lambda tx: gathered(tx, visible(tx, actor, alert), copy))
        wanted = list(FORMATS) if kind == BUNDLE else [kind]
        files = {f"record-{alert}.{one}": await asyncio.to_thread(FORMATS[one], record) for one in wanted}

        def receipt(tx: Tx) -> tuple[int, str]:
            check_live(tx, actor)
            visible(tx, actor, alert)
            sums = {one: kept.digest(raw) for one, raw in zip(wanted, files.values(), strict=True)}
            row = tx.audit.append(actor.member, COPIED, alert, {"reading": copy.row, **sums})
            return row, tx.audit.head().hash

        row, hash = await self._store.write(receipt)
        if kind != BUNDLE:
            [(name, content)] = files.items()
        else:
            name = f"record-{alert}.zip"
            content = bundled(files | {MANIFEST: kept.manifest(record, files, row=row, hash=hash)}, copy.at)
        return Made(name=name, content=content, sha256=kept.digest(content), receipt=row)

    async def write(self, actor: Actor, alert: str, text: str, happened: datetime | None) -> dict[str, Any]:
        """Write into a record: a note while the case is open, an addition once it is closed.

        A moment that differs from now is kept beside the one at which it was written. Raises `Invalid` for
        one that cannot be.
        """

        def body(tx: Tx) -> dict[str, Any]:
            check_live(tx, actor)
            found = visible(tx, actor, alert)
            try:
                then = kept.happened_at(happened, now=tx.now)
            except AlertError as error:
                raise Invalid(str(error)) from None
            kind = kept.ADDITION if found.state is AlertState.CLOSED else "note"
            tx.audit.append(actor.member, f"case_{kind}", alert, {"backdated": then is not None})
            data = {HAPPENED: then.isoformat()} if then is not None else {}
            tx.alerts.log(alert, kind, by=actor.member, note=text, data=data)
            emit_alert(tx, found, "updated")
            return {
                "kind": kind,
                "at": views.moment(tx.now),
                "happened_at": views.moment(then),
                "by": actor.name,
            }

        return await self._store.write(body)

    # -- legal holds

    async def hold(self, actor: Actor, alert: str, reason: str) -> dict[str, Any]:
        """Keep a case from every erasure until the hold is lifted."""

        def body(tx: Tx) -> dict[str, Any]:
            found = self._known(tx, actor, alert)
            if tx.records.held(alert) is not None:
                raise CaseError("this case is on hold already")
            tx.audit.append(actor.member, "hold_set", alert)
            tx.records.hold(alert, by=actor.member, reason=reason)
            return held_view(tx, found, actor)

        return await self._store.write(body)

    async def release(self, actor: Actor, alert: str, reason: str) -> dict[str, Any]:
        """Lift a hold; that it was there, and why it was lifted, stays in the record."""

        def body(tx: Tx) -> dict[str, Any]:
            found = self._known(tx, actor, alert)
            lasting = tx.records.held(alert)
            if lasting is None:
                raise CaseError("this case is not on hold")
            tx.audit.append(actor.member, "hold_lifted", alert)
            tx.records.lift(lasting, by=actor.member, reason=reason)
            return held_view(tx, found, actor)

        return await self._store.write(body)

    async def holds(self, actor: Actor) -> list[dict[str, Any]]:
        """Return the cases on hold that the caller may know of, longest first."""

        def body(tx: Tx) -> list[dict[str, Any]]:
            found = [tx.alerts.get(id) for id in tx.records.held_in(actor.site)]
            return [
                held_view(tx, one, actor) for one in found if one is not None and may_hold(tx, actor, one)
            ]

        return await self._store.read(body)

    def _known(self, tx: Tx, actor: Actor, alert: str) -> Alert:
        check_live(tx, actor)
        found = tx.alerts.get(alert)
        if found is None or found.site != actor.site or not may_hold(tx, actor, found):
            raise UnknownObject("no such alert")
        return found


MANIFEST = "manifest.json"


def may_hold(tx: Tx, actor: Actor, alert: Alert) -> bool:
    """Return whether somebody may hold a case: an adult who may know of it, or the coordinator.

    Of a case about staff the coordinator knows nothing, and of one about the coordinator neither.
    """
    if actor.role is Role.COORDINATOR:
        return not alert.apart and alert.about != actor.member
    return tx.rota.circle(actor.site).may_know(alert, actor.member)


def held_view(tx: Tx, alert: Alert, actor: Actor) -> dict[str, Any]:
    """Return how a case's hold stands. Why is for adults: it may say what the case is about."""
    lasting = tx.records.held(alert.id)
    names = tx.members.names([lasting.by]) if lasting is not None else {}
    return {
        "id": alert.id,
        "held": lasting is not None,
        "since": views.moment(lasting.at) if lasting is not None else None,
        "by": names.get(lasting.by, "Someone") if lasting is not None else None,
        "reason": lasting.reason if lasting is not None and actor.role is Role.ADULT else None,
    }


def gathered(tx: Tx, alert: Alert, copy: Copy) -> Record:
    """Return a case's record as it stands now."""
    site = tx.sites.get(alert.site)
    conversation = tx.conversations.get(alert.conversation) if alert.conversation is not None else None
    events = tx.alerts.chronology(alert.id)
    texts, told = _texts(tx, alert, events), tx.records.told(alert.id)
    decisions, holds = tx.records.decisions(alert.id), tx.records.holds(alert.id)
    readers = tx.rota.circle(alert.site).knowing(alert)
    closing = alert.closing if alert.state is AlertState.CLOSED else None
    closed = next((e for e in reversed(events) if e.kind == kept.CLOSED), None) if closing else None
    signed = [m for m in (closing and closing.by, closed and closed.by) if m]
    people = _People(
        tx,
        conversation,
        (e.by for e in events),
        (one.sender for one in texts),
        (one.member for one in told),
        (one.by for one in decisions),
        (member for one in holds for member in (one.by, one.lifted_by)),
        (*readers, *signed, alert.holder),
    )
    return Record(
        case=alert.id,
        site=site.name,
        service=site.service_name,
        timezone=site.timezone,
        who="Nobody: this is practice" if alert.practice else people.subject(alert),
        about_role=alert.about_role.value,
        risk=alert.risk.word,
        labels=alert.labels,
        state=alert.state.value,
        practice=alert.practice,
        opened_at=alert.opened_at,
        closed_at=closed.at if closed is not None else None,
        holder=people.name(alert.holder) if alert.holder else None,
        outcome=closing.outcome if closing is not None else None,
        rationale=closing.rationale if closing is not None else None,
        signed=tuple(people.name(member) for member in dict.fromkeys(signed)),
        readers=tuple(people.name(member) for member in readers),
        apart=alert.apart,
        lines=kept.locked(_line(event, people) for event in events),
        evidence=tuple(_evidence(tx, one, people) for one in texts),
        told=tuple(
            Telling(
                at=one.at,
                rung=one.rung,
                audience=one.audience,
                channel=one.channel,
                to=people.name(one.member) if one.member else None,
                outcome=one.outcome,
            )
            for one in told
        ),
        decisions=tuple(
            Decision(
                at=one.at, by=people.name(one.by), decision=one.decision, reason=one.reason, note=one.note
            )
            for one in decisions
        ),
        holds=tuple(_hold(one, people) for one in holds),
        copy=copy,
    )


class _People:
    """How a record names people: staff by name, a pair by what they call each other, others by their role."""

    def __init__(
        self, tx: Tx, conversation: ConversationValue | None, *members: Iterable[str | None]
    ) -> None:
        self._conversation = conversation
        self._names = tx.members.names({m for some in members for m in some if m})
        if conversation is not None:
            self._names |= {
                p.member: p.alias for p in conversation.participants if p.member not in self._names
            }

    def name(self, member: str) -> str:
        return self._names.get(member, "Someone")

    def subject(self, alert: Alert) -> str:
        """Return who a case is about."""
        known = views.participant(self._conversation, alert.about) if self._conversation is not None else None
        return known.alias if known is not None else f"A {said(ROLES, alert.about_role.value)}"


def _texts(tx: Tx, alert: Alert, events: Sequence[EventValue]) -> list[EvidenceValue]:
    """Return the case's own copies; of older cases, the messages while they are kept."""
    texts = tx.records.evidence(alert.id)
    copied = {one.message for one in texts}
    for event in events:
        if event.message is None or event.kind not in EVIDENCE or event.message in copied:
            continue
        copied.add(event.message)
        found, verdict = tx.messages.get(event.message), tx.messages.verdict(event.message)
        texts.append(
            EvidenceValue(
                message=event.message,
                sender=found.sender if found is not None else "",
                sent_at=found.created_at if found is not None else event.at,
                risk=verdict.risk if verdict is not None else alert.risk,
                labels=verdict.labels if verdict is not None else (),
                policy_version=verdict.policy_version if verdict is not None else None,
                text=found.text if found is not None else GONE,
            )
        )
    return sorted(texts, key=lambda one: one.sent_at)


def _evidence(tx: Tx, one: EvidenceValue, people: _People) -> Evidence:
    found = tx.messages.get(one.message)
    return Evidence(
        message=one.message,
        at=one.sent_at,
        by=people.name(one.sender),
        text=one.text,
        risk=one.risk.word,
        labels=one.labels,
        status=found.status.value if found is not None else None,
        policy=one.policy_version,
    )


def _line(event: EventValue, people: _People) -> Line:
    data = {name: value for name, value in event.data.items() if name != HAPPENED}
    return Line(
        at=event.at,
        kind=event.kind,
        by=people.name(event.by) if event.by else None,
        text=event.note,
        happened=_then(event.data.get(HAPPENED)),
        message=event.message,
        data=data,
    )


def _then(written: object) -> datetime | None:
    try:
        then = datetime.fromisoformat(written) if isinstance(written, str) else None
    except ValueError:
        return None
    return then if then is not None and then.tzinfo is not None else None


def _hold(one: HoldValue, people: _People) -> Hold:
    return Hold(
        at=one.at,
        by=people.name(one.by),
        reason=one.reason,
        lifted_at=one.lifted_at,
        lifted_by=people.name(one.lifted_by) if one.lifted_by else None,
        lifted_reason=one.lifted_reason,
    )


def bundled(files: Mapping[str, bytes], at: datetime) -> bytes:
    """Return files as one zip archive, dated with the copy and not with this machine's folders."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, raw in files.items():
            entry = zipfile.ZipInfo(name, (at.year, at.month, at.day, at.hour, at.minute, at.second))
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o600 << 16
            archive.writestr(entry, raw)
    return target.getvalue()
