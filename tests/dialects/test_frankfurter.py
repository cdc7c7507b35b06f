"""Frankfurter over HTTP, as the original: https://github.com/lineofflight/frankfurter/tree/main/spec (60541ad).

The golden files state the other checks of its specs. Missing are only those of pegs, of blends of several providers, of
deadlines, and of a service without data, where every address answers 503. Where a spec names data of the European
Central Bank, the check names the Bank of Russia's.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

from conftest import Serve, eventually, unhurried
from fake_bank import Bank, sheet, workdays

from ratesvc.config import Settings

OLD = [date(1992, 7, 1), date(1997, 12, 30), date(1998, 1, 1)]
DAYS = list(workdays(date(2026, 3, 10), 34))
ACCEPT = {"csv": "text/csv", "ndjson": "application/x-ndjson"}


@dataclass(frozen=True, slots=True)
class Answered:
    """One answer as a check looks at it."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def media(self) -> str:
        return self.headers["Content-Type"]

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def all(self, name: str) -> list[Any]:
        """One field of each record of v2, from any of its three formats."""
        text, records = self.body.decode(), []
        if self.media.startswith("text/csv"):
            records = list(csv.DictReader(io.StringIO(text)))
        else:
            records = list(map(json.loads, text.splitlines())) if self.media.endswith("ndjson") else self.json
        return [record[name] for record in records]


def is_status(expected: int, *words: str) -> Callable[[Answered], bool]:
    return lambda a: a.status == expected and all(word in a.json["message"] for word in words)


def dollars(day: date) -> float:
    return float(sheet(day).by_code["USD"].value)


def mean_of(days: Sequence[date], base: str, quote: str) -> str:
    """From exact rates, with ten digits."""
    costs = [sheet(day).costs for day in days]
    exact = sum((Fraction(cost[base]) / Fraction(cost[quote]) for cost in costs), Fraction()) / len(costs)
    return f"{Decimal(exact.numerator) / exact.denominator:.9e}"


