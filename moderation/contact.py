"""Details by which somebody could be found outside the chat: numbers, addresses, handles, links.

Looked for in the plain view (moderation/text.py), where a digit is still a digit, however it was written:
"oh seven seven double oh", "0️⃣7️⃣7️⃣", "o7700", one digit a line, or over several turns of one speaker.
Helplines, and what the caller allows, are no contact details: somebody must always be able to write 999.

A detail is blocked, so that its sender can take it out and send the rest. From a mentor it is more than a
slip, and goes to an adult. Every pattern is RE2 or a single pass: work is linear in the text.
"""

import functools
import itertools
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import re2

from moderation.text import Plain, plain, shipped_lexicon
from moderation.verdict import Action, Risk, Role, Signal, Span, Submission

STAGE = "contact"

Kind = Literal["phone", "phone_part", "email", "link", "handle", "postcode", "address", "plate", "school"]

WHY: Mapping[str, str] = {
    "contact.phone": "A phone number, or another long number that belongs to one person.",
    "contact.phone_part": "The beginning of a phone number: the rest may follow.",
    "contact.email": "An email address.",
    "contact.link": "A link to a site that is not on the list of allowed ones.",
    "contact.handle": "A user name on another app.",
    "contact.postcode": "A UK postcode.",
    "contact.address": "A street address.",
    "contact.plate": "A car's number plate.",
    "contact.school": "Somebody's full name together with their school.",
}
"""What each `why` of a signal means, for staff."""

MOST = 16
"""Details of one kind that are told of one message."""

EARLIER_TURNS = 6
"""Turns of the same speaker over which a number may be given in pieces."""

# Anybody may write these. Sources: safety.md (the default helplines), and each service's own site.
HELPLINES = frozenset(
    "999 112 101 111 18000 08001111 116123 116000 85258 08000684141 08088005000 08088010677 08001386112"
    " 03001236600 08088080005 0808802999 03000200".split()
)
ALLOWED_HOSTS = frozenset(
    "childline.org.uk nspcc.org.uk samaritans.org giveusashout.org youngminds.org.uk papyrus-uk.org nhs.uk"
    " nhs.net gov.uk police.uk beateatingdisorders.org.uk talktofrank.com kooth.com themix.org.uk mind.org.uk"
    " thinkuknow.co.uk iwf.org.uk reportharmfulcontent.com runawayhelpline.org.uk missingpeople.org.uk"
    " winstonswish.org barnardos.org.uk bbc.co.uk crimestoppers-uk.org fearless.org kidscape.org.uk"
    " anti-bullyingalliance.org.uk nationalbullyinghelpline.co.uk switchboard.lgbt refuge.org.uk"
    " childrenssociety.org.uk al-anonuk.org.uk nacoa.org.uk carers.org stem4.org.uk".split()
)


@dataclass(frozen=True, slots=True)
class Contact:
    """One detail and where it stands in the text as it was written."""

    kind: Kind
    span: Span

    @property
    def why(self) -> str:
        return f"contact.{self.kind}"


@dataclass(frozen=True)
class Allowed:
    """What a site lets through beside the helplines: its own services' numbers and hosts."""

    numbers: frozenset[str] = frozenset()  # digits alone, as dialled at home
    hosts: frozenset[str] = frozenset()  # with all their subdomains
    emails: frozenset[str] = frozenset()

    @staticmethod
    def of(entries: Iterable[str]) -> "Allowed":
        """Sort a list of phone numbers, addresses of sites and email addresses into what each is."""
        numbers, hosts, emails = set(), set(), set()
        for entry in entries:
            text = entry.strip().lower()
            if "@" in text:
                emails.add(text)
            elif any(letter.isalpha() for letter in text):
                hosts.add(_host(text))
            else:
                numbers.add(_home("".join(letter for letter in text if letter.isdigit())))
        return Allowed(frozenset(numbers), frozenset(hosts), frozenset(emails))

    def number(self, digits: str) -> bool:
        """Whether a number may be written: helplines and the freephone ranges belong to no pupil."""
        home = _home(digits)
        if home in HELPLINES or home in self.numbers:
            return True
        return home.startswith(("0800", "0808", "0300", "0303", "0330", "0345", "116"))

    def host(self, host: str) -> bool:
        """Whether a link to this host, or to one above it, may be written."""
        parts = host.split(".")
        ends = {".".join(parts[at:]) for at in range(len(parts))}
        return bool(ends & ALLOWED_HOSTS or ends & self.hosts)


class Contacts:
    """Contact details as a stage."""

    name = STAGE

    def __init__(self, allowed: Allowed | None = None) -> None:
        self.allowed = allowed or Allowed()

    def read(self, submission: Submission) -> list[Signal]:
        """A signal for each detail in the message, or completed by it over the last turns."""
        earlier = [turn.text for turn in submission.recent if turn.role is submission.role]
        mentor = submission.role is Role.MENTOR
        signals = []
        for contact in find(submission.text, earlier=earlier, allowed=self.allowed):
            part = contact.kind == "phone_part"
            least = Risk.CONCERN if part or contact.kind in ("address", "school") else Risk.NONE
            signals.append(
                Signal(
                    label="personal_data",
                    score=1.0,
                    stage=STAGE,
                    why=contact.why,
                    span=contact.span,
                    risk=Risk.HIGH if mentor and not part else least,
                    action=Action.DELIVER if part else Action.BLOCK,
                )
            )
        return signals


