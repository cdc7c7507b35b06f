"""The widget's rows: a currency that rose, fell, did not change, is new, or changed its nominal."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from json import loads
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from kit.dates import FRIDAY, SATURDAY, SUNDAY, TUESDAY
from rich.console import Console

from ratesvc.domain.rates import InForce, Quote, Revision, Sheet, Snapshot
from ratesvc.domain.workdays import ONE_DAY
from ratesvc.features.site import png
from ratesvc.features.site.language import language_or_default
from ratesvc.features.widget import card, rows
from ratesvc.features.widget import view as views
from ratesvc.features.widget.rows import Row, Table
from ratesvc.features.widget.view import DATED_TITLE, TITLE, USUAL, Look, View
from ratesvc.render import json, terminal
from ratesvc.render.language import NOTHING, OLD_ROUBLES

FETCHED = datetime(2026, 4, 23, 13, 20, 5, tzinfo=UTC)
COLUMNS = ("name", "today", "change", "percent")
ENGLISH = language_or_default("en")
PRINTED = st.integers(1, 10**9).map(lambda n: Decimal(n).scaleb(-4))

Printed = dict[str, tuple[int, str]]


def in_force(now: Printed, before: Printed | None, day: date = SATURDAY, day_before: date = FRIDAY) -> InForce:
    """A sheet of (nominal, value) by code, and the sheet before it; `day` is today."""
    previous = None if before is None else revision(before, day_before)
    return InForce(day, revision(now, day), previous, None, next_due_at=FETCHED)


def revision(printed: Printed, day: date) -> Revision:
    quotes = (Quote(code, "000", code, nominal, Decimal(value), code) for code, (nominal, value) in printed.items())
    return Revision(Sheet(day, tuple(quotes)), 1, FETCHED)


def table(shown: InForce | list[InForce], view: View, tag: str = "en", today: date = FRIDAY, **more: Any) -> Table:
    """The table of one sheet or of two, without recent rates."""
    answers = shown if isinstance(shown, list) else [shown]
    return rows.table(answers, language_or_default(tag), view, lambda *_: [], today=today, **more)


def row(now: tuple[int, str], before: tuple[int, str] | None) -> Row:
    """The row of USD alone."""
    answer = in_force({"USD": now}, None if before is None else {"USD": before})
    return table(answer, View(codes=("USD",), columns=COLUMNS)).rows[0]


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
def test_a_row_shows_the_move_of_a_currency(
    now: str, before: str | None, move: str, mark: str, words: str, cells: tuple[str, ...]
) -> None:
    """By an arrow, a word for screen readers and a sign. An unchanged or new currency has none of them."""
    found = row((1, now), None if before is None else (1, before))
    assert (found.move, found.mark, found.words, found.cells) == (move, mark, words, cells)


def test_a_row_is_of_the_nominal_that_the_newest_sheet_prints() -> None:
    """An older sheet with ten times the nominal is shown for the same units, so the change is not tenfold."""
    found = row((1_000, "7.5"), (10_000, "74"))
    assert (found.unit, found.cells) == ("1,000\u00a0USD", ("7.5000", "+0.1000", "+1.35%"))


def test_today_and_tomorrow_stand_side_by_side() -> None:
    """The change is tomorrow's, for the nominal of tomorrow's sheet."""
    today, following = {"USD": (10, "740"), "AED": (1, "22")}, {"USD": (1, "75"), "CHF": (1, "90")}
    shown = [in_force(today, {"USD": (1, "1")}, FRIDAY, FRIDAY - ONE_DAY), in_force(following, today)]
    view = View(codes=("USD", "AED", "CHF", "EUR"), columns=views.COLUMNS)
    found = table(shown, view)
    assert found.kinds == ("name", "today", "value", "change", "percent")
    assert [(one.text, one.label, one.iso) for one in found.columns[1:3]] == [
        ("Apr 24", "Today", "2026-04-24"),
        ("Apr 25", "Tomorrow", "2026-04-25"),
    ]
    assert [(one.unit, one.move, one.cells) for one in found.rows] == [
        ("USD", "up", ("74.0000", "75.0000", "+1.0000", "+1.35%")),
        ("AED", "", ("22.0000", NOTHING, NOTHING, NOTHING)),
        ("CHF", "", (NOTHING, "90.0000", NOTHING, NOTHING)),
    ]
    assert found.source.endswith("To=25.04.2026")


@pytest.mark.parametrize(
    ("today", "effective", "following", "tag", "heads"),
    [
        (FRIDAY, FRIDAY, None, "ru", [("24 апр.", "Сегодня")]),
        (SUNDAY, SATURDAY, None, "ru", [("с 25 апр.", "Сегодня")]),
        (SUNDAY, SATURDAY, None, "en", [("since Apr 25", "Today")]),
        (SUNDAY, SATURDAY, None, "de", [("25. Apr.", "")]),
        (FRIDAY, FRIDAY, SATURDAY, "de", [("24. Apr.", ""), ("25. Apr.", "")]),
        (FRIDAY, FRIDAY, TUESDAY, "en", [("Apr 24", "Today"), ("from Apr 28", "")]),
        (FRIDAY, FRIDAY, SATURDAY, "ru", [("24 апр.", "Сегодня"), ("25 апр.", "Завтра")]),
    ],
)
def test_heads_say_today_tomorrow_or_since_when(
    today: date, effective: date, following: date | None, tag: str, heads: list[tuple[str, str]]
) -> None:
    """Only languages with our words have them; elsewhere the date says enough. Tuesday is not tomorrow.

    A bar, which has no heads, says tomorrow beside its day, even without a heading.
    """
    days = [(today, effective), *([(following, following)] if following else [])]
    usd = {"USD": (1, "75")}
    shown = [InForce(day, revision(usd, since), None, None, next_due_at=FETCHED) for day, since in days]
    found = table(shown, View(codes=("USD",), columns=("name", "today", "next")), tag, today)
    assert [(one.text, one.label) for one in found.columns[1:]] == heads
    bar = table(shown, View(codes=("USD",), layout="bar", heading="none"), tag, today)
    assert bar.title.partition(" (")[2] == ("завтра)" if heads[-1][1] == "Завтра" else "")


YUAN = {"USD": (1, "60.3741"), "CNY": (10, "84.7201"), "JPY": (100, "43.0567"), "VND": (10_000, "24.4251")}
BEFORE = {"USD": (1, "60.3894"), "CNY": (10, "84.4679"), "JPY": (100, "43.3085"), "VND": (10_000, "24.4300")}


def compact(layout: str = "table", **more: Any) -> Table:
    view = View(codes=tuple(YUAN), columns=("today", "change"), layout=layout, **more)
    return table(in_force(YUAN, BEFORE, SATURDAY), view, today=SATURDAY)


def test_rates_of_one_unit_are_exact_or_rounded_once_and_say_so() -> None:
    """0.00 would say nothing, so a rate below 1 keeps significant digits. Changes have the decimals of their rates."""
    exact, short = compact(unit=True), compact(decimals=2, unit=True)
    assert [one.unit for one in exact.rows] == ["USD", "CNY", "JPY", "VND"]
    assert [one.cells[0] for one in exact.rows] == ["60.3741", "8.47201", "0.430567", "0.00244251"]
    assert [one.cells[0] for one in short.rows] == ["60.37", "8.47", "0.43", "0.0024"]
    assert [one.exact for one in exact.rows] == [()] * 4
    assert [one.exact[0] for one in short.rows] == ["60.3741", "8.47201", "0.430567", "0.00244251"]
    assert (exact.badge, short.badge) == ("", "")
    assert [one.cells[0] for one in compact(decimals=2).rows][1] == "84.72"


def test_a_change_that_rounds_to_nothing_keeps_its_digits_or_has_no_arrow() -> None:
    """An arrow beside 0.00 would say both that a rate moved and that it did not."""
    short = compact(decimals=2, unit=True)
    assert [one.cells[1] for one in short.rows] == ["\u22120.02", "+0.03", "\u22120.0025", "\u22120.00000049"]
    assert [one.move for one in short.rows] == ["down", "up", "down", "down"]
    line = compact("line", decimals=2, unit=True)
    assert (line.rows[2].mark, line.rows[2].cells[1]) == ("\u25bc", "0.0025")
    answer = in_force({"USD": (1, "75.5274")}, {"USD": (1, "75.5273")})
    percent = table(answer, View(codes=("USD",), columns=("percent",))).rows[0]
    assert (percent.move, percent.mark, percent.cells[1]) == ("same", "", "0.00%")


def test_symbols_name_one_currency_each() -> None:
    """Where two have the same sign, letters stand before it."""
    assert [one.unit for one in compact(unit=True, symbols=True).rows] == ["$", "CN¥", "¥", "₫"]
    assert [one.unit for one in compact(symbols=True).rows][1] == "10\u00a0CN¥"
    assert language_or_default("ru").symbols(("USD", "EUR", "CNY")) == {"USD": "$", "EUR": "€", "CNY": "¥"}
    assert language_or_default("ru").symbols(("CNY", "JPY", "CAD")) == {"CNY": "CNY", "JPY": "¥", "CAD": "CAD"}
    assert ENGLISH.symbols(("CAD", "EUR")) == {"CAD": "CA$", "EUR": "€"}


def test_without_heads_the_heading_names_the_day() -> None:
    """In a line the arrow is the sign; in a sentence a hint has the day and the exact rate."""
    line = compact("line", decimals=2, unit=True)
    assert (line.title, line.headless) == ("Bank of Russia rates for Apr 25", True)
    assert (line.layout, line.rows[0].cells[1]) == ("line", "0.02")
    assert line.href.endswith("To=25.04.2026")
    assert compact(head=False, heading="Rates").title == "Rates, Apr 25"
    assert compact(heading="short").title == "Bank of Russia rates"
    bare = [compact(layout, head=False, heading="none") for layout in ("table", "line", "bar")]
    assert [(one.title, one.titled) for one in bare] == [("Apr 25", True)] * 3
    inline = compact("inline", decimals=2)
    assert (inline.rows[0].cells, len(inline.rows)) == (("₽60.37",), 1)
    assert inline.title == "Bank of Russia, April 25, 2026, ₽60.3741"
    assert language_or_default("ru").shortest_day(SATURDAY) == "25.04"
    arabic = language_or_default("ar")
    assert arabic.say(DATED_TITLE, day=arabic.shortest_day(SATURDAY)).endswith(" 25/4")
    assert language_or_default("ru").roubles("60,37") == "60,37\u00a0₽"


def test_the_place_of_tomorrow_says_when_to_expect_it() -> None:
    """If asked, on the day itself, and only until it is announced or overdue."""
    today = revision({"USD": (1, "75")}, FRIDAY)
    awaited = InForce(FRIDAY, today, None, None, datetime(2026, 4, 24, 15, 0, tzinfo=UTC))
    for answer, pending, day, note in (
        (awaited, True, FRIDAY, "Курсы на завтра: около 16:00, к 18:00"),
        (awaited, False, FRIDAY, ""),
        (replace(awaited, next_overdue=True), True, FRIDAY, ""),
        (replace(awaited, following=today), True, FRIDAY, ""),
        (awaited, True, FRIDAY - ONE_DAY, ""),
    ):
        assert table(answer, View(codes=("USD",), pending=pending), "ru", day).note == note


@pytest.mark.parametrize(
    ("columns", "announced", "days"),
    [
        (("name", "today", "next"), True, [FRIDAY, SATURDAY]),
        (("name", "today", "next"), False, [FRIDAY]),
        (("name", "today"), True, [FRIDAY]),
        (("name", "next"), True, [SATURDAY]),
        (("name", "next"), False, [FRIDAY]),
        (("name",), True, [FRIDAY]),
    ],
)
def test_a_view_has_its_days_and_never_none(columns: tuple[str, ...], announced: bool, days: list[date]) -> None:
    """Tomorrow's sheet appears once it is announced; if no other is left, today's appears."""
    usd = {"USD": (1, "75")}
    sheets = revision(usd, FRIDAY), None, revision(usd, SATURDAY) if announced else None
    snapshot = Snapshot(FRIDAY, *sheets, FETCHED, False, 0, False, FETCHED, FETCHED, FETCHED)  # noqa: FBT003
    found = rows.columns_of(snapshot, View(codes=("USD",), columns=columns))
    assert [answer.revision.effective_date for answer in found] == days


@pytest.mark.parametrize("columns", [("name", "today", "next", "change"), ("today", "next"), ("next",)])
def test_a_picture_is_as_wide_before_tomorrows_rates_as_after(columns: tuple[str, ...]) -> None:
    """Mail and feeds name its width."""
    usd = {"USD": (1, "75.5273")}
    view = View(codes=("USD",), columns=columns)
    today = in_force(usd, usd, FRIDAY, FRIDAY - ONE_DAY)
    after = [today, in_force(usd, usd)] if "today" in columns else [in_force(usd, usd)]
    widths = [png.size_of(card.card(table(shown, view), view, Look("light")))[0] for shown in (today, after)]
    assert widths[0] == widths[1]


def test_the_source_has_the_day_of_the_newest_rates_and_a_converter_its_own() -> None:
    """Tomorrow's column is the bold one, and the converter computes with today's rates."""
    usd = {"USD": (1, "75.5273")}
    today, tomorrow = in_force(usd, usd, FRIDAY, FRIDAY - ONE_DAY), in_force(usd, usd)
    both, one = (table(shown, View(codes=("USD",), converter=True)) for shown in ([today, tomorrow], [today]))
    assert both.credit == "Bank of Russia, April\u00a025,\u00a02026"
    words = [loads(shown.converter)["words"]["result"] for shown in (both, one)]
    assert words == [f"Result as of {ENGLISH.shortest_day(FRIDAY)}", "Result"]


def test_a_picture_has_room_for_a_note_and_its_columns_from_right_to_left_in_arabic() -> None:
    view, usd = View(codes=("USD",)), {"USD": (1, "75.5273")}
    drawn = table(in_force(usd, usd, FRIDAY, FRIDAY - ONE_DAY), view)
    pictures = [card.card(msgspec.structs.replace(drawn, note=note), view, Look("light")) for note in ("", "a note")]
    assert png.size_of(pictures[1])[1] - png.size_of(pictures[0])[1] == card.SMALL_LINE
    for direction, is_mirrored in (("ltr", False), ("rtl", True)):
        svg = card.card(msgspec.structs.replace(drawn, direction=direction), view, Look("light"))
        heads = [int(x) for x in re.findall(r'<text x="(\d+)"', svg.partition("<path")[0])]
        assert len(heads) > 2
        assert heads == sorted(heads, reverse=is_mirrored)


def test_a_view_knows_its_columns_of_change() -> None:
    """The first of them has the arrow, whether it is absolute or per cent."""
    assert View(columns=("name", "change", "percent")).changes == [("change", "change"), ("percent", "percent")]
    assert View(columns=("percent",)).changes == [("change", "percent")]
    assert View(columns=("name", "today")).changes == []
    usd = in_force({"USD": (1, "75")}, {"USD": (1, "74")})
    found = table(usd, View(codes=("USD",), columns=("percent",)))
    assert (found.kinds, found.rows[0].name) == (("name", "value", "change"), "")
    assert found.rows[0].cells == ("75.0000", "+1.35%")


def test_a_stale_table_names_its_last_day() -> None:
    """If today's own sheet is missing. A table of a past day has the year in its head."""
    friday = revision({"USD": (1, "75")}, FRIDAY)
    stale = table(InForce(SATURDAY, friday, None, None, FETCHED, stale=True), View())
    assert (stale.stale, stale.note) == (True, "Not updated since April 24, 2026.")
    old = InForce(SATURDAY, friday, None, None, FETCHED, stale=True)
    line, bar, sentence = (table(old, USUAL[layout], "ru") for layout in ("line", "bar", "inline"))
    assert (line.title, line.note, bar.title) == ("Курсы не обновлялись с 24.04.2026", "", "ЦБ на 24.04.2026")
    assert sentence.rows[0].cells == ("75,00\u00a0₽ (на\u00a024.04.2026)",)
    tomorrows = table(InForce(SATURDAY, friday, None, None, FETCHED), USUAL["inline"], today=FRIDAY - ONE_DAY)
    assert tomorrows.rows[0].cells == ("₽75.00 (as\u00a0of\u00a0Apr\u00a024)",)
    past = table(InForce(FRIDAY, friday, None, None), View())
    assert (past.stale, past.note) == (False, "")
    assert (stale.columns[1].text, past.columns[1].text) == ("Apr 24", "April 24, 2026")


