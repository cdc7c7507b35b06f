"""Table C: faults of Redis. Memory serves all the while, and rewrites what Redis lost."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import re
import signal
import sys
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any, get_args

import guarded
import msgspec
import pytest
import redis
from aiohttp import web
from chaos_proxy import Failure, proxying
from conftest import LONG, PATIENCE_S, Clock, Serve, Served, eventually, in_faults
from fake_bank import Bank, around_today, sheet, unavailable, workdays
from fleet import answers_with, shared_by
from invariant import Invariant
from lag import Lag
from ledger import Fault
from load import look, under_load
from machine import patience
from processes import Program, serving, serving_by
from redis_servers import RealRedis, Sentinel, cluster_nodes, joined, running
from sheets import truth_of

from ratesvc.config import Cbr, Redis, Settings
from ratesvc.domain.columns import Column, Coverage, Currency
from ratesvc.domain.workdays import WorkCalendar, utc_now
from ratesvc.errors import StoreUnavailable
from ratesvc.storage.records import unseal
from ratesvc.storage.redis import ANSWER_TIMEOUT_S, QUEUE_S, RedisConnection
from ratesvc.storage.store import Store

pytestmark = [
    pytest.mark.slow,
    # Connections that redis-py or the proxy cuts in the middle are sometimes left to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.usefixtures("torn", "nothing_remembered"),
]

DAYS = list(workdays(date(2026, 3, 10), 34))
FRIDAY, SATURDAY = DAYS[-1], date(2026, 4, 25)
EVENING = datetime(2026, 4, 24, 14, 0, tzinfo=UTC)
MOST_OF_OURS = 2_000_000
CANARY = "canary-7f3a91"
STOPPED_S = 60.0 if LONG else 0.0
LOADING_KEYS = 30_000 if LONG else 8_000  # a millisecond each
GUARDED = (sys.executable, str(Path(guarded.__file__)))
KINDS = (
    *("/v1/rates", "/v1/rates/next", "/v1/rates/2026-03-15?quote=EUR", "/v1/rates/2026-04-01/USD.txt"),
    *("/v1/series?codes=USD,EUR&since=2026-03-10", "/v1/series?codes=USD&since=2026-03-10&group=month&format=csv"),
    *("/v1/convert?amount=5&from=USD&to=CNY", "/v1/currencies?lang=ru", "/chart.svg?codes=USD&since=2026-03-10"),
    *("/scripts/XML_daily.asp", "/cbr-xml-daily/daily_json.js", "/prebid/currency.json", "/ecb/eurofxref-hist.csv"),
    *("/rate?date=2026-04-12&currency=USD", "/widget?lang=ru", "/widget/rows.json", "/", "/metrics", "/readyz"),
)
"""One address of each kind."""


def key_of(namespace: str, name: str) -> str:
    return f"{{{namespace}}}:v1:{name}"


def stored(server: RealRedis, namespace: str) -> set[bytes]:
    """The fields of sheets and columns in a Redis that holds coverage and events too, all of them whole; else none."""
    with server.client() as client:
        try:
            if (client.memory_usage(key_of(namespace, "sheets"), samples=0) or 0) > MOST_OF_OURS:
                return set()  # to read it all again and again would be a fault of its own
            sheets: dict[Any, Any] = client.hgetall(key_of(namespace, "sheets"))
            columns: dict[Any, Any] = client.hgetall(key_of(namespace, "columns"))
            events: Any = client.xlen(key_of(namespace, "events"))
            coverage = unseal("span", client.get(key_of(namespace, "span")))
        except redis.RedisError:
            return set()
    is_whole = all(unseal(name.decode(), value) for name, value in (sheets | columns).items())
    return sheets.keys() | columns.keys() if is_whole and coverage and events else set()


@dataclass
class Seeded(Served):
    """A service that holds some history."""

    namespace: str
    bank: Bank

    @property
    def now(self) -> Callable[[], datetime]:
        return self.service.clock

    def key(self, name: str) -> str:
        return key_of(self.namespace, name)

    async def holds_all(self, server: RealRedis) -> bool:
        """Whether that Redis holds everything that memory does, whole."""
        wanted = {f"{held.effective_date}.{held.number}".encode() for held in self.service.history}
        wanted |= {column.currency.cbr_id.encode() for column in self.service.history.columns()}
        return wanted <= await asyncio.to_thread(stored, server, self.namespace)

    async def next_is_saturday(self) -> bool:
        status, _, body = await self.get("/v1/rates/next")
        return status == 200 and json.loads(body)["effective_date"] == str(SATURDAY)

    async def redis_is(self, status: str) -> bool:
        return bool(self.service.health()["redis:connectivity"]["status"] == status)

    def counts(self, kind: str) -> bool:
        """Whether the metrics count an error of Redis of that kind."""
        return f'kind="{kind}"'.encode() in self.service.telemetry.metrics.text()


@dataclass
class Apart:
    """A replica in a process of its own, by the real clock, and what its Redis held once it held everything."""

    program: Program
    bank: Bank
    namespace: str
    wanted: set[bytes]

    @property
    def url(self) -> str:
        return self.program.url

    @property
    def now(self) -> Callable[[], datetime]:
        return utc_now

    async def holds_all(self, server: RealRedis) -> bool:
        """Whether that Redis holds again what it held, whole."""
        return self.wanted <= await asyncio.to_thread(stored, server, self.namespace)

    async def reaches_redis(self) -> bool:
        """Whether Redis answers and takes writes."""
        return b"\nratesvc_redis_up 1.0\n" in (await self.program.get("/metrics"))[2]

    async def lost_redis(self) -> bool:
        return not await self.reaches_redis()


@dataclass
class Stage:
    """A Redis of its own, the Bank and a clock, and the ways to start services over them."""

    own: RealRedis
    bank: Bank
    clock: Clock
    fault: Fault
    folder: Path
    settings: Settings
    serve: Serve

    @asynccontextmanager
    async def seeded(self, url: str = "") -> AsyncIterator[Seeded]:
        """A service over the Redis at that address, once both hold everything."""
        if not self.bank.truth:
            self.bank.publish(*map(sheet, DAYS))
        namespace = self.settings.redis.namespace
        settings = msgspec.structs.replace(
            self.settings,
            redis=Redis(url=url or self.own.url, namespace=namespace),
            cbr=Cbr(mirrors=(self.bank.url,), backfill_gap_seconds=0),
        )
        async with self.serve(settings) as served:
            await served.filled()
            await eventually(lambda: served.service.event_log.log.end.seq)
            yield Seeded(served.service, served.url, served.http, namespace, self.bank)

    @asynccontextmanager
    async def apart(self, url: str = "") -> AsyncIterator[Apart]:
        """The same in a process of its own, which polls once, at the start."""
        if not self.bank.truth:
            around_today(self.bank, back=len(DAYS))
        namespace, own = "apart", self.own
        shared = shared_by(self.bank, url or own.url, RATESVC_REDIS_NAMESPACE=namespace, RATESVC_POLL_SECONDS="3600")
        async with serving_by(GUARDED, self.folder, **shared) as program:
            await program.ready()
            past = f"/v1/rates/{sorted(self.bank.truth)[1]}"

            async def has_everything() -> bool:
                return (await program.get(past))[0] == 200 and bool(await asyncio.to_thread(stored, own, namespace))

            await eventually(has_everything)
            yield Apart(program, self.bank, namespace, stored(own, namespace))

    async def publishes_saturday(self, served: Seeded) -> None:
        """The Bank sets the next sheet, and this replica polls."""
        self.bank.publish(sheet(SATURDAY))
        self.clock.moment = EVENING
        await served.service.refresh()

    async def is_used_again(self, served: Seeded) -> None:
        await self.fault.recovers(lambda: served.redis_is("pass"), within_s=2)


@pytest.fixture
def stage(
    request: pytest.FixtureRequest,
    bank: Bank,
    clock: Clock,
    fault: Fault,
    tmp_path: Path,
    settings: Settings,
    serve: Serve,
) -> Iterator[Stage]:
    """A parameter is the kind of its Redis."""
    own = RealRedis(tmp_path / "redis", getattr(request, "param", "any"))
    with running(own):
        yield Stage(own, bank, clock, fault, tmp_path, settings, serve)


@pytest.mark.timed
async def test_C1_kill_9_and_an_empty_restart(stage: Stage) -> None:
    """Redis is killed and comes back empty: memory rewrites sheets, columns, coverage and events."""
    async with stage.apart() as served, under_load(served) as load:
        await asyncio.to_thread(stage.own.kill)
        await eventually(served.lost_redis)
        asked = len(stage.bank.asked)
        await load.ends()
        await asyncio.to_thread(stage.own.start)
        await stage.fault.recovers(lambda: served.holds_all(stage.own))
        assert len(stage.bank.asked) == asked


@pytest.mark.timed
async def test_C2_stopped_and_continued(stage: Stage) -> None:
    """Redis hangs: no request waits half a second, and the service uses Redis within 2 s once it goes on."""
    async with stage.apart() as served, Lag() as lag, under_load(served) as load:
        stage.own.signal(signal.SIGSTOP)
        begun = time.monotonic()
        await eventually(served.lost_redis)
        await eventually(lambda: time.monotonic() - begun >= STOPPED_S, patience_s=STOPPED_S + PATIENCE_S)
        await load.ends()
        assert max(load.during) < 0.5 * patience() + lag.longest_s
        stage.own.signal(signal.SIGCONT)
        await stage.fault.recovers(served.reaches_redis, within_s=2)


@pytest.mark.timed
async def test_C2_every_kind_of_address(stage: Stage) -> None:
    """Redis hangs: every kind of address answers as before, without a question to Redis, within half a second."""
    async with stage.seeded() as served:
        before = {path: (await served.get(path))[0] for path in KINDS}
        stage.own.signal(signal.SIGSTOP)
        for path in KINDS:
            begun = time.monotonic()
            status = (await served.get(path))[0]
            assert time.monotonic() - begun < 0.5 * patience(), path
            assert status == before[path] == (404 if path == "/v1/rates/next" else 200), path
        stage.own.signal(signal.SIGCONT)


@pytest.mark.timed
async def test_C2_no_tick_waits(stage: Stage) -> None:
    """Redis hangs: no tick waits longer than half a second, and /health says so at once."""
    async with stage.seeded() as served:
        stage.own.signal(signal.SIGSTOP)
        waited = []
        for _ in range(6):
            before = time.monotonic()
            await served.service.tick()
            waited.append(time.monotonic() - before)
            assert not served.service.store.connection.up
        assert max(waited) < 0.55 * patience(), waited
        before = time.monotonic()
        assert await served.redis_is("warn")
        assert time.monotonic() - before < 0.4 * patience()
        stage.own.signal(signal.SIGCONT)
        await stage.is_used_again(served)


@pytest.mark.timed
async def test_C3_absent_at_the_start(stage: Stage) -> None:
    """Without Redis a replica is ready as soon as the Bank has answered, and fills Redis when it appears."""
    stage.bank.publish(*map(sheet, DAYS))
    stage.own.kill()
    begun = time.monotonic()
    redis_settings = Redis(url=stage.own.url, namespace="absent")
    async with stage.serve(msgspec.structs.replace(stage.settings, redis=redis_settings)) as served:
        await served.ready()
        assert time.monotonic() - begun < 5 * patience()
        stage.own.start()
        with stage.own.client() as client:
            await stage.fault.recovers(lambda: client.hexists(key_of("absent", "sheets"), f"{FRIDAY}.1"))


async def test_C4_absent_at_the_start_like_the_bank(stage: Stage) -> None:
    """Redis and the Bank are absent: the service lives, is not ready, and every address of rates says when to retry."""
    bank = stage.bank
    around_today(bank)
    bank.misbehave = unavailable
    stage.own.kill()
    async with serving(stage.folder, **shared_by(bank, stage.own.url, RATESVC_POLL_SECONDS="0.5")) as program:
        await eventually(lambda: len(bank.asked) > 6)
        assert (await program.get("/livez"))[0] == 200
        assert (await program.get("/readyz"))[::2] == (503, b"no_sheet\n")
        for path in ("/v1/rates", "/v1/rates/next", f"/v1/rates/{max(bank.truth)}", "/v1/convert?from=USD&to=RUB"):
            status, headers, body = await program.get(path)
            assert (path, status, headers["Content-Type"]) == (path, 503, "application/problem+json")
            assert (int(headers["Retry-After"]) > 0, json.loads(body)["status"]) == (True, 503)
        assert (await program.get("/health"))[0] == 503
        bank.misbehave = None
        await stage.fault.recovers(lambda: answers_with(program.url, "/readyz", 200))
        stage.own.start()
        with stage.own.client() as client:
            await stage.fault.recovers(lambda: client.keys("*:v1:sheets"))
        # It is the process that was started, neither ended nor started again.
        assert program.process.returncode is None


@pytest.mark.faults
async def test_C5_loading(stage: Stage) -> None:
    """Redis reads its file and says LOADING: the service does without it, and then uses it again."""
    own = stage.own
    with own.client() as client:
        # Redis looks at its clients after each kilobyte of the file: once a key, so that a probe comes through in time.
        client.mset({f"filler:{number}": os.urandom(1024) for number in range(LOADING_KEYS)})
        client.save()
        client.flushall()
    async with stage.seeded() as served, under_load(served) as load:
        await asyncio.to_thread(own.kill)
        own.start(wait=False, save="900 1", key_load_delay=1000, loading_process_events_interval_bytes=1024)
        await eventually(lambda: asyncio.to_thread(_is_loading, own))
        await eventually(lambda: served.redis_is("warn"))
        await eventually(lambda: served.counts("loading"), patience_s=max(PATIENCE_S, LOADING_KEYS / 1000))
        await load.ends()
        await asyncio.to_thread(own.wait, 60)
        await stage.is_used_again(served)
        await stage.fault.recovers(lambda: served.holds_all(own))


def _is_loading(server: RealRedis) -> bool:
    with server.client(retry=None) as client, suppress(redis.RedisError):
        try:
            client.ping()
        except redis.BusyLoadingError:
            return True
    return False


async def test_C6_out_of_memory(stage: Stage) -> None:
    """Redis is out of memory: the new sheet is served, the error counted, and the sheet stored when there is room."""
    async with stage.seeded() as served, under_load(served) as load:
        with closing(stage.own.client()) as client:
            client.config_set("maxmemory", 1)
            await stage.publishes_saturday(served)
            assert await served.next_is_saturday()
            assert b'ratesvc_redis_errors_total{kind="memory"}' in (await served.get("/metrics"))[2]
            assert await served.redis_is("warn")
            assert b"\nratesvc_redis_up 0.0\n" in (await served.get("/metrics"))[2]  # for the alert
            await load.ends()
            client.config_set("maxmemory", 0)
            await stage.fault.recovers(lambda: client.hexists(served.key("sheets"), f"{SATURDAY}.1"))
            await stage.fault.recovers(lambda: served.redis_is("pass"))


async def test_C7_eviction(stage: Stage) -> None:
    """Redis evicts our keys: the next tick writes them again."""
    async with stage.seeded() as served, under_load(served) as load:
        await asyncio.to_thread(_evict, stage.own, served.key("sheets"))
        await load.lasts()
        with stage.own.client() as client:
            client.config_set("maxmemory", 0)
        await stage.fault.recovers(lambda: served.holds_all(stage.own))


def _evict(server: RealRedis, key: str) -> None:
    """Leave little room, and fill it until that key has gone."""
    with server.client() as client:
        memory: Any = client.info("memory")
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.config_set("maxmemory", memory["used_memory"] + 300_000)
        for number in range(20_000):
            client.set(f"filler:{number}", "x" * 10_000)
            if not client.exists(key):
                return
    raise AssertionError(f"{key} is still there")


@pytest.mark.parametrize(
    ("stage", "command"), [("redis", "FLUSHALL"), *in_faults(("valkey", "FLUSHDB"))], indirect=["stage"]
)
async def test_C8_flushed(stage: Stage, command: str) -> None:
    """Somebody empties Redis under load: answers stay, and memory rewrites everything."""
    bank = stage.bank
    async with stage.apart() as served, under_load(served):
        asked = len(bank.asked)
        with stage.own.client() as client:
            client.execute_command(command)
        await stage.fault.recovers(lambda: served.holds_all(stage.own))
        assert len(bank.asked) == asked
    # A second replica that starts from what was rewritten needs nothing but the newest sheet.
    bank.asked.clear()
    async with stage.apart() as other:
        assert await look(other.program.get, Invariant(truth_of(bank), utc_now)) <= {200, 404}
        assert bank.series_asked == []
        assert len(bank.queries) <= 1


Change = Callable[[redis.Redis], object]
PASSWORDS: dict[str, tuple[str, Change, Change]] = {
    "WRONGPASS": (
        f"clerk:{CANARY}@",
        lambda client: client.acl_setuser("clerk", enabled=True, passwords=["+other", f"-{CANARY}"]),
        lambda client: client.acl_setuser("clerk", enabled=True, passwords=[f"+{CANARY}"]),
    ),
    "NOAUTH": (
        "",
        lambda client: client.config_set("requirepass", CANARY),
        lambda client: client.config_set("requirepass", ""),
    ),
}


@pytest.mark.parametrize("how", ["WRONGPASS", *in_faults("NOAUTH")])
async def test_C9_a_password_that_was_changed(how: str, stage: Stage, capfd: pytest.CaptureFixture[str]) -> None:
    """The password is changed: the service warns, shows it nowhere, and goes on once the old one is valid again."""
    user, change, mend = PASSWORDS[how]
    everything: dict[str, Any] = {"keys": ["*"], "channels": ["*"], "categories": ["+@all"]}
    with stage.own.client() as client:
        client.acl_setuser("clerk", enabled=True, passwords=[f"+{CANARY}"], **everything)
        url = f"redis://{user}127.0.0.1:{stage.own.port}/0"
        async with stage.seeded(url) as served, under_load(served) as load:
            change(client)
            _hang_up_on_all(client)
            await eventually(lambda: served.redis_is("warn"))
            await eventually(lambda: served.counts("auth"))
            shown = [(await served.get(path))[2].decode() for path in ("/health", "/metrics", "/v1/rates", "/v1/none")]
            await load.ends()
            mend(client)
            await stage.fault.recovers(lambda: served.redis_is("pass"))
    written = "".join(capfd.readouterr())
    assert "store_unavailable" in written
    assert CANARY not in written + "".join(shown)


def _hang_up_on_all(client: redis.Redis) -> None:
    for kind in ("normal", "pubsub"):
        client.client_kill_filter(_type=kind, skipme=True)


async def test_C10_read_only(stage: Stage) -> None:
    """The master is demoted and takes no writes: memory serves, and stores once there is a master again."""
    async with stage.seeded() as served, under_load(served) as load:
        with closing(stage.own.client()) as client:
            client.replicaof("127.0.0.1", "1")
            await stage.publishes_saturday(served)
            assert await served.next_is_saturday()
            assert await served.redis_is("warn")
            await load.ends()
            client.replicaof("NO", "ONE")
            await stage.fault.recovers(lambda: client.hexists(served.key("sheets"), f"{SATURDAY}.1"))


@pytest.mark.faults
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
async def test_C11_sentinel_failover(number: int, stage: Stage) -> None:
    """The master dies or hangs: writes go on with the new one within seconds, and nothing goes backwards."""
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
                    master.signal(number)
                    # This fault ends by itself: the figure is how long nothing could be written.
                    is_written = partial(client.hexists, served.key("sheets"), f"{SATURDAY}.1")
                    writing = asyncio.create_task(stage.fault.recovers(is_written))
                    await stage.publishes_saturday(served)
                    assert await served.next_is_saturday()
                    await writing
                    await _comes_back(master, number)
                    assert await served.next_is_saturday()
                    await stage.fault.recovers(lambda: served.redis_is("pass"))
                    await eventually(lambda: asyncio.to_thread(_follows, master, served.key("sheets")))
                    assert client.role()[0] == b"master"
                    assert await served.holds_all(replica)
                    assert await served.next_is_saturday()


async def _comes_back(old: RealRedis, ended_by: int) -> None:
    """The old master goes on, or starts from its file, and takes itself for the master with what it knew."""
    if ended_by == signal.SIGSTOP:
        old.signal(signal.SIGCONT)
        return
    await asyncio.to_thread(old.kill)
    await asyncio.to_thread(old.start)
    with old.client() as client:
        assert client.dbsize()


def _follows(server: RealRedis, sheets: str) -> bool:
    """Whether the sentinels made it a replica that knows what was written without it."""
    with server.client() as client:
        return client.role()[0] == b"slave" and bool(client.hexists(sheets, f"{SATURDAY}.1"))


def _knows_all(sentinel: Sentinel) -> bool:
    with sentinel.client() as client:
        found: Any = client.sentinel_master("rates")
        return bool(found["num-slaves"] == 1 and found["num-other-sentinels"] == 2)


async def test_C12_an_old_master_comes_back(stage: Stage) -> None:
    """Redis is suddenly one that knows less: the service serves what is newer, and writes it there."""
    old = RealRedis(stage.folder / "old", stage.own.kind)
    with running(old):
        async with proxying(stage.own.port) as proxy, stage.seeded(proxy.url) as served, under_load(served):
            _copy(stage.own, old)
            await stage.publishes_saturday(served)
            await eventually(served.next_is_saturday)
            proxy.upstream = old.port
            proxy.cut()
            await stage.fault.recovers(lambda: served.holds_all(old))
            assert await served.next_is_saturday()


def _copy(one: RealRedis, other: RealRedis) -> None:
    with one.client() as source, other.client() as target:
        target.flushall()
        for key in source.scan_iter():
            target.restore(key, 0, source.dump(key), replace=True)


async def test_C13_a_cluster(stage: Stage) -> None:
    """A cluster of three: all keys share a slot, announcements and leases work, and lost keys are rewritten."""
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
    "delay": ("delay_s", 0.5),
}


@pytest.mark.faults  # make test has what a tick does over such a connection
@pytest.mark.parametrize("how", BAD_WAYS)
async def test_C14_a_bad_way_to_redis(how: str, stage: Stage) -> None:
    """The connection is silent, slow, cut or damaged: answers stay right and nobody waits; then all is well again."""
    async with proxying(stage.own.port) as proxy, stage.apart(proxy.url) as served, under_load(served) as load:
        setattr(proxy, *BAD_WAYS[how])
        asked = proxy.asked
        await eventually(lambda: proxy.asked > asked + 5)
        await load.ends()
        proxy.well()
        proxy.cut()
        await stage.fault.recovers(served.reaches_redis, within_s=2)
        await stage.fault.recovers(lambda: served.holds_all(stage.own))


@pytest.mark.timed
@pytest.mark.parametrize("how", BAD_WAYS)
async def test_C14_no_tick_waits(how: str, stage: Stage, capfd: pytest.CaptureFixture[str]) -> None:
    """Over such a connection a tick and a refresh end soon, and nobody learns the password."""
    with stage.own.client() as client:
        client.config_set("requirepass", CANARY)
    async with (
        proxying(stage.own.port) as proxy,
        stage.seeded(f"redis://:{CANARY}@127.0.0.1:{proxy.port}/0") as served,
    ):
        setattr(proxy, *BAD_WAYS[how])
        for _ in range(4):
            before = time.monotonic()
            await served.service.tick()
            if how != "delay":
                assert time.monotonic() - before < 1.2 * patience()
        async with asyncio.timeout(5 * patience()):
            assert (await served.service.refresh()).outcome in {"unchanged", "skipped"}
        await look(served.get, Invariant(truth_of(stage.bank), served.now))
        proxy.well()
        proxy.cut()
        await stage.is_used_again(served)
    assert CANARY not in "".join(capfd.readouterr())


async def test_C14_what_does_not_verify_is_a_miss(stage: Stage) -> None:
    """A service starts over a connection that flips bits, without the Bank: it serves right figures or says 503."""
    async with stage.seeded() as served:
        whole = served.service.settings
    stage.bank.misbehave = unavailable
    truth = truth_of(stage.bank)
    seen: Counter[str] = Counter()
    copy = RealRedis(stage.folder / "copy", stage.own.kind)
    with running(copy):
        async with proxying(copy.port) as proxy:
            damaged = msgspec.structs.replace(whole, redis=msgspec.structs.replace(whole.redis, url=proxy.url))
            for proxy.damage_every in (31_981, 15_991, 7993, 3989, 1999, 997, 499, 211):
                # What does not verify is dropped in the end, so each begins with the whole again.
                _copy(stage.own, copy)
                async with stage.serve(damaged) as cold:
                    seen.update(map(str, await look(cold.get, Invariant(truth, cold.service.clock))))
                    days = len(cold.service.history.days)
                    seen["all" if days == len(DAYS) else "some" if days else "none"] += 1
            assert proxy.damaged
            proxy.well()
            _copy(stage.own, copy)
            async with stage.serve(damaged) as cold:
                await stage.fault.recovers(lambda: len(cold.service.history.days) == len(DAYS), within_s=2)
    stage.fault.measured(str(dict(seen)))
    assert seen["200"]
    assert seen["503"]


GARBAGE: dict[str, bytes] = {
    "text": b"hello",
    "old schema": b"ratesvc0" + bytes(64),
    "truncated JSON": b'{"rates":{"USD":',
    "ten megabytes": b"x" * 10_000_000,
}


@pytest.mark.parametrize("what", ["text", *in_faults("wrong type", "old schema", "truncated JSON", "ten megabytes")])
async def test_C15_garbage_under_our_keys(what: str, stage: Stage) -> None:
    """A foreign value is never served, also by a replica that starts with it, and is repaired."""
    async with stage.seeded() as served, under_load(served):
        right = (await served.get("/v1/rates"))[2]
        await asyncio.to_thread(_put_garbage, stage.own, served.key, what)
        mending = asyncio.create_task(stage.fault.recovers(lambda: served.holds_all(stage.own)))
        async with stage.serve(served.service.settings) as cold:
            await cold.ready()
            assert await look(cold.get, Invariant(truth_of(stage.bank), served.now)) <= {200, 404, 503}
            await eventually(lambda: _answers(cold, right))
            await mending
        assert (await served.get("/v1/rates"))[2] == right


def _put_garbage(server: RealRedis, key: Callable[[str], str], what: str) -> None:
    with server.client() as client:
        if what == "wrong type":
            client.delete(*(key(name) for name in ("sheets", "columns", "span", "events")))
            for name in ("sheets", "columns", "events"):
                client.set(key(name), "a string")
            client.rpush(key("span"), "a", "list")
        else:
            for field in (f"{FRIDAY}.1", "not a day", "2026-02-10.1"):
                client.hset(key("sheets"), field, GARBAGE[what])
            client.hset(key("columns"), "R01235", GARBAGE[what])
            client.set(key("span"), GARBAGE[what])


async def _answers(served: Served, right: bytes) -> bool:
    return bool(json.loads((await served.get("/v1/rates"))[2])["rates"] == json.loads(right)["rates"])


async def test_C15_garbage_in_the_place_of_a_lease(stage: Stage) -> None:
    """A value without expiry in place of a lease would stop the polls for ever: the service removes it."""
    async with stage.seeded() as served:
        key = served.key("lease:poll")
        with stage.own.client() as client:
            for write in (client.set, client.rpush):
                await served.service.store.poll_lease.release()
                write(key, "foreign")
                outcomes = [(await served.service.refresh()).outcome for _ in range(2)]
                assert outcomes == ["skipped", "unchanged"]


@pytest.mark.timed
@pytest.mark.faults
async def test_C16_no_connection_left(stage: Stage) -> None:
    """A thousand calls at once wait a moment at most for a connection; requests do not notice."""
    refused: list[float] = []
    reasons: set[str] = set()

    async def ask(store: Store) -> None:
        begun = time.monotonic()
        try:
            await store.glance()
        except StoreUnavailable as error:
            refused.append(time.monotonic() - begun)
            reasons.add(str(error))

    async with stage.seeded() as served:
        with stage.own.client() as client:
            client.client_pause(250)  # ms, so that nobody who has a connection gives it back in time
            async with Lag() as lag:
                await asyncio.gather(*(ask(served.service.store) for _ in range(1000)))
            assert any("No connection available" in reason for reason in reasons)
            stage.fault.measured(f"{len(refused)} were refused, the last after {max(refused):.3f} s")
            # Some have a connection that is never opened, the others wait for one; that some of the first have told
            # it decides what the rest hear. To begin a thousand, and to tell a thousand, are turns of the loop.
            assert max(refused) < max(QUEUE_S, ANSWER_TIMEOUT_S) + 2 * lag.longest_s + 0.05 * patience()
            await eventually(lambda: served.redis_is("pass"))
            async with under_load(served) as load:
                client.config_set("maxclients", 1)
                _hang_up_on_all(client)
                await eventually(lambda: served.redis_is("warn"))
                await load.ends()
                client.config_set("maxclients", 1000)
                await stage.is_used_again(served)


async def is_up(store: Store) -> bool:
    with suppress(StoreUnavailable):
        await store.glance()
        return True
    return False


@pytest.mark.faults
async def test_C17_a_thousand_cancelled_commands(stage: Stage) -> None:
    """A command that was cancelled leaves no answer behind for the next one."""
    ids = [f"R{number:05d}" for number in range(10)]
    chance = random.Random(17)  # noqa: S311 -- a seed, so that a failure can be seen again
    cancelled = unanswered = 0
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(proxying(stage.own.port))
        store = Store(RedisConnection(proxy.url), uuid.uuid4().hex)
        stack.push_async_callback(store.close)
        for cbr_id in ids:
            currency = Currency(cbr_id, cbr_id, "USD", "840", cbr_id)
            await store.put_columns([Column(currency, datetime(2026, 4, 23, tzinfo=UTC))], Coverage(DAYS[0], FRIDAY))
        proxy.delay_s = 0.002
        for number in range(1000):
            task = asyncio.create_task(store.column(ids[number % 10]))
            await asyncio.sleep(chance.random() * 0.005)
            task.cancel()
            await asyncio.wait({task})
            cancelled += task.cancelled()
            if not task.cancelled() and task.exception():
                unanswered += 1
                await eventually(lambda: is_up(store))
            other = ids[(number + chance.randrange(1, 10)) % 10]
            try:
                found = await store.column(other)
            except StoreUnavailable:  # on a crowded machine a connection may take too long, which is no wrong answer
                unanswered += 1
                await eventually(lambda: is_up(store))
                continue
            assert found
            assert found[0].currency.cbr_id == other
    with stage.own.client() as client:
        statistics: Any = client.info("commandstats")
    answered = 2000 - cancelled - unanswered
    reached_redis = statistics["cmdstat_hget"]["calls"] - answered
    stage.fault.measured(f"{cancelled} were cancelled, {reached_redis} of them while Redis answered")
    # What was given up as too late may have reached Redis, too.
    assert cancelled + unanswered >= reached_redis >= 300
    assert unanswered < 50 * patience()


@pytest.mark.faults
async def test_C18_two_leaders(stage: Stage) -> None:
    """A lease expires while its holder is stopped: both replicas ask and write, and it is one revision."""
    bank = stage.bank
    around_today(bank, back=10)
    today = max(bank.truth)
    (newest,) = bank.truth.pop(today)
    del bank.documents[today]
    for records in bank.series.values():
        del records[today]
    shared = shared_by(bank, stage.own.url, RATESVC_POLL_SECONDS="2")
    names = ("one", "two")
    async with AsyncExitStack() as stack:
        programs = {
            name: await stack.enter_async_context(serving(stage.folder, RATESVC_CBR_USER_AGENT=name, **shared))
            for name in names
        }
        for program in programs.values():
            await program.ready()
        asked: list[str] = []
        answers = asyncio.Event()

        async def hold_the_first(request: web.Request) -> web.StreamResponse:
            if not request.path.endswith("XML_daily.asp"):
                return web.Response(status=503)  # this test is not about a backfill
            asked.append(request.headers["User-Agent"])
            if len(asked) == 1:
                await answers.wait()
            return web.Response(body=bank.documents[today], content_type="text/xml")

        bank.misbehave = hold_the_first
        bank.publish(newest)
        await eventually(lambda: asked)
        first, second = asked[0], next(name for name in names if name != asked[0])
        leader, other = programs[first], programs[second]
        before = {program: await _refreshes(program) for program in (leader, other)}
        leader.kill(signal.SIGSTOP)
        with stage.own.client() as client:
            namespace = shared["RATESVC_REDIS_NAMESPACE"]
            assert client.pexpire(key_of(namespace, "lease:poll"), 1)  # its minute is over
            await eventually(lambda: _shows(other, today))
            assert asked[:2] == [first, second]
            answers.set()
            leader.kill(signal.SIGCONT)
            await stage.fault.recovers(lambda: _shows(leader, today))

            async def outcomes(program: Program) -> set[str]:
                return set(await _refreshes(program) - before[program])

            async def counts_a_new_one() -> bool:
                return "new" in await outcomes(other)

            # A sheet is served a moment before its refresh is counted.
            await eventually(counts_a_new_one)
            # It may have heard of the other's before its own was answered.
            await eventually(lambda: outcomes(leader))
            assert await outcomes(leader) <= {"new", "unchanged", "skipped"}
            assert await outcomes(leader) & {"new", "unchanged"}
            fields: Any = client.hkeys(key_of(namespace, "sheets"))
        assert [field for field in fields if field.startswith(str(today).encode())] == [f"{today}.1".encode()]


async def _shows(program: Program, day: date) -> bool:
    """Whether it answers that day's sheet in its only revision."""
    status, _, body = await program.get(f"/v1/rates/{day}")
    return status == 200 and json.loads(body)["effective_date"] == str(day) and json.loads(body)["revision"] == 1


