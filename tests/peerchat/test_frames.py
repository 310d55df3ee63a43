"""The wire: what clients may send, what the server says, and that nothing else comes through."""

import json
import unicodedata
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, get_args

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import UNSET, Struct

from peerchat import frames
from peerchat.errors import ClientError, Invalid, Malformed, RateLimited, TooLong, UnknownFrame
from peerchat.frames import MAX_TEXT, ClientFrame, ServerFrame, Service, Who, clean_text, dump, parse

# ---------------------------------------------------------------------------- from the client

FULL: dict[str, dict[str, Any]] = {
    "ask": {
        "topics": ["Friends"],
        "preferences": {"older": True, "other_year": False, "lived_experience": True, "again": False},
        "mood": 3,
        "note": "hi",
    },
    "cancel": {},
    "send": {"conversation": "c", "id": "i", "text": "hello"},
    "typing": {"conversation": "c"},
    "history": {"conversation": "c", "after": 7, "limit": 200},
    "flag": {"conversation": "c", "urgency": "emergency", "note": "n", "about": "adult"},
    "mistake": {"alert": "a"},
    "report": {"conversation": "c", "message": "m", "reason": "unkind", "note": "n"},
    "block": {"conversation": "c"},
    "second_look": {"message": "m"},
    "leave": {"conversation": "c", "mood": 5, "helpful": True, "again": False},
    "shift": {"on": True, "capacity": 2},
    "break": {"on": False},
    "duty": {"on": True, "phone": True},
    "ping": {},
}
"""Every frame of the protocol's table, with all its fields."""

REQUIRED = {
    "send": ["conversation", "id", "text"],
    "typing": ["conversation"],
    "history": ["conversation"],
    "flag": ["urgency"],
    "mistake": ["alert"],
    "report": ["conversation", "reason"],
    "block": ["conversation"],
    "second_look": ["message"],
    "leave": ["conversation"],
    "shift": ["on"],
    "break": ["on"],
    "duty": ["on"],
}


def frame(type: str, **fields: Any) -> str:
    return json.dumps({"type": type, **fields})


def bad(raw: str) -> ClientError:
    with pytest.raises(ClientError) as caught:
        parse(raw)
    return caught.value


def test_the_table_is_the_code():
    """No frame that the protocol does not have, and none missing."""
    assert {cls.__struct_config__.tag for cls in get_args(ClientFrame)} == set(FULL)


@pytest.mark.parametrize("type", FULL)
def test_every_frame_parses_with_all_its_fields(type):
    """As it was sent, with its ref."""
    parsed = parse(frame(type, ref="r1", **FULL[type]))
    assert parsed.__struct_config__.tag == type and parsed.ref == "r1"
    for name, value in FULL[type].items():
        got = getattr(parsed, name)
        if isinstance(got, Struct):
            got = {f: getattr(got, f) for f in got.__struct_fields__}
        assert got == value


@pytest.mark.parametrize(("type", "name"), [(t, n) for t, names in REQUIRED.items() for n in names])
def test_a_missing_field_is_invalid_and_named(type, name):
    """The answer says which, and carries the ref."""
    fields = {k: v for k, v in FULL[type].items() if k != name}
    error = bad(frame(type, ref="r1", **fields))
    assert isinstance(error, Invalid) and name in error.detail and error.ref == "r1"


@pytest.mark.parametrize("type", FULL)
def test_only_these_fields_are_required(type):
    """Everything else may be left out."""
    parse(frame(type, **{n: FULL[type][n] for n in REQUIRED.get(type, [])}))


