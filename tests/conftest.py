from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import pytest
import redis
from bank import Bank, bank_running, sheet
from ledger import Ledger, fault

from ratesvc.config import Cbr, Redis, Server, Settings
from ratesvc.engine import find_server
from ratesvc.service import Service
from ratesvc.web.app import listening

pytest_plugins = ["widget_harness"]

PATIENCE_S = 15.0
# With LONG_FAULTS=1 the tests of faults take as long, and as many, as the table says; else as much as shows the same.
LONG = bool(os.environ.get("LONG_FAULTS"))


def _only_loopback(event: str, arguments: tuple[Any, ...]) -> None:
    """The tests contact nothing outside of this machine; only to install other people's clients a registry is asked.

    It sees this process; what the tests start is told loopback addresses only.
    """
    if event in ("socket.connect", "socket.sendto") and isinstance(arguments[1], tuple):
        host = arguments[1][0]
        if host != "localhost" and not ip_address(host.partition("%")[0]).is_loopback:
            raise RuntimeError(f"a test wanted to reach {host}")


sys.addaudithook(_only_loopback)

__all__ = ["fault"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--faults-table", type=Path, metavar="FILE", help="write the table of faults there")


def pytest_configure(config: pytest.Config) -> None:
    # Everything a test asks is on the loopback, where no proxy of this machine leads.
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        del os.environ[name]
    if path := config.getoption("--faults-table"):
        config.pluginmanager.register(Ledger(path))


def missing(what: str) -> None:
    """A test that cannot run here: loudly skipped, or failed where everything must run."""
    if os.environ.get("TEST_ALL"):
        pytest.fail(f"{what} is missing, and TEST_ALL forbids to skip")
    pytest.skip(f"NOT RUN: {what} is missing")


def program(name: str) -> str:
    """Where a program is that the tests need; servers' programs often lie outside of PATH."""
    path = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    if path is None:
        missing(name)
    return path or ""


async def eventually(condition: Callable[[], Awaitable[object] | object], patience_s: float = PATIENCE_S) -> None:
    """Wait until the condition holds; it is asked again whenever the loop is free, not after a guessed pause."""
    async with asyncio.timeout(patience_s):
        while True:
            found = condition()
            if await found if isinstance(found, Awaitable) else found:
                return
            await asyncio.sleep(0.01)


@dataclass
class Clock:
    """A clock that tests set: always UTC."""

    moment: datetime = datetime(2026, 4, 24, 9, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.moment

    def advance(self, **by: float) -> None:
        self.moment += timedelta(**by)


@pytest.fixture
def clock() -> Clock:
    """Friday 24 April 2026, noon in Moscow."""
    return Clock()


@pytest.fixture
async def bank() -> AsyncIterator[Bank]:
    async with bank_running() as running:
        yield running


def _server(binary: str) -> Iterator[str]:
    folder = Path(tempfile.mkdtemp(prefix="ratesvc-test-"))
    socket = folder / "s"
    command = [binary, "--port", "0", "--unixsocket", str(socket), "--dir", str(folder), "--save", ""]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        client = redis.Redis(unix_socket_path=str(socket))
        while process.poll() is None:
            try:
                client.ping()
                break
            except redis.ConnectionError:
                continue
        client.close()
        yield f"unix://{socket}"
        process.terminate()
    shutil.rmtree(folder)


@pytest.fixture(scope="session", params=["embedded binary", "redis-server"])
def every_redis(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of each kind of server in turn: Valkey, which we embed, and Redis."""
    binary = str(find_server()) if request.param == "embedded binary" else shutil.which(request.param)
    if binary is None:
        missing(request.param)
    else:
        yield from _server(binary)


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """One server for all tests; each has a namespace of its own."""
    yield from _server(str(find_server()))


@pytest.fixture
def settings(bank: Bank, redis_url: str, tmp_path: Path) -> Settings:
    """A service that asks the replica, keeps to a namespace of its own, and polls only when a test says so."""
    return Settings(
        server=Server(port=0, drain_seconds=0),
        data_dir=str(tmp_path),
        redis=Redis(url=redis_url, namespace=uuid.uuid4().hex),
        cbr=Cbr(mirrors=(bank.url,)),
        poll_seconds=3600,
    )


@dataclass
class Served:
    """A service under test: in the process, and over HTTP."""

    service: Service
    url: str
    http: aiohttp.ClientSession

    async def get(self, path: str, **headers: str) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and bytes as they came."""
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.http.get(self.url + path, headers=names) as answer:
            return answer.status, answer.headers, await answer.read()

    async def ready(self) -> None:
        """Wait for the first sheet."""
        await eventually(lambda: self.service.board.current)


class Serve(Protocol):
    """Starts a service; leave the context to stop it."""

    def __call__(self, settings: Settings) -> AbstractAsyncContextManager[Served]: ...


@pytest.fixture
def serve(clock: Clock) -> Serve:
    @asynccontextmanager
    async def start(settings: Settings) -> AsyncIterator[Served]:
        async with (
            Service(settings, clock=clock) as service,
            listening(service) as url,
            aiohttp.ClientSession(auto_decompress=False, headers={"Accept-Encoding": "identity"}) as http,
        ):
            yield Served(service, url.replace("localhost", "127.0.0.1"), http)

    return start


@pytest.fixture
async def served(bank: Bank, settings: Settings, serve: Serve) -> AsyncIterator[Served]:
    """A service that holds Thursday's and Friday's sheet."""
    bank.publish(sheet(date(2026, 4, 23)), sheet(date(2026, 4, 24)))
    async with serve(settings) as running:
        await running.ready()
        yield running
