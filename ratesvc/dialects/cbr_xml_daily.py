"""www.cbr-xml-daily.ru, which turns the Bank's table into JSON with yesterday's values beside today's.

`Previous` is for the same nominal as `Value`, also on days on which the Bank changed it, and equals `Value` where there
is nothing to compare with: a new currency, the first sheet, the new rouble of 1998. `Timestamp` is the hour in which
this service learned of the sheet.
"""

from __future__ import annotations

from calendar import timegm
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from ratesvc.bank import xml
from ratesvc.dialects import Answer, Dialect, Question, Refusal, Refused, iso_day, status
from ratesvc.domain.rates import EXACT, FIRST_DAY, Quote, Revision, UnitRate, per_unit, trimmed, unit_rates
from ratesvc.domain.workdays import MOSCOW, ONE_DAY, at
from ratesvc.errors import HistoryLoading, RatesvcError
from ratesvc.render.api import encode, literal

SCRIPT = "application/javascript; charset=utf-8"
XML = "application/xml; charset=utf-8"
DISCLAIMER = "The Bank of Russia's official rates; not published by the Bank, nor by cbr-xml-daily.ru."
MIDNIGHT = datetime.min.time()


def newest_json(asked: Question) -> Answer:
    """daily_json.js."""
    return _json(asked, asked.newest, date.max)


def newest_jsonp(asked: Question) -> Answer:
    """daily_jsonp.js: the same for a <script>, which calls a function of the page."""
    found = newest_json(asked)
    return Answer(("jsonp", found.key), SCRIPT, lambda: b"CBR_XML_Daily_Ru(" + found.write() + b");")


def archived_json(asked: Question) -> Answer:
    """archive/YYYY/MM/DD/daily_json.js; a day without a sheet is answered with the one in force, under its own date."""
    refused = Refused(404, "There is no such day; an address reads archive/2026/04/25/daily_json.js.")
    day = iso_day("-".join(asked.given[part] for part in ("year", "month", "day")), refused)
    return _json(asked, asked.on(day), day)


def _json(asked: Question, revision: Revision, until: date) -> Answer:
    before = asked.history.before(revision.effective_date)
    if before is None and revision.effective_date > FIRST_DAY:
        raise HistoryLoading(revision.effective_date - ONE_DAY)
    return Answer(("json", revision.key), SCRIPT, lambda: _document(asked.public_url, revision, before), until)


def _document(public_url: str, revision: Revision, before: Revision | None) -> bytes:
    moves = unit_rates(revision.sheet, before.sheet if before else None)
    day = before.effective_date if before else revision.effective_date
    _, _, address = public_url.partition(":")
    document: dict[str, Any] = {
        "Date": _half_past_eleven(revision.effective_date),
        "PreviousDate": _half_past_eleven(day),
        "PreviousURL": f"{address}/cbr-xml-daily/archive/{day:%Y/%m/%d}/daily_json.js",
        "Timestamp": revision.fetched_at.astimezone(MOSCOW).strftime("%Y-%m-%dT%H:00:00+03:00"),
        "Valute": {quote.code: _valute(quote, moves[quote.code]) for quote in revision.sheet.quotes},
    }
    return encode(document)


def _half_past_eleven(day: date) -> str:
    """The original gives every sheet this time of day."""
    return f"{day}T11:30:00+03:00"


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


def latest(asked: Question) -> Answer:
    """latest.js: units for one rouble."""
    revision = asked.newest
    day = revision.effective_date

    def write() -> bytes:
        rates = {code: literal(rate) for code, rate in per_unit(revision.sheet, "RUB").items()}
        timestamp = timegm(at(day, MIDNIGHT).utctimetuple())
        return encode(
            {"disclaimer": DISCLAIMER, "date": day, "timestamp": timestamp, "base": "RUB", "rates": rates},
        )

    return Answer("latest", SCRIPT, write)


def in_russian(asked: Question) -> Answer:
    """daily_utf8.xml."""
    return Answer("russian", XML, lambda: xml.write_daily(asked.newest.sheet, encoding="utf-8"))


def in_english(asked: Question) -> Answer:
    """daily_eng_utf8.xml."""

    def write() -> bytes:
        return xml.write_daily(asked.newest.sheet, asked.english_names(), "utf-8")

    return Answer("english", XML, write)


def refuse(error: RatesvcError) -> Refusal:
    """An object with `error`, `code` and `explanation`."""
    code = status(error)
    title = "Not found" if code == 404 else "Service unavailable"
    return Refusal(code, SCRIPT, encode({"error": title, "code": code, "explanation": str(error)}))


DIALECT = Dialect(
    {
        "/daily_json.js": newest_json,
        "/daily_jsonp.js": newest_jsonp,
        "/archive/{year}/{month}/{day}/daily_json.js": archived_json,
        "/latest.js": latest,
        "/daily_utf8.xml": in_russian,
        "/daily_eng_utf8.xml": in_english,
    },
    refuse,
)
