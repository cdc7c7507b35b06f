"""The widget as one picture, for mail, feeds and a README: SVG with the same texts, without scripts and styles."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import accumulate

from ratesvc.render.language import Language
from ratesvc.render.rows import TITLE, Table, View
from ratesvc.render.text import PIXEL, text_width, wrapped
from ratesvc.render.widget import Look, page

CONTENT_TYPE = "image/svg+xml"
THEMES = ("light", "dark")
MARGIN = 24
NAMES = 190
EMPTY_WIDTH = 480
ROW = 44
LINE = 22
TITLE_SIZE, NAME_SIZE = 16, 11
"""Font sizes in pixels, to tell how wide a text is."""
WIDTHS = {"today": 84, "value": 84, "change": 104, "percent": 84}
GROUNDS = {"light": ("#ffffff", "#1b1e22", "#555b63", "#d7dbe0"), "dark": ("#16191d", "#e9ebee", "#aab0b8", "#3a4048")}
MOVES = {
    "green-red": {"light": ("#0a6b2d", "#b3261e"), "dark": ("#5fd38d", "#ff9b93")},
    "red-green": {"light": ("#b3261e", "#0a6b2d"), "dark": ("#ff9b93", "#5fd38d")},
    "blue-orange": {"light": ("#0b5cad", "#a34700"), "dark": ("#7cc0ff", "#ffb066")},
}


def width_of(view: View) -> int:
    """The picture's width in pixels, the same before and after tomorrow's rates are announced."""
    dated = ("today", "value") if {"today", "next"} <= set(view.columns) else ("value",)
    kinds = (*dated, *(kind for kind, _ in view.changes))
    return MARGIN + NAMES + sum(WIDTHS[kind] for kind in kinds) + MARGIN


def size_of(table: Table, view: View) -> tuple[int, int]:
    """Width and height of a table's picture."""
    width = width_of(view)
    lines = _lines(_title(table), width) if table.titled else []
    return width, _height(table, _heads_at(table, lines))


def _title(table: Table) -> str:
    return f"{table.title} ({table.badge})" if table.badge else table.title


def _heads_at(table: Table, lines: Sequence[str]) -> int:
    return MARGIN + LINE * len(lines) + (34 if any(column.label for column in table.columns) else 18)


def _height(table: Table, heads_at: int) -> int:
    return heads_at + 14 + ROW * len(table.rows) + MARGIN + (20 if table.note else 4)


def card(table: Table, look: Look, width: int) -> str:
    """The picture of a table that has no trend."""
    kinds, is_rtl = table.kinds[1:], table.direction == "rtl"
    names = width - 2 * MARGIN - sum(WIDTHS[kind] for kind in kinds)
    edges = list(accumulate((WIDTHS[kind] for kind in kinds), initial=MARGIN + names))[1:]
    title = _title(table)
    lines = _lines(title, width) if table.titled else []
    heads_at = _heads_at(table, lines)
    grounds = _grounds(look)
    up, down = MOVES.get(look.updown, {}).get(look.theme, (grounds["ink"],) * 2)
    return page(
        "card.svg",
        table=table,
        title=title,
        lines=lines,
        rtl=is_rtl,
        row_height=ROW,
        line_height=LINE,
        width=width,
        height=_height(table, heads_at),
        margin=MARGIN,
        heads_at=heads_at,
        names=width - MARGIN if is_rtl else MARGIN,
        edges=[(kind, width - x if is_rtl else x) for kind, x in zip(kinds, edges, strict=True)],
        moves={"up": up, "down": down, "same": grounds["ink"], "": grounds["ink"]},
        squeezed=partial(_squeezed, names - 16),
        **grounds,
    )


def empty_card(language: Language, look: Look) -> str:
    """A neutral picture while nothing is stored."""
    title, words = language.say(TITLE), language.say("These rates are not available right now.")
    lines = _lines(title, EMPTY_WIDTH)
    return page("card_empty.svg", language=language, title=title, words=words, lines=lines, **_grounds(look))


def colours(look: Look) -> list[str]:
    """The colours of a card, the ground first, with the edges of its letters."""
    ground, ink, _, line = GROUNDS[look.theme]
    moves = MOVES.get(look.updown, {}).get(look.theme, ())
    letters = [_blend(ink, ground, eighths) for eighths in (8, 6, 4, 2)]
    return [ground, line, *letters, *(_blend(move, ground, eighths) for move in moves for eighths in (8, 4))]


def _grounds(look: Look) -> dict[str, str]:
    return dict(zip(("ground", "ink", "soft", "line"), GROUNDS[look.theme], strict=True))


def _squeezed(space: int, text: str) -> int:
    """The width to squeeze a long name into, or 0."""
    return space if text_width(text, NAME_SIZE) > space * PIXEL else 0


def _lines(title: str, width: int) -> list[str]:
    return wrapped(title, TITLE_SIZE, (width - 2 * MARGIN) * PIXEL)


def _blend(colour: str, ground: str, eighths: int) -> str:
    """So many eighths of a colour on its ground: the edges of letters have such colours."""
    over, under = bytes.fromhex(colour[1:]), bytes.fromhex(ground[1:])
    return "#" + bytes((a * eighths + b * (8 - eighths)) // 8 for a, b in zip(over, under, strict=True)).hex()
