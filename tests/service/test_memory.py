"""Nothing that is asked, heard or fetched stays in memory for good."""

from __future__ import annotations

import gc
import tracemalloc
from datetime import UTC, date, datetime, time
from itertools import count, pairwise

import pytest
from conftest import Clock, Served, eventually
from fake_bank import Bank, sheet, workdays
from listener import reading

ROUNDS, WARM = 6, 3
TARGETS, STREAMS = 200, 10
MOST_GROWTH = 150_000
"""Bytes in three rounds, of which three more sheets in history are some thirty thousand."""


def targets(round_: int) -> list[str]:
    """New request targets for each round."""
    kinds = (
        "/v1/convert?amount={}&from=USD&to=CNY",
        "/widget/rows.json?codes=USD&heading={}",
        "/v1/series?codes=USD&since=2026-04-01&_={}",
        "/nowhere/{}",
    )
    return [kinds[number % 4].format(round_ * TARGETS + number + 1) for number in range(TARGETS)]


@pytest.mark.slow
async def test_memory_does_not_grow(served: Served, bank: Bank, clock: Clock) -> None:
    """Each round has a new sheet, two hundred new targets, streams that come and go, and the next day."""
    used = []
    tracemalloc.start()
    for number, day in zip(count(), workdays(date(2026, 4, 25), ROUNDS), strict=False):
        bank.publish(sheet(day))
        clock.moment = datetime.combine(day, time(9), UTC)
        await served.service.refresh()
        await eventually(lambda day=day: served.service.history.of_date(day))  # type: ignore[misc]
        for target in targets(number):
            assert (await served.get(target))[0] in (200, 404), target
        for _ in range(STREAMS):
            async with reading(served.url):
                pass
        bank.asked.clear()
        gc.collect()
        used.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    print([f"{after - before:+}" for before, after in pairwise(used)])  # noqa: T201 -- figures
    assert used[-1] - used[WARM - 1] <= MOST_GROWTH, used
