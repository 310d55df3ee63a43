"""The folded view: what hides a word is undone, what is there stays, and the map back is exact."""

import re
import sys
import time
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation.contact import Contacts
from moderation.rules import shipped_rules
from moderation.text import (
    KEPT,
    MAX_EXPANSION,
    MEMO,
    WORDS,
    Lexicon,
    _folded,
    _read,
    _words,
    fold,
    forget,
    plain,
    read_lexicon,
    shipped_lexicon,
)
from moderation.verdict import Role, Span, Submission

anything = st.text(max_size=400)
tricky = st.text(
    alphabet=st.sampled_from("a1il0o3 .*-_'!@$?\n\"kКк\u200b\u0301\ufe0f⃣Ａ🅰🔪ﷺßİ€٣\u202e\ud800"), max_size=200
)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("K1LL MYSE1F", "kill myself"),
        ("k.y.s", "kys"),
        ("k y s", "kys"),
        ("k y s. bye", "kys . bye"),
        ("just k y s!!", "just kys ."),
        ("d-i-e", "die"),
        ("k i l l  y o u r s e l f", "kill yourself"),
        ("k i l l y o u r s e l f", "kill yourself"),
        ("t o n i g h t  i m  d o i n g  i t", "tonight im doing it"),
        ("ta\u200bken tab\u00adlets", "taken tablets"),
        ("к\u0456ll", "kill"),
        ("ｋｉｌｌ", "kill"),
        ("𝖐𝖎𝖑𝖑", "kill"),
        ("🅺🅸🅻🅻", "kill"),
        ("k\u0336i\u0336l\u0336l\u0336", "kill"),
        ("killllll", "kill"),
        ("dieeeee", "die"),
        ("k*ll myslef", "kill myself"),
        ("suicde", "suicide"),
        ("ur gna meet me 2nite", "your gonna meet me tonight"),
        ("I'm, um, “fine”…", 'im um " fine " .'),
        ("don’t", "dont"),
        ("st.up.id", "stupid"),
        ("no!!! why???", "no . why ?"),
        ("😂😂😂 ok", "😂 ok"),
        ("two\nlines", "two . lines"),
        ("", ""),
        ("\u200b \u2060", ""),
    ],
)
def test_what_hides_a_word_is_undone(written, meant):
    """Leet, look-alikes, invisible marks, stretching, spacing, stars and slips all read as meant."""
    assert fold(written).text == meant


@pytest.mark.parametrize(
    "kept",
    [
        "y8",
        "p3",
        "2nd",
        "5k",
        "10pm",
        "ps5",
        "year 9",
        "q6",
        "h2o",
        "1500",
        "jay2010",
        "off line",
        "hello . how",
    ],
)
def test_what_is_a_number_or_two_words_stays(kept):
    """Classes, times, measures and names with a number are not leet; a full stop is not a disguise."""
    assert fold(kept.replace(" . ", ".")).text == kept


@pytest.mark.parametrize("apart", ["r u ok", "x x x", "a b c"])
def test_single_letters_that_are_words_stay_apart(apart):
    """Texting is full of one-letter words."""
    assert len(fold(apart).text.split(" ")) == 3


def test_digits_stay_digits_in_the_plain_view():
    """Contact details are looked for there."""
    assert plain("０７７ 0️⃣ ٣ ⑦").text == "077 0 3 7"


@given(anything | tricky)
def test_the_map_back_is_exact(text):
    """Each plain character names the code point that it was read from, in order; words name their range."""
    view = plain(text)
    assert len(view.origin) == len(view.text)
    assert list(view.origin) == sorted(view.origin)
    for at, character in enumerate(view.text):
        start, end = view.span(at, at + 1)
        assert end == start + 1
        read, look = _read(text[start])
        assert character in read or character == look
    words = fold(text)
    offset = 0
    for word, span in zip(words.text.split(" ") if words.text else [], words.spans, strict=True):
        assert word
        assert 0 <= span.start < span.end <= len(text)
        assert words.span(offset, offset + 1) == words.span(offset, offset + len(word)) == span
        offset += len(word) + 1
    starts = [span.start for span in words.spans]
    assert starts == sorted(starts)


