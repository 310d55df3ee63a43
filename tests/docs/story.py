"""One story in which everybody does their part; keeps every frame and every answer for comparison."""

import asyncio
import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from web.client import Client, Frame, Received, Refused, Server, Session, Transport
from web.http_client import Response

WAIT_S = 20.0


@dataclass(frozen=True)
class Answer:
    """One HTTP answer and what was asked; `path` without its query."""

    method: str
    path: str
    status: int
    type: str
    body: bytes = field(repr=False)

    @property
    def document(self) -> Any:
        return json.loads(self.body) if self.body else None


@dataclass
class Story:
    """What came of it: frames by member, which type answered which, and HTTP answers."""

    frames: list[tuple[str, Frame]] = field(default_factory=list)
    answered: set[tuple[str, str]] = field(default_factory=set)
    answers: list[Answer] = field(default_factory=list)


class Player(Client):
    """A client that notes what it sends and what comes back."""

    def __init__(self, server: Server, session: Session, name: str, story: Story) -> None:
        super().__init__(server, session, transport=Transport.WS)
        self.name, self.story = name, story
        self._asked: dict[str, str] = {}
        self.listeners.append(self._note)

    async def raw(self, text: str) -> None:
        """Send, and remember which type has which ref."""
        with contextlib.suppress(ValueError):
            frame = json.loads(text)
            if "ref" in frame:
                self._asked[frame["ref"]] = frame["type"]
        await super().raw(text)

    def _note(self, received: Received) -> None:
        frame = received.frame
        self.story.frames.append((self.name, frame))
        if "ref" in frame and frame["ref"] in self._asked:
            self.story.answered.add((self._asked[frame["ref"]], frame["type"]))

    async def ask(self, method: str, path: str, body: object = None, *, token: str | None = "") -> Any:
        """Make a request in this member's name; return the answer's document."""
        raw = json.dumps(body).encode() if body is not None else None
        answer: Response = await self.server.call(
            method, path, token=self.session.token if token == "" else token, raw=raw
        )
        self.story.answers.append(
            Answer(
                method,
                path.partition("?")[0],
                answer.status,
                answer.headers.get("content-type", ""),
                answer.body,
            )
        )
        return self.story.answers[-1].document if "json" in answer.headers.get("content-type", "") else None

    async def refused(self, type: str, **fields: object) -> str:
        """Send what must be refused; return the code."""
        try:
            await self.call(type, timeout_s=WAIT_S, **fields)
        except Refused as error:
            return error.code
        raise AssertionError(f"`{type}` was not refused")


async def play(url: str, credentials: Mapping[str, Mapping[str, str]]) -> Story:
    """Play it, and return what was seen."""
    story = Story()
    async with Server(url) as server:
        cast = {
            name: Player(server, await server.sign_in(who), name, story) for name, who in credentials.items()
        }
        for player in cast.values():
            await player.open()
        try:
            await _signing_in(cast, credentials)
            await _talking(cast)
            await _reviewing(cast)
            await _alerting(cast)
            await _pausing(cast)
            await _reaching(cast)
            await _practising(cast)
            await _planning(cast)
            await _looking(cast)
            await _polling(cast)
        finally:
            for player in cast.values():
                await player.close()
    return story


async def _signing_in(cast: Mapping[str, Player], credentials: Mapping[str, Mapping[str, str]]) -> None:
    pupil = cast["pupil"]
    for body in (
        dict(credentials["pupil"]),
        dict(credentials["adult"]),
        {"code": "AAAA-AAAA-AAAA"},
        {"username": "adult"},
        {"code": 3},
        {"code": "x", "role": "adult"},
    ):
        await pupil.ask("POST", "/api/session", body, token=None)
    await pupil.ask("PUT", "/api/pin", {"pin": "48213"})
    await pupil.ask("PUT", "/api/pin", {"pin": "12"})
    await pupil.ask("PUT", "/api/pin", {"pin": None})
    await cast["mentor"].ask("PUT", "/api/pin", {"pin": None})
    second = await pupil.server.sign_in(credentials["pupil"])
    await pupil.ask("DELETE", "/api/session", token=second.token)
    await pupil.ask("GET", "/api/review", token=second.token)
    for _ in range(9):
        await pupil.ask("POST", "/api/session", {"username": "nobody", "password": "wrong"}, token=None)


