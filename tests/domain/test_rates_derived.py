"""What is derived from sheets: other tables, conversions, series in one rouble, the answers for today and tomorrow."""

from __future__ import annotations

import zlib
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, Inexact, InvalidOperation
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratesvc.domain import rates
from ratesvc.domain.rates import (
    FIRST_DAY,
    InForce,
    Quote,
    Revision,
    Sheet,
    Snapshot,
    convert,
    cross_rate,
    in_one_rouble,
    per_unit,
    plain,
    ratios,
    rounded,
    trimmed,
    unrounded,
)

THURSDAY, FRIDAY, SATURDAY = (date(2026, 4, day) for day in (23, 24, 25))
FETCHED = datetime(2026, 4, 23, 13, 20, 5, tzinfo=UTC)
QUOTES = tuple(
    Quote(code, code, code, nominal, Decimal(value), code)
    for code, nominal, value in (("USD", 1, "80.0000"), ("EUR", 1, "100.0000"), ("JPY", 100, "50.0000"))
)
SHEET = Sheet(FRIDAY, QUOTES)


def revision(day: date, number: int = 1) -> Revision:
    return Revision(replace(SHEET, effective_date=day), number, FETCHED)


def test_official_rates_begin_with_july_1992() -> None:
    """The Bank's own first effective date."""
    assert date(1992, 7, 1) == FIRST_DAY


def test_a_lost_digit_is_an_error() -> None:
    """Sums of printed numbers are exact; what is not would be rounded in silence."""
    with pytest.raises(Inexact):
        rates.EXACT.divide(Decimal(1), Decimal(3))
    with pytest.raises(InvalidOperation):
        rates.EXACT.divide(Decimal(0), Decimal(0))
    assert rates.EXACT.divide(Decimal("80.0000"), Decimal(10**8)) == Decimal("0.0000008")
    assert rates.EXACT.plus(Decimal("1" * 200)) == int("1" * 200)
    with pytest.raises(Inexact):
        rates.EXACT.plus(Decimal("1" * 201))


def test_trimmed_numbers_have_no_exponent_above_zero() -> None:
    """Whole ones are written out, multiples of ten too."""
    shown = {"1E+1": "10", "1.1E+2": "110", "1E+30": "1" + "0" * 30, "100.0000": "100", "26.7960": "26.796", "7": "7"}
    assert {number: str(trimmed(Decimal(number))) for number in shown} == shown


def test_a_thousand_old_roubles_are_one() -> None:
    """By decree, from 1 January 1998 on."""
    assert (rates.OLD_IN_NEW, date(1998, 1, 1)) == (1000, rates.REDENOMINATION)


@pytest.mark.parametrize(("number", "shown"), [("-0.0004", "0.000"), ("0.0004", "0.000"), ("-0.0006", "-0.001")])
def test_nothing_has_no_sign(number: str, shown: str) -> None:
    """What is rounded away is 0, not -0; written out, neither is a zero that came with one."""
    assert str(rounded(Decimal(number), places=3)) == shown
    assert (plain(Decimal("-0.000")), str(trimmed(Decimal("-0.000")))) == ("0.000", "0")


def test_a_tie_in_ten_digits_goes_to_the_even_one() -> None:
    """As everywhere else, and in as many significant digits as are asked for."""
    assert [rounded(Decimal(number)) for number in ("1000000000.5", "1000000001.5")] == [1000000000, 1000000002]
    assert [rounded(Decimal(number), significant=2) for number in ("1.25", "1.35")] == [Decimal("1.2"), Decimal("1.4")]


@given(st.lists(st.tuples(st.integers(1, 10**15), st.integers(1, 10**15)), max_size=9))
def test_many_ratios_are_each_rounded_as_one_would_be(pairs: list[tuple[int, int]]) -> None:
    """The quick way for a long series gives the same ten digits."""
    found = list(ratios((one for one, _ in pairs), (other for _, other in pairs)))
    assert found == [rounded(Decimal(one), Decimal(other)) for one, other in pairs]
    assert all(str(number) == str(number.normalize()) for number in found)
    assert list(ratios([2, 10**7], [3, 1], 5)) == [Decimal("0.66667"), Decimal(10**7)]


