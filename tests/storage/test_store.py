"""Sheets in Redis, over every kind of server."""

from __future__ import annotations

import asyncio
import uuid
import zlib
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from conftest import eventually
from fake_bank import daily_xml, sheet
from redis.exceptions import ResponseError

from ratesvc.domain.columns import Column, Coverage, Currency
from ratesvc.domain.events import NOWHERE, Event, Place
from ratesvc.domain.rates import Revision
from ratesvc.errors import StoreUnavailable
from ratesvc.storage.records import seal, unseal
from ratesvc.storage.redis import Link, connect
from ratesvc.storage.store import Store
from ratesvc.storage.stored import Glance

DAY = date(2026, 4, 24)
FETCHED = datetime(2026, 4, 23, 13, 20, 5, tzinfo=UTC)


def revision(shift: int = 0, number: int = 1, day: date = DAY, raw: bytes = b"") -> Revision:
    return Revision(sheet(day, shift), number, FETCHED, document=zlib.compress(raw, 9))


@pytest.fixture
def namespace() -> str:
    return uuid.uuid4().hex


@pytest.fixture
async def store(every_redis: str, namespace: str) -> AsyncIterator[Store]:
    opened = Store(Link(every_redis), namespace)
    yield opened
    await opened.close()


@pytest.fixture
async def other(every_redis: str, namespace: str) -> AsyncIterator[Store]:
    """A second replica on the same Redis."""
    opened = Store(Link(every_redis), namespace)
    yield opened
    await opened.close()


async def test_what_is_put_comes_back_whole(store: Store, other: Store) -> None:
    """Figures, names, order, provenance and the Bank's own bytes."""
    raw = daily_xml(sheet(DAY))
    kept = await store.put(revision(raw=raw))
    assert kept == revision(raw=raw)
    assert (await other.load()).revisions == (kept,)
    assert kept.raw == raw
    assert (await other.load()).revisions == ()


async def test_the_same_figures_are_one_revision_and_a_correction_is_the_next(store: Store, other: Store) -> None:
    """Writes only add: a correction never overwrites, and a repetition adds nothing."""
    first = await store.put(revision(raw=b"1"))
    again = await other.put(Revision(sheet(DAY), 1, datetime(2026, 4, 24, tzinfo=UTC)))
    assert again == first
    second = await store.put(revision(shift=1, raw=b"3"))
    assert (second.number, await other.put(revision(shift=1, raw=b"4"))) == (2, second)
    assert sorted((held.number, held.raw) for held in (await other.load()).revisions) == [(1, b"1"), (2, b"3")]


async def test_a_correction_is_the_next_revision_where_redis_lost_the_first(
    store: Store, other: Store, every_redis: str
) -> None:
    """An emptied Redis does not make a number free that a replica holds; what it held is given back beside it."""
    first = await store.put(revision())
    client = connect(every_redis)
    await client.flushall()
    await client.aclose()
    second = await store.put(revision(shift=1, number=2))
    assert (second.number, await store.put(revision(shift=1, number=2))) == (2, second)
    await store.restore([first])
    assert {held.key for held in (await other.load()).revisions} == {(DAY, 1), (DAY, 2)}


async def test_two_replicas_that_give_back_other_wordings_at_once_hear_of_each_other(
    store: Store, other: Store
) -> None:
    """Both began without Redis, one of them after a correction: whose wording is refused hears the other's."""
    wordings = {store: revision(), other: revision(shift=1)}
    written = await asyncio.gather(*(replica.restore([ours]) for replica, ours in wordings.items()))
    assert sum(written) == 1
    heard = [(await replica.load()).revisions for replica in wordings]
    kept = next(ours for ours, count in zip(wordings.values(), written, strict=True) if count)
    assert heard == [() if count else (kept,) for count in written]


