from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratesvc.config import Calendar
from ratesvc.domain.columns import Column, Coverage, Currency
from ratesvc.domain.history import History, certain_date, day_to_fetch, on_day, snapshot
from ratesvc.domain.rates import FIRST_DAY, Quote, Revision, Sheet
from ratesvc.domain.workdays import ONE_DAY, WorkCalendar
from ratesvc.errors import BeforeHistory, HistoryLoading, NoSheet, NotYetSet, RatesvcError, UnknownRevision

CALENDAR = WorkCalendar(Calendar().extra_off)
FETCHED = datetime(2026, 1, 1, tzinfo=UTC)
WEDNESDAY_BEFORE = date(2026, 4, 22)
THURSDAY, FRIDAY, SATURDAY, SUNDAY, MONDAY, TUESDAY, WEDNESDAY = (date(2026, 4, day) for day in range(23, 30))
OLD = [date(1997, 6, 12), date(1997, 6, 14), date(1997, 6, 18)]
"""Sheets from the time when the calendar proves nothing."""
CODES = {"USD": "R01235", "EUR": "R01239", "UZS": "R01717"}


def dollar(day: date, number: int = 1, value: str = "80.0000", hour: int = 0) -> Revision:
    """A revision of a day's sheet, fetched at that hour."""
    quote = Quote("USD", "000", CODES["USD"], 1, Decimal(value), "USD")
    return Revision(Sheet(day, (quote,)), number, FETCHED + timedelta(hours=hour))


def holding(*days: date) -> History:
    return History(CALENDAR, map(dollar, days))


def column(code: str, *days: date, nominal: int = 1, cbr_id: str | None = None) -> Column:
    """Backfilled: the value is the number of the day in its month."""
    made = Column(Currency(cbr_id or CODES[code], CODES[code], code, "000", code), FETCHED)
    for day in days:
        made.put(day, nominal, Decimal(day.day))
    return made


def filled(*days: date, unconfirmed: tuple[date, ...] = ()) -> History:
    """A backfill of dollars from the first to the last of these days."""
    held = History(CALENDAR)
    held.fill([column("USD", *days)], Coverage(days[0], days[-1], unconfirmed))
    return held


def values(held: History) -> dict[int, Decimal]:
    """The dollar in each revision of the one sheet that is held as documents."""
    return {one.number: one.sheet.by_code["USD"].value for one in held}


def rates(held: History, code: str = "USD") -> dict[date, Decimal]:
    return dict(held.series(code, WEDNESDAY_BEFORE, WEDNESDAY))


def moscow(day: date, clock: str) -> datetime:
    """A moment by a Moscow clock, in UTC as the service passes it."""
    return datetime.fromisoformat(f"{day}T{clock}+03:00").astimezone(UTC)


# In force


@pytest.mark.parametrize("day", [SATURDAY, SUNDAY, MONDAY])
def test_saturdays_sheet_is_in_force_until_monday(day: date) -> None:
    """On Saturday, Sunday and Monday the sheet set on Friday applies and is not stale."""
    answer = on_day(holding(FRIDAY, SATURDAY), day, moscow(day, "12:00"))
    assert (answer.revision, answer.previous) == (dollar(SATURDAY), dollar(FRIDAY))
    assert (answer.stale, answer.next_overdue) == (False, False)


@pytest.mark.parametrize(("day", "now"), [(MONDAY, (FRIDAY, "17:00")), (SUNDAY, (SATURDAY, "12:00"))])
def test_a_day_to_come_is_answered_once_it_is_certain(day: date, now: tuple[date, str]) -> None:
    """Nothing can be set between Saturday's sheet and Monday; Tuesday's sheet follows."""
    answer = on_day(holding(FRIDAY, SATURDAY), day, moscow(*now))
    assert (answer.requested_date, answer.revision, answer.previous) == (day, dollar(SATURDAY), dollar(FRIDAY))
    assert (answer.following, answer.next_expected_at) == (None, moscow(MONDAY, "18:00"))
    assert (answer.next_overdue, answer.stale) == (False, False)


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        (TUESDAY, moscow(MONDAY, "18:00")),
        (WEDNESDAY, moscow(TUESDAY, "18:00")),
        (date(2026, 5, 4), moscow(date(2026, 4, 30), "18:00")),
    ],
)
def test_a_day_to_come_says_when_its_own_sheet_is_expected(day: date, expected: datetime) -> None:
    """On the working day before the sheet that will apply then. The newest sheet never stands in for it."""
    with pytest.raises(NotYetSet) as caught:
        on_day(holding(FRIDAY, SATURDAY), day, moscow(SATURDAY, "12:00"))
    assert (caught.value.day, caught.value.expected_at) == (day, expected)


