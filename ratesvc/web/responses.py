"""Answers on their way out: caching headers, validators, encodings, one write for head and body, errors as problems."""

from __future__ import annotations

import asyncio
import sys
import time
import uuid
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Any

import structlog
from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter
from multidict import CIMultiDictProxy

from ratesvc.bank.client import DEMO_HEADER
from ratesvc.domain.rates import Snapshot
from ratesvc.domain.workdays import ONE_DAY, at, moscow_day
from ratesvc.errors import BadRequest, NotYetSet, RatesvcError, TooManyPoints, UnknownCurrency
from ratesvc.render import json
from ratesvc.render.json import PROBLEM_JSON, Problem, encode, moscow_time
from ratesvc.service.app import Service
from ratesvc.service.publication import LONG, Body
from ratesvc.service.telemetry import Route

MIDNIGHT = datetime.min.time()
RETRY_AFTER = "30"
"""After 503, in seconds."""
LONGEST_PATH = 200
LONGEST_GIVEN = 100
"""Of a parameter's name and value that a problem repeats."""
ID = web.RequestKey("id", str)
"""Of a request, where each gets a line in the log."""
SECOND = timedelta(seconds=1)
LONG_AGO = datetime(1, 1, 1, tzinfo=UTC)
METHODS = "GET, HEAD, OPTIONS"

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
    """How long caches keep an answer: fresh, then stale while they ask again, then stale while the service is down.

    An answer that `follows_rates` is never fresh across the next change of today's rates, and never shown after
    midnight, because it says "today".
    """

    max_age_s: int
    stale_while_revalidate_s: int
    stale_if_error_s: int
    follows_rates: bool = False
    immutable: bool = False

    def header(self, now: datetime, until: datetime | None, scope: str = "public") -> str:
        """Cache-Control that ends in time: fresh and revalidated before `until`, in case of errors before midnight."""
        left, today = (_left(now, until), _left(now, midnight(now))) if until else (sys.maxsize, sys.maxsize)
        max_age = min(self.max_age_s, left)
        if self.immutable:
            return f"{scope}, max-age={max_age}, immutable"
        stale = min(self.stale_while_revalidate_s, left - max_age)
        if_error = min(self.stale_if_error_s, today - max_age)
        return f"{scope}, max-age={max_age}, stale-while-revalidate={stale}, stale-if-error={if_error}"


RATES = Caching(60, 600, 86400, follows_rates=True)
WIDGET = Caching(300, 3600, 86400, follows_rates=True)
CARD = Caching(900, 3600, 86400, follows_rates=True)
SETTLED = Caching(86400, 600, 86400)
HOURLY = Caching(3600, 86400, 604800)
REFERENCE = Caching(300, 0, 86400)
MANIFEST = Caching(300, 3600, 604800)
ICON = Caching(604800, 0, 604800)
FOR_EVER = Caching(31536000, 0, 31536000, immutable=True)
NO_STORE = None
DATED = (RATES, WIDGET, CARD, SETTLED)
"""They have a Last-Modified: that of the publication, with which alone their bytes change."""


def changes_at(snapshot: Snapshot, now: datetime) -> datetime:
    """The next moment at which today's answer changes: the publication that is due, or Moscow midnight."""
    due = snapshot.next_expected_at
    return due if now < due < midnight(now) else midnight(now)


def midnight(now: datetime) -> datetime:
    """The next one in Moscow."""
    return at(moscow_day(now) + ONE_DAY, MIDNIGHT)


def _left(now: datetime, until: datetime) -> int:
    """Whole seconds less one: nginx keeps an answer up to a second longer than it is told."""
    return max(0, int((until - now).total_seconds()) - 1)


