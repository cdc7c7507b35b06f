"""History to the day: what is near, what a correction was known as, where certainty begins and ends."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from ratesvc.config import Calendar
from ratesvc.domain import history as module
from ratesvc.domain.columns import Column, Coverage, Currency
from ratesvc.domain.history import History, certain_date, day_to_fetch, on_day, snapshot
from ratesvc.domain.rates import FIRST_DAY, Quote, Revision, Sheet
from ratesvc.domain.workdays import ONE_DAY, WorkCalendar
from ratesvc.errors import HistoryLoading, NotYetSet, UnknownRevision

CALENDAR = WorkCalendar(Calendar().extra_off)
FETCHED = datetime(2026, 1, 1, tzinfo=UTC)
THURSDAY, FRIDAY, SATURDAY, SUNDAY, MONDAY, TUESDAY, WEDNESDAY = (date(2026, 4, day) for day in range(23, 30))
CODES = {"USD": "R01235", "EUR": "R01239", "UZS": "R01717"}


def revision(day: date, number: int = 1, hour: int = 0, **values: str) -> Revision:
    """A wording of a day's sheet, fetched at that hour."""
    quotes = [Quote(code, "000", CODES[code], 1, Decimal(value), code) for code, value in values.items()]
    return Revision(Sheet(day, tuple(quotes)), number, FETCHED + timedelta(hours=hour))


def dollar(day: date, number: int = 1, value: str = "80.0000", hour: int = 0) -> Revision:
    return revision(day, number, hour, USD=value)


def column(code: str, *days: date, nominal: int = 1, cbr_id: str | None = None) -> Column:
    """Backfilled: the value is the number of the day in its month."""
    made = Column(Currency(cbr_id or CODES[code], CODES[code], code, "000", code), FETCHED)
    for day in days:
        made.put(day, nominal, Decimal(day.day))
    return made


def moscow(day: date, clock: str) -> datetime:
    return datetime.fromisoformat(f"{day}T{clock}+03:00").astimezone(UTC)


# What is near


def test_a_sheet_is_judged_by_an_earlier_one_and_never_by_itself() -> None:
    """A correction beside what it corrects would look like any other day; the day before it tells."""
    held = History(CALENDAR, [dollar(THURSDAY), dollar(FRIDAY), dollar(SATURDAY)])
    assert held.nearest_before(FRIDAY) == dollar(THURSDAY)
    assert held.nearest_before(SATURDAY) == dollar(FRIDAY)
    assert held.nearest_before(MONDAY) == dollar(SATURDAY)
    assert held.nearest_before(THURSDAY) is None
    assert History(CALENDAR).nearest_before(FRIDAY) is None


@pytest.mark.parametrize(("days", "is_near"), [(1, True), (30, True), (31, True), (32, False), (400, False)])
def test_near_is_a_month(days: int, *, is_near: bool) -> None:
    """Thirty-one days; what moved in more of them says nothing of a mistake."""
    held = History(CALENDAR, [dollar(THURSDAY - 400 * ONE_DAY), dollar(THURSDAY)])
    assert held.nearest_before(THURSDAY + timedelta(days=days)) == (dollar(THURSDAY) if is_near else None)


# Wordings


def test_a_correction_of_a_backfilled_sheet_keeps_how_it_read() -> None:
    """As revision 1, though it was held as columns only; a document that says the same takes its place."""
    held = History(CALENDAR)
    held.fill([column("USD", THURSDAY, FRIDAY)], Coverage(THURSDAY, FRIDAY))
    held.add(dollar(FRIDAY, 2, "81.0000"))
    assert held.revision(FRIDAY, 1).sheet.by_code["USD"].value == 24
    assert held.revision(FRIDAY, 2).sheet.by_code["USD"].value == 81
    assert [one.number for one in held] == [1, 2]
    assert held.has_document(FRIDAY)
    assert not held.has_document(THURSDAY)
    held.add(dollar(THURSDAY, 2, "23.0000"))
    assert [one.key for one in held] == [(THURSDAY, 2), (FRIDAY, 1), (FRIDAY, 2)]


