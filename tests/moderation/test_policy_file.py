"""Policy files: read whole or refused with file and line; what sites and rooms have lies over them."""

import pytest

from moderation.policy import Reason, Threshold
from moderation.policy_file import (
    MOST_AGREES,
    POLICY,
    BadPolicy,
    Lines,
    is_overlay,
    load_policy,
)
from moderation.training.thresholds_file import marks, write_policy
from moderation.verdict import Action, Role

V = 'version = "1"\n'
BASE = V + '[stage.linear]\nself_harm = { high = 0.8 }\n"toxicity:insult" = { hold = 0.5 }\n'
SURE = V + "[stage.linear]\nself_harm = { high = 0.8, sure = 0.95 }\n"
HEARD = V + '[stage.linear]\n"level:high" = { high = 0.8 }\n'


@pytest.fixture
def written(tmp_path):
    def written(text, name="policy.toml"):
        file = tmp_path / name
        file.write_text(text, encoding="utf-8")
        return file

    return written


def test_the_shipped_policy_is_in_force_as_written():
    """Its heuristics are about scores alone; a better classifier supersedes; concern gathers."""
    policy = load_policy()
    assert policy.supersedes == {"transformer": {"linear"}}
    assert policy.gathers_concern
    assert policy.missing == {"language": Reason.LANGUAGE}
    for one in (policy.told, policy.aimed):
        assert one.stages == {"linear", "transformer", "detoxify"}
    assert "transformer" not in policy.settled.stages, "a phone number would silence what it finds beside it"
    assert policy.aimed.whoever == {"personal_data", "boundary"}
    assert 0 < policy.rates["linear"]["high"] < 0.05


