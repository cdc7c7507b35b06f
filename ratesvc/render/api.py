"""Our JSON. Numbers are exact decimal literals, never floats; keys keep the order of the documented examples."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import msgspec
from babel.numbers import get_currency_precision

from ratesvc.domain.columns import Column
from ratesvc.domain.history import History
from ratesvc.domain.rates import (
    OLD_IN_NEW,
    ONE,
    REDENOMINATION,
    Conversion,
    InForce,
    UnitRate,
    convert,
    plain,
    unit_rates,
)
from ratesvc.domain.workdays import MOSCOW
from ratesvc.errors import UnknownCurrency
from ratesvc.render.language import Language

CONTENT_TYPE = "application/json"
PUBLISHER = "Bank of Russia"
PERCENT_PLACES = 4

_encoder = msgspec.json.Encoder()


def encode(document: Any) -> bytes:
    """JSON of what the functions here build."""
    return _encoder.encode(document)


def literal(number: Decimal | None) -> msgspec.Raw | None:
    """A JSON number with every digit and no exponent."""
    return None if number is None else msgspec.Raw(plain(number).encode())


def moscow_time(moment: datetime | None) -> str | None:
    """ISO 8601 with +03:00."""
    return moment.astimezone(MOSCOW).isoformat(timespec="seconds") if moment else None


def bank_page(language: Language | None = None) -> str:
    """The Bank's own page of rates, in Russian for readers of Russian."""
    folder = "" if language and language.locale.language == "ru" else "eng/"
    return f"https://www.cbr.ru/{folder}currency_base/daily/"


def source_url(effective: date, language: Language | None = None) -> str:
    """The same for a day."""
    return f"{bank_page(language)}?UniDbQuery.Posted=True&UniDbQuery.To={effective.strftime('%d.%m.%Y')}"


def denomination(since: date) -> dict[str, Any] | None:
    """What a reader must know of values in old roubles; None where there are none."""
    if since >= REDENOMINATION:
        return None
    return {"before": REDENOMINATION, "unit": "old rouble", "per_new_rouble": OLD_IN_NEW}


def rates(
    answer: InForce, language: Language, *, quote: str = "RUB", codes: Iterable[str] | None = None, demo: bool = False
) -> bytes:
    """The sheet in force on a day. `codes` narrows it; a code that this sheet lacks is left out.

    Raises KeyError when the sheet has no such quote.
    """
    revision = answer.revision
    document: dict[str, Any] = {
        "requested_date": answer.requested_date,
        "effective_date": revision.effective_date,
        "revision": revision.number,
        "previous_effective_date": answer.previous.effective_date if answer.previous else None,
        "next_effective_date": answer.following.effective_date if answer.following else None,
        "next_expected_at": moscow_time(answer.next_expected_at),
        "next_overdue": answer.next_overdue,
        "stale": answer.stale,
        "flags": list(revision.flags),
        "quote": quote,
        "published_by": PUBLISHER,
        "source_url": source_url(revision.effective_date),
        "fetched_at": revision.fetched_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    if demo:
        document["demo"] = True
    rows = _rows(answer, language, quote, None if codes is None else frozenset(codes))
    document |= _old_roubles(answer, {quote, *rows})
    document["rates"] = rows
    return encode(document)


def unit_rate(answer: InForce, code: str, quote: str) -> bytes:
    """One number alone, for a cell of a spreadsheet. Raises UnknownCurrency when the sheet lacks one of the two."""
    sheet = answer.revision.sheet
    for needed in {code, quote} - {"RUB"}:
        if needed not in sheet.by_code:
            raise UnknownCurrency(needed, effective=answer.revision.effective_date)
    return plain(convert(sheet, ONE, code, quote, 0).unit_rate).encode()


def conversion_of(answer: InForce, amount: Decimal, base: str, quote: str) -> Conversion:
    """An amount at the rates in force on a day, in the minor unit that CLDR knows. Raises KeyError."""
    return convert(answer.revision.sheet, amount, base, quote, get_currency_precision(quote))


def conversion(answer: InForce, amount: Decimal, base: str, quote: str, *, demo: bool = False) -> bytes:
    """An amount at the rates in force on a day; amounts are strings, since a reader's float would lose them.

    Raises KeyError for a currency that is not in the sheet.
    """
    converted = conversion_of(answer, amount, base, quote)
    return encode(
        {
            "amount": plain(amount),
            "from": base,
            "to": quote,
            "requested_date": answer.requested_date,
            "effective_date": answer.revision.effective_date,
            "revision": answer.revision.number,
            "stale": answer.stale,
            "unit_rate": literal(converted.unit_rate),
            "result": plain(converted.result),
            "result_rounded": plain(converted.rounded),
            **_old_roubles(answer, {base, quote}),
            **({"demo": True} if demo else {}),
        }
    )


def _old_roubles(answer: InForce, codes: Collection[str]) -> dict[str, Any]:
    """The field that says so, where roubles are among these and old ones were in force."""
    said = denomination(answer.revision.effective_date) if "RUB" in codes else None
    return {"denomination": said} if said else {}


def currencies(history: History, language: Language, *, demo: bool = False) -> bytes:
    """Every currency of every held sheet, defunct ones too, and what succeeded them at the Bank."""
    by_code: dict[str, list[Column]] = {}
    for column in history.columns():
        by_code.setdefault(column.currency.code, []).append(column)
    newest = history.newest.sheet.by_code if history.newest else {}
    rows = {
        code: {
            "name": language.currency(code),
            "numeric_code": columns[-1].currency.numeric_code,
            "cbr_ids": [column.currency.cbr_id for column in columns],
            "first_effective_date": min(column.first_day for column in columns),
            "last_effective_date": max(column.last_day for column in columns),
            "in_newest_sheet": code in newest,
            "successor": _successor(columns[-1], history),
        }
        for code, columns in sorted(by_code.items())
    }
    return encode({**({"demo": True} if demo else {}), "complete": history.coverage is not None, "currencies": rows})


def _successor(column: Column, history: History) -> str | None:
    """The Bank gives successors the same parent id: R01700J is the new lira of R01700."""
    for later in history.columns():
        same_parent = later.currency.parent_id == column.currency.parent_id
        if same_parent and later.currency.code != column.currency.code and later.first_day > column.last_day:
            return later.currency.code
    return None


def _rows(answer: InForce, language: Language, quote: str, codes: frozenset[str] | None) -> dict[str, Any]:
    sheet = answer.revision.sheet
    moves = unit_rates(sheet, answer.previous.sheet if answer.previous else None, quote)
    wanted = sorted(code for code in moves if codes is None or code in codes)
    if quote != "RUB":
        return {code: _move(moves[code]) for code in wanted}
    rows: dict[str, Any] = {}
    for code in wanted:
        row = sheet.by_code[code]
        rows[code] = {
            "name": language.currency(code),
            "numeric_code": row.numeric_code,
            "cbr_id": row.cbr_id,
            "nominal": row.nominal,
            "value": literal(row.value),
            **_move(moves[code]),
        }
    return rows


def _move(unit: UnitRate) -> dict[str, Any]:
    return {
        "unit_rate": literal(unit.rate),
        "change": literal(unit.change.absolute if unit.change else None),
        "change_percent": literal(unit.change.percent(PERCENT_PLACES) if unit.change else None),
    }
