"""What the shipped proxy does by itself; a replica that stops behind it is in faults/test_D_fleet."""

from __future__ import annotations

import asyncio
import re
import signal
from collections import Counter
from contextlib import AsyncExitStack
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


async def test_readers_hardly_wait_for_a_replica_that_hangs(tmp_path: Path) -> None:
    """One of two is stopped (SIGSTOP): 40 requests are answered well, long ones too, and its streams end.

    A stopped process still accepts connections, so that only time shows that it hangs.
    """
    async with AsyncExitStack() as stack:
        for name in "ab":
            tmp_path.joinpath(name).mkdir()
        one, other = [await stack.enter_async_context(serving(tmp_path / name, "--demo")) for name in "ab"]
        for replica in (one, other):
            await replica.ready()
        url = await stack.enter_async_context(proxy(tmp_path, one.url, other.url))
        http = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        await eventually(lambda: answers_with(url, "/livez", 200))
        replicas: set[str] = set()

        async def ask(path: str) -> float:
            begun = asyncio.get_running_loop().time()
            async with http.get(url + path) as answer:
                await answer.read()
                assert answer.status == 200, (path, answer.status)
                replicas.add(answer.headers["X-Replica"])
            return asyncio.get_running_loop().time() - begun

        async def both() -> bool:
            await ask("/v1/rates")
            return len(replicas) == 2

        await eventually(both)
        streams = [await stack.enter_async_context(http.get(f"{url}/v1/events")) for _ in range(4)]
        hung = [stream for stream in streams if stream.headers["X-Replica"] == "replica0"]
        assert len(hung) == 2
        one.kill(signal.SIGSTOP)
        try:
            longs = [asyncio.create_task(ask("/v1/series?codes=USD")) for _ in range(4)]
            slowest = max(await asyncio.gather(*(ask("/v1/rates") for _ in range(40))))
            await asyncio.gather(*longs)
            for stream in hung:
                with pytest.raises(aiohttp.ClientPayloadError):
                    await asyncio.wait_for(stream.read(), 10 * patience())
            replicas.clear()
            await ask("/v1/rates")
            assert replicas == {"replica1"}
        finally:
            one.kill(signal.SIGCONT)
    assert slowest < ANSWERED_WITHIN_S * patience()
    print(f"\n  the slowest took {slowest:.1f} s")  # noqa: T201 -- the figure is the point


async def test_the_proxy_cuts_nothing_of_a_replica_that_drains(tmp_path: Path) -> None:
    """A long answer of a replica that says «draining» goes on, the next goes to the other; if it hangs it is cut."""
    state = {"one": 200, "other": 200}

    def replica(name: str) -> web.Application:
        async def ready(_: web.Request) -> web.Response:
            if state[name] == HANGS:
                await asyncio.Event().wait()
            return web.Response(status=state[name])

        async def long(request: web.Request) -> web.StreamResponse:
            answer = web.StreamResponse()
            await answer.prepare(request)
            while True:
                await answer.write(name.encode())
                await asyncio.sleep(0.1)

        app = web.Application()
        app.router.add_get("/readyz", ready)
        app.router.add_get("/v1/events", long)
        return app

    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(TestServer(replica(name))) for name in state]
        url = await stack.enter_async_context(proxy(tmp_path, *(str(one.make_url("")).rstrip("/") for one in servers)))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        await eventually(lambda: answers_with(url, "/readyz", 200))

        async def begun() -> aiohttp.ClientResponse:
            return await stack.enter_async_context(http.get(f"{url}/v1/events"))

        streams = [await begun(), await begun()]
        assert {stream.headers["X-Replica"] for stream in streams} == {"replica0", "replica1"}
        (draining,) = (stream for stream in streams if stream.headers["X-Replica"] == "replica0")
        state["one"] = 503

        async def only_the_other() -> bool:
            return [(await begun()).headers["X-Replica"] for _ in range(3)] == ["replica1"] * 3

        await eventually(only_the_other)
        seen = len(await draining.content.readany())
        while seen < 3 * 30:  # three seconds of its answer, longer than a check
            seen += len(await draining.content.readany())
        state["one"] = HANGS
        with pytest.raises(aiohttp.ClientPayloadError):
            await asyncio.wait_for(draining.read(), 10 * patience())
