"""Table B: what a sheet can say. A bad one changes nothing; a good one, however unusual, is published."""

from __future__ import annotations

import csv
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from conftest import Clock, Serve, eventually
from kit.bank import Bank, around_today, daily_xml
from kit.dates import FRIDAY, SATURDAY, THURSDAY
from kit.front import Front, answers
from kit.http import reading, says
from kit.ledger import Fault
from kit.recorded import documents, unit_rates
from kit.replicas import shared_by
from kit.service import Program, serving
from kit.sheets import all_times, at, changed, plausible, times, without
from kit.time import Lag, limit_s
from kit.watched import Watched, watched
from redis import Redis

from ratesvc.bank.client import BankClient, Pace
from ratesvc.bank.xml import parse_daily
from ratesvc.config import Settings
from ratesvc.domain.rates import Quote, Sheet
from ratesvc.domain.workdays import ONE_DAY
from ratesvc.errors import FetchFailed
from ratesvc.features.ranges.conversion import per_unit

TOMORROW = plausible(SATURDAY)
GOOD = daily_xml(TOMORROW)
GOOD_TEXT = GOOD.decode("windows-1251")
DECLARATION = b'<?xml version="1.0" encoding="windows-1251"?>'


FALLEN = changed(TOMORROW, UZS=times("0.52"))


@pytest.fixture
async def served(settings: Settings, bank: Bank, clock: Clock) -> AsyncIterator[Watched]:
    """It holds Thursday's and Friday's sheet, and polls only when a test says so."""
    bank.publish(plausible(THURSDAY), plausible(FRIDAY))
    async with watched(settings, bank, clock, every_s=3600) as running:
        yield running


def edited(*pairs: tuple[str, str], encoding: str = "windows-1251") -> bytes:
    """Tomorrow's good document with the first occurrence of each text replaced."""
    text = GOOD_TEXT
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new, 1)
    return text.encode(encoding)


def value_of(code: str) -> str:
    return f"<Value>{TOMORROW.by_code[code].value:.4f}</Value>".replace(".", ",")


async def poll(served: Watched, bank: Bank, document: bytes | Sheet) -> str:
    """The outcome of a poll that gets this document for tomorrow."""
    bank.documents[SATURDAY] = daily_xml(document) if isinstance(document, Sheet) else document
    cycle = await served.service.refresh()
    return cycle.failure.kind if cycle.failure else cycle.outcome


async def is_published(served: Watched, bank: Bank, sheet: Sheet, *outcomes: str) -> list[str]:
    """Publish a sheet; the polls have these outcomes, and then all of it is served. Returns its flags."""
    bank.publish(sheet)
    assert [(await served.service.refresh()).outcome for _ in outcomes] == list(outcomes)
    history = served.service.history
    await eventually(lambda: (h := history.of_date(sheet.effective_date)) and h.sheet.says_the_same_as(sheet))
    await eventually(lambda: served.next_is(sheet.effective_date))
    document = msgspec.json.decode((await served.get("/v1/rates/next"))[2])
    assert document["rates"].keys() == sheet.by_code.keys()
    assert document["flags"] == list(served.held(sheet.effective_date).flags)
    assert len(await served.service.quarantine.cases()) == 0
    return list(document["flags"])


async def nothing_changed(served: Watched) -> None:
    """Tomorrow is not set, and today's is served."""
    assert (await served.get("/v1/rates/next"))[0] == 404
    status, _, body = await served.get("/v1/rates")
    assert status == 200
    assert f'"effective_date":"{FRIDAY}"'.encode() in body


async def right_one_is_taken(served: Watched, bank: Bank, fault: Fault) -> None:
    bank.publish(TOMORROW)
    await served.service.refresh()
    await fault.recovers(lambda: served.next_is(SATURDAY))


BOMB = b"<!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><ValCurs>&a;</ValCurs>"
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
    async with Front(bank.url) as front, BankClient([front.url], "x", pace=Pace(None)) as client:
        front.misbehave(answers(DECLARATION + SHAPES[shape]))
        for _ in range(5):  # another program may have had the processor
            async with Lag() as lag:
                with pytest.raises(FetchFailed, match=r"malformed|structure|row|date"):
                    await client.newest(date.min)
            lags.append(lag.longest_s)
    assert min(lags) <= limit_s(0.1)


