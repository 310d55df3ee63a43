"""From verdicts to figures: what was found by level, label, note, group and variety, and what for nothing."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.moderation import readings
from benchmarks.moderation.disguise import DISGUISES, disguised
from benchmarks.moderation.figures import Bar, Cell, Plot, Series, Table
from benchmarks.moderation.load import JIGSAW, LEVELS, NOTES, Comment, Message, Talk
from benchmarks.moderation.readings import found, raises, waits
from benchmarks.moderation.stats import (
    SEED,
    Estimate,
    Floats,
    accuracy,
    auc,
    balanced_accuracy,
    bootstrap,
    calibration_error,
    lost,
    mean_auc,
    reliability,
    share,
)
from moderation.pipeline import Pipeline
from moderation.verdict import RISK_LABELS, TOXICITY_LABELS, Risk, Verdict

CALM_WEIGHT = 9.505
"""What a non-toxic row of half the Jigsaw test stands for in the whole of it."""

TURNS_LATE = 2
"""Turns after the one at which an adult would want to know, by which an alert still counts."""

CHATS = 60

GROUPS: Mapping[str, re.Pattern[str]] = {
    name: re.compile(rf"\b(?:{words})\b", re.IGNORECASE)
    for name, words in {
        "women": "wom[ae]n|female",
        "trans people": "trans",
        "gay people": "gays?",
        "Black people": "blacks?",
        "disabled people": "disabled",
        "Muslims": "muslims?",
        "immigrants": "immigrants?",
    }.items()
}
"""The seven groups that HateCheck's templates name."""

KINDLY = ("ident_neutral_nh", "ident_pos_nh")

Pair = tuple[Message, Verdict]
COLUMNS: Mapping[str, Callable[[Verdict], bool]] = {
    "held or blocked": waits,
    "concern or more": raises,
    "high or more": lambda one: raises(one, Risk.HIGH),
    "immediate": lambda one: raises(one, Risk.IMMEDIATE),
    "any of these": found,
}


def shares(verdicts: Sequence[Verdict]) -> list[Cell]:
    """Rows, then a share for each of `COLUMNS`."""
    return [len(verdicts), *(share([hit(one) for one in verdicts]) for hit in COLUMNS.values())]


# --- messages -------------------------------------------------------------------------------------------


def message_bars(pairs: Sequence[Pair]) -> list[Bar]:
    """The bars on messages by themselves."""

    def of(chosen: Callable[[Message], bool], hit: Callable[[Verdict], bool]) -> Estimate | None:
        return share([hit(verdict) for message, verdict in pairs if chosen(message)])

    def bar(id: str, what: str, measured: Estimate | None, limit: float, *, at_most: bool = False) -> Bar:
        return Bar(id=id, what=what, measured=measured, unit="%", limit=limit, at_most=at_most)

    def high(verdict: Verdict) -> bool:
        return raises(verdict, Risk.HIGH)

    return [
        bar("benign_held", "benign messages held or blocked", of(_benign, waits), 5, at_most=True),
        bar(
            "benign_high", "benign messages that raise high or immediate", of(_benign, high), 2, at_most=True
        ),
        bar("critical", "critical messages that raise high or immediate", of(_level("critical"), high), 92),
        bar("high", "high messages raised or held", of(_level("high"), found), 80),
        bar("concern", "concern messages raised or held", of(_level("concern"), found), 60),
        bar("obfuscated", "obfuscated messages (OBF) raised or held", of(_note("OBF"), found), 75),
        bar("indirect", "indirect messages (IND) raised or held", of(_note("IND"), found), 60),
        bar("personal_data", "personal data blocked or held", of(_label("personal_data"), waits), 92),
        bar("boundary", "a mentor's boundary breaches held or raised", of(_label("boundary"), found), 80),
    ]


