"""Redis stopped with SIGSTOP after the start: memory answers everything."""

from __future__ import annotations

import signal
import time
from datetime import date
from pathlib import Path

import msgspec
from bank import Bank, sheet, workdays
from conftest import Serve, eventually
from machine import patience
from redis_servers import RealRedis, running

from ratesvc.config import Cbr, Redis, Settings

DAYS = list(workdays(date(2026, 3, 10), 34))
PATHS = [
    *("/v1/rates", "/v1/rates/next", "/v1/rates/2026-03-15?quote=EUR", "/v1/rates/2026-04-01/USD.txt"),
    *("/v1/series?codes=USD,EUR&since=2026-03-10", "/v1/series?codes=USD&since=2026-03-10&group=month&format=csv"),
    *("/v1/convert?amount=5&from=USD&to=CNY", "/v1/currencies?lang=ru", "/chart.svg?codes=USD&since=2026-03-10"),
    *("/scripts/XML_daily.asp", "/cbr-xml-daily/daily_json.js", "/prebid/currency.json", "/ecb/eurofxref-hist.csv"),
    *("/rate?date=2026-04-12&currency=USD", "/widget?lang=ru", "/widget/rows.json", "/", "/health", "/readyz"),
]


async def test_everything_is_answered_within_half_a_second_without_redis(
    bank: Bank, settings: Settings, serve: Serve, tmp_path: Path
) -> None:
    """Redis is never on the path of a request: none is later than half a second, none fails for it."""
    bank.publish(*map(sheet, DAYS))
    own = RealRedis(tmp_path / "redis", "valkey")
    settings = msgspec.structs.replace(
        settings, redis=Redis(url=own.url), cbr=Cbr(mirrors=(bank.url,), backfill_gap_seconds=0)
    )
    with running(own):
        async with serve(settings) as served:
            await eventually(lambda: served.service.history.span)
            for path in PATHS:
                await served.get(path)  # what is made once for all, templates and names, is made now
            own.signal(signal.SIGSTOP)
            for path in PATHS:
                begun = time.monotonic()
                status, _, body = await served.get(path)
                assert time.monotonic() - begun < 0.5 * patience(), path
                assert status == (404 if path == "/v1/rates/next" else 200), (path, body[:300])
            own.signal(signal.SIGCONT)
