"""Memory and Redis in sync: what a tick costs and repairs, bugs, the store of 1.0.0. Faults C have more of Redis."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import takewhile
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import redis
from conftest import Clock, Serve, Served, announced, eventually
from kit.bank import Bank, sheet, unavailable, workdays
from kit.dates import DAYS, EVENING, FRIDAY, NOON, SATURDAY
from kit.redis import token
from kit.sheets import changed, plausible, times
from kit.time import limit_s
from structlog.testing import capture_logs

from ratesvc.bank import xml
from ratesvc.config import Settings
from ratesvc.domain.columns import Column, Days, digest, with_revision
from ratesvc.domain.history import History
from ratesvc.domain.rates import FIRST_DAY, Revision, Sheet, Snapshot
from ratesvc.domain.settled import Settled
from ratesvc.domain.workdays import ONE_DAY, WorkCalendar
from ratesvc.errors import StoreUnavailable
from ratesvc.features.ranges.unit_rates import SeriesParams, series
from ratesvc.service.app import Service
from ratesvc.service.sync import Sync
from ratesvc.storage import records
from ratesvc.storage.records import encode_coverage, unseal
from ratesvc.storage.redis import RedisConnection
from ratesvc.storage.store import Glance, Store

HUGE = 2**26
MOST_OF_A_TICK = 550
"""Bytes both ways: 57,600 ticks a day are then less than 32 MB."""


@pytest.fixture
async def held(bank: Bank, serve_whole: Serve) -> AsyncIterator[Served]:
    """A service that holds some history."""
    bank.publish(*map(sheet, DAYS))
    async with serve_whole() as served:
        yield served


async def test_a_gauge_counts_all_sheets_not_only_documents(held: Served) -> None:
    """Most of history is columns."""
    assert len(held.service.history.own_keys) < len(DAYS)
    assert float((await held.samples())["ratesvc_history_sheets"]) == len(DAYS)


@pytest.fixture
async def quiet(held: Served, client: redis.Redis) -> Served:
    """The same without anything that happens by itself: only the test ticks, as the heartbeat does."""
    await held.service.retire()
    await eventually(lambda: is_quiet(held, client))
    return held


async def is_quiet(served: Served, client: redis.Redis) -> bool:
    """Whether a tick brings nothing more."""
    before = moved(client)
    await served.service.tick()
    return moved(client) - before < 10 * MOST_OF_A_TICK


def moved(client: redis.Redis) -> int:
    """Bytes that Redis has read and written in all."""
    found: Any = client.info("stats")
    return int(found["total_net_input_bytes"] + found["total_net_output_bytes"])


def sent(client: redis.Redis) -> int:
    """Bytes that Redis has written in all."""
    found: Any = client.info("stats")
    return int(found["total_net_output_bytes"])


def key(served: Served, name: str) -> str:
    return f"{{{served.service.settings.redis.namespace}}}:v2:{name}"


def whole(served: Served, client: redis.Redis) -> set[bytes]:
    """The fields of sheets and columns in Redis, where all of them verify, and the coverage too."""
    sheets, columns = (client.hgetall(key(served, name)) for name in ("sheets", "columns"))
    found: dict[Any, Any] = {**sheets, **columns}
    coverage: Any = client.get(key(served, "coverage"))
    is_whole = unseal("coverage", coverage) and all(unseal(name.decode(), value) for name, value in found.items())
    return set(found) if is_whole else set()


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as opened:
        yield opened


def days_of(service: Service) -> tuple[list[tuple[date, int]], Settled | None, list[date]]:
    """What a replica holds: its documents, its coverage, and the days of the dollar."""
    history = service.history
    dollars = [day for day, _ in series(history, "USD", SeriesParams(("USD",), Days(FIRST_DAY, DAYS[-1])))]
    return history.own_keys, history.settled, dollars


async def test_nothing_is_decoded_on_the_event_loop(held: Served, bank: Bank, serve: Serve, clock: Clock) -> None:
    """At a start with a full store, which is then read again, and at a poll that brings a sheet."""
    decoders = {one.__code__: one.__name__ for one in (xml.root_of, records.decode_revision, records.decode_column)}
    counted = Counter[str]()

    def count(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code in decoders:
            counted[decoders[frame.f_code]] += 1

    await held.service.retire()
    sys.setprofile(count)  # of this thread
    try:
        async with serve() as other:
            await announced(bank, other, clock, SATURDAY)
            await other.service.tick()
    finally:
        sys.setprofile(None)
    assert counted == {}


async def test_an_idle_tick_moves_less_than_a_kilobyte(quiet: Served, client: redis.Redis) -> None:
    """It compares counts and the coverage, and reads no value again."""
    info = -moved(client) + moved(client)
    before = moved(client)
    for _ in range(10):
        await quiet.service.tick()
    assert moved(client) - before - info < 10 * MOST_OF_A_TICK


async def test_a_sheet_that_comes_during_an_exchange_is_stored_by_the_next(
    quiet: Served, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis had no room for it. It waited for another change before."""
    store, new = quiet.service.store, Revision(sheet(SATURDAY), 1, NOON)
    add = store.add

    async def and_then_one_comes(lacking: Iterable[Revision]) -> int:
        added = await add(lacking)
        quiet.service.history.hold([new])
        return added

    with monkeypatch.context() as patch:
        patch.setattr(store, "add", and_then_one_comes)
        client.set(key(quiet, "written"), "another")
        await quiet.service.tick()
    for _ in range(2):
        await quiet.service.tick()
    assert client.hexists(key(quiet, "sheets"), f"{SATURDAY}.1")