def test_what_a_currency_costs_in_every_other() -> None:
    """From what one unit of each costs in roubles; the rouble is one of them, the base itself is not."""
    assert SHEET.costs == {"RUB": 1, "USD": 80, "EUR": 100, "JPY": Decimal("0.5")}
    assert per_unit(SHEET, "USD") == {"RUB": 80, "EUR": Decimal("0.8"), "JPY": 160}
    assert per_unit(SHEET, "RUB") == {"USD": Decimal("0.0125"), "EUR": Decimal("0.01"), "JPY": 2}
    assert cross_rate(Decimal(80), Decimal(100)) == Decimal("0.8")
    assert str(cross_rate(Decimal("80.0000"), Decimal(1))) == "80.0000"
    with pytest.raises(KeyError):
        per_unit(SHEET, "XXX")


def test_a_conversion_names_its_rate() -> None:
    """Ten digits of the rate, twenty-eight of the result, and as many places as the currency has coins."""
    found = convert(SHEET, Decimal(100), "USD", "EUR", 2)
    assert (found.unit_rate, found.result, str(found.rounded)) == (Decimal("0.8"), Decimal(80), "80.00")
    third = convert(Sheet(FRIDAY, (replace(QUOTES[0], value=Decimal("3.0000")),)), Decimal(1), "RUB", "USD", 3)
    assert (str(third.unit_rate), str(third.result)) == ("0.3333333333", "0." + "3" * 28)
    assert str(third.rounded) == "0.333"
    assert Fraction(third.result) != Fraction(third.unit_rate)


OLD = [(date(1997, 12, 30), Decimal(5950)), (date(1997, 12, 31), Decimal(5960))]
NEW = [(date(1998, 1, 1), Decimal("5.96")), (date(1998, 1, 6), Decimal("5.97"))]


@pytest.mark.parametrize(
    ("points", "kept"),
    [([], []), (OLD, OLD), (NEW, NEW), (OLD + NEW, NEW), (OLD + NEW[:1], NEW[:1]), (OLD[:1], OLD[:1])],
    ids=["none", "old", "new", "both", "up to new year", "one"],
)
def test_a_series_is_of_one_rouble(points: list[tuple[date, Decimal]], kept: list[tuple[date, Decimal]]) -> None:
    """The last one's: from the sheet of 1 January 1998 on, old ones are left out."""
    assert list(in_one_rouble(points)) == kept


def test_a_revision_is_known_by_date_and_number() -> None:
    """And it gives back the Bank's own bytes, or none where its figures were backfilled."""
    held = revision(FRIDAY, 2)
    assert (held.effective_date, held.key, held.raw) == (FRIDAY, (FRIDAY, 2), b"")
    assert replace(held, document=zlib.compress(b"<ValCurs/>")).raw == b"<ValCurs/>"


def test_whether_a_revision_was_admitted_is_not_part_of_what_it_says() -> None:
    """It is, unless an older version stored it; either way two that say the same are equal."""
    held = revision(FRIDAY)
    assert held.admitted
    assert replace(held, admitted=False) == held


NEXT_AT = datetime(2026, 4, 24, 15, tzinfo=UTC)
SEEN = Snapshot(FRIDAY, revision(FRIDAY), revision(THURSDAY), revision(SATURDAY), NEXT_AT, False, 0, False)  # noqa: FBT003


