"""Alembic's entry: runs on the connection that `peerchat.store.sql.migrate` hands over.

Migrations never import today's tables: what a migration makes must not change when the tables do.
"""

from typing import Any, Literal

from alembic import context
from sqlmodel import SQLModel
from sqlmodel.sql.sqltypes import AutoString

from peerchat.store import tables


def _render(kind: str, item: Any, _: Any) -> str | Literal[False]:
    if kind == "type" and isinstance(item, AutoString):
        return "sa.String()"
    if kind == "type" and isinstance(item, tables.UtcDateTime):
        return "sa.DateTime(timezone=True)"
    return False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    render_item=_render,
)
with context.begin_transaction():
    context.run_migrations()