def find(text: str, *, earlier: Sequence[str] = (), allowed: Allowed | None = None) -> list[Contact]:
    """Contact details in `text`, in the order of their kinds; `earlier` are the speaker's last turns.

    At most `MOST` of a kind: who sends a hundred numbers is told of the first.
    """
    view = plain(text)
    shadow = view.text.translate(_LEET) if _LEET_DIGIT.search(view.text) else view.text
    gates = _open_gates(view.text, shadow)
    if not gates:
        return []
    known = allowed or Allowed()
    found: list[Contact] = []
    if "email" in gates:
        found += itertools.islice(_emails(view), MOST)
    if "link" in gates:
        found += itertools.islice(_links(view, known, found), MOST)
    if found:
        found = [
            one for one in found if one.kind != "email" or not known.emails & {text[slice(*one.span)].lower()}
        ]
    if "phone" in gates or "part" in gates or ("number" in gates and any(map(_said, earlier))):
        numbers = _runs(view)
        phones = list(itertools.islice(_phones(view, numbers, known), MOST))
        found += phones or _split_phone(view, numbers, earlier, known)
    if "postcode" in gates:
        found += _postcodes(text, view)
    if "app" in gates or "@" in gates or "spaced" in gates:
        found += itertools.islice(_handles(text, view, shadow, found, gates), MOST)
    if "street" in gates and ("house" in gates or ("home" in gates and "on" in gates)):
        found += _addresses(text, view, shadow)
    if "plate" in gates:
        found += _plates(view)
    if "school" in gates:
        found += _school(text, view, known)
    return found


# "t1kt0k" is an app too: a shadow of the text in letters, of the same length, so that places stay.
_LEET = str.maketrans("013457", "oieast")
_LEET_DIGIT = re.compile(r"[013457]")

# --- numbers ------------------------------------------------------------------------------------------

# Of at most 15 digits, and without a choice that could be taken back: `re` is as safe here, and quicker.
_ABROAD = re.compile(r"(?:00)?44[0-9]{9,10}")
_UK = re.compile(r"0[1-37-9][0-9]{8,9}")
_MOBILE = re.compile(r"7[0-9]{9}")
_NUMBER_WORDS: Mapping[str, str] = {
    "zero": "0",
    "nought": "0",
    "naught": "0",
    "oh": "0",
    "one": "1",
    "two": "2",
    "three": "3",
    "four": "4",
    "five": "5",
    "six": "6",
    "seven": "7",
    "eight": "8",
    "nine": "9",
    "sevn": "7",
    "nyne": "9",
    "fife": "5",
    "ten": "10",
    "eleven": "11",
    "twelve": "12",
    "thirteen": "13",
    "fourteen": "14",
    "fifteen": "15",
    "sixteen": "16",
    "seventeen": "17",
    "eighteen": "18",
    "nineteen": "19",
    "twenty": "2",
    "thirty": "3",
    "forty": "4",
    "fifty": "5",
    "sixty": "6",
    "seventy": "7",
    "eighty": "8",
    "ninety": "9",
}
_TENS = frozenset("twenty thirty forty fifty sixty seventy eighty ninety".split())
_TIMES = {"double": 2, "dbl": 2, "triple": 3, "treble": 3}
# Words that only among digits are digits.
_SOUNDS_LIKE: Mapping[str, str] = {
    "won": "1",
    "wun": "1",
    "to": "2",
    "too": "2",
    "tree": "3",
    "for": "4",
    "fore": "4",
    "sicks": "6",
    "ate": "8",
}
_NOUGHTS = {"hundred": "00", "thousand": "000"}
_SAID = "|".join(sorted([*_NUMBER_WORDS, *_TIMES, *_NOUGHTS], key=len, reverse=True))
_MAY_SAY = re.compile(rf"[0-9oil]|{_SAID}|{'|'.join(_SOUNDS_LIKE)}")  # how whatever stands for digits begins
_SAID_WHOLE = re.compile(rf"(?:{_SAID}|[0-9])+", re.ASCII)
_SAID_PART = re.compile(rf"{_SAID}|[0-9]+", re.ASCII)
_PASSES = r"\s\-.()/_+*,~='\"|&>#\u2022"  # what may stand between the digits of one number
_TOKEN = re.compile(rf"[a-z0-9]+|[{_PASSES}]+|[^a-z0-9{_PASSES}]+", re.ASCII)
_DATE = re.compile(
    r"\b[0-9]{1,2}[/.\-][0-9]{1,2}[/.\-](?:[0-9]{2}){1,2}\b|\b(?:19|20)[0-9]{2}-[0-9]{2}-[0-9]{2}\b",
    re.ASCII,
)
_BETWEEN = re.compile(rf"[{_PASSES}]", re.ASCII)
_FILLERS = frozenset("then and n dash space plus dot um er".split())
_ASKING = re.compile(
    r"\b(?:number|numbers|numba|num|ring|call|text|txt|fone|phone|mobile|mob|whatsapp|wapp|contact|dial|nhs|digits|cell|sim|txt)s?\b",
    re.ASCII,
)
_BACKWARDS = re.compile(r"\b(?:backwards?|reversed?|back to front)\b", re.ASCII)
_ROUNDS = "01234567890123456789"


def _home(digits: str) -> str:
    """A number as it is dialled inside the UK."""
    return "0" + digits.removeprefix("00").removeprefix("44") if _ABROAD.fullmatch(digits) else digits


