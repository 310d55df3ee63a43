"""Opening a line, and what the server does with what does not belong on one."""

import asyncio
import contextlib
import json

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.typing import Origin, Subprotocol

from tests.support.stage import WAIT_S, Stage, everywhere, problem, refusal, told
from web.client import Client, Refused, Session

KIB16 = 16 * 1024
CODES = {
    "malformed",
    "unknown_frame",
    "invalid",
    "too_long",
    "rate_limited",
    "not_a_member",
    "forbidden",
    "closed",
    "conflict",
    "unavailable",
}


async def opens(
    stage: Stage,
    session: Session | None,
    *,
    origin: str | None = None,
    protocols: tuple[str, ...] = ("peerchat.v1",),
    path: str = "/ws",
    headers: dict[str, str] | None = None,
) -> bool:
    """True where a socket so asked for is opened and greeted."""
    if headers is None:
        headers = {"Authorization": f"Bearer {session.token}"} if session else {}
    try:
        async with (
            asyncio.timeout(WAIT_S),
            connect(
                stage.server.url.replace("http", "ws", 1) + path,
                origin=None if origin is None else Origin(origin),
                subprotocols=[Subprotocol(p) for p in protocols] or None,
                additional_headers=headers,
                proxy=None,
                close_timeout=2,
            ) as socket,
        ):
            welcome = json.loads(await socket.recv())
            assert socket.subprotocol == "peerchat.v1"
            return bool(welcome["type"] == "welcome")
    except (InvalidHandshake, ConnectionClosed):
        return False


async def test_a_socket_is_opened_by_bearer_or_cookie(stage: Stage) -> None:
    session = await stage.session("pupils")
    assert await opens(stage, session)
    answer = await stage.server.call("POST", "/api/session", json=stage.credentials("pupils")[1])
    cookie = answer.headers["set-cookie"].partition(";")[0]
    assert await opens(stage, None, headers={"Cookie": cookie})
    assert await opens(stage, None, headers={"Cookie": cookie}, origin=stage.server.url)
    assert not await opens(stage, None, headers={"Cookie": cookie}, origin="https://evil.example")


async def test_a_present_origin_must_be_one_of_the_sites_own(stage: Stage) -> None:
    session = await stage.session("pupils")
    port = stage.demo.port
    assert await opens(stage, session, origin=stage.demo.url)
    for origin in (
        "https://evil.example",
        "null",
        "",
        f"http://127.0.0.1:{port}.evil.example",
        f"http://evil.example:{port}",
        f"http://127.0.0.1:{port}@evil.example",
        f"http://127.0.0.1:{port - 1}",
    ):
        assert not await opens(stage, session, origin=origin), origin


async def test_nobody_enters_without_a_token(stage: Stage) -> None:
    session = await stage.session("pupils")
    assert not await opens(stage, None)
    for value in ("Bearer ", "Bearer " + "A" * 43, f"Basic {session.token}", session.token):
        assert not await opens(stage, None, headers={"Authorization": value})
    assert not await opens(stage, None, path=f"/ws?token={session.token}")


async def test_the_subprotocol_must_be_offered(stage: Stage) -> None:
    session = await stage.session("pupils")
    assert await opens(stage, session, protocols=("something.else", "peerchat.v1"))
    assert not await opens(stage, session, protocols=())
    assert not await opens(stage, session, protocols=("peerchat.v2",))


@everywhere
async def test_the_welcome_tells_all_a_client_needs(stage: Stage) -> None:
    pupil = await stage.pupil()
    welcome = pupil.seen("welcome")[0]
    assert pupil.log[0].frame is welcome, "welcome comes first"
    assert welcome["member"] == {
        "id": pupil.session.member,
        "role": "pupil",
        "alias": None,
        "site": pupil.session.site,
    }
    site = welcome["site"]
    assert site["open"] is True
    assert site["name"]
    assert isinstance(site["topics"], list)
    assert site["on_duty"], "the demo keeps its first adult on duty"
    assert all(service["name"] for service in site["services"])
    assert any("999" in (service["phone"] or "") for service in site["services"])
    assert welcome["conversations"] == []
    assert welcome["heartbeat_s"] > 0


