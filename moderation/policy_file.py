"""Policy files: reading, checking with file and line, and laying what a site or room has over the policy.

A whole policy is TOML with `version`; see policy.toml, which comes with the project. `[site.NAME]` and
`[room.KIND]` say what one site, or one kind of room, has otherwise. They may stand in the same file or in
files of their own, which then hold nothing else:

    [room.young]
    about = "Ages 11 to 13"                     # for a reader of the policy
    hold_all = true                             # a person reads every message first

    [room.young.actions]                        # the least that follows: "hold" or "block"
    "toxicity:obscene" = "hold"                 # for a label, or for a rule by its id
    "contact.postcode" = "block"

    [room.young.stage.linear]                   # named thresholds, the others stay as they are
    "toxicity:insult" = { hold = 0.15 }

They can ask for more care and hold less swearing. They cannot raise a threshold of risk, and nothing in any
file can weaken `policy.floor`. High risk that a score alone finds may be counted in a conversation instead of
raised at once (`sure`), but no policy can count what a classifier is certain of: see `MOST_SURE`. Anything
wrong raises `BadPolicy` with file and line: a server never starts on half a policy, nor takes one while it
runs.
"""

import hashlib
import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from moderation.policy import Aimed, Overlay, Policy, Reason, Settled, Threshold, Thresholds, Told, flat
from moderation.verdict import LEVEL_LABELS, RISK_LABELS, TOXICITY_LABELS, Action, Risk, Role

POLICY = Path(__file__).parent / "policy.toml"

STAGES = ("rules", "contact", "linear", "transformer", "detoxify", "language", "trajectory")
"""Stages that a policy may name without having thresholds for them."""

UNSILENCED = frozenset({"rules", "contact", "language", "trajectory"})
"""Stages that no other one supersedes."""

SCORING = frozenset(STAGES) - UNSILENCED
"""Stages whose signals are scores: what these mean is the policy's alone."""

LEVELLED = SCORING - {"detoxify"}
"""Those of them that say how much a message asks for."""

LEVELS = ("concern", "high", "immediate")
FIELDS = ("named", *LEVELS, "hold", "sure")

MOST_AGREES = 0.8
"""`agrees` may be this at most: else no score alone would ever hold a message of a conversation."""

MOST_SURE = 0.99
"""The greatest `sure` that a policy may have: from here on a score's high risk raises at once in any case."""

TOLD_OF = frozenset({"self_harm", "abuse", "bullied", "eating", "running_away"})
"""What people tell of themselves: no policy may call it unkind."""

_LABELS = frozenset((*RISK_LABELS, *LEVEL_LABELS, *(f"toxicity:{label}" for label in TOXICITY_LABELS)))
_TABLES = {
    "settled": {"labels", "mistaken_for", "stages"},
    "told": {"labels", "stages"},
    "aimed": {"words", "unless_score", "whoever", "stages"},
    "conversation": {"gathers", "agrees"},
}
_WHOLE = frozenset(
    {"version", "stage", "gate", "rates", "reasons", "missing", "supersedes", "site", "room", *_TABLES}
)
_OVERLAY = frozenset({"about", "hold_all", "actions", "stage"})
_ACTIONS = {"hold": Action.HOLD, "block": Action.BLOCK}
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_VERSION = re.compile(r"[A-Za-z0-9.\-]{1,32}")
_AT_LINE = re.compile(r"at line (\d+)")


class BadPolicy(ValueError):
    """A policy file cannot be used; the message begins with file and line."""


def load_policy(
    file: Path = POLICY,
    *,
    overlays: Sequence[Path] = (),
    made_with: bytes = b"",
    rules: Collection[str] | None = None,
    used: Collection[str] = (),
) -> Policy:
    """Read and check a policy and the files of sites and rooms; `BadPolicy` names file and line.

    `made_with` is what else decides (rules, words, models): it goes into the version's hash, so that two
    verdicts of one version were decided alike. `rules` are the ids that actions may name; None: any. `used`
    are the stages that judge: a policy that one of them says nothing under is refused.
    """
    reader = _Reader(file, rules)
    if "version" not in reader.data and set(reader.data) <= {"site", "room"} and reader.data:
        raise reader.bad("this file has sites or rooms alone: it lies over a policy, and is none")
    digest = hashlib.sha256(reader.raw)
    policy = reader.policy()
    reader.heard(policy, used)
    sites, rooms = dict(policy.sites), dict(policy.rooms)
    for other in overlays:
        over = _Reader(other, rules)
        digest.update(b"\0" + over.raw)
        for name in over.data:
            if name not in ("site", "room"):
                raise over.bad(
                    f"unknown entry {name!r}: a file for a site has [site.NAME] and [room.KIND] alone", name
                )
        for kind, found in (("site", sites), ("room", rooms)):
            for name, overlay in over.overlays(kind, policy.thresholds).items():
                if name in found:
                    raise over.bad(f"{kind} {name!r} has its table in another file already", kind, name)
                found[name] = overlay
    digest.update(made_with)
    whole = digest.hexdigest()
    version = f"{policy.version}-{whole[:8]}"
    return replace(policy, version=version, digest=whole, sites=sites, rooms=rooms)


