"""The staff's pages before any server: their shells, what scripts expect of them, and what is never there."""

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pytest
from jinja2 import Environment, FileSystemLoader, StrictUndefined

WEB = Path(__file__).resolve().parents[2] / "web"
JS = WEB / "static" / "js"
CSS = WEB / "static" / "css"
PAGES = {
    "staff_signin.html": (None, "staff_signin.js"),
    "desk.html": ("adult", "desk.js"),
    "review.html": ("moderator", "review.js"),
    "coordinator.html": ("coordinator", "coordinator.js"),
    "rota.html": ("coordinator", "rota.js"),
}
SCRIPTS = sorted(
    {"alarm.js", *(script for _, script in PAGES.values()), *(p.name for p in JS.glob("staff*.js"))}
)
READ = {
    "alerts", "review", "overview", "statistics", "audit", "channels", "drills", "duty", "holds", "rota", "*",
}  # fmt: skip
"""The last words of what pages read."""

VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
CONTROLS = {"input", "select", "textarea"}


@dataclass
class Node:
    """One element, its attributes, and the elements around it."""

    tag: str
    attributes: dict[str, str]
    parents: tuple["Node", ...]
    text: list[str] = field(default_factory=list)

    @property
    def words(self) -> str:
        return " ".join("".join(self.text).split())

    def within(self, tag: str) -> bool:
        return any(parent.tag == tag for parent in self.parents)


