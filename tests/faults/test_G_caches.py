"""Table G: caches and proxies as they are. Nothing old is shown, whatever they ignore and whoever hangs."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest
from conftest import Served, eventually
from kit.bank import Bank, sheet
from kit.browser import pasted
from kit.dates import FRIDAY, MIDNIGHT, NOON, SATURDAY, THURSDAY
from kit.http import ask, get
from kit.ledger import Fault
from kit.proxies import cache, changed, nginx_with
from kit.reader import heads_of
from kit.service import Program, free_port, serving
from kit.time import LOOSE, WallClock, limit_s

pytestmark = pytest.mark.nightly

LINK = "Bank of Russia exchange rates</a>"
WAITS_S = 1.0
"""A page waits for the service so long at most."""


@dataclass
class Site:
    """A site on nginx with the shipped configuration for server-side includes, and its service."""

    service: Program
    wall: WallClock
    folder: Path
    http: aiohttp.ClientSession
    waited_s: list[float] = field(default_factory=list)

    async def write(self, name: str, query: str) -> None:
        """A page with the builder's lines."""
        code = await pasted(self.service.url, "ssi", query)
        (self.folder / name).write_text(f"<h1>News</h1>{code}<p>The end</p>", "utf-8")

    async def shows(self, path: str = "/") -> str:
        """The day that a page calls today, or what is there instead. The page must be whole and come in time."""
        begun = time.monotonic()
        async with self.http.get(path) as answer:
            text = await answer.text()
        self.waited_s.append(time.monotonic() - begun)
        assert self.waited_s[-1] < limit_s(WAITS_S + 0.1), path
        assert text.startswith("<h1>News</h1>")
        assert text.endswith("<p>The end</p>")
        day = dict(heads_of(text)).get("Today")
        return str(day) if day else "the link" if LINK in text else text

    async def all_show(self, expected: str, path: str = "/") -> None:
        """Five readers at once; more would measure libfaketime, which reads its file at each look at the clock."""
        assert await asyncio.gather(*(self.shows(path) for _ in range(5))) == [expected] * 5


@pytest.fixture
async def site(bank: Bank, tmp_path: Path) -> AsyncIterator[Site]:
    """On Friday at noon, with Saturday's sheet announced. Service and nginx have one clock."""
    bank.publish(sheet(THURSDAY), sheet(FRIDAY), sheet(SATURDAY))
    wall, port, folder = WallClock(tmp_path / "clock"), free_port(), tmp_path / "site"
    folder.mkdir()
    wall.set(NOON)
    variables = {**wall.variables, "RATESVC_CBR_MIRRORS": bank.url, "RATESVC_POLL_SECONDS": "3600"}
    async with serving(tmp_path, **variables) as service:
        await service.ready()
        own = {
            "http://RATES/": f"{service.url}/",
            "listen 80": f"listen 127.0.0.1:{port}",
            "/var/www/html": str(folder),
            "/var/cache/nginx/rates": f"{tmp_path}/cache",
            "timeout 300ms": f"timeout {300 * LOOSE:.0f}ms",
            "timeout 700ms": f"timeout {700 * LOOSE:.0f}ms",
        }
        text = f"http {{ default_type text/html; access_log off;\n{changed('nginx-ssi.conf', own)}\n}}"
        # Without kept connections a page never waits for the renewal of another one's copy.
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        async with (
            nginx_with(tmp_path, text, port, wall.variables),
            aiohttp.ClientSession(f"http://127.0.0.1:{port}", connector=connector, raise_for_status=True) as http,
        ):
            running = Site(service, wall, folder, http)
            await running.write("index.html", "lang=en")
            # A crowded machine may take longer for the first answer than the page waits.
            await eventually(running.shows, becomes=str(FRIDAY))
            running.waited_s.clear()
            yield running


async def test_G1_the_first_reader_of_a_quiet_page(site: Site) -> None:
    """The first reader of a page after midnight sees the new day, however long ago the last one came."""
    for later, day in ((MIDNIGHT + timedelta(seconds=1), SATURDAY), (MIDNIGHT + timedelta(hours=23), SATURDAY)):
        site.wall.set(later)
        assert await site.shows() == str(day)


@pytest.mark.timed
async def test_G2_a_hung_service_behind_includes(site: Site, fault: Fault) -> None:
    """The service hangs: pages wait a second at most, and show today's copy until midnight, then a link."""
    await site.write("new.html", "lang=en&codes=USD")
    site.service.kill(signal.SIGSTOP)
    for moment in (NOON + timedelta(minutes=4), NOON + timedelta(minutes=30), MIDNIGHT - timedelta(seconds=3)):
        site.wall.set(moment)
        await site.all_show(str(FRIDAY))
    await site.all_show("the link", "/new.html")
    site.wall.set(MIDNIGHT)
    await site.all_show("the link")
    site.service.kill(signal.SIGCONT)
    await eventually(site.shows, becomes=str(SATURDAY))
    fault.measured(f"{len(site.waited_s)} pages, the slowest after {max(site.waited_s):.2f} s")


async def test_G2_a_service_that_is_down_behind_includes(site: Site) -> None:
    """The service is down: pages show today's copy until midnight, then a link, and are whole."""
    site.service.kill()
    await site.service.ended()
    site.wall.set(MIDNIGHT - timedelta(seconds=3))
    await site.all_show(str(FRIDAY))
    site.wall.set(MIDNIGHT)
    await site.all_show("the link")


CHOICES = ("Accept: text/csv", "Accept: application/x-ndjson", "Accept: text/html", "Accept-Language: ru, zh;q=0.5")
BY_HEADER = ("/", "/rate", "/docs", "/frankfurter/v2/rates", "/frankfurter/v2/providers/cbr/rates")
BY_ADDRESS = (
    *("/?lang=ru", "/rate?lang=ru", "/docs?lang=ru", "/frankfurter/v2/rates.csv", "/frankfurter/v2/rate/USD/RUB"),
    *("/v1/rates", "/v1/rates.csv", "/v1/series?codes=USD", "/widget", "/embed", "/widget/card.svg"),
)


@pytest.mark.parametrize("header", CHOICES)
async def test_G4_a_cache_that_ignores_vary(served: Served, tmp_path: Path, header: str) -> None:
    """A client after one with another header gets its own answer, also through a cache that ignores Vary."""
    held = set()
    async with cache("varnish", served.url, tmp_path, "unset beresp.http.Vary;") as url:
        for target in (*BY_HEADER, *BY_ADDRESS):
            await ask(url, get(target, header))
            clean, own = [await ask(one, get(target, "Accept-Encoding: identity")) for one in (url, served.url)]
            assert (target, clean.status, clean.body) == (target, own.status, own.body)
            held |= {target} if clean["X-Cache"] == "HIT" else set()
    assert held == set(BY_ADDRESS)