async def _talking(cast: Mapping[str, Player]) -> None:
    pupil, mentor, adult = cast["pupil"], cast["mentor"], cast["adult"]
    assert await pupil.refused("ask", topics=["Friends"]) == "closed"
    await adult.call("duty", on=True)
    await pupil.wait("site", open=True)
    await cast["moderator"].call("duty", on=True)
    assert await pupil.refused("ask", topics=["no such topic"]) == "invalid"
    await pupil.call("ask", topics=["Friends"], preferences={"again": True}, mood=2, note="a bad day")
    await pupil.call("cancel")
    await pupil.call("ask", topics=["Friends"])
    await mentor.call("shift", on=True, capacity=1)
    c = (await pupil.wait("paired"))["conversation"]
    await mentor.wait("paired")
    await mentor.tell("typing", conversation=c)
    await pupil.wait("typing")
    for text in ("hello", "how was it?"):
        await mentor.send(c, text)
    await pupil.send(c, "not so good")
    await pupil.history(c, limit=2)
    assert await pupil.refused("send", conversation=c, id="x", text="a" * 2001) == "too_long"
    assert await pupil.refused("send", conversation=c, id="x", text="a", seq=4) == "invalid"
    assert await pupil.refused("duty", on=True) == "forbidden"
    assert await pupil.refused("nonsense") == "unknown_frame"
    await pupil.call("ping")
    await pupil.call("report", conversation=c, message=None, reason="other", note="it felt odd")
    await mentor.call("break", on=True)
    await mentor.call("break", on=False)
    await mentor.cut()
    await pupil.wait("presence", online=False)
    await mentor.open()
    await pupil.wait("presence", online=True)


async def _reviewing(cast: Mapping[str, Player]) -> None:
    pupil, moderator = cast["pupil"], cast["moderator"]
    c = pupil.seen("paired")[-1]["conversation"]
    since = pupil.mark()
    first = await pupil.send(c, "HURTFUL words")
    second = await pupil.send(c, "HURTFUL again")
    blocked = await pupil.send(c, "my NUMBER is")
    assert [x["status"] for x in (first, second, blocked)] == ["held", "held", "blocked"]
    await pupil.call("second_look", message=blocked["message"])
    await pupil.send(c, "my NUMBER again")
    await pupil.cut()
    await pupil.open()
    await pupil.wait("own", since=since, status="blocked")
    queue = await moderator.ask("GET", "/api/review?limit=2")
    await moderator.ask("GET", f"/api/review?cursor={queue['next']}")
    await moderator.ask("GET", "/api/review?state=nonsense")
    items = (await moderator.ask("GET", "/api/review"))["items"]
    by_message = {item["message"]: item for item in items}
    path = f"/api/review/{by_message[first['message']]['id']}"
    await moderator.ask("POST", f"{path}/decide", {"decision": "release", "reason": "other"})  # not claimed
    await moderator.ask("POST", f"{path}/claim", {})
    await cast["adult"].ask("POST", f"{path}/claim", {})  # another has it
    await moderator.ask("GET", f"/api/conversations/{c}")
    await moderator.ask("POST", f"{path}/release-claim", {})
    await moderator.ask("POST", f"{path}/claim", {})
    await moderator.ask("POST", f"{path}/decide", {"decision": "let it go", "reason": "other"})
    await moderator.ask("POST", f"{path}/decide", {"decision": "release", "reason": "other", "note": "fine"})
    await pupil.wait("decided", message=first["message"])
    path = f"/api/review/{by_message[second['message']]['id']}"
    await moderator.ask("POST", f"{path}/claim", {})
    await moderator.ask("POST", f"{path}/decide", {"decision": "withhold", "reason": "unkind"})
    await pupil.wait("decided", message=second["message"], status="withheld")
    path = f"/api/review/{by_message[blocked['message']]['id']}"
    await moderator.ask("POST", f"{path}/claim", {})
    await moderator.ask("POST", f"{path}/decide", {"decision": "escalate", "reason": "unsafe", "note": "odd"})
    for item in (await cast["adult"].ask("GET", "/api/review"))["items"]:
        await cast["adult"].ask("POST", f"/api/review/{item['id']}/claim", {})
        await cast["adult"].ask(
            "POST", f"/api/review/{item['id']}/decide", {"decision": "release", "reason": "other"}
        )


