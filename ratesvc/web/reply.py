"""Headers, statuses and errors: from a finished Body, or from an error, to an answer."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from aiohttp import hdrs, web

from ratesvc.errors import NotYetSet, RatesvcError, UnknownCurrency
from ratesvc.publication import Body
from ratesvc.rates import Snapshot
from ratesvc.render import problems
from ratesvc.render.api import encode, moscow_time
from ratesvc.render.problems import Problem
from ratesvc.workdays import ONE_DAY, at, moscow_day

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

MIDNIGHT = datetime.min.time()
METHODS = "GET, HEAD, OPTIONS"
RETRY_S = 30

# On every answer of every status; a browser of any site may read all of it.
COMMON = {
    "Access-Control-Allow-Origin": "*",
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
HOURLY = "public, max-age=3600, stale-while-revalidate=86400, stale-if-error=604800"
OFTEN = "public, max-age=300, stale-while-revalidate=3600, stale-if-error=604800"
IMMUTABLE = "public, max-age=31536000, immutable"


def changes_at(snapshot: Snapshot, now: datetime) -> datetime:
    """The next moment at which today's answer changes: the publication that is due, or Moscow midnight."""
    midnight = at(moscow_day(now) + ONE_DAY, MIDNIGHT)
    due = snapshot.next_expected_at
    return due if now < due < midnight else midnight


def send(
    request: web.Request, body: Body, cache_control: str, *, status: int = 200, demo: bool = False
) -> web.Response:
    """The body in the encoding that the client prefers, or 304 when it has it already."""
    encoding = _preferred(request.headers.get(hdrs.ACCEPT_ENCODING, ""), tuple(body.encodings))
    etag = body.etag(encoding)
    headers = {**COMMON, "ETag": etag, "Cache-Control": cache_control, "Vary": "Accept-Encoding", **dict(body.headers)}
    if demo:
        headers["X-Ratesvc-Demo"] = "recorded rates, stopped clock"
    if status == 200 and _has_it(request.headers.get(hdrs.IF_NONE_MATCH), body):
        return web.Response(status=304, headers=headers)
    if encoding != "identity":
        headers["Content-Encoding"] = encoding
    headers["Content-Type"] = body.content_type
    return web.Response(status=status, body=body.encodings[encoding], headers=headers)


def _preferred(accepted: str, offered: tuple[str, ...]) -> str:
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


def _has_it(if_none_match: str | None, body: Body) -> bool:
    """Weak comparison of a list: any encoding of the same bytes will do."""
    if not if_none_match:
        return False
    tags = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
    return "*" in tags or any(body.etag(encoding) in tags for encoding in ("identity", "br", "gzip"))


def problem(error: RatesvcError) -> web.Response:
    """RFC 9457: what went wrong, in a stable `type`, with what the caller needs to do better."""
    kind = problems.PROBLEMS.get(type(error), problems.INTERNAL)
    extra: dict[str, Any] = {}
    headers: dict[str, str] = {}
    if isinstance(error, NotYetSet):
        extra["expected_at"] = moscow_time(error.expected_at)
    if isinstance(error, UnknownCurrency):
        extra["code"] = error.code
    if kind.status == 503:
        headers["Retry-After"] = str(RETRY_S)
    return _problem(kind, str(error), headers, extra)


def _problem(
    kind: Problem, detail: str, headers: Mapping[str, str] | None = None, extra: Mapping[str, Any] | None = None
) -> web.Response:
    everything = {**COMMON, "Cache-Control": "no-store", "Content-Type": problems.CONTENT_TYPE, **(headers or {})}
    return web.Response(status=kind.status, body=encode(kind.body(detail, extra)), headers=everything)


def answering(handler: Handler) -> Handler:
    """The handler with its errors explained; a stranger's becomes a plain 500 with an id, and its text stays inside."""

    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except RatesvcError as error:
            return problem(error)
        except Exception:  # noqa: BLE001 -- whatever it is, it is logged
            incident = uuid.uuid4().hex[:12]
            structlog.get_logger("ratesvc").exception("request_failed", incident=incident)
            return _problem(problems.INTERNAL, f"Incident {incident}.")

    return answer


async def preflight(_: web.Request) -> web.Response:
    """OPTIONS, for browsers that ask first."""
    headers = {"Allow": METHODS, "Access-Control-Allow-Methods": METHODS, "Access-Control-Allow-Headers": "*"}
    return web.Response(status=204, headers={**COMMON, **headers, "Access-Control-Max-Age": "86400"})


async def wrong_method(_: web.Request) -> web.Response:
    """405 for everything that would write."""
    return _problem(problems.WRONG_METHOD, f"Use {METHODS}.", {"Allow": METHODS})


async def not_found(_: web.Request) -> web.Response:
    """404 for every other address."""
    return _problem(problems.NOT_FOUND, "There is nothing at this address; / shows what there is.")
