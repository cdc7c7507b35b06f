"""What Redis holds, over every kind of server: sheets, leases, documents in quarantine."""

from __future__ import annotations

import asyncio
import uuid
import zlib
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from conftest import eventually
from fake_bank import daily_xml, sheet
from msgspec.msgpack import encode
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from ratesvc.domain.columns import Column, Coverage, Currency
from ratesvc.domain.rates import Revision
from ratesvc.errors import RatesvcError, StoreUnavailable
from ratesvc.storage.quarantine import MOST_CASES, Case
from ratesvc.storage.records import seal
from ratesvc.storage.redis import RedisConnection, connect
from ratesvc.storage.store import Glance, Store

DAY = date(2026, 4, 24)
FETCHED = datetime(2026, 4, 23, 13, 20, 5, tzinfo=UTC)


def revision(shift: int = 0, number: int = 1, day: date = DAY, raw: bytes = b"") -> Revision:
    return Revision(sheet(day, shift), number, FETCHED, document=zlib.compress(raw, 9))


@pytest.fixture
def namespace() -> str:
    return uuid.uuid4().hex


@pytest.fixture
async def store(every_redis: str, namespace: str) -> AsyncIterator[Store]:
    opened = Store(RedisConnection(every_redis), namespace)
    yield opened
    await opened.close()


@pytest.fixture
async def other(every_redis: str, namespace: str) -> AsyncIterator[Store]:
    """A second replica on the same Redis."""
    opened = Store(RedisConnection(every_redis), namespace)
    yield opened
    await opened.close()


@pytest.fixture
async def redis(every_redis: str) -> AsyncIterator[Redis]:
    """The server itself."""
    async with connect(every_redis) as client:
        yield client


async def test_the_same_figures_are_one_revision_and_a_correction_is_the_next(store: Store, other: Store) -> None:
    """A correction never overwrites, and the same sheet again adds nothing. Each revision is loaded once."""
    first = await store.put(revision(raw=b"1"))
    assert (await other.load()).revisions == (first,) == (revision(raw=b"1"),)
    again = await other.put(Revision(sheet(DAY), 1, datetime(2026, 4, 24, tzinfo=UTC)))
    assert again == first
    second = await store.put(revision(shift=1, number=2, raw=b"3"))
    assert (second.number, await other.put(revision(shift=1, number=2, raw=b"4"))) == (2, second)
    assert [(held.number, held.raw) for held in (await other.load()).revisions] == [(2, b"3")]
    assert (await other.load()).revisions == ()


async def test_a_revision_that_was_compared_with_an_older_one_is_not_stored(store: Store, other: Store) -> None:
    """Another replica stored a correction meanwhile: whether this one is newer must be decided again."""
    await store.put(revision())
    correction = await other.put(revision(shift=1, number=2))
    assert await store.put(revision(shift=2, number=2)) == correction
    assert await store.put(revision(shift=2)) == correction
    assert [held.number for held in (await store.load()).revisions] == [1, 2]


async def test_a_correction_is_the_next_revision_where_redis_lost_the_first(
    store: Store, other: Store, redis: Redis
) -> None:
    """The number of a revision that a replica holds is not free in an emptied Redis."""
    first = await store.put(revision())
    await redis.flushall()
    second = await store.put(revision(shift=1, number=2))
    assert (second.number, await store.put(revision(shift=1, number=2))) == (2, second)
    await store.repair_sheets([first])
    assert {held.key for held in (await other.load()).revisions} == {(DAY, 1), (DAY, 2)}


async def test_of_two_replicas_that_repair_with_different_figures_the_second_loads_the_first(
    store: Store, other: Store
) -> None:
    """Both began without Redis, one of them after a correction."""
    replicas = {store: revision(), other: revision(shift=1)}
    written = await asyncio.gather(*(replica.repair_sheets([ours]) for replica, ours in replicas.items()))
    assert sum(written) == 1
    loaded = [(await replica.load()).revisions for replica in replicas]
    kept = next(ours for ours, count in zip(replicas.values(), written, strict=True) if count)
    assert loaded == [() if count else (kept,) for count in written]


async def test_two_replicas_that_put_at_once_agree(store: Store, other: Store) -> None:
    """The second returns the revision of the first."""
    both = await asyncio.gather(*(replica.put(revision()) for replica in (store, other) * 5))
    assert len(both) == 10
    assert all(kept == both[0] for kept in both)
    assert len((await store.load()).revisions) == 1


async def test_a_damaged_value_is_a_miss_and_is_overwritten(
    store: Store, other: Store, redis: Redis, namespace: str
) -> None:
    """Garbage, a truncated value or another field's value under our key is never served."""
    await store.put(revision(raw=b"good"))
    key = f"{{{namespace}}}:v2:sheets"
    good = await redis.hget(key, f"{DAY}.1")
    assert isinstance(good, bytes)
    for bad in (b"garbage", good[:-1], good[:30] + b"x" + good[31:], b"", b"ratesvc1" + bytes(1000)):
        await redis.hset(key, f"{DAY}.1", bad)
        assert (await other.load()).revisions == ()
        assert await other.put(revision(raw=b"good")) == revision(raw=b"good")
    await redis.hset(key, "2026-04-25.1", good)
    assert [found.effective_date for found in (await store.load()).revisions] == [DAY]


