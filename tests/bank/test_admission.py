"""Admission: what one sheet must have, which findings the rules beside an earlier sheet make, and what is decided."""

from __future__ import annotations

import runpy
from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sheets import changed, plausible, times, without

from ratesvc.bank.admission import (
    Admitted,
    Assessment,
    Decision,
    Finding,
    Quarantined,
    Recent,
    Unconfirmed,
    admit,
    assess,
    check_sheet,
    suspect_days,
)
from ratesvc.config import Calendar
from ratesvc.domain.columns import Column, Coverage, with_revision
from ratesvc.domain.history import History
from ratesvc.domain.rates import Quote, Revision, Sheet
from ratesvc.domain.workdays import ONE_DAY, WorkCalendar
from ratesvc.errors import BadDocument

ACCEPT, CONFIRM, QUARANTINE = Decision.ACCEPT, Decision.CONFIRM, Decision.QUARANTINE
CALENDAR = WorkCalendar(Calendar().extra_off)
FETCHED = datetime(2026, 4, 24, 12, tzinfo=UTC)
WEDNESDAY, THURSDAY, FRIDAY, SATURDAY, SUNDAY = DAYS = tuple(date(2026, 4, day) for day in range(22, 27))
BEFORE, SHEET = plausible(FRIDAY), plausible(SATURDAY)
RECENT = Recent([BEFORE])
ODD = changed(SHEET, PLN=times("1.3"))
SLIPPED = changed(SHEET, PLN=times("10"))
WRONG = changed(plausible(THURSDAY), PLN=times("10"))
RIGHT = tuple(map(plausible, DAYS[:4]))


# What one sheet must have


def refused(sheet: Sheet) -> str:
    """The reason for which a well-formed sheet is refused on the 25th."""
    with pytest.raises(BadDocument) as caught:
        check_sheet(sheet, SATURDAY)
    return caught.value.reason


def test_b16_a_sheet_is_of_a_day_from_1_july_1992_to_tomorrow() -> None:
    """The Bank sets a rate on the day before, and its rates begin then: a year 0026 is two digits gone wrong."""
    for day in (date(1992, 7, 1), SATURDAY - timedelta(days=400), SATURDAY, SUNDAY):
        check_sheet(replace(SHEET, effective_date=day), SATURDAY)
    for day in (date(1, 1, 1), date(26, 4, 25), date(1992, 6, 30), SUNDAY + ONE_DAY, SUNDAY + timedelta(days=365)):
        assert refused(replace(SHEET, effective_date=day)) == "date"


def test_b5_the_euro_begins_in_1999() -> None:
    """A sheet of 31 December 1998 cannot have it, that of 1 January 1999 must."""
    last, first = (replace(without(SHEET, "EUR"), effective_date=day) for day in (date(1998, 12, 31), date(1999, 1, 1)))
    check_sheet(last, SATURDAY)
    assert refused(first) == refused(without(last, "USD")) == "core"


@pytest.mark.parametrize("name", ["code", "numeric_code", "cbr_id"])
def test_b7_no_two_rows_share_a_code_or_an_id(name: str) -> None:
    """If two rows claim to be the dollar, neither is believed."""
    twin = replace(SHEET.by_code["KZT"], **{name: getattr(SHEET.by_code["USD"], name)})
    assert refused(replace(SHEET, quotes=(*without(SHEET, "KZT").quotes, twin))) == "duplicate"


OTHERS = [code for code in SHEET.by_code if code not in {"USD", "EUR"}]


@example({*OTHERS[:-8]})
@example({*OTHERS[:-7]})
@given(st.sets(st.sampled_from([*OTHERS, "USD", "EUR"])))
def test_b5_dollar_and_euro_are_always_there(lost: set[str]) -> None:
    """Other currencies come and go while ten rows are left."""
    left = without(SHEET, *lost)
    if len(left.quotes) < 10:
        assert refused(left) == "rows"
    elif lost & {"USD", "EUR"}:
        assert refused(left) == "core"
    else:
        check_sheet(left, SATURDAY)


# Beside an earlier sheet


def sheet(day: date, **unit_rates: str | Decimal) -> Sheet:
    """Currencies at these prices of one unit."""
    return Sheet(day, tuple(Quote(code, code, code, 1, Decimal(rate), code) for code, rate in unit_rates.items()))


def table(count: int, first: int = 0) -> dict[str, str]:
    """So many unknown currencies. No two of them cost the same, and none is a power of ten of another."""
    return {f"X{chr(65 + n // 26)}{chr(65 + n % 26)}": f"{101 + n}.0000" for n in range(first, first + count)}


