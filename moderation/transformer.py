"""The second tier: a small transformer that reads what the first tier is not sure is harmless.

A six-layer encoder (all-MiniLM-L6-v2, fine-tuned; models/transformer.md) as ONNX with int8 weights, run by
onnxruntime on one thread. Messages are read one by one: dynamic quantisation scales what it sees together, so
in a batch a message's score would hang on its neighbours. Alone it is the same today and in a replay.

A text of more than `WINDOW` pieces is cut at word ends, and the `WINDOWS` parts that the linear tier finds
most alarming are read; a label's score is the highest of them. A message of a conversation that is no longer
than that is read once more, behind the turns before it: what it shows there is evidence for the fold
(trajectory.py). So the cost of a message is bounded.
"""

import hashlib
import tomllib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moderation.linear import MODELS, RISK, TOXICITY, BadModel, Linear
from moderation.text import fold
from moderation.verdict import TOGETHER_LABELS, Role, Signal, Submission, Turn

STAGE = "transformer"

LABELS = (*RISK, *TOXICITY)
"""What the model scores of a message by itself, in the order of its outputs."""

OUTPUTS = (*LABELS, *TOGETHER_LABELS)
"""Every output: the latter are read of a message with the turns before it."""

WINDOW = 46
"""Pieces of words that are read at once, besides the two that mark beginning and end."""

WINDOWS = 2
"""Parts of a long text that are read."""

CONTEXT = 80
"""Pieces of earlier turns that are read before a message of a conversation: about six turns."""

MOST_OF_A_TURN = 40
"""Pieces of one earlier turn that are read: so that one long one does not push out all others."""

MAX_PIECES_A_WORD = 12
"""A word of more pieces than this is noise: it is read as unknown."""

LEAST_SCORE = 0.02
"""Scores under this are not signals: they would only be noise beside a message."""

MENTOR_WORDS = ("mentor", ":")
"""What stands before a mentor's text: the same words ask for other things from a mentor."""

PUPIL_WORDS = ("pupil", ":")
"""What stands before a pupil's earlier turn; a pupil's own message has nothing before it."""

_Floats = NDArray[np.float32]

Calibration = tuple[float, float, float]
"""A label's log-odds: first times the model's output, second times the linear tier's, plus the third."""


class WordPiece:
    """BERT's cutting of words into known pieces, longest first, over text that is already folded.

    Our own forty lines because the library for it comes with a client for downloading models, which the
    server of a school has no use for.
    """

    def __init__(self, pieces: Sequence[str]) -> None:
        self._ids = {piece: at for at, piece in enumerate(pieces)}
        try:
            self.begin, self.end, self.unknown = (self._ids[name] for name in ("[CLS]", "[SEP]", "[UNK]"))
        except KeyError as error:
            raise BadModel(f"the vocabulary lacks {error.args[0]}") from None
        self._known: dict[str, tuple[int, ...]] = {}
        self._longest = max(map(len, pieces))

    def __len__(self) -> int:
        return len(self._ids)

    def words(self, text: str) -> list[tuple[int, ...]]:
        """The pieces of each word of `text`; marks and Chinese characters are words of their own."""
        return [self._word(word) for chunk in text.split() for word in _apart(chunk)]

    def _word(self, word: str) -> tuple[int, ...]:
        known = self._known.get(word)
        if known is None:
            known = self._cut(word)
            if len(self._known) < 20_000:
                self._known[word] = known
        return known

    def _cut(self, word: str) -> tuple[int, ...]:
        pieces: list[int] = []
        at = 0
        if len(word) > 100:
            return (self.unknown,)
        while at < len(word):
            end = min(len(word), at + self._longest)
            while end > at and (piece := ("##" if at else "") + word[at:end]) not in self._ids:
                end -= 1
            if end == at or len(pieces) == MAX_PIECES_A_WORD:
                return (self.unknown,)
            pieces.append(self._ids[piece])
            at = end
        return tuple(pieces)


def _apart(chunk: str) -> list[str]:
    """A run without spaces, cut at its marks."""
    if chunk.isalnum() and chunk.isascii():
        return [chunk]
    words: list[str] = []
    open_word = False
    for character in chunk:
        if _stands_alone(character):
            words.append(character)
            open_word = False
        elif open_word:
            words[-1] += character
        else:
            words.append(character)
            open_word = True
    return words


