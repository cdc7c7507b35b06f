"""Text that is written once and sliced equals rows that are formatted one by one, byte for byte."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratesvc.dialects import Request
from ratesvc.domain.columns import Column, Coverage, Currency
from ratesvc.domain.history import History
from ratesvc.domain.rates import EXACT, ONE, Snapshot, plain, rounded, trimmed
from ratesvc.domain.workdays import ONE_DAY, WorkCalendar
from ratesvc.render import series
from ratesvc.render.json import encode, literal
from ratesvc.render.language import language

FIRST = date(1997, 12, 20)
NOW = datetime(2026, 4, 24, tzinfo=UTC)
LAST = FIRST + timedelta(days=40)
values = st.integers(1, 10**14) | st.sampled_from([10**n for n in range(15)]) | st.integers(1, 99)
records = st.dictionaries(st.integers(0, 40), st.tuples(values, st.integers(0, 6)), max_size=20)


def column(code: str, held: dict[int, tuple[int, int]]) -> Column:
    made = Column(Currency(f"R-{code}", f"R-{code}", code, "001", code), NOW)
    for step, (value, zeros) in held.items():
        made.put(FIRST + timedelta(days=step), 10**zeros, Decimal(value).scaleb(-4))
    return made


def one_by_one(history: History, code: str, params: series.SeriesParams) -> list[tuple[date, Decimal]]:
    """Each day's rate by the one rounding, from the price of one unit in roubles."""
    units, divisors = [
        dict(history.series(one, params.since, params.until)) if one != "RUB" else None for one in (code, params.quote)
    ]
    if divisors is None:
        return sorted((units or {}).items())
    return [
        (day, trimmed(rounded(ONE if units is None else units[day], divisor)))
        for day, divisor in sorted(divisors.items())
        if units is None or day in units
    ]


@given(records, records, records, st.integers(0, 40), st.integers(0, 40), st.integers(0, 40))
def test_text_equals_formatted_rows(
    usd: dict[int, tuple[int, int]],
    base: dict[int, tuple[int, int]],
    quote: dict[int, tuple[int, int]],
    since: int,
    until: int,
    corrected: int,
) -> None:
    """In roubles and in another quote, in any range, before and after a figure is added, corrected and dropped."""
    columns = [column("USD", {40: (1, 0), 0: (1, 0), **usd}), column("AAA", {0: (1, 0), **base})]
    columns.append(column("BBB", {0: (7, 2), **quote}))
    for one in columns[1:]:
        one.keep_only(frozenset(columns[0].days))
    history = History(WorkCalendar())
    history.fill(columns, Coverage(FIRST, LAST))
    since, until = sorted((since, until))
    for change in (1, 2, 3):
        for code in ("RUB", "BBB"):
            days = FIRST + timedelta(days=since), FIRST + timedelta(days=until)
            others = ("USD", "AAA") if code == "RUB" else ("USD", "AAA", "RUB")
            params = series.SeriesParams(others, days[0], days[1], code)
            for other in others:
                rows = [[day, literal(rate)] for day, rate in one_by_one(history, other, params)]
                assert series.rows_of(history, other, params, LAST) == encode(rows)
        if change == 1:
            for added in columns:
                added.put(LAST + ONE_DAY, 100, Decimal("0.5000"))
            until += 1
        else:
            columns[1].put(FIRST + timedelta(days=corrected), 10, Decimal("12.3450"))
            columns[2].forget(FIRST + timedelta(days=corrected - 1), FIRST + timedelta(days=corrected - 1))


@pytest.mark.parametrize(("code", "quote", "said"), [("USD", "RUB", True), ("RUB", "USD", True), ("AAA", "USD", False)])
def test_old_roubles_are_named_on_either_side_of_a_rate(code: str, quote: str, said: bool) -> None:
    """At New Year 1998 a rouble's price in dollars rose a thousandfold; between two other currencies it cancels."""
    around = {11: (59_600_000, 0), 12: (59_600, 0)}
    history = History(WorkCalendar())
    history.fill([column("USD", around), column("AAA", around)], Coverage(FIRST, LAST))
    params = series.SeriesParams((code,), FIRST + timedelta(days=11), LAST, quote)
    document = json.loads(series.to_json(params, history, LAST, demo=False))
    (before, (_, after)) = document["series"][code]
    assert before[0] == "1997-12-31"
    assert (document["denomination"] is not None) == (before[1] != after) == said


