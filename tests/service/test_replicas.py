"""Several services on one Redis, and one service without it."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta

import msgspec
import pytest
from aiohttp import web
from conftest import Clock, Serve, Served, eventually, unhurried
from fake_bank import Bank, sheet
from machine import patience

from ratesvc.bank.admission import Assessment, Unconfirmed
from ratesvc.config import Redis, Settings
from ratesvc.domain.history import History
from ratesvc.domain.rates import Revision
from ratesvc.domain.workdays import WorkCalendar, utc_now
from ratesvc.errors import FetchFailed, SourceError
from ratesvc.service.health import Check
from ratesvc.service.refresh import Cycle, Refresher
from ratesvc.service.schedule import WINDOW_PACE_S, next_poll_s

THURSDAY, FRIDAY, SATURDAY = date(2026, 4, 23), date(2026, 4, 24), date(2026, 4, 25)


async def test_two_services_ask_once_and_both_show_the_new_sheet_within_two_seconds(
    bank: Bank, settings: Settings, serve: Serve, clock: Clock
) -> None:
    """Each document is asked for once; both Boards change by the one announcement, to the same bytes."""
    bank.publish(sheet(THURSDAY), sheet(FRIDAY))
    async with serve(settings) as one, serve(settings) as two:
        await asyncio.gather(one.ready(), two.ready())
        await eventually(lambda: len(one.service.history) == len(two.service.history) == 2)
        assert sorted(bank.queries) == ["", "date_req=23/04/2026"]
        bank.publish(sheet(SATURDAY))
        clock.moment = datetime(2026, 4, 24, 14, 0, tzinfo=UTC)
        bank.asked.clear()
        outcomes = {(await served.service.refresh()).outcome for served in (one, two)}
        assert outcomes == {"new", "skipped"}
        for served in (one, two):
            await eventually(lambda served=served: served.service.history.of_date(SATURDAY), 2 * patience())  # type: ignore[misc]
        assert bank.queries == [""]
        answers = [await served.get("/v1/rates/next") for served in (one, two)]
        assert answers[0][2] == answers[1][2]
        assert answers[0][1]["ETag"] == answers[1][1]["ETag"]


async def test_a_replica_that_cannot_reach_the_bank_does_not_keep_others_from_it(
    bank: Bank, settings: Settings, serve: Serve
) -> None:
    """It gives up its turn at once. What another one is answered ends its warning, and is no success of its own."""
    bank.publish(sheet(THURSDAY), sheet(FRIDAY))
    cut_off = msgspec.structs.replace(
        settings, cbr=msgspec.structs.replace(settings.cbr, mirrors=("http://127.0.0.1:1",))
    )
    async with serve(cut_off) as without_a_way:
        await eventually(
            lambda: without_a_way.service.telemetry.failures and not without_a_way.service.store.poll_lease.held
        )
        assert (await fetching(without_a_way))["status"] == "warn"
        async with serve(settings) as served:
            await served.ready()
            await without_a_way.ready()
            await eventually(lambda: not without_a_way.service.telemetry.failures)
            for _ in range(2):
                assert await fetching(without_a_way) == {"status": "pass", "observedValue": "skipped"}
                await without_a_way.service.refresh()
            assert without_a_way.service.telemetry.last_cycle == Cycle("skipped")
            assert without_a_way.service.telemetry.last_success is None


async def fetching(served: Served) -> Check:
    return served.service.health()["cbr:fetch"]


async def test_a_fleet_that_the_bank_does_not_answer_warns_until_one_is_answered(
    bank: Bank, settings: Settings, serve: Serve
) -> None:
    """That another replica is asking says nothing yet: what it hears does, a failure as well as rates."""
    bank.publish(sheet(THURSDAY), sheet(FRIDAY))
    over = asyncio.Event()

    async def refuse(_: web.Request) -> web.StreamResponse:
        return web.Response(status=503)

    async def refuse_late(request: web.Request) -> web.StreamResponse:
        await over.wait()
        return await refuse(request)

    bank.misbehave = refuse
    async with serve(settings) as one:
        await eventually(lambda: one.service.telemetry.failures and not one.service.store.poll_lease.held)
        bank.misbehave = refuse_late
        async with serve(settings) as other:
            await eventually(lambda: other.service.store.poll_lease.held)
            assert (await one.service.refresh()).outcome == "skipped"
            assert (await fetching(one))["status"] == "warn"
            over.set()
            await eventually(lambda: other.service.telemetry.failures and not other.service.store.poll_lease.held)
            assert [(await fetching(served))["status"] for served in (one, other)] == ["warn", "warn"]
            bank.misbehave = None
            await other.service.poll()
            await eventually(lambda: not one.service.telemetry.failures)
            assert [(await fetching(served))["status"] for served in (one, other)] == ["pass", "pass"]


async def test_once_tomorrows_sheet_is_there_the_bank_is_left_alone(
    bank: Bank, settings: Settings, serve: Serve, clock: Clock
) -> None:
    """The poll that finds it is the last of the day's window, though its announcement is heard a moment later."""
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


async def test_a_service_without_redis_starts_from_the_bank(bank: Bank, settings: Settings, serve: Serve) -> None:
    """Redis is never on the path of a request, nor needed for a start."""
    bank.publish(sheet(THURSDAY), sheet(FRIDAY))
    async with serve(msgspec.structs.replace(settings, redis=Redis(url="redis://127.0.0.1:1/0"))) as running:
        await running.ready()
        assert (await running.get("/v1/rates"))[0] == 200
        assert (await running.get("/readyz"))[0] == 200
        assert running.service.health()["redis:connectivity"]["status"] == "warn"


