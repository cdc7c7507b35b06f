"""The bytes of each dialect, and the rules for all of them."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from importlib import import_module
from typing import Any
from xml.dom import minidom
from zipfile import ZipFile

import pytest
from conftest import golden
from fake_bank import sheet
from figures import TABLE, Document, Row

from ratesvc.bank.xml import parse_daily
from ratesvc.config import DIALECTS
from ratesvc.dialects import Dialect, Refused, Request
from ratesvc.domain.columns import Column, Coverage, Currency
from ratesvc.domain.history import History, snapshot
from ratesvc.domain.rates import Revision, rounded
from ratesvc.domain.workdays import WorkCalendar
from ratesvc.errors import BeforeHistory, Busy, HistoryLoading, NoSheet, NotYetSet, RatesvcError, TooManyPoints
from ratesvc.service.backfill import USD
from ratesvc.web.params import MOST_POINTS

FETCHED = datetime(2026, 4, 24, 13, 20, 5, tzinfo=UTC)
FRIDAY, SATURDAY = date(2026, 4, 24), date(2026, 4, 25)
MONDAY_NOON = datetime(2026, 4, 27, 9, tzinfo=UTC)
FRIDAYS = (
    Row("USD", "840", "R01235", "1", "75,6494", "Доллар США"),
    Row("EUR", "978", "R01239", "1", "88,6138", "Евро"),
    Row("IRR", "364", "R01300", "1000000", "54,0128", "Иранских риалов"),
    Row("CNY", "156", "R01375", "10", "110,3410", "Юаней"),
)
ENGLISH = {"R01235": "US Dollar", "R01239": "Euro", "R01375": "Yuan Renminbi"}


def dialect(name: str) -> Dialect:
    found: Dialect = import_module(f"ratesvc.dialects.{name.replace('-', '_')}").DIALECT
    return found


def history(*unconfirmed: date) -> History:
    """Real sheets of Friday and Saturday, after five weeks of columns."""
    held = History(WorkCalendar())
    days = [date(2026, 3, 17) + timedelta(n) for n in range(38)]
    columns = []
    for row in FRIDAYS:
        names = row.name or "", ENGLISH.get(row.cbr_id or "", "")
        column = Column(Currency(row.cbr_id or "", row.cbr_id or "", row.code, row.numeric_code or "", *names), FETCHED)
        for day in days:
            if held.calendar.is_effective_date(day):
                value = Decimal(500000 + day.toordinal() * len(row.code) * int(row.numeric_code or 0) % 9973)
                column.put(day, int(row.nominal or 1), value.scaleb(-4))
        columns.append(column)
    held.fill(columns, Coverage(days[0], days[-1], unconfirmed))
    for number, document in enumerate((Document(FRIDAYS, FRIDAY), Document(TABLE, SATURDAY))):
        held.add(Revision(parse_daily(bytes(document)), 1, FETCHED - timedelta(days=1 - number)))
    return held


HISTORY = history()


def request_of(given: Mapping[str, str], now: datetime = MONDAY_NOON, held: History = HISTORY) -> Request:
    return Request(held, snapshot(held, now), "https://rates.example/base", given, MOST_POINTS, dialects=DIALECTS)


def content(
    name: str, path: str, given: Mapping[str, str] | None = None, now: datetime = MONDAY_NOON, held: History = HISTORY
) -> bytes:
    return dialect(name).routes[path](request_of(given or {}, now, held)).write()


RBC_DAY = "/tsv/{numeric}/{year}/{month}/{day}.tsv"
PAIR = {"base": "usd", "quote": "rub"}
SERIES = {"start": "2026-04-23", "end": "2026-04-27", "symbols": "RUB,EUR"}
FILES = {
    "cbr/daily.xml": ("/scripts/XML_daily.asp", {"date_req": "26/04/2026"}),
    "cbr/daily_eng.xml": ("/scripts/XML_daily_eng.asp", {"date_req": "24.04.2026"}),
    "cbr/dynamic.xml": (
        "/scripts/XML_dynamic.asp",
        {"VAL_NM_RQ": "R01300", "date_req1": "23/04/2026", "date_req2": "30/04/2026"},
    ),
    "cbr/val.xml": ("/scripts/XML_val.asp", {}),
    "cbr/valfull.xml": ("/scripts/XML_valFull.asp", {"d": "0"}),
    "cbr-xml-daily/daily_json.js": ("/daily_json.js", {}),
    "cbr-xml-daily/daily_jsonp.js": ("/daily_jsonp.js", {}),
    "cbr-xml-daily/archive.js": (
        "/archive/{year}/{month}/{day}/daily_json.js",
        {"year": "2026", "month": "04", "day": "24"},
    ),
    "cbr-xml-daily/latest.js": ("/latest.js", {}),
    "cbr-xml-daily/daily.xml": ("/daily.xml", {}),
    "cbr-xml-daily/daily_eng.xml": ("/daily_eng.xml", {}),
    "cbr-xml-daily/daily_utf8.xml": ("/daily_utf8.xml", {}),
    "cbr-xml-daily/daily_eng_utf8.xml": ("/daily_eng_utf8.xml", {}),
    "currencylayer/live.json": ("/live", {"access_key": "any", "source": "rub", "currencies": "usd, IRR"}),
    "currencylayer/dollar.json": ("/live", {"access_key": ""}),
    "openexchangerates/latest.json": ("/api/latest.json", {"app_id": "any"}),
    "openexchangerates/historical.json": ("/api/historical/{day}.json", {"day": "2026-04-24", "base": "RUB"}),
    "openexchangerates/currencies.json": ("/api/currencies.json", {}),
    "openexchangerates/time-series.json": ("/api/time-series.json", SERIES),
    "openexchangerates/convert.json": ("/api/convert.json", {"amount": "100.0", "from": "USD", "to": "CNY"}),
    "openexchangerates/usage.json": ("/api/usage.json", {}),
    "frankfurter/latest.json": ("/v1/{when}", {"when": "latest"}),
    "frankfurter/day.json": ("/v1/{when}", {"when": "2026-04-24", "from": "usd", "to": "RUB,IRR", "amount": "10"}),
    "frankfurter/range.json": ("/v1/{when}", {"when": "2026-04-22..2026-04-26", "symbols": "USD,RUB"}),
    "frankfurter/since.json": ("/v1/{when}", {"when": "2026-04-23..", "base": "RUB", "symbols": "CNY"}),
    "frankfurter/currencies.json": ("/v1/currencies", {}),
    "frankfurter/root.json": ("/", {}),
    "frankfurter/v1.json": ("/v1", {}),
    "frankfurter-v2/v2.json": ("", {}),
    "frankfurter-v2/rates.json": ("/rates", {}),
    "frankfurter-v2/rates.csv": ("/rates.csv", {"date": "2026-04-26", "base": "usd", "quotes": "rub,USD,irr"}),
    "frankfurter-v2/range.json": ("/rates", {"from": "2026-04-19", "to": "2026-04-24", "quotes": "USD,EUR,GBP"}),
    "frankfurter-v2/week.csv": ("/rates.csv", {"from": "2026-04-01", "group": "week", "base": "USD", "quotes": "RUB"}),
    "frankfurter-v2/month.json": ("/rates", {"from": "2026-04-15", "group": "month", "quotes": "RUB,EUR,CNY"}),
    "frankfurter-v2/expand.json": ("/providers/{providers}/rates", {"providers": "cbr", "expand": "providers"}),
    "frankfurter-v2/rate.json": ("/rate/{base}/{quote}", {**PAIR, "date": "2026-04-24"}),
    "frankfurter-v2/currencies.json": ("/currencies", {}),
    "frankfurter-v2/currency.json": ("/currency/{code}", {"code": "usd"}),
    "frankfurter-v2/providers.json": ("/providers", {}),
    "prebid/currency.json": ("/currency.json", {}),
    "ecb/eurofxref-hist.csv": ("/eurofxref-hist.csv", {}),
    "ecb/eurofxref-hist.rub.csv": ("/eurofxref-hist.csv", {"base": "rub"}),
    "ecb/eurofxref-hist.xml": ("/eurofxref-hist.xml", {}),
    "ecb/eurofxref-hist-90d.xml": ("/eurofxref-hist-90d.xml", {"base": "CNY"}),
    "ecb/eurofxref-daily.xml": ("/eurofxref-daily.xml", {}),
    "rbc/day.tsv": (RBC_DAY, {"numeric": "364", "year": "2026", "month": "04", "day": "26"}),
    "rbc/days.tsv": ("/tsv/cb/{numeric}.tsv", {"numeric": "156"}),
}


@pytest.mark.parametrize("file", FILES)
def test_golden(file: str) -> None:
    path, given = FILES[file]
    golden(f"dialects/{file}", content(file.partition("/")[0], path, given))


def errors() -> Iterator[tuple[str, RatesvcError]]:
    yield "no-sheet", NoSheet("No sheet of the Bank of Russia has been fetched yet.")
    yield "loading", HistoryLoading(date(2020, 3, 1))
    yield "not-yet-set", NotYetSet(date(2026, 4, 29), MONDAY_NOON)
    yield "before", BeforeHistory(date(1992, 6, 30))
    yield "too-many", TooManyPoints(55, 12_000, 75_000)
    yield "busy", Busy("Too many long answers are being rendered. Ask again in half a minute, or for less.")
    yield "nothing", Refused(404, "There is nothing at this address.")


REFUSED = {
    "cbr": [
        ("/scripts/XML_daily.asp", {"date_req": "2026-04-24"}),
        ("/scripts/XML_daily.asp", {"date": "24/04/2026"}),
        ("/scripts/XML_val.asp", {"d": "1"}),
    ],
    "cbr-xml-daily": [("/archive/{year}/{month}/{day}/daily_json.js", {"year": "2026", "month": "02", "day": "30"})],
    "currencylayer": [("/live", {"source": "XQZ"}), ("/live", {"currencies": "USD,XQZ"})],
    "ecb": [("/eurofxref-hist.csv", {"base": "XQZ"})],
    "frankfurter": [
        ("/v1/{when}", {"when": "2026-02-30"}),
        ("/v1/{when}", {"when": "latest", "base": "XQZ"}),
        ("/v1/{when}", {"when": "latest", "symbols": "XQZ"}),
        ("/v1/{when}", {"when": "latest", "base": "USD", "symbols": "USD"}),
        ("/v1/{when}", {"when": "latest", "amount": "0"}),
        ("/v1/{when}", {"when": "latest", "from": ""}),
        ("/v1/{when}", {"when": "yesterday"}),
        ("/v1/{when}", {"when": "2026-04-25..2026-04-24"}),
    ],
    "frankfurter-v2": [
        ("/rates", {"provider": "cbr"}),
        ("/rates", {"date": "2026-02-30"}),
        ("/rates", {"date": "2026-04-24", "from": "2026-04-23"}),
        ("/rates", {"group": "day"}),
        ("/rates", {"expand": "foo"}),
        ("/rates", {"base": "xyz", "quotes": "USD,ABC"}),
        ("/rate/{base}/{quote}", {"base": "EUR", "quote": "BMD"}),
        ("/currency/{code}", {"code": "xyz"}),
        ("/{anything:(?s:.*)}.csv", {"anything": "currencies"}),
    ],
    "openexchangerates": [
        ("/api/latest.json", {"base": "XQZ"}),
        ("/api/latest.json", {"callback": "alert(1)"}),
        ("/api/ohlc.json", {}),
        ("/api/historical/{day}.json", {"day": "20260424"}),
        ("/api/time-series.json", {"start": "2026-04-25", "end": "2026-04-24"}),
        ("/api/time-series.json", {"start": "2026-04-25"}),
        ("/api/convert.json", {"amount": "100", "from": "USD", "to": "XQZ"}),
        ("/api/convert.json", {"amount": "-1", "from": "USD", "to": "EUR"}),
    ],
    "prebid": [],
    "rbc": [
        (RBC_DAY, {"numeric": "840", "year": "2026", "month": "4", "day": "24"}),
        (RBC_DAY, {"numeric": "643", "year": "2026", "month": "04", "day": "24"}),
        ("/tsv/cb/{numeric}.tsv", {"numeric": "643"}),
    ],
}


def test_each_dialect_has_its_refusals() -> None:
    """What it refuses itself; an empty list if that is nothing."""
    assert [name for name in DIALECTS if name not in REFUSED] == [], "add it to REFUSED"


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_in_their_own_words(name: str) -> None:
    """Status, type and bytes of every refusal, in one golden file for each dialect."""
    speaker = dialect(name)
    found = list(errors())
    for path, given in REFUSED[name]:
        with pytest.raises(Refused) as refused:
            speaker.routes[path](request_of(given))
        found.append((f"{path} {given}", refused.value))
    lines = []
    for what, error in found:
        refusal = speaker.refuse(error)
        text = refusal.content.decode("windows-1251" if "1251" in refusal.media else "utf-8").strip()
        lines.append(f"{what}\n  {refusal.status} {refusal.media}\n  {text}\n")
    golden(f"dialects/{name}/refusals.txt", "".join(lines))


def test_in_the_evening_three_of_them_answer_tomorrows_sheet() -> None:
    """Their originals do so if no day is given. All other dialects answer with the rates in force today.

    A range of Frankfurter v2 without an end goes up to today.
    """
    evening = datetime(2026, 4, 24, 15, tzinfo=UTC)
    assert b'Date="25.04.2026"' in content("cbr", "/scripts/XML_daily.asp", now=evening)
    assert b'"Date":"2026-04-25T11:30' in content("cbr-xml-daily", "/daily_json.js", now=evening)
    for given, days in (
        ({}, ["2026-04-25"]),
        ({"date": "2026-04-24"}, ["2026-04-24"]),
        ({"from": "2026-04-24"}, ["2026-04-24"]),
    ):
        records = json.loads(content("frankfurter-v2", "/rates", {**given, "quotes": "USD"}, evening))
        assert [record["date"] for record in records] == days
    assert b'"date":"2026-04-24"' in content("frankfurter", "/v1/{when}", {"when": "latest"}, evening)
    assert b'"dataAsOf":"2026-04-24T' in content("prebid", "/currency.json", now=evening)
    assert b"time='2026-04-24'" in content("ecb", "/eurofxref-daily.xml", now=evening)
    assert content("ecb", "/eurofxref-hist.csv", now=evening).splitlines()[1].startswith(b"2026-04-24,")
    latest = json.loads(content("openexchangerates", "/api/latest.json", now=evening))
    # The beginning of the effective date in UTC.
    assert datetime.fromtimestamp(latest["timestamp"], UTC) == datetime(2026, 4, 24, tzinfo=UTC)


def test_a_week_and_a_month_contain_the_announced_sheet() -> None:
    """On Friday evening Saturday's: both are whole, as in the original."""
    evening = datetime(2026, 4, 24, 15, tzinfo=UTC)
    for group, first in (("week", date(2026, 4, 20)), ("month", date(2026, 4, 1))):
        given = {"from": "2026-04-24", "group": group, "base": "USD", "quotes": "RUB"}
        (record,) = exact(content("frankfurter-v2", "/rates", given, evening))
        dollars = [rate for _, rate in HISTORY.series("USD", first, SATURDAY)]
        assert (record["date"], len(dollars) > 4) == (str(first), True)
        assert Decimal(record["rate"]) == rounded(sum(dollars, Decimal()), Decimal(len(dollars)))


