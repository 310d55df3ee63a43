"""A changed policy or rules file, noticed while the server runs: on SIGHUP, or by looking now and then."""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from moderation.reload import Exchangeable
from peerchat.errors import StoreUnavailable
from peerchat.store.sql import Store, Tx

log = logging.getLogger(__name__)

LOOK_EVERY_S = 3.0
AGAIN_S = 5.0
SERVER = "server"
ACTIVE = "policy_active"
"""The audit row of a policy that began to judge; its object is the version."""


@asynccontextmanager
async def reloading(
    judge: Exchangeable, store: Store, *, watch: bool, told: Callable[[Exchangeable], None]
) -> AsyncIterator[None]:
    """Keep `judge` at the newest files that are whole, and a row in the log for each policy that judged.

    `told` hears of every attempt. Reading and building happen on threads; messages go on meanwhile.
    """
    asked = asyncio.Event()
    told(judge)
    recorded = await _recorded(store, judge)
    remove = _on_hangup(asked.set)
    keep = _keep(judge, store, asked, recorded=recorded, watch=watch, told=told)
    task = asyncio.create_task(keep, name="policy")
    try:
        yield
    finally:
        remove()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _keep(
    judge: Exchangeable,
    store: Store,
    asked: asyncio.Event,
    *,
    recorded: bool,
    watch: bool,
    told: Callable[[Exchangeable], None],
) -> None:
    while True:
        wait_s = AGAIN_S if not recorded else LOOK_EVERY_S if watch else None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await asked.wait()
        try:
            if asked.is_set() or (watch and await judge.changed()):
                asked.clear()
                outcome = await judge.reload()
                told(judge)
                recorded = recorded and not outcome.changed
            if not recorded:
                recorded = await _recorded(store, judge)
        except Exception as error:  # what judges goes on; only its newest files are not looked for this time
            log.error("looking for changed policy files failed: %s", type(error).__name__)
            await asyncio.sleep(AGAIN_S)


async def _recorded(store: Store, judge: Exchangeable) -> bool:
    """Whether the log says which policy judges; a row is added where its newest one names another."""
    version, policy = judge.policy_version, judge.pipeline.policy

    def body(tx: Tx) -> list[str]:
        last = tx.audit.last(ACTIVE)
        was = last.object if last is not None else None
        if was != version:
            tx.audit.append(SERVER, ACTIVE, version, {"was": was, "sha256": policy.digest})
        return sorted(set(policy.sites) - {site.id for site in tx.sites.all()})

    try:
        unknown = await store.write(body)
    except StoreUnavailable:
        return False
    if unknown:  # a slip in an id would leave a site without its own policy, and nobody would see
        log.warning("policy %s has tables for sites that are not here: %s", version, ", ".join(unknown))
    return True


def _on_hangup(call: Callable[[], None]) -> Callable[[], None]:
    """Call on SIGHUP, unless it still means that a terminal was closed; return what undoes this."""
    hangup = getattr(signal, "SIGHUP", None)  # not on Windows
    if hangup is None or _has_terminal():
        return lambda: None
    loop = asyncio.get_running_loop()
    try:
        loop.add_signal_handler(hangup, call)
    except (RuntimeError, ValueError, NotImplementedError):  # not the main thread: a test's
        return lambda: None

    def undo() -> None:
        loop.remove_signal_handler(hangup)

    return undo


def _has_terminal() -> bool:
    try:
        return os.isatty(sys.stdin.fileno())
    except (AttributeError, OSError, ValueError):
        return False
