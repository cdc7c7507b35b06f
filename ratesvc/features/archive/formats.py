"""What a reader that keeps a copy fetches: every record of all of history, and the list of the sheets.

The list also says which of the sheets are new.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from operator import itemgetter
from typing import Any

from ratesvc.domain.columns import SCALE, Column, Days, with_revision
from ratesvc.domain.history import History
from ratesvc.domain.rates import EXACT, REDENOMINATION, Revision, plain
from ratesvc.domain.workdays import ONE_DAY
from ratesvc.features.archive.changes import Cursor, page
from ratesvc.features.ranges.unit_rates import iso
from ratesvc.render.csv import Columns
from ratesvc.render.json import encode, marks, utc_time

FIELDS = ("effective_date", "code", "nominal", "value", "unit_rate", "revision")
Figures = dict[tuple[str, int, str], tuple[int, int] | None]
"""The nominal as a power of ten and the value in 1/10000 roubles, or None, by effective date, revision and code."""


def tables(
    columns: Sequence[Column],
    days: Days,
    latest: Mapping[date, int],
    earlier: Sequence[Revision],
    named: Sequence[tuple[date, int, str]],
    *,
    all_new: bool,
) -> Iterator[Columns]:
    """The records of these days by day, revision and code, a calendar year at a time; `all_new` has no old roubles.

    `latest` has the revision of each corrected sheet, `earlier` are its revisions before. What is `named`, in
    order, has a row also without a record. If a currency has two records on a day, that of the earlier column counts.
    """
    codes, numbers = {column.currency.code for column in columns}, {str(day): number for day, number in latest.items()}
    held = [(column, numbers) for column in reversed(columns)]
    for revision in earlier:
        found, numbers = with_revision({}, revision).values(), {str(revision.effective_date): revision.number}
        held += [(column, numbers) for column in found if column.currency.code in codes]
    for year in range(days.since.year, days.until.year + 1):
        within, figures = Days(max(days.since, date(year, 1, 1)), min(days.until, date(year, 12, 31))), Figures()
        rows = named[bisect_left(named, (within.since,)) : bisect_left(named, (within.until + ONE_DAY,))]
        figures |= {(str(day), number, code): None for day, number, code in rows}
        for column, numbers in held:
            places, code = slice(*column.places(within)), column.currency.code
            parts = column.days[places], column.nominals[places], column.values[places]
            for ordinal, power, value in zip(*parts, strict=True):
                day = iso(ordinal)
                figures[day, numbers.get(day, 1), code] = power, value
        yield _table(figures, all_new=all_new)


def _table(figures: Figures, *, all_new: bool) -> Columns:
    rows = []
    for (day, revision, code), figure in sorted(figures.items(), key=itemgetter(0)):
        if figure is None:
            rows.append((day, code, *(["1" if code == "RUB" else ""] * 3), str(revision)))
            continue
        power, value = figure
        places = SCALE + 3 if all_new and day < str(REDENOMINATION) else SCALE
        printed = f"{value // 10**places}.{value % 10**places:0{places}}"
        rate = plain(EXACT.divide(value, 10 ** (places + power)))
        rows.append((day, code, str(10**power), printed, rate, str(revision)))
    return {name: [row[place] for row in rows] for place, name in enumerate(FIELDS)}


# The sheets


def sheets(  # noqa: PLR0913 -- a page of a list, and what it lacks
    history: History,
    days: Days,
    after: Cursor | None,
    withdrawn: Mapping[date, Revision],
    *,
    most: int,
    unconfirmed: Sequence[date],
    demo: bool,
) -> bytes:
    """The first sheets of these days in their latest revisions; only the unknown ones `after` a cursor.

    `withdrawn` has the withdrawals of the days without a sheet, of which only the reader with a cursor is told.
    """
    shown, days, more = page(history, days, after, withdrawn, most)
    document: dict[str, Any] = {
        "since": days.since,
        "until": days.until,
        **marks(demo=demo, unconfirmed=[day for day in unconfirmed if day in days], more=more),
        "cursor": str(Cursor.at(history, days)),
        "rows": list(_sheet_rows(history, shown, withdrawn)),
    }
    return encode(document)


def _sheet_rows(history: History, days: list[date], withdrawn: Mapping[date, Revision]) -> Iterator[dict[str, Any]]:
    # Composing the sheets of 34 years would take a second.
    backfilled = _fetched_at(history.columns(), Days(days[0], days[-1])) if days else {}
    known = history.known
    for day in days:
        document = withdrawn.get(day) or history.latest_own.get(day)
        yield {
            "effective_date": day,
            "revision": document.number if document else 1,
            "previous_effective_date": known.in_force_on(day - ONE_DAY),
            "fetched_at": utc_time(document.fetched_at if document else backfilled[day.toordinal()]),
            "flags": list(document.flags) if document else [],
            **({"withdrawn": True} if day in withdrawn else {}),
        }


def _fetched_at(columns: Iterable[Column], days: Days) -> dict[int, datetime]:
    """When the records of each of these days were fetched, the earliest of a day; by the ordinals of days."""
    found: dict[int, datetime] = {}
    for column in sorted(columns, key=lambda column: column.fetched_at, reverse=True):
        first, last = column.places(days)
        found |= dict.fromkeys(column.days[first:last], column.fetched_at)
    return found
