"""Frankfurter's own specs, replayed over HTTP: https://github.com/lineofflight/frankfurter/tree/main/spec (60541ad).

Each line is one check. Where a spec names data of the European Central Bank, the line names the Bank of Russia's: the
first day, a currency that is never set, the pair whose rate is above one, CLDR's name of the dollar.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import pytest
from conftest import Clock, Serve, Served, eventually, unhurried
from fake_bank import Bank, sheet, workdays

from ratesvc.config import Settings

OLD = [date(1992, 7, 1), date(1997, 12, 30), date(1998, 1, 1)]
DAYS = list(workdays(date(2026, 3, 10), 34))
ACCEPT = {"csv": "text/csv", "ndjson": "application/x-ndjson"}


@dataclass(frozen=True, slots=True)
class Answered:
    """One answer as a spec looks at it."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def rates(self) -> dict[str, float]:
        """Of v1."""
        found: dict[str, float] = self.json["rates"]
        return found

    @property
    def records(self) -> list[dict[str, Any]]:
        """Of v2, from any of its three formats."""
        media, text = self.headers["Content-Type"], self.body.decode()
        if media.startswith("text/csv"):
            return list(csv.DictReader(io.StringIO(text)))
        return list(map(json.loads, text.splitlines())) if media.endswith("ndjson") else self.json

    def all(self, name: str) -> list[Any]:
        """One field of each record."""
        return [record[name] for record in self.records]

    def has_no_double(self) -> bool:
        pairs = [(record["date"], record["quote"]) for record in self.records]
        return len(pairs) == len(set(pairs)) > 1


Check = tuple[str, Callable[[Answered], bool]]


def ok(answer: Answered) -> bool:
    return answer.status == 200


def is_status(expected: int, *words: str) -> Callable[[Answered], bool]:
    return lambda a: a.status == expected and all(word in a.json["message"] for word in words)


def is_sorted(rates: Any) -> bool:
    return list(rates) == sorted(rates)


def each_day(holds: Callable[[dict[str, float]], bool]) -> Callable[[Answered], bool]:
    return lambda a: len(a.rates) > 20 and all(map(holds, a.rates.values()))  # type: ignore[arg-type] # a range