def test_a_mean_of_cross_rates_is_rounded_once() -> None:
    """From the exact rates: 1/3 and 1/4 have the mean 0.29166…, and rounding each to ten digits first ends in …666."""
    found = History(WorkCalendar())
    columns = []
    for row, values in zip(FRIDAYS[:2], (("1", "1"), ("3", "4")), strict=True):
        column = Column(Currency(row.cbr_id or "", "", row.code, row.numeric_code or "", ""), FETCHED)
        for day, value in zip((1, 2), values, strict=True):
            column.put(date(2026, 4, day), 1, Decimal(value))
        columns.append(column)
    found.fill(columns, Coverage(date(2026, 4, 1), date(2026, 4, 2)))
    given = {"from": "2026-04-01", "group": "month", "base": "USD", "quotes": "EUR"}
    (record,) = exact(content("frankfurter-v2", "/rates", given, datetime(2026, 4, 2, 9, tzinfo=UTC), found))
    assert record["rate"] == "0.2916666667"


def test_a_range_of_frankfurter_v1_leaves_out_days_without_a_rate() -> None:
    """Only Saturday's sheet has the pound. If no day is left, nothing is found."""
    found = json.loads(content("frankfurter", "/v1/{when}", {"when": "2026-04-22..2026-04-26", "symbols": "GBP"}))
    assert [*found["rates"]] == [found["start_date"], found["end_date"]][:1] == ["2026-04-25"]
    with pytest.raises(Refused, match="not found") as refused:
        content("frankfurter", "/v1/{when}", {"when": "2026-04-22..2026-04-24", "symbols": "GBP"})
    assert refused.value.status == 404