def test_a_table_has_our_title_the_hosts_or_none() -> None:
    """The host's words are in the host's language. Demo figures have a badge."""
    for heading, title, titled, foreign in (
        ("", TITLE, True, "en"),
        ("none", TITLE, False, "en"),
        ("Kurse", "Kurse", True, ""),
    ):
        found = table(in_force({"USD": (1, "75")}, None), View(codes=("USD",), heading=heading), "de", demo=not titled)
        assert (found.title, found.titled, found.title_foreign) == (title, titled, foreign)
        assert found.badge == ("" if titled else "demo")


def test_a_line_of_recent_rates_is_of_the_nominal_of_its_row() -> None:
    """A currency without recent rates has no line, and the column stays for the others."""
    usd = in_force({"USD": (10, "750"), "EUR": (1, "90")}, None)
    rates = {"USD": [(FRIDAY - ONE_DAY, Decimal("74.5")), (FRIDAY, Decimal(80)), (SATURDAY, Decimal(75))], "EUR": []}
    view = View(codes=("USD", "EUR"), columns=("name", "today"), spark=7)
    found = rows.table([usd], ENGLISH, view, lambda code, days: rates[code] if days == 7 else [], today=FRIDAY)
    assert found.columns[1] == rows.Head("trend", "7 days")
    assert [one.cells[0] for one in found.rows] == ["from 745.0000 to 750.0000", ""]
    assert [bool(one.points) for one in found.rows] == [True, False]
    assert table(usd, replace(view, codes=("EUR", "XXX"))).kinds == ("name", "value")


