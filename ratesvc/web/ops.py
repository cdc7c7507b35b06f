"""Probes, health and metrics: three questions, three answers, and what there is to count."""

from __future__ import annotations

import time

from aiohttp import web

from ratesvc.render.json import encode
from ratesvc.service.app import Service
from ratesvc.service.health import Check
from ratesvc.service.telemetry import BLOCKED_S, CONTENT_TYPE
from ratesvc.web.answer import COMMON, RETRY_AFTER
from ratesvc.web.gauges import watch
from ratesvc.web.reply import Handler

HEALTH = "application/health+json"
KEPT_S = 5.0
STATUSES = ("pass", "warn", "fail")


def routes(service: Service) -> dict[str, Handler]:
    """Path → handler."""
    watch(service)
    kept: tuple[float, dict[str, Check]] | None = None

    async def livez(_: web.Request) -> web.Response:
        # While the loop stands nobody is answered, which the prober's own timeout notices; this is the answer after it.
        lag = service.watchdog.lag_s
        return _plain(503, f"the event loop stood for {lag:.0f} s") if lag > BLOCKED_S else _plain(200, "ok")

    async def readyz(_: web.Request) -> web.Response:
        reason = service.not_ready_because()
        return _plain(503, reason) if reason else _plain(200, "ready")

    async def health(_: web.Request) -> web.Response:
        nonlocal kept
        if kept is None or time.monotonic() - kept[0] > KEPT_S:
            kept = (time.monotonic(), await service.health())
        checks = kept[1]
        worst = max((check["status"] for check in checks.values()), key=STATUSES.index)
        document = {"status": worst, "checks": {name: [check] for name, check in checks.items()}}
        return _answer(503 if worst == "fail" else 200, encode(document), HEALTH)

    async def metrics(_: web.Request) -> web.Response:
        return _answer(200, service.telemetry.metrics.text(), CONTENT_TYPE)

    return {"/livez": livez, "/readyz": readyz, "/health": health, "/metrics": metrics}


def _plain(status: int, text: str) -> web.Response:
    return _answer(status, text.encode() + b"\n", "text/plain; charset=utf-8")


def _answer(status: int, body: bytes, content_type: str) -> web.Response:
    headers = {**COMMON, "Cache-Control": "no-store", "Content-Type": content_type}
    if status == 503:
        headers["Retry-After"] = RETRY_AFTER
    return web.Response(status=status, body=body, headers=headers)
