"""Table C: what Redis can do to us. Memory serves all the while, and gives back what Redis lost."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis
from bank import Bank, sheet, workdays
from chaos_proxy import ChaosProxy, proxying
from conftest import LONG, Clock, Serve, Served, eventually
from ledger import Fault
from load import under_load
from redis_servers import RealRedis, Sentinel, running

from ratesvc.columns import Column, Currency, Span
from ratesvc.config import Cbr, Redis, Settings
from ratesvc.errors import StoreUnavailable
from ratesvc.records import unseal
from ratesvc.redis_link import Asked, Link
from ratesvc.store import Store

pytestmark = [
    pytest.mark.slow,
    # Connections that are cut in the middle, by redis-py or the proxy, are left to the garbage collector now and then.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

DAYS = list(workdays(date(2026, 3, 10), 34))
FRIDAY, SATURDAY = DAYS[-1], date(2026, 4, 25)
EVENING = datetime(2026, 4, 24, 14, 0, tzinfo=UTC)
CANARY = "canary-7f3a91"
STOPPED_S = 60.0 if LONG else 0.0
LOADING_KEYS = 30_000 if LONG else 8_000  # a millisecond each


@pytest.fixture
def own(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RealRedis]:
    server = RealRedis(tmp_path / "redis", getattr(request, "param", "redis-server"))
    with running(server):
        yield server


every_kind = pytest.mark.parametrize("own", ["redis-server", "valkey-server"], indirect=True)


@dataclass
class Seeded(Served):
    """A service that holds some history, and what its Redis holds of it."""

    namespace: str

    def key(self, name: str) -> str:
        return f"{{{self.namespace}}}:v1:{name}"

    def holds_all(self, server: RealRedis) -> bool:
        """Whether that Redis holds everything that memory does, whole."""
        with server.client() as client:
            try:
                return self._holds_all(client)
            except redis.RedisError:
                return False

    def _holds_all(self, client: redis.Redis) -> bool:
        sheets: dict[Any, Any] = client.hgetall(self.key("sheets"))
        columns: dict[Any, Any] = client.hgetall(self.key("columns"))
        whole = {name for name, value in (sheets | columns).items() if unseal(name.decode(), value)}
        wanted = {f"{held.effective_date}.{held.number}".encode() for held in self.service.history}
        wanted |= {column.currency.cbr_id.encode() for column in self.service.history.columns()}
        events: Any = client.xlen(self.key("events"))
        span = unseal("span", client.get(self.key("span")))
        return wanted <= whole == sheets.keys() | columns.keys() and span is not None and int(events) > 0

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
    bank.publish(*map(sheet, DAYS))
    cbr = Cbr(mirrors=(bank.url,), backfill_gap_seconds=0)
    namespace = settings.redis.namespace
    settings = msgspec.structs.replace(settings, redis=Redis(url=url, namespace=namespace), cbr=cbr)
    async with serve(settings) as served:
        await eventually(lambda: served.service.history.span and served.service.backfilling is None)
        await eventually(lambda: served.service.feed.log.end.seq)
        yield Seeded(served.service, served.url, served.http, namespace)


@every_kind
async def test_C1_kill_9_and_an_empty_restart(
    own: RealRedis, serve: Serve, settings: Settings, bank: Bank, fault: Fault
) -> None:
    """Memory serves; sheets, columns, span and events are given back to a Redis that comes back empty."""
    async with seeded(serve, settings, bank, own.url) as served, under_load(served):
        own.kill()
        await eventually(lambda: not served.service.store.up)
        asked = len(bank.asked)
        own.start()
        await fault.recovers(lambda: served.holds_all(own), within_s=10)
        assert len(bank.asked) == asked


async def test_C2_stopped_and_continued(
    own: RealRedis, serve: Serve, settings: Settings, bank: Bank, fault: Fault
) -> None:
    """The breaker opens within a second; no request and no tick waits longer than half a second for it."""
    async with seeded(serve, settings, bank, own.url) as served, under_load(served):
        own.signal(signal.SIGSTOP)
        begun = time.monotonic()
        waited = []
        for _ in range(6):
            before = time.monotonic()
            await served.service.republish()
            waited.append(time.monotonic() - before)
            if len(waited) == 1:
                assert not served.service.store.up
                assert time.monotonic() - begun < 1
        while time.monotonic() - begun < STOPPED_S:
            before = time.monotonic()
            await served.service.republish()
            waited.append(time.monotonic() - before)
            await asyncio.sleep(0.1)
        assert max(waited) < 0.55, waited
        assert sum(waited[:6]) < 1.2, waited
        before = time.monotonic()
        assert await served.redis_is("warn")
        assert time.monotonic() - before < 0.4
        own.signal(signal.SIGCONT)
        await fault.recovers(lambda: served.redis_is("pass"), within_s=2.5)


async def test_C3_absent_at_the_start(serve: Serve, settings: Settings, bank: Bank, tmp_path: Path) -> None:
    """Without Redis a replica is ready as soon as the Bank has answered, and fills Redis when it appears."""
    bank.publish(*map(sheet, DAYS))
    own = RealRedis(tmp_path / "redis")
    begun = time.monotonic()
    redis_settings = Redis(url=own.url, namespace=settings.redis.namespace)
    async with serve(msgspec.structs.replace(settings, redis=redis_settings)) as served:
        await served.ready()
        assert time.monotonic() - begun < 5
        with running(own):
            client = own.client()
            await eventually(lambda: client.hlen(f"{{{settings.redis.namespace}}}:v1:sheets"), patience_s=6)
            client.close()


async def test_C4_absent_at_the_start_like_the_bank(serve: Serve, settings: Settings) -> None:
    """It lives, is not ready, and every address of rates says when to come back."""
    nothing = msgspec.structs.replace(
        settings, redis=Redis(url="redis://127.0.0.1:1/0"), cbr=Cbr(mirrors=("http://127.0.0.1:1",))
    )
    async with serve(nothing) as served:
        assert (await served.get("/livez"))[0] == 200
        assert (await served.get("/readyz"))[::2] == (503, b"no_sheet\n")
        status, headers, body = await served.get("/v1/rates")
        assert (status, headers["Content-Type"]) == (503, "application/problem+json")
        assert (int(headers["Retry-After"]) > 0, json.loads(body)["status"]) == (True, 503)
        assert (await served.get("/health"))[0] == 503


async def test_C5_loading(own: RealRedis, serve: Serve, settings: Settings, bank: Bank, fault: Fault) -> None:
    """A Redis that reads its file says LOADING: that is as if it were not there, and then it is."""
    with own.client() as client:
        client.mset({f"filler:{number}": "x" * 100 for number in range(LOADING_KEYS)})
        client.save()
        client.flushall()
    async with seeded(serve, settings, bank, own.url) as served, under_load(served):
        own.kill()
        own.start(wait=False, save="900 1", key_load_delay=1000, loading_process_events_interval_bytes=1024)
        await eventually(lambda: asyncio.to_thread(_is_loading, own))
        await eventually(lambda: served.redis_is("warn"))
        await eventually(lambda: served.redis_is("pass"), patience_s=60)
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
    async with seeded(serve, settings, bank, own.url) as served, under_load(served):
        client = own.client()
        client.config_set("maxmemory", 1)
        await served.publishes_saturday(bank, clock)
        assert await served.next_is_saturday()
        assert b'ratesvc_redis_errors_total{kind="memory"}' in (await served.get("/metrics"))[2]
        assert await served.redis_is("warn")
        client.config_set("maxmemory", 0)
        await fault.recovers(lambda: client.hexists(served.key("sheets"), f"{SATURDAY}.1"))
        await eventually(lambda: served.redis_is("pass"))
        client.close()


async def test_C7_eviction(own: RealRedis, serve: Serve, settings: Settings, bank: Bank, fault: Fault) -> None:
    """A cache that throws our keys out gets them again at the next tick."""
    async with seeded(serve, settings, bank, own.url) as served, under_load(served):
        client = own.client()
        memory: Any = client.info("memory")
        client.config_set("maxmemory-policy", "allkeys-random")
        client.config_set("maxmemory", memory["used_memory"] + 300_000)
        number = 0
        while client.exists(served.key("sheets")) and number < 20_000:
            client.set(f"filler:{number}", "x" * 10_000)
            number += 1
        assert not client.exists(served.key("sheets"))
        client.config_set("maxmemory", 0)
        # Three seconds to the next tick; what was evicted while it was given back comes with the one after.
        await fault.recovers(lambda: served.holds_all(own), within_s=8)
        client.close()


@every_kind
@pytest.mark.parametrize("command", ["FLUSHALL", "FLUSHDB"])
async def test_C8_flushed(
    own: RealRedis, command: str, serve: Serve, settings: Settings, bank: Bank, fault: Fault
) -> None:
    """Somebody empties Redis under load: answers stay, and everything is given back."""
    async with seeded(serve, settings, bank, own.url) as served, under_load(served):
        asked = len(bank.asked)
        with own.client() as client:
            client.execute_command(command)
        await fault.recovers(lambda: served.holds_all(own))
        assert len(bank.asked) == asked
    # A second replica that starts from what was given back answers alike.
    async with seeded(serve, settings, bank, own.url) as other:
        assert len(other.service.history.days) == len(DAYS)
        assert bank.series_asked == bank.series_asked[: len(bank.series_asked)]


async def test_C9_a_password_that_was_changed(
    own: RealRedis, serve: Serve, settings: Settings, bank: Bank, fault: Fault, capfd: pytest.CaptureFixture[str]
) -> None:
    """It warns, it says the password nowhere, and goes on once the old one holds again."""
    with own.client() as client:
        client.acl_setuser(
            "clerk", enabled=True, passwords=[f"+{CANARY}"], keys=["*"], channels=["*"], categories=["+@all"]
        )
    url = f"redis://clerk:{CANARY}@127.0.0.1:{own.port}/0"
    async with seeded(serve, settings, bank, url) as served, under_load(served):
        client = own.client()
        client.acl_setuser("clerk", enabled=True, passwords=["+other", f"-{CANARY}"])
        client.client_kill_filter(user="clerk")
        await eventually(lambda: served.redis_is("warn"))
        await eventually(lambda: b'kind="auth"' in served.service.journal.metrics.text())
        shown = [(await served.get(path))[2].decode() for path in ("/health", "/metrics", "/v1/rates", "/v1/none")]
        client.acl_setuser("clerk", enabled=True, passwords=[f"+{CANARY}"])
        await fault.recovers(lambda: served.redis_is("pass"))
        client.close()
    written = "".join(capfd.readouterr())
    assert "store_unavailable" in written
    assert CANARY not in written + "".join(shown)


async def test_C10_read_only(
    own: RealRedis, serve: Serve, settings: Settings, bank: Bank, clock: Clock, fault: Fault
) -> None:
    """A master that was demoted takes nothing: memory serves, and it is stored once there is a master again."""
    async with seeded(serve, settings, bank, own.url) as served, under_load(served):
        client = own.client()
        client.replicaof("127.0.0.1", "1")
        await served.publishes_saturday(bank, clock)
        assert await served.next_is_saturday()
        assert await served.redis_is("warn")
        client.replicaof("NO", "ONE")
        await fault.recovers(lambda: client.hexists(served.key("sheets"), f"{SATURDAY}.1"))
        client.close()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
async def test_C11_sentinel_failover(
    number: int, tmp_path: Path, serve: Serve, settings: Settings, bank: Bank, clock: Clock, fault: Fault
) -> None:
    """The master dies, or only seems to: writes go on with the new one within seconds, and nothing goes backwards."""
    master, replica = RealRedis(tmp_path / "master"), RealRedis(tmp_path / "replica")
    replica.options |= {"replicaof": f"127.0.0.1 {master.port}"}
    for server in (master, replica):
        server.options |= {"repl-diskless-sync-delay": 0, "repl-timeout": 3}
    with running(master, replica):
        sentinels = [Sentinel(tmp_path / f"sentinel-{n}", master.port, CANARY) for n in range(3)]
        with running(*sentinels):
            await eventually(lambda: all(_knows_all(one) for one in sentinels))
            nodes = ",".join(f"127.0.0.1:{one.port}" for one in sentinels)
            url = f"redis+sentinel://{nodes}/rates/0?sentinel_password={CANARY}"
            async with seeded(serve, settings, bank, url) as served, under_load(served):
                with master.client() as client:
                    client.wait(1, 1000)
                master.signal(number)
                begun = time.monotonic()
                await served.publishes_saturday(bank, clock)
                assert await served.next_is_saturday()
                with replica.client() as client:
                    await eventually(lambda: client.role()[0] == b"master", patience_s=10)
                    promoted = time.monotonic()
                    field = f"{SATURDAY}.1"
                    await fault.recovers(lambda: client.hexists(served.key("sheets"), field), within_s=8)
                print(f"\n  no master {promoted - begun:.2f} s, no write {time.monotonic() - begun:.2f} s")  # noqa: T201
                if number == signal.SIGSTOP:
                    master.signal(signal.SIGCONT)
                await fault.recovers(lambda: served.redis_is("pass"))
                await asyncio.to_thread(replica.wait)
                assert await served.next_is_saturday()


def _knows_all(sentinel: Sentinel) -> bool:
    with sentinel.client() as client:
        found: Any = client.sentinel_master("rates")
        return bool(found["num-slaves"] == 1 and found["num-other-sentinels"] == 2)


@every_kind
async def test_C12_an_old_master_comes_back(
    own: RealRedis, tmp_path: Path, serve: Serve, settings: Settings, bank: Bank, clock: Clock, fault: Fault
) -> None:
    """Redis is suddenly one that knows less: what is newer stays, is served, and is given to it."""
    old = RealRedis(tmp_path / "old")
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
            await fault.recovers(lambda: served.holds_all(old), within_s=6)
            assert await served.next_is_saturday()


def _copy(one: RealRedis, other: RealRedis) -> None:
    with one.client() as source, other.client() as target:
        for key in source.scan_iter():
            target.restore(key, 0, source.dump(key), replace=True)


async def test_C13_a_cluster(
    tmp_path: Path, serve: Serve, settings: Settings, bank: Bank, clock: Clock, fault: Fault
) -> None:
    """Three nodes: all keys share a slot, announcements and leases work, and what is lost is given back."""
    nodes = [RealRedis(tmp_path / f"node-{n}", cluster_enabled="yes", cluster_node_timeout=2000) for n in range(3)]
    with running(*nodes):
        addresses = [f"127.0.0.1:{node.port}" for node in nodes]
        command = ["redis-cli", "--cluster", "create", *addresses, "--cluster-yes"]
        subprocess.run(command, check=True, capture_output=True, timeout=60)  # noqa: ASYNC221 -- nothing else runs yet
        await eventually(lambda: all(map(_is_joined, nodes)))
        url = f"redis+cluster://{','.join(addresses)}"
        async with seeded(serve, settings, bank, url) as served, seeded(serve, settings, bank, url) as other:
            await served.publishes_saturday(bank, clock)
            for one in (served, other):
                await eventually(one.next_is_saturday, patience_s=5)
            home = next(node for node in nodes if _has_keys(node))
            with home.client() as client:
                client.flushall()
            await fault.recovers(lambda: served.holds_all(home))


def _is_joined(node: RealRedis) -> bool:
    with node.client() as client:
        found: Any = client.cluster("info")
        return bool(found["cluster_state"] == "ok")


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
    proxy.delay_s = 0.3


@pytest.mark.parametrize("script", [_blackhole, _delay, _reset_soon, _damage])
async def test_C14_a_bad_way_to_redis(
    script: Callable[[ChaosProxy], None],
    own: RealRedis,
    serve: Serve,
    settings: Settings,
    bank: Bank,
    fault: Fault,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Silence, slowness, resets and flipped bits: answers stay right, and nobody waits; then all is well again."""
    with own.client() as client:
        client.config_set("requirepass", CANARY)
    async with proxying(own.port) as proxy:
        url = f"redis://:{CANARY}@127.0.0.1:{proxy.port}/0"
        async with seeded(serve, settings, bank, url) as served, under_load(served):
            right = await served.get("/v1/rates")
            script(proxy)
            for _ in range(4):
                before = time.monotonic()
                await served.service.republish()
                if script is not _delay:
                    assert time.monotonic() - before < 1.2
            await asyncio.wait({asyncio.create_task(served.service.refresh())}, timeout=5)
            assert (await served.get("/v1/rates"))[2] == right[2]
            proxy.well()
            proxy.cut()
            await fault.recovers(lambda: served.redis_is("pass"), within_s=3)
    assert CANARY not in "".join(capfd.readouterr())


