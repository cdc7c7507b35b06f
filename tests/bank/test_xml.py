from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit import cases
from kit.documents import DAY, INDENTED, TABLE, UTF_8, Document, Layout, Row

from ratesvc.bank.xml import charset_of, parse_daily, unknown_parts, write_daily
from ratesvc.domain.rates import Quote, Sheet
from ratesvc.errors import BadDocument


def refused(raw: bytes | Document) -> str:
    """The reason for which the parser refuses."""
    with pytest.raises(BadDocument) as caught:
        parse_daily(bytes(raw))
    assert str(caught.value).startswith(f"{caught.value.reason}: ")
    assert "\n" not in str(caught.value)
    return caught.value.reason


def with_dollar(**changed: Any) -> Document:
    """The table with another dollar; without VunitRate, so that only one rule is at work."""
    rows = [dataclasses.replace(row, **{"unit": "", **changed}) if row.code == "USD" else row for row in TABLE]
    return Document(rows=tuple(rows), layout=Layout(unit=False))


def meant(rows: Sequence[Row]) -> tuple[Quote, ...]:
    """The quotes of these rows."""
    return tuple(
        Quote(
            code=row.code,
            numeric_code=row.numeric_code or "",
            cbr_id=row.cbr_id or "",
            nominal=int(row.nominal or ""),
            value=Decimal((row.value or "").replace(",", ".")),
            name=row.name or "",
        )
        for row in rows
    )


def rows_strategy() -> st.SearchStrategy[tuple[Row, ...]]:
    letters = st.text("АБВГДЕЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯабвгдежзийклмнопрстуфхцчшщъыьэюя ()&<>'\"", max_size=30)
    return st.lists(
        st.builds(
            Row,
            code=st.from_regex("[A-Z]{3}", fullmatch=True),
            numeric_code=st.from_regex("[0-9]{3}", fullmatch=True),
            cbr_id=st.from_regex("R[0-9]{5}[A-Z]?", fullmatch=True),
            nominal=st.integers(0, 8).map(lambda power: str(10**power)),
            value=st.integers(1, 10**13 - 1).map(lambda n: f"{n // 10000},{n % 10000:04d}"),
            name=letters.map(lambda text: f"Я{text}".strip()),
        ),
        min_size=1,
        max_size=8,
        unique_by=lambda row: row.cbr_id,
    ).map(tuple)


LAYOUT = st.builds(
    Layout,
    encoding=st.sampled_from(["windows-1251", "utf-8"]),
    newline=st.sampled_from(["", "\r\n", "\n"]),
    indent=st.sampled_from(["", "\t", "  "]),
    close=st.sampled_from(["", " "]),
    separator=st.sampled_from([".", "/"]),
    unit=st.booleans(),
    scientific=st.booleans(),
)


@given(rows_strategy(), st.dates(date(1992, 7, 1), date(2100, 1, 1)), LAYOUT)
def test_any_figures_in_any_layout_are_read_back_exactly(rows: tuple[Row, ...], day: date, layout: Layout) -> None:
    """Every digit, code, id, name and the order of the rows survive; our own writing is the Bank's, byte for byte."""
    sheet = Sheet(day, meant(rows))
    assert parse_daily(bytes(Document(rows=rows, day=day, layout=layout))) == sheet
    assert write_daily(sheet) == bytes(Document(rows=rows, day=day))


def test_a_sheet_is_written_with_other_names_in_the_banks_other_charset() -> None:
    """The charset is read back from the declaration; without one it is the Bank's usual one."""
    rows = [dataclasses.replace(row, name="Tenge") if row.code == "KZT" else row for row in TABLE]
    written = write_daily(Sheet(DAY, meant(TABLE)), {"KZT": "Tenge"}, "utf-8")
    assert written == bytes(Document(rows=tuple(rows), layout=Layout(encoding="utf-8")))
    charsets = [charset_of(raw) for raw in (written, ORIGINAL, b"<ValCurs/>")]
    assert charsets == ["utf-8", "windows-1251", "windows-1251"]


def figures(sheet: Sheet) -> list[tuple[int, Decimal]]:
    return [(quote.nominal, quote.value) for quote in sheet.quotes]


ORIGINAL = bytes(Document())
INDENTED_UNITS = bytes(Document(layout=dataclasses.replace(INDENTED, unit=True)))


@given(st.sampled_from([ORIGINAL, INDENTED_UNITS]), st.data())
def test_one_wrong_byte_never_changes_a_figure(raw: bytes, data: st.DataObject) -> None:
    """Changed, inserted or lost: with VunitRate to check against, a byte cannot turn one rate into another."""
    at = data.draw(st.integers(0, len(raw) - 1))
    byte = data.draw(st.binary(max_size=1))
    kept = data.draw(st.integers(0, 1))
    broken = raw[:at] + byte + raw[at + kept :]
    try:
        sheet = parse_daily(broken)
    except BadDocument:
        return
    assert figures(sheet) == figures(parse_daily(ORIGINAL))


@given(st.sampled_from([ORIGINAL, INDENTED_UNITS, bytes(Document(layout=UTF_8))]), st.data())
def test_a_truncated_document_is_refused(raw: bytes, data: st.DataObject) -> None:
    """The well-formed beginning of a table is never taken for the whole."""
    length = data.draw(st.integers(0, len(raw) - 1))
    with pytest.raises(BadDocument):
        parse_daily(raw[:length])