def test_a_first_wording_of_a_backfilled_sheet_replaces_its_columns() -> None:
    """It is the same number: what the columns said is not a wording of its own."""
    held = History(CALENDAR)
    held.fill([column("USD", FRIDAY)], Coverage(FRIDAY, FRIDAY))
    held.add(dollar(FRIDAY, 1, "81.0000"))
    assert [one.number for one in held] == [1]
    assert held.series("USD", FRIDAY, FRIDAY) == [(FRIDAY, Decimal(81))]


def test_a_later_wording_does_not_bring_an_earlier_one_back() -> None:
    """Both are documents: what was held stays under its number."""
    held = History(CALENDAR, [dollar(FRIDAY), dollar(FRIDAY, 3, "83.0000")])
    held.add(dollar(FRIDAY, 2, "82.0000"))
    assert {one.number: one.sheet.by_code["USD"].value for one in held} == {1: 80, 2: 82, 3: 83}
    assert held.series("USD", FRIDAY, FRIDAY) == [(FRIDAY, Decimal(83))]


@pytest.mark.parametrize(
    ("ours", "theirs", "numbers"),
    [
        ([dollar(FRIDAY, 1, "81.0000", hour=2)], dollar(FRIDAY, hour=1), {1: 80, 2: 81}),
        ([dollar(FRIDAY, 1, "81.0000", hour=1)], dollar(FRIDAY, hour=1), {1: 80, 2: 81}),
        ([dollar(FRIDAY, 1, "81.0000", hour=0)], dollar(FRIDAY, hour=1), {1: 80}),
        ([dollar(FRIDAY, 1, "80.0000", hour=2)], dollar(FRIDAY, hour=1), {1: 80}),
        ([], dollar(FRIDAY, hour=1), {1: 80}),
        ([dollar(FRIDAY, 2, "81.0000", hour=2)], dollar(FRIDAY, hour=1), {1: 80, 2: 81}),
        (
            [dollar(FRIDAY, 1, "81.0000", hour=2), dollar(FRIDAY, 2, "81.0000", hour=1)],
            dollar(FRIDAY, hour=1),
            {1: 80, 2: 81},
        ),
        (
            [dollar(FRIDAY, 1, "81.0000", hour=2), dollar(FRIDAY, 2, "82.0000", hour=1)],
            dollar(FRIDAY, hour=0),
            {1: 80, 2: 82, 3: 81},
        ),
        (
            [dollar(FRIDAY, 1, "81.0000", hour=1), dollar(FRIDAY, 2, "82.0000", hour=2)],
            dollar(FRIDAY, hour=0),
            {1: 80, 2: 82},
        ),
    ],
    ids=[
        "ours is later",
        "as old",
        "ours is older",
        "the same",
        "only theirs",
        "under different numbers",
        "said by the latest",
        "later than the latest",
        "older than the latest",
    ],
)
def test_what_every_replica_knows_stays_under_its_number(
    ours: list[Revision], theirs: Revision, numbers: dict[int, int]
) -> None:
    """What only this one knew under it becomes the next, if it is later and says something else."""
    held = History(CALENDAR, ours)
    held.merge(theirs)
    assert {one.number: one.sheet.by_code["USD"].value for one in held} == numbers


def test_a_wording_is_shown_beside_what_was_known_then() -> None:
    """The sheet before it as it read when this one was fetched, whatever was corrected later."""
    wordings = [dollar(THURSDAY, n, f"8{n}.0000", hour=10 * n) for n in (1, 2, 3)]
    held = History(CALENDAR, wordings)
    for hour, number in ((9, 1), (10, 1), (19, 1), (20, 2), (29, 2), (30, 3), (99, 3)):
        held.add(dollar(FRIDAY, 1, "90.0000", hour=hour))
        answer = held.in_revision(on_day(held, FRIDAY, moscow(FRIDAY, "12:00")), 1)
        assert answer.revision == dollar(FRIDAY, 1, "90.0000", hour=hour)
        assert answer.previous == wordings[number - 1]
        assert (answer.requested_date, answer.following, answer.next_expected_at) == (FRIDAY, None, None)