class Tree(HTMLParser):
    """Every element of a page in order; complains about tags that do not match."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.nodes: list[Node] = []
        self.open: list[Node] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        node = Node(tag, {name: value or "" for name, value in attrs}, tuple(self.open))
        self.nodes.append(node)
        if tag not in VOID:
            self.open.append(node)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.nodes.append(Node(tag, {name: value or "" for name, value in attrs}, tuple(self.open)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1].tag == tag, (
            f"</{tag}> closes <{self.open[-1].tag if self.open else ''}>"
        )
        self.open.pop()

    def handle_data(self, data: str) -> None:
        for node in self.open:
            node.text.append(data)


def render(template: str) -> str:
    role, _ = PAGES[template]
    viewer = role and SimpleNamespace(
        csrf="c", role=SimpleNamespace(value=role), alias="Ms Example", id="mem_1", site="site_1"
    )
    environment = Environment(
        loader=FileSystemLoader(WEB / "templates"), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template(template).render(
        viewer=viewer,
        service_name="Common Room",
        school_name="Example School",
        neutral_url="",
        density="desk" if role else "",
        leave=False,
    )


@pytest.fixture(params=PAGES, scope="module")
def page(request) -> tuple[str, list[Node]]:
    tree = Tree()
    tree.feed(render(request.param))
    tree.close()
    assert not tree.open
    return request.param, tree.nodes


def test_nothing_inline_and_nothing_from_elsewhere(page) -> None:
    """The content security policy refuses inline scripts and styles and any other origin: there are none."""
    _, nodes = page
    for node in nodes:
        assert node.tag != "style"
        assert "style" not in node.attributes
        assert not [name for name in node.attributes if name.startswith("on")]
        if node.tag == "script":
            assert node.attributes.get("src", "").startswith("/static/js/")
        for name in ("href", "src", "action"):
            value = node.attributes.get(name, "")
            assert not value or value.startswith(("/", "#", "tel:")), value
            assert not value.startswith("//")


def test_landmarks_headings_and_the_skip_link(page) -> None:
    """One main, one header, a skip link first; one heading of the first level in each view."""
    template, nodes = page
    mains = [n for n in nodes if n.tag == "main"]
    assert [n.attributes.get("id") for n in mains] == ["main"]
    assert mains[0].attributes.get("tabindex") == "-1"
    assert sum(n.tag == "header" for n in nodes) == 1
    links = [n for n in nodes if n.tag == "a"]
    assert links[0].attributes["href"] == "#main"
    views = [n for n in nodes if "data-view" in n.attributes]
    headings = [n for n in nodes if n.tag == "h1"]
    assert all(h.within("main") for h in headings)
    if views:
        for view in views:
            assert sum(view in h.parents for h in headings) == 1, view.attributes
        assert sum("hidden" not in v.attributes for v in views) == 1
    else:
        assert len(headings) == 1
    for node in nodes:
        if node.tag in {"nav", "aside"} or node.attributes.get("role") in {"region", "group"}:
            assert {"aria-label", "aria-labelledby"} & node.attributes.keys(), (template, node.attributes)


def test_heading_levels_never_skip(page) -> None:
    """Headings go down one level at a time, within the page and within each view."""
    _, nodes = page
    last = 2  # the columns before <main> may begin with their own second-level heading
    for node in nodes:
        if re.fullmatch("h[1-6]", node.tag):
            level = int(node.tag[1])
            assert level <= last + 1, (node.tag, node.words)
            last = level


def test_ids_are_unique_and_references_resolve(page) -> None:
    """What is labelled, described or controlled by something is so by something that is there."""
    _, nodes = page
    ids = [n.attributes["id"] for n in nodes if "id" in n.attributes]
    assert len(ids) == len(set(ids)), sorted({i for i in ids if ids.count(i) > 1})
    for node in nodes:
        for name in ("aria-labelledby", "aria-describedby", "aria-controls", "for"):
            for target in node.attributes.get(name, "").split():
                assert target in ids, (name, target)
        if node.tag == "use":
            assert node.attributes["href"].removeprefix("#") in ids, node.attributes["href"]
        if node.tag == "a" and node.attributes.get("href", "").startswith("#"):
            assert node.attributes["href"].removeprefix("#") in ids


def test_controls_have_names_and_buttons_have_types(page) -> None:
    """Every field has a label, every button says what it does and what kind it is."""
    _, nodes = page
    labelled = {n.attributes["for"] for n in nodes if n.tag == "label" and "for" in n.attributes}
    for node in nodes:
        if node.tag in CONTROLS:
            assert (
                node.within("label")
                or node.attributes.get("id") in labelled
                or "aria-label" in node.attributes
            )
        if node.tag == "button":
            assert node.attributes.get("type") in {"button", "submit"}
            may_be_filled = node.attributes.get("id") == "confirm-yes"
            assert node.words or "aria-label" in node.attributes or may_be_filled, node.attributes
        if node.tag == "svg":
            assert node.attributes.get("aria-hidden") == "true"
        if node.tag == "progress":
            assert "aria-label" in node.attributes
        if node.tag == "table":
            assert any("tablebox" in p.attributes.get("class", "") for p in node.parents)
        if node.tag == "th" and node.within("thead"):
            assert node.attributes.get("scope") == "col"


def test_only_an_immediate_alert_interrupts(page) -> None:
    """`role=alert` is made by the desk's script for an immediate alert and stands in no shell."""
    _, nodes = page
    assert not [
        n
        for n in nodes
        if n.attributes.get("role") == "alert" or n.attributes.get("aria-live") == "assertive"
    ]
    assert (JS / "desk.js").read_text().count('role: "alert"') == 1
    assert not [s for s in SCRIPTS if s != "desk.js" and 'role: "alert"' in (JS / s).read_text()]


def test_scripts_find_what_they_look_for(page) -> None:
    """Each id a page's own script asks for is in its shell or made by its scripts."""
    template, nodes = page
    _, script = PAGES[template]
    ids = {n.attributes["id"] for n in nodes if "id" in n.attributes}
    sources = [(JS / script).read_text(), *((JS / s).read_text() for s in SCRIPTS)]
    made = {found for source in sources for found in re.findall(r'\bid: "([a-z][a-z-]*)"', source)}
    asked = set(re.findall(r'\$\$?\(["`\']#([a-z][a-z-]*)', sources[0]))
    asked |= set(re.findall(r'\bwrong\("([a-z-]+)"', sources[0]))
    assert asked
    assert asked <= ids | made, sorted(asked - ids - made)


def test_a_password_can_never_end_up_in_an_address() -> None:
    """Were its script missing, the sign-in form would post."""
    tree = Tree()
    tree.feed(render("staff_signin.html"))
    form = next(n for n in tree.nodes if n.tag == "form")
    assert form.attributes["method"] == "post"
    completes = {
        n.attributes["id"]: n.attributes.get("autocomplete")
        for n in tree.nodes
        if n.tag == "input" and "id" in n.attributes
    }
    assert completes["username"] == "username"
    assert completes["password"] == "current-password"
    assert completes["otp"] == "one-time-code"


