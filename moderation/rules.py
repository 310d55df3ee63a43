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
and then no score alone holds it or raises an alarm. Other rules still do. A rule with `marks = true` asks for
nothing: the fold over the conversation (moderation/trajectory.py) counts it.

A file may have lists too: words that a site holds, and words that it lets through (moderation/wordlist.py).

    [[list]]
    id = "site.words"
    label = "toxicity:insult"
    action = "hold"
    why = "A word that this school holds."
    words = ["moonface", "go back to your pond"]
    file = "words.txt"                    # more of them, one a line; beside this file
    match = ["you m00nface"]              # optional, as in a rule
    no_match = ["the moon has a face"]

    [allow]                               # no list holds these, nor a rule that asks for no risk
    words = ["Dick Turpin pub quiz"]

Patterns are RE2, so none can hang; they see the folded text (moderation/text.py): lower case, no
apostrophes, "u" already "you". A pattern begins and ends at a word. A space also passes punctuation and
emoji; `<3>` between spaces stands for up to three words; `{name}` is a list of words from `[words]` of
`common.toml` or of the same file. Anything wrong, an example that fails included, raises `BadRule` with
file and line: a server never starts on half its rules.
"""

import functools
import itertools
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import re2

from moderation.sieve import Sieve
from moderation.text import Folded, fold
from moderation.verdict import RISK_LABELS, TOXICITY_LABELS, Action, Risk, Role, Signal, Submission
from moderation.wordlist import BadList, Phrases, WordList, inside

STAGE = "rules"
RULES = Path(__file__).parent / "rules"
COMMON = "common.toml"

MAX_HITS = 16
"""Times that one pattern is looked at in one message: the first hit that is not excused counts."""

NEAR = 8
"""Words either side of a hit that `unless_near` sees."""

_MAX_PATTERN = 4_000
_PATTERN_MEMORY = 2 << 20  # bytes for one pattern's automaton; where they do not suffice RE2 is slower

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
    marks: bool  # asks for nothing, and is counted over a conversation
    roles: frozenset[Role]
    why: str
    written: tuple[str, ...]  # the patterns, their names filled in
    patterns: tuple[Any, ...]  # the same, compiled
    unless: Any | None
    unless_before: Any | None
    unless_after: Any | None
    unless_near: Any | None
    unless_inside: Any | None
    where: str  # file:line

    def hit(self, text: str, only: Sequence[int] | None = None) -> tuple[int, int] | None:
        """Where in a folded text the rule applies, or None; `only` are the patterns worth trying."""
        asked = self.unless is None
        for number in range(len(self.patterns)) if only is None else only:
            for start, end in _occurrences(self.patterns[number], text):
                if not asked:
                    if self.unless is not None and self.unless.search(text) is not None:
                        return None
                    asked = True
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

    A sieve (moderation/sieve.py) says from the words of a text which patterns could match at all; only those
    are tried, and only those that hit are looked at for where and with what around.
    """

    name = STAGE

    def __init__(
        self, rules: Sequence[Rule], lists: Sequence[WordList] = (), allowed: Phrases | None = None
    ) -> None:
        self.rules = tuple(rules)
        self.lists = tuple(lists)
        self.allowed = allowed or Phrases(())
        self._by_id: dict[str, Rule | WordList] = {rule.id: rule for rule in self.rules}
        self._by_id.update({words.id: words for words in self.lists})
        self._of_role = {role: _Part([rule for rule in self.rules if role in rule.roles]) for role in Role}

    def __len__(self) -> int:
        return len(self.rules)

    def why(self, rule_id: str) -> str:
        """A rule's plain words for staff; the id itself where there is no such rule."""
        rule = self._by_id.get(rule_id)
        return rule.why if rule else rule_id

    def read(self, submission: Submission) -> list[Signal]:
        """What the rules and lists see in one message."""
        found = self.signals(fold(submission.text), submission.role)
        if not self.lists and not (found and self.allowed):
            return found
        allowed = self.allowed.find(submission.text)
        found = [one for one in found if one.risk is not Risk.NONE or not inside(one.span, allowed)]
        return [*found, *(one for words in self.lists for one in words.read(submission, allowed))]

    def signals(self, view: Folded, role: Role) -> list[Signal]:
        """What the rules see in a folded text that `role` wrote: signals in the order of the rules."""
        found: list[Signal] = []
        for rule, patterns in self._of_role[role].candidates(view.text):
            at = rule.hit(view.text, patterns)
            if at is None:
                continue
            span = view.span(*at)
            for label in rule.labels:
                found.append(
                    Signal(
                        label=label,
                        score=0.0 if rule.clears or rule.marks else 1.0,
                        stage=STAGE,
                        why=rule.id,
                        span=None if rule.marks else span,
                        risk=rule.risk,
                        action=rule.action,
                        clears=rule.clears,
                    )
                )
        return found


