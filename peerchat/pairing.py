"""Who is paired with whom, and why. Pure: the same waiting pupils and seats give the same pairs.

Urgency goes first, then waiting time; among the seats that no constraint forbids, wishes decide, and among
equals the mentor who has waited longest. Constraints are never told to anyone.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from moderation.verdict import Risk

AGAIN, LIGHTER = 8, 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A pupil who waits."""

    ticket: str
    pupil: str
    again: bool
    risk: Risk
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Free:
    """A mentor on shift with room: approved, in date, not on a break."""

    mentor: str
    room: int
    load: int
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One pupil with one mentor; `why` names the wishes that were met."""

    ticket: str
    pupil: str
    mentor: str
    why: tuple[str, ...]


def pairs(
    waiting: Sequence[Waiting],
    free: Sequence[Free],
    *,
    forbidden: Collection[frozenset[str]] = (),
    met: Collection[tuple[str, str]] = (),
) -> list[Pair]:
    """Return the pairs to make now, most urgent first.

    Never uses a forbidden pair nor more than a seat's room. A pupil whom everyone free is forbidden to is
    left waiting, and does not hold up the others.
    """
    room = {seat.mentor: seat.room for seat in free}
    load = {seat.mentor: seat.load for seat in free}
    since = {seat.mentor: seat.since for seat in free}
    forbidden, met = set(forbidden), set(met)
    made: list[Pair] = []
    for ask in sorted(waiting, key=lambda w: (-w.risk, w.since, w.ticket)):
        able = [m for m, n in room.items() if n > 0 and frozenset((ask.pupil, m)) not in forbidden]
        if not able:
            continue
        known = {m for m in able if ask.again and (ask.pupil, m) in met}
        best = min(able, key=lambda m: (-AGAIN * (m in known) + LIGHTER * load[m], since[m], m))
        room[best] -= 1
        load[best] += 1
        why = ("again",) if best in known else ()
        made.append(Pair(ticket=ask.ticket, pupil=ask.pupil, mentor=best, why=why))
    return made
