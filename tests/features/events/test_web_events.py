"""/v1/events over real sockets: sent and missed events, late replicas, and slow readers."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import date
from pathlib import Path
from urllib.parse import urljoin

import pytest
import redis
from conftest import Clock, Serve, Served, eventually
from kit.bank import Bank, around_today, sheet
from kit.dates import FRIDAY, MIDNIGHT, SATURDAY, THURSDAY
from kit.http import Reader, knows, reading, says
from kit.service import serving
from kit.time import limit_s

from ratesvc.config import Settings
from ratesvc.features.events import routes
from ratesvc.features.events.place import Event, Place, Stamp
from ratesvc.render.openapi import Site
from ratesvc.web import connections

pytestmark = pytest.mark.usefixtures("_two_sheets", "told_soon")

FIRST = "2026-04-24.1-7fe99e88"
IDS = [f"{FIRST}_2026-04-25.1-99c35439", f"{FIRST}_2026-04-25.2-300b3baa", "2026-04-25.2-300b3baa"]
"""Of a day's three events."""
EVENTS = [("sheet", "2026-04-25", 1), ("revision", "2026-04-25", 2), ("in_force", "2026-04-25", 2)]
RESET = [("reset", "", 0)]


@asynccontextmanager
async def without_redis(serve: Serve) -> AsyncIterator[Served]:
    """A service with all sheets of the Bank's."""
    async with serve(redis={"url": "redis://127.0.0.1:1/0"}) as running:
        await eventually(lambda: len(running.service.history.days) >= 2)
        yield running


@pytest.fixture
def _two_sheets(bank: Bank) -> None:
    """The Bank has set Thursday's and Friday's sheets."""
    bank.publish(sheet(THURSDAY), sheet(FRIDAY))


async def is_corrected(bank: Bank, served: Served, day: date, shift: int) -> None:
    """The Bank gives that day other figures, and the second poll confirms them."""
    bank.publish(sheet(day, shift))
    for _ in range(2):
        await served.service.refresh()


async def a_day_passes(bank: Bank, replicas: Sequence[Served], clock: Clock, *readers: Reader) -> None:
    """Saturday's sheet is set, corrected, and comes into force at midnight in Moscow."""
    bank.publish(sheet(SATURDAY))
    await replicas[0].service.refresh()
    for reader in readers:
        await reader.receives(1)
    await is_corrected(bank, replicas[0], SATURDAY, 1)
    for reader in readers:
        await reader.receives(2)
    clock.moment = MIDNIGHT
    for replica in replicas:
        await replica.service.tick()
    for reader in readers:
        await reader.receives(3)


async def test_a_publication_a_correction_and_midnight_on_two_replicas(
    bank: Bank, serve_whole: Serve, clock: Clock
) -> None:
    """Every replica sends each event once, in one order and with the same ids; its address answers that revision."""
    async with serve_whole() as one, serve_whole() as two:
        async with reading(one.url) as first, reading(two.url) as second:
            await a_day_passes(bank, (one, two), clock, first, second)
        for reader in (first, second):
            assert (reader.ids, reader.received) == (IDS, EVENTS)
            assert reader.blocks[0] == {"retry": "3000", "id": FIRST}
        path = urljoin("/v1/events", first.documents()[-1]["url"])
        assert path == "/v1/rates/2026-04-25?revision=2", "a cache may have the one before"
        status, _, body = await two.get(path)
        assert (status, json.loads(body)["effective_date"], json.loads(body)["revision"]) == (200, "2026-04-25", 2)


async def continues(served: Served) -> None:
    """A reader of any of the day's events gets the rest: a missed sheet with its correction is one event."""
    rest = {FIRST: [("sheet", "2026-04-25", 2), EVENTS[2]], IDS[0]: EVENTS[1:], IDS[1]: EVENTS[2:], IDS[2]: []}
    for last, expected in rest.items():
        async with reading(served.url, last) as reader:
            await reader.receives(len(expected))
            assert (reader.received, reader.last_id) == (expected, IDS[2])
            assert reader.blocks[0] == {"retry": "3000", "id": last}


async def test_missed_events_come_from_any_replica_and_after_a_restart(
    bank: Bank, settings: Settings, serve_whole: Serve, clock: Clock
) -> None:
    """Exactly the rest. Redis may be emptied and gone meanwhile, since memory has everything."""
    async with serve_whole() as one, serve_whole() as two:
        await a_day_passes(bank, (one, two), clock)
        await eventually(lambda: knows(two.url, IDS[2]))
        await continues(two)
        async with reading(two.url) as fresh:
            assert fresh.blocks == [{"retry": "3000", "id": IDS[2]}]
        with redis.Redis.from_url(settings.redis.url) as client:
            client.flushall()
        await continues(one)
        await one.service.tick()
        await eventually(
            lambda: client.hlen(f"{{{settings.redis.namespace}}}:v2:sheets") >= len(one.service.history.own_keys)
        )
    async with serve_whole() as again:
        await continues(again)


async def test_without_redis_every_reader_is_told(bank: Bank, serve: Serve, clock: Clock) -> None:
    """By the replica that asked the Bank. The next one counts revisions anew: of two with one number it says reset."""
    async with without_redis(serve) as one, reading(one.url) as reader:
        await a_day_passes(bank, (one,), clock, reader)
        assert (reader.ids, reader.received) == (IDS, EVENTS)
    async with without_redis(serve) as again, reading(again.url, IDS[2]) as reader, reading(again.url, FIRST) as late:
        await late.receives(2)
        assert late.received == [("sheet", "2026-04-25", 1), ("in_force", "2026-04-25", 1)]
        await is_corrected(bank, again, SATURDAY, 2)
        await late.receives(3)
        await reader.receives(1)
        assert (late.received[2:], reader.received) == ([("revision", "2026-04-25", 2)], RESET)