def with_unit_rate(code: str, printed: str) -> bytes:
    """Tomorrow's document with another unit rate of that currency."""
    unit = f"{TOMORROW.by_code[code].unit_rate:f}".replace(".", ",")
    return edited((f"<VunitRate>{unit}<", f"<VunitRate>{printed}<"))


REFUSED: dict[str, tuple[list[bytes | Sheet], tuple[str, ...]]] = {
    "B1 The parser refuses a DOCTYPE unread": ([DECLARATION + BOMB], ("invalid:foreign",)),
    "B3 The charset is not the declared one, unknown or missing": (
        [GOOD_TEXT.encode(), GOOD.replace(b"windows-1251", b"x-foo"), GOOD_TEXT.encode("utf-16")],
        ("invalid:encoding", "invalid:structure"),
    ),
    "B4 The answer is empty, or a table without rows": ([b"", DECLARATION + b"<ValCurs/>"], ("invalid:structure",)),
    "B5 One row is left, or half of them, or the dollar is missing: today's sheet stays": (
        [
            replace(TOMORROW, quotes=TOMORROW.quotes[10:11]),
            without(TOMORROW, "USD"),
            without(TOMORROW, "PLN", "RON", "CZK", "MDL"),
        ],
        ("invalid:rows", "invalid:core", "quarantined"),
    ),
    "B7 A currency code stands twice, or two values in one row": (
        [edited(("<CharCode>KZT<", "<CharCode>USD<")), edited((value_of("USD"), value_of("USD") * 2))],
        ("invalid:duplicate", "invalid:row"),
    ),
    "B8 A value is zero": ([edited((value_of("USD"), "<Value>0,0000</Value>"))], ("invalid:row",)),
    "B9 A nominal is missing: it is never taken for 1": ([edited(("<Nominal>1</Nominal>", ""))], ("invalid:row",)),
    "B11 A unit rate contradicts its value": ([with_unit_rate("USD", "75,5274")], ("invalid:unit",)),
    "B16 The date is the day after tomorrow, or the 31st of February": (
        [edited(('Date="25.04.2026"', f'Date="{text}"')) for text in ("26.04.2026", "31.02.2026")],
        ("invalid:date",),
    ),
    "B20 The document can be read in two ways": (
        [edited(("<Value>", '<Value currency="RUB">')), GOOD + b"<ValCurs/>"],
        ("invalid:row", "invalid:malformed"),
    ),
}


@pytest.mark.parametrize("row", REFUSED)
async def test_a_document_that_is_no_sheet(row: str, served: Watched, bank: Bank, fault: Fault) -> None:
    """A few of each kind go all the way; tests/bank has all others."""
    documents, kinds = REFUSED[row]
    for document in documents:
        assert await poll(served, bank, document) in kinds, document
        await nothing_changed(served)
        assert await served.health_of("cbr:fetch") == "warn"
    await right_one_is_taken(served, bank, fault)


READ: dict[str, bytes] = {
    "B11 Unit rates in scientific notation, or none, are accepted": re.sub(rb"<VunitRate>[^<]*<.VunitRate>", b"", GOOD),
    "B20 Unusual XML with one meaning is read with that meaning": edited(
        ("<ValCurs", '<ValCurs version="2"'),
        ("</Valute><Valute", "</Valute>\r\n\t <Valute"),
        ("<CharCode>USD</CharCode>", "<CharCode>USD</CharCode><Change>+0,1</Change>"),
        (value_of("USD"), value_of("USD").replace("<Value>", "<Value> ")),
    ),
}


@pytest.mark.parametrize("row", READ)
async def test_a_document_written_in_another_way(row: str, served: Watched, bank: Bank) -> None:
    """It is a sheet as good as any other."""
    bank.publish(TOMORROW)
    assert b"E-0" in GOOD  # a unit rate in scientific notation, which is accepted in all other tests
    assert await poll(served, bank, READ[row]) == "new"
    await eventually(lambda: served.next_is(SATURDAY))
    assert served.held(SATURDAY).sheet.says_the_same_as(TOMORROW)


