"""/v1/events over real sockets: sent events, replayed events, and slow readers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, date, datetime
from pathlib import Path

import msgspec
import pytest
from conftest import Clock, Serve, Served, eventually
from fake_bank import Bank, around_today, sheet
from listener import Reader, reading
from machine import patience
from processes import serving

from ratesvc.config import Redis, Settings
from ratesvc.domain.events import Event, Place
from ratesvc.storage.records import seal
from ratesvc.storage.redis import connect
from ratesvc.storage.store import Store
from ratesvc.web import connections, events

pytestmark = pytest.mark.usefixtures("_two_sheets")

THURSDAY, FRIDAY, SATURDAY, TUESDAY = (date(2026, 4, day) for day in (23, 24, 25, 28))
FIRST = ["1-2026-04-24.1-d1bba6b1", "2-2026-04-24.1-1456b0bd"]
THIRD = "3-2026-04-25.1-399595d2"
NOWHERE = "0-0001-01-01.0"
RESET = [("reset", "", 0)]


@asynccontextmanager
async def started(serve: Serve, settings: Settings, told: int = 2) -> AsyncIterator[Served]:
    """A service that has this many events."""
    async with serve(settings) as running:
        await eventually(lambda: len(list(running.service.event_log.log)) >= told)
        yield running


@pytest.fixture
def _two_sheets(bank: Bank) -> None:
    """The Bank has set Thursday's and Friday's sheets."""
    bank.publish(sheet(THURSDAY), sheet(FRIDAY))


async def a_day_passes(bank: Bank, served: Served, clock: Clock, readers: list[Reader]) -> None:
    """Saturday's sheet is set, corrected, and comes into force."""
    for count, shift in enumerate((0, 1), 1):
        bank.publish(sheet(SATURDAY, shift))
        for _ in range(count):  # a correction is confirmed by the second poll
            await served.service.refresh()
        for reader in readers:
            await reader.heard(count)
    clock.moment = datetime(2026, 4, 24, 21, 0, tzinfo=UTC)
    await served.service.tick()
    for reader in readers:
        await reader.heard(3)


async def test_a_publication_a_correction_and_midnight_on_two_replicas(
    bank: Bank, settings: Settings, serve: Serve, clock: Clock
) -> None:
    """Every replica sends each event once, in one order and with the same ids; its address answers that revision."""
    async with AsyncExitStack() as stack:
        one, two = [await stack.enter_async_context(started(serve, settings)) for _ in "ab"]
        first, second = [await stack.enter_async_context(reading(served.url)) for served in (one, two)]
        await a_day_passes(bank, one, clock, [first, second])
        assert first.told == [("sheet", "2026-04-25", 1), ("revision", "2026-04-25", 2), ("in_force", "2026-04-25", 2)]
        assert first.ids == [THIRD, "4-2026-04-25.2-a8314a99", "5-2026-04-25.2-248306dd"]
        assert first.blocks[0] == {"retry": "3000", "id": FIRST[-1]}
        assert (second.ids, second.told) == (first.ids, first.told)
        path = first.documents()[-1]["url"].removeprefix(one.url.replace("127.0.0.1", "localhost"))
        status, _, body = await two.get(path)
        assert (status, json.loads(body)["effective_date"], json.loads(body)["revision"]) == (200, "2026-04-25", 2)


async def test_missed_events_come_from_another_replica_and_after_a_restart(
    bank: Bank, settings: Settings, serve: Serve, clock: Clock
) -> None:
    """After an id exactly the rest comes. Without an id a reader begins now; an unknown id gets a reset."""
    async with started(serve, settings) as one, started(serve, settings) as two:
        async with reading(two.url) as absent:
            assert (absent.events, absent.last_id) == ([], FIRST[-1])
        async with reading(one.url) as present:
            await a_day_passes(bank, one, clock, [present])
        ids = [*FIRST, *present.ids]
        await eventually(lambda: len(list(two.service.event_log.log)) == 5)
        await replays(two, ids)
        async with reading(two.url) as fresh, reading(two.url, "abc") as stranger:
            assert fresh.blocks == [{"retry": "3000", "id": ids[-1]}]
            await stranger.heard(1)
            assert (stranger.blocks[0], stranger.told, stranger.ids) == ({"retry": "3000"}, RESET, ids[-1:])
    async with started(serve, settings) as again:
        await replays(again, ids)
        assert [str(event.place) for event in again.service.event_log.log] == ids


async def replays(served: Served, ids: list[str]) -> None:
    """From the beginning and after each event except the last."""
    for heard, last in enumerate([NOWHERE, *ids[:-1]]):
        async with reading(served.url, last) as reader:
            await reader.heard(len(ids) - heard)
            assert reader.ids == ids[heard:]
            assert reader.blocks[0]["id"] == last


