"""Open Exchange Rates: units of every currency for one of the base, https://docs.openexchangerates.org.

Any app_id is accepted. `timestamp` is the moment from which the rates are in force. A time series has every day, those
without a sheet of their own with the one in force.
"""

from __future__ import annotations

import re
from calendar import timegm
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal

from msgspec import Raw

from ratesvc.dialects import (
    JSON,
    Answer,
    Dialect,
    Question,
    Refusal,
    Refused,
    certain,
    check_size,
    iso_day,
    json_object,
    per_base,
    status,
)
from ratesvc.domain.columns import Coverage
from ratesvc.domain.rates import ONE, Revision, Sheet, convert, per_unit, plain
from ratesvc.domain.workdays import at
from ratesvc.errors import BeforeHistory, NotYetSet, RatesvcError, TooManyPoints
from ratesvc.render.api import encode, literal
from ratesvc.render.language import language_or_default
from ratesvc.render.series_text import carried, iso

ABOUT = {
    "disclaimer": "The Bank of Russia's official rates and what follows from them; not published by the Bank.",
    "license": "https://www.cbr.ru/eng/about/",
}
MIDNIGHT = datetime.min.time()
NO_RATES = "{}"
_AMOUNT = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,10})?")


def latest(asked: Question) -> Answer:
    """latest.json: in force today."""
    return _rates(asked, asked.snapshot.in_force, date.max)


def historical(asked: Question) -> Answer:
    """historical/YYYY-MM-DD.json."""
    day = iso_day(asked.text("day"), Refused(400, "invalid_date"))
    return _rates(asked, asked.on(day), day)


def _rates(asked: Question, revision: Revision, until: date) -> Answer:
    base = _base(asked, revision.sheet)
    symbols = asked.codes("symbols")

    def write() -> bytes:
        rates = {base: ONE, **per_unit(revision.sheet, base)}
        shown = {code: literal(rate) for code, rate in sorted(rates.items()) if symbols is None or code in symbols}
        return encode({**ABOUT, "timestamp": _timestamp(revision), "base": base, "rates": shown})

    return Answer(("rates", revision.key, base, symbols), JSON, write, until)


def _base(asked: Question, sheet: Sheet) -> str:
    base = asked.code("USD", "base")
    if base != "RUB" and base not in sheet.by_code:
        raise Refused(400, "invalid_base")
    return base


def _timestamp(revision: Revision) -> int:
    return timegm(at(revision.effective_date, MIDNIGHT).utctimetuple())


def time_series(asked: Question) -> Answer:
    """time-series.json: every day from start to end, up to the last that is set."""
    start, end = (iso_day(asked.text(name), Refused(400, "invalid_date")) for name in ("start", "end"))
    if start > end:
        raise Refused(400, "invalid_date_range")
    base = asked.code("USD", "base")
    if base not in asked.known():
        raise Refused(400, "invalid_base")
    symbols = asked.codes("symbols")
    last = min(end, max(asked.snapshot.today, asked.newest.effective_date))
    span = certain(asked, start, last)
    codes = tuple(sorted(asked.known())) if symbols is None else symbols
    points = check_size(asked, len(codes), span, daily=True)

    def write() -> bytes:
        days = {day: rates for day, rates in _daily(asked, base, codes, span) if day >= str(start)}
        return encode({**ABOUT, "start_date": start, "end_date": end, "base": base, "rates": days})

    return Answer(("series", base, symbols, start, end), JSON, write, end, points)


def _daily(asked: Question, base: str, codes: Sequence[str], span: Coverage) -> Iterator[tuple[str, Raw]]:
    """Every day of the span with the rates in force on it; the span begins with a sheet."""
    sheets = {day: json_object(codes, texts) for day, texts in per_base(asked.history, base, codes, span)}
    days, effective = carried(asked.history, span.since, span.until)
    for day, of in zip(iso(days), effective, strict=True):
        if (rates := sheets.get(of, NO_RATES)) != NO_RATES:
            yield day, Raw(rates.encode())


def conversion(asked: Question) -> Answer:
    """convert.json, or the same in the path: an amount at the rates in force today."""
    revision, text = asked.snapshot.in_force, asked.text("amount") or ""
    base, quote = (asked.code("", name) for name in ("from", "to"))
    if {base, quote} - {"RUB", *revision.sheet.by_code}:
        raise Refused(400, "invalid_currency")
    if not _AMOUNT.fullmatch(text):
        raise Refused(400, "invalid_amount")
    amount = Decimal(text)
    converted = convert(revision.sheet, amount, base, quote, 0)
    document = {
        **ABOUT,
        "request": {
            "query": f"/convert/{plain(amount)}/{base}/{quote}",
            "amount": literal(amount),
            "from": base,
            "to": quote,
        },
        "meta": {"timestamp": _timestamp(revision), "rate": literal(converted.unit_rate)},
        "response": literal(converted.result),
    }
    # As text: equal amounts may be written with more zeros, and are repeated as they were.
    return Answer(("convert", plain(amount), base, quote), JSON, lambda: encode(document))


def currencies(asked: Question) -> Answer:
    """currencies.json: code → English name."""
    english = language_or_default(None)
    return Answer("currencies", JSON, lambda: encode({code: english.currency(code) for code in sorted(asked.known())}))


def usage(_: Question) -> Answer:
    """usage.json: there is no limit and nothing is counted."""
    plan = {"name": "ratesvc", "quota": "unlimited", "update_frequency": "each working day"}
    counted = {"requests": 0, "requests_quota": 0, "requests_remaining": 0}
    return Answer("usage", JSON, lambda: encode({"status": 200, "data": {"plan": plan, "usage": counted}}))


_WORDS = {
    "invalid_base": "There is no such base currency on that day.",
    "invalid_currency": "There is no such currency today.",
    "invalid_date": "A date is written YYYY-MM-DD and must exist.",
    "invalid_date_range": "start must not be later than end.",
    "invalid_amount": "amount takes a decimal number such as 100 or 0.5, with a point.",
}


def refuse(error: RatesvcError) -> Refusal:
    """`message` is a word that programs compare with, `description` a sentence."""
    code, message, text = status(error), "not_available", str(error)
    if isinstance(error, NotYetSet | BeforeHistory):
        code = 400
    elif isinstance(error, TooManyPoints):
        message = "invalid_date_range"
    elif isinstance(error, Refused):
        message = str(error) if code == 400 else "not_found"
        text = _WORDS.get(message, text)
    return Refusal(code, JSON, encode({"error": True, "status": code, "message": message, "description": text}))


DIALECT = Dialect(
    {
        "/api/latest.json": latest,
        "/api/historical/{day}.json": historical,
        "/api/currencies.json": currencies,
        "/api/time-series.json": time_series,
        "/api/convert.json": conversion,
        "/api/convert/{amount}/{from}/{to}": conversion,
        "/api/usage.json": usage,
    },
    refuse,
)
