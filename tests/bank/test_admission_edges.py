"""The one door: who comes in, who needs a second document, who waits for a person; and what an older version left."""

from __future__ import annotations

import zlib
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from sheets import changed, plausible, times, without

from ratesvc.bank.admission import (
    Admitted,
    Decision,
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
WEDNESDAY, THURSDAY, FRIDAY, SATURDAY, SUNDAY, MONDAY, TUESDAY = (date(2026, 4, day) for day in range(22, 29))
DAYS = (WEDNESDAY, THURSDAY, FRIDAY, SATURDAY)
BEFORE, SHEET = plausible(FRIDAY), plausible(SATURDAY)
ODD = changed(SHEET, PLN=times("1.3"))
SLIPPED = changed(SHEET, PLN=times("10"))


def revision(sheet: Sheet, number: int = 1, *flags: str) -> Revision:
    return Revision(sheet, number, FETCHED, flags)


def columns(*sheets: Sheet) -> list[Column]:
    """As a backfill writes them."""
    made: dict[str, Column] = {}
    for sheet in sheets:
        made = with_revision(made, revision(sheet))
    return list(made.values())


def backfilled(*sheets: Sheet, coverage: Coverage | None = None) -> History:
    history = History(CALENDAR)
    history.fill(columns(*sheets), coverage or Coverage(sheets[0].effective_date, sheets[-1].effective_date))
    return history


# One sheet


def test_a_sheet_without_findings_comes_in() -> None:
    """Also the first one of all, and one that says what is held."""
    assert admit(SHEET, BEFORE) == admit(SHEET, None) == admit(SHEET, BEFORE, SHEET) == Admitted(SHEET)
    frozen = replace(BEFORE, effective_date=SATURDAY)
    assert admit(frozen, BEFORE) == Admitted(frozen, ("frozen",))


def test_a_finding_needs_a_second_document() -> None:
    """One that says the same, to the last digit; with another it waits for a person."""
    found = admit(ODD, BEFORE)
    assert isinstance(found, Unconfirmed)
    assert (found.sheet, found.assessment.decision, found.assessment.flags) == (ODD, Decision.CONFIRM, ("large_move",))
    renamed = replace(ODD, quotes=tuple(replace(quote, name="in English") for quote in reversed(ODD.quotes)))
    assert found.compared_with(renamed) == Admitted(ODD, ("large_move",))
    assert found.compared_with(changed(ODD, PLN=times("1.0001"))) == Quarantined(ODD, found.assessment)
    assert found.compared_with(without(ODD, "CZK")) == found.refused() == Quarantined(ODD, found.assessment)


def test_a_correction_is_a_finding() -> None:
    """Other figures than those held for the same day."""
    found = admit(changed(SHEET, PLN=times("1.01")), BEFORE, SHEET)
    assert isinstance(found, Unconfirmed)
    assert found.assessment.flags == ("corrected",)


def test_what_comes_in_becomes_a_revision() -> None:
    """With its flags and the Bank's bytes."""
    kept = Admitted(SHEET, ("frozen",)).revision(2, FETCHED, b"<ValCurs/>")
    assert (kept.sheet, kept.number, kept.fetched_at, kept.flags) == (SHEET, 2, FETCHED, ("frozen",))
    assert (kept.raw, zlib.decompress(kept.document), kept.admitted) == (b"<ValCurs/>", b"<ValCurs/>", True)


@pytest.mark.parametrize(
    ("effective", "newest", "settled"),
    [
        (FRIDAY - timedelta(days=8), FRIDAY, True),
        (FRIDAY - timedelta(days=7), FRIDAY, False),
        (FRIDAY - timedelta(days=6), FRIDAY, False),
        (FRIDAY, FRIDAY, False),
        (SATURDAY, SATURDAY, False),
        (FRIDAY - timedelta(days=30), FRIDAY - timedelta(days=30), False),
        (FRIDAY - timedelta(days=31), FRIDAY - timedelta(days=30), True),
        (FRIDAY - timedelta(days=30), None, False),
    ],
)
def test_a_sheet_is_settled_a_week_later_unless_it_is_the_newest(
    effective: date, newest: date | None, *, settled: bool
) -> None:
    """Today is Friday. The newest, however old, may still be corrected any minute."""
    assert is_settled(effective, FRIDAY, newest) is settled


# What is composed of columns


def test_a_composed_sheet_is_assessed_beside_the_one_before_it() -> None:
    """A day without a sheet, or with a document of its own, has no findings."""
    history = backfilled(plausible(THURSDAY), plausible(FRIDAY), SLIPPED)
    assert suspect_days(history, [*DAYS, SUNDAY]) == [SATURDAY]
    history.add(revision(SLIPPED))
    assert suspect_days(history, [SATURDAY]) == []


def test_a_day_after_a_wrong_one_is_suspect_too() -> None:
    """Beside a tenfold rate the right one looks like a tenth."""
    wrong = changed(plausible(THURSDAY), PLN=times("10"))
    history = backfilled(plausible(WEDNESDAY), wrong, plausible(FRIDAY), SHEET)
    assert suspect_days(history, DAYS) == [THURSDAY, FRIDAY]
    assert suspect_days(history, [SATURDAY]) == []
    assert suspect_days(history, []) == []


# What an older version stored


def test_what_was_stored_without_findings_is_kept() -> None:
    """Columns, and the documents above them, by day and number."""
    stored = [revision(plausible(FRIDAY)), revision(plausible(THURSDAY))]
    coverage = Coverage(WEDNESDAY, SATURDAY, assessed=False)
    made = columns(*map(plausible, DAYS))
    found = reassess(CALENDAR, [], stored, made, coverage)
    assert found.kept == (stored[1], stored[0])
    assert found.refused == ()
    assert found.coverage == Coverage(WEDNESDAY, SATURDAY)
    assert found.coverage
    assert found.coverage.assessed
    assert [list(map(date.fromordinal, one.days)) for one in made] == [list(DAYS)] * len(made)


def test_without_columns_only_documents_are_looked_at() -> None:
    """A store that was new."""
    stored = [revision(plausible(THURSDAY)), revision(changed(plausible(FRIDAY), PLN=times("10")))]
    found = reassess(CALENDAR, [], stored, [], None)
    assert (found.kept, found.coverage) == ((stored[0],), None)
    assert [(one, assessment.reason) for one, assessment in found.refused] == [(stored[1], "power_of_ten")]


def test_a_composed_sheet_with_findings_is_held_back_and_the_next_one_is_not() -> None:
    """Once the wrong one is gone, its neighbour is as usual; its own day is lacking."""
    wrong = changed(plausible(THURSDAY), PLN=times("10"))
    made = columns(plausible(WEDNESDAY), wrong, plausible(FRIDAY), SHEET)
    found = reassess(CALENDAR, [], [], made, Coverage(WEDNESDAY, SATURDAY, assessed=False))
    assert found.coverage == Coverage(WEDNESDAY, SATURDAY, (THURSDAY,))
    assert (found.kept, found.refused) == ((), ())
    assert THURSDAY.toordinal() in made[0].days


def test_a_mistake_that_lasts_for_days_is_held_back_whole() -> None:
    """The second wrong day is as usual beside the first: the last right one judges it, and the day after it."""
    wrong = [changed(plausible(day), PLN=times("10")) for day in (THURSDAY, FRIDAY)]
    made = columns(plausible(WEDNESDAY), *wrong, SHEET)
    found = reassess(CALENDAR, [], [], made, Coverage(WEDNESDAY, SATURDAY, assessed=False))
    assert found.coverage == Coverage(WEDNESDAY, SATURDAY, (THURSDAY, FRIDAY))


def test_a_document_with_findings_is_refused_and_so_are_columns_that_say_the_same() -> None:
    """It is the newest, so the coverage ends before it."""
    stored = revision(SLIPPED)
    made = columns(plausible(WEDNESDAY), plausible(THURSDAY), plausible(FRIDAY), SLIPPED)
    found = reassess(CALENDAR, [], [stored], made, Coverage(WEDNESDAY, SATURDAY, assessed=False))
    assert [one for one, _ in found.refused] == [stored]
    assert (found.kept, found.coverage) == ((), Coverage(WEDNESDAY, FRIDAY))


def test_columns_are_refused_with_the_document_that_says_the_same() -> None:
    """Though beside the sheet that they follow they have no finding: one that was admitted meanwhile tells."""
    dearer = changed(plausible(THURSDAY), PLN=times("1.14"))
    admitted = revision(changed(plausible(WEDNESDAY), PLN=times("0.98")), 2)
    made = columns(plausible(WEDNESDAY), dearer, plausible(FRIDAY), SHEET)
    found = reassess(CALENDAR, [admitted], [revision(dearer)], made, Coverage(WEDNESDAY, SATURDAY, assessed=False))
    assert [one for one, _ in found.refused] == [revision(dearer)]
    assert found.coverage == Coverage(WEDNESDAY, SATURDAY, (THURSDAY,))
    other = revision(changed(plausible(THURSDAY), PLN=times("10")))
    kept = reassess(CALENDAR, [admitted], [other], made, Coverage(WEDNESDAY, SATURDAY, assessed=False))
    assert [one for one, _ in kept.refused] == [other]
    assert kept.coverage == Coverage(WEDNESDAY, SATURDAY)


def test_what_was_confirmed_or_released_has_its_findings_explained() -> None:
    """By its flags: each finding must be among them."""
    confirmed = revision(ODD, 1, "large_move")
    released = revision(SLIPPED, 2, "released")
    found = reassess(CALENDAR, [revision(BEFORE)], [confirmed, released], [], None)
    assert (found.kept, found.refused) == ((confirmed, released), ())
    half = revision(SLIPPED, 1, "large_move")
    refused = reassess(CALENDAR, [revision(BEFORE)], [half], [], None).refused
    assert [(one, assessment.flags) for one, assessment in refused] == [(half, ("power_of_ten",))]


def test_what_is_kept_judges_what_comes_after_it() -> None:
    """The oldest first, whatever the order in which they are read; a refused one judges nothing."""
    days = [revision(plausible(day)) for day in DAYS]
    found = reassess(CALENDAR, [], reversed(days), [], None)
    assert found.kept == tuple(days)
    wrong = revision(changed(plausible(THURSDAY), PLN=times("10")))
    found = reassess(CALENDAR, [], [days[3], wrong, days[2], days[0]], [], None)
    assert found.kept == (days[0], days[2], days[3])
    assert [one for one, _ in found.refused] == [wrong]


def test_a_month_later_nothing_is_near() -> None:
    """What was stored long after the sheet before it has nobody to judge it."""
    late = replace(SLIPPED, effective_date=FRIDAY + 32 * ONE_DAY)
    assert reassess(CALENDAR, [revision(BEFORE)], [revision(late)], [], None).kept == (revision(late),)


def test_a_span_of_which_nothing_is_admitted_is_none() -> None:
    """The only sheet of it is refused: a coverage that ends before it begins would be written and dropped for ever."""
    found = reassess(
        CALENDAR,
        [revision(BEFORE)],
        [revision(SLIPPED)],
        columns(SLIPPED),
        Coverage(SATURDAY, SATURDAY, assessed=False),
    )
    assert [one for one, _ in found.refused] == [revision(SLIPPED)]
    assert found.coverage is None
