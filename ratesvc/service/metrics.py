"""What /metrics shows: counts, durations, and gauges, which are read when Prometheus asks.

One registry for each service. Times are timestamps, never ages.
"""

from __future__ import annotations

import platform
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime, time
from importlib.resources import files
from itertools import accumulate
from typing import TYPE_CHECKING

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from ratesvc import __version__
from ratesvc.domain.rates import Revision, Snapshot
from ratesvc.domain.workdays import at
from ratesvc.storage.redis import Call

if TYPE_CHECKING:
    from ratesvc.service.app import Service

# Nobody needs the time at which a counter began, and it doubles the page.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call] # theirs has no types

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BOUNDS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
REDIS_BOUNDS_S = BOUNDS_S[1:]
LISTENING = "listen"


class Route:
    """The requests of one route. Every answer counts them: plain integers, half a microsecond."""

    __slots__ = ("by_status", "durations", "seconds")

    def __init__(self) -> None:
        self.by_status: defaultdict[int, int] = defaultdict(int)
        self.durations = [0] * (len(BOUNDS_S) + 1)
        self.seconds = 0.0

    def add(self, status: int, seconds: float) -> None:
        """Count one more answer."""
        self.by_status[status] += 1
        self.durations[bisect_left(BOUNDS_S, seconds)] += 1
        self.seconds += seconds

    def add_quick(self, status: int) -> None:
        """Count one more remembered answer: it takes microseconds, less than a look at the clock is worth."""
        self.by_status[status] += 1
        self.durations[0] += 1


class Metrics(Collector):
    """Everything that one service counts."""

    def __init__(self) -> None:
        """All at zero."""
        self.registry = CollectorRegistry()
        self._routes: dict[str, Route] = {}
        self._gauges: set[str] = set()
        labels = ("version", "revision", "python")
        build = Gauge("ratesvc_build_info", "Always 1.", labels, registry=self.registry)
        # The commit from which the package was built; in a clone there is no such file.
        file = files("ratesvc").joinpath("revision")
        revision = file.read_text("ascii") if file.is_file() else ""
        build.labels(__version__, revision, platform.python_version()).set(1)
        self.fetches = self._counter("fetches", "Refreshes, by outcome", "outcome")
        self.quarantined = self._counter("quarantined", "Documents put into quarantine", "reason")
        self.redis_errors = self._counter("redis_errors", "Calls to Redis that failed", "kind")
        self.repaired = self._counter("repaired", "Values that were written to Redis again", "what")
        self.restarts = self._counter("task_restarts", "Tasks that ended by themselves and were started again", "task")
        self._redis = Histogram(
            "ratesvc_redis_operation_seconds",
            "Duration of a call to Redis.",
            ("operation",),
            buckets=REDIS_BOUNDS_S,
            registry=self.registry,
        )
        ProcessCollector(registry=self.registry)
        self.registry.register(self)

    def _counter(self, name: str, text: str, label: str) -> Counter:
        return Counter(f"ratesvc_{name}", f"{text}.", (label,), registry=self.registry)

    def watch(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Add a gauge that is read with the page; a second one of the same name is ignored."""
        if name not in self._gauges:
            self._gauges.add(name)
            Gauge(f"ratesvc_{name}", text, registry=self.registry).set_function(value)

    def redis_call(self, call: Call) -> None:
        """Count one call to Redis."""
        if call.trouble:
            self.redis_errors.labels(call.trouble.kind).inc()
        if call.operation != LISTENING:
            self._redis.labels(call.operation).observe(call.seconds)

    def route(self, template: str) -> Route:
        """The counts of one route."""
        return self._routes.setdefault(template, Route())

    def collect(self) -> Iterator[CounterMetricFamily | HistogramMetricFamily]:
        """Give prometheus_client the counts of all routes."""
        requests = CounterMetricFamily("ratesvc_requests", "Answers.", labels=("route", "status"))
        durations = HistogramMetricFamily(
            "ratesvc_request_duration_seconds", "From a request's head to its answer.", labels=("route",)
        )
        names = [*map(str, BOUNDS_S), "+Inf"]
        for template, route in self._routes.items():
            for status, count in route.by_status.items():
                requests.add_metric((template, str(status)), count)
            if route.by_status:
                counts = list(zip(names, accumulate(route.durations), strict=True))
                durations.add_metric((template,), buckets=counts, sum_value=route.seconds)
        yield requests
        yield durations

    def text(self) -> bytes:
        """The page /metrics."""
        return prometheus_client.generate_latest(self.registry)


def watch(service: Service) -> None:
    """Show the gauges of a service. An unknown value is 0; a timestamp of 0 means never."""
    telemetry, see = service.telemetry, service.telemetry.metrics.watch

    def of_sheet(value: Callable[[Snapshot, Revision], float]) -> Callable[[], float]:
        def read() -> float:
            snapshot, newest = service.current_snapshot(), service.history.newest
            return value(snapshot, newest) if snapshot and newest else 0.0

        return read

    def midnight(_: Snapshot, newest: Revision) -> float:
        return at(newest.effective_date, time.min).timestamp()

    see("redis_up", "Whether Redis answers and takes writes.", lambda: telemetry.trouble is None)
    see("lease_held", "Whether this replica is the one that polls.", lambda: service.store.poll_lease.held)
    see("waits_for_turn", "How many tasks, poll and backfill, another replica does.", lambda: len(telemetry.waiting))
    see("loop_lag_seconds", "What the event loop took for its last measured turn.", lambda: service.watchdog.lag_s)
    see("clock_skew_seconds", "How far this clock is ahead of the Bank's.", lambda: service.clock_skew_s or 0.0)
    see("history_sheets", "Sheets in memory.", lambda: len(service.history.days))
    see("history_loading", "Whether history is not fetched yet.", lambda: service.history_loading)
    see("event_streams", "Open streams of events.", lambda: len(service.events.streams))
    see("quarantine_documents", "Documents that wait for a person.", lambda: service.quarantine.count)
    see("refresh_last_attempt_timestamp_seconds", "The last refresh.", lambda: _stamp(telemetry.last_attempt))
    see("refresh_last_success_timestamp_seconds", "The last that worked.", lambda: _stamp(telemetry.last_success))
    see("refresh_next_timestamp_seconds", "When the next one is due.", lambda: _stamp(service.next_poll_at))
    see("publications_missed", "Sheets that are overdue.", of_sheet(lambda snapshot, _: snapshot.publications_missed))
    see("stale", "Whether today's own sheet is missing.", of_sheet(lambda snapshot, _: snapshot.stale))
    see("sheet_date_timestamp_seconds", "Moscow midnight of the newest sheet's day.", of_sheet(midnight))
    calendar, steps = service.history.calendar, "Steps of the backfill that runs"
    known_until = _stamp(at(calendar.known_until, time.min))
    see("calendar_known_until_timestamp_seconds", "The last day whose days off are known.", lambda: known_until)
    see("backfill_steps", f"{steps}.", lambda: service.backfilling.total if service.backfilling else 0)
    see("backfill_steps_done", f"{steps}, done.", lambda: service.backfilling.done if service.backfilling else 0)
    due, first_seen = "sheet_expected_timestamp_seconds", "sheet_first_seen_timestamp_seconds"
    see(due, "When the next one is due.", of_sheet(lambda snapshot, _: _stamp(snapshot.next_due_at)))
    see(first_seen, "When the newest was fetched.", of_sheet(lambda _, newest: _stamp(newest.fetched_at)))


def _stamp(moment: datetime | None) -> float:
    return moment.timestamp() if moment else 0.0
