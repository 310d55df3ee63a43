"""The log as the coordinator's page shows it: in words, and silent on what its reader may not know."""

import re
from pathlib import Path

from moderation.verdict import Role
from peerchat import overview
from peerchat.drills import Drills
from peerchat.logwords import WORDS

ROOT = Path(__file__).resolve().parents[2]
APPENDED = re.compile(r'audit\.append\(\s*[^,()]+,\s*"([a-z_]+)"')


async def shown(world, reader):
    entries = await world.read(lambda tx: list(tx.audit.all()))
    return await world.read(lambda tx: overview.audit_rows(tx, entries, reader=reader.actor))


async def test_rows_are_in_words_with_the_names_of_staff(world):
    head, adult = await world.member(Role.COORDINATOR), await world.adult(duty=True)
    await Drills(world.store, alerted=world.desk.wake).start(head.actor)
    rows = await shown(world, head)
    said = [(row["who"], row["words"]) for row in rows]
    assert ("command line", "set the site up") in said
    assert (adult.actor.name, "went on duty") in said
    assert (head.actor.name, "started a practice alert") in said


async def test_a_case_about_the_reader_left_no_row_that_the_reader_sees(world):
    head, other, adult = await world.member(Role.COORDINATOR), await world.adult(), await world.adult()

    def about(member):
        from escalation.alert import Concern
        from moderation.verdict import Risk

        return Concern(about=member.id, about_role=Role.ADULT, risk=Risk.HIGH, labels=("flag",))

    alert, _ = await world.write(
        lambda tx: tx.alerts.raise_or_fold(
            about(other), site=world.site, conversation=None, message=None, by=None
        )
    )
    await world.cases.acknowledge(adult.actor, alert.id)
    assert [r for r in await shown(world, head) if r["object"] == alert.id]
    assert [r for r in await shown(world, other) if r["object"] == alert.id] == []


def test_every_kind_of_row_has_words():
    """Kinds that the code writes as they stand; one without words would be shown as code."""
    sources = [
        path.read_text("utf-8") for folder in ("peerchat", "web") for path in (ROOT / folder).rglob("*.py")
    ]
    kinds = {kind for source in sources for kind in APPENDED.findall(source)}
    assert len(kinds) > 15
    assert kinds <= WORDS.keys(), sorted(kinds - WORDS.keys())
