"""rows.json: the formatted rows for whoever draws them itself, as the loader does."""

from __future__ import annotations

from typing import Any

from ratesvc.render.api import encode
from ratesvc.render.rows import Column, Row, Table


def rows_json(table: Table, style: str = "") -> bytes:
    """The table with every text that the other forms show.

    `style` is the widget's style sheet where the element asks: it has no use for codes then. Otherwise it is empty.
    """
    document: dict[str, Any] = {
        "lang": table.tag,
        "dir": table.direction,
        "title": table.title,
        "titled": table.titled,
        "stale": table.stale,
        "columns": [_column(column) for column in table.columns],
        "rows": [_row(row, coded=not style) for row in table.rows],
        "source_url": table.source,
    }
    languages = {"words_lang": table.foreign, "title_lang": table.title_foreign}
    optional = {"badge": table.badge, "note": table.note, "style": style}
    return encode({**document, **_said(languages), **_said(optional)})


def _column(column: Column) -> dict[str, str]:
    return {"kind": column.kind, "text": column.text, **_said({"label": column.label, "date": column.iso})}


def _row(row: Row, *, coded: bool) -> dict[str, Any]:
    optional = {
        "code": row.code if coded else "",
        "unit": row.unit,
        "name": row.name,
        "move": row.move,
        "mark": row.mark,
        "words": row.words,
        "points": row.points,
    }
    return {**_said(optional), "cells": row.cells}


def _said(texts: dict[str, str]) -> dict[str, str]:
    """Without what is empty."""
    return {name: text for name, text in texts.items() if text}
