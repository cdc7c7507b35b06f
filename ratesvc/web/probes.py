"""Probes, health and metrics, each for another reader: an orchestrator, a person on call, Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time

import msgspec
from aiohttp import web

from ratesvc import __version__
from ratesvc.domain.columns import Days
from ratesvc.domain.rates import FIRST_DAY
from ratesvc.domain.workdays import at, moscow_day
from ratesvc.render.json import encode
from ratesvc.service.app import Service
from ratesvc.service.health import not_ready_because
from ratesvc.service.telemetry import CONTENT_TYPE, Reading
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
        listed = {name: [check] for name, check in checks.items()}
        document = {"status": worst, "version": __version__, "checks": listed}
        # Indented, because people on call read it with curl.
        body = msgspec.json.format(encode(document), indent=1) + b"\n"
        return uncached(503 if worst == "fail" else 200, body, HEALTH)

    async def metrics(_: web.Request) -> web.Response:
        return uncached(200, service.telemetry.metrics.text(), CONTENT_TYPE)

    return dict(zip(PATHS, (livez, readyz, health, metrics), strict=True))


def _plain(trouble: str | None, otherwise: str) -> web.Response:
    return uncached(503 if trouble else 200, f"{trouble or otherwise}\n".encode(), "text/plain; charset=utf-8")


def gauges(service: Service) -> Iterator[Reading]:
    """The gauges of a service. An unknown value is 0; a timestamp of 0 means never."""
    telemetry, history, running = service.telemetry, service.history, service.backfilling
    snapshot, newest, calendar = service.current_snapshot(), history.newest, history.calendar
    yield "redis_up", "1 if Redis answers and takes writes.", telemetry.trouble is None
    yield "lease_held", "1 if this replica polls.", service.store.poll_lease.held
    yield "loop_lag_seconds", "How late the event loop's last heartbeat was.", service.schedule.lag_s
    yield "clock_skew_seconds", "How far this clock is ahead of the Bank's; 0 if unknown.", service.clock_skew_s or 0
    yield "history_sheets", "Sheets in memory.", len(history.days)
    is_loading = history.first_loading(Days(FIRST_DAY, date.max)) is not None
    yield "history_loading", "1 until all of history is fetched, unconfirmed days aside.", is_loading
    yield "quarantine_documents", "Documents that wait for a person.", service.quarantine.count
    yield "refresh_last_attempt_timestamp_seconds", "When the last refresh ran.", _stamp(telemetry.last_attempt)
    yield "refresh_last_success_timestamp_seconds", "When the Bank last answered here.", _stamp(telemetry.last_success)
    yield "refresh_next_timestamp_seconds", "When the next refresh is due.", _stamp(service.schedule.jobs["poll"].due)
    yield "publications_missed", "Overdue sheets by the calendar.", snapshot.publications_missed if snapshot else 0
    yield "sheets_taken_back", "Held sheets that the Bank no longer has.", len(service.refresher.absences.taken_back)
    yield "stale", "1 while today's own sheet is missing.", snapshot.stale if snapshot else 0
    late = sum(one.is_stale(calendar, moscow_day(service.clock())) for one in service.figures.values())
    yield "figures_late", "How many of metals and key rate lack the newest figure.", 0 if service.demo else late
    due, fetched_at = snapshot.next_due_at if snapshot else None, newest.fetched_at if newest else None
    midnight = at(newest.effective_date, time.min) if newest else None
    yield "sheet_date_timestamp_seconds", "The Moscow midnight from which the newest sheet applies.", _stamp(midnight)
    yield "sheet_expected_timestamp_seconds", "When the next sheet is due.", _stamp(due)
    yield "sheet_first_seen_timestamp_seconds", "When the newest sheet was fetched.", _stamp(fetched_at)
    known_until = _stamp(at(calendar.known_until, time.min))
    yield "calendar_known_until_timestamp_seconds", "The last day whose days off are known.", known_until
    yield "backfill_steps", "Requests of the running backfill; 0 if none runs.", running.total if running else 0
    yield "backfill_steps_done", "Finished requests of the running backfill.", running.done if running else 0


def _stamp(moment: datetime | None) -> float:
    return moment.timestamp() if moment else 0.0
