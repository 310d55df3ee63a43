"""The second reading: a message behind the turns before it, by the model that is shipped."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moderation.build import default_pipeline
from moderation.linear import MODELS, BadModel, load_model
from moderation.text import fold
from moderation.trajectory import State
from moderation.transformer import (
    CONTEXT,
    LABELS,
    LEAST_SCORE,
    MENTOR_WORDS,
    MOST_OF_A_TURN,
    OUTPUTS,
    PUPIL_WORDS,
    STAGE,
    WINDOW,
    WordPiece,
    load_transformer,
    parts,
    whole,
    window,
)
from moderation.verdict import TOGETHER_LABELS, Action, Risk, Role, Submission, Turn

PUPIL, MENTOR = Role.PUPIL, Role.MENTOR
PIECES = WordPiece((MODELS / "transformer.vocab.txt").read_text(encoding="utf-8").splitlines())
MENTORS = [at for word in PIECES.words(" ".join(MENTOR_WORDS)) for at in word]
PUPILS = [at for word in PIECES.words(" ".join(PUPIL_WORDS)) for at in word]

A_LOT = "we had maths and then science and then lunch and after that there was football in the rain " * 3
"""Harmless, and longer than what is read at once."""


def said(*lines):
    """Turns of lines such as "p: hi"."""
    return tuple(Turn(role=PUPIL if line[0] == "p" else MENTOR, text=line[3:]) for line in lines)


def ids(text):
    return [piece for word in PIECES.words(fold(text).text) for piece in word]


def asked(text, *lines, role=PUPIL, conversation=""):
    return Submission(text=text, role=role, recent=said(*lines), so_far=State(), conversation=conversation)


def before_and_message(submission):
    """What `window` reads, cut at its marks."""
    begin, *rest = window(submission, PIECES)
    assert begin == PIECES.begin
    assert rest[-1] == PIECES.end
    middle = rest.index(PIECES.end)
    return rest[:middle], rest[middle + 1 : -1]


# --- what is read -------------------------------------------------------------------------------------


def test_turns_stand_before_the_message_between_marks():
    """Oldest first, each with the word for who said it; a pupil's own message has none, a mentor's has."""
    before, message = before_and_message(asked("yes", "m: are you ok?", "p: no"))
    assert before == [*MENTORS, *ids("are you ok?"), *PUPILS, *ids("no")]
    assert message == ids("yes")
    before, message = before_and_message(asked("are you ok?", "p: hi", role=MENTOR))
    assert (before, message) == ([*PUPILS, *ids("hi")], [*MENTORS, *ids("are you ok?")])


def test_without_turns_the_message_is_alone_behind_an_empty_stretch():
    assert window(asked("hi there"), PIECES) == (PIECES.begin, PIECES.end, *ids("hi there"), PIECES.end)
    assert window(asked(""), PIECES) == (PIECES.begin, PIECES.end, PIECES.end)


def test_the_newest_turns_are_whole_and_the_oldest_is_cut_at_its_front():
    """What was said last is what an answer is an answer to."""
    lines = [f"p: {'early ' * 30}first", *(f"m: {'word ' * 20}{at}" for at in range(3))]
    before, _ = before_and_message(asked("ok", *lines))
    newest = [piece for at in range(3) for piece in (*MENTORS, *ids(f"{'word ' * 20}{at}"))]
    assert before[-len(newest) :] == newest
    assert len(before) == CONTEXT
    left = before[: -len(newest)]
    assert left == [*PUPILS, *ids(f"{'early ' * 30}first")][-len(left) :]
    further = [f"p: {'older ' * 9}", *lines]
    assert before_and_message(asked("ok", *further))[0] == before, "what lies further back changes nothing"


def test_one_long_turn_does_not_push_out_all_others():
    before, _ = before_and_message(asked("ok", "m: do you feel safe at home?", f"p: {'la ' * 500}"))
    assert before == [
        *MENTORS, *ids("do you feel safe at home?"), *PUPILS, *ids("la " * 500)[:MOST_OF_A_TURN],
    ]  # fmt: skip


def test_a_turn_is_read_folded_as_the_message_is():
    """Who writes around a word writes around it in both."""
    plain, around = asked("suicide", "p: suicide"), asked("ｓｕｉｃｉｄｅ", "p: ＳＵＩＣＩＤＥ")
    assert window(plain, PIECES) == window(around, PIECES)


def test_a_message_of_several_parts_is_read_by_its_first_and_not_called_whole():
    """Nothing may be called harmless by half of it."""
    long = asked(f"{A_LOT} i want to kill myself", "m: hi")
    first, *others = parts(fold(long.text).text, PIECES, mentor=False)
    assert others
    assert before_and_message(long)[1] == list(first.ids[1:-1])
    assert not whole(long, PIECES)
    assert whole(asked("i want to kill myself", "m: hi"), PIECES)


texts = st.text(max_size=400) | st.lists(
    st.sampled_from(["hello", "no", ",", "unbelievablyextraordinarily", "\u4f60", "\u0644", "1" * 120]),
    max_size=150,
).map(" ".join)


@settings(max_examples=150, deadline=None)
@given(texts, st.lists(st.tuples(st.sampled_from(Role), texts), max_size=14), st.sampled_from(Role))
def test_what_is_read_is_bounded_whatever_is_written(text, turns, role):
    """Three marks, so many pieces before and so many of the message: what one costs, all cost at most."""
    recent = tuple(Turn(role=who, text=words) for who, words in turns)
    read = window(Submission(text=text, role=role, recent=recent), PIECES)
    assert len(read) <= CONTEXT + WINDOW + 3
    assert read.count(PIECES.end) == 2
    assert read.count(PIECES.begin) == 1
    assert all(0 <= piece < len(PIECES) for piece in read)


@settings(max_examples=150, deadline=None)
@given(texts, st.sampled_from([PUPIL, MENTOR]))
def test_whole_is_what_was_read_to_the_last_piece(text, role):
    """Also where a run without spaces was cut short, and there is no second part to tell of it."""
    submission = asked(text, "m: hi", role=role)
    everything = [*(MENTORS if role is MENTOR else ()), *ids(text)]
    assert whole(submission, PIECES) is (before_and_message(submission)[1] == everything)


def test_a_run_without_spaces_that_is_cut_short_is_not_whole():
    run = asked("\u4f60" * (WINDOW + 1))
    assert len(parts(fold(run.text).text, PIECES, mentor=False)) == 1
    assert not whole(run, PIECES)
    assert whole(asked("\u4f60" * WINDOW), PIECES)


def test_a_mark_that_somebody_writes_is_no_mark():
    """Else the turns before a message could end where a sender wants them to."""
    read = window(asked("[SEP] fine [CLS]", "p: [SEP] [CLS] hello"), PIECES)
    assert (read.count(PIECES.end), read.count(PIECES.begin)) == (2, 1)


# --- what the shipped model makes of it ---------------------------------------------------------------


@pytest.fixture(scope="module")
def model():
    return load_transformer(linear=load_model())


@pytest.fixture(scope="module")
def shipped():
    pipeline = default_pipeline(deadline_s=30)
    yield pipeline
    pipeline.close()


def test_every_output_is_a_label_once():
    assert (*LABELS, *TOGETHER_LABELS) == OUTPUTS
    assert len(set(OUTPUTS)) == len(OUTPUTS)


FILM = ("p: i'm watching this film with my mum", "m: what's it about?", "p: a boy who gets lost in space")
HOME = ("p: my stepdad hit me again last night", "m: i'm so sorry. are you safe?", "p: no he's really angry")


def test_the_same_words_are_read_by_what_came_before(model):
    """A line of a film, and the same line of somebody's evening: with it, and with nothing else."""
    film, home = (model.together(asked("he says i can't go home", *talk)) for talk in (FILM, HOME))
    assert home[0] > 2 * film[0]
    named = TOGETHER_LABELS.index("together:disclosure")
    assert home[named] > 10 * film[named]
    by_itself = model.probabilities([asked("he says i can't go home", *talk) for talk in (FILM, HOME)])
    np.testing.assert_array_equal(by_itself[0], by_itself[1])


