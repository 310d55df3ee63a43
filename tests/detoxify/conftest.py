"""Small checkpoints in the published form, one of each architecture, trained here on invented sentences."""

import hashlib
import json
import os
import random
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # before transformers comes in: nothing here may ask for a model

import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from moderation.toxicity import Form, Wanted
from moderation.toxicity.export import TEXTS, Exported, export
from moderation.toxicity.published import ALBERT, BERT, ROBERTA, XLM_ROBERTA, Architecture

FIRST = ["toxic", "severe_toxic", "obscene", "threat", "insult", "identity_hate"]
SECOND = [
    "toxicity", "severe_toxicity", "obscene", "identity_attack", "insult", "threat", "sexual_explicit",
]  # fmt: skip
IDENTITIES = 9  # outputs of the second kind that have no name in `classes`

CLASSES = {BERT: FIRST, ROBERTA: SECOND, XLM_ROBERTA: SECOND, ALBERT: FIRST}
OUTPUTS = {BERT: 6, ROBERTA: 7 + IDENTITIES, XLM_ROBERTA: 7 + IDENTITIES, ALBERT: 6}

KIND = "you are|we are|they are|she is|he is|my friend is|that was|this is".split("|")
GOOD = "kind|clever|funny|lovely|great|late|tired|happy|here|a good friend|my favourite teacher".split("|")
BAD = "an idiot|a stupid loser|an ugly pig|a filthy liar|disgusting scum|a worthless moron".split("|")
THREATS = "i will hurt you|i will find you|you will regret it|watch your back|i will break your arm".split(
    "|"
)
ENDS = ["", " today", " you know", " and everybody knows it", ", honestly", "!", " :)", " 😂", ".", " ok"]


def sentences(count: int, seed: int = 1) -> list[tuple[str, dict[str, float]]]:
    """Sentences with what is toxic about them, by the second kind's names."""
    pick = random.Random(seed)
    made: list[tuple[str, dict[str, float]]] = []
    for _ in range(count):
        match pick.randrange(3):
            case 0:
                made.append((f"{pick.choice(KIND)} {pick.choice(GOOD)}{pick.choice(ENDS)}", {}))
            case 1:
                text = f"{pick.choice(KIND)} {pick.choice(BAD)}{pick.choice(ENDS)}"
                made.append((text, {"toxicity": 1.0, "insult": 1.0, "obscene": 1.0}))
            case _:
                made.append((f"{pick.choice(THREATS)}{pick.choice(ENDS)}", {"toxicity": 1.0, "threat": 1.0}))
    return made


@dataclass(frozen=True)
class Made:
    """A checkpoint and its folder, as an operator would have them."""

    architecture: Architecture
    file: Path
    folder: Path

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.file.read_bytes()).hexdigest()

    def wanted(self, **changes) -> Wanted:
        values = {"model": "local", "file": self.file, "sha256": self.sha256, "folder": self.folder}
        return Wanted(**{**values, "form": Form.TORCH, **changes})


def corpus() -> list[str]:
    return [text for text, _ in sentences(3_000, seed=7)] + ["The quick brown fox, 12345 & Co. said: “no”?"]