async def test_two_replicas_that_put_at_once_agree(store: Store, other: Store) -> None:
    """Whoever is second takes what the first wrote."""
    both = await asyncio.gather(*(replica.put(revision()) for replica in (store, other) * 5))
    assert len(both) == 10
    assert all(kept == both[0] for kept in both)
    assert len((await store.load()).revisions) == 1


async def test_a_value_that_does_not_verify_is_a_miss_and_is_put_right(
    store: Store, other: Store, every_redis: str, namespace: str
) -> None:
    """Garbage, a truncated value or another field's value under our key is never served."""
    await store.put(revision(raw=b"good"))
    client = connect(every_redis)
    key = f"{{{namespace}}}:v1:sheets"
    good = await client.hget(key, f"{DAY}.1")
    assert isinstance(good, bytes)
    for bad in (b"garbage", good[:-1], good[:30] + b"x" + good[31:], b"", b"ratesvc1" + bytes(1000)):
        await client.hset(key, f"{DAY}.1", bad)
        assert (await other.load()).revisions == ()
        assert await other.put(revision(raw=b"good")) == revision(raw=b"good")
    await client.hset(key, "2026-04-25.1", good)
    assert [found.effective_date for found in (await store.load()).revisions] == [DAY]
    await client.aclose()


def test_an_envelope_belongs_to_its_field() -> None:
    """The checksum covers the name too, so a copied value does not verify elsewhere."""
    assert unseal("a", seal("a", b"payload")) == b"payload"
    assert unseal("b", seal("a", b"payload")) is None
    assert unseal("a", None) is None


async def test_an_announcement_is_heard_by_every_replica(store: Store, other: Store) -> None:
    """The first item says «connected, look again»; then one for each announcement."""
    heard = 0

    async def listen() -> None:
        nonlocal heard
        async for _ in other.announcements():
            heard += 1

    listening = asyncio.create_task(listen())
    await eventually(lambda: heard == 1)
    await store.announce(DAY)
    await eventually(lambda: heard == 2)
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)


async def test_an_event_number_is_given_once(store: Store, other: Store, every_redis: str, namespace: str) -> None:
    """Whoever is second is refused whole, in silence: everyone reads one log, without what does not verify."""
    first, second, rival, third = (
        Event(kind, Place(seq, DAY, 1))
        for kind, seq in (("sheet", 1), ("in_force", 2), ("revision", 2), ("in_force", 3))
    )
    await store.tell([first, second], 0)
    await other.tell([first, rival, third], 0)
    await other.tell([rival, third], 1)
    assert await store.events(0) == [first, second]
    await other.tell([third], 2)
    assert await store.events(0) == await other.events(1) == [first, second, third]
    assert await store.events(3) == [third]
    assert await store.events(4) == []
    client = connect(every_redis)
    await client.xadd(f"{{{namespace}}}:v1:events", {"event": b"garbage"}, id="4-0")
    await client.aclose()
    assert await store.events(3) == [third]


async def test_a_glance_tells_how_much_redis_holds(store: Store, every_redis: str, namespace: str) -> None:
    """Counts, the coverage and the last event, of a Redis that is empty and of one that is not."""
    assert await store.glance() == Glance(0, 0, 0, None, NOWHERE)
    columns = [Column(Currency("R01235", "R01235", "USD", "840", "USD"), FETCHED)]
    await store.put(revision())
    await store.put_history(columns, Coverage(DAY, DAY))
    await store.tell([Event("sheet", Place(1, DAY, 1)), Event("in_force", Place(2, DAY, 1))], 0)
    client = connect(every_redis)
    await client.hset(store.quarantine_key, "1f0c", b"envelope")
    assert await store.glance() == Glance(1, 1, 1, Coverage(DAY, DAY), Place(2, DAY, 1))
    await client.xadd(f"{{{namespace}}}:v1:events", {"event": b"foreign"}, id="9-0")
    await client.set(f"{{{namespace}}}:v1:span", b"foreign")
    assert await store.glance() == Glance(1, 1, 1, None, None)
    for name in ("sheets", "columns", "quarantine", "span", "events", "plan"):
        await client.delete(f"{{{namespace}}}:v1:{name}")
        await client.sadd(f"{{{namespace}}}:v1:{name}", "foreign")
        with pytest.raises(StoreUnavailable) as caught:
            await store.glance()
        assert caught.value.kind == "type"
        await client.delete(f"{{{namespace}}}:v1:{name}")
    await client.aclose()


