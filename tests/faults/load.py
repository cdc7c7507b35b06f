"""Readers that keep asking during a fault. They check the numbers of every answer and measure its time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from conftest import LONG, eventually
from fake_bank import Bank
from fleet import Readers
from invariant import Invariant
from loopback import fetched
from machine import STRICT, limit_s

CHECKED = (
    *("/v1/rates", "/v1/rates/next", "/v1/rates?lang=ru", "/widget?codes=USD,EUR", "/scripts/XML_daily.asp"),
    *("/v1/series?codes=USD&since=2026-01-01", "/frankfurter/v1/latest"),
)
# The service computes their figures, or they have none.
OTHERS = ("/v1/rates?quote_currency=EUR&lang=ru", "/v1/currencies", "/readyz")
# The 99th percentile is judged where nothing else runs; elsewhere fewer answers show the same.
QUIET_ANSWERS, LEAST_ANSWERS = (400, 600) if STRICT or LONG else (100, 200)
READERS, PER_SECOND = 2, 250.0

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
    """Seconds of every answer before and during the fault. The readers have all wrong answers."""

    readers: Readers
    quiet: list[float] = field(default_factory=list)
    during: list[float] = field(default_factory=list)

    async def lasts(self, answers: int = LEAST_ANSWERS) -> None:
        """Wait for so many more answers."""
        wanted = len(self.readers.taken) + answers
        await eventually(lambda: len(self.readers.taken) >= wanted)

    async def ends(self) -> None:
        """Wait for enough answers under the fault. Later answers belong to the recovery, which has no limit."""
        await self.lasts(max(0, LEAST_ANSWERS - len(self.during)))
        self.readers.taken = []

    def judge(self) -> None:
        """Check all answers at the end."""
        quiet_s, during_s = p99(self.quiet), p99(self.during)
        most_s = limit_s(MOST_P99_S) + TIMES_QUIET * quiet_s
        print(  # noqa: T201 -- the figures are the point
            f"\n  {len(self.during)} answers during the fault: p99 {during_s * 1000:.1f} ms of {most_s * 1000:.0f},"
            f" longest {max(self.during) * 1000:.0f} ms; quiet p99 {quiet_s * 1000:.1f} ms"
        )
        assert self.readers.violations == []
        assert self.readers.lost == 0, self.readers.answers
        assert len(self.during) >= LEAST_ANSWERS
        assert during_s < most_s


@asynccontextmanager
async def under_load(served: Replica) -> AsyncIterator[Load]:
    """No reader waits longer than without the fault or gets an error, and every answer keeps the invariant I.

    It begins with a measurement without the fault, which then lasts until `Load.ends` or the end of the context.
    """
    paths = (*CHECKED, f"/v1/rates/{sorted(served.bank.truth)[1]}", *OTHERS)
    for path in paths:  # the first request of each kind takes longer
        await fetched(served.url + path)
    load = Load(Readers(served.url, served.bank, PER_SECOND, paths, READERS, "alone", OTHERS, served.now))
    load.readers.taken = load.quiet
    async with load.readers as readers:
        await load.lasts(QUIET_ANSWERS)
        readers.taken = load.during
        yield load
        await load.ends()
        await readers.rest()
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
