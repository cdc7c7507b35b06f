"""The laws of conversion: from unrounded rates, rounded once, so that there and back is the same amount."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from ratesvc.domain.rates import Quote, Sheet, convert, unit_rates

values = st.integers(1, 10**13 - 1).map(lambda scaled: Decimal(scaled).scaleb(-4))
nominals = st.integers(0, 8).map(lambda power: 10**power)
amounts = st.integers(-(10**15), 10**15).map(lambda scaled: Decimal(scaled).scaleb(-4))


@st.composite
def sheets(draw: st.DrawFn) -> Sheet:
    """Two currencies at any rate that the Bank can print."""
    quotes = [
        Quote(code, number, cbr_id, draw(nominals), draw(values), code)
        for code, number, cbr_id in (("USD", "840", "R01235"), ("EUR", "978", "R01239"))
    ]
    return Sheet(date(2026, 4, 24), tuple(quotes))


def unit(sheet: Sheet, code: str) -> Fraction:
    if code == "RUB":
        return Fraction(1)
    quote = sheet.by_code[code]
    return Fraction(quote.value) / quote.nominal


@given(sheets(), amounts, st.sampled_from(["USD", "EUR", "RUB"]), st.sampled_from(["USD", "EUR", "RUB"]))
def test_a_conversion_is_exact_to_28_digits(sheet: Sheet, amount: Decimal, base: str, quote: str) -> None:
    """The result is within half a unit of the 28th digit of the exact quotient."""
    exact = Fraction(amount) * unit(sheet, base) / unit(sheet, quote)
    result = convert(sheet, amount, base, quote, 2).result
    assert abs(Fraction(result) - exact) <= abs(exact) * Fraction(1, 2 * 10**27)


@given(sheets(), amounts, st.sampled_from(["USD", "RUB"]))
def test_there_and_back_is_the_same_amount_within_the_rounding(sheet: Sheet, amount: Decimal, base: str) -> None:
    """A → B → A differs by what 28 digits can lose, no more; and A → A by nothing at all."""
    there = convert(sheet, amount, base, "EUR", 2).result
    back = convert(sheet, there, "EUR", base, 2).result
    assert abs(Fraction(back) - Fraction(amount)) <= abs(Fraction(amount)) * Fraction(1, 10**26)
    same = convert(sheet, amount, base, base, 2)
    assert (same.result, same.unit_rate) == (amount, Decimal(1))


@given(sheets(), amounts)
def test_coins_are_rounded_once_from_the_exact_amount(sheet: Sheet, amount: Decimal) -> None:
    """Half-even to the minor unit, as integers say, not a rounding of a rounding."""
    exact = Fraction(amount) * unit(sheet, "USD") / unit(sheet, "EUR")
    for places in (0, 2, 3):
        assert Fraction(convert(sheet, amount, "USD", "EUR", places).rounded) == Fraction(
            round(exact * 10**places), 10**places
        )


@given(sheets())
def test_quote_inverse_and_cross_rates_agree_within_their_ten_digits(sheet: Sheet) -> None:
    """USD/EUR times EUR/USD is one, and USD/EUR times EUR/RUB is USD/RUB, as far as ten digits go."""
    in_eur, in_usd, in_rub = (unit_rates(sheet, None, quote) for quote in ("EUR", "USD", "RUB"))
    product = Fraction(in_eur["USD"].rate) * Fraction(in_usd["EUR"].rate)
    assert abs(product - 1) <= Fraction(2, 10**9)
    through = Fraction(in_eur["USD"].rate) * Fraction(in_rub["EUR"].rate)
    assert abs(through - Fraction(in_rub["USD"].rate)) <= Fraction(in_rub["USD"].rate) * Fraction(1, 10**9)
    assert Fraction(in_usd["RUB"].rate) == Fraction(convert(sheet, Decimal(1), "RUB", "USD", 2).unit_rate)
