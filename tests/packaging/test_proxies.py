"""What the shipped proxies do by themselves; replicas that stop behind them are in faults/test_D_fleet."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import date
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from conftest import eventually, in_nightly
from kit.browser import Browser, Live
from kit.certificates import Authority
from kit.http import answering, ask, client, fetched, get, says
from kit.proxies import AS_SHIPPED, Front, Replaced, answers_with, caddy, haproxy, nginx, shipped
from kit.service import Program, free_port, serving
from kit.time import limit_s
from yarl import URL

from ratesvc.features.docs import openapi_json
from ratesvc.render.openapi import Site

pytestmark = pytest.mark.slow

# A CDN's shield asks for so many addresses in the first second of a day, as docs/deploying.md says.
HERD = 500
SITE = Site("http://x")
HANGS = 0
FIRST_BYTES = """async () => {
  const { body } = await fetch("/v1/events");
  return (await body.pipeThrough(new TextDecoderStream()).getReader().read()).value;
}"""
ELEMENT = '<cbr-rates lang="en"></cbr-rates><script src="/widget/rates.js"></script>'
# Readers wait for a hung replica for so long: its 2 s, then the other's answer.
ANSWERED_WITHIN_S = 3.0
NOBODY = "http://127.0.0.1:1"
# A busy machine may not ask a thousand in ten seconds.
FEW = {"gt 1000": "gt 100"}
TIGHT = {"rate=100r/s": "rate=1r/m", "burst=600": "burst=5"}
IMPATIENT = {"lb_try_duration 10s": "lb_try_duration 1s", "lb_try_duration 45s": "lb_try_duration 1s"}


def case(front: Front, replaced: Replaced, *more: Any, marks: Any = ()) -> Any:
    """A proxy with these texts of its file replaced."""
    return pytest.param(partial(front, replaced=replaced), *more, id=front.__name__, marks=marks)


async def statuses(url: str, count: int, reader: str = "", **options: Any) -> Counter[int]:
    """What so many requests at once get, over a hundred connections. `{}` in `reader` is its number."""
    async with client(limit=100, **options) as http:

        async def status(number: int) -> int:
            async with http.get(f"{url}/livez", headers={"X-Forwarded-For": reader.format(number)}) as answer:
                return answer.status

        return Counter(await asyncio.gather(*map(status, range(count))))


@pytest.mark.parametrize("front", [case(haproxy, {}), case(nginx, {})])
async def test_a_shield_may_ask_at_midnight(front: Front, demo: Program, tmp_path: Path) -> None:
    """500 requests from one address at once: no limit refuses any. On a busy machine one may be answered too late."""
    async with front(tmp_path, demo.url) as url:
        await eventually(lambda: answers_with(url, "/livez", 200))
        found = await statuses(url, HERD)
        assert (found[429], found[200] > HERD / 2) == (0, True), found


@pytest.mark.parametrize(
    ("front", "status", "later"),
    [
        *(case(haproxy, FEW, 429, "10"), case(haproxy, {}, 503, "5"), case(caddy, IMPATIENT, 503, "5")),
        *(case(nginx, TIGHT, 429, "10"), case(nginx, {}, 502, "5")),
    ],
)
async def test_an_error_of_a_proxy_is_a_problem(front: Front, status: int, later: str, tmp_path: Path) -> None:
    """Too many requests, or no replica: a program, and a page of any site, gets JSON and is told when to come again."""
    async with front(tmp_path, NOBODY, NOBODY) as url:
        for path in ("/v1/rates", "/v1/series?codes=USD", "/v1/events"):
            await eventually(lambda path=path: answers_with(url, path, status))  # type: ignore[misc]
            found, headers, body = await fetched(url + path)
            assert (found, headers["Content-Type"]) == (status, "application/problem+json")
            assert (headers["Retry-After"], headers["Access-Control-Allow-Origin"]) == (later, "*")
            problem = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
            assert json.loads(body) == problem


@pytest.mark.parametrize("front", [haproxy, nginx, case(caddy, {})])
async def test_a_proxy_shows_strangers_neither_health_nor_figures(front: Front, demo: Program, tmp_path: Path) -> None:
    """404 however the address is written, while the replica itself answers."""
    async with front(tmp_path, demo.url) as url:
        await eventually(lambda: answers_with(url, "/livez", 200))
        prefix = URL(url).path.rstrip("/")
        for hidden in ("/health", "/metrics"):
            assert (await demo.get(hidden))[0] == 200
            encoded = f"/%{ord(hidden[1]):x}{hidden[2:]}"
            ways = (hidden, f"{hidden}?x=1", encoded, f"/.{hidden}", f"/x/..{hidden}", f"/{hidden}", f"{hidden}/")
            for way in (
                f"http://localhost{prefix}{hidden}",
                *(prefix + way for way in ways),
                f"/x/%2e%2e{prefix}{hidden}",
            ):
                assert (await ask(url, get(way, host="localhost"))).status == 404, way


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("front", "checks"), [case(haproxy, {}, ["/livez", "/readyz"]), case(caddy, {}, ["/livez"]), case(nginx, {}, [])]
)
async def test_a_proxy_finds_a_replica_with_an_admin_port(front: Front, checks: list[str], tmp_path: Path) -> None:
    """It asks the readers' port how the replica is, and the replica counts the answers."""
    ports = {"RATESVC_PORT": str(free_port()), "RATESVC_ADMIN_PORT": str(free_port())}
    url = f"http://127.0.0.1:{ports['RATESVC_PORT']}"
    async with serving(tmp_path, "--demo", **ports) as admin, front(tmp_path, url) as proxy:
        for check in checks:
            counted = f'ratesvc_requests_total{{route="{check}",status="200"}}'.encode()
            await eventually(lambda counted=counted: says(admin, "/metrics", counted))  # type: ignore[misc]
        await eventually(lambda: answers_with(proxy, "/v1/rates", 200))
        for path in ("/health", "/metrics"):
            assert [await answers_with(one, path, 404) for one in (proxy, url)] == [True, True]


