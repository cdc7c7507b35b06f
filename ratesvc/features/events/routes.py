"""/v1/events: events as Server-Sent Events, https://html.spec.whatwg.org/multipage/server-sent-events.html."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import lru_cache, partial
from typing import Any

from aiohttp import hdrs, web

from ratesvc.features.events.feed import EventFeed
from ratesvc.features.events.place import Event, Place
from ratesvc.render.json import encode
from ratesvc.render.openapi import Site
from ratesvc.service.app import Service
from ratesvc.web.features import Feature, Features
from ratesvc.web.params import StrictParams
from ratesvc.web.problems import COMMON
from ratesvc.web.responses import Handler

HEARTBEAT_S = 15.0
RETRY_S = 3.0
FULL_RETRY_S = 30.0
MOST_STREAMS = 1000
HEARTBEAT = b":\n\n"
"""A comment: readers ignore it, and proxies see that the stream is alive."""

HEADERS = {
    **COMMON,
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",  # nginx would keep events back until its buffer is full
}


def routes(service: Service, site: Site, _: Features) -> dict[str, Handler]:
    """Path → handler."""
    feed = EventFeed(service.history)
    if current := service.current_snapshot():
        feed.publish(current)
    service.on_publication.append(feed.publish)
    service.on_drain.append(feed.close)
    service.telemetry.metrics.gauges.append(lambda: [("event_streams", "Open streams of events.", feed.streams)])
    return {"/v1/events": partial(_events, feed, service, site)}


async def _events(feed: EventFeed, service: Service, site: Site, request: web.Request) -> web.StreamResponse:
    StrictParams(request, "/v1/events")
    if request.method == hdrs.METH_HEAD:
        return web.Response(headers=HEADERS)
    if feed.streams >= MOST_STREAMS or service.draining or feed.end is None:
        # A browser gives up for ever at any status but 200; a finished stream makes it return after `retry`.
        retry = _pause(RETRY_S if service.draining else FULL_RETRY_S)
        return web.Response(body=retry, headers=HEADERS)
    feed.streams += 1
    try:
        return await _stream(request, feed, site)
    finally:
        feed.streams -= 1


async def _stream(request: web.Request, feed: EventFeed, site: Site) -> web.StreamResponse:
    """Send events until the reader leaves, the connection limits find it too slow, or this replica stops.

    A reader has a place and no queue, so that a slow one takes no memory.
    """
    last = request.headers.get("Last-Event-ID")
    place = Place.from_id(last) if last else feed.end
    response = web.StreamResponse(headers=HEADERS)
    response.force_close()
    await response.prepare(request)
    chunk = _pause(RETRY_S, place)
    with suppress(ConnectionError):
        while chunk:
            await response.write(chunk)
            place, chunk = await _next(feed, site, place)
    return response


async def _next(feed: EventFeed, site: Site, place: Place | None) -> tuple[Place | None, bytes]:
    """The next events and the place of the last, or a heartbeat; nothing when the feed is closed."""
    try:
        async with asyncio.timeout(HEARTBEAT_S):
            events = await feed.after(place)
    except TimeoutError:
        return place, HEARTBEAT
    chunk = b"".join(_written(event, site) for event in events)
    return (events[-1].place if events else place), chunk


@lru_cache
def _written(news: Event, site: Site) -> bytes:
    """One event. Its address names the revision, so that no cache on the way answers with an older one.

    A `reset` is about no sheet; its address is that of today's rates.
    """
    url = f"{site.base}/v1/rates" if site.base else "rates"
    document: dict[str, Any] = {"url": url}
    if news.sheet:
        day, number, _ = news.sheet
        document = {"effective_date": day, "revision": number, "url": f"{url}/{day.isoformat()}?revision={number}"}
    if site.demo:
        document["demo"] = True
    return f"event: {news.kind}\nid: {news.place}\n".encode() + b"data: " + encode(document) + b"\n\n"


def _pause(retry_s: float, place: Place | None = None) -> bytes:
    """The pause before a reconnection. A new reader gets its place, too: an id without an event."""
    own_id = f"id: {place}\n" if place else ""
    return f"retry: {retry_s * 1000:.0f}\n{own_id}\n".encode()


FEATURE = Feature("events", routes)
