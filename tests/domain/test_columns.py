"""Every figure of a day stays with its day, exact, whatever is put, forgotten or kept."""

from __future__ import annotations

from array import array
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from kit.dates import FRIDAY, MONDAY, SATURDAY, SUNDAY, THURSDAY, TUESDAY

from ratesvc.domain.columns import Column, Currency, Days, composed, differing, sheet_days, updated, with_revision
from ratesvc.domain.rates import Quote, Revision, Sheet

FETCHED = datetime(2026, 4, 24, 12, tzinfo=UTC)
USD = Currency("R01235", "R01235", "USD", "840", "Доллар США", "US Dollar")
SUM = Currency("R01717", "R01717", "UZS", "860", "Узбекских сумов")
Records = dict[date, tuple[int, Decimal]]


def column(records: Records, currency: Currency = USD, fetched_at: datetime = FETCHED) -> Column:
    made = Column(currency, fetched_at)
    for day, (nominal, value) in records.items():
        made.put(day, nominal, value)
    return made


def held(one: Column) -> Records:
    """The record of each day, read day by day."""
    assert len(one.days) == len(one.values) == len(one.nominals)
    quotes = {day: one.quote(day) for day in map(date.fromordinal, one.days)}
    return {day: (quote.nominal, quote.value) for day, quote in quotes.items() if quote}


FLIPPED: Records = {
    THURSDAY: (10000, Decimal("74.1000")),
    FRIDAY: (1000, Decimal("7.4200")),
    SATURDAY: (10000, Decimal("74.3000")),
    TUESDAY: (1, Decimal("75.5273")),
}

RECORDS = st.dictionaries(
    st.dates(date(2026, 1, 1), date(2026, 2, 28)),
    st.tuples(
        st.integers(0, 8).map(lambda power: 10**power), st.integers(1, 10**13 - 1).map(lambda n: Decimal(n).scaleb(-4))
    ),
    max_size=20,
)


@given(RECORDS, st.randoms())
def test_records_are_kept_in_the_order_of_days(records: Records, random: object) -> None:
    """In whichever order they are put."""
    days = list(records)
    getattr(random, "shuffle")(days)  # noqa: B009 -- hypothesis' type is no random.Random to mypy
    made = column({day: records[day] for day in days})
    assert list(made.days) == sorted(day.toordinal() for day in records)
    assert held(made) == records
    assert all(made.quote(day) is None for day in (date(2025, 12, 31), date(2026, 3, 1)))


@given(RECORDS, st.sets(st.dates(date(2026, 1, 1), date(2026, 2, 28))))
def test_days_that_are_kept_keep_their_nominals(records: Records, days: set[date]) -> None:
    """A value with another day's nominal would be wrong by a power of ten."""
    made = column(records)
    kept = made.with_only(array("i", sorted(day.toordinal() for day in days)))
    assert held(kept) == {day: record for day, record in records.items() if day in days}
    assert held(made) == records


@given(RECORDS, st.dates(date(2025, 12, 20), date(2026, 3, 10)), st.integers(-1, 30))
def test_a_forgotten_range_is_gone_and_nothing_else(records: Records, since: date, days: int) -> None:
    """Both of its ends too; also a range of one day, or of none."""
    until = since + timedelta(days=days)
    made = column(records)
    made.forget(Days(since, until))
    assert held(made) == {day: record for day, record in records.items() if not since <= day <= until}


@given(RECORDS, st.dates(date(2026, 1, 1), date(2026, 2, 28)), st.integers(0, 8), st.integers(1, 10**9))
def test_columns_that_threads_read_do_not_change(records: Records, day: date, power: int, scaled: int) -> None:
    """A sheet that comes, another one for its day, and its withdrawal: each changes copies of what was given."""
    made, record = column(records), (10**power, Decimal(scaled).scaleb(-4))
    quote = Quote("USD", "840", "R01235", *record, "Доллар США")
    sheet, gone = (Revision(Sheet(day, quotes), number, FETCHED) for number, quotes in ((1, (quote,)), (2, ())))
    given, days = {"R01235": made}, sorted(records)
    (more, with_day), (less, without_day) = updated(given, days, [sheet]), updated(given, days, [sheet, gone])
    others = {one: kept for one, kept in records.items() if one != day}
    assert (held(more["R01235"]), with_day) == ({**others, day: record}, sorted({*records, day}))
    assert (held(less["R01235"]), without_day) == (others, sorted(others))
    assert (held(made), given, days) == (records, {"R01235": made}, sorted(records))
    assert (more["R01235"] is made) is (records.get(day) == record)


