"""/v1/metals with a stand-in of the Bank. Friday's prices are those that the Bank had on 24 April 2026."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from conftest import Clock, Serve, Served, eventually
from kit.bank import Bank, sheet
from kit.dates import DAYS, EVENING, FRIDAY, SATURDAY, THURSDAY
from kit.figures import spoil, with_metals, wrong

from ratesvc.domain.workdays import WorkCalendar
from ratesvc.errors import BadDocument
from ratesvc.features.metals import prices, routes
from ratesvc.features.metals.routes import PATH

Held = dict[date, dict[int, str]]
GOLD = 1


@pytest.fixture
def held(bank: Bank) -> Held:
    """What the Bank has; a test changes it."""
    rows: Held = {
        THURSDAY: {GOLD: "11310,1", 2: "187,82", 3: "5100", 4: "3750,9"},
        FRIDAY: {GOLD: "11409,47", 2: "187,82", 3: "5009,28", 4: "3750,95"},
    }
    with_metals(bank, rows)
    bank.publish(*map(sheet, DAYS))
    return rows


@pytest.fixture
async def served(held: Held, serve_whole: Serve) -> AsyncIterator[Served]:  # noqa: ARG001 -- that the Bank has
    async with serve_whole() as running:
        await eventually(lambda: running.service.figures["metals"].columns)
        yield running


async def said(served: Served, path: str = "/v1/metals") -> Any:
    status, _, body = await served.get(path)
    return status, json.loads(body)


async def shown(served: Served) -> bytes:
    """A widget with gold."""
    status, _, body = await served.get("/widget?codes=USD,XAU&lang=ru")
    assert status == 200
    return body


async def asks_again(served: Served) -> None:
    """The Bank is asked again, as the schedule would."""
    await served.service._ask_for(served.service.figures["metals"])  # noqa: SLF001 -- the job of the schedule


async def test_a_price_is_said_with_its_day_to_the_last_digit(served: Served) -> None:
    status, answer = await said(served)
    assert status == 200
    assert answer["effective_date"] == str(FRIDAY)
    assert not answer["stale"]
    assert answer["prices"]["XAU"] == {
        "name": "Gold",
        "effective_date": str(FRIDAY),
        "price": 11409.47,
        "previous_effective_date": str(THURSDAY),
        "change": 99.37,
        "change_percent": 0.8786,
    }
    assert answer["prices"]["XAG"]["change"] == 0
    _, russian = await said(served, f"/v1/metals/{THURSDAY}?lang=ru")
    assert russian["prices"]["XAU"]["name"] == "Золото"
    assert russian["prices"]["XPT"]["price"] == 5100
    assert russian["prices"]["XPT"]["change"] is None


async def test_tomorrows_price_is_answered_once_it_is_set_and_no_later_one(served: Served, held: Held) -> None:
    assert (await said(served, f"/v1/metals/{SATURDAY}"))[1]["type"].endswith("not_yet_set")
    held[SATURDAY] = {**held[FRIDAY], GOLD: "11500"}
    await asks_again(served)
    status, answer = await said(served, f"/v1/metals/{SATURDAY}")
    assert (status, answer["prices"]["XAU"]["price"]) == (200, 11500)
    assert (await said(served))[1]["prices"]["XAU"]["price"] == 11409.47
    assert (await said(served, "/v1/metals/2008-07-01"))[1]["type"].endswith("before_history")


async def test_an_old_price_is_called_stale_the_next_morning(served: Served, clock: Clock) -> None:
    clock.advance(days=1)
    status, answer = await said(served)
    assert (status, answer["stale"], answer["effective_date"]) == (200, True, str(FRIDAY))
    assert served.service.health()["metals:figures"]["status"] == "warn"


@pytest.mark.parametrize("absurd", ["114094.7", "1140.947"])
async def test_a_tenfold_price_waits_until_the_bank_repeats_it_on_another_day(
    served: Served, held: Held, clock: Clock, absurd: str
) -> None:
    held[FRIDAY][GOLD] = absurd.replace(".", ",")
    for _ in range(3):
        await asks_again(served)
    assert (await said(served))[1]["prices"]["XAU"]["price"] == 11409.47
    assert ">11\u202f409,47<" in (await shown(served)).decode().replace("\u00a0", "\u202f")
    check = served.service.health()["metals:figures"]
    assert (check["status"], absurd in check["output"]) == ("warn", True)
    clock.advance(days=1)
    await asks_again(served)
    assert (await said(served, f"/v1/metals/{FRIDAY}"))[1]["prices"]["XAU"]["price"] == float(absurd)


async def test_an_absurd_price_that_the_bank_takes_back_is_forgotten(served: Served, held: Held, bank: Bank) -> None:
    held[FRIDAY][GOLD] = "114094,7"
    await asks_again(served)
    # Only the first question is one for all of history.
    assert bank.asked[-1].query["date_req1"] == f"{FRIDAY - timedelta(days=31):%d/%m/%Y}"
    held[FRIDAY][GOLD] = "11409,47"
    await asks_again(served)
    assert served.service.figures["metals"].waiting == {}
    held[SATURDAY] = {GOLD: "114094,7"}
    await asks_again(served)
    del held[SATURDAY]
    await asks_again(served)
    assert served.service.figures["metals"].waiting == {}


@pytest.mark.parametrize(("lang", "gold"), [("en", "Gold, 1 g"), ("ru", "Золото, 1 г")])
async def test_the_builder_offers_each_currency_and_metal_by_its_name(served: Served, lang: str, gold: str) -> None:
    page = (await served.get(f"/?ui={lang}&lang={lang}"))[2].decode().replace("\u00a0", " ")
    offered = dict(re.findall(r"<b>([A-Z]{3})</b> <span>(.*?)</span>", page))
    known = (await said(served, f"/v1/currencies?lang={lang}"))[1]["currencies"]
    assert {code: offered.get(code) for code in (*known, "XAU")} == {c: one["name"] for c, one in known.items()} | {
        "XAU": gold
    }


@pytest.mark.parametrize(("pattern", "by", "why"), wrong("metals"))
async def test_a_broken_document_changes_nothing(served: Served, bank: Bank, pattern: str, by: str, why: str) -> None:
    before = await said(served), await shown(served)
    spoil(bank, PATH, pattern, by)
    await asks_again(served)
    assert (await said(served), await shown(served)) == before
    failure = served.service.figures["metals"].failure
    assert (failure.kind if failure else "invalid:none") == f"invalid:{why}"


async def test_an_answer_without_records_keeps_what_is_held(served: Served, held: Held) -> None:
    before = await said(served)
    held.clear()
    await asks_again(served)
    assert await said(served) == before


async def test_two_replicas_hold_the_same_although_both_fetched_without_redis(
    served: Served, held: Held, serve: Serve, clock: Clock
) -> None:
    """The second corrects while Redis knows the first: the later change counts on both."""
    async with serve() as second:
        await eventually(lambda: second.service.figures["metals"].columns)
        held[FRIDAY][GOLD] = "11409,5"
        clock.advance(seconds=1)
        await second.service.figures["metals"].fetch(second.service.client, clock())
        for one in (second, served, second):
            await one.service.tick()
        assert [(await said(one))[1]["prices"]["XAU"]["price"] for one in (served, second)] == [11409.5, 11409.5]
        assert (await served.get("/v1/metals"))[2] == (await second.get("/v1/metals"))[2]
        assert (await shown(served), b"409,50" in await shown(second)) == (await shown(second), True)


async def test_a_replica_without_the_bank_has_what_redis_has(served: Served, bank: Bank, serve: Serve) -> None:
    before = await said(served)
    over = bank.hangs()
    async with serve() as second:
        await second.ready()
        await second.service.tick()
        assert await said(second) == before
        assert await shown(second) == await shown(served)
    over.set()


async def test_a_damaged_value_in_redis_is_replaced(served: Served) -> None:
    store = served.service.store
    await store.put_figures("metals", b"damaged")
    await served.service.tick()
    assert (await store.figures("metals")) != b"damaged"


@pytest.mark.parametrize("path", ["/v1/series", "/v1/history.csv", "/chart.svg", "/v1/rates"])
async def test_gold_is_no_currency(served: Served, path: str) -> None:
    """A currency's name of gold speaks of an ounce, and these prices are for a gram."""
    status, answer = await said(served, f"{path}?codes=XAU")
    assert (status, answer["type"]) == (404, "urn:ratesvc:unknown_currency")


