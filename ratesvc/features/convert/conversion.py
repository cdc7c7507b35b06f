"""An amount in another currency, as JSON and as text."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from ratesvc.domain.rates import InForce, minor_places, plain
from ratesvc.features.ranges.conversion import convert
from ratesvc.render import terminal
from ratesvc.render.json import encode, marks_of
from ratesvc.render.language import PLACES, Language


def to_json(answer: InForce, amount: str, base: str, quotes: Sequence[str], *, demo: bool = False) -> bytes:
    """A decimal literal in each of the quotes, at the rates in force on a day.

    Amounts and rates are strings, because a result has up to 28 digits and the float of many clients keeps 15.
    Raises KeyError for a currency that is not in the sheet.
    """
    sheet, results = answer.revision.sheet, {}
    for quote in quotes:
        converted = convert(sheet, Decimal(amount), base, quote)
        numbers = {"unit_rate": converted.unit_rate, "result": converted.result, "result_rounded": converted.rounded}
        results[quote] = {name: plain(number) for name, number in numbers.items()}
    return encode(
        {
            "amount": amount,
            "from": base,
            "date": answer.requested_date,
            "effective_date": answer.revision.effective_date,
            "revision": answer.revision.number,
            "stale": answer.stale,
            **marks_of(answer, {base, *quotes}, demo=demo),
            "results": results,
        }
    )


def to_text(answer: InForce, amount: str, base: str, quote: str, language: Language, *, demo: bool) -> str:
    """The result in the minor unit, with «=» if it is exact; the rate of one unit; the sheet. Raises KeyError."""
    converted = convert(answer.revision.sheet, Decimal(amount), base, quote)
    given = language.number(Decimal(amount), len(amount.partition(".")[2]))
    sign = "=" if converted.result == converted.rounded else "≈"
    result = language.number(converted.rounded, minor_places(quote))
    rate = language.number(converted.unit_rate, PLACES)
    title = terminal.title(answer, language, base, quote, demo=demo)
    return f"{given} {base} {sign} {result} {quote}\n1 {base} = {rate} {quote}\n{title}"
