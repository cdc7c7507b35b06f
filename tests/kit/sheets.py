"""Plausible sheets of thirty currencies that keep their pegs, and ways to spoil one."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from kit.bank import CURRENCIES
from kit.dates import DAYS
from kit.http import Answering
from ratesvc.domain.rates import Quote, Sheet

PLACE = Decimal("0.0001")


def plausible(effective: date, dollar: str = "75.5273") -> Sheet:
    """That day's sheet. The dollar depends on the day, the other currencies on the dollar."""
    roubles = Decimal(dollar) + Decimal(effective.toordinal() % 97).scaleb(-2)
    return Sheet(
        effective,
        tuple(_quote(roubles, one["code"], one["number"], one["id"], one["per_dollar"]) for one in CURRENCIES),
    )


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


async def zloty(served: Answering, day: date) -> tuple[str, int, str]:
    """The price of the zloty on a day, the revision and the sheet, as a reader gets them."""
    status, _, body = await served.get(f"/v1/rates/{day}?codes=PLN")
    document: dict[str, Any] = json.loads(body, parse_float=str)
    assert status == 200, document
    return document["rates"]["PLN"]["unit_rate"], document["revision"], document["effective_date"]


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