class _Number(NamedTuple):
    """Digits said in one breath: `digits`, and where they stand in the plain text."""

    digits: str
    start: int
    end: int
    plus: bool = False

    def with_nought(self) -> "_Number":
        """Twenty, where no ones follow: a nought does."""
        return self._replace(digits=self.digits + "0")


def _runs(view: Plain) -> list[list[_Number]]:
    """Digits and number words, run by run: only marks, spaces and words like "then" stand between."""
    text = _DATE.sub(lambda date: ";" * len(date.group()), view.text)  # a date breaks a run; places stay
    runs: list[list[_Number]] = []
    run: list[_Number] = []
    plus = False
    times = 1
    tens = False  # "twenty" waits for its ones
    at = 0
    for token in _TOKEN.findall(text):
        start, at = at, at + len(token)
        if _BETWEEN.match(token):
            plus = plus or "+" in token
            continue
        if token in _TIMES:
            times = _TIMES[token]
            continue
        digits = _digits(token, bool(run), text, at) if _MAY_SAY.match(token) else None
        if digits is None:
            if run:
                if token in _FILLERS:
                    continue
                if tens:
                    run[-1] = run[-1].with_nought()
                runs.append(run)
                run = []
            plus, times, tens = False, 1, False
            continue
        if tens and run and not (len(digits) == 1 and digits != "0"):
            run[-1] = run[-1].with_nought()
        tens = token in _TENS
        if times > 1:
            digits = digits[0] * times + digits[1:]
            times = 1
        run.append(_Number(digits, start, at, plus))
        plus = False
    if run:
        if tens:
            run[-1] = run[-1].with_nought()
        runs.append(run)
    return runs


def _digits(token: str, inside: bool, text: str, end: int) -> str | None:
    """The digits that one token stands for, or None: "770", "seven", "o7700", "ninehundred"."""
    if token.isdigit():
        return token
    if said := _NUMBER_WORDS.get(token):
        return said
    if token in _NOUGHTS:
        return _NOUGHTS[token] if inside else None
    if inside and (sounded := _SOUNDS_LIKE.get(token)):
        # "seven to nine" is a time, "won too six" no English.
        after = _NEXT_WORD.match(text, end)
        digit_follows = after is not None and (
            after.group(1).isdigit() or after.group(1) in _NUMBER_WORDS or after.group(1) in _SOUNDS_LIKE
        )
        return sounded if digit_follows and token not in ("to", "for") else None
    if token in ("o",):
        return "0" if inside or text[end : end + 2].strip()[:1].isdigit() else None
    if len(token) >= 3 and _LOOKS_LIKE_DIGITS.issuperset(token):
        least = 1 if inside else 2 if token[0] in "o0" else 3
        if sum(map(str.isdigit, token)) >= least:
            return token.translate(_AS_DIGITS)
    if not _SAID_WHOLE.fullmatch(token):
        return None
    parts: list[str] = []
    times = 1
    for part in _SAID_PART.findall(token):
        if part in _TIMES:
            times = _TIMES[part]
            continue
        digits = part if part.isdigit() else _NUMBER_WORDS.get(part) or _NOUGHTS[part]
        parts.append(digits[0] * times + digits[1:])
        times = 1
    return "".join(parts) or None


_NEXT_WORD = re.compile(r"[^a-z0-9]{1,3}([a-z]+|[0-9]+)")
_LOOKS_LIKE_DIGITS = frozenset("0123456789oil")
_AS_DIGITS = str.maketrans("oil", "011")


def _phones(view: Plain, runs: Sequence[Sequence[_Number]], allowed: Allowed) -> Iterator[Contact]:
    asked = _ASKING.search(view.text) is not None
    backwards = _BACKWARDS.search(view.text) is not None
    for run in runs:
        first = 0
        while first < len(run):
            taken = _phone_at(run, first, asked=asked, backwards=backwards)
            if taken is None:
                first += 1
                continue
            digits = "".join(number.digits for number in run[first:taken])
            if not allowed.number(digits):
                yield Contact("phone", view.span(run[first].start, run[taken - 1].end))
            first = taken


def _phone_at(run: Sequence[_Number], first: int, *, asked: bool, backwards: bool) -> int | None:
    """Where in `run` a phone number that begins at `first` ends, or None."""
    opening = run[first]
    if not (asked or backwards or opening.plus):
        head = (
            opening.digits
            if len(opening.digits) > 1
            else "".join(one.digits for one in run[first : first + 2])
        )
        if not (head[0] == "0" or head.startswith("44") or (head[0] == "7" and len(opening.digits) >= 4)):
            return None
    digits = ""
    single = True
    found = None
    for last in range(first, min(first + 16, len(run))):
        piece = run[last].digits
        # "0 10 20 30": a lone nought begins a spelled-out number, or no number at all.
        if single and len(piece) > 1:
            single = len(set(piece)) == 1 or (len(digits) >= 5 and len(piece) == 3)
        digits += piece
        length = len(digits)
        if length > 15:
            break
        if length < 7:
            continue
        begun = len(opening.digits) > 1 or single
        if (
            (length >= 9 and begun and _is_phone(digits, opening, single=single, asked=asked))
            or (backwards and length >= 10 and _UK.fullmatch(digits[::-1]))
            or (asked and last == len(run) - 1 and _is_long(digits, run[first : last + 1]))
        ):
            found = last + 1
    return found


