"""One line of one member, sans-IO: raw frames in, effects out. Time is an argument; nothing waits here."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import ClassVar

from msgspec import UNSET, Struct

from moderation.verdict import Role
from peerchat import frames
from peerchat.errors import ClientError, Forbidden, RateLimited
from peerchat.frames import ClientFrame, Send
from peerchat.hub import PROTOCOL
from peerchat.model import Actor


class TokenBucket:
    """So many a second, and a burst: `take` answers, and `wait_s` says when the next would be free."""

    __slots__ = ("_at", "_left", "burst", "rate")

    def __init__(self, rate: float, burst: float) -> None:
        self.rate = rate
        self.burst = burst
        self._left = burst
        self._at: float | None = None

    def take(self, now: float, amount: float = 1.0) -> bool:
        """Take if there is enough. `now` is in seconds and never goes back."""
        if self._at is not None:
            self._left = min(self.burst, self._left + (now - self._at) * self.rate)
        self._at = now
        if self._left < amount:
            return False
        self._left -= amount
        return True

    def wait_s(self) -> float:
        """Return how long until one is free, after a refused take."""
        return max(0.0, (1.0 - self._left) / self.rate)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one member and one line may do. The defaults are the protocol's."""

    send_rate: float = 5.0
    send_burst: float = 20.0
    frame_rate: float = 50.0
    frame_burst: float = 250.0
    bad_rate: float = 2.0
    bad_burst: float = 60.0
    typing_rate: float = 1.0
    typing_burst: float = 5.0
    slow_rate: float = 1.0
    slow_burst: float = 20.0


UNLIMITED = Limits(
    send_rate=1e9, send_burst=1e9, frame_rate=1e9, frame_burst=1e9, slow_rate=1e9, slow_burst=1e9
)


@dataclass(frozen=True, slots=True)
class Reply:
    """Say this on the line."""

    frame: frames.ServerFrame


@dataclass(frozen=True, slots=True)
class Hangup:
    """Close the line."""

    code: int


@dataclass(frozen=True, slots=True)
class Do:
    """Carry out a checked frame. `limited` is set when a send came too fast: only a known id counts."""

    frame: ClientFrame
    limited: ClientError | None = None


Effect = Reply | Hangup | Do


class Buckets:
    """What one member may do in a time, on all of the member's lines of a node together."""

    __slots__ = ("bad", "frames", "send", "slow", "typing")

    def __init__(self, limits: Limits) -> None:
        self.send = TokenBucket(limits.send_rate, limits.send_burst)
        self.frames = TokenBucket(limits.frame_rate, limits.frame_burst)
        self.bad = TokenBucket(limits.bad_rate, limits.bad_burst)
        self.typing = TokenBucket(limits.typing_rate, limits.typing_burst)
        self.slow = TokenBucket(limits.slow_rate, limits.slow_burst)


SLOW = (
    frames.Ask,
    frames.Report,
    frames.SecondLook,
    frames.Shift,
    frames.Break,
    frames.Block,
    frames.Mistake,
)
"""Frames that make work for people or the log; nobody needs many of them."""


class Session:
    """Parse, check rights and rates, and say what follows. One for each line."""

    RIGHTS: ClassVar[dict[type[Struct], frozenset[Role]]] = {
        frames.Ask: frozenset({Role.PUPIL}),
        frames.Cancel: frozenset({Role.PUPIL}),
        frames.Shift: frozenset({Role.MENTOR}),
        frames.Break: frozenset({Role.MENTOR}),
        frames.Duty: frozenset({Role.ADULT, Role.MODERATOR}),
    }

    def __init__(self, actor: Actor, *, buckets: Buckets) -> None:
        self.actor = actor
        self._buckets = buckets

    def receive(self, raw: str, *, now: float) -> list[Effect]:
        """Return what follows from one text message. `now` is monotonic seconds."""
        if _too_large(raw):
            return [Hangup(PROTOCOL)]
        if not self._buckets.frames.take(now):
            return [*_flag_in(raw), Hangup(PROTOCOL)]
        try:
            frame = frames.parse(raw)
            allowed = self.RIGHTS.get(type(frame))
            if allowed is not None and self.actor.role not in allowed:
                raise Forbidden("not for your role", ref=frame.ref)
        except ClientError as error:
            return self._refuse(error, now)
        match frame:
            case frames.Ping(ref=ref):
                return [Reply(frames.Done(for_="ping", ref=ref or UNSET))]
            case Send() if not self._buckets.send.take(now):
                wait = round(self._buckets.send.wait_s(), 2)
                return [Do(frame, limited=RateLimited("too many at once", retry_after_s=wait, ref=frame.ref))]
            case frames.Ping() | frames.Flag():
                pass
            case _ if isinstance(frame, SLOW) and not self._buckets.slow.take(now):
                wait = round(self._buckets.slow.wait_s(), 2)
                refused = RateLimited("too many at once", retry_after_s=wait, ref=frame.ref)
                return [Reply(frames.error_frame(refused))]
            case frames.Typing() if not self._buckets.typing.take(now):
                return []
        return [Do(frame)]

    def binary(self) -> list[Effect]:
        """Return what follows from a binary message: the protocol has none."""
        return [Hangup(PROTOCOL)]

    def _refuse(self, error: ClientError, now: float) -> list[Effect]:
        reply = Reply(frames.error_frame(error))
        return [reply] if self._buckets.bad.take(now) else [reply, Hangup(PROTOCOL)]


def _flag_in(raw: str) -> list[Effect]:
    """Return a flag that came in a flood: a call for an adult is heard whatever else a page does wrong."""
    if '"flag"' not in raw:
        return []
    try:
        frame = frames.parse(raw)
    except ClientError:
        return []
    return [Do(frame)] if isinstance(frame, frames.Flag) else []


def _too_large(raw: str) -> bool:
    if len(raw) * 4 <= frames.MAX_FRAME_BYTES:  # no code point takes more than 4 bytes: nothing to count
        return False
    return len(raw.encode("utf-8", "surrogatepass")) > frames.MAX_FRAME_BYTES


class MemberBuckets:
    """The buckets of the most recent members, made on demand; bounded."""

    def __init__(self, limits: Limits, *, most: int = 100_000) -> None:
        self._limits = limits
        self._most = most
        self._found: OrderedDict[str, Buckets] = OrderedDict()

    def of(self, member: str) -> Buckets:
        """Return a member's."""
        found = self._found.get(member)
        if found is None:
            found = self._found[member] = Buckets(self._limits)
            if len(self._found) > self._most:
                self._found.popitem(last=False)
        self._found.move_to_end(member)
        return found