def test_the_bank_answers_a_future_day_with_the_newest_sheet() -> None:
    """On Friday morning any future day gets Friday's sheet, under Friday's date."""
    morning = datetime(2026, 4, 24, 6, tzinfo=UTC)
    before = History(WorkCalendar(), [Revision(sheet(FRIDAY), 1, FETCHED)])
    answer = dialect("cbr").routes["/scripts/XML_daily.asp"](request_of({"date_req": "29/04/2026"}, morning, before))
    assert b'Date="24.04.2026"' in answer.write()


def test_a_catalogue_or_a_series_is_never_a_part_of_one() -> None:
    """A mirror would take a part for the whole: while history is loaded, and if a sheet of last week is missing."""
    part, gap = History(WorkCalendar(), [Revision(sheet(FRIDAY), 1, FETCHED)]), history()
    gap.add(Revision(sheet(date(2026, 4, 29)), 1, FETCHED))
    with pytest.raises(HistoryLoading):
        dialect("cbr").routes["/scripts/XML_valFull.asp"](request_of({}, MONDAY_NOON, part))
    series = {"VAL_NM_RQ": USD, "date_req1": "01/04/2026", "date_req2": "29/04/2026"}
    for name, path, given in [
        ("cbr", "/scripts/XML_dynamic.asp", series),
        *(("ecb", f"/eurofxref-hist{rest}", {}) for rest in (".csv", ".zip", ".xml", "-90d.xml")),
        ("rbc", "/tsv/cb/{numeric}.tsv", {"numeric": "840"}),
        ("frankfurter", "/v1/{when}", {"when": "2026-04-01.."}),
        ("frankfurter-v2", "/rates", {"from": "2026-04-01"}),
        ("openexchangerates", "/api/time-series.json", {"start": "2026-04-01", "end": "2026-04-29"}),
    ]:
        for held, now in ((part, MONDAY_NOON), (gap, MONDAY_NOON + timedelta(days=3))):
            with pytest.raises(HistoryLoading):
                dialect(name).routes[path](request_of(given, now, held))


