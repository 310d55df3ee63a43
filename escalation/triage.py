"""Who must know of this: a verdict's risk, a flag or a decision to a `Concern`, or None. Pure.

The levels are the ladder's; a verdict that carries risk always gives one, so rule 8 is decided in one place.
"""

from escalation.alert import Concern
from moderation.verdict import Risk, Role

FLAG = "flag"
"""The label of an alert that a person asked for."""

ESCALATED = "escalated"
"""The label of an alert that a moderator passed on."""

TO_READ = "to_read"
"""The label of an alert about messages that a reader should see; no single one of them was plain."""

ABOUT_ADULT = "about_adult"
"""The label of an alert that somebody raised about an adult of the school."""

_STAFF = frozenset({Role.ADULT, Role.MODERATOR, Role.COORDINATOR})


def triage(risk: Risk, labels: tuple[str, ...], *, sender: str, role: Role) -> Concern | None:
    """Return what a verdict asks for. A pupil's or mentor's own words are about that member.

    An alert about a mentor is discreet: it is never told to the mentor.
    """
    if risk is Risk.NONE or role in _STAFF:
        return None
    return Concern(
        about=sender,
        about_role=role,
        risk=risk,
        labels=labels or ("unclear",),
        discreet=role is not Role.PUPIL,
    )


def to_read(*, sender: str, role: Role) -> Concern:
    """Return the concern of messages that scores alone found grave: never more, for none was plain."""
    return Concern(
        about=sender,
        about_role=role,
        risk=Risk.CONCERN,
        labels=(TO_READ,),
        discreet=role is not Role.PUPIL,
    )


def flagged(
    *, emergency: bool, sender: str, role: Role, pupil: str | None, about_adult: bool = False
) -> Concern:
    """Return the concern of a member's flag: one press, and an adult is told.

    It is about the pupil of the conversation where there is one, else about the sender. What a pupil asks
    for is shown to that pupil alone: the partner may be the reason. Where the reason is an adult of the
    school, it is kept apart, and answered to the sender alone.
    """
    if about_adult:
        return Concern(
            about=sender,
            about_role=role,
            risk=Risk.IMMEDIATE if emergency else Risk.HIGH,
            labels=(FLAG, ABOUT_ADULT),
            discreet=True,
            apart=True,
            asks_again=True,
        )
    about = pupil if pupil is not None else sender
    return Concern(
        about=about,
        about_role=Role.PUPIL if pupil is not None else role,
        risk=Risk.IMMEDIATE if emergency else Risk.CONCERN,
        labels=(FLAG,),
        discreet=role is Role.PUPIL,
        asks_again=True,
    )


def passed_on(*, sender: str, role: Role, risk: Risk, labels: tuple[str, ...]) -> Concern:
    """Return the concern of a moderator who escalates a held text: at least high."""
    return Concern(
        about=sender,
        about_role=role,
        risk=max(risk, Risk.HIGH),
        labels=(*labels, ESCALATED),
        discreet=role is not Role.PUPIL,
        apart=role in _STAFF,
        asks_again=True,
    )
