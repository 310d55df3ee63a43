"""The five models that Detoxify publishes, as facts: nothing here is loaded, and nothing downloaded.

Names, files and architectures are those of detoxify 0.5.4 and of its training configurations. The weights
themselves could not be fetched where this was written: docs/detoxify.md says what that leaves open.
"""

from collections.abc import Mapping
from dataclasses import dataclass

RENAMED: Mapping[str, str] = {
    "toxic": "toxicity",
    "severe_toxic": "severe_toxicity",
    "identity_hate": "identity_attack",
}
"""What the first challenge called three of the labels; the package renames them in the same way."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """A kind of network that a checkpoint may name. No other is ever built, whatever a file says."""

    model: str  # the class in transformers
    tokenizer: str
    base: str  # the public repository whose config and tokenizer it was trained with
    parameters: int  # millions


BERT = Architecture("BertForSequenceClassification", "BertTokenizer", "bert-base-uncased", 110)
ROBERTA = Architecture("RobertaForSequenceClassification", "RobertaTokenizer", "roberta-base", 125)
XLM_ROBERTA = Architecture(
    "XLMRobertaForSequenceClassification", "XLMRobertaTokenizer", "xlm-roberta-base", 278
)
ALBERT = Architecture("AlbertForSequenceClassification", "AlbertTokenizer", "albert-base-v2", 12)

KINDS = (BERT, ROBERTA, XLM_ROBERTA, ALBERT)
ARCHITECTURES: Mapping[str, Architecture] = {kind.model: kind for kind in KINDS}


@dataclass(frozen=True, slots=True)
class Published:
    """One published model."""

    architecture: Architecture
    file: str  # as released; the eight digits are the beginning of a hash
    release: str

    @property
    def digits(self) -> str:
        """The first digits of the file's sha256, as its name gives them: enough to catch a slip, no more."""
        return self.file.removesuffix(".ckpt").rpartition("-")[2]


PUBLISHED: Mapping[str, Published] = {
    "original": Published(BERT, "toxic_original-c1212f89.ckpt", "v0.1-alpha"),
    "unbiased": Published(ROBERTA, "toxic_debiased-c7548aa0.ckpt", "v0.3-alpha"),
    "multilingual": Published(XLM_ROBERTA, "multilingual_debiased-0b549669.ckpt", "v0.4-alpha"),
    "original-small": Published(ALBERT, "original-albert-0e1d6498.ckpt", "v0.1.2"),
    "unbiased-small": Published(ALBERT, "unbiased-albert-c8519128.ckpt", "v0.1.2"),
}
