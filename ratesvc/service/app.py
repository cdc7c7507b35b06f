"""The running program: makes its parts, opens and closes them in order, and says which of them acts when."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path
from random import Random, SystemRandom
from typing import Self

from ratesvc.bank.client import BankClient
from ratesvc.config import Settings
from ratesvc.domain.columns import Days
from ratesvc.domain.history import History
from ratesvc.domain.in_force import snapshot
from ratesvc.domain.rates import FIRST_DAY, Revision, Snapshot
from ratesvc.domain.workdays import ONE_DAY, WorkCalendar, moscow_day, utc_now
from ratesvc.errors import FetchFailed, NoSheet, NotTaken, RatesvcError, StoreUnavailable
from ratesvc.service import health
from ratesvc.service.backfill import Backfill, NotOurTurn, is_needed
from ratesvc.service.clock import ClockCheck
from ratesvc.service.cycle import Cycle, OnStep, Progress
from ratesvc.service.figures import Figures
from ratesvc.service.health import Check
from ratesvc.service.publication import Publication
from ratesvc.service.refresh import Refresher
from ratesvc.service.schedule import AGAIN_S, HEARTBEAT_S, REFUSED_AGAIN_S, SOON_S, Schedule, next_poll_s
from ratesvc.service.sync import Sync
from ratesvc.service.telemetry import Telemetry
from ratesvc.storage.embedded import Engine
from ratesvc.storage.redis import RENEW_S, RedisConnection
from ratesvc.storage.store import Store

CHANCE = SystemRandom()
LONGEST_POLL = timedelta(minutes=1)
SWITCH_S = 0.001
"""After so long a thread that renders gives way to the event loop. Python's own interval is five times as long."""


def engine_folder(settings: Settings, *, demo: bool) -> Path | None:
    """The folder of the embedded engine; None with an external Redis, which a demo never uses."""
    if demo:
        return Path(settings.data_dir) / "demo"
    return None if settings.redis.url else Path(settings.data_dir) / "engine"


