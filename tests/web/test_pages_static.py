"""What must be true of every page as it is written, without a server: its structure, a strict policy."""

import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from jinja2 import Environment, FileSystemLoader, StrictUndefined

WEB = Path(__file__).parents[2] / "web"
TEMPLATES = WEB / "templates"
STATIC = WEB / "static"
PAGES = sorted(path.name for path in TEMPLATES.glob("*.html") if not path.name.startswith(("_", "base")))
PUPIL_PAGES = ("signin.html", "pupil.html")
VOID = {"meta", "link", "input", "br", "img", "hr", "path", "circle", "rect", "use"}
LOCAL = re.compile(r"^(/(?!/)|#|tel:|sms:)")


class Page(HTMLParser):
    """Counts and keeps what the tests ask about."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: Counter[str] = Counter()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.ids: Counter[str] = Counter()
        self.text_in: dict[str, str] = {"script": "", "style": "", "title": ""}
        self.headings = 0  # of the first level, less those in parts that begin hidden
        self._open: list[str] = []
        self._hidden: list[bool] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        found = dict(attrs)
        self.headings += tag == "h1" and not any(self._hidden)
        self.elements.append((tag, found))
        if found.get("id"):
            self.ids[str(found["id"])] += 1
        if tag not in VOID:
            self._open.append(tag)
            self._hidden.append("hidden" in found)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()
            self._hidden.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        opened = self._open.pop()
        self._hidden.pop()
        assert opened == tag, f"</{tag}> closes <{opened}>"

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] in self.text_in:
            self.text_in[self._open[-1]] += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.elements if name == tag]


def rendered(name: str) -> str:
    environment = Environment(loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, autoescape=True)
    context: dict[str, Any] = {
        "viewer": None
        if "signin" in name
        else SimpleNamespace(
            id="m_1", role=SimpleNamespace(value="pupil"), alias=None, site="s_1", csrf="csrf-value"
        ),
        "service_name": "Common Room",
        "school_name": "Ashdown School",
        "neutral_url": "https://weather.example/",
        "density": "",
        "leave": name in PUPIL_PAGES,
    }
    return environment.get_template(name).render(context)


@pytest.fixture(params=PAGES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def page(name: str) -> Page:
    parsed = Page()
    parsed.feed(rendered(name))
    parsed.close()
    assert not parsed._open, f"left open: {parsed._open}"
    return parsed


def test_there_are_pages() -> None:
    assert set(PUPIL_PAGES) < set(PAGES)


def test_no_script_or_style_stands_in_the_page(page: Page) -> None:
    assert not page.text_in["script"].strip()
    assert not page.tags["style"]
    for tag, attrs in page.elements:
        assert "style" not in attrs, f"<{tag}> has a style attribute"
        assert not [a for a in attrs if a.startswith("on")], f"<{tag}> has an event attribute"
    assert all(attrs.get("src") for attrs in page.all("script"))


def test_nothing_comes_from_elsewhere(page: Page) -> None:
    for tag, attrs in page.elements:
        for attribute in ("src", "href", "action", "data", "srcset", "poster"):
            value = attrs.get(attribute)
            if value:
                assert LOCAL.match(value), f"<{tag} {attribute}={value}> is not our own"


def test_every_file_a_page_asks_for_is_there(page: Page) -> None:
    asked = [a["src"] for a in page.all("script")] + [a["href"] for a in page.all("link")]
    for path in asked:
        assert path is not None and path.startswith("/static/")
        assert (STATIC / path.removeprefix("/static/")).is_file(), path


def test_a_page_has_its_landmarks(page: Page) -> None:
    assert page.all("html")[0].get("lang") == "en-GB"
    assert page.headings == 1
    assert page.tags["main"] == 1
    assert page.all("main")[0].get("id") == "main"
    first = next(attrs for tag, attrs in page.elements if tag in ("a", "button", "input"))
    assert first.get("href") == "#main", "the skip link comes first"


def test_the_title_is_the_name_of_the_service_alone(page: Page) -> None:
    assert page.text_in["title"] == "Common Room"


def test_ids_are_unique_and_references_hold(page: Page) -> None:
    assert not [i for i, n in page.ids.items() if n > 1]
    for tag, attrs in page.elements:
        for attribute in ("for", "aria-labelledby", "aria-describedby", "aria-controls"):
            for ref in (attrs.get(attribute) or "").split():
                assert page.ids[ref], f"<{tag}> {attribute} points at #{ref}, which is not there"
        href = attrs.get("href") or ""
        if href.startswith("#"):
            assert page.ids[href[1:]], f"<{tag}> links to {href}, which is not there"


def test_every_field_has_a_name(page: Page, name: str) -> None:
    """A label around it, a label for it, or an aria name; templates get theirs from their script."""
    html = rendered(name)
    labelled = {attrs.get("for") for attrs in page.all("label")}
    wrapped = " ".join(re.findall(r"<label\b.*?</label>", html, re.S))
    in_template = " ".join(re.findall(r"<template\b.*?</template>", html, re.S))
    for tag in ("input", "textarea", "select"):
        for found in re.findall(rf"<{tag}\b[^>]*>", html):
            id = re.search(r'\bid="([^"]+)"', found)
            named = "aria-label" in found or (id and id[1] in labelled) or found in wrapped
            assert named or found in in_template, found


def test_buttons_say_what_they_are(page: Page) -> None:
    for attrs in page.all("button"):
        assert attrs.get("type") in ("button", "submit") or "value" in attrs or attrs.get("class"), attrs


@pytest.mark.parametrize("name", PUPIL_PAGES)
def test_a_pupil_can_leave_from_everywhere(name: str) -> None:
    """Top right on the page and in every dialog but the smallest; second in the order of focus."""
    html = rendered(name)
    parsed = Page()
    parsed.feed(html)
    stops = [a for t, a in parsed.elements if t in ("a", "button", "input", "textarea", "summary")]
    assert "data-leave" in stops[1]
    assert any((a.get("src") or "").endswith("/leave.js") for a in parsed.all("script"))
    for sheet in re.findall(r'<dialog class="bottomsheet".*?</dialog>', html, re.S):
        assert "data-leave" in sheet


@pytest.mark.parametrize("name", PUPIL_PAGES)
def test_what_a_pupil_types_is_not_remembered(name: str) -> None:
    parsed = Page()
    parsed.feed(rendered(name))
    fields = [a for a in parsed.all("input") if a.get("type") in ("text", "password")]
    for attrs in [*fields, *parsed.all("textarea")]:
        assert attrs.get("autocomplete") == "off", attrs
    for attrs in parsed.all("textarea"):
        assert attrs.get("spellcheck") == "false", attrs


@pytest.mark.parametrize("name", PUPIL_PAGES)
def test_help_is_in_the_page_itself(name: str) -> None:
    """Numbers work without a server: in the page, as links."""
    html = rendered(name)
    for link in ("tel:08001111", "sms:85258", "tel:116123", "tel:999"):
        assert f'href="{link}' in html


WORDS_NOT_FOR_PUPILS = (
    "mental health",
    "suicid",
    "self-harm",
    "depress",
    "anxiety",
    "crisis",
    "disorder",
    "victim",
)


@pytest.mark.parametrize("name", PUPIL_PAGES)
def test_no_page_labels_a_pupil(name: str) -> None:
    html = rendered(name).lower()
    assert [w for w in WORDS_NOT_FOR_PUPILS if w in html] == []


def scripts() -> list[Path]:
    return sorted((STATIC / "js").glob("*.js"))


@pytest.mark.parametrize("path", scripts(), ids=lambda path: path.name)
def test_scripts_keep_to_the_content_policy(path: Path) -> None:
    """No HTML from strings, no code from strings, no style attribute, nothing from elsewhere."""
    source = path.read_text(encoding="utf-8")
    code = re.sub(r"//[^\n]*|/\*.*?\*/", "", source, flags=re.S)
    for refused in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "new Function",
        'setAttribute("style"',
    ):
        assert refused not in code, refused
    assert not re.search(r"""["'`]https?://(?!www\.w3\.org/2000/svg)[a-z]""", source), (
        "an address of somebody else's"
    )
    assert not re.search(r"console\.(log|debug|info)", code), "nothing of a conversation belongs in a log"


@pytest.mark.parametrize("path", scripts(), ids=lambda path: path.name)
def test_every_import_is_there(path: Path) -> None:
    for module in re.findall(r"""from\s+["'](\./[^"']+)["']""", path.read_text(encoding="utf-8")):
        assert (path.parent / module).is_file(), module


@pytest.mark.parametrize("path", sorted((STATIC / "css").glob("*.css")), ids=lambda path: path.name)
def test_styles_bring_nothing_from_elsewhere(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert "@import" not in source
    assert not re.search(r"url\(\s*['\"]?(?!data:)", source)


def test_icons_in_use_exist() -> None:
    drawn = set(re.findall(r'<symbol id="i-([a-z]+)"', (TEMPLATES / "_icons.html").read_text("utf-8")))
    used: set[str] = set()
    for path in TEMPLATES.glob("*.html"):
        used |= set(re.findall(r'\bi\("([a-z]+)"', path.read_text("utf-8")))
        used |= set(re.findall(r'href="#i-([a-z]+)"', path.read_text("utf-8")))
    for path in scripts():
        used |= set(re.findall(r'\bicon\("([a-z]+)"', path.read_text("utf-8")))
    assert used - drawn == set()