async def _alerting(cast: Mapping[str, Player]) -> None:
    pupil, adult, deputy = cast["pupil"], cast["adult"], cast["deputy"]
    c = pupil.seen("paired")[-1]["conversation"]
    ack = await pupil.send(c, "DANGER here")
    assert ack["status"] == "held" and ack["support"]
    await pupil.wait("help", state="asked")
    heard = await adult.wait("alert", where=lambda f: bool(f["alert"]["risk"] == "immediate"))
    path = f"/api/alerts/{heard['alert']['id']}"
    pressed = await cast["mentor"].call("flag", conversation=c, urgency="emergency", note="please come")
    await cast["mentor"].call("mistake", alert=pressed["alert"])
    assert await pupil.refused("mistake", alert=pressed["alert"]) == "forbidden"
    await adult.ask("GET", "/api/alerts")
    await adult.ask("GET", "/api/alerts?state=closed")
    await adult.ask("GET", path)
    await adult.ask("POST", f"{path}/act", {"action": "spoke with pupil"})  # not acknowledged
    await adult.ask("POST", f"{path}/acknowledge", {})
    await deputy.ask("POST", f"{path}/acknowledge", {})  # another has it
    await pupil.wait("help", state="has_it")
    assert await adult.refused("duty", on=False) == "forbidden"
    await _handing_over(adult, deputy)
    await adult.ask("POST", f"{path}/join", {})
    await pupil.wait("joined")
    await adult.send(c, "I am here")
    await adult.ask("POST", f"{path}/note", {"text": "spoke in the chat"})
    await adult.ask("POST", f"{path}/note", {"text": " "})
    await adult.ask("POST", f"{path}/act", {"action": "spoke with pupil", "note": "at length"})
    await adult.ask("POST", f"{path}/act", {"action": "went for a walk with them"})
    closing = {"outcome": "safe, support agreed", "rationale": "they are with a parent"}
    await adult.ask("POST", f"{path}/close", closing)  # a held text is undecided
    for item in (await adult.ask("GET", path))["review"]:
        if item["state"] != "decided":
            await adult.ask("POST", f"/api/review/{item['id']}/claim", {})
            await adult.ask(
                "POST", f"/api/review/{item['id']}/decide", {"decision": "withhold", "reason": "unsafe"}
            )
    await adult.ask("GET", f"/api/conversations/{c}")
    await adult.ask("GET", f"/api/conversations/{c}?scope=whole")  # without a reason
    await adult.ask("GET", f"/api/conversations/{c}?scope=whole&reason=what+came+before")
    await adult.ask("POST", f"{path}/close", closing | {"version": 1})  # stale
    await adult.ask("POST", f"{path}/close", closing)
    await adult.ask("GET", path)
    await deputy.ask("POST", f"{path}/close", closing)
    await adult.wait("alert", change="closed")
    await _recording(cast, heard["alert"]["id"])
    await adult.call("leave", conversation=c)
    for alert in (await adult.ask("GET", "/api/alerts?state=open,notifying,acknowledged,in_hand"))["items"]:
        await adult.ask("POST", f"/api/alerts/{alert['id']}/acknowledge", {})
        for who in (adult, deputy):
            await who.ask("POST", f"/api/alerts/{alert['id']}/close", closing)
    await adult.ask("GET", "/api/alerts/none")


async def _recording(cast: Mapping[str, Player], case: str) -> None:
    adult, coordinator = cast["adult"], cast["coordinator"]
    path = f"/api/records/{case}"
    await adult.ask("POST", f"{path}/notes", {"text": "her mother rang back"})
    then = {"text": "told me last week", "happened_at": "2024-03-01T10:00:00Z"}
    await adult.ask("POST", f"{path}/notes", then)
    await adult.ask("POST", f"{path}/notes", then | {"happened_at": "2024-03-01T10:00:00"})  # without a zone
    await adult.ask("POST", f"{path}/notes", then | {"happened_at": "1926-03-02T10:00:00Z"})
    await adult.ask("POST", f"{path}/release", {"reason": "it is on none"})
    await coordinator.ask("POST", f"{path}/hold", {"reason": "the police asked"})
    await adult.ask("POST", f"{path}/hold", {"reason": "again"})
    await adult.ask("POST", f"{path}/hold", {"reason": " "})
    for who in (adult, coordinator):
        await who.ask("GET", "/api/records/holds")
    for kind in ("pdf", "json", "csv", "zip"):
        await adult.ask("GET", f"{path}.{kind}")
        await coordinator.ask("GET", f"{path}.{kind}")
        await adult.ask("GET", f"/api/records/none.{kind}")
    await adult.ask("POST", f"{path}/release", {"reason": "the case was heard"})


