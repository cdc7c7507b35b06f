"""The way to Redis: addresses, TLS with an authority of one's own, an ACL user, and the breaker."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest
import uvloop
from certificates import Authority
from conftest import eventually
from fake_bank import Bank, around_today
from fleet import shared_by
from processes import serving
from redis.exceptions import DataError
from redis_servers import RealRedis, cluster_nodes, joined, running

from ratesvc.errors import StoreUnavailable
from ratesvc.storage import redis as redis_link
from ratesvc.storage.address import RedisAddress
from ratesvc.storage.redis import Asked, Link, shaped
from ratesvc.storage.store import Store


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://", RedisAddress("server", (("localhost", 6379),))),
        (
            "redis://clerk:p%40ss@redis.example:6380/3",
            RedisAddress("server", (("redis.example", 6380),), db=3, username="clerk", password="p@ss"),  # noqa: S106
        ),
        ("unix:///run/v.sock?db=1", RedisAddress("socket", path="/run/v.sock", db=1)),
        (
            "redis+sentinel://one,[::1]:5/rates/2",
            RedisAddress("sentinel", (("one", 26379), ("::1", 5)), service="rates", db=2),
        ),
        (
            "rediss+cluster://:x@one:1,two:2?ssl_ca_certs=/ca.pem",
            RedisAddress(
                *("cluster", (("one", 1), ("two", 2))),
                password="x",  # noqa: S106 -- a test
                tls=True,
                options=(("ssl_ca_certs", "/ca.pem"),),
            ),
        ),
    ],
)
def test_addresses_as_people_write_them(url: str, expected: RedisAddress) -> None:
    """Every kind, with its default ports, escapes and options."""
    assert RedisAddress.from_url(url) == expected


def test_both_passwords_are_secrets() -> None:
    """Redis's own and the sentinels', which may be another."""
    address = RedisAddress.from_url("redis+sentinel://:one@h/rates?sentinel_username=u&sentinel_password=two")
    assert address.secrets == ("one", "two")
    assert address.option("sentinel_username") == "u"


@pytest.mark.slow
async def test_tls_with_an_authority_of_ones_own(tmp_path: Path) -> None:
    """The right authority is trusted; another one, and the system's, are not."""
    authority = Authority(tmp_path)
    authority.server()
    (shown,) = tmp_path.glob("localhost-*.pem")
    right, wrong = authority.ca_file, tmp_path / "other.pem"
    key = shown.with_suffix(".key")
    own = RealRedis(tmp_path / "redis", tls_auth_clients="no", tls_cert_file=shown, tls_key_file=key)
    port = RealRedis(tmp_path).port
    own.options |= {"tls_port": port}
    with running(own):
        for query, works in ((f"?ssl_ca_certs={right}", True), (f"?ssl_ca_certs={wrong}", False), ("", False)):
            store = Store(Link(f"rediss://localhost:{port}/0{query}"), "x")
            if works:
                await store.ping()
            else:
                with pytest.raises(StoreUnavailable, match="CERTIFICATE_VERIFY_FAILED") as caught:
                    await store.ping()
                assert caught.value.kind == "connection"
            await store.close()


@pytest.mark.slow
async def test_an_acl_user_needs_no_more_than_our_keys_and_channel(tmp_path: Path) -> None:
    """What an administrator grants: the namespace, and the commands that are no danger to others."""
    own = RealRedis(tmp_path / "redis")
    with running(own):
        with own.client() as client:
            client.acl_setuser(
                *("clerk", True),
                passwords=["+word"],
                keys=["{rates}:*"],
                channels=["{rates}:*"],
                categories=["+@all", "-@dangerous", "-@admin"],
            )
        store = Store(Link(f"redis://clerk:word@127.0.0.1:{own.port}/0"), "rates")
        assert await store.poll_lease.take(5)
        assert await store.drop_misplaced() == []
        assert not (await store.load()).revisions
        await store.close()
        stranger = Store(Link(f"redis://clerk:word@127.0.0.1:{own.port}/0"), "other")
        with pytest.raises(StoreUnavailable) as caught:
            await stranger.load()
        assert caught.value.kind == "auth"
        await stranger.close()


@pytest.mark.slow
async def test_a_cluster_is_left_after_a_trouble(tmp_path: Path) -> None:
    """Who closes while one node does not answer leaves no connection to the others either."""
    nodes = cluster_nodes(tmp_path)
    with running(*nodes):
        link = Link(await asyncio.to_thread(joined, nodes))
        for key in "abcdef":
            async with link.answering("get") as cluster:
                await cluster.get(key)
        nodes[0].signal(signal.SIGSTOP)
        with pytest.raises(StoreUnavailable):
            async with link.answering("ping") as cluster:
                await cluster.ping(target_nodes="all")
        await link.close()
        nodes[0].signal(signal.SIGCONT)
        await eventually(lambda: not any(map(_has_us, nodes)))


def _has_us(node: RealRedis) -> bool:
    with node.client() as client:
        return any(one["name"] == "ratesvc" for one in client.client_list())


