from __future__ import annotations

import re
from datetime import date
from decimal import Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratesvc.domain.rates import Quote, Sheet, UnitRate, plain, rate_change, rounded, trimmed, unit_rates

PRINTED = st.integers(1, 10**13 - 1).map(lambda n: Decimal(n).scaleb(-4))
NOMINALS = st.integers(0, 8).map(lambda power: 10**power)
NUMBERS = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**12), max_value=10**12, places=8)
DIVISORS = NUMBERS.filter(bool)


def quote(code: str, value: str | Decimal, nominal: int = 1) -> Quote:
    """A row whose ids do not matter."""
    return Quote(code, "000", "R00000", nominal, Decimal(value), code)


def sheet(day: date, *quotes: Quote) -> Sheet:
    return Sheet(day, quotes)


def nearest(exact: Fraction, places: int) -> Fraction:
    """Half-even rounding as Python's integers do it, without a Decimal in sight."""
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


@given(NUMBERS, DIVISORS, st.integers(1, 28))
def test_a_quotient_is_rounded_once_to_significant_digits(numerator: Decimal, divisor: Decimal, digits: int) -> None:
    """Rounding the 80-digit quotient equals rounding the exact fraction once, half to even."""
    exact = Fraction(numerator) / Fraction(divisor)
    got = Fraction(rounded(numerator, divisor, significant=digits))
    assert got == nearest(exact, places_for(exact, digits))


@given(NUMBERS, DIVISORS, st.integers(0, 28))
def test_a_quotient_is_rounded_once_to_decimal_places(numerator: Decimal, divisor: Decimal, places: int) -> None:
    """So many digits after the point are those of the exact fraction rounded once."""
    got = rounded(numerator, divisor, places=places)
    assert Fraction(got) == nearest(Fraction(numerator) / Fraction(divisor), places)
    assert got.as_tuple().exponent == -places


@given(st.integers(-(10**9), 10**9), st.integers(0, 12), DIVISORS)
def test_a_tie_goes_to_the_even_digit(whole: int, places: int, divisor: Decimal) -> None:
    """Exactly half of the last place goes to the even neighbour, also when a division finds the half."""
    half = (Decimal(whole) + Decimal("0.5")).scaleb(-places)
    with localcontext(prec=200):
        numerator = half * divisor
    assert Fraction(rounded(numerator, divisor, places=places)) == Fraction(
        round(Fraction(2 * whole + 1, 2)), 10**places
    )


@pytest.mark.parametrize("sign", [1, -1])
def test_a_trace_above_a_tie_is_not_a_tie(sign: int) -> None:
    """A half and a digit far behind it round away from the tie, and a half less a digit towards zero."""
    trace = Decimal("1E-90")
    with localcontext(prec=200):
        above, below = sign * (Decimal("2.5") + trace), sign * (Decimal("3.5") - trace)
    assert rounded(above, places=0) == sign * 3
    assert rounded(below, places=0) == sign * 3


def test_ten_significant_digits_unless_told_otherwise() -> None:
    """Cross and inverse rates carry ten significant digits, however small or large they are."""
    assert rounded(Decimal(1), Decimal(3)) == Decimal("0.3333333333")
    assert rounded(Decimal(2), Decimal("3E+30")) == Decimal("6.666666667E-31")
    assert rounded(Decimal("2E+30"), Decimal(3)) == Decimal("6.666666667E+29")


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30))
def test_trimming_changes_nothing_but_the_zeros(number: Decimal) -> None:
    """The value stays; zeros at the end of the decimals, exponents above 0 and a minus before zero go."""
    short = trimmed(number)
    assert short == number
    exponent = short.as_tuple().exponent
    assert isinstance(exponent, int)
    assert exponent <= 0
    assert exponent == 0 or not plain(short).endswith("0")
    assert bool(short) or not short.is_signed()


@pytest.mark.parametrize(
    ("given_number", "shown"),
    [("26.7960", "26.796"), ("1E+1", "10"), ("100.0000", "100"), ("0.0000", "0"), ("-0.0000", "0"), ("0E+3", "0")],
)
def test_trimmed_examples(given_number: str, shown: str) -> None:
    """26.7960 is 26.796, ten is 10 and nothing is 0, never -0."""
    assert plain(trimmed(Decimal(given_number))) == shown


@given(st.decimals(allow_nan=False, allow_infinity=False).filter(lambda number: abs(number.adjusted()) < 200))
def test_a_plain_number_never_has_an_exponent(number: Decimal) -> None:
    """A reader of JSON, CSV or XML gets digits and a point, and exactly the same number back."""
    text = plain(number)
    assert re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", text)
    assert Decimal(text) == number


