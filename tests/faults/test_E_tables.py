"""Hostile clients and spreadsheets: no cell of our CSV is a formula, and a negative number stays a number."""

from __future__ import annotations

import csv
import re
from datetime import date

import pytest

from ratesvc.render.language import language
from ratesvc.render.series import SeriesParams, to_csv

HARMLESS = re.compile(r"-?[0-9]+(?:[.,\u066b][0-9]+)?|[0-9]{4}(?:-[0-9]{2}){0,2}|[A-Za-z][A-Za-z_]*|")
RATES = {"2026-04-24": "-0.1221", "2026-04-25": "75.5273"}


@pytest.mark.parametrize("tag", [None, "en", "ru", "ar", "fa", "de", "sv"])
def test_no_cell_is_a_formula(tag: str | None) -> None:
    """Every cell is a day, a code or a plain number: none begins with = + @ or a tab, and -0.1221 stays as it is."""
    asked = SeriesParams(("USD",), date(2026, 4, 24), date(2026, 4, 25))
    text = to_csv(asked, {"USD": RATES}, language(tag) if tag else None).decode("utf-8-sig")
    separator = ";" if ";" in text else ","
    cells = [cell for row in csv.reader(text.splitlines(), delimiter=separator) for cell in row]
    assert all(HARMLESS.fullmatch(cell) for cell in cells), cells
    assert sum(cell.startswith("-0") for cell in cells) == 1
