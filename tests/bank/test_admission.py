"""Admission: what one sheet must have, which findings the rules beside an earlier sheet make, and what is decided."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from kit import cases
from kit.recorded import unit_rates
from kit.sheets import changed, plausible, times, without

from ratesvc.bank.admission import PEGS, Decision, Recent, assess, check_sheet
from ratesvc.domain.columns import Column, with_revision
from ratesvc.domain.history import History
from ratesvc.domain.rates import Quote, Revision, Sheet
from ratesvc.domain.settled import Settled
from ratesvc.domain.workdays import ONE_DAY, WorkCalendar
from ratesvc.errors import BadDocument

ACCEPT, CONFIRM, QUARANTINE = Decision.ACCEPT, Decision.CONFIRM, Decision.QUARANTINE
CALENDAR = WorkCalendar()
FETCHED = datetime(2026, 4, 24, 12, tzinfo=UTC)
WEDNESDAY, THURSDAY, FRIDAY, SATURDAY, SUNDAY = DAYS = tuple(date(2026, 4, day) for day in range(22, 27))
BEFORE, SHEET = plausible(FRIDAY), plausible(SATURDAY)
NOTHING, RECENT = Recent(), Recent([BEFORE])
SLIPPED = changed(SHEET, PLN=times("10"))
WRONG = changed(plausible(THURSDAY), PLN=times("10"))


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


@pytest.mark.parametrize("name", ["code", "numeric_code"])
def test_b7_no_two_rows_share_a_code(name: str) -> None:
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


def sheet(text: str, day: date, before: Sheet | None) -> Sheet:
    """What a question says: `table N`, factors for the sheet before, or rows `CODE[=ID[=NUMBER]] VALUE[/NOMINAL]`."""
    if match := re.match(r"(....-..-..) (.+)", text):
        day, text = date.fromisoformat(match[1]), match[2]
    if match := re.fullmatch(r"table ([0-9]+)(?:, ([0-9]+) new)?", text):
        places = [*range(int(match[1])), *range(100, 100 + int(match[2] or 0))]
        return Sheet(day, tuple(row(f"X{chr(65 + n // 26)}{chr(65 + n % 26)}", f"{1001 + n}") for n in places))
    if text.startswith("×"):
        assert before
        factors = [Decimal(factor) for factor in text.removeprefix("×").split(" ×")]
        factors += [Decimal(1)] * (len(before.quotes) - len(factors))
        pairs = zip(before.quotes, factors, strict=True)
        return Sheet(day, tuple(replace(quote, value=quote.value * factor) for quote, factor in pairs))
    words = text.split()
    return Sheet(day, tuple(map(row, words[::2], words[1::2])))


def row(names: str, price: str) -> Quote:
    code, cbr_id, number, *_ = [*names.split("="), "", ""]
    value, _, nominal = price.partition("/")
    return Quote(code, number or code, cbr_id or code, int(nominal or 1), Decimal(value), code)


def assessed(question: str) -> str:
    """The decision about the last sheet, the suspects, and all findings. Other sheets are of the days before."""
    *texts, last = question.split(" → ")
    last, _, withdrawn = last.partition(", withdrawn ")
    last, _, held = last.partition(", held ")
    sheets: list[Sheet] = []
    for place, text in enumerate([*texts, last]):
        sheets.append(sheet(text, SATURDAY - (len(texts) - place) * ONE_DAY, sheets[-1] if sheets else None))
    current = sheet(held, SATURDAY, None) if held else None
    gone = [sheet(withdrawn, SATURDAY, None)] if withdrawn else []
    found = assess(sheets[-1], Recent(sheets[:-1]), current, gone)
    head = " ".join([found.decision, *sorted(found.suspects)])
    assert len({*found.flags}) == len(found.flags)
    return "\n".join([head, *(f"{finding.kind}: {finding.text}" for finding in found.findings)])


def test_each_sheet_is_assessed_by_the_same_rules() -> None:
    """Which findings it has beside earlier sheets, which currencies are suspects, and what follows."""
    cases.check("admission.txt", {question: assessed(question) for question in cases.questions("admission.txt")})


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize(("base", "pegged"), PEGS)
def test_a_peg_holds_within_its_distance(base: str, pegged: str, side: int) -> None:
    """A thousandth of the distance inside is no finding, a thousandth outside is one about both currencies."""
    usual, distance = PEGS[base, pegged]
    for part, findings in (("0.999", []), ("1.001", [("off_peg", CONFIRM, (base, pegged))])):
        rate = usual * (1 + side * distance * Decimal(part))
        found = assess(Sheet(SATURDAY, (row(base, str(rate * 20)), row(pegged, "20"))), NOTHING).findings
        assert [(one.kind, one.decision, one.codes) for one in found] == findings


@pytest.mark.parametrize(
    ("day", "decision"),
    [("1994-10-12", CONFIRM), ("1998-09-10", CONFIRM), ("2014-12-19", ACCEPT), ("2022-03-03", ACCEPT)],
)
def test_b14_a_real_crisis_is_admitted_at_once_or_once_confirmed(day: str, decision: Decision) -> None:
    """+27 % and −24 % need a second document, −12.1 % and +12.5 % do not."""
    figures = unit_rates()
    days = sorted(one for one in figures if one <= date.fromisoformat(day))[-3:]
    *before, newest = (Sheet(one, tuple(row(code, str(rate)) for code, rate in figures[one].items())) for one in days)
    assert assess(newest, Recent(before)).decision is decision


# What is decided


def revision(sheet: Sheet, number: int = 1, *flags: str) -> Revision:
    return Revision(sheet, number, FETCHED, flags)


def columns(*sheets: Sheet) -> list[Column]:
    """As a backfill writes them."""
    made: Mapping[str, Column] = {}
    for sheet in sheets:
        made = with_revision(made, revision(sheet))
    return list(made.values())


def backfilled(*sheets: Sheet) -> History:
    """A history of series alone."""
    history = History(CALENDAR)
    history.settle(Settled(sheets[0].effective_date, sheets[-1].effective_date), columns(*sheets))
    return history


def test_a_slipped_decimal_point_waits_for_a_person() -> None:
    """Also if two documents agree."""
    found = assess(SLIPPED, RECENT)
    assert found.decision is QUARANTINE
    with pytest.raises(ValueError, match="not admitted"):
        found.revision(1, FETCHED)
    frozen = replace(BEFORE, effective_date=SATURDAY)
    assert (assess(frozen, RECENT).decision, assess(frozen, RECENT).flags) == (ACCEPT, ("frozen",))
