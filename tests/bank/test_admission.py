"""The decisions of admission: newest and settled sheets, one document and two, and the data of an older version."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

import pytest
from sheets import changed, plausible, times, without

from ratesvc.bank.admission import (
    Admitted,
    Quarantined,
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
WHOLE, WITHOUT_THURSDAY = Coverage(WEDNESDAY, SATURDAY), Coverage(WEDNESDAY, SATURDAY, (THURSDAY,))


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


@dataclass(frozen=True)
class Older:
    """What an older version stored, and what is left of it: the other revisions are kept, in the order of days."""

    stored: tuple[Revision, ...] = ()
    admitted: tuple[Revision, ...] = ()
    composed: tuple[Sheet, ...] = ()
    refused: tuple[Revision, ...] = ()
    left: Coverage | None = None


DOCUMENTS = tuple(map(revision, RIGHT))
SLIPS = (RIGHT[0], WRONG, BEFORE, SHEET)
CUT = revision(without(WRONG, "PLN", "CZK", "RON", "MDL"))
CONFIRMED, RELEASED = revision(WRONG, 1, "off_peg", "power_of_ten", "large_move"), revision(WRONG, 1, "released")
HALF_CONFIRMED = revision(SLIPPED, 1, "large_move")
LATE = revision(replace(SLIPPED, effective_date=FRIDAY + 32 * ONE_DAY))
# Columns that have no finding beside those before them, only beside a correction that was admitted meanwhile.
DEARER = changed(RIGHT[1], PLN=times("1.14"))
CHEAPER = (revision(changed(RIGHT[0], PLN=times("0.98")), 2),)
OLDER = {
    "all is right": Older(DOCUMENTS[2:0:-1], composed=RIGHT, left=WHOLE),
    "there are only documents": Older(DOCUMENTS[::-1]),
    "no sheet is compared with a refused one": Older(
        (DOCUMENTS[3], revision(WRONG), DOCUMENTS[2], DOCUMENTS[0]), refused=(revision(WRONG),)
    ),
    "columns slip on one day": Older(composed=SLIPS, left=WITHOUT_THURSDAY),
    "columns slip on two days": Older(
        composed=(RIGHT[0], WRONG, changed(BEFORE, PLN=times("10")), SHEET),
        left=Coverage(WEDNESDAY, SATURDAY, (THURSDAY, FRIDAY)),
    ),
    "a wrong document takes columns that say the same with it": Older(
        (revision(DEARER),), CHEAPER, (RIGHT[0], DEARER, BEFORE, SHEET), (revision(DEARER),), WITHOUT_THURSDAY
    ),
    "and no columns that say something else": Older(
        (revision(WRONG),), CHEAPER, (RIGHT[0], DEARER, BEFORE, SHEET), (revision(WRONG),), WHOLE
    ),
    "and no right ones": Older((CUT,), composed=RIGHT, refused=(CUT,), left=WHOLE),
    "the last sheet slips": Older(
        (revision(SLIPPED),),
        composed=(*RIGHT[:3], SLIPPED),
        refused=(revision(SLIPPED),),
        left=Coverage(WEDNESDAY, FRIDAY),
    ),
    "a right document stands above wrong columns": Older(DOCUMENTS[1:2], composed=SLIPS, left=WHOLE),
    "its findings were confirmed": Older((CONFIRMED,), composed=SLIPS, left=WHOLE),
    "a person released it": Older((RELEASED,), composed=SLIPS, left=WHOLE),
    "one of its findings was not confirmed": Older((HALF_CONFIRMED,), DOCUMENTS[2:3], refused=(HALF_CONFIRMED,)),
    "a month later there is nothing to compare with": Older((LATE,), DOCUMENTS[2:3]),
    "no sheet of the coverage is left": Older(
        (revision(SLIPPED),), DOCUMENTS[2:3], (SLIPPED,), (revision(SLIPPED),), left=None
    ),
}


@pytest.mark.parametrize("case", OLDER)
def test_the_data_of_an_older_version_is_assessed_once(case: str) -> None:
    """Its columns are not changed. A coverage that ends before it begins would be written and dropped for ever."""
    older = OLDER[case]
    made = columns(*older.composed)
    days = [one.effective_date for one in older.composed]
    coverage = Coverage(days[0], days[-1], assessed=False) if days else None
    found = reassess(CALENDAR, older.admitted, older.stored, made, coverage)
    assert found.kept == tuple(sorted({*older.stored} - {*older.refused}, key=lambda one: one.key))
    assert tuple(revision for revision, _ in found.refused) == older.refused
    assert found.coverage == older.left
    assert [list(map(date.fromordinal, one.days)) for one in made] == [days] * len(made)


def test_findings_that_nobody_confirmed_are_the_reasons() -> None:
    """Not those that are among the flags."""
    [(_, assessment)] = reassess(CALENDAR, DOCUMENTS[2:3], [HALF_CONFIRMED], [], None).refused
    assert assessment.flags == ("power_of_ten",)
