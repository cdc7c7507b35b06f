"""www.cbr-xml-daily.ru, which turns the Bank's table into JSON with yesterday's values beside today's.

`Previous` is for the same nominal as `Value`, even on days on which the Bank changed the nominal. It equals `Value`
where nothing can be compared: a new currency, the first sheet, the new rouble of 1998. If the sheet before is not
admitted, it is of the one before that, as `PreviousDate` says. `Timestamp` is the hour in which this service fetched
the sheet.
"""

from __future__ import annotations

from datetime import date, time
from decimal import Decimal
from functools import partial
from typing import Any

from ratesvc.bank import xml
from ratesvc.domain.columns import Days
from ratesvc.domain.rates import EXACT, Quote, Revision, UnitRate, trimmed, unit_rates
from ratesvc.domain.workdays import MOSCOW, ONE_DAY, at
from ratesvc.errors import HistoryLoading, RatesvcError
from ratesvc.features.dialects import SCRIPT, Content, Dialect, Request
from ratesvc.features.ranges.conversion import per_unit
from ratesvc.render.json import encode, literal

XML = "application/xml; charset="
DISCLAIMER = "The Bank of Russia's official rates; not published by the Bank, nor by cbr-xml-daily.ru."


def newest_json(request: Request) -> Content:
    """daily_json.js."""
    return _json(request, request.newest, date.max)


def archived_json(request: Request) -> Content:
    """archive/YYYY/MM/DD/daily_json.js; a day without a sheet gets the sheet in force, under its own date."""
    text = "{year}-{month}-{day}".format_map(request.given)
    day = request.iso_day(text, "There is no such day. An address looks like archive/2026/04/25/daily_json.js.", 404)
    return _json(request, request.on(day), day)


def _json(request: Request, revision: Revision, until: date) -> Content:
    before, eve = request.history.before(revision.effective_date), revision.effective_date - ONE_DAY
    if before is None and request.history.first_loading(Days(eve, eve)):
        raise HistoryLoading(eve)
    before = before or request.history.nearest_before(revision.effective_date)
    day = before.effective_date if before else revision.effective_date
    _, _, address = request.site.public_url.partition(":")

    def write() -> bytes:
        moves = unit_rates(revision.sheet, before.sheet if before else None)
        return encode(
            {
                # The original gives every sheet this time of day.
                "Date": f"{revision.effective_date}T11:30:00+03:00",
                "PreviousDate": f"{day}T11:30:00+03:00",
                "PreviousURL": f"{address}/cbr-xml-daily/archive/{day:%Y/%m/%d}/daily_json.js",
                "Timestamp": revision.fetched_at.astimezone(MOSCOW).strftime("%Y-%m-%dT%H:00:00+03:00"),
                "Valute": {quote.code: _valute(quote, moves[quote.code]) for quote in revision.sheet.quotes},
            }
        )

    return Content(("json", revision.key), SCRIPT, write, until)


def _valute(quote: Quote, unit: UnitRate) -> dict[str, Any]:
    moved = unit.change.absolute if unit.change else Decimal(0)
    previous = EXACT.multiply(EXACT.subtract(unit.rate, moved), Decimal(quote.nominal))
    return {
        "ID": quote.cbr_id,
        "NumCode": quote.numeric_code,
        "CharCode": quote.code,
        "Nominal": quote.nominal,
        "Name": quote.name,
        "Value": literal(trimmed(quote.value)),
        "Previous": literal(trimmed(previous)),
    }


def latest(request: Request) -> Content:
    """latest.js: units for one rouble."""
    sheet, day = request.newest.sheet, request.newest.effective_date

    def write() -> bytes:
        rates = {code: literal(rate) for code, rate in per_unit(sheet, "RUB").items()}
        midnight = int(at(day, time.min).timestamp())
        return encode({"disclaimer": DISCLAIMER, "date": day, "timestamp": midnight, "base": "RUB", "rates": rates})

    return Content("latest", SCRIPT, write)


def daily_xml(request: Request, encoding: str, *, english: bool) -> Content:
    """daily.xml and daily_eng.xml, and both in UTF-8."""

    def write() -> bytes:
        return xml.write_daily(request.newest.sheet, request.english_names() if english else None, encoding)

    return Content((encoding, english), XML + encoding, write)


def refuse(code: int, error: RatesvcError) -> bytes:
    """An object with `error`, `code` and `explanation`."""
    title = "Not found" if code == 404 else "Service unavailable"
    return encode({"error": title, "code": code, "explanation": str(error)})


DIALECT = Dialect(
    {
        "/daily_json.js": newest_json,
        # The same for a <script>, which calls a function of the page.
        "/daily_jsonp.js": lambda request: newest_json(request).as_script("CBR_XML_Daily_Ru"),
        "/archive/{year}/{month}/{day}/daily_json.js": archived_json,
        "/latest.js": latest,
        "/daily.xml": partial(daily_xml, encoding=xml.ENCODING, english=False),
        "/daily_eng.xml": partial(daily_xml, encoding=xml.ENCODING, english=True),
        "/daily_utf8.xml": partial(daily_xml, encoding="utf-8", english=False),
        "/daily_eng_utf8.xml": partial(daily_xml, encoding="utf-8", english=True),
    },
    refuse,
    SCRIPT,
)