def test_a_wording_beside_a_backfilled_sheet_is_shown_beside_that() -> None:
    """It has one wording only; where the sheet before is unknown nothing is shown."""
    held = History(CALENDAR)
    held.fill([column("USD", THURSDAY)], Coverage(THURSDAY, THURSDAY))
    held.add(dollar(FRIDAY))
    worded = held.in_revision(on_day(held, FRIDAY, moscow(FRIDAY, "12:00")), 1)
    assert worded.previous
    assert worded.previous.effective_date == THURSDAY
    alone = History(CALENDAR, [dollar(FRIDAY)])
    assert alone.in_revision(on_day(alone, FRIDAY, moscow(FRIDAY, "12:00")), 1).previous is None
    with pytest.raises(UnknownRevision):
        held.in_revision(on_day(held, FRIDAY, moscow(FRIDAY, "12:00")), 2)


def test_a_wording_that_stands_in_is_stale() -> None:
    """Asked for by a day whose own sheet is missing."""
    held = History(CALENDAR, [dollar(FRIDAY)])
    answer = on_day(held, SATURDAY, moscow(SATURDAY, "12:00"))
    assert held.in_revision(answer, 1).stale
    assert not held.in_revision(on_day(held, FRIDAY, moscow(FRIDAY, "12:00")), 1).stale


def test_a_backfilled_sheet_has_one_wording() -> None:
    """The first; and a day without a sheet has none."""
    held = History(CALENDAR)
    held.fill([column("USD", FRIDAY)], Coverage(FRIDAY, FRIDAY))
    assert held.revision(FRIDAY, 1).number == 1
    held.add(dollar(SATURDAY, 2))
    for day, number in ((FRIDAY, 2), (FRIDAY, 0), (SUNDAY, 1), (SATURDAY, 1)):
        with pytest.raises(UnknownRevision):
            held.revision(day, number)


# All of history


def test_a_backfill_holds_the_days_of_its_span_only() -> None:
    """What lies outside of it, or has no dollar, is not a sheet: no currency has a record there."""
    held = History(CALENDAR)
    days = (THURSDAY, FRIDAY, SATURDAY, TUESDAY)
    held.fill([column("USD", *days), column("EUR", FRIDAY, SUNDAY, TUESDAY)], Coverage(THURSDAY, SATURDAY, (SATURDAY,)))
    assert held.days == [THURSDAY, FRIDAY]
    assert [day for day, _ in held.series("USD", THURSDAY, WEDNESDAY)] == [THURSDAY, FRIDAY]
    assert [day for day, _ in held.series("EUR", THURSDAY, WEDNESDAY)] == [FRIDAY]
    assert held.coverage == Coverage(THURSDAY, SATURDAY, (SATURDAY,))


def test_a_daily_document_stays_above_a_backfill() -> None:
    """Also outside of the coverage, and on a day of it that was lacking, which is held then."""
    held = History(CALENDAR, [dollar(FRIDAY, 1, "99.0000"), dollar(TUESDAY, 1, "98.0000")])
    version = held.version
    held.fill([column("USD", THURSDAY, FRIDAY, SATURDAY)], Coverage(THURSDAY, SATURDAY, (FRIDAY,)))
    assert held.version > version
    assert held.days == [THURSDAY, FRIDAY, SATURDAY, TUESDAY]
    assert held.coverage == Coverage(THURSDAY, SATURDAY)
    assert [rate for _, rate in held.series("USD", THURSDAY, TUESDAY)] == [23, 99, 25, 98]


