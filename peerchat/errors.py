"""Facts of the domain that stop a request; translated to the wire or to HTTP once, at the edge.

    PeerchatError
    |-- ClientError            an `error` frame; `code` is a stable word of the protocol
    |   |-- Malformed          not JSON, or not an object
    |   |-- UnknownFrame       a type that the protocol does not have
    |   |-- Invalid            a field is missing, of a wrong type, or not a client's to send
    |   |-- TooLong            more than the protocol allows
    |   |-- RateLimited        come again after `retry_after_s`
    |   |-- NotAMember         the conversation does not exist for the caller
    |   |-- Forbidden          the caller's role or state does not allow it
    |   |-- Closed             the service or the conversation is closed; nobody has read it
    |   |-- Conflict           an id was used again with another text
    |   `-- Unavailable        the server cannot do it just now; nothing was stored
    |-- SignInFailed           one same fact for every wrong credential
    |-- TooManyFailures        wait `retry_after_s` before the next try
    |-- ReviewError            UnknownItem, AlreadyClaimed, NotTheHolder, AlreadyDecided, RiskNeedsAnswer,
    |                         SameDecider, CannotRelease
    |-- UnknownObject          does not exist, or the caller may not know that it does
    |-- CaseError              an alert's state forbids it; see escalation.alert
    |-- NotAllowed             a signed-in member without the right
    |-- StoreUnavailable       the database did not take a transaction
    |   `-- StoreRefused       it refused what this one wrote
    `-- SettingsError          a setting is missing or wrong; names the setting

Messages name what was wrong, never what somebody wrote.
"""

from typing import ClassVar


class PeerchatError(Exception):
    """The root of the tree."""


class ClientError(PeerchatError):
    """Answered by an `error` frame."""

    code: ClassVar[str]

    def __init__(self, detail: str, *, retry_after_s: float | None = None, ref: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after_s = retry_after_s
        self.ref = ref


class Malformed(ClientError):
    """The frame is not a JSON object."""

    code = "malformed"


class UnknownFrame(ClientError):
    """The protocol has no such type."""

    code = "unknown_frame"


class Invalid(ClientError):
    """A field is missing, of a wrong type or value, or is the server's own."""

    code = "invalid"


class TooLong(ClientError):
    """A text is longer than the protocol allows."""

    code = "too_long"


class RateLimited(ClientError):
    """Too many at once; says when to come again."""

    code = "rate_limited"


class NotAMember(ClientError):
    """For the caller, this conversation does not exist."""

    code = "not_a_member"


class Forbidden(ClientError):
    """The caller's role or state does not allow it."""

    code = "forbidden"


class Closed(ClientError):
    """The service or the conversation is closed: neither stored nor judged."""

    code = "closed"


class Conflict(ClientError):
    """A client id was used again with another text."""

    code = "conflict"


class Unavailable(ClientError):
    """Not now: nothing was stored."""

    code = "unavailable"


class SignInFailed(PeerchatError):
    """Wrong credentials; never says which part."""


class TooManyFailures(PeerchatError):
    """Too many wrong credentials."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__("too many failed sign-ins")
        self.retry_after_s = retry_after_s


class UnknownObject(PeerchatError):
    """Does not exist, or the caller may not know that it does."""


class NotAllowed(PeerchatError):
    """Signed in, but without the right."""


class CaseError(PeerchatError):
    """The state of an alert or a conversation forbids it; the message says what would be needed."""


class ReviewError(PeerchatError):
    """The root of what a decision on a review item can meet."""


class UnknownItem(ReviewError):
    """No such item for this caller."""


class AlreadyClaimed(ReviewError):
    """Another person holds this item."""


class NotTheHolder(ReviewError):
    """Only the holder of an item decides it."""


class AlreadyDecided(ReviewError):
    """A decision posted is final."""


class RiskNeedsAnswer(ReviewError):
    """Text that carries risk is released, or answered by an adult in the chat, before it is withheld."""


class SameDecider(ReviewError):
    """A second look is another person's."""


class CannotRelease(ReviewError):
    """What was to be released cannot reach anyone any more."""


class StoreUnavailable(PeerchatError):
    """The database did not take a transaction; nothing of it was stored."""


class StoreRefused(StoreUnavailable):
    """The database refused what one transaction body wrote; others are not concerned."""


class SettingsError(PeerchatError):
    """A setting is missing or wrong."""