def moved(*factors: str, before: date = FRIDAY, day: date = SATURDAY) -> Assessment:
    """The assessment when the currencies of a table move by these factors."""
    old = table(len(factors))
    new = {code: Decimal(rate) * Decimal(factor) for (code, rate), factor in zip(old.items(), factors, strict=True)}
    return assess(sheet(day, **new), Recent([sheet(before, **old)]))


def said(assessment: Assessment) -> list[tuple[str, Decision, tuple[str, ...]]]:
    return [(finding.kind, finding.decision, finding.codes) for finding in assessment.findings]


@pytest.mark.parametrize(("count", "allowed"), [(5, 2), (29, 2), (30, 3), (39, 3), (40, 4), (60, 6)])
def test_two_rows_or_a_tenth_of_them_may_go(count: int, allowed: int) -> None:
    """A tenth of the earlier rows, rounded down. New rows do not make up for lost ones."""
    old, more = table(count), table(20, first=count)
    for lost, findings in ((allowed, []), (allowed + 1, [("shrunk", QUARANTINE, ())])):
        left = dict(list(old.items())[lost:])
        assert said(assess(sheet(SATURDAY, **left, **more), Recent([sheet(FRIDAY, **old)]))) == findings


@pytest.mark.parametrize(("lost", "dots"), [(12, ""), (13, " …"), (20, " …")])
def test_a_cut_table_names_twelve_of_the_lost(lost: int, dots: str) -> None:
    """In order, with dots where there are more."""
    old = table(30)
    [finding] = assess(sheet(SATURDAY, **dict(list(old.items())[lost:])), Recent([sheet(FRIDAY, **old)])).findings
    assert finding.text == f"{lost} of 30 currencies are gone: {', '.join(sorted(old)[:12])}{dots}"


@pytest.mark.parametrize(
    ("factor", "kinds"),
    [("1.15", []), ("1.1501", ["large_move"]), ("0.85", []), ("0.8499", ["large_move"]), ("1", ["frozen"])],
)
def test_a_common_move_of_15_percent_is_the_last_that_passes(factor: str, kinds: list[str]) -> None:
    """Up and down. A larger move is one finding about all currencies."""
    assessment = moved(*[factor] * 5)
    assert [finding.kind for finding in assessment.findings] == kinds
    assert [finding.codes for finding in assessment.findings] == [()] * len(kinds)


@pytest.mark.parametrize(
    ("inside", "outside", "market"),
    [
        *(("1.15", "1.1501", "1"), ("0.85", "0.8499", "1"), ("0.765", "0.7649", "0.9"), ("1.265", "1.2651", "1.1")),
        *(("1", "1.16", "0.95"), ("1", "1.3", "1.1")),
    ],
)
def test_a_currency_far_from_its_last_rate_and_from_the_market_is_a_finding(
    inside: str, outside: str, market: str
) -> None:
    """15 % from the median, up and down, and 15 % from its own last rate."""
    assert said(moved(inside, *[market] * 6)) == []
    assert said(moved(outside, *[market] * 6)) == [("large_move", CONFIRM, ("XAA",))]


@pytest.mark.parametrize(
    ("factors", "codes"),
    [
        (("1.2", "1.2", "1.2", "1", "1", "1", "1.01"), ("XAA", "XAB", "XAC")),
        (("1.2", "1.2", "1.2", "1.2", "1", "1", "1"), ()),
        (("1", "1.2", "1", "1.2"), ()),
        (("1", "0.8", "1", "0.8"), ("XAB", "XAD")),
        (("5", "4", "1.01", "0.3", "0.25"), ("XAA", "XAB", "XAD", "XAE")),
    ],
    ids=["most stand still", "most rise", "half rise", "half fall", "some soar and crash"],
)
def test_the_market_is_the_upper_median(factors: tuple[str, ...], codes: tuple[str, ...]) -> None:
    """Currencies far from it are one finding; if it moved itself, all currencies are."""
    assert said(moved(*factors)) == [("large_move", CONFIRM, codes)]


def test_a_large_move_is_described_in_per_cent() -> None:
    """Of all currencies, or of those that moved alone."""
    [common], [alone] = moved(*["1.2"] * 4).findings, moved("1.2", "0.8", *["1"] * 4).findings
    assert common.text == "all currencies moved by +20.0 %"
    assert alone.text == "XAA alone moved by +20.0 %; XAB alone moved by -20.0 %"