def _is_phone(digits: str, first: _Number, *, single: bool, asked: bool) -> bool:
    if not (len(digits) in (10, 11) or first.plus or digits.startswith(("44", "0044"))):
        return False
    if len(set(digits)) <= 2 or digits in _ROUNDS or digits[::-1] in _ROUNDS:
        return False  # a row of noughts, or counting
    if _UK.fullmatch(digits):
        return True
    if _ABROAD.fullmatch(digits):  # "4471-2093-8862" is a code of some kind
        return first.plus or first.digits in ("44", "0044") or len(first.digits) >= 10
    if first.plus and 9 <= len(digits) <= 15:
        return True
    return bool(_MOBILE.fullmatch(digits)) and (len(first.digits) >= 4 or (single and asked))


def _is_long(digits: str, parts: Sequence[_Number]) -> bool:
    """A number long enough to be somebody's, where the message speaks of numbers or calling."""
    if not 7 <= len(digits) <= 15 or digits in _ROUNDS:
        return False
    lengths = {len(part.digits) for part in parts}
    return len(parts) == 1 or min(lengths) >= 3 or lengths == {1}


def _split_phone(
    view: Plain, runs: Sequence[Sequence[_Number]], earlier: Sequence[str], allowed: Allowed
) -> Iterator[Contact]:
    """A number given in pieces: this message's digits after those of the speaker's last turns."""
    if not runs:
        return
    here = "".join(number.digits for number in runs[0])
    span = view.span(runs[0][0].start, runs[0][-1].end)
    before = [digits for text in earlier[-EARLIER_TURNS:] for digits in _said(text)]
    for back in range(1, min(len(before), 12) + 1):
        pieces = [*before[-back:], here]
        digits = "".join(pieces)
        if len(digits) > 15:
            break
        begins = len(pieces[0]) > 1 or all(len(piece) <= 2 for piece in pieces)
        plus = _Number(pieces[0], 0, 0)
        if begins and _is_phone(digits, plus, single=True, asked=True) and not allowed.number(digits):
            yield Contact("phone", span)
            return
    start = runs[0][0]
    if len(start.digits) >= 4 and start.digits.startswith("07") and _before(view, start) != ".":
        yield Contact("phone_part", span)


@functools.lru_cache(maxsize=1024)
def _said(text: str) -> tuple[str, ...]:
    """The digits of each run in an earlier turn, which is asked for with every turn after it."""
    view = plain(text)
    if "number" not in _open_gates(view.text, view.text):
        return ()
    return tuple("".join(number.digits for number in run) for run in _runs(view))


def _before(view: Plain, number: _Number) -> str:
    return view.text[number.start - 1 : number.start]


# --- email and links ----------------------------------------------------------------------------------

_TOP = (
    "com|net|org|uk|info|xyz|site|online|chat|app|gg|tv|link|club|live|shop|store|space|website|page|dev|eu|scot|wales"
    "|lgbt|blog|art|fun|games|social|network"
)
_TOP_SHORT = "ly|me|be|to|co|io|us|ai|ca|de|fr|ie|in|it|es|pl|ru|nl|cc|ws|fm|am|sh|st|im|is|la|ms|so|tk"
_DOT = r"(?:\.| ?\(dot\) ?| ?\[dot\] ?| dot | d0t )"
_EMAIL = re2.compile(
    r"[a-z0-9](?:[a-z0-9._%+\-]*[a-z0-9])?(?: dot [a-z0-9_\-]+| underscore [a-z0-9_\-]+)*"
    rf"(?:@| @ | ?\(at\) ?| ?\[at\] ?| at )[a-z0-9\-]+(?:{_DOT}[a-z0-9\-]+)*{_DOT}"
    rf"(?:{_TOP}|{_TOP_SHORT}|ac|sch)\b"
)
_EMAIL_ANY = re2.compile(r"[a-z0-9._%+\-]*[a-z0-9]@[a-z0-9\-]+(?:\.[a-z0-9\-]+)*\.[a-z]{2,}")
_EMAIL_SPACED = re2.compile(
    r"(?:[a-z0-9._] ){3,}[\s]*(?:@|[(\[]at[)\]]|at) +(?:[a-z0-9._] ?){3,}(?: ?[(\[]dot[)\]]| dot |\.)[ a-z]+"
)
_EMAIL_HOST = re2.compile(
    r"[a-z0-9._\-]+(?:@| @ | at | ?\(at\) ?)"
    r"(?:gmail|googlemail|hotmail|outlook|yahoo|icloud|proton ?mail|live|aol)\b"
)
_LINK = re2.compile(
    r"(?:https?|hxxps?)\s?:\s?/\s?/\s?[^\s]+|www\.[^\s]+"
    rf"|\b(?:[a-z0-9\-]+\.)+(?:{_TOP})\b(?:/[^\s]*)?"
    rf"|\b(?:[a-z0-9\-]+\.)+(?:{_TOP_SHORT})/[^\s]*"
    rf"|\b[a-z0-9\-]+(?: dot [a-z0-9\-]+)* dot (?:{_TOP})\b(?: slash [a-z0-9\-]+)*"
)


def _emails(view: Plain) -> Iterator[Contact]:
    for pattern in (_EMAIL, _EMAIL_ANY, _EMAIL_SPACED, _EMAIL_HOST):
        hits = [found.span() for found in pattern.finditer(view.text)]
        for start, end in hits:
            written = view.text[start:end]
            if not (" at " in written and _ordinary_at(written)):
                yield Contact("email", view.span(start, end))
        if hits:
            return


