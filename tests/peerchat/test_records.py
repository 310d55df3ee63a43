"""The safeguarding record: what is in it, who gets it, that it is locked, and what proves a copy."""

import csv
import io
import json
import zipfile
from datetime import timedelta
from typing import Any

import pypdf
import pytest

from escalation import record as kept
from escalation.ladder import Audience
from moderation.verdict import Role
from peerchat.channels.contact import Kind
from peerchat.errors import CaseError, Invalid, StoreUnavailable, UnknownObject
from peerchat.model import Decision
from peerchat.records import CaseRecords

OUTCOME, WHY = "safe, support agreed", "spoke with them and their mother"


@pytest.fixture
def records(pair):
    return CaseRecords(pair.world.store)


async def raised(pair, text="[high] nobody would notice"):
    """Return the alert that a message raised and that has been told."""
    await pair.pupil.send(pair.c, text)
    await pair.world.sweep()
    return (await pair.world.alert()).id


async def closed(pair, alert):
    await pair.world.cases.acknowledge(pair.adult.actor, alert)
    await pair.world.cases.act(pair.adult.actor, alert, "called parent or carer", "mother, 10.05")
    await pair.world.cases.close(pair.adult.actor, alert, outcome=OUTCOME, rationale=WHY, version=None)


async def document(records, person, alert):
    made = await records.copied(person.actor, alert, "json")
    return json.loads(made.content)


def words_of(raw):
    return [page.extract_text() for page in pypdf.PdfReader(io.BytesIO(raw)).pages]


def fonts_of(raw: Any) -> set[str]:
    """Return the names of the fonts that are in a PDF."""
    pages: Any = pypdf.PdfReader(io.BytesIO(raw)).pages
    used = (font.get_object() for page in pages for font in page["/Resources"]["/Font"].values())
    return {str(font["/BaseFont"]).rpartition("+")[2] for font in used}


# ---------------------------------------------------------------------------- what is in it


async def test_it_is_the_whole_chronology(pair, records):
    """Concern, the words, who was told and how, each step, outcome with its reason, and who may see it."""
    alert = await raised(pair)
    await closed(pair, alert)
    found = await document(records, pair.adult, alert)
    assert [line["kind"] for line in found["chronology"]] == [
        "raised", "told", "acknowledged", "action", "closed",
    ]  # fmt: skip
    [text] = found["evidence"]
    assert text["text"] == "[high] nobody would notice"
    assert (text["by"], text["status"], text["policy_version"]) == (found["who"], "delivered", "test-1")
    [told] = found["told"]
    assert (told["channel"], told["audience"], told["outcome"]) == ("in_app", "on_duty", "ok")
    assert (found["outcome"], found["rationale"]) == (OUTCOME, WHY)
    assert found["signed_by"] == [pair.adult.actor.name] == found["may_see"]["adults"]
    assert found["state"] == "closed" and found["closed_at"] == "2026-03-02T10:00:00Z"
    assert found["chronology"][3]["text"] == "mother, 10.05"


async def test_it_says_who_was_told_beyond_the_page(pair, records):
    """By name and kind, with what became of it; an address is never in it."""

    def reachable(tx):
        tx.channels.add(
            site=pair.world.site, kind=Kind.EMAIL, member=pair.adult.id, audience=Audience.ON_DUTY,
            to="ada@school.example", secret=None, name=None,
        )  # fmt: skip

    await pair.world.write(reachable)
    alert = await raised(pair)
    made = await records.copied(pair.adult.actor, alert, "zip")
    found = json.loads(zipfile.ZipFile(io.BytesIO(made.content)).read(f"record-{alert}.json"))
    told = {(one["channel"], one["to"], one["outcome"]) for one in found["told"]}
    assert told == {("in_app", None, "ok"), ("email", pair.adult.actor.name, "unknown")}
    assert b"ada@school" not in made.content and "ada@school" not in json.dumps(found)


async def test_the_evidence_outlives_the_chat(pair, records):
    """The case has its own copy: when the chat's keys are destroyed, the record is still whole."""
    alert = await raised(pair, "[hold] [high] the exact words")
    pair.world.keyring.destroy(pair.c)
    [text] = (await document(records, pair.adult, alert))["evidence"]
    assert text["text"] == "[hold] [high] the exact words"
    assert (await pair.world.read(lambda tx: tx.messages.get(text["message"]))).text == "[no longer kept]"


