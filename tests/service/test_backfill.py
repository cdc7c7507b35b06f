"""All of history: fetched once, resumed after a kill, kept whole after a pause, compared with the Bank."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from aiohttp import web
from conftest import Clock, Serve, Served, eventually, unhurried
from fake_bank import Bank, daily_xml, sheet, workdays
from sheets import all_times, changed, times

from ratesvc.bank.admission import Reassessed
from ratesvc.bank.client import BankClient, Pace
from ratesvc.commands.data import Difference, differences_of
from ratesvc.config import Settings
from ratesvc.domain.columns import Coverage
from ratesvc.domain.history import History
from ratesvc.domain.rates import FIRST_DAY, Quote, Sheet
from ratesvc.domain.workdays import WorkCalendar
from ratesvc.errors import RatesvcError
from ratesvc.service import schedule
from ratesvc.service.app import Service
from ratesvc.service.backfill import Backfill, NotOurTurn, Progress
from ratesvc.service.refresh import Cycle, Refresher
from ratesvc.service.sync import Sync
from ratesvc.storage.redis import RedisConnection, connect
from ratesvc.storage.store import Store

FRIDAY = date(2026, 4, 24)
DAYS = list(workdays(date(2026, 3, 10), 34))
NAMELESS = ["R01435", "R01436", "R01700"]
"""Ids of the replica's catalogue without a code: an item that has none, and two that are parents only."""


@pytest.fixture
def settings(settings: Settings, bank: Bank) -> Settings:
    """Backfill without pauses between its requests."""
    bank.publish(*map(sheet, DAYS))
    assert DAYS[-1] == FRIDAY
    return unhurried(settings)


@dataclass
class Replica:
    """What a backfill works with, and the memory that it fills: a replica without anything that happens by itself."""

    store: Store
    history: History
    client: BankClient
    clock: Clock
    columns: str

    def __post_init__(self) -> None:
        self.refresher = Refresher(self.client, self.store, self.history, self.clock)
        self.backfill = Backfill(self.refresher, 0, self.accept)

    def accept(self, cycle: Cycle) -> Cycle:
        for revision in cycle.accepted:
            self.history.merge(revision)
        return cycle

    async def repair(self) -> None:
        """Write what Redis lost."""

        async def refused(_: Reassessed) -> None:
            return

        await Sync(self.store, self.history, lambda: None, lambda *_: None, refused, appending=False).round(FRIDAY)

    async def fetch_day(self, day: date | None) -> None:
        self.accept(await self.refresher.ask(day))

    async def run(self, since: date = FIRST_DAY, until: date | None = None) -> list[str]:
        """What was asked for; memory knows first what the store holds, and the newest sheet."""
        await self.read()
        await self.fetch_day(None)
        return [progress.asking async for progress in self.backfill.run(since, until)]

    async def lose(self, *ids: str) -> None:
        """Redis loses the columns of these ids."""
        await self.store.connection.client.hdel(self.columns, *ids)

    async def fill(self) -> None:
        """One run for all of history, with what memory knows."""
        async for _ in self.backfill.run():
            pass

    async def read(self) -> None:
        """Take from the store what memory lacks."""
        loaded = await self.store.load()
        if loaded.coverage:
            self.history.fill(loaded.columns, loaded.coverage)
        for revision in loaded.revisions:
            self.history.merge(revision)


@asynccontextmanager
async def replica_of(settings: Settings, clock: Clock) -> AsyncIterator[Replica]:
    store = Store(RedisConnection(settings.redis.url), settings.redis.namespace)
    async with BankClient(settings.cbr.mirrors, "ratesvc-tests", pace=Pace(None)) as client:
        yield Replica(store, History(WorkCalendar()), client, clock, f"{{{settings.redis.namespace}}}:v1:columns")
    await store.close()


@pytest.fixture
async def replica(settings: Settings, clock: Clock) -> AsyncIterator[Replica]:
    async with replica_of(settings, clock) as opened:
        yield opened


@pytest.fixture
async def other(settings: Settings, clock: Clock) -> AsyncIterator[Replica]:
    """A second one on the same Redis."""
    async with replica_of(settings, clock) as opened:
        yield opened


async def reaches(running: Served, day: date) -> None:
    """The coverage ends with that day."""
    await eventually(lambda: (held := running.service.history.coverage) and held.until == day)


def err(bank: Bank) -> date:
    """Make the series wrong on one settled day, and its daily document wrong in another way."""
    wrong = DAYS[10]
    bank.documents[wrong] = daily_xml(changed(sheet(wrong), KZT=times("10")))
    bank.series["R01335"][wrong] = (100, Decimal("99.9999"))
    return wrong


async def run_again(running: Served) -> None:
    """Run the next backfill now; its appointment is far away."""
    await running.service._fill()  # noqa: SLF001 -- the appointment is nowhere else


@pytest.fixture
async def whole(settings: Settings, serve: Serve) -> AsyncIterator[Served]:
    """A service that holds all of history."""
    async with serve(settings) as running:
        await running.filled()
        yield running


