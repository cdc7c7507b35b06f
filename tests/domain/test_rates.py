from __future__ import annotations

import re
from dataclasses import replace
from datetime import date
from decimal import Decimal, Inexact, InvalidOperation, localcontext
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from kit.dates import FRIDAY, THURSDAY

from ratesvc.domain.rates import (
    EXACT,
    Quote,
    Sheet,
    minor_places,
    plain,
    rate_change,
    ratios,
    rounded,
    trimmed,
    unit_rates,
)
from ratesvc.features.ranges.conversion import convert, per_unit
from ratesvc.features.ranges.periods import mean

PRINTED = st.integers(1, 10**13 - 1).map(lambda n: Decimal(n).scaleb(-4))
NOMINALS = st.integers(0, 8).map(lambda power: 10**power)
NUMBERS = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**12), max_value=10**12, places=8)
DIVISORS = NUMBERS.filter(bool)
AMOUNTS = st.integers(-(10**15), 10**15).map(lambda scaled: Decimal(scaled).scaleb(-4))
PAIRS = st.tuples(PRINTED, NOMINALS, PRINTED, NOMINALS).map(
    lambda row: sheet(FRIDAY, quote("USD", row[0], row[1]), quote("EUR", row[2], row[3]))
)
"""Two currencies at any rate that the Bank can print."""


def quote(code: str, value: str | Decimal, nominal: int = 1) -> Quote:
    """A row whose ids do not matter."""
    return Quote(code, "000", "R00000", nominal, Decimal(value), code)


def sheet(day: date, *quotes: Quote) -> Sheet:
    return Sheet(day, quotes)


SHEET = sheet(FRIDAY, quote("USD", "80.0000"), quote("EUR", "100.0000"), quote("JPY", "50.0000", 100))


def cost(sheet: Sheet, code: str) -> Fraction:
    """What one unit costs in roubles, without a Decimal in sight."""
    return Fraction(1) if code == "RUB" else Fraction(sheet.by_code[code].value) / sheet.by_code[code].nominal


def nearest(exact: Fraction, places: int) -> Fraction:
    """Half-even rounding as Python's integers do it."""
    return round(exact * Fraction(10) ** places) / Fraction(10) ** places


def places_for(exact: Fraction, significant: int) -> int:
    """How many decimals leave so many significant digits."""
    magnitude = abs(exact)
    whole_digits = 0
    while magnitude >= 1:
        magnitude, whole_digits = magnitude / 10, whole_digits + 1
    while magnitude and magnitude * 10 < 1:
        magnitude, whole_digits = magnitude * 10, whole_digits - 1
    return significant - whole_digits


# Rounding


@given(NUMBERS, DIVISORS, st.integers(1, 28))
def test_a_quotient_is_rounded_once_to_significant_digits(numerator: Decimal, divisor: Decimal, digits: int) -> None:
    """Rounding the 80-digit quotient equals rounding the exact fraction once, half to even."""
    exact = Fraction(numerator) / Fraction(divisor)
    assert Fraction(rounded(numerator, divisor, significant=digits)) == nearest(exact, places_for(exact, digits))


@given(NUMBERS, DIVISORS, st.integers(0, 28))
def test_a_quotient_is_rounded_once_to_decimal_places(numerator: Decimal, divisor: Decimal, places: int) -> None:
    """The digits after the point are those of the exact fraction rounded once."""
    got = rounded(numerator, divisor, places=places)
    assert Fraction(got) == nearest(Fraction(numerator) / Fraction(divisor), places)
    assert got.as_tuple().exponent == -places


@given(st.lists(st.tuples(st.integers(1, 10**15), st.integers(1, 10**12)), min_size=1, max_size=40))
@example([(1, 3), (1, 4)])
@example([(1, 3), (2, 3), (1, 10**10)])
def test_a_mean_of_quotients_is_rounded_once(pairs: list[tuple[int, int]]) -> None:
    """Also where it lies exactly on a tie although its quotients have no end."""
    exact = sum((Fraction(*pair) for pair in pairs), Fraction()) / len(pairs)
    numerators, denominators = zip(*pairs, strict=True)
    assert Fraction(mean(numerators, denominators)) == nearest(exact, places_for(exact, 10))


@pytest.mark.parametrize("sign", [1, -1])
def test_a_trace_above_a_tie_is_not_a_tie(sign: int) -> None:
    """A half and a digit far behind it round away from the tie, and a half less a digit towards zero."""
    trace = Decimal("1E-90")
    with localcontext(prec=200):
        above, below = sign * (Decimal("2.5") + trace), sign * (Decimal("3.5") - trace)
    assert rounded(above, places=0) == sign * 3
    assert rounded(below, places=0) == sign * 3