def test_a_nominal_stays_with_its_day_in_a_backfill() -> None:
    """Columns that lose a day outside of the coverage keep every other value with its own nominal."""
    held = History(CALENDAR)
    flipping = column("UZS", THURSDAY, nominal=10000)
    flipping.put(FRIDAY, 1000, Decimal(24))
    flipping.put(SATURDAY, 10000, Decimal(25))
    held.fill([column("USD", THURSDAY, FRIDAY, SATURDAY), flipping], Coverage(FRIDAY, SATURDAY))
    assert held.series("UZS", THURSDAY, SATURDAY) == [(FRIDAY, Decimal("0.024")), (SATURDAY, Decimal("0.0025"))]


def test_a_composed_sheet_is_composed_once_and_forgotten_when_history_is_filled() -> None:
    """Five hundred are kept; the oldest goes first."""
    held = History(CALENDAR)
    held.fill([column("USD", THURSDAY, FRIDAY)], Coverage(THURSDAY, FRIDAY))
    assert held.of_date(THURSDAY) is held.of_date(THURSDAY)
    assert held.of_date(SUNDAY) is None
    before = held.of_date(THURSDAY)
    other = column("USD", FRIDAY)
    other.put(THURSDAY, 1, Decimal(99))
    held.fill([other], Coverage(THURSDAY, FRIDAY))
    after = held.of_date(THURSDAY)
    assert before
    assert after
    assert not after.sheet.says_the_same_as(before.sheet)


def test_no_more_composed_sheets_are_kept_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who walks through thirty-four years leaves the last of them behind."""
    assert module.MOST_COMPOSED == 500
    monkeypatch.setattr(module, "MOST_COMPOSED", 2)
    held = History(CALENDAR)
    held.fill([column("USD", THURSDAY, FRIDAY, SATURDAY)], Coverage(THURSDAY, SATURDAY))
    first, second, _ = (held.of_date(day) for day in (THURSDAY, FRIDAY, SATURDAY))
    assert len(held._composed) == 2  # noqa: SLF001 -- what grows is nowhere else
    assert held.of_date(FRIDAY) is second
    assert held.of_date(THURSDAY) is not first


def test_a_day_in_the_middle_that_is_not_admitted_is_held_back() -> None:
    """Its figures go from every column, and its place in the coverage is lacking."""
    held = History(CALENDAR)
    held.fill([column("USD", THURSDAY, FRIDAY, SATURDAY), column("EUR", FRIDAY)], Coverage(THURSDAY, SATURDAY))
    assert held.of_date(FRIDAY)
    version = held.version
    held.hold_back(FRIDAY)
    assert (held.days, held.of_date(FRIDAY)) == ([THURSDAY, SATURDAY], None)
    assert held.version > version
    assert held.coverage == Coverage(THURSDAY, SATURDAY, (FRIDAY,))
    assert [day for day, _ in held.series("USD", THURSDAY, SATURDAY)] == [THURSDAY, SATURDAY]
    assert held.series("EUR", THURSDAY, SATURDAY) == []
    assert held.certain_on(FRIDAY) is None
    with pytest.raises(HistoryLoading):
        held.in_force(FRIDAY, SATURDAY)


def test_a_day_at_the_end_that_is_not_admitted_ends_the_span() -> None:
    """With the sheet before it; what was lacking behind that is not part of the coverage any more."""
    held = History(CALENDAR)
    held.fill([column("USD", THURSDAY, FRIDAY, SATURDAY)], Coverage(THURSDAY, SATURDAY))
    held.hold_back(FRIDAY)
    held.hold_back(SATURDAY)
    assert (held.days, held.coverage) == ([THURSDAY], Coverage(THURSDAY, THURSDAY))
    held.hold_back(THURSDAY)
    assert (held.days, held.coverage) == ([], Coverage(THURSDAY, THURSDAY - ONE_DAY))


def test_a_span_that_ends_earlier_still_lacks_what_it_lacked() -> None:
    """Before its new end; a held sheet outside of the coverage does not count as a part of it."""
    held = History(CALENDAR)
    held.fill([column("USD", THURSDAY, FRIDAY, SATURDAY, TUESDAY)], Coverage(THURSDAY, TUESDAY))
    held.add(dollar(WEDNESDAY))
    held.hold_back(FRIDAY)
    held.hold_back(TUESDAY)
    assert (held.days, held.coverage) == ([THURSDAY, SATURDAY, WEDNESDAY], Coverage(THURSDAY, SATURDAY, (FRIDAY,)))


def test_a_document_of_a_day_that_was_lacking_fills_its_place() -> None:
    """The day is certain from then on."""
    held = History(CALENDAR)
    held.fill([column("USD", THURSDAY, SATURDAY)], Coverage(THURSDAY, SATURDAY, (FRIDAY,)))
    assert held.certain_on(FRIDAY) is None
    held.add(dollar(FRIDAY))
    assert held.coverage == Coverage(THURSDAY, SATURDAY)
    assert held.certain_on(FRIDAY) == dollar(FRIDAY)


# Certainty


OLD = [date(1997, 6, 12), date(1997, 6, 14), date(1997, 6, 18)]


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
def test_before_1998_only_a_span_is_certain(coverage: Coverage | None, day: date, found: date | None) -> None:
    """The sheet and the day must both lie in it, with none that is lacking between."""
    assert certain_date(OLD, CALENDAR, coverage, day) == found


def test_an_earlier_sheet_and_a_later_one_are_named_where_none_can_be_missing() -> None:
    """Thursday's, Friday's and Saturday's follow each other; Tuesday's may, and Wednesday's does not."""
    held = History(CALENDAR, map(dollar, (THURSDAY, FRIDAY, SATURDAY, WEDNESDAY)))
    assert [held.before(day) for day in (FRIDAY, SATURDAY, TUESDAY)] == [
        dollar(THURSDAY),
        dollar(FRIDAY),
        dollar(SATURDAY),
    ]
    assert (held.before(THURSDAY), held.before(WEDNESDAY)) == (None, None)
    assert (held.after(THURSDAY), held.after(FRIDAY)) == (dollar(FRIDAY), dollar(SATURDAY))
    assert (held.after(SATURDAY), held.after(WEDNESDAY)) == (None, None)
    held.add(dollar(TUESDAY))
    assert held.after(SATURDAY) == dollar(TUESDAY)