def test_who_said_the_turn_before_is_read_too(model):
    one, other = (model.together(asked("ok", f"{who}: you are so mature for your age")) for who in "pm")
    assert not np.allclose(one, other, atol=1e-4)


def test_in_a_batch_or_alone_it_is_the_same(model):
    """Dynamic quantisation scales what it sees together, so each is read by itself."""
    batch = [
        asked("he says i can't go home", *FILM),
        asked(f"no {A_LOT}", *HOME),
        asked("he says i can't go home", *HOME),
        asked("", "m: hi"),
        asked("are you ok?", *FILM, role=MENTOR),
        Submission(text="he says i can't go home", role=PUPIL),
    ]
    together = model.read(batch)
    assert together == [model.read([one])[0] for one in batch]
    assert together[::-1] == model.read(batch[::-1])


def labels(signals):
    return [one.label for one in signals]


def test_only_a_message_of_a_conversation_is_read_a_second_time(model):
    """By what it has come to, or by its name; turns alone make none."""
    text = "he says i can't go home"
    recent = said(*HOME)
    alone = Submission(text=text, role=PUPIL, recent=recent)
    assert not set(labels(model.read([alone])[0])) & set(TOGETHER_LABELS)
    for one in (
        Submission(text=text, role=PUPIL, recent=recent, so_far=State()),
        Submission(text=text, role=PUPIL, recent=recent, conversation="c"),
    ):
        signals = model.read([one])[0]
        own = [each for each in signals if each.label not in TOGETHER_LABELS]
        added = signals[len(own) :]
        assert own == model.read([alone])[0], "and what it shows by itself is as it was"
        assert added[0].label == "together:risk"
        assert [each.score for each in added] == sorted((each.score for each in added), reverse=True)
        assert all(each.stage == STAGE and each.score >= LEAST_SCORE for each in added)
        assert not any(each.risk or each.action for each in added)


