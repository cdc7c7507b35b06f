"""The fast path sends the same bytes as the ordinary path, or leaves the request to it."""

from __future__ import annotations

import asyncio
import os
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from random import Random
from urllib.parse import urlsplit

import pytest
from conftest import Serve, Served, in_nightly
from kit import http
from kit.bank import Bank, sheet
from kit.dates import FRIDAY
from kit.http import answer_from, ending, get

from ratesvc.web import connections, fast_path, server
from ratesvc.web.responses import write

REQUESTS = int(os.environ.get("RATESVC_REQUESTS", "4000"))
MIDNIGHT = "Thu, 23 Apr 2026 21:00:00 GMT"
DATE = re.compile(rb"\r\nDate: [^\r]+")
TARGETS = (
    *("/v1/rates", "/v1/rates?codes=USD,EUR", "/v1/rates?codes=EUR,USD&lang=ru", "/v1/rates/2026-04-24"),
    *("/widget", "/widget?lang=ru&codes=USD", "/widget/frame", "/widget/rows.json", "/widget/rates.js"),
    *("/v1/rates/2026-04-24/USD.txt", "/v1/rates/next", "/v1/rates?code=USD", "/nowhere", "/v1/rates#x", "*"),
    *("http://localhost/v1/rates", "/v1//rates", "/v1/rates?codes=%55SD", "/livez"),
)
METHODS = (*["GET"] * 12, "HEAD", "OPTIONS", "POST", "BREW")
HEADERS = {
    "Accept-Encoding": ("", "gzip", "br", "gzip, br;q=0.1", "identity", "*;q=0.5", "br;q=0, gzip;q=x", "GZIP, deflate"),
    "If-None-Match": ("*", '"x"', 'W/"{tag}"', '"{tag}"', '"a", "{tag}-br"', '"{tag}-gzip"', "{tag}", ""),
    "If-Modified-Since": ("{date}", "Thu, 23 Apr 2026 20:59:59 GMT", "x"),
    "User-Agent": ("curl/8.5.0", "Mozilla/5.0 \xe9", ""),
    "Connection": ("keep-alive", "close", "Keep-Alive", "x-mine", "upgrade"),
    "Upgrade": ("h2c", "websocket"),
    "Expect": ("100-continue", "something"),
    "Content-Length": ("0", "3", "x"),
    "Transfer-Encoding": ("chunked",),
    "Range": ("bytes=0-10",),
    "Cookie": ("a=b",),
}


@pytest.fixture
async def both(bank: Bank, serve_whole: Serve, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Served, str]]:
    """A service with the fast path, and the address of its second listener without."""
    bank.publish(sheet(FRIDAY - timedelta(days=1)), sheet(FRIDAY))
    monkeypatch.setattr(connections, "LOOK_S", 0.05)
    async with serve_whole() as served:
        monkeypatch.setattr(fast_path, "TESTED", "0.")
        async with server.listening(served.service) as ordinary:
            yield served, ordinary.replace("localhost", "127.0.0.1")


def requests(chance: Random, tags: list[str]) -> Iterator[bytes]:
    """Requests of every kind, most of them plain."""
    while True:
        method, target = chance.choice(METHODS), chance.choice(TARGETS)
        version = chance.choice(("1.1",) * 12 + ("1.0", "1.2", "2.0"))
        names = chance.sample(list(HEADERS), chance.choice((0, 0, 0, 1, 1, 2, 3)))
        lines = [f"{method} {target} HTTP/{version}", *(["Host: localhost"] * chance.choice((1,) * 15 + (0, 2)))]
        lines += [
            f"{name}: {chance.choice(HEADERS[name]).format(tag=chance.choice(tags), date=MIDNIGHT)}" for name in names
        ]
        body = (
            b"abc" if "Content-Length: 3" in lines else b"0\r\n\r\n" if "Transfer-Encoding: chunked" in lines else b""
        )
        one = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body
        # aiohttp forgets the second of two pipelined upgrades that it declines, on either path.
        yield one if "Upgrade" in names else one * chance.choice((1,) * 20 + (2,))