def test_a_sheet_that_is_not_admitted_is_between_its_neighbours() -> None:
    """The one after it does not follow the one before it."""
    held = History(CALENDAR)
    held.fill([column("USD", THURSDAY, FRIDAY, SATURDAY)], Coverage(THURSDAY, SATURDAY))
    assert held.after(THURSDAY)
    held.hold_back(FRIDAY)
    assert (held.after(THURSDAY), held.before(SATURDAY)) == (None, None)


@pytest.mark.parametrize(
    ("since", "until", "gap"),
    [
        (THURSDAY, MONDAY, None),
        (THURSDAY, TUESDAY, TUESDAY),
        (THURSDAY, WEDNESDAY, TUESDAY),
        (FRIDAY, FRIDAY, None),
        (date(2026, 4, 22), MONDAY, date(2026, 4, 22)),
        (WEDNESDAY, WEDNESDAY, WEDNESDAY),
        (TUESDAY, MONDAY, None),
    ],
)
def test_a_gap_begins_where_a_sheet_may_be_missing(since: date, until: date, gap: date | None) -> None:
    """Thursday's, Friday's and Saturday's sheets are held: Saturday's lasts to Monday."""
    held = History(CALENDAR, map(dollar, (THURSDAY, FRIDAY, SATURDAY)))
    assert held.first_gap(since, until) == gap
    held.fill([column("USD", THURSDAY, FRIDAY)], Coverage(THURSDAY, FRIDAY))
    assert held.first_gap(since, until) == gap


def test_a_gap_before_1998_is_found_day_by_day() -> None:
    """A sheet of that time is certain on its own day only."""
    held = History(CALENDAR, map(dollar, OLD))
    assert held.first_gap(OLD[0], OLD[0]) is None
    assert held.first_gap(OLD[0], OLD[1]) == date(1997, 6, 13)
    held.fill([column("USD", *OLD[:2])], Coverage(OLD[0], date(1997, 6, 17)))
    assert held.first_gap(OLD[0], OLD[2]) is None
    assert held.first_gap(OLD[0], date(1997, 6, 19)) == date(1997, 6, 19)


