"""What a reader of /v1/sheets does not know: nothing is lost, and hardly anything is told twice."""

from __future__ import annotations

from copy import copy
from datetime import UTC, date, datetime
from functools import cache

from hypothesis import example, given
from hypothesis import strategies as st
from kit.bank import sheet, workdays

from ratesvc.domain.columns import Days
from ratesvc.domain.history import History
from ratesvc.domain.rates import FIRST_DAY, WITHDRAWAL, Revision, Sheet
from ratesvc.domain.workdays import ONE_DAY, WorkCalendar
from ratesvc.features.archive.changes import Cursor, page
from ratesvc.features.ranges.unit_rates import sheets_of

CALENDAR = WorkCalendar()
FETCHED = datetime(2026, 4, 23, 13, 20, 5, tzinfo=UTC)
DAYS = [day for year in (2024, 2025, 2026) for day in workdays(date(year, 3, 2), 14)]
LAST = DAYS[-1]
ALL = Days(FIRST_DAY, LAST)


@cache
def figures(day: date, shift: int) -> Sheet:
    return sheet(day, shift)


def admit(history: History, day: date, shift: int) -> None:
    """The replica admits these figures, under the number that it happens to have free."""
    history.hold([Revision(figures(day, shift), history.next_number(day), FETCHED)])


def withdraw(history: History, day: date) -> None:
    """A person withdraws what that replica holds of the day."""
    if history.of_date(day):
        history.hold([Revision(Sheet(day, ()), history.next_number(day), FETCHED, (WITHDRAWAL,))])


def holding(*days: date) -> History:
    return History(CALENDAR, (Revision(figures(day, 0), 1, FETCHED) for day in days))


replicas = st.integers(0, 1)
steps = st.one_of(
    st.tuples(st.just("admits"), replicas, st.sampled_from(DAYS), st.integers(0, 2)),
    st.tuples(st.just("withdraws"), replicas, st.sampled_from(DAYS[5:]), st.just(0)),
    st.tuples(st.just("asks"), replicas, st.sampled_from([FIRST_DAY, DAYS[0], DAYS[5], DAYS[20], LAST]), st.just(0)),
)


@example([("admits", 1, DAYS[33], 0), ("asks", 1, FIRST_DAY, 0), ("withdraws", 1, DAYS[33], 0)], 100)
@given(st.lists(steps, max_size=30), st.sampled_from([1, 3, 100]))
def test_a_reader_that_follows_cursors_holds_what_the_replicas_hold(
    story: list[tuple[str, int, date, int]], most: int
) -> None:
    """Whichever replica it asks, in whatever pages, and whatever is corrected, withdrawn, late or not known there."""
    histories, reader = (holding(DAYS[4], LAST), holding(DAYS[4], LAST)), dict[date, str]()
    cursor: Cursor | None = None

    def ask(history: History, since: date) -> None:
        nonlocal cursor
        more = True
        while more:
            new, days, more = page(history, Days(since, LAST), cursor, history.withdrawn_days, most)
            for day in new:
                if revision := history.of_date(day):
                    reader[day] = revision.sheet.checksum
                else:
                    reader.pop(day, None)
            cursor = Cursor.from_text(str(Cursor.at(history, days)))
            assert cursor

    for what, which, day, shift in story:
        if what == "admits":
            admit(histories[which], day, shift)
        elif what == "withdraws":
            withdraw(histories[which], day)
        else:
            ask(histories[which], day)
    for history in histories:
        ask(history, FIRST_DAY)
        held = {day: found.sheet.checksum for day in history.days if (found := history.of_date(day))}
        assert {day: reader[day] for day in held} == held
        assert not reader.keys() & history.withdrawn_days


def test_a_sheet_before_the_last_month_brings_the_sheets_of_its_year() -> None:
    """A year has one checksum: a cursor with one for each of 8,000 sheets would be too long for an address."""
    history = holding(*DAYS)
    cursor = Cursor.at(history, ALL)
    late = DAYS[0] + ONE_DAY * 40
    admit(history, late, 0)
    assert cursor.unknown(history, ALL) == [*DAYS[:14], late]


def test_a_sheet_that_is_admitted_while_the_answer_is_written_stays_unknown() -> None:
    """A thread writes the answer of one moment, also for days to come. A later sheet in its cursor would be lost."""
    history = holding(*DAYS[:-1])
    held = copy(history)
    admit(history, LAST, 0)
    assert sheets_of(held, ALL) == DAYS[:-1]
    assert Cursor.at(held, ALL).unknown(history, ALL) == [LAST]


def test_days_outside_of_the_range_of_a_cursor_are_new() -> None:
    """The sheets after it, and earlier ones for a reader that asks for more than before."""
    history = holding(*DAYS[:-1])
    cursor = Cursor.at(history, Days(DAYS[30], LAST))
    admit(history, LAST, 0)
    assert cursor.unknown(history, Days(DAYS[30], LAST)) == [LAST]
    assert cursor.unknown(history, Days(DAYS[28], LAST)) == [*DAYS[28:30], LAST]
