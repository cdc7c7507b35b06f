"""The connection to Redis: addresses, TLS with an authority of one's own, an ACL user, errors and timeouts."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
import pytest
import uvloop
from conftest import eventually
from kit import cases
from kit.bank import Bank, around_today
from kit.certificates import Authority
from kit.front import ChaosProxy
from kit.http import says
from kit.reader import shared_by
from kit.redis import RealRedis, running, token
from kit.service import free_port, serving
from redis.asyncio.sentinel import SentinelConnectionPool, SentinelManagedConnection, SentinelManagedSSLConnection
from redis.exceptions import DataError, InvalidResponse

from ratesvc.errors import StoreUnavailable
from ratesvc.storage import embedded
from ratesvc.storage import redis as redis_module
from ratesvc.storage.address import RedisAddress
from ratesvc.storage.redis import Call, RedisConnection, checked, connect, kind_of
from ratesvc.storage.store import Store

MOST = 16


def test_addresses_as_people_write_them() -> None:
    """Every kind, with its default ports, escapes and options. golden/settings.txt has those that are refused."""
    shown = {url: msgspec.json.encode(asdict(RedisAddress.from_url(url))) for url in cases.questions("redis.txt")}
    secrets = {url: RedisAddress.from_url(url).secrets for url in shown}
    cases.check("redis.txt", {url: f"{shown[url].decode()}\nsecret: {' '.join(secrets[url])}" for url in shown})


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    made = Authority(tmp_path)
    made.server()
    return made


@pytest.fixture
def tls_redis(authority: Authority) -> Iterator[RealRedis]:
    """A server that also listens for TLS, with a certificate of that authority; `options` has the port."""
    (certificate,) = authority.folder.glob("localhost-*.pem")
    own = RealRedis(authority.folder / "redis", tls_auth_clients="no", tls_cert_file=certificate, tls_port=free_port())
    own.options["tls_key_file"] = certificate.with_suffix(".key")
    with running(own):
        yield own


@pytest.mark.nightly
@pytest.mark.parametrize(("ca_file", "works"), [("root.pem", True), ("other.pem", False), ("", False)])
async def test_tls_trusts_only_the_configured_authority(
    ca_file: str, works: bool, tls_redis: RealRedis, tmp_path: Path
) -> None:
    """Not another one, and not those of the system."""
    query = f"?ssl_ca_certs={tmp_path / ca_file}" if ca_file else ""
    store = Store(RedisConnection(f"rediss://localhost:{tls_redis.options['tls_port']}/0{query}"), "x", token)
    if works:
        await store.glance()
    else:
        with pytest.raises(StoreUnavailable, match="CERTIFICATE_VERIFY_FAILED") as caught:
            await store.glance()
        assert caught.value.kind == "connection"
    await store.close()


@asynccontextmanager
async def fake_redis(
    answer: bytes | Callable[[bytes], bytes], url: str = "redis://{}"
) -> AsyncIterator[tuple[RedisConnection, list[Call]]]:
    """A connection to a server that answers everything so, or not at all; and the calls."""

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        while asked := await reader.read(65536):
            writer.write(answer if isinstance(answer, bytes) else answer(asked))
        writer.close()

    writers: list[asyncio.StreamWriter] = []
    async with await asyncio.start_server(respond, "127.0.0.1", 0) as server:
        calls: list[Call] = []
        host = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        connection = RedisConnection(url.format(host), calls.append)
        try:
            yield connection, calls
        finally:
            await connection.close()
            for writer in writers:
                writer.close()


async def got(connection: RedisConnection) -> bytes:
    async with connection.call("get") as redis:
        return checked(await redis.get("a"), bytes)


@pytest.mark.parametrize(
    ("url", "introduced"),
    [
        ("redis://clerk:p%40ss@{}/3", ["AUTH clerk p@ss", "SELECT 3"]),
        ("redis://{}", []),
        (
            "redis+sentinel://clerk:word@{}/rates/2?sentinel_username=guard&sentinel_password=other",
            ["AUTH guard other", "AUTH clerk word", "SELECT 2"],
        ),
        ("redis+sentinel://:word@{}/rates", ["AUTH default word"]),
    ],
)
async def test_a_server_is_told_the_user_and_the_database_of_the_address(url: str, introduced: list[str]) -> None:
    """The sentinels are told their own user, not that of Redis."""
    sent: list[str] = []

    def answer(asked: bytes) -> bytes:
        commands = [" ".join(command.split("\r\n")[2::2]) for command in asked.decode().split("*")[1:]]
        sent.extend(re.findall(r"AUTH \S+ \S+|SELECT \S+", "\n".join(commands)))
        return b"".join(map(answer_to, commands))

    def answer_to(command: str) -> bytes:
        if command.startswith("HELLO"):
            return b"%1\r\n+proto\r\n:3\r\n"
        if not command.startswith("SENTINEL"):
            return b"+OK\r\n"
        pool = connection.client.connection_pool
        assert isinstance(pool, SentinelConnectionPool)
        port = pool.sentinel_manager.sentinels[0].connection_pool.connection_kwargs["port"]
        facts = f"+name +rates +ip +127.0.0.1 +port +{port} +flags +master +num-other-sentinels :0"
        return "\r\n".join(["*1", "%5", *facts.split(), ""]).encode()

    async with fake_redis(answer, url) as (connection, _), connection.call("get") as redis:
        await redis.get("a")
    assert sent == introduced


@pytest.mark.breaks_redis
@pytest.mark.parametrize("url", ["rediss://{}", "rediss+cluster://{}", "rediss+sentinel://{}/rates"])
async def test_a_second_s_means_tls(url: str) -> None:
    """The first byte that a server gets is that of a handshake, also a sentinel and a node of a cluster."""
    first: list[bytes] = []

    def say_nothing(asked: bytes) -> bytes:
        first.append(asked[:1])
        return b""

    async with fake_redis(say_nothing, url) as (connection, _):

        async def has_heard() -> bool:
            """A busy machine may need more than the time of one call to begin a handshake."""
            with pytest.raises(StoreUnavailable):
                await got(connection)
            return bool(first)

        await eventually(has_heard)
    assert set(first) == {b"\x16"}


def test_what_sentinels_name_is_asked_over_tls_too() -> None:
    """Not only the sentinels themselves."""
    assert connect("rediss+sentinel://h/rates").connection_pool.connection_class is SentinelManagedSSLConnection
    assert connect("redis+sentinel://h/rates").connection_pool.connection_class is SentinelManagedConnection


@pytest.mark.breaks_redis
async def test_a_command_is_sent_again_only_where_the_connection_was_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a timeout the caller has waited long enough. At most sixteen connections wait at a time."""
    limit_s, commands = 1000.0, list[bytes]()
    monkeypatch.setattr(redis_module, "ANSWER_TIMEOUT_S", limit_s)
    loop = asyncio.get_running_loop()
    usual = loop.time

    def say_nothing(asked: bytes) -> bytes:
        commands.append(asked)
        return b""

    async with fake_redis(say_nothing) as (connection, _):
        calls = [asyncio.create_task(got(connection)) for _ in range(3 * MOST)]
        await eventually(lambda: (len(commands), sum(call.done() for call in calls)), becomes=(MOST, 2 * MOST))
        monkeypatch.setattr(loop, "time", lambda: usual() + limit_s)
        await eventually(lambda: all(call.done() for call in calls))
        found = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(error) for error in found] == [StoreUnavailable] * len(found)
    assert len(commands) == MOST


