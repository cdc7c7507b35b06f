"""Fuzzing with atheris, guided by coverage: `make nightly ARGS=fuzzing SECONDS=60`, in a venv of its own.

`fuzz.py documents` feeds bytes to the parser of the Bank's daily documents, `fuzz.py dynamic` and `fuzz.py catalogue`
to those of its series and its catalogue, `fuzz.py query` strings to every reader of parameters. Whatever is not refused
by name is a find, and so is what is read otherwise than by the independent reader here.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import date, datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from urllib.parse import parse_qsl
from xml.dom.expatbuilder import parseString
from xml.dom.minidom import Element

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

import atheris  # noqa: E402 -- found beside the paths above

with atheris.instrument_imports(include=["ratesvc", "xmltodict"]):
    from multidict import MultiDict

    from ratesvc.bank.xml import DAILY, parse_catalogue, parse_daily, parse_dynamic
    from ratesvc.errors import BadDocument, BadRequest
    from ratesvc.features.rate.routes import typed_amount
    from ratesvc.features.widget.routes import WidgetParams
    from ratesvc.web.params import StrictParams

from kit.bank import daily_xml, sheet  # noqa: E402 -- after what is watched
from kit.documents import LAYOUTS  # noqa: E402

CORPUS = Path(__file__).parent / "corpus"
ASKED = "R01235"
SINCE, UNTIL = date(2026, 4, 1), date(2026, 4, 25)


def documents(content: bytes) -> None:
    """A document gives a sheet of positive rates, or BadDocument."""
    with suppress(BadDocument):
        found = parse_daily(content)
        assert all(quote.value > 0 and quote.nominal > 0 for quote in found.quotes)


def dynamic(content: bytes) -> None:
    """A series is the one that was asked for: its id, its range, its days in order each once, and its figures."""
    with suppress(BadDocument):
        found = parse_dynamic(content, ASKED, SINCE, UNTIL)
        root = _root(content)
        assert (root.getAttribute("name"), root.getAttribute("ID")) == (f"{DAILY} Dynamic", ASKED)
        assert [_day(root.getAttribute(f"DateRange{n}")) for n in (1, 2)] == [SINCE, UNTIL]
        days = [record.effective_date for record in found]
        assert all(one < other for one, other in pairwise(days))
        assert all(SINCE <= day <= UNTIL for day in days)
        rows = list(_children(root, "Record"))
        assert all(row.getAttribute("Id") == ASKED for row in rows)
        read = [(_day(row.getAttribute("Date")), int(_text(row, "Nominal")), _value(row)) for row in rows]
        assert read == [(record.effective_date, record.nominal, record.value) for record in found]
        units = [
            (_text(row, "VunitRate").replace(",", "."), nominal, value)
            for row, (_, nominal, value) in zip(rows, read, strict=True)
        ]
        assert all(Decimal(unit) * nominal == value for unit, nominal, value in units if unit)


def catalogue(content: bytes) -> None:
    """A catalogue has items, and each of them the id, the names and the codes that another reader finds."""
    with suppress(BadDocument):
        found = parse_catalogue(content)
        rows = list(_children(_root(content), "Item"))
        assert rows
        read = [(row.getAttribute("ID"), _text(row, "Name")) for row in rows]
        assert read == [(one.cbr_id, one.name.strip()) for one in found]
        # A parent that is no id is not written out to anybody: the currency is its own then.
        parents = [_text(row, "ParentCode") for row in rows]
        assert all(
            one.parent_id == (parent if re.fullmatch(r"R[0-9]{5}[A-Z]?", parent) else one.cbr_id)
            for parent, one in zip(parents, found, strict=True)
        )
        codes = [(_text(row, "ISO_Char_Code"), _text(row, "ISO_Num_Code")) for row in rows]
        assert [(code, number and number.zfill(3)) for code, number in codes] == [
            (one.code or "", one.numeric_code or "") for one in found
        ]


def query(content: bytes) -> None:
    """Parameters give values, or BadRequest; the lenient reader never refuses."""
    values = MultiDict(parse_qsl(content.decode("utf-8", "replace"), keep_blank_values=True))
    with suppress(BadRequest):
        strict = StrictParams(values, "/v1/rates/{date}")
        strict.codes(), strict.code("quote_currency"), strict.language()
    with suppress(BadRequest):
        StrictParams(values, "/v1/convert").text("amount"), StrictParams(values, "/v1/convert").text("date")
    with suppress(BadRequest):
        typed = StrictParams(values, "/rate")
        typed_amount(typed, typed.code("currency"), typed.language())
    with suppress(BadRequest):
        chart = StrictParams(values, "/chart.svg")
        assert chart.number("width") in range(320, 1601)
        assert chart.text("theme") in ("light", "dark", "auto")
    lenient = WidgetParams(values)
    lenient.view({"USD", "EUR"}), lenient.language(), lenient.look(), lenient.day()
    assert lenient.number("width", 5, range(9)) in range(9)


# Another reader, which shares nothing with ours but expat


def _root(content: bytes) -> Element:
    """Without the declaration, of which only the charset matters."""
    declaration, _, rest = content.partition(b"?>")
    charset = "cp1251" if b"windows-1251" in declaration.lower() else "utf-8"
    return parseString(rest.decode(charset).encode(), namespaces=False).documentElement  # noqa: S316 -- no DOCTYPE


def _children(parent: Element, name: str) -> Iterator[Element]:
    return (node for node in parent.childNodes if isinstance(node, Element) and node.tagName == name)


def _text(parent: Element, name: str) -> str:
    """The words of a field that stands once; comments are none."""
    found = list(_children(parent, name))
    assert len(found) < 2
    nodes = [node for field in found for node in field.childNodes]
    return "".join(node.data for node in nodes if node.nodeType in (node.TEXT_NODE, node.CDATA_SECTION_NODE)).strip()


def _day(text: str) -> date:
    return datetime.strptime(text.replace("/", "."), "%d.%m.%Y").date()  # noqa: DTZ007 -- a day, not a time


def _value(row: Element) -> Decimal:
    digits = "".join(character for character in _text(row, "Value") if not character.isspace())
    whole, _, decimals = digits.partition(",")
    return Decimal(int(whole + decimals)).scaleb(-len(decimals))


RECORD = (
    '<Record Date="{}.04.2026" Id="{}"><Nominal>1</Nominal><Value>75,{}</Value><VunitRate>75,{}</VunitRate></Record>'
)
ITEM = (
    '<Item ID="{}"><Name>Доллар США</Name><EngName>US Dollar</EngName><Nominal>1</Nominal>'
    "<ParentCode>R01235    </ParentCode><ISO_Num_Code>{}</ISO_Num_Code><ISO_Char_Code>{}</ISO_Char_Code></Item>"
)


def _series(*records: str, cbr_id: str = ASKED, until: str = "25.04.2026", name: str = f"{DAILY} Dynamic") -> str:
    head = f'ID="{cbr_id}" DateRange1="01.04.2026" DateRange2="{until}" name="{name}"'
    return f"<ValCurs {head}>{''.join(records)}</ValCurs>"


def _beginnings(name: str) -> list[str]:
    """A good document, and those that are wrong in one place."""
    if name == "dynamic":
        first, second = RECORD.format("23", ASKED, "1000", "1"), RECORD.format("24", ASKED, "2000", "2")
        late, other = RECORD.format("26", ASKED, "1000", "1"), RECORD.format("24", "R01239", "2000", "2")
        contradicted = RECORD.format("24", ASKED, "2000", "3")
        wrong = [(second, first), (first, first), (second, late), (first, other), (first, contradicted)]
        good = [_series(first, second), _series(), _series(first.replace("<VunitRate>75,1</VunitRate>", ""))]
        another = [_series(first, cbr_id="R01239"), _series(first, until="24.04.2026"), _series(first, name=DAILY)]
        return [*good, *another, *(_series(*records) for records in wrong), "<ValCurs>no data</ValCurs>"]
    items = [ITEM.format(ASKED, "840", "USD"), ITEM.format("R01010", "36", "AUD"), ITEM.format("R01436", "", "")]
    wrong = ["", "no data", ITEM.format("", "840", "USD"), ITEM.format(ASKED, "840", "usd"), items[0] * 2]
    return [f'<Valuta name="{DAILY} Lib">{inside}</Valuta>' for inside in ("".join(items), *items, *wrong)]


def seeds(name: str) -> None:
    """Good beginnings, made from figures, beside what is kept."""
    folder = CORPUS / name
    folder.mkdir(parents=True, exist_ok=True)
    if name == "documents":
        for number, layout in enumerate(LAYOUTS):
            (folder / f"layout-{number}").write_bytes(daily_xml(sheet(date(2026, 4, 24)), layout))
    elif name in ("dynamic", "catalogue"):
        for number, text in enumerate(_beginnings(name)):
            whole = f'<?xml version="1.0" encoding="windows-1251"?>{text}'
            (folder / f"seed-{number}").write_bytes(whole.encode("windows-1251"))


TARGETS = {"documents": documents, "dynamic": dynamic, "catalogue": catalogue, "query": query}

if __name__ == "__main__":
    target = sys.argv.pop(1)
    seeds(target)
    atheris.Setup([*sys.argv, str(CORPUS / target)], TARGETS[target])
    atheris.Fuzz()
