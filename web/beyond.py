"""What `/metrics` says of the ways beyond the page and of the auditor: counts only, no address and no id."""

from collections.abc import Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from escalation.auditor import Missing
from peerchat.channels.outside import Outside
from peerchat.channels.watchdog import Watchdog


class Beyond(Collector):
    """Reads the channels and the watchdog at each scrape."""

    def __init__(self, outside: Sequence[Outside], watchdog: Watchdog) -> None:
        self._outside = outside
        self._watchdog = watchdog

    def collect(self) -> Iterator[Metric]:
        """Yield the families."""
        sends = CounterMetricFamily("peerchat_sends", "Tries to tell somebody", labels=["kind", "outcome"])
        for each in self._outside:
            sends.add_metric([each.channel, "ok"], each.sent)
            sends.add_metric([each.channel, "failed"], each.failed)
        yield sends
        missing = GaugeMetricFamily("peerchat_auditor_missing", "What the auditor misses", labels=["what"])
        for what in Missing:
            missing.add_metric([what.value], self._watchdog.missing.get(what, 0))
        yield missing
        looked = self._watchdog.looked_at
        yield GaugeMetricFamily(
            "peerchat_auditor_looked_timestamp_seconds",
            "When the auditor last looked; 0: not yet",
            value=looked.timestamp() if looked is not None else 0,
        )
        yield GaugeMetricFamily(
            "peerchat_watchdog_called",
            "1 where the watchdog's last call arrived, 0 where it did not, or was not made",
            value=int(self._watchdog.called is True),
        )
