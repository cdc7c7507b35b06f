"""Readers that keep asking during a fault. They check the numbers of every answer and measure its time."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

import aiohttp
from conftest import LONG, eventually
from fake_bank import Bank
from invariant import Invariant
from machine import STRICT, patience
from sheets import truth_of

CHECKED = (
    *("/v1/rates", "/v1/rates/next", "/v1/rates?lang=ru", "/widget?codes=USD,EUR", "/scripts/XML_daily.asp"),
    *("/v1/series?codes=USD&since=2026-01-01", "/frankfurter/v1/latest"),
)
# The service computes their figures, or they have none.
OTHERS = ("/v1/rates?quote_currency=EUR&lang=ru", "/v1/currencies", "/readyz")
# The 99th percentile is judged where nothing else runs; elsewhere fewer answers show the same.
QUIET_ANSWERS, LEAST_ANSWERS = (400, 600) if STRICT or LONG else (100, 200)
PAUSE_S = 0.005
PATIENCE_S = 15.0

# The limit of the table, and the time of the same requests just before the fault. That no request waits for Redis is
# shown by tests/guarded.py.
MOST_P99_S = 0.05
TIMES_QUIET = 3

Get = Callable[[str], Awaitable[tuple[int, Mapping[str, str], bytes]]]


class Replica(Protocol):
    """A running service, its Bank and its clock."""

    @property
    def url(self) -> str: ...
    @property
    def bank(self) -> Bank: ...
    @property
    def now(self) -> Callable[[], datetime]: ...


def p99(seconds: Sequence[float]) -> float:
    return sorted(seconds)[int(len(seconds) * 0.99)]


@dataclass
class Load:
    """Seconds of every answer before and during the fault, and all wrong answers. `now` is the list of the moment."""

    invariant: Invariant
    quiet: list[float] = field(default_factory=list)
    during: list[float] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    is_going: bool = True

    def __post_init__(self) -> None:
        self.now = self.quiet

    async def lasts(self, answers: int = LEAST_ANSWERS) -> None:
        """Wait for so many more answers."""
        wanted = len(self.now) + answers
        await eventually(lambda: len(self.now) >= wanted)

    async def ends(self) -> None:
        """Wait for enough answers under the fault. Later answers belong to the recovery, which has no limit."""
        await self.lasts(max(0, LEAST_ANSWERS - len(self.during)))
        self.now = []

    def judge(self) -> None:
        """Check all answers at the end."""
        quiet_s, during_s = p99(self.quiet), p99(self.during)
        limit_s = MOST_P99_S * patience() + TIMES_QUIET * quiet_s
        print(  # noqa: T201 -- the figures are the point
            f"\n  {len(self.during)} answers during the fault: p99 {during_s * 1000:.1f} ms of {limit_s * 1000:.0f},"
            f" longest {max(self.during) * 1000:.0f} ms; quiet p99 {quiet_s * 1000:.1f} ms"
        )
        assert not self.invariant.violations, self.invariant.violations
        assert not self.refused, self.refused
        assert len(self.during) >= LEAST_ANSWERS
        assert during_s < limit_s

    def answered(self, path: str, answer: aiohttp.ClientResponse, body: bytes, seconds: float) -> None:
        self.now.append(seconds)
        if answer.status != 200 and (path, answer.status) != ("/v1/rates/next", 404):
            self.refused[f"{path} {answer.status}"] += 1
        if path not in OTHERS:
            self.invariant.check(path, answer.status, answer.headers.get("Content-Type", ""), body)


@asynccontextmanager
async def under_load(served: Replica, readers: int = 2) -> AsyncIterator[Load]:
    """No reader waits longer than without the fault or gets an error, and every answer keeps the invariant I.

    It begins with a measurement without the fault, which then lasts until `Load.ends` or the end of the context.
    """
    load = Load(Invariant(truth_of(served.bank), served.now))
    paths = (*CHECKED, f"/v1/rates/{sorted(served.bank.truth)[1]}", *OTHERS)

    async def read(http: aiohttp.ClientSession, number: int) -> None:
        while load.is_going:
            path = paths[number % len(paths)]
            begun = time.monotonic()
            async with http.get(served.url + path) as answer:
                body = await answer.read()
            load.answered(path, answer, body, time.monotonic() - begun)
            number += 1
            await asyncio.sleep(PAUSE_S)

    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE_S)) as http:
        for path in paths:  # the first request of each kind takes longer
            async with http.get(served.url + path) as answer:
                await answer.read()
        tasks = [asyncio.create_task(read(http, number)) for number in range(readers)]
        try:
            await load.lasts(QUIET_ANSWERS)
            load.now = load.during
            yield load
            await load.ends()
        finally:
            load.is_going = False
            # A reader without an answer raises its error here.
            await asyncio.gather(*tasks)
    load.judge()


async def look(get: Get, reader: Invariant) -> set[int]:
    """Request every checked path once. Returns the statuses."""
    statuses = set()
    for path in CHECKED:
        status, headers, body = await get(path)
        reader.check(path, status, headers.get("Content-Type", ""), body)
        statuses.add(status)
    assert not reader.violations, reader.violations
    return statuses
