"""What a message costs on one core: wall and processor time, each repeat with nothing kept from the last."""

import asyncio
import os
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.moderation import readings
from benchmarks.moderation.figures import Bar, Cell, Table
from benchmarks.moderation.load import Message
from benchmarks.moderation.stats import SEED, Estimate, median
from moderation.build import default_pipeline
from moderation.pipeline import Pipeline, Stage
from moderation.text import fold, forget
from moderation.verdict import Submission

LONG = 2_000
TIER = ("rules", "contact", "linear")
DEADLINE_S = 120.0


@dataclass(frozen=True, slots=True)
class Taken:
    """Repeats of one piece of work, seconds: on the clock, and of the processor in all threads."""

    wall: Sequence[float]
    cpu: Sequence[float]

    def row(self, factor: float, n: int) -> list[Cell]:
        """Medians of the processor's and the clock's time, then the least of both, for each of `n`."""
        unit = factor / n
        return [
            median(self.cpu).times(unit),
            median(self.wall).times(unit),
            f"{min(self.cpu) * unit:.3g}",
            f"{min(self.wall) * unit:.3g}",
        ]

    def cost(self, factor: float, n: int) -> Estimate:
        """The median of the processor's time: what the clock says too, on a core that nobody else uses."""
        return median(self.cpu).times(factor / n)


@contextmanager
def one_core() -> Iterator[bool]:
    """Keep this thread, and those it starts, on one core; False where the system cannot."""
    if not hasattr(os, "sched_setaffinity"):
        yield False
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(allowed)})
    try:
        yield True
    finally:
        os.sched_setaffinity(0, allowed)


async def take(work: Callable[[], Awaitable[object]], times: int) -> Taken:
    """Time a piece of work; once before, unmeasured."""
    forget()
    await work()
    wall, cpu = [], []
    for _ in range(times):
        forget()
        began, used = time.perf_counter(), time.process_time()
        await work()
        wall.append(time.perf_counter() - began)
        cpu.append(time.process_time() - used)
    return Taken(wall, cpu)


def hostile(texts: Sequence[str]) -> dict[str, str]:
    """Texts of 2,000 characters that are long for no good."""
    chance = random.Random(SEED)
    prose = " ".join(chance.sample(list(texts), len(texts))) if texts else "hello there "
    return {
        "ordinary messages, one after the other": prose,
        "one letter": "a",
        "one letter, spaced": "a ",
        "a word, spaced out": "k i l l   m y s e l f   ",
        "a word, dotted": "k.i.l.l. m.y.s.e.l.f. ",
        "a word, stretched": "kiiiiiiiiill myyyyyyself ",
        "leet": "1 w4n7 70 d13 ",
        "Cyrillic look-alikes": "і wаnt tо dіе ",
        "full width": "ｉ ｗａｎｔ ｔｏ ｄｉｅ ",
        "invisible marks": "d\u200bi\u200be\u200b ",
        "marks over marks": "e" + "\u0301\u0302\u0303" * 6,
        "expanding ligature": "\ufdfa",
        "digits": "07700 900 12",
        "digits in words": "oh seven seven oh oh nine ",
        "at signs and dots": "a.b@c.d ",
        "links": "http://a.b/c?d=e&f=g ",
        "emoji": "😀🔪💊7️⃣",
        "brackets and stars": "((**__[[",
        "quotation marks": "\"'\"' ",
        "near misses of a rule": "i want to i want to kill i want to be ",
        "almost suicide": "suicde sucide suiicde s*icide ",
        "noise": "".join(chr(chance.randrange(0x21, 0x2FFF)) for _ in range(LONG)),
        "random letters": "".join(chance.choice("abcdefghijklmnopqrstuvwxyz ") for _ in range(LONG)),
    }


def shipped() -> Pipeline:
    """The pipeline that a server has, but for its deadline."""
    return default_pipeline(deadline_s=DEADLINE_S)


def measure(pipeline: Pipeline, messages: Sequence[Message], *, quick: bool) -> tuple[list[Bar], list[Table]]:
    """Everything about time. The pipeline has judged nothing yet, so that its threads start on one core."""
    with one_core() as kept:
        return asyncio.run(_measure(pipeline, messages, 2 if quick else 20, quick, kept))


