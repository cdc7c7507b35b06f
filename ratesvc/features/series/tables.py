"""Series and periods as columns, and as documents of JSON. The fields are those of the CSV, which has two more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

from msgspec import Raw

from ratesvc.domain.history import History
from ratesvc.features.ranges.periods import SUMMARY, summaries
from ratesvc.features.ranges.unit_rates import SeriesParams, iso, revisions, sheet_texts
from ratesvc.render.csv import TEXTS, Columns
from ratesvc.render.json import denomination, encode, marks


def about(params: SeriesParams, history: History, today: date, missing: Sequence[str], *, demo: bool) -> dict[str, Any]:
    """A series, or periods, without the rows."""
    has_old_roubles = "RUB" in (params.quote, *params.codes) and not params.new_roubles
    old = denomination(params.days.since) if has_old_roubles else None
    unconfirmed, fill = history.missing_days(params.days, today), params.daily and "daily"
    return {
        "quote_currency": params.quote,
        "since": params.days.since,
        "until": params.days.until,
        **marks(fill=fill, group=params.group, demo=demo, unconfirmed=unconfirmed, denomination=old, missing=missing),
    }


def rows_of(
    history: History, code: str, params: SeriesParams, shown: Mapping[int, int], *, blank: bool = False
) -> Columns:
    """The rows of one currency, oldest first: one for each of the `shown` days, which have their effective dates.

    A day whose sheet lacks the currency has no row, or if `blank` one without a rate.
    """
    texts = sheet_texts(history, code, params, list(map(date.fromordinal, sorted({*shown.values()}))))
    effective = shown if blank else {day: of for day, of in shown.items() if of in texts}
    corrected = {day.toordinal(): str(number) for day, number in revisions(history).items()}
    return {
        "date": list(map(iso, effective)),
        "code": [code] * len(effective),
        "unit_rate": [texts.get(day, "") for day in effective.values()],
        "effective_date": list(map(iso, effective.values())),
        "revision": [corrected.get(day, "1") for day in effective.values()],
    }


def periods_of(history: History, code: str, params: SeriesParams, today: date, *, blank: bool = False) -> Columns:
    """The periods of one currency, oldest first; `blank` is that of `rows_of`."""
    periods = list(summaries(history, code, params, today, blank=blank))
    return {name: [period[name] for period in periods] for name in SUMMARY}


def to_json(head: Mapping[str, Any], parts: Iterable[Columns]) -> bytes:
    """The document `head` with all rows in `rows`, or in `periods`, which a `group` has."""
    rows = b",".join(",".join(part).encode() for part in map(_objects, parts) if part)
    return encode({**head, "periods" if "group" in head else "rows": Raw(b"[%b]" % rows)})


def _objects(columns: Columns) -> list[str]:
    """Each row as a JSON object."""
    fields = ",".join(f'"{name}":"%s"' if name in TEXTS else f'"{name}":%s' for name in columns)
    rows = list(map(f"{{{fields}}}".__mod__, zip(*columns.values(), strict=True)))
    if all(map(all, columns.values())):
        return rows
    return [row.replace(':"",', ":null,").replace(":,", ":null,") for row in rows]