DAY, YEAR = "v1/2026-04-16", "v1/2026-03-14..2026-04-24"
V1: dict[str, Check] = {
    # v1_spec
    "latest": ("v1/latest", ok),
    "base": ("v1/latest?from=USD", lambda a: a.json["base"] == "USD"),
    "amount": ("v1/latest?amount=10", lambda a: a.rates["USD"] > 10),
    "symbols": ("v1/latest?to=USD", lambda a: [*a.rates] == ["USD"]),
    "historical": (DAY, lambda a: bool(a.rates) and a.json["date"] == "2026-04-16"),
    "holidays": ("v1/2026-04-19", lambda a: bool(a.rates)),
    "future": ("v1/2026-04-25", ok),
    "ETag": (f"v1/latest {DAY}", lambda a: bool(a.headers["ETag"])),
    "Cache-Control": (f"v1/latest {DAY}", lambda a: bool(a.headers["Cache-Control"])),
    "conversion": ("v1/latest?from=EUR&to=GBP&amount=100", lambda a: a.rates["GBP"] > 100),
    "range": (YEAR, lambda a: all((a.json["start_date"], a.json["end_date"], a.rates))),
    "open range": ("v1/2026-03-14..", lambda a: all((a.json["start_date"], a.json["end_date"], a.rates))),
    "currencies": ("v1/currencies", lambda a: a.json["USD"] == "US Dollar"),
    "charset": ("v1/currencies", lambda a: a.headers["Content-Type"].endswith("charset=utf-8")),
    # v1/query_spec, without its first line, which is about Ruby
    "given amount": ("v1/latest?amount=100", lambda a: a.json["amount"] == 100.0),
    "positive amount": ("v1/latest?amount=0 v1/latest?amount=-1", is_status(422, "invalid amount")),
    "default amount": ("v1/latest", lambda a: a.json["amount"] == 1.0),
    "given base": ("v1/latest?base=USD", lambda a: a.json["base"] == "USD"),
    "base in small letters": ("v1/latest?base=usd", lambda a: a.json["base"] == "USD"),
    "default base": ("v1/latest", lambda a: a.json["base"] == "EUR"),
    "from is base": ("v1/latest?from=USD&base=GBP", lambda a: a.json["base"] == "USD"),
    "given symbols": ("v1/latest?symbols=USD,GBP", lambda a: {*a.rates} == {"USD", "GBP"}),
    "symbols in small letters": ("v1/latest?symbols=usd,gbp", lambda a: {*a.rates} == {"USD", "GBP"}),
    "to is symbols": ("v1/latest?to=USD&symbols=GBP", lambda a: {*a.rates} == {"USD"}),
    "default symbols": ("v1/latest", lambda a: len(a.rates) == len(sheet(DAYS[-1]).quotes)),
    "given date": (DAY, lambda a: a.json["date"] == "2026-04-16"),
    "valid date": ("v1/2014-01-32", is_status(422)),
    "given dates": (YEAR, lambda a: a.json["end_date"] == "2026-04-24"),
    # v1/currency_names_spec
    "names": ("v1/currencies", lambda a: a.json["USD"] == "US Dollar"),
    "names have a tag": ("v1/currencies", lambda a: bool(a.headers["ETag"])),
    # v1/quote/end_of_day_spec
    "day: rates": (DAY, lambda a: bool(a.rates)),
    "day: not later": ("v1/2026-04-19", lambda a: a.json["date"] <= "2026-04-19"),
    "day: against the euro": (DAY, lambda a: "EUR" not in a.rates),
    "day: sorted": (DAY, lambda a: is_sorted(a.rates)),
    "day: tag": (DAY, lambda a: bool(a.headers["ETag"])),
    "day: against a base": (f"{DAY}?base=USD", lambda a: "USD" not in a.rates),
    "day: sorted with a base": (f"{DAY}?base=USD", lambda a: is_sorted(a.rates)),
    "day: only symbols": (f"{DAY}?symbols=USD,GBP,JPY", lambda a: "USD" in a.rates and "CAD" not in a.rates),
    "day: sorted symbols": (f"{DAY}?symbols=USD,GBP,JPY", lambda a: is_sorted(a.rates)),
    "day: amount": (f"{DAY}?amount=100", lambda a: a.rates["USD"] > 10),
    # v1/quote/interval_spec
    "range: rates": (YEAR, lambda a: bool(a.rates)),
    "range: ends": (YEAR, lambda a: "2026-03-04" < a.json["start_date"] <= "2026-03-14" < a.json["end_date"]),
    "range: against the euro": (YEAR, each_day(lambda rates: "EUR" not in rates)),
    "range: sorted": (YEAR, each_day(is_sorted)),
    "range: tag": (YEAR, lambda a: bool(a.headers["ETag"])),
    "range: against a base": (f"{YEAR}?base=USD", each_day(lambda rates: "USD" not in rates)),
    "range: sorted with a base": (f"{YEAR}?base=USD", each_day(is_sorted)),
    "range: only symbols": (f"{YEAR}?symbols=USD,GBP,JPY", each_day(lambda r: "USD" in r and "CAD" not in r)),
    "range: sorted symbols": (f"{YEAR}?symbols=USD,GBP,JPY", each_day(is_sorted)),
    "range: amount": (f"{YEAR}?amount=100", each_day(lambda rates: rates["USD"] > 10)),
    # edge_cases_spec
    "no such address": ("foo v1/foo", is_status(404)),
    "invalid date": ("v1/2010-31-01", is_status(422)),
    "amount of nothing": ("v1/latest?amount=0&from=USD&to=EUR", is_status(422)),
    "before the first day": ("v1/1992-06-30", is_status(404)),
    "base that is not set": ("v1/latest?base=ILS", is_status(404)),
    "malformed query": ("v1/latest?base=USD?callback=?", is_status(404)),
    "no outdated day": ("v1/latest", lambda a: a.json["date"] == "2026-04-24"),
    "circular": ("v1/latest?from=EUR&to=EUR v1/latest?from=USD&to=USD", is_status(422)),
    # app_spec
    "root": ("", lambda a: [v["status"] for v in a.json["versions"].values()] == ["frozen", "current"]),
    "about v1": ("v1", lambda a: (a.json["version"], a.json["status"]) == ("v1", "frozen") and bool(a.json["openapi"])),
    "CORS": (f"v1/latest {DAY}", lambda a: a.headers["Access-Control-Allow-Origin"] == "*"),
    "errors are not kept": ("v1/1000-01-01 v1/foo", lambda a: a.headers["Cache-Control"] == "no-store"),
}

