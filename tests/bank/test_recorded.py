"""The parser and the answers over documents that the Bank, its firewall and another bank really sent."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from conftest import Clock, Serve
from kit.bank import Bank
from kit.recorded import FOLDER, documents

from ratesvc.bank import xml
from ratesvc.bank.admission import check_sheet
from ratesvc.bank.xml import parse_daily, parse_dynamic
from ratesvc.domain.rates import Quote
from ratesvc.domain.workdays import WorkCalendar
from ratesvc.errors import BadDocument

DAYS = sorted(documents())
CALENDAR = WorkCalendar()


ORIGINALS = FOLDER / "documents"
ENGLISH = ORIGINALS / "2023-03-16.en.xml"
DAILY = sorted(ORIGINALS.glob("????-??-??.xml"))
REASONS = {
    "antibot_fragment_2022-02-27.html": "html",
    "declared_cp1251_body_utf8.xml": "encoding",
    "dynamic_empty_range.xml": "structure",
    "error_in_parameters_crlf.xml": "parameters",
    "national_bank_of_moldova_2018-02-13.xml": "encoding",
    "truncated.xml": "malformed",
}
"""Why each of the others is refused."""
SERIES = ORIGINALS / "R01235_2026-03-01_2026-03-05.xml"


def printed(raw: bytes) -> dict[str, tuple[str, str, str, str]]:
    """An independent reading, by regular expression: code → number, id, nominal, value as printed."""
    text = raw.decode("windows-1251")
    row = re.compile(
        r'<Valute ID="(.+?)">\s*<NumCode>(.+?)</NumCode>\s*<CharCode>(.+?)</CharCode>\s*'
        r"<Nominal>(.+?)</Nominal>\s*<Name>.+?</Name>\s*<Value>(.+?)</Value>"
    )
    return {code: (number, cbr_id, nominal, value) for cbr_id, number, code, nominal, value in row.findall(text)}


@pytest.mark.parametrize("day", DAYS, ids=str)
async def test_a_recorded_sheet_comes_out_exact_to_the_last_digit(
    day: date, bank: Bank, serve: Serve, clock: Clock
) -> None:
    """When it is the Bank's newest, /v1/rates has every nominal, value and unit rate of the document.

    So has each day until the next sheet, as Sunday and Monday have Saturday's; the day of the next is not yet set.
    """
    bank.documents[day] = documents()[day]
    clock.moment = datetime.combine(day, time(9), UTC)
    following = CALENDAR.effective_date_after(day)
    async with serve() as running:
        await running.ready()
        body = (await running.get("/v1/rates"))[2].decode()
        for later in range((following - day).days):
            answer = (await running.get(f"/v1/rates/{day + timedelta(days=later)}"))[2]
            assert json.loads(answer)["effective_date"] == str(day)
        status, _, answer = await running.get(f"/v1/rates/{following}")
        assert (status, json.loads(answer)["type"]) == (404, "urn:ratesvc:not_yet_set")
    document = json.loads(body, parse_float=Decimal, parse_int=Decimal)
    assert document["effective_date"] == str(day)
    rows, expected = document["rates"], printed(documents()[day])
    assert rows.keys() == expected.keys()
    for code, (number, cbr_id, nominal, value) in expected.items():
        row = rows[code]
        assert (row["numeric_code"], row["cbr_id"], str(row["nominal"])) == (number, cbr_id, nominal)
        assert f'"nominal":{nominal},"value":{value.replace(",", ".")},"unit_rate":' in body
        assert row["unit_rate"] * int(nominal) == row["value"]
    assert not re.search(r"\d[eE][-+]?\d", body)


def test_the_days_of_the_tests_are_the_banks() -> None:
    """Byte for byte, but for blanks between the elements of 2013: so other tests may make documents of figures."""
    assert len(DAILY) == 4
    for path in DAILY:
        made, original = documents()[date.fromisoformat(path.stem)], path.read_bytes()
        assert made.split() == original.split() if path.stem < "2014" else made == original


@pytest.mark.parametrize("path", [*DAILY, ENGLISH], ids=lambda path: path.stem)
def test_every_original_is_read_exactly(path: Path) -> None:
    """Every figure as printed, within the rules, and written as the Bank does today."""
    raw = path.read_bytes()
    sheet = parse_daily(raw)
    check_sheet(sheet, today=sheet.effective_date)
    assert {
        one.code: (one.numeric_code, one.cbr_id, str(one.nominal), f"{one.value:.4f}".replace(".", ","))
        for one in sheet.quotes
    } == printed(raw)
    assert xml.write_daily(sheet) == raw or path.stem != "2026-04-25"


def test_every_broken_original_is_refused_with_its_own_reason() -> None:
    """No document is left out."""
    assert {one.name for one in ORIGINALS.iterdir()} - REASONS.keys() == {one.name for one in (*DAILY, ENGLISH, SERIES)}
    for name, reason in REASONS.items():
        with pytest.raises(BadDocument) as caught:
            parse_daily((ORIGINALS / name).read_bytes())
        assert (name, caught.value.reason) == (name, reason)


def test_our_writing_of_a_series_is_the_banks() -> None:
    """Byte for byte."""
    cbr_id, since, until = SERIES.stem.split("_")
    days = date.fromisoformat(since), date.fromisoformat(until)
    raw = SERIES.read_bytes()
    records = parse_dynamic(raw, cbr_id, *days)
    quotes = [(one.effective_date, Quote("", "", cbr_id, one.nominal, one.value, "")) for one in records]
    assert len(quotes) == 3
    assert xml.write_dynamic(cbr_id, *days, quotes) == raw
