"""Rules: every shipped example holds, and a rule file that is wrong never starts."""

import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moderation.rules import RULES, BadRule, load_rules, read_rules, shipped_rules
from moderation.text import fold
from moderation.verdict import RISK_LABELS, Action, Risk, Role, Span, Submission

GOOD = """\
[words]
end = ["stop", "finish"]

[[rule]]
id = "test.one"
label = "self_harm"
risk = "high"
why = "For the test."
patterns = ["{end} <2> now"]
unless_before = ["not"]
match = ["stop it all now"]
no_match = ["not stop it now"]
"""


def rule_file(tmp_path, text):
    file = tmp_path / "test.toml"
    file.write_text(text)
    return file


def written(**changed):
    """A rule file with one rule, some of its lines changed."""
    lines = GOOD.splitlines()
    for field, value in changed.items():
        lines = [f"{field} = {value}" if line.startswith(f"{field} =") else line for line in lines]
    return "\n".join(lines) + "\n"


def examples(kind):
    for file in sorted(RULES.glob("*.toml")):
        for rule in tomllib.loads(file.read_text(encoding="utf-8")).get("rule", []):
            for example in rule.get(kind, []):
                yield pytest.param(rule["id"], example, id=f"{rule['id']}: {example}")


EXAMPLES = {
    rule["id"]: rule["match"]
    for file in sorted(RULES.glob("*.toml"))
    for rule in tomllib.loads(file.read_text(encoding="utf-8")).get("rule", [])
}


def at_risk(text, role):
    """The highest risk that the shipped rules see in a message."""
    signals = shipped_rules().read(Submission(text=text, role=role))
    return max((signal.risk for signal in signals), default=Risk.NONE)


@pytest.mark.parametrize(("rule_id", "example"), list(examples("match")))
def test_examples_are_found(rule_id, example):
    """What a rule says that it matches, the whole set finds, with a span inside the text."""
    rule = next(rule for rule in shipped_rules().rules if rule.id == rule_id)
    role = next(iter(sorted(rule.roles)))
    signals = shipped_rules().read(Submission(text=example, role=role))
    own = [signal for signal in signals if signal.why == rule_id]
    assert {signal.label for signal in own} == set(rule.labels)
    for signal in own:
        if rule.marks:  # it shows nothing to whoever wrote it
            assert signal.span is None
            continue
        assert signal.span is not None
        assert 0 <= signal.span.start < signal.span.end <= len(example)


@pytest.mark.parametrize(("rule_id", "example"), list(examples("no_match")))
def test_counter_examples_are_not(rule_id, example):
    """What a rule says that it leaves alone, it does."""
    signals = shipped_rules().read(Submission(text=example, role=Role.PUPIL))
    assert rule_id not in {signal.why for signal in signals}


ASIDES = [
    ". anyway i have homework and revision for my exams",
    ". we have a dog and a cat and my nan likes chocolate",
    ". they have football, chess and rugby at the club",
    ". mum has photos of the trip and my birthday cake",
]
"""What is said beside danger and has nothing to do with it."""


@pytest.mark.parametrize("aside", ASIDES)
def test_no_stray_word_excuses_danger(aside):
    """Whatever raises high or more still does so when everyday talk follows it."""
    silenced = []
    for rule in shipped_rules().rules:
        if rule.risk < Risk.HIGH or rule.roles == {Role.MENTOR} or rule.labels[0] == "personal_data":
            continue  # a place to meet is another thing where a club or a trip meets there
        for example in EXAMPLES[rule.id]:
            if at_risk(example + aside, min(rule.roles)) < Risk.HIGH:
                silenced.append((rule.id, example))
    assert not silenced


@pytest.mark.parametrize(
    "text",
    [
        "the pills wear off, so please ring 111 now",
        "Some tablets wear off at different times, ring 111 and tell them what you took",
        "the police will take you away from danger if you ring 999",
        "the doctor will only ring home if they are worried about you",
        "dont let the nurse scare you, she will listen",
        "tell the nurse you fell, that's what nurses are for",
        "i could ask someone to pick you up from the nurse's office",
        "leave your phone at home tomorrow and see if you sleep better",
        "i can see your house point total went up",
        "meet me tomorrow at 4 on here as usual, nobody else is booked",
        "keep your hood up, it's raining by reception",
        "if someone has a knife in school tell any adult or ring 999",
    ],
)
def test_good_practice_raises_nothing(text):
    """No rule pages anybody for what a good mentor says."""
    assert at_risk(text, Role.MENTOR) is Risk.NONE