RANGE, LONG = "from=2026-03-14&to=2026-04-10", "from=2026-03-14&to=2026-04-24"
V2: dict[str, Check] = {
    # v2_spec, without pegs, blends and deadlines
    "latest": ("rates", lambda a: ok(a) and a.all("base")[0] == "EUR"),
    "date": ("rates?date=2026-04-16", lambda a: {*a.all("date")} == {"2026-04-16"}),
    "weekend": ("rates?date=2026-04-19", lambda a: {*a.all("date")} == {"2026-04-18"}),
    "range": (f"rates?{RANGE}", lambda a: len({*a.all("date")}) > 1),
    "sorted by date": (f"rates?{LONG} rates?{LONG}&group=week", lambda a: is_sorted(a.all("date"))),
    "no double": ("rates?quotes=USD&providers=cbr&from=2026-04-13&to=2026-04-16", Answered.has_no_double),
    "no double in NDJSON": (f"ndjson/rates?quotes=USD&{RANGE}", Answered.has_no_double),
    "no double in CSV": (f"rates.csv?quotes=USD&{RANGE}", Answered.has_no_double),
    "base": ("rates?base=USD", lambda a: {*a.all("base")} == {"USD"} and all(type(r) is float for r in a.all("rate"))),
    "quotes": ("rates?quotes=USD,GBP", lambda a: a.all("quote") == ["GBP", "USD"]),
    "base itself": (
        "rates rates?quotes=EUR,USD",
        lambda a: ["EUR", 1.0] in [[r["quote"], r["rate"]] for r in a.records],
    ),
    "base itself on each day": (
        f"rates?quotes=EUR,USD&{RANGE}",
        lambda a: a.all("quote").count("EUR") == len(a.records) / 2,
    ),
    "base itself has no provider": (
        "rates?expand=providers&quotes=EUR,USD",
        lambda a: ["providers" in record for record in a.records] == [False, True],
    ),
    "pair with itself": (
        "rate/USD/USD",
        lambda a: (a.json["base"], a.json["quote"], a.json["rate"]) == ("USD", "USD", 1.0),
    ),
    "provider": ("rates?providers=cbr rates?providers=ecb,cbr", lambda a: len(a.records) > 2),
    "week": (f"rates?{LONG}&group=week", lambda a: len({*a.all("date")}) == 7),
    "month": (f"rates?{LONG}&group=month", lambda a: {*a.all("date")} == {"2026-03-01", "2026-04-01"}),
    "invalid group": (f"rates?{RANGE}&group=day", is_status(422, "invalid group")),
    "conflict": ("rates?date=2026-04-16&from=2026-04-01", is_status(422, "conflicting params")),
    "invalid date": ("rates?date=not-a-date", is_status(422, "invalid date")),
    "ETag of a range": (f"rates?{RANGE}", lambda a: bool(a.headers["ETag"])),
    "stale rates in caches": (
        f"rates?{RANGE}",
        lambda a: all(
            word in a.headers["Cache-Control"] for word in ("public", "stale-while-revalidate", "stale-if-error")
        ),
    ),
    "short caching up to today": (
        "rates rates?from=2026-04-01 rates?to=2026-04-01",
        lambda a: "max-age=60," in a.headers["Cache-Control"],
    ),
    "a day's caching of a past day": ("rates?date=2026-04-16", lambda a: "max-age=86400" in a.headers["Cache-Control"]),
    "unknown parameter": ("rates?provider=ecb", is_status(422, "unknown parameter: provider")),
    "CSV": ("rates.csv", lambda a: [*a.records[0]] == ["date", "base", "quote", "rate"] and len(a.records) > 1),
    "CSV by its header": ("csv/rates", lambda a: a.headers["Content-Type"] == "text/csv"),
    "expand": (
        "rates?expand=providers&quotes=USD",
        lambda a: [*a.records[0]["providers"][0]] == ["key", "date", "rate"],
    ),
    "expand in CSV": (
        "rates.csv?expand=providers&quotes=USD",
        lambda a: a.records[0]["providers"].startswith("CBR:1."),
    ),
    "unknown expansion": ("rates?expand=foo", is_status(422, "invalid expand")),
    "no CSV elsewhere": ("currencies.csv", is_status(406)),
    "before the first day": ("rates?date=1901-01-01", lambda a: a.json == []),
    "currencies": (
        "currencies?scope=all",
        lambda a: next([c["symbol"], c["iso_numeric"]] for c in a.json if c["iso_code"] == "USD") == ["$", "840"],
    ),
    "one currency": ("currency/usd", lambda a: (a.json["iso_code"], a.json["providers"]) == ("USD", ["CBR"])),
    "unknown currency": ("currency/xyz", is_status(404)),
    "currencies of a provider": (
        "currencies?providers=cbr",
        lambda a: {"USD", "RUB"} <= {c["iso_code"] for c in a.json},
    ),
    "pair": (
        "rate/EUR/USD rate/eur/usd rate/EUR/USD?providers=CBR",
        lambda a: (a.json["base"], a.json["quote"]) == ("EUR", "USD"),
    ),
    "pair and other quotes": ("rate/USD/RUB?quotes=EUR", lambda a: a.json["quote"] == "RUB"),
    "pair of several": ("rate/USD/RUB,EUR", is_status(422, "invalid currency: RUB,EUR")),
    "pair on a day": ("rate/EUR/USD?date=2026-04-16", lambda a: a.json["date"] == "2026-04-16"),
    "unknown pair": ("rate/EUR/XYZ", is_status(422, "invalid currency: XYZ")),
    "Vary of NDJSON": ("ndjson/rates", lambda a: "Accept" in a.headers["Vary"].split(", ")),
    "CSV before NDJSON": ("ndjson/rates.csv", lambda a: a.headers["Content-Type"].startswith("text/csv")),
    "NDJSON": (
        f"ndjson/rates ndjson/rates?{RANGE}",
        lambda a: a.headers["Content-Type"].endswith("ndjson") and len(a.records) > 1,
    ),
    "sorted by quote": ("rates", lambda a: is_sorted(a.all("quote"))),
    "providers": (
        "providers",
        lambda a: a.json[0]["start_date"] < a.json[0]["end_date"] and "USD" in a.json[0]["currencies"],
    ),
    "about the provider": (
        "providers",
        lambda a: (
            [a.json[0][name] for name in ("rate_type", "pivot_currency", "country_code", "publish_cadence")]
            == ["official rate", "RUB", "RU", "daily"]
        ),
    ),
    "missed publications": ("providers", lambda a: a.json[0]["publishes_missed"] == 0),
    "other providers": ("rates?providers=ecb", lambda a: a.json == []),
    # v2/rate_query_spec
    "invalid currencies": ("rates?base=FOO&quotes=BAR", is_status(422, "FOO", "BAR")),
    "silent start": (
        "rates?from=2026-04-19&to=2026-04-21&quotes=USD",
        lambda a: a.all("date") == ["2026-04-18", "2026-04-21"],
    ),
    "silent range": ("rates?from=2026-04-19&to=2026-04-20&quotes=USD", lambda a: a.all("date") == ["2026-04-18"]),
    "expanded week": (
        f"rates?{LONG}&group=week&quotes=USD&expand=providers",
        lambda a: bool(a.records[0]["providers"]),
    ),
    # app_spec
    "about v2": ("", lambda a: (a.json["version"], a.json["status"]) == ("v2", "current")),
    "errors are not kept": (
        "rates?date=not-a-date currency/xyz currencies.csv foo",
        lambda a: a.headers["Cache-Control"] == "no-store" and a.json["status"] == a.status,
    ),
}