@given(st.lists(st.tuples(st.integers(1, 10**15), st.integers(1, 10**15)), max_size=9))
def test_many_ratios_are_each_rounded_as_one_would_be(pairs: list[tuple[int, int]]) -> None:
    """The quick way for a long series gives the same ten digits."""
    found = list(ratios((one for one, _ in pairs), (other for _, other in pairs)))
    assert found == [rounded(Decimal(one), Decimal(other)) for one, other in pairs]
    assert all(str(number) == str(number.normalize()) for number in found)
    assert list(ratios([2, 10**7], [3, 1], 5)) == [Decimal("0.66667"), Decimal(10**7)]


def test_a_lost_digit_is_an_error() -> None:
    """Sums and products of printed numbers are exact; a context without a trap would round them in silence."""
    with pytest.raises(Inexact):
        EXACT.divide(Decimal(1), Decimal(3))
    with pytest.raises(InvalidOperation):
        EXACT.divide(Decimal(0), Decimal(0))
    assert EXACT.divide(Decimal("80.0000"), Decimal(10**8)) == Decimal("0.0000008")
    assert EXACT.plus(Decimal("1" * 200)) == int("1" * 200)
    with pytest.raises(Inexact):
        EXACT.plus(Decimal("1" * 201))


# Literals


@example(Decimal("26.7960"))
@example(Decimal("-0.0000"))
@example(Decimal("0E+3"))
@example(Decimal("1E+30"))
@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30))
def test_trimming_changes_nothing_but_the_zeros(number: Decimal) -> None:
    """The value stays; zeros at the end of the decimals, exponents above 0 and a minus before zero go."""
    short = trimmed(number)
    assert short == number
    decimals = plain(short).partition(".")[2]
    assert short.as_tuple().exponent == -len(decimals)
    assert not decimals.endswith("0")
    assert short or not short.is_signed()


@pytest.mark.parametrize(("number", "shown"), [("-0.0004", "0.000"), ("0.0004", "0.000"), ("-0.0006", "-0.001")])
def test_a_number_rounded_to_zero_has_no_sign(number: str, shown: str) -> None:
    """Neither has a zero that came with a sign."""
    assert str(rounded(Decimal(number), places=3)) == shown
    assert plain(Decimal("-0.000")) == "0.000"


@given(st.decimals(allow_nan=False, allow_infinity=False).filter(lambda number: abs(number.adjusted()) < 200))
def test_a_plain_number_never_has_an_exponent(number: Decimal) -> None:
    """A reader of JSON, CSV or XML gets digits and a point, and exactly the same number back."""
    text = plain(number)
    assert re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", text)
    assert Decimal(text) == number


# Sheets


@given(PRINTED, NOMINALS)
def test_a_unit_rate_is_exact(value: Decimal, nominal: int) -> None:
    """Nominals are powers of ten, so value ÷ nominal loses no digit."""
    assert Fraction(quote("USD", value, nominal).unit_rate) == Fraction(value) / nominal


CHANGES: list[dict[str, Any]] = [
    *({"value": Decimal("80.0001")}, {"nominal": 10}, {"code": "USX"}, {"numeric_code": "841"}, {"cbr_id": "R1"})
]


def test_names_and_order_are_not_official() -> None:
    """Sheets say the same, and have one checksum, when codes, ids, nominals and values agree."""
    renamed = Sheet(FRIDAY, tuple(replace(row, name="in English") for row in reversed(SHEET.quotes)))
    assert SHEET.says_the_same_as(renamed)
    assert SHEET.checksum == renamed.checksum
    first, *rest = SHEET.quotes
    others = [Sheet(FRIDAY, (replace(first, **changed), *rest)) for changed in CHANGES]
    others.append(Sheet(FRIDAY, SHEET.quotes[:2]))
    assert not any(SHEET.says_the_same_as(other) for other in others)
    assert len({SHEET.checksum, *(other.checksum for other in others)}) == 1 + len(others)
    assert Sheet(FRIDAY, (replace(first, value=Decimal(80)), *rest)).checksum == SHEET.checksum


# Derived rates


def test_rates_keep_the_banks_order_and_end_with_the_rouble() -> None:
    """The quote currency itself is 1. A sheet without that quote is an error."""
    for quote, rows in (
        ("RUB", [("USD", "80"), ("EUR", "100"), ("JPY", "0.5"), ("RUB", "1")]),
        ("USD", [("USD", "1"), ("EUR", "1.25"), ("JPY", "0.00625"), ("RUB", "0.0125")]),
    ):
        assert [(code, plain(unit.rate)) for code, unit in unit_rates(SHEET, None, quote).items()] == rows
    with pytest.raises(KeyError):
        unit_rates(SHEET, None, "XXX")


@given(PAIRS)
def test_cross_and_inverse_rates_are_the_exact_ratio_rounded_once(both: Sheet) -> None:
    """EUR in USD is (EUR ÷ RUB) ÷ (USD ÷ RUB), RUB in USD the inverse of USD ÷ RUB: ten true digits of each."""
    rates = unit_rates(both, None, "USD")
    euro, dollar = cost(both, "EUR"), cost(both, "USD")
    assert Fraction(rates["EUR"].rate) == nearest(euro / dollar, places_for(euro / dollar, 10))
    assert Fraction(rates["RUB"].rate) == nearest(1 / dollar, places_for(1 / dollar, 10))
    assert Fraction(per_unit(both, "USD")["EUR"]) == nearest(dollar / euro, places_for(dollar / euro, 10))
    assert rates["RUB"].rate == convert(both, Decimal(1), "RUB", "USD").unit_rate


