"""Puts the shipped stages together. The only place that knows all of them."""

import functools
import hashlib
import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from moderation.contact import STAGE as CONTACT
from moderation.contact import WHY, Allowed, Contacts
from moderation.gate import Gate
from moderation.language import STAGE as LANGUAGE
from moderation.language import load_language
from moderation.linear import LEAST_SCORE, MODELS, BadModel, Linear, load_model
from moderation.linear import STAGE as LINEAR
from moderation.pipeline import (
    DEADLINE_S,
    INLINE_CODE_POINTS,
    Observe,
    Pipeline,
    Second,
    Stage,
    Threaded,
)
from moderation.policy_file import POLICY, load_policy
from moderation.rules import RULES, Rules, load_rules
from moderation.rules import STAGE as RULES_STAGE
from moderation.text import WORDS
from moderation.toxicity import Toxicity, Wanted
from moderation.toxicity import load as load_detoxify
from moderation.trajectory import FILE as WEIGHTS
from moderation.trajectory import WHY as WHY_TOGETHER
from moderation.trajectory import shipped_weights
from moderation.transformer import STAGE as TRANSFORMER
from moderation.transformer import available, load_transformer
from moderation.verdict import Signal, Submission

log = logging.getLogger(__name__)

FIRST_SHARE = 0.5
"""Of the deadline: what each stage of the first tier may take, so that the second has the rest."""


def default_pipeline(
    *,
    allowed: Iterable[str] = (),
    rules: Path = RULES,
    own_rules: Sequence[Path] = (),
    policy: Path = POLICY,
    overlays: Sequence[Path] = (),
    classifiers: Sequence[Stage] | None = None,
    beside: Sequence[Stage] = (),
    models: Path = MODELS,
    deadline_s: float = DEADLINE_S,
    every_score: bool = False,
    observe: Observe | None = None,
) -> Pipeline:
    """Rules, contact details, the language and the embedded classifiers under the shipped policy.

    `allowed` are a site's own phone numbers, hosts and email addresses that anybody may write.
    `own_rules` are folders with a site's own rules and word lists beside the shipped ones.
    `classifiers` stand in for the embedded ones; an empty list means rules alone. The second tier is there
    where its file is, and is asked about what the policy's gate passes on; without it, the log says so.
    `beside` are added to them, such as `detoxify`. `overlays` are files of what sites and rooms have
    otherwise. `models` is where the embedded ones are; with `every_score` they tell the faintest score, too.
    `observe` is told what happens, in numbers. Anything wrong with a file raises (`BadRule`, `BadPolicy`,
    `BadModel`) with its name and line.
    """
    shipped_weights()  # wrong ones stop a start, not the first conversation
    known = load_rules(rules, *own_rules)
    contacts = Contacts(Allowed.of(allowed))
    said = whys(known)
    pinned = b"".join(stage.digest for stage in beside if isinstance(stage, Toxicity))
    as_named = digest_of(models)
    made_with = what_decides(known, models=as_named) + pinned
    used = embedded_stages(models) if classifiers is None else {stage.name for stage in classifiers}
    used |= {stage.name for stage in beside}
    decides = load_policy(policy, overlays=overlays, made_with=made_with, rules=said.keys(), used=used)
    stages: list[Stage] = [
        Threaded(RULES_STAGE, each(known.read), inline_code_points=INLINE_CODE_POINTS),
        Threaded(CONTACT, each(contacts.read), inline_code_points=INLINE_CODE_POINTS),
        Threaded(LANGUAGE, load_language().read, inline_code_points=INLINE_CODE_POINTS),
    ]
    second = None
    if classifiers is None:
        gate = Gate(decides.gate, LINEAR)
        linear = load_model(models)
        stages.append(embedded(linear, least_score=0.0 if every_score else gate.lowest(LEAST_SCORE)))
        if TRANSFORMER in used:
            second = second_tier(linear, gate, models, every_score=every_score)
        else:
            log.error("no second tier: %s has no %s, so the first one judges alone", models, TRANSFORMER)
    else:
        stages += classifiers
    if digest_of(models) != as_named:
        raise BadModel(f"{models} changed while it was read")
    first_s = FIRST_SHARE * deadline_s
    return Pipeline(
        [*stages, *beside],
        decides,
        deadline_s,
        second=second,
        within_s={stage.name: first_s for stage in stages} if second else None,
        observe=observe,
        why=lambda name: said.get(name, name),
    )


def whys(rules: Rules) -> dict[str, str]:
    """The plain words of everything that a signal may name as its reason, by id."""
    own = [*(rule.id for rule in rules.rules), *(words.id for words in rules.lists)]
    return {**WHY, **WHY_TOGETHER, **{name: rules.why(name) for name in own}}


def embedded(linear: Linear | None = None, *, least_score: float = LEAST_SCORE) -> Stage:
    """The embedded classifier as a stage, always on its own thread: no model runs on the event loop."""
    linear = linear or load_model()
    return Threaded(LINEAR, Linear(linear.tables, least_score=least_score).read)


def second_tier(linear: Linear, gate: Gate, models: Path = MODELS, *, every_score: bool = False) -> Second:
    """The embedded transformer for what the gate passes on, with a thread of its own.

    It waits for what the gate hears, the first classifier, the rules and the check for contact details, and
    for nothing else: these two have answered long before the classifier has.
    """
    more = {"least_score": 0.0} if every_score else {}
    read = load_transformer(models, linear=linear, **more).read
    return Second(Threaded(TRANSFORMER, read), gate.needed, gate.after)


def detoxify(wanted: Wanted, *, deadline_s: float) -> Toxicity:
    """Detoxify as a stage that answers a little before the pipeline's deadline: what is ready counts."""
    return Toxicity(load_detoxify(wanted), answer_within_s=deadline_s * 0.9)


def each(
    read: Callable[[Submission], Sequence[Signal]],
) -> Callable[[Sequence[Submission]], list[Sequence[Signal]]]:
    """Make a reader of batches of a reader of one message."""
    return lambda batch: [read(submission) for submission in batch]


def embedded_stages(models: Path = MODELS) -> frozenset[str]:
    """The names of the embedded classifiers that judge with what is in a folder of models."""
    return frozenset({LINEAR, TRANSFORMER} if available(models) else {LINEAR})


def what_decides(rules: Rules, *, models: bytes) -> bytes:
    """What decides beside a policy, for its version: rules, words, weights, and models by their hash."""
    return rules.digest + models + _words_digest() + _weights_digest()


def _weights_digest() -> bytes:
    """Of what adds up conversations, as it is in force: its file is read once a process."""
    return hashlib.sha256(repr(shipped_weights()).encode()).digest()


@functools.cache
def _words_digest() -> bytes:
    """Of the words as they were when the first pipeline was built: they are read once a process."""
    return digest_of(WORDS)


def digest_of(folder: Path) -> bytes:
    """A hash of every file in a folder, by name and content, but of the weights that add up conversations.

    Those models that are not in it by themselves are by the hash in their own file, which loading checks.
    """
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.suffix in (".toml", ".txt", ".npz")):
        if file.name != WEIGHTS.name:
            content = file.read_bytes()
            digest.update(f"{file.name}\0{len(content)}\0".encode())
            digest.update(content)
    return digest.digest()