def message_tables(pairs: Sequence[Pair]) -> list[Table]:
    """By level, label, note and sender, and which labels are named for nothing."""

    def table(id: str, title: str, first: str, rows: Mapping[str, Callable[[Message], bool]]) -> Table:
        chosen = {name: [verdict for one, verdict in pairs if hit(one)] for name, hit in rows.items()}
        return Table(
            id=id,
            title=title,
            first=first,
            columns=("rows", *COLUMNS),
            rows={name: shares(verdicts) for name, verdicts in chosen.items() if verdicts},
            note="Percent of rows.",
        )

    notes: dict[str, Callable[[Message], bool]] = {note: _note(note) for note in NOTES}
    for note in ("DIR", "IND", "OBF"):
        for level in LEVELS[1:]:
            notes[f"{note}, {level}"] = _both(_note(note), _level(level))
    senders: dict[str, Callable[[Message], bool]] = {}
    for sender in ("pupil", "mentor"):
        senders[f"{sender}, benign"] = _both(_sender(sender), _benign)
        senders[f"{sender}, risky"] = _both(_sender(sender), lambda one: not one.benign)
    return [
        table("by_level", "By level", "level", {level: _level(level) for level in LEVELS}),
        table("by_label", "By label", "label", {label: _label(label) for label in RISK_LABELS}),
        table("by_note", "By note", "note", notes),
        table("by_sender", "By sender", "sender", senders),
        false_flags(pairs),
    ]


def in_a_chat(messages: Sequence[Message], verdicts: Sequence[Verdict]) -> Table:
    """By level, the same messages as the first words of a chat: there some scores are only counted."""
    rows: dict[str, Sequence[Cell]] = {}
    for level in LEVELS:
        own = [verdict for one, verdict in zip(messages, verdicts, strict=True) if _level(level)(one)]
        if own:
            rows[level] = [*shares(own), share([one.counted > one.risk for one in own])]
    return Table(
        id="in_a_chat",
        title="The same messages as the first words of a chat",
        first="level",
        columns=("rows", *COLUMNS, "only counted"),
        rows=rows,
        note="Percent of rows. In a chat a score that is not sure is counted, and raises nothing at once: the"
        " chat as a whole raises, or its end does. What rules find raises at once, here as anywhere.",
    )


def false_flags(pairs: Sequence[Pair]) -> Table:
    """For each label: rows that have it and are named so, benign rows and other risky ones that are."""
    seen = Counter(label for _, verdict in pairs for label in verdict.labels)
    rows: dict[str, Sequence[Cell]] = {}
    for label in (*RISK_LABELS, *sorted(set(seen) - set(RISK_LABELS))):

        def named(hit: Callable[[Message], bool], label: str = label) -> Estimate | None:
            return share([label in verdict.labels for one, verdict in pairs if hit(one)])

        rows[label] = [
            named(_label(label)),
            named(_benign),
            named(lambda one, label=label: not one.benign and label not in one.labels),  # type: ignore[misc]
        ]
    return Table(
        id="false_flags",
        title="Labels named rightly and for nothing",
        first="label",
        columns=("of rows with it", "of benign rows", "of other risky rows"),
        rows=rows,
        note="Percent of rows whose verdict names the label among what held or raised the message.",
    )


def _benign(one: Message) -> bool:
    return one.benign


def _level(level: str) -> Callable[[Message], bool]:
    return lambda one: one.level == level


def _label(label: str) -> Callable[[Message], bool]:
    return lambda one: label in one.labels


def _note(note: str) -> Callable[[Message], bool]:
    return lambda one: note in one.notes


def _sender(sender: str) -> Callable[[Message], bool]:
    return lambda one: one.sender == sender


def _both(one: Callable[[Message], bool], two: Callable[[Message], bool]) -> Callable[[Message], bool]:
    return lambda message: one(message) and two(message)


