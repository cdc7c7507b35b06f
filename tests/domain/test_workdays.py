from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit.recorded import DATED, effective_dates

from ratesvc.config import Calendar
from ratesvc.domain.workdays import ONE_DAY, OVERDUE, WorkCalendar, at, due_at, iso_day, moscow_day, overdue_at, utc_now

DECREES = Calendar()
CALENDAR = WorkCalendar(DECREES.extra_off, DECREES.extra_work)

DAYS = st.dates(date(1998, 1, 1), date(2027, 12, 31))


def moscow(day: str, clock: str) -> datetime:
    """A moment by a Moscow clock."""
    return datetime.fromisoformat(f"{day}T{clock}+03:00")


def sheets_between(first: str, last: str) -> list[str]:
    """The effective dates from `first` to `last`."""
    ordinals = range(date.fromisoformat(first).toordinal(), date.fromisoformat(last).toordinal() + 1)
    return [day.isoformat() for day in map(date.fromordinal, ordinals) if CALENDAR.is_effective_date(day)]


@pytest.mark.parametrize(
    ("first", "last", "sheets"),
    [
        ("2024-02-05", "2024-02-11", [f"2024-02-{day:02d}" for day in (6, 7, 8, 9, 10)]),
        ("2014-12-31", "2015-01-13", ["2014-12-31", "2015-01-01", "2015-01-13"]),
        ("2024-04-26", "2024-05-03", ["2024-04-26", "2024-04-27", "2024-04-28", "2024-05-03"]),
    ],
    ids=["an ordinary week", "New Year", "a working Saturday"],
)
def test_a_sheet_follows_each_working_day(first: str, last: str, sheets: list[str]) -> None:
    """Friday's work is dated Saturday, none is dated Sunday or Monday; Saturday 27 April 2024 was worked."""
    assert sheets_between(first, last) == sheets


@pytest.mark.parametrize(
    "sunday", ["2012-12-30", "2016-02-21", "2018-04-29", "2018-06-10", "2018-12-30", "2021-02-21", "2022-03-06"]
)
def test_the_bank_has_dated_sheets_on_sundays(sunday: str) -> None:
    """Each followed a Saturday that was a working day in exchange."""
    assert CALENDAR.is_effective_date(date.fromisoformat(sunday))


def test_decrees_are_days_off_that_the_production_calendar_does_not_know() -> None:
    """10 March 2014, and the week of 30 March 2020, after which the sheet of 28 March held to 7 April."""
    assert not CALENDAR.is_effective_date(date(2014, 3, 11))
    assert sheets_between("2020-03-28", "2020-04-07") == ["2020-03-28", "2020-04-07"]
    assert WorkCalendar().is_effective_date(date(2014, 3, 11))
    assert WorkCalendar().is_effective_date(date(2020, 4, 1))


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


@given(DAYS, st.integers(0, 20))
def test_a_sheet_holds_exactly_where_no_working_day_lies_between(effective: date, later: int) -> None:
    """From its own day up to D, if no day before D sets another sheet."""
    day = effective + timedelta(days=later)
    worked = any(CALENDAR.is_working_day(effective + timedelta(days=n)) for n in range(later))
    assert CALENDAR.holds(effective, day) is not worked
    assert not CALENDAR.holds(effective, effective - ONE_DAY)


@given(DAYS)
def test_every_day_has_one_sheet_to_expect(day: date) -> None:
    """The newest effective date up to that day, and its sheet holds there."""
    effective = CALENDAR.effective_date_on_or_before(day)
    assert CALENDAR.is_effective_date(effective)
    assert CALENDAR.holds(effective, day)
    assert CALENDAR.effective_date_after(effective) > day


@given(DAYS)
def test_no_silence_is_longer_than_a_fortnight(day: date) -> None:
    """The longest gap is New Year's: twelve days between two sheets."""
    assert CALENDAR.effective_date_after(day) - day <= timedelta(days=13)


@pytest.mark.parametrize(
    ("newest", "following", "eve"),
    [("2026-04-25", "2026-04-28", "2026-04-27"), ("2015-01-01", "2015-01-13", "2015-01-12")],
)
def test_a_sheet_is_due_at_18_and_overdue_at_21_on_the_working_day_before(
    newest: str, following: str, eve: str
) -> None:
    """After Saturday's sheet, Tuesday's on Monday evening; after New Year's Eve 2014 on the evening of the 12th."""
    effective = CALENDAR.effective_date_after(date.fromisoformat(newest))
    assert effective == date.fromisoformat(following)
    assert (due_at(effective), overdue_at(effective)) == (moscow(eve, "18:00"), moscow(eve, "21:00"))
    assert due_at(effective).astimezone(UTC).isoformat() == f"{eve}T15:00:00+00:00"


@given(DAYS, st.integers(-1, 40), st.sampled_from([time(12), time(20, 59, 59), OVERDUE]))
def test_missed_publications_are_counted_in_sheets_not_in_hours(effective: date, days: int, clock: time) -> None:
    """As many as there are later effective dates for which 21:00 on the day before has passed."""
    now = at(effective + timedelta(days=days), clock)
    later = [effective + timedelta(days=n) for n in range(1, 45)]
    expected = sum(CALENDAR.is_effective_date(day) and at(day - ONE_DAY, OVERDUE) <= now for day in later)
    assert CALENDAR.missed_since(effective, now) == expected