def test_tomorrows_rate_is_unknown_until_its_sheet_is_there() -> None:
    """On Wednesday morning nobody knows Thursday's rate."""
    held = holding(WEDNESDAY)
    with pytest.raises(NotYetSet):
        on_day(held, WEDNESDAY + ONE_DAY, moscow(WEDNESDAY, "09:00"))
    held.add(dollar(WEDNESDAY + ONE_DAY))
    assert on_day(held, WEDNESDAY + ONE_DAY, moscow(WEDNESDAY, "17:00")).revision == dollar(WEDNESDAY + ONE_DAY)


def test_a_past_day_is_loading_where_a_sheet_may_be_missing() -> None:
    """Friday's sheet is missing: Friday has no answer, and Thursday and Saturday are no neighbours."""
    held, now = holding(THURSDAY, SATURDAY), moscow(MONDAY, "12:00")
    with pytest.raises(HistoryLoading) as caught:
        on_day(held, FRIDAY, now)
    assert caught.value.day == FRIDAY
    thursday, saturday = on_day(held, THURSDAY, now), on_day(held, SATURDAY, now)
    assert (thursday.revision, thursday.following, saturday.previous) == (dollar(THURSDAY), None, None)
    with pytest.raises(HistoryLoading):
        on_day(held, date(2001, 1, 1), now)


def test_a_past_day_knows_its_neighbours_and_expects_nothing() -> None:
    """It is settled: the sheet that followed is named, nothing is overdue or stale."""
    answer = on_day(holding(THURSDAY, FRIDAY, SATURDAY), FRIDAY, moscow(WEDNESDAY, "12:00"))
    assert (answer.previous, answer.revision, answer.following) == tuple(map(dollar, (THURSDAY, FRIDAY, SATURDAY)))
    assert (answer.next_expected_at, answer.next_overdue, answer.stale) == (None, False, False)


def test_there_are_no_rates_before_july_1992() -> None:
    """The first effective date is 1992-07-01, and the day before it has no answer however much is held."""
    held, now = holding(FIRST_DAY, SATURDAY), moscow(SATURDAY, "12:00")
    assert on_day(held, FIRST_DAY, now).revision.effective_date == FIRST_DAY
    for day in (date(1992, 6, 30), date.min):
        with pytest.raises(BeforeHistory):
            on_day(held, day, now)


def test_a_recording_has_nothing_before_its_first_day() -> None:
    """A demo never gets an earlier sheet, so the day is no gap, and no reader is told to wait for it."""
    held = holding(FRIDAY)
    held.recorded_from = FRIDAY
    for day in (FIRST_DAY, THURSDAY):
        with pytest.raises(BeforeHistory, match="recorded rates begin on 2026-04-24"):
            held.in_force(day, FRIDAY)
    assert held.in_force(FRIDAY, FRIDAY).effective_date == FRIDAY
    assert held.first_gap(FIRST_DAY, FRIDAY) is None
    assert day_to_fetch(held.days, held, moscow(FRIDAY, "09:00")) is None


def test_without_a_sheet_there_is_no_answer() -> None:
    """Nothing stored yet is an error of its own, also while only tomorrow's sheet is held."""
    with pytest.raises(NoSheet):
        snapshot(holding(), moscow(FRIDAY, "12:00"))
    with pytest.raises(NoSheet):
        snapshot(holding(SATURDAY), moscow(FRIDAY, "17:00"))
    with pytest.raises(NoSheet):
        holding().in_force(FRIDAY, FRIDAY)


def test_today_is_always_answered_and_says_that_it_is_stale() -> None:
    """From the midnight at which its own sheet is missing, today has the newest one, flagged."""
    held = holding(FRIDAY, SATURDAY)
    answer = on_day(held, TUESDAY, moscow(TUESDAY, "00:00"))
    assert (answer.revision, answer.stale, answer.next_overdue) == (dollar(SATURDAY), True, True)
    assert on_day(held, date(2027, 1, 20), moscow(date(2027, 1, 20), "12:00")).stale


YEAR = [date(2025, 9, 1) + timedelta(days=n) for n in range(270)]
EFFECTIVE = [day for day in YEAR if CALENDAR.is_effective_date(day)]


def _or_error(ask: Callable[[], Revision]) -> Revision | RatesvcError:
    try:
        return ask()
    except RatesvcError as error:
        return error


@given(st.sets(st.sampled_from(EFFECTIVE), min_size=1), st.sampled_from(YEAR), st.sampled_from(YEAR))
def test_a_day_is_never_answered_with_another_days_sheet(held: set[date], day: date, today: date) -> None:
    """Whichever sheets happen to be held: the right one, or an error, or today's newest with a flag."""
    lawful = CALENDAR.effective_date_on_or_before(day)
    history = holding(*sorted(held))
    answer = _or_error(lambda: history.in_force(day, today))
    if lawful in held:
        assert answer == dollar(lawful)
    elif day > today:
        assert isinstance(answer, NotYetSet)
        assert answer.expected_at == moscow(lawful - ONE_DAY, "18:00")
    elif day < today or min(held) > today:
        assert isinstance(answer, HistoryLoading)
    else:
        assert answer == dollar(max(one for one in held if one <= today))
        assert snapshot(history, moscow(today, "12:00")).stale


