from __future__ import annotations

import gc
import os
import re
import signal
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock_time
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from _pytest.unraisableexception import collect_unraisable
from aiohttp import web
from hypothesis import settings as hypothesis_settings
from kit.bank import Bank, bank_running, sheet
from kit.cases import golden
from kit.dates import DAYS, EVENING, FRIDAY, NOON, SATURDAY, THURSDAY
from kit.ledger import Ledger, fault
from kit.not_run import missing, not_here, path_of, program, pytest_runtest_makereport, pytest_terminal_summary
from kit.redis import RealRedis, token
from kit.redis import running as redis_running
from kit.service import Program, serving
from kit.sheets import plausible
from kit.time import eventually, patience_s, pytest_exception_interact

from ratesvc.config import Cbr, Redis, Server, Settings
from ratesvc.domain.columns import Days
from ratesvc.domain.rates import FIRST_DAY, Revision
from ratesvc.domain.workdays import MOSCOW, ONE_DAY, moscow_day, utc_now
from ratesvc.installed import DIALECTS
from ratesvc.render.openapi import Site
from ratesvc.service.app import Service
from ratesvc.storage.redis import RedisConnection
from ratesvc.storage.store import Store
from ratesvc.web.features import load
from ratesvc.web.server import build, listening, pattern_of

pytest_plugins = ["kit.guardian", "kit.guarded", "kit.browser"]

# With LONG_FAULTS=1 fault tests run for the time and number of the table, else for as much as shows the same.
LONG = bool(os.environ.get("LONG_FAULTS"))
MIDNIGHT_S = 90.0

# The time of an example depends on other programs; print_blob repeats a failure on another machine.
hypothesis_settings.register_profile("ratesvc", deadline=None, print_blob=True)
hypothesis_settings.load_profile("ratesvc")


def _only_loopback(event: str, arguments: tuple[Any, ...]) -> None:
    """The tests contact nothing outside of this machine.

    This hook sees this process. Programs that the tests start get loopback addresses only, except for pip, uv and npm,
    which ask their index (test_package, test_supply_chain, clients/test_clients).
    """
    if event in ("socket.connect", "socket.sendto") and isinstance(arguments[1], tuple):
        host = arguments[1][0]
        if host != "localhost" and not ip_address(host.partition("%")[0]).is_loopback:
            raise RuntimeError(f"a test wanted to reach {host}")


sys.addaudithook(_only_loopback)

# What tests take from here, and three hooks of pytest.
__all__ = ["eventually", "fault", "golden", "missing", "not_here", "path_of", "patience_s", "program"]
__all__ += ["pytest_exception_interact", "pytest_runtest_makereport", "pytest_terminal_summary"]


_IMPORTED = re.compile(r"^(?:from|import) (?:ratesvc\.features\.(\w+)|(release_\w+))", re.MULTILINE)


def _features_of(file: Path) -> set[str]:
    """The features that a test imports, itself or by a tool."""
    found = _IMPORTED.findall(file.read_text("utf-8"))
    tools = (Path(__file__).parents[1] / "tools" / f"{tool}.py" for _, tool in found if tool)
    return {feature for feature, _ in found if feature}.union(*map(_features_of, tools))


# A test of several features goes when somebody deletes one of them.
_TESTS = Path(__file__).parent.glob("*/**/test_*.py")
_HERE = {part.stem for part in (Path(__file__).parents[1] / "ratesvc/features").glob("*")}
collect_ignore = [str(file) for file in _TESTS if _features_of(file) - _HERE]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--command", choices=COMMANDS, help="run the tests of this command of the Makefile only")
    parser.addoption("--faults-table", type=Path, metavar="FILE", help="write the table of faults there")


def pytest_configure(config: pytest.Config) -> None:
    # Tests ask the loopback only, and no proxy of this machine leads there.
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        del os.environ[name]
    # Local time is neither UTC nor Moscow's: Newfoundland is half an hour off, and has a summer time.
    os.environ.setdefault("TZ", "NST3:30NDT,M3.2.0,M11.1.0")
    time.tzset()
    # A shell lets its background jobs ignore SIGINT, and all programs that the tests start would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # So they would a SIGHUP that nohup lets us ignore. With a handler we still do, and they do not.
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: None)
    if path := config.getoption("--faults-table"):
        config.pluginmanager.register(Ledger(path))


COMMANDS = {"quick": {""}, "test": {"", "slow"}, "nightly": {"nightly"}}