async def test_a_foreign_id_gets_a_reset(bank: Bank, serve_whole: Serve) -> None:
    """Later events follow. test_place says which ids are foreign, and what a reader of another has missed."""
    async with serve_whole() as served, reading(served.url, "abc") as stranger:
        await stranger.receives(1)
        assert (stranger.received, stranger.ids) == (RESET, [FIRST])
        assert stranger.documents()[0]["url"] == "rates"
        bank.publish(sheet(SATURDAY))
        await served.service.refresh()
        await stranger.receives(2)
        assert stranger.received[1:] == EVENTS[:1]


async def test_before_the_first_sheet_readers_are_asked_to_reconnect(bank: Bank, serve: Serve) -> None:
    """There is nothing yet that a reader could know."""
    bank.documents.clear()
    bank.series.clear()
    async with serve() as running:
        status, _, body = await running.get("/v1/events")
        assert (status, body) == (200, b"retry: 30000\n\n")


async def test_any_page_may_read_the_stream_and_no_proxy_keeps_it(serve_whole: Serve) -> None:
    """HEAD has the same headers and an end."""
    expected = {
        "Content-Type": "text/event-stream; charset=utf-8",
        "Cache-Control": "no-cache",
        "X-Accel-Buffering": "no",
        "Access-Control-Allow-Origin": "*",
    }
    async with (
        serve_whole() as running,
        reading(running.url) as reader,
        running.http.head(f"{running.url}/v1/events") as head,
    ):
        for headers in (reader.headers, head.headers):
            assert {name: headers[name] for name in expected} == expected
        assert (reader.status, head.status, await head.read()) == (200, 200, b"")
        assert reader.headers["Connection"] == "close", "else it would stay open after the stream"
        assert (await running.get("/v1/events?since=2026-04-24"))[0] == 400


@pytest.mark.parametrize("demo", [True, False])
def test_an_event_of_a_demo_says_so(demo: bool) -> None:
    event = Event("sheet", Stamp(THURSDAY), Place.of(THURSDAY, [Stamp(THURSDAY)]))
    assert (b'"demo":true' in routes._written(event, Site("https://rates.example", demo))) is demo  # noqa: SLF001


async def test_a_silent_stream_is_kept_alive(serve_whole: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Comments keep it open, because proxies close silent connections."""
    assert routes.HEARTBEAT_S == 15, "docs/api.md says so"
    monkeypatch.setattr(routes, "HEARTBEAT_S", 0.01)
    async with serve_whole() as running, reading(running.url) as reader:
        await eventually(lambda: reader.blocks.count({":": ""}) >= 3)
        assert reader.events == []


async def test_the_number_of_streams_is_limited(serve_whole: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """One reader too many is asked to reconnect later; a reader that leaves gives up its place."""
    assert routes.MOST_STREAMS == 1000, "docs/api.md says so"
    monkeypatch.setattr(routes, "MOST_STREAMS", 2)
    async with serve_whole() as running, reading(running.url):
        async with reading(running.url), reading(running.url) as third:
            assert (third.status, third.blocks) == (200, [{"retry": "30000"}])
        await eventually(lambda: has_place(running))


async def has_place(served: Served) -> bool:
    """Whether there is room for one more reader."""
    async with reading(served.url) as one_more:
        return "id" in one_more.blocks[0]


async def test_a_stop_ends_every_stream_at_once(serve_whole: Serve) -> None:
    """A new reader is asked to reconnect soon."""
    async with serve_whole() as running, reading(running.url) as reader:
        await eventually(lambda: says(running, "/metrics", b"\nratesvc_event_streams 1.0\n"))
        running.service.drain()
        await eventually(lambda: reader.ended)
        async with reading(running.url) as late:
            assert (late.status, late.blocks) == (200, [{"retry": "3000"}])
        await eventually(lambda: says(running, "/metrics", b"\nratesvc_event_streams 0.0\n"))


@pytest.mark.slow
async def test_a_process_continues_and_stops_with_open_streams(bank: Bank, tmp_path: Path) -> None:
    """After kill -9 a reader gets exactly the missed events; SIGTERM ends streams and the process at once."""
    in_force, _ = around_today(bank)
    async with serving(tmp_path, RATESVC_CBR_MIRRORS=bank.url, RATESVC_POLL_SECONDS="0.2") as program:
        await program.ready()
        async with reading(program.url) as reader:
            assert reader.events == []
        bank.publish(sheet(in_force, shift=1))
        async with reading(program.url, reader.last_id) as present:
            await present.receives(1)
        program.kill()
        await program.ended()
    async with serving(tmp_path, RATESVC_CBR_MIRRORS=bank.url) as program:
        await program.ready()
        async with reading(program.url, reader.last_id) as absent:
            await absent.receives(1)
            program.kill(signal.SIGTERM)
            async with asyncio.timeout(limit_s(connections.FINISH_S)):
                assert await program.ended() == 0
            await eventually(lambda: absent.ended)
    assert absent.received == [("revision", str(in_force), 2)]
    assert absent.ids == present.ids