@pytest.mark.parametrize("type", FULL)
@pytest.mark.parametrize("name", ["verdict", "role", "seq", "from", "member", "status", "x"])
def test_a_field_that_is_the_servers_own_is_refused(type, name):
    """A client can smuggle nothing in."""
    error = bad(frame(type, ref="r1", **FULL[type], **{name: "y"}))
    assert (error.code, error.ref) == ("invalid", "r1")


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        ("", Malformed),
        ("hello", Malformed),
        ('{"type": "ping"', Malformed),
        ('{"type": "ping"} {}', Malformed),
        ("[]", Malformed),
        ("null", Malformed),
        ('"ping"', Malformed),
        ("7", Malformed),
        ("[" * 20_000, Malformed),
        ('{"a":' * 20_000, Malformed),
        ("{}", Invalid),
        ('{"type": 7}', Invalid),
        ('{"type": null}', Invalid),
        ('{"type": ["ping"]}', Invalid),
        ('{"type": "pong"}', UnknownFrame),
        ('{"type": ""}', UnknownFrame),
        ('{"type": "PING"}', UnknownFrame),
        ('{"type": "welcome"}', UnknownFrame),
        ('{"type": "ack"}', UnknownFrame),
        ('{"type": "ping", "ref": 7}', Invalid),
        ('{"type": "ping", "ref": ""}', Invalid),
        (frame("ping", ref="x" * 65), Invalid),
        (frame("send", conversation="c", id="", text="x"), Invalid),
        (frame("send", conversation="c", id="x" * 65, text="x"), Invalid),
        (frame("send", conversation=None, id="i", text="x"), Invalid),
        (frame("send", conversation="c", id=1, text="x"), Invalid),
        (frame("send", conversation="c", id="i", text=None), Invalid),
        (frame("send", conversation="c", id="i", text=["x"]), Invalid),
        (frame("ask", mood=0), Invalid),
        (frame("ask", mood=6), Invalid),
        (frame("ask", mood="3"), Invalid),
        (frame("ask", mood=True), Invalid),
        (frame("ask", topics=[7]), Invalid),
        (frame("ask", topics=["x"] * 21), Invalid),
        (frame("ask", preferences={"younger": True}), Invalid),
        (frame("ask", preferences={"older": "yes"}), Invalid),
        (frame("history", conversation="c", after=-1), Invalid),
        (frame("history", conversation="c", after=2**60), Invalid),
        (frame("history", conversation="c", after=1.5), Invalid),
        (frame("history", conversation="c", limit=0), Invalid),
        (frame("history", conversation="c", limit=201), Invalid),
        (frame("flag", urgency="none"), Invalid),
        (frame("report", conversation="c", message="m", reason="rude"), Invalid),
        (frame("shift", on=1), Invalid),
        (frame("shift", on="true"), Invalid),
        (frame("shift", on=True, capacity=0), Invalid),
        ('{"type": "history", "conversation": "c", "after": NaN}', ClientError),
        ('{"type": "history", "conversation": "c", "after": ' + "9" * 5000 + "}", ClientError),
        ('{"type": "send", "conversation": "c", "id": "\\ud800", "text": "x"}', ClientError),
    ],
)
def test_a_bad_frame_is_refused_by_its_kind(raw, kind):
    """Malformed, unknown or invalid: never a frame, never another exception."""
    assert isinstance(bad(raw[:100_000]), kind)


def test_a_refusal_carries_the_ref_where_one_could_be_read():
    """So the client knows which of its frames it was."""
    assert bad('{"type": "pong", "ref": "r1"}').ref == "r1"
    assert bad('{"ref": "r1"}').ref == "r1"
    assert bad('{"type": "pong", "ref": 7}').ref is None
    assert bad(frame("send", ref="r1", conversation="c", id="i", text=" ")).ref == "r1"


@pytest.mark.parametrize("type", ["send", "ask", "flag", "report"])
def test_a_text_is_brought_to_nfc(type):
    """Stored, compared and delivered in one form, in every field that a person writes."""
    name = "text" if type == "send" else "note"
    decomposed, composed = "Zoe\u0308 \u1100\u1161", "Zo\u00eb \uac00"
    parsed = parse(frame(type, **{**FULL[type], name: decomposed}))
    assert getattr(parsed, name) == composed


