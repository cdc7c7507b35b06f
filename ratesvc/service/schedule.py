"""The schedule: when polls, backfills and the heartbeat run. It follows jumps of the clock, and restarts dead tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import partial
from random import Random
from typing import Any

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.date import DateTrigger

from ratesvc.bank.admission import Decision
from ratesvc.domain.history import History
from ratesvc.domain.workdays import LONG_AGO, MOSCOW, WorkCalendar
from ratesvc.service.refresh import Cycle
from ratesvc.storage.redis import cancel

WINDOW_PACE_S = 180.0
USUAL_PACE_S = 3600.0
FIRST_RETRY_S = 10.0
LONGEST_RETRY_S = 600.0
LONGEST_FIRST_SHEET_RETRY_S = 60.0

HEARTBEAT_S = 1.5
"""Another replica serves a new sheet so long after it was stored, at most."""
CLOCK_JUMP_S = 2.0
LATE = timedelta(seconds=2)
"""The scheduler has lost a poll that has not begun so long after its time."""
RESTART_S = 1.0
BACKFILL_AGAIN_S = 600.0
SOON_S = 5.0

Job = Callable[[], Coroutine[Any, Any, None]]


def next_poll_s(history: History, now: datetime, fixed_s: float | None, cycle: Cycle, failures: int) -> float:
    """Seconds until the next poll, without jitter: few while a sheet is awaited or a request has failed, or an hour.

    `fixed_s`, when configured, decides once a sheet is held, unless a mirror asks for a longer pause by Retry-After.
    `failures` counts those in a row, with `cycle` as the last.
    """
    newest = history.awaited_after if history.days else None
    pace = _pace_s(history.calendar, newest, now, cycle) if fixed_s is None else fixed_s
    if newest is None:
        pace = min(pace, LONGEST_FIRST_SHEET_RETRY_S)
    # A failure beside an unchanged sheet is that of another day, for which the usual pace is enough.
    is_retried = cycle.has_failed or (cycle.failure and cycle.outcome == "new")
    if is_retried and (fixed_s is None or newest is None):
        pace = min(pace, FIRST_RETRY_S * 2.0 ** min(max(failures, 1) - 1, 10), LONGEST_RETRY_S)
    return max(pace, min(cycle.failure.retry_after_s, LONGEST_RETRY_S) if cycle.failure else 0.0)


def _pace_s(calendar: WorkCalendar, newest: date | None, now: datetime, cycle: Cycle) -> float:
    """The pace of the Moscow working day; faster if a sheet waits for its second document."""
    if calendar.awaits_publication(newest, now):
        pace = WINDOW_PACE_S
    elif newest is not None and calendar.missed_since(newest, now):
        pace = LONGEST_RETRY_S
    else:
        pace = min(USUAL_PACE_S, max(FIRST_RETRY_S, (calendar.next_window(now) - now) / timedelta(seconds=1)))
    # A sheet in quarantine waits for a person, whose release needs no poll.
    is_unconfirmed = any(sheet.decision is Decision.CONFIRM for sheet in cycle.held_back.values())
    return min(pace, WINDOW_PACE_S) if is_unconfirmed else pace


@dataclass(slots=True, eq=False)
class Schedule:
    """Runs these jobs from `start` to `stop`.

    `poll` and `backfill` plan their next runs themselves. `tick` follows the clock and compares memory with Redis, at
    every beat. `clock_jumped` gets the seconds; `died` gets the name of a task that will be started again, and its
    error. `wall` gives UTC, and never stands still.
    """

    poll: Job
    tick: Job
    backfill: Job
    clock_jumped: Callable[[float], None]
    died: Callable[[str, BaseException | str], None]
    wall: Callable[[], datetime]
    chance: Random
    next_poll_at: datetime = field(init=False, default=LONG_AGO)
    """When the next poll is due, by the wall clock. This time has passed while a poll runs, and if a poll was lost."""
    lag_s: float = field(init=False, default=0.0)
    """How late the last heartbeat was: so long something kept the event loop busy."""
    _tasks: dict[str, asyncio.Task[None]] = field(init=False, default_factory=dict)
    """What runs, by its name."""
    _wishes_backfill: bool = field(init=False, default=False)
    """Whether a backfill was due while one ran. It may have found no sheet that has come since."""
    _scheduler: AsyncIOScheduler = field(init=False, default_factory=lambda: AsyncIOScheduler(timezone=MOSCOW))
    _open: bool = field(init=False, default=False)
    _beat_at: float = field(init=False, default=0.0)

    def start(self) -> None:
        """Poll at once, then as `poll_in` says."""
        self._open = True
        self._beat_at = asyncio.get_running_loop().time()
        self.next_poll_at = self.wall()
        self._scheduler.start()
        # Not by APScheduler: if the start fails at once, it would complain that its job was cancelled.
        self._start("poll", self.poll)
        self._start("heartbeat", self._heartbeat)

    async def stop(self) -> None:
        """Cancel what runs, and start nothing more. A second call does nothing."""
        self._open = False
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)
        await cancel(tuple(self._tasks.values()))

    @property
    def silent_s(self) -> float:
        """Seconds since the last heartbeat."""
        return asyncio.get_running_loop().time() - self._beat_at

    def poll_in(self, seconds: float) -> None:
        """Plan the next poll in place of the one that is planned.

        It comes up to a tenth later, so that the replicas of a fleet do not ask at the same moment.
        """
        if self._open:
            seconds *= self.chance.uniform(1, 1.1)
            self.next_poll_at = self.wall() + timedelta(seconds=seconds)
            self._run_at(self.next_poll_at, "poll", self.poll)

    def backfill_in(self, seconds: float) -> None:
        """Plan a backfill, unless one is planned: polls do not hurry a backfill that has failed."""
        if self._open and self._scheduler.get_job("backfill") is None:
            self._run_at(self.wall() + timedelta(seconds=seconds), "backfill", self.backfill)

    def add(self, name: str, job: Callable[[], Coroutine[Any, Any, float]]) -> None:
        """Run a job now, and then whenever it says: it returns the seconds until its next run."""

        async def run() -> None:
            seconds = BACKFILL_AGAIN_S
            try:
                seconds = await job()
            finally:
                if self._open:
                    self._run_at(self.wall() + timedelta(seconds=seconds), name, run)

        if self._open:
            self._start(name, run)

    def _run_at(self, when: datetime, name: str, job: Job) -> None:
        async def begin() -> None:
            # APScheduler runs plain functions in a thread. This only starts a task of ours, which ends with us.
            self._start(name, job)

        trigger = DateTrigger(when, MOSCOW)
        self._scheduler.add_job(begin, trigger, id=name, replace_existing=True, misfire_grace_time=None)

    def _start(self, name: str, job: Job) -> None:
        """Start a job unless it runs: after a pause of the process both APScheduler and the heartbeat begin a poll."""
        if self._open and name not in self._tasks:
            task = self._tasks[name] = asyncio.create_task(job(), name=name)
            task.add_done_callback(partial(self._ended, name))
        elif name == "backfill":
            self._wishes_backfill = True

    def _ended(self, name: str, task: asyncio.Task[None]) -> None:
        """Start a job again that has failed. The heartbeat does it for a poll, and for its tick."""
        del self._tasks[name]
        error = "was cancelled" if task.cancelled() else task.exception()
        if self._open and error:
            self.died(name, error)
            if name == "backfill":
                self.backfill_in(BACKFILL_AGAIN_S)
            elif name == "heartbeat":
                asyncio.get_running_loop().call_later(RESTART_S, self._start, name, self._heartbeat)
        if name == "backfill" and self._wishes_backfill:
            self._wishes_backfill = False
            self.backfill_in(0)

    async def _heartbeat(self) -> None:
        """Compare the wall clock with the monotonic one, and memory with Redis."""
        loop = asyncio.get_running_loop()
        last_wall, last_now = self.wall(), loop.time()
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            wall, now = self.wall(), loop.time()
            self._beat_at, self.lag_s = now, max(0.0, now - last_now - HEARTBEAT_S)
            jump = (wall - last_wall).total_seconds() - (now - last_now)
            if abs(jump) > CLOCK_JUMP_S:
                self.clock_jumped(jump)
                self.poll_in(0)
                # Other jobs were planned by the clock as it was.
                for job in self._scheduler.get_jobs():
                    if job.id != "poll":
                        job.modify(next_run_time=wall + timedelta(seconds=SOON_S))
            # After a pause of the process the heartbeat may wake before the scheduler, which then needs one more beat.
            has_paused = self.lag_s > CLOCK_JUMP_S
            if "poll" not in self._tasks and self.next_poll_at + LATE < wall and not has_paused:
                self.died("poll", "was not scheduled any more")
                self._start("poll", self.poll)
            # Not awaited: with a slow Redis it may take longer than the silence that health allows.
            self._start("tick", self.tick)
            last_wall, last_now = wall, now