# Now


@pytest.mark.parametrize(
    ("clock", "late", "overdue"),
    [
        *(("17:59:59", False, False), ("18:00", True, False), ("20:59:59", True, False)),
        *(("21:00", True, True), ("23:59", True, True)),
    ],
)
def test_the_next_sheet_is_late_at_18_and_overdue_at_21(clock: str, *, late: bool, overdue: bool) -> None:
    """Today's rate is not stale for that: it remains in force until midnight."""
    held, now = holding(FRIDAY, SATURDAY), moscow(MONDAY, clock)
    seen = snapshot(held, now)
    assert (seen.next_late, seen.next_overdue, seen.publications_missed) == (late, overdue, int(overdue))
    assert (seen.next_expected_at, seen.stale) == (moscow(MONDAY, "18:00"), False)
    with pytest.raises(NotYetSet) as caught:
        on_day(held, TUESDAY, now)
    assert (caught.value.expected_at, caught.value.overdue) == (moscow(MONDAY, "18:00"), overdue)


def test_tomorrows_sheet_is_announced_and_then_in_force_at_midnight_with_no_new_data() -> None:
    """One second before Moscow midnight and at it, the same held sheets give another day's answer."""
    held = holding(THURSDAY, FRIDAY, SATURDAY)
    evening, midnight = snapshot(held, moscow(FRIDAY, "23:59:59")), snapshot(held, moscow(SATURDAY, "00:00"))
    assert (evening.today, evening.in_force, evening.announced) == (FRIDAY, dollar(FRIDAY), dollar(SATURDAY))
    assert (midnight.today, midnight.in_force, midnight.announced) == (SATURDAY, dollar(SATURDAY), None)
    assert (evening.previous, midnight.previous) == (dollar(THURSDAY), dollar(FRIDAY))
    assert not midnight.stale


@pytest.mark.parametrize(
    ("held", "now", "changed_at"),
    [
        ((FRIDAY, SATURDAY), (SUNDAY, "12:00"), (SUNDAY, "00:00")),
        ((FRIDAY, SATURDAY), (MONDAY, "17:59:59"), (MONDAY, "00:00")),
        ((FRIDAY, SATURDAY), (MONDAY, "20:59"), (MONDAY, "18:00")),
        ((FRIDAY, SATURDAY), (MONDAY, "22:00"), (MONDAY, "21:00")),
        ((FRIDAY, SATURDAY), (TUESDAY, "00:00"), (TUESDAY, "00:00")),
        ((SATURDAY, TUESDAY), (MONDAY, "22:00"), (MONDAY, "00:00")),
    ],
)
def test_answers_change_at_midnight_and_when_a_sheet_is_late_or_overdue(
    held: tuple[date, ...], now: tuple[date, str], changed_at: tuple[date, str]
) -> None:
    """Every answer about today has the day in it, so each midnight counts, also on days off."""
    assert snapshot(holding(*held), moscow(*now)).changed_at == moscow(*changed_at)


def test_answers_change_with_what_was_fetched_last() -> None:
    """A correction of an old sheet counts, and so does a backfill, whose columns say when they were fetched."""
    at = moscow(SUNDAY, "12:00")
    held = holding(THURSDAY, FRIDAY, SATURDAY)
    held.add(replace(dollar(THURSDAY, 2, "81"), fetched_at=at))
    held.add(replace(dollar(FRIDAY, 2, "82"), fetched_at=at - ONE_DAY))
    assert snapshot(held, moscow(SUNDAY, "13:00")).changed_at == at
    later = replace(column("USD", THURSDAY, SATURDAY), fetched_at=at + timedelta(minutes=1))
    held.fill([later], Coverage(THURSDAY, SATURDAY))
    assert snapshot(held, moscow(SUNDAY, "13:00")).changed_at == later.fetched_at


def test_with_tomorrows_sheet_the_next_is_expected_after_it() -> None:
    """Tomorrow's answer compares itself with today's. Nothing is announced on a working morning."""
    seen = snapshot(holding(THURSDAY, FRIDAY, SATURDAY), moscow(FRIDAY, "22:00"))
    assert seen.for_today().following == dollar(SATURDAY)
    upcoming = seen.for_next()
    assert upcoming is not None
    assert (upcoming.requested_date, upcoming.revision, upcoming.previous) == (
        *(SATURDAY, dollar(SATURDAY), dollar(FRIDAY)),
    )
    assert (upcoming.next_expected_at, upcoming.next_overdue) == (moscow(MONDAY, "18:00"), False)
    assert snapshot(holding(THURSDAY, FRIDAY), moscow(FRIDAY, "10:00")).for_next() is None


