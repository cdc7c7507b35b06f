"""Thirty-four years in memory: a column of days and exact values for each currency id, a few megabytes in all."""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Self

from ratesvc.domain.rates import EXACT, Quote, Revision, Sheet

SCALE = 4
"""The Bank prints four decimals: a value is kept as a whole number of 1/10000 roubles."""
_NO_FIGURE = Decimal(0)
_shared = lru_cache(100)(tuple[Quote, ...])


@dataclass(frozen=True, slots=True)
class Currency:
    """One currency id of the Bank and its names; ids with the same `parent_id` succeed each other.

    `english_name` is the catalogue's, empty if the catalogue was not fetched.
    """

    cbr_id: str
    parent_id: str
    code: str
    numeric_code: str
    name: str
    english_name: str = ""

    @classmethod
    def of(cls, quote: Quote) -> Self:
        """The names in a row of a sheet."""
        return cls(quote.cbr_id, quote.cbr_id, quote.code, quote.numeric_code, quote.name)

    @property
    def codes(self) -> tuple[str, str]:
        """The ISO code and number, which the Bank may change under an id."""
        return self.code, self.numeric_code


@dataclass(frozen=True)
class Days:
    """A closed range of days."""

    since: date
    until: date

    def __contains__(self, day: date) -> bool:
        return self.since <= day <= self.until

    def covers(self, other: Days) -> bool:
        """Whether every day of the other range lies in this one."""
        return self.since <= other.since and other.until <= self.until


@dataclass(slots=True)
class Column:
    """Every day of one currency id: ordinals of days, values in 1/10000 roubles, nominals as powers of ten.

    `fetched_at` is UTC, the time of the request that filled it. `others` has the names of the days, by their ordinals,
    on which the id had other codes than those of `currency`.
    """

    currency: Currency
    fetched_at: datetime
    days: array[int] = field(default_factory=lambda: array("i"))
    values: array[int] = field(default_factory=lambda: array("q"))
    nominals: array[int] = field(default_factory=lambda: array("b"))
    others: Mapping[int, Currency] = field(default_factory=dict)

    @property
    def first_day(self) -> date:
        """The day of the earliest record. Raises IndexError for an empty column."""
        return date.fromordinal(self.days[0])

    @property
    def last_day(self) -> date:
        """The day of the latest record. Raises IndexError for an empty column."""
        return date.fromordinal(self.days[-1])

    @property
    def age(self) -> tuple[int, str]:
        """Sorts columns, the earliest first, in one order on every replica. Raises IndexError for an empty column."""
        return self.days[0], self.currency.cbr_id

    def places(self, days: Days) -> tuple[int, int]:
        """Where the records of these days begin and end."""
        return bisect_left(self.days, days.since.toordinal()), bisect_right(self.days, days.until.toordinal())

    def record(self, day: date) -> tuple[int, Decimal] | None:
        """Nominal and value of exactly this day, as printed."""
        ordinal = day.toordinal()
        index = bisect_left(self.days, ordinal)
        if index == len(self.days) or self.days[index] != ordinal:
            return None
        return 10 ** self.nominals[index], Decimal(self.values[index]).scaleb(-SCALE)

    def quote(self, day: date) -> Quote | None:
        """The record of exactly this day as a row of a sheet."""
        record, currency = self.record(day), self.named(day)
        return record and Quote(currency.code, currency.numeric_code, currency.cbr_id, *record, currency.name)

    def named(self, day: date) -> Currency:
        """The names that the id had on a day."""
        return self.others.get(day.toordinal(), self.currency)

    def rename(self, currency: Currency) -> None:
        """Take other names. The days that are held keep their codes."""
        if self.currency.codes != currency.codes:
            self.others = {**dict.fromkeys(self.days, self.currency), **self.others}
        self.currency = currency

    def by_code(self) -> list[Column]:
        """This column, or if the id had several codes, a copy of the records of each."""
        if not self.others:
            return [self]
        parts: dict[tuple[str, str], Column] = {}
        for day, value, nominal in zip(self.days, self.values, self.nominals, strict=True):
            currency = self.others.get(day, self.currency)
            part = parts.setdefault(currency.codes, Column(currency, self.fetched_at))
            part.days.append(day)
            part.values.append(value)
            part.nominals.append(nominal)
        return list(parts.values())

    def put(self, day: date, nominal: int, value: Decimal, currency: Currency | None = None) -> None:
        """Set the record of a day, in its place. The id may have the codes of another `currency` on it."""
        currency, ordinal, place = currency or self.currency, day.toordinal(), slice(*self.places(Days(day, day)))
        if self.named(day).codes != currency.codes:
            # Copies share the mapping, so another one takes its place.
            self.others = {**self.others, ordinal: currency}
        self.values[place] = array("q", [int(value.scaleb(SCALE, EXACT))])
        self.nominals[place] = array("b", [len(str(nominal)) - 1])
        self.days[place] = array("i", [ordinal])

    def forget(self, days: Days) -> None:
        """Remove the records of these days."""
        place = slice(*self.places(days))
        del self.days[place], self.values[place], self.nominals[place]

    def with_only(self, ordinals: array[int]) -> Column:
        """Another column with the records of these days, which are in order."""
        first, last = (ordinals[0], ordinals[-1]) if ordinals else (0, -1)
        kept = slice(bisect_left(self.days, first), bisect_right(self.days, last))
        column = replace(self, days=self.days[kept], values=self.values[kept], nominals=self.nominals[kept])
        for day in map(date.fromordinal, [*_not_among(ordinals, column.days)]):
            column.forget(Days(day, day))
        return column

    def copy(self) -> Column:
        """Another column with the same records."""
        return replace(self, days=self.days[:], values=self.values[:], nominals=self.nominals[:])

    def says(self, day: date, nominal: int, value: Decimal, currency: Currency) -> bool:
        """Whether the record of a day is this one, under the same codes."""
        return self.record(day) == (nominal, value) and self.named(day).codes == currency.codes

    def with_record(self, day: date, nominal: int, value: Decimal) -> Column:
        """A copy with the record of a day."""
        column = self.copy()
        column.put(day, nominal, value)
        return column


