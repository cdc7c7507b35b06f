"""Statuses and errors: from what a handler chose, or from an error, to an answer."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

import structlog
from aiohttp import hdrs, web

from ratesvc.errors import NotYetSet, RatesvcError, TooManyPoints, UnknownCurrency
from ratesvc.render import json
from ratesvc.render.json import Problem, encode, moscow_time
from ratesvc.service.app import Service
from ratesvc.web.answer import COMMON, NO_STORE, RETRY_AFTER, Answer, Ready

Handler = Callable[[web.Request], Awaitable[Answer | web.StreamResponse]]
Routed = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

METHODS = "GET, HEAD, OPTIONS"
READING = ("GET", "HEAD")


def kind_of(error: RatesvcError) -> Problem:
    """Which problem an error is to the one who asked."""
    return json.PROBLEMS.get(type(error), json.INTERNAL)


def problem(error: RatesvcError) -> web.Response:
    """RFC 9457: what went wrong, in a stable `type`, with what the caller needs to do better."""
    kind = kind_of(error)
    extra: dict[str, Any] = {}
    if isinstance(error, NotYetSet):
        extra |= {"expected_at": moscow_time(error.expected_at), "overdue": error.overdue}
    if isinstance(error, UnknownCurrency):
        extra["code"] = error.code
    if isinstance(error, TooManyPoints):
        extra |= {"points": error.points, "most": error.most}
    return refusal(kind, str(error), extra=extra)


def refusal(
    kind: Problem, detail: str, headers: Mapping[str, str] | None = None, extra: Mapping[str, Any] | None = None
) -> web.Response:
    """A problem document that nobody keeps."""
    everything = {**COMMON, "Cache-Control": "no-store", "Content-Type": json.PROBLEM_JSON, **(headers or {})}
    if kind.status == 503:
        everything["Retry-After"] = RETRY_AFTER
    return web.Response(status=kind.status, body=encode(kind.body(detail, extra)), headers=everything)


def answering(
    handler: Handler, service: Service, template: str, hosts: Collection[str]
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """The handler with its answer remembered as long as the publication is served, and its errors explained.

    A stranger's error becomes a plain 500 with an id, and its text stays inside. `hosts` are those for which a request
    with the whole address in its first line is answered: our own, and some for which we are asked as a proxy is.
    """
    route = service.telemetry.metrics.route(template)

    async def answer(request: web.Request) -> web.StreamResponse:
        now, target = service.clock(), request.raw_path
        publication = service.served(now)
        try:
            if not target.startswith("/") and str(request.url.host).lower() not in hosts:
                return refusal(json.MISDIRECTED, "This is no proxy; it answers for itself only.")
            found = await handler(request)
        except RatesvcError as error:
            return problem(error)
        except Exception:  # noqa: BLE001 -- whatever it is, it is logged
            incident = uuid.uuid4().hex[:12]
            structlog.get_logger("ratesvc").exception("request_failed", incident=incident)
            return refusal(json.INTERNAL, f"Incident {incident}.")
        if not isinstance(found, Answer):
            return found
        is_kept = found.status == 200 and found.caching is not NO_STORE and found.body.is_finished
        ready = Ready(found, request, service.clock(), closing=service.draining)
        if publication is not None and is_kept:
            # Now that it has the encoding that was asked for: what is kept is counted in bytes.
            found.route = route
            publication.remember(target, found)
        return ready

    return answer


def remembering(service: Service, routed: Routed) -> Routed:
    """The application, asked only for what this publication has not answered before: no route is looked up for it."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        now = service.clock()
        publication = service.served(now)
        known = publication.answers.get(request.raw_path) if publication else None
        if known is None or request.method not in READING or hdrs.EXPECT in request.headers:
            return await routed(request)
        ready = Ready(known, request, now, closing=service.draining)
        if known.route:
            known.route.add_quick(ready.status)
        return ready

    return answer


async def preflight(_: web.Request) -> web.Response:
    """OPTIONS, for browsers that ask first."""
    headers = {"Allow": METHODS, "Access-Control-Allow-Methods": METHODS, "Access-Control-Allow-Headers": "*"}
    return web.Response(status=204, headers={**COMMON, **headers, "Access-Control-Max-Age": "86400"})


async def wrong_method(_: web.Request) -> web.Response:
    """405 for everything that would write."""
    return refusal(json.WRONG_METHOD, f"Use {METHODS}.", {"Allow": METHODS})


async def not_found(_: web.BaseRequest) -> web.Response:
    """404 for every other address."""
    return refusal(json.NOT_FOUND, "There is nothing at this address; /docs shows what there is.")
