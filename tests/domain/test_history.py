from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratesvc.config import Calendar
from ratesvc.domain.columns import Coverage
from ratesvc.domain.history import History, day_to_fetch, on_day, snapshot
from ratesvc.domain.rates import Quote, Revision, Sheet
from ratesvc.domain.workdays import ONE_DAY, WorkCalendar, moscow_day
from ratesvc.errors import BeforeHistory, HistoryLoading, NoSheet, NotYetSet, RatesvcError, UnknownRevision

CALENDAR = WorkCalendar(Calendar().extra_off)
FETCHED = datetime(2026, 1, 1, tzinfo=UTC)

THURSDAY, FRIDAY, SATURDAY, SUNDAY, MONDAY, TUESDAY, WEDNESDAY = (date(2026, 4, day) for day in range(23, 30))


def revision(day: date, number: int = 1, value: str = "80.0000", code: str = "USD") -> Revision:
    quote = Quote(code, "840", "R01235", 1, Decimal(value), code)
    return Revision(Sheet(day, (quote,)), number, FETCHED)


def holding(*days: date) -> History:
    return History(CALENDAR, map(revision, days))


def moscow(day: date, clock: str) -> datetime:
    """A moment by a Moscow clock, told in UTC as the service does."""
    return datetime.fromisoformat(f"{day}T{clock}+03:00").astimezone(UTC)


@pytest.mark.parametrize("day", [SATURDAY, SUNDAY, MONDAY])
def test_saturdays_sheet_is_the_law_until_monday(day: date) -> None:
    """On Saturday, Sunday and Monday the sheet set on Friday applies, fresh and undoubted."""
    answer = on_day(holding(FRIDAY, SATURDAY), day, moscow(day, "12:00"))
    assert answer.revision.effective_date == SATURDAY
    assert answer.previous == revision(FRIDAY)
    assert not answer.stale
    assert not answer.next_overdue


def test_monday_is_answered_on_friday_evening() -> None:
    """Nothing can be set between, so the sheet of Saturday is certain for Monday as soon as it is there."""
    answer = on_day(holding(FRIDAY, SATURDAY), MONDAY, moscow(FRIDAY, "17:00"))
    assert (answer.requested_date, answer.revision.effective_date) == (MONDAY, SATURDAY)
    assert answer.next_expected_at == moscow(MONDAY, "18:00")


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        (TUESDAY, moscow(MONDAY, "18:00")),
        (WEDNESDAY, moscow(TUESDAY, "18:00")),
        (date(2026, 5, 4), moscow(date(2026, 4, 30), "18:00")),
    ],
)
def test_a_day_to_come_says_when_its_own_sheet_is_expected(day: date, expected: datetime) -> None:
    """On the working day before the sheet that will apply then, never the newest sheet in silence."""
    with pytest.raises(NotYetSet) as caught:
        on_day(holding(FRIDAY, SATURDAY), day, moscow(SATURDAY, "12:00"))
    assert (caught.value.day, caught.value.expected_at) == (day, expected)


@pytest.mark.parametrize(("clock", "overdue"), [("17:59", False), ("20:59", False), ("21:00", True), ("23:59", True)])
def test_a_sheet_that_does_not_come_is_overdue_after_three_hours(clock: str, overdue: bool) -> None:
    """It was due at 18:00 and still is: from 21:00 on a publication is being missed."""
    with pytest.raises(NotYetSet) as caught:
        on_day(holding(FRIDAY, SATURDAY), TUESDAY, moscow(MONDAY, clock))
    assert (caught.value.expected_at, caught.value.overdue) == (moscow(MONDAY, "18:00"), overdue)


def test_next_thursday_is_not_answered_on_wednesday_morning() -> None:
    """Until Wednesday's work is done nobody knows Thursday's rate."""
    held = holding(WEDNESDAY)
    with pytest.raises(NotYetSet):
        on_day(held, WEDNESDAY + ONE_DAY, moscow(WEDNESDAY, "09:00"))
    held.add(revision(WEDNESDAY + ONE_DAY))
    assert on_day(held, WEDNESDAY + ONE_DAY, moscow(WEDNESDAY, "17:00")).revision == revision(WEDNESDAY + ONE_DAY)