async def test_replicas_that_append_at_once_append_one_event(
    bank: Bank, settings: Settings, serve: Serve, clock: Clock
) -> None:
    """At midnight every replica proposes the next number; Redis takes one."""
    bank.publish(sheet(SATURDAY))
    async with started(serve, settings, 3) as one, started(serve, settings, 3) as two:
        async with reading(one.url) as first, reading(two.url) as second:
            clock.moment = datetime(2026, 4, 24, 21, 0, tzinfo=UTC)
            await asyncio.gather(*(served.service.tick() for served in (one, two) * 5))
            await asyncio.gather(first.heard(1), second.heard(1))
            await asyncio.gather(*(served.service.tick() for served in (one, two)))
        assert first.told == second.told == [("in_force", "2026-04-25", 1)]
        assert first.ids == second.ids == [str(one.service.event_log.log.end)]


async def test_after_a_total_loss_every_reader_gets_a_reset(
    bank: Bank, settings: Settings, serve: Serve, clock: Clock
) -> None:
    """Redis and every replica lost the log, so nobody knows what a reader missed. All readers get the next event."""
    async with started(serve, settings) as one, reading(one.url) as present:
        await a_day_passes(bank, one, clock, [present])
        ids = [str(event.place) for event in one.service.event_log.log]
    redis = msgspec.structs.replace(settings.redis, namespace=f"{settings.redis.namespace}-emptied")
    settings = msgspec.structs.replace(settings, redis=redis)
    async with started(serve, settings) as one, started(serve, settings) as two, AsyncExitStack() as stack:
        begun = [str(event.place) for event in one.service.event_log.log]
        readers = [await stack.enter_async_context(reading(served.url, last)) for served in (one, two) for last in ids]
        for reader in readers:
            await reader.heard(1)
            assert (reader.blocks[0], reader.told, reader.last_id) == ({"retry": "3000"}, RESET, begun[-1])
            assert reader.documents()[0]["url"].endswith("/v1/rates")
        clock.moment = datetime(2026, 4, 27, 15, 0, tzinfo=UTC)
        bank.publish(sheet(TUESDAY))
        await one.service.refresh()
        for reader in readers:
            await reader.heard(2)
            assert reader.told[1:] == [("sheet", "2026-04-28", 1)]


async def appended(served: Served, store: Store, count: int) -> list[Event]:
    """So many more events in Redis, which the service has read."""
    end = served.service.event_log.log.end.seq
    events = [Event("in_force", Place(seq, FRIDAY, 1)) for seq in range(end + 1, end + count + 1)]
    await store.append_events(events, end)
    await store.announce(FRIDAY)
    await eventually(lambda: served.service.event_log.log.end == events[-1].place)
    return events


async def test_a_reader_with_an_event_older_than_the_log_gets_a_reset(
    settings: Settings, serve: Serve, store: Store
) -> None:
    """The log keeps the newest thousand events, also in Redis, and the service never replays a part."""
    async with started(serve, settings) as one:
        events = await appended(one, store, 1500)
        stored = await store.events(0)
        assert list(one.service.event_log.log) == stored[-1000:] == events[-1000:]
        assert len(stored) < 1200
        async with reading(one.url, FIRST[0]) as late:
            await late.heard(1)
            assert (late.told, late.last_id) == (RESET, str(events[-1].place))


async def test_readers_get_a_reset_as_soon_as_another_log_begins(
    settings: Settings, serve: Serve, store: Store
) -> None:
    """Redis was emptied, and a replica without a log was the first to append."""
    async with started(serve, settings) as one, reading(one.url) as reader:
        other = [Event("sheet", Place(1, SATURDAY, 1, "0" * 8)), Event("in_force", Place(2, SATURDAY, 1, "1" * 8))]
        client = connect(settings.redis.url)
        async with client.pipeline(transaction=True) as at_once:
            key = f"{{{settings.redis.namespace}}}:v2:events"
            at_once.delete(key)
            for event in other:
                number = f"{event.place.seq}-0"
                at_once.xadd(key, {"event": seal(number, str(event).encode())}, id=number)
            await at_once.execute()
        await client.aclose()
        await store.announce(SATURDAY)
        await reader.heard(1)
        assert (reader.told, reader.last_id) == (RESET, str(other[-1].place))
        assert list(one.service.event_log.log) == await store.events(0) == other


async def test_without_redis_readers_are_asked_to_reconnect(settings: Settings, serve: Serve) -> None:
    """Without the log the service could neither number events nor replay them."""
    async with serve(msgspec.structs.replace(settings, redis=Redis(url="redis://127.0.0.1:1/0"))) as running:
        await running.ready()
        status, _, body = await running.get("/v1/events")
        assert (status, body) == (200, b"retry: 30000\n\n")


