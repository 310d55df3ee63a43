"""Figures as Markdown, JSON and pictures, and the short blocks that README and model cards quote."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.moderation import plots
from benchmarks.moderation.figures import Bar, Cell, Figures, Table, from_json
from benchmarks.moderation.stats import Estimate

ROOT = Path(__file__).resolve().parents[2]
NAME = "moderation-figures"
BLOCK = re.compile(r"(<!-- bench: (?P<name>[\w-]+) -->\n).*?(<!-- /bench -->)", re.DOTALL)

INVENTED = (
    "**Read this first.** The messages and conversations were invented by few hands and reviewed neither by"
    " pupils nor by a safeguarding lead; real talk is more varied, so these figures are optimistic."
)
SEEN = (
    " The dev files were read while rules were written and used to choose thresholds: only a set that"
    " nobody has seen decides."
)
FOREIGN = (
    " Messages or conversations of this run are not the project's dev files: who made them knows whether"
    " rules and thresholds have seen them."
)
RISKY = (
    " Risk is over-represented (more than half of the messages, where in a school it is a small part), so"
    " read what is found beside what is flagged for nothing, never as precision. Every interval is 95 %:"
    " Wilson's for shares, the bootstrap's (by row or by conversation, fixed seed) for all else; none of"
    " them covers how the data came about."
)

SECTIONS: Sequence[tuple[str, Sequence[str]]] = (
    (
        "Messages",
        ("by_level", "in_a_chat", "by_label", "by_note", "by_sender", "false_flags", "swept", "recall"),
    ),
    ("Conversations", ("talks", "talks_cost")),
    ("Toxicity", ("toxicity", "compared", "hatecheck_functions")),
    ("Who is held for nothing", ("identity", "dialect")),
    ("Disguises", ("disguises",)),
    ("The classifiers by themselves", ("risk_auc", "ece", "calibration", "reliability")),
    ("The cascade", ("cascade", "gate")),
    ("Cost on one core", ("cost", "single", "long")),
)

SUMMARY = (
    "critical",
    "high",
    "concern",
    "obfuscated",
    "indirect",
    "personal_data",
    "boundary",
    "benign_held",
    "benign_high",
    "talks_caught",
    "talks_benign",
    "toxicity",
    "hatecheck",
    "disguise",
    "first_tier",
    "cascade",
    "long",
)


def markdown(figures: Figures, *, images: str = "images") -> str:
    """The whole report; `images` is the folder of the pictures as seen from it."""
    about = figures.about
    files = "; ".join(
        f"`{file['name']}` ({file['rows']:,} rows, sha256 `{file['sha256']}`)" for file in about["files"]
    )
    lines = [
        "# Moderation, measured",
        "",
        (
            "Written by `make bench-moderation DATA=folder`; do not edit. How it is measured:"
            " `benchmarks/moderation/`; what is measured: [moderation](moderation.md). All numbers are in"
            f" [{NAME}.json]({NAME}.json) too."
        ),
        "",
        INVENTED + (FOREIGN if about["foreign"] else SEEN) + RISKY,
        "",
        *(f"> {remark}\n" for remark in figures.remarks),
        _made_with(about),
        f"Files: {files}.",
        "",
        "## Bars",
        "",
        "| what | measured | bar | |",
        "| --- | ---: | ---: | --- |",
        *(_bar(bar) for bar in figures.bars),
        "",
    ]
    pictures = {plot.id: plot for plot in figures.plots}
    for title, names in SECTIONS:
        part: list[str] = []
        for name in names:
            table = figures.table(name)
            if table is not None:
                part += [f"### {table.title}", "", *_table(table), ""]
                part += [table.note, ""] if table.note else []
            elif name in pictures:
                part += [f"![{pictures[name].says.strip()}]({images}/moderation-{name}.svg)", ""]
        if part:
            lines += [f"## {title}", "", *part]
    return "\n".join(lines).rstrip() + "\n"


def _made_with(about: Mapping[str, Any]) -> str:
    load = ", ".join(map(str, about["load"]))
    return (
        f"Policy `{about['policy']}`; stages {', '.join(about['stages'])}; Python {about['python']};"
        f" {about['cores']} cores, load average {load} at the start."
    )


def _bar(bar: Bar) -> str:
    if bar.measured is None:
        verdict = "not measured"
    else:
        verdict = "met" if bar.met else "**not met**"
        if not bar.sure:
            verdict += ", but the interval crosses the bar"
    if bar.aim:
        verdict += "; an aim"
    note = f" ({bar.note})" if bar.note else ""
    return f"| {bar.what}{note} | {_figure(bar)} | {_limit(bar)} | {verdict} |"


def _figure(bar: Bar) -> str:
    if bar.measured is None:
        return "–"
    return f"{estimate(bar.measured, _digits(bar))}{_unit(bar)}"


def _limit(bar: Bar) -> str:
    more = "" if bar.at_most else "least"
    return f"at {more or 'most'} {bar.limit:,g}{_unit(bar)}"


def _unit(bar: Bar) -> str:
    return f" {bar.unit}" if bar.unit else ""


def _digits(bar: Bar) -> int:
    return {"": 4 if bar.id == "toxicity" else 3, "a second": 0}.get(bar.unit, 1)


def estimate(given: Estimate, digits: int) -> str:
    """A figure with its interval."""
    return f"{given.value:,.{digits}f} ({given.low:,.{digits}f}–{given.high:,.{digits}f})"


def _table(table: Table) -> list[str]:
    return [
        f"| {table.first} | {' | '.join(table.columns)} |",
        "| --- |" + " ---: |" * len(table.columns),
        *(
            f"| {name} | {' | '.join(_cell(cell, table.digits) for cell in row)} |"
            for name, row in table.rows.items()
        ),
    ]


def _cell(cell: Cell, digits: int) -> str:
    match cell:
        case None:
            return "–"
        case Estimate():
            return estimate(cell, digits)
        case int():
            return f"{cell:,}"
        case _:
            return str(cell)


# --- what others quote ----------------------------------------------------------------------------------


def quotes(figures: Figures) -> dict[str, Callable[[str], str]]:
    """The blocks by name; each gets the way from the quoting file to docs/."""

    def summary(docs: str) -> str:
        bars = [figures.bar(id) for id in SUMMARY if any(bar.id == id for bar in figures.bars)]
        return "\n".join(
            [
                "| what | measured | bar | |",
                "| --- | ---: | ---: | --- |",
                *(_bar(bar) for bar in bars),
                "",
                _last_line(figures.about, docs),
            ]
        )

    blocks: dict[str, Callable[[str], str]] = {"summary": summary}
    for name in ("linear", "transformer", "detoxify"):
        blocks[name] = _card(figures, name)
    return blocks


def _last_line(about: Mapping[str, Any], docs: str) -> str:
    second = "transformer" in about["stages"]
    load = about["load"][0] if about["load"] else "unknown"
    return (
        "On invented dev data that thresholds were chosen on, so optimistic; in brackets 95 % intervals."
        f" {'With' if second else '**Without**'} the second tier. Times: the processor's, on one of"
        f" {about['cores']} cores, load average {load} at the start."
        f" Everything else: [moderation, measured]({docs}{NAME}.md)."
    )


def _card(figures: Figures, name: str) -> Callable[[str], str]:
    def card(docs: str) -> str:
        lines: list[str] = []
        for id in ("toxicity", "risk_auc"):
            table = figures.table(id)
            if table is None or name not in table.columns:
                continue
            at = table.columns.index(name)
            lines += [f"{table.title}:" if id == "toxicity" else "Risk, ROC AUC on the dev messages:", ""]
            lines += ["| label | AUC |", "| --- | ---: |"]
            lines += [f"| {label} | {_cell(row[at], table.digits)} |" for label, row in table.rows.items()]
            lines.append("")
        lines.append(
            "By itself, without rules and policy. 95 % intervals; more: [moderation,"
            f" measured]({docs}{NAME}.md)."
        )
        return "\n".join(lines)

    return card


def quoted(text: str, blocks: Mapping[str, Callable[[str], str]], docs: str) -> str:
    """A document with its blocks filled; `KeyError` where one names a block that there is not."""

    def fill(found: re.Match[str]) -> str:
        return f"{found[1]}{blocks[found['name']](docs)}\n{found[3]}"

    return BLOCK.sub(fill, text)


def quoting(root: Path = ROOT) -> dict[Path, str]:
    """Documents that may quote, and the way from each to docs/."""
    found = {root / "README.md": "docs/", root / "docs" / "moderation.md": ""}
    found |= dict.fromkeys(sorted((root / "moderation" / "models").glob("*.md")), "../../docs/")
    return {file: way for file, way in found.items() if file.is_file()}


def write(figures: Figures, folder: Path) -> list[Path]:
    """Write the report, its numbers and its pictures into a folder; returns what was written."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    figures = from_json(figures.to_json())  # rounded once: what is written is what is quoted
    files = {folder / f"{NAME}.md": markdown(figures), folder / f"{NAME}.json": figures.to_json()}
    files |= {folder / "images" / f"moderation-{plot.id}.svg": plots.svg(plot) for plot in figures.plots}
    for file, text in files.items():
        file.write_text(text, encoding="utf-8")
    return list(files)


def quote(figures: Figures, root: Path = ROOT) -> list[Path]:
    """Bring the blocks of all documents up to date; returns those that changed."""
    changed = []
    for file, docs in quoting(root).items():
        text = file.read_text(encoding="utf-8")
        after = quoted(text, quotes(from_json(figures.to_json())), docs)
        if after != text:
            file.write_text(after, encoding="utf-8")
            changed.append(file)
    return changed
