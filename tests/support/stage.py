"""The people of a protocol test: members of a running demo, signed in and on a line of one kind.

A `Stage` belongs to one test. It lends each test members that no other test uses at that time, and at its end
it leaves what was left open and takes every mentor off shift, so that the next test pairs its own two.
"""

import contextlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest

from tests.support.server import DemoServer
from web.client import Client, Frame, Refused, Server, Session, Transport, WireError, encode
from web.http_client import Response

WAIT_S = 20.0
SIGNED_IN = "/api/frames?line=whoever000"
"""A call that every role may make, but nobody without a token."""

everywhere = pytest.mark.parametrize("stage", ["ws", "poll", "proxy"], indirect=True)
"""Run the test on websockets, on long polling, and on long polling through a proxy that buffers."""

INSULTS = (
    "you are a worthless idiot and everyone hates you",
    "you pathetic moron, shut up you stupid loser",
    "everyone hates you, you disgusting idiot",
)
"""Gross insults: none may be delivered, and at least one waits for a person."""

DISCLOSURES = (
    "i want to kill myself tonight, ive got everything ready",
    "ive got the tablets in my hand and im going to take all of them now, i want to die",
    "im going to stab you after school tomorrow, i have a knife",
)
"""What an adult must hear of at once."""


class Pair(NamedTuple):
    """A pupil and a mentor in one conversation."""

    pupil: Client
    mentor: Client
    c: str


class Lent:
    """Whom this server has lent already, and the sessions it gave; shared by the tests of one server."""

    def __init__(self) -> None:
        self.next: dict[str, int] = {}
        self.sessions: dict[tuple[str, int], Session] = {}


class Stage:
    """Members of one server on lines of one kind; `url` is the server's or a proxy's."""

    def __init__(self, demo: DemoServer, lent: Lent, url: str, transport: Transport) -> None:
        self.demo, self.lent, self.transport = demo, lent, transport
        self.server = Server(url)
        self.clients: list[Client] = []

    def credentials(self, role: str, i: int | None = None) -> tuple[int, dict[str, str]]:
        """Return whose turn it is in this role ("pupils"), or the one asked for."""
        people = self.demo.credentials[role]
        if i is None:
            i = self.lent.next.get(role, 0)
            self.lent.next[role] = i + 1
        return i % len(people), people[i % len(people)]

    async def session(self, role: str, i: int | None = None) -> Session:
        """Return the session of a member, signed in once a server."""
        i, who = self.credentials(role, i)
        if (role, i) not in self.lent.sessions:
            self.lent.sessions[role, i] = await self.server.sign_in(who)
        return self.lent.sessions[role, i]

    async def client(self, session: Session, *, opened: bool = True, **options: Any) -> Client:
        """Return a client of that session, one of several if called again."""
        client = Client(self.server, session, transport=options.pop("transport", self.transport), **options)
        self.clients.append(client)
        if opened:
            await client.open(timeout_s=WAIT_S)
        return client

    async def pupil(self, **options: Any) -> Client:
        return await self.client(await self.session("pupils"), **options)

    async def mentor(self, **options: Any) -> Client:
        return await self.client(await self.session("mentors"), **options)

    async def moderator(self, i: int = 0, **options: Any) -> Client:
        return await self.client(await self.session("moderators", i), **options)

    async def adult(self, i: int = 0, **options: Any) -> Client:
        """Return an adult; the demo keeps the duty of the first one up until that one sends `duty`."""
        return await self.client(await self.session("adults", i), **options)

    async def coordinator(self, **options: Any) -> Client:
        return await self.client(await self.session("coordinators", 0), **options)

    async def pair(self, pupil: Client | None = None, mentor: Client | None = None) -> Pair:
        """Return two members in a new conversation."""
        pupil = pupil or await self.pupil()
        mentor = mentor or await self.mentor()
        return await meet(pupil, mentor)

    async def close(self) -> None:
        """Leave every conversation, take mentors off shift, close every line."""
        for client in self.clients:
            if client.up and client.session.role in {"pupil", "mentor"}:
                with contextlib.suppress(WireError):
                    await self._tidy(client)
        for client in self.clients:
            await client.close()
        await self.server.http.close()

    async def _tidy(self, client: Client) -> None:
        open_ones = {v["conversation"] for w in client.seen("welcome") for v in w["conversations"]}
        open_ones |= {f["conversation"] for f in client.seen("paired")}
        open_ones -= {f["conversation"] for f in client.seen("ended")}
        if client.session.role == "mentor":
            await client.call("shift", on=False, timeout_s=5)
        else:
            with contextlib.suppress(Refused):
                await client.call("cancel", timeout_s=5)
        for conversation in open_ones:
            with contextlib.suppress(Refused):
                await client.call("leave", conversation=conversation, timeout_s=5)