def _not_among(ordinals: array[int], days: array[int]) -> Iterator[int]:
    """Those of the days that are not among the ordinals. Both are in order, and most parts of them are equal."""
    place = bisect_left(ordinals, days[0]) if days else 0
    if ordinals[place : place + len(days)] == days:
        return
    half = len(days) // 2
    if half:
        yield from _not_among(ordinals, days[:half])
        yield from _not_among(ordinals, days[half:])
    else:
        yield days[0]


def sheet_days(columns: Iterable[Column], days: Days) -> list[date]:
    """The dates of the sheets of these days, oldest first: those of USD, which has been in every sheet."""
    parts = [part for column in columns for part in column.by_code() if part.currency.code == "USD"]
    ordinals = {day for part in parts for day in part.days[slice(*part.places(days))]}
    return [*map(date.fromordinal, sorted(ordinals))]


class _Copies(dict[str, Column]):
    """Columns by id. Threads read the given ones: each that changes is copied once, however many days change in it."""

    def __init__(self, columns: Mapping[str, Column]) -> None:
        super().__init__(columns)
        self._copied = set[str]()

    def take(self, revision: Revision) -> None:
        """Take the figures of a sheet: exactly its currencies have a record on its day."""
        day, quotes = revision.effective_date, {quote.cbr_id: quote for quote in revision.sheet.quotes}
        for cbr_id in [cbr_id for cbr_id in self if cbr_id not in quotes and self[cbr_id].record(day)]:
            self._copy_of(cbr_id).forget(Days(day, day))
        for cbr_id, quote in quotes.items():
            currency = Currency.of(quote)
            if cbr_id not in self:
                self[cbr_id] = Column(currency, revision.fetched_at)
            if not self[cbr_id].says(day, quote.nominal, quote.value, currency):
                self._copy_of(cbr_id).put(day, quote.nominal, quote.value, currency)

    def _copy_of(self, cbr_id: str) -> Column:
        if cbr_id not in self._copied:
            self._copied.add(cbr_id)
            self[cbr_id] = self[cbr_id].copy()
        return self[cbr_id]


