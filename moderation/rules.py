"""Rules as data: what staff can read, change and prove, where a classifier can only be trusted.

A rule file is TOML, with any number of `[[rule]]`:

    [[rule]]
    id = "self_harm.method_now"           # unique, begins with its file's name
    label = "self_harm"                   # one of RISK_LABELS, or "toxicity:insult" and its like
    also = ["threat"]                     # more labels, where several apply
    risk = "immediate"                    # none (default), concern, high, immediate
    action = "hold"                       # deliver (default), hold, block; policy may ask for more
    roles = ["pupil"]                     # whose messages; all, where it is left out
    why = "Says that they are ..."        # for staff, in plain words
    patterns = ["(going to|gonna) {end_it}"]
    unless = ["essay"]                    # anywhere in the message: then it is not meant
    unless_before = ["not"]               # directly before the hit
    unless_after = ["laughing"]           # directly after it
    unless_near = ["in the book"]         # within eight words of it
    unless_inside = ["never"]             # within the hit itself, where the pattern leaves words open
    match = ["im gonna end it"]           # every example is run when the file is loaded
    no_match = ["im not gonna end it"]

A rule for mentors may say `clears = true` instead of a risk or an action: it knows what a good mentor says,
and then no score alone holds it or raises an alarm. Other rules still do.

Patterns are RE2, so none can hang; they see the folded text (moderation/text.py): lower case, no
apostrophes, "u" already "you". A pattern begins and ends at a word. A space also passes punctuation and
emoji; `<3>` between spaces stands for up to three words; `{name}` is a list of words from `[words]` of
`common.toml` or of the same file. Anything wrong, an example that fails included, raises `BadRule` with
file and line: a server never starts on half its rules.
"""

import functools
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import re2

from moderation.text import Folded, fold
from moderation.verdict import RISK_LABELS, TOXICITY_LABELS, Action, Risk, Role, Signal, Submission

STAGE = "rules"
RULES = Path(__file__).parent / "rules"
COMMON = "common.toml"

MAX_HITS = 16
"""Times that one pattern is looked at in one message: the first hit that is not excused counts."""

NEAR = 8
"""Words either side of a hit that `unless_near` sees."""

_MAX_PATTERN = 4_000
_PATTERN_MEMORY = (
    2 << 20
)  # bytes for one pattern's automaton; where it does not suffice RE2 is slower, not wrong
_SENTINEL = "zqzqz"  # put after every text: a sieve that does not find it has not looked

_Level = TypeVar("_Level", Action, Risk)

LABELS = frozenset(RISK_LABELS) | {f"toxicity:{label}" for label in TOXICITY_LABELS}


class BadRule(ValueError):
    """A rule file cannot be used; the message begins with file and line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule, compiled."""

    id: str
    labels: tuple[str, ...]  # the first is the main one
    risk: Risk
    action: Action
    clears: bool
    roles: frozenset[Role]
    why: str
    sources: tuple[str, ...]  # the patterns, as RE2 reads them
    patterns: tuple[Any, ...]  # compiled `sources`
    unless: Any | None
    unless_before: Any | None
    unless_after: Any | None
    unless_near: Any | None
    unless_inside: Any | None
    where: str  # file:line

    def hit(self, text: str, only: Sequence[int] | None = None) -> tuple[int, int] | None:
        """Where in a folded text the rule applies, or None; `only` are the patterns worth trying."""
        if self.unless is not None and self.unless.search(text) is not None:
            return None
        for number in range(len(self.patterns)) if only is None else only:
            for start, end in _occurrences(self.patterns[number], text):
                if not self._excused(text, start, end):
                    return start, end
        return None

    def _excused(self, text: str, start: int, end: int) -> bool:
        if self.unless_before is not None and self.unless_before.search(text[max(0, start - 120) : start]):
            return True
        if self.unless_after is not None and self.unless_after.match(text[end : end + 120]):
            return True
        if self.unless_inside is not None and self.unless_inside.search(text[start:end]):
            return True
        if self.unless_near is not None:
            before = " ".join(text[:start].split(" ")[-NEAR - 1 :])
            after = " ".join(text[end:].split(" ")[: NEAR + 1])
            if self.unless_near.search(f"{before}{text[start:end]}{after}"):
                return True
        return False


