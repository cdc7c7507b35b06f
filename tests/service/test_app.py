"""The running program: what it serves and when, what it starts with, and how it ends."""

from __future__ import annotations

import asyncio
import signal
from datetime import UTC, date, datetime
from pathlib import Path

import aiohttp
import msgspec
import pytest
from conftest import Clock, Serve, Served, eventually
from fake_bank import Bank, sheet
from processes import serving

from ratesvc.config import Server, Settings
from ratesvc.domain.rates import Revision

THURSDAY, FRIDAY, SATURDAY = (date(2026, 4, day) for day in (23, 24, 25))


async def test_a_publication_is_replaced_only_by_news(served: Served, clock: Clock) -> None:
    """One more sheet, another hour and another day make a new publication; the same knowledge does not."""
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


async def test_two_replicas_share_a_port(bank: Bank, settings: Settings, serve: Serve) -> None:
    """The system spreads connections over both. Without `reuse_port` the second replica could not start."""
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
    """After SIGTERM it is not ready, closes connections with their answers, answers to the end, and exits with 0."""
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
        for _ in range(8):
            status, headers, _ = await program.get("/openapi.json")
            seen.add(status)
            assert headers["Connection"] == "close"
        assert seen == {200}
        assert await program.ended() == 0
