"""The Bank's key rate: its SOAP service, and our JSON.

KeyRateXML of https://www.cbr.ru/DailyInfoWebServ/DailyInfo.asmx has a row for each working day since 17 September 2013.
The rate in force on a day is that of the last row up to it. The Bank publishes decisions at
https://www.cbr.ru/hd_base/KeyRate/.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal
from typing import Any
from xml.parsers.expat import ExpatError

import xmltodict

from ratesvc.domain.rates import rounded
from ratesvc.domain.workdays import iso_day
from ratesvc.errors import BadDocument
from ratesvc.render.json import encode, literal, marks

FIRST_DAY = date(2013, 9, 17)
SOURCE = "https://www.cbr.ru/eng/hd_base/KeyRate/"
ACTION = "http://web.cbr.ru/KeyRateXML"
PLACES = 2
RECORDED = dict.fromkeys((date(2022, 7, 25),), Decimal(8)) | dict.fromkeys(
    (date(2022, 9, 19), date(2022, 11, 18)), Decimal("7.5")
)
"""Rows of the demo's autumn, by the decisions of 22 July and 16 September 2022 (https://www.cbr.ru/eng/press/keypr/)."""
_DAY = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})T00:00:00(?:\+03:00)?")
_RATE = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,2})?")

Change = tuple[date, Decimal]
"""A rate in per cent, and the first day on which the Bank's table has it."""


def question(since: date, until: date) -> bytes:
    """The body of a request for a closed range: SOAP 1.1."""
    return (
        '<?xml version="1.0" encoding="utf-8"?><soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/">'
        f'<soap:Body><KeyRateXML xmlns="http://web.cbr.ru/"><fromDate>{since}T00:00:00</fromDate>'
        f"<ToDate>{until}T00:00:00</ToDate></KeyRateXML></soap:Body></soap:Envelope>"
    ).encode()


def parse(raw: bytes, since: date, until: date) -> dict[date, Decimal]:
    """The rates of a closed range by day. The inner document may be escaped. Raises BadDocument."""
    result = _within(_tree(raw), "Envelope", "Body", "KeyRateXMLResponse", "KeyRateXMLResult")
    table = _within(_tree(result.encode()) if isinstance(result, str) else result, "KeyRate")
    rates: dict[date, Decimal] = {}
    if isinstance(table, list | str):
        raise BadDocument("structure", "it has several tables, or text instead of rows")
    for row in (table or {}).get("KR") or ():
        if not isinstance(row, dict):
            raise BadDocument("row", "a row is empty")
        found, rate = _DAY.fullmatch(str(row.get("DT"))), str(row.get("Rate"))
        day = found and iso_day(found[1])
        if not day or not _RATE.fullmatch(rate) or not since <= day <= until or day in rates:
            raise BadDocument("row", f"{str(row)[:80]} is not of the Bank's form")
        rates[day] = Decimal(rate)
    return rates


def _tree(raw: bytes) -> Any:
    """The document without prefixes of namespaces. Raises BadDocument."""
    if b"<!" in raw:
        raise BadDocument("foreign", "it has a DOCTYPE, a comment or CDATA, or is a web page")
    try:
        return xmltodict.parse(raw, force_list=("KR",), postprocessor=lambda _, key, value: (key.split(":")[-1], value))
    except (ExpatError, ValueError) as error:
        raise BadDocument("malformed", f"not well-formed XML ({error})") from None


def _within(tree: Any, *names: str) -> Any:
    for name in names:
        if not isinstance(tree, dict) or name not in tree:
            raise BadDocument("structure", f"there is no {name} in it")
        tree = tree[name]
    return tree


def changes(rows: Iterable[Change]) -> list[Change]:
    """The first day of each rate, the latest first, from the rows of days in that order."""
    found: list[Change] = []
    for day, rate in rows:
        if found and found[-1][1] == rate:
            found[-1] = day, rate
        else:
            found.append((day, rate))
    return found


def to_json(day: date, as_of: date, latest: Sequence[Change], *, stale: bool, demo: bool) -> bytes:
    """The rate in force on a day, and the one before. `as_of` is the day of the Bank's row."""
    (since, rate), *before = latest
    return encode(
        {
            "date": day,
            "rate": literal(rounded(rate, places=PLACES)),
            "unit": "percent",
            "since": since,
            "as_of": as_of,
            "stale": stale,
            "previous": _change(before[0]) if before else None,
            "published_by": "Bank of Russia",
            "source_url": SOURCE,
            **marks(demo=demo),
        }
    )


def to_history(latest: Sequence[Change], as_of: date, *, demo: bool) -> bytes:
    """All changes, oldest first."""
    rows = [_change(one) for one in reversed(latest)]
    return encode({"unit": "percent", "as_of": as_of, "source_url": SOURCE, **marks(demo=demo), "changes": rows})


def _change(change: Change) -> dict[str, Any]:
    return {"since": change[0], "rate": literal(rounded(change[1], places=PLACES))}