def test_at_most_eight_are_described() -> None:
    """All of them are named as suspects."""
    alone = moved(*["1.3"] * 9, *["1"] * 10)
    assert (alone.findings[0].text.count(";"), len(alone.suspects)) == (7, 9)
    slipped = moved(*["10"] * 9, *["1"] * 10)
    assert (slipped.reason, len(slipped.suspects)) == ("power_of_ten", 9)
    assert slipped.findings[0].text.count(";") == 7


@pytest.mark.parametrize(
    ("factor", "zeros"),
    [
        *(("8.5", 1), ("8.4999", 0), ("11.5", 1), ("11.5001", 0), ("85", 2), ("115", 2), ("84.99", 0), ("115.01", 0)),
        *(("0.085", -1), ("0.08499", 0), ("0.115", -1), ("0.11501", 0), ("0.0085", -2), ("0.0115", -2), ("950", 3)),
        *(("1.149", 0), ("0.851", 0), ("3", 0), ("0.3", 0), ("1000000", 6), ("0.000001", -6)),
    ],
)
def test_a_move_by_a_power_of_ten_is_one_within_15_percent(factor: str, zeros: int) -> None:
    """Tenfold and a tenth, a hundredfold and a hundredth: the finding names the power."""
    assessment = moved(factor, *["1"] * 6)
    slips = [finding for finding in assessment.findings if finding.kind == "power_of_ten"]
    assert [(one.decision, one.codes, one.text) for one in slips] == (
        [(QUARANTINE, ("XAA",), f"XAA ×10^{zeros}")] if zeros else []
    )
    assert assessment.decision is (QUARANTINE if zeros else ACCEPT if factor in {"1.149", "0.851"} else CONFIRM)


@pytest.mark.parametrize(
    ("before", "day", "factor", "passes"),
    [
        (date(1997, 12, 31), date(1998, 1, 1), "0.001", True),
        (date(1997, 12, 31), date(1998, 1, 6), "0.001", True),
        (date(1997, 12, 31), date(1998, 1, 1), "1", False),
        (date(1997, 12, 31), date(1998, 1, 1), "0.002", False),
        (date(1997, 12, 30), date(1997, 12, 31), "0.001", False),
        (date(1997, 12, 30), date(1997, 12, 31), "1.01", True),
        (date(1998, 1, 1), date(1998, 1, 6), "0.001", False),
        (date(1998, 1, 1), date(1998, 1, 6), "1.01", True),
    ],
)
def test_a_thousand_old_roubles_are_one_new(before: date, day: date, factor: str, passes: bool) -> None:
    """From the sheet of 1 January 1998 on, and only beside one before it."""
    assert (moved(*[factor] * 3, before=before, day=day).decision is ACCEPT) is passes


OLD = sheet(FRIDAY, USD="80.0000", CHF="95.0000", GBP="101.0000")
NOTHING, YESTERDAY = Recent(), Recent([OLD])


@pytest.mark.parametrize(
    ("before", "pairs"),
    [
        (OLD, [("USD", "CHF")]),
        (sheet(FRIDAY, USD="85.0000", GBP="101.0000"), [("USD", "CHF")]),
        (sheet(FRIDAY, CHF="85.0000", GBP="101.0000"), [("USD", "CHF")]),
        (sheet(FRIDAY, GBP="101.0000"), [("USD", "CHF")]),
        (sheet(FRIDAY, USD="85.0000", CHF="85.0000", GBP="101.0000"), []),
    ],
    ids=["both were there", "the franc is new", "the dollar is new", "both are new", "they were equal"],
)
def test_two_currencies_that_suddenly_cost_the_same_are_a_finding(before: Sheet, pairs: list[tuple[str, ...]]) -> None:
    """Also if one is new: its row may be a copy of the other's. If they were equal before, there is no finding."""
    assessment = assess(sheet(SATURDAY, USD="88.0000", CHF="88.0000", GBP="102.0000"), Recent([before]))
    equal = [finding for finding in assessment.findings if finding.kind == "equal_rates"]
    assert [(one.decision, one.codes) for one in equal] == [(CONFIRM, pair) for pair in pairs]


def test_three_currencies_that_cost_the_same_are_two_findings() -> None:
    """Prices of one unit are compared, whatever the nominal."""
    now = sheet(SATURDAY, USD="88.0000", CHF="88.0000", GBP="102.0000", CAD="88.0000")
    tenfold = Quote("XXX", "XXX", "XXX", 100, Decimal("8800.0000"), "XXX")
    assessment = assess(Sheet(SATURDAY, (*now.quotes, tenfold)), Recent([OLD]))
    assert [one.codes for one in assessment.findings if one.kind == "equal_rates"] == [
        ("USD", "CHF"),
        ("USD", "CAD"),
        ("USD", "XXX"),
    ]