def test_the_version_changes_with_each_file_and_with_what_else_decides(written):
    """Two verdicts of one version were decided alike."""
    file, over = written(POLICY.read_text(encoding="utf-8")), written("[room.a]\nhold_all = true\n", "a.toml")
    same = load_policy(file)
    assert same.version == load_policy().version and same.version.endswith(same.digest[:8])
    versions = {
        same.version,
        load_policy(file, made_with=b"other rules").version,
        load_policy(file, overlays=[over]).version,
    }
    over.write_text("[room.a]\nhold_all = false\n")
    versions.add(load_policy(file, overlays=[over]).version)
    file.write_text(file.read_text(encoding="utf-8") + "\n# changed\n", encoding="utf-8")
    versions.add(load_policy(file).version)
    assert len(versions) == 5


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (V + "[stage.linear\n", 2, "line 2"),
        ("x = 1\n", 1, "unknown entry 'x'"),
        ('version = "a b"\n', 1, "version must be"),
        ("[settled]\nlabels = []\n", 1, "version must be"),
        (V + "[stage.linear]\nsadness = { hold = 0.5 }\n", 3, "unknown label 'sadness'"),
        (V + "[stage.linear]\nabuse = 0.5\n", 3, "table of thresholds"),
        (V + "[stage.linear]\nabuse = { hold = 2 }\n", 3, "at most 1"),
        (V + "[stage.linear]\nabuse = { hold = nan }\n", 3, "at most 1"),
        (V + "[stage.linear]\nabuse = { hold = true }\n", 3, "at most 1"),
        (V + "[stage.linear]\nabuse = { holt = 0.5 }\n", 3, "unknown threshold 'holt'"),
        (V + "[stage.linear]\nabuse = { concern = 0.9, high = 0.5 }\n", 3, "no lower"),
        (V + "[stage.linear]\nabuse = { high = 0.8, sure = 1.0 }\n", 3, "sure may be 0.99 at most"),
        (V + "[stage.linear]\nabuse = { high = 0.8, sure = 7 }\n", 3, "at most 1"),
        (V + '[stage."linear.teacher"]\n', 2, "unknown role 'teacher'"),
        (V + "stage = 7\n", 2, "must be a table"),
        (V + '[reasons]\nabuse = "because"\n', 3, "unknown reason 'because'"),
        (V + '[reasons]\nabuse = "unkind"\n', 3, "never unkind"),
        (V + '[settled]\n# x\nlabels = [\n  "abuse",\n  "x",\n]\n', 6, "unknown label 'x'"),
        (V + '[settled]\nstages = ["liner"]\n', 3, "unknown stage 'liner'"),
        (V + '[aimed]\nwords = "you"\n', 3, "list of words"),
        (V + "[aimed]\nunless_score = 7\n", 3, "at most 1"),
        (V + '[told]\nlabels = ["x"]\n', 3, "unknown label 'x'"),
        (V + "[aimed]\nother = 7\n", 3, "unknown entry 'other'"),
        (V + '[supersedes]\ntransformer = ["rules"]\n', 3, "nothing supersedes rules"),
        (V + '[supersedes]\ntransformer = ["contact"]\n', 3, "nothing supersedes contact"),
        (V + '[supersedes]\nlinear = ["linear"]\n', 3, "nothing supersedes linear"),
        (V + '[supersedes]\nother = ["linear"]\n', 3, "unknown stage 'other'"),
        (V + '[conversation]\ngathers = ["high"]\n', 3, "only concern may gather"),
        (V + "[conversation]\nagrees = 0.81\n", 3, "agrees must be a number from 0 to 0.8"),
        (V + "[conversation]\n# x\nagrees = -0.1\n", 4, "agrees must be a number"),
        (V + "[conversation]\nagrees = nan\n", 3, "agrees must be a number"),
        (V + "[conversation]\nagrees = true\n", 3, "agrees must be a number"),
        (V + '[conversation]\nagrees = "0.5"\n', 3, "agrees must be a number"),
        (V + "[conversation]\nagrees = inf\n", 3, "agrees must be a number"),
        (V + "[conversation]\nagrees = 0.5\nagree = 0.1\n", 4, "unknown entry 'agree'"),
        (BASE + "[room.a.conversation]\nagrees = 0.1\n", 5, "unknown entry 'conversation'"),
        (V + '[stage.transformer]\n"together:risk" = { hold = 0.5 }\n', 3, "unknown label 'together:risk'"),
        (V + '[gate]\n"together:risk" = 0.1\n', 3, "unknown label 'together:risk'"),
        (V + '[missing]\nlanguage = "sorry"\n', 3, "unknown reason 'sorry'"),
        (V + '[missing]\nlanguages = "language"\n', 3, "unknown stage 'languages'"),
        (V + "[rates.linear]\nhigh = 3\n", 3, "at most 1"),
        (V + "[rates.linear]\nhighest = 0.1\n", 3, "unknown entry 'highest'"),
        (V + "[gate]\nsadness = 0.1\n", 3, "unknown label 'sadness'"),
        (BASE + '[site."a b"]\n', 5, "a name has letters"),
        (BASE + "[site.a]\nhold_all = 1\n", 6, "true or false"),
        (BASE + "[site.a]\nhold = true\n", 6, "unknown entry 'hold'"),
        (BASE + '[room.a.actions]\nsadness = "hold"\n', 6, "neither a label nor a rule"),
        (BASE + '[room.a.actions]\nabuse = "deliver"\n', 6, '"hold" or "block"'),
        (BASE + "[room.a.stage.linear]\nself_harm = { high = 0.9 }\n", 6, "high may be 0.8 at most"),
        (BASE + "[room.a.stage.linear]\nself_harm = { sure = 0.9 }\n", 6, "leave out sure"),
        (SURE + "[room.a.stage.linear]\nself_harm = { sure = 0.96 }\n", 5, "sure may be 0.95 at most"),
        (SURE + "[room.a.stage.linear]\nself_harm = { sure = 0.995 }\n", 5, "sure may be 0.99 at most"),
        (BASE + "[room.a.stage.liner]\nself_harm = { high = 0.5 }\n", 5, "unknown stage 'liner'"),
        (BASE + "[room.a.stage.linear]\nself_harm = { heigh = 0.5 }\n", 6, "unknown threshold"),
    ],
)
def test_a_bad_policy_fails_with_its_line(written, text, line, words):
    """Nothing starts on a policy with a slip in it."""
    file = written(text)
    with pytest.raises(BadPolicy) as caught:
        load_policy(file)
    assert str(caught.value).startswith(f"{file}:{line}:"), caught.value
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "agrees"),
    [
        ("", 0.0),
        ("[conversation]\n", 0.0),
        ("[conversation]\nagrees = 0\n", 0.0),
        ("[conversation]\nagrees = 0.8\n", MOST_AGREES),
    ],
)
def test_the_second_reading_has_no_say_where_the_file_gives_it_none(written, text, agrees):
    policy = load_policy(written(V + text))
    assert (policy.agrees, policy.gathers_concern) == (agrees, False)