@pytest.fixture
async def served(bank: Bank, settings: Settings, serve: Serve) -> AsyncIterator[Served]:
    """All of history on Friday 24 April 2026."""
    bank.publish(*map(sheet, OLD + DAYS))
    async with serve(unhurried(settings)) as running:
        await eventually(lambda: running.service.history.coverage)
        yield running


async def failed(served: Served, checks: Mapping[str, Check], prefix: str) -> set[str]:
    """The checks that do not hold. csv/ or ndjson/ before a path stands for the header Accept."""
    found = set()
    for name, (paths, holds) in checks.items():
        for path in paths.split(" "):
            way, _, rest = path.partition("/")
            address = f"{prefix}/{rest if way in ACCEPT else path}".rstrip("/")
            answer = Answered(*await served.get(address, Accept=ACCEPT.get(way, "*/*")))
            try:
                is_held = holds(answer)
            except (KeyError, ValueError, IndexError, TypeError, StopIteration):
                is_held = False
            found |= set() if is_held else {name}
    return found


async def test_v1_as_its_specs_say(served: Served) -> None:
    """Another check does not hold: without data the original has no currencies. Here every address answers 503."""
    assert await failed(served, V1, "/frankfurter") == set()


async def test_v2_as_its_specs_say(served: Served) -> None:
    """All checks but those of pegs, of blends of several providers, and of deadlines."""
    assert await failed(served, V2, "/frankfurter/v2") == set()


