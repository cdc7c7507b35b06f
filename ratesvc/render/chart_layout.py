"""Where things lie on a chart: round ticks, whole tenths of a pixel, thinned series, labels that do not touch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from html import escape
from itertools import count, groupby, pairwise
from typing import Literal

from ratesvc.domain.rates import EXACT, rounded, trimmed
from ratesvc.render.png import PIXEL

Point = tuple[date, Decimal]
Unit = Literal["day", "month", "year"]

_ROUND_STEPS = (1, 2, 5)
_DAY_STEPS: tuple[tuple[Unit, int], ...] = (
    *(("day", days) for days in (1, 2, 7, 14)),
    *(("month", months) for months in (1, 2, 3, 6)),
    *(("year", years) for years in (1, 2, 5, 10, 20, 50)),
)
_MOST_DAY_TICKS = 60
_DAYS_OF: dict[Unit, int] = {"day": 1, "month": 30, "year": 365}


@dataclass(frozen=True, slots=True)
class Axis:
    """A straight map of numbers onto tenths of a pixel: `low` lies at `start`, `high` at `end`."""

    low: Decimal
    high: Decimal
    start: int
    end: int

    def at(self, number: Decimal) -> int:
        """Where it lies; an axis without extent has everything in its middle."""
        if self.low == self.high:
            return (self.start + self.end) // 2
        way = EXACT.multiply(EXACT.subtract(number, self.low), Decimal(self.end - self.start))
        return self.start + int(rounded(way, EXACT.subtract(self.high, self.low), places=0))

    def at_day(self, day: date) -> int:
        """The same for an axis whose ends are ordinals."""
        return self.at(Decimal(day.toordinal()))


def value_ticks(low: Decimal, high: Decimal, most: int) -> list[Decimal]:
    """Multiples of 1, 2 or 5 times a power of ten that reach from at most `low` to at least `high`, both positive.

    The finest step that needs no more than `most` intervals, which are two at least.
    """
    if low == high:
        margin = low.scaleb(-1)
        low, high = EXACT.subtract(low, margin), EXACT.add(high, margin)
    for exponent in count(EXACT.subtract(high, low).adjusted() - 2):
        for digit in _ROUND_STEPS:
            step = Decimal(digit).scaleb(exponent)
            first, last = _floor(low, step), -_floor(-high, step)
            if last - first <= max(most, 2):
                return [trimmed(EXACT.multiply(step, Decimal(number))) for number in range(first, last + 1)]
    raise AssertionError  # pragma: no cover -- a step of some size always fits


def _floor(number: Decimal, step: Decimal) -> int:
    whole, rest = EXACT.divmod(number, step)
    return int(whole) - (rest < 0)


def places_of(numbers: Sequence[Decimal]) -> int:
    """How many decimals show all of them exactly."""
    return max((decimals(number) for number in numbers), default=0)


def decimals(number: Decimal) -> int:
    """How many decimals show it exactly."""
    exponent = trimmed(number).as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def day_ticks(first: date, last: date) -> Iterator[tuple[Unit, list[date]]]:
    """Ways to mark the days from `first` to `last`, the closest marks first; a way without any mark is left out."""
    span = (last - first).days
    for unit, step in _DAY_STEPS:
        if span // (step * _DAYS_OF[unit]) <= _MOST_DAY_TICKS:
            marks = _marks(first, last, unit, step)
            if marks:
                yield unit, marks


def _marks(first: date, last: date, unit: Unit, step: int) -> list[date]:
    if unit == "day":
        # Weeks begin on Mondays; ordinal 1 is one.
        start = first.toordinal() if step < 7 else first.toordinal() + (1 - first.toordinal()) % step
        return [date.fromordinal(day) for day in range(start, last.toordinal() + 1, step)]
    step *= 12 if unit == "year" else 1
    months = range(first.year * 12 // step * step, last.year * 12 + 12, step)
    firsts = (date(month // 12, month % 12 + 1, 1) for month in months if month >= 12)
    return [day for day in firsts if first <= day <= last]


def thinned(points: Sequence[Point], columns: int) -> list[Point]:
    """At most two points for each of `columns` columns of equal width, its lowest and highest, and both ends."""
    if len(points) <= 2 * columns:
        return list(points)
    begin = points[0][0].toordinal()
    span = points[-1][0].toordinal() - begin + 1

    def column(point: Point) -> int:
        return (point[0].toordinal() - begin) * columns // span

    kept = {points[0], points[-1]}
    for _, group in groupby(points, column):
        members = list(group)
        kept.add(min(members, key=_level))
        kept.add(max(members, key=_level))
    return sorted(kept)


def _level(point: Point) -> Decimal:
    return point[1]


def spread(wanted: Sequence[int], gap: int, low: int, high: int) -> list[int]:
    """Positions at least `gap` apart within [low, high], in the order of `wanted` and as near to it as a mean is.

    Where they cannot all fit, the gaps are kept and the last ones lie beyond `high`.
    """
    order = sorted(range(len(wanted)), key=wanted.__getitem__)
    blocks: list[list[int]] = []
    for rank, index in enumerate(order):
        blocks.append([wanted[index] - rank * gap])
        while len(blocks) > 1 and _mean(blocks[-2]) >= _mean(blocks[-1]):
            last = blocks.pop()
            blocks[-1] += last
    level = [_mean(block) for block in blocks for _ in block]
    top = max(low, high - gap * (len(order) - 1))
    places = [0] * len(order)
    for rank, index in enumerate(order):
        places[index] = min(max(level[rank], low), top) + rank * gap
    return places


def _mean(block: Sequence[int]) -> int:
    return sum(block) // len(block)


def px(tenths: int) -> str:
    """Tenths as the shortest number of pixels: 120 → 12, 5 → .5, -15 → -1.5."""
    whole, rest = divmod(abs(tenths), PIXEL)
    text = (str(whole) if whole or not rest else "") + (f".{rest}" if rest else "")
    return f"-{text}" if tenths < 0 else text


Path = Sequence[tuple[int, int]]

LABEL_GAP = 17 * PIXEL
MOST_POINTS = 5000
"""Of all lines together; so many keep the longest chart under 60 kB."""

_CLOSE = 12 * PIXEL
_MARKED_EVERY = 110 * PIXEL

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
class Curve:
    """One line as drawn: its code, the figure that is written at its end, and its points."""

    code: str
    figure: str
    points: Sequence[Point]


class Lines:
    """The curves on their axes."""

    def __init__(self, curves: Sequence[Curve], level: Axis, time: Axis) -> None:
        self._level, self._time = level, time
        width = (time.end - time.start) // PIXEL
        columns = max(1, min(width, MOST_POINTS // (2 * len(curves))))
        self._paths = [[self._place(point) for point in thinned(curve.points, columns)] for curve in curves]
        self._sparse = [self._is_sparse(curve) for curve in curves]

    def _place(self, point: Point) -> tuple[int, int]:
        return self._time.at_day(point[0]), self._level.at(point[1])

    def _is_sparse(self, curve: Curve) -> bool:
        return (self._time.end - self._time.start) // len(curve.points) >= _CLOSE

    def drawn(self, labels: Sequence[tuple[str, ...]]) -> list[str]:
        """Lines first, so that every marker and label lies above every line."""
        ends = [path[-1] for path in self._paths]
        rows = spread([y for _, y in ends], LABEL_GAP, self._level.end, self._level.start)
        placed = list(enumerate(zip(self._paths, rows, strict=True)))
        lines = [self._line(index, path, row) for index, (path, row) in placed]
        return lines + [self._end(index, path, row, labels[index]) for index, (path, row) in placed]

    @property
    def _labels_at(self) -> int:
        return self._time.end + 14 * PIXEL

    def _line(self, index: int, path: Path, row: int) -> str:
        leader = _leader(path[-1], self._time.end, self._labels_at, row)
        return f'<g class="line c{index}"><path d="{_joined(path)}"/>{leader}</g>'

    def _end(self, index: int, path: Path, row: int, label: tuple[str, ...]) -> str:
        markers = "".join(f"M{px(x)} {px(y)}{_MARKERS[index]}" for x, y in self._marked(index, path))
        code, *figure = label
        text = f"<tspan>{escape(code)}</tspan>{''.join(' ' + escape(part) for part in figure)}"
        place = f'x="{px(self._labels_at)}" y="{px(row + 45)}"'
        return f'<g class="end c{index}"><path d="{markers}"/><text {place}>{text}</text></g>'

    def _marked(self, index: int, path: Path) -> Path:
        if self._sparse[index]:
            return path
        chosen = [path[-1]]
        if len(self._paths) > 1:
            for point in reversed(path):
                if chosen[-1][0] - point[0] >= _MARKED_EVERY:
                    chosen.append(point)
        return chosen


def _joined(path: Path) -> str:
    """Relative steps between whole tenths: short, and without an error that adds up."""
    (x, y), *_ = path
    steps = [f"{px(b[0] - a[0])} {px(b[1] - a[1])}" for a, b in pairwise(path)]
    return f"M{px(x)} {px(y)}" + (f"l{' '.join(steps)}" if steps else "")


def _leader(end: tuple[int, int], edge: int, label: int, row: int) -> str:
    """A thin line to the label, where that does not stand beside the line's end."""
    x, y = end
    if abs(row - y) <= 4 * PIXEL and x == edge:
        return ""
    return f'<path class="leader" d="M{px(x)} {px(y)}H{px(max(x, edge))}L{px(label - 3 * PIXEL)} {px(row)}"/>'