async def test_every_replica_gets_an_announcement(store: Store, other: Store) -> None:
    """After "connected", since some may have been lost before it. A replica does not get its own Bank's answers."""
    received: list[str] = []

    async def listen() -> None:
        async for announcement in other.announcements():
            received.append(announcement)  # noqa: PERF401 -- each one when it comes

    listening = asyncio.create_task(listen())
    await eventually(lambda: received == ["connected"])
    await other.announce_answer()
    await store.announce(DAY)
    await store.announce_answer()
    await eventually(lambda: received == ["connected", "changed", "bank answered"])
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)


async def test_a_glance_counts_what_redis_holds(store: Store, redis: Redis, namespace: str) -> None:
    """Counts and the coverage, of a Redis that is empty and of one that is not."""
    assert await store.glance() == Glance(0, 0, 0, None)
    columns = [Column(Currency("R01235", "R01235", "USD", "840", "USD"), FETCHED)]
    await store.put(revision())
    await store.put_history(columns, Coverage(DAY, DAY))
    await redis.hset(store.quarantine.key, "1f0c", b"envelope")
    assert await store.glance() == Glance(1, 1, 1, Coverage(DAY, DAY))
    await redis.set(f"{{{namespace}}}:v2:coverage", b"foreign")
    assert await store.glance() == Glance(1, 1, 1, None)
    for name in ("sheets", "columns", "quarantine", "coverage"):
        await redis.delete(f"{{{namespace}}}:v2:{name}")
        await redis.sadd(f"{{{namespace}}}:v2:{name}", "foreign")
        with pytest.raises(StoreUnavailable) as caught:
            await store.glance()
        assert caught.value.kind == "type"
        await redis.delete(f"{{{namespace}}}:v2:{name}")


async def test_one_replica_at_a_time_has_the_lease(store: Store, other: Store) -> None:
    """Its holder may prolong it. After a release another replica may take it; a release by another does nothing."""
    assert await store.poll_lease.take(60)
    assert not await other.poll_lease.take(60)
    assert await store.poll_lease.take(60)
    await other.poll_lease.release()
    assert not await other.poll_lease.take(60)
    await store.poll_lease.release()
    assert await other.poll_lease.take(0.05)
    await eventually(lambda: store.poll_lease.take(60))


async def test_without_redis_every_method_says_so() -> None:
    """StoreUnavailable stands for every error of a missing Redis, and closing raises nothing."""
    store = Store(RedisConnection("redis://127.0.0.1:1/0"), "x")
    asked = store.load(), store.glance(), store.put(revision()), anext(store.announcements())
    for call in (*asked, store.announce(DAY)):
        with pytest.raises(StoreUnavailable):
            await call
    await store.close()


async def test_a_load_that_fails_halfway_is_loaded_again(store: Store, other: Store) -> None:
    """Redis fails between the sheets and the coverage, so the sheets must not count as seen."""
    await store.put(revision())
    client: Any = other.connection.client
    execute = client.execute_command

    async def refusing(name: str, *arguments: object, **options: object) -> Any:
        if name == "GET":
            client.execute_command = execute
            raise ResponseError
        return await execute(name, *arguments, **options)

    client.execute_command = refusing
    with pytest.raises(StoreUnavailable):
        await other.load()
    assert (await other.load()).revisions == (revision(),)


# Documents in quarantine


def case(number: int = 0, raw: bytes | None = None) -> Case:
    return Case(DAY, FETCHED + timedelta(minutes=number), ("shrunk: most are gone",), raw or b"<%d/>" % number)


async def test_a_document_is_stored_once_and_the_oldest_are_deleted_above_the_limit(store: Store, other: Store) -> None:
    """Two replicas add the same document under the same name. A broken Bank fills fifty places and no more."""
    one, two = store.quarantine, other.quarantine
    first = case(raw=daily_xml(sheet(DAY)) * 20)
    for quarantine in (one, two):
        await quarantine.add(first)
    assert await one.cases() == [first]
    assert await two.case(first.name[:5]) == first
    for number in range(1, MOST_CASES + 3):
        await one.add(case(number))
    held = await two.cases()
    assert held == [case(number) for number in range(MOST_CASES + 2, 2, -1)]
    await two.drop([held[0].name, "not there"])
    assert await one.cases() == held[1:]
    for name in (held[0].name, ""):
        with pytest.raises(RatesvcError, match="no documents"):
            await one.case(name)


async def test_a_document_that_cannot_be_read_is_deleted(store: Store, redis: Redis) -> None:
    """A foreign value, or a record of another shape, is not shown."""
    strange = {
        "abc": b"garbage",
        "def": seal("def", b"no record"),
        "123": seal("123", encode((DAY, FETCHED, [], b"no zlib"))),
    }
    await store.quarantine.add(case())
    for name, envelope in strange.items():
        await redis.hset(store.quarantine.key, name, envelope)
    assert await store.quarantine.cases() == [case()]
    assert await redis.hlen(store.quarantine.key) == 1
