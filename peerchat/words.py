"""What the server itself says to pupils and mentors: plain, warm, true."""

from moderation.verdict import Risk, Role
from peerchat.frames import Service
from peerchat.model import NO_ADULT, OUTSIDE_HOURS

DEFAULT_SERVICES = (
    Service(name="Childline", phone="0800 1111", url="https://www.childline.org.uk", hours="Free, any time"),
    Service(
        name="Shout", phone="85258", url="https://giveusashout.org", hours="Free, any time", text="SHOUT"
    ),
    Service(name="Samaritans", phone="116 123", url="https://www.samaritans.org", hours="Free, any time"),
    Service(name="NHS 111", phone="111", hours="Choose option 2. Any time"),
    Service(name="Danger right now", phone="999", hours="Call 999. You don’t need credit"),
)
"""The helplines of the UK that are shown where a site has no directory of its own; 999 last."""

DEFAULT_TOPICS = (
    "Friends",
    "School work",
    "Home",
    "Someone being unkind",
    "Online",
    "Worries",
    "A big change",
    "Being me",
    "Something else",
)

NOTICE = {
    Role.PUPIL: (
        "The person you talk to never sees your name. Trained adults may check a message before it is sent. "
        "If someone could get badly hurt, an adult at your school has to know. "
        "We’ll tell you when that happens."
    ),
    Role.MENTOR: (
        "You don’t know each other’s names, and it stays that way. Never promise to keep a secret. "
        "If someone could get badly hurt, press \u201cTell an adult now\u201d: it is not yours alone."
    ),
}

_THANKS = (
    "Thank you for saying it. You don’t have to wait for us. These people are there right now, and it’s free."
)
SUPPORT = {
    Risk.CONCERN: "Thank you for saying it. If you’d like to talk to someone else too, they are there now.",
    Risk.HIGH: _THANKS,
    Risk.IMMEDIATE: f"{_THANKS} If you or someone else is in danger this minute, call 999.",
}

UNHEARD = (
    "Something is wrong here, and no adult has heard you yet. Please go to an adult near you, "
    "or ring one of these now. Then press again."
)
"""For whoever asked for an adult while nothing can be stored."""

CLOSED_BUT_HEARD = "We’re closed just now, but we have asked an adult to look at what you wrote."

CLOSED_WORDS = {
    NO_ADULT: "No adult is on duty just now, and we don’t run without one. Nobody has read this.",
    OUTSIDE_HOURS: "We’re closed just now. Nobody has read this.",
}


def closed_words(why: str | None) -> str:
    """Return what a refused send or ask is told while the service is closed."""
    return CLOSED_WORDS.get(why or "", "We’re closed just now. Nobody has read this.")


BIRDS = (
    "Heron Finch Martin Stork Wren Robin Swift Kestrel Plover Linnet Siskin Dunnock Avocet Curlew "
    "Dipper Egret Fulmar Gannet Goldcrest Jackdaw Lapwing Magpie Nuthatch Osprey Petrel Puffin "
    "Redstart Sandpiper Skylark Starling Swallow Teal Thrush Turnstone Wagtail Warbler Whimbrel "
    "Woodlark Yaffle Nightjar"
).split()
BIRD_COLOURS = (
    "Grey Blue Brown White Sand Green Silver Golden Amber Copper Rust Dusky Pale Bright Quiet Early "
    "Evening Little River Meadow Coast Hill Island Winter Summer"
).split()
TREES = (
    "Birch Willow Alder Rowan Hazel Maple Linden Aspen Cedar Cherry Chestnut Cypress Elder Elm Fir "
    "Hawthorn Holly Hornbeam Juniper Larch Laurel Medlar Mulberry Oak Olive Pear Pine Plum Poplar "
    "Quince Spruce Sycamore Walnut Yew"
).split()
TREE_COLOURS = (
    "Silver Green Tall Red Old Young Golden Bright Quiet Broad River Hill Meadow Winter Summer "
    "Autumn Early Evening Morning Copper Amber Russet Northern Southern Island"
).split()


def pupil_aliases() -> list[str]:
    """Return every alias a pupil may get."""
    return [f"{colour} {bird}" for colour in BIRD_COLOURS for bird in BIRDS]


def mentor_aliases() -> list[str]:
    """Return every alias a mentor may get."""
    return [f"{colour} {tree}" for colour in TREE_COLOURS for tree in TREES]
