"""What happens to the service, said once in the log and counted. Lower floors report; only this room speaks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import date, datetime

import structlog

from ratesvc.bank.admission import Reassessed
from ratesvc.domain.columns import Coverage
from ratesvc.domain.rates import Revision
from ratesvc.errors import FetchFailed, StoreUnavailable
from ratesvc.service.metrics import Metrics
from ratesvc.service.refresh import Cycle, HeldBack
from ratesvc.service.repair import Given
from ratesvc.storage.redis import Asked

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
        for revision, verdict in found.refused:
            why = "; ".join(f"{remark.kind}: {remark.text}" for remark in verdict.remarks)
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

    def asked(self, asked: Asked) -> None:
        """Count one command; say once that Redis is in trouble and of what kind, and once that it is well again."""
        self.metrics.asked(asked)
        now, before = asked.trouble, self.trouble
        if now and now.kind != "open":
            self.trouble = now
            if before is None or before.kind != now.kind:
                self.log.warning("store_unavailable", kind=now.kind, error=str(now), served_from="memory")
        elif not now and before and not asked.refusing:
            # A Redis that answers does not take writes again for that.
            self.trouble = None
            self.log.info("store_back")

    def given(self, given: Given) -> None:
        """Memory gave back what Redis had lost."""
        for key in given.misplaced:
            self.log.warning("misplaced_dropped", key=key)
        if given.sheets or given.columns or given.dropped:
            self.log.warning("reseeded", sheets=given.sheets, columns=given.columns, dropped=given.dropped)
        for what, count in (("sheets", given.sheets), ("columns", given.columns), ("dropped", given.dropped)):
            self.metrics.reseeded.labels(what).inc(count)

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
