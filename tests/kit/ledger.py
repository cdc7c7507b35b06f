"""The table of faults: the rows A to G that ran, and the time of their recovery.

A test of a row is named for it, `test_A19_cookies`, and its docstring says what happens. A test of many rows has a
parameter `row` with both: "A18 The server speaks SSH". It takes the fixture `fault` and says when the fault has ended:

    await fault.recovers(lambda: served.next_is(SATURDAY), within_s=5)

That waits until the condition holds, fails if that took longer than `within_s`, and writes the seconds into the table;
`fault.measured` writes another figure. A row that has neither takes no fixture.
`pytest tests/faults --faults-table=tests/faults/README.md` writes the table.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kit.time import Condition, eventually, limit_s

HANGS_S = 15.0
ROW = re.compile(r"test_([A-G][0-9]+)_")
CASE = re.compile(r"([A-G][0-9]+) (.+)")
PAGE = Path(__file__).parents[1] / "faults/README.md"
"""Its words above the table stay as they are."""


@dataclass
class Fault:
    """One run of one row."""

    properties: list[tuple[str, object]]

    async def recovers(self, condition: Condition, within_s: float = 5.0) -> None:
        """Wait until the condition holds, and note how long that took."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        await eventually(condition, limit_s(within_s) + HANGS_S)
        recovery_s = loop.time() - begun
        self.properties += [("recovery_s", recovery_s), ("limit_s", within_s)]
        assert recovery_s <= limit_s(within_s), f"{recovery_s:.2f} s of {within_s:g}"

    def measured(self, figure: str) -> None:
        """Note a figure in words, and print it."""
        self.properties.append(("figure", figure))
        print(f"\n  {figure}")  # noqa: T201 -- the figure is the point


@pytest.fixture
def fault(request: pytest.FixtureRequest) -> Fault:
    """Notes how this row of the table recovers."""
    return Fault(request.node.user_properties)


class Ledger:
    """Writes the table at the end of a run."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        callspec = getattr(item, "callspec", None)
        if callspec and (found := CASE.match(str(callspec.params.get("row")))):
            item.user_properties.append(("row", found.groups()))
        elif found := ROW.match(item.name):
            docstring = getattr(item, "function").__doc__ or ""  # noqa: B009 -- every test here is one
            item.user_properties.append(("row", (found[1], docstring.split("\n")[0].rstrip("."))))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        rows: dict[tuple[str, str], dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
        for outcome in ("passed", "failed", "error", "skipped"):
            for report in terminalreporter.stats.get(outcome, ()):
                if row := dict(report.user_properties).get("row"):
                    for name, value in (("outcome", outcome), *report.user_properties):
                        rows[tuple(row)][name].append(value)
        order = sorted(rows.items(), key=lambda item: (item[0][0][0], int(item[0][0][1:]), item[0][1]))
        lines = [f"| {number} | {what} | {' | '.join(_cells(row))} |" for (number, what), row in order]
        head, rule, _ = PAGE.read_text("utf-8").partition("|---|---|---|---|---|\n")
        self._path.write_text("".join([head, rule, *(f"{line}\n" for line in lines)]), "utf-8")


def _cells(row: dict[str, list[Any]]) -> Iterator[str]:
    counts = ", ".join(f"{count} {outcome}" for outcome, count in Counter(row["outcome"]).items())
    yield "; ".join([counts, *row["figure"]])
    yield f"{max(row['recovery_s']):.2f}" if row["recovery_s"] else "–"
    yield f"{max(row['limit_s']):g}" if row["limit_s"] else "–"