ZLOTY, KORUNA = ({"cbr_id": BEFORE.by_code[code].cbr_id} for code in ("CZK", "PLN"))
NAMES: list[tuple[dict[str, dict[str, Any]], tuple[str, ...]]] = [
    ({}, ()),
    ({"PLN": ZLOTY, "CZK": KORUNA}, ("PLN", "CZK")),
    ({"PLN": {"code": "PLZ"}}, ("PLZ",)),
    ({"PLN": {"cbr_id": "R01566"}}, ("PLN",)),
    ({"PLN": {"numeric_code": "616"}}, ("PLN",)),
    ({"PLN": {"code": "PLZ", "cbr_id": "R01566", "numeric_code": "616"}}, ()),  # as TRL and BYR became TRY and BYN
]


@pytest.mark.parametrize(("names", "codes"), NAMES)
def test_ids_and_codes_belong_together(names: dict[str, dict[str, Any]], codes: tuple[str, ...]) -> None:
    """An id with another code, a code with another id or number; also if the last sheet lacks it, within a month."""
    now = replace(SHEET, quotes=tuple(replace(quote, **names.get(quote.code, {})) for quote in SHEET.quotes))
    for recent in (RECENT, Recent([plausible(THURSDAY), without(BEFORE, "PLN", "CZK")])):
        found = [finding for finding in assess(now, recent).findings if finding.kind == "renamed"]
        assert [(one.decision, one.codes) for one in found] == [(CONFIRM, codes)] * bool(codes)
    later = replace(now, effective_date=FRIDAY + timedelta(days=32))
    assert said(assess(later, RECENT)) == []


def test_what_was_renamed_is_told_with_the_old_and_the_new_names() -> None:
    """So that a person sees which currency it is."""
    now = replace(SHEET, quotes=tuple(replace(q, code="PLZ") if q.code == "PLN" else q for q in SHEET.quotes))
    assert str(assess(now, RECENT)) == "renamed: R01565 PLZ 985 was R01565 PLN 985"


PEGS = [
    ("USD", "AED", "3.6725", "0.005"),
    ("USD", "SAR", "3.75", "0.005"),
    ("USD", "QAR", "3.64", "0.005"),
    ("USD", "OMR", "0.3845", "0.005"),
    ("USD", "BHD", "0.376", "0.005"),
    ("USD", "HKD", "7.82", "0.01"),
    ("EUR", "DKK", "7.46", "0.04"),
]


@pytest.mark.parametrize(("base", "pegged", "usual", "distance"), PEGS)
@pytest.mark.parametrize("side", [1, -1])
def test_a_peg_holds_within_its_distance(base: str, pegged: str, usual: str, distance: str, side: int) -> None:
    """A thousandth of the distance inside is no finding, a thousandth outside is one about both currencies."""
    for part, findings in (("0.999", []), ("1.001", [("off_peg", CONFIRM, (base, pegged))])):
        rate = Decimal(usual) * (1 + side * Decimal(distance) * Decimal(part))
        assert said(assess(sheet(SATURDAY, **{base: rate * 20, pegged: Decimal(20)}), NOTHING)) == findings


def test_a_peg_needs_both_currencies() -> None:
    """The text says what one costs in the other."""
    assert said(assess(sheet(SATURDAY, USD="80.0000"), NOTHING)) == []
    assert said(assess(sheet(SATURDAY, AED="80.0000"), NOTHING)) == []
    [finding] = assess(sheet(SATURDAY, USD="82.0000", AED="20.0000"), NOTHING).findings
    assert finding.text == "USD costs 4.1 AED, usually 3.6725"


def test_a_correction_is_compared_with_the_day_before_it() -> None:
    """The held sheet may be the wrong one. Compared with it, the right one would look like a slip."""
    slipped = sheet(SATURDAY, USD="800.0000", CHF="95.0000", GBP="101.0000")
    right = sheet(SATURDAY, USD="80.5000", CHF="95.1000", GBP="101.1000")
    assert said(assess(right, YESTERDAY, slipped)) == [("corrected", CONFIRM, ())]
    assert [kind for kind, *_ in said(assess(slipped, NOTHING, right))] == ["power_of_ten", "corrected", "large_move"]


