"""How many sends a member has: 5 a second, burst 20; never on a flag."""

import asyncio
import time

from tests.support.stage import Stage
from web.client import Refused


async def test_a_burst_of_twenty_and_five_a_second(stage: Stage) -> None:
    """What is refused says when to come again, is not stored, and passes then under the same id."""
    pupil, mentor, c = await stage.pair()
    started = time.monotonic()
    answers = await asyncio.gather(
        *(pupil.send(c, f"counting sheep is calm, {i}", id=f"n{i}", patient=False) for i in range(40)),
        return_exceptions=True,
    )
    took = time.monotonic() - started
    passed = [a for a in answers if isinstance(a, dict)]
    refused = [a for a in answers if isinstance(a, Refused)]
    assert len(passed) + len(refused) == 40
    assert 20 <= len(passed) <= 20 + 5 * took + 1
    assert {a.code for a in refused} == {"rate_limited"}
    assert all(a.retry_after_s and 0 < a.retry_after_s <= 10 for a in refused)
    first = next(i for i, a in enumerate(answers) if isinstance(a, Refused))
    await mentor.history(c)
    assert len(mentor.seen("message", conversation=c, replay=True)) == len(passed)

    error = answers[first]
    assert isinstance(error, Refused)
    assert error.retry_after_s is not None
    await asyncio.sleep(error.retry_after_s)
    ack = await pupil.send(c, f"counting sheep is calm, {first}", id=f"n{first}", patient=False)
    assert ack["status"] == "delivered"
    await mentor.wait("message", conversation=c, message=ack["message"])


async def test_a_limited_member_still_flags_and_repeats(stage: Stage) -> None:
    """A flag is never limited, and a known id is answered before the limit."""
    pupil, mentor, c = await stage.pair()
    first = await pupil.send(c, "hello, good to meet you", id="known")
    answers = await asyncio.gather(
        *(pupil.send(c, f"counting sheep is calm, {i}", id=f"n{i}", patient=False) for i in range(30)),
        return_exceptions=True,
    )
    assert any(isinstance(a, Refused) for a in answers)
    done = await pupil.call("flag", conversation=c, urgency="emergency", note="please come")
    assert done["alert"]
    again = await pupil.send(c, "hello, good to meet you", id="known", patient=False)
    assert again["message"] == first["message"]
    assert (await mentor.send(c, "I can still talk", patient=False))["status"] == "delivered"


async def test_the_limit_is_a_members_over_all_lines(stage: Stage) -> None:
    session = await stage.session("pupils")
    here, there = await stage.client(session), await stage.client(session)
    _, _, c = await stage.pair(pupil=here)
    started = time.monotonic()
    answers = await asyncio.gather(
        *(
            line.send(c, f"counting sheep is calm, {i}", id=f"n{i}", patient=False)
            for i in range(50)
            for line in ((here, there)[i % 2],)
        ),
        return_exceptions=True,
    )
    passed = [a for a in answers if isinstance(a, dict)]
    assert 20 <= len(passed) <= 20 + 5 * (time.monotonic() - started) + 1