async def _measure(
    pipeline: Pipeline, messages: Sequence[Message], times: int, quick: bool, kept: bool
) -> tuple[list[Bar], list[Table]]:
    batch = [one for one in readings.of(messages) if len(one.text) <= 200]
    batches = [batch[at : at + readings.BATCH] for at in range(0, len(batch), readings.BATCH)]

    def through(
        *stages: Stage, of: Sequence[Sequence[Submission]] = batches
    ) -> Callable[[], Awaitable[None]]:
        """Each batch through these stages, as the pipeline asks them, without policy."""

        async def work() -> None:
            for some in of:
                forget()  # rows that are repeated are read anew
                for stage in stages:
                    await stage.assess(some)

        return work

    async def folded() -> None:
        for one in batch:
            fold(one.text)

    works: dict[str, Callable[[], Awaitable[None]]] = {"folding": folded}
    works |= {f"{stage.name}, with folding": through(stage) for stage in pipeline.first}
    works[" + ".join(TIER)] = through(*(stage for stage in pipeline.first if stage.name in TIER))
    if len(pipeline.first) > len(TIER):
        works["the whole first tier"] = through(*pipeline.first)
    taken = {name: await take(work, times) for name, work in works.items()}
    mix = readings.mixed(messages, seed=SEED)
    short = [one for one in mix.submissions if len(one.text) <= 200]
    calm = through(
        *(stage for stage in pipeline.first if stage.name in TIER),
        of=[short[at : at + readings.BATCH] for at in range(0, len(short), readings.BATCH)],
    )
    mostly_benign = await take(calm, 1 if quick else 5)
    benign_us = mostly_benign.cost(1e6, len(short)).value
    whole = await take(lambda: _in_batches(pipeline, mix.submissions), 1 if quick else 4)
    tier = taken[" + ".join(TIER)].cost(1e6, len(batch))
    a_second = whole.cost(1.0, len(mix.submissions))
    rate = Estimate(1 / a_second.value, 1 / a_second.high, 1 / a_second.low, a_second.n)
    long, worst = await _long(pipeline, [one.text for one in messages if one.benign], 1 if quick else 9)
    single = await _single(pipeline, batch[: 8 if quick else len(batch)])
    columns = ("processor, median", "clock, median", "processor, least", "clock, least")
    pinned = (
        "Kept on one core"
        if kept
        else "This system cannot keep a process on one core: several may have been used"
    )
    bars = [
        Bar(
            id="first_tier",
            what="rules, contact details and linear, a short message in batches of 64",
            measured=tier,
            unit="µs",
            limit=60,
            at_most=True,
            note=f"the messages as they are; {benign_us:.0f} with nine in ten benign",
        ),
        Bar(
            id="cascade",
            what="the whole cascade, messages_dev with benign rows repeated to 90 %",
            measured=rate,
            unit="a second",
            limit=1_000,
        ),
        Bar(
            id="long",
            what=f"the slowest kind of message of {LONG:,} characters",
            measured=worst,
            unit="ms",
            limit=10,
            at_most=True,
        ),
    ]
    note = (
        f"{pinned}, other work on the machine not counted: the bars are about the processor's time. Median"
        " of repeats, with its interval; no folded text is kept from one repeat to the next."
    )
    tables = [
        Table(
            id="cost",
            title="Time for a short message, µs",
            first="what",
            columns=columns,
            rows={
                **{name: one.row(1e6, len(batch)) for name, one in taken.items()},
                " + ".join(TIER) + ", nine in ten benign": mostly_benign.row(1e6, len(short)),
                "whole pipeline with policy, nine in ten benign": whole.row(1e6, len(mix.submissions)),
            },
            note=f"{len(batch)} messages of up to 200 characters in batches of 64. {note}",
        ),
        Table(
            id="single",
            title="A message by itself through the whole pipeline, ms",
            first="what",
            columns=("p50", "p95", "p99", "most"),
            rows={"clock": single},
            note=f"{len(batch)} messages one after the other, event loop and threads included.",
        ),
        Table(
            id="long",
            title=f"A message of {LONG:,} characters through the whole pipeline, ms",
            first="text",
            columns=columns,
            rows=long,
        ),
    ]
    return bars, tables


async def _in_batches(pipeline: Pipeline, submissions: Sequence[Submission]) -> None:
    for first in range(0, len(submissions), readings.BATCH):
        forget()  # the same benign rows come again and again here, which in a school they do not
        await pipeline.judge(submissions[first : first + readings.BATCH])


async def _long(
    pipeline: Pipeline, texts: Sequence[str], times: int
) -> tuple[dict[str, Sequence[Cell]], Estimate | None]:
    rows: dict[str, Sequence[Cell]] = {}
    worst: Estimate | None = None
    for name, text in hostile(texts).items():
        whole = (text * (LONG // len(text) + 1))[:LONG].strip() or text
        one = readings.submission(whole)
        taken = await take(lambda one=one: pipeline.judge_one(one), times)  # type: ignore[misc]
        rows[name] = taken.row(1e3, 1)
        cost = taken.cost(1e3, 1)
        if worst is None or cost.value > worst.value:
            worst = cost
    return rows, worst


async def _single(pipeline: Pipeline, batch: Sequence[Submission]) -> list[Cell]:
    taken = []
    for one in batch:
        forget()
        began = time.perf_counter()
        await pipeline.judge_one(one)
        taken.append((time.perf_counter() - began) * 1e3)
    if len(taken) < 2:
        return [f"{value:.2f}" for value in taken * 4]
    parts = statistics.quantiles(taken, n=100, method="inclusive")
    return [f"{value:.2f}" for value in (parts[49], parts[94], parts[98], max(taken))]
