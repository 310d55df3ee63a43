"""All the words that ever leave by a channel. They are the same for every alert: nothing is filled in."""

import enum
from typing import Final


class Occasion(enum.StrEnum):
    """Why something is sent."""

    ALERT = "alert"
    PRACTICE = "practice"
    TRY = "try"


TITLES: Final = {
    Occasion.ALERT: "A safeguarding alert needs you",
    Occasion.PRACTICE: "Practice: a safeguarding alert needs you",
    Occasion.TRY: "Only a try: there is no alert",
}
TEXTS: Final = {
    Occasion.ALERT: "A safeguarding alert needs you. Please sign in now",
    Occasion.PRACTICE: "This is practice. A practice alert needs you. Please sign in now",
    Occasion.TRY: "This is a try of how we reach you. There is no alert, and nothing for you to do",
}


def words(occasion: Occasion, *, link: str) -> tuple[str, str]:
    """Return (title, text) of a message that is read."""
    return TITLES[occasion], f"{TEXTS[occasion]}: {link}"


def spoken(occasion: Occasion) -> str:
    """Return what a voice reads out: a link read letter by letter helps nobody."""
    return f"{TEXTS[occasion]}."


MISSING: Final = {
    "nobody": "Alerts reach open pages only. Nobody is told by email, text message or call.",
    "no_voice": "Immediate alerts ring no phone. Add a voice call or a pager for at least one adult.",
    "no_push": "No browser shows alerts while its page is closed. Each adult can turn that on at their desk.",
    "failing": "A way to reach somebody does not work. Try it, and mend it.",
    "no_independent": "Somebody preset for alerts about staff cannot be reached beyond the page."
    " Add a way that works, and try it.",
}