def test_the_previous_sheet_is_unknown_where_one_may_be_missing() -> None:
    """A change against Wednesday is not a change against Thursday: none is better than a wrong one."""
    assert snapshot(holding(WEDNESDAY_BEFORE, FRIDAY), moscow(FRIDAY, "12:00")).previous is None
    assert snapshot(holding(FRIDAY), moscow(FRIDAY, "12:00")).previous is None


def test_over_the_new_year_the_sheet_of_the_first_is_fresh_for_eleven_days() -> None:
    """On 12 January 2015 the sheet of the 1st was twelve days old, in force, and on time."""
    held = holding(date(2014, 12, 31), date(2015, 1, 1))
    seen = snapshot(held, moscow(date(2015, 1, 12), "17:59"))
    assert (seen.in_force.effective_date, seen.stale, seen.next_late) == (date(2015, 1, 1), False, False)
    assert snapshot(held, moscow(date(2015, 1, 13), "00:00")).stale


@given(st.sets(st.sampled_from(EFFECTIVE), min_size=1), st.sampled_from(YEAR), st.integers(0, 23))
def test_a_snapshot_is_stale_exactly_when_todays_own_sheet_is_missing(held: set[date], today: date, hour: int) -> None:
    """Today's and the announced sheet are sheets that it holds, on their side of midnight."""
    now, history = moscow(today, f"{hour:02}:59"), holding(*sorted(held))
    if min(held) > today:
        with pytest.raises(NoSheet):
            snapshot(history, now)
        return
    seen = snapshot(history, now)
    assert seen.stale is (CALENDAR.effective_date_on_or_before(today) not in held)
    assert seen.in_force.effective_date == max(day for day in held if day <= today)
    assert (seen.announced is None) == (max(held) <= today)


@pytest.mark.parametrize(
    ("held", "now", "day"),
    [
        ([], (FRIDAY, "12:00"), FRIDAY),
        ([SATURDAY], (FRIDAY, "17:00"), FRIDAY),
        ([FRIDAY, SATURDAY], (FRIDAY, "17:00"), THURSDAY),
        ([THURSDAY, FRIDAY, SATURDAY], (FRIDAY, "17:00"), None),
        ([SATURDAY], (MONDAY, "12:00"), FRIDAY),
        ([SATURDAY, TUESDAY], (TUESDAY, "12:00"), None),
        ([FRIDAY, SATURDAY], (WEDNESDAY, "12:00"), None),
        ([SATURDAY], (TUESDAY, "12:00"), FRIDAY),
        ([SATURDAY], (WEDNESDAY, "12:00"), FRIDAY),
        ([SATURDAY, WEDNESDAY], (TUESDAY, "12:00"), TUESDAY),
        ([WEDNESDAY], (TUESDAY, "12:00"), TUESDAY),
        ([date(1992, 7, 2)], (date(1992, 7, 2), "12:00"), FIRST_DAY),
        ([FIRST_DAY], (FIRST_DAY, "12:00"), None),
    ],
)
def test_todays_sheet_is_fetched_first_and_then_the_one_before(
    held: list[date], now: tuple[date, str], day: date | None
) -> None:
    """A stale sheet is the Bank's newest unless tomorrow's is there, so then only its predecessor can be lacking."""
    assert day_to_fetch(held, holding(*held), moscow(*now)) == day


# Certainty


@pytest.mark.parametrize(
    ("coverage", "day", "found"),
    [
        (Coverage(OLD[0], OLD[2]), date(1997, 6, 13), OLD[0]),
        (Coverage(OLD[0], OLD[2]), date(1997, 6, 17), OLD[1]),
        (Coverage(OLD[0], date(1997, 6, 16)), date(1997, 6, 16), OLD[1]),
        (Coverage(OLD[0], date(1997, 6, 16)), date(1997, 6, 17), None),
        (Coverage(date(1997, 6, 13), OLD[2]), date(1997, 6, 13), None),
        (Coverage(OLD[1], OLD[2]), date(1997, 6, 17), OLD[1]),
        (Coverage(OLD[0], OLD[2]), date(1997, 6, 11), None),
        (None, date(1997, 6, 12), OLD[0]),
        (None, date(1997, 6, 13), None),
        (Coverage(OLD[0], OLD[2], (date(1997, 6, 17),)), date(1997, 6, 16), OLD[1]),
        (Coverage(OLD[0], OLD[2], (date(1997, 6, 17),)), date(1997, 6, 11), None),
        (Coverage(OLD[0], OLD[2], (date(1997, 6, 17),)), date(1997, 6, 17), None),
        (Coverage(OLD[0], OLD[2], (date(1997, 6, 17),)), OLD[2], OLD[2]),
    ],
)
def test_before_1998_only_the_coverage_is_certain(coverage: Coverage | None, day: date, found: date | None) -> None:
    """The sheet and the day must both lie in it, with no unconfirmed sheet between."""
    assert certain_date(OLD, CALENDAR, coverage, day) == found


