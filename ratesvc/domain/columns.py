"""Thirty-four years in memory: one column of days and exact values per currency id, a few megabytes in all."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from operator import mul
from typing import Any

from ratesvc.domain.rates import EXACT, Quote, Revision, Sheet, trimmed
from ratesvc.domain.workdays import ONE_DAY

_SCALE = 4
"""The Bank prints four decimals: a value is kept as its number of 1/10000 roubles."""


@dataclass(frozen=True, slots=True)
class Currency:
    """One currency id of the Bank and what it is called; ids with the same `parent_id` succeed each other.

    `english_name` is the catalogue's, empty where it was not asked for.
    """

    cbr_id: str
    parent_id: str
    code: str
    numeric_code: str
    name: str
    english_name: str = ""


@dataclass(slots=True)
class Column:
    """Every day of one currency id: ordinals of days, values in 1/10000 roubles, nominals as powers of ten.

    `fetched_at` is UTC, of the request that filled it. `derived` is what others made of the records so far, such as
    text; another one begins when any of them changes, but not when one is added behind them.
    """

    currency: Currency
    fetched_at: datetime
    days: array[int] = field(default_factory=lambda: array("i"))
    values: array[int] = field(default_factory=lambda: array("q"))
    nominals: array[int] = field(default_factory=lambda: array("b"))
    derived: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def with_record(self, day: date, nominal: int, value: Decimal) -> Column:
        """This column with that record, as another one where threads that read this one would see records move."""
        index = bisect_left(self.days, day.toordinal())
        at_its_end = index == len(self.days)
        held = None if at_its_end else (self.days[index], self.values[index], self.nominals[index])
        if held == (day.toordinal(), *_record(nominal, value)):
            return self
        other = self if at_its_end else self.copy()
        other.put(day, nominal, value)
        return other

    def without(self, day: date) -> Column:
        """This column without a record on that day, as another one."""
        if self._index(day) is None:
            return self
        other = self.copy()
        other.drop(day)
        return other

    def copy(self) -> Column:
        """Another column with the same records."""
        return replace(self, days=self.days[:], values=self.values[:], nominals=self.nominals[:], derived={})

    def put(self, day: date, nominal: int, value: Decimal) -> None:
        """Set the record of a day, in its place."""
        ordinal, (scaled, power) = day.toordinal(), _record(nominal, value)
        index = bisect_left(self.days, ordinal)
        is_behind_all = index == len(self.days)
        if not is_behind_all and self.days[index] == ordinal:
            self.values[index], self.nominals[index] = scaled, power
        else:
            # The day last: who reads it finds the rest.
            self.values.insert(index, scaled)
            self.nominals.insert(index, power)
            self.days.insert(index, ordinal)
        if not is_behind_all:
            self.derived = {}

    def keep_only(self, ordinals: frozenset[int]) -> None:
        """Forget the records of all other days."""
        if ordinals.issuperset(self.days):
            return
        kept = [index for index, day in enumerate(self.days) if day in ordinals]
        self.days = array("i", [self.days[index] for index in kept])
        self.values = array("q", [self.values[index] for index in kept])
        self.nominals = array("b", [self.nominals[index] for index in kept])
        self.derived = {}

    def forget(self, coverage: Coverage) -> None:
        """Forget the records of all days in that range."""
        first, last = self.places(coverage.since, coverage.until)
        if first < last:
            del self.days[first:last], self.values[first:last], self.nominals[first:last]
            self.derived = {}

    def drop(self, day: date) -> None:
        """Forget the record of a day, if there is one."""
        index = self._index(day)
        if index is not None:
            del self.days[index], self.values[index], self.nominals[index]
            self.derived = {}

    def quote(self, day: date) -> Quote | None:
        """The record of exactly this day."""
        index = self._index(day)
        if index is None:
            return None
        nominal, value = 10 ** self.nominals[index], Decimal(self.values[index]).scaleb(-_SCALE)
        return Quote(
            self.currency.code, self.currency.numeric_code, self.currency.cbr_id, nominal, value, self.currency.name
        )

    def unit_rates(self, since: date, until: date) -> Iterator[tuple[date, Decimal]]:
        """Effective date and exact unit rate of every record in the closed range, oldest first."""
        first, last = self.places(since, until)
        return zip(map(date.fromordinal, self.days[first:last]), map(trimmed, self.exact(first, last)), strict=False)

    def places(self, since: date, until: date) -> tuple[int, int]:
        """Where the records of the closed range begin and end."""
        return bisect_left(self.days, since.toordinal()), bisect_right(self.days, until.toordinal())

    def exact(self, first: int, last: int) -> list[Decimal]:
        """The unit rates in these places, zeros at the end and all."""
        powers = [-_SCALE - nominal for nominal in self.nominals[first:last]]
        return list(map(Decimal.scaleb, map(Decimal, self.values[first:last]), powers))

    def scaled(self, first: int, last: int, power: int) -> list[int]:
        """The unit rates in these places as whole numbers of 10^-(4 + power) roubles; no nominal is above 10^power."""
        factors = [10 ** (power - nominal) for nominal in range(power + 1)]
        return list(map(mul, self.values[first:last], map(factors.__getitem__, self.nominals[first:last])))

    @property
    def greatest_power(self) -> int:
        """The greatest nominal is ten to this power."""
        return max(self.nominals, default=0)

    @property
    def first_day(self) -> date:
        """The earliest record; only where there is one."""
        return date.fromordinal(self.days[0])

    @property
    def last_day(self) -> date:
        """The latest record; only where there is one."""
        return date.fromordinal(self.days[-1])

    def last_within(self, coverage: Coverage) -> date | None:
        """The latest record in that range of days."""
        first, last = self.places(coverage.since, coverage.until)
        return date.fromordinal(self.days[last - 1]) if last > first else None

    def _index(self, day: date) -> int | None:
        ordinal = day.toordinal()
        index = bisect_left(self.days, ordinal)
        return index if index < len(self.days) and self.days[index] == ordinal else None


def _record(nominal: int, value: Decimal) -> tuple[int, int]:
    """As a column holds it."""
    return int(value.scaleb(_SCALE, EXACT)), len(str(nominal)) - 1


@dataclass(frozen=True, slots=True)
class Coverage:
    """A closed range of days in which every sheet is held: no day in it can have another one.

    The days in `unconfirmed`, oldest first, are the exception: their sheets exist and are not admitted. `assessed` is
    False for a range that a version without admission of history wrote.
    """

    since: date
    until: date
    unconfirmed: tuple[date, ...] = ()
    assessed: bool = True

    def __contains__(self, day: date) -> bool:
        """Whether the day lies in it."""
        return self.since <= day <= self.until

    def has_unconfirmed(self, after: date, until: date) -> bool:
        """Whether a sheet that is not admitted takes effect later than `after` and up to `until`."""
        return any(after < day <= until for day in self.unconfirmed)

    def with_sheet(self, day: date) -> Coverage:
        """The same range once the sheet of that day is held."""
        return (
            self
            if day not in self.unconfirmed
            else replace(self, unconfirmed=tuple(other for other in self.unconfirmed if other != day))
        )

    def without_sheet(self, day: date) -> Coverage:
        """The same range when the sheet of that day is not admitted."""
        return replace(self, unconfirmed=tuple(sorted({*self.unconfirmed, day})))

    def covers(self, other: Coverage) -> bool:
        """Whether every day of the other lies in it."""
        return self.since <= other.since and other.until <= self.until

    def joins(self, other: Coverage) -> bool:
        """Whether no day lies between them."""
        return self.since <= other.until + ONE_DAY and other.since <= self.until + ONE_DAY

    def hull(self, other: Coverage) -> Coverage:
        """The smallest that covers both; what lies between them is in it."""
        unconfirmed = tuple(sorted({*self.unconfirmed, *other.unconfirmed}))
        is_assessed = self.assessed and other.assessed
        return Coverage(min(self.since, other.since), max(self.until, other.until), unconfirmed, is_assessed)


def scaled_rouble(power: int) -> int:
    """One rouble as `Column.scaled` counts."""
    return int(10 ** (_SCALE + power))


def sheet_days(columns: Iterable[Column]) -> list[date]:
    """The dates of the sheets: those of USD, which has been in every one of them."""
    return [date.fromordinal(day) for column in columns if column.currency.code == "USD" for day in column.days]


def with_revision(columns: Mapping[str, Column], revision: Revision) -> dict[str, Column]:
    """Columns by id with the figures of a sheet: exactly its currencies have a record on its day.

    They are others than those given where threads that read these would see records move.
    """
    day, quotes = revision.effective_date, {quote.cbr_id: quote for quote in revision.sheet.quotes}
    found = {cbr_id: column if cbr_id in quotes else column.without(day) for cbr_id, column in columns.items()}
    for cbr_id, quote in quotes.items():
        currency = Currency(cbr_id, cbr_id, quote.code, quote.numeric_code, quote.name)
        column = found.get(cbr_id) or Column(currency, revision.fetched_at)
        found[cbr_id] = column.with_record(day, quote.nominal, quote.value)
    return found


def composed(columns: Iterable[Column], effective: date) -> Revision | None:
    """A sheet from the columns: a currency belongs to it only with a record on that day."""
    rows = [(quote, column.fetched_at) for column in columns if (quote := column.quote(effective))]
    if not rows:
        return None
    quotes = {quote.code: quote for quote, _ in reversed(rows)}
    ordered = sorted(quotes.values(), key=lambda quote: quote.name)
    return Revision(Sheet(effective, tuple(ordered)), 1, min(at for _, at in rows))
