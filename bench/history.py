"""Figures for history in memory: time and memory for 340,000 quotes, printed and never asserted.

PYTHONPATH=. .venv/bin/python bench/history.py
"""

from __future__ import annotations

import asyncio
import gc
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from ratesvc.domain.columns import Column, Coverage, Currency
from ratesvc.domain.history import History
from ratesvc.domain.rates import FIRST_DAY, InForce
from ratesvc.domain.workdays import WorkCalendar
from ratesvc.render import json, series
from ratesvc.render.language import language_or_default
from ratesvc.service.publication import Body
from ratesvc.storage.embedded import find_server
from ratesvc.storage.redis import RedisConnection
from ratesvc.storage.store import Store

CURRENCIES, SHEETS = 50, 6800
NOW = datetime(2026, 4, 24, 9, tzinfo=UTC)
DAYS = [FIRST_DAY + timedelta(days=n * 12344 // SHEETS) for n in range(SHEETS)]


def columns() -> list[Column]:
    """340,000 made-up quotes; USD among them, since its days are the sheets'."""
    made = []
    for number in range(CURRENCIES):
        code = "USD" if number == 0 else f"A{chr(65 + number // 26)}{chr(65 + number % 26)}"
        column = Column(Currency(f"R{number:05}", f"R{number:05}", code, f"{number:03}", code), NOW)
        for place, day in enumerate(DAYS):
            column.put(day, 1, Decimal(100000 + place * 7 + number).scaleb(-4))
        made.append(column)
    return made


def milliseconds(work: Callable[[], object], times: int = 21) -> str:
    """The median of so many runs, and the slowest."""
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        work()
        taken.append((time.perf_counter() - begun) * 1000)
    return f"{statistics.median(taken):8.3f} ms   (slowest {max(taken):.3f})"


async def main() -> None:
    """Print the table."""
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    history = History(WorkCalendar())
    made = columns()
    history.fill(made, Coverage(DAYS[0], DAYS[-1]))
    gc.collect()
    print(
        f"memory of {CURRENCIES * SHEETS:,} quotes      {(tracemalloc.get_traced_memory()[0] - before) / 1e6:8.1f} MB"
    )
    tracemalloc.stop()

    asked = series.SeriesParams(("USD",), DAYS[0], DAYS[-1])
    crossed = series.SeriesParams(("USD",), DAYS[0], DAYS[-1], quote="AAB")
    english, today = language_or_default("en"), DAYS[-1]

    def whole(request: series.SeriesParams) -> bytes:
        return series.to_json(request, history, today, demo=False)

    print(f"series, {SHEETS} points, cold       {milliseconds(lambda: whole(asked))}   {len(whole(asked)):,} bytes")
    print(f"series in another quote, cold    {milliseconds(lambda: whole(crossed))}")
    body = Body(whole(asked), "application/json")
    print(f"compressing it once, br and gzip {milliseconds(lambda: Body(body.content, 'x').encodings, 5)}")
    day = iter(range(10, 400))
    print(f"a single day, composed           {milliseconds(lambda: history.of_date(DAYS[next(day)]))}")
    answered = history.of_date(DAYS[1000])
    assert answered
    answer = InForce(DAYS[1000], answered, history.of_date(DAYS[999]), None)
    print(f"a single day as JSON             {milliseconds(lambda: json.rates(answer, english))}")

    folder = Path(tempfile.mkdtemp())
    command = [str(find_server()), "--port", "0", "--unixsocket", str(folder / "s"), "--save", "", "--dir", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while not (folder / "s").exists():
            await asyncio.sleep(0.01)
        store = Store(RedisConnection(f"unix://{folder}/s"), "bench")
        for column in made:
            await store.put_columns([column], Coverage(DAYS[0], DAYS[-1]))
        await store.put_coverage(Coverage(DAYS[0], DAYS[-1]))
        begun = time.perf_counter()
        loaded = await store.load()
        assert loaded.coverage
        History(WorkCalendar()).fill(loaded.columns, loaded.coverage)
        print(f"loading all of it from Redis     {(time.perf_counter() - begun) * 1000:8.3f} ms")
        await store.close()
        process.terminate()
    shutil.rmtree(folder)
    print(f"peak of this process             {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:8.1f} MB")


if __name__ == "__main__":
    asyncio.run(main())
