"""Probes, health and metrics, each for another reader: an orchestrator, a person on call, Prometheus."""

from __future__ import annotations

from aiohttp import web

from ratesvc import __version__
from ratesvc.render.json import encode
from ratesvc.service.app import Service
from ratesvc.service.telemetry import CONTENT_TYPE
from ratesvc.web.problems import uncached
from ratesvc.web.responses import Handler

HEALTH = "application/health+json"
STATUSES = ("pass", "warn", "fail")
PROBES = ("/livez", "/readyz")
"""Proxies and supervisors ask them on the readers' port."""
PATHS = (*PROBES, "/health", "/metrics")


def routes(service: Service) -> dict[str, Handler]:
    """Path → handler."""

    async def livez(_: web.Request) -> web.Response:
        # While the event loop is blocked, no answer comes, and the prober's own timeout notices it.
        return _plain(None, "ok")

    async def readyz(_: web.Request) -> web.Response:
        return _plain(service.not_ready_because(), "ready")

    async def health(_: web.Request) -> web.Response:
        checks = service.health()
        worst = max((check["status"] for check in checks.values()), key=STATUSES.index)
        document = {
            "status": worst,
            "version": __version__,
            "checks": {name: [check] for name, check in checks.items()},
        }
        return uncached(503 if worst == "fail" else 200, encode(document), HEALTH)

    async def metrics(_: web.Request) -> web.Response:
        return uncached(200, service.telemetry.metrics.text(), CONTENT_TYPE)

    return dict(zip(PATHS, (livez, readyz, health, metrics), strict=True))


def _plain(trouble: str | None, otherwise: str) -> web.Response:
    return uncached(503 if trouble else 200, f"{trouble or otherwise}\n".encode(), "text/plain; charset=utf-8")
