"""No row of the tables of faults is without a test, and tests/faults/README.md has each row."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE / "README.md"


def test_every_row_has_a_test_and_stands_on_the_page() -> None:
    """A number that went stays free. Load, which the table F begins with, is what `make bench` is for."""
    code = "".join(file.read_text("utf-8") for file in HERE.glob("test_*.py"))
    rows = {one or other for one, other in re.findall(r"def test_([A-G][0-9]+)_|\"([A-G][0-9]+) ", code)}
    assert {*re.findall(r"^\| ([A-G][0-9]+) \|", PAGE.read_text("utf-8"), re.MULTILINE)} == rows
