"""docs/asyncapi.yaml against peerchat/frames.py, in both directions."""

import re
from typing import Any

import pytest
from msgspec import Struct

from escalation.alert import AlertState
from escalation.duty import Answer
from moderation.policy import Reason
from moderation.verdict import Risk, Role
from peerchat import errors, frames, hub, model
from peerchat.session import Session
from tests.docs.contract import Schema, narrowed, of_struct, plain, read, references, resolve

NAME = "asyncapi.yaml"
CLIENT: tuple[type[Struct], ...] = frames.ClientFrame.__args__
SERVER: tuple[type[Struct], ...] = frames.ServerFrame.__args__
BY_NAME = {cls.__name__: cls for cls in CLIENT + SERVER}

SITE_WHY = {model.NO_ADULT, model.OUTSIDE_HOURS, model.CLOSED_BY_STAFF}
STATUS = {status.value for status in model.MessageStatus}
RISKS = {risk.word for risk in Risk}
ANSWERED_OTHERWISE = {"ask", "send", "typing", "history"}

WORDS: dict[str, set[str]] = {
    "Who.role": {role.value for role in Role},
    "MemberView.role": {role.value for role in Role},
    "SiteView.why": SITE_WHY,
    "Site.why": SITE_WHY,
    "ConversationView.state": {s.value for s in model.ConversationState} - {"ended"},
    "Own.status": STATUS - {"delivered"},
    "Ack.status": STATUS - {"withheld"},
    "Decided.status": STATUS - {"held", "blocked"},
    "Done.for": {str(c.__struct_config__.tag) for c in CLIENT} - ANSWERED_OTHERWISE,
    "Help.state": {"asked", "still_asking", "has_it", "here"},
    "ReviewItem.kind": {kind.value for kind in model.ReviewKind},
    "ReviewItem.state": {state.value for state in model.ReviewState},
    "ReviewItem.risk": RISKS,
    "Review.change": {"added", "claimed", "decided"},
    "AlertView.state": {state.value for state in AlertState},
    "AlertView.risk": RISKS - {"none"},
    "Alert.change": {"raised", "climbed", "updated", "acknowledged", "in_hand", "closed"},
    "Handover.change": {"offered", *(answer.value for answer in Answer)},
    "Error.code": {cls.code for cls in errors.ClientError.__subclasses__()},
}
"""Where the type is only `str`, the words that the server uses."""


def parts(frame_types: tuple[type[Struct], ...]) -> set[type[Struct]]:
    """Return the structs that frames are made of."""
    return {
        value
        for value in vars(frames).values()
        if isinstance(value, type)
        and issubclass(value, Struct)
        and not value.__name__.startswith("_")
        and value.__module__ == frames.__name__
        and value not in frame_types
    }


STRUCTS = {cls.__name__: cls for cls in {*CLIENT, *SERVER, *parts(CLIENT + SERVER)}}


def test_every_type_is_documented_and_nothing_else() -> None:
    document = read(NAME)
    assert document["components"]["schemas"].keys() == STRUCTS.keys()
    assert document["components"]["messages"].keys() == BY_NAME.keys()
    assert document["channels"]["line"]["messages"].keys() == BY_NAME.keys()


@pytest.mark.parametrize("name", sorted(STRUCTS))
def test_fields_required_and_limits_are_those_of_the_code(name: str) -> None:
    cls = STRUCTS[name]
    client = cls in CLIENT or cls is frames.Preferences
    code = of_struct(cls, server=not client)
    doc = plain(read(NAME)["components"]["schemas"][name], defaults=client)
    text = frames.TEXT_FIELDS.get(cls)
    beyond: dict[str, dict[str, Any]] = {}
    for where, key, value in narrowed(code, doc):
        beyond.setdefault(where, {})[key] = value
    for where, more in beyond.items():
        if where == text:
            least = {"minLength": 1} if cls is frames.Send else {}
            assert more == least | {"maxLength": frames.MAX_TEXT}, where
        else:
            assert more.keys() == {"enum"}, f"{where}: {more}"
            assert set(more["enum"]) == WORDS[f"{name}.{where}"], where
    assert (text is None) == (text not in beyond)


