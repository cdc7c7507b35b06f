"""Probes, health and metrics, each for another reader: an orchestrator, a person on call, Prometheus."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, time

import msgspec
from aiohttp import web

from ratesvc import __version__
from ratesvc.domain.rates import Revision, Snapshot
from ratesvc.domain.workdays import at
from ratesvc.render.json import encode
from ratesvc.service.app import Service
from ratesvc.service.health import not_ready_because
from ratesvc.service.telemetry import CONTENT_TYPE
from ratesvc.web.problems import uncached
from ratesvc.web.responses import Handler

HEALTH = "application/health+json"
BEST_FIRST = ("pass", "warn", "fail")
PROBES = ("/livez", "/readyz")
"""Proxies and supervisors ask them on the readers' port."""
PATHS = (*PROBES, "/health", "/metrics")


def routes(service: Service) -> dict[str, Handler]:
    """Path → handler."""

    async def livez(_: web.Request) -> web.Response:
        # While the event loop is blocked, no answer comes, and the prober's own timeout notices it.
        return _plain(None, "ok")

    async def readyz(_: web.Request) -> web.Response:
        trouble = not_ready_because(draining=service.draining, has_sheet=service.publication is not None)
        return _plain(trouble, "ready")

    async def health(_: web.Request) -> web.Response:
        checks = service.health()
        worst = max((check["status"] for check in checks.values()), key=BEST_FIRST.index)
        document = {
            "status": worst,
            "version": __version__,
            "checks": {name: [check] for name, check in checks.items()},
        }
        # Indented, because people on call read it with curl.
        body = msgspec.json.format(encode(document), indent=1) + b"\n"
        return uncached(503 if worst == "fail" else 200, body, HEALTH)

    async def metrics(_: web.Request) -> web.Response:
        return uncached(200, service.telemetry.metrics.text(), CONTENT_TYPE)

    return dict(zip(PATHS, (livez, readyz, health, metrics), strict=True))


def _plain(trouble: str | None, otherwise: str) -> web.Response:
    return uncached(503 if trouble else 200, f"{trouble or otherwise}\n".encode(), "text/plain; charset=utf-8")


def watch(service: Service) -> None:
    """Show the gauges of a service. An unknown value is 0; a timestamp of 0 means never."""
    telemetry, see = service.telemetry, service.telemetry.metrics.watch

    def of_sheet(value: Callable[[Snapshot, Revision], float]) -> Callable[[], float]:
        def read() -> float:
            snapshot, newest = service.current_snapshot(), service.history.newest
            return value(snapshot, newest) if snapshot and newest else 0.0

        return read

    def midnight(_: Snapshot, newest: Revision) -> float:
        return at(newest.effective_date, time.min).timestamp()

    see("redis_up", "Whether Redis answers and takes writes.", lambda: telemetry.trouble is None)
    see("lease_held", "Whether this replica is the one that polls.", lambda: service.store.poll_lease.held)
    see("loop_lag_seconds", "How late the event loop was for its last heartbeat.", lambda: service.schedule.lag_s)
    see("clock_skew_seconds", "How far this clock is ahead of the Bank's.", lambda: service.clock_skew_s or 0.0)
    see("history_sheets", "Sheets in memory.", lambda: len(service.history.days))
    see("history_loading", "Whether history is not fetched yet.", lambda: service.history.is_loading)
    see("quarantine_documents", "Documents that wait for a person.", lambda: service.quarantine.count)
    see("refresh_last_attempt_timestamp_seconds", "The last refresh.", lambda: _stamp(telemetry.last_attempt))
    see("refresh_last_success_timestamp_seconds", "The last that worked.", lambda: _stamp(telemetry.last_success))
    see("refresh_next_timestamp_seconds", "When the next one is due.", lambda: _stamp(service.schedule.next_poll_at))
    see("publications_missed", "Sheets that are overdue.", of_sheet(lambda snapshot, _: snapshot.publications_missed))
    see("sheets_taken_back", "Held sheets that the Bank no longer has.", lambda: len(service.refresher.taken_back))
    see("stale", "Whether today's own sheet is missing.", of_sheet(lambda snapshot, _: snapshot.stale))
    see("sheet_date_timestamp_seconds", "Moscow midnight of the newest sheet's day.", of_sheet(midnight))
    calendar, steps = service.history.calendar, "Steps of the backfill that runs"
    known_until = _stamp(at(calendar.known_until, time.min))
    see("calendar_known_until_timestamp_seconds", "The last day whose days off are known.", lambda: known_until)
    see("backfill_steps", f"{steps}.", lambda: service.backfilling.total if service.backfilling else 0)
    see("backfill_steps_done", f"{steps}, done.", lambda: service.backfilling.done if service.backfilling else 0)
    due, first_seen = "sheet_expected_timestamp_seconds", "sheet_first_seen_timestamp_seconds"
    see(due, "When the next one is due.", of_sheet(lambda snapshot, _: _stamp(snapshot.next_due_at)))
    see(first_seen, "When the newest was fetched.", of_sheet(lambda _, newest: _stamp(newest.fetched_at)))


def _stamp(moment: datetime | None) -> float:
    return moment.timestamp() if moment else 0.0