def exports(name: str) -> set[str]:
    source = (JS / name).read_text()
    return set(re.findall(r"^export (?:async )?(?:function|class|const|let) ([\w$]+)", source, re.M))


@pytest.mark.parametrize("script", SCRIPTS)
def test_imports_exist_and_are_used(script) -> None:
    """A name that is imported is exported over there, and used here."""
    source = (JS / script).read_text()
    for names, origin in re.findall(r'^import \{([^}]+)\} from "\./([\w.]+)";', source, re.M):
        for name in (each.strip() for each in names.split(",") if each.strip()):
            assert name in exports(origin), (name, origin)
            rest = source.replace(f"{{{names}}}", "")
            used = rf"(?:^|\.\.\.|[^\w$.]){re.escape(name)}(?![\w$])"
            assert re.search(used, rest, re.M), f"{name} is imported and not used"


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_never_make_markup_from_text_nor_log(script) -> None:
    """What somebody wrote becomes text nodes alone, and goes to no console, no store and no other server."""
    source = (JS / script).read_text()
    for never in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "new Function",
        "console.",
        ".style.",
    ):
        assert never not in source, never
    assert not re.findall(r"https?://", source)
    assert not re.findall(r"\bfetch\(|new WebSocket|XMLHttpRequest|EventSource", source), (
        "dom.js and line.js do that"
    )
    kept = re.findall(r"(?:local|session)Storage\.setItem\(([^,]+),", source)
    assert set(kept) <= {"HERE", "key"}, kept


@pytest.mark.parametrize(
    "script", [s for s in SCRIPTS if s not in {"staff_tick.js", "alarm.js", "staff_words.js"}]
)
def test_what_changes_something_is_no_get(script) -> None:
    """GET reads; what changes something is posted (or deletes the session)."""
    calls = re.findall(r'api\("(GET|POST|DELETE)", [`"]([^`"]+)', (JS / script).read_text())
    for method, path in calls:
        last = re.sub(r"\$\{[^}]*\}", "*", path).split("?")[0].rstrip("/").split("/")[-1]
        if method == "GET":
            assert last in READ, path
        if method == "DELETE":
            assert path == "/api/session" or path.startswith(("/api/channels/", "/api/rota/"))


def test_styles_use_tokens_alone() -> None:
    """staff.css has no colour of its own, and every token it uses is defined."""
    source = (CSS / "staff.css").read_text()
    plain = re.sub(r"/\*.*?\*/", "", source, flags=re.S)
    assert plain.count("{") == plain.count("}")
    assert not re.findall(r"#[0-9a-fA-F]{3,8}\b(?=[^{]*;)", re.sub(r"[^{}]*\{", "{", plain))
    assert not re.findall(r"\b(?:rgb|hsl)a?\(", plain)
    defined = set(re.findall(r"(--[\w-]+)\s*:", (CSS / "tokens.css").read_text() + plain))
    assert set(re.findall(r"var\((--[\w-]+)", plain)) <= defined
    assert "url(" not in plain and "@import" not in plain


def test_words_never_label_anybody(page) -> None:
    """Chrome names no diagnosis, and the title of a page gives nothing away over a shoulder."""
    _, nodes = page
    text = " ".join(n.words for n in nodes if n.tag in {"header", "nav", "title", "h1"}).lower()
    for word in ("suicid", "self-harm", "mental", "crisis", "victim", "at risk pupil", "flagged", "offender"):
        assert word not in text
    script = (JS / "desk.js").read_text()
    urgent = re.search(r"URGENT_TITLE = `([^`]+)`", script)
    assert urgent is not None
    assert urgent[1] == "● Someone needs you – ${SERVICE}"


def test_an_alert_rings_every_five_seconds_and_louder_for_thirty() -> None:
    """The numbers of the sound, and that only a person's press stops it."""
    alarm = (JS / "alarm.js").read_text()
    assert "EVERY_MS = 5_000" in alarm
    assert "LOUDEST_AFTER_MS = 30_000" in alarm
    staff = (JS / "staff.js").read_text()
    assert "RENEW_MS = 30_000" in staff
    assert "GUARD_MS = 600" in (JS / "review.js").read_text()
    assert "UNDO_S = 5" in (JS / "staff_item.js").read_text()
