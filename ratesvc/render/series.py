"""Series: the rates of several currencies over a range of days, as they were set, day by day, or as means.

Numbers become text thousands at a time, at the speed of C. A column's whole text in roubles is written once; a range of
days is a slice of it.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import lru_cache
from itertools import accumulate, groupby, repeat
from operator import add, itemgetter
from typing import Any

from msgspec import Raw

from ratesvc.domain.columns import Column, Days, scaled_rouble
from ratesvc.domain.history import History
from ratesvc.domain.rates import EXACT, ONE, InForce, mean, plain, ratios
from ratesvc.domain.workdays import ONE_DAY
from ratesvc.errors import HistoryLoading, TooManyPoints
from ratesvc.render.json import denomination, encode, figures
from ratesvc.render.language import Language

CSV = "text/csv; charset=utf-8"
AMOUNT_SIGNIFICANT = 28
"""Digits of a converted amount."""

Columns = dict[str, dict[str, str]]
"""A table by its columns: heading → label of a row → text of the cell."""


@dataclass(frozen=True, slots=True)
class SeriesParams:
    """The parameters of a series: a closed range; `fill` none or daily; `group` month, year, or empty."""

    codes: tuple[str, ...]
    since: date
    until: date
    quote: str = "RUB"
    fill: str = "none"
    group: str = ""


def count_points(history: History, currencies: int, days: Days, most: int, *, daily: bool = False) -> int:
    """The greatest count of points: currencies × days, which are all days if `daily`, else days with a sheet.

    Raises TooManyPoints if it is more than `most`, before anything is rendered.
    """
    held = bisect_right(history.days, days.until) - bisect_left(history.days, days.since)
    count = max((days.until - days.since).days + 1 if daily else held, 0)
    if currencies * count > most:
        raise TooManyPoints(currencies, count, most)
    return currencies * count


def points_of(history: History, params: SeriesParams, today: date, most: int) -> int:
    """The greatest count of points of a series. Raises TooManyPoints."""
    daily = params.fill == "daily"
    until = _last_set(history, params, today) if daily else min(params.until, today)
    return count_points(history, len(params.codes), Days(params.since, until), most, daily=daily)


def _last_set(history: History, params: SeriesParams, today: date) -> date:
    """The last day of the range whose sheet in force is set; today always has one, and days to come may."""
    gap = history.first_gap(today + ONE_DAY, params.until)
    return gap - ONE_DAY if gap else params.until


def check_complete(history: History, params: SeriesParams, today: date) -> None:
    """Raise HistoryLoading if a sheet of the range may be missing."""
    gap = history.first_gap(params.since, min(params.until, today))
    # Today is answered even if its own sheet is missing; days to come have only the sheets that are set.
    if gap is not None and gap < today:
        raise HistoryLoading(gap)


def dated_rates(history: History, code: str, params: SeriesParams, today: date) -> list[tuple[date, Decimal]]:
    """Effective dates and unit rates of a currency, oldest first. Raises HistoryLoading."""
    check_complete(history, params, today)
    rates = _rates(history, code, params)
    return list(zip(map(date.fromordinal, rates.days), rates.numbers, strict=True))


def to_json(params: SeriesParams, history: History, today: date, *, demo: bool) -> bytes:
    """The series in the documented shape; every number is an exact literal."""
    unconfirmed = history.unconfirmed_in(params.since, params.until)
    document: dict[str, Any] = {
        "quote": params.quote,
        "since": params.since,
        "until": params.until,
        "fill": params.fill,
        **({"group": params.group} if params.group else {}),
        **({"demo": True} if demo else {}),
        **({"unconfirmed": unconfirmed} if unconfirmed else {}),
        "series": {code: Raw(rows_of(history, code, params, today)) for code in params.codes},
        "denomination": denomination(params.since) if "RUB" in (params.quote, *params.codes) else None,
    }
    return encode(document)


def rows_of(history: History, code: str, params: SeriesParams, today: date) -> bytes:
    """The rows of one currency as a JSON array, oldest first."""
    if params.group:
        means = _means(history, code, params)
        return encode([[period, Raw(plain(mean).encode()), count] for period, mean, count in means])
    if params.fill == "daily":
        rows = _carried_rates(history, code, params, today)
        records = [f"{head(day)}{text},{head(effective)[1:13]}]" for day, effective, text in rows]
        return f"[{','.join(records)}]".encode()
    columns = history.columns(code)
    if params.quote == "RUB" and len(columns) == 1:
        return in_roubles(columns[0], params.since, params.until)
    return _rates(history, code, params).json


def columns_of(history: History, params: SeriesParams, today: date) -> Columns:
    """The columns of the table for `to_csv`, without the first, which has the labels."""
    columns: Columns = {"effective_date": {}} if params.fill == "daily" else {}
    for code in params.codes:
        if params.group:
            means = list(_means(history, code, params))
            columns[code] = {period: plain(mean) for period, mean, _ in means}
            columns[f"{code}_count"] = {period: str(count) for period, _, count in means}
        elif params.fill == "daily":
            rows = [(iso(day), iso(of), text) for day, of, text in _carried_rates(history, code, params, today)]
            columns["effective_date"] |= {day: of for day, of, _ in rows}
            columns[code] = {day: text for day, _, text in rows}
        else:
            rates = _rates(history, code, params)
            columns[code] = dict(zip(map(iso, rates.days), rates.texts, strict=True))
    return columns


def columns_of_sheet(answer: InForce, quote: str, codes: Collection[str] | None) -> Columns:
    """The columns of one sheet for `to_csv`, without the first, which has the codes. Raises what `figures` raises."""
    rows, names = figures(answer, quote, codes), ("nominal", "value", "unit_rate", "change", "change_percent")
    columns = {name: {code: row[name] for code, row in rows.items() if name in row} for name in names}
    return {"effective_date": dict.fromkeys(rows, answer.revision.effective_date.isoformat()), **columns}


def to_csv(label: str, columns: Columns, language: Language | None) -> bytes:
    """CSV: a line for each day, period or code, under the heading `label`; with a language, as its Excel reads it."""
    decimal = language.decimal_mark if language else "."
    separator = ";" if decimal == "," else ","
    labels = sorted(set().union(*columns.values()))
    cells = [map(column.get, labels, repeat("")) for column in columns.values()]
    # No other cell has a point.
    lines = (separator.join(row).replace(".", decimal) for row in zip(labels, *cells, strict=True))
    heading = separator.join([label, *columns])
    byte_order_mark = "\ufeff" if language else ""
    return (byte_order_mark + "\r\n".join([heading, *lines]) + "\r\n").encode()


def _rates(history: History, code: str, params: SeriesParams, since: date | None = None) -> Rates:
    return rates_between(history, code, params.quote, since or params.since, params.until)


def _means(history: History, code: str, params: SeriesParams) -> Iterator[tuple[str, Decimal, int]]:
    """Each month or year, the mean of its rates, and their count."""
    length = len("2025-04") if params.group == "month" else len("2025")
    return means_between(history, code, params.quote, params.since, params.until, lambda day: iso(day)[:length])


def means_between(
    history: History, code: str, quote: str, since: date, until: date, period: Callable[[int], str]
) -> Iterator[tuple[str, Decimal, int]]:
    """Each period of the closed range, oldest first, the mean of its rates, rounded once, and their count."""
    days, *quotients = _quotients(history, code, quote, since, until)
    for name, members in groupby(zip(map(period, days), *quotients, strict=True), itemgetter(0)):
        _, units, divisors = zip(*members, strict=True)
        yield name, mean(units, divisors), len(units)


def _carried_rates(history: History, code: str, params: SeriesParams, today: date) -> list[tuple[int, int, str]]:
    """Days that are set, the effective date of the sheet in force on each, and its rate if it has the currency."""
    days, effective = carried(history, params.since, _last_set(history, params, today))
    rates = _rates(history, code, params, date.fromordinal(effective[0]) if effective and effective[0] else None)
    texts = dict(zip(rates.days, rates.texts, strict=True))
    return [(day, of, text) for day, of in zip(days, effective, strict=True) if (text := texts.get(of))]


@dataclass(frozen=True, slots=True)
class Rates:
    """Unit rates by effective date, oldest first: ordinals of days, and as many numbers, of which 100 may be 1E+2."""

    days: Sequence[int]
    numbers: Sequence[Decimal]

    @property
    def texts(self) -> list[str]:
        """Every number as a decimal literal."""
        texts = list(map(str, self.numbers))
        # str is three times as fast as plain and gives the same text if it writes no exponent.
        return list(map(plain, self.numbers)) if "E" in "".join(texts) else texts

    @property
    def json(self) -> bytes:
        """`[["2025-04-01",83.6813],…]`."""
        records = list(map(add, map(head, self.days), self.texts))
        return f"[{'],'.join(records)}]]".encode() if records else b"[]"


def rates_between(history: History, code: str, quote: str, since: date, until: date, *, amount: Decimal = ONE) -> Rates:
    """Unit rates of the sheets in the closed range that have both: exact in roubles, else rounded once.

    Another `amount` is converted instead of one unit, to AMOUNT_SIGNIFICANT digits in roubles, too.
    """
    if quote == "RUB" != code and amount == ONE:
        return Rates(*_records(history.columns(code), since, until, _exact))
    days, units, divisors = _quotients(history, code, quote, since, until)
    if amount == ONE:
        return Rates(days, list(ratios(units, divisors)))
    return Rates(days, list(ratios(map(EXACT.multiply, repeat(amount), units), divisors, AMOUNT_SIGNIFICANT)))


def _quotients(
    history: History, code: str, quote: str, since: date, until: date
) -> tuple[Sequence[int], Sequence[int], Sequence[int]]:
    """The days of the sheets that have both, and for each what one unit of both costs, in one unit of account."""
    if code == quote == "RUB":
        sheets = [day.toordinal() for day in history.days if since <= day <= until]
        return sheets, [1] * len(sheets), [1] * len(sheets)
    columns, others = history.columns(code), history.columns(quote)
    nominals = (column.nominals[slice(*column.places(since, until))] for column in (*columns, *others))
    power = max((max(powers, default=0) for powers in nominals), default=0)

    def scaled(column: Column, first: int, last: int) -> list[int]:
        return column.scaled(first, last, power)

    days, units = _records(columns, since, until, scaled)
    other_days, divisors = _records(others, since, until, scaled)
    if code == "RUB":
        days, units = other_days, [scaled_rouble(power)] * len(other_days)
    if quote == "RUB":
        other_days, divisors = days, [scaled_rouble(power)] * len(days)
    if days != other_days:
        ours, theirs = dict(zip(days, units, strict=True)), dict(zip(other_days, divisors, strict=True))
        days = [day for day in days if day in theirs]
        units, divisors = [ours[day] for day in days], [theirs[day] for day in days]
    return days, units, divisors


def _exact(column: Column, first: int, last: int) -> list[Decimal]:
    return list(map(EXACT.normalize, column.exact(first, last)))


def _records(
    columns: list[Column], since: date, until: date, read: Callable[[Column, int, int], list[Any]]
) -> tuple[Sequence[int], list[Any]]:
    """Days, and the value of each; if a currency has several ids, the earliest id counts."""
    merged: dict[int, Any] = {}
    for column in reversed(columns):
        first, last = column.places(since, until)
        days, values = column.days[first:last], read(column, first, last)
        if len(columns) == 1:
            return days, values
        merged |= zip(days, values, strict=True)
    ordered = sorted(merged)
    return ordered, [merged[day] for day in ordered]


@dataclass(frozen=True, slots=True)
class _Text:
    """`["2025-04-01",83.6813],` for each record; `starts` has one place more than there are `days`."""

    days: array[int]
    starts: array[int]
    text: bytes

    @classmethod
    def of(cls, column: Column) -> _Text:
        """The text of all records that the column has now."""
        days = column.days[:]
        texts = Rates(days, _exact(column, 0, len(days))).texts
        records = [record + "]," for record in map(add, map(head, days), texts)]
        return cls(days, array("i", accumulate(map(len, records), initial=0)), "".join(records).encode())


def in_roubles(column: Column, since: date, until: date) -> bytes:
    """The official unit rates of a closed range as one JSON array, a slice of the column's text."""
    # If a record changes meanwhile, the column gets another `derived`, so an outdated text is never used.
    derived = column.derived
    whole: _Text | None = derived.get("json")
    if whole is None or len(whole.days) < len(column.days):
        whole = derived["json"] = _Text.of(column)
    first = bisect_left(whole.days, since.toordinal())
    last = bisect_right(whole.days, until.toordinal(), first)
    return b"[%b]" % whole.text[whole.starts[first] : max(whole.starts[first], whole.starts[last] - 1)]


def carried(history: History, since: date, until: date) -> tuple[range, list[int]]:
    """Every day of the closed range, and the effective date of the sheet in force on it.

    0 before the first sheet, and from an unconfirmed sheet until the next one, because no earlier rate applies then.
    """
    unconfirmed = history.unconfirmed
    held = sorted({*history.days, *unconfirmed}) if unconfirmed else history.days
    days = range(since.toordinal(), until.toordinal() + 1)
    dates: list[int] = []
    effective = 0
    for day in held[max(bisect_right(held, since) - 1, 0) : bisect_right(held, until)]:
        dates += repeat(effective, day.toordinal() - days.start - len(dates))
        effective = 0 if day in unconfirmed else day.toordinal()
    return days, dates + [effective] * (len(days) - len(dates))


def iso(ordinal: int) -> str:
    """2025-04-01."""
    return head(ordinal)[2:12]


@lru_cache(maxsize=16384)
def head(ordinal: int) -> str:
    """`["2025-04-01",`: the start of a day's record."""
    return f'["{date.fromordinal(ordinal).isoformat()}",'