ELEVEN = [
    at(Quote(f"X{chr(65 + n)}A", f"9{n:02}", f"R099{n:02}", 1, Decimal(1), "Новая"), Decimal(11 + n)) for n in range(11)
]
FEWER = without(TOMORROW, "CZK", "MDL")
CONFIRMED = (["confirming", "new"], ["large_move"])
PUBLISHED: dict[str, tuple[Sheet, list[str], list[str]]] = {
    "B6 Two currencies go and eleven come": (replace(FEWER, quotes=(*FEWER.quotes, *ELEVEN)), ["new"], []),
    "B15 The sum alone falls by 48 %, as in 2017: published once it is confirmed": (FALLEN, *CONFIRMED),
    "B19 The same figures on a new day": (replace(plausible(FRIDAY), effective_date=SATURDAY), ["new"], ["frozen"]),
}


@pytest.mark.parametrize("row", PUBLISHED)
async def test_an_unusual_sheet(row: str, served: Watched, bank: Bank) -> None:
    """It is right all the same."""
    sheet, outcomes, flags = PUBLISHED[row]
    assert await is_published(served, bank, sheet, *outcomes) == flags
    assert bank.asked_in_english == len(outcomes) - 1
    assert await served.health_of("cbr:sheet") == ("warn" if "frozen" in flags else "pass")


def slipped(factor: str) -> list[Sheet]:
    return [changed(TOMORROW, PLN=times(factor)), changed(TOMORROW, KRW=times(factor)), all_times(TOMORROW, factor)]


DOUBTED = (GOOD, ["confirming", "quarantined"])
SUSPECT: dict[str, tuple[list[Sheet], bytes | None, list[str], str]] = {
    "B12 One currency, or all, times a power of ten: quarantine, however often it is repeated": (
        [*slipped("10"), *slipped("0.01")],
        None,
        ["quarantined"] * 3,
        "power_of_ten",
    ),
    "B13 The zloty alone rises by 22 %, and the English document differs": (
        [changed(TOMORROW, PLN=times("1.22"))],
        *DOUBTED,
        "large_move",
    ),
    "B13 Dollar and euro are exchanged, and the English document differs": (
        [changed(TOMORROW, USD=TOMORROW.by_code["EUR"].unit_rate, EUR=TOMORROW.by_code["USD"].unit_rate)],
        *DOUBTED,
        "off_peg",
    ),
}
"""The sheets, the English document if it does not repeat them, the outcomes of the polls of each, and the reason."""


@pytest.mark.parametrize("row", SUSPECT)
async def test_a_sheet_with_wrong_figures(row: str, served: Watched, bank: Bank, fault: Fault) -> None:
    """The old one is served meanwhile, and the wrong bytes are kept with the reason."""
    sheets, bank.english, outcomes, reason = SUSPECT[row]
    for sheet in sheets:
        assert [await poll(served, bank, sheet) for _ in outcomes] == outcomes
        await nothing_changed(served)
    cases = await served.service.quarantine.cases()
    assert {case.raw for case in cases} == {daily_xml(sheet) for sheet in sheets}
    assert {case.reasons[0].split(":")[0] for case in cases} == {reason}
    await right_one_is_taken(served, bank, fault)


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


def recorded(day: date) -> Sheet:
    """That day's recorded sheet, with nominals by the Bank's rule."""
    known = {quote.code: quote for document in documents().values() for quote in parse_daily(document).quotes}
    return Sheet(day, tuple(at(known[code], rate) for code, rate in unit_rates()[day].items()))


@asynccontextmanager
async def on_the_eve(day: date, settings: Settings, bank: Bank, clock: Clock) -> AsyncIterator[Watched]:
    """A service that holds the two recorded sheets before this day's, on the evening before."""
    clock.moment = datetime.combine(day - ONE_DAY, time(15), UTC)
    bank.publish(*map(recorded, days_before(day)))
    async with watched(settings, bank, clock, every_s=3600) as then:
        await eventually(lambda: then.service.backfilling is None)
        yield then


def days_before(day: date) -> list[date]:
    """The last two sheets."""
    return sorted(other for other in unit_rates() if other < day)[-2:]


@pytest.mark.parametrize("day", [date(2022, 3, 4), date(2022, 3, 5)], ids=["less", "more"])
async def test_B10_the_sums_real_flips(day: date, settings: Settings, bank: Bank, clock: Clock) -> None:
    """The sum's nominal goes from 10,000 to 1,000 and back, as in March 2022: the change is that of one unit."""
    old, new = (recorded(one).by_code["UZS"] for one in (days_before(day)[-1], day))
    assert {old.nominal, new.nominal} == {1000, 10000}
    async with on_the_eve(day, settings, bank, clock) as then:
        assert await is_published(then, bank, recorded(day), "new") == []
        row = msgspec.json.decode((await then.get("/v1/rates/next"))[2])["rates"]["UZS"]
    moved = (new.value / new.nominal) / (old.value / old.nominal) - 1
    assert row["nominal"] == new.nominal
    assert row["change_percent"] == pytest.approx(float(moved * 100), abs=0.0001)