@everywhere
async def test_a_sixth_line_replaces_the_oldest(stage: Stage) -> None:
    session = await stage.session("pupils")
    lines = [await stage.client(session) for _ in range(5)]
    await asyncio.gather(*(line.call("ping") for line in lines))
    sixth = await stage.client(session)
    assert await lines[0].gone() == 4102
    await asyncio.gather(*(line.call("ping") for line in [*lines[1:], sixth]))


@everywhere
async def test_ones_own_message_reaches_ones_other_lines(stage: Stage) -> None:
    session = await stage.session("pupils")
    here, there = await stage.client(session), await stage.client(session)
    _, mentor, c = await stage.pair(pupil=here)
    paired = await there.wait("paired", conversation=c)
    assert paired["partner"]["role"] == "mentor"
    ack = await told(here, "hello from my phone, is anyone there", c)
    copy = await there.wait("message", conversation=c, message=ack["message"])
    await mentor.wait("message", conversation=c, message=ack["message"])
    assert (copy["seq"], copy["from"]["role"]) == (ack["seq"], "pupil")
    await here.call("ping")
    assert not here.seen("message"), "the line that sent it has the ack"
    held = await there.send(c, "and hello from my laptop, how are you")
    await here.wait("message", conversation=c, message=held["message"])


# what the protocol does not allow; %s is a conversation of the sender's
BAD_FRAMES: list[tuple[str, set[str]]] = [
    ("", {"malformed"}),
    ("{", {"malformed"}),
    ('"x"', {"malformed"}),
    ("7", {"malformed"}),
    ("null", {"malformed"}),
    ("\x00", {"malformed"}),
    ("[" * 5_000, {"malformed"}),
    ('{"type":"ping"}{"type":"ping"}', {"malformed"}),
    ("{}", {"invalid", "unknown_frame"}),
    ('{"type":1}', {"invalid", "unknown_frame"}),
    ('{"type":null}', {"invalid", "unknown_frame"}),
    ('{"type":"nope"}', {"unknown_frame"}),
    ('{"type":"ack"}', {"unknown_frame"}),
    ('{"type":"\\ud800"}', {"unknown_frame", "invalid", "malformed"}),
    ('{"__proto__":{},"type":"constructor"}', {"unknown_frame"}),
    ('{"type":"send"}', {"invalid"}),
    ('{"type":"send","conversation":5,"id":"a","text":"x"}', {"invalid"}),
    ('{"type":"send","conversation":"%s","id":"","text":"x"}', {"invalid"}),
    ('{"type":"send","conversation":"%s","id":"' + 65 * "i" + '","text":"x"}', {"invalid", "too_long"}),
    ('{"type":"send","conversation":"%s","id":7,"text":"x"}', {"invalid"}),
    ('{"type":"send","conversation":"%s","id":"a","text":null}', {"invalid"}),
    ('{"type":"send","conversation":"%s","id":"a","text":["x"]}', {"invalid"}),
    ('{"type":"send","conversation":"%s","id":"a","text":NaN}', {"invalid", "malformed"}),
    ('{"type":"send","conversation":"%s","id":"a","text":"hi","ref":5}', {"invalid"}),
    ('{"type":"ping","ref":""}', {"invalid"}),
    ('{"type":"ping","ref":"' + 65 * "r" + '"}', {"invalid", "too_long"}),
    ('{"type":"history","conversation":"%s","after":-1}', {"invalid"}),
    ('{"type":"history","conversation":"%s","after":1e400}', {"invalid", "malformed"}),
    ('{"type":"history","conversation":"%s","after":1.5}', {"invalid"}),
    ('{"type":"history","conversation":"%s","limit":0}', {"invalid"}),
    ('{"type":"ask","topics":"x"}', {"invalid"}),
    ('{"type":"ask","topics":' + "[" * 5_000 + "]" * 5_000 + "}", {"invalid", "malformed"}),
    ('{"type":"ask","topics":[],"mood":6}', {"invalid"}),
    ('{"type":"ask","topics":[],"preferences":{"older":"yes"}}', {"invalid"}),
    ('{"type":"flag","conversation":"%s","urgency":"later","note":"x"}', {"invalid"}),
    ('{"type":"report","conversation":"%s","message":"x","reason":"because"}', {"invalid"}),
    ('{"type":"leave","conversation":"%s","mood":0}', {"invalid"}),
    ('{"type":"leave","conversation":"' + "x" * 3_000 + '"}', {"invalid", "too_long", "not_a_member"}),
    ('{"type":"send","conversation":"no-such","id":"a","text":"hello"}', {"not_a_member"}),
    ('{"type":"history","conversation":"no-such"}', {"not_a_member"}),
    ('{"type":"typing","conversation":"no-such"}', {"not_a_member"}),
    ('{"type":"second_look","message":"no-such"}', {"not_a_member", "invalid"}),
]