class Rules:
    """A set of rules as a stage. Work is linear in the text; nothing here can hang.

    A sieve first finds the words that each pattern cannot do without, in one pass, and tries the patterns
    that are left; only those that hit are looked at for where and with what around. A sieve that gives up
    misses its sentinel, and then every pattern is tried: slower, never silent.
    """

    name = STAGE

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = tuple(rules)
        self._by_id = {rule.id: rule for rule in self.rules}
        self._owners = [
            (number, at) for number, rule in enumerate(self.rules) for at in range(len(rule.sources))
        ]
        self._sieve = _sieve([source for rule in self.rules for source in rule.sources])

    def __len__(self) -> int:
        return len(self.rules)

    def why(self, rule_id: str) -> str:
        """A rule's plain words for staff; the id itself where there is no such rule."""
        rule = self._by_id.get(rule_id)
        return rule.why if rule else rule_id

    def read(self, submission: Submission) -> list[Signal]:
        """What the rules see in one message."""
        return self.signals(fold(submission.text), submission.role)

    def signals(self, view: Folded, role: Role) -> list[Signal]:
        """What the rules see in a folded text that `role` wrote: signals in the order of the rules."""
        found: list[Signal] = []
        for rule, patterns in self._candidates(view.text):
            if role not in rule.roles:
                continue
            at = rule.hit(view.text, patterns)
            if at is None:
                continue
            span = view.span(*at)
            for label in rule.labels:
                found.append(
                    Signal(
                        label=label,
                        score=0.0 if rule.clears else 1.0,
                        stage=STAGE,
                        why=rule.id,
                        span=span,
                        risk=rule.risk,
                        action=rule.action,
                        clears=rule.clears,
                    )
                )
        return found

    def _candidates(self, text: str) -> Sequence[tuple[Rule, Sequence[int]]]:
        """Rules of which a pattern occurs in the text, in order, each with the patterns that do."""
        hits = self._sieve.Match(f"{text} {_SENTINEL}") or ()
        if len(self._owners) in hits:
            found = [self._owners[hit] for hit in hits if hit < len(self._owners)]
        else:
            found = self._owners
        if not found:
            return ()
        by_rule: dict[int, list[int]] = {}
        for rule, pattern in sorted(found):
            by_rule.setdefault(rule, []).append(pattern)
        return [(self.rules[rule], patterns) for rule, patterns in by_rule.items()]


def load_rules(folder: Path = RULES) -> Rules:
    """Read, compile and prove every rule file of a folder; raise `BadRule` at the first thing wrong."""
    files = sorted(folder.glob("*.toml"))
    shared = _words_of(folder / COMMON, {}) if (folder / COMMON) in files else {}
    rules: list[Rule] = []
    seen: dict[str, str] = {}
    for file in files:
        for rule in read_rules(file, shared):
            if rule.id in seen:
                raise BadRule(f"{rule.where}: rule id {rule.id!r} is used before, at {seen[rule.id]}")
            seen[rule.id] = rule.where
            rules.append(rule)
    if not rules:
        raise BadRule(f"{folder}:1: no rules here")
    return Rules(rules)


def read_rules(file: Path, shared: Mapping[str, str] | None = None) -> list[Rule]:
    """Read one rule file and run its examples."""
    data, lines = _parse(file)
    unknown = set(data) - {"rule", "words"}
    if unknown:
        raise BadRule(f"{file}:1: unknown table {min(unknown)!r}")
    words = _words_of(file, shared or {})
    tables = data.get("rule", [])
    if not isinstance(tables, list):
        raise BadRule(f"{file}:1: write [[rule]], with two brackets")
    starts = [number for number, line in enumerate(lines, 1) if _RULE_HEAD.match(line)]
    rules = []
    for index, table in enumerate(tables):
        first = starts[index] if index < len(starts) else 1
        last = starts[index + 1] - 1 if index + 1 < len(starts) else len(lines)
        rules.append(_Reader(file, lines, first, last, words).rule(table))
    return rules


@functools.cache
def shipped_rules() -> Rules:
    """The rules that come with the project."""
    return load_rules(RULES)


# --- reading a file -----------------------------------------------------------------------------------

_RULE_HEAD = re.compile(r"\s*\[\[\s*rule\s*\]\]")
_AT_LINE = re.compile(r"at line (\d+)")
_MACRO = re.compile(r"\{([a-z_]+)\}")
_GAP = re.compile(r" <(\d+)> ")
_GAP_FIRST = re.compile(r"<(\d+)> ")
_GAP_LAST = re.compile(r" <(\d+)>")
_ID = re.compile(r"[a-z_]+(?:\.[a-z0-9_]+)+")
_FIELDS = frozenset(
    "id label also risk action clears roles why patterns match no_match"
    " unless unless_before unless_after unless_near unless_inside".split()
)