async def _refreshes(program: Program) -> Counter[str]:
    """How many of its refreshes had which outcome."""
    text = (await program.get("/metrics"))[2].decode()
    found = re.findall(r'ratesvc_fetches_total{outcome="([a-z]+)"} ([0-9]+)', text)
    return Counter({outcome: int(count) for outcome, count in found})


@pytest.mark.parametrize("how", [how for how in get_args(Failure) if how != "silent"] + in_faults("silent"))
async def test_C19_every_call_of_a_refresh_fails_once(how: Failure, stage: Stage) -> None:
    """One call of a refresh fails, each in turn: answers stay right, the sheet is served, and soon it is stored."""
    bank, day, calendar = stage.bank, FRIDAY, WorkCalendar()
    async with proxying(stage.own.port) as proxy, stage.seeded(proxy.url) as served:
        # Nothing happens by itself any more, so that a number is the same call each time.
        await served.service.retire()
        reader = Invariant(truth_of(bank), stage.clock)

        async def is_mended(day: date) -> bool:
            await served.service.poll()
            is_served = served.service.store.connection.up and served.service.history.of_date(day)
            return bool(is_served) and await served.holds_all(stage.own)

        for number in itertools.count(1):
            day = calendar.effective_date_after(day)
            bank.publish(sheet(day))
            stage.clock.moment = datetime(day.year, day.month, day.day, 6, tzinfo=UTC)
            await served.service.store.release_leases()
            proxy.fails(number, how)
            await served.service.poll()
            assert await look(served.get, reader) <= {200, 404}
            has_failed = proxy.asked >= number
            proxy.well()
            await stage.fault.recovers(partial(is_mended, day), within_s=1)
            assert await look(served.get, reader) <= {200, 404}
            if not has_failed:
                break
        stage.fault.measured(f"{number - 1} calls")
        assert number > 15