def test_a_file_that_is_not_there_or_not_text_is_named(written, tmp_path):
    """With a line all the same: who reads the message may be a program."""
    for file in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(BadPolicy, match="cannot be read"):
            load_policy(file)
    file = written(V)
    file.write_bytes(b"version = '\xff'")
    with pytest.raises(BadPolicy, match="not UTF-8"):
        load_policy(file)


@pytest.mark.parametrize(
    ("text", "used", "line", "words"),
    [
        (V, {"linear"}, 1, "linear judges a pupil, and no score of it counts"),
        (HEARD, {"linear", "transformer"}, 2, "transformer judges a pupil"),
        (BASE, {"linear"}, 2, "level:high: linear is never heard"),
        (HEARD.replace("0.8", "0.995"), {"linear"}, 3, "level:high: linear is never heard"),
        (
            HEARD + '[stage."linear.mentor"]\n"level:high" = { concern = 0.5 }\n',
            {"linear"},
            5,
            "a mentor needs",
        ),
        (HEARD, {"detoxify"}, 2, "detoxify judges a pupil"),
        (HEARD + "[stage.detoxify]\nabuse = { named = 0.5 }\n", {"detoxify"}, 4, "detoxify judges a pupil"),
    ],
)
def test_a_policy_under_which_a_classifier_says_nothing_is_refused(written, text, used, line, words):
    """Found by a review: a stage that judges was silenced by leaving its thresholds out."""
    file = written(text)
    load_policy(file)
    with pytest.raises(BadPolicy) as caught:
        load_policy(file, used=used)
    assert str(caught.value).startswith(f"{file}:{line}:"), caught.value
    assert words in str(caught.value)


def test_a_policy_under_which_each_is_heard_is_taken(written):
    """What has no scores needs no thresholds; Detoxify has no levels."""
    file = written(HEARD + '[stage.detoxify]\n"toxicity:insult" = { hold = 0.5 }\n')
    used = {"rules", "contact", "language", "linear", "detoxify"}
    assert load_policy(file, used=used).version.startswith("1-")
    assert load_policy(used={"linear", "transformer", "detoxify"}).version == load_policy().version


def test_sites_and_rooms_in_files_of_their_own(written):
    """They name what is otherwise and nothing else; the rest stays as the policy has it."""
    base = written(BASE)
    site = written(
        '[site.north]\nabout = "North"\n[site.north.actions]\n"contact.postcode" = "block"\n', "north.toml"
    )
    room = written("[room.young.stage.linear]\nself_harm = { high = 0.6 }\n", "young.toml")
    policy = load_policy(base, overlays=[site, room], rules=["contact.postcode"])
    assert policy.sites["north"].actions == {"contact.postcode": Action.BLOCK}
    assert policy.threshold("linear", "self_harm", Role.PUPIL) == Threshold(high=0.8)
    assert policy.threshold("linear", "self_harm", Role.PUPIL, room="young") == Threshold(high=0.6)
    assert policy.threshold("linear", "toxicity:insult", Role.MENTOR, room="young") == Threshold(hold=0.5)
    assert is_overlay(site) and is_overlay(room) and not is_overlay(base)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ('version = "1"\n', 1, "unknown entry 'version'"),
        ("[room.young]\n\n[reasons]\n", 3, "unknown entry 'reasons'"),
        ("[room.young.stage.linear]\nself_harm = { high = 0.81 }\n", 2, "high may be 0.8 at most"),
        ('[room.young.actions]\n"contact.fax" = "block"\n', 2, "neither a label nor a rule"),
        ("[room.taken]\n", 1, "in another file already"),
    ],
)
def test_a_bad_file_of_a_room_fails_with_its_line(written, text, line, words):
    """The file at fault is named, not the policy under it."""
    base, file = written(BASE + "[room.taken]\n"), written(text, "over.toml")
    with pytest.raises(BadPolicy) as caught:
        load_policy(base, overlays=[file], rules=["contact.postcode"])
    assert str(caught.value).startswith(f"{file}:{line}:"), caught.value
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("base", "site", "room", "merged"),
    [
        (SURE, "{ high = 0.7 }", "{ hold = 0.5 }", Threshold(high=0.7, hold=0.5, sure=0.95)),
        (SURE, "{ sure = 0.9 }", "{ sure = 0.85 }", Threshold(high=0.8, sure=0.85)),
        (BASE, "{ high = 0.7 }", "{ high = 0.6 }", Threshold(high=0.6)),
        (V, "{ high = 0.7, sure = 0.9 }", "{ high = 0.6, sure = 0.8 }", Threshold(high=0.6, sure=0.8)),
        (V, "{ high = 0.7, sure = 0.9 }", "{ high = 0.6 }", Threshold(high=0.6)),
        (V, "{ high = 0.7, sure = 0.9 }", "{ concern = 0.6 }", Threshold(concern=0.6, high=0.7, sure=0.9)),
    ],
)
def test_of_several_scores_that_are_sure_the_lowest_counts(written, base, site, room, merged):
    """None at all is lower than any: then all high risk raises at once."""
    over = [
        written(f"[site.a.stage.linear]\nself_harm = {site}\n", "site.toml"),
        written(f"[room.b.stage.linear]\nself_harm = {room}\n", "room.toml"),
    ]
    policy = load_policy(written(base), overlays=over)
    assert policy.threshold("linear", "self_harm", Role.PUPIL, site="a", room="b") == merged


