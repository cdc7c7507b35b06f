"""Table G: the lines for a CDN, in Varnish, in front of two regions."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from aiohttp import web
from conftest import Served, eventually, in_nightly
from kit.bank import Bank, around_today
from kit.dates import FRIDAY, MIDNIGHT, SATURDAY
from kit.http import answering, fetched
from kit.proxies import answers_with, changed, varnish
from kit.service import Program, free_port, serving

from ratesvc.domain.workdays import utc_now

pytestmark = pytest.mark.nightly

HIT = "sub vcl_deliver {\n    set resp.http.X-Cache = obj.hits;"
BUSY, QUIET = "/v1/rates?codes=USD", "/v1/rates?codes=EUR"


@asynccontextmanager
async def cdn(folder: Path, near: str, far: str) -> AsyncIterator[str]:
    """The shipped lines, for these regions; yields the address. Says in X-Cache how often a copy was used."""
    port = free_port()
    places = {"192.0.2.1": near, "192.0.2.2": far}
    lines = {
        f'.host = "{name}";\n    .port = "8080"': f'.host = "127.0.0.1";\n    .port = "{urlsplit(url).port}"'
        for name, url in places.items()
    }
    text = changed("cdn.vcl", lines | {"sub vcl_deliver {": HIT})
    async with varnish(folder, text, port):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
async def regions(bank: Bank, tmp_path: Path) -> AsyncIterator[list[Program]]:
    """Two services that know nothing of each other. The second one has one sheet more, by which it is known."""
    around_today(bank)
    async with AsyncExitStack() as stack:
        running = []
        for name in ("near", "far"):
            (tmp_path / name).mkdir()
            variables = {"RATESVC_CBR_MIRRORS": bank.url, "RATESVC_PUBLIC_URL": f"http://{name}.example"}
            running.append(await stack.enter_async_context(serving(tmp_path / name, **variables)))
            await running[-1].ready()
        yield running


async def got(url: str, target: str, **headers: str) -> Got:
    """The answer of the CDN to a new connection."""
    status, found, body = await fetched(url + target, **headers)
    return Got(status, body.decode(), found["X-Cache"] != "0")


@dataclass(frozen=True)
class Got:
    """An answer, and whether the CDN had it."""

    status: int
    text: str
    was_held: bool

    @property
    def day(self) -> str:
        return str(json.loads(self.text)["effective_date"])


async def region_of(url: str) -> str:
    """Which region has answered a request for an address that the CDN does not hold."""
    answered = await got(url, f"/openapi.json?_={utc_now().timestamp()}")
    assert answered.status == 200
    return "near" if "near.example" in answered.text else "far"


@pytest.mark.parametrize("how", [signal.SIGKILL, *in_nightly(signal.SIGSTOP)])
async def test_G9_a_region_fails(regions: list[Program], tmp_path: Path, how: signal.Signals) -> None:
    """A region is gone, or hangs: the other one answers, no request fails, and later the first one is back."""
    near, far = regions
    async with cdn(tmp_path, near.url, far.url) as url:
        await eventually(lambda: answers_with(url, "/readyz", 200))
        assert await region_of(url) == "near"
        near.kill(how)
        assert await region_of(url) == "far"
        if how == signal.SIGSTOP:
            near.kill(signal.SIGCONT)
            await eventually(lambda: region_of(url), becomes="near")


async def test_G9_both_regions_fail(tmp_path: Path) -> None:
    """Neither region answers a CDN: a copy that ran out is shown as long as stale-if-error says."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(headers={"Cache-Control": "public, max-age=1, stale-while-revalidate=0, stale-if-error=4"})

    shown_s, over_s = 0.0, 0.0
    origin = f"http://127.0.0.1:{(port := free_port())}"
    async with cdn(tmp_path, origin, origin) as url:
        async with answering(answer, port):
            await eventually(lambda: answers_with(url, "/readyz", 200))
            begun = utc_now()
            assert (await got(url, BUSY)).status == 200
            had = utc_now()

        async def is_over() -> bool:
            nonlocal shown_s, over_s
            asked = utc_now()
            if (await got(url, BUSY)).status != 503:
                shown_s = (asked - had).total_seconds()
                return False
            over_s = (utc_now() - begun).total_seconds()
            return True

        await eventually(is_over)
        assert (await got(url, QUIET)).status == 503
    # An answer may come late on a crowded machine: it was shown no earlier than asked for, and no later than it came.
    assert 0 < shown_s < 6
    assert over_s > 3


async def test_G9_midnight_at_a_cdn(evening: Served, tmp_path: Path) -> None:
    """At a CDN neither a busy nor a quiet address shows yesterday's rates after midnight."""
    async with cdn(tmp_path, evening.url, evening.url) as url:
        await eventually(lambda: answers_with(url, "/v1/rates", 200))
        begun = utc_now()
        evening.service.clock = lambda: MIDNIGHT - timedelta(seconds=5) + (utc_now() - begun)
        for target in (BUSY, QUIET, "/widget?lang=en"):
            assert str(FRIDAY) in (await got(url, target)).text

        async def is_over() -> bool:
            sent = evening.service.clock()
            shown = (await got(url, BUSY)).day
            assert shown == str(SATURDAY) or evening.service.clock() < MIDNIGHT or sent < MIDNIGHT
            return sent >= MIDNIGHT

        await eventually(is_over)
        assert (await got(url, QUIET)).day == str(SATURDAY)
        assert f'Today</span> <time datetime="{SATURDAY}"' in (await got(url, "/widget?lang=en")).text


async def test_G9_what_a_cdn_keeps_apart(evening: Served, tmp_path: Path) -> None:
    """A CDN's key is the address with its query: neither Host nor cookies nor other headers make another copy."""
    async with cdn(tmp_path, evening.url, evening.url) as url:
        await eventually(lambda: answers_with(url, "/v1/rates", 200))
        first = await got(url, BUSY)
        for headers in ({"Cookie": "a=b"}, {"Host": "x"}, {"Accept_Language": "ru"}, {"X_Forwarded_Host": "x"}):
            again = await got(url, BUSY, **headers)
            assert (again.text, again.was_held) == (first.text, True), headers
        other = await got(url, QUIET)
        assert (other.was_held, other.text == first.text) == (False, False)