def finding(kind: str, decision: Decision, *codes: str) -> Finding:
    return Finding(kind, decision, "", codes)


def test_the_strictest_finding_decides_and_the_first_of_them_is_the_reason() -> None:
    """Flags name each kind once, in the order of the findings."""
    frozen, peg = finding("frozen", ACCEPT), finding("off_peg", CONFIRM, "USD", "AED")
    equal, shrunk = finding("equal_rates", CONFIRM, "CHF", "USD"), finding("shrunk", QUARANTINE)
    assert [(v.decision, v.reason) for v in (Assessment(), Assessment((frozen,)))] == [(ACCEPT, ""), (ACCEPT, "frozen")]
    both = Assessment((peg, equal, peg, frozen))
    assert (both.decision, both.reason, both.flags) == (CONFIRM, "off_peg", ("off_peg", "equal_rates", "frozen"))
    assert both.suspects == {"USD", "AED", "CHF"}
    all_three = Assessment((shrunk, peg, finding("large_move", CONFIRM, "AED"), frozen))
    assert (all_three.decision, all_three.reason) == (QUARANTINE, "shrunk")
    assert all_three.suspects == {"AED"}


def test_a_move_in_per_cent_is_rounded_once() -> None:
    """20.1499999999 % is 20.1 %, though its ratio to ten digits is 1.201500000 and would give 20.2 %."""
    before, now = (changed(one, PLN=Decimal(value)) for one, value in ((BEFORE, "1e8"), (SHEET, "120149999.9999")))
    assert "PLN alone moved by +20.1 %" in [finding.text for finding in assess(now, Recent([before])).findings]


def test_a_currency_is_compared_with_its_last_rate_of_a_month_whichever_sheet_had_it() -> None:
    """It was missing from one sheet, or from all since then. After more than a month nothing is compared."""
    missing = without(plausible(THURSDAY), "PLN")
    for between in ([missing], [missing, without(BEFORE, "PLN")]):
        assert assess(SLIPPED, Recent([plausible(WEDNESDAY), *between])).suspects == {"PLN"}
    for days, reason in ((31, "power_of_ten"), (32, "")):
        long_ago = replace(plausible(SATURDAY), effective_date=SATURDAY - timedelta(days=days))
        since = [without(replace(SHEET, effective_date=SATURDAY - timedelta(days=n)), "PLN") for n in (20, 9)]
        assert assess(SLIPPED, Recent([long_ago, *since])).reason == reason


def test_a_currency_is_lost_if_each_of_the_last_three_sheets_had_it() -> None:
    """A table that is set once a month is not, nor are rows that were gone before."""
    daily, monthly = table(30), table(20, first=30)
    days = [SATURDAY - timedelta(days=n) for n in (4, 3, 2, 1)]
    sheets = [sheet(day, **daily) for day in days]
    now = sheet(SATURDAY, **daily)
    for place in range(4):
        once = [sheet(day, **daily, **monthly) if n == place else sheets[n] for n, day in enumerate(days)]
        assert [kind for kind, *_ in said(assess(now, Recent(once)))] in ([], ["frozen"])
    always = [sheet(day, **daily, **monthly) for day in days]
    for before in (always, [sheets[0], *always[1:]]):
        assert said(assess(now, Recent(before)))[0][0] == "shrunk"
    assert "shrunk" not in assess(now, Recent([*always[:3], sheets[3]])).flags


@pytest.mark.parametrize("factor", ["10", "1.3"])
@pytest.mark.parametrize("code", ["USD", "AED", "JPY"])
def test_suspects_are_the_currencies_with_wrong_figures(code: str, factor: str) -> None:
    """Not those that are tied to them or now cost the same. If neither of a pair moved, both are suspects."""
    assert assess(changed(SHEET, **{code: times(factor)}), RECENT).suspects == {code}
    copied = changed(SHEET, CNY=SHEET.by_code["USD"].unit_rate)
    assert assess(copied, RECENT).suspects == {"CNY"}
    assert assess(changed(SHEET, HKD=times("1.05")), RECENT).suspects == {"USD", "HKD"}
    assert assess(SHEET, RECENT).suspects == set()


