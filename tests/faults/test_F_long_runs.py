"""Table F: a soak, ten thousand refreshes, and three years on a clock that tests set."""

from __future__ import annotations

import gc
import time
import tracemalloc
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from random import Random

import pytest
from conftest import LONG, Clock, Serve, Served, eventually
from fake_bank import Bank, sheet
from ledger import Fault
from redis.asyncio import from_url
from sheets import plausible
from soak import soak
from watched import polling

from ratesvc.config import Settings
from ratesvc.domain.workdays import MOSCOW, ONE_DAY

pytestmark = [pytest.mark.faults, pytest.mark.slow]

FIRST, LAST = date(2024, 1, 1), date(2026, 12, 31)
ABSENT = 100
MINUTES, A_SECOND, SEED = (10, 100, 7) if LONG else (0.3, 50, 7)
CYCLES = 10_000 if LONG else 2_000
MOST_GROWTH = 200_000


@dataclass
class Years:
    """A replica on the clock, day after day, and what its health said of the sheets."""

    served: Served
    bank: Bank
    clock: Clock
    absent: set[date]
    held: set[date] = field(default_factory=set)
    alarms: int = 0

    async def pass_day(self, day: date) -> None:
        """From one minute after midnight to half past nine in the evening."""
        calendar = self.served.service.history.calendar
        await self._look(day, 0, 1)
        following = day + ONE_DAY
        if calendar.is_effective_date(following):
            if following not in self.absent:
                self.bank.publish(plausible(following))
            await self._look(day, 16, 3, refresh=True)
            if following not in self.absent:
                await eventually(lambda: self.served.service.history.of_date(following))
                self.held.add(following)
            await self._look(day, 18, 30)
        await self._look(day, 21, 30, refresh=True)

    async def _look(self, day: date, hour: int, minute: int, *, refresh: bool = False) -> None:
        self.clock.moment = datetime(day.year, day.month, day.day, hour, minute, tzinfo=MOSCOW)
        service = self.served.service
        service.publish()
        if refresh:
            cycle = await service.refresh()
            assert cycle.outcome in ("new", "unchanged"), (self.clock.moment, cycle)
        found = service.health()["cbr:sheet"]
        expected = self._expected(day, hour)
        assert found["status"] == expected, (self.clock.moment, found)
        self.alarms += expected == "fail"
        assert service.publisher.current
        assert service.publisher.current.snapshot.stale is (expected == "fail"), self.clock.moment
        if hour == 21 and day + ONE_DAY in self.absent:
            assert found["publicationsMissed"] >= 1

    def _expected(self, day: date, hour: int) -> str:
        """By who knows which sheets do not come."""
        calendar = self.served.service.history.calendar
        if calendar.effective_date_on_or_before(day) in self.absent:
            return "fail"
        return "warn" if hour >= 18 and day + ONE_DAY in self.absent else "pass"


async def test_F7_one_fault_after_another(tmp_path: Path, fault: Fault) -> None:
    """Two replicas under one fault after another: every answer is right, only a kill loses requests, nothing grows.

    As `make soak`; without LONG_FAULTS it is over after a few faults.
    """
    over = await soak(MINUTES, SEED, A_SECOND, tmp_path)
    fault.measured("; ".join([f"{MINUTES:g} minutes, seed {SEED}", *over.figures]))
    assert over.violations == []


async def test_F9_three_years(bank: Bank, settings: Settings, serve: Serve, clock: Clock, fault: Fault) -> None:
    """Three years: each sheet is stored once, no false alarm, each of 100 missing sheets is reported that evening."""
    begun = time.monotonic()
    before = [date(2023, 12, 29), date(2023, 12, 30)]
    bank.publish(*map(plausible, before))
    clock.moment = datetime(2023, 12, 31, 12, tzinfo=MOSCOW)
    async with serve(polling(settings, bank.url, 86400)) as served:
        await served.filled()
        calendar = served.service.history.calendar
        days = [FIRST + timedelta(days=n) for n in range((LAST - FIRST).days + 1)]
        due = [day + ONE_DAY for day in days if calendar.is_effective_date(day + ONE_DAY)]
        # Of every six one, so that each is told from the next.
        absent = {Random(number).choice(due[7 * number + 3 : 7 * number + 9]) for number in range(ABSENT)}  # noqa: S311
        years = Years(served, bank, clock, absent)
        for day in days:
            await years.pass_day(day)
            bank.asked.clear()
        assert len(absent) == ABSENT
        assert years.alarms >= 2 * ABSENT
        assert years.held == set(due) - absent
        async with from_url(settings.redis.url) as client:
            names = await client.hkeys(f"{{{settings.redis.namespace}}}:v1:sheets")
        assert sorted(names) == [f"{day}.1".encode() for day in sorted({*before, *years.held})]
        assert set(served.service.history.days) == {*before, *years.held}
    fault.measured(f"{time.monotonic() - begun:.0f} s")


async def test_F8_ten_thousand_refreshes(
    bank: Bank, settings: Settings, serve: Serve, clock: Clock, fault: Fault
) -> None:
    """Ten thousand refreshes, two thousand in a short run: memory does not grow."""
    bank.publish(sheet(date(2026, 4, 23)), sheet(date(2026, 4, 24)))
    async with serve(polling(settings, bank.url, 86400)) as served:
        await served.filled()

        async def refresh(count: int) -> None:
            for _ in range(count):
                clock.advance(milliseconds=1)
                assert (await served.service.refresh()).outcome == "unchanged"
                bank.asked.clear()

        await refresh(500)
        tracemalloc.start()
        await refresh(100)
        begun = _traced()
        await refresh(CYCLES)
        grown = _traced() - begun
        tracemalloc.stop()
        fault.measured(f"{grown} bytes after {CYCLES} refreshes")
        assert grown <= MOST_GROWTH


def _traced() -> int:
    """Bytes in use, but for the interpreter's table of names, which doubles when anybody adds one too many."""
    gc.collect()
    table = tracemalloc.Filter(inclusive=False, filename_pattern="*/pathlib*")
    return sum(found.size for found in tracemalloc.take_snapshot().filter_traces([table]).statistics("filename"))