@given(st.lists(st.tuples(st.integers(0, len(ORIGINAL)), st.integers(0, 40), st.binary(max_size=12)), max_size=6))
def test_any_damage_gives_a_sheet_or_a_bad_document(damages: list[tuple[int, int, bytes]]) -> None:
    """Cut, overwritten and filled anywhere, the bytes never raise another exception."""
    raw = ORIGINAL
    for at, lost, put in damages:
        raw = raw[:at] + put + raw[at + lost :]
    try:
        parse_daily(raw)
    except BadDocument as error:
        assert error.reason  # noqa: PT017 -- that nothing else is raised is the point


FIELDS = {
    "CharCode": "code",
    "NumCode": "numeric_code",
    "ID": "cbr_id",
    "Nominal": "nominal",
    "Value": "value",
    "Name": "name",
    "VunitRate": "unit",
}


def unescaped(text: str) -> str:
    return re.sub(r"\\(?:[rnt]|u[0-9a-f]{4})", lambda match: match[0].encode("ascii").decode("unicode_escape"), text)


def read_with(field: str, text: str) -> str:
    """How a table is read whose dollar has this in a field, or whose date it is: the figures, or why it is refused."""
    given = None if text == "missing" else unescaped(text.strip("'"))
    document = Document(date=given, layout=UTF_8) if field == "Date" else with_dollar(**{FIELDS[field]: given})
    try:
        sheet = parse_daily(bytes(document))
    except BadDocument as error:
        return error.reason
    return str(sheet.effective_date if field == "Date" else sheet.by_code["USD"].value)


def told(question: str) -> str:
    """How the table is read in which the first text stands as the second: the same with unknown parts, or why not.

    `Value is 75 | 75,` asks for several texts of one field, which are all read, or refused, in the same way;
    `document => a | b` for whole documents, `charset a, declared b` for the table in another charset. `units of 4
    decimals: a => b` is about the table with rounded unit rates.
    """
    if match := re.fullmatch(r"charset (\S+), declared (\S+)", question):
        return read(Document().text.replace("windows-1251", match[2]).encode(match[1]))
    if match := re.fullmatch(r"units of (\d) decimals: (.*) => (.*)", question):
        rows = tuple(dataclasses.replace(row, unit=rounded_unit(row, int(match[1]))) for row in TABLE)
        return read(Document(rows=rows).text.replace(match[2], match[3]).encode("cp1251"))
    if " => " not in question:
        field, _, texts = question.partition(" is ")
        found = {text: read_with(field, text) for text in texts.split(" | ")}
        assert len({*found.values()}) == 1, found
        return found.popitem()[1]
    old, _, new = map(unescaped, question.partition(" => "))
    if old == "document":
        [reason] = {refused(text.strip("'").encode()) for text in new.split(" | ")}
        return reason
    text = Document().text
    assert old in text
    return read(text.replace(old, new).encode("cp1251"))


def rounded_unit(row: Row, places: int) -> str:
    return f"{Decimal((row.value or '').replace(',', '.')) / int(row.nominal or ''):.{places}f}".replace(".", ",")


def read(raw: bytes) -> str:
    """Whether the table is the same, with its unknown parts, or why it is refused."""
    try:
        is_same = parse_daily(raw) == parse_daily(ORIGINAL)
    except BadDocument as error:
        return str(error).partition(" (")[0]
    return " ".join(["the same" if is_same else "other figures", *unknown_parts(raw)])


def test_b20_a_document_has_one_meaning_or_is_refused() -> None:
    """Never mis-parsed. A document with an unknown part is a sheet, and its bytes are not repeated."""
    cases.check("xml.txt", {question: told(question) for question in cases.questions("xml.txt")})


def test_refusals_quote_little_and_nothing_unprintable() -> None:
    """The text goes to a log and a terminal: short, on one line, without control characters."""
    for raw in (b"\x1b[31m" + b"x" * 10_000, bytes(Document(date="\r\n" + "x" * 5000)), b"<html>\x07"):
        with pytest.raises(BadDocument) as caught:
            parse_daily(raw)
        assert len(str(caught.value)) < 250
        assert not re.search(r"[\x00-\x1f\x7f]", str(caught.value))
    with pytest.raises(BadDocument) as caught:
        parse_daily(bytes(Document(date="x" * 500)))
    assert str(caught.value) == f"date: '{'x' * 79} is not a date"


def test_b3_letters_that_both_charsets_have_do_not_hide_the_wrong_one() -> None:
    """Every byte of this UTF-8 is one of windows-1251 too, and means another letter there."""
    dollar_alone = Document(rows=tuple(row for row in TABLE if row.code == "USD"))
    raw = dollar_alone.text.encode()
    raw.decode("cp1251")
    assert refused(raw) == "encoding"
    assert refused(ORIGINAL.replace("Юань".encode("cp1251"), b"\x98")) == "encoding", "windows-1251 has no such byte"
    in_latin = Document(rows=tuple(dataclasses.replace(row, name="US Dollar") for row in TABLE))
    assert len(parse_daily(bytes(in_latin)).quotes) == len(TABLE)
