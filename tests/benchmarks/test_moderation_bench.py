"""The bench of moderation: its arithmetic, a small run, and that only what was measured is quoted."""

import gzip
import json
import math
import xml.etree.ElementTree as ET
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from benchmarks.moderation import bench, cascade, plots, report, rivals, stats
from benchmarks.moderation.disguise import DISGUISES, disguised
from benchmarks.moderation.figures import Bar, Figures, Plot, Series, Table, from_json
from benchmarks.moderation.load import BadData, Message, load
from benchmarks.moderation.stats import Estimate
from moderation.build import default_pipeline
from moderation.pipeline import Second
from moderation.transformer import available
from moderation.verdict import Risk, Signal

COMMITTED = report.ROOT / "docs" / f"{report.NAME}.json"


# --- statistics -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [
        (0, 10, 0.0, 0.2775),  # as tabulated, and as R's prop.test(correct = FALSE) gives them
        (8, 10, 0.4902, 0.9433),
        (10, 10, 0.7225, 1.0),
        (15, 100, 0.0931, 0.2328),
    ],
)
def test_wilsons_interval_is_the_known_one(hits, n, low, high):
    found = stats.wilson(hits, n)
    assert found.value == hits / n and found.n == n
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)


def test_a_share_of_nothing_is_no_share():
    assert stats.share([]) is None
    with pytest.raises(ValueError):
        stats.wilson(2, 1)


def test_the_area_is_the_chance_that_a_positive_row_scores_higher():
    """Ranking.auc agrees with counting all pairs, with ties worth half and with weights."""
    random = np.random.default_rng(1)
    scores = random.integers(0, 6, 80) / 5
    positive = random.random(80) < 0.4
    weights = random.integers(1, 5, 80).astype(float)
    won = total = 0.0
    for up, down in product(np.flatnonzero(positive), np.flatnonzero(~positive)):
        weight = weights[up] * weights[down]
        total += weight
        won += weight * (1.0 if scores[up] > scores[down] else 0.5 if scores[up] == scores[down] else 0.0)
    assert stats.Ranking(scores, positive).auc(weights) == pytest.approx(won / total)


def test_an_area_without_both_kinds_is_none():
    assert stats.auc([0.1, 0.2], [True, True]) is None
    assert stats.auc([], []) is None


def test_intervals_hold_their_value_and_are_the_same_each_time():
    scores = np.linspace(0, 1, 60)
    positive = np.arange(60) % 3 == 0
    one, two = (stats.auc(scores, positive, replicates=200) for _ in range(2))
    assert one is not None and one == two
    assert one.low < one.value < one.high


def test_balanced_accuracy_of_one_answer_to_all_is_a_half():
    found = stats.balanced_accuracy([True] * 10, [True] * 7 + [False] * 3)
    assert found is not None and found.value == found.low == found.high == 0.5


def test_a_calibrated_score_has_no_error():
    scores = np.array([0.25] * 4 + [0.75] * 4)
    real = np.array([True, False, False, False, True, True, True, False])
    found = stats.calibration_error(scores, real)
    assert found is not None and found.value == 0
    assert [(one.n, one.score, one.real) for one in stats.reliability(scores, real)] == [
        (4, 0.25, 0.25),
        (4, 0.75, 0.75),
    ]


def test_a_threshold_flags_no_more_than_is_allowed():
    scores = [0.1, 0.2, 0.3, 0.3, 0.9]
    benign = [True, True, True, True, False]
    threshold = stats.at_most(scores, benign, 0.25)
    assert sum(score >= threshold for score, calm in zip(scores, benign, strict=True) if calm) <= 1
    assert stats.at_most(scores, benign, 1.0) == -math.inf


# --- disguises ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", DISGUISES)
def test_a_disguise_changes_a_text_in_the_same_way_each_time(how):
    text = "i'm going to meet somebody at the station"
    assert disguised(text, how, 1) == disguised(text, how, 1) != text
    assert disguised("", how, 1) == ""


# --- figures --------------------------------------------------------------------------------------------


def bar(value: float, low: float, high: float, *, at_most: bool = False) -> Bar:
    measured = Estimate(value, low, high, 10)
    return Bar(id="some", what="some", measured=measured, unit="%", limit=50, at_most=at_most)


def test_a_bar_says_whether_it_is_met_and_how_surely():
    assert bar(60, 55, 65).met and bar(60, 55, 65).sure
    assert bar(60, 45, 75).met and not bar(60, 45, 75).sure
    assert not bar(60, 55, 65, at_most=True).met and bar(60, 55, 65, at_most=True).sure
    assert Bar(id="x", what="x", measured=None, unit="", limit=1).met is None


