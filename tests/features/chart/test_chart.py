"""The chart: golden drawings, and the rules for every drawing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from itertools import accumulate, pairwise
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from conftest import golden
from hypothesis import given, settings
from hypothesis import strategies as st
from kit import cases

from ratesvc.features.chart.axes import LABEL_GAP, Point
from ratesvc.features.chart.drawing import STYLE, ChartLook, Drawing, is_better_indexed
from ratesvc.features.site.language import language_or_default
from ratesvc.features.site.text import PIXEL, text_width, wrapped
from ratesvc.render.openapi import query_parameters

SVG = "{http://www.w3.org/2000/svg}"
CODES = ("USD", "EUR", "CNY", "GBP", "JPY", "TRY")


def sheets(first: date, count: int, start: int, salt: int) -> list[Point]:
    """`count` rates on Tuesdays to Saturdays, which wander from `start` ten-thousandths in a fixed way."""
    points: list[Point] = []
    day, level = first, start
    while len(points) < count:
        if day.isoweekday() in range(2, 7):
            level += (day.toordinal() * salt * 7919 % 201 - 100) * start // 20000
            points.append((day, Decimal(level).scaleb(-4)))
        day += timedelta(days=1)
    return points


def several(codes: Sequence[str], first: date, count: int) -> dict[str, list[Point]]:
    return {code: sheets(first, count, 900_000 // (salt * salt), salt) for salt, code in enumerate(codes, 1)}


def chart(series: Mapping[str, Sequence[Point]], look: ChartLook, **others: Any) -> str:
    return Drawing(series, look, **others).svg()


def look(tag: str = "en", **others: Any) -> ChartLook:
    return ChartLook(language_or_default(tag), **others)


OLD = sheets(date(1992, 7, 1), 8400, 300_000, 3)

# From the first of a month, and too low for a figure below the lowest point.
AROUND_1998 = [(date(1997, 7, 1), Decimal(9)), (date(1998, 1, 1), Decimal("0.01")), (date(1998, 6, 30), Decimal(5))]

DRAWINGS = {
    "one-month-en-light": lambda: chart(several(CODES[:1], date(2024, 7, 2), 24), look(theme="light")),
    "three-year-ru-dark": lambda: chart(several(CODES[:3], date(2023, 8, 3), 250), look("ru", theme="dark")),
    "six-indexed-ar-auto": lambda: chart(several(CODES, date(2024, 1, 10), 60), look("ar"), indexed=True),
    "thirty-two-years-zh-narrow": lambda: chart({"USD": OLD}, look("zh-Hans", width=360, height=240, demo=True)),
    "nothing-ru": lambda: chart({"USD": []}, look("ru", height=200)),
    # English sentences are marked, but not the host's own title, which may be in any language.
    "nothing-de": lambda: chart({"USD": []}, look("de")),
    "nothing-titled": lambda: chart({"USD": []}, look("de", title="A <b> & c")),
    # The picture says that there were old roubles, unless the rouble is in neither price.
    "cross-titled-de": lambda: chart({"DEM": AROUND_1998}, look("de", title="A <b> & c"), quote="USD"),
    "rouble-en": lambda: chart({"RUB": AROUND_1998}, look(), quote="USD"),
    # Small pictures keep their size and have names as long as there is space.
    "two-ru-small": lambda: chart(several(CODES[:2], date(2024, 7, 2), 24), look("ru", width=320, height=220)),
    "six-en-small": lambda: chart(several(CODES, date(2024, 7, 2), 24), look(width=320)),
    "one-zh-small": lambda: chart(several(CODES[:1], date(2024, 7, 2), 24), look("zh-Hans", width=320, height=200)),
}


@pytest.mark.parametrize("name", DRAWINGS)
def test_golden(name: str) -> None:
    golden(f"chart/{name}.svg", DRAWINGS[name]().replace(STYLE, "…"))


def parsed(drawing: str) -> ET.Element:
    return ET.fromstring(drawing)  # noqa: S314 -- our own drawing


def curves(drawing: str) -> Iterator[list[tuple[Decimal, Decimal]]]:
    """The absolute points of every line."""
    for group in parsed(drawing).iter(f"{SVG}g"):
        if (group.get("class") or "").startswith("line"):
            path = group.find(f"{SVG}path")
            assert path is not None
            points: list[tuple[Decimal, Decimal]] = []
            for run in (path.get("d") or "").replace("h0", "").split("M")[1:]:
                numbers = [Decimal(number) for number in re.findall(r"-?[\d.]+", run)]
                points += zip(accumulate(numbers[::2]), accumulate(numbers[1::2]), strict=True)
            yield points


rates = st.decimals("0.0000001", "1000000", places=7)
days = st.dates(date(1992, 7, 1), date(2026, 12, 31))
one_series = st.dictionaries(days, rates, min_size=1, max_size=40).map(lambda found: sorted(found.items()))
some_series = st.dictionaries(st.sampled_from(CODES), one_series, min_size=1, max_size=6)
bounds = [query_parameters("/chart.svg")[name]["schema"] for name in ("width", "height")]
sizes = st.tuples(*(st.integers(one["minimum"], one["maximum"]) for one in bounds))


@pytest.mark.nightly
@settings(max_examples=60)
@given(some_series, sizes, st.booleans(), st.sampled_from(["en", "ru", "zh-Hans", "ar"]))
def test_everything_lies_inside(series: dict[str, list[Point]], size: tuple[int, int], indexed: bool, tag: str) -> None:
    """No point, label or text leaves the picture, and labels keep their distance."""
    drawing = chart(series, look(tag, width=size[0], height=size[1]), indexed=indexed)
    root = parsed(drawing)
    width, height = Decimal(root.get("width") or 0), Decimal(root.get("height") or 0)
    assert width == size[0]
    assert height >= size[1]
    for points in curves(drawing):
        assert all(0 < x < width and 0 < y < height for x, y in points)
    rows = []
    for text in root.iter(f"{SVG}text"):
        assert 0 < Decimal(text.get("x") or 0) < width
        assert 0 < Decimal(text.get("y") or 0) < height
        if text.find(f"{SVG}tspan") is not None:
            words = "".join(text.itertext())
            assert Decimal(text.get("x") or 0) * PIXEL + text_width(words, 13) <= width * PIXEL
            rows.append(Decimal(text.get("y") or 0) * PIXEL)
    rows.sort()
    assert all(lower - upper >= LABEL_GAP for upper, lower in pairwise(rows))


def test_thirty_four_years_of_six_currencies_are_small() -> None:
    series = {code: [(day, rate / salt) for day, rate in OLD] for salt, code in enumerate(CODES, 1)}
    assert len(chart(series, look(width=1600, height=1000)).encode()) < 60_000


def test_a_rate_is_level_on_days_without_a_sheet() -> None:
    """Saturday's rate reaches Monday; only Tuesday moves. A currency that was absent for a month has a gap.

    A single line has its highest and its lowest figure, except where the label at its end says it.
    """
    friday_to_tuesday = [(date(2024, 7, day), Decimal(rate)) for day, rate in ((5, 1), (6, 2), (9, 3))]
    drawn = chart({"USD": friday_to_tuesday}, look())
    assert re.findall(r'<g class="peak.*?>([\d.]+)</text>', drawn, re.DOTALL) == ["1.000"]
    (line,) = curves(drawn)
    assert [y for _, y in line] == sorted((y for _, y in line), reverse=True)
    assert (len(line), line[1][1]) == (4, line[2][1])
    assert (line[3][0] - line[2][0]) * 2 == pytest.approx(line[2][0] - line[1][0], abs=Decimal("0.2"))
    gap = chart({"USD": [(date(2024, 7, 5), Decimal(1)), (date(2024, 8, 6), Decimal(2))]}, look())
    assert re.search(r'<g class="line c0"><path d="M[\d. ]+h0M[\d. ]+h0"', gap)


@pytest.mark.parametrize(("rates", "better"), [((60, 62, 71), False), ((60, 8), True), ((60,), False), ((), False)])
def test_lines_that_would_lie_on_each_other_are_better_indexed(rates: tuple[int, ...], better: bool) -> None:
    """The yuan beside the dollar is a flat line. Currencies without rates do not count."""
    series = {code: [(date(2024, 7, 5), Decimal(rate))] for code, rate in zip(CODES, rates, strict=False)}
    assert is_better_indexed({**series, "TRY": []}) == better


def test_lines_break_between_words_and_between_chinese_characters() -> None:
    """But not after an opening and not before a closing sign; Latin words stay whole."""
    assert wrapped("", 12, PIXEL) == []
    widths = {True: text_width("one two", 12), False: text_width("汇率汇率", 12)}
    asked = cases.questions("chart/wrapped.txt")
    cases.check("chart/wrapped.txt", {text: "\n".join(wrapped(text, 12, widths[text.isascii()])) for text in asked})


def luminance(colour: str) -> float:
    parts = [
        part / 255
        for part in bytes.fromhex(colour[1:] if len(colour) == 7 else "".join(2 * part for part in colour[1:]))
    ]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return float(0.2126 * red + 0.7152 * green + 0.0722 * blue)


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("prefix", [".cbr-chart ", ".cbr-chart.dark ", ".cbr-chart.auto "])
def test_contrast(prefix: str) -> None:
    """Words have 4.5:1 on their ground, the axis 3:1 (WCAG 2.2, 1.4.3 and 1.4.11); labels wear the lines' colours."""
    rules = dict(re.findall(rf"(?:^|[{{}}]){re.escape(prefix)}([^{{]+)\{{(?:fill|color|stroke):(#\w+)(?=\}})", STYLE))
    ground = rules.pop(".ground")
    for name in ("text", ".title", *(f".c{number}" for number in range(6))):
        assert contrast(rules[name], ground) >= 4.5, name
    assert contrast(rules[".base"], ground) >= 3