@pytest.mark.parametrize(
    "text",
    [
        "the boss has me trapped in elden ring",
        "theyve got me surrounded in warzone",
        "my dog has me trapped under a blanket",
        "im getting jumped at lunch in dodgeball",
        "tell my mum i love her, shes picking me up",
        "tell mum im sorry i missed her call",
        "just took the whole pack upstairs",
        "its not stopping, the rain, im soaked",
        "i took all my dads tablets back to the shop, the ipads",
        "pulse of 36 bpm song",
        "they told me to do the attack on the left wing in hockey",
        "my nan died and i wrote her a goodbye letter",
        "bringing my bat to school tomorrow, rounders",
    ],
)
def test_everyday_talk_raises_nothing(text):
    """No rule raises anything on what pupils say every day."""
    assert at_risk(text, Role.PUPIL) is Risk.NONE


@pytest.mark.parametrize(
    ("text", "least"),
    [
        ("took all my mums tablets, the photos of us made me cry", Risk.IMMEDIATE),
        ("two lads outside with a machete he was excluded they said", Risk.IMMEDIATE),
        ("theyre kicking me in the toilets now, they used to just film it", Risk.IMMEDIATE),
        ("someone has a knife in school, he got excluded last month and came back", Risk.IMMEDIATE),
        ("shes been cutting herself for years, started ages ago", Risk.HIGH),
        ("my friend told me not to tell anyone he touched her", Risk.HIGH),
        ("i get sick after dinner on purpose", Risk.CONCERN),
        ("got bullied again today", Risk.CONCERN),
    ],
)
def test_danger_is_raised_at_its_level(text, least):
    """Words beside danger that once silenced it no longer do."""
    assert at_risk(text, Role.PUPIL) >= least


def test_every_topic_has_rules_and_words_for_staff():
    """Each of the 13 labels is covered, and every rule says in words why it is there."""
    rules = shipped_rules().rules
    assert set(RISK_LABELS) <= {label for rule in rules for label in rule.labels}
    for rule in rules:
        assert rule.why.endswith(".")
        assert shipped_rules().why(rule.id) == rule.why


def test_nothing_about_oneself_is_a_block():
    """What somebody says about being hurt asks for support: no shipped rule blocks."""
    assert {rule.action for rule in shipped_rules().rules} <= {Action.DELIVER, Action.HOLD}


def test_mentor_rules_see_mentors_alone():
    """A pupil who writes as a mentor should not is no mentor."""
    text = "i wont tell anyone. ever."
    by_mentor = shipped_rules().read(Submission(text=text, role=Role.MENTOR))
    by_pupil = shipped_rules().read(Submission(text=text, role=Role.PUPIL))
    assert "boundary" in {signal.label for signal in by_mentor}
    assert "boundary" not in {signal.label for signal in by_pupil}