class _Part:
    """The rules that look at one role's messages, with their sieve."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._owners = [(rule, at) for rule in rules for at in range(len(rule.patterns))]
        self._sieve = Sieve([pattern for rule in rules for pattern in rule.written])

    def candidates(self, text: str) -> Iterator[tuple[Rule, Sequence[int]]]:
        """Rules of which a pattern could occur in the text, in order, each with the patterns that could."""
        numbers = self._sieve.candidates(frozenset(text.split(" ")))
        for _, group in itertools.groupby(numbers, key=lambda number: self._owners[number][0].id):
            owners = [self._owners[number] for number in group]
            yield owners[0][0], [at for _, at in owners]


def load_rules(folder: Path = RULES, *more: Path) -> Rules:
    """Read, compile and prove every rule file of a folder; raise `BadRule` at the first thing wrong.

    `more` are folders with a site's own rules and lists, which may use the first one's words.
    """
    for place in more:
        if not place.is_dir():  # a slip in a path must not silently mean no rules of one's own
            raise BadRule(f"{place}:1: no such folder of rules")
    files = sorted(folder.glob("*.toml"))
    shared = _words_of(folder / COMMON, {}) if (folder / COMMON) in files else {}
    rules: list[Rule] = []
    lists: list[WordList] = []
    allowed: list[str] = []
    seen: dict[str, str] = {}
    for file in (*files, *(file for place in more for file in sorted(place.glob("*.toml")))):
        for words in read_lists(file):
            if words.id in seen:
                raise BadRule(f"{file}:1: id {words.id!r} is used before, at {seen[words.id]}")
            seen[words.id] = f"{file.name}:1"
            lists.append(words)
        allowed += _allowed(file)
        for rule in read_rules(file, shared):
            if rule.id in seen:
                raise BadRule(f"{rule.where}: rule id {rule.id!r} is used before, at {seen[rule.id]}")
            seen[rule.id] = rule.where
            rules.append(rule)
    if not rules:
        raise BadRule(f"{folder}:1: no rules here")
    return Rules(rules, lists, Phrases(allowed, correct=False))


def read_rules(file: Path, shared: Mapping[str, str] | None = None) -> list[Rule]:
    """Read one rule file and run its examples."""
    data, lines = _parse(file)
    unknown = set(data) - {"rule", "words", "list", "allow"}
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


def read_lists(file: Path) -> list[WordList]:
    """Read the word lists of one rule file and run their examples."""
    data, lines = _parse(file)
    tables = data.get("list", [])
    if not isinstance(tables, list):
        raise BadRule(f"{file}:1: write [[list]], with two brackets")
    starts = [number for number, line in enumerate(lines, 1) if _LIST_HEAD.match(line)]
    lists = []
    for index, table in enumerate(tables):
        first = starts[index] if index < len(starts) else 1
        lists.append(_Reader(file, lines, first, len(lines), {}).word_list(table))
    return lists


def _allowed(file: Path) -> list[str]:
    """The words that one rule file lets through."""
    data, lines = _parse(file)
    table = data.get("allow", {})
    if not isinstance(table, dict):
        raise BadRule(f"{file}:1: write [allow], with one bracket")
    return _Reader(file, lines, 1, len(lines), {}).entries(table, "words file") if table else []


@functools.cache
def shipped_rules() -> Rules:
    """The rules that come with the project."""
    return load_rules(RULES)


# --- reading a file -----------------------------------------------------------------------------------

_RULE_HEAD = re.compile(r"\s*\[\[\s*rule\s*\]\]")
_LIST_HEAD = re.compile(r"\s*\[\[\s*list\s*\]\]")
_AT_LINE = re.compile(r"at line (\d+)")
_MACRO = re.compile(r"\{([a-z_]+)\}")
_GAP = re.compile(r" <(\d+)> ")
_GAP_FIRST = re.compile(r"<(\d+)> ")
_GAP_LAST = re.compile(r" <(\d+)>")
_ID = re.compile(r"[a-z_]+(?:\.[a-z0-9_]+)+")
_FIELDS = frozenset(
    "id label also risk action clears marks roles why patterns match no_match"
    " unless unless_before unless_after unless_near unless_inside".split()
)
_LIST_FIELDS = "id label risk action roles why words file match no_match"


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
        patterns = self._texts(table, "patterns")
        sources = tuple(self._source(pattern) for pattern in patterns)
        if not sources:
            raise self.bad(f"{rule_id} needs at least one pattern")
        rule = Rule(
            id=rule_id,
            labels=labels,
            risk=self._choice(table, "risk", Risk, Risk.NONE),
            action=self._choice(table, "action", Action, Action.DELIVER),
            clears=self._is(table, "clears"),
            marks=self._is(table, "marks"),
            roles=self._roles(table),
            why=self._text(table, "why"),
            written=tuple(_named(pattern, self.words) for pattern in patterns),
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
        if rule.marks and (asks or rule.clears):
            raise self.bad(f"{rule_id} marks: it asks for nothing and clears nothing", "marks")
        if not asks and not rule.clears and not rule.marks:
            raise self.bad(f"{rule_id} asks for nothing: give it a risk or an action")
        self._prove(rule, table)
        return rule

    def word_list(self, table: Mapping[str, Any]) -> WordList:
        """Read one `[[list]]`."""
        entries = self.entries(table, _LIST_FIELDS)
        list_id, label = self._text(table, "id"), self._text(table, "label")
        if not _ID.fullmatch(list_id):
            raise self.bad(f"id {list_id!r} must look like {self.file.stem}.name", "id")
        if label not in LABELS:
            raise self.bad(f"unknown label {label!r}", label)
        try:
            phrases = Phrases(entries)
        except BadList as error:
            raise self.bad(f"{list_id}: {error}") from None
        words = WordList(
            id=list_id,
            label=label,
            why=self._text(table, "why"),
            words=phrases,
            risk=self._choice(table, "risk", Risk, Risk.NONE),
            action=self._choice(table, "action", Action, Action.HOLD),
            roles=self._roles(table),
        )
        for field, wanted in (("match", True), ("no_match", False)):
            for number, example in enumerate(self._texts(table, field), 1):
                if bool(phrases.find(example)) is not wanted:
                    does = "should match" if wanted else "should not match"
                    raise self.bad(f"{list_id} {does} example {number} of {field}", example)
        return words

    def entries(self, table: Mapping[str, Any], fields: str) -> list[str]:
        """The words of a list: those in it, and those in the file that it names."""
        unknown = set(table) - set(fields.split())
        if unknown:
            raise self.bad(f"unknown field {min(unknown)!r}", min(unknown))
        entries = self._texts(table, "words")
        if "file" in table:
            file = self.file.parent / self._text(table, "file")
            try:
                lines = file.read_text(encoding="utf-8").splitlines()
            except (OSError, UnicodeDecodeError) as error:
                raise self.bad(f"{file} cannot be read: {error}", "file") from None
            entries = [*entries, *(line.strip() for line in lines if line.strip() and line[0] != "#")]
        if not entries:
            raise self.bad("a list needs words", "words")
        return entries

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

    def _is(self, table: Mapping[str, Any], name: str) -> bool:
        value = table.get(name, False)
        if not isinstance(value, bool):
            raise self.bad(f"{name} must be true or false", name)
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
