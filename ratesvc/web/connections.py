"""Ends slow clients, and refuses some requests before the router sees them."""

from __future__ import annotations

import asyncio
import resource
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import structlog
from aiohttp import hdrs, web
from aiohttp.web_protocol import RequestHandler

from ratesvc.web.problems import EXPECTATION, INTERNAL, MALFORMED, TOO_LARGE, not_found, refusal
from ratesvc.web.responses import Recall, Respond

LINGER_S = 2.0
"""How long the body of a refused request is read, so that its sender sees the refusal."""
PATIENCE_S = 10.0
"""How long a new connection may stay silent, a request unfinished, or an answer unread."""
SLOWEST_BYTES_A_S = 1000
LOOK_S = 2.0
"""How often connections are checked."""
KERNEL_HOLDS = 64 * 1024
"""Bytes of an answer that wait in the kernel; every connection has this option from its listener."""
LONGEST_BODY = 64 * 1024
BACKLOG = 1024
FINISH_S = 5.0
KEEP_ALIVE_S = 75.0

_MALFORMED = "This is not an HTTP/1.1 request (RFC 9112) with at most 8190 bytes in its first line and in each header."


class Connection(RequestHandler):
    """One client's connection: measures how slow the client is, and answers malformed HTTP with a problem document."""

    __slots__ = ("_clock", "_unsent", "_wire", "is_answering", "silent", "unfinished_since")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.unfinished_since: float | None = None
        self.is_answering = False
        self.silent: dict[Connection, float] = {}
        """Connections of this listener that have sent nothing, the oldest first, and since when."""
        self._clock = asyncio.get_running_loop().time
        self._unsent: tuple[float, int] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport: aiohttp forgets it when it closes, long before a slow reader has taken everything."""
        self._wire = cast("asyncio.Transport", transport)
        self.silent[self] = self._clock()
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget it."""
        self.silent.pop(self, None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Note when a request began. The time of its answer does not count, because then the client waits for us."""
        if self.unfinished_since is None and data and not self.is_answering:
            self.unfinished_since = self._clock()
            self.silent.pop(self, None)
        super().data_received(data)

    def pause_writing(self) -> None:
        """Measure anew once the buffer is full."""
        self._unsent = None
        super().pause_writing()

    def resume_writing(self) -> None:
        """Measure anew once the client has taken a full buffer, because the next pieces of the answer fill it again."""
        self._unsent = None
        super().resume_writing()

    def handle_error(
        self,
        request: web.BaseRequest,  # noqa: ARG002 -- aiohttp's signature
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 -- it repeats what was sent
    ) -> web.StreamResponse:
        """A problem document, and the end of the connection; aiohttp would log a page for each."""
        if status == MALFORMED.status:
            response = refusal(MALFORMED, _MALFORMED)
        else:
            structlog.get_logger("ratesvc").error("request_failed", exc_info=exc)
            response = refusal(INTERNAL, "The service could not make the answer.")
        response.force_close()
        return response

    def is_too_slow(self, now: float) -> bool:
        """Whether the client sends a request, or takes an answer, more slowly than any honest client does."""
        left = self._wire.get_write_buffer_size()
        if not left:
            # The next request of a client that sends several at once is late only once the answer before is taken.
            self._unsent = None
            since = self.silent.get(self, self.unfinished_since)
            return since is not None and now - since > PATIENCE_S
        since, unsent = self._unsent = self._unsent or (now, left)
        if now - since < PATIENCE_S:
            return False
        self._unsent = (now, left)
        return left > unsent - SLOWEST_BYTES_A_S * PATIENCE_S

    def hang_up(self) -> None:
        """Reset the connection, so that the kernel drops unsent data, too."""
        self.silent.pop(self, None)
        if end := self._wire.get_extra_info("socket"):
            with suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._wire.abort()


@asynccontextmanager
async def accepting(
    app: web.Application,
    listener: socket.socket,
    recall: Recall = lambda _: None,
    install: Callable[[Connection, web.Server], None] | None = None,
    died: Callable[[str, BaseException], None] = lambda *_: None,
) -> AsyncIterator[None]:
    """Answer on this socket while the context lasts. At its end finish the answers that are being sent.

    `recall` gives answers for which the application is not called. `install` may change each new connection. `died`
    gets the name and the error of a check that failed; the next one follows.
    """
    # A client that leaves a stream gives up its place at once, by the cancellation of its handler.
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=FINISH_S, handler_cancellation=True)
    await runner.setup()
    server, loop = cast("web.Server", runner.server), asyncio.get_running_loop()
    server.request_handler = guarded(server.request_handler, recall)
    silent, files = dict[Connection, float](), resource.getrlimit(resource.RLIMIT_NOFILE)[0]

    def connect() -> Connection:
        limits = {"keepalive_timeout": KEEP_ALIVE_S, "lingering_time": LINGER_S}
        connection = Connection(server, loop=loop, access_log=None, **limits)
        connection.silent = silent
        # The process needs most of its files for readers and Redis.
        if len(silent) >= files / 4 and files != resource.RLIM_INFINITY:
            next(iter(silent)).hang_up()
        if install:
            install(connection, server)
        return connection

    # Else the kernel takes megabytes, and more only once a third is gone, so a slow reader would seem to take nothing.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, KERNEL_HOLDS)
    accepted = await loop.create_server(connect, sock=listener, backlog=BACKLOG)
    looking: asyncio.TimerHandle

    def look() -> None:
        nonlocal looking
        looking = loop.call_later(LOOK_S, look)
        try:
            for connection in server.connections:
                if isinstance(connection, Connection) and connection.is_too_slow(loop.time()):
                    connection.hang_up()
        except Exception as error:  # noqa: BLE001 -- a bug in a check must not be the end of all checks
            died("slow clients", error)

    look()
    try:
        yield
    finally:
        looking.cancel()
        accepted.close()
        await runner.cleanup()


def guarded(handler: Respond, recall: Recall) -> Respond:
    """What is recalled, else the handler. A body, an expectation, or no path and no address ends the connection."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        connection = cast("Connection", request.protocol)
        connection.unfinished_since, connection.is_answering = None, True
        try:
            if not (request.body_exists or hdrs.EXPECT in request.headers or _has_no_path(request)):
                return recall(request) or await handler(request)
            response = await _answer_to_unusual(request, handler)
            response.force_close()
            return response
        finally:
            connection.is_answering = False

    return answer


def _has_no_path(request: web.BaseRequest) -> bool:
    return request.method == hdrs.METH_CONNECT or request.raw_path == "*"


async def _answer_to_unusual(request: web.BaseRequest, handler: Respond) -> web.StreamResponse:
    if _has_no_path(request):
        return await not_found(request)
    if hdrs.EXPECT in request.headers:
        return refusal(EXPECTATION, "This service accepts no body, so it sends no 100 Continue.")
    # No body is read. A short one with a writing method gets the refusal of the method.
    length = request.content_length
    if length is None or length > LONGEST_BODY or request.method in ("GET", "HEAD", "OPTIONS"):
        return refusal(TOO_LARGE, "A request to this service must have no body.")
    return await handler(request)
