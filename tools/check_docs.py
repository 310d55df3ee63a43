"""Check that the docs tell the truth where a machine can tell: `python -m tools.check_docs`.

In README.md, CHANGELOG.md, CONTRIBUTING.md and docs/**/*.md:

- relative links and images name files that exist, and their #anchors headings that exist;
- in fenced sh, bash and console blocks, `make X` names a target of the Makefile, and `peerchat X --option`
  a command that the command line knows, with that option.

Prints `file:line: what is wrong` and returns 1 when there is something. Looks at nothing outside the
project: links with a scheme are left alone.
"""

import functools
import re
import shlex
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TOP_LEVEL = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")
SHELLS = {"sh", "bash", "shell", "console"}

FENCE = re.compile(r"^\s*(`{3,}|~{3,})\s*(\w*)")
HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*$")
LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?(?:\s+[\"'][^)]*)?\)")
REFERENCE = re.compile(r"^\s*\[[^\]]+\]:\s*<?(\S+?)>?(?:\s|$)")
ATTRIBUTE = re.compile(r"<(?:img|a|source)\b[^>]*?\b(?:src|srcset|href)=[\"']([^\"']+)[\"']")
ANCHOR = re.compile(r"<a\b[^>]*?\b(?:id|name)=[\"']([^\"']+)[\"']")
CODE = re.compile(r"(`+).+?\1")
SCHEME = re.compile(r"^([a-z][a-z0-9+.-]*:|//)", re.IGNORECASE)
TARGET = re.compile(r"^([a-z][\w-]*)\s*:(?!=)", re.MULTILINE)
WORD = re.compile(r"^[a-z][a-z-]*$")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a document and the language of the fenced block it stands in ("" for plain text)."""

    file: Path
    number: int
    text: str
    fence: str | None

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.number}"


def documents() -> list[Path]:
    """Return every document that a reader may open."""
    top = [ROOT / name for name in TOP_LEVEL if (ROOT / name).exists()]
    return top + sorted((ROOT / "docs").rglob("*.md"))


def read(file: Path) -> Iterator[Line]:
    """Yield the lines of a document without the fences themselves; `fence` is None outside of them."""
    fence: tuple[str, str] | None = None
    for number, text in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        mark = FENCE.match(text)
        if fence is None and mark:
            fence = (mark[1], mark[2].lower())
        elif fence is not None and mark and mark[1].startswith(fence[0]) and not mark[2]:
            fence = None
        else:
            yield Line(file, number, text, None if fence is None else fence[1])


def prose(file: Path) -> Iterator[Line]:
    """Yield the lines outside of fenced blocks."""
    return (line for line in read(file) if line.fence is None)


@functools.cache
def anchors(file: Path) -> frozenset[str]:
    """Return the names that a #fragment may point to, headings by the rules of GitHub's pages."""
    found: set[str] = set()
    for line in prose(file):
        found.update(ANCHOR.findall(line.text))
        if heading := HEADING.match(line.text):
            plain = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading[1])
            slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
            name, again = slug, 0
            while name in found:
                again += 1
                name = f"{slug}-{again}"
            found.add(name)
    return frozenset(found)


def links(line: Line) -> Iterator[str]:
    """Yield the relative targets of a line's links and images."""
    text = CODE.sub("", line.text)
    targets = [*LINK.findall(text), *REFERENCE.findall(text), *ATTRIBUTE.findall(text)]
    return (target for target in targets if not SCHEME.match(target))


def check_links(line: Line) -> Iterator[str]:
    """Yield what is wrong with a line's links."""
    for target in links(line):
        path, _, fragment = urllib.parse.unquote(target).partition("#")
        there = (line.file.parent / path).resolve() if path else line.file
        if path.startswith("/") or not there.is_relative_to(ROOT):
            yield f"{line}: {target} leads out of the project"
        elif not there.exists():
            yield f"{line}: {target} does not exist"
        elif fragment and there.suffix == ".md" and fragment not in anchors(there):
            yield f"{line}: {target}: no such heading"


def commands(file: Path) -> Iterator[tuple[Line, list[str]]]:
    """Yield the commands of a document's shell blocks, split into words, `\\` line ends joined."""
    pending = ""
    for line in read(file):
        if line.fence not in SHELLS:
            pending = ""
            continue
        text = line.text.strip()
        if line.fence == "console" and not pending and not text.startswith("$ "):
            continue  # what a command printed
        text = pending + text.removeprefix("$ ")
        if text.endswith("\\"):
            pending = text[:-1]
            continue
        pending = ""
        lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        lexer.commenters = "#"
        try:
            words = list(lexer)
        except ValueError:
            continue  # a quotation over several lines
        command: list[str] = []
        for word in [*words, ";"]:
            if set(word) <= set("();<>|&"):
                if command:
                    yield line, command
                command = []
            else:
                command.append(word)


def targets() -> frozenset[str]:
    """Return the Makefile's targets."""
    return frozenset(TARGET.findall((ROOT / "Makefile").read_text(encoding="utf-8")))


@functools.cache
def usage(names: tuple[str, ...]) -> str | None:
    """Return what `peerchat NAMES --help` prints, or None when it knows no such command."""
    done = subprocess.run(
        [sys.executable, "-c", "import sys; from web.cli import main; sys.exit(main())", *names, "--help"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout if done.returncode == 0 else None


def check_command(line: Line, words: list[str]) -> Iterator[str]:
    """Yield what is wrong with a command, where it is one of ours."""
    while words and re.match(r"^[A-Za-z_]\w*=", words[0]):
        words = words[1:]
    program = Path(words[0]).name if words else ""
    if program == "make":
        for word in words[1:]:
            if WORD.match(word) and word not in targets():
                yield f"{line}: `make {word}`: the Makefile has no such target"
    elif program == "peerchat":
        names = []
        for word in words[1:]:
            if not WORD.match(word):
                break
            names.append(word)
        text = usage(tuple(names))
        if text is None:
            yield f"{line}: `peerchat {' '.join(names)}` is no command"
            return
        for word in words[1:]:
            option = word.partition("=")[0]
            if option.startswith("--") and option != "--" and not re.search(rf"{option}(?![\w-])", text):
                yield f"{line}: `peerchat {' '.join(names)}` has no {option}"


def problems() -> Iterator[str]:
    """Yield everything that is wrong, in reading order of the documents."""
    for file in documents():
        for line in prose(file):
            yield from check_links(line)
        for line, words in commands(file):
            yield from check_command(line, words)


def main() -> int:
    """Print what is wrong; 1 when there is something."""
    found = list(problems())
    for problem in found:
        print(problem)
    if not found:
        print(f"docs: {len(documents())} documents, all links and commands hold")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
