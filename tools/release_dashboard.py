"""Writes the README's picture of the dashboard: `PYTHONPATH=.:tests:tests/faults python tools/release_dashboard.py`.

Chromium, redis-server and prometheus must be at hand. Two replicas, requests, a Bank that errs and a Redis that is lost
are watched by a real Prometheus for two minutes; it answers the queries of the dashboard's own file, and
`panels.py` draws what it answered.
"""

from __future__ import annotations

import asyncio
import json
import math
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from io import BytesIO
from itertools import count
from pathlib import Path

import aiohttp
from aiohttp import web
from conftest import program
from fake_bank import Bank, around_today, bank_running, daily_xml, sheet
from fleet import shared_by
from panels import STYLE, Panel, Series, drawn, written_out
from PIL import Image
from playwright.async_api import Browser, ViewportSize
from processes import free_port, serving
from redis_servers import RealRedis, running
from release_pictures import DOCS, faces
from sheets import all_times
from widget_harness import chromium

from ratesvc.domain.workdays import MOSCOW, WorkCalendar

DASHBOARD = DOCS.parent / "deploy/grafana/ratesvc.json"
WATCHED_S = 120
PAUSE_S = 0.015
ASKED = (
    *("/v1/rates", "/v1/rates/next", "/v1/series?codes=USD", "/v1/convert?amount={}&from=USD&to=CNY", "/v1/rates"),
    *("/v1/rates/2031-01-01", "/v1/rates?codes=US{}", "/chart.svg?codes=USD&width=4{}"),
)
PROMETHEUS = """global: {{scrape_interval: 1s}}
scrape_configs:
  - job_name: ratesvc
    static_configs:
      - {{targets: ["{}"], labels: {{instance: replica-1}}}}
      - {{targets: ["{}"], labels: {{instance: replica-2}}}}
"""
# What Grafana takes at a scrape a second.
RATE_INTERVAL = "4s"
CAPTION = (
    "Two replicas for two minutes, with a Bank and a Redis that fail. The panels are drawn from the dashboard's own "
    "file and queries over a real Prometheus, not by Grafana."
)


@asynccontextmanager
async def prometheus(folder: Path, *replicas: str) -> AsyncIterator[str]:
    """A Prometheus that reads these replicas each second; yields the address of its API."""
    config, address = folder / "prometheus.yml", f"127.0.0.1:{free_port()}"
    config.write_text(PROMETHEUS.format(*(url.removeprefix("http://") for url in replicas)), "utf-8")
    options = (f"--config.file={config}", f"--storage.tsdb.path={folder}/tsdb", f"--web.listen-address={address}")
    process = await asyncio.create_subprocess_exec(
        *(program("prometheus"), *options), stderr=asyncio.subprocess.DEVNULL
    )
    try:
        yield f"http://{address}/api/v1"
    finally:
        process.terminate()
        await process.wait()


async def asking(http: aiohttp.ClientSession, *replicas: str) -> None:
    """Requests without an end, now to one replica and now to the other."""
    for number in count():
        path = ASKED[number % len(ASKED)].format(number % 100)
        async with http.get(replicas[number // 3 % 2] + path) as answer:
            await answer.read()
        await asyncio.sleep(PAUSE_S)


async def two_minutes(bank: Bank, redis: RealRedis) -> None:
    """The Bank corrects itself, then is away; Redis is lost and comes back empty; a sheet has a slip of the comma."""

    async def away(_: web.Request) -> web.StreamResponse:
        return web.Response(status=503)

    newest = max(bank.truth)
    following = sheet(WorkCalendar().effective_date_after(newest))
    await asyncio.sleep(WATCHED_S / 4)  # of which the picture shows half: Prometheus, too, takes its time to start
    bank.publish(sheet(newest, shift=1))
    await asyncio.sleep(WATCHED_S / 8)
    bank.misbehave = away
    await asyncio.sleep(WATCHED_S / 8)
    bank.misbehave = None
    await asyncio.sleep(WATCHED_S / 8)
    redis.kill()
    await asyncio.sleep(WATCHED_S / 8)
    redis.start()
    await asyncio.sleep(WATCHED_S / 8)
    bank.documents[following.effective_date] = daily_xml(all_times(following, "10"))
    await asyncio.sleep(WATCHED_S / 4)


async def found(http: aiohttp.ClientSession, url: str, panel: Panel, end: int) -> list[Series]:
    """What Prometheus answers to the queries of a panel, under the names of its legend."""
    series = []
    for target in panel["targets"]:
        over = {"time": end} if target.get("instant") else {"start": end - WATCHED_S, "end": end, "step": 1}
        query: dict[str, str | int] = {"query": written_out(target["expr"], RATE_INTERVAL), **over}
        async with http.get(f"{url}/query{'_range' * ('step' in over)}", params=query) as answer:
            told = await answer.json()
        for one in told["data"]["result"]:
            name = target["legendFormat"]
            for label, value in one["metric"].items():
                name = name.replace(f"{{{{{label}}}}}", value)
            values = one["values"] if "values" in one else [one["value"]]
            series.append((name, [(float(at), float(value)) for at, value in values]))
    assert series, f"«{panel['title']}» has no figures"
    return series


async def page(http: aiohttp.ClientSession, url: str) -> str:
    """The whole dashboard as it is now."""
    end = math.floor(time.time())
    start = end - WATCHED_S
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    body = "".join([drawn(panel, await found(http, url, panel, end), start, end) for panel in panels])
    since, until = (datetime.fromtimestamp(at, MOSCOW) for at in (start, end))
    title = f"<header><h1>ratesvc</h1>{since:%-d %B %Y, %H:%M:%S} – {until:%H:%M:%S}, Moscow</header>"
    return f"<meta charset=utf-8><style>{faces()}{STYLE}</style>{title}<main>{body}</main><footer>{CAPTION}</footer>"


async def photographed(browser: Browser, text: str) -> None:
    """The page as the README shows it."""
    tab = await browser.new_page(viewport=ViewportSize(width=860, height=400), device_scale_factor=2)
    await tab.set_content(text)
    shot = Image.open(BytesIO(await tab.screenshot(full_page=True))).convert("RGB")
    shot.quantize(64, Image.Quantize.MEDIANCUT, kmeans=1, dither=Image.Dither.NONE).save(
        DOCS / "dashboard.png", optimize=True
    )


async def main() -> None:
    """Two minutes, then the picture of them."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        bank = await stack.enter_async_context(bank_running())
        around_today(bank, 10)
        redis = RealRedis(folder / "redis")
        stack.enter_context(running(redis))
        fleet = shared_by(bank, redis.url, RATESVC_POLL_SECONDS="4")
        replicas = [await stack.enter_async_context(serving(folder, **fleet)) for _ in range(2)]
        for replica in replicas:
            await replica.ready()
        urls = [replica.url for replica in replicas]
        http = await stack.enter_async_context(aiohttp.ClientSession())
        url = await stack.enter_async_context(prometheus(folder, *urls))
        readers = asyncio.create_task(asking(http, *urls))
        await two_minutes(bank, redis)
        text = await page(http, url)
        readers.cancel()
        await photographed(await stack.enter_async_context(chromium()), text)


if __name__ == "__main__":
    asyncio.run(main())