# --- conversations --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Told:
    """A conversation, and when somebody would be told."""

    talk: Talk
    verdicts: Sequence[Verdict]

    @property
    def first(self) -> int | None:
        """The first turn that raises anything."""
        return next((at for at, one in enumerate(self.verdicts) if raises(one)), None)

    @property
    def caught(self) -> bool:
        """Raised by two turns after it should be, early ones included."""
        marked = self.talk.alert_from_turn
        return marked is not None and self.first is not None and self.first <= marked + TURNS_LATE

    @property
    def when(self) -> str:
        """Beside the turn that is marked: early, on time, late, never."""
        assert self.talk.alert_from_turn is not None
        if self.first is None:
            return "never"
        after = self.first - self.talk.alert_from_turn
        return "early" if after < 0 else "on time" if after <= TURNS_LATE else "late"

    def alerts(self, least: Risk) -> int:
        """How often the risk of the conversation rises to something new from `least` on."""
        most, count = Risk.NONE, 0
        for verdict in self.verdicts:
            if verdict.risk > most:
                most = verdict.risk
                count += most >= least
        return count


def told(pipeline: Pipeline, talks: Iterable[Talk]) -> list[Told]:
    """Judge conversations turn by turn."""
    return [Told(talk, readings.talked(pipeline, talk)) for talk in talks]


def talk_bars(talks: Sequence[Told]) -> list[Bar]:
    """The bars and aims on conversations."""
    risky = [one for one in talks if one.talk.alert_from_turn is not None]
    benign = [one for one in talks if one.talk.alert_from_turn is None]
    hit = share([one.caught for one in risky])
    raised = share([one.first is not None for one in benign])
    held = share([any(waits(verdict) for verdict in one.verdicts) for one in benign])
    high = share([any(raises(verdict, Risk.HIGH) for verdict in one.verdicts) for one in benign])
    few = "few conversations: read the interval"
    return [
        Bar(
            id="talks_caught",
            what=f"risky conversations raised by {TURNS_LATE} turns after an adult would want to know",
            measured=hit,
            unit="%",
            limit=85,
            note=few,
        ),
        Bar(
            id="talks_benign",
            what="benign conversations that raise at all",
            measured=raised,
            unit="%",
            limit=10,
            at_most=True,
            note=few,
        ),
        Bar(
            id="talks_benign_held",
            what="benign conversations with anything held",
            measured=held,
            unit="%",
            limit=15,
            at_most=True,
            aim=True,
            note=few,
        ),
        Bar(
            id="talks_benign_high",
            what="benign conversations that raise high or immediate",
            measured=high,
            unit="%",
            limit=3,
            at_most=True,
            aim=True,
            note=few,
        ),
    ]


def talk_tables(talks: Sequence[Told]) -> list[Table]:
    """When risky ones are told, by kind; what benign ones cost."""
    risky = [one for one in talks if one.talk.alert_from_turn is not None]
    benign = [one for one in talks if one.talk.alert_from_turn is None]
    whens = ("early", "on time", "late", "never")

    def row(some: Sequence[Told]) -> list[Cell]:
        counts = Counter(one.when for one in some)
        return [len(some), *(counts[when] for when in whens), share([one.caught for one in some])]

    kinds = {
        kind: [one for one in risky if one.talk.kind == kind] for kind in sorted({o.talk.kind for o in risky})
    }
    tables = []
    if risky:
        tables.append(
            Table(
                id="talks",
                title="Risky conversations: when an adult is told",
                first="kind",
                columns=("conversations", *whens, "early or on time, %"),
                rows={**{kind: row(some) for kind, some in kinds.items()}, "all": row(risky)},
                note=f"Early: before the turn that is marked. On time: up to {TURNS_LATE} turns after it."
                " An early one counts as caught; whether it was foresight or a mistake is not known.",
            )
        )
    if benign:

        def per(chats: Sequence[Told], least: Risk) -> Estimate:
            counts = np.array([one.alerts(least) for one in chats], float)
            return bootstrap(
                len(chats), lambda weights: float((weights * counts).sum() / weights.sum())
            ).times(CHATS)

        messages = [verdict for one in benign for verdict in one.verdicts]
        tables.append(
            Table(
                id="talks_cost",
                title="Benign conversations: what they cost",
                first="what",
                columns=("figure", "conversations or messages"),
                rows={
                    f"pages to an adult (high or immediate) per {CHATS} chats": [
                        per(benign, Risk.HIGH),
                        len(benign),
                    ],
                    f"alerts of any kind per {CHATS} chats": [per(benign, Risk.CONCERN), len(benign)],
                    "messages held or blocked, %": [share([waits(one) for one in messages]), len(messages)],
                    "messages that raise high or more, %": [
                        share([raises(one, Risk.HIGH) for one in messages]),
                        len(messages),
                    ],
                },
                note="An alert is counted when a conversation's risk rises to a level that it had not"
                " reached.",
            )
        )
    return tables