GARBAGE: dict[str, bytes] = {
    "text": b"hello",
    "old schema": b"ratesvc0" + bytes(64),
    "truncated JSON": b'{"rates":{"USD":',
    "ten megabytes": b"x" * 10_000_000,
}


@pytest.mark.parametrize("what", [*GARBAGE, "wrong type"])
async def test_C15_garbage_under_our_keys(
    what: str, own: RealRedis, serve: Serve, settings: Settings, bank: Bank, fault: Fault
) -> None:
    """A foreign value is never served, not by a replica that starts with it either, and is repaired."""
    async with seeded(serve, settings, bank, own.url) as served, under_load(served):
        right = (await served.get("/v1/rates"))[2]
        client = own.client()
        if what == "wrong type":
            for name in ("sheets", "columns", "span", "events"):
                client.delete(served.key(name))
            for name in ("sheets", "columns", "events"):
                client.set(served.key(name), "a string")
            client.rpush(served.key("span"), "a", "list")
        else:
            client.hset(served.key("sheets"), f"{FRIDAY}.1", GARBAGE[what])
            client.hset(served.key("sheets"), "not a day", GARBAGE[what])
            client.hset(served.key("sheets"), "2026-02-10.1", GARBAGE[what])
            client.hset(served.key("columns"), "R01235", GARBAGE[what])
            client.set(served.key("span"), GARBAGE[what])
        client.close()
        async with serve(served.service.settings) as cold:
            await cold.ready()
            assert _is_the_banks((await cold.get("/v1/rates"))[2])
            await eventually(lambda: _answers(cold, right))
            await fault.recovers(lambda: served.holds_all(own), within_s=10)
        assert (await served.get("/v1/rates"))[2] == right


