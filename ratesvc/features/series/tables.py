"""A series as rows, and as a document of JSON. The fields are those of the CSV, which has two more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

from msgspec import Raw

from ratesvc.domain.history import History
from ratesvc.features.ranges.periods import SUMMARY, summaries
from ratesvc.features.ranges.unit_rates import SeriesParams, carried_rates, iso, rates_of, revisions, texts_of
from ratesvc.render.csv import TEXTS, Columns
from ratesvc.render.json import denomination, encode, marks


def about(params: SeriesParams, history: History, today: date, *, demo: bool) -> dict[str, Any]:
    """A series without its rows."""
    has_old_roubles = "RUB" in (params.quote, *params.codes) and not params.new_roubles
    old = denomination(params.days.since) if has_old_roubles else None
    unconfirmed, fill = history.missing_days(params.days, today), params.daily and "daily"
    return {
        "quote_currency": params.quote,
        "since": params.days.since,
        "until": params.days.until,
        **marks(fill=fill, group=params.group, demo=demo, unconfirmed=unconfirmed, denomination=old),
    }


def rows_of(history: History, code: str, params: SeriesParams, today: date) -> Columns:
    """The rows of one currency, oldest first: those of its sheets, of every day, of chosen days, or of periods.

    The rate of a day and the figures of a period have different fields, so nobody takes one for the other.
    """
    if params.group:
        periods = list(summaries(history, code, params, today))
        return {name: [period[name] for period in periods] for name in SUMMARY}
    if params.dates or params.daily:
        effective, texts = carried_rates(history, code, params, today)
    else:
        texts = texts_of(rates_of(history, code, params))
        effective = {day: day for day in texts}
    corrected = {day.toordinal(): str(number) for day, number in revisions(history).items()}
    return {
        "date": list(map(iso, effective)),
        "code": [code] * len(effective),
        "unit_rate": [texts[day] for day in effective.values()],
        "effective_date": list(map(iso, effective.values())),
        "revision": [corrected.get(day, "1") for day in effective.values()],
    }


def to_json(head: Mapping[str, Any], parts: Iterable[Columns]) -> bytes:
    """The document `head` with all rows in `rows`, or in `periods`, which a `group` has: each list has one type."""
    rows = b",".join(",".join(part).encode() for part in map(_objects, parts) if part)
    lists = {"rows": [], "periods": Raw(b"[%b]" % rows)} if "group" in head else {"rows": Raw(b"[%b]" % rows)}
    return encode({**head, **lists})


def _objects(columns: Columns) -> list[str]:
    """Each row as a JSON object."""
    fields = ",".join(f'"{name}":"%s"' if name in TEXTS else f'"{name}":%s' for name in columns)
    texts = (column if all(column) else [text or "null" for text in column] for column in columns.values())
    return list(map(f"{{{fields}}}".__mod__, zip(*texts, strict=True)))
