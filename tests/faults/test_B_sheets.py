"""Table B: what a sheet can say. A bad one changes nothing; a good one, however unusual, is published."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import date
from decimal import Decimal
from functools import partial
from typing import Any

import msgspec
import pytest
from aiohttp import web
from conftest import Clock, Serve, Served, eventually
from kit.bank import Bank, daily_xml
from kit.cases import questions
from kit.dates import DAYS, EVENING, FRIDAY, MIDNIGHT, SATURDAY, THURSDAY
from kit.front import Front, answers
from kit.http import says
from kit.reader import Watched, watched
from kit.sheets import all_times, plausible
from kit.time import Lag, limit_s
from redis import Redis

from ratesvc.bank.client import BankClient
from ratesvc.bank.xml import write_daily
from ratesvc.config import Settings
from ratesvc.domain.rates import Sheet
from ratesvc.errors import FetchFailed

TOMORROW = plausible(SATURDAY)
GOOD = daily_xml(TOMORROW)
DECLARATION = b'<?xml version="1.0" encoding="windows-1251"?>'


@pytest.fixture
async def served(settings: Settings, bank: Bank, clock: Clock) -> AsyncIterator[Watched]:
    """It holds Thursday's and Friday's sheet, and polls only when a test says so."""
    bank.publish(plausible(THURSDAY), plausible(FRIDAY))
    async with watched(settings, bank, clock, every_s=3600) as running:
        yield running


async def poll(served: Watched, bank: Bank, document: bytes | Sheet) -> str:
    """The outcome of a poll that gets this document for tomorrow."""
    bank.documents[SATURDAY] = daily_xml(document) if isinstance(document, Sheet) else document
    cycle = await served.service.refresh()
    return cycle.failure.kind if cycle.failure else cycle.outcome


async def nothing_changed(served: Watched) -> None:
    """Tomorrow is not set, and today's is served."""
    assert (await served.get("/v1/rates/next"))[0] == 404
    status, _, body = await served.get("/v1/rates")
    assert status == 200
    assert f'"effective_date":"{FRIDAY}"'.encode() in body


SHAPES = {
    "120 000 deep": b"<ValCurs>" + b"<a>" * 120_000,
    "60 000 deep and closed": b"<ValCurs>" + b"<a>" * 60_000 + b"</a>" * 60_000 + b"</ValCurs>",
    "40 000 attributes": b"<ValCurs " + b" ".join(b'a%d=""' % n for n in range(40_000)) + b"/>",
    "half a MB in an attribute": b'<ValCurs Date="' + b"1" * 500_000 + b'" name="Foreign Currency Market"/>',
    "40 000 rows": b'<ValCurs Date="25.04.2026" name="Foreign Currency Market">'
    + b"<Valute/>" * 40_000
    + b"</ValCurs>",
}


@pytest.mark.timed
@pytest.mark.parametrize("shape", SHAPES)
async def test_B2_shapes_that_no_sheet_has(shape: str, bank: Bank) -> None:
    """A document that is absurdly deep, wide or long does not block the event loop for a tenth of a second."""
    lags = []
    async with Front(bank.url) as front, BankClient([front.url], "x") as client:
        front.misbehave(answers(DECLARATION + SHAPES[shape]))
        for _ in range(5):  # another program may have had the processor
            async with Lag() as lag:
                with pytest.raises(FetchFailed, match=r"malformed|structure|row|date"):
                    await client.daily(None, date.min)
            lags.append(lag.longest_s)
    assert min(lags) <= limit_s(0.1)


async def test_B23_another_form(served: Watched, bank: Bank) -> None:
    """The Bank adds a comment, a style sheet, a name: published with a flag, not repeated. Another root: quarantine."""
    bank.truth[SATURDAY] = [TOMORROW]
    assert await poll(served, bank, GOOD.replace(b"ValCurs", b"Rates")) == "invalid:root"
    await nothing_changed(served)
    [case] = await served.service.quarantine.cases()
    assert case.reasons == ("root: there is no ValCurs with rows in it",)
    form = GOOD.replace(b"<ValCurs", b"<?xml-stylesheet href='x.xsl'?><!-- new --><ValCurs").replace(b"Foreign ", b"")
    assert await poll(served, bank, form) == "new"
    status, _, body = await served.get("/v1/rates/next")
    assert (status, msgspec.json.decode(body)["flags"]) == (200, ["unknown_part"])
    assert served.held(SATURDAY).sheet == TOMORROW
    assert (await served.get("/scripts/XML_daily.asp?date_req=25/04/2026"))[2] == write_daily(TOMORROW)


@pytest.mark.parametrize(("later", "today_too"), [(0, False), (0, True), (4, False), (6, False)])
async def test_B12_at_the_very_first_start(later: int, today_too: bool, bank: Bank, serve: Serve, clock: Clock) -> None:
    """At the very first start the newest sheets are wrong, or wrong and late: admission compares them with the last.

    `later` is the number of days since Friday.
    """
    bank.publish(plausible(THURSDAY), plausible(FRIDAY))
    for day in (SATURDAY, FRIDAY) if today_too else (SATURDAY,):
        bank.documents[day] = daily_xml(all_times(plausible(day), "10"))
    clock.advance(days=later)
    async with serve() as started:
        await started.ready()
        await eventually(lambda: (c := started.service.telemetry.last_cycle) and c.outcome == "quarantined")
        assert (await started.get("/v1/rates/next"))[0] == 404
        answer = msgspec.json.decode((await started.get("/v1/rates"))[2])
        right = THURSDAY if today_too else FRIDAY
        assert (answer["effective_date"], answer["stale"]) == (str(right), today_too or later > 0)
        assert len(await started.service.quarantine.cases()) == (2 if today_too else 1)


