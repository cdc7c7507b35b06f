"""Recorded days of the Bank, as figures: six whole sheets since 2002, the days around six shocks, all dates since 1998.

Documents are written anew from these figures. test_recorded compares four of them with the Bank's own, byte for byte.
"""

from __future__ import annotations

from collections import defaultdict
from csv import DictReader
from dataclasses import replace
from datetime import date
from decimal import Decimal
from functools import cache
from pathlib import Path

from kit.documents import INDENTED, ONE_LINE, Document, Layout, Row

FOLDER = Path(__file__).parents[1] / "recorded"
# Slashes as served on 26 September 2013.
LAYOUTS = {
    "one line": ONE_LINE,
    "without units": Layout(unit=False),
    "slashes": replace(INDENTED, separator="/"),
}


@cache
def documents() -> dict[date, bytes]:
    """Effective date → XML_daily."""
    rows: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for one in _lines("sheets.csv"):
        row = Row(one["code"], one["number"], one["id"], one["nominal"], one["value"], one["name"])
        rows[one["day"], one["layout"]].append(row)
    return {
        date.fromisoformat(day): bytes(Document(tuple(found), date.fromisoformat(day), LAYOUTS[layout]))
        for (day, layout), found in rows.items()
    }


@cache
def unit_rates() -> dict[date, dict[str, Decimal]]:
    """Effective date → code → roubles for one unit, to six digits."""
    found: dict[date, dict[str, Decimal]] = defaultdict(dict)
    for one in _lines("unit_rates.csv"):
        found[date.fromisoformat(one["day"])][one["code"]] = Decimal(one["roubles"])
    return dict(found)


DATED = date(1998, 1, 1), date(2024, 8, 2)


@cache
def effective_dates() -> set[date]:
    """The dates of all sheets of these years. The file has those unlike the rule that Tuesday to Saturday have one."""
    unlike = {
        date.fromisoformat(f"{year}-{day}")
        for year, *days in map(str.split, (FOLDER / "days.txt").read_text("ascii").splitlines())
        for day in days
    }
    first, last = (day.toordinal() for day in DATED)
    days = map(date.fromordinal, range(first, last + 1))
    return {day for day in days if (day.weekday() in range(1, 6)) != (day in unlike)}


def _lines(name: str) -> list[dict[str, str]]:
    with (FOLDER / name).open(encoding="utf-8", newline="") as file:
        return list(DictReader(file))