def test_before_1998_the_calendar_proves_nothing() -> None:
    """On a day off, 13 June 1997, the Bank set a sheet for the 14th: only a coverage without gaps is certain."""
    held, now = holding(OLD[0], date(1997, 12, 31), date(1998, 1, 1)), moscow(MONDAY, "12:00")
    for day in (date(1997, 6, 13), date(1997, 6, 14)):
        with pytest.raises(HistoryLoading):
            on_day(held, day, now)
        assert held.first_gap(OLD[0], day) == date(1997, 6, 13)
    held.fill(held.columns(), Coverage(OLD[0], date(1997, 12, 30)))
    assert on_day(held, date(1997, 6, 13), now).revision.effective_date == OLD[0]
    assert on_day(held, date(1998, 1, 5), now).revision.effective_date == date(1998, 1, 1)


def test_an_earlier_sheet_and_a_later_one_are_named_where_none_can_be_missing() -> None:
    """Thursday's, Friday's and Saturday's follow each other; Tuesday's may, and Wednesday's does not."""
    held = holding(THURSDAY, FRIDAY, SATURDAY, WEDNESDAY)
    before = [held.before(day) for day in (FRIDAY, SATURDAY, TUESDAY, THURSDAY, WEDNESDAY)]
    assert before == [dollar(THURSDAY), dollar(FRIDAY), dollar(SATURDAY), None, None]
    after = [held.after(day) for day in (THURSDAY, FRIDAY, SATURDAY, WEDNESDAY)]
    assert after == [dollar(FRIDAY), dollar(SATURDAY), None, None]
    held.add(dollar(TUESDAY))
    assert held.after(SATURDAY) == dollar(TUESDAY)


@pytest.mark.parametrize(("days", "is_near"), [(1, True), (30, True), (31, True), (32, False), (400, False)])
def test_a_sheet_is_near_for_a_month(days: int, *, is_near: bool) -> None:
    """What moved in more than thirty-one days says nothing about a mistake."""
    held = holding(THURSDAY - 400 * ONE_DAY, THURSDAY)
    assert held.nearest_before(THURSDAY + timedelta(days=days)) == (dollar(THURSDAY) if is_near else None)


def test_a_sheet_is_compared_with_an_earlier_one_and_never_with_itself() -> None:
    """Next to the sheet that it corrects, a wrong correction would look like an ordinary move."""
    held = holding(THURSDAY, FRIDAY, SATURDAY)
    nearest = [held.nearest_before(day) for day in (FRIDAY, SATURDAY, MONDAY, THURSDAY)]
    assert nearest == [dollar(THURSDAY), dollar(FRIDAY), dollar(SATURDAY), None]
    assert holding().nearest_before(FRIDAY) is None


@pytest.mark.parametrize(
    ("since", "until", "gap"),
    [
        (THURSDAY, MONDAY, None),
        (THURSDAY, TUESDAY, TUESDAY),
        (THURSDAY, WEDNESDAY, TUESDAY),
        (FRIDAY, FRIDAY, None),
        (WEDNESDAY_BEFORE, MONDAY, WEDNESDAY_BEFORE),
        (WEDNESDAY, WEDNESDAY, WEDNESDAY),
        (TUESDAY, MONDAY, None),
    ],
)
def test_a_gap_begins_where_a_sheet_may_be_missing(since: date, until: date, gap: date | None) -> None:
    """Thursday's, Friday's and Saturday's sheets are held: Saturday's lasts to Monday."""
    held = holding(THURSDAY, FRIDAY, SATURDAY)
    assert held.first_gap(since, until) == gap
    held.fill([column("USD", THURSDAY, FRIDAY)], Coverage(THURSDAY, FRIDAY))
    assert held.first_gap(since, until) == gap


def test_a_gap_before_1998_is_found_day_by_day() -> None:
    """A sheet of that time is certain on its own day only, and there is no gap before the first rates."""
    held = holding(*OLD)
    assert held.first_gap(OLD[0], OLD[0]) is None
    assert held.first_gap(OLD[0], OLD[1]) == date(1997, 6, 13)
    held.fill([column("USD", *OLD[:2])], Coverage(OLD[0], date(1997, 6, 17)))
    assert held.first_gap(OLD[0], OLD[2]) is None
    assert held.first_gap(OLD[0], date(1997, 6, 19)) == date(1997, 6, 19)
    first = History(CALENDAR)
    first.fill([column("USD", FIRST_DAY)], Coverage(FIRST_DAY, FIRST_DAY + 2 * ONE_DAY))
    assert first.first_gap(date(1990, 1, 1), FIRST_DAY + 2 * ONE_DAY) is None
    assert first.first_gap(date(1990, 1, 1), FIRST_DAY + 3 * ONE_DAY) == FIRST_DAY + 3 * ONE_DAY


# Revisions