def _ordinary_at(written: str) -> bool:
    """Whether "look at bbc dot com" says at in its plain meaning."""
    name = written.partition(" at ")[0]
    return " dot " not in name and "." not in name and name in shipped_lexicon().common


def _links(view: Plain, allowed: Allowed, emails: Sequence[Contact]) -> Iterator[Contact]:
    for found in _LINK.finditer(view.text):
        start, end = found.span()
        span = view.span(start, end)
        if any(email.span.start < span.end and span.start < email.span.end for email in emails):
            continue
        if not allowed.host(_host(view.text[start:end])):
            yield Contact("link", span)


def _host(link: str) -> str:
    host = link.replace(" ", "").split("//")[-1] if "//" in link else link
    host = host.replace(" dot ", ".").partition(" ")[0]
    host = host.partition("/")[0].partition("?")[0].partition(":")[0].rpartition("@")[2]
    return host.strip(".,;!\"')(").removeprefix("www.")


# --- handles ------------------------------------------------------------------------------------------

_APPS = (
    r"(?:snap(?:chat)?|sc|insta(?:gram)?a*|ig|discord|disc|disco|tik ?tok|tt|xbox|psn|ps5|playstation|steam"
    r"|roblox|kik|telegram|tele|whatsapp|fortnite|epic|twitter|twitch|youtube|yt|facebook|fb|messenger|wizz|yubo|bereal|threads"
    r"|pinterest|gamertag|gamer tag|ghost app|yellow app|switch|minecraft|signal|skype|reddit|tumblr|vinted)"
)
_APP_SPACED = (
    r"\bin sta\b|\bsn ap\b|\bs n a p\b|\bi n s t a\b|\bdis cord\b|\b(?:ghost|yellow|camera) (?:app|one)\b"
)
_HANDLE = r"@?[a-z0-9][a-z0-9_.#\-]*[a-z0-9_]"
_JOIN = (
    r"(?:s|'s)?\b(?: (?:name|me|mine|user|username|user name|tag|handle|acc|account|id|is|iz|its|it's|called"
    r"|as|under)){0,4}(?: ?[:=>\-,]+ ?| )"
)
_APP_THEN = re2.compile(rf"\b{_APPS}{_JOIN}({_HANDLE})")
_THEN_APP = re2.compile(
    rf"\b(?:add|follow|find|search|im|i'm|i am|its|it's|dm|message|msg|am|me|called|me as|as) ({_HANDLE})"
    rf" (?:on|in|at|over on) (?:my |the )?{_APPS}\b"
)
_MARKED = re2.compile(
    r"\b[a-z0-9]+(?:_[a-z0-9]+)+|\b[a-z]{3,}[0-9]{2,}\b|\b[a-z0-9]{2,}(?:\.[a-z0-9]{2,})+\b|\b[a-z]{3,}#[a-z0-9]+"
)
_AT = re2.compile(r"(?:^|[^a-z0-9_@.])(@[a-z0-9_][a-z0-9_.\-]{1,30})")
_USER = re2.compile(
    r"\b(?:my|other|the) (?:user|username|user name|tag|gamertag|handle|acc|account|insta|snap)(?: name)?"
    rf"(?: is|'s|:|=) ?({_HANDLE})"
)
_SPELLED_MARK = r"(?:under ?score|then dot then|dot then|all one word"
_SPELLED = re2.compile(
    rf"\b{_APPS}\b.{{0,60}}{_SPELLED_MARK}|then dot|same (?:name|user|username|one) (?:as|on|i use)"
    r"|swap the .{1,3} for)"
    rf"|{_SPELLED_MARK}|same (?:name|user|username) (?:as|on)|the name i use).{{0,60}}\b{_APPS}\b"
    rf"|\b(?:user|acc|account|handle)\b.{{0,40}}{_SPELLED_MARK})"
)
_ENDINGS = tuple("ed ing ly ive able ful less al ic ous er en ion ness y s".split())
_MARKS = frozenset("_#")


def _handles(
    text: str, view: Plain, shadow: str, taken: Sequence[Contact], gates: Collection[str]
) -> Iterator[Contact]:
    known = shipped_lexicon().known
    if not ("@" in gates or "spelled" in gates or "spaced" in gates):
        # Only a word that is none can be somebody's name on an app.
        words = (word.strip(".,!?;:'\"()") for word in view.text.split())
        if all(word in known for word in words if len(word) >= 3):
            return
    spans: list[Span] = []
    app = _HAS_APP.search(shadow) is not None

    elsewhere = [contact.span for contact in taken if contact.kind in ("email", "link", "phone")]

    def free(span: Span) -> bool:
        return not any(span.start < other.end and other.start < span.end for other in (*spans, *elsewhere))

    for pattern in (_APP_THEN, _THEN_APP, _USER, _AT):
        if len(spans) >= MOST or ("@" not in gates and pattern is _AT):
            break
        for found in pattern.finditer(shadow):
            start, end = found.span(1)
            span = view.span(start, end)
            written = text[span.start : span.end]
            mentioned = pattern is not _AT or app
            said = pattern is not _APP_THEN or _SAID_TO_BE.search(shadow, found.start(), start) is not None
            if free(span) and _like_handle(
                view.text[start:end], written, named=mentioned, at=pattern is _AT, said=said
            ):
                spans.append(span)
                yield Contact("handle", span)
    if not spans and app:
        for found in _MARKED.finditer(view.text):
            span = view.span(*found.span())
            if free(span) and _like_handle(found.group(), text[span.start : span.end], named=True, at=False):
                yield Contact("handle", span)
                return
    if not spans and "spaced" in gates:
        for found in _SPACED.finditer(view.text):
            letters = found.group().replace(" ", "")
            named = sum(letter.isalpha() for letter in letters) >= 3
            if named and (app or "_" in letters or any(letter.isdigit() for letter in letters)):
                yield Contact("handle", view.span(*found.span()))
                return
    if not spans and "spelled" in gates:
        for found in _SPELLED.finditer(shadow):
            yield Contact("handle", view.span(*found.span()))
            return


