"""Series: the rates of several currencies over a range of days, as they were set, day by day, or as means."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import reduce
from itertools import groupby, repeat
from operator import itemgetter
from typing import Any

from msgspec import Raw

from ratesvc.domain.history import History
from ratesvc.domain.rates import EXACT, plain, rounded, trimmed
from ratesvc.errors import HistoryLoading, TooManyPoints
from ratesvc.render import series_text
from ratesvc.render.api import denomination, encode
from ratesvc.render.language import Language
from ratesvc.render.series_text import Rates, carried, head, in_roubles, iso

CSV = "text/csv; charset=utf-8"
BYTE_ORDER_MARK = "\ufeff"
MOST_POINTS = 75_000
"""Of one answer: five currencies on every day since 1992, with a few years to come."""

Columns = dict[str, dict[str, str]]
"""A table by its columns: heading → label of a row → text of the cell."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for: a closed range; `fill` none or daily; `group` month, year, or empty."""

    codes: tuple[str, ...]
    since: date
    until: date
    quote: str = "RUB"
    fill: str = "none"
    group: str = ""


def check_size(history: History, currencies: int, since: date, until: date, *, daily: bool) -> int:
    """How many points an answer of so many currencies has at most: on every day, or on those of the sheets.

    Raises TooManyPoints, before anything is rendered.
    """
    held = history.days
    days = (until - since).days + 1 if daily else bisect_right(held, until) - bisect_left(held, since)
    points = currencies * max(days, 0)
    if points > MOST_POINTS:
        raise TooManyPoints(currencies, days, MOST_POINTS)
    return points


def points(history: History, asked: Request, today: date) -> int:
    """How many points are wanted, at most. Raises TooManyPoints."""
    daily = asked.fill == "daily"
    return check_size(history, len(asked.codes), asked.since, min(asked.until, today), daily=daily)


def rates(history: History, code: str, asked: Request, today: date) -> list[tuple[date, Decimal]]:
    """Effective dates and unit rates of a currency, oldest first. Raises HistoryLoading where one may be missing."""
    check_complete(history, asked, today)
    found = _rates(history, code, asked)
    return list(zip(map(date.fromordinal, found.days), found.numbers, strict=True))


def check_complete(history: History, asked: Request, today: date) -> None:
    """Raises HistoryLoading where a sheet may be missing."""
    gap = history.first_gap(asked.since, min(asked.until, today))
    # Today is answered even when its own sheet is missing; of the days to come only what is set.
    if gap is not None and gap < today:
        raise HistoryLoading(gap)


def _rates(history: History, code: str, asked: Request, since: date | None = None) -> Rates:
    return series_text.rates(history, code, asked.quote, since or asked.since, asked.until)


def rows_of(history: History, code: str, asked: Request, today: date) -> Raw:
    """The rows of one currency for `to_json`, oldest first."""
    if asked.group:
        means = _means(_rates(history, code, asked), asked.group)
        return Raw(encode([[period, Raw(plain(mean).encode()), count] for period, mean, count in means]))
    if asked.fill == "daily":
        days, effective, texts = _carried(history, code, asked, today)
        records = [f"{head(day)}{text},{head(of)[1:13]}]" for day, of, text in zip(days, effective, texts, strict=True)]
        return Raw(f"[{','.join(records)}]".encode())
    columns = history.columns(code)
    if asked.quote == "RUB" and len(columns) == 1:
        return Raw(in_roubles(columns[0], asked.since, asked.until))
    return Raw(_rates(history, code, asked).json)


def _carried(history: History, code: str, asked: Request, today: date) -> tuple[list[int], list[int], list[str]]:
    """Days up to today, the effective date of the sheet in force on each, and its rate, where it has the currency."""
    days, effective = carried(history, asked.since, min(asked.until, today))
    found = _rates(history, code, asked, date.fromordinal(effective[0]) if effective and effective[0] else None)
    texts = dict(zip(found.days, found.texts, strict=True))
    rows = [(day, of, text) for day, of in zip(days, effective, strict=True) if (text := texts.get(of))]
    return [row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows]


def _means(found: Rates, group: str) -> Iterator[tuple[str, Decimal, int]]:
    """Each month or year, the mean of its rates, rounded once, and how many there were."""
    length = len("2025-04") if group == "month" else len("2025")
    periods = [day[:length] for day in iso(found.days)]
    for period, members in groupby(zip(periods, found.numbers, strict=True), itemgetter(0)):
        numbers = [number for _, number in members]
        yield period, trimmed(rounded(reduce(EXACT.add, numbers), Decimal(len(numbers)))), len(numbers)


def unconfirmed_days(history: History, asked: Request) -> tuple[date, ...]:
    """The days of the range whose sheets are not admitted (yet): no rate is given for them."""
    return tuple(
        day for day in (history.coverage.unconfirmed if history.coverage else ()) if asked.since <= day <= asked.until
    )


def to_json(asked: Request, rows: Mapping[str, Raw], unconfirmed: Sequence[date] = (), *, demo: bool) -> bytes:
    """The documented shape; every number an exact literal."""
    document: dict[str, Any] = {
        "quote": asked.quote,
        "since": asked.since,
        "until": asked.until,
        "fill": asked.fill,
        **({"group": asked.group} if asked.group else {}),
        **({"demo": True} if demo else {}),
        **({"unconfirmed": unconfirmed} if unconfirmed else {}),
        "series": rows,
        "denomination": denomination(asked.since) if "RUB" in (asked.quote, *asked.codes) else None,
    }
    return encode(document)


def columns_of(history: History, asked: Request, today: date) -> Columns:
    """The columns of the table for `to_csv`, without the first, which has the labels."""
    columns: Columns = {"effective_date": {}} if asked.fill == "daily" else {}
    for code in asked.codes:
        if asked.group:
            means = list(_means(_rates(history, code, asked), asked.group))
            columns[code] = {period: plain(mean) for period, mean, _ in means}
            columns[f"{code}_count"] = {period: str(count) for period, _, count in means}
        elif asked.fill == "daily":
            days, effective, texts = _carried(history, code, asked, today)
            labels = iso(days)
            columns["effective_date"] |= zip(labels, iso(effective), strict=True)
            columns[code] = dict(zip(labels, texts, strict=True))
        else:
            found = _rates(history, code, asked)
            columns[code] = dict(zip(iso(found.days), found.texts, strict=True))
    return columns


def to_csv(asked: Request, columns: Columns, language: Language | None) -> bytes:
    """One line a day or period, one column a currency; with a language, as its Excel reads it."""
    decimal = language.decimal_mark if language else "."
    separator = ";" if decimal == "," else ","
    labels = sorted(set().union(*columns.values()))
    cells = [map(column.get, labels, repeat("")) for column in columns.values()]
    # No other cell has a point.
    lines = (separator.join(row).replace(".", decimal) for row in zip(labels, *cells, strict=True))
    heading = separator.join([asked.group or "date", *columns])
    return ((BYTE_ORDER_MARK if language else "") + "\r\n".join([heading, *lines]) + "\r\n").encode()
