"""What the shipped proxies do by themselves; a replica that stops behind them is in faults/test_D_fleet."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import date
from functools import partial
from http import HTTPStatus
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import BaseTestServer, TestServer
from conftest import Serve, addresses, eventually
from fleet import CADDYFILE, SHIPPED, Front, answers_with, caddy, proxy, trust
from machine import patience
from playwright.async_api import Browser
from processes import free_port, serving
from widget_harness import Live

from ratesvc.config import Settings
from ratesvc.render import contract
from ratesvc.render.page import Site
from ratesvc.web import dialects

pytestmark = [pytest.mark.release, pytest.mark.slow]

# A CDN's shield asks for so many addresses in the first second of a day, as docs/scale.md says.
HERD = 500
SITE = Site("http://x")
# What dialects answer about all of history.
LONG_OF_DIALECTS = [
    *(f"{prefix}/scripts/XML_dynamic.asp" for prefix in ("", "/cbr")),
    *(f"{prefix}/tsv/cb/{{numeric}}.tsv" for prefix in ("", "/exchangerate/v1", "/rbc", "/rbc/exchangerate/v1")),
    *(f"{prefix}/eurofxref-hist{form}" for prefix in ("/ecb", "/stats/eurofxref") for form in (".csv", ".zip", ".xml")),
    *("/frankfurter/v1/{when}", "/frankfurter/v2/rates", "/openexchangerates/api/time-series.json"),
]
HANGS = 0
FIRST_BYTES = """async () => {
  const { body } = await fetch("/v1/events");
  return (await body.pipeThrough(new TextDecoderStream()).getReader().read()).value;
}"""
ELEMENT = '<cbr-rates lang="en"></cbr-rates><script src="/widget/rates.js"></script>'
# Readers wait for a hung replica for so long: its 2 s, then the other's answer.
ANSWERED_WITHIN_S = 3.0


async def test_the_proxy_lets_a_shield_ask_at_midnight(tmp_path: Path) -> None:
    """500 requests from one address at once are all answered."""
    async with serving(tmp_path, "--demo") as one, proxy(tmp_path, one.url) as url:
        await one.ready()
        await eventually(lambda: answers_with(url, "/livez", 200))
        async with aiohttp.ClientSession() as http:

            async def status(_: int) -> int:
                async with http.get(f"{url}/livez") as answer:
                    return answer.status

            assert Counter(await asyncio.gather(*map(status, range(HERD)))) == {200: HERD}


@pytest.mark.parametrize(
    ("at_most", "status", "later"),
    [
        (100, 429, "10"),  # more than a hundred in ten seconds here, for a busy machine may not ask a thousand as fast
        (None, 503, "5"),  # without any replica
    ],
)
async def test_the_proxys_own_errors_are_problems(tmp_path: Path, at_most: int | None, status: int, later: str) -> None:
    """A program, and a page of any site, gets JSON and is told when to come again, not a page in HTML."""
    async with proxy(tmp_path, "http://127.0.0.1:1", at_most=at_most) as url, aiohttp.ClientSession() as http:
        await eventually(lambda: answers_with(url, "/v1/rates", status))
        async with http.get(f"{url}/v1/rates") as answer:
            assert (answer.status, answer.content_type) == (status, "application/problem+json")
            assert (answer.headers["Retry-After"], answer.headers["Access-Control-Allow-Origin"]) == (later, "*")
            assert (await answer.json(content_type=None))["status"] == status


async def test_the_proxies_say_where_to_report_a_hole(tmp_path: Path) -> None:
    """RFC 9116, once the operator has taken away the marks of a remark in their configurations."""
    file = tmp_path / "security/.well-known/security.txt"
    file.parent.mkdir(parents=True)
    file.write_text("Contact: mailto:you@example.org\nExpires: 2027-12-31T00:00:00Z\n")
    (block,) = re.findall(r"^\t#handle /\.well-known.*?^\t#}\n", CADDYFILE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    given = {block: block.replace("\t#", "\t").replace("/etc/caddy/security", f"{tmp_path}/security")}
    none = "http://127.0.0.1:1"
    async with AsyncExitStack() as stack:
        by_haproxy = await stack.enter_async_context(
            proxy(tmp_path, none, replaced={"#http-request return": "http-request return"})
        )
        by_caddy = await stack.enter_async_context(caddy(tmp_path, none, replaced=given))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        for url, trusted in ((by_haproxy, True), (by_caddy, trust(tmp_path))):
            async with http.get(f"{url}/.well-known/security.txt", ssl=trusted) as answer:
                assert (answer.status, answer.content_type) == (200, "text/plain")
                assert await answer.text() == file.read_text()


@pytest.mark.parametrize("front", [proxy, caddy])
async def test_a_proxy_shows_strangers_neither_health_nor_figures(front: Front, tmp_path: Path) -> None:
    """404 however the address is written, while the replica itself answers."""
    async with serving(tmp_path, "--demo") as one, front(tmp_path, one.url) as url:
        await one.ready()
        trusted = trust(tmp_path) if front is caddy else None
        await eventually(lambda: answers_with(url, "/livez", 200, trusted))
        for hidden in ("/health", "/metrics"):
            assert (await one.get(hidden))[0] == 200
            encoded = f"/%{ord(hidden[1]):x}{hidden[2:]}"
            ways = (hidden, f"{hidden}?x=1", encoded, f"http://localhost{hidden}", f"/.{hidden}")
            for way in (*ways, f"/x/..{hidden}", f"/{hidden}", f"{hidden}/"):
                reader, writer = await asyncio.open_connection("localhost", int(url.rpartition(":")[2]), ssl=trusted)
                writer.write(f"GET {way} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
                assert (await reader.read()).split()[1] == b"404", way
                writer.close()


async def test_the_proxies_wait_longer_for_long_answers_only(settings: Settings, serve: Serve) -> None:
    """All name the same beginnings: those of each answer that may wait behind others, and of no other address."""
    (named,) = re.findall(r"use_backend long if .* beg (.*) }", SHIPPED.read_text("utf-8"))
    (in_caddy,) = re.findall(r"@long path (.*)", CADDYFILE.read_text("utf-8"))
    (in_nginx,) = re.findall(r"location ~\* \^/rates/\((v1.*)\) {", SHIPPED.with_name("nginx.conf").read_text("utf-8"))
    starts = named.split()
    assert [path.removesuffix("*") for path in in_caddy.split()] == starts
    assert ["/v1/events", *(f"/{path}".replace("\\", "") for path in in_nginx.split("|"))] == starts
    async with serve(settings) as served:
        known = {*addresses(served.service), *dialects.routes(served.service, SITE)}
    assert [start for start in starts if not any(path.startswith(start) for path in known)] == []
    document = json.loads(contract.document(SITE, date(2026, 4, 24)))
    answers = {path: str(one["get"]["responses"].get("503")) for path, one in document["paths"].items()}
    long = [*LONG_OF_DIALECTS, *(path for path in answers if "busy" in answers[path])]
    assert [path for path in long if path not in known or not path.startswith(tuple(starts))] == []


def stand_in(state: dict[str, int], name: str) -> web.Application:
    """A replica with ordinary answers and a stream. While it hangs, it still accepts connections."""

    async def stream(request: web.Request) -> web.StreamResponse:
        begun = web.StreamResponse()
        await begun.prepare(request)
        while True:
            if state[name] != HANGS:
                await begun.write(name.encode())
            await asyncio.sleep(0.1)

    async def answer(request: web.Request) -> web.Response:
        if state[name] == HANGS:
            await asyncio.Event().wait()
        return web.Response(status=state[name] if request.path == "/readyz" else 200)

    app = web.Application()
    app.router.add_get("/v1/events", stream)
    app.router.add_get("/{path:.*}", answer)
    return app


@pytest.fixture
def state() -> dict[str, int]:
    """What /readyz of each replica answers, or that it hangs."""
    return {"replica0": 200, "replica1": 200}


@pytest.fixture
async def http(tmp_path: Path, state: dict[str, int]) -> AsyncIterator[aiohttp.ClientSession]:
    """A reader of two such replicas behind HAProxy, which both answer."""
    async with reading(tmp_path, state, proxy) as http:
        yield http


def url_of(one: BaseTestServer) -> str:
    """Its address without a slash at the end."""
    return str(one.make_url("")).rstrip("/")


@asynccontextmanager
async def reading(folder: Path, state: dict[str, int], front: Front) -> AsyncIterator[aiohttp.ClientSession]:
    """The same behind any proxy."""
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(TestServer(stand_in(state, name))) for name in state]
        url = await stack.enter_async_context(front(folder, *map(url_of, servers)))
        trusted = trust(folder) if url.startswith("https") else None
        await eventually(lambda: answers_with(url, "/v1/rates", 200, trusted))
        connector = aiohttp.TCPConnector(limit=0, ssl=trusted or True)
        http = await stack.enter_async_context(aiohttp.ClientSession(url, connector=connector))
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
    with pytest.raises(aiohttp.ClientPayloadError):
        await asyncio.wait_for(stream.read(), min(10 * patience(), 30))  # it ends any silent one after 40 s


async def test_readers_hardly_wait_for_a_replica_that_hangs(state: dict[str, int], http: aiohttp.ClientSession) -> None:
    """Only time shows that it hangs: 40 requests are answered well, long ones too, and its streams end."""
    async with streams_of_replica0(http, 4) as hung:
        state["replica0"] = HANGS
        longs = [asyncio.create_task(replica_of(http, "/v1/series?codes=USD")) for _ in range(4)]
        async with asyncio.timeout(ANSWERED_WITHIN_S * patience()):
            await asyncio.gather(*(replica_of(http, "/v1/rates") for _ in range(40)))
        for stream in hung:
            await is_cut(stream)
        assert set(await asyncio.gather(*longs)) == {"replica1"}
        assert await are(http, {"replica1"})


async def test_the_proxy_cuts_nothing_of_a_replica_that_drains(
    state: dict[str, int], http: aiohttp.ClientSession
) -> None:
    """A long answer of a replica that says «draining» goes on, the next goes to the other; if it hangs it is cut."""
    async with streams_of_replica0(http, 2) as [draining]:
        state["replica0"] = 503
        await eventually(lambda: are(http, {"replica1"}))
        # Long answers have a backend of their own, with its own checks.
        await eventually(lambda: are(http, {"replica1"}, "/v1/series"))
        seen = 0
        while seen < 3 * 10 * len("replica0"):  # three seconds of its answer, longer than a check
            seen += len(await draining.content.readany())
        state["replica0"] = HANGS
        await is_cut(draining)


@asynccontextmanager
async def as_in_compose(folder: Path, *replicas: str, at_most: int | None = None) -> AsyncIterator[str]:
    """Caddy in front of HAProxy."""
    async with proxy(folder, *replicas, at_most=at_most) as inner, caddy(folder, inner, named=False) as url:
        yield url


async def test_behind_caddy_one_reader_does_not_use_up_the_requests_of_others(
    state: dict[str, int], tmp_path: Path
) -> None:
    """HAProxy counts the address that Caddy saw, whatever the reader himself says about it."""
    async with TestServer(stand_in(state, "replica0")) as one, as_in_compose(tmp_path, url_of(one), at_most=100) as url:

        async def statuses(count: int, source: str) -> Counter[int]:
            connector = aiohttp.TCPConnector(ssl=trust(tmp_path), local_addr=(source, 0))
            async with aiohttp.ClientSession(url, connector=connector) as reader:

                async def status(number: int) -> int:
                    given = {"X-Forwarded-For": f"10.0.0.{number}"}
                    async with reader.get("/v1/rates", headers=given) as answer:
                        return answer.status

                return Counter(await asyncio.gather(*map(status, range(count))))

        async def is_refused() -> bool:
            return (await statuses(50, "127.0.0.2"))[429] > 0

        await eventually(is_refused)
        assert await statuses(20, "127.0.0.3") == {200: 20}


@pytest.mark.parametrize("front", [caddy, as_in_compose])
async def test_readers_hardly_wait_for_a_replica_that_hangs_behind_caddy(
    front: Front, state: dict[str, int], tmp_path: Path
) -> None:
    """All of forty requests are answered well while it hangs; once it is left out, nobody waits for it any more."""
    async with reading(tmp_path, state, front) as http:
        state["replica0"] = HANGS
        async with asyncio.timeout(2 * ANSWERED_WITHIN_S * patience()):
            await asyncio.gather(*(replica_of(http, "/v1/rates") for _ in range(40)))
        await eventually(lambda: are_quick(http))
        state["replica0"] = 200
        await eventually(lambda: are(http, set(state)))


async def are_quick(http: aiohttp.ClientSession) -> bool:
    """Whether twenty requests, one after the other, are answered at once."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    for _ in range(20):
        await replica_of(http, "/v1/rates")
    return loop.time() - begun < 1


