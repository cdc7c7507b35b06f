"""The line chart of up to six currencies as SVG: its words and its space. Lines are level while a rate is in force."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import pairwise, repeat
from operator import itemgetter

from ratesvc.domain.rates import EXACT, ONE, REDENOMINATION, ratios, rounded
from ratesvc.features.chart.axes import (
    SMALL,
    Axis,
    Curve,
    Point,
    Unit,
    day_ticks,
    decimals,
    level_ticks,
    lines,
    px,
    time_axis,
)
from ratesvc.features.ranges.unit_rates import in_new_roubles
from ratesvc.features.site.language import Language
from ratesvc.features.site.page import asset, page
from ratesvc.features.site.text import PIXEL, text_width, wrapped

CONTENT_TYPE = "image/svg+xml"
STYLE = asset("chart/chart.css").read_text("utf-8").strip()
"""The same in every chart, so that one hash in a Content-Security-Policy allows it."""

MOST_CURRENCIES = 6

Ratio = tuple[Decimal, Decimal]
"""An unrounded rate: numerator and denominator."""
Exact = Callable[[str, date], Ratio | None]
"""The unrounded rate of a currency on an effective date; None if the point of the series is exact."""

_TITLE, _TEXT = 19, 13
"""Font sizes in pixels. That of the title is 17, and its bold letters are as wide as those of 19."""
_LEAST_PLOT = 92 * PIXEL
_NARROW, _LOW = 480, 300
_FAR_APART = 5
_HUNDRED = Decimal(100)


@dataclass(frozen=True, slots=True)
class ChartLook:
    """How a chart is shown: size in pixels, `theme` light, dark or auto, `title` the host's own.

    The contract bounds the size. The chart becomes higher if the words around it leave too little space for the lines.
    """

    language: Language
    theme: str = "auto"
    width: int = 720
    height: int = 400
    demo: bool = False
    title: str = ""

    @property
    def is_compact(self) -> bool:
        """Whether the words are small and the edges narrow, so that the lines have more space."""
        return self.width < _NARROW or self.height < _LOW

    @property
    def edge(self) -> int:
        """The space around all, in tenths of a pixel."""
        return (8 if self.is_compact else 16) * PIXEL

    @property
    def space(self) -> int:
        """The width between the edges, in tenths of a pixel."""
        return self.width * PIXEL - 2 * self.edge


def is_better_indexed(series: Mapping[str, Sequence[Point]]) -> bool:
    """Whether absolute lines would lie flat on each other: the last rates differ more than fivefold."""
    last = [points[-1][1] for points in series.values() if points]
    return len(last) > 1 and max(last) > min(last) * _FAR_APART


class Drawing:
    """A chart of unit rates in `quote` by effective date, or with `indexed` of their move from 100 at the first.

    `series` holds (effective date, unit rate) for each currency code in order of days, rates before 1998-01-01 in old
    roubles as published. Cross rates are rounded there; `exact` gives them unrounded and in new roubles, so that an
    index is rounded once. There are at most MOST_CURRENCIES. `rates` are in new roubles, without empty series.
    """

    def __init__(
        self,
        series: Mapping[str, Sequence[Point]],
        look: ChartLook,
        *,
        quote: str = "RUB",
        indexed: bool = False,
        exact: Exact = lambda _code, _day: None,
    ) -> None:
        self.rates = {code: _in_new_roubles(code, points, quote) for code, points in series.items() if points}
        words, is_marked = _Words(look, quote, indexed, exact), len(self.rates) == 1
        self.in_words = words.alternative(self.rates)
        self.curves = [words.curve(code, points, is_marked=is_marked) for code, points in self.rates.items()]
        self.title, self.subtitle = look.title or words.title(self.rates), words.subtitle(self.rates)
        self.notes = _notes(series, look, quote)
        self._look = look

    def svg(self) -> str:
        """The SVG document."""
        sheet = _Canvas(self.curves, self._look, self.title, self.subtitle, self.notes)
        drawn = page(
            "chart/chart.svg",
            look=self._look,
            sheet=sheet,
            px=px,
            rules=STYLE,
            title=f"{self.title}. {self.subtitle}" if self.subtitle else self.title,
            in_words=self.in_words,
            **sheet.plot(),
        )
        return f"{drawn}\n"


def _in_new_roubles(code: str, points: Sequence[Point], quote: str) -> list[Point]:
    if "RUB" not in (code, quote):
        return list(points)
    return [(day, in_new_roubles(rate, code) if day < REDENOMINATION else rate) for day, rate in points]


def _notes(series: Mapping[str, Sequence[Point]], look: ChartLook, quote: str) -> list[str]:
    say = look.language.say
    notes = [say("Source: Bank of Russia.")]
    in_roubles = series if quote == "RUB" else {code: series[code] for code in series if code == "RUB"}
    if any(points[0][0] < REDENOMINATION for points in in_roubles.values() if points):
        day = look.language.isolated(look.language.day(REDENOMINATION))
        notes.append(say("Rates before {day} were in old roubles; here they are divided by 1,000.", day=day))
    if missing := [code for code, points in series.items() if not points]:
        notes.append(say("No rates for these days: {codes}.", codes=", ".join(missing)))
    if look.demo:
        notes.append(say("Demo: recorded rates, not today's rates."))
    return notes


@dataclass(frozen=True, slots=True)
class _Words:
    """The numbers and words of one chart."""

    look: ChartLook
    quote: str
    indexed: bool
    exact: Exact

    @property
    def language(self) -> Language:
        """The reader's."""
        return self.look.language

    def curve(self, code: str, points: Sequence[Point], *, is_marked: bool = False) -> Curve:
        """The line with the label at its end, and with `is_marked` with its highest and lowest figure."""
        first, last = points[0], points[-1]
        if self.indexed:
            # Ten digits are finer than any pixel. The label is rounded once, from the exact index.
            hundredfold = [EXACT.multiply(rate, _HUNDRED) for _, rate in points]
            moved = list(zip([day for day, _ in points], ratios(hundredfold, repeat(first[1])), strict=False))
            return Curve(code, self._figure(code, last, first), moved)
        # Four significant digits, two decimals at least: 101.68, 0.003008.
        places = max(2, 3 - last[1].adjusted())

        def written(point: Point) -> str:
            return self.language.number(rounded(*self._unrounded(code, point), places=places), places)

        rate = itemgetter(1)
        extremes = ((max(points, key=rate), False), (min(points, key=rate), True)) if is_marked else ()
        marked = [(point, written(point), is_low) for point, is_low in extremes if point[1] != last[1]]
        return Curve(code, written(last), points, marked)

    def title(self, rates: Mapping[str, Sequence[Point]]) -> str:
        """The names of the currencies, or their codes if the names need more than two lines."""
        if not rates:
            return self.language.say("No rates for these days.")
        names = self.language.listed([self.language.currency(code) for code in rates])
        if len(wrapped(names, _TITLE, self.look.space)) > 2:
            return ", ".join(rates)
        return names[:1].upper() + names[1:]

    def subtitle(self, rates: Mapping[str, Sequence[Point]]) -> str:
        """The unit, and the days from the first point to the last."""
        if not rates:
            return ""
        say = self.language.say
        quote = say("RUB") if self.quote == "RUB" else self.quote
        if self.indexed:
            unit = say("Index, first day = 100")
        elif len(rates) == 1:
            unit = say("{quote} for 1 {code}", quote=quote, code=next(iter(rates)))
        else:
            unit = say("{quote} for one unit", quote=quote)
        first, last = min(points[0][0] for points in rates.values()), max(points[-1][0] for points in rates.values())
        period = self.language.day(first) if first == last else self.language.period(first, last)
        return " · ".join(map(self.language.isolated, (unit, period)))

    def alternative(self, rates: Mapping[str, Sequence[Point]]) -> str:
        """The lines in words, for readers who cannot see them."""
        return "\n".join(self._in_words(code, points) for code, points in rates.items())

    def _in_words(self, code: str, points: Sequence[Point]) -> str:
        rate = itemgetter(1)
        lowest, highest = min(points, key=rate), max(points, key=rate)
        extremes = {"first": points[0], "last": points[-1], "lowest": lowest, "highest": highest}
        words = {name: self._figure(code, point, points[0]) for name, point in extremes.items()}
        days = {f"{name}_day": self.language.day(day) for name, (day, _) in extremes.items()}
        return self.language.say(
            "{name} ({code}): first {first} on {first_day}, last {last} on {last_day}; "
            "lowest {lowest} on {lowest_day}, highest {highest} on {highest_day}.",
            **{"name": self.language.currency(code), "code": code, **words, **days},
        )

    def _figure(self, code: str, point: Point, first: Point) -> str:
        if not self.indexed:
            return self.language.number(point[1], max(4, decimals(point[1])))
        now, then = self._unrounded(code, point), self._unrounded(code, first)
        moved = EXACT.multiply(EXACT.multiply(now[0], then[1]), _HUNDRED)
        return self.language.number(rounded(moved, EXACT.multiply(now[1], then[0]), places=1), 1)

    def _unrounded(self, code: str, point: Point) -> Ratio:
        return self.exact(code, point[0]) or (point[1], ONE)