def test_there_is_no_gap_before_the_first_rates() -> None:
    """They begin on 1 July 1992."""
    held = History(CALENDAR)
    held.fill([column("USD", FIRST_DAY)], Coverage(FIRST_DAY, FIRST_DAY + 2 * ONE_DAY))
    assert held.first_gap(date(1990, 1, 1), FIRST_DAY + 2 * ONE_DAY) is None
    assert held.first_gap(date(1990, 1, 1), FIRST_DAY + 3 * ONE_DAY) == FIRST_DAY + 3 * ONE_DAY


# Currencies


def test_a_currency_whose_days_are_all_gone_is_not_known() -> None:
    """An empty column is no history."""
    held = History(CALENDAR)
    held.fill([column("USD", FRIDAY), column("EUR", SUNDAY), column("UZS", FRIDAY)], Coverage(FRIDAY, FRIDAY))
    assert [held.knows(code) for code in ("USD", "EUR", "UZS", "XXX")] == [True, False, True, False]
    assert held.codes() == {"USD", "UZS"}
    assert (held.columns("EUR"), held.series("EUR", THURSDAY, TUESDAY)) == ([], [])


def test_the_ids_of_one_currency_are_one_series() -> None:
    """The lira had two: the earlier column comes first, and of two records of a day that one counts."""
    held = History(CALENDAR)
    late = column("EUR", FRIDAY, SATURDAY, cbr_id="R01239B", nominal=10)
    early = column("EUR", THURSDAY, FRIDAY)
    dollars = column("USD", THURSDAY, FRIDAY, SATURDAY)
    held.fill([late, dollars, early], Coverage(THURSDAY, SATURDAY))
    assert [one.currency.cbr_id for one in held.columns("EUR")] == ["R01239", "R01239B"]
    assert held.series("EUR", THURSDAY, SATURDAY) == [(THURSDAY, 23), (FRIDAY, 24), (SATURDAY, Decimal("2.5"))]
    assert held.series("EUR", SATURDAY, SATURDAY) == [(SATURDAY, Decimal("2.5"))]
    assert held.series("USD", FRIDAY, FRIDAY) == [(FRIDAY, Decimal(24))]


# Now


def test_what_the_newest_sheet_says_of_the_next() -> None:
    """It is announced from the day before on, and not once it is in force."""
    held = History(CALENDAR, map(dollar, (THURSDAY, FRIDAY, SATURDAY)))
    friday, saturday = (snapshot(held, moscow(day, "12:00")) for day in (FRIDAY, SATURDAY))
    assert (friday.today, friday.in_force, friday.announced) == (FRIDAY, dollar(FRIDAY), dollar(SATURDAY))
    assert friday.previous == dollar(THURSDAY)
    assert (saturday.announced, saturday.in_force, saturday.previous) == (None, dollar(SATURDAY), dollar(FRIDAY))


@pytest.mark.parametrize(("clock", "late", "overdue"), [("18:00", True, False), ("21:00", True, True)])
def test_late_and_overdue_begin_with_their_hour(clock: str, late: bool, overdue: bool) -> None:
    """To the second; a second earlier they have not."""
    held = History(CALENDAR, map(dollar, (FRIDAY, SATURDAY)))
    for now, is_late, is_overdue in (
        (moscow(MONDAY, clock), late, overdue),
        (moscow(MONDAY, clock) - timedelta(seconds=1), clock == "21:00", False),
    ):
        seen = snapshot(held, now)
        assert (seen.next_late, seen.next_overdue) == (is_late, is_overdue)
        with pytest.raises(NotYetSet) as caught:
            on_day(held, TUESDAY, now)
        assert caught.value.overdue is is_overdue


