"""The running program as a value: opens and closes everything in order, and publishes."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from datetime import date, datetime
from functools import partial
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Self

from ratesvc.bank.admission import Reassessed
from ratesvc.bank.client import DAILY, REQUESTS_A_MINUTE, BankClient, Limits, Pace, Transport, is_hurried
from ratesvc.config import Settings
from ratesvc.domain.columns import Coverage
from ratesvc.domain.history import History, snapshot
from ratesvc.domain.rates import FIRST_DAY, Revision, Sheet, Snapshot
from ratesvc.domain.workdays import WorkCalendar, moscow_day, utc_now
from ratesvc.errors import NoSheet, StoreUnavailable
from ratesvc.service import health
from ratesvc.service.backfill import Backfill, Difference, Inquiry, Progress
from ratesvc.service.health import Check
from ratesvc.service.publication import Publication, Publisher, Workers
from ratesvc.service.refresh import Cycle, Refresher
from ratesvc.service.schedule import Jobs, Schedule, next_poll_s, with_jitter
from ratesvc.service.sync import Sync
from ratesvc.service.telemetry import Telemetry, Watchdog
from ratesvc.storage.embedded import Engine
from ratesvc.storage.quarantine import Case, Quarantine
from ratesvc.storage.redis import Call, RedisConnection
from ratesvc.storage.store import Store

HEALTH_PING_S = 0.25
SWITCH_S = 0.001
"""A thread that renders gives way to the loop after so long, where Python's own interval is five times that."""

Clock = Callable[[], datetime]


