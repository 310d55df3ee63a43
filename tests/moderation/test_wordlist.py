"""A site's own words: found however they are spelled, at a cost that does not grow with the list."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moderation.rules import RULES, BadRule, load_rules
from moderation.text import fold
from moderation.verdict import Action, Risk, Role, Submission
from moderation.wordlist import MAX_ENTRIES, MAX_HITS, BadList, Phrases, WordList

SITE = """\
[[list]]
id = "site.words"
label = "toxicity:insult"
why = "A word that this school holds."
words = ["moonface", "back to your pond", "🐸🐸"]
match = ["you m00nface", "go back to your pond"]
no_match = ["the moon has a face"]

[allow]
words = ["moonface theatre company", "dickhead's cove"]
"""


def generated(count, seed=7):
    """Made-up words and phrases of no language."""
    rng = random.Random(seed)

    def word():
        return "".join(rng.choice("bdfgklmnprstvz") + rng.choice("aeiou") for _ in range(rng.randint(3, 5)))

    return list(
        dict.fromkeys(" ".join(word() for _ in range(rng.choice((1, 1, 2, 3)))) for _ in range(count))
    )


@pytest.fixture(scope="module")
def long_list():
    entries = generated(MAX_ENTRIES)
    return entries, Phrases(entries)


def site(tmp_path, text=SITE):
    (tmp_path / "site.toml").write_text(text)
    return load_rules(RULES, tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "moonface",
        "Oi MOONFACE!!",
        "m00nf4ce",
        "m o o n f a c e",
        "moonfaaaaace",
        "mo.on.face",
        "moonfcae",
        "mo*nface",
    ],
)
def test_a_word_is_found_however_it_is_spelled(text):
    """Leet, spaces, dots, stretching, slips and stars hide no word of a list."""
    (span,) = Phrases(["moonface"]).find(text)
    assert text[span.start : span.end].lower().startswith("m")


def test_what_is_marked_is_what_was_written():
    """A phrase's place is exact, marks between its words included."""
    text = "ok. go b4ck, to   your pond!"
    (span,) = Phrases(["back to your pond"]).find(text)
    assert text[span.start : span.end] == "b4ck, to   your pond"


def test_the_longest_entry_wins_and_words_are_whole():
    """One hit at each place, and no hit inside a longer word."""
    phrases = Phrases(["pond", "pond scum"])
    text = "you pond scum"
    assert [text[slice(*span)] for span in phrases.find(text)] == ["pond scum"]
    assert phrases.find("ponder the ponds") == []


def test_a_list_of_ten_thousand_finds_each_of_its_own(long_list):
    """Every entry, and none in plain English."""
    entries, phrases = long_list
    for entry in entries[::97]:
        text = f"well {entry} is what they said"
        assert entry in [text[slice(*span)] for span in phrases.find(text)]
    assert phrases.find("i had a good day at school and my nan made tea for all of us") == []


def test_the_work_does_not_grow_with_the_list(long_list):
    """A message that has none of them costs look-ups of its own words, never a pass over the list."""
    _, phrases = long_list

    class Counted(frozenset):
        asked = 0

        def isdisjoint(self, other):
            Counted.asked += len(list(other))
            return super().isdisjoint(other)

    text = "i had a good day at school"
    firsts, phrases._firsts = phrases._firsts, Counted(phrases._firsts)
    try:
        assert phrases.find(text) == []
    finally:
        phrases._firsts = firsts
    assert Counted.asked == len(fold(text).text.split(" "))


def test_a_site_file_adds_to_the_shipped_rules(tmp_path):
    """Its list holds, its allowed words pass, and the shipped rules go on."""
    rules = site(tmp_path)
    (signal,) = rules.read(Submission(text="you're such a m00nf4ce", role=Role.PUPIL))
    assert (signal.why, signal.action, signal.risk) == ("site.words", Action.HOLD, Risk.NONE)
    assert rules.why("site.words") == "A word that this school holds."
    assert rules.read(Submission(text="im in the moonface theatre company", role=Role.PUPIL)) == []
    assert rules.read(Submission(text="i want to kill myself, moonface theatre company", role=Role.PUPIL))


def test_allowed_words_never_excuse_danger(tmp_path):
    """Only what asks for no risk is let through."""
    rules = site(tmp_path, SITE.replace("dickhead's cove", "i want to kill myself"))
    assert any(
        signal.risk >= Risk.HIGH
        for signal in rules.read(Submission(text="i want to kill myself", role=Role.PUPIL))
    )


INSULT = "you pathetic dickhead"


def said(text):
    return Submission(text=text, role=Role.PUPIL)