async def test_any_page_may_read_the_stream_and_no_proxy_keeps_it(settings: Settings, serve: Serve) -> None:
    """HEAD has the same headers and an end."""
    expected = {
        "Content-Type": "text/event-stream; charset=utf-8",
        "Cache-Control": "no-cache",
        "X-Accel-Buffering": "no",
        "Access-Control-Allow-Origin": "*",
    }
    async with (
        started(serve, settings) as running,
        reading(running.url) as reader,
        running.http.head(f"{running.url}/v1/events") as head,
    ):
        for headers in (reader.headers, head.headers):
            assert {name: headers[name] for name in expected} == expected
        assert (reader.status, head.status, await head.read()) == (200, 200, b"")


async def test_a_silent_stream_is_kept_alive(settings: Settings, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Comments keep it open, because proxies close silent connections."""
    monkeypatch.setattr(events, "HEARTBEAT_S", 0.01)
    async with started(serve, settings) as running, reading(running.url) as reader:
        await eventually(lambda: reader.blocks.count({":": ""}) >= 3)
        assert reader.events == []


async def test_the_number_of_streams_is_limited(
    settings: Settings, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One reader too many is asked to reconnect later; a reader that leaves gives up its place."""
    monkeypatch.setattr(events, "MOST_STREAMS", 2)
    async with started(serve, settings) as running, reading(running.url):
        async with reading(running.url), reading(running.url) as third:
            assert (third.status, third.blocks) == (200, [{"retry": "30000"}])
        await eventually(lambda: has_place(running))


async def has_place(served: Served) -> bool:
    """Whether there is room for one more reader."""
    async with reading(served.url) as one_more:
        return "id" in one_more.blocks[0]


async def stuck(served: Served, store: Store) -> socket.socket:
    """A reader that asks for a thousand events and takes none of them."""
    await appended(served, store, 900)
    reader = socket.socket()
    reader.setblocking(False)  # noqa: FBT003 -- as the standard library has it
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(reader, ("127.0.0.1", int(served.url.rsplit(":", 1)[1])))
    request = b"GET /v1/events HTTP/1.1\r\nHost: x\r\nLast-Event-ID: " + NOWHERE.encode() + b"\r\n\r\n"
    await loop.sock_sendall(reader, request)
    return reader


async def test_a_reader_that_reads_nothing_is_dropped(
    settings: Settings, serve: Serve, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its place becomes free and the rest is never sent; other readers do not wait meanwhile."""
    monkeypatch.setattr(connections, "LOOK_S", 0.05)
    monkeypatch.setattr(events, "MOST_STREAMS", 2)
    async with started(serve, settings) as running, reading(running.url) as other:
        with await stuck(running, store) as reader:
            await other.heard(900)
            monkeypatch.setattr(connections, "PATIENCE_S", 0.3)
            await eventually(lambda: has_place(running))
            taken = b""
            with contextlib.suppress(ConnectionResetError):
                while chunk := await asyncio.get_running_loop().sock_recv(reader, 65536):
                    taken += chunk
            assert FIRST[-1].encode() in taken
            assert other.ids[-1].encode() not in taken
        assert not other.ended


async def test_a_stop_ends_every_stream_at_once(settings: Settings, serve: Serve, store: Store) -> None:
    """Also a stream that nobody reads. A new reader is asked to reconnect soon."""
    async with AsyncExitStack() as after:
        async with started(serve, settings) as running:
            reader = await after.enter_async_context(reading(running.url))
            after.enter_context(await stuck(running, store))
            await reader.heard(900)

            async def both_are_open() -> bool:
                return float((await running.samples())["ratesvc_event_streams"]) == 2

            await eventually(both_are_open)
            running.service.drain()
            await eventually(lambda: reader.ended, patience())
            async with reading(running.url) as late:
                assert (late.status, late.blocks) == (200, [{"retry": "3000"}])
            begun = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - begun < connections.FINISH_S


@pytest.mark.slow
async def test_a_process_continues_and_stops_with_open_streams(bank: Bank, tmp_path: Path) -> None:
    """After kill -9 a reader gets exactly the missed events; SIGTERM ends streams and the process at once."""
    in_force = around_today(bank)
    async with serving(tmp_path, RATESVC_CBR_MIRRORS=bank.url, RATESVC_POLL_SECONDS="0.2") as program:
        await program.ready()
        async with reading(program.url, NOWHERE) as reader:
            await reader.heard(2)
        assert [kind for kind, *_ in reader.told] == ["sheet", "in_force"]
        bank.publish(sheet(in_force, shift=1))
        async with reading(program.url, reader.last_id) as present:
            await present.heard(1)
        program.kill()
        await program.ended()
    async with serving(tmp_path, RATESVC_CBR_MIRRORS=bank.url) as program:
        await program.ready()
        async with reading(program.url, reader.last_id) as absent:
            await absent.heard(1)
            program.kill(signal.SIGTERM)
            async with asyncio.timeout(connections.FINISH_S):
                assert await program.ended() == 0
            await eventually(lambda: absent.ended)
    assert absent.told == [("revision", str(in_force), 2)]
    assert absent.ids == present.ids
