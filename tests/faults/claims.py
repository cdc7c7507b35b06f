"""What answers other than /v1/rates claim: effective date, currency, nominal, value."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import date, datetime
from decimal import Decimal
from xml.etree import ElementTree as ET

Claim = tuple[date, str, int, Decimal]


def of_the_bank(body: bytes) -> Iterator[Claim]:
    root = ET.fromstring(body)  # noqa: S314 -- our own service's answer
    day = datetime.strptime(root.attrib["Date"], "%d.%m.%Y").date()  # noqa: DTZ007 -- a day, not a time
    for row in root:
        code, nominal, value = (row.findtext(name, "") for name in ("CharCode", "Nominal", "Value"))
        yield day, code, int(nominal), Decimal(value.replace(",", "."))


def of_daily_json(body: bytes) -> Iterator[Claim]:
    document = json.loads(body, parse_float=Decimal)
    for code, row in document["Valute"].items():
        yield date.fromisoformat(document["Date"][:10]), code, row["Nominal"], Decimal(row["Value"])


def of_the_ecb(body: bytes) -> Iterator[Claim]:
    text = body.decode()
    (day,), (value,) = re.findall(r"time='([0-9-]+)'", text), re.findall(r"'RUB' rate='([0-9.]+)'", text)
    yield date.fromisoformat(day), "EUR", 1, Decimal(value)


def of_frankfurter(body: bytes) -> Iterator[Claim]:
    document = json.loads(body, parse_float=Decimal)
    yield date.fromisoformat(document["date"]), "EUR", 1, Decimal(document["rates"]["RUB"])


def of_the_widget(body: bytes) -> Iterator[Claim]:
    text = body.decode()
    days = re.findall(r'<time datetime="([0-9-]+)"', text)
    _head, *rows = re.findall(r"<tr\b.*?</tr>", text)
    for row in rows:
        (code,) = re.findall(r'cbr-code"[^>]*>([A-Z]{3})<', row)
        cells = re.findall(r'<td class="cbr-(?:today|value)">([0-9.]+)<', row)
        for day, cell in zip(days, cells, strict=True):
            yield date.fromisoformat(day), code, 1, Decimal(cell)


def of_a_series(body: bytes) -> Iterator[Claim]:
    for row in json.loads(body, parse_float=Decimal)["rows"]:
        yield date.fromisoformat(row["date"]), row["code"], 1, Decimal(row["unit_rate"])


READERS: dict[str, Callable[[bytes], Iterator[Claim]]] = {
    "/scripts/XML_daily.asp": of_the_bank,
    "/cbr-xml-daily/daily_json.js": of_daily_json,
    "/ecb/eurofxref-daily.xml": of_the_ecb,
    "/frankfurter/v1/latest": of_frankfurter,
    "/widget?codes=USD,EUR": of_the_widget,
    "/widget/frame?codes=EUR": of_the_widget,
    "/v1/series?codes=USD&since=2026-01-01": of_a_series,
}
