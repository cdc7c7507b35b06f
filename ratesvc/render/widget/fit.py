"""How much space a table needs in the widest common font: where its layout changes, and how high its frame is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ratesvc.render.page import TINY, WIDE
from ratesvc.render.text import PIXEL, pieces, text_width, wrapped

# Widths in hundredths of an em, each beside the rule of widget.css that it mirrors.
_EM, _SMALL = 100, 80  # .cbr-head, .cbr-label, p {font-size:.8em}
_BOLD = 110  # caption, .cbr-code {font-weight:600}: bold letters are a tenth wider
_GAP = 70  # tr>*+* {padding-inline-start:.7em}
_TREND = 400  # .cbr-trend svg {width:4em}
_ARROW = 100  # .cbr-mark {font-size:.7em}, and the blank after it
_WIDEST_WORD = 600  # overflow-wrap:anywhere breaks longer words of a name
_CELL, _CELL_PADDING = 720, 100  # .cbr-bar tbody {minmax(…,7em)}, tr {padding:0 .5em; border-inline-start:1px}

# Pixels, where a ground of our own sets the font: .cbr-light, .cbr-dark, .cbr-auto {font-size:15px}.
_FONT = 15
_PADDING = 24  # .cbr-light {padding:.8em}, above and below
_LINE, _SMALL_LINE = 21, 17  # * {line-height:1.35}, of 1em and of .8em
_ROW, _ROW_LINE = 13, 20  # tr {padding:.4em 0}, tbody tr {border-top:1px}; lines of a row are rounded down
_BELOW_TITLE = 3  # caption {padding-bottom:.2em}
_HEADS, _TINY_HEADS = 54, 20  # thead tr {padding:.4em 0} and two lines of .cbr-head; a third one in .cbr-tiny
_NOTE = 8  # p {margin:.5em 0 0}
_BAR, _BAR_GAP = 32, 8  # .cbr-bar: the hidden thead and what is below the title; tbody {gap:.5em 0}
_ONE_LINE = 32  # .cbr-line * {line-height:2.13}

# Pixels of <cbr-converter>, whose rules are in converter.js: two labels, and fields of min-height:2.2em.
_FIELDS, _FIELDS_ONE_BY_ONE = 140, 236
_FIELDS_IN_A_LINE = 230
"""The least width in which input {flex:1 1 7em} and select {flex:0 0 5.4em} stand side by side."""

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
        """The height in pixels that a frame of this width needs. It is too high before it needs a scrollbar."""
        if layout in ("line", "inline"):
            return _ONE_LINE
        room = max(width - _PADDING, _FONT) * _EM // _FONT
        around = _PADDING + _LINE * _lines(title, _BOLD, room)
        source = _SMALL_LINE * _lines(f"{note} cbr.ru", _SMALL, room)
        if layout == "converter":
            return around + _BELOW_TITLE + source
        if layout == "bar":
            units = max((_lines(unit, _BOLD, _CELL - _CELL_PADDING) for unit, _ in self.names), default=1)
            cells = -(-len(self.names) // max(1, room // _CELL)) * (_BAR_GAP + _LINE * (units + self.lines))
            return around + _BAR + cells + (_NOTE + _SMALL_LINE if note else 0)
        wide, tiny = self.steps
        is_wide, is_tiny = room >= wide * _EM, room < tiny * _EM
        beside_name = self.in_line if is_wide else 0 if is_tiny else self.beside + self.below
        lines = 1 if is_wide else self.lines
        rows = sum(_row(*names, room - beside_name, lines, is_tiny=is_tiny) for names in self.names)
        heads = _BELOW_TITLE + _HEADS + (_TINY_HEADS if is_tiny else 0)
        return around + heads + rows + _NOTE + source


def converter_height(width: int) -> int:
    """The height of the fields of <cbr-converter> in a frame of this width."""
    return _FIELDS if width >= _FIELDS_IN_A_LINE else _FIELDS_ONE_BY_ONE


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
    # Words that are wider than the room are broken.
    broken = sum(_wide(word, _SMALL) // room for word in pieces(name))
    named = _ROW_LINE * _lines(unit, _BOLD, room)
    named += _SMALL_LINE * (_lines(name, _SMALL, room) + broken) if name else 0
    cells = _ROW_LINE * lines
    return _ROW + (named + cells if is_tiny else max(named, cells))


def _widest(kind: str, texts: Sequence[str]) -> int:
    """The width of a column's cells with its gap."""
    arrow = _ARROW if kind == "change" else 0
    return _GAP + (_TREND if kind == "trend" else max((_wide(text, _EM) + arrow for text in texts), default=0))


def _lines(text: str, size: int, room: int) -> int:
    return len(wrapped(text, size, room * PIXEL))


def _wide(text: str, size: int) -> int:
    return text_width(text, size) // PIXEL


def _step(width: int, steps: range) -> int:
    """The first step that is wide enough, else the last."""
    return next((step for step in steps if step * _EM >= width), steps[-1])
