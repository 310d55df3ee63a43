"""Signing in and out: codes, pins, cookies, limits on failures (rule 14)."""

import asyncio
import http.cookies
import itertools
import math
import statistics
import time
from collections.abc import Callable

import pytest

from tests.support.server import DemoServer
from tests.support.stage import SIGNED_IN, Stage, everywhere, problem, told
from web.client import Client, LineClosed, Server, Session, Transport
from web.http_client import Response

OPTIONS = ("--pupils", "40", "--mentors", "24", "--moderators", "2")  # some choose pins: no pupil comes twice
LOOK_ALIKES = ("0O", "1IL", "5S", "2Z", "8B")
ROLES = {
    "pupils": "pupil",
    "mentors": "mentor",
    "moderators": "moderator",
    "adults": "adult",
    "coordinators": "coordinator",
}


async def sign_in(server: Server, body: object) -> Response:
    return await server.call("POST", "/api/session", json=body)


async def fresh(stage: Stage, role: str) -> tuple[dict[str, str], Session]:
    """Return a member's credentials and a session that no other test uses."""
    _, who = stage.credentials(role)
    return who, await stage.server.sign_in(who)


@pytest.mark.parametrize("role", ROLES)
async def test_the_answer_says_who_one_is(stage: Stage, role: str) -> None:
    _, who = stage.credentials(role)
    answer = await sign_in(stage.server, who)
    assert answer.status == 200
    document = answer.json()
    assert set(document) >= {"token", "csrf", "member"}
    member = document["member"]
    assert set(member) >= {"id", "role", "alias", "site"}
    assert member["role"] == ROLES[role]
    if role == "pupils":
        assert member["alias"] is None
    assert answer.headers["cache-control"] == "no-store"


def test_codes_are_strong_and_easy_to_copy(demo: DemoServer) -> None:
    codes = [who["code"].replace("-", "") for who in demo.credentials["pupils"]]
    alphabet = set("".join(codes))
    assert all(len(code) * math.log2(len(alphabet)) >= 50 for code in codes)
    assert len(set(codes)) == len(codes)
    for alike in LOOK_ALIKES:
        assert len(alphabet & set(alike)) <= 1, f"{alike} cannot be told apart on a printed card"


async def test_a_code_is_the_same_without_hyphens_and_in_any_case(stage: Stage) -> None:
    _, who = stage.credentials("pupils")
    bare = who["code"].replace("-", "")
    mixed = "".join(ch.lower() if i % 2 else ch.upper() for i, ch in enumerate(bare))
    members = set()
    for code in (who["code"], bare, bare.lower(), mixed, "-".join(bare), f"-{bare}-"):
        answer = await sign_in(stage.server, {"code": code})
        assert answer.status == 200
        members.add(answer.json()["member"]["id"])
    assert len(members) == 1


async def test_a_pin_once_chosen_is_asked_for(stage: Stage) -> None:
    who, session = await fresh(stage, "pupils")
    answer = await stage.server.call("PUT", "/api/pin", token=session.token, json={"pin": "4821"})
    assert 200 <= answer.status < 300
    unknown = await sign_in(stage.server, {"code": "AAAA-AAAA-AAAA"})
    for body in ({**who}, {**who, "pin": "1284"}, {**who, "pin": ""}):
        answer = await sign_in(stage.server, body)
        assert (answer.status, answer.body) == (401, unknown.body)
    assert (await sign_in(stage.server, {**who, "pin": "4821"})).status == 200


async def test_only_a_pupil_chooses_a_pin(stage: Stage) -> None:
    session = await stage.session("mentors")
    answer = await stage.server.call("PUT", "/api/pin", token=session.token, json={"pin": "4821"})
    assert answer.status in {403, 404}


async def test_wrong_credentials_get_one_same_answer(stage: Stage) -> None:
    _, mentor = stage.credentials("mentors")
    _, pupil = stage.credentials("pupils")
    bodies = [
        {"code": "AAAA-BBBB-CCCC"},
        {"code": pupil["code"][:-1]},
        {"username": mentor["username"], "password": "wrong"},
        {"username": "nobody-of-this-name", "password": mentor["password"]},
        {"username": mentor["username"], "password": ""},
    ]
    answers = [await sign_in(stage.server, body) for body in bodies]
    problem(answers[0], 401)
    assert len({(a.status, a.body, a.headers["content-type"]) for a in answers}) == 1
    assert not any("set-cookie" in a.headers for a in answers)


