"""Readers who go on asking while something is broken, and what they saw."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from conftest import Served

PATHS = (
    "/v1/rates",
    "/v1/rates?quote=EUR&lang=ru",
    "/v1/series?codes=USD&since=2026-03-10",
    "/v1/currencies",
    "/readyz",
)
MOST_P99_S = 0.5


@dataclass
class Load:
    """Seconds of every answer, and the statuses."""

    seconds: list[float] = field(default_factory=list)
    statuses: set[int] = field(default_factory=set)

    @property
    def p99_s(self) -> float:
        return sorted(self.seconds)[int(len(self.seconds) * 0.99)]


@asynccontextmanager
async def under_load(served: Served, readers: int = 4) -> AsyncIterator[Load]:
    """Nobody waits longer than the machine makes them, and nobody gets an error."""
    load = Load()

    async def read(number: int) -> None:
        while True:
            begun = time.monotonic()
            status, _, _ = await served.get(PATHS[number % len(PATHS)])
            load.seconds.append(time.monotonic() - begun)
            load.statuses.add(status)
            number += 1
            await asyncio.sleep(0.005)

    for number in range(len(PATHS)):
        await served.get(PATHS[number])
    tasks = [asyncio.create_task(read(number)) for number in range(readers)]
    try:
        yield load
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    print(f"\n  {len(load.seconds)} answers, p99 {load.p99_s * 1000:.1f} ms")  # noqa: T201 -- the figure is the point
    assert load.statuses == {200}
    assert load.p99_s < MOST_P99_S
