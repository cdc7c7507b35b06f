"""Hostile clients, the bytes: E1 slow clients, E2 smuggling, E3 too much, E7 traversal."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest
from conftest import Serve, Served, eventually
from kit.bank import Bank, around_today, sheet
from kit.dates import FRIDAY
from kit.http import ask, connected, get, says
from kit.reader import p99
from kit.redis import RealRedis, running
from kit.service import Program, serving, serving_by
from kit.time import limit_s

from ratesvc.web import connections

HONEST_S = 0.2


@pytest.mark.timed
async def test_E1_five_hundred_idle_connections(demo: Program) -> None:
    """500 clients connect and send nothing: they may stay for a while, and an honest client hardly notices."""
    where = urlsplit(demo.url)
    idle = [await asyncio.open_connection(where.hostname, where.port) for _ in range(500)]
    taken: list[float] = []
    for _ in range(10):
        async with aiohttp.ClientSession() as http:
            for _ in range(10):
                begun = time.perf_counter()
                async with http.get(f"{demo.url}/v1/rates") as answer:
                    assert answer.status == 200
                    await answer.read()
                taken.append(time.perf_counter() - begun)
    print(f"p99 of {len(taken)} honest requests {p99(taken) * 1000:.1f} ms")  # noqa: T201 -- a figure
    assert p99(taken) <= limit_s(HONEST_S)
    for _, writer in idle:
        writer.close()


FEW_FILES = ("sh", "-c", 'ulimit -n 200; ulimit -Sn 64; exec "$@"', "sh")


@pytest.mark.slow
async def test_E1_more_silent_clients_than_files(bank: Bank, tmp_path: Path) -> None:
    """260 clients connect and send nothing, where the service may open 200 files: readers and Redis notice nothing."""
    around_today(bank)
    server = RealRedis(tmp_path / "redis")
    given = {"RATESVC_CBR_MIRRORS": bank.url, "RATESVC_POLL_SECONDS": "0.5", "RATESVC_REDIS_URL": server.url}
    with running(server), server.client() as redis:
        async with serving_by(FEW_FILES, tmp_path, **given) as program, AsyncExitStack() as stack:
            await program.ready()
            for _ in range(260):
                await stack.enter_async_context(connected(program.url))
            for _ in range(20):
                redis.client_kill_filter(_type="normal", skipme=True)  # it needs new connections to Redis, too
                assert (await program.get("/v1/rates"))[0] == 200
            await eventually(lambda: says(program, "/metrics", b"ratesvc_redis_up 1.0"))
    assert "Too many open files" not in (tmp_path / "errors.log").read_text()


CHUNKED = "Transfer-Encoding: chunked"
SMUGGLED = {
    "both lengths": get("/v1/rates", "Content-Length: 4", CHUNKED) + b"0\r\n\r\n",
    "both, the other way": get("/v1/rates", CHUNKED, "Content-Length: 4", method="POST"),
    "two lengths": get("/v1/rates", "Content-Length: 0", "Content-Length: 5"),
    "one length twice": get("/v1/rates", "Content-Length: 0", "Content-Length: 0"),
    "a list of lengths": get("/v1/rates", "Content-Length: 0, 5"),
    "a signed length": get("/v1/rates", "Content-Length: +0"),
    "two hosts": get("/v1/rates", "Host: y"),
    "no host": b"GET /v1/rates HTTP/1.1\r\n\r\n",
    "a folded header": get("/v1/rates", "X: a", " b"),
    "a fold before any": b"GET /v1/rates HTTP/1.1\r\n Host: x\r\n\r\n",
    "bare line feeds": b"GET /v1/rates HTTP/1.1\nHost: x\n\n",
    "one bare line feed": get("/v1/rates", "X: a\nY: b"),
    "a bare carriage return": get("/v1/rates", "X: a\rY: b"),
    "NUL in a value": get("/v1/rates", "X: a\0b"),
    "NUL in a name": get("/v1/rates", "X\0: b"),
    "NUL in the target": get("/v1/ra\0tes"),
    **{
        f"{end!r} in the target": get(f"/v1/rates?heading=x{end}X-Injected: 1{end}{end}")
        for end in ("\r\n", "\n", "\r")
    },
    "a space before the colon": get("/v1/rates", "Content-Length : 0"),
    "an unknown coding": get("/v1/rates", "Transfer-Encoding: xchunked"),
    "chunked is not last": get("/v1/rates", "Transfer-Encoding: chunked, identity") + b"0\r\n\r\n",
    "chunked twice": get("/v1/rates", CHUNKED, CHUNKED, method="POST"),
    "a chunk in hex as in C": get("/", CHUNKED, method="POST") + b"0x3\r\nabc\r\n0\r\n\r\n",
    "a line feed in a chunk's line": get("/", CHUNKED, method="POST") + b"3;a\nb\r\nabc\r\n0\r\n\r\n",
}


@pytest.mark.slow
@pytest.mark.parametrize("without_c", ["", "1"])
async def test_E2_smuggling(tmp_path: Path, without_c: str) -> None:
    """A request that two servers could read differently gets 400 and the end of the connection, with either parser."""
    async with serving(tmp_path, "--demo", AIOHTTP_NO_EXTENSIONS=without_c) as program:
        await program.ready()
        loaded = Path(f"/proc/{program.process.pid}/maps").read_text()
        assert ("/aiohttp/_http_parser" in loaded) == (not without_c)
        asked = (ask(program.url, request + get("/v1/rates"), closes=True) for request in SMUGGLED.values())
        for kind, answered in zip(SMUGGLED, await asyncio.gather(*asked), strict=True):
            assert (kind, answered.status) == (kind, 400)
            assert answered.document["type"] == "urn:ratesvc:malformed"
            assert (answered["Server"], answered["X-Injected"]) == ("ratesvc", None)
        assert (await ask(program.url, get("/v1/rates"))).document["rates"]
    assert "Traceback" not in (tmp_path / "errors.log").read_text()


LIMITS = {
    "a URL of 20 KB": (get(f"/v1/rates?x={'a' * 20000}"), 400, "malformed"),
    "a header of 9 KB": (get("/v1/rates", f"X: {'a' * 9000}"), 400, "malformed"),
    "200 headers": (get("/v1/rates", *(f"X-{number}: a" for number in range(200))), 400, "malformed"),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n", 400, "malformed"),
    "a body of 2 MB": (get("/v1/rates", "Content-Length: 2000000", method="POST") + b"a" * 2_000_000, 413, "no_body"),
    "a body of any length": (get("/v1/rates", CHUNKED, method="POST"), 413, "no_body"),
    "a body where none belongs": (get("/v1/rates", "Content-Length: 3") + b"abc", 413, "no_body"),
    "a short body": (get("/v1/rates", "Content-Length: 3", method="POST") + b"abc", 405, "method_not_allowed"),
    "Expect": (get("/v1/rates", "Expect: 100-continue"), 417, "expectation_failed"),
    "CONNECT": (get("example.org:443", method="CONNECT"), 404, "not_found"),
    "OPTIONS *": (get("*", method="OPTIONS"), 404, "not_found"),
}


@pytest.mark.timed
async def test_E3_too_much_and_odd(served: Served) -> None:
    """A request that is too large or odd gets a problem document at once, and the end of the connection."""
    for kind, (request, status, slug) in LIMITS.items():
        answered = await ask(served.url, request, closes=True)
        assert (kind, answered.status, answered.document["type"]) == (kind, status, f"urn:ratesvc:{slug}")
        assert answered.document["status"] == status
        assert (answered["Server"], answered["Cache-Control"]) == ("ratesvc", "no-store")
        assert answered["Access-Control-Allow-Origin"] == "*"
        assert answered.closed is not None
        assert answered.closed <= connections.LINGER_S + limit_s(1)


async def test_E3_a_whole_address(bank: Bank, serve: Serve) -> None:
    """The whole address of the service is answered (RFC 9112, 3.2.2), also of пример.рф; it is no proxy for others."""
    bank.publish(sheet(FRIDAY))
    for public, own in (("http://пример.рф", "http://xn--e1afmkfd.xn--p1ai"), ("", "")):
        async with serve(server={"public_url": public}) as running:
            await running.ready()
            for address in (own or running.url.replace("127.0.0.1", "localhost"),) * 2:
                assert (await ask(running.url, get(f"{address}/v1/rates"))).status == 200, address
            for other in ("http://evil.example/v1/rates", "http://evil.example:80/", "https://cbr.ru/v1/rates"):
                assert (await ask(running.url, get(other))).status in (404, 421), other


TRAVERSAL = [
    *("/../etc/passwd", "/..%2f..%2fetc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/..;/etc/passwd", "/....//etc/passwd"),
    *("/widget/../../config.yaml", "/widget/1.0.0/../../config.py", "/widget/1.0.0/..%2flock.json", "/widget/%2e%2e"),
    *("/widget/1.0.0/%2e%2e%2f%2e%2e%2fconfig.yaml", "/widget/1.0.0/rates.js%00.css", "/widget/1.0.0/rates.js/x"),
    *("/widget/1.0.0/RATES.JS", "/widget/1.0.0//rates.js", "/widget//rates.js", "/widget/1.0.0/rates.js;x"),
    *("/widget/1.0.0/%72ates.js/..", "/widget/1.0.0/%5c..%5c", "/widget/1.0.0/C:%5cwindows", "/widget/0.0.0/rates.js"),
    *("/v1/rates/..%2f..%2fetc%2fpasswd", "/v1/rates/2026-04-24/..%2fUSD.txt", "/v1/rates/2026-04-24/%2e%2e.txt"),
    *("/v1/rates/%252e%252e%252f", "/v1/rates/2026-04-24/USD.txt%00", "/v1/rates/2026-04-24%00", "/v1/rates/%C0%AE"),
    *("/v1/rates/\u0662\u0660\u0662\u0666-04-24", "/v1/rates/%ff%fe", "/v1/rates/2026-04-24/US%44.txt/x"),
    *("/.env", "/.git/config", "/config.yaml", "/data/engine/appendonly.aof", "/file:///etc/passwd", "/static/x"),
    "/v1/%2frates",
    *("//etc/passwd", "/%2fetc/passwd", "/v1/../livez", "/v1/./rates", "/health/../v1/rates", "/%00", "/%7f"),
]


async def test_E7_traversal(served: Served) -> None:
    """No spelling of a path reaches a file or leaves the routes."""
    for target in TRAVERSAL:
        answered = await ask(served.url, get(target))
        assert answered.status in (400, 404), target
        assert answered["Content-Type"] == "application/problem+json", target