def part_of(item: pytest.Item) -> str:
    """`slow`, `nightly` or neither: a test's own mark wins over that of its file. What measures time is nightly."""
    if item.get_closest_marker("timed"):
        return "nightly"
    nodes = reversed(item.listchain())
    names = (name for node in nodes for name in sorted(mark.name for mark in node.own_markers))
    return next((name for name in names if name in ("nightly", "slow")), "")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the tests of the command."""
    wanted = COMMANDS.get(config.getoption("command"))
    others = [item for item in items if wanted and part_of(item) not in wanted]
    config.hook.pytest_deselected(items=others)
    left = set(others)
    items[:] = [item for item in items if item not in left]


def pytest_collection_finish() -> None:
    """Spare the garbage collector the 400,000 objects of modules and tests, which stay until the end."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None]:
    """Find what this test left unclosed, so that its own report says so.

    What it leaves in use is not looked at again. Otherwise each test would take 16 ms longer.
    """
    yield
    gc.collect()
    gc.freeze()
    collect_unraisable(item.config)


def pytest_runtest_setup() -> None:
    """No test runs across midnight in Moscow: shortly before it the next test waits until it is over."""
    now = utc_now()
    midnight = datetime.combine(moscow_day(now) + ONE_DAY, clock_time.min, MOSCOW)
    left_s = (midnight - now).total_seconds()
    if left_s < MIDNIGHT_S:
        time.sleep(left_s + 1)


def in_nightly(*values: Any) -> list[Any]:
    """Cases of a test for `make nightly`. `make test` has another case that shows the same."""
    cases = (value if isinstance(value, tuple) else (value,) for value in values)
    return [pytest.param(*case, marks=pytest.mark.nightly) for case in cases]


def first(count: int, cases: Iterable[Any]) -> list[Any]:
    """The first of these cases, and the others for `make nightly`."""
    found = list(cases)
    return [*found[:count], *in_nightly(*found[count:])]


@dataclass
class Clock:
    """A clock that tests set: always UTC."""

    moment: datetime = NOON

    def __call__(self) -> datetime:
        return self.moment

    def advance(self, **by: float) -> None:
        self.moment += timedelta(**by)


@pytest.fixture
def clock() -> Clock:
    """Friday 24 April 2026, noon in Moscow."""
    return Clock()


@pytest.fixture(autouse=True)
def _redis_has_time(request: pytest.FixtureRequest) -> Iterator[None]:
    """Redis may take five seconds on a crowded machine, except in the tests that break Redis."""
    with pytest.MonkeyPatch.context() as patch:
        if not request.node.get_closest_marker("breaks_redis"):
            for limit in ("ANSWER_TIMEOUT_S", "QUEUE_S"):
                patch.setattr(f"ratesvc.storage.redis.{limit}", 5.0)
        yield


@pytest.fixture
async def bank() -> AsyncIterator[Bank]:
    async with bank_running() as running:
        yield running