RECORD: dict[str, type] = {"date": str, "base": str, "quote": str, "rate": float}
CURRENCY: dict[str, type] = {
    "iso_code": str,
    "iso_numeric": str,
    "name": str,
    "symbol": str,
    "start_date": str,
    "end_date": str,
}
PROVIDER: dict[str, type] = {
    **dict.fromkeys(("key", "name", "country_code", "rate_type", "pivot_currency", "data_url", "terms_url"), str),
    "start_date": str,
    "end_date": str,
    "publish_cadence": str,
    "publishes_missed": int,
    "currencies": list,
}


SHAPES = {
    "rates": RECORD,
    "rates?expand=providers&quotes=USD": {**RECORD, "providers": list},
    f"rates?{RANGE}&group=month&quotes=RUB": RECORD,
    "providers/cbr/rates": RECORD,
    "rate/USD/RUB": RECORD,
    "currencies?scope=all": CURRENCY,
    "currency/USD": {**CURRENCY, "providers": list},
    "providers": PROVIDER,
}


async def test_the_documents_of_v2_have_the_keys_order_and_types_of_the_original(served: Served) -> None:
    """Those of lib/versions/v2.rb and lib/currency.rb, and of the examples in lib/public/v2/openapi.json."""
    for path, shape in SHAPES.items():
        found = Answered(*await served.get(f"/frankfurter/v2/{path}")).json
        for one in found if isinstance(found, list) else [found]:
            # Not every currency has a symbol of its own.
            kinds = [(name, str if value is None else type(value)) for name, value in one.items()]
            assert kinds == list(shape.items()), path


async def test_in_the_evening_v2_has_tomorrows_rates_unless_a_day_is_given(
    bank: Bank, served: Served, clock: Clock
) -> None:
    """As the original. A range without an end goes up to today."""
    bank.publish(sheet(date(2026, 4, 25)))
    clock.advance(hours=6)
    await served.service.refresh()
    await eventually(lambda: served.service.history.of_date(date(2026, 4, 25)))
    for query, days in (
        ("", ["2026-04-25"]),
        ("&date=2026-04-24", ["2026-04-24"]),
        ("&from=2026-04-24", ["2026-04-24"]),
    ):
        answer = Answered(*await served.get(f"/frankfurter/v2/rates?quotes=USD{query}"))
        assert answer.all("date") == days, query


async def test_a_day_to_come_is_answered_up_to_two_weeks_after_the_newest_sheet(served: Served) -> None:
    """As the original, under the date of that sheet; later days are not found."""
    for day, expected in (("2026-05-08", 200), ("2026-05-09", 404)):
        for path in (f"v1/{day}", f"v2/rates?date={day}", f"v2/rate/EUR/USD?date={day}"):
            answer = Answered(*await served.get(f"/frankfurter/{path}"))
            assert (answer.status, b"2026-04-24" in answer.body) == (expected, expected == 200), path


async def test_a_range_of_days_to_come_is_no_empty_list(served: Served) -> None:
    """It is refused, also by week or month. A range that ends before it begins is empty, as in the original."""
    for query, expected in (
        ("from=2026-04-27", 404),
        ("from=2026-04-27&group=month", 404),
        ("from=2026-04-24&to=2026-04-23", 200),
    ):
        answer = Answered(*await served.get(f"/frankfurter/v2/rates?{query}"))
        assert (answer.status, answer.body == b"[]") == (expected, expected == 200), query


async def test_no_mean_mixes_old_and_new_roubles(served: Served) -> None:
    """The week of 1 January 1998 has two records."""
    query = "base=USD&quotes=RUB&group=week&from=1997-12-31&to=1997-12-31"
    answer = Answered(*await served.get(f"/frankfurter/v2/rates?{query}"))
    old, new = (float(sheet(day).by_code["USD"].value) for day in OLD[1:])
    assert [(one["date"], one["rate"]) for one in answer.records] == [("1997-12-29", old), ("1998-01-01", new)]


@pytest.mark.parametrize("path", ["v1/1990-01-01..?to=USD", "v2/rates?from=1990-01-01&quotes=USD"])
async def test_a_range_may_begin_before_the_first_sheet(path: str, served: Served) -> None:
    """The first rate is that of the first sheet, as in the original."""
    answer = Answered(*await served.get(f"/frankfurter/{path}"))
    assert (answer.status, b'"1992-07-01"' in answer.body) == (200, True)
