"""This node's lines, each with a bounded outbox, found by member. No I/O: the hub only offers."""

import asyncio
import time
from collections import deque
from collections.abc import Iterable
from datetime import datetime

from peerchat.model import Actor
from peerchat.ports import Event

MAX_LINES = 5
"""Open lines of one member; a sixth closes the oldest."""

OUTBOX_FRAMES = 512
OUTBOX_CHARS = 4 * 1024 * 1024

GOING_AWAY, TOO_SLOW, SILENT = 4000, 4001, 4002
"""Come back, with jitter."""

SIGNED_OUT, SUSPENDED, REPLACED, PROTOCOL = 4100, 4101, 4102, 4103
"""Stay away."""

AT_ONCE = frozenset({TOO_SLOW, SIGNED_OUT, SUSPENDED})
"""Codes that do not wait for what is queued."""


class Outbox:
    """Frames that wait for one writer. At the bound it closes as too slow: the client resumes by seq."""

    __slots__ = ("_chars", "_frames", "_ready", "close_code", "closing")

    def __init__(self) -> None:
        self._frames: deque[str] = deque()
        self._chars = 0
        self._ready = asyncio.Event()
        self.close_code: int | None = None
        self.closing = asyncio.Event()

    def __len__(self) -> int:
        return len(self._frames)

    def offer(self, payload: str) -> bool:
        """Queue for the writer. False: too slow, or closed already."""
        if self.close_code is not None:
            return False
        if len(self._frames) >= OUTBOX_FRAMES or self._chars + len(payload) > OUTBOX_CHARS:
            self.close(TOO_SLOW)
            return False
        self._frames.append(payload)
        self._chars += len(payload)
        self._ready.set()
        return True

    def begin(self, payloads: list[str]) -> None:
        """Put what must come first before whatever was offered since the line opened."""
        if self.close_code in AT_ONCE:
            return
        self._frames.extendleft(reversed(payloads))
        self._chars += sum(map(len, payloads))
        self._ready.set()

    def close(self, code: int) -> None:
        """Close after what is queued, or at once for `AT_ONCE`, which also overrides an earlier code."""
        if self.close_code is None or (code in AT_ONCE and self.close_code not in AT_ONCE):
            self.close_code = code
        if code in AT_ONCE:
            self._frames.clear()
            self._chars = 0
        self.closing.set()
        self._ready.set()

    async def take(self) -> list[str]:
        """Wait for frames, and take all. Empty: closed, see `close_code`."""
        while not self._frames:
            if self.close_code is not None:
                return []
            self._ready.clear()
            await self._ready.wait()
        frames = list(self._frames)
        self._frames.clear()
        self._chars = 0
        return frames


class Line:
    """One open connection of a member, by socket or by polling."""

    __slots__ = ("_heard", "actor", "heard_at", "id", "outbox")

    def __init__(self, id: str, actor: Actor, *, now: datetime) -> None:
        self.id = id
        self.actor = actor
        self.outbox = Outbox()
        self.heard_at = now
        self._heard = time.monotonic()

    def hear(self, now: datetime) -> None:
        """Something came."""
        self.heard_at = now
        self._heard = time.monotonic()

    def silent_s(self) -> float:
        """Return how long nothing came, whatever the host's clock did meanwhile."""
        return time.monotonic() - self._heard


class Hub:
    """Find this node's lines by member, site and session; offer them events."""

    def __init__(self) -> None:
        self._by_id: dict[str, Line] = {}
        self._by_member: dict[str, list[Line]] = {}
        self._last_heard: dict[str, datetime] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def open(self, line: Line) -> None:
        """Add a line; a sixth of one member closes that member's oldest."""
        lines = self._by_member.setdefault(line.actor.member, [])
        live = [x for x in lines if x.outbox.close_code is None]
        for oldest in live[: max(0, len(live) + 1 - MAX_LINES)]:
            oldest.outbox.close(REPLACED)
        lines.append(line)
        self._by_id[line.id] = line

    def close(self, line: Line) -> None:
        """Forget a line that is gone."""
        if self._by_id.pop(line.id, None) is None:
            return
        lines = self._by_member[line.actor.member]
        lines.remove(line)
        self._last_heard[line.actor.member] = line.heard_at
        if len(self._last_heard) > 100_000:
            self._last_heard.pop(next(iter(self._last_heard)))
        if not lines:
            del self._by_member[line.actor.member]

    def here(self, member: str) -> bool:
        """Return whether a member has an open line on this node."""
        return any(line.outbox.close_code is None for line in self._by_member.get(member, ()))

    def members(self) -> set[str]:
        """Return the members with an open line on this node."""
        return {member for member in self._by_member if self.here(member)}

    def last_heard(self, member: str) -> datetime | None:
        """Return when a member who has gone was last heard from, as far as this node knows."""
        return self._last_heard.get(member)

    def lines(self) -> list[Line]:
        """Return all lines."""
        return list(self._by_id.values())

    def dispatch(self, event: Event) -> None:
        """Offer an event to the lines it is for."""
        for line in self._addressed(event):
            if line.id == event.skip or line.actor.member == event.but:
                continue
            if event.payload is not None:
                line.outbox.offer(event.payload)
            if event.close is not None:
                line.outbox.close(event.close)

    def _addressed(self, event: Event) -> Iterable[Line]:
        if event.connection is not None:
            line = self._by_id.get(event.connection)
            return (line,) if line is not None else ()
        if event.tokens:
            tokens = set(event.tokens)
            return [line for line in self._by_id.values() if line.actor.token in tokens]
        if event.site is not None:
            return [
                line
                for line in self._by_id.values()
                if line.actor.site == event.site and (event.roles is None or line.actor.role in event.roles)
            ]
        return [line for member in event.to for line in self._by_member.get(member, ())]