@everywhere
async def test_a_bad_frame_gets_an_error_and_the_line_lives(stage: Stage) -> None:
    """Every bad frame, a few at a time on one line: no flood, for each goes with a good one."""
    pupil, mentor, c = await stage.pair()
    for raw, codes in BAD_FRAMES:
        since = pupil.mark()
        try:
            await pupil.raw(raw.replace("%s", c))
        except Refused as error:  # a body that is not JSON at all may be refused by HTTP itself
            assert "malformed" in codes, raw[:60]
            assert error.code in {"400", "422"}, raw[:60]
        else:
            frame = await pupil.wait("error", since=since)
            assert frame["code"] in codes & CODES, f"{raw[:60]}: {frame['code']}"
            assert isinstance(frame["detail"], str)
        await pupil.call("ping")
        await asyncio.sleep(0.02)  # apart, as by mistake: many at once are a flood
    ack = await told(pupil, "sorry about that, my phone was being odd", c)
    await mentor.wait("message", conversation=c, message=ack["message"])
    assert mentor.up


@pytest.mark.parametrize("field", ["verdict", "role", "seq", "from", "at", "status", "sender"])
async def test_a_servers_own_field_is_refused(stage: Stage, field: str) -> None:
    pupil, mentor, c = await stage.pair()
    fields = {"conversation": c, "id": "mine", "text": "hello there", field: "deliver"}
    assert (await refusal(pupil, "send", **fields)).code == "invalid"
    await mentor.history(c)
    assert not mentor.seen("message")


@everywhere
async def test_what_answers_a_frame_carries_its_ref(stage: Stage) -> None:
    pupil, _, c = await stage.pair()
    ref = "é" * 64
    for frame, type in (
        ({"type": "ping"}, "done"),
        ({"type": "send", "conversation": c, "id": "r1", "text": "hello, is this on"}, "ack"),
        ({"type": "history", "conversation": c}, "history_end"),
        ({"type": "send", "conversation": c, "id": "r2", "text": " "}, "error"),
        ({"type": "nope"}, "error"),
        ({"type": "flag", "conversation": c, "urgency": "concern", "note": None}, "done"),
    ):
        since = pupil.mark()
        await pupil.raw(json.dumps({**frame, "ref": ref}))
        answer = await pupil.wait(type, since=since, ref=ref)
        if type == "done":
            assert answer["for"] == frame["type"]
    ref_less = pupil.mark()
    await pupil.raw('{"type":"ping"}')
    assert "ref" not in await pupil.wait("done", since=ref_less)


@pytest.mark.parametrize(
    ("role", "frame"),
    [
        ("pupils", {"type": "duty", "on": True}),
        ("pupils", {"type": "shift", "on": True, "capacity": 1}),
        ("pupils", {"type": "break", "on": True}),
        ("mentors", {"type": "ask", "topics": []}),
        ("mentors", {"type": "cancel"}),
        ("mentors", {"type": "duty", "on": True}),
        ("moderators", {"type": "ask", "topics": []}),
        ("moderators", {"type": "shift", "on": True}),
        ("adults", {"type": "ask", "topics": []}),
        ("adults", {"type": "shift", "on": True}),
        ("coordinators", {"type": "ask", "topics": []}),
        ("coordinators", {"type": "duty", "on": True}),
    ],
)
async def test_a_frame_of_another_role_is_forbidden(
    stage: Stage, role: str, frame: dict[str, object]
) -> None:
    client = await stage.client(await stage.session(role, 1))
    fields = {name: value for name, value in frame.items() if name != "type"}
    assert (await refusal(client, str(frame["type"]), **fields)).code == "forbidden"
    await client.call("ping")


