"""Writes a classifier's part of the policy file: thresholds, and the rates that they were chosen at."""

from collections.abc import Mapping
from pathlib import Path

from moderation.policy_file import POLICY

WRITER = "moderation.training.linear"


def marks(writer: str) -> tuple[str, str]:
    """The lines between which a script's part of the file stands."""
    return (
        f"# --- written by {writer}: thresholds on its scores ---",
        f"# --- end of what {writer} writes ---",
    )


def write_policy(
    chosen: Mapping[str, Mapping[str, Mapping[str, float]]],
    file: Path = POLICY,
    *,
    rates: Mapping[str, Mapping[str, float]] | None = None,
    gate: Mapping[str, float] | None = None,
    writer: str = WRITER,
) -> None:
    """Replace one script's part of the policy file, or add it at the end.

    `chosen` is stage ("linear", "linear.mentor") to label to field (named, concern, high, immediate, hold) to
    score. `rates` is stage to field to the share of benign messages that were allowed to reach it when it was
    chosen. `gate` is label to the first tier's score from which on the second tier is asked.
    """
    begin, end = marks(writer)
    lines = [begin]
    for stage, table in chosen.items():
        lines += ["", f"[stage.{_name(stage)}]"]
        for label, fields in table.items():
            given = ", ".join(f"{key} = {value:.3f}" for key, value in fields.items())
            lines.append(f"{_name(label)} = {{ {given} }}")
    for stage, shares in (rates or {}).items():
        lines += ["", "# The share of benign messages that a threshold was chosen to let reach it, at most."]
        lines += [f"[rates.{_name(stage)}]"]
        lines += [f"{key} = {share:g}" for key, share in shares.items()]
    if gate:
        lines += ["", "# From which of the first tier's scores on the second is asked.", "[gate]"]
        lines += [f"{_name(label)} = {score:.3f}" for label, score in gate.items()]
    lines += ["", end]
    before, _, rest = file.read_text(encoding="utf-8").partition(begin)
    after = rest.partition(end)[2]
    file.write_text(f"{before.rstrip()}\n\n" + "\n".join(lines) + (after or "\n"), encoding="utf-8")


def _name(name: str) -> str:
    return f'"{name}"' if ":" in name or "." in name else name
