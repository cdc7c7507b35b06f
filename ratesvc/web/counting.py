"""What an answer leaves behind: a count, a duration, a line in the access log where that is wanted."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import structlog
from aiohttp import web

from ratesvc.service.app import Service

Respond = Callable[[web.Request], Awaitable[web.StreamResponse]]

LONGEST_PATH = 200


def counted(handler: Respond, service: Service, template: str) -> Respond:
    """The handler, counted under its route. While the replica is being stopped, connections end with their answers."""
    route = service.telemetry.metrics.route(template)
    seconds = time.perf_counter

    async def count(request: web.Request) -> web.StreamResponse:
        begun = seconds()
        response = await handler(request)
        route.add(response.status, seconds() - begun)
        if service.draining:
            response.force_close()
        return response

    return logged(count) if service.settings.log.access else count


def logged(handler: Respond) -> Respond:
    """The handler with a line in the log for each answer."""
    log = structlog.get_logger("ratesvc").bind()

    async def answer(request: web.Request) -> web.StreamResponse:
        begun = time.perf_counter()
        response = await handler(request)
        took = round((time.perf_counter() - begun) * 1000, 2)
        path = request.raw_path[:LONGEST_PATH]
        log.info("request", method=request.method, path=path, status=response.status, ms=took, remote=request.remote)
        return response

    return answer
