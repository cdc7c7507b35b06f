"""What one HTTP answer of the Bank may be: how long, how late, and where it may lead."""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import parsedate_to_datetime

import aiohttp
from yarl import URL

from ratesvc.errors import SourceError

LONGEST_PAUSE_S = 600.0
DEMO_HEADER = "X-Ratesvc-Demo"
"""On every answer of a ratesvc that serves recorded figures."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one answer may take: bytes, seconds in all, and seconds of it to find and reach the host."""

    most_bytes: int
    timeout_s: float
    connect_s: float = 5.0


DAILY = Limits(512 * 1024, 15.0)
DYNAMIC = Limits(4 * 1024 * 1024, 60.0)


def redirected(url: URL, location: str) -> URL:
    """Where a redirect leads: on the same host, to the same port or from http to https. Raises SourceError."""
    target = url.join(URL(location))
    upgraded = url.scheme == "http" and target.scheme == "https"
    if target.host != url.host or not (target.origin() == url.origin() or upgraded):
        raise SourceError("redirect", f"to {str(target)[:120]}, another host, port or scheme")
    return target


async def body_of(response: aiohttp.ClientResponse, limits: Limits) -> bytes:
    """All of the body, within the limits. Raises SourceError."""
    if response.status != 200:
        beginning = await response.content.read(120)
        raise SourceError("status", f"{response.status}, beginning {beginning!r:.80}", _retry_after_s(response))
    if DEMO_HEADER in response.headers:
        # Kept, they would pass for rates for ever.
        raise SourceError("demo", "a ratesvc with --demo answers there, whose figures are recorded ones")
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("identity", ""):
        raise SourceError("encoded", f"Content-Encoding {encoding[:40]!r} though identity was asked for")
    parts: list[bytes] = []
    left = limits.most_bytes
    async for part in response.content.iter_any():
        left -= len(part)
        if left < 0:
            raise SourceError("oversize", f"more than {limits.most_bytes} bytes")
        parts.append(part)
    return b"".join(parts)


def _retry_after_s(response: aiohttp.ClientResponse) -> float | None:
    """What the mirror asks for, in seconds or as a date, which its own Date is compared with: its clock, not ours."""
    text = response.headers.get("Retry-After", "")
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), LONGEST_PAUSE_S)
    try:
        pause = parsedate_to_datetime(text) - parsedate_to_datetime(response.headers.get("Date", ""))
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(pause.total_seconds(), 0.0), LONGEST_PAUSE_S)
