"""What /metrics says about the state of a service, asked for when somebody reads it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, time
from functools import partial

from ratesvc.domain.rates import Revision, Snapshot
from ratesvc.domain.workdays import at
from ratesvc.service.app import Service


def watch(service: Service) -> None:
    """The gauges of a service; what it does not know yet is 0, and a timestamp of 0 means never."""
    telemetry = service.telemetry
    see = telemetry.metrics.watch
    see("redis_up", "Whether Redis answered the last call.", lambda: service.store.up)
    see("lease_held", "Whether this replica is the one that polls.", lambda: service.store.poll_lease.held)
    see("loop_lag_seconds", "What the event loop took for its last measured turn.", lambda: service.watchdog.lag_s)
    see("history_sheets", "Sheets in memory.", lambda: len(service.history.days))
    see("quarantine_documents", "Documents that wait for a person.", lambda: service.quarantined)
    see("refresh_last_attempt_timestamp_seconds", "The last refresh.", lambda: _stamp(telemetry.last_attempt))
    see("refresh_last_success_timestamp_seconds", "The last that worked.", lambda: _stamp(telemetry.last_success))
    see("refresh_next_timestamp_seconds", "When the next one is due.", lambda: _stamp(service.next_poll_at))
    for name, text, of in SEEN:
        see(name, text, partial(_seen, service, of))


def _seen(service: Service, of: Callable[[Snapshot, Revision], float]) -> float:
    seen, newest = service.seen(), service.history.newest
    return of(seen, newest) if seen and newest else 0.0


def _stamp(moment: datetime | None) -> float:
    return moment.timestamp() if moment else 0.0


def _midnight(day: date) -> float:
    return at(day, time.min).timestamp()


SEEN: tuple[tuple[str, str, Callable[[Snapshot, Revision], float]], ...] = (
    ("publications_missed", "Sheets that are overdue.", lambda seen, _: seen.publications_missed),
    ("stale", "Whether today's own sheet is missing.", lambda seen, _: seen.stale),
    (
        "sheet_date_timestamp_seconds",
        "Moscow midnight of the newest sheet's day.",
        lambda _, n: _midnight(n.effective_date),
    ),
    ("sheet_expected_timestamp_seconds", "When the next one is due.", lambda seen, _: _stamp(seen.next_expected_at)),
    ("sheet_first_seen_timestamp_seconds", "When the newest was fetched.", lambda _, newest: _stamp(newest.fetched_at)),
)
