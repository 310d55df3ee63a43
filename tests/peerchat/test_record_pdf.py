"""The PDF is made whatever people wrote, and logs none of it."""

import io
import logging

import pypdf
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from escalation.record import Line
from peerchat.record_pdf import PAGES, as_pdf
from tests.escalation.test_record import NOW, record

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(texts)
@example("\u0645\u202e\u0631 abc \u200f\n\n\r\t\u2028 \ufeff \U000e0041")
@example("**bold** __under__ <b>x</b> [a](b) --")
@example("\u0e33\u0bcd\u0a3c\u09cd" * 20)
@example("x" * 2000)
@example("\n" * 2000)
@example(PAGES)
def test_any_text_can_be_set(text):
    raw = as_pdf(record(Line(at=NOW, kind="note", text=text, by=text[:40]), site=text[:40] or "S"))
    assert len(pypdf.PdfReader(io.BytesIO(raw)).pages) >= 1


def test_what_looks_like_markup_is_words():
    raw = as_pdf(record(Line(at=NOW, kind="note", text="**not bold** <b>nor this</b>")))
    text = "".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(raw)).pages)
    assert "**not bold** <b>nor this</b>" in text


def test_no_character_of_a_text_is_logged(caplog):
    caplog.set_level(logging.DEBUG)
    as_pdf(record(Line(at=NOW, kind="note", text="你好 canary")))
    assert "你" not in caplog.text and "canary" not in caplog.text


@pytest.mark.parametrize("n", [1, 2])
def test_the_same_record_makes_the_same_file(n):
    """So that a hash says something."""
    whole = record(Line(at=NOW, kind="note", text="word"))
    assert as_pdf(whole) == as_pdf(whole)
