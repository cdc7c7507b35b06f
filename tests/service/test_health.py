"""What /health shows a person on call: each check whole, so that no field says the opposite unnoticed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from ratesvc.bank.admission import Quarantined
from ratesvc.domain.rates import Quote, Revision, Sheet, Snapshot
from ratesvc.errors import FetchFailed, SourceError, StoreUnavailable
from ratesvc.service import health
from ratesvc.service.refresh import Cycle

FRIDAY, SATURDAY = date(2026, 4, 24), date(2026, 4, 25)
NOON = datetime(2026, 4, 24, 9, tzinfo=UTC)
ROWS = (Quote("USD", "840", "R01235", 1, Decimal(75), "USD"),)
IN_FORCE, ANNOUNCED = Revision(Sheet(FRIDAY, ROWS), 1, NOON), Revision(Sheet(SATURDAY, ROWS), 1, NOON)
SEEN = Snapshot(
    today=FRIDAY,
    in_force=IN_FORCE,
    previous=None,
    announced=None,
    next_expected_at=NOON,
    next_late=False,
    publications_missed=0,
    stale=False,
)


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({}, "pass"),
        ({"next_late": True}, "warn"),
        ({"next_late": True, "publications_missed": 2}, "warn"),
        ({"stale": True, "next_late": True, "publications_missed": 1}, "fail"),
    ],
)
def test_a_sheet_is_late_before_it_is_stale(changed: dict[str, Any], status: str) -> None:
    """Late is a warning; that today's own sheet is missing fails. The newest sheet is shown, tomorrow's too."""
    found = health.sheet(replace(SEEN, **changed), ANNOUNCED)
    assert found == {
        "status": status,
        "observedValue": "2026-04-25",
        "expectedAt": "2026-04-24T09:00:00+00:00",
        "publicationsMissed": changed.get("publications_missed", 0),
    }


def test_no_sheet_fails_and_a_frozen_one_warns() -> None:
    """More often than the law somebody at the Bank forgot."""
    assert health.sheet(None, None) == {"status": "fail", "output": "no sheet yet"}
    frozen = health.sheet(SEEN, replace(IN_FORCE, flags=("frozen",)))
    assert (frozen["status"], frozen["output"]) == ("warn", "every rate is the same as in the sheet before")
    assert health.sheet(SEEN, replace(IN_FORCE, flags=("large_move",)))["status"] == "pass"
    assert health.sheet(SEEN, None)["observedValue"] is None


def test_a_fetch_shows_its_outcome_and_what_it_held_back() -> None:
    """A failure is a warning with its reason and how many there were in a row; a sheet held back is one at once."""
    assert health.fetch(None, 0) == {"status": "pass", "observedValue": "not yet asked"}
    assert health.fetch(Cycle("unchanged"), 0) == {"status": "pass", "observedValue": "unchanged"}
    held = Quarantined.because(Sheet(SATURDAY, ROWS), ("shrunk", "11 of 30 currencies are gone"))
    assert health.fetch(Cycle("quarantined", held_back=(held, held)), 0) == {
        "status": "warn",
        "observedValue": "quarantined",
        "output": "; ".join(["2026-04-25 quarantine: shrunk: 11 of 30 currencies are gone"] * 2),
    }
    failure = FetchFailed([("www.cbr.ru", SourceError("timeout", "no answer"))])
    assert health.fetch(Cycle("failed", failure=failure), 3) == {
        "status": "warn",
        "observedValue": "failed",
        "failuresInARow": 3,
        "output": str(failure),
    }
    assert health.fetch(Cycle("crashed"), 1)["output"] == "see the log"


def test_redis_warns_with_its_trouble() -> None:
    """Memory goes on serving, so it never fails."""
    assert health.redis("external", None) == {"status": "pass", "observedValue": "external"}
    trouble = {"status": "warn", "observedValue": "external", "output": "Redis: no answer"}
    assert health.redis("external", StoreUnavailable("Redis: no answer")) == trouble


@pytest.mark.parametrize(("silent_s", "output"), [(0.0, None), (10.0, None), (10.6, "no heartbeat for 11 s")])
def test_a_scheduler_fails_after_ten_seconds_without_a_heartbeat(silent_s: float, output: str | None) -> None:
    """It is due each second; what it ran last is shown either way."""
    failed = {"status": "fail", "observedValue": "2026-04-24T09:00:00+00:00", "output": output}
    passed = {"status": "pass", "observedValue": "2026-04-24T09:00:00+00:00"}
    assert health.scheduler(silent_s, NOON) == (failed if output else passed)
    assert health.scheduler(silent_s, None)["observedValue"] is None


@pytest.mark.parametrize(("count", "status"), [(0, "pass"), (1, "warn"), (50, "warn")])
def test_a_document_in_quarantine_warns(count: int, status: str) -> None:
    """A person is waited for."""
    assert health.quarantine(count) == {"status": status, "observedValue": count}


@pytest.mark.parametrize(
    ("skew_s", "status", "shown"),
    [
        (None, "pass", None),
        (0.4, "pass", 0),
        (30.0, "pass", 30),
        (-30.0, "pass", -30),
        (30.6, "warn", 31),
        (-30.6, "warn", -31),
    ],
)
def test_a_clock_warns_from_half_a_minute_on(skew_s: float | None, status: str, shown: int | None) -> None:
    """In either direction; unknown is no warning."""
    assert health.clock(skew_s) == {"status": status, "observedValue": shown, "observedUnit": "s"}


@pytest.mark.parametrize(("days", "status"), [(400, "pass"), (31, "pass"), (30, "warn"), (-1, "warn")])
def test_a_calendar_warns_a_month_before_its_end(days: int, status: str) -> None:
    """So that there is time for an update."""
    found = health.calendar(FRIDAY + timedelta(days), FRIDAY)
    assert (found["status"], found["observedValue"]) == (status, str(FRIDAY + timedelta(days)))
    assert ("extra_off" in found.get("output", "")) == (status == "warn")
