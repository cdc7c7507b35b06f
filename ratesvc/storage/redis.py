"""The connection to Redis: a server, Sentinel or Cluster, with short timeouts; its errors; leases."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from ssl import VERIFY_X509_STRICT
from typing import Any, TypeVar, cast

from redis import exceptions as errors
from redis.asyncio import (
    BlockingConnectionPool,
    Redis,
    RedisCluster,
    Sentinel,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig

from ratesvc.errors import StoreUnavailable
from ratesvc.storage.address import AUTHORITIES, TLS_OPTIONS, RedisAddress

T = TypeVar("T")

ANSWER_TIMEOUT_S = 0.4
SENTINEL_TIMEOUT_S = 0.12
QUEUE_S = 0.1
MOST_CONNECTIONS = 16
LONGEST_TEXT = 300
CANCEL_AGAIN_S = 0.5
LEASE_S, RENEW_S = 7.0, 3.0

# redis-py's TimeoutError is not its ConnectionError, RedisClusterException is not a RedisError, sockets raise OSError.
_TROUBLE = (errors.RedisError, errors.RedisClusterException, OSError)
_KINDS: dict[str, tuple[type[Exception], ...]] = {
    "auth": (errors.AuthenticationError, errors.AuthorizationError, errors.NoPermissionError),
    "loading": (errors.BusyLoadingError,),
    "memory": (errors.OutOfMemoryError,),
    "readonly": (errors.ReadOnlyError,),
    "answer": (errors.InvalidResponse,),
    "timeout": (errors.TimeoutError, TimeoutError),
    "connection": (errors.ClusterError, errors.RedisClusterException, errors.ConnectionError, OSError, RuntimeError),
    "refused": (errors.RedisError,),
}
"""The kinds of StoreUnavailable. The first that fits counts, since redis-py's errors inherit from each other."""
_PIPED = re.compile(r"(?s)Command # \d+ \((\S+(?: \S+)?).*\) of pipeline caused error: (?:\(.)?(.*?)(?:.,\))?$")
_GONE = ("auth", "loading", "timeout", "connection", "answer")


@dataclass(frozen=True, slots=True)
class Call:
    """A finished operation on Redis: how long it took, and its error.

    `refusing` means that Redis refused a command and has accepted no write since.
    """

    operation: str
    seconds: float
    trouble: StoreUnavailable | None
    refusing: bool = False


def connect(url: str) -> Redis:
    """A client that fails fast: short timeouts, one retry after a lost connection, a bounded pool.

    Raises ValueError as RedisAddress does.
    """
    address = RedisAddress.from_url(url)
    options = _options(address)
    if address.kind == "redis+cluster":
        nodes = [ClusterNode(host, port) for host, port in address.nodes]
        cluster = RedisCluster(startup_nodes=nodes, max_connections=MOST_CONNECTIONS, ssl=address.tls, **options)
        # It has the same commands, without a common type.
        return cast("Redis", cluster)
    if address.kind == "redis+sentinel":
        return _by_sentinel(address, options)
    if address.kind == "unix":
        options |= {"connection_class": UnixDomainSocketConnection, "path": address.path}
    else:
        host, port = address.nodes[0]
        options |= {"host": host, "port": port, **({"connection_class": SSLConnection} if address.tls else {})}
    pool = BlockingConnectionPool(max_connections=MOST_CONNECTIONS, timeout=QUEUE_S, db=address.db, **options)
    return Redis.from_pool(pool)


def _options(address: RedisAddress) -> dict[str, Any]:
    tls: dict[str, Any] = {name: file for name, file in address.options.items() if address.tls and name in TLS_OPTIONS}
    if AUTHORITIES in tls:
        tls["ssl_exclude_verify_flags"] = [VERIFY_X509_STRICT]  # for the same reason as in bank/client.py
    return {
        "username": address.username,
        "password": address.password,
        "socket_timeout": ANSWER_TIMEOUT_S,
        "socket_connect_timeout": ANSWER_TIMEOUT_S,
        "client_name": "ratesvc",
        # They would stretch our timeouts to ten seconds, and while redis-py waits for them, it uses connections with
        # unread answers (https://github.com/redis/redis-py/issues/4252).
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
        # No retry after a timeout: the caller has waited long enough. uvloop raises RuntimeError for a connection that
        # the other side has reset, and redis-py lets it through (https://github.com/redis/redis-py/issues/4287).
        "retry": Retry(NoBackoff(), 1, supported_errors=cast("Any", (errors.ConnectionError, RuntimeError))),
        **tls,
    }


def _by_sentinel(address: RedisAddress, options: dict[str, Any]) -> Redis:
    own = {
        **options,
        "username": address.options.get("sentinel_username"),
        "password": address.options.get("sentinel_password"),
        "socket_timeout": SENTINEL_TIMEOUT_S,
        "socket_connect_timeout": SENTINEL_TIMEOUT_S,
        "ssl": address.tls,
    }
    sentinel = cast("Any", Sentinel)(address.nodes, sentinel_kwargs=own, ssl=address.tls, db=address.db, **options)
    return cast("Redis", sentinel.master_for(address.service, max_connections=MOST_CONNECTIONS))


