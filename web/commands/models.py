"""`peerchat models`: whether the embedded ones are whole; Detoxify's before a server runs on them."""

import argparse
import json
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from moderation.language import load_language
from moderation.linear import MODELS, BadModel, load_model
from moderation.toxicity import PUBLISHED, STAGE, Form, Model, Wanted, load
from moderation.toxicity.reading import LABELS
from moderation.trajectory import load_weights
from moderation.transformer import load_transformer
from peerchat.errors import SettingsError
from peerchat.settings import load_settings

NEEDED = ("detoxify", "torch", "transformers", "tokenizers", "onnx", "onnxscript", "onnxruntime")

SAID = ("Thank you, you really helped me.", "You are a stupid loser and everyone hates you.")
"""What `check` reads: one text that should score low and one that should score high."""

ROUNDS = 20
"""Times that `check` reads a text of ordinary length, to say how long one takes."""

NOT_HELD = frozenset({"toxicity:obscene"})
"""Labels that hold nothing by themselves: swearing at the rain is no offence to anybody."""

FEWEST_ABOVE = 10
"""Benign messages that must lie above a threshold for `calibrate` to name it: fewer are chance."""


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser("models", help="verify the embedded models; prepare Detoxify's")
    inner = parser.add_subparsers(metavar="WHAT", required=True)
    inner.add_parser("list", help="the published models, their files, and what is installed").set_defaults(
        run=show
    )

    verify = inner.add_parser("verify", help="check the embedded models against their hashes, and load them")
    verify.add_argument("--models", type=Path, default=MODELS, metavar="DIR", help="another folder of them")
    verify.set_defaults(run=verified)

    check = inner.add_parser("check", help="load the model as the server would, and read two texts with it")
    _model_options(check)
    check.set_defaults(run=try_out)

    export = inner.add_parser(
        "export", help="write a checkpoint as ONNX, fp32 and int8, and say how far they agree with torch"
    )
    _model_options(export)
    export.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder")
    export.add_argument(
        "--texts",
        type=Path,
        metavar="FILE",
        help="texts to compare on, one a line; otherwise 43 invented ones",
    )
    export.set_defaults(run=write)

    calibrate = inner.add_parser(
        "calibrate", help="thresholds for policy.toml that a stated share of benign messages reaches"
    )
    _model_options(calibrate)
    calibrate.add_argument(
        "--data",
        type=Path,
        required=True,
        metavar="FILE",
        help='benign messages, a line each as {"text": ..}',
    )
    calibrate.add_argument(
        "--share", type=float, default=0.01, help="of them that may be held for one label (default 0.01)"
    )
    calibrate.set_defaults(run=suggest)


def _model_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="settings; the options here win over them"
    )
    parser.add_argument("--model", metavar="NAME", help="detoxify_model")
    parser.add_argument("--file", type=Path, metavar="FILE", help="detoxify_file")
    parser.add_argument("--sha256", metavar="HASH", help="detoxify_sha256")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="detoxify_folder")
    parser.add_argument("--format", choices=[form.value for form in Form], help="detoxify_format")
    parser.add_argument("--device", metavar="DEVICE", help="detoxify_device")
    parser.add_argument("--threads", type=int, metavar="N", help="detoxify_threads")


def _wanted(args: argparse.Namespace) -> Wanted:
    given = {
        f"detoxify_{name}": getattr(args, name)
        for name in ("model", "file", "sha256", "folder", "format", "device", "threads")
    }
    unused = Path() if args.config is None else None  # a server's folder: no command here opens it
    wanted = load_settings(args.config, data=unused, **given).detoxify
    if wanted is None:
        raise SettingsError("detoxify_model: not set; name a model with --model or in --config")
    return wanted


def show(_args: argparse.Namespace) -> int:
    """Print the published models and what is installed here."""
    print(f"{'name':<15} {'file':<38} {'config and tokenizer':<22} parameters")
    for name, model in PUBLISHED.items():
        kind = model.architecture
        print(f"{name:<15} {model.file:<38} {kind.base:<22} {kind.parameters} million")
    print(
        '\nA checkpoint of your own is the model "local". docs/detoxify.md says where the files come from.\n'
    )
    for package in NEEDED:
        try:
            print(f"{package} {version(package)}")
        except PackageNotFoundError:
            print(f"{package} is not installed")
    return 0