@example(FLIPPED, FRIDAY, SATURDAY)
@given(RECORDS, st.dates(date(2025, 12, 20), date(2026, 3, 10)), st.dates(date(2025, 12, 20), date(2026, 3, 10)))
def test_a_closed_range_has_both_ends(records: Records, since: date, until: date) -> None:
    """Whatever it has between them."""
    made, expected = column(records), [day for day in sorted(records) if since <= day <= until]
    first, last = made.places(Days(since, until))
    assert list(map(date.fromordinal, made.days[first:last])) == expected


def test_a_sheet_is_composed_of_the_columns_that_have_its_day() -> None:
    """In the order of names, as old as the oldest of its columns; no sheet without a record."""
    early = FETCHED - timedelta(hours=1)
    columns = [column(FLIPPED, SUM, early), column({FRIDAY: (1, Decimal("80.0000"))})]
    found = composed(columns, FRIDAY)
    assert found
    assert (found.effective_date, found.number, found.fetched_at) == (FRIDAY, 1, early)
    assert [(quote.code, quote.nominal, str(quote.value)) for quote in found.sheet.quotes] == [
        ("USD", 1, "80.0000"),
        ("UZS", 1000, "7.4200"),
    ]
    alone = composed(columns, THURSDAY)
    assert alone
    assert [quote.code for quote in alone.sheet.quotes] == ["UZS"]
    assert composed(columns, SUNDAY) is None
    assert composed([], FRIDAY) is None


def test_the_days_of_the_sheets_are_those_of_the_dollar() -> None:
    """In order, also if it has had another id for a day."""
    record = FLIPPED[FRIDAY]
    sums, dollars = column({MONDAY: record}, SUM), column({SUNDAY: record, TUESDAY: record})
    sums.put(SATURDAY, *record, USD)
    assert sheet_days([dollars, sums], Days(SATURDAY, TUESDAY)) == [SATURDAY, SUNDAY, TUESDAY]
    assert sheet_days([dollars, sums], Days(SUNDAY, SUNDAY)) == [SUNDAY]


NAMES = [USD, replace(USD, code="USN"), replace(USD, numeric_code="997")]


@given(st.lists(st.tuples(st.integers(1, 9), st.sampled_from(NAMES)), min_size=1), st.sampled_from(NAMES))
def test_a_column_knows_which_code_it_had_when(records: list[tuple[int, Currency]], later: Currency) -> None:
    """In whatever order days come, are set again, or get other codes; and also if the catalogue renames the id."""
    made, expected = Column(USD, FETCHED), {}
    for number, names in records:
        day = FIRST + timedelta(days=number)
        before, known = made.copy(), made.others
        quote = Quote(names.code, names.numeric_code, names.cbr_id, 1, Decimal(number), names.name)
        made = with_revision({names.cbr_id: made}, Revision(Sheet(day, (quote,)), 1, FETCHED))[names.cbr_id]
        assert before.others is known
        expected[day] = names.codes
    for _ in range(2):
        assert {day: made.named(day).codes for day in expected} == expected
        parts = [(day, part.currency.codes) for part in made.by_code() for day in held(part)]
        assert (dict(parts), len(parts)) == (expected, len(expected))
        made.rename(later)
    assert made.currency == later


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_ids_with_one_code_the_earlier_counts(order: int) -> None:
    """If both have a record on a day, the currency is one row, in whatever order a replica got the columns."""
    old = Currency("R01700J", "R01700", "TRY", "949", "Турецких лир")
    new = Currency("R01700", "R01700", "TRY", "792", "Турецких лир")
    lira = Currency("R01701", "R01701", "TRL", "792", "Турецких лир")
    record, later = {FRIDAY: (1, Decimal("1.0000"))}, {FRIDAY: (1, Decimal("2.0000"))}
    columns = [column(later, new), column({THURSDAY: (1, Decimal(3)), **record}, old), column(record, lira)]
    found = composed(columns[::order], FRIDAY)
    assert found
    assert [(quote.cbr_id, str(quote.value)) for quote in found.sheet.quotes] == [
        ("R01701", "1.0000"),
        ("R01700J", "1.0000"),
    ]


FIRST = date(2026, 1, 1)


def test_a_code_of_one_day_makes_no_other_day_differ() -> None:
    """Else all sheets of ten years would be compared one by one, and readers would wait a second."""
    days = [THURSDAY, FRIDAY, SATURDAY]
    ours, theirs = (column(dict.fromkeys(days, (1, Decimal(80)))) for _ in range(2))
    ours.put(FRIDAY, 1, Decimal(80), replace(USD, code="USN", numeric_code="997"))
    assert differing({"R01235": ours}, {"R01235": theirs}, days) == [FRIDAY]
