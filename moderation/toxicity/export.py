"""`peerchat models export`: a checkpoint as ONNX, in 32 bits and in 8, and how far each agrees with torch.

The graph ends in the six scores, in the order of `TOXICITY_LABELS`, so that nothing is left to rename or to
leave out later. Constants are folded before quantising: an ALBERT uses one set of weights for all its layers,
each use behind a transposition, and the quantiser passes over products of what is no plain constant.
"""

import contextlib
import hashlib
import io
import json
import logging
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from moderation.toxicity.files import BadDetoxify, Form, Wanted
from moderation.toxicity.onnx_form import ABOUT, GRAPHS, IDS, MASK, SCORES, TOKENIZER, VERSION, load_export
from moderation.toxicity.reading import Model
from moderation.toxicity.torch_form import build, load_checkpoint
from moderation.verdict import TOXICITY_LABELS

OPSET = 18

MOST_DIFFERENCE = 1e-3
"""An fp32 graph whose scores differ by more from torch's is not the same model: it is not written."""

TEXTS = Path(__file__).parent / "sample.txt"
"""Invented messages, one a line, that agreement is measured on when the operator gives none."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far two forms agree on some texts, over all six labels."""

    texts: int
    largest: float  # difference between two scores
    mean: float
    flipped: int  # scores that are on the other side of one half

    def __str__(self) -> str:
        return (
            f"{self.texts} texts: largest difference {self.largest:.6f}, mean {self.mean:.6f},"
            f" {self.flipped} of {self.texts * len(TOXICITY_LABELS)} scores on the other side of 0.5"
        )


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written."""

    about: Path
    sha256: str  # of `about`: what the operator pins
    agreement: dict[Form, Agreement]
    bytes: dict[Form, int]


def export(wanted: Wanted, out: Path, texts: Sequence[str]) -> Exported:
    """Write both forms of a checkpoint into an empty folder; `BadDetoxify` where that cannot be done.

    The folder appears only when everything in it is written and the fp32 form agrees with torch.
    """
    if wanted.form is not Form.TORCH:
        raise BadDetoxify("detoxify_format: what is exported is a checkpoint, so the format is torch")
    if not texts:
        raise BadDetoxify("no texts to compare on")
    if out.exists():
        raise BadDetoxify(f"{out} is there already: an export goes into a new folder")
    on_cpu = Wanted(
        model=wanted.model,
        file=wanted.file,
        sha256=wanted.sha256,
        folder=wanted.folder,
        threads=wanted.threads,
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as draft:
        folder = Path(draft) / "export"
        folder.mkdir()
        exported = _export(on_cpu, folder, texts)
        folder.rename(out)
    return Exported(out / ABOUT, exported.sha256, exported.agreement, exported.bytes)


def compare(one: Model, other: Model, texts: Sequence[str]) -> Agreement:
    """Score each text with both models; texts that are too long to be read count for nothing."""
    pairs = [
        (a, b)
        for text in texts
        if (a := one.judge(text)) is not None and (b := other.judge(text)) is not None
    ]
    if not pairs:
        raise BadDetoxify("no text that could be compared")
    first, second = np.stack([a for a, _ in pairs]), np.stack([b for _, b in pairs])
    apart = np.abs(first - second)
    return Agreement(
        texts=len(pairs),
        largest=float(np.max(apart)),
        mean=float(np.mean(apart)),
        flipped=int(np.sum((first >= 0.5) != (second >= 0.5))),
    )


def _export(wanted: Wanted, folder: Path, texts: Sequence[str]) -> Exported:
    loaded = build(wanted)
    files = {form: folder / name for form, name in GRAPHS.items()}
    _graph(loaded.module, loaded.columns, files[Form.ONNX])
    _quantise(files[Form.ONNX], files[Form.ONNX_INT8])
    (folder / TOKENIZER).write_text(loaded.tokens.as_json, encoding="utf-8")
    lines = [
        f"version = {VERSION}",
        f"model = {json.dumps(wanted.model)}",
        f"labels = {json.dumps(TOXICITY_LABELS)}",
        f"max_tokens = {loaded.tokens.max_tokens}",
        f"pad_id = {loaded.tokens.pad_id}",
        f'made_of = "{wanted.sha256}"',
        f"made_with = {json.dumps(_versions())}",
        "",
        "[files]",
        *(
            f'"{name}" = "{hashlib.sha256((folder / name).read_bytes()).hexdigest()}"'
            for name in (*GRAPHS.values(), TOKENIZER)
        ),
    ]
    del loaded
    agreement = {}
    about = folder / ABOUT
    text = "\n".join(lines) + "\n"
    about.write_text(text, encoding="utf-8")
    reference = load_checkpoint(wanted)
    for form in GRAPHS:
        model = load_export(
            Wanted(model=wanted.model, file=about, sha256=_hash(about), form=form, threads=wanted.threads)
        )
        agreement[form] = compare(reference, model, texts)
    if agreement[Form.ONNX].largest > MOST_DIFFERENCE:
        raise BadDetoxify(f"the exported graph does not agree with torch: {agreement[Form.ONNX]}")
    for form, found in agreement.items():
        text += (
            f'\n[agreement."{form}"]\ntexts = {found.texts}\nlargest = {found.largest:.6f}\n'
            f"mean = {found.mean:.6f}\nflipped = {found.flipped}\n"
        )
    about.write_text(text, encoding="utf-8")
    sizes = {form: file.stat().st_size for form, file in files.items()}
    return Exported(about, _hash(about), agreement, sizes)


def _graph(module: Any, columns: Sequence[int], file: Path) -> None:
    """Trace the model, batch and length free, into one file with constants folded."""
    import onnxruntime
    import torch

    class Scores(torch.nn.Module):  # type: ignore[misc, unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.module = module
            self.columns = torch.tensor(list(columns))

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            logits = self.module(input_ids=input_ids, attention_mask=attention_mask).logits
            return torch.sigmoid(logits).index_select(1, self.columns)

    # Two rows of unlike length, so that the trace takes nothing for constant, the mask least of all.
    ids = torch.full((2, 9), 5)
    mask = torch.ones_like(ids)
    mask[1, 6:] = 0
    shapes = {0: torch.export.Dim.AUTO, 1: torch.export.Dim.AUTO}
    raw = file.with_suffix(".raw")
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), _quiet():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Scores().eval(),
            (ids, mask),
            raw,
            input_names=[IDS, MASK],
            output_names=[SCORES],
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
            dynamic_shapes={IDS: shapes, MASK: shapes},
        )
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(file)
    options.log_severity_level = 4
    onnxruntime.InferenceSession(str(raw), options, providers=["CPUExecutionProvider"])
    raw.unlink()


def _quantise(graph: Path, file: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with _quiet():
        quantize_dynamic(graph, file, weight_type=QuantType.QInt8)


@contextlib.contextmanager
def _quiet() -> Any:
    """Keep the exporters' advice off the terminal; what goes wrong is raised."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)


def _versions() -> str:
    names = ("detoxify", "torch", "transformers", "tokenizers", "onnx", "onnxruntime")
    return ", ".join(f"{name} {version(name)}" for name in names)


def _hash(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
