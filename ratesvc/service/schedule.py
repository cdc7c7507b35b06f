"""What happens by itself: polls, the hours at which something changes, the heartbeat, and following clock jumps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from random import Random
from types import TracebackType
from typing import Any, Self

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.schedulers.base import STATE_RUNNING
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.date import DateTrigger

from ratesvc.domain.history import History
from ratesvc.domain.workdays import MOSCOW, utc_now
from ratesvc.service.refresh import Cycle
from ratesvc.storage.redis import cancel

WINDOW_PACE_S = 180.0
USUAL_PACE_S = 3600.0
FIRST_RETRY_S = 10.0
LONGEST_RETRY_S = 600.0
LONGEST_FIRST_SHEET_RETRY_S = 60.0


def next_poll_s(history: History, now: datetime, fixed_s: float | None, cycle: Cycle, tries: int) -> float:
    """Seconds until the Bank is to be asked again, without jitter.

    `fixed_s`, when configured, decides once a sheet is held, unless a mirror asks for a longer pause; `tries` counts
    failures in a row, the last of which is `cycle`.
    """
    newest = history.newest
    if newest is None and cycle.outcome == "skipped":
        # Whoever has the turn has found nothing yet, and may not be able to.
        return min(FIRST_RETRY_S, fixed_s or FIRST_RETRY_S)
    pace = _pace_s(history, now, cycle) if fixed_s is None else fixed_s
    if newest is None:
        pace = min(pace, LONGEST_FIRST_SHEET_RETRY_S)
    if (cycle.failure or cycle.asked_in_vain) and (fixed_s is None or newest is None):
        pace = min(pace, FIRST_RETRY_S * 2.0 ** min(max(tries, 1) - 1, 10), LONGEST_RETRY_S)
    return max(pace, cycle.failure.retry_after_s if cycle.failure else 0.0)


def _pace_s(history: History, now: datetime, cycle: Cycle) -> float:
    """What the Moscow working day wants; sooner where a sheet is held back."""
    calendar, newest = history.calendar, history.newest.effective_date if history.newest else None
    if calendar.awaits_publication(newest, now):
        pace = WINDOW_PACE_S
    elif newest is not None and calendar.missed_since(newest, now):
        pace = LONGEST_RETRY_S
    else:
        pace = min(USUAL_PACE_S, max(FIRST_RETRY_S, (calendar.next_window(now) - now) / timedelta(seconds=1)))
    return min(pace, WINDOW_PACE_S) if cycle.held_back else pace


def with_jitter(seconds: float, chance: Random) -> float:
    """Up to a tenth later, so that a fleet does not ask in step."""
    return seconds * (1 + chance.random() / 10)


HEARTBEAT_S = 1.0
TICK_S = 3.0
CLOCK_JUMP_S = 2.0
LATE = timedelta(seconds=5)
RESTART_S = 1.0
BACKFILL_AGAIN_S = 600.0
MISSED_BEATS = 2

Duty = Callable[[], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class Jobs:
    """What is to be done.

    `poll` makes its own next appointment by `poll_in`; `republish` is for the hours at which what is right changes
    without new figures; `tick` compares memory with Redis, at every beat while `hurried` says so; `listen` runs for
    ever; `backfill` is done when `backfill_in` says; `clock_jumped` is told by how many seconds, `died` the name of a
    task that ended and will be started again, and why.
    """

    poll: Duty
    republish: Duty
    tick: Duty
    listen: Duty
    backfill: Duty
    hurried: Callable[[], bool]
    clock_jumped: Callable[[float], None]
    died: Callable[[str, BaseException | str], None]


class Schedule:
    """Use it as an async context manager: it ticks while it is open. What ends by itself is started again."""

    def __init__(self, duties: Jobs) -> None:
        self._duties = duties
        self._tasks: set[asyncio.Task[None]] = set()
        self._scheduler = AsyncIOScheduler(timezone=MOSCOW)
        self._open = False
        self._beat_at = 0.0
        self.next_poll_at = utc_now()
        """The appointment for the next poll, by the wall clock. It has passed while a poll runs, or if nobody polls."""

    async def __aenter__(self) -> Self:
        """Poll at once, then as `poll_in` says."""
        self._open = True
        self._beat_at = asyncio.get_running_loop().time()
        self.next_poll_at = utc_now()
        self._start_scheduler()
        await self._start_poll()
        self._keep("listen", self._duties.listen)
        self._keep("heartbeat", self._heartbeat)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End everything that runs."""
        await self.stop()

    async def stop(self) -> None:
        """Nothing happens by itself any more. A second time does nothing."""
        self._open = False
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)
        await cancel(tuple(self._tasks))

    def _start_scheduler(self) -> None:
        """Begin with a new one: what became of an old one is not known."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)
        self._scheduler = AsyncIOScheduler(timezone=MOSCOW)
        self._scheduler.start()
        # What is in force changes at midnight, and a publication becomes overdue at 21:00, without new figures.
        for hour in (0, 21):
            trigger = CronTrigger(hour=hour, timezone=MOSCOW)
            self._scheduler.add_job(
                self._duties.republish, trigger, id=f"republish-{hour}", misfire_grace_time=None, coalesce=True
            )

    @property
    def silent_s(self) -> float:
        """Seconds since the heartbeat last beat."""
        return asyncio.get_running_loop().time() - self._beat_at

    def poll_in(self, seconds: float) -> None:
        """Make the appointment for the next poll, in place of any other."""
        if not self._open:
            return
        # APScheduler follows the wall clock, whatever the service's says: a stopped demo clock must not stop it.
        self.next_poll_at = utc_now() + timedelta(seconds=seconds)
        trigger = DateTrigger(self.next_poll_at, MOSCOW)
        self._scheduler.add_job(self._start_poll, trigger, id="poll", replace_existing=True, misfire_grace_time=None)

    def backfill_in(self, seconds: float) -> None:
        """Make the appointment for a backfill, unless there is one: the polls do not hurry what has failed."""
        if self._open and self._scheduler.get_job("backfill") is None:
            when = utc_now() + timedelta(seconds=seconds)
            self._scheduler.add_job(
                self._start_backfill, DateTrigger(when, MOSCOW), id="backfill", misfire_grace_time=None
            )

    # APScheduler runs plain functions in a thread, so its jobs are coroutines; a poll is a task of ours, to be ended
    # with us in order.

    async def _start_poll(self) -> None:
        if self._open:
            self._start("poll", self._duties.poll).add_done_callback(self._polled)

    def _polled(self, task: asyncio.Task[None]) -> None:
        """A poll makes the next appointment itself; one that broke off has not."""
        if self._open and (task.cancelled() or task.exception()):
            self._duties.died("poll", _end_of(task))
            self.poll_in(RESTART_S)

    async def _start_backfill(self) -> None:
        if self._open:
            self._start("backfill", self._duties.backfill).add_done_callback(self._filled)

    def _filled(self, task: asyncio.Task[None]) -> None:
        """A backfill makes its own next appointment, unless an exception ended it."""
        if self._open and not task.cancelled() and (error := task.exception()):
            self._duties.died("backfill", error)
            self.backfill_in(BACKFILL_AGAIN_S)

    def _start(self, name: str, work: Duty) -> asyncio.Task[None]:
        task = asyncio.create_task(work(), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _keep(self, name: str, work: Duty) -> None:
        """Have it running until we stop, whatever ends it."""
        if self._open:
            self._start(name, work).add_done_callback(partial(self._ended, name, work))

    def _ended(self, name: str, work: Duty, task: asyncio.Task[None]) -> None:
        if self._open:
            self._duties.died(name, _end_of(task))
            task.get_loop().call_later(RESTART_S, self._keep, name, work)

    def _is_polling(self) -> bool:
        """Whether a poll is running or has its appointment, with somebody who keeps it."""
        if any(task.get_name() == "poll" for task in self._tasks):
            return True
        job = self._scheduler.get_job("poll") if self._scheduler.state == STATE_RUNNING else None
        return job is not None and job.next_run_time is not None and job.next_run_time > utc_now() - LATE

    async def _heartbeat(self) -> None:
        """Compare the wall clock with the monotonic one, and memory with Redis."""
        loop = asyncio.get_running_loop()
        last_wall, last_turn, last_tick = utc_now(), loop.time(), loop.time()
        missing = 0
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            wall, turn = utc_now(), loop.time()
            self._beat_at = turn
            jump = (wall - last_wall).total_seconds() - (turn - last_turn)
            if abs(jump) > CLOCK_JUMP_S:
                self._duties.clock_jumped(jump)
                self.poll_in(0)
            # Between a kept appointment and its poll there is a moment with neither.
            missing = 0 if self._is_polling() else missing + 1
            if missing >= MISSED_BEATS:
                missing = 0
                self._duties.died("poll", "had no appointment any more")
                self._start_scheduler()
                self.poll_in(0)
            if turn - last_tick >= TICK_S or self._duties.hurried():
                last_tick = turn
                await self._duties.tick()
            last_wall, last_turn = wall, turn


def _end_of(task: asyncio.Task[None]) -> BaseException | str:
    return "was cancelled" if task.cancelled() else task.exception() or "returned"
