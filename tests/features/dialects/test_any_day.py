"""Any day, any dialect: the rates of /v1 for that day, those of another day under its own date, or an error."""

from __future__ import annotations

import contextlib
import csv
import io
import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit.dialects import HISTORY, MONDAY_NOON, content, exact, history
from kit.documents import TABLE

from ratesvc.domain.history import History
from ratesvc.domain.in_force import on_day
from ratesvc.domain.rates import ONE
from ratesvc.domain.workdays import moscow_day
from ratesvc.errors import RatesvcError
from ratesvc.features.dialects import Refused
from ratesvc.features.ranges.conversion import convert
from ratesvc.installed import DIALECTS

HELD_BACK = history(date(2026, 4, 15))
MOMENTS = [datetime(2026, 4, 24, 6, tzinfo=UTC), datetime(2026, 4, 24, 15, tzinfo=UTC), MONDAY_NOON]

Pair = tuple[str, str, str]
Fetch = Callable[[str], bytes]
"""The bytes at an address of the dialect."""
Found = tuple[date | None, list[Pair]]
"""The day that the answer says, if it says one, and the price of one unit of the first code in the second."""


def cbr(day: date, fetch: Fetch) -> Found:
    text = fetch(f"/scripts/XML_daily.asp?date_req={day:%d/%m/%Y}").decode("windows-1251")
    said = re.findall('Date="(..)[.](..)[.](....)"', text)[0]
    rows = re.findall("<CharCode>([A-Z]+)</.*?<VunitRate>(.+?)</", text)
    return date.fromisoformat("-".join(said[::-1])), [(code, "RUB", rate.replace(",", ".")) for code, rate in rows]


def cbr_xml_daily(day: date, fetch: Fetch) -> Found:
    document = exact(fetch(f"/archive/{day:%Y/%m/%d}/daily_json.js"))
    rows = document["Valute"].values()
    pairs = [(row["CharCode"], "RUB", str(Decimal(row["Value"]) / int(row["Nominal"]))) for row in rows]
    return date.fromisoformat(document["Date"][:10]), pairs


def ecb(day: date, fetch: Fetch) -> Found:
    """As its clients do: the last line up to the day."""
    names, *lines = csv.reader(io.StringIO(fetch("/eurofxref-hist.csv").decode()))
    line = next((line for line in lines if line[0] <= str(day)), None)
    if line is None:
        raise Refused(404, "no line")
    rates = zip(names[1:-1], line[1:-1], strict=True)
    return date.fromisoformat(line[0]), [("EUR", code, rate) for code, rate in rates if rate != "N/A"]


def frankfurter(day: date, fetch: Fetch) -> Found:
    document = exact(fetch(f"/v1/{day}"))
    pairs = [(document["base"], code, rate) for code, rate in document["rates"].items()]
    return date.fromisoformat(document["date"]), pairs


def frankfurter_v2(day: date, fetch: Fetch) -> Found:
    records = exact(fetch(f"/rates?date={day}"))
    if not records:
        raise Refused(404, "an empty list")
    return date.fromisoformat(records[0]["date"]), [(one["base"], one["quote"], one["rate"]) for one in records]


def openexchangerates(day: date, fetch: Fetch) -> Found:
    document = exact(fetch(f"/api/historical/{day}.json"))
    return None, [(document["base"], code, rate) for code, rate in document["rates"].items()]


def prebid(_: date, fetch: Fetch) -> Found:
    """It has no past days; its readers get today's rates under their date."""
    document = exact(fetch("/currency.json"))
    pairs = [(base, code, rate) for base, rates in document["conversions"].items() for code, rate in rates.items()]
    return date.fromisoformat(document["dataAsOf"][:10]), pairs


def rbc(day: date, fetch: Fetch) -> Found:
    pairs = []
    for row in TABLE:
        with contextlib.suppress(Refused):  # not every sheet has every currency
            nominal, value = fetch(f"/tsv/{row.numeric_code}/{day:%Y/%m/%d}.tsv").decode().split("\t")
            pairs.append((row.code, "RUB", str(Decimal(value) / int(nominal))))
    return None, pairs


_READERS = (cbr, cbr_xml_daily, ecb, frankfurter, frankfurter_v2, openexchangerates, prebid, rbc)
READERS: dict[str, Callable[[date, Fetch], Found]] = {one.__name__.replace("_", "-"): one for one in _READERS}


def test_each_dialect_has_a_reader() -> None:
    """A new one is held to the tests below, too."""
    assert [name for name in DIALECTS if name not in READERS] == [], "write a function that reads it, above READERS"


@pytest.mark.parametrize("name", READERS)
@given(
    day=st.dates(date(2026, 3, 10), date(2026, 5, 5)) | st.dates(date(1990, 1, 1)),
    now=st.sampled_from(MOMENTS),
    held=st.sampled_from([HISTORY, HELD_BACK]),
)
def test_a_rate_is_that_of_our_own_api_for_the_same_day(name: str, day: date, now: datetime, held: History) -> None:
    """With all of history, or while one day's sheet is not admitted; in the morning, in the evening, on a day off."""

    def fetch(address: str) -> bytes:
        return content(name, address, now, held)

    today = moscow_day(now)
    # These end with today, or have no other day.
    day = {"ecb": min(day, today), "prebid": today}.get(name, day)
    try:
        said, pairs = READERS[name](day, fetch)
    except RatesvcError:
        return
    answer = on_day(held, said or day, now)
    assert said in (None, answer.revision.effective_date)
    with contextlib.suppress(RatesvcError):
        assert answer.revision is on_day(held, day, now).revision
    assert pairs
    for base, code, rate in pairs:
        assert Decimal(rate) == convert(answer.revision.sheet, ONE, base, code).unit_rate, (base, code)
