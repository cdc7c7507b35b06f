"""How much space a table needs in the widest common font: where its layout changes, and how high its frame is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ratesvc.render.page import STEPS
from ratesvc.render.text import PIXEL, pieces, text_width, wrapped

# Widths in hundredths of an em, each beside the rule of widget.css that it mirrors.
_EM, _SMALL = 100, 80  # .cbr-head, .cbr-label, p {font-size:.8em}
_BOLD = 110  # caption, .cbr-code {font-weight:600}: bold letters are a tenth wider
_GAP, _GAP_SHARE = 70, 3  # tr>*+* {padding-inline-start:max(.7em,3cqi)}
_TREND = 400  # .cbr-trend svg {width:4em}
_ARROW = 115  # .cbr-mark {font-size:.85em}, and the blank after it
_TAIL = 170  # tr>:first-child {padding-inline-end:1.7em}: a change is wider than its rate
_WIDEST_WORD = 600  # overflow-wrap:anywhere breaks longer words of a name
_CELL_PADDING = 84  # .cbr-bar tbody tr {padding:0 .4em; border-inline-start:1px}
_CELL_CHANGE = 90  # .cbr-bar .cbr-value~* {font-size:.9em}
_LINE_GAP, _PIECE_GAP = 120, 40  # .cbr-line {text-indent:-1.2em}, .cbr-line tbody tr {gap:0 .4em}
_TABLE = 1800  # .cbr-rates {grid-template-columns:minmax(0,min(18em,100vw - 2rem)) 1fr}
_FONT_OF_HOST = 9375  # .cbr-rates {font-size:.9375em}, in ten-thousandths

# Pixels, where a ground of our own sets the font: .cbr-light, .cbr-dark, .cbr-auto {font-size:15px}.
_FONT = 15
_WIDEST = 600  # .cbr-rates {max-width:40em}
PADDING = 24  # .cbr-light {padding:.8em}, above and below
_LINE, _SMALL_LINE = 21, 17  # * {line-height:1.35}, of 1em and of .8em
_ROW, _ROW_LINE = 13, 20  # tr {padding:.4em 0}, tbody tr {border-top:1px}; lines of a row are rounded down
_HEADS = 54  # thead tr {padding:.4em 0} and two lines of .cbr-head
_NOTE = 8  # p {margin:.5em 0 0}
_BAR, _BAR_GAP = 6, 8  # .cbr-bare {padding-bottom:.3em}, the hidden thead {height:1px}; tbody {gap:.5em 0}
_ONE_LINE = 32  # .cbr-line {height:2.1334em}

_FIELDS = ((300, 140), (260, 172), (0, 242))
"""From this width on <cbr-converter> has that height, in pixels: its labels wrap, and below 260 its fields stand one by
one. Its rules are in converter.js."""

Column = tuple[str, tuple[str, str], Sequence[str]]
"""The kind of a column, the two texts of its head, and its cells."""


@dataclass(frozen=True, slots=True)
class Fit:
    """The widths that one table needs: of its names, its columns in a line, and the columns of other layouts.

    A table has two layouts: all columns in a line (wide), or names below the codes and changes below the rates (mini).
    There a name is as wide as the change lets it, unless a trend stands between them. Below the width that codes and
    rates need side by side letters get smaller.
    """

    names: tuple[tuple[str, str], ...]
    name: int
    code: int
    in_line: int
    gaps: int
    today: int
    beside: int
    value: int
    below: int
    lines: int
    """Lines of text in a cell, where changes stand below the rates."""
    has_trend: bool
    cell_lines: int
    """The texts in a cell of a bar."""
    rows: tuple[int, ...]
    """The rows of a line of text."""
    cell: int
    """The widest cell of a bar."""

    def classes(self, layout: str, title: str) -> str:
        """The classes that tell the style sheet what this table needs in this layout."""
        if layout == "line":
            least = _wide(title, _BOLD) + _LINE_GAP + self.rows[0] if title and self.rows else 0
            return f" cbr-line cbr-from-{_step('from', least)}"
        if layout == "bar":
            return f" cbr-bar cbr-of-{max(1, len(self.names))} cbr-cell-{_step('cell', 4 * self.cell)}"
        if layout:
            return f" cbr-{layout}"
        return " cbr-wide-{} cbr-mini-{}".format(*self._steps)

    @property
    def _steps(self) -> tuple[int, int]:
        """The widths in em that all columns in a line need, and those of the other layout."""
        in_two_lines = max(self.code + self.today + self.value, self.name + self.below)
        mini = self.name + self.beside + self.below if self.has_trend else in_two_lines
        # Each of the gaps takes 3 % of the width, if that is more than it is taken for.
        spread = (self.name + self.in_line - self.gaps * _GAP) * 100 // (100 - self.gaps * _GAP_SHARE)
        return _step("wide", max(self.name + self.in_line, spread)), _step("mini", mini)

    def width(self, layout: str, title: str, note: str) -> int:
        """The width in hundredths of an em of the host's page that it takes where nothing gives it one."""
        own = _TABLE
        if layout == "line":
            texts = [_wide(text, _BOLD) for text in (title, note) if text]
            own = sum(texts) + sum(self.rows) + _LINE_GAP * (len(texts) + len(self.rows) - 1)
        if layout == "bar":
            own = len(self.names) * _step("cell", 4 * self.cell) * _EM // 4
        return -(-own * _FONT_OF_HOST // 10_000)

    def height(self, layout: str, title: str, note: str, width: int) -> int:
        """The height in pixels that a frame of this width needs. It is too high before it needs a scrollbar."""
        if layout in ("line", "inline"):
            return _ONE_LINE
        room = _room(width if layout == "bar" else min(width, _WIDEST))
        source = _SMALL_LINE * _lines(f"{note} cbr.ru", _SMALL, room)
        if not layout:
            return PADDING + self._table(title, room) + _NOTE + source
        around = PADDING + _LINE * _lines(title, _BOLD, room)
        if layout == "converter":
            return around + source
        cells = -(-len(self.names) // self._across(room)) * (_BAR_GAP + _LINE * (1 + self.cell_lines))
        return around + _BAR + cells + (_NOTE + _SMALL_LINE if note else 0)

    def is_tight(self, width: int) -> bool:
        """Whether a table in a frame of this width has smaller letters than it might have."""
        return _room(width) < self._steps[1] * _EM

    def _across(self, room: int) -> int:
        """How many cells of a bar stand side by side: all, or about half of them, or as many as there is room for."""
        count, cell = max(1, len(self.names)), _step("cell", 4 * self.cell) * _EM // 4
        return count if room >= count * cell else max(1, room // max(cell, 20 * room // (10 * count + 12)))

    def _table(self, title: str, room: int) -> int:
        """The height of heading, heads and rows. Letters that get smaller keep the lines of the least width."""
        width = max(room, self._steps[1] * _EM)
        high = _LINE * _lines(title, _BOLD, width) + self._rows(width)
        # The lines between rows stay a pixel high.
        return -(-high * room // width) + (len(self.names) if room < width else 0)

    def _rows(self, room: int) -> int:
        """The height of a table's heads and rows."""
        if room >= self._steps[0] * _EM:
            wider = max(0, room * _GAP_SHARE // 100 - _GAP)
            space, lines = room - self.in_line - self.gaps * wider, 1
        else:
            beside = self.beside + self.below if self.has_trend else self.value + _TAIL
            space, lines = room - beside, self.lines
        return _HEADS + sum(_ROW + max(_named(*names, space), _ROW_LINE * lines) for names in self.names)


def converter_height(width: int) -> int:
    """The height of the fields of <cbr-converter> in a frame of this width."""
    return next(height for least, height in _FIELDS if width >= least)


def fit(names: Sequence[tuple[str, str]], columns: Sequence[Column], *, is_growing: bool) -> Fit:
    """Measure units and names of the rows, and the other columns. If it `is_growing`, tomorrow's column will follow."""
    words = [piece for _, name in names for piece in pieces(name)]
    units = [_wide(unit, _BOLD) for unit, _ in names]
    code = max([_EM, *units])
    heads = {kind: max(_wide(text, _SMALL) for text in head) + _GAP for kind, head, _ in columns}
    widths = {kind: [_width(kind, text) for text in texts] for kind, _, texts in columns}
    cells = {kind: max([0, *texts]) + _GAP for kind, texts in widths.items()}
    if is_growing:
        heads["today"], cells["today"] = heads["value"], cells["value"]
    in_line = sum(max(heads[kind], cells[kind]) for kind in cells)
    # Where changes stand below their rates, the heads of changes are hidden.
    cells |= {kind: max(heads[kind], cells[kind]) for kind in ("today", "value") if kind in cells}
    changes = {"change", "percent"} & cells.keys()
    in_bar = [width * (_CELL_CHANGE if kind in changes else _EM) // _EM for kind in widths for width in widths[kind]]
    return Fit(
        names=tuple(names),
        name=max([code, *(min(_wide(word, _SMALL), _WIDEST_WORD) for word in words)]),
        code=code,
        in_line=in_line,
        gaps=len(cells),
        today=cells.get("today", 0),
        beside=max(cells.get(kind, 0) for kind in ("today", "trend")),
        value=cells.get("value", 0),
        below=max(cells.get(kind, 0) for kind in ("value", "change", "percent")),
        lines=1 + ("change" in cells or "trend" in cells) + ("percent" in cells),
        has_trend="trend" in cells,
        cell_lines=1 + len({"change", "percent", "trend"} & cells.keys()),
        rows=tuple(unit + sum(_PIECE_GAP + texts[at] for texts in widths.values()) for at, unit in enumerate(units)),
        cell=_CELL_PADDING + max([code, *in_bar]),
    )


def _room(width: int) -> int:
    """The width inside a frame, in hundredths of an em."""
    return max(width - PADDING, _FONT) * _EM // _FONT


def _named(unit: str, name: str, room: int) -> int:
    """The height of a code above its name; `room` is the width left for them."""
    # Words that are wider than the room are broken.
    broken = sum(_wide(word, _SMALL) // max(room, _EM) for word in pieces(name))
    named = _ROW_LINE * _lines(unit, _BOLD, room)
    return named + (_SMALL_LINE * (_lines(name, _SMALL, room) + broken) if name else 0)


def _width(kind: str, text: str) -> int:
    """The width of a cell without its gap."""
    return _TREND if kind == "trend" else _wide(text, _EM) + (_ARROW if kind == "change" else 0)


def _lines(text: str, size: int, room: int) -> int:
    return len(wrapped(text, size, room * PIXEL))


def _wide(text: str, size: int) -> int:
    return text_width(text, size) // PIXEL


def _step(name: str, width: int) -> int:
    """The first step that is wide enough, else the last."""
    return next((step for step in STEPS[name] if step * _EM >= width), STEPS[name][-1])