def test_a_past_day_is_loading_where_a_sheet_may_be_missing() -> None:
    """With the sheets of Thursday and Saturday held, Friday's is missing: Friday is not answered with Thursday's."""
    held = holding(THURSDAY, SATURDAY)
    with pytest.raises(HistoryLoading) as caught:
        on_day(held, FRIDAY, moscow(MONDAY, "12:00"))
    assert caught.value.day == FRIDAY
    assert on_day(held, THURSDAY, moscow(MONDAY, "12:00")).revision == revision(THURSDAY)
    with pytest.raises(HistoryLoading):
        on_day(held, date(2001, 1, 1), moscow(MONDAY, "12:00"))


def test_a_past_day_knows_its_neighbours_and_expects_nothing() -> None:
    """It is settled: the sheet that followed is named, nothing is overdue or stale."""
    answer = on_day(holding(THURSDAY, FRIDAY, SATURDAY), FRIDAY, moscow(WEDNESDAY, "12:00"))
    assert (answer.previous, answer.revision, answer.following) == tuple(map(revision, (THURSDAY, FRIDAY, SATURDAY)))
    assert (answer.next_expected_at, answer.next_overdue, answer.stale) == (None, False, False)


def test_before_1998_the_calendar_proves_nothing() -> None:
    """On a day off, 13 June 1997, the Bank set a sheet for the 14th: only a coverage without gaps is certain."""
    held, now = holding(date(1997, 6, 12), date(1997, 12, 31), date(1998, 1, 1)), moscow(MONDAY, "12:00")
    for day in (date(1997, 6, 13), date(1997, 6, 14)):
        with pytest.raises(HistoryLoading):
            on_day(held, day, now)
        assert held.first_gap(date(1997, 6, 12), day) == date(1997, 6, 13)
    held.fill(held.columns(), Coverage(date(1997, 6, 12), date(1997, 12, 30)))
    assert on_day(held, date(1997, 6, 13), now).revision.effective_date == date(1997, 6, 12)
    assert on_day(held, date(1998, 1, 5), now).revision.effective_date == date(1998, 1, 1)


def test_a_neighbour_that_may_not_be_the_next_is_not_named() -> None:
    """With Friday's sheet missing, neither is Saturday's the following nor Thursday's the previous one."""
    held = holding(THURSDAY, SATURDAY)
    assert on_day(held, THURSDAY, moscow(MONDAY, "12:00")).following is None
    assert on_day(held, SATURDAY, moscow(MONDAY, "12:00")).previous is None


def test_there_are_no_rates_before_july_1992() -> None:
    """The first effective date is 1992-07-01, and the day before it has no answer however much is held."""
    held = holding(date(1992, 7, 1), SATURDAY)
    now = moscow(SATURDAY, "12:00")
    assert on_day(held, date(1992, 7, 1), now).revision.effective_date == date(1992, 7, 1)
    for day in (date(1992, 6, 30), date.min):
        with pytest.raises(BeforeHistory):
            on_day(held, day, now)


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
    assert answer.revision == revision(SATURDAY)
    assert (answer.stale, answer.next_overdue) == (True, True)
    assert on_day(held, date(2027, 1, 20), moscow(date(2027, 1, 20), "12:00")).stale


@pytest.mark.parametrize(
    ("clock", "late", "missed"), [("17:59:59", False, 0), ("18:00", True, 0), ("20:59:59", True, 0), ("21:00", True, 1)]
)
def test_the_next_sheet_is_late_at_18_and_overdue_at_21_and_today_is_not_stale(
    clock: str, *, late: bool, missed: int
) -> None:
    """Today's rate remains the law until midnight, whatever the Bank does about tomorrow's."""
    seen = snapshot(holding(FRIDAY, SATURDAY), moscow(MONDAY, clock))
    assert (seen.next_late, seen.publications_missed, seen.next_overdue) == (late, missed, bool(missed))
    assert seen.next_expected_at == moscow(MONDAY, "18:00")
    assert not seen.stale


def test_tomorrows_sheet_is_announced_and_then_in_force_at_midnight_with_no_new_data() -> None:
    """One second before Moscow midnight and at it, the same held sheets give another day's law."""
    held = holding(THURSDAY, FRIDAY, SATURDAY)
    evening, midnight = snapshot(held, moscow(FRIDAY, "23:59:59")), snapshot(held, moscow(SATURDAY, "00:00"))
    assert (evening.today, evening.in_force, evening.announced) == (FRIDAY, revision(FRIDAY), revision(SATURDAY))
    assert (midnight.today, midnight.in_force, midnight.announced) == (SATURDAY, revision(SATURDAY), None)
    assert (evening.previous, midnight.previous) == (revision(THURSDAY), revision(FRIDAY))
    assert not midnight.stale


