"""currencylayer's rates of now, which Dolibarr reads: https://currencylayer.com/documentation.

Any access_key is accepted. `timestamp` lies on the effective date, at midnight UTC. A refused source or currency gets
status 200 and `success: false`, as at the original.
"""

from __future__ import annotations

from ratesvc.domain.rates import per_unit
from ratesvc.errors import RatesvcError
from ratesvc.features.dialects import JSON, Content, Dialect, Refusal, Refused, Request, split, status, unix
from ratesvc.render.json import encode, literal

NO_SOURCE = "The Bank of Russia has no rate today for the currency in source."
NO_CURRENCY = "The Bank of Russia has no rate today for a currency in currencies."
CODES = {NO_SOURCE: 201, NO_CURRENCY: 202}
NO_FUNCTION, NO_RESULT = 103, 106
"""currencylayer's own numbers for errors."""


def live(request: Request) -> Content:
    """In force today: the price of one unit of `source`, the dollar if it is not given, in each other currency."""
    revision = request.snapshot.in_force
    source, currencies = request.code("source", "USD"), split(request.given.get("currencies", ""))
    known = {"RUB", *revision.sheet.by_code}
    if source not in known:
        raise Refused(200, NO_SOURCE)
    if currencies - known:
        raise Refused(200, NO_CURRENCY)

    def write() -> bytes:
        rates = sorted(per_unit(revision.sheet, source).items())
        quotes = {source + code: literal(rate) for code, rate in rates if not currencies or code in currencies}
        timestamp = unix(revision.effective_date)
        return encode({"success": True, "timestamp": timestamp, "source": source, "quotes": quotes})

    return Content(("live", source, currencies), JSON, write)


def refuse(error: RatesvcError) -> Refusal:
    """`code` is a number of currencylayer, `info` a sentence for people: Dolibarr shows it."""
    code, text = status(error), str(error)
    number = CODES.get(text, NO_FUNCTION if code == 404 else NO_RESULT)
    return Refusal(code, JSON, encode({"success": False, "error": {"code": number, "info": text}}))


DIALECT = Dialect({"/live": live}, refuse)
