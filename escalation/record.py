"""The safeguarding record of a case, pure: a chronology that is locked once the case is closed.

    Record       a case as a chronology: concern, evidence, who was told, what was done and why, outcome
    entries      all of it as one list by time, for CSV and for reading
    as_json      the whole, for another system
    as_csv       the list, for a spreadsheet or a school's safeguarding system
    manifest     SHA-256 of each file and the receipt, a row of the log; `faults` checks files against it

A line is never changed or taken away. What somebody writes after closing is an addition, and says so; what
somebody writes down later than it happened carries both dates.
"""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from escalation.alert import AlertError
from escalation.record_words import (
    AUDIENCES,
    CHANNELS,
    DECISIONS,
    LINES,
    OUTCOMES,
    REASONS,
    ROLES,
    STATUSES,
    about,
    said,
)

FORMAT = "peerchat-record/1"
MANIFEST = "peerchat-manifest/1"

SAME_MOMENT = timedelta(minutes=1)
"""What is written down within this time of happening is not backdated."""

OLDEST = timedelta(days=25 * 365)
"""How far back a note may lie: further is a mistyped year."""

ADDITION = "addition"
CLOSED = "closed"
TOLD = frozenset({"told", "told_nobody"})
"""Lines that say less than the tellings themselves, which a record has one by one."""


