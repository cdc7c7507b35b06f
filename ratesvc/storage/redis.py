"""The way to Redis: how we connect, what counts as gone, and the breaker that keeps anyone from waiting for it."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar, cast
from uuid import uuid4

from redis import exceptions as redis_errors
from redis.asyncio import (
    BlockingConnectionPool,
    Redis,
    RedisCluster,
    Sentinel,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.lock import Lock
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from ratesvc.errors import StoreUnavailable
from ratesvc.storage.address import TLS_OPTIONS, RedisAddress

T = TypeVar("T")

ANSWER_TIMEOUT_S = 0.4
SENTINEL_TIMEOUT_S = 0.12
PROBE_TIMEOUT_S = 0.45
PROBE_AGAIN_S = 1.0
QUEUE_S = 0.1
MOST_CONNECTIONS = 16

# redis-py's TimeoutError is not its ConnectionError, RedisClusterException is not a RedisError, sockets raise OSError.
TROUBLE = (redis_errors.RedisError, redis_errors.RedisClusterException, OSError)
_BELOW = frozenset(("redis", "hiredis", "uvloop", "asyncio"))
_KINDS: tuple[tuple[type[Exception], str], ...] = (
    (redis_errors.AuthenticationError, "auth"),
    (redis_errors.AuthorizationError, "auth"),
    (redis_errors.NoPermissionError, "auth"),
    (redis_errors.BusyLoadingError, "loading"),
    (redis_errors.OutOfMemoryError, "memory"),
    (redis_errors.ReadOnlyError, "readonly"),
    (redis_errors.InvalidResponse, "answer"),
    (redis_errors.TimeoutError, "timeout"),
    (TimeoutError, "timeout"),
    (redis_errors.ClusterError, "connection"),
    (redis_errors.RedisClusterException, "connection"),
    (redis_errors.ConnectionError, "connection"),
    (redis_errors.RedisError, "refused"),
    (OSError, "connection"),
    (RuntimeError, "connection"),
)
GONE = frozenset(("auth", "loading", "timeout", "connection", "answer"))


@dataclass(frozen=True, slots=True)
class Asked:
    """What one question to Redis took; `trouble` is the StoreUnavailable that came of it.

    `refusing` says that Redis refused a command and has not been seen to take a write since.
    """

    operation: str
    seconds: float
    trouble: StoreUnavailable | None
    refusing: bool = False


def connect(url: str) -> Redis:
    """A client that fails fast: short timeouts, one retry for a connection that died unnoticed, a bounded pool."""
    address = RedisAddress.from_url(url)
    options = _options(address)
    if address.kind == "cluster":
        nodes = [ClusterNode(host, port) for host, port in address.nodes]
        cluster = RedisCluster(startup_nodes=nodes, max_connections=MOST_CONNECTIONS, ssl=address.tls, **options)
        # It has the same commands, without a common type.
        return cast("Redis", cluster)
    if address.kind == "sentinel":
        return _by_sentinel(address, options)
    if address.kind == "socket":
        options |= {"connection_class": UnixDomainSocketConnection, "path": address.path}
    else:
        host, port = address.nodes[0]
        options |= {"host": host, "port": port, **({"connection_class": SSLConnection} if address.tls else {})}
    pool = BlockingConnectionPool(max_connections=MOST_CONNECTIONS, timeout=QUEUE_S, db=address.db, **options)
    return Redis.from_pool(pool)


def _options(address: RedisAddress) -> dict[str, Any]:
    tls = {name: address.option(name) for name in TLS_OPTIONS if address.tls and address.option(name)}
    return {
        "username": address.username,
        "password": address.password,
        "socket_timeout": ANSWER_TIMEOUT_S,
        "socket_connect_timeout": ANSWER_TIMEOUT_S,
        "client_name": "ratesvc",
        # A timeout is not tried again: it has cost enough.
        "retry": Retry(NoBackoff(), 1, supported_errors=(redis_errors.ConnectionError,)),
        **tls,
    }


def _by_sentinel(address: RedisAddress, options: dict[str, Any]) -> Redis:
    own = {
        **options,
        "username": address.option("sentinel_username"),
        "password": address.option("sentinel_password"),
        "socket_timeout": SENTINEL_TIMEOUT_S,
        "socket_connect_timeout": SENTINEL_TIMEOUT_S,
        "ssl": address.tls,
    }
    sentinel = cast("Any", Sentinel)(address.nodes, sentinel_kwargs=own, ssl=address.tls, db=address.db, **options)
    return cast("Redis", sentinel.master_for(address.service, max_connections=MOST_CONNECTIONS))


def _ignore(_: Asked) -> None:
    return


class Link:
    """One Redis behind a breaker: when it has not answered, everyone is refused at once until a probe succeeds."""

    def __init__(self, url: str, tell: Callable[[Asked], None] = _ignore) -> None:
        """Nothing is asked yet; `tell` hears of every question. Raises ValueError as RedisAddress does."""
        self.client = connect(url)
        self.up = False
        self.refusing = False
        self._secrets = RedisAddress.from_url(url).secrets
        self._tell = tell
        self._again_at = float("-inf")
        self._reason = "Redis did not answer"
        self._probing = asyncio.Lock()

    async def close(self) -> None:
        """Close every connection. A Redis that does not answer in time is left as it is: nothing more is asked."""
        with suppress(*TROUBLE):
            await self.client.aclose()
        if isinstance(self.client, RedisCluster):
            # After a trouble redis-py's own closing leaves all open: it would look for the nodes anew first.
            for nodes in ("nodes_cache", "startup_nodes"):
                with suppress(*TROUBLE):
                    await self.client.nodes_manager.aclose(nodes)

    @asynccontextmanager
    async def answering(self, operation: str) -> AsyncIterator[Redis]:
        """The client to ask; whatever a missing Redis raises becomes StoreUnavailable. A bug of ours stays one."""
        begun = time.monotonic()

        def tell(trouble: StoreUnavailable | None) -> None:
            self._tell(Asked(operation, time.monotonic() - begun, trouble, self.refusing))

        try:
            await self._let_pass()
            yield self.client
        except StoreUnavailable as error:
            tell(error)
            raise
        except Exception as error:
            if not _is_trouble(error):
                raise
            trouble = StoreUnavailable(f"Redis: {self._told(error)}", kind_of(error))
            self._reason = str(trouble).rstrip(".")
            await self._note(error, trouble.kind)
            tell(trouble)
            # Without its cause: a traceback would show what was taken out here.
            raise trouble from None
        # Who was cancelled meanwhile was not answered, which says nothing of Redis.
        tell(None)

    async def _let_pass(self) -> None:
        if not self.up:
            async with self._probing:
                await self._probe()

    async def _probe(self) -> None:
        """One asks whether Redis is back; those who came meanwhile wait for that, and nobody for a second after."""
        if self.up:
            return
        if time.monotonic() < self._again_at:
            raise StoreUnavailable(f"{self._reason}; it is asked again every second", "open")
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            await self.client.ping()
        self.up = True

    async def _note(self, error: Exception, kind: str) -> None:
        # A Redis that forbids this user one command still answers the others.
        if kind in GONE and not isinstance(error, redis_errors.NoPermissionError):
            self.up = False
            self._again_at = time.monotonic() + PROBE_AGAIN_S
        else:
            self.refusing = True
        # A demoted master, or a stream of answers that is out of step: the next command must use a new connection.
        if kind in ("readonly", "answer") and isinstance(self.client, Redis):
            with suppress(*TROUBLE):
                await self.client.connection_pool.disconnect(inuse_connections=False)

    def _told(self, error: Exception) -> str:
        # Redis repeats the arguments of a command that it does not know, which AUTH with a damaged byte is.
        text = f"{type(error).__name__}: {error}"[:300]
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


def _is_trouble(error: Exception) -> bool:
    """Whether Redis or the connection failed; otherwise the bug is ours.

    A damaged answer makes redis-py's parser raise TypeError and others, a closed transport makes uvloop raise
    RuntimeError. So an error that was raised below our code counts as theirs, except one about our arguments.
    """
    if isinstance(error, TROUBLE):
        return not isinstance(error, redis_errors.DataError)
    modules = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    known = [module for module in modules if module.partition(".")[0] in _BELOW | {"ratesvc"}]
    return bool(known) and not known[-1].startswith(("ratesvc.", "redis.commands."))


def shaped(answer: Any, kind: type[T], length: int | None = None) -> T:
    """The answer, checked for its type and length: one damaged byte changes them. Raises InvalidResponse."""
    if not isinstance(answer, kind) or (length is not None and len(cast("list[Any]", answer)) != length):
        raise redis_errors.InvalidResponse(f"{type(answer).__name__} in the place of {kind.__name__}")
    return answer


def kind_of(error: Exception) -> str:
    """What sort of trouble it is, as StoreUnavailable has it."""
    if str(error).startswith("WRONGTYPE"):
        return "type"
    return next((kind for family, kind in _KINDS if isinstance(error, family)), "answer")


class Lease:
    """Whose turn it is. Saves downloads; never needed for correctness, since every write is idempotent."""

    def __init__(self, link: Link, key: str) -> None:
        self._link = link
        self._key = key
        self._lock = Lock(link.client, key, thread_local=False)
        self._token = uuid4().hex.encode()

    @property
    def held(self) -> bool:
        """Whether this replica took it and has not given it up; it may have run out."""
        return self._lock.local.token is not None

    async def take(self, ttl_s: float) -> bool:
        """Whether it is this replica's turn, for so long. Raises StoreUnavailable."""
        async with self._link.answering("lease") as redis:
            if self.held:
                try:
                    return bool(await self._lock.extend(ttl_s, replace_ttl=True))
                except redis_errors.LockError:
                    self._lock.local.token = None
            self._lock.timeout = ttl_s
            if await self._lock.acquire(blocking=False, token=self._token):
                return True
            if await redis.pttl(self._key) == -1:
                # Ours always run out: a foreign value of any type under our key must not stop the polls for ever.
                await redis.delete(self._key)
            elif await redis.get(self._key) == self._token:
                # Redis took it from us, and its answer was lost.
                self._lock.local.token = self._token
                return bool(await self._lock.extend(ttl_s, replace_ttl=True))
            return False

    async def keep(self, ttl_s: float) -> None:
        """Prolong it if it is held, so that no other replica asks in between. Raises StoreUnavailable."""
        if self.held:
            await self.take(ttl_s)

    async def release(self) -> None:
        """Let another replica have its turn; silent when Redis is gone, since it expires anyway."""
        try:
            if self.held:
                async with self._link.answering("lease"):
                    await self._give_up()
        except StoreUnavailable:
            self._lock.local.token = None

    async def _give_up(self) -> None:
        # One that ran out, or was flushed away, is another's already.
        with suppress(redis_errors.LockError):
            await self._lock.release()
