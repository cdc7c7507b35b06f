"""Server-Sent Events (https://html.spec.whatwg.org/multipage/server-sent-events.html): from an event to its bytes."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from ratesvc.domain.events import MOST_EVENTS, RESET, Event, Place
from ratesvc.render.api import encode

CONTENT_TYPE = "text/event-stream; charset=utf-8"
HEARTBEAT = b":\n\n"
"""A comment: nobody sees it, but proxies see that the stream is alive."""


@lru_cache(MOST_EVENTS)
def event(told: Event, public_url: str, *, demo: bool = False) -> bytes:
    """One event; its address names the revision, so that no cache on the way answers with an older one.

    A `reset` is about no sheet, and its address is that of today's rates.
    """
    day, number = told.place.key
    document: dict[str, Any] = {"url": f"{public_url}/v1/rates"}
    if told.kind != RESET:
        url = f"{public_url}/v1/rates/{day.isoformat()}?revision={number}"
        document = {"effective_date": day, "revision": number, "url": url}
    if demo:
        document["demo"] = True
    return f"event: {told.kind}\nid: {told.place}\n".encode() + b"data: " + encode(document) + b"\n\n"


def opening(place: Place | None, retry_s: float) -> bytes:
    """How soon to come back, and an id without an event: a reader who has heard nothing yet knows where to go on.

    None leaves the reader the id that it came with.
    """
    return goodbye(retry_s).removesuffix(b"\n") + (f"id: {place}\n\n".encode() if place else b"\n")


def goodbye(retry_s: float) -> bytes:
    """How soon to come back."""
    return f"retry: {retry_s * 1000:.0f}\n\n".encode()
