"""The table of faults: the rows A to G that ran, and the time of their recovery.

A test of a row is named for it, `test_A19_cookies`, and its docstring says what happens. A test of many rows has a
parameter `row` with both: "A18 The server speaks SSH". It takes the fixture `fault` and says when the fault has ended:

    await fault.recovers(lambda: served.next_is(SATURDAY), within_s=5)

That waits until the condition holds, fails if that took longer than `within_s`, and writes the seconds into the table;
`fault.measured` writes another figure. A row that has neither takes no fixture.
`pytest tests/faults --faults-table=docs/faults.md` writes the table.
"""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from machine import patience
from waiting import Condition, eventually

HANGS_S = 15.0
ROW = re.compile(r"test_([A-G][0-9]+)_")
CASE = re.compile(r"([A-G][0-9]+) (.+)")
HEAD = """# Faults

The tests cause these faults, and none of them may break the service. `make faults-page` writes one row for each fault
from the tests in `tests/faults`.

*Recovery* is the time from the end of a fault until the service serves what the Bank published meanwhile, with polls
every 0.1 s. *Limit* is the time that the test allows on a machine with a free core for every process.

| row | what happens | tests, and what they measured | recovery, s | limit, s |
|---|---|---|---|---|
"""


@dataclass
class Fault:
    """One run of one row."""

    properties: list[tuple[str, object]]

    async def recovers(self, condition: Condition, within_s: float = 5.0) -> None:
        """Wait until the condition holds, and note how long that took."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        await eventually(condition, within_s * patience() + HANGS_S)
        recovery_s = loop.time() - begun
        self.properties += [("recovery_s", recovery_s), ("limit_s", within_s)]
        assert recovery_s <= within_s * patience(), f"{recovery_s:.2f} s of {within_s:g}"

    def measured(self, figure: str) -> None:
        """Note a figure in words, and print it."""
        self.properties.append(("figure", figure))
        print(f"\n  {figure}")  # noqa: T201 -- the figure is the point


@pytest.fixture
def fault(request: pytest.FixtureRequest) -> Fault:
    """Notes how this row of the table recovers."""
    return Fault(request.node.user_properties)


@dataclass
class Row:
    """All tests of one row with the same words."""

    outcomes: list[str] = field(default_factory=list)
    recoveries: list[float] = field(default_factory=list)
    limits: list[float] = field(default_factory=list)
    figures: list[str] = field(default_factory=list)

    def cells(self) -> Iterator[str]:
        counts = {outcome: self.outcomes.count(outcome) for outcome in dict.fromkeys(self.outcomes)}
        yield "; ".join([", ".join(f"{count} {outcome}" for outcome, count in counts.items()), *self.figures])
        yield f"{max(self.recoveries):.2f}" if self.recoveries else "–"
        yield f"{max(self.limits):g}" if self.limits else "–"


class Ledger:
    """Collects reports and writes the table at the end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: dict[tuple[str, str], Row] = defaultdict(Row)

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        callspec = getattr(item, "callspec", None)
        if callspec and (found := CASE.match(str(callspec.params.get("row")))):
            item.user_properties.append(("row", found.groups()))
        elif found := ROW.match(item.name):
            item.user_properties.append(("row", (found[1], first_line(getattr(item, "function").__doc__))))  # noqa: B009

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        properties: dict[str, list[Any]] = defaultdict(list)
        for key, value in report.user_properties:
            properties[key].append(value)
        if properties["row"] and (report.when == "call" or report.outcome != "passed"):
            row = self._rows[tuple(properties["row"][0])]
            row.outcomes.append(report.outcome)
            row.recoveries += properties["recovery_s"]
            row.limits += properties["limit_s"]
            row.figures += properties["figure"]

    def pytest_sessionfinish(self) -> None:
        rows = sorted(self._rows.items(), key=lambda item: (item[0][0][0], int(item[0][0][1:]), item[0][1]))
        lines = [f"| {number} | {what} | {' | '.join(row.cells())} |" for (number, what), row in rows]
        self._path.write_text(HEAD + "\n".join(lines) + "\n", "utf-8")


def first_line(docstring: str | None) -> str:
    return (docstring or "").split("\n")[0].rstrip(".")
