"""The chart's SVG: its frame, grid and words, and the lines within."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from html import escape
from importlib.resources import files
from itertools import pairwise

from ratesvc.render.chart_lines import Curve, Lines
from ratesvc.render.chart_scale import (
    PIXEL,
    Axis,
    Unit,
    day_ticks,
    places_of,
    px,
    value_ticks,
)
from ratesvc.render.language import Language
from ratesvc.render.lettering import text_width, wrapped

STYLE = files("ratesvc.render").joinpath("assets", "chart.css").read_text("utf-8").strip()
"""The same in every chart, so that one hash in a Content-Security-Policy allows it."""

TITLE, TEXT, SMALL = 17, 13, 12
"""Font sizes in pixels."""

LEAST_PLOT = 110 * PIXEL
NARROW = 480 * PIXEL

_EDGE = 16 * PIXEL
_LINE = 17 * PIXEL


@dataclass(frozen=True, slots=True)
class Words:
    """What is written above and below; `alternative` is for readers who do not see it."""

    title: str
    subtitle: str
    notes: Sequence[str]
    alternative: str


def svg(curves: Sequence[Curve], words: Words, language: Language, theme: str, size: tuple[int, int]) -> str:
    """The document; `size` is in pixels."""
    sheet = _Sheet(curves, words, language, size)
    titled = "" if curves else sheet.ours
    width, height = px(sheet.width), px(sheet.height)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="cbr-chart {theme}" role="img" lang="{escape(language.tag)}"',
        f' width="{width}" height="{height}" viewBox="0 0 {width} {height}">',
        f"<title{titled}>{escape(f'{words.title}. {words.subtitle}' if words.subtitle else words.title)}</title>",
        f"<desc{sheet.ours}>{escape(words.alternative)}</desc>",
        f"<style>{STYLE}</style>",
        f'<rect class="ground" width="{width}" height="{height}"/>',
        *sheet.drawn(),
        "</svg>\n",
    ]
    return "\n".join(parts)


class _Sheet:
    """One chart's geometry in tenths of a pixel."""

    def __init__(self, curves: Sequence[Curve], words: Words, language: Language, size: tuple[int, int]) -> None:
        self.curves = curves
        self.language = language
        self.ours = f' lang="{language.foreign}"' if language.foreign else ""
        """Where a sentence is not in the picture's language."""
        self.width = size[0] * PIXEL
        room = self.width - 2 * _EDGE
        self.title = wrapped(words.title, TITLE, room)
        self.subtitle = wrapped(words.subtitle, TEXT, room)
        self.notes = wrapped(" ".join(words.notes), SMALL, room)
        self.top = _EDGE + 21 * PIXEL * len(self.title) + _LINE * len(self.subtitle) + 16 * PIXEL
        foot = 44 * PIXEL + 15 * PIXEL * len(self.notes)
        self.height = max(size[1] * PIXEL, self.top + LEAST_PLOT + foot)
        self.bottom = self.height - foot

    def drawn(self) -> list[str]:
        """The parts from back to front."""
        if not self.curves:
            return self._head() + self._foot()
        levels = [level for curve in self.curves for _, level in curve.points]
        most = (self.bottom - self.top) // (36 * PIXEL)
        ticks = value_ticks(min(levels), max(levels), most)
        places = places_of(ticks)
        marks = [(tick, self.language.number(tick, places)) for tick in ticks]
        left = _EDGE + max(text_width(text, SMALL) for _, text in marks) + 8 * PIXEL
        labels = [self._label(curve) for curve in self.curves]
        right = self.width - _EDGE - max(text_width(" ".join(label), TEXT) for label in labels) - 16 * PIXEL
        days = [day for curve in self.curves for day in (curve.points[0][0], curve.points[-1][0])]
        level = Axis(ticks[0], ticks[-1], self.bottom, self.top)
        time = Axis(Decimal(min(days).toordinal()), Decimal(max(days).toordinal()), left, right)
        grid = [*self._grid(level, time, marks), *self._days(time, min(days), max(days))]
        lines = Lines(self.curves, level, time)
        return [*self._head(), *grid, *lines.drawn(labels), *self._foot()]

    def _label(self, curve: Curve) -> tuple[str, ...]:
        return (curve.code,) if self.width < NARROW else (curve.code, curve.figure)

    def _head(self) -> list[str]:
        rows = [*(("title", 21, text) for text in self.title), *(("soft", 17, text) for text in self.subtitle)]
        rtl = self.language.direction == "rtl"
        x, towards = (self.width - _EDGE, ' direction="rtl"') if rtl else (_EDGE, "")
        towards += "" if self.curves else self.ours
        y, parts = _EDGE - 4 * PIXEL, []
        for kind, step, text in rows:
            y += step * PIXEL
            parts.append(f'<text class="{kind}" x="{px(x)}" y="{px(y)}"{towards}>{escape(text)}</text>')
        return parts

    def _foot(self) -> list[str]:
        rtl = self.language.direction == "rtl"
        x, towards = (self.width - _EDGE, ' direction="rtl"') if rtl else (_EDGE, "")
        y = self.height - 12 * PIXEL - 15 * PIXEL * (len(self.notes) - 1)
        return [
            f'<text class="small" x="{px(x)}" y="{px(y + 15 * PIXEL * row)}"{towards}{self.ours}>{escape(text)}</text>'
            for row, text in enumerate(self.notes)
        ]

    def _grid(self, level: Axis, time: Axis, marks: Sequence[tuple[Decimal, str]]) -> list[str]:
        heights = [level.at(tick) for tick, _ in marks]
        lines = "".join(f"M{px(time.start)} {px(y)}H{px(time.end)}" for y in heights[1:])
        texts = [
            f'<text x="{px(time.start - 8 * PIXEL)}" y="{px(y + 4 * PIXEL)}">{escape(text)}</text>'
            for y, (_, text) in zip(heights, marks, strict=True)
        ]
        base = f'<path class="base" d="M{px(time.start)} {px(level.start)}H{px(time.end)}"/>'
        return [f'<path class="grid" d="{lines}"/>', base, '<g class="levels">', *texts, "</g>"]

    def _days(self, time: Axis, first: date, last: date) -> list[str]:
        marks = self._fitting(time, first, last)
        ticks = "".join(f"M{px(x)} {px(self.bottom)}v5" for x, _ in marks)
        texts = [f'<text x="{px(x)}" y="{px(self.bottom + 19 * PIXEL)}">{escape(text)}</text>' for x, text in marks]
        return [f'<path class="base" d="{ticks}"/>', '<g class="days">', *texts, "</g>"]

    def _fitting(self, time: Axis, first: date, last: date) -> list[tuple[int, str]]:
        """The closest marks whose labels leave a blank between them."""
        marks: list[tuple[int, str]] = []
        for unit, days in day_ticks(first, last):
            texts = [self._day(day, unit) for day in days]
            marks = [(time.at_day(day), text) for day, text in zip(days, texts, strict=True)]
            room = max(text_width(text, SMALL) for text in texts) + 14 * PIXEL
            if all(after[0] - before[0] >= room for before, after in pairwise(marks)):
                break
        return marks

    def _day(self, day: date, unit: Unit) -> str:
        if unit == "day":
            return self.language.day_and_month(day)
        return self.language.year(day) if unit == "year" or day.month == 1 else self.language.month(day)
