"""The log's rows in words, for people: what was done, never to whom by name."""

from escalation.audit import Entry

SERVER, COMMAND_LINE = "server", "command line"

WORDS = {
    "sign_in": "signed in",
    "duty_on": "went on duty",
    "duty_off": "went off duty",
    "shift_on": "began a shift",
    "shift_off": "ended a shift",
    "read_case": "opened an alert",
    "read_conversation": "read part of a chat",
    "read_whole_conversation": "read a whole chat",
    "read_review_item": "read a message that waits for review",
    "case_acknowledged": "took an alert on",
    "case_joined": "joined a chat because of an alert",
    "case_note": "wrote a note on an alert",
    "case_addition": "added to the record of a closed case",
    "read_record": "opened a safeguarding record to copy it",
    "record_copied": "took a copy of a safeguarding record",
    "case_action": "recorded what was done about an alert",
    "case_close": "closed an alert, or signed that it can close",
    "times_changed": "changed how fast alerts climb, or how long duty holds",
    "independents_set": "changed who is told of a concern about staff",
    "rota_turn_added": "added a turn to the rota",
    "rota_change_added": "added an exception to the rota",
    "rota_row_removed": "removed a row of the rota",
    "handover_offered": "offered to hand alerts over",
    "handover_accepted": "took over alerts that were offered",
    "handover_declined": "declined alerts that were offered",
    "handover_withdrawn": "took back an offer of alerts",
    "decide_release": "let a held message go out",
    "decide_withhold": "kept a held message back",
    "decide_escalate": "passed a held message on to the adults",
    "conversation_pause": "paused a chat",
    "conversation_resume": "let a chat go on",
    "conversation_end": "ended a chat",
    "site_made": "set the site up",
    "site_configured": "changed the site\u2019s settings",
    "settings_active": "started the server with changed settings",
    "member_made": "made an account",
    "member_suspended": "suspended an account",
    "policy_active": "began to judge messages by a changed policy",
    "channel_added": "added a way to reach somebody",
    "channel_removed": "removed a way to reach somebody",
    "channel_tried": "tried a way to reach somebody",
    "channel_gone": "forgot a browser that is gone",
    "log_key_accepted": "took another key of the log into use",
    "hold_set": "put a case on legal hold",
    "hold_lifted": "lifted a legal hold",
    "drill_started": "started a practice alert",
    "drill_ended": "ended a practice alert",
}


def in_words(entry: Entry) -> str:
    """Return what a row says that somebody did. A kind that has no words of its own is shown as it is."""
    words = WORDS.get(entry.kind, entry.kind.replace("_", " "))
    changed = entry.data.get("changed")
    return f"{words}: {changed}" if isinstance(changed, str) else words
