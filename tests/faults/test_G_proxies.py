"""Table G: the shipped proxies, with replicas that stop, hang and start, and readers behind other proxies."""

from __future__ import annotations

from collections import Counter
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import aiohttp
import pytest
from conftest import eventually, in_nightly
from kit.http import Fetched, client, fetched
from kit.proxies import Front, answers_with, caddy, haproxy, nginx
from kit.service import Program, serving
from yarl import URL

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
