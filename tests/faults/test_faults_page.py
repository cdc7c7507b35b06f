"""No row of the tables of faults is without a test, and tests/faults/README.md has each row."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE / "README.md"
LAST = {"A": 20, "B": 21, "C": 19, "D": 11, "E": 13, "F": 10, "G": 10}


def test_every_row_has_a_test_and_stands_on_the_page() -> None:
    """Load, which the table F begins with, is what `make bench` is for."""
    code = "".join(file.read_text("utf-8") for file in HERE.glob("test_*.py"))
    rows = {f"{table}{number}" for table, last in LAST.items() for number in range(7 if table == "F" else 1, last + 1)}
    assert {*re.findall(r"(?:def test_|\")([A-G][0-9]+)[_ ]", code)} == rows
    assert {*re.findall(r"^\| ([A-G][0-9]+) \|", PAGE.read_text("utf-8"), re.MULTILINE)} == rows
