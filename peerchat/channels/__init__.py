"""Ways to reach adults beyond the open page: email, text messages, chat services, calls, pagers, Web Push.

What leaves by them says that an alert needs somebody, and where to sign in: no text, no name, no label, no
id of anything here.

    contact.py     a contact point: whose, by what kind of channel, from which rung on; pure
    wording.py     all the words that ever leave
    signing.py     the signature of webhooks: what we send, and what a receiver checks; pure
    push.py        the encryption of Web Push; pure
    outward.py     one HTTP request to somebody else's server, bounded
    senders.py     one message to one contact point, by Apprise, webhook or Web Push
    outside.py     the desk's notifiers: claim, send, record, try again
    book.py        the use cases: list, add, remove, try
    watchdog.py    says outside that all is well, for as long as the auditor finds nothing missing
"""
