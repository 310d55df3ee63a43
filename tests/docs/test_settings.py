"""docs/settings.md names every setting, with its default, and none that is not there."""

import re

from peerchat.settings import PREFIX, TABLES, Settings
from tests.docs.contract import DOCS

ROW = re.compile(r"^\| `([\w.]+)` \| ([^|]+) \| (.+) \|$", re.MULTILINE)
IN_WORDS = {
    "data": "required",
    "master_key_file": "`master.key` in `data`",
    "moderation.policy": "the shipped one",
}


def shown(default: object) -> str:
    """Return a default as the table writes it."""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return "none" if default == () else f"`{default}`"


def test_every_setting_is_documented_with_its_default() -> None:
    rows = {name: default for name, default, _ in ROW.findall((DOCS / "settings.md").read_text("utf-8"))}
    fields = {name: field for name, field in Settings.model_fields.items() if name not in TABLES}
    for table, kind in TABLES.items():
        fields |= {f"{table}.{name}": field for name, field in kind.model_fields.items()}
    assert rows == {name: IN_WORDS.get(name) or shown(field.default) for name, field in fields.items()}


def test_the_prefix_is_the_codes() -> None:
    assert f"`{PREFIX}`" in (DOCS / "settings.md").read_text("utf-8")
