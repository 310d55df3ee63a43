"""Settings: from a file, the environment and the command line, refused by name where they are wrong."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from peerchat.errors import SettingsError
from peerchat.settings import PREFIX, Settings, load_settings


def load(tmp_path, text="", *, environ=None, **overrides):
    path = tmp_path / "peerchat.toml"
    path.write_text(text, encoding="utf-8")
    return load_settings(path, environ=environ or {}, **overrides)


def test_the_file_the_environment_and_the_command_line_in_this_order(tmp_path):
    """Each later one wins; what none names has its default."""
    text = 'data = "/a"\nport = 1\nhost = "10.0.0.1"\nheartbeat_s = 5'
    found = load(
        tmp_path, text, environ={"PEERCHAT_PORT": "2", "PEERCHAT_HOST": "10.0.0.2"}, port=3, host=None
    )
    assert (found.data, found.port, found.host, found.heartbeat_s) == (Path("/a"), 3, "10.0.0.2", 5.0)
    assert found.send_rate == 5.0 and found.send_burst == 20.0 and found.secure_cookies


def test_no_file_is_needed():
    found = load_settings(None, environ={"PEERCHAT_DATA": "/x", "PATH": "/bin"})
    assert found.data == Path("/x") and found.key_file == Path("/x/master.key")


def test_the_master_key_may_lie_elsewhere(tmp_path):
    assert load(tmp_path, 'data = "/a"\nmaster_key_file = "/b/key"').key_file == Path("/b/key")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("", "data"),
        ('data = "/a"\nprot = 1', "prot"),
        ('data = "/a"\nport = "x"', "port"),
        ('data = "/a"\nport = 70000', "port"),
        ('data = "/a"\nport = -1', "port"),
        ('data = "/a"\nheartbeat_s = 0', "heartbeat_s"),
        ('data = "/a"\nheartbeat_s = nan', "heartbeat_s"),
        ('data = "/a"\nheartbeat_s = 1000', "heartbeat_s"),
        ('data = "/a"\njudge_deadline_s = 0', "judge_deadline_s"),
        ('data = "/a"\njudge_deadline_s = inf', "judge_deadline_s"),
        ('data = "/a"\nsend_rate = 0', "send_rate"),
        ('data = "/a"\nsend_rate = nan', "send_rate"),
        ('data = "/a"\nsend_burst = 0', "send_burst"),
        ('data = "/a"\nmax_capacity = 0', "max_capacity"),
        ('data = "/a"\norigins = ["chat.example"]', "origins"),
        ('data = "/a"\norigins = ["https://chat.example/"]', "origins"),
        ('data = "/a"\norigins = ["https://chat.example/x"]', "origins"),
        ('data = "/a"\norigins = ["*"]', "origins"),
        ('data = "/a"\n[server]\nport = 1', "server"),
    ],
)
def test_a_setting_that_is_wrong_is_named(tmp_path, text, name):
    """With the file that holds it."""
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, text)
    assert name in str(caught.value) and "peerchat.toml" in str(caught.value)


@pytest.mark.parametrize("name", ["PORT", "HEARTBEAT_S", "SECURE_COOKIES"])
def test_a_variable_that_is_wrong_is_named(tmp_path, name):
    with pytest.raises(SettingsError, match=name.lower()):
        load(tmp_path, 'data = "/a"', environ={PREFIX + name: "nonsense"})


def test_lists_in_a_variable_are_parted_by_commas(tmp_path):
    origins = "https://a.example, https://b.example"
    found = load(
        tmp_path, 'data = "/a"', environ={"PEERCHAT_ORIGINS": origins, "PEERCHAT_TRUSTED_PROXIES": ""}
    )
    assert found.origins == ("https://a.example", "https://b.example") and found.trusted_proxies == ()


@pytest.mark.parametrize("text", ["data = ", "[[", "data = 'a"])
def test_a_file_that_is_no_toml_is_named(tmp_path, text):
    with pytest.raises(SettingsError, match=r"peerchat\.toml"):
        load(tmp_path, text)


def test_a_file_that_is_not_utf_8_or_not_there_is_named(tmp_path):
    path = tmp_path / "peerchat.toml"
    with pytest.raises(SettingsError, match=r"(?i)no such file"):
        load_settings(path, environ={})
    path.write_bytes(b"data = '\xff'")
    with pytest.raises(SettingsError, match=r"peerchat\.toml"):
        load_settings(path, environ={})
    with pytest.raises(SettingsError, match=str(tmp_path)):
        load_settings(tmp_path, environ={})


def test_a_table_says_by_which_files_messages_are_judged(tmp_path):
    """The environment wins entry by entry, and another entry is refused by name."""
    text = 'data = "/a"\n[moderation]\npolicy = "/p.toml"\noverlays = ["/a.toml"]'
    environ = {"PEERCHAT_MODERATION_RELOAD": "watch", "PEERCHAT_MODERATION_OVERLAYS": "/b.toml, /c.toml"}
    found = load(tmp_path, text, environ=environ).moderation
    assert (found.policy, found.reload) == (Path("/p.toml"), "watch")
    assert found.overlays == (Path("/b.toml"), Path("/c.toml"))
    assert load(tmp_path, 'data = "/a"').moderation.policy is None
    for wrong, name in (('reload = "often"', "moderation.reload"), ("polcy = 1", "moderation.polcy")):
        with pytest.raises(SettingsError, match=name):
            load(tmp_path, f'data = "/a"\n[moderation]\n{wrong}')
    with pytest.raises(SettingsError, match="moderation"):
        load(tmp_path, 'data = "/a"\nmoderation = 7', environ=environ)


def test_settings_do_not_change():
    found = load_settings(None, environ={}, data="/a")
    with pytest.raises(ValidationError):
        found.port = 1


def test_every_setting_says_what_it_is_for():
    """In the code, as docs/settings.md says it for operators."""
    assert all(name == name.lower() for name in Settings.model_fields)
    assert {n for n in Settings.model_fields if n.endswith("_s")} == {"heartbeat_s", "judge_deadline_s"}