async def test_one_replica_at_a_time_has_the_lease(store: Store, other: Store) -> None:
    """Its holder may take it again; when it is given up another may; giving up what one lacks does nothing."""
    assert await store.poll_lease.take(60)
    assert not await other.poll_lease.take(60)
    assert await store.poll_lease.take(60)
    await other.poll_lease.release()
    assert not await other.poll_lease.take(60)
    await store.poll_lease.release()
    assert await other.poll_lease.take(0.05)
    await eventually(lambda: store.poll_lease.take(60))


async def test_without_redis_every_method_says_so() -> None:
    """One error for everything that a missing Redis can raise, and closing stays silent."""
    store = Store(Link("redis://127.0.0.1:1/0"), "x")
    for call in (store.ping(), store.load(), store.glance(), store.put(revision()), store.events(0)):
        with pytest.raises(StoreUnavailable):
            await call
    for call in (store.tell([Event("sheet", Place(1, DAY, 1))], 0), store.announce(DAY)):
        with pytest.raises(StoreUnavailable):
            await call
    with pytest.raises(StoreUnavailable):
        await anext(store.announcements())
    await store.close()


async def test_a_column_that_was_damaged_on_its_way_is_read_again(store: Store, other: Store) -> None:
    """The coverage goes when a column is lost, and with it all of history: not for one bad byte of an answer."""
    ids = {"USD": "R01235", "EUR": "R01239"}
    columns = [Column(Currency(cbr_id, cbr_id, code, "000", code), FETCHED) for code, cbr_id in ids.items()]
    for column in columns:
        column.put(DAY, 1, Decimal(80))
    await store.put_history(columns, Coverage(DAY, DAY))
    damaged = damage_once(other, "HGETALL", b"R01239")
    loaded = await other.load()
    assert damaged
    assert (loaded.coverage, len(loaded.columns)) == (Coverage(DAY, DAY), 2)


def damage_once(store: Store, command: str, part: bytes) -> list[object]:
    """The first answer to this command that holds `part` comes with a wrong byte; what it was is returned by then."""
    client: Any = store.link.client
    execute = client.execute_command
    damaged: list[object] = []

    def wrong(envelope: Any) -> Any:
        return envelope[:-1] + b"?" if isinstance(envelope, bytes) and part in envelope else envelope

    async def execute_command(name: str, *arguments: object, **options: object) -> Any:
        answer = await execute(name, *arguments, **options)
        if name != command or damaged or part not in repr(answer).encode():
            return answer
        damaged.append(answer)
        return (
            {field: wrong(e) for field, e in answer.items()} if isinstance(answer, dict) else list(map(wrong, answer))
        )

    client.execute_command = execute_command
    return damaged


async def test_a_sheet_that_was_damaged_on_its_way_is_neither_broken_nor_replaced(store: Store, other: Store) -> None:
    """One bad byte of an answer, and a correction would stand in the place of what it corrects."""
    await store.put(revision())
    damaged = damage_once(other, "HMGET", b"USD")
    loaded = await other.load()
    assert (len(damaged), loaded.revisions, loaded.broken) == (1, (revision(),), ())
    damaged.clear()
    assert (await other.put(revision(shift=1))).number == 2
    assert damaged


async def test_what_was_not_handed_over_is_loaded_again(store: Store, other: Store) -> None:
    """Redis refuses between the sheets and the coverage: the sheets must not count as seen."""
    await store.put(revision())
    client: Any = other.link.client
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