async def test_a_case_from_before_shows_the_message_itself(pair, records):
    """Rows of earlier versions have no copy of their own."""
    alert = await raised(pair)
    await pair.world.sql("DELETE FROM case_evidence")
    [text] = (await document(records, pair.adult, alert))["evidence"]
    assert text["text"] == "[high] nobody would notice"


async def test_a_held_text_brings_its_decision_and_reason(pair, records):
    ack = await pair.pupil.send(pair.c, "[hold] [high] the words")
    item = await pair.world.item(ack["message"])
    await pair.world.review.claim(pair.adult.actor, item.id)
    await pair.world.review.decide(
        pair.adult.actor, item.id, decision=Decision.RELEASE, reason="mistake", note="it is fine to say"
    )
    alert = (await pair.world.alert()).id
    [decided] = (await document(records, pair.adult, alert))["decisions"]
    assert (decided["decision"], decided["reason"]) == ("release", "mistake")
    assert (decided["note"], decided["by"]) == ("it is fine to say", pair.adult.actor.name)


async def test_a_damaged_line_is_there_and_hides_no_other(pair, records):
    """A record that cannot be read whole says where."""
    alert = await raised(pair)
    await pair.world.cases.note(pair.adult.actor, alert, "first")
    await pair.world.sql("UPDATE alert_event SET at = 'never' WHERE kind = 'told'")
    await pair.world.sql("UPDATE case_evidence SET text = x'00'")
    found = await document(records, pair.adult, alert)
    assert [line["kind"] for line in found["chronology"]] == ["raised", "unreadable", "note"]
    assert found["evidence"][0]["text"] == "[cannot be read: its record is damaged]"
    for kind in ("pdf", "csv"):
        assert (await records.copied(pair.adult.actor, alert, kind)).content


# ---------------------------------------------------------------------------- written later, and locked


async def test_what_is_written_later_has_both_dates(pair, records):
    alert = await raised(pair)
    then = pair.world.clock.now - timedelta(days=2)
    done = await records.write(pair.adult.actor, alert, "she came to me in the corridor", then)
    assert (done["kind"], done["happened_at"]) == ("note", "2026-02-28T10:00:00Z")
    line = (await document(records, pair.adult, alert))["chronology"][-1]
    assert (line["at"], line["happened_at"]) == ("2026-03-02T10:00:00Z", "2026-02-28T10:00:00Z")
    assert line["backdated"] and not line["after_closing"]
    text = "\n".join(words_of((await records.copied(pair.adult.actor, alert, "pdf")).content))
    assert "written later: happened 28 Feb 2026, 10:00:00" in text


async def test_what_is_written_at_once_is_not_backdated(pair, records):
    alert = await raised(pair)
    just = pair.world.clock.now - timedelta(seconds=40)
    assert (await records.write(pair.adult.actor, alert, "now", just))["happened_at"] is None


@pytest.mark.parametrize("by", [timedelta(hours=1), timedelta(days=-40 * 365)])
async def test_a_moment_that_cannot_be_changes_nothing(pair, records, by):
    alert = await raised(pair)
    before = await pair.world.audit()
    with pytest.raises(Invalid):
        await records.write(pair.adult.actor, alert, "x", pair.world.clock.now + by)
    assert await pair.world.audit() == before
    assert (await document(records, pair.adult, alert))["chronology"][-1]["kind"] == "told"


async def test_a_closed_record_takes_additions_only(pair, records):
    """Notes and actions are refused; what is added says that it is an addition, and when it was."""
    alert = await raised(pair)
    await closed(pair, alert)
    whole = (await document(records, pair.adult, alert))["chronology"]
    for refused in (
        pair.world.cases.note(pair.adult.actor, alert, "x"),
        pair.world.cases.act(pair.adult.actor, alert, "called the police", None),
        pair.world.cases.acknowledge(pair.adult.actor, alert),
    ):
        with pytest.raises(CaseError):
            await refused
    done = await records.write(pair.adult.actor, alert, "her mother rang back", None)
    assert done["kind"] == "addition"
    after = (await document(records, pair.adult, alert))["chronology"]
    assert after[:-1] == whole and not any(line["after_closing"] for line in whole)
    assert (after[-1]["kind"], after[-1]["after_closing"]) == ("addition", True)
    text = "\n".join(words_of((await records.copied(pair.adult.actor, alert, "pdf")).content))
    assert "Added after closing" in text and "her mother rang back" in text
    assert (pair.adult.id, "case_addition", alert) in await pair.world.audit()


# ---------------------------------------------------------------------------- who gets it


