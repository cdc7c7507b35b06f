"""Who gets in: what is refused before any route is asked, and how long a connection may keep us waiting."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any, cast

import structlog
from aiohttp import hdrs, web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.web_protocol import RequestHandler

from ratesvc.render import problems
from ratesvc.web.reply import not_found, refusal

Respond = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

LINGER_S = 2.0  # what a refused body is still read for, so that its sender sees the refusal
PATIENCE_S = 10.0
SLOWEST_BYTES_A_S = 1000
LOOK_S = 2.0
LONGEST_BODY = 64 * 1024


class Connection(RequestHandler):
    """One client's connection: it says in our words what is no HTTP, and knows whether its client is too slow."""

    __slots__ = ("_owed", "_wire", "begun")

    def __init__(self, *args: Any, **options: Any) -> None:
        """As aiohttp's."""
        super().__init__(*args, **options)
        self.begun: float | None = None
        self._owed: tuple[float, int] | None = None
        self._wire: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport: aiohttp forgets it when it closes, long before a slow reader has taken everything."""
        self._wire = cast("asyncio.Transport", transport)
        super().connection_made(transport)

    def handle_error(
        self,
        request: web.BaseRequest,  # noqa: ARG002 -- aiohttp's signature
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 -- it repeats what was sent
    ) -> web.StreamResponse:
        """A problem document, and the end of the connection; aiohttp would log a page for each."""
        if status == problems.MALFORMED.status:
            return _closing(problems.MALFORMED, _TOO_LONG if isinstance(exc, LineTooLong) else _MALFORMED)
        structlog.get_logger("ratesvc").error("request_failed", exc_info=exc)
        return _closing(problems.INTERNAL, "The answer could not be made.")

    def is_too_slow(self, now: float) -> bool:
        """Whether a request stays unfinished, or an answer untaken, for longer than anybody honest needs."""
        return (self.begun is not None and now - self.begun > PATIENCE_S) or self._is_untaken(now)

    def _is_untaken(self, now: float) -> bool:
        left = self._wire.get_write_buffer_size() if self._wire else 0
        if not left:
            self._owed = None
            return False
        since, owed = self._owed = self._owed or (now, left)
        if now - since < PATIENCE_S:
            return False
        self._owed = (now, left)
        return left > owed - SLOWEST_BYTES_A_S * PATIENCE_S

    def hang_up(self) -> None:
        """At once, by a reset: the kernel too forgets what is still to be sent."""
        if self._wire is None:
            return
        end = self._wire.get_extra_info("socket")
        if end is not None:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._wire.abort()


_MALFORMED = "This is not a request of HTTP/1.1 (RFC 9112)."
_TOO_LONG = "A request line and each header take 8190 bytes."


class Watch:
    """Looks at every connection now and then and ends those of clients that are too slow."""

    def __init__(self, server: web.Server) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._next = self._loop.call_later(LOOK_S, self._look)

    def _look(self) -> None:
        now = self._loop.time()
        for connection in self._server.connections:
            if isinstance(connection, Connection) and connection.is_too_slow(now):
                connection.hang_up()
        self._next = self._loop.call_later(LOOK_S, self._look)

    def close(self) -> None:
        """Look no more."""
        self._next.cancel()


def guarded(handler: Respond) -> Respond:
    """The handler for what it understands: no body, no expectation, a target that is a path or an address."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        if request.method == hdrs.METH_CONNECT or request.raw_path == "*":
            return await _ended(not_found, request)
        if hdrs.EXPECT in request.headers:
            return _closing(problems.EXPECTATION, "There is nothing to wait for: bodies are refused.")
        if request.body_exists:
            return await _with_body(request, handler)
        return await handler(request)

    return answer


async def _with_body(request: web.BaseRequest, handler: Respond) -> web.StreamResponse:
    """What would write is told so; a body elsewhere, or a long one, is refused as such. It is not read."""
    length = request.content_length
    if length is None or length > LONGEST_BODY or request.method in ("GET", "HEAD", "OPTIONS"):
        return _closing(problems.TOO_LARGE, "Requests here have no body.")
    return await _ended(handler, request)


async def _ended(handler: Respond, request: web.BaseRequest) -> web.StreamResponse:
    response = await handler(request)
    response.force_close()
    return response


def _closing(kind: problems.Problem, detail: str) -> web.Response:
    response = refusal(kind, detail)
    response.force_close()
    return response
