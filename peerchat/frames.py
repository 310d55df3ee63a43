"""Every frame of the wire as a type: `parse()` what clients send, `dump()` what the server says.

Client frames form one closed union (`ClientFrame`). A frame with a field that is not in its type is refused,
so a client can never smuggle in `role`, `seq` or `verdict`. Texts arrive in NFC.
"""

import json
import re
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, field

from peerchat.errors import ClientError, Invalid, Malformed, TooLong, UnknownFrame

SUBPROTOCOL = "peerchat.v1"
MAX_FRAME_BYTES = 16 * 1024
MAX_TEXT = 2_000
"""Code points, after NFC."""
MAX_HISTORY = 200

Ref = Annotated[str, Meta(min_length=1, max_length=64)]
Id = Annotated[str, Meta(min_length=1, max_length=64)]
Mood = Annotated[int, Meta(ge=1, le=5)]
Seq = Annotated[int, Meta(ge=0, le=2**53)]

# ---------------------------------------------------------------------------- from the client


class _Client(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    ref: Ref | None = None


class Preferences(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a pupil would like; wishes, never promises."""

    older: bool = False
    other_year: bool = False
    lived_experience: bool = False
    again: bool = False


class Ask(_Client, frozen=True, kw_only=True, tag="ask"):
    """A pupil asks for someone to talk to."""

    topics: Annotated[list[Annotated[str, Meta(max_length=64)]], Meta(max_length=20)] = []
    preferences: Preferences = Preferences()
    mood: Mood | None = None
    note: str | None = None


class Cancel(_Client, frozen=True, kw_only=True, tag="cancel"):
    """A pupil stops waiting."""


class Send(_Client, frozen=True, kw_only=True, tag="send"):
    """One message; `id` is the client's own and makes a retry safe."""

    conversation: Id
    id: Id
    text: str


class Typing(_Client, frozen=True, kw_only=True, tag="typing"):
    """Somebody is writing."""

    conversation: Id


class History(_Client, frozen=True, kw_only=True, tag="history"):
    """Delivered messages after a seq."""

    conversation: Id
    after: Seq = 0
    limit: Annotated[int, Meta(ge=1, le=MAX_HISTORY)] = MAX_HISTORY


class Flag(_Client, frozen=True, kw_only=True, tag="flag"):
    """A member asks for an adult."""

    conversation: Id | None = None
    urgency: Literal["concern", "emergency"]
    note: str | None = None
    about: Literal["adult"] | None = None


class Mistake(_Client, frozen=True, kw_only=True, tag="mistake"):
    """Whoever raised an alert says that it was pressed by mistake: information, which stops nothing."""

    alert: Id


class Report(_Client, frozen=True, kw_only=True, tag="report"):
    """A member reports a message."""

    conversation: Id
    message: Id | None = None
    reason: Literal["unkind", "personal", "unsafe", "other"]
    note: str | None = None


class Block(_Client, frozen=True, kw_only=True, tag="block"):
    """Never again with this partner; ends the conversation."""

    conversation: Id


class SecondLook(_Client, frozen=True, kw_only=True, tag="second_look"):
    """The sender of a held or blocked message asks for another look."""

    message: Id


class Leave(_Client, frozen=True, kw_only=True, tag="leave"):
    """A member leaves a conversation."""

    conversation: Id
    mood: Mood | None = None
    helpful: bool | None = None
    again: bool | None = None


class Shift(_Client, frozen=True, kw_only=True, tag="shift"):
    """A mentor goes on or off shift."""

    on: bool
    capacity: Annotated[int, Meta(ge=1, le=1000)] | None = None


class Break(_Client, frozen=True, kw_only=True, tag="break"):
    """A mentor takes or ends a break."""

    on: bool


class Duty(_Client, frozen=True, kw_only=True, tag="duty"):
    """An adult (or a moderator, who never counts for the interlock) takes, renews or ends duty.

    `phone`: a press on a phone, which holds for longer than a page that renews by itself.
    """

    on: bool
    phone: bool = False


class Ping(_Client, frozen=True, kw_only=True, tag="ping"):
    """Still here."""


ClientFrame = (
    Ask
    | Cancel
    | Send
    | Typing
    | History
    | Flag
    | Mistake
    | Report
    | Block
    | SecondLook
    | Leave
    | Shift
    | Break
    | Duty
    | Ping
)

TEXT_FIELDS: dict[type[Struct], str] = {Send: "text", Ask: "note", Flag: "note", Report: "note"}
"""The field of each frame that holds what a person wrote."""

_decode: Callable[[str], ClientFrame] = msgspec.json.Decoder(ClientFrame).decode
_TYPES = {cls.__struct_config__.tag for cls in ClientFrame.__args__}


def parse(raw: str) -> ClientFrame:
    """Return the frame in one text message.

    Raises a `ClientError` that carries the frame's `ref` where one could be read. Never raises anything else.
    """
    try:
        frame = _decode(raw)
    except (msgspec.MsgspecError, RecursionError, UnicodeError, ValueError) as error:
        raise _refusal(raw, error) from None
    name = TEXT_FIELDS.get(type(frame))
    if name is None:
        return frame
    text = getattr(frame, name)
    if text is None:
        return frame
    try:
        checked = clean_text(text, name=name, required=type(frame) is Send)
    except ClientError as error:
        error.ref = frame.ref
        raise
    return frame if checked is text else msgspec.structs.replace(frame, **{name: checked})


def clean_text(text: str, *, name: str = "text", required: bool = True) -> str:
    """Bring a text to NFC and check it.

    Raises `TooLong` above `MAX_TEXT` code points, and `Invalid` for NUL, lone surrogates, and, where it is
    required, nothing but white space.
    """
    if len(text) > 4 * MAX_TEXT:  # NFC shortens at most fourfold: no need to look closer
        raise TooLong(f"`{name}` may have up to {MAX_TEXT} characters")
    if not text.isascii():
        if any("\ud800" <= ch <= "\udfff" for ch in text):
            raise Invalid(f"`{name}` holds a lone surrogate")
        text = unicodedata.normalize("NFC", text)
    if len(text) > MAX_TEXT:
        raise TooLong(f"`{name}` may have up to {MAX_TEXT} characters")
    if "\x00" in text:
        raise Invalid(f"`{name}` holds a NUL")
    if required and not text.strip():
        raise Invalid(f"`{name}` is empty")
    return text


def _refusal(raw: str, error: Exception) -> ClientError:
    """Say what is wrong with a frame that did not decode; the slow path, only for bad frames."""
    try:
        doc = json.loads(raw)
    except (ValueError, RecursionError):
        return Malformed("not JSON")
    if not isinstance(doc, dict):
        return Malformed("not a JSON object")
    ref = doc.get("ref")
    if not (isinstance(ref, str) and 1 <= len(ref) <= 64 and _encodable(ref)):
        ref = None
    kind = doc.get("type")
    if not isinstance(kind, str):
        return Invalid("`type` is missing or not a string", ref=ref)
    if kind not in _TYPES:
        return UnknownFrame("no such frame", ref=ref)
    return Invalid(_where(error), ref=ref)


def _where(error: Exception) -> str:
    """Say which field is wrong, without the value: msgspec's own words repeat it."""
    found = re.search(r"field `([A-Za-z_]{1,32})`| at `\$\.([A-Za-z_.\[\]]{1,64})", str(error))
    name = next((group for group in found.groups() if group), None) if found else None
    if not isinstance(error, msgspec.ValidationError) or name is None:
        return "a field has a wrong value"
    return f"`{name}` is missing, has a wrong value, or is not a client's to send"


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


# ---------------------------------------------------------------------------- from the server


class _Server(Struct, frozen=True, kw_only=True, tag_field="type", omit_defaults=False):
    """A frame of the server's; `ref` is there only where it answers one."""

    ref: str | UnsetType = UNSET


class Who(Struct, frozen=True, kw_only=True):
    """How somebody appears to a partner."""

    alias: str
    role: str
    topics: list[str] | UnsetType = UNSET


class Service(Struct, frozen=True, kw_only=True):
    """A place to turn."""

    name: str
    phone: str | None = None
    url: str | None = None
    hours: str | None = None
    text: str | None = None


class SiteView(Struct, frozen=True, kw_only=True):
    """The site as a member sees it in `welcome`."""

    name: str
    open: bool
    why: str | None
    topics: list[str]
    services: list[Service]
    on_duty: list[str]
    next_open_text: str | None = None
    closes_at: datetime | None = None
    independent: bool = False


class MemberView(Struct, frozen=True, kw_only=True):
    """A member as the member sees itself."""

    id: str
    role: str
    alias: str | None
    site: str


class ConversationView(Struct, frozen=True, kw_only=True):
    """An open conversation of the member's."""

    conversation: str
    partner: Who | None
    state: str
    last_seq: int
    members: list[Who]
    why: str | None = None


class Mark(Struct, frozen=True, kw_only=True):
    """Half-open range of code points of one's own text that a reason is about."""

    start: int
    end: int


class Welcome(_Server, frozen=True, kw_only=True, tag="welcome"):
    """The first frame on every line."""

    member: MemberView
    site: SiteView
    conversations: list[ConversationView]
    heartbeat_s: float
    waiting: bool = False
    shift: dict[str, Any] | None = None
    duty_until: datetime | None = None


class Own(_Server, frozen=True, kw_only=True, tag="own"):
    """One of one's own messages that was not delivered."""

    conversation: str
    message: str
    id: str
    text: str
    status: str
    reason: str | None
    at: datetime
    marks: list[Mark] = []


class Done(_Server, frozen=True, kw_only=True, tag="done"):
    """What had no other answer is committed."""

    for_: str = field(name="for")
    until: datetime | UnsetType = UNSET
    alert: str | UnsetType = UNSET


class Site(_Server, frozen=True, kw_only=True, tag="site"):
    """The site opened or closed, or will close soon: `closes_at` is null before the warning."""

    open: bool
    why: str | None
    services: list[Service]
    on_duty: list[str]
    next_open_text: str | None = None
    closes_at: datetime | None = None


class Waiting(_Server, frozen=True, kw_only=True, tag="waiting"):
    """A pupil's place in line; `wait_s` is null where nothing recent was measured."""

    position: int
    wait_s: int | None


class Paired(_Server, frozen=True, kw_only=True, tag="paired"):
    """A conversation has begun."""

    conversation: str
    partner: Who
    notice: str


class Ack(_Server, frozen=True, kw_only=True, tag="ack"):
    """The message is committed, and this became of it."""

    id: str
    conversation: str
    message: str
    status: str
    seq: int | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    support: list[Service] | UnsetType = UNSET
    marks: list[Mark] | UnsetType = UNSET


class Message(_Server, frozen=True, kw_only=True, tag="message"):
    """A delivered message."""

    conversation: str
    message: str
    seq: int
    from_: Who = field(name="from")
    text: str
    at: datetime
    replay: bool | UnsetType = UNSET
    own: bool | UnsetType = UNSET


class Decided(_Server, frozen=True, kw_only=True, tag="decided"):
    """What became of one's held message."""

    conversation: str
    message: str
    status: str
    seq: int | UnsetType = UNSET
    reason: str | UnsetType = UNSET


class HistoryEnd(_Server, frozen=True, kw_only=True, tag="history_end"):
    """The end of one page of history."""

    conversation: str
    last_seq: int
    more: bool
    reset: bool


class Support(_Server, frozen=True, kw_only=True, tag="support"):
    """Warm words and places to turn."""

    conversation: str
    text: str
    services: list[Service]


class Help(_Server, frozen=True, kw_only=True, tag="help"):
    """What is true of the adult's help: `asked`, `still_asking`, `has_it` or `here`."""

    conversation: str | None
    state: str


class TypingNow(_Server, frozen=True, kw_only=True, tag="typing"):
    """A partner is writing."""

    conversation: str
    from_: Who = field(name="from")


class PresenceNow(_Server, frozen=True, kw_only=True, tag="presence"):
    """A partner came or went."""

    conversation: str
    from_: Who = field(name="from")
    online: bool


class Joined(_Server, frozen=True, kw_only=True, tag="joined"):
    """Somebody entered, seen by all."""

    conversation: str
    member: Who


class Left(_Server, frozen=True, kw_only=True, tag="left"):
    """Somebody left."""

    conversation: str
    member: Who


class Paused(_Server, frozen=True, kw_only=True, tag="paused"):
    """Nothing is delivered for now."""

    conversation: str
    why: str


class Resumed(_Server, frozen=True, kw_only=True, tag="resumed"):
    """It goes on."""

    conversation: str
    why: str


class Ended(_Server, frozen=True, kw_only=True, tag="ended"):
    """The conversation is over."""

    conversation: str
    why: str


class ReviewItem(Struct, frozen=True, kw_only=True):
    """A review item without text."""

    id: str
    kind: str
    conversation: str | None
    message: str | None
    risk: str
    labels: list[str]
    state: str
    holder: str | None
    created_at: datetime
    due_at: datetime
    version: int


class Review(_Server, frozen=True, kw_only=True, tag="review"):
    """The queue changed."""

    change: str
    item: ReviewItem


class AlertView(Struct, frozen=True, kw_only=True):
    """An alert without text or name."""

    id: str
    conversation: str | None
    risk: str
    labels: list[str]
    state: str
    rung: int
    opened_at: datetime
    next_due_at: datetime | None


class Alert(_Server, frozen=True, kw_only=True, tag="alert"):
    """An alert changed; whatever notifies again is `climbed`."""

    change: str
    alert: AlertView


class Handover(_Server, frozen=True, kw_only=True, tag="handover"):
    """An adult offers another to take over alerts: `offered`, `accepted`, `declined` or `withdrawn`."""

    id: str
    change: str
    from_: str = field(name="from")
    to: str
    alerts: int
    until: datetime


class Heartbeat(_Server, frozen=True, kw_only=True, tag="heartbeat"):
    """The newest seq of each open conversation."""

    conversations: dict[str, int]


class Error(_Server, frozen=True, kw_only=True, tag="error"):
    """What was wrong, in a stable word and in words."""

    code: str
    detail: str
    retry_after_s: float | None = None


ServerFrame = (
    Welcome | Own | Done | Site | Waiting | Paired | Ack | Message | Decided | HistoryEnd | Support | Help
    | TypingNow | PresenceNow | Joined | Left | Paused | Resumed | Ended | Review | Alert | Handover
    | Heartbeat | Error
)  # fmt: skip


def _encode_time(value: Any) -> Any:
    raise TypeError(f"cannot encode {type(value).__name__}")


_encode = msgspec.json.Encoder(enc_hook=_encode_time).encode


def dump(frame: ServerFrame) -> str:
    """Return the frame as JSON text; times are RFC 3339 in UTC."""
    return _encode(frame).decode()


def error_frame(error: ClientError) -> Error:
    """Return the frame that answers a refused one."""
    return Error(
        code=error.code, detail=error.detail, retry_after_s=error.retry_after_s, ref=error.ref or UNSET
    )


def utc(value: datetime) -> datetime:
    """Return the same moment in UTC, to whole milliseconds, as frames write it."""
    value = value.astimezone(UTC)
    return value.replace(microsecond=value.microsecond // 1000 * 1000)