LOSSES = {
    "everything": ("FLUSHALL", "14 sheets, 32 columns"),
    "evicted columns": ("DEL columns", "32 columns"),
    "evicted sheets": ("DEL sheets", "14 sheets"),
    "an older snapshot": ("HDEL sheets newest; DEL coverage", "2 sheets, 32 columns"),
    "a foreign sheet": ("HSET sheets 2026-02-10.1 foreign", "2 dropped"),
    "a foreign coverage": ("SET coverage foreign; HSET columns R01235 foreign", "32 columns, 2 dropped"),
    "the coverage of a master that knows less": ("SET coverage less", "32 columns"),
    "a coverage of 64 MB": (f"SETRANGE coverage {HUGE} x", "32 columns, 2 dropped"),
    "a sheet and a column of 64 MB": (
        "HSET sheets 2026-02-10.1 huge; HSET columns R01235 huge",
        "16 columns, 4 dropped",
    ),
    "a version of 64 MB": (f"SETRANGE written {HUGE} x", ""),
}
"""What Redis loses → commands of Redis that lose it, and what is repaired if it loses it twice."""


def lose(lost: str, served: Served, client: redis.Redis) -> None:
    """Run these commands of Redis, with our keys and some values."""
    less = encode_coverage(Settled(FIRST_DAY, DAYS[3]), 1)
    words: dict[str, str | bytes] = {"newest": f"{DAYS[-1]}.1", "huge": bytes(HUGE), "less": less}
    words |= {one: key(served, one) for one in ("sheets", "columns", "coverage", "written", "quarantine")}
    ask: Any = client.execute_command
    for command in LOSSES[lost][0].split("; "):
        ask(*(words.get(word, word) for word in command.split()))


async def repairs(served: Served) -> str:
    """How much was written again, and how much was dropped."""
    found = (
        re.fullmatch(r'ratesvc_repaired_total{what="(\w+)"} (.*)', " ".join(one))
        for one in (await served.samples()).items()
    )
    return ", ".join(f"{float(one[2]):g} {one[1]}" for one in found if one and float(one[2]))