@pytest.mark.parametrize("type", ["send", "ask", "flag", "report"])
@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("x" * MAX_TEXT, None),
        ("x" * (MAX_TEXT + 1), TooLong),
        ("\U0001f9e1" * MAX_TEXT, None),  # code points, neither bytes nor UTF-16 units
        ("\U0001f9e1" * (MAX_TEXT + 1), TooLong),
        ("e\u0301" * MAX_TEXT, None),  # counted after NFC
        ("\u03b1\u0313\u0300\u0345" * MAX_TEXT, None),  # the most that NFC shortens: fourfold
        ("\u03b1\u0313\u0300\u0345" * MAX_TEXT + "x", TooLong),
        ("\U0001d160" * (MAX_TEXT // 3 + 1), TooLong),  # NFC makes three of one
        ("x\x00y", Invalid),
        ("\x00", Invalid),
        ("x\ud800", Invalid),
        ("\udfffx", Invalid),
    ],
)
def test_the_bounds_of_a_text(type, text, kind):
    """1 to 2,000 code points after NFC, without NUL and lone surrogates."""
    name = "text" if type == "send" else "note"
    raw = json.dumps({"type": type, **FULL[type], name: text}, ensure_ascii=False)
    if kind is None:
        assert len(getattr(parse(raw), name)) == MAX_TEXT
    else:
        assert isinstance(bad(raw), (kind, Invalid) if "\ud800" <= max(text) <= "\udfff" else kind)


@pytest.mark.parametrize("text", ["", " ", "\n\t ", "\u3000\u2003\u00a0", "\u2028"])
def test_nothing_but_white_space_is_no_message(text):
    """A note may be empty, a message not."""
    assert bad(frame("send", conversation="c", id="i", text=text)).code == "invalid"
    parse(frame("ask", note=text))


@pytest.mark.parametrize("escape", ["\\ud800", "\\udfff", "\\ud800\\u0041", "x\\udc00y"])
def test_an_escaped_lone_surrogate_is_refused(escape):
    """Whatever way it is written."""
    assert isinstance(bad(f'{{"type":"send","conversation":"c","id":"i","text":"{escape}"}}'), ClientError)


def test_what_was_refused_is_not_repeated():
    """An error's detail may end in a log: it never holds what somebody wrote."""
    for raw in (
        frame("send", conversation="c", id="i", text="SECRETWORDS" * 1000),
        frame("send", conversation="c", id="i", text="SECRETWORDS\x00"),
        frame("flag", urgency="SECRETWORDS"),
        frame("SECRETWORDS"),
        frame("report", conversation="c", message="m", reason="SECRETWORDS", note="x"),
    ):
        assert "SECRETWORDS" not in bad(raw).detail


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@given(st.text(st.characters(), max_size=200))
@example("\ud800")
@example('{"type":"send","text":"\ud800"}')
@example("\x00")
def test_any_text_parses_or_is_refused(raw):
    """Nothing but a `ClientError` ever comes out, and its words can be sent."""
    try:
        parse(raw)
    except ClientError as error:
        dump(frames.error_frame(error))


@given(json_values)
def test_any_json_parses_or_is_refused(value):
    """Likewise for what is JSON."""
    try:
        parse(json.dumps(value))
    except ClientError as error:
        dump(frames.error_frame(error))


@given(
    st.sampled_from(sorted(FULL)),
    st.dictionaries(
        st.sampled_from(sorted({name for fields in FULL.values() for name in fields} | {"ref", "seq"})),
        json_values | st.sampled_from(["c", "x", True, 1, 5]),
        max_size=6,
    ),
    st.booleans(),
)
def test_any_fields_of_a_known_frame_parse_or_are_refused(type, fields, escaped):
    """And what parses holds no text out of bounds."""
    try:
        parsed = parse(json.dumps({"type": type, **fields}, ensure_ascii=escaped))
    except ClientError as error:
        dump(frames.error_frame(error))
        return
    name = frames.TEXT_FIELDS.get(type_of(parsed))
    text = getattr(parsed, name) if name is not None else None
    if text is not None:
        assert len(text) <= MAX_TEXT and "\x00" not in text
        assert unicodedata.is_normalized("NFC", text)
        text.encode()


