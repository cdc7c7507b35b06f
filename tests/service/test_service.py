"""What a service does with what it knows: serves it once, ends it at midnight, and goes on whatever happens."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import msgspec
import pytest
from aiohttp import web
from conftest import Clock, Serve, Served, eventually
from fake_bank import Bank, sheet

from ratesvc.config import Settings
from ratesvc.domain.history import History
from ratesvc.domain.rates import Revision
from ratesvc.service.app import Service
from ratesvc.service.refresh import Cycle, Refresher

THURSDAY, FRIDAY, SATURDAY = (date(2026, 4, day) for day in (23, 24, 25))


async def test_what_is_served_is_replaced_when_something_is_new_and_not_before(served: Served, clock: Clock) -> None:
    """The same knowledge is the same publication; a sheet more, an hour more or another day is another one."""
    service = served.service
    first = service.publisher.current
    service.publish()
    assert service.publisher.current is first
    service.history.add(Revision(sheet(SATURDAY), 1, clock()))
    service.publish()
    with_saturday = service.publisher.current
    assert with_saturday is not first
    assert with_saturday
    assert with_saturday.snapshot.announced
    clock.moment = datetime(2026, 4, 24, 21, 0, tzinfo=UTC)
    service.publish()
    assert service.publisher.current is not with_saturday


async def test_a_request_after_midnight_is_answered_by_the_new_day(served: Served, clock: Clock) -> None:
    """Whatever was to switch at midnight slept: the first question switches, and until then nothing does."""
    before = served.service.publisher.current
    assert before
    clock.moment = before.until - timedelta(seconds=1)
    assert served.service.served(clock()) is before
    clock.moment = before.until
    after = served.service.served(clock())
    assert after is not before
    assert after
    assert after.snapshot.today == SATURDAY
    assert served.service.served(clock()) is after


async def test_readiness_says_why_not(settings: Settings, bank: Bank, clock: Clock) -> None:
    """Without a sheet it is not ready, with one it is, and not once it drains."""
    bank.publish(sheet(THURSDAY), sheet(FRIDAY))
    async with Service(settings, clock=clock, scheduled=False) as service:
        assert service.not_ready_because() == "no_sheet"
        assert service.served(clock()) is None
        assert service.health()["cbr:fetch"]["observedValue"] == "not yet asked"
        await service.fetch(None)
        assert service.not_ready_because() is None
        service.drain()
        assert service.not_ready_because() == "draining"


async def test_a_refresh_that_crashes_is_not_the_last_one(
    served: Served, bank: Bank, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is logged and counted as one, and the next brings the sheet."""

    async def broken(*_: object) -> Cycle:
        raise ZeroDivisionError("of a stranger")

    with monkeypatch.context() as patch:
        patch.setattr(Refresher, "cycle", broken)
        assert (await served.service.refresh()).outcome == "crashed"
    assert "of a stranger" in capsys.readouterr().out
    health = served.service.health()["cbr:fetch"]
    assert (health["status"], health["observedValue"]) == ("warn", "crashed")
    bank.publish(sheet(SATURDAY))
    assert (await served.service.refresh()).outcome == "new"
    assert served.service.health()["cbr:fetch"]["status"] == "pass"
    await eventually(lambda: served.service.history.of_date(SATURDAY))


async def test_how_far_the_clocks_differ_is_told_by_the_banks_date(
    bank: Bank, settings: Settings, serve: Serve, clock: Clock
) -> None:
    """Ahead is positive; an answer without a date, or one that is none, tells nothing."""
    bank.publish(sheet(THURSDAY), sheet(FRIDAY))
    date_of = {"Date": format_datetime(clock() - timedelta(hours=1), usegmt=True)}

    async def dated(request: web.Request) -> web.StreamResponse:
        bank.misbehave = None
        answer = await bank.answer(request)
        bank.misbehave = dated
        answer.headers.update(date_of)
        return answer

    bank.misbehave = dated
    async with serve(settings) as served:
        await served.ready()
        await served.service.refresh()
        skew_s = served.service.clock_skew_s
        assert skew_s is not None
        assert 3500 < skew_s <= 3600
        date_of["Date"] = "yesterday"
        await served.service.refresh()
        assert served.service.clock_skew_s is None


