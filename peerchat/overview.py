"""What staff see of how a site runs: counts, never text or names of pupils. Small groups are left out."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

import escalation.audit
from moderation.verdict import Role
from peerchat import views
from peerchat.channels.book import unreached
from peerchat.channels.contact import NO_INDEPENDENT
from peerchat.channels.wording import MISSING
from peerchat.logwords import COMMAND_LINE, SERVER, in_words
from peerchat.model import Actor
from peerchat.rotas import missing
from peerchat.store.sites import SiteValue
from peerchat.store.sql import Tx

TOO_FEW = 5
"""Groups under this are shown as "too few"."""


def overview(tx: Tx, site: str, health: Sequence[dict[str, Any]], *, reader: Actor) -> dict[str, Any]:
    """Return who is on duty and on shift, who waits, what is open; without alerts about the reader."""
    found = tx.sites.get(site)
    state = views.site_opening(tx, found)
    seats = [s for s in tx.tickets.seats(site) if s.on]
    loads = tx.conversations.loads([s.mentor for s in seats])
    labels = {m.id: m.username or "A supporter" for m in tx.members.with_role(site, Role.MENTOR)}
    chats = tx.conversations.count(site)
    waiting, held, oldest = tx.reviews.counts(
        site, not_about=reader.member, adults=reader.role is not Role.MODERATOR
    )
    alerts = tx.alerts.counts(site, reader=reader.member)
    return {
        "site": {"name": found.service_name, "school": found.name, "open": state.open, "why": state.why},
        "on_duty": [
            {"name": name, "role": lease.role.value, "until": views.moment(lease.until)}
            for lease, name in tx.duty.leases(site)
        ],
        "mentors": [
            {
                "name": labels.get(s.mentor, "A supporter"),
                "state": "break" if s.on_break else "on",
                "chats": loads.get(s.mentor, 0),
                "capacity": s.capacity,
                "training_until": views.moment(s.trained_until),
            }
            for s in seats
        ],
        "rota": _rota(tx, found),
        "waiting": len(tx.tickets.waiting(site)),
        "chats": {"open": chats.get("open", 0), "paused": chats.get("paused", 0)},
        "review": {
            "open": waiting,
            "held": held,
            "oldest_s": round((tx.now - oldest).total_seconds()) if oldest is not None else None,
        },
        "alerts": {"open": sum(n for s, n in alerts.items() if s != "closed"), "by_state": alerts},
        "health": [*health, *_staff_alerts(tx, found)],
    }


def _staff_alerts(tx: Tx, site: SiteValue) -> list[dict[str, Any]]:
    """Return a line where an alert about staff could climb for ever with nobody to hear it."""
    if not unreached(tx, site.id):
        return []
    return [{"what": "Alerts about staff", "ok": False, "words": MISSING[NO_INDEPENDENT]}]


def _rota(tx: Tx, site: SiteValue) -> dict[str, Any]:
    """Return who is down for duty just now, who of them is missing, the next gap, and who is preset."""
    expected, absent = missing(tx, site)
    gap = tx.rota.of(site).next_gap(tx.now)
    return {
        "expected": expected,
        "missing": absent,
        "gap": {"begin": views.moment(gap.begin), "end": views.moment(gap.end)} if gap is not None else None,
        "independent": bool(tx.rota.circle(site.id).independents),
    }


def statistics(tx: Tx, site: str, begin: datetime, end: datetime, *, reader: Actor) -> list[dict[str, Any]]:
    """Return counts of a period, each with how it is computed; None stands for fewer than five.

    Alerts that the reader may not know of are not counted.
    """
    counted = tx.figures.counts(site, begin, end, reader=reader.member)
    rows = [
        ("chats", "Chats begun", "conversations that began in the period"),
        ("pupils", "Pupils who chatted", "different pupils in those conversations"),
        ("messages", "Messages written", "messages stored in the period, whatever became of them"),
        ("held", "Messages held for a person", "messages with a verdict of hold"),
        ("blocked", "Messages not sent", "messages with a verdict of block"),
        ("alerts", "Alerts", "alerts opened in the period, of every severity"),
        ("helpful", "Said that it helped", "leaving members who answered yes to “Did it help?”"),
    ]
    return [
        {"key": key, "label": label, "value": counted[key] if counted[key] >= TOO_FEW else None, "how": how}
        for key, label, how in rows
    ]


def audit(entries: Iterable[escalation.audit.Entry]) -> tuple[dict[str, Any], list[escalation.audit.Entry]]:
    """Return whether the log's chain holds from its first row, and its head; and its newest rows."""
    latest: deque[escalation.audit.Entry] = deque(maxlen=50)

    def seen() -> Iterator[escalation.audit.Entry]:
        for entry in entries:
            latest.append(entry)
            yield entry

    found = escalation.audit.verify(seen())
    fault = found.fault
    return {
        "verified": fault is None,
        "fault": None if fault is None else {"n": fault.n, "what": fault.what},
        "rows": found.head.n,
        "head": found.head.hash,
    }, list(reversed(latest))


def audit_rows(tx: Tx, entries: Sequence[escalation.audit.Entry], *, reader: Actor) -> list[dict[str, Any]]:
    """Return rows of the log in words; what an alert about the reader left in it is not shown."""
    names = tx.members.names({e.actor for e in entries})
    circle = tx.rota.circle(reader.site)
    rows = []
    for e in entries:
        alert = tx.alerts.get(e.object) if e.object.startswith("alr_") else None
        apart = alert is not None and alert.apart and not circle.may_know(alert, reader.member)
        if alert is not None and (apart or alert.about == reader.member):
            continue
        rows.append(
            {
                "n": e.n,
                "at": views.moment(e.at),
                "actor": e.actor,
                "who": names.get(e.actor, e.actor if e.actor in (SERVER, COMMAND_LINE) else "Somebody"),
                "kind": e.kind,
                "words": in_words(e),
                "object": e.object,
            }
        )
    return rows