# Changes

NOW = sheet(FRIDAY, quote("USD", "80.0000"), quote("AED", "22.0000"))
BEFORE = sheet(THURSDAY, quote("USD", "79.0000"))


@example(Decimal("11.3423"), Decimal("11.4644"), 1, 1)  # −1.06504 %, which is −1.0650 % and −1.07 %
@example(Decimal("220.0000"), Decimal("220.0001"), 1, 1)
@example(Decimal("7.4000"), Decimal("74.0000"), 1_000, 10_000)
@given(PRINTED, PRINTED, NOMINALS, NOMINALS)
def test_a_move_is_the_difference_and_its_share(now: Decimal, before: Decimal, units: int, units_before: int) -> None:
    """Absolute: the exact difference of two unit rates. Per cent: the exact share of the earlier, rounded once."""
    moved = rate_change(sheet(FRIDAY, quote("X", now, units)), sheet(THURSDAY, quote("X", before, units_before)), "X")
    assert moved is not None
    new, old = Fraction(now) / units, Fraction(before) / units_before
    assert Fraction(moved.absolute) == new - old
    for places in range(7):
        assert Fraction(moved.percent(places)) == nearest((new - old) * 100 / old, places)
        assert moved.percent(places) or not moved.percent(places).is_signed()


@given(PAIRS, PAIRS)
def test_a_move_of_a_cross_rate_is_the_exact_share_of_the_earlier(now: Sheet, before: Sheet) -> None:
    """Both are those of the unrounded rates, rounded once: the difference to ten digits."""
    moved, rates = rate_change(now, before, "USD", "EUR"), unit_rates(now, before, "EUR")
    assert moved is not None
    assert rates["USD"].change == moved
    new, old = (cost(one, "USD") / cost(one, "EUR") for one in (now, before))
    assert Fraction(moved.absolute) == (nearest(new - old, places_for(new - old, 10)) if new != old else 0)
    assert Fraction(moved.percent(4)) == nearest((new - old) * 100 / old, 4)


def test_change_is_unknown_where_nothing_came_before() -> None:
    """Without a previous sheet, or a row in both sheets for the base and for the quote: unknown, not zero."""
    assert all(unit.change is None for unit in unit_rates(NOW, None).values())
    assert {code for code, unit in unit_rates(NOW, BEFORE).items() if unit.change is None} == {"AED", "RUB"}
    assert all(unit.change is None for unit in unit_rates(NOW, BEFORE, "AED").values())
    assert rate_change(BEFORE, NOW, "AED") is None
    assert rate_change(NOW, None, "USD") is None


@pytest.mark.parametrize("base", ["RUB", "USD"])
def test_no_change_across_the_new_rouble(base: str) -> None:
    """On 1 January 1998 a thousand roubles became one: the step from 5960 to 5,96 is not a move.

    Between two other currencies the roubles cancel.
    """
    old = sheet(date(1997, 12, 31), quote("USD", "5960.0000"), quote("DEM", "3351.0000"))
    new = sheet(date(1998, 1, 1), quote("USD", "5.9600"), quote("DEM", "3.5760"))
    moved = {code: unit.change.percent(4) for code, unit in unit_rates(new, old, base).items() if unit.change}
    assert moved == ({} if base == "RUB" else {"DEM": Decimal("6.7144")})
    assert rate_change(old, sheet(date(1997, 12, 30), *old.quotes), "DEM", base) is not None
    assert rate_change(sheet(date(1998, 1, 6), *new.quotes), new, "DEM", base) is not None


# Conversion


@given(PAIRS, AMOUNTS, st.sampled_from(["USD", "EUR", "RUB"]), st.sampled_from(["USD", "EUR", "RUB"]))
def test_a_conversion_is_exact_to_28_digits(both: Sheet, amount: Decimal, base: str, quote: str) -> None:
    """The result is within half a unit of the 28th digit of the exact quotient; the minor unit is rounded once."""
    exact = Fraction(amount) * cost(both, base) / cost(both, quote)
    converted = convert(both, amount, base, quote)
    assert abs(Fraction(converted.result) - exact) <= abs(exact) * Fraction(1, 2 * 10**27)
    assert Fraction(converted.rounded) == nearest(exact, 2)


# Answers


def test_amounts_have_the_minor_units_of_iso_4217() -> None:
    """Whatever a library says: CLDR has had none for IRR and RSD, then none for HUF and IDR."""
    places = {
        "RUB": 2,
        "IRR": 2,
        "RSD": 2,
        "HUF": 2,
        "IDR": 2,
        "XDR": 2,
        "JPY": 0,
        "KRW": 0,
        "VND": 0,
        "KWD": 3,
        "TND": 3,
    }
    assert {code: minor_places(code) for code in places} == places
