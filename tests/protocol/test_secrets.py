"""What people wrote, and what opens their sessions, lies nowhere in plain: not on disk, not in any output."""

import secrets
from collections.abc import Callable
from pathlib import Path

from tests.support.canary import files_that_hold
from tests.support.server import DemoServer
from tests.support.stage import (
    DISCLOSURES,
    INSULTS,
    Lent,
    Stage,
    claim,
    decide,
    held,
    review_item,
    told,
)
from web.client import Refused, Transport

LETTERS = "bcdfghklmnprstvw"


def word() -> str:
    """Return a word that is nowhere else; letters only, so that no rule takes it for a number."""
    return "".join(secrets.choice(LETTERS) + secrets.choice("aeiou") for _ in range(8))


def test_the_search_finds_what_is_there(tmp_path: Path) -> None:
    """The search itself: a text in each coding is found, another one is not."""
    for name, content in {
        "plain": b"xx the canary sings xx",
        "wide": "the canary sings".encode("utf-16-le"),
        "hex": b"the canary sings".hex().encode(),
        "base64": b"eHRoZSBjYW5hcnkgc2luZ3M=",
    }.items():
        (tmp_path / name).write_bytes(content)
    found = files_that_hold(tmp_path, ["the canary sings", "the canary sleeps"])
    assert found == [(name, "the canary sings") for name in ("base64", "hex", "plain", "wide")]


async def test_no_text_lies_in_plain_on_disk_in_logs_or_in_metrics(
    own_demo: Callable[..., DemoServer],
) -> None:
    """Delivered, held, blocked, withheld, refused text; notes of members and of staff; with the WAL there."""
    demo = own_demo("--pupils", "4", "--mentors", "4")
    canaries: dict[str, str] = {}

    def canary(name: str) -> str:
        canaries[name] = word()
        return canaries[name]

    stage = Stage(demo, Lent(), demo.url, Transport.WS)
    try:
        adult, moderator = await stage.adult(), await stage.moderator()
        pair = await stage.pair()
        await told(pair.pupil, f"my cat is called {canary('delivered')} and is very soft", pair.c)
        ack, _ = await held(pair.pupil, pair.c, canary("withheld"))
        item = await review_item(moderator, ack["message"])
        await claim(moderator, item)
        body = {"decision": "withhold", "reason": "unkind", "note": canary("decision note")}
        assert (await moderator.http("POST", f"/api/review/{item['id']}/decide", body)).status == 200
        ack, _ = await held(pair.pupil, pair.c, canary("released"))
        item = await review_item(moderator, ack["message"])
        await claim(moderator, item)
        assert (await decide(moderator, item, "release")).status == 200
        await held(pair.pupil, pair.c, canary("held"))
        await pair.pupil.send(pair.c, f"ring me on 07700 900123, says {canary('contact')}")
        await pair.pupil.send(pair.c, f"{DISCLOSURES[0]} {canary('disclosure')}")
        await pair.mentor.send(pair.c, f"{INSULTS[1]} {canary('mentor')}")
        for id, text in (("c", canary("too long") * 400), ("d", canary("with a NUL") + "\x00")):
            try:
                await pair.pupil.send(pair.c, text, id=id)
            except Refused as error:
                assert error.code in {"too_long", "invalid"}
        await pair.pupil.raw(f'{{"type":"send","nonsense":"{canary("bad frame")}"}}')
        await pair.pupil.raw(f'{{"type":"{canary("bad type")}"}}')
        await pair.pupil.raw(f'{{"{canary("broken")}')
        done = await pair.mentor.call(
            "flag", conversation=pair.c, urgency="emergency", note=f"flag {canary('flag')}"
        )
        first = (await pair.mentor.history(pair.c))[0]["message"]
        await pair.mentor.call(
            "report", conversation=pair.c, message=first, reason="other", note=f"report {canary('report')}"
        )
        other = await stage.pupil()
        await other.call("ask", topics=[], note=f"I would like to talk about {canary('ask')}")
        path = f"/api/alerts/{done['alert']}"
        assert (await adult.http("POST", f"{path}/acknowledge", {})).status == 200
        await adult.http("POST", f"{path}/note", {"text": f"note {canary('case note')}"})
        body = {"action": "spoke with pupil", "note": f"act {canary('act note')}"}
        await adult.http("POST", f"{path}/act", body)
        closing = {
            "outcome": "safe, support agreed",
            "rationale": f"because {canary('rationale')}",
            "version": 0,
        }
        await adult.http("POST", f"{path}/close", closing)
        for client in (adult, moderator):
            await client.http(
                "GET",
                f"/api/conversations/{pair.c}?scope=whole&reason={canary('reason')}{client.session.role}",
            )
        await stage.server.call("GET", f"/api/{canary('path')}?q={canary('query')}", token=word())
        metrics = (await stage.server.call("GET", "/metrics")).body.decode()
        sessions = [client.session for client in stage.clients]
    finally:
        await stage.close()
    names = {text: name for name, text in canaries.items()}

    def found(folder: Path) -> set[tuple[str, str]]:
        return {(file, names[text]) for file, text in files_that_hold(folder, names)}

    database = [file for file in demo.data.rglob("*") if file.is_file()]
    assert any("wal" in file.name for file in database), "the write-ahead log is there to be searched"
    assert found(demo.data) == set()
    assert {name for text, name in names.items() if text in metrics} == set()
    assert {name for text, name in names.items() if text in demo.output()} - {"path"} == set()

    keys = {s.token: "token" for s in sessions} | {s.csrf: "csrf" for s in sessions}
    for role in ("pupils", "mentors", "moderators", "adults"):
        for who in demo.credentials[role]:
            for name in who.keys() & {"code", "password"}:
                keys[who[name]] = name
                keys[who[name].replace("-", "")] = name
    lying_about = {(file, keys[key]) for file, key in files_that_hold(demo.data, keys)}
    assert {row for row in lying_about if row[0] != "demo.json"} == set(), (
        "demo.json is the demo's own memory"
    )
    shown = (
        demo.output() + metrics
    )  # codes and passwords: what the demo itself tells the person who started it
    assert {name for key, name in keys.items() if key in shown} & {"token", "csrf"} == set()

    assert demo.stop() == 0
    assert found(demo.data) == set()
    assert demo.output(), "a server that prints nothing would pass this test by silence"


async def test_the_log_names_no_address_or_browser_of_a_pupil(own_demo: Callable[..., DemoServer]) -> None:
    demo = own_demo()
    agent = word()
    stage = Stage(demo, Lent(), demo.url, Transport.WS)
    try:
        body = f'{{"code": "{demo.credentials["pupils"][0]["code"]}"}}'.encode()
        answer = await stage.server.http.request(
            "POST",
            "/api/session",
            headers={
                "User-Agent": agent,
                "Content-Type": "application/json",
                "X-Forwarded-For": "192.0.2.77",
            },
            body=body,
        )
        assert answer.status == 200
    finally:
        await stage.close()
    demo.stop()
    assert files_that_hold(demo.data, [agent, "192.0.2.77"]) == []
    assert agent not in demo.output()
    assert "192.0.2.77" not in demo.output()