async def meet(pupil: Client, mentor: Client) -> Pair:
    """Pair these two: no other mentor may be on shift, no other pupil waiting."""
    since, theirs = pupil.mark(), mentor.mark()
    await mentor.call("shift", on=True, capacity=1)
    await pupil.call("ask", topics=[])
    paired = await pupil.wait("paired", since=since, timeout_s=WAIT_S)
    told = await mentor.wait("paired", since=theirs, timeout_s=WAIT_S)
    assert told["conversation"] == paired["conversation"]
    return Pair(pupil, mentor, paired["conversation"])


async def told(client: Client, text: str, c: str) -> Frame:
    """Send a plain text that must be delivered; return the ack."""
    ack = await client.send(c, text)
    assert ack["status"] == "delivered", f"a plain text was {ack['status']} ({ack.get('reason')})"
    return ack


async def held(
    client: Client, c: str, mark: str = "", *, texts: Sequence[str] = INSULTS
) -> tuple[Frame, str]:
    """Send such texts until one is held; return its ack and the text. An insult may not be delivered."""
    for text in texts:
        text = f"{text} {mark}".strip()
        ack = await client.send(c, text)
        assert ack["status"] != "delivered" or texts is not INSULTS, "a gross insult was delivered"
        if ack["status"] == "held":
            assert ack["reason"]
            return ack, text
    raise AssertionError("none of the texts was held for a person")


def never_saw(client: Client, *fragments: str) -> None:
    """Assert that no frame of the client's holds a fragment. Call after a barrier on its line."""
    everything = [encode(r.frame) for r in client.received()]
    for fragment in fragments:
        assert not any(fragment in frame for frame in everything), "text reached one it was kept from"


async def barrier(client: Client, c: str) -> list[Frame]:
    """Return the history: what was pushed to this client before has come by the time it ends."""
    return await client.history(c)


async def refusal(client: Client, type: str, /, **fields: object) -> Refused:
    """Return the error that a frame gets; fail where it gets none."""
    try:
        frame = await client.call(type, timeout_s=WAIT_S, **fields)
    except Refused as error:
        return error
    raise AssertionError(f"`{type}` was answered with `{frame['type']}`, not refused")


def problem(answer: Response, status: int) -> dict[str, Any]:
    """Assert that an answer is a problem document (RFC 9457) of this status; return it."""
    assert answer.status == status, f"{answer.status}, not {status}"
    assert answer.headers["content-type"].split(";")[0] == "application/problem+json"
    document = answer.json()
    assert isinstance(document, dict)
    assert document["status"] == status
    assert document["title"]
    return document


async def items(client: Client, path: str) -> list[dict[str, Any]]:
    """Return every item of a paged list."""
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        joint = "&" if "?" in path else "?"
        answer = await client.http("GET", path + (f"{joint}cursor={cursor}" if cursor else ""))
        assert answer.status == 200, f"GET {path} was answered {answer.status}"
        page = answer.json()
        assert set(page) == {"items", "next"}
        found += page["items"]
        cursor = page["next"]
        if not cursor:
            return found


async def review_item(client: Client, message: str, kind: str | None = None) -> dict[str, Any]:
    """Return the one review item about a message."""
    found = [
        item
        for item in await items(client, "/api/review")
        if item["message"] == message and kind in {None, item["kind"]}
    ]
    assert len(found) == 1, f"{len(found)} review items about one message"
    return found[0]


async def claim(client: Client, item: dict[str, Any]) -> dict[str, Any]:
    """Claim an item; return the answer."""
    answer = await client.http("POST", f"/api/review/{item['id']}/claim", {})
    assert answer.status == 200, f"claim was answered {answer.status}"
    document = answer.json()
    assert isinstance(document, dict)
    return document


async def decide(client: Client, item: dict[str, Any], decision: str, reason: str = "other") -> Response:
    """Post a decision; return the answer, whatever it is."""
    body = {"decision": decision, "reason": reason, "note": "looked at"}
    return await client.http("POST", f"/api/review/{item['id']}/decide", body)
