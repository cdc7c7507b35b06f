"""XML_dynamic and XML_valFull: what a series and the catalogue must say, and every answer that is refused."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import astuple
from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit import cases

from ratesvc.bank import xml
from ratesvc.bank.xml import Record, parse_catalogue, parse_dynamic
from ratesvc.domain.columns import Currency
from ratesvc.domain.rates import Quote
from ratesvc.errors import BadDocument

USD = "R01235"
SINCE, UNTIL = date(2026, 4, 1), date(2026, 4, 25)
DECLARED = '<?xml version="1.0" encoding="windows-1251"?>'


@dataclasses.dataclass(frozen=True)
class Day:
    """One <Record>, as text; without a `unit` it has none."""

    date: str
    value: str
    nominal: str = "1"
    unit: str = ""
    cbr_id: str = USD

    @property
    def xml(self) -> str:
        unit = f"<VunitRate>{self.unit}</VunitRate>" if self.unit else ""
        inner = f"<Nominal>{self.nominal}</Nominal><Value>{self.value}</Value>{unit}"
        return f'<Record Date="{self.date}" Id="{self.cbr_id}">{inner}</Record>'


DAYS = (Day("23.04.2026", "75,1000"), Day("24.04.2026", "75,2000"), Day("25.04.2026", "75,5273", unit="75,5273"))


def series(*days: Day, cbr_id: str = USD) -> bytes:
    """XML_dynamic as the Bank sends it."""
    dates = 'DateRange1="01.04.2026" DateRange2="25.04.2026"'
    head = f'<ValCurs ID="{cbr_id}" {dates} name="Foreign Currency Market Dynamic">'
    return f"{DECLARED}{head}{''.join(day.xml for day in days)}</ValCurs>".encode("windows-1251")


def printed(raw: bytes) -> list[tuple[str, str, str]]:
    """An independent reading by regular expression: date, nominal and value as printed."""
    row = re.compile(r'<Record Date="(.+?)" Id="R01235"><Nominal>(.+?)</Nominal><Value>(.+?)</Value>')
    return row.findall(raw.decode("windows-1251"))


@given(
    st.dictionaries(
        st.integers(0, (UNTIL - SINCE).days), st.tuples(st.integers(1, 10**13 - 1), st.integers(0, 8)), max_size=12
    )
)
def test_any_series_is_read_back_exactly(figures: dict[int, tuple[int, int]]) -> None:
    """Whatever the figures: as another reader sees them, to the last digit."""
    days = [
        Day(f"{SINCE + timedelta(days=n):%d.%m.%Y}", f"{value // 10000},{value % 10000:04d}", str(10**power))
        for n, (value, power) in sorted(figures.items())
    ]
    raw = series(*days)
    read = parse_dynamic(raw, USD, SINCE, UNTIL)
    shown = [(f"{one.effective_date:%d.%m.%Y}", str(one.nominal), f"{one.value}".replace(".", ",")) for one in read]
    assert shown == printed(raw)


DOLLAR = {
    "Name": "Доллар США",
    "EngName": "US Dollar",
    "Nominal": "1",
    "ParentCode": "R01235    ",
    "ISO_Num_Code": "840",
    "ISO_Char_Code": "USD",
}


def item(cbr_id: str = USD, **changed: str) -> str:
    """One <Item> of the catalogue."""
    inner = "".join(f"<{tag}>{text}</{tag}>" for tag, text in {**DOLLAR, **changed}.items())
    return f'<Item ID="{cbr_id}">{inner}</Item>'


def catalogue(*items: str) -> bytes:
    """XML_valFull as the Bank sends it."""
    text = f'{DECLARED}<Valuta name="Foreign Currency Market Lib">{"".join(items)}</Valuta>'
    return text.encode("windows-1251", "xmlcharrefreplace")


LEK = item("R01065", ISO_Num_Code="8", ISO_Char_Code="ALL", ParentCode="R01065").replace("<Nominal>1</Nominal>", "")
BASES = {
    "series.txt": series(*DAYS).decode("windows-1251"),
    "catalogue.txt": catalogue(item(), LEK).decode("windows-1251"),
}
INSIDE = re.compile(r"(?<=\">)<(?:Record|Item) .*(?=</)", re.DOTALL)


def read(name: str, text: str) -> str:
    """What this document says, or the reason for which it is refused."""
    raw = text.encode("windows-1251", "xmlcharrefreplace")
    try:
        if name == "catalogue.txt":
            return "\n".join(" ".join(map(repr, astuple(one))) for one in parse_catalogue(raw))
        records = parse_dynamic(raw, USD, SINCE, UNTIL)
    except BadDocument as error:
        return error.reason
    return " ".join(f"{one.effective_date}={one.value}/{one.nominal}" for one in records) or "no days"


def meant(text: str) -> str:
    """`''` is nothing, and `<100 blanks>` so many."""
    return re.sub("<([0-9]+) blanks>", lambda match: " " * int(match[1]), text.strip("'"))


def told(name: str, question: str) -> str:
    """How the document is read in which the first text stands as one of the others, all of which are read alike.

    `inside` stands for all records or items, `document` for the whole.
    """
    base = BASES[name]
    old, _, new = question.partition(" => ")
    if match := INSIDE.search(base) if old == "inside" else None:
        old = match[0]
    old = base if old == "document" else old
    assert old in base, old
    found = {text: read(name, base.replace(old, meant(text), 1)) for text in new.split(" | ")}
    assert len({*found.values()}) == 1, found
    return found.popitem()[1]


@pytest.mark.parametrize("name", BASES)
def test_another_document_is_refused_as_a_whole(name: str) -> None:
    """With a reason. golden/series.txt and golden/catalogue.txt have what is read, too."""
    cases.check(name, {question: told(name, question) for question in cases.questions(name)})


RIAL = Quote("IRR", "364", "R01300", 1_000_000, Decimal("53.9256"), "Риалов <иранских>")


def test_a_series_and_the_catalogue_are_written_as_the_bank_writes_them() -> None:
    """The parsers read them back. The short catalogue has no ISO codes."""
    raw = xml.write_dynamic("R01300", SINCE, UNTIL, [(UNTIL, RIAL)])
    assert raw == series(Day("25.04.2026", "53,9256", "1000000", "5,39256E-05", "R01300"), cbr_id="R01300")
    assert parse_dynamic(raw, "R01300", SINCE, UNTIL) == (Record(UNTIL, RIAL.nominal, RIAL.value),)
    aussie = Currency("R01010", "R01010", "AUD", "036", "Австралийский доллар", "Australian Dollar")
    listed = item("R01010", Name=aussie.name, EngName="Australian Dollar", ParentCode="R01010    ", ISO_Num_Code="36")
    full = catalogue(listed.replace("USD", "AUD"))
    assert xml.write_catalogue([(aussie, 1)]) == full
    assert parse_catalogue(full) == (aussie,)
    assert xml.write_catalogue([(aussie, 1)], full=False) == re.sub(rb"<ISO_.*(?=</Item>)", b"", full)
    assert xml.write_refusal("a < b") == f"{DECLARED}<ValCurs>a &lt; b</ValCurs>".encode()
