"""Puts the shipped stages together. The only place that knows all of them."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from moderation.contact import STAGE as CONTACT
from moderation.contact import Allowed, Contacts
from moderation.linear import LEAST_SCORE, MODELS, Linear, load_model
from moderation.linear import STAGE as LINEAR
from moderation.pipeline import DEADLINE_S, INLINE_CODE_POINTS, Pipeline, Stage, Threaded
from moderation.policy import POLICY, load_policy
from moderation.rules import RULES, load_rules
from moderation.rules import STAGE as RULES_STAGE
from moderation.text import WORDS
from moderation.verdict import Signal, Submission


def default_pipeline(
    *,
    allowed: Iterable[str] = (),
    rules: Path = RULES,
    policy: Path = POLICY,
    classifiers: Sequence[Stage] | None = None,
    deadline_s: float = DEADLINE_S,
) -> Pipeline:
    """Rules, contact details and the embedded classifier under the shipped policy.

    `allowed` are a site's own phone numbers, hosts and email addresses that anybody may write.
    `classifiers` stand in for the embedded one; an empty list means rules alone. Anything wrong with a
    file raises (`BadRule`, `BadPolicy`, `BadModel`) with its name and line.
    """
    known = load_rules(rules)
    contacts = Contacts(Allowed.of(allowed))
    stages: list[Stage] = [
        Threaded(RULES_STAGE, each(known.read), inline_code_points=INLINE_CODE_POINTS),
        Threaded(CONTACT, each(contacts.read), inline_code_points=INLINE_CODE_POINTS),
    ]
    stages += [embedded()] if classifiers is None else classifiers
    return Pipeline(stages, load_policy(policy, made_with=digest_of(rules, WORDS, MODELS)), deadline_s)


def embedded(*, least_score: float = LEAST_SCORE) -> Stage:
    """The embedded classifier as a stage, always on its own thread: no model runs on the event loop."""
    linear = load_model()
    return Threaded(LINEAR, Linear(linear.tables, least_score=least_score).read)


def each(
    read: Callable[[Submission], Sequence[Signal]],
) -> Callable[[Sequence[Submission]], list[Sequence[Signal]]]:
    """Make a reader of batches of a reader of one message."""
    return lambda batch: [read(submission) for submission in batch]


def digest_of(*folders: Path) -> bytes:
    """A hash of every file in some folders, by name and content."""
    digest = hashlib.sha256()
    for folder in folders:
        for file in sorted(path for path in folder.rglob("*") if path.suffix in (".toml", ".txt", ".npz")):
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.digest()