@given(PRINTED, NOMINALS)
def test_a_unit_rate_is_exact(value: Decimal, nominal: int) -> None:
    """Nominals are powers of ten, so value ÷ nominal loses no digit."""
    assert Fraction(quote("USD", value, nominal).unit_rate) == Fraction(value) / nominal


def test_the_smallest_unit_rate_the_bank_has_printed() -> None:
    """The Iranian rial of 25.04.2026: 53,9256 for a million is 0.0000539256 for one."""
    assert plain(quote("IRR", "53.9256", 1_000_000).unit_rate) == "0.0000539256"


TODAY = date(2024, 3, 2)
BEFORE = date(2024, 3, 1)


def test_official_rates_keep_the_banks_order_and_end_without_the_rouble() -> None:
    """In roubles each row is value ÷ nominal; the quote currency itself has no row."""
    rates = unit_rates(sheet(TODAY, quote("USD", "91.3336"), quote("KZT", "20.2550", 100)), None)
    assert list(rates) == ["USD", "KZT"]
    assert rates["KZT"] == UnitRate(Decimal("0.20255"), None)


def test_in_another_quote_the_rouble_is_a_row_and_the_quote_is_left_out() -> None:
    """Seen from the dollar, the rouble comes last and a dollar is not worth saying."""
    rates = unit_rates(
        sheet(TODAY, quote("USD", "80.0000"), quote("EUR", "100.0000"), quote("JPY", "50.0000", 100)), None, "USD"
    )
    assert [(code, plain(unit.rate)) for code, unit in rates.items()] == [
        ("EUR", "1.25"),
        ("JPY", "0.00625"),
        ("RUB", "0.0125"),
    ]


def test_a_quote_that_the_sheet_lacks_is_an_error() -> None:
    """A sheet cannot be told in a currency that it does not have."""
    with pytest.raises(KeyError):
        unit_rates(sheet(TODAY, quote("USD", "80.0000")), None, "EUR")


def test_change_is_per_unit_when_the_nominal_flips() -> None:
    """The sum printed ten times lower for a tenth of the units has not moved at all."""
    before = sheet(BEFORE, quote("UZS", "74.0000", 10_000))
    moved = unit_rates(sheet(TODAY, quote("UZS", "7.4000", 1_000)), before)["UZS"].change
    assert moved is not None
    assert (plain(moved.absolute), plain(moved.percent(4))) == ("0", "0")


def test_change_is_null_where_nothing_came_before() -> None:
    """No previous sheet, or no row in it: the move is unknown, not zero."""
    now = sheet(TODAY, quote("USD", "80.0000"), quote("AED", "22.0000"))
    assert all(unit.change is None for unit in unit_rates(now, None).values())
    rates = unit_rates(now, sheet(BEFORE, quote("USD", "79.0000")))
    assert rates["AED"].change is None
    assert rates["USD"].change is not None


@given(st.lists(st.tuples(st.sampled_from(["USD", "AED", "KZT"]), st.integers(1, 10**7)), max_size=4), st.booleans())
def test_one_change_is_what_all_changes_say(rows: list[tuple[str, int]], redenominated: bool) -> None:
    """The short way for one currency and the long one for all of them."""
    half = len(rows) // 2
    now, before = (
        sheet(day, *(quote(code, f"{Decimal(value).scaleb(-4)}") for code, value in dict(some).items()))
        for day, some in ((TODAY, rows[half:]), (date(1997, 12, 31) if redenominated else BEFORE, rows[:half]))
    )
    for previous in (before, None):
        moves = unit_rates(now, previous)
        for code in ("USD", "AED", "KZT"):
            expected = moves[code].change if code in moves else None
            assert rate_change(now, previous, code) == expected


def test_change_is_null_in_a_quote_that_had_no_row_before() -> None:
    """A cross rate of yesterday needs yesterday's quote currency."""
    now = sheet(TODAY, quote("USD", "80.0000"), quote("AED", "22.0000"))
    rates = unit_rates(now, sheet(BEFORE, quote("USD", "79.0000")), "AED")
    assert all(unit.change is None for unit in rates.values())


