"""How much space texts and tables need in the widest common font, because readers' fonts are unknown."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ratesvc.render.rows import Head, Row

PIXEL = 10
"""Coordinates are whole tenths of a pixel."""

# Widths in hundredths of the font size, a little more than the widest common sans-serif needs.
_WIDE, _CAPITAL, _OTHER, _THIN = 102, 78, 65, 42
_THIN_SIGNS = frozenset(" \u00a0\u202f.,:;·'()-ijlftr")

# Han, kana and Hangul break anywhere except after an opening and before a closing sign.
_OPENS, _CLOSES = "（《「『【", "）》」』】、。，．：；？！"
_WIDE_SIGNS = "\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe4f\uff00-\uff60\U00020000-\U0003fffd"
_PIECE = re.compile(f" ?[{_OPENS}]*(?:[{_WIDE_SIGNS}]|[^ {_WIDE_SIGNS}]+)[{_CLOSES}]*")

# Tables: widths are hundredths of an em until the last step.
WIDE, TINY = range(12, 52, 3), range(8, 26, 2)
"""Widths in em at which the style sheet can change from one layout to the next."""
_EM, _SMALL, _BOLD = 100, 80, 110
"""Sizes of text."""
_GAP, _LINE, _ARROW, _WIDEST_WORD = 70, 400, 100, 600
_FONT = 15
"""Pixels of an em on a ground of our own."""
_PADDING = 24
_LINE_HEIGHT, _CELL = 32, 720
_FIELDS_IN_A_LINE = 230
"""Pixels; below this width each field of <cbr-converter> has a line of its own."""


def text_width(text: str, size: int) -> int:
    """The greatest width of a text in tenths of a pixel, at that font size in pixels."""
    return sum(_advance(sign) for sign in text) * size * PIXEL // 100


def _advance(sign: str) -> int:
    if unicodedata.combining(sign) or unicodedata.category(sign) == "Cf":
        return 0
    if sign in _THIN_SIGNS:
        return _THIN
    if unicodedata.east_asian_width(sign) in "WF":
        return _WIDE
    return _CAPITAL if sign.isupper() else _OTHER


def pieces(text: str) -> list[str]:
    """The parts between which a line may break."""
    return [piece.lstrip() for piece in _PIECE.findall(text)]


def wrapped(text: str, size: int, width: int) -> list[str]:
    """The text in lines no wider than `width` tenths of a pixel, unless a single word is wider."""
    lines: list[str] = []
    for piece in _PIECE.findall(text):
        longer = lines[-1] + piece if lines else piece.lstrip()
        if lines and text_width(longer, size) > width:
            lines.append(piece.lstrip())
        else:
            lines[-1:] = [longer]
    return lines


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


def fit(columns: Sequence[Head], rows: Sequence[Row], *, is_growing: bool) -> Fit:
    """Measure the texts of a table. If it `is_growing`, leave space for tomorrow's column, too."""
    words = [piece for row in rows for piece in pieces(row.name)]
    name = max([_EM, *(_wide(row.unit, _BOLD) for row in rows), *(min(_wide(w, _SMALL), _WIDEST_WORD) for w in words)])
    heads = {head.kind: max(_wide(head.text, _SMALL), _wide(head.label, _SMALL)) + _GAP for head in columns[1:]}
    cells = {head.kind: _widest(head.kind, [row.cells[at] for row in rows]) for at, head in enumerate(columns[1:])}
    if is_growing:
        heads["today"], cells["today"] = heads["value"], cells["value"]
    in_line = sum(max(heads[kind], cells[kind]) for kind in cells)
    # Where changes stand below their rates, the heads of changes are hidden.
    cells |= {kind: max(heads[kind], cells[kind]) for kind in ("today", "value") if kind in cells}
    beside = max(cells.get(kind, 0) for kind in ("today", "trend"))
    below = max(cells.get(kind, 0) for kind in ("value", "change", "percent"))
    lines = 1 + ("change" in cells or "trend" in cells) + ("percent" in cells)
    return Fit(tuple((row.unit, row.name) for row in rows), name, in_line, beside, below, lines)


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
