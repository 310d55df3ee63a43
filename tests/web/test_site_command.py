"""`peerchat site times` and `independent`: what they set, what they refuse, and the row each leaves."""

import json
from pathlib import Path

import pytest

from escalation.times import DEFAULTS, written
from peerchat.store.sql import database_file, open_audit
from web.cli import USAGE, main


class Site:
    """A data folder with a site, used by the commands alone."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.data = folder / "data"
        self.config = folder / "peerchat.toml"
        self.config.write_text(f'data = "{self.data}"\n')
        self._capsys = capsys

    def run(self, *args: str) -> tuple[int, str, str]:
        status = main(["site", args[0], "--config", str(self.config), *args[1:]])
        out, err = self._capsys.readouterr()
        return status, out, err

    def says(self, *args: str) -> object:
        status, out, err = self.run(*args)
        assert status == 0, err
        return json.loads(out)

    def refuses(self, *args: str) -> str:
        status, out, err = self.run(*args)
        assert (status, out) == (USAGE, "")
        return err

    def log(self) -> list[tuple[str, dict[str, object]]]:
        with open_audit(database_file(self.data)) as entries:
            return [(e.kind, dict(e.data)) for e in entries]


@pytest.fixture
def site(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Site:
    found = Site(tmp_path, capsys)
    found.says("create", "--name", "Ashdown School")
    for username in ("okafor", "chair"):
        monkeypatch.setattr("sys.stdin", type("Piped", (), {
            "isatty": lambda _: False, "readline": lambda _: "a long enough password\n",
        })())  # fmt: skip
        found.says("staff", "--role", "adult", "--username", username, "--name", username.title())
    return found


def test_without_a_change_the_times_are_shown_and_nothing_is_logged(site: Site) -> None:
    assert site.says("times") == written(DEFAULTS)
    assert "times_changed" not in [kind for kind, _ in site.log()]


def test_times_are_set_and_set_back_and_each_change_is_a_row_with_both(site: Site) -> None:
    shown = site.says("times", "phone_minutes=30", "immediate_minutes=0,1,3,8", "digest_at=16:00")
    assert shown == written(DEFAULTS) | {
        "phone_minutes": 30,
        "immediate_minutes": [0, 1, 3, 8],
        "digest_at": "16:00",
    }
    assert site.log()[-1] == (
        "times_changed",
        {
            "phone_minutes": "20 -> 30",
            "immediate_minutes": "0 2 5 10 -> 0 1 3 8",
            "digest_at": "15:30 -> 16:00",
        },
    )
    assert site.says("times", "phone_minutes=", "immediate_minutes=", "digest_at=") == written(DEFAULTS)
    rows = len(site.log())
    site.says("times", "phone_minutes=20")
    assert len(site.log()) == rows  # as it was


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("phone_minutes=61", "phone_minutes: a whole number from 5 to 60"),
        ("phone_minutes=soon", "phone_minutes: a whole number from 5 to 60"),
        ("phone_minutes", "phone_minutes: NAME=VALUE"),
        ("immediate_minutes=0,2,5", "immediate_minutes: 4 rising numbers of minutes, from 0, up to 30"),
        ("digest_at=3pm", "digest_at: a time such as 15:30"),
        ("patience=3", "patience: no such time; there are immediate_minutes"),
    ],
)
def test_a_time_that_cannot_be_is_refused_by_name_and_nothing_is_set(
    site: Site, change: str, says: str
) -> None:
    rows = site.log()
    assert f"peerchat: {says}" in site.refuses("times", "page_lease_seconds=120", change)
    assert site.says("times") == written(DEFAULTS) and site.log() == rows


def test_a_sites_file_sets_its_times_too(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "site.toml"
    file.write_text('topics = ["Friends"]\n[times]\nacknowledgement_minutes = 5\n')
    assert site.says("configure", str(file)) == {"changed": ["times", "topics"]}
    assert site.says("times") == written(DEFAULTS) | {"acknowledgement_minutes": 5}
    file.write_text("topics = []\n[times]\nacknowledgement_minutes = 500\n")
    assert "acknowledgement_minutes: a whole number from 2 to 30" in site.refuses("configure", str(file))


def test_who_is_told_of_alerts_about_staff_is_preset_in_order(site: Site) -> None:
    assert site.says("independent") == []
    shown = site.says("independent", "okafor", "chair", "--outside", "chair")
    assert shown == [{"name": "Okafor", "outside": False}, {"name": "Chair", "outside": True}]
    assert site.says("independent") == shown
    kind, data = site.log()[-1]
    assert kind == "independents_set" and data["outside"] and len(str(data["preset"]).split()) == 2
    assert site.says("independent", "--nobody") == []


def test_a_preset_person_whom_nothing_reaches_is_warned_of(site: Site) -> None:
    assert site.run("independent")[2] == ""
    for args in (("independent", "chair"), ("independent",)):
        status, _, err = site.run(*args)
        assert status == 0 and "preset for alerts about staff cannot be reached" in err


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("nobody-there",), "nobody-there is no adult of this site"),
        (("okafor", "okafor"), "named twice"),
        (("okafor", "--outside", "chair"), "--outside: chair is not one of those"),
        (("okafor", "--nobody"), "--nobody: names somebody too"),
    ],
)
def test_who_cannot_be_preset_is_refused_and_nothing_is_set(
    site: Site, args: tuple[str, ...], says: str
) -> None:
    site.says("independent", "chair")
    assert says in site.refuses("independent", *args)
    assert site.says("independent") == [{"name": "Chair", "outside": False}]
