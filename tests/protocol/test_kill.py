"""kill -9 under load, and again: what was acked is there, once, in order (rules 1, 3, 4, 5, 8, 14)."""

import asyncio
import itertools
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.server import DemoServer
from tests.support.stage import (
    SIGNED_IN,
    WAIT_S,
    Lent,
    Pair,
    Stage,
    claim,
    decide,
    held,
    items,
    problem,
    review_item,
    told,
)
from web.client import Client, Frame, LineClosed, NoAnswer, Transport
from web.http_client import HttpFailed

PLAIN = ("maths", "history", "biology", "french", "physics", "art", "music", "drama", "chess", "baking")


@dataclass
class Ledger:
    """What was acked, by message, and what was under way when the line went."""

    acked: dict[str, tuple[int, str]] = field(default_factory=dict)
    under_way: list[tuple[Client, str, str]] = field(default_factory=list)
    numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    def text(self) -> str:
        n = next(self.numbers)
        a, b, c, d = (PLAIN[n // 10**k % 10] for k in range(4))
        return f"this week I practised {a} and {b}, and next week maybe {c} or {d}"

    def note(self, ack: Frame, text: str) -> None:
        assert ack["status"] == "delivered"
        known = self.acked.setdefault(ack["message"], (ack["seq"], text))
        assert known == (ack["seq"], text), "a message got another seq"


async def talk(client: Client, c: str, ledger: Ledger) -> None:
    """Send without pause until the line goes."""
    while True:
        id, text = secrets.token_hex(8), ledger.text()
        try:
            ledger.note(await client.send(c, text, id=id), text)
        except (LineClosed, NoAnswer, HttpFailed):
            ledger.under_way.append((client, id, text))
            return


async def audit(pair: Pair, ledger: Ledger) -> None:
    """Both have the same history, without gaps or doubles; what was acked, or pushed, is in it."""
    histories = [await client.history(pair.c) for client in (pair.pupil, pair.mentor)]
    rows = [[(f["seq"], f["message"], f["text"]) for f in history] for history in histories]
    assert rows[0] == rows[1]
    seqs = [seq for seq, _, _ in rows[0]]
    assert seqs == list(range(1, len(seqs) + 1))
    texts = [text for _, _, text in rows[0]]
    assert len(texts) == len(set(texts)), "a message is there twice"
    there = {message: (seq, text) for seq, message, text in rows[0]}
    lost = [m for m, known in ledger.acked.items() if there.get(m) != known]
    assert not lost, f"{len(lost)} of {len(ledger.acked)} acked messages are lost or moved"
    for client in (pair.pupil, pair.mentor):
        for frame in client.seen("message", conversation=pair.c):
            assert there.get(frame["message"]) == (frame["seq"], frame["text"]), (
                "delivered before it was durable"
            )


@pytest.mark.timeout(180)  # three starts
@pytest.mark.parametrize("transport", [Transport.WS, Transport.POLL])
async def test_rules_1_3_4_5_nothing_acked_is_lost_or_doubled(
    own_demo: Callable[..., DemoServer], transport: Transport
) -> None:
    """Rules 1, 3, 4 and 5: two kills under load from both sides; ids sent again stay one message."""
    demo = own_demo("--unlimited")
    stage = Stage(demo, Lent(), demo.url, transport)
    try:
        pair = await stage.pair()
        ledger = Ledger()
        for _ in range(2):
            before = len(ledger.acked)
            talking = [
                asyncio.create_task(talk(client, pair.c, ledger))
                for client in (pair.pupil, pair.mentor)
                for _ in range(4)
            ]
            while len(ledger.acked) < before + 60 and not all(t.done() for t in talking):
                await asyncio.wait(talking, timeout=0.02)
            await asyncio.to_thread(demo.kill)
            await asyncio.gather(*talking)
            assert len(ledger.acked) >= before + 60
            await asyncio.to_thread(demo.start)
            for client in (pair.pupil, pair.mentor):
                welcome = await client.open()  # by the token from before
                assert [view["conversation"] for view in welcome["conversations"]] == [pair.c]
            sent, ledger.under_way = ledger.under_way, []
            for client, id, text in sent:
                ack = await client.send(pair.c, text, id=id)
                if ack["status"] == "held":  # sent while the site still waited for its adult
                    assert ack["reason"] == "paused"
                    ack = await client.wait("decided", message=ack["message"], timeout_s=WAIT_S)
                ledger.note(ack, text)
            await audit(pair, ledger)
        assert demo.audit()[0] == 0, "the audit chain broke"
        for client in (pair.pupil, pair.mentor):
            seqs = [f["seq"] for f in client.seen("message", conversation=pair.c) if not f.get("replay")]
            assert seqs == sorted(set(seqs)), "pushed twice or out of order"
    finally:
        await stage.close()


@pytest.mark.timeout(180)  # two starts
async def test_rules_8_and_14_what_was_answered_survives(own_demo: Callable[..., DemoServer]) -> None:
    """Rules 8, 14, 19: a flag, a report, a held message, a decision and a sign-out outlive the process."""
    demo = own_demo("--pupils", "3", "--moderators", "1")
    stage = Stage(demo, Lent(), demo.url, Transport.WS)
    try:
        adult, moderator = await stage.adult(), await stage.moderator()
        pair = await stage.pair()
        first = await told(pair.mentor, "how was your week", pair.c)
        waits, _ = await held(pair.pupil, pair.c, "waits")
        decided, text = await held(pair.pupil, pair.c, "decided")
        item = await review_item(moderator, decided["message"])
        await claim(moderator, item)
        gone = await stage.server.sign_in(stage.credentials("pupils", 2)[1])
        flagged, signed_out, released, reported = await asyncio.gather(
            pair.mentor.call("flag", conversation=pair.c, urgency="emergency", note="please"),
            stage.server.call("DELETE", "/api/session", token=gone.token),
            decide(moderator, item, "release"),
            pair.pupil.call(
                "report", conversation=pair.c, message=first["message"], reason="other", note="hm"
            ),
        )
        assert (signed_out.status in {200, 204}, released.status) == (True, 200)
        assert reported["for"] == "report"
        await asyncio.to_thread(demo.kill)
        await asyncio.to_thread(demo.start)
        for client in (adult, moderator, pair.pupil, pair.mentor):
            await client.open()
        problem(await stage.server.call("GET", SIGNED_IN, token=gone.token), 401)
        (alert,) = [a for a in await items(adult, "/api/alerts") if a["id"] == flagged["alert"]]
        assert (alert["risk"], alert["state"] != "closed") == ("immediate", True)
        assert alert["next_due_at"]
        assert (await review_item(moderator, waits["message"]))["state"] != "decided"
        assert (await review_item(moderator, first["message"]))["state"] != "decided"
        problem(await decide(moderator, item, "withhold"), 409)
        history = await pair.mentor.history(pair.c)
        assert [f["message"] for f in history] == [first["message"], decided["message"]]
        assert history[-1]["text"] == text
        own = await pair.pupil.wait("own", since=0, message=waits["message"])
        assert own["status"] == "held"
    finally:
        await stage.close()


@pytest.mark.timeout(180)  # two starts and a refused one
async def test_one_folder_has_one_server(own_demo: Callable[..., DemoServer], tmp_path: Path) -> None:
    """A second one says why it does not start and changes nothing; after a crash the next one starts."""
    demo = own_demo()
    second = DemoServer(tmp_path / "second")
    second.data = demo.data
    second.folder.mkdir()
    with pytest.raises(AssertionError, match="the demo ended with 1") as refused:
        await asyncio.to_thread(second.start)
    assert f"another server works on {demo.data}" in " ".join(str(refused.value).split())
    assert demo.ready()
    await asyncio.to_thread(demo.kill)
    await asyncio.to_thread(demo.start)
    assert demo.ready()


async def test_it_stops_politely(own_demo: Callable[..., DemoServer]) -> None:
    """SIGTERM: lines are closed with 4000, the status is 0, and it continues afterwards."""
    demo = own_demo()
    stage = Stage(demo, Lent(), demo.url, Transport.WS)
    try:
        pair = await stage.pair()
        ack = await told(pair.pupil, "hello, good to meet you", pair.c)
        status = await asyncio.to_thread(demo.stop)
        assert [await client.gone() for client in (pair.pupil, pair.mentor)] == [4000, 4000]
        assert status == 0
        await asyncio.to_thread(demo.start)
        for client in (pair.pupil, pair.mentor):
            await client.open()
            assert [f["message"] for f in await client.history(pair.c)] == [ack["message"]]
    finally:
        await stage.close()
