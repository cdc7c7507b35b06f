"""One refresh: what it asks for, what it does about an unconfirmed sheet, and what other replicas learn of it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import date

import pytest
from aiohttp import web
from conftest import Clock, Serve, Served, but, eventually
from kit import cases
from kit.bank import Bank, daily_xml, sheet
from kit.dates import DAYS, FRIDAY, SATURDAY, THURSDAY
from kit.http import fetched, reading
from kit.sheets import all_times, changed, plausible, times

from ratesvc.bank.admission import Admission, Decision, Recent, assess
from ratesvc.bank.client import BankClient
from ratesvc.config import Settings
from ratesvc.domain.rates import Revision, Sheet
from ratesvc.domain.workdays import ONE_DAY
from ratesvc.errors import RatesvcError, StoreUnavailable
from ratesvc.service import decisions
from ratesvc.service.app import Service
from ratesvc.service.confirmation import MOST_UNCONFIRMED, UnconfirmedSheets
from ratesvc.service.cycle import Cycle
from ratesvc.service.health import Check
from ratesvc.storage.redis import RedisConnection
from ratesvc.storage.store import Store


async def test_a_refresh_that_brings_a_sheet_has_not_failed(bank: Bank, serve: Serve) -> None:
    """The newest sheet comes, the one before it does not. The failure is reported and not counted."""
    bank.publish(sheet(THURSDAY), sheet(FRIDAY))

    async def newest_only(request: web.Request) -> web.Response:
        if "date_req" in request.query:
            return web.Response(status=500)
        return web.Response(body=bank.documents[FRIDAY], headers={"Content-Type": "text/xml; charset=windows-1251"})

    bank.misbehave = newest_only
    async with serve() as running:
        await eventually(lambda: running.service.telemetry.last_cycle)
        cycle = running.service.telemetry.last_cycle
        assert cycle
        assert (cycle.outcome, bool(cycle.failure), running.service.telemetry.failures) == ("new", True, 0)
        assert [revision.effective_date for revision in cycle.accepted] == [FRIDAY]
        assert b'ratesvc_fetches_total{outcome="new"} 1.0' in (await running.get("/metrics"))[2]
        bank.misbehave = None
        await running.service.poll()
        await eventually(lambda: running.service.history.of_date(THURSDAY))


async def test_a_bank_that_gives_no_document_is_asked_once(bank: Bank, serve: Serve) -> None:
    """At a first start, too. A second request would come before the pause for which the Bank may ask."""

    async def busy(_: web.Request) -> web.Response:
        return web.Response(status=503, headers={"Retry-After": "600"})

    bank.misbehave = busy
    async with serve() as running:
        await eventually(lambda: running.service.telemetry.last_cycle)
        assert len(bank.asked) == 1


async def test_a_document_is_counted_once_by_its_reason(served: Served, bank: Bank) -> None:
    """However often the Bank sends it, and also if no sheet can be read from it.

    Of the documents that are no sheet, quarantine has those with wrong figures or foreign content: nobody wants to look
    at a page of maintenance.
    """
    tomorrow, refresh = SATURDAY, served.service.refresh
    tenfold, short = all_times(sheet(tomorrow), "10"), replace(sheet(tomorrow), quotes=sheet(tomorrow).quotes[:5])
    for wrong in (tenfold, short, tenfold, short):
        bank.documents[tomorrow] = daily_xml(wrong)
        await refresh()
    for no_sheet in (b"<html>Maintenance</html>", daily_xml(sheet(tomorrow))[:-9]):
        bank.documents[tomorrow] = no_sheet
        await refresh()
    counted = [line for line in (await served.get("/metrics"))[2].decode().splitlines() if "quarantined_total{" in line]
    assert counted == [
        'ratesvc_quarantined_total{reason="power_of_ten"} 1.0',
        'ratesvc_quarantined_total{reason="rows"} 1.0',
    ]


async def test_without_redis_a_refresh_tries_one_write(
    bank: Bank, settings: Settings, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each would wait as long again. Both sheets are taken."""
    tried: list[date] = []

    async def put(_: Store, revision: Revision, __: Revision | None) -> Revision:
        tried.append(revision.effective_date)
        raise StoreUnavailable("Redis is away", "timeout")

    bank.publish(sheet(THURSDAY), sheet(FRIDAY))
    monkeypatch.setattr(Store, "put", put)
    async with Service(settings, clock=clock, scheduled=False) as command:
        cycle = await command.refresher.ask_without_lease()
    assert (len(cycle.accepted), cycle.stored, tried) == (2, False, [FRIDAY])


