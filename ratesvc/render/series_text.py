"""Rates over a range of days as numbers and text, thousands at a time at the speed of C.

A column's whole text in roubles is written once, and a range of days is a slice of it.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import lru_cache
from itertools import accumulate, repeat
from operator import add
from typing import Any

from ratesvc.domain.columns import Column, scaled_rouble
from ratesvc.domain.history import History
from ratesvc.domain.rates import EXACT, ONE, plain, ratios

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


def rates(history: History, code: str, quote: str, since: date, until: date, *, amount: Decimal = ONE) -> Rates:
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