@pytest.mark.slow
def test_a_connection_that_was_reset_while_nobody_used_it_is_replaced_within_the_same_call(tmp_path: Path) -> None:
    """As after a reboot of Redis' machine. redis-py itself sees only connections that ended in an orderly way."""
    calls: list[Call] = []

    async def call(redis: RealRedis) -> None:
        async with ChaosProxy(redis.port) as proxy:
            connection = RedisConnection(proxy.url, calls.append)
            for _ in range(5):
                with suppress(StoreUnavailable):
                    async with connection.call("ping") as client:
                        await client.ping()
                proxy.cut()
                await eventually(lambda: proxy.connections, becomes=0)
            await connection.close()

    own = RealRedis(tmp_path / "redis")
    with running(own), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(call(own))
    assert [call.trouble for call in calls] == [None] * 5


async def test_no_command_gets_the_answer_of_another() -> None:
    """A connection with an answer that nobody has read is not used again."""

    def respond(asked: bytes) -> bytes:
        return b"$3\r\nnew\r\n$3\r\nold\r\n" if b"GET\r\n" in asked else asked.count(b"*") * b"+OK\r\n"

    async with fake_redis(respond) as (connection, _):
        assert [await got(connection) for _ in range(3)] == [b"new"] * 3


async def test_an_error_that_repeats_a_password_is_told_in_short_without_it() -> None:
    """Redis repeats the arguments of a command that it does not know. No part of a password is left at the end."""
    word = "w0rd" * 60
    refusal = f"-ERR unknown command 'HELL0', with args beginning with: {'x' * 100} '{word}'\r\n".encode()
    async with fake_redis(refusal, f"redis://:{word}@{{}}") as (connection, calls):
        with pytest.raises(StoreUnavailable, match="HELL0") as caught:
            await got(connection)
    assert "w0rd" not in f"{caught.value} {calls}"
    assert caught.value.__suppress_context__, "its traceback shows the password"
    async with fake_redis(b"-ERR %b\r\n" % (b"x" * 1000)) as (connection, _):
        with pytest.raises(StoreUnavailable) as caught:
            await got(connection)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "answer", [b"+a text\r\n", b"-READONLY You can't write against a read only replica.\r\n", b":7\r\n"]
)
async def test_after_an_answer_that_is_read_only_or_makes_no_sense_the_next_command_connects_anew(
    answer: bytes,
) -> None:
    """The server behind the name may be another by now, or a byte of the answer before may still be on its way."""
    names: list[bytes] = []

    def respond(asked: bytes) -> bytes:
        names.extend(re.findall(b"SETNAME", asked))
        commands = asked.split(b"*")[1:]
        return b"".join(answer if b"GET\r\n" in command else b"+OK\r\n" for command in commands)

    async with fake_redis(respond) as (connection, _):
        for _ in range(2):
            with suppress(StoreUnavailable):
                await got(connection)
    assert len(names) == (1 if answer.startswith(b"+") else 2)


