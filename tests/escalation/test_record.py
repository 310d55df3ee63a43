"""The record, pure: the lock, both dates, the list, and what proves a copy."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escalation.record import (
    BadManifest,
    Copy,
    Evidence,
    Hold,
    Line,
    NotThen,
    Record,
    Telling,
    as_csv,
    as_json,
    entries,
    faults,
    happened_at,
    locked,
    manifest,
    receipt_of,
)

NOW = datetime(2026, 7, 1, 9, 30, tzinfo=UTC)


def later(**by):
    return NOW + timedelta(**by)


def record(*lines, **more):
    """Return a record of these lines; summer, so that London is an hour ahead of UTC."""
    given: dict[str, Any] = {
        "case": "alr_1",
        "site": "School",
        "service": "Common Room",
        "timezone": "Europe/London",
        "who": "Grey Heron",
        "about_role": "pupil",
        "risk": "high",
        "labels": ("self_harm",),
        "state": "in_hand",
        "practice": False,
        "opened_at": NOW,
        "closed_at": None,
        "holder": "Ms Okafor",
        "signed": (),
        "readers": ("Ms Okafor",),
        "apart": False,
        "lines": locked(lines),
        "evidence": (),
        "told": (),
        "decisions": (),
        "holds": (),
        "copy": Copy(row=7, by="Ms Okafor", at=NOW),
    }
    return Record(**(given | more))


def test_lines_after_closing_are_marked_and_no_other():
    kinds = ["raised", "note", "closed", "told", "addition"]
    lines = locked(Line(at=NOW, kind=kind) for kind in kinds)
    assert [line.after_closing for line in lines] == [False, False, False, True, True]
    assert [one.kind for one in record(*lines).additions] == ["addition"]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (None, None),
        (later(seconds=-60), None),
        (later(seconds=60), None),  # clocks of page and server differ
        (later(seconds=-61), later(seconds=-61)),
        (later(days=-3000), later(days=-3000)),
    ],
)
def test_only_what_was_earlier_is_backdated(given, kept):
    assert happened_at(given, now=NOW) == kept


@pytest.mark.parametrize("given", [later(seconds=61), later(days=365), later(days=-26 * 365)])
def test_what_cannot_have_been_then_is_refused(given):
    with pytest.raises(NotThen):
        happened_at(given, now=NOW)


def test_the_list_is_by_the_time_of_writing_and_says_both():
    found = entries(
        record(
            Line(at=NOW, kind="raised", message="m1", data={"labels": ["threat"]}),
            Line(at=later(hours=3), kind="note", text="seen", by="Ms Okafor", happened=later(days=-2)),
            evidence=(
                Evidence(
                    message="m1", at=NOW, by="Grey Heron", text="the words", risk="high",
                    labels=("threat",), status=None, policy="1",
                ),
            ),
            told=(
                Telling(
                    at=later(hours=1), rung=0, audience="on_duty", channel="sms", to="Ms B",
                    outcome="failed",
                ),
            ),
            holds=(Hold(at=later(hours=2), by="Ms Okafor", reason="police"),),
        )
    )  # fmt: skip
    assert [e.section for e in found] == ["concern", "told", "hold", "chronology"]
    assert found[0].what == "Concern raised: a threat" and "the words" in found[0].text
    assert found[1].what == "Told by text message: Ms B (reached nobody)"
    assert (found[3].marks, found[3].happened) == (("written later",), later(days=-2))


def test_the_csv_is_on_the_schools_clock():
    [_, row] = csv.DictReader(io.StringIO(as_csv(record(Line(at=NOW, kind="note"))).decode("utf-8-sig")))
    assert (row["date"], row["time"]) == ("2026-07-01", "10:30:00")
    [_, row] = csv.DictReader(
        io.StringIO(as_csv(record(Line(at=NOW, kind="note"), timezone="No/Where")).decode("utf-8-sig"))
    )
    assert row["time"] == "09:30:00"


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@given(texts)
def test_every_text_survives_json_and_csv(text):
    """Whole, whatever it is; and no cell begins as a formula does."""
    found = record(Line(at=NOW, kind="note", text=text))
    assert json.loads(as_json(found))["chronology"][0]["text"] == text
    rows = list(csv.reader(io.StringIO(as_csv(found).decode("utf-8-sig"), newline="")))
    cell = rows[-1][8]
    assert cell in (text, f"'{text}")
    assert not any(each.lstrip()[:1] in set("=+-@") - {""} for row in rows for each in row)


FILES = {"a.pdf": b"one", "a.csv": b"two"}


def proof():
    return receipt_of(manifest(record(), FILES, row=8, hash="ab" * 32))


def test_a_manifest_says_what_left():
    assert (proof().row, proof().hash, proof().case) == (8, "ab" * 32, "alr_1")
    assert faults(proof(), FILES) == []


@pytest.mark.parametrize(
    ("files", "what"),
    [
        ({"a.pdf": b"one", "a.csv": b"tw0"}, ["a.csv: not what was exported"]),
        ({"a.pdf": b"one"}, ["a.csv: missing"]),
        (FILES | {"b.csv": b""}, ["b.csv: not in the manifest"]),
    ],
)
def test_a_changed_copy_shows(files, what):
    assert faults(proof(), files) == what


@pytest.mark.parametrize(
    "raw", [b"", b"{}", b"[]", b'{"format": "other"}', b"\xff", b'{"format":"peerchat-manifest/1"}']
)
def test_what_is_no_manifest_is_refused(raw):
    with pytest.raises(BadManifest):
        receipt_of(raw)
