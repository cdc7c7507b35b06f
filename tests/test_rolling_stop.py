"""The shipped proxy in front of two real replicas: stopping one is noticed by nobody."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import socket
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from bank import Bank, sheet
from conftest import eventually, program
from processes import serving

from ratesvc.workdays import WorkCalendar, moscow_day, utc_now

pytestmark = pytest.mark.slow

SHIPPED = Path(__file__).parents[1] / "deploy" / "haproxy.cfg"
ALLOWED = 300  # requests in ten seconds


@asynccontextmanager
async def proxy(folder: Path, *replicas: str) -> AsyncIterator[str]:
    """HAProxy with the shipped configuration, its names replaced by addresses; yields its own."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    servers = "\n".join(f"    server replica{n} {url.removeprefix('http://')}" for n, url in enumerate(replicas))
    text, templates = re.subn(r"^    server-template .*$", servers, SHIPPED.read_text("utf-8"), flags=re.MULTILINE)
    text, binds = re.subn(r"bind :8080", f"bind 127.0.0.1:{port}", text)
    assert (templates, binds) == (1, 1)
    config = folder / "haproxy.cfg"
    config.write_text(text, "utf-8")
    process = await asyncio.create_subprocess_exec(
        *(program("haproxy"), "-db", "-f", str(config)), stdout=asyncio.subprocess.DEVNULL
    )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


async def readers(url: str, answers: Counter[str], stop: asyncio.Event) -> None:
    """Ask on, on a new connection each time, some 20 times a second, and count what comes."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as http:
        while not stop.is_set():
            try:
                async with http.get(f"{url}/v1/rates") as answer:
                    await answer.read()
                    answers[str(answer.status)] += 1
            except aiohttp.ClientError as error:
                answers[type(error).__name__] += 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), 0.05)


async def test_a_replica_that_stops_fails_no_request(bank: Bank, redis_url: str, tmp_path: Path) -> None:
    """SIGTERM to one of two under load: the proxy hears «draining», the replica ends with 0, each answer is a 200."""
    calendar = WorkCalendar()
    bank.publish(sheet(calendar.effective_date_on_or_before(moscow_day(utc_now()))))
    shared = {
        "RATESVC_REDIS_URL": redis_url,
        "RATESVC_REDIS_NAMESPACE": uuid.uuid4().hex,
        "RATESVC_CBR_MIRRORS": bank.url,
        "RATESVC_DRAIN_SECONDS": "3",
    }
    answers: Counter[str] = Counter()
    stop = asyncio.Event()
    async with serving(tmp_path, **shared) as one, serving(tmp_path, **shared) as other:
        await one.ready()
        await other.ready()
        async with proxy(tmp_path, one.url, other.url) as url:
            await eventually(lambda: _answers(url, "/readyz", 200))
            asking = asyncio.create_task(readers(url, answers, stop))
            await eventually(lambda: answers["200"] >= 10)
            one.kill(signal.SIGTERM)
            assert await one.ended() == 0
            seen = answers["200"]
            await eventually(lambda: answers["200"] >= seen + 10)
            stop.set()
            await asking
    assert answers.keys() == {"200"}


async def test_the_proxy_refuses_too_many_requests_and_hides_the_figures(tmp_path: Path) -> None:
    """More than it allows one address is 429 with Retry-After; /metrics is not for readers."""
    async with serving(tmp_path, "--demo") as one, proxy(tmp_path, one.url) as url:
        await one.ready()
        await eventually(lambda: _answers(url, "/readyz", 200))
        assert await _answers(url, "/metrics", 404)
        async with aiohttp.ClientSession() as http:
            statuses: Counter[int] = Counter()
            for _ in range(ALLOWED + 50):
                async with http.get(f"{url}/livez") as answer:
                    statuses[answer.status] += 1
                    last = answer.headers.get("Retry-After")
    assert statuses.keys() == {200, 429}
    assert last == "10"


async def test_without_any_replica_the_proxy_answers_with_a_problem(tmp_path: Path) -> None:
    """A program gets JSON and is told when to come again, not a page in HTML."""
    async with proxy(tmp_path, "http://127.0.0.1:1") as url:
        await eventually(lambda: _answers(url, "/v1/rates", 503))
        async with aiohttp.ClientSession() as http, http.get(f"{url}/v1/rates") as answer:
            assert answer.content_type == "application/problem+json"
            assert (await answer.json(content_type=None))["status"] == 503
            assert answer.headers["Retry-After"] == "5"


async def _answers(url: str, path: str, status: int) -> bool:
    with contextlib.suppress(aiohttp.ClientError):
        async with aiohttp.ClientSession() as http, http.get(url + path) as answer:
            return answer.status == status
    return False