def type_of(parsed: ClientFrame) -> type[Struct]:
    return type(parsed)


@given(st.text(st.characters(), max_size=60))
@example("\u0344")
@example("\u1e9b\u0323")
def test_a_clean_text_is_stable(text):
    """Cleaned again, it stays as it is; nothing of it is lost but its form."""
    try:
        once = clean_text(text)
    except ClientError:
        return
    assert clean_text(once) == once
    assert unicodedata.normalize("NFD", once) == unicodedata.normalize("NFD", text)


# ---------------------------------------------------------------------------- from the server

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
WHO = Who(alias="Blue Finch", role="pupil")
SERVICE = Service(name="Childline", phone="0800 1111", url="https://x.example", hours="any time")
ITEM = frames.ReviewItem(
    id="r", kind="held", conversation="c", message="m", risk="none", labels=[], state="open", holder=None,
    created_at=NOW, due_at=NOW, version=1,
)  # fmt: skip
ALERT = frames.AlertView(
    id="a",
    conversation="c",
    risk="high",
    labels=["flag"],
    state="open",
    rung=0,
    opened_at=NOW,
    next_due_at=NOW,
)
SAID: dict[str, tuple[ServerFrame, set[str]]] = {
    "welcome": (
        frames.Welcome(
            member=frames.MemberView(id="m", role="pupil", alias=None, site="s"),
            site=frames.SiteView(name="n", open=True, why=None, topics=["t"], services=[SERVICE], on_duty=[]),
            conversations=[
                frames.ConversationView(
                    conversation="c", partner=WHO, state="open", last_seq=3, members=[WHO]
                )
            ],
            heartbeat_s=20.0,
        ),
        {"member", "site", "conversations", "heartbeat_s"},
    ),
    "own": (
        frames.Own(conversation="c", message="m", id="i", text="t", status="held", reason="paused", at=NOW),
        {"conversation", "message", "id", "text", "status", "reason"},
    ),
    "done": (frames.Done(for_="duty", until=NOW, alert="a"), {"for", "until", "alert"}),
    "site": (
        frames.Site(open=False, why="outside_hours", services=[SERVICE], on_duty=[]),
        {"open", "why", "services"},
    ),
    "waiting": (frames.Waiting(position=1, wait_s=None), {"position", "wait_s"}),
    "paired": (
        frames.Paired(conversation="c", partner=Who(alias="a", role="mentor", topics=[]), notice="n"),
        {"conversation", "partner", "notice"},
    ),
    "ack": (
        frames.Ack(
            id="i", conversation="c", message="m", status="held", seq=1, reason="unkind", support=[SERVICE]
        ),
        {"id", "conversation", "message", "status", "seq", "reason", "support"},
    ),
    "message": (
        frames.Message(conversation="c", message="m", seq=1, from_=WHO, text="t", at=NOW, replay=True),
        {"conversation", "message", "seq", "from", "text", "at", "replay"},
    ),
    "decided": (
        frames.Decided(conversation="c", message="m", status="delivered", seq=2, reason="x"),
        {"conversation", "message", "status", "seq", "reason"},
    ),
    "history_end": (
        frames.HistoryEnd(conversation="c", last_seq=2, more=False, reset=False),
        {"conversation", "last_seq", "more", "reset"},
    ),
    "support": (
        frames.Support(conversation="c", text="t", services=[SERVICE]),
        {"conversation", "text", "services"},
    ),
    "help": (frames.Help(conversation="c", state="asked"), {"conversation", "state"}),
    "typing": (frames.TypingNow(conversation="c", from_=WHO), {"conversation", "from"}),
    "presence": (frames.PresenceNow(conversation="c", from_=WHO, online=True), {"conversation", "from"}),
    "joined": (frames.Joined(conversation="c", member=WHO), {"conversation", "member"}),
    "left": (frames.Left(conversation="c", member=WHO), {"conversation", "member"}),
    "paused": (frames.Paused(conversation="c", why="w"), {"conversation", "why"}),
    "resumed": (frames.Resumed(conversation="c", why="w"), {"conversation", "why"}),
    "ended": (frames.Ended(conversation="c", why="w"), {"conversation", "why"}),
    "review": (frames.Review(change="added", item=ITEM), {"change", "item"}),
    "alert": (frames.Alert(change="raised", alert=ALERT), {"change", "alert"}),
    "handover": (
        frames.Handover(id="h", change="offered", from_="a", to="b", alerts=1, until=NOW),
        {"id", "change", "from", "to", "alerts", "until"},
    ),
    "heartbeat": (frames.Heartbeat(conversations={"c": 3}), {"conversations"}),
    "error": (
        frames.error_frame(RateLimited("slower", retry_after_s=0.2, ref="r1")),
        {"code", "detail", "retry_after_s"},
    ),
}
"""Every frame of the server's with the fields that the protocol names."""


