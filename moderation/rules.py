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
and then no score alone holds it or raises an alarm, but for scores of what a mentor may do to a pupil beside
it (`policy.NEVER_CLEARED`). Other rules still do. A rule with `marks = true` asks for nothing: the fold over
the conversation (moderation/trajectory.py) counts it.

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

    [allow]                               # inside these no list holds anything, nor a rule without risk
    words = ["Dick Turpin pub quiz"]

Patterns are RE2, so none can hang; they see the folded text (moderation/text.py): lower case, no
apostrophes, "u" already "you". A pattern begins and ends at a word. A space also passes punctuation and
emoji; `<3>` between spaces stands for up to three words; `{name}` is a list of words from `[words]` of
`common.toml` or of the same file. Anything wrong, an example that fails included, raises `BadRule` with
file and line: a server never starts on half its rules. Each file is read once, and `Rules.digest` is over
what was read: it names these very rules, also where a file changes meanwhile.
"""

import functools
import hashlib
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import re2

from moderation.sieve import Sieve
from moderation.text import Folded, fold
from moderation.verdict import RISK_LABELS, TOXICITY_LABELS, Action, Risk, Role, Signal, Span, Submission
from moderation.wordlist import BadList, Phrases, WordList, inside

STAGE = "rules"
RULES = Path(__file__).parent / "rules"
COMMON = "common.toml"

MAX_HITS = 16
"""Times that one pattern is looked at in one message: the first hit that is not excused counts.

