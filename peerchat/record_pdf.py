"""The safeguarding record as PDF: A4, numbered pages, fonts embedded, for printing and for filing.

Texts are drawn in the script they were written in: Latin, Greek, Cyrillic, Arabic (with Urdu and Persian),
Armenian, Bengali, Devanagari, Ethiopic, Georgian, Gujarati, Gurmukhi, Hebrew, Tamil and Thai. What no font
here has is a box, and the record says so: nothing is left out in silence.
"""

import logging
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from fpdf import FPDF
from fpdf.enums import XPos, YPos
from fpdf.fonts import FontFace, TTFFont

from escalation.record import Entry, Evidence, Record, entries, status_words
from escalation.record_words import AUDIENCES, CHANNELS, OUTCOMES, ROLES, about, said

FONTS = Path(__file__).parent / "fonts"
SCRIPTS = (
    "Arabic",
    "Bengali",
    "Devanagari",
    "Ethiopic",
    "Gujarati",
    "Gurmukhi",
    "Hebrew",
    "Tamil",
    "Thai",
)
BODY, SYMBOLS = "body", "symbols"

PAGES = "{pages of this record}"
"""Stands for the number of pages until it is known."""

BOX = "\u25a1"
UNSEEN = frozenset("\u200b\u200c\u200d\u200e\u200f\ufe0e\ufe0f")
"""Characters that have no shape of their own: they join, part or turn the others."""

SPARE_LINES = re.compile(r"\n(?:[ \u00a0]*\n){2,}")
"""Empty lines beyond one: they say nothing, and would fill pages."""

INK, SOFT, RULE, MARK = (25, 25, 25), (95, 95, 95), (190, 190, 190), (120, 60, 10)
LINE = 5.2  # mm
MARGIN, INDENT = 20, 38  # mm

logging.getLogger("fpdf").setLevel(logging.CRITICAL + 1)  # both name characters of the texts they draw
logging.getLogger("fontTools").setLevel(logging.CRITICAL + 1)


def as_pdf(record: Record) -> bytes:
    """Return the record set as a document. The same record gives the same words on the same pages."""
    page = _Page(record)
    _front(page, record)
    _concern(page, record)
    _chronology(page, record)
    _told(page, record)
    _outcome(page, record)
    _additions(page, record)
    _readers(page, record)
    _about_this_copy(page, record)
    return bytes(page.output())


class _Page(FPDF):
    """A page with the record's head and foot, and the few kinds of text that a record has."""

    def __init__(self, record: Record) -> None:
        super().__init__(format="A4")
        self.record = record
        self.boxes = 0
        self.add_font(BODY, fname=FONTS / "NotoSans-Regular.ttf")
        self.add_font(BODY, "B", fname=FONTS / "NotoSans-Bold.ttf")
        for script in SCRIPTS:
            self.add_font(script, fname=FONTS / f"NotoSans{script}-Regular.ttf")
        self.add_font(SYMBOLS, fname=FONTS / "DejaVuSans.ttf")  # emoji, Armenian, Georgian and much else
        self.set_fallback_fonts([*SCRIPTS, SYMBOLS], exact_match=False)
        self.set_text_shaping(True)
        self.known = {
            point for font in self.fonts.values() if isinstance(font, TTFFont) for point in font.cmap
        }
        self.alias_nb_pages(PAGES)
        self.set_margins(MARGIN, MARGIN)
        self.set_auto_page_break(True, margin=MARGIN + 5)
        self.set_lang("en-GB")
        self.set_title(f"Safeguarding record {record.case}")
        self.set_author(record.service)
        self.set_creator("peerchat")
        self.set_creation_date(record.copy.at)
        self.add_page()

    def header(self) -> None:
        """Write what this is on every page, so that a page alone can be filed."""
        self._rest(8, SOFT)
        title = f"Safeguarding record \u00b7 {self.record.site}"
        self.cell(0, LINE, self.drawn(title), new_x=XPos.LMARGIN, new_y=YPos.NEXT)
        self.cell(0, LINE, "Confidential. For those who need it to keep a child safe.", align="L")
        self.ln(LINE + 3)

    def footer(self) -> None:
        """Number the page."""
        self.set_y(-MARGIN)
        self._rest(8, SOFT)
        self.cell(0, LINE, f"Case {self.record.case} \u00b7 Page {self.page_no()} of {PAGES}", align="L")

    def heading(self, text: str) -> None:
        """Begin a section, with room for some of it on the same page; it is in the PDF's outline too."""
        if self.will_page_break(LINE * 6):
            self.add_page()
        self.ln(LINE)
        self.start_section(text)
        self._rest(13, INK, bold=True)
        self._write(text, LINE * 1.4)
        self.ln(1)

    def words(self, text: str, *, soft: bool = False, bold: bool = False, size: float = 10) -> None:
        """Write a paragraph."""
        self._rest(size, SOFT if soft else INK, bold=bold)
        self._write(self.drawn(text), LINE)

    def fact(self, name: str, value: str) -> None:
        """Write a name and its value beside it."""
        if self.will_page_break(LINE):
            self.add_page()
        self._rest(10, SOFT)
        self.cell(INDENT, LINE, name)
        self._beside(lambda: self.words(value))

    def entry(self, entry: Entry) -> None:
        """Write a line of the chronology: when, what, who, and under it what was written."""
        if self.will_page_break(LINE * 3):
            self.add_page()
        self._rest(9, SOFT)
        self.cell(INDENT, LINE, _moment(entry.at, self.record))

        def beside() -> None:
            who = f" \u00b7 {entry.by}" if entry.by else ""
            self.words(f"{entry.what}{who}", bold=True)
            if entry.marks:
                then = f": happened {_moment(entry.happened, self.record)}" if entry.happened else ""
                self._rest(9, MARK)
                self._write(f"[{', '.join(entry.marks)}{then}]", LINE)
            if entry.text:
                self.words(entry.text)

        self._beside(beside)
        self.ln(1.5)

    def rows(self, head: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[int]) -> None:
        """Write a table of short cells; its head is repeated on each page."""
        self._rest(9, INK)
        self.set_draw_color(*RULE)
        with self.table(
            col_widths=tuple(widths),
            line_height=LINE,
            text_align="LEFT",
            borders_layout="HORIZONTAL_LINES",
            headings_style=FontFace(emphasis="BOLD", color=INK),
        ) as table:
            for row in [head, *rows]:
                line = table.row()
                for cell in row:
                    line.cell(self.drawn(cell))

    def drawn(self, text: str) -> str:
        """Return a text as the fonts can draw it; what they cannot is a box, and is counted."""
        shown = []
        for char in text.replace(PAGES, "").replace("\t", "    ").replace("\r\n", "\n").replace("\r", "\n"):
            if char == "\n" or char in UNSEEN or ord(char) in self.known:
                shown.append(char)
            else:
                shown.append(BOX)
                self.boxes += 1
        return "".join(shown)

    def _beside(self, write: Callable[[], None]) -> None:
        self.set_left_margin(MARGIN + INDENT)
        self.set_x(MARGIN + INDENT)
        try:
            write()
        finally:
            self.set_left_margin(MARGIN)
            self.set_x(MARGIN)

    def _rest(self, size: float, ink: tuple[int, int, int], *, bold: bool = False) -> None:
        self.set_font(BODY, "B" if bold else "", size)
        self.set_text_color(*ink)

    def _write(self, text: str, height: float) -> None:
        """Write a text line by line: thousands of empty ones in one piece are too much for the library."""
        for line in SPARE_LINES.sub("\n\n", text).split("\n"):
            self.multi_cell(0, height, line or " ", align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)