def is_overlay(file: Path) -> bool:
    """Whether a file has sites or rooms alone. Raises `BadPolicy` where it is not TOML."""
    data = _Reader(file, None).data
    return bool(data) and set(data) <= {"site", "room"}


class Lines:
    """Where each table and entry of a TOML file begins: a path of names to a line, from 1."""

    _HEAD = re.compile(r"\s*\[\[?(?P<path>[^\[\]#]+)\]\]?\s*(?:#.*)?$")
    _ENTRY = re.compile(
        r"\s*(?P<path>(?:\"[^\"]*\"|'[^']*'|[\w-]+)(?:\s*\.\s*(?:\"[^\"]*\"|'[^']*'|[\w-]+))*)\s*="
    )
    _PART = re.compile(r"\"([^\"]*)\"|'([^']*)'|([\w-]+)")

    def __init__(self, source: str) -> None:
        self._text = source.splitlines()
        self._at: dict[tuple[str, ...], int] = {}
        head: tuple[str, ...] = ()
        for number, line in enumerate(self._text, 1):
            if found := self._HEAD.match(line):
                head = self._parts(found["path"])
                self._note(head, 0, number)
            elif found := self._ENTRY.match(line):
                self._note((*head, *self._parts(found["path"])), len(head), number)

    def _note(self, path: tuple[str, ...], known: int, number: int) -> None:
        for end in range(known + 1, len(path) + 1):
            self._at.setdefault(path[:end], number)

    def _parts(self, path: str) -> tuple[str, ...]:
        return tuple("".join(found) for found in self._PART.findall(path))

    def of(self, *path: str) -> int:
        """The line of an entry, of what it stands in where that is not found, or of a value in a list."""
        for end in range(len(path), 0, -1):
            line = self._at.get(path[:end])
            if line is None:
                continue
            for number in range(line, len(self._text) + 1):
                rest = path[end:]
                if not rest:
                    return line
                if any(f"{quote}{rest[0]}{quote}" in self._text[number - 1] for quote in "\"'"):
                    return number
                if number > line and self._HEAD.match(self._text[number - 1]):
                    break
            return line
        return 1