def test_v2_lists_the_currencies_of_thirty_days_or_all_of_them() -> None:
    """The newest sheet of the history is of 25 April."""
    for now, given, count in (
        (datetime(2026, 5, 25, 9, tzinfo=UTC), {}, len(TABLE) + 1),
        (datetime(2026, 5, 26, 9, tzinfo=UTC), {}, 0),
        (datetime(2026, 5, 26, 9, tzinfo=UTC), {"scope": "all"}, len(TABLE) + 1),
        (datetime(2026, 5, 26, 9, tzinfo=UTC), {"providers": "CBR"}, len(TABLE) + 1),
        (MONDAY_NOON, {"providers": "ECB"}, 0),
    ):
        assert len(json.loads(content("frankfurter-v2", "/currencies", given, now))) == count


def test_v2_answers_two_weeks_ahead_with_the_newest_sheet() -> None:
    """Under its own date; no later day."""
    (record,) = json.loads(content("frankfurter-v2", "/rates", {"date": "2026-05-09", "quotes": "USD"}))
    assert record["date"] == "2026-04-25"
    with pytest.raises(NotYetSet):
        content("frankfurter-v2", "/rates", {"date": "2026-05-10"})


def test_an_unknown_id_has_an_empty_series() -> None:
    """The Bank answers 200 without a record, also for a range that ends before it begins."""
    for given in (
        {"VAL_NM_RQ": "R99999", "date_req1": "01/04/2026", "date_req2": "30/04/2026"},
        {"VAL_NM_RQ": USD, "date_req1": "25/04/2026", "date_req2": "24/04/2026"},
        {"VAL_NM_RQ": USD, "date_req1": "28/04/2026", "date_req2": "30/04/2026"},
    ):
        written = content("cbr", "/scripts/XML_dynamic.asp", given)
        assert b"<Record" not in written
        assert f'ID="{given["VAL_NM_RQ"]}" DateRange1='.encode() in written


