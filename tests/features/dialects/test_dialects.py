"""The bytes of each dialect, and the rules for all of them."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from importlib import import_module
from zipfile import ZipFile

import pytest
from conftest import golden
from kit import cases
from kit.bank import sheet
from kit.dates import FRIDAY
from kit.dialects import (
    FETCHED,
    FILES,
    FRIDAYS,
    HISTORY,
    MONDAY_NOON,
    answer,
    content,
    dialect,
    exact,
    history,
    since_1992,
)

from ratesvc.domain.columns import Column, Coverage, Currency
from ratesvc.domain.history import History
from ratesvc.domain.rates import Revision
from ratesvc.domain.workdays import WorkCalendar
from ratesvc.errors import BeforeHistory, Busy, HistoryLoading, NoSheet, NotYetSet, RatesvcError, TooManyPoints
from ratesvc.features import dialects
from ratesvc.features.dialects import Content, Refused
from ratesvc.installed import DIALECTS
from ratesvc.service.backfill import USD

LONGEST = 400
TWO_IDS = (("R2", "TRY", "949", (21, 22)), ("R3", "TRY", "949", (22, 23)))


@pytest.mark.parametrize("file", FILES)
def test_golden(file: str) -> None:
    golden(f"dialects/{file}", content(file.partition("/")[0], FILES[file]))


def test_golden_answers_have_their_types_and_days() -> None:
    """The media type, and how long and by what caches may keep it."""
    answers = {file: answer(file.partition("/")[0], address) for file, address in FILES.items()}
    golden("dialects/answers.txt", "".join(f"{file}: {facts(one)}\n" for file, one in answers.items()))


def facts(found: Content) -> str:
    """What an answer says of itself."""
    days = {"since": found.since, "until": found.until}
    said = [f"{name} {day}" for name, day in days.items() if day != date.max]
    said += [f"{found.points} points"] * bool(found.points) + ["by Accept"] * found.by_accept
    return ", ".join([found.media, *said])


def decoded(body: bytes, media: str) -> str:
    text = body.decode(media.partition("charset=")[2] or "utf-8").rstrip("\n")
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… {len(text)} characters"


def replayed(name: str, line: str, held: History) -> str:
    """The answer to a line of cases.txt."""
    asked = re.fullmatch(r"GET (\S*)(?: at (\S+))?(?: as (\S+))?", line)
    assert asked, f"{line!r} is no «GET address», with «at a moment» or «as a media type» behind it"
    address, moment, accept = asked.groups()
    now = datetime.fromisoformat(moment) if moment else MONDAY_NOON
    try:
        found = answer(name, address, now, held, accept or "")
        said = f"200 {facts(found)}\n{decoded(found.write(), found.media)}"
    except RatesvcError as error:
        refusal = dialect(name).refuse(error)
        said = f"{refusal.status} {refusal.media}\n{decoded(refusal.content, refusal.media)}"
    return said


@pytest.mark.parametrize("name", DIALECTS)
def test_each_case_has_its_answer(name: str) -> None:
    """cases.txt of a dialect says what it answers, and why."""
    file, held = f"dialects/{name}/cases.txt", since_1992()
    cases.check(file, {line: replayed(name, line, held) for line in cases.questions(file)})


def errors() -> Iterator[tuple[str, RatesvcError]]:
    yield "no-sheet", NoSheet("No sheet of the Bank of Russia has been fetched yet.")
    yield "loading", HistoryLoading(date(2020, 3, 1))
    yield "not-yet-set", NotYetSet(date(2026, 4, 29), MONDAY_NOON)
    yield "before", BeforeHistory(date(1992, 6, 30))
    yield "too-many", TooManyPoints(55, 12_000, 75_000)
    yield "busy", Busy("Too many long answers are being rendered. Ask again in half a minute, or for less.")
    yield "nothing", Refused(404, "There is nothing at this address.")


@pytest.mark.parametrize("name", DIALECTS)
def test_an_error_in_the_words_of_each_dialect(name: str) -> None:
    """Status, type and bytes of errors that each of them may have; their own refusals are in cases.txt."""
    lines = []
    for what, error in errors():
        refusal = dialect(name).refuse(error)
        lines.append(f"{what}\n  {refusal.status} {refusal.media}\n  {decoded(refusal.content, refusal.media)}\n")
    golden(f"dialects/{name}/refusals.txt", "".join(lines))


def test_a_mean_of_cross_rates_is_rounded_once() -> None:
    """From the exact rates: 1/3 and 1/4 have the mean 0.29166…, and rounding each to ten digits first ends in …666."""
    found = History(WorkCalendar())
    columns = []
    for row, values in zip(FRIDAYS[:2], (("1", "1"), ("3", "4")), strict=True):
        column = Column(Currency(row.cbr_id or "", "", row.code, row.numeric_code or "", ""), FETCHED)
        for day, value in zip((1, 2), values, strict=True):
            column.put(date(2026, 4, day), 1, Decimal(value))
        columns.append(column)
    found.fill(columns, Coverage(date(2026, 4, 1), date(2026, 4, 2)))
    address = "/rates?from=2026-04-01&group=month&base=USD&quotes=EUR"
    (record,) = exact(content("frankfurter-v2", address, datetime(2026, 4, 2, 9, tzinfo=UTC), found))
    assert record["rate"] == "0.2916666667"


def test_of_two_ids_of_a_currency_the_earlier_counts_and_the_later_goes_on() -> None:
    """By day, as in /v1/series."""
    held, columns = History(WorkCalendar()), []
    for cbr_id, code, number, days in (("R1", "USD", "840", (21, 22, 23)), *TWO_IDS):
        column = Column(Currency(cbr_id, cbr_id, code, number, cbr_id), FETCHED)
        for day in days:
            column.put(date(2026, 4, day), 10, Decimal(cbr_id[1:]))
        columns.append(column)
    held.fill(columns, Coverage(date(2026, 4, 21), date(2026, 4, 23)))
    now = datetime(2026, 4, 23, 9, tzinfo=UTC)
    lira = exact(content("frankfurter-v2", "/currency/TRY", now, held))
    assert (lira["start_date"], lira["end_date"]) == ("2026-04-21", "2026-04-23")
    table = content("rbc", "/tsv/cb/949.tsv", now, held)
    assert table == b"20260421\t10\t2.0000\n20260422\t10\t2.0000\n20260423\t10\t3.0000\n"


def test_an_id_that_had_two_codes_stands_once_in_the_catalogue_and_is_one_series() -> None:
    """With its last code, as at the Bank."""
    dollar, lira = Currency("R1", "R1", "USD", "840", "R1"), Currency("R2", "R2", "TRY", "949", "R2")
    held, columns = History(WorkCalendar()), [Column(dollar, FETCHED), Column(lira, FETCHED)]
    for day, code in ((21, "TRL"), (22, "TRY"), (23, "TRL")):
        columns[0].put(date(2026, 4, day), 1, Decimal(1))
        columns[1].put(date(2026, 4, day), 1, Decimal(day), replace(lira, code=code))
    held.fill(columns, Coverage(date(2026, 4, 21), date(2026, 4, 23)))
    now = datetime(2026, 4, 23, 9, tzinfo=UTC)
    catalogue = content("cbr", "/scripts/XML_valFull.asp?d=0", now, held).decode("windows-1251")
    assert re.findall('ID="(..)".*?<ISO_Char_Code>(...)<', catalogue) == [("R1", "USD"), ("R2", "TRL")]
    address = "/scripts/XML_dynamic.asp?VAL_NM_RQ=R2&date_req1=21/04/2026&date_req2=23/04/2026"
    assert re.findall(b"<Value>(..),", content("cbr", address, now, held)) == [b"21", b"22", b"23"]


def test_a_catalogue_or_a_series_is_never_a_part_of_one() -> None:
    """A mirror would take a part for the whole while history is loaded, and a rate of last month for the one before."""
    part = History(WorkCalendar(), [Revision(sheet(FRIDAY), 1, FETCHED)])
    april = "start=2026-04-01&end=2026-04-29"
    for name, address in (
        ("cbr", "/scripts/XML_valFull.asp"),
        ("cbr-xml-daily", "/daily_json.js"),
        ("cbr", f"/scripts/XML_dynamic.asp?VAL_NM_RQ={USD}&date_req1=01/04/2026&date_req2=29/04/2026"),
        *(("ecb", f"/eurofxref-hist{rest}") for rest in (".csv", ".zip", ".xml", "-90d.xml")),
        ("rbc", "/tsv/cb/840.tsv"),
        ("frankfurter", "/v1/2026-04-01.."),
        *(("frankfurter-v2", f"/rates?from=2026-04-01{more}") for more in ("", "&group=week")),
        *(("openexchangerates", f"/api/time-series.json?{april}{more}") for more in ("", "&callback=f")),
    ):
        with pytest.raises(HistoryLoading):
            content(name, address, MONDAY_NOON, part)
    with pytest.raises(HistoryLoading):
        content("frankfurter", "/v1/2026-04-15..2026-04-15", MONDAY_NOON, history(date(2026, 4, 15)))


def test_a_month_of_v2_begins_with_the_sheet_that_is_announced() -> None:
    """On the last evening of April, the first of May has its mean."""
    held = since_1992()
    for day in range(28, 32):
        held.add(Revision(sheet(date(2026, 3, 31) + timedelta(day)), 1, FETCHED))
    address = "/rates?from=2026-04-28&to=2026-05-01&group=month&quotes=USD"
    told = exact(content("frankfurter-v2", address, datetime(2026, 4, 30, 15, tzinfo=UTC), held))
    assert [record["date"] for record in told] == ["2026-04-01", "2026-05-01"]


@pytest.mark.parametrize("parts", [1, 7])
def test_a_long_file_is_the_same_in_however_many_parts_it_is_made(parts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Newest first, as a reader of the first lines expects."""
    whole = content("ecb", "/eurofxref-hist.csv")
    monkeypatch.setattr("ratesvc.features.dialects.SHEETS_AT_ONCE", parts)
    assert content("ecb", "/eurofxref-hist.csv") == whole


