"""The event log of a replica: one log of all replicas, whatever Redis loses or refuses."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime

import pytest
from fake_bank import sheet

from ratesvc.config import Settings
from ratesvc.domain.events import Event, Place
from ratesvc.domain.history import History, snapshot
from ratesvc.domain.rates import Revision
from ratesvc.domain.workdays import WorkCalendar
from ratesvc.errors import StoreUnavailable
from ratesvc.service.event_log import SharedLog
from ratesvc.storage.redis import RedisConnection, connect
from ratesvc.storage.store import Store

THURSDAY, FRIDAY, SATURDAY = (date(2026, 4, day) for day in (23, 24, 25))
FIRST = ["1-2026-04-24.1-d1bba6b1", "2-2026-04-24.1-1456b0bd"]


async def nothing() -> None:
    """Load nothing."""


async def two_sheets_in(store: Store) -> SharedLog:
    """The log of a replica that holds Thursday's and Friday's; it is updated when the test says so."""
    noon = datetime(2026, 4, 24, 9, tzinfo=UTC)
    history = History(WorkCalendar(), [await store.put(Revision(sheet(day), 1, noon)) for day in (THURSDAY, FRIDAY)])
    await store.load()
    return SharedLog(history, lambda: snapshot(history, noon), nothing)


async def test_a_redis_that_went_back_in_time_gets_the_rest(settings: Settings, store: Store) -> None:
    """It holds nothing, or the beginning of what the replica holds: the rest is put behind that."""
    log = await two_sheets_in(store)
    await log.update(store)
    told = list(log.log)
    assert [str(event.place) for event in told] == FIRST
    for kept in (0, 1):
        await log_lost(settings)
        await store.append_events(told[:kept], 0)
        await log.update(store)
        assert list(log.log) == await store.events(0) == told


async def test_two_logs_are_never_mixed(settings: Settings, store: Store) -> None:
    """Another replica tells between one's reading of an empty Redis and its putting back: that log counts for both."""
    other = [Event("sheet", Place(1, SATURDAY, 1, "0" * 8))]

    class Overtaken(Store):
        async def append_events(self, events: Iterable[Event], after: int) -> None:
            """The other replica's come first."""
            await super().append_events(other, 0)
            await super().append_events(events, after)

    log = await two_sheets_in(store)
    await log.update(store)
    await log_lost(settings)
    overtaken = Overtaken(RedisConnection(settings.redis.url), settings.redis.namespace)
    await log.update(overtaken)
    await overtaken.close()
    assert list(log.log) == await store.events(0) == other
    await log.update(store)
    assert [event.kind for event in log.log] == ["sheet", "in_force"]
    assert list(log.log) == await store.events(0)


async def log_lost(settings: Settings) -> None:
    """Redis loses the events alone."""
    client = connect(settings.redis.url)
    await client.delete(f"{{{settings.redis.namespace}}}:v2:events")
    await client.aclose()


async def test_what_redis_does_not_take_is_not_told(settings: Settings) -> None:
    """A full or read-only Redis is an error that is logged, never an event that only one replica knows."""

    class Full(Store):
        async def append_events(self, events: Iterable[Event], after: int) -> None:
            """Refuse everything."""

    full = Full(RedisConnection(settings.redis.url), settings.redis.namespace)
    log = await two_sheets_in(full)
    with pytest.raises(StoreUnavailable):
        await log.update(full)
    await full.close()
    assert (log.log.known, list(log.log)) == (True, [])
