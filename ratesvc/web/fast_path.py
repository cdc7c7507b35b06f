"""The fast path: a remembered target is answered right after aiohttp's own parser, before task, Request and route.

Everything else goes the ordinary way, untouched: other methods, bodies, upgrades, pipelines, HTTP/1.0, a client that
closes or expects, a transport that is full, a replica that drains. It reads a few private names of aiohttp's protocol,
so it switches itself on only where they are the ones that it was tested with.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from functools import partial
from typing import Any

import aiohttp
from aiohttp import hdrs, web
from aiohttp.http import HttpVersion11, RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD
from aiohttp.web_protocol import RequestHandler

from ratesvc.service.app import Service
from ratesvc.web.answer import Answer, write
from ratesvc.web.connections import Connection, Watch, guarded

TESTED = "3.14."
NAMES = ("_waiter", "_messages", "_parser", "_keepalive_timeout", "_next_keepalive_close_time")
OPTIONS = ("access_log", "keepalive_timeout", "lingering_time")


class Runner(web.AppRunner):
    """An application's runner whose connections are guarded, and take the fast path where it is known to be safe."""

    def __init__(self, app: web.Application, service: Service, **options: Any) -> None:
        """`options` are aiohttp's."""
        super().__init__(app, **options)
        self._service = service
        self._options = {name: options[name] for name in OPTIONS if name in options}
        self._watch: Watch | None = None
        # Only the ordinary path writes the access log.
        self.is_fast = is_known() and not service.settings.log.access

    async def setup(self) -> None:
        """Before the first site."""
        await super().setup()
        server = super().server
        assert server is not None  # noqa: S101 -- just made
        server.request_handler = guarded(server.request_handler)
        self._watch = Watch(server)

    async def cleanup(self) -> None:
        """Finish what is in flight."""
        if self._watch:
            self._watch.close()
        await super().cleanup()

    @property
    def ordinary(self) -> web.Server:
        """aiohttp's own server; only after `setup`."""
        server = super().server
        assert server  # noqa: S101 -- said above
        return server

    @property
    def server(self) -> Any:
        """What makes a protocol for each connection."""
        server = super().server
        return server and partial(self._connected, server)

    def _connected(self, server: web.Server) -> RequestHandler:
        protocol = Connection(server, loop=asyncio.get_running_loop(), **self._options)
        parser = _Parser(protocol, protocol._parser, server, self._service, is_fast=self.is_fast)
        protocol._parser = parser  # type: ignore[assignment] # it passes on what it lacks
        return protocol


def is_known() -> bool:
    """Whether aiohttp's internals are the ones that this module was tested with."""
    return aiohttp.__version__.startswith(TESTED) and all(hasattr(RequestHandler, name) for name in NAMES)


class _Parser:
    """aiohttp's parser of one connection, which sees what it parsed first."""

    def __init__(
        self, protocol: Connection, parser: Any, server: web.Server, service: Service, *, is_fast: bool
    ) -> None:
        self._protocol = protocol
        self._parser = parser
        self._feed = parser.feed_data
        self._server = server
        self._service = service
        self._is_fast = is_fast
        self._time = asyncio.get_running_loop().time

    def __getattr__(self, name: str) -> Any:
        return getattr(self._parser, name)

    def feed_data(self, data: bytes) -> tuple[Any, bool, bytes]:
        """What is left for the ordinary path: messages, whether the connection is upgraded, and bytes behind that."""
        found: tuple[Any, bool, bytes] = self._feed(data)
        messages, upgraded, tail = found
        protocol = self._protocol
        protocol.begun = None if messages else protocol.begun or self._time()
        if len(messages) != 1 or not self._is_fast or upgraded or messages[0][1] is not EMPTY_PAYLOAD:
            return found
        message: RawRequestMessage = messages[0][0]
        now, transport = self._service.clock(), protocol.transport
        publication = self._service.served(now)
        answer: Answer | None = publication.answers.get(message.path) if publication else None
        if answer is None or transport is None or not self._is_plain(message):
            return found
        self._send(answer, message, transport, now)
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
            and hdrs.EXPECT not in message.headers
        )

    def _send(self, answer: Answer, message: RawRequestMessage, transport: asyncio.Transport, now: datetime) -> None:
        status, encoding = answer.choose(message.headers)
        content = b"" if status == 304 else answer.body.encoded(encoding)
        write(transport, answer.head(now, status, encoding), content)
        if answer.route:
            answer.route.add_quick(status)
        self._parser.message_consumed()
        self._server.requests_count += 1
        self._protocol._next_keepalive_close_time = self._time() + self._protocol._keepalive_timeout