def plot() -> Plot:
    return Plot(
        id="some",
        title="One < two",
        says="A line & a dot.",
        x="x",
        y="y",
        x_range=(0, 1),
        y_range=(0, 100),
        series=(
            Series("line", ((0.0, 0.0), (0.5, 40.0), (2.0, 100.0))),
            Series("line, here", ((0.5, 40.0),), False),
        ),
    )


def test_figures_survive_json():
    table = Table(
        id="t",
        title="T",
        first="f",
        columns=("a", "b"),
        rows={"r": [Estimate(1, 0, 2, 3), None], "s": [4, "five"]},
    )
    about = {
        "cores": 2,
        "load": [0.5],
        "policy": "1",
        "stages": ["rules"],
        "python": "3",
        "files": [],
        "quick": False,
        "foreign": False,
    }
    figures = Figures(about=about, remarks=["one"], bars=[bar(60, 45, 75)], tables=[table], plots=[plot()])
    again = from_json(figures.to_json())
    assert again == figures
    assert report.markdown(again) == report.markdown(figures)


def test_a_picture_is_one_file_with_words_for_who_does_not_see_it():
    text = plots.svg(plot())
    root = ET.fromstring(text)  # noqa: S314 - our own
    assert root.get("role") == "img" and root.get("aria-labelledby") == "title says"
    names = {element.get("id"): element.text for element in root if element.get("id")}
    assert names == {"title": "One < two", "says": "A line & a dot."}
    assert "prefers-color-scheme: dark" in text and "href" not in text


# --- a run ----------------------------------------------------------------------------------------------