@pytest.mark.parametrize(
    ("day", "clock", "newest", "awaited"),
    [
        ("2026-04-24", "15:30", None, True),
        ("2026-04-25", "15:30", None, False),
        ("2026-04-24", "14:59:59", "2026-04-24", False),
        ("2026-04-24", "15:00", "2026-04-24", True),
        ("2026-04-24", "20:59:59", "2026-04-24", True),
        ("2026-04-24", "21:00", "2026-04-24", False),
        ("2026-04-24", "16:00", "2026-04-25", False),
        ("2026-04-25", "16:00", "2026-04-25", False),
        ("2024-04-27", "16:00", "2024-04-27", True),
    ],
)
def test_a_sheet_is_awaited_on_working_days_from_15_to_21(
    day: str, clock: str, newest: str | None, *, awaited: bool
) -> None:
    """Not once it is there, and on a Saturday only if that is worked; in whichever time zone a moment is given."""
    for now in (moscow(day, clock), moscow(day, clock).astimezone(UTC)):
        assert CALENDAR.awaits_publication(date.fromisoformat(newest) if newest else None, now) is awaited


def test_the_next_window_opens_at_15_on_the_next_working_day() -> None:
    """In the morning the same day, later on the next; after Friday on Monday; after 30 December in January."""
    assert CALENDAR.next_window(moscow("2026-04-24", "10:00")) == moscow("2026-04-24", "15:00")
    assert CALENDAR.next_window(moscow("2026-04-24", "15:00")) == moscow("2026-04-27", "15:00")
    assert CALENDAR.next_window(moscow("2014-12-31", "15:00")) == moscow("2015-01-12", "15:00")


@pytest.mark.parametrize("day", ["2026-01-24", "2026-07-24"])
def test_the_day_is_moscows_wherever_the_host_is(day: str) -> None:
    """At 21:00 UTC it is tomorrow in Moscow, in summer as in winter."""
    days = [moscow_day(datetime.fromisoformat(f"{day}T{clock}Z")) for clock in ("00:30", "20:59:59", "21:00")]
    today = date.fromisoformat(day)
    assert days == [today, today, today + ONE_DAY]


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


@given(DAYS)
def test_days_off_reach_from_the_first_to_the_last(day: date) -> None:
    """From the day after a working day to the day before one; on a working day there are none."""
    found = CALENDAR.days_off_around(day)
    assert (found is None) == CALENDAR.is_working_day(day)
    if found:
        first, last = found
        assert first <= day <= last
        assert CALENDAR.is_working_day(first - ONE_DAY)
        assert CALENDAR.is_working_day(last + ONE_DAY)
        assert not any(CALENDAR.is_working_day(first + n * ONE_DAY) for n in range((last - first).days + 1))


def test_holidays_have_english_names() -> None:
    """Also one that was moved to a Monday. A day off in exchange, a weekend, a working day and a decree have none."""
    names = {
        "2026-01-07": "Christmas Day",
        "2026-03-08": "International Women's Day",
        "2026-03-09": "International Women's Day",
        "2022-05-02": "Holiday of Spring and Labor",
    }
    assert {day: CALENDAR.holidays_of(date.fromisoformat(day)) for day in names} == {day: [names[day]] for day in names}
    for day in ("2024-04-29", "2025-05-02", "2026-04-25", "2026-04-24", "2020-04-01"):
        assert CALENDAR.holidays_of(date.fromisoformat(day)) == []


@pytest.mark.parametrize(
    ("effective", "end"), [("1997-12-31", "1998-01-01"), ("1997-12-27", "1997-12-28"), ("1998-01-01", "1998-01-06")]
)
def test_from_1998_on_the_calendar_says_how_long_a_sheet_holds(effective: str, end: str) -> None:
    """Before that it only certainly holds on its own day, because sheets were set on days off, too."""
    held = date.fromisoformat(effective)
    assert CALENDAR.may_end(held) == date.fromisoformat(end)
    assert [CALENDAR.holds(held, date.fromisoformat(end) - n * ONE_DAY) for n in (0, 1)] == [False, True]


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


def test_the_library_is_called_once_for_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request may need a year of days, so the slow library is only called once for each."""
    calendar = WorkCalendar()
    friday, saturday = date(2026, 4, 24), date(2026, 4, 25)
    first = [calendar.is_working_day(day) for day in (friday, saturday)]
    monkeypatch.setattr(calendar, "_russia", None)
    assert [calendar.is_working_day(day) for day in (friday, saturday)] == first == [True, False]


def test_the_one_clock_tells_utc() -> None:
    """With its time zone, so that it can be compared with every other moment."""
    before = datetime.now(UTC)
    assert before <= utc_now() <= datetime.now(UTC)
    assert utc_now().utcoffset() == timedelta(0)


@pytest.mark.parametrize("text", ["20240302", "2024-W09-6", "2024-02-30", "2024-3-2", " 2024-03-02", "٢٠٢٤-03-02", ""])
def test_only_an_existing_day_in_the_iso_form_is_read(text: str) -> None:
    assert iso_day("2024-03-02") == date(2024, 3, 2)
    assert iso_day(text) is None


@pytest.mark.parametrize(
    ("day", "sets"),
    [
        ("2020-03-30", False),
        ("2020-04-03", False),
        ("2020-04-06", True),
        ("2020-05-06", True),
        ("2020-06-24", True),
        ("2020-07-01", True),
        ("2021-05-04", True),
        ("2021-05-07", True),
        ("2021-11-01", True),
        ("2021-11-03", True),
        ("2021-11-05", False),
    ],
)
def test_a_day_off_by_decree_has_rates_since_april_2020(day: str, sets: bool) -> None:
    """Ordinance 5428-U of 3 April 2020. A weekend that is moved, as to 5 November 2021, has none as before."""
    off = date.fromisoformat(day)
    assert CALENDAR.is_working_day(off) is sets
    assert (off + ONE_DAY in effective_dates()) is sets
