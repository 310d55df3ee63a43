"""For operators: live, ready, metrics. Counts and times only: no text, no names, no ids of members."""

import asyncio
import hmac
import time
from collections import Counter as Tally
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from moderation.language import STAGE as LANGUAGE
from moderation.reload import Exchangeable
from peerchat import views
from peerchat.channels.outside import Outside
from peerchat.channels.watchdog import Watchdog
from peerchat.errors import StoreUnavailable
from peerchat.node import Node
from peerchat.store.sql import Tx
from web.api.problems import Json, problem
from web.auth import node_of, settings_of
from web.beyond import Beyond

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
FORWARDED = ("x-forwarded-for", "forwarded", "via", "x-real-ip")
LATELY_S = 300.0
READY_S = 3.0
DESK_LATE_S = 10.0
"""Rule 9: a due alert is at most this overdue while a worker lives."""


class Metrics:
    """What one node counts, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._judge = Histogram(
            "peerchat_judge_seconds", "Time to judge one batch", registry=self.registry,
            buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3),
        )  # fmt: skip
        self._batch = Histogram(
            "peerchat_batch_messages", "Messages in one batch", registry=self.registry,
            buckets=(1, 2, 4, 8, 16, 32, 64, 128),
        )  # fmt: skip
        self._judged = Counter("peerchat_messages_total", "Messages judged", registry=self.registry)
        self._degraded = Counter(
            "peerchat_degraded_total", "Messages a stage did not judge", ["stage"], registry=self.registry
        )
        self._stage = Histogram(
            "peerchat_stage_seconds", "Time of one stage of moderation for one batch", ["stage"],
            registry=self.registry, buckets=(0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3),
        )  # fmt: skip
        self._failures = Counter(
            "peerchat_stage_failures_total", "Calls and rows without a usable answer", ["stage", "kind"],
            registry=self.registry,
        )  # fmt: skip
        self._breaker = Gauge(
            "peerchat_stage_breaker", "0: the stage is asked, 1: tried again, 2: left alone", ["stage"],
            registry=self.registry,
        )  # fmt: skip
        self._language = Counter(
            "peerchat_language_held_total",
            "Messages in a language that is not measured",
            registry=self.registry,
        )
        self._second = Counter(
            "peerchat_second_tier_messages_total", "Messages by whether the second tier was asked", ["asked"],
            registry=self.registry,
        )  # fmt: skip
        self._failed_at: dict[str, float] = {}
        self._left_alone: set[str] = set()
        self.lines = Gauge("peerchat_lines", "Open lines", registry=self.registry)
        self.inbox = Gauge(
            "peerchat_inbox_messages", "Messages that wait for the pump", registry=self.registry
        )
        self.commits = Gauge("peerchat_commits", "Commits so far", registry=self.registry)
        self.commit_s = Gauge("peerchat_commit_seconds", "Seconds spent in commits", registry=self.registry)
        self.dropped = Gauge("peerchat_events_dropped", "Events not published", registry=self.registry)
        self.desk_failures = Gauge("peerchat_desk_failures", "Failures of the desk", registry=self.registry)
        self.review_open = Gauge("peerchat_review_open", "Undecided items", ["site"], registry=self.registry)
        self.alerts_open = Gauge(
            "peerchat_alerts_open", "Open alerts", ["site", "state"], registry=self.registry
        )
        self.contacts = Gauge(
            "peerchat_contact_points", "Ways to reach adults beyond the page", ["site", "kind", "state"],
            registry=self.registry,
        )  # fmt: skip
        self.failing = Gauge("peerchat_store_failing", "1 while nothing can be saved", registry=self.registry)
        self.alerts_unreadable = Gauge(
            "peerchat_alerts_unreadable", "Open alerts whose row is damaged", ["site"], registry=self.registry
        )
        self._policy = Gauge(
            "peerchat_policy_info", "The policy that judges", ["version"], registry=self.registry
        )
        self._policy_fault = Gauge(
            "peerchat_policy_fault", "1 while newer files cannot be used", registry=self.registry
        )
        self._policy_reloads = Gauge(
            "peerchat_policy_reloads", "Attempts to take newer files", ["outcome"], registry=self.registry
        )
        self._second_tier = Gauge(
            "peerchat_second_tier", "1 where the second tier judges, 0 where its model is missing",
            registry=self.registry,
        )  # fmt: skip
        self.second_tier: bool | None = None
        self.policy_version: str | None = None
        self.policy_fault = ""
        self.on_duty = Gauge("peerchat_adults_on_duty", "Adults on duty", ["site"], registry=self.registry)

    def beyond(self, outside: Sequence[Outside], watchdog: Watchdog) -> None:
        """Take what tells people beyond the page, and what audits it: read at each scrape."""
        self.registry.register(Beyond(outside, watchdog))

    def observe(self, name: str, value: float) -> None:
        """Take a measurement of the message path."""
        if name == "judge_s":
            self._judge.observe(value)
        elif name == "batch":
            self._batch.observe(value)
            self._judged.inc(value)

    def moderation(self, what: str, stage: str, kind: str, value: float) -> None:
        """Take what moderation tells of its stages: see `moderation.pipeline.Observe`."""
        if what == "seconds":
            self._stage.labels(stage).observe(value)
        elif what == "failures":
            self._failures.labels(stage, kind).inc(value)
            self._failed_at[stage] = time.monotonic()
        elif what == "breaker":
            self._breaker.labels(stage).set(value)
            (self._left_alone.add if value else self._left_alone.discard)(stage)
        elif what == "degraded":
            self._degraded.labels(stage).inc(value)
        elif what == "declined" and stage == LANGUAGE:
            self._language.inc(value)
        elif what == "asked":
            self._second.labels(kind).inc(value)

    @property
    def checks(self) -> bool:
        """Whether every check of messages is asked. Where one is not, all messages wait for a person."""
        return not self._left_alone

    def policy_is(self, judge: Exchangeable) -> None:
        """Take which policy judges, and whether newer files of it cannot be used."""
        self.policy_version, self.policy_fault = judge.policy_version, judge.fault
        self.second_tier = judge.pipeline.second is not None
        self._second_tier.set(self.second_tier)
        self._policy.clear()
        self._policy.labels(judge.policy_version).set(1)
        self._policy_fault.set(bool(judge.fault))
        self._policy_reloads.labels("taken").set(judge.done)
        self._policy_reloads.labels("refused").set(judge.failed)

    def degraded_lately(self) -> list[str]:
        """Return the stages that failed within the last minutes, or are left alone since they did."""
        since = time.monotonic() - LATELY_S
        return sorted(self._left_alone | {stage for stage, at in self._failed_at.items() if at > since})


async def healthz(_request: Request) -> Response:
    """GET /healthz: the process answers."""
    return PlainTextResponse("live\n")


async def readyz(request: Request) -> Response:
    """GET /readyz: the database takes transactions and the desk works; an adult on duty is shown apart."""
    node = node_of(request)
    try:
        async with asyncio.timeout(READY_S):
            covered = await node.store.write(_beat)
    except (StoreUnavailable, TimeoutError):
        unknown = {"desk": None, "adult_on_duty": None, "checks": checks_of(request), **policy_of(request)}
        return Json({"ready": False, "database": False, **unknown}, 503)
    desk = desk_at_work(node)
    ready = desk and not node.draining
    shown = {"ready": ready, "database": True, "desk": desk, "adult_on_duty": bool(covered) and all(covered)}
    return Json(shown | {"checks": checks_of(request)} | policy_of(request), 200 if ready else 503)


def checks_of(request: Request) -> bool:
    """Return whether every check of messages is asked; no part of `ready`: what fails is held, not lost."""
    found: Metrics = request.state.metrics
    return found.checks


def policy_of(request: Request) -> dict[str, Any]:
    """Return which policy judges, with or without the second tier, and whether newer files could be used.

    None of it has a part in `ready`.
    """
    found: Metrics = request.state.metrics
    return {
        "policy": found.policy_version,
        "policy_up_to_date": not found.policy_fault,
        "second_tier": found.second_tier,
    }


def _beat(tx: Tx) -> list[bool]:
    tx.sites.beat()
    return [tx.duty.covered(s.id) for s in tx.sites.all()]


def desk_at_work(node: Node) -> bool:
    """Return whether the desk has looked for due alerts lately (rule 9)."""
    last = node.desk.last_sweep_at
    return last is not None and (node.now() - last).total_seconds() < DESK_LATE_S


def may_scrape(request: Request) -> bool:
    """Return whether the caller is the operator's own: by token, or, without one, from this very host.

    Exact counts of a small school can tell who wrote: they are not for the proxy that pupils come by.
    """
    token = settings_of(request).metrics_token
    if token is not None:
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        return hmac.compare_digest(given.encode(), token.encode())
    settings = settings_of(request)
    host = urlsplit(f"//{request.headers.get('host', '')}").hostname
    direct = not settings.trusted_proxies and not any(name in request.headers for name in FORWARDED)
    return direct and host in LOOPBACK and request.client is not None and request.client.host in LOOPBACK


async def metrics(request: Request) -> Response:
    """GET /metrics: for the operator alone; see `may_scrape`."""
    if not may_scrape(request):
        return problem(404, "Not found")
    found: Metrics = request.state.metrics
    node = node_of(request)
    found.lines.set(len(node.hub))
    found.inbox.set(node.chat.waiting)
    found.commits.set(node.store.commits)
    found.commit_s.set(node.store.commit_s)
    found.failing.set(node.store.failing)
    found.dropped.set(node.publisher.dropped)
    found.desk_failures.set(node.desk.failures)

    def counts(tx: Tx) -> list[tuple[str, int, dict[str, int], int, int, Tally[tuple[str, bool]]]]:
        return [
            (
                s.id,
                tx.reviews.counts(s.id)[0],
                tx.alerts.counts(s.id),
                tx.alerts.unreadable(s.id),
                len(views.on_duty(tx, s.id)),
                Tally((c.kind.value, c.failing) for c in tx.channels.of_site(s.id)),
            )
            for s in tx.sites.all()
        ]

    found.contacts.clear()
    for site, review, alerts, unreadable, duty, contacts in await node.store.read(counts):
        for (kind, failing), count in contacts.items():
            found.contacts.labels(site, kind, "failing" if failing else "ok").set(count)
        found.alerts_unreadable.labels(site).set(unreadable)
        found.review_open.labels(site).set(review)
        found.on_duty.labels(site).set(duty)
        for state, count in alerts.items():
            found.alerts_open.labels(site, state).set(count)
    return Response(generate_latest(found.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


def health(node: Node, found: Metrics) -> Sequence[dict[str, Any]]:
    """Return what works and what does not, in words for staff."""
    at_work = desk_at_work(node)
    silent = found.degraded_lately()
    lost = node.publisher.dropped
    return [
        {
            "what": "Saving",
            "ok": not node.store.failing,
            "words": "Nothing can be saved just now; the disk may be full. What people write does not arrive,"
            " nor does a press on Help. Be there in person, and tell whoever runs the server."
            if node.store.failing
            else "What comes is saved.",
        },
        {
            "what": "Checks of messages",
            "ok": not silent,
            "words": f"Not answering lately: {', '.join(silent)}. Those messages wait for a person."
            if silent
            else "All checks answer.",
        },
        {
            "what": "The second classifier",
            "ok": found.second_tier is not False,
            "words": second_tier_words(found),
        },
        {
            "what": "Alerts",
            "ok": at_work,
            "words": "The alert desk is at work." if at_work else "The alert desk is late.",
        },
        {
            "what": "Policy and rules",
            "ok": not found.policy_fault,
            "words": f"A changed file cannot be used, so the one before it goes on: {found.policy_fault}"
            if found.policy_fault
            else "The newest files are in force.",
        },
        {
            "what": "Live updates",
            "ok": lost == 0,
            "words": "Some updates were lost; pages fetch them again by themselves."
            if lost
            else "Nothing was lost on the way.",
        },
    ]


def second_tier_words(found: Metrics) -> str:
    """Whether the second classifier judges, for staff."""
    if found.second_tier is False:
        return "Its model is missing, so less is found: the rules and the first classifier judge alone."
    return "It reads what the first one is not sure of."


routes = [
    Route("/healthz", healthz, methods=["GET"]),
    Route("/readyz", readyz, methods=["GET"]),
    Route("/metrics", metrics, methods=["GET"]),
]