class Service:
    """One replica. Use it as an async context manager; it answers from `publisher` as soon as it has a sheet."""

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock = utc_now,
        demo: bool = False,
        scheduled: bool = True,
        limits: Limits = DAILY,
        pace: Pace | None = None,
    ) -> None:
        """`clock` gives UTC and is the only one; in demo mode the store is embedded and apart from live data.

        `limits` hold for one daily document, `pace` for how many are asked for. A command passes `scheduled=False`:
        nothing happens by itself, and a running service's engine is shared.
        """
        self.settings = settings
        self.clock = clock
        self.demo = demo
        self.scheduled = scheduled
        self._limits = limits
        self._pace = pace or Pace(None if is_hurried(settings.poll_seconds) else REQUESTS_A_MINUTE)
        self.telemetry = Telemetry(clock)
        self.publisher = Publisher()
        self.history = History(WorkCalendar(settings.calendar.extra_off, settings.calendar.extra_work))
        self.draining = False
        self.engine: Engine | None = None
        self.admin_url: str | None = None
        self.quarantined = 0
        self.watchdog = Watchdog(self.telemetry.loop_blocked)
        self.workers = Workers()
        self._log = self.telemetry.log
        self._chance = Random()  # noqa: S311 -- jitter, not a secret
        self._stack = AsyncExitStack()
        self._refreshing = asyncio.Lock()

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
        self._stack.callback(self.workers.close)
        self._stack.callback(sys.setswitchinterval, sys.getswitchinterval())
        sys.setswitchinterval(SWITCH_S)
        url = await self._redis_url()
        self._store = Store(RedisConnection(url, self._redis_called), self.settings.redis.namespace)
        self._stack.push_async_callback(self._store.close)
        self._sync = Sync(self._store, self.history, self.seen, self._take, self._reassessed, appending=self.scheduled)
        self.event_log = self._sync.event_log
        cbr = self.settings.cbr
        # The demo's Bank is in this process: no proxy leads there.
        transport = Transport(cbr.proxy or None, cbr.ca_file or None, trust_env=not cbr.proxy and not self.demo)
        self._client = BankClient(cbr.mirrors, cbr.user_agent, pace=self._pace, daily=self._limits, transport=transport)
        await self._stack.enter_async_context(self._client)
        self._refresher = Refresher(self._client, self._store, self.clock)
        self._backfill = Backfill(self._client, self._store, self.clock, cbr.backfill_gap_seconds, self)
        self._inquiry = Inquiry(self._client, cbr.backfill_gap_seconds)
        await self._surviving("load", self._sync.reread())
        duties = Jobs(
            poll=self.poll,
            republish=self.republish,
            tick=self._tick,
            listen=partial(self._sync.listen, self.telemetry.heard_elsewhere),
            backfill=self._fill,
            hurried=lambda: not self._sync.in_sync,
            clock_jumped=self._clock_jumped,
            died=self.telemetry.task_died,
        )
        self._schedule = Schedule(duties)
        if self.scheduled:
            self._stack.callback(self.watchdog.open().close)
            await self._stack.enter_async_context(self._schedule)

    async def _redis_url(self) -> str:
        """The configured address, or that of the embedded engine."""
        if self.settings.redis.url and not self.demo:
            return self.settings.redis.url
        self.engine = await Engine(self.data_dir, self.telemetry.task_died).open()
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

    # Schedule

    async def republish(self) -> None:
        """What a day or an hour changes without new figures: what is served, and what is told."""
        self.publish()
        with contextlib.suppress(StoreUnavailable):
            await self._sync.append()

    def _clock_jumped(self, seconds: float) -> None:
        self._log.warning("clock_jumped", seconds=round(seconds))
        self.publish()

    async def _tick(self) -> None:
        """Keep memory and Redis in sync."""
        await self._surviving("tick", self._compare())

    async def _compare(self) -> None:
        with contextlib.suppress(StoreUnavailable):
            self.telemetry.repaired(await self._sync.round(moscow_day(self.clock())))
            self.quarantined = await self.quarantine.count(self._sync.quarantined)

    async def _surviving(self, name: str, work: Awaitable[None]) -> bool:
        """Whether it ended well; a bug in work that is repeated anyway is logged and does not stop the rest."""
        try:
            await work
        except Exception as error:  # noqa: BLE001 -- whatever it is, it is logged with its traceback
            self.telemetry.failed_by_mistake(name, error)
            return False
        return True

    def _redis_called(self, call: Call) -> None:
        if call.trouble:
            self._sync.in_sync = False
        self.telemetry.redis_call(call)

    # The path of a number

    async def poll(self) -> None:
        """One cycle, and the appointment for the next."""
        async with self._refreshing:
            # What Redis lost is repaired first, so that a correction gets the number after those that are held.
            await self._tick()
            cycle = await self.refresh()
            # Our own announcement may not have been heard yet; when to ask again depends on it.
            if cycle.accepted and not await self._surviving("reread", self._sync.reread()):
                self._take(cycle.accepted)
        delay = with_jitter(
            next_poll_s(self.history, self.clock(), self.settings.poll_seconds, cycle, self.telemetry.failures),
            self._chance,
        )
        await self._surviving("lease", self._keep_turn(cycle, delay))
        self._schedule.poll_in(delay)
        self._schedule.backfill_in(0)

    async def _keep_turn(self, cycle: Cycle, seconds: float) -> None:
        """Until the next poll; who asked in vain leaves it to other replicas, whose way to the Bank may be better."""
        with contextlib.suppress(StoreUnavailable):
            if cycle.asked_in_vain:
                await self._store.poll_lease.release()
            else:
                await self._store.poll_lease.keep(seconds)
            if cycle.has_heard:
                await self._store.announce_answer()

    async def fetch(self, day: date | None) -> Cycle:
        """Ask for one day, or the newest sheet, whatever other replicas do; for commands."""
        return await self.fetch_day(day, at_once=True)

    async def fetch_day(self, day: date | None, *, at_once: bool) -> Cycle:
        """Ask for one day, or the newest sheet; not `at_once`, what is unconfirmed waits for another poll."""
        cycle = await self._refresher.ask(self.history, day, at_once=at_once)
        self.telemetry.held_back(cycle)
        self._take(cycle.accepted)
        return cycle

    async def confirm(
        self, history: History, day: date, from_columns: Sheet | None, *, at_once: bool
    ) -> Revision | None:
        """The daily document of a day whose composed sheet has findings; None where it is held back."""
        cycle = await self._refresher.confirm(history, day, from_columns, at_once=at_once)
        self.telemetry.held_back(cycle)
        return next(iter(cycle.accepted), None)

    async def _reassessed(self, found: Reassessed) -> None:
        """Say what became of what an older version stored; what is refused waits for a person too."""
        self.telemetry.reassessed(found)
        if found.coverage:
            self._backfill.ids_are_due = True
        for revision, assessment in found.refused:
            if revision.document:
                reasons = tuple(f"{finding.kind}: {finding.text}" for finding in assessment.findings)
                await self.quarantine.add(Case(revision.effective_date, self.clock(), reasons, revision.raw))

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
        self.telemetry.refreshed(cycle, nothing_held=self.history.newest is None)
        if not cycle.stored:
            # What was stored comes back as an announcement, here as everywhere; without Redis it is taken directly.
            self._take(cycle.accepted)
        return cycle

    async def backfill(self, since: date = FIRST_DAY, until: date | None = None) -> AsyncIterator[Progress]:
        """Fetch what of history is not held, one request at a time; for commands.

        The newest sheet comes first, since nothing is asked for beyond it.
        """
        cycle = await self.fetch(None)
        if cycle.failure and self.history.newest is None:
            raise cycle.failure
        async for progress in self._backfill.run(self.history, since, until, at_once=True):
            yield progress
        await self._sync.reread()

    @property
    def backfilling(self) -> Progress | None:
        """What of history is being fetched just now."""
        return self._backfill.progress

    def look_up(self, codes: Iterable[str], since: date, until: date) -> AsyncIterator[Progress | History]:
        """Ask for a few currencies at once, for commands, into a history apart; it comes last."""
        return self._inquiry.look_up(self.history, codes, since, until)

    def verify(self) -> AsyncIterator[Progress | Difference]:
        """Compare what is held with the Bank, changing nothing."""
        return self._inquiry.verify(self.history)

    async def _fill(self) -> None:
        """Fetch what of history is lacking; what fails has an appointment of its own."""
        await self._sync.reread()
        done = await self._backfill.if_needed(self.history, lambda: self._log.info("backfill_started"))
        await self._sync.reread()
        if done.failure:
            self._log.warning("backfill_failed", error=str(done.failure))
        elif done.has_begun:
            complete = not self._backfill.lacks(self.history)
            self.telemetry.backfilled(self.history.coverage, len(self.history.days), complete=complete)
        if done.again_s is not None:
            self._schedule.backfill_in(done.again_s)

    def _take(self, revisions: Iterable[Revision], filled: Coverage | None = None) -> None:
        """Hold what is new and publish; `filled` says that history came with it."""
        if filled:
            self.telemetry.history(filled)
        for revision in revisions:
            if self.history.of_date(revision.effective_date) != revision:
                self.history.merge(revision)
                self.telemetry.sheet(revision)
        self.publish()

    def publish(self) -> None:
        """Make what is right now the thing that is served; nothing happens when it is being served already."""
        seen = self.seen()
        key = (seen, self.history.version)
        if seen and (self.publisher.current is None or self.publisher.current.key != key):
            self.publisher.put(Publication(seen, key))

    def seen(self) -> Snapshot | None:
        """What is known now; nothing while no sheet up to today is held."""
        try:
            return snapshot(self.history, self.clock())
        except NoSheet:
            return None

    def served(self, now: datetime) -> Publication | None:
        """What is being served; after a sleep over midnight a request may come before what wakes us."""
        current = self.publisher.current
        if current is not None and current.until <= now:
            self.publish()
            return self.publisher.current
        return current

    def drain(self) -> None:
        """Say that this replica is about to stop: readiness fails, and streams end so that they go elsewhere."""
        self.draining = True
        self.event_log.close()

    async def retire(self) -> None:
        """Drain, do nothing by itself any more, and give up the leases, while everything is still answered."""
        self._log.info("draining")
        self.drain()
        await self._schedule.stop()
        await self._store.release_leases()

    # Health

    def not_ready_because(self) -> str | None:
        """Why this replica cannot answer, from its own memory alone."""
        if self.draining:
            return "draining"
        return None if self.publisher.current else "no_sheet"

    async def health(self) -> dict[str, Check]:
        """What a person should know, as the checks of application/health+json."""
        seen = self.seen()
        today, telemetry = moscow_day(self.clock()), self.telemetry
        return {
            "cbr:sheet": health.sheet(seen, self.history.newest),
            "cbr:fetch": health.fetch(telemetry.last_cycle, telemetry.failures),
            "redis:connectivity": health.redis(self.engine_name, await self._redis_now()),
            "scheduler:lastRun": health.scheduler(
                self._schedule.silent_s if self.scheduled else 0.0, self.telemetry.last_attempt
            ),
            "quarantine:count": health.quarantine(self.quarantined),
            "clock:skew": health.clock(self.clock_skew_s),
            "calendar:coverage": health.calendar(self.history.calendar.known_until, today),
        }

    @property
    def next_poll_at(self) -> datetime:
        """When the Bank is to be asked next, by the wall clock."""
        return self._schedule.next_poll_at

    @property
    def clock_skew_s(self) -> float | None:
        """Seconds that our clock is ahead of the Bank's, if it has answered; a stopped clock tells nothing."""
        if self._client.said is None or self.demo:
            return None
        text, at = self._client.said
        return health.skew_s(text, self.clock(), asyncio.get_running_loop().time() - at)

    async def _redis_now(self) -> str | None:
        try:
            async with asyncio.timeout(HEALTH_PING_S):
                await self._store.ping()
        except StoreUnavailable as error:
            return str(error)
        except TimeoutError:
            return f"Redis: no answer within {HEALTH_PING_S} s"
        return str(self.telemetry.trouble) if self.telemetry.trouble else None

    @property
    def store(self) -> Store:
        """Where sheets are kept."""
        return self._store
