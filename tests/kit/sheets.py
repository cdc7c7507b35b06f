"""Plausible sheets of thirty currencies that keep their pegs, and ways to spoil one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal

from kit.bank import Bank
from kit.dates import DAYS
from kit.http import Answering
from kit.reader import Figures, Published
from ratesvc.domain.rates import Quote, Sheet

# Code, number, the Bank's id, units of it for one dollar; made-up but plausible.
PER_DOLLAR = [
    ("AUD", "036", "R01010", "1.3981"),
    ("AZN", "944", "R01020A", "1.7"),
    ("GBP", "826", "R01035", "0.7402"),
    ("AMD", "051", "R01060", "371.83"),
    ("BHD", "048", "R01080", "0.376"),
    ("BYN", "933", "R01090B", "2.8186"),
    ("BRL", "986", "R01115", "4.9871"),
    ("KRW", "410", "R01815", "1477.3"),
    ("HKD", "344", "R01200", "7.821"),
    ("DKK", "208", "R01215", "6.3907"),
    ("USD", "840", "R01235", "1"),
    ("EUR", "978", "R01239", "0.8555"),
    ("INR", "356", "R01270", "93.77"),
    ("IRR", "364", "R01300", "1400517"),
    ("KZT", "398", "R01335", "462.87"),
    ("CAD", "124", "R01350", "1.3684"),
    ("KGS", "417", "R01370", "87.45"),
    ("CNY", "156", "R01375", "6.8493"),
    ("MDL", "498", "R01500", "17.12"),
    ("NOK", "578", "R01535", "9.3241"),
    ("AED", "784", "R01230", "3.6725"),
    ("PLN", "985", "R01565", "3.6352"),
    ("SAR", "682", "R01580", "3.75"),
    ("RON", "946", "R01585F", "4.3567"),
    ("TRY", "949", "R01700J", "44.854"),
    ("UZS", "860", "R01717", "12020.6"),
    ("CZK", "203", "R01760", "20.86"),
    ("CHF", "756", "R01775", "0.7869"),
    ("QAR", "634", "R01355", "3.64"),
    ("JPY", "392", "R01820", "159.79"),
]
PLACE = Decimal("0.0001")


def plausible(effective: date, dollar: str = "75.5273") -> Sheet:
    """That day's sheet. The dollar depends on the day, the other currencies on the dollar."""
    roubles = Decimal(dollar) + Decimal(effective.toordinal() % 97).scaleb(-2)
    return Sheet(effective, tuple(_quote(roubles, *row) for row in PER_DOLLAR))


def _quote(roubles: Decimal, code: str, number: str, cbr_id: str, per_dollar: str) -> Quote:
    return at(Quote(code, number, cbr_id, 1, Decimal(1), f"Валюта {code}"), roubles / Decimal(per_dollar))


def at(quote: Quote, unit_rate: Decimal) -> Quote:
    """The same currency at that unit rate. The nominal is the smallest with which the value is ten or more."""
    nominal = 1
    while unit_rate * nominal < 10:
        nominal *= 10
    return replace(quote, nominal=nominal, value=(unit_rate * nominal).quantize(PLACE, ROUND_HALF_EVEN))


def changed(sheet: Sheet, **unit_rates: Decimal | Callable[[Decimal], Decimal]) -> Sheet:
    """The sheet with other unit rates, given or computed from the old ones."""

    def one(quote: Quote) -> Quote:
        wanted = unit_rates.get(quote.code)
        if wanted is None:
            return quote
        return at(quote, wanted(quote.value / quote.nominal) if callable(wanted) else wanted)

    return replace(sheet, quotes=tuple(one(quote) for quote in sheet.quotes))


def times(factor: str) -> Callable[[Decimal], Decimal]:
    return lambda rate: rate * Decimal(factor)


def all_times(sheet: Sheet, factor: str) -> Sheet:
    return changed(sheet, **{quote.code: times(factor) for quote in sheet.quotes})


def without(sheet: Sheet, *codes: str) -> Sheet:
    return replace(sheet, quotes=tuple(quote for quote in sheet.quotes if quote.code not in codes))


def figures(sheet: Sheet) -> Figures:
    """The figures for the independent reader."""
    return {quote.code: (quote.nominal, str(quote.value)) for quote in sheet.quotes}


def truth_of(bank: Bank) -> Callable[[], Published]:
    """A function that returns all revisions that the Bank has published so far."""
    known: dict[date, list[Figures]] = {}

    def truth() -> Published:
        for day, wordings in bank.truth.items():
            seen = known.setdefault(day, [])
            seen.extend(map(figures, wordings[len(seen) :]))
        return known

    return truth


RANGES = (
    "/v1/series?codes=USD&last=5&until={until}",
    "/v1/series?codes=USD&since={since}&until={until}&fill=daily",
    "/v1/history.csv",
    "/v1/sheets?since={since}",
    "/chart?codes=USD&since={since}&until={until}",
    "/chart/frame?codes=USD&since={since}&until={until}",
    "/v1/series?codes=USD&since={since}&until={until}",
    "/v1/series.csv?codes=USD&since={since}&until={until}",
    "/chart.svg?codes=USD&since={since}&until={until}",
    "/ecb/eurofxref-hist.csv",
    "/frankfurter/v1/{since}..{until}?base=USD&symbols=RUB",
    "/frankfurter/v2/rates?from={since}&to={until}&base=USD",
    "/frankfurter/v2/rates?from={since}&to={until}&base=USD&group=week",
    "/openexchangerates/api/time-series.json?start={since}&end={until}",
    "/tsv/cb/840.tsv",
)
OF_THE_BANK = "/scripts/XML_dynamic.asp?date_req1={:%d/%m/%Y}&date_req2={:%d/%m/%Y}&VAL_NM_RQ=R01235"


async def ranges_name(missing: date | None, served: Answering, until: date) -> None:
    """Every range up to this day is answered, and names the day that it lacks, or none."""
    for target in (*(path.format(since=DAYS[3], until=until) for path in RANGES), OF_THE_BANK.format(DAYS[3], until)):
        status, headers, _ = await served.get(target)
        assert (status, headers.get("Unconfirmed-Days")) == (200, missing and str(missing)), target
