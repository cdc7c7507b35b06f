"""A service under a fault, while the independent reader checks its answers all the time."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date

from conftest import Clock, Served, but, service_running

from kit.bank import Bank
from kit.dates import FRIDAY, SATURDAY
from kit.http import says
from kit.reader import Readers
from kit.time import eventually
from ratesvc.bank.client import DAILY, Limits
from ratesvc.config import Settings
from ratesvc.errors import FetchFailed

PATHS = ("/v1/rates", "/v1/rates/next", f"/v1/rates/{FRIDAY}", f"/v1/rates/{SATURDAY}", "/v1/rates?lang=ru")
# For faults that end by a limit of time. On a crowded machine other requests may reach it, too.
HASTY = Limits(512 * 1024, 1.0, connect_s=0.5)


class Watched(Served):
    """A service whose answers are checked all the time."""

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
        served = Watched(running.service, running.url, running.http)
        await served.ready()
        history = served.service.history
        await eventually(lambda: history.coverage and len(history.days) >= len(bank.truth))
        async with Readers(served.url, bank.truth, 200.0, PATHS, 1, "alone", now=served.service.clock) as readers:
            yield served
            asked = len(readers.taken)
            await eventually(lambda: len(readers.taken) > asked + len(PATHS))
        assert readers.violations == []
