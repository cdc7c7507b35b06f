"""Table C: what Redis can do to us. Memory serves all the while, and gives back what Redis lost."""

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
from contextlib import AsyncExitStack, asynccontextmanager, suppress
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
from chaos_proxy import ChaosProxy, Failure, proxying
from conftest import LONG, PATIENCE_S, Clock, Serve, Served, eventually, in_faults
from fake_bank import Bank, around_today, sheet, workdays
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
from ratesvc.storage.redis import ANSWER_TIMEOUT_S, QUEUE_S, Call, RedisConnection
from ratesvc.storage.store import Store

pytestmark = [
    pytest.mark.slow,
    # Connections that are cut in the middle, by redis-py or the proxy, are left to the garbage collector now and then.
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


@pytest.fixture
def own(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RealRedis]:
    server = RealRedis(tmp_path / "redis", getattr(request, "param", "any"))
    with running(server):
        yield server


def _key(namespace: str, name: str) -> str:
    return f"{{{namespace}}}:v1:{name}"


def _stored(server: RealRedis, namespace: str) -> set[bytes]:
    """The fields of sheets and columns in a Redis that holds coverage and events too, all of it whole; else none."""
    with server.client() as client:
        try:
            if (client.memory_usage(_key(namespace, "sheets"), samples=0) or 0) > MOST_OF_OURS:
                return set()  # to read it all again and again would be a fault of its own
            sheets: dict[Any, Any] = client.hgetall(_key(namespace, "sheets"))
            columns: dict[Any, Any] = client.hgetall(_key(namespace, "columns"))
            events: Any = client.xlen(_key(namespace, "events"))
            coverage = unseal("span", client.get(_key(namespace, "span")))
        except redis.RedisError:
            return set()
    is_whole = all(unseal(name.decode(), value) for name, value in (sheets | columns).items())
    return sheets.keys() | columns.keys() if is_whole and coverage and events else set()


@dataclass
class Seeded(Served):
    """A service that holds some history, and what its Redis holds of it."""

    namespace: str
    bank: Bank

    @property
    def now(self) -> Callable[[], datetime]:
        return self.service.clock

    def key(self, name: str) -> str:
        return _key(self.namespace, name)

    async def holds_all(self, server: RealRedis) -> bool:
        """Whether that Redis holds everything that memory does, whole."""
        wanted = {f"{held.effective_date}.{held.number}".encode() for held in self.service.history}
        wanted |= {column.currency.cbr_id.encode() for column in self.service.history.columns()}
        return wanted <= await asyncio.to_thread(_stored, server, self.namespace)

    async def publishes_saturday(self, bank: Bank, clock: Clock) -> None:
        """The Bank sets the next sheet, and this replica asks."""
        bank.publish(sheet(SATURDAY))
        clock.moment = EVENING
        await self.service.refresh()

    async def next_is_saturday(self) -> bool:
        status, _, body = await self.get("/v1/rates/next")
        return status == 200 and json.loads(body)["effective_date"] == str(SATURDAY)

    async def redis_is(self, status: str) -> bool:
        return bool((await self.service.health())["redis:connectivity"]["status"] == status)


@asynccontextmanager
async def seeded(serve: Serve, settings: Settings, bank: Bank, url: str) -> AsyncIterator[Seeded]:
    """A service over the Redis at that address, once it has and holds everything."""
    if not bank.truth:
        bank.publish(*map(sheet, DAYS))
    cbr = Cbr(mirrors=(bank.url,), backfill_gap_seconds=0)
    namespace = settings.redis.namespace
    settings = msgspec.structs.replace(settings, redis=Redis(url=url, namespace=namespace), cbr=cbr)
    async with serve(settings) as served:
        await eventually(lambda: served.service.history.coverage and served.service.backfilling is None)
        await eventually(lambda: served.service.event_log.log.end.seq)
        yield Seeded(served.service, served.url, served.http, namespace, bank)


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
        return self.wanted <= await asyncio.to_thread(_stored, server, self.namespace)

    async def reaches_redis(self) -> bool:
        """Whether its last question was answered."""
        return b"\nratesvc_redis_up 1.0\n" in (await self.program.get("/metrics"))[2]

    async def lost_redis(self) -> bool:
        return not await self.reaches_redis()


@asynccontextmanager
async def apart(folder: Path, bank: Bank, server: RealRedis, url: str = "") -> AsyncIterator[Apart]:
    """The same as a process, which polls once, at the start; it reaches that Redis at `url`."""
    if not bank.truth:
        around_today(bank, back=len(DAYS))
    namespace = "apart"
    shared = shared_by(bank, url or server.url, RATESVC_REDIS_NAMESPACE=namespace, RATESVC_POLL_SECONDS="3600")
    async with serving_by(GUARDED, folder, **shared) as program:
        await program.ready()
        past = f"/v1/rates/{sorted(bank.truth)[1]}"

        async def has_everything() -> bool:
            return (await program.get(past))[0] == 200 and bool(await asyncio.to_thread(_stored, server, namespace))

        await eventually(has_everything)
        yield Apart(program, bank, namespace, _stored(server, namespace))


@pytest.mark.timed
async def test_C1_kill_9_and_an_empty_restart(own: RealRedis, bank: Bank, tmp_path: Path, fault: Fault) -> None:
    """Memory serves; sheets, columns, coverage and events are given back to a Redis that comes back empty."""
    async with apart(tmp_path, bank, own) as served, under_load(served) as load:
        await asyncio.to_thread(own.kill)
        await eventually(served.lost_redis)
        asked = len(bank.asked)
        await load.ends()
        await asyncio.to_thread(own.start)
        await fault.recovers(lambda: served.holds_all(own), within_s=5)
        assert len(bank.asked) == asked


@pytest.mark.timed
async def test_C2_stopped_and_continued(own: RealRedis, bank: Bank, tmp_path: Path, fault: Fault) -> None:
    """Redis stands still: no request waits half a second, and it is used again within two once it goes on."""
    async with apart(tmp_path, bank, own) as served, Lag() as lag, under_load(served) as load:
        own.signal(signal.SIGSTOP)
        begun = time.monotonic()
        await eventually(served.lost_redis)
        await eventually(lambda: time.monotonic() - begun >= STOPPED_S, patience_s=STOPPED_S + PATIENCE_S)
        await load.ends()
        assert max(load.during) < 0.5 * patience() + lag.longest_s
        own.signal(signal.SIGCONT)
        await fault.recovers(served.reaches_redis, within_s=2)


@pytest.mark.timed
async def test_C2_every_kind_of_address(own: RealRedis, serve: Serve, settings: Settings, bank: Bank) -> None:
    """Redis stands still: whatever is asked is answered as before, without asking Redis, within half a second."""
    async with seeded(serve, settings, bank, own.url) as served:
        before = {path: (await served.get(path))[0] for path in KINDS}
        own.signal(signal.SIGSTOP)
        for path in KINDS:
            begun = time.monotonic()
            status = (await served.get(path))[0]
            assert time.monotonic() - begun < 0.5 * patience(), path
            assert status == before[path] == (404 if path == "/v1/rates/next" else 200), path
        own.signal(signal.SIGCONT)


@pytest.mark.timed
async def test_C2_no_tick_waits(own: RealRedis, serve: Serve, settings: Settings, bank: Bank, fault: Fault) -> None:
    """No tick waits longer than half a second for a Redis that stands still, and health says so at once."""
    async with seeded(serve, settings, bank, own.url) as served:
        own.signal(signal.SIGSTOP)
        waited = []
        for _ in range(6):
            before = time.monotonic()
            await served.service.republish()
            waited.append(time.monotonic() - before)
            assert not served.service.store.up
        assert max(waited) < 0.55 * patience(), waited
        before = time.monotonic()
        assert await served.redis_is("warn")
        assert time.monotonic() - before < 0.4 * patience()
        own.signal(signal.SIGCONT)
        await fault.recovers(lambda: served.redis_is("pass"), within_s=2)


@pytest.mark.timed
async def test_C3_absent_at_the_start(
    serve: Serve, settings: Settings, bank: Bank, tmp_path: Path, fault: Fault
) -> None:
    """Without Redis a replica is ready as soon as the Bank has answered, and fills Redis when it appears."""
    bank.publish(*map(sheet, DAYS))
    own = RealRedis(tmp_path / "redis")
    begun = time.monotonic()
    redis_settings = Redis(url=own.url, namespace=settings.redis.namespace)
    async with serve(msgspec.structs.replace(settings, redis=redis_settings)) as served:
        await served.ready()
        assert time.monotonic() - begun < 5 * patience()
        with running(own), own.client() as client:
            sheets = _key(settings.redis.namespace, "sheets")
            await fault.recovers(lambda: client.hexists(sheets, f"{FRIDAY}.1"))


async def test_C4_absent_at_the_start_like_the_bank(bank: Bank, tmp_path: Path, fault: Fault) -> None:
    """It lives, is not ready, and every address of rates says when to come back."""
    around_today(bank)
    bank.misbehave = _refuse
    own = RealRedis(tmp_path / "redis")
    async with serving(tmp_path, **shared_by(bank, own.url, RATESVC_POLL_SECONDS="0.5")) as program:
        await eventually(lambda: len(bank.asked) > 6)
        assert (await program.get("/livez"))[0] == 200
        assert (await program.get("/readyz"))[::2] == (503, b"no_sheet\n")
        for path in ("/v1/rates", "/v1/rates/next", f"/v1/rates/{max(bank.truth)}", "/v1/convert?from=USD&to=RUB"):
            status, headers, body = await program.get(path)
            assert (path, status, headers["Content-Type"]) == (path, 503, "application/problem+json")
            assert (int(headers["Retry-After"]) > 0, json.loads(body)["status"]) == (True, 503)
        assert (await program.get("/health"))[0] == 503
        bank.misbehave = None
        await fault.recovers(lambda: answers_with(program.url, "/readyz", 200))
        with running(own), own.client() as client:
            await fault.recovers(lambda: client.keys("*:v1:sheets"))
        # It is the process that was started, neither ended nor started again by itself.
        assert program.process.returncode is None


async def _refuse(_: web.Request) -> web.StreamResponse:
    return web.Response(status=503)


@pytest.mark.faults
async def test_C5_loading(own: RealRedis, serve: Serve, settings: Settings, bank: Bank, fault: Fault) -> None:
    """A Redis that reads its file says LOADING: that is as if it were not there, and then it is."""
    with own.client() as client:
        # It looks at its clients after each kilobyte of the file: once a key, so that a probe comes through in time.
        client.mset({f"filler:{number}": os.urandom(1024) for number in range(LOADING_KEYS)})
        client.save()
        client.flushall()
    async with seeded(serve, settings, bank, own.url) as served, under_load(served) as load:
        await asyncio.to_thread(own.kill)
        own.start(wait=False, save="900 1", key_load_delay=1000, loading_process_events_interval_bytes=1024)
        await eventually(lambda: asyncio.to_thread(_is_loading, own))
        await eventually(lambda: served.redis_is("warn"))
        loading_s = max(PATIENCE_S, LOADING_KEYS / 1000)
        await eventually(lambda: b'kind="loading"' in served.service.telemetry.metrics.text(), patience_s=loading_s)
        await load.ends()
        await asyncio.to_thread(own.wait, 60)
        await fault.recovers(lambda: served.redis_is("pass"), within_s=2)
        await fault.recovers(lambda: served.holds_all(own))


def _is_loading(server: RealRedis) -> bool:
    with server.client(retry=None) as client:
        try:
            client.ping()
        except redis.BusyLoadingError:
            return True
        except redis.RedisError:
            pass
    return False


async def test_C6_out_of_memory(
    own: RealRedis, serve: Serve, settings: Settings, bank: Bank, clock: Clock, fault: Fault
) -> None:
    """What Redis does not take is served from memory, counted and warned of, and stored when there is room."""
    async with seeded(serve, settings, bank, own.url) as served, under_load(served) as load:
        client = own.client()
        client.config_set("maxmemory", 1)
        await served.publishes_saturday(bank, clock)
        assert await served.next_is_saturday()
        assert b'ratesvc_redis_errors_total{kind="memory"}' in (await served.get("/metrics"))[2]
        assert await served.redis_is("warn")
        await load.ends()
        client.config_set("maxmemory", 0)
        await fault.recovers(lambda: client.hexists(served.key("sheets"), f"{SATURDAY}.1"))
        await fault.recovers(lambda: served.redis_is("pass"))
        client.close()


async def test_C7_eviction(own: RealRedis, serve: Serve, settings: Settings, bank: Bank, fault: Fault) -> None:
    """A cache that throws our keys out gets them again at the next tick."""
    async with seeded(serve, settings, bank, own.url) as served, under_load(served) as load:
        await asyncio.to_thread(_evict, own, served.key("sheets"))
        await load.lasts()
        with own.client() as client:
            client.config_set("maxmemory", 0)
        await fault.recovers(lambda: served.holds_all(own))


def _evict(server: RealRedis, key: str) -> None:
    """Leave room for little, and use it for other things until that key has gone."""
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
    ("own", "command"), [("redis", "FLUSHALL"), *in_faults(("valkey", "FLUSHDB"))], indirect=["own"]
)
async def test_C8_flushed(own: RealRedis, command: str, bank: Bank, tmp_path: Path, fault: Fault) -> None:
    """Somebody empties Redis under load: answers stay, and everything is given back."""
    async with apart(tmp_path, bank, own) as served, under_load(served):
        asked = len(bank.asked)
        with own.client() as client:
            client.execute_command(command)
        await fault.recovers(lambda: served.holds_all(own))
        assert len(bank.asked) == asked
    # A second replica that starts from what was given back needs nothing but the newest sheet.
    bank.asked.clear()
    async with apart(tmp_path, bank, own) as other:
        assert await look(other.program.get, Invariant(truth_of(bank), utc_now)) <= {200, 404}
        assert bank.series_asked == []
        assert len(bank.queries) <= 1


