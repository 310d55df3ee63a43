"""One line of one member, without a network: rights, rates and what closes it."""

import json
from typing import Any

import pytest

from moderation.verdict import Role
from peerchat import frames
from peerchat.errors import RateLimited
from peerchat.hub import PROTOCOL
from peerchat.model import Actor
from peerchat.session import Buckets, Do, Hangup, Limits, MemberBuckets, Reply, Session, TokenBucket

FRAMES: dict[str, dict[str, Any]] = {
    "ask": {},
    "cancel": {},
    "send": {"conversation": "c", "id": "i", "text": "hello"},
    "typing": {"conversation": "c"},
    "history": {"conversation": "c"},
    "flag": {"urgency": "emergency"},
    "report": {"conversation": "c", "message": "m", "reason": "other"},
    "block": {"conversation": "c"},
    "second_look": {"message": "m"},
    "leave": {"conversation": "c"},
    "shift": {"on": True},
    "break": {"on": True},
    "duty": {"on": True},
    "ping": {},
}
ONLY = {
    "ask": {Role.PUPIL},
    "cancel": {Role.PUPIL},
    "shift": {Role.MENTOR},
    "break": {Role.MENTOR},
    "duty": {Role.ADULT, Role.MODERATOR},
}
"""Who may send what, by the protocol's table; the rest is for all members."""


def session(role: Role = Role.PUPIL, *, shared: Buckets | None = None) -> Session:
    actor = Actor(member="m", role=role, site="s", token="t", name=None)
    return Session(actor, buckets=shared or Buckets(Limits()))


def raw(type: str, **fields: Any) -> str:
    return json.dumps({"type": type, **FRAMES.get(type, {}), **fields})


def send(n: int = 0) -> str:
    return raw("send", id=f"i{n}")


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("type", FRAMES)
def test_rights_by_role(type, role):
    """What a role may not send is `forbidden`, with its ref; everything else is carried out."""
    [effect] = session(role).receive(raw(type, ref="r1"), now=0.0)
    if role not in ONLY.get(type, set(Role)):
        assert isinstance(effect, Reply) and isinstance(effect.frame, frames.Error)
        assert (effect.frame.code, effect.frame.ref) == ("forbidden", "r1")
    elif type == "ping":
        assert effect == Reply(frames.Done(for_="ping", ref="r1"))
    else:
        assert isinstance(effect, Do) and effect.limited is None


def test_a_bad_frame_is_answered_and_the_line_lives_on():
    """An error with the ref, and the next frame is taken."""
    line = session()
    [effect] = line.receive('{"type": "pong", "ref": "r1"}', now=0.0)
    assert isinstance(effect, Reply) and isinstance(effect.frame, frames.Error)
    assert (effect.frame.code, effect.frame.ref) == ("unknown_frame", "r1")
    assert isinstance(line.receive(send(), now=0.0)[0], Do)


def test_a_flood_of_bad_frames_closes_the_line():
    """60 at once are answered, and the one after them is the last."""
    line, limits = session(), Limits()
    for _ in range(int(limits.bad_burst)):
        assert len(line.receive("nonsense", now=0.0)) == 1
    answer, hangup = line.receive("nonsense", now=0.0)
    assert isinstance(answer, Reply) and hangup == Hangup(PROTOCOL)


def test_a_few_bad_frames_now_and_then_never_close_it():
    """At the rate that is let through, for as long as one likes."""
    line = session()
    for n in range(1_000):
        assert len(line.receive("nonsense", now=n / Limits().bad_rate)) == 1


def test_a_flood_of_good_frames_closes_the_line():
    """More than any page would send."""
    line, limits = session(), Limits()
    effects = [line.receive(raw("ping"), now=0.0) for _ in range(int(limits.frame_burst) + 1)]
    assert effects[-1] == [Hangup(PROTOCOL)] and [Hangup(PROTOCOL)] not in effects[:-1]


def test_a_binary_frame_closes_the_line():
    assert session().binary() == [Hangup(PROTOCOL)]


