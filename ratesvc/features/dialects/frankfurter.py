"""Frankfurter v1: https://frankfurter.dev/v1/. `date` is the effective date of the sheet in the answer.

A range begins with the sheet in force on its first day, or with the first sheet of all. It has the days of the sheets,
not the days between them. A day up to two weeks after the newest sheet is answered with that sheet, under its date, as
in the original.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal

from msgspec import Raw

from ratesvc.domain.columns import Days
from ratesvc.domain.rates import plain
from ratesvc.errors import TooManyPoints
from ratesvc.features.dialects import JSON, Content, Dialect, Refused, Request, split, with_point
from ratesvc.features.ranges.unit_rates import count_points, iso
from ratesvc.render.json import encode

NOT_FOUND = "not found"
LOOKBACK = timedelta(days=14)
HOME, CONTRACT = "https://frankfurter.dev", "https://api.frankfurter.dev/{}/openapi.json"
_DAY = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_WHEN = re.compile(rf"latest|current|{_DAY}(?:\.\.(?:{_DAY})?)?")


def root(request: Request) -> Content:
    """The versions that are switched on, and where the original's contract for each is."""
    site, source = request.site, "https://github.com/lineofflight/frankfurter"
    versions = {
        name: {"base": f"{site.public_url}/frankfurter/{name}", "openapi": CONTRACT.format(name), "status": state}
        for name, state, dialect in (("v1", "frozen", "frankfurter"), ("v2", "current", "frankfurter-v2"))
        if site.has(dialect)
    }
    document = {"name": "Frankfurter", "versions": versions, "docs": HOME, "source": source}
    return Content("root", JSON, lambda: encode(document))


def about(_: Request) -> Content:
    """v1: what it is."""
    document = {"version": "v1", "status": "frozen", "openapi": CONTRACT.format("v1"), "docs": HOME}
    return Content("about", JSON, lambda: encode(document))


_Query = tuple[str, tuple[str, ...], Decimal]


def _parameters(request: Request) -> _Query:
    """Base, quotes in order, and amount: `from` comes before `base`, and `to` before `symbols`. Raises Refused."""
    given, known, amount = request.given, request.known(), request.amount("1", "invalid amount", 422)
    if not amount:
        raise Refused(422, "invalid amount")
    base = given.get("from", given.get("base", "EUR")).strip().upper()
    text = given.get("to", given.get("symbols"))
    symbols = known if text is None else split(text)
    if symbols == {base}:
        raise Refused(422, "bad currency pair")
    codes = known & symbols - {base}
    if base not in known or not codes:
        raise Refused(404, NOT_FOUND)
    return base, tuple(sorted(codes)), amount


def rates(request: Request) -> Content:
    """latest, current, YYYY-MM-DD, A..B or A.., as the path says."""
    when = request.given["when"]
    if not _WHEN.fullmatch(when):
        raise Refused(404, NOT_FOUND)
    days = [request.iso_day(text, "invalid date", 422) for text in re.findall(_DAY, when)]
    # What is wrong with the parameters comes before what is not found, as in the original.
    query = _parameters(request)
    if ".." in when:
        return _range(request, query, ("start_date", "end_date"), *days)
    sheet = request.on(days[0], ahead=LOOKBACK) if days else request.snapshot.in_force
    day = sheet.effective_date
    return _rates(request, query, Days(day, day), ("date",), days[0] if days else date.max)


def history(request: Request) -> Content:
    """history?start_at=…&end_at=…: that of exchangeratesapi.io and ratesapi.io. Their other addresses are v1's."""
    days = (request.iso_day(request.given.get(name, ""), "invalid date", 422) for name in ("start_at", "end_at"))
    return _range(request, _parameters(request), ("start_at", "end_at"), *days)


def _range(request: Request, query: _Query, names: tuple[str, str], since: date, until: date | None = None) -> Content:
    since, end = max(since, request.history.begins), until or request.snapshot.today
    if since > end:
        raise Refused(404, NOT_FOUND)
    return _rates(request, query, request.complete(since, end), names, until or date.max)


def _rates(request: Request, query: _Query, days: Days, names: Sequence[str], until: date) -> Content:
    """The sheets of these days. `names` are the fields for the first of them and the last; one sheet has one field."""
    base, codes, amount = query
    is_range = len(names) > 1
    points = count_points(request.history, len(codes), days) if is_range else 0

    def write() -> bytes:
        shown = {iso(day): rates for day, rates in request.objects(base, codes, days, amount=amount).items()}
        if not shown:
            raise Refused(404, NOT_FOUND)
        ends = dict(zip(names, (min(shown), max(shown)), strict=False))
        rates = shown if is_range else shown[min(shown)]
        return encode({"amount": Raw(with_point(plain(amount)).encode()), "base": base, **ends, "rates": rates})

    # The amount as text: 10 and 10.00 are equal, but each is repeated as it was written.
    key = (base, codes, plain(amount), days, until, names)
    return Content(key, JSON, write, until, points, days.since if is_range else date.max)


DIALECT = Dialect(
    {
        "": root,
        "/": root,
        "/v1": about,
        "/v1/currencies": lambda request: request.names({*request.snapshot.in_force.sheet.costs}),
        "/v1/history": history,
        "/v1/{when}": rates,
    },
    lambda code, error: encode({"message": NOT_FOUND if code == 404 else str(error)}),
    statuses={TooManyPoints: 422},
)