@pytest.mark.parametrize(
    "text", ["i d k you moonface", "i  d  k  moonface", "idk you moonface", "ok\ni d k moonface"]
)
def test_each_word_of_a_short_form_has_its_place(text):
    """Letters written apart may mean several words; what stands after them keeps its own place."""
    words = fold(text)
    assert len(words.spans) == len(words.text.split(" "))
    start, end = words.spans[-1]
    assert text[start:end] == "moonface"


@given(anything | tricky)
def test_it_reads_any_text_within_bounds(text):
    """Nothing raises, nothing grows without bound, and the whole view maps into the text."""
    view = plain(text)
    assert len(view.text) <= MAX_EXPANSION * len(text)
    words = fold(text)
    assert words.text == words.text.strip()
    assert "  " not in words.text
    assert 0 <= words.span(0, len(words.text)).end <= len(text)


@given(st.text(alphabet="abcdefghijklmnopqrstuvwxyz ,", max_size=60))
def test_plain_english_keeps_its_places(text):
    """A word that nothing was done to maps to exactly itself."""
    words = fold(text)
    for word, span in zip(words.text.split(" "), words.spans, strict=False):
        assert not text or word == "" or text[span.start : span.end].strip(", ")


@given(st.text(alphabet="kilmyse ", min_size=1, max_size=30), st.integers(0, 29))
def test_an_invisible_mark_changes_nothing(text, place):
    """Wherever a zero-width space is put, the text reads the same."""
    place = min(place, len(text))
    assert fold(text[:place] + "\u200b" + text[place:]).text == fold(text).text


@pytest.mark.parametrize(
    "unit", ["a", "a ", "*", "a*", "!a", "k i l l ", "ﷺ", "a.", "aa.bb-", "😂", "0a1", "a\n", "\u0301", "@"]
)
def test_time_is_linear(unit):
    """Ten times the text takes nothing like a hundred times as long."""

    def seconds(text: str) -> float:
        best = float("inf")
        for _ in range(3):
            began = time.perf_counter()
            fold(text)
            best = min(best, time.perf_counter() - began)
        return best

    count = 2_000 // len(unit)
    fold(unit * count)
    short, long = seconds(unit * count), seconds(unit * count * 10)
    assert long < 30 * short + 0.05


def test_a_span_of_part_of_a_word_is_the_word():
    """What was changed has no letters to point at."""
    view = fold("he said k1ll yourself")
    at = view.text.index("ill")
    assert view.span(at, at + 3) == Span(8, 12)


def test_the_shipped_words_agree_with_each_other():
    """Folding a guarded word gives it back, and no slip of one is a word of its own."""
    lexicon = shipped_lexicon()
    for word in lexicon.guarded:
        assert fold(word).text == lexicon.shorthand.get(word, word)
    assert not set(lexicon.slips) & lexicon.common
    assert all(unicodedata.normalize("NFKC", word) == word for word in lexicon.known)


@pytest.mark.parametrize("line", ["two", "# only a remark\nshort"])
def test_a_bad_line_of_words_is_named(tmp_path, line):
    """A lexicon that cannot be read says where."""
    (tmp_path / "common.txt").write_text("a\n")
    (tmp_path / "guarded.txt").write_text("kill\n")
    (tmp_path / "shorthand.txt").write_text(line)
    with pytest.raises(ValueError, match=rf"shorthand.txt:{line.count(chr(10)) + 1}:"):
        read_lexicon(tmp_path)


def test_words_are_letters(tmp_path):
    """A word that folding could never produce is a mistake."""
    (tmp_path / "common.txt").write_text("fine\nnot-fine\n")
    (tmp_path / "guarded.txt").write_text("")
    (tmp_path / "shorthand.txt").write_text("")
    with pytest.raises(ValueError, match=r"common.txt:2: 'not-fine'"):
        read_lexicon(tmp_path)


def test_a_lexicon_can_be_given():
    """Another language's words need no other code."""
    own = Lexicon(common=frozenset({"guten", "tag"}), guarded=("verboten",), shorthand={"gt": "guten tag"})
    assert fold("gt verboooten v*rboten", lexicon=own).text == "guten tag verboten verboten"


