"""Which messages the second tier must look at, by what the first tier scored: thresholds, as data.

A gate is a saving and never a judgement: what it lets by was judged by the first tier, and what it cannot
tell goes to the second. Without thresholds everything does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from moderation.verdict import Signal, Submission


@dataclass(frozen=True, slots=True)
class Gate:
    """Label to the score of one stage from which on the second tier is asked; any one of them is enough."""

    least: Mapping[str, float] = field(default_factory=dict)
    stage: str = "linear"

    def needed(self, submission: Submission, signals: Sequence[Signal]) -> bool:
        """Whether the second tier must look at the message."""
        if not self.least:
            return True
        for signal in signals:
            least = self.least.get(signal.label)
            if least is not None and signal.stage == self.stage and not signal.score < least:
                return True
        return False

    def lowest(self, otherwise: float) -> float:
        """The least score that the stage must tell, so that the gate sees what it asks for."""
        return min((otherwise, *self.least.values()))