@pytest.mark.parametrize(
    ("answer", "kind", "answers"),
    [
        ("LOADING Redis is loading the dataset in memory", "loading", False),
        ("NOAUTH Authentication required.", "auth", False),
        ("WRONGPASS invalid username-password pair", "auth", False),
        ("NOPERM this user has no permissions", "auth", True),
        ("OOM command not allowed when used memory > 'maxmemory'.", "memory", True),
        ("READONLY You can't write against a read only replica.", "readonly", True),
        ("MISCONF Redis is configured to save RDB snapshots", "refused", True),
        ("WRONGTYPE Operation against a key", "refused", True),
    ],
)
async def test_a_refusal_has_its_kind(answer: str, kind: str, answers: bool) -> None:
    """Metrics count it. Some Redis would answer other commands."""
    refusal = f"-{answer}\r\n".encode()
    async with fake_redis(lambda asked: refusal if b"GET\r\n" in asked else asked.count(b"*") * b"+OK\r\n") as (one, _):
        with pytest.raises(StoreUnavailable) as caught:
            await got(one)
        assert (caught.value.kind, one.refusing) == (kind, answers)


async def test_a_cancelled_call_is_not_counted() -> None:
    """It says neither that Redis is well nor that it is not."""
    async with fake_redis(b"") as (connection, calls):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05), connection.call("ping") as redis:
                await redis.ping()
        assert calls == []