_SPACED = re2.compile(r"(?:\b[a-z0-9] ?[_.] ?|\b[a-z0-9] ){5,}[a-z0-9_]\b")
_HAS_APP = re.compile(rf"\b{_APPS}(?:s|'s)?\b|{_APP_SPACED}", re.ASCII)
_NOT_A_HANDLE = re2.compile(
    r"[0-9]+(?:st|nd|rd|th|am|pm|s|x|k|gb|hrs?|mins?)?|[a-z]+-[a-z]+(?:-[a-z]+)*|[0-9]+[.\-:][0-9]+|(?:y|yr|year|p|ps|q)[0-9]+"
    r"|(?:[a-z]\.)+[a-z]?"
)


_SAID_TO_BE = re.compile(
    r"[:=>]|\b(?:is|iz|its|it's|i'm|im|name|me|mine|user|username|called|tag|handle|acc|account|id|as|under)\b"
)


def _like_handle(word: str, written: str, *, named: bool, at: bool, said: bool = True) -> bool:
    """Whether a word beside an app's name is somebody's name there; `said`, that it was called so."""
    name = word.removeprefix("@").strip(".-")
    if len(name) < 3 or _NOT_A_HANDLE.fullmatch(name):
        return False
    known = shipped_lexicon().known
    if word.startswith("@"):
        read = name.translate(_LEET)
        if any(mark in name for mark in "_.") or (any(c.isdigit() for c in name) and read not in known):
            return True
        # "@mum" and "@busive" are words; beside an app's name anything is a handle.
        return "a" + read not in known and (read not in known or (named and not at))
    if "." in name:
        head, _, tail = name.rpartition(".")
        return not (head in known and tail in known)
    if any(mark in name for mark in _MARKS):
        return True
    read = name.translate(_LEET)
    if any(letter.isdigit() for letter in name):
        # "l8rs" after the name of an app is a word.
        enough = said or sum(letter.isdigit() for letter in name) >= 2
        return enough and read not in known and not name.isdigit()
    inner = written.lstrip("@")[1:]
    if any(letter.isupper() for letter in inner) and any(letter.islower() for letter in inner):
        return True
    return said and len(name) >= 8 and name not in known and not name.endswith(_ENDINGS)


# --- places -------------------------------------------------------------------------------------------

_POSTCODE = re.compile(
    r"\b([a-z]{1,2})([0-9][a-z0-9]?)([\s/,.\-]{0,3})([0-9][abd-hjlnp-uw-z]{2})\b", re.ASCII
)
_LETTERED = frozenset("e ec n nw se sw w wc".split())  # areas whose districts may end in a letter
_MIXED = re.compile(r"\b(?:[a-z]+[0-9]|[0-9]+[a-z])[a-z0-9]*", re.ASCII)
_AREAS = frozenset(
    "ab al b ba bb bd bh bl bn br bs bt ca cb cf ch cm co cr ct cv cw da dd de dg dh dl dn dt dy e ec eh"
    " en ex fk fy g gl gu gy ha hd hg hp hr hs hu hx ig im ip iv je ka kt kw ky l la ld le ll ln ls lu m"
    " me mk ml n ne ng nn np nr nw ol ox pa pe ph pl po pr rg rh rm s sa se sg sk sl sm sn so sp sr ss st"
    " sw sy ta td tf tn tq tr ts tw ub w wa wc wd wf wn wr ws wv yo ze".split()
)
_ORDINAL = frozenset("1st 2nd 3rd 4th 5th 6th 7th 8th 9th".split())
_PLACE_WORDS = re.compile(
    r"\b(?:post ?code|address|lives?|near|maps|street|house|flat|come to|im in|i'm in)\b",
    re.ASCII,
)
_POSTCODE_SAID = re2.compile(r"\bpost ?code\b(?: is| its|:| =)?((?:[\s,.\-]+[a-z0-9]+){3,9})")
_STREET = (
    r"(?:street|road|rd|avenue|ave|lane|drive|close|crescent|cres|terrace|mews|court|way|place|gardens|grove|rise|walk|row"
    r"|hill|square|parade|view|fold|garth|knoll|yard|wharf|croft|mount|dene|green|gate|park|bank|brae|wynd|vennel|st|end|house|flats|tower|heights|lodge|cottages?|villas)"
)
_SURE_STREET = frozenset(
    "street road rd avenue ave lane crescent cres terrace mews close drive croft garth knoll fold grove"
    " rise brae wynd vennel".split()
)
_ANY_STREET = _SURE_STREET | frozenset("house flats court lodge tower heights cottage cottages".split())
# Nobody lives there, or everybody knows who does.
_FAMOUS = frozenset(
    {
        "baker street",
        "downing street",
        "cross road",  # 84 Charing Cross Road
        "windsor gardens",
        "privet drive",
        "sesame street",
        "coronation street",
        "ramsay street",
        "wisteria lane",
        "jump street",
        "cloverfield lane",
    }
)
_STREET_AFTER = re2.compile(rf"((?:[a-z][a-z'\-]+[ ,/]+){{1,3}}){_STREET}\b")
_HOUSE = re.compile(
    rf"(?:\b(?:flat |number |no |unit )?[0-9]{{1,4}}[a-f]?|\bnumber (?:{_SAID})(?:[ \-](?:{_SAID}))*)[ ,/]+$",
    re.ASCII,
)
_AT_HOME = re2.compile(
    r"\b(?:live|lives|living|address|flat|house|buzzer|door ?bell|stay at|come to mine|im at"
    r"|(?:my|our) (?:road|street)|knock|egg|post it)\b"
)
_ON_STREET = re2.compile(rf"\b(?:on|at|in|off|down) ((?:[a-z][a-z'\-]+ ){{1,2}}){_STREET}\b")
_NO_NAME = frozenset(
    "a an the my our your his her their this that these those some any no every each of in on at to for"
    " from by with and or but down up along over under across through minutes minute mins min hours hour"
    " days day weeks week months years year miles mile metres km steps times goals people lads boys girls"
    " kids cars buses bus stops points marks quid pounds percent way long short busy main wrong right same"
    " other next last first second only whole big little small quiet dark cold one two three four five it"
    " is was are were out off into onto about like just so very really all more most".split()
)


