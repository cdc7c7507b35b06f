"""The parser and the answers over every recorded document, where the recordings lie beside the project."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from bank import Bank, sheet
from conftest import RECORDED, Clock, Serve, eventually, recorded

from ratesvc.cbr.documents import parse_daily, parse_dynamic
from ratesvc.cbr.guards import check
from ratesvc.config import Settings
from ratesvc.errors import BadDocument
from ratesvc.history import History, snapshot
from ratesvc.rates import Quote, Revision, Sheet
from ratesvc.render import bank_xml
from ratesvc.render.dialects import Question
from ratesvc.render.dialects.cbr_xml_daily import DIALECT
from ratesvc.workdays import ONE_DAY, WorkCalendar

pytestmark = pytest.mark.usefixtures("recordings")

DAILY = recorded("daily/*.xml")
SATURDAYS = recorded("daily/*.xml", lambda path: date.fromisoformat(path.stem).weekday() == 5)
PRESENT_LAYOUT = recorded("daily/*.xml", lambda path: path.stem >= "2023-10")
ENGLISH = recorded("daily_eng/*.xml")
DYNAMIC = recorded("dynamic/*_2026-*.xml")
MIRRORED = recorded("mirror_json/*.js")
BROKEN = recorded("broken/*")

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


def printed(raw: bytes) -> dict[str, tuple[str, str, str, str]]:
    """An independent reading, by regular expression: code → number, id, nominal, value as printed."""
    text = raw.decode("windows-1251")
    row = re.compile(
        r'<Valute ID="(.+?)">\s*<NumCode>(.+?)</NumCode>\s*<CharCode>(.+?)</CharCode>\s*'
        r"<Nominal>(.+?)</Nominal>\s*<Name>.+?</Name>\s*<Value>(.+?)</Value>"
    )
    return {code: (number, cbr_id, nominal, value) for cbr_id, number, code, nominal, value in row.findall(text)}


def test_all_of_it_is_here() -> None:
    """24 daily sheets, 3 English ones, 9 broken documents, 54 series and 8 answers of cbr-xml-daily.ru."""
    assert (len(DAILY), len(ENGLISH), len(BROKEN), len(DYNAMIC), len(MIRRORED)) == (24, 3, 9, 54, 8)


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


@pytest.mark.parametrize("path", SATURDAYS, ids=lambda path: path.stem)
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


@pytest.mark.parametrize("path", PRESENT_LAYOUT, ids=lambda path: path.stem)
def test_our_writing_of_the_banks_present_layout_is_the_banks(path: Path) -> None:
    """Byte for byte: what one ratesvc writes, a client of the Bank, or another ratesvc, reads."""
    raw = path.read_bytes()
    assert bank_xml.daily(parse_daily(raw)) == raw


@pytest.mark.parametrize("path", DYNAMIC, ids=lambda path: path.stem)
def test_our_writing_of_a_series_is_the_banks(path: Path) -> None:
    """Byte for byte, every currency of March 2026."""
    cbr_id, since, until = path.stem.split("_")
    days = date.fromisoformat(since), date.fromisoformat(until)
    raw = path.read_bytes()
    records = parse_dynamic(raw, cbr_id, *days)
    quotes = [(one.effective_date, Quote("", "", cbr_id, one.nominal, one.value, "")) for one in records]
    assert bank_xml.dynamic(cbr_id, *days, quotes) == raw


@pytest.mark.parametrize("path", MIRRORED, ids=lambda path: path.stem)
def test_daily_json_is_what_its_original_said(path: Path) -> None:
    """The same keys in the same order, types and values, from the figures of the two sheets that it was made of."""
    original = json.loads(path.read_text("utf-8-sig"), parse_float=Decimal)
    day, before = (datetime.fromisoformat(original[name]).date() for name in ("Date", "PreviousDate"))
    learned = datetime.fromisoformat(original["Timestamp"])
    calendar = WorkCalendar(extra_work=(before - ONE_DAY, day - ONE_DAY))
    pair = [(before, "Previous"), (day, "Value")]
    history = History(calendar, [Revision(mirrored(original, on, key), 1, learned) for on, key in pair])
    now = datetime.combine(day, time(9), UTC)
    answer = DIALECT.routes["/daily_json.js"](Question(history, snapshot(history, now), "https://x.example", {}))
    ours = json.loads(answer.write(), parse_float=Decimal)
    assert ours.pop("PreviousURL") == f"//x.example/cbr-xml-daily/archive/{before:%Y/%m/%d}/daily_json.js"
    assert original.pop("PreviousURL") == f"//www.cbr-xml-daily.ru/archive/{before:%Y/%m/%d}/daily_json.js"
    assert (ours, flat(ours)) == (original, flat(original))
    dollar = ours["Valute"]["USD"]
    assert (dollar["Value"], dollar["Previous"]) == (exported_dollar(day), exported_dollar(before))


def exported_dollar(day: date) -> Decimal:
    """From the Bank's own export, which knows nothing of cbr-xml-daily.ru."""
    found = re.search(rf"^{day},1,([0-9.]+),", (RECORDED / "history" / "usd.csv").read_text("utf-8"), re.MULTILINE)
    assert found
    return Decimal(found[1])


def mirrored(original: dict[str, Any], day: date, key: str) -> Sheet:
    rows = original["Valute"].values()
    values = [Decimal(row[key]).quantize(Decimal("0.0001")) for row in rows]
    return Sheet(
        day,
        tuple(
            Quote(row["CharCode"], row["NumCode"], row["ID"], row["Nominal"], value, row["Name"])
            for row, value in zip(rows, values, strict=True)
        ),
    )


def flat(tree: Any) -> list[Any]:
    """Keys and types in their order."""
    return [(key, flat(value)) for key, value in tree.items()] if isinstance(tree, dict) else [isinstance(tree, str)]


def test_a_document_with_two_tables_is_refused() -> None:
    """A second row's worth of trust is not given to a document that repeats itself."""
    raw = DAILY[-1].read_bytes()
    with pytest.raises(BadDocument):
        parse_daily(raw + raw)