async def test_a_command_asks_whatever_other_replicas_do(
    bank: Bank, settings: Settings, serve: Serve, clock: Clock
) -> None:
    """A poll leaves it to who holds the lease; a person is not kept waiting."""
    bank.publish(sheet(THURSDAY), sheet(FRIDAY))
    async with serve(settings) as first:
        await first.ready()
        await eventually(lambda: first.service.telemetry.last_cycle)
        async with Service(settings, clock=clock, scheduled=False) as command:
            bank.publish(sheet(SATURDAY))
            assert (await command.refresh()).outcome == "skipped"
            assert [one.effective_date for one in (await command.fetch(None)).accepted] == [SATURDAY]
            assert command.history.of_date(SATURDAY)
        await eventually(lambda: first.service.history.of_date(SATURDAY))


async def test_without_redis_what_was_fetched_is_served(bank: Bank, settings: Settings, serve: Serve) -> None:
    """Directly, since no announcement comes; the check says that Redis is away."""
    bank.publish(sheet(THURSDAY), sheet(FRIDAY))
    nowhere = msgspec.structs.replace(settings.redis, url="redis://127.0.0.1:1")
    async with serve(msgspec.structs.replace(settings, redis=nowhere)) as served:
        await served.ready()
        await eventually(lambda: len(served.service.history) == 2)
        assert (await served.get("/v1/rates"))[0] == 200
        health = served.service.health()
        assert (health["redis:connectivity"]["status"], health["cbr:sheet"]["status"]) == ("warn", "pass")


async def test_history_begins_with_what_is_stored(bank: Bank, settings: Settings, serve: Serve, clock: Clock) -> None:
    """A replica that starts without the Bank serves what the last one left."""
    bank.publish(sheet(THURSDAY), sheet(FRIDAY))
    async with serve(settings) as first:
        await first.ready()
        await eventually(lambda: len(first.service.history) == 2)
    asked = len(bank.asked)
    async with Service(settings, clock=clock, scheduled=False) as second:
        assert isinstance(second.history, History)
        assert [one.effective_date for one in second.history] == [THURSDAY, FRIDAY]
        assert second.publisher.current
    assert len(bank.asked) == asked


async def test_the_worst_check_is_the_status(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each check stands under its name, with what it observes; a failing one makes it 503."""
    monkeypatch.setattr("ratesvc.web.ops.KEPT_S", -1.0)
    checks: dict[str, dict[str, Any]] = {"cbr:sheet": {"status": "pass", "observedValue": "2026-04-24"}}

    def given() -> dict[str, dict[str, Any]]:
        return checks

    monkeypatch.setattr(served.service, "health", given)
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


async def test_what_a_service_observes_is_what_it_holds(served: Served) -> None:
    """The day of its newest sheet, the outcome of its last request, its Redis, and none in quarantine."""
    body = json.loads((await served.get("/health"))[2])
    observed = {name: check["observedValue"] for name, [check] in body["checks"].items()}
    newest = served.service.history.newest
    cycle = served.service.telemetry.last_cycle
    assert newest
    assert cycle
    assert observed["cbr:sheet"] == str(newest.effective_date) == "2026-04-24"
    assert (observed["cbr:fetch"], observed["redis:connectivity"]) == (cycle.outcome, "external")
    assert (observed["quarantine:count"], observed["calendar:coverage"]) == (
        0,
        str(served.service.history.calendar.known_until),
    )
    assert datetime.fromisoformat(observed["scheduler:lastRun"]) == served.service.telemetry.last_attempt