def test_the_zip_holds_the_table_and_is_the_same_each_time() -> None:
    """So two replicas give one ETag."""
    packed = content("ecb", "/eurofxref-hist.zip")
    assert packed == content("ecb", "/eurofxref-hist.zip")
    with ZipFile(io.BytesIO(packed)) as archive:
        assert archive.namelist() == ["eurofxref-hist.csv"]
        assert archive.read("eurofxref-hist.csv") == content("ecb", "/eurofxref-hist.csv")


def test_the_small_zip_holds_todays_rates_in_two_lines() -> None:
    """The day in words, blanks after commas, and a comma at the end of each line, as the ECB writes them."""
    with ZipFile(io.BytesIO(content("ecb", "/eurofxref.zip"))) as archive:
        names, rates, *rest = archive.read("eurofxref.csv").decode().split("\n")
    assert names.startswith("Date, USD, JPY, AED, ")
    assert rates.startswith("25 April 2026, ")
    assert (names[-2:], rates[-2:], rest) == (", ", ", ", [""])
    days = re.findall("currency='([A-Z]+)' rate='([0-9.]+)'", content("ecb", "/eurofxref-daily.xml").decode())
    assert days == list(zip(names.split(", ")[1:-1], rates.split(", ")[1:-1], strict=True))


def test_the_file_of_90_days_holds_exactly_those() -> None:
    """The oldest line is of the first sheet that is at most 90 days old, and every line is in the long file, too."""
    held = History(WorkCalendar())
    days = [date(2025, 12, 1) + timedelta(n) for n in range(145)]
    column = next(iter(HISTORY.columns("USD"))).copy()
    for day in days:
        column.put(day, 1, Decimal(day.toordinal()).scaleb(-4))
    held.fill([column], Coverage(days[0], days[-1]))
    long, short = (
        dialect("ecb").routes[path](request_of({"base": "RUB"}, datetime(2026, 4, 24, 9, tzinfo=UTC), held)).write()
        for path in ("/eurofxref-hist.xml", "/eurofxref-hist-90d.xml")
    )
    first, *lines = re.findall(rb'<Cube time="(.*?)">', short)[::-1]
    assert (first, len(lines), lines[-1]) == (b"2026-01-24", 90, b"2026-04-24")
    assert set(short.splitlines()) < set(long.splitlines())


