"""Table G: the shipped proxies, readers behind other proxies, and the lines for a CDN in front of two regions."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest
from aiohttp import web
from conftest import Served, eventually, in_nightly
from kit.bank import Bank, around_today
from kit.dates import FRIDAY, MIDNIGHT, SATURDAY
from kit.http import Fetched, answering, client, fetched
from kit.proxies import Front, answers_with, caddy, changed, haproxy, nginx, varnish
from kit.reader import heads_of
from kit.service import Program, free_port, serving
from yarl import URL

from ratesvc.domain.workdays import utc_now

pytestmark = pytest.mark.nightly


# A busy machine may not ask a thousand in ten seconds.
AT_MOST = 100
LISTED = {"127.0.0.0/8": "127.0.0.1/32", "gt 1000": f"gt {AT_MOST}"}


async def asked(http: aiohttp.ClientSession, url: str, *forwarded: str) -> Counter[int]:
    """How often each status came, in answer to requests with these X-Forwarded-For."""

    async def status(addresses: str) -> int:
        async with http.get(f"{url}/livez", headers={"X-Forwarded-For": addresses}) as answer:
            return answer.status

    return Counter([await status(addresses) for addresses in forwarded])


async def test_G6_readers_behind_a_proxy_with_tls(demo: Program, tmp_path: Path) -> None:
    """HAProxy limits each reader behind a listed proxy, not the proxy, and believes nobody else's X-Forwarded-For."""
    async with haproxy(tmp_path, demo.url, replaced=LISTED) as url:
        await eventually(lambda: answers_with(url, "/livez", 200))
        async with client(source="127.0.0.1", limit=1) as tls:
            readers = [f"203.0.113.{number % 20}" for number in range(20 * AT_MOST // 2)]
            assert await asked(tls, url, *readers) == {200: len(readers)}
            forged = [f"198.51.100.{number}, 203.0.113.99" for number in range(150)]
            assert (await asked(tls, url, *forged))[429] > 40
            assert await asked(tls, url, "203.0.113.98", "2001:db8::1") == {200: 2}
        async with client(source="127.0.0.2", limit=1) as stranger:
            forged = [f"198.51.100.{number}" for number in range(150)]
            assert (await asked(stranger, url, *forged))[429] > 40


@pytest.mark.parametrize(
    "front",
    [
        partial(haproxy, replaced={"gt 50 }": "gt 2 }"}),
        partial(nginx, replaced={"limit_conn streams 50": "limit_conn streams 2"}),
    ],
    ids=["haproxy", "nginx"],
)
async def test_G8_one_address_with_many_streams(front: Front, demo: Program, tmp_path: Path) -> None:
    """One address may open so many streams of events, and is told to come later; rates and other addresses go on."""
    async with front(tmp_path, demo.url) as url, AsyncExitStack() as stack:
        await eventually(lambda: answers_with(url, "/livez", 200))

        async def opened(address: str, path: str = "/v1/events") -> aiohttp.ClientResponse:
            http = await stack.enter_async_context(client(source=address))
            stream = await stack.enter_async_context(http.get(URL(url + path, encoded=True)))
            assert (stream.status, stream.content_type) == (200, "text/event-stream")
            assert stream.headers["Access-Control-Allow-Origin"] == "*"
            return stream

        first, second = [await opened("127.0.0.1") for _ in range(2)]
        for path in ("/v1/events", "/v1/events/", "/v1/%65vents", "/v1/events?_=1"):
            assert await (await opened("127.0.0.1", path)).read() == b"retry: 30000\n\n"
        assert [(await stream.content.readline())[:6] for stream in (first, second)] == [b"retry:"] * 2
        async with client(source="127.0.0.1", limit=1) as http:
            assert await asked(http, url, *[""] * 5) == {200: 5}
        other = await opened("127.0.0.2")
        assert await other.content.readline() == b"retry: 3000\n"
        first.close()

        async def has_room() -> bool:
            return await (await opened("127.0.0.1")).content.readline() == b"retry: 3000\n"

        await eventually(has_room)


@pytest.mark.parametrize("front", [haproxy, nginx, *in_nightly(caddy)])
async def test_G10_a_first_start_without_the_bank(front: Front, tmp_path: Path) -> None:
    """No replica has a sheet yet: proxies answer /docs and the loader, and rates with the service's own 503."""
    async with serving(tmp_path) as empty, front(tmp_path, empty.url) as url:
        assert (await empty.get("/readyz"))[0] == 503
        for path in ("/", "/docs", "/widget/rates.js", "/openapi.json", "/v1/rates"):
            expected = await empty.get(path)

            async def is_passed_on(path: str = path, expected: Fetched = expected) -> bool:
                found = await fetched(url + path)
                kinds = [one.headers["Content-Type"] for one in (found, expected)]
                return kinds[0] == kinds[1] and found[::2] == expected[::2]

            await eventually(is_passed_on)


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
        for target in (BUSY, QUIET):
            assert str(FRIDAY) in (await got(url, target)).text
        assert dict(heads_of((await got(url, "/widget?lang=en")).text))["Today"] == FRIDAY

        async def is_over() -> bool:
            sent = evening.service.clock()
            shown = (await got(url, BUSY)).day
            assert shown == str(SATURDAY) or evening.service.clock() < MIDNIGHT or sent < MIDNIGHT
            return sent >= MIDNIGHT

        await eventually(is_over)
        assert (await got(url, QUIET)).day == str(SATURDAY)
        assert dict(heads_of((await got(url, "/widget?lang=en")).text))["Today"] == SATURDAY


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
