"""Measure everything about the shipped moderation in one run; docs/moderation-figures.md has the last one.

DATA holds risk/messages_dev.jsonl, and as far as they are there conversations_dev.jsonl,
toxicity/jigsaw_test_a.jsonl.gz and toxicity/hatecheck.jsonl.gz. Without --out, and on those files, the report
in docs/ is rewritten, and what README and model cards quote of it.
"""

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.moderation import cascade, cost, measure, readings, report, rivals
from benchmarks.moderation.figures import Bar, Figures
from benchmarks.moderation.load import BadData, Data, load
from benchmarks.moderation.stats import Estimate, Floats
from moderation.pipeline import Pipeline, Stage
from moderation.trajectory import State
from moderation.verdict import TOXICITY_LABELS, Verdict
from web.commands import judge

CLASSIFIERS = ("linear", "transformer", "detoxify")
MOST_DISGUISED = 400
"""Rows of each source that are disguised, in seven ways each."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; 2 where a file cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.moderation", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="the data folder")
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="write the report there, and quote nothing"
    )
    parser.add_argument("--messages", type=Path, metavar="FILE", help="in place of messages_dev.jsonl")
    parser.add_argument(
        "--conversations", type=Path, metavar="FILE", help="in place of conversations_dev.jsonl"
    )
    parser.add_argument(
        "--detoxify", type=Path, metavar="FILE", help="a checkpoint, or an export's detoxify.toml"
    )
    parser.add_argument("--detoxify-model", metavar="NAME", help="which published one; otherwise by its hash")
    parser.add_argument(
        "--detoxify-folder", type=Path, metavar="FOLDER", help="config and tokenizer, if elsewhere"
    )
    parser.add_argument("--quick", action="store_true", help="few repeats and rows: to see that it works")
    args = parser.parse_args(arguments)
    try:
        data = load(args.data, messages=args.messages, conversations=args.conversations)
    except BadData as error:
        print(f"bench-moderation: {error}", file=sys.stderr)
        return 2
    others = [
        rivals.alt_profanity_check(),
        rivals.detoxify(args.detoxify, model=args.detoxify_model, folder=args.detoxify_folder),
    ]
    figures = run(data, others, quick=args.quick, foreign=bool(args.messages or args.conversations))
    elsewhere = args.out or (
        Path("bench-moderation") if args.quick or args.messages or args.conversations else None
    )
    written = report.write(figures, elsewhere or report.ROOT / "docs")
    if elsewhere is None:
        written += report.quote(figures)
    print(report.markdown(figures))
    for file in written:
        print(f"written: {file}", file=sys.stderr)
    return 0


def run(data: Data, others: Sequence[rivals.Rival | str], *, quick: bool, foreign: bool = False) -> Figures:
    """Everything, in some minutes; `others` are classifiers to compare with, or why they are not there.

    `foreign`: messages or conversations are not the project's dev files.
    """
    began = time.monotonic()

    def say(what: str) -> None:
        print(f"[{time.monotonic() - began:4.0f} s] {what}", file=sys.stderr, flush=True)

    pipeline, timed = judge.patient(), cost.shipped()
    stages = pipeline.stages
    figures = Figures(
        about={
            "policy": pipeline.policy_version,
            "stages": [stage.name for stage in stages],
            "python": platform.python_version(),
            "cores": os.cpu_count(),
            "load": [round(each, 1) for each in os.getloadavg()] if hasattr(os, "getloadavg") else [],
            "files": [asdict(file) for file in data.files],
            "quick": quick,
            "foreign": foreign,
        }
    )
    figures.remarks += [f"{name} was NOT there: what it measures is left out." for name in data.missing]
    figures.remarks += [other for other in others if isinstance(other, str)]
    if quick:
        figures.remarks.append("A quick run, to see that it works: its figures mean nothing.")

    say("messages")
    verdicts = readings.judged(pipeline, readings.of(data.messages))
    pairs = list(zip(data.messages, verdicts, strict=True))
    figures.bars += measure.message_bars(pairs)
    figures.tables += measure.message_tables(pairs)
    begun = [replace(one, so_far=State()) for one in readings.of(data.messages)]
    figures.tables.append(measure.in_a_chat(data.messages, readings.judged(pipeline, begun)))
    plot, table = measure.swept(pairs)
    figures.plots.append(plot)
    figures.tables.append(table)

    say("conversations")
    talks = measure.told(pipeline, data.talks)
    figures.bars += measure.talk_bars(talks)
    figures.tables += measure.talk_tables(talks)

    say("toxicity")
    jigsaw = readings.judged(pipeline, [readings.submission(one.text) for one in data.jigsaw])
    hatecheck = readings.judged(pipeline, [readings.submission(one.text) for one in data.hatecheck])
    _compare(figures, data, pipeline, pairs, jigsaw, hatecheck, stages, others, say)
    picture, tables = measure.calibrations(pairs, jigsaw, data.jigsaw)
    if picture is not None:
        figures.plots.append(picture)
    figures.tables += tables

    say("varieties of English")
    figures.tables.append(measure.dialect_table(pipeline, data.varieties))

    say("disguises")
    bars, tables = measure.disguises(
        pipeline,
        _sources(data, pairs, jigsaw, hatecheck),
        data.messages,
        most=20 if quick else MOST_DISGUISED,
    )
    figures.bars += bars
    figures.tables += tables

    say("the cascade")
    rows = cascade.both(pipeline, data.messages)
    if rows is None:
        figures.remarks.append(cascade.ABSENT)
    else:
        tables, drawn = cascade.figures(rows)
        figures.tables += tables
        figures.plots += drawn

    say("cost")
    bars, tables = cost.measure(timed, data.messages, quick=quick)
    figures.bars += bars
    figures.tables += tables
    say("done")
    return figures


def _sources(
    data: Data,
    pairs: Sequence[measure.Pair],
    jigsaw: Sequence[Verdict],
    hatecheck: Sequence[Verdict],
) -> list[measure.Source]:
    risky = [(one, verdict) for one, verdict in pairs if not one.benign]
    hate = [(one, verdict) for one, verdict in zip(data.hatecheck, hatecheck, strict=True) if one.toxic]
    toxic = [(one, verdict) for one, verdict in zip(data.jigsaw, jigsaw, strict=True) if one.toxic]
    short = [(one, verdict) for one, verdict in toxic if len(one.text) <= 500]
    return [
        measure.Source(
            "messages",
            [(one.text, one.sender) for one, _ in risky],
            [verdict for _, verdict in risky],
            readings.found,
        ),
        measure.Source(
            "HateCheck",
            [(one.text, "pupil") for one, _ in hate],
            [verdict for _, verdict in hate],
            readings.waits,
        ),
        measure.Source(
            "Jigsaw",
            [(one.text, "pupil") for one, _ in short],
            [verdict for _, verdict in short],
            readings.waits,
        ),
    ]


def _compare(
    figures: Figures,
    data: Data,
    pipeline: Pipeline,
    pairs: Sequence[measure.Pair],
    jigsaw: Sequence[Verdict],
    hatecheck: Sequence[Verdict],
    stages: Sequence[Stage],
    others: Sequence[rivals.Rival | str],
    say: Callable[[str], None],
) -> None:
    """Jigsaw, HateCheck and the levels: peerchat, its classifiers by themselves, and others."""
    own = {stage.name: stage for stage in stages if stage.name in CLASSIFIERS}
    toxicity_from = readings.column(f"toxicity:{TOXICITY_LABELS[0]}")
    six: dict[str, Floats] = {}
    risk: dict[str, Floats] = {}
    lines: dict[str, rivals.Compared] = {}
    if data.jigsaw:
        six["peerchat"] = readings.shown(jigsaw)
    flagged = [readings.found(verdict) for _, verdict in pairs]
    batch = readings.of(data.messages)
    _, cost_us = rivals.timed(partial(readings.judged, pipeline, batch), len(batch))
    lines["peerchat"] = rivals.Compared(
        readings.shown(jigsaw)[:, 0],
        readings.shown(hatecheck)[:, 0],
        [readings.waits(verdict) for verdict in hatecheck],
        np.zeros(0),
        cost_us,
        flagged,
    )
    for name, stage in own.items():
        say(f"{name} by itself")
        toxic, hate = (
            readings.scores(readings.once(stage, [readings.submission(one.text) for one in rows], verdicts))
            for rows, verdicts in ((data.jigsaw, jigsaw), (data.hatecheck, hatecheck))
        )
        said, cost_us = rivals.timed(partial(readings.read_by, stage, batch), len(batch))
        risk[name] = readings.scores(said)
        if data.jigsaw:
            six[name] = toxic[:, toxicity_from:]
        lines[name] = rivals.Compared(
            toxic[:, toxicity_from],
            hate[:, toxicity_from],
            (hate[:, toxicity_from] >= 0.5).tolist(),
            risk[name][:, readings.column("level:concern")],
            cost_us,
        )
    for other in others:
        if isinstance(other, str):
            continue
        say(other.name)
        lines[other.name], labels = rivals.of_rival(other, data.jigsaw, data.hatecheck, data.messages)
        if labels is not None and data.jigsaw:
            six[other.name] = labels
    columns = {name: measure.toxicity_aucs(data.jigsaw, given) for name, given in six.items()}
    mean: Estimate | None = columns["peerchat"][-1] if columns else None
    figures.bars.append(
        Bar(
            id="toxicity",
            what="toxicity, mean ROC AUC of six labels on half of the Jigsaw test",
            measured=mean,
            unit="",
            limit=0.978,
            note="Detoxify's own: 0.986",
        )
    )
    if columns:
        figures.tables.append(measure.toxicity_table(columns))
    if data.hatecheck:
        figures.bars += measure.hatecheck_bars(data.hatecheck, hatecheck)
        figures.tables += measure.hatecheck_tables(data.hatecheck, hatecheck)
    if risk:
        figures.tables.append(measure.alone(pairs, risk))
    calm = [hit for hit, (one, _) in zip(flagged, pairs, strict=True) if one.benign]
    rate = sum(calm) / len(calm) if calm else 0.0
    figures.tables.append(rivals.table(lines, data.jigsaw, data.hatecheck, data.messages, rate))
