"""What staff see of how a site runs: counts, never text or names of pupils. Small groups are left out."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

import escalation.audit
from moderation.verdict import Role
from peerchat import views
from peerchat.model import Actor
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
    alerts = tx.alerts.counts(site, not_about=reader.member)
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
        "waiting": len(tx.tickets.waiting(site)),
        "chats": {"open": chats.get("open", 0), "paused": chats.get("paused", 0)},
        "review": {
            "open": waiting,
            "held": held,
            "oldest_s": round((tx.now - oldest).total_seconds()) if oldest is not None else None,
        },
        "alerts": {"open": sum(n for s, n in alerts.items() if s != "closed"), "by_state": alerts},
        "health": list(health),
    }


def statistics(tx: Tx, site: str, begin: datetime, end: datetime) -> list[dict[str, Any]]:
    """Return counts of a period, each with how it is computed; None stands for fewer than five."""
    counted = tx.figures.counts(site, begin, end)
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


def audit(entries: Iterable[escalation.audit.Entry]) -> dict[str, Any]:
    """Return whether the log's chain holds from its first row, its head, and its newest rows."""
    latest: deque[escalation.audit.Entry] = deque(maxlen=50)

    def seen() -> Iterator[escalation.audit.Entry]:
        for entry in entries:
            latest.append(entry)
            yield entry

    rows, head, fault = escalation.audit.verify(seen())
    return {
        "verified": fault is None,
        "fault": None if fault is None else {"n": fault.n, "what": fault.what},
        "rows": rows,
        "head": head,
        "items": [
            {"n": e.n, "at": views.moment(e.at), "actor": e.actor, "kind": e.kind, "object": e.object}
            for e in reversed(latest)
        ],
    }
