"""The line chart of up to six currencies as SVG: its words and its space. Lines are level while a rate is in force."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import pairwise, repeat
from operator import itemgetter

from ratesvc.domain.rates import EXACT, OLD_IN_NEW, ONE, REDENOMINATION, ratios, rounded, trimmed
from ratesvc.features.chart.axes import (
    SMALL,
    Axis,
    Curve,
    Point,
    day_ticks,
    decimals,
    level_ticks,
    lines,
    px,
    time_axis,
)
from ratesvc.features.site.language import Language
from ratesvc.features.site.page import asset, page
from ratesvc.features.site.text import PIXEL, text_width, wrapped

CONTENT_TYPE = "image/svg+xml"
STYLE = asset("chart/chart.css").read_text("utf-8").strip()
"""The same in every chart, so that one hash in a Content-Security-Policy allows it."""

MOST_CURRENCIES = 6

_TITLE, _TEXT = 19, 13
"""Font sizes in pixels. That of the title is 17, and its bold letters are as wide as those of 19."""
_TITLE_STEP, _TEXT_STEP, _NOTE_STEP = 21 * PIXEL, 17 * PIXEL, 15 * PIXEL
_EDGE, _LEAST_PLOT = 12 * PIXEL, 92 * PIXEL
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


def is_better_indexed(series: Mapping[str, Sequence[Point]]) -> bool:
    """Whether absolute lines would lie flat on each other: the last rates differ more than fivefold."""
    last = [points[-1][1] for points in series.values() if points]
    return len(last) > 1 and max(last) > min(last) * _FAR_APART


class Drawing:
    """A chart of unit rates in `quote` by effective date, or with `indexed` of their move from 100 at the first.

    `series` holds (effective date, unit rate) for each currency code in order of days, rates before 1998-01-01 in old
    roubles as published. There are at most MOST_CURRENCIES. Cross rates have 10 digits, which are finer than any
    figure. `rates` are in new roubles, without empty series.
    """

    def __init__(
        self,
        series: Mapping[str, Sequence[Point]],
        look: ChartLook,
        *,
        quote: str = "RUB",
        indexed: bool = False,
    ) -> None:
        self._look, self._quote, self._indexed = look, quote, indexed
        self.rates = {code: _in_new_roubles(code, points, quote) for code, points in series.items() if points}
        self.in_words = "\n".join(self._in_words(code, points) for code, points in self.rates.items())
        self.curves = [self._curve(code, points) for code, points in self.rates.items()]
        self._space = look.width * PIXEL - 2 * _EDGE
        self.title, self.subtitle = look.title or self._title(), self._subtitle()
        self.notes = _notes(series, look, quote)

    def svg(self) -> str:
        """The SVG document."""
        look, language, width = self._look, self._look.language, self._look.width * PIXEL
        is_rtl, lang = language.direction == "rtl", language.foreign
        title_lang = "" if self.curves or look.title else lang
        titles, subtitles = wrapped(self.title, _TITLE, self._space), wrapped(self.subtitle, _TEXT, self._space)
        notes = wrapped(language.blank.join(self.notes), SMALL, self._space)
        head, foot = _EDGE - 4 * PIXEL, _EDGE + 28 * PIXEL + _NOTE_STEP * len(notes)
        below = head + _TITLE_STEP * len(titles)
        top = below + _TEXT_STEP * len(subtitles) + _EDGE + 4 * PIXEL
        height = max(look.height * PIXEL, top + _LEAST_PLOT + foot)
        drawn = page(
            "chart/chart.svg",
            look=look,
            px=px,
            rules=STYLE,
            size=(px(width), px(height)),
            title=f"{self.title}. {self.subtitle}" if self.subtitle else self.title,
            title_lang=title_lang,
            in_words=self.in_words,
            lang=lang,
            is_rtl=is_rtl,
            words_at=px(width - _EDGE if is_rtl else _EDGE),
            parts=(
                ("title", titles, head, _TITLE_STEP, title_lang),
                ("soft", subtitles, below, _TEXT_STEP, ""),
                ("small", notes, height - _EDGE * 3 // 4 - _NOTE_STEP * len(notes), _NOTE_STEP, lang),
            ),
            plot=self._plot(top, height - foot) if self.curves else {},
        )
        return f"{drawn}\n"

    def _plot(self, top: int, bottom: int) -> dict[str, object]:
        """The axes, their marks as (place, text), and the lines between them."""
        language, height = self._look.language, (bottom - top) // PIXEL
        ticks = level_ticks(self.curves, height // 30, height)
        marks = marks_of(ticks, language)
        # The title says which currency a single line is.
        labels = [(curve.figure,) if len(self.curves) == 1 else (curve.code, curve.figure) for curve in self.curves]
        left = _EDGE + max(text_width(text, SMALL) for text in marks) + 8 * PIXEL
        right = _EDGE + self._space - max(text_width(" ".join(label), _TEXT) for label in labels) - 16 * PIXEL
        time, level = time_axis(self.curves, left, right), Axis(ticks[0], ticks[-1], bottom, top)
        return {
            "time": time,
            "bottom": bottom,
            "levels": list(zip(map(level.at, ticks), marks, strict=True)),
            "days": day_marks(time, language),
            "lines": lines(self.curves, level, time, labels),
        }

    def _curve(self, code: str, points: Sequence[Point]) -> Curve:
        """The line with the label at its end; a single one also with its highest and lowest figure."""
        first, last = points[0], points[-1]
        if self._indexed:
            # Ten digits are finer than any pixel.
            hundredfold = [EXACT.multiply(rate, _HUNDRED) for _, rate in points]
            moved = list(zip([day for day, _ in points], ratios(hundredfold, repeat(first[1])), strict=False))
            return Curve(code, self._figure(last, first), moved)
        # Four significant digits, two decimals at least: 101.68, 0.003008.
        places = max(2, 3 - last[1].adjusted())

        def written(rate: Decimal) -> str:
            return self._look.language.number(rounded(rate, ONE, places=places), places)

        rate = itemgetter(1)
        extremes = ((max(points, key=rate), False), (min(points, key=rate), True)) if len(self.rates) == 1 else ()
        marked = [(point, written(point[1]), is_low) for point, is_low in extremes if point[1] != last[1]]
        return Curve(code, written(last[1]), points, marked)

    def _title(self) -> str:
        """The names of the currencies, or their codes if the names need more than two lines."""
        if not self.rates:
            return self._look.language.say("No rates for these days.")
        names = self._look.language.listed([self._look.language.currency(code) for code in self.rates])
        if len(wrapped(names, _TITLE, self._space)) > 2:
            return ", ".join(self.rates)
        return names[:1].upper() + names[1:]

    def _subtitle(self) -> str:
        """The unit, and the days from the first point to the last."""
        rates = self.rates
        if not rates:
            return ""
        say = self._look.language.say
        quote = say("RUB") if self._quote == "RUB" else self._quote
        if self._indexed:
            unit = say("Index, first day = 100")
        elif len(rates) == 1:
            unit = say("{quote} for 1 {code}", quote=quote, code=next(iter(rates)))
        else:
            unit = say("{quote} for one unit", quote=quote)
        first, last = min(points[0][0] for points in rates.values()), max(points[-1][0] for points in rates.values())
        period = self._look.language.day(first) if first == last else self._look.language.period(first, last)
        return " · ".join(map(self._look.language.isolated, (unit, period)))

    def _in_words(self, code: str, points: Sequence[Point]) -> str:
        """A line for readers who cannot see it."""
        rate = itemgetter(1)
        lowest, highest = min(points, key=rate), max(points, key=rate)
        extremes = {"first": points[0], "last": points[-1], "lowest": lowest, "highest": highest}
        words = {name: self._figure(point, points[0]) for name, point in extremes.items()}
        days = {f"{name}_day": self._look.language.day(day) for name, (day, _) in extremes.items()}
        return self._look.language.say(
            "{name} ({code}): first {first} on {first_day}, last {last} on {last_day}; "
            "lowest {lowest} on {lowest_day}, highest {highest} on {highest_day}.",
            **{"name": self._look.language.currency(code), "code": code, **words, **days},
        )

    def _figure(self, point: Point, first: Point) -> str:
        if not self._indexed:
            return self._look.language.number(point[1], max(4, decimals(point[1])))
        return self._look.language.number(rounded(EXACT.multiply(point[1], _HUNDRED), first[1], places=1), 1)


def _in_new_roubles(code: str, points: Sequence[Point], quote: str) -> list[Point]:
    if "RUB" not in (code, quote):
        return list(points)
    change = EXACT.multiply if code == "RUB" else EXACT.divide
    return [(day, trimmed(change(rate, OLD_IN_NEW)) if day < REDENOMINATION else rate) for day, rate in points]


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


def marks_of(ticks: Sequence[Decimal], language: Language) -> list[str]:
    """The marks of a level as text, with as many decimals as the longest needs."""
    places = max(map(decimals, ticks))
    return [language.number(tick, places) for tick in ticks]


def day_marks(time: Axis, language: Language, pixel: int = PIXEL) -> list[tuple[int, str]]:
    """The closest marks of days as (place, text) whose labels leave a blank between them; a `pixel` is so much."""

    def text(day: date, is_day: bool) -> str:
        if is_day:
            return language.day_and_month(day)
        return str(day.year) if day.month == 1 else language.month(day)

    marks: list[tuple[int, str]] = []
    for is_day, days in day_ticks(*(date.fromordinal(int(day)) for day in (time.low, time.high))):
        marks = [(time.at_day(day), text(day, is_day)) for day in days]
        space = (max(text_width(text, SMALL) for _, text in marks) + 14 * PIXEL) * pixel // PIXEL
        if all(after[0] - before[0] >= space for before, after in pairwise(marks)):
            break
    return marks