async def test_a_correction_is_a_new_revision_with_another_tag(bank: Bank, settings: Settings, serve: Serve) -> None:
    """The same date with other figures never overwrites: the number counts up and the ETag changes."""
    bank.publish(sheet(THURSDAY), sheet(FRIDAY))
    async with serve(settings) as running:
        await running.ready()
        await eventually(lambda: len(running.service.history) == 2)
        before = await running.get("/v1/rates")
        bank.publish(sheet(FRIDAY, shift=1))
        assert (await running.service.refresh()).outcome == "confirming"
        assert (await running.get("/v1/rates"))[2] == before[2]
        await running.service.refresh()
        await eventually(lambda: len(running.service.history) == 3)
        after = await running.get("/v1/rates")
        assert (b'"revision":1' in before[2], b'"revision":2' in after[2]) == (True, True)
        assert before[1]["ETag"] != after[1]["ETag"]


async def test_no_request_to_the_bank_is_made_while_a_caller_waits(
    bank: Bank, settings: Settings, serve: Serve
) -> None:
    """A Bank that hangs delays nobody."""
    bank.publish(sheet(THURSDAY), sheet(FRIDAY))
    hanging = asyncio.Event()

    async def hang(_: web.Request) -> web.StreamResponse:
        await hanging.wait()
        return web.Response()

    async with serve(settings) as running:
        await running.ready()
        await eventually(lambda: len(running.service.history) == 2)
        bank.misbehave = hang
        refreshing = asyncio.create_task(running.service.refresh())
        await eventually(lambda: len(bank.queries) == 3)
        for path in ("/v1/rates", "/v1/rates?quote=EUR&lang=ru", "/widget", "/v1/rates/2026-01-10", "/health"):
            async with asyncio.timeout(10):  # the Bank would be waited for longer
                await running.get(path)
        assert not refreshing.done()
        hanging.set()
        await refreshing


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
    """Every few minutes from 11:00 to 21:00 until tomorrow's sheet is there, hourly otherwise."""
    history = History(WorkCalendar(), [Revision(sheet(newest), 1, moment)])
    assert next_poll_s(history, moment, None, Cycle("new"), 0) == seconds
    assert next_poll_s(history, moment, 0.5, Cycle("new"), 0) == 0.5


def test_failures_back_off_to_ten_minutes_and_obey_retry_after() -> None:
    """Ten seconds, doubled each time; with nothing stored yet, never longer than a minute."""
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
    """With nothing held an hour's pause would be an hour of 503."""
    moment = datetime(2026, 4, 25, 9, 0, tzinfo=UTC)
    crashed, empty = Cycle("crashed"), History(WorkCalendar())
    assert [next_poll_s(empty, moment, None, crashed, tries) for tries in (1, 2, 3, 4)] == [10, 20, 40, 60]
    held = History(WorkCalendar(), [Revision(sheet(SATURDAY), 1, moment)])
    assert [next_poll_s(held, moment, None, crashed, tries) for tries in (1, 2, 9)] == [10, 20, 600]


@pytest.mark.parametrize("outcome", ["failed", "crashed"])
def test_a_configured_pace_waits_until_a_sheet_is_held(outcome: str) -> None:
    """`poll_seconds` of a day and a Bank that is silent at the first start would be a day of 503."""
    moment = datetime(2026, 4, 25, 9, 0, tzinfo=UTC)
    failed, empty = Cycle(outcome), History(WorkCalendar())
    assert [next_poll_s(empty, moment, 86400, failed, tries) for tries in (1, 2, 3, 4)] == [10, 20, 40, 60]
    assert next_poll_s(empty, moment, 0.5, failed, 4) == 0.5
    held = History(WorkCalendar(), [Revision(sheet(SATURDAY), 1, moment)])
    assert next_poll_s(held, moment, 86400, failed, 1) == 86400


async def test_a_service_that_crashed_at_its_first_refresh_is_soon_ready(
    bank: Bank, settings: Settings, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What nobody foresaw comes once; the next attempt has its appointment seconds later."""
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


def test_who_holds_nothing_asks_again_soon_when_it_was_not_its_turn() -> None:
    """The replica that has the turn may not be able to reach the Bank; nobody waits an hour for it to say so."""
    moment = datetime(2026, 4, 25, 9, 0, tzinfo=UTC)
    assert next_poll_s(History(WorkCalendar()), moment, None, Cycle("skipped"), 0) == 10
    assert next_poll_s(History(WorkCalendar()), moment, 3600, Cycle("skipped"), 0) == 10
    held = History(WorkCalendar(), [Revision(sheet(SATURDAY), 1, moment)])
    assert next_poll_s(held, moment, 3600, Cycle("skipped"), 0) == 3600


def test_a_doubtful_sheet_is_asked_for_again_within_minutes() -> None:
    """Also outside of the hours of publication; sooner where nothing else can be shown."""
    moment = datetime(2026, 4, 25, 9, 0, tzinfo=UTC)
    history = History(WorkCalendar(), [Revision(sheet(SATURDAY), 1, moment)])
    doubtful = Cycle("confirming", held_back=(Unconfirmed(sheet(SATURDAY), Assessment()),))
    assert next_poll_s(history, moment, None, doubtful, 0) == 180
    assert next_poll_s(History(WorkCalendar()), moment, None, doubtful, 0) == 60


async def test_a_service_stops_though_one_cancellation_is_lost(settings: Settings, serve: Serve) -> None:
    """On Python 3.11 redis-py can lose one that comes while it sends; without a second the stop would never end."""
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
