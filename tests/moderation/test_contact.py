"""Contact details: found however they are spelled, and numbers that are nobody's left alone."""

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moderation import contact
from moderation.contact import MOST, WHY, Allowed, Contacts, find
from moderation.verdict import Action, Risk, Role, Submission, Turn


def kinds(text, **options):
    return {one.kind for one in find(text, **options)}


def what_is_marked(text, kind):
    return [text[one.span.start : one.span.end] for one in find(text) if one.kind == kind]


@pytest.mark.parametrize(
    "text",
    [
        "07700 900123",
        "ring me on 07700900123 ok",
        "077 00 90 01 23",
        "07700-900-123",
        "+44 7700 900123",
        "0044 7700 900123",
        "my number is oh seven seven double oh nine hundred one two three",
        "nought seven seven nought nought then nine nought nought then one two three",
        "0 7 7 0 0 9 0 0 1 2 3",
        "0\n7\n7\n0\n0\n9\n0\n0\n1\n2\n3",
        "0️⃣7️⃣7️⃣0️⃣0️⃣9️⃣0️⃣0️⃣1️⃣2️⃣3️⃣",
        "０７７００９００１２３",
        "o7700 9oo123",
        "07700 ninehundred one-two-three",
        "077\u200b00 900\u200b123",
        "call 020 7946 0123 and ask for me",
        "text me 7700900123",
        "my number backwards is 321 009 00770",
        "phone me: +1 202 555 0143",
        "my nhs number is 999 555 0123",
        "o77oo 9oo 123",
        "O seven sevn O O nyne O O won too three, ring me",
        "seven seven hundred nine hundred one two three, thats my new sim",
    ],
)
def test_phone_numbers_are_found_however_spelled(text):
    """Digits, words, emoji, spaces, lines, other alphabets: a number is a number."""
    assert "phone" in kinds(text)


@pytest.mark.parametrize(
    "text",
    [
        "we won 3-0 then 2-1 then 4-4",
        "maths paper 2, page 123",
        "1 2 3 4 5 6 7 8 9 10",
        "7 14 21 28 35 42 49 56",
        "0 10 20 30 40 50",
        "it is the 14/03/2012 today",
        "2024-05-06 12:30",
        "in 1066 and 1939 and 2012",
        "£45.50 for 30 tickets",
        "is q6 0.07700 or 0.0077",
        "room 207 or 270 at 10.30",
        "the code is 4471-2093-8862",
        "barcode 0000000000",
        "i got 67% in year 9 and 71 in year 10",
        "one two three four, i declare a thumb war",
        "we had one or two goals in the last ten minutes",
        "y8 p3 5k ps5 b4 2nd period",
        "two thousand and twelve",
    ],
)
def test_innocent_numbers_pass(text):
    """Scores, pages, dates, prices, years and counting are no way to find anybody."""
    assert kinds(text) == set()