class _Reader:
    """Reads one file, knowing where in it everything stands."""

    def __init__(self, file: Path, rules: Collection[str] | None) -> None:
        self.file, self.rules = file, rules
        try:
            self.raw = file.read_bytes()
            source = self.raw.decode("utf-8")
            self.data: Mapping[str, Any] = tomllib.loads(source)
        except tomllib.TOMLDecodeError as error:
            found = _AT_LINE.search(str(error))
            line = found.group(1) if found else source.count("\n") + 1
            raise BadPolicy(f"{file}:{line}: {error}") from None
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise BadPolicy(f"{file}:1: cannot be read: {why}") from None
        self.lines = Lines(source)
        self.stages = {*STAGES, *(name.partition(".")[0] for name in self.table("stage"))}

    def bad(self, message: str, *path: str) -> BadPolicy:
        """An error at the line of an entry."""
        return BadPolicy(f"{self.file}:{self.lines.of(*path)}: {message}")

    def policy(self) -> Policy:
        """The whole policy; its version still without the hash."""
        self._only(self.data, _WHOLE)
        for name, fields in _TABLES.items():
            self._only(self.table(name), fields, name)
        version = self.data.get("version")
        if not isinstance(version, str) or not _VERSION.fullmatch(version):
            raise self.bad("version must be a short word", "version")
        thresholds = self._stages(self.table("stage"), "stage")
        return Policy(
            version=version,
            thresholds=thresholds,
            reasons=self._reasons(),
            settled=Settled(
                labels=self._labels("settled", "labels"),
                mistaken_for=self._labels("settled", "mistaken_for"),
                stages=self._in_stages("settled"),
            ),
            told=Told(labels=self._labels("told", "labels"), stages=self._in_stages("told")),
            aimed=Aimed(
                words=self._words("aimed", "words"),
                unless_score=self._share(
                    self.table("aimed").get("unless_score", 1.0), "aimed", "unless_score"
                ),
                whoever=self._labels("aimed", "whoever"),
                stages=self._in_stages("aimed"),
            ),
            supersedes=self._supersedes(),
            gathers_concern=self._gathers(),
            agrees=self._up_to("agrees", MOST_AGREES),
            missing=self._missing(),
            gate=self._gate(),
            rates=self._rates(),
            sites=self.overlays("site", thresholds),
            rooms=self.overlays("room", thresholds),
        )

    def heard(self, policy: Policy, used: Collection[str]) -> None:
        """Refuse a policy that makes a classifier say nothing, whatever it sees."""
        for stage in sorted(SCORING.intersection(used)):
            for role in (Role.PUPIL, Role.MENTOR):
                own = f"{stage}.{role.value}" if f"{stage}.{role.value}" in policy.thresholds else stage
                if stage not in policy.in_force("", "", role).asking:
                    raise self.bad(f"{stage} judges a {role.value}, and no score of it counts", "stage", own)
                danger = policy.threshold(stage, "level:high", role) or Threshold()
                if stage in LEVELLED and danger.risk(MOST_SURE) < Risk.HIGH:
                    why = (
                        f"level:high: {stage} is never heard, however sure it is that a {role.value} needs it"
                    )
                    raise self.bad(why, "stage", own, "level:high")

    def overlays(self, kind: str, base: Thresholds) -> dict[str, Overlay]:
        """What sites, or rooms, have otherwise than the policy with these thresholds."""
        found = {}
        for name, table in self.table(kind).items():
            if not _NAME.fullmatch(name):
                raise self.bad(f"{kind} {name!r}: a name has letters, digits, - and _", kind, name)
            if not isinstance(table, dict):
                raise self.bad(f"{kind} {name!r} must be a table", kind, name)
            self._only(table, _OVERLAY, kind, name)
            hold_all, about = table.get("hold_all", False), table.get("about", "")
            if not isinstance(hold_all, bool):
                raise self.bad("hold_all must be true or false", kind, name, "hold_all")
            if not isinstance(about, str):
                raise self.bad("about must be a text", kind, name, "about")
            thresholds = self._stages(self.table("stage", table, kind, name), kind, name, "stage")
            self._no_higher(thresholds, base, kind, name, "stage")
            actions = self._actions(self.table("actions", table, kind, name), kind, name, "actions")
            found[name] = Overlay(thresholds=thresholds, actions=actions, hold_all=hold_all, about=about)
        return found

    def table(self, name: str, within: Mapping[str, Any] | None = None, *path: str) -> Mapping[str, Any]:
        """A table that may be left out."""
        table = (self.data if within is None else within).get(name, {})
        if not isinstance(table, dict):
            raise self.bad(f"{name!r} must be a table", *path, name)
        return table

    def _only(self, table: Mapping[str, Any], fields: Collection[str], *path: str) -> None:
        for entry in table:
            if entry not in fields:
                raise self.bad(f"unknown entry {entry!r}", *path, entry)

    def _words(self, *path: str) -> frozenset[str]:
        words = self.table(path[0]).get(path[1], [])
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise self.bad(f"{path[1]} must be a list of words", *path)
        return frozenset(words)

    def _labels(self, *path: str) -> frozenset[str]:
        labels = self._words(*path)
        for label in sorted(labels):
            self._label(label, *path, label)
        return labels

    def _label(self, label: str, *path: str) -> None:
        if label not in _LABELS:
            raise self.bad(f"unknown label {label!r}", *path)

    def _stage_name(self, stage: str, *path: str) -> None:
        if stage not in self.stages:
            raise self.bad(f"unknown stage {stage!r}", *path)

    def _in_stages(self, name: str) -> frozenset[str]:
        """The stages whose scores a table is about; left out, all that have thresholds."""
        if "stages" not in self.table(name):
            return frozenset(stage.partition(".")[0] for stage in self.table("stage"))
        stages = self._words(name, "stages")
        for stage in sorted(stages):
            self._stage_name(stage, name, "stages", stage)
        return stages

    def _share(self, value: Any, *path: str) -> float:
        if isinstance(value, bool) or not isinstance(value, float | int) or not 0 < value <= 1:
            raise self.bad(f"{path[-1]} must be more than 0 and at most 1", *path)
        return float(value)

    def _stages(self, tables: Mapping[str, Any], *path: str) -> dict[str, dict[str, Threshold]]:
        found = {}
        for name, table in tables.items():
            _, dot, role = name.partition(".")
            if dot and role not in {each.value for each in Role}:
                raise self.bad(f"unknown role {role!r} in stage {name!r}", *path, name)
            if not isinstance(table, dict):
                raise self.bad(f"stage {name!r} must be a table", *path, name)
            if len(path) > 1:
                self._stage_name(name.partition(".")[0], *path, name)
            found[name] = {
                label: self._threshold(label, fields, *path, name, label) for label, fields in table.items()
            }
        return found

    def _threshold(self, label: str, fields: Any, *path: str) -> Threshold:
        self._label(label, *path)
        if not isinstance(fields, dict):
            raise self.bad(f"{label} must be a table of thresholds", *path)
        for name, value in fields.items():
            if name not in FIELDS:
                raise self.bad(f"unknown threshold {name!r}", *path)
            if isinstance(value, bool) or not isinstance(value, float | int) or not 0 < value <= 1:
                raise self.bad(f"{label}: {name} must be more than 0 and at most 1", *path)
        if fields.get("sure", 0.0) > MOST_SURE:
            raise self.bad(f"{label}: sure may be {MOST_SURE:g} at most, else nothing ever is", *path)
        given = [fields[name] for name in LEVELS if name in fields]
        if given != sorted(given):
            raise self.bad(f"{label}: a greater risk needs a score that is no lower", *path)
        return Threshold(**fields)

    def _no_higher(self, thresholds: Thresholds, base: Thresholds, *path: str) -> None:
        """A site or room may look closer at risk, never away from it."""
        for stage, table in thresholds.items():
            name, _, role = stage.partition(".")
            under = flat(base, Role(role) if role else Role.PUPIL)
            for label, threshold in table.items():
                known = under.get((name, label), Threshold())
                for level in (*LEVELS, "sure"):
                    here, there = getattr(threshold, level), getattr(known, level)
                    if here is not None and there is not None and here > there:
                        raise self.bad(
                            f"{label}: {level} may be {there:g} at most, as in the policy under it",
                            *path, stage, label,
                        )  # fmt: skip
                if threshold.sure is not None and known.high is not None and known.sure is None:
                    raise self.bad(
                        f"{label}: in the policy under it all high risk raises at once; leave out sure",
                        *path, stage, label,
                    )  # fmt: skip

    def _actions(self, table: Mapping[str, Any], *path: str) -> dict[str, Action]:
        found = {}
        for name, word in table.items():
            known = name in _LABELS or ("." in name if self.rules is None else name in self.rules)
            if not known:
                raise self.bad(f"{name!r} is neither a label nor a rule's id", *path, name)
            if word not in _ACTIONS:
                raise self.bad(f'{name}: an action is "hold" or "block", not {word!r}', *path, name)
            found[name] = _ACTIONS[word]
        return found

    def _reasons(self) -> dict[str, Reason]:
        reasons = {}
        for label, word in self.table("reasons").items():
            self._label(label, "reasons", label)
            reasons[label] = self._reason(word, label, "reasons", label)
            if label in TOLD_OF and reasons[label] is Reason.UNKIND:
                raise self.bad(
                    f"{label} is what people tell of themselves: it is never unkind", "reasons", label
                )
        return reasons

    def _missing(self) -> dict[str, Reason]:
        found = {}
        for stage, word in self.table("missing").items():
            self._stage_name(stage, "missing", stage)
            found[stage] = self._reason(word, stage, "missing", stage)
        return found

    def _reason(self, word: Any, what: str, *path: str) -> Reason:
        try:
            return Reason(word)
        except ValueError:
            raise self.bad(f"unknown reason {word!r} for {what}", *path) from None

    def _supersedes(self) -> dict[str, frozenset[str]]:
        found = {}
        for stage in self.table("supersedes"):
            self._stage_name(stage, "supersedes", stage)
            others = self._words("supersedes", stage)
            for other in sorted(others):
                self._stage_name(other, "supersedes", stage, other)
                if other in UNSILENCED or other == stage:
                    raise self.bad(f"nothing supersedes {other}", "supersedes", stage, other)
            found[stage] = others
        return found

    def _up_to(self, name: str, most: float) -> float:
        """A number of the table [conversation], from 0 to `most`; 0 where it is left out."""
        given = self.table("conversation").get(name, 0.0)
        if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given <= most:
            raise self.bad(f"{name} must be a number from 0 to {most:g}", "conversation", name)
        return float(given)

    def _gathers(self) -> bool:
        levels = self._words("conversation", "gathers")
        if levels - {"concern"}:
            raise self.bad(
                "only concern may gather: high and immediate risk raise at once", "conversation", "gathers"
            )
        return bool(levels)

    def _gate(self) -> dict[str, float]:
        found = {}
        for label, score in self.table("gate").items():
            self._label(label, "gate", label)
            found[label] = self._share(score, "gate", label)
        return found

    def _rates(self) -> dict[str, dict[str, float]]:
        found = {}
        for stage, table in self.table("rates").items():
            if not isinstance(table, dict):
                raise self.bad(f"rates of {stage!r} must be a table", "rates", stage)
            self._only(table, FIELDS, "rates", stage)
            found[stage] = {name: self._share(value, "rates", stage, name) for name, value in table.items()}
        return found
