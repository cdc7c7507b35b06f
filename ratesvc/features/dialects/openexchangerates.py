"""Open Exchange Rates: units of every currency for one of the base, https://docs.openexchangerates.org.

Any app_id is accepted. `timestamp` lies on the effective date, at midnight UTC, or on the day of the request, at noon
UTC, because clients make a day of it. A time series has every day; a day without a sheet of its own has the rates of
the sheet in force. With `callback`, every answer is a script, refusals too.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, time

from ratesvc.domain.columns import Days
from ratesvc.domain.rates import Revision, plain
from ratesvc.errors import BeforeHistory, NotYetSet, RatesvcError, TooManyPoints
from ratesvc.features.dialects import JSON, SCRIPT, Content, Dialect, Refused, Request, split, unix
from ratesvc.features.ranges.conversion import convert
from ratesvc.features.ranges.unit_rates import carried, count_points, iso
from ratesvc.render.json import encode, literal

ABOUT = {
    "disclaimer": "The Bank of Russia's official rates and what follows from them; not published by the Bank.",
    "license": "https://www.cbr.ru/eng/about/",
}
_FUNCTION = re.compile(r"[A-Za-z_$][A-Za-z0-9_$.]{0,99}")


def latest(request: Request) -> Content:
    """latest.json: in force today."""
    revision = request.snapshot.in_force
    return _rates(request, revision, unix(revision.effective_date), date.max)


def historical(request: Request) -> Content:
    """historical/YYYY-MM-DD.json."""
    day = request.iso_day(request.given["day"], "invalid_date", 400)
    return _rates(request, request.on(day), unix(day, time(12)), day)


def _symbols(request: Request) -> tuple[str, ...]:
    """The given codes that any sheet ever had, or all of them if none is given; sorted."""
    text, known = request.given.get("symbols"), request.known()
    return tuple(sorted(split(text) & known if text else known))


def _rates(request: Request, revision: Revision, timestamp: int, until: date) -> Content:
    base = request.base("USD", revision.sheet.costs, "invalid_base", 400)
    symbols, day = _symbols(request), revision.effective_date

    def write() -> bytes:
        rates = request.objects(base, symbols, Days(day, day)).get(day.toordinal())
        return encode({**ABOUT, "timestamp": timestamp, "base": base, "rates": rates or {}})

    return Content(("rates", revision.key, timestamp, base, symbols), JSON, write, until)


def time_series(request: Request) -> Content:
    """time-series.json: every day from start to end, up to the newest sheet."""
    start, end = (request.iso_day(request.given.get(name, ""), "invalid_date", 400) for name in ("start", "end"))
    if start > end:
        raise Refused(400, "invalid_date_range")
    base = request.base("USD", request.known(), "invalid_base", 400)
    codes = _symbols(request)
    days = request.complete(start, min(end, max(request.snapshot.today, request.newest.effective_date)))
    points = count_points(request.history, len(codes), days, daily=True)

    def write() -> bytes:
        sheets = request.objects(base, codes, days)
        every_day = range(start.toordinal(), days.until.toordinal() + 1)
        in_force = carried(request.history, every_day, request.snapshot.today)
        rates = {iso(day): sheets[of] for day, of in in_force.items() if of in sheets}
        return encode({**ABOUT, "start_date": start, "end_date": end, "base": base, "rates": rates})

    return Content(("series", base, codes, start, end), JSON, write, end, points, start)


def conversion(request: Request) -> Content:
    """convert.json, or the same in the path: an amount at the rates in force today."""
    revision = request.snapshot.in_force
    base, quote = (request.code(name) for name in ("from", "to"))
    if {base, quote} - revision.sheet.costs.keys():
        raise Refused(400, "invalid_currency")
    amount = request.amount("", "invalid_amount", 400)
    converted = convert(revision.sheet, amount, base, quote)
    query = f"/convert/{plain(amount)}/{base}/{quote}"
    document = {
        **ABOUT,
        "request": {"query": query, "amount": literal(amount), "from": base, "to": quote},
        "meta": {"timestamp": unix(revision.effective_date), "rate": literal(converted.unit_rate)},
        "response": literal(converted.result),
    }
    # The amount as text: equal amounts may have more zeros, and each is repeated as it was written.
    return Content(("convert", plain(amount), base, quote), JSON, lambda: encode(document))


def usage(_: Request) -> Content:
    """usage.json: there is no limit, and nothing is counted."""
    tariff = {"name": "ratesvc", "quota": "unlimited", "update_frequency": "each working day"}
    counted = {"requests": 0, "requests_quota": 0, "requests_remaining": 0}
    return Content("usage", JSON, lambda: encode({"status": 200, "data": {"plan": tariff, "usage": counted}}))


def ohlc(_: Request) -> Content:
    """ohlc.json: a rate of the Bank holds all day, so it has no open, high, low and close."""
    raise Refused(403, "not_available")


def _callable(ask: Callable[[Request], Content]) -> Callable[[Request], Content]:
    """The same answers, as scripts that call the function `callback` if it is given. Raises what `ask` raises."""

    def answer(request: Request) -> Content:
        function = request.given.get("callback")
        if function is None:
            return ask(request)
        if not _FUNCTION.fullmatch(function):
            raise Refused(400, "invalid_callback")
        try:
            return ask(request).as_script(function)
        except RatesvcError as error:
            code, _, refusal = DIALECT.refusal(error)
            if code >= 500:
                raise
            # Browsers run no script with another status.
            raise Refused(200, f"{function}({refusal.decode()});", SCRIPT) from None

    return answer


_DESCRIPTIONS = {
    "invalid_base": "There is no such base currency on that day.",
    "invalid_currency": "There is no such currency today.",
    "invalid_date": "Give an existing date in the form YYYY-MM-DD.",
    "invalid_date_range": "start must not be later than end.",
    "invalid_amount": "amount takes a decimal number such as 100 or 0.5, with a point.",
    "invalid_callback": "callback takes the name of a function.",
    "not_available": "The Bank of Russia sets one rate a day.",
}


def refuse(code: int, error: RatesvcError) -> bytes:
    """`message` is a word for programs, `description` a sentence for people."""
    message, description = "invalid_date_range" if isinstance(error, TooManyPoints) else "not_available", str(error)
    if isinstance(error, Refused):
        message = str(error) if code != 404 else "not_found"
        description = _DESCRIPTIONS.get(message, description)
    return encode({"error": True, "status": code, "message": message, "description": description})


ROUTES = {
    "latest.json": latest,
    "historical/{day}.json": historical,
    "currencies.json": lambda request: request.names(request.known()),
    "time-series.json": time_series,
    "convert.json": conversion,
    "convert/{amount}/{from}/{to}": conversion,
    "usage.json": usage,
    "ohlc.json": ohlc,
}
DIALECT = Dialect(
    {f"/api/{path}": _callable(ask) for path, ask in ROUTES.items()},
    refuse,
    statuses={NotYetSet: 400, BeforeHistory: 400},
)
