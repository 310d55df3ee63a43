"""Sending and receiving: order, identity of a message, texts, history (rules 3, 4, 5, 6)."""

import asyncio
import unicodedata

import pytest

from tests.support.stage import Stage, everywhere, refusal, told
from web.client import Client, Frame, Refused

OPTIONS = ("--pupils", "40", "--mentors", "40", "--unlimited")
PLAIN = ("maths", "history", "biology", "french", "physics", "art", "music", "drama", "chess", "baking")


def plain(n: int) -> str:
    """Return an innocent sentence, another one for each n below 1,000."""
    a, b, c = (PLAIN[n // 10**k % 10] for k in range(3))
    return f"this week I practised {a} and {b}, and next week maybe {c}"


def pushed(client: Client, c: str) -> list[Frame]:
    return [f for f in client.seen("message", conversation=c) if not f.get("replay")]


@everywhere
async def test_rules_3_and_5_delivered_text_arrives_once_in_order_unchanged(stage: Stage) -> None:
    """Rules 3 and 5: each ack has the next seq; the partner gets exactly these, in this order."""
    pupil, mentor, c = await stage.pair()
    acks = []
    for i in range(20):
        sender = (pupil, mentor)[i % 3 == 1]
        acks.append((sender, plain(i), await told(sender, plain(i), c)))
    first = acks[0][2]["seq"]
    assert [ack["seq"] for _, _, ack in acks] == list(range(first, first + 20))
    for client in (pupil, mentor):
        await client.history(c)
        wanted = [(ack["seq"], ack["message"], text) for who, text, ack in acks if who is not client]
        assert [(f["seq"], f["message"], f["text"]) for f in pushed(client, c)] == wanted
        partner = "mentor" if client is pupil else "pupil"
        alias = client.seen("paired")[0]["partner"]["alias"]
        assert {(f["from"]["role"], f["from"]["alias"]) for f in pushed(client, c)} == {(partner, alias)}
        assert all(f["at"].endswith(("Z", "+00:00")) for f in pushed(client, c))


@everywhere
async def test_rule_5_pipelined_sends_keep_their_order(stage: Stage) -> None:
    """Rule 5: many sends under way at once are delivered in the order in which they were sent."""
    pupil, mentor, c = await stage.pair()
    texts = [plain(i) for i in range(100, 160)]
    acks = await asyncio.gather(*(pupil.send(c, text) for text in texts))
    assert [ack["status"] for ack in acks] == ["delivered"] * 60
    assert [ack["seq"] for ack in acks] == sorted(ack["seq"] for ack in acks)
    await mentor.wait("message", conversation=c, message=acks[-1]["message"])
    assert [f["text"] for f in pushed(mentor, c)] == texts


@everywhere
async def test_rule_4_an_id_is_one_message(stage: Stage) -> None:
    """Rule 4: sent again, the same ack and no second message; with another text, a conflict."""
    pupil, mentor, c = await stage.pair()
    ack = await pupil.send(c, plain(1), id="mine-1")
    for _ in range(3):
        again = await pupil.send(c, plain(1), id="mine-1")
        assert {k: again.get(k) for k in ("id", "message", "status", "seq")} == {
            k: ack.get(k) for k in ("id", "message", "status", "seq")
        }
    assert (await refusal(pupil, "send", conversation=c, id="mine-1", text=plain(2))).code == "conflict"
    theirs = await mentor.send(c, plain(3), id="mine-1")
    assert theirs["message"] != ack["message"], "another member's id is another message"
    await mentor.history(c)
    assert [f["text"] for f in pushed(mentor, c)] == [plain(1)]


@everywhere
async def test_rule_4_the_same_id_on_two_lines_at_once_is_one_message(stage: Stage) -> None:
    """Rule 4, as a race: both lines get the same ack, the partner one message."""
    session = await stage.session("pupils")
    here, there = await stage.client(session), await stage.client(session)
    _, mentor, c = await stage.pair(pupil=here)
    for i in range(8):
        acks = await asyncio.gather(*(line.send(c, plain(i), id=f"race-{i}") for line in (here, there) * 3))
        assert len({(ack["message"], ack["seq"], ack["status"]) for ack in acks}) == 1
    texts = ["conflicting one way, said the cat", "conflicting another way, said the dog"]
    answers = await asyncio.gather(
        *(
            line.call("send", conversation=c, id="race-x", text=t)
            for line, t in zip((here, there), texts, strict=True)
        ),
        return_exceptions=True,
    )
    errors = [a for a in answers if isinstance(a, Refused)]
    assert [e.code for e in errors] == ["conflict"]
    await mentor.history(c)
    assert len(pushed(mentor, c)) == 9


@everywhere
async def test_rule_4_a_known_id_is_answered_first_even_when_it_is_over(stage: Stage) -> None:
    """Rule 4: before state and rate checks, with its present status."""
    pupil, mentor, c = await stage.pair()
    ack = await pupil.send(c, plain(1), id="before")
    await mentor.call("leave", conversation=c)
    await pupil.wait("ended|left", conversation=c)
    again = await pupil.send(c, plain(1), id="before")
    assert (again["message"], again["status"], again["seq"]) == (ack["message"], "delivered", ack["seq"])
    assert (await refusal(pupil, "send", conversation=c, id="before", text=plain(2))).code == "conflict"
    assert (await refusal(pupil, "send", conversation=c, id="after", text=plain(3))).code == "closed"


@everywhere
async def test_text_is_brought_to_nfc(stage: Stage) -> None:
    """Stored, compared and delivered so."""
    pupil, mentor, c = await stage.pair()
    composed = "the café on the corner was so noisy, naïve of me to revise there"
    decomposed = unicodedata.normalize("NFD", composed)
    assert decomposed != composed
    ack = await pupil.send(c, decomposed, id="nfd")
    assert ack["status"] == "delivered"
    live = await mentor.wait("message", conversation=c, message=ack["message"])
    assert live["text"] == composed
    assert [f["text"] for f in await mentor.history(c)] == [composed]
    assert (await pupil.send(c, composed, id="nfd"))["message"] == ack["message"]


@everywhere
@pytest.mark.parametrize(
    "text",
    [
        "line one\nline two\n\n\tand a tab",
        'quotes " and \\ backslashes \\u0041 and </script><b>tags</b> & such',
        "my gran said the café in Łódź is nice, and Zoë is naïve",
        "so happy with my results 🎉👩🏽‍🎓🏳️‍🌈 thank you",
        "  spaces at both ends stay  ",
        "%s %d {0} ${x} `ls`",
    ],
    ids=["lines", "markup", "accents", "emoji", "spaces", "formats"],
)
async def test_text_arrives_as_it_was_written(stage: Stage, text: str) -> None:
    pupil, mentor, c = await stage.pair()
    ack = await told(pupil, text, c)
    live = await mentor.wait("message", conversation=c, message=ack["message"])
    assert live["text"] == unicodedata.normalize("NFC", text)
    assert (await mentor.history(c))[-1]["text"] == live["text"]


LONG = "I went for a walk by the river today and it was calm. "


@everywhere
async def test_a_text_has_up_to_2000_code_points(stage: Stage) -> None:
    """Counted after NFC, in code points: not in bytes, not in UTF-16 units."""
    pupil, mentor, c = await stage.pair()
    longest = (LONG * 50)[:1_999] + "."
    ack = await told(pupil, longest, c)
    assert (await mentor.wait("message", message=ack["message"]))["text"] == longest
    assert (await refusal(pupil, "send", conversation=c, id="l1", text=longest + ".")).code == "too_long"
    astral = (LONG * 50)[:1_900] + "🎉" * 100
    assert (await pupil.send(c, astral, id="l2"))["message"]
    assert (await refusal(pupil, "send", conversation=c, id="l3", text=astral + "🎉")).code == "too_long"
    wide = unicodedata.normalize("NFD", (LONG.replace("a", "á") * 50)[:2_000])
    assert len(wide) > 2_000
    assert (await pupil.send(c, wide, id="l4"))["message"]
    await mentor.history(c)
    assert all(len(f["text"]) <= 2_000 for f in pushed(mentor, c))


@everywhere
@pytest.mark.parametrize(
    "text",
    ["", " ", "\n\t\r ", "\u00a0\u2003\u3000", "a\x00b", "\x00", "a\ud800b", "\udc00", "\ud83d"],
    ids=["empty", "space", "lines", "wide spaces", "NUL within", "NUL", "high", "low", "half an emoji"],
)
async def test_what_is_no_text_is_invalid(stage: Stage, text: str) -> None:
    pupil, mentor, c = await stage.pair()
    assert (await refusal(pupil, "send", conversation=c, id="bad", text=text)).code == "invalid"
    ack = await pupil.send(c, "this one is fine, I hope", id="bad")
    assert ack["status"] == "delivered", "what was refused was not stored under its id"
    await mentor.history(c)
    assert [f["message"] for f in pushed(mentor, c)] == [ack["message"]]


@everywhere
async def test_history_comes_in_pages(stage: Stage) -> None:
    """After a seq, exclusive, at most `limit`, one's own included; `more` and `last_seq` are true."""
    pupil, mentor, c = await stage.pair()
    acks = [await told((pupil, mentor)[i % 2], plain(i), c) for i in range(11)]
    seqs = [ack["seq"] for ack in acks]
    for client in (pupil, mentor):
        for limit in (200, 11, 10, 3, 1):
            assert [f["seq"] for f in await client.history(c, limit=limit)] == seqs
        since = client.mark()
        end = await client.call("history", conversation=c, after=seqs[3], limit=4)
        page = client.seen("message", since=since)
        assert [f["seq"] for f in page] == seqs[4:8]
        assert all(f["replay"] is True for f in page)
        assert (end["last_seq"], end["more"], end["reset"]) == (seqs[-1], True, False)
        end = await client.call("history", conversation=c, after=seqs[6], limit=4)
        assert (end["last_seq"], end["more"], end["reset"]) == (seqs[-1], False, False)
        since = client.mark()
        end = await client.call("history", conversation=c, after=seqs[-1], limit=4)
        assert (end["last_seq"], end["more"], end["reset"]) == (seqs[-1], False, False)
        assert not client.seen("message", since=since)
    texts = [f["text"] for f in await pupil.history(c)]
    assert texts == [plain(i) for i in range(11)]


@everywhere
async def test_rule_6_a_cursor_from_nowhere_is_reset(stage: Stage) -> None:
    """Rule 6: a client that claims more than there is must start over: never a silent gap."""
    pupil, mentor, c = await stage.pair()
    ack = await told(mentor, plain(1), c)
    end = await pupil.call("history", conversation=c, after=ack["seq"] + 1_000, limit=10)
    assert end["reset"] is True
    assert end["last_seq"] == ack["seq"]


@everywhere
async def test_rule_6_a_resume_misses_nothing(stage: Stage) -> None:
    """Rule 6: after a cut, the welcome says how far it went and history gives exactly the rest."""
    pupil, mentor, c = await stage.pair()
    before = await told(mentor, plain(0), c)
    await pupil.wait("message", message=before["message"])
    await pupil.cut()
    missed = [await told(mentor, plain(i), c) for i in range(1, 6)]
    since = pupil.mark()
    welcome = await pupil.open()
    (view,) = welcome["conversations"]
    assert (view["conversation"], view["last_seq"]) == (c, missed[-1]["seq"])
    rest = await pupil.history(c, after=before["seq"])
    assert [f["message"] for f in rest] == [ack["message"] for ack in missed]
    more = await told(mentor, plain(7), c)
    live = await pupil.wait("message", since=since, message=more["message"])
    assert not live.get("replay")
    assert live["seq"] == missed[-1]["seq"] + 1


@everywhere
async def test_rule_6_coming_and_going_under_load_loses_nothing(stage: Stage) -> None:
    """Rule 6: a client that is cut again and again, and resumes by its last seq, has it all, once."""
    pupil, mentor, c = await stage.pair()
    got: list[Frame] = []

    async def talk() -> list[Frame]:
        return [await told(mentor, plain(i), c) for i in range(120)]

    talking = asyncio.create_task(talk())
    while not talking.done():
        since = pupil.mark()
        await pupil.open()
        got += await pupil.history(c, after=got[-1]["seq"] if got else 0)
        live = asyncio.create_task(pupil.wait("message", since=pupil.mark()))
        await asyncio.wait({talking, live}, return_when=asyncio.FIRST_COMPLETED)
        live.cancel()
        await asyncio.gather(live, return_exceptions=True)
        await pupil.cut()
        for frame in pupil.seen(
            "message", since=since
        ):  # what was pushed: in order, at most a gap at its end
            if not frame.get("replay") and frame["seq"] == (got[-1]["seq"] if got else 0) + 1:
                got.append(frame)
    acks = await talking
    await pupil.open()
    got += await pupil.history(c, after=got[-1]["seq"] if got else 0)
    assert [f["message"] for f in got] == [ack["message"] for ack in acks]
    assert [f["seq"] for f in got] == [ack["seq"] for ack in acks]


@everywhere
async def test_two_conversations_do_not_mix(stage: Stage) -> None:
    a = await stage.pair()
    b = await stage.pair()
    await asyncio.gather(*(told(pair.pupil, plain(i), pair.c) for pair, i in ((a, 1), (b, 2))))
    for pair, text in ((a, plain(1)), (b, plain(2))):
        await pair.mentor.wait("message", conversation=pair.c)
        await pair.mentor.history(pair.c)
        assert {f["text"] for f in pair.mentor.seen("message")} == {text}