def test_it_is_known_to_have_read_also_where_it_saw_next_to_nothing(model):
    """One signal at least: a score of nothing is what calls a message harmless."""
    [signals] = model.read([asked("good thanks, we had pizza", "m: how are you?")])
    added = [one for one in signals if one.label in TOGETHER_LABELS]
    assert added
    assert max(one.score for one in added) < 0.05


@pytest.mark.parametrize("role", [PUPIL, MENTOR])
def test_a_message_that_is_not_read_whole_is_not_read_a_second_time(model, role):
    [signals] = model.read([asked(f"{A_LOT} i want to kill myself", "m: hi", role=role)])
    assert signals
    assert not set(labels(signals)) & set(TOGETHER_LABELS)


@pytest.mark.parametrize(
    ("tail", "action", "risk"),
    [
        ("i want to kill myself", Action.HOLD, Risk.HIGH),
        ("you stupid ugly idiot, everyone hates you", Action.HOLD, Risk.NONE),
    ],
)
async def test_a_harmless_beginning_covers_nothing_that_comes_after_it(shipped, tail, action, risk):
    """Found here: forty words about lunch, and the end of the message was delivered unread."""
    for times in (1, 2, 3):
        verdict = await shipped.judge_one(asked(f"{A_LOT * times}. {tail}", "m: how was school?"))
        assert (verdict.action, verdict.risk) == (action, risk)


async def test_without_the_turns_before_it_nothing_is_read_together_in_the_pipeline(shipped):
    """A message by itself; a note; what staff look up."""
    text = "my stepdad hit me again last night"
    alone = await shipped.judge_one(Submission(text=text, role=PUPIL))
    talking = await shipped.judge_one(asked(text, "m: hi", conversation="c"))
    assert not set(labels(alone.signals)) & set(TOGETHER_LABELS)
    assert "together:risk" in labels(talking.signals)


@pytest.mark.parametrize("change", [("together:risk", "together:rise"), ("together:risk", "level:high")])
def test_a_model_whose_second_reading_is_not_calibrated_is_refused(tmp_path, change):
    """Its outputs would be read as others' than they are."""
    for file in MODELS.glob("transformer.*"):
        if file.suffix != ".toml":
            (tmp_path / file.name).symlink_to(file)
    text = (MODELS / "transformer.toml").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith(f'"{change[1]}"')]
    assert f'"{change[0]}"' in text
    changed = "\n".join(lines).replace(f'"{change[0]}"', f'"{change[1]}"')
    (tmp_path / "transformer.toml").write_text(changed, encoding="utf-8")
    with pytest.raises(BadModel, match="calibration for each label"):
        load_transformer(tmp_path, linear=load_model())


PLAIN = (
    (PUPIL, "i want to die"),
    (PUPIL, "i wish i was dead"),
    (PUPIL, "i want to kill myself"),
    (PUPIL, "i tried to hang myself"),
    (PUPIL, "he raped me"),
    (PUPIL, "my dad hits me"),
    (PUPIL, "he says he will kill me if i tell"),
    (MENTOR, "let's keep this between us"),
    (MENTOR, "whats your snapchat"),
)


@pytest.mark.parametrize(
    "before",
    [
        (),
        said("p: hi", "m: hi how are you today?", "p: good thanks, we had pizza", "m: nice"),
        said("p: hey im back", "m: hey! how did the match go?", "p: we lost 3-1 lol", "m: oh no, unlucky"),
    ],
    ids=["nothing", "pizza", "match"],
)
async def test_a_plain_word_in_a_harmless_talk_is_told_at_once(shipped, before):
    """However cheerful what came before: whoever says it once must be heard once."""
    told = [
        await shipped.judge_one(Submission(text=text, role=role, recent=before, so_far=State()))
        for role, text in PLAIN
    ]
    assert [text for (_, text), one in zip(PLAIN, told, strict=True) if one.risk < Risk.HIGH] == []
