"""Long polling, frame by frame: where networks refuse websockets."""

import asyncio
import secrets

import pytest

from tests.support.proxy import BufferingProxy
from tests.support.stage import Stage, meet, problem, told
from web.client import Client, Frame, Server, Transport
from web.http_client import Response

OPTIONS = ("--pupils", "40", "--mentors", "24", "--unlimited")


class Poller:
    """The bare requests of one line."""

    def __init__(self, stage: Stage, token: str) -> None:
        self.stage, self.token = stage, token
        self.line = secrets.token_hex(8)

    async def get(self, after: int | None = None) -> Response:
        path = f"/api/frames?line={self.line}" + ("" if after is None else f"&after={after}")
        return await self.stage.server.call("GET", path, token=self.token, timeout_s=40)

    async def post(self, frames: object) -> Response:
        return await self.stage.server.call(
            "POST", f"/api/frames?line={self.line}", token=self.token, json=frames
        )

    async def until(self, type: str, after: int) -> tuple[Frame, int]:
        """Poll until a frame of the type comes."""
        while True:
            document = (await self.get(after)).json()
            after = document["next"]
            for frame in document["items"]:
                if frame["type"] == type:
                    return frame, after


async def test_the_first_poll_opens_the_line_and_a_cursor_goes_on(stage: Stage) -> None:
    session = await stage.session("pupils")
    poller = Poller(stage, session.token)
    answer = await poller.get()
    assert answer.status == 200
    assert "no-store" in answer.headers["cache-control"]
    first = answer.json()
    assert set(first) == {"items", "next", "closed"}
    assert first["items"][0]["type"] == "welcome"
    assert first["closed"] is None
    answer = await poller.post({"type": "ping", "ref": "one"})
    assert answer.status == 202
    done, _ = await poller.until("done", first["next"])
    assert done["ref"] == "one"


async def test_a_poll_repeated_gives_the_same_frames(stage: Stage) -> None:
    """The answer may be lost on the way: `after` says what has been seen, and nothing is gone before."""
    session = await stage.session("pupils")
    poller = Poller(stage, session.token)
    start = (await poller.get()).json()["next"]
    await poller.post([{"type": "ping", "ref": f"p{i}"} for i in range(5)])
    _, _ = await poller.until("done", start)
    one, two = (await poller.get(start)).json(), (await poller.get(start)).json()
    refs = [f["ref"] for f in one["items"] if f["type"] == "done"]
    assert refs == [f"p{i}" for i in range(len(refs))]
    assert two["items"][: len(one["items"])] == one["items"]


async def test_frames_of_one_post_keep_their_order(stage: Stage) -> None:
    pupil, mentor, c = await stage.pair()
    poller = Poller(stage, pupil.session.token)
    await poller.get()
    texts = [f"thinking about {what}" for what in ("art", "chess", "music", "maths", "rivers")]
    frames = [
        {"type": "send", "conversation": c, "id": f"m{i}", "text": text} for i, text in enumerate(texts)
    ]
    assert (await poller.post(frames)).status == 202
    await mentor.wait("message", conversation=c, text=texts[-1])
    assert [f["text"] for f in mentor.seen("message")] == texts


async def test_a_poll_waits_and_is_answered_when_something_comes(stage: Stage) -> None:
    pupil, mentor, c = await stage.pair()
    poller = Poller(stage, pupil.session.token)
    after = (await poller.get()).json()["next"]
    polling = asyncio.create_task(poller.until("message", after))
    await pupil.call("ping")
    assert not polling.done()
    ack = await told(mentor, "here I am", c)
    frame, _ = await asyncio.wait_for(polling, 5)
    assert frame["message"] == ack["message"]


@pytest.mark.parametrize("line", ["x" * 33, "has-hyphens-in-it", "has%20spaces%20in", "na%C3%AFve000"])
async def test_a_line_has_a_name_of_up_to_32_letters_and_digits(stage: Stage, line: str) -> None:
    session = await stage.session("pupils")
    path = f"/api/frames?line={line}"
    for method in ("GET", "POST"):
        answer = await stage.server.call(method, path, token=session.token, json={"type": "ping"})
        assert answer.status in {400, 404, 422}
        problem(answer, answer.status)


@pytest.mark.parametrize("after", ["-1", "x", "1e3", "99999999999999999999", ""])
async def test_a_cursor_is_a_number(stage: Stage, after: str) -> None:
    session = await stage.session("pupils")
    poller = Poller(stage, session.token)
    await poller.get()
    answer = await stage.server.call(
        "GET", f"/api/frames?line={poller.line}&after={after}", token=session.token
    )
    assert answer.status in {400, 422} or (answer.status == 200 and answer.json()["items"])


