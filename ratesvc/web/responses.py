"""Answers on their way out: validators, encodings, one write for head and body; counted, remembered, errors caught."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Any

import structlog
from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter
from multidict import CIMultiDictProxy

from ratesvc.bank.client import DEMO_HEADER
from ratesvc.domain.workdays import LONG_AGO
from ratesvc.errors import RatesvcError
from ratesvc.service.app import Service
from ratesvc.service.publication import LONG, Body, Publication
from ratesvc.service.telemetry import Route
from ratesvc.web.caching import DATED, NO_STORE, Caching
from ratesvc.web.problems import COMMON, INTERNAL, MISDIRECTED, RETRY_AFTER, other_method, problem, refusal

LONGEST_PATH = 200
READING = (hdrs.METH_GET, hdrs.METH_HEAD)
ID = web.RequestKey("id", str)
"""The name of a request in the log."""
SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a handler answers: a body, and how long caches keep it.

    `by_header` is the request's header that chose this body, beside Accept-Encoding. Such an answer is not remembered
    by its target alone, and is `private`, because many CDNs ignore Vary.
    """

    body: Body
    caching: Caching | None
    status: int = 200
    by_header: str = ""

    @property
    def is_for_everybody(self) -> bool:
        """Whether later requests for the same target may get this answer, too."""
        return self.status == 200 and self.caching is not NO_STORE and not self.by_header and self.body.is_finished


class FinishedAnswer:
    """An answer with the heads of the current second, for its first reader and all who ask for the same target."""

    def __init__(self, answer: Answer, publication: Publication | None, route: Route, *, demo: bool = False) -> None:
        """`publication` is what was current at the request, if anything was; `route` counts later readers."""
        self.body = answer.body
        self.route = route
        self._changed_at = publication.last_modified.timestamp() if publication and answer.caching in DATED else None
        self.last_modified = formatdate(self._changed_at, usegmt=True) if self._changed_at else ""
        self._answer = answer
        self._snapshot = publication.snapshot if publication else None
        self._demo = demo and answer.caching is not NO_STORE
        self._heads: dict[tuple[int, str], bytes] = {}
        self._cache_control = "no-store"
        self._since = self._until = LONG_AGO
        self._dated = 0.0

    def choose(self, headers: CIMultiDictProxy[str], now: datetime) -> tuple[int, str]:
        """The status, 304 when the client has it already, and the encoding that it prefers."""
        # Two clocks: the demo's stands still, and Date is the true time.
        if not (self._since <= now < self._until and time.time() < self._dated):
            self._begin_second(now)
        # Several lines of a header are one list (RFC 9110, 5.3).
        accepted, tags = headers.getall(hdrs.ACCEPT_ENCODING, ()), headers.getall(hdrs.IF_NONE_MATCH, ())
        encoding = preferred(",".join(accepted), self.body.offered) if accepted else "identity"
        status = self._answer.status
        return (304 if status == 200 and self._is_held(tags, headers) else status), encoding

    def _begin_second(self, now: datetime) -> None:
        self._heads.clear()
        self._since = now.replace(microsecond=0)
        self._until = self._since + SECOND
        self._dated = int(time.time()) + 1
        if caching := self._answer.caching:
            until = self._snapshot.until if self._snapshot and caching.follows_rates else None
            self._cache_control = caching.header(now, until, "private" if self._answer.by_header else "public")

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
        if head := self._heads.get((status, encoding)):
            return head
        headers = {**COMMON, **self._headers(encoding), "Date": formatdate(time.time(), usegmt=True)}
        if status == 304:
            headers.pop("Content-Encoding", None)
            headers.pop("Last-Modified", None)
        else:
            headers["Content-Type"] = self.body.content_type
            headers["Content-Length"] = str(self.body.length(encoding))
        lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{key}: {headers[key]}" for key in headers)]
        head = self._heads[status, encoding] = "\r\n".join(lines).encode("latin-1") + b"\r\n"
        return head

    def _headers(self, encoding: str) -> dict[str, str]:
        answer, headers = self._answer, dict(self.body.headers) | {"Cache-Control": self._cache_control}
        if answer.caching:
            vary = f"Accept-Encoding, {answer.by_header}" if answer.by_header else "Accept-Encoding"
            headers |= {"Vary": vary, "ETag": self.body.etag(encoding)}
        # Not while its second lasts, because the answer may have been another at its beginning (RFC 9110, 8.8.2.2).
        if self._changed_at and self._changed_at < int(time.time()):
            headers["Last-Modified"] = self.last_modified
        if encoding != "identity":
            headers["Content-Encoding"] = encoding
        if answer.status == 503:
            headers["Retry-After"] = RETRY_AFTER
        if self._demo:
            headers[DEMO_HEADER] = "recorded rates, stopped clock"
        return headers