def test_what_is_let_through_is_the_place_and_not_the_message(tmp_path):
    """Found by a review: one allowed word hid the same rule's hits everywhere else in the message."""
    allowing = '[allow]\nwords = ["dickhead\'s cove", "you pathetic dickhead band"]\n'
    rules = site(tmp_path, allowing)

    def holding(text):
        found = rules.read(said(text))
        return [text[one.span.start : one.span.end] for one in found if one.action and one.span]

    assert holding(INSULT), "the shipped rules hold it"
    passing = "we saw the you pathetic dickhead band"
    assert holding(passing) == []
    held = holding(f"{passing}, {INSULT}")
    assert held and all(text in INSULT for text in held)
    (place, *_) = (one.span for one in rules.read(said(f"{passing}, {INSULT}")) if one.action)
    assert place is not None and place.start > len(passing)
    assert holding(f"{INSULT}, {passing}") == held


def test_no_number_of_allowed_words_hides_what_comes_after_them(tmp_path):
    """Neither for a rule nor for a list, whose hits are bounded."""
    rules = site(tmp_path, '[allow]\nwords = ["you pathetic dickhead band"]\n')
    many = ", ".join(["you pathetic dickhead band"] * MAX_HITS)
    assert not any(one.action for one in rules.read(said(many)))
    assert any(one.action for one in rules.read(said(f"{many}, {INSULT}")))
    words = WordList(id="a.b", label="harassment", why="W.", words=Phrases(["pond"]))
    text = " ".join(["pond"] * (MAX_HITS + 1))
    allowed = Phrases(["pond"]).find(text)
    (found,) = words.read(said(text), allowed)
    assert found.span is not None and found.span.end == len(text)


def test_good_practice_inside_an_allowed_place_is_still_known(tmp_path):
    """What is let through takes holds away, and nothing that speaks for a mentor or is counted."""
    rules = site(tmp_path, '[allow]\nwords = ["childline"]\n')
    found = rules.read(Submission(text="childline is free any time", role=Role.MENTOR))
    assert "good_practice.helpline" in {one.why for one in found}


def test_words_may_stand_in_a_file_beside(tmp_path):
    """One a line; a remark begins with #."""
    (tmp_path / "words.txt").write_text("# held here\nblorptangle\n\n")
    rules = site(
        tmp_path,
        SITE.replace(
            "[allow]",
            '[[list]]\nid = "site.file"\nlabel = "harassment"\nwhy = "Held."\nfile = "words.txt"\n\n[allow]',
        ),
    )
    assert {one.why for one in rules.read(Submission(text="what a blorptangle", role=Role.PUPIL))} == {
        "site.file"
    }


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (('"moonface", ', '"...", '), "no word in it"),
        (('"moonface", ', '"' + "a " * 13 + '", '), "longer than 12 words"),
        (('"toxicity:insult"', '"sadness"'), "unknown label"),
        (('"site.words"', '"words"'), "must look like"),
        (('match = ["you', 'match = ["him", "you'), "should match example 1 of match"),
        (('["the moon has', '["moonface", "the moon has'), "should not match example 1 of no_match"),
        (("why =", "way ="), "unknown field 'way'"),
        (("[[list]]", "[list]"), "two brackets"),
        (("[allow]\nwords", "[allow]\nword"), "unknown field 'word'"),
        (('words = ["moonface"', 'file = "none.txt"\nwords = ["moonface"'), "cannot be read"),
        (('words = ["moonface"', 'file = "../names"\nwords = ["moonface"'), "stands beside this one"),
        (('words = ["moonface"', 'file = "/etc/names"\nwords = ["moonface"'), "stands beside this one"),
    ],
)
def test_a_bad_list_never_starts(tmp_path, change, words):
    """As a bad rule does: with its file, and what is wrong."""
    with pytest.raises(BadRule) as caught:
        site(tmp_path, SITE.replace(*change))
    assert "site.toml:" in str(caught.value)
    assert words in str(caught.value)
    assert "moonface" not in str(caught.value), "entries are often names, and errors go to the log"


def test_a_list_is_bounded():
    """More than it can hold is refused, not cut."""
    with pytest.raises(BadList, match="at most 10000"):
        Phrases(f"word{number}x" for number in range(MAX_ENTRIES + 1))


@given(st.text(max_size=200) | st.text(alphabet="monface *.0\u200b🐸", max_size=60))
@settings(max_examples=100)
def test_it_reads_any_text(text):
    """No text raises, and no span leaves it."""
    for span in Phrases(["moonface", "🐸 moon"]).find(text):
        assert 0 <= span.start < span.end <= len(text)


def test_a_list_may_be_for_some_alone():
    """A role that it is not for passes."""
    words = WordList(
        id="a.b", label="harassment", why="W.", words=Phrases(["xylo"]), roles=frozenset({Role.MENTOR})
    )
    assert words.read(Submission(text="xylo", role=Role.PUPIL)) == []
    assert len(words.read(Submission(text="xylo", role=Role.MENTOR))) == 1


def test_a_folder_that_is_not_there_never_starts(tmp_path):
    """A slip in its path is not the same as having no rules of one's own."""
    with pytest.raises(BadRule, match="no such folder"):
        load_rules(RULES, tmp_path / "nowhere")