def test_a_day_to_come_that_is_certain_expects_the_next_sheet() -> None:
    """Sunday, seen from Saturday, is answered by Saturday's sheet, and what follows is Tuesday's."""
    held = History(CALENDAR, map(dollar, (FRIDAY, SATURDAY)))
    answer = on_day(held, SUNDAY, moscow(SATURDAY, "12:00"))
    assert (answer.requested_date, answer.revision, answer.previous) == (SUNDAY, dollar(SATURDAY), dollar(FRIDAY))
    assert (answer.following, answer.next_expected_at) == (None, moscow(MONDAY, "18:00"))
    assert (answer.next_overdue, answer.stale) == (False, False)


def test_a_wording_more_is_counted() -> None:
    """Days, and wordings of them."""
    held = History(CALENDAR, [dollar(FRIDAY), dollar(FRIDAY, 2, "81.0000"), dollar(THURSDAY)])
    assert (len(held), held.days) == (3, [THURSDAY, FRIDAY])
    assert [one.key for one in held] == [(THURSDAY, 1), (FRIDAY, 1), (FRIDAY, 2)]
    version = held.version
    held.add(dollar(FRIDAY, 2, "81.0000"))
    assert held.version > version
    assert held.days == [THURSDAY, FRIDAY]


def test_no_day_stands_twice() -> None:
    """Whichever day is corrected, the first, one in the middle or the last."""
    held = History(CALENDAR, map(dollar, (THURSDAY, FRIDAY, SATURDAY)))
    for day in (SATURDAY, THURSDAY, FRIDAY):
        held.add(dollar(day, 2, "81.0000"))
        held.add(dollar(day, 1, "79.0000"))
    assert held.days == [THURSDAY, FRIDAY, SATURDAY]
    assert [day for day, _ in held.series("USD", THURSDAY, TUESDAY)] == [THURSDAY, FRIDAY, SATURDAY]
    held.add(dollar(date(2026, 4, 22)))
    assert held.days == [date(2026, 4, 22), THURSDAY, FRIDAY, SATURDAY]


def test_every_change_is_one_version_more() -> None:
    """Nothing held is version 0; a sheet, a backfill and a day held back count one each."""
    held = History(CALENDAR)
    versions = [held.version]
    held.add(dollar(THURSDAY))
    versions.append(held.version)
    held.fill([column("USD", THURSDAY, FRIDAY)], Coverage(THURSDAY, FRIDAY))
    versions.append(held.version)
    held.hold_back(FRIDAY)
    versions.append(held.version)
    assert versions == [0, 1, 2, 3]


def test_columns_to_be_looked_at_are_no_sheets() -> None:
    """They tell a series; no day is answered from them, and nobody knows whether one is missing."""
    looked_at = History.of_columns(CALENDAR, [column("USD", THURSDAY, FRIDAY), column("EUR")])
    assert looked_at.series("USD", THURSDAY, FRIDAY) == [(THURSDAY, Decimal(23)), (FRIDAY, Decimal(24))]
    assert [one.currency.code for one in looked_at.every_column()] == ["USD", "EUR"]
    assert [one.currency.code for one in looked_at.columns()] == ["USD"]
    assert (looked_at.days, looked_at.coverage, len(looked_at)) == ([], None, 0)
    assert looked_at.certain_on(FRIDAY) is None


@pytest.mark.parametrize(
    ("held", "today", "wanted"),
    [
        ([SATURDAY, WEDNESDAY], TUESDAY, TUESDAY),
        ([SATURDAY], TUESDAY, FRIDAY),
        ([WEDNESDAY], TUESDAY, TUESDAY),
        ([date(1992, 7, 2)], date(1992, 7, 2), FIRST_DAY),
        ([FIRST_DAY], FIRST_DAY, None),
    ],
    ids=["only tomorrow's is new", "stale", "only tomorrow's", "the second of all", "the first of all"],
)
def test_todays_sheet_is_wanted_where_tomorrows_is_there(held: list[date], today: date, wanted: date | None) -> None:
    """The Bank has it then; where nothing newer is there, a stale sheet is all it has."""
    assert day_to_fetch(held, History(CALENDAR, map(dollar, held)), moscow(today, "12:00")) == wanted