async def test_an_argument_that_no_command_takes_is_a_bug_of_ours(every_redis: str) -> None:
    """It stays what it is, or it would be tried again for ever as if Redis were down."""
    calls: list[Call] = []
    connection = RedisConnection(every_redis, calls.append)
    async with connection.call("ping") as redis:
        await redis.ping()
    assert [(call.operation, call.trouble) for call in calls] == [("ping", None)]
    nothing: Any = object()
    with pytest.raises(DataError):
        async with connection.call("set") as redis:
            await redis.set("key", nothing)
    assert (connection.refusing, len(calls)) == (False, 1)
    await connection.close()


@pytest.mark.breaks_redis
@pytest.mark.parametrize(
    "answer",
    [
        *(b"%1\r\n%0\r\n:1\r\n", b"*1\r\n$-7\r\n", b"$5\r\nab\r\ncd\r\n", b":12x\r\n", b"\x00\xff\r\n"),
        b"%2\r\n$1\r\na\r\n$1\r\nb\r\n",
    ],
)
async def test_a_damaged_answer_is_a_trouble_whatever_redis_py_makes_of_it(answer: bytes) -> None:
    """Its parser raises TypeError and others for bytes that make no sense."""
    async with fake_redis(answer) as (connection, calls):
        with pytest.raises(StoreUnavailable) as caught:
            await got(connection)
        assert not connection.refusing
        assert (calls[0].operation, calls[0].trouble) == ("get", caught.value)


@pytest.mark.parametrize("answer", [b"text", 7, {}, ["one"], None])
def test_an_answer_of_another_shape_is_a_trouble(answer: object) -> None:
    """A damaged byte can change its type, or leave out an element. uvloop raises RuntimeError for a closed one."""
    with pytest.raises(InvalidResponse) as caught:
        checked(answer, list, 2)
    assert [kind_of(error) for error in (caught.value, RuntimeError("closed"))] == ["answer", "connection"]


@pytest.mark.nightly
@pytest.mark.breaks_redis
async def test_a_stop_while_redis_hangs_is_orderly(
    bank: Bank, tmp_path: Path, authority: Authority, tls_redis: RealRedis
) -> None:
    """TLS waits for the other side to say goodbye. Nothing is logged when it does not."""
    around_today(bank, back=10)
    url = f"rediss://localhost:{tls_redis.options['tls_port']}/0?ssl_ca_certs={authority.ca_file}"
    async with serving(tmp_path, **shared_by(bank, url)) as program:
        await program.ready()
        await eventually(lambda: says(program, "/metrics", b"\nratesvc_redis_up 1.0\n"))
        tls_redis.signal(signal.SIGSTOP)
        await program.stops()
        tls_redis.signal(signal.SIGCONT)
    assert "internal error" not in (tmp_path / "errors.log").read_text()


async def test_an_error_says_its_kind_and_the_sentence_of_redis_but_no_value(tmp_path: Path) -> None:
    """redis-py repeats the whole command, which has the token of a lease."""
    full = RealRedis(tmp_path, maxmemory=1)
    with running(full):
        store = Store(RedisConnection(full.url), "x", lambda: "a-token")
        with pytest.raises(StoreUnavailable) as caught:
            await store.poll_lease.take()
        await store.close()
    said = "Redis: memory: command not allowed when used memory > 'maxmemory'. (SET {x}:v2:lease:poll)"
    assert str(caught.value) == said


@pytest.mark.parametrize(("name", "is_in_the_folder"), [("a" * 60, True), ("д" * 60, False), ("a" * 120, False)])
def test_the_path_of_a_socket_has_a_hundred_bytes(name: str, is_in_the_folder: bool) -> None:
    """A Cyrillic letter is two. In a folder with a longer name there is no room for a socket."""
    path = embedded._socket_path(Path("/") / name)  # noqa: SLF001
    assert len(os.fsencode(path)) <= embedded.LONGEST_SOCKET_PATH
    assert (path.parent.name == name) is is_in_the_folder