RANGE, MEANS = "from=2026-03-14&to=2026-04-10", "from=2026-03-14&to=2026-04-24&expand=providers&quotes=USD"
AHEAD = "v2/rates?from=2026-04-27"
CHECKS: dict[str, tuple[str, Callable[[Answered], bool]]] = {
    # v1
    "base in small letters, and from before it": (
        "v1/latest?base=usd v1/latest?from=USD&base=GBP",
        lambda a: a.json["base"] == "USD",
    ),
    "symbols in small letters": ("v1/latest?symbols=usd,gbp", lambda a: {*a.json["rates"]} == {"USD", "GBP"}),
    "to before symbols": ("v1/latest?to=USD&symbols=GBP", lambda a: {*a.json["rates"]} == {"USD"}),
    "day without a sheet": ("v1/2026-04-19", lambda a: a.json["date"] == "2026-04-18"),
    "start without a sheet": ("v1/2026-04-19..2026-04-21", lambda a: a.json["start_date"] == "2026-04-18"),
    "amounts of a range on a base": (
        "v1/2026-04-19..2026-04-24?base=USD&amount=100",
        lambda a: all("USD" not in rates and rates["RUB"] > 100 for rates in a.json["rates"].values()),
    ),
    "before the first day": ("v1/1992-06-30", is_status(404)),
    "a wrong parameter before a missing rate": (
        "v1/1992-06-30?amount=0 v1/latest?base=XQZ&amount=x v1/2026-05-09?base=USD&to=USD v1/2026-04-10..?amount=x",
        is_status(422),
    ),
    "range to come of v1": ("v1/2026-04-27.. v1/2026-04-27..2026-04-28", is_status(404)),
    # v2
    "another format by its header": ("csv/v2/rates", lambda a: a.media == "text/csv"),
    "lines of JSON": (
        f"ndjson/v2/rates ndjson/v2/rates?{RANGE}",
        lambda a: a.media.endswith("ndjson") and len(a.all("rate")) > 1 and "Accept" in a.headers["Vary"].split(", "),
    ),
    "the path before the header": ("ndjson/v2/rates.csv", lambda a: a.media.startswith("text/csv")),
    "providers in a table": (
        "v2/rates.csv?expand=providers&quotes=USD",
        lambda a: a.all("providers")[0].startswith("CBR:1."),
    ),
    "providers of means": (f"v2/rates?{MEANS}&group=week", lambda a: bool(a.all("providers")[0])),
    "every week": (f"v2/rates?{MEANS}&group=week", lambda a: len({*a.all("date")}) == 7),
    "another provider too": ("v2/rates?providers=ecb,cbr", lambda a: len(a.all("rate")) > 2),
    "only other providers": ("v2/rates?providers=ecb", lambda a: a.json == []),
    "currencies of a provider": ("v2/currencies?providers=cbr", lambda a: {"USD", "RUB"} <= {*a.all("iso_code")}),
    "date before the first day": ("v2/rates?date=1901-01-01", lambda a: a.json == []),
    "range between two sheets": (
        "v2/rates?from=2026-04-19&to=2026-04-20&quotes=USD",
        lambda a: a.all("date") == ["2026-04-18"],
    ),
    "pair": (
        "v2/rate/EUR/USD v2/rate/eur/usd v2/rate/EUR/USD?providers=CBR v2/rate/EUR/USD?quotes=RUB",
        lambda a: (a.json["base"], a.json["quote"]) == ("EUR", "USD"),
    ),
    "pair with itself": ("v2/rate/USD/USD", lambda a: a.json["rate"] == 1.0),
    "pair of several": ("v2/rate/USD/RUB,EUR", is_status(422, "invalid currency: RUB,EUR")),
    "unknown pair": ("v2/rate/EUR/XYZ", is_status(422, "invalid currency: XYZ")),
    "one currency": ("v2/currency/usd", lambda a: (a.json["iso_code"], a.json["providers"]) == ("USD", ["CBR"])),
    # both: days to come, up to two weeks after the newest sheet and under its date; ranges from before the first sheet
    "near day to come": (
        "v1/2026-05-08 v2/rates?date=2026-05-08 v2/rate/EUR/USD?date=2026-05-08",
        lambda a: a.status == 200 and b"2026-04-24" in a.body,
    ),
    "far day to come": ("v1/2026-05-09 v2/rates?date=2026-05-09 v2/rate/EUR/USD?date=2026-05-09", is_status(404)),
    "range to come without an end, of weeks, or far ahead": (
        f"v2/rates?from=2026-04-27 {AHEAD}&to=2026-05-09&group=week v2/rates?from=2026-05-09&to=2026-05-09",
        lambda a: a.json == [],
    ),
    "near range to come": (
        f"{AHEAD}&to=2026-05-27&quotes=USD v2/rates?from=2026-05-08&to=2026-05-08&quotes=USD",
        lambda a: a.all("date") == ["2026-04-24"],
    ),
    "range that ends before it begins": ("v2/rates?from=2026-04-24&to=2026-04-23", lambda a: a.json == []),
    "range from before the first sheet": (
        "v1/1990-01-01..?to=USD v2/rates?from=1990-01-01&quotes=USD",
        lambda a: a.status == 200 and b'"1992-07-01"' in a.body,
    ),
    "no mean of old and new roubles": (
        "v2/rates?base=USD&quotes=RUB&group=week&from=1997-12-31&to=1997-12-31",
        lambda a: (
            list(zip(a.all("date"), a.all("rate"), strict=True))
            == [("1997-12-29", dollars(OLD[1])), ("1998-01-01", dollars(OLD[2]))]
        ),
    ),
    "a whole week of other currencies": (
        "v2/rates?base=USD&quotes=GBP,RUB&group=week&from=1998-01-02&to=1998-01-02",
        lambda a: (
            list(zip(a.all("date"), a.all("quote"), strict=True))
            == [("1997-12-29", "GBP"), ("1997-12-29", "RUB"), ("1998-01-01", "RUB")]
            and a.all("rate")[0] == float(mean_of(OLD[1:], "USD", "GBP"))
        ),
    ),
}


async def test_frankfurter_answers_as_the_original(bank: Bank, settings: Settings, serve: Serve) -> None:
    """With all of history on Friday 24 April 2026. csv/ or ndjson/ before a path stands for the header Accept."""
    bank.publish(*map(sheet, OLD + DAYS))
    wrong = []
    async with serve(unhurried(settings)) as served:
        await eventually(lambda: served.service.history.coverage)
        for name, (paths, holds) in CHECKS.items():
            for path in paths.split(" "):
                way, _, rest = path.partition("/")
                address = f"/frankfurter/{rest if way in ACCEPT else path}"
                answer = Answered(*await served.get(address, Accept=ACCEPT.get(way, "*/*")))
                try:
                    wrong += [] if holds(answer) else [(name, path, answer.body[:300])]
                except (KeyError, ValueError, IndexError, TypeError):
                    wrong.append((name, path, answer.body[:300]))
    assert wrong == []