@pytest.mark.parametrize("kind", ["pdf", "json", "csv", "zip"])
async def test_rule_16_reading_and_receipt_are_in_the_log_first(pair, records, kind):
    """One row before it is read, and one with the hashes before it leaves."""
    alert = await raised(pair)
    made = await records.copied(pair.adult.actor, alert, kind)
    rows = [e for e in await pair.world.read(lambda tx: list(tx.audit.all())) if e.object == alert]
    assert [(e.kind, e.actor) for e in rows] == [
        ("read_record", pair.adult.id), ("record_copied", pair.adult.id),
    ]  # fmt: skip
    assert (rows[1].n, rows[1].data["reading"]) == (made.receipt, rows[0].n)
    if kind != "zip":
        assert rows[1].data[kind] == made.sha256 == kept.digest(made.content)


@pytest.mark.parametrize("row", ["read_record", "record_copied"])
async def test_rule_16_what_the_log_does_not_take_does_not_leave(pair, records, row):
    alert = await raised(pair)
    await pair.world.sql(
        f"CREATE TRIGGER full BEFORE INSERT ON audit WHEN NEW.kind = '{row}'"
        " BEGIN SELECT RAISE(ABORT, 'no'); END"
    )
    with pytest.raises(StoreUnavailable):
        await records.copied(pair.adult.actor, alert, "json")


async def test_rule_11_it_does_not_exist_for_its_subject_nor_in_conflict(pair, records):
    """About an adult: for all but the preset there is nothing there, and no row is written."""
    chair, other = await pair.world.adult(), await pair.world.adult()
    await pair.world.write(lambda tx: tx.rota.set_independents(pair.world.site, [(chair.id, False)]))
    await pair.pupil.says("flag", conversation=pair.c, urgency="emergency", about="adult")
    alert = (await pair.world.alert()).id
    coordinator = await pair.world.member(Role.COORDINATOR)
    before = await pair.world.audit()
    for who in (pair.adult, other):
        for kind in ("pdf", "json", "csv", "zip"):
            with pytest.raises(UnknownObject):
                await records.copied(who.actor, alert, kind)
        with pytest.raises(UnknownObject):
            await records.write(who.actor, alert, "x", None)
    for who in (pair.adult, other, coordinator):
        with pytest.raises(UnknownObject):
            await records.hold(who.actor, alert, "x")
        assert await records.holds(who.actor) == []
    assert await pair.world.audit() == before
    found = await document(records, chair, alert)
    assert found["may_see"] == {"adults": [chair.actor.name], "about_staff": True}


async def test_rule_11_a_record_about_an_adult_is_none_for_that_adult(pair, records):
    alert = await raised(pair)
    await pair.world.sql(f"UPDATE alert SET about = '{pair.adult.id}'")
    for kind in ("pdf", "zip"):
        with pytest.raises(UnknownObject):
            await records.copied(pair.adult.actor, alert, kind)


# ---------------------------------------------------------------------------- the files


async def test_the_bundle_proves_itself(pair, records):
    """The manifest has each file's SHA-256, and the row of the log has them too; one byte shows."""
    alert = await raised(pair)
    made = await records.copied(pair.adult.actor, alert, "zip")
    archive = zipfile.ZipFile(io.BytesIO(made.content))
    files = {name: archive.read(name) for name in archive.namelist()}
    receipt = kept.receipt_of(files.pop("manifest.json"))
    assert sorted(name.rpartition(".")[2] for name in files) == ["csv", "json", "pdf"]
    assert kept.faults(receipt, files) == []
    [row] = await pair.world.read(lambda tx: tx.audit.entries(after=receipt.row - 1, limit=1))
    assert (row.hash, row.kind, row.object) == (receipt.hash, "record_copied", alert)
    assert {row.data[one] for one in ("pdf", "json", "csv")} == set(receipt.files.values())
    name = f"record-{alert}.csv"
    assert kept.faults(receipt, files | {name: files[name][:-1]}) == [f"{name}: not what was exported"]


async def test_the_pdf_is_numbered_and_every_page_says_whose_it_is(pair, records):
    """Long records too; and a text cannot write the number of pages."""
    alert = await raised(pair)
    for n in range(12):
        await pair.world.cases.note(
            pair.adult.actor, alert, f"note {n} {{pages of this record}} " + "word " * 300
        )
    pages = words_of((await records.copied(pair.adult.actor, alert, "pdf")).content)
    assert len(pages) > 3
    for n, words in enumerate(pages, start=1):
        assert f"Page {n} of {len(pages)}" in words
        assert alert in words and "Confidential" in words
    assert "note 7" in "".join(pages)