@given(records, records, st.integers(0, 40), st.integers(0, 40), st.sampled_from(["RUB", "BBB"]))
def test_every_day_has_the_rate_of_the_sheet_in_force(
    base: dict[int, tuple[int, int]], quote: dict[int, tuple[int, int]], since: int, until: int, in_quote: str
) -> None:
    """Also in CSV. A day has no rate if the sheet in force lacks the currency."""
    history = held(base, quote)
    since, until = sorted((since, until))
    days = [FIRST + timedelta(days=step) for step in range(since, until + 1)]
    params = series.SeriesParams(("AAA",), days[0], days[-1], in_quote, "daily")
    rates = dict(one_by_one(history, "AAA", replace(params, since=FIRST)))
    expected: list[tuple[date, Decimal, date]] = []
    for day in days:
        effective = max(sheet for sheet in history.days if sheet <= day)
        if effective in rates:
            expected.append((day, rates[effective], effective))
    assert series.rows_of(history, "AAA", params, LAST) == encode(
        [(day, literal(rate), effective) for day, rate, effective in expected]
    )
    table = series.to_csv("date", series.columns_of(history, params, LAST), None).decode().splitlines()[1:]
    assert table == [f"{day},{effective},{plain(rate)}" for day, rate, effective in expected]


@given(records, records, st.sampled_from([ONE, Decimal("1.37"), Decimal(100)]))
def test_dialects_round_once(
    base: dict[int, tuple[int, int]], quote: dict[int, tuple[int, int]], amount: Decimal
) -> None:
    """For every base and code: exact in RUB, and to 28 digits for an amount."""
    history = held(base, quote)
    units = {code: dict(history.series(code, FIRST, LAST)) for code in ("USD", "AAA", "BBB")}
    units["RUB"] = dict.fromkeys(history.days, ONE)
    request = Request(history, cast("Snapshot", None), "", {}, 0)
    for one, known in units.items():
        codes = sorted(units.keys() - {one})
        rows = list(request.per_base(one, codes, Coverage(FIRST, LAST), amount=amount))
        assert [date.fromordinal(day) for day, _ in rows] == sorted(known)
        for ordinal, texts in rows:
            day = date.fromordinal(ordinal)
            for code, text in zip(codes, texts, strict=True):
                cost = units[code].get(day)
                assert text == ("" if cost is None else plain(comes_to(amount, known[day], cost, code)))


def comes_to(amount: Decimal, base: Decimal, quote: Decimal, code: str) -> Decimal:
    if amount == ONE:
        return base if code == "RUB" else trimmed(rounded(base, quote))
    return trimmed(rounded(EXACT.multiply(amount, base), quote, significant=28))


def held(base: dict[int, tuple[int, int]], quote: dict[int, tuple[int, int]]) -> History:
    columns = [column("USD", dict.fromkeys(range(0, 41, 2), (10_000, 0))), column("AAA", base), column("BBB", quote)]
    history = History(WorkCalendar())
    history.fill(columns, Coverage(FIRST, LAST))
    return history


PLAIN_CELL = re.compile(r"-?[0-9]+(?:[.,\u066b][0-9]+)?|[0-9]{4}(?:-[0-9]{2}){0,2}|[A-Za-z][A-Za-z_]*|")
NEGATIVE_RATES = {"2026-04-24": "-0.1221", "2026-04-25": "75.5273"}


@pytest.mark.parametrize("tag", [None, "en", "ru", "ar", "fa", "de", "sv"])
def test_no_cell_is_a_formula(tag: str | None) -> None:
    """Every cell is a day, a code or a plain number: none begins with = + @ or a tab, and -0.1221 stays as it is."""
    text = series.to_csv("date", {"USD": NEGATIVE_RATES}, language(tag) if tag else None).decode("utf-8-sig")
    separator = ";" if ";" in text else ","
    cells = [cell for row in csv.reader(text.splitlines(), delimiter=separator) for cell in row]
    assert all(PLAIN_CELL.fullmatch(cell) for cell in cells), cells
    assert sum(cell.startswith("-0") for cell in cells) == 1