def test_the_newest_revision_of_a_day_is_the_one_that_counts() -> None:
    """A correction replaces nothing: the earlier revision stays and can be asked for."""
    held = History(CALENDAR, [dollar(FRIDAY, 2, "81.0000"), dollar(FRIDAY), dollar(THURSDAY)])
    assert held.of_date(FRIDAY) == held.newest == held.in_force(FRIDAY, FRIDAY) == dollar(FRIDAY, 2, "81.0000")
    assert held.revision(FRIDAY, 1) == dollar(FRIDAY)
    assert (len(held), held.days) == (3, [THURSDAY, FRIDAY])
    assert [one.key for one in held] == [(THURSDAY, 1), (FRIDAY, 1), (FRIDAY, 2)]
    for day, number in ((FRIDAY, 3), (SATURDAY, 1)):
        with pytest.raises(UnknownRevision):
            held.revision(day, number)


def test_a_correction_of_a_backfilled_sheet_keeps_how_it_read() -> None:
    """As revision 1, though it was held as columns only; a document that says the same takes its place."""
    held = filled(THURSDAY, FRIDAY)
    held.add(dollar(FRIDAY, 2, "81.0000"))
    assert values(held) == {1: 24, 2: 81}
    assert [held.revision(FRIDAY, number).sheet.by_code["USD"].value for number in (1, 2)] == [24, 81]
    assert [held.has_document(day) for day in (THURSDAY, FRIDAY)] == [False, True]
    held.add(dollar(THURSDAY, 2, "23.0000"))
    assert [one.key for one in held] == [(THURSDAY, 2), (FRIDAY, 1), (FRIDAY, 2)]


def test_a_first_document_of_a_backfilled_sheet_replaces_its_columns() -> None:
    """It has the same number: what the columns said is not a revision of its own."""
    held = filled(FRIDAY)
    held.add(dollar(FRIDAY, 1, "81.0000"))
    assert values(held) == {1: 81}
    assert rates(held) == {FRIDAY: 81}


def test_a_later_revision_does_not_bring_an_earlier_one_back() -> None:
    """All are documents: each stays under its number."""
    held = History(CALENDAR, [dollar(FRIDAY), dollar(FRIDAY, 3, "83.0000")])
    held.add(dollar(FRIDAY, 2, "82.0000"))
    assert values(held) == {1: 80, 2: 82, 3: 83}
    assert rates(held) == {FRIDAY: 83}


def test_a_backfilled_sheet_has_one_revision() -> None:
    """The first; and a day without a sheet has none."""
    held = filled(FRIDAY)
    assert held.revision(FRIDAY, 1).number == 1
    held.add(dollar(SATURDAY, 2))
    for day, number in ((FRIDAY, 2), (FRIDAY, 0), (SUNDAY, 1), (SATURDAY, 1)):
        with pytest.raises(UnknownRevision):
            held.revision(day, number)


@pytest.mark.parametrize(
    ("ours", "hour", "numbers"),
    [
        ([(1, "81", 2)], 1, {1: 80, 2: 81}),
        ([(1, "81", 1)], 1, {1: 80, 2: 81}),
        ([(1, "81", 0)], 1, {1: 80}),
        ([(1, "80", 2)], 1, {1: 80}),
        ([], 1, {1: 80}),
        ([(2, "81", 2)], 1, {1: 80, 2: 81}),
        ([(1, "81", 2), (2, "81", 1)], 1, {1: 80, 2: 81}),
        ([(1, "81", 2), (2, "82", 1)], 0, {1: 80, 2: 82, 3: 81}),
        ([(1, "81", 1), (2, "82", 2)], 0, {1: 80, 2: 82}),
    ],
    ids=[
        *("ours is later", "as old", "ours is older", "the same", "only theirs", "under different numbers"),
        *("said by the latest", "later than the latest", "older than the latest"),
    ],
)
def test_what_every_replica_knows_stays_under_its_number(
    ours: list[tuple[int, str, int]], hour: int, numbers: dict[int, int]
) -> None:
    """Ours under that number becomes the next revision, if it is later and says something else; once."""
    held = History(CALENDAR, [dollar(FRIDAY, number, value, hour) for number, value, hour in ours])
    for _ in range(2):
        held.merge(dollar(FRIDAY, hour=hour))
        assert values(held) == numbers


def test_a_revision_is_shown_beside_what_was_known_then() -> None:
    """The sheet before it as it read when this one was fetched, whatever was corrected later."""
    thursdays = [dollar(THURSDAY, n, f"8{n}.0000", hour=10 * n) for n in (1, 2, 3)]
    held = History(CALENDAR, thursdays)
    for hour, number in ((9, 1), (10, 1), (19, 1), (20, 2), (29, 2), (30, 3), (99, 3)):
        held.add(dollar(FRIDAY, 1, "90.0000", hour=hour))
        answer = held.in_revision(on_day(held, FRIDAY, moscow(FRIDAY, "12:00")), 1)
        assert answer.revision == dollar(FRIDAY, 1, "90.0000", hour=hour)
        assert answer.previous == thursdays[number - 1]
        assert (answer.requested_date, answer.following, answer.next_expected_at) == (FRIDAY, None, None)


