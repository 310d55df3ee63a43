"""Practice alerts: the real ladder on the real channels, about nobody, marked as practice wherever told.

A drill is an alert with `practice` set; desk, attempts and channels treat it as any other, so that what is
measured is what would happen. It stays out of the numbers, needs one signature to close, and ends by itself
after half an hour.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from escalation import alert as life
from escalation.alert import Alert, AlertState, Concern
from moderation.verdict import Risk, Role
from peerchat import views
from peerchat.course import check_live
from peerchat.errors import CaseError, UnknownObject
from peerchat.model import Actor, new_id
from peerchat.store.sql import Store, Tx
from peerchat.telling import emit_alert

LABEL = "practice"
"""The label that says so on every page."""

SHOWN = 10
"""Drills in a list: the last ones."""


class Drills:
    """What staff do with drills, and see of them."""

    def __init__(self, store: Store, *, alerted: Callable[[], None]) -> None:
        self._store = store
        self._alerted = alerted

    async def start(self, actor: Actor, *, risk: Risk = Risk.IMMEDIATE) -> dict[str, Any]:
        """Raise a practice alert; return its report so far. Refused while another is under way."""

        def body(tx: Tx) -> dict[str, Any]:
            check_live(tx, actor)
            return report(tx, started(tx, actor.site, by=actor.member, risk=risk))

        made = await self._store.write(body)
        self._alerted()
        return made

    async def end(self, actor: Actor, drill: str) -> dict[str, Any]:
        """End a practice alert, whoever has it; one that has ended stays as it is."""

        def body(tx: Tx) -> dict[str, Any]:
            check_live(tx, actor)
            found = tx.alerts.get(drill)
            if found is None or found.site != actor.site or not found.practice:
                raise UnknownObject("no such drill")
            return report(tx, ended(tx, found, by=actor.member))

        return await self._store.write(body)

    async def listed(self, actor: Actor) -> list[dict[str, Any]]:
        """Return the reports of the last drills, newest first."""
        return await self._store.read(lambda tx: last(tx, actor.site))


def started(tx: Tx, site: str, *, by: str, risk: Risk) -> Alert:
    """Raise a practice alert about nobody. Raises `CaseError` while another is under way."""
    drills = tx.alerts.practices(site, limit=SHOWN)
    for each in drills:
        if each.state is AlertState.CLOSED:
            continue
        if each.opened_at + life.PRACTICE_LASTS > tx.now:
            raise CaseError("a practice alert is under way; end it first")
        ended(tx, each, by=by)
    nobody = drills[0].about if drills else new_id("mem")
    if not drills:
        tx.members.add(id=nobody, site=site, role=Role.PUPIL)  # without a card: nobody can sign in as this
    concern = Concern(about=nobody, about_role=Role.PUPIL, risk=risk, labels=(LABEL,), practice=True)
    id = new_id("alr")
    tx.audit.append(by, "drill_started", id, {"risk": risk.word})
    return tx.alerts.open(concern, id=id, site=site, by=by)


def ended(tx: Tx, alert: Alert, *, by: str) -> Alert:
    """Close a practice alert by hand."""
    if alert.state is AlertState.CLOSED:
        return alert
    tx.audit.append(by, "drill_ended", alert.id)
    done = tx.alerts.end_practice(alert, by=by, why="ended by hand")
    emit_alert(tx, done, "closed")
    return done


def last(tx: Tx, site: str) -> list[dict[str, Any]]:
    """Return the reports of a site's last drills, newest first."""
    return [report(tx, alert) for alert in tx.alerts.practices(site, limit=SHOWN)]


def report(tx: Tx, alert: Alert) -> dict[str, Any]:
    """Return what a drill showed: for each rung when it should have come, when it came, and by what."""
    events = tx.alerts.chronology(alert.id)
    names = tx.members.names({e.by for e in events if e.by})
    taken = next((e for e in events if e.kind in ("acknowledged", "joined")), None)
    begun = next((e for e in events if e.kind == "raised"), None)
    end = next((e for e in reversed(events) if e.kind == "closed"), None)
    ladder = tx.sites.get(alert.site).times.ladders[alert.risk]
    rungs: dict[int, dict[str, Any]] = {}
    for row in tx.alerts.attempts(alert.id):
        rung = rungs.setdefault(
            row.rung,
            {
                "rung": row.rung,
                "audience": row.audience,
                "due_s": ladder.begins(row.rung).total_seconds(),
                "told_s": _seconds(row.at - alert.opened_at),
                "channels": [],
            },
        )
        told = next((c for c in rung["channels"] if c["channel"] == row.channel), None)
        if told is None:
            told = {"channel": row.channel, "tries": 0, "outcome": "unknown"}
            rung["channels"].append(told)
        told["tries"] += 1
        if told["outcome"] != "ok":
            told["outcome"] = row.outcome or "unknown"
    return {
        "id": alert.id,
        "risk": alert.risk.word,
        "state": alert.state.value,
        "started_at": views.moment(alert.opened_at),
        "started_by": _who(begun.by if begun is not None else None, names),
        "taken_by": _who(taken.by, names) if taken is not None else None,
        "taken_s": _seconds(taken.at - alert.opened_at) if taken is not None else None,
        "ended_at": views.moment(end.at) if end is not None else None,
        "rungs": [rungs[n] for n in sorted(rungs)],
    }


def _who(member: str | None, names: dict[str, str]) -> str:
    return names.get(member or "", "The command line" if member == "command line" else "Somebody")


def _seconds(span: timedelta) -> float:
    return round(span.total_seconds(), 1)
