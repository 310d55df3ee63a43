"""A checkpoint as the real package reads it, and nothing else: not one changed, not one that runs code."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from detoxify import Detoxify

from moderation.toxicity import PUBLISHED, BadDetoxify, load
from moderation.toxicity.published import Published
from moderation.verdict import TOXICITY_LABELS
from tests.detoxify.reading import scores, stretches

ROOT = Path(__file__).resolve().parents[2]

SAID = [
    "you are kind",
    "You are an IDIOT, and everybody knows it!",
    "i will find you 😂",
    "",
    "Grüße, žluťoučký 東京",
]


def changed(made, tmp_path, change):
    """A copy of a checkpoint with something changed in it, its hash pinned as it then is."""
    held = torch.load(made.file, weights_only=True)
    change(held)
    file = tmp_path / "changed.ckpt"
    torch.save(held, file)
    return type(made)(made.architecture, file, made.folder)


def test_scores_are_the_packages_own(made, tmp_path):
    """Each architecture, each label by its name: what `Detoxify.predict` says of a text, to the fifth digit.

    The package is given the folder as the model's type, for it would ask the network about any other.
    """

    def at_home(held):
        held["config"]["arch"]["args"]["model_type"] = str(made.folder)

    reference = Detoxify(checkpoint=str(changed(made, tmp_path, at_home).file))
    model = load(made.wanted())
    texts = [*SAID, " ".join(SAID * 8)]
    for text in texts:
        theirs = reference.predict(text)
        ours = scores(model, text)
        assert np.allclose(ours, [theirs[label] for label in TOXICITY_LABELS], atol=1e-5), text


def test_a_batch_changes_no_score(made):
    """Padding to the longest is masked, in every architecture."""
    model = load(made.wanted())
    rows = [stretches(model, text)[0] for text in SAID]
    together = model.read(rows)
    assert np.allclose(together, [model.read([ids])[0] for ids in rows], atol=1e-5)


def test_it_learnt_what_it_was_shown(bert):
    """So the labels are where they should be: an insult is one, and a threat is another thing."""
    model = load(bert.wanted())
    kind, insult, threat = (
        dict(zip(TOXICITY_LABELS, scores(model, text), strict=True))
        for text in ("she is lovely today", "they are an ugly pig", "i will hurt you")
    )
    assert max(kind.values()) < 0.5
    assert insult["insult"] > 0.7 > 0.5 > insult["threat"]
    assert threat["threat"] > 0.7 > 0.5 > threat["insult"]


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_each_published_model_loads_by_its_name(all_made, name, monkeypatch):
    """With a stand-in of its architecture, under the hash that its file name announces."""
    architecture = PUBLISHED[name].architecture
    (made,) = (one for one in all_made.values() if one.architecture is architecture)
    file = f"{name}-{made.sha256[:8]}.ckpt"
    monkeypatch.setitem(PUBLISHED, name, Published(architecture, file, "none"))
    model = load(made.wanted(model=name))
    assert model.name == name
    assert scores(model, "hello").shape == (6,)


def test_a_name_loads_no_other_architecture(bert, monkeypatch):
    """What is set as `unbiased` must be a RoBERTa, whatever its hash."""
    other = Published(PUBLISHED["unbiased"].architecture, f"x-{bert.sha256[:8]}.ckpt", "none")
    monkeypatch.setitem(PUBLISHED, "unbiased", other)
    with pytest.raises(BadDetoxify, match=r"detoxify_model: .* is no 'unbiased' model"):
        load(bert.wanted(model="unbiased"))


COLD = """
import sys
asked = []
sys.addaudithook(lambda event, args: asked.append(event) if event.startswith("socket.") else None)
from pathlib import Path
from moderation.toxicity import Wanted, load
file, sha256, folder = sys.argv[1:]
assert "torch" not in sys.modules
model = load(Wanted(model="local", file=Path(file), sha256=sha256, folder=Path(folder)))
print(model.judge("you are an idiot").tolist())
reached = [event for event in asked if event not in ("socket.__new__",)]
assert not reached, reached
"""


def test_a_cold_start_asks_the_network_nothing(made):
    """A new process, without any variable that forbids it: no name looked up, no connection tried."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TRANSFORMERS_"))}
    done = subprocess.run(
        [sys.executable, "-c", COLD, str(made.file), made.sha256, str(made.folder)],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)) == 6