async def test_an_unknown_name_takes_as_long_as_a_wrong_password(stage: Stage) -> None:
    async def seconds(username: str) -> float:
        started = time.perf_counter()
        await sign_in(stage.server, {"username": username, "password": "wrong"})
        return time.perf_counter() - started

    known, unknown = [], []
    for i in range(4):
        known.append(await seconds(stage.credentials("mentors")[1]["username"]))
        unknown.append(await seconds(f"nobody-of-this-name-{i}"))
    ratio = statistics.median(unknown) / statistics.median(known)
    assert 1 / 3 < ratio < 3, f"an unknown name takes {ratio:.2f} of the time of a known one"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"code": 5}',
        b'{"code": null}',
        b"{}",
        b'{"username": "x"}',
        b'{"username": ["x"], "password": {}}',
        b'{"code": "\\ud800"}',
        b'{"code": "\\u0000"}',
        b'{"code": "' + b"A" * 100_000 + b'"}',
        b"\xff\xfe",
        b"[" * 20_000,
    ],
)
async def test_a_bad_body_is_refused_and_harms_nothing(stage: Stage, body: bytes) -> None:
    answer = await stage.server.call("POST", "/api/session", raw=body)
    assert answer.status in {400, 401, 413, 422}
    problem(answer, answer.status)


def cookies_of(answer: Response) -> dict[str, http.cookies.Morsel[str]]:
    jar = http.cookies.SimpleCookie()
    for line in answer.every("set-cookie"):
        jar.load(line)
    return dict(jar)


def cookie_of(answer: Response) -> http.cookies.Morsel[str]:
    """Return the cookie that holds the token."""
    token = answer.json()["token"]
    (morsel,) = (morsel for morsel in cookies_of(answer).values() if morsel.value == token)
    return morsel


@pytest.mark.parametrize("role", ["pupils", "moderators"])
async def test_cookies_are_kept_from_scripts_and_other_sites(stage: Stage, role: str) -> None:
    answer = await sign_in(stage.server, stage.credentials(role)[1])
    morsel = cookie_of(answer)
    assert morsel["path"] == "/"
    assert len(morsel.value) >= 32
    assert not morsel["max-age"], "gone with the browser, unless asked for"
    for morsel in cookies_of(answer).values():
        assert morsel["httponly"]
        assert morsel["samesite"].lower() == "strict"
        assert not morsel["domain"]
        assert not morsel["secure"], "on loopback the page is http"


async def test_a_call_by_cookie_that_changes_something_needs_the_csrf_token(stage: Stage) -> None:
    _, who = stage.credentials("pupils")
    answer = await sign_in(stage.server, who)
    morsel, csrf = cookie_of(answer), answer.json()["csrf"]

    async def put(**headers: str) -> int:
        answer = await stage.server.http.request(
            "PUT",
            "/api/pin",
            headers={"Cookie": f"{morsel.key}={morsel.value}", "Content-Type": "application/json", **headers},
            body=b'{"pin": "4821"}',
        )
        return answer.status

    other = (await sign_in(stage.server, stage.credentials("pupils")[1])).json()["csrf"]
    assert await put() == 403
    assert await put(**{"X-CSRF-Token": ""}) == 403
    assert await put(**{"X-CSRF-Token": other}) == 403
    assert await put(**{"X-CSRF-Token": csrf, "Origin": "https://evil.example"}) == 403
    assert await put(**{"X-CSRF-Token": csrf, "Origin": "null"}) == 403
    assert 200 <= await put(**{"X-CSRF-Token": csrf}) < 300
    assert 200 <= await put(**{"X-CSRF-Token": csrf, "Origin": stage.server.url}) < 300


async def test_reading_by_cookie_needs_no_csrf_token(stage: Stage) -> None:
    morsel = cookie_of(await sign_in(stage.server, stage.credentials("moderators", 0)[1]))
    answer = await stage.server.http.request(
        "GET", "/api/review", headers={"Cookie": f"{morsel.key}={morsel.value}"}
    )
    assert answer.status == 200


@pytest.mark.parametrize("value", ["x" * 8_000, "%00", "\xff" * 40, '"', "A" * 43])
async def test_a_cookie_that_is_no_token_is_not_signed_in(stage: Stage, value: str) -> None:
    name = cookie_of(await sign_in(stage.server, stage.credentials("pupils")[1])).key
    answer = await stage.server.http.request("GET", "/api/alerts", headers={"Cookie": f"{name}={value}"})
    assert answer.status in {400, 401, 431}
    answer = await stage.server.http.request(
        "GET", "/api/alerts", headers={"Authorization": f"Bearer {value}"}
    )
    assert answer.status in {400, 401, 431}


async def test_a_token_in_the_address_is_not_taken(stage: Stage) -> None:
    session = await stage.session("adults", 0)
    for name in ("token", "access_token", "session"):
        answer = await stage.server.call("GET", f"/api/alerts?{name}={session.token}")
        problem(answer, 401)