@pytest.mark.parametrize("base", ["RUB", "USD"])
def test_no_change_across_the_new_rouble(base: str) -> None:
    """On 1 January 1998 a thousand roubles became one: the step from 5960 to 5,96 is not a move."""
    old = sheet(date(1997, 12, 31), quote("USD", "5960.0000"), quote("DEM", "3351.0000"))
    new = sheet(date(1998, 1, 1), quote("USD", "5.9600"), quote("DEM", "3.3510"))
    assert all(unit.change is None for unit in unit_rates(new, old, base).values())
    assert unit_rates(old, sheet(date(1997, 12, 30), *old.quotes), base)["DEM"].change is not None
    assert unit_rates(sheet(date(1998, 1, 6), *new.quotes), new, base)["DEM"].change is not None


def test_a_fall_too_small_to_show_is_zero_percent_without_a_sign() -> None:
    """A dinar of 200 roubles that falls by the last printed digit moves by 0 %, never by -0."""
    now, before = sheet(TODAY, quote("BHD", "220.0000")), sheet(BEFORE, quote("BHD", "220.0001"))
    moved = unit_rates(now, before)["BHD"].change
    assert moved is not None
    assert (plain(moved.absolute), plain(moved.percent(4))) == ("-0.0001", "0")


@given(PRINTED, PRINTED, NOMINALS, NOMINALS)
def test_a_move_is_the_difference_and_its_share(now: Decimal, before: Decimal, units: int, units_before: int) -> None:
    """Absolute: the exact difference of two unit rates. Percent: the exact share of the earlier, rounded once."""
    rates = unit_rates(sheet(TODAY, quote("X", now, units)), sheet(BEFORE, quote("X", before, units_before)))
    moved = rates["X"].change
    assert moved is not None
    new, old = Fraction(now) / units, Fraction(before) / units_before
    assert Fraction(moved.absolute) == new - old
    for places in range(7):
        assert Fraction(moved.percent(places)) == nearest((new - old) * 100 / old, places)


def test_the_leu_fell_by_1_07_percent_on_27_september_2022() -> None:
    """−1.06504 % is −1.0650 % with four places and −1.07 % with two: rounding the first would give −1.06 %."""
    now, before = sheet(date(2022, 9, 27), quote("RON", "11.3423")), sheet(date(2022, 9, 24), quote("RON", "11.4644"))
    moved = rate_change(now, before, "RON")
    assert moved is not None
    assert [plain(moved.percent(places)) for places in (2, 4)] == ["-1.07", "-1.065"]


@given(PRINTED, PRINTED, NOMINALS, NOMINALS)
def test_cross_and_inverse_rates_are_the_exact_ratio_rounded_once(
    a: Decimal, b: Decimal, units_a: int, units_b: int
) -> None:
    """EUR in USD is (EUR ÷ RUB) ÷ (USD ÷ RUB), RUB in USD the inverse of USD ÷ RUB: ten true digits of each."""
    both = sheet(TODAY, quote("EUR", a, units_a), quote("USD", b, units_b))
    rates = unit_rates(both, None, "USD")
    euro, dollar = Fraction(a) / units_a, Fraction(b) / units_b
    assert Fraction(rates["EUR"].rate) == nearest(euro / dollar, places_for(euro / dollar, 10))
    assert Fraction(rates["RUB"].rate) == nearest(1 / dollar, places_for(1 / dollar, 10))


@given(PRINTED, PRINTED)
def test_a_rate_there_and_back_is_one_within_the_rounding(a: Decimal, b: Decimal) -> None:
    """EUR/USD × USD/EUR differs from 1 by no more than two roundings to ten digits can make it."""
    both = sheet(TODAY, quote("EUR", a), quote("USD", b))
    there = Fraction(unit_rates(both, None, "USD")["EUR"].rate)
    back = Fraction(unit_rates(both, None, "EUR")["USD"].rate)
    half_of_the_last_digit = Fraction(5, 10**10)
    assert abs(there * back - 1) <= 2 * half_of_the_last_digit + half_of_the_last_digit**2


def test_names_and_order_are_not_official() -> None:
    """Two wordings say the same when codes, ids, nominals and values agree."""
    one, other = quote("USD", "80.0000"), quote("EUR", "90.0000")
    renamed = Quote("USD", "000", "R00000", 1, Decimal("80.0000"), "Доллар")
    assert sheet(TODAY, one, other).says_the_same_as(sheet(TODAY, other, renamed))
    assert not sheet(TODAY, one).says_the_same_as(sheet(TODAY, quote("USD", "80.0001")))
    assert not sheet(TODAY, one).says_the_same_as(sheet(TODAY, quote("USD", "80.0000", 10)))