@pytest.mark.parametrize("lost", LOSSES)
async def test_two_ticks_repair_what_redis_lost(lost: str, quiet: Served, client: redis.Redis) -> None:
    """Redis may lose it twice. A correction has two revisions."""
    first = quiet.held(DAYS[-1])
    await quiet.service.store.put(replace(first, number=2, sheet=changed(first.sheet, PLN=times("1.01"))), first)
    for _ in range(2):
        await quiet.service.tick()
    before, held_before, sent_before = whole(quiet, client), days_of(quiet.service), sent(client)
    assert held_before[1]
    assert (held_before[1].since, held_before[1].until, held_before[2]) == (FIRST_DAY, DAYS[-1], DAYS)
    for ticks in (1, 2):  # lost again, right after a repair
        lose(lost, quiet, client)
        for _ in range(ticks):
            await quiet.service.tick()
    assert sent(client) - sent_before < HUGE / 8, "a foreign value was read to its end"
    assert whole(quiet, client) == before
    assert days_of(quiet.service) == held_before
    await quiet.service.tick()
    assert await repairs(quiet) == LOSSES[lost][1]
    async with Service(quiet.service.settings, clock=quiet.service.clock, scheduled=False) as cold:
        assert days_of(cold) == held_before


async def test_a_replica_that_cannot_read_redis_asks_the_bank_itself(
    quiet: Served, client: redis.Redis, store: Store, bank: Bank, clock: Clock
) -> None:
    """Another program has used a key. What the holder of the lease stores does not come, and the log names the key."""
    client.delete(key(quiet, "sheets"))
    _ = client.set(key(quiet, "sheets"), "foreign")
    assert await store.poll_lease.take()
    clock.moment = EVENING
    bank.publish(sheet(SATURDAY))
    with capture_logs() as logged:
        await quiet.service.poll()
    assert quiet.held(SATURDAY)
    assert key(quiet, "sheets") in str(logged)


