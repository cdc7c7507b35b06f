"""The parser and the answers over every recorded document, where the recordings lie beside the project."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from bank import Bank, sheet
from conftest import Clock, Serve, eventually, missing

from ratesvc.cbr.documents import parse_daily
from ratesvc.cbr.guards import check
from ratesvc.config import Settings
from ratesvc.errors import BadDocument
from ratesvc.render import bank_xml

RECORDED = Path(__file__).parents[2] / "shared" / "cbr"
DAILY = sorted(RECORDED.glob("daily/*.xml"))
ENGLISH = sorted(RECORDED.glob("daily_eng/*.xml"))
BROKEN = sorted(RECORDED.glob("broken/*"))

REASONS = {
    "antibot_constructed.html": "html",
    "antibot_fragment_2022-02-27.html": "html",
    "declared_cp1251_body_utf8.xml": "encoding",
    "declared_utf8_body_cp1251.xml": "encoding",
    "dynamic_empty_range.xml": "structure",
    "error_in_parameters.xml": "parameters",
    "error_in_parameters_crlf.xml": "parameters",
    "national_bank_of_moldova_2018-02-13.xml": "encoding",
    "truncated.xml": "malformed",
}


@pytest.fixture(autouse=True)
def recordings() -> None:
    if not DAILY:
        missing(f"the folder of recorded documents {RECORDED}")


def printed(raw: bytes) -> dict[str, tuple[str, str, str, str]]:
    """An independent reading, by regular expression: code → number, id, nominal, value as printed."""
    text = raw.decode("windows-1251")
    row = re.compile(
        r'<Valute ID="(.+?)">\s*<NumCode>(.+?)</NumCode>\s*<CharCode>(.+?)</CharCode>\s*'
        r"<Nominal>(.+?)</Nominal>\s*<Name>.+?</Name>\s*<Value>(.+?)</Value>"
    )
    return {code: (number, cbr_id, nominal, value) for cbr_id, number, code, nominal, value in row.findall(text)}


def test_all_of_it_is_here() -> None:
    """24 daily sheets, 3 English ones and 9 broken documents."""
    assert (len(DAILY), len(ENGLISH), len(BROKEN)) == (24, 3, 9)


@pytest.mark.parametrize("path", DAILY, ids=lambda path: path.stem)
async def test_a_recorded_sheet_comes_out_exact_to_the_last_digit(
    path: Path, bank: Bank, settings: Settings, serve: Serve, clock: Clock
) -> None:
    """When it is the Bank's newest, /v1/rates has every nominal, value and unit rate of the document."""
    effective, raw = date.fromisoformat(path.stem), path.read_bytes()
    bank.documents[effective] = raw
    clock.moment = datetime.combine(effective, time(9), UTC)
    async with serve(settings) as running:
        await running.ready()
        body = (await running.get("/v1/rates"))[2].decode()
    document = json.loads(body, parse_float=Decimal, parse_int=Decimal)
    assert document["effective_date"] == path.stem
    rows, expected = document["rates"], printed(raw)
    assert rows.keys() == expected.keys()
    for code, (number, cbr_id, nominal, value) in expected.items():
        row = rows[code]
        assert (row["numeric_code"], row["cbr_id"], str(row["nominal"])) == (number, cbr_id, nominal)
        assert f'"nominal":{nominal},"value":{value.replace(",", ".")},"unit_rate":' in body
        assert row["unit_rate"] * int(nominal) == row["value"]
    assert not re.search(r"\d[eE][-+]?\d", body)


async def test_iranian_rial_is_a_plain_number(bank: Bank, settings: Settings, serve: Serve, clock: Clock) -> None:
    """The Bank prints 5,39256E-05; JSON gets every digit without an exponent."""
    bank.documents[date(2026, 4, 25)] = (RECORDED / "daily" / "2026-04-25.xml").read_bytes()
    clock.moment = datetime(2026, 4, 25, 9, tzinfo=UTC)
    async with serve(settings) as running:
        await running.ready()
        assert b'"unit_rate":0.0000539256,' in (await running.get("/v1/rates"))[2]


@pytest.mark.parametrize(
    "path", [path for path in DAILY if date.fromisoformat(path.stem).weekday() == 5], ids=lambda p: p.stem
)
async def test_sunday_and_monday_answer_with_saturdays_recorded_sheet(
    path: Path, bank: Bank, settings: Settings, serve: Serve, clock: Clock
) -> None:
    """And the day after that is not yet set, with the time when it is expected."""
    saturday = date.fromisoformat(path.stem)
    bank.documents[saturday] = path.read_bytes()
    clock.moment = datetime.combine(saturday, time(9), UTC)
    async with serve(settings) as running:
        await running.ready()
        for days in (1, 2):
            body = (await running.get(f"/v1/rates/{saturday + timedelta(days=days)}"))[2]
            assert json.loads(body)["effective_date"] == path.stem
        status, _, body = await running.get(f"/v1/rates/{saturday + timedelta(days=3)}")
        assert (status, json.loads(body)["type"]) == (404, "urn:ratesvc:not_yet_set")


@pytest.mark.parametrize("path", BROKEN, ids=lambda path: path.name)
async def test_a_broken_document_is_refused_with_its_own_reason_and_changes_nothing(
    path: Path, bank: Bank, settings: Settings, serve: Serve
) -> None:
    """What was good stays on the Board, in memory and in Redis."""
    bank.publish(sheet(date(2026, 4, 23)), sheet(date(2026, 4, 24)))
    async with serve(settings) as running:
        await running.ready()
        await eventually(lambda: len(running.service.history) == 2)
        before = await running.get("/v1/rates")
        bank.documents = {date(2026, 4, 24): path.read_bytes()}
        cycle = await running.service.refresh()
        assert cycle.failure
        assert cycle.failure.kind == f"invalid:{REASONS[path.name]}"
        assert not cycle.accepted
        assert (await running.get("/v1/rates"))[2] == before[2]
        assert len(running.service.history) == 2


@pytest.mark.parametrize("path", [*DAILY, *ENGLISH], ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_recorded_sheet_passes_the_guards(path: Path) -> None:
    """Strict rules refuse none of the real sheets of 24 years."""
    parsed = parse_daily(path.read_bytes())
    check(parsed, today=parsed.effective_date)


@pytest.mark.parametrize("path", [path for path in DAILY if path.stem >= "2023-10"], ids=lambda path: path.stem)
def test_our_writing_of_the_banks_present_layout_is_the_banks(path: Path) -> None:
    """Byte for byte: what one ratesvc writes, a client of the Bank, or another ratesvc, reads."""
    raw = path.read_bytes()
    assert bank_xml.daily(parse_daily(raw)) == raw


def test_a_document_with_two_tables_is_refused() -> None:
    """A second row's worth of trust is not given to a document that repeats itself."""
    raw = DAILY[-1].read_bytes()
    with pytest.raises(BadDocument):
        parse_daily(raw + raw)
