"""What happens to the service, said once in the log and counted. Lower floors report; only this room speaks."""

from __future__ import annotations

import asyncio
import platform
import sys
import threading
import time
import traceback
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import date, datetime
from itertools import accumulate
from typing import Self

import structlog
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
from ratesvc.bank.admission import Reassessed
from ratesvc.domain.columns import Coverage
from ratesvc.domain.rates import Revision
from ratesvc.errors import FetchFailed, StoreUnavailable
from ratesvc.service.refresh import Cycle, HeldBack
from ratesvc.service.sync import Repaired
from ratesvc.storage.redis import Call

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
        """A gauge that is asked for when somebody reads; a second time it stays as it is."""
        if name not in self._watched:
            self._watched.add(name)
            Gauge(f"ratesvc_{name}", text, registry=self.registry).set_function(value)

    def redis_call(self, call: Call) -> None:
        """Count one call to Redis."""
        if call.trouble:
            self.redis_errors.labels(call.trouble.kind).inc()
        if call.operation != LISTENING:
            self._redis.labels(call.operation).observe(call.seconds)

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


ASK_S = 0.5
BLOCKED_S = 10.0


class Watchdog:
    """Measures how long the loop takes to turn. A blocked loop answers nobody; what asked it runs into its timeout.

    `lag_s` therefore stays at what the last turn took until the next one is measured: whoever asks first after a
    block hears of it.
    """

    def __init__(self, blocked: Callable[[float, str], None]) -> None:
        """`blocked` is called in the thread, once for each block of `BLOCKED_S`, with where the loop stands."""
        self._blocked = blocked
        self._stop = threading.Event()
        self._asked_at = time.monotonic()
        self._lag_s = 0.0
        self._answered = threading.Event()

    def open(self) -> Self:
        """Begin to watch the running loop."""
        thread = threading.Thread(
            target=self._watch,
            args=(asyncio.get_running_loop(), threading.get_ident()),
            name="ratesvc-watchdog",
            daemon=True,
        )
        thread.start()
        return self

    def close(self) -> None:
        """Stop watching."""
        self._stop.set()
        self._answered.set()

    @property
    def lag_s(self) -> float:
        """Seconds that the loop took for its last turn, or has been taking for this one."""
        waiting = 0.0 if self._answered.is_set() else time.monotonic() - self._asked_at
        return max(self._lag_s, waiting)

    def _watch(self, loop: asyncio.AbstractEventLoop, thread: int) -> None:
        while not self._stop.wait(ASK_S):
            self._answered.clear()
            self._asked_at = time.monotonic()
            try:
                loop.call_soon_threadsafe(self._turned)
            except RuntimeError:  # the loop was closed
                return
            if not self._answered.wait(BLOCKED_S):
                frame = sys._current_frames().get(thread)  # noqa: SLF001 -- the documented way to see another thread
                place = traceback.extract_stack(frame)[-1] if frame else None
                self._blocked(BLOCKED_S, f"{place.filename}:{place.lineno}" if place else "unknown")
                self._answered.wait()

    def _turned(self) -> None:
        self._lag_s = time.monotonic() - self._asked_at
        self._answered.set()


FAILURE_LOG_S = 60.0