def test_a_good_file_loads(tmp_path):
    """Names, gaps and contexts mean what docs/moderation.md says."""
    (rule,) = read_rules(rule_file(tmp_path, GOOD))
    assert rule.risk is Risk.HIGH
    assert rule.hit("please finish it all now ok") == (7, 24)
    assert rule.hit("stop one two three now") is None
    assert rule.hit("stop 🔪 it . now") is not None
    assert rule.hit("do not stop now") is None
    assert rule.hit("unstop now") is None


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("[[rule]\nid = 1\n", 1, "line 1"),
        (written(label='"sadness"'), 6, "unknown label 'sadness'"),
        (written(patterns='["stop (now"]'), 9, "bad pattern"),
        (written(patterns='["stop (?=now)"]'), 9, "bad pattern"),
        (written(patterns='[".*"]'), 9, "matches anything"),
        (written(patterns='["stop now "]'), 9, "not a space"),
        (written(patterns='["{nobody} now"]'), 9, "no words named 'nobody'"),
        (written(patterns="[]"), 4, "at least one pattern"),
        (written(match='["go on now"]'), 11, "should match"),
        (written(match="[]"), 4, "at least one example"),
        (written(no_match='["stop now"]'), 12, "should not match"),
        (written(risk='"severe"'), 7, "risk must be one of"),
        (written(risk='"none"'), 4, "asks for nothing"),
        (written(id='"one"'), 5, "must look like"),
        (written(why='""'), 8, "'why' must be a text"),
        (written(unless_before='"not"'), 10, "must be a list"),
        (GOOD + 'roles = ["wizard"]\n', 13, "unknown role"),
        (GOOD + 'patern = ["x"]\n', 13, "unknown field 'patern'"),
        (GOOD.replace('["stop", "finish"]', "[]"), 2, "must be a list of words"),
        (GOOD.replace('"finish"', '"{later}"'), 2, "no words named"),
        ("[rules]\n", 1, "unknown table"),
    ],
)
def test_a_bad_rule_fails_with_its_line(tmp_path, text, line, words):
    """Bad TOML, labels, patterns and examples name file and line, and nothing is loaded."""
    with pytest.raises(BadRule) as caught:
        read_rules(rule_file(tmp_path, text))
    assert str(caught.value).startswith(f"{tmp_path / 'test.toml'}:{line}:")
    assert words in str(caught.value)


def test_two_rules_of_one_id_are_refused(tmp_path):
    """An id stands in the record of every message it held: it means one rule."""
    (tmp_path / "a.toml").write_text(GOOD)
    (tmp_path / "b.toml").write_text(GOOD)
    with pytest.raises(BadRule, match=r"b.toml:4: rule id 'test.one' is used before, at a.toml:4"):
        load_rules(tmp_path)


def test_an_empty_folder_is_refused(tmp_path):
    """A server without rules is a mistake in its settings."""
    with pytest.raises(BadRule, match="no rules"):
        load_rules(tmp_path)


@given(st.text(max_size=300))
@settings(max_examples=60)
def test_rules_read_any_text(text):
    """No text raises, and no span leaves it."""
    for signal in shipped_rules().read(Submission(text=text, role=Role.PUPIL)):
        if signal.span is None:
            assert signal.why.startswith("course.")
            continue
        assert 0 <= signal.span.start <= signal.span.end <= len(text)


def test_a_hit_maps_back_to_what_was_written():
    """A moderator sees the disguised words marked, not their folded form."""
    text = "ok so. k1ll   y0ur$elf now"
    (signal, *_) = shipped_rules().read(Submission(text=text, role=Role.PUPIL))
    assert signal.span is not None
    assert text[signal.span.start : signal.span.end] == "k1ll   y0ur$elf"
    assert isinstance(signal.span, Span)


def test_the_sieve_finds_what_single_rules_find():
    """The joint pass is only faster: for every example it agrees with each rule alone."""
    rules = shipped_rules()
    for parameter in [*examples("match"), *examples("no_match")][::5]:
        view = fold(parameter.values[1])
        for role in (Role.PUPIL, Role.MENTOR):
            alone = {
                rule.id for rule in rules.rules if role in rule.roles and rule.hit(view.text) is not None
            }
            assert {signal.why for signal in rules.signals(view, role)} == alone


def test_a_rule_that_marks_asks_for_nothing_else(tmp_path):
    """It is counted over a conversation: a risk, an action or clearing beside that is a mistake."""
    head = '[[rule]]\nid = "test.one"\nlabel = "self_harm"\nwhy = "x"\n'
    head += 'patterns = ["no point"]\nmatch = ["no point"]\n'
    file = tmp_path / "test.toml"
    file.write_text(head + "marks = true\n", encoding="utf-8")
    [signal] = load_rules(tmp_path).read(Submission(text="no point", role=Role.PUPIL))
    assert (signal.score, signal.span, signal.clears) == (0.0, None, False)
    for wrong in (
        'marks = true\nrisk = "high"\n',
        'marks = true\nclears = true\nroles = ["mentor"]\n',
        "marks = 1\n",
    ):
        file.write_text(head + wrong, encoding="utf-8")
        with pytest.raises(BadRule):
            load_rules(tmp_path)
