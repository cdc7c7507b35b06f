"""docs/faults.md is what `make faults-page` writes from these tests, and no row of the tables is without one."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from ledger import CASE, ROW, first_line

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "faults.md"
ROWS_OF = {"A": (1, 20), "B": (1, 21), "C": (1, 19), "D": (1, 11), "E": (1, 13), "F": (7, 9), "G": (1, 10)}


def in_the_code() -> Iterator[tuple[str, str]]:
    """The row and the words of each test, from its name and docstring or from a key of a table of rows."""
    for file in sorted(HERE.glob("test_*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (found := ROW.match(node.name)):
                yield found[1], first_line(ast.get_docstring(node))
            for key in node.keys if isinstance(node, ast.Dict) else ():
                if isinstance(key, ast.Constant) and (found := CASE.fullmatch(str(key.value))):
                    yield found[1], found[2]


def on_the_page() -> list[tuple[str, str]]:
    """The same from the page."""
    return re.findall(r"^\| ([A-G][0-9]+) \| (.*?) \| [0-9]+ passed(?:;.*?)? \|", PAGE.read_text("utf-8"), re.MULTILINE)


def test_the_page_names_every_test_and_all_of_them_passed() -> None:
    """Once each, with the words of the test: `make faults-page` writes it anew."""
    assert sorted(on_the_page()) == sorted(in_the_code())


@pytest.mark.parametrize("table", ROWS_OF)
def test_every_row_of_the_table_has_a_test(table: str) -> None:
    """From the first to the last; load, which the table F begins with, is what `make bench` is for."""
    first, last = ROWS_OF[table]
    rows = {row for row, _ in on_the_page()}
    assert {f"{table}{number}" for number in range(first, last + 1)} <= rows