@dataclass(slots=True)
class Answer:
    """A body, and all that its head needs. Handlers give the first four.

    `by_header` is the request's header that chose this body, beside Accept-Encoding. Such an answer is not remembered
    by its target alone, and is `private`, because many CDNs ignore Vary.
    """

    body: Body
    caching: Caching | None
    status: int = 200
    by_header: str = ""
    snapshot: Snapshot | None = None
    demo: bool = False
    route: Route | None = None
    last_modified: str = ""
    _heads: dict[tuple[int, str], bytes] = field(default_factory=dict)
    _cache_control: str = "no-store"
    _since: datetime = LONG_AGO
    _until: datetime = LONG_AGO
    _dated: float = 0.0

    def choose(self, headers: CIMultiDictProxy[str], now: datetime) -> tuple[int, str]:
        """The status, 304 when the client has it already, and the encoding that it prefers."""
        # Two clocks: the demo's stands still, and Date is the true time.
        if not (self._since <= now < self._until and time.time() < self._dated):
            self._begin_second(now)
        # Several lines of a header are one list (RFC 9110, 5.3).
        accepted, tags = headers.getall(hdrs.ACCEPT_ENCODING, ()), headers.getall(hdrs.IF_NONE_MATCH, ())
        encoding = preferred(",".join(accepted), self.body.offered) if accepted else "identity"
        return (304 if self.status == 200 and self._is_held(tags, headers) else self.status), encoding

    def _begin_second(self, now: datetime) -> None:
        self._heads.clear()
        self._since = now.replace(microsecond=0)
        self._until = self._since + SECOND
        self._dated = int(time.time()) + 1
        if self.caching:
            until = changes_at(self.snapshot, now) if self.snapshot and self.caching.follows_rates else None
            self._cache_control = self.caching.header(now, until, "private" if self.by_header else "public")

    def _is_held(self, tags: Sequence[str], headers: CIMultiDictProxy[str]) -> bool:
        """Whether the client has this answer: by its tags, or without tags by the exact date that we sent.

        A later date proves nothing. A clock that is fast, or a replica that was late, would make an old answer last.
        RFC 9110, 13.1.3, knows servers that "only honor exact timestamp matches".
        """
        if "max-age=0," in self._cache_control:
            # After 304 with max-age=0 nginx keeps what it has for as long as it was first told, over midnight too.
            return False
        if tags:
            return has_it(",".join(tags), self.body)
        return bool(self.last_modified) and headers.get(hdrs.IF_MODIFIED_SINCE) == self.last_modified

    def head(self, status: int, encoding: str) -> bytes:
        """Status line and headers without the empty line at the end, for the second of the last `choose`."""
        found = self._heads.get((status, encoding))
        if found is None:
            found = self._heads[status, encoding] = self._write_head(status, encoding)
        return found

    def _write_head(self, status: int, encoding: str) -> bytes:
        headers = {**COMMON, **self._headers(encoding), "Date": formatdate(time.time(), usegmt=True)}
        if status == 304:
            headers.pop("Content-Encoding", None)
            headers.pop("Last-Modified", None)
        else:
            headers["Content-Type"] = self.body.content_type
            headers["Content-Length"] = str(len(self.body.encoded(encoding)))
        lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{key}: {headers[key]}" for key in headers)]
        return "\r\n".join(lines).encode("latin-1") + b"\r\n"

    def _headers(self, encoding: str) -> dict[str, str]:
        headers = dict(self.body.headers) | {"Cache-Control": self._cache_control}
        if self.caching:
            vary = f"Accept-Encoding, {self.by_header}" if self.by_header else "Accept-Encoding"
            headers |= {"Vary": vary, "ETag": self.body.etag(encoding)}
        # Not while its second lasts, because the answer may have been another at its beginning (RFC 9110, 8.8.2.2).
        if self.snapshot and self.last_modified and self.snapshot.changed_at.timestamp() < int(time.time()):
            headers["Last-Modified"] = self.last_modified
        if encoding != "identity":
            headers["Content-Encoding"] = encoding
        if self.status == 503:
            headers["Retry-After"] = RETRY_AFTER
        if self.demo:
            headers[DEMO_HEADER] = "recorded rates, stopped clock"
        return headers