async def test_caddy_ends_the_streams_of_a_replica_that_hangs(state: dict[str, int], tmp_path: Path) -> None:
    """After 40 seconds without a heartbeat, here after one: their readers come back to the other replica."""
    impatient = partial(caddy, replaced={"read_timeout 40s": "read_timeout 1s"})
    async with reading(tmp_path, state, impatient) as http, streams_of_replica0(http, 4) as hung:
        state["replica0"] = HANGS
        for stream in hung:
            await asyncio.wait_for(stream.read(), 10 * patience())


async def test_without_rates_caddy_shows_the_pages_of_a_replica(tmp_path: Path) -> None:
    """The builder's page says what is missing; reference and scripts are there; /v1/rates is the replica's own 503."""
    async with serving(tmp_path) as one, caddy(tmp_path, one.url) as url, aiohttp.ClientSession(url) as http:
        for path in ("/", "/docs", "/widget/rates.js", "/v1/rates"):
            async with http.get(path, ssl=trust(tmp_path)) as answer:
                assert (answer.status, await answer.read()) == ((own := await one.get(path))[0], own[2]), path


async def test_without_a_replica_caddy_answers_a_problem(tmp_path: Path) -> None:
    """A program, and a page of any site, gets JSON and is told when to come again, not an empty answer."""
    given = {"lb_try_duration 10s": "lb_try_duration 1s"}
    async with caddy(tmp_path, "http://127.0.0.1:1", replaced=given) as url:
        async with aiohttp.ClientSession() as http, http.get(f"{url}/v1/rates", ssl=trust(tmp_path)) as answer:
            assert answer.status in (502, 503)
            assert answer.content_type == "application/problem+json"
            assert (answer.headers["Retry-After"], answer.headers["Access-Control-Allow-Origin"]) == ("5", "*")
            problem = await answer.json(content_type=None)
        assert problem == {"type": "about:blank", "title": HTTPStatus(answer.status).phrase, "status": answer.status}


async def test_caddy_answers_programs_that_take_it_for_the_bank(tmp_path: Path) -> None:
    """Bitrix and 1C ask port 80 of the names that they have in their code; health stays hidden there, too."""
    http_port = free_port()
    async with serving(tmp_path, "--demo") as one, caddy(tmp_path, one.url, http_port=http_port):
        await one.ready()
        async with aiohttp.ClientSession(f"http://127.0.0.1:{http_port}") as http:
            for host, path, expected in (
                ("www.cbr.ru", "/scripts/XML_daily.asp?date_req=18.11.2022", 200),
                ("cbrates.rbc.ru", "/tsv/840/2022/11/18.tsv", 200),
                ("cbr.ru", "/health", 404),
            ):
                async with http.get(path, headers={"Host": host}) as answer:
                    assert answer.status == expected, host
                    assert expected == 404 or await answer.read() == (await one.get(path))[2]


@pytest.mark.browser
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
