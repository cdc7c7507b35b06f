"""A sheet beside the one before it, rule by rule; and thirty years of real ones."""

from __future__ import annotations

import importlib.util
from collections import Counter
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sheets import all_times, changed, plausible, times, without

from ratesvc.bank.admission import Decision, assess
from ratesvc.domain.rates import Quote, Sheet

FRIDAY, SATURDAY = date(2026, 4, 24), date(2026, 4, 25)
BEFORE, SHEET = plausible(FRIDAY), plausible(SATURDAY)
ACCEPT, CONFIRM, QUARANTINE = Decision.ACCEPT, Decision.CONFIRM, Decision.QUARANTINE


def of(sheet: Sheet, before: Sheet | None = BEFORE, held: Sheet | None = None) -> tuple[Decision, tuple[str, ...]]:
    assessment = assess(sheet, before, held)
    return assessment.decision, assessment.flags


def test_an_ordinary_day_passes_without_a_word() -> None:
    """So does the first sheet of all, and one that is held already."""
    assert of(SHEET) == of(SHEET, None) == of(SHEET, BEFORE, SHEET) == (ACCEPT, ())


@given(st.decimals(Decimal("0.8501"), Decimal("1.1499"), places=4))
def test_no_common_move_up_to_15_percent_asks(factor: Decimal) -> None:
    """Whatever the market does within that, nobody waits for a second poll."""
    assert of(all_times(BEFORE, str(factor)))[0] is ACCEPT


@given(st.decimals(Decimal("0.01"), Decimal(90), places=2))
def test_no_common_move_is_refused_for_its_size_alone(factor: Decimal) -> None:
    """Beyond 15 % it is to be confirmed, unless it is a slipped decimal point."""
    found = of(all_times(BEFORE, str(factor)))[0]

    def is_near(power: str) -> bool:
        return abs(factor / Decimal(power) - 1) <= Decimal("0.1501")

    if any(map(is_near, ("0.01", "0.1", "10", "100"))):
        assert found in {QUARANTINE, CONFIRM}
    elif is_near("1"):
        assert found in {ACCEPT, CONFIRM}
    else:
        assert found is CONFIRM


@pytest.mark.parametrize("power", ["1e-3", "0.01", "0.1", "10", "100", "1000", "10000"])
def test_a_slipped_decimal_point_is_quarantined(power: str) -> None:
    """Also when the rate moved a little besides."""
    for little in ("1", "1.04", "0.93"):
        factor = str(Decimal(power) * Decimal(little))
        assert of(changed(BEFORE, PLN=times(factor)))[0] is QUARANTINE


def test_a_move_is_told_in_per_cent_rounded_once() -> None:
    """20.1499999999 % is 20.1 %, though its ratio to ten digits is 1.201500000 and would give 20.2 %."""
    before, now = (changed(one, PLN=Decimal(value)) for one, value in ((BEFORE, "1e8"), (SHEET, "120149999.9999")))
    assert "PLN alone moved by +20.1 %" in [finding.text for finding in assess(now, before).findings]


def test_a_currency_that_moves_with_all_is_not_alone() -> None:
    """On a day of −14 %, one of −17 % is the market's; one that stands still is not asked about either."""
    crash = changed(all_times(BEFORE, "0.86"), TRY=times("0.966"))
    assert of(crash)[0] is ACCEPT
    assert of(changed(BEFORE, TRY=times("1.22"))) == (CONFIRM, ("large_move",))


def test_the_redenomination_of_1998_is_no_move() -> None:
    """From 1 January 1998 a thousand old roubles are one new; ten times that is still a slip."""
    plain = [Quote(code, "000", code, 1, Decimal(value), code) for code, value in (("USD", "5960"), ("JPY", "46"))]
    old = Sheet(date(1997, 12, 31), tuple(plain))
    new = Sheet(date(1998, 1, 1), tuple(replace(quote, value=quote.value.scaleb(-3)) for quote in plain))
    assert of(new, old)[0] is ACCEPT
    assert of(replace(old, effective_date=date(1998, 1, 1)), old)[0] is QUARANTINE