@everywhere
async def test_rule_14_signing_out_closes_this_tokens_lines_at_once(stage: Stage) -> None:
    """Rule 14: within 2 s the line is closed with 4100; nothing by the token is accepted afterwards."""
    who, session = await fresh(stage, "pupils")
    first, second = await stage.client(session), await stage.client(session)
    other = await stage.client(await stage.server.sign_in(who))
    pair = await stage.pair(pupil=first)
    started = time.perf_counter()
    answer = await stage.server.call("DELETE", "/api/session", token=session.token)
    assert answer.status in {200, 204}
    assert [await first.gone(), await second.gone()] == [4100, 4100]
    assert time.perf_counter() - started < 2
    ack = await told(pair.mentor, "are you still there? no hurry at all", pair.c)
    await other.wait("message", conversation=pair.c, message=ack["message"])
    assert not first.seen("message") + second.seen("message")
    frame = {"type": "send", "conversation": pair.c, "id": "late", "text": "hello from nobody"}
    answer = await stage.server.call("POST", "/api/frames?line=abcdefgh1234", token=session.token, json=frame)
    problem(answer, 401)
    problem(await stage.server.call("GET", SIGNED_IN, token=session.token), 401)
    with pytest.raises(LineClosed):
        await first.open()
    assert other.up


@everywhere
async def test_signing_out_everywhere_ends_every_token_of_the_member(stage: Stage) -> None:
    """Rule 14, for `?all=1`."""
    who, session = await fresh(stage, "pupils")
    another = await stage.server.sign_in(who)
    lines = [await stage.client(session), await stage.client(another)]
    bystander = await stage.pupil()
    started = time.perf_counter()
    await stage.server.call("DELETE", "/api/session?all=1", token=session.token)
    assert [await line.gone() for line in lines] == [4100, 4100]
    assert time.perf_counter() - started < 2
    for token in (session.token, another.token):
        problem(await stage.server.call("GET", SIGNED_IN, token=token), 401)
    await bystander.call("ping")
    assert (await sign_in(stage.server, who)).status == 200


async def test_failures_on_one_account_are_limited_and_harm_no_other(stage: Stage) -> None:
    _, who = stage.credentials("mentors", 20)
    _, other = stage.credentials("mentors", 21)
    for _ in range(40):
        answer = await sign_in(stage.server, {"username": who["username"], "password": "wrong"})
        if answer.status == 429:
            break
        assert answer.status == 401
    problem(answer, 429)
    assert answer.retry_after_s
    assert answer.retry_after_s > 0
    assert (await sign_in(stage.server, other)).status == 200
    assert (await sign_in(stage.server, stage.credentials("pupils")[1])).status == 200


async def test_success_is_not_limited(stage: Stage) -> None:
    _, who = stage.credentials("mentors", 22)
    statuses = {(await sign_in(stage.server, who)).status for _ in range(25)}
    assert statuses == {200}


async def test_failures_from_one_address_are_limited_from_a_hundred_on(
    own_demo: Callable[..., DemoServer],
) -> None:
    demo = own_demo()
    async with Server(demo.url) as server:
        letters = "ACDEFGHJKMNPQRTUVWXY"
        codes = ("".join(x) for x in itertools.product(letters, repeat=3))
        answers = []
        for code in itertools.islice(codes, 160):
            answers.append(await sign_in(server, {"code": f"{code}A-AAAA-AAAA"}))
            if answers[-1].status == 429:
                break
        assert [a.status for a in answers[:-1]] == [401] * (len(answers) - 1)
        assert 99 <= len(answers) <= 110, "the limit of an address is 100 failures in 5 minutes"
        problem(answers[-1], 429)
        assert answers[-1].retry_after_s


async def test_a_school_is_one_address(own_demo: Callable[..., DemoServer]) -> None:
    """300 pupils behind one address sign in within a minute, and each opens a line."""
    demo = own_demo("--pupils", "300")
    people = demo.credentials["pupils"]
    assert len(people) == 300
    async with Server(demo.url) as server:
        started = time.perf_counter()
        gate = asyncio.Semaphore(10)

        async def arrive(who: dict[str, str]) -> Client:
            async with gate:
                client = Client(server, await server.sign_in(who), transport=Transport.WS)
                await client.open()
                return client

        clients = await asyncio.gather(*(arrive(who) for who in people))
        assert time.perf_counter() - started < 60
        assert len({client.session.member for client in clients}) == 300
        await asyncio.gather(*(client.call("ping") for client in clients))
        await asyncio.gather(*(client.close() for client in clients))
