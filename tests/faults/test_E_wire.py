"""Hostile clients, the bytes: E1 slow clients, E2 smuggling, E3 too much, E7 traversal."""

from __future__ import annotations

import asyncio
import re
import time
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest
from conftest import Serve, Served, eventually
from kit import cases
from kit.bank import Bank, around_today, sheet
from kit.dates import FRIDAY
from kit.http import Answered, ask, connected, get, says
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


def written(text: str) -> bytes:
    """The bytes of a request of a golden table."""
    many = {"a": lambda _: "a", "header": "X-{}: a\\r\\n".format}
    text = re.sub(r"<(\w+)\*(\d+)>", lambda found: "".join(map(many[found[1]], range(int(found[2])))), text)
    return text.encode().decode("unicode_escape").encode("latin-1")


def check(name: str, answers: dict[str, Answered]) -> None:
    """Each is a problem, as the golden table says."""
    shown = {line: f"{one.status} {one.document['type'].removeprefix('urn:ratesvc:')}" for line, one in answers.items()}
    cases.check(f"wire/{name}.txt", shown)


def requests(name: str) -> dict[str, bytes]:
    """The bytes of each line of a golden table."""
    return {line: written(line.rpartition(" | ")[2]) for line in cases.questions(f"wire/{name}.txt")}


@pytest.mark.slow
@pytest.mark.parametrize("without_c", ["", "1"])
async def test_E2_smuggling(tmp_path: Path, without_c: str) -> None:
    """A request that two servers could read differently gets 400 and the end of the connection, with either parser."""
    async with serving(tmp_path, "--demo", AIOHTTP_NO_EXTENSIONS=without_c) as program:
        await program.ready()
        loaded = Path(f"/proc/{program.process.pid}/maps").read_text()
        assert ("/aiohttp/_http_parser" in loaded) == (not without_c)
        odd = requests("odd")
        asked = (ask(program.url, request + get("/v1/rates"), closes=True) for request in odd.values())
        answers = dict(zip(odd, await asyncio.gather(*asked), strict=True))
        for answered in answers.values():
            assert (answered["Server"], answered["X-Injected"]) == ("ratesvc", None)
        check("odd", answers)
        assert (await ask(program.url, get("/v1/rates"))).document["rates"]
    assert "Traceback" not in (tmp_path / "errors.log").read_text()


@pytest.mark.timed
async def test_E3_too_much_and_odd(served: Served) -> None:
    """A request that is too large or odd gets a problem document at once, and the end of the connection."""
    answers = {line: await ask(served.url, request, closes=True) for line, request in requests("large").items()}
    check("large", answers)
    for answered in answers.values():
        assert answered.document["status"] == answered.status
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


async def test_E7_traversal(served: Served) -> None:
    """No spelling of a path reaches a file or leaves the routes."""
    answers = {path: await ask(served.url, get(path)) for path in cases.questions("wire/path.txt")}
    check("path", answers)
    assert {one["Content-Type"] for one in answers.values()} == {"application/problem+json"}
