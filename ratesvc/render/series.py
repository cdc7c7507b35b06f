"""Series: the rates of several currencies over a range of days, as they were set, day by day, or as means."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import lru_cache, reduce
from itertools import accumulate, groupby, repeat
from operator import add, itemgetter
from typing import Any

from msgspec import Raw

from ratesvc.domain.columns import Column, scaled_rouble
from ratesvc.domain.history import History
from ratesvc.domain.rates import EXACT, ONE, plain, ratios, rounded, trimmed
from ratesvc.errors import HistoryLoading, TooManyPoints
from ratesvc.render.json import denomination, encode
from ratesvc.render.language import Language

CSV = "text/csv; charset=utf-8"
BYTE_ORDER_MARK = "\ufeff"
MOST_POINTS = 75_000
"""Of one answer: five currencies on every day since 1992, with a few years to come."""

Columns = dict[str, dict[str, str]]
"""A table by its columns: heading → label of a row → text of the cell."""


@dataclass(frozen=True, slots=True)
class SeriesParams:
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


def count_points(history: History, params: SeriesParams, today: date) -> int:
    """How many points are wanted, at most. Raises TooManyPoints."""
    daily = params.fill == "daily"
    return check_size(history, len(params.codes), params.since, min(params.until, today), daily=daily)


def dated_rates(history: History, code: str, params: SeriesParams, today: date) -> list[tuple[date, Decimal]]:
    """Effective dates and unit rates of a currency, oldest first. Raises HistoryLoading where one may be missing."""
    check_complete(history, params, today)
    found = _rates(history, code, params)
    return list(zip(map(date.fromordinal, found.days), found.numbers, strict=True))


def check_complete(history: History, params: SeriesParams, today: date) -> None:
    """Raises HistoryLoading where a sheet may be missing."""
    gap = history.first_gap(params.since, min(params.until, today))
    # Today is answered even when its own sheet is missing; of the days to come only what is set.
    if gap is not None and gap < today:
        raise HistoryLoading(gap)


def _rates(history: History, code: str, params: SeriesParams, since: date | None = None) -> Rates:
    return rates_between(history, code, params.quote, since or params.since, params.until)


def rows_of(history: History, code: str, params: SeriesParams, today: date) -> Raw:
    """The rows of one currency for `to_json`, oldest first."""
    if params.group:
        means = _means(_rates(history, code, params), params.group)
        return Raw(encode([[period, Raw(plain(mean).encode()), count] for period, mean, count in means]))
    if params.fill == "daily":
        days, effective, texts = _carried(history, code, params, today)
        records = [f"{head(day)}{text},{head(of)[1:13]}]" for day, of, text in zip(days, effective, texts, strict=True)]
        return Raw(f"[{','.join(records)}]".encode())
    columns = history.columns(code)
    if params.quote == "RUB" and len(columns) == 1:
        return Raw(in_roubles(columns[0], params.since, params.until))
    return Raw(_rates(history, code, params).json)


def _carried(history: History, code: str, params: SeriesParams, today: date) -> tuple[list[int], list[int], list[str]]:
    """Days up to today, the effective date of the sheet in force on each, and its rate, where it has the currency."""
    days, effective = carried(history, params.since, min(params.until, today))
    found = _rates(history, code, params, date.fromordinal(effective[0]) if effective and effective[0] else None)
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


def unconfirmed_days(history: History, params: SeriesParams) -> tuple[date, ...]:
    """The days of the range whose sheets are not admitted (yet): no rate is given for them."""
    return tuple(
        day for day in (history.coverage.unconfirmed if history.coverage else ()) if params.since <= day <= params.until
    )


def to_json(params: SeriesParams, rows: Mapping[str, Raw], unconfirmed: Sequence[date] = (), *, demo: bool) -> bytes:
    """The documented shape; every number an exact literal."""
    document: dict[str, Any] = {
        "quote": params.quote,
        "since": params.since,
        "until": params.until,
        "fill": params.fill,
        **({"group": params.group} if params.group else {}),
        **({"demo": True} if demo else {}),
        **({"unconfirmed": unconfirmed} if unconfirmed else {}),
        "series": rows,
        "denomination": denomination(params.since) if "RUB" in (params.quote, *params.codes) else None,
    }
    return encode(document)


def columns_of(history: History, params: SeriesParams, today: date) -> Columns:
    """The columns of the table for `to_csv`, without the first, which has the labels."""
    columns: Columns = {"effective_date": {}} if params.fill == "daily" else {}
    for code in params.codes:
        if params.group:
            means = list(_means(_rates(history, code, params), params.group))
            columns[code] = {period: plain(mean) for period, mean, _ in means}
            columns[f"{code}_count"] = {period: str(count) for period, _, count in means}
        elif params.fill == "daily":
            days, effective, texts = _carried(history, code, params, today)
            labels = iso(days)
            columns["effective_date"] |= zip(labels, iso(effective), strict=True)
            columns[code] = dict(zip(labels, texts, strict=True))
        else:
            found = _rates(history, code, params)
            columns[code] = dict(zip(iso(found.days), found.texts, strict=True))
    return columns


def to_csv(params: SeriesParams, columns: Columns, language: Language | None) -> bytes:
    """One line a day or period, one column a currency; with a language, as its Excel reads it."""
    decimal = language.decimal_mark if language else "."
    separator = ";" if decimal == "," else ","
    labels = sorted(set().union(*columns.values()))
    cells = [map(column.get, labels, repeat("")) for column in columns.values()]
    # No other cell has a point.
    lines = (separator.join(row).replace(".", decimal) for row in zip(labels, *cells, strict=True))
    heading = separator.join([params.group or "date", *columns])
    return ((BYTE_ORDER_MARK if language else "") + "\r\n".join([heading, *lines]) + "\r\n").encode()


AMOUNT_SIGNIFICANT = 28
"""Digits of what an amount comes to."""


@dataclass(frozen=True, slots=True)
class Text:
    """`["2025-04-01",83.6813],` for each record; `starts` has one place more than there are `days`."""

    days: array[int]
    starts: array[int]
    text: bytes

    def between(self, since: date, until: date) -> bytes:
        """The records of a closed range as one JSON array."""
        first = bisect_left(self.days, since.toordinal())
        last = bisect_right(self.days, until.toordinal(), first)
        return b"[%b]" % self.text[self.starts[first] : max(self.starts[first], self.starts[last] - 1)]


@dataclass(frozen=True, slots=True)
class Rates:
    """Unit rates by effective date, oldest first: ordinals of days, and as many numbers, of which 100 may be 1E+2."""

    days: Sequence[int]
    numbers: Sequence[Decimal]

    @property
    def texts(self) -> list[str]:
        """Every number as a decimal literal."""
        texts = list(map(str, self.numbers))
        # str is three times as fast as plain, and says the same where it writes no exponent.
        return list(map(plain, self.numbers)) if "E" in "".join(texts) else texts

    @property
    def json(self) -> bytes:
        """`[["2025-04-01",83.6813],…]`."""
        records = list(map(add, map(head, self.days), self.texts))
        return f"[{'],'.join(records)}]]".encode() if records else b"[]"


NOTHING = Text(array("i"), array("i", [0]), b"")


def in_roubles(column: Column, since: date, until: date) -> bytes:
    """Official unit rates, from the column's text: written at the first demand, then longer by what was added since."""
    # A column of which a record changes meanwhile gets another `derived`, so this one never answers for it.
    derived = column.derived
    found: Text = derived.get("json", NOTHING)
    if len(found.days) < len(column.days):
        found = derived["json"] = _longer(found, column)
    return found.between(since, until)


