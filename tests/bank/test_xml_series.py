"""XML_dynamic and XML_valFull: what a series and the catalogue must say, and every answer that is refused."""

from __future__ import annotations

import dataclasses
import re
from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratesvc.bank import xml
from ratesvc.bank.xml import Record, parse_catalogue, parse_dynamic, write_catalogue
from ratesvc.domain.columns import Currency
from ratesvc.domain.rates import Quote
from ratesvc.errors import BadDocument

USD, EUR = "R01235", "R01239"
SINCE, UNTIL = date(2026, 4, 1), date(2026, 4, 25)
DECLARED = '<?xml version="1.0" encoding="windows-1251"?>'


@dataclasses.dataclass(frozen=True)
class Day:
    """One <Record>, as text; a field that is None is left out."""

    date: str
    value: str | None = "75,5273"
    nominal: str | None = "1"
    unit: str | None = None
    cbr_id: str | None = USD

    @property
    def xml(self) -> str:
        named = "" if self.cbr_id is None else f' Id="{self.cbr_id}"'
        fields = {"Nominal": self.nominal, "Value": self.value, "VunitRate": self.unit}
        inner = "".join(f"<{tag}>{text}</{tag}>" for tag, text in fields.items() if text is not None)
        return f'<Record Date="{self.date}"{named}>{inner}</Record>'


DAYS = (Day("23.04.2026", "75,1000"), Day("24.04.2026", "75,2000"), Day("25.04.2026", "75,5273", unit="75,5273"))


def altered(**changed: Any) -> Day:
    return dataclasses.replace(DAYS[1], **changed)


def series(
    *days: Day | str,
    cbr_id: str = USD,
    since: str = "01.04.2026",
    until: str = "25.04.2026",
    name: str = "Foreign Currency Market Dynamic",
) -> bytes:
    """XML_dynamic as the Bank sends it; a string among the days is put in as it is."""
    inside = "".join(day if isinstance(day, str) else day.xml for day in days)
    head = f'ID="{cbr_id}" DateRange1="{since}" DateRange2="{until}" name="{name}"'
    return f"{DECLARED}<ValCurs {head}>{inside}</ValCurs>".encode("windows-1251")


def refused(raw: bytes, cbr_id: str = USD) -> str:
    """The reason for which a series is refused."""
    with pytest.raises(BadDocument) as caught:
        parse_dynamic(raw, cbr_id, SINCE, UNTIL)
    assert str(caught.value).startswith(f"{caught.value.reason}: ")
    return caught.value.reason


def test_the_range_is_closed_and_may_have_no_days() -> None:
    """A currency that was not quoted then: the Bank answers the range with no records."""
    first, last = Day("01.04.2026"), Day("25.04.2026")
    assert [one.effective_date for one in parse_dynamic(series(first, last), USD, SINCE, UNTIL)] == [SINCE, UNTIL]
    assert parse_dynamic(series(), USD, SINCE, UNTIL) == ()


def test_a_unit_rate_is_of_one_unit() -> None:
    """For a nominal of 100 it is a hundredth of the value."""
    good = Day("24.04.2026", "50,0000", "100", "0,5")
    assert parse_dynamic(series(good), USD, SINCE, UNTIL) == (Record(date(2026, 4, 24), 100, Decimal(50)),)
    assert refused(series(dataclasses.replace(good, unit="50"))) == "unit"


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        # Another currency's: euros in the column of the dollar would be wrong for thirty-four years.
        *((series(cbr_id=other), "structure") for other in (EUR, "R01235J", "R0123", "r01235")),
        *((series(DAYS[0], altered(cbr_id=other)), "row") for other in (EUR, "", None)),
        # Another range: its other days would count as days without a sheet.
        *((series(since=day), "structure") for day in ("02.04.2026", "31.03.2026", "25.04.2026")),
        *((series(until=day), "structure") for day in ("24.04.2026", "26.04.2026", "25.04.2025")),
        *((series(since=""), "date"), (series(until="31.02.2026"), "date")),
        # Days in another order, twice, or outside of the range.
        *((series(*(DAYS[n] for n in order)), "duplicate") for order in ((1, 0, 2), (0, 2, 1), (2, 1, 0), (0, 1, 1))),
        *((series(Day(day), *DAYS), "date") for day in ("31.03.2026", "25.04.2025")),
        *((series(*DAYS, Day(day)), "date") for day in ("26.04.2026", "25.04.2027")),
        # One record of another form, by the rules for a row of a sheet: test_xml.py has all forms.
        *((series(DAYS[0], altered(nominal=text)), "row") for text in (None, "", "3")),
        *((series(DAYS[0], altered(value=text)), "row") for text in (None, "0,0000", "75.5273")),
        *((series(DAYS[0], altered(unit=text)), reason) for text, reason in (("75,5274", "unit"), ("75.5273", "row"))),
        *((series(DAYS[0], altered(date=text)), "date") for text in ("31.04.2026", "2026-04-24", "")),
        (series(DAYS[0].xml.replace("</Value>", "</Value><Value>99,0000</Value>")), "row"),
        # Text instead of rows, also among good ones; another table, no id, no range.
        *((series(*good, "<Record>23.04.2026 75,1000</Record>"), "row") for good in ((), DAYS)),
        *((series(*good, "<Record/>"), "row") for good in ((), DAYS)),
        (f"{DECLARED}<ValCurs>Error in parameters</ValCurs>".encode(), "parameters"),
        (f"{DECLARED}<ValCurs>23.04.2026 75,1000</ValCurs>".encode(), "structure"),
        *((series(*DAYS, name=name), "structure") for name in ("Foreign Currency Market", "Dynamic", "")),
        *((series(*DAYS).replace(b"ValCurs", root), "structure") for root in (b"Valuta", b"html", b"valcurs")),
        (series(*DAYS).replace(b'ID="R01235" ', b"", 1), "structure"),
        *((series(*DAYS).replace(b"DateRange" + n, b"Range" + n), "date") for n in (b"1", b"2")),
    ],
)
def test_what_is_not_the_series_that_was_asked_for_is_refused(raw: bytes, reason: str) -> None:
    """The whole of it, with a reason."""
    assert refused(raw) == reason


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


