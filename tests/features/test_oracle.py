"""Questions by chance, answered by fractions that share no code with the service: no wrong figure, no silent drop."""

from __future__ import annotations

import csv
import io
import json
import random
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from conftest import Clock, Serve, Served, eventually
from kit.bank import Bank, sheet, workdays
from kit.dates import EVENING, FRIDAY, SATURDAY

from ratesvc.domain.rates import Quote

DAYS = [*workdays(date(2026, 3, 10), 35)]
LAST_SET = date(2026, 4, 27)
"""Monday, which has Saturday's sheet, announced on Friday evening."""
ODD = Quote("XDR", "960", "R01589", 100, Decimal("10338.9301"), "СДР")
"""In every third sheet only."""
CODES = ("USD", "EUR", "IRR", "JPY", "XDR", "RUB")
SHEETS = {day: replace(sheet(day), quotes=(*sheet(day).quotes, *[ODD] * (n % 3 == 0))) for n, day in enumerate(DAYS)}
COSTS = {
    day: {"RUB": Fraction(1), **{one.code: Fraction(one.value) / one.nominal for one in of.quotes}}
    for day, of in SHEETS.items()
}


def near(text: object, exact: Fraction, digits: int = 10) -> bool:
    """Whether a number is the exact one, rounded to so many significant digits."""
    return abs(Fraction(str(text)) - exact) <= abs(exact) * Fraction(1, 2 * 10 ** (digits - 1))


def in_force(day: date) -> date:
    return max(one for one in DAYS if one <= day)


def rows_of(form: str, body: bytes) -> tuple[dict[tuple[str, str], Any], set[str]]:
    """Rates by day and code, and the codes that are missing: named by JSON, without a rate in CSV."""
    if form == "series.csv":
        rows = list(csv.DictReader(io.StringIO(body.decode())))
        empty = {row["code"] for row in rows if not row["unit_rate"]}
        return {(row["date"], row["code"]): row["unit_rate"] for row in rows if row["unit_rate"]}, empty
    found = json.loads(body, parse_float=Decimal, parse_int=Decimal)
    rates = {(row["date"], row["code"]): row["unit_rate"] for row in found.get("rows", ())}
    for code, row in {**found.get("rates", {}), **found.get("results", {})}.items():
        rates[found["date"], code] = row["unit_rate"]
    return rates, {*found.get("missing", ())}


async def check(served: Served, chance: random.Random) -> None:
    """Ask one question, and compare all of its answer."""
    form = chance.choice(("rates", "series", "series.csv", "convert", "txt"))
    codes, quote = chance.sample(CODES, 1 if form == "txt" else chance.randint(1, 4)), chance.choice(CODES)
    since = DAYS[3] + timedelta(days=chance.randint(0, 50))
    until = since + timedelta(days=chance.randint(0, 9)) if form.startswith("series") else since
    daily, listed = chance.random() < 0.5, ",".join(codes)
    path = {
        "rates": f"rates/{since}?codes={listed}&quote_currency={quote}",
        "txt": f"rates/{since}/{listed}.txt?quote_currency={quote}",
        "convert": f"convert?from={quote}&to={listed}&date={since}",
    }.get(
        form,
        f"{form}?codes={listed}&quote_currency={quote}&since={since}&until={until}&fill={'daily' * daily or 'none'}",
    )
    status, _, body = await served.get(f"/v1/{path}")
    if since > LAST_SET:
        assert (status, json.loads(body)["type"]) == (404, "urn:ratesvc:not_yet_set"), path
        return
    days = [since + timedelta(days=more) for more in range((min(until, LAST_SET) - since).days + 1)]
    shown = {day: in_force(day) for day in days if daily or day in DAYS or not form.startswith("series")}
    sheets = [COSTS[of].keys() for of in shown.values()]
    if sheets and any(not any(code in of for of in sheets for code in asked) for asked in (codes, [quote])):
        assert (status, json.loads(body)["type"]) == (404, "urn:ratesvc:unknown_currency"), path
        return
    expected = {
        (str(day), code): COSTS[of][code] / COSTS[of][quote]
        for day, of in shown.items()
        for code in codes
        if {code, quote} <= COSTS[of].keys()
    }
    if form == "convert":
        expected = {key: 1 / rate for key, rate in expected.items()}
    assert status == 200, path
    found, missing = ({(str(since), listed): body.decode()}, set[str]()) if form == "txt" else rows_of(form, body)
    assert found.keys() == expected.keys(), path
    assert all(near(rate, expected[key]) for key, rate in found.items()), path
    absent = {code for code in (*codes, quote) if any(code not in of for of in sheets)}
    if form == "series.csv":
        absent = {code for code in codes if any(not {code, quote} <= of for of in sheets)}
    assert missing == absent, path


@pytest.mark.parametrize(
    "count", [pytest.param(200, marks=pytest.mark.slow), pytest.param(5000, marks=pytest.mark.nightly)]
)
async def test_questions_by_chance_are_answered_rightly(
    count: int, bank: Bank, serve_whole: Serve, clock: Clock, request: pytest.FixtureRequest
) -> None:
    """Currencies that some sheets lack, the rouble, and days to come among them."""
    clock.moment = EVENING
    bank.publish(*SHEETS.values())
    chance = random.Random(request.config.getoption("randomly_seed"))  # noqa: S311 -- no secret
    async with serve_whole() as served:
        await eventually(lambda: served.service.history.of_date(SATURDAY))
        assert DAYS[-2:] == [FRIDAY, SATURDAY]
        for _ in range(count):
            await check(served, chance)