class Telemetry:
    """Keeps what the last refresh did, and whether Redis is in trouble, for health and for what is said only once."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        """`clock` gives UTC."""
        self.metrics = Metrics()
        self.log = structlog.get_logger("ratesvc")
        self.last_cycle: Cycle | None = None
        self.last_attempt: datetime | None = None
        self.last_success: datetime | None = None
        self.failures = 0
        self.trouble: StoreUnavailable | None = None
        self._clock = clock
        self._said_at = float("-inf")
        self._mistaken_at: dict[str, float] = {}
        self._held_back: dict[date, HeldBack] = {}

    # The Bank

    def refreshed(self, cycle: Cycle, *, nothing_held: bool) -> None:
        """One refresh is over."""
        self.held_back(cycle)
        self.last_cycle = cycle
        self.last_attempt = self._clock()
        if cycle.asked_in_vain:
            self.failures += 1
        elif cycle.has_heard:
            self.failures = 0
            self.last_success = self.last_attempt
        kind = cycle.failure.kind if cycle.failure and cycle.asked_in_vain else cycle.outcome
        self.metrics.fetches.labels(kind).inc()
        if cycle.accepted and not cycle.stored:
            self.log.warning("kept_in_memory", sheets=len(cycle.accepted))
        if cycle.failure:
            self._failed(cycle.failure, nothing_held=nothing_held)

    def heard_elsewhere(self) -> None:
        """The Bank has answered a replica: an earlier failure of this one is over."""
        if self.failures:
            self.failures = 0
            self.last_cycle = Cycle("skipped")

    def held_back(self, cycle: Cycle) -> None:
        """Say once of each sheet why it is held back, and count what was put into quarantine."""
        for accepted in cycle.accepted:
            self._held_back.pop(accepted.effective_date, None)
        for held_back in cycle.held_back:
            if self._held_back.get(held_back.effective_date) != held_back:
                date_text = str(held_back.effective_date)
                self.log.warning("sheet_held_back", effective_date=date_text, to=held_back.decision, why=str(held_back))
            self._held_back[held_back.effective_date] = held_back
        for kind in cycle.put_aside:
            self.metrics.quarantined.labels(kind).inc()

    def reassessed(self, found: Reassessed) -> None:
        """What an older version stored was assessed once; what is not admitted is fetched again."""
        for revision, assessment in found.refused:
            why = "; ".join(f"{finding.kind}: {finding.text}" for finding in assessment.findings)
            self.log.warning(
                "stored_sheet_refused", effective_date=str(revision.effective_date), revision=revision.number, why=why
            )
        lacking = len(found.coverage.unconfirmed) if found.coverage else 0
        self.log.info("store_reassessed", kept=len(found.kept), refused=len(found.refused), unconfirmed_days=lacking)

    def _failed(self, failure: FetchFailed, *, nothing_held: bool) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._said_at < FAILURE_LOG_S:
            return
        self._said_at = now
        hint = {"hint": "nothing is stored yet; --demo works without the network"} if nothing_held else {}
        for host, error in failure.failures:
            self.log.warning("fetch_failed", host=host, error=str(error), **hint)

    def history(self, coverage: Coverage) -> None:
        """All of history, or more of it, was taken from Redis."""
        self.log.info("history", since=str(coverage.since), until=str(coverage.until))

    def backfilled(self, coverage: Coverage | None, sheets: int, *, complete: bool) -> None:
        """A backfill is over; not `complete`, some days up to yesterday are not held."""
        if complete:
            self.log.info("backfill_finished", sheets=sheets)
        elif coverage:
            unconfirmed = len(coverage.unconfirmed)
            self.log.warning("backfill_incomplete", sheets=sheets, until=str(coverage.until), unconfirmed=unconfirmed)

    def sheet(self, revision: Revision) -> None:
        """This replica holds one more."""
        flags = {"flags": ",".join(revision.flags)} if revision.flags else {}
        self.log.info("sheet", effective_date=str(revision.effective_date), revision=revision.number, **flags)

    # Redis

    def redis_call(self, call: Call) -> None:
        """Count one command; say once that Redis is in trouble and of what kind, and once that it is well again."""
        self.metrics.redis_call(call)
        now, before = call.trouble, self.trouble
        if now:
            self.trouble = now
            if before is None or before.kind != now.kind:
                self.log.warning("store_unavailable", kind=now.kind, error=str(now), served_from="memory")
        elif before and not call.refusing:
            # A Redis that answers may still refuse writes.
            self.trouble = None
            self.log.info("store_back")

    def repaired(self, repaired: Repaired) -> None:
        """Log and count what was written to Redis again."""
        for key in repaired.misplaced:
            self.log.warning("misplaced_dropped", key=key)
        counts = {"sheets": repaired.sheets, "columns": repaired.columns, "dropped": repaired.dropped}
        if any(counts.values()):
            self.log.warning("repaired", **counts)
        for what, count in counts.items():
            self.metrics.repaired.labels(what).inc(count)

    # The process

    def task_died(self, name: str, error: BaseException | str) -> None:
        """What must never end has ended, by an exception or as these words say, and is started again."""
        self.metrics.restarts.labels(name).inc()
        if isinstance(error, str):
            self.log.error("task_died", task=name, error=error)
        else:
            self.log.error("task_died", task=name, error=repr(error), exc_info=error)

    def failed_by_mistake(self, name: str, error: Exception) -> None:
        """A bug of ours ended work that is repeated anyway; its traceback is logged once a minute at most."""
        now = asyncio.get_running_loop().time()
        if now - self._mistaken_at.get(name, float("-inf")) < FAILURE_LOG_S:
            self.metrics.restarts.labels(name).inc()
            return
        self._mistaken_at[name] = now
        self.task_died(name, error)

    def loop_blocked(self, seconds: float, at: str) -> None:
        """The event loop has not turned for so long; `at` is where it stands."""
        self.log.error("loop_blocked", seconds=seconds, at=at)
