"""What the second tier learns of conversations from: right targets, and nothing that is kept aside."""

import itertools
import json
import math
import random
from collections import Counter

import numpy as np
import pytest

from moderation.text import fold
from moderation.training import own
from moderation.training.own import ASIDE, CONVERSATIONS, Message, conversations, own_messages, read_messages
from moderation.training.windows import (
    FAINT,
    KINDS,
    RECENT,
    SPLICED_TURNS,
    some_of,
    spliced,
    targets,
    targets_of,
    turns_of,
    windows_of,
)
from moderation.verdict import TOGETHER_LABELS, Role, Turn

FIRST, *REST = TOGETHER_LABELS


def talk(kind="gradual_self_harm", alert=5, turns=10):
    said = [{"sender": ("pupil", "mentor")[at % 2], "text": f"turn {at}"} for at in range(turns)]
    return {"id": "t", "kind": kind, "alert_from_turn": alert, "turns": said}


def by_label(row):
    return dict(zip(TOGETHER_LABELS, row, strict=True))


@pytest.fixture
def folder(tmp_path):
    """A data folder with conversations to train on and others that are not."""
    for name in ("train", "dev", "test"):
        row = {**talk(), "id": f"in-{name}"}
        (tmp_path / f"conversations_{name}.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    return tmp_path


# --- windows ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "label"), KINDS.items())
def test_from_the_alert_on_it_is_risk_and_of_what(kind, label):
    """Before it is nothing, but for the few turns of which nobody can say."""
    rows = [by_label(row) for row in targets_of(talk(kind))]
    for at, row in enumerate(rows):
        for name in (FIRST, label):
            if 5 - FAINT <= at < 5:
                assert math.isnan(row[name])
            else:
                assert row[name] == float(at >= 5)
        assert {row[name] for name in REST if name != label} == {0.0}, "what it is not is known at every turn"


@pytest.mark.parametrize("alert", [0, 1])
def test_an_alert_at_the_beginning_leaves_no_turn_before_it(alert):
    first = [row[0] for row in targets_of(talk(alert=alert, turns=4))]
    assert [math.isnan(value) for value in first] == [at < alert for at in range(4)]
    assert first[alert:] == [1.0] * (4 - alert)


def test_a_harmless_talk_is_nothing_at_every_turn():
    assert set(itertools.chain(*targets_of(talk("benign", None)))) == {0.0}


def test_every_kind_in_the_data_has_its_label_and_every_label_its_kind():
    assert sorted(KINDS.values()) == sorted(REST)
    kinds = {row["kind"] for _, row in read_messages([*CONVERSATIONS, ASIDE])}
    assert kinds == {*KINDS, "benign"}


def test_a_turn_is_read_as_the_chat_gives_it():
    """By who said it, with the newest turns before it, oldest first, and none after it."""
    found = turns_of(talk(turns=RECENT + 5))
    assert [one.text for one in found] == [f"turn {at}" for at in range(RECENT + 5)]
    assert {one.role for one in found[::2]} == {Role.PUPIL}
    assert [turn.text for turn in found[-1].recent] == [f"turn {at}" for at in range(4, RECENT + 4)]
    assert found[0].recent == ()
    assert found[2].recent == (Turn(role=Role.PUPIL, text="turn 0"), Turn(role=Role.MENTOR, text="turn 1"))


def test_of_a_risky_talk_as_much_is_read_before_the_alert_as_after_it():
    for seed in range(20):
        found = some_of(talk(turns=20, alert=10), 6, random.Random(seed))
        at = [int(one.submission.text.removeprefix("turn ")) for one in found]
        assert len(set(at)) == 6
        assert sum(place >= 10 for place in at) == 3
    few = some_of(talk(turns=4, alert=3), 6, random.Random(1))
    assert sum(one.targets[0] == 1.0 for one in few) == 1
    assert len(some_of(talk("benign", None, 4), 6, random.Random(1))) == 4


HARMLESS_TALKS = [{**talk("benign", None, 9), "id": f"h{at}"} for at in range(4)]
MESSAGES: list[Message] = [
    ("f", {"text": f"{level} {sender} {at}", "sender": sender, "level": level, "labels": []})
    for at in range(30)
    for sender in ("pupil", "mentor")
    for level in ("none", "concern", "high", "critical")
]


def test_half_of_the_messages_behind_harmless_turns_alarm_and_half_have_no_risk():
    """Of an alarming one nobody says of what; of the others it is known that it is nothing."""
    found = spliced(MESSAGES, HARMLESS_TALKS, 40, random.Random(3))
    by_level = Counter(one.submission.text.split()[0] for one in found)
    assert set(by_level) == {"none", "high", "critical"}, "a worry alone may be covered by what came before"
    assert by_level["none"] == by_level["high"] + by_level["critical"] == 20
    assert len({one.submission.text for one in found}) == 40
    for one in found:
        alarms = not one.submission.text.startswith("none")
        assert one.targets[0] == float(alarms)
        assert all(math.isnan(value) for value in one.targets[1:]) is alarms
        assert alarms or set(one.targets) == {0.0}
        assert one.submission.role.value == one.submission.text.split()[1]


def test_what_stands_before_is_a_stretch_of_one_harmless_talk():
    """Mostly ending where the other one spoke, and of every length."""
    talks = [{**one, "turns": [{**turn, "text": f"{one['id']} {turn['text']}"} for turn in one["turns"]]}
             for one in HARMLESS_TALKS]  # fmt: skip
    found = spliced(MESSAGES, talks, 100, random.Random(4))
    lengths: Counter[int] = Counter()
    by_other = 0
    for one in found:
        texts = [turn.text for turn in one.submission.recent]
        lengths[len(texts)] += 1
        assert len(texts) <= SPLICED_TURNS
        whole = [turn["text"] for own in talks for turn in own["turns"] if texts and own["id"] in texts[0]]
        assert "|".join(texts) in "|".join(whole)
        by_other += bool(texts) and one.submission.recent[-1].role is not one.submission.role
    assert len(lengths) > 3
    assert by_other > 60


def test_fewer_messages_than_wanted_are_all_that_there_are():
    few = [row for row in MESSAGES if row[1]["text"].endswith(" 0")]
    found = spliced(few, HARMLESS_TALKS, 1_000, random.Random(5))
    assert Counter(one.targets[0] for one in found) == {1.0: 4, 0.0: 2}


def test_the_same_chance_gives_the_same_lesson():
    first, again = (spliced(MESSAGES, HARMLESS_TALKS, 20, random.Random(6)) for _ in range(2))
    assert [one.submission for one in first] == [one.submission for one in again]


def test_targets_stand_in_one_table():
    assert targets([]).shape == (0, len(TOGETHER_LABELS))
    table = targets(windows_of(talk()))
    assert table.shape == (10, len(TOGETHER_LABELS))
    assert np.isnan(table).sum() == 2 * FAINT


# --- what is kept aside -------------------------------------------------------------------------------


def ids(files):
    return [row["id"] for _, row in read_messages(files)]


def test_no_conversation_is_in_two_files():
    every = ids([*CONVERSATIONS, ASIDE])
    assert ASIDE not in CONVERSATIONS
    assert len(CONVERSATIONS) >= 2
    assert len(set(every)) == len(every)


def test_what_is_aside_is_never_trained_on(folder):
    """Nor is what the folder has for measuring."""
    trained = {row["id"] for row in conversations(folder, aside=False)}
    kept = {row["id"] for row in conversations(folder, aside=True)}
    assert kept == set(ids([ASIDE]))
    assert trained == {"in-train", *ids(CONVERSATIONS)}
    assert not trained & kept


def said_in(rows, least=8):
    """Turns so long that nobody says them twice by chance, folded."""
    return {
        fold(turn["text"]).text for row in rows for turn in row["turns"] if len(turn["text"].split()) >= least
    }


def test_no_line_that_is_aside_is_in_what_is_trained_on(folder):
    """Found in other sets: one talk under two names."""
    aside = said_in(conversations(folder, aside=True))
    assert len(aside) > 2_000
    assert not aside & said_in(conversations(folder, aside=False))
    assert not aside & {fold(row["text"]).text for _, row in own_messages(aside=False)}


def test_harmless_turns_are_messages_on_their_own_side_only():
    """Else a turn that is aside would come in as a message."""
    for aside, files in ((True, [ASIDE]), (False, CONVERSATIONS)):
        turns = [row["text"] for name, row in own_messages(aside=aside) if name == "turns"]
        benign = [row for _, row in read_messages(files) if row["kind"] == "benign"]
        assert turns == [turn["text"] for row in benign for turn in row["turns"]]


def test_a_message_is_on_one_side_by_its_text_and_no_conversation_is_read_as_messages():
    sides = [
        [(name, row) for name, row in own_messages(aside=aside) if name != "turns"] for aside in (True, False)
    ]
    trained = {fold(row["text"]).text for _, row in sides[1]}
    assert not trained & {fold(row["text"]).text for _, row in sides[0]}
    assert 0.08 < len(sides[0]) / sum(map(len, sides)) < 0.17
    assert not any("conversations" in name for side in sides for name, _ in side)
    assert all(own.left_out(row["text"]) for _, row in sides[0])
