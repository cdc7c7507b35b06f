"""Gold and the key rate in a widget: each with its day, and nothing where there is none."""

from __future__ import annotations

import json
from datetime import date, timedelta
from typing import Any

import pytest
from conftest import Clock, Serve, Served, eventually
from kit import cases
from kit.bank import Bank, sheet
from kit.dates import DAYS, EVENING, FRIDAY, NOON, SATURDAY, THURSDAY
from kit.figures import with_key_rate, with_metals

GOLD = {THURSDAY: "11310,1", FRIDAY: "11409,47", SATURDAY: "11388,2"}
DECIDED = date(2026, 4, 20)


def bank_says(bank: Bank, *, gold: date = FRIDAY, rate: date = THURSDAY, rates: date = FRIDAY) -> None:
    """The Bank has its figures up to these days."""
    weekdays = [DECIDED + timedelta(day) for day in range(5)]
    with_metals(bank, {day: {1: price, 2: "187,82"} for day, price in GOLD.items() if day <= gold})
    with_key_rate(bank, {date(2025, 12, 19): "17.00", **{day: "16.50" for day in weekdays if day <= rate}})
    bank.publish(*(sheet(day) for day in [*DAYS, SATURDAY] if day <= rates))


STATES: dict[str, dict[str, Any]] = {
    "noon": {},
    "evening": {"rates": SATURDAY},
    "all": {"rates": SATURDAY, "gold": SATURDAY, "rate": FRIDAY},
    "stale": {"rates": SATURDAY, "rate": DECIDED},
    "without": {},
}
MOMENTS = {"evening": EVENING, "all": EVENING, "stale": EVENING + timedelta(1)}


@pytest.mark.parametrize("state", STATES)
async def test_figures_of_other_features_have_their_day(
    bank: Bank, serve_whole: Serve, clock: Clock, state: str
) -> None:
    """golden/widget/beside.txt: at noon, with tomorrow's rates alone, with all of tomorrow, stale, and without both."""
    bank_says(bank, **STATES[state])
    clock.moment = MOMENTS.get(state, NOON)
    answers = {}
    async with serve_whole() as served:
        figures = served.service.figures
        await eventually(lambda: figures["metals"].columns and figures["keyrate"].columns)
        for one in figures.values() if state == "without" else ():
            one.columns.clear()
        for asked in cases.questions("widget/beside.txt"):
            of, _, query = asked.partition(" ")
            if of == state:
                answers[asked] = await told(served, query)
    for asked, answer in answers.items():
        cases.check_one("widget/beside.txt", asked, answer)


async def told(served: Served, query: str) -> str:
    """The title and the rows as a reader sees them."""
    status, _, body = await served.get(f"/widget/rows.json?{query}")
    if status != 200:
        return str(status)
    table = json.loads(body)
    kinds = " ".join(column["kind"] for column in table["columns"][1:])
    rows = [
        f"{row['unit']} ({row.get('name', '')}) {row.get('mark', '')} {' | '.join(row['cells'])}"
        for row in table["rows"]
    ]
    return "\n".join([f"{table['title']}; {table.get('note', '')}; {kinds}", *rows])