def test_the_zip_holds_the_table_and_is_the_same_each_time() -> None:
    """So two replicas give one ETag."""
    packed = content("ecb", "/eurofxref-hist.zip")
    assert packed == content("ecb", "/eurofxref-hist.zip")
    with ZipFile(io.BytesIO(packed)) as archive:
        assert archive.namelist() == ["eurofxref-hist.csv"]
        assert archive.read("eurofxref-hist.csv") == content("ecb", "/eurofxref-hist.csv")


def test_the_small_zip_holds_todays_rates_in_two_lines() -> None:
    """The day in words, blanks after commas, and a comma at the end of each line, as the ECB writes them."""
    with ZipFile(io.BytesIO(content("ecb", "/eurofxref.zip"))) as archive:
        names, rates, *rest = archive.read("eurofxref.csv").decode().split("\n")
    assert names.startswith("Date, USD, JPY, AED, ")
    assert rates.startswith("25 April 2026, ")
    assert (names[-2:], rates[-2:], rest) == (", ", ", ", [""])
    days = re.findall("currency='([A-Z]+)' rate='([0-9.]+)'", content("ecb", "/eurofxref-daily.xml").decode())
    assert days == list(zip(names.split(", ")[1:-1], rates.split(", ")[1:-1], strict=True))


def test_the_file_of_90_days_holds_exactly_those() -> None:
    """The oldest line is of the first sheet that is at most 90 days old, and every line is in the long file, too."""
    held = History(WorkCalendar())
    days = [date(2025, 12, 1) + timedelta(n) for n in range(145)]
    column = next(iter(HISTORY.columns("USD"))).copy()
    for day in days:
        column.put(day, 1, Decimal(day.toordinal()).scaleb(-4))
    held.fill([column], Coverage(days[0], days[-1]))
    noon = datetime(2026, 4, 24, 9, tzinfo=UTC)
    long, short = (content("ecb", f"/eurofxref-{name}.xml?base=RUB", noon, held) for name in ("hist", "hist-90d"))
    first, *lines = re.findall(rb'<Cube time="(.*?)">', short)[::-1]
    assert (first, len(lines), lines[-1]) == (b"2026-01-24", 90, b"2026-04-24")
    assert set(short.splitlines()) < set(long.splitlines())


def test_a_callback_makes_a_script_of_every_answer() -> None:
    """Its name may have dots. cases.txt shows refusals as scripts."""
    for address in (address for file, address in FILES.items() if file.startswith("openexchangerates/")):
        more = "&callback=oxr.$done_1" if "?" in address else "?callback=oxr.$done_1"
        plain, script = (content("openexchangerates", one) for one in (address, address + more))
        assert script == b"oxr.$done_1(%b);" % plain


@pytest.mark.parametrize("name", DIALECTS)
def test_no_dialect_keeps_an_exception(name: str) -> None:
    """An exception that is raised again and again keeps the frames of every request."""
    room = import_module(f"ratesvc.features.dialects.{name.replace('-', '_')}")
    assert not [key for key, kept in {**vars(room), **vars(dialects)}.items() if isinstance(kept, BaseException)]
