"""When the service does something by itself, and how it goes on when something ends."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any

import msgspec
import pytest
from aiohttp import web
from conftest import Clock, Serve, Served, eventually, unhurried
from fake_bank import Bank, sheet

from ratesvc.bank.admission import Assessment, Unconfirmed
from ratesvc.config import Settings
from ratesvc.domain.history import History
from ratesvc.domain.rates import Revision
from ratesvc.domain.workdays import WorkCalendar, utc_now
from ratesvc.errors import FetchFailed, SourceError
from ratesvc.service.health import LONGEST_SILENCE_S
from ratesvc.service.refresh import Cycle, Refresher
from ratesvc.service.schedule import WINDOW_PACE_S, next_poll_s, with_jitter
from ratesvc.storage.redis import cancel
from ratesvc.storage.store import Glance

THURSDAY, FRIDAY, SATURDAY = date(2026, 4, 23), date(2026, 4, 24), date(2026, 4, 25)
NEXT = "ratesvc_refresh_next_timestamp_seconds"
DAY_S = 86_400


async def test_a_metric_shows_the_next_refresh_also_during_a_poll(bank: Bank, settings: Settings, serve: Serve) -> None:
    """From the start on, so that a first poll that never ends is noticed; then as `poll_seconds` says."""
    bank.publish(sheet(THURSDAY), sheet(FRIDAY))
    for_ever = asyncio.Event()

    async def hang(request: web.Request) -> web.StreamResponse:
        bank.misbehave = None
        await for_ever.wait()
        return await bank.answer(request)

    bank.misbehave = hang
    begun = time.time()
    async with serve(msgspec.structs.replace(settings, poll_seconds=DAY_S)) as served:
        await eventually(lambda: bank.asked)
        assert begun <= float((await served.samples())[NEXT]) <= time.time()
        for_ever.set()
        await served.ready()
        await served.service.poll()
        assert begun + DAY_S <= float((await served.samples())[NEXT]) <= time.time() + 1.1 * DAY_S


@pytest.mark.slow
async def test_a_task_that_ends_is_started_again(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    """After an unforeseen error or a cancellation it goes on a second later. It is counted and logged."""
    for name in ("listen", "heartbeat"):
        task = next(task for task in asyncio.all_tasks() if task.get_name() == name)
        await cancel([task])
        await eventually(lambda name=name, task=task: _runs_anew(name, task))  # type: ignore[misc]
    found = await served.samples()
    assert found['ratesvc_task_restarts_total{task="listen"}'] == "1.0"
    assert found['ratesvc_task_restarts_total{task="heartbeat"}'] == "1.0"
    said = [line for line in capsys.readouterr().out.splitlines() if "task_died" in line]
    assert len(said) == 2
    assert all("was cancelled" in line for line in said)
    assert served.service.health()["scheduler:lastRun"]["status"] == "pass"


def _runs_anew(name: str, ended: asyncio.Task[Any]) -> bool:
    return any(task.get_name() == name and task is not ended for task in asyncio.all_tasks())


@pytest.mark.slow
async def test_an_unforeseen_error_does_not_end_the_ticks(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the heartbeat ends, health fails."""
    store = served.service.store
    glance = store.glance
    calls = 0

    async def broken() -> Glance:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise ZeroDivisionError
        return await glance()

    monkeypatch.setattr(store, "glance", broken)
    await eventually(lambda: calls > 1)
    ticks = served.service._schedule  # noqa: SLF001 -- as if the heartbeat had been mute for long
    monkeypatch.setattr(type(ticks), "silent_s", LONGEST_SILENCE_S + 1)
    assert served.service.health()["scheduler:lastRun"]["status"] == "fail"