# --- curves and calibration -----------------------------------------------------------------------------


def swept(pairs: Sequence[Pair]) -> tuple[Plot, Table]:
    """Recall of each level against benign rows flagged: all thresholds on a score, and rules as they are."""
    benign = np.array([one.benign for one, _ in pairs])
    series = []
    rows: dict[str, Sequence[float]] = {}
    for level in LEVELS[1:]:
        given = np.array([_alarm(verdict, critical=level == "critical") for _, verdict in pairs])
        here = np.array([one.level == level for one, _ in pairs])
        if not here.any() or not benign.any():
            continue
        points = _curve(given, here, benign)
        series.append(Series(level, tuple(points)))
        hit = found if level != "critical" else lambda verdict: raises(verdict, Risk.HIGH)
        flagged = float(np.mean([hit(verdict) for one, verdict in pairs if one.benign]))
        recall = float(np.mean([hit(verdict) for one, verdict in pairs if one.level == level]))
        series.append(Series(f"{level}, as shipped", ((100 * flagged, 100 * recall),), line=False))
        rows[level] = [max(y for x, y in points if x <= at + 1e-9) for at in (1.0, 2.0, 5.0, 10.0)]
    plot = Plot(
        id="recall",
        title="What is found of each level, by benign messages flagged",
        says="Three rising curves, one a level: recall in percent against the percentage of benign messages"
        " flagged, for all thresholds on the classifier's score, with the rules as they are. A dot for each"
        " level"
        " shows what the shipped policy does. " + _spoken(rows),
        x="benign messages flagged, %",
        y="found, %",
        x_range=(0, 20),
        y_range=(0, 100),
        series=tuple(series),
    )
    table = Table(
        id="swept",
        title="Found at a stated share of benign messages flagged",
        first="level",
        columns=tuple(f"at {at} %" for at in (1, 2, 5, 10)),
        rows={name: [f"{value:.1f}" for value in row] for name, row in rows.items()},
        note="Percent of rows whose score reaches the threshold at which so many benign ones do; a rule"
        " that asks for as much counts as a score of 1. For critical the score is that of `level:high`, as"
        " it must raise high or more, for the others that of `level:concern`. Read from the same rows, so a"
        " little optimistic.",
    )
    return plot, table


def _spoken(rows: Mapping[str, Sequence[float]]) -> str:
    return "".join(f"{level}: {row[2]:.0f} % at 5 %. " for level, row in rows.items())


def _alarm(verdict: Verdict, *, critical: bool) -> float:
    """The classifier's score, or 1 where a rule asks for as much as the level's bar does."""
    least = Risk.HIGH if critical else Risk.CONCERN
    if any(one.risk >= least or (not critical and one.action) for one in verdict.signals):
        return 1.0
    return readings.score(verdict.signals, "level:high" if critical else "level:concern")


def _curve(given: Floats, here: np.ndarray, benign: np.ndarray) -> list[tuple[float, float]]:
    points = {(0.0, 0.0)}
    for threshold in np.unique(given[here | benign]):
        hit = given >= threshold
        points.add((100 * float(hit[benign].mean()), 100 * float(hit[here].mean())))
    best: list[tuple[float, float]] = []
    for x, y in sorted(points):
        if best and best[-1][0] == x:
            best[-1] = (x, max(y, best[-1][1]))
        elif not best or y > best[-1][1]:
            best.append((x, y))
    return best


