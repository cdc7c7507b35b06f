"""The fast path: a remembered target is answered right after aiohttp's own parser, before task, Request and route.

All other requests take the ordinary path: other methods, bodies, upgrades, pipelines, HTTP/1.0, `Connection: close`,
`Expect`, a full transport, a replica that drains. This module reads a few private names of aiohttp's protocol, so it is
installed only with the versions of aiohttp that it was tested with.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any, cast

import aiohttp
from aiohttp import hdrs, web
from aiohttp.http import HttpVersion11, RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD
from aiohttp.web_protocol import RequestHandler

from ratesvc.service.app import Service
from ratesvc.web.connections import Connection
from ratesvc.web.responses import FinishedAnswer, write

TESTED = "3.14."
NAMES = ("_waiter", "_messages", "_parser", "_keepalive_timeout", "_next_keepalive_close_time")


def is_known() -> bool:
    """Whether aiohttp's internals are the ones that this module was tested with."""
    return aiohttp.__version__.startswith(TESTED) and all(hasattr(RequestHandler, name) for name in NAMES)


def install(service: Service, connection: Connection, server: web.Server) -> None:
    """Let this connection take the fast path. Only where `is_known`."""
    parser = _Parser(service, connection, server)
    connection._parser = parser  # type: ignore[assignment] # it delegates the rest


class _Parser:
    """Wraps aiohttp's parser of one connection, and answers some of the requests that it parsed."""

    def __init__(self, service: Service, connection: Connection, server: web.Server) -> None:
        self._service = service
        self._connection = connection
        self._server = server
        self._parser = cast("Any", connection._parser)
        self._feed = self._parser.feed_data
        self._time = asyncio.get_running_loop().time

    def __getattr__(self, name: str) -> Any:
        return getattr(self._parser, name)

    def feed_data(self, data: bytes) -> tuple[Any, bool, bytes]:
        """What aiohttp's parser gives, without the messages that are answered here."""
        parsed: tuple[Any, bool, bytes] = self._feed(data)
        messages, upgraded, tail = parsed
        if len(messages) != 1 or upgraded or messages[0][1] is not EMPTY_PAYLOAD:
            return parsed
        message: RawRequestMessage = messages[0][0]
        now, transport = self._service.clock(), self._connection.transport
        publication = self._service.publish_if_due(now)
        answer: FinishedAnswer | None = publication.answers.get(message.path) if publication else None
        if answer is None or transport is None or not self._is_plain(message):
            return parsed
        self._send(answer, message, transport, now)
        return (), upgraded, tail

    def _is_plain(self, message: RawRequestMessage) -> bool:
        """Whether this is a plain GET, and the connection waits for nothing else and can take the whole answer."""
        connection = self._connection
        waiter = connection._waiter
        return (
            message.method == "GET"
            and message.version == HttpVersion11
            and not message.should_close
            and waiter is not None
            and not waiter.done()
            and not connection._messages
            and not connection.writing_paused
            and not self._service.draining
            and hdrs.EXPECT not in message.headers
        )

    def _send(
        self, answer: FinishedAnswer, message: RawRequestMessage, transport: asyncio.Transport, now: datetime
    ) -> None:
        status, encoding = answer.choose(message.headers, now)
        content = b"" if status == 304 else answer.body.encoded(encoding)
        write(transport, answer.head(status, encoding), content)
        answer.route.add(status)
        self._parser.message_consumed()
        self._server.requests_count += 1
        self._connection.unfinished_since = None
        self._connection._next_keepalive_close_time = self._time() + self._connection._keepalive_timeout
