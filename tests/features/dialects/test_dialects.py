"""The bytes of each dialect, and the rules for all of them."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zipfile import ZipFile

import pytest
from conftest import golden
from kit import cases
from kit.bank import sheet
from kit.dates import FRIDAY
from kit.dialects import FETCHED, FILES, MONDAY_NOON, answer, content, dialect, exact, history, since_1992

from ratesvc.domain.columns import Column, Currency
from ratesvc.domain.history import History
from ratesvc.domain.rates import Revision
from ratesvc.domain.settled import Settled
from ratesvc.domain.workdays import WorkCalendar
from ratesvc.errors import BeforeHistory, Busy, HistoryLoading, NoSheet, NotYetSet, RatesvcError, TooManyPoints
from ratesvc.features.dialects import Content, Refused
from ratesvc.installed import DIALECTS

LONGEST = 400
TYPES = "# A line: a golden file, its media type, and the days of its rates.\n"
REFUSALS = "# A line: an error. Below: the status, the media type, and the bytes.\n"
NUMBERS = {"USD": "840", "TRY": "949", "TRL": "792"}


@pytest.mark.parametrize("file", FILES)
def test_golden(file: str) -> None:
    golden(f"dialects/{file}", content(file.partition("/")[0], FILES[file]))


@pytest.mark.parametrize("name", DIALECTS)
def test_golden_files_name_the_original_that_they_follow(name: str) -> None:
    """With its day and commit, so that drift can be seen. Answers have no room for that, so cases.txt says it."""
    _, second, _ = cases.text(f"dialects/{name}/cases.txt").split("\n", 2)
    assert re.fullmatch(r"# Follows .+, 20\d\d-\d\d-\d\d, (commit [0-9a-f]{7}|no public source)\.", second)


def test_golden_answers_have_their_types_and_days() -> None:
    """The media type, and how long and by what caches may keep it."""
    answers = {file: answer(file.partition("/")[0], address) for file, address in FILES.items()}
    golden("dialects/answers.txt", "".join([TYPES, *(f"{file}: {facts(one)}\n" for file, one in answers.items())]))


def facts(found: Content) -> str:
    """What an answer says of itself."""
    days = {"since": found.since, "until": found.until}
    said = [f"{name} {day}" for name, day in days.items() if day != date.max]
    said += [f"{found.points} points"] * bool(found.points) + ["by Accept"] * found.by_accept
    return ", ".join([found.media, *said])


def decoded(body: bytes, media: str) -> str:
    """The text. That of a packed file with its name and time, which must be the same in each answer."""
    if media == "application/zip":
        [file] = (archive := ZipFile(io.BytesIO(body))).infolist()
        lines = decoded(archive.read(file), "text/csv").splitlines()
        return "\n".join([f"{file.filename} {file.date_time[:3]}", *map(repr, lines)])
    text = body.decode(media.partition("charset=")[2] or "utf-8").rstrip("\n")
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… {len(text)} characters"


def replayed(name: str, line: str, whole: History) -> str:
    """The answer to a line of cases.txt."""
    asked = re.fullmatch(
        r"GET (\S*)(?: at (\S+))?(?: as (\S+))?(?: while (loading|\S+ is held back|\S+ is set))?", line
    )
    assert asked, f"{line!r} is no «GET address», with «at a moment», «as a media type» or «while» behind it"
    address, moment, accept, state = asked.groups()
    held = holding(state) if state else whole
    now = datetime.fromisoformat(moment) if moment else MONDAY_NOON
    try:
        found = answer(name, address, now, held, accept or "")
        said = f"200 {facts(found)}\n{decoded(found.write(), found.media)}"
    except RatesvcError as error:
        status, media, body = dialect(name).refusal(error)
        said = f"{status} {media}\n{decoded(body, media)}"
    return said


def holding(state: str) -> History:
    """A history of one day while all others are fetched, one that lacks a day, or one that goes on until a day."""
    if state == "loading":
        held = History(WorkCalendar(), [Revision(sheet(FRIDAY), 1, FETCHED)])
        held.settle(Settled(FRIDAY, FRIDAY))
        return held
    day = date.fromisoformat(state.partition(" ")[0])
    if state.endswith("held back"):
        return history(day)
    held = since_1992()
    days = filter(held.calendar.is_effective_date, (day - timedelta(number) for number in range(7)))
    held.hold([Revision(sheet(later), 1, FETCHED) for later in days])
    return held


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
    lines = [REFUSALS]
    for what, error in errors():
        status, media, body = dialect(name).refusal(error)
        lines.append(f"{what}\n  {status} {media}\n  {decoded(body, media)}\n")
    golden(f"dialects/{name}/refusals.txt", "".join(lines))


def held_by_ids(**codes: str) -> History:
    """A history of three days; `R2="TRL TRY -"` is the code of an id on each of them. Its value is its own number."""
    held, columns = History(WorkCalendar()), []
    held.recorded_from = date(2026, 4, 21)
    for cbr_id, text in codes.items():
        of_days = text.split()
        column = Column(Currency(cbr_id, cbr_id, max(of_days), NUMBERS[max(of_days)], cbr_id), FETCHED)
        for day, code in enumerate(of_days, 21):
            if code != "-":
                currency = replace(column.currency, code=code)
                column.put(date(2026, 4, day), 10, Decimal(cbr_id[1:]), currency)
        columns.append(column)
    held.settle(Settled(date(2026, 4, 21), date(2026, 4, 23)), columns)
    return held


def test_of_two_ids_of_a_currency_the_earlier_counts_and_the_later_goes_on() -> None:
    """By day, as in /v1/series."""
    held, now = held_by_ids(R1="USD USD USD", R2="TRY TRY -", R3="- TRY TRY"), datetime(2026, 4, 23, 9, tzinfo=UTC)
    lira = exact(content("frankfurter-v2", "/currency/TRY", now, held))
    assert (lira["start_date"], lira["end_date"]) == ("2026-04-21", "2026-04-23")
    table = content("rbc", "/tsv/cb/949.tsv", now, held)
    assert table == b"20260421\t10\t2.0000\n20260422\t10\t2.0000\n20260423\t10\t3.0000\n"


def test_an_id_that_had_two_codes_stands_once_in_the_catalogue_and_is_one_series() -> None:
    """With its last code, as at the Bank."""
    held, now = held_by_ids(R1="USD USD USD", R2="TRL TRY TRL"), datetime(2026, 4, 23, 9, tzinfo=UTC)
    catalogue = content("cbr", "/scripts/XML_valFull.asp?d=0", now, held).decode("windows-1251")
    assert re.findall('ID="(..)".*?<ISO_Char_Code>(...)<', catalogue) == [("R1", "USD"), ("R2", "TRL")]
    address = "/scripts/XML_dynamic.asp?VAL_NM_RQ=R2&date_req1=21/04/2026&date_req2=23/04/2026"
    assert re.findall(b"<Value>(.),", content("cbr", address, now, held)) == [b"2", b"2", b"2"]


@pytest.mark.parametrize("parts", [1, 7])
def test_a_long_file_is_the_same_in_however_many_parts_it_is_made(parts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Newest first, as a reader of the first lines expects."""
    whole = content("ecb", "/eurofxref-hist.csv")
    monkeypatch.setattr("ratesvc.features.dialects.SHEETS_AT_ONCE", parts)
    assert content("ecb", "/eurofxref-hist.csv") == whole
