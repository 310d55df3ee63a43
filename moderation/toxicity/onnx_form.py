"""The exported form: onnxruntime and a tokenizer, no torch.

An export is a folder. Its `detoxify.toml` names the hash of every file in it, and the operator pins the hash
of that one file: so the pin covers weights, tokenizer and labels together.
"""

import hashlib
import hmac
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from moderation.toxicity.files import BadDetoxify, Form, Wanted, read, read_pinned
from moderation.toxicity.reading import MAX_TOKENS, Floats, Ints, Model, Tokens
from moderation.verdict import TOXICITY_LABELS

ABOUT = "detoxify.toml"
GRAPHS: Mapping[Form, str] = {Form.ONNX: "model.onnx", Form.ONNX_INT8: "model.int8.onnx"}
TOKENIZER = "tokenizer.json"
VERSION = 1
IDS, MASK, SCORES = "input_ids", "attention_mask", "scores"

BATCH_TOKENS = 512


def load_export(wanted: Wanted) -> Model:
    """The classifier on onnxruntime; `BadDetoxify` names the setting at fault."""
    raw = read_pinned(wanted.file, wanted.sha256)
    about = _about(wanted.file, raw)
    if about["model"] != wanted.model:
        raise BadDetoxify(
            f"detoxify_model: {wanted.file} was made of {about['model']!r}, not {wanted.model!r}"
        )
    graph = _listed(wanted.file, about, GRAPHS[wanted.form])
    tokenizer = _listed(wanted.file, about, TOKENIZER)
    try:
        tokens = Tokens(tokenizer.decode(), pad_id=about["pad_id"], max_tokens=about["max_tokens"])
    except ImportError as error:
        raise _not_installed(error) from None
    model = Model(
        name=wanted.model,
        tokens=tokens,
        score=session_of(graph, wanted.threads),
        digest=hashlib.sha256(f"{wanted.form} {wanted.sha256}".encode()).digest(),
        # With int8 weights a batch is scaled as a whole, so a text's scores would hang on its neighbours.
        batch_tokens=BATCH_TOKENS if wanted.form is Form.ONNX else 0,
    )
    model.try_out()
    return model


def session_of(graph: bytes, threads: int) -> Any:
    """A function from ids and mask to scores; `BadDetoxify` where the graph is not such a one."""
    try:
        import onnxruntime
    except ImportError as error:
        raise _not_installed(error) from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4  # its errors are raised; what it prints besides helps nobody
    try:
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise BadDetoxify(f"detoxify_file: the graph is not a model ({type(error).__name__})") from None
    if {one.name for one in session.get_inputs()} != {IDS, MASK} or [
        one.name for one in session.get_outputs()
    ] != [SCORES]:
        raise BadDetoxify("detoxify_file: the graph has other inputs or outputs than an export has")

    def score(ids: Ints, mask: Ints) -> Floats:
        (scores,) = session.run([SCORES], {IDS: ids, MASK: mask})
        return scores  # type: ignore[no-any-return]

    return score


def _not_installed(error: ImportError) -> BadDetoxify:
    return BadDetoxify(f"detoxify_format: {error.name} is not installed; docs/detoxify.md says how")


def _about(file: Path, raw: bytes) -> dict[str, Any]:
    try:
        about = tomllib.loads(raw.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        raise BadDetoxify(f"detoxify_file: {file} is not the detoxify.toml of an export") from None
    pad, most = about.get("pad_id"), about.get("max_tokens")
    if about.get("version") != VERSION or about.get("labels") != list(TOXICITY_LABELS):
        raise BadDetoxify(f"detoxify_file: {file} is of another version, or has other labels")
    if not (isinstance(about.get("model"), str) and isinstance(about.get("files"), dict)):
        raise BadDetoxify(f"detoxify_file: {file} names no model or no files")
    if not (isinstance(pad, int) and pad >= 0 and isinstance(most, int) and 8 <= most <= MAX_TOKENS):
        raise BadDetoxify(f"detoxify_file: {file} has an impossible pad_id or max_tokens")
    return about


def _listed(file: Path, about: Mapping[str, Any], name: str) -> bytes:
    """The bytes of a file beside detoxify.toml, if they are those that it lists."""
    pinned = about["files"].get(name)
    if not isinstance(pinned, str):
        raise BadDetoxify(f"detoxify_format: {file} lists no {name}")
    raw = read(file.parent / name)
    if not hmac.compare_digest(hashlib.sha256(raw).hexdigest(), pinned):
        raise BadDetoxify(f"detoxify_file: {file.parent / name} is not the file that {file.name} lists")
    return raw
