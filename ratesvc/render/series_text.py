"""Long series as JSON text: a column's whole text is written once, and a range of days is a slice of it."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import lru_cache
from itertools import accumulate, repeat
from operator import add

from ratesvc.columns import Column, scaled_rouble
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
    records = [record + "]," for record in _records(days, map(EXACT.normalize, column.exact(held, held + len(days))))]
    starts = array("i", accumulate(map(len, records), initial=text.starts[-1]))
    return Text(text.days + days, text.starts[:-1] + starts, text.text + "".join(records).encode())


def in_another(base: Column | None, quote: Column, since: date, until: date) -> bytes:
    """Cross rates on the days on which both currencies have a record, as one JSON array; the rouble has no column."""
    power = max(column.greatest_power for column in (base, quote) if column)
    first, last = quote.places(since, until)
    days, divisors = quote.days[first:last], quote.scaled(first, last, power)
    if base is None:
        return _array(_records(days, ratios(repeat(scaled_rouble(power)), divisors)))
    first, last = base.places(since, until)
    base_days, units = base.days[first:last], base.scaled(first, last, power)
    if base_days != days:
        held, wanted = dict(zip(base_days, units, strict=True)), dict(zip(days, divisors, strict=True))
        days = array("i", [day for day in days if day in held])
        units, divisors = [held[day] for day in days], [wanted[day] for day in days]
    return _array(_records(days, ratios(units, divisors)))


def _array(records: list[str]) -> bytes:
    return f"[{'],'.join(records)}]]".encode() if records else b"[]"


def _records(days: Iterable[int], numbers: Iterable[Decimal]) -> list[str]:
    """`["2025-04-01",83.6813` for each: without its last bracket, which a join can bring."""
    found = list(numbers)
    literals = list(map(str, found))
    # str is three times as fast as plain, and says the same where it writes no exponent.
    if "E" in "".join(literals):
        literals = list(map(plain, found))
    return list(map(add, map(_head, days), literals))


@lru_cache(maxsize=16384)
def _head(ordinal: int) -> str:
    return f'["{date.fromordinal(ordinal).isoformat()}",'