async def test_who_is_refused_by_the_breaker_learns_why_it_is_open() -> None:
    """A command asks more than once, and only the last answer is printed."""
    link = Link("redis://127.0.0.1:1")
    for kind in ("connection", "open"):
        with pytest.raises(StoreUnavailable, match=r"connecting to 127\.0\.0\.1:1") as caught:
            async with link.answering("ping") as redis:
                await redis.ping()
        assert caught.value.kind == kind
    await link.close()


async def test_who_stopped_waiting_was_not_answered() -> None:
    """A question that was cancelled says neither that Redis is well nor that it is not."""
    told: list[Asked] = []

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        link = Link(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}", told.append)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05), link.answering("ping") as redis:
                await redis.ping()
        assert told == []
        await link.close()


@pytest.mark.parametrize("mistake", [ValueError, TypeError, KeyError, RuntimeError, AttributeError, DataError])
async def test_a_mistake_of_ours_is_no_trouble_of_redis(every_redis: str, mistake: type[Exception]) -> None:
    """It stays what it is and opens no breaker, or it would be tried again for ever as if Redis were ill."""
    told: list[Asked] = []
    link = Link(every_redis, told.append)

    async def ask() -> None:
        async with link.answering("ping") as redis:
            await redis.ping()
            raise mistake("a mistake of ours")

    with pytest.raises(mistake):
        await ask()
    assert (link.up, told) == (True, [])
    await link.close()


@pytest.mark.parametrize(
    "answer",
    [
        b"%1\r\n%0\r\n:1\r\n",
        b"*1\r\n$-7\r\n",
        b"$5\r\nab\r\ncd\r\n",
        b":12x\r\n",
        b"\x00\xff\r\n",
        b"%2\r\n$1\r\na\r\n$1\r\nb\r\n",
    ],
)
async def test_a_damaged_answer_is_a_trouble_whatever_redis_py_makes_of_it(answer: bytes) -> None:
    """Its parser raises TypeError and others for bytes that make no sense."""

    async def damaged(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1000):
            writer.write(answer)
        writer.close()

    async with await asyncio.start_server(damaged, "127.0.0.1", 0) as server:
        link = Link(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        with pytest.raises(StoreUnavailable):
            async with link.answering("get") as redis:
                await redis.get("a")
        assert not link.up
        await link.close()


def test_a_closed_transport_is_a_trouble() -> None:
    """uvloop raises RuntimeError for it."""

    async def ignore(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async def write_to_a_closed_one(link: Link, address: tuple[str, int]) -> None:
        async with link.answering("get"):
            _, writer = await asyncio.open_connection(*address)
            writer.transport.abort()
            await writer.wait_closed()
            writer.write(b"a question")

    async def ask() -> None:
        async with await asyncio.start_server(ignore, "127.0.0.1", 0) as server:
            link = Link("redis://127.0.0.1:1")
            link.up = True  # nobody has noticed yet
            with pytest.raises(StoreUnavailable) as caught:
                await write_to_a_closed_one(link, server.sockets[0].getsockname())
            assert (link.up, caught.value.kind) == (False, "connection")
            await link.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(ask())


@pytest.mark.parametrize("answer", [b"text", 7, {}, ["one"], None])
async def test_an_answer_of_another_shape_is_a_trouble(every_redis: str, answer: object) -> None:
    """A damaged byte can make another type of it, or leave out an element."""
    link = Link(every_redis)
    with pytest.raises(StoreUnavailable) as caught:
        async with link.answering("hmget"):
            shaped(answer, list, 2)
    assert caught.value.kind == "answer"
    await link.close()


@pytest.mark.slow
async def test_a_stop_while_redis_stands_still_is_an_orderly_one(bank: Bank, tmp_path: Path) -> None:
    """TLS takes leave of the other side, which does not answer: that is not worth a word."""
    authority = Authority(tmp_path)
    authority.server()
    (shown,) = tmp_path.glob("localhost-*.pem")
    own = RealRedis(tmp_path / "redis", tls_auth_clients="no", tls_cert_file=shown)
    port = RealRedis(tmp_path).port
    own.options |= {"tls_key_file": shown.with_suffix(".key"), "tls_port": port}
    around_today(bank, back=10)
    with running(own):
        variables = shared_by(bank, f"rediss://localhost:{port}/0?ssl_ca_certs={authority.ca_file}")
        async with serving(tmp_path, **variables) as program:
            await program.ready()

            async def is_used() -> bool:
                return b"\nratesvc_redis_up 1.0\n" in (await program.get("/metrics"))[2]

            await eventually(is_used)
            own.signal(signal.SIGSTOP)
            program.kill(signal.SIGTERM)
            assert await program.ended() == 0
            own.signal(signal.SIGCONT)
    assert "mistake" not in (tmp_path / "errors.log").read_text()


def test_nothing_waits_half_a_second_for_redis() -> None:
    """A free connection and its answer, a probe, and sentinels one after another: each ends within half a second."""
    assert redis_link.QUEUE_S + redis_link.ANSWER_TIMEOUT_S <= 0.5
    assert redis_link.PROBE_TIMEOUT_S < 0.5
    assert 3 * redis_link.SENTINEL_TIMEOUT_S < redis_link.PROBE_TIMEOUT_S