async def test_after_a_comparison_that_failed_every_value_is_read_and_what_is_new_is_decoded(
    quiet: Served, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis may be another server by then. Decoding the sheets of ten years would block the event loop."""
    before, decoded, decode = whole(quiet, client), list[str](), records.decode_revision

    def noted(field: str, envelope: bytes | str | None) -> Revision | None:
        decoded.append(field)
        return decode(field, envelope)

    monkeypatch.setattr(records, "decode_revision", noted)
    for _ in range(2):
        with monkeypatch.context() as patch:
            patch.setattr(quiet.service.store, "glance", away)
            await quiet.service.tick()
        await quiet.service.tick()
    assert decoded == []
    with monkeypatch.context() as patch:
        patch.setattr(quiet.service.store, "glance", away)
        await quiet.service.tick()
    client.hset(key(quiet, "columns"), "R01239", b"foreign")
    client.hset(key(quiet, "sheets"), f"{DAYS[-1]}.1", b"foreign")
    await quiet.service.tick()
    assert whole(quiet, client) == before
    assert decoded == [f"{DAYS[-1]}.1"]


async def away() -> Glance:
    """As Redis is."""
    raise StoreUnavailable("away")


async def test_what_a_replica_reads_month_by_month_is_published_once(
    quiet: Served, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis was away at its start. Each publication is a second later than the one before, so eighty would be early."""
    await store.add(Revision(sheet(day), 1, NOON - timedelta(days=1)) for day in DAYS)
    await quiet.service.tick()
    replica, told = Service(quiet.service.settings, clock=quiet.service.clock, scheduled=False), list[Snapshot]()
    replica.on_publication.append(told.append)
    with monkeypatch.context() as patch:
        patch.setattr(replica.store, "glance", away)
        async with replica:
            assert replica.publication is None
            patch.undo()
            await replica.tick()
            assert len({day.month for day in replica.history.latest_own}) > 1
            assert [seen.in_force.effective_date for seen in told] == [DAYS[-1]]


async def test_a_replica_that_began_without_redis_takes_what_its_neighbour_writes(
    quiet: Served, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis comes back empty. What the replica was given meanwhile, a fifth too much, was compared with nothing."""
    await quiet.service.tick()
    before, held_before = whole(quiet, client), days_of(quiet.service)
    wrong, right, strange = changed(sheet(DAYS[-1]), EUR=times("1.2")), sheet(SATURDAY), sheet(SATURDAY + ONE_DAY)
    given = wrong, right, changed(strange, EUR=times("10"))
    replica = Service(quiet.service.settings, clock=quiet.service.clock, scheduled=False)
    with monkeypatch.context() as patch:
        patch.setattr(replica.store, "glance", away)
        async with replica:
            replica.history.hold(Revision(one, 1, NOON) for one in given)
            client.flushall()
            patch.undo()
            await replica.tick()
            assert replica.history.of_date(DAYS[-1]) == Revision(wrong, 1, NOON), "it answers meanwhile"
            await quiet.service.tick()
            assert whole(quiet, client) == before
            for _ in range(2):
                await replica.tick()
            # Of the days that the neighbour lacks it keeps what passes the rules beside the neighbour's.
            assert days_of(replica) == ([*held_before[0], (SATURDAY, 1)], *held_before[1:])
            assert replica.history.of_date(DAYS[-1]) == quiet.held(DAYS[-1])
            await quiet.service.tick()
            assert days_of(quiet.service) == days_of(replica)


async def test_a_replica_that_began_without_redis_writes_when_no_neighbour_does(
    settings: Settings, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The only replica, and a Redis that comes back empty: two ticks after others would have written."""
    replica = Service(settings, clock=clock, scheduled=False)
    with monkeypatch.context() as patch:
        patch.setattr(replica.store, "glance", away)
        async with replica:
            replica.history.hold([Revision(sheet(FRIDAY), 1, NOON)])
            patch.undo()
            stored = []
            for _ in range(4):
                await replica.tick()
                stored.append(len(await replica.store.fields()))
            assert stored == [0, 0, 0, 1]


async def test_whoever_asks_while_a_store_is_read_gets_no_sheet_that_a_person_withdrew_or_corrected(
    quiet: Served, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Series do not know it. Caches would keep it for a day, and if Redis goes meanwhile, the newest sheet counts."""
    decided, seen = (DAYS[3], DAYS[4]), list[list[int | None]]()
    await store.add(Revision(sheet(day), 1, NOON - timedelta(days=1)) for day in DAYS)
    sheets = Sheet(decided[0], ()), changed(sheet(decided[1]), PLN=times("1.01"))
    await store.add(Revision(one, 2, NOON - timedelta(days=1)) for one in sheets)
    replica = Service(quiet.service.settings, clock=quiet.service.clock, scheduled=False)
    read = replica.store.revisions

    async def and_somebody_asks(*given: Any) -> Any:
        found = map(replica.history.of_date, (*decided, DAYS[-1]))
        seen.append([one.number if one else None for one in found])
        return await read(*given)

    monkeypatch.setattr(replica.store, "revisions", and_somebody_asks)
    async with replica:
        await and_somebody_asks((), {})
    assert seen == [[None, None, None], [None, None, 1], [None, 2, 1]]


async def longest_turn(act: Coroutine[object, object, object]) -> float:
    """Seconds of processor time of the longest turn of the event loop meanwhile."""
    done, longest_s = asyncio.ensure_future(act), 0.0
    while not done.done():
        begun = time.thread_time()
        await asyncio.sleep(0)
        longest_s = max(longest_s, time.thread_time() - begun)
    await done
    return longest_s


@pytest.mark.timed
async def test_no_tick_blocks_the_event_loop_with_ten_years_of_documents(
    settings: Settings, clock: Clock, store: Store, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readers would wait as long, whatever Redis has. Thirty-three years are settled, and later a month more.

    One of the settled days is withdrawn.
    """
    days, columns = [*takewhile(FRIDAY.__ge__, workdays(date(1993, 1, 5), 9999))], dict[str, Column]()

    def doubled(day: date) -> Revision:
        """Sixty rows."""
        more = (replace(quote, code=f"{quote.code[1:]}X", cbr_id=f"{quote.cbr_id}X") for quote in sheet(day).quotes)
        return Revision(Sheet(day, (*sheet(day).quotes, *more)), 1, NOON - timedelta(days=1), (), bytes(1500))

    async def settle(more: list[date]) -> None:
        for day in more:
            columns.update(with_revision(columns, doubled(day)))
        at, withdrawn = NOON - timedelta(days=1), frozenset({days[1000]})
        settled = Settled(days[0], more[-1], at, digest(columns.values()), more[-1], open_days=withdrawn)
        await store.put_history(columns.values(), settled)

    await settle(days[:-30])
    await store.add(map(doubled, days[-2500:]))
    took_s, service = dict[str, float](), Service(settings, clock=clock, scheduled=False)
    with monkeypatch.context() as patch:
        patch.setattr(service.store, "glance", away)
        async with service:
            patch.undo()
            took_s["it comes"] = await longest_turn(service.tick())
            patch.setattr(service.store, "glance", away)
            await service.tick()
            patch.undo()
            took_s["it comes back"] = await longest_turn(service.tick())
            client.flushall()
            took_s["it has lost all"] = await longest_turn(service.tick())
            took_s["it has all again"] = await longest_turn(service.tick())
            await settle(days[-30:-9])
            took_s["it has a month more"] = await longest_turn(service.tick())
            assert len(service.history.latest_own) == 2500
            assert service.history.settled
            assert service.history.settled.until == days[-10]
    assert {what: taken for what, taken in took_s.items() if taken > limit_s(0.02)} == {}


async def test_a_bug_of_ours_is_logged_and_is_not_a_trouble_of_redis(
    held: Served, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], bank: Bank, clock: Clock
) -> None:
    """Redis counts as up, readers and polls notice nothing, and the log has the traceback."""

    def mistaken(*_: object) -> None:
        raise ValueError("a bug of ours")

    await eventually(lambda: not held.service.telemetry.trouble)
    monkeypatch.setattr("ratesvc.storage.records.decode_coverage", mistaken)
    capsys.readouterr()
    await held.service.tick()
    bank.publish(sheet(SATURDAY))
    clock.moment = EVENING
    await held.service.store.release_leases()
    await held.service.poll()
    assert "" in bank.queries
    said = capsys.readouterr().out
    assert "task_died" in said
    assert "in mistaken" in said
    assert "store_unavailable" not in said
    assert held.service.health()["redis:connectivity"]["status"] == "pass"
    status, _, body = await held.get("/v1/rates/next")
    assert (status, json.loads(body)["effective_date"]) == (200, str(SATURDAY))


class Replicas:
    """Two replicas in step, each with its own connection. They have fetched different corrections of one sheet."""

    def __init__(self, settings: Settings) -> None:
        first = Revision(plausible(DAYS[-1]), 1, NOON)
        self.stores = [Store(RedisConnection(settings.redis.url), settings.redis.namespace, token) for _ in "12"]
        self.histories = [History(WorkCalendar(), [first]) for _ in "12"]
        self.syncs = [Sync(*parts, {}) for parts in zip(self.stores, self.histories, strict=True)]
        self.corrections = [
            replace(first, sheet=changed(first.sheet, PLN=times(factor)), number=2, fetched_at=NOON + later)
            for factor, later in (("1.01", timedelta(hours=2)), ("1.02", timedelta(hours=1)))
        ]

    async def beat(self, times: int) -> None:
        for sync in self.syncs * times:
            await sync.compare()

    def said(self) -> list[list[tuple[int, Decimal, datetime]]]:
        """What each of them answers for each revision."""
        return [
            [
                (one.number, one.sheet.by_code["PLN"].value, one.fetched_at)
                for key in history.own_keys
                for one in [history.revision(*key)]
            ]
            for history in self.histories
        ]


@pytest.fixture
async def replicas(settings: Settings) -> AsyncIterator[Replicas]:
    made = Replicas(settings)
    await made.beat(4)
    yield made
    for store in made.stores:
        await store.close()


async def test_a_replica_that_stores_a_correction_too_late_reads_the_one_that_came_first(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis was away. Both hold a revision 2, and both find that Redis lacks it."""
    for history, correction in zip(replicas.histories, replicas.corrections, strict=True):
        history.hold([correction])
    one, add = replicas.stores[0], replicas.stores[0].add

    async def late(revisions: Iterable[Revision]) -> int:
        monkeypatch.setattr(one, "add", add)
        await replicas.syncs[1].compare()
        return await add(revisions)

    monkeypatch.setattr(one, "add", late)
    await replicas.beat(3)
    assert replicas.said()[0] == replicas.said()[1]
    # The later correction is not lost.
    assert replicas.said()[0][-1][:2] == (3, replicas.corrections[0].sheet.by_code["PLN"].value)


async def test_replicas_that_fetched_the_same_series_at_two_times_answer_alike(replicas: Replicas) -> None:
    """One began anew while Redis was empty. The time of the request is in every answer, and in its tag."""
    for history, later in zip(replicas.histories, (timedelta(0), timedelta(hours=1)), strict=True):
        columns = with_revision({}, Revision(plausible(DAYS[0]), 1, NOON + later)).values()
        history.settle(Settled(DAYS[0], DAYS[0], NOON + later, digest(columns)), columns)
    await replicas.beat(2)
    said = [history.revision(DAYS[0], 1) for history in replicas.histories]
    assert said[0] == said[1]
    assert said[0].fetched_at == NOON + timedelta(hours=1)


RECORDED = Path(__file__).parents[1] / "stores" / "1.0.0.json"
"""Keys without their namespace, base64 of names and values in them, and what 1.0.0 answered."""


async def facts(served: Served) -> Any:
    """The figures and marks that no version may change."""
    rates = json.loads((await served.get("/v1/rates?codes=USD,PLN"))[2], parse_float=str)
    series = json.loads((await served.get(f"/v1/series?codes=USD,PLN&since={DAYS[0]}"))[2], parse_float=str)
    return {
        "in force": [rates["effective_date"], rates["revision"], rates["flags"], rates["fetched_at"]],
        "rates": {code: [row["nominal"], row["value"], row["unit_rate"]] for code, row in rates["rates"].items()},
        "series": [[row["date"], row["code"], row["unit_rate"]] for row in series["rows"]],
        "unconfirmed": series["unconfirmed"],
        "quarantined": sorted(case.name for case in await served.service.quarantine.cases()),
    }


@pytest.mark.slow
async def test_the_store_of_the_first_release_is_served(
    bank: Bank, settings: Settings, serve: Serve, clock: Clock, client: redis.Redis
) -> None:
    """A revision, columns, a day that is held back and a document that waits, while the Bank does not answer."""
    clock.moment = EVENING
    recorded = json.loads(RECORDED.read_text("utf-8"))
    for name, values in recorded["keys"].items():
        key = f"{{{settings.redis.namespace}}}:{name}"
        for field, content in values.items():
            decoded = base64.b64decode(content)
            _ = client.hset(key, base64.b64decode(field), decoded) if field else client.set(key, decoded)
    bank.documents.clear()
    bank.misbehave = unavailable
    async with serve() as served:
        await served.ready()
        assert await facts(served) == recorded["answers"]
        assert served.service.history.settled
        # Nothing was damaged, so nothing had to be written again.
        await served.service.tick()
        assert (await served.service.store.glance()).version == b""