@pytest.mark.parametrize(
    ("day", "outcomes", "flags"),
    [
        (date(2022, 3, 3), ["new"], []),
        (date(2014, 12, 19), ["new"], []),
        (date(1994, 10, 12), *CONFIRMED),
        (date(1998, 9, 10), *CONFIRMED),
    ],
    ids=["2022", "2014", "1994", "1998"],
)
async def test_B14_real_crises(
    day: date, outcomes: list[str], flags: list[str], settings: Settings, bank: Bank, clock: Clock
) -> None:
    """Recorded crises are published: +12.5 % and −12.1 % at once, +27 % and −24 % once confirmed, with a flag."""
    async with on_the_eve(day, settings, bank, clock) as then:
        assert await is_published(then, bank, recorded(day), *outcomes) == flags


async def test_B17_a_correction(served: Watched, bank: Bank) -> None:
    """The Bank corrects a figure: once confirmed it is revision 2 with an ETag of its own, and revision 1 is kept."""
    assert await is_published(served, bank, TOMORROW, "new") == []
    _, before, _ = await served.get("/v1/rates/next")
    corrected = changed(TOMORROW, PLN=times("1.02"))
    flags = await is_published(served, bank, corrected, "confirming", "new")
    assert flags == ["corrected"]
    await eventually(lambda: len(served.service.history.documents()) == 4)
    _, after, body = await served.get("/v1/rates/next")
    assert b'"revision":2' in body
    assert before["ETag"] != after["ETag"]
    _, _, first = await served.get(f"/v1/rates/{SATURDAY}?revision=1")
    assert b'"revision":1' in first
    held = served.service.history.revision(SATURDAY, 1)
    assert held.sheet.quotes == TOMORROW.quotes


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


NUMBER = r"(\d+(?:[.,]\d+)?)"
OF_ANY_DAY = r"""
/v1/rates/{day}?codes={code} -> "{code}":.*"unit_rate":#,
/v1/rates/{day}.csv?codes={code} -> {code},{day},1,1,.*?,#,
/v1/rates/{day}/{code}.txt -> #
/v1/series?codes={code}&since={day}&until={day} -> "{code}","unit_rate":#,
/v1/series.csv?codes={code}&since={day}&until={day} -> {day},{code},#,
/v1/series?codes={code}&last=9&group=month&until={day} -> "last_rate":#,[^}]*}\]
/v1/history.csv?codes={code}&since={day} -> {day},{code},1,.*?,#,
/v1/convert?amount=1&from={code}&to=RUB&date={day} -> "result":"#"
/chart.svg?codes={code}&until={day} -> last # on
/rate?date={day}&code={code} -> 1.{code} = #
/cbr/scripts/XML_daily.asp?date_req={dmy} -> {id}"><NumCode>{number}<.{10,20}>{code}<.*?<Value>#<
/cbr/scripts/XML_daily_eng.asp?date_req={dmy} -> {code}</CharCode><Nominal>1</Nominal><Name>{code}<.*?>#<
/cbr/scripts/XML_dynamic.asp?VAL_NM_RQ={id}&date_req1={dmy}&date_req2={dmy} -> <Value>#<
/cbr-xml-daily/archive/{ymd}/daily_json.js -> "{id}","NumCode":"{number}",[^,]*"{code}".*?"Value":#,
/frankfurter/v1/{day}?base={code}&symbols=RUB -> "RUB":#
/frankfurter/v2/rates?date={day}&base={code}&quotes=RUB -> "rate":#
/openexchangerates/api/historical/{day}.json?base={code}&symbols=RUB -> "RUB":#
/rbc/tsv/{number}/{ymd}.tsv -> 1\t#
/rbc/tsv/cb/{number}.tsv -> {plain}\t1\t#
"""
OF_TODAY = r"""
/widget?codes={code} -> cbr-code">{code}<.*?cbr-value">#<
/widget/rows.json?codes={code} -> "{code}".*?"cells":."#"
/widget/card.svg?codes={code} -> {code}<.*?>#</text>
/chart?codes={code} -> <td>#</td>
/prebid/currency.json -> "{code}":{[^}]*"RUB":#
"""
"""An address, and what surrounds the price of one unit in roubles in its answer."""