def with_revision(columns: Mapping[str, Column], revision: Revision) -> Mapping[str, Column]:
    """Columns by id with the figures of a sheet."""
    return updated(columns, [], [revision])[0]


def updated(
    columns: Mapping[str, Column], days: list[date], latest: Iterable[Revision]
) -> tuple[Mapping[str, Column], list[date]]:
    """Columns by id, and the days of the sheets in them, with what the latest revisions of some days say.

    What was given stays as it is.
    """
    copies, days = _Copies(columns), [*days]
    for revision in latest:
        copies.take(revision)
        day = revision.effective_date
        index = bisect_left(days, day)
        is_held = days[index : index + 1] == [day]
        days[index : index + is_held] = [day] * bool(revision.sheet.quotes)
    return copies, days


def composed(columns: Iterable[Column], effective: date) -> Revision | None:
    """The sheet of a day from the columns: every currency with a record on that day, in the order of names.

    If a currency has two records on a day, that of the earlier column counts.
    """
    rows = [(quote, column) for column in columns if (quote := column.quote(effective))]
    if not rows:
        return None
    quotes = {quote.code: quote for quote, _ in sorted(rows, key=lambda row: row[1].age, reverse=True)}
    ordered = sorted(quotes.values(), key=lambda quote: (quote.name, quote.code))
    return Revision(Sheet(effective, tuple(ordered)), 1, min(column.fetched_at for _, column in rows))


def bare(revision: Revision) -> Revision:
    """The revision without its figures, which columns keep. Sheets with the same names share their rows."""
    rows = (Quote(q.code, q.numeric_code, q.cbr_id, 0, _NO_FIGURE, q.name) for q in revision.sheet.quotes)
    return replace(revision, sheet=Sheet(revision.effective_date, _shared(tuple(rows))))


def latest_with_figures(
    columns: Mapping[str, Column], latest_own: Mapping[date, Revision], day: date
) -> Revision | None:
    """The latest revision of a day: the bare one of `latest_own`, or one of the columns alone, with its figures."""
    if day not in latest_own:
        return composed(columns.values(), day)
    rows = latest_own[day].sheet.quotes
    records = [record for row in rows if (record := columns[row.cbr_id].record(day))]
    pairs = zip(rows, records, strict=True)
    quotes = (Quote(row.code, row.numeric_code, row.cbr_id, *record, row.name) for row, record in pairs)
    return replace(latest_own[day], sheet=Sheet(day, tuple(quotes)))


def differing(ours: Mapping[str, Column], theirs: Mapping[str, Column], days: list[date]) -> list[date]:
    """Those of the days, which are in order, on which two histories say something else."""
    if not days or _said(ours, Days(days[0], days[-1])) == _said(theirs, Days(days[0], days[-1])):
        return []
    half = len(days) // 2
    return differing(ours, theirs, days[:half]) + differing(ours, theirs, days[half:]) if half else days


def _said(columns: Mapping[str, Column], days: Days) -> dict[str, object]:
    """What columns say of these days, but for days without records: equal for the same figures under the same codes."""
    said = dict[str, object]()
    for cbr_id, column in columns.items():
        place, others = slice(*column.places(days)), column.others
        if found := column.days[place]:
            codes = [others.get(day, column.currency).codes for day in found] if others else [column.currency.codes]
            codes = codes if len({*codes}) > 1 else codes[:1]
            said[cbr_id] = found, column.values[place], column.nominals[place], codes
    return said


def digest(columns: Iterable[Column]) -> str:
    """A hash of all figures and their codes: equal for equal histories, on every replica."""
    total = hashlib.blake2b(digest_size=12)
    for column in sorted(columns, key=lambda column: column.currency.cbr_id):
        if column.days:
            others = sorted((day, *column.others[day].codes) for day in column.others.keys() & set(column.days))
            total.update(repr((column.currency.cbr_id, column.currency.codes, others)).encode())
            total.update(column.days.tobytes() + column.values.tobytes() + column.nominals.tobytes())
    return total.hexdigest()
