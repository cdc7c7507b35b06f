"""How high a frame must be where no browser can say: for oEmbed, and for the builder's first answer.

Lines of text are counted in the widest common font, so a frame is rather too high than too low. The builder's script
measures its preview, and writes that height into the code.
"""

from __future__ import annotations

from msgspec.structs import replace

from ratesvc.features.site.text import PIXEL, text_width, wrapped
from ratesvc.features.widget.table import EVEN_BAR, Table
from ratesvc.features.widget.view import View

# Pixels of widget.css in a frame, whose font has 15: padding, lines of 1em and of .8em, a row's padding and its rule.
PADDING, _FONT = 24, 15
_LINE, _SMALL_LINE, _ROW = 21, 17, 13
_HEADS, _NOTE, _CELL_GAP, _ONE_LINE = 44, 8, 8, 32
_COLUMN = 90
"""The usual width of a column."""
_WIDEST = 600 - PADDING
_NO_TREND, _LIST, _NARROW, _OWN_LINES = 330, 273, 240, 157
"""Below these widths per cent take the trend line's place, a bar has a line a rate, a table has no per cent, and
changes have lines of their own."""
_CELL, _OUTSET = 93, 7
_FIELDS = ((224, 127), (180, 157), (0, 220))
"""From this width on <cbr-converter> has that height with its margin, before its fields stand one by one."""


def height(table: Table, view: View, width: int) -> int:
    """The height in pixels that a frame of this width needs by day, in the evening, and once its rates are old."""
    evening, old = table.later
    states = [table, replace(table, title=evening)]
    # A note that rates are old takes the place of a heading of ours. With heads it is no higher than the credit and
    # their words for the days, and a bar leaves out changes.
    states += [replace(table, note=old, titled=table.hosted)] if table.headless and table.layout != "bar" else []
    return max(height_later(table, view, width), *(_height(one, width) for one in states))


def height_later(table: Table, view: View, width: int) -> int:
    """The height with tomorrow's rates beside today's, or 0 for rows that will not have them."""
    if not view.has_two_days or "today" in table.kinds:
        return 0
    at = table.kinds.index("value")
    today = replace(table.columns[at], kind="today")
    rows = tuple(replace(row, cells=(*row.cells[:at], *row.cells[at - 1 :]), exact=()) for row in table.rows)
    return _height(replace(table, columns=(*table.columns[:at], today, *table.columns[at:]), rows=rows), width)


def _height(table: Table, width: int) -> int:
    """The height in pixels that a frame of this width needs for these rows."""
    if table.layout in ("line", "inline"):
        return _ONE_LINE
    room = max(width - PADDING, _FONT)
    high = PADDING + (_LINE * _lines(f"{table.title} {table.badge}".rstrip(), 16, room) if table.titled else 0)
    note = "" if table.is_named else f"{table.note} {table.credit}\u00a0· cbr.ru"
    if table.converter:
        high += next(fields for least, fields in _FIELDS if width >= least)
    if table.layout == "bar":
        high, note = high + _cells(table, room), table.note
    elif not table.layout:
        high += _rows(table, min(room, _WIDEST))
    return high + (_NOTE + _SMALL_LINE * _lines(note, 12, room) if note else 0)


def _cells(table: Table, room: int) -> int:
    """The height of a bar's cells. All stand side by side, or about half of them, or as many as there is room for."""
    font = 14 if table.has_long_units else 16
    if room < _LIST:
        return _LINE * sum(_lines(row.unit, font, room // 2) for row in table.rows)
    count, space = len(table.rows), room + _OUTSET
    half = 20 * space // (10 * count + 12) if count <= EVEN_BAR else 0
    across = count if count * _CELL <= space else space // max(_CELL, half)
    units = [_lines(row.unit, font, room // across - 14) for row in table.rows]
    lines = len({*table.kinds} - {"name", "trend"})
    return sum(_LINE * (lines + max(units[first : first + across])) + _CELL_GAP for first in range(0, count, across))


def _rows(table: Table, room: int) -> int:
    """The height of a table's heads and rows."""
    kinds = {*table.kinds}
    heads = 0 if table.headless else _HEADS
    if room >= table.threshold * _FONT:
        names = room - sum(max(_COLUMN, text_width(head.text, 12) // PIXEL + 12) for head in table.columns[1:])
        return heads + sum(
            _ROW + _LINE + _SMALL_LINE * (_lines(row.name, 12, names) if row.name else 0) for row in table.rows
        )
    has_own_lines = room < _OWN_LINES
    # Per cent stand above the change, and in their place is no trend line.
    kinds -= {"trend"} if "percent" in kinds and room < _NO_TREND else set()
    kinds -= {"percent"} if room < _NARROW else set()
    # Where changes have lines of their own, a unit without a name stands beside its rate.
    is_beside = has_own_lines and not table.has_names
    beside = is_beside if has_own_lines else len({"trend", "percent"} & kinds)
    lines = 1 - is_beside + (has_own_lines and "change" in kinds)
    names = room - 5 * _FONT * beside
    names -= _wide_head(table) if beside and not has_own_lines else 0
    texts = [f"{row.unit} {row.name}".strip() for row in table.rows]
    return heads + sum(_ROW + _LINE * (lines + _lines(text, 13, names)) for text in texts)


def _wide_head(table: Table) -> int:
    """By how much the longest word of the last head, of 9 em at most, is wider than a trend line."""
    longest = max(text_width(word, 12) for word in table.columns[-1].text.split())
    return max(0, min(9 * 12, longest // PIXEL) - 4 * _FONT)


def _lines(text: str, size: int, room: int) -> int:
    width = max(room, _FONT) * PIXEL
    # A word that is wider than the room is broken.
    return sum(max(1, -(-text_width(line, size) // width)) for line in wrapped(text, size, width))
