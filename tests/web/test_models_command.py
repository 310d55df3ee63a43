"""`peerchat models verify`: the models that come with the project, against their hashes."""

import shutil

import pytest

from moderation.linear import MODELS
from web.cli import main

FILES = {
    "linear.npz": "linear",
    "transformer.onnx": "transformer",
    "transformer.vocab.txt": "transformer",
    "language.npz": "language",
    "trajectory.toml": "trajectory",
}


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    return shutil.copytree(MODELS, tmp_path_factory.mktemp("models") / "models")


def test_the_shipped_models_are_whole(capsys):
    assert main(["models", "verify"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in out] == ["linear", "transformer", "language", "trajectory"]


@pytest.mark.parametrize("name", FILES)
def test_a_byte_that_changed_is_found_and_named(copied, capsys, name):
    file = copied / name
    whole = file.read_bytes()
    try:
        file.write_bytes(whole[:-20] + bytes([whole[-20] ^ 1]) + whole[-19:])
        assert main(["models", "verify", "--models", str(copied)]) == 1
    finally:
        file.write_bytes(whole)
    out, err = capsys.readouterr()
    assert str(copied) in err
    assert f"{FILES[name]}: whole" not in out
