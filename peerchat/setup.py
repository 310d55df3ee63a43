"""Making sites and members: what set-up, the demo and the command line share."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any
from zoneinfo import available_timezones

from escalation.times import BadTime, Written, changed, times_of, written
from moderation.verdict import Role
from peerchat.accounts import new_code, plain_code
from peerchat.errors import SettingsError
from peerchat.frames import Service
from peerchat.hub import SUSPENDED
from peerchat.model import new_id
from peerchat.ports import Event
from peerchat.store.sites import SiteValue
from peerchat.store.sql import Tx
from peerchat.words import DEFAULT_TOPICS

NEUTRAL_URL = "https://www.bbc.co.uk/weather"
TRAINING_LASTS = timedelta(days=365)


def add_site(
    tx: Tx,
    *,
    name: str,
    service_name: str,
    timezone: str = "Europe/London",
    hours: Sequence[dict[str, Any]] = (),
    services: Sequence[Service] = (),
    neutral_url: str = NEUTRAL_URL,
) -> str:
    """Make a site; return its id. Raises `SettingsError` for a time zone that does not exist."""
    if timezone not in available_timezones():
        raise SettingsError("timezone: not a time zone such as Europe/London")
    id = new_id("sit")
    tx.sites.add(
        SiteValue(
            id=id,
            name=name,
            service_name=service_name,
            timezone=timezone,
            hours=tuple(hours),
            topics=DEFAULT_TOPICS,
            services=tuple(services),
            neutral_url=neutral_url,
            closed_by_staff=False,
        )
    )
    tx.audit.append("command line", "site_made", id)
    return id


def set_times(tx: Tx, site: str, changes: Mapping[str, object], *, by: str) -> dict[str, Written]:
    """Set some of a site's times; None sets one back to its default. Returns all as they are then.

    Raises `SettingsError` that names the time, and then nothing is changed.
    """
    found = tx.sites.get(site)
    before = written(found.times)
    try:
        times = times_of(changed(before, changes))
    except BadTime as error:
        raise SettingsError(str(error)) from None
    after = written(times)
    differing = {k: f"{_plain(before[k])} -> {_plain(v)}" for k, v in after.items() if before[k] != v}
    if differing:
        tx.audit.append(by, "times_changed", site, differing)
        tx.sites.change(replace(found, times=times))
    return after


def _plain(value: Written) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def set_independents(
    tx: Tx, site: str, usernames: Sequence[str], *, outside: Collection[str], by: str
) -> list[str]:
    """Preset who is told of alerts about staff, in this order; return their display names.

    Who is `outside` knows of these alerts alone: no duty, no rota, nobody else's case.
    """
    if len(set(usernames)) != len(usernames):
        raise SettingsError("independent: somebody is named twice")
    preset, names = [], []
    for username in usernames:
        member = tx.members.by_username(username)
        if member is None or member.site != site or member.role is not Role.ADULT or member.suspended_at:
            raise SettingsError(f"independent: {username} is no adult of this site")
        preset.append((member.id, username in outside))
        names.append(member.name or username)
    outsiders = " ".join(id for id, out in preset if out) or None
    chosen = " ".join(id for id, _ in preset) or None
    tx.audit.append(by, "independents_set", site, {"preset": chosen, "outside": outsiders})
    tx.rota.set_independents(site, preset)
    for id, out in preset:
        if out:
            tx.duty.end(id)
    return names


def add_pupil(tx: Tx, site: str) -> str:
    """Make a pupil without a name; return the code for the card, which is kept nowhere else."""
    code = new_code()
    id = new_id("mem")
    tx.members.add(id=id, site=site, role=Role.PUPIL, code_index=tx.keyring.index(plain_code(code)))
    tx.audit.append("command line", "member_made", id, {"role": Role.PUPIL.value})
    return code


def add_staff(
    tx: Tx,
    site: str,
    role: Role,
    *,
    username: str,
    password_hash: str,
    name: str | None,
    trained: bool = False,
) -> str:
    """Make a member with a username; a mentor is on shift only once approved and trained. Returns the id."""
    id = new_id("mem")
    tx.members.add(
        id=id,
        site=site,
        role=role,
        name=name,
        username=username,
        password_hash=password_hash,
        approved_at=tx.now if trained else None,
        trained_until=tx.now + TRAINING_LASTS if trained else None,
    )
    tx.audit.append("command line", "member_made", id, {"role": role.value})
    return id


def suspend(tx: Tx, member: str, *, by: str) -> None:
    """Suspend a member: nothing by it is accepted from this commit on, and its lines close (rule 14).

    What it was part of is put in order by the rounds of the running node, which can tell the others.
    """
    tx.audit.append(by, "member_suspended", member)
    ended = tx.members.suspend(member)
    tx.duty.end(member)
    tx.emit(Event(tokens=tuple(ended), close=SUSPENDED))