def test_the_servers_table_is_the_code():
    """No frame that the protocol does not have, and none missing."""
    assert {cls.__struct_config__.tag for cls in get_args(ServerFrame)} == set(SAID)


@pytest.mark.parametrize("type", SAID)
def test_every_server_frame_is_written_as_the_protocol_says(type):
    """Its type, and at least the fields that clients rely on."""
    sent, fields = SAID[type]
    doc = json.loads(dump(sent))
    assert doc["type"] == type and fields <= set(doc)


@pytest.mark.parametrize("type", SAID)
def test_a_ref_is_there_only_where_it_answers_one(type):
    """What nobody asked for carries none."""
    sent, _ = SAID[type]
    doc = json.loads(dump(sent))
    assert ("ref" in doc) == (type == "error")


ITEM_FIELDS = "id kind conversation message risk labels state holder created_at due_at version"
ALERT_FIELDS = "id conversation risk labels state rung opened_at next_due_at"


@pytest.mark.parametrize(
    ("part", "fields"),
    [
        (ITEM, ITEM_FIELDS),
        (ALERT, ALERT_FIELDS),
        (SERVICE, "name phone url hours text"),
        (WHO, "alias role topics"),
    ],
    ids=["review item", "alert", "service", "who"],
)
def test_what_is_inside_holds_these_fields_and_no_others(part, fields):
    """Neither an item nor an alert has room for text or a name."""
    assert set(part.__struct_fields__) == set(fields.split())


def test_a_moment_is_written_in_utc_to_milliseconds():
    """RFC 3339, with a Z; whatever zone and however fine it was."""
    moment = datetime(2026, 3, 2, 12, 0, 0, 123_987, tzinfo=timezone(timedelta(hours=2)))
    sent = frames.Message(
        conversation="c", message="m", seq=1, from_=WHO, text="t", at=frames.utc(moment), replay=UNSET
    )
    assert json.loads(dump(sent))["at"] == "2026-03-02T10:00:00.123000Z"


def test_optional_answers_are_left_out_not_null():
    """An `ack` without a seq has no `seq`; what may be null by the protocol is null."""
    ack = json.loads(dump(frames.Ack(id="i", conversation="c", message="m", status="blocked")))
    assert set(ack) == {"type", "id", "conversation", "message", "status"}
    assert json.loads(dump(frames.Waiting(position=1, wait_s=None)))["wait_s"] is None
    assert json.loads(dump(frames.Site(open=True, why=None, services=[], on_duty=[])))["why"] is None