def _is_the_banks(body: bytes) -> bool:
    """Whether the figures are those of that day."""
    document = json.loads(body, parse_float=str)
    quotes = sheet(date.fromisoformat(document["effective_date"])).by_code
    return {code: Decimal(row["value"]) for code, row in document["rates"].items()} == {
        code: quote.value for code, quote in quotes.items()
    }


async def _answers(served: Served, right: bytes) -> bool:
    return bool(json.loads((await served.get("/v1/rates"))[2])["rates"] == json.loads(right)["rates"])


async def test_C15_garbage_in_the_place_of_a_lease(
    own: RealRedis, serve: Serve, settings: Settings, bank: Bank
) -> None:
    """A value under our key that never runs out would stop the polls for ever: it is removed."""
    async with seeded(serve, settings, bank, own.url) as served:
        with own.client() as client:
            client.set(served.key("lease:poll"), "foreign")
        outcomes = [(await served.service.refresh()).outcome for _ in range(2)]
        assert outcomes == ["skipped", "unchanged"]


async def test_C16_no_connection_left(
    own: RealRedis, serve: Serve, settings: Settings, bank: Bank, fault: Fault
) -> None:
    """A thousand questions at once wait for a connection a moment at most; requests do not notice."""
    async with seeded(serve, settings, bank, own.url) as served, under_load(served):

        async def ask() -> float:
            begun = time.monotonic()
            with suppress(StoreUnavailable):
                await served.service.store.ping()
            return time.monotonic() - begun

        waited = await asyncio.gather(*(ask() for _ in range(1000)))
        assert max(waited) < 1.5, max(waited)
        client = own.client()
        client.config_set("maxclients", 1)
        client.client_kill_filter(_type="normal", skipme=True)
        client.client_kill_filter(_type="pubsub", skipme=True)
        await eventually(lambda: served.redis_is("warn"))
        client.config_set("maxclients", 1000)
        await fault.recovers(lambda: served.redis_is("pass"), within_s=2.5)
        client.close()


