"""Several services on one Redis."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime

import msgspec
from aiohttp import web
from conftest import Clock, Serve, Served, eventually
from fake_bank import Bank, sheet, unavailable
from machine import patience

from ratesvc.config import Settings
from ratesvc.service.health import Check
from ratesvc.service.refresh import Cycle

THURSDAY, FRIDAY, SATURDAY = date(2026, 4, 23), date(2026, 4, 24), date(2026, 4, 25)


async def test_two_services_ask_once_and_both_show_the_new_sheet_within_two_seconds(
    bank: Bank, settings: Settings, serve: Serve, clock: Clock
) -> None:
    """Each document is requested once. The one announcement changes both publications, to the same bytes."""
    bank.publish(sheet(THURSDAY), sheet(FRIDAY))
    async with serve(settings) as one, serve(settings) as two:
        await asyncio.gather(one.ready(), two.ready())
        await eventually(lambda: len(one.service.history) == len(two.service.history) == 2)
        assert sorted(bank.queries) == ["", "date_req=23/04/2026"]
        bank.publish(sheet(SATURDAY))
        clock.moment = datetime(2026, 4, 24, 14, 0, tzinfo=UTC)
        bank.asked.clear()
        outcomes = {(await served.service.refresh()).outcome for served in (one, two)}
        assert outcomes == {"new", "skipped"}
        for served in (one, two):
            await eventually(lambda served=served: served.service.history.of_date(SATURDAY), 2 * patience())  # type: ignore[misc]
        assert bank.queries == [""]
        answers = [await served.get("/v1/rates/next") for served in (one, two)]
        assert answers[0][2] == answers[1][2]
        assert answers[0][1]["ETag"] == answers[1][1]["ETag"]


async def test_a_replica_that_cannot_reach_the_bank_does_not_keep_others_from_it(
    bank: Bank, settings: Settings, serve: Serve
) -> None:
    """It releases the lease at once. An answer to another replica ends its warning, and is no success of its own."""
    bank.publish(sheet(THURSDAY), sheet(FRIDAY))
    cut_off = msgspec.structs.replace(
        settings, cbr=msgspec.structs.replace(settings.cbr, mirrors=("http://127.0.0.1:1",))
    )
    async with serve(cut_off) as isolated:
        await eventually(lambda: isolated.service.telemetry.failures and not isolated.service.store.poll_lease.held)
        assert fetching(isolated)["status"] == "warn"
        async with serve(settings) as served:
            await served.ready()
            await isolated.ready()
            await eventually(lambda: not isolated.service.telemetry.failures)
            for _ in range(2):
                assert fetching(isolated) == {"status": "pass", "observedValue": "skipped"}
                await isolated.service.refresh()
            assert isolated.service.telemetry.last_cycle == Cycle("skipped")
            assert isolated.service.telemetry.last_success is None


def fetching(served: Served) -> Check:
    return served.service.health()["cbr:fetch"]


async def test_every_replica_warns_until_the_bank_answers_one(bank: Bank, settings: Settings, serve: Serve) -> None:
    """A request of another replica says nothing yet. Its result does: a failure as well as rates."""
    bank.publish(sheet(THURSDAY), sheet(FRIDAY))
    over = asyncio.Event()

    async def refuse_late(request: web.Request) -> web.StreamResponse:
        await over.wait()
        return await unavailable(request)

    bank.misbehave = unavailable
    async with serve(settings) as one:
        await eventually(lambda: one.service.telemetry.failures and not one.service.store.poll_lease.held)
        bank.misbehave = refuse_late
        async with serve(settings) as other:
            await eventually(lambda: other.service.store.poll_lease.held)
            assert (await one.service.refresh()).outcome == "skipped"
            assert fetching(one)["status"] == "warn"
            over.set()
            await eventually(lambda: other.service.telemetry.failures and not other.service.store.poll_lease.held)
            assert [fetching(served)["status"] for served in (one, other)] == ["warn", "warn"]
            bank.misbehave = None
            await other.service.poll()
            await eventually(lambda: not one.service.telemetry.failures)
            assert [fetching(served)["status"] for served in (one, other)] == ["pass", "pass"]