@pytest.mark.parametrize(
    "text",
    [
        "ring 999 now",
        "childline is 0800 1111, day or night",
        "oh eight hundred one one one one",
        "text SHOUT to 85258",
        "samaritans are on 116 123",
        "call 111 and press 2",
        "papyrus: 0800 068 4141",
        "read childline.org.uk or https://www.samaritans.org/how-we-can-help",
        "www.nhs.uk/mental-health has a page on it",
    ],
)
def test_help_may_always_be_named(text):
    """Somebody must always be able to write where help is."""
    assert kinds(text) == set()


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("kim@example.org", "email"),
        ("kim.lee at example dot com", "email"),
        ("its kimlee99 at gmail", "email"),
        ("kim (at) example (dot) org", "email"),
        ("look at https://example.com/join", "link"),
        ("go to www.example.net", "link"),
        ("discord.gg/abcdef", "link"),
        ("find it on example dot com", "link"),
        ("add me on snap its kimmy.k09", "handle"),
        ("insta: kim_lee_x", "handle"),
        ("my insta is quietkoala", "handle"),
        ("dm @kim.and.co", "handle"),
        ("xbox is SoftOtter88", "handle"),
        ("my t1kt0k iz k1m_b0nce", "handle"),
        ("insta is kim then under score then plays", "handle"),
        ("find me on snap, all one word, kim and lee", "handle"),
        ("same name as here on discord", "handle"),
        ("AB1 2QD", "postcode"),
        ("i live near bs1 4qa", "postcode"),
        ("my postcode is b s one, four q a", "postcode"),
        ("12 Marlow Street", "address"),
        ("come to 4 old mill lane", "address"),
        ("number forty two, Marlow Avenue", "address"),
        ("flat 3, 118 Marlow Road", "address"),
        ("im in the flat above the shop on marlow row", "address"),
        ("our address is Flat 12, Dunnock House, Marlow Street", "address"),
        ("i bide at 6 lintie brae", "address"),
        ("in sta: k i m _ l e e 1 2", "handle"),
        ("sn ap its h o b n o b _ k i m", "handle"),
        ("kim7@marlow.example", "email"),
        ("k i m l e e 7 (at) e x a m p l e (dot) com", "email"),
        ("the yellow car, reg QQ07 XZX", "plate"),
        ("im Freya Cuddlethorpe in 8S at Brackenfold Academy", "school"),
        ("my sister's Nasrin Haldworth, yr7, St Elwyn's", "school"),
        ("hi im imogen tarleby and im 12 and my school is fernacre middle school", "school"),
    ],
)
def test_other_details_are_found(text, kind):
    """Email, links, handles, postcodes and addresses, as people write them to get round a filter."""
    assert kind in kinds(text)


@pytest.mark.parametrize(
    "text",
    [
        "hello.how are you",
        "my snap is broken",
        "im always on insta",
        "i lost my snapstreak",
        "my brother's on xbox all day",
        "@mum said hi",
        "meet @ 5pm",
        "10 minutes down the road",
        "2 minutes walk",
        "5 lads in the park",
        "walk down the high street",
        "i live near the park in manchester",
        "look at bbc dot co dot uk",
        "i finished chapter 3.docx",
        "add salt and follow the recipe",
        "he's on youtube a lot",
        "g0ing 2 c0rnwall 2m0rrow no signal l8rs",
        "minecraft hardcore day 200 and a creeper ended me",
        "e.x.a.m.s a.r.e o.v.e.r",
        "predicted 7 6 6 5 8 4, need a 6 in maths",
        "paddington lives at 32 windsor gardens",
        "im going to secondary school in september",
        "im not starting at Brackenfold Academy till monday",
        "i'm in Year 9 at a school in Leeds",
    ],
)
def test_talk_about_apps_and_places_passes(text):
    """To name an app or a street is not to say where one is."""
    assert kinds(text) == set()


def test_a_number_in_pieces_is_found_when_it_is_whole():
    """Over the last turns of the same speaker, and only there."""
    earlier = ["my number starts 07700", "then 900", "and it ends"]
    assert kinds("123", earlier=earlier) == {"phone"}
    assert kinds("123", earlier=["07700"]) == set()
    assert kinds("i got 123 points", earlier=["we won 3-0", "page 12"]) == set()
    turns = (
        Turn(role=Role.PUPIL, text="07700"),
        Turn(role=Role.MENTOR, text="please dont"),
        Turn(role=Role.PUPIL, text="900"),
    )
    assert Contacts().read(Submission(text="123", role=Role.PUPIL, recent=turns))
    others = tuple(Turn(role=Role.MENTOR, text=turn.text) for turn in turns)
    assert not Contacts().read(Submission(text="123", role=Role.PUPIL, recent=others))


def test_the_beginning_of_a_number_is_a_concern_and_goes_through():
    """It may be the first piece of one."""
    (signal,) = Contacts().read(Submission(text="it starts 07700", role=Role.PUPIL))
    assert (signal.action, signal.risk) == (Action.DELIVER, Risk.CONCERN)


def test_what_is_marked_is_what_was_written():
    """A sender sees the part to take out, as they spelled it."""
    text = "ok: oh seven seven double oh nine hundred one two three, night x"
    assert what_is_marked(text, "phone") == ["oh seven seven double oh nine hundred one two three"]
    assert what_is_marked("dm kim@example.org x", "email") == ["kim@example.org"]


