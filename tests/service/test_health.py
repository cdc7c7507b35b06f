"""/health, /readyz and /livez: each check whole, so that no field contradicts another unnoticed."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from conftest import Clock, Serve, Served, but, golden
from kit.bank import Bank, sheet
from kit.dates import FRIDAY, NOON, SATURDAY, THURSDAY

from ratesvc.bank.admission import Admission, Decision, Finding
from ratesvc.commands.serve import _announce
from ratesvc.config import Calendar, Settings
from ratesvc.domain.columns import Days
from ratesvc.domain.history import History
from ratesvc.domain.in_force import snapshot
from ratesvc.domain.rates import FIRST_DAY, Quote, Revision, Sheet
from ratesvc.domain.workdays import ONE_DAY, WorkCalendar
from ratesvc.errors import FetchFailed, SourceError, StoreUnavailable
from ratesvc.service import health
from ratesvc.service.app import Service
from ratesvc.service.cycle import Cycle, Progress
from ratesvc.service.health import LONGEST_SILENCE_S, Check

ROWS = (Quote("USD", "840", "R01235", 1, Decimal(75), "USD"),)
IN_FORCE, ANNOUNCED = Revision(Sheet(FRIDAY, ROWS), 1, NOON), Revision(Sheet(SATURDAY, ROWS), 1, NOON)
SEEN = snapshot(History(WorkCalendar(), [IN_FORCE]), NOON)


LATE = replace(SEEN, next_late=True)
SHRUNK = Finding("shrunk", Decision.QUARANTINE, "11 of 30 currencies are gone")
HELD_BACK = Admission(Sheet(SATURDAY, ROWS), Decision.QUARANTINE, (SHRUNK,))
FAILURE = FetchFailed([("www.cbr.ru", SourceError("timeout", "no answer"))])
COVERAGE = Days(FIRST_DAY, FRIDAY)
CHECKS: dict[str, list[Check]] = {
    "The newest sheet may be tomorrow's. tests/faults/test_D_fleet.py has when the check warns and fails.": [
        *(health.sheet(replace(SEEN, publications_missed=2), ANNOUNCED), health.sheet(SEEN, None)),
        *(health.sheet(None, None), health.sheet(LATE, None), health.sheet(replace(LATE, stale=True), None)),
    ],
    "Frozen figures are legal, but more often somebody forgot to change them. Other flags are no warning.": [
        health.sheet(SEEN, replace(IN_FORCE, flags=(flag,))) for flag in ("frozen", "large_move")
    ],
    "The Bank took sheets back.": [health.sheet(SEEN, IN_FORCE, [THURSDAY, FRIDAY])],
    "A failure warns with its reason and the number of failures in a row.": [
        *(health.fetch(None, 0), health.fetch(Cycle("unchanged"), 0)),
        *(health.fetch(Cycle("failed", failure=FAILURE), 3), health.fetch(Cycle("crashed"), 1)),
    ],
    "A sheet that is held back warns at once.": [
        health.fetch(Cycle("quarantined", held_back={SATURDAY: HELD_BACK, FRIDAY: HELD_BACK}), 0)
    ],
    "Memory goes on serving without Redis. Its words are repeated, and never its address.": [
        health.redis("external", None),
        health.redis("external", StoreUnavailable("Redis: no answer at 10.0.0.5:6379", "timeout")),
        health.redis("external", StoreUnavailable("Redis: MISCONF No space left on device", "refused")),
    ],
    "A heartbeat is due each second, and the check fails after ten without one.": [
        *(health.scheduler(silent_s, NOON) for silent_s in (0.0, 10.0, 10.6)),
        health.scheduler(0.0, None),
    ],
    "A document in quarantine waits for a person.": [health.quarantine(count) for count in (0, 1, 50)],
    "The clock warns from half a minute on, ahead and behind. Unknown does not. It fails if wrong.": [
        *(health.clock(skew_s) for skew_s in (None, 0.4, 30.0, -30.0, 30.6, -30.6)),
        health.clock(3600.0, is_wrong=True),
    ],
    "The calendar warns a month before its end, which leaves time for an update.": [
        health.calendar(FRIDAY + timedelta(days), FRIDAY) for days in (400, 31, 30, -1)
    ],
    "A first start that goes on is no warning. Days without a second document are.": [
        health.history(None, (), None),
        health.history(COVERAGE, (), Progress(34, 88, "KZT (R01335)")),
        health.history(COVERAGE, [THURSDAY], None),
    ],
}


def test_each_check_says_what_it_observed_and_what_is_wrong() -> None:
    """golden/health.txt has each of these checks on a line."""
    shown = {why: "\n".join(json.dumps(check) for check in checks) for why, checks in CHECKS.items()}
    golden("health.txt", "# A line: a check.\n" + "".join(f"# {why}\n{lines}\n" for why, lines in shown.items()))


async def test_health_has_nine_checks(served: Served, clock: Clock) -> None:
    """Each with what it observed, on lines that people can read. A check that warns does not fail."""
    status, _, body = await served.get("/health")
    assert body.decode() == json.dumps(json.loads(body), indent=1, ensure_ascii=False) + "\n"
    checks = {name: check[0] for name, check in json.loads(body)["checks"].items() if not name.endswith(":figures")}
    assert status == 200
    assert {name: (check["status"], check["observedValue"]) for name, check in checks.items()} == {
        "cbr:sheet": ("pass", "2026-04-24"),
        "cbr:fetch": ("pass", "new"),
        "cbr:mirrors": ("pass", 1),
        "redis:connectivity": ("pass", "external"),
        "scheduler:lastRun": ("pass", "2026-04-24T09:00:00+00:00"),
        "history:coverage": ("pass", "1992-07-01/2026-04-24"),
        "quarantine:count": ("pass", 0),
        "clock:skew": ("pass", pytest.approx(0, abs=60)),
        "calendar:coverage": ("pass", str(served.service.history.calendar.known_until)),
    }
    served.service.quarantine.count = 2
    clock.moment = clock.moment.replace(year=2090)
    checks = served.service.health()
    assert (checks["quarantine:count"]["status"], checks["quarantine:count"]["observedValue"]) == ("warn", 2)
    assert checks["calendar:coverage"]["status"] == "warn"
    served.service.schedule.beat_at -= LONGEST_SILENCE_S + 1
    assert served.service.health()["scheduler:lastRun"]["status"] == "fail"


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

        def why() -> str | None:
            return health.not_ready_because(draining=service.draining, has_sheet=service.publication is not None)

        assert why() == "no_sheet"
        assert service.publish_if_due(clock()) is None
        assert service.health()["cbr:fetch"]["observedValue"] == "not yet asked"
        await service.refresher.ask_without_lease()
        assert why() is None
        service.drain()
        assert why() == "draining"


async def test_the_clocks_are_compared_as_of_the_banks_answer(served: Served) -> None:
    """Between two polls ours does not run away. That of a demo stands still, so it is not compared."""
    service, skew_s = served.service, served.service.clock_skew_s
    assert service.client.last_date
    assert skew_s is not None
    said, at, mirror = service.client.last_date
    assert said
    service.client.last_date = said, at - 3600, mirror
    assert service.clock_skew_s == pytest.approx(skew_s - 3600, abs=60)
    service.client.last_date = said - ONE_DAY, at - 3600, mirror
    assert service.clock_skew_s == pytest.approx(skew_s - 3600 + 86400, abs=60)
    service.client.last_date = None, at, mirror
    assert service.clock_skew_s is None
    service.client.last_date = said, at, mirror
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