class Service:
    """One replica. Use it as an async context manager; it answers from its `publication` as soon as it has a sheet."""

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Callable[[], datetime] = utc_now,
        wall: Callable[[], datetime] = utc_now,
        chance: Random = CHANCE,
        demo: bool = False,
        scheduled: bool = True,
    ) -> None:
        """`clock` gives the UTC of all answers, which may stand still, `wall` that of the schedule.

        Nothing below asks another clock, or has chance or tokens from elsewhere; only Date headers are the true time.
        A demo has an embedded store apart from live data.

        A command is not `scheduled`: nothing happens by itself, and it shares the engine of a running service.
        """
        self.settings = settings
        self.clock = clock
        self._chance = chance
        self.demo = demo
        self.scheduled = scheduled
        self.draining = False
        self.admin_url: str | None = None
        self.stack = AsyncExitStack()
        """Closes what was opened, the last first. A feature may add what it opens."""
        self._refreshing = asyncio.Lock()
        # What readers ask
        self.telemetry = Telemetry(clock)
        self.history = History(WorkCalendar(settings.calendar.extra_off, settings.calendar.extra_work))
        self.history.on_change = self._held
        self.publication: Publication | None = None
        """Every answer of the moment; a new one takes its place by one assignment."""
        self.on_publication: list[Callable[[Snapshot], None]] = []
        """What features do after each publication."""
        self.on_drain: list[Callable[[], None]] = []
        """What they do before the service stops."""
        # Redis
        folder = engine_folder(settings, demo=demo)
        self.engine = Engine(folder, self.telemetry.task_died) if folder else None
        url = self.engine.url if self.engine else settings.redis.url
        self.store = Store(RedisConnection(url, self.telemetry.redis_call), settings.redis.namespace, self.token)
        self.quarantine = self.store.quarantine
        self.figures: dict[str, Figures] = {}
        """What features hold beside the sheets, by name."""
        self._sync = Sync(self.store, self.history, self.figures)
        # The Bank
        cbr = settings.cbr
        # The demo's Bank is in this process: no proxy leads there.
        proxy = "" if demo else cbr.proxy or None
        self.client = BankClient(cbr.mirrors, cbr.user_agent, proxy=proxy, ca_file=cbr.ca_file)
        self.client.clock = clock
        self._clock_check = ClockCheck(self.client, clock)
        tell = self.telemetry.held_back
        self.refresher = Refresher(self.client, self.store, self.history, clock, tell, scheduled=scheduled)
        self._backfill = Backfill(self.refresher, cbr.backfill_gap_seconds)
        self.schedule = Schedule(self._clock_jumped, self.telemetry.task_died, wall)
        self.schedule.add("tick", self.tick)
        self.schedule.add("poll", self.poll)
        self.schedule.add("backfill", self._fill_gaps, waits=True)

    async def __aenter__(self) -> Self:
        """Open everything, downward first, and serve the stored sheets. Neither Redis nor the Bank needs to answer."""
        async with self.stack as opened:
            opened.callback(sys.setswitchinterval, sys.getswitchinterval())
            sys.setswitchinterval(SWITCH_S)
            if self.engine:
                await self.engine.open()
                opened.push_async_callback(self.engine.close)
            opened.push_async_callback(self.store.close)
            await opened.enter_async_context(self.client)
            await self._compare()
            if self.scheduled:
                opened.push_async_callback(self.schedule.stop)
                self.schedule.start()
            self.stack = opened.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stack.aclose()

    @property
    def engine_name(self) -> str:
        """The Redis in use, without its password."""
        return self.engine.name if self.engine else "external"

    def token(self) -> str:
        """32 hexadecimal digits that no other call gives."""
        return self._chance.randbytes(16).hex()

    # The jobs, each of which returns the seconds until its next run

    async def poll(self) -> float:
        """Ask for the newest sheet and for corrections. Want a backfill if days are missing."""
        async with self._refreshing:
            # First store what an earlier poll kept in memory, and read what other replicas have stored.
            await self.tick()
            cycle = await self.refresh()
        with contextlib.suppress(RatesvcError):
            await self._backfill.look.first_week.confirm()
        if not self.demo:
            await self._clock_check.check(has_polled=cycle.outcome != "skipped")
        now, failures = self.clock(), self.telemetry.failures
        if is_needed(self.history, moscow_day(now)):
            # A neighbour that polls may hold all of history, and writes it to an empty Redis within a beat.
            is_beside = cycle.outcome == "skipped" and self.history.settled is None
            self.schedule.want("backfill", SOON_S if is_beside else 0)
        # Up to a tenth later, so that the replicas of a fleet do not ask at the same moment.
        jitter = self._chance.uniform(1, 1.1)
        return jitter * next_poll_s(self.history, now, self.settings.poll_seconds, cycle, failures)

    async def tick(self) -> float:
        """Publish again if the clock has changed the answers, and keep memory and Redis in sync."""
        self.publish()
        if current := self.current_snapshot():
            self.telemetry.lateness(current)
        await self._compare()
        await self._take_over()
        return HEARTBEAT_S

    async def _take_over(self) -> None:
        """Poll at once if the replica that polled has gone."""
        cycle = self.telemetry.last_cycle
        if self.scheduled and cycle and cycle.outcome == "skipped" and not self._refreshing.locked():
            with contextlib.suppress(StoreUnavailable):
                if await self.store.poll_lease.take():
                    self.schedule.run_in("poll", 0)
                elif self.telemetry.last_attempt and self.clock() - self.telemetry.last_attempt > LONGEST_POLL:
                    # After a failed poll the other replica would have released the lease.
                    self.telemetry.failures = 0
                    for mirror in self.client.mirrors:
                        mirror.error, mirror.finding = None, ""

    def add(self, figures: Figures) -> Figures:
        """Fetch, store, publish and check a feature's figures from now on; returns those that were added first."""
        if figures.name not in self.figures:
            self.figures[figures.name] = figures
            if self.demo:
                figures.admit(figures.recorded, self.clock())
            else:
                self.schedule.add(figures.name, partial(self._ask_for, figures))
        return self.figures[figures.name]

    async def _ask_for(self, figures: Figures) -> float:
        """Ask for a feature's figures if this replica polls."""
        async with self._refreshing:
            pass  # a poll that runs comes first, and takes the lease
        while not (self.store.poll_lease.held or self.telemetry.trouble):  # noqa: ASYNC110 -- a lease has no event
            await asyncio.sleep(RENEW_S)
        figures.failure = None
        try:
            await figures.fetch(self.client, self.clock())
        except FetchFailed as failure:
            figures.failure = failure
            self.telemetry.figures_failed(figures.name, failure)
            return AGAIN_S
        await self._compare()
        return figures.pause_s(self.history.calendar, figures.newest, self.clock())

    async def _compare(self) -> None:
        try:
            self.telemetry.repaired(await self._sync.compare())
        except StoreUnavailable:
            pass  # the log has it
        except Exception as error:  # noqa: BLE001 -- a bug in it must end neither a start nor a poll
            self.telemetry.task_died("tick", error)
        self.publish()

    async def _fill_gaps(self) -> float | None:
        """Fetch the missing part of history. It runs again after a failure, or when somebody wants it."""

        async def on_step(progress: Progress) -> None:
            self.telemetry.backfilling(progress)

        try:
            if is_needed(self.history, moscow_day(self.clock())):
                await self._backfill.run(on_step)
                self.telemetry.log.info("backfill_finished", sheets=len(self.history.days))
        except NotOurTurn:
            return SOON_S
        except RatesvcError as failure:
            self.telemetry.backfill_failed(failure)
            is_refused, is_soon = isinstance(failure, NotTaken), isinstance(failure, StoreUnavailable)
            return REFUSED_AGAIN_S if is_refused else SOON_S if is_soon else AGAIN_S
        return None

    def _clock_jumped(self, seconds: float) -> None:
        self.telemetry.log.warning("clock_jumped", seconds=round(seconds))
        # While a machine sleeps, the loop's clock stands, so the last comparison may be wrong by the whole sleep.
        self.client.last_date = None

    # The path of a number

    async def refresh(self) -> Cycle:
        """Do what a poll asks of the Bank. Log and count the outcome."""
        try:
            cycle = await self.refresher.refresh()
        except Exception:
            # A bug must not end the polls: the next one is due anyway.
            self.telemetry.log.exception("refresh_crashed")
            cycle = Cycle("crashed")
        self.telemetry.taken_back(self.refresher.absences.taken_back)
        self.telemetry.refreshed(cycle, self.client.mirrors, nothing_held=not self.history.days)
        return cycle

    def _held(self, new: Iterable[Revision]) -> None:
        """Memory has changed: log and publish it."""
        self.telemetry.holds(new)
        if not self._sync.lock.locked():  # else this is published at the end of the comparison
            self.publish()
        if any(revision.is_withdrawal for revision in new):
            # The Bank says whether the day has another sheet.
            self.schedule.run_in("poll", 0)

    def publish(self) -> None:
        """Replace the current publication, unless its answers are still right."""
        current, before = self.current_snapshot(), self.publication
        key = (current, self.history.version, sum(figures.version for figures in self.figures.values()))
        if current and (before is None or before.key != key):
            self.publication = Publication(current, key, before)
            for tell in self.on_publication:
                tell(current)

    def current_snapshot(self) -> Snapshot | None:
        """What to show now; None while no sheet up to today is held."""
        try:
            return snapshot(self.history, self.clock())
        except NoSheet:
            return None

    def publish_if_due(self, now: datetime) -> Publication | None:
        """The current publication. When the clock changes the answers, a request may come before the schedule runs.

        Also if the clock is set back: what handlers then call today must not be kept with another day's answers.
        """
        current = self.publication
        if current is not None and not current.snapshot.since <= now < current.snapshot.until:
            self.publish()
        return self.publication

    def require_publication(self) -> Publication:
        """The current publication. Raises NoSheet."""
        if self.publication is None:
            raise NoSheet("No sheet of the Bank of Russia has been fetched yet; the service keeps trying.")
        return self.publication

    async def backfill(self, on_step: OnStep, since: date = FIRST_DAY, until: date | None = None) -> None:
        """Fetch the missing part of history. The newest sheet comes first, because history ends with it."""
        cycle = await self.refresher.ask_without_lease()
        if cycle.failure and self.history.newest is None:
            raise cycle.failure
        await self._backfill.run(on_step, since, until)
        for day in self.history.withdrawn_days:
            await self.refresher.ask_without_lease(day)

    @property
    def backfilling(self) -> Progress | None:
        """The current step of the backfill; None if none runs."""
        return self._backfill.progress

    # The end, and health

    def drain(self) -> None:
        """Prepare to stop: readiness fails, and streams of features end."""
        self.draining = True
        for prepare in self.on_drain:
            prepare()

    async def retire(self) -> None:
        """Drain, stop the schedule and give up the leases, while everything is still answered."""
        self.telemetry.log.info("draining")
        self.drain()
        await self.schedule.stop()
        await self.store.release_leases()

    def health(self) -> dict[str, Check]:
        """The checks of application/health+json."""
        telemetry = self.telemetry
        silent_s = asyncio.get_running_loop().time() - self.schedule.beat_at if self.scheduled else 0.0
        today, history = moscow_day(self.clock()), self.history
        missing = history.missing_days(Days(FIRST_DAY, today - ONE_DAY), today) if history.settled else []
        figures = {} if self.demo else self.figures
        return {
            "cbr:sheet": health.sheet(self.current_snapshot(), self.history.newest, self.refresher.absences.taken_back),
            "cbr:fetch": health.fetch(telemetry.last_cycle, telemetry.failures, telemetry.last_failed),
            "cbr:mirrors": health.mirrors(self.client.mirrors),
            "redis:connectivity": health.redis(self.engine_name, telemetry.trouble),
            "scheduler:lastRun": health.scheduler(silent_s, telemetry.last_attempt, self.schedule.jobs.values()),
            "history:coverage": health.history(history.settled, missing, self.backfilling),
            "quarantine:count": health.quarantine(self.quarantine.count),
            "clock:skew": health.clock(self.clock_skew_s, is_wrong=self._clock_check.is_wrong),
            "calendar:coverage": health.calendar(history.calendar.known_until, today),
            **{f"{name}:figures": one.health(history.calendar, today) for name, one in figures.items()},
        }

    @property
    def clock_skew_s(self) -> float | None:
        """Seconds that our clock is ahead of the Bank's, if it has answered; the demo's clock stands still."""
        return None if self.demo else self._clock_check.skew_s
