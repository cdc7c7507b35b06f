"""Frankfurter v2: https://frankfurter.dev. Each record has the effective date of its sheet.

The only provider is the Bank of Russia. Ranges and days to come are answered as in v1. Where v1 finds no rate, the
list is empty, as in the original. A week begins on its Monday. Weeks and months are means of the rates of their sheets,
as in /v1/series.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import date, timedelta
from functools import partial
from typing import Any

from ratesvc.domain.columns import Days
from ratesvc.domain.rates import ROUBLE
from ratesvc.errors import NotYetSet, TooManyPoints
from ratesvc.features.dialects import JSON, Content, Dialect, Refused, Request, split, with_point
from ratesvc.features.ranges.periods import PERIODS, summaries
from ratesvc.features.ranges.unit_rates import SeriesParams, count_points, iso
from ratesvc.render.json import bank_page, encode
from ratesvc.render.language import language_or_default

NDJSON, CSV = "application/x-ndjson", "text/csv"
NOT_FOUND = "not found"
PROVIDER = "CBR"
LOOKBACK, ACTIVE = timedelta(days=14), timedelta(days=30)
_PARAMS = ("base", "quotes", "providers", "date", "from", "to", "group", "expand")
NONE = Days(date.max, date.max)


def rates(request: Request, *, media: str = "") -> Content:
    """rates, rates.csv, providers/cbr/rates: a list, a table or lines of JSON, as the header Accept says."""
    base, params, until = _params(request)
    is_range, since = "from" in request.given, params.days.since
    points = count_points(request.history, len(params.codes), params.days) if is_range else 0
    chosen = media or next((known for known in (CSV, NDJSON) if known in request.accept), JSON)

    def write() -> bytes:
        lines = (_lines if chosen == CSV else _objects)(request, base, params)
        return f"[{','.join(lines)}]".encode() if chosen == JSON else "".join(f"{line}\n" for line in lines).encode()

    # Not the texts of codes, which may be long.
    texts = tuple(request.given.get(name, "") for name in ("date", "from", "to", "group", "expand"))
    key = ("rates", chosen, base, params.codes, texts)
    return Content(key, chosen, write, until, points, since if is_range else date.max, by_accept=not media)


def rate(request: Request) -> Content:
    """rate/BASE/QUOTE, providers/cbr/rate/BASE/QUOTE: the first record."""
    given = dict(request.given)
    quote = given.pop("quote")
    if "," in quote:
        raise Refused(422, f"invalid currency: {quote}")
    request = replace(request, given={**given, "quotes": quote})
    base, params, until = _params(request)
    if first := next(_objects(request, base, params), None):
        return Content(("rate", first), JSON, first.encode, until)
    raise Refused(404, NOT_FOUND)


def _objects(request: Request, base: str, params: SeriesParams) -> Iterator[str]:
    """Each record as a JSON object."""
    for day, code, rate in _records(request, base, params):
        source = f',"providers":[{{"key":"{PROVIDER}","date":"{day}","rate":{rate}}}]'
        more = source if "expand" in request.given and code != base else ""
        yield f'{{"date":"{day}","base":"{base}","quote":"{code}","rate":{rate}{more}}}'


def _lines(request: Request, base: str, params: SeriesParams) -> Iterator[str]:
    """A table with a line for each record."""
    is_long = "expand" in request.given
    yield "date,base,quote,rate,providers" if is_long else "date,base,quote,rate"
    for day, code, rate in _records(request, base, params):
        source = f"{PROVIDER}:{rate}" if code != base else ""
        yield ",".join((day, base, code, rate, source) if is_long else (day, base, code, rate))


def _records(request: Request, base: str, params: SeriesParams) -> Iterator[tuple[str, str, str]]:
    """Day, quote and rate of each record, by day, then by quote."""
    if params.group:
        means = []
        for code in params.codes:
            found = summaries(request.history, base, replace(params, quote=code), request.snapshot.today)
            means += [(one["since"], code, with_point(one["mean_rate"])) for one in found]
        yield from sorted(means)
        return
    for day, texts in request.per_base(base, params.codes, params.days):
        pairs = zip(params.codes, texts, strict=True)
        yield from ((iso(day), code, with_point(text)) for code, text in pairs if text)


def _params(request: Request) -> tuple[str, SeriesParams, date]:
    """What the parameters ask for: a base, the series of its rates, and the last day of the answer. Raises Refused."""
    given, known = request.given, request.known()
    if unknown := [name for name in given if name not in _PARAMS]:
        raise Refused(422, f"unknown parameter: {', '.join(unknown)}")
    days = {name: request.iso_day(given[name], "invalid date", 422) for name in ("date", "from", "to") if name in given}
    if "date" in days and len(days) > 1:
        raise Refused(422, "conflicting params")
    if "from" not in days:
        # As in the original.
        days.pop("to", None)
    for name, allowed in (("group", ("week", "month")), ("expand", ("providers",))):
        if name in given and given[name].lower() not in allowed:
            raise Refused(422, f"invalid {name}")
    base, quotes = given.get("base", "EUR").upper(), split(given["quotes"]) if "quotes" in given else known
    named = language_or_default(None).currency
    if invalid := [code for code in (base, *sorted(quotes)) if code not in known and named(code) == code]:
        raise Refused(422, f"invalid currency: {','.join(invalid)}")
    group = given.get("group", "").lower() if "from" in days else ""
    held = _days(request, days, group)
    codes = tuple(sorted(quotes & known)) if _is_ours(request) and held != NONE else ()
    until = held.until if "to" in days or held == NONE else days.get("date", date.max)
    return base, SeriesParams(codes, held, group=group), until


def _is_ours(request: Request) -> bool:
    """Whether the request takes rates of the Bank of Russia."""
    return "providers" not in request.given or PROVIDER in split(request.given["providers"])


def _days(request: Request, given: Mapping[str, date], group: str) -> Days:
    """The days of the sheets, of whole weeks or months as in the original; or NONE."""
    today, newest, begins = request.snapshot.today, request.newest.effective_date, request.history.begins
    if "from" not in given:
        day = given.get("date", newest)
        held = request.on(day, ahead=LOOKBACK).effective_date if day >= begins else date.max
        return Days(held, held)
    since, until = max(given["from"], begins), given.get("to", today)
    if since > until or (group and since > today):
        return NONE
    if group:
        first, last = map(PERIODS[group], (since, min(until, max(today, newest))))
        days = Days(max(first.since, begins), last.until)
        request.check_no_gap(days)
        return days
    try:
        return request.complete(since, until, ahead=LOOKBACK)
    except NotYetSet:
        return NONE


def currency(request: Request) -> Content:
    """currency/USD."""
    code = request.given["code"].upper()
    if code not in request.known():
        raise Refused(404, NOT_FOUND)
    return Content(("currency", code), JSON, lambda: encode({**_details(request, code), "providers": [PROVIDER]}))


def currencies(request: Request) -> Content:
    """currencies: those of the last thirty days; with scope=all or providers=cbr, all of them."""
    is_ours, is_all = _is_ours(request), "providers" in request.given or request.given.get("scope") == "all"

    def write() -> bytes:
        details = [_details(request, code) for code in sorted(request.known())] if is_ours else []
        since = request.snapshot.today - ACTIVE
        return encode([currency for currency in details if is_all or currency["end_date"] >= since])

    return Content(("currencies", is_ours, is_all), JSON, write)


def _details(request: Request, code: str) -> dict[str, Any]:
    english, columns = language_or_default(None), request.history.columns(code)
    symbol = english.symbol(code)
    return {
        "iso_code": code,
        "iso_numeric": columns[-1].currency.numeric_code if columns else ROUBLE.numeric_code,
        "name": english.currency(code),
        "symbol": symbol if symbol != code else None,
        "start_date": columns[0].first_day if columns else request.history.days[0],
        "end_date": max((column.last_day for column in columns), default=request.newest.effective_date),
    }


def providers(request: Request) -> Content:
    """providers: the Bank of Russia."""
    document = {
        "key": PROVIDER,
        "name": "Bank of Russia",
        "country_code": "RU",
        "rate_type": "official rate",
        "pivot_currency": "RUB",
        "data_url": bank_page(),
        "terms_url": "https://www.cbr.ru/eng/user_agreement/",
        "start_date": request.history.days[0],
        "end_date": request.newest.effective_date,
        "publish_cadence": "daily",
        "publishes_missed": request.snapshot.publications_missed,
        "currencies": sorted(request.known()),
    }
    return Content("providers", JSON, lambda: encode([document]))


DIALECT = Dialect(
    {
        "/rates": rates,
        "/rates.csv": partial(rates, media=CSV),
        "/rate/{base}/{quote}": rate,
        "/currencies": currencies,
        "/currency/{code}": currency,
        "/providers": providers,
        "/providers/{providers}/rates": rates,
        "/providers/{providers}/rate/{base}/{quote}": rate,
    },
    lambda code, error: encode({"status": code, "message": NOT_FOUND if code == 404 else str(error)}),
    statuses={TooManyPoints: 422},
    prefix="/frankfurter/v2",
)