def verified(args: argparse.Namespace) -> int:
    """Print a line for each embedded model; 0 when all are whole, 1 where one is not."""
    folder: Path = args.models
    loads: dict[str, Callable[[], object]] = {
        "linear": lambda: load_model(folder),
        "transformer": lambda: load_transformer(folder, linear=load_model(folder)),
        "language": lambda: load_language(folder),
        "trajectory": lambda: load_weights(folder / "trajectory.toml"),
    }
    bad = False
    for name, loaded in loads.items():
        try:
            loaded()
        except BadModel as error:
            print(f"peerchat: {error}", file=sys.stderr)
            bad = True
        else:
            print(f"{name}: whole, as its hash says")
    return 1 if bad else 0


def try_out(args: argparse.Namespace) -> int:
    """Load and read; 0 when the second text scores higher than the first, 1 where it does not."""
    wanted = _wanted(args)
    began = time.perf_counter()
    model = load(wanted)
    print(f"{wanted.model} as {wanted.form.value}, loaded in {time.perf_counter() - began:.1f} s")
    rows = []
    for text in SAID:
        row = model.judge(text)
        assert row is not None  # short enough for any model
        rows.append(row)
        print(f"\n{text}")
        for label, score in zip(LABELS, row, strict=True):
            print(f"  {label:<26} {score:.4f}")
    print(f"\n{_cost_ms(model):.1f} ms a message of {len(SAID[1])} characters, alone, on this machine")
    if rows[1][0] <= rows[0][0]:
        print("peerchat: the insult scores no higher than the thanks: do not use this model", file=sys.stderr)
        return 1
    return 0


def _cost_ms(model: Model) -> float:
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        model.judge(SAID[1])
        times.append(time.perf_counter() - began)
    return float(np.median(times)) * 1000


def write(args: argparse.Namespace) -> int:
    """Export and print what was written, how far it agrees, and what to set."""
    from moderation.toxicity.export import TEXTS, export

    texts = [line for line in _lines(args.texts or TEXTS) if line.strip()]
    exported = export(_wanted(args), args.out, texts)
    for form, agreement in exported.agreement.items():
        print(f"{form.value}: {exported.bytes[form] / 1e6:.1f} MB; {agreement}")
    print("\nTo use it, with detoxify_model as it is and without detoxify_folder:\n")
    print(f"detoxify_file = {json.dumps(str(exported.about.absolute()))}")
    print(f'detoxify_sha256 = "{exported.sha256}"')
    print(f'detoxify_format = "{Form.ONNX_INT8.value}"  # or "{Form.ONNX.value}"')
    return 0


def suggest(args: argparse.Namespace) -> int:
    """Print thresholds; what is too rare in the data to be said is left out, and named."""
    if not 0 < args.share < 0.5:
        raise SettingsError("--share: more than 0 and less than 0.5")
    texts = []
    for number, line in enumerate(_lines(args.data), 1):
        if line.strip():
            try:
                texts.append(str(json.loads(line)["text"]))
            except (ValueError, KeyError, TypeError):
                raise SettingsError(f"{args.data}: line {number} is not an object with a text") from None
    above = int(len(texts) * args.share)
    if above < FEWEST_ABOVE:
        fewest = int(np.ceil(FEWEST_ABOVE / args.share))
        raise SettingsError(f"{args.data}: {len(texts)} messages; a share of {args.share} needs {fewest}")
    model = load(_wanted(args))
    rows = [row for text in texts if (row := model.judge(text)) is not None]
    scores = np.sort(np.stack(rows), axis=0)
    print(f"# {len(rows)} benign messages, {args.share:.2%} of them reach each of these alone")
    print(f"[stage.{STAGE}]")
    for at, label in enumerate(LABELS):
        if label not in NOT_HELD:
            print(f'"{label}" = {{ hold = {min(1.0, float(scores[-above, at]) + 0.0005):.3f} }}')
    if len(rows) < len(texts):
        print(f"peerchat: {len(texts) - len(rows)} messages are too long to be read", file=sys.stderr)
    return 0


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file}: cannot be read ({type(error).__name__})") from None