def _stands_alone(character: str) -> bool:
    if character.isascii():
        return not character.isalnum()
    return unicodedata.category(character)[0] == "P" or "\u4e00" <= character <= "\u9fff"


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a folded text that is read at once."""

    text: str
    ids: tuple[int, ...]


def parts(folded: str, pieces: WordPiece, *, mentor: bool) -> list[Part]:
    """Cut a folded text at word ends into stretches of at most `WINDOW` pieces; one even for no text."""
    before = tuple(pieces.words(" ".join(MENTOR_WORDS))) if mentor else ()
    prefix = tuple(piece for word in before for piece in word)
    room = WINDOW - len(prefix)
    found: list[Part] = []
    words: list[str] = []
    ids: list[int] = []
    for word in folded.split(" "):
        own = [piece for cut in pieces.words(word) for piece in cut][:room]
        if words and len(ids) + len(own) > room:
            found.append(Part(" ".join(words), (pieces.begin, *prefix, *ids, pieces.end)))
            words, ids = [], []
        words.append(word)
        ids += own
    if words or not found:
        found.append(Part(" ".join(words), (pieces.begin, *prefix, *ids, pieces.end)))
    return found


def window(submission: Submission, pieces: WordPiece) -> tuple[int, ...]:
    """A message behind the turns before it, the newest of them whole: `[CLS] turns [SEP] message [SEP]`.

    The model gathers its answer over what stands between the last two marks; the rest is there to be
    looked at. A message of several parts is read by its first.
    """
    mentor = submission.role is Role.MENTOR
    message = parts(fold(submission.text).text, pieces, mentor=mentor)[0].ids[1:]
    before: list[int] = []
    for turn in reversed(submission.recent):
        room = CONTEXT - len(before)
        own = _turn(turn, pieces)
        before[:0] = own[max(0, len(own) - room) :]
        if len(before) >= CONTEXT:
            break
    return (pieces.begin, *before, pieces.end, *message)


def whole(submission: Submission, pieces: WordPiece) -> bool:
    """Whether `window` has all of the message: nothing may be called harmless by half of it."""
    prefix = MENTOR_WORDS if submission.role is Role.MENTOR else ()
    words = pieces.words(" ".join((*prefix, fold(submission.text).text)))
    return sum(map(len, words)) <= WINDOW


def _turn(turn: Turn, pieces: WordPiece) -> list[int]:
    who = MENTOR_WORDS if turn.role is Role.MENTOR else PUPIL_WORDS
    prefix = [piece for word in pieces.words(" ".join(who)) for piece in word]
    text = [piece for word in pieces.words(fold(turn.text).text) for piece in word]
    return prefix + text[:MOST_OF_A_TURN]


class Transformer:
    """The model with its calibration. Not for several threads at once: a stage gives it one."""

    name = STAGE

    def __init__(
        self,
        session: Any,
        pieces: WordPiece,
        *,
        calibration: Sequence[Calibration],
        linear: Linear,
        least_score: float = LEAST_SCORE,
    ) -> None:
        self._session = session
        self.pieces = pieces
        self._calibration = np.asarray(calibration, np.float32)
        if self._calibration.shape != (len(OUTPUTS), 3) or not np.isfinite(self._calibration).all():
            raise BadModel("the calibration does not have three numbers a label")
        self._linear = linear
        self._places = [linear.labels.index(label) for label in LABELS]
        self.least_score = least_score

    def logits(self, ids: Sequence[int]) -> _Floats:
        """Uncalibrated log-odds of one stretch, (outputs,)."""
        row = np.asarray([ids], np.int64)
        (scores,) = self._session.run(None, {"ids": row})
        if scores.shape != (1, len(OUTPUTS)):
            raise ValueError("the model gave the wrong shape")
        return np.asarray(scores[0], np.float32)

    def odds(self, submission: Submission) -> _Floats:
        """Uncalibrated log-odds of a message, (labels,): for each label the highest of its stretches."""
        mentor = submission.role is Role.MENTOR
        found = parts(fold(submission.text).text, self.pieces, mentor=mentor)
        if len(found) > WINDOWS:
            alone = [Submission(text=part.text, role=submission.role) for part in found]
            alarming = self._linear.probabilities(alone)[:, self._linear.labels.index("level:high")]
            chosen = sorted(range(len(found)), key=lambda at: -float(alarming[at]))[:WINDOWS]
            found = [found[at] for at in sorted(chosen)]
        read = [self.logits(part.ids)[: len(LABELS)] for part in found]
        return np.asarray(np.max(read, axis=0), np.float32)

    def together_odds(self, submission: Submission) -> _Floats:
        """Uncalibrated log-odds of what a message shows beside the turns before it, (together labels,)."""
        return self.logits(window(submission, self.pieces))[len(LABELS) :]

    def linear_odds(self, batch: Sequence[Submission]) -> _Floats:
        """The first tier's log-odds, (messages, labels), in the order of `LABELS`."""
        scores = np.clip(self._linear.probabilities(batch)[:, self._places], 1e-5, 1 - 1e-5)
        return np.asarray(np.log(scores / (1 - scores)), np.float32)

    def probabilities(self, batch: Sequence[Submission]) -> _Floats:
        """Calibrated scores of both tiers together, from 0 to 1, (messages, labels)."""
        if not batch:
            return np.zeros((0, len(LABELS)), np.float32)
        own = np.stack([self.odds(submission) for submission in batch])
        of_own, of_linear, intercept = self._calibration[: len(LABELS)].T
        return _scores(own * of_own + self.linear_odds(batch) * of_linear + intercept)

    def together(self, submission: Submission) -> _Floats:
        """Calibrated scores of what a message shows beside the turns before it, (together labels,)."""
        of_own, _, intercept = self._calibration[len(LABELS) :].T
        return _scores(self.together_odds(submission) * of_own + intercept)

    def read(self, batch: Sequence[Submission]) -> list[list[Signal]]:
        """Signals for every message, strongest first; one at least, by which it is known to have answered.

        For one of a conversation there follows what it shows together with the turns before it, where all
        of it can be read so.
        """
        found = [self._signals(LABELS, row) for row in self.probabilities(batch)]
        for submission, signals in zip(batch, found, strict=True):
            talks = submission.so_far is not None or bool(submission.conversation)
            if talks and whole(submission, self.pieces):
                signals += self._signals(TOGETHER_LABELS, self.together(submission))
        return found

    def _signals(self, labels: Sequence[str], row: _Floats) -> list[Signal]:
        return [
            Signal(label=labels[at], score=float(row[at]), stage=STAGE, why=STAGE)
            for place, at in enumerate(np.argsort(-row))
            if not place or row[at] >= self.least_score or not np.isfinite(row[at])
        ]