async def test_B16_a_mirror_that_knows_one_sheet_only(bank: Bank, serve: Serve) -> None:
    """A mirror that is one file answers every date with the same sheet: the service serves it."""
    bank.publish(plausible(FRIDAY))

    async def one_file(_: web.Request) -> web.StreamResponse:
        return web.Response(body=bank.documents[FRIDAY])

    bank.misbehave = one_file
    async with serve() as started:
        await started.ready()
        assert (await started.get("/v1/rates"))[0] == 200


@pytest.mark.nightly
async def test_B18_the_same_a_thousand_times(served: Watched, redis_url: str) -> None:
    """The same sheet comes a thousand times: Redis gets no write except for the lease, and the ETag stays.

    The table's Last-Modified is not sent: a strong ETag says more.
    """
    with Redis.from_url(redis_url, decode_responses=True) as client:
        await served.filled()
        writing = set(client.command_list(category="write"))
        assert {"hset", "hsetnx", "set", "del"} <= writing
        await served.service.refresh()
        await eventually(lambda: not list(client.scan_iter("*:lease:backfill")))
        _, before, _ = await served.get("/v1/rates")
        client.config_resetstat()
        for _ in range(1000):
            assert (await served.service.refresh()).outcome == "unchanged"
        calls: Any = client.info("commandstats")
    _, after, _ = await served.get("/v1/rates")
    assert after["ETag"] == before["ETag"]
    assert {name.removeprefix("cmdstat_") for name in calls} & writing == {"set"}


def exchanged(sheet: Sheet) -> Sheet:
    """The same figures: the ids of pound and franc are exchanged, and the Canadian dollar has another code."""
    ids = {"GBP": sheet.by_code["CHF"].cbr_id, "CHF": sheet.by_code["GBP"].cbr_id}
    return replace(
        sheet,
        quotes=tuple(
            replace(one, cbr_id=ids.get(one.code, one.cbr_id), code="CAX" if one.code == "CAD" else one.code)
            for one in sheet.quotes
        ),
    )


async def check_forms(replica: Served, sheet: Sheet, *codes: str) -> None:
    """Every form has the figure of the sheet."""
    day = sheet.effective_date
    for quote in map(sheet.by_code.__getitem__, codes):
        names = {"{code}": quote.code, "{id}": quote.cbr_id, "{number}": quote.numeric_code, "{day}": str(day)}
        names |= {"{dmy}": f"{day:%d/%m/%Y}", "{ymd}": f"{day:%Y/%m/%d}", "#": r"(\d+(?:[.,]\d+)?)"}
        for line in questions("of_any_day.txt"):
            for name, value in names.items():
                line = line.replace(name, value)  # noqa: PLW2901 -- filled
            address, _, pattern = line.partition(" -> ")
            _, _, body = await replica.get(address)
            found = re.search(pattern, body.decode(errors="replace"), re.DOTALL)
            assert found, (line, quote, body)
            assert Decimal(found[1].replace(",", ".")) == quote.unit_rate, (address, quote, body)


async def test_B21_ids_are_exchanged_and_a_code_is_renamed(
    bank: Bank, serve: Serve, serve_whole: Serve, clock: Clock
) -> None:
    """Ids of two currencies are exchanged, a code is renamed: published once confirmed, and all forms agree."""
    bank.publish(*map(plausible, DAYS))
    named, now, clock.moment = bank.currencies.copy(), exchanged(plausible(SATURDAY)), EVENING
    async with AsyncExitStack() as stack:
        one, other = [await stack.enter_async_context(serve_whole()) for _ in range(2)]
        bank.publish(now)
        bank.currencies = named
        assert [(await one.service.refresh()).outcome for _ in range(2)] == ["confirming", "new"]
        clock.moment = MIDNIGHT
        # The third one learns it all from the Bank, whose series have ids without codes.
        anew = await stack.enter_async_context(serve(redis={"namespace": "anew"}))
        await eventually(lambda: anew.service.history.settled and anew.service.backfilling is None)
        await anew.service.poll()
        for replica in (one, other, anew):
            await eventually(partial(says, replica, f"/v1/rates/{SATURDAY}?codes=CAX", b'"flags":["renamed"]'))
            await check_forms(replica, now, "GBP", "CHF", "CAX")
            for day in (FRIDAY, DAYS[5]):
                await check_forms(replica, plausible(day), "GBP", "CHF", "CAD")
            for days in (f"codes=CAD&since={SATURDAY}", f"codes=CAX&until={FRIDAY}"):
                assert len((await replica.get(f"/v1/series.csv?{days}"))[2].splitlines()) == 1  # the heads
