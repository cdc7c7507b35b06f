"""Frankfurter v2: https://frankfurter.dev. Each record has the effective date of its sheet.

The only provider is the Bank of Russia. Ranges and days to come are answered as in v1. Where v1 finds no rate, the
list is empty, as in the original. A week begins on its Monday. Weeks and months are means of the rates of their sheets,
as in /v1/series.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import partial
from typing import Any

from ratesvc.domain.columns import Days
from ratesvc.domain.rates import FIRST_DAY
from ratesvc.errors import BeforeHistory, NotYetSet, RatesvcError, TooManyPoints
from ratesvc.features.dialects import JSON, Content, Dialect, Refused, Request, split, with_point
from ratesvc.features.ranges.periods import PERIODS, Bounds, summaries
from ratesvc.features.ranges.unit_rates import SeriesParams, count_points, iso
from ratesvc.render.json import ROUBLE, bank_page, encode
from ratesvc.render.language import language_or_default

NDJSON, CSV = "application/x-ndjson", "text/csv"
NOT_FOUND = "not found"
PROVIDER = "CBR"
LOOKBACK, ACTIVE = timedelta(days=14), timedelta(days=30)
_PARAMS = ("base", "quotes", "providers", "date", "from", "to", "group", "expand")


@dataclass(frozen=True, slots=True)
class _Records:
    """What the parameters ask for: rates of one base in each of `codes`, on these days, or the means of these periods.

    Without `days` there is none. The last fields are those of Content.
    """

    request: Request
    base: str
    codes: Sequence[str]
    days: Days | None = None
    period: Bounds | None = None
    until: date = date.max
    points: int = 0
    since: date = date.max

    def __iter__(self) -> Iterator[tuple[str, str, str]]:
        """Day, quote and rate of each record, by day, then by quote."""
        request, days, period, today = self.request, self.days, self.period, self.request.snapshot.today
        if days and period:
            means = (
                (one["since"], code, with_point(one["mean_rate"]))
                for code in self.codes
                for one in summaries(request.history, self.base, SeriesParams((), days, code), period, today)
            )
            yield from sorted(means)
        elif days:
            for day, texts in request.per_base(self.base, self.codes, days):
                pairs = zip(self.codes, texts, strict=True)
                yield from ((iso(day), code, with_point(text)) for code, text in pairs if text)

    def objects(self) -> Iterator[str]:
        """Each record as a JSON object."""
        for day, code, rate in self:
            source = f',"providers":[{{"key":"{PROVIDER}","date":"{day}","rate":{rate}}}]'
            more = source if "expand" in self.request.given and code != self.base else ""
            yield f'{{"date":"{day}","base":"{self.base}","quote":"{code}","rate":{rate}{more}}}'

    def lines(self) -> Iterator[str]:
        """A table with a line for each record."""
        is_long = "expand" in self.request.given
        yield "date,base,quote,rate,providers" if is_long else "date,base,quote,rate"
        for day, code, rate in self:
            source = f"{PROVIDER}:{rate}" if code != self.base else ""
            yield ",".join((day, self.base, code, rate, source) if is_long else (day, self.base, code, rate))


def rates(request: Request, *, media: str = "") -> Content:
    """rates, rates.csv, providers/cbr/rates: a list, a table or lines of JSON, as the header Accept says."""
    records = _records(request)
    chosen = media or next((known for known in (CSV, NDJSON) if known in request.accept), JSON)

    def write() -> bytes:
        if chosen == JSON:
            return f"[{','.join(records.objects())}]".encode()
        return "".join(f"{line}\n" for line in (records.lines() if chosen == CSV else records.objects())).encode()

    # Not the texts of codes, which may be long.
    texts = tuple(request.given.get(name, "") for name in ("date", "from", "to", "group", "expand"))
    key = ("rates", chosen, records.base, tuple(records.codes), texts)
    return Content(key, chosen, write, records.until, records.points, records.since, by_accept=not media)


def rate(request: Request) -> Content:
    """rate/BASE/QUOTE, providers/cbr/rate/BASE/QUOTE: the first record."""
    given = dict(request.given)
    quote = given.pop("quote")
    if "," in quote:
        raise Refused(422, f"invalid currency: {quote}")
    records = _records(replace(request, given={**given, "quotes": quote}))
    if first := next(records.objects(), None):
        return Content(("rate", first), JSON, first.encode, records.until)
    raise Refused(404, NOT_FOUND)


def _records(request: Request) -> _Records:
    """What the parameters ask for. Raises Refused."""
    given, known = request.given, request.known()
    if unknown := [name for name in given if name not in _PARAMS]:
        raise Refused(422, f"unknown parameter: {', '.join(unknown)}")
    days = {name: request.iso_day(given[name], "invalid date", 422) for name in ("date", "from", "to") if name in given}
    if "date" in days and len(days) > 1:
        raise Refused(422, "conflicting params")
    for name, allowed in (("group", _PERIODS), ("expand", ("providers",))):
        if name in given and given[name].lower() not in allowed:
            raise Refused(422, f"invalid {name}")
    base, quotes = given.get("base", "EUR").upper(), split(given["quotes"]) if "quotes" in given else known
    named = language_or_default(None).currency
    if invalid := [code for code in (base, *sorted(quotes)) if code not in known and named(code) == code]:
        raise Refused(422, f"invalid currency: {','.join(invalid)}")
    codes, period = sorted(quotes & known) if _is_ours(request) else (), _PERIODS.get(given.get("group", "").lower())
    held = _days(request, days, period)
    if held is None:
        return _Records(request, base, codes)
    if "from" not in days:
        return _Records(request, base, codes, held, until=days.get("date", date.max))
    points, until = count_points(request.history, len(codes), held), held.until if "to" in days else date.max
    return _Records(request, base, codes, held, period, until, points, held.since)


def _is_ours(request: Request) -> bool:
    """Whether the request takes rates of the Bank of Russia."""
    return "providers" not in request.given or PROVIDER in split(request.given["providers"])


def _days(request: Request, given: Mapping[str, date], period: Bounds | None) -> Days | None:
    """The days of the sheets; of whole weeks or months, as in the original. None if there is no rate."""
    if "from" not in given:
        # `to` without `from` is ignored, and without a day it is the newest sheet, as in the original.
        try:
            sheet = request.on(given["date"], ahead=LOOKBACK) if "date" in given else request.newest
        except BeforeHistory:
            return None
        return Days(sheet.effective_date, sheet.effective_date)
    today = request.snapshot.today
    since, until = max(given["from"], FIRST_DAY), given.get("to", today)
    if since > until or (period and since > today):
        return None
    if period:
        last = min(until, max(today, request.newest.effective_date))
        days = Days(max(period(since).since, FIRST_DAY), period(last).until)
        request.check_no_gap(days)
        return days
    try:
        return request.complete(since, until, ahead=LOOKBACK)
    except NotYetSet:
        return None


_PERIODS: Mapping[str, Bounds] = {name: PERIODS[name] for name in ("week", "month")}


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
        "iso_numeric": columns[-1].currency.numeric_code if columns else ROUBLE,
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


def refuse(code: int, error: RatesvcError) -> bytes:
    """`status` and `message`."""
    return encode({"status": code, "message": NOT_FOUND if code == 404 else str(error)})


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
    refuse,
    statuses={TooManyPoints: 422},
    prefix="/frankfurter/v2",
)
