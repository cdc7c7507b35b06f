"""What is counted, as Prometheus reads it: one registry for each service; times are timestamps, never ages."""

from __future__ import annotations

import platform
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import accumulate

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from ratesvc import __version__
from ratesvc.storage.redis import Asked

# The moment at which a counter began is of no use to anybody, and doubles the page.
disable_created_metrics()  # type: ignore[no-untyped-call] # theirs has no types

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BOUNDS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
REDIS_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
LISTENING = "listen"


class Route:
    """The requests of one route. Counting is on the way of every answer: plain integers, half a microsecond."""

    __slots__ = ("by_status", "durations", "seconds")

    def __init__(self) -> None:
        self.by_status: defaultdict[int, int] = defaultdict(int)
        self.durations = [0] * (len(BOUNDS_S) + 1)
        self.seconds = 0.0

    def add(self, status: int, seconds: float) -> None:
        """One more answer."""
        self.by_status[status] += 1
        self.durations[bisect_left(BOUNDS_S, seconds)] += 1
        self.seconds += seconds

    def add_quick(self, status: int) -> None:
        """One more answer of the fast path, which takes microseconds: too short to be worth a look at the clock."""
        self.by_status[status] += 1
        self.durations[0] += 1


class Metrics(Collector):
    """Everything that one service counts."""

    def __init__(self) -> None:
        """All at zero."""
        self.registry = CollectorRegistry()
        self._routes: dict[str, Route] = {}
        self._watched: set[str] = set()
        build = Gauge("ratesvc_build_info", "Always 1.", ("version", "python"), registry=self.registry)
        build.labels(__version__, platform.python_version()).set(1)
        self.fetches = self._counter("fetches", "Refreshes, by what came of them", "outcome")
        self.quarantined = self._counter("quarantined", "Documents put into quarantine", "reason")
        self.redis_errors = self._counter("redis_errors", "Questions that Redis did not answer as it should", "kind")
        self.reseeded = self._counter("reseeded", "What memory gave back to Redis", "what")
        self.restarts = self._counter("task_restarts", "Tasks that ended by themselves and were started again", "task")
        self._redis = Histogram(
            "ratesvc_redis_operation_seconds",
            "What a question to Redis took",
            ("operation",),
            buckets=REDIS_BOUNDS_S,
            registry=self.registry,
        )
        ProcessCollector(registry=self.registry)
        self.registry.register(self)

    def _counter(self, name: str, text: str, label: str) -> Counter:
        return Counter(f"ratesvc_{name}", f"{text}.", (label,), registry=self.registry)

    def watch(self, name: str, text: str, value: Callable[[], float]) -> None:
        """A gauge that is asked for when somebody reads; a second time it stays as it is."""
        if name not in self._watched:
            self._watched.add(name)
            Gauge(f"ratesvc_{name}", text, registry=self.registry).set_function(value)

    def asked(self, asked: Asked) -> None:
        """One question to Redis."""
        if asked.trouble:
            self.redis_errors.labels(asked.trouble.kind).inc()
        if asked.operation != LISTENING and not (asked.trouble and asked.trouble.kind == "open"):
            self._redis.labels(asked.operation).observe(asked.seconds)

    def route(self, template: str) -> Route:
        """Where the requests of a route are counted."""
        return self._routes.setdefault(template, Route())

    def collect(self) -> Iterator[CounterMetricFamily | HistogramMetricFamily]:
        """For prometheus_client."""
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
        """What /metrics answers."""
        return generate_latest(self.registry)
