"""A checkpoint on torch, built by the detoxify package's own code from local files that were checked first.

Detoxify's own loading unpickles whatever the file holds and asks the network for a config. Here the bytes
must have the pinned hash, are read as weights alone, and must fit the config in the folder key by key; only
then are they handed to `detoxify.detoxify.get_model_and_tokenizer`, with the folder for a repository's name.
"""

import hashlib
import io
import os
import pickle
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moderation.toxicity.files import LOCAL, BadDetoxify, Wanted, read, read_pinned
from moderation.toxicity.published import ARCHITECTURES, PUBLISHED, RENAMED, Architecture
from moderation.toxicity.reading import MAX_TOKENS, Floats, Ints, Model, Tokens
from moderation.verdict import TOXICITY_LABELS

BATCH_TOKENS_CPU = 512
"""Eight short messages or more: on a CPU a larger batch is no cheaper, and keeps a deadline less closely."""

BATCH_TOKENS_GPU = 16_384

COUNTED = "embeddings.position_ids"
"""Where older releases of transformers stored 0, 1, 2, ..: no weight, and nothing expects it now."""


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint file says, checked."""

    architecture: Architecture
    outputs: int
    columns: tuple[int, ...]  # which output is which of TOXICITY_LABELS
    weights: Mapping[str, Any]


@dataclass(frozen=True)
class Loaded:
    """A model as the package builds it, for running it here and for exporting it."""

    module: Any
    tokenizer: Any
    columns: tuple[int, ...]
    classes: tuple[str, ...]
    tokens: Tokens
    digest: bytes


def load_checkpoint(wanted: Wanted) -> Model:
    """The classifier on torch; `BadDetoxify` names the setting at fault."""
    torch = _torch()
    device = _device(torch, wanted.device)
    loaded = build(wanted)
    if device.type == "cpu":
        torch.set_num_threads(wanted.threads)
    module = loaded.module.to(device)
    columns = torch.tensor(loaded.columns, device=device)

    def score(ids: Ints, mask: Ints) -> Floats:
        with torch.inference_mode():
            logits = module(
                input_ids=torch.from_numpy(ids).to(device), attention_mask=torch.from_numpy(mask).to(device)
            ).logits
            scores: Floats = torch.sigmoid(logits.float())[:, columns].cpu().numpy()
            return scores

    model = Model(
        name=wanted.model,
        tokens=loaded.tokens,
        score=score,
        digest=loaded.digest,
        batch_tokens=BATCH_TOKENS_CPU if device.type == "cpu" else BATCH_TOKENS_GPU,
    )
    model.try_out()
    return model


def build(wanted: Wanted) -> Loaded:
    """Read, check and build a checkpoint with the detoxify package, on the CPU, ready to read."""
    assert wanted.folder is not None
    _stay_offline()
    torch = _torch()
    try:
        import transformers
        from detoxify.detoxify import get_model_and_tokenizer
    except ImportError as error:
        raise _not_installed(error) from None

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    folder = wanted.folder.absolute()
    raw = read_pinned(wanted.file, wanted.sha256)
    described = read(folder / "config.json", "detoxify_folder")
    checkpoint, classes = _opened(torch, raw, wanted)
    del raw
    config = _config(transformers, folder, checkpoint)
    _fit(torch, transformers, config, checkpoint)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module, tokenizer = get_model_and_tokenizer(
                str(folder),
                checkpoint.architecture.model,
                checkpoint.architecture.tokenizer,
                checkpoint.outputs,
                dict(checkpoint.weights),
            )
    except Exception as error:
        raise BadDetoxify(
            f"detoxify_folder: {folder}: config and tokenizer cannot be used ({type(error).__name__})"
        ) from None
    built = module.state_dict()
    if not all(torch.equal(built[name].cpu(), given) for name, given in checkpoint.weights.items()):
        raise BadDetoxify("detoxify_file: the weights changed while they were loaded")
    module.eval()
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise BadDetoxify("detoxify_folder: no fast tokenizer; transformers 5 or newer is needed")
    tokens = Tokens(
        backend.to_str(), pad_id=_pad(tokenizer, config), max_tokens=_most_tokens(config, checkpoint)
    )
    rows = int(config.vocab_size)
    if tokens.highest >= rows or (wanted.model != LOCAL and len(tokens) != rows):
        raise BadDetoxify(
            f"detoxify_folder: the tokenizer has {len(tokens)} tokens, the checkpoint {rows}: it is another's"
        )
    digest = hashlib.sha256(b"\0".join([wanted.sha256.encode(), described, tokens.as_json.encode()])).digest()
    return Loaded(module, tokenizer, checkpoint.columns, classes, tokens, digest)


def _stay_offline() -> None:
    """Before transformers is imported, and for good: this process never fetches a model."""
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"):
        os.environ[name] = "1"


def _torch() -> Any:
    _stay_offline()
    try:
        import torch
    except ImportError as error:
        raise _not_installed(error) from None
    return torch


def _not_installed(error: ImportError) -> BadDetoxify:
    return BadDetoxify(f"detoxify_model: {error.name} is not installed; docs/detoxify.md says how")


def _device(torch: Any, name: str) -> Any:
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise BadDetoxify(f"detoxify_device: {name!r} is no device of this machine") from None
    return device


def _opened(torch: Any, raw: bytes, wanted: Wanted) -> tuple[Checkpoint, tuple[str, ...]]:
    """Read the file as weights alone and check what it says of itself."""
    file = wanted.file
    try:
        held = torch.load(io.BytesIO(raw), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise BadDetoxify(f"detoxify_file: {file} holds more than weights and is not opened") from None
    except Exception as error:
        raise BadDetoxify(f"detoxify_file: {file} is not a checkpoint ({type(error).__name__})") from None
    try:
        args = held["config"]["arch"]["args"]
        classes = tuple(RENAMED.get(name, name) for name in held["config"]["dataset"]["args"]["classes"])
        outputs = int(args["num_classes"])
        architecture = ARCHITECTURES[args["model_name"]]
        weights = {name: value for name, value in held["state_dict"].items() if not name.endswith(COUNTED)}
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        raise BadDetoxify(
            f"detoxify_file: {file} does not say what it is: classes, a known architecture and weights"
        ) from None
    if args.get("tokenizer_name") != architecture.tokenizer:
        raise BadDetoxify(f"detoxify_file: {file} names another tokenizer than {architecture.tokenizer}")
    known = PUBLISHED.get(wanted.model)
    if known is not None and known.architecture is not architecture:
        raise BadDetoxify(
            f"detoxify_model: {file} is no {wanted.model!r} model: that is a {known.architecture.model}"
        )
    if len(set(classes)) != len(classes) or len(classes) > outputs:
        raise BadDetoxify(f"detoxify_file: {file} names classes that its outputs do not have")
    missing = [label for label in TOXICITY_LABELS if label not in classes]
    if missing:
        raise BadDetoxify(f"detoxify_file: {file} has no {', '.join(missing)}")
    if not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise BadDetoxify(f"detoxify_file: {file} has weights that are no tensors")
    if not all(torch.isfinite(value).all() for value in weights.values()):
        raise BadDetoxify(f"detoxify_file: {file} has weights that are no numbers")
    # The outputs named in `classes` are the first ones; some models have more, which the package never reads.
    columns = tuple(classes.index(label) for label in TOXICITY_LABELS)
    return Checkpoint(architecture, outputs, columns, weights), classes


def _config(transformers: Any, folder: Path, checkpoint: Checkpoint) -> Any:
    kind = getattr(transformers, checkpoint.architecture.model).config_class
    try:
        config = kind.from_pretrained(str(folder), local_files_only=True, num_labels=checkpoint.outputs)
    except Exception as error:
        raise BadDetoxify(
            f"detoxify_folder: {folder}/config.json cannot be used ({type(error).__name__})"
        ) from None
    return config


def _fit(torch: Any, transformers: Any, config: Any, checkpoint: Checkpoint) -> None:
    """Every weight that the config asks for is there, in its shape, and none besides.

    The library itself would fill what is missing with random numbers, and only warn.
    """
    try:
        with torch.device("meta"):
            expected = getattr(transformers, checkpoint.architecture.model)(config).state_dict()
    except Exception as error:
        raise BadDetoxify(
            f"detoxify_folder: config.json describes no model ({type(error).__name__})"
        ) from None
    missing = sorted(expected.keys() - checkpoint.weights.keys())
    unknown = sorted(checkpoint.weights.keys() - expected.keys())
    if missing or unknown:
        what = f"{missing[0]} is missing" if missing else f"{unknown[0]} is unknown"
        raise BadDetoxify(
            f"detoxify_folder: config.json does not fit detoxify_file: {what},"
            f" one of {len(missing) + len(unknown)} weights that do not match"
        )
    for name, value in expected.items():
        if value.shape != checkpoint.weights[name].shape:
            raise BadDetoxify(
                f"detoxify_folder: config.json does not fit detoxify_file: {name} should be"
                f" {tuple(value.shape)} and is {tuple(checkpoint.weights[name].shape)}"
            )


def _pad(tokenizer: Any, config: Any) -> int:
    pad = tokenizer.pad_token_id
    if pad is None or pad != config.pad_token_id:
        raise BadDetoxify("detoxify_folder: config.json and the tokenizer differ about the padding token")
    return int(pad)


def _most_tokens(config: Any, checkpoint: Checkpoint) -> int:
    """How many tokens the model has places for; RoBERTa's kind count theirs from after the padding token."""
    places = int(config.max_position_embeddings)
    if checkpoint.architecture.model.startswith(("Roberta", "XLMRoberta")):
        places -= int(config.pad_token_id) + 1
    return min(MAX_TOKENS, places)
