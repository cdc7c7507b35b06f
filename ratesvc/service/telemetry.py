"""Logs and metrics. The other modules of the service report what happens; this one logs it once and counts it.

One registry for each service. Times in metrics are timestamps, never ages.
"""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import sys
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime
from importlib.resources import files
from itertools import accumulate
from typing import Any

import prometheus_client
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, core
from prometheus_client.registry import Collector
from structlog.tracebacks import ExceptionDictTransformer

from ratesvc import __version__
from ratesvc.bank.admission import Admission
from ratesvc.bank.client import Mirror
from ratesvc.domain.rates import Revision, Snapshot
from ratesvc.errors import FetchFailed, RatesvcError, StoreUnavailable
from ratesvc.service.cycle import Cycle, Progress
from ratesvc.service.sync import Repairs
from ratesvc.storage.redis import Call

# Nobody needs the time at which a counter began, and it doubles the page.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call] # theirs has no types

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BOUNDS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
LOG_AGAIN_S = 60.0
LASTING_S = 5.0

Reading = tuple[str, str, float]
"""The name of a gauge, what it is, and its value."""


def set_up_log(form: str, *, quiet: bool) -> None:
    """Log to standard error: our own events and those of libraries, one line each."""
    shared: list[Any] = [structlog.stdlib.add_log_level, structlog.processors.TimeStamper(fmt="iso", utc=True)]
    # By themselves tracebacks show local variables, which are passwords and readers' addresses, too.
    if form == "json":
        traceback = structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False))
        renderer: list[Any] = [traceback, structlog.processors.JSONRenderer(ensure_ascii=False)]
    else:
        colors = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
        renderer = [structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback)]
    formatter = structlog.stdlib.ProcessorFormatter
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(foreign_pre_chain=shared, processors=[formatter.remove_processors_meta, *renderer]))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("ratesvc").setLevel(logging.ERROR if quiet else logging.INFO)
    structlog.configure(
        processors=[*shared, formatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


class Route:
    """The requests of one route. Every answer counts them: plain integers, half a microsecond."""

    __slots__ = ("by_status", "durations", "seconds")

    def __init__(self) -> None:
        self.by_status: defaultdict[int, int] = defaultdict(int)
        self.durations = [0] * (len(BOUNDS_S) + 1)
        self.seconds = 0.0

    def add(self, status: int, seconds: float = 0.0) -> None:
        """Count one more answer. The fast path gives no seconds, because measuring them costs too much there."""
        self.by_status[status] += 1
        self.durations[bisect_left(BOUNDS_S, seconds)] += 1
        self.seconds += seconds


class Metrics(Collector):
    """Everything that one service counts."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.gauges: list[Callable[[], Iterable[Reading]]] = []
        """What is read when somebody asks. Of readings with one name the last counts."""
        self._routes: dict[str, Route] = {}
        # The commit from which the package was built; in a clone there is no such file.
        file = files("ratesvc").joinpath("revision")
        revision = file.read_text("ascii") if file.is_file() else ""
        self._build = {"version": __version__, "revision": revision, "python": platform.python_version()}
        self.fetches = self._counter("fetches", "Refreshes; skipped: another replica's turn", "outcome")
        self.quarantined = self._counter("quarantined", "Documents put into quarantine", "reason")
        self.redis_errors = self._counter("redis_errors", "Calls to Redis that failed", "kind")
        self.repaired = self._counter("repaired", "Values written back to Redis; dropped: fields", "what")
        self.restarts = self._counter("task_restarts", "Background tasks that ended and were restarted", "task")
        self.mirror_ok = Gauge("ratesvc_mirror_ok", "1 if an asked mirror is well.", ("host",), registry=self.registry)
        self.redis_calls = Histogram(
            "ratesvc_redis_operation_seconds",
            "Duration of a call to Redis.",
            ("operation",),
            buckets=BOUNDS_S[1:],
            registry=self.registry,
        )
        ProcessCollector(registry=self.registry)
        self.registry.register(self)

    def _counter(self, name: str, text: str, label: str) -> Counter:
        return Counter(f"ratesvc_{name}", f"{text}.", (label,), registry=self.registry)

    def route(self, template: str) -> Route:
        """The counts of one route."""
        return self._routes.setdefault(template, Route())

    def collect(self) -> Iterator[core.Metric]:
        """Give prometheus_client the gauges, and the counts of all routes."""
        yield core.InfoMetricFamily("ratesvc_build", "Always 1.", self._build)
        readings = {name: (text, value) for read in self.gauges for name, text, value in read()}
        for name, (text, value) in readings.items():
            yield core.GaugeMetricFamily(f"ratesvc_{name}", text, value)
        requests = core.CounterMetricFamily("ratesvc_requests", "Answers.", labels=("route", "status"))
        durations = core.HistogramMetricFamily(
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


class Telemetry:
    """Keeps the last refresh and the trouble of Redis for health, and logs each event once."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        """`clock` gives UTC."""
        self.metrics = Metrics()
        self.log = structlog.get_logger("ratesvc")
        self.last_cycle: Cycle | None = None
        self.last_failed: Cycle | None = None
        self.last_attempt: datetime | None = None
        self.last_success: datetime | None = None
        self.failures = 0
        self.trouble: StoreUnavailable | None = None
        self._trouble_since = 0.0
        self._trouble_logged = ""
        """The kind of trouble that the log had last; empty while all is well."""
        self._clock = clock
        self._logged_at: dict[str, float] = {}
        self._held_back: dict[date, Admission] = {}
        self._unknown: set[str] = set()
        self._troubles: dict[str, str] = {}
        self._taken_back: set[date] = set()
        self._lateness = ""

    def _is_due(self, message: str) -> bool:
        """Whether a message that repeats itself may be logged: once a minute."""
        now = asyncio.get_running_loop().time()
        if now - self._logged_at.get(message, float("-inf")) < LOG_AGAIN_S:
            return False
        self._logged_at[message] = now
        return True

    # The Bank

    def refreshed(self, cycle: Cycle, mirrors: Sequence[Mirror] = (), *, nothing_held: bool) -> None:
        """A refresh has ended, and left the mirrors so."""
        self.last_cycle = cycle
        self.last_attempt = self._clock()
        # A replica that waits for its turn learns nothing about the Bank. If it began to count anew, replicas whose
        # polls fail would ask in turn without a pause.
        if cycle.has_failed:
            self.failures += 1
            self.last_failed = cycle
        elif cycle.outcome != "skipped":
            self.failures, self.last_success = 0, self.last_attempt
        self.metrics.fetches.labels(cycle.failure.kind if cycle.failure and cycle.has_failed else cycle.outcome).inc()
        if cycle.accepted and not cycle.stored:
            self.log.warning("kept_in_memory", sheets=len(cycle.accepted))
        failing = [(mirror.host, mirror.error) for mirror in mirrors if mirror.error and cycle.outcome != "skipped"]
        failures = dict.fromkeys([*(cycle.failure.failures if cycle.failure else ()), *failing])
        if failures and self._is_due("fetch_failed"):
            failure = FetchFailed([*failures])
            helps = failure.hint if nothing_held or failure.kind == "tls" else ""
            hint = {"hint": helps} if helps else {}
            for host, error in failures:
                self.log.warning("fetch_failed", host=host, error=str(error), **hint)
        for mirror in mirrors:
            self._asked(mirror)

    def _asked(self, mirror: Mirror) -> None:
        """Log once that a mirror lags or differs, and once that it is well again. `fetch_failed` has its errors."""
        if mirror.asked_at:
            self.metrics.mirror_ok.labels(mirror.host).set(not mirror.trouble)
        before, self._troubles[mirror.host] = self._troubles.get(mirror.host, ""), mirror.trouble
        if before and not mirror.trouble:
            self.log.info("mirror_back", host=mirror.host)
        elif before != mirror.trouble and not mirror.error:
            self.log.warning("mirror_differs", host=mirror.host, why=mirror.trouble)

    def held_back(self, cycle: Cycle) -> None:
        """Log once why each sheet is held back, and each unknown part. Count documents that are new in quarantine."""
        for day, sheet in cycle.held_back.items():
            if self._held_back.get(day) != sheet:
                self.log.warning("sheet_held_back", effective_date=str(day), to=sheet.decision, why=str(sheet))
            self._held_back[day] = sheet
        for name in sorted(cycle.unknown - self._unknown):
            self._unknown.add(name)
            self.log.warning("unknown_part", name=name)
        for kind in cycle.newly_quarantined:
            self.metrics.quarantined.labels(kind).inc()

    def taken_back(self, days: Iterable[date]) -> None:
        """The Bank no longer has the sheets of these days, which are held: each is logged once."""
        for day in set(days) - self._taken_back:
            self.log.warning("sheet_taken_back", effective_date=str(day), hint=f"ratesvc withdraw {day}")
        self._taken_back = set(days)

    def holds(self, new: Iterable[Revision]) -> None:
        """This replica holds these revisions more."""
        for revision in new:
            self._held_back.pop(revision.effective_date, None)
            facts = {"effective_date": str(revision.effective_date), "revision": revision.number}
            facts |= {"flags": ",".join(revision.flags)} if revision.flags else {}
            if revision.is_withdrawal:
                self.log.info("sheet_withdrawn", **facts)
            else:
                self.log.info("sheet", **facts)

    def figures_failed(self, feature: str, failure: FetchFailed) -> None:
        """A feature's question to the Bank has failed, and will be asked again."""
        if self._is_due(f"figures_failed {feature}"):
            self.log.warning("figures_failed", feature=feature, error=str(failure))

    def backfill_failed(self, failure: RatesvcError) -> None:
        """A backfill has failed, and will be tried again."""
        if self._is_due("backfill_failed"):
            self.log.warning("backfill_failed", error=str(failure))

    def backfilling(self, progress: Progress) -> None:
        """A backfill begins its next step: logged once a minute."""
        if self._is_due("backfill_progress"):
            self.log.info("backfill_progress", done=progress.done, total=progress.total, asking=progress.asking)

    def lateness(self, snapshot: Snapshot) -> None:
        """Log each of these once: the next sheet is late, it is overdue, today's own is missing, the sheet came."""
        lateness = "overdue" if snapshot.next_overdue else "late" if snapshot.next_late else ""
        lateness = "missing" if snapshot.stale else lateness
        facts = {"today": str(snapshot.today), "in_force": str(snapshot.in_force.effective_date)}
        if lateness == self._lateness:
            return
        self._lateness = lateness
        if not lateness:
            self.log.info("sheet_came", **facts)
        elif lateness == "missing":
            self.log.error("sheet_missing", **facts)
        elif lateness == "overdue":
            self.log.warning("sheet_overdue", due=snapshot.next_due_at.isoformat(), **facts)
        else:
            self.log.warning("sheet_late", due=snapshot.next_due_at.isoformat(), **facts)

    # Redis

    def redis_call(self, call: Call) -> None:
        """Count one call. Log once that Redis is in trouble and of what kind, and once that it is well again.

        On a busy machine single calls take too long, so timeouts are logged once they have lasted.
        """
        self.metrics.redis_calls.labels(call.operation).observe(call.seconds)
        now, at = call.trouble, asyncio.get_running_loop().time()
        if now:
            self.metrics.redis_errors.labels(now.kind).inc()
            self._trouble_since = self._trouble_since if self.trouble else at
            self.trouble = now
            has_lasted = now.kind != "timeout" or at - self._trouble_since >= LASTING_S
            if has_lasted and self._trouble_logged != now.kind:
                self._trouble_logged = now.kind
                self.log.warning("store_unavailable", kind=now.kind, error=str(now), served_from="memory")
        elif self.trouble and not call.refusing:
            # A Redis that answers may still refuse writes.
            self.trouble = None
            if self._trouble_logged:
                self._trouble_logged = ""
                self.log.info("store_back")

    def repaired(self, repaired: Repairs) -> None:
        """Log and count the values that were written to Redis again."""
        counts = repaired._asdict()
        if any(counts.values()):
            self.log.warning("repaired", **counts)
        for what, count in counts.items():
            self.metrics.repaired.labels(what).inc(count)

    # The process

    def task_died(self, name: str, error: BaseException | str) -> None:
        """Work that is repeated has ended, by an exception or as the text says. Log each text once a minute."""
        self.metrics.restarts.labels(name).inc()
        cause = error if isinstance(error, BaseException) else None
        if self._is_due(f"task_died {name} {type(error) if cause else error}"):
            self.log.error("task_died", task=name, error=repr(error) if cause else error, exc_info=cause)
