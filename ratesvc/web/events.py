"""/v1/events: the feed of events as Server-Sent Events."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

from aiohttp import hdrs, web

from ratesvc.domain.events import Place
from ratesvc.render import json
from ratesvc.render.page import Site
from ratesvc.service.app import Service
from ratesvc.web.params import StrictParams
from ratesvc.web.responses import COMMON, Handler

HEARTBEAT_S = 15.0
RETRY_S = 3.0
FULL_RETRY_S = 30.0
MOST_STREAMS = 1000
BUFFER_BYTES = 16 * 1024

HEADERS = {
    **COMMON,
    "Content-Type": json.EVENT_STREAM,
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",  # nginx would keep events back until its buffer is full
}


def routes(service: Service, site: Site) -> dict[str, Handler]:
    """Path → handler."""
    streams: set[web.RequestHandler] = set()

    def hang_up_on_stuck_readers() -> None:
        # A reader that reads nothing would delay the stop.
        for connection in tuple(streams):
            if connection.transport is not None and connection.writing_paused:
                connection.transport.abort()

    service.telemetry.metrics.watch("event_streams", "Open streams of events.", lambda: len(streams))
    service.events.at_close(hang_up_on_stuck_readers)

    async def events(request: web.Request) -> web.StreamResponse:
        StrictParams(request, "/v1/events")
        if request.method == hdrs.METH_HEAD:
            return web.Response(headers=HEADERS)
        if len(streams) >= MOST_STREAMS or service.draining or service.events.end is None:
            # A browser gives up for ever at any status but 200; a finished stream makes it return after `retry`.
            retry = json.goodbye(RETRY_S if service.draining else FULL_RETRY_S)
            return web.Response(body=retry, headers=HEADERS)
        connection = request.protocol
        streams.add(connection)
        try:
            return await _stream(request, service, site)
        finally:
            streams.discard(connection)

    return {"/v1/events": events}


async def _stream(request: web.Request, service: Service, site: Site) -> web.StreamResponse:
    """Send events until the reader leaves, the connection limits find it too slow, or this replica stops.

    A reader has a place and no queue, so that a slow one takes no memory.
    """
    last = request.headers.get("Last-Event-ID")
    place = Place.from_id(last) if last else service.events.end
    response = web.StreamResponse(headers=HEADERS)
    response.force_close()
    _keep_buffers_small(request)
    writer = await response.prepare(request)
    assert writer is not None  # noqa: S101 -- None would mean that it was prepared before
    chunk = json.opening(place, RETRY_S)
    with suppress(ConnectionError):
        while chunk:
            await writer.write(chunk)
            await writer.drain()
            place, chunk = await _next(service, site, place)
    return response


def _keep_buffers_small(request: web.Request) -> None:
    """A reader that reads nothing is then noticed after a few events, not after megabytes."""
    transport = request.transport
    if transport is None:
        return
    transport.set_write_buffer_limits(high=BUFFER_BYTES)
    if connection := transport.get_extra_info("socket"):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)


async def _next(service: Service, site: Site, place: Place | None) -> tuple[Place | None, bytes]:
    """The next events and the place of the last, or a heartbeat; nothing when the feed is closed."""
    try:
        async with asyncio.timeout(HEARTBEAT_S):
            events = await service.events.after(place)
    except TimeoutError:
        return place, json.HEARTBEAT
    chunk = b"".join(json.event(event, site.public_url, demo=service.demo) for event in events)
    return (events[-1].place if events else place), chunk
