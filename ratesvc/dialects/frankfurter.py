"""Frankfurter v1: https://frankfurter.dev/v1/. `date` is the effective date of the sheet that is answered.

A range begins with the sheet in force on its first day and has the sheets that were set, not the days between.
"""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal

from msgspec import Raw

from ratesvc.dialects import (
    JSON,
    Answer,
    Dialect,
    Question,
    Refusal,
    Refused,
    certain,
    check_size,
    iso_day,
    json_object,
    per_base,
    status,
)
from ratesvc.domain.rates import EXACT, ONE, Revision, cross_rate, in_roubles, plain, rounded, trimmed
from ratesvc.errors import RatesvcError, TooManyPoints
from ratesvc.render.api import encode, literal
from ratesvc.render.language import language_or_default
from ratesvc.render.series_text import AMOUNT_SIGNIFICANT, head

NOT_FOUND = "not found"
_AMOUNT = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,10})?")


def rates(asked: Question) -> Answer:
    """latest, YYYY-MM-DD, A..B or A.., as the path says."""
    when = asked.given["when"]
    if when == "latest":
        return _sheet(asked, asked.snapshot.in_force, date.max)
    first, dots, last = when.partition("..")
    day = _day(first)
    if not dots:
        return _sheet(asked, asked.on(day), day)
    return _range(asked, day, _day(last) if last else None)


def _day(text: str) -> date:
    return iso_day(text, Refused(422, "invalid date"))


def _sheet(asked: Question, revision: Revision, until: date) -> Answer:
    units = in_roubles(revision.sheet)
    base, codes, amount = _asked(asked, set(units))

    def write() -> bytes:
        shown = {code: literal(_come_to(amount, units[base], units[code])) for code in codes}
        return encode({"amount": _amount(amount), "base": base, "date": revision.effective_date, "rates": shown})

    # As text, here and below: 10 and 10.00 are equal, and each is repeated as it was asked.
    return Answer(("sheet", revision.key, base, codes, plain(amount)), JSON, write, until)


def _range(asked: Question, since: date, until: date | None) -> Answer:
    base, codes, amount = _asked(asked, asked.known())
    end = until or asked.snapshot.today
    if since > end:
        raise Refused(404, NOT_FOUND)
    span = certain(asked, since, end)
    points = check_size(asked, len(codes), span)

    def write() -> bytes:
        rows = per_base(asked.history, base, codes, span, amount=amount)
        shown = {head(day)[2:12]: Raw(json_object(codes, texts).encode()) for day, texts in rows}
        first, last = (min(shown), max(shown)) if shown else (since, end)
        return encode({"amount": _amount(amount), "base": base, "start_date": first, "end_date": last, "rates": shown})

    return Answer(("range", base, codes, plain(amount), since, until), JSON, write, until or date.max, points)


def _asked(asked: Question, known: set[str]) -> tuple[str, tuple[str, ...], Decimal]:
    """Base, the codes wanted in order, amount. Raises Refused."""
    base = asked.code("EUR", "base", "from")
    symbols = asked.codes("symbols", "to")
    if base not in known:
        raise Refused(404, NOT_FOUND)
    if symbols == (base,):
        raise Refused(422, "bad currency pair")
    codes = tuple(sorted((known if symbols is None else known.intersection(symbols)) - {base}))
    if not codes:
        raise Refused(404, NOT_FOUND)
    text = asked.text("amount") or "1"
    if not _AMOUNT.fullmatch(text):
        raise Refused(422, "invalid amount")
    return base, codes, Decimal(text)


def _come_to(amount: Decimal, base: Decimal, quote: Decimal) -> Decimal:
    """The rate, or what an amount comes to: from the unrounded rate, to 28 significant digits."""
    if amount == ONE:
        return cross_rate(base, quote)
    return trimmed(rounded(EXACT.multiply(amount, base), quote, significant=AMOUNT_SIGNIFICANT))


def _amount(amount: Decimal) -> Raw:
    """1.0: its clients know it as a number with a point."""
    text = plain(amount)
    return Raw((text if "." in text else f"{text}.0").encode())


def currencies(asked: Question) -> Answer:
    """Code → English name, of what is in force today."""
    english, codes = language_or_default(None), sorted({"RUB", *asked.snapshot.in_force.sheet.by_code})
    return Answer("currencies", JSON, lambda: encode({code: english.currency(code) for code in codes}))


def refuse(error: RatesvcError) -> Refusal:
    """`message` alone."""
    code = 422 if isinstance(error, TooManyPoints) else status(error)
    return Refusal(code, JSON, encode({"message": NOT_FOUND if code == 404 else str(error)}))


DIALECT = Dialect({"/v1/currencies": currencies, "/v1/{when}": rates}, refuse)