def _front(page: _Page, record: Record) -> None:
    page._rest(18, INK, bold=True)
    page.start_section("This case")
    page._write("Safeguarding record", LINE * 2)
    if record.practice:
        page.words("Practice: nothing has happened. This is no record of a child.", bold=True)
    page.ln(2)
    page.fact("Who", f"{record.who} ({said(ROLES, record.about_role)})")
    page.fact("Why", about(record.labels))
    page.fact("How urgent", record.risk)
    page.fact("Raised", _moment(record.opened_at, record))
    page.fact("Now", "closed, and locked" if record.closed else said({}, record.state))
    if record.closed_at is not None:
        page.fact("Closed", _moment(record.closed_at, record))
    page.fact("With", record.holder or "nobody yet")
    if record.held:
        page.fact("Legal hold", "yes: nothing of this case may be erased")
    page.fact("School", record.site)
    page.fact("Case", record.case)
    page.fact("Times", f"as clocks show them in {record.zone.key}")


def _concern(page: _Page, record: Record) -> None:
    page.heading("What raised it")
    if not record.evidence:
        page.words("No message raised this: somebody asked for an adult.")
    for one in record.evidence:
        _evidence(page, one, record)


def _evidence(page: _Page, one: Evidence, record: Record) -> None:
    facts = f"{about(one.labels)}; {status_words(one)}"
    policy = f" (read by rules {one.policy})" if one.policy else ""
    entry = Entry(
        at=one.at, section="concern", what=f"{one.by} wrote", text=f"\u201c{one.text}\u201d\n{facts}{policy}"
    )
    page.entry(entry)


def _chronology(page: _Page, record: Record) -> None:
    page.heading("What happened")
    for entry in entries(record, quoting=False):  # the texts stand above
        if entry.section not in ("told", "addition"):
            page.entry(entry)


def _told(page: _Page, record: Record) -> None:
    page.heading("Who was told, when and how")
    if not record.told:
        page.words("Nobody has been told yet.")
        return
    page.rows(
        ("When", "Step", "Who", "How", "Result"),
        [
            (
                _moment(one.at, record),
                str(one.rung + 1),
                one.to or said(AUDIENCES, one.audience),
                said(CHANNELS, one.channel),
                OUTCOMES.get(one.outcome, str(one.outcome)),
            )
            for one in record.told
        ],
        (44, 12, 52, 38, 24),
    )


def _outcome(page: _Page, record: Record) -> None:
    page.heading("Outcome")
    if not record.closed:
        page.words("This case is open.")
        return
    page.fact("Outcome", record.outcome or "none was given")
    page.fact("Why", record.rationale or "none was given")
    page.fact("Signed by", ", ".join(record.signed) or "nobody")


def _additions(page: _Page, record: Record) -> None:
    found = [entry for entry in entries(record) if entry.section == "addition"]
    if found:
        page.heading("Added after closing")
        for entry in found:
            page.entry(entry)


def _readers(page: _Page, record: Record) -> None:
    page.heading("Who may see this")
    page.words(", ".join(record.readers) or "Nobody who is signed up now.")
    if record.apart:
        page.words("It is about an adult of the school, and kept from all others.", soft=True)


def _about_this_copy(page: _Page, record: Record) -> None:
    page.heading("About this copy")
    page.words(
        f"Made for {record.copy.by} on {_moment(record.copy.at, record)}. Row {record.copy.row} of the log"
        " says so. It keeps this file\u2019s SHA-256 too: a changed copy can be told from this one."
    )
    if page.boxes:
        page.words(
            f"{page.boxes} characters are shown as {BOX}: this document has no letters for them."
            " The JSON and CSV files have the words as they were written."
        )


def _moment(moment: datetime | None, record: Record) -> str:
    if moment is None:
        return ""
    local = moment.astimezone(record.zone)
    return f"{local.day} {local:%b %Y}, {local:%H:%M:%S}"
