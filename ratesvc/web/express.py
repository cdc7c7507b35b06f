"""The express path: a remembered target is answered right after aiohttp's own parser, before task, Request and route.

Everything else goes the ordinary way, untouched: other methods, bodies, upgrades, pipelines, HTTP/1.0, a client that
closes or expects, a transport that is full, a replica that drains. It reads a few private names of aiohttp's protocol,
so it switches itself on only where they are the ones that it was tested with.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.http import HttpVersion11, RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD
from aiohttp.web_protocol import RequestHandler

from ratesvc.service import Service
from ratesvc.web.answer import Answer, write

TESTED = "3.14."
NAMES = ("_waiter", "_messages", "_parser", "_keepalive_timeout", "_next_keepalive_close_time")


class Runner(web.AppRunner):
    """An application's runner whose connections take the express path where it is known to be safe."""

    def __init__(self, app: web.Application, service: Service, **options: Any) -> None:
        """`options` are aiohttp's."""
        super().__init__(app, **options)
        self._service = service
        # Only the ordinary path writes the access log.
        self.is_express = is_known() and not service.settings.log.access

    @property
    def server(self) -> Any:
        """What makes a protocol for each connection."""
        server = super().server
        return partial(_connection, server, self._service) if self.is_express and server else server


def _connection(server: web.Server, service: Service) -> RequestHandler:
    protocol = server()
    protocol._parser = _Parser(protocol, protocol._parser, server, service)  # type: ignore[assignment]
    return protocol


def is_known() -> bool:
    """Whether aiohttp's internals are the ones that this module was tested with."""
    return aiohttp.__version__.startswith(TESTED) and all(hasattr(RequestHandler, name) for name in NAMES)


class _Parser:
    """aiohttp's parser of one connection, which sees what it parsed first."""

    def __init__(self, protocol: RequestHandler, parser: Any, server: web.Server, service: Service) -> None:
        self._protocol = protocol
        self._parser = parser
        self._feed = parser.feed_data
        self._server = server
        self._service = service
        self._time = asyncio.get_running_loop().time

    def __getattr__(self, name: str) -> Any:
        return getattr(self._parser, name)

    def feed_data(self, data: bytes) -> tuple[Any, bool, bytes]:
        """What is left for the ordinary path: messages, whether the connection is upgraded, and bytes behind that."""
        found: tuple[Any, bool, bytes] = self._feed(data)
        messages, upgraded, tail = found
        if len(messages) != 1 or upgraded or messages[0][1] is not EMPTY_PAYLOAD:
            return found
        message: RawRequestMessage = messages[0][0]
        publication, transport = self._service.board.current, self._protocol.transport
        answer: Answer | None = publication.answers.get(message.path) if publication else None
        if answer is None or transport is None or not self._is_plain(message):
            return found
        self._send(answer, message, transport)
        return (), upgraded, tail

    def _is_plain(self, message: RawRequestMessage) -> bool:
        """A GET on a connection that waits for exactly this and can take the whole answer."""
        protocol = self._protocol
        waiter = protocol._waiter
        return (
            message.method == "GET"
            and message.version == HttpVersion11
            and not message.should_close
            and waiter is not None
            and not waiter.done()
            and not protocol._messages
            and not protocol.writing_paused
            and not self._service.draining
            and "Expect" not in message.headers
        )

    def _send(self, answer: Answer, message: RawRequestMessage, transport: asyncio.Transport) -> None:
        now = self._service.clock()
        status, encoding = answer.choose(message.headers)
        content = b"" if status == 304 else answer.body.encodings[encoding]
        write(transport, answer.head(now, status, encoding), content)
        if answer.route:
            answer.route.add_quick(status)
        self._parser.message_consumed()
        self._server.requests_count += 1
        self._protocol._next_keepalive_close_time = self._time() + self._protocol._keepalive_timeout