class Ready(web.StreamResponse):
    """An answer sent to one client in a single write, past aiohttp's own making of headers."""

    def __init__(self, answer: Answer, request: web.BaseRequest, now: datetime, *, closing: bool = False) -> None:
        status, encoding = answer.choose(request.headers, now)
        super().__init__(status=status)
        head = answer.head(status, encoding)
        empty = status == 304 or request.method == hdrs.METH_HEAD
        self.content = b"" if empty else answer.body.encoded(encoding)
        self._keep_alive = request.keep_alive and not closing
        if not self._keep_alive:
            head += b"Connection: close\r\n"
        elif request.version < (1, 1):
            head += b"Connection: keep-alive\r\n"
        self._head = head

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Write it. Raises ConnectionError when the client has gone."""
        protocol, transport = request.protocol, request.transport
        if transport is None:
            raise ConnectionResetError("the client has gone")
        write(transport, self._head, self.content)
        if protocol.writing_paused:
            await protocol._drain_helper()  # noqa: SLF001 -- its public way is a StreamWriter, which this class saves
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to write."""


def write(transport: asyncio.Transport, head: bytes, content: bytes) -> None:
    """One system call; long bodies are not copied for it."""
    if len(content) > LONG:
        transport.writelines([head, b"\r\n", content])
    else:
        transport.write(b"%b\r\n%b" % (head, content))


@lru_cache(maxsize=512)
def preferred(accepted: str, offered: tuple[str, ...]) -> str:
    """The offered encoding with the highest weight, ours first among equals (RFC 9110, 12.5.3)."""
    found = weights(accepted)
    default = found.get("*", 0.0)
    usable = [(found.get(name, default), name) for name in offered if name != "identity"]
    best = max(usable, key=lambda pair: pair[0], default=(0.0, "identity"))
    identity = found.get("identity", 0.0)
    return best[1] if best[0] > 0 and best[0] >= identity else "identity"


def weights(accepted: str) -> dict[str, float]:
    """Each item of an Accept header in lower case, and its weight."""
    items = (part.strip().partition(";") for part in accepted.lower().split(","))
    return {name.strip(): _weight(parameter) for name, _, parameter in items}


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


Handler = Callable[[web.Request], Awaitable[Answer | web.StreamResponse]]
Respond = Callable[[web.Request], Awaitable[web.StreamResponse]]
Routed = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def counted(handler: Respond, service: Service, template: str) -> Respond:
    """The handler, counted under its route, with a line in the access log where the settings want one.

    While the replica is being stopped, connections end with their answers.
    """
    route, seconds = service.telemetry.metrics.route(template), time.perf_counter
    log = structlog.get_logger("ratesvc").bind() if service.settings.log.access else None

    async def count(request: web.Request) -> web.StreamResponse:
        begun = seconds()
        if log:
            request[ID] = uuid.uuid4().hex[:12]
        response = await handler(request)
        took_s = seconds() - begun
        route.add(response.status, took_s)
        if service.draining:
            response.force_close()
        if log:
            # Without the reader's address, as SECURITY.md promises.
            path, agent = (text[:LONGEST_PATH] for text in (request.raw_path, request.headers.get("User-Agent", "")))
            size = len(response.content) if isinstance(response, Ready) else response.content_length
            facts = {"status": response.status, "bytes": size, "ms": round(took_s * 1000, 2)}
            log.info("request", id=request[ID], method=request.method, path=path, agent=agent, **facts)
        return response

    return count


