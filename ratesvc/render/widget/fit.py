"""How much space a table needs in the widest common font: where its layout changes, and how high its frame is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ratesvc.render.page import TINY, WIDE
from ratesvc.render.text import PIXEL, pieces, text_width, wrapped

# Tables: widths are hundredths of an em until the last step.
_EM, _SMALL, _BOLD = 100, 80, 110
"""Sizes of text."""
_GAP, _LINE, _ARROW, _WIDEST_WORD = 70, 400, 100, 600
_FONT = 15
"""Pixels of an em on a ground of our own."""
_PADDING = 24
_LINE_HEIGHT, _CELL = 32, 720
_FIELDS_IN_A_LINE = 230
"""Pixels; below this width each field of <cbr-converter> has a line of its own."""


Column = tuple[str, tuple[str, str], Sequence[str]]
"""The kind of a column, the two texts of its head, and its cells."""


@dataclass(frozen=True, slots=True)
class Fit:
    """The widths that one table needs: of its names, its columns in a line, and the two columns of other layouts.

    The style sheet has three layouts: all columns in a line (wide), changes below their rates, and names above the
    rates (tiny).
    """

    names: tuple[tuple[str, str], ...]
    name: int
    in_line: int
    beside: int
    below: int
    lines: int
    """Lines of text in a cell, where changes stand below the rates."""

    @property
    def steps(self) -> tuple[int, int]:
        """The least widths in em for the layout in a line, and for names beside the rates."""
        return _step(self.name + self.in_line, WIDE), _step(self.name + self.beside + self.below, TINY)

    def height(self, layout: str, title: str, note: str, width: int) -> int:
        """The height in pixels that a frame of this width needs. Rather too much than an inner scrollbar."""
        if layout in ("line", "inline"):
            return _LINE_HEIGHT
        room = max(width - _PADDING, _FONT) * _EM // _FONT
        titles = 21 * len(wrapped(title, _BOLD, room * PIXEL))
        if layout == "converter":
            return _PADDING + titles + 3 + 17 * len(wrapped(f"{note} cbr.ru", _SMALL, room * PIXEL))
        if layout == "bar":
            units = max((len(wrapped(unit, _BOLD, (_CELL - _EM) * PIXEL)) for unit, _ in self.names), default=1)
            cell = 8 + 21 * (units + self.lines)
            return _PADDING + titles + 32 + -(-len(self.names) // max(1, room // _CELL)) * cell + (25 if note else 0)
        wide, tiny = self.steps
        is_wide, is_tiny = room >= wide * _EM, room < tiny * _EM
        beside_name = self.in_line if is_wide else 0 if is_tiny else self.beside + self.below
        lines = 1 if is_wide else self.lines
        rows = sum(_row(*names, room - beside_name, lines, is_tiny=is_tiny) for names in self.names)
        around = titles + 57 + (20 if is_tiny else 0)
        return _PADDING + around + rows + 8 + 17 * len(wrapped(f"{note} cbr.ru", _SMALL, room * PIXEL))


def converter_height(width: int) -> int:
    """Pixels of the fields of <cbr-converter> in a frame of this width."""
    return 140 if width >= _FIELDS_IN_A_LINE else 236


def fit(names: Sequence[tuple[str, str]], columns: Sequence[Column], *, is_growing: bool) -> Fit:
    """Measure units and names of the rows, and the other columns. If it `is_growing`, tomorrow's column will follow."""
    words = [piece for _, name in names for piece in pieces(name)]
    units = [_wide(unit, _BOLD) for unit, _ in names]
    name = max([_EM, *units, *(min(_wide(word, _SMALL), _WIDEST_WORD) for word in words)])
    heads = {kind: max(_wide(text, _SMALL) for text in head) + _GAP for kind, head, _ in columns}
    cells = {kind: _widest(kind, texts) for kind, _, texts in columns}
    if is_growing:
        heads["today"], cells["today"] = heads["value"], cells["value"]
    in_line = sum(max(heads[kind], cells[kind]) for kind in cells)
    # Where changes stand below their rates, the heads of changes are hidden.
    cells |= {kind: max(heads[kind], cells[kind]) for kind in ("today", "value") if kind in cells}
    beside = max(cells.get(kind, 0) for kind in ("today", "trend"))
    below = max(cells.get(kind, 0) for kind in ("value", "change", "percent"))
    lines = 1 + ("change" in cells or "trend" in cells) + ("percent" in cells)
    return Fit(tuple(names), name, in_line, beside, below, lines)


def _row(unit: str, name: str, room: int, lines: int, *, is_tiny: bool) -> int:
    """The height of a row: `room` is the width left for its name, `lines` the lines of text in a cell."""
    named = 20 * len(wrapped(unit, _BOLD, room * PIXEL)) + 17 * (_lines(name, room) if name else 0)
    cells = 20 * lines
    return 13 + (named + cells if is_tiny else max(named, cells))


def _lines(name: str, room: int) -> int:
    """The lines of a name; words that are wider than `room` are broken."""
    broken = sum(_wide(word, _SMALL) // room for word in pieces(name))
    return len(wrapped(name, _SMALL, room * PIXEL)) + broken


def _widest(kind: str, texts: Sequence[str]) -> int:
    """The width of a column's cells with its gap."""
    arrow = _ARROW if kind == "change" else 0
    return _GAP + (_LINE if kind == "trend" else max((_wide(text, _EM) + arrow for text in texts), default=0))


def _wide(text: str, size: int) -> int:
    return text_width(text, size) // PIXEL


def _step(width: int, steps: range) -> int:
    """The first step that is wide enough, else the last."""
    return next((step for step in steps if step * _EM >= width), steps[-1])
