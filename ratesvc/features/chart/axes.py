"""The geometry of a chart: round ticks, thinned series, labels that do not touch, and the lines themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from itertools import count, groupby, pairwise
from operator import itemgetter

from ratesvc.domain.rates import rounded
from ratesvc.domain.workdays import ONE_DAY
from ratesvc.features.site.text import PIXEL

Point = tuple[date, Decimal]
Position = tuple[int, int]
"""A point on the picture, in tenths of a pixel."""

LABEL_GAP = 17
"""The least distance in pixels between the labels of two lines."""
MOST_COLUMNS = 400
"""A line has its highest and its lowest point in each of so many parts of the time, so that no chart is over 60 kB."""
LONGEST_SILENCE = timedelta(days=12)
"""The Bank has never set a sheet for longer: a rate that pauses longer was missing from sheets in between."""
BELOW = 16
"""How many pixels the text of a lowest point stands below it."""

_RATE = itemgetter(1)

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
        distance = (number - self.low) * (self.end - self.start)
        return self.start + int(rounded(distance, self.high - self.low, places=0))

    def at_day(self, day: date) -> int:
        """The place of a day on an axis whose ends are ordinals."""
        return self.at(Decimal(day.toordinal()))


@dataclass(frozen=True, slots=True)
class Curve:
    """One line: its code, the figure at its end, its points, and those with a figure of their own.

    Of the latter it says whether they are the lowest.
    """

    code: str
    figure: str
    points: Sequence[Point]
    peaks: Sequence[tuple[Point, str, bool]] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """A curve as it is drawn: its paths, with `marker` around its `end`, and the place of its label.

    `peaks` are the places of its peaks, each with its figure, whether this stands below the point, and which part of it
    stands there: start, middle or end.
    """

    curve: Curve
    path: str
    end: Position
    marker: str
    label: Position
    leader: str
    peaks: Sequence[tuple[Position, str, bool, str]]


def value_ticks(low: Decimal, high: Decimal, most: int) -> list[Decimal]:
    """Multiples of 1, 2 or 5 times a power of ten that reach from at most `low` to at least `high`, both positive.

    They have the finest step that needs at most `most` intervals; `most` is three or more.
    """
    if low == high:
        low, high = low - low.scaleb(-1), high + high.scaleb(-1)
    steps = (Decimal(digit).scaleb(power) for power in count((high - low).adjusted() - 2) for digit in (1, 2, 5))
    step = next(step for step in steps if (low // step + most) * step >= high)
    ticks = [low // step * step]
    while ticks[-1] < high:
        ticks.append(ticks[-1] + step)
    return ticks


def runs(points: Sequence[Point]) -> Iterator[Sequence[Point]]:
    """The points in parts between which the rate was missing.

    Each rate stands again on the last of the days without a sheet that follow, because it is in force on them.
    """
    run = [points[0]]
    for before, after in pairwise(points):
        if after[0] - before[0] > LONGEST_SILENCE:
            yield run
            run = []
        elif after[0] - before[0] > ONE_DAY:
            run.append((after[0] - ONE_DAY, before[1]))
        run.append(after)
    yield run


def thinned(points: Sequence[Point], step: int) -> list[Point]:
    """The lowest and the highest point of each `step` days, and both ends."""
    kept = {points[0], points[-1]}
    for _, group in groupby(points, lambda point: point[0].toordinal() // step):
        members = list(group)
        kept |= {min(members, key=_RATE), max(members, key=_RATE)}
    return sorted(kept)


def spread(ideal: Sequence[int], gap: int, low: int, high: int) -> list[int]:
    """Positions at least `gap` apart within [low, high], in the order of `ideal` and near it.

    What would touch is a group around its middle. If they cannot all fit, the first ones lie below `low`.
    """

    def placed(group: Sequence[int]) -> list[int]:
        extent = gap * (len(group) - 1)
        middle = sum(ideal[index] for index in group) // len(group) - extent // 2
        first = min(max(middle, low), high - extent)
        return [first + gap * step for step in range(len(group))]

    groups: list[list[int]] = []
    for index in sorted(range(len(ideal)), key=ideal.__getitem__):
        group = [index]
        while groups and placed(group)[0] - placed(groups[-1])[-1] < gap:
            group = groups.pop() + group
        groups.append(group)
    places = {index: place for group in groups for index, place in zip(group, placed(group), strict=True)}
    return [places[index] for index in range(len(ideal))]


def lines(curves: Sequence[Curve], level: Axis, time: Axis) -> list[Line]:
    """The curves between these axes. They differ by dash, marker and label, and only then by colour."""
    step, fifth = max(1, int(time.high - time.low) // MOST_COLUMNS), (time.end - time.start) // 5

    def placed(points: Sequence[Point]) -> list[Position]:
        return [(time.at_day(day), level.at(rate)) for day, rate in points]

    def peak(point: Point, figure: str, is_low: bool) -> tuple[Position, str, bool, str]:
        """The lowest figure stands above its point, too, if the axis leaves it no space below."""
        x, y = placed([point])[0]
        part = "start" if x < time.start + fifth else "end" if x > time.end - fifth else "middle"
        return (x, y), figure, is_low and y + BELOW * PIXEL < level.start, part

    paths = [[placed(thinned(run, step)) for run in runs(curve.points)] for curve in curves]
    heights = spread([path[-1][-1][1] for path in paths], LABEL_GAP * PIXEL, level.end, level.start)
    drawn = []
    for curve, path, height, marker in zip(curves, paths, heights, _MARKERS, strict=False):
        end, label = path[-1][-1], (time.end + 14 * PIXEL, height)
        peaks = [peak(*one) for one in curve.peaks]
        drawn.append(Line(curve, "".join(map(_joined, path)), end, marker, label, _leader(end, time.end, label), peaks))
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