def _rotate_acl(client: redis.Redis) -> None:
    client.acl_setuser("clerk", enabled=True, passwords=["+other", f"-{CANARY}"])


def _rotate_back(client: redis.Redis) -> None:
    client.acl_setuser("clerk", enabled=True, passwords=[f"+{CANARY}"])


def _require(client: redis.Redis) -> None:
    client.config_set("requirepass", CANARY)


def _require_none(client: redis.Redis) -> None:
    client.config_set("requirepass", "")


@pytest.mark.parametrize(
    ("user", "change", "mend"),
    [(f"clerk:{CANARY}@", _rotate_acl, _rotate_back), *in_faults(("", _require, _require_none))],
    ids=["WRONGPASS", "NOAUTH"],
)
async def test_C9_a_password_that_was_changed(
    user: str,
    change: Callable[[redis.Redis], None],
    mend: Callable[[redis.Redis], None],
    own: RealRedis,
    serve: Serve,
    settings: Settings,
    bank: Bank,
    fault: Fault,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """It warns, it says the password nowhere, and goes on once the old one holds again."""
    with own.client() as client:
        client.acl_setuser(
            "clerk", enabled=True, passwords=[f"+{CANARY}"], keys=["*"], channels=["*"], categories=["+@all"]
        )
        url = f"redis://{user}127.0.0.1:{own.port}/0"
        async with seeded(serve, settings, bank, url) as served, under_load(served) as load:
            change(client)
            client.client_kill_filter(_type="normal", skipme=True)
            client.client_kill_filter(_type="pubsub", skipme=True)
            await eventually(lambda: served.redis_is("warn"))
            await eventually(lambda: b'kind="auth"' in served.service.telemetry.metrics.text())
            shown = [(await served.get(path))[2].decode() for path in ("/health", "/metrics", "/v1/rates", "/v1/none")]
            await load.ends()
            mend(client)
            await fault.recovers(lambda: served.redis_is("pass"))
    written = "".join(capfd.readouterr())
    assert "store_unavailable" in written
    assert CANARY not in written + "".join(shown)


async def test_C10_read_only(
    own: RealRedis, serve: Serve, settings: Settings, bank: Bank, clock: Clock, fault: Fault
) -> None:
    """A master that was demoted takes nothing: memory serves, and it is stored once there is a master again."""
    async with seeded(serve, settings, bank, own.url) as served, under_load(served) as load:
        client = own.client()
        client.replicaof("127.0.0.1", "1")
        await served.publishes_saturday(bank, clock)
        assert await served.next_is_saturday()
        assert await served.redis_is("warn")
        await load.ends()
        client.replicaof("NO", "ONE")
        await fault.recovers(lambda: client.hexists(served.key("sheets"), f"{SATURDAY}.1"))
        client.close()


@pytest.mark.faults
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
async def test_C11_sentinel_failover(
    number: int, tmp_path: Path, serve: Serve, settings: Settings, bank: Bank, clock: Clock, fault: Fault
) -> None:
    """The master dies, or only seems to: writes go on with the new one within seconds, and nothing goes backwards."""
    master, replica = RealRedis(tmp_path / "master", appendonly="yes"), RealRedis(tmp_path / "replica")
    replica.options |= {"replicaof": f"127.0.0.1 {master.port}"}
    for server in (master, replica):
        server.options |= {"repl-diskless-sync-delay": 0, "repl-timeout": 3}
    with running(master, replica):
        sentinels = [Sentinel(tmp_path / f"sentinel-{n}", master.port, CANARY) for n in range(3)]
        with running(*sentinels), replica.client() as client:
            await eventually(lambda: all(_knows_all(one) for one in sentinels))
            nodes = ",".join(f"127.0.0.1:{one.port}" for one in sentinels)
            url = f"redis+sentinel://{nodes}/rates/0?sentinel_password={CANARY}"
            async with seeded(serve, settings, bank, url) as served:
                await eventually(lambda: served.holds_all(replica))
                async with under_load(served):
                    master.signal(number)
                    # This fault ends by itself: what is measured is how long nothing could be written.
                    is_written = partial(client.hexists, served.key("sheets"), f"{SATURDAY}.1")
                    writing = asyncio.create_task(fault.recovers(is_written))
                    await served.publishes_saturday(bank, clock)
                    assert await served.next_is_saturday()
                    await writing
                    await _comes_back(master, number)
                    assert await served.next_is_saturday()
                    await fault.recovers(lambda: served.redis_is("pass"))
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


async def test_C12_an_old_master_comes_back(
    own: RealRedis, tmp_path: Path, serve: Serve, settings: Settings, bank: Bank, clock: Clock, fault: Fault
) -> None:
    """Redis is suddenly one that knows less: what is newer stays, is served, and is given to it."""
    old = RealRedis(tmp_path / "old", own.kind)
    with running(old):
        async with (
            proxying(own.port) as proxy,
            seeded(serve, settings, bank, proxy.url) as served,
            under_load(served),
        ):
            _copy(own, old)
            await served.publishes_saturday(bank, clock)
            await eventually(served.next_is_saturday)
            proxy.upstream = old.port
            proxy.cut()
            await fault.recovers(lambda: served.holds_all(old))
            assert await served.next_is_saturday()


def _copy(one: RealRedis, other: RealRedis) -> None:
    with one.client() as source, other.client() as target:
        target.flushall()
        for key in source.scan_iter():
            target.restore(key, 0, source.dump(key), replace=True)


async def test_C13_a_cluster(
    tmp_path: Path, serve: Serve, settings: Settings, bank: Bank, clock: Clock, fault: Fault
) -> None:
    """Three nodes: all keys share a slot, announcements and leases work, and what is lost is given back."""
    nodes = cluster_nodes(tmp_path)
    with running(*nodes):
        url = await asyncio.to_thread(joined, nodes)
        async with seeded(serve, settings, bank, url) as served, seeded(serve, settings, bank, url) as other:
            await served.publishes_saturday(bank, clock)
            for one in (served, other):
                await eventually(one.next_is_saturday)
            home = next(node for node in nodes if _has_keys(node))
            with home.client() as client:
                client.flushall()
            await fault.recovers(lambda: served.holds_all(home))


def _has_keys(node: RealRedis) -> bool:
    with node.client() as client:
        return bool(client.dbsize())


def _reset_soon(proxy: ChaosProxy) -> None:
    proxy.reset_after = 700


def _damage(proxy: ChaosProxy) -> None:
    proxy.damage_every = 97


def _blackhole(proxy: ChaosProxy) -> None:
    proxy.blackhole = True


def _delay(proxy: ChaosProxy) -> None:
    proxy.delay_s = 0.5  # longer than an answer is waited for


@pytest.mark.faults  # what a tick does over such a way is in make test
@pytest.mark.parametrize("script", [_damage, _blackhole, _delay, _reset_soon])
async def test_C14_a_bad_way_to_redis(
    script: Callable[[ChaosProxy], None], own: RealRedis, bank: Bank, tmp_path: Path, fault: Fault
) -> None:
    """Silence, slowness, resets and flipped bits: answers stay right, and nobody waits; then all is well again."""
    async with (
        proxying(own.port) as proxy,
        apart(tmp_path, bank, own, proxy.url) as served,
        under_load(served) as load,
    ):
        script(proxy)
        asked = proxy.asked
        await eventually(lambda: proxy.asked > asked + 5)
        await load.ends()
        proxy.well()
        proxy.cut()
        await fault.recovers(served.reaches_redis, within_s=2)
        await fault.recovers(lambda: served.holds_all(own))


@pytest.mark.timed
@pytest.mark.parametrize("script", [_blackhole, _delay, _reset_soon, _damage])
async def test_C14_no_tick_waits(
    script: Callable[[ChaosProxy], None],
    own: RealRedis,
    serve: Serve,
    settings: Settings,
    bank: Bank,
    fault: Fault,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Over such a way a tick and a refresh end soon, and nobody learns the password by it."""
    with own.client() as client:
        client.config_set("requirepass", CANARY)
    async with proxying(own.port) as proxy:
        url = f"redis://:{CANARY}@127.0.0.1:{proxy.port}/0"
        async with seeded(serve, settings, bank, url) as served:
            script(proxy)
            for _ in range(4):
                before = time.monotonic()
                await served.service.republish()
                if script is not _delay:
                    assert time.monotonic() - before < 1.2 * patience()
            async with asyncio.timeout(5 * patience()):
                assert (await served.service.refresh()).outcome in {"unchanged", "skipped"}
            await look(served.get, Invariant(truth_of(bank), served.now))
            proxy.well()
            proxy.cut()
            await fault.recovers(lambda: served.redis_is("pass"), within_s=2)
    assert CANARY not in "".join(capfd.readouterr())


async def test_C14_what_does_not_verify_is_a_miss(
    own: RealRedis, tmp_path: Path, serve: Serve, settings: Settings, bank: Bank, fault: Fault
) -> None:
    """Starts over a way that flips bits, without the Bank: what a replica says is right, and what it lacks it says."""
    async with seeded(serve, settings, bank, own.url) as served:
        whole = served.service.settings
    bank.misbehave = _refuse
    seen: Counter[str] = Counter()
    copy = RealRedis(tmp_path / "copy", own.kind)
    with running(copy):
        async with proxying(copy.port) as proxy:
            damaged = msgspec.structs.replace(whole, redis=msgspec.structs.replace(whole.redis, url=proxy.url))
            for proxy.damage_every in (31_981, 15_991, 7993, 3989, 1999, 997, 499, 211):
                # What does not verify is dropped in the end, so each begins with the whole again.
                _copy(own, copy)
                async with serve(damaged) as cold:
                    seen.update(map(str, await look(cold.get, Invariant(truth_of(bank), cold.service.clock))))
                    days = len(cold.service.history.days)
                    seen["all" if days == len(DAYS) else "some" if days else "none"] += 1
            assert proxy.damaged
            proxy.well()
            _copy(own, copy)
            async with serve(damaged) as cold:
                await fault.recovers(lambda: len(cold.service.history.days) == len(DAYS), within_s=2)
    print(f"\n  {dict(seen)}")  # noqa: T201 -- the figures are the point
    assert seen["200"]
    assert seen["503"]


GARBAGE: dict[str, bytes] = {
    "text": b"hello",
    "old schema": b"ratesvc0" + bytes(64),
    "truncated JSON": b'{"rates":{"USD":',
    "ten megabytes": b"x" * 10_000_000,
}


@pytest.mark.parametrize("what", ["text", *in_faults("wrong type", "old schema", "truncated JSON", "ten megabytes")])
async def test_C15_garbage_under_our_keys(
    what: str, own: RealRedis, serve: Serve, settings: Settings, bank: Bank, fault: Fault
) -> None:
    """A foreign value is never served, not by a replica that starts with it either, and is repaired."""
    async with seeded(serve, settings, bank, own.url) as served, under_load(served):
        right = (await served.get("/v1/rates"))[2]
        await asyncio.to_thread(_put_garbage, own, served.key, what)
        mending = asyncio.create_task(fault.recovers(lambda: served.holds_all(own)))
        async with serve(served.service.settings) as cold:
            await cold.ready()
            assert await look(cold.get, Invariant(truth_of(bank), served.now)) <= {200, 404, 503}
            await eventually(lambda: _answers(cold, right))
            await mending
        assert (await served.get("/v1/rates"))[2] == right


def _put_garbage(server: RealRedis, key: Callable[[str], str], what: str) -> None:
    with server.client() as client:
        if what == "wrong type":
            for name in ("sheets", "columns", "span", "events"):
                client.delete(key(name))
            for name in ("sheets", "columns", "events"):
                client.set(key(name), "a string")
            client.rpush(key("span"), "a", "list")
        else:
            client.hset(key("sheets"), f"{FRIDAY}.1", GARBAGE[what])
            client.hset(key("sheets"), "not a day", GARBAGE[what])
            client.hset(key("sheets"), "2026-02-10.1", GARBAGE[what])
            client.hset(key("columns"), "R01235", GARBAGE[what])
            client.set(key("span"), GARBAGE[what])


async def _answers(served: Served, right: bytes) -> bool:
    return bool(json.loads((await served.get("/v1/rates"))[2])["rates"] == json.loads(right)["rates"])


async def test_C15_garbage_in_the_place_of_a_lease(
    own: RealRedis, serve: Serve, settings: Settings, bank: Bank
) -> None:
    """A value under our key that never runs out would stop the polls for ever: it is removed."""
    async with seeded(serve, settings, bank, own.url) as served:
        key = served.key("lease:poll")
        with own.client() as client:
            for write in (client.set, client.rpush):
                await served.service.store.poll_lease.release()
                write(key, "foreign")
                outcomes = [(await served.service.refresh()).outcome for _ in range(2)]
                assert outcomes == ["skipped", "unchanged"]


@pytest.mark.timed
@pytest.mark.faults
async def test_C16_no_connection_left(
    own: RealRedis, serve: Serve, settings: Settings, bank: Bank, fault: Fault
) -> None:
    """A thousand questions at once wait for a connection a moment at most; requests do not notice."""
    refused: list[float] = []
    reasons: set[str] = set()

    async def ask(store: Store) -> None:
        begun = time.monotonic()
        try:
            await store.ping()
        except StoreUnavailable as error:
            refused.append(time.monotonic() - begun)
            reasons.add(str(error))

    async with seeded(serve, settings, bank, own.url) as served:
        with own.client() as client:
            client.client_pause(250)  # ms, so that nobody who has a connection gives it back in time
            async with Lag() as lag:
                await asyncio.gather(*(ask(served.service.store) for _ in range(1000)))
            assert any("No connection available" in reason for reason in reasons)
            print(f"\n  {len(refused)} were refused, the last after {max(refused):.3f} s")  # noqa: T201 -- the figure is the point
            # Some have a connection that is never opened, the others wait for one; that some of the first have told
            # it decides what the rest hear. To begin a thousand, and to tell a thousand, are turns of the loop.
            assert max(refused) < max(QUEUE_S, ANSWER_TIMEOUT_S) + 2 * lag.longest_s + 0.05 * patience()
            await eventually(lambda: served.redis_is("pass"))
            async with under_load(served) as load:
                client.config_set("maxclients", 1)
                client.client_kill_filter(_type="normal", skipme=True)
                client.client_kill_filter(_type="pubsub", skipme=True)
                await eventually(lambda: served.redis_is("warn"))
                await load.ends()
                client.config_set("maxclients", 1000)
                await fault.recovers(lambda: served.redis_is("pass"), within_s=2)


@asynccontextmanager
async def closing(store: Store) -> AsyncIterator[Store]:
    try:
        yield store
    finally:
        await store.close()


async def is_up(store: Store) -> bool:
    """Whether it answers again."""
    with suppress(StoreUnavailable):
        await store.ping()
        return True
    return False


@pytest.mark.faults
async def test_C17_a_thousand_cancelled_commands(own: RealRedis) -> None:
    """A command that was cancelled leaves no answer behind for the next one."""
    ids = [f"R{number:05d}" for number in range(10)]
    chance = random.Random(17)  # noqa: S311 -- a seed, so that a failure can be seen again
    cancelled = unanswered = 0
    async with proxying(own.port) as proxy, closing(Store(RedisConnection(proxy.url), uuid.uuid4().hex)) as store:
        for cbr_id in ids:
            currency = Currency(cbr_id, cbr_id, "USD", "840", cbr_id)
            await store.put_column(Column(currency, datetime(2026, 4, 23, tzinfo=UTC)), Coverage(DAYS[0], FRIDAY))
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
    with own.client() as client:
        statistics: Any = client.info("commandstats")
    answered = 2000 - cancelled - unanswered
    reached_redis = statistics["cmdstat_hget"]["calls"] - answered
    print(f"\n  {cancelled} were cancelled, {reached_redis} of them while Redis answered")  # noqa: T201 -- the figures
    # What was given up as too late may have reached Redis, too.
    assert cancelled + unanswered >= reached_redis >= 300
    assert unanswered < 50 * patience()


@pytest.mark.faults
async def test_C18_two_leaders(own: RealRedis, bank: Bank, tmp_path: Path, fault: Fault) -> None:
    """A lease that ran out while its holder was stopped: both ask and write, and it is one revision."""
    around_today(bank, back=10)
    today = max(bank.truth)
    (newest,) = bank.truth.pop(today)
    del bank.documents[today]
    for records in bank.series.values():
        del records[today]
    shared = shared_by(bank, own.url, RATESVC_POLL_SECONDS="2")
    names = ("one", "two")
    async with AsyncExitStack() as stack:
        programs = {
            name: await stack.enter_async_context(serving(tmp_path, RATESVC_CBR_USER_AGENT=name, **shared))
            for name in names
        }
        for program in programs.values():
            await program.ready()
        asked: list[str] = []
        answers = asyncio.Event()

        async def hold_the_first(request: web.Request) -> web.StreamResponse:
            if not request.path.endswith("XML_daily.asp"):
                return web.Response(status=503)  # a backfill is not what is looked at here
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
        with own.client() as client:
            namespace = shared["RATESVC_REDIS_NAMESPACE"]
            assert client.pexpire(_key(namespace, "lease:poll"), 1)  # its minute is over
            await eventually(lambda: _shows(other, today))
            assert asked == [first, second]
            answers.set()
            leader.kill(signal.SIGCONT)
            await fault.recovers(lambda: _shows(leader, today))

            async def outcomes(program: Program) -> set[str]:
                return set(await _refreshes(program) - before[program])

            assert "new" in await outcomes(other)
            # It may have heard of the other's before its own was answered.
            await eventually(lambda: outcomes(leader))
            assert await outcomes(leader) <= {"new", "unchanged", "skipped"}
            assert await outcomes(leader) & {"new", "unchanged"}
            fields: Any = client.hkeys(_key(namespace, "sheets"))
        assert [field for field in fields if field.startswith(str(today).encode())] == [f"{today}.1".encode()]


async def _shows(program: Program, day: date) -> bool:
    """Whether that day's sheet, in its only wording, is what it answers."""
    status, _, body = await program.get(f"/v1/rates/{day}")
    return status == 200 and json.loads(body)["effective_date"] == str(day) and json.loads(body)["revision"] == 1


async def _refreshes(program: Program) -> Counter[str]:
    """How many of its refreshes had which outcome."""
    text = (await program.get("/metrics"))[2].decode()
    found = re.findall(r'ratesvc_fetches_total{outcome="([a-z]+)"} ([0-9]+)', text)
    return Counter({outcome: int(count) for outcome, count in found})


@pytest.mark.parametrize("how", [how for how in get_args(Failure) if how != "silent"] + in_faults("silent"))
async def test_C19_every_call_of_a_refresh_fails_once(
    how: Failure,
    own: RealRedis,
    serve: Serve,
    settings: Settings,
    bank: Bank,
    clock: Clock,
    fault: Fault,
) -> None:
    """Whichever command of a refresh fails: answers stay right, the sheet is served, and soon it is stored."""
    day, calendar = FRIDAY, WorkCalendar()
    async with proxying(own.port) as proxy, seeded(serve, settings, bank, proxy.url) as served:
        # Nothing happens by itself any more, so that a number is the same call each time.
        await served.service.retire()
        reader = Invariant(truth_of(bank), clock)

        async def is_mended(day: date) -> bool:
            await served.service.poll()
            is_served = served.service.store.up and served.service.history.of_date(day)
            return bool(is_served) and await served.holds_all(own)

        for number in itertools.count(1):
            day = calendar.effective_date_after(day)
            bank.publish(sheet(day))
            clock.moment = datetime(day.year, day.month, day.day, 6, tzinfo=UTC)
            await served.service.store.release_leases()
            proxy.fails(number, how)
            await served.service.poll()
            assert await look(served.get, reader) <= {200, 404}
            has_failed = proxy.asked >= number
            proxy.well()
            await fault.recovers(partial(is_mended, day), within_s=1)
            assert await look(served.get, reader) <= {200, 404}
            if not has_failed:
                break
        print(f"\n  {number - 1} calls")  # noqa: T201 -- the figure is the point
        assert number > 15


async def test_every_call_is_observed(own: RealRedis) -> None:
    """An observer gets the operation, its duration and its error."""
    calls: list[Call] = []
    store = Store(RedisConnection(own.url, calls.append), "x")
    await store.ping()
    own.kill()
    with pytest.raises(StoreUnavailable, match="Redis"):
        await store.ping()
    await store.close()
    assert [call.trouble and call.trouble.kind for call in calls] == [None, "connection"]
    assert all(call.operation == "ping" and call.seconds < 1 for call in calls)
