"""Memory and Redis kept alike: each gets from the other what it lacks, and neither takes the worse for the better."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date

import pytest
from conftest import Clock, Serve, Served, eventually, unhurried
from fake_bank import Bank, sheet, workdays
from redis.asyncio import Redis

from ratesvc.config import Settings
from ratesvc.domain.columns import Coverage
from ratesvc.domain.rates import FIRST_DAY
from ratesvc.service.app import Service
from ratesvc.storage.redis import RedisConnection
from ratesvc.storage.store import Store

FRIDAY = date(2026, 4, 24)
DAYS = list(workdays(date(2026, 4, 7), 14))


@pytest.fixture
async def served(bank: Bank, settings: Settings, serve: Serve) -> AsyncIterator[Served]:
    """It holds three weeks as columns, the last two of their sheets as documents, and has nothing to do by itself."""
    bank.publish(*map(sheet, DAYS))
    assert DAYS[-1] == FRIDAY
    async with serve(unhurried(settings)) as running:
        await running.ready()
        await eventually(lambda: running.service.history.coverage and running.service.backfilling is None)
        await eventually(lambda: len(running.service.history) >= 2)
        yield running


@pytest.fixture
async def redis(settings: Settings) -> AsyncIterator[Redis]:
    """The server itself, past our own words for it."""
    async with Redis.from_url(settings.redis.url) as client:
        yield client


async def keys(redis: Redis, settings: Settings) -> list[bytes]:
    """All of this service's."""
    return [key async for key in redis.scan_iter(match=f"*{settings.redis.namespace}*", count=1000)]


async def holds(settings: Settings, clock: Clock) -> tuple[list[date], Coverage | None, list[date]]:
    """What a replica finds that starts now: its documents, its coverage, and the days of the dollar."""
    async with Service(settings, clock=clock, scheduled=False) as cold:
        history = cold.history
        dollars = [day for day, _ in history.series("USD", FIRST_DAY, FRIDAY)]
        return [one.effective_date for one in history], history.coverage, dollars


async def test_what_redis_lost_is_given_back(served: Served, redis: Redis, settings: Settings, clock: Clock) -> None:
    """Documents, columns and the coverage, as a replica finds them that starts afterwards."""
    before = await holds(settings, clock)
    assert before == ([one.effective_date for one in served.service.history], Coverage(FIRST_DAY, FRIDAY), DAYS)
    await redis.delete(*await keys(redis, settings))
    assert await holds(settings, clock) == ([], None, [])

    async def is_back() -> bool:
        await served.service.poll()
        return await holds(settings, clock) == before

    await eventually(is_back)


async def test_what_nobody_can_read_is_dropped(served: Served, redis: Redis, settings: Settings) -> None:
    """Under the name of a sheet that never was; what verifies stays."""
    sheets = [key for key in await keys(redis, settings) if await redis.type(key) == b"hash"]
    found = {key: await redis.hgetall(key) for key in sheets}
    [key] = [key for key, fields in found.items() if f"{FRIDAY}.1".encode() in fields]
    await redis.hset(key, "2026-04-20.9", b"garbage")

    async def is_gone() -> bool:
        await served.service.poll()
        return not await redis.hexists(key, "2026-04-20.9")

    await eventually(is_gone)
    assert await redis.hgetall(key) == found[key]


async def test_another_type_under_our_key_makes_room(
    served: Served, redis: Redis, settings: Settings, clock: Clock
) -> None:
    """It was written by mistake: it is deleted, and ours is given back."""
    before = await holds(settings, clock)
    [hashes] = [[key for key in await keys(redis, settings) if await redis.type(key) == b"hash"]]
    for key in hashes:
        await redis.set(key, "a mistake")

    async def is_ours() -> bool:
        await served.service.poll()
        return await holds(settings, clock) == before

    await eventually(is_ours)


async def test_a_master_that_knows_less_is_given_ours(served: Served, settings: Settings, clock: Clock) -> None:
    """Its shorter range is not taken: memory goes on answering every day, and Redis has the whole range again."""
    store = Store(RedisConnection(settings.redis.url), settings.redis.namespace)
    try:
        await store.coverage.put(Coverage(FIRST_DAY, DAYS[3]))

        async def is_whole() -> bool:
            await served.service.poll()
            assert served.service.history.coverage == Coverage(FIRST_DAY, FRIDAY)
            return await store.coverage.get() == Coverage(FIRST_DAY, FRIDAY)

        await eventually(is_whole)
    finally:
        await store.close()
    assert served.service.history.coverage == Coverage(FIRST_DAY, FRIDAY)
    assert (await served.get(f"/v1/rates/{DAYS[6]}"))[0] == 200
    assert (await holds(settings, clock))[1:] == (Coverage(FIRST_DAY, FRIDAY), DAYS)


async def test_what_another_replica_stored_is_taken(
    served: Served, settings: Settings, clock: Clock, bank: Bank
) -> None:
    """At its announcement, without a request to the Bank."""
    saturday = date(2026, 4, 25)
    bank.publish(sheet(saturday))
    async with Service(settings, clock=clock, scheduled=False) as other:
        await other.fetch(None)
    asked = len(bank.asked)
    await eventually(lambda: served.service.history.of_date(saturday))
    assert (await served.get("/v1/rates/next"))[0] == 200
    assert len(bank.asked) == asked
