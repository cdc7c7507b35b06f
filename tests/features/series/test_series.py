"""Rows that are written thousands at a time equal rates that are computed one by one; their forms say the same."""

from __future__ import annotations

import json
from array import array
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ratesvc.domain.columns import Column, Currency, Days
from ratesvc.domain.history import History
from ratesvc.domain.rates import ONE, REDENOMINATION, WITHDRAWAL, Revision, Sheet, plain, rounded, trimmed
from ratesvc.domain.settled import Settled
from ratesvc.domain.workdays import ONE_DAY, WorkCalendar
from ratesvc.features.ranges.periods import PERIODS
from ratesvc.features.ranges.unit_rates import SeriesParams, shown_days
from ratesvc.features.series import tables
from ratesvc.render.csv import for_readers, lines
from ratesvc.render.language import language_or_default

FIRST = date(1997, 12, 20)
NOW = datetime(2026, 4, 24, tzinfo=UTC)
LAST = FIRST + timedelta(days=40)
values = st.integers(1, 10**14) | st.sampled_from([10**n for n in range(15)]) | st.integers(1, 99)
records = st.dictionaries(st.integers(0, 40), st.tuples(values, st.integers(0, 6)), max_size=20)


def column(code: str, held: dict[int, tuple[int, int]], cbr_id: str = "") -> Column:
    made = Column(Currency(cbr_id or f"R-{code}", f"R-{code}", code, "001", code), NOW)
    for step, (value, zeros) in held.items():
        made.put(FIRST + timedelta(days=step), 10**zeros, Decimal(value).scaleb(-4))
    return made


def series(history: History, code: str, days: Days) -> list[tuple[date, Decimal]]:
    """The rates of a currency in roubles, record by record. Of two ids the earlier counts."""
    columns = [column for column in reversed(history.columns(code)) if column.days]
    found = {day: column.quote(day) for column in columns for day in map(date.fromordinal, column.days) if day in days}
    return sorted((day, quote.unit_rate) for day, quote in found.items() if quote)


def one_by_one(history: History, code: str, params: SeriesParams) -> list[tuple[date, Decimal]]:
    """Each day's rate by the one rounding, from the price of one unit in roubles."""
    units, divisors = [
        dict(series(history, one, params.days)) if one != "RUB" else None for one in (code, params.quote)
    ]
    if divisors is None:
        return sorted((units or {}).items())
    return [
        (day, trimmed(rounded(ONE if units is None else units[day], divisor)))
        for day, divisor in sorted(divisors.items())
        if units is None or day in units
    ]


Row = dict[str, Any]


def row_of(day: date, code: str, rate: Decimal, effective: date) -> Row:
    return {"date": str(day), "code": code, "unit_rate": rate, "effective_date": str(effective), "revision": 1}


def rows_of(history: History, code: str, params: SeriesParams, today: date = LAST) -> list[Row]:
    """What a careful reader of the JSON gets."""
    if params.group:
        body = tables.to_json({"group": params.group}, [tables.periods_of(history, code, params, today)])
    else:
        body = tables.to_json({}, [tables.rows_of(history, code, params, shown_days(history, params, today))])
    document = json.loads(body, parse_float=Decimal, parse_int=Decimal)
    rows: list[Row] = document["periods" if params.group else "rows"]
    return rows


@given(records, records, records, st.integers(0, 40), st.integers(0, 40))
def test_text_equals_formatted_rows(
    usd: dict[int, tuple[int, int]],
    base: dict[int, tuple[int, int]],
    quote: dict[int, tuple[int, int]],
    since: int,
    until: int,
) -> None:
    """In roubles and in another quote, in any range. Of two ids of a currency the earlier counts."""
    columns = [column("USD", {40: (1, 0), 0: (1, 0), **usd}), column("AAA", {0: (1, 0), **base})]
    columns += [column("BBB", {0: (7, 2), **quote}), column("AAA", {0: (9, 0), 40: (9, 0)}, "R-Z")]
    columns[1:] = [one.with_only(array("i", sorted(columns[0].days))) for one in columns[1:]]
    history = History(WorkCalendar())
    history.settle(Settled(FIRST, LAST), columns)
    since, until = sorted((since, until))
    for code, others in (("RUB", ("USD", "AAA")), ("BBB", ("USD", "AAA", "RUB"))):
        params = SeriesParams(others, Days(FIRST + timedelta(days=since), FIRST + timedelta(days=until)), code)
        for other in others:
            rows = [row_of(day, other, rate, day) for day, rate in one_by_one(history, other, params)]
            assert rows_of(history, other, params) == rows