@pytest.mark.parametrize("file", ["hist", "hist-90d", "daily"])
def test_a_reader_that_climbs_one_level_at_a_time_finds_every_rate_of_the_ecb(file: str) -> None:
    """Qalculate takes the next node after an element's parent, so it needs white space around gesmes:name.

    Without it, it finds no Cube and silently uses the rates that it brings along.
    """
    document = content("ecb", f"/eurofxref-{file}.xml")
    node: Any = minidom.parseString(document).documentElement  # noqa: S318 -- our own document
    rates = []
    while node:
        if node.nodeName == "Cube" and node.hasAttribute("rate"):
            rates.append(node.getAttribute("rate"))
        node = node.firstChild or node.nextSibling or node.parentNode.nextSibling
    assert len(rates) == document.count(b"rate=") > 3


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("1e2", "100"),
        ("1e-05", "0.00001"),
        (".5", "0.5"),
        (" 5", "5"),
        ("+5", "5"),
        ("1E+14", "1" + 14 * "0"),
        ("1e-99", "0." + 98 * "0" + "1"),
        ("0.10", "0.10"),
    ],
)
def test_an_amount_may_be_written_in_any_usual_way(written: str, plain: str) -> None:
    """The answer has no exponent. A plus in a query arrives as a blank."""
    pair = {"from": "USD", "to": "RUB", "amount": written}
    assert exact(content("openexchangerates", "/api/convert.json", pair))["request"]["amount"] == plain
    found = exact(content("frankfurter", "/v1/{when}", {**pair, "when": "latest"}))["amount"]
    assert found == (plain if "." in plain else f"{plain}.0")


@pytest.mark.parametrize("amount", ["", "-1", "1e15", "1_0", "0x1", "nan", "1e", ".", "1" * 16])
def test_other_amounts_are_refused(amount: str) -> None:
    """An amount that is given and empty is not 1."""
    for name, path in (("openexchangerates", "/api/convert.json"), ("frankfurter", "/v1/{when}")):
        with pytest.raises(Refused, match=r"invalid.amount"):
            content(name, path, {"from": "USD", "to": "RUB", "amount": amount, "when": "latest"})


