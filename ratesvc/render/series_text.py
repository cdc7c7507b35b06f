"""Long series as JSON text: a column's whole text is written once, and a range of days is a slice of it."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import lru_cache
from itertools import accumulate

from ratesvc.columns import Column
from ratesvc.rates import EXACT, plain, ratios


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


def in_roubles(column: Column, since: date, until: date) -> bytes:
    """Official unit rates, from the column's text; that is written at the first demand after each change."""
    # A column that changes meanwhile gets another `derived`, so this one never answers for the new figures.
    derived = column.derived
    if "json" not in derived:
        derived["json"] = _text(column)
    found: Text = derived["json"]
    return found.between(since, until)


def _text(column: Column) -> Text:
    days = array("i", column.days)
    records = [record + "," for record in _records(days, map(EXACT.normalize, column.exact(0, len(days))))]
    starts = array("i", accumulate(map(len, records), initial=0))
    return Text(days, starts, "".join(records).encode())


def in_another(base: Column, quote: Column, since: date, until: date) -> bytes:
    """Cross rates on the days on which both currencies have a record, as one JSON array."""
    ranges = [(column, *column.places(since, until)) for column in (base, quote)]
    days = [list(column.days[first:last]) for column, first, last in ranges]
    units = [column.exact(first, last) for column, first, last in ranges]
    if days[0] != days[1]:
        found = [dict(zip(*pair, strict=False)) for pair in zip(days, units, strict=True)]
        shared = [day for day in days[1] if day in found[0]]
        days, units = [shared], [[one[day] for day in shared] for one in found]
    return f"[{','.join(_records(days[0], ratios(*units)))}]".encode()


def _records(days: Iterable[int], numbers: Iterable[Decimal]) -> Iterable[str]:
    return map('["{}",{}]'.format, map(_day, days), map(_literal, numbers))


def _literal(number: Decimal) -> str:
    # str is three times as fast as plain, and the same where it writes no exponent.
    text = str(number)
    return plain(number) if "E" in text else text


@lru_cache(maxsize=16384)
def _day(ordinal: int) -> str:
    return date.fromordinal(ordinal).isoformat()
