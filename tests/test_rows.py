"""The widget's rows: what a reader sees of a currency that rose, fell, stayed, is new, or is printed otherwise."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from ratesvc.rates import InForce, Quote, Revision, Sheet
from ratesvc.render import api, rows, terminal
from ratesvc.render.language import Language, language_or_default
from ratesvc.render.rows import NOTHING, Row, Table, View

FRIDAY, SATURDAY = date(2026, 4, 24), date(2026, 4, 25)
FETCHED = datetime(2026, 4, 23, 13, 20, 5, tzinfo=UTC)
COLUMNS = ("name", "today", "change", "percent")
ENGLISH = language_or_default("en")
PRINTED = st.integers(1, 10**9).map(lambda n: Decimal(n).scaleb(-4))

Printed = dict[str, tuple[int, str]]


def in_force(now: Printed, before: Printed | None, day: date = SATURDAY, day_before: date = FRIDAY) -> InForce:
    """A sheet of (nominal, value) by code, and the one before it; `day` is today."""
    previous = None if before is None else revision(before, day_before)
    return InForce(day, revision(now, day), previous, None, next_expected_at=FETCHED)


def revision(printed: Printed, day: date) -> Revision:
    quotes = (Quote(code, "000", code, nominal, Decimal(value), code) for code, (nominal, value) in printed.items())
    return Revision(Sheet(day, tuple(quotes)), 1, FETCHED)


def table(answer: InForce, language: Language = ENGLISH) -> Table:
    codes = tuple(answer.revision.sheet.by_code)
    return rows.table([answer], language, View(codes, COLUMNS), lambda *_: [])


def row(now: tuple[int, str], before: tuple[int, str] | None, language: Language = ENGLISH) -> Row:
    """The only row: USD, which cost so much."""
    return table(in_force({"USD": now}, None if before is None else {"USD": before}), language).rows[0]


@pytest.mark.parametrize(
    ("now", "before", "move", "mark", "words", "cells"),
    [
        ("75.5273", "74.8304", "up", "▲", "up", ("75.5273", "+0.6969", "+0.93%")),
        ("74.8304", "75.5273", "down", "▼", "down", ("74.8304", "−0.6969", "−0.92%")),
        ("75.5273", "75.5273", "same", "", "", ("75.5273", "0.0000", "0.00%")),
        ("75.5273", None, "", "", "", ("75.5273", NOTHING, NOTHING)),
        ("75.5274", "75.5273", "up", "▲", "up", ("75.5274", "+0.0001", "0.00%")),
        ("1500", "1000", "up", "▲", "up", ("1,500.0000", "+500.0000", "+50.00%")),
    ],
)
def test_a_row_says_where_a_currency_went(
    now: str, before: str | None, move: str, mark: str, words: str, cells: tuple[str, ...]
) -> None:
    """By an arrow, a word for screen readers and a sign; a currency that stayed, or is new, has none of them."""
    found = row((1, now), None if before is None else (1, before))
    assert (found.move, found.mark, found.words, found.cells) == (move, mark, words, cells)


def test_a_currency_that_the_sheet_before_lacks_has_no_change() -> None:
    """Only its own row says nothing: the others have theirs."""
    shown = table(in_force({"USD": (1, "80"), "AED": (1, "22")}, {"USD": (1, "79")}))
    found = [(one.code, one.move, one.cells[1]) for one in shown.rows]
    assert found == [("USD", "up", "+1.0000"), ("AED", "", NOTHING)]


def test_a_row_is_of_the_nominal_that_the_newest_sheet_prints() -> None:
    """A sheet that printed ten times as many units is shown for the same units, and has not moved by that."""
    found = row((1_000, "7.5"), (10_000, "74"))
    assert (found.unit, found.cells) == ("1,000\u00a0USD", ("7.5000", "+0.1000", "+1.35%"))


@pytest.mark.parametrize(
    ("tag", "words", "percent"), [("ru", "снижение", "−0,92\u00a0%"), ("zh-Hans", "下跌", "−0.92%")]
)
def test_a_row_is_in_the_readers_language(tag: str, words: str, percent: str) -> None:
    """Words, decimal mark and the place of the sign of per cent."""
    found = row((1, "74.8304"), (1, "75.5273"), language_or_default(tag))
    assert (found.words, found.cells[-1]) == (words, percent)


def test_rates_before_1998_are_said_to_be_in_old_roubles() -> None:
    """And across the day on which a thousand became one nothing is compared."""
    old, new = {"USD": (1, "5960")}, {"USD": (1, "5.96")}
    shown = table(in_force(old, old, date(1997, 12, 31), date(1997, 12, 30)))
    assert (shown.note, shown.rows[0].move) == (rows.OLD_ROUBLES, "same")
    shown = table(in_force(new, old, date(1998, 1, 1), date(1997, 12, 31)))
    assert (shown.note, shown.rows[0].move, shown.rows[0].cells[1:]) == ("", "", (NOTHING, NOTHING))


def test_per_cent_is_rounded_once_from_the_exact_ratio() -> None:
    """The leu of 2022-09-27 fell by 1.06504 %: −1.07 %, which −1.0650 % rounded again is not."""
    assert row((1, "11.3423"), (1, "11.4644")).cells[-1] == "−1.07%"


def test_per_cent_of_three_thousand_random_pairs_is_rounded_once() -> None:
    """One in two hundred lies so that a rounding to four places first would change the second place."""
    chance = Random(14)  # noqa: S311 -- the same pairs every time
    wrong = []
    for _ in range(3000):
        now, before = (Decimal(chance.randrange(10**4, 2 * 10**6)).scaleb(-4) for _ in "ab")
        shown, exact = row((1, str(now)), (1, str(before))).cells[-1], percent_of(now, before)
        if number(shown) != nearest(exact, 2):
            wrong.append((now, before, shown))
    assert wrong == []


@given(PRINTED, PRINTED)
def test_per_cent_is_the_exact_ratio_wherever_it_is_shown(now: Decimal, before: Decimal) -> None:
    """Two places in the widget, four in JSON and in a terminal: each is the exact ratio, rounded half to even."""
    answer = in_force({"USD": (1, str(now))}, {"USD": (1, str(before))})
    exact = percent_of(now, before)
    in_row = number(table(answer).rows[0].cells[-1])
    in_json = msgspec.json.decode(api.rates(answer, ENGLISH), type=Document).rates["USD"].change_percent
    console = Console(width=200)
    with console.capture() as captured:
        console.print(terminal.rates(answer, ENGLISH, ["USD"], {}, demo=False))
    in_terminal = number(captured.get().split()[-2])
    assert (in_row, Fraction(in_json), in_terminal) == (nearest(exact, 2), nearest(exact, 4), nearest(exact, 4))


class _Rate(msgspec.Struct):
    change_percent: Decimal


class Document(msgspec.Struct):
    """What /v1/rates says of per cent."""

    rates: dict[str, _Rate]


def number(text: str) -> Fraction:
    """The figure of a cell."""
    return Fraction(text.rstrip("%").replace(",", "").replace("−", "-"))


def percent_of(now: Decimal, before: Decimal) -> Fraction:
    """The exact move."""
    return (Fraction(now) - Fraction(before)) * 100 / Fraction(before)


def nearest(exact: Fraction, places: int) -> Fraction:
    """Half-even rounding as Python's integers do it."""
    return Fraction(round(exact * 10**places), 10**places)
