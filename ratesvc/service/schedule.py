"""The schedule: which jobs run when, by APScheduler. It follows jumps of the clock, and replaces a dead scheduler."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any

from apscheduler.executors.debug import DebugExecutor
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger

from ratesvc.bank.admission import Decision
from ratesvc.domain.history import History
from ratesvc.domain.workdays import MOSCOW, WorkCalendar
from ratesvc.service.cycle import Cycle
from ratesvc.storage.redis import cancel

WINDOW_PACE_S = 180.0
USUAL_PACE_S = 3600.0
FIRST_RETRY_S = 10.0
LONGEST_RETRY_S = 600.0
LONGEST_FIRST_SHEET_RETRY_S = 60.0

HEARTBEAT_S = 1.5
"""Another replica serves a new sheet so long after it was stored, at most."""
MOST_SILENT_BEATS = 3
"""A scheduler that has begun nothing for so long is dead, because a tick is due at each beat."""
CLOCK_JUMP_S = 1.0
"""A clock that is set back by less delays a tick by less than a beat."""
AGAIN_S = 600.0
"""A job that has failed runs again so long after; a heartbeat and a tick come with the next beat."""
REFUSED_AGAIN_S = 6 * 3600.0
"""Series that are refused cost up to a hundred requests, and the Bank does not correct them within minutes."""
SOON_S = 5.0

Work = Callable[[], Coroutine[Any, Any, float | None]]
"""A run of a job. It returns the seconds until the next one; None: it waits until somebody wants it."""


def next_poll_s(history: History, now: datetime, fixed_s: float | None, cycle: Cycle, failures: int) -> float:
    """Seconds until the next poll, without jitter: few while a sheet is awaited or a request has failed, or an hour.

    `fixed_s`, when configured, decides once a sheet is held, unless a mirror asks for a longer pause by Retry-After.
    `failures` counts those in a row, with `cycle` as the last.
    """
    newest = history.known.awaited_after if history.days else None
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


@dataclass(eq=False)
class Job(BaseTrigger):  # type: ignore[misc] # APScheduler has no types
    """Work that is repeated, and the trigger that tells APScheduler when: in the window, after a pause, as a retry."""

    name: str
    work: Work
    due: datetime | None = None
    """When it runs next, by the wall clock. This time has passed while it runs, and if it was lost."""
    task: asyncio.Task[float | None] | None = None

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        """APScheduler asks at the start of a run, too, when nobody knows how it ends."""
        return now + timedelta(seconds=AGAIN_S) if previous_fire_time else self.due


@dataclass(eq=False)
class Schedule:
    """Runs jobs by their names from `start` to `stop`, one run of each at a time. One is the `tick` of each heartbeat.

    `clock_jumped` gets the seconds; `died` gets the name of what has ended and runs again, and its error. `wall` gives
    UTC, and never stands still.
    """

    clock_jumped: Callable[[float], None]
    died: Callable[[str, BaseException | str], None]
    wall: Callable[[], datetime]
    jobs: dict[str, Job] = field(init=False, default_factory=dict)
    beat_at: float = field(init=False, default=0.0)
    """When the last heartbeat was, by the loop's clock."""
    lag_s: float = field(init=False, default=0.0)
    """How late it was: so long something kept the event loop busy."""
    _scheduler: AsyncIOScheduler | None = field(init=False, default=None)
    _silent_beats: int = field(init=False, default=0)

    def start(self) -> None:
        """Begin the jobs that are due."""
        self.beat_at = asyncio.get_running_loop().time()
        self.add("heartbeat", self._heartbeat)
        self._start_scheduler()

    async def stop(self) -> None:
        """Cancel what runs, and start nothing more. A second call does nothing."""
        self._end_scheduler()
        await cancel([job.task for job in self.jobs.values() if job.task])

    def add(self, name: str, work: Work, *, waits: bool = False) -> None:
        """Run a job now, unless it `waits` until somebody wants it; then whenever it says."""
        self.jobs[name] = Job(name, work)
        self.run_in(name, None if waits else 0)

    def run_in(self, name: str, seconds: float | None) -> None:
        """Plan the next run of a job in place of the one that is planned."""
        job = self.jobs[name]
        job.due = None if seconds is None else self.wall() + timedelta(seconds=seconds)
        self._tell(job)

    def want(self, name: str, seconds: float = 0) -> None:
        """Run a job once more, after the run that goes on. One that is planned, perhaps as a retry, comes no sooner."""
        job = self.jobs[name]
        if job.task:
            job.task.add_done_callback(lambda _: self.want(name))
        elif job.due is None:
            self.run_in(name, seconds)

    def _start_scheduler(self) -> None:
        # It calls `_begin` in this thread. A task of its own would complain about its end when the service stops.
        self._scheduler = AsyncIOScheduler(timezone=MOSCOW, executors={"default": DebugExecutor()})
        for job in self.jobs.values():
            job.due = job.due and self.wall()  # the clock may have been set since it was planned
            self._tell(job)
        self._scheduler.start()

    def _end_scheduler(self) -> None:
        if self._scheduler and self._scheduler.running:
            self._scheduler.shutdown(wait=False)
        self._scheduler = None

    def _tell(self, job: Job) -> None:
        """Let the scheduler ask again when the job is due."""
        if scheduler := self._scheduler:
            scheduler.add_job(self._begin, job, [job], id=job.name, replace_existing=True, misfire_grace_time=None)

    def _begin(self, job: Job) -> None:
        self._silent_beats = 0
        if self._scheduler and not job.task:
            job.task = asyncio.create_task(job.work(), name=job.name)
            job.task.add_done_callback(partial(self._ended, job))

    def _ended(self, job: Job, task: asyncio.Task[float | None]) -> None:
        job.task, error = None, "was cancelled" if task.cancelled() else task.exception()
        if self._scheduler and error:
            self.died(job.name, error)
        # A bug in a beat asks the Bank for nothing. A tick that waits longer would pass for a dead scheduler.
        again_s = HEARTBEAT_S if job.name in ("heartbeat", "tick") else AGAIN_S
        self.run_in(job.name, again_s if error else task.result())

    async def _heartbeat(self) -> None:
        """Compare the wall clock with the monotonic one, and look whether the scheduler begins the jobs."""
        loop = asyncio.get_running_loop()
        last_wall, last_now = self.wall(), loop.time()
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            wall, now = self.wall(), loop.time()
            self.beat_at, self.lag_s = now, max(0.0, now - last_now - HEARTBEAT_S)
            jump = (wall - last_wall).total_seconds() - (now - last_now)
            last_wall, last_now = wall, now
            if abs(jump) > CLOCK_JUMP_S:
                self.clock_jumped(jump)
                for job in self.jobs.values():
                    if job.due:  # by the clock as it was
                        self.run_in(job.name, 0)
            # If Redis is slow, a tick takes longer than a beat.
            self._silent_beats = 0 if self.jobs["tick"].task else self._silent_beats + 1
            is_silent = self._silent_beats >= MOST_SILENT_BEATS
            if self._scheduler and (is_silent or not all(map(self._scheduler.get_job, self.jobs))):
                self.died("scheduler", "has ended or lost a job")
                self._end_scheduler()
                self._start_scheduler()
