"""The decisions of admission: newest and settled sheets, one document and two, and the data of an older version."""

from __future__ import annotations

import zlib
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from sheets import changed, plausible, times, without

from ratesvc.bank.admission import (
    Admitted,
    Quarantined,
    Reassessed,
    Unconfirmed,
    admit,
    is_settled,
    reassess,
    suspect_days,
)
from ratesvc.config import Calendar
from ratesvc.domain.columns import Column, Coverage, with_revision
from ratesvc.domain.history import History
from ratesvc.domain.rates import Revision, Sheet
from ratesvc.domain.workdays import ONE_DAY, WorkCalendar

CALENDAR = WorkCalendar(Calendar().extra_off)
FETCHED = datetime(2026, 4, 24, 12, tzinfo=UTC)
WEDNESDAY, THURSDAY, FRIDAY, SATURDAY, SUNDAY = DAYS = tuple(date(2026, 4, day) for day in range(22, 27))
BEFORE, SHEET = plausible(FRIDAY), plausible(SATURDAY)
ODD = changed(SHEET, PLN=times("1.3"))
SLIPPED = changed(SHEET, PLN=times("10"))
WRONG = changed(plausible(THURSDAY), PLN=times("10"))
RIGHT = tuple(map(plausible, DAYS[:4]))
UNASSESSED = Coverage(WEDNESDAY, SATURDAY, assessed=False)


def revision(sheet: Sheet, number: int = 1, *flags: str) -> Revision:
    return Revision(sheet, number, FETCHED, flags, admitted=False)


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
    assert admit(SHEET, BEFORE) == admit(SHEET, None) == admit(SHEET, BEFORE, SHEET) == Admitted(SHEET)
    frozen = replace(BEFORE, effective_date=SATURDAY)
    assert admit(frozen, BEFORE) == Admitted(frozen, ("frozen",))


@pytest.mark.parametrize("settled", [False, True])
def test_a_sheet_with_findings_needs_a_second_document_with_the_same_digits(settled: bool) -> None:
    """Names and the order of the rows may differ. With other digits, or without one, it waits for a person."""
    found = admit(ODD, BEFORE, settled=settled)
    assert isinstance(found, Unconfirmed)
    assert (found.sheet, found.effective_date, found.assessment.flags) == (ODD, SATURDAY, ("large_move",))
    renamed = replace(ODD, quotes=tuple(replace(quote, name="in English") for quote in reversed(ODD.quotes)))
    assert found.compared_with(renamed) == Admitted(ODD, ("large_move",))
    for other in (changed(ODD, PLN=times("1.0001")), without(ODD, "CZK")):
        assert found.compared_with(other) == found.refused() == Quarantined(ODD, found.assessment)


def test_a_slipped_decimal_point_waits_for_a_person_unless_its_day_is_settled() -> None:
    """Money abroad is redenominated: on a settled day two documents are believed."""
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


def test_an_admitted_sheet_becomes_a_revision() -> None:
    """With its flags and the Bank's bytes."""
    kept = Admitted(SHEET, ("frozen",)).revision(2, FETCHED, b"<ValCurs/>")
    assert (kept.sheet, kept.number, kept.fetched_at, kept.flags) == (SHEET, 2, FETCHED, ("frozen",))
    assert (kept.raw, zlib.decompress(kept.document), kept.admitted) == (b"<ValCurs/>", b"<ValCurs/>", True)


def test_a_sheet_is_settled_a_week_later_unless_it_is_the_newest() -> None:
    """The newest, however old, may still be corrected any minute, as may tomorrow's."""
    week, month = FRIDAY - timedelta(days=7), FRIDAY - timedelta(days=30)
    assert [is_settled(day, FRIDAY, FRIDAY) for day in (week - ONE_DAY, week)] == [True, False]
    assert [is_settled(day, FRIDAY, month) for day in (month - ONE_DAY, month)] == [True, False]
    assert not is_settled(SATURDAY, FRIDAY, SATURDAY)
    assert not is_settled(month, FRIDAY, None)


# Composed sheets


def test_a_composed_sheet_is_compared_with_the_one_before_it() -> None:
    """A slip is noticed as it comes and as it goes. A day without a sheet, or with a document, has no findings."""
    assert suspect_days(backfilled(*RIGHT), DAYS) == []
    history = backfilled(RIGHT[0], WRONG, BEFORE, SHEET)
    assert suspect_days(history, DAYS) == [THURSDAY, FRIDAY]
    assert suspect_days(history, [SATURDAY]) == suspect_days(history, []) == []
    history.add(revision(WRONG))
    assert suspect_days(history, [THURSDAY]) == []


# The data of an older version


def assessed(
    *stored: Revision, admitted: tuple[Revision, ...] = (), composed: tuple[Sheet, ...] = ()
) -> tuple[Reassessed, list[Revision]]:
    """The result for these revisions and columns, and the refused revisions."""
    found = reassess(CALENDAR, admitted, stored, columns(*composed), UNASSESSED if composed else None)
    return found, [one for one, _ in found.refused]


