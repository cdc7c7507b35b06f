"""The line chart of up to six currencies as SVG: its words and its space. Lines are level while a rate is in force."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import pairwise
from operator import itemgetter

from ratesvc.domain.rates import EXACT, REDENOMINATION, plain, rounded, unrounded
from ratesvc.features.chart.axes import BELOW, Axis, Curve, Point, lines, px, value_ticks
from ratesvc.features.site.language import Language
from ratesvc.features.site.page import page, style
from ratesvc.features.site.text import PIXEL, text_width, wrapped
from ratesvc.render.language import PLACES

CONTENT_TYPE = "image/svg+xml"
STYLE = style("chart/chart")
"""The same in every chart, so that one hash in a Content-Security-Policy allows it."""

MOST_CURRENCIES = 6

_TITLE, _TEXT, _SMALL = 19, 13, 12
"""Font sizes in pixels. That of the title is 17, and its bold letters are as wide as those of 19."""
_TITLE_STEP, _TEXT_STEP, _NOTE_STEP = 21 * PIXEL, 17 * PIXEL, 15 * PIXEL
_EDGE, _LEAST_PLOT = 12 * PIXEL, 92 * PIXEL
_FAR_APART = 5
_HUNDRED = Decimal(100)
_RATE = itemgetter(1)

_DAY_STEPS, _MONTH_STEPS = (1, 2, 7, 14), (1, 2, 3, 6, 12, 24, 60, 120, 240, 600)
_MOST_DAY_MARKS = 60


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

    `series` holds (effective date, unit rate) for each currency code in order of days, in new roubles. There are at
    most MOST_CURRENCIES. `rates` are those with points.
    """

    def __init__(
        self, series: Mapping[str, Sequence[Point]], look: ChartLook, *, quote: str = "RUB", indexed: bool = False
    ) -> None:
        self._look, self._quote, self._indexed = look, quote, indexed
        self.rates = {code: points for code, points in series.items() if points}
        self.curves = [self._curve(code, points) for code, points in self.rates.items()]
        self.in_words = "\n".join(map(self._in_words, self.curves))
        self._space = look.width * PIXEL - 2 * _EDGE
        self.title, self.subtitle = look.title or self._title(), self._subtitle()
        self.notes = self._notes([code for code in series if code not in self.rates])

    def svg(self) -> str:
        """The SVG document."""
        look, language, width = self._look, self._look.language, self._look.width * PIXEL
        is_rtl, lang = language.direction == "rtl", language.foreign
        title_lang = "" if self.curves or look.title else lang
        titles, subtitles = wrapped(self.title, _TITLE, self._space), wrapped(self.subtitle, _TEXT, self._space)
        notes = wrapped(language.blank.join(self.notes), _SMALL, self._space)
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
        """What stands between these heights, beside the marks of the levels and before the labels of the lines."""
        marks = level_marks(self.curves, self._look.language, (bottom - top) // PIXEL)
        # The title says which currency a single line is.
        labels = [f"{curve.code} {curve.figure}" if len(self.curves) > 1 else curve.figure for curve in self.curves]
        left = _EDGE + max(text_width(text, _SMALL) for _, text in marks) + 8 * PIXEL
        right = _EDGE + self._space - max(text_width(label, _TEXT) for label in labels) - 16 * PIXEL
        return plot(self.curves, self._look.language, (left, top, right, bottom))

    def _curve(self, code: str, points: Sequence[Point]) -> Curve:
        """The line with the label at its end; a single one also with its highest and lowest figure."""
        if self._indexed:
            first = points[0][1]
            points = [(day, unrounded(EXACT.multiply(rate, _HUNDRED), first)) for day, rate in points]
        last = points[-1][1]
        # Of rates four significant digits, two decimals at least: 101.68, 0.003008.
        places = 1 if self._indexed else max(2, 3 - last.adjusted())

        def figure(level: Decimal) -> str:
            return self._look.language.number(rounded(level, places=places), places)

        extremes = ((max(points, key=_RATE), False), (min(points, key=_RATE), True)) if len(self.rates) == 1 else ()
        peaks = [(point, figure(point[1]), is_low) for point, is_low in extremes if point[1] != last]
        return Curve(code, figure(last), points, peaks)

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

    def _in_words(self, curve: Curve) -> str:
        """A line for readers who cannot see it."""
        language, points = self._look.language, curve.points
        lowest, highest = min(points, key=_RATE), max(points, key=_RATE)
        named = {"first": points[0], "last": points[-1], "lowest": lowest, "highest": highest}
        figures = {
            name: language.number(rounded(level, places=1), 1) if self._indexed else language.number(level, PLACES)
            for name, (_, level) in named.items()
        }
        days = {f"{name}_day": language.day(day) for name, (day, _) in named.items()}
        return language.say(
            "{name} ({code}): first {first} on {first_day}, last {last} on {last_day}; "
            "lowest {lowest} on {lowest_day}, highest {highest} on {highest_day}.",
            **{"name": language.currency(curve.code), "code": curve.code, **figures, **days},
        )

    def _notes(self, missing: Sequence[str]) -> list[str]:
        language, say = self._look.language, self._look.language.say
        notes = [say("Source: Bank of Russia.")]
        in_roubles = [points for code, points in self.rates.items() if "RUB" in (code, self._quote)]
        if any(points[0][0] < REDENOMINATION for points in in_roubles):
            day = language.isolated(language.day(REDENOMINATION))
            notes.append(say("Rates before {day} were in old roubles; here they are divided by 1,000.", day=day))
        if missing:
            notes.append(say("No rates for these days: {codes}.", codes=", ".join(missing)))
        if self._look.demo:
            notes.append(say("Demo: recorded rates, not today's rates."))
        return notes


def plot(curves: Sequence[Curve], language: Language, box: tuple[int, int, int, int]) -> dict[str, object]:
    """The lines and the marks of both axes with their places between left, top, right and bottom."""
    left, top, right, bottom = box
    days = [curve.points[at][0].toordinal() for curve in curves for at in (0, -1)]
    marks = level_marks(curves, language, (bottom - top) // PIXEL)
    low, high = marks[0][0], marks[-1][0]
    time, level = Axis(Decimal(min(days)), Decimal(max(days)), left, right), Axis(low, high, bottom, top)
    return {
        "box": box,
        "low": plain(low),
        "high": plain(high),
        "levels": [(level.at(number), text) for number, text in marks],
        "days": day_marks(time, language),
        "lines": lines(curves, level, time),
    }


def level_marks(curves: Sequence[Curve], language: Language, height: int) -> list[tuple[Decimal, str]]:
    """The marks of the levels on so many pixels, as numbers and as text. The figure of a lowest point has its space."""
    levels = [level for curve in curves for _, level in curve.points]
    low, high = min(levels), max(levels)
    if any(is_low for curve in curves for *_, is_low in curve.peaks):
        low = max(low - unrounded((high - low) * (BELOW + 7), Decimal(height)), Decimal(0))
    ticks = value_ticks(low, high, height // 30)
    places = max(0, -(ticks[1] - ticks[0]).adjusted())
    return [(tick, language.number(tick, places)) for tick in ticks]


def day_marks(time: Axis, language: Language) -> list[tuple[int, str]]:
    """The closest marks of days as (place, text) whose labels leave a blank between them.

    They are days, Mondays, firsts of months, and in steps of years firsts of January.
    """

    def month_or_year(day: date) -> str:
        return str(day.year) if day.month == 1 else language.date_as("MMM", day)

    first, last = date.fromordinal(int(time.low)), date.fromordinal(int(time.high))
    # Ordinal 1 is a Monday. The months are counted from January of year 0.
    days = range(first.toordinal(), last.toordinal() + 1)
    months = range(first.year * 12 + first.month - (first.day == 1), last.year * 12 + last.month)
    ways = [
        (language.day_and_month, [date.fromordinal(day) for day in days[(1 - days.start) % step :: step]])
        for step in _DAY_STEPS
    ]
    ways += [
        (month_or_year, [date(month // 12, month % 12 + 1, 1) for month in months[-months.start % step :: step]])
        for step in _MONTH_STEPS
    ]
    marks: list[tuple[int, str]] = []
    for text, marked in ways:
        if 0 < len(marked) <= _MOST_DAY_MARKS:
            marks = [(time.at_day(day), text(day)) for day in marked]
            space = max(text_width(text, _SMALL) for _, text in marks) + 14 * PIXEL
            if all(after[0] - before[0] >= space for before, after in pairwise(marks)):
                break
    return marks
