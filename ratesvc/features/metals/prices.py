"""The Bank's accounting prices of precious metals: its XML, and our JSON.

The Bank sets them on each working day, in roubles for a gram. They apply from the next calendar day until the next
prices do, as the rates of currencies (https://www.cbr.ru/hd_base/metall/). Until 1 July 2008 it bought and sold at
prices that differed, so earlier records have no one price.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from ratesvc.bank import xml
from ratesvc.domain.rates import EXACT, Change, plain, trimmed
from ratesvc.errors import BadDocument
from ratesvc.render import csv
from ratesvc.render.json import PERCENT_PLACES, encode, literal, marks
from ratesvc.render.language import Language

CODES = ("XAU", "XAG", "XPT", "XPD")
"""ISO 4217, in the order of the Bank's own codes 1 to 4."""
NAMES = {"XAU": "Gold", "XAG": "Silver", "XPT": "Platinum", "XPD": "Palladium"}
"""CLDR's English and German names speak of an ounce, and these prices are for a gram."""
FIRST_DAY = date(2008, 7, 2)
SOURCE = "https://www.cbr.ru/eng/hd_base/metall/metall_base_new/"
_PRICE = re.compile(r"[0-9]{1,9}(?:,[0-9]{1,4})?")
_TABLE = "Precious metals quotations"

Price = tuple[date, Decimal]
"""A price and the day from which it applies."""


def parse(raw: bytes, since: date, until: date) -> dict[str, dict[date, Decimal]]:
    """xml_metall.asp: the prices of a closed range by code and day. Raises BadDocument.

    The answer must name the range of the request.
    """
    root, _ = xml.root_of(raw, "Metall")
    if (root.get("@FromDate"), root.get("@ToDate")) != (f"{since:%Y%m%d}", f"{until:%Y%m%d}"):
        raise BadDocument("structure", f"another range than {since} to {until}")
    if "#text" in root:
        raise BadDocument("structure", "it has text beside its records")
    prices: dict[str, dict[date, Decimal]] = {code: {} for code in CODES}
    for record in root.get("Record") or ():
        if not isinstance(record, dict):
            raise BadDocument("row", "a record is empty")
        day, number = xml.parse_date(record.get("@Date")), xml.field_of(record, "@Code", re.compile("[1-4]"))
        buy, sell = (xml.number_of(xml.field_of(record, tag, _PRICE)) for tag in ("Buy", "Sell"))
        of_metal = prices[CODES[int(number) - 1]]
        if not since <= day <= until or day in of_metal:
            raise BadDocument("date", f"{day} lies outside of the range, or is given twice")
        if day >= FIRST_DAY:
            if buy != sell:
                raise BadDocument("row", f"Buy {buy} and Sell {sell} of {day} differ")
            of_metal[day] = buy
    return prices


def write(since: date, until: date, rows: Mapping[date, Mapping[str, Decimal]]) -> bytes:
    """xml_metall.asp as the Bank writes it: without zeros at the end."""
    records = "".join(
        f'<Record Date="{day:%d.%m.%Y}" Code="{CODES.index(code) + 1}"><Buy>{text}</Buy><Sell>{text}</Sell></Record>'
        for day in sorted(rows)
        for code in CODES
        if code in rows[day] and (text := f"{trimmed(rows[day][code]):f}".replace(".", ","))
    )
    return xml.document_of(
        f'<Metall FromDate="{since:%Y%m%d}" ToDate="{until:%Y%m%d}" name="{_TABLE}">{records}</Metall>'
    )


def to_csv(rows: Mapping[date, Mapping[str, Decimal]], locale: Language | None) -> bytes:
    """A line a day, oldest first, as the locale's Excel reads it. A metal without a price has an empty cell."""
    days = sorted(rows)
    prices = {code: [plain(trimmed(rows[day][code])) if code in rows[day] else "" for day in days] for code in CODES}
    return b"".join(csv.lines([{"effective_date": [str(day) for day in days], **prices}], locale))


def to_json(
    day: date, prices: Mapping[str, Sequence[Price]], names: Mapping[str, str], *, stale: bool, demo: bool
) -> bytes:
    """The prices on a day. Each metal has its price, and the one before it if there was one."""
    newest = max(latest[0][0] for latest in prices.values())
    return encode(
        {
            "date": day,
            "effective_date": newest,
            "stale": stale,
            "unit": "gram",
            "quote_currency": "RUB",
            "published_by": "Bank of Russia",
            "source_url": SOURCE,
            **marks(demo=demo),
            "prices": {code: dict(_row(names[code], *latest)) for code, latest in prices.items()},
        }
    )


def _row(name: str, price: Price, before: Price | None = None) -> Iterator[tuple[str, Any]]:
    yield from (("name", name), ("effective_date", price[0]), ("price", literal(trimmed(price[1]))))
    moved = EXACT.subtract(price[1], before[1]) if before else None
    change = Change(moved, moved, before[1]) if before and moved is not None else None
    yield "previous_effective_date", before and before[0]
    yield "change", literal(trimmed(change.absolute)) if change else None
    yield "change_percent", literal(change.percent(PERCENT_PLACES)) if change else None
