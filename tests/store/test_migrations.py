"""Migrations: they make what the code expects, from nothing, and leave nothing when undone."""

import io

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlmodel import SQLModel

from peerchat.store import tables
from peerchat.store.database import sqlite_engine
from peerchat.store.sql import MIGRATIONS, database_file, migrate


@pytest.fixture
def path(tmp_path):
    return database_file(tmp_path)


def inspect(path, look):
    engine = sqlite_engine(path)
    try:
        with engine.connect() as connection:
            return look(connection)
    finally:
        engine.dispose()


def table_names(path):
    return set(inspect(path, lambda c: sa.inspect(c).get_table_names()))


def test_the_migrations_make_exactly_the_tables_of_the_code(path):
    """A table, column, key or index on one side only is a difference."""
    migrate(path)

    def differences(connection):
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return compare_metadata(context, SQLModel.metadata)

    assert inspect(path, differences) == []
    assert table_names(path) - {"alembic_version"} == set(SQLModel.metadata.tables)


def test_unique_constraints_are_there(path):
    """What autogenerate may overlook: what may be there only once."""
    migrate(path)

    def uniques(connection):
        found = sa.inspect(connection)
        return {
            (name, tuple(sorted(c["column_names"])))
            for name in found.get_table_names()
            for c in [
                *found.get_unique_constraints(name),
                *(i for i in found.get_indexes(name) if i["unique"]),
            ]
        }

    there = inspect(path, uniques)
    for wanted in (
        ("message", ("once",)),
        ("message", ("conversation", "seq")),
        ("review_item", ("message",)),
        ("session_token", ("hash",)),
        ("member", ("username",)),
        ("member", ("code_index",)),
        ("ticket", ("pupil",)),
    ):
        assert wanted in there


def test_running_them_again_changes_nothing(path):
    """Every start runs them."""
    migrate(path)
    before = inspect(path, lambda c: c.exec_driver_sql("SELECT sql FROM sqlite_master ORDER BY name").all())
    migrate(path)
    assert (
        inspect(path, lambda c: c.exec_driver_sql("SELECT sql FROM sqlite_master ORDER BY name").all())
        == before
    )


def test_up_and_down_and_up_again(path):
    """Down to nothing, and back to the whole, with every step on the way."""
    steps = [s.revision for s in ScriptDirectory(str(MIGRATIONS)).walk_revisions()]
    assert len(steps) >= 1
    for revision in reversed(steps):
        migrate(path, to=revision)
    whole = table_names(path)
    migrate(path, to="base")
    assert table_names(path) == {"alembic_version"}
    migrate(path)
    assert table_names(path) == whole


def test_there_is_one_line_of_migrations():
    """One first, one last, none beside."""
    scripts = ScriptDirectory(str(MIGRATIONS))
    assert len(scripts.get_heads()) == len(scripts.get_bases()) == 1


def test_a_migration_that_fails_leaves_the_database_as_it_was(path):
    """All of it is one transaction."""
    engine = sqlite_engine(path)
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE message (mine TEXT)")
    engine.dispose()
    with pytest.raises(sa.exc.OperationalError):
        migrate(path)
    assert table_names(path) <= {"message", "alembic_version"}
    assert inspect(path, lambda c: [x["name"] for x in sa.inspect(c).get_columns("message")]) == ["mine"]


def test_text_lies_in_sealed_columns_only():
    """Whatever people write is bytes to the database; and no other column is bytes without a reason."""
    sealed = {
        f"{table.name}.{column.name}"
        for table in SQLModel.metadata.tables.values()
        for column in table.columns
        if isinstance(column.type, sa.LargeBinary)
    }
    assert sealed == {
        "alert.closing_outcome",
        "alert.closing_rationale",
        "alert_event.note",
        "case_evidence.text",
        "case_hold.lifted_reason",
        "case_hold.reason",
        "contact_point.address",
        "contact_point.name",
        "contact_point.secret",
        "decision.note",
        "member.code_index",
        "message.body",
        "message.body_mac",
        "message.once",
        "reading.reason",
        "report.note",
        "session_token.hash",
        "ticket.note",
        "verdict.body_mac",
    }
    assert not {c.name for c in tables.table(tables.Message).columns} & {"text", "body_text", "plain"}


def test_a_database_of_the_first_version_is_brought_up_and_keeps_its_rows(path):
    """What 0.1 wrote is there after the upgrade; a conversation of then has no history of evidence yet."""
    migrate(path, to="0001")
    engine = sqlite_engine(path)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO site VALUES ('s', 'School', 'Common Room', 'Europe/London', '[]', '[]', '[]', '', 0)"
        )
        connection.exec_driver_sql(
            "INSERT INTO conversation (id, site, kind, state, topics, last_seq, started_at)"
            " VALUES ('c', 's', 'one_to_one', 'open', '[]', 7, '2026-03-02 10:00:00')"
        )
    engine.dispose()
    migrate(path)
    rows = inspect(
        path, lambda c: c.exec_driver_sql("SELECT id, last_seq, so_far FROM conversation").fetchall()
    )
    assert [tuple(row) for row in rows] == [("c", 7, None)]


def test_a_verdict_from_before_is_about_its_sender_and_nothing_of_it_was_counted(path):
    """Rows of earlier versions are brought up with what was true of them."""
    migrate(path, to="0002")
    engine = sqlite_engine(path)
    with engine.begin() as connection:
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
        connection.exec_driver_sql(
            "INSERT INTO verdict (message, body_mac, action, risk, reason, labels, signals, degraded,"
            " policy_version, at) VALUES ('m', x'00', 0, 1, '', '[]', '[]', '[]', '1', '2026-03-02 10:00:00')"
        )
    engine.dispose()
    migrate(path)
    rows = inspect(path, lambda c: c.exec_driver_sql("SELECT about, counted FROM verdict").fetchall())
    assert [tuple(row) for row in rows] == [(None, 0)]


def test_every_step_can_be_written_for_postgresql():
    """As the SQL that the other engine would be given, up and down."""
    said = io.StringIO()
    steps = list(ScriptDirectory(str(MIGRATIONS)).walk_revisions())
    context = MigrationContext.configure(
        dialect_name="postgresql", opts={"as_sql": True, "output_buffer": said}
    )
    with Operations.context(context):
        for step in reversed(steps):
            step.module.upgrade()
        for step in steps:
            step.module.downgrade()
    assert "ALTER TABLE verdict ADD COLUMN counted INTEGER DEFAULT '0' NOT NULL" in said.getvalue()