def _parse(file: Path) -> tuple[dict[str, Any], list[str]]:
    try:
        source = file.read_text(encoding="utf-8")
        return tomllib.loads(source), source.splitlines()
    except tomllib.TOMLDecodeError as error:
        found = _AT_LINE.search(str(error))
        line = found.group(1) if found else "1"
        raise BadRule(f"{file}:{line}: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadRule(f"{file}:1: cannot be read: {error}") from None


def _words_of(file: Path, shared: Mapping[str, str]) -> dict[str, str]:
    """`shared` and the `[words]` of a file, each as one group; a list may use those above it."""
    data, lines = _parse(file)
    words = dict(shared)
    table = data.get("words", {})
    if not isinstance(table, dict):
        raise BadRule(f"{file}:1: [words] must be a table of lists")
    for name, entries in table.items():
        line = _line_of(lines, 1, len(lines), f"{name} ")
        if not (isinstance(entries, list) and entries and all(isinstance(entry, str) for entry in entries)):
            raise BadRule(f"{file}:{line}: {name!r} must be a list of words")
        try:
            words[name] = "(?:" + "|".join(_named(entry, words) for entry in entries) + ")"
        except KeyError as error:
            raise BadRule(f"{file}:{line}: no words named {error} above this line") from None
    return words


def _line_of(lines: Sequence[str], first: int, last: int, text: str) -> int:
    """The line between `first` and `last` that has `text`; `first` where none has."""
    # A basic string writes a backslash twice.
    for number in range(first, last + 1):
        if text in lines[number - 1] or text.replace("\\", "\\\\") in lines[number - 1]:
            return number
    return first


_BETWEEN_WORDS = r"\x20(?:[^a-z0-9\x20]+\x20)*"  # a space, and any marks or emoji that stand alone


def _named(pattern: str, words: Mapping[str, str]) -> str:
    return _MACRO.sub(lambda found: words[found.group(1)], pattern)


def _spaced(pattern: str) -> str:
    """A pattern of a rule file, its names filled in, as RE2 reads it."""
    gap = _BETWEEN_WORDS
    pattern = _GAP.sub(lambda found: rf"{gap}(?:[^\x20]+\x20){{0,{found.group(1)}}}", pattern)
    pattern = _GAP_FIRST.sub(lambda found: rf"(?:[^\x20]+\x20){{0,{found.group(1)}}}", pattern)
    pattern = _GAP_LAST.sub(lambda found: rf"(?:\x20[^\x20]+){{0,{found.group(1)}}}", pattern)
    return pattern.replace(" ?", f"(?:{gap})?").replace(" ", gap)


class _Reader:
    """Reads one `[[rule]]`, knowing where in its file it stands."""

    def __init__(
        self, file: Path, lines: Sequence[str], first: int, last: int, words: Mapping[str, str]
    ) -> None:
        self.file, self.lines, self.first, self.last, self.words = file, lines, first, last, words

    def bad(self, message: str, near: str = "") -> BadRule:
        line = _line_of(self.lines, self.first, self.last, near) if near else self.first
        return BadRule(f"{self.file}:{line}: {message}")

    def rule(self, table: Mapping[str, Any]) -> Rule:
        unknown = set(table) - _FIELDS
        if unknown:
            raise self.bad(f"unknown field {min(unknown)!r}", min(unknown))
        rule_id = self._text(table, "id")
        if not _ID.fullmatch(rule_id):
            raise self.bad(f"id {rule_id!r} must look like {self.file.stem}.name", "id")
        labels = (self._text(table, "label"), *self._texts(table, "also"))
        for label in labels:
            if label not in LABELS:
                raise self.bad(f"unknown label {label!r}", label)
        if not self._texts(table, "match"):
            raise self.bad(f"{rule_id} needs at least one example in `match`")
        sources = tuple(self._source(pattern) for pattern in self._texts(table, "patterns"))
        if not sources:
            raise self.bad(f"{rule_id} needs at least one pattern")
        rule = Rule(
            id=rule_id,
            labels=labels,
            risk=self._choice(table, "risk", Risk, Risk.NONE),
            action=self._choice(table, "action", Action, Action.DELIVER),
            clears=self._clears(table),
            roles=self._roles(table),
            why=self._text(table, "why"),
            sources=sources,
            patterns=tuple(re2.compile(f"(?:^| )({source})(?: |$)", _options()) for source in sources),
            unless=self._context(table, "unless", "(?:^| )", "(?: |$)"),
            unless_before=self._context(table, "unless_before", "(?:^| )", r"(?: [^a-z0-9 ]+)* ?$"),
            unless_after=self._context(table, "unless_after", r" ?(?:[^a-z0-9 ]+ )*", "(?: |$)"),
            unless_near=self._context(table, "unless_near", "(?:^| )", "(?: |$)"),
            unless_inside=self._context(table, "unless_inside", "(?:^| )", "(?: |$)"),
            where=f"{self.file.name}:{self.first}",
        )
        asks = rule.risk is not Risk.NONE or rule.action is not Action.DELIVER
        if rule.clears and (asks or rule.roles != {Role.MENTOR}):
            raise self.bad(f"{rule_id} clears: it is for mentors alone, and asks for nothing", "clears")
        if not asks and not rule.clears:
            raise self.bad(f"{rule_id} asks for nothing: give it a risk or an action")
        self._prove(rule, table)
        return rule

    def _prove(self, rule: Rule, table: Mapping[str, Any]) -> None:
        for example in self._texts(table, "match"):
            if rule.hit(fold(example).text) is None:
                raise self.bad(f"{rule.id} should match {example!r}, and does not", example)
        for example in self._texts(table, "no_match"):
            if rule.hit(fold(example).text) is not None:
                raise self.bad(f"{rule.id} should not match {example!r}, and does", example)

    def _source(self, pattern: str) -> str:
        if pattern != pattern.strip():
            raise self.bad("a pattern begins and ends with a word, not a space", pattern)
        try:
            source = _spaced(_named(pattern, self.words))
        except KeyError as error:
            raise self.bad(f"no words named {error}", pattern) from None
        if len(source) > _MAX_PATTERN:
            raise self.bad("the pattern is too long", pattern)
        try:
            compiled = re2.compile(f"(?:^| )({source})(?: |$)", _options())
        except re2.error as error:
            reason = error.args[0] if error.args else error
            reason = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else reason
            raise self.bad(f"bad pattern {pattern!r}: {reason.partition(':')[0]}", pattern) from None
        if compiled.search("") is not None or compiled.search("zzzz") is not None:
            raise self.bad(f"pattern {pattern!r} matches anything", pattern)
        return source

    def _context(self, table: Mapping[str, Any], field: str, before: str, after: str) -> Any | None:
        patterns = self._texts(table, field)
        if not patterns:
            return None
        sources = [self._source(pattern) for pattern in patterns]
        return re2.compile(f"{before}(?:{'|'.join(sources)}){after}", _options())

    def _text(self, table: Mapping[str, Any], field: str) -> str:
        value = table.get(field)
        if not isinstance(value, str) or not value.strip():
            raise self.bad(f"{field!r} must be a text", field)
        return value

    def _texts(self, table: Mapping[str, Any], field: str) -> list[str]:
        value = table.get(field, [])
        if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
            raise self.bad(f"{field!r} must be a list of texts", field)
        return value

    def _choice(self, table: Mapping[str, Any], field: str, kind: type[_Level], default: _Level) -> _Level:
        word = table.get(field, default.name.lower())
        if not isinstance(word, str) or word.upper() not in kind.__members__:
            words = ", ".join(name.lower() for name in kind.__members__)
            raise self.bad(f"{field} must be one of {words}, not {word!r}", field)
        return kind[word.upper()]

    def _clears(self, table: Mapping[str, Any]) -> bool:
        value = table.get("clears", False)
        if not isinstance(value, bool):
            raise self.bad("clears must be true or false", "clears")
        return value

    def _roles(self, table: Mapping[str, Any]) -> frozenset[Role]:
        names = self._texts(table, "roles")
        try:
            return frozenset(Role(name) for name in names) or frozenset(Role)
        except ValueError as error:
            raise self.bad(f"unknown role: {error}", "roles") from None


def _occurrences(pattern: Any, text: str) -> Iterator[tuple[int, int]]:
    at = 0
    for _ in range(MAX_HITS):
        found = pattern.search(text, at)
        if found is None:
            return
        start, end = found.span(1)
        yield start, end
        at = max(end, at + 1)
        if at > len(text):
            return


def _options() -> Any:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _PATTERN_MEMORY
    return options


def _sieve(sources: Sequence[str]) -> Any:
    """One filter over all patterns, the sentinel's last."""
    sieve = re2.Filter()
    for source in sources:
        sieve.Add(f"(?:^| )(?:{source})(?: |$)", _options())
    sieve.Add(_SENTINEL, _options())
    sieve.Compile()
    return sieve