def _postcodes(text: str, view: Plain) -> Iterator[Contact]:
    placed = _PLACE_WORDS.search(view.text) is not None
    mixed = len(_MIXED.findall(view.text))
    for found in _POSTCODE.finditer(view.text):
        area, district, gap, inward = found.groups()
        span = view.span(*found.span())
        shouted = text[span.start : span.end].isupper()
        if inward in _ORDINAL and not shouted:
            continue
        if district[-1].isalpha() and area not in _LETTERED and not shouted:
            continue
        # "g3t 0ff th3 ch4t" is leet: a postcode in small letters stands alone among its kind.
        plainly = area in _AREAS and bool(gap) and mixed <= 2
        if shouted or plainly or (placed and area in _AREAS):
            yield Contact("postcode", span)
            return
    for found in _POSTCODE_SAID.finditer(view.text):
        said = ""
        for token in re2.findall(r"[a-z0-9]+", found.group(1)):
            said += _digits(token, True, "", 0) or (token if len(token) <= 4 else "")
            if len(said) >= 5 and _POSTCODE.fullmatch(said[:8]):
                yield Contact("postcode", view.span(*found.span()))
                return


_SEPARATORS = re.compile(r"[ ,/]+")


def _house(text: str, place: int) -> Any:
    """A match of a house's number directly before a place in the text, or None."""
    before = text[max(0, place - 40) : place]
    bare = before.rstrip(" ,/")
    if bare == before or not bare:
        return None
    number = bare[-1].isdigit() or bare[-2:-1].isdigit() or "number " in bare
    return _HOUSE.search(before) if number else None


def _addresses(text: str, view: Plain, shadow: str) -> Iterator[Contact]:
    at_home = _AT_HOME.search(shadow) is not None
    for found in _STREET_AFTER.finditer(shadow):
        start, end = found.span()
        names = _SEPARATORS.split(found.group(1).strip(" ,/"))
        kind = shadow[found.span(1)[1] : end]
        # The name may have swallowed words before the number: look for the number at each word.
        place = start
        for at, name in enumerate(names):
            house = _house(view.text, place)
            rest = names[at:]
            short = len(rest) <= 2 or not _ANY_STREET.isdisjoint(
                rest
            )  # "12 Dunnock House, Saltergate Street"
            if house is not None and short and not _NO_NAME.intersection(rest):
                span = view.span(max(0, place - 40) + house.start(), end)
                written = text[span.start : span.end]
                if f"{rest[-1]} {kind}" in _FAMOUS:
                    continue
                if kind in _SURE_STREET or at_home or any(word[:1].isupper() for word in written.split()):
                    yield Contact("address", span)
                    return
            place += len(name)
            while place < end and shadow[place] in " ,/":
                place += 1
    if at_home:
        for found in _ON_STREET.finditer(shadow):
            names = found.group(1).split()
            if not _NO_NAME.intersection(names):
                yield Contact("address", view.span(*found.span()))
                return


# --- plates and schools -------------------------------------------------------------------------------

_PLATE = re.compile(
    r"\b(?:reg|plate|registration)\b[^\n]{0,20}?\b([a-z]{2}[0-9]{2} ?[a-z]{3}|[a-z][0-9]{1,3} ?[a-z]{3})\b",
    re.ASCII,
)
_KINDS_OF_SCHOOL = r"(?:academy|high|grammar|secondary|primary|school|girls|boys|comp|juniors|college)"
_SCHOOL = rf"\b(?:{_KINDS_OF_SCHOOL}|ysgol|st [a-z]+'?s)\b"
_SCHOOL_NAMED = re.compile(
    rf"\b(?:([a-z'\-]+) (?:middle |primary |community |girls' |boys' )?{_KINDS_OF_SCHOOL}"
    r"|(?:ysgol|st) ([a-z']+))\b",
    re.ASCII,
)
_INTRODUCED = re.compile(
    r"(?:\b(?:i'm|im|i am|my name is|my name's|name is|name's|names|called|it's|its|this is"
    r"|he's|hes|she's|shes|(?:sister|brother|cousin|friend|mate)(?:'s|s| is)?)|\bhi,? i'm)"
    r"(?: called)? ([a-z][a-z'\-]+) ([a-z][a-z'\-]+)",
    re.ASCII,
)


