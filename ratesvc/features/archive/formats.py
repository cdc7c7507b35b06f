"""What a reader that keeps a copy fetches: every record of all of history, and the list of the sheets.

The list also says which of the sheets are new.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from ratesvc.domain.columns import SCALE, Column, Days
from ratesvc.domain.history import History, certain_date
from ratesvc.domain.rates import EXACT, OLD_IN_NEW, REDENOMINATION, Revision, plain
from ratesvc.domain.workdays import ONE_DAY
from ratesvc.features.archive.changes import Cursor
from ratesvc.features.ranges.unit_rates import sheets_of
from ratesvc.render.csv import Columns
from ratesvc.render.json import encode, marks, utc_time

FIELDS = ("effective_date", "code", "nominal", "value", "unit_rate", "revision")
Figures = dict[tuple[date, int, str], tuple[int, Decimal]]
"""Nominal and value by effective date, revision and code."""


def tables(
    columns: Sequence[Column], days: Days, latest: Mapping[date, int], earlier: Sequence[Revision], *, all_new: bool
) -> Iterator[Columns]:
    """The records of these days by day, revision and code, a calendar year at a time; `all_new` has no old roubles.

    `latest` has the revision of each corrected sheet, `earlier` are its revisions before. If a currency has two records
    on a day, that of the earlier column counts.
    """
    codes = {column.currency.code for column in columns}
    for year in range(days.since.year, days.until.year + 1):
        within, figures = Days(max(days.since, date(year, 1, 1)), min(days.until, date(year, 12, 31))), Figures()
        for column in reversed(columns):
            places = slice(*column.places(within))
            parts = column.days[places], column.nominals[places], column.values[places]
            for ordinal, power, value in zip(*parts, strict=True):
                day = date.fromordinal(ordinal)
                figures[day, latest.get(day, 1), column.currency.code] = 10**power, Decimal(value).scaleb(-SCALE)
        for revision in earlier:
            quotes = revision.sheet.quotes if revision.effective_date in within else ()
            figures |= {(*revision.key, one.code): (one.nominal, one.value) for one in quotes if one.code in codes}
        yield _table(figures, all_new=all_new)


def _table(figures: Figures, *, all_new: bool) -> Columns:
    rows = []
    for (day, revision, code), (nominal, value) in sorted(figures.items()):
        is_old = all_new and day < REDENOMINATION
        roubles = EXACT.divide(value, OLD_IN_NEW) if is_old else value
        rate = EXACT.normalize(EXACT.divide(roubles, nominal))
        printed = f"{roubles:.{SCALE + 3 if is_old else SCALE}f}"
        rows.append((str(day), code, str(nominal), printed, plain(rate), str(revision)))
    return {name: [row[place] for row in rows] for place, name in enumerate(FIELDS)}


# The sheets


def sheets(history: History, days: Days, after: Cursor | None, unconfirmed: Sequence[date], *, demo: bool) -> bytes:
    """The sheets of these days in their latest revisions, oldest first; only the unknown ones `after` a cursor."""
    shown = after.unknown(history, days) if after else sheets_of(history, days)
    document: dict[str, Any] = {
        "since": days.since,
        "until": days.until,
        **marks(demo=demo, unconfirmed=unconfirmed),
        "cursor": str(Cursor.at(history, days)),
        "rows": list(_sheet_rows(history, shown)),
    }
    return encode(document)


def _sheet_rows(history: History, days: list[date]) -> Iterator[dict[str, Any]]:
    # Composing the sheets of 34 years would take a second.
    backfilled = _fetched_at(history.columns(), Days(days[0], days[-1])) if days else {}
    for day in days:
        document = history.document(day)
        yield {
            "effective_date": day,
            "revision": document.number if document else 1,
            "previous_effective_date": certain_date(history.days, history.calendar, history.coverage, day - ONE_DAY),
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
