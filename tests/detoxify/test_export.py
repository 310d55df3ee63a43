"""What is exported is the same model, and runs without torch."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from moderation.toxicity import BadDetoxify, Form, Toxicity, Wanted, load
from moderation.toxicity.export import TEXTS, export
from moderation.verdict import Role, Submission
from tests.detoxify.reading import scores

ROOT = Path(__file__).resolve().parents[2]


def of(exported, form=Form.ONNX, **changes):
    values = {"model": "local", "file": exported.about, "sha256": exported.sha256, "form": form}
    return Wanted(**{**values, **changes})


def test_both_forms_agree_with_torch(made, exported):
    """The 32-bit form to the fifth digit, the 8-bit one closely; texts of every length."""
    done = exported(made)
    torch_form, fp32, int8 = load(made.wanted()), load(of(done)), load(of(done, Form.ONNX_INT8))
    long = "they are an ugly pig and we are here " * 40
    for text in ["", "hi", "you are an idiot", long, "Grüße 😂"]:
        expected = scores(torch_form, text)
        assert np.allclose(scores(fp32, text), expected, atol=1e-5)
        assert np.allclose(scores(int8, text), expected, atol=0.1)
    assert done.agreement[Form.ONNX].largest < 1e-5
    assert done.agreement[Form.ONNX_INT8].largest < 0.1
    assert done.agreement[Form.ONNX].texts == len(TEXTS.read_text().splitlines())


def test_every_product_with_weights_has_8_bits(made, exported):
    """An ALBERT's too, whose shared weights a quantiser passes over unless constants are folded first."""
    graph = onnx.load(exported(made).about.parent / "model.int8.onnx").graph
    constants = {one.name for one in graph.initializer}
    constants |= {node.output[0] for node in graph.node if node.op_type == "Constant"}
    left = [
        node.name for node in graph.node if node.op_type in ("MatMul", "Gemm") and node.input[1] in constants
    ]
    assert not left
    assert sum(node.op_type == "MatMulInteger" for node in graph.node) >= 12


WITHOUT_TORCH = """
import sys
for name in ("torch", "transformers", "detoxify", "onnx", "onnxscript"):
    sys.modules[name] = None
from pathlib import Path
from moderation.toxicity import Form, Wanted, load
file, sha256 = sys.argv[1:]
model = load(Wanted(model="local", file=Path(file), sha256=sha256, form=Form.ONNX))
print(model.judge("you are an idiot").tolist())
"""


def test_it_runs_where_torch_is_not_installed(made, exported):
    """onnxruntime and a tokenizer are enough."""
    done = exported(made)
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, str(done.about), done.sha256],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert np.allclose(json.loads(ran.stdout), scores(load(made.wanted()), "you are an idiot"), atol=1e-5)


@pytest.mark.parametrize("form", [Form.ONNX, Form.ONNX_INT8])
async def test_neighbours_change_no_score(bert, exported, form):
    """The 8-bit form scales what it reads together, so it reads each text alone."""
    model = load(of(exported(bert), form))
    stage = Toxicity(model, answer_within_s=30, least_score=0.0)
    texts = ["you are an idiot", "hello", "i will find you", "we are late today you know"]
    rows = await stage.assess([Submission(text=text, role=Role.PUPIL) for text in texts])
    for text, row in zip(texts, rows, strict=True):
        assert row
        given = sorted((signal.score for signal in row), reverse=True)
        assert np.allclose(given, sorted(scores(model, text), reverse=True), atol=1e-6)


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "detoxify.toml"])
def test_a_changed_file_is_refused(bert, exported, tmp_path, name):
    """The one pin covers weights, tokenizer and labels."""
    done = exported(bert)
    folder = tmp_path / "copy"
    shutil.copytree(done.about.parent, folder)
    raw = bytearray((folder / name).read_bytes())
    raw[len(raw) // 2] ^= 1
    (folder / name).write_bytes(raw)
    with pytest.raises(BadDetoxify, match=r"detoxify_(file|sha256): .* is not the file"):
        load(of(done, file=folder / "detoxify.toml"))


def rewritten(done, tmp_path, pattern, other):
    """A copy of an export whose detoxify.toml says something else, its hash pinned as it then is."""
    import hashlib

    folder = tmp_path / "copy"
    shutil.copytree(done.about.parent, folder)
    about = folder / "detoxify.toml"
    text, count = re.subn(pattern, other, about.read_text(), count=1)
    assert count == 1
    about.write_text(text)
    return of(done, file=about, sha256=hashlib.sha256(about.read_bytes()).hexdigest())


@pytest.mark.parametrize(
    ("pattern", "other", "says"),
    [
        ('"threat", "insult"', '"insult", "threat"', "detoxify_file: .* other labels"),
        ("version = 1", "version = 2", "detoxify_file: .* another version"),
        ('model = "local"', 'model = "original"', "detoxify_model: "),
        ("pad_id = 0", "pad_id = -1", "detoxify_file: .* impossible"),
        ("max_tokens = 512", "max_tokens = 4096", "detoxify_file: .* impossible"),
        (r'"model\.onnx" = "[0-9a-f]+"', "", "detoxify_format: .* lists no"),
        ("version", "version ==", "detoxify_file: .* is not the detoxify.toml"),
    ],
    ids="labels version model pad length unlisted broken".split(),
)
def test_an_export_of_something_else_is_refused(bert, exported, tmp_path, pattern, other, says):
    """Even when it is what was pinned."""
    with pytest.raises(BadDetoxify, match=says):
        load(rewritten(exported(bert), tmp_path, pattern, other))


def test_an_export_goes_into_a_new_folder(bert, tmp_path):
    """Nothing is written over, and what fails leaves nothing behind."""
    out = tmp_path / "there"
    out.mkdir()
    with pytest.raises(BadDetoxify, match="is there already"):
        export(bert.wanted(), out, ["hello"])
    with pytest.raises(BadDetoxify, match="detoxify_sha256"):
        export(bert.wanted(sha256="0" * 64), tmp_path / "new", ["hello"])
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_only_a_checkpoint_is_exported(bert, exported, tmp_path):
    """Not what was exported already."""
    with pytest.raises(BadDetoxify, match="detoxify_format"):
        export(of(exported(bert)), tmp_path / "new", ["hello"])
