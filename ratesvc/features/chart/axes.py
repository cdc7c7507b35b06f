"""The geometry of a chart: round ticks, thinned series, labels that do not touch, and the lines themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from itertools import count, groupby, pairwise
from operator import itemgetter

from ratesvc.domain.rates import EXACT, rounded, trimmed
from ratesvc.domain.workdays import ONE_DAY
from ratesvc.features.site.text import PIXEL, text_width

Point = tuple[date, Decimal]
Position = tuple[int, int]
"""A point on the picture, in tenths of a pixel."""

LABEL_GAP = 17
"""The least distance in pixels between the labels of two lines."""
MOST_DRAWN = 5000
"""The points of all lines together: so many keep the longest chart under 60 kB."""

_DAY_STEPS, _MONTH_STEPS = (1, 2, 7, 14), (1, 2, 3, 6, 12, 24, 60, 120, 240, 600)
_MOST_DAY_TICKS = 60

LONGEST_SILENCE = timedelta(days=12)
"""The Bank has never set a sheet for longer: a rate that pauses longer was missing from sheets in between."""
SMALL = 12
"""The font size of the highest and the lowest figure in pixels."""
ABOVE, BELOW = 7, 16
"""How many pixels the line of such a text is above the highest and below the lowest point."""

# Relative paths around a centre: disc, square, triangle, diamond, triangle upside down, cross.
_MARKERS = (
    "m-3.8 0a3.8 3.8 0 1 0 7.6 0a3.8 3.8 0 1 0-7.6 0z",
    "m-3.5-3.5h7v7h-7z",
    "m0-4.6 4.6 8h-9.2z",
    "m0-5 4.6 5-4.6 5-4.6-5z",
    "m0 4.6 4.6-8h-9.2z",
    "m-1.6-4.6h3.2v3h3v3.2h-3v3h-3.2v-3h-3v-3.2h3z",
)


@dataclass(frozen=True, slots=True)
class Axis:
    """A linear scale from numbers to tenths of a pixel: `low` lies at `start`, `high` at `end`."""

    low: Decimal
    high: Decimal
    start: int
    end: int

    def at(self, number: Decimal) -> int:
        """The place of a number; an axis without extent has everything in its middle."""
        if self.low == self.high:
            return (self.start + self.end) // 2
        distance = EXACT.multiply(EXACT.subtract(number, self.low), Decimal(self.end - self.start))
        return self.start + int(rounded(distance, EXACT.subtract(self.high, self.low), places=0))

    def at_day(self, day: date) -> int:
        """The place of a day on an axis whose ends are ordinals."""
        return self.at(Decimal(day.toordinal()))


def value_ticks(low: Decimal, high: Decimal, most: int) -> list[Decimal]:
    """Multiples of 1, 2 or 5 times a power of ten that reach from at most `low` to at least `high`, both positive.

    They have the finest step that needs at most `most` intervals; `most` is three or more.
    """
    if low == high:
        margin = low.scaleb(-1)
        low, high = EXACT.subtract(low, margin), EXACT.add(high, margin)
    for exponent in count(EXACT.subtract(high, low).adjusted() - 2):
        for digit in (1, 2, 5):
            step = Decimal(digit).scaleb(exponent)
            first, last = _floor(low, step), -_floor(-high, step)
            if last - first <= most:
                return [trimmed(EXACT.multiply(step, Decimal(number))) for number in range(first, last + 1)]
    raise AssertionError  # pragma: no cover -- a step of some size always fits


def level_ticks(curves: Sequence[Curve], most: int, height: int) -> list[Decimal]:
    """The marks of a level for these curves on so many pixels. A lowest figure has its space below it."""
    levels = [level for curve in curves for _, level in curve.points]
    low, high = min(levels), max(levels)
    if any(is_low for curve in curves for *_, is_low in curve.marked):
        space = rounded(EXACT.multiply(EXACT.subtract(high, low), Decimal(BELOW + ABOVE)), Decimal(height))
        low = max(EXACT.subtract(low, space), Decimal(0))
    return value_ticks(low, high, most)


def time_axis(curves: Sequence[Curve], start: int, end: int) -> Axis:
    """From the first day of these curves to their last one."""
    days = [curve.points[at][0].toordinal() for curve in curves for at in (0, -1)]
    return Axis(Decimal(min(days)), Decimal(max(days)), start, end)


def _floor(number: Decimal, step: Decimal) -> int:
    whole, rest = EXACT.divmod(number, step)
    return int(whole) - 1 if rest < 0 else int(whole)


def decimals(number: Decimal) -> int:
    """How many decimals show the number exactly."""
    exponent = trimmed(number).as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def day_ticks(first: date, last: date) -> Iterator[tuple[bool, list[date]]]:
    """Ways to mark the days from `first` to `last`, the closest marks first: whether these are days, and the marks.

    If not they are firsts of months, and in steps of years of January. A way without a mark is left out.
    """
    start, end = first.toordinal(), last.toordinal()
    for step in _DAY_STEPS:
        # Weeks begin on Mondays; ordinal 1 is one.
        begin = start if step < 7 else start + (1 - start) % step
        if begin <= end <= start + _MOST_DAY_TICKS * step:
            yield True, [date.fromordinal(day) for day in range(begin, end + 1, step)]
    for step in _MONTH_STEPS:
        months = range(first.year * 12 // step * step, last.year * 12 + 12, step)
        firsts = (date(month // 12, month % 12 + 1, 1) for month in months if month >= 12)
        marks = [day for day in firsts if first <= day <= last]
        if 0 < len(marks) <= _MOST_DAY_TICKS:
            yield False, marks


def runs(points: Sequence[Point]) -> Iterator[Sequence[Point]]:
    """The points in parts between which the rate was missing."""
    ends = [at for at, (before, after) in enumerate(pairwise(points), 1) if after[0] - before[0] > LONGEST_SILENCE]
    return (points[start:end] for start, end in pairwise((0, *ends, len(points))))


def held(points: Sequence[Point]) -> Iterator[Point]:
    """The points, and each rate again on the last of the days without a sheet that follow: it is in force on them."""
    for before, after in pairwise(points):
        yield before
        if after[0] - before[0] > ONE_DAY:
            yield after[0] - ONE_DAY, before[1]
    yield points[-1]


def thinned(points: Sequence[Point], columns: int) -> list[Point]:
    """The lowest and the highest point of each of `columns` columns of equal width, and both ends."""
    if len(points) <= 2 * columns:
        return list(points)
    begin = points[0][0].toordinal()
    days = points[-1][0].toordinal() - begin + 1
    kept = {points[0], points[-1]}
    for _, group in groupby(points, lambda point: (point[0].toordinal() - begin) * columns // days):
        members = list(group)
        kept |= {min(members, key=itemgetter(1)), max(members, key=itemgetter(1))}
    return sorted(kept)


def spread(ideal: Sequence[int], gap: int, low: int, high: int) -> list[int]:
    """Positions at least `gap` apart within [low, high], in the order of `ideal` and near it.

    If they cannot all fit, the gaps are kept and the first ones lie below `low`.
    """
    order, places = sorted(range(len(ideal)), key=ideal.__getitem__), list(ideal)
    for index in order:
        places[index] = low = max(ideal[index], low)
        low += gap
    for index in reversed(order):
        places[index] = high = min(places[index], high)
        high -= gap
    return places


@dataclass(frozen=True, slots=True)
class Curve:
    """One line as drawn: its code, the figure at its end, its points, and those with a figure of their own.

    Of the latter it says whether they are the lowest.
    """

    code: str
    figure: str
    points: Sequence[Point]
    marked: Sequence[tuple[Point, str, bool]] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """One line as it is drawn: its paths, with `marker` around its `end`, and the label with its place.

    `marks` are the places of further figures, of their texts, and these texts.
    """

    path: str
    leader: str
    end: Position
    marker: str
    label: Position
    code: str
    figure: str = ""
    marks: Sequence[tuple[Position, Position, str]] = ()


def lines(
    curves: Sequence[Curve], level: Axis, time: Axis, labels: Sequence[tuple[str, ...]], pixel: int = PIXEL
) -> list[Line]:
    """The curves between these axes. They differ by dash, marker and label, and only then by colour.

    A `pixel` is so much of the height. A browser may stretch it.
    """
    columns = max(1, min((time.end - time.start) // PIXEL, MOST_DRAWN // (2 * len(curves))))

    def placed(points: Sequence[Point]) -> list[Position]:
        return [(time.at_day(day), level.at(rate)) for day, rate in points]

    def parts(points: Sequence[Point]) -> list[Sequence[Position]]:
        days = (points[-1][0] - points[0][0]).days + 1
        shares = [(run, max(1, columns * ((run[-1][0] - run[0][0]).days + 1) // days)) for run in runs(points)]
        return [placed(thinned(list(held(run)), share)) for run, share in shares]

    def mark(point: Point, text: str, is_low: bool) -> tuple[Position, Position, str]:
        """Above the point, or below the lowest if the axis leaves it space, and between the ends of the axis."""
        x, y = placed([point])[0]
        half = text_width(text, SMALL) // 2
        height = y + BELOW * pixel if is_low and y + BELOW * pixel < level.start else y - ABOVE * pixel
        return (x, y), (max(time.start + half, min(x, time.end - half)), height), text

    paths = [parts(curve.points) for curve in curves]
    heights = spread([path[-1][-1][1] for path in paths], LABEL_GAP * pixel, level.end, level.start)
    drawn = []
    for curve, path, height, label, marker in zip(curves, paths, heights, labels, _MARKERS, strict=False):
        end, place = path[-1][-1], (time.end + 14 * PIXEL, height)
        leader, (code, figure) = _leader(end, time.end, place), (*label, "")[:2]
        marks = [mark(*one) for one in curve.marked]
        drawn.append(Line("".join(map(_joined, path)), leader, end, marker, place, code, figure, marks))
    return drawn


def _joined(path: Sequence[Position]) -> str:
    """Relative steps between whole tenths: short, and without an error that adds up."""
    (x, y), *_ = path
    steps = [f"{px(b[0] - a[0])} {px(b[1] - a[1])}" for a, b in pairwise(path)]
    return f"M{px(x)} {px(y)}" + (f"l{' '.join(steps)}" if steps else "h0")


def _leader(end: Position, edge: int, label: Position) -> str:
    """A thin line to the label, unless the label stands beside the line's end."""
    x, y = end
    if abs(label[1] - y) <= 4 * PIXEL and x == edge:
        return ""
    return f"M{px(x)} {px(y)}H{px(max(x, edge))}L{px(label[0] - 3 * PIXEL)} {px(label[1])}"


def px(tenths: int) -> str:
    """Tenths as the shortest number of pixels: 120 → 12, 5 → .5, -15 → -1.5."""
    whole, rest = divmod(abs(tenths), PIXEL)
    text = (str(whole) if whole or not rest else "") + (f".{rest}" if rest else "")
    return f"-{text}" if tenths < 0 else text