def _scores(odds: _Floats) -> _Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(odds, -30, 30))), np.float32)


def available(folder: Path = MODELS) -> bool:
    """Whether the model's files are there: they come with the package, and may be left out of a small one."""
    return (folder / "transformer.toml").exists()


def load_transformer(
    folder: Path = MODELS, *, linear: Linear, least_score: float = LEAST_SCORE
) -> Transformer:
    """Read the model and check it against its hashes; `BadModel` where anything is not as it should be."""
    import onnxruntime

    about_file = folder / "transformer.toml"
    try:
        about = tomllib.loads(about_file.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise BadModel(f"{about_file} cannot be read: {error}") from None
    graph = _checked(folder / "transformer.onnx", about, "sha256")
    vocabulary = _checked(folder / "transformer.vocab.txt", about, "vocabulary_sha256")
    calibration = about.get("calibration")
    if not isinstance(calibration, Mapping) or set(calibration) != set(OUTPUTS):
        raise BadModel(f"{about_file} must have a calibration for each label")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # it would print the names of our files, and nothing that helps
    try:
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise BadModel(f"{folder / 'transformer.onnx'} is not a model: {type(error).__name__}") from None
    try:
        numbers = [_calibration(calibration[label]) for label in OUTPUTS]
    except (TypeError, ValueError):
        raise BadModel(f"{about_file}: a calibration is three numbers") from None
    return Transformer(
        session,
        WordPiece(vocabulary.decode("utf-8").splitlines()),
        calibration=numbers,
        linear=linear,
        least_score=least_score,
    )


def _calibration(given: Any) -> Calibration:
    own, of_linear, intercept = given
    return float(own), float(of_linear), float(intercept)


def _checked(file: Path, about: Mapping[str, Any], name: str) -> bytes:
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise BadModel(f"{file} cannot be read: {error}") from None
    if hashlib.sha256(raw).hexdigest() != about.get(name):
        raise BadModel(f"{file} is not the file that transformer.toml names")
    return raw
