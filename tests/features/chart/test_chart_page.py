"""The page /chart: its days, figures and rows, where it says that a point lies, and what it refuses."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from html import unescape
from itertools import pairwise

import pytest
from kit import cases
from test_chart import CODES, several, sheets

from ratesvc.domain.columns import Days
from ratesvc.features.chart.axes import LABEL_GAP, Point
from ratesvc.features.chart.chart_page import MOST_ROWS, View, answered, days_of
from ratesvc.features.chart.drawing import is_better_indexed
from ratesvc.features.site.language import language_or_default
from ratesvc.render.openapi import Site

SITE = Site("https://rates.example/of")
TODAY = date(2026, 3, 31)


def made(series: Mapping[str, Sequence[Point]], tag: str = "en", *, demo: bool = False) -> str:
    """The page about a series, as text with tags."""
    days = [day for points in series.values() for day, _ in points] or [TODAY]
    site = Site(SITE.public_url, demo)
    view = View(tuple(series), "year", Days(min(days), max(days)), language_or_default(tag), site)
    return unescape(answered(view, {*CODES}, series, []))


def rows(page: str) -> list[tuple[str, list[str]]]:
    """Day and cells of each row of the table."""
    found = re.findall(r'<time datetime="(.+?)">.*?</th>(.*?)</tr>', page)
    return [(day, re.findall("<td>(.*?)</td>", cells)) for day, cells in found]


def told(question: str) -> str:
    """The days of a period, or the figures of one currency with these rates."""
    match question.split():
        case "period", period, today, begins:
            days = days_of(period, date.fromisoformat(today), date.fromisoformat(begins))
            return f"{days.since} {days.until}"
        case "figure", tag, *points:
            known = [(date.fromisoformat(day), Decimal(rate)) for day, rate in (point.split("=") for point in points)]
            figures = made({"USD": known}, tag).partition('<ul class="figures')[2].partition("</li>")[0]
            return " ".join(re.sub("<.*?>", "", figures.partition("</a>")[2]).split())
    raise ValueError(question)


def test_periods_are_those_of_the_calendar_and_figures_are_exact() -> None:
    """golden/chart/figures.txt: the last rate, and how it moved, in the reader's notation and in new roubles."""
    cases.check("chart/figures.txt", {one: told(one) for one in cases.questions("chart/figures.txt")})


@pytest.mark.parametrize(
    ("first", "count", "said"),
    [
        (date(2025, 4, 1), 250, "Every rate"),
        (date(2021, 4, 1), 1250, "The last rate of each week"),
        (date(1992, 7, 1), 8400, "The last rate of each month"),
    ],
)
def test_the_table_is_short_enough_to_load(first: date, count: int, said: str) -> None:
    """It has all days of a year, and of more the last of each week or month. Lines that begin later begin in it."""
    series = several(CODES[:1], first, count) | {"EUR": sheets(first + timedelta(days=45), count - 40, 900_000, 2)}
    page = made(series)
    view = rows(page)
    assert f"<caption>{said}</caption>" in page
    assert len(view) <= MOST_ROWS
    assert [day for day, _ in view] == sorted((day for day, _ in view), reverse=True)
    known = [{str(day): rate for day, rate in points} for points in series.values()]
    for day, cells in view:
        assert [Decimal(cell.replace(",", "")) if cell != "—" else None for cell in cells] == [
            one.get(day) for one in known
        ]
    days = {day for day, _ in view}
    assert {str(points[end][0]) for points in series.values() for end in (0, -1)} <= days
    period = {"week": "%G %V", "month": "%Y %m"}.get(said.rpartition(" ")[2], "%j %Y")
    every = sorted({day for points in series.values() for day, _ in points})
    latest = {str(day) for day in {day.strftime(period): day for day in every}.values()}
    assert latest <= days
    assert len(days - latest) <= 4


@pytest.mark.parametrize("codes", [CODES[:1], CODES[:2], CODES])
def test_the_page_knows_where_its_lines_are(codes: Sequence[str]) -> None:
    """The levels at the lower and the upper edge put the last rate where the line ends. Six labels do not touch."""
    series = several(codes, date(2025, 4, 1), 250)
    page = made(series)
    low, high = map(Decimal, re.findall(r' data-(?:low|high)="(.*?)"', page))
    indexed = is_better_indexed(series)
    assert ("data-indexed" in page) == indexed
    ends = re.findall(r'<svg x="100.0%" y="([\d.]+)%" overflow="visible"><path', page)
    for y, points in zip(ends, series.values(), strict=True):
        level = points[-1][1] / points[0][1] * 100 if indexed else points[-1][1]
        assert abs((high - level) / (high - low) * 100 - Decimal(y)) < Decimal("0.04")
    found = re.findall(r'y="([\d.]+)%" overflow="visible"><text x="15" y="([-\d.]+)"', page)
    asides = {end: Decimal(aside) - Decimal("4.5") for end, aside in found}
    assert [end for end, _ in found] == (ends if len(codes) > 1 else [])
    for height in (208, 352):
        labels = sorted(Decimal(end) * height / 100 + aside for end, aside in asides.items())
        assert all(after - before > LABEL_GAP - Decimal("0.2") for before, after in pairwise(labels))
    # A line joins a label with the end that it stands for, where it had to give way.
    led = re.findall(r'y="([\d.]+)%" overflow="visible"><line class="leader" x1="5" x2="12" y2="([-\d.]+)"', page)
    assert all(asides[end] == Decimal(aside) for end, aside in led)
    assert bool(led) == (len(codes) > 2)


def test_a_russian_page_is_russian() -> None:
    """It has no English word but codes, neither view nor for those who listen."""
    page = made(several(CODES[:2], date(2021, 4, 1), 1250), "ru", demo=True).partition("</header>")[2]
    page = re.sub("<(script|pre).*?</\\1>", "", page, flags=re.DOTALL)
    said = re.findall(r'(?:aria-label|title|alt)="(.*?)"', page) + re.findall(r">([^<]+)<", page)
    assert {word for text in said for word in re.findall("[A-Za-z]{2,}", text)} == {*CODES, "CSV", "PNG"}


@pytest.mark.parametrize(("first", "selection"), [(date(1997, 12, 1), ["new"]), (date(1998, 1, 1), [])])
def test_the_csv_has_the_roubles_of_the_table(first: date, selection: list[str]) -> None:
    """New ones, and it need not say so where there are no others."""
    (link,) = re.findall(r'href="([^"]+/v1/series.csv[^"]+)"', made(several(CODES[:1], first, 30)))
    assert re.findall("roubles=([a-z]+)", link) == selection
