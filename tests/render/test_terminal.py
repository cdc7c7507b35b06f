from __future__ import annotations

import re
from datetime import date
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st
from kit import cases

from ratesvc.demo import recorded_sheets
from ratesvc.domain.history import History
from ratesvc.domain.in_force import on_day
from ratesvc.domain.rates import InForce, Quote, Revision, Sheet
from ratesvc.domain.workdays import DUE, WorkCalendar, at
from ratesvc.features.convert.conversion import to_text
from ratesvc.render import terminal
from ratesvc.render.language import language_or_default

ENGLISH = language_or_default("en")
NEWEST = recorded_sheets()[-1].effective_date
HISTORY = History(WorkCalendar(), (Revision(sheet, 1, at(sheet.effective_date, DUE)) for sheet in recorded_sheets()))
NEWEST_ANSWER = on_day(HISTORY, NEWEST, at(NEWEST, DUE))


def printed(shown: str) -> list[str]:
    """The lines without colours."""
    return re.sub("\x1b\\[[0-9]+m", "", shown).splitlines()


def old_answer(day: date, **values: str) -> InForce:
    quotes = tuple(Quote(code, "000", code, 1, Decimal(value), "-") for code, value in values.items())
    return InForce(day, Revision(Sheet(day, quotes), 1, at(day, DUE)), None, None)


@given(st.integers(30, 160), st.sampled_from(["en", "ru", "zh-Hans", "de", "ar"]))
def test_no_code_and_no_figure_is_cut_in_a_narrow_terminal(width: int, tag: str) -> None:
    """Names move above the figures before a line of figures is too wide. Signs say what colours say."""
    language, codes = language_or_default(tag), ("USD", "UZS", "XDR")
    title, *lines = printed(terminal.rates(NEWEST_ANSWER, language, codes, width, demo=True))
    assert title.startswith(terminal.title(NEWEST_ANSWER, language, demo=True))
    for code in codes:
        value = language.number(NEWEST_ANSWER.revision.sheet.by_code[code].value, 4)
        assert any(line.startswith(f"{code} ") for line in lines)
        assert any(f"{value}  ▼ " in line and line.endswith(" %") for line in lines)
    assert max(len(line) for line in lines if re.search("[▲▼]", line)) <= width


def test_a_table_is_aligned_by_the_cells_of_a_terminal() -> None:
    """Chinese characters take two cells, and marks of direction none. golden/terminal.txt has the tables."""
    asked = cases.questions("terminal.txt")
    shown = {}
    for question in asked:
        tag, width = question.split()
        table = terminal.rates(NEWEST_ANSWER, language_or_default(tag), ("USD", "UZS", "DEM"), int(width), demo=True)
        shown[question] = table.replace("\x1b", "␛")
    cases.check("terminal.txt", shown)


def told(question: str) -> str:
    tag, amount, base, quote = question.split()
    text = to_text(NEWEST_ANSWER, amount, base, quote, language_or_default(tag), demo=False)
    return re.sub(r"[\u00a0\u202f]", " ", text)


def test_a_conversion_is_written_as_in_its_language() -> None:
    """Amount, result and rate; = if the result is exact, ≈ if it is rounded."""
    cases.check("conversions.txt", {question: told(question) for question in cases.questions("conversions.txt")})


def test_amounts_in_old_roubles_are_called_so() -> None:
    """Between other currencies there are none."""
    answer, note = (
        old_answer(date(1997, 12, 31), USD="5960", DEM="3351"),
        "In old roubles: 1,000 old roubles are 1 new rouble.",
    )
    assert note in to_text(answer, "1", "USD", "RUB", ENGLISH, demo=False).splitlines()
    assert note not in to_text(answer, "1", "USD", "DEM", ENGLISH, demo=False)
    assert note in printed(terminal.rates(answer, ENGLISH, ["USD"], 140, demo=False))


def test_a_currency_that_the_sheet_lacks_has_no_figures() -> None:
    """It keeps its line, so that a program that counts lines is not misled."""
    table = terminal.rates(NEWEST_ANSWER, ENGLISH, ["USD", "DEM"], 140, demo=True)
    assert printed(table)[-1].split() == ["DEM", "German", "mark", *["—"] * 3]