def test_a_callback_makes_a_script_of_every_answer() -> None:
    """Its name may have dots; it is nothing but a name."""
    for path in dialect("openexchangerates").routes.keys() - {"/api/ohlc.json"}:
        given = {"day": "2026-04-24", **SERIES, "amount": "1", "from": "USD", "to": "RUB"}
        assert content("openexchangerates", path, {**given, "callback": "oxr.$done_1"}) == (
            b"oxr.$done_1(%b);" % content("openexchangerates", path, given)
        )
    for callback in ("", "alert(1)", "1a", "a;b", "a-b", "a\n", "é", 101 * "a"):
        with pytest.raises(Refused, match="invalid_callback"):
            content("openexchangerates", "/api/usage.json", {"callback": callback})


@pytest.mark.parametrize(
    ("path", "given"),
    [
        ("/api/latest.json", {"base": "XQZ"}),
        ("/api/ohlc.json", {}),
        ("/api/historical/{day}.json", {"day": "2026-04-29"}),
        ("/api/historical/{day}.json", {"day": "1992-06-30"}),
    ],
)
def test_a_callback_makes_a_script_of_every_refusal(path: str, given: Mapping[str, str]) -> None:
    """With 200, because a browser runs no script with another status. What may be right later stays a 503."""
    speaker = dialect("openexchangerates")
    refusals = []
    for more in ({}, {"callback": "done"}):
        with pytest.raises(RatesvcError) as refused:
            speaker.routes[path](request_of({**given, **more}))
        refusals.append(speaker.refuse(refused.value))
    plain, script = refusals
    assert (script.status, script.media) == (200, "application/javascript; charset=utf-8")
    assert script.content == b"done(%b);" % plain.content
    assert json.loads(plain.content)["status"] == plain.status >= 400
    part = History(WorkCalendar(), [Revision(sheet(FRIDAY), 1, FETCHED)])
    with pytest.raises(HistoryLoading):
        speaker.routes["/api/historical/{day}.json"](request_of({"day": "2020-01-01", "callback": "f"}, held=part))


def test_the_timestamp_lies_on_the_day_of_the_request() -> None:
    """Saturday's sheet on Sunday: noon of Sunday in UTC."""
    found = json.loads(content("openexchangerates", "/api/historical/{day}.json", {"day": "2026-04-26"}))
    assert datetime.fromtimestamp(found["timestamp"], UTC) == datetime(2026, 4, 26, 12, tzinfo=UTC)


def test_names_of_the_banks_parameters_have_any_case() -> None:
    """DATE_REQ once was ignored, and the answer was the newest sheet. A day may have one digit."""
    for given in ({"DATE_REQ": "24/4/2026"}, {"Date_Req": "24.04.2026"}, {"date_req": "", "DATE_REQ": "24/04/2026"}):
        assert b'Date="24.04.2026"' in content("cbr", "/scripts/XML_daily.asp", given)
    series = {"val_nm_rq": USD, "DATE_REQ1": "1/4/2026", "date_Req2": "30/04/2026"}
    assert b'DateRange1="01.04.2026"' in content("cbr", "/scripts/XML_dynamic.asp", series)


@pytest.mark.parametrize(
    "query", ["data_req=x", "onDate=", "on=24.04.2026", "day=2026-04-24", "x=20260424", "24/04/2026=", "D=1"]
)
def test_the_bank_never_answers_a_misspelt_day_with_the_newest_sheet(query: str) -> None:
    """The client wanted that day, and 200 with another day's rates would look right to it."""
    with pytest.raises(Refused):
        content("cbr", "/scripts/XML_daily.asp", dict([query.split("=")]))


@pytest.mark.parametrize("query", ["d=0", "_=1777000000", "rnd=0.2404", "v=1.10.25", "update=1", "date_req="])
def test_the_bank_ignores_parameters_without_a_day(query: str) -> None:
    """Clients add numbers against caches."""
    assert b'Date="25.04.2026"' in content("cbr", "/scripts/XML_daily.asp", dict([query.split("=")]))


def exact(body: bytes) -> Any:
    return json.loads(body, parse_float=str, parse_int=str)