def item(cbr_id: str | None = USD, more: str = "", **changed: str | None) -> str:
    """One <Item> of the catalogue; a field that is None is left out."""
    fields = {**DOLLAR, **changed}
    inner = "".join(f"<{tag}>{text}</{tag}>" for tag, text in fields.items() if text is not None)
    named = "" if cbr_id is None else f' ID="{cbr_id}"'
    return f"<Item{named}>{inner}{more}</Item>"


def catalogue(*items: str, root: str = "Valuta") -> bytes:
    """XML_valFull as the Bank sends it."""
    text = f'{DECLARED}<{root} name="Foreign Currency Market Lib">{"".join(items)}</{root}>'
    return text.encode("windows-1251", "xmlcharrefreplace")


def test_the_catalogue_names_each_id() -> None:
    """Blanks at the end of a parent's id are dropped, a number gets back its leading zeros, no nominal is read."""
    lek = item("R01065", "<Nominal>1</Nominal>", ISO_Num_Code="8", ISO_Char_Code="ALL", ParentCode="R01065")
    assert parse_catalogue(catalogue(item(), lek)) == (
        Currency(USD, USD, "USD", "840", "Доллар США", "US Dollar"),
        Currency("R01065", "R01065", "ALL", "008", "Доллар США", "US Dollar"),
    )


@pytest.mark.parametrize("parent", ["see R01235", "<ParentCode>", "R1", '"><Name>'])
def test_a_parent_is_an_id_or_nothing(parent: str) -> None:
    """It is written into our own catalogue, so no other text may come from there. Then the id has no other parent."""
    [read] = parse_catalogue(catalogue(item(ParentCode=escape(parent))))
    assert (read.cbr_id, read.parent_id) == (USD, USD)


@pytest.mark.parametrize("blank", ["", None])
def test_an_id_may_have_no_iso_code(blank: str | None) -> None:
    """The Lithuanian talon has neither code nor number. If one is missing, it is not invented."""
    items = (item(ISO_Num_Code=blank, ISO_Char_Code=blank), item(ISO_Char_Code=blank), item(ISO_Num_Code=blank))
    read = parse_catalogue(catalogue(*items))
    assert [(one.code, one.numeric_code) for one in read] == [("", ""), ("", "840"), ("USD", "")]


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        # Empty, history would be complete with nothing in it. Text is no item, and a series is no catalogue.
        *((catalogue(inside), "structure") for inside in ("", "<Note>none</Note>", "\r\n\t")),
        (f"{DECLARED}<Valuta>Error in parameters</Valuta>".encode(), "parameters"),
        (f"{DECLARED}<Valuta>USD EUR</Valuta>".encode(), "structure"),
        *((catalogue(*good, wrong), "row") for good in ((), (item(),)) for wrong in ("<Item>USD</Item>", "<Item/>")),
        (series(*DAYS), "structure"),
        (catalogue(item(), root="ValCurs"), "structure"),
        # An item of another form would become another currency's history.
        *((catalogue(item(text)), "row") for text in ("R0123", "R012355", "r01235", "01235", "", None)),
        *((catalogue(item(ISO_Char_Code=text)), "row") for text in ("usd", "US", "USDT", "US1", "УСД")),
        *((catalogue(item(ISO_Num_Code=text)), "row") for text in ("8400", "84a", "-40", "8 4", "٨٤٠")),
        *((catalogue(item(Name=text)), "row") for text in ("", None)),
        *((catalogue(item(EngName=text)), "row") for text in ("", None)),
        *((catalogue(item(ParentCode=text)), "row") for text in ("", None)),
        *((catalogue(item(more=f"<{tag}>{text}</{tag}>")), "row") for tag, text in DOLLAR.items() if tag != "Nominal"),
    ],
)
def test_what_is_no_catalogue_is_refused(raw: bytes, reason: str) -> None:
    """The whole of it, with a reason."""
    with pytest.raises(BadDocument) as caught:
        parse_catalogue(raw)
    assert caught.value.reason == reason


@pytest.mark.parametrize(("between", "reason"), [(1, "malformed"), (100, "malformed"), (101, "encoding")])
def test_the_charset_is_declared_near_the_beginning(between: int, reason: str) -> None:
    """Within a hundred characters. Later ones may be the text of the document."""
    assert refused(series(*DAYS).replace(b' version="1.0" encoding', b" " * between + b"encoding")) == reason


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


def test_a_catalogue_is_read_as_it_was_written() -> None:
    """Whatever its names hold."""
    name = "Фунт & <i>стерлингов</i>"
    pound = Currency("R01035", "R01035", "GBP", "826", name, "Pound & <i>Sterling</i>")
    assert parse_catalogue(write_catalogue([(pound, 1)])) == (pound,)
