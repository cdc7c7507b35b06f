"""The list of sheets: which are held, which of them a reader does not know yet, and which days are not admitted."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

from ratesvc.domain.changes import Cursor, Holdings
from ratesvc.domain.columns import Days, fetched_at
from ratesvc.domain.history import History, certain_date
from ratesvc.domain.workdays import ONE_DAY
from ratesvc.render.json import encode, utc_time


def to_json(history: History, held: Holdings, days: Days, after: Cursor | None, *, demo: bool) -> bytes:
    """The sheets of these days in their latest revisions, oldest first; only the unknown ones `after` a cursor."""
    shown = after.unknown(held, days) if after else held.sheets(days)
    unconfirmed = history.unconfirmed_in(days.since, days.until)
    document: dict[str, Any] = {
        "since": days.since,
        "until": days.until,
        **({"demo": True} if demo else {}),
        **({"unconfirmed": unconfirmed} if unconfirmed else {}),
        "cursor": str(Cursor.at(held, days)),
        "rows": list(_rows(history, held, shown)),
    }
    return encode(document)


def _rows(history: History, held: Holdings, days: list[date]) -> Iterator[dict[str, Any]]:
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
