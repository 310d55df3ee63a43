"""Which messages the second tier must look at, by what the first tier saw: thresholds, as data.

A gate is a saving and never a judgement: what it lets by was judged by the first tier, and what it cannot
tell goes to the second. Without thresholds everything does. So does, in any case, a message in which a rule
or the check for contact details found something: what makes a person look, or counts over a conversation, is
worth a second reading.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from moderation.verdict import Signal, Submission

FINDERS = frozenset({"rules", "contact"})
"""Stages of which any finding is enough, a mark that asks for nothing included."""

_RIGHT = "fetches takes_seriously asks_straight asks_harm stops_details deflects objects denies"
REACTIONS = frozenset(f"course.{name}" for name in _RIGHT.split())
"""Marks of a right answer, as what clears is: they tell of the message before theirs. To read those with
nothing else in them a second time costs a good part of the saving, and changed no verdict where measured."""


UNSETTLED = 0.08
"""In a conversation that showed so much of `together:risk` when it was last read, the next turn is read."""


@dataclass(frozen=True, slots=True)
class Gate:
    """Label to the score of one stage from which on the second tier is asked; any one of them is enough."""

    least: Mapping[str, float] = field(default_factory=dict)
    stage: str = "linear"

    @property
    def after(self) -> frozenset[str]:
        """The stages that it hears, which must have answered before it is asked."""
        return FINDERS | {self.stage}

    def needed(self, submission: Submission, signals: Sequence[Signal]) -> bool:
        """Whether the second tier must look at the message."""
        if not self.least:
            return True
        for signal in signals:
            if signal.stage == self.stage:
                least = self.least.get(signal.label)
                if least is not None and not signal.score < least:
                    return True
            elif signal.stage in FINDERS and not signal.clears and signal.why not in REACTIONS:
                return True
        return submission.so_far is not None and submission.so_far.unsettled(UNSETTLED)

    def lowest(self, otherwise: float) -> float:
        """The least score that the stage must tell, so that the gate sees what it asks for."""
        return min((otherwise, *self.least.values()))