def test_a_revision_beside_a_backfilled_sheet_is_shown_beside_that() -> None:
    """It has one revision only; if the sheet before is unknown nothing is shown."""
    held = filled(THURSDAY)
    held.add(dollar(FRIDAY))
    answer = on_day(held, FRIDAY, moscow(FRIDAY, "12:00"))
    previous = held.in_revision(answer, 1).previous
    assert previous
    assert previous.effective_date == THURSDAY
    with pytest.raises(UnknownRevision):
        held.in_revision(answer, 2)


def test_a_revision_that_stands_in_for_a_missing_sheet_is_stale() -> None:
    """The day's own sheet is missing; the one before it is unknown."""
    held = holding(FRIDAY)
    saturday, friday = (held.in_revision(on_day(held, day, moscow(day, "12:00")), 1) for day in (SATURDAY, FRIDAY))
    assert (saturday.stale, friday.stale, friday.previous) == (True, False, None)


# Backfills


def test_a_backfill_holds_the_days_of_its_coverage_only() -> None:
    """A day outside of it, or without a dollar, is not a sheet: no currency has a record there."""
    held = History(CALENDAR)
    dollars, euros = column("USD", THURSDAY, FRIDAY, SATURDAY, TUESDAY), column("EUR", FRIDAY, SUNDAY, TUESDAY)
    held.fill([dollars, euros], Coverage(THURSDAY, SATURDAY, (SATURDAY,)))
    assert held.days == list(rates(held)) == [THURSDAY, FRIDAY]
    assert list(rates(held, "EUR")) == [FRIDAY]
    assert held.coverage == Coverage(THURSDAY, SATURDAY, (SATURDAY,))


def test_a_daily_document_stays_above_a_backfill() -> None:
    """Also outside of the coverage, and on an unconfirmed day, which is held then."""
    held = History(CALENDAR, [dollar(FRIDAY, 1, "99.0000"), dollar(TUESDAY, 1, "98.0000")])
    held.fill([column("USD", THURSDAY, FRIDAY, SATURDAY)], Coverage(THURSDAY, SATURDAY, (FRIDAY,)))
    assert held.days == [THURSDAY, FRIDAY, SATURDAY, TUESDAY]
    assert held.coverage == Coverage(THURSDAY, SATURDAY)
    assert list(rates(held).values()) == [23, 99, 25, 98]


def test_a_nominal_stays_with_its_day_in_a_backfill() -> None:
    """Columns that lose a day outside of the coverage keep every other value with its own nominal."""
    held = History(CALENDAR)
    flipping = column("UZS", THURSDAY, nominal=10000)
    flipping.put(FRIDAY, 1000, Decimal(24))
    flipping.put(SATURDAY, 10000, Decimal(25))
    held.fill([column("USD", THURSDAY, FRIDAY, SATURDAY), flipping], Coverage(FRIDAY, SATURDAY))
    assert rates(held, "UZS") == {FRIDAY: Decimal("0.024"), SATURDAY: Decimal("0.0025")}


def test_a_composed_sheet_is_composed_once_and_forgotten_when_history_is_filled() -> None:
    """Its figures may be other ones then."""
    held = filled(THURSDAY, FRIDAY)
    before = held.of_date(THURSDAY)
    assert before
    assert held.of_date(THURSDAY) is before
    assert held.of_date(SUNDAY) is None
    other = column("USD", FRIDAY)
    other.put(THURSDAY, 1, Decimal(99))
    held.fill([other], Coverage(THURSDAY, FRIDAY))
    after = held.of_date(THURSDAY)
    assert after
    assert not after.sheet.says_the_same_as(before.sheet)


def test_an_unconfirmed_day_in_the_middle_is_held_back() -> None:
    """Its figures go from every column, its neighbours do not follow each other, until its document comes."""
    held = History(CALENDAR)
    held.fill([column("USD", THURSDAY, FRIDAY, SATURDAY), column("EUR", FRIDAY)], Coverage(THURSDAY, SATURDAY))
    assert held.of_date(FRIDAY) == held.after(THURSDAY)
    held.hold_back(FRIDAY)
    assert (held.days, held.of_date(FRIDAY), held.certain_on(FRIDAY)) == ([THURSDAY, SATURDAY], None, None)
    assert held.coverage == Coverage(THURSDAY, SATURDAY, (FRIDAY,))
    assert (list(rates(held)), rates(held, "EUR")) == ([THURSDAY, SATURDAY], {})
    assert (held.after(THURSDAY), held.before(SATURDAY)) == (None, None)
    with pytest.raises(HistoryLoading):
        held.in_force(FRIDAY, SATURDAY)
    held.add(dollar(FRIDAY))
    assert (held.coverage, held.certain_on(FRIDAY)) == (Coverage(THURSDAY, SATURDAY), dollar(FRIDAY))


