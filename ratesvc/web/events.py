"""/v1/events: the event log as Server-Sent Events."""

from __future__ import annotations

import asyncio
import socket

from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter

from ratesvc.domain.events import Place
from ratesvc.render import json
from ratesvc.render.widget import Site
from ratesvc.service.app import Service
from ratesvc.web.params import StrictParams
from ratesvc.web.responses import COMMON, Handler

HEARTBEAT_S = 15.0
SLOW_S = 10.0
RETRY_S = 3.0
FULL_RETRY_S = 30.0
MOST_STREAMS = 1000
BUFFER_BYTES = 16 * 1024
BATCH = 50

HEADERS = {
    **COMMON,
    "Content-Type": json.EVENT_STREAM,
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",  # nginx would keep events back until its buffer is full
}


def routes(service: Service, site: Site) -> dict[str, Handler]:
    """Path → handler."""
    streams: set[_Stream] = set()

    def hang_up_on_stuck_readers() -> None:
        for stream in tuple(streams):
            stream.hang_up_if_stuck()

    service.telemetry.metrics.watch("event_streams", "Open streams of events.", lambda: len(streams))
    service.event_log.at_close(hang_up_on_stuck_readers)

    async def events(request: web.Request) -> web.StreamResponse:
        StrictParams(request, "/v1/events")
        if request.method == hdrs.METH_HEAD:
            return web.Response(headers=HEADERS)
        if len(streams) >= MOST_STREAMS or service.draining or not service.event_log.log.known:
            # A browser gives up for ever at any status but 200; a finished stream makes it return after `retry`.
            retry = json.goodbye(RETRY_S if service.draining else FULL_RETRY_S)
            return web.Response(body=retry, headers=HEADERS)
        stream = _Stream(request, service, site)
        streams.add(stream)
        try:
            return await stream.run()
        finally:
            streams.discard(stream)

    return {"/v1/events": events}


class _Stream:
    """One reader. It has a place in the event log and no queue, so that a slow reader takes no memory."""

    def __init__(self, request: web.Request, service: Service, site: Site) -> None:
        self._request = request
        self._service = service
        self._site = site
        last = request.headers.get("Last-Event-ID")
        self._place = Place.from_id(last) if last else service.event_log.log.end
        self._sending = False

    async def run(self) -> web.StreamResponse:
        """Send events until the reader leaves or is too slow, or this replica stops."""
        response = web.StreamResponse(headers=HEADERS)
        response.force_close()
        self._keep_buffers_small()
        writer = await response.prepare(self._request)
        assert writer is not None  # noqa: S101 -- None would mean that it was prepared before
        try:
            is_known = self._service.event_log.log.knows(self._place)
            await self._send(writer, json.opening(self._place if is_known else None, RETRY_S))
            while chunk := await self._next():
                await self._send(writer, chunk)
        except ConnectionError:
            pass
        except TimeoutError:
            self._hang_up()
        return response

    def _keep_buffers_small(self) -> None:
        """A reader that reads nothing is then noticed after a few events, not after megabytes."""
        transport = self._request.transport
        if transport is None:
            return
        transport.set_write_buffer_limits(high=BUFFER_BYTES)
        if connection := transport.get_extra_info("socket"):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)

    async def _next(self) -> bytes:
        """The next events, or a heartbeat; nothing when the log is closed."""
        try:
            async with asyncio.timeout(HEARTBEAT_S):
                found = await self._service.event_log.after(self._place)
        except TimeoutError:
            return json.HEARTBEAT
        if not found:
            return b""
        batch = found[:BATCH]
        self._place = batch[-1].place
        demo = self._service.demo
        return b"".join(json.event(event, self._site.public_url, demo=demo) for event in batch)

    async def _send(self, writer: AbstractStreamWriter, chunk: bytes) -> None:
        """Raises TimeoutError when the reader is too slow, ConnectionError when it has gone."""
        self._sending = True
        async with asyncio.timeout(SLOW_S):
            await writer.write(chunk)
            await writer.drain()
        self._sending = False

    def hang_up_if_stuck(self) -> None:
        """Close the connection of a reader that reads nothing, so that it does not delay the stop."""
        if self._sending:
            self._hang_up()

    def _hang_up(self) -> None:
        if self._request.transport is not None:
            self._request.transport.abort()
