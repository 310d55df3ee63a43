"""From settings to a verdict, and the commands that an operator types before that."""

import json
import re

import pytest

from moderation.build import default_pipeline, detoxify
from moderation.verdict import Action, Role, Submission
from peerchat.settings import load_settings
from web.cli import main


def options(made, **changes):
    values = {"model": "local", "file": made.file, "sha256": made.sha256, "folder": made.folder} | changes
    return [word for name, value in values.items() for word in (f"--{name}", str(value))]


def config(made, tmp_path, *more):
    file = tmp_path / "peerchat.toml"
    lines = [
        'data = "unused"',
        'detoxify_model = "local"',
        f'detoxify_file = "{made.file}"',
        f'detoxify_folder = "{made.folder}"',
        *more,
    ]
    file.write_text("\n".join(lines))
    return file


async def test_what_the_settings_name_judges(bert, tmp_path):
    """Rules and the embedded classifier are left out here, so the hold is Detoxify's alone."""
    settings = load_settings(config(bert, tmp_path, f'detoxify_sha256 = "{bert.sha256}"'), environ={})
    wanted = settings.detoxify
    assert wanted is not None
    assert wanted == bert.wanted()
    pipeline = default_pipeline(classifiers=[], beside=[detoxify(wanted, deadline_s=30)], deadline_s=30)
    said = ["she is lovely today", "they are an ugly pig"] * 20
    verdicts = await pipeline.judge([Submission(text=text, role=Role.PUPIL) for text in said])
    assert not any(verdict.degraded for verdict in verdicts)
    assert [verdict.action for verdict in verdicts] == [Action.DELIVER, Action.HOLD] * 20
    stages = {signal.stage for signal in verdicts[1].signals if signal.label == "toxicity:insult"}
    assert "detoxify" in stages


def test_a_model_without_a_pin_is_refused(bert, tmp_path, capsys):
    """At start, with one line that names the setting."""
    assert main(["models", "check", "--config", str(config(bert, tmp_path))]) == 2
    assert "detoxify_sha256: not set" in capsys.readouterr().err


def test_check_reads_two_texts(bert, capsys):
    """And says what a message costs here."""
    assert main(["models", "check", *options(bert)]) == 0
    said = capsys.readouterr().out
    assert len(re.findall(r"toxicity:insult +0\.\d{4}", said)) == 2
    assert re.search(r"[\d.]+ ms a message", said)


def test_export_says_what_to_set_and_that_works(bert, tmp_path, capsys):
    """From the command's own last lines to a model that answers."""
    out = tmp_path / "onnx"
    texts = tmp_path / "texts.txt"
    texts.write_text("you are kind\nyou are an idiot\n\n")
    assert main(["models", "export", *options(bert), "--out", str(out), "--texts", str(texts)]) == 0
    said = capsys.readouterr().out
    assert re.search(r"onnx: [\d.]+ MB; 2 texts: largest difference 0\.0000", said)
    found = dict(re.findall(r'^detoxify_(file|sha256|format) = "([^"]+)"', said, re.MULTILINE))
    assert (
        main(["models", "check", "--model", "local", *(w for k, v in found.items() for w in (f"--{k}", v))])
        == 0
    )
    assert "local as onnx-int8" in capsys.readouterr().out


def test_calibrate_gives_the_scores_that_a_share_reaches(bert, tmp_path, capsys):
    """Of enough messages; too few are refused, with the number that is needed."""
    data = tmp_path / "benign.jsonl"
    lines = [
        json.dumps({"text": f"she is {word}"}) for word in "kind clever funny lovely great tired here".split()
    ]
    data.write_text("\n".join(lines * 15))
    assert main(["models", "calibrate", *options(bert), "--data", str(data), "--share", "0.1"]) == 0
    said = capsys.readouterr().out
    assert re.search(r'^"toxicity:insult" = \{ hold = 0\.\d{3} \}$', said, re.MULTILINE)
    assert "obscene" not in said
    assert main(["models", "calibrate", *options(bert), "--data", str(data)]) == 2
    assert "needs 1000" in capsys.readouterr().err


@pytest.mark.parametrize(
    "word", ["original", "unbiased-small", "toxic_original-c1212f89.ckpt", "torch 2.13.0"]
)
def test_list_names_them(word, capsys):
    """All five, their files, and what is installed."""
    assert main(["models", "list"]) == 0
    assert word in capsys.readouterr().out