class RedisConnection:
    """One Redis. `refusing` is as in `Call`."""

    def __init__(self, url: str, observe: Callable[[Call], None] = lambda _: None) -> None:
        """Connects at the first call; `observe` gets every call. Raises ValueError as RedisAddress does."""
        self.client = connect(url)
        self.refusing = False
        self._secrets = RedisAddress.from_url(url).secrets
        self._observe = observe

    async def close(self) -> None:
        """Close every connection, also to a Redis that does not answer."""
        with suppress(*_TROUBLE):
            await self.client.aclose()
        if isinstance(pool := getattr(self.client, "connection_pool", None), SentinelConnectionPool):
            # It leaves its connections to the sentinels open.
            with suppress(*_TROUBLE):
                await pool.sentinel_manager.aclose()

    @asynccontextmanager
    async def call(self, operation: str) -> AsyncIterator[Redis]:
        """The client for one operation. Each error of the block becomes StoreUnavailable: call only redis-py in it.

        A damaged answer makes redis-py's parser raise TypeError and others, and a closed transport makes uvloop raise
        RuntimeError. Only an error about the arguments of a command is a bug of ours.
        """
        seconds = asyncio.get_running_loop().time
        begun = seconds()
        trouble: StoreUnavailable | None = None
        try:
            yield self.client
        except errors.DataError:
            raise
        except Exception as error:  # noqa: BLE001 -- the docstring names some that come
            trouble = await self._failed(error)
        # A cancelled call says nothing about Redis, so it does not get here.
        self._observe(Call(operation, seconds() - begun, trouble, self.refusing))
        if trouble:
            # Without its cause: that traceback would show the secrets that the text leaves out.
            raise trouble from None

    async def _failed(self, error: Exception) -> StoreUnavailable:
        kind = kind_of(error)
        trouble = StoreUnavailable(f"Redis: {kind}: {self._text_of(error)}", kind)
        # A Redis that forbids this user one command still answers the others.
        self.refusing |= trouble.kind not in _GONE or isinstance(error, errors.NoPermissionError)
        # After a demotion, or an answer that makes no sense, the next command needs a new connection.
        if trouble.kind in ("readonly", "answer") and isinstance(self.client, Redis):
            with suppress(*_TROUBLE):
                await self.client.connection_pool.disconnect(inuse_connections=False)
        return trouble

    def _text_of(self, error: Exception) -> str:
        # redis-py puts the whole command before the sentence. Its key helps, and its value may be a token.
        text = _PIPED.sub(r"\2 (\1)", str(error) or type(error).__name__)
        # Redis repeats the arguments of an unknown command, and AUTH with a damaged byte is one.
        for secret in self._secrets:
            text = text.replace(secret, "***")
        # Not cut before, because a half of a secret would stay.
        return text[:LONGEST_TEXT]


def kind_of(error: Exception) -> str:
    """The kind of StoreUnavailable that this error becomes."""
    return next((kind for kind, families in _KINDS.items() if isinstance(error, families)), "answer")


def checked(answer: Any, kind: type[T], length: int | None = None) -> T:
    """The answer, if it has this type and length: one damaged byte changes them. Raises InvalidResponse."""
    if not isinstance(answer, kind) or (length is not None and len(cast("list[Any]", answer)) != length):
        raise errors.InvalidResponse(f"{type(answer).__name__} in the place of {kind.__name__}")
    return answer


class Lease:
    """Which replica may do a task. It saves downloads; correctness never needs it: every write may be repeated.

    It lasts some seconds and is renewed while a replica holds it, so a crash frees it within seconds.
    """

    def __init__(self, connection: RedisConnection, key: str, token: str) -> None:
        """`token` names this replica. `held`: it had the lease when it last asked."""
        self.held = False
        self._connection = connection
        self._key = key
        self._token = token.encode()
        self._renewal: asyncio.Task[None] | None = None

    async def take(self) -> bool:
        """Take the lease if it is free; returns whether this replica holds it now. Raises StoreUnavailable."""
        self.held = await self._take()
        if self.held and (self._renewal is None or self._renewal.done()):
            self._renewal = asyncio.create_task(self._renew(), name="lease")
        return self.held

    async def _take(self) -> bool:
        milliseconds = round(LEASE_S * 1000)
        async with self._connection.call("lease") as redis:
            pipeline = redis.pipeline(transaction=False)
            pipeline.set(self._key, self._token, px=milliseconds, nx=True)
            pipeline.getrange(self._key, 0, len(self._token))  # not more, because a foreign value may be long
            pipeline.pttl(self._key)
            taken, holder, left_ms = await pipeline.execute()
            if not taken and holder == self._token:
                # Held already, or given by an answer that was lost.
                return bool(await redis.set(self._key, self._token, px=milliseconds, xx=True))
            if left_ms == -1:
                # Ours always expire: a foreign value under our key must not stop the polls for ever.
                await redis.unlink(self._key)
        return bool(taken)

    async def _renew(self) -> None:
        while self.held:
            await asyncio.sleep(RENEW_S)
            with suppress(StoreUnavailable):
                await self.take()

    async def release(self) -> None:
        """Give the lease up at once, so that another replica can take it. Without Redis it expires by itself."""
        if self._renewal:
            await cancel([self._renewal])
        with suppress(StoreUnavailable):
            if self.held:
                async with self._connection.call("lease") as redis:
                    if await redis.get(self._key) == self._token:
                        await redis.delete(self._key)
        self.held = False


async def cancel(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Cancel tasks that may be using Redis, and wait for their end; their errors no longer matter."""
    # On Python 3.11 wait_for, which redis-py sends commands with, can lose a cancellation, so it is repeated.
    while pending := [task for task in tasks if not task.done()]:
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=CANCEL_AGAIN_S)
    await asyncio.gather(*tasks, return_exceptions=True)
