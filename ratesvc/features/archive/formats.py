"""What a reader that keeps a copy fetches: all of history, a line for each currency of each sheet, and the sheets.

The lines are CSV or JSON, each year on its own. The list of sheets also says which of them are new.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from itertools import chain, groupby
from typing import Any

from ratesvc.domain.columns import Column, Days, fetched_at
from ratesvc.domain.history import History, certain_date
from ratesvc.domain.rates import EXACT, REDENOMINATION, plain
from ratesvc.domain.workdays import ONE_DAY
from ratesvc.features.archive.changes import Cursor, Holdings
from ratesvc.render.csv import MEDIA as CSV
from ratesvc.render.json import NDJSON, denomination, encode, marks, utc_time

_HEADING = b"effective_date,code,nominal,value,unit_rate,revision,roubles\r\n"
_FORMS = {
    CSV: ("%s,", "%s%s,%s,%s,%s%s", ",%s,%s\r\n"),
    NDJSON: (
        '{"effective_date":"%s","code":"',
        '%s%s","nominal":%s,"value":%s,"unit_rate":%s%s',
        ',"revision":%s}\n',
    ),
}
"""The start of a day's lines, a line, and its end."""
_NOMINALS = [str(10**power) for power in range(19)]


def heading(media: str, days: Days, unconfirmed: Sequence[date], *, demo: bool) -> bytes:
    """The names of the columns, or a line of JSON about all lines that follow."""
    if media == CSV:
        return _HEADING
    optional = marks(demo=demo, unconfirmed=unconfirmed, denomination=denomination(days.since))
    return encode({"since": days.since, "until": days.until, **optional}) + b"\n"


def years(days: Days) -> Iterator[Days]:
    """The calendar years of a range; the first and the last may be shorter."""
    for year in range(days.since.year, days.until.year + 1):
        yield Days(max(days.since, date(year, 1, 1)), min(days.until, date(year, 12, 31)))


def lines(columns: Iterable[Column], days: Days, media: str, revisions: Mapping[date, int]) -> bytes:
    """The lines of these days, by day and code. `revisions` has the revision of each corrected sheet.

    If a currency has two records on a day, that of the earlier column counts.
    """
    found: defaultdict[int, list[str]] = defaultdict(list)
    frames = _Frames(media, revisions)
    for _, same in groupby(sorted(columns, key=_code), _code):
        of_code: dict[int, str] = {}
        for column in reversed([*same]):
            of_code |= _lines_of(column, days, _FORMS[media][1], frames)
        for day, line in of_code.items():
            found[day].append(line)
    return "".join(chain.from_iterable(found[day] for day in sorted(found))).encode()


class _Frames(dict[int, tuple[str, str]]):
    """The start and the end of each line of a day, by its ordinal."""

    def __init__(self, media: str, revisions: Mapping[date, int]) -> None:
        self._start, _, self._end = _FORMS[media]
        self._revisions = revisions

    def __missing__(self, ordinal: int) -> tuple[str, str]:
        day = date.fromordinal(ordinal)
        marks = (self._revisions.get(day, 1), "old" if day < REDENOMINATION else "new")
        frame = self[ordinal] = self._start % day, self._end % marks[: self._end.count("%")]
        return frame


def _code(column: Column) -> str:
    return column.currency.code


def _lines_of(column: Column, days: Days, line: str, frames: _Frames) -> dict[int, str]:
    """One currency's line of each day, by the day's ordinal."""
    first, last = column.places(days)
    records = column.days[first:last], column.values[first:last], column.nominals[first:last]
    rates = map(plain, map(EXACT.normalize, column.exact(first, last)))
    code, found = column.currency.code, {}
    for ordinal, value, power, rate in zip(*records, rates, strict=True):
        start, end = frames[ordinal]
        printed = f"{value // 10_000}.{value % 10_000:04}"
        found[ordinal] = line % (start, code, _NOMINALS[power], printed, rate, end)
    return found


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
    backfilled = fetched_at(held.columns, Days(days[0], days[-1])) if days else {}
    for day in days:
        document = history.of_date(day) if history.has_document(day) else None
        yield {
            "effective_date": day,
            "revision": document.number if document else 1,
            "previous_effective_date": certain_date(held.days, history.calendar, history.coverage, day - ONE_DAY),
            "fetched_at": utc_time(document.fetched_at if document else backfilled[day.toordinal()]),
            "flags": list(document.flags) if document else [],
        }
