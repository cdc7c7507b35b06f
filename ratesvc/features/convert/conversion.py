"""An amount in another currency, as JSON and as text."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from ratesvc.domain.rates import InForce, minor_places, plain
from ratesvc.features.ranges.conversion import convert
from ratesvc.render import terminal
from ratesvc.render.json import encode, evidence, literal, marks, marks_of
from ratesvc.render.language import PLACES, Language


def to_json(answer: InForce, amount: str, base: str, quotes: Sequence[str], *, demo: bool = False) -> bytes:
    """A decimal literal in each of the quotes that the sheet has, at the rates in force on a day.

    Amounts are strings, because a result has up to 28 digits and the float of many clients keeps 15.
    Raises KeyError if the sheet lacks the base.
    """
    sheet, results = answer.revision.sheet, {}
    missing = sheet.lacks(quotes)
    for quote in [quote for quote in quotes if quote not in missing]:
        converted = convert(sheet, Decimal(amount), base, quote)
        amounts = {"result": plain(converted.result), "result_rounded": plain(converted.rounded)}
        results[quote] = {"unit_rate": literal(converted.unit_rate), **amounts}
    return encode(
        {
            "amount": amount,
            "from": base,
            "date": answer.requested_date,
            "effective_date": answer.revision.effective_date,
            "revision": answer.revision.number,
            "stale": answer.stale,
            **evidence(answer.revision),
            **marks_of(answer, {base, *results}, demo=demo),
            **marks(missing=missing),
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
