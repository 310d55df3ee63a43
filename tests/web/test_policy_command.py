"""`peerchat policy`: what is wrong with file and line, and a policy in words."""

import pytest

from moderation.policy_file import POLICY
from web import cli


@pytest.fixture
def written(tmp_path):
    def written(text, name="policy.toml"):
        file = tmp_path / name
        file.write_text(text, encoding="utf-8")
        return str(file)

    return written


def test_check_passes_what_can_be_used(written, capsys):
    """A whole policy with its version, and a room over it."""
    room = written('[room.young.actions]\n"contact.postcode" = "block"\n', "room.toml")
    assert cli.main(["policy", "check", str(POLICY), room]) == 0
    out, err = capsys.readouterr()
    assert err == "" and "policy.toml: 1-" in out and "room.toml: lies over" in out


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('version = "1"\n[setled]\n', ":2: unknown entry 'setled'"),
        ('[room.young.actions]\n"contact.fax" = "block"\n', ":2: 'contact.fax' is neither"),
        ('[room.young.stage.linear]\n"level:high" = { high = 0.99 }\n', ":2: level:high: high may be"),
        ("[", ":1: "),
        ('version = "1"\n', ":1: linear judges a pupil, and no score of it counts"),
    ],
)
def test_check_names_what_cannot(written, capsys, text, words):
    """Each file is looked at, and the exit status is 1."""
    bad = written(text, "bad.toml")
    assert cli.main(["policy", "check", bad, str(POLICY)]) == 1
    out, err = capsys.readouterr()
    assert f"peerchat: {bad}{words}" in err and str(POLICY) in out


def test_a_file_that_is_not_there_is_bad_usage(capsys):
    """As with every other command."""
    assert cli.main(["policy", "check", "/nowhere/policy.toml"]) == 2
    assert "no such file" in capsys.readouterr().err


def test_explain_says_the_policy_in_words(written, capsys):
    """The shipped one, and with what a room has otherwise."""
    room = written('[room.young]\nabout = "Ages 11 to 13"\nhold_all = true\n', "room.toml")
    assert cli.main(["policy", "explain", room]) == 0
    out = capsys.readouterr().out
    assert "## What a pupil writes" in out and "## Otherwise in room young" in out
    assert cli.main(["policy", "explain", str(POLICY), str(POLICY)]) == 2
