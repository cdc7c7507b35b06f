"""The one door, decision by decision: newest and settled sheets, one document and two, and what was stored before."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from fake_bank import workdays
from sheets import changed, plausible, times, without

from ratesvc.bank.admission import Admitted, Quarantined, Unconfirmed, admit, is_settled, reassess, suspect_days
from ratesvc.domain.columns import Column, Coverage, Currency
from ratesvc.domain.history import History
from ratesvc.domain.rates import Revision, Sheet
from ratesvc.domain.workdays import WorkCalendar

NOW = datetime(2026, 4, 24, 14, tzinfo=UTC)
FRIDAY, SATURDAY = date(2026, 4, 24), date(2026, 4, 25)
BEFORE, SHEET = plausible(FRIDAY), plausible(SATURDAY)
MOVED = changed(SHEET, PLN=times("1.3"))
SLIPPED = changed(SHEET, PLN=times("10"))
DAYS = list(workdays(date(2026, 3, 10), 34))


def test_a_sheet_without_findings_is_admitted() -> None:
    """So is one whose only finding is a finding: it keeps it as its flag."""
    assert admit(SHEET, BEFORE) == Admitted(SHEET)
    frozen = Sheet(SATURDAY, BEFORE.quotes)
    assert admit(frozen, BEFORE) == Admitted(frozen, ("frozen",))


@pytest.mark.parametrize("settled", [False, True])
def test_a_sheet_with_findings_needs_a_second_document_that_says_the_same(settled: bool) -> None:
    """To the last digit."""
    found = admit(MOVED, BEFORE, settled=settled)
    assert isinstance(found, Unconfirmed)
    assert found.compared_with(MOVED) == Admitted(MOVED, ("large_move",))
    assert isinstance(found.compared_with(changed(SHEET, PLN=times("1.3001"))), Quarantined)
    assert isinstance(found.refused(), Quarantined)


def test_a_slipped_decimal_point_waits_for_a_person_unless_its_day_is_settled() -> None:
    """Money abroad is redenominated: of a settled day two documents are believed."""
    assert isinstance(admit(SLIPPED, BEFORE), Quarantined)
    found = admit(SLIPPED, BEFORE, settled=True)
    assert isinstance(found, Unconfirmed)
    assert isinstance(found.compared_with(SLIPPED), Admitted)
    assert isinstance(found.compared_with(SHEET), Quarantined)


def test_a_person_releases_anything() -> None:
    """The flags say that and why."""
    found = admit(SLIPPED, BEFORE, released=True)
    assert isinstance(found, Admitted)
    assert found.flags[-1] == "released"
    assert "power_of_ten" in found.flags


def test_settled_is_a_week_old_and_not_the_newest() -> None:
    """On 9 January the newest sheet may be of 31 December, and its decimal point still waits for a person."""
    today = date(2026, 1, 9)
    newest = date(2025, 12, 31)
    assert is_settled(date(2025, 12, 30), today, newest)
    assert not is_settled(newest, today, newest)
    assert not is_settled(date(2025, 12, 30), today, None)
    assert not is_settled(today - timedelta(days=7), today, today)
    assert is_settled(today - timedelta(days=8), today, today)


def columns(*sheets: Sheet) -> list[Column]:
    """The sheets as series."""
    made: dict[str, Column] = {}
    for sheet in sheets:
        for quote in sheet.quotes:
            currency = Currency(quote.cbr_id, quote.cbr_id, quote.code, quote.numeric_code, quote.name)
            column = made.setdefault(quote.cbr_id, Column(currency, NOW))
            column.put(sheet.effective_date, quote.nominal, quote.value)
    return list(made.values())


def filled(*sheets: Sheet) -> History:
    """A history of nothing but series."""
    history = History(WorkCalendar())
    history.fill(columns(*sheets), Coverage(DAYS[0], DAYS[-1]))
    return history


WRONG = changed(plausible(DAYS[9]), USD=times("10"))
ALL = [WRONG if day == DAYS[9] else plausible(day) for day in DAYS]


def test_composed_sheets_are_assessed_beside_the_ones_before_them() -> None:
    """A slip is seen as it comes and as it goes."""
    assert suspect_days(filled(*map(plausible, DAYS)), DAYS) == []
    assert suspect_days(filled(*ALL), DAYS) == DAYS[9:11]


def test_a_day_held_back_is_no_longer_certain_and_others_are() -> None:
    """Neither is the days after it until the next sheet; at the end the coverage ends earlier."""
    history = filled(*ALL)
    history.hold_back(DAYS[9])
    assert history.certain_on(DAYS[8])
    assert history.certain_on(DAYS[9]) is None
    assert history.certain_on(DAYS[10])
    assert history.before(DAYS[10]) is None
    assert history.after(DAYS[8]) is None
    assert history.coverage == Coverage(DAYS[0], DAYS[-1], (DAYS[9],))
    history.hold_back(DAYS[-1])
    assert history.coverage == Coverage(DAYS[0], DAYS[-2], (DAYS[9],))
    history.add(Revision(plausible(DAYS[9]), 1, NOW))
    assert history.coverage == Coverage(DAYS[0], DAYS[-2])
    assert history.certain_on(DAYS[9])


def test_a_store_of_an_older_version_is_assessed_once() -> None:
    """What was confirmed or released has its findings among its flags; the rest is refused, and so are its columns."""
    stored = [Revision(WRONG, 1, NOW, admitted=False), Revision(plausible(SATURDAY), 1, NOW, admitted=False)]
    found = reassess(WorkCalendar(), (), stored, columns(*ALL), Coverage(DAYS[0], DAYS[-1], assessed=False))
    assert found.kept == (stored[1],)
    assert [revision for revision, _ in found.refused] == [stored[0]]
    assert found.coverage == Coverage(DAYS[0], DAYS[-1], (DAYS[9],))
    flags = ("off_peg", "power_of_ten", "large_move")
    for known in (flags, ("released",)):
        confirmed = Revision(WRONG, 1, NOW, known, admitted=False)
        found = reassess(WorkCalendar(), (), [confirmed], columns(*ALL), Coverage(DAYS[0], DAYS[-1], assessed=False))
        assert (found.kept, found.coverage) == ((confirmed,), Coverage(DAYS[0], DAYS[-1]))


def test_a_right_sheet_under_wrong_columns_is_kept() -> None:
    """And a wrong one does not take right columns with it."""
    right = Revision(plausible(DAYS[9]), 1, NOW, admitted=False)
    found = reassess(WorkCalendar(), (), [right], columns(*ALL), Coverage(DAYS[0], DAYS[-1], assessed=False))
    assert (found.kept, found.refused, found.coverage) == ((right,), (), Coverage(DAYS[0], DAYS[-1]))
    wrong = Revision(without(WRONG, "PLN"), 1, NOW, admitted=False)
    good = columns(*map(plausible, DAYS))
    found = reassess(WorkCalendar(), (), [wrong], good, Coverage(DAYS[0], DAYS[-1], assessed=False))
    assert ([one for one, _ in found.refused], found.coverage) == ([wrong], Coverage(DAYS[0], DAYS[-1]))
