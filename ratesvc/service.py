"""The running program as a value: opens and closes everything in order, ticks, publishes, logs and counts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack
from datetime import date, datetime, timedelta
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Self

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.date import DateTrigger

from ratesvc.backfill import Backfill, Difference, Progress
from ratesvc.cbr.answers import DAILY, Limits
from ratesvc.cbr.client import REQUESTS_A_MINUTE, BankClient, Pace, Way
from ratesvc.config import Settings
from ratesvc.engine import Engine, answers
from ratesvc.errors import FetchFailed, NoSheet, RatesvcError, StoreUnavailable
from ratesvc.events import Event, EventLog, news
from ratesvc.feed import Feed
from ratesvc.history import History, snapshot
from ratesvc.publication import Board, Publication
from ratesvc.quarantine import Quarantine
from ratesvc.rates import FIRST_DAY, Revision
from ratesvc.refresh import LONGEST_RETRY_S, Cycle, Refresher, next_poll_s, with_jitter
from ratesvc.store import Store, connect
from ratesvc.workdays import MOSCOW, ONE_DAY, WorkCalendar, moscow_day, utc_now

HEARTBEAT_S = 1.0
TICK_S = 5.0
CLOCK_JUMP_S = 2.0
CANCEL_AGAIN_S = 0.5
FAILURE_LOG_S = 60.0
BACKFILL_LEASE_S = 120.0
RECONNECT_S = 1.0

Clock = Callable[[], datetime]


class Service:
    """One replica. Use it as an async context manager; it answers from `board` as soon as it has a sheet."""

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock = utc_now,
        demo: bool = False,
        ticking: bool = True,
        limits: Limits = DAILY,
    ) -> None:
        """`clock` gives UTC and is the only one; in demo mode the store is embedded and apart from live data.

        `limits` hold for one daily document. A command passes `ticking=False`: nothing happens by itself, and a running
        service's engine is shared.
        """
        self.settings = settings
        self.clock = clock
        self.demo = demo
        self.ticking = ticking
        self._limits = limits
        self.board = Board()
        self.history = History(WorkCalendar(settings.calendar.extra_off, settings.calendar.extra_work))
        self.draining = False
        self.feed = Feed(self._load)
        self.engine: Engine | None = None
        self.last_cycle: Cycle | None = None
        self.failures = 0
        self.backfilling: Progress | None = None
        self._log = structlog.get_logger("ratesvc")
        self._chance = Random()  # noqa: S311 -- jitter, not a secret
        self._stack = AsyncExitStack()
        self._tasks: set[asyncio.Task[None]] = set()
        self._refreshing = asyncio.Lock()
        self._scheduler = AsyncIOScheduler(timezone=MOSCOW)
        self._said_at = float("-inf")

    async def __aenter__(self) -> Self:
        """Open everything, downward first; returns once what is stored is being served."""
        try:
            await self._open()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close everything in the opposite order."""
        await self._stack.aclose()

    async def _open(self) -> None:
        url = await self._redis_url()
        self._store = Store(connect(url), self.settings.redis.namespace)
        self._stack.push_async_callback(self._store.close)
        pace = Pace(REQUESTS_A_MINUTE if self.settings.poll_seconds is None else None)
        cbr = self.settings.cbr
        # The demo's Bank is in this process: no proxy leads there.
        way = Way(cbr.proxy or None, cbr.ca_file or None, trust_env=not cbr.proxy and not self.demo)
        client = BankClient(cbr.mirrors, cbr.user_agent, pace=pace, daily=self._limits, way=way)
        await self._stack.enter_async_context(client)
        self._refresher = Refresher(client, self._store, self.clock)
        self._backfill = Backfill(client, self._store, self.clock, cbr.backfill_gap_seconds, self.fetch)
        await self._reread()
        if self.ticking:
            await self._start_ticking()

    async def _redis_url(self) -> str:
        """The configured address, or that of the embedded engine."""
        if self.settings.redis.url and not self.demo:
            return self.settings.redis.url
        self.engine = Engine(self.data_dir)
        if self.ticking or not await answers(self.engine.socket):
            await self.engine.open()
            self._stack.push_async_callback(self.engine.close)
        return self.engine.url

    @property
    def data_dir(self) -> Path:
        """Where the embedded engine keeps its files."""
        folder = Path(self.settings.data_dir)
        return folder / "demo" if self.demo else folder / "engine"

    @property
    def engine_name(self) -> str:
        """Which Redis is in use, without its password."""
        return self.engine.name if self.engine else "external"

    # Ticking

    async def _start_ticking(self) -> None:
        self._stack.push_async_callback(self._stop_ticking)
        self._scheduler.start()
        # What is in force changes at midnight, and a publication becomes overdue at 21:00, without new figures.
        for hour in (0, 21):
            trigger = CronTrigger(hour=hour, timezone=MOSCOW)
            self._scheduler.add_job(
                self.republish, trigger, id=f"republish-{hour}", misfire_grace_time=None, coalesce=True
            )
        await self._start_poll()
        self._tasks |= {
            asyncio.create_task(self._listen(), name="listen"),
            asyncio.create_task(self._heartbeat(), name="heartbeat"),
        }

    async def _stop_ticking(self) -> None:
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)
        tasks = tuple(self._tasks)
        # On Python 3.11 wait_for, which redis-py sends commands with, can lose a cancellation; so it is said again.
        while pending := [task for task in tasks if not task.done()]:
            for task in pending:
                task.cancel()
            await asyncio.wait(pending, timeout=CANCEL_AGAIN_S)
        await asyncio.gather(*tasks, return_exceptions=True)

    def _poll_in(self, seconds: float) -> None:
        # APScheduler follows the wall clock, whatever `clock` says: a stopped demo clock must not stop it.
        when = utc_now() + timedelta(seconds=seconds)
        self._scheduler.add_job(
            self._start_poll, DateTrigger(when, MOSCOW), id="poll", replace_existing=True, misfire_grace_time=None
        )

    # APScheduler runs plain functions in a thread, so its jobs are coroutines; a poll is a task of ours, to be ended
    # with us in order.

    async def republish(self) -> None:
        """What a day or an hour changes without new figures: what is served, and what is told."""
        self.publish()
        with contextlib.suppress(StoreUnavailable):
            await self._tell()

    async def _start_poll(self) -> None:
        task = asyncio.create_task(self.poll(), name="poll")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _heartbeat(self) -> None:
        """Compare the wall clock with the monotonic one, and memory with Redis."""
        loop = asyncio.get_running_loop()
        last_wall, last_turn, last_tick = utc_now(), loop.time(), loop.time()
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            wall, turn = utc_now(), loop.time()
            if abs((wall - last_wall).total_seconds() - (turn - last_turn)) > CLOCK_JUMP_S:
                self._log.warning("clock_jumped", seconds=round((wall - last_wall).total_seconds() - turn + last_turn))
                self.publish()
                self._poll_in(0)
            if turn - last_tick >= TICK_S:
                last_tick = turn
                await self._tick()
            last_wall, last_turn = wall, turn

    async def _tick(self) -> None:
        with contextlib.suppress(StoreUnavailable):
            if await self._store.changed():
                await self._load()
            await self._tell()

    async def _listen(self) -> None:
        while True:
            with contextlib.suppress(StoreUnavailable):
                async for _ in self._store.announcements():
                    await self._reread()
            await asyncio.sleep(RECONNECT_S)

    # The path of a number

    async def poll(self) -> None:
        """One cycle, and the appointment for the next."""
        async with self._refreshing:
            cycle = await self.refresh()
        delay = with_jitter(
            next_poll_s(self.history, self.clock(), self.settings.poll_seconds, cycle, self.failures),
            self._chance,
        )
        with contextlib.suppress(StoreUnavailable):
            await self._store.poll_lease.keep(delay)
        self._poll_in(delay)
        if self.backfilling is None:
            await self._backfill_if_needed()

    async def fetch(self, day: date | None) -> Cycle:
        """Ask for one day, or the newest sheet, whatever other replicas do; for commands."""
        cycle = await self._refresher.ask(self.history, day, at_once=True)
        self._take(cycle.accepted)
        return cycle

    @property
    def quarantine(self) -> Quarantine:
        """The documents that wait for a person's decision."""
        return self._refresher.quarantine

    async def release(self, name: str) -> Revision:
        """Publish a document in quarantine as that person's decision. Raises RatesvcError."""
        revision = await self._refresher.release(self.history, await self.quarantine.case(name))
        self._take([revision])
        return revision

    async def refresh(self) -> Cycle:
        """Ask the Bank once, log and count what happened."""
        try:
            cycle = await self._refresher.cycle(self.history)
        except Exception:  # noqa: BLE001 -- whatever it is, it is logged
            # A cycle must never be the last one: the next is due whatever this one met.
            self._log.exception("refresh_crashed")
            cycle = Cycle("crashed")
        for held_back in set(cycle.held_back) - set(self.last_cycle.held_back if self.last_cycle else ()):
            date_text = str(held_back.effective_date)
            self._log.warning("sheet_held_back", effective_date=date_text, to=held_back.decision, why=str(held_back))
        self.last_cycle = cycle
        self.failures = self.failures + 1 if cycle.outcome in ("failed", "crashed") else 0
        if not cycle.stored:
            # What was stored comes back as an announcement, here as everywhere; without Redis it is taken directly.
            self._log.warning("store_unavailable", served_from="memory")
            self._take(cycle.accepted)
        if cycle.failure:
            self._log_failure(cycle.failure)
        return cycle

    def _log_failure(self, failure: FetchFailed) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._said_at < FAILURE_LOG_S:
            return
        self._said_at = now
        hint = {} if self.history.newest else {"hint": "nothing is stored yet; --demo works without the network"}
        for host, error in failure.failures:
            self._log.warning("fetch_failed", host=host, error=str(error), **hint)

    async def backfill(self, since: date = FIRST_DAY, until: date | None = None) -> AsyncIterator[Progress]:
        """Fetch what of history is not held, one request at a time; for commands, and at the first start by itself."""
        async for progress in self._backfill.run(self.history, since, until):
            self.backfilling = progress
            yield progress
        self.backfilling = None
        await self._reread()

    def verify(self) -> AsyncIterator[Progress | Difference]:
        """Compare what is held with the Bank, changing nothing."""
        return self._backfill.verify(self.history)

    async def _backfill_if_needed(self) -> None:
        """Load history at the first start, and fill the gap after a pause. What fails is tried again after a poll."""
        await self._reread()
        if self.board.current is None or not self._lacks_history():
            return
        try:
            if await self._store.backfill_lease.take(BACKFILL_LEASE_S):
                self._log.info("backfill_started")
                async for _ in self.backfill():
                    await self._store.backfill_lease.keep(BACKFILL_LEASE_S)
                await self._store.backfill_lease.release()
                self._log.info("backfill_finished", sheets=len(self.history.days))
        except RatesvcError as error:
            self.backfilling = None
            self._log.warning("backfill_failed", error=str(error))
            self._poll_in(LONGEST_RETRY_S)

    def _lacks_history(self) -> bool:
        span = self.history.span
        today = moscow_day(self.clock())
        return span is None or self.history.first_gap(span.until, today - ONE_DAY) is not None

    async def _reread(self) -> None:
        """Take from Redis what memory lacks."""
        try:
            await self._load()
            await self._tell()
        except StoreUnavailable as error:
            self._log.warning("store_unavailable", error=str(error), served_from="memory")

    async def _load(self) -> None:
        loaded = await self._store.load()
        if loaded.span:
            self.history.fill(loaded.columns, loaded.span)
            self._log.info("history", since=str(loaded.span.since), until=str(loaded.span.until))
        self._take(loaded.revisions)

    async def _tell(self) -> None:
        """Let readers of events know what is new; a command only shows, and leaves that to the service."""
        if self.ticking:
            await self.feed.update(self._store, self._news)

    def _news(self, log: EventLog) -> list[Event]:
        try:
            seen = snapshot(self.history, self.clock())
        except NoSheet:
            return []
        if not self._is_safe(seen.in_force):
            return []
        current = self.history.calendar.effective_date_on_or_before(seen.today)
        since = min(current, log.begins)
        latest = {held.effective_date: held for held in self.history if held.effective_date >= since}
        return news(log, filter(self._is_safe, latest.values()), seen.in_force, current)

    def _is_safe(self, revision: Revision) -> bool:
        """Whether it is in Redis: only that is told, since elsewhere and after a restart nobody could be given more."""
        span = self.history.span if revision.number == 1 else None
        return self._store.holds(revision.key) or (span is not None and revision.effective_date in span)

    def _take(self, revisions: Iterable[Revision]) -> None:
        for revision in revisions:
            held = self.history.of_date(revision.effective_date)
            if held != revision:
                self.history.add(revision)
                self._log.info("sheet", effective_date=str(revision.effective_date), revision=revision.number)
        self.publish()

    def publish(self) -> None:
        """Make what is right now the thing that is served; nothing happens when it is being served already."""
        try:
            seen = snapshot(self.history, self.clock())
        except NoSheet:
            return
        key = (seen, self.history.version)
        if self.board.current is None or self.board.current.key != key:
            self.board.current = Publication(seen, key)

    def drain(self) -> None:
        """Say that this replica is about to stop: readiness fails, and streams end so that they go elsewhere."""
        self.draining = True
        self.feed.close()

    # Health

    def not_ready_because(self) -> str | None:
        """Why this replica cannot answer, from its own memory alone."""
        if self.draining:
            return "draining"
        return None if self.board.current else "no_sheet"

    async def health(self) -> dict[str, Any]:
        """What a person should know, as the checks of application/health+json."""
        return {
            "cbr:sheet": self._sheet_check(),
            "cbr:fetch": self._fetch_check(),
            "redis:connectivity": await self._redis_check(),
        }

    def _sheet_check(self) -> dict[str, Any]:
        if self.board.current is None:
            return {"status": "fail", "output": "no sheet yet"}
        seen = snapshot(self.history, self.clock())
        newest = self.history.newest
        return {
            "status": "fail" if seen.stale else "warn" if seen.next_late else "pass",
            "observedValue": str(newest.effective_date) if newest else None,
            "expectedAt": seen.next_expected_at.isoformat(),
            "publicationsMissed": seen.publications_missed,
        }

    def _fetch_check(self) -> dict[str, Any]:
        cycle = self.last_cycle
        if cycle is None:
            return {"status": "pass", "observedValue": "not yet asked"}
        failure = {"output": str(cycle.failure)} if cycle.failure else {}
        return {"status": "warn" if cycle.failure else "pass", "observedValue": cycle.outcome, **failure}

    async def _redis_check(self) -> dict[str, Any]:
        try:
            await self._store.ping()
        except RatesvcError as error:
            return {"status": "warn", "output": str(error), "observedValue": self.engine_name}
        return {"status": "pass", "observedValue": self.engine_name}