@everywhere
async def test_what_is_not_ones_own_does_not_exist(stage: Stage) -> None:
    """A stranger's conversation and one that never was get the same answer, for every frame."""
    pupil, mentor, c = await stage.pair()
    ack = await told(pupil, "hello, good to meet you today", c)
    stranger = await stage.pupil()
    for type, fields in (
        ("send", {"id": "x", "text": "hello there"}),
        ("history", {"after": 0, "limit": 10}),
        ("flag", {"urgency": "concern", "note": "x"}),
        ("report", {"message": ack["message"], "reason": "unkind"}),
        ("block", {}),
        ("leave", {}),
    ):
        real = await refusal(stranger, type, conversation=c, **fields)
        none = await refusal(stranger, type, conversation="0" * len(c), **fields)
        assert (real.code, none.code) == ("not_a_member", "not_a_member"), type
        assert str(real) == str(none)
    await told(mentor, "good to meet you too", c)
    assert not stranger.seen("message|joined|typing|ended")


async def test_typing_is_shown_to_the_partner_alone(stage: Stage) -> None:
    pupil, mentor, c = await stage.pair()
    await pupil.tell("typing", conversation=c)
    shown = await mentor.wait("typing", conversation=c)
    assert shown["from"]["role"] == "pupil"
    await pupil.call("ping")
    assert not pupil.seen("typing")


@everywhere
async def test_a_flood_of_bad_frames_closes_the_line(stage: Stage) -> None:
    pupil, mentor, c = await stage.pair()
    with contextlib.suppress(Exception):  # the line closes under it: how the sender hears of it is open
        for i in range(2_000):
            await pupil.raw('{"type":"nope"}')
            if i % 50 == 0:
                await asyncio.sleep(0)
            if not pupil.up:
                break
    assert await pupil.gone() == 4103
    await mentor.call("ping")
    await pupil.open()
    await told(pupil, "back again, sorry", c)


def padded(size: int) -> str:
    """Return a ping of this many bytes."""
    return '{"type":"ping"' + " " * (size - 15) + "}"


@everywhere
async def test_a_frame_may_have_16_kib(stage: Stage) -> None:
    pupil = await stage.pupil()
    since = pupil.mark()
    await pupil.raw(padded(KIB16))
    await pupil.wait("done", since=since)


async def test_a_larger_frame_closes_the_socket(stage: Stage) -> None:
    pupil, mentor, _ = await stage.pair()
    await pupil.raw(padded(KIB16 + 1))
    assert await pupil.gone() in {4103, 1009}  # 1009 is the websocket protocol's own word for it
    await mentor.call("ping")


async def test_a_larger_frame_is_not_taken_by_http(stage: Stage) -> None:
    """One frame too large closes the line as it closes a socket; a body far too large is not even read."""
    session = await stage.session("pupils")
    path = "/api/frames?line=abcdefgh1234"
    after = (await stage.server.call("GET", path, token=session.token)).json()["next"]
    answer = await stage.server.call("POST", path, token=session.token, raw=padded(KIB16 + 1).encode())
    if answer.status == 202:
        closed = (await stage.server.call("GET", f"{path}&after={after}", token=session.token)).json()
        assert closed["closed"] == 4103
        assert not any(f["type"] == "done" for f in closed["items"])
    else:
        problem(answer, 413)
    answer = await stage.server.call("POST", path, token=session.token, raw=padded(5_000_000).encode())
    problem(answer, 413)


@pytest.mark.parametrize("payload", [b"\x00\x01", b'{"type":"ping"}', b""])
async def test_a_binary_frame_closes_the_socket(stage: Stage, payload: bytes) -> None:
    pupil: Client = await stage.pupil()
    await pupil._line._socket.send(payload)  # type: ignore[union-attr]
    assert await pupil.gone() == 4103
