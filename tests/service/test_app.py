"""The running program: what it serves and when, what it starts with, and how it ends."""

from __future__ import annotations

import asyncio
import signal
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import aiohttp
import msgspec
import pytest
from conftest import Clock, Serve, Served, eventually
from fake_bank import Bank, sheet
from processes import serving

from ratesvc.config import Server, Settings
from ratesvc.domain.history import History
from ratesvc.domain.rates import Revision
from ratesvc.service.app import Service

THURSDAY, FRIDAY, SATURDAY = date(2026, 4, 23), date(2026, 4, 24), date(2026, 4, 25)


THURSDAY, FRIDAY, SATURDAY = (date(2026, 4, day) for day in (23, 24, 25))


async def test_what_is_served_is_replaced_when_something_is_new_and_not_before(served: Served, clock: Clock) -> None:
    """The same knowledge is the same publication; a sheet more, an hour more or another day is another one."""
    service = served.service
    first = service.publisher.current
    service.publish()
    assert service.publisher.current is first
    service.history.add(Revision(sheet(SATURDAY), 1, clock()))
    service.publish()
    with_saturday = service.publisher.current
    assert with_saturday is not first
    assert with_saturday
    assert with_saturday.snapshot.announced
    clock.moment = datetime(2026, 4, 24, 21, 0, tzinfo=UTC)
    service.publish()
    assert service.publisher.current is not with_saturday


async def test_a_request_after_midnight_is_answered_by_the_new_day(served: Served, clock: Clock) -> None:
    """Whatever was to switch at midnight slept: the first question switches, and until then nothing does."""
    before = served.service.publisher.current
    assert before
    clock.moment = before.until - timedelta(seconds=1)
    assert served.service.served(clock()) is before
    clock.moment = before.until
    after = served.service.served(clock())
    assert after is not before
    assert after
    assert after.snapshot.today == SATURDAY
    assert served.service.served(clock()) is after


async def test_without_redis_what_was_fetched_is_served(bank: Bank, settings: Settings, serve: Serve) -> None:
    """Directly, since no announcement comes; the check says that Redis is away."""
    bank.publish(sheet(THURSDAY), sheet(FRIDAY))
    nowhere = msgspec.structs.replace(settings.redis, url="redis://127.0.0.1:1")
    async with serve(msgspec.structs.replace(settings, redis=nowhere)) as served:
        await served.ready()
        await eventually(lambda: len(served.service.history) == 2)
        assert (await served.get("/v1/rates"))[0] == 200
        health = served.service.health()
        assert (health["redis:connectivity"]["status"], health["cbr:sheet"]["status"]) == ("warn", "pass")


async def test_history_begins_with_what_is_stored(bank: Bank, settings: Settings, serve: Serve, clock: Clock) -> None:
    """A replica that starts without the Bank serves what the last one left."""
    bank.publish(sheet(THURSDAY), sheet(FRIDAY))
    async with serve(settings) as first:
        await first.ready()
        await eventually(lambda: len(first.service.history) == 2)
    asked = len(bank.asked)
    async with Service(settings, clock=clock, scheduled=False) as second:
        assert isinstance(second.history, History)
        assert [one.effective_date for one in second.history] == [THURSDAY, FRIDAY]
        assert second.publisher.current
    assert len(bank.asked) == asked


async def test_two_replicas_share_a_port(bank: Bank, settings: Settings, serve: Serve) -> None:
    """The system spreads connections over both; without the setting the second would be refused."""
    bank.publish(sheet(THURSDAY), sheet(FRIDAY))
    first = msgspec.structs.replace(settings, server=Server(port=0, reuse_port=True, drain_seconds=0))
    async with serve(first) as one:
        port = int(one.url.rsplit(":", 1)[1])
        second = msgspec.structs.replace(settings, server=Server(port=port, reuse_port=True, drain_seconds=0))
        async with serve(second) as two:
            await asyncio.gather(one.ready(), two.ready())
            for _ in range(60):
                async with aiohttp.ClientSession() as http, http.get(one.url + "/v1/currencies") as answer:
                    assert answer.status == 200
            counts = [served.service.telemetry.metrics.route("/v1/currencies").by_status[200] for served in (one, two)]
            assert sum(counts) >= 60  # more where a new publication answered it once more by itself
            assert min(counts) > 0


@pytest.mark.slow
async def test_a_drain_loses_no_request(bank: Bank, tmp_path: Path) -> None:
    """SIGTERM: not ready, connections end with their answers, everything is answered until the end, exit 0."""
    bank.publish(sheet(THURSDAY), sheet(FRIDAY))
    async with serving(tmp_path, RATESVC_CBR_MIRRORS=bank.url, RATESVC_DRAIN_SECONDS="1.5") as program:
        await eventually(lambda: len(bank.asked) >= 2)
        assert "Connection" not in (await program.get("/v1/currencies"))[1]
        program.kill(signal.SIGTERM)
        seen: set[int] = set()

        async def is_draining() -> bool:
            status, headers, body = await program.get("/readyz")
            return (status, body, headers.get("Connection")) == (503, b"draining\n", "close")

        await eventually(is_draining)
        for _ in range(20):
            status, headers, _ = await program.get("/openapi.json")
            seen.add(status)
            assert headers["Connection"] == "close"
        assert seen == {200}
        assert await program.ended() == 0