def test_the_proxies_wait_longer_for_the_same_answers() -> None:
    """All name the same beginnings of addresses, those of each answer that may wait behind others among them."""
    (named,) = re.findall(r"use_backend long if .* beg (.*) }", shipped("haproxy.cfg"))
    (in_caddy,) = re.findall(r"@long path (.*)", shipped("Caddyfile"))
    (in_nginx,) = re.findall(r"location ~\* \^/rates/\((v1.*)\) {", shipped("nginx.conf"))
    starts = named.split()
    assert [path.removesuffix("*") for path in in_caddy.split()] == starts
    assert ["/v1/events", *(f"/{path}".replace("\\", "") for path in in_nginx.split("|"))] == starts
    paths = json.loads(openapi_json.document(SITE, date(2026, 4, 24)))["paths"]
    busy = [path for path, one in paths.items() if "busy" in str(one["get"]["responses"].get("503"))]
    assert [path for path in busy if not path.startswith(tuple(starts))] == []


async def test_nginx_serves_under_a_prefix_with_tls(tmp_path: Path) -> None:
    """Rates, links and events come under the prefix."""
    public_url = "https://www.example.com/rates"
    Authority(tmp_path).server()
    async with (
        serving(tmp_path, "--demo", RATESVC_PUBLIC_URL=public_url) as one,
        nginx(tmp_path, one.url, certificate=tmp_path / "localhost-root-False") as url,
        client() as http,
    ):
        await one.ready()
        assert json.loads((await fetched(f"{url}/v1/rates")).body)["stale"] is False
        assert b"60.3741" in (await fetched(f"{url}/widget?lang=en")).body
        async with http.get(f"{url}/v1/events", headers={"Last-Event-ID": "2022-11-17"}) as answer:
            text = b""
            while b"data: " not in text:
                text += await answer.content.readline()
            assert json.loads(text.rpartition(b"data: ")[2])["url"].startswith(public_url)


