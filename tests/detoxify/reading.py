"""Reading with a model that can read it: for tests about what it says."""

from moderation.toxicity import Model
from moderation.toxicity.reading import Floats, Ids


def scores(model: Model, text: str) -> Floats:
    """What a model says of a text that it can read."""
    row = model.judge(text)
    assert row is not None
    return row


def stretches(model: Model, text: str) -> list[Ids]:
    """The tokens of a text that it can read."""
    found = model.tokens.stretches(text)
    assert found is not None
    return found
