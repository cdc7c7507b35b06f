"""Figures → the Bank's bytes, in any layout it has used. Independent of ratesvc: nothing is shared but the figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from xml.sax.saxutils import escape, quoteattr


@dataclass(frozen=True)
class Row:
    """The texts of one <Valute>. `None` leaves a field out; a `unit` of None is computed, an empty one left out."""

    code: str
    numeric_code: str | None
    cbr_id: str | None
    nominal: str | None
    value: str | None
    name: str | None
    unit: str | None = None


@dataclass(frozen=True)
class Layout:
    """The layout of a document: `indent` and `newline` around every element, `close` before the declaration's ?>."""

    encoding: str = "windows-1251"
    newline: str = ""
    indent: str = ""
    close: str = ""
    separator: str = "."
    unit: bool = True
    scientific: bool = True


ONE_LINE = Layout()
"""Since 2023."""

INDENTED = Layout(newline="\r\n", indent="\t", close=" ", unit=False)
"""Until about 2017."""

UTF_8 = Layout(encoding="utf-8", unit=False)
"""As served from 4 to 7 March 2018."""

DAY = date(2026, 4, 25)

TABLE = (
    Row("GBP", "826", "R01035", "1", "102,0374", "Фунт стерлингов"),
    Row("AMD", "051", "R01060", "100", "20,3123", "Армянских драмов"),
    Row("BYN", "933", "R01090B", "1", "26,7960", "Белорусский рубль"),
    Row("VND", "704", "R01150", "10000", "30,0750", "Донгов"),
    Row("AED", "784", "R01230", "1", "20,5656", "Дирхам ОАЭ"),
    Row("USD", "840", "R01235", "1", "75,5273", "Доллар США"),
    Row("EUR", "978", "R01239", "1", "88,2826", "Евро"),
    Row("IRR", "364", "R01300", "1000000", "53,9256", "Иранских риалов"),
    Row("KZT", "398", "R01335", "100", "16,3172", "Тенге"),
    Row("CNY", "156", "R01375", "1", "11,0270", "Юань"),
    Row("XDR", "960", "R01589", "1", "103,3893", "СДР (специальные права заимствования)"),
    Row("TRY", "949", "R01700J", "10", "16,8386", "Турецких лир"),
    Row("UZS", "860", "R01717", "10000", "62,8322", "Узбекских сумов"),
    Row("JPY", "392", "R01820", "100", "47,2636", "Иен"),
)
"""Fourteen rows of the sheet of 25 April 2026."""


@dataclass(frozen=True)
class Document:
    """One XML_daily; every text in it can be overridden."""

    rows: tuple[Row, ...] = TABLE
    day: date = DAY
    layout: Layout = field(default=ONE_LINE)
    date: str | None = None
    name: str = "Foreign Currency Market"

    @property
    def text(self) -> str:
        """The document before it is encoded."""
        shape = self.layout
        declared = f'<?xml version="1.0" encoding="{shape.encoding}"{shape.close}?>'
        digits = (f"{self.day.day:02d}", f"{self.day.month:02d}", f"{self.day.year:04d}")
        date_text = shape.separator.join(digits) if self.date is None else self.date
        opening = f"<ValCurs Date={quoteattr(date_text)} name={quoteattr(self.name)}>"
        return shape.newline.join([declared, opening, *(_row(row, shape) for row in self.rows), "</ValCurs>"])

    def __bytes__(self) -> bytes:
        """As sent."""
        return self.text.encode(self.layout.encoding, "xmlcharrefreplace")


def _row(row: Row, shape: Layout) -> str:
    texts = {"NumCode": row.numeric_code, "CharCode": row.code, "Nominal": row.nominal, "Name": row.name}
    fields = {**texts, "Value": row.value, "VunitRate": _unit(row, shape)}
    inner = [f"<{tag}>{escape(text)}</{tag}>" for tag, text in fields.items() if text is not None]
    opening = "<Valute>" if row.cbr_id is None else f"<Valute ID={quoteattr(row.cbr_id)}>"
    lines = [opening, *(shape.indent + part for part in inner), "</Valute>"]
    return shape.newline.join(shape.indent + line for line in lines)


def _unit(row: Row, shape: Layout) -> str | None:
    """The printed value for one unit: 20,3123 for 100 is 0,203123. Below 0,0001 it has an exponent."""
    if row.unit is not None:
        return row.unit or None
    digits = (row.value or "").replace(",", "").replace("\u00a0", "")
    zeros = (row.nominal or "").removeprefix("1")
    if not shape.unit or not digits.isdecimal() or zeros.strip("0"):
        return None
    places = 4 + len(zeros)
    filled = digits.zfill(places + 1)
    whole, decimals = filled[:-places].lstrip("0") or "0", filled[-places:].rstrip("0")
    if shape.scientific and whole == "0" and decimals.startswith("0000"):
        first = len(decimals) - len(decimals.lstrip("0"))
        mantissa = decimals[first] + (f",{decimals[first + 1 :]}" if decimals[first + 1 :] else "")
        return f"{mantissa}E-{first + 1:02d}"
    return f"{whole},{decimals}" if decimals else whole


def day_of(text: str) -> date:
    """A day as a question has it: 25/04/2026."""
    return datetime.strptime(text, "%d/%m/%Y").date()  # noqa: DTZ007 -- a day, not a time


def series_document(query: Mapping[str, str], records: Mapping[date, tuple[int, str]]) -> bytes:
    """XML_dynamic: those of the nominals and values that the question is about."""
    cbr_id, since, until = query["VAL_NM_RQ"], day_of(query["date_req1"]), day_of(query["date_req2"])
    rows = "".join(
        f'<Record Date="{day:%d.%m.%Y}" Id="{cbr_id}"><Nominal>{nominal}</Nominal><Value>{value}</Value></Record>'
        for day, (nominal, value) in sorted(records.items())
        if since <= day <= until
    )
    head = f'ID="{cbr_id}" DateRange1="{since:%d.%m.%Y}" DateRange2="{until:%d.%m.%Y}"'
    return _document(f'<ValCurs {head} name="Foreign Currency Market Dynamic">{rows}</ValCurs>')


def catalogue_document(items: Iterable[tuple[str, str, str, str, str]]) -> bytes:
    """XML_valFull: every id with its parent, number, code and name, and one that has none."""
    rows = "".join(
        f'<Item ID="{cbr_id}"><Name>{escape(name)}</Name><EngName>{code}</EngName><Nominal>1</Nominal>'
        f"<ParentCode>{parent:<10}</ParentCode><ISO_Num_Code>{number.lstrip('0')}</ISO_Num_Code>"
        f"<ISO_Char_Code>{code}</ISO_Char_Code></Item>"
        for cbr_id, parent, number, code, name in items
    )
    nameless = (
        '<Item ID="R01436"><Name>Литовский талон</Name><EngName>Lithuanian talon</EngName><Nominal>1</Nominal>'
        "<ParentCode>R01435    </ParentCode><ISO_Num_Code></ISO_Num_Code><ISO_Char_Code></ISO_Char_Code></Item>"
    )
    return _document(f'<Valuta name="Foreign Currency Market Lib">{rows}{nameless}</Valuta>')


def _document(content: str) -> bytes:
    return f'<?xml version="1.0" encoding="windows-1251"?>{content}'.encode("windows-1251")
