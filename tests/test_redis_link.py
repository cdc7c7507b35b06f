"""The way to Redis: addresses, TLS with an authority of one's own, an ACL user, and the breaker."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest
from certificates import Authority
from conftest import eventually
from redis_servers import RealRedis, cluster_nodes, joined, running

from ratesvc.errors import StoreUnavailable
from ratesvc.redis_address import RedisAddress
from ratesvc.redis_link import Asked, Link
from ratesvc.store import Store


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