def _longer(text: Text, column: Column) -> Text:
    held = len(text.days)
    days = column.days[held:]
    texts = Rates(days, list(map(EXACT.normalize, column.exact(held, held + len(days))))).texts
    records = [record + "]," for record in map(add, map(head, days), texts)]
    starts = array("i", accumulate(map(len, records), initial=text.starts[-1]))
    return Text(text.days + days, text.starts[:-1] + starts, text.text + "".join(records).encode())


def rates_between(history: History, code: str, quote: str, since: date, until: date, *, amount: Decimal = ONE) -> Rates:
    """Unit rates of the sheets in the closed range that have both: exact in roubles, else rounded once.

    With another `amount` what so many units come to, to AMOUNT_SIGNIFICANT digits in roubles, too.
    """
    columns, others = history.columns(code), history.columns(quote)
    if quote == "RUB" and amount == ONE:
        return Rates(*_records(columns, since, until, _exact))
    power = max((_greatest_power(column, since, until) for column in (*columns, *others)), default=0)

    def scaled(column: Column, first: int, last: int) -> list[int]:
        return column.scaled(first, last, power)

    days, units = _records(columns, since, until, scaled)
    other_days, divisors = _records(others, since, until, scaled)
    if code == "RUB":
        days, units = other_days, [scaled_rouble(power)] * len(other_days)
    if quote == "RUB":
        other_days, divisors = days, [scaled_rouble(power)] * len(days)
    if days != other_days:
        held, wanted = dict(zip(days, units, strict=True)), dict(zip(other_days, divisors, strict=True))
        days = [day for day in days if day in wanted]
        units, divisors = [held[day] for day in days], [wanted[day] for day in days]
    if amount == ONE:
        return Rates(days, list(ratios(units, divisors)))
    return Rates(days, list(ratios(map(EXACT.multiply, repeat(amount), units), divisors, AMOUNT_SIGNIFICANT)))


