"""The widget as one picture, for mail, feeds and a README: SVG with the same texts, without scripts and styles."""

from __future__ import annotations

from functools import partial

from ratesvc.render.language import Language
from ratesvc.render.png import PIXEL, blend, text_width, wrapped
from ratesvc.render.rows import TITLE, Table, View
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
    """Pixels: the same whether tomorrow's rates are there yet or not."""
    dated = ("today", "value") if {"today", "next"} <= set(view.columns) else ("value",)
    kinds = (*dated, *(kind for kind, _ in view.changes))
    return MARGIN + NAMES + sum(WIDTHS[kind] for kind in kinds) + MARGIN


def card(table: Table, look: Look, width: int) -> str:
    """The picture of a table that has no trend."""
    ground, ink, soft, line = GROUNDS[look.theme]
    names = width - 2 * MARGIN - sum(WIDTHS[kind] for kind in table.kinds[1:])
    edges = _edges(table, names)
    title = f"{table.title} ({table.badge})" if table.badge else table.title
    lines = _lines(title, width) if table.titled else []
    top = MARGIN + LINE * len(lines)
    labelled = any(column.label for column in table.columns)
    heads_at = top + (34 if labelled else 18)
    right = table.direction == "rtl"
    return page(
        "card.svg",
        table=table,
        title=title,
        lines=lines,
        rtl=right,
        row_height=ROW,
        line_height=LINE,
        width=width,
        height=heads_at + 14 + ROW * len(table.rows) + MARGIN + (20 if table.note else 4),
        ground=ground,
        ink=ink,
        soft=soft,
        line=line,
        margin=MARGIN,
        heads_at=heads_at,
        names=width - MARGIN if right else MARGIN,
        edges=[(kind, width - x if right else x) for kind, x in edges],
        moves=_colours(look, ink),
        squeezed=partial(_squeezed, names - 16),
    )


def empty_card(language: Language, look: Look) -> str:
    """A neutral picture while nothing is stored."""
    ground, ink, soft, _ = GROUNDS[look.theme]
    title = language.say(TITLE)
    words = language.say("These rates are not available right now.")
    lines = _lines(title, EMPTY_WIDTH)
    return page(
        "card_empty.svg", language=language, title=title, words=words, lines=lines, ground=ground, ink=ink, soft=soft
    )


def colours(look: Look) -> list[str]:
    """What a card is drawn in, the ground first, with the edges of its letters."""
    ground, ink, _, line = GROUNDS[look.theme]
    moves = MOVES.get(look.updown, {}).get(look.theme, ())
    letters = [blend(ink, ground, eighths) for eighths in (8, 6, 4, 2)]
    return [ground, line, *letters, *(blend(move, ground, eighths) for move in moves for eighths in (8, 4))]


def _edges(table: Table, names: int) -> list[tuple[str, int]]:
    """Where each column of figures ends."""
    edges, x = [], MARGIN + names
    for kind in table.kinds[1:]:
        x += WIDTHS[kind]
        edges.append((kind, x))
    return edges


def _colours(look: Look, ink: str) -> dict[str, str]:
    up, down = MOVES.get(look.updown, {}).get(look.theme, (ink, ink))
    return {"up": up, "down": down, "same": ink, "": ink}


def _squeezed(room: int, text: str) -> int:
    """The width to squeeze a long name into, or 0."""
    return room if text_width(text, NAME_SIZE) > room * PIXEL else 0


def _lines(title: str, width: int) -> list[str]:
    return wrapped(title, TITLE_SIZE, (width - 2 * MARGIN) * PIXEL)
