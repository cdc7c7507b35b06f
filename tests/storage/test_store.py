"""What Redis holds, over every kind of server: sheets, leases, documents in quarantine."""

from __future__ import annotations

import asyncio
import uuid
import zlib
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from conftest import eventually, patience_s, stored
from kit.bank import daily_xml, sheet
from kit.redis import token
from msgspec.msgpack import encode
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from ratesvc.domain.columns import Column, Currency
from ratesvc.domain.rates import Revision
from ratesvc.domain.settled import Settled
from ratesvc.errors import RatesvcError, StoreUnavailable
from ratesvc.storage import records
from ratesvc.storage.records import Case, seal
from ratesvc.storage.redis import RedisConnection, connect
from ratesvc.storage.store import MOST_CASES, Glance, Store

DAY = date(2026, 4, 24)
FETCHED = datetime(2026, 4, 23, 13, 20, 5, tzinfo=UTC)


def revision(shift: int = 0, number: int = 1, day: date = DAY, raw: bytes = b"") -> Revision:
    return Revision(sheet(day, shift), number, FETCHED, document=zlib.compress(raw, 9))


@pytest.fixture
def namespace() -> str:
    return uuid.uuid4().hex


@pytest.fixture
async def store(every_redis: str, namespace: str) -> AsyncIterator[Store]:
    opened = Store(RedisConnection(every_redis), namespace, token)
    yield opened
    await opened.close()


@pytest.fixture
async def other(every_redis: str, namespace: str) -> AsyncIterator[Store]:
    """A second replica on the same Redis."""
    opened = Store(RedisConnection(every_redis), namespace, token)
    yield opened
    await opened.close()


@pytest.fixture
async def redis(every_redis: str) -> AsyncIterator[Redis]:
    """The server itself."""
    async with connect(every_redis) as client:
        yield client


@asynccontextmanager
async def forbidden(command: str, redis: Redis, namespace: str) -> AsyncIterator[Store]:
    """A replica whose user of Redis may do everything but this."""
    port = redis.connection_pool.connection_kwargs["port"]
    await redis.acl_setuser(
        "lame", reset=True, enabled=True, nopass=True, keys="*", channels="*", commands=["+@all", f"-{command}"]
    )
    lame = Store(RedisConnection(f"redis://lame:x@127.0.0.1:{port}"), namespace, token)
    yield lame
    await lame.close()


async def test_the_same_figures_are_one_revision_and_a_correction_is_the_next(store: Store, other: Store) -> None:
    """A correction never overwrites, and the same sheet again adds nothing."""
    [first] = await store.put(revision(raw=b"1"))
    assert await stored(other) == [first] == [revision(raw=b"1")]
    again = await other.put(Revision(sheet(DAY), 1, datetime(2026, 4, 24, tzinfo=UTC)))
    assert again == [first]
    [second] = await store.put(revision(shift=1, number=2, raw=b"3"))
    assert (second.number, await other.put(revision(shift=1, number=2, raw=b"4"))) == (2, [second])
    assert [(held.number, held.raw) for held in await stored(other)] == [(1, b"1"), (2, b"3")]
    assert list(await other.revisions([f"{DAY}.2"], {})) == [f"{DAY}.2"]


async def test_a_revision_that_was_compared_with_an_older_one_is_not_stored(store: Store, other: Store) -> None:
    """Another replica stored a correction meanwhile: whether this one is newer must be decided again."""
    [first] = await store.put(revision())
    [correction] = await other.put(revision(shift=1, number=2))
    assert await store.put(revision(shift=2, number=2)) == [correction]
    assert await store.put(revision(shift=2)) == [first, correction]
    assert [held.number for held in await stored(store)] == [1, 2]


async def test_of_two_replicas_that_repair_with_different_figures_the_first_counts(store: Store, other: Store) -> None:
    """Both began without Redis, one of them after a correction."""
    written = await asyncio.gather(store.add([revision()]), other.add([revision(shift=1)]))
    assert sum(written) == 1
    assert await stored(store) == [revision() if written[0] else revision(shift=1)]


async def test_a_write_that_is_tried_changes_nothing(store: Store, redis: Redis, namespace: str) -> None:
    """After a refusal it tells whether Redis takes writes again. Otherwise nothing is tried."""
    await redis.config_resetstat()
    await store.glance()
    assert "cmdstat_set" not in await redis.info("commandstats")
    store.connection.refusing = True
    await store.glance()
    assert not store.connection.refusing
    assert [key async for key in redis.scan_iter(f"{{{namespace}}}*")] == []