class _Canvas:
    """One chart's words and its space for lines, in tenths of a pixel.

    `head` and `foot` are parts of class, lines, place and step from line to line, and language if it is not the
    picture's.
    """

    def __init__(
        self, curves: Sequence[Curve], look: ChartLook, title: str, subtitle: str, notes: Iterable[str]
    ) -> None:
        self.curves, self._language = curves, look.language
        self.lang = look.language.foreign
        self.title_lang = "" if curves or look.title else self.lang
        self.is_rtl = look.language.direction == "rtl"
        self.width = look.width * PIXEL
        edge, space = look.edge, look.space
        self._edge = edge
        self.words_at = self.width - edge if self.is_rtl else edge
        kind, size, step = ("small", SMALL, 15 * PIXEL) if look.is_compact else ("soft", _TEXT, 17 * PIXEL)
        titles, subtitles = wrapped(title, _TITLE, space), wrapped(subtitle, size, space)
        rows = wrapped(look.language.blank.join(notes), SMALL, space)
        top, title_step, note_step = edge - 4 * PIXEL, 21 * PIXEL, 15 * PIXEL
        below = top + title_step * len(titles)
        self.head = [("title", titles, top, title_step, self.title_lang), (kind, subtitles, below, step, "")]
        self._top = max(edge, 12 * PIXEL) + 4 * PIXEL + below + step * len(subtitles)
        foot = edge + 28 * PIXEL + note_step * len(rows)
        self.height = max(look.height * PIXEL, self._top + _LEAST_PLOT + foot)
        self._bottom = self.height - foot
        self.foot = [("small", rows, self.height - edge * 3 // 4 - note_step * len(rows), note_step, self.lang)]

    def plot(self) -> dict[str, object]:
        """The axes, their marks as (place, text), and the lines between them."""
        if not self.curves:
            return {}
        height = (self._bottom - self._top) // PIXEL
        ticks = level_ticks(self.curves, height // 36, height)
        marks = marks_of(ticks, self._language)
        # The title of a narrow chart says which currency a single line is.
        is_short = self.width < _NARROW * PIXEL and len(self.curves) == 1
        labels = [(curve.figure,) if is_short else (curve.code, curve.figure) for curve in self.curves]
        left = self._edge + max(text_width(text, SMALL) for text in marks) + 8 * PIXEL
        right = self.width - self._edge - max(text_width(" ".join(label), _TEXT) for label in labels) - 16 * PIXEL
        time, level = time_axis(self.curves, left, right), Axis(ticks[0], ticks[-1], self._bottom, self._top)
        return {
            "time": time,
            "bottom": self._bottom,
            "levels": list(zip(map(level.at, ticks), marks, strict=True)),
            "days": self._fitting(time),
            "lines": lines(self.curves, level, time, labels),
        }

    def _fitting(self, time: Axis) -> list[tuple[int, str]]:
        """The closest marks of days whose labels leave a blank between them."""
        marks: list[tuple[int, str]] = []
        for marks in day_marks(time, self._language):
            space = max(text_width(text, SMALL) for _, text in marks) + 14 * PIXEL
            if all(after[0] - before[0] >= space for before, after in pairwise(marks)):
                break
        return marks


def marks_of(ticks: Sequence[Decimal], language: Language) -> list[str]:
    """The marks of a level as text, with as many decimals as the longest needs."""
    places = max(map(decimals, ticks))
    return [language.number(tick, places) for tick in ticks]


def day_marks(time: Axis, language: Language) -> Iterator[list[tuple[int, str]]]:
    """Ways to mark the days of an axis as (place, text), the closest first."""

    def text(day: date, unit: Unit) -> str:
        if unit == "day":
            return language.day_and_month(day)
        return language.year(day) if unit == "year" or day.month == 1 else language.month(day)

    for unit, days in day_ticks(*(date.fromordinal(int(day)) for day in (time.low, time.high))):
        yield [(time.at_day(day), text(day, unit)) for day in days]
