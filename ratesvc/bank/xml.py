"""Reads and writes the Bank's XML.

Reading is strict about figures, days, ids and completeness: a BadDocument says what is wrong with them. A change of
form that touches none of these is taken, and is named among the unknown parts.

Layout: https://www.cbr.ru/development/sxml/. Numbers have a decimal comma, and the declaration names the charset.
Writing uses the present layout: one line, windows-1251, VunitRate without trailing zeros.
"""

from __future__ import annotations

import re
import zlib
from codecs import BOM_UTF8
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Any
from xml.parsers.expat import ExpatError
from xml.sax.saxutils import escape, quoteattr

import xmltodict

from ratesvc.domain.columns import Currency
from ratesvc.domain.rates import EXACT, Quote, Revision, Sheet, plain, rounded
from ratesvc.errors import BadDocument

TABLE = "Foreign Currency Market"
ENCODING = "windows-1251"
ERROR = "Error in parameters"
UNKNOWN_PART = "unknown_part"

_DECLARATION = re.compile(rb"""<\?xml[^>]{0,100}?\bencoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")
_DAILY_PARTS = frozenset(
    ("@Date", "@name", "Valute", "@ID", "NumCode", "CharCode", "Nominal", "Name", "Value", "VunitRate")
)
_COMMENT, _INSTRUCTION = rb"<!--(?:(?!--).){0,1000}-->", rb"<\?(?:(?!\?>).){0,1000}\?>"
_BETWEEN = re.compile(rb"(?<=>)(?:\s*(?:%b|%b))+(?=\s*(?:<|\Z))" % (_COMMENT, _INSTRUCTION), re.DOTALL)
"""Comments and instructions that stand between elements, where they can be a part of no text."""
_MOST_BETWEEN = 100
_NAMESPACE = re.compile(rb"<[^\s<>/]*:[^\s<>/]*|\sxmlns\s*=")
"""An element of another namespace, whose scripts a browser would run if it shows the document."""
_CODECS = {"windows-1251": "cp1251", "utf-8": "utf-8"}

_DATE = re.compile(r"([0-9]{2})([./])([0-9]{2})\2([0-9]{4})")
_CBR_ID = re.compile(r"R[0-9]{5}[A-Z]?")
_CODE = re.compile(r"[A-Z]{3}")
_NUMERIC = re.compile(r"[0-9]{3}")
_SHORT = re.compile(r"[0-9]{1,3}")
_NOMINAL = re.compile(r"10{0,8}")
_VALUE = re.compile(r"[0-9]{1,9},[0-9]{4}")
_UNIT = re.compile(r"[0-9]{1,9}(?:,[0-9]{1,15})?(?:E-[0-9]{2})?")
_ROUNDED_BY = Decimal("0.00005")
_BLANKS = str.maketrans("", "", " \u00a0\u202f")


def parse_daily(raw: bytes) -> Sheet:
    """XML_daily: one sheet. Raises BadDocument."""
    return _read_daily(raw)[0]


def unknown_parts(raw: bytes) -> list[str]:
    """What this program does not know in a daily document, as VunitRate was in 2023, or knows in another form."""
    return sorted(_read_daily(raw)[1])


def _read_daily(raw: bytes) -> tuple[Sheet, set[str]]:
    root, unknown = root_of(raw, "ValCurs")
    rows = root.get("Valute")
    if not rows:
        raise BadDocument("structure", "the table has no rows")
    sheet = Sheet(parse_date(root.get("@Date")), tuple(map(_quote, rows)))
    if len({quote.cbr_id for quote in sheet.quotes}) < len(rows):
        raise BadDocument("duplicate", "two rows have the same ID")
    unknown |= {*root, *(name for row in rows for name in row)} - _DAILY_PARTS
    unknown |= {"@name"} if root.get("@name") != TABLE else set()
    unknown |= {"VunitRate"} if _has_rounded_units(rows, sheet.quotes) else set()
    return sheet, unknown


@dataclass(frozen=True, slots=True)
class Record:
    """One day of one currency id: `value` roubles for `nominal` units."""

    effective_date: date
    nominal: int
    value: Decimal


def parse_catalogue(raw: bytes) -> tuple[Currency, ...]:
    """XML_valFull: every currency id that the Bank has ever quoted. `code` is empty if an id has no ISO code.

    Raises BadDocument.
    """
    rows = root_of(raw, "Valuta")[0].get("Item")
    if not rows:
        raise BadDocument("structure", "the catalogue has no items")
    return tuple(_currency(row) for row in rows)


def parse_dynamic(raw: bytes, cbr_id: str, since: date, until: date) -> tuple[Record, ...]:
    """XML_dynamic: the days of one currency id, oldest first; there may be none. Raises BadDocument.

    The answer must name the id and the range of the request.
    """
    root, _ = root_of(raw, "ValCurs")
    if root.get("@ID") != cbr_id:
        raise BadDocument("structure", f"asked for {cbr_id}, answered {_shown(root.get('@ID'))}")
    if (parse_date(root.get("@DateRange1")), parse_date(root.get("@DateRange2"))) != (since, until):
        raise BadDocument("structure", f"another range than {since} to {until}")
    if "#text" in root:
        raise BadDocument("structure", "it has text beside its days")
    rows = root.get("Record") or ()
    records = tuple(_record(record, cbr_id) for record in rows)
    _has_rounded_units(rows, records)
    days = [record.effective_date for record in records]
    if days != sorted(set(days)):
        raise BadDocument("duplicate", "its days are not in order, each once")
    if days and not since <= days[0] <= days[-1] <= until:
        raise BadDocument("date", "a day lies outside of the range")
    return records


def with_document(revision: Revision, raw: bytes) -> Revision:
    """The revision of a daily document with its bytes, to repeat them to readers.

    It has a flag instead if the document has unknown parts, because nobody can say what these would do there.
    """
    if unknown_parts(raw):
        return replace(revision, flags=tuple(dict.fromkeys((*revision.flags, UNKNOWN_PART))))
    return replace(revision, document=zlib.compress(raw, 9))


def parse_date(text: object) -> date:
    """dd.mm.yyyy, or dd/mm/yyyy as the Bank served on 26.09.2013. Raises BadDocument."""
    match = _DATE.fullmatch(text) if isinstance(text, str) else None
    try:
        if match:
            return date(int(match[4]), int(match[3]), int(match[1]))
    except ValueError:
        pass
    raise BadDocument("date", f"{_shown(text)} is not a date")


def _quote(row: Any) -> Quote:
    name = _text(row, "Name")
    if "\ufffd" in name:
        raise BadDocument("encoding", "a name holds U+FFFD, the mark of a wrong charset")
    code, numeric_code = field_of(row, "CharCode", _CODE), field_of(row, "NumCode", _NUMERIC)
    return Quote(code, numeric_code, field_of(row, "@ID", _CBR_ID), *_amount(row), name)


def _record(record: Any, cbr_id: str) -> Record:
    if _text(record, "@Id") != cbr_id:
        raise BadDocument("row", f"a record is not of {cbr_id}")
    return Record(parse_date(record.get("@Date")), *_amount(record))


def _has_rounded_units(rows: Iterable[Any], amounts: Iterable[Quote | Record]) -> bool:
    """Whether a VunitRate is not exact. One that is present must fit; all may be rounded to four decimals.

    Raises BadDocument.
    """
    pairs = [pair for pair in zip(rows, amounts, strict=True) if "VunitRate" in pair[0]]
    units = [number_of(field_of(row, "VunitRate", _UNIT)) for row, _ in pairs]
    most = _ROUNDED_BY if all(unit == rounded(unit, places=4) for unit in units) else Decimal(0)
    errors = [
        abs(EXACT.subtract(EXACT.multiply(unit, Decimal(one.nominal)), one.value))
        for unit, (_, one) in zip(units, pairs, strict=True)
    ]
    for error, (row, one) in zip(errors, pairs, strict=True):
        if error > EXACT.multiply(most, Decimal(one.nominal)):
            raise BadDocument("unit", f"VunitRate {_shown(row['VunitRate'])} contradicts {one.value} for {one.nominal}")
    return any(errors)


def _amount(row: Any) -> tuple[int, Decimal]:
    """Nominal and value. A missing nominal is refused, never taken for 1."""
    nominal = int(field_of(row, "Nominal", _NOMINAL))
    # Series print thousands of the 1990s with a blank between.
    value = number_of(field_of(row, "Value", _VALUE, _BLANKS))
    if not value:
        raise BadDocument("row", "a Value is zero")
    return nominal, value


def number_of(text: str) -> Decimal:
    """A number with a decimal comma."""
    return Decimal(text.replace(",", "."))


def _currency(row: Any) -> Currency:
    cbr_id, parent_id = field_of(row, "@ID", _CBR_ID), _text(row, "ParentCode").strip()
    return Currency(
        cbr_id=cbr_id,
        parent_id=parent_id if _CBR_ID.fullmatch(parent_id) else cbr_id,
        code=field_of(row, "ISO_Char_Code", _CODE) if row.get("ISO_Char_Code") else "",
        # The catalogue drops leading zeros: 36 is 036.
        numeric_code=field_of(row, "ISO_Num_Code", _SHORT).zfill(3) if row.get("ISO_Num_Code") else "",
        name=_text(row, "Name"),
        english_name=_text(row, "EngName"),
    )


def field_of(row: Any, tag: str, pattern: re.Pattern[str], drop: Mapping[int, int | None] | None = None) -> str:
    """The text of an element or an @attribute, in which these characters do not count. Raises BadDocument."""
    text = _text(row, tag).translate(drop or {})
    if not pattern.fullmatch(text):
        raise BadDocument("row", f"{tag.removeprefix('@')} {_shown(text)} is not of the Bank's form")
    return text


def _text(row: Any, tag: str) -> str:
    # xmltodict gives text for a row without elements, None for an empty element, a list for a repeated one, and a dict
    # for one with attributes.
    text = row.get(tag) if isinstance(row, dict) else None
    if not isinstance(text, str):
        raise BadDocument("row", f"{tag.removeprefix('@')} is {'missing' if text is None else 'not plain text'}")
    return text


def root_of(raw: bytes, name: str) -> tuple[dict[str, Any], set[str]]:
    """The element of that name, and what else was there that is no element."""
    raw, unknown = _cleaned(raw)
    codec = _codec(raw)
    try:
        tree = xmltodict.parse(raw, encoding=codec, force_list=("Valute", "Record", "Item"))
    except (ExpatError, ValueError) as error:
        raise BadDocument("malformed", f"not well-formed XML ({error})") from None
    root = tree.get(name)
    text = root.get("#text") if isinstance(root, dict) else root
    if isinstance(text, str) and ERROR in text:
        raise BadDocument("parameters", f"the Bank answered «{ERROR}»")
    if isinstance(root, str):
        raise BadDocument("structure", "the table holds text instead of rows")
    if not isinstance(root, dict):
        raise BadDocument("structure" if name in tree else "root", f"there is no {name} with rows in it")
    return root, unknown


def _cleaned(raw: bytes) -> tuple[bytes, set[str]]:
    """The document without a byte order mark, comments and instructions between elements; and which it had."""
    plain = raw.removeprefix(BOM_UTF8)
    unknown = {"BOM"} if plain != raw else set[str]()
    if plain.count(b"<!") + plain.count(b"<?") <= _MOST_BETWEEN:
        gaps = b"".join(_BETWEEN.findall(plain))
        unknown |= {name for mark, name in ((b"<!", "comment"), (b"<?", "instruction")) if mark in gaps}
        plain = _BETWEEN.sub(b"", plain)
    return plain, unknown


def _codec(raw: bytes) -> str:
    start = raw[:400].lstrip().lower()
    if not start.startswith((b"<?xml", b"<valcurs", b"<valuta")):
        if b"<html" in raw[:4000].lower() or start.startswith((b"<!doctype html", b"<!--", b"<head", b"<body")):
            raise BadDocument("html", f"a web page instead of XML, beginning {_shown(raw[:60])}")
        raise BadDocument("structure", f"not XML, beginning {_shown(raw[:60])}")
    # Without a DTD there are no entities to expand or fetch. A comment in a figure would hide what it is.
    if b"<!" in raw or raw.count(b"<?") > 1:
        raise BadDocument("foreign", "it has a DOCTYPE or CDATA, or a comment or an instruction inside a text")
    if foreign := _NAMESPACE.search(raw):
        raise BadDocument("foreign", f"it has a namespace: {_shown(foreign[0])}")
    declared = _DECLARATION.match(raw.lstrip())
    name = declared[1].decode("ascii").lower() if declared else "nothing"
    codec = _CODECS.get(name)
    if codec is None:
        raise BadDocument("encoding", f"it declares {name}, neither windows-1251 nor utf-8")
    if not _is(raw, codec):
        raise BadDocument("encoding", f"its bytes are not the {name} that it declares")
    # Russian words in windows-1251 are practically never valid UTF-8: if all of it is, the declaration lies.
    if codec == "cp1251" and not raw.isascii() and _is(raw, "utf-8"):
        raise BadDocument("encoding", "declared windows-1251, but the bytes are UTF-8")
    return codec


def _is(raw: bytes, codec: str) -> bool:
    try:
        raw.decode(codec)
    except UnicodeDecodeError:
        return False
    return True


def _shown(text: object) -> str:
    """Untrusted text for a message: short and without control characters."""
    return repr(text)[:80]


# Writing


def charset_of(document: bytes) -> str:
    """The charset that a document declares: the Bank served UTF-8 for some days of 2018."""
    declared = _DECLARATION.match(document)
    return declared[1].decode() if declared else ENCODING


def write_daily(sheet: Sheet, names: Mapping[str, str] | None = None, encoding: str = ENCODING) -> bytes:
    """XML_daily of one sheet, in the order of its rows; `names` by code replace those of the sheet."""
    rows = "".join(_row(quote, (names or {}).get(quote.code, quote.name)) for quote in sheet.quotes)
    head = f'<ValCurs Date="{sheet.effective_date:%d.%m.%Y}" name="{TABLE}">'
    return document_of(f"{head}{rows}</ValCurs>", encoding)


def write_dynamic(cbr_id: str, since: date, until: date, quotes: Iterable[tuple[date, Quote]]) -> bytes:
    """XML_dynamic of one currency id over a closed range; it may have no records."""
    records = "".join(
        f'<Record Date="{day:%d.%m.%Y}" Id="{cbr_id}"><Nominal>{quote.nominal}</Nominal>{_value(quote)}</Record>'
        for day, quote in quotes
    )
    days = f'DateRange1="{since:%d.%m.%Y}" DateRange2="{until:%d.%m.%Y}"'
    head = f'<ValCurs ID={quoteattr(cbr_id)} {days} name="{TABLE} Dynamic">'
    return document_of(f"{head}{records}</ValCurs>")


def write_catalogue(currencies: Iterable[tuple[Currency, int]], *, full: bool = True) -> bytes:
    """Each currency id with its nominal: XML_valFull, or XML_val, which lacks the ISO codes."""
    items = "".join(
        f'<Item ID="{c.cbr_id}"><Name>{escape(c.name)}</Name><EngName>{escape(c.english_name)}</EngName>'
        f"<Nominal>{nominal}</Nominal><ParentCode>{c.parent_id:<10}</ParentCode>{_iso(c) if full else ''}</Item>"
        for c, nominal in currencies
    )
    return document_of(f'<Valuta name="Foreign Currency Market Lib">{items}</Valuta>')


def write_refusal(text: str = ERROR) -> bytes:
    """The Bank's answer to parameters that it does not understand; its status is 200."""
    return document_of(f"<ValCurs>{escape(text)}</ValCurs>")


def document_of(content: str, encoding: str = ENCODING) -> bytes:
    """A document of the Bank with this content."""
    return f'<?xml version="1.0" encoding="{encoding}"?>{content}'.encode(encoding, "xmlcharrefreplace")


def _row(quote: Quote, name: str) -> str:
    return (
        f'<Valute ID="{quote.cbr_id}"><NumCode>{quote.numeric_code}</NumCode><CharCode>{quote.code}</CharCode>'
        f"<Nominal>{quote.nominal}</Nominal><Name>{escape(name)}</Name>{_value(quote)}</Valute>"
    )


def _value(quote: Quote) -> str:
    return f"<Value>{plain(quote.value).replace('.', ',')}</Value><VunitRate>{_unit(quote.unit_rate)}</VunitRate>"


def _unit(rate: Decimal) -> str:
    """The unit rate as the Bank prints it: below 0.0001 in scientific notation (5,39256E-05)."""
    if rate >= Decimal("0.0001"):
        return plain(rate).replace(".", ",")
    exponent = rate.adjusted()
    return f"{plain(rate.scaleb(-exponent))}E-{-exponent:02d}".replace(".", ",")


def _iso(currency: Currency) -> str:
    number = f"<ISO_Num_Code>{int(currency.numeric_code)}</ISO_Num_Code>"
    return f"{number}<ISO_Char_Code>{currency.code}</ISO_Char_Code>"