def answering(handler: Handler, service: Service, template: str, hosts: Collection[str]) -> Respond:
    """The handler with its answer remembered as long as the publication is served, and its errors as problems.

    An unknown error becomes a plain 500 with an id, and its text stays in the log. A request with the whole address in
    its first line is answered for `hosts` only: our own, and the Bank's where a client uses us as its proxy.
    """
    route = service.telemetry.metrics.route(template)

    async def answer(request: web.Request) -> web.StreamResponse:
        target, publication = request.raw_path, service.served(service.clock())
        try:
            if not target.startswith("/") and str(request.url.raw_host).lower() not in hosts:
                return refusal(json.MISDIRECTED, "This service is not a proxy. It answers only for its own address.")
            found = await handler(request)
        except RatesvcError as error:
            return problem(error)
        except Exception:  # noqa: BLE001 -- an unknown error, which is logged
            incident = request.get(ID) or uuid.uuid4().hex[:12]
            structlog.get_logger("ratesvc").exception("request_failed", incident=incident)
            return refusal(json.INTERNAL, f"Incident {incident}.")
        if not isinstance(found, Answer):
            return found
        if publication is not None:
            found.snapshot = publication.snapshot
            if publication.last_modified and found.caching in DATED:
                found.last_modified = formatdate(publication.last_modified.timestamp(), usegmt=True)
        found.demo = service.demo and found.caching is not NO_STORE
        is_kept = found.status == 200 and found.caching is not NO_STORE and found.body.is_finished
        ready = Ready(found, request, service.clock(), closing=service.draining)
        if publication is not None and is_kept and not found.by_header:
            found.route = route
            publication.remember(target, found)
        return ready

    return answer


def remembering(service: Service, routed: Routed) -> Routed:
    """The application, called only for targets that this publication has not answered yet. The others need no route."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        now = service.clock()
        publication = service.served(now)
        known = publication.answers.get(request.raw_path) if publication else None
        if known is None or request.method not in ("GET", "HEAD"):
            return await routed(request)
        ready = Ready(known, request, now, closing=service.draining)
        if known.route:
            known.route.add_quick(ready.status)
        return ready

    return answer


def problem(error: RatesvcError) -> web.Response:
    """RFC 9457: a stable `type`, a sentence, and facts that help to ask better."""
    extra: dict[str, Any] = {}
    if isinstance(error, NotYetSet):
        extra |= {"expected_at": moscow_time(error.expected_at), "overdue": error.overdue}
    if isinstance(error, BadRequest) and error.parameter:
        extra |= {"parameter": error.parameter[:LONGEST_GIVEN], "given": error.given and error.given[:LONGEST_GIVEN]}
    if isinstance(error, UnknownCurrency):
        extra["code"] = error.code
    if isinstance(error, TooManyPoints):
        extra |= {"points": error.points, "most": error.most}
    return refusal(problem_of(error), str(error), extra)


def problem_of(error: RatesvcError) -> Problem:
    """Which problem an error is to a client."""
    return json.PROBLEMS.get(type(error), json.INTERNAL)


def refusal(kind: Problem, detail: str, extra: Mapping[str, Any] | None = None) -> web.Response:
    """A problem document, which no cache keeps."""
    return uncached(kind.status, encode(kind.body(detail, extra)), PROBLEM_JSON)


def uncached(status: int, content: bytes, media: str) -> web.Response:
    """An answer that no cache keeps."""
    headers = {**COMMON, "Cache-Control": "no-store", "Content-Type": media}
    if status == 503:
        headers["Retry-After"] = RETRY_AFTER
    return web.Response(status=status, body=content, headers=headers)


async def preflight(_: web.Request) -> web.Response:
    """OPTIONS, for browsers that ask first."""
    headers = {"Allow": METHODS, "Access-Control-Allow-Methods": METHODS, "Access-Control-Allow-Headers": "*"}
    return web.Response(status=204, headers={**COMMON, **headers, "Access-Control-Max-Age": "86400"})


async def wrong_method(_: web.Request) -> web.Response:
    """405 for every method that would write."""
    response = refusal(json.WRONG_METHOD, f"Use {METHODS}.")
    response.headers["Allow"] = METHODS
    return response


async def not_found(_: web.BaseRequest) -> web.Response:
    """404 for every other address."""
    return refusal(json.NOT_FOUND, "There is nothing at this address. /docs lists every address.")