@given(records, records, st.integers(0, 40), st.integers(0, 40), st.sampled_from(["RUB", "BBB"]))
def test_every_day_has_the_rate_of_the_sheet_in_force(
    base: dict[int, tuple[int, int]], quote: dict[int, tuple[int, int]], since: int, until: int, in_quote: str
) -> None:
    """Also in CSV. A day has no rate if the sheet in force lacks the currency; a named one then has an empty cell."""
    history = held(base, quote)
    since, until = sorted((since, until))
    days = [FIRST + timedelta(days=step) for step in range(since, until + 1)]
    params = SeriesParams(("AAA",), Days(days[0], days[-1]), in_quote, daily=True)
    rates = dict(one_by_one(history, "AAA", replace(params, days=replace(params.days, since=FIRST))))
    expected: list[tuple[date, Decimal, date]] = []
    for day in days:
        effective = max(sheet for sheet in history.days if sheet <= day)
        if effective in rates:
            expected.append((day, rates[effective], effective))
    assert rows_of(history, "AAA", params) == [row_of(day, "AAA", rate, of) for day, rate, of in expected]
    shown = shown_days(history, params, LAST)
    for blank in (False, True):
        columns = tables.rows_of(history, "AAA", params, shown, blank=blank)
        table = b"".join(lines([columns], None)).decode().splitlines()[1:]
        with_rates = [line for line in table if ",," not in line]
        assert with_rates == [f"{day},AAA,{plain(rate)},{of},1" for day, rate, of in expected]
        assert len(table) == (len(days) if blank else len(expected))


def test_no_earlier_rate_stands_where_a_sheet_is_lacking() -> None:
    """A daily series ends the day before the sheet that was due and is not held."""
    history, today = held({}, {}), LAST + timedelta(days=9)
    days = Days(FIRST, today)
    lacking = history.missing_days(days, today)[0]
    rows = rows_of(history, "USD", SeriesParams(("USD",), days, "RUB", daily=True), today)
    assert LAST < lacking <= today
    assert rows[-1]["date"] == str(lacking - ONE_DAY)


@given(records, records, st.integers(0, 40), st.integers(0, 40), st.sampled_from(["RUB", "BBB"]), st.booleans())
def test_a_period_has_the_mean_and_the_ends_of_its_rates(
    base: dict[int, tuple[int, int]],
    quote: dict[int, tuple[int, int]],
    since: int,
    until: int,
    in_quote: str,
    new: bool,
) -> None:
    """The mean of the exact rates, rounded once; no period has both roubles, which the week of 1998 would."""
    history, is_split = held(base, quote), in_quote == "RUB" and not new
    since, until = sorted((since, until))
    for group, bounds in PERIODS.items():
        days = FIRST + timedelta(days=since), FIRST + timedelta(days=until)
        params = SeriesParams(("AAA",), Days(*days), in_quote, group=group, new_roubles=new)
        ungrouped = rows_of(history, "AAA", replace(params, group=""))
        units, divisors = (
            {str(day): rate for day, rate in series(history, one, Days(*days))} for one in ("AAA", "BBB")
        )
        rows = rows_of(history, "AAA", params)
        assert sum(row["count"] for row in rows) == len(ungrouped)
        for row in rows:
            members, ungrouped = ungrouped[: int(row["count"])], ungrouped[int(row["count"]) :]
            rates = [member["unit_rate"] for member in members]
            ends = [date.fromisoformat(one["date"]) for one in (members[0], members[-1])]
            first = date.fromisoformat(row["since"])
            period = bounds(ends[0])
            assert all(end in period for end in ends)
            assert not is_split or {end < REDENOMINATION for end in ends} in ({True}, {False})
            assert first == period.since or (is_split and first == REDENOMINATION)
            assert (row["first_effective_date"], row["last_effective_date"]) == tuple(map(str, ends))
            assert [row[f"{name}_rate"] for name in ("first", "last", "min", "max")] == [
                *(rates[0], rates[-1], min(rates), max(rates))
            ]
            assert not {"date", "unit_rate", "effective_date"} & row.keys(), "nobody takes a mean for the rate of a day"
            exact = list(map(Fraction, rates))
            if in_quote == "BBB":
                exact = [Fraction(units[one["date"]]) / Fraction(divisors[one["date"]]) for one in members]
            mean = Fraction(sum(exact)) / len(exact)
            quotient = Context(prec=200).divide(Decimal(mean.numerator), Decimal(mean.denominator))
            assert row["mean_rate"] == Context(prec=10, rounding=ROUND_HALF_EVEN).plus(quotient)
            last = min(period.until, REDENOMINATION - ONE_DAY) if is_split and first < REDENOMINATION else period.until
            assert row["until"] == str(last)
            assert row["complete"] == (days[0] <= first and last <= days[1])