async def test_a_line_is_its_members_alone(stage: Stage) -> None:
    """Another member with the same name of a line has a line of its own."""
    pupil, mentor, c = await stage.pair()
    theirs = Poller(stage, pupil.session.token)
    after = (await theirs.get()).json()["next"]
    stranger = Poller(stage, (await stage.session("pupils")).token)
    stranger.line = theirs.line
    answer = await stranger.get(after)
    if answer.status == 200:
        document = answer.json()
        assert all(f["type"] != "message" for f in document["items"])
    ack = await told(mentor, "for you alone", c)
    frame, _ = await theirs.until("message", after)
    assert frame["message"] == ack["message"]


async def test_a_post_may_come_before_the_first_poll(stage: Stage) -> None:
    session = await stage.session("pupils")
    poller = Poller(stage, session.token)
    assert (await poller.post({"type": "ping", "ref": "early"})).status == 202
    first = (await poller.get()).json()
    assert first["items"][0]["type"] == "welcome"
    if not any(f["type"] == "done" for f in first["items"]):
        done, _ = await poller.until("done", first["next"])
        assert done["ref"] == "early"


async def test_a_post_by_cookie_needs_the_csrf_token(stage: Stage) -> None:
    answer = await stage.server.call("POST", "/api/session", json=stage.credentials("pupils")[1])
    cookie, csrf = answer.headers["set-cookie"].partition(";")[0], answer.json()["csrf"]
    path = "/api/frames?line=abcdefgh5678"
    opened = await stage.server.http.request("GET", path, headers={"Cookie": cookie})
    assert opened.status == 200
    headers = {"Cookie": cookie, "Content-Type": "application/json"}
    body = b'{"type":"ping"}'
    answer = await stage.server.http.request("POST", path, headers=headers, body=body)
    problem(answer, 403)
    answer = await stage.server.http.request(
        "POST", path, headers={**headers, "X-CSRF-Token": csrf}, body=body
    )
    assert answer.status == 202


async def test_a_client_falls_back_to_polling_by_itself(stage: Stage) -> None:
    """Behind a proxy that refuses upgrades `auto` polls, and talks to one on a websocket."""
    async with BufferingProxy(stage.demo.port) as proxy, Server(proxy.url) as server:
        client = Client(server, await stage.session("pupils"), transport=Transport.AUTO)
        try:
            await client.open()
            assert proxy.refused == 1
            mentor = await stage.mentor()
            pupil, mentor, c = await meet(client, mentor)
            ack = await told(pupil, "hello through the wall", c)
            await mentor.wait("message", message=ack["message"])
            ack = await told(mentor, "hello to the other side", c)
            await pupil.wait("message", message=ack["message"])
            await pupil.call("leave", conversation=c)
        finally:
            await client.close()


async def test_a_lost_answer_loses_no_frame(stage: Stage) -> None:
    """The proxy drops answers that the server has given: what was in them comes again, once."""
    async with BufferingProxy(stage.demo.port) as proxy, Server(proxy.url) as server:
        client = Client(server, await stage.session("pupils"), transport=Transport.POLL)
        try:
            await client.open()
            pupil, mentor, c = await meet(client, await stage.mentor())
            texts = [f"thinking about {what}" for what in ("art", "chess", "music", "maths", "rivers")]
            for text in texts:
                proxy.lose_answers(1)
                ack = await told(mentor, text, c)
                await pupil.wait("message", message=ack["message"])
            assert proxy.lost == len(texts)
            await pupil.history(c)
            pushed = [f["text"] for f in pupil.seen("message") if not f.get("replay")]
            assert pushed == texts
            await pupil.call("leave", conversation=c)
        finally:
            await client.close()


async def test_a_line_that_stops_polling_is_bounded(stage: Stage) -> None:
    """What it missed is told by a close or a gap it can see; the server keeps no endless list for it."""
    pupil, mentor, c = await stage.pair()
    poller = Poller(stage, pupil.session.token)
    after = (await poller.get()).json()["next"]
    for _ in range(3_000):
        await mentor.tell("typing", conversation=c)
    await mentor.call("ping")
    document = (await poller.get(after)).json()
    assert document["closed"] in {None, 4001}
    assert len(document["items"]) <= 2_500
