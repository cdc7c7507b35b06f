"""An amount in another currency, as JSON and as text."""

from __future__ import annotations

from decimal import Decimal

from ratesvc.domain.rates import InForce, convert, plain
from ratesvc.render import terminal
from ratesvc.render.json import encode, literal, marks_of
from ratesvc.render.language import PLACES, Language


def to_json(answer: InForce, amount: str, base: str, quote: str, *, demo: bool = False) -> bytes:
    """A decimal literal at the rates in force on a day. Amounts are strings: a reader's float would lose digits.

    Raises KeyError for a currency that is not in the sheet.
    """
    converted = convert(answer.revision.sheet, Decimal(amount), base, quote)
    return encode(
        {
            "amount": amount,
            "from": base,
            "to": quote,
            "date": answer.requested_date,
            "effective_date": answer.revision.effective_date,
            "revision": answer.revision.number,
            "stale": answer.stale,
            "unit_rate": literal(converted.unit_rate),
            "result": plain(converted.result),
            "result_rounded": plain(converted.rounded),
            **marks_of(answer, {base, quote}, demo=demo),
        }
    )


def to_text(answer: InForce, amount: Decimal, base: str, quote: str, language: Language, *, demo: bool) -> str:
    """The result in the minor unit, with «=» if it is exact; the rate of one unit; the sheet. Raises KeyError."""
    converted = convert(answer.revision.sheet, amount, base, quote)
    given = language.number(amount, max(_places(amount), 0))
    sign = "=" if converted.result == converted.rounded else "≈"
    result = language.number(converted.rounded, _places(converted.rounded))
    rate = language.number(converted.unit_rate, PLACES)
    title = terminal.title(answer, language, base, quote, demo=demo)
    return f"{given} {base} {sign} {result} {quote}\n1 {base} = {rate} {quote}\n{title}"


def _places(number: Decimal) -> int:
    exponent = number.as_tuple().exponent
    return -exponent if isinstance(exponent, int) else 0