@pytest.mark.nightly
def test_thirty_years_of_real_sheets(recordings: Path) -> None:
    """The figures of docs/admission.md. No real crisis is refused."""
    replay = runpy.run_path(str(Path(__file__).parents[2] / "bench" / "admission.py"))
    found = {sheet.effective_date: one for sheet, one in replay["assessments"](recordings / "history")}
    counts = Counter(assessment.decision for assessment in found.values())
    assert (len(found), counts[CONFIRM], counts[QUARANTINE]) == (6973, 113, 9)
    # Since 1997 only days on which the recording keeps one code where the Bank's document changed it, or its table.
    quarantined = [
        str(day) for day, assessment in found.items() if assessment.decision is QUARANTINE and day.year >= 1997
    ]
    assert quarantined == ["2005-01-01", "2005-07-01", "2016-07-01"]
    # Nor does the table that was set once a month until 2009 look as if rows were lost on the next day.
    assert [day for day, one in found.items() if "shrunk" in one.flags and day.year >= 1997] == []
    assert found[date(1998, 1, 1)].decision is ACCEPT
    assert {found[date(1998, 9, day)].decision for day in (5, 10, 15, 17)} == {CONFIRM}
    assert found[date(1994, 10, 12)].decision is CONFIRM
    assert found[date(2017, 9, 6)].flags == ("large_move",)
    for year in (2014, 2022):
        common = [r for day, v in found.items() if day.year == year for r in v.findings if r.text.startswith("all")]
        assert common == []


# What is decided


def revision(sheet: Sheet, number: int = 1, *flags: str) -> Revision:
    return Revision(sheet, number, FETCHED, flags)


def columns(*sheets: Sheet) -> list[Column]:
    """As a backfill writes them."""
    made: dict[str, Column] = {}
    for sheet in sheets:
        made = with_revision(made, revision(sheet))
    return list(made.values())


def backfilled(*sheets: Sheet) -> History:
    """A history of series alone."""
    history = History(CALENDAR)
    history.fill(columns(*sheets), Coverage(sheets[0].effective_date, sheets[-1].effective_date))
    return history


def test_a_sheet_without_findings_is_admitted() -> None:
    """Also the first sheet of all, and one that is held. A finding that asks for nothing becomes a flag."""
    assert admit(SHEET, RECENT) == admit(SHEET, NOTHING) == admit(SHEET, RECENT, SHEET) == Admitted(SHEET)
    frozen = replace(BEFORE, effective_date=SATURDAY)
    assert admit(frozen, RECENT) == Admitted(frozen, ("frozen",))


@pytest.mark.parametrize("settled", [False, True])
def test_a_sheet_with_findings_needs_a_second_document_with_the_same_digits(settled: bool) -> None:
    """Names and the order of the rows may differ. With other digits, or without one, it waits for a person."""
    found = admit(ODD, RECENT, settled=settled)
    assert isinstance(found, Unconfirmed)
    assert (found.sheet, found.effective_date, found.assessment.flags) == (ODD, SATURDAY, ("large_move",))
    renamed = replace(ODD, quotes=tuple(replace(quote, name="in English") for quote in reversed(ODD.quotes)))
    assert found.compared_with(renamed) == Admitted(ODD, ("large_move",))
    for other in (changed(ODD, PLN=times("1.0001")), without(ODD, "CZK")):
        assert found.compared_with(other) == found.refused() == Quarantined(ODD, found.assessment)


def test_a_slipped_decimal_point_waits_for_a_person_unless_its_day_is_settled() -> None:
    """Money abroad is redenominated: on a settled day two documents are believed."""
    assert isinstance(admit(SLIPPED, RECENT), Quarantined)
    found = admit(SLIPPED, RECENT, settled=True)
    assert isinstance(found, Unconfirmed)
    assert isinstance(found.compared_with(SLIPPED), Admitted)
    assert isinstance(found.compared_with(SHEET), Quarantined)


def test_a_person_releases_anything() -> None:
    """The flags say that and why."""
    found = admit(SLIPPED, RECENT, released=True)
    assert isinstance(found, Admitted)
    assert found.flags[-1] == "released"
    assert "power_of_ten" in found.flags


# Composed sheets


def test_a_composed_sheet_is_compared_with_the_last_one_that_has_no_findings() -> None:
    """A wrong figure may last for days. A day without a sheet, or with a document, has no findings."""
    assert suspect_days(backfilled(*RIGHT)) == []
    assert suspect_days(backfilled(RIGHT[0], WRONG, BEFORE, SHEET)) == [THURSDAY]
    history = backfilled(RIGHT[0], WRONG, changed(BEFORE, PLN=times("10")), SHEET)
    assert suspect_days(history) == [THURSDAY, FRIDAY]
    history.add(revision(WRONG))
    assert suspect_days(history) == [SATURDAY]
