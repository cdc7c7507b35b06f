"""The widget as one picture, for mail, feeds and a README: SVG with the same texts, without scripts and styles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate

from ratesvc.features.site.language import Language
from ratesvc.features.site.page import page
from ratesvc.features.site.text import PIXEL, text_width, wrapped
from ratesvc.features.widget import ground as own
from ratesvc.features.widget.rows import SPARK_HEIGHT, SPARK_WIDTH, Row, Table
from ratesvc.features.widget.view import TITLE, Look, View

CONTENT_TYPE = "image/svg+xml"
THEMES = ("light", "dark")
MARGIN = 24
NAMES = 190
EMPTY_WIDTH = 480
ROW, ROW_WITHOUT_NAMES = 44, 32
LINE = 22
TITLE_SIZE, NAME_SIZE, TEXT_SIZE, BOLD_SIZE = 16, 11, 14, 15
"""Font sizes in pixels, to tell how wide a text is. Bold letters are as wide as those of the next size."""
PADDING, SPACE, GAP = 12, 5, 16
LINE_HEIGHT = 36
NARROWEST_BAR, WIDEST_BAR = 320, 970
WIDTHS = {"trend": 84, "today": 84, "value": 84, "change": 104, "percent": 84}
GROUNDS = {"light": ("#ffffff", "#1b1e22", "#555b63", "#d7dbe0"), "dark": ("#16191d", "#e9ebee", "#aab0b8", "#3a4048")}


@dataclass(frozen=True, slots=True)
class Text:
    """A text of a line or a bar. `x` is its distance from the edge where reading begins."""

    words: str
    mark: str = ""
    move: str = ""
    is_bold: bool = False
    foreign: str = ""
    x: int = 0
    y: int = 0

    @property
    def width(self) -> int:
        """The width in pixels that it needs."""
        written = f"{self.mark} {self.words}" if self.mark else self.words
        return -(-text_width(written, BOLD_SIZE if self.is_bold else TEXT_SIZE) // PIXEL)


@dataclass(frozen=True, slots=True)
class Strip:
    """A line or a bar with every text in its place. `rules` are x, top and bottom of its vertical lines."""

    width: int
    height: int
    texts: Sequence[Text]
    rules: Sequence[tuple[int, int, int]] = ()


def size_of(table: Table, view: View) -> tuple[int, int]:
    """Width and height of a table's picture. Its width is the same before and after tomorrow's rates are announced."""
    strip = _strip(table)
    if strip:
        return strip.width, strip.height
    dated = ("today", "value") if {"today", "next"} <= set(view.columns) else ("value",)
    kinds = (*({"trend"} & {*table.kinds}), *dated, *(kind for kind, _ in view.changes))
    width = MARGIN + NAMES + sum(WIDTHS[kind] for kind in kinds) + MARGIN
    return width, _heads_at(table, width) + 14 + _row(table) * len(table.rows) + MARGIN + (20 if table.note else 4)


def _row(table: Table) -> int:
    return ROW if table.has_names else ROW_WITHOUT_NAMES


def _title(table: Table) -> str:
    return f"{table.title} ({table.badge})" if table.badge else table.title


def _title_lines(table: Table, width: int) -> list[str]:
    return _lines(_title(table), width) if table.titled else []


def _heads_at(table: Table, width: int) -> int:
    has_labels = any(column.label for column in table.columns)
    return MARGIN + LINE * len(_title_lines(table, width)) + (34 if has_labels else 18)


def card(table: Table, view: View, look: Look) -> str:
    """The picture of a table."""
    strip = _strip(table)
    if strip:
        return page("widget/strip.svg", table=table, title=_title(table), strip=strip, **_paints(look))
    width, height = size_of(table, view)
    kinds, is_rtl = table.kinds[1:], table.direction == "rtl"
    names = width - 2 * MARGIN - sum(WIDTHS[kind] for kind in kinds)
    edges = list(accumulate((WIDTHS[kind] for kind in kinds), initial=MARGIN + names))[1:]
    return page(
        "widget/card.svg",
        table=table,
        title=_title(table),
        lines=_title_lines(table, width),
        rtl=is_rtl,
        row_height=_row(table),
        spark=(SPARK_WIDTH, SPARK_HEIGHT),
        line_height=LINE,
        width=width,
        height=height,
        margin=MARGIN,
        heads_at=_heads_at(table, width),
        names=width - MARGIN if is_rtl else MARGIN,
        edges=[(kind, width - x if is_rtl else x) for kind, x in zip(kinds, edges, strict=True)],
        squeezed=partial(_squeezed, names - 16),
        **_paints(look),
    )


def _strip(table: Table) -> Strip | None:
    """The picture of a line or a bar; None for other layouts."""
    return _line(table) if table.layout == "line" else _bar(table) if table.layout == "bar" else None


def _line(table: Table) -> Strip:
    """One line, as wide as its texts."""
    title = [Text(_title(table), is_bold=True, foreign=table.title_foreign)] if table.titled else []
    texts, x = [], PADDING
    for group in (title, *(_texts(table, row) for row in table.rows), _note(table)):
        for text in group:
            texts.append(replace(text, x=x, y=23))
            x += text.width + SPACE
        x += GAP - SPACE if group else 0
    return Strip(x - GAP + PADDING, LINE_HEIGHT, texts)


def _bar(table: Table) -> Strip:
    """Equal cells below the heading, in as few rows as fit the widest bar."""
    cells = [_texts(table, row) for row in table.rows]
    cell = 2 * SPACE + max((text.width for texts in cells for text in texts), default=0)
    rows = -(-len(cells) // max(1, (WIDEST_BAR - 2 * PADDING) // cell)) or 1
    across = -(-len(cells) // rows) or 1
    cell = max(cell, (NARROWEST_BAR - 2 * PADDING) // across)
    width, high = 2 * PADDING + across * cell, LINE * max(map(len, cells), default=0)
    lines = wrapped(_title(table), BOLD_SIZE, across * cell * PIXEL) if table.titled else []
    titles = [Text(line, is_bold=True, foreign=table.title_foreign) for line in lines]
    texts = [replace(text, x=PADDING, y=PADDING + 15 + LINE * at) for at, text in enumerate(titles)]
    places = [(PADDING + at % across * cell, at // across * (high + PADDING)) for at in range(len(cells))]
    top = PADDING + (LINE * len(lines) + SPACE if lines else 0)
    for (x, y), cell_texts in zip(places, cells, strict=True):
        texts += [replace(text, x=x + SPACE, y=top + y + 16 + LINE * at) for at, text in enumerate(cell_texts)]
    bottom = top + rows * (high + PADDING)
    texts += [replace(text, x=PADDING, y=bottom + 12) for text in _note(table)]
    height = bottom + (LINE + 2 if table.note else 0)
    return Strip(width, height, texts, [(x, top + y, top + y + high) for x, y in places])


def _texts(table: Table, row: Row) -> list[Text]:
    """Unit, rate and changes of a row. A line and a bar have no room for a trend, and show one day."""
    cells = dict(zip(table.kinds[1:], row.cells, strict=True))
    marks, moves = {"change": row.mark}, dict.fromkeys(("change", "percent"), row.move)
    shown = [
        Text(words, marks.get(kind, ""), moves.get(kind, ""))
        for kind, words in cells.items()
        if kind not in ("trend", "today")
    ]
    return [Text(row.unit, is_bold=True), *shown]


def _note(table: Table) -> list[Text]:
    return [Text(table.note, is_bold=True, foreign=table.foreign)] if table.note else []


def empty_card(language: Language, look: Look) -> str:
    """A neutral picture while nothing is stored."""
    title, words = language.say(TITLE), language.say("These rates are not available right now.")
    lines = _lines(title, EMPTY_WIDTH)
    return page("widget/card_empty.svg", language=language, title=title, words=words, lines=lines, **_paints(look))


def colours(look: Look) -> list[str]:
    """The colours of a card, the ground first, with the edges of its letters."""
    ground, ink, _, line = _ground(look)
    moves = own.moves(ground, ink, look.updown)
    letters = [_blend(ink, ground, eighths) for eighths in (8, 6, 4, 2)]
    return [ground, line, *letters, *(_blend(move, ground, eighths) for move in moves for eighths in (8, 4))]


def _ground(look: Look) -> tuple[str, str, str, str]:
    """The colours of ground, letters, small letters and lines."""
    if not look.is_own:
        return GROUNDS[look.theme]
    ink = own.ink(look.theme)
    return look.theme, ink, ink, _blend(ink, look.theme, 2)


def _paints(look: Look) -> dict[str, object]:
    """The colours for a template; `moves` are those of changes."""
    ground, ink, soft, line = _ground(look)
    up, down = own.moves(ground, ink, look.updown)
    moves = {"up": up, "down": down, "same": ink, "": ink}
    return {"ground": ground, "ink": ink, "soft": soft, "line": line, "moves": moves}


def _squeezed(space: int, text: str) -> int:
    """The width to squeeze a long name into, or 0."""
    return space if text_width(text, NAME_SIZE) > space * PIXEL else 0


def _lines(title: str, width: int) -> list[str]:
    return wrapped(title, TITLE_SIZE, (width - 2 * MARGIN) * PIXEL)


def _blend(colour: str, ground: str, eighths: int) -> str:
    """A colour mixed with its ground, of which it has the rest of eight parts, as the edges of letters have."""
    over, under = bytes.fromhex(colour[1:]), bytes.fromhex(ground[1:])
    return "#" + bytes((a * eighths + b * (8 - eighths)) // 8 for a, b in zip(over, under, strict=True)).hex()
