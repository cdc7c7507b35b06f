"""A finished body on its way out: its caching headers, validators and encodings, and head and body in one write."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter
from multidict import CIMultiDictProxy

from ratesvc.bank.client import DEMO_HEADER
from ratesvc.domain.rates import Snapshot
from ratesvc.domain.workdays import ONE_DAY, at, moscow_day
from ratesvc.service.publication import Body
from ratesvc.service.telemetry import Route

MIDNIGHT = datetime.min.time()
RETRY_AFTER = "30"
"""After 503, in seconds."""
LONG = 64 * 1024
SECOND = timedelta(seconds=1)
LONG_AGO = datetime(1, 1, 1, tzinfo=UTC)

# On every answer of every status; a browser of any site may read all of it.
COMMON = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "*",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Server": "ratesvc",
}


@dataclass(frozen=True, slots=True)
class Caching:
    """How long an answer may be kept: fresh, then stale while it is asked for again, then stale while we are down."""

    max_age_s: int
    swr_s: int
    sie_s: int
    immutable: bool = False

    def header(self, now: datetime, until: datetime | None) -> str:
        """Cache-Control whose max-age and stale-while-revalidate never cross `until`, the next moment of change."""
        left = self.max_age_s + self.swr_s if until is None else max(0, int((until - now).total_seconds()))
        max_age = min(self.max_age_s, left)
        swr = min(self.swr_s, left - max_age)
        if self.immutable:
            return f"public, max-age={max_age}, immutable"
        return f"public, max-age={max_age}, stale-while-revalidate={swr}, stale-if-error={self.sie_s}"


RATES = Caching(60, 600, 86400)
FOR_EVER = Caching(31536000, 0, 31536000, immutable=True)
WIDGET = Caching(300, 3600, 604800)
CARD = Caching(900, 3600, 604800)
SETTLED = Caching(86400, 600, 86400)
HOURLY = Caching(3600, 86400, 604800)
NO_STORE = None


def changes_at(snapshot: Snapshot, now: datetime) -> datetime:
    """The next moment at which today's answer changes: the publication that is due, or Moscow midnight."""
    midnight = at(moscow_day(now) + ONE_DAY, MIDNIGHT)
    due = snapshot.next_expected_at
    return due if now < due < midnight else midnight


@dataclass(slots=True)
class Answer:
    """A body, and all that its head needs. One that changes with today's rates names their `snapshot`.

    `asked` counts how often it was sent.
    """

    body: Body
    caching: Caching | None
    snapshot: Snapshot | None = None
    status: int = 200
    demo: bool = False
    route: Route | None = None
    asked: int = 0
    _heads: dict[tuple[int, str], bytes] = field(default_factory=dict)
    _since: datetime = LONG_AGO
    _until: datetime = LONG_AGO
    _dated: float = 0.0

    def head(self, now: datetime, status: int, encoding: str) -> bytes:
        """Status line and headers without the empty line at the end; written anew each second."""
        # Two clocks: the demo's stands still, and Date is the true time.
        if not (self._since <= now < self._until and time.time() < self._dated):
            self._heads.clear()
            self._since = now.replace(microsecond=0)
            self._until = self._since + SECOND
            self._dated = int(time.time()) + 1
        found = self._heads.get((status, encoding))
        if found is None:
            found = self._heads[status, encoding] = self._write_head(now, status, encoding)
        return found

    def _write_head(self, now: datetime, status: int, encoding: str) -> bytes:
        headers = {**COMMON, **self.headers(now, encoding), "Date": formatdate(time.time(), usegmt=True)}
        if status == 304:
            headers.pop("Content-Encoding", None)
        else:
            headers["Content-Type"] = self.body.content_type
            headers["Content-Length"] = str(len(self.body.encoded(encoding)))
        lines = [
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        return "\r\n".join(lines).encode("latin-1") + b"\r\n"

    def headers(self, now: datetime, encoding: str) -> dict[str, str]:
        """What caches and validators need to know."""
        headers = dict(self.body.headers)
        if self.caching is None:
            headers["Cache-Control"] = "no-store"
        else:
            until = changes_at(self.snapshot, now) if self.snapshot else None
            headers |= {"Cache-Control": self.caching.header(now, until), "Vary": "Accept-Encoding"}
            headers["ETag"] = self.body.etag(encoding)
        if encoding != "identity":
            headers["Content-Encoding"] = encoding
        if self.status == 503:
            headers["Retry-After"] = RETRY_AFTER
        if self.demo:
            headers[DEMO_HEADER] = "recorded rates, stopped clock"
        return headers

    def choose(self, headers: CIMultiDictProxy[str]) -> tuple[int, str]:
        """The status, 304 when the client has it already, and the encoding that it prefers."""
        self.asked += 1
        # Several lines of a header are one list (RFC 9110, 5.3).
        accepted, tags = headers.getall(hdrs.ACCEPT_ENCODING, ()), headers.getall(hdrs.IF_NONE_MATCH, ())
        encoding = preferred(",".join(accepted), self.body.offered) if accepted else "identity"
        return (304 if tags and self.status == 200 and has_it(",".join(tags), self.body) else self.status), encoding


class Ready(web.StreamResponse):
    """An answer sent to one client in a single write, past aiohttp's own making of headers."""

    def __init__(self, answer: Answer, request: web.BaseRequest, now: datetime, *, closing: bool = False) -> None:
        status, encoding = answer.choose(request.headers)
        super().__init__(status=status)
        head = answer.head(now, status, encoding)
        empty = status == 304 or request.method == hdrs.METH_HEAD
        self._content = b"" if empty else answer.body.encoded(encoding)
        self._keep_alive = request.keep_alive and not closing
        self._head = head + _connection(request, self._keep_alive)

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Write it. Raises ConnectionError when the client has gone."""
        protocol, transport = request.protocol, request.transport
        if transport is None:
            raise ConnectionResetError("the client has gone")
        write(transport, self._head, self._content)
        if protocol.writing_paused:
            await protocol._drain_helper()  # noqa: SLF001 -- its public way is a StreamWriter, which is what is saved
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to write."""


def write(transport: asyncio.Transport, head: bytes, content: bytes) -> None:
    """One system call; long bodies are not copied for it."""
    if len(content) > LONG:
        transport.writelines([head, b"\r\n", content])
    else:
        transport.write(b"%b\r\n%b" % (head, content))


def _connection(request: web.BaseRequest, keep_alive: bool) -> bytes:
    if not keep_alive:
        return b"Connection: close\r\n"
    return b"" if request.version >= (1, 1) else b"Connection: keep-alive\r\n"


@lru_cache(maxsize=512)
def preferred(accepted: str, offered: tuple[str, ...]) -> str:
    """The offered encoding with the highest weight, ours first among equals (RFC 9110, 12.5.3)."""
    weights: dict[str, float] = {}
    for part in accepted.lower().split(","):
        name, _, parameter = part.strip().partition(";")
        weights[name.strip()] = _weight(parameter)
    default = weights.get("*", 0.0)
    usable = [(weights.get(name, default), name) for name in offered if name != "identity"]
    best = max(usable, key=lambda pair: pair[0], default=(0.0, "identity"))
    identity = weights.get("identity", 0.0)
    return best[1] if best[0] > 0 and best[0] >= identity else "identity"


def _weight(parameter: str) -> float:
    name, _, value = parameter.strip().partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0


def has_it(if_none_match: str, body: Body) -> bool:
    """Weak comparison of a list: any encoding of the same bytes will do (RFC 9110, 13.1.2)."""
    return not body.tags.isdisjoint(map(str.strip, if_none_match.split(",")))
