"""An amount in another currency, rounded once."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from ratesvc.domain.rates import EXACT, Sheet, cross_rate, minor_places, rounded, trimmed

AMOUNT_SIGNIFICANT = 28
"""Digits of a converted amount."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """An amount in another currency: `result` to 28 significant digits, `rounded` to kopecks or what the quote has."""

    unit_rate: Decimal
    result: Decimal
    rounded: Decimal


def convert(sheet: Sheet, amount: Decimal, base: str, quote: str) -> Conversion:
    """From unrounded rates, rounded once. Raises KeyError for a currency that is not in the sheet."""
    base_cost, quote_cost = sheet.costs[base], sheet.costs[quote]
    roubles = EXACT.multiply(amount, base_cost)
    return Conversion(
        unit_rate=cross_rate(base_cost, quote_cost),
        result=trimmed(rounded(roubles, quote_cost, significant=AMOUNT_SIGNIFICANT)),
        rounded=rounded(roubles, quote_cost, places=minor_places(quote)),
    )


def per_unit(sheet: Sheet, base: str) -> dict[str, Decimal]:
    """What one unit of `base` costs in every other currency of the sheet, and in RUB. Raises KeyError."""
    return {code: cross_rate(sheet.costs[base], cost) for code, cost in sheet.costs.items() if code != base}