async def test_C17_a_thousand_cancelled_commands(own: RealRedis) -> None:
    """A command that was cancelled leaves no answer behind for the next one."""
    store = Store(Link(own.url), uuid.uuid4().hex)
    ids = [f"R{number:05d}" for number in range(10)]
    for cbr_id in ids:
        currency = Currency(cbr_id, cbr_id, "USD", "840", cbr_id)
        await store.put_column(Column(currency, datetime(2026, 4, 23, tzinfo=UTC)), Span(DAYS[0], FRIDAY))
    chance = random.Random(17)  # noqa: S311 -- a seed, so that a failure can be seen again
    for number in range(1000):
        cbr_id = ids[number % 10]
        task = asyncio.create_task(store.column(cbr_id))
        await asyncio.sleep(chance.random() * 0.001)
        task.cancel()
        await asyncio.wait({task})
        if number % 10 == 0:
            found = await store.column(cbr_id)
            assert found
            assert found[0].currency.cbr_id == cbr_id
    await store.close()


async def test_C18_two_leaders(own: RealRedis, serve: Serve, settings: Settings, bank: Bank, clock: Clock) -> None:
    """A lease that ran out while its holder was stopped: both ask and write, and it is one revision."""
    async with seeded(serve, settings, bank, own.url) as one, seeded(serve, settings, bank, own.url) as two:
        bank.publish(sheet(SATURDAY))
        clock.moment = EVENING
        bank.asked.clear()
        with own.client() as client:
            refreshing = asyncio.create_task(one.service.refresh())
            client.delete(one.key("lease:poll"))
            await two.service.refresh()
            await refreshing
            for served in (one, two):
                await eventually(served.next_is_saturday)
            fields: Any = client.hkeys(one.key("sheets"))
            assert [field for field in fields if field.startswith(str(SATURDAY).encode())] == [f"{SATURDAY}.1".encode()]
        assert len(bank.queries) <= 2


