"""Contact points: addresses that are taken and refused, what is shown of them, and the pauses."""

from datetime import timedelta

import pytest

from peerchat.channels import contact, signing
from peerchat.channels.contact import BadContact, Kind, hint, pause_after, plain


@pytest.mark.parametrize(
    ("kind", "to", "found"),
    [
        (Kind.EMAIL, " ada@school.example ", "ada@school.example"),
        (Kind.EMAIL, "ada@school", None),
        (Kind.EMAIL, "ada@school.example,eve@evil.example", None),
        (Kind.EMAIL, "ada@school.example?to=eve@evil.example", None),
        (Kind.EMAIL, "ada@school.example\r\nBcc: eve@evil.example", None),
        (Kind.SMS, "01632 960-123", "01632960123"),
        (Kind.SMS, "+44 (1632) 960123", "+441632960123"),
        (Kind.SMS, "999", None),
        (Kind.VOICE, "0163296x123", None),
        (Kind.WEBHOOK, "ada@school.example", None),
        (Kind.PUSH, "01632960123", None),
    ],
)
def test_plain_addresses(kind: Kind, to: str, found: str | None) -> None:
    assert plain(kind, to) == found


@pytest.mark.parametrize(
    "to",
    [
        "http://pager.school.example/x",
        "https://",
        "https://u:secret@pager.school.example/",
        "ftp://x.example",
        "https://pager.school.example/#x",
        "https://pager.school.example:port/",
        "https://pager school.example/",
        "https://x.example/\r\nX-Evil: 1",
    ],
)
def test_a_webhook_goes_by_https_and_the_refusal_tells_no_address(to: str) -> None:
    with pytest.raises(BadContact) as refused:
        contact.checked_web(to)
    assert "secret" not in str(refused.value)


def test_a_webhook_to_this_very_host_may_be_plain() -> None:
    assert contact.checked_web("http://127.0.0.1:9000/x") == "http://127.0.0.1:9000/x"


@pytest.mark.parametrize(
    ("kind", "to", "shown"),
    [
        (Kind.EMAIL, "ada@school.example", "a…@school.example"),
        (Kind.SMS, "+441632960123", "…123"),
        (Kind.WEBHOOK, "https://pager.school.example/token/abc", "https://pager.school.example/…"),
        (Kind.CHAT, "slack://TokenA/TokenB/Channel", "slack://…"),
        (Kind.EMAIL, "mailto://user:secret@mail.example", "mailto://…"),
        (Kind.PUSH, '{"endpoint": "https://fcm.googleapis.com/secret"}', "a browser"),
    ],
)
def test_what_is_shown_of_an_address_gives_nothing_away(kind: Kind, to: str, shown: str) -> None:
    assert hint(kind, to) == shown


def test_pauses_grow_to_a_minute_and_no_further() -> None:
    assert [pause_after(n).total_seconds() for n in (0, 1, 2, 3, 4, 5, 6, 7, 99)] == [
        2, 2, 4, 8, 15, 30, 60, 60, 60,
    ]  # fmt: skip
    assert pause_after(1, asked_s=20) == timedelta(seconds=20)
    assert pause_after(5, asked_s=1) == timedelta(seconds=30)
    assert pause_after(1, asked_s=1e9) == timedelta(seconds=60)


async def test_addresses_as_people_give_them(staff) -> None:
    """A page takes plain ones alone; the command line also what Apprise knows, but nothing of this host."""
    checked = staff.senders.checked
    assert checked(Kind.EMAIL, "ada@school.example", urls=False) == "ada@school.example"
    for kind, to in (
        (Kind.EMAIL, "mailto://user:pass@intranet.example"),
        (Kind.VOICE, "https://pager.school.example"),
        (Kind.WEBHOOK, "https://pager.school.example"),
        (Kind.CHAT, "ada@school.example"),
    ):
        with pytest.raises(BadContact):
            checked(kind, to, urls=False)
    assert checked(Kind.VOICE, "https://pager.school.example", urls=True)
    assert checked(Kind.CHAT, "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/%23general", urls=True)
    for to in (
        "dbus://",
        "syslog://",
        "windows://",
        "file:///etc/passwd",
        "nonsense://x",
        "apprise://evil/x",
    ):
        with pytest.raises(BadContact):
            checked(Kind.CHAT, to, urls=True)
    with pytest.raises(BadContact):
        checked(Kind.EMAIL, "https://pager.school.example", urls=True)


@pytest.mark.parametrize("change", ["no headers", "word", "empty id", "long", "other version"])
def test_a_receiver_refuses_what_is_not_whole(change: str) -> None:
    secret = signing.new_secret()
    headers = signing.headers(secret, timestamp=1000, id="att_1", body=b"{}")
    assert signing.genuine(secret, headers, b"{}", now=1001)
    changed = {
        "no headers": {},
        "word": headers | {signing.TIMESTAMP: "now"},
        "empty id": headers | {signing.ID: ""},
        "long": headers | {signing.TIMESTAMP: "9" * 400},
        "other version": headers | {signing.SIGNATURE: headers[signing.SIGNATURE].replace("v1=", "v2=")},
    }[change]
    assert not signing.genuine(secret, changed, b"{}", now=1001)
