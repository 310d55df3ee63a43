"""What a safeguarding record says in plain words: labels, lines of a chronology, audiences and channels.

Words say what a text is about, never what a person is. A word that has none here is shown as it is.
"""

from collections.abc import Iterable, Mapping

LABELS: Mapping[str, str] = {
    "self_harm": "hurting themselves, or not wanting to be here",
    "abuse": "being hurt by someone",
    "grooming": "secrets, flattery or pressure from someone",
    "sexual": "sexual words",
    "harassment": "hurtful words",
    "threat": "a threat",
    "bullied": "being picked on",
    "eating": "eating and their body",
    "substance": "drink or drugs",
    "exploitation": "being used by someone",
    "running_away": "leaving home",
    "personal_data": "personal details",
    "boundary": "taking the talk outside the chat",
    "flag": "someone asked for an adult",
    "about_adult": "it is about an adult of the school",
    "practice": "practice: nothing has happened",
    "report": "someone reported it",
    "second_look": "the sender asked for another look",
    "escalated": "a moderator passed it on",
    "to_read": "messages that somebody should read; no single one was plain",
    "unclear": "something that isn\u2019t clear",
    "unjudged": "a note that no check could read",
    "unreadable": "an alert that cannot be read: its record is damaged",
}

LINES: Mapping[str, str] = {
    "raised": "Concern raised",
    "evidence": "More was added to the concern",
    "told": "Adults were told",
    "told_nobody": "Nobody could be told",
    "lapsed": "It lapsed, and adults were told again",
    "acknowledged": "An adult took it on",
    "in_hand": "In hand",
    "joined": "An adult came into the chat",
    "action": "Action",
    "note": "Note",
    "addition": "Addition",
    "updated": "Changed",
    "read": "Part of the chat was read",
    "read_more": "The whole chat was read",
    "close_proposed": "Closing proposed",
    "closed": "Closed",
    "text_release": "Held text sent",
    "text_withhold": "Held text not sent",
    "text_escalate": "Held text passed on to adults",
    "handover_offered": "Offered to another adult",
    "handed_over": "Taken over",
    "left_chat": "Left the chat",
    "dropped": "No line to them for a minute",
    "came_back": "They were back",
    "holder_dropped": "The adult who had it was off duty; the others were told",
    "holder_back": "The adult who had it was back on duty",
    "said_mistake": "They said it was pressed by mistake",
    "unreadable": "A line that cannot be read: its record is damaged",
}

AUDIENCES: Mapping[str, str] = {
    "on_duty": "adults on duty",
    "deputies": "adults on duty and their deputies",
    "all_adults": "all adults who may know",
    "out_of_band": "all adults who may know, and the list for outside the service",
}

CHANNELS: Mapping[str, str] = {
    "in_app": "the open page",
    "push": "browser notification",
    "email": "email",
    "sms": "text message",
    "chat": "chat service",
    "voice": "call or pager",
    "webhook": "the school\u2019s own system",
}

OUTCOMES: Mapping[str | None, str] = {
    "ok": "went out",
    "failed": "reached nobody",
    None: "not known",
}

DECISIONS: Mapping[str, str] = {
    "release": "Held text sent",
    "withhold": "Held text not sent",
    "escalate": "Passed on to adults",
}

REASONS: Mapping[str, str] = {
    "unkind": "it could hurt someone",
    "personal": "personal details were in it",
    "unsafe": "it wasn\u2019t safe",
    "mistake": "it looked sent by mistake",
    "other": "something else",
}

STATUSES: Mapping[str, str] = {
    "delivered": "the other one got it",
    "held": "held, nobody else got it",
    "withheld": "not sent on",
    "blocked": "not sent on",
}

ROLES: Mapping[str, str] = {
    "pupil": "pupil",
    "mentor": "supporter",
    "moderator": "moderator",
    "adult": "member of staff",
    "coordinator": "coordinator",
}


def said(words: Mapping[str, str], key: str) -> str:
    """Return the words for a key, or the key with spaces where it has none."""
    return words.get(key, key.replace("_", " "))


def about(labels: Iterable[str]) -> str:
    """Return what labels are about, each once: "a threat; being hurt by someone"."""
    found = dict.fromkeys(_label(label) for label in labels)
    return "; ".join(found) or "someone asked for an adult"


def _label(label: str) -> str:
    if label.startswith("toxicity:"):
        return "harsh words"
    if label.startswith("level:"):
        return "the whole of it, read together"
    if label.startswith("reported:"):
        return "someone in the chat reported it"
    return said(LABELS, label)
