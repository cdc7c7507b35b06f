"""The table as one picture, for mail, feeds and a README: SVG with the same texts, without scripts and styles."""

from __future__ import annotations

from functools import partial
from itertools import accumulate

from ratesvc.features.site.language import Language
from ratesvc.features.site.page import page
from ratesvc.features.site.text import PIXEL, text_width, wrapped
from ratesvc.features.widget import ground as own
from ratesvc.features.widget.rows import SPARK_HEIGHT, SPARK_WIDTH, Table
from ratesvc.features.widget.view import TITLE, Look, View

CONTENT_TYPE = "image/svg+xml"
THEMES = ("light", "dark")
MARGIN = 24
NAMES = 190
EMPTY_WIDTH = 480
ROW, ROW_WITHOUT_NAMES = 44, 32
LINE = 22
TITLE_SIZE, NAME_SIZE = 16, 11
"""Font sizes in pixels, to tell how wide a text is."""
WIDTHS = {"trend": 84, "today": 84, "value": 84, "change": 104, "percent": 84}
GROUNDS = {"light": ("#ffffff", "#1b1e22", "#555b63", "#d7dbe0"), "dark": ("#16191d", "#e9ebee", "#aab0b8", "#3a4048")}


def size_of(table: Table, view: View) -> tuple[int, int]:
    """Width and height of a table's picture. Its width is the same before and after tomorrow's rates are announced."""
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