@pytest.mark.slow
async def test_a_poll_that_is_about_to_start_is_not_reported_as_dead(
    bank: Bank, settings: Settings, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Polls follow each other without a pause, and the heartbeat finds them alive every time."""
    bank.publish(sheet(THURSDAY), sheet(FRIDAY))
    monkeypatch.setattr("ratesvc.service.schedule.HEARTBEAT_S", 0.001)
    async with serve(msgspec.structs.replace(settings, poll_seconds=0.01)) as served:
        await eventually(lambda: len(bank.asked) > 100)
        assert b"ratesvc_task_restarts_total{" not in (await served.get("/metrics"))[2]


async def test_polls_are_rare_once_tomorrows_sheet_is_held(
    bank: Bank, settings: Settings, serve: Serve, clock: Clock
) -> None:
    """The poll that finds it makes the late appointment itself, although its announcement comes back later."""
    bank.publish(sheet(THURSDAY), sheet(FRIDAY))
    async with serve(msgspec.structs.replace(unhurried(settings), poll_seconds=None)) as served:
        await served.ready()
        await eventually(lambda: served.service.backfilling is None and served.service.history.coverage)
        bank.publish(sheet(SATURDAY))
        clock.moment = datetime(2026, 4, 24, 14, 0, tzinfo=UTC)
        await served.service.poll()
        job = served.service._schedule._scheduler.get_job("poll")  # noqa: SLF001 -- nobody else knows the appointment
        assert job is not None
        assert job.next_run_time > utc_now() + timedelta(seconds=2 * WINDOW_PACE_S)


@pytest.mark.parametrize(
    ("moment", "newest", "seconds"),
    [
        (datetime(2026, 4, 24, 9, 0, tzinfo=UTC), FRIDAY, 180),  # noon of a working day, tomorrow's not there
        (datetime(2026, 4, 24, 9, 0, tzinfo=UTC), SATURDAY, 3600),  # there already
        (datetime(2026, 4, 24, 7, 30, tzinfo=UTC), FRIDAY, 1800),  # 10:30: the window opens in half an hour
        (datetime(2026, 4, 25, 9, 0, tzinfo=UTC), SATURDAY, 3600),  # Saturday
        (datetime(2026, 4, 24, 19, 0, tzinfo=UTC), FRIDAY, 600),  # overdue since 21:00
    ],
)
def test_the_pace_follows_the_moscow_working_day(moment: datetime, newest: date, seconds: float) -> None:
    """Every few minutes from 11:00 to 21:00 until tomorrow's sheet is there, otherwise each hour."""
    history = History(WorkCalendar(), [Revision(sheet(newest), 1, moment)])
    assert next_poll_s(history, moment, None, Cycle("new"), 0) == seconds
    assert next_poll_s(history, moment, 0.5, Cycle("new"), 0) == 0.5


def test_failures_back_off_to_ten_minutes_and_obey_retry_after() -> None:
    """Ten seconds, doubled each time; never longer than a minute while nothing is stored."""
    moment = datetime(2026, 4, 25, 9, 0, tzinfo=UTC)
    failure = Cycle("failed", failure=FetchFailed([("cbr", SourceError("timeout", "x"))]))
    history = History(WorkCalendar(), [Revision(sheet(SATURDAY), 1, moment)])
    waits = [next_poll_s(history, moment, None, failure, tries) for tries in range(1, 9)]
    assert waits == [10, 20, 40, 80, 160, 320, 600, 600]
    assert next_poll_s(History(WorkCalendar()), moment, None, failure, 8) == 60
    asks = Cycle("failed", failure=FetchFailed([("cbr", SourceError("status", "503", 300))]))
    assert next_poll_s(history, moment, None, asks, 1) == 300
    assert next_poll_s(history, moment, 0.5, asks, 1) == 300


def test_a_refresh_that_crashes_is_retried_as_after_a_failure() -> None:
    """Without a sheet, a pause of an hour would be an hour of 503."""
    moment = datetime(2026, 4, 25, 9, 0, tzinfo=UTC)
    crashed, empty = Cycle("crashed"), History(WorkCalendar())
    assert [next_poll_s(empty, moment, None, crashed, tries) for tries in (1, 2, 3, 4)] == [10, 20, 40, 60]
    held = History(WorkCalendar(), [Revision(sheet(SATURDAY), 1, moment)])
    assert [next_poll_s(held, moment, None, crashed, tries) for tries in (1, 2, 9)] == [10, 20, 600]


@pytest.mark.parametrize("outcome", ["failed", "crashed"])
def test_a_configured_pace_waits_until_a_sheet_is_held(outcome: str) -> None:
    """Otherwise a daily `poll_seconds` and one failure at the first start would be a day of 503."""
    moment = datetime(2026, 4, 25, 9, 0, tzinfo=UTC)
    failed, empty = Cycle(outcome), History(WorkCalendar())
    assert [next_poll_s(empty, moment, 86400, failed, tries) for tries in (1, 2, 3, 4)] == [10, 20, 40, 60]
    assert next_poll_s(empty, moment, 0.5, failed, 4) == 0.5
    held = History(WorkCalendar(), [Revision(sheet(SATURDAY), 1, moment)])
    assert next_poll_s(held, moment, 86400, failed, 1) == 86400


async def test_a_service_that_crashed_at_its_first_refresh_is_soon_ready(
    bank: Bank, settings: Settings, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unforeseen error comes once, and the next try follows seconds later."""
    bank.publish(sheet(THURSDAY), sheet(FRIDAY))
    monkeypatch.setattr("ratesvc.service.schedule.FIRST_RETRY_S", 0.05)
    cycle, calls = Refresher.cycle, 0

    async def crashing_once(self: Refresher) -> Cycle:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise ZeroDivisionError
        return await cycle(self)

    monkeypatch.setattr(Refresher, "cycle", crashing_once)
    async with serve(msgspec.structs.replace(settings, poll_seconds=None)) as served:
        await served.ready()
        assert (await served.get("/readyz"))[0] == 200
    assert calls == 2


def test_a_replica_without_sheets_and_without_the_lease_asks_again_soon() -> None:
    """The replica with the lease may not be able to reach the Bank."""
    moment = datetime(2026, 4, 25, 9, 0, tzinfo=UTC)
    assert next_poll_s(History(WorkCalendar()), moment, None, Cycle("skipped"), 0) == 10
    assert next_poll_s(History(WorkCalendar()), moment, 3600, Cycle("skipped"), 0) == 10
    held = History(WorkCalendar(), [Revision(sheet(SATURDAY), 1, moment)])
    assert next_poll_s(held, moment, 3600, Cycle("skipped"), 0) == 3600


def test_an_unconfirmed_sheet_is_asked_for_again_within_minutes() -> None:
    """Also outside of the hours of publication, and sooner if no sheet is held."""
    moment = datetime(2026, 4, 25, 9, 0, tzinfo=UTC)
    history = History(WorkCalendar(), [Revision(sheet(SATURDAY), 1, moment)])
    unconfirmed = Cycle("confirming", held_back=(Unconfirmed(sheet(SATURDAY), Assessment()),))
    assert next_poll_s(history, moment, None, unconfirmed, 0) == 180
    assert next_poll_s(History(WorkCalendar()), moment, None, unconfirmed, 0) == 60


async def test_a_service_stops_though_one_cancellation_is_lost(settings: Settings, serve: Serve) -> None:
    """On Python 3.11 redis-py can lose a cancellation that comes while it sends, so it is repeated."""
    heard = asyncio.Event()

    async def deaf_once() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            heard.set()
        await asyncio.Event().wait()

    async with asyncio.timeout(10), serve(settings) as served:
        served.service._schedule._tasks.add(asyncio.create_task(deaf_once()))  # noqa: SLF001 -- no other task loses it at will
    assert heard.is_set()


def test_jitter_only_delays_and_by_a_tenth_at_most() -> None:
    """The replicas of a fleet do not ask at the same moment, and never too early."""
    chance = Random(7)  # noqa: S311 -- a seed, not a secret
    delays = [with_jitter(100, chance) for _ in range(100)]
    assert all(100 <= delay <= 110 for delay in delays)
    assert len(set(delays)) == 100
