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
from kit import cases
from kit.dates import FRIDAY, SATURDAY
from yarl import URL

from ratesvc.domain.rates import InForce, Quote, Revision, Sheet
from ratesvc.domain.workdays import ONE_DAY
from ratesvc.features.site import png
from ratesvc.features.site.language import language_or_default
from ratesvc.features.widget import card, rows
from ratesvc.features.widget.routes import WidgetParams
from ratesvc.features.widget.table import Head, Table
from ratesvc.features.widget.view import Look, View
from ratesvc.render import json, terminal

DUE = datetime(2026, 4, 24, 15, 0, tzinfo=UTC)
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
    return rows.table(answers, language_or_default(tag), view, rows.NOTHING_BESIDE, today=today, **more)


def sheet(text: str) -> Revision:
    """A day and its printed rates, such as `04-25 USD=75.5273 CNY=84.7201/10`."""
    day, *rates = text.split()
    pairs = [rate.partition("=")[::2] for rate in rates]
    printed = {code: (int(of or 1), value) for code, price in pairs for value, _, of in [price.partition("/")]}
    return revision(printed, date.fromisoformat(day if len(day) > 5 else f"2026-{day}"))


def answer(text: str) -> InForce:
    """A sheet, with the day for which it is asked before it and the sheet before it after <; perhaps it is stale."""
    state, text = text.split(" ", 1) if text[0].isalpha() else ("", text)
    now, _, before = text.partition(" < ")
    asked, _, rest = now.partition(":")
    newest = sheet(rest or now)
    day = sheet(asked).effective_date if rest else newest.effective_date
    return InForce(
        day,
        newest,
        sheet(before) if before else None,
        newest if state == "followed" else None,
        None if state == "past" else DUE,
        next_overdue=state == "overdue",
        stale=state == "stale",
    )


def told(question: str) -> str:
    """Title, note, credit and day of the source, heads and rows of a widget with these parameters, on a day."""
    query, today, *sheets = question.split(" @ ")
    params, shown = WidgetParams(URL(f"?{query}").query), [answer(text) for text in sheets]
    view, language = params.view({*params.words("codes", 9)}), params.language().of_widget()
    found = rows.table(shown, language, view, rows.NOTHING_BESIDE, today=sheet(today).effective_date)
    mark = f"[{found.title_foreign}] " * bool(found.title_foreign) + "(hidden) " * (not found.titled)
    lines = [mark + " | ".join(filter(None, (found.title, found.note, found.credit, found.source.partition("To=")[2])))]
    lines += [", ".join(f"{one.kind} {one.label} {one.text}" for one in found.columns)]
    for one in found.rows:
        lines += [" ".join((one.unit, one.name, one.move, one.mark, one.words, str(one.cells), str(one.exact or "")))]
    return "\n".join(re.sub(" +", " ", line).strip() for line in lines)


def test_rows_are_written_as_readers_expect() -> None:
    """golden/widget/rows.txt says how, and why."""
    cases.check("widget/rows.txt", {question: told(question) for question in cases.questions("widget/rows.txt")})


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
    today, following = answer("04-24 USD=75"), answer("04-25 USD=75") if announced else None
    found = rows.columns_of(today, following, View(codes=("USD",), columns=columns))
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


def test_a_line_of_recent_rates_is_of_the_nominal_of_its_row() -> None:
    """A currency without recent rates has no line, and the column stays for the others."""
    usd = in_force({"USD": (10, "750"), "EUR": (1, "90")}, None)
    rates = {"USD": [(FRIDAY - ONE_DAY, Decimal("74.5")), (FRIDAY, Decimal(80)), (SATURDAY, Decimal(75))], "EUR": []}
    view = View(codes=("USD", "EUR"), columns=("name", "today"), spark=7)
    found = rows.table([usd], ENGLISH, view, rows.NOTHING_BESIDE._replace(recent=rates), today=FRIDAY)
    assert found.columns[1] == Head("trend", "7 days")
    assert [one.cells[0] for one in found.rows] == ["from 745.0000 to 750.0000", ""]
    assert [bool(one.points) for one in found.rows] == [True, False]
    assert table(usd, replace(view, codes=("EUR", "XXX"))).kinds == ("name", "value")


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
    in_terminal = number(terminal.rates(answer, ENGLISH, ["USD"], 200, demo=False).split()[-2])
    assert (in_row, in_json, in_terminal) == (nearest(exact, 2), nearest(exact, 4), nearest(exact, 4))


def number(text: str) -> Fraction:
    return Fraction(text.rstrip("%").replace(",", "").replace("−", "-"))


def nearest(exact: Fraction, places: int) -> Fraction:
    """Half-even rounding by Python's integers."""
    return Fraction(round(exact * 10**places), 10**places)