@pytest.fixture(scope="session", params=["valkey", "redis"])
def every_redis(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server of each kind: the embedded Valkey, and Redis."""
    server = RealRedis(tmp_path_factory.mktemp(request.param), request.param)
    with redis_running(server):
        yield server.url


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One server for all tests. Each test has its own namespace."""
    server = RealRedis(tmp_path_factory.mktemp("redis"), "valkey")
    with redis_running(server):
        yield server.url


@pytest.fixture
async def demo(tmp_path: Path) -> AsyncIterator[Program]:
    """`ratesvc serve --demo`, which is ready."""
    async with serving(tmp_path, "--demo") as running:
        await running.ready()
        yield running


@pytest.fixture
def settings(bank: Bank, redis_url: str, tmp_path: Path) -> Settings:
    """A service that asks the Bank's stand-in, has its own namespace in Redis, and polls only when a test says so.

    Its backfill makes no pauses.
    """
    return Settings(
        server=Server(port=0, drain_seconds=0),
        data_dir=str(tmp_path),
        redis=Redis(url=redis_url, namespace=uuid.uuid4().hex),
        cbr=Cbr(mirrors=(bank.url,), backfill_gap_seconds=0),
        poll_seconds=3600,
    )


@pytest.fixture
async def store(settings: Settings) -> AsyncIterator[Store]:
    """A connection of its own to the namespace of the service under test."""
    opened = Store(RedisConnection(settings.redis.url), settings.redis.namespace, token)
    yield opened
    await opened.close()


async def stored(store: Store) -> list[Revision]:
    """Every revision in Redis, by day and number."""
    found = await store.revisions(await store.fields(), {})
    return [revision for _, (_, revision) in sorted(found.items()) if revision]


def but(settings: Settings, **changed: Any) -> Settings:
    """The same with whole parts changed, or in a dict some of a part: `but(settings, server={"port": 80})`."""
    parts = {
        name: msgspec.structs.replace(getattr(settings, name), **given) if isinstance(given, dict) else given
        for name, given in changed.items()
    }
    return msgspec.structs.replace(settings, **parts)


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
        await eventually(lambda: self.service.publication)

    async def filled(self) -> None:
        """Wait until history is loaded."""
        await eventually(lambda: self.service.history.settled and self.service.backfilling is None and not self.lacking)

    @property
    def lacking(self) -> list[date]:
        """The days up to today whose sheets are missing, and were not withdrawn."""
        today, history = moscow_day(self.service.clock()), self.service.history
        return [day for day in history.missing_days(Days(FIRST_DAY, today), today) if day not in history.withdrawn_days]

    async def samples(self) -> dict[str, str]:
        """The metrics: name and labels → value."""
        status, headers, body = await self.get("/metrics")
        assert (status, headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
        return dict(line.rsplit(" ", 1) for line in body.decode().splitlines() if not line.startswith("#"))

    def held(self, day: date) -> Revision:
        """The newest revision of that day's sheet, which must be held."""
        found = self.service.history.of_date(day)
        assert found, f"no sheet of {day}"
        return found


async def announced(bank: Bank, served: Served, clock: Clock, day: date) -> None:
    """It is evening, and the Bank has published the sheet of the next day."""
    bank.publish(sheet(day))
    clock.moment = datetime(day.year, day.month, day.day, 14, tzinfo=UTC) - ONE_DAY
    await served.service.refresh()
    await eventually(lambda: served.service.history.of_date(day))


def addresses(service: Service) -> set[str]:
    """The path of every route, with its variable parts in braces; a trailing slash makes no other path."""
    resources = build(service, "http://x").router.resources()
    found = {resource.canonical for resource in resources} - {"/{anything}"}
    return found - ({f"{path}/" for path in found} - foreign(service))


def foreign(service: Service) -> set[str]:
    """Those of the dialects."""
    router, features = web.UrlDispatcher(), load(DIALECTS)
    paths = {path for feature in features.on for path in feature.routes(service, Site("http://x"), features)}
    return {router.add_resource(pattern_of(path)).canonical for path in paths}


@asynccontextmanager
async def service_running(settings: Settings, clock: Clock) -> AsyncIterator[Served]:
    """A service in this process, without a limit on how often it asks the Bank. It stops with the context."""
    async with (
        Service(settings, clock=clock) as service,
        listening(service) as url,
        aiohttp.ClientSession(auto_decompress=False, headers={"Accept-Encoding": "identity"}) as http,
    ):
        yield Served(service, url.replace("localhost", "127.0.0.1"), http)


Serve = Callable[..., AbstractAsyncContextManager[Served]]


@pytest.fixture
def serve(settings: Settings, bank: Bank, clock: Clock) -> Serve:
    """Starts a service that lives at the time of `clock`, as the Bank does, while its context lasts.

    It has `settings` or others, and those that are changed, as in `but`.
    """
    bank.now = clock

    def start(given: Settings = settings, **changed: Any) -> AbstractAsyncContextManager[Served]:
        return service_running(but(given, **changed), clock)

    return start


@pytest.fixture
def serve_whole(serve: Serve) -> Serve:
    """The same, and the service holds all that the Bank has."""

    @asynccontextmanager
    async def start(*given: Settings, **changed: Any) -> AsyncIterator[Served]:
        async with serve(*given, **changed) as running:
            await running.filled()
            yield running

    return start


@pytest.fixture(autouse=True)
def _settled_at_once(request: pytest.FixtureRequest) -> Iterator[None]:
    """Most tests have a Bank with the sheets of some days: for them a day is settled at once, not after a week."""
    with pytest.MonkeyPatch.context() as patch:
        if not request.node.get_closest_marker("settles_after_a_week"):
            patch.setattr("ratesvc.service.backfill.WEEK", timedelta(0))
        yield


@pytest.fixture
async def served(bank: Bank, serve_whole: Serve) -> AsyncIterator[Served]:
    """A service that holds Thursday's and Friday's sheet and has nothing left to do."""
    bank.publish(sheet(THURSDAY), sheet(FRIDAY))
    async with serve_whole() as running:
        await running.ready()
        yield running


@pytest.fixture
def every_sheet(bank: Bank) -> None:
    """The Bank has published the sheets of five weeks, up to Friday's."""
    bank.publish(*map(plausible, DAYS))


@pytest.fixture
async def held(every_sheet: None, serve_whole: Serve) -> AsyncIterator[Served]:  # noqa: ARG001 -- that the Bank has
    """A service that holds them all, and has asked again for the last week."""
    async with serve_whole() as running:
        await running.service.poll()
        yield running


@pytest.fixture
def told_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers of events are told of a change after a moment."""
    monkeypatch.setattr("ratesvc.features.events.feed.SPREAD_S", 0.2)


@pytest.fixture
async def evening(bank: Bank, served: Served, clock: Clock) -> Served:
    """The same on Friday evening, with Saturday's sheet announced."""
    clock.moment = EVENING
    bank.publish(sheet(SATURDAY))
    await served.service.refresher.ask_without_lease()
    return served
