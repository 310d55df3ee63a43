"""A classifier that finds in a text what stands in it, and a fold in which all evidence weighs the same."""

from collections.abc import Sequence

from moderation.trajectory import FEATURES, Weights
from moderation.verdict import Signal, Submission

EVEN = Weights(tuple(1.0 for _ in FEATURES), bias=-2.7, concern=0.0, high=3.0, calmed=-1.0, again=6)

NOBODY = Weights(tuple(0.0 for _ in FEATURES), bias=-9.0, concern=0.0, high=3.0, calmed=-1.0)
"""A fold that nothing moves."""

LOW = "self_harm 0.3, level:concern 0.4"
"""Nothing by itself, and at the third time a reason for an adult to know."""


class Scores:
    """Reads "self_harm 0.3, level:concern 0.4" as that; any other text as nothing."""

    name = "linear"

    async def assess(self, batch: Sequence[Submission]) -> list[list[Signal]]:
        """Return the scores that stand in each text."""
        return [
            [
                Signal(label=label, score=float(score), stage="linear", why="linear")
                for label, _, score in (part.partition(" ") for part in one.text.split(", "))
                if score.replace(".", "").isdecimal()
            ]
            for one in batch
        ]
