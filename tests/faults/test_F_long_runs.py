"""Table F: a soak, ten thousand refreshes, and three years on a clock that tests set."""

from __future__ import annotations

import os
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from random import Random
from statistics import median

import pytest
from conftest import LONG, Clock, Serve, eventually
from kit.bank import Bank
from kit.ledger import Fault
from kit.sheets import changed, plausible, times
from redis.asyncio import from_url
from soak import soak

from ratesvc.config import Settings
from ratesvc.domain.history import History
from ratesvc.domain.workdays import MOSCOW, ONE_DAY
from ratesvc.features.events.place import Place, Stamp, missed

pytestmark = pytest.mark.nightly

FIRST, LAST = date(2024, 1, 1), date(2026, 12, 31)
ABSENT = 100
# `make nightly ARGS=soak` says how long, and in which order.
MINUTES = float(os.environ.get("SOAK_MINUTES") or (10 if LONG else 0.3))
SEED = int(os.environ.get("SOAK_SEED") or 7)
A_SECOND = 100 if MINUTES > 1 else 50


async def test_F7_one_fault_after_another(bank: Bank, tmp_path: Path, fault: Fault) -> None:
    """Two replicas under one fault after another: every answer is right, only a kill loses requests, nothing grows.

    As `make nightly ARGS=soak`; without LONG_FAULTS it is over after a few faults.
    """
    over = await soak(bank, MINUTES, SEED, A_SECOND, tmp_path)
    fault.measured("; ".join([f"{MINUTES:g} minutes, seed {SEED}", *over.figures]))
    assert over.violations == []


async def test_F9_three_years(bank: Bank, settings: Settings, serve_whole: Serve, clock: Clock, fault: Fault) -> None:
    """Three years: each sheet is stored once, no false alarm, each of 100 missing sheets is reported that evening."""
    begun = time.monotonic()
    before = [date(2023, 12, 29), date(2023, 12, 30)]
    bank.publish(*map(plausible, before))
    clock.moment = datetime(2023, 12, 31, 12, tzinfo=MOSCOW)
    async with serve_whole() as served:
        calendar = served.service.history.calendar
        days = [FIRST + timedelta(days=n) for n in range((LAST - FIRST).days + 1)]
        due = [day + ONE_DAY for day in days if calendar.is_effective_date(day + ONE_DAY)]
        # Of every six one, so that each is told from the next.
        absent = {Random(number).choice(due[7 * number + 3 : 7 * number + 9]) for number in range(ABSENT)}  # noqa: S311
        comes = set(due) - absent
        for day in days:
            following = day + ONE_DAY
            if following in comes:
                bank.publish(plausible(following))
            clock.moment = datetime(day.year, day.month, day.day, 21, 30, tzinfo=MOSCOW)
            served.service.publish()
            assert (await served.service.refresh()).outcome in ("new", "unchanged"), day
            await eventually(lambda day=following: day not in comes or served.service.history.of_date(day))  # type: ignore[misc]
            found = served.service.health()["cbr:sheet"]
            if calendar.effective_date_on_or_before(day) in absent:
                expected = "fail"
            else:
                expected = "warn" if following in absent else "pass"
            assert found["status"] == expected, (day, found)
            assert found["publicationsMissed"] >= (following in absent), (day, found)
            bank.asked.clear()
        async with from_url(settings.redis.url) as client:
            names = await client.hkeys(f"{{{settings.redis.namespace}}}:v2:sheets")
        assert sorted(names) == [f"{day}.1".encode() for day in sorted({*before, *comes})]
        assert set(served.service.history.days) == {*before, *comes}
    fault.measured(f"{time.monotonic() - begun:.0f} s")


async def test_F10_a_year_with_corrections(bank: Bank, serve: Serve, clock: Clock, fault: Fault) -> None:
    """A year of two replicas, which restart in turn: each correction of an older sheet is served and told in a day."""
    chance, asked, corrected = Random(10), [], 0  # noqa: S311 -- the same year each time
    bank.publish(*map(plausible, (date(2024, 12, day) for day in (25, 26, 27, 28, 29, 31))))
    clock.moment = datetime(2025, 1, 1, 12, tzinfo=MOSCOW)
    async with AsyncExitStack() as stack:
        replicas = [Restarting(serve, stack) for _ in range(2)]
        for replica in replicas:
            await replica.restart()
        calendar = replicas[0].served.service.history.calendar
        place = Place.of(date(2024, 12, 31), [Stamp(date(2024, 12, 31))])
        for day in (date(2025, 1, 2) + timedelta(days=n) for n in range(363)):
            wrong = None
            if day.day == 20:
                held = replicas[0].served.service.history.days
                wrong = held[-chance.randrange(2, 6)]
                bank.publish(changed(plausible(wrong), PLN=times("1.01")))
                corrected += 1
            if day.day % 10 == 5:
                await replicas[day.day % 20 // 10].restart()
            if calendar.is_effective_date(day + ONE_DAY):
                bank.publish(plausible(day + ONE_DAY))
            bank.asked.clear()
            for hour in (0, 9, 17, 18, 20):
                clock.moment = datetime(day.year, day.month, day.day, hour, 30, tzinfo=MOSCOW)
                for replica in replicas:
                    await replica.served.service.poll()
            asked.append(len(bank.asked))
            for replica in replicas:
                await eventually(lambda replica=replica: _has_all(replica.served.service.history, bank))  # type: ignore[misc]
            service = replicas[day.day % 2].served.service
            current = service.current_snapshot()
            assert current
            events = list(missed(place, service.history, current))
            assert [event.sheet[:2] for event in events if event.kind == "revision" and event.sheet] == (
                [(wrong, 2)] if wrong else []
            )
            place = events[-1].place if events else place
    fault.measured(f"{corrected} corrections; requests a day: median {median(asked)}, at most {max(asked)}, of 5 polls")


@dataclass
class Restarting:
    """A replica that is stopped and started again."""

    serve: Serve
    stack: AsyncExitStack
    running: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def restart(self) -> None:
        await self.running.aclose()
        self.running = await self.stack.enter_async_context(AsyncExitStack())
        self.served = await self.running.enter_async_context(self.serve())
        await self.served.ready()


def _has_all(history: History, bank: Bank) -> bool:
    """Whether the latest figures of every published sheet are held."""
    last = {day: sheets[-1] for day, sheets in bank.truth.items() if day in history.days or day >= date(2025, 1, 2)}
    return all((held := history.of_date(day)) and held.sheet.says_the_same_as(sheet) for day, sheet in last.items())
