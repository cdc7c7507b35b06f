"""The routes of the application."""

from __future__ import annotations

import asyncio
import re
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from conftest import Clock, Serve, Served, but, eventually, not_here
from kit import cases
from kit.bank import Bank, sheet
from kit.dates import FRIDAY
from kit.http import asking, connected, ending, fetched, get, reading
from kit.service import listens
from structlog.testing import capture_logs

from ratesvc.config import Settings
from ratesvc.errors import ConfigError
from ratesvc.installed import FEATURES
from ratesvc.service.app import Service
from ratesvc.web import connections
from ratesvc.web.features import load
from ratesvc.web.problems import not_found
from ratesvc.web.server import listening

PATHS = (
    *("/v1/rates", "/v1/rates?codes=USD", "/v1/rates/2026-04-24", "/v1/rates/2026-04-24.csv", "/v1/rates/next"),
    *("/v1/rates/today/USD.txt", "/v1/series", "/rate", "/docs", "/widget", "/widget/rates.js"),
    *("/frankfurter/v1/latest", "/cbr-xml-daily/daily_json.js", "/scripts/XML_daily.asp", "/nowhere"),
)


async def test_a_trailing_slash_changes_no_answer(served: Served) -> None:
    """Neither its first answer nor the remembered one, nor the answer to HEAD; it is no redirect."""
    for path in PATHS:
        expected = await served.get(path)
        address, sign, query = path.partition("?")
        slashed = f"{address}/{sign}{query}"
        for _ in ("first", "remembered"):
            status, headers, body = await served.get(slashed)
            found = status, headers["Content-Type"], body
            assert found == (expected[0], expected[1]["Content-Type"], expected[2]), path
        async with served.http.head(served.url + slashed) as answer:
            assert answer.status == expected[0], path


async def test_probes_have_one_address(served: Served) -> None:
    """Front ends hide /health and /metrics by their exact addresses."""
    for path in ("/health", "/metrics", "/livez", "/readyz"):
        assert [(await served.get(address))[0] for address in (path, f"{path}/")] == [200, 404]


async def test_an_address_of_ipv6_stands_in_brackets(settings: Settings, clock: Clock) -> None:
    """All links begin with it, unless there is a public one."""
    host = "0:0:0:0:0:0:0:1"
    try:
        socket.create_server((host, 0), family=socket.AF_INET6).close()
    except OSError:
        not_here("IPv6")
    given = but(settings, server={"host": host, "port": 0, "admin_port": 0})
    async with (
        Service(given, clock=clock, scheduled=False) as service,
        listening(service) as address,
    ):
        assert [str(url).rpartition(":")[0] for url in (address, service.admin_url)] == [f"http://[{host}]"] * 2


class Wire(asyncio.Transport):
    """A connection of which so many bytes wait to be sent."""

    unsent = 0

    def get_write_buffer_size(self) -> int:
        return self.unsent


def looked_at(question: str) -> Iterator[tuple[int, int, int | None]]:
    """The second, the bytes that wait, and since when a request is unfinished."""
    for look in question.split("; "):
        now, waiting, *since = map(int, re.findall("[0-9]+", look))
        yield now, waiting, since[0] if since else None


async def test_a_client_is_too_slow_after_ten_seconds() -> None:
    """If a request takes longer, or less than a thousand bytes a second of an answer are taken."""
    verdicts = dict.fromkeys(cases.questions("slow_clients.txt"), "goes on")
    for question in verdicts:
        connection, wire = connections.Connection(web.Server(not_found), loop=asyncio.get_running_loop()), Wire()
        connection._wire = wire  # noqa: SLF001 -- what it measures
        for now, wire.unsent, connection.unfinished_since in looked_at(question):
            if connection.writing_paused and wire.unsent <= 16 * 1024:  # asyncio's marks
                connection.resume_writing()
            elif not connection.writing_paused and wire.unsent > 64 * 1024:
                connection.pause_writing()
            if connection.is_too_slow(now):
                verdicts[question] = "too slow"
    cases.check("slow_clients.txt", verdicts)


async def test_the_kernel_holds_little_of_an_answer() -> None:
    """Otherwise its megabytes would hide for a minute that an honest slow reader takes anything."""
    made: list[connections.Connection] = []

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=bytes(8_000_000))

    app = web.Application()
    app.router.add_get("/", answer)
    with socket.socket() as listener, socket.socket() as client:
        listener.bind(("127.0.0.1", 0))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        async with connections.accepting(app, listener, install=lambda connection, _: made.append(connection)):
            client.connect(listener.getsockname())
            client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await eventually(lambda: made and made[0].writing_paused)
            assert made[0]._wire.get_write_buffer_size() > 7_500_000  # noqa: SLF001 -- what it measures
            made[0].hang_up()