def test_the_change_of_a_period_counts_from_the_last_rate_before_it() -> None:
    """Wherever the range begins; not across a month without a rate, nor from old roubles to new ones.

    Nor if the sheet before the period is not known.
    """
    history = History(WorkCalendar())
    figures = {0: "5900", 11: "5960", 12: "5.96", 20: "6", 45: "6.3", 50: "6.6", 85: "7"}
    dollar = column("USD", {step: (int(Decimal(value) * 10_000), 0) for step, value in figures.items()})
    history.settle(Settled(FIRST, LAST + timedelta(days=50)), [dollar])

    def changes(since: int, group: str = "month", **more: Any) -> list[tuple[str, Any, Any]]:
        days = Days(FIRST + timedelta(days=since), LAST + timedelta(days=50))
        params = SeriesParams(("USD",), days, group=group, **more)
        rows = rows_of(history, "USD", params, LAST + timedelta(days=50))
        return [(row["since"], row["change"], row["change_percent"]) for row in rows]

    assert changes(0) == [
        ("1997-12-01", None, None),
        ("1998-01-01", None, None),
        ("1998-02-01", Decimal("0.6"), 10),
        ("1998-03-01", None, None),
    ]
    assert changes(12)[1:] == changes(40) == [("1998-02-01", Decimal("0.6"), 10), ("1998-03-01", None, None)]
    assert changes(46) == changes(40), "the range begins in the middle of a month"
    history.settle(Settled(FIRST, LAST + timedelta(days=50)), [dollar])
    assert changes(0, new_roubles=True)[1] == ("1998-01-01", Decimal("0.04"), Decimal("0.6711"))
    assert [first for first, *_ in changes(10, "week", new_roubles=True)][:2] == ["1997-12-29", "1998-01-05"]
    assert changes(10, "week")[:2] == [("1997-12-29", 60, Decimal("1.0169")), ("1998-01-01", None, None)]


def test_a_name_is_quoted_where_it_must_be() -> None:
    """Some have a comma, which separates cells."""
    columns = {"code": ["BAM", "USD"], "effective_date": ["2026-04-24"] * 2}
    names = for_readers(columns, language_or_default("ce"), "RUB")["name"]
    assert names == ['"Боснин а, Герцеговинан а хийцалун марка"', "АЦШн доллар"]


def test_a_period_with_a_withdrawn_day_is_not_complete() -> None:
    """Its mean may change."""
    history, gone = held(dict.fromkeys(range(0, 41, 2), (10000, 0)), {}), FIRST + timedelta(days=4)
    history.hold([Revision(Sheet(gone, ()), 2, NOW, (WITHDRAWAL,))])
    params = SeriesParams(("AAA",), Days(FIRST, LAST), "USD", group="week")
    complete = [row["complete"] for row in rows_of(history, "AAA", params)]
    assert complete == [False, False, *[True] * (len(complete) - 3), False]
    assert tables.about(params, history, LAST, (), demo=False)["unconfirmed"] == [gone]


def held(base: dict[int, tuple[int, int]], quote: dict[int, tuple[int, int]]) -> History:
    columns = [column("USD", dict.fromkeys(range(0, 41, 2), (10_000, 0))), column("AAA", base), column("BBB", quote)]
    history = History(WorkCalendar())
    history.settle(Settled(FIRST, LAST), columns)
    return history
