"""A service under a fault, while the independent reader checks its answers all the time."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date
from itertools import cycle
from typing import Self

from conftest import Clock, Served, but, service_running

from kit.bank import Bank
from kit.dates import FRIDAY, SATURDAY
from kit.http import says
from kit.reader import Invariant
from kit.sheets import truth_of
from kit.time import eventually
from ratesvc.bank.client import DAILY, Limits
from ratesvc.config import Settings
from ratesvc.domain.workdays import moscow_day
from ratesvc.errors import FetchFailed

PATHS = ("/v1/rates", "/v1/rates/next", f"/v1/rates/{FRIDAY}", f"/v1/rates/{SATURDAY}", "/v1/rates?lang=ru")
# For faults that end by a limit of time. On a crowded machine other requests may reach it, too.
HASTY = Limits(512 * 1024, 1.0, connect_s=0.5)


@dataclass
class Watched(Served):
    """A service whose answers are checked all the time."""

    invariant: Invariant

    @classmethod
    def of(cls, served: Served, bank: Bank) -> Self:
        """The same service with a reader of its answers."""
        return cls(served.service, served.url, served.http, Invariant(truth_of(bank), served.service.clock))

    async def next_is(self, day: date) -> bool:
        """Whether tomorrow's sheet is served."""
        return await says(self, "/v1/rates/next", f'"effective_date":"{day}"'.encode())

    async def health_of(self, check: str) -> str:
        """pass, warn or fail."""
        _, _, body = await self.get("/health")
        found = json.loads(body)["checks"][check]
        return str((found[0] if isinstance(found, list) else found)["status"])

    @property
    def last_failure(self) -> FetchFailed | None:
        """Why the last refresh failed; None if it did not."""
        cycle = self.service.telemetry.last_cycle
        return cycle.failure if cycle else None

    async def fails(self, kind: str) -> None:
        """Wait until a refresh has failed with this kind."""
        await eventually(lambda: (failure := self.last_failure) and failure.kind == kind)

    async def polls(self, count: int = 2) -> None:
        """Wait for the end of `count` more polls."""
        for _ in range(count):
            last = self.service.telemetry.last_cycle
            await eventually(lambda last=last: self.service.telemetry.last_cycle is not last)  # type: ignore[misc]


@asynccontextmanager
async def watched(
    settings: Settings, bank: Bank, clock: Clock, limits: Limits = DAILY, every_s: float = 0.1
) -> AsyncIterator[Watched]:
    """It holds all sheets of the Bank, and a reader checks the invariant I on every answer while the context lasts.

    It polls every `every_s` seconds.
    """
    async with service_running(but(settings, poll_seconds=every_s), clock, limits) as running:
        served = Watched.of(running, bank)
        await served.ready()
        history = served.service.history
        await eventually(lambda: history.coverage and len(history.days) >= len(bank.truth))
        reading = asyncio.create_task(_read(served))
        try:
            yield served
        finally:
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reading
        for path in PATHS:
            await _check(served, path)
        assert served.invariant.violations == []


async def _read(served: Watched) -> None:
    for path in cycle(PATHS):
        await _check(served, path)
        await asyncio.sleep(0.005)


async def _check(served: Watched, path: str) -> None:
    asked = moscow_day(served.service.clock())
    status, headers, body = await served.get(path)
    # Asked before midnight and answered after it, it may be of either day.
    if asked == moscow_day(served.service.clock()):
        served.invariant.check(path, status, headers["Content-Type"], body)