async def test_no_command_carries_more_than_ten_values(store: Store, redis: Redis) -> None:
    """A column takes up to 100 kB, and a command may take 0.4 s."""
    held = [revision(day=DAY + timedelta(days=number)) for number in range(21)]
    await redis.config_resetstat()
    assert await store.add(held) == 21
    assert await stored(store) == held
    statistics = await redis.info("commandstats")
    assert [statistics[f"cmdstat_{name}"]["calls"] for name in ("hmget", "set")] == [3, 3]


async def test_a_sheet_that_comes_while_it_is_looked_for_is_not_deleted(
    store: Store, other: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a value that cannot be read is deleted. Another replica may store a missing one at any moment."""
    client: Any = store.connection.client
    read = client.hmget

    async def then_another_stores(key: str, fields: list[str]) -> list[Any]:
        values: list[Any] = await read(key, fields)
        await other.put(revision())
        return values

    monkeypatch.setattr(client, "hmget", then_another_stores)
    assert await store.revisions([f"{DAY}.1"], {}) == {}
    assert await stored(other) == [revision()]


async def test_a_damaged_value_that_stays_is_trouble_and_no_endless_loop(
    store: Store, redis: Redis, namespace: str
) -> None:
    """This user of Redis may not delete anything. The service goes on from memory. The revision before is no answer."""
    await store.put(revision())
    await redis.hset(f"{{{namespace}}}:v2:sheets", f"{DAY}.2", b"garbage")
    correction = revision(shift=1, number=2)
    async with forbidden("hdel", redis, namespace) as lame:
        with pytest.raises(StoreUnavailable, match=f"{DAY}.2"):
            async with asyncio.timeout(patience_s()):
                await lame.put(correction)
    assert await store.put(correction) == [correction]


async def test_columns_of_fewer_days_are_not_taken_for_the_coverage(
    store: Store, other: Store, redis: Redis, namespace: str
) -> None:
    """A replica that holds less repairs Redis at the moment at which another one stores more. Columns come first."""
    column = Column(Currency("R01235", "R01235", "USD", "840", "USD"), FETCHED)
    column.put(DAY, 1, Decimal("75.5273"))
    await other.put_history([column], Settled(DAY, DAY))
    await redis.set(f"{{{namespace}}}:v2:coverage", records.encode_coverage(Settled(date(1992, 7, 1), DAY), 1))
    assert await store.history() is None
    assert (await store.glance()).settled is None
    async with forbidden("hset", redis, namespace) as lame:
        with pytest.raises(StoreUnavailable) as caught:
            await lame.put_history([column], Settled(DAY, DAY))
        assert (caught.value.kind, lame.connection.refusing) == ("auth", True)
    assert (await other.glance()).settled is None, "it was written before its columns"
    await store.put_history([column], Settled(DAY, DAY))
    assert await other.history() == (Settled(DAY, DAY), [column])


async def test_a_glance_counts_what_redis_holds(store: Store, redis: Redis, namespace: str) -> None:
    """Counts, the coverage and the version, of a Redis that is empty and of one that is not."""
    assert await store.glance() == Glance(0, 0, None, b"")
    columns = [Column(Currency("R01235", "R01235", "USD", "840", "USD"), FETCHED)]
    await store.put(revision())
    await store.put_history(columns, Settled(DAY, DAY))
    await redis.hset(store.quarantine.key, "1f0c", b"envelope")
    version = (await store.glance()).version
    assert await store.glance() == Glance(1, 1, Settled(DAY, DAY), version)
    assert store.quarantine.count == 1
    await store.put(revision())
    assert await store.add([revision(), revision(shift=1, number=2)]) == 1
    later = await store.glance()
    assert replace(later, version=version) == Glance(2, 1, Settled(DAY, DAY), version) != later
    await redis.hdel(f"{{{namespace}}}:v2:columns", "R01235")
    assert (await store.glance()).settled is None
    await redis.set(f"{{{namespace}}}:v2:coverage", b"foreign")
    await redis.setrange(f"{{{namespace}}}:v2:written", 2**20, b"foreign")
    assert len((await store.glance()).version) == len(version), "the foreign coverage has gone, which is a write"
    for name in ("sheets", "columns", "quarantine", "coverage", "written"):
        await redis.delete(f"{{{namespace}}}:v2:{name}")
        await redis.sadd(f"{{{namespace}}}:v2:{name}", "foreign")
        with pytest.raises(StoreUnavailable) as caught:
            await store.glance()
        assert f":v2:{name}" in str(caught.value), "an operator must know which key to delete"
        await redis.delete(f"{{{namespace}}}:v2:{name}")


async def test_one_replica_at_a_time_has_the_lease(store: Store, other: Store) -> None:
    """After a release another replica may take it. A release by one that does not hold it does nothing."""
    assert await store.poll_lease.take()
    assert not await other.poll_lease.take()
    assert await store.poll_lease.take()
    other.poll_lease.held = True  # it held the lease until a moment ago
    await other.poll_lease.release()
    assert not await other.poll_lease.take()
    await store.poll_lease.release()
    assert await other.poll_lease.take()


async def test_a_lease_that_expires_amid_its_renewal_is_lost(
    store: Store, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another replica may hold it by then."""
    assert await store.poll_lease.take()
    execute = Pipeline.execute

    async def late(pipeline: Pipeline) -> Any:
        answers = await execute(pipeline)
        await redis.delete(store.poll_lease._key)  # noqa: SLF001 -- what Redis holds
        return answers

    monkeypatch.setattr(Pipeline, "execute", late)
    assert not await store.poll_lease.take()


async def test_a_foreign_lease_is_removed_and_not_read(store: Store, redis: Redis) -> None:
    """It would stop the polls for ever, because ours expire. One of 64 MB would take longer than a command may."""
    key = store.poll_lease._key  # noqa: SLF001 -- what Redis holds
    await redis.config_resetstat()
    await redis.setrange(key, 2**26, b"x")
    assert [await store.poll_lease.take() for _ in range(2)] == [False, True]
    assert (await redis.info("stats"))["total_net_output_bytes"] < 2**20


async def test_a_lease_lasts_while_its_holder_lives(
    store: Store, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is renewed many times, a holder that lost it notices and may have it again, and one that is gone frees it."""
    monkeypatch.setattr("ratesvc.storage.redis.RENEW_S", 0.05)
    lease, key = store.poll_lease, store.poll_lease._key  # noqa: SLF001 -- what Redis holds
    left_ms: list[int] = []

    async def is_renewed() -> bool:
        left_ms.append(await redis.pttl(key))
        return sum(later > earlier for earlier, later in pairwise(left_ms)) > 2

    async def is_lost() -> bool:
        await redis.set(key, "another")  # once more each time, because a renewal that is under way overwrites it
        return not lease.held

    assert await lease.take()
    await eventually(is_renewed)
    assert lease.held
    take, tried = lease.take, asyncio.Event()

    async def without_redis() -> bool:
        monkeypatch.setattr(lease, "take", take)
        tried.set()
        raise StoreUnavailable("Redis is away for a moment", "timeout")

    monkeypatch.setattr(lease, "take", without_redis)
    await tried.wait()
    await redis.delete(key)
    await eventually(lambda: redis.exists(key))
    assert lease.held, "one outage ended the renewal"
    await eventually(is_lost)
    await redis.delete(key)
    assert await lease.take()
    left_ms.clear()
    await eventually(is_renewed)
    monkeypatch.setattr("ratesvc.storage.redis.LEASE_S", 0.5)
    assert await lease.take()
    assert lease._renewal  # noqa: SLF001 -- as if the process had been killed
    lease._renewal.cancel()  # noqa: SLF001
    await eventually(lambda: redis.set(key, "another", nx=True))


# Documents in quarantine


def case(number: int = 0, raw: bytes | None = None) -> Case:
    return Case(DAY, FETCHED + timedelta(minutes=number), ("shrunk: most are gone",), raw or b"<%d/>" % number)


async def test_a_document_is_stored_once_and_the_oldest_are_deleted_above_the_limit(store: Store, other: Store) -> None:
    """Two replicas add the same document under the same name. A broken Bank fills fifty places and no more."""
    one, two = store.quarantine, other.quarantine
    first = case(raw=daily_xml(sheet(DAY)) * 20)
    for quarantine in (one, two):
        await quarantine.add(first)
    assert (one.count, two.count) == (1, 0), "who adds it need not wait for a glance"
    assert await one.cases() == [first]
    assert await two.case(first.name[:5]) == first
    for number in range(1, MOST_CASES + 3):
        await one.add(case(number))
    held = await two.cases()
    assert held == [case(number) for number in range(MOST_CASES + 2, 2, -1)]
    assert one.count == MOST_CASES
    await two.drop([held[0].name, "not there"])
    assert await one.cases() == held[1:]
    for name in (held[0].name, ""):
        with pytest.raises(RatesvcError, match="no documents"):
            await one.case(name)
    ((letter, count),) = Counter(document.name[0] for document in held[1:]).most_common(1)
    with pytest.raises(RatesvcError, match=f"^{count} documents"):
        await one.case(letter)


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