async def test_all_prices_are_a_table_that_a_spreadsheet_reads(served: Served, held: Held) -> None:
    held[SATURDAY] = {GOLD: "11500"}
    await asks_again(served)
    told = (
        "effective_date,XAU,XAG,XPT,XPD\r\n2026-04-23,11310.1,187.82,5100,3750.9\r\n"
        "2026-04-24,11409.47,187.82,5009.28,3750.95\r\n2026-04-25,11500,,,\r\n"
    )
    status, headers, body = await served.get("/v1/metals.csv")
    assert (status, headers["Content-Type"], body.decode()) == (200, "text/csv; charset=utf-8", told)
    russian = (await served.get("/v1/metals.csv?locale=ru"))[2].decode("utf-8-sig")
    assert russian == told.replace(",", ";").replace(".", ",")


async def test_the_banks_own_address_says_nothing_before_prices_are_held(bank: Bank, serve_whole: Serve) -> None:
    """An empty table would say that there are none."""
    bank.publish(*map(sheet, DAYS))
    async with serve_whole() as running:
        status, _, _ = await running.get(f"{PATH}?date_req1=24/04/2026&date_req2=24/04/2026")
        assert status == 503


async def test_the_banks_own_address_answers_as_the_bank(served: Served) -> None:
    status, headers, body = await served.get("/scripts/XML_METALL.asp?date_req1=24/04/2026&date_req2=24/04/2026")
    assert (status, headers["Content-Type"]) == (200, "application/xml; charset=windows-1251")
    assert prices.parse(body, FRIDAY, FRIDAY)["XPT"] == {FRIDAY: Decimal("5009.28")}
    assert b"<Buy>11310,1</Buy>" in (await served.get(f"{PATH}?date_req1=23/04/2026&date_req2=23/04/2026"))[2]
    assert b"Error in parameters" in (await served.get(f"{PATH}?date_req1=x"))[2]


def test_prices_before_july_2008_are_left_out() -> None:
    """The Bank bought and sold at prices that differed: there is no one price."""
    document = (
        b'<?xml version="1.0" encoding="windows-1251"?><Metall FromDate="20010704" ToDate="20010704" '
        b'name="Precious metals quotations"><Record Date="04.07.2001" Code="1"><Buy>253,43</Buy><Sell>264,75</Sell>'
        b"</Record></Metall>"
    )
    day = date(2001, 7, 4)
    assert prices.parse(document, day, day) == {code: {} for code in prices.CODES}
    with pytest.raises(BadDocument):
        prices.parse(document, day, day + timedelta(1))


def test_the_bank_is_asked_more_often_while_prices_are_awaited() -> None:
    """Every ten minutes of the window. Else four times a day, and when the next window begins."""
    pauses = [routes._pause_s(WorkCalendar(), newest, EVENING) for newest in (FRIDAY, SATURDAY)]  # noqa: SLF001
    assert pauses == [600, 6 * 3600]