async def _handing_over(adult: Player, deputy: Player) -> None:
    """One offer of each fate; in the end the alert is back where it was."""
    assert await adult.refused("duty", on=True, phone=True) == "forbidden"
    path = "/api/duty/handover"
    other = deputy.session.member
    await adult.ask("POST", path, {"to": other})  # not on duty
    await adult.ask("POST", path, {"to": "mem_none"})
    await adult.ask("POST", path, {"to": ""})
    await deputy.call("duty", on=True)
    offer = await adult.ask("POST", path, {"to": other})
    await adult.ask("GET", "/api/duty")
    await deputy.wait("handover", change="offered")
    await deputy.ask("POST", f"{path}/{offer['id']}/decline")
    await adult.wait("handover", change="declined")
    offer = await adult.ask("POST", path, {"to": other})
    await adult.ask("POST", f"{path}/{offer['id']}/withdraw")
    offer = await adult.ask("POST", path, {"to": other})
    await deputy.ask("POST", f"{path}/{offer['id']}/accept")
    await deputy.ask("POST", f"{path}/{offer['id']}/accept")  # answered already
    offer = await deputy.ask("POST", path, {"to": adult.session.member})
    await adult.ask("POST", f"{path}/{offer['id']}/accept")
    await deputy.call("duty", on=False)


async def _planning(cast: Mapping[str, Player]) -> None:
    coordinator = cast["coordinator"]
    adults = (await coordinator.ask("GET", "/api/rota"))["adults"]
    turn = {"member": adults[0]["id"], "days": [0, 1, 2, 3, 4], "begin": "09:00", "end": "15:00"}
    for body in (
        turn | {"days": [9]},
        turn | {"end": "25:00"},
        turn | {"days": []},
        turn | {"member": "mem_none"},
        {"kind": "holiday", "first": "2026-02-30"},
    ):
        await coordinator.ask("POST", "/api/rota", body)
    await coordinator.ask("POST", "/api/rota", {"kind": "holiday", "first": "2031-04-06"})
    rota = await coordinator.ask("POST", "/api/rota", turn | {"first": "2026-09-01"})
    await cast["adult"].ask("GET", "/api/rota")
    await cast["adult"].ask("POST", "/api/rota", turn)
    await coordinator.ask("GET", "/api/overview")
    await coordinator.ask("DELETE", f"/api/rota/{rota['turns'][0]['id']}")
    await coordinator.ask("DELETE", "/api/rota/trn_none")


async def _pausing(cast: Mapping[str, Player]) -> None:
    pupil, mentor, moderator = cast["pupil"], cast["mentor"], cast["moderator"]
    c = pupil.seen("paired")[-1]["conversation"]
    await moderator.ask("POST", f"/api/conversations/{c}/pause", {})
    await pupil.wait("paused")
    held = await pupil.send(c, "are you there?")
    assert held["reason"] == "paused"
    await pupil.send(c, "HURTFUL and paused")
    [item] = (await moderator.ask("GET", "/api/review"))["items"]
    await moderator.ask("POST", f"/api/review/{item['id']}/claim", {})
    await moderator.ask(
        "POST", f"/api/review/{item['id']}/decide", {"decision": "release", "reason": "other"}
    )
    await moderator.ask("POST", f"/api/conversations/{c}/resume", {})
    await pupil.wait("resumed")
    await pupil.wait("decided", message=held["message"])
    await moderator.ask("POST", f"/api/conversations/{c}/end", {})
    await moderator.ask("POST", f"/api/conversations/{c}/end", {})  # it has ended
    await pupil.wait("ended")
    assert await pupil.refused("send", conversation=c, id="late", text="hello?") == "closed"
    await pupil.call("leave", conversation=c, mood=4, helpful=True, again=True)
    since = mentor.mark()
    await pupil.call("ask", topics=[])
    c = (await mentor.wait("paired", since=since))["conversation"]
    await pupil.call("block", conversation=c)
    await mentor.wait("left", conversation=c)
    await pupil.call("flag", conversation=None, urgency="concern", note="for later")
    await mentor.call("shift", on=False)


