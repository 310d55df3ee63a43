"""What the chat needs from outside, each with its guarantee, and the events that travel between nodes."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from peerchat.frames import ServerFrame, dump

NodeId = str


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One frame and whom it is for; or sessions to close.

    Exactly one address is set: members (`to`), a whole site (`site`, maybe only some `roles`), one
    `connection`, or sessions (`tokens`). `skip` leaves out the connection that caused it, `but` one member.
    `close` closes what is addressed, after the frame.
    """

    payload: str | None = None
    to: tuple[str, ...] = ()
    site: str | None = None
    roles: tuple[str, ...] | None = None
    connection: str | None = None
    skip: str | None = None
    but: str | None = None
    close: int | None = None
    tokens: tuple[str, ...] = ()


def to_members(frame: ServerFrame, *members: str, skip: str | None = None) -> Event:
    """Return the event that shows a frame to members, on all their lines but one."""
    return Event(payload=dump(frame), to=members, skip=skip)


def to_site(frame: ServerFrame, site: str, *roles: str, but: str | None = None) -> Event:
    """Return the event that shows a frame to everybody of a site, or to some roles, but not to one member."""
    return Event(payload=dump(frame), site=site, roles=roles or None, but=but)


def to_connection(frame: ServerFrame, connection: str) -> Event:
    """Return the event that answers one line."""
    return Event(payload=dump(frame), connection=connection)


class Broker(Protocol):
    """Carry batches of events between nodes: at most once, in publishing order from one publisher.

    Losing a batch loses nothing that matters: the database is the truth, and heartbeats show gaps.
    """

    async def publish(self, to: NodeId, events: Sequence[Event]) -> None:
        """Hand a batch to a node's subscribers. A node without any drops it."""
        ...

    def subscribe(self, node: NodeId) -> AbstractAsyncContextManager[AsyncIterator[Event]]:
        """On entry the subscription is already live; events come in the order they were published."""
        ...