@pytest.mark.parametrize("letter", ["x", "\u00e9", "\U0001f9e1"])
def test_an_oversized_frame_closes_the_line(letter):
    """16 KiB are counted in bytes as they travel."""
    line = session()
    frame = raw("send", text="")
    room = frames.MAX_FRAME_BYTES - len(frame.encode())
    fits = json.dumps(
        {**json.loads(frame), "text": letter * (room // len(letter.encode()))}, ensure_ascii=False
    )
    assert len(fits.encode()) <= frames.MAX_FRAME_BYTES
    [effect] = line.receive(fits, now=0.0)
    assert isinstance(effect, Reply)  # too long for a text, but the frame was read
    padded = fits + " " * (frames.MAX_FRAME_BYTES - len(fits.encode()))
    assert isinstance(line.receive(padded, now=0.0)[0], Reply)
    assert line.receive(padded + " ", now=0.0) == [Hangup(PROTOCOL)]


def test_sends_come_twenty_at_once_and_five_a_second():
    """Beyond that each is marked as limited: only a known id is answered, and nothing closes."""
    line = session()
    effects = [line.receive(send(n), now=0.0)[0] for n in range(21)]
    assert all(isinstance(e, Do) and e.limited is None for e in effects[:20])
    last = effects[20]
    assert isinstance(last, Do) and isinstance(last.limited, RateLimited)
    assert last.limited.retry_after_s == pytest.approx(0.2)
    assert isinstance(last.frame, frames.Send)
    [again] = line.receive(send(21), now=0.2)
    assert isinstance(again, Do) and again.limited is None
    [soon] = line.receive(send(22), now=0.2)
    assert isinstance(soon, Do) and soon.limited is not None


def test_the_rate_is_a_members_over_all_lines():
    """Five lines are not five times as many."""
    shared = Buckets(Limits())
    lines = [session(shared=shared) for _ in range(5)]
    effects = [lines[n % 5].receive(send(n), now=0.0)[0] for n in range(30)]
    assert sum(isinstance(e, Do) and e.limited is None for e in effects) == 20


@pytest.mark.parametrize("type", ["ask", "report", "second_look", "block"])
def test_what_makes_work_for_people_is_limited(type):
    """Refused with a time to wait, its ref, and without closing the line."""
    line, limits = session(), Limits()
    for _ in range(int(limits.slow_burst)):
        assert isinstance(line.receive(raw(type), now=0.0)[0], Do)
    [effect] = line.receive(raw(type, ref="r1"), now=0.0)
    assert isinstance(effect, Reply) and isinstance(effect.frame, frames.Error)
    assert (effect.frame.code, effect.frame.ref) == ("rate_limited", "r1")
    assert effect.frame.retry_after_s == pytest.approx(1 / limits.slow_rate)
    assert isinstance(line.receive(send(), now=0.0)[0], Do)


def test_a_flag_is_never_limited():
    """Whoever asks for an adult is heard, however much was sent before."""
    line = session()
    for n in range(100):
        line.receive(send(n), now=0.0)
    for _ in range(50):
        [effect] = line.receive(raw("flag"), now=0.0)
        assert isinstance(effect, Do) and effect.limited is None


def test_a_flag_is_heard_in_any_flood():
    """Somebody else floods a line with the same card: whoever presses on another is heard all the same."""
    shared = Buckets(Limits())
    flooding, pressing = session(shared=shared), session(shared=shared)
    for _ in range(2 * int(Limits().frame_burst)):
        flooding.receive(raw("ping"), now=0.0)
        flooding.receive("nonsense", now=0.0)
    effects = pressing.receive(raw("flag"), now=0.0)
    assert [e.frame for e in effects if isinstance(e, Do)] == [frames.Flag(urgency="emergency")]


def test_typing_too_often_is_dropped_without_a_word():
    """It has no answer, and costs its partner nothing."""
    line = session()
    effects = [line.receive(raw("typing"), now=0.0) for _ in range(8)]
    assert [len(e) for e in effects] == [1] * 5 + [0] * 3


def test_a_bucket_fills_to_its_burst_and_no_further():
    """However long nothing was taken; and says truly when the next one is free."""
    bucket = TokenBucket(2.0, 3.0)
    assert [bucket.take(100.0) for _ in range(4)] == [True, True, True, False]
    assert bucket.wait_s() == pytest.approx(0.5)
    assert not bucket.take(100.49)
    assert bucket.take(100.5)
    assert [bucket.take(1e6) for _ in range(4)] == [True, True, True, False]


def test_each_member_has_buckets_of_their_own():
    """The same for the same member, another for another; the longest unused go first."""
    found = MemberBuckets(Limits(), most=2)
    a, b = found.of("a"), found.of("b")
    assert found.of("a") is a and a is not b
    found.of("c")
    assert found.of("a") is a and found.of("b") is not b
