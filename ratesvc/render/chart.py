"""The line chart of up to six currencies as SVG: what it shows and says. Lines join real effective dates only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from html import escape
from importlib.resources import files
from itertools import pairwise, repeat

from ratesvc.domain.rates import EXACT, OLD_IN_NEW, ONE, REDENOMINATION, ratios, rounded
from ratesvc.render.chart_layout import Axis, Curve, Lines, Point, Unit, day_ticks, decimals, places_of, px, value_ticks
from ratesvc.render.language import Language
from ratesvc.render.png import PIXEL, text_width, wrapped

CONTENT_TYPE = "image/svg+xml"
MOST_CURRENCIES = 6
THEMES = ("light", "dark", "auto")
WIDTHS = range(320, 1601)
HEIGHTS = range(200, 1001)
WIDTH, HEIGHT = 720, 400

Ratio = tuple[Decimal, Decimal]
"""An unrounded rate: numerator and denominator."""
Exact = Callable[[str, date], Ratio | None]
"""The unrounded rate of a currency on an effective date; None for one that is a point of the series as it is."""

_OLD = Decimal(OLD_IN_NEW)
_HUNDRED = Decimal(100)


def _as_it_is(_: str, __: date) -> None:
    return


@dataclass(frozen=True, slots=True)
class ChartLook:
    """How a chart is shown: size in pixels within WIDTHS and HEIGHTS, `theme` one of THEMES.

    Where the words around it leave too little room for the lines, the chart becomes higher.
    """

    language: Language
    theme: str = "auto"
    width: int = WIDTH
    height: int = HEIGHT
    demo: bool = False


def chart(
    series: Mapping[str, Sequence[Point]],
    look: ChartLook,
    *,
    quote: str = "RUB",
    indexed: bool = False,
    exact: Exact = _as_it_is,
) -> str:
    """The SVG document: unit rates in `quote` by effective date, or with `indexed` their move from 100 at the first.

    `series` holds, for each currency code, (effective date, unit rate) in order of days, rates before 1998-01-01
    in old roubles as published. Cross rates are rounded there; `exact` gives them unrounded and in new roubles, so that
    an index is rounded once. Raises ValueError for more than MOST_CURRENCIES and for a look out of bounds.
    """
    if len(series) > MOST_CURRENCIES or look.width not in WIDTHS or look.height not in HEIGHTS:
        raise ValueError("a chart takes at most 6 currencies and has bounds for its size")
    if look.theme not in THEMES:
        raise ValueError("a chart's theme is light, dark or auto")
    rates = {code: _in_new_roubles(code, points, quote) for code, points in series.items() if points}
    shown = _Shown(look.language, quote, indexed, exact)
    curves = [shown.curve(code, points) for code, points in rates.items()]
    words = Words(shown.title(rates), shown.subtitle(rates), _notes(series, look, quote), shown.alternative(rates))
    return svg(curves, words, look.language, look.theme, (look.width, look.height))


def _in_new_roubles(code: str, points: Sequence[Point], quote: str) -> list[Point]:
    if quote == "RUB":
        return [(day, _new(rate) if day < REDENOMINATION else rate) for day, rate in points]
    if code == "RUB":
        return [(day, EXACT.multiply(rate, _OLD) if day < REDENOMINATION else rate) for day, rate in points]
    return list(points)


def _new(rate: Decimal) -> Decimal:
    return EXACT.divide(rate, _OLD)


def _notes(series: Mapping[str, Sequence[Point]], look: ChartLook, quote: str) -> list[str]:
    say = look.language.say
    notes = [say("Source: official rates of the Bank of Russia.")]
    in_roubles = series if quote == "RUB" else {code: series[code] for code in series if code == "RUB"}
    if any(points[0][0] < REDENOMINATION for points in in_roubles.values() if points):
        notes.append(say("Before {day} in old roubles, here divided by 1000.", day=look.language.day(REDENOMINATION)))
    if missing := [code for code, points in series.items() if not points]:
        notes.append(say("No rates for these days: {codes}.", codes=", ".join(missing)))
    if look.demo:
        notes.append(say("Demo: recorded rates, not today's."))
    return [look.language.isolated(note) for note in notes]


@dataclass(frozen=True, slots=True)
class _Shown:
    """The numbers and words of one chart."""

    language: Language
    quote: str
    indexed: bool
    exact: Exact

    def curve(self, code: str, points: Sequence[Point]) -> Curve:
        """The line with the label at its end."""
        first, last = points[0][1], points[-1][1]
        if self.indexed:
            # Ten digits are more than anybody sees on paper; the label is rounded once, from the exact index.
            hundredfold = [EXACT.multiply(rate, _HUNDRED) for _, rate in points]
            moved = list(zip([day for day, _ in points], ratios(hundredfold, repeat(first)), strict=False))
            return Curve(code, self._figure(code, points[-1], points[0]), moved)
        # Four significant digits, two decimals at least: 101.68, 0.003008.
        places = max(2, 3 - last.adjusted())
        shown = rounded(*self._unrounded(code, points[-1]), places=places)
        return Curve(code, self.language.number(shown, places), points)

    def title(self, rates: Mapping[str, Sequence[Point]]) -> str:
        """The currency's name, or the codes of several."""
        if not rates:
            return self.language.say("No rates for these days.")
        if len(rates) > 1:
            return ", ".join(rates)
        name = self.language.currency(next(iter(rates)))
        return name[:1].upper() + name[1:]

    def subtitle(self, rates: Mapping[str, Sequence[Point]]) -> str:
        """The unit, and the days from the first point to the last."""
        if not rates:
            return ""
        days = [day for points in rates.values() for day in (points[0][0], points[-1][0])]
        return " · ".join(map(self.language.isolated, (self._unit(tuple(rates)), self._period(min(days), max(days)))))

    def _unit(self, codes: Sequence[str]) -> str:
        if self.indexed:
            return self.language.say("Index, first day = 100")
        if len(codes) == 1:
            return self.language.say("{quote} for 1 {code}", quote=self.quote, code=codes[0])
        return self.language.say("{quote} for one unit", quote=self.quote)

    def _period(self, first: date, last: date) -> str:
        begin, end = self.language.day(first), self.language.day(last)
        return begin if first == last else f"{begin} \u2013 {end}"

    def alternative(self, rates: Mapping[str, Sequence[Point]]) -> str:
        """What a reader who cannot see the lines is told."""
        return "\n".join(self._in_words(code, points) for code, points in rates.items())

    def _in_words(self, code: str, points: Sequence[Point]) -> str:
        told = {
            "first": points[0],
            "last": points[-1],
            "lowest": min(points, key=_rate),
            "highest": max(points, key=_rate),
        }
        words = {name: self._figure(code, point, points[0]) for name, point in told.items()}
        days = {f"{name}_day": self.language.day(day) for name, (day, _) in told.items()}
        return self.language.say(
            "{name} ({code}): first {first} on {first_day}, last {last} on {last_day}; "
            "lowest {lowest} on {lowest_day}, highest {highest} on {highest_day}.",
            **{"name": self.language.currency(code), "code": code, **words, **days},
        )

    def _figure(self, code: str, point: Point, first: Point) -> str:
        if self.indexed:
            now, then = (self._unrounded(code, one) for one in (point, first))
            return self.language.number(_index(now, then, places=1), 1)
        return self.language.number(point[1], max(4, decimals(point[1])))

    def _unrounded(self, code: str, point: Point) -> Ratio:
        return self.exact(code, point[0]) or (point[1], ONE)


def _rate(point: Point) -> Decimal:
    return point[1]


def _index(now: Ratio, then: Ratio, places: int) -> Decimal:
    moved = EXACT.multiply(EXACT.multiply(now[0], then[1]), _HUNDRED)
    return rounded(moved, EXACT.multiply(now[1], then[0]), places=places)


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
