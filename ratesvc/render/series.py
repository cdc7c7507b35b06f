"""Series: the rates of several currencies over a range of days, as they were set, day by day, or as means."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import reduce
from itertools import groupby
from typing import Any

from msgspec import Raw

from ratesvc.errors import HistoryLoading
from ratesvc.history import History
from ratesvc.rates import EXACT, ONE, plain, rounded, trimmed
from ratesvc.render.api import denomination, encode, literal
from ratesvc.render.language import Language
from ratesvc.render.series_text import in_another, in_roubles
from ratesvc.workdays import ONE_DAY

CSV = "text/csv; charset=utf-8"
BYTE_ORDER_MARK = "\ufeff"

Points = list[tuple[date, Decimal]]


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for: a closed range; `fill` none or daily; `group` month, year, or empty."""

    codes: tuple[str, ...]
    since: date
    until: date
    quote: str = "RUB"
    fill: str = "none"
    group: str = ""


@dataclass(frozen=True, slots=True)
class Point:
    """One row: a day or a period, the unit rate, and either the effective date it is carried from or a count."""

    label: str
    rate: Decimal
    extra: str | int | None = None


Rows = list[Point] | Raw
"""One currency's rows, or the JSON array of them."""


def points(history: History, code: str, asked: Request, today: date) -> list[Point]:
    """The rows of one currency, oldest first. Raises HistoryLoading where a sheet may be missing."""
    found = rates(history, code, asked, today)
    if asked.group:
        return _means(found, asked.group)
    if asked.fill == "daily":
        return _carried(history, code, asked, today)
    return [Point(str(day), rate) for day, rate in found]


def rates(history: History, code: str, asked: Request, today: date) -> Points:
    """Effective dates and unit rates of a currency, oldest first. Raises HistoryLoading where one may be missing."""
    _check_complete(history, asked, today)
    return _rates(history, code, asked.quote, asked.since, asked.until)


def _check_complete(history: History, asked: Request, today: date) -> None:
    gap = history.first_gap(asked.since, min(asked.until, today))
    # Today is answered even when its own sheet is missing; of the days to come only what is set.
    if gap is not None and gap < today:
        raise HistoryLoading(gap)


def _rates(history: History, code: str, quote: str, since: date, until: date) -> Points:
    """Official unit rates, or cross rates on the days on which both currencies have a record."""
    if quote == "RUB":
        return history.series(code, since, until)
    divisors = history.series(quote, since, until)
    if code == "RUB":
        return [(day, trimmed(rounded(ONE, divisor))) for day, divisor in divisors]
    units = dict(history.series(code, since, until))
    return [(day, trimmed(rounded(units[day], divisor))) for day, divisor in divisors if day in units]


def _carried(history: History, code: str, asked: Request, today: date) -> list[Point]:
    """Every day up to today with the sheet in force on it; it ends with the last sheet that has the currency."""
    held = history.days  # another list takes its place when a sheet comes meanwhile
    index = bisect_right(held, asked.since)
    first = held[index - 1] if index else asked.since
    rates = dict(_rates(history, code, asked.quote, first, asked.until))
    rows = []
    for day in _days(asked.since, min(asked.until, today)):
        index = bisect_right(held, day)
        effective = held[index - 1] if index else None
        if effective in rates:
            rows.append(Point(str(day), rates[effective], str(effective)))
    return rows


def _days(since: date, until: date) -> Iterator[date]:
    day = since
    while day <= until:
        yield day
        day += ONE_DAY


def _means(found: Points, group: str) -> list[Point]:
    """The mean of the rates of each month or year, rounded once, and how many there were."""
    length = len("2025-04") if group == "month" else len("2025")
    rows = []
    for period, members in groupby(found, key=lambda pair: str(pair[0])[:length]):
        rates = [rate for _, rate in members]
        mean = rounded(reduce(EXACT.add, rates), Decimal(len(rates)))
        rows.append(Point(period, trimmed(mean), len(rates)))
    return rows


def rows_of(history: History, code: str, asked: Request, today: date) -> Rows:
    """The rows of one currency for `to_json`, as text where there is one for them."""
    columns = [history.columns(needed) for needed in (code, asked.quote) if needed != "RUB"]
    # A currency of several ids takes each day from one of them.
    if asked.fill != "none" or asked.group or not columns or any(len(ids) != 1 for ids in columns):
        return points(history, code, asked, today)
    _check_complete(history, asked, today)
    if asked.quote == "RUB":
        return Raw(in_roubles(columns[0][0], asked.since, asked.until))
    return Raw(in_another(None if code == "RUB" else columns[0][0], columns[-1][0], asked.since, asked.until))


def to_json(asked: Request, rows: Mapping[str, Rows], *, demo: bool) -> bytes:
    """The documented shape; every number an exact literal."""
    document: dict[str, Any] = {
        "quote": asked.quote,
        "since": asked.since,
        "until": asked.until,
        "fill": asked.fill,
        **({"group": asked.group} if asked.group else {}),
        **({"demo": True} if demo else {}),
        "series": {code: those if isinstance(those, Raw) else list(map(_row, those)) for code, those in rows.items()},
        "denomination": denomination(asked.since) if "RUB" in (asked.quote, *asked.codes) else None,
    }
    return encode(document)


def _row(point: Point) -> list[Any]:
    row = [point.label, literal(point.rate)]
    return row if point.extra is None else [*row, point.extra]


def to_csv(asked: Request, rows: dict[str, list[Point]], language: Language | None) -> bytes:
    """One line a day or period, one column a currency; with a language, as its Excel reads it."""
    decimal = language.decimal_mark if language else "."
    separator = ";" if decimal == "," else ","
    lines = [separator.join(_header(asked, rows))]
    tables = [{point.label: point for point in points} for points in rows.values()]
    for label in sorted({label for table in tables for label in table}):
        here = [table.get(label) for table in tables]
        lines.append(separator.join([label, *_cells(asked, here, decimal)]))
    return ((BYTE_ORDER_MARK if language else "") + "\r\n".join(lines) + "\r\n").encode()


def _header(asked: Request, codes: Iterable[str]) -> list[str]:
    if asked.group:
        return [asked.group, *(name for code in codes for name in (code, f"{code}_count"))]
    return ["date", *(["effective_date"] if asked.fill == "daily" else []), *codes]


def _cells(asked: Request, here: Sequence[Point | None], decimal: str) -> list[str]:
    values = ["" if point is None else plain(point.rate).replace(".", decimal) for point in here]
    if asked.group:
        counts = ["" if point is None else str(point.extra) for point in here]
        return [cell for pair in zip(values, counts, strict=True) for cell in pair]
    if asked.fill == "daily":
        return [next(str(point.extra) for point in here if point), *values]
    return values