def test_an_unconfirmed_day_at_the_end_ends_the_coverage() -> None:
    """With the sheet before it; what was unconfirmed behind that is not part of the coverage any more."""
    held = filled(THURSDAY, FRIDAY, SATURDAY)
    held.hold_back(FRIDAY)
    held.hold_back(SATURDAY)
    assert (held.days, held.coverage) == ([THURSDAY], Coverage(THURSDAY, THURSDAY))
    held.hold_back(THURSDAY)
    assert (held.days, held.coverage) == ([], Coverage(THURSDAY, THURSDAY - ONE_DAY))


def test_a_coverage_that_ends_earlier_keeps_its_unconfirmed_days() -> None:
    """Before its new end; a held sheet outside of the coverage does not count as a part of it."""
    held = filled(THURSDAY, FRIDAY, SATURDAY, TUESDAY)
    held.add(dollar(WEDNESDAY))
    held.hold_back(FRIDAY)
    held.hold_back(TUESDAY)
    assert (held.days, held.coverage) == ([THURSDAY, SATURDAY, WEDNESDAY], Coverage(THURSDAY, SATURDAY, (FRIDAY,)))


# Changes


def test_every_change_is_one_version_more() -> None:
    """Nothing held is version 0; a sheet, the same sheet again, a backfill and a day held back count one each."""
    held = History(CALENDAR)
    changes: list[Callable[[], None]] = [
        *[lambda: held.add(dollar(THURSDAY))] * 2,
        lambda: held.fill([column("USD", THURSDAY, FRIDAY)], Coverage(THURSDAY, FRIDAY)),
        lambda: held.hold_back(FRIDAY),
    ]
    for version, change in enumerate(changes):
        assert held.version == version
        change()
    assert held.version == len(changes)


def test_no_day_is_held_twice() -> None:
    """Whichever day is corrected, the first, one in the middle or the last."""
    held = holding(THURSDAY, FRIDAY, SATURDAY)
    for day in (SATURDAY, THURSDAY, FRIDAY):
        held.add(dollar(day, 2, "81.0000"))
        held.add(dollar(day, 1, "79.0000"))
    assert held.days == list(rates(held)) == [THURSDAY, FRIDAY, SATURDAY]
    held.add(dollar(WEDNESDAY_BEFORE))
    assert held.days == [WEDNESDAY_BEFORE, THURSDAY, FRIDAY, SATURDAY]


def test_a_thread_that_reads_while_a_sheet_is_added_reads_what_was() -> None:
    """Threads render long series: neither days nor figures change under them, and no record is half there."""
    held = holding(THURSDAY, SATURDAY)
    held.fill(held.columns(), Coverage(THURSDAY, SATURDAY))
    [one], days = held.columns("USD"), held.days
    first, last = one.places(THURSDAY, TUESDAY)
    held.add(dollar(FRIDAY, value="99.0000"))
    held.add(dollar(SATURDAY, 2, "99.0000"))
    held.add(Revision(Sheet(THURSDAY, ()), 2, FETCHED))
    assert days == [THURSDAY, SATURDAY]
    assert list(map(date.fromordinal, one.days[first:last])) == days
    assert one.exact(first, last) == [Decimal("80.0000")] * 2
    assert rates(held) == {FRIDAY: 99, SATURDAY: 99}


# Series


def test_a_currency_is_known_once_any_held_sheet_has_it() -> None:
    """Also after it left the sheet; not if all of its days are gone."""
    held = History(CALENDAR)
    held.fill([column("USD", FRIDAY), column("EUR", SUNDAY), column("UZS", FRIDAY)], Coverage(FRIDAY, FRIDAY))
    held.add(dollar(SATURDAY))
    assert held.codes() == {"USD", "UZS"}
    assert [one.currency.code for one in held.columns("UZS")] == ["UZS"]
    assert (held.columns("EUR"), rates(held, "EUR")) == ([], {})


def test_the_ids_of_one_currency_are_one_series() -> None:
    """The lira had two ids. The earlier column comes first, and its record counts where both have one."""
    held = History(CALENDAR)
    late, early = column("EUR", FRIDAY, SATURDAY, cbr_id="R01239B", nominal=10), column("EUR", THURSDAY, FRIDAY)
    held.fill([late, column("USD", THURSDAY, FRIDAY, SATURDAY), early], Coverage(THURSDAY, SATURDAY))
    assert [one.currency.cbr_id for one in held.columns("EUR")] == ["R01239", "R01239B"]
    assert held.series("EUR", THURSDAY, SATURDAY) == [(THURSDAY, 23), (FRIDAY, 24), (SATURDAY, Decimal("2.5"))]
    assert held.series("EUR", SATURDAY, SATURDAY) == [(SATURDAY, Decimal("2.5"))]
    assert held.series("USD", FRIDAY, FRIDAY) == [(FRIDAY, Decimal(24))]
