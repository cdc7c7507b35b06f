"""One refresh: what it asks for, and how it is called when only a part of it succeeds."""

from __future__ import annotations

from datetime import date

from aiohttp import web
from conftest import Clock, Serve, eventually
from fake_bank import Bank, sheet

from ratesvc.config import Settings

THURSDAY, FRIDAY = date(2026, 4, 23), date(2026, 4, 24)


async def test_a_refresh_that_brings_a_sheet_has_not_failed(bank: Bank, settings: Settings, serve: Serve) -> None:
    """The newest sheet comes, the one before it does not: the failure is reported beside it and not counted."""
    bank.publish(sheet(THURSDAY), sheet(FRIDAY))

    async def newest_only(request: web.Request) -> web.Response:
        if "date_req" in request.query:
            return web.Response(status=500)
        return web.Response(body=bank.documents[FRIDAY], headers={"Content-Type": "text/xml; charset=windows-1251"})

    bank.misbehave = newest_only
    async with serve(settings) as running:
        await eventually(lambda: running.service.telemetry.last_cycle)
        cycle = running.service.telemetry.last_cycle
        assert cycle
        assert (cycle.outcome, bool(cycle.failure), running.service.telemetry.failures) == ("new", True, 0)
        assert [revision.effective_date for revision in cycle.accepted] == [FRIDAY]
        assert b'ratesvc_fetches_total{outcome="new"} 1.0' in (await running.get("/metrics"))[2]
        bank.misbehave = None
        await running.service.poll()
        await eventually(lambda: running.service.history.of_date(THURSDAY))


async def test_a_newest_sheet_that_is_refused_does_not_hide_the_one_in_force(
    bank: Bank, settings: Settings, serve: Serve
) -> None:
    """Our clock is a day behind, say, so that the newest sheet is of the day after tomorrow."""
    bank.publish(*map(sheet, (THURSDAY, FRIDAY, date(2026, 4, 28))))
    async with serve(settings) as running:
        await eventually(lambda: running.service.history.of_date(FRIDAY))
        assert [revision.effective_date for revision in running.service.history] == [THURSDAY, FRIDAY]


async def test_a_gap_is_closed_although_the_newest_sheet_is_refused(
    bank: Bank, settings: Settings, serve: Serve, clock: Clock
) -> None:
    """A day later only today's own sheet is asked for besides."""
    bank.publish(sheet(THURSDAY), sheet(FRIDAY))
    async with serve(settings) as running:
        await eventually(lambda: running.service.history.of_date(THURSDAY))
        clock.advance(days=1)
        bank.publish(sheet(date(2026, 4, 25)), sheet(date(2026, 4, 28)))
        bank.asked.clear()
        await running.service.poll()
        await eventually(lambda: running.service.history.of_date(date(2026, 4, 25)))
        assert bank.queries[:2] == ["", "date_req=25/04/2026"]