def test_with_tomorrows_sheet_the_next_is_expected_after_it() -> None:
    """Today's answer names tomorrow's sheet; tomorrow's compares itself with today's and nothing is overdue."""
    seen = snapshot(holding(THURSDAY, FRIDAY, SATURDAY), moscow(FRIDAY, "22:00"))
    assert seen.for_today().following == revision(SATURDAY)
    upcoming = seen.for_next()
    assert upcoming is not None
    assert (upcoming.requested_date, upcoming.revision, upcoming.previous) == (
        SATURDAY,
        revision(SATURDAY),
        revision(FRIDAY),
    )
    assert (upcoming.next_expected_at, upcoming.next_overdue) == (moscow(MONDAY, "18:00"), False)


def test_nothing_is_next_until_it_is_announced() -> None:
    """On a working morning tomorrow's sheet does not exist."""
    assert snapshot(holding(THURSDAY, FRIDAY), moscow(FRIDAY, "10:00")).for_next() is None


def test_the_previous_sheet_is_unknown_where_one_may_be_missing() -> None:
    """A change against Wednesday is not a change against Thursday: none is better than a wrong one."""
    assert snapshot(holding(date(2026, 4, 22), FRIDAY), moscow(FRIDAY, "12:00")).previous is None
    assert snapshot(holding(FRIDAY), moscow(FRIDAY, "12:00")).previous is None


def test_over_the_new_year_the_sheet_of_the_first_is_fresh_for_eleven_days() -> None:
    """On 12 January 2015 the sheet of the 1st was twelve days old, in force, and on time."""
    held = holding(date(2014, 12, 31), date(2015, 1, 1))
    seen = snapshot(held, moscow(date(2015, 1, 12), "17:59"))
    assert (seen.in_force.effective_date, seen.stale, seen.next_late) == (date(2015, 1, 1), False, False)
    assert snapshot(held, moscow(date(2015, 1, 13), "00:00")).stale


@pytest.mark.parametrize(
    ("held", "now", "wanted"),
    [
        ([], moscow(FRIDAY, "12:00"), FRIDAY),
        ([SATURDAY], moscow(FRIDAY, "17:00"), FRIDAY),
        ([FRIDAY, SATURDAY], moscow(FRIDAY, "17:00"), THURSDAY),
        ([THURSDAY, FRIDAY, SATURDAY], moscow(FRIDAY, "17:00"), None),
        ([SATURDAY], moscow(MONDAY, "12:00"), FRIDAY),
        ([SATURDAY, TUESDAY], moscow(TUESDAY, "12:00"), None),
        ([FRIDAY, SATURDAY], moscow(WEDNESDAY, "12:00"), None),
        ([SATURDAY], moscow(WEDNESDAY, "12:00"), FRIDAY),
        ([date(1992, 7, 1)], moscow(date(1992, 7, 1), "12:00"), None),
    ],
)
def test_a_snapshot_lacks_todays_sheet_first_and_then_the_one_before(
    held: list[date], now: datetime, wanted: date | None
) -> None:
    """What to ask the Bank for by date; a stale sheet is the newest it has, so only its predecessor can be lacking."""
    assert day_to_fetch(held, holding(*held), now) == wanted


def test_the_newest_revision_of_a_day_is_the_one_that_counts() -> None:
    """A correction replaces nothing: the earlier wording stays and can be asked for."""
    held = History(CALENDAR, [revision(FRIDAY, 2, "81.0000"), revision(FRIDAY)])
    assert held.of_date(FRIDAY) == held.newest == revision(FRIDAY, 2, "81.0000")
    assert held.in_force(FRIDAY, FRIDAY).number == 2
    assert held.revision(FRIDAY, 1) == revision(FRIDAY)
    assert [one.number for one in held] == [1, 2]
    assert len(held) == 2
    for day, number in ((FRIDAY, 3), (SATURDAY, 1)):
        with pytest.raises(UnknownRevision):
            held.revision(day, number)


