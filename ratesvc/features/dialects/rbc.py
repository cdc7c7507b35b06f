"""RBC's tables of the Bank's rates, which configurations of 1C read: http://cbrates.rbc.ru/tsv/840/2026/04/25.tsv.

1C's own server https://currencyrates.1c.ru has the same tables below /exchangerate/v1.
A currency is named by its ISO number. A line has the nominal and its price in roubles, with a decimal point. A day
without a sheet gets the rates in force on it, a day whose rates are not yet set gets 404.
"""

from __future__ import annotations

from datetime import date

from ratesvc.domain.columns import Days
from ratesvc.domain.rates import Quote, plain
from ratesvc.features.dialects import TEXT, Content, Dialect, Refused, Request, in_one_line

TSV = "text/tab-separated-values; charset=utf-8"
NO_DAY = "There is no such day. An address looks like /tsv/840/2026/04/25.tsv."
NO_CURRENCY = "The Bank has no rate for a currency with this ISO number."


def one_day(request: Request) -> Content:
    """840/2026/04/25.tsv: `nominal⇥rate`, without a line break, because scripts take all after the tab for a number."""
    day = request.iso_day("{year}-{month}-{day}".format_map(request.given), NO_DAY, 404)
    number = _number(request)
    quote = next((quote for quote in request.on(day).sheet.quotes if quote.numeric_code == number), None)
    if quote is None:
        raise Refused(404, NO_CURRENCY)
    return Content(("day", number, day), TSV, lambda: _fields(quote).encode(), day)


def all_days(request: Request) -> Content:
    """cb/840.tsv: `yyyyMMdd⇥nominal⇥rate` of every sheet that has the currency, oldest first. Raises HistoryLoading."""
    number, since = _number(request), request.history.begins
    request.check_no_gap(Days(since, request.newest.effective_date))
    columns = [column for column in request.history.columns() if column.currency.numeric_code == number]
    if not columns:
        raise Refused(404, NO_CURRENCY)

    def write() -> bytes:
        # If the currency had several ids on a day, the earliest id counts, as in /v1/series.
        records = {day: column for column in reversed(columns) for day in map(date.fromordinal, column.days)}
        quotes = ((day, column.quote(day)) for day, column in sorted(records.items(), key=lambda record: record[0]))
        return "".join(f"{day:%Y%m%d}\t{_fields(quote)}\n" for day, quote in quotes if quote).encode()

    points = sum(len(column.days) for column in columns)
    return Content(("days", number), TSV, write, points=points, since=since)


def _number(request: Request) -> str:
    return request.given["numeric"].zfill(3)


def _fields(quote: Quote) -> str:
    return f"{quote.nominal}\t{plain(quote.value)}"


TABLES = {"/tsv/cb/{numeric}.tsv": all_days, "/tsv/{numeric}/{year}/{month}/{day}.tsv": one_day}
DIALECT = Dialect(
    {server + path: table for server in ("", "/exchangerate/v1") for path, table in TABLES.items()},
    in_one_line,
    TEXT,
    root="",
)
