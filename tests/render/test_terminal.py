from __future__ import annotations

import io
import re
from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, RenderableType

from ratesvc.demo import recorded_sheets
from ratesvc.domain.columns import Days
from ratesvc.domain.history import History, on_day
from ratesvc.domain.rates import InForce, Quote, Revision, Sheet, plain
from ratesvc.domain.workdays import DUE, WorkCalendar, at
from ratesvc.render import terminal
from ratesvc.render.language import language_or_default

ENGLISH = language_or_default("en")
NEWEST = recorded_sheets()[-1].effective_date
HISTORY = History(WorkCalendar(), (Revision(sheet, 1, at(sheet.effective_date, DUE)) for sheet in recorded_sheets()))
NEWEST_ANSWER = on_day(HISTORY, NEWEST, at(NEWEST, DUE))


def drawn(width: int, tag: str, codes: Sequence[str], days: int) -> list[str]:
    """The lines of the demo's table in a terminal of that width."""
    since = NEWEST - timedelta(days=days)
    moved = {code: HISTORY.series(code, Days(since, NEWEST)) for code in codes} if days else {}
    return printed(terminal.rates(NEWEST_ANSWER, language_or_default(tag), codes, moved, demo=True), width)


def printed(shown: RenderableType, width: int) -> list[str]:
    console = Console(width=width, file=io.StringIO(), color_system=None, legacy_windows=False)
    console.print(shown)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def old_answer(day: date, **values: str) -> InForce:
    quotes = tuple(Quote(code, "000", code, 1, Decimal(value), "-") for code, value in values.items())
    return InForce(day, Revision(Sheet(day, quotes), 1, at(day, DUE)), None, None)


@given(st.lists(st.decimals("0.0001", "99999", places=4), min_size=1, max_size=100))
def test_a_line_of_blocks_keeps_the_order_of_its_rates(rates: list[Decimal]) -> None:
    """One block for each shown rate, a higher one never below a lower one, the last rate always among them."""
    line = terminal.blocks(rates)
    shown = rates[::-1][:: -(-len(rates) // terminal.MOST_BLOCKS)][::-1]
    assert len(line) == len(shown) <= terminal.MOST_BLOCKS
    assert shown[-1] == rates[-1]
    levels = [terminal.BLOCKS.index(block) for block in line]
    ordered = [level for _, level in sorted(zip(shown, levels, strict=True))]
    assert ordered == sorted(ordered)


def test_a_line_of_blocks_reaches_from_the_lowest_to_the_highest() -> None:
    """Eight levels; no block without a rate, and the middle if nothing moves."""
    assert terminal.blocks([Decimal(n) for n in range(8)]) == "▁▂▃▄▅▆▇█"
    assert terminal.blocks([Decimal(5), Decimal(5)]) == "▄▄"
    assert terminal.blocks([]) == ""


@given(st.integers(34, 160), st.sampled_from(["en", "ru", "zh-Hans", "de", "ar"]), st.sampled_from([0, 7, 30, 56]))
def test_no_figure_is_cut_in_a_narrow_terminal(width: int, tag: str, days: int) -> None:
    """Columns go, in an order, before a digit does; no line is wider than the terminal."""
    codes = ("USD", "UZS", "XDR")
    lines = drawn(width, tag, codes, days)
    assert max(len(line) for line in lines) <= width
    for code in codes:
        value = language_or_default(tag).number(NEWEST_ANSWER.revision.sheet.by_code[code].value, 4)
        assert any(line.startswith(code) and value in line for line in lines)
    assert "…" not in "".join(lines)


def test_a_table_says_everything_without_colour() -> None:
    """Sign and arrow of each change, the line, and the lowest and the highest value for the same nominal."""
    found = next(line for line in drawn(140, "en", ["UZS"], 30) if line.startswith("UZS"))
    within = [sheet for sheet in recorded_sheets() if (NEWEST - sheet.effective_date).days <= 30]
    values = [sheet.by_code["UZS"].value for sheet in within]
    assert "▲ +" in found or "▼ −" in found
    assert found.split()[-2:] == [plain(min(values)), plain(max(values))]
    assert terminal.blocks(values) in found


def test_how_a_currency_moved_is_shown_in_one_rouble() -> None:
    """Six roubles of January 1998 are no fall from six thousand old ones: the days before New Year are left out."""
    days = [date(1997, 12, 31), date(1998, 1, 1), date(1998, 1, 6), date(1998, 1, 7)]
    points = list(zip(days, map(Decimal, ("5960.0000", "5.9600", "5.9630", "5.9690")), strict=True))
    table = terminal.rates(old_answer(days[-1], USD="5.9690"), ENGLISH, ["USD"], {"USD": points}, demo=False)
    _, head, line = printed(table, 140)
    assert "since January 1, 1998" in head
    assert line.split()[-6:] == ["▁▃█", "▲", "+0.1510", "%", "5.9600", "5.9690"]


@pytest.mark.parametrize(
    ("tag", "asked", "told"),
    [
        (
            "ru",
            ("1234.5", "USD", "RUB"),
            "1 234,5 USD ≈ 74 531,83 RUB|1 USD = 60,3741 RUB|Банк России, 19 ноября 2022 г.",
        ),
        (
            "en",
            ("1234.5", "USD", "RUB"),
            "1,234.5 USD ≈ 74,531.83 RUB|1 USD = 60.3741 RUB|Bank of Russia, November 19, 2022",
        ),
        ("de", ("10", "USD", "JPY"), "10 USD ≈ 1.402 JPY|1 USD = 140,219989 JPY|Bank of Russia, 19. November 2022"),
        (
            "en",
            ("1000", "USD", "RUB"),
            "1,000 USD = 60,374.10 RUB|1 USD = 60.3741 RUB|Bank of Russia, November 19, 2022",
        ),
    ],
)
def test_a_conversion_is_written_as_in_its_language(tag: str, asked: tuple[str, str, str], told: str) -> None:
    """Amount, result and rate; = if the result is exact, ≈ if it is rounded."""
    amount, base, quote = asked
    text = terminal.conversion(NEWEST_ANSWER, Decimal(amount), base, quote, language_or_default(tag), demo=False)
    assert re.sub(r"[\u00a0\u202f]", " ", text).splitlines() == told.split("|")


def test_amounts_in_old_roubles_are_called_so() -> None:
    """Between other currencies there are none."""
    answer, note = (
        old_answer(date(1997, 12, 31), USD="5960", DEM="3351"),
        "In old roubles: 1,000 old roubles are 1 new rouble.",
    )
    assert note in terminal.conversion(answer, Decimal(1), "USD", "RUB", ENGLISH, demo=False).splitlines()
    assert note not in terminal.conversion(answer, Decimal(1), "USD", "DEM", ENGLISH, demo=False)
    assert note in printed(terminal.rates(answer, ENGLISH, ["USD"], {}, demo=False), 140)


def test_a_currency_that_the_sheet_lacks_has_no_figures() -> None:
    """It keeps its line, so that a program that counts lines is not misled."""
    assert drawn(140, "en", ["USD", "DEM"], 30)[-1].split() == ["DEM", "German", "Mark", *["—"] * 6]
