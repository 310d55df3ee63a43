"""What an operator asks for, and reading it: once, bounded, and only when it is the pinned file."""

import enum
import hashlib
import hmac
import re
from dataclasses import dataclass
from pathlib import Path

from moderation.linear import BadModel
from moderation.toxicity.published import PUBLISHED

LOCAL = "local"
"""The name for a checkpoint that is none of the published ones."""

MAX_BYTES = 4 << 30
"""A larger file is refused unread: the largest published one has 1.1 GB."""

SHA256 = re.compile(r"[0-9a-f]{64}")


class BadDetoxify(BadModel):
    """Detoxify cannot be used as it is set up; the message begins with the setting at fault."""


class Form(enum.StrEnum):
    """What runs the model."""

    TORCH = "torch"
    ONNX = "onnx"  # 32-bit weights, the same scores
    ONNX_INT8 = "onnx-int8"  # a quarter of the size, several times the speed, slightly other scores


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The settings, without their prefix `detoxify_`."""

    model: str  # a name of PUBLISHED, or LOCAL
    file: Path  # a checkpoint; for ONNX the detoxify.toml that an export wrote
    sha256: str  # of `file`, all 64 digits
    folder: Path | None = None  # config and tokenizer of a checkpoint
    device: str = "cpu"
    form: Form = Form.TORCH
    threads: int = 1

    def __post_init__(self) -> None:
        if self.model not in PUBLISHED and self.model != LOCAL:
            raise BadDetoxify(f"detoxify_model: one of {', '.join(PUBLISHED)} or {LOCAL}, not {self.model!r}")
        if not SHA256.fullmatch(self.sha256):
            raise BadDetoxify("detoxify_sha256: the whole sha256 of detoxify_file, 64 digits from 0 to f")
        if self.form is Form.TORCH and self.folder is None:
            raise BadDetoxify("detoxify_folder: a checkpoint needs the folder of its config and tokenizer")
        if self.form is not Form.TORCH and self.device != "cpu":
            raise BadDetoxify("detoxify_device: the ONNX forms run on the cpu")
        if self.threads < 1:
            raise BadDetoxify("detoxify_threads: at least 1")
        known = PUBLISHED.get(self.model)
        if self.form is Form.TORCH and known and not self.sha256.startswith(known.digits):
            raise BadDetoxify(
                f"detoxify_sha256: the published file of {self.model!r} is {known.file}, whose hash should"
                f" begin with {known.digits}; for another checkpoint set detoxify_model to {LOCAL!r}"
            )


def read_pinned(file: Path, sha256: str, *, pin: str = "detoxify_sha256") -> bytes:
    """Read a file once and return its bytes if they are the pinned ones; `BadDetoxify` otherwise.

    What is checked is what is used: nothing opens the file again.
    """
    raw = read(file)
    if not hmac.compare_digest(hashlib.sha256(raw).hexdigest(), sha256):
        raise BadDetoxify(f"{pin}: {file} is not the file with this hash")
    return raw


def read(file: Path, setting: str = "detoxify_file") -> bytes:
    """Read a bounded file; `BadDetoxify` names the setting."""
    try:
        if file.stat().st_size > MAX_BYTES:
            raise BadDetoxify(f"{setting}: {file} is larger than any model should be")
        return file.read_bytes()
    except OSError as error:
        raise BadDetoxify(f"{setting}: {file}: {error.strerror or 'cannot be read'}") from None
