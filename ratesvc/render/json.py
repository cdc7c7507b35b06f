"""Our JSON: rates, conversions and currencies.

Numbers are exact decimal literals, never floats. Keys keep the order of the documented examples.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import msgspec

from ratesvc.domain.columns import Column, Days
from ratesvc.domain.history import History
from ratesvc.domain.rates import (
    OLD_IN_NEW,
    REDENOMINATION,
    ROUBLE,
    InForce,
    Revision,
    cross_rate,
    minor_places,
    plain,
    unit_rates,
)
from ratesvc.domain.workdays import MOSCOW, usual_at
from ratesvc.render.language import Language

JSON = "application/json"
PROBLEM_JSON = "application/problem+json"
PERCENT_PLACES = 4
FIGURES = ("nominal", "value", "unit_rate", "change", "change_percent")
"""The numbers of a row, in order."""

encode = msgspec.json.Encoder().encode
"""JSON of the documents that are built here."""


def literal(number: Decimal | None) -> msgspec.Raw | None:
    """A JSON number with every digit and no exponent."""
    return None if number is None else msgspec.Raw(plain(number).encode())


def moscow_time(moment: datetime | None) -> str | None:
    """ISO 8601 with +03:00."""
    return moment.astimezone(MOSCOW).isoformat(timespec="seconds") if moment else None


def expected_by(due: datetime | None) -> dict[str, str | None]:
    """When a sheet usually comes, and by when it is due; nothing is known of one that is not awaited."""
    return {"expected_at": moscow_time(due and usual_at(due)), "due_at": moscow_time(due)}


def utc_time(moment: datetime) -> str:
    """ISO 8601 with Z."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def bank_page(language: Language | None = None) -> str:
    """The Bank's own page of rates, in Russian for readers of Russian."""
    folder = "" if language and language.primary == "ru" else "eng/"
    return f"https://www.cbr.ru/{folder}currency_base/daily/"


def source_url(effective: date, language: Language | None = None) -> str:
    """The Bank's own page of the rates of one day."""
    return f"{bank_page(language)}?UniDbQuery.Posted=True&UniDbQuery.To={effective.strftime('%d.%m.%Y')}"


def evidence(revision: Revision) -> dict[str, str]:
    """Where the Bank shows the sheet, and when the service fetched it."""
    return {"source_url": source_url(revision.effective_date), "fetched_at": utc_time(revision.fetched_at)}


def denomination(since: date) -> dict[str, Any] | None:
    """The fact that values are in old roubles; None from 1998-01-01 on."""
    if since >= REDENOMINATION:
        return None
    return {"before": REDENOMINATION, "unit": "old rouble", "per_new_rouble": OLD_IN_NEW}


def marks(**optional: Any) -> dict[str, Any]:
    """The optional fields that say something."""
    return {name: mark for name, mark in optional.items() if mark}


def marks_of(answer: InForce, codes: Collection[str], *, demo: bool) -> dict[str, Any]:
    """Those of an answer that shows these currencies."""
    return marks(demo=demo, denomination="RUB" in codes and denomination(answer.revision.effective_date))


def rates(
    answer: InForce, language: Language, *, quote: str = "RUB", codes: Iterable[str] | None = None, demo: bool = False
) -> bytes:
    """The sheet in force on a day. `codes` narrows it; those that this sheet lacks are `missing`.

    Raises KeyError when the sheet has no such quote.
    """
    # All of `next` speaks of one sheet, so nothing is awaited where that is set.
    revision, awaited = answer.revision, None if answer.following else answer.next_due_at
    rows = _rows(answer, language, quote, codes)
    return encode(
        {
            "date": answer.requested_date,
            "effective_date": revision.effective_date,
            "revision": revision.number,
            "previous_effective_date": answer.previous.effective_date if answer.previous else None,
            "next_effective_date": answer.following.effective_date if answer.following else None,
            **{f"next_{name}": moment for name, moment in expected_by(awaited).items()},
            "next_overdue": answer.next_overdue,
            "stale": answer.stale,
            "flags": list(revision.flags),
            "quote_currency": quote,
            "published_by": "Bank of Russia",
            **evidence(revision),
            **marks_of(answer, {quote, *rows}, demo=demo),
            **marks(missing=revision.sheet.lacks(codes or ())),
            "rates": rows,
        }
    )


def _rows(answer: InForce, language: Language, quote: str, codes: Iterable[str] | None) -> dict[str, Any]:
    rows: dict[str, Any] = {}
    for code, texts in figures(answer, quote, codes).items():
        row = answer.revision.sheet.by_code.get(code, ROUBLE)
        rows[code] = {
            "name": language.currency(code),
            "numeric_code": row.numeric_code,
            "cbr_id": row.cbr_id or None,
            **{name: msgspec.Raw(texts[name].encode()) if name in texts else None for name in FIGURES},
        }
    return rows


def figures(answer: InForce, quote: str, codes: Iterable[str] | None) -> dict[str, dict[str, str]]:
    """The numbers of a sheet by code, as literals; without those that are not known, or not printed in this quote.

    Raises KeyError when the sheet has no such quote.
    """
    sheet, rows = answer.revision.sheet, {}
    moves = unit_rates(sheet, answer.previous.sheet if answer.previous else None, quote)
    for code in sorted(moves.keys() - {quote} if codes is None else moves.keys() & codes):
        row, change = sheet.by_code.get(code, ROUBLE), moves[code].change
        printed = {"nominal": str(row.nominal), "value": plain(row.value)} if quote == "RUB" else {}
        moved = {"change": change.absolute, "change_percent": change.percent(PERCENT_PLACES)} if change else {}
        numbers = {"unit_rate": moves[code].rate, **moved}
        rows[code] = printed | {name: plain(number) for name, number in numbers.items()}
    return rows


def unit_rate(answer: InForce, code: str, quote: str) -> bytes:
    """One number alone, for a cell of a spreadsheet. Raises KeyError when the sheet lacks one of the two."""
    costs = answer.revision.sheet.costs
    return plain(cross_rate(costs[code], costs[quote])).encode()


def currencies(history: History, language: Language, *, demo: bool = False) -> bytes:
    """Every currency of every held sheet, defunct ones too, and its successor at the Bank."""
    rows = {code: _currency(history, code, language) for code in sorted(history.codes())}
    settled, days = history.settled, history.days
    is_complete = settled is not None and history.known.is_complete(Days(settled.since, days[-1]))
    return encode({**marks(demo=demo), "complete": is_complete, "currencies": rows})


def currency(history: History, code: str, language: Language) -> bytes:
    """One of them. Raises IndexError for a code that no held sheet has ever had, such as that of the rouble."""
    return encode(_currency(history, code, language))


def _currency(history: History, code: str, language: Language) -> dict[str, Any]:
    columns, newest = history.columns(code), history.newest
    return {
        "name": language.currency(code),
        "numeric_code": columns[-1].currency.numeric_code,
        "minor_units": minor_places(code),
        "cbr_ids": [column.currency.cbr_id for column in columns],
        "first_effective_date": columns[0].first_day,
        "last_effective_date": max(column.last_day for column in columns),
        "in_newest_sheet": newest is not None and code in newest.sheet.by_code,
        "successor": _successor(columns[-1], history),
    }


def _successor(column: Column, history: History) -> str | None:
    """Of the last column of a code. The Bank gives successors the same parent id: R01700J is the lira after R01700."""
    for later in history.columns():
        same_parent = later.currency.parent_id == column.currency.parent_id
        if same_parent and later.first_day > column.last_day:
            return later.currency.code
    return None
