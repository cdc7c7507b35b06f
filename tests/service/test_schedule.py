"""When the service does something by itself, and how it goes on when something ends."""

from __future__ import annotations

import asyncio
import time
from datetime import date, datetime, timedelta
from types import SimpleNamespace

import pytest
from aiohttp import web
from conftest import Serve, Served, eventually, patience_s
from kit import cases
from kit.bank import Bank, sheet
from kit.dates import FRIDAY, NOON, SATURDAY, THURSDAY
from kit.time import block
from structlog.testing import capture_logs

from ratesvc.bank.admission import Admission, Decision
from ratesvc.domain.history import History
from ratesvc.domain.rates import Revision
from ratesvc.domain.workdays import WorkCalendar, utc_now
from ratesvc.errors import FetchFailed, SourceError
from ratesvc.service.cycle import Cycle
from ratesvc.service.schedule import CLOCK_JUMP_S, HEARTBEAT_S, Schedule, next_poll_s
from ratesvc.storage.redis import cancel

NEXT = "ratesvc_refresh_next_timestamp_seconds"
DAY_S = 86_400


async def test_a_metric_shows_the_next_refresh_also_during_a_poll(bank: Bank, serve: Serve) -> None:
    """From the start on, so that a first poll that never ends is noticed; then as `poll_seconds` says."""
    bank.publish(sheet(THURSDAY), sheet(FRIDAY))
    for_ever = asyncio.Event()

    async def hang(request: web.Request) -> web.StreamResponse:
        bank.misbehave = None
        await for_ever.wait()
        return await bank.answer(request)

    bank.misbehave = hang
    begun = time.time()
    async with serve(poll_seconds=DAY_S) as served:
        await eventually(lambda: bank.asked)
        assert begun <= float((await served.samples())[NEXT]) <= time.time()
        for_ever.set()
        await served.ready()
        delays = set[float]()
        await eventually(lambda: served.service.schedule.jobs["poll"].task is None)
        assert begun + DAY_S <= float((await served.samples())[NEXT]) <= time.time() + 1.1 * DAY_S
        delays |= {await served.service.poll() for _ in range(9)}
        assert DAY_S <= min(delays) <= max(delays) <= 1.1 * DAY_S
        assert max(delays) - min(delays) > 0.01 * DAY_S, "the replicas of a fleet ask at the same moment"


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A heartbeat and a tick come all the time."""
    for name, seconds in (("schedule.HEARTBEAT_S", 0.05), ("app.HEARTBEAT_S", 0.01)):
        monkeypatch.setattr(f"ratesvc.service.{name}", seconds)


@pytest.mark.usefixtures("hurried")
async def test_a_heartbeat_says_how_long_the_loop_was_blocked(served: Served) -> None:
    """While it is blocked nothing answers; the metric shows it afterwards."""
    lags: list[float] = []

    async def noting() -> float:
        lags.append(served.service.schedule.lag_s)
        return 0.01

    served.service.schedule.jobs["tick"].work = noting
    await eventually(lambda: lags)
    block(0.2)
    await eventually(lambda: max(lags) > 0.1)


@pytest.mark.usefixtures("hurried")
async def test_a_job_that_fails_runs_again(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an unforeseen error or a cancellation, which are counted and logged. A heartbeat and a tick do not wait."""
    schedule, runs = served.service.schedule, list[str]()

    async def broken() -> None:
        runs.append("")
        raise ZeroDivisionError

    with capture_logs() as logged:
        task = next(task for task in asyncio.all_tasks() if task.get_name() == "heartbeat")
        await cancel([task])
        schedule.jobs["tick"].work = broken
        await eventually(lambda: len(runs) > 9 and schedule.jobs["heartbeat"].task is not None)
        schedule.jobs["tick"].work = served.service.tick
        runs.clear()
        monkeypatch.setattr("ratesvc.service.schedule.AGAIN_S", 0.01)
        schedule.jobs["poll"].work = broken
        schedule.run_in("poll", 0)
        await eventually(lambda: len(runs) > 1)
    assert (await served.samples())['ratesvc_task_restarts_total{task="heartbeat"}'] == "1.0"
    died = dict.fromkeys((line["task"], line["error"]) for line in logged if line["event"] == "task_died")
    assert list(died) == [("heartbeat", "was cancelled"), *((name, "ZeroDivisionError()") for name in ("tick", "poll"))]


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("act", ["shutdown", "pause", "remove_job poll"])
async def test_a_scheduler_that_ended_is_replaced(act: str, served: Served) -> None:
    """Or stands still, or has lost a job. This is said once, no beat fails of it, and polls go on."""
    schedule, polls = served.service.schedule, list[float | None]()
    dead, poll = schedule._scheduler, schedule.jobs["poll"].work  # noqa: SLF001 -- nothing ends it from outside

    async def polled() -> float | None:
        polls.append(await poll())
        return polls[-1]

    schedule.jobs["poll"].work = polled
    name, *job = act.split()
    with capture_logs() as logged:
        getattr(dead, name)(*job)
        await eventually(lambda: schedule._scheduler is not dead or "task_died" in str(logged))  # noqa: SLF001 -- as above
    assert [line["task"] for line in logged if line["event"] == "task_died"] == ["scheduler"]
    # The new one begins what is planned; a poll that goes on then would forget this wish.
    schedule.run_in("poll", 0)
    await eventually(lambda: polls)


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("hours", [-2, 2])
async def test_a_clock_that_is_set_is_noticed(hours: int, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Back and forward, as after a sleep. Every job runs at once; until the poll is answered, no skew is known."""
    skew_s = served.service.clock_skew_s
    planned: list[tuple[str, float]] = []
    due = {job.name for job in served.service.schedule.jobs.values() if job.due} - {"tick"}
    monkeypatch.setattr(Schedule, "run_in", lambda _, name, seconds: planned.append((name, seconds)))
    with capture_logs() as logged:
        served.service.schedule.wall = lambda: utc_now() + timedelta(hours=hours)
        await eventually(lambda: due <= {name for name, _ in planned})
    assert [line["seconds"] for line in logged if line["event"] == "clock_jumped"] == [hours * 3600]
    assert (skew_s is None, served.service.clock_skew_s) == (False, None)
    assert {"poll", "heartbeat", *served.service.figures} <= due
    assert {(name, 0) for name in due} <= {*planned}


async def test_a_clock_that_is_set_back_during_a_start_delays_no_job() -> None:
    """As at boot. Jobs are planned before history is loaded, and begin after it."""
    begun = asyncio.Event()

    async def tick() -> None:
        begun.set()
        await asyncio.Event().wait()

    schedule = Schedule(clock_jumped=print, died=print, wall=lambda: utc_now() + timedelta(hours=2))
    schedule.add("tick", tick)
    schedule.wall = utc_now
    schedule.start()
    try:
        async with asyncio.timeout(patience_s()):
            await begun.wait()
    finally:
        await schedule.stop()


async def test_a_clock_that_is_set_back_a_little_is_no_dead_scheduler(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By less than what counts as a jump, so the tick comes as much later. Here all is six times faster."""
    behind = [timedelta(0)]

    def wall() -> datetime:
        return utc_now() - behind[-1]

    jump = timedelta(seconds=0.95 * CLOCK_JUMP_S / 6)
    for name, seconds in (
        ("schedule.HEARTBEAT", HEARTBEAT_S),
        ("app.HEARTBEAT", HEARTBEAT_S),
        ("schedule.CLOCK_JUMP", CLOCK_JUMP_S),
    ):
        monkeypatch.setattr(f"ratesvc.service.{name}_S", seconds / 6)
    # The next tick is planned at the usual pace. Beside six times as many beats it would pass for a dead scheduler.
    served.service.schedule.run_in("tick", 0)
    clock = SimpleNamespace(now=lambda zone: wall().astimezone(zone))
    monkeypatch.setattr("apscheduler.schedulers.base.datetime", clock)
    served.service.schedule.wall = wall
    with capture_logs() as logged:
        for _ in range(6):
            behind.append(behind[-1] + jump)
            enough = asyncio.get_running_loop().time() + 3 * HEARTBEAT_S / 6
            await eventually(lambda enough=enough: served.service.schedule.beat_at > enough)  # type: ignore[misc]
    assert [line for line in logged if line["event"] in ("task_died", "clock_jumped")] == []


@pytest.mark.usefixtures("hurried")
async def test_long_polls_and_ticks_are_waited_for(served: Served, bank: Bank) -> None:
    """The Bank and Redis may be slow. One of each runs meanwhile, no task is called dead, and the heartbeat goes on."""
    schedule, beats, over = served.service.schedule, set[float](), asyncio.Event()
    ticks: list[int] = []

    async def hang(request: web.Request) -> web.StreamResponse:
        await over.wait()
        return await bank.honest(request)

    async def slow() -> float:
        ticks.append(1)
        await over.wait()
        return 0.01

    def has_beaten() -> bool:
        beats.add(schedule.beat_at)
        return len(beats) > 5

    bank.misbehave, schedule.jobs["tick"].work, asked = hang, slow, len(bank.asked)
    schedule.run_in("poll", 0)
    await eventually(lambda: len(bank.asked) > asked and ticks)
    schedule.run_in("poll", 0)
    beats.clear()
    await eventually(has_beaten)
    told, polls = await served.samples(), [task for task in asyncio.all_tasks() if task.get_name() == "poll"]
    over.set()
    assert ("ratesvc_task_restarts_total" in str(told), ticks, len(polls)) == (False, [1], 1)


def failed(pause_s: float | None = None, outcome: str = "failed") -> Cycle:
    return Cycle(outcome, failure=FetchFailed([("cbr", SourceError("status", "503", pause_s))]))


CYCLES = {
    "new": Cycle("new"),
    "failed": failed(),
    "crashed": Cycle("crashed"),
    "new with a failure": failed(outcome="new"),
    "asked to wait 300 s": failed(300),
    "asked to wait 86400 s": failed(86400),
    "confirming": Cycle("confirming", held_back={SATURDAY: Admission(sheet(SATURDAY), Decision.CONFIRM, ())}),
    "quarantined": Cycle("quarantined", held_back={SATURDAY: Admission(sheet(SATURDAY), Decision.QUARANTINE, ())}),
}


def planned(question: str) -> str:
    """The seconds until the next poll at that time in Moscow, after one such cycle, after two in a row and so on."""
    moment, held, outcome, *fixed_s = question.split(", ")
    now = datetime.fromisoformat(f"2026-04-{moment}+03:00")
    days = [date(2026, 4, int(day)) for day in held.removeprefix("holds ").split() if day != "nothing"]
    history = History(WorkCalendar(), [Revision(sheet(day), 1, NOON) for day in days])
    outcome, _, times = outcome.partition(" ×")
    every_s = float(fixed_s[0].removeprefix("every ").removesuffix(" s")) if fixed_s else None
    counts = range(1, int(times or 1) + 1)
    return " ".join(f"{next_poll_s(history, now, every_s, CYCLES[outcome], failures):g}" for failures in counts)


def test_the_pace_follows_the_moscow_working_day_and_failures() -> None:
    """golden/polls.txt says when the next poll is due, and why."""
    cases.check("polls.txt", {question: planned(question) for question in cases.questions("polls.txt")})


async def test_a_backfill_that_is_due_while_one_runs_runs_after_it() -> None:
    """A sheet that was withdrawn meanwhile waited for the next poll. Two wishes are one."""
    runs, over = list[asyncio.Event](), asyncio.Event()

    async def backfill() -> None:
        runs.append(begun)
        begun.set()
        await over.wait()

    begun = asyncio.Event()
    schedule = Schedule(clock_jumped=print, died=print, wall=utc_now)
    schedule.add("tick", asyncio.Event().wait)
    schedule.add("backfill", backfill, waits=True)
    schedule.start()
    try:
        schedule.want("backfill")
        await begun.wait()
        for _ in range(2):
            schedule.want("backfill")
        over.set()
        await eventually(lambda: len(runs) == 2 and schedule.jobs["backfill"].due is None)
    finally:
        await schedule.stop()
    assert len(runs) == 2


async def test_a_lost_cancellation_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """On Python 3.11 redis-py can lose a cancellation that comes while it sends. Every task must end all the same."""
    monkeypatch.setattr("ratesvc.storage.redis.CANCEL_AGAIN_S", 0.01)
    begun, lost = asyncio.Event(), asyncio.Event()

    async def deaf_once() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            lost.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(deaf_once())
    await begun.wait()
    async with asyncio.timeout(patience_s()):
        await cancel([task])
    assert (lost.is_set(), task.cancelled()) == (True, True)