class Trap:
    """What a hostile file would run when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, (os.environ["TRAP"],)


def test_a_file_that_would_run_code_is_not_opened(bert, tmp_path, monkeypatch):
    """Even with the right pin: the package itself would have run it."""
    trap = tmp_path / "sprung"
    monkeypatch.setenv("TRAP", str(trap))
    held = torch.load(bert.file, weights_only=True)
    held["config"]["name"] = Trap()
    file = tmp_path / "trap.ckpt"
    torch.save(held, file)
    with pytest.raises(BadDetoxify, match=r"detoxify_file: .* holds more than weights"):
        load(type(bert)(bert.architecture, file, bert.folder).wanted())
    assert not trap.exists()
    torch.load(file, weights_only=False)
    assert trap.exists()  # it was a trap


def test_another_hash_is_refused(bert):
    """Before anything is read as a model."""
    with pytest.raises(BadDetoxify, match=r"detoxify_sha256: .* is not the file with this hash"):
        load(bert.wanted(sha256="0" * 64))


def no_classes(held):
    del held["config"]["dataset"]["args"]["classes"]


def fewer_classes(held):
    held["config"]["dataset"]["args"]["classes"].remove("threat")


def classes_beyond(held):
    held["config"]["dataset"]["args"]["classes"] += ["one", "too many"]


def strange_class(held):
    held["config"]["arch"]["args"]["model_name"] = "AutoModel"


def strange_tokenizer(held):
    held["config"]["arch"]["args"]["tokenizer_name"] = "AutoTokenizer"


def missing_weight(held):
    del held["state_dict"]["classifier.weight"]


def unknown_weight(held):
    held["state_dict"]["bert.extra"] = torch.zeros(1)


def other_shape(held):
    held["state_dict"]["classifier.weight"] = torch.zeros(6, 7)


def other_outputs(held):
    held["config"]["arch"]["args"]["num_classes"] = 9


def no_number(held):
    held["state_dict"]["classifier.bias"][2] = float("nan")


def no_tensor(held):
    held["state_dict"]["classifier.bias"] = [0.0] * 6


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (no_classes, "detoxify_file: .* does not say what it is"),
        (fewer_classes, "detoxify_file: .* has no threat"),
        (classes_beyond, "detoxify_file: .* classes that its outputs do not have"),
        (strange_class, "detoxify_file: .* does not say what it is"),
        (strange_tokenizer, "detoxify_file: .* another tokenizer than BertTokenizer"),
        (missing_weight, r"detoxify_folder: .*classifier\.weight is missing"),
        (unknown_weight, r"detoxify_folder: .*bert\.extra is unknown"),
        (other_shape, r"detoxify_folder: .*classifier\.weight should be \(6, 48\) and is \(6, 7\)"),
        (other_outputs, r"detoxify_folder: .*classifier\.weight should be \(9, 48\)"),
        (no_number, "detoxify_file: .* weights that are no numbers"),
        (no_tensor, "detoxify_file: .* weights that are no tensors"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_wrong_checkpoint_is_refused(bert, tmp_path, change, says):
    """One error that names the setting; the library would have filled most of these with random numbers."""
    with pytest.raises(BadDetoxify, match=says):
        load(changed(bert, tmp_path, change).wanted())


def test_positions_stored_by_older_releases_are_no_weights(bert, tmp_path):
    """Published files were written when these stood in them."""

    def count(held):
        held["state_dict"]["bert.embeddings.position_ids"] = torch.arange(512).expand((1, -1))

    old = load(changed(bert, tmp_path, count).wanted())
    assert np.array_equal(scores(old, "you are here"), scores(load(bert.wanted()), "you are here"))


def test_a_file_that_is_no_checkpoint_is_refused(bert, tmp_path):
    """Nor what is none at all."""
    file = tmp_path / "any.ckpt"
    file.write_bytes(b"PK nothing of the kind")
    with pytest.raises(BadDetoxify, match="detoxify_file"):
        load(type(bert)(bert.architecture, file, bert.folder).wanted())


def test_a_folder_that_does_not_fit_is_refused(all_made, bert, tmp_path):
    """Another model's, another size's, or an empty one."""
    with pytest.raises(BadDetoxify, match="detoxify_folder"):
        load(bert.wanted(folder=tmp_path))
    with pytest.raises(BadDetoxify, match="detoxify_folder"):
        load(bert.wanted(folder=all_made["roberta"].folder))
    folder = tmp_path / "copy"
    shutil.copytree(bert.folder, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    with pytest.raises(BadDetoxify, match=r"detoxify_folder: .* is missing, one of 16"):
        load(bert.wanted(folder=folder))
    (folder / "config.json").write_text("{")
    with pytest.raises(BadDetoxify, match=r"detoxify_folder: .*config\.json cannot be used"):
        load(bert.wanted(folder=folder))


def test_a_larger_tokenizer_is_anothers(bert, tmp_path):
    """Its tokens would have no row in the weights."""
    folder = tmp_path / "copy"
    shutil.copytree(bert.folder, folder)
    held = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = held["model"]["vocab"]
    vocabulary |= {f"word{at}": len(vocabulary) + at for at in range(9)}
    (folder / "tokenizer.json").write_text(json.dumps(held))
    with pytest.raises(BadDetoxify, match=r"detoxify_folder: the tokenizer has .* it is another's"):
        load(bert.wanted(folder=folder))


def test_a_device_that_is_not_here_is_refused(bert):
    """By name, or because there is none."""
    for device in ("toaster", "cuda:77"):
        with pytest.raises(BadDetoxify, match="detoxify_device"):
            load(bert.wanted(device=device))


def test_marks_that_somebody_types_are_only_letters(made):
    """No text can end itself, hide its rest, or shift the model's positions."""
    model = load(made.wanted())
    tokens = model.tokens
    marks = {tokens.begin, tokens.end, tokens.pad_id}
    for typed in ("[SEP]", "[PAD]", "[CLS]", "</s>", "<pad>", "<s>", "<pad><pad></s>"):
        ((first, *ids, last),) = stretches(model, f"you {typed} idiot")
        assert (first, last) == (tokens.begin, tokens.end)
        assert not marks & set(ids)


def test_a_long_text_is_read_to_its_end(bert):
    """What stands after 512 tokens still counts."""
    model = load(bert.wanted())
    kind = "she is lovely today . " * 110
    assert len(stretches(model, kind)) == 2
    at = TOXICITY_LABELS.index("insult")
    assert scores(model, kind)[at] < 0.3
    assert scores(model, kind + "they are an ugly pig . " * 100)[at] > 0.7
    assert model.judge(kind * 5) is None
