"""The desk's notifiers beyond the page: take what is due, send, record, and try again what did not go out."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from escalation.ladder import Step
from peerchat.channels.contact import Contact, Kind
from peerchat.channels.senders import Message, Outcome, Sender
from peerchat.channels.wording import Occasion
from peerchat.errors import StoreUnavailable
from peerchat.store.channels import AT_ONCE, Due
from peerchat.store.sql import Store, Tx

log = logging.getLogger(__name__)

SWEEP_S = 2.0


class Outside:
    """One kind of channel: `escalation.notify.Notifier`, and the loop that tries again.

    What it sends was written before, in the transaction that took the alert; so a crash at any point leaves a
    row that is due, and whoever looks next sends it, under the same key.
    """

    def __init__(self, kind: Kind, store: Store, sender: Sender) -> None:
        self.channel = kind.value
        self.kind = kind
        self._store = store
        self._sender = sender
        self._slots = asyncio.Semaphore(AT_ONCE)  # the lane's sends and those that are tried again
        self.sent = 0
        self.failed = 0

    async def notify(self, step: Step) -> bool:
        """Send a step's attempt to each of its contact points at once; return whether it went out to any."""
        attempt = step.attempts[self.channel]
        while taken := await self._store.write(lambda tx: tx.channels.claimed(attempt=attempt.id)):
            await self._deliver(taken)
        return await self._store.read(lambda tx: tx.channels.reached(attempt.key))

    async def run(self) -> None:
        """Try again what is due, until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_S)
            try:
                await self.again()
            except Exception as error:  # this loop outlives every failure: it tries again
                log.error("%s: what is due could not be sent: %s", self.channel, type(error).__name__)

    async def again(self) -> int:
        """Send what is due once more; return how many sendings that were."""

        def due(tx: Tx) -> bool:
            at = tx.channels.next_due(self.kind)
            return at is not None and at <= tx.now

        if not await self._store.read(due):
            return 0
        taken = await self._store.write(lambda tx: tx.channels.claimed_of(self.kind))
        await self._deliver(taken)
        return len(taken)

    async def _deliver(self, taken: Sequence[Due]) -> None:
        await asyncio.gather(*(self._one(due) for due in taken))

    async def _one(self, due: Due) -> None:
        async with self._slots:
            occasion = Occasion.PRACTICE if due.practice else Occasion.ALERT
            outcome = await send(self._sender, due.contact, key=due.key, occasion=occasion)
        self.sent, self.failed = self.sent + outcome.ok, self.failed + (not outcome.ok)

        def record(tx: Tx) -> None:
            tx.channels.sent(due.id, ok=outcome.ok, fault=outcome.fault, retry_after_s=outcome.retry_after_s)
            forget_if_gone(tx, due.contact, outcome)

        try:
            await self._store.write(record)
        except StoreUnavailable:  # unknown: its lease runs out, and it is sent again
            log.error("%s: how a send went was not recorded", self.channel)


async def send(sender: Sender, contact: Contact, *, key: str, occasion: Occasion) -> Outcome:
    """Send to a contact point; what nobody foresaw is a failure like any other, named by its type."""
    if not contact.to:
        return Outcome(ok=False, fault="address unreadable")
    message = Message(kind=contact.kind, to=contact.to, secret=contact.secret, key=key, occasion=occasion)
    try:
        return await sender.send(message)
    except Exception as error:  # its words may hold the address
        log.error("%s: a send broke: %s", contact.kind.value, type(error).__name__)
        return Outcome(ok=False, fault="broken")


def forget_if_gone(tx: Tx, contact: Contact, outcome: Outcome) -> None:
    """Remove a browser that is no longer subscribed, as push services ask. Other addresses people mend."""
    if outcome.gone and contact.kind is Kind.PUSH:
        tx.audit.append("server", "channel_gone", contact.id, {"kind": contact.kind.value})
        tx.channels.remove(contact.id)


@asynccontextmanager
async def trying_again(channels: Sequence[Outside]) -> AsyncIterator[None]:
    """Run the loops of these channels; each apart, so that one that hangs delays no other."""
    tasks = [asyncio.create_task(each.run(), name=f"again-{each.channel}") for each in channels]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