SCRIPTS = (
    "zażółć Українська Ελληνικά مرحبا بالعالم کیا حال ہے বাংলা ক্ষতি हिन्दी ਪੰਜਾਬੀ ગુજરાતી தமிழ் አማርኛ ภาษาไทย 😀"
)


async def test_the_pdf_has_letters_for_many_scripts_and_says_what_it_lacks(pair, records):
    """Fonts are embedded; what none has is a box, and the words are in the other files."""
    alert = await raised(pair)
    await pair.world.cases.note(pair.adult.actor, alert, SCRIPTS)
    raw = (await records.copied(pair.adult.actor, alert, "pdf")).content
    text = "".join(words_of(raw))
    assert "Українська" in text and "বাংলা" in text and "\u25a1" not in text
    fonts = fonts_of(raw)
    assert {"NotoSans", "NotoSansArabic", "NotoSansBengali", "NotoSansGurmukhi", "DejaVuSansBook"} <= fonts
    await pair.world.cases.note(pair.adult.actor, alert, "你好吗")
    text = "".join(words_of((await records.copied(pair.adult.actor, alert, "pdf")).content))
    assert "\u25a1\u25a1\u25a1" in text and "3 characters are shown as" in text
    assert "你好吗" in (await records.copied(pair.adult.actor, alert, "csv")).content.decode()


async def test_the_csv_is_safe_in_a_spreadsheet(pair, records):
    """No cell that somebody wrote is a formula; every line has its case, the school's clock, its section."""
    alert = await raised(pair)
    pair.world.clock.advance(seconds=60)
    await pair.world.cases.note(pair.adult.actor, alert, '=HYPERLINK("http://x.example";"y")')
    raw = (await records.copied(pair.adult.actor, alert, "csv")).content
    assert raw.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(io.StringIO(raw.decode("utf-8-sig"), newline="")))
    assert tuple(rows[0]) == kept.COLUMNS
    assert {row["case"] for row in rows} == {alert}
    assert [row["section"] for row in rows] == ["case", "concern", "told", "chronology"]
    assert rows[-1]["text"] == '\'=HYPERLINK("http://x.example";"y")'
    assert (rows[-1]["date"], rows[-1]["time"]) == ("2026-03-02", "10:01:00")


async def test_a_copy_is_the_same_from_the_same_record(pair, records):
    """But for who made it: nothing in a file depends on the machine."""
    alert = await raised(pair)
    first, second = [await document(records, pair.adult, alert) for _ in range(2)]
    assert first.pop("copy") != second.pop("copy")
    assert first == second


# ---------------------------------------------------------------------------- legal hold


async def test_a_hold_is_set_and_lifted_with_reasons_that_stay(pair, records):
    alert = await raised(pair)
    coordinator = await pair.world.member(Role.COORDINATOR)
    view = await records.hold(coordinator.actor, alert, "police asked, ref 7")
    assert (view["held"], view["by"], view["reason"]) == (True, coordinator.actor.name, None)
    assert (await records.holds(pair.adult.actor))[0]["reason"] == "police asked, ref 7"
    with pytest.raises(CaseError):
        await records.hold(pair.adult.actor, alert, "again")
    found = await document(records, pair.adult, alert)
    assert found["legal_hold"] and found["holds"][0]["reason"] == "police asked, ref 7"
    assert not (await records.release(pair.adult.actor, alert, "case heard"))["held"]
    with pytest.raises(CaseError):
        await records.release(pair.adult.actor, alert, "again")
    assert await records.holds(pair.adult.actor) == []
    [hold] = (await document(records, pair.adult, alert))["holds"]
    assert (hold["lifted_by"], hold["lifted_reason"]) == (pair.adult.actor.name, "case heard")
    kinds = [kind for _, kind, object in await pair.world.audit() if object == alert]
    assert (kinds.count("hold_set"), kinds.count("hold_lifted")) == (1, 1)


async def test_what_people_wrote_is_sealed_at_rest(pair, records):
    alert = await raised(pair, "[high] canary-one")
    await records.hold(pair.adult.actor, alert, "canary-two")
    await records.write(pair.adult.actor, alert, "canary-three", None)
    files = b"".join(file.read_bytes() for file in pair.world.folder.iterdir() if file.is_file())
    assert b"canary" not in files