BROWSER = {
    "endpoint": "http://127.0.0.1:9/push",
    "keys": {
        "p256dh": "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
        "auth": "BTBZMqHH6r4Tts7J_aSIgg",
    },
}


async def _reaching(cast: Mapping[str, Player]) -> None:
    adult, coordinator = cast["adult"], cast["coordinator"]
    listed = await coordinator.ask("GET", "/api/channels")
    whose = {"member": listed["adults"][0]["id"]}
    for body in (
        {"kind": "email", "to": "not an address", **whose},
        {"kind": "sms", "to": "01632 960123", **whose},  # the server has no provider of these
        {"kind": "email", "to": "ada@school.example", "member": "mem_nobody"},
        {"kind": "email", "to": "ada@school.example"},
        {"kind": "pigeon", "to": "ada@school.example", **whose},
    ):
        await coordinator.ask("POST", "/api/channels", body)
    mail = await coordinator.ask(
        "POST", "/api/channels", {"kind": "email", "to": "ada@school.example", **whose}
    )
    await coordinator.ask("POST", f"/api/channels/{mail['id']}/try")
    await coordinator.ask("GET", "/api/channels")
    await adult.ask("POST", "/api/channels", {"kind": "email", "to": "ada@school.example", **whose})
    mine = await adult.ask("POST", "/api/channels", {"kind": "push", "to": json.dumps(BROWSER)})
    await adult.ask("POST", f"/api/channels/{mine['id']}/try")
    await adult.ask("GET", "/api/channels")
    await cast["deputy"].ask("DELETE", f"/api/channels/{mine['id']}")
    await adult.ask("DELETE", f"/api/channels/{mine['id']}")
    await coordinator.ask("DELETE", f"/api/channels/{mail['id']}")


async def _practising(cast: Mapping[str, Player]) -> None:
    coordinator, adult = cast["coordinator"], cast["adult"]
    await coordinator.ask("POST", "/api/drills", {"risk": "mild"})
    drill = await coordinator.ask("POST", "/api/drills")
    await adult.ask("POST", "/api/drills", {"risk": "high"})  # one at a time
    await adult.ask("POST", f"/api/alerts/{drill['id']}/acknowledge")
    await coordinator.ask("GET", "/api/drills")
    await cast["pupil"].ask("GET", "/api/drills")
    await coordinator.ask("POST", "/api/drills/alr_none/end")
    await adult.ask("POST", f"/api/drills/{drill['id']}/end")
    await adult.ask("GET", "/api/drills")


async def _looking(cast: Mapping[str, Player]) -> None:
    pupil, coordinator = cast["pupil"], cast["coordinator"]
    for path in ("/api/site", "/api/services", "/healthz", "/readyz", "/metrics", "/api/overview"):
        await pupil.ask("GET", path, token=None)
    await pupil.ask("GET", "/api/services")
    for path in (
        "/api/overview",
        "/api/statistics",
        "/api/statistics?from=2026-01-01&to=2026-01-31",
        "/api/statistics?from=yesterday",
        "/api/audit",
    ):
        await coordinator.ask("GET", path)
    await pupil.ask("GET", "/api/audit")
    await pupil.wait("heartbeat", since=pupil.mark())


async def _polling(cast: Mapping[str, Player]) -> None:
    pupil = cast["pupil"]
    first = await pupil.ask("GET", "/api/frames?line=tab1")
    await pupil.ask("POST", "/api/frames?line=tab1", {"type": "ping", "ref": "p1"})
    await pupil.ask("POST", "/api/frames?line=tab1", [{"type": "ping"}, {"type": "nonsense"}])
    await pupil.ask("POST", "/api/frames?line=tab1", [{"type": "ping"}] * 33)
    polled = await asyncio.wait_for(pupil.ask("GET", f"/api/frames?line=tab1&after={first['next']}"), WAIT_S)
    pupil.story.frames += [("pupil, polling", frame) for frame in first["items"] + polled["items"]]
    await pupil.ask("GET", "/api/frames?line=unknown&after=7")
    await pupil.ask("GET", "/api/frames?line=no+spaces")
    await pupil.ask("GET", "/api/frames?line=tab1&after=x")