def test_todays_answer_is_what_the_snapshot_says() -> None:
    """With its neighbours, and what is to be expected."""
    assert SEEN.for_today() == InForce(
        FRIDAY, revision(FRIDAY), revision(THURSDAY), revision(SATURDAY), NEXT_AT, next_overdue=False, stale=False
    )
    late = replace(SEEN, announced=None, publications_missed=1, stale=True)
    assert late.for_today() == InForce(
        FRIDAY, revision(FRIDAY), revision(THURSDAY), None, NEXT_AT, next_overdue=True, stale=True
    )


@pytest.mark.parametrize(("missed", "overdue"), [(0, False), (1, True), (7, True)])
def test_one_missed_publication_is_enough(missed: int, *, overdue: bool) -> None:
    """To be called overdue."""
    assert replace(SEEN, publications_missed=missed).next_overdue is overdue


def test_tomorrows_answer_is_the_announced_sheet() -> None:
    """Beside today's; where today's own is missing, the sheet before it is not known. None while none is announced."""
    following = SEEN.for_next()
    assert following == InForce(SATURDAY, revision(SATURDAY), revision(FRIDAY), None, NEXT_AT)
    assert following
    assert (following.stale, following.next_overdue) == (False, False)
    overdue = replace(SEEN, stale=True, publications_missed=1).for_next()
    assert overdue
    assert (overdue.previous, overdue.next_overdue) == (None, True)
    assert replace(SEEN, announced=None).for_next() is None


@given(st.integers(1, 10**13 - 1), st.integers(1, 10**13 - 1), st.integers(0, 8), st.integers(0, 8))
def test_a_cross_rate_is_rounded_once(one: int, other: int, up: int, down: int) -> None:
    """The same digits as the quotient of the two exact unit rates."""
    pair = [
        Quote(code, code, code, 10**power, Decimal(value).scaleb(-4), code)
        for code, value, power in (("USD", one, up), ("EUR", other, down))
    ]
    exact = Fraction(pair[0].value) / pair[0].nominal / (Fraction(pair[1].value) / pair[1].nominal)
    found = per_unit(Sheet(FRIDAY, tuple(pair)), "USD")["EUR"]
    assert abs(Fraction(found) - exact) <= exact / 10**9 / 2


def test_a_day_later_is_another_sheet() -> None:
    """The effective date is no figure: says_the_same_as compares what is printed."""
    assert SHEET.says_the_same_as(replace(SHEET, effective_date=FRIDAY + timedelta(days=1)))
    assert replace(SHEET, effective_date=SATURDAY) != SHEET


def test_a_quotient_has_eighty_digits() -> None:
    """Enough to compare by, and to round once from: a last 5 with more behind it is no tie any more."""
    assert str(unrounded(Decimal(1), Decimal(3))) == "0." + "3" * 80
    assert str(unrounded(Decimal(5), Decimal(9))) == "0." + "5" * 79 + "6"
    assert unrounded(Decimal(3), Decimal(2)) == Decimal("1.5")
    assert str(unrounded(Decimal(2), Decimal(3))) == "0." + "6" * 80


def test_sheets_that_say_the_same_have_one_checksum() -> None:
    """Whatever the names and the order; another figure, or another day, has another one."""
    renamed = Sheet(FRIDAY, tuple(replace(quote, name="in English") for quote in reversed(QUOTES)))
    assert SHEET.checksum == renamed.checksum
    others = [
        replace(SHEET, effective_date=SATURDAY),
        Sheet(FRIDAY, QUOTES[:2]),
        *(
            Sheet(FRIDAY, (replace(QUOTES[0], **changed), *QUOTES[1:]))
            for changed in (
                {"value": Decimal("80.0001")},
                {"nominal": 10},
                {"code": "USX"},
                {"numeric_code": "841"},
                {"cbr_id": "R1"},
            )
        ),
    ]
    assert len({SHEET.checksum, *(other.checksum for other in others)}) == 1 + len(others)
    assert Sheet(FRIDAY, (replace(QUOTES[0], value=Decimal(80)), *QUOTES[1:])).checksum == SHEET.checksum