async def test_without_redis_a_refresh_waits_for_it_once(
    bank: Bank, settings: Settings, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if a document goes into quarantine and the case of another ends. The sheet is held all the same."""
    tried: list[str] = []

    @asynccontextmanager
    async def call(_: RedisConnection, operation: str) -> AsyncIterator[None]:
        tried.append(operation)
        raise StoreUnavailable("Redis is away", "timeout")
        yield

    bank.publish(sheet(THURSDAY), all_times(sheet(FRIDAY), "10"))
    async with Service(settings, clock=clock, scheduled=False) as command:
        await command.refresher.ask_without_lease()
        assert command.store.quarantine.count
        bank.publish(sheet(FRIDAY), all_times(sheet(SATURDAY), "10"))
        with monkeypatch.context() as patch:
            patch.setattr(RedisConnection, "call", call)
            cycle = await command.refresher.ask_without_lease()
        assert [one.effective_date for one in cycle.accepted] == [FRIDAY]
    assert (len(tried), cycle.stored) == (1, False)


async def test_an_unreadable_document_of_last_week_hides_nothing(bank: Bank, settings: Settings, clock: Clock) -> None:
    """The later days are asked for, although a mirror is away. Every failure is told, and the longest pause is kept."""
    days = DAYS[-5:]
    bank.publish(*map(sheet, days))
    settings = but(settings, cbr={"mirrors": ("http://127.0.0.1:1", bank.url)})
    async with Service(settings, clock=clock, scheduled=False) as before:
        for day in days:
            await before.refresher.ask_without_lease(day)
    bank.documents[days[0]] = daily_xml(replace(sheet(days[0]), quotes=sheet(days[0]).quotes[:5]))

    async def busy(request: web.Request) -> web.StreamResponse:
        if request.query.get("date_req") == f"{days[2]:%d/%m/%Y}":
            return web.Response(status=503, headers={"Retry-After": "300"})
        return await bank.honest(request)

    bank.misbehave = busy
    async with Service(settings, clock=clock, scheduled=False) as after:
        cycle = await after.refresher.refresh()
        assert (cycle.outcome, cycle.failure and cycle.failure.retry_after_s) == ("unchanged", 300)
        assert re.fullmatch(r".*: connect: .*: rows: .*: status: 503.*", str(cycle.failure))
        assert [case.raw for case in await after.quarantine.cases()] == [bank.documents[days[0]]]


# Several replicas


async def test_a_replica_that_takes_over_plans_one_poll(served: Served, bank: Bank, serve: Serve) -> None:
    """The heartbeat goes on during a long one, and its replica has the lease by then."""
    async with serve() as other:
        await eventually(lambda: other.service.telemetry.last_cycle == Cycle("skipped"))
        bank.asked.clear()
        over = bank.hangs()
        await served.service.retire()
        await other.service.tick()
        await eventually(lambda: bank.queries)
        due = other.service.schedule.jobs["poll"].due
        await other.service.tick()
        assert other.service.schedule.jobs["poll"].due == due
        over.set()


async def test_a_replica_that_cannot_reach_the_bank_does_not_keep_others_from_it(
    bank: Bank, serve: Serve, clock: Clock
) -> None:
    """It releases the lease at once. Another that keeps the lease ends its warning, and is no success of its own.

    Until then its failures count on, so that replicas that all fail do not ask in turn without a pause.
    """
    bank.publish(sheet(THURSDAY), sheet(FRIDAY))
    async with serve(cbr={"mirrors": ("http://127.0.0.1:1",)}) as isolated:
        await eventually(lambda: isolated.service.telemetry.failures and not isolated.service.store.poll_lease.held)
        assert fetching(isolated)["status"] == "warn"
        async with serve() as served:
            await served.ready()
            await isolated.ready()
            await isolated.service.refresh()
            assert isolated.service.telemetry.last_cycle == Cycle("skipped")
            assert fetching(isolated)["failuresInARow"] == isolated.service.telemetry.failures > 0
            clock.advance(minutes=2)
            await isolated.service.tick()
            assert fetching(isolated) == {"status": "pass", "observedValue": "another replica polls"}
            assert isolated.service.telemetry.last_success is None


def fetching(served: Served) -> Check:
    return served.service.health()["cbr:fetch"]


async def test_a_replica_that_stops_frees_its_lease_and_its_readers(served: Served, store: Store) -> None:
    """At once, while it still answers, and it asks the Bank no more."""
    assert not await store.poll_lease.take()
    async with reading(served.url) as reader:
        await served.service.retire()
        await eventually(lambda: reader.ended)
    assert await store.poll_lease.take()
    assert (await served.get("/v1/rates"))[0] == 200
    assert [task for task in asyncio.all_tasks() if task.get_name() in ("poll", "heartbeat")] == []


async def test_two_replicas_share_a_port(bank: Bank, serve: Serve) -> None:
    """The system spreads connections over both. Without `reuse_port` the second replica could not start."""
    bank.publish(sheet(THURSDAY), sheet(FRIDAY))
    async with serve(server={"reuse_port": True}) as one:
        port = int(one.url.rsplit(":", 1)[1])
        async with serve(server={"port": port, "reuse_port": True}) as two:
            await asyncio.gather(one.ready(), two.ready())
            for _ in range(60):
                assert (await fetched(one.url + "/v1/currencies")).status == 200
            counts = [served.service.telemetry.metrics.route("/v1/currencies").by_status[200] for served in (one, two)]
            assert sum(counts) >= 60  # more where a new publication answered it once more by itself
            assert min(counts) > 0


# What is not the Bank's


async def test_a_person_may_release_a_sheet_that_was_refused(served: Served, bank: Bank, store: Store) -> None:
    """It has few rows. The document itself says of which day it is. The next poll knows it, so the alert ends."""
    short = replace(sheet(SATURDAY), quotes=sheet(SATURDAY).quotes[:5])
    bank.publish(short)
    await served.service.poll()
    [case] = await served.service.quarantine.cases()
    other = Revision(changed(short, USD=times("1.01")), 1, case.seen_at)
    await served.service.schedule.stop()  # a heartbeat would load it
    await store.add([other])
    with pytest.raises(RatesvcError, match=f"revision 1 of the sheet of {SATURDAY} has come meanwhile"):
        await decisions.release(served.service.refresher, case)
    assert await served.service.quarantine.cases() == [case]
    await store.connection.client.hdel(f"{{{served.service.settings.redis.namespace}}}:v2:sheets", f"{SATURDAY}.1")
    await decisions.release(served.service.refresher, case)
    assert (served.held(SATURDAY).sheet, served.held(SATURDAY).flags) == (short, ("shrunk", "released"))
    assert await served.service.quarantine.cases() == []
    await served.service.poll()
    assert served.service.telemetry.failures == 0
    assert await served.service.quarantine.cases() == []


@pytest.mark.parametrize("day", [THURSDAY, DAYS[-4]])
async def test_a_day_in_quarantine_is_asked_for_each_hour(day: date, held: Served, bank: Bank, clock: Clock) -> None:
    """It waits for a person, or for the Bank. Each question costs three requests, and the polls come by minutes.

    Thursday's sheet is held and the Bank has other figures now; a withdrawn one is missing.
    """
    asked, waiting = f"date_req={day:%d/%m/%Y}", held.service.quarantine
    await held.service.schedule.stop()
    if day != THURSDAY:
        await decisions.publish(held.service.refresher, decisions.withdrawal(held.service.refresher, day))
    bank.publish(changed(plausible(day), PLN=times("10")))
    clock.advance(days=1)
    await held.service.poll()
    for _ in range(2):
        assert [case.effective_date for case in await waiting.cases()] == [day]
        before = bank.queries.count(asked)
        for _ in range(5):
            clock.advance(minutes=10)
            await held.service.poll()
        assert bank.queries.count(asked) == before
        clock.advance(minutes=11)
        await held.service.poll()
        assert bank.queries.count(asked) == before + 1
    bank.publish(changed(plausible(day), PLN=times("1.01")))
    clock.advance(hours=1)
    for _ in range(2):
        await held.service.poll()
    assert held.held(day).number == 2 + (day != THURSDAY)
    assert await waiting.cases() == []


async def test_a_day_that_the_bank_took_back_is_asked_for_each_hour(held: Served, bank: Bank, clock: Clock) -> None:
    """Two answers without it are enough to say so. Once a person has withdrawn it, the Bank is asked at once."""
    await held.service.schedule.stop()
    bank.takes_back(THURSDAY)
    clock.advance(days=1)
    for minutes, asked in ((0, 1), (10, 2), (10, 2), (40, 2), (11, 3), (10, 3)):
        clock.advance(minutes=minutes)
        await held.service.poll()
        assert bank.queries.count(f"date_req={THURSDAY:%d/%m/%Y}") == asked + 1
    await decisions.publish(held.service.refresher, decisions.withdrawal(held.service.refresher, THURSDAY))
    await held.service.poll()
    assert bank.queries.count(f"date_req={THURSDAY:%d/%m/%Y}") == asked + 2


# An unconfirmed sheet


def odd(factor: str, day: date = SATURDAY) -> Sheet:
    return changed(plausible(day), PLN=times(factor))


def unconfirmed(sheet: Sheet) -> Admission:
    found = assess(sheet, Recent([plausible(sheet.effective_date - ONE_DAY)]))
    assert found.decision is Decision.CONFIRM
    return found


async def decided(sheets: UnconfirmedSheets, bank: Bank, step: str) -> str:
    """One step about Saturday's sheet with that zloty: the decision, and how often the second address was asked."""
    match step.split():
        case "english", "nothing":
            bank.english = b""
        case "english", "yesterday":
            bank.english = daily_xml(plausible(FRIDAY))
        case "english", factor:
            bank.english = daily_xml(odd(factor))
        case ("forgets",):
            del sheets.sightings[SATURDAY]
        case "others", *count:
            for n in range(1, int(count[0] if count else MOST_UNCONFIRMED) + 1):
                await decided(sheets, bank, f"poll 1.3 {SATURDAY + n * ONE_DAY}")
        case ("poll" | "fill" | "command") as word, factor, *days:
            sheets.poll += word == "poll"
            first = unconfirmed(odd(factor, *map(date.fromisoformat, days)))
            found = await sheets.ask_second(first, at_once=word == "command")
            assert replace(found, decision=first.decision) == first
            return f"{step}: {found.decision}, asked {bank.asked_in_english}"
    return ""


@pytest.mark.parametrize("question", cases.questions("confirmation.txt"))
async def test_a_second_document_decides_about_an_unconfirmed_sheet(question: str, bank: Bank) -> None:
    """golden/confirmation.txt has the steps: polls, the backfill after one, commands, and what the Bank says."""
    bank.publish(odd("1.3"))
    async with BankClient((bank.url,), "ratesvc-tests") as client:
        sheets = UnconfirmedSheets(client)
        said = [await decided(sheets, bank, step) for step in question.split("; ")]
    cases.check_one("confirmation.txt", question, "\n".join(filter(None, said)))
