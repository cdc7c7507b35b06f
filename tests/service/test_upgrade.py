"""What version 1.0.0 left in Redis is served by this version, whatever has changed since."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Clock, Serve, Served
from kit.bank import Bank, unavailable
from kit.dates import DAYS, EVENING
from redis.asyncio import Redis

from ratesvc.config import Settings
from ratesvc.storage.redis import connect

RECORDED = Path(__file__).parents[1] / "stores" / "1.0.0.json"
"""Keys without their namespace, base64 of names and values in them, and what 1.0.0 answered."""


@pytest.fixture
async def redis(settings: Settings) -> AsyncIterator[Redis]:
    async with connect(settings.redis.url) as client:
        yield client


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
    bank: Bank, settings: Settings, serve: Serve, clock: Clock, redis: Redis
) -> None:
    """A revision, columns, a day that is held back and a document that waits, while the Bank does not answer."""
    clock.moment = EVENING
    recorded = json.loads(RECORDED.read_text("utf-8"))
    for name, values in recorded["keys"].items():
        key = f"{{{settings.redis.namespace}}}:{name}"
        for field, content in values.items():
            decoded = base64.b64decode(content)
            await (redis.hset(key, base64.b64decode(field), decoded) if field else redis.set(key, decoded))
    bank.documents.clear()
    bank.misbehave = unavailable
    async with serve() as served:
        await served.ready()
        assert await facts(served) == recorded["answers"]
        assert served.service.history.coverage
        # Nothing was damaged, so nothing had to be written again.
        await served.service.tick()
        assert (await served.service.store.glance()).writes == int(
            base64.b64decode(recorded["keys"]["v2:version"][base64.b64encode(b"writes").decode()])
        )
