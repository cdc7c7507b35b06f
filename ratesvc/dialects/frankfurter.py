"""Frankfurter v1: https://frankfurter.dev/v1/. `date` is the effective date of the sheet in the answer.

A range begins with the sheet in force on its first day. It has the days of the sheets, not the days between them.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from msgspec import Raw

from ratesvc.dialects import JSON, Content, Dialect, Refusal, Refused, Request, json_object, status
from ratesvc.domain.rates import EXACT, ONE, Revision, cross_rate, plain, rounded, trimmed
from ratesvc.errors import RatesvcError, TooManyPoints
from ratesvc.render.json import encode, literal
from ratesvc.render.series import AMOUNT_SIGNIFICANT, head

NOT_FOUND = "not found"


def rates(request: Request) -> Content:
    """latest, YYYY-MM-DD, A..B or A.., as the path says."""
    when = request.given["when"]
    if when == "latest":
        return _sheet(request, request.snapshot.in_force, date.max)
    first, dots, last = when.partition("..")
    day = request.iso_day(first, "invalid date", 422)
    if not dots:
        return _sheet(request, request.on(day), day)
    return _range(request, day, request.iso_day(last, "invalid date", 422) if last else None)


def _sheet(request: Request, revision: Revision, until: date) -> Content:
    units = revision.sheet.costs
    base, codes, amount = _params(request, set(units))

    def write() -> bytes:
        shown = {code: literal(_converted(amount, units[base], units[code])) for code in codes}
        return encode({"amount": _amount(amount), "base": base, "date": revision.effective_date, "rates": shown})

    # The amount as text, here and below: 10 and 10.00 are equal, but each is repeated as it was written.
    return Content(("sheet", revision.key, base, codes, plain(amount)), JSON, write, until)


def _range(request: Request, since: date, until: date | None) -> Content:
    base, codes, amount = _params(request, request.known())
    end = until or request.snapshot.today
    if since > end:
        raise Refused(404, NOT_FOUND)
    days = request.complete(since, end)
    points = request.check_size(len(codes), days)

    def write() -> bytes:
        rows = request.per_base(base, codes, days, amount=amount)
        shown = {head(day)[2:12]: Raw(json_object(codes, texts).encode()) for day, texts in rows}
        first, last = (min(shown), max(shown)) if shown else (since, end)
        return encode({"amount": _amount(amount), "base": base, "start_date": first, "end_date": last, "rates": shown})

    return Content(("range", base, codes, plain(amount), since, until), JSON, write, until or date.max, points)


def _params(request: Request, known: set[str]) -> tuple[str, tuple[str, ...], Decimal]:
    """Base, codes in order, amount. Raises Refused."""
    base = request.code("EUR", "base", "from")
    symbols = request.codes("symbols", "to")
    if base not in known:
        raise Refused(404, NOT_FOUND)
    if symbols == (base,):
        raise Refused(422, "bad currency pair")
    codes = tuple(sorted((known if symbols is None else known.intersection(symbols)) - {base}))
    if not codes:
        raise Refused(404, NOT_FOUND)
    return base, codes, request.amount("1", "invalid amount", 422)


def _converted(amount: Decimal, base: Decimal, quote: Decimal) -> Decimal:
    """The rate, or the amount converted at the unrounded rate, to 28 significant digits."""
    if amount == ONE:
        return cross_rate(base, quote)
    return trimmed(rounded(EXACT.multiply(amount, base), quote, significant=AMOUNT_SIGNIFICANT))


def _amount(amount: Decimal) -> Raw:
    """1.0: clients of Frankfurter expect a number with a point."""
    text = plain(amount)
    return Raw((text if "." in text else f"{text}.0").encode())


def currencies(request: Request) -> Content:
    """Code → English name of every currency in force today."""
    return request.names({"RUB", *request.snapshot.in_force.sheet.by_code})


def refuse(error: RatesvcError) -> Refusal:
    """`message` alone."""
    code = 422 if isinstance(error, TooManyPoints) else status(error)
    return Refusal(code, JSON, encode({"message": NOT_FOUND if code == 404 else str(error)}))


DIALECT = Dialect({"/v1/currencies": currencies, "/v1/{when}": rates}, refuse)