async def backfilled(service: Service) -> list[Progress]:
    return [progress async for progress in service.backfill()]


async def test_the_service_loads_history_after_its_first_start(bank: Bank, whole: Served) -> None:
    """It asks once for each currency id, the most used first, and for their parents. Then every day is answered."""
    ids = {quote.cbr_id for quote in sheet(FRIDAY).quotes}
    assert sorted(bank.series_asked) == sorted([*ids, *NAMELESS])
    assert bank.series_asked[:3] == ["R01235", "R01239", "R01375"]
    assert bank.series_asked[-3:] == NAMELESS
    for day in DAYS:
        assert whole.service.history.of_date(day) is not None
    status, headers, _ = await whole.get("/v1/rates/2026-03-15")
    assert (status, headers["Cache-Control"].split(",")[1]) == (200, " max-age=86400")


async def test_a_backfilled_sheet_has_the_figures_of_its_document(bank: Bank, settings: Settings, serve: Serve) -> None:
    """Series give every digit of it. A currency belongs to a day only with a record on that day."""
    gone = DAYS[10]
    bank.series["R01720"] = {day: (10, Decimal("16.3747")) for day in DAYS[:11]}
    bank.currencies["R01720"] = ("UAH", "980", "Украинских гривен")
    async with serve(settings) as running:
        await running.filled()
        for day in DAYS[:-2]:
            expected = {(q.code, q.nominal, q.value) for q in sheet(day).quotes}
            expected |= {("UAH", 10, Decimal("16.3747"))} if day <= gone else set()
            assert {(q.code, q.nominal, q.value) for q in running.held(day).sheet.quotes} == expected
        assert (await running.get(f"/v1/rates/{DAYS[11]}?codes=UAH"))[2].endswith(b'"rates":{}}')


async def test_a_second_run_asks_for_nothing_that_is_held(bank: Bank, whole: Served) -> None:
    """It finds with one request that nothing was published since."""
    bank.asked.clear()
    assert await backfilled(whole.service) == []
    assert (bank.series_asked, bank.queries) == ([], [""])


async def test_a_run_that_was_cut_off_goes_on_where_it_stopped(bank: Bank, settings: Settings, clock: Clock) -> None:
    """Each column is stored at once. Until all are there, no day is answered from a part of them."""
    async with Service(settings, clock=clock, scheduled=False) as service:
        await service.fetch(None)
        async for progress in service.backfill():
            if progress.done == 5:
                break
        assert service.history.coverage is None
    first = list(bank.series_asked)
    clock.advance(days=1)
    async with Service(settings, clock=clock, scheduled=False) as service:
        assert service.history.coverage is None
        await backfilled(service)
        assert service.history.coverage is not None
        assert service.history.coverage.since == date(1992, 7, 1)
        assert service.history.coverage.until == FRIDAY
    assert not set(first[:5]) & set(bank.series_asked[len(first) :])


async def _a_weeks_pause(bank: Bank, settings: Settings, serve: Serve, clock: Clock) -> list[date]:
    """A service stops with all of history, and these sheets are published while it is away."""
    async with serve(settings) as running:
        await running.filled()
    later = list(workdays(date(2026, 4, 25), 6))
    bank.publish(*map(sheet, later))
    clock.moment = datetime(2026, 5, 2, 9, 0, tzinfo=UTC)
    return later


async def test_a_weeks_pause_is_found_by_the_calendar_and_filled_by_daily_documents(
    bank: Bank, settings: Settings, serve: Serve, clock: Clock
) -> None:
    """Until then the days of the pause answer `history_loading`. The service never silently returns an older sheet."""
    later = await _a_weeks_pause(bank, settings, serve, clock)
    bank.asked.clear()
    async with serve(settings) as running:
        await running.ready()
        await reaches(running, later[-1])
        for day in later:
            assert running.held(day).sheet == sheet(day)
    assert bank.series_asked == ["R01235"]