def _plates(view: Plain) -> Iterator[Contact]:
    for found in itertools.islice(_PLATE.finditer(view.text), MOST):
        yield Contact("plate", view.span(*found.span(1)))


def _school(text: str, view: Plain, allowed: Allowed) -> Iterator[Contact]:
    """A first name and a surname that are said to be somebody's, with a school that has a name."""
    known = shipped_lexicon().known

    def is_name(word: str, start: int) -> bool:
        written = text[view.span(start, start + 1).start]
        return written.isupper() or (word not in known and word.removesuffix("s") not in known)

    schools = [
        found
        for found in itertools.islice(_SCHOOL_NAMED.finditer(view.text), MOST)
        if (word := found.group(1) or found.group(2))
        and is_name(word, found.start(1 if found.group(1) else 2))
    ]
    if not schools:
        return
    for found in itertools.islice(_INTRODUCED.finditer(view.text), MOST):
        first, last = found.group(1), found.group(2)
        if len(last) < 3 or first in _NOT_A_NAME or last in _NOT_A_NAME:
            continue
        if not (is_name(first, found.start(1)) and is_name(last, found.start(2))):
            continue
        if any(school.start() >= found.end(1) and school.start() - found.end() <= 60 for school in schools):
            yield Contact("school", view.span(found.start(1), found.end(2)))
            return


_NOT_A_NAME = frozenset(
    "moving going starting leaving joining doing in at from the a my year and not so really just only with"
    " for to of gcse english french spanish german maths drama".split()
)


# --- what is worth looking for ---------------------------------------------------------------------------

_ALWAYS = "always"
_SAYS = rf"(?:[0-9]|{_SAID})"
_WORTH: Mapping[str, Sequence[str]] = {
    "number": (_SAYS,),
    "phone": (rf"(?s){_SAYS}(?:.*{_SAYS}){{4}}",),
    "part": (r"(?:0|\bo|zero|oh|nought|naught)[^a-z0-9]*(?:7|seven)",),
    "postcode": (r"\b[a-z]{1,2}[0-9][a-z0-9]?[\s/,.\-]{0,3}[0-9][a-z]{2}\b", r"post ?code"),
    "email": (
        r"(?s)(?:@| at |[(\[]at[)\]]).*(?:\.[a-z]| dot |[(\[]dot[)\]]| d[0o]t )",
        r"(?:@| at |[(\[]at[)\]]) ?(?:gmail|googlemail|hotmail|outlook|yahoo|icloud|proton|live|aol)\b",
    ),
    "link": (r"[a-z0-9\-]\.[a-z]{2}", r" dot ", r"(?:http|hxxp)", r"www\."),
    "@": ("@",),
    "app": (rf"\b{_APPS}(?:s|'s)?\b", _APP_SPACED, r"\b(?:user|acc|account|handle|tag|gamertag)"),
    "spelled": (
        (
            r"under ?score|then dot|dot then|all one word|same (?:name|user|username|one) (?:as|on|i use)"
            r"|swap the |the name i use"
        ),
    ),
    "spaced": (_SPACED.pattern,),
    "plate": (r"\b(?:reg|plate|number ?plate|licence plate|registration)\b",),
    "school": (_SCHOOL,),
    "street": (rf"\b{_STREET}\b",),
    "house": (r"[0-9][a-f]?[ ,/]+[a-z0-9]", rf"\bnumber (?:{_SAID})"),
    "home": (_AT_HOME.pattern,),
    "on": (_ON_STREET.pattern.replace("((?:", "(?:(?:"),),
    _ALWAYS: ("",),
}
"""What a text cannot do without, if it has a detail of a kind; read together, in one pass."""


def _gates() -> tuple[Any, Sequence[str]]:
    options = re2.Options()
    options.max_mem = 32 << 20  # bytes; the automaton is built as texts need it
    gates = re2.Set.SearchSet(options)
    names = []
    for name, patterns in _WORTH.items():
        for pattern in patterns:
            gates.Add(pattern)
            names.append(name)
    gates.Compile()
    return gates, names


_GATES, _GATE_NAMES = _gates()
_NONE_OPEN: Collection[str] = frozenset()
_ALL_OPEN: Collection[str] = frozenset(_WORTH)


def _open_gates(text: str, shadow: str) -> Collection[str]:
    """Which kinds of detail a text could have at all: one pass, and nothing for most texts."""
    hits = _GATES.Match(text)
    if shadow != text:
        hits += _GATES.Match(shadow)
    if len(hits) == 1 or (len(hits) == 2 and hits[0] == hits[1]):
        return _NONE_OPEN if hits[0] == len(_GATE_NAMES) - 1 else _ALL_OPEN
    names = frozenset(_GATE_NAMES[hit] for hit in hits)
    return names if _ALWAYS in names else _ALL_OPEN  # out of memory: then look for everything