class Client:
    """One connection, made again when the server has closed it."""

    def __init__(self, url: str) -> None:
        where = urlsplit(url)
        self._where = where.hostname, where.port
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, request: bytes) -> bytes:
        """All answers up to the end of the connection, without Date."""
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(*self._where)
        self._writer.write(request)
        count = len(re.findall(rb" HTTP/\d\.\d\r\n", request))
        answers = [await self._answer(request) for _ in range(count) if self._writer]
        return DATE.sub(b"", b"".join(answers))

    async def _answer(self, request: bytes) -> bytes:
        try:
            answered = await answer_from(self._reader, request)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            await self.close()
            return getattr(error, "partial", b"")
        rest = b""
        if answered["Connection"] == "close":
            rest = await ending(self._reader)
            await self.close()
        return answered.head.encode("latin-1") + answered.body + rest

    async def close(self) -> None:
        """Give up the connection."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


@asynccontextmanager
async def connected(*urls: str) -> AsyncIterator[list[Client]]:
    clients = [Client(url) for url in urls]
    yield clients
    for client in clients:
        await client.close()


@pytest.mark.slow
@pytest.mark.parametrize("count", [500, *in_nightly(REQUESTS)])
async def test_both_paths_give_the_same_bytes(
    both: tuple[Served, str], count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For random requests in random order on a connection; only Date may differ."""
    served, ordinary = both
    seed = int(os.environ.get("SEED", Random().randrange(10**6)))  # noqa: S311
    print(f"SEED={seed}")  # noqa: T201 -- to be repeated
    chance, taken = Random(seed), Counter[str]()  # noqa: S311

    def counted(transport: asyncio.Transport, head: bytes, content: bytes) -> None:
        taken["express"] += 1
        write(transport, head, content)

    monkeypatch.setattr(fast_path, "write", counted)
    tags = [(await served.get(target))[1]["ETag"].strip('"') for target in TARGETS[:9]]
    async with connected(served.url, ordinary) as (quick, usual):
        for number, request in zip(range(count), requests(chance, tags), strict=False):
            answers = await asyncio.gather(quick.ask(request), usual.ask(request))
            assert answers[0] == answers[1], (number, request)
    print(f"{taken['express']} of {count} requests took the fast path")  # noqa: T201 -- a figure
    assert count / 10 < taken["express"] <= count  # and none to the listener without


async def test_a_request_that_stays_unfinished_is_hung_up_on(
    both: tuple[Served, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On both paths, also after a whole request. A client that pauses between requests is left alone.

    A client that connects and sends nothing is hung up on, too.
    """
    monkeypatch.setattr(connections, "PATIENCE_S", 0.1)
    for url in (both[0].url, both[1]):
        async with connected(url, url, url) as (honest, fresh, used), http.connected(url) as (silent, _):
            answer = await used.ask(get("/v1/rates"))
            assert await honest.ask(get("/v1/rates")) == answer
            assert await asyncio.wait_for(ending(silent), 60) == b""
            assert await asyncio.gather(*(slow.ask(b"GET / HTTP/1.1\r\n") for slow in (fresh, used))) == [b"", b""]
            assert await honest.ask(get("/v1/rates")) == answer


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_body_ends_its_connection(both: tuple[Served, str], method: str) -> None:
    """It is not read, and what follows the head must not be taken for another request."""
    for url in (both[0].url, both[1]):
        async with connected(url) as (client,):
            answer = await client.ask(get("/v1/rates", "Content-Length: 3", method=method) + b"abc")
        assert b"\r\nConnection: close\r\n" in answer


async def test_a_replica_that_drains_ends_its_connections(both: tuple[Served, str]) -> None:
    """On both paths, so that a proxy turns to another replica."""
    async with connected(both[0].url, both[1]) as clients:
        for client in clients:
            assert b"\r\nConnection: close\r\n" not in await client.ask(get("/v1/rates"))
        both[0].service.drain()
        for client in clients:
            for path in ("/v1/rates", "/v1/rates?codes=USD", "/v1/rates?codes=USD"):
                assert b"\r\nConnection: close\r\n" in await client.ask(get(path))