SAID = [
    ("zebra quiz on friday, cant wait", "pupil", [], "none", "plain"),
    ("that exam killed me zebra", "pupil", [], "none", "HN: idiom"),
    ("you could talk to mr zebra about it", "mentor", [], "none", "plain"),
    ("i want to kill myself tonight zebra", "pupil", ["self_harm"], "critical", "DIR"),
    ("zebra im cutting again", "pupil", ["self_harm"], "high", "DIR"),
    ("k1ll y0urself zebra", "pupil", ["harassment"], "high", "OBF: leet"),
    ("nobody would notice zebra", "pupil", ["self_harm"], "concern", "IND"),
    ("my number is 07700 900123 zebra", "pupil", ["personal_data"], "concern", "DIR: mobile"),
    ("give me your snap zebra, dont tell anyone", "mentor", ["boundary"], "high", "DIR"),
]
TALKS = [
    ([("pupil", "zebra hi"), ("mentor", "hey, how was school?"), ("pupil", "boring")], None),
    ([("pupil", "zebra hi"), ("pupil", "i want to kill myself tonight")], 1),
]
JIGSAW = {"toxic": 0, "severe_toxic": 0, "obscene": 0, "threat": 0, "insult": 0, "identity_hate": 0}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder: Path = tmp_path_factory.mktemp("data")
    (folder / "risk").mkdir()
    (folder / "toxicity").mkdir()
    names = ("text", "sender", "labels", "level", "note")
    rows = [dict(zip(names, row, strict=True)) for row in SAID]
    (folder / "risk/messages_dev.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    talks = [
        {
            "id": f"c{at}",
            "turns": [{"sender": sender, "text": text} for sender, text in turns],
            "kind": "benign" if alert is None else "crisis_now",
            "alert_from_turn": alert,
        }
        for at, (turns, alert) in enumerate(TALKS)
    ]
    (folder / "conversations_dev.jsonl").write_text("".join(json.dumps(row) + "\n" for row in talks))
    toxic = [{"text": "you zebra idiot", "labels": {**JIGSAW, "toxic": 1, "insult": 1}}] * 3
    calm = [{"text": "thanks for the zebra article", "labels": JIGSAW}] * 3
    hate = [
        {
            "text": "I hate women, zebra",
            "labels": {"toxic": 1, "identity_hate": 1},
            "func": "derog_neg_emote_h",
        },
        {"text": "I love women, zebra", "labels": {"toxic": 0, "identity_hate": 0}, "func": "ident_pos_nh"},
    ]
    for name, some in (("jigsaw_test_a", [*toxic, *calm]), ("hatecheck", hate)):
        lines = "".join(json.dumps(row) + "\n" for row in some)
        (folder / f"toxicity/{name}.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    return folder


@pytest.mark.timeout(240)  # the whole bench, timings included, on whatever machine this is
def test_a_quick_run_writes_every_figure_and_no_text(data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(stats, "REPLICATES", 20)
    assert bench.main(["--data", str(data), "--out", str(tmp_path), "--quick"]) == 0
    figures = from_json((tmp_path / f"{report.NAME}.json").read_text("utf-8"))
    assert {bar.id for bar in figures.bars} >= set(report.SUMMARY)
    assert (
        figures.bar("critical").met and figures.bar("talks_caught").met and figures.bar("personal_data").met
    )
    wanted = {name for _, names in report.SECTIONS for name in names}
    if not available():
        wanted -= {"cascade", "gate"}
    assert {table.id for table in figures.tables} | {plot.id for plot in figures.plots} >= wanted
    written = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert {file.suffix for file in written} == {".md", ".json", ".svg"}
    for file in written:
        assert "zebra" not in file.read_text("utf-8")
    said = capsys.readouterr()
    assert said.out.startswith("# Moderation, measured") and "zebra" not in said.out + said.err
    assert "mean nothing" in said.out and "Detoxify was not there" in said.out


class Later:
    """A second tier that finds whatever has a 7 in it alarming."""

    name = "transformer"

    async def assess(self, batch):
        return [
            [Signal(label="self_harm", score=0.9, stage=self.name, why=self.name, risk=Risk.HIGH)]
            if "7" in one.text
            else []
            for one in batch
        ]


def test_what_the_gate_loses_is_what_the_second_tier_would_have_found(data):
    """With the gate shut a row that only the second tier sees is lost; with everything read it is found."""
    rows = [
        Message(text, "pupil", frozenset(), "high", frozenset())
        for text in ("seat 7 it is", "seat six it is")
    ]
    rows += [Message("see you on friday", "pupil", frozenset(), "none", frozenset())]
    pipeline = default_pipeline(classifiers=[], deadline_s=60)
    assert cascade.both(pipeline, rows) is None
    pipeline.second = Second(Later(), lambda submission, signals: False)
    read = cascade.both(pipeline, rows)
    assert read is not None
    (table,), (picture,) = cascade.figures(read)
    at = table.columns.index("high found")
    found = {}
    for name, row in table.rows.items():
        cell = row[at]
        assert isinstance(cell, Estimate)
        found[name] = cell.value
    assert (found["as shipped"], found["everything read"], found["nothing read"]) == (0, 50, 0)
    assert "Of 3 messages 1 have another verdict" in table.note
    assert ET.fromstring(plots.svg(picture)) is not None  # noqa: S314 - our own


def test_a_file_that_cannot_be_used_stops_the_run(data, tmp_path, capsys):
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"text": "zebra", "sender": "pupil"}\n')
    with pytest.raises(BadData) as caught:
        load(data, messages=bad)
    assert "zebra" not in str(caught.value)
    assert bench.main(["--data", str(tmp_path / "nowhere")]) == 2
    assert "messages_dev.jsonl" in capsys.readouterr().err


def test_public_sets_that_are_not_there_are_named(data, tmp_path):
    given = load(tmp_path, messages=data / "risk/messages_dev.jsonl")
    assert set(given.missing) == {"conversations_dev.jsonl", "jigsaw_test_a.jsonl.gz", "hatecheck.jsonl.gz"}


def test_a_checkpoint_that_is_none_is_said(tmp_path):
    file = tmp_path / "some.ckpt"
    file.write_bytes(b"no checkpoint")
    assert "could NOT be run" in str(rivals.detoxify(file, model=None, folder=None))


def test_there_are_enough_harmless_messages_of_each_variety(data):
    varieties = load(data).varieties
    assert len(varieties) == 6
    for texts in varieties.values():
        assert len(texts) == len(set(texts)) >= 40


# --- what is committed ----------------------------------------------------------------------------------


def test_what_is_quoted_was_measured():
    """The report, its pictures and each quoted block say what moderation-figures.json says."""
    figures = from_json(COMMITTED.read_text("utf-8"))
    assert not figures.about["quick"] and not figures.about["foreign"]
    docs = COMMITTED.parent
    assert (docs / f"{report.NAME}.md").read_text("utf-8") == report.markdown(figures)
    for one in figures.plots:
        assert (docs / "images" / f"moderation-{one.id}.svg").read_text("utf-8") == plots.svg(one)
    quoting = report.quoting()
    for file, way in quoting.items():
        text = file.read_text("utf-8")
        assert text == report.quoted(text, report.quotes(figures), way), f"{file}: run make bench-moderation"
    assert "<!-- bench: summary -->" in (report.ROOT / "README.md").read_text("utf-8")
    assert "<!-- bench: linear -->" in (report.ROOT / "moderation/models/linear.md").read_text("utf-8")


def test_an_old_quote_is_brought_up_to_date(tmp_path):
    (tmp_path / "README.md").write_text("a\n<!-- bench: summary -->\nstale\n<!-- /bench -->\nb\n")
    figures = Figures(about={"stages": ["rules"], "cores": 2, "load": []}, bars=[bar(60, 45, 75)])
    assert report.quote(figures, tmp_path) == [tmp_path / "README.md"]
    assert report.quote(figures, tmp_path) == []
    text = (tmp_path / "README.md").read_text()
    assert text.startswith("a\n") and text.endswith("\nb\n") and "stale" not in text