def test_a_file_of_rooms_is_no_policy(written):
    """It lies over one."""
    with pytest.raises(BadPolicy, match="lies over a policy"):
        load_policy(written("[room.young]\nhold_all = true\n"))


def test_lines_are_found_by_path_not_by_likeness():
    """A name in a comment or in another table is not the entry."""
    lines = Lines('# b = 1\n[a] # b\nc = 1\n\n["a"."d.e"]\nb = [\n  1,\n  "x",\n]\nf.g = 2\n')
    assert lines.of("a") == 2
    assert lines.of("a", "c") == 3
    assert lines.of("a", "d.e", "b") == 6
    assert lines.of("a", "d.e", "b", "x") == 8
    assert lines.of("a", "d.e", "f", "g") == 10
    assert lines.of("a", "nothing") == 2
    assert lines.of("nothing") == 1


def test_a_script_writes_its_part_and_leaves_the_rest(written):
    """What it wrote is read back; a second script's part stands beside it."""
    file = written(BASE)
    write_policy(
        {"transformer": {"level:high": {"high": 0.7}}}, file, gate={"level:concern": 0.2}, writer="b"
    )
    write_policy(
        {"linear.mentor": {"self_harm": {"named": 0.2}}}, file, rates={"linear.mentor": {"high": 0.015}}
    )
    write_policy({"transformer": {"level:high": {"high": 0.6}}}, file, writer="b")
    policy = load_policy(file)
    assert policy.threshold("transformer", "level:high", Role.PUPIL) == Threshold(high=0.6)
    assert policy.threshold("linear", "self_harm", Role.PUPIL) == Threshold(high=0.8)
    assert policy.threshold("linear", "self_harm", Role.MENTOR) == Threshold(named=0.2)
    assert policy.rates == {"linear.mentor": {"high": 0.015}} and policy.gate == {}
    text = file.read_text(encoding="utf-8")
    assert text.startswith(BASE.rstrip()) and all(text.count(line) == 1 for line in marks("b"))


def test_writing_the_shipped_part_again_changes_nothing_but_that_part(written):
    """The marked lines of the shipped file are the ones that the script looks for."""
    file = written(POLICY.read_text(encoding="utf-8"))
    before = load_policy(file)
    tables = {
        stage: {
            label: {
                name: value
                for name in ("named", "concern", "high", "immediate", "hold")
                if (value := getattr(threshold, name)) is not None
            }
            for label, threshold in before.thresholds[stage].items()
        }
        for stage in ("linear", "linear.mentor")
    }
    write_policy(tables, file, rates={stage: before.rates[stage] for stage in tables})
    assert file.read_text(encoding="utf-8") == POLICY.read_text(encoding="utf-8")
