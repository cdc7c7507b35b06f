"""/health, /readyz and /livez: each check whole, so that no field contradicts another unnoticed."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from conftest import Clock, Serve, Served, but
from kit.bank import Bank, sheet
from kit.dates import FRIDAY, NOON, SATURDAY, THURSDAY

from ratesvc.bank.admission import Quarantined
from ratesvc.commands.serve import _announce
from ratesvc.config import Calendar, Settings
from ratesvc.domain.columns import Coverage
from ratesvc.domain.history import History, snapshot
from ratesvc.domain.rates import FIRST_DAY, Quote, Revision, Sheet
from ratesvc.domain.workdays import ONE_DAY, WorkCalendar
from ratesvc.errors import FetchFailed, SourceError, StoreUnavailable
from ratesvc.service import health
from ratesvc.service.app import Service
from ratesvc.service.backfill import Progress
from ratesvc.service.refresh import Cycle

ROWS = (Quote("USD", "840", "R01235", 1, Decimal(75), "USD"),)
IN_FORCE, ANNOUNCED = Revision(Sheet(FRIDAY, ROWS), 1, NOON), Revision(Sheet(SATURDAY, ROWS), 1, NOON)
SEEN = snapshot(History(WorkCalendar(), [IN_FORCE]), NOON)


def test_a_sheet_shows_the_newest_and_when_the_next_is_due() -> None:
    """The newest may be tomorrow's. tests/faults/test_D_fleet.py has when it warns and fails.

    Frozen figures are legal, but more often somebody at the Bank forgot to change them.
    """
    assert health.sheet(replace(SEEN, publications_missed=2), ANNOUNCED) == {
        "status": "pass",
        "observedValue": "2026-04-25",
        "expectedAt": "2026-04-24T18:00:00+03:00",
        "publicationsMissed": 2,
    }
    assert health.sheet(None, None) == {"status": "fail", "output": "no sheet yet"}
    frozen = health.sheet(SEEN, replace(IN_FORCE, flags=("frozen",)))
    assert (frozen["status"], frozen["output"]) == ("warn", "every rate is the same as in the sheet before")
    assert health.sheet(SEEN, replace(IN_FORCE, flags=("large_move",)))["status"] == "pass"
    assert health.sheet(SEEN, None)["observedValue"] is None
    gone = health.sheet(SEEN, replace(IN_FORCE, flags=("frozen",)), [THURSDAY, FRIDAY])
    assert (gone["status"], gone["output"].count("the Bank no longer has the sheet of 2026-04-2")) == ("warn", 2)
    late = replace(SEEN, next_late=True)
    assert [
        (one["status"], one["output"])
        for one in (health.sheet(late, None), health.sheet(replace(late, stale=True), None))
    ] == [
        ("warn", "the next sheet is late"),
        ("fail", "the sheet that should be in force is missing"),
    ]


def test_a_fetch_shows_its_outcome_and_the_sheets_held_back() -> None:
    """A failure warns with its reason and the number of failures in a row. A sheet that is held back warns at once."""
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
    """Memory goes on serving, so it never fails. It repeats what Redis says, and never the address of Redis."""
    assert health.redis("external", None) == {"status": "pass", "observedValue": "external"}
    for text, kind, output in (
        ("Redis: no answer at 10.0.0.5:6379", "timeout", "Redis: timeout"),
        ("Redis: MISCONF No space left on device", "refused", "Redis: MISCONF No space left on device"),
    ):
        found = health.redis("external", StoreUnavailable(text, kind))
        assert found == {"status": "warn", "observedValue": "external", "output": output}


@pytest.mark.parametrize(("silent_s", "output"), [(0.0, None), (10.0, None), (10.6, "no heartbeat for 11 s")])
def test_a_scheduler_fails_after_ten_seconds_without_a_heartbeat(silent_s: float, output: str | None) -> None:
    """The heartbeat is due each second. The check shows the last run in both cases."""
    failed = {"status": "fail", "observedValue": "2026-04-24T09:00:00+00:00", "output": output}
    passed = {"status": "pass", "observedValue": "2026-04-24T09:00:00+00:00"}
    assert health.scheduler(silent_s, NOON) == (failed if output else passed)
    assert health.scheduler(silent_s, None)["observedValue"] is None


@pytest.mark.parametrize(("count", "status"), [(0, "pass"), (1, "warn"), (50, "warn")])
def test_a_document_in_quarantine_warns(count: int, status: str) -> None:
    """It waits for a person."""
    found = health.quarantine(count)
    assert (found["status"], found["observedValue"], "output" in found) == (status, count, status == "warn")


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
    """Ahead and behind. An unknown difference does not warn."""
    found = health.clock(skew_s)
    way = {31: "31 s ahead of the Bank's", -31: "31 s behind the Bank's"}.get(shown or 0, "")
    assert (found["status"], found["observedValue"], found["observedUnit"]) == (status, shown, "s")
    assert found.get("output", "").endswith(way)
    assert ("output" in found) == (status == "warn")


@pytest.mark.parametrize(("days", "status"), [(400, "pass"), (31, "pass"), (30, "warn"), (-1, "warn")])
def test_a_calendar_warns_a_month_before_its_end(days: int, status: str) -> None:
    """This leaves time for an update."""
    found = health.calendar(FRIDAY + timedelta(days), FRIDAY)
    assert (found["status"], found["observedValue"]) == (status, str(FRIDAY + timedelta(days)))
    assert ("extra_off" in found.get("output", "")) == (status == "warn")


def test_history_says_which_days_wait_and_what_is_fetched() -> None:
    """A first start that goes on is no warning, days without a second document are."""
    coverage = Coverage(FIRST_DAY, FRIDAY)
    assert health.history(None, (), None, ()) == {"status": "pass", "observedValue": "none yet"}
    asking = health.history(coverage, (), Progress(34, 88, "KZT (R01335)"), ())
    assert (asking["status"], asking["output"]) == ("pass", "step 34 of 88: KZT (R01335)")
    assert health.history(coverage, [THURSDAY], None, ()) == {
        "status": "warn",
        "observedValue": f"{FIRST_DAY}/{FRIDAY}",
        "unconfirmed": [str(THURSDAY)],
        "output": "days without a confirmed sheet: 1",
    }
    assert health.history(None, (), None, ("backfill",))["output"] == "another replica fetches history"


async def test_health_has_eight_checks(served: Served, clock: Clock) -> None:
    """Each with what it observed. A check that warns does not fail."""
    status, _, body = await served.get("/health")
    checks = {name: check[0] for name, check in json.loads(body)["checks"].items()}
    assert status == 200
    assert {name: (check["status"], check["observedValue"]) for name, check in checks.items()} == {
        "cbr:sheet": ("pass", "2026-04-24"),
        "cbr:fetch": ("pass", "new"),
        "redis:connectivity": ("pass", "external"),
        "scheduler:lastRun": ("pass", "2026-04-24T09:00:00+00:00"),
        "history:coverage": ("pass", "1992-07-01/2026-04-24"),
        "quarantine:count": ("pass", 0),
        "clock:skew": ("warn", pytest.approx(clock().timestamp() - time.time(), abs=60)),
        "calendar:coverage": ("pass", str(served.service.history.calendar.known_until)),
    }
    served.service.quarantine.count = 2
    clock.moment = clock.moment.replace(year=2090)
    checks = served.service.health()
    assert (checks["quarantine:count"]["status"], checks["quarantine:count"]["observedValue"]) == ("warn", 2)
    assert checks["calendar:coverage"]["status"] == "warn"


@pytest.mark.nightly
async def test_health_answers_with_a_clock_far_in_the_past(served: Served, clock: Clock) -> None:
    """Before the first rates no sheet is in force. Health and metrics show why."""
    clock.moment = datetime(1970, 1, 1, tzinfo=UTC)
    await served.service.tick()
    found = served.service.health()
    assert (found["cbr:sheet"]["status"], found["clock:skew"]["status"]) == ("fail", "warn")
    assert (await served.get("/metrics"))[0] == 200
    assert (await served.get("/v1/rates"))[0] == 200


async def test_probes_have_a_port_of_their_own(bank: Bank, serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    """With an admin port, only that port answers /health and /metrics, and no rates. The start names it.

    Proxies ask the readers' port how the replica is.
    """
    bank.publish(sheet(THURSDAY), sheet(FRIDAY))
    async with serve(server={"admin_port": 0}) as served:
        await served.ready()
        admin = str(served.service.admin_url).replace("localhost", "127.0.0.1")
        for path, public in (("/health", 404), ("/metrics", 404), ("/livez", 200), ("/readyz", 200)):
            assert (await served.get(path))[0] == public
            async with served.http.get(admin + path) as answer:
                assert answer.status == 200
        assert (await served.get("/v1/rates"))[0] == 200
        async with served.http.get(admin + "/v1/rates") as answer:
            assert answer.status == 404
        _announce(served.service, served.url)
        assert f"  health  {served.service.admin_url}/health\n" in capsys.readouterr().out


async def test_readiness_says_why_it_fails(settings: Settings, bank: Bank, clock: Clock) -> None:
    """A service is ready with a sheet, and not ready without one or while it drains."""
    bank.publish(sheet(THURSDAY), sheet(FRIDAY))
    async with Service(settings, clock=clock, scheduled=False) as service:
        assert service.not_ready_because() == "no_sheet"
        assert service.served(clock()) is None
        assert service.health()["cbr:fetch"]["observedValue"] == "not yet asked"
        await service.fetch(None)
        assert service.not_ready_because() is None
        service.drain()
        assert service.not_ready_because() == "draining"


def test_the_difference_of_the_clocks_comes_from_the_banks_date() -> None:
    """Positive means ahead. Without a valid date it is unknown: a broken proxy writes a year of twenty digits."""
    assert health.skew_s("Fri, 24 Apr 2026 08:00:00 GMT", NOON, since_s=5) == 3595
    for text in ("yesterday", f"Fri, 24 Apr {'9' * 20} 09:00:00 GMT", "Fri, 24 Apr 2026 08:00:00 -0000"):
        assert health.skew_s(text, NOON, since_s=5) is None


async def test_the_clocks_are_compared_as_of_the_banks_answer(served: Served) -> None:
    """Between two polls ours does not run away. That of a demo stands still, so it is not compared."""
    service, skew_s = served.service, served.service.clock_skew_s
    assert service.client.last_date
    assert skew_s is not None
    text, at = service.client.last_date
    service.client.last_date = text, at - 3600
    assert service.clock_skew_s == pytest.approx(skew_s - 3600, abs=60)
    service.demo = True
    assert service.clock_skew_s is None


def test_a_decree_in_the_settings_changes_the_calendar(settings: Settings) -> None:
    """Friday becomes a day off, so Saturday has no sheet of its own; Saturday becomes a working day, so Sunday has."""
    decree = Calendar(extra_off=(FRIDAY,), extra_work=(FRIDAY + ONE_DAY,))
    calendar = Service(but(settings, calendar=decree)).history.calendar
    assert [calendar.is_effective_date(FRIDAY + days * ONE_DAY) for days in (1, 2)] == [False, True]


async def test_the_worst_check_is_the_status(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failing check makes the status 503."""
    checks: dict[str, dict[str, Any]] = {"cbr:sheet": {"status": "pass", "observedValue": "2026-04-24"}}
    monkeypatch.setattr(served.service, "health", lambda: checks)
    for more, status, code in (
        ("pass", "pass", 200),
        ("warn", "warn", 200),
        ("fail", "fail", 503),
        ("warn", "fail", 503),
    ):
        checks[f"other:{len(checks)}"] = {"status": more, "observedValue": 1}
        answered, headers, body = await served.get("/health")
        assert (answered, json.loads(body)["status"]) == (code, status)
        assert json.loads(body)["checks"] == {name: [check] for name, check in checks.items()}
        assert (headers["Cache-Control"], headers["Content-Type"]) == ("no-store", "application/health+json")
        assert ("Retry-After" in headers) is (code == 503)