@pytest.mark.parametrize("what", ["tenfold", "a page"])
async def test_the_coverage_ends_before_a_day_that_is_not_admitted(
    what: str, bank: Bank, settings: Settings, serve: Serve, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    """It answers `history_loading`, and is asked for again. The log says that history is incomplete, then finished."""
    later = await _a_weeks_pause(bank, settings, serve, clock)
    right, said = bank.documents[later[2]], [""]
    wrong = {"tenfold": daily_xml(all_times(sheet(later[2]), "10")), "a page": b"<html>Maintenance</html>"}
    bank.documents[later[2]] = wrong[what]
    capsys.readouterr()

    def tells(event: str) -> bool:
        said.append(capsys.readouterr().out)
        return event in "".join(said)

    async with serve(settings) as running:
        await running.ready()
        await eventually(lambda: running.service.history.of_date(later[-1]) and running.service.backfilling is None)
        await reaches(running, later[1])
        await eventually(lambda: tells("backfill_incomplete"))
        assert not tells("backfill_finished")
        assert (await running.get(f"/v1/rates/{later[1]}"))[0] == 200
        status, _, body = await running.get(f"/v1/rates/{later[2]}")
        assert (status, b"history_loading" in body) == (503, True)
        assert (await running.get("/v1/rates"))[0] == 200
        assert len(await running.service.quarantine.cases()) == (what == "tenfold")
        bank.documents[later[2]] = right
        await running.service.poll()
        await reaches(running, later[-1])
        await eventually(lambda: tells("backfill_finished"))


async def test_a_stuck_or_failed_backfill_never_delays_an_answer(
    bank: Bank, settings: Settings, serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither while the Bank does not answer requests for series, nor after it has refused them."""
    asked, over = asyncio.Event(), asyncio.Event()

    async def without_series(request: web.Request) -> web.StreamResponse:
        if request.path.endswith("XML_dynamic.asp"):
            asked.set()
            await over.wait()
            raise web.HTTPServiceUnavailable
        return await bank.honest(request)

    bank.misbehave = without_series
    async with serve(settings) as running:
        await running.ready()
        await asked.wait()
        while_stuck = [await running.get(path) for path in ("/v1/rates", "/v1/rates/2026-03-20", "/health")]
        over.set()
        await eventually(lambda: "backfill_failed" in capsys.readouterr().out)
        when_failed = [await running.get(path) for path in ("/v1/rates", "/v1/rates/2026-03-20", "/health")]
    for answers in (while_stuck, when_failed):
        assert [status for status, _, _ in answers] == [200, 503, 200]


async def test_a_sheet_set_while_the_series_are_fetched_is_not_shown_in_part(
    bank: Bank, settings: Settings, serve: Serve
) -> None:
    """The Bank publishes between the requests for USD and EUR. Only the days of USD are days of sheets."""
    bank.series["R01239"] = {**bank.series["R01239"], date(2026, 4, 25): (1, Decimal("88.0000"))}
    async with serve(settings) as running:
        await running.filled()
        assert running.service.history.of_date(date(2026, 4, 25)) is None
        assert running.service.history.series("EUR", DAYS[0], date(2026, 5, 1))[-1][0] == FRIDAY


async def test_verify_reports_differences_and_changes_nothing(bank: Bank, whole: Served) -> None:
    """The Bank corrected one value, dropped one and added one."""
    series = bank.series["R01235"]
    corrected, dropped, added = DAYS[3], DAYS[5], DAYS[0] - timedelta(days=3)
    series[corrected] = (1, Decimal("99.9999"))
    del series[dropped]
    series[added] = (1, Decimal("11.1111"))
    before = list(whole.service.history.days)
    found = [report async for report in differences_of(whole.service) if isinstance(report, Difference)]
    assert [(report.day, report.bank) for report in found] == [
        (added, "11.1111 for 1"),
        (corrected, "99.9999 for 1"),
        (dropped, None),
    ]
    assert {report.code for report in found} == {"USD"}
    assert whole.service.history.days == before


async def test_a_correction_of_a_backfilled_day_is_kept_above_it(bank: Bank, settings: Settings, serve: Serve) -> None:
    """The daily document has priority, and its currencies are those of the day. The first revision stays available."""
    first = f"/v1/rates/{DAYS[4]}?revision=1"
    async with serve(settings) as running:
        await running.filled()
        _, _, before = await running.get(first)
        quotes = tuple(quote for quote in sheet(DAYS[4], shift=3).quotes if quote.code != "JPY")
        corrected = Sheet(DAYS[4], quotes)
        bank.publish(corrected)
        await running.service.fetch(DAYS[4])
        held = running.held(DAYS[4])
        assert held.sheet.says_the_same_as(corrected)
        assert DAYS[4] not in dict(running.service.history.series("JPY", DAYS[0], FRIDAY))
        usd: Quote = corrected.by_code["USD"]
        assert dict(running.service.history.series("USD", DAYS[0], FRIDAY))[DAYS[4]] == usd.unit_rate
        assert held.number == 2
        assert (await running.get(first))[2] == before
    async with serve(settings) as running:
        await running.ready()
        assert (await running.get(first))[2] == before
        assert running.service.history.of_date(DAYS[4]) == held


async def test_memory_that_is_behind_never_widens_the_coverage(
    bank: Bank, settings: Settings, replica: Replica, other: Replica, clock: Clock
) -> None:
    """A coverage needs columns that reach as far, so a replica must not write shorter columns under it."""
    await replica.run(until=DAYS[19])
    for each in (replica, other):
        await each.read()
    await replica.run()
    later = list(workdays(date(2026, 4, 25), 3))
    bank.publish(*map(sheet, later))
    clock.moment = datetime(2026, 4, 29, 9, 0, tzinfo=UTC)
    await other.fill()
    async with replica_of(settings, clock) as cold:
        await cold.read()
    assert cold.history.coverage
    assert cold.history.days == [day for day in [*DAYS, *later] if day in cold.history.coverage]


async def test_memory_that_is_behind_repairs_no_column(
    settings: Settings, replica: Replica, other: Replica, clock: Clock
) -> None:
    """Redis lost a column. A replica that holds less of it would leave days without a record in the coverage."""
    await replica.run(until=DAYS[19])
    for each in (replica, other):
        await each.read()
    await replica.run()
    await replica.lose("R01239")
    await other.repair()
    await other.repair()
    async with replica_of(settings, clock) as cold:
        await cold.read()
    with_documents = sorted({revision.effective_date for revision in cold.history})
    assert [day for day, _ in cold.history.series("EUR", FIRST_DAY, FRIDAY)] in (with_documents, DAYS)


@pytest.mark.parametrize(
    ("since", "until", "possible"),
    [
        (DAYS[5] - timedelta(days=2), DAYS[5] - timedelta(days=1), ""),
        (FRIDAY, DAYS[5], ""),
        (date(2027, 1, 1), None, "those from 1992-07-01 to 2026-04-25 can be asked for"),
        (FIRST_DAY, date(1990, 1, 1), "those from 1992-07-01 to 2026-04-25 can be asked for"),
    ],
)
async def test_a_range_without_a_sheet_is_refused_and_forgotten(
    replica: Replica, since: date, until: date | None, possible: str
) -> None:
    """A weekend, a reversed range, days to come and days before all rates. A later run still completes all of it."""
    assert DAYS[4] < DAYS[5] - timedelta(days=2)
    with pytest.raises(RatesvcError, match=f"the Bank has no sheets from {since} to .*{possible}"):
        await replica.run(since, until)
    await replica.run()
    await replica.read()
    assert replica.history.days == DAYS


async def test_ranges_with_days_between_them_are_not_one(replica: Replica) -> None:
    """A column of other days does not cover the days between, even if the coverage was lost."""
    await replica.run(DAYS[26], DAYS[30])
    await replica.store.put_coverage(None)
    await replica.run(DAYS[0], DAYS[2])
    await replica.run(DAYS[0], DAYS[30])
    await replica.read()
    held = replica.history.coverage
    assert held == Coverage(DAYS[0], DAYS[30])
    assert [day for day in replica.history.days if day in held] == DAYS[:31]
    assert [day for day, _ in replica.history.series("EUR", held.since, held.until)] == DAYS[:31]


async def test_a_run_ends_with_the_last_requested_day(replica: Replica) -> None:
    """Also if an earlier one is held already."""
    for last in (9, 4, 12):
        await replica.run(until=DAYS[last])
    await replica.read()
    assert replica.history.coverage == Coverage(FIRST_DAY, DAYS[12])


async def test_of_two_runs_at_once_the_second_waits(bank: Bank, replica: Replica) -> None:
    """It finds that everything is held."""
    await asyncio.gather(replica.run(), replica.run())
    assert sorted(bank.series_asked) == sorted([*bank.series, *NAMELESS])


async def test_one_replica_at_a_time_fetches_history_and_a_person_goes_first(
    bank: Bank, replica: Replica, other: Replica
) -> None:
    """The holder of the lease keeps the others out. A command takes the lease; the other run ends, nothing is lost."""
    for each in (replica, other):
        await each.fetch_day(None)
    steps = replica.backfill.run()
    while (await anext(steps)).done < 3:
        pass
    with pytest.raises(NotOurTurn):
        await other.run()
    assert len(bank.series_asked) == 3
    command = other.backfill.run(at_once=True)
    await anext(command)
    with pytest.raises(NotOurTurn):
        await anext(steps)
    assert replica.backfill.progress is None
    async for _ in command:
        pass
    assert sorted(bank.series_asked) == sorted([*bank.series, *NAMELESS])
    await replica.run()


async def test_a_longer_run_completes_one_that_was_cut_off(bank: Bank, replica: Replica) -> None:
    """It asks once for each id: for the columns of the other run, only for the days before."""
    await replica.fetch_day(None)
    steps = replica.backfill.run(DAYS[20])
    while (await anext(steps)).done < 3:
        pass
    assert isinstance(steps, AsyncGenerator)
    await steps.aclose()
    first = list(bank.series_asked)
    await replica.run(since=DAYS[5])
    assert await replica.store.coverage() == Coverage(DAYS[5], FRIDAY)
    assert sorted(bank.series_asked[len(first) :]) == sorted([*bank.series, *NAMELESS])
    await replica.read()
    assert [day for day in replica.history.days if day >= DAYS[5]] == DAYS[5:]


async def test_an_error_that_ends_a_run_does_not_end_the_next(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also a bug of ours: the lease is released, and no progress is reported."""
    await replica.run(until=DAYS[30])
    await replica.read()
    mistakes = [ZeroDivisionError()]

    ask = replica.refresher.ask

    async def failing_once(day: date | None = None, *, at_once: bool = False) -> Cycle:
        if mistakes and day:
            raise mistakes.pop()
        return await ask(day, at_once=at_once)

    monkeypatch.setattr(replica.refresher, "ask", failing_once)
    with pytest.raises(ZeroDivisionError):
        await replica.run()
    assert replica.backfill.progress is None
    assert not replica.store.backfill_lease.held
    await replica.run()
    assert await replica.store.coverage() == Coverage(FIRST_DAY, FRIDAY)


async def test_a_failed_backfill_does_not_change_the_next_poll(bank: Bank, settings: Settings, serve: Serve) -> None:
    """It has its own appointment for the next try."""
    bank.series.clear()
    async with serve(settings) as running:
        jobs = running.service._schedule._scheduler.get_job  # noqa: SLF001 -- appointments are nowhere else
        await eventually(lambda: bank.series_asked and jobs("backfill"))
        now = datetime.now(UTC)
        assert timedelta(minutes=59) < jobs("poll").next_run_time - now
        assert jobs("backfill").next_run_time - now < timedelta(minutes=11)
        await running.service.poll()
        assert jobs("backfill").next_run_time - now > timedelta(minutes=9)


async def test_a_backfill_that_fails_for_redis_is_tried_again_within_seconds(
    settings: Settings, serve: Serve, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One timeout or refusal of Redis must not leave the service without history for long."""
    assert schedule.REDIS_RETRY_S < 6
    monkeypatch.setattr("ratesvc.service.app.REDIS_RETRY_S", 0.05)
    async with connect(settings.redis.url) as client:
        await client.config_set("maxmemory", 1)
        try:
            async with serve(settings) as running:
                await eventually(lambda: "backfill_failed" in capsys.readouterr().out)
                await client.config_set("maxmemory", 0)
                await running.filled()
        finally:
            await client.config_set("maxmemory", 0)


async def test_the_days_before_a_partial_history_are_fetched_too(
    settings: Settings, replica: Replica, serve: Serve
) -> None:
    """After `backfill --since` the earlier days do not answer `history_loading` for ever."""
    await replica.run(since=DAYS[20])
    async with serve(settings) as running:
        await eventually(
            lambda: running.service.history.coverage and running.service.history.coverage.since == FIRST_DAY
        )
        assert (await running.get(f"/v1/rates/{DAYS[3]}"))[0] == 200


async def test_a_lost_column_is_fetched_for_all_days(replica: Replica, other: Replica) -> None:
    """Otherwise its currency would be missing on the days that the other columns have."""
    await replica.run(since=DAYS[20])
    await replica.lose("R01239")
    await replica.fill()
    await other.read()
    assert [day for day, _ in other.history.series("EUR", FIRST_DAY, FRIDAY)] == DAYS


async def test_days_that_only_some_columns_reach_are_not_sheets(
    settings: Settings, replica: Replica, other: Replica
) -> None:
    """After a long pause series are asked for, USD first. A service that starts then must not serve parts of sheets."""
    await replica.run(until=DAYS[5])
    await replica.read()
    steps = replica.backfill.run()
    while (await anext(steps)).done < 3:
        pass
    await other.read()
    assert other.history.coverage == Coverage(FIRST_DAY, DAYS[5])
    assert [day for day in other.history.days if day <= DAYS[20]] == DAYS[:6]
    command = other.backfill.run(at_once=True)
    await anext(command)
    with pytest.raises(NotOurTurn):
        await anext(steps)
    async for _ in command:
        pass
    async with replica_of(settings, other.clock) as cold:
        await cold.read()
    assert cold.history.coverage == Coverage(FIRST_DAY, FRIDAY)
    assert [day for day, _ in cold.history.series("JPY", FIRST_DAY, FRIDAY)] == DAYS


@pytest.mark.parametrize("lost", [["R01239"], ["R01235", "R01239", "R01375"]], ids=["one", "all so far"])
async def test_a_column_that_is_lost_while_others_are_fetched_is_written_again(
    bank: Bank, replica: Replica, other: Replica, lost: list[str]
) -> None:
    """Redis fails over, or is emptied, during a run. The run completes history, and asks for each series once."""
    await replica.run(since=DAYS[20])
    await replica.read()
    asked = len(bank.series_asked)
    steps = replica.backfill.run()
    while (await anext(steps)).done < 3:
        pass
    await replica.lose(*lost)
    await replica.repair()
    async for _ in steps:
        pass
    assert sorted(bank.series_asked[asked:]) == sorted([*bank.series, *NAMELESS])
    await other.read()
    assert other.history.coverage == Coverage(FIRST_DAY, FRIDAY)
    for code in ("USD", "EUR", "CNY"):
        assert [day for day, _ in other.history.series(code, FIRST_DAY, FRIDAY)] == DAYS


async def test_an_unconfirmed_sheet_of_a_pause_waits_for_the_next_poll(
    bank: Bank, settings: Settings, serve: Serve, clock: Clock
) -> None:
    """Only a command asks the second address at once."""
    later = await _a_weeks_pause(bank, settings, serve, clock)
    moved = changed(sheet(later[2]), KZT=times("1.3"))
    bank.publish(moved)
    bank.truth[later[2]] = [moved]

    async with serve(settings) as running:
        await running.ready()
        await eventually(lambda: running.service.history.of_date(later[3]) and running.service.backfilling is None)
        assert bank.asked_in_english == 0
        assert (await running.get(f"/v1/rates/{later[2]}"))[0] == 503
        await running.service.poll()
        await eventually(lambda: running.service.history.of_date(later[2]))
        assert bank.asked_in_english == 1
        held = running.held(later[2])
        assert (held.sheet, held.flags) == (moved, ("large_move",))


async def test_ids_that_the_catalogue_does_not_list_are_in_history(
    bank: Bank, settings: Settings, serve: Serve
) -> None:
    """The catalogue names R01700 only as a parent; its daily document has the code. A document names the other."""
    old = Quote("TRL", "792", "R01700", 1000000, Decimal("22.2616"), "Турецких лир")
    unlisted = Quote("XYZ", "998", "R09999", 10, Decimal("31.4159"), "Незнакомых денег")
    for day in DAYS:
        more = [*([old] if day in DAYS[:10] else []), unlisted]
        bank.publish(Sheet(day, (*sheet(day).quotes, *more)))
    for cbr_id in ("R01700", "R09999"):
        del bank.currencies[cbr_id]
    async with serve(settings) as running:
        await running.filled()
        history = running.service.history
        assert [day for day, _ in history.series("TRL", FIRST_DAY, FRIDAY)] == DAYS[:10]
        assert [day for day, _ in history.series("XYZ", FIRST_DAY, FRIDAY)] == DAYS
        held = history.of_date(DAYS[4])
        assert held
        assert (held.sheet.by_code["TRL"], held.sheet.by_code["XYZ"]) == (old, unlisted)
        document = (await running.get(f"/v1/rates/{DAYS[4]}?codes=TRL"))[2]
        assert b'"unit_rate":0.0000222616' in document


async def test_a_parent_that_is_no_id_is_not_asked_for(bank: Bank, settings: Settings, serve: Serve) -> None:
    """The catalogue may write anything there. One odd word must not end every backfill."""
    bank.parents["R01375"] = "see R01376"
    async with serve(settings) as running:
        await running.filled()
        assert sorted(bank.series_asked) == sorted([*bank.series, *NAMELESS])


async def test_history_ends_with_the_newest_admitted_sheet(bank: Bank, settings: Settings, serve: Serve) -> None:
    """Tomorrow's document is quarantined, so its series are not asked for."""
    tomorrow = date(2026, 4, 25)
    bank.publish(sheet(tomorrow))
    bank.documents[tomorrow] = daily_xml(changed(sheet(tomorrow), USD=times("10")))
    async with serve(settings) as running:
        await running.filled()
        assert running.service.history.coverage == Coverage(FIRST_DAY, FRIDAY)
        asked = [request for request in bank.asked if request.path.endswith("XML_dynamic.asp")]
        assert {request.query["date_req2"] for request in asked} == {"24/04/2026"}


async def test_the_backfill_after_a_poll_is_no_second_poll(
    bank: Bank, settings: Settings, serve: Serve, clock: Clock
) -> None:
    """Both ask for today's sheet within seconds, too soon for the Bank to correct it. The next poll may confirm it."""
    moved = changed(sheet(FRIDAY), KZT=times("1.3"))
    bank.publish(moved, sheet(date(2026, 4, 25)))
    bank.truth[FRIDAY] = [moved]
    clock.moment = datetime(2026, 4, 24, 14, 0, tzinfo=UTC)
    async with serve(settings) as running:
        await running.ready()
        await running.filled()
        assert bank.asked_in_english == 0
        assert running.service.history.of_date(FRIDAY) is None
        await running.service.poll()
        await eventually(lambda: running.service.history.of_date(FRIDAY))


async def test_a_document_that_never_comes_delays_no_other_day(bank: Bank, settings: Settings, serve: Serve) -> None:
    """Its day is held back and asked for again after each poll. Every other day is served."""
    missing = DAYS[10]
    bank.series["R01335"][missing] = (100, Decimal("99.9999"))

    async def failing(request: web.Request) -> web.StreamResponse:
        if request.query.get("date_req") == f"{missing:%d/%m/%Y}":
            raise web.HTTPInternalServerError
        return await bank.honest(request)

    bank.misbehave = failing
    async with serve(settings) as running:
        await running.filled()
        assert running.service.history.coverage == Coverage(FIRST_DAY, FRIDAY, (missing,))
        assert (await running.get(f"/v1/rates/{DAYS[9]}"))[0] == 200
        assert (await running.get(f"/v1/rates/{missing}"))[0] == 503
        bank.misbehave = None
        await running.service.poll()
        await eventually(lambda: running.service.history.of_date(missing))


async def test_a_day_that_the_series_had_by_mistake_is_forgotten(bank: Bank, settings: Settings, serve: Serve) -> None:
    """The series have a record of a Sunday without a sheet. After the Bank removes it, Saturday's applies."""
    sunday = DAYS[5] - timedelta(days=2)
    assert sunday.isoweekday() == 7
    document = bank.documents[DAYS[4]]
    bank.series["R01235"][sunday] = (1, Decimal("99.9999"))
    bank.documents[sunday] = document
    async with serve(settings) as running:
        await running.filled()
        assert (await running.get(f"/v1/rates/{sunday}"))[0] == 503
        await run_again(running)
        assert (await running.get(f"/v1/rates/{sunday}"))[0] == 503
        del bank.series["R01235"][sunday], bank.documents[sunday]
        await run_again(running)
        status, _, body = await running.get(f"/v1/rates/{sunday}")
        assert (status, f'"effective_date":"{DAYS[4]}"'.encode() in body) == (200, True)
        assert running.service.history.coverage == Coverage(FIRST_DAY, FRIDAY)


async def test_a_column_that_is_fetched_again_is_assessed_on_all_its_days(
    bank: Bank, replica: Replica, other: Replica
) -> None:
    """Redis lost it, and by now the Bank's series is wrong about a day that was right before."""
    await replica.run(since=DAYS[20])
    bank.series["R01335"][DAYS[25]] = (100, bank.series["R01335"][DAYS[25]][1] * 10)
    await replica.lose("R01335")
    await replica.fill()
    await other.read()
    found = other.history.of_date(DAYS[25])
    assert found
    assert found.sheet.says_the_same_as(sheet(DAYS[25]))


async def test_a_currency_of_one_day_is_held_back_with_it(bank: Bank, replica: Replica) -> None:
    """Its column has no other record. If it stayed, the currency would be served with the document of that day."""
    wrong = err(bank)
    bank.series["R09999"] = {wrong: (1, Decimal("12.3456"))}
    bank.currencies["R09999"] = ("XYZ", "998", "Незнакомых денег")
    await replica.run()
    assert await replica.store.coverage() == Coverage(FIRST_DAY, FRIDAY, (wrong,))
    stored = await replica.store.column("R09999")
    assert stored is None or list(stored[0].days) == []


async def test_an_unconfirmed_day_is_remembered_without_the_coverage(
    bank: Bank, replica: Replica, other: Replica
) -> None:
    """Its figures have left the columns. If it were forgotten, the sheet before would be in force on that day."""
    wrong = err(bank)
    await replica.run()
    await replica.store.put_coverage(None)
    await other.run()
    await other.read()
    assert other.history.coverage == Coverage(FIRST_DAY, FRIDAY, (wrong,))
    assert other.history.certain_on(wrong) is None


async def test_pages_of_maintenance_do_not_fill_the_quarantine(bank: Bank, settings: Settings, serve: Serve) -> None:
    """Each contains the time, so each is another document. Many would drop documents that wait for a person."""
    missing = DAYS[10]
    bank.series["R01335"][missing] = (100, Decimal("99.9999"))
    async with serve(settings) as running:
        for n in range(3):
            bank.documents[missing] = f"<html>Maintenance, {n} o'clock</html>".encode()
            await running.filled()
            await run_again(running)
        assert running.service.history.coverage == Coverage(FIRST_DAY, FRIDAY, (missing,))
        assert await running.service.quarantine.cases() == []


async def test_a_run_after_a_range_without_admitted_sheets_succeeds(bank: Bank, replica: Replica) -> None:
    """The only sheet of the range is wrong in the series, and wrong in another way in the document."""
    wrong = err(bank)
    await replica.fetch_day(DAYS[9])
    with pytest.raises(RatesvcError, match="no sheet of that range is admitted"):
        await replica.run(wrong, wrong)
    await replica.run()
    assert await replica.store.coverage() == Coverage(FIRST_DAY, FRIDAY, (wrong,))


async def test_ids_that_an_older_version_did_not_ask_for_are_fetched_after_the_upgrade(
    bank: Bank, settings: Settings, replica: Replica, serve: Serve
) -> None:
    """Nothing else of its history is missing, so no other series is asked for again."""
    old = Quote("TRL", "792", "R01700", 1000000, Decimal("22.2616"), "Турецких лир")
    for day in DAYS[:10]:
        bank.publish(Sheet(day, (*sheet(day).quotes, old)))
    del bank.currencies["R01700"]
    await replica.run()
    await replica.lose(*NAMELESS)
    await replica.store.put_coverage(Coverage(FIRST_DAY, FRIDAY, assessed=False))
    bank.asked.clear()
    async with serve(settings) as running:
        await eventually(lambda: "TRL" in running.service.history.codes() and running.service.backfilling is None)
        assert [day for day, _ in running.service.history.series("TRL", FIRST_DAY, FRIDAY)] == DAYS[:10]
        assert sorted(bank.series_asked) == NAMELESS


async def test_no_replica_uses_the_figures_of_a_new_id_before_they_are_admitted(
    bank: Bank, replica: Replica, other: Replica
) -> None:
    """A replica may start at every step of the run; the slip is in the series alone."""
    await replica.run()
    old = Quote("TRL", "792", "R01700", 1000000, Decimal("22.2616"), "Турецких лир")
    await replica.lose(old.cbr_id)
    await replica.store.put_coverage(Coverage(FIRST_DAY, FRIDAY))
    bank.publish(*(Sheet(day, (*sheet(day).quotes, old)) for day in DAYS[:10]))
    bank.series[old.cbr_id][DAYS[5]] = (1000000, Decimal(222616))
    await replica.read()
    async for _ in replica.backfill.run(at_once=True):
        other.store.unload()
        await other.read()
        assert other.history.in_force(DAYS[5], FRIDAY).sheet.by_code.get("TRL", old) == old
    assert other.history.in_force(DAYS[5], FRIDAY).sheet.by_code["TRL"] == old


async def test_an_unreadable_document_leaves_one_id_nameless_and_history_complete(
    bank: Bank, settings: Settings, serve: Serve
) -> None:
    """Only that document has the code of a parent's id."""
    bank.series["R01700"] = {DAYS[9]: (1000000, Decimal("22.2616"))}
    bank.documents[DAYS[9]] = b"<html>Maintenance</html>"
    async with serve(settings) as running:
        await running.filled()
        assert running.service.history.coverage == Coverage(FIRST_DAY, FRIDAY)
        assert (await running.get(f"/v1/rates/{DAYS[8]}"))[0] == 200


async def damage(replica: Replica, cbr_id: str) -> None:
    """Change the last bit of a stored column."""
    client = replica.store.connection.client
    stored = await client.hget(replica.columns, cbr_id)
    assert isinstance(stored, bytes)
    await client.hset(replica.columns, cbr_id, stored[:-1] + bytes([stored[-1] ^ 1]))


async def test_a_damaged_column_costs_no_day_of_history(bank: Bank, settings: Settings, clock: Clock) -> None:
    """Also when an unconfirmed day is admitted in the same run: the columns that are left are no history."""
    wrong = err(bank)
    async with replica_of(settings, clock) as first:
        await first.run()
        await first.read()
        assert first.history.coverage
        assert first.history.coverage.unconfirmed == (wrong,)
        bank.documents[wrong] = daily_xml(sheet(wrong))
        await damage(first, "R01239")
        with pytest.raises(RatesvcError, match="lost columns"):
            await first.run()
    async with replica_of(settings, clock) as second:
        await second.run()
        await second.read()
        assert second.history.days == DAYS
        assert all("EUR" in second.history.of_date(day).sheet.by_code for day in DAYS)  # type: ignore[union-attr]


async def test_a_lost_column_ends_the_coverage(replica: Replica, other: Replica) -> None:
    """It says how many columns belong to it. With fewer it is not taken, until they are written again."""
    await replica.run()
    await replica.read()
    await replica.lose("R01239")
    await other.read()
    assert other.history.coverage is None
    await replica.repair()
    await replica.run()
    await other.read()
    assert "EUR" in other.history.of_date(DAYS[5]).sheet.by_code  # type: ignore[union-attr]


async def test_a_damaged_column_is_overwritten_where_it_is_held(replica: Replica, other: Replica) -> None:
    """It is never missing while the coverage stands."""
    await replica.run()
    await replica.read()
    await damage(replica, "R01239")
    coverage, columns = replica.history.coverage, replica.history.every_column()
    assert coverage
    assert await replica.store.repair_columns(columns, coverage, 0, 1) == 1
    assert replica.store.dropped == 1
    await other.read()
    assert other.history.coverage == coverage
    assert "EUR" in other.history.of_date(DAYS[5]).sheet.by_code  # type: ignore[union-attr]


async def test_unconfirmed_days_without_documents_keep_no_new_sheet_from_the_store(
    bank: Bank, replica: Replica, other: Replica
) -> None:
    """The run fails at its fifth unanswered document; the range that it fetched before is held."""
    await replica.run()
    await replica.read()
    lost = DAYS[5:15:2]
    for day in lost:
        replica.history.hold_back(day)
    assert replica.history.coverage
    await replica.store.put_history(replica.history.every_column(), replica.history.coverage)
    later = list(workdays(date(2026, 4, 25), 30))
    bank.publish(*map(sheet, later))
    replica.clock.moment = datetime.combine(later[-1], datetime.min.time(), UTC) + timedelta(hours=9)
    asked_in_vain = {f"{day:%d/%m/%Y}" for day in lost}

    async def silent(request: web.Request) -> web.StreamResponse:
        if request.path.endswith("XML_daily.asp") and request.query.get("date_req") in asked_in_vain:
            raise web.HTTPServiceUnavailable
        return await bank.honest(request)

    bank.misbehave = silent
    with pytest.raises(RatesvcError):
        await other.run()
    coverage = await other.store.coverage()
    assert coverage
    assert coverage.until == later[-1]
    assert coverage.unconfirmed == tuple(lost)
