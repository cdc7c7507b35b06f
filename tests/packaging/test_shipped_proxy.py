"""What the shipped proxy does by itself; a replica that stops behind it is in faults/test_D_fleet."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from conftest import Serve, addresses, eventually
from fleet import SHIPPED, answers_with, proxy
from machine import patience
from processes import serving

from ratesvc.config import Settings

pytestmark = [pytest.mark.release, pytest.mark.slow]

# A CDN's shield asks for so many addresses in the first second of a day, as docs/scale.md says.
HERD = 500
HANGS = 0
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


@pytest.mark.parametrize("hidden", ["/health", "/metrics"])
async def test_the_proxy_shows_strangers_neither_health_nor_figures(tmp_path: Path, hidden: str) -> None:
    """404 however the address is written, while the replica itself answers."""
    async with serving(tmp_path, "--demo") as one, proxy(tmp_path, one.url) as url:
        await one.ready()
        await eventually(lambda: answers_with(url, "/livez", 200))
        assert (await one.get(hidden))[0] == 200
        host, port = url.removeprefix("http://").split(":")
        encoded = f"/%{ord(hidden[1]):x}{hidden[2:]}"
        ways = (hidden, f"{hidden}?x=1", encoded, f"http://any{hidden}", f"/.{hidden}")
        for way in (*ways, f"/x/..{hidden}", f"/{hidden}", f"{hidden}/"):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(f"GET {way} HTTP/1.1\r\nHost: any\r\nConnection: close\r\n\r\n".encode())
            assert (await reader.read()).split()[1] == b"404", way
            writer.close()


async def test_the_proxy_waits_longer_for_long_answers_only(settings: Settings, serve: Serve) -> None:
    """Each beginning of an address that its configuration names is that of an address of ours."""
    (named,) = re.findall(r"use_backend long if .* beg (.*) }", SHIPPED.read_text("utf-8"))
    async with serve(settings) as served:
        known = addresses(served.service)
    assert [start for start in named.split() if not any(path.startswith(start) for path in known)] == []


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
    """A reader of two such replicas behind the proxy, which both answer."""
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(TestServer(stand_in(state, name))) for name in state]
        url = await stack.enter_async_context(proxy(tmp_path, *(str(one.make_url("")).rstrip("/") for one in servers)))
        await eventually(lambda: answers_with(url, "/v1/rates", 200))
        connector = aiohttp.TCPConnector(limit=0)
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
