"""Texts to tokens, and tokens to scores: what both forms of a model share."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moderation.toxicity.batches import windows
from moderation.toxicity.files import BadDetoxify
from moderation.verdict import TOXICITY_LABELS

STAGE = "detoxify"

LABELS = tuple(f"toxicity:{label}" for label in TOXICITY_LABELS)
"""The six labels of a `Signal`, in the order of a row of scores. A model's other outputs are not used."""

MAX_TOKENS = 512
"""What all published models read at once, begin and end marks included."""

UNKNOWN = ("[UNK]", "<unk>")

MAX_CODE_POINTS = 20_000
"""A longer text is not even cut into tokens: it could not be covered."""

Ids = tuple[int, ...]
Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Score = Callable[[Ints, Ints], Floats]


class Tokens:
    """A tokenizer of the `tokenizers` library, without padding, truncation, or marks in what people write.

    Somebody who writes "[SEP]" wrote five letters in brackets: only the model's own begin and end are marks.
    """

    def __init__(self, as_json: str, *, pad_id: int, max_tokens: int) -> None:
        from tokenizers import Tokenizer

        try:
            self._tokenizer: Any = Tokenizer.from_str(as_json)
        except Exception as error:  # the library raises bare ones
            raise BadDetoxify(f"detoxify_folder: not a tokenizer ({type(error).__name__})") from None
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        marks = self._tokenizer.encode("").ids
        if len(marks) != 2:
            raise BadDetoxify("detoxify_folder: the tokenizer should put a mark before a text and one after")
        self.begin, self.end = marks
        sample = "Hello there"
        plain = self._tokenizer.encode(sample, add_special_tokens=False).ids
        if self._tokenizer.encode(sample).ids != [self.begin, *plain, self.end]:
            raise BadDetoxify("detoxify_folder: the tokenizer treats a text's ends in its own way")
        self._tokenizer.encode_special_tokens = True
        # A vocabulary of pieces holds the marks as pieces too: what of them is found in a text is unknown.
        special = [one for one in json.loads(as_json)["added_tokens"] if one["special"]]
        unknown = [one["id"] for one in special if one["content"] in UNKNOWN]
        if not unknown:
            raise BadDetoxify("detoxify_folder: the tokenizer has no token for what it does not know")
        self._unknown = unknown[0]
        self._marks = {one["id"] for one in special} | {self.begin, self.end, pad_id}
        self.pad_id = pad_id
        self.max_tokens = max_tokens
        self.highest = max(self._tokenizer.get_vocab(with_added_tokens=True).values())

    def __len__(self) -> int:
        """Return how many tokens there are."""
        return int(self._tokenizer.get_vocab_size(with_added_tokens=True))

    @property
    def as_json(self) -> str:
        return str(self._tokenizer.to_str())

    def stretches(self, text: str) -> list[Ids] | None:
        """The tokens of a text in stretches that the model can read; None where they would not cover it."""
        if len(text) > MAX_CODE_POINTS:
            return None
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        if not self._marks.isdisjoint(ids):
            ids = [self._unknown if one in self._marks else one for one in ids]
        found = windows(len(ids), self.max_tokens - 2)
        if found is None:
            return None
        return [(self.begin, *ids[part.start : part.stop], self.end) for part in found]


@dataclass(frozen=True)
class Model:
    """A loaded model. Its scores depend on the text alone: not on what is read beside it."""

    name: str
    tokens: Tokens
    score: Score  # ids and mask, (texts, length), to scores, (texts, 6)
    digest: bytes  # of every file that decides its scores
    batch_tokens: int  # what one batch may cost; 0: each text is read alone

    def read(self, batch: Sequence[Ids]) -> Floats:
        """Scores of some stretches, (stretches, 6), NaN and all; raises where the shape is another."""
        longest = max(len(ids) for ids in batch)
        ids = np.full((len(batch), longest), self.tokens.pad_id, np.int64)
        mask = np.zeros((len(batch), longest), np.int64)
        for at, row in enumerate(batch):
            ids[at, : len(row)] = row
            mask[at, : len(row)] = 1
        scores = np.asarray(self.score(ids, mask), np.float32)
        if scores.shape != (len(batch), len(LABELS)):
            raise ValueError("the model gave the wrong shape")
        return scores

    def judge(self, text: str) -> Floats | None:
        """Scores of one text alone, (6,): for each label the highest of its stretches. None: too long."""
        found = self.tokens.stretches(text)
        if found is None:
            return None
        return np.asarray(np.max([self.read([ids])[0] for ids in found], axis=0), np.float32)

    def try_out(self) -> None:
        """Read one text, so that a model that cannot is refused at start; `BadDetoxify` then."""
        try:
            scores = self.judge("Hello there, how are you?")
        except Exception as error:
            raise BadDetoxify(
                f"detoxify_file: the model cannot read a text ({type(error).__name__})"
            ) from None
        if scores is None or not np.isfinite(scores).all() or (scores < 0).any() or (scores > 1).any():
            raise BadDetoxify("detoxify_file: the model's scores are not numbers from 0 to 1")
