"""Documents that wait for a person: bounded, and the same on every replica."""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime, timedelta

import pytest
from fake_bank import daily_xml, sheet
from msgspec.msgpack import encode

from ratesvc.errors import RatesvcError
from ratesvc.storage.quarantine import MOST_CASES, Case, Quarantine
from ratesvc.storage.records import seal
from ratesvc.storage.redis import RedisConnection, connect
from ratesvc.storage.store import Store

DAY = date(2026, 4, 24)
SEEN = datetime(2026, 4, 23, 13, tzinfo=UTC)


def case(number: int = 0, raw: bytes | None = None) -> Case:
    return Case(DAY, SEEN + timedelta(minutes=number), ("shrunk: most are gone",), raw or b"<%d/>" % number)


async def test_a_document_is_stored_once_and_the_oldest_are_deleted_above_the_limit(every_redis: str) -> None:
    """Two replicas add the same document under the same name. A broken Bank fills fifty places and no more."""
    store = Store(RedisConnection(every_redis), uuid.uuid4().hex)
    one, two = store.quarantine, Quarantine(store.connection, store.quarantine.key)
    raw = daily_xml(sheet(DAY)) * 20
    for quarantine in (one, two):
        await quarantine.add(case(raw=raw))
    assert await one.cases() == [case(raw=raw)]
    assert await two.case(case(raw=raw).name[:5]) == case(raw=raw)
    for number in range(1, MOST_CASES + 3):
        await one.add(case(number))
    held = await two.cases()
    assert len(held) == MOST_CASES
    assert held[0] == case(MOST_CASES + 2)
    assert held[-1] == case(3)
    await two.drop([held[0].name, "not there"])
    assert len(await one.cases()) == MOST_CASES - 1
    with pytest.raises(RatesvcError, match="no documents"):
        await one.case(held[0].name)
    with pytest.raises(RatesvcError, match="no documents"):
        await one.case("")
    await store.close()


async def test_a_value_that_cannot_be_read_is_deleted(redis_url: str) -> None:
    """A foreign value, or a record of another shape, is not shown."""
    store, client = Store(RedisConnection(redis_url), uuid.uuid4().hex), connect(redis_url)
    quarantine = store.quarantine
    strange = {
        "abc": b"garbage",
        "def": seal("def", b"no record"),
        "123": seal("123", encode((DAY, SEEN, [], b"no zlib"))),
    }
    for name, envelope in strange.items():
        await quarantine.add(case())
        await client.hset(quarantine.key, name, envelope)
        assert await quarantine.cases() == [case()]
    assert await client.hlen(quarantine.key) == 1
    await client.aclose()
    await store.close()