class Response(web.StreamResponse):
    """What one client gets of an answer: head and body in a single write, or in pieces if it is a plain archive.

    aiohttp's own heads are not used.
    """

    _pieces: Iterable[bytes] = ()

    def __init__(self, answer: FinishedAnswer, request: web.BaseRequest, now: datetime) -> None:
        status, encoding = answer.choose(request.headers, now)
        super().__init__(status=status)
        self._head = answer.head(status, encoding)
        self._keep_alive = request.keep_alive
        empty = status == 304 or request.method == hdrs.METH_HEAD
        self._content = b"" if empty else answer.body.encoded(encoding)
        self.length = len(self._content)
        if not (self.length or empty):
            self.length, self._pieces = answer.body.length(encoding), answer.body.pieces()

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Write it. Raises ConnectionError when the client has gone."""
        protocol, transport = request.protocol, request.transport
        if transport is None:
            raise ConnectionResetError("the client has gone")
        head = self._head
        if not self._keep_alive:
            head += b"Connection: close\r\n"
        elif request.version < (1, 1):
            head += b"Connection: keep-alive\r\n"
        write(transport, head, self._content)
        for piece in self._pieces:
            await asyncio.sleep(0)
            await protocol._drain_helper()  # noqa: SLF001 -- its public way is a StreamWriter, which this class saves
            transport.write(piece)
        if protocol.writing_paused:
            await protocol._drain_helper()  # noqa: SLF001
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
    weight_of = weights(accepted)
    default = weight_of.get("*", 0.0)
    usable = [(weight_of.get(name, default), name) for name in offered if name != "identity"]
    weight, encoding = max(usable, key=lambda pair: pair[0], default=(0.0, "identity"))
    return encoding if weight > 0 and weight >= weight_of.get("identity", 0.0) else "identity"


def weights(accepted: str) -> dict[str, float]:
    """Each item of an Accept header in lower case, and its weight."""
    found = {}
    for part in accepted.lower().split(","):
        name, _, parameter = part.partition(";")
        key, _, value = parameter.partition("=")
        try:
            found[name.strip()] = float(value) if key.strip() == "q" else 1.0
        except ValueError:
            found[name.strip()] = 0.0
    return found


def has_it(if_none_match: str, body: Body) -> bool:
    """Weak comparison of a list: any encoding of the same bytes will do (RFC 9110, 13.1.2)."""
    return not body.tags.isdisjoint(map(str.strip, if_none_match.split(",")))


Handler = Callable[[web.Request], Awaitable[Answer | web.StreamResponse]]
Respond = Callable[[Any], Awaitable[web.StreamResponse]]
"""Takes a request: of a route, or before the router has seen it."""
Recall = Callable[[web.BaseRequest], web.StreamResponse | None]
"""The answer to a request, if it was made before."""


def counted(handler: Respond, service: Service, template: str) -> Respond:
    """The handler, counted under its route, with a line in the access log where the settings want one.

    While the replica is being stopped, connections end with their answers.
    """
    route, seconds = service.telemetry.metrics.route(template), time.perf_counter
    log = structlog.get_logger("ratesvc").bind() if service.settings.log.access else None

    async def count(request: web.Request) -> web.StreamResponse:
        begun = seconds()
        if log:
            request[ID] = service.token()[:12]
        response = await handler(request)
        took_s = seconds() - begun
        route.add(response.status, took_s)
        if service.draining:
            response.force_close()
        if log:
            # Without the reader's address, as SECURITY.md promises.
            path, agent = (text[:LONGEST_PATH] for text in (request.raw_path, request.headers.get("User-Agent", "")))
            size = response.length if isinstance(response, Response) else response.content_length
            facts = {"status": response.status, "bytes": size, "ms": round(took_s * 1000, 2)}
            log.info("request", id=request[ID], method=request.method, path=path, agent=agent, **facts)
        return response

    return count


def answering(handler: Handler, service: Service, template: str, hosts: Collection[str]) -> Respond:
    """The handler for GET and HEAD, with its answer remembered while the publication is served, and errors as problems.

    An unknown error becomes a plain 500 with an id, and its text stays in the log. A request with the whole address in
    its first line is answered for `hosts` only: our own, and the Bank's where a client uses us as its proxy.
    """
    route = service.telemetry.metrics.route(template)

    async def respond(request: web.Request) -> web.StreamResponse:
        if request.method not in READING:
            return other_method(request.method)
        target, publication = request.raw_path, service.publish_if_due(service.clock())
        if publication is not None and target in publication.answers:
            # With the access log no shortcut comes before the route.
            return Response(publication.answers[target], request, service.clock())
        try:
            if not target.startswith("/") and str(request.url.raw_host).lower() not in hosts:
                return refusal(MISDIRECTED, "This service is not a proxy. It answers only for its own address.")
            answer = await handler(request)
        except RatesvcError as error:
            answer = problem(error)
        except Exception:  # noqa: BLE001 -- an unknown error, which is logged
            incident = request.get(ID) or service.token()[:12]
            structlog.get_logger("ratesvc").exception("request_failed", incident=incident)
            return refusal(INTERNAL, f"Incident {incident}.")
        if not isinstance(answer, Answer):
            return answer
        finished = FinishedAnswer(answer, publication, route, demo=service.demo)
        if publication is not None and answer.is_for_everybody:
            publication.remember(target, finished)
        return Response(finished, request, service.clock())

    return respond


def remembered(service: Service, request: web.BaseRequest) -> Response | None:
    """The answer to a target that this publication has answered before. It needs no route."""
    now = service.clock()
    publication = service.publish_if_due(now)
    answer = publication.answers.get(request.raw_path) if publication else None
    if answer is None or service.draining or request.method not in READING:
        return None
    response = Response(answer, request, now)
    answer.route.add(response.status)
    return response