def tokenizer_of(kind: Architecture):
    """A tokenizer of the kind, trained on the corpus; its class is the one that a checkpoint names."""
    if kind is BERT:
        special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        trained = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        trained.normalizer = normalizers.BertNormalizer(lowercase=True)
        trained.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer = trainers.WordPieceTrainer(vocab_size=600, special_tokens=special, show_progress=False)
        trained.train_from_iterator(corpus(), trainer)
        return transformers.BertTokenizer(vocab=trained.get_vocab())
    if kind is ROBERTA:
        trained = Tokenizer(models.BPE())
        trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        trainer = trainers.BpeTrainer(
            vocab_size=600,
            special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        trained.train_from_iterator(corpus(), trainer)
        model = json.loads(trained.to_str())["model"]
        merges = [tuple(pair) for pair in model["merges"]]
        return transformers.RobertaTokenizer(vocab=model["vocab"], merges=merges)
    special = (
        ["<s>", "<pad>", "</s>", "<unk>"] if kind is XLM_ROBERTA else ["<pad>", "<unk>", "[CLS]", "[SEP]"]
    )
    trained = Tokenizer(models.Unigram())
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    mask = "<mask>" if kind is XLM_ROBERTA else "[MASK]"
    trainer = trainers.UnigramTrainer(
        vocab_size=500, special_tokens=[*special, mask], unk_token="<unk>", show_progress=False
    )
    trained.train_from_iterator(corpus(), trainer)
    pieces = [tuple(pair) for pair in json.loads(trained.to_str())["model"]["vocab"]]
    if kind is XLM_ROBERTA:
        return transformers.XLMRobertaTokenizer(vocab=pieces)
    return transformers.AlbertTokenizer(vocab=pieces)


def make(kind: Architecture, folder: Path, *, steps: int, places: int = 512) -> Made:
    """Train a tokenizer and a tiny network of the kind, and save them in the published form."""
    torch.manual_seed(1)
    classes, outputs = CLASSES[kind], OUTPUTS[kind]
    tokenizer = tokenizer_of(kind)
    network = getattr(transformers, kind.model)
    config = network.config_class(
        vocab_size=len(tokenizer),
        hidden_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=96,
        max_position_embeddings=places + (2 if kind in (ROBERTA, XLM_ROBERTA) else 0),
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.cls_token_id,
        eos_token_id=tokenizer.sep_token_id,
        num_labels=outputs,
        **({"embedding_size": 24} if kind is ALBERT else {}),
    )
    module = network(config)
    renamed = {"toxic": "toxicity", "severe_toxic": "severe_toxicity", "identity_hate": "identity_attack"}
    names = [renamed.get(name, name) for name in classes]
    data = sentences(1_500)
    optimiser = torch.optim.AdamW(module.parameters(), lr=3e-3)
    module.train()
    for step in range(steps):
        rows = [data[(step * 32 + at) % len(data)] for at in range(32)]
        inputs = tokenizer([text for text, _ in rows], return_tensors="pt", padding=True)
        targets = torch.tensor([[what.get(name, 0.0) for name in names] for _, what in rows])
        logits = module(**inputs).logits[:, : len(names)]
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    folder.mkdir(parents=True)
    tokenizer.save_pretrained(folder)
    bare = config.to_dict()  # as the public repositories have it: nothing about our six outputs
    for name in ("num_labels", "id2label", "label2id", "problem_type"):
        bare.pop(name, None)
    network.config_class(**bare).save_pretrained(folder)
    file = folder.parent / f"{folder.name}.ckpt"
    args = {
        "num_classes": outputs,
        "model_type": kind.base,
        "model_name": kind.model,
        "tokenizer_name": kind.tokenizer,
    }
    held = {
        "state_dict": OrderedDict(module.eval().state_dict()),
        "config": {
            "arch": {"type": "any", "args": args},
            "dataset": {"type": "any", "args": {"classes": classes}},
        },
    }
    torch.save(held, file)
    return Made(kind, file, folder)


KINDS = {"bert": BERT, "roberta": ROBERTA, "xlm-roberta": XLM_ROBERTA, "albert": ALBERT}


@pytest.fixture(scope="session")
def all_made(tmp_path_factory) -> dict[str, Made]:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("checkpoints")
    return {
        name: make(kind, folder / name, steps=160 if kind is BERT else 60) for name, kind in KINDS.items()
    }


@pytest.fixture(params=list(KINDS))
def made(request, all_made):
    """Each architecture in turn."""
    return all_made[request.param]


@pytest.fixture
def bert(all_made):
    return all_made["bert"]


@pytest.fixture(scope="session")
def exported(all_made, tmp_path_factory):
    """Return the export of a checkpoint, made when it is first asked for."""
    folder = tmp_path_factory.mktemp("exports")
    done: dict[str, Exported] = {}

    def of(made: Made) -> Exported:
        name = made.folder.name
        if name not in done:
            done[name] = export(made.wanted(), folder / name, TEXTS.read_text().splitlines())
        return done[name]

    return of