def test_what_only_we_knew_under_a_number_gets_the_next_one() -> None:
    """A replica that began without Redis, which comes back with an earlier wording: the later one stays the latest."""
    earlier, later = revision(FRIDAY), revision(FRIDAY, value="81.0000")
    held = History(CALENDAR, [later])
    held.merge(earlier)
    assert held.revision(FRIDAY, 1) == earlier
    latest = held.of_date(FRIDAY)
    assert latest
    assert (latest.number, latest.sheet) == (2, later.sheet)
    held.merge(earlier)
    assert len(held) == 2


def test_every_addition_is_a_new_version() -> None:
    """Whoever caches an answer can see that there is something new."""
    held = holding(FRIDAY)
    before = held.version
    held.add(revision(SATURDAY))
    assert held.version > before
    assert held.of_date(THURSDAY) is None


def test_who_reads_while_a_sheet_is_added_reads_what_was() -> None:
    """Threads write long series: neither days nor figures move under their hands, and no record is half there."""
    held = holding(THURSDAY, SATURDAY)
    held.fill(held.columns(), Coverage(THURSDAY, SATURDAY))
    [column], days = held.columns("USD"), held.days
    first, last = column.places(THURSDAY, TUESDAY)
    held.add(revision(FRIDAY, value="99.0000"))
    held.add(revision(SATURDAY, 2, "99.0000"))
    held.add(Revision(Sheet(THURSDAY, ()), 2, FETCHED))
    assert days == [THURSDAY, SATURDAY]
    assert list(map(date.fromordinal, column.days[first:last])) == days
    assert column.exact(first, last) == [Decimal("80.0000")] * 2
    assert held.series("USD", THURSDAY, TUESDAY) == [(day, Decimal(99)) for day in (FRIDAY, SATURDAY)]


def test_a_currency_is_known_once_any_held_sheet_has_it() -> None:
    """One that left the sheet is known still; one that never was is not."""
    held = History(CALENDAR, [revision(FRIDAY, code="BGN"), revision(SATURDAY)])
    assert [column.currency.code for column in held.columns("BGN")] == ["BGN"]
    assert held.knows("BGN")
    assert not held.knows("XXX")


YEAR = [date(2025, 9, 1) + timedelta(days=n) for n in range(270)]
EFFECTIVE = [day for day in YEAR if CALENDAR.is_effective_date(day)]


def _or_error(ask: Callable[[], Revision]) -> Revision | RatesvcError:
    try:
        return ask()
    except RatesvcError as error:
        return error


@given(st.sets(st.sampled_from(EFFECTIVE), min_size=1), st.sampled_from(YEAR), st.sampled_from(YEAR))
def test_a_day_is_never_answered_with_another_days_law(held: set[date], day: date, today: date) -> None:
    """Whichever sheets happen to be held: the right one, or an error, or today's newest with a flag."""
    lawful = CALENDAR.effective_date_on_or_before(day)
    history = holding(*sorted(held))
    answer = _or_error(lambda: history.in_force(day, today))
    if lawful in held:
        assert answer == revision(lawful)
    elif day > today:
        assert isinstance(answer, NotYetSet)
        assert answer.expected_at == moscow(lawful - ONE_DAY, "18:00")
    elif day < today or min(held) > today:
        assert isinstance(answer, HistoryLoading)
    else:
        assert answer == revision(max(one for one in held if one <= today))
        assert snapshot(history, moscow(today, "12:00")).stale


@given(st.sets(st.sampled_from(EFFECTIVE), min_size=1), st.datetimes(datetime(2025, 9, 1), datetime(2026, 5, 28)))  # noqa: DTZ001 -- made UTC below
def test_a_snapshot_is_stale_exactly_when_todays_own_sheet_is_missing(held: set[date], moment: datetime) -> None:
    """And what it shows as today's and as announced are sheets that it holds, on their side of midnight."""
    now = moment.replace(tzinfo=UTC)
    today = moscow_day(now)
    history = holding(*sorted(held))
    if min(held) > today:
        with pytest.raises(NoSheet):
            snapshot(history, now)
        return
    seen = snapshot(history, now)
    assert seen.stale is (CALENDAR.effective_date_on_or_before(today) not in held)
    assert seen.in_force.effective_date == max(day for day in held if day <= today)
    assert (seen.announced is None) == (max(held) <= today)
