"""Frankfurter v1: https://frankfurter.dev/v1/. `date` is the effective date of the sheet in the answer.

A range begins with the sheet in force on its first day, or with the first sheet of all. It has the days of the sheets,
not the days between them. A day up to two weeks after the newest sheet is answered with that sheet, under its date, as
in the original.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from msgspec import Raw

from ratesvc.domain.rates import FIRST_DAY, ONE, Revision, plain
from ratesvc.errors import RatesvcError, TooManyPoints
from ratesvc.features.dialects import (
    JSON,
    Content,
    Dialect,
    Refusal,
    Refused,
    Request,
    json_object,
    split,
    status,
    with_point,
)
from ratesvc.features.ranges.conversion import convert
from ratesvc.features.ranges.unit_rates import iso
from ratesvc.render.json import encode, literal

NOT_FOUND = "not found"
LOOKBACK = timedelta(days=14)
HOME, CONTRACT = "https://frankfurter.dev", "https://api.frankfurter.dev/{}/openapi.json"
_DAY = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_WHEN = re.compile(rf"latest|current|{_DAY}(?:\.\.(?:{_DAY})?)?")


def root(request: Request) -> Content:
    """The versions that are switched on, and where the original's contract for each is."""
    versions = {
        name: {"base": f"{request.public_url}/frankfurter/{name}", "openapi": CONTRACT.format(name), "status": state}
        for name, state, dialect in (("v1", "frozen", "frankfurter"), ("v2", "current", "frankfurter-v2"))
        if dialect in request.dialects
    }
    source = "https://github.com/lineofflight/frankfurter"
    document = {"name": "Frankfurter", "versions": versions, "docs": HOME, "source": source}
    return Content("root", JSON, lambda: encode(document))


def about(_: Request) -> Content:
    """v1: what it is."""
    document = {"version": "v1", "status": "frozen", "openapi": CONTRACT.format("v1"), "docs": HOME}
    return Content("about", JSON, lambda: encode(document))


@dataclass(frozen=True, slots=True)
class _Query:
    """The parameters. `symbols` is None if all currencies are asked for."""

    base: str
    symbols: frozenset[str] | None
    amount: Decimal

    @classmethod
    def of(cls, request: Request) -> _Query:
        """`from` comes before `base` and `to` before `symbols`. Raises Refused."""
        given, amount = request.given, request.amount("1", "invalid amount", 422)
        if not amount:
            raise Refused(422, "invalid amount")
        base = given.get("from", given.get("base", "EUR")).strip().upper()
        text = given.get("to", given.get("symbols"))
        symbols = None if text is None else split(text)
        if symbols == frozenset({base}):
            raise Refused(422, "bad currency pair")
        return cls(base, symbols, amount)

    def codes(self, known: set[str]) -> tuple[str, ...]:
        """The known ones of the currencies, in order. Raises Refused if there is none, or no such base."""
        codes = (known if self.symbols is None else known & self.symbols) - {self.base}
        if self.base not in known or not codes:
            raise Refused(404, NOT_FOUND)
        return tuple(sorted(codes))


def rates(request: Request) -> Content:
    """latest, current, YYYY-MM-DD, A..B or A.., as the path says."""
    when = request.given["when"]
    if not _WHEN.fullmatch(when):
        raise Refused(404, NOT_FOUND)
    days = [request.iso_day(text, "invalid date", 422) for text in re.findall(_DAY, when)]
    # What is wrong with the parameters comes before what is not found, as in the original.
    query = _Query.of(request)
    if not days:
        return _sheet(request.snapshot.in_force, query, date.max)
    if ".." not in when:
        return _sheet(request.on(days[0], ahead=LOOKBACK), query, days[0])
    return _range(request, query, ("start_date", "end_date"), *days)


def _sheet(revision: Revision, query: _Query, until: date) -> Content:
    base, amount, codes = query.base, query.amount, query.codes(set(revision.sheet.costs))

    def figure(code: str) -> Raw | None:
        # One unit costs its rate; another amount is converted at the unrounded rate, to 28 significant digits.
        converted = convert(revision.sheet, amount, base, code)
        return literal(converted.unit_rate if amount == ONE else converted.result)

    def write() -> bytes:
        rates = {code: figure(code) for code in codes}
        return encode({"amount": _amount(amount), "base": base, "date": revision.effective_date, "rates": rates})

    # The amount as text, here and below: 10 and 10.00 are equal, but each is repeated as it was written.
    return Content(("sheet", revision.key, base, codes, plain(amount)), JSON, write, until)


def history(request: Request) -> Content:
    """history?start_at=…&end_at=…: that of exchangeratesapi.io and ratesapi.io. Their other addresses are v1's."""
    days = (request.iso_day(request.given.get(name, ""), "invalid date", 422) for name in ("start_at", "end_at"))
    return _range(request, _Query.of(request), ("start_at", "end_at"), *days)


def _range(request: Request, query: _Query, names: tuple[str, str], since: date, until: date | None = None) -> Content:
    base, amount, codes = query.base, query.amount, query.codes(request.known())
    since, end = max(since, FIRST_DAY), until or request.snapshot.today
    if since > end:
        raise Refused(404, NOT_FOUND)
    days = request.complete(since, end)
    points = request.check_size(len(codes), days)

    def write() -> bytes:
        rows = request.per_base(base, codes, days, amount=amount)
        shown = {iso(day): Raw(json_object(codes, texts).encode()) for day, texts in rows if any(texts)}
        if not shown:
            raise Refused(404, NOT_FOUND)
        ends = dict(zip(names, (min(shown), max(shown)), strict=True))
        return encode({"amount": _amount(amount), "base": base, **ends, "rates": shown})

    key = ("range", base, codes, plain(amount), since, until, names)
    return Content(key, JSON, write, until or date.max, points, days.since)


def _amount(amount: Decimal) -> Raw:
    return Raw(with_point(plain(amount)).encode())


def currencies(request: Request) -> Content:
    """Code → English name of every currency in force today."""
    return request.names({"RUB", *request.snapshot.in_force.sheet.by_code})


def refuse(error: RatesvcError) -> Refusal:
    """`message` alone."""
    code = 422 if isinstance(error, TooManyPoints) else status(error)
    return Refusal(code, JSON, encode({"message": NOT_FOUND if code == 404 else str(error)}))


DIALECT = Dialect(
    {
        "": root,
        "/": root,
        "/v1": about,
        "/v1/currencies": currencies,
        "/v1/history": history,
        "/v1/{when}": rates,
    },
    refuse,
)