async def test_C19_every_call_of_a_refresh_fails_once(
    own: RealRedis, serve: Serve, settings: Settings, bank: Bank, clock: Clock, fault: Fault
) -> None:
    """Whichever command of a refresh fails: answers stay right, the sheet is served, and soon it is stored."""
    days = list(workdays(date(2026, 4, 25), 40))
    async with seeded(serve, settings, bank, own.url) as served:
        client: Any = served.service.store.link.client
        failing = Failing(client.execute_command)
        client.execute_command = failing
        while failing.has_failed:
            day = days[failing.fails_at]
            bank.publish(sheet(day))
            clock.moment = datetime.combine(day, datetime.min.time(), UTC).replace(hour=6)
            failing.rearm()
            await served.service.refresh()
            failing.armed = False
            await eventually(lambda day=day: served.service.history.of_date(day))  # type: ignore[misc]
            body = json.loads((await served.get(f"/v1/rates/{day}"))[2])
            assert body["effective_date"] == str(day)
            await fault.recovers(lambda: served.holds_all(own), within_s=6)
        assert failing.fails_at > 4


class Failing:
    """Every command of Redis passes here; while it is armed, the one with that number fails."""

    def __init__(self, command: Callable[..., Any]) -> None:
        self._command = command
        self._calls = 0
        self.fails_at = 0
        self.armed = False
        self.has_failed = True

    def rearm(self) -> None:
        """Count from one again, and let the next number fail."""
        self.armed, self.has_failed, self._calls = True, False, 0
        self.fails_at += 1

    async def __call__(self, *words: Any, **options: Any) -> Any:
        self._calls += self.armed
        if self.armed and self._calls == self.fails_at:
            self.has_failed = True
            raise redis.ConnectionError(f"call {self._calls}")
        return await self._command(*words, **options)


async def test_questions_are_told_with_their_seconds(own: RealRedis) -> None:
    """An observer hears of every question: what it was, how long it took and what was wrong."""
    heard: list[Asked] = []
    store = Store(Link(own.url, heard.append), "x")
    await store.ping()
    own.kill()
    with pytest.raises(StoreUnavailable, match="Redis"):
        await store.ping()
    with pytest.raises(StoreUnavailable, match="every second"):
        await store.ping()
    await store.close()
    assert [asked.trouble and asked.trouble.kind for asked in heard] == [None, "connection", "open"]
