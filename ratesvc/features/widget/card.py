"""The table as one picture, for mail, feeds and a README: SVG with the same texts, without scripts and styles."""

from __future__ import annotations

from itertools import accumulate

from ratesvc.features.site.language import Language
from ratesvc.features.site.page import page
from ratesvc.features.site.text import PIXEL, text_width, wrapped
from ratesvc.features.widget import ground as own
from ratesvc.features.widget.table import SPARK_WIDTH, Table
from ratesvc.features.widget.view import TITLE, Look, View

CONTENT_TYPE = "image/svg+xml"
THEMES = ("light", "dark")
MARGIN = 14
LEAST_WIDTH = 256
"""In a column of 180 pixels, where a page shrinks the picture, letters still have some 9 pixels."""
WIDTHS = {"trend": 72, "today": 84, "value": 84}
"""Columns with the space before them. Changes stand below the newest rate."""
CHANGE = 88
SIZE, SMALL = 16, 13
LINE, SMALL_LINE, ROW = 22, 17, 32
GROUNDS = {"light": ("#ffffff", "#1b1e22", "#555b63", "#d7dbe0"), "dark": ("#16191d", "#e9ebee", "#aab0b8", "#3a4048")}


def card(table: Table, view: View, look: Look) -> str:
    """The picture of a table. Its width is the same before and after tomorrow's rates are announced."""
    has_two = "today" in table.kinds or {"today", "next"} <= {*view.columns}
    kinds = (*({"trend"} & {*table.kinds}), *(("today",) if has_two else ()), "value")
    columns = [WIDTHS[kind] for kind in kinds]
    units = max(text_width(row.unit, SIZE) for row in table.rows) // PIXEL
    width = max(LEAST_WIDTH, 2 * MARGIN + units + sum(columns))
    is_rtl, changes = table.direction == "rtl", [kind for kind, _ in view.changes]
    edges = list(accumulate(columns, initial=width - MARGIN - sum(columns)))[1:]
    title = f"{table.title} ({table.badge})" if table.badge else table.title
    lines = _lines(title, SIZE, width) if table.titled else []
    has_labels = any(column.label for column in table.columns)
    y = MARGIN + LINE * len(lines) + (6 if table.headless else 40 if has_labels else 24)
    heads_at, rows = y - 10, []
    for row in table.rows:
        names = wrapped(row.name, SMALL, (width - 2 * MARGIN - bool(changes) * CHANGE) * PIXEL)
        rows.append((y, row, dict(zip(table.kinds[1:], row.cells, strict=True)), names))
        y += ROW + SMALL_LINE * max(len(names), len(changes))
    texts = (table.note, True), (table.credit or "cbr.ru", False)
    notes = [(line, is_note) for text, is_note in texts for line in _lines(text, SMALL, width)]
    places = {kind: width - x if is_rtl else x for kind, x in zip(kinds, edges, strict=True)}
    start = width - MARGIN if is_rtl else MARGIN
    return page(
        "widget/card.svg",
        table=table,
        title=title,
        lines=lines,
        rtl=is_rtl,
        line_height=LINE,
        small_line=SMALL_LINE,
        width=width,
        height=y + SMALL_LINE * len(notes) + MARGIN + 4,
        margin=MARGIN,
        heads_at=heads_at,
        start=start,
        edges={"name": start, **places},
        end=width - start,
        trend_at=places.get("trend", 0) - (0 if is_rtl else SPARK_WIDTH),
        changes=changes,
        rows=rows,
        notes=notes,
        foot=y,
        **_paints(look),
    )


def empty_card(language: Language, look: Look) -> str:
    """A neutral picture while nothing is stored."""
    title, words = language.say(TITLE), language.say("These rates are not available right now.")
    # As narrow as any card, because a page may show it in the place of one, and shrink what is wider.
    lines = [_lines(text, size, LEAST_WIDTH) for text, size in ((title, SIZE), (words, SMALL))]
    return page("widget/card_empty.svg", language=language, title=title, lines=lines, **_paints(look))


def colours(look: Look) -> list[str]:
    """The colours of a card, the ground first, with the edges of its letters."""
    ground, line, ink, up, down = (_paints(look)[name] for name in ("ground", "line", "ink", "up", "down"))
    letters = [_blend(ink, ground, eighths) for eighths in (8, 6, 4, 2)]
    return [ground, line, *letters, *(_blend(move, ground, eighths) for move in (up, down) for eighths in (8, 4))]


def _paints(look: Look) -> dict[str, str]:
    """The colours of ground, letters, small letters, lines, rises and falls, by their names in the templates."""
    if look.is_own:
        ground, ink = look.theme, own.ink(look.theme)
        soft, line = ink, _blend(ink, ground, 2)
    else:
        ground, ink, soft, line = GROUNDS[look.theme]
    up, down = own.moves(ground, ink, look.updown)
    return {"ground": ground, "ink": ink, "soft": soft, "line": line, "up": up, "down": down}


def _lines(text: str, size: int, width: int) -> list[str]:
    return wrapped(text, size, (width - 2 * MARGIN) * PIXEL)


def _blend(colour: str, ground: str, eighths: int) -> str:
    """A colour mixed with its ground, of which it has the rest of eight parts, as the edges of letters have."""
    over, under = bytes.fromhex(colour[1:]), bytes.fromhex(ground[1:])
    return "#" + bytes((a * eighths + b * (8 - eighths)) // 8 for a, b in zip(over, under, strict=True)).hex()
