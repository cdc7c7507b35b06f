"""/v1/series, /v1/convert and charts over HTTP, compared with an independent calculation."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from random import Random
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from conftest import Clock, Serve, Served, eventually, patience_s
from kit.bank import Bank, sheet, workdays
from kit.dates import EVENING, FRIDAY, MONDAY, SATURDAY, THURSDAY
from kit.history import EURO_STARTS, LongHistory, rounded
from kit.sheets import all_times, changed

OLD_AND_NEW = (date(1997, 12, 31), date(1998, 1, 1))
SEED = 20261124


@pytest.fixture(scope="module")
def known() -> LongHistory:
    return LongHistory.invented()


@pytest.fixture
async def served(known: LongHistory, bank: Bank, serve: Serve, clock: Clock) -> AsyncIterator[Served]:
    """A service that has filled itself from a stand-in with these figures."""
    last = known.days[-1]
    for code, days in known.series.items():
        cbr_id, number = known.ids[code]
        bank.currencies[cbr_id] = (code, number, code)
        bank.series[cbr_id] = days
    clock.moment = datetime.combine(last, datetime.min.time().replace(hour=9), UTC)
    async with serve() as running:
        await eventually(
            lambda: running.service.history.coverage and not running.service.backfilling, within_s=6 * patience_s()
        )
        yield running


def read(body: bytes) -> Any:
    return json.loads(body, parse_float=Decimal, parse_int=Decimal)


@pytest.mark.nightly
async def test_thirty_years_equal_an_independent_calculation(known: LongHistory, bank: Bank, served: Served) -> None:
    """The service fills itself with one request for each currency id; then random requests agree to the last digit."""
    # One service for all parts: it takes ten seconds to fill.
    asked = [cbr_id for cbr_id in bank.series_asked if cbr_id != "R01235"]  # once more for each day without a sheet
    assert len(asked) == len(set(asked))
    assert set(bank.series_asked) >= set(bank.currencies)
    chance = Random(SEED)  # noqa: S311 -- a seed, so that a failure can be repeated
    await a_thousand_days_agree(known, served, chance)
    await two_hundred_series_agree(known, served, chance)
    await all_days_fit_into_one_answer(known, served)
    await the_file_of_the_ecb_agrees_and_keeps_nobody_waiting(known, served)


async def a_thousand_days_agree(known: LongHistory, served: Served, chance: Random) -> None:
    codes, first, last = sorted(known.series), known.days[0], known.days[-1]
    answered = 0
    for _ in range(1000):
        day = first + timedelta(days=chance.randrange((last - first).days))
        quote = chance.choice(["RUB", "RUB", "USD", "EUR", "CNY", "GBP"])
        code = chance.choice(codes)
        effective = known.effective(day)
        status, _, body = await served.get(f"/v1/rates/{day}?codes={code}&quote_currency={quote}")
        if code == quote or known.unit(quote, effective) is None:
            assert status == (400 if code == quote else 404)
            continue
        document = read(body)
        assert document["effective_date"] == str(effective)
        row = document["rates"].get(code)
        expected = known.rate(code, quote, effective)
        assert (row and row["unit_rate"]) == expected, (day, code, quote)
        answered += expected is not None
    assert answered > 300


async def the_file_of_the_ecb_agrees_and_keeps_nobody_waiting(known: LongHistory, served: Served) -> None:
    """All of history as XML. Small answers go on while a thread renders it."""
    address, answered = "/ecb/eurofxref-hist.xml", 0
    # Without its body, because this loop is also the client's and would read it.
    asked = asyncio.ensure_future(served.http.head(served.url + address))
    while not asked.done():
        assert (await served.get("/livez"))[0] == 200
        answered += 1
    assert ((await asked).status, answered > 10) == (200, True)
    days = ET.fromstring((await served.get(address))[2])[-1]  # noqa: S314 -- the document is our own
    assert [day.get("time") for day in days] == [str(day) for day in reversed(known.days) if day >= EURO_STARTS]
    for day in days[:: len(days) // 200]:
        for cube in day:
            expected = known.rate("EUR", cube.attrib["currency"], date.fromisoformat(day.attrib["time"]))
            assert Decimal(cube.attrib["rate"]) == expected


async def two_hundred_series_agree(known: LongHistory, served: Served, chance: Random) -> None:
    codes, first, last = sorted(known.series), known.days[0], known.days[-1]
    for _ in range(200):
        since = first + timedelta(days=chance.randrange((last - first).days))
        until = since + timedelta(days=chance.randrange(900))
        quote = chance.choice(["RUB", "USD", "EUR"])
        code = chance.choice([one for one in codes if one != quote])
        path = f"/v1/series?codes={code}&quote_currency={quote}&since={since}&until={until}"
        rows = read((await served.get(path))[2])["rows"]
        expected_rows = [
            {"date": str(day), "code": code, "unit_rate": rate, "effective_date": str(day), "revision": 1}
            for day in known.days
            if since <= day <= until and (rate := known.rate(code, quote, day)) is not None
        ]
        assert rows == expected_rows, path


async def all_days_fit_into_one_answer(known: LongHistory, served: Served) -> None:
    """Every published day of one currency in one call, old roubles said; as a table for Excel too."""
    first, last = known.days[0], known.days[-1]
    path = f"/v1/series?codes=USD&since={first}&until={last}"
    document = read((await served.get(path))[2])
    assert len(document["rows"]) == len(known.days) > 6900
    assert document["denomination"] == {"before": "1998-01-01", "unit": "old rouble", "per_new_rouble": 1000}
    _, headers, body = await served.get(f"{path.replace('?', '.csv?')}&locale=ru")
    lines = body.decode("utf-8-sig").splitlines()
    assert body.startswith(b"\xef\xbb\xbf")
    value = known.series["USD"][first][1].normalize()
    assert lines[0] == "date;code;unit_rate;effective_date;revision;roubles;name"
    assert lines[1] == f"{first};USD;{value:f};{first};1;old;US dollar".replace(".", ",")
    assert lines[-1].endswith(";new;US dollar")
    assert headers["Content-Type"] == "text/csv; charset=utf-8"
    yearly = read((await served.get(f"{path}&group=year"))[2])["periods"]
    of_1999 = [value for day, (_, value) in known.series["USD"].items() if day.year == 1999]
    mean = rounded(Fraction(sum(of_1999)) / len(of_1999), 10)
    assert [yearly[7][name] for name in ("since", "mean_rate", "count")] == ["1999-01-01", mean, len(of_1999)]


async def test_daily_fill_has_every_day_that_rates_answers(bank: Bank, serve: Serve, clock: Clock) -> None:
    """Also tomorrow and the days off after it, once their sheet is announced; each day like /v1/rates."""
    clock.moment = EVENING
    bank.publish(*(sheet(date(2026, 4, day)) for day in (22, 23, 24, 25)))
    async with serve() as running:
        await eventually(lambda: running.service.history.coverage and running.service.history.of_date(SATURDAY))
        for day in (date(2026, 4, 22) + timedelta(number) for number in range(8)):
            path = f"/v1/series?codes=USD&fill=daily&since={day}&until={day}"
            rows = read((await running.get(path))[2])["rows"]
            status, _, body = await running.get(f"/v1/rates/{day}?codes=USD")
            sheets = [read(body)] if status == 200 else []
            assert [[row["date"], row["unit_rate"], row["effective_date"]] for row in rows] == [
                [str(day), one["rates"]["USD"]["unit_rate"], one["effective_date"]] for one in sheets
            ]
            assert (status == 200) == (day <= MONDAY)
        tables = [
            (await running.get(f"/v1/{form}?codes=USD&since=2026-04-22"))[2] for form in ("series.csv", "history.csv")
        ]
        assert tables[0].startswith(b"date,code,unit_rate,effective_date,revision,roubles,name\r\n")
        sheets = read((await running.get("/v1/sheets?since=2026-04-22"))[2])["rows"]
        for table in tables:
            listed = [line.partition(",")[0] for line in table.decode().splitlines()[1:]]
            assert listed == [row["effective_date"] for row in sheets], "with the announced sheet"
        every = read((await running.get("/v1/series?last=1"))[2])["rows"]
        assert [row["code"] for row in every] == sorted(running.held(SATURDAY).sheet.by_code)


async def test_chosen_days_and_the_last_sheets(bank: Bank, serve: Serve, clock: Clock) -> None:
    """A chosen day has the rate that /v1/rates has, or is refused like it; `last` counts sheets.

    Generated clients also send what is the default of the other parameters.
    """
    clock.moment = EVENING
    bank.publish(*(sheet(date(2026, 4, day)) for day in (21, 22, 23, 24, 25)))
    async with serve() as running:
        await eventually(lambda: running.service.history.coverage and running.service.history.of_date(SATURDAY))

        async def days(query: str) -> list[tuple[str, str, str]]:
            status, _, body = await running.get(f"/v1/series?codes=USD,RUB&quote_currency=EUR&{query}")
            assert status == 200, body
            return [(row["code"], row["date"][8:], row["effective_date"][8:]) for row in read(body)["rows"]]

        chosen = "dates=2026-04-27,next,2026-04-22,2026-04-22&fill=none&roubles=as_set"
        expected = [("22", "22"), ("25", "25"), ("27", "25")]
        assert await days(chosen) == [(code, *pair) for code in ("USD", "RUB") for pair in expected]
        assert [row[1] for row in await days("last=2&until=today")] == ["23", "24"] * 2
        assert [row[1] for row in await days("last=2")] == ["24", "25"] * 2
        assert len(await days("last=9999&until=today")) == 8
        for day, status in (("2026-04-28", 404), ("1992-06-30", 404)):
            for path in (f"/v1/rates/{day}", f"/v1/series?codes=USD&dates=today,{day}"):
                assert (await running.get(path))[0] == status, path


async def test_a_sheet_as_csv_tells_old_roubles_from_new_ones(bank: Bank, serve_whole: Serve) -> None:
    """Where a rouble is shown, be it in the quote or in a row. The columns are always the same."""
    bank.publish(*map(sheet, (*OLD_AND_NEW, FRIDAY)))
    async with serve_whole() as running:
        for query in ("codes=USD", "codes=RUB&quote_currency=USD", "quote_currency=USD"):
            heading, *rows = (
                (await running.get(f"/v1/rates/{OLD_AND_NEW[0]}.csv?{query}&lang=de"))[2].decode().splitlines()
            )
            assert heading.endswith(",change_percent,roubles,name"), query
            kinds = {row.split(",")[0]: row.split(",")[-2:] for row in rows}
            assert kinds.get("EUR", ["", "Euro"]) == ["", "Euro"]
            assert kinds["USD" if query == "codes=USD" else "RUB"][0] == "old"


async def test_conversion_revision_and_text(bank: Bank, serve_whole: Serve) -> None:
    """Amounts and rates of a conversion are strings, .txt has one number, and the first revision stays readable."""
    friday = FRIDAY
    bank.publish(sheet(THURSDAY), sheet(friday))
    async with serve_whole() as running:

        async def converted(query: str) -> Any:
            return read((await running.get(f"/v1/convert?{query}"))[2])

        usd, jpy = (sheet(friday).by_code[code] for code in ("USD", "JPY"))
        answer = await converted("amount=7&from=USD&to=jpy,RUB&date=2026-04-24")
        assert [*answer["results"]] == ["JPY", "RUB"]
        in_yen = 7 * Fraction(usd.value) / (Fraction(jpy.value) / 100)
        assert Decimal(answer["results"]["JPY"]["result"]) == rounded(in_yen, 28)
        assert answer["results"]["JPY"]["unit_rate"] == str(rounded(in_yen / 7, 10))
        assert answer["results"]["RUB"] == {
            "unit_rate": str(usd.value),
            "result": str(7 * usd.value),
            "result_rounded": f"{7 * usd.value:.2f}",
        }
        for given in ("100.50", "007", "0.10", "-0", "-00.0"):
            answer = await converted(f"amount={given}&from=USD")
            assert (answer["amount"], Decimal(answer["results"]["RUB"]["result"])) == (
                given,
                Decimal(given) * usd.value,
            )
        for day in ("2026-04-24", "today"):
            _, headers, body = await running.get(f"/v1/rates/{day}/USD.txt")
            assert (body.decode(), headers["Effective-Date"], headers["Revision"]) == (
                str(usd.unit_rate),
                str(friday),
                "1",
            )
        first, booked = (await running.get("/v1/rates/2026-04-24"))[2], await converted("from=USD&date=2026-04-24")
        bank.publish(sheet(friday, shift=1))
        for _ in range(2):
            await running.service.poll()
        assert read((await running.get("/v1/rates/2026-04-24"))[2])["revision"] == 2
        assert read((await running.get("/v1/series?codes=USD"))[2])["rows"][-1]["revision"] == 2
        assert (await converted("from=USD&date=2026-04-24"))["results"] != booked["results"]
        assert await converted(f"from=USD&date=2026-04-24&revision={booked['revision']}") == booked
        assert (await running.get("/v1/rates/2026-04-24/USD.txt?revision=1"))[2].decode() == str(usd.unit_rate)
        _, headers, body = await running.get("/v1/rates/2026-04-24?revision=1")
        assert read(body)["rates"] == read(first)["rates"]
        assert "immutable" not in headers["Cache-Control"], "the day is not over"


async def test_an_index_of_a_cross_rate_is_rounded_once(bank: Bank, serve_whole: Serve) -> None:
    """From 2000 ÷ 3 to 2103 ÷ 3 is 105.15 exactly, and even is 105.2; from 666.6666667 it would be 105.1."""
    thursday, friday = THURSDAY, FRIDAY
    for day, value in ((thursday, "2000"), (friday, "2103")):
        prices = {"USD": Decimal(3), "EUR": Decimal(value)}
        quotes = (replace(q, value=prices.get(q.code, q.value)) for q in sheet(day).quotes)
        bank.publish(replace(sheet(day), quotes=tuple(quotes)))
    async with serve_whole() as served:
        target = f"/chart.svg?codes=EUR&quote_currency=USD&scale=indexed&since={thursday}&until={friday}"
        drawing = (await served.get(target))[2].decode()
    assert "<tspan>EUR</tspan> 105.2</text>" in drawing
    assert "first 100.0 on April 23, 2026, last 105.2 on April 24, 2026" in drawing


async def test_an_index_of_the_rouble_goes_on_over_new_years_day_of_1998(bank: Bank, serve_whole: Serve) -> None:
    """A dollar costs 6,000 old roubles, and on the next day 6 new ones."""
    old, new = OLD_AND_NEW
    price = changed(sheet(new), USD=Decimal(6))
    bank.publish(all_times(replace(price, effective_date=old), "1000"), price, sheet(date(2026, 4, 24)))
    async with serve_whole() as served:
        target = f"/chart.svg?codes=RUB&quote_currency=USD&scale=indexed&since={old}&until={new}"
        drawing = (await served.get(target))[2].decode()
    assert "first 100.0 on December 31, 1997, last 100.0 on January 1, 1998" in drawing


async def test_a_chart_of_far_apart_rates_starts_at_100_and_has_its_hosts_title(bank: Bank, serve_whole: Serve) -> None:
    """Unless its address asks for absolute lines. A title takes no control characters, which XML does not have.

    There are one to six lines.
    """
    bank.publish(sheet(FRIDAY))
    async with serve_whole() as served:
        target = "/chart.svg?codes=USD,KZT&since=2026-04-24&until=2026-04-24&title=This%20week"
        automatic, absolute = [(await served.get(target + more))[2].decode() for more in ("", "&scale=absolute")]
        seven = f"/chart.svg?codes={','.join(sorted(served.service.history.codes())[:7])}"
        for wrong in (f"{target}%07", seven, "/chart.svg?codes=USD&quote_currency=USD"):
            assert (await served.get(wrong))[0] == 400
    assert "Index, first day = 100" in automatic
    assert "RUB for one unit" in absolute
    assert "<title>This week. Index" in automatic


async def test_a_range_with_an_unconfirmed_day_is_not_cached_for_long(serve_whole: Serve, bank: Bank) -> None:
    """It changes as soon as the Bank confirms the day."""
    days = list(workdays(date(2026, 3, 10), 34))
    bank.publish(*map(sheet, days))
    async with serve_whole() as running:
        history = running.service.history
        assert history.coverage
        history.coverage = replace(history.coverage, open_days=(days[9],))
        address = f"/v1/series?codes=USD&since={days[0]}&until="
        with_it, before = [(await running.get(f"{address}{day}"))[1]["Cache-Control"] for day in (days[9], days[8])]
    assert with_it != before
