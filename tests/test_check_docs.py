"""The docs check finds what it is there for, and leaves the rest alone."""

import pytest

from tools import check_docs

MAKEFILE = "UV := 1\nrun: .venv/x  ## start\n\techo\n"
HELP = {
    ("demo",): "usage: peerchat demo\n  --port P\n  --data DIR\n",
    ("policy", "check"): "usage",
    (): "usage",
}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Return a function that writes a project with one document and returns what is wrong with it."""
    monkeypatch.setattr(check_docs, "ROOT", tmp_path)
    monkeypatch.setattr(check_docs, "usage", lambda names: HELP.get(tuple(names)))
    (tmp_path / "Makefile").write_text(MAKEFILE)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "other.md").write_text(
        "# What it's for\n\n```sh\n# not a heading\n```\n## Twice\n## Twice\n"
    )

    def problems(text: str) -> list[str]:
        (tmp_path / "README.md").write_text(text)
        check_docs.anchors.cache_clear()
        return list(check_docs.problems())

    return problems


@pytest.mark.parametrize(
    "text",
    [
        "[a](docs/gone.md)",
        "![a](docs/gone.png)",
        '<img alt="a" src="gone.png">',
        "[a][b]\n\n[b]: gone.md",
        "[a](../outside.md)",
        "[a](docs/other.md#nothing)",
        "[a](docs/other.md#not-a-heading)",
        "[a](#nothing)",
        "```sh\nmake fly\n```",
        "```console\n$ cd x && make fly\n```",
        "```sh\npeerchat fly\n```",
        "```sh\n.venv/bin/peerchat demo \\\n    --prt 1\n```",
        "```sh\npeerchat demo --por 1\n```",
    ],
)
def test_finds_what_is_wrong(project, text):
    assert len(project(f"# Title\n\n{text}\n")) == 1


@pytest.mark.parametrize(
    "text",
    [
        "[a](docs/other.md#what-its-for) [b](docs/other.md#twice-1) [c](#title) [d](docs)",
        "[a](https://example.org/gone.md) <mailto:a@example.org>",
        "`[a](gone.md)`",
        "```python\nmake fly\n[a](gone.md)\n```",
        "```sh\nX=1 make run PORT=9000  # make fly\n```",
        "```sh\npeerchat demo --port=1 --data d | peerchat policy check f.toml\n```",
        "```console\n$ make run\nmake fly\n```",
        "Prose may say make fly.",
    ],
)
def test_leaves_alone_what_holds(project, text):
    assert project(f"# Title\n\n{text}\n") == []