async def test_nginx_counts_readers_behind_a_cdn(demo: Program, tmp_path: Path) -> None:
    """With the lines of its comment each reader has a limit of his own. Without them nobody's header is believed."""
    known = {f"# {line}": line for line in ("real_ip_header", "real_ip_recursive")}
    known["# set_real_ip_from 192.0.2.0/24"] = "set_real_ip_from 127.0.0.1"
    async with nginx(tmp_path, demo.url, replaced=TIGHT | known) as url:
        for reader in ("203.0.113.1", "198.51.100.1, 203.0.113.2", *(f"203.0.113.{n}, 127.0.0.1" for n in (3, 4))):
            assert await statuses(url, 20, reader) == {200: 6, 429: 14}
    async with nginx(tmp_path, demo.url, replaced=TIGHT) as url:
        assert await statuses(url, 20, "203.0.113.{}") == {200: 6, 429: 14}


def stand_in(state: dict[str, int], name: str) -> AbstractAsyncContextManager[str]:
    """A replica with ordinary answers and a stream. While it hangs, it still accepts connections."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path != "/v1/events":
            if state[name] == HANGS:
                await asyncio.Event().wait()
            return web.Response(status=state[name] if request.path == "/readyz" else 200)
        stream = web.StreamResponse()
        await stream.prepare(request)
        while True:
            if state[name] != HANGS:
                await stream.write(name.encode())
            await asyncio.sleep(0.1)

    return answering(answer)


@pytest.fixture
def state() -> dict[str, int]:
    """What /readyz of each replica answers, or that it hangs."""
    return {"replica0": 200, "replica1": 200}


@asynccontextmanager
async def reading(folder: Path, state: dict[str, int], front: Front) -> AsyncIterator[aiohttp.ClientSession]:
    """A reader of two such replicas behind a proxy, which both answer."""
    async with AsyncExitStack() as stack:
        replicas = [await stack.enter_async_context(stand_in(state, name)) for name in state]
        url = await stack.enter_async_context(front(folder, *replicas))
        await eventually(lambda: answers_with(url, "/v1/rates", 200))
        http = await stack.enter_async_context(client(url))
        await eventually(lambda: are(http, set(state)))
        yield http


async def replica_of(http: aiohttp.ClientSession, path: str) -> str:
    """Which replica answers."""
    async with http.get(path) as answer:
        assert answer.status == 200, path
        return answer.headers["X-Replica"]


async def are(http: aiohttp.ClientSession, names: set[str], path: str = "/v1/rates") -> bool:
    """Whether these replicas, and no others, answer."""
    return {await replica_of(http, path) for _ in range(4)} == names


@asynccontextmanager
async def streams_of_replica0(http: aiohttp.ClientSession, count: int) -> AsyncIterator[list[aiohttp.ClientResponse]]:
    """Half of so many streams."""
    async with AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(http.get("/v1/events")) for _ in range(count)]
        found = [stream for stream in streams if stream.headers["X-Replica"] == "replica0"]
        assert len(found) == count / 2
        yield found


async def is_cut(stream: aiohttp.ClientResponse) -> None:
    with contextlib.suppress(aiohttp.ClientPayloadError):
        await asyncio.wait_for(stream.read(), 30)  # a proxy as shipped ends any silent one after 40 s


@asynccontextmanager
async def as_in_compose(folder: Path, *replicas: str, replaced: Replaced = AS_SHIPPED) -> AsyncIterator[str]:
    """Caddy in front of HAProxy."""
    async with haproxy(folder, *replicas, replaced=replaced) as inner, caddy(folder, inner, named=False) as url:
        yield url


@pytest.mark.parametrize(
    "front",
    [
        case(haproxy, {}),
        case(caddy, {"read_timeout 40s": "read_timeout 1s"}, marks=pytest.mark.nightly),
        *in_nightly(as_in_compose),
    ],
)
async def test_readers_hardly_wait_for_a_replica_that_hangs(
    front: Front, state: dict[str, int], tmp_path: Path
) -> None:
    """All of forty requests are answered well while it hangs, long ones too; its streams end; then nobody waits."""
    async with reading(tmp_path, state, front) as http:
        async with streams_of_replica0(http, 4) as hung:
            state["replica0"] = HANGS
            longs = [asyncio.create_task(replica_of(http, "/v1/series?codes=USD")) for _ in range(4)]
            async with asyncio.timeout(limit_s(2 * ANSWERED_WITHIN_S)):
                await asyncio.gather(*(replica_of(http, "/v1/rates") for _ in range(40)))
            for stream in hung:
                await is_cut(stream)
            assert set(await asyncio.gather(*longs)) == {"replica1"}
            await eventually(lambda: are(http, {"replica1"}))
        # The streams of the other have ended, too, or a proxy that counts connections would ask this one alone.
        state["replica0"] = 200
        await eventually(lambda: are(http, set(state)))


async def test_the_proxy_cuts_nothing_of_a_replica_that_drains(state: dict[str, int], tmp_path: Path) -> None:
    """A long answer of a replica that says «draining» goes on, the next goes to the other; if it hangs it is cut."""
    async with reading(tmp_path, state, haproxy) as http, streams_of_replica0(http, 2) as [draining]:
        state["replica0"] = 503
        await eventually(lambda: are(http, {"replica1"}))
        # Long answers have a backend of their own, with its own checks.
        await eventually(lambda: are(http, {"replica1"}, "/v1/series"))
        seen = 0
        while seen < 3 * 10 * len("replica0"):  # three seconds of its answer, longer than a check
            seen += len(await draining.content.readany())
        state["replica0"] = HANGS
        await is_cut(draining)


async def test_behind_caddy_one_reader_does_not_use_up_the_requests_of_others(
    state: dict[str, int], tmp_path: Path
) -> None:
    """HAProxy counts the address that Caddy saw, whatever the reader himself says about it."""
    async with stand_in(state, "replica0") as one, as_in_compose(tmp_path, one, replaced=FEW) as url:

        async def is_refused() -> bool:
            return (await statuses(url, 50, "10.0.0.{}", source="127.0.0.2"))[429] > 0

        await eventually(is_refused)
        assert await statuses(url, 20, "10.0.0.{}", source="127.0.0.3") == {200: 20}


async def test_caddy_answers_programs_that_take_it_for_the_bank(demo: Program, tmp_path: Path) -> None:
    """Bitrix and 1C ask port 80 of the names that they have in their code; health stays hidden there, too."""
    http_port = free_port()
    async with caddy(tmp_path, demo.url, http_port=http_port):
        for host, path, expected in (
            ("www.cbr.ru", "/scripts/XML_daily.asp?date_req=18.11.2022", 200),
            ("cbrates.rbc.ru", "/tsv/840/2022/11/18.tsv", 200),
            ("cbr.ru", "/health", 404),
        ):
            status, _, body = await fetched(f"http://127.0.0.1:{http_port}{path}", Host=host)
            assert status == expected, host
            assert expected == 404 or body == (await demo.get(path))[2]


@pytest.mark.nightly
async def test_caddy_serves_the_widget_of_a_page_under_https(browser: Browser, live: Live, tmp_path: Path) -> None:
    """Plain http leads to https, which is HTTP/2; a page there shows rates, and a stream of events opens at once."""
    http_port = free_port()
    async with caddy(tmp_path, live.url, http_port=http_port) as url:
        plain = f"http://localhost:{http_port}/v1/rates?codes=USD"
        async with aiohttp.ClientSession() as http, http.get(plain, allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (308, "https://localhost/v1/rates?codes=USD")
        page = await browser.new_page(ignore_https_errors=True)
        await page.goto(f"{url}/docs")
        assert await page.evaluate("performance.getEntriesByType('navigation')[0].nextHopProtocol") == "h2"
        await page.route(f"{url}/news", lambda route: route.fulfill(content_type="text/html", body=ELEMENT))
        await page.goto(f"{url}/news")
        await page.locator("cbr-rates:state(load)").wait_for()
        assert "60.3741" in await page.inner_text("cbr-rates table")
        assert (await page.evaluate(FIRST_BYTES)).startswith("retry: ")
    # Its stream, which is still open, does not keep Caddy from its stop.