def test_data_without_findings_is_kept() -> None:
    """Columns, and the documents above them, by day and number. The columns are not changed."""
    stored = [revision(BEFORE), revision(RIGHT[1])]
    made = columns(*RIGHT)
    found = reassess(CALENDAR, [], stored, made, UNASSESSED)
    assert (found.kept, found.refused) == ((stored[1], stored[0]), ())
    assert found.coverage == Coverage(WEDNESDAY, SATURDAY)
    assert [list(map(date.fromordinal, one.days)) for one in made] == [list(DAYS[:4])] * len(made)


def test_without_columns_only_documents_are_assessed() -> None:
    """In the order of their days, however they are read. No sheet is compared with a refused one."""
    days = [revision(sheet) for sheet in RIGHT]
    assert assessed(*reversed(days))[0].kept == tuple(days)
    found, refused = assessed(days[3], revision(WRONG), days[2], days[0])
    assert (found.kept, found.coverage) == ((days[0], days[2], days[3]), None)
    assert (refused, found.refused[0][1].reason) == ([revision(WRONG)], "power_of_ten")


def test_composed_sheets_with_findings_are_held_back_and_the_next_right_one_is_not() -> None:
    """If a mistake lasts for days, each is compared with the last right sheet."""
    found, _ = assessed(composed=(RIGHT[0], WRONG, BEFORE, SHEET))
    assert (found.coverage, found.kept, found.refused) == (Coverage(WEDNESDAY, SATURDAY, (THURSDAY,)), (), ())
    longer = (RIGHT[0], WRONG, changed(BEFORE, PLN=times("10")), SHEET)
    assert assessed(composed=longer)[0].coverage == Coverage(WEDNESDAY, SATURDAY, (THURSDAY, FRIDAY))


def test_columns_are_refused_with_the_document_that_says_the_same() -> None:
    """They have no finding beside the columns before them, only beside a correction admitted meanwhile."""
    dearer = changed(RIGHT[1], PLN=times("1.14"))
    admitted = (revision(changed(RIGHT[0], PLN=times("0.98")), 2),)
    composed = (RIGHT[0], dearer, BEFORE, SHEET)
    found, refused = assessed(revision(dearer), admitted=admitted, composed=composed)
    assert (refused, found.coverage) == ([revision(dearer)], Coverage(WEDNESDAY, SATURDAY, (THURSDAY,)))
    found, refused = assessed(revision(WRONG), admitted=admitted, composed=composed)
    assert (refused, found.coverage) == ([revision(WRONG)], Coverage(WEDNESDAY, SATURDAY))
    found, refused = assessed(revision(SLIPPED), composed=(*RIGHT[:3], SLIPPED))
    assert (refused, found.kept, found.coverage) == ([revision(SLIPPED)], (), Coverage(WEDNESDAY, FRIDAY))


def test_a_right_document_above_wrong_columns_is_kept() -> None:
    """And a wrong one does not take right columns with it."""
    right = revision(RIGHT[1])
    found, refused = assessed(right, composed=(RIGHT[0], WRONG, BEFORE, SHEET))
    assert (found.kept, refused, found.coverage) == ((right,), [], Coverage(WEDNESDAY, SATURDAY))
    wrong = revision(without(WRONG, "PLN", "CZK", "RON", "MDL"))
    found, refused = assessed(wrong, composed=RIGHT)
    assert (refused, found.coverage) == ([wrong], Coverage(WEDNESDAY, SATURDAY))


def test_flags_explain_findings_that_were_confirmed_or_released() -> None:
    """Each finding must be among the flags."""
    for flags in (("off_peg", "power_of_ten", "large_move"), ("released",)):
        explained = revision(WRONG, 1, *flags)
        found, refused = assessed(explained, composed=(RIGHT[0], WRONG, BEFORE, SHEET))
        assert (found.kept, refused, found.coverage) == ((explained,), [], Coverage(WEDNESDAY, SATURDAY))
    half = revision(SLIPPED, 1, "large_move")
    found, refused = assessed(half, admitted=(revision(BEFORE),))
    assert (refused, found.refused[0][1].flags) == ([half], ("power_of_ten",))


def test_a_month_later_there_is_nothing_to_compare_with() -> None:
    """A sheet that was stored long after the one before it is kept."""
    late = revision(replace(SLIPPED, effective_date=FRIDAY + 32 * ONE_DAY))
    assert assessed(late, admitted=(revision(BEFORE),))[0].kept == (late,)


def test_a_coverage_without_an_admitted_sheet_is_none() -> None:
    """One that ends before it begins would be written and dropped for ever."""
    one_day = Coverage(SATURDAY, SATURDAY, assessed=False)
    found = reassess(CALENDAR, [revision(BEFORE)], [revision(SLIPPED)], columns(SLIPPED), one_day)
    assert [one for one, _ in found.refused] == [revision(SLIPPED)]
    assert found.coverage is None
