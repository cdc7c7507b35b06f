from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, time, timedelta

from hypothesis import given
from hypothesis import strategies as st
from kit import cases
from kit.recorded import DATED, effective_dates

from ratesvc.domain.workdays import MOSCOW, ONE_DAY, OVERDUE, WorkCalendar, at, due_at, iso_day, moscow_day, overdue_at

CALENDAR = WorkCalendar()

DAYS = st.dates(date(1998, 1, 1), date(2027, 12, 31))


def moscow(text: str) -> datetime:
    """A moment by a Moscow clock."""
    return datetime.fromisoformat(f"{text}+03:00")


def told(question: str) -> str:
    """What the calendar says about a day, the days from one to another, or a moment in Moscow."""
    match question.split():
        case "sheets", first, last:
            days = range(date.fromisoformat(first).toordinal(), date.fromisoformat(last).toordinal() + 1)
            return " ".join(f"{day}" for day in map(date.fromordinal, days) if CALENDAR.is_effective_date(day))
        case "after", day:
            sheet = date.fromisoformat(day)
            following = CALENDAR.effective_date_after(sheet)
            eve, end = following - ONE_DAY, CALENDAR.may_end(sheet)
            assert (due_at(following), overdue_at(following)) == (moscow(f"{eve}T18:00"), moscow(f"{eve}T21:00"))
            return f"certain until {end - ONE_DAY}, the next is due on {eve}"
        case "at", day, clock, *newest:
            now, held = moscow(f"{day}T{clock}"), date.fromisoformat(newest[0]) if newest else None
            awaits, in_utc = (CALENDAR.awaits_publication(held, one) for one in (now, now.astimezone(UTC)))
            assert awaits == in_utc
            window = CALENDAR.next_window(now).astimezone(MOSCOW)
            state = f"{'awaited' if awaits else 'not awaited'}, that of {CALENDAR.due_by(now)} is due"
            return f"{state}, the next window opens on {window:%Y-%m-%d at %H:%M}"
        case "day", text:
            found = iso_day(text.replace("_", " "))
            if found is None:
                return "is no day"
            return " ".join(["works" if CALENDAR.is_working_day(found) else "is off", *CALENDAR.holidays_of(found)])
        case _:
            return str(moscow_day(datetime.fromisoformat(question.removeprefix("UTC ").replace(" ", "T") + "Z")))


def test_the_calendar_says_when_sheets_come() -> None:
    """golden/calendar.txt has what it says of weekends, holidays and decrees."""
    cases.check("calendar.txt", {question: told(question) for question in cases.questions("calendar.txt")})


def test_configured_working_days_win_over_everything() -> None:
    """A day named both off and worked is worked."""
    sunday = date(2026, 4, 26)
    assert not CALENDAR.is_working_day(sunday)
    assert WorkCalendar(extra_work=[sunday]).is_working_day(sunday)
    assert WorkCalendar(extra_off=[sunday], extra_work=[sunday]).is_working_day(sunday)


def test_threads_that_ask_about_the_same_new_years_at_once_get_the_truth() -> None:
    """Answers are rendered in threads beside the event loop, and a wrong day off would be kept as long as the process.

    The package `holidays` adds a year at the first question about it, one holiday after another.
    """
    holidays = [date(year, *day) for year in range(1993, 2036) for day in ((1, 1), (5, 1), (5, 9))]
    turns = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(8):
            calendar, together = WorkCalendar(), threading.Barrier(4)

            def worked(calendar: WorkCalendar, together: threading.Barrier) -> list[date]:
                together.wait()
                return [day for day in holidays if calendar.is_working_day(day)]

            with ThreadPoolExecutor(4) as threads:
                asked = [threads.submit(worked, calendar, together) for _ in range(4)]
                assert [one.result() for one in asked] == [[]] * 4
    finally:
        sys.setswitchinterval(turns)


@given(DAYS, st.integers(-1, 40), st.sampled_from([time(12), time(20, 59, 59), OVERDUE]))
def test_missed_publications_are_counted_in_sheets_not_in_hours(effective: date, days: int, clock: time) -> None:
    """As many as there are later effective dates for which 21:00 on the day before has passed."""
    now = at(effective + timedelta(days=days), clock)
    later = [effective + timedelta(days=n) for n in range(1, 45)]
    expected = sum(CALENDAR.is_effective_date(day) and at(day - ONE_DAY, OVERDUE) <= now for day in later)
    assert CALENDAR.missed_since(effective, now) == expected


UNLIKE_THE_CALENDAR = {
    date(1999, 12, 31): "none: 30 December 1999 set no rates",
    date(2001, 12, 29): "none: the year ended with the sheet of the 28th",
    date(2001, 12, 30): "none: the same",
    date(2002, 1, 1): "one, although 31 December 2001 is a day off in the calendar",
    date(2005, 5, 15): "none: Saturday 14 May 2005 was worked, but set no rates",
    date(2024, 6, 13): "one in a weak source: 12 June is a day off, and the figure may be a filled row",
}


def test_a_sheet_exists_exactly_when_the_day_before_was_worked() -> None:
    """From 1998 to 2 August 2024, but for six days, four of them at the end of the years 1999 and 2001."""
    first, last = DATED
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    unlike = {day for day in days if (day in effective_dates()) != CALENDAR.is_effective_date(day)}
    assert unlike == UNLIKE_THE_CALENDAR.keys()


def test_a_distant_day_costs_no_memory() -> None:
    """Every year up to 9999 has weekends. Holidays are held of some decades, and answers for so many days."""
    calendar = WorkCalendar()
    held = len(calendar._russia), len(calendar._russia.years)  # noqa: SLF001
    near = date(calendar.known_until.year + 1, 1, 3)
    assert not calendar.is_working_day(near)
    for year in (*range(1, 1990), *range(2100, 9999)):
        day = date(year, 1, 3)
        assert calendar.is_working_day(day) == (day.weekday() < 5)
        assert calendar.holidays_of(day) == []
    assert (len(calendar._russia), len(calendar._russia.years)) == held  # noqa: SLF001
    assert (calendar._is_usually_worked.cache_info().maxsize or sys.maxsize) <= 20_000  # noqa: SLF001


def test_holidays_are_known_from_1991_to_ten_years_after_the_last_transfers() -> None:
    """In 1990, and eleven years after the last transfers, New Year is an ordinary day of the week."""
    known = CALENDAR.known_until
    assert (known.month, known.day) == (12, 31)
    first_day_of = {year: date(year, 1, 1) for year in (1990, 1991, known.year + 10, known.year + 11)}
    for year, day in first_day_of.items():
        is_known = 1991 <= year <= known.year + 10
        assert CALENDAR.is_working_day(day) is (not is_known and day.isoweekday() < 6)
        assert bool(CALENDAR.holidays_of(day)) is is_known
    assert date(1990, 1, 1).isoweekday() == 1
