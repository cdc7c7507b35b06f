"""Table C: faults of Redis. Memory serves all the while, and rewrites what Redis lost."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis
from conftest import LONG, Clock, Serve, Served, but, eventually, patience_s
from kit.bank import Bank, sheet
from kit.dates import DAYS, EVENING, SATURDAY
from kit.front import ChaosProxy
from kit.http import says
from kit.ledger import Fault
from kit.reader import Readers, p99
from kit.redis import RealRedis, Sentinel, cluster_nodes, joined, running
from kit.time import Lag, limit_s
from structlog.testing import capture_logs
from structlog.typing import EventDict

from ratesvc.config import Redis, Settings
from ratesvc.errors import StoreUnavailable
from ratesvc.storage.records import unseal
from ratesvc.storage.redis import ANSWER_TIMEOUT_S, QUEUE_S

pytestmark = [
    pytest.mark.nightly,
    pytest.mark.breaks_redis,
    # Connections that redis-py or the proxy cuts in the middle are sometimes left to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.usefixtures("nothing_remembered"),
]

MOST_OF_OURS = 2_000_000
CANARY = "canary-7f3a91"
STOPPED_S = 60.0 if LONG else 0.0
KINDS = (
    *("/v1/rates", "/v1/rates/next", "/v1/rates/2026-04-01/USD.txt", "/v1/series?codes=USD,EUR&since=2026-03-10"),
    *("/v1/currencies?lang=ru", "/chart.svg?codes=USD&since=2026-03-10", "/scripts/XML_daily.asp"),
    *("/ecb/eurofxref-hist.csv", "/widget/rows.json", "/", "/metrics", "/readyz"),
)
"""One address of each kind."""
CHECKED = ("/v1/rates", "/v1/rates/next", "/v1/rates?lang=ru")
# The simulated fleet compares what they answer.
OTHERS = (
    "/widget?codes=USD,EUR",
    "/scripts/XML_daily.asp",
    "/v1/series?codes=USD&since=2026-01-01",
    "/v1/currencies",
    "/readyz",
)
# Less than Redis may take. kit/guarded.py shows that no request waits for it.
MOST_P99_S = 0.2


Name = Callable[[str], str]


def key_of(namespace: str, name: str) -> str:
    return f"{{{namespace}}}:v2:{name}"


def stored(server: RealRedis, key: Name) -> set[bytes]:
    """The fields of sheets and columns in a Redis that holds the coverage too, all of them whole; else none."""
    with server.client() as client:
        try:
            if (client.memory_usage(key("sheets"), samples=0) or 0) > MOST_OF_OURS:
                return set()  # to read it all again and again would be a fault of its own
            sheets: dict[Any, Any] = client.hgetall(key("sheets"))
            columns: dict[Any, Any] = client.hgetall(key("columns"))
            coverage = unseal("coverage", client.get(key("coverage")))
        except redis.RedisError:
            return set()
    is_whole = all(unseal(name.decode(), value) for name, value in (sheets | columns).items())
    return sheets.keys() | columns.keys() if is_whole and coverage else set()


@dataclass
class Seeded(Served):
    """A service that holds some history."""

    bank: Bank

    def key(self, name: str) -> str:
        return key_of(self.service.settings.redis.namespace, name)

    async def holds_all(self, server: RealRedis) -> bool:
        """Whether that Redis holds everything that memory does, whole."""
        wanted = {f"{day}.{number}".encode() for day, number in self.service.history.own_keys}
        wanted |= {column.currency.cbr_id.encode() for column in self.service.history.columns()}
        return wanted <= await asyncio.to_thread(stored, server, self.key)

    async def next_is_saturday(self) -> bool:
        return await says(self, "/v1/rates/next", f'"effective_date":"{SATURDAY}"'.encode())

    async def redis_is(self, status: str) -> bool:
        return bool(self.service.health()["redis:connectivity"]["status"] == status)


@asynccontextmanager
async def under_load(served: Seeded) -> AsyncIterator[Readers]:
    """Two readers, of whom none waits long or gets an error; every answer keeps the invariant I.

    The fault lasts until `ends` or the end of the context.
    """
    truth = served.bank.truth
    paths = (*CHECKED, f"/v1/rates/{sorted(truth)[1]}", *OTHERS)
    for path in paths:  # the first request of each kind takes longer
        await served.get(path)
    async with Readers(served.url, truth, 250.0, paths, 2, "alone", OTHERS, served.service.clock) as readers:
        yield readers
        await readers.ends()
    took_s = p99(readers.during)
    print(f"\n  {len(readers.during)} answers during the fault: p99 {took_s * 1000:.1f} ms")  # noqa: T201 -- a figure
    assert (readers.violations, readers.lost) == ([], 0), readers.answers
    assert took_s < limit_s(MOST_P99_S)


@dataclass
class OverRedis:
    """A Redis of its own, the Bank and a clock, and the ways to start services over them."""

    own: RealRedis
    bank: Bank
    clock: Clock
    fault: Fault
    folder: Path
    settings: Settings
    serve: Serve

    def over(self, url: str) -> Settings:
        """The settings of a service over the Redis at that address."""
        own = Redis(url=url, namespace=self.settings.redis.namespace)
        return but(self.settings, redis=own)

    @asynccontextmanager
    async def seeded(self, url: str = "") -> AsyncIterator[Seeded]:
        """A service over its own Redis, or that one, once both hold everything and it has asked for the last week."""
        if not self.bank.truth:
            self.bank.publish(*map(sheet, DAYS))
        async with self.serve(self.over(url or self.own.url)) as served:
            await served.filled()
            await served.service.poll()
            yield Seeded(served.service, served.url, served.http, self.bank)

    async def publishes_saturday(self, served: Seeded) -> None:
        """The Bank sets the next sheet, and this replica polls."""
        self.bank.publish(sheet(SATURDAY))
        self.clock.moment = EVENING
        await served.service.refresh()

    async def is_used_again(self, served: Seeded) -> None:
        await self.fault.recovers(lambda: served.redis_is("pass"), within_s=2)


@pytest.fixture
def stage(
    bank: Bank, clock: Clock, fault: Fault, tmp_path: Path, settings: Settings, serve: Serve
) -> Iterator[OverRedis]:
    own = RealRedis(tmp_path / "redis")
    with running(own):
        yield OverRedis(own, bank, clock, fault, tmp_path, settings, serve)


@pytest.mark.timed
async def test_C2_stopped_and_continued(stage: OverRedis) -> None:
    """Redis hangs: no request waits half a second, no tick a second, and 2 s after it goes on it is used.

    The log says once that it is silent, and once that it is back.
    """
    with capture_logs() as logged:
        async with stage.seeded() as served:
            statuses = {path: (await served.get(path))[0] for path in KINDS}
            assert {path for path in KINDS if statuses[path] != 200} == {"/v1/rates/next"}
            async with Lag() as lag, under_load(served) as load:
                logged.clear()  # a crowded machine may have kept Redis from answering before
                stage.own.signal(signal.SIGSTOP)
                begun = time.monotonic()
                await eventually(lambda: served.redis_is("warn"))
                await eventually(lambda: time.monotonic() - begun >= STOPPED_S, within_s=STOPPED_S + patience_s())
                await load.ends()
            assert max(load.during) < limit_s(0.5) + lag.longest_s
            for path in KINDS:
                before = time.monotonic()
                assert (await served.get(path))[0] == statuses[path], path
                assert time.monotonic() - before < limit_s(0.5), path
            for _ in range(6):
                before = time.monotonic()
                await served.service.tick()
                # The heartbeat's own tick may be before this one in the lock, and waits as long.
                assert time.monotonic() - before < limit_s(2 * 0.45)
                assert served.service.telemetry.trouble
            await eventually(lambda: of_the_store(logged))  # it says so after some seconds
            stage.own.signal(signal.SIGCONT)
            await stage.is_used_again(served)
            assert of_the_store(logged) == ["store_unavailable", "store_back"]


def of_the_store(logged: list[EventDict]) -> list[str]:
    return [line["event"] for line in logged if line["event"].startswith(("store_", "kept_"))]


async def test_C11_sentinel_failover(stage: OverRedis) -> None:
    """The master hangs: writes go on with the new one within seconds, and nothing goes backwards."""
    master = RealRedis(stage.folder / "master", appendonly="yes")
    replica = RealRedis(stage.folder / "replica", replicaof=f"127.0.0.1 {master.port}")
    for server in (master, replica):
        server.options |= {"repl-diskless-sync-delay": 0, "repl-timeout": 3}
    with running(master, replica):
        sentinels = [Sentinel(stage.folder / f"sentinel-{n}", master.port, CANARY) for n in range(3)]
        with running(*sentinels), replica.client() as client:
            await eventually(lambda: all(_knows_all(one) for one in sentinels))
            nodes = ",".join(f"127.0.0.1:{one.port}" for one in sentinels)
            url = f"redis+sentinel://{nodes}/rates/0?sentinel_password={CANARY}"
            async with stage.seeded(url) as served:
                await eventually(lambda: served.holds_all(replica))
                async with under_load(served):
                    master.signal(signal.SIGSTOP)
                    # This fault ends by itself: the figure is how long nothing could be written.
                    is_written = partial(client.hexists, served.key("sheets"), f"{SATURDAY}.1")
                    writing = asyncio.create_task(stage.fault.recovers(is_written))
                    await stage.publishes_saturday(served)
                    await eventually(served.next_is_saturday)
                    await writing
                    # The old master takes itself for the master, with what it knew.
                    master.signal(signal.SIGCONT)
                    with master.client() as old:
                        assert old.dbsize()
                    assert await served.next_is_saturday()
                    await stage.fault.recovers(lambda: served.redis_is("pass"))
                    await eventually(lambda: asyncio.to_thread(_follows, master, served.key("sheets")))
                    assert client.role()[0] == b"master"
                    assert await served.holds_all(replica)
                    assert await served.next_is_saturday()


def _follows(server: RealRedis, sheets: str) -> bool:
    """Whether the sentinels made it a replica that knows what was written without it."""
    with server.client() as client:
        return client.role()[0] == b"slave" and bool(client.hexists(sheets, f"{SATURDAY}.1"))


def _knows_all(sentinel: Sentinel) -> bool:
    with sentinel.client() as client:
        found: Any = client.sentinel_master("rates")
        return bool(found["num-slaves"] == 1 and found["num-other-sentinels"] == 2)


async def test_C13_a_cluster(stage: OverRedis) -> None:
    """A cluster of three: all keys share a slot, replicas share sheets and leases, and lost keys are rewritten."""
    nodes = cluster_nodes(stage.folder)
    with running(*nodes):
        url = await asyncio.to_thread(joined, nodes)
        async with stage.seeded(url) as served, stage.seeded(url) as other:
            await stage.publishes_saturday(served)
            for one in (served, other):
                await eventually(one.next_is_saturday)
            home = next(node for node in nodes if _has_keys(node))
            with home.client() as client:
                client.flushall()
            await stage.fault.recovers(lambda: served.holds_all(home))


def _has_keys(node: RealRedis) -> bool:
    with node.client() as client:
        return bool(client.dbsize())


BAD_WAYS: dict[str, tuple[str, object]] = {
    "resets": ("reset_after", 700),
    "damage": ("damage_every", 97),
    "blackhole": ("blackhole", True),
}


@pytest.mark.parametrize("how", BAD_WAYS)
async def test_C14_a_bad_way_to_redis(how: str, stage: OverRedis) -> None:
    """The connection is silent, cut or damaged: answers stay right, and nobody waits."""
    own = stage.own
    async with ChaosProxy(own.port) as proxy, stage.seeded(proxy.url) as served, under_load(served) as load:
        setattr(proxy, *BAD_WAYS[how])
        asked = proxy.asked
        async with asyncio.timeout(limit_s(10)):
            for _ in range(4):
                await served.service.tick()
            assert (await served.service.refresh()).outcome in {"unchanged", "skipped"}
        await eventually(lambda: proxy.asked > asked + 5)
        await load.ends()
        proxy.well()
        proxy.cut()
        await stage.is_used_again(served)
        await stage.fault.recovers(lambda: served.holds_all(own))


@pytest.mark.timed
async def test_C16_no_connection_left(stage: OverRedis) -> None:
    """A thousand calls at once wait a moment at most for a connection; requests do not notice."""
    async with stage.seeded() as served:
        store = served.service.store
        with stage.own.client() as client:
            client.client_pause(250)  # ms, so that nobody who has a connection gives it back in time
            begun = time.monotonic()
            async with Lag() as lag:
                found = await asyncio.gather(*(store.glance() for _ in range(1000)), return_exceptions=True)
                took_s = time.monotonic() - begun
            refused = [str(one) for one in found if isinstance(one, StoreUnavailable)]
            assert len(refused) == sum(isinstance(one, Exception) for one in found)
            assert any("No connection available" in text for text in refused)
            stage.fault.measured(f"{len(refused)} were refused, the last within {took_s:.3f} s")
            # To begin a thousand, and to tell a thousand, are turns of the loop.
            assert took_s < QUEUE_S + ANSWER_TIMEOUT_S + 2 * lag.longest_s + limit_s(0.05)
            await eventually(lambda: served.redis_is("pass"))