@pytest.mark.parametrize(
    "text",
    (Path(__file__).parent / "languages.txt").read_text(encoding="utf-8").splitlines(),
)
def test_other_languages_stay_what_they_are(text):
    """No benign sentence of another language becomes a hit of a rule or a contact detail, for any role."""
    for role in (Role.PUPIL, Role.MENTOR):
        one = Submission(text=text, role=role)
        assert shipped_rules().read(one) == []
        assert Contacts().read(one) == []


@pytest.mark.parametrize(
    "text", ["мама мыла раму", "она пошла домои", "γεια σου", "я люблю minecraft", "привет"]
)
def test_words_of_another_alphabet_are_left_alone(text):
    """Their letters look like Latin ones; they are none."""
    assert fold(text).text == text


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("kіll yоurѕеlf", "kill yourself"),  # mixed within each word
        ("сосk", "cock"),  # one Latin letter
        ("nο nude pіcs рlеаsе", "no nude pics please"),  # Greek and Cyrillic among Latin
        ("ᏦᎥᏞᏞ yourself", "kill yourself"),  # only in Unicode's own table: Cherokee
        ("how tо dіе", "how to die"),  # a whole word of look-alikes, among Latin words
        ("ѕех", "sex"),  # alone, and reads as a word that rules depend on
    ],
)
def test_a_disguise_is_seen_through(written, meant):
    """Letters of another alphabet in or among Latin words are read by their look."""
    assert fold(written).text == meant


def test_the_table_of_look_alikes_is_unicodes():
    """Its head names the version; every entry is one code point that looks like one letter."""
    lines = (WORDS / "confusables.txt").read_text(encoding="utf-8").splitlines()
    assert "Unicode 13.0.0" in lines[0]
    for line in lines:
        if not line.startswith("#"):
            letter, *points = line.split(" ")
            assert re.fullmatch("[a-z]", letter)
            assert all(int(point, 16) > 0x7F for point in points)


@given(anything | tricky | st.text(alphabet="aеоіkl mсу.\n😂🏽", max_size=80))
def test_the_quick_way_and_the_exact_one_agree(text):
    """What is folded without its map is what the map is made of."""
    view = plain(text)
    exact = [word for word, _, _ in _words(view.text, shipped_lexicon())]
    assert fold(text).text == " ".join(exact)
    shipped_lexicon().memo.clear()
    forget()
    assert fold(text).text == " ".join(exact)


@given(anything | tricky)
def test_marks_cover_what_was_matched(text):
    """Reading the marked part alone gives the word that was marked, or a part of it."""
    words = fold(text)
    for word, span in zip(words.text.split(" "), words.spans, strict=False):
        assert 0 <= span.start < span.end <= len(text)
        assert plain(text[span.start : span.end]).text.strip() or word == "."


def test_what_is_kept_is_bounded_and_can_be_dropped():
    """The views of a few batches, and the words of a school."""
    for number in range(KEPT + 50):
        fold(f"message {number}")
    assert _folded.cache_info().currsize <= KEPT
    forget()
    assert _folded.cache_info().currsize == 0
    lexicon = Lexicon(common=frozenset(), guarded=(), shorthand={})
    for first in range(0, MEMO + 2_000, 200):
        fold(" ".join(f"w{number}" for number in range(first, first + 200)), lexicon=lexicon)
    assert len(lexicon.memo) <= MEMO


@pytest.mark.parametrize(
    "unit", ["k*x ", "k*l* ", "кi ", "аb ", "ѕ е ", "k і l l ", "Ꭵ", "😂🏽 ", "a.b.", "r u "]
)
def test_the_work_grows_with_the_text_alone(unit):
    """Four times the text is at most about four times the steps, counted and not timed."""

    def steps(text):
        count = 0

        def step(frame, event, arg):
            nonlocal count
            count += 1
            return step

        forget()
        shipped_lexicon().memo.clear()
        before = sys.gettrace()
        sys.settrace(step)
        try:
            fold(text)
        finally:
            sys.settrace(before)
        return count

    assert steps((unit * 2_000)[:2_000]) < 6 * steps((unit * 500)[:500]) + 2_000