def test_rows_may_go_two_at_a_time() -> None:
    """Or a tenth of them: three of thirty. More at once is a cut table."""
    codes = ("PLN", "RON", "CZK", "MDL")
    assert [of(without(SHEET, *codes[:count]))[0] for count in range(1, 5)] == [ACCEPT, ACCEPT, ACCEPT, QUARANTINE]


def test_equal_rates_are_asked_about_once() -> None:
    """The Swiss franc met the dollar on six real days; where both were equal before, nobody asks again."""
    twins = changed(SHEET, CHF=SHEET.by_code["USD"].unit_rate)
    assert "equal_rates" in of(twins, changed(BEFORE, CHF=SHEET.by_code["USD"].unit_rate))[1]
    assert "equal_rates" not in of(twins, changed(BEFORE, CHF=BEFORE.by_code["USD"].unit_rate))[1]


@pytest.mark.parametrize("code", ["AED", "SAR", "QAR", "BHD", "HKD", "DKK"])
def test_pegs_hold(code: str) -> None:
    """A pegged currency that costs 5 % more is asked about, also in the very first sheet."""
    assert of(SHEET, None) == (ACCEPT, ())
    assert of(changed(SHEET, **{code: times("1.05")}), None) == (CONFIRM, ("off_peg",))


@pytest.mark.parametrize("factor", ["10", "1.3"])
@pytest.mark.parametrize("code", ["USD", "AED", "JPY"])
def test_whose_figure_is_wrong_is_told(code: str, factor: str) -> None:
    """Not those that are tied to it, or that now cost the same; only where none of a pair moved both are."""
    assert assess(changed(SHEET, **{code: times(factor)}), BEFORE).suspects == {code}
    copied = changed(SHEET, CNY=SHEET.by_code["USD"].unit_rate)
    assert assess(copied, BEFORE).suspects == {"CNY"}
    assert assess(changed(SHEET, HKD=times("1.05")), BEFORE).suspects == {"USD", "HKD"}
    assert assess(SHEET, BEFORE).suspects == set()


def test_a_correction_is_confirmed_and_frozen_figures_are_flagged() -> None:
    """Other figures for the same date; the same figures for another date."""
    assert of(changed(SHEET, PLN=times("1.001")), BEFORE, SHEET) == (CONFIRM, ("corrected",))
    assert of(changed(SHEET, PLN=times("10")), None, SHEET)[0] is QUARANTINE
    assert of(replace(BEFORE, effective_date=SATURDAY)) == (ACCEPT, ("frozen",))
    renamed = tuple(replace(quote, name=f"{quote.name} (others)") for quote in reversed(BEFORE.quotes))
    assert of(Sheet(SATURDAY, renamed)) == (ACCEPT, ("frozen",))


def replay() -> ModuleType:
    spec = importlib.util.spec_from_file_location("guards_bench", Path(__file__).parents[2] / "bench" / "guards.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_thirty_years_of_real_sheets(recordings: Path) -> None:
    """The figures that docs/admission.md states; and no real crisis is refused."""
    found = {sheet.effective_date: assessment for sheet, assessment in replay().assessments(recordings / "history")}
    counts = Counter(assessment.decision for assessment in found.values())
    assert (len(found), counts[CONFIRM], counts[QUARANTINE]) == (6973, 96, 9)
    # Since 1997 only days on which the recording keeps one code where the Bank's document changed it, or its table.
    quarantined = [
        str(day) for day, assessment in found.items() if assessment.decision is QUARANTINE and day.year >= 1997
    ]
    assert quarantined == ["2005-01-01", "2010-01-01", "2016-07-01"]
    assert found[date(1998, 1, 1)].decision is ACCEPT
    assert {found[date(1998, 9, day)].decision for day in (5, 10, 15, 17)} == {CONFIRM}
    assert found[date(1994, 10, 12)].decision is CONFIRM
    assert found[date(2017, 9, 6)].flags == ("large_move",)
    for year in (2014, 2022):
        common = [r for day, v in found.items() if day.year == year for r in v.findings if r.text.startswith("all")]
        assert common == []
