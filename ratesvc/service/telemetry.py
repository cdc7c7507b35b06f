"""Logs. The other modules of the service report what happens; this one logs it once, and has it counted."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from datetime import date, datetime
from typing import Any, Self

import structlog

from ratesvc.bank.admission import HeldBack
from ratesvc.domain.columns import Coverage
from ratesvc.domain.rates import Revision, Snapshot
from ratesvc.errors import RatesvcError, StoreUnavailable
from ratesvc.service.backfill import Progress
from ratesvc.service.metrics import Metrics
from ratesvc.service.refresh import Cycle
from ratesvc.service.sync import Repaired
from ratesvc.storage.redis import Call

LOG_AGAIN_S = 60.0
ASK_S = 0.5
BLOCKED_S = 10.0


def set_up_log(form: str, *, quiet: bool) -> None:
    """Log to standard error: our own events and those of libraries, one line each."""
    shared: list[Any] = [structlog.stdlib.add_log_level, structlog.processors.TimeStamper(fmt="iso", utc=True)]
    renderer = (
        [structlog.processors.dict_tracebacks, structlog.processors.JSONRenderer()]
        if form == "json"
        else [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty() and not os.environ.get("NO_COLOR"))]
    )
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


class Telemetry:
    """Keeps the last refresh and the trouble of Redis for health, and logs each event once."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        """`clock` gives UTC."""
        self.metrics = Metrics()
        self.log = structlog.get_logger("ratesvc")
        self.last_cycle: Cycle | None = None
        self.last_attempt: datetime | None = None
        self.last_success: datetime | None = None
        self.failures = 0
        self.trouble: StoreUnavailable | None = None
        self.waiting: set[str] = set()
        """The tasks, poll and backfill, that another replica does."""
        self._clock = clock
        self._logged_at: dict[str, float] = {}
        self._held_back: dict[date, HeldBack] = {}
        self._unknown: set[str] = set()
        self._complete: tuple[str, str] | None = None
        self._lateness = 0

    def _is_due(self, message: str) -> bool:
        """Whether a message that repeats itself may be logged: once a minute."""
        now = asyncio.get_running_loop().time()
        if now - self._logged_at.get(message, float("-inf")) < LOG_AGAIN_S:
            return False
        self._logged_at[message] = now
        return True

    # The Bank

    def refreshed(self, cycle: Cycle, *, nothing_held: bool) -> None:
        """A refresh has ended."""
        self.waits("poll", waiting=cycle.outcome == "skipped")
        self.last_cycle = cycle
        self.last_attempt = self._clock()
        if cycle.has_failed:
            self.failures += 1
        elif cycle.bank_answered:
            self.failures = 0
            self.last_success = self.last_attempt
        self.metrics.fetches.labels(cycle.failure.kind if cycle.failure and cycle.has_failed else cycle.outcome).inc()
        if cycle.accepted and not cycle.stored:
            self.log.warning("kept_in_memory", sheets=len(cycle.accepted))
        if cycle.failure and self._is_due("fetch_failed"):
            hint = {"hint": "nothing is stored yet; --demo works without the network"} if nothing_held else {}
            for host, error in cycle.failure.failures:
                self.log.warning("fetch_failed", host=host, error=str(error), **hint)

    def waits(self, task: str, *, waiting: bool) -> None:
        """Note whether another replica does this task, poll or backfill; log once that it does."""
        if waiting and task not in self.waiting:
            self.log.info("waits_for_turn", task=task)
        self.waiting = self.waiting - {task} | ({task} if waiting else set())

    def bank_answered_another(self) -> None:
        """The Bank has answered another replica: an earlier failure of this one is over."""
        if self.failures:
            self.failures = 0
            self.last_cycle = Cycle("skipped")

    def held_back(self, cycle: Cycle) -> None:
        """Log once why each sheet is held back, and each unknown part. Count documents that are new in quarantine."""
        for accepted in cycle.accepted:
            self._held_back.pop(accepted.effective_date, None)
        for sheet in cycle.held_back:
            day = sheet.effective_date
            if self._held_back.get(day) != sheet:
                self.log.warning("sheet_held_back", effective_date=str(day), to=sheet.decision, why=str(sheet))
            self._held_back[day] = sheet
        for name in set(cycle.unknown) - self._unknown:
            self._unknown.add(name)
            self.log.warning("unknown_part", name=name)
        for kind in cycle.newly_quarantined:
            self.metrics.quarantined.labels(kind).inc()

    def history(self, coverage: Coverage | None) -> None:
        """Log once that these days of history are complete."""
        complete = coverage and (str(coverage.since), str(coverage.until))
        if complete and complete != self._complete:
            self._complete = complete
            self.log.info("history", since=complete[0], until=complete[1])

    def backfill_failed(self, failure: RatesvcError) -> None:
        """A backfill has failed, and will be tried again."""
        if self._is_due("backfill_failed"):
            self.log.warning("backfill_failed", error=str(failure))

    def backfilling(self, progress: Progress, *, begins: bool) -> None:
        """A backfill begins its next step: logged when a run begins, then once a minute."""
        if begins:
            self.log.info("backfill_started")
            self._is_due("backfill_progress")
        elif self._is_due("backfill_progress"):
            self.log.info("backfill_progress", done=progress.done, total=progress.total, asking=progress.asking)

    def backfilled(self, coverage: Coverage | None, sheets: int, missing: int) -> None:
        """A backfill has ended; so many sheets up to yesterday are still missing."""
        if coverage and missing:
            self.log.warning("backfill_incomplete", sheets=sheets, until=str(coverage.until), missing=missing)
        elif coverage:
            self.log.info("backfill_finished", sheets=sheets)

    def sheet(self, revision: Revision) -> None:
        """This replica holds one more revision."""
        flags = {"flags": ",".join(revision.flags)} if revision.flags else {}
        self.log.info("sheet", effective_date=str(revision.effective_date), revision=revision.number, **flags)

    def lateness(self, snapshot: Snapshot) -> None:
        """Log each of these once: the next sheet is late, it is overdue, today's own is missing, the sheet came."""
        before, self._lateness = self._lateness, snapshot.next_late + snapshot.next_overdue + snapshot.stale
        facts = {"today": str(snapshot.today), "in_force": str(snapshot.in_force.effective_date)}
        if self._lateness == before:
            return
        if self._lateness == 0:
            self.log.info("sheet_came", **facts)
        elif snapshot.stale:
            self.log.error("sheet_missing", **facts)
        elif snapshot.next_overdue:
            self.log.warning("sheet_overdue", due=snapshot.next_due_at.isoformat(), **facts)
        else:
            self.log.warning("sheet_late", due=snapshot.next_due_at.isoformat(), **facts)

    # Redis

    def redis_call(self, call: Call) -> None:
        """Count one call. Log once that Redis is in trouble and of what kind, and once that it is well again."""
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
        """Log and count the values that were written to Redis again."""
        for key in repaired.misplaced:
            self.log.warning("misplaced_dropped", key=key)
        counts = {"sheets": repaired.sheets, "columns": repaired.columns, "dropped": repaired.dropped}
        if any(counts.values()):
            self.log.warning("repaired", **counts)
        for what, count in counts.items():
            self.metrics.repaired.labels(what).inc(count)

    # The process

    def task_died(self, name: str, error: BaseException | str) -> None:
        """A background task has ended, by an exception or as the text says, and is started again."""
        self.metrics.restarts.labels(name).inc()
        if isinstance(error, str):
            self.log.error("task_died", task=name, error=error)
        else:
            self.log.error("task_died", task=name, error=repr(error), exc_info=error)

    def failed_by_mistake(self, name: str, error: Exception) -> None:
        """A bug of ours ended work that is repeated anyway; its traceback is logged once a minute at most."""
        if self._is_due(name):
            self.task_died(name, error)
        else:
            self.metrics.restarts.labels(name).inc()

    def loop_blocked(self, seconds: float, at: str) -> None:
        """The event loop is blocked for so long, at that line."""
        self.log.error("loop_blocked", seconds=seconds, at=at)


class Watchdog:
    """A thread that asks the event loop twice a second whether it is blocked, and where.

    `lag_s` keeps the time of the last iteration until the next is measured: the first request after a block sees it.
    """

    def __init__(self, blocked: Callable[[float, str], None]) -> None:
        """`blocked` is called in the thread, once for each block of `BLOCKED_S`, with the line that blocks."""
        self._blocked = blocked
        self._stop = threading.Event()
        self._asked_at = time.monotonic()
        self._lag_s = 0.0
        self._answered = threading.Event()
        self._answered.set()

    def open(self) -> Self:
        """Begin to watch the running loop."""
        watched = asyncio.get_running_loop(), threading.get_ident()
        threading.Thread(target=self._watch, args=watched, name="ratesvc-watchdog", daemon=True).start()
        return self

    def close(self) -> None:
        """Stop watching."""
        self._stop.set()
        self._answered.set()

    @property
    def lag_s(self) -> float:
        """Seconds that the loop took for its last iteration, or has been taking for this one."""
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
