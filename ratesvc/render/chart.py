"""The line chart of up to six currencies as SVG: what it shows and says. Lines join real effective dates only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from ratesvc.rates import EXACT, OLD_IN_NEW, REDENOMINATION, rounded
from ratesvc.render import chart_drawing
from ratesvc.render.chart_drawing import Words
from ratesvc.render.chart_lines import Curve
from ratesvc.render.chart_scale import Point, decimals
from ratesvc.render.language import Language

CONTENT_TYPE = "image/svg+xml"
MOST_CURRENCIES = 6
THEMES = ("light", "dark", "auto")
WIDTHS = range(320, 1601)
HEIGHTS = range(200, 1001)
WIDTH, HEIGHT = 720, 400

_OLD = Decimal(OLD_IN_NEW)
_HUNDRED = Decimal(100)


@dataclass(frozen=True, slots=True)
class Look:
    """How a chart is shown: size in pixels within WIDTHS and HEIGHTS, `theme` one of THEMES.

    Where the words around it leave too little room for the lines, the chart becomes higher.
    """

    language: Language
    theme: str = "auto"
    width: int = WIDTH
    height: int = HEIGHT
    demo: bool = False


def chart(series: Mapping[str, Sequence[Point]], look: Look, *, quote: str = "RUB", indexed: bool = False) -> str:
    """The SVG document: unit rates in `quote` by effective date, or with `indexed` their move from 100 at the first.

    `series` holds, for each currency code, (effective date, unit rate) in order of days, rates before 1998-01-01
    in old roubles as published. Raises ValueError for more than MOST_CURRENCIES and for a look out of bounds.
    """
    if len(series) > MOST_CURRENCIES or look.width not in WIDTHS or look.height not in HEIGHTS:
        raise ValueError("a chart takes at most 6 currencies and has bounds for its size")
    if look.theme not in THEMES:
        raise ValueError("a chart's theme is light, dark or auto")
    rates = {code: _in_new_roubles(code, points, quote) for code, points in series.items() if points}
    shown = _Shown(look.language, quote, indexed)
    curves = [shown.curve(code, points) for code, points in rates.items()]
    words = Words(shown.title(rates), shown.subtitle(rates), _notes(series, look, quote), shown.alternative(rates))
    return chart_drawing.svg(curves, words, look.language, look.theme, (look.width, look.height))


def _in_new_roubles(code: str, points: Sequence[Point], quote: str) -> list[Point]:
    if quote == "RUB":
        return [(day, _new(rate) if day < REDENOMINATION else rate) for day, rate in points]
    if code == "RUB":
        return [(day, EXACT.multiply(rate, _OLD) if day < REDENOMINATION else rate) for day, rate in points]
    return list(points)


def _new(rate: Decimal) -> Decimal:
    return EXACT.divide(rate, _OLD)


def _notes(series: Mapping[str, Sequence[Point]], look: Look, quote: str) -> list[str]:
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

    def curve(self, code: str, points: Sequence[Point]) -> Curve:
        """The line with the label at its end."""
        first, last = points[0][1], points[-1][1]
        if not self.indexed:
            # Four significant digits, two decimals at least: 101.68, 0.003008.
            places = max(2, 3 - last.adjusted())
            return Curve(code, self.language.number(rounded(last, places=places), places), points)
        moved = [(day, _index(rate, first, places=6)) for day, rate in points]
        return Curve(code, self.language.number(_index(last, first, places=1), 1), moved)

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
        words = {name: self._figure(rate, points[0][1]) for name, (_, rate) in told.items()}
        days = {f"{name}_day": self.language.day(day) for name, (day, _) in told.items()}
        return self.language.say(
            "{name} ({code}): first {first} on {first_day}, last {last} on {last_day}; "
            "lowest {lowest} on {lowest_day}, highest {highest} on {highest_day}.",
            **{"name": self.language.currency(code), "code": code, **words, **days},
        )

    def _figure(self, rate: Decimal, first: Decimal) -> str:
        if self.indexed:
            return self.language.number(_index(rate, first, places=1), 1)
        return self.language.number(rate, max(4, decimals(rate)))


def _rate(point: Point) -> Decimal:
    return point[1]


def _index(rate: Decimal, first: Decimal, places: int) -> Decimal:
    return rounded(EXACT.multiply(rate, _HUNDRED), first, places=places)