def test_every_closed_list_of_words_is_documented() -> None:
    schemas = read(NAME)["components"]["schemas"]
    for where, words in WORDS.items():
        struct, _, field = where.partition(".")
        found = schemas[struct]["properties"][field]["enum"]
        assert set(found) - {None} == words, where


def test_messages_name_their_type_payload_and_roles() -> None:
    messages = read(NAME)["components"]["messages"]
    for name, cls in BY_NAME.items():
        message = messages[name]
        assert message["name"] == cls.__struct_config__.tag
        assert message["payload"] == {"$ref": f"#/components/schemas/{name}"}
        if cls in CLIENT:
            allowed = Session.RIGHTS.get(cls, frozenset(Role))
            assert set(message["x-roles"]) == {role.value for role in allowed}, name
        else:
            assert "x-roles" not in message


def test_each_client_frame_has_an_operation_and_the_server_tells_all_of_its_own() -> None:
    operations: dict[str, Schema] = read(NAME)["operations"]
    received = [o for o in operations.values() if o["action"] == "receive"]
    assert sorted(m for o in received for m in message_names(o["messages"])) == sorted(
        cls.__name__ for cls in CLIENT
    )
    [tell] = [o for o in operations.values() if o["action"] == "send"]
    assert message_names(tell["messages"]) == {cls.__name__ for cls in SERVER}


def message_names(found: list[Schema]) -> set[str]:
    """Return the messages that an operation refers to."""
    return {message["$ref"].rpartition("/")[2] for message in found}


def replies() -> dict[str, set[str]]:
    """Return, for each client frame's type, the types that answer it."""
    document = read(NAME)
    out = {}
    for operation in document["operations"].values():
        if operation["action"] == "receive":
            [asked] = message_names(operation["messages"])
            out[str(BY_NAME[asked].__struct_config__.tag)] = {
                str(BY_NAME[name].__struct_config__.tag)
                for name in message_names(operation["reply"]["messages"])
            }
    return out


def test_what_has_no_answer_of_its_own_is_answered_by_done() -> None:
    for kind, answers in replies().items():
        assert "error" in answers
        assert ("done" in answers) == (kind not in ANSWERED_OTHERWISE), kind


def test_close_codes_are_those_of_the_hub() -> None:
    documented = read(NAME)["channels"]["line"]["x-close-codes"]
    code = {
        str(value): name.lower()
        for name, value in vars(hub).items()
        if isinstance(value, int) and 4000 <= value < 5000 and name.isupper()
    }
    assert {number: entry["name"] for number, entry in documented.items()} == code
    assert all(entry["come-back"] == (number < "4100") for number, entry in documented.items())


def test_reasons_are_those_of_policy_and_people() -> None:
    known = {reason.value for reason in Reason} | set(model.DECISION_REASONS)
    known |= {"paused", "second_look", "unclear", "ended"}
    assert set(read(NAME)["channels"]["line"]["x-reasons"]) == known


def test_the_figures_in_the_text_are_those_of_the_code() -> None:
    document = read(NAME)
    assert document["channels"]["line"]["x-max-frame-bytes"] == frames.MAX_FRAME_BYTES
    assert document["channels"]["line"]["bindings"]["ws"]["headers"]["properties"][
        "Sec-WebSocket-Protocol"
    ] == {"const": frames.SUBPROTOCOL}
    text = re.sub(r"\s+", " ", document["info"]["description"])
    assert f"Up to {hub.MAX_LINES} a member" in text
    assert f"once {hub.OUTBOX_FRAMES} frames" in text


def test_every_reference_leads_somewhere() -> None:
    document = read(NAME)
    for reference in set(references(document)):
        assert resolve(document, {"$ref": reference}), reference
