"""The watchdog: calls an address outside every minute, for as long as the auditor finds nothing missing.

A server that is down cannot say so; somebody else's monitor can, once the calls stop. Silence is the alarm:
the calls stop where an alert is missing or late, where nothing can be saved, and where the desk sleeps.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

from escalation.auditor import Missing, findings
from escalation.desk import Desk
from peerchat.channels.outward import Unanswered, request
from peerchat.store import auditing
from peerchat.store.sql import Store, Tx

log = logging.getLogger(__name__)

EVERY_S = 60.0
CALL_S = 10.0
SLEEPS = timedelta(seconds=30)
"""A desk that has not looked for so long is not at work."""

FIRST_AFTER_S = 20.0
"""At start the desk first tells what is overdue."""


class Watchdog:
    """Looks and calls. Made once; `looked_at`, `missing` and `called` say how it stands."""

    def __init__(
        self,
        store: Store,
        desk: Desk,
        *,
        url: str | None,
        clock: Callable[[], datetime],
        every_s: float = EVERY_S,
        first_after_s: float = FIRST_AFTER_S,
    ) -> None:
        self._store = store
        self._desk = desk
        self._url = url
        self._clock = clock
        self._every_s = every_s
        self._first_after_s = first_after_s
        self._whole = True
        self.blind = False  # whether the last look failed
        self.looked_at: datetime | None = None
        self.missing: Mapping[Missing, int] = {}
        self.called: bool | None = None  # whether the last call arrived; None: none was due

    async def run(self) -> None:
        """Look and call, until cancelled."""
        await asyncio.sleep(self._first_after_s)
        while True:
            await self.look()
            await asyncio.sleep(self._every_s)

    async def look(self) -> bool:
        """Look once, and call where all is well; return whether it is."""
        try:
            found = await self._store.read(self._findings)
        except Exception as error:  # whatever it was: one who cannot see must not say that all is well
            log.error("the auditor could not look: %s", type(error).__name__)
            self.blind, self.called = True, None
            return False
        self._whole = self.blind = False
        self.looked_at = self._clock()
        self.missing = Counter(one.what for one in found)
        for one in found:
            log.error("the auditor misses %s: %s", one.what.value, one.id)
        last = self._desk.last_sweep_at
        awake = last is not None and self._clock() - last < SLEEPS
        if found or not awake or self._store.failing:
            self.called = None
            return False
        await self._call()
        return True

    def _findings(self, tx: Tx) -> list[Any]:
        """Look at everything once after a start, and then at what is new."""
        since = None if self._whole else tx.now - auditing.LOOKS_BACK
        return findings(auditing.asked(tx, since=since), auditing.standing(tx), now=tx.now)

    async def _call(self) -> None:
        if self._url is None:
            return
        try:
            self.called = (await request("GET", self._url, timeout_s=CALL_S)).ok
        except Unanswered:
            self.called = False
        if not self.called:
            log.warning("the watchdog's address did not answer")

    def health(self) -> list[dict[str, Any]]:
        """Return how the auditor stands, in words for staff."""
        count = sum(self.missing.values())
        ok = not count and not self.blind
        words = "Every alert that should be there is there, and those that are due were told."
        if count:
            words = f"{count} not as it should be. The watchdog is silent; tell whoever runs the server."
        elif self.blind:
            words = "It could not look. The watchdog is silent; tell whoever runs the server."
        elif self.looked_at is None:
            words = "It has not looked yet since the start."
        found = [{"what": "The auditor of alerts", "ok": ok, "words": words}]
        if self._url is not None and self.called is False:
            unheard = "Its address did not answer the last call."
            found.append({"what": "The watchdog outside", "ok": False, "words": unheard})
        return found


@asynccontextmanager
async def watching(watchdog: Watchdog) -> AsyncIterator[None]:
    """Run it beside the node."""
    task = asyncio.create_task(watchdog.run(), name="watchdog")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