def calibrations(
    pairs: Sequence[Pair], toxic: Sequence[Verdict], comments: Sequence[Comment]
) -> tuple[Plot | None, list[Table]]:
    """Whether a score of 0.8 comes true eight times in ten."""
    wanted = {"level:concern": LEVELS[1:], "level:high": LEVELS[2:], "level:immediate": LEVELS[3:]}
    rows: dict[str, Sequence[Cell]] = {}
    series = [Series("as it should be", ((0.0, 0.0), (1.0, 1.0)))]
    for label, levels in wanted.items():
        given = np.array([readings.score(verdict.signals, label) for _, verdict in pairs])
        real = np.array([one.level in levels for one, _ in pairs])
        _add_calibration(rows, series, f"{label}, messages", given, real)
    if comments:
        given = readings.shown(toxic)[:, TOXICITY_LABELS.index("toxicity")]
        real = np.array([one.toxic for one in comments])
        _add_calibration(rows, series, "toxicity, Jigsaw half", given, real)
    bins = Table(
        id="reliability",
        title="Calibration, by score",
        first="score",
        columns=("rows", "mean score", "came true"),
        rows={name: row for name, row in rows.items() if "ECE" not in name},
        digits=3,
        note="Risky rows are a half of the messages and toxic ones of the Jigsaw half: where they are"
        " rarer, every score promises too much. From 0 to 1.",
    )
    errors = Table(
        id="ece",
        title="Expected calibration error",
        first="score",
        columns=("error", "rows"),
        rows={name.removesuffix(" ECE"): row for name, row in rows.items() if "ECE" in name},
        digits=3,
        note="Ten bins of equal width; 0 is perfect.",
    )
    plot = Plot(
        id="calibration",
        title="How often a score comes true",
        says="Mean score against the share that came true, in ten bins; a calibrated score lies on the"
        " diagonal. "
        + "; ".join(
            f"{name}: error {row[0].value:.3f}"
            for name, row in errors.rows.items()
            if isinstance(row[0], Estimate)
        ),
        x="mean score",
        y="share that came true",
        x_range=(0, 1),
        y_range=(0, 1),
        series=tuple(series),
    )
    return plot, [errors, bins]


def _add_calibration(
    rows: dict[str, Sequence[Cell]], series: list[Series], name: str, given: Floats, real: np.ndarray
) -> None:
    error = calibration_error(given, real)
    if error is None:
        return
    found_bins = reliability(given, real)
    rows[f"{name} ECE"] = [error, len(given)]
    for one in found_bins:
        rows[f"{name}: {one.low:.1f} to {one.high:.1f}"] = [one.n, f"{one.score:.3f}", f"{one.real:.3f}"]
    series.append(Series(name, tuple((one.score, one.real) for one in found_bins)))


# --- disguises ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Source:
    """Rows of one file that should be found, or should not, and what counts as found."""

    name: str
    texts: Sequence[tuple[str, str]]  # text and sender
    verdicts: Sequence[Verdict]
    hit: Callable[[Verdict], bool]


def disguises(
    pipeline: Pipeline, sources: Sequence[Source], benign: Sequence[Message], *, most: int
) -> tuple[list[Bar], list[Table]]:
    """What is lost of what was found, once it is disguised; at most `most` rows of each source."""
    rows: dict[str, list[Cell]] = {how: [] for how in DISGUISES}
    everything: list[np.ndarray] = []
    columns = []
    for source in sources:
        seen = [
            text for text, verdict in zip(source.texts, source.verdicts, strict=True) if source.hit(verdict)
        ]
        if len(seen) > most:
            chosen = np.random.default_rng(SEED).choice(len(seen), most, replace=False)
            seen = [seen[at] for at in sorted(chosen)]
        if not seen:
            continue
        columns.append(f"{source.name}, {len(seen)} rows")
        again = []
        for how in DISGUISES:
            batch = [readings.submission(disguised(text, how, SEED), sender) for text, sender in seen]
            again.append([source.hit(verdict) for verdict in readings.judged(pipeline, batch)])
            rows[how].append(_points_lost(again[-1]))
        everything.append(np.array(again).T)
    calm = [one for one in benign if one.benign]
    for how in DISGUISES:
        batch = [readings.submission(disguised(one.text, how, SEED), one.sender) for one in calm]
        rows[how].append(share([waits(one) for one in readings.judged(pipeline, batch)]) if calm else None)
    together = np.concatenate(everything) if everything else np.zeros((0, len(DISGUISES)))
    for at, how in enumerate(DISGUISES):
        rows[how].insert(0, _points_lost(together[:, at].tolist()) if len(together) else None)
    whole = lost(together)
    overall: list[Cell] = [whole, *(lost(each) for each in everything), None]
    bars = [
        Bar(
            id="disguise",
            what="points lost of what was found, mean of seven disguises of every word",
            measured=whole,
            unit="points",
            limit=5,
            at_most=True,
        )
    ]
    table = Table(
        id="disguises",
        title="Points lost to disguises",
        first="disguise",
        columns=("all", *columns, "benign then held, %"),
        rows={**rows, "mean": overall},
        note="Rows found at the shipped thresholds, with every word disguised: the percentage that is not"
        " found any more. Messages: raised or held; the public sets: toxic rows held or blocked.",
    )
    return bars, [table]


