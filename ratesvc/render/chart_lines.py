"""The lines of a chart: each differs from the others by dash, marker and label, and only then by colour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from ratesvc.render.chart_scale import PIXEL, Axis, Point, px, spread, thinned

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