def swapped(sheet: Sheet, one: str, other: str) -> Sheet:
    """The same figures, and the ids of two currencies exchanged."""
    ids = {one: sheet.by_code[other].cbr_id, other: sheet.by_code[one].cbr_id}
    return replace(sheet, quotes=tuple(replace(q, cbr_id=ids.get(q.code, q.cbr_id)) for q in sheet.quotes))


def renamed(sheet: Sheet, code: str, new: str) -> Sheet:
    """The same figures, and one code renamed under its id."""
    return replace(sheet, quotes=tuple(replace(q, code=new) if q.code == code else q for q in sheet.quotes))


def _filled(line: str, names: dict[str, str]) -> str:
    return re.sub(r"{(\w+)}|#", lambda name: names[name[1] or "#"], line)


async def check_forms(replica: Program, forms: str, sheet: Sheet, *codes: str) -> None:
    """Every form has the figure of the sheet."""
    day = sheet.effective_date
    for quote in map(sheet.by_code.__getitem__, codes):
        names = {"code": quote.code, "id": quote.cbr_id, "number": quote.numeric_code, "day": str(day), "#": NUMBER}
        names |= {"dmy": f"{day:%d/%m/%Y}", "ymd": f"{day:%Y/%m/%d}", "plain": f"{day:%Y%m%d}"}
        for line in filter(None, forms.splitlines()):
            address, _, pattern = _filled(line, names).partition(" -> ")
            _, _, body = await replica.get(address)
            found = re.search(pattern, body.decode(errors="replace"), re.DOTALL)
            assert found, (line, quote, body)
            assert Decimal(found[1].replace(",", ".")) == quote.unit_rate, (address, quote, body)
    heads, *lines = csv.reader((await replica.get("/ecb/eurofxref-hist.csv"))[2].decode().splitlines())
    euros = next(dict(zip(heads, line, strict=True)) for line in lines if line[0] == str(day))
    assert {code: Decimal(euros[code]) for code in codes} == {code: per_unit(sheet, "EUR")[code] for code in codes}


@pytest.mark.nightly
async def test_B21_ids_are_exchanged_and_a_code_is_renamed(bank: Bank, redis_url: str, tmp_path: Path) -> None:
    """Ids of two currencies are exchanged, a code is renamed: published once confirmed, and all forms agree."""
    newest, eve, *earlier = around_today(Bank(), back=20)
    before, sheets = plausible(eve), [plausible(day) for day in earlier]
    bank.publish(before, *sheets)
    named = bank.currencies.copy()
    now = renamed(swapped(plausible(newest), "GBP", "CHF"), "CAD", "CAX")
    async with AsyncExitStack() as stack:
        for empty in (False, True):
            shared = shared_by(bank, redis_url, RATESVC_POLL_SECONDS="0.5")
            two = [await stack.enter_async_context(serving(tmp_path, **shared)) for _ in range(2)]
            for replica in two:
                await eventually(partial(says, replica, "/v1/currencies", b'"complete":true'))
            if not empty:
                reader = await stack.enter_async_context(reading(two[1].url))
                bank.publish(now)
                bank.currencies = named
                await reader.receives(2)
                assert reader.received == [("sheet", str(newest), 1), ("in_force", str(newest), 1)]
            for replica in two:
                await eventually(partial(says, replica, f"/v1/rates/{newest}?codes=CAX", b'"CAX":{'))
                assert b'"flags":["renamed"]' in (await replica.get("/v1/rates"))[2]
                await check_forms(replica, OF_ANY_DAY + OF_TODAY, now, "GBP", "CHF", "CAX")
                await check_forms(replica, OF_ANY_DAY, before, "GBP", "CHF", "CAD")
                await check_forms(replica, OF_ANY_DAY, sheets[5], "GBP", "CHF", "CAD")
                for days in (f"codes=CAD&since={newest}", f"codes=CAX&until={eve}"):
                    assert len((await replica.get(f"/v1/series.csv?{days}"))[2].splitlines()) == 1  # the heads
                await replica.stops()