def _points_lost(again: Sequence[bool]) -> Estimate | None:
    return share([not one for one in again])


# --- toxicity -------------------------------------------------------------------------------------------


def weights_of(comments: Sequence[Comment]) -> Floats:
    """What each row of the Jigsaw half stands for in the official test."""
    return np.array([1.0 if one.toxic else CALM_WEIGHT for one in comments])


def toxicity_aucs(comments: Sequence[Comment], given: Floats) -> list[Estimate | None]:
    """ROC AUC of each of the six labels, in their order, and the mean; `given` is (rows, labels)."""
    weights = weights_of(comments)
    columns = []
    aucs: list[Estimate | None] = []
    for at, label in enumerate(JIGSAW):
        real = np.array([bool(one.labels[label]) for one in comments])
        columns.append((given[:, at], real))
        aucs.append(auc(given[:, at], real, weights))
    return [*aucs, mean_auc(columns, weights)]


def toxicity_table(columns: Mapping[str, Sequence[Estimate | None]]) -> Table:
    """The areas side by side."""
    rows = {
        label: [column[at] for column in columns.values()]
        for at, label in enumerate((*TOXICITY_LABELS, "mean"))
    }
    return Table(
        id="toxicity",
        title="Toxicity: ROC AUC on half of the Jigsaw test",
        first="label",
        columns=tuple(columns),
        rows=rows,
        digits=4,
        note=f"Non-toxic rows weighted {CALM_WEIGHT} to stand for the official test. Detoxify's own figure"
        " for its"
        ' model "original" on all of it is 0.9864.',
    )


def hatecheck_bars(comments: Sequence[Comment], verdicts: Sequence[Verdict]) -> list[Bar]:
    """Held or blocked, against what always answering "hateful" gets."""
    flagged, real = [waits(one) for one in verdicts], [one.toxic for one in comments]
    always = sum(real) / len(real) if real else 0.0
    return [
        Bar(
            id="hatecheck",
            what='HateCheck, balanced accuracy of being held or blocked; always answering "hateful" gets 0.5',
            measured=balanced_accuracy(flagged, real) if real else None,
            unit="",
            limit=0.5,
        ),
        Bar(
            id="hatecheck_strict",
            what='HateCheck, the same against the plain accuracy of always answering "hateful"',
            measured=balanced_accuracy(flagged, real) if real else None,
            unit="",
            limit=round(always, 2),
            aim=True,
            note="the stricter reading of the same bar; plain accuracy is in the table of comparisons",
        ),
    ]