class NotThen(AlertError):
    """A note says that it happened at a moment that cannot be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the chronology. `at` is when it was written, `happened` when it was, where that differs."""

    at: datetime
    kind: str
    by: str | None = None
    text: str | None = field(default=None, repr=False)
    happened: datetime | None = None
    message: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    after_closing: bool = False

    @property
    def backdated(self) -> bool:
        return self.happened is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A text that raised the concern or was added to it, as it was when it was read."""

    message: str
    at: datetime
    by: str
    text: str = field(repr=False)
    risk: str
    labels: tuple[str, ...]
    status: str | None  # what became of it; None: the chat is no longer kept
    policy: str | None  # the version of the rules that read it


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """One attempt to tell somebody, by one channel."""

    at: datetime
    rung: int
    audience: str
    channel: str
    to: str | None  # a name, where it went to one person
    outcome: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What somebody decided about a text of this case, and why."""

    at: datetime
    by: str
    decision: str
    reason: str
    note: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A legal hold: nothing of the case is erased for as long as it lasts."""

    at: datetime
    by: str
    reason: str = field(repr=False)
    lifted_at: datetime | None = None
    lifted_by: str | None = None
    lifted_reason: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """Who this copy was made for. `row` is the row of the log that says so; it was written before."""

    row: int
    by: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A case, whole, as one who may know of it may keep it."""

    case: str
    site: str
    service: str
    timezone: str
    who: str
    about_role: str
    risk: str
    labels: tuple[str, ...]
    state: str
    practice: bool
    opened_at: datetime
    closed_at: datetime | None
    holder: str | None
    outcome: str | None = field(default=None, repr=False)
    rationale: str | None = field(default=None, repr=False)
    signed: tuple[str, ...]
    readers: tuple[str, ...]
    apart: bool
    lines: tuple[Line, ...]
    evidence: tuple[Evidence, ...]
    told: tuple[Telling, ...]
    decisions: tuple[Decision, ...]
    holds: tuple[Hold, ...]
    copy: Copy

    @property
    def closed(self) -> bool:
        return self.state == CLOSED

    @property
    def held(self) -> bool:
        return any(hold.lifted_at is None for hold in self.holds)

    @property
    def additions(self) -> tuple[Line, ...]:
        """What people wrote after closing."""
        return tuple(line for line in self.lines if line.kind == ADDITION)

    @property
    def zone(self) -> ZoneInfo:
        """The site's clock; UTC where the system does not know it."""
        try:
            return ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError):
            return ZoneInfo("UTC")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the whole, whatever it came from."""

    at: datetime
    section: str
    what: str
    by: str = ""
    text: str = field(default="", repr=False)
    happened: datetime | None = None
    marks: tuple[str, ...] = ()


def happened_at(given: datetime | None, *, now: datetime) -> datetime | None:
    """Return when a note says that it happened, None where that is now. Raises `NotThen`."""
    if given is None or abs(now - given) <= SAME_MOMENT:
        return None
    if given > now:
        raise NotThen("that has not happened yet: check the date")
    if now - given > OLDEST:
        raise NotThen("that is too long ago: check the year")
    return given


def locked(lines: Iterable[Line]) -> tuple[Line, ...]:
    """Return lines with those marked that were written after the case was closed."""
    closed, marked = False, []
    for line in lines:
        marked.append(replace(line, after_closing=closed))
        closed = closed or line.kind == CLOSED
    return tuple(marked)


def entries(record: Record, *, quoting: bool = True) -> list[Entry]:
    """Return everything of a record as one list, in the order in which it was written down.

    `quoting` puts the texts that are evidence into the lines that brought them.
    """
    texts = {one.message: one for one in record.evidence} if quoting else {}
    found = [_of_line(line, texts) for line in record.lines if line.kind not in TOLD]
    found += [_of_telling(one) for one in record.told]
    found += [
        Entry(
            at=one.at,
            section="decision",
            what=f"{said(DECISIONS, one.decision)}: {said(REASONS, one.reason)}",
            by=one.by,
            text=one.note or "",
        )
        for one in record.decisions
    ]
    for hold in record.holds:
        found.append(Entry(at=hold.at, section="hold", what="Legal hold set", by=hold.by, text=hold.reason))
        if hold.lifted_at is not None:
            by, why = hold.lifted_by or "", hold.lifted_reason or ""
            found.append(Entry(at=hold.lifted_at, section="hold", what="Legal hold lifted", by=by, text=why))
    return sorted(found, key=lambda entry: entry.at)  # stable: what was written at once stays in its order


def _of_line(line: Line, texts: Mapping[str, Evidence]) -> Entry:
    marks = []
    if line.backdated:
        marks.append("written later")
    if line.after_closing:
        marks.append("added after closing")
    words = said(LINES, line.kind)
    facts = [str(line.data[name]) for name in ("action",) if line.data.get(name)]
    facts += [f"{name} {line.data[name]}" for name in ("from", "to") if line.data.get(name)]
    if facts:
        words = f"{words}: {', '.join(facts)}"
    evidence = texts.get(line.message) if line.message is not None and line.kind in CONCERNS else None
    if line.kind in CONCERNS and line.data.get("labels"):
        words = f"{words}: {about(line.data['labels'])}"
    text = "\n".join(part for part in (line.text, _quoted(evidence)) if part)
    section = "concern" if line.kind in CONCERNS else "addition" if line.kind == ADDITION else "chronology"
    return Entry(
        at=line.at,
        section=section,
        what=words,
        by=line.by or "",
        text=text,
        happened=line.happened,
        marks=tuple(marks),
    )


CONCERNS = frozenset({"raised", "evidence"})
"""Lines that bring evidence."""


def _quoted(evidence: Evidence | None) -> str | None:
    return f"{evidence.by} wrote: \u201c{evidence.text}\u201d" if evidence is not None else None


def _of_telling(one: Telling) -> Entry:
    to = one.to or said(AUDIENCES, one.audience)
    outcome = OUTCOMES.get(one.outcome, str(one.outcome))
    what = f"Told by {said(CHANNELS, one.channel)}: {to} ({outcome})"
    return Entry(at=one.at, section="told", what=what)


# -- files


def as_json(record: Record) -> bytes:
    """Return the whole record, with moments in UTC."""
    document = {
        "format": FORMAT,
        "case": record.case,
        "site": record.site,
        "service": record.service,
        "timezone": record.timezone,
        "who": record.who,
        "about": record.about_role,
        "risk": record.risk,
        "labels": list(record.labels),
        "about_in_words": about(record.labels),
        "state": record.state,
        "practice": record.practice,
        "opened_at": _utc(record.opened_at),
        "closed_at": _utc(record.closed_at),
        "holder": record.holder,
        "outcome": record.outcome,
        "rationale": record.rationale,
        "signed_by": list(record.signed),
        "may_see": {"adults": list(record.readers), "about_staff": record.apart},
        "legal_hold": record.held,
        "chronology": [
            {
                "at": _utc(line.at),
                "happened_at": _utc(line.happened),
                "backdated": line.backdated,
                "after_closing": line.after_closing,
                "kind": line.kind,
                "what": said(LINES, line.kind),
                "by": line.by,
                "text": line.text,
                "message": line.message,
                "data": dict(line.data),
            }
            for line in record.lines
        ],
        "evidence": [
            {
                "message": one.message,
                "at": _utc(one.at),
                "by": one.by,
                "text": one.text,
                "risk": one.risk,
                "labels": list(one.labels),
                "status": one.status,
                "policy_version": one.policy,
            }
            for one in record.evidence
        ],
        "told": [
            {
                "at": _utc(one.at),
                "rung": one.rung,
                "audience": one.audience,
                "channel": one.channel,
                "to": one.to,
                "outcome": one.outcome or "unknown",
            }
            for one in record.told
        ],
        "decisions": [
            {
                "at": _utc(one.at),
                "by": one.by,
                "decision": one.decision,
                "reason": one.reason,
                "note": one.note,
            }
            for one in record.decisions
        ],
        "holds": [
            {
                "at": _utc(hold.at),
                "by": hold.by,
                "reason": hold.reason,
                "lifted_at": _utc(hold.lifted_at),
                "lifted_by": hold.lifted_by,
                "lifted_reason": hold.lifted_reason,
            }
            for hold in record.holds
        ],
        "copy": {"row": record.copy.row, "by": record.copy.by, "at": _utc(record.copy.at)},
    }
    return _json(document)


COLUMNS = (
    "case",
    "date",
    "time",
    "happened_date",
    "happened_time",
    "section",
    "what",
    "by",
    "text",
    "marks",
)


def as_csv(record: Record) -> bytes:
    """Return the record's list on the site's own clock; UTF-8 with the mark that spreadsheets look for.

    A cell that a spreadsheet would take for a formula begins with an apostrophe: people wrote these texts.
    """
    sheet = io.StringIO(newline="")
    writer = csv.writer(sheet)
    writer.writerow(COLUMNS)
    head = Entry(
        at=record.opened_at,
        section="case",
        what=f"About: {about(record.labels)}",
        text=f"{record.who}, {said(ROLES, record.about_role)}; {record.risk}; {record.state}",
    )
    for entry in [head, *entries(record)]:
        row = [
            record.case,
            *_clock(entry.at, record.zone),
            *_clock(entry.happened, record.zone),
            entry.section,
            entry.what,
            entry.by,
            entry.text,
            ", ".join(entry.marks),
        ]
        writer.writerow([_plain(cell) for cell in row])
    return ("\ufeff" + sheet.getvalue()).encode()


def manifest(record: Record, files: Mapping[str, bytes], *, row: int, hash: str) -> bytes:
    """Return what proves a copy: SHA-256 and size of each file, and the row of the log that has them too."""
    document = {
        "format": MANIFEST,
        "case": record.case,
        "site": record.site,
        "files": {name: {"sha256": digest(raw), "bytes": len(raw)} for name, raw in files.items()},
        "receipt": {
            "row": row,
            "hash": hash,
            "reading": record.copy.row,
            "by": record.copy.by,
            "at": _utc(record.copy.at),
        },
    }
    return _json(document)


class BadManifest(ValueError):
    """What was given is no manifest of a record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What a manifest says: of which case, which row of the log, and the SHA-256 of each file."""

    case: str
    row: int
    hash: str
    files: Mapping[str, str]


def receipt_of(raw: bytes) -> Receipt:
    """Read a manifest. Raises `BadManifest`."""
    try:
        found = json.loads(raw)
        if found["format"] != MANIFEST:
            raise ValueError
        files = {str(name): str(one["sha256"]) for name, one in found["files"].items()}
        given = found["receipt"]
        return Receipt(case=str(found["case"]), row=int(given["row"]), hash=str(given["hash"]), files=files)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise BadManifest("not the manifest of a record") from None


def faults(receipt: Receipt, files: Mapping[str, bytes]) -> list[str]:
    """Return in words where files are not those that a manifest lists; none where they are."""
    found = [f"{name}: missing" for name in receipt.files.keys() - files.keys()]
    found += [f"{name}: not in the manifest" for name in files.keys() - receipt.files.keys()]
    found += [
        f"{name}: not what was exported"
        for name, raw in files.items()
        if name in receipt.files and digest(raw) != receipt.files[name]
    ]
    return sorted(found)


def digest(raw: bytes) -> str:
    """Return the SHA-256 of a file, in hex."""
    return sha256(raw).hexdigest()


def status_words(evidence: Evidence) -> str:
    """Return what became of a text."""
    return "the chat is no longer kept" if evidence.status is None else said(STATUSES, evidence.status)


def _plain(cell: str) -> str:
    return f"'{cell}" if cell.lstrip()[:1] in ("=", "+", "-", "@") or cell[:1] in ("\t", "\r") else cell


def _clock(moment: datetime | None, zone: ZoneInfo) -> Sequence[str]:
    if moment is None:
        return ("", "")
    local = moment.astimezone(zone)
    return (local.date().isoformat(), local.time().isoformat(timespec="seconds"))


def _utc(moment: datetime | None) -> str | None:
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _json(document: Mapping[str, Any]) -> bytes:
    return (json.dumps(document, ensure_ascii=False, indent=2) + "\n").encode()
