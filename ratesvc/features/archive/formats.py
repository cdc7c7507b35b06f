"""What a reader that keeps a copy fetches: all of history, a line for each currency of each sheet, and the sheets.

The lines are CSV, each year on its own. The list of sheets also says which of them are new.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from typing import Any

from ratesvc.domain.columns import Column, Currency, Days
from ratesvc.domain.history import History, certain_date
from ratesvc.domain.rates import REDENOMINATION, Revision, plain
from ratesvc.domain.workdays import ONE_DAY
from ratesvc.features.archive.changes import Cursor, Holdings
from ratesvc.features.ranges.unit_rates import exact, in_new_roubles
from ratesvc.render.csv import marks_of, quoted
from ratesvc.render.json import encode, marks, utc_time
from ratesvc.render.language import Language

FIELDS = ("effective_date", "code", "nominal", "value", "unit_rate", "revision", "roubles", "name")
_FIRST_NEW = REDENOMINATION.toordinal()


@dataclass(frozen=True, slots=True)
class Form:
    """How lines are written: the language of names, that of a spreadsheet's numbers, and old roubles as new ones."""

    names: Language
    locale: Language | None = None
    all_new: bool = False


def years(days: Days) -> Iterator[Days]:
    """The calendar years of a range; the first and the last may be shorter."""
    for year in range(days.since.year, days.until.year + 1):
        yield Days(max(days.since, date(year, 1, 1)), min(days.until, date(year, 12, 31)))


def written(
    columns: Collection[Column], days: Days, form: Form, latest: Mapping[date, int], earlier: Iterable[Revision] = ()
) -> Iterator[bytes]:
    """The lines of these days, a year at a time. Those of `earlier` revisions stand before the last of their day."""
    since = days.since
    for revision in earlier:
        day = revision.effective_date
        yield from (lines(columns, year, form, latest) for year in years(Days(since, day - ONE_DAY)))
        yield lines(_as_columns(revision, columns), Days(day, day), form, {day: revision.number})
        since = day
    yield from (lines(columns, year, form, latest) for year in years(Days(since, days.until)))


def _as_columns(revision: Revision, columns: Collection[Column]) -> Iterator[Column]:
    """The figures of one revision, of the currencies that these columns have."""
    codes = {column.currency.code for column in columns}
    for quote in revision.sheet.quotes:
        if quote.code in codes:
            column = Column(Currency.of(quote), revision.fetched_at)
            column.put(revision.effective_date, quote.nominal, quote.value)
            yield column


def lines(columns: Iterable[Column], days: Days, form: Form, revisions: Mapping[date, int]) -> bytes:
    """The lines of these days, by day and code. `revisions` has the revision of each corrected sheet.

    If a currency has two records on a day, that of the earlier column counts.
    """
    _, separator = marks_of(form.locale)

    @cache
    def frame(ordinal: int) -> tuple[str, str]:
        """The day of a line, and its revision and kind of roubles."""
        day, is_new = date.fromordinal(ordinal), form.all_new or ordinal >= _FIRST_NEW
        return str(day), f"{revisions.get(day, 1)}{separator}{'new' if is_new else 'old'}"

    found: defaultdict[int, dict[str, str]] = defaultdict(dict)
    for column in sorted(columns, key=lambda column: column.currency.code):
        for day, line in _lines_of(column, days, form, frame):
            found[day].setdefault(column.currency.code, line)
    return "".join(line for day in sorted(found) for line in found[day].values()).encode()


def _lines_of(
    column: Column, days: Days, form: Form, frame: Callable[[int], tuple[str, str]]
) -> Iterator[tuple[int, str]]:
    """One currency's line of each day, and the day's ordinal."""
    first, last = column.places(days)
    ordinals, code, (mark, separator) = column.days[first:last], column.currency.code, marks_of(form.locale)
    rates, places = exact(column, first, last), [4] * (last - first)
    if old := bisect_left(ordinals, _FIRST_NEW) if form.all_new else 0:
        rates[:old], places[:old] = [in_new_roubles(rate, code) for rate in rates[:old]], [7] * old
    name = quoted(form.names.currency(code), separator).replace("%", "%%")
    line = separator.join(("%s", code, "%s", "%s", "%s", "%s", name)) + "\r\n"
    records = ordinals, column.values[first:last], column.nominals[first:last], rates, places
    for ordinal, value, power, rate, digits in zip(*records, strict=True):
        day, end = frame(ordinal)
        whole, part = divmod(value, 10**digits)
        printed = f"{whole}{mark}{part:0{digits}}"
        yield ordinal, line % (day, 10**power, printed, plain(rate).replace(".", mark), end)


# The sheets


def sheets(
    history: History, held: Holdings, days: Days, after: Cursor | None, unconfirmed: Sequence[date], *, demo: bool
) -> bytes:
    """The sheets of these days in their latest revisions, oldest first; only the unknown ones `after` a cursor."""
    shown = after.unknown(held, days) if after else held.sheets(days)
    document: dict[str, Any] = {
        "since": days.since,
        "until": days.until,
        **marks(demo=demo, unconfirmed=unconfirmed),
        "cursor": str(Cursor.at(held, days)),
        "rows": list(_sheet_rows(history, held, shown)),
    }
    return encode(document)


def _sheet_rows(history: History, held: Holdings, days: list[date]) -> Iterator[dict[str, Any]]:
    # Composing the sheets of 34 years would take a second.
    backfilled = _fetched_at(held.columns, Days(days[0], days[-1])) if days else {}
    for day in days:
        document = history.document(day)
        yield {
            "effective_date": day,
            "revision": document.number if document else 1,
            "previous_effective_date": certain_date(held.days, history.calendar, history.coverage, day - ONE_DAY),
            "fetched_at": utc_time(document.fetched_at if document else backfilled[day.toordinal()]),
            "flags": list(document.flags) if document else [],
        }


def _fetched_at(columns: Iterable[Column], days: Days) -> dict[int, datetime]:
    """When the records of each of these days were fetched, the earliest of a day; by the ordinals of days."""
    found: dict[int, datetime] = {}
    for column in sorted(columns, key=lambda column: column.fetched_at, reverse=True):
        first, last = column.places(days)
        found |= dict.fromkeys(column.days[first:last], column.fetched_at)
    return found