async def test_a_client_that_is_too_slow_gets_no_more_bytes() -> None:
    """Not even those that wait in the kernel: they would keep the connection open for minutes."""
    made: list[connections.Connection] = []

    def connect() -> connections.Connection:
        made.append(connections.Connection(web.Server(not_found), loop=asyncio.get_running_loop()))
        return made[0]

    async with await asyncio.get_running_loop().create_server(connect, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        await eventually(lambda: made)
        made[0]._wire.write(b"x")  # noqa: SLF001
        made[0].hang_up()
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()


async def test_silent_connections_take_a_quarter_of_the_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that has been silent for longest makes room for the next. One that has sent something stays."""
    monkeypatch.setattr("ratesvc.web.connections.resource.getrlimit", lambda _: (8, 800))
    app, listener = web.Application(), socket.socket()
    listener.bind(("127.0.0.1", 0))
    url = "http://{}:{}".format(*listener.getsockname())
    async with connections.accepting(app, listener), asking(url) as used:
        assert (await used(get("/"))).status == 404
        async with connected(url) as (oldest, _), connected(url) as (older, _), connected(url) as (newest, _):
            assert await ending(oldest) == b""
            async with asking(url) as another:
                assert await ending(older) == b""
                assert [(await one(get("/"))).status for one in (another, used)] == [404, 404]
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(newest.read(), 0.05)


async def test_nothing_of_a_service_goes_on_after_its_end(bank: Bank, serve: Serve) -> None:
    """Whatever it was doing: neither a task, nor a timer, nor a thread."""
    bank.publish(sheet(FRIDAY))
    before, names = asyncio.all_tasks(), {thread.name for thread in threading.enumerate()}
    async with serve() as served:
        await served.ready()
        async with reading(served.url), connected(served.url):
            assert [(await served.get(path))[0] for path in PATHS[:4]] == [200] * 4
    assert {task.get_name() for task in asyncio.all_tasks() - before} == set()
    timers = asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined] # noqa: SLF001 -- nothing else has them
    assert [timer for timer in timers if not timer.cancelled() and "ratesvc" in repr(timer)] == []
    left = {thread.name for thread in threading.enumerate()} - names
    assert {name for name in left if not name.startswith("asyncio")} == set()


async def test_a_check_of_all_connections_that_fails_is_not_the_last(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told and counted like a task that is started again."""
    monkeypatch.setattr(connections, "LOOK_S", 0.01)
    checks = iter([ZeroDivisionError])

    def is_too_slow(*_: object) -> bool:
        for error in checks:
            raise error
        return True

    async with serve() as served, connected(served.url) as (reader, _):
        monkeypatch.setattr(connections.Connection, "is_too_slow", is_too_slow)
        with capture_logs() as logged:
            assert await ending(reader) == b""
        assert 'task_restarts_total{task="slow clients"} 1.0' in served.service.telemetry.metrics.text().decode()
    assert [line["task"] for line in logged if line["event"] == "task_died"] == ["slow clients"]


async def test_a_stop_refuses_new_connections_while_it_finishes_answers() -> None:
    """A proxy then asks another replica."""
    asked, may_end = asyncio.Event(), asyncio.Event()

    async def answer(_: web.Request) -> web.Response:
        asked.set()
        await may_end.wait()
        return web.Response()

    app, listener = web.Application(), socket.socket()
    app.router.add_get("/", answer)
    listener.bind(("127.0.0.1", 0))
    port, accepting = listener.getsockname()[1], connections.accepting(app, listener)
    await accepting.__aenter__()
    unfinished = asyncio.create_task(fetched(f"http://127.0.0.1:{port}/"))
    await asked.wait()
    stopping = asyncio.create_task(accepting.__aexit__(None, None, None))
    await eventually(lambda: not listens(port))
    may_end.set()
    assert (await unfinished).status == 200
    await stopping


async def test_a_port_listens_once_it_answers(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before, it refuses. A proxy would take a port that listens and does not answer for a hung replica."""
    seen = []

    @asynccontextmanager
    async def accepting(application: Any, listener: socket.socket, **options: Any) -> AsyncIterator[None]:
        seen.append(listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
        async with connections.accepting(application, listener, **options):
            seen.append(listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
            yield

    monkeypatch.setattr("ratesvc.web.server.accepting", accepting)
    async with serve() as served:
        assert (await served.get("/livez"))[0] == 200
    assert seen == [0, 1]


def test_a_feature_without_another_that_it_needs_stops_the_start() -> None:
    """Otherwise its pages would lack something."""
    installed = load(FEATURES).on
    assert [feature.name for feature in installed] == [*FEATURES]
    for feature in installed:
        if feature.needs:
            with pytest.raises(ConfigError, match=f"features: {feature.name} needs {feature.needs[0]}"):
                load([feature.name])


async def test_the_service_alone_has_rates_and_probes(bank: Bank, serve: Serve) -> None:
    """Without any feature."""
    bank.publish(sheet(FRIDAY))
    async with serve(features=()) as served:
        await served.ready()
        answers = {path: (await served.get(path))[0] for path in ("/v1/rates", "/health", "/", "/v1/series")}
        assert answers == {"/v1/rates": 200, "/health": 200, "/": 404, "/v1/series": 404}


@pytest.mark.slow
def test_the_service_alone_loads_no_templates_and_no_pictures() -> None:
    """Without features it needs neither jinja2 nor Pillow."""
    code = "import sys, ratesvc.commands.serve; sys.exit(' '.join({'jinja2', 'PIL', 'babel'} & {*sys.modules}) or 0)"
    subprocess.run([sys.executable, "-c", code], check=True)