def test_rates_before_1998_are_in_old_roubles() -> None:
    """Old roubles and new roubles are not compared."""
    old, new = {"USD": (1, "5960")}, {"USD": (1, "5.96")}
    view = View(codes=("USD",), columns=COLUMNS)
    shown = table(in_force(old, old, date(1997, 12, 31), date(1997, 12, 30)), view)
    assert (shown.note, shown.rows[0].move) == (OLD_ROUBLES, "same")
    inline = table(in_force(old, old, date(1997, 12, 31)), View(codes=("USD",), layout="inline"))
    assert inline.title.endswith(f" · {OLD_ROUBLES}")
    shown = table(in_force(new, old, date(1998, 1, 1), date(1997, 12, 31)), view)
    assert (shown.note, shown.rows[0].move, shown.rows[0].cells[1:]) == ("", "", (NOTHING, NOTHING))


@given(PRINTED, PRINTED)
@example(Decimal("11.3423"), Decimal("11.4644"))
def test_per_cent_is_the_exact_ratio_wherever_it_is_shown(now: Decimal, before: Decimal) -> None:
    """Two places in the widget, four in JSON and in a terminal, each rounded half to even.

    The leu of 2022-09-27 fell by 1.06504 %, which is −1.07 %; rounding −1.0650 % again would give −1.06 %.
    """
    answer = in_force({"USD": (1, str(now))}, {"USD": (1, str(before))})
    exact = (Fraction(now) - Fraction(before)) * 100 / Fraction(before)
    in_row = number(table(answer, View(codes=("USD",), columns=COLUMNS)).rows[0].cells[-1])
    in_json = loads(json.rates(answer, ENGLISH), parse_float=Fraction)["rates"]["USD"]["change_percent"]
    console = Console(width=200)
    with console.capture() as captured:
        console.print(terminal.rates(answer, ENGLISH, ["USD"], demo=False))
    in_terminal = number(captured.get().split()[-2])
    assert (in_row, in_json, in_terminal) == (nearest(exact, 2), nearest(exact, 4), nearest(exact, 4))


def number(text: str) -> Fraction:
    return Fraction(text.rstrip("%").replace(",", "").replace("−", "-"))


def nearest(exact: Fraction, places: int) -> Fraction:
    """Half-even rounding by Python's integers."""
    return Fraction(round(exact * 10**places), 10**places)


def test_tomorrows_sheet_stands_alone_where_todays_own_is_missing() -> None:
    """The sheet before it is unknown then."""
    today, tomorrow = revision({"USD": (1, "80")}, FRIDAY), revision({"USD": (1, "81")}, SATURDAY)
    for stale in (False, True):
        seen = Snapshot(FRIDAY, today, None, tomorrow, FETCHED, False, 0, stale, *[FETCHED] * 3)  # noqa: FBT003
        assert rows.for_next(seen) == InForce(SATURDAY, tomorrow, None if stale else today, None, FETCHED)
