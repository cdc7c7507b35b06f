"""Table F: a soak, ten thousand refreshes, and three years on a clock that tests set."""

from __future__ import annotations

import os
import time
from datetime import date, datetime, timedelta
from datetime import time as clock_time
from pathlib import Path
from random import Random

import pytest
from conftest import LONG, Clock, Serve, eventually
from kit.bank import Bank
from kit.ledger import Fault
from kit.sheets import plausible
from redis.asyncio import from_url
from soak import soak

from ratesvc.config import Settings
from ratesvc.domain.workdays import MOSCOW, ONE_DAY, WorkCalendar

pytestmark = pytest.mark.nightly

YEARS = 3 if LONG else 1
FIRST, LAST = date(2027 - YEARS, 1, 1), date(2026, 12, 31)
ABSENT = 100 * YEARS // 3
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
    last = WorkCalendar().effective_date_on_or_before(FIRST - ONE_DAY)
    before = [WorkCalendar().effective_date_on_or_before(last - ONE_DAY), last]
    bank.publish(*map(plausible, before))
    clock.moment = datetime.combine(FIRST - ONE_DAY, clock_time(12), MOSCOW)
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