def test_a_site_may_allow_its_own():
    """The directory's numbers, hosts and addresses pass; others do not."""
    allowed = Allowed.of(
        ["020 7946 0000", "https://www.example.sch.uk/help", "help@example.org", "+44 7700 900111"]
    )
    passing = "ring 020 7946 0000 or 07700 900111, read sub.example.sch.uk/x or write to help@example.org"
    assert kinds(passing, allowed=allowed) == set()
    assert kinds("020 7946 0001, other@example.org", allowed=allowed) == {"phone", "email"}


def test_a_host_that_ends_like_an_allowed_one_is_another():
    """notchildline.org.uk is not childline.org.uk."""
    assert kinds("notchildline.org.uk") == {"link"}
    assert kinds("https://childline.org.uk.example.com/") == {"link"}
    assert kinds("https://childline.org.uk@example.com/") != set()


def test_a_pupil_is_blocked_and_a_mentor_goes_to_an_adult():
    """labels.md: any contact of a mentor's is high."""
    text = "07700 900123"
    (pupil,) = Contacts().read(Submission(text=text, role=Role.PUPIL))
    (mentor,) = Contacts().read(Submission(text=text, role=Role.MENTOR))
    assert (pupil.action, pupil.risk) == (Action.BLOCK, Risk.NONE)
    assert mentor.risk is Risk.HIGH


def test_every_kind_has_words_for_staff():
    """What stands in a record can be explained."""
    for text in (
        "07700 900123",
        "it starts 07700",
        "a@example.org",
        "example.com",
        "snap: a_b_c",
        "AB1 2QD",
        "1 Marlow Road",
        "reg QQ07 XZX",
        "im Freya Cuddlethorpe from Brackenfold Academy",
    ):
        for one in find(text):
            assert WHY[one.why].endswith(".")


def test_what_is_told_is_bounded():
    """Who sends a hundred numbers is told of the first."""
    assert len(find("07700900123, " * 150)) <= MOST
    assert len(find("@a_b_c " * 200)) <= MOST


_NUMERALS = [*contact._NUMBER_WORDS, *contact._TIMES, *contact._SOUNDS_LIKE, *contact._NOUGHTS]


@given(
    st.lists(st.sampled_from([*_NUMERALS, *"0123456789oil", "a", "x"]), min_size=1, max_size=4).map("".join),
    st.booleans(),
    st.sampled_from(["", " 7", " seven", " more"]),
)
def test_what_stands_for_digits_begins_like_it(token, inside, after):
    """Tokens that cannot begin a number are passed over unread: none of them is one."""
    if contact._digits(token, inside, token + after, len(token)) is not None:
        assert contact._MAY_SAY.match(token)


def test_the_gates_open_for_all_that_is_found(monkeypatch):
    """Looking for everything in every text finds nothing more."""
    texts = [
        *(Path(__file__).parent / "languages.txt").read_text(encoding="utf-8").splitlines(),
        "ring 07700 900123",
        "its kimlee99 at gmail",
        "snap: a_b_c",
        "come to 4 old mill lane",
        "we meet at the bridge at 4",
        "my brother and i live near the high street, house number five",
    ]
    gated = [find(text) for text in texts]
    monkeypatch.setattr(contact, "_open_gates", lambda text, shadow: frozenset(contact._WORTH))
    assert [find(text) for text in texts] == gated


@given(st.text(max_size=200) | st.text(alphabet="07 oneseight@.dt+-\n_snap", max_size=120))
@settings(max_examples=150)
def test_it_reads_any_text(text):
    """No text raises, and no span leaves it."""
    for one in find(text, earlier=["07700", text[:20]]):
        assert 0 <= one.span.start < one.span.end <= len(text)


@pytest.mark.parametrize(
    "unit", ["0 7 ", "a.b", "@a ", "1", "12 ab st ", "one two ", "x dot ", "snap is a ", "+44 "]
)
def test_the_longest_message_takes_little_time(unit):
    """2,000 code points of anything are done long before the deadline."""
    text = (unit * 2_000)[:2_000]
    find(text)
    began = time.perf_counter()
    find(text)
    assert time.perf_counter() - began < 0.3