What a site lets through takes none of them: however often that stands in a text, what else is there is seen.
"""

NEAR = 8
"""Words either side of a hit that `unless_near` sees."""

_MAX_PATTERN = 4_000
_PATTERN_MEMORY = 2 << 20  # bytes for one pattern's automaton; where they do not suffice RE2 is slower

_Level = TypeVar("_Level", Action, Risk)
_Passes = Callable[[int, int], bool]

LABELS = frozenset(RISK_LABELS) | {f"toxicity:{label}" for label in TOXICITY_LABELS}


class BadRule(ValueError):
    """A rule file cannot be used; the message begins with file and line."""


class Sources:
    """Files, each read once however often it is asked for, and what a version needs to know of them."""

    def __init__(self) -> None:
        self._read: dict[Path, bytes] = {}
        self._parsed: dict[Path, tuple[dict[str, Any], list[str]]] = {}

    def lines(self, file: Path) -> list[str]:
        """The lines of a text file; raises `OSError` or `UnicodeDecodeError`."""
        if file not in self._read:
            self._read[file] = file.read_bytes()
        return self._read[file].decode("utf-8").splitlines()

    def toml(self, file: Path) -> tuple[dict[str, Any], list[str]]:
        """What a TOML file says, and its lines; `BadRule` names the one at fault."""
        if file in self._parsed:
            return self._parsed[file]
        try:
            lines = self.lines(file)
            data = tomllib.loads(self._read[file].decode("utf-8"))
        except tomllib.TOMLDecodeError as error:
            found = _AT_LINE.search(str(error))
            line = found.group(1) if found else "1"
            raise BadRule(f"{file}:{line}: {error}") from None
        except (OSError, UnicodeDecodeError) as error:
            raise BadRule(f"{file}:1: cannot be read: {error}") from None
        self._parsed[file] = data, lines
        return data, lines

    @property
    def digest(self) -> bytes:
        """A hash of all that was read, by name and content, in the order in which it was read."""
        digest = hashlib.sha256()
        for file, content in self._read.items():
            digest.update(f"{file.name}\0{len(content)}\0".encode())
            digest.update(content)
        return digest.digest()


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

    def hit(
        self, text: str, only: Sequence[int] | None = None, passes: _Passes | None = None
    ) -> tuple[int, int] | None:
        """Where in a folded text the rule applies, or None.

        `only` are the patterns worth trying; a hit at a place that `passes` does not count.
        """
        # Where a text is ASCII its places are those of its bytes, which RE2 reads as they are.
        read = text.encode() if text.isascii() else text
        asked = self.unless is None
        for number in range(len(self.patterns)) if only is None else only:
            for start, end in _occurrences(self.patterns[number], text, read, passes):
                if not asked:
                    if self.unless is not None and self.unless.search(read) is not None:
                        return None
                    asked = True
                if not self._excused(text, read, start, end):
                    return start, end
        return None

    def _excused(self, text: str, read: str | bytes, start: int, end: int) -> bool:
        if self.unless_before is not None and self.unless_before.search(read[max(0, start - 120) : start]):
            return True
        if self.unless_after is not None and self.unless_after.match(read[end : end + 120]):
            return True
        if self.unless_inside is not None and self.unless_inside.search(read[start:end]):
            return True
        if self.unless_near is not None:
            before = " ".join(text[:start].rsplit(" ", NEAR + 1)[-NEAR - 1 :])
            after = " ".join(text[end:].split(" ", NEAR + 1)[: NEAR + 1])
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
        self,
        rules: Sequence[Rule],
        lists: Sequence[WordList] = (),
        allowed: Phrases | None = None,
        *,
        digest: bytes = b"",
    ) -> None:
        self.rules = tuple(rules)
        self.digest = digest  # of the files that they were read from
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
        allowed = self.allowed.find(submission.text)
        found = self.signals(fold(submission.text), submission.role, allowed)
        return [*found, *(one for words in self.lists for one in words.read(submission, allowed))]

    def signals(self, view: Folded, role: Role, allowed: Sequence[Span] = ()) -> list[Signal]:
        """What the rules see in a folded text that `role` wrote: signals in the order of the rules.

        In `allowed` places they see nothing that holds or blocks without being a risk; beside them they do.
        """

        def passes(start: int, end: int) -> bool:
            return inside(view.span(start, end), allowed)

        found: list[Signal] = []
        for rule, patterns in self._of_role[role].candidates(view.text):
            spared = bool(allowed) and rule.risk is Risk.NONE and rule.action is not Action.DELIVER
            at = rule.hit(view.text, patterns, passes if spared else None)
            if at is None:
                continue
            span = None if rule.marks else view.span(*at)
            for label in rule.labels:
                found.append(
                    Signal(
                        label=label,
                        score=0.0 if rule.clears or rule.marks else 1.0,
                        stage=STAGE,
                        why=rule.id,
                        span=span,
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

    def candidates(self, text: str) -> Sequence[tuple[Rule, Sequence[int]]]:
        """Rules of which a pattern could occur in the text, in order, each with the patterns that could."""
        numbers = self._sieve.candidates(frozenset(text.split(" ")))
        found: list[tuple[Rule, list[int]]] = []
        for number in numbers:
            rule, at = self._owners[number]
            if found and found[-1][0] is rule:
                found[-1][1].append(at)
            else:
                found.append((rule, [at]))
        return found


def load_rules(folder: Path = RULES, *more: Path) -> Rules:
    """Read, compile and prove every rule file of a folder; raise `BadRule` at the first thing wrong.

    `more` are folders with a site's own rules and lists, which may use the first one's words.
    """
    for place in more:
        if not place.is_dir():  # a slip in a path must not silently mean no rules of one's own
            raise BadRule(f"{place}:1: no such folder of rules")
    sources = Sources()
    files = sorted(folder.glob("*.toml"))
    shared = _words_of(folder / COMMON, {}, sources) if (folder / COMMON) in files else {}
    rules: list[Rule] = []
    lists: list[WordList] = []
    allowed: list[str] = []
    seen: dict[str, str] = {}
    for file in (*files, *(file for place in more for file in sorted(place.glob("*.toml")))):
        for words in read_lists(file, sources):
            if words.id in seen:
                raise BadRule(f"{file}:1: id {words.id!r} is used before, at {seen[words.id]}")
            seen[words.id] = f"{file.name}:1"
            lists.append(words)
        allowed += _allowed(file, sources)
        for rule in read_rules(file, shared, sources):
            if rule.id in seen:
                raise BadRule(f"{rule.where}: rule id {rule.id!r} is used before, at {seen[rule.id]}")
            seen[rule.id] = rule.where
            rules.append(rule)
    if not rules:
        raise BadRule(f"{folder}:1: no rules here")
    return Rules(rules, lists, Phrases(allowed, correct=False), digest=sources.digest)


def read_rules(
    file: Path, shared: Mapping[str, str] | None = None, sources: Sources | None = None
) -> list[Rule]:
    """Read one rule file and run its examples."""
    sources = sources or Sources()
    data, lines = sources.toml(file)
    unknown = set(data) - {"rule", "words", "list", "allow"}
    if unknown:
        raise BadRule(f"{file}:1: unknown table {min(unknown)!r}")
    words = _words_of(file, shared or {}, sources)
    tables = data.get("rule", [])
    if not isinstance(tables, list):
        raise BadRule(f"{file}:1: write [[rule]], with two brackets")
    starts = [number for number, line in enumerate(lines, 1) if _RULE_HEAD.match(line)]
    rules = []
    for index, table in enumerate(tables):
        first = starts[index] if index < len(starts) else 1
        last = starts[index + 1] - 1 if index + 1 < len(starts) else len(lines)
        rules.append(_Reader(file, sources, first, last, words).rule(table))
    return rules


def read_lists(file: Path, sources: Sources | None = None) -> list[WordList]:
    """Read the word lists of one rule file and run their examples."""
    sources = sources or Sources()
    data, lines = sources.toml(file)
    tables = data.get("list", [])
    if not isinstance(tables, list):
        raise BadRule(f"{file}:1: write [[list]], with two brackets")
    starts = [number for number, line in enumerate(lines, 1) if _LIST_HEAD.match(line)]
    lists = []
    for index, table in enumerate(tables):
        first = starts[index] if index < len(starts) else 1
        lists.append(_Reader(file, sources, first, len(lines), {}).word_list(table))
    return lists


def _allowed(file: Path, sources: Sources) -> list[str]:
    """The words that one rule file lets through."""
    data, lines = sources.toml(file)
    table = data.get("allow", {})
    if not isinstance(table, dict):
        raise BadRule(f"{file}:1: write [allow], with one bracket")
    return _Reader(file, sources, 1, len(lines), {}).entries(table, "words file") if table else []


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


def _words_of(file: Path, shared: Mapping[str, str], sources: Sources) -> dict[str, str]:
    """`shared` and the `[words]` of a file, each as one group; a list may use those above it."""
    data, lines = sources.toml(file)
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

    def __init__(self, file: Path, sources: Sources, first: int, last: int, words: Mapping[str, str]) -> None:
        self.file, self.sources, self.first, self.last, self.words = file, sources, first, last, words
        self.lines = sources.toml(file)[1]

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
            patterns=tuple(re2.compile(f"(?:^| )(?:{source})(?: |$)", _options()) for source in sources),
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
            name = Path(self._text(table, "file"))
            if name.is_absolute() or ".." in name.parts:  # elsewhere nobody would notice that it changed
                raise self.bad("the file of a list stands beside this one, or in a folder beside it", "file")
            file = self.file.parent / name
            try:
                lines = self.sources.lines(file)
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


def _occurrences(
    pattern: Any, text: str, read: str | bytes, passes: _Passes | None
) -> Iterator[tuple[int, int]]:
    """Where a pattern hits, without the spaces around it; `read` is the text as RE2 is given it."""
    at = looked = 0
    while looked < MAX_HITS and at <= len(text):
        found = pattern.search(read, at)
        if found is None:
            return
        start, end = found.span()
        start += text[start] == " "
        end -= text[end - 1] == " "
        if passes is not None and passes(start, end):
            at = start + 1  # a hit that begins in here may reach beyond it
            continue
        looked += 1
        yield start, end
        at = max(end, at + 1)


def _options() -> Any:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _PATTERN_MEMORY
    return options