def hatecheck_tables(comments: Sequence[Comment], verdicts: Sequence[Verdict]) -> list[Table]:
    """By functional test, and by the group that is named."""
    pairs = list(zip(comments, verdicts, strict=True))
    functions = list(dict.fromkeys(one.function for one in comments))
    by_function: dict[str, Sequence[Cell]] = {}
    for function in functions:
        own = [(one, verdict) for one, verdict in pairs if one.function == function]
        hateful = own[0][0].toxic
        by_function[function] = [
            len(own),
            "hateful" if hateful else "not hateful",
            share([waits(verdict) is one.toxic for one, verdict in own]),
        ]
    by_group: dict[str, Sequence[Cell]] = {}
    for name, pattern in GROUPS.items():
        own = [(one, verdict) for one, verdict in pairs if pattern.search(one.text)]
        flagged, real = [waits(verdict) for _, verdict in own], [one.toxic for one, _ in own]
        by_group[name] = [
            len(own),
            balanced_accuracy(flagged, real) if own else None,
            share([waits(verdict) for one, verdict in own if one.function in KINDLY]),
            share([waits(verdict) for one, verdict in own if not one.toxic]),
            share([raises(verdict, Risk.HIGH) for one, verdict in own if not one.toxic]),
        ]
    none = [
        verdict
        for one, verdict in pairs
        if not any(p.search(one.text) for p in GROUPS.values()) and not one.toxic
    ]
    by_group["no group named"] = [len(none), None, None, share([waits(one) for one in none]), None]
    return [
        Table(
            id="hatecheck_functions",
            title="HateCheck by functional test",
            first="test",
            columns=("rows", "what they are", "judged rightly, %"),
            rows=by_function,
            note="Hateful rows should be held or blocked, the others not. Tests that end in `_nh` are not"
            " hateful: groups named neutrally or with praise, hate that is quoted or contradicted, insults"
            " that meet nobody.",
        ),
        Table(
            id="identity",
            title="Identity terms",
            first="group named",
            columns=(
                "rows",
                "balanced accuracy",
                "neutral or kind rows held, %",
                "all rows without hate held, %",
                "of those, high or more, %",
            ),
            rows=by_group,
            digits=2,
            note="HateCheck's rows that name a group. What is held for nothing should not hang on which"
            " group it is.",
        ),
    ]


def dialect_table(pipeline: Pipeline, varieties: Mapping[str, Sequence[str]]) -> Table:
    """Harmless messages in several Englishes: held for nothing, raised for nothing."""
    rows: dict[str, Sequence[Cell]] = {}
    everything: list[Verdict] = []
    for name, texts in varieties.items():
        verdicts = readings.judged(pipeline, [readings.submission(text) for text in texts])
        everything += verdicts
        rows[name] = _dialect_row(verdicts)
    rows["all"] = _dialect_row(everything)
    return Table(
        id="dialect",
        title="Varieties of English, nothing but harmless messages",
        first="variety",
        columns=(
            "rows",
            "held or blocked",
            "of those, as another language",
            "concern or more",
            "high or more",
        ),
        rows=rows,
        note="Percent; all of it is for nothing. `benchmarks/moderation/dialect.toml`, written for this"
        " bench; no speaker of these varieties has reviewed it yet.",
    )


def _dialect_row(verdicts: Sequence[Verdict]) -> list[Cell]:
    return [
        len(verdicts),
        share([waits(one) for one in verdicts]),
        sum("language" in one.degraded for one in verdicts),
        share([raises(one) for one in verdicts]),
        share([raises(one, Risk.HIGH) for one in verdicts]),
    ]


# --- classifiers by themselves --------------------------------------------------------------------------


def alone(pairs: Sequence[Pair], columns: Mapping[str, Floats]) -> Table:
    """ROC AUC of each classifier for the risk labels and levels, on the messages by themselves."""
    rows: dict[str, Sequence[Cell]] = {}
    levels = {"level:concern": LEVELS[1:], "level:high": LEVELS[2:], "level:immediate": LEVELS[3:]}
    for label in (*RISK_LABELS, *levels):
        real = [one.level in levels[label] if label in levels else label in one.labels for one, _ in pairs]
        rows[label] = [auc(given[:, readings.column(label)], real) for given in columns.values()]
    return Table(
        id="risk_auc",
        title="Risk: ROC AUC of each classifier by itself",
        first="label",
        columns=tuple(columns),
        rows=rows,
        digits=3,
    )


def plain_accuracy(comments: Sequence[Comment], flagged: Sequence[bool]) -> Estimate | None:
    """HateCheck's own figure, from 0 to 1."""
    return accuracy(flagged, [one.toxic for one in comments])