def _greatest_power(column: Column, since: date, until: date) -> int:
    first, last = column.places(since, until)
    return max(column.nominals[first:last], default=0)


def _exact(column: Column, first: int, last: int) -> list[Decimal]:
    return list(map(EXACT.normalize, column.exact(first, last)))


def _records(
    columns: list[Column], since: date, until: date, read: Callable[[Column, int, int], list[Any]]
) -> tuple[Sequence[int], list[Any]]:
    """Days, and what is read of each: where a currency has several ids, a day's is that of the earliest."""
    merged: dict[int, Any] = {}
    for column in reversed(columns):
        first, last = column.places(since, until)
        days, values = column.days[first:last], read(column, first, last)
        if len(columns) == 1:
            return days, values
        merged |= zip(days, values, strict=True)
    ordered = sorted(merged)
    return ordered, [merged[day] for day in ordered]


def carried(history: History, since: date, until: date) -> tuple[range, list[int]]:
    """Every day of the closed range, and the effective date of the sheet in force on it.

    0 before the first sheet, and from a sheet that is not admitted until the next one: no earlier rate applies then.
    """
    lacking = history.coverage.unconfirmed if history.coverage else ()
    held = sorted({*history.days, *lacking}) if lacking else history.days
    days = range(since.toordinal(), until.toordinal() + 1)
    place = bisect_right(held, since)
    effective = _ordinal(held[place - 1], lacking) if place else 0
    found: list[int] = []
    for day in held[place : bisect_right(held, until)]:
        found += repeat(effective, day.toordinal() - days.start - len(found))
        effective = _ordinal(day, lacking)
    return days, found + [effective] * (len(days) - len(found))


def _ordinal(day: date, lacking: Collection[date]) -> int:
    return 0 if day in lacking else day.toordinal()


def iso(days: Iterable[int]) -> list[str]:
    """2025-04-01 for each."""
    return [text[2:12] for text in map(head, days)]


@lru_cache(maxsize=16384)
def head(ordinal: int) -> str:
    """`["2025-04-01",`: how the record of a day begins."""
    return f'["{date.fromordinal(ordinal).isoformat()}",'
